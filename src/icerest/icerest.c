/*
 * The configuration, errors, and what all routes have in common.
 *
 * The endpoints that /v1/config tells are those that are mounted: both come from the same tables.
 */
#include "icerest/icerest_priv.h"

#include "base/encode.h"

enum { TOKEN_REQUEST_MAX = 64 * 1024 };

/* --- errors --- */

/** The exception that clients make of a status; of 404 and 409 the route knows more. */
static const char *type_of(const struct http_req *req, const struct icerest_state *state,
                           int http_status)
{
    if (state != NULL && state->type != NULL) {
        return state->type;
    }
    switch (http_status) {
    case 404:
        return state != NULL && state->missing != NULL ? state->missing : "NoSuchRouteException";
    case 401:
    case 403:
        return "ForbiddenException";
    case 405:
    case 501:
        return "UnsupportedOperationException";
    case 409:
        if (req->err.kind == E_EXISTS) {
            return "AlreadyExistsException";
        }
        return state != NULL && state->conflict != NULL ? state->conflict : "CommitFailedException";
    case 422:
        return "UnprocessableEntityException";
    case 429:
        return "TooManyRequestsException";
    case 503:
        return "ServiceUnavailableException";
    default:
        return http_status < 500 ? "BadRequestException" : "InternalServerError";
    }
}

/** "a.b", "a.b.t" */
static enum status append_identifier(struct buf *out, struct str ns, struct str name)
{
    for (struct str rest = ns; rest.ptr != NULL;) {
        TRY(buf_append(out, str_split(&rest, CATALOG_NS_SEPARATOR)));
        TRY(rest.ptr != NULL || name.len > 0 ? buf_append_char(out, '.') : OK);
    }
    return buf_append(out, name);
}

/** How Java's catalogues begin the message of such an exception; NULL: any message will do. */
static const char *phrase_of(const struct http_req *req, const struct icerest_state *state,
                             const char *type)
{
    struct str ours = str_of(req->err.msg);
    bool named = state != NULL && state->name.len > 0;
    bool of_view = str_starts(ours, STR("view ")) || str_ends(ours, STR(" is a view"));
    if (state == NULL || state->thing == ICEREST_NO_THING) {
        return NULL;
    }
    if (strcmp(type, "NoSuchNamespaceException") == 0) {
        return "Namespace does not exist: ";
    }
    if (strcmp(type, "NoSuchTableException") == 0 && named) {
        return "Table does not exist: ";
    }
    if (strcmp(type, "NoSuchViewException") == 0 && named) {
        return "View does not exist: ";
    }
    if (strcmp(type, "AlreadyExistsException") != 0) {
        return NULL;
    }
    switch (state->thing) {
    case ICEREST_NAMESPACE:
        return str_starts(ours, STR("namespace ")) ? "Namespace already exists: " : NULL;
    case ICEREST_TABLE: /* tables and views share their names */
        return !named    ? NULL
               : of_view ? "View with same name already exists: "
                         : "Table already exists: ";
    case ICEREST_VIEW:
        return !named                            ? NULL
               : str_starts(ours, STR("table ")) ? "Table with same name already exists: "
                                                 : "View already exists: ";
    case ICEREST_NO_THING:
        break;
    }
    return NULL;
}

/** The message: theirs, with what ours knows more; or ours. */
static enum status write_message(struct json_writer *w, const struct http_req *req,
                                 const struct icerest_state *state, const char *type)
{
    const char *phrase = phrase_of(req, state, type);
    struct str ours = str_of(req->err.msg);
    AUTO(buf_done) struct buf text;
    buf_init(&text, 64 * 1024);
    if (phrase != NULL) {
        bool of_ns = strcmp(type, "NoSuchNamespaceException") == 0;
        size_t hint = str_find(ours, STR(" (did you mean "));
        TRY(buf_append(&text, str_of(phrase)));
        TRY(append_identifier(&text, state->ns, of_ns ? STR_EMPTY : state->name));
        TRY(hint == SIZE_MAX ? OK : buf_append(&text, str_skip(ours, hint)));
        if (str_find(ours, STR("only by case")) != SIZE_MAX) {
            TRY(buf_printf(&text, " (%s)", req->err.msg));
        }
    }
    jw_kv_str(w, "message", phrase != NULL ? buf_str(&text) : ours);
    return OK;
}

