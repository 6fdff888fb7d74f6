/* Bounds: their bytes, their order, their text. */
#include "helper.h"

#include "iceberg/value.h"

static struct arena arena;
static struct err err;

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, 0);
    err = (struct err){ 0 };
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_done(&arena);
    return 0;
}

static struct ice_type type_of(const char *name)
{
    struct ice_type type = { 0 };
    yyjson_doc *doc = NULL;
    MUST(json_parse(json_text(&arena, name), &doc, &err));
    MUST(ice_type_parse(&arena, yyjson_doc_get_root(doc), &type, &err));
    yyjson_doc_free(doc);
    return type;
}

#define B(literal) literal, sizeof(literal) - 1

struct bound_case {
    const char *type;
    const char *text;
    bool upper;
    const char *bytes;
    size_t len;
    const char *printed; /* NULL: not compared, because it was cut or is spelt otherwise */
};

static const struct bound_case cases[] = {
    { "'boolean'", "true", false, B("\x01"), "true" },
    { "'boolean'", "0", false, B("\x00"), "false" },
    { "'int'", "-2", false, B("\xfe\xff\xff\xff"), "-2" },
    { "'long'", "-9223372036854775808", false, B("\0\0\0\0\0\0\0\x80"), "-9223372036854775808" },
    { "'float'", "1.5", false, B("\x00\x00\xc0\x3f"), "1.5" },
    { "'float'", "0.0", false, B("\x00\x00\x00\x80"), "-0" },
    { "'float'", "-0.0", true, B("\x00\x00\x00\x00"), "0" },
    { "'double'", "-0.0", true, B("\0\0\0\0\0\0\0\0"), "0" },
    { "'double'", "0", false, B("\0\0\0\0\0\0\0\x80"), "-0" },
    { "'double'", "inf", true, B("\0\0\0\0\0\0\xf0\x7f"), "inf" },
    { "'double'", "0.1", true, B("\x9a\x99\x99\x99\x99\x99\xb9\x3f"), NULL },
    { "'date'", "1970-01-02", false, B("\x01\0\0\0"), "1970-01-02" },
    { "'date'", "1969-12-31", false, B("\xff\xff\xff\xff"), "1969-12-31" },
    { "'date'", "2017-11-16", false, B("\x4e\x44\0\0"), "2017-11-16" },
    { "'date'", "0001-01-01 (BC)", false, B("\x58\x05\xf5\xff"), "0001-01-01 (BC)" },
    { "'date'", "10000-01-01", false, B("\xa1\xc0\x2c\x00"), "10000-01-01" },
    { "'time'", "22:31:08", false, B("\x00\x83\x07\xe0\x12\0\0\0"), "22:31:08" },
    { "'timestamp'", "1970-01-01 00:00:00.000001", false, B("\x01\0\0\0\0\0\0\0"),
      "1970-01-01 00:00:00.000001" },
    { "'timestamp'", "1969-12-31 23:59:59.999999", false, B("\xff\xff\xff\xff\xff\xff\xff\xff"),
      "1969-12-31 23:59:59.999999" },
    { "'timestamp'", "1970-01-01T00:00:01.5", false, B("\x60\xe3\x16\0\0\0\0\0"),
      "1970-01-01 00:00:01.500000" },
    { "'timestamptz'", "1970-01-01 01:00:00+01", false, B("\0\0\0\0\0\0\0\0"),
      "1970-01-01 00:00:00+00" },
    { "'timestamptz'", "1969-12-31 18:30:00-05:30", false, B("\0\0\0\0\0\0\0\0"),
      "1970-01-01 00:00:00+00" },
    { "'decimal(9, 2)'", "14.20", false, B("\x05\x8c"), "14.20" },
    { "'decimal(9, 2)'", "0.00", false, B("\x00"), "0.00" },
    { "'decimal(9, 2)'", "-0.01", false, B("\xff"), "-0.01" },
    { "'decimal(9, 2)'", "1.28", false, B("\x00\x80"), "1.28" },
    { "'decimal(9, 2)'", "-1.28", false, B("\x80"), "-1.28" },
    { "'decimal(9, 2)'", "-1.29", false, B("\xff\x7f"), "-1.29" },
    { "'decimal(9, 2)'", "7", false, B("\x02\xbc"), "7.00" },
    { "'decimal(38, 0)'", "-99999999999999999999999999999999999999", false,
      B("\xb4\xc4\xb3\x57\xa5\x79\x3b\x85\xf6\x75\xdd\xc0\x00\x00\x00\x01"),
      "-99999999999999999999999999999999999999" },
    { "'decimal(38, 38)'", "0.00000000000000000000000000000000000001", false, B("\x01"),
      "0.00000000000000000000000000000000000001" },
    { "'string'", "", true, B(""), "" },
    { "'string'", "0123456789abcdef", true, B("0123456789abcdef"), "0123456789abcdef" },
    { "'string'", "0123456789abcdefg", false, B("0123456789abcdef"), NULL },
    { "'string'", "0123456789abcdefg", true, B("0123456789abcdeg"), NULL },
    { "'string'", "éééééééééééééééé!", true, B("ééééééééééééééé\xc3\xaa"), NULL },
    /* U+D7FF: surrogates are skipped */
    { "'string'", "aaaaaaaaaaaaaaa\xed\x9f\xbfz", true, B("aaaaaaaaaaaaaaa\xee\x80\x80"), NULL },
    { "'string'", "aaaaaaaaaaaaaa\xf4\x8f\xbf\xbf\xf4\x8f\xbf\xbfz", true, B("aaaaaaaaaaaaab"),
      NULL },
    /* grows by a byte */
    { "'string'", "aaaaaaaaaaaaaaa\x7fz", true, B("aaaaaaaaaaaaaaa\xc2\x80"), NULL },
    { "'string'", "aaaaaaaaaaaaaaa\xef\xbf\xbfz", true, B("aaaaaaaaaaaaaaa\xf0\x90\x80\x80"),
      NULL },
    /* cut within a character by whoever printed it */
    { "'string'", "ab\xc3", false, B("ab"), NULL },
    { "'string'", "ab\xc3", true, B("ac"), NULL },
    { "'uuid'", "f79c3e09-677c-4bbd-a479-3f349cb785e7", false,
      B("\xf7\x9c\x3e\x09\x67\x7c\x4b\xbd\xa4\x79\x3f\x34\x9c\xb7\x85\xe7"),
      "f79c3e09-677c-4bbd-a479-3f349cb785e7" },
    { "'binary'", "00FF", false, B("\x00\xff"), "\\x00\\xFF" },
    { "'binary'", "a\\xFF", false, B("a\xff"), "\\x61\\xFF" },
    { "'binary'", "00000000000000000000000000000000FFFF", false,
      B("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"), NULL },
    { "'binary'", "000000000000000000000000000000FFFF", true, B("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01"),
      NULL },
    { "'fixed[2]'", "0102", true, B("\x01\x02"), "\\x01\\x02" },
};

