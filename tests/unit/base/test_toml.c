/* TOML flattened: order, kinds, lines, faults. */
#include "testing.h"

#include "base/buf.h"
#include "base/toml.h"

/** One line of text for each item, so that a test compares them all at once. */
static enum status print_item(void *ctx, const struct toml_item *item, struct err *err)
{
    static const char *const kinds[] = {
        [TOML_TABLE] = "table",    [TOML_STRING] = "string",   [TOML_SCALAR] = "scalar",
        [TOML_FRACTION] = "float", [TOML_STRINGS] = "strings", [TOML_OTHER_ARRAY] = "array",
        [TOML_DATE] = "date",
    };
    TRY(buf_printf(ctx, "%u %s%s.%s %s %.*s", item->line, item->section, item->in_array ? "[]" : "",
                   item->name == NULL ? "" : item->name, kinds[item->kind], STR_ARG(item->text)));
    for (size_t i = 0; i < item->string_count; i++) {
        TRY(buf_printf(ctx, "<%.*s>", STR_ARG(item->strings[i])));
    }
    return buf_append_char(ctx, '\n');
}

static void items_come_in_the_order_of_lines_with_their_kinds(void **state)
{
    struct str text = STR("top = \"t\"\n"
                          "[z]\n"
                          "b = 12\n"
                          "a = true\n"
                          "l = [\"x\", \"y\"]\n"
                          "m = [1]\n"
                          "f = 1.5\n"
                          "d = 2024-01-01\n"
                          "[empty]\n"
                          "[a.b]\n"
                          "c = '''two\n"
                          "lines'''\n"
                          "[[k.s]]\n"
                          "n = \"1\"\n"
                          "[[k.s]]\n"
                          "[[k.s]]\n"
                          "n = \"3\"\n"
                          "hex.dotted = 0xFF\n");
    struct buf out;
    buf_init(&out, 0);
    assert_int_equal(toml_walk(text, "f.toml", print_item, &out, NULL), OK);
    assert_str(buf_str(&out), "1 .top string t\n"
                              "3 z.b scalar 12\n"
                              "4 z.a scalar true\n"
                              "5 z.l strings <x><y>\n"
                              "6 z.m array \n"
                              "7 z.f float \n"
                              "8 z.d date \n"
                              "9 empty. table \n"
                              "11 a.b.c string two\nlines\n"
                              "13 k.s[]. table \n"
                              "14 k.s[].n string 1\n"
                              "15 k.s[]. table \n"
                              "16 k.s[]. table \n"
                              "17 k.s[].n string 3\n"
                              "18 k.s.hex.dotted scalar 255\n");
    buf_done(&out);
}

static void faults_are_told_with_file_and_line(void **state)
{
    static const struct {
        const char *text;
        const char *place;
    } cases[] = {
        { "a = 1\nb = \n", "f.toml:2: " },
        { "a = 1\na = 2\n", "f.toml:2: " },
        { "[a\n", "f.toml:1: " },
        { "\n\na = 'x\n", "f.toml:3: " },
        { "a = \"\\q\"\n", "f.toml:1: " },
        { "a = 99999999999999999999\n", "f.toml:1: " },
        { "ok = 1\nbad = \"\xFF\"", "f.toml:2: " },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err err = { 0 };
        struct buf out;
        buf_init(&out, 0);
        assert_int_equal(toml_walk(str_of(cases[i].text), "f.toml", print_item, &out, &err),
                         E_INVALID);
        if (!str_starts(str_of(err.msg), str_of(cases[i].place))) {
            fail_msg("\"%s\" does not begin with \"%s\"", err.msg, cases[i].place);
        }
        assert_int_equal(out.len, 0);
        buf_done(&out);
    }
}

static enum status refuse(void *ctx, const struct toml_item *item, struct err *err)
{
    (*(int *)ctx)++;
    return err_set(err, E_CONFLICT, "no");
}

static void the_visitor_ends_the_walk(void **state)
{
    int calls = 0;
    struct err err = { 0 };
    assert_int_equal(toml_walk(STR("a = 1\nb = 2\n"), "f", refuse, &calls, &err), E_CONFLICT);
    assert_int_equal(calls, 1);
    assert_string_equal(err.msg, "no");
}

