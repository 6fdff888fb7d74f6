/*
 * Bodies of searches and additions: what is taken, and what each refusal says.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "api/vector_request.h"
#include "base/mem.h"
#include "base/rng.h"

static struct arena arena;
static struct err err;

static int set_up(void **state)
{
    arena_init(&arena, 0);
    err = (struct err){ 0 };
    return 0;
}

static int tear_down(void **state)
{
    arena_done(&arena);
    return 0;
}

static enum status search_of(const char *body, uint32_t dimension, struct vector_search *out)
{
    *out = (struct vector_search){ .k_max = 10000, .dimension = dimension };
    return vector_search_read_json(str_of(body), &arena, out, &err);
}

static void expect_text(struct str got, const char *wanted)
{
    assert_true(str_eq(got, str_of(wanted)));
}

static void refuse_search(const char *body, const char *message)
{
    struct vector_search search;
    assert_int_equal(search_of(body, 2, &search), E_INVALID);
    assert_string_equal(err.msg, message);
    vector_search_done(&search);
}

static void a_search_has_all_its_fields(void **state)
{
    struct vector_search search;
    assert_int_equal(
        search_of(" { \"vector\" : [ 1 , -2.5e-1 ] , \"k\":3,\"ef\":70,\"recall_target\":0.95,"
                  "\"filter\":{\"a\":[1,\"]}\\\"\"]},\"exact\":true,\"max_distance\":-0.5,"
                  "\"with_vectors\":true,\"with_metadata\":false,\"fields\":[\"a\",\"b.c\"]}\n",
                  2, &search),
        OK);
    const struct coll_query *query = &search.query;
    assert_int_equal(query->vector_count, 1);
    assert_true(query->vectors[0] == 1 && query->vectors[1] == -0.25f);
    assert_false(search.batch);
    assert_int_equal(query->k, 3);
    assert_int_equal(query->ef, 70);
    assert_true(query->recall_target == 0.95f);
    expect_text(query->filter, "{\"a\":[1,\"]}\\\"\"]}");
    assert_true(query->exact && query->has_max_distance && query->max_distance == -0.5);
    assert_true(query->with_vectors && !query->with_metadata);
    assert_int_equal(search.field_count, 2);
    expect_text(search.fields[1], "b.c");
    vector_search_done(&search);
}

static void what_is_left_out_or_null_has_its_default(void **state)
{
    struct vector_search search;
    assert_int_equal(
        search_of("{\"vectors\":[[1,2],[3,4],[5,6]],\"k\":null,\"filter\":null}", 2, &search), OK);
    assert_true(search.batch && search.query.with_metadata && !search.query.with_vectors);
    assert_int_equal(search.query.vector_count, 3);
    assert_true(search.query.vectors[5] == 6);
    assert_int_equal(search.query.k, 0);
    assert_int_equal(search.query.filter.len, 0);
    vector_search_done(&search);
}

static void an_id_is_unescaped(void **state)
{
    struct vector_search search;
    assert_int_equal(search_of("{\"id\":\"a\\u00e9\\ud83d\\ude00\\n\\/\"}", 2, &search), OK);
    expect_text(search.query.id, "a\xc3\xa9\xf0\x9f\x98\x80\n/");
    assert_null(search.query.vectors);
    vector_search_done(&search);
}

static void a_bad_search_is_refused_with_its_place(void **state)
{
    refuse_search("", "byte 0: an object is expected");
    refuse_search("[]", "byte 0: an object is expected");
    refuse_search("{}", "search for what? give \"vector\", \"vectors\" or \"id\"");
    refuse_search("{\"vector\":[1,2]", "byte 15: \",\" or \"}\" is expected");
    refuse_search("{\"vector\":[1,2]}x", "byte 16: something stands behind the JSON");
    refuse_search("{\"vector\":[1,2],}", "byte 16: a text is expected");
    refuse_search("{\"vector\":[1,2],\"kk\":1}", "unknown field \"kk\", did you mean \"k\"?");
    refuse_search("{\"vectr\":[1,2]}", "unknown field \"vectr\", did you mean \"vector\"?");
    refuse_search("{\"something\":1}", "unknown field \"something\"");
    refuse_search("{\"vector\":[1]}",
                  "\"vector\": byte 13: the vector has 1 number, the index has dimension 2");
    refuse_search("{\"vector\":[1,2,3]}",
                  "\"vector\": byte 17: the vector has 3 numbers, the index has dimension 2");
    refuse_search("{\"vectors\":[[1,2],[]]}",
                  "\"vectors\": byte 20: the vector has 0 numbers, the index has dimension 2");
    refuse_search("{\"vectors\":[]}", "\"vectors\" has none");
    refuse_search("{\"vector\":[1,null]}",
                  "\"vector\": byte 13: a number is expected, one that a float can hold");
    refuse_search("{\"vector\":[1,1e39]}",
                  "\"vector\": byte 13: a number is expected, one that a float can hold");
    refuse_search("{\"vector\":[1,NaN]}",
                  "\"vector\": byte 13: a number is expected, one that a float can hold");
    refuse_search("{\"vector\":[1,2],\"vectors\":[[1,2]]}",
                  "\"vectors\": byte 26: take one of \"vector\", \"vectors\" and \"id\"");
    refuse_search("{\"vector\":[1,2],\"vector\":[1,2]}", "byte 25: \"vector\" stands there twice");
    refuse_search("{\"id\":\"\"}", "\"id\": byte 8: an id has at least one byte");
    refuse_search("{\"id\":7}", "\"id\": byte 6: a text is expected");
    refuse_search("{\"id\":\"\xff\"}", "\"id\": byte 9: a text is not UTF-8");
    refuse_search("{\"id\":\"\\ud83d\"}",
                  "\"id\": byte 14: a text has an escape that JSON does not know");
    refuse_search("{\"vector\":[1,2],\"k\":0}", "\"k\" is 0: it is a number from 1 to 10000");
    refuse_search("{\"vector\":[1,2],\"k\":10001}",
                  "\"k\" is 10001: it is a number from 1 to 10000");
    refuse_search("{\"vector\":[1,2],\"k\":-1}",
                  "\"k\": byte 22: a whole number from 0 to 4294967295 is expected");
    refuse_search("{\"vector\":[1,2],\"k\":1.5}",
                  "\"k\": byte 23: a whole number from 0 to 4294967295 is expected");
    refuse_search("{\"vector\":[1,2],\"ef\":0}", "\"ef\" is 0: it is a number from 1 to 10000");
    refuse_search("{\"vector\":[1,2],\"exact\":1}",
                  "\"exact\": byte 24: true or false is expected");
    refuse_search("{\"vector\":[1,2],\"filter\":{\"a\":1}", "byte 32: \",\" or \"}\" is expected");
    refuse_search("{\"vector\":[1,2],\"filter\":{\"a\":[1}",
                  "\"filter\": byte 25: a value does not end");
    refuse_search("{\"vector\":[1,2],\"recall_target\":1.5}",
                  "\"recall_target\": byte 35: it lies between 0 and 1");
}

static void too_many_results_at_once_are_refused(void **state)
{
    struct vector_search search = { .k_max = 10000, .dimension = 1 };
    float vectors[101] = { 0 };
    assert_int_equal(
        vector_search_read_binary(str_from((const char *)vectors, sizeof(vectors)), &search, &err),
        OK);
    search.query.k = 10000;
    assert_int_equal(vector_search_check(&search, &err), E_INVALID);
    search.query.k = 9900;
    assert_int_equal(vector_search_check(&search, &err), OK);
    vector_search_done(&search);
}

static enum status add_of(const char *body, struct vector_add *out)
{
    *out = (struct vector_add){ .dimension = 2 };
    return vector_add_read_json(str_of(body), &arena, out, &err);
}

static void items_come_with_their_vectors(void **state)
{
    struct vector_add add;
    struct buf body;
    buf_init(&body, 0);
    assert_int_equal(buf_append(&body, STR("{\"mode\":\"insert\",\"items\":[")), OK);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(
            buf_printf(&body, "%s{\"metadata\":{\"n\":%d},\"id\":\"id%d\",\"vector\":[%d,0.5]}",
                       i > 0 ? "," : "", i, i, i),
            OK);
    }
    assert_int_equal(buf_append(&body, STR("]}")), OK);
    assert_int_equal(add_of(buf_cstr(&body), &add), OK);
    assert_int_equal(add.count, 1000);
    assert_int_equal(add.mode, COLL_INSERT);
    for (int i = 0; i < 1000; i++) {
        char id[16];
        snprintf(id, sizeof(id), "id%d", i);
        expect_text(add.items[i].id, id);
        assert_true(add.items[i].vector[0] == (float)i && add.items[i].vector[1] == 0.5f);
        assert_true(str_starts(add.items[i].metadata, STR("{\"n\":")));
    }
    vector_add_done(&add);
    buf_done(&body);
}

static void refuse_add(const char *body, const char *message)
{
    struct vector_add add;
    assert_int_equal(add_of(body, &add), E_INVALID);
    assert_string_equal(err.msg, message);
    vector_add_done(&add);
}

static void a_bad_item_is_refused_with_its_number(void **state)
{
    refuse_add("{}", "\"items\" has none");
    refuse_add("{\"items\":[]}", "\"items\" has none");
    refuse_add("{\"items\":{}}", "\"items\": byte 9: an array is expected");
    refuse_add("{\"items\":[{\"id\":\"a\",\"vector\":[1,2]},7]}",
               "\"items\": item 1: byte 36: an object is expected");
    refuse_add("{\"items\":[{\"vector\":[1,2]}]}", "\"items\": item 0: byte 26: \"id\" is missing");
    refuse_add("{\"items\":[{\"id\":\"a\"}]}", "\"items\": item 0: byte 20: \"vector\" is missing");
    refuse_add("{\"items\":[{\"id\":\"a\",\"vector\":null}]}",
               "\"items\": item 0: byte 34: \"vector\" is missing");
    refuse_add("{\"items\":[{\"id\":\"a\",\"vektor\":[1,2]}]}",
               "\"items\": item 0: unknown field \"vektor\", did you mean \"vector\"?");
    refuse_add("{\"items\":[],\"mode\":\"replace\"}",
               "\"mode\": mode \"replace\": it is upsert, insert or update");
}

/** As the page of the layout says. */
static void append_item(struct buf *out, const char *id, const char *metadata, const float *vector)
{
    uint32_t head[2] = { (uint32_t)strlen(id), (uint32_t)strlen(metadata) };
    assert_int_equal(buf_append_bytes(out, head, sizeof(head)), OK);
    assert_int_equal(buf_append_bytes(out, vector, 2 * sizeof(float)), OK);
    assert_int_equal(buf_append(out, str_of(id)), OK);
    assert_int_equal(buf_append(out, str_of(metadata)), OK);
    while (out->len % 4 != 0) {
        assert_int_equal(buf_append_char(out, '\0'), OK);
    }
}

