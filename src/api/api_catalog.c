/*
 * The catalogue's public routes:
 *
 *      GET    /catalog/list?namespace=&after=&limit=
 *      GET    /catalog/manifest/{table}
 *      POST   /catalog/register          {"name","objects":[...]}
 *      DELETE /catalog/table/{table}
 */
#include "api/api_catalog.h"

#include "base/log.h"

enum {
    JSON_BYTES_MAX = 512 * 1024 * 1024,
    REGISTER_BODY_MAX = 16 * 1024 * 1024,
    REGISTER_TIMEOUT_MS = 10 * 60 * 1000
};

static struct catalog *catalog_of(const struct http_req *req)
{
    return ((struct api_catalog *)req->ctx)->catalog;
}

static void write_time(struct json_writer *w, const char *key, int64_t wall_ms)
{
    AUTO(buf_done) struct buf text;
    buf_init(&text, 64);
    if (time_append_iso(&text, wall_ms) != OK) {
        w->status = w->status == OK ? E_NO_MEMORY : w->status;
        return;
    }
    jw_kv_str(w, key, buf_str(&text));
}

/** null for a table without data. */
static void write_snapshot_id(struct json_writer *w, int64_t snapshot_id)
{
    jw_key(w, STR("snapshot_id"));
    if (snapshot_id < 0) {
        jw_null(w);
    } else {
        jw_i64(w, snapshot_id);
    }
}

static void write_table_name(struct json_writer *w, const struct table_name *name)
{
    AUTO(buf_done) struct buf text;
    buf_init(&text, 4096);
    if (table_name_print(name, &text) != OK) {
        w->status = w->status == OK ? E_NO_MEMORY : w->status;
        return;
    }
    jw_kv_str(w, "name", buf_str(&text));
}

static enum http_step finish(struct http_req *req, struct json_writer *w, struct buf *json)
{
    if (json_writer_end(w) != OK) {
        return http_fail(req, err_set(&req->err, E_TOO_LARGE,
                                      "the answer would be larger than %d bytes", JSON_BYTES_MAX));
    }
    return http_reply_json(req, 200, json);
}

/* --- list --- */

static enum status list_opts(struct http_req *req, struct catalog_list_opts *out)
{
    struct str limit;
    uint64_t number = 0;
    TRY(http_query(req, "namespace", &out->ns));
    TRY(out->ns.len > 0 ? table_name_parse_ns(&req->arena, out->ns, &out->ns, &req->err) : OK);
    TRY(http_query(req, "after", &out->after));
    TRY(http_query(req, "limit", &limit));
    if (limit.ptr != NULL && (!str_to_u64(limit, &number) || number == 0 || number > 10000)) {
        return err_set(&req->err, E_INVALID, "limit=%.*s: a number from 1 to 10000 is expected",
                       STR_ARG(limit));
    }
    out->limit = (size_t)number;
    return OK;
}

static void write_table(struct json_writer *w, const struct table_summary *table)
{
    jw_obj_begin(w);
    write_table_name(w, &table->name);
    jw_kv_str(w, "dataset_id", table->uuid);
    jw_kv_str(w, "fingerprint", table->fingerprint);
    jw_kv_i64(w, "row_count", table->row_count);
    jw_kv_i64(w, "file_count", table->file_count);
    jw_kv_i64(w, "size_bytes", table->size_bytes);
    write_snapshot_id(w, table->snapshot_id);
    write_time(w, "updated_at", table->updated_ms);
    jw_obj_end(w);
}

/** Tables whose pointer cannot be understood, told in the answer and in the log: the request did
 * not fail, and still somebody must look. Nothing is written when there is none. */
static void write_damaged(struct json_writer *w, const struct catalog_list *list)
{
    if (list->damaged_count == 0) {
        return;
    }
    jw_kv_arr(w, "damaged");
    for (size_t i = 0; i < list->damaged_count; i++) {
        const struct catalog_damaged *damaged = &list->damaged[i];
        jw_obj_begin(w);
        write_table_name(w, &damaged->name);
        jw_kv_cstr(w, "code", status_name(damaged->kind));
        jw_kv_str(w, "message", damaged->why);
        jw_obj_end(w);
        LOG(LOG_ERROR, "table_damaged", L_STR("namespace", damaged->name.ns),
            L_STR("table", damaged->name.name), L_STR("reason", damaged->why));
    }
    jw_arr_end(w);
}

