/*
 * Routes of vectors: indexes, aliases and the care of an index here, items and searches in
 * api_vectors_items.c.
 *
 *      POST   /vectors/index                         {"name","dimension","metric",...}
 *      GET    /vectors/index
 *      GET, DELETE /vectors/index/{name}
 *      POST   /vectors/index/{name}/add | search | delete | count
 *      GET    /vectors/index/{name}/items
 *      GET, PATCH, DELETE /vectors/index/{name}/item/{id}
 *      POST   /vectors/index/{name}/compact | rebuild | warm
 *      GET    /vectors/index/{name}/stats
 *      GET    /vectors/alias
 *      PUT, DELETE /vectors/alias/{name}             {"index"}
 *
 * The calls below block on locks and the store, so all of it but small searches runs on workers.
 */
#include "api/api_vectors.h"

#include "api/api_vectors_priv.h"
#include "api/body_scan.h"

enum { JSON_BYTES_MAX = 1024 * 1024 * 1024, CARE_TIMEOUT_MS = 24 * 3600 * 1000 };

/* --- what all share --- */

enum http_step vectors_reply(struct http_req *req, int http_status, struct json_writer *w,
                             struct buf *json)
{
    enum status status = json_writer_end(w);
    if (status == OK) {
        return http_reply_json(req, http_status, json);
    }
    buf_done(json);
    return http_fail(req, status == E_TOO_LARGE
                              ? err_set(&req->err, E_TOO_LARGE,
                                        "the answer would be larger than %d bytes: ask for less",
                                        JSON_BYTES_MAX)
                              : err_set(&req->err, status, "the answer could not be written"));
}

enum status vectors_body(struct http_req *req, const char *const *names, size_t count,
                         yyjson_val **root_out)
{
    size_t i, max, known;
    yyjson_val *key, *value;
    TRY(http_body_json(req, root_out));
    if (!yyjson_is_obj(*root_out)) {
        return err_set(&req->err, E_INVALID, "the body is an object");
    }
    yyjson_obj_foreach(*root_out, i, max, key, value)
    {
        struct str name = str_from(yyjson_get_str(key), yyjson_get_len(key));
        for (known = 0; known < count && !str_eq(name, str_of(names[known])); known++) {
        }
        if (known == count) {
            return scan_unknown(name, names, count, &req->err);
        }
    }
    return OK;
}

enum status vectors_query_bool(struct http_req *req, const char *name, bool *out)
{
    struct str value;
    TRY(http_query(req, name, &value));
    if (value.ptr == NULL) {
        return OK;
    }
    *out = str_eq(value, STR("true")) || str_eq(value, STR("1"));
    return *out || str_eq(value, STR("false")) || str_eq(value, STR("0"))
               ? OK
               : err_set(&req->err, E_INVALID, "%s=%.*s: it is true or false", name,
                         STR_ARG(str_take(value, 100)));
}

enum status vectors_filter(yyjson_val *root, struct buf *out, struct err *err)
{
    struct json_writer w;
    yyjson_val *filter = yyjson_obj_get(root, "filter");
    if (filter == NULL || yyjson_is_null(filter)) {
        return OK;
    }
    json_writer_init(&w, out);
    jw_val(&w, filter);
    return json_writer_end(&w) == OK ? OK : err_no_memory(err);
}

/* --- indexes --- */

static const char *const metric_names[] = { [VEC_L2] = "l2",
                                            [VEC_COSINE] = "cosine",
                                            [VEC_DOT] = "dot" };

static enum status metric_parse(struct str text, enum vec_metric *out, struct err *err)
{
    for (size_t i = 0; i < ARRAY_LEN(metric_names); i++) {
        if (str_eq(text, str_of(metric_names[i]))) {
            *out = (enum vec_metric)i;
            return OK;
        }
    }
    return err_set(err, E_INVALID, "metric \"%.*s\": it is cosine, l2 or dot",
                   STR_ARG(str_take(text, 100)));
}

