/*
 * storaged's routes for the other services, which src/store/http.c speaks: the store's own
 * operations, one to one, with the cluster's token and without slots, limits or closed keys (the
 * store itself keeps its secret to itself).
 *
 *      PUT    /internal/store/put/{key}?attrs=&etag=opaque   body; If-None-Match: *, If-Match
 *             -> info
 *      GET    /internal/store/read/{key}?offset=&length=&etag=   bytes; headers X-Lake-Size,
 *             X-Lake-Modified, X-Lake-Attrs, X-Lake-Etag, X-Lake-Weak
 *      GET    /internal/store/stat/{key}?attrs=1     -> info with "attrs"
 *      GET    /internal/store/list?prefix=&delimiter=&after=&limit=  ->
 *             {"objects":[info],"prefixes":[],"truncated","next"}
 *      DELETE /internal/store/delete/{key}           If-Match; 204
 *      POST   /internal/store/copy                   {"from","to"} -> info
 *      POST   /internal/store/copy-with              {"from","to","keep_time","if_absent",
 *             "to_if_match","from_if_match","attrs"?} -> info
 *      GET    /internal/store/root                   {"uri","ready"}
 *
 * info is {"key"?,"size","etag","weak","modified_ms"}. Attributes travel packed (store/attrs.h): as
 * the first `attrs` bytes of a put's body, because they may be longer than a header; elsewhere in
 * base64.
 */
#include "api/api_storage_priv.h"
#include "base/encode.h"
#include "store/attrs.h"

static void info_json(struct json_writer *w, const struct store_info *info)
{
    if (info->key.len > 0) {
        jw_kv_str(w, "key", info->key);
    }
    jw_kv_u64(w, "size", info->size);
    jw_kv_cstr(w, "etag", info->etag);
    jw_kv_bool(w, "weak", info->etag_weak);
    jw_kv_i64(w, "modified_ms", info->modified_ms);
}

/** Answer with an info and, unless NULL, attributes; or the error of the call that should have
 * filled it. */
static enum http_step info_attrs_reply(struct http_req *req, enum status status,
                                       const struct store_info *info, struct str attrs)
{
    if (status != OK) {
        return http_fail(req, status);
    }
    AUTO(buf_done) struct buf json;
    buf_init(&json, 0);
    struct json_writer w;
    json_writer_init(&w, &json);
    jw_obj_begin(&w);
    info_json(&w, info);
    if (attrs.ptr != NULL) {
        jw_kv_str(&w, "attrs", attrs);
    }
    jw_obj_end(&w);
    if (json_writer_end(&w) != OK) {
        return http_fail(req, err_no_memory(&req->err));
    }
    return http_reply_json(req, 200, &json);
}

static enum http_step info_reply(struct http_req *req, enum status status,
                                 const struct store_info *info)
{
    return info_attrs_reply(req, status, info, (struct str){ NULL, 0 });
}

/** The base64 of attributes, in the arena. */
static enum status attrs_text(struct http_req *req, const struct store_attrs *attrs,
                              struct str *out)
{
    AUTO(buf_done) struct buf packed;
    AUTO(buf_done) struct buf text;
    buf_init(&packed, 0);
    buf_init(&text, 0);
    TRY(attrs_pack(attrs, &packed, &req->err));
    if (base64_append(&text, packed.ptr, packed.len) != OK) {
        return err_no_memory(&req->err);
    }
    *out = arena_str(&req->arena, buf_str(&text));
    return out->ptr != NULL ? OK : err_no_memory(&req->err);
}

/** Packed attributes from outside, into the arena. */
static enum status attrs_parse(struct http_req *req, struct str packed, struct store_attrs *out)
{
    if (!attrs_packed_valid(packed)) {
        return err_set(&req->err, E_INVALID, "the attributes are not well formed");
    }
    return attrs_unpack(packed, &req->arena, out, &req->err);
}

static struct store *store_of(const struct http_req *req)
{
    return ((struct api_storage *)req->ctx)->store;
}

static enum status number_query(struct http_req *req, const char *name, uint64_t *out)
{
    struct str text = { NULL, 0 };
    TRY(http_query(req, name, &text));
    if (text.ptr != NULL && !str_to_u64(text, out)) {
        return err_set(&req->err, E_INVALID, "%s is not a number", name);
    }
    return OK;
}

