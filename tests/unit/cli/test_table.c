/*
 * Tables for terminals and their text.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/rng.h"
#include "cli/cli_priv.h"

/** A table of `rows` rows from cells in reading order, printed; the caller frees. */
static char *print(const char *const *cells, size_t columns, size_t rows, const bool *right,
                   size_t screen_width)
{
    struct cli_table table;
    struct buf out;
    buf_init(&out, 0);
    assert_int_equal(cli_table_init(&table, columns, NULL), OK);
    for (size_t r = 0; r < rows; r++) {
        struct str *row = cli_table_row(&table);
        assert_non_null(row);
        for (size_t c = 0; c < columns; c++) {
            row[c] = str_of(cells[r * columns + c]);
            table.right[c] = right != NULL && right[c];
        }
    }
    assert_int_equal(cli_table_print(&table, screen_width, &out), OK);
    char *text = strndup(out.len > 0 ? out.ptr : "", out.len);
    cli_table_done(&table);
    buf_done(&out);
    return text;
}

static void expect(char *got, const char *wanted)
{
    assert_string_equal(got, wanted);
    free(got);
}

static void columns_are_aligned_and_numbers_stand_right(void **state)
{
    static const char *const cells[] = {
        "species", "strikes", "Mourning dove", "1204", "Gull", "7"
    };
    static const bool right[] = { false, true };
    expect(print(cells, 2, 3, right, 80), "species        strikes\n"
                                          "-------------  -------\n"
                                          "Mourning dove     1204\n"
                                          "Gull                 7\n");
}

static void no_rows_still_show_the_head(void **state)
{
    static const char *const cells[] = { "a", "long name of a column" };
    expect(print(cells, 2, 1, NULL, 80), "a  long name of a column\n-  ---------------------\n");
    expect(print(cells, 2, 1, NULL, 5), "a  long name o\xe2\x80\xa6\n-  ------------\n");
}

static void text_is_cut_and_numbers_are_not(void **state)
{
    static const char *const cells[] = { "t", "n", "abcdefghijklmnopqrstuvwxyz",
                                         "123456789012345" };
    static const bool right[] = { false, true };
    expect(print(cells, 2, 2, right, 30), "t                            n\n"
                                          "-------------  ---------------\n"
                                          "abcdefghijkl\xe2\x80\xa6  123456789012345\n");
}

static void what_no_screen_holds_becomes_records(void **state)
{
    static const char *const cells[] = { "name", "n", "abcdefghijklmnopqrstuvwxyz",
                                         "12345678901234567890" };
    static const bool right[] = { false, true };
    expect(print(cells, 2, 2, right, 24), "-- row 1 --\n"
                                          "name  abcdefghijklmnopq\xe2\x80\xa6\n"
                                          "n     12345678901234567890\n");
}

static void without_a_screen_a_cell_has_its_own_limit(void **state)
{
    char longer[200] = { 0 };
    memset(longer, 'x', sizeof(longer) - 1);
    const char *cells[] = { "t", longer };
    char *got = print(cells, 1, 2, NULL, 0);
    assert_int_equal(strlen(got), 2 + 61 + 59 + 3 + 1);
    free(got);
}

static void widths_are_those_of_a_terminal(void **state)
{
    static const struct {
        const char *text;
        size_t width;
    } cases[] = {
        { "", 0 },
        { "abc", 3 },
        { "\xc3\xa4", 1 },                             /* a with diaeresis */
        { "e\xcc\x81", 1 },                            /* e and a combining accent */
        { "\xe6\x97\xa5\xe6\x9c\xac", 4 },             /* two ideographs */
        { "\xe2\x9c\x85", 2 },                         /* an emoji of the old blocks */
        { "\xf0\x9f\x90\xa6", 2 },                     /* a bird */
        { "\xe0\xb9\x84\xe0\xb8\x97\xe0\xb8\xa2", 3 }, /* Thai */
        { "a\nb", 3 },                                 /* a sign stands in for the line break */
        { "\xff\xfe", 2 },                             /* no UTF-8 */
        { "\xe6\x97", 1 },                             /* cut in the middle */
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(cli_display_width(str_of(cases[i].text)), cases[i].width);
    }
    assert_int_equal(cli_fitting(str_of("\xe6\x97\xa5\xe6\x9c\xac"), 3).len, 3);
    assert_int_equal(cli_fitting(str_of("e\xcc\x81x"), 1).len, 3);
}