/** `state` is NULL of a request that no route of ours has taken. */
static enum status error_json(const struct http_req *req, const struct icerest_state *state,
                              int http_status, struct buf *out)
{
    struct json_writer w;
    json_writer_init(&w, out);
    jw_obj_begin(&w);
    jw_kv_obj(&w, "error");
    const char *type = type_of(req, state, http_status);
    TRY(write_message(&w, req, state, type));
    jw_kv_cstr(&w, "type", type);
    jw_kv_i64(&w, "code", http_status);
    jw_kv_str(&w, "request_id", req->request_id);
    jw_obj_end(&w);
    jw_obj_end(&w);
    return json_writer_end(&w);
}

static const char *error_body(const struct http_req *req, const struct icerest_state *state,
                              int http_status, struct buf *out)
{
    if (!str_starts(req->path, STR(ICEREST_PATH "/"))) {
        return NULL;
    }
    if (error_json(req, state, http_status, out) != OK) {
        buf_clear(out);
    }
    return "application/json";
}

const char *icerest_error_body(struct http_req *req, int http_status, struct buf *out)
{
    return error_body(req, req->state, http_status, out);
}

const char *icerest_error_body_afar(struct http_req *req, int http_status, struct buf *out)
{
    return error_body(req, NULL, http_status, out);
}

void icerest_missing(struct http_req *req, const char *type)
{
    ((struct icerest_state *)req->state)->missing = type;
}

void icerest_conflict(struct http_req *req, const char *type)
{
    ((struct icerest_state *)req->state)->conflict = type;
}

void icerest_about(struct http_req *req, enum icerest_thing thing, struct str ns, struct str name)
{
    struct icerest_state *state = req->state;
    state->thing = thing;
    state->ns = ns;
    state->name = name;
}

enum http_step icerest_refuse(struct http_req *req, int http_status)
{
    AUTO(buf_done) struct buf json;
    buf_init(&json, ICEREST_JSON_MAX);
    if (error_json(req, req->state, http_status, &json) != OK) {
        return http_fail(req, err_no_memory(&req->err));
    }
    return http_reply_json(req, http_status, &json);
}

void icerest_type(struct http_req *req, const char *type)
{
    ((struct icerest_state *)req->state)->type = type;
}

/* --- names in paths --- */

/**
 * The `index`-th raw segment from "namespaces" on. Clients of Java write a space as '+', so what
 * was sent has to be looked at before '%2B' and '+' have become the same.
 */
static enum status segment_of(struct http_req *req, int index, struct str *out)
{
    struct str rest = str_skip(req->path, strlen(ICEREST_PATH "/v1/"));
    struct str segment = str_split(&rest, '/');
    if (!str_eq(segment, STR("namespaces"))) {
        segment = str_split(&rest, '/'); /* that was the warehouse */
    }
    for (int i = 0; i < index; i++) {
        segment = str_split(&rest, '/');
    }
    return percent_decode(&req->arena, segment, true, out, &req->err);
}

enum status icerest_namespace_of(struct http_req *req, struct str *out)
{
    TRY(segment_of(req, 1, out));
    icerest_about(req, ICEREST_NAMESPACE, *out, STR_EMPTY);
    return OK;
}

enum status icerest_view_of(struct http_req *req, struct table_name *out)
{
    TRY(icerest_table_of(req, out));
    icerest_about(req, ICEREST_VIEW, out->ns, out->name);
    return OK;
}

enum status icerest_table_of(struct http_req *req, struct table_name *out)
{
    TRY(icerest_namespace_of(req, &out->ns));
    TRY(segment_of(req, 3, &out->name));
    icerest_about(req, ICEREST_TABLE, out->ns, out->name);
    return OK;
}