static void bound_bytes_are_those_of_the_specification(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct bound_case *c = &cases[i];
        struct ice_type type = type_of(c->type);
        struct str bound = { 0 };
        bool none = true;
        MUST(ice_bound_from_text(&arena, &type, str_of(c->text), c->upper, &bound, &none, &err));
        if (none || bound.len != c->len ||
            (c->len > 0 && memcmp(bound.ptr, c->bytes, c->len) != 0)) {
            fail_msg("case %zu: %s %s", i, c->type, c->text);
        }
        AUTO(buf_done) struct buf text;
        buf_init(&text, 0);
        MUST(ice_bound_print(&type, bound, &text, &err));
        if (c->printed != NULL && !str_eq(buf_str(&text), str_of(c->printed))) {
            fail_msg("case %zu: printed as %.*s", i, STR_ARG(buf_str(&text)));
        }
        struct str again = { 0 };
        if (c->printed != NULL) {
            MUST(ice_bound_from_text(&arena, &type, buf_str(&text), c->upper, &again, &none, &err));
            assert_true(str_eq(bound, again));
        }
    }
}

static void no_bound_where_none_can_be_promised(void **state)
{
    (void)state;
    static const struct {
        const char *type, *text;
    } none_cases[] = {
        { "'float'", "nan" },
        { "'double'", "NaN" },
        { "'date'", "infinity" },
        { "'timestamp'", "-infinity" },
        { "{'type':'list','element-id':1,'element':'int','element-required':false}", "[1]" },
        { "'timestamp_ns'", "2024-01-01" },
        { "'string'",
          "\xf4\x8f\xbf\xbf\xf4\x8f\xbf\xbf\xf4\x8f\xbf\xbf\xf4\x8f\xbf\xbf\xf4\x8f\xbf\xbf\xf4\x8f\xbf\xbf\xf4\x8f\xbf\xbf\xf4\x8f\xbf\xbf"
          "\xf4\x8f\xbf\xbf\xf4\x8f\xbf\xbf\xf4\x8f\xbf\xbf\xf4\x8f\xbf\xbf\xf4\x8f\xbf\xbf\xf4\x8f\xbf\xbf\xf4\x8f\xbf\xbf\xf4\x8f\xbf\xbfz" },
        { "'binary'", "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF" },
    };
    for (size_t i = 0; i < ARRAY_LEN(none_cases); i++) {
        struct ice_type type = type_of(none_cases[i].type);
        struct str bound = { 0 };
        bool none = false;
        MUST(ice_bound_from_text(&arena, &type, str_of(none_cases[i].text), true, &bound, &none,
                                 &err));
        assert_true(none);
        assert_null(bound.ptr);
    }
}

