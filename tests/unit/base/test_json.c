/* JSON: what is read, what is refused and how, what is written. */
#include "testing.h"

#include <math.h>

#include "base/json.h"

static yyjson_doc *parse(const char *text)
{
    yyjson_doc *doc = NULL;
    struct err err = { 0 };
    if (json_parse(str_of(text), &doc, &err) != OK) {
        fail_msg("%s", err.msg);
    }
    return doc;
}

static void faults_are_told_with_line_and_column(void **state)
{
    static const char *const cases[][2] = {
        { "", "not valid JSON: the text is empty" },
        { "{\n  \"a\": x}", "not valid JSON: line 2, column 8: " },
        { "[\"\xC3\xA4\", x]", "not valid JSON: line 1, column 7: " },
        { "[1,]", "not valid JSON: line 1, column 3: " },
        { "{} {}", "not valid JSON: line 1, column 4: " },
        { "[\"\xFF\"]", "not valid JSON: line 1, column " },
        { "[1", "not valid JSON: line 1, column " },
        { "nul", "not valid JSON: line 1, column " },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err err = { 0 };
        yyjson_doc *doc = NULL;
        assert_int_equal(json_parse(str_of(cases[i][0]), &doc, &err), E_INVALID);
        assert_null(doc);
        if (!str_starts(str_of(err.msg), str_of(cases[i][1]))) {
            fail_msg("\"%s\" does not begin with \"%s\"", err.msg, cases[i][1]);
        }
    }
}

static enum status parse_nested(size_t depth)
{
    char text[2000];
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    memset(text, '[', depth);
    memset(text + depth, ']', depth);
    return json_parse(str_from(text, 2 * depth), &doc, NULL);
}

static void depth_is_limited(void **state)
{
    assert_int_equal(parse_nested(JSON_DEPTH_MAX), OK);
    assert_int_equal(parse_nested(JSON_DEPTH_MAX + 1), E_INVALID);
    assert_int_equal(parse_nested(900), E_INVALID);
}

static void everything_that_is_read_can_be_written(void **state)
{
    AUTO(buf_done) struct buf out;
    buf_init(&out, 0);
    struct json_writer w;
    json_writer_init(&w, &out);
    for (int i = 0; i < JSON_DEPTH_MAX; i++) {
        jw_arr_begin(&w);
        jw_i64(&w, 1);
    }
    for (int i = 0; i < JSON_DEPTH_MAX; i++) {
        jw_arr_end(&w);
        if (i < JSON_DEPTH_MAX - 1) {
            jw_i64(&w, 2);
        }
    }
    assert_int_equal(json_writer_end(&w), OK);
    struct str text = buf_str(&out);
    assert_true(str_starts(text, STR("[1,[1,[1,")));
    assert_true(str_ends(text, STR("],2],2],2]")));
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    assert_int_equal(json_parse(text, &doc, NULL), OK);
}

static void brackets_in_strings_are_no_depth(void **state)
{
    char text[600];
    memset(text, '[', sizeof(text));
    text[0] = '"';
    text[1] = '\\';
    text[2] = '"';
    text[sizeof(text) - 1] = '"';
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    assert_int_equal(json_parse(str_from(text, sizeof(text)), &doc, NULL), OK);
}