/** `default` is VEC_PRESET_NONE. */
static enum status preset_parse(struct str text, enum vec_preset *out, struct err *err)
{
    bool fast = str_eq(text, STR("fast_build"));
    if (!fast && !str_eq(text, STR("default"))) {
        return err_set(err, E_INVALID, "preset \"%.*s\": it is default or fast_build",
                       STR_ARG(str_take(text, 100)));
    }
    *out = fast ? VEC_PRESET_FAST_BUILD : VEC_PRESET_NONE;
    return OK;
}

/** The preset that has these numbers; NULL: none. */
static const char *preset_of(const struct coll_spec *spec)
{
    bool fast = spec->m == VEC_M_FAST_BUILD &&
                spec->ef_construction == VEC_EF_CONSTRUCTION_FAST_BUILD;
    bool usual = spec->m == VEC_M_DEFAULT && spec->ef_construction == VEC_EF_CONSTRUCTION_DEFAULT;
    return fast ? "fast_build" : usual ? "default" : NULL;
}

/** The fields of an index, inside an object. */
static void write_info(struct json_writer *w, const struct coll_info *info)
{
    const struct coll_spec *spec = &info->spec;
    jw_kv_str(w, "name", spec->name);
    jw_kv_str(w, "uuid", info->uuid);
    jw_kv_u64(w, "dimension", spec->dimension);
    jw_kv_cstr(w, "metric", metric_names[spec->metric]);
    jw_kv_u64(w, "m", spec->m);
    jw_kv_u64(w, "ef_construction", spec->ef_construction);
    jw_kv_u64(w, "ef_search", spec->ef_search);
    if (preset_of(spec) != NULL) {
        jw_kv_cstr(w, "preset", preset_of(spec));
    }
    if (info->length_known) {
        jw_kv_u64(w, "length", info->length);
    }
    jw_kv_u64(w, "memory_bytes", info->memory_bytes);
    jw_kv_bool(w, "open", info->open);
    jw_kv_bool(w, "writable", info->writable);
    if (info->stopped.len > 0) {
        jw_kv_str(w, "stopped", info->stopped);
    }
}

static enum http_step info_reply(struct http_req *req, int http_status,
                                 const struct coll_info *info)
{
    struct buf json;
    struct json_writer w;
    buf_init(&json, JSON_BYTES_MAX);
    json_writer_init(&w, &json);
    jw_obj_begin(&w);
    write_info(&w, info);
    jw_obj_end(&w);
    return vectors_reply(req, http_status, &w, &json);
}

/** A whole number that fits, from 0 or 1; one that is absent leaves *out. */
static enum status small_number(struct http_req *req, const char *name, uint64_t given,
                                uint32_t *out)
{
    if (given > UINT32_MAX) {
        return err_set(&req->err, E_INVALID, "\"%s\" is too large", name);
    }
    *out = (uint32_t)given;
    return OK;
}

static enum status read_spec(struct http_req *req, struct coll_spec *out)
{
    static const char *const names[] = { "name",      "dimension",       "metric", "m",
                                         "ef_search", "ef_construction", "preset" };
    yyjson_val *root = NULL;
    struct str metric = STR("cosine"), preset = STR("default");
    uint64_t dimension = 0, m = 0, ef_construction = 0, ef_search = 0;
    struct err *err = &req->err;
    TRY(vectors_body(req, names, ARRAY_LEN(names), &root));
    TRY(json_get_str(root, "name", JSON_REQUIRED, &out->name, err));
    TRY(json_get_u64(root, "dimension", JSON_REQUIRED, &dimension, err));
    TRY(json_get_str(root, "metric", JSON_OPTIONAL, &metric, err));
    TRY(json_get_str(root, "preset", JSON_OPTIONAL, &preset, err));
    TRY(json_get_u64(root, "m", JSON_OPTIONAL, &m, err));
    TRY(json_get_u64(root, "ef_construction", JSON_OPTIONAL, &ef_construction, err));
    TRY(json_get_u64(root, "ef_search", JSON_OPTIONAL, &ef_search, err));
    TRY(metric_parse(metric, &out->metric, err));
    TRY(preset_parse(preset, &out->preset, err));
    if (dimension == 0 || dimension > VEC_DIMENSION_MAX) {
        return err_set(err, E_INVALID, "\"dimension\" is %llu: it is a number from 1 to %u",
                       (unsigned long long)dimension, (unsigned)VEC_DIMENSION_MAX);
    }
    TRY(small_number(req, "dimension", dimension, &out->dimension));
    TRY(small_number(req, "m", m, &out->m));
    TRY(small_number(req, "ef_construction", ef_construction, &out->ef_construction));
    return small_number(req, "ef_search", ef_search, &out->ef_search);
}