static void bytes_say_the_same_as_json(void **state)
{
    static const float vectors[] = { 0.1f, 0.2f, 0.3f, 1e-40f };
    struct vector_add add = { .dimension = 2 };
    struct buf body;
    buf_init(&body, 0);
    append_item(&body, "first", "{\"x\":1}", vectors);
    append_item(&body, "b", "", vectors + 2);
    assert_int_equal(vector_add_read_binary(buf_str(&body), &add, &err), OK);
    assert_int_equal(add.count, 2);
    expect_text(add.items[0].id, "first");
    expect_text(add.items[0].metadata, "{\"x\":1}");
    expect_text(add.items[1].id, "b");
    assert_int_equal(add.items[1].metadata.len, 0);
    assert_memory_equal(add.items[0].vector, vectors, 2 * sizeof(float));
    assert_memory_equal(add.items[1].vector, vectors + 2, 2 * sizeof(float));
    vector_add_done(&add);
    /* every beginning is refused but the first item */
    for (size_t cut = 0; cut < body.len; cut++) {
        add = (struct vector_add){ .dimension = 2 };
        enum status status = vector_add_read_binary(str_take(buf_str(&body), cut), &add, &err);
        assert_int_equal(status, cut == 28 ? OK : E_INVALID);
        vector_add_done(&add);
    }
    body.ptr[body.len - 1] = 'x';
    add = (struct vector_add){ .dimension = 2 };
    assert_int_equal(vector_add_read_binary(buf_str(&body), &add, &err), E_INVALID);
    assert_string_equal(err.msg, "item 1: what fills it up to 4 bytes is not zero");
    vector_add_done(&add);
    buf_done(&body);
}

