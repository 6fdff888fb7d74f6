/* Slices: comparing, searching, cutting, numbers, UTF-8, hashes, distances. */
#include "testing.h"

#include <stdio.h>

static const struct str null_str = { NULL, 0 };

static void a_null_slice_behaves_like_the_empty_one(void **state)
{
    assert_true(str_eq(null_str, STR("")));
    assert_true(str_eq_nocase(null_str, STR("")));
    assert_int_equal(str_cmp(null_str, STR("")), 0);
    assert_true(str_cmp(null_str, STR("a")) < 0);
    assert_true(str_starts(null_str, STR("")));
    assert_true(str_ends(STR("a"), null_str));
    assert_int_equal(str_find(null_str, STR("")), 0);
    assert_true(str_find(null_str, STR("a")) == SIZE_MAX);
    assert_true(str_find_char(null_str, 'a') == SIZE_MAX);
    assert_true(str_rfind_char(null_str, 'a') == SIZE_MAX);
    assert_int_equal(str_trim(null_str).len, 0);
    assert_int_equal(str_skip(null_str, 5).len, 0);
    assert_true(str_is_utf8(null_str));
    assert_false(str_has_control(null_str));
    assert_true(str_hash(null_str, 1) == str_hash(STR(""), 1));
    assert_int_equal(str_of(NULL).len, 0);
}

static void order_is_by_bytes_and_the_shorter_first(void **state)
{
    assert_true(str_cmp(STR("a"), STR("b")) < 0);
    assert_true(str_cmp(STR("ab"), STR("a")) > 0);
    assert_true(str_cmp(STR("\xFF"), STR("a")) > 0);
    assert_int_equal(str_cmp(STR("ab"), STR("ab")), 0);
}

static void case_is_ignored_for_ascii_letters_only(void **state)
{
    assert_true(str_eq_nocase(STR("Content-Type"), STR("cONTENT-tYPE")));
    assert_false(str_eq_nocase(STR("["), STR("{")));
    assert_false(str_eq_nocase(STR("\xC4"), STR("\xE4")));
}

static void find_gives_the_first_place_even_after_false_starts(void **state)
{
    assert_int_equal(str_find(STR("aaab"), STR("aab")), 1);
    assert_int_equal(str_find(STR("abcabd"), STR("abd")), 3);
    assert_int_equal(str_find(STR("abc"), STR("abc")), 0);
    assert_true(str_find(STR("abc"), STR("abcd")) == SIZE_MAX);
    assert_true(str_find(STR("abc"), STR("cb")) == SIZE_MAX);
    assert_int_equal(str_find(STR("a\0b"), STR("\0b")), 1);
    assert_int_equal(str_find_char(STR("a/b/c"), '/'), 1);
    assert_int_equal(str_rfind_char(STR("a/b/c"), '/'), 3);
}

static void cutting_stays_inside(void **state)
{
    assert_str(str_skip(STR("abc"), 1), "bc");
    assert_str(str_skip(STR("abc"), 3), "");
    assert_str(str_skip(STR("abc"), 99), "");
    assert_str(str_take(STR("abc"), 2), "ab");
    assert_str(str_take(STR("abc"), 99), "abc");
    assert_str(str_trim(STR(" \t\r\n\v\f a b \n")), "a b");
    assert_str(str_trim(STR("   ")), "");
}

static void split_gives_every_part_also_empty_ones(void **state)
{
    static const char *const expected[] = { "a", "", "b", "" };
    struct str rest = STR("a,,b,");
    size_t count = 0;
    while (rest.ptr != NULL) {
        assert_true(count < ARRAY_LEN(expected));
        assert_str(str_split(&rest, ','), expected[count]);
        count++;
    }
    assert_int_equal(count, ARRAY_LEN(expected));
    rest = STR("");
    assert_str(str_split(&rest, ','), "");
    assert_null(rest.ptr);
}

static void unsigned_numbers_are_plain_digits_that_fit(void **state)
{
    uint64_t out = 0;
    assert_true(str_to_u64(STR("18446744073709551615"), &out));
    assert_true(out == UINT64_MAX);
    static const char *const bad[] = {
        "",   "18446744073709551616", "99999999999999999999", "+1", "-1", " 1", "1 ", "0x1", "1.0",
        "1e3"
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        out = 5;
        assert_false(str_to_u64(str_of(bad[i]), &out));
        assert_int_equal(out, 5);
    }
    assert_false(str_to_u64(STR("1\0"), &out));
}

static void signed_numbers_reach_both_ends_and_no_further(void **state)
{
    int64_t out = 0;
    assert_true(str_to_i64(STR("-9223372036854775808"), &out));
    assert_true(out == INT64_MIN);
    assert_true(str_to_i64(STR("9223372036854775807"), &out));
    assert_true(out == INT64_MAX);
    static const char *const bad[] = {
        "9223372036854775808", "-9223372036854775809", "-", "--1", "+1", ""
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_false(str_to_i64(str_of(bad[i]), &out));
    }
}

