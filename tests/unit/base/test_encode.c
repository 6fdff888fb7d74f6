/* Hex, base64 and percent-encoding. */
#include "testing.h"

#include "base/encode.h"
#include "base/rng.h"

static void hex_goes_there_and_back(void **state)
{
    struct buf out;
    uint8_t bytes[3];
    buf_init(&out, 0);
    assert_int_equal(hex_append(&out, "\x00\xAB\xFF", 3), OK);
    assert_str(buf_str(&out), "00abff");
    assert_true(hex_decode(STR("00aBFf"), bytes, 3));
    assert_memory_equal(bytes, "\x00\xAB\xFF", 3);
    buf_done(&out);
}

static void hex_of_the_wrong_length_or_alphabet_is_refused_and_writes_nothing(void **state)
{
    static const char *const bad[] = { "00ab", "00abff00", "00abf", "00abfg", "0x00ab", "" };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        uint8_t bytes[3] = { 1, 2, 3 };
        assert_false(hex_decode(str_of(bad[i]), bytes, 3));
        assert_memory_equal(bytes, "\1\2\3", 3);
    }
}

static void base64_gives_the_examples_of_its_standard(void **state)
{
    /* RFC 4648, section 10 */
    static const char *const pairs[][2] = {
        { "", "" },
        { "f", "Zg==" },
        { "fo", "Zm8=" },
        { "foo", "Zm9v" },
        { "foob", "Zm9vYg==" },
        { "fooba", "Zm9vYmE=" },
        { "foobar", "Zm9vYmFy" },
    };
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        struct buf out;
        buf_init(&out, 0);
        assert_int_equal(base64_append(&out, pairs[i][0], strlen(pairs[i][0])), OK);
        assert_str(buf_str(&out), pairs[i][1]);
        buf_clear(&out);
        assert_int_equal(base64_decode(str_of(pairs[i][1]), &out), OK);
        assert_str(buf_str(&out), pairs[i][0]);
        buf_done(&out);
    }
}

static void base64_with_faults_is_refused_and_the_buffer_put_back(void **state)
{
    static const char *const bad[] = { "Zg",       "Zg=",      "Zg===",    "Z===", "====",
                                       "Zh==",     "Zm9=",     "Zg==Zg==", "Zm 9", "Zm-_",
                                       "Zm9vZg=a", "Zm9v\nZg", "=m9v" };
    struct buf out;
    buf_init(&out, 0);
    assert_int_equal(buf_append(&out, STR("kept")), OK);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(base64_decode(str_of(bad[i]), &out), E_INVALID);
        assert_str(buf_str(&out), "kept");
    }
    buf_done(&out);
}

static void random_bytes_survive_every_encoding(void **state)
{
    struct rng rng;
    rng_seed(&rng, 3);
    for (size_t len = 0; len < 70; len++) {
        uint8_t bytes[70];
        uint8_t back[70];
        for (size_t i = 0; i < len; i++) {
            bytes[i] = (uint8_t)rng_next(&rng);
        }
        struct buf text;
        struct buf decoded;
        struct arena arena;
        buf_init(&text, 0);
        buf_init(&decoded, 0);
        arena_init(&arena, 0);
        assert_int_equal(hex_append(&text, bytes, len), OK);
        assert_true(hex_decode(buf_str(&text), back, len));
        assert_true(len == 0 || memcmp(bytes, back, len) == 0);
        buf_clear(&text);
        assert_int_equal(base64_append(&text, bytes, len), OK);
        assert_int_equal(base64_decode(buf_str(&text), &decoded), OK);
        assert_true(str_eq(buf_str(&decoded), str_from((char *)bytes, len)));
        buf_clear(&text);
        struct str plain;
        assert_int_equal(percent_append(&text, str_from((char *)bytes, len), NULL), OK);
        assert_int_equal(percent_decode(&arena, buf_str(&text), false, &plain, NULL), OK);
        assert_true(str_eq(plain, str_from((char *)bytes, len)));
        buf_done(&text);
        buf_done(&decoded);
        arena_done(&arena);
    }
}