static enum http_step create_end(struct http_req *req)
{
    struct coll_spec spec = { 0 };
    struct coll_info info;
    enum status status = read_spec(req, &spec);
    status = status == OK ? coll_create(vectors_of(req), &spec, &req->arena, &info, &req->err)
                          : status;
    return status == OK ? info_reply(req, 201, &info) : http_fail(req, status);
}

static enum http_step list_end(struct http_req *req)
{
    struct arena arena; /* of thousands of indexes: more than a request's may hold */
    struct coll_info *list = NULL;
    size_t count = 0;
    arena_init(&arena, JSON_BYTES_MAX);
    enum status status = coll_list(vectors_of(req), &arena, &list, &count, &req->err);
    if (status != OK) {
        arena_done(&arena);
        return http_fail(req, status);
    }
    struct buf json;
    struct json_writer w;
    buf_init(&json, JSON_BYTES_MAX);
    json_writer_init(&w, &json);
    jw_obj_begin(&w);
    jw_kv_arr(&w, "indexes");
    for (size_t i = 0; i < count; i++) {
        jw_obj_begin(&w);
        write_info(&w, &list[i]);
        jw_obj_end(&w);
    }
    jw_arr_end(&w);
    jw_obj_end(&w);
    arena_done(&arena);
    return vectors_reply(req, 200, &w, &json);
}

static enum http_step info_end(struct http_req *req)
{
    struct coll_info info;
    enum status status = coll_info(vectors_of(req), http_param(req, "name"), &req->arena, &info,
                                   &req->err);
    return status == OK ? info_reply(req, 200, &info) : http_fail(req, status);
}

static enum http_step drop_end(struct http_req *req)
{
    enum status status = coll_drop(vectors_of(req), http_param(req, "name"), &req->err);
    return status == OK ? http_reply_empty(req, 204) : http_fail(req, status);
}

/* --- care --- */

static enum http_step care_end(struct http_req *req,
                               enum status (*care)(struct coll_service *, struct str, struct err *))
{
    enum status status = care(vectors_of(req), http_param(req, "name"), &req->err);
    return status == OK ? info_end(req) : http_fail(req, status);
}

static enum http_step compact_end(struct http_req *req)
{
    return care_end(req, coll_compact);
}

static enum http_step rebuild_end(struct http_req *req)
{
    return care_end(req, coll_rebuild);
}

static enum http_step warm_end(struct http_req *req)
{
    return care_end(req, coll_warm);
}

static void write_graph(struct json_writer *w, const struct vec_stats *graph)
{
    jw_kv_obj(w, "graph");
    jw_kv_u64(w, "slots", graph->slots);
    jw_kv_u64(w, "linked", graph->linked);
    jw_kv_u64(w, "memory_bytes", graph->memory_bytes);
    jw_kv_u64(w, "code_dimensions", graph->code_dimensions);
    jw_kv_u64(w, "code_bits", graph->code_bits);
    jw_obj_end(w);
}

