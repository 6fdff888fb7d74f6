/*
 * catalogd's routes for the other services, which src/catalog/http.c speaks: the catalogue's own
 * operations, one to one, with the cluster's token. All are POST with a JSON body
 * (src/catalog/wire.h).
 *
 *      /internal/catalog/list     {"namespace","after","limit","kind"} ->
 *      {"tables":[summary],"damaged":[{name,"code","message"}],"next"}
 *      /internal/catalog/find     {name,"nocase"}                      -> summary
 *      /internal/catalog/place    {name}                               -> place
 *      /internal/catalog/batch    {name,"batch_id"}                    -> {"found", appended}
 *      /internal/catalog/append   append                               -> appended
 *      /internal/catalog/drop     {name,"view"}                        -> {}
 *      /internal/catalog/change   {name,"view","timeout_ms","requirements","updates","batch"?}
 *                                                                      -> loaded
 *      /internal/catalog/create   {name,"view","timeout_ms","stage","request"} -> loaded
 *      /internal/catalog/upkeep   {name,"procedure","timeout_ms","args"}       -> its report
 *      /internal/catalog/rename   {name,"to_namespace","to_name","view"} -> {"missing_namespace"}
 *      /internal/catalog/namespace_create  {"namespace","properties"}  -> {"uuid"}
 *      /internal/catalog/namespace_drop    {"namespace"}               -> {}
 *
 * `loaded` is {"metadata_location","location"}: who has asked reads the document itself.
 */
#include "api/api_catalog.h"
#include "catalog/changes.h"
#include "catalog/upkeep.h"
#include "catalog/wire.h"

enum { APPEND_BODY_MAX = 256 * 1024 * 1024, APPEND_TIMEOUT_MS = 24 * 3600 * 1000 };

static struct catalog *catalog_of(const struct http_req *req)
{
    return ((struct api_catalog *)req->ctx)->catalog;
}

/** An answer being written: `{` ... `}`. */
struct answer {
    struct buf json;
    struct json_writer w;
};

static void answer_begin(struct answer *answer)
{
    buf_init(&answer->json, APPEND_BODY_MAX);
    json_writer_init(&answer->w, &answer->json);
    jw_obj_begin(&answer->w);
}

static enum http_step answer_end(struct http_req *req, struct answer *answer)
{
    jw_obj_end(&answer->w);
    enum http_step step;
    if (json_writer_end(&answer->w) != OK) {
        /* not E_NO_MEMORY: a change has landed, and that would say that it has not */
        step = http_fail(req, err_set(&req->err, E_INTERNAL, "no memory is left for the answer"));
    } else {
        step = http_reply_json(req, 200, &answer->json);
    }
    buf_done(&answer->json);
    return step;
}

/** The body, and the table name in it. */
static enum status read_name(struct http_req *req, yyjson_val **root_out,
                             struct table_name *name_out)
{
    TRY(http_body_json(req, root_out));
    return wire_read_name(&req->arena, *root_out, name_out, &req->err);
}

static enum status list(struct http_req *req, struct catalog_list *out)
{
    yyjson_val *root = NULL;
    struct catalog_list_opts opts = { .ns = STR_EMPTY, .after = STR_EMPTY };
    uint64_t limit = 0;
    int64_t kind = CATALOG_TABLE;
    TRY(http_body_json(req, &root));
    TRY(json_get_str(root, "namespace", JSON_OPTIONAL, &opts.ns, &req->err));
    TRY(json_get_str(root, "after", JSON_OPTIONAL, &opts.after, &req->err));
    TRY(json_get_u64(root, "limit", JSON_OPTIONAL, &limit, &req->err));
    TRY(json_get_i64(root, "kind", JSON_OPTIONAL, &kind, &req->err));
    if (kind < CATALOG_TABLE || kind > CATALOG_EITHER) {
        return err_set(&req->err, E_INVALID, "kind %lld is not known", (long long)kind);
    }
    opts.limit = (size_t)limit;
    opts.kind = (enum catalog_kind)kind;
    return catalog_list(catalog_of(req), &opts, &req->arena, out, &req->err);
}