static void percent_encoding_keeps_unreserved_and_named_characters(void **state)
{
    struct buf out;
    buf_init(&out, 0);
    assert_int_equal(percent_append(&out, STR("aZ09-._~ /+%\xC3\xA4"), NULL), OK);
    assert_str(buf_str(&out), "aZ09-._~%20%2F%2B%25%C3%A4");
    buf_clear(&out);
    assert_int_equal(percent_append(&out, STR("a/b c\0"), "/"), OK);
    assert_str(buf_str(&out), "a/b%20c%00");
    buf_done(&out);
}

static void percent_decoding_refuses_broken_escapes_with_their_place(void **state)
{
    static const char *const bad[] = { "ab%", "ab%2", "ab%zz", "ab%2g", "ab%%20" };
    struct arena arena;
    arena_init(&arena, 0);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct err err = { 0 };
        struct str out = STR("untouched");
        assert_int_equal(percent_decode(&arena, str_of(bad[i]), false, &out, &err), E_INVALID);
        assert_string_equal(err.msg, "broken percent escape at byte 2");
        assert_str(out, "untouched");
    }
    arena_done(&arena);
}

static void plus_is_a_space_only_in_forms(void **state)
{
    struct arena arena;
    struct str out;
    arena_init(&arena, 0);
    assert_int_equal(percent_decode(&arena, STR("a+b%2B"), true, &out, NULL), OK);
    assert_str(out, "a b+");
    assert_int_equal(percent_decode(&arena, STR("a+b"), false, &out, NULL), OK);
    assert_str(out, "a+b");
    arena_done(&arena);
}

static enum status encode_all(struct buf *out, struct arena *arena)
{
    char bytes[300] = "some bytes";
    struct str decoded;
    TRY(hex_append(out, bytes, sizeof(bytes)));
    TRY(base64_append(out, bytes, sizeof(bytes)));
    TRY(percent_append(out, str_from(bytes, sizeof(bytes)), NULL));
    return percent_decode(arena, STR("%41"), false, &decoded, NULL);
}

static void without_memory_encoders_say_so(void **state)
{
    struct buf out;
    struct arena arena;
    buf_init(&out, 0);
    arena_init(&arena, 0);
    FAIL_EVERY_ALLOCATION(encode_all(&out, &arena), {
        buf_done(&out);
        arena_done(&arena);
    });
    buf_done(&out);
    arena_done(&arena);
}

static void encoders_put_the_buffer_back_at_its_limit(void **state)
{
    struct buf out;
    buf_init(&out, 6);
    assert_int_equal(buf_append(&out, STR("abc")), OK);
    assert_int_equal(hex_append(&out, "xy", 2), E_TOO_LARGE);
    assert_int_equal(base64_append(&out, "x", 1), E_TOO_LARGE);
    assert_int_equal(percent_append(&out, STR("a%"), NULL), E_TOO_LARGE);
    assert_int_equal(base64_decode(STR("Zm9vYmFy"), &out), E_TOO_LARGE);
    assert_str(buf_str(&out), "abc");
    buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hex_goes_there_and_back),
        cmocka_unit_test(hex_of_the_wrong_length_or_alphabet_is_refused_and_writes_nothing),
        cmocka_unit_test(base64_gives_the_examples_of_its_standard),
        cmocka_unit_test(base64_with_faults_is_refused_and_the_buffer_put_back),
        cmocka_unit_test(random_bytes_survive_every_encoding),
        cmocka_unit_test(percent_encoding_keeps_unreserved_and_named_characters),
        cmocka_unit_test(percent_decoding_refuses_broken_escapes_with_their_place),
        cmocka_unit_test(plus_is_a_space_only_in_forms),
        cmocka_unit_test(without_memory_encoders_say_so),
        cmocka_unit_test(encoders_put_the_buffer_back_at_its_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
