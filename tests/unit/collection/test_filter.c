/* What filters let through, value by value, and what is refused and how. */
#include "../base/testing.h"

#include "collection/collection.h"
#include "collection/filter.h"
#include "collection/meta.h"

static struct filter *parse(const char *text, struct arena *arena)
{
    struct filter *filter = NULL;
    struct err err = { 0 };
    if (filter_parse(str_of(text), arena, &filter, &err) != OK) {
        fail_msg("%s: %s", text, err.msg);
    }
    return filter;
}

static bool matches(const char *object, const char *text)
{
    struct arena arena;
    struct meta *meta = NULL;
    struct err err = { 0 };
    arena_init(&arena, 0);
    assert_int_equal(meta_new(&meta, NULL), OK);
    if (meta_set(meta, 3, str_of(object), &err) != OK) {
        fail_msg("%s: %s", object, err.msg);
    }
    bool result = meta_matches(meta, parse(text, &arena), 3);
    meta_free(meta);
    arena_done(&arena);
    return result;
}

static void expect(bool wanted, const char *object, const char *filter)
{
    if (matches(object, filter) != wanted) {
        fail_msg("%s of %s is %s", filter, object, wanted ? "false" : "true");
    }
}

#define YES(object, filter) expect(true, object, filter)
#define NO(object, filter) expect(false, object, filter)

static void equality_is_by_value(void **state)
{
    YES("{\"a\":1}", "{}");
    YES("{}", "{}");
    YES("{\"a\":1}", "{\"a\":1}");
    YES("{\"a\":1}", "{\"a\":1.0}");
    YES("{\"a\":0}", "{\"a\":-0.0}");
    NO("{\"a\":1}", "{\"a\":\"1\"}");
    NO("{\"a\":1}", "{\"a\":true}");
    YES("{\"a\":true}", "{\"a\":true}");
    NO("{\"a\":false}", "{\"a\":true}");
    YES("{\"a\":\"x\"}", "{\"a\":{\"$eq\":\"x\"}}");
    NO("{\"a\":\"x\"}", "{\"a\":\"xy\"}");
    YES("{\"a\":\"\\u00e9\\n\\\"\"}", "{\"a\":\"\xC3\xA9\\u000a\\u0022\"}");
    YES("{\"a\":\"x\\u0000y\"}", "{\"a\":\"x\\u0000y\"}");
    YES("{\"a\":{\"x\":1,\"y\":[2]}}", "{\"a\":{\"y\":[2.0],\"x\":1}}");
    NO("{\"a\":{\"x\":1,\"y\":2}}", "{\"a\":{\"x\":1}}");
    NO("{\"a\":{\"x\":1}}", "{\"a\":{\"x\":1,\"y\":2}}");
    YES("{\"a\":{}}", "{\"a\":{}}");
    YES("{\"a\":{\"$x\":1}}", "{\"a\":{\"$eq\":{\"$x\":1}}}");
    YES("{\"a\":1,\"b\":2}", "{\"a\":1,\"b\":2}");
    NO("{\"a\":1,\"b\":3}", "{\"a\":1,\"b\":2}");
    YES("{\"a\":2}", "{\"a\":{\"$in\":[1,2,\"x\"]}}");
    YES("{\"a\":\"x\"}", "{\"a\":{\"$in\":[1,2,\"x\"]}}");
    NO("{\"a\":3}", "{\"a\":{\"$in\":[1,2,\"x\"]}}");
    NO("{\"a\":3}", "{\"a\":{\"$in\":[]}}");
    YES("{\"a\":[2]}", "{\"a\":{\"$in\":[[1],[3],[2],{\"b\":1}]}}");
    YES("{\"a\":{\"b\":1}}", "{\"a\":{\"$in\":[[1],{\"c\":1},{\"b\":1}]}}");
}