static enum http_step list_end(struct http_req *req)
{
    struct catalog_list out;
    enum status status = list(req, &out);
    if (status != OK) {
        return http_fail(req, status);
    }
    struct answer answer;
    answer_begin(&answer);
    jw_kv_arr(&answer.w, "tables");
    for (size_t i = 0; i < out.count; i++) {
        jw_obj_begin(&answer.w);
        wire_summary(&answer.w, &out.tables[i]);
        jw_obj_end(&answer.w);
    }
    jw_arr_end(&answer.w);
    jw_kv_arr(&answer.w, "damaged");
    for (size_t i = 0; i < out.damaged_count; i++) {
        jw_obj_begin(&answer.w);
        wire_damaged(&answer.w, &out.damaged[i]);
        jw_obj_end(&answer.w);
    }
    jw_arr_end(&answer.w);
    jw_kv_str(&answer.w, "next", out.next);
    return answer_end(req, &answer);
}

static enum http_step find_end(struct http_req *req)
{
    yyjson_val *root = NULL;
    struct table_name name;
    struct table_summary table;
    bool nocase = false;
    enum status status = read_name(req, &root, &name);
    status = status == OK ? json_get_bool(root, "nocase", JSON_OPTIONAL, &nocase, &req->err)
                          : status;
    status = status == OK
                 ? catalog_find_any(catalog_of(req), &name, nocase, &req->arena, &table, &req->err)
                 : status;
    if (status != OK) {
        return http_fail(req, status);
    }
    struct answer answer;
    answer_begin(&answer);
    wire_summary(&answer.w, &table);
    return answer_end(req, &answer);
}

static enum http_step place_end(struct http_req *req)
{
    yyjson_val *root = NULL;
    struct table_name name;
    struct catalog_place place;
    enum status status = read_name(req, &root, &name);
    status = status == OK ? catalog_place(catalog_of(req), &name, &req->arena, &place, &req->err)
                          : status;
    if (status != OK) {
        return http_fail(req, status);
    }
    struct answer answer;
    answer_begin(&answer);
    wire_place(&answer.w, &place);
    return answer_end(req, &answer);
}

static enum http_step batch_end(struct http_req *req)
{
    yyjson_val *root = NULL;
    struct table_name name;
    struct str batch_id = STR_EMPTY;
    struct catalog_appended appended;
    bool found = false;
    enum status status = read_name(req, &root, &name);
    status = status == OK ? json_get_str(root, "batch_id", JSON_REQUIRED, &batch_id, &req->err)
                          : status;
    status = status == OK ? catalog_batch(catalog_of(req), &name, batch_id, &req->arena, &found,
                                          &appended, &req->err)
                          : status;
    if (status != OK) {
        return http_fail(req, status);
    }
    struct answer answer;
    answer_begin(&answer);
    jw_kv_bool(&answer.w, "found", found);
    if (found) {
        wire_appended(&answer.w, &appended);
    }
    return answer_end(req, &answer);
}

static enum status append(struct http_req *req, struct arena *arena, struct catalog_appended *out)
{
    yyjson_val *root = NULL;
    struct catalog_append in;
    TRY(http_body_json(req, &root));
    TRY(wire_read_append(arena, root, &in, &req->err));
    return catalog_append(catalog_of(req), &in, &req->arena, out, &req->err);
}

static enum http_step append_end(struct http_req *req)
{
    struct catalog_appended appended;
    struct arena arena; /* an append may be larger than a request's arena */
    arena_init(&arena, (size_t)APPEND_BODY_MAX * 4);
    enum status status = append(req, &arena, &appended);
    arena_done(&arena);
    if (status != OK) {
        return http_fail(req, status);
    }
    struct answer answer;
    answer_begin(&answer);
    wire_appended(&answer.w, &appended);
    return answer_end(req, &answer);
}

static enum http_step drop_end(struct http_req *req)
{
    yyjson_val *root = NULL;
    struct table_name name;
    bool view = false;
    enum status status = read_name(req, &root, &name);
    status = status == OK ? json_get_bool(root, "view", JSON_OPTIONAL, &view, &req->err) : status;
    if (status == OK) {
        status = view ? catalog_drop_view(catalog_of(req), &name, &req->err)
                      : catalog_drop(catalog_of(req), &name, &req->err);
    }
    if (status != OK) {
        return http_fail(req, status);
    }
    struct answer answer;
    answer_begin(&answer);
    return answer_end(req, &answer);
}

/* --- changes --- */

static enum status read_deadline(struct http_req *req, yyjson_val *root, deadline_ms *out)
{
    int64_t ms = 0;
    TRY(json_get_i64(root, "timeout_ms", JSON_OPTIONAL, &ms, &req->err));
    *out = ms > 0 ? deadline_in(ms < APPEND_TIMEOUT_MS ? ms : APPEND_TIMEOUT_MS) : 0;
    return OK;
}