static void fields_are_read_by_their_type(void **state)
{
    AUTO(json_doc_done)
    yyjson_doc *doc = parse(
        "{\"s\":\"a\\u0000b\",\"i\":-9223372036854775808,\"u\":18446744073709551615,"
        "\"d\":1.5,\"b\":true,\"o\":{},\"a\":[1]}");
    yyjson_val *root = yyjson_doc_get_root(doc);
    struct str s;
    int64_t i;
    uint64_t u;
    double d;
    bool b;
    yyjson_val *o;
    yyjson_val *a;
    assert_int_equal(json_get_str(root, "s", JSON_REQUIRED, &s, NULL), OK);
    assert_int_equal(s.len, 3);
    assert_int_equal(json_get_i64(root, "i", JSON_REQUIRED, &i, NULL), OK);
    assert_true(i == INT64_MIN);
    assert_int_equal(json_get_u64(root, "u", JSON_REQUIRED, &u, NULL), OK);
    assert_true(u == UINT64_MAX);
    assert_int_equal(json_get_double(root, "d", JSON_REQUIRED, &d, NULL), OK);
    assert_true(d == 1.5);
    assert_int_equal(json_get_double(root, "i", JSON_REQUIRED, &d, NULL), OK);
    assert_true(d == -9223372036854775808.0);
    assert_int_equal(json_get_bool(root, "b", JSON_REQUIRED, &b, NULL), OK);
    assert_true(b);
    assert_int_equal(json_get_obj(root, "o", JSON_REQUIRED, &o, NULL), OK);
    assert_int_equal(json_get_arr(root, "a", JSON_REQUIRED, &a, NULL), OK);
    assert_int_equal(yyjson_arr_size(a), 1);
}

static void a_missing_field_is_an_error_only_when_required(void **state)
{
    AUTO(json_doc_done) yyjson_doc *doc = parse("{\"n\":null}");
    yyjson_val *root = yyjson_doc_get_root(doc);
    struct err err = { 0 };
    int64_t out = 7;
    assert_int_equal(json_get_i64(root, "n", JSON_OPTIONAL, &out, &err), OK);
    assert_int_equal(json_get_i64(root, "x", JSON_OPTIONAL, &out, &err), OK);
    assert_int_equal(out, 7);
    assert_int_equal(json_get_i64(root, "n", JSON_REQUIRED, &out, &err), E_INVALID);
    assert_string_equal(err.msg, "field \"n\" is missing");
    assert_int_equal(json_get_i64(NULL, "x", JSON_OPTIONAL, &out, &err), E_INVALID);
    assert_string_equal(err.msg, "expected an object with the field \"x\", found nothing");
}

static void a_wrong_type_is_an_error_that_names_field_and_types(void **state)
{
    AUTO(json_doc_done)
    yyjson_doc *doc = parse("{\"s\":1,\"i\":\"1\",\"f\":1.5,\"big\":18446744073709551616,"
                            "\"over\":9223372036854775808,\"neg\":-1}");
    yyjson_val *root = yyjson_doc_get_root(doc);
    struct err err = { 0 };
    struct str s;
    int64_t i;
    uint64_t u;
    assert_int_equal(json_get_str(root, "s", JSON_REQUIRED, &s, &err), E_INVALID);
    assert_string_equal(err.msg, "field \"s\" must be a string, not a number");
    assert_int_equal(json_get_i64(root, "i", JSON_OPTIONAL, &i, &err), E_INVALID);
    assert_string_equal(err.msg, "field \"i\" must be a whole number of 64 bits, not a string");
    assert_int_equal(json_get_i64(root, "f", JSON_REQUIRED, &i, &err), E_INVALID);
    assert_string_equal(err.msg, "field \"f\" must be a whole number of 64 bits, not a fraction");
    assert_int_equal(json_get_u64(root, "big", JSON_REQUIRED, &u, &err), E_INVALID);
    assert_string_equal(
        err.msg, "field \"big\" must be a whole number of 64 bits, not a number outside 64 bits");
    assert_int_equal(json_get_i64(root, "over", JSON_REQUIRED, &i, &err), E_INVALID);
    assert_int_equal(json_get_u64(root, "neg", JSON_REQUIRED, &u, &err), E_INVALID);
    assert_string_equal(err.msg, "field \"neg\" must not be negative");
}

static enum status parse_and_drop(void)
{
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    return json_parse(STR("{\"a\":[1,2,3]}"), &doc, NULL);
}

static void without_memory_parsing_says_so(void **state)
{
    FAIL_EVERY_ALLOCATION(parse_and_drop(), {});
}

