/*
 * vector_search and vector_items from a statement to the driver that queryd was handed, through a
 * real engine.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdio.h>

#include "lake.h"

static struct lake lake;
static struct query_service *plain; /* the lake's own: without vectors */

static char asked_index[128], asked_id[64];
static struct buf asked_body;
static bool in_time;
static const char *reply_text;
static enum status refusal;
static const char *refusal_text;

static enum status search(void *ctx, const struct query_nearest *nearest, struct buf *reply,
                          struct err *err)
{
    assert_ptr_equal(ctx, &lake);
    snprintf(asked_index, sizeof(asked_index), "%.*s", STR_ARG(nearest->index));
    snprintf(asked_id, sizeof(asked_id), "%.*s", STR_ARG(nearest->request_id));
    in_time = nearest->deadline != 0 && nearest->deadline <= deadline_in(30000);
    buf_clear(&asked_body);
    TRY(buf_append(&asked_body, nearest->body));
    if (refusal != OK) {
        return err_set(err, refusal, "%s", refusal_text);
    }
    return buf_append(reply, str_of(reply_text));
}

/* pages of one item each: a driver's answer to vector_items, and what was asked for */
static const char *pages[4];
static size_t page_lens[4], page_count;
static char asked_after[16];
static bool asked_vectors;

static enum status items(void *ctx, const struct query_items *asked, struct buf *reply,
                         struct err *err)
{
    assert_ptr_equal(ctx, &lake);
    snprintf(asked_index, sizeof(asked_index), "%.*s", STR_ARG(asked->index));
    snprintf(asked_after, sizeof(asked_after), "%.*s", STR_ARG(asked->after));
    asked_vectors = asked->with_vectors;
    in_time = asked->deadline != 0 && asked->deadline <= deadline_in(30000);
    if (refusal != OK) {
        return err_set(err, refusal, "%s", refusal_text);
    }
    size_t page = asked->after.len == 0 ? 0 : (size_t)(asked->after.ptr[0] - '0');
    assert_in_range(page, 0, page_count - 1);
    return buf_append(reply, str_from(pages[page], page_lens[page]));
}

static int set_up(void **state)
{
    struct err err = { 0 };
    buf_init(&asked_body, 0);
    lake_open(&lake, false,
              &(struct engine_pool_opts){
                  .engines_max = 2, .threads = 2, .memory_limit_bytes = 256 << 20 });
    const struct query_service_opts opts = { .catalog = lake.catalog,
                                             .store = lake.store,
                                             .engines = lake.engines,
                                             .vectors = {
                                                 .search = search, .items = items, .ctx = &lake } };
    plain = lake.service;
    assert_int_equal(query_service_open(&opts, &lake.service, &err), OK);
    return 0;
}

static int tear_down(void **state)
{
    query_service_close(lake.service);
    lake.service = plain;
    lake_close(&lake);
    buf_done(&asked_body);
    return 0;
}

static int quiet(void **state)
{
    refusal = OK;
    reply_text = "{\"results\":[]}";
    return 0;
}

static void assert_fails(const char *sql, enum status kind, const char *message)
{
    struct err err = { 0 };
    assert_int_equal(lake_sql(&lake, sql, NULL, &err), kind);
    assert_string_equal(err.msg, message);
}

static void query_nearest_asks_with_the_body_of_the_vectors_api(void **state)
{
    AUTO(buf_done) struct buf out;
    struct err err = { 0 };
    buf_init(&out, 0);
    reply_text = "{\"results\":[{\"id\":\"a\",\"distance\":0.5,\"metadata\":{\"n\":1}},"
                 "{\"id\":\"b\",\"distance\":0.75}],\"ef_used\":64,\"plan\":\"graph\"}";
    const struct query_opts opts = {
        .sql = STR("SELECT * FROM vector_search('docs', [0.1, -2, 1e-7]::FLOAT[], k := 2, "
                   "ef := 50, filter := ' {\"lang\":\"en\"}')"),
        .format = QUERY_CSV,
        .deadline = deadline_in(30000),
        .id = STR("request-1"),
    };
    if (lake_sql_opts(&lake, &opts, &out, &err) != OK) {
        fail_msg("%s", err.msg);
    }
    assert_string_equal(buf_cstr(&out), "id,distance,metadata\r\na,0.5,\"{\"\"n\"\":1}\"\r\n"
                                        "b,0.75,\r\n");
    assert_string_equal(asked_index, "docs");
    assert_string_equal(asked_id, "request-1");
    assert_true(in_time);
    assert_string_equal(buf_cstr(&asked_body),
                        "{\"vector\":[0.1,-2,1e-7],\"k\":2,\"ef\":50,"
                        "\"filter\": {\"lang\":\"en\"},\"with_metadata\":true}");
}

static void query_nearest_leaves_out_what_was_not_given(void **state)
{
    struct err err = { 0 };
    assert_int_equal(lake_sql(&lake, "SELECT id FROM vector_search('i', [1])", NULL, &err), OK);
    assert_string_equal(buf_cstr(&asked_body), "{\"vector\":[1],\"with_metadata\":false}");
}

static void query_nearest_takes_no_filter_that_is_more_than_one_value(void **state)
{
    struct err err = { 0 };
    buf_clear(&asked_body);
    assert_int_equal(lake_sql(&lake,
                              "SELECT id FROM vector_search('i', [1], filter := '{}, \"k\": 9')",
                              NULL, &err),
                     E_INVALID);
    assert_non_null(strstr(err.msg, "the filter"));
    assert_int_equal(asked_body.len, 0);
}