static void text_that_is_no_value_is_invalid(void **state)
{
    (void)state;
    static const struct {
        const char *type, *text;
    } wrong[] = {
        { "'int'", "2147483648" },
        { "'int'", "" },
        { "'long'", "1.0" },
        { "'boolean'", "yes" },
        { "'double'", "1x" },
        { "'double'", " 1" },
        { "'date'", "2023-02-29" },
        { "'date'", "1900-02-29" },
        { "'date'", "2024-13-01" },
        { "'date'", "2024-01-01 00:00:00" },
        { "'date'", "9999999-01-01-" },
        { "'time'", "24:00:01" },
        { "'time'", "12:60:00" },
        { "'time'", "12:00:00.1234567" },
        { "'timestamp'", "2024-01-01 00:00:00+00" },
        { "'timestamp'", "9999999-01-01 00:00:00" },
        { "'timestamptz'", "2024-01-01 00:00:00+" },
        { "'decimal(9, 2)'", "1.234" },
        { "'decimal(9, 2)'", "." },
        { "'decimal(9, 2)'", "1e3" },
        { "'decimal(38, 38)'", "99999999999999999999999999999999999999" },
        { "'uuid'", "f79c3e09" },
        { "'binary'", "0" },
        { "'binary'", "\\y00" },
        { "'binary'", "\\x0" },
    };
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        struct ice_type type = type_of(wrong[i].type);
        struct str bound = { 0 };
        bool none = false;
        enum status status = ice_bound_from_text(&arena, &type, str_of(wrong[i].text), false,
                                                 &bound, &none, &err);
        if (status != E_INVALID) {
            fail_msg("%s %s", wrong[i].type, wrong[i].text);
        }
    }
}

static struct str bound_of(const char *type_name, const char *text)
{
    struct ice_type type = type_of(type_name);
    struct str bound = { 0 };
    bool none = false;
    MUST(ice_bound_from_text(&arena, &type, str_of(text), true, &bound, &none, &err));
    assert_false(none);
    return bound;
}