static enum status attrs_begin(struct http_req *req)
{
    struct api_put *put = req->state;
    uint64_t len = 0;
    TRY(number_query(req, "attrs", &len));
    if (len > ATTRS_PACKED_MAX) {
        return err_set(&req->err, E_TOO_LARGE, "the attributes may have %d bytes",
                       ATTRS_PACKED_MAX);
    }
    put->attrs = arena_alloc(&req->arena, (size_t)len + 1);
    put->attrs_len = (size_t)len;
    return put->attrs != NULL ? OK : err_no_memory(&req->err);
}

static enum status etag_begin(struct http_req *req)
{
    struct api_put *put = req->state;
    struct str etag = { NULL, 0 };
    TRY(http_query(req, "etag", &etag));
    put->opaque_etag = etag.ptr != NULL && str_eq(etag, STR("opaque"));
    return OK;
}

static enum http_step put_begin(struct http_req *req)
{
    struct str key = http_param(req, "key");
    enum status status = store_key_check(key, &req->err);
    if (status == OK) {
        status = attrs_begin(req);
    }
    if (status == OK) {
        status = etag_begin(req);
    }
    if (status == OK) {
        status = api_storage_put_open(req, key);
    }
    return status == OK ? HTTP_NEXT : http_fail(req, status);
}

/** The attributes first, then the object. */
static enum http_step put_body(struct http_req *req, struct str bytes)
{
    struct api_put *put = req->state;
    struct str attrs = str_take(bytes, put->attrs_len - put->attrs_got);
    if (attrs.len > 0) {
        memcpy(put->attrs + put->attrs_got, attrs.ptr, attrs.len);
        put->attrs_got += attrs.len;
        bytes = str_skip(bytes, attrs.len);
    }
    return bytes.len > 0 ? api_storage_put_body(req, bytes) : HTTP_NEXT;
}

static enum status put_attrs(struct http_req *req)
{
    const struct api_put *put = req->state;
    struct store_attrs attrs;
    if (put->attrs_got < put->attrs_len) {
        return err_set(&req->err, E_INVALID, "the body ends within the attributes");
    }
    TRY(attrs_parse(req, str_from(put->attrs, put->attrs_len), &attrs));
    return store_writer_attrs(put->writer, &attrs, &req->err);
}

static enum http_step put_end(struct http_req *req)
{
    struct store_info info;
    enum status status = put_attrs(req);
    if (status == OK) {
        status = api_storage_put_commit(req, &info);
    }
    return info_reply(req, status, &info);
}

/** Opens the object and sets the span: from `offset`, at most `length` bytes (0: to the end), less
 * at the end. */
static enum status read_open(struct http_req *req)
{
    struct store_send *get = req->state;
    struct str etag = { NULL, 0 };
    uint64_t offset = 0, length = 0;
    TRY(number_query(req, "offset", &offset));
    TRY(number_query(req, "length", &length));
    TRY(http_query(req, "etag", &etag));
    TRY(store_open(store_of(req), http_param(req, "key"), &get->object, &req->err));
    const struct store_info *info = store_object_info(get->object);
    if (etag.ptr != NULL && !str_eq(etag, str_of(info->etag))) {
        return err_set(&req->err, E_CONFLICT, "object \"%.*s\" was replaced while it was read",
                       STR_ARG(http_param(req, "key")));
    }
    get->offset = offset < info->size ? offset : info->size;
    get->length = info->size - get->offset;
    if (length != 0 && length < get->length) {
        get->length = length;
    }
    return OK;
}

static void number_header(struct http_req *req, const char *name, long long value)
{
    char text[32];
    int len = snprintf(text, sizeof text, "%lld", value);
    http_reply_header(req, name, str_from(text, (size_t)len));
}

static enum http_step read_end(struct http_req *req)
{
    struct store_send *get = req->state;
    enum status status = read_open(req);
    if (status != OK) {
        return http_fail(req, status);
    }
    const struct store_info *info = store_object_info(get->object);
    struct store_attrs attrs = store_object_attrs(get->object);
    struct str text = STR_EMPTY;
    status = attrs_text(req, &attrs, &text);
    if (status != OK) {
        return http_fail(req, status);
    }
    if (text.len > 0) {
        http_reply_header(req, "X-Lake-Attrs", text);
    }
    number_header(req, "X-Lake-Size", (long long)info->size);
    number_header(req, "X-Lake-Modified", (long long)info->modified_ms);
    http_reply_header(req, "X-Lake-Etag", str_of(info->etag));
    http_reply_header(req, "X-Lake-Weak", info->etag_weak ? STR("1") : STR("0"));
    return api_storage_send(req, 200);
}