static void doubles_have_one_grammar_without_hex_inf_and_spaces(void **state)
{
    double out = 0;
    assert_true(str_to_double(STR("-1.5e+3"), &out));
    assert_true(out == -1500.0);
    assert_true(str_to_double(STR(".5"), &out) && out == 0.5);
    assert_true(str_to_double(STR("5."), &out) && out == 5.0);
    assert_true(str_to_double(STR("0.1"), &out) && out == 0.1);
    static const char *const bad[] = { "",    ".",  "-",  "1e",    "1e+", "0x10", "inf",
                                       "nan", " 1", "1 ", "1e999", "+1",  "1..2", "1,5" };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_false(str_to_double(str_of(bad[i]), &out));
    }
}

static void utf8_is_accepted_exactly_as_the_standard_says(void **state)
{
    static const char *const good[] = { "",
                                        "plain ascii that is longer than a word",
                                        "\xC2\x80",
                                        "\xDF\xBF",
                                        "\xE0\xA0\x80",
                                        "\xED\x9F\xBF",
                                        "\xEE\x80\x80",
                                        "\xF0\x90\x80\x80",
                                        "\xF4\x8F\xBF\xBF",
                                        "12345678\xE2\x82\xAC" };
    static const char *const bad[] = { "\x80",
                                       "\xC0\x80",
                                       "\xC1\xBF",
                                       "\xC2",
                                       "\xC2\x20",
                                       "\xE0\x9F\xBF",
                                       "\xED\xA0\x80",
                                       "\xE2\x82",
                                       "\xF0\x8F\xBF\xBF",
                                       "\xF4\x90\x80\x80",
                                       "\xF5\x80\x80\x80",
                                       "\xFF",
                                       "12345678\xE2\x82",
                                       "\xE2\x82\x28" };
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        assert_true(str_is_utf8(str_of(good[i])));
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_false(str_is_utf8(str_of(bad[i])));
    }
    assert_int_equal(str_utf8_len(STR("\xE2\x82\xACx")), 3);
    assert_int_equal(str_utf8_len(STR("\xE2\x82")), 0);
    assert_int_equal(str_utf8_len(STR("")), 0);
}

static void control_characters_are_found(void **state)
{
    assert_true(str_has_control(STR("a\nb")));
    assert_true(str_has_control(STR("\x7f")));
    assert_true(str_has_control(STR("a\0")));
    assert_false(str_has_control(STR("a b~\xC3\xA4")));
}

static void hashes_of_near_texts_and_seeds_differ(void **state)
{
    uint64_t seen[64];
    char text[64] = { 0 };
    for (size_t len = 0; len < ARRAY_LEN(seen); len++) {
        seen[len] = str_hash(str_from(text, len), 0); /* zeros of every length */
        for (size_t i = 0; i < len; i++) {
            assert_true(seen[i] != seen[len]);
        }
    }
    assert_true(str_hash(STR("a"), 1) != str_hash(STR("a"), 2));
}

static void hashes_spread_evenly_over_small_tables(void **state)
{
    unsigned counts[16] = { 0 };
    for (unsigned i = 0; i < 16000; i++) {
        char text[16];
        int len = snprintf(text, sizeof(text), "key%u", i);
        counts[str_hash(str_from(text, (size_t)len), 42) & 15]++;
    }
    for (size_t i = 0; i < 16; i++) {
        assert_in_range(counts[i], 800, 1200); /* expected 1000, standard deviation 31 */
    }
}

static void distance_counts_edits_and_swaps(void **state)
{
    assert_int_equal(str_distance(STR("gatway"), STR("gateway")), 1);
    assert_int_equal(str_distance(STR("gaetway"), STR("gateway")), 1);
    assert_int_equal(str_distance(STR(""), STR("abc")), 3);
    assert_int_equal(str_distance(STR("abc"), STR("")), 3);
    assert_int_equal(str_distance(STR("kitten"), STR("sitting")), 3);
    assert_int_equal(str_distance(STR("same"), STR("same")), 0);
}

static void distance_of_long_texts_looks_at_64_bytes(void **state)
{
    char a[200];
    char b[200];
    memset(a, 'a', sizeof(a));
    memset(b, 'b', sizeof(b));
    assert_int_equal(str_distance(str_from(a, sizeof(a)), str_from(b, sizeof(b))), 64);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_null_slice_behaves_like_the_empty_one),
        cmocka_unit_test(order_is_by_bytes_and_the_shorter_first),
        cmocka_unit_test(case_is_ignored_for_ascii_letters_only),
        cmocka_unit_test(find_gives_the_first_place_even_after_false_starts),
        cmocka_unit_test(cutting_stays_inside),
        cmocka_unit_test(split_gives_every_part_also_empty_ones),
        cmocka_unit_test(unsigned_numbers_are_plain_digits_that_fit),
        cmocka_unit_test(signed_numbers_reach_both_ends_and_no_further),
        cmocka_unit_test(doubles_have_one_grammar_without_hex_inf_and_spaces),
        cmocka_unit_test(utf8_is_accepted_exactly_as_the_standard_says),
        cmocka_unit_test(control_characters_are_found),
        cmocka_unit_test(hashes_of_near_texts_and_seeds_differ),
        cmocka_unit_test(hashes_spread_evenly_over_small_tables),
        cmocka_unit_test(distance_counts_edits_and_swaps),
        cmocka_unit_test(distance_of_long_texts_looks_at_64_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
