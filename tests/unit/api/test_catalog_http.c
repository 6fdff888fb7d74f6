/*
 * catalogd's routes over a catalogue in memory, and the http driver that speaks to them: it must
 * behave like the local one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "api/api_catalog.h"
#include "http/client.h"

static struct err err;

#define assert_ok(call)                                                                            \
    do {                                                                                           \
        enum status status_ = (call);                                                              \
        if (status_ != OK) {                                                                       \
            fail_msg("%s: %s: %s", #call, status_name(status_), err.msg);                          \
        }                                                                                          \
    } while (0)

struct lab {
    struct store *store;
    struct catalog *local, *remote;
    struct api_catalog api;
    struct metrics *metrics;
    struct http_server *server;
    struct http_client *client;
    struct arena arena;
};

static int lab_open(void **state)
{
    struct lab *lab = test_calloc(1, sizeof(*lab));
    arena_init(&lab->arena, 0);
    assert_ok(store_mem_open(&(struct store_mem_opts){ 0 }, &lab->store, &err));
    assert_ok(
        catalog_local_open(&(struct catalog_local_opts){ .store = lab->store }, &lab->local, &err));
    lab->api = (struct api_catalog){ .catalog = lab->local, .store = lab->store };
    lab->metrics = metrics_new();
    assert_ok(http_server_new(&(struct http_server_opts){ .service = "catalogd",
                                                          .bind = "127.0.0.1:0",
                                                          .metrics = lab->metrics,
                                                          .cluster_secret = STR("s3cret"),
                                                          .drain_ms = 1000 },
                              &lab->server, &err));
    size_t count = 0;
    const struct http_route *routes = api_catalog_routes(&count);
    assert_ok(http_server_mount(lab->server, "", routes, count, &lab->api, &err));
    routes = api_catalog_internal_routes(&count);
    assert_ok(http_server_mount(lab->server, "", routes, count, &lab->api, &err));
    assert_ok(http_server_start(lab->server, &err));
    char url[100];
    snprintf(url, sizeof(url), "http://%s", http_server_address(lab->server));
    assert_ok(catalog_http_open(&(struct catalog_http_opts){ .url = url,
                                                             .cluster_secret = STR("s3cret"),
                                                             .store = lab->store },
                                &lab->remote, &err));
    assert_ok(http_client_new(&(struct http_client_opts){ .base_url = url, .service = "catalogd" },
                              &lab->client, &err));
    *state = lab;
    return 0;
}

static int lab_close(void **state)
{
    struct lab *lab = *state;
    http_client_free(lab->client);
    catalog_close(lab->remote);
    http_server_stop(lab->server);
    http_server_free(lab->server);
    catalog_close(lab->local);
    metrics_free(lab->metrics);
    store_close(lab->store);
    arena_done(&lab->arena);
    test_free(lab);
    return 0;
}

static enum status append(struct lab *lab, const char *table, const char *batch, int64_t rows,
                          struct catalog_appended *out)
{
    struct table_name name;
    struct catalog_place place;
    TRY(table_name_parse(&lab->arena, str_of(table), &name, &err));
    TRY(catalog_place(lab->remote, &name, &lab->arena, &place, &err));
    struct ice_field fields[] = {
        { .id = 1, .name = STR("id"), .type = { .kind = ICE_LONG } },
        { .id = 2,
          .name = STR("price"),
          .type = { .kind = ICE_DECIMAL, .precision = 9, .scale = 2 } },
    };
    struct ice_schema schema = { .root = {
                                     .kind = ICE_STRUCT, .fields = fields, .field_count = 2 } };
    struct ice_column_stats stats[] = {
        { .field_id = 1,
          .size_bytes = 80,
          .value_count = rows,
          .null_count = 0,
          .nan_count = -1,
          .lower = str_from("\x01\0\0\0\0\0\0\0", 8),
          .upper = str_from("\xff\0\0\0\0\0\0\0", 8) },
    };
    int64_t splits[] = { 4, 400 };
    struct ice_data_file file = {
        .path = arena_printf(&lab->arena, "%.*s/data/%s.parquet", STR_ARG(place.location_key),
                             batch),
        .format = STR("PARQUET"),
        .record_count = rows,
        .size_bytes = 500,
        .columns = stats,
        .column_count = 1,
        .split_offsets = splits,
        .split_count = 2,
        .sort_order_id = -1,
    };
    struct ice_property summary = { STR("lakehouse.rows-skipped"), STR("3") };
    struct catalog_append in = { .name = name,
                                 .batch_id = str_of(batch),
                                 .schema = place.exists ? place.schema : &schema,
                                 .files = &file,
                                 .file_count = 1,
                                 .create = true,
                                 .place = &place,
                                 .expected_schema_id = place.schema_id,
                                 .summary = &summary,
                                 .summary_count = 1 };
    return catalog_append(lab->remote, &in, &lab->arena, out, &err);
}

static void the_http_driver_appends_finds_and_reads(void **state)
{
    struct lab *lab = *state;
    struct catalog_appended first, second, again;
    assert_ok(append(lab, "birds", "b1", 10, &first));
    assert_true(first.created);
    assert_ok(append(lab, "birds", "b2", 5, &second));
    assert_false(second.created);
    assert_true(str_eq(first.uuid, second.uuid));
    assert_ok(append(lab, "birds", "b2", 5, &again)); /* the same file: the same append */
    assert_int_equal(again.snapshot_id, second.snapshot_id);
    struct table_name name = { STR("main"), STR("birds") };
    struct catalog_pin *pin = NULL;
    struct catalog_files files;
    assert_ok(catalog_pin(lab->remote, &(struct table_name){ STR("main"), STR("BIRDS") }, true,
                          NULL, &pin, &err));
    assert_ok(catalog_files(lab->remote, pin, &lab->arena, &files, &err));
    assert_int_equal(files.count, 2);
    const struct ice_data_file *file = files.files[0].file;
    assert_int_equal(file->column_count, 1);
    assert_true(str_eq(file->columns[0].upper, str_from("\xff\0\0\0\0\0\0\0", 8)));
    assert_int_equal(file->split_count, 2);
    assert_true(
        yyjson_equals_str(yyjson_obj_get(pin->snapshot->summary, "lakehouse.rows-skipped"), "3"));
    catalog_unpin(pin);
    bool found = false;
    struct catalog_appended batch;
    assert_ok(catalog_batch(lab->remote, &name, STR("b1"), &lab->arena, &found, &batch, &err));
    assert_true(found && batch.snapshot_id == first.snapshot_id && batch.row_count == 10);
    assert_ok(catalog_batch(lab->remote, &name, STR("b9"), &lab->arena, &found, &batch, &err));
    assert_false(found);
    struct catalog_list list;
    assert_ok(catalog_list(lab->remote, NULL, &lab->arena, &list, &err));
    assert_true(list.count == 1 && list.tables[0].row_count == 15 && list.next.len == 0);
    assert_ok(catalog_drop(lab->remote, &name, &err));
    assert_int_equal(catalog_drop(lab->remote, &name, &err), E_NOT_FOUND);
    assert_non_null(strstr(err.msg, "birds"));
}