static void write_sample(struct json_writer *w)
{
    jw_obj_begin(w);
    jw_kv_str(w, "s", STR("x\"y"));
    jw_kv_cstr(w, "c", "z");
    jw_kv_i64(w, "i", INT64_MIN);
    jw_kv_u64(w, "u", UINT64_MAX);
    jw_kv_bool(w, "b", false);
    jw_kv_arr(w, "a");
    jw_i64(w, 1);
    jw_null(w);
    jw_obj_begin(w);
    jw_obj_end(w);
    jw_arr_begin(w);
    jw_arr_end(w);
    jw_bool(w, true);
    jw_arr_end(w);
    jw_kv_obj(w, "o");
    jw_key(w, STR("k"));
    jw_raw(w, STR("[1,2]"));
    jw_key(w, STR("d"));
    jw_double(w, 0.1);
    jw_obj_end(w);
    jw_obj_end(w);
}

static void the_writer_places_commas_and_quotes(void **state)
{
    struct buf out;
    struct json_writer w;
    buf_init(&out, 0);
    json_writer_init(&w, &out);
    write_sample(&w);
    assert_int_equal(json_writer_end(&w), OK);
    assert_str(buf_str(&out), "{\"s\":\"x\\\"y\",\"c\":\"z\",\"i\":-9223372036854775808,"
                              "\"u\":18446744073709551615,\"b\":false,\"a\":[1,null,{},[],true],"
                              "\"o\":{\"k\":[1,2],\"d\":0.1}}");
    buf_done(&out);
}

static void a_document_goes_through_reader_and_writer_unchanged(void **state)
{
    const char *text = "{\"a\":[1,-2,3.5,\"\xC3\xA4\",null,true,123456789012345678901234567890],"
                       "\"b\":{}}";
    AUTO(json_doc_done) yyjson_doc *doc = parse(text);
    struct buf out;
    struct json_writer w;
    buf_init(&out, 0);
    json_writer_init(&w, &out);
    jw_val(&w, yyjson_doc_get_root(doc));
    assert_int_equal(json_writer_end(&w), OK);
    assert_str(buf_str(&out), text);
    buf_done(&out);
}

static struct str write_double(struct buf *out, double value)
{
    struct json_writer w;
    buf_clear(out);
    json_writer_init(&w, out);
    jw_double(&w, value);
    assert_int_equal(json_writer_end(&w), OK);
    return buf_str(out);
}

static void doubles_are_short_and_read_back_the_same(void **state)
{
    static const double values[] = { 0.1, 1.0 / 3, 1e300, -5e-324, 1.7976931348623157e308, 123 };
    struct buf out;
    buf_init(&out, 0);
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        double back;
        assert_true(str_to_double(write_double(&out, values[i]), &back));
        assert_true(back == values[i]);
    }
    assert_str(write_double(&out, NAN), "\"NaN\"");
    assert_str(write_double(&out, INFINITY), "\"Infinity\"");
    assert_str(write_double(&out, -INFINITY), "\"-Infinity\"");
    buf_done(&out);
}

static void an_array_goes_on_where_another_ended(void **state)
{
    struct buf out;
    struct json_writer w;
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    buf_init(&out, 0);
    assert_int_equal(json_parse(STR("[1,{\"a\":[]}]"), &doc, NULL), OK);
    json_writer_init(&w, &out);
    jw_obj_begin(&w);
    jw_key(&w, STR("more"));
    jw_arr_begin_with(&w, yyjson_doc_get_root(doc));
    jw_i64(&w, 2);
    jw_arr_end(&w);
    jw_key(&w, STR("same"));
    jw_arr_begin_with(&w, yyjson_doc_get_root(doc));
    jw_arr_end(&w);
    jw_key(&w, STR("none"));
    jw_arr_begin_with(&w, NULL);
    jw_i64(&w, 3);
    jw_arr_end(&w);
    jw_obj_end(&w);
    assert_int_equal(json_writer_end(&w), OK);
    assert_true(str_eq(buf_str(&out), STR("{\"more\":[1,{\"a\":[]},2],\"same\":[1,{\"a\":[]}],"
                                          "\"none\":[3]}")));
    buf_done(&out);
}