static void write_stats(struct json_writer *w, const struct coll_stats *stats)
{
    jw_obj_begin(w);
    write_info(w, &stats->info);
    jw_kv_u64(w, "deleted", stats->deleted);
    write_graph(w, &stats->graph);
    jw_kv_obj(w, "memory");
    jw_kv_u64(w, "vector_bytes", stats->vector_bytes);
    jw_kv_u64(w, "id_bytes", stats->id_bytes);
    jw_kv_u64(w, "metadata_bytes", stats->metadata_bytes);
    jw_kv_u64(w, "field_index_bytes", stats->field_index_bytes);
    jw_obj_end(w);
    jw_kv_obj(w, "log_tail");
    jw_kv_u64(w, "objects", stats->log_tail_objects);
    jw_kv_u64(w, "bytes", stats->log_tail_bytes);
    jw_obj_end(w);
    jw_kv_u64(w, "snapshot_sequence", stats->snapshot_sequence);
    jw_key(w, STR("recall"));
    if (stats->recall < 0) {
        jw_null(w);
    } else {
        jw_double(w, stats->recall);
    }
    jw_kv_obj(w, "plans");
    jw_kv_u64(w, "graph", stats->plans_graph);
    jw_kv_u64(w, "scan", stats->plans_scan);
    jw_kv_u64(w, "exact", stats->plans_exact);
    jw_obj_end(w);
    jw_obj_end(w);
}

static enum http_step stats_end(struct http_req *req)
{
    struct coll_stats stats = { 0 };
    enum status status = coll_stats(vectors_of(req), http_param(req, "name"), &req->arena, &stats,
                                    &req->err);
    if (status != OK) {
        return http_fail(req, status);
    }
    struct buf json;
    struct json_writer w;
    buf_init(&json, JSON_BYTES_MAX);
    json_writer_init(&w, &json);
    write_stats(&w, &stats);
    return vectors_reply(req, 200, &w, &json);
}

/* --- aliases --- */

static void write_alias(struct json_writer *w, struct str alias, struct str index)
{
    jw_obj_begin(w);
    jw_kv_str(w, "alias", alias);
    jw_kv_str(w, "index", index);
    jw_obj_end(w);
}

static enum http_step alias_list_end(struct http_req *req)
{
    struct coll_alias *list = NULL;
    size_t count = 0;
    enum status status = coll_alias_list(vectors_of(req), &req->arena, &list, &count, &req->err);
    if (status != OK) {
        return http_fail(req, status);
    }
    struct buf json;
    struct json_writer w;
    buf_init(&json, JSON_BYTES_MAX);
    json_writer_init(&w, &json);
    jw_obj_begin(&w);
    jw_kv_arr(&w, "aliases");
    for (size_t i = 0; i < count; i++) {
        write_alias(&w, list[i].alias, list[i].index);
    }
    jw_arr_end(&w);
    jw_obj_end(&w);
    return vectors_reply(req, 200, &w, &json);
}

static enum http_step alias_set_end(struct http_req *req)
{
    static const char *const names[] = { "index" };
    yyjson_val *root = NULL;
    struct str index = STR_EMPTY, alias = http_param(req, "name");
    enum status status = vectors_body(req, names, ARRAY_LEN(names), &root);
    status = status == OK ? json_get_str(root, "index", JSON_REQUIRED, &index, &req->err) : status;
    status = status == OK ? coll_alias_set(vectors_of(req), alias, index, &req->err) : status;
    if (status != OK) {
        return http_fail(req, status);
    }
    struct buf json;
    struct json_writer w;
    buf_init(&json, JSON_BYTES_MAX);
    json_writer_init(&w, &json);
    write_alias(&w, alias, index);
    return vectors_reply(req, 200, &w, &json);
}

static enum http_step alias_drop_end(struct http_req *req)
{
    enum status status = coll_alias_drop(vectors_of(req), http_param(req, "name"), &req->err);
    return status == OK ? http_reply_empty(req, 204) : http_fail(req, status);
}

/* --- the table --- */

static const struct http_handler create_handler = { .end = create_end };
static const struct http_handler list_handler = { .end = list_end };
static const struct http_handler info_handler = { .end = info_end };
static const struct http_handler drop_handler = { .end = drop_end };
static const struct http_handler compact_handler = { .end = compact_end };
static const struct http_handler rebuild_handler = { .end = rebuild_end };
static const struct http_handler warm_handler = { .end = warm_end };
static const struct http_handler stats_handler = { .end = stats_end };
static const struct http_handler alias_list_handler = { .end = alias_list_end };
static const struct http_handler alias_set_handler = { .end = alias_set_end };
static const struct http_handler alias_drop_handler = { .end = alias_drop_end };