/* --- names in bodies --- */

enum status icerest_levels(struct http_req *req, yyjson_val *obj, const char *name, struct str *out)
{
    yyjson_val *arr = NULL, *val;
    size_t i, max;
    AUTO(buf_done) struct buf ns;
    buf_init(&ns, 64 * 1024);
    TRY(json_get_arr(obj, name, JSON_REQUIRED, &arr, &req->err));
    yyjson_arr_foreach(arr, i, max, val)
    {
        struct str level = str_from(yyjson_get_str(val), yyjson_get_len(val));
        if (!yyjson_is_str(val) || level.len == 0 ||
            str_find_char(level, CATALOG_NS_SEPARATOR) != SIZE_MAX) {
            return err_set(&req->err, E_INVALID, "\"%s\": level %zu can be none", name, i);
        }
        enum status status = i > 0 ? buf_append_char(&ns, CATALOG_NS_SEPARATOR) : OK;
        status = status == OK ? buf_append(&ns, level) : status;
        if (status != OK) {
            return err_set(&req->err, E_INVALID, "\"%s\" is too long", name);
        }
    }
    if (ns.len == 0) {
        return err_set(&req->err, E_INVALID, "\"%s\" names no namespace", name);
    }
    *out = arena_str(&req->arena, buf_str(&ns));
    return out->ptr == NULL ? err_no_memory(&req->err) : OK;
}

void icerest_write_levels(struct json_writer *w, struct str ns)
{
    jw_arr_begin(w);
    for (struct str rest = ns; rest.ptr != NULL;) {
        jw_str(w, str_split(&rest, CATALOG_NS_SEPARATOR));
    }
    jw_arr_end(w);
}

/* --- answers --- */

enum http_step icerest_reply(struct http_req *req, struct json_writer *w, struct buf *json)
{
    if (json_writer_end(w) != OK) {
        return http_fail(req,
                         err_set(&req->err, E_TOO_LARGE, "the answer would be larger than %d bytes",
                                 ICEREST_JSON_MAX));
    }
    return http_reply_json(req, 200, json);
}

/** Index of the first name behind `token`. */
static size_t first_behind(const struct str *names, size_t count, struct str token)
{
    size_t at = 0;
    while (at < count && str_cmp(names[at], token) <= 0) {
        at++;
    }
    return at;
}

enum status icerest_page_of(struct http_req *req, const struct str *names, size_t count,
                            struct icerest_page *out)
{
    struct str token, size;
    uint64_t most = count;
    TRY(http_query(req, "pageToken", &token));
    TRY(http_query(req, "pageSize", &size));
    if (size.ptr != NULL && (!str_to_u64(size, &most) || most == 0)) {
        return err_set(&req->err, E_INVALID, "pageSize=%.*s: a number above 0 is expected",
                       STR_ARG(size));
    }
    bool paged = token.ptr != NULL; /* without a token everything is asked for */
    size_t from = paged ? first_behind(names, count, token) : 0;
    size_t to = paged && most < count - from ? from + (size_t)most : count;
    *out = (struct icerest_page){ .from = from, .to = to, .more = to < count };
    return OK;
}

void icerest_write_next(struct json_writer *w, const struct icerest_page *page,
                        const struct str *names)
{
    jw_key(w, STR("next-page-token"));
    if (page->more) {
        jw_str(w, names[page->to - 1]);
    } else {
        jw_null(w);
    }
}

/* --- what there is --- */

static const struct icerest_endpoint *(*const groups[])(size_t *count_out) = {
    icerest_namespace_endpoints, icerest_table_endpoints, icerest_move_endpoints,
    icerest_commit_endpoints,    icerest_view_endpoints,
};

/* --- the configuration --- */