static yyjson_doc *call(struct lab *lab, enum http_method method, const char *target,
                        const char *body, int expect)
{
    struct http_answer answer = { 0 };
    struct http_header json = { STR("Content-Type"), STR("application/json") };
    struct http_call request = { .method = method,
                                 .target = str_of(target),
                                 .headers = &json,
                                 .header_count = body != NULL ? 1 : 0,
                                 .body = str_of(body) };
    yyjson_doc *doc = NULL;
    assert_ok(http_client_call(lab->client, &request, &answer, &err));
    if (answer.status != expect) {
        fail_msg("%s: %d %.*s", target, answer.status, STR_ARG(buf_str(&answer.body)));
    }
    if (answer.body.len > 0) {
        assert_ok(json_parse(buf_str(&answer.body), &doc, &err));
    }
    http_answer_done(&answer);
    return doc;
}

static void the_public_routes_have_their_shapes(void **state)
{
    struct lab *lab = *state;
    struct catalog_appended out;
    assert_ok(append(lab, "birds", "b1", 10, &out));
    assert_ok(append(lab, "zoo.birds", "b1", 1, &out));
    yyjson_doc *doc = call(lab, HTTP_GET, "/catalog/list?limit=1", NULL, 200);
    yyjson_val *root = yyjson_doc_get_root(doc);
    yyjson_val *table = yyjson_arr_get_first(yyjson_obj_get(root, "tables"));
    assert_true(yyjson_equals_str(yyjson_obj_get(root, "next"), "birds"));
    static const char *const members[] = {
        "name",       "dataset_id", "fingerprint", "row_count",
        "file_count", "size_bytes", "snapshot_id", "updated_at"
    };
    for (size_t i = 0; i < ARRAY_LEN(members); i++) {
        assert_non_null(yyjson_obj_get(table, members[i]));
    }
    yyjson_doc_free(doc);
    doc = call(lab, HTTP_GET, "/catalog/manifest/zoo.birds", NULL, 200);
    root = yyjson_doc_get_root(doc);
    assert_true(yyjson_equals_str(yyjson_obj_get(root, "name"), "zoo.birds"));
    yyjson_val *field = yyjson_arr_get(yyjson_obj_get(yyjson_obj_get(root, "schema"), "fields"), 1);
    assert_true(yyjson_equals_str(yyjson_obj_get(field, "type"), "decimal(9, 2)"));
    yyjson_val *file = yyjson_arr_get_first(yyjson_obj_get(root, "files"));
    assert_int_equal(yyjson_get_int(yyjson_obj_get(file, "row_count")), 1);
    assert_null(yyjson_obj_get(file, "source"));
    yyjson_doc_free(doc);
    yyjson_doc_free(call(lab, HTTP_GET, "/catalog/manifest/none", NULL, 404));
    yyjson_doc_free(call(lab, HTTP_GET, "/catalog/list?limit=0", NULL, 400));
    yyjson_doc_free(call(lab, HTTP_GET, "/catalog/manifest/a..c", NULL, 400));
    yyjson_doc_free(call(lab, HTTP_GET, "/catalog/manifest/a.b.c", NULL, 404));
    yyjson_doc_free(call(lab, HTTP_POST, "/catalog/register",
                         "{\"name\":\"t\",\"objects\":[\"x\"]}", 503)); /* no engine here */
    yyjson_doc_free(
        call(lab, HTTP_POST, "/catalog/register", "{\"name\":\"t\",\"objects\":[1]}", 400));
    yyjson_doc_free(call(lab, HTTP_POST, "/internal/catalog/drop",
                         "{\"namespace\":\"main\",\"name\":\"birds\"}", 403));
    yyjson_doc_free(call(lab, HTTP_DELETE, "/catalog/table/birds", NULL, 204));
    yyjson_doc_free(call(lab, HTTP_DELETE, "/catalog/table/birds", NULL, 404));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_http_driver_appends_finds_and_reads, lab_open,
                                        lab_close),
        cmocka_unit_test_setup_teardown(the_public_routes_have_their_shapes, lab_open, lab_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