static void nothing_that_moves_the_cursor_is_shown(void **state)
{
    struct buf out;
    buf_init(&out, 0);
    assert_int_equal(cli_append_clean(&out, STR("a\x1b[2J\r\n\x7f\xc2\x9b\xe2\x80\xae"
                                                "b")),
                     OK);
    assert_true(str_eq(buf_str(&out), STR("a\xe2\x90\x9b[2J\xe2\x90\x8d\xe2\x90\x8a\xe2\x90\xa1"
                                          "\xef\xbf\xbd\xef\xbf\xbd"
                                          "b")));
    buf_done(&out);
}

static void csv_is_quoted_where_it_must_be(void **state)
{
    struct cli_table table;
    struct buf out;
    buf_init(&out, 0);
    assert_int_equal(cli_table_init(&table, 2, NULL), OK);
    struct str *row = cli_table_row(&table);
    row[0] = STR("plain");
    row[1] = STR("a,\"b\"\n");
    assert_int_equal(cli_table_print_csv(&table, &out), OK);
    assert_true(str_eq(buf_str(&out), STR("plain,\"a,\"\"b\"\"\n\"\n")));
    cli_table_done(&table);
    buf_done(&out);
}

/** Any bytes on any screen: lines of text fit, and nothing reads or writes past its end. */
static void any_table_fits_any_screen(void **state)
{
    struct rng rng;
    rng_seed(&rng, 20261123);
    for (int turn = 0; turn < 500; turn++) {
        char cells[60][40];
        const char *pointers[60];
        size_t columns = 1 + rng_below(&rng, 6), rows = 1 + rng_below(&rng, 10);
        size_t screen_width = rng_below(&rng, 100);
        for (size_t i = 0; i < columns * rows; i++) {
            size_t len = rng_below(&rng, sizeof(cells[0]));
            for (size_t k = 0; k < len; k++) {
                cells[i][k] = (char)(1 + rng_below(&rng, 255));
            }
            cells[i][len] = '\0';
            pointers[i] = cells[i];
        }
        char *got = print(pointers, columns, rows, NULL, screen_width);
        bool fits = screen_width >= 40 && rows > 1; /* a head alone is not cut shorter than it is */
        for (struct str rest = str_of(got); rest.ptr != NULL && fits;) {
            assert_true(cli_display_width(str_split(&rest, '\n')) <= screen_width);
        }
        free(got);
    }
}

static void counts_and_sizes_are_for_people(void **state)
{
    struct arena arena;
    arena_init(&arena, 0);
    assert_true(str_eq(cli_count(&arena, 0), STR("0")));
    assert_true(str_eq(cli_count(&arena, 1234567), STR("1,234,567")));
    assert_true(str_eq(cli_count(&arena, -1234), STR("-1,234")));
    assert_true(str_eq(cli_size(&arena, 999), STR("999 B")));
    assert_true(str_eq(cli_size(&arena, 1500), STR("1.5 kB")));
    assert_true(str_eq(cli_size(&arena, 123456789), STR("123 MB")));
    arena_done(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(columns_are_aligned_and_numbers_stand_right),
        cmocka_unit_test(no_rows_still_show_the_head),
        cmocka_unit_test(text_is_cut_and_numbers_are_not),
        cmocka_unit_test(what_no_screen_holds_becomes_records),
        cmocka_unit_test(without_a_screen_a_cell_has_its_own_limit),
        cmocka_unit_test(widths_are_those_of_a_terminal),
        cmocka_unit_test(nothing_that_moves_the_cursor_is_shown),
        cmocka_unit_test(csv_is_quoted_where_it_must_be),
        cmocka_unit_test(any_table_fits_any_screen),
        cmocka_unit_test(counts_and_sizes_are_for_people),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