static void bounds_are_ordered_like_their_values(void **state)
{
    (void)state;
    static const struct {
        const char *type, *less, *more;
    } pairs[] = {
        { "'boolean'", "false", "true" },
        { "'int'", "-1", "0" },
        { "'long'", "-9223372036854775808", "9223372036854775807" },
        { "'float'", "-1", "0.5" },
        { "'double'", "-inf", "1e300" },
        { "'date'", "0001-01-01 (BC)", "0001-01-01" },
        { "'timestamp'", "1969-12-31 00:00:00", "1970-01-01 00:00:00" },
        { "'decimal(38, 0)'", "-99999999999999999999999999999999999999", "1" },
        { "'decimal(9, 2)'", "-1.29", "-1.28" },
        { "'decimal(9, 2)'", "1.27", "1.28" },
        { "'string'", "Z", "a" },
        { "'string'", "a", "a\xf0\x9f\x98\x80" },
        { "'uuid'", "00000000-0000-0000-0000-000000000001",
          "f0000000-0000-0000-0000-000000000000" },
        { "'binary'", "7f", "80" },
    };
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        struct ice_type type = type_of(pairs[i].type);
        struct str less = bound_of(pairs[i].type, pairs[i].less);
        struct str more = bound_of(pairs[i].type, pairs[i].more);
        int order = 9;
        MUST(ice_bound_compare(&type, less, more, &order, &err));
        assert_int_equal(order < 0, 1);
        MUST(ice_bound_compare(&type, more, less, &order, &err));
        assert_int_equal(order > 0, 1);
        MUST(ice_bound_compare(&type, more, more, &order, &err));
        assert_int_equal(order, 0);
    }
}

static void short_bounds_of_widened_columns_are_read(void **state)
{
    (void)state;
    struct ice_type long_type = type_of("'long'");
    struct ice_type double_type = type_of("'double'");
    int order = 9;
    MUST(ice_bound_compare(&long_type, bound_of("'int'", "-5"), bound_of("'long'", "-5"), &order,
                           &err));
    assert_int_equal(order, 0);
    MUST(ice_bound_compare(&double_type, bound_of("'float'", "1.5"), bound_of("'double'", "1.25"),
                           &order, &err));
    assert_int_equal(order, 1);
    AUTO(buf_done) struct buf text;
    buf_init(&text, 0);
    MUST(ice_bound_print(&long_type, bound_of("'int'", "-5"), &text, &err));
    assert_str(buf_str(&text), "-5");
}

static void bounds_of_wrong_length_are_corrupt(void **state)
{
    (void)state;
    static const char *const types[] = { "'boolean'", "'int'",          "'long'", "'float'",
                                         "'double'",  "'date'",         "'time'", "'timestamp'",
                                         "'uuid'",    "'decimal(9, 2)'" };
    struct str bad[] = { STR(""), STR("123"), STR("12345678901234567") };
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        struct ice_type type = type_of(types[i]);
        for (size_t j = 0; j < ARRAY_LEN(bad); j++) {
            int order = 0;
            AUTO(buf_done) struct buf text;
            buf_init(&text, 0);
            if (type.kind == ICE_DECIMAL && bad[j].len == 3) {
                continue;
            }
            assert_int_equal(ice_bound_compare(&type, bad[j], bad[j], &order, &err), E_CORRUPT);
            assert_int_equal(ice_bound_print(&type, bad[j], &text, &err), E_CORRUPT);
            assert_int_equal(text.len, 0);
        }
    }
    struct ice_type type = type_of("'double'");
    int order = 0;
    assert_int_equal(ice_bound_compare(&type, STR("\0\0\0\0\0\0\xf8\x7f"),
                                       STR("\0\0\0\0\0\0\xf8\x7f"), &order, &err),
                     E_CORRUPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(bound_bytes_are_those_of_the_specification, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(no_bound_where_none_can_be_promised, setup, teardown),
        cmocka_unit_test_setup_teardown(text_that_is_no_value_is_invalid, setup, teardown),
        cmocka_unit_test_setup_teardown(bounds_are_ordered_like_their_values, setup, teardown),
        cmocka_unit_test_setup_teardown(short_bounds_of_widened_columns_are_read, setup, teardown),
        cmocka_unit_test_setup_teardown(bounds_of_wrong_length_are_corrupt, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