static void a_search_in_bytes_is_held_to_the_dimension(void **state)
{
    static const float vectors[] = { 1, 2, 3, 4 };
    struct vector_search search = { .k_max = 10, .dimension = 2 };
    struct str bytes = str_from((const char *)vectors, sizeof(vectors));
    assert_int_equal(vector_search_read_binary(str_take(bytes, 8), &search, &err), OK);
    assert_false(search.batch);
    vector_search_done(&search);
    search = (struct vector_search){ .k_max = 10, .dimension = 2 };
    assert_int_equal(vector_search_read_binary(bytes, &search, &err), OK);
    assert_int_equal(vector_search_check(&search, &err), OK);
    assert_true(search.batch && search.query.vector_count == 2 && search.query.vectors[3] == 4);
    vector_search_done(&search);
    for (size_t len = 0; len < 16; len += 4) {
        search = (struct vector_search){ .k_max = 10, .dimension = 2 };
        assert_int_equal(vector_search_read_binary(str_take(bytes, len), &search, &err),
                         len == 8 ? OK : E_INVALID);
        vector_search_done(&search);
    }
}

static void no_memory_is_told_wherever_it_ends(void **state)
{
    static const char add_body[] = "{\"items\":[{\"id\":\"\\u0061\",\"vector\":[1,2]},"
                                   "{\"id\":\"b\",\"vector\":[3,4]}]}";
    static const char search_body[] = "{\"vectors\":[[1,2],[3,4],[5,6]],\"fields\":[\"\\u0061\"]}";
    for (long nth = 0;; nth++) {
        struct vector_add add = { .dimension = 2 };
        struct vector_search search = { .dimension = 2, .k_max = 10 };
        struct arena own;
        arena_init(&own, 0);
        mem_fail_nth(nth);
        enum status status = vector_add_read_json(str_of(add_body), &own, &add, &err);
        if (status == OK) {
            status = vector_search_read_json(str_of(search_body), &own, &search, &err);
        }
        bool failed = mem_fail_happened();
        mem_fail_nth(-1);
        assert_int_equal(status, failed ? E_NO_MEMORY : OK);
        vector_add_done(&add);
        vector_search_done(&search);
        arena_done(&own);
        if (!failed) {
            assert_true(nth >= 5);
            return;
        }
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_search_has_all_its_fields),
        TEST(what_is_left_out_or_null_has_its_default),
        TEST(an_id_is_unescaped),
        TEST(a_bad_search_is_refused_with_its_place),
        TEST(too_many_results_at_once_are_refused),
        TEST(items_come_with_their_vectors),
        TEST(a_bad_item_is_refused_with_its_number),
        TEST(bytes_say_the_same_as_json),
        TEST(a_search_in_bytes_is_held_to_the_dimension),
        TEST(no_memory_is_told_wherever_it_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