#define INDEX "/vectors/index/{name}"
#define ROUTE(method_, pattern_, handler_, ...)                                                    \
    { .method = method_, .pattern = pattern_, .handler = &(handler_), __VA_ARGS__ }

static const struct http_route vector_routes[] = {
    ROUTE(HTTP_POST, "/vectors/index", create_handler, .flags = HTTP_JSON_BODY),
    ROUTE(HTTP_GET, "/vectors/index", list_handler, .flags = 0),
    ROUTE(HTTP_GET, INDEX, info_handler, .flags = 0),
    ROUTE(HTTP_DELETE, INDEX, drop_handler, .flags = 0),
    ROUTE(HTTP_POST, INDEX "/add", vectors_add, .flags = 0),
    ROUTE(HTTP_POST, INDEX "/search", vectors_search, .flags = HTTP_INLINE),
    ROUTE(HTTP_GET, INDEX "/item/{id*}", vectors_item_get, .flags = 0),
    ROUTE(HTTP_PATCH, INDEX "/item/{id*}", vectors_item_patch, .flags = HTTP_JSON_BODY),
    ROUTE(HTTP_DELETE, INDEX "/item/{id*}", vectors_item_delete, .flags = 0),
    ROUTE(HTTP_POST, INDEX "/delete", vectors_delete, .flags = HTTP_JSON_BODY),
    ROUTE(HTTP_POST, INDEX "/count", vectors_count, .flags = HTTP_JSON_BODY),
    ROUTE(HTTP_GET, INDEX "/items", vectors_items, .timeout_ms = CARE_TIMEOUT_MS),
    ROUTE(HTTP_POST, INDEX "/compact", compact_handler, .timeout_ms = CARE_TIMEOUT_MS),
    ROUTE(HTTP_POST, INDEX "/rebuild", rebuild_handler, .timeout_ms = CARE_TIMEOUT_MS),
    ROUTE(HTTP_POST, INDEX "/warm", warm_handler, .timeout_ms = CARE_TIMEOUT_MS),
    ROUTE(HTTP_GET, INDEX "/stats", stats_handler, .flags = 0),
    ROUTE(HTTP_GET, "/vectors/alias", alias_list_handler, .flags = 0),
    ROUTE(HTTP_PUT, "/vectors/alias/{name}", alias_set_handler, .flags = HTTP_JSON_BODY),
    ROUTE(HTTP_DELETE, "/vectors/alias/{name}", alias_drop_handler, .flags = 0),
};
static_assert(ARRAY_LEN(vector_routes) == API_VECTORS_ROUTES, "api_vectors.h says how many");

static void make_metrics(struct api_vectors *api)
{
    struct metrics *all = api->metrics;
    if (all == NULL) {
        return;
    }
    api->searches = metric_get(all, METRIC_COUNTER, "lakehouse_vector_searches_total", "",
                               "Vectors that were searched for");
    api->results = metric_get(all, METRIC_COUNTER, "lakehouse_vector_results_total", "",
                              "Items that searches gave");
    api->written = metric_get(all, METRIC_COUNTER, "lakehouse_vector_items_written_total", "",
                              "Items that were added or replaced");
    api->deleted = metric_get(all, METRIC_COUNTER, "lakehouse_vector_items_deleted_total", "",
                              "Items that were deleted");
}

enum status api_vectors_mount(struct api_vectors *api, struct http_server *server,
                              const char *prefix, struct err *err)
{
    make_metrics(api);
    for (size_t i = 0; i < ARRAY_LEN(vector_routes); i++) {
        api->routes[i] = vector_routes[i];
        if (api->routes[i].handler == &vectors_add) {
            api->routes[i].body_bytes_max = api->add_bytes_max;
        }
    }
    return http_server_mount(server, prefix, api->routes, ARRAY_LEN(api->routes), api, err);
}