static enum http_step list_end(struct http_req *req)
{
    struct catalog_list_opts opts = { 0 };
    struct catalog_list list;
    enum status status = list_opts(req, &opts);
    status = status == OK ? catalog_list(catalog_of(req), &opts, &req->arena, &list, &req->err)
                          : status;
    if (status != OK) {
        return http_fail(req, status);
    }
    AUTO(buf_done) struct buf json;
    buf_init(&json, JSON_BYTES_MAX);
    struct json_writer w;
    json_writer_init(&w, &json);
    jw_obj_begin(&w);
    jw_kv_arr(&w, "tables");
    for (size_t i = 0; i < list.count; i++) {
        write_table(&w, &list.tables[i]);
    }
    jw_arr_end(&w);
    write_damaged(&w, &list);
    jw_key(&w, STR("next"));
    if (list.next.len > 0) {
        jw_str(&w, list.next);
    } else {
        jw_null(&w);
    }
    jw_obj_end(&w);
    return finish(req, &w, &json);
}

/* --- manifest --- */

static void write_fields(struct json_writer *w, const struct ice_schema *schema)
{
    jw_kv_obj(w, "schema");
    jw_kv_arr(w, "fields");
    for (size_t i = 0; i < schema->root.field_count; i++) {
        const struct ice_field *field = &schema->root.fields[i];
        AUTO(buf_done) struct buf type;
        buf_init(&type, 1024 * 1024);
        if (ice_type_print(&field->type, &type) != OK) {
            w->status = w->status == OK ? E_NO_MEMORY : w->status;
            return;
        }
        jw_obj_begin(w);
        jw_kv_i64(w, "id", field->id);
        jw_kv_str(w, "name", field->name);
        jw_kv_str(w, "type", buf_str(&type));
        jw_kv_bool(w, "required", field->required);
        jw_obj_end(w);
    }
    jw_arr_end(w);
    jw_obj_end(w);
}

static void write_files(struct json_writer *w, const struct catalog_files *files)
{
    jw_kv_arr(w, "files");
    for (size_t i = 0; i < files->count; i++) {
        const struct catalog_file *file = &files->files[i];
        jw_obj_begin(w);
        jw_kv_str(w, "key", file->key);
        jw_kv_i64(w, "size", file->file->size_bytes);
        jw_kv_i64(w, "row_count", file->file->record_count);
        if (file->source.len > 0) {
            jw_kv_str(w, "source", file->source);
        }
        jw_obj_end(w);
    }
    jw_arr_end(w);
}

/** How a client reaches the files of a table at s3: URIs; the keys it must have itself. Names and
 * spelling are those that Iceberg clients take as properties. */
static void write_access(struct json_writer *w, const struct api_catalog *api, struct str location)
{
    if (api->s3_url == NULL || !str_starts(location, STR("s3:"))) {
        return;
    }
    jw_kv_obj(w, "config");
    jw_kv_cstr(w, "s3.endpoint", api->s3_url);
    jw_kv_cstr(w, "s3.region", api->s3_region);
    jw_kv_cstr(w, "s3.path-style-access", "true");
    jw_obj_end(w);
}

static enum http_step manifest_reply(struct http_req *req, const struct catalog_pin *pin,
                                     const struct catalog_files *files)
{
    AUTO(buf_done) struct buf json;
    buf_init(&json, JSON_BYTES_MAX);
    struct json_writer w;
    json_writer_init(&w, &json);
    jw_obj_begin(&w);
    write_table_name(&w, &pin->table.name);
    jw_kv_str(&w, "dataset_id", pin->table.uuid);
    jw_kv_str(&w, "fingerprint", pin->table.fingerprint);
    write_fields(&w, pin->schema);
    write_snapshot_id(&w, pin->table.snapshot_id);
    jw_kv_str(&w, "metadata_location", pin->table.metadata_location);
    write_access(&w, req->ctx, pin->table.metadata_location);
    jw_kv_i64(&w, "row_count", pin->table.row_count);
    write_files(&w, files);
    if (files->delete_count > 0) {
        jw_kv_u64(&w, "delete_file_count", files->delete_count);
    }
    jw_obj_end(&w);
    return finish(req, &w, &json);
}

static enum http_step manifest_end(struct http_req *req)
{
    struct table_name name;
    struct catalog_pin *pin = NULL;
    struct catalog_files files;
    enum status status = table_name_parse(&req->arena, http_param(req, "table"), &name, &req->err);
    status = status == OK ? catalog_pin(catalog_of(req), &name, false, NULL, &pin, &req->err)
                          : status;
    if (status != OK) {
        return http_fail(req, status);
    }
    struct arena arena; /* a large table's files are more than a request's arena holds */
    arena_init(&arena, JSON_BYTES_MAX);
    status = catalog_files(catalog_of(req), pin, &arena, &files, &req->err);
    status = status == OK ? catalog_sources(catalog_of(req), pin, &arena, &files, &req->err)
                          : status;
    enum http_step step = status == OK ? manifest_reply(req, pin, &files) : http_fail(req, status);
    arena_done(&arena);
    catalog_unpin(pin);
    return step;
}