static enum http_step stat_end(struct http_req *req)
{
    struct store_info info = { 0 };
    struct store_attrs attrs;
    struct str wanted = { NULL, 0 }, text = { NULL, 0 };
    struct str key = http_param(req, "key");
    enum status status = http_query(req, "attrs", &wanted);
    if (status == OK && wanted.ptr == NULL) {
        status = store_stat(store_of(req), key, &info, &req->err);
    } else if (status == OK) {
        status = store_stat_attrs(store_of(req), key, &req->arena, &info, &attrs, &req->err);
        if (status == OK) {
            status = attrs_text(req, &attrs, &text);
        }
    }
    return info_attrs_reply(req, status, &info, text);
}

static enum status list_json(struct http_req *req, struct buf *json)
{
    struct store_list_opts opts;
    struct store_list list;
    TRY(api_storage_list_opts(req, &opts));
    TRY(store_list(store_of(req), &opts, &req->arena, &list, &req->err));
    struct json_writer w;
    json_writer_init(&w, json);
    jw_obj_begin(&w);
    jw_kv_arr(&w, "objects");
    for (size_t i = 0; i < list.object_count; i++) {
        jw_obj_begin(&w);
        info_json(&w, &list.objects[i]);
        jw_obj_end(&w);
    }
    jw_arr_end(&w);
    jw_kv_arr(&w, "prefixes");
    for (size_t i = 0; i < list.prefix_count; i++) {
        jw_str(&w, list.prefixes[i]);
    }
    jw_arr_end(&w);
    jw_kv_bool(&w, "truncated", list.truncated);
    jw_kv_str(&w, "next", list.truncated ? list.next : STR_EMPTY);
    jw_obj_end(&w);
    return json_writer_end(&w) == OK ? OK : err_no_memory(&req->err);
}

static enum http_step list_end(struct http_req *req)
{
    AUTO(buf_done) struct buf json;
    buf_init(&json, 0);
    enum status status = list_json(req, &json);
    return status == OK ? http_reply_json(req, 200, &json) : http_fail(req, status);
}

static enum http_step delete_end(struct http_req *req)
{
    struct str match = str_trim(http_headers_get(&req->headers, STR("If-Match")));
    if (match.len > 2 && match.ptr[0] == '"') {
        match = str_from(match.ptr + 1, match.len - 2);
    }
    enum status status = store_delete_if(store_of(req), http_param(req, "key"), match, &req->err);
    return status == OK ? http_reply_empty(req, 204) : http_fail(req, status);
}

static enum http_step copy_end(struct http_req *req)
{
    yyjson_val *body = NULL;
    struct str from, to;
    struct store_info info = { 0 };
    enum status status = http_body_json(req, &body);
    if (status == OK) {
        status = json_get_str(body, "from", JSON_REQUIRED, &from, &req->err);
    }
    if (status == OK) {
        status = json_get_str(body, "to", JSON_REQUIRED, &to, &req->err);
    }
    if (status == OK) {
        status = store_copy(store_of(req), from, to, &info, &req->err);
    }
    return info_reply(req, status, &info);
}

static enum status copy_attrs(struct http_req *req, yyjson_val *body, struct store_attrs *attrs,
                              bool *given_out)
{
    struct str text = { NULL, 0 };
    AUTO(buf_done) struct buf packed;
    buf_init(&packed, 2 * ATTRS_PACKED_MAX);
    TRY(json_get_str(body, "attrs", JSON_OPTIONAL, &text, &req->err));
    *given_out = text.ptr != NULL;
    if (base64_decode(text, &packed) != OK) {
        return err_set(&req->err, E_INVALID, "the attributes are not well formed");
    }
    return attrs_parse(req, buf_str(&packed), attrs);
}