static void an_array_is_its_elements_and_itself(void **state)
{
    YES("{\"a\":[1,2]}", "{\"a\":2}");
    YES("{\"a\":[1,2]}", "{\"a\":[1,2]}");
    NO("{\"a\":[1,2]}", "{\"a\":[2,1]}");
    NO("{\"a\":[1,2]}", "{\"a\":[1]}");
    NO("{\"a\":[[1,2]]}", "{\"a\":1}");
    YES("{\"a\":[[1,2],3]}", "{\"a\":[1,2]}");
    YES("{\"a\":[]}", "{\"a\":[]}");
    NO("{\"a\":[]}", "{\"a\":null}");
    YES("{\"a\":[1,9]}", "{\"a\":{\"$gt\":3,\"$lt\":5}}"); /* each by another element */
    NO("{\"a\":[1,2]}", "{\"a\":{\"$ne\":2}}");
    YES("{\"a\":[1,2]}", "{\"a\":{\"$ne\":3}}");
    NO("{\"a\":[1,2]}", "{\"a\":{\"$nin\":[2,5]}}");
    YES("{\"a\":[]}", "{\"a\":{\"$exists\":true}}");
}

static void paths_go_through_objects_arrays_and_positions(void **state)
{
    YES("{\"a\":{\"b\":{\"c\":1}}}", "{\"a.b.c\":1}");
    NO("{\"a.b\":1}", "{\"a.b\":1}");
    YES("{\"a.b\":1}", "{\"a\\\\.b\":1}");
    YES("{\"a\\\\b\":1}", "{\"a\\\\\\\\b\":1}");
    YES("{\"a\":{\"x.y\":{\"z\":1}}}", "{\"a.x\\\\.y.z\":1}");
    YES("{\"a\":[{\"b\":1},{\"b\":2}]}", "{\"a.b\":2}");
    YES("{\"a\":[{\"b\":[1,2]}]}", "{\"a.b\":2}");
    YES("{\"a\":[{\"b\":[1,2]}]}", "{\"a.b\":[1,2]}");
    NO("{\"a\":[[{\"b\":1}]]}", "{\"a.b\":1}");
    YES("{\"a\":[[{\"b\":1}]]}", "{\"a.0.b\":1}");
    YES("{\"a\":[5,7]}", "{\"a.1\":7}");
    NO("{\"a\":[5,7]}", "{\"a.0\":7}");
    NO("{\"a\":[5,7]}", "{\"a.01\":7}");
    YES("{\"a\":[5,[2,4]]}", "{\"a.1\":[2,4]}");
    NO("{\"a\":[5,[2,4]]}", "{\"a.1\":4}");
    YES("{\"a\":[5,[2,4]]}", "{\"a.1.1\":4}");
    YES("{\"a\":[5,{\"1\":4}]}", "{\"a.1\":4}");
    YES("{\"a\":[5,{\"1\":4}]}", "{\"a.1\":{\"1\":4}}");
    YES("{\"a\":{\"0\":4}}", "{\"a.0\":4}");
    YES("{\"a\":[{\"b\":{\"c\":3}}]}", "{\"a.0.b.c\":3}");
    YES("{\"\":{\"\":1}}", "{\".\":1}");
    YES("{\"\\n\":1}", "{\"\\n\":1}");
}