static void write_endpoints(struct json_writer *w, const struct icerest_endpoint *endpoints,
                            size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char text[128];
        const struct icerest_endpoint *endpoint = &endpoints[i];
        int len = snprintf(text, sizeof(text), "%s /v1/{prefix}%s",
                           http_method_name(endpoint->method), endpoint->pattern);
        jw_str(w, str_from(text, (size_t)len));
        if (endpoint->head) {
            len = snprintf(text, sizeof(text), "HEAD /v1/{prefix}%s", endpoint->pattern);
            jw_str(w, str_from(text, (size_t)len));
        }
    }
}

static enum http_step config_end(struct http_req *req)
{
    const struct icerest *icerest = req->ctx;
    struct str warehouse;
    icerest_missing(req, "NoSuchWarehouseException");
    enum status status = http_query(req, "warehouse", &warehouse);
    if (status == OK && warehouse.len > 0 && !str_eq(warehouse, str_of(icerest->warehouse))) {
        status = err_set(&req->err, E_NOT_FOUND, "there is no warehouse \"%.*s\", only \"%s\"",
                         STR_ARG(warehouse), icerest->warehouse);
    }
    if (status != OK) {
        return http_fail(req, status);
    }
    AUTO(buf_done) struct buf json;
    buf_init(&json, ICEREST_JSON_MAX);
    struct json_writer w;
    json_writer_init(&w, &json);
    jw_obj_begin(&w);
    jw_kv_obj(&w, "defaults");
    if (icerest->lender != NULL) { /* Java's clients ask for keys only when they are told to */
        jw_kv_cstr(&w, "header.X-Iceberg-Access-Delegation", "vended-credentials");
    }
    jw_obj_end(&w);
    jw_kv_obj(&w, "overrides");
    jw_kv_cstr(&w, "prefix", icerest->warehouse);
    jw_obj_end(&w);
    jw_kv_arr(&w, "endpoints");
    for (size_t i = 0; i < ARRAY_LEN(groups); i++) {
        size_t count;
        const struct icerest_endpoint *endpoints = groups[i](&count);
        write_endpoints(&w, endpoints, count);
    }
    jw_arr_end(&w);
    jw_obj_end(&w);
    return icerest_reply(req, &w, &json);
}

/* --- mounting --- */

static const struct http_handler config_handler = { .end = config_end,
                                                    .state_bytes = sizeof(struct icerest_state) };

static enum status mount_endpoints(struct icerest *icerest, struct http_server *server,
                                   const char *prefix, const struct icerest_endpoint *endpoints,
                                   size_t count, struct err *err)
{
    for (size_t i = 0; i < count; i++) {
        /* the server keeps a copy of the route, not of the text, which is static */
        struct http_route route = { .method = endpoints[i].method,
                                    .pattern = endpoints[i].pattern,
                                    .handler = endpoints[i].handler,
                                    .flags = endpoints[i].flags };
        TRY(http_server_mount(server, prefix, &route, 1, icerest, err));
    }
    return OK;
}

enum status icerest_mount(struct icerest *icerest, struct http_server *server, struct err *err)
{
    static const struct http_route unprefixed[] = {
        { .method = HTTP_GET, .pattern = "/config", .handler = &config_handler },
        { .method = HTTP_POST,
          .pattern = "/oauth/tokens",
          .handler = &icerest_tokens_handler,
          .body_bytes_max = TOKEN_REQUEST_MAX },
    };
    int len = snprintf(icerest->prefix, sizeof(icerest->prefix), ICEREST_PATH "/v1/%s",
                       icerest->warehouse);
    assert(len > 0 && (size_t)len < sizeof(icerest->prefix));
    const char *const prefixes[] = { ICEREST_PATH "/v1", icerest->prefix };
    TRY(http_server_mount(server, ICEREST_PATH "/v1", unprefixed, ARRAY_LEN(unprefixed), icerest,
                          err));
    for (size_t i = 0; i < ARRAY_LEN(prefixes) * ARRAY_LEN(groups); i++) {
        size_t count;
        const struct icerest_endpoint *endpoints = groups[i % ARRAY_LEN(groups)](&count);
        TRY(mount_endpoints(icerest, server, prefixes[i / ARRAY_LEN(groups)], endpoints, count,
                            err));
    }
    return OK;
}