static enum http_step reply_loaded(struct http_req *req, struct catalog_loaded *loaded)
{
    struct answer answer;
    answer_begin(&answer);
    jw_kv_str(&answer.w, "metadata_location", loaded->metadata_location);
    jw_kv_str(&answer.w, "location", loaded->location);
    buf_done(&loaded->metadata);
    return answer_end(req, &answer);
}

static enum status read_batch(struct http_req *req, yyjson_val *root,
                              struct catalog_change_batch *batch, struct catalog_change *change)
{
    yyjson_val *object = NULL;
    TRY(json_get_obj(root, "batch", JSON_OPTIONAL, &object, &req->err));
    if (object == NULL) {
        return OK;
    }
    change->batch = batch;
    TRY(json_get_str(object, "id", JSON_REQUIRED, &batch->id, &req->err));
    TRY(json_get_i64(object, "rows", JSON_REQUIRED, &batch->row_count, &req->err));
    return json_get_str(object, "file", JSON_OPTIONAL, &batch->file, &req->err);
}

static enum status change(struct http_req *req, struct catalog_loaded *out)
{
    yyjson_val *root = NULL;
    struct catalog_change change = { 0 };
    struct catalog_change_batch batch = { .file = STR_EMPTY };
    deadline_ms deadline = 0;
    bool view = false;
    TRY(read_name(req, &root, &change.name));
    TRY(json_get_bool(root, "view", JSON_OPTIONAL, &view, &req->err));
    TRY(read_deadline(req, root, &deadline));
    TRY(json_get_arr(root, "requirements", JSON_OPTIONAL, &change.requirements, &req->err));
    TRY(json_get_arr(root, "updates", JSON_OPTIONAL, &change.updates, &req->err));
    TRY(read_batch(req, root, &batch, &change));
    return (view ? catalog_change_view : catalog_change_table)(catalog_of(req), &change, deadline,
                                                               &req->arena, out, &req->err);
}

static enum http_step change_end(struct http_req *req)
{
    struct catalog_loaded loaded = { 0 };
    enum status status = change(req, &loaded);
    return status == OK ? reply_loaded(req, &loaded) : http_fail(req, status);
}

static enum status upkeep(struct http_req *req, struct buf *report)
{
    yyjson_val *root = NULL;
    struct catalog_upkeep call = { 0 };
    TRY(read_name(req, &root, &call.name));
    TRY(read_deadline(req, root, &call.deadline));
    TRY(json_get_str(root, "procedure", JSON_REQUIRED, &call.procedure, &req->err));
    TRY(json_get_obj(root, "args", JSON_OPTIONAL, &call.args, &req->err));
    return catalog_upkeep(catalog_of(req), &call, report, &req->err);
}

static enum http_step upkeep_end(struct http_req *req)
{
    struct buf report;
    buf_init(&report, APPEND_BODY_MAX);
    enum status status = upkeep(req, &report);
    enum http_step step = status == OK ? http_reply_json(req, 200, &report)
                                       : http_fail(req, status);
    buf_done(&report);
    return step;
}

static enum status create(struct http_req *req, struct catalog_loaded *out)
{
    yyjson_val *root = NULL;
    struct catalog_create create = { 0 };
    bool view = false;
    TRY(read_name(req, &root, &create.name));
    TRY(json_get_bool(root, "view", JSON_OPTIONAL, &view, &req->err));
    TRY(read_deadline(req, root, &create.deadline));
    TRY(json_get_bool(root, "stage", JSON_OPTIONAL, &create.stage, &req->err));
    TRY(json_get_obj(root, "request", JSON_REQUIRED, &create.request, &req->err));
    return (view ? catalog_create_view : catalog_create_table)(catalog_of(req), &create,
                                                               &req->arena, out, &req->err);
}

static enum http_step create_end(struct http_req *req)
{
    struct catalog_loaded loaded = { 0 };
    enum status status = create(req, &loaded);
    return status == OK ? reply_loaded(req, &loaded) : http_fail(req, status);
}