static void nothing_is_an_empty_document(void **state)
{
    int calls = 0;
    assert_int_equal(toml_walk(str_from(NULL, 0), "f", refuse, &calls, NULL), OK);
    assert_int_equal(toml_walk(STR("# only a comment"), "f", refuse, &calls, NULL), OK);
    assert_int_equal(calls, 0);
}

static void absurd_nesting_is_refused_not_crashed(void **state)
{
    static char text[200000];
    memset(text, '[', sizeof(text));
    text[0] = 'a';
    text[1] = '=';
    int calls = 0;
    assert_int_equal(toml_walk(str_from(text, sizeof(text)), "f", refuse, &calls, NULL), E_INVALID);
}

static void a_header_that_is_none_is_refused_with_its_line(void **state)
{
    static const struct str texts[] = { STR_INIT("a = 1\n[&x]"), STR_INIT("a = 1\n[[ &x]]"),
                                        STR_INIT("a = 1\n[.x]"), STR_INIT("[a]\n[=]") };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        int calls = 0;
        struct err err = { 0 };
        assert_int_equal(toml_walk(texts[i], "f", refuse, &calls, &err), E_INVALID);
        assert_true(str_starts(str_of(err.msg), STR("f:2: ")));
    }
}

static void control_characters_are_refused_with_their_line(void **state)
{
    static const struct str texts[] = { STR_INIT("a = 1\n[[\0\0x]]"), STR_INIT("a = 1\nb\x7f = 2"),
                                        STR_INIT("a = 1\nb = \"\x01\"") };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        int calls = 0;
        struct err err = { 0 };
        assert_int_equal(toml_walk(texts[i], "f", refuse, &calls, &err), E_INVALID);
        assert_true(str_starts(str_of(err.msg), STR("f:2: a control character (0x")));
    }
    int calls = 0;
    struct err err = { 0 };
    assert_int_equal(toml_walk(STR("\ta = 1\r\n"), "f", refuse, &calls, NULL), E_CONFLICT);
    assert_int_equal(toml_walk(STR("\na = { \xff"), "f", refuse, &calls, &err), E_INVALID);
    assert_string_equal(err.msg, "f:2: not valid UTF-8");
}

static void other_letters_stand_only_in_quotes_and_comments(void **state)
{
    struct str fine = STR("\"\xc3\xa9\" = 'a\xc3\xa9' # \xc3\xa9\n"
                          "b = \"\\\"\xc3\xa9\" # '\n"
                          "c = '''\n'\xc3\xa9''' # \"\xc3\xa9\n");
    struct buf out;
    buf_init(&out, 0);
    assert_int_equal(toml_walk(fine, "f", print_item, &out, NULL), OK);
    assert_str(buf_str(&out), "1 .\xc3\xa9 string a\xc3\xa9\n"
                              "2 .b string \"\xc3\xa9\n"
                              "3 .c string '\xc3\xa9\n");
    buf_done(&out);
    static const struct str wrong[] = {
        STR_INIT("\n\xc3\xa9 = 1\n"),
        STR_INIT("\n[\xc3\xa9]\n"),
        STR_INIT("a = 'b'\nb = \xc3\xa9"),
        STR_INIT("a = 'b\n\xc3\xa9 = 1\n"),
        STR_INIT("a = \"\"\n\xf0\x90\x80\x80 = 1\n"),
    };
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        struct err err = { 0 };
        int calls = 0;
        assert_int_equal(toml_walk(wrong[i], "f", refuse, &calls, &err), E_INVALID);
        assert_string_equal(err.msg, "f:2: a name with other letters than a-z needs quotes");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(items_come_in_the_order_of_lines_with_their_kinds),
        cmocka_unit_test(faults_are_told_with_file_and_line),
        cmocka_unit_test(the_visitor_ends_the_walk),
        cmocka_unit_test(nothing_is_an_empty_document),
        cmocka_unit_test(absurd_nesting_is_refused_not_crashed),
        cmocka_unit_test(a_header_that_is_none_is_refused_with_its_line),
        cmocka_unit_test(control_characters_are_refused_with_their_line),
        cmocka_unit_test(other_letters_stand_only_in_quotes_and_comments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