static void strings_are_escaped_and_bad_utf8_is_replaced(void **state)
{
    struct buf out;
    buf_init(&out, 0);
    assert_int_equal(json_append_string(&out, STR("\"\\\n\r\t\b\x01\0/\xE2\x82\xAC")), OK);
    assert_str(buf_str(&out), "\"\\\"\\\\\\n\\r\\t\\u0008\\u0001\\u0000/\xE2\x82\xAC\"");
    buf_clear(&out);
    assert_int_equal(json_append_string(&out, STR("a\xFF\xE2\x82z\xC0\x80")), OK);
    assert_str(buf_str(&out), "\"a\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBDz\xEF\xBF\xBD\xEF\xBF\xBD\"");
    buf_clear(&out);
    assert_int_equal(json_append_string(&out, str_from(NULL, 0)), OK);
    assert_str(buf_str(&out), "\"\"");
    buf_done(&out);
}

static enum status write_all(struct buf *out)
{
    struct json_writer w;
    json_writer_init(&w, out);
    write_sample(&w);
    TRY(json_writer_end(&w));
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    TRY(json_parse(buf_str(out), &doc, NULL));
    json_writer_init(&w, out);
    jw_val(&w, yyjson_doc_get_root(doc));
    return json_writer_end(&w);
}

static void without_memory_the_writer_tells_at_the_end(void **state)
{
    struct buf out;
    buf_init(&out, 0);
    FAIL_EVERY_ALLOCATION(write_all(&out), buf_done(&out));
    buf_done(&out);
}

static void the_first_failure_sticks_and_the_buffer_is_put_back(void **state)
{
    for (size_t max = 4; max < 160; max++) {
        struct buf out;
        struct json_writer w;
        buf_init(&out, max);
        assert_int_equal(buf_append(&out, STR("head")), OK);
        json_writer_init(&w, &out);
        write_sample(&w);
        if (json_writer_end(&w) == OK) {
            assert_true(out.len <= max);
        } else {
            assert_int_equal(w.status, E_TOO_LARGE);
            assert_str(buf_str(&out), "head");
        }
        buf_done(&out);
    }
}

static void a_text_that_was_given_up_in_the_middle_is_none(void **state)
{
    (void)state;
    struct json_writer w;
    struct buf out;
    buf_init(&out, 0);
    assert_int_equal(buf_append(&out, STR("before")), OK);
    json_writer_init(&w, &out);
    jw_obj_begin(&w);
    jw_kv_arr(&w, "list");
    jw_i64(&w, 1);
    assert_int_equal(json_writer_end(&w), E_INTERNAL);
    assert_true(str_eq(buf_str(&out), STR("before")));
    buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(faults_are_told_with_line_and_column),
        cmocka_unit_test(depth_is_limited),
        cmocka_unit_test(everything_that_is_read_can_be_written),
        cmocka_unit_test(brackets_in_strings_are_no_depth),
        cmocka_unit_test(fields_are_read_by_their_type),
        cmocka_unit_test(a_missing_field_is_an_error_only_when_required),
        cmocka_unit_test(a_wrong_type_is_an_error_that_names_field_and_types),
        cmocka_unit_test(without_memory_parsing_says_so),
        cmocka_unit_test(the_writer_places_commas_and_quotes),
        cmocka_unit_test(a_document_goes_through_reader_and_writer_unchanged),
        cmocka_unit_test(doubles_are_short_and_read_back_the_same),
        cmocka_unit_test(an_array_goes_on_where_another_ended),
        cmocka_unit_test(strings_are_escaped_and_bad_utf8_is_replaced),
        cmocka_unit_test(without_memory_the_writer_tells_at_the_end),
        cmocka_unit_test(the_first_failure_sticks_and_the_buffer_is_put_back),
        cmocka_unit_test(a_text_that_was_given_up_in_the_middle_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