static void what_is_missing_is_null(void **state)
{
    static const char *const null_b[] = {
        "{}",
        "{\"a\":null}",
        "{\"a\":4}",
        "{\"a\":{}}",
        "{\"a\":{\"b\":null}}",
        "{\"a\":[{\"b\":3},{}]}",
        "{\"a\":[{}]}",
        "{\"a\":[{\"b\":null},{\"b\":3}]}",
    };
    static const char *const not_null_b[] = {
        "{\"a\":{\"b\":\"hi\"}}", "{\"a\":[{\"b\":1}]}", "{\"a\":[]}",
        "{\"a\":[[]]}",           "{\"a\":[null]}",      "{\"a\":[1,\"x\"]}",
    };
    for (size_t i = 0; i < ARRAY_LEN(null_b); i++) {
        YES(null_b[i], "{\"a.b\":null}");
        YES(null_b[i], "{\"a.b\":{\"$in\":[7,null]}}");
        NO(null_b[i], "{\"a.b\":{\"$ne\":null}}");
    }
    for (size_t i = 0; i < ARRAY_LEN(not_null_b); i++) {
        NO(not_null_b[i], "{\"a.b\":null}");
        YES(not_null_b[i], "{\"a.b\":{\"$ne\":null}}");
        YES(not_null_b[i], "{\"a.b\":{\"$nin\":[null,75]}}");
    }
    YES("{}", "{\"a\":{\"$ne\":1}}");
    YES("{}", "{\"a\":{\"$nin\":[1]}}");
    YES("{}", "{\"a\":{\"$exists\":false}}");
    NO("{\"a\":null}", "{\"a\":{\"$exists\":false}}");
    YES("{\"a\":null}", "{\"a\":{\"$exists\":true}}");
    NO("{}", "{\"a\":{\"$lt\":5}}");
    YES("{}", "{\"a\":{\"$not\":{\"$lt\":5}}}");
    YES("{\"a\":[1]}", "{\"a.b\":{\"$exists\":false}}");
}

static void order_is_within_one_kind(void **state)
{
    YES("{\"a\":5}", "{\"a\":{\"$gt\":4.5,\"$lte\":5}}");
    NO("{\"a\":5}", "{\"a\":{\"$gt\":5}}");
    YES("{\"a\":5}", "{\"a\":{\"$gte\":5}}");
    NO("{\"a\":\"5\"}", "{\"a\":{\"$gt\":4}}");
    NO("{\"a\":5}", "{\"a\":{\"$lt\":\"x\"}}");
    YES("{\"a\":\"b\"}", "{\"a\":{\"$gt\":\"a\",\"$lt\":\"ba\"}}");
    YES("{\"a\":\"\\n\"}", "{\"a\":{\"$lt\":\"A\"}}"); /* by its byte, not by its escape */
    YES("{\"a\":\"\\u007f\"}", "{\"a\":{\"$gt\":\"z\"}}");
    YES("{\"a\":\"\xC3\xA9\"}", "{\"a\":{\"$gt\":\"z\"}}");
    YES("{\"a\":\"a\\\"c\"}", "{\"a\":{\"$gt\":\"a\\\"b\",\"$lt\":\"a\\\"d\"}}");
    YES("{\"a\":\"a\\\"\"}", "{\"a\":{\"$lt\":\"a\\\"b\"}}");
    YES("{\"a\":\"a\\\"bc\"}", "{\"a\":{\"$gt\":\"a\\\"b\"}}");
    YES("{\"a\":true}", "{\"a\":{\"$gt\":false}}");
    NO("{\"a\":true}", "{\"a\":{\"$gt\":true}}");
    YES("{\"a\":false}", "{\"a\":{\"$lt\":true}}");
    NO("{\"a\":1}", "{\"a\":{\"$gt\":false}}");
    NO("{\"a\":null}", "{\"a\":{\"$lte\":1}}");
}

