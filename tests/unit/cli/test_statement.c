/*
 * Where a statement ends, what stands at its end, and names as SQL takes them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "cli/statement.h"

static void statements_end_at_a_semicolon_of_the_code(void **state)
{
    /* what stands before `|` is the statement */
    static const char *const whole[] = {
        "SELECT 1;|",
        "SELECT 1;| SELECT 2;",
        "SELECT ';';|",
        "SELECT 'it''s; so';|",
        "SELECT E'\\';';|",
        "SELECT 'a\\';|", /* no E: a backslash is a character */
        "SELECT name'x\\';|",
        "SELECT \"a;\"\"b\";|",
        "SELECT $$a;b$$;|",
        "SELECT $t$a;$$;b$t$;|",
        "SELECT $1;|",
        "SELECT a$1$;|",
        "SELECT 1 -- ; no\n;|",
        "SELECT /* ; /* ; */ ; */ 1;|",
        "SELECT 1 - - 2 / 3;|",
        ";|",
        "",
    };
    for (size_t i = 0; i + 1 < ARRAY_LEN(whole); i++) {
        char text[128];
        struct cli_scan scan;
        const char *bar = strchr(whole[i], '|');
        snprintf(text, sizeof(text), "%.*s%s", (int)(bar - whole[i]), whole[i], bar + 1);
        cli_statement_scan(str_of(text), &scan);
        if (scan.end != (size_t)(bar - whole[i])) {
            fail_msg("\"%s\" ends at %zu", text, scan.end);
        }
        assert_int_equal(scan.place, CLI_IN_CODE);
    }
}

static void what_is_not_whole_waits(void **state)
{
    static const struct {
        const char *text;
        enum cli_place place;
        size_t place_start;
        bool blank;
    } parts[] = {
        { "", CLI_IN_CODE, 0, true },
        { " \n\t", CLI_IN_CODE, 0, true },
        { "SELECT 1", CLI_IN_CODE, 0, false },
        { "SELECT 'a;", CLI_IN_TEXT, 7, false },
        { "SELECT 'a'';", CLI_IN_TEXT, 7, false },
        { "SELECT \"a;", CLI_IN_NAME, 7, false },
        { "SELECT $x$ ; $y$", CLI_IN_TEXT, 7, false },
        { "-- a;", CLI_IN_TEXT, 0, true },
        { "-- a;\n", CLI_IN_CODE, 0, true },
        { "/* a; /* b */ ;", CLI_IN_TEXT, 0, true },
        { "SELECT E'\\'", CLI_IN_TEXT, 8, false },
        { "/* done */", CLI_IN_CODE, 0, true },
    };
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        struct cli_scan scan;
        cli_statement_scan(str_of(parts[i].text), &scan);
        if (scan.end != SIZE_MAX || scan.place != parts[i].place || scan.blank != parts[i].blank ||
            (scan.place != CLI_IN_CODE && scan.place_start != parts[i].place_start)) {
            fail_msg("\"%s\": end %zu, place %d at %zu, blank %d", parts[i].text, scan.end,
                     (int)scan.place, scan.place_start, scan.blank);
        }
    }
}

static void nothing_behind_the_text_is_read(void **state)
{
    /* every beginning of a text with all of them, in memory that ends where it ends */
    static const char text[] = "E'\\'' $a$x$a$ \"b\"\"c\" -- d\n /* /* */ */ 'e''f' $1;";
    for (size_t len = 0; len < sizeof(text); len++) {
        char *copy = malloc(len > 0 ? len : 1);
        assert_non_null(copy);
        memcpy(copy, text, len);
        struct cli_scan scan;
        cli_statement_scan(str_from(copy, len), &scan);
        assert_true(scan.end == (len + 1 == sizeof(text) ? len : SIZE_MAX));
        free(copy);
    }
}

static void names_are_quoted_where_they_must_be(void **state)
{
    static const struct {
        const char *name, *plain, *dotted;
    } names[] = {
        { "birds", "birds", "birds" },
        { "a_1", "a_1", "a_1" },
        { "sales.orders", "\"sales.orders\"", "sales.orders" },
        { "my sales.orders", "\"my sales.orders\"", "\"my sales\".orders" },
        { "1st", "\"1st\"", "\"1st\"" },
        { "a\"b", "\"a\"\"b\"", "\"a\"\"b\"" },
        { "gr\xc3\xb6\xc3\x9f"
          "e",
          "\"gr\xc3\xb6\xc3\x9f"
          "e\"",
          "\"gr\xc3\xb6\xc3\x9f"
          "e\"" },
        { "", "\"\"", "\"\"" },
    };
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct buf out;
        buf_init(&out, 0);
        assert_int_equal(cli_append_name(&out, str_of(names[i].name), false), OK);
        assert_string_equal(buf_cstr(&out), names[i].plain);
        buf_clear(&out);
        assert_int_equal(cli_append_name(&out, str_of(names[i].name), true), OK);
        assert_string_equal(buf_cstr(&out), names[i].dotted);
        buf_done(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(statements_end_at_a_semicolon_of_the_code),
        cmocka_unit_test(what_is_not_whole_waits),
        cmocka_unit_test(nothing_behind_the_text_is_read),
        cmocka_unit_test(names_are_quoted_where_they_must_be),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