static enum status copy_with(struct http_req *req, struct store_info *info)
{
    yyjson_val *body = NULL;
    struct str from, to;
    bool keep_time = false, given = false;
    struct store_attrs attrs = { 0 };
    struct store_cond cond = { 0 };
    struct store_copy_opts opts = { .cond = &cond };
    TRY(http_body_json(req, &body));
    TRY(json_get_str(body, "from", JSON_REQUIRED, &from, &req->err));
    TRY(json_get_str(body, "to", JSON_REQUIRED, &to, &req->err));
    TRY(json_get_bool(body, "keep_time", JSON_REQUIRED, &keep_time, &req->err));
    TRY(json_get_bool(body, "if_absent", JSON_REQUIRED, &cond.if_absent, &req->err));
    TRY(json_get_str(body, "to_if_match", JSON_REQUIRED, &cond.if_match, &req->err));
    TRY(json_get_str(body, "from_if_match", JSON_REQUIRED, &opts.if_match, &req->err));
    TRY(copy_attrs(req, body, &attrs, &given));
    if (keep_time) {
        return store_set_attrs(store_of(req), to, &attrs, opts.if_match, info, &req->err);
    }
    opts.attrs = given ? &attrs : NULL;
    return store_copy_with(store_of(req), from, to, &opts, info, &req->err);
}

static enum http_step copy_with_end(struct http_req *req)
{
    struct store_info info = { 0 };
    enum status status = copy_with(req, &info);
    return info_reply(req, status, &info);
}

static enum http_step root_end(struct http_req *req)
{
    AUTO(buf_done) struct buf json;
    buf_init(&json, 0);
    struct json_writer w;
    enum status ready = store_ready(store_of(req), &req->err);
    json_writer_init(&w, &json);
    jw_obj_begin(&w);
    jw_kv_str(&w, "uri", store_root_uri(store_of(req)));
    jw_kv_bool(&w, "ready", ready == OK);
    jw_kv_cstr(&w, "message", ready == OK ? "" : req->err.msg);
    jw_obj_end(&w);
    if (json_writer_end(&w) != OK) {
        return http_fail(req, err_no_memory(&req->err));
    }
    return http_reply_json(req, 200, &json);
}

static const struct http_handler put_handler = {
    .begin = put_begin,
    .body = put_body,
    .end = put_end,
    .done = api_storage_put_done,
    .state_bytes = sizeof(struct api_put),
};
static const struct http_handler read_handler = {
    .end = read_end,
    .pull = api_storage_pull,
    .done = api_storage_get_done,
    .state_bytes = sizeof(struct store_send),
};
static const struct http_handler stat_handler = { .end = stat_end };
static const struct http_handler list_handler = { .end = list_end };
static const struct http_handler delete_handler = { .end = delete_end };
static const struct http_handler copy_handler = { .end = copy_end };
static const struct http_handler copy_with_handler = { .end = copy_with_end };
static const struct http_handler root_handler = { .end = root_end };

const struct http_route *api_storage_internal_routes(size_t *count_out)
{
    static const struct http_route routes[] = {
        { .method = HTTP_PUT,
          .pattern = "/internal/store/put/{key*}",
          .handler = &put_handler,
          .flags = HTTP_INTERNAL },
        { .method = HTTP_GET,
          .pattern = "/internal/store/read/{key*}",
          .handler = &read_handler,
          .flags = HTTP_INTERNAL },
        { .method = HTTP_GET,
          .pattern = "/internal/store/stat/{key*}",
          .handler = &stat_handler,
          .flags = HTTP_INTERNAL },
        { .method = HTTP_GET,
          .pattern = "/internal/store/list",
          .handler = &list_handler,
          .flags = HTTP_INTERNAL },
        { .method = HTTP_DELETE,
          .pattern = "/internal/store/delete/{key*}",
          .handler = &delete_handler,
          .flags = HTTP_INTERNAL },
        { .method = HTTP_POST,
          .pattern = "/internal/store/copy",
          .handler = &copy_handler,
          .flags = HTTP_INTERNAL | HTTP_JSON_BODY },
        { .method = HTTP_POST,
          .pattern = "/internal/store/copy-with",
          .handler = &copy_with_handler,
          .flags = HTTP_INTERNAL | HTTP_JSON_BODY },
        { .method = HTTP_GET,
          .pattern = "/internal/store/root",
          .handler = &root_handler,
          .flags = HTTP_INTERNAL },
    };
    *count_out = ARRAY_LEN(routes);
    return routes;
}