static void query_nearest_gives_the_drivers_error_without_places_of_a_body(void **state)
{
    const char *sql = "SELECT id FROM vector_search('i', [1])";
    refusal = E_INVALID;
    refusal_text = "\"vector\": byte 11: the vector has 1 number, the index has dimension 3";
    assert_fails(sql, E_INVALID, "\"vector\": the vector has 1 number, the index has dimension 3");
    refusal_text = "byte 7: a number is expected";
    assert_fails(sql, E_INVALID, "a number is expected");
    refusal_text = "a megabyte 7: is no place, and byte x: is none";
    assert_fails(sql, E_INVALID, refusal_text);
    refusal = E_NOT_FOUND;
    refusal_text = "index \"i\" is not there";
    assert_fails(sql, E_NOT_FOUND, refusal_text);
    refusal = E_UPSTREAM;
    refusal_text = "cannot reach vectord";
    assert_fails(sql, E_UPSTREAM, refusal_text);
}

static void query_nearest_survives_answers_that_are_none(void **state)
{
    static const char *const replies[] = {
        "",
        "[]",
        "{}",
        "{\"results\":3}",
        "{\"results\":[3]}",
        "{\"results\":[{\"id\":1,\"distance\":1}]}",
        "{\"results\":[{\"id\":\"a\"}]}",
        "{\"results\":[{\"id\":\"a\",\"distance\":\"x\"}]}",
        "{\"results\":[{\"id\":\"a\",\"distance\":1,\"metadata\":[]}]}",
    };
    for (size_t i = 0; i < ARRAY_LEN(replies); i++) {
        struct err err = { 0 };
        reply_text = replies[i];
        enum status kind = lake_sql(&lake, "SELECT * FROM vector_search('i', [1])", NULL, &err);
        if (kind != E_UPSTREAM) {
            fail_msg("%s: %s %s", replies[i], status_name(kind), err.msg);
        }
    }
}

static void query_nearest_without_a_driver_says_so(void **state)
{
    struct err err = { 0 };
    struct query_service *with = lake.service;
    lake.service = plain;
    assert_int_equal(lake_sql(&lake, "SELECT * FROM vector_search('i', [1])", NULL, &err),
                     E_UNSUPPORTED);
    lake.service = with;
    assert_non_null(strstr(err.msg, "queryd.vectord_url"));
}

#define PAGE(at, text) (pages[at] = (text), page_lens[at] = sizeof(text) - 1, page_count = (at) + 1)

static void vector_items_reads_page_after_page(void **state)
{
    AUTO(buf_done) struct buf out;
    struct err err = { 0 };
    buf_init(&out, 0);
    PAGE(0, "\2\0\0\0\1\0\0\0"
            "1\0\0\0"
            "\1\0\0\0\7\0\0\0"
            "\0\0\200\77\0\0\0\300"
            "a{\"n\":1}");
    PAGE(1, "\2\0\0\0\1\0\0\0"
            "2\0\0\0"); /* a page may be empty and not the last */
    PAGE(2, "\2\0\0\0\0\0\0\0"
            "\2\0\0\0\0\0\0\0"
            "\0\0\0\77\0\0\0\0"
            "bc\0\0");
    const struct query_opts opts = { .sql = STR("SELECT * FROM vector_items('docs')"),
                                     .format = QUERY_NDJSON_ARRAYS,
                                     .deadline = deadline_in(30000),
                                     .id = STR("request-2") };
    if (lake_sql_opts(&lake, &opts, &out, &err) != OK) {
        fail_msg("%s", err.msg);
    }
    assert_string_equal(buf_cstr(&out), "[\"a\",[1.0,-2.0],\"{\\\"n\\\":1}\"]\n"
                                        "[\"bc\",[0.5,0.0],\"{}\"]\n");
    assert_string_equal(asked_index, "docs");
    assert_string_equal(asked_after, "2");
    assert_true(asked_vectors && in_time);
}

static void vector_items_leaves_out_vectors_that_nobody_wants(void **state)
{
    struct err err = { 0 };
    PAGE(0, "\0\0\0\0\0\0\0\0"
            "\1\0\0\0\0\0\0\0"
            "a\0\0\0");
    assert_int_equal(
        lake_sql(&lake, "SELECT count(*), min(id) FROM vector_items('docs')", NULL, &err), OK);
    assert_false(asked_vectors);
}

static void vector_items_that_come_cut_short_are_an_error(void **state)
{
    static const char whole[] = "\1\0\0\0\0\0\0\0"
                                "\1\0\0\0\2\0\0\0"
                                "\0\0\0\0"
                                "a{}\0";
    for (size_t len = 0; len < sizeof(whole) - 1; len++) {
        pages[0] = whole;
        page_lens[0] = len;
        page_count = 1;
        struct err err = { 0 };
        enum status kind = lake_sql(&lake, "SELECT * FROM vector_items('docs')", NULL, &err);
        assert_int_equal(kind, len == 8 ? OK : E_UPSTREAM); /* 8: a page without items */
    }
    refusal = E_NOT_FOUND;
    refusal_text = "index \"docs\" is not there";
    assert_fails("SELECT * FROM vector_items('docs')", E_NOT_FOUND, refusal_text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup(name, quiet)
        TEST(query_nearest_asks_with_the_body_of_the_vectors_api),
        TEST(query_nearest_leaves_out_what_was_not_given),
        TEST(query_nearest_takes_no_filter_that_is_more_than_one_value),
        TEST(query_nearest_gives_the_drivers_error_without_places_of_a_body),
        TEST(query_nearest_survives_answers_that_are_none),
        TEST(query_nearest_without_a_driver_says_so),
        TEST(vector_items_reads_page_after_page),
        TEST(vector_items_leaves_out_vectors_that_nobody_wants),
        TEST(vector_items_that_come_cut_short_are_an_error),
    };
    return cmocka_run_group_tests_name("nearest", tests, set_up, tear_down);
}