static void numbers_compare_exactly(void **state)
{
    YES("{\"a\":9007199254740993}", "{\"a\":{\"$gt\":9007199254740992.0}}");
    NO("{\"a\":9007199254740993}", "{\"a\":9007199254740992.0}");
    YES("{\"a\":-9007199254740993}", "{\"a\":{\"$lt\":-9007199254740992.0}}");
    YES("{\"a\":-9007199254740993}", "{\"a\":{\"$gt\":-9007199254740994.0}}");
    YES("{\"a\":18446744073709551615}", "{\"a\":{\"$lt\":18446744073709551616.0}}");
    YES("{\"a\":18446744073709551615}", "{\"a\":{\"$gt\":18446744073709549568.0}}");
    YES("{\"a\":9223372036854775808}", "{\"a\":9223372036854775808.0}");
    YES("{\"a\":-9223372036854775808}", "{\"a\":-9223372036854775808.0}");
    YES("{\"a\":-9223372036854775807}", "{\"a\":{\"$gt\":-9223372036854775808.0}}");
    YES("{\"a\":9223372036854775807}", "{\"a\":{\"$lt\":9223372036854775808}}");
    YES("{\"a\":0.1}", "{\"a\":0.1}");
    YES("{\"a\":-1}", "{\"a\":{\"$lt\":-0.5,\"$gt\":-1.5}}");
    YES("{\"a\":36893488147419103232}", "{\"a\":36893488147419103232.0}"); /* 2^65 */
    YES("{\"a\":1e999}", "{\"a\":{\"$gt\":1e308}}");
    YES("{\"a\":-1e999}", "{\"a\":{\"$lt\":-1e308}}");
    YES("{\"a\":5e-324}", "{\"a\":{\"$gt\":0}}");
}

static void logic_nests(void **state)
{
    YES("{\"a\":1,\"b\":2}", "{\"$and\":[{\"a\":1},{\"b\":2}]}");
    NO("{\"a\":1,\"b\":2}", "{\"$and\":[{\"a\":1},{\"b\":3}]}");
    YES("{\"a\":1,\"b\":2}", "{\"$or\":[{\"a\":5},{\"b\":2}]}");
    NO("{\"a\":1}", "{\"$or\":[{\"a\":5},{\"b\":2}]}");
    NO("{\"a\":1}", "{\"$nor\":[{\"a\":1},{\"b\":2}]}");
    YES("{\"a\":3}", "{\"$nor\":[{\"a\":1},{\"b\":2}]}");
    YES("{\"a\":3}", "{\"$not\":{\"a\":1}}");
    NO("{\"a\":3}", "{\"a\":{\"$not\":{\"$gt\":1,\"$lt\":4}}}");
    YES("{\"a\":3}", "{\"a\":{\"$not\":{\"$not\":{\"$eq\":3}}}}");
    YES("{\"a\":1,\"c\":true}",
        "{\"c\":true,\"$or\":[{\"a\":1,\"b\":null},{\"$and\":[{\"b\":1}]}]}");
}