static enum http_step rename_end(struct http_req *req)
{
    yyjson_val *root = NULL;
    struct table_name from, to = { STR_EMPTY, STR_EMPTY };
    bool view = false, missing = false;
    enum status status = read_name(req, &root, &from);
    status = status == OK ? json_get_str(root, "to_namespace", JSON_REQUIRED, &to.ns, &req->err)
                          : status;
    status = status == OK ? json_get_str(root, "to_name", JSON_REQUIRED, &to.name, &req->err)
                          : status;
    status = status == OK ? json_get_bool(root, "view", JSON_OPTIONAL, &view, &req->err) : status;
    status = status == OK ? catalog_rename(catalog_of(req), view ? CATALOG_VIEW : CATALOG_TABLE,
                                           &from, &to, &missing, &req->err)
                          : status;
    if (status != OK) {
        return http_fail(req, status);
    }
    struct answer answer;
    answer_begin(&answer);
    jw_kv_bool(&answer.w, "missing_namespace", missing);
    return answer_end(req, &answer);
}

static enum status namespace_create(struct http_req *req, struct catalog_namespace *out)
{
    yyjson_val *root = NULL, *properties = NULL, *key, *value;
    struct str ns;
    size_t i, max, count = 0;
    TRY(http_body_json(req, &root));
    TRY(json_get_str(root, "namespace", JSON_REQUIRED, &ns, &req->err));
    TRY(json_get_obj(root, "properties", JSON_OPTIONAL, &properties, &req->err));
    struct ice_property *list = arena_array(&req->arena, yyjson_obj_size(properties) + 1,
                                            sizeof(*list));
    if (list == NULL) {
        return err_no_memory(&req->err);
    }
    yyjson_obj_foreach(properties, i, max, key, value)
    {
        list[count++] = (struct ice_property){
            str_from(yyjson_get_str(key), yyjson_get_len(key)),
            str_from(yyjson_get_str(value), yyjson_get_len(value)),
        };
    }
    return catalog_namespace_create(catalog_of(req), ns, list, count, &req->arena, out, &req->err);
}

static enum http_step namespace_create_end(struct http_req *req)
{
    struct catalog_namespace made;
    enum status status = namespace_create(req, &made);
    if (status != OK) {
        return http_fail(req, status);
    }
    struct answer answer;
    answer_begin(&answer);
    jw_kv_str(&answer.w, "uuid", made.uuid);
    return answer_end(req, &answer);
}

static enum http_step namespace_drop_end(struct http_req *req)
{
    yyjson_val *root = NULL;
    struct str ns;
    enum status status = http_body_json(req, &root);
    status = status == OK ? json_get_str(root, "namespace", JSON_REQUIRED, &ns, &req->err) : status;
    status = status == OK ? catalog_namespace_drop(catalog_of(req), ns, &req->err) : status;
    if (status != OK) {
        return http_fail(req, status);
    }
    struct answer answer;
    answer_begin(&answer);
    return answer_end(req, &answer);
}

static const struct http_handler list_handler = { .end = list_end };
static const struct http_handler find_handler = { .end = find_end };
static const struct http_handler place_handler = { .end = place_end };
static const struct http_handler batch_handler = { .end = batch_end };
static const struct http_handler append_handler = { .end = append_end };
static const struct http_handler drop_handler = { .end = drop_end };
static const struct http_handler change_handler = { .end = change_end };
static const struct http_handler upkeep_handler = { .end = upkeep_end };
static const struct http_handler create_handler = { .end = create_end };
static const struct http_handler rename_handler = { .end = rename_end };
static const struct http_handler namespace_create_handler = { .end = namespace_create_end };
static const struct http_handler namespace_drop_handler = { .end = namespace_drop_end };

#define INTERNAL(name)                                                                             \
    .method = HTTP_POST, .pattern = "/internal/catalog/" #name, .handler = &name##_handler,        \
    .flags = HTTP_JSON_BODY | HTTP_INTERNAL

const struct http_route *api_catalog_internal_routes(size_t *count_out)
{
    static const struct http_route routes[] = {
        { INTERNAL(list) },
        { INTERNAL(find) },
        { INTERNAL(place) },
        { INTERNAL(batch) },
        { INTERNAL(append), .body_bytes_max = APPEND_BODY_MAX, .timeout_ms = APPEND_TIMEOUT_MS },
        { INTERNAL(drop) },
        { INTERNAL(change), .body_bytes_max = APPEND_BODY_MAX, .timeout_ms = APPEND_TIMEOUT_MS },
        { INTERNAL(upkeep), .timeout_ms = APPEND_TIMEOUT_MS },
        { INTERNAL(create) },
        { INTERNAL(rename) },
        { INTERNAL(namespace_create) },
        { INTERNAL(namespace_drop) },
    };
    *count_out = ARRAY_LEN(routes);
    return routes;
}