/* --- register --- */

static enum status register_request(struct http_req *req, struct catalog_register *out)
{
    yyjson_val *root = NULL, *arr = NULL, *val;
    struct str name = STR_EMPTY;
    TRY(http_body_json(req, &root));
    TRY(json_get_str(root, "name", JSON_REQUIRED, &name, &req->err));
    TRY(table_name_parse(&req->arena, name, &out->name, &req->err));
    TRY(table_name_check_plain(&out->name, &req->err));
    TRY(json_get_arr(root, "objects", JSON_REQUIRED, &arr, &req->err));
    struct str *keys = arena_array(&req->arena, yyjson_arr_size(arr), sizeof(*keys));
    if (keys == NULL) {
        return err_no_memory(&req->err);
    }
    size_t i, max;
    yyjson_arr_foreach(arr, i, max, val)
    {
        if (!yyjson_is_str(val)) {
            return err_set(&req->err, E_INVALID, "\"objects\": entry %zu is no string", i);
        }
        keys[i] = str_from(yyjson_get_str(val), yyjson_get_len(val));
    }
    out->keys = keys;
    out->key_count = yyjson_arr_size(arr);
    out->deadline = req->deadline;
    return OK;
}

static enum http_step register_reply(struct http_req *req, const struct table_name *name,
                                     const struct catalog_registered *registered)
{
    AUTO(buf_done) struct buf json;
    buf_init(&json, JSON_BYTES_MAX);
    struct json_writer w;
    json_writer_init(&w, &json);
    jw_obj_begin(&w);
    write_table_name(&w, name);
    jw_kv_str(&w, "dataset_id", registered->uuid);
    jw_kv_str(&w, "fingerprint", registered->fingerprint);
    jw_kv_bool(&w, "existing", registered->existing);
    jw_kv_u64(&w, "added", registered->added);
    write_snapshot_id(&w, registered->snapshot_id);
    jw_obj_end(&w);
    return finish(req, &w, &json);
}

static enum http_step register_end(struct http_req *req)
{
    const struct api_catalog *api = req->ctx;
    struct catalog_register request = { 0 };
    struct catalog_registered registered;
    enum status status = register_request(req, &request);
    if (status == OK && api->inspector.inspect == NULL) {
        status = err_set(&req->err, E_UNAVAILABLE,
                         "this catalogd has no engine to read Parquet files with");
    }
    if (status == OK) {
        struct arena arena;
        arena_init(&arena, JSON_BYTES_MAX);
        status = catalog_register(api->catalog, api->store, &api->inspector, &request, &arena,
                                  &registered, &req->err);
        enum http_step step = status == OK ? register_reply(req, &request.name, &registered)
                                           : HTTP_END;
        arena_done(&arena);
        if (status == OK) {
            return step;
        }
    }
    return http_fail(req, status);
}

/* --- drop --- */

static enum http_step drop_end(struct http_req *req)
{
    struct table_name name;
    enum status status = table_name_parse(&req->arena, http_param(req, "table"), &name, &req->err);
    status = status == OK ? catalog_drop(catalog_of(req), &name, &req->err) : status;
    return status == OK ? http_reply_empty(req, 204) : http_fail(req, status);
}

/* --- the table --- */

static const struct http_handler list_handler = { .end = list_end };
static const struct http_handler manifest_handler = { .end = manifest_end };
static const struct http_handler register_handler = { .end = register_end };
static const struct http_handler drop_handler = { .end = drop_end };

const struct http_route *api_catalog_routes(size_t *count_out)
{
    static const struct http_route routes[] = {
        { .method = HTTP_GET, .pattern = "/catalog/list", .handler = &list_handler },
        { .method = HTTP_GET,
          .pattern = "/catalog/manifest/{table}",
          .handler = &manifest_handler },
        { .method = HTTP_POST,
          .pattern = "/catalog/register",
          .handler = &register_handler,
          .flags = HTTP_JSON_BODY,
          .body_bytes_max = REGISTER_BODY_MAX,
          .timeout_ms = REGISTER_TIMEOUT_MS },
        { .method = HTTP_DELETE, .pattern = "/catalog/table/{table}", .handler = &drop_handler },
    };
    *count_out = ARRAY_LEN(routes);
    return routes;
}