static void refusals_name_what_is_wrong(void **state)
{
    static const char *const cases[][2] = {
        { "{\"a\":{\"$gtt\":1}}", "operator \"$gtt\" is not known, did you mean \"$gt\"?" },
        { "{\"a\":{\"$exist\":true}}", "did you mean \"$exists\"?" },
        { "{\"a\":{\"$elemMatch\":{}}}", "operator \"$elemMatch\" is not known (the nearest is" },
        { "{\"$where\":\"x\"}", "operator \"$where\" is not known" },
        { "{\"a\":{\"$and\":[{}]}}", "\"$and\" stands beside fields" },
        { "{\"$gt\":1}", "\"$gt\" stands within a field" },
        { "{\"a\":{\"$gt\":1,\"b\":2}}", "field \"a\" mixes operators and names" },
        { "{\"a\":{\"$gt\":null}}", "\"$gt\" wants a number, a string or a boolean" },
        { "{\"a\":{\"$lte\":[1]}}", "\"$lte\" wants" },
        { "{\"a\":{\"$in\":1}}", "\"$in\" wants an array" },
        { "{\"a\":{\"$nin\":{}}}", "\"$nin\" wants an array" },
        { "{\"a\":{\"$exists\":1}}", "\"$exists\" wants true or false" },
        { "{\"a\":{\"$not\":5}}", "\"$not\" within a field wants an object of operators" },
        { "{\"a\":{\"$not\":{}}}", "\"$not\" within a field wants an object of operators" },
        { "{\"$or\":[]}", "\"$or\" wants an array of filters" },
        { "{\"$and\":{}}", "\"$and\" wants an array of filters" },
        { "{\"$and\":[1]}", "a filter is an object" },
        { "[]", "a filter is an object" },
        { "{\"a\\\\b\":1}", "path \"a\\b\": a backslash stands before" },
        { "{\"a\\\\\":1}", "a backslash stands before" },
        { "{\"a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q\":1}", "has more than 16 names" },
        { "{\"a\":", "not valid JSON: line 1" },
        { "", "not valid JSON: the text is empty" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct arena arena;
        struct err err = { 0 };
        struct filter *filter = NULL;
        arena_init(&arena, 0);
        assert_int_equal(filter_parse(str_of(cases[i][0]), &arena, &filter, &err), E_INVALID);
        if (str_find(str_of(err.msg), str_of(cases[i][1])) == SIZE_MAX) {
            fail_msg("%s: \"%s\" does not say \"%s\"", cases[i][0], err.msg, cases[i][1]);
        }
        arena_done(&arena);
    }
}

static enum status parse_nested(const char *open, const char *close, int depth)
{
    AUTO(buf_done) struct buf text;
    AUTO(arena_done) struct arena arena;
    struct filter *filter;
    buf_init(&text, 0);
    arena_init(&arena, 0);
    for (int i = 0; i < depth; i++) {
        assert_int_equal(buf_append(&text, str_of(open)), OK);
    }
    assert_int_equal(buf_append(&text, STR("{}")), OK);
    for (int i = 0; i < depth; i++) {
        assert_int_equal(buf_append(&text, str_of(close)), OK);
    }
    return filter_parse(buf_str(&text), &arena, &filter, NULL);
}

static void depth_and_number_of_conditions_are_limited(void **state)
{
    AUTO(buf_done) struct buf text;
    AUTO(arena_done) struct arena arena;
    struct filter *filter;
    assert_int_equal(parse_nested("{\"$and\":[", "]}", 31), OK);
    assert_int_equal(parse_nested("{\"$and\":[", "]}", 32), E_INVALID);
    assert_int_equal(parse_nested("{\"$not\":", "}", 31), OK);
    assert_int_equal(parse_nested("{\"$not\":", "}", 32), E_INVALID);
    for (int count = 999; count <= 1000; count++) { /* the object itself is one */
        buf_init(&text, 0);
        arena_init(&arena, 0);
        for (int i = 0; i < count; i++) {
            assert_int_equal(buf_printf(&text, "%c\"a%d\":1", i == 0 ? '{' : ',', i), OK);
        }
        assert_int_equal(buf_append_char(&text, '}'), OK);
        assert_int_equal(filter_parse(buf_str(&text), &arena, &filter, NULL),
                         count == 999 ? OK : E_INVALID);
        buf_done(&text);
        arena_done(&arena);
    }
}

static enum status parse_once(const char *text)
{
    AUTO(arena_done) struct arena arena;
    struct filter *filter;
    arena_init(&arena, 0);
    return filter_parse(str_of(text), &arena, &filter, NULL);
}

static void every_allocation_of_parsing_may_fail(void **state)
{
    FAIL_EVERY_ALLOCATION(
        parse_once("{\"a\\\\.b.c\":{\"$in\":[1,\"x\",[2],{\"d\":null}]},\"$nor\":[{\"e\":"
                   "{\"$gt\":\"y\",\"$not\":{\"$exists\":false}}}]}"),
        (void)0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equality_is_by_value),
        cmocka_unit_test(an_array_is_its_elements_and_itself),
        cmocka_unit_test(paths_go_through_objects_arrays_and_positions),
        cmocka_unit_test(what_is_missing_is_null),
        cmocka_unit_test(order_is_within_one_kind),
        cmocka_unit_test(numbers_compare_exactly),
        cmocka_unit_test(logic_nests),
        cmocka_unit_test(refusals_name_what_is_wrong),
        cmocka_unit_test(depth_and_number_of_conditions_are_limited),
        cmocka_unit_test(every_allocation_of_parsing_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
