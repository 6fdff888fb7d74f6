/*
 * storaged's routes for clients: put, get, list and delete. A PUT streams into a store_writer as it
 * comes; a GET leaves by sendfile where the store has a file, else in pieces. Nothing is held in
 * memory but one piece.
 *
 * The body of a refused PUT is not read: the size and the conditions are looked at when the head is
 * there.
 */
#include "api/api_storage.h"

#include "api/api_storage_priv.h"
#include "store/lake_keys.h"

enum {
    OBJECT_BYTES_MAX_DEFAULT = 256 * 1024 * 1024,
    ETAG_TEXT_MAX = STORE_ETAG_MAX + 8,
    /* of a PUT or GET that moves; the idle limit ends those that do not */
    BODY_TIMEOUT_MS = 3600 * 1000,
};

/* --- whose keys --- */

static enum status client_key(struct http_req *req, bool writes, struct str *out)
{
    struct str key = http_param(req, "key");
    TRY(store_key_check_plain(key, &req->err));
    if (lake_key_closed(key)) {
        return err_set(&req->err, E_DENIED, "key \"%.*s\" belongs to the lake itself",
                       STR_ARG(key));
    }
    if (writes && lake_key_of_tables(key)) {
        return err_set(
            &req->err, E_DENIED,
            "key \"%.*s\" is in the folder of the tables, which only the catalogue writes",
            STR_ARG(key));
    }
    *out = key;
    return OK;
}

/* --- headers --- */

static void etag_header(struct http_req *req, const struct store_info *info)
{
    char text[ETAG_TEXT_MAX];
    int len = snprintf(text, sizeof text, "%s\"%s\"", info->etag_weak ? "W/" : "", info->etag);
    if (info->etag[0] != '\0') {
        http_reply_header(req, "ETag", str_from(text, (size_t)len));
    }
}

static void object_headers(struct http_req *req, const struct store_info *info)
{
    AUTO(buf_done) struct buf time;
    buf_init(&time, 64);
    etag_header(req, info);
    if (time_append_http(&time, info->modified_ms) == OK) {
        http_reply_header(req, "Last-Modified", buf_str(&time));
    }
    http_reply_header(req, "Accept-Ranges", STR("bytes"));
    http_reply_header(req, "X-Content-Type-Options", STR("nosniff"));
}

/* --- put --- */

/** If-Match with `*` or several tags becomes the one tag that is there now; the commit checks it
 * again. */
static enum status match_cond(struct http_req *req, struct store *store, struct str key,
                              struct str list, struct store_cond *cond)
{
    struct store_info info;
    enum status status = store_stat(store, key, &info, &req->err);
    if (status == E_NOT_FOUND) {
        return err_set(&req->err, E_PRECONDITION, "object \"%.*s\" is not there", STR_ARG(key));
    }
    TRY(status);
    if (!http_etag_matches(list, str_of(info.etag))) {
        return err_set(&req->err, E_PRECONDITION, "object \"%.*s\" has changed: its ETag is \"%s\"",
                       STR_ARG(key), info.etag);
    }
    cond->if_match = arena_str(&req->arena, str_of(info.etag));
    return cond->if_match.ptr != NULL ? OK : err_no_memory(&req->err);
}

enum status api_storage_cond(struct http_req *req, struct store *store, struct str key,
                             struct store_cond *cond)
{
    struct str none = http_headers_get(&req->headers, STR("If-None-Match"));
    struct str match = http_headers_get(&req->headers, STR("If-Match"));
    *cond = (struct store_cond){ 0 };
    if (none.ptr != NULL) {
        if (!str_eq(str_trim(none), STR("*"))) {
            return err_set(&req->err, E_INVALID, "a PUT takes only \"If-None-Match: *\"");
        }
        struct store_info info;
        enum status status = store_stat(store, key, &info, &req->err);
        if (status == OK) {
            return err_set(&req->err, E_PRECONDITION, "object \"%.*s\" is there already",
                           STR_ARG(key));
        }
        if (status != E_NOT_FOUND) {
            return status;
        }
        cond->if_absent = true;
    }
    return match.ptr != NULL ? match_cond(req, store, key, match, cond) : OK;
}

static enum status slot_take(struct http_req *req, struct api_storage *storage)
{
    struct api_put *put = req->state;
    unsigned slots = storage->put_slots != 0 ? storage->put_slots : API_STORAGE_PUT_SLOTS;
    if (atomic_fetch_add_explicit(&storage->puts_running, 1, memory_order_relaxed) >= slots) {
        atomic_fetch_sub_explicit(&storage->puts_running, 1, memory_order_relaxed);
        enum status kind = err_set(&req->err, E_UNAVAILABLE,
                                   "%u uploads are running, which is all at a time", slots);
        req->err.retry_after_s = API_STORAGE_RETRY_S;
        return kind;
    }
    put->slot = true;
    return OK;
}

/** Before the answer where it can be: whoever has got it may send the next one at once. */
static void slot_release(struct http_req *req)
{
    struct api_storage *storage = req->ctx;
    struct api_put *put = req->state;
    if (put->slot) {
        put->slot = false;
        atomic_fetch_sub_explicit(&storage->puts_running, 1, memory_order_relaxed);
    }
}

enum status api_storage_put_open(struct http_req *req, struct str key)
{
    struct api_storage *storage = req->ctx;
    struct api_put *put = req->state;
    struct store_cond cond;
    put->key = key;
    TRY(api_storage_cond(req, storage->store, key, &cond));
    cond.opaque_etag = put->opaque_etag;
    return store_writer_open(storage->store, key, &cond, &put->writer, &req->err);
}

static enum status too_large(struct http_req *req, uint64_t max)
{
    return err_set(&req->err, E_TOO_LARGE,
                   "an object may have %llu bytes (storaged.max_object_bytes)",
                   (unsigned long long)max);
}

static enum status put_open(struct http_req *req)
{
    struct api_storage *storage = req->ctx;
    struct api_put *put = req->state;
    struct str key;
    put->bytes_max = storage->object_bytes_max != 0 ? storage->object_bytes_max
                                                    : OBJECT_BYTES_MAX_DEFAULT;
    TRY(client_key(req, true, &key));
    if (http_headers_get(&req->headers, STR("Content-Range")).ptr != NULL) {
        /* RFC 9110, section 14.5: a part must not become the whole */
        return err_set(&req->err, E_INVALID, "a PUT replaces the whole object: no Content-Range");
    }
    if (req->content_length > 0 && (uint64_t)req->content_length > put->bytes_max) {
        return too_large(req, put->bytes_max);
    }
    TRY(slot_take(req, storage));
    return api_storage_put_open(req, key);
}

static enum http_step put_begin(struct http_req *req)
{
    enum status status = put_open(req);
    if (status != OK) {
        slot_release(req);
        return http_fail(req, status);
    }
    return HTTP_NEXT;
}

enum http_step api_storage_put_body(struct http_req *req, struct str bytes)
{
    struct api_put *put = req->state;
    put->size += bytes.len;
    if (put->bytes_max != 0 && put->size > put->bytes_max) {
        return http_fail(req, too_large(req, put->bytes_max));
    }
    enum status status = store_writer_write(put->writer, bytes, &req->err);
    return status == OK ? HTTP_NEXT : http_fail(req, status);
}

enum status api_storage_put_commit(struct http_req *req, struct store_info *info_out)
{
    struct api_put *put = req->state;
    struct store_writer *writer = put->writer;
    put->writer = NULL; /* gone, whatever the outcome */
    return store_writer_commit(writer, info_out, &req->err);
}

static enum http_step put_end(struct http_req *req)
{
    struct api_put *put = req->state;
    struct store_info info;
    enum status status = api_storage_put_commit(req, &info);
    slot_release(req);
    if (status != OK) {
        return http_fail(req, status);
    }
    AUTO(buf_done) struct buf json;
    buf_init(&json, 0);
    struct json_writer w;
    json_writer_init(&w, &json);
    jw_obj_begin(&w);
    jw_kv_str(&w, "key", put->key);
    jw_kv_u64(&w, "size", info.size);
    jw_kv_cstr(&w, "etag", info.etag);
    jw_obj_end(&w);
    if (json_writer_end(&w) != OK) {
        return http_fail(req, err_no_memory(&req->err));
    }
    etag_header(req, &info);
    http_log_field_i64(req, "object_bytes", (int64_t)info.size);
    return http_reply_json(req, 200, &json);
}

void api_storage_put_done(struct http_req *req)
{
    struct api_put *put = req->state;
    store_writer_abort(put->writer);
    slot_release(req);
}

/* --- get --- */

/** The Range that applies. E_RANGE when none of it is in the object. */
static enum status get_range(struct http_req *req, struct store_send *get,
                             const struct store_info *info, bool *partial)
{
    struct str range = http_headers_get(&req->headers, STR("Range"));
    struct str if_range = http_headers_get(&req->headers, STR("If-Range"));
    *partial = false;
    get->offset = 0;
    get->length = info->size;
    if (range.ptr == NULL || req->method == HTTP_HEAD) {
        return OK;
    }
    if (if_range.ptr != NULL) {
        int64_t since_ms = 0;
        bool date = time_parse_http(str_trim(if_range), &since_ms);
        /* A weak tag is not enough for putting parts together. */
        if (date ? info->modified_ms / 1000 != since_ms / 1000
                 : info->etag_weak || !http_etag_matches(if_range, str_of(info->etag))) {
            return OK;
        }
    }
    return http_range_parse(range, info->size, partial, &get->offset, &get->length);
}

/** 416 tells the size, which an ordinary error answer does not. */
static enum http_step range_refuse(struct http_req *req, uint64_t size)
{
    AUTO(buf_done) struct buf body;
    char text[48];
    buf_init(&body, 0);
    (void)err_set(&req->err, E_RANGE, "the range is behind the object's %llu bytes",
                  (unsigned long long)size);
    if (http_error_body(&body, &req->err, req->request_id) != OK) {
        return http_fail(req, E_RANGE);
    }
    int len = snprintf(text, sizeof text, "bytes */%llu", (unsigned long long)size);
    http_reply_header(req, "Content-Range", str_from(text, (size_t)len));
    return http_reply_json(req, 416, &body);
}

enum http_step api_storage_send(struct http_req *req, int http_status)
{
    enum status status = store_send_begin(req, http_status, "application/octet-stream", req->state);
    return status == OK ? HTTP_END : http_fail(req, status);
}

static enum http_step get_end(struct http_req *req)
{
    struct api_storage *storage = req->ctx;
    struct store_send *get = req->state;
    struct str key;
    enum status status = client_key(req, false, &key);
    if (status == OK) {
        status = store_open(storage->store, key, &get->object, &req->err);
    }
    if (status != OK) {
        return http_fail(req, status);
    }
    const struct store_info *info = store_object_info(get->object);
    enum http_wanted wanted = http_conditions(&req->headers, "", str_of(info->etag),
                                              info->modified_ms);
    if (wanted == HTTP_REFUSED) {
        (void)err_set(&req->err, E_PRECONDITION, "object \"%.*s\" has changed: its ETag is \"%s\"",
                      STR_ARG(key), info->etag);
        return http_fail(req, E_PRECONDITION);
    }
    if (wanted == HTTP_NOT_MODIFIED) {
        etag_header(req, info);
        return http_reply_empty(req, 304);
    }
    bool partial = false;
    if (get_range(req, get, info, &partial) == E_RANGE) {
        return range_refuse(req, info->size);
    }
    object_headers(req, info);
    if (partial) {
        char text[80];
        int len = snprintf(
            text, sizeof text, "bytes %llu-%llu/%llu", (unsigned long long)get->offset,
            (unsigned long long)(get->offset + get->length - 1), (unsigned long long)info->size);
        http_reply_header(req, "Content-Range", str_from(text, (size_t)len));
    }
    return api_storage_send(req, partial ? 206 : 200);
}

enum http_step api_storage_pull(struct http_req *req)
{
    return store_send_pull(req, req->state);
}

void api_storage_get_done(struct http_req *req)
{
    struct store_send *get = req->state;
    store_object_close(get->object);
}

/* --- list --- */

enum status api_storage_list_opts(struct http_req *req, struct store_list_opts *out)
{
    struct store_list_opts opts = { 0 };
    struct str limit = { NULL, 0 };
    TRY(http_query(req, "prefix", &opts.prefix));
    TRY(http_query(req, "delimiter", &opts.delimiter));
    TRY(http_query(req, "after", &opts.after));
    TRY(http_query(req, "limit", &limit));
    uint64_t number = 0;
    if (limit.ptr != NULL) {
        if (!str_to_u64(limit, &number) || number == 0 || number > STORE_LIST_MAX) {
            return err_set(&req->err, E_INVALID, "limit is a number from 1 to %d", STORE_LIST_MAX);
        }
        opts.limit = (size_t)number;
    }
    *out = opts;
    return OK;
}

static void object_json(struct json_writer *w, const struct store_info *info)
{
    AUTO(buf_done) struct buf time;
    buf_init(&time, 64);
    jw_obj_begin(w);
    jw_kv_str(w, "key", info->key);
    jw_kv_u64(w, "size", info->size);
    jw_kv_cstr(w, "etag", info->etag);
    if (time_append_iso(&time, info->modified_ms) == OK) {
        jw_kv_str(w, "last_modified", buf_str(&time));
    }
    jw_obj_end(w);
}

static enum status list_json(struct http_req *req, struct buf *json)
{
    struct api_storage *storage = req->ctx;
    struct store_list_opts opts;
    struct store_list page = { 0 };
    struct json_writer w;
    TRY(api_storage_list_opts(req, &opts));
    if (lake_prefix_closed(opts.prefix)) {
        return err_set(&req->err, E_DENIED, "keys below \"%.*s\" belong to the lake itself",
                       STR_ARG(opts.prefix));
    }
    TRY(lake_list(storage->store, &opts, &req->arena, &page, &req->err));
    json_writer_init(&w, json);
    jw_obj_begin(&w);
    jw_kv_arr(&w, "objects");
    for (size_t i = 0; i < page.object_count; i++) {
        object_json(&w, &page.objects[i]);
    }
    jw_arr_end(&w);
    jw_kv_arr(&w, "common_prefixes");
    for (size_t i = 0; i < page.prefix_count; i++) {
        jw_str(&w, page.prefixes[i]);
    }
    jw_arr_end(&w);
    jw_kv_bool(&w, "truncated", page.truncated);
    jw_key(&w, STR("next"));
    if (page.truncated) {
        jw_str(&w, page.next);
    } else {
        jw_null(&w);
    }
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

/* --- delete --- */

static enum http_step delete_end(struct http_req *req)
{
    struct api_storage *storage = req->ctx;
    struct str key;
    enum status status = client_key(req, true, &key);
    if (status == OK && (http_headers_get(&req->headers, STR("If-Match")).ptr != NULL ||
                         http_headers_get(&req->headers, STR("If-None-Match")).ptr != NULL)) {
        status = err_set(&req->err, E_UNSUPPORTED, "a DELETE takes no conditions");
    }
    if (status == OK) {
        status = store_delete(storage->store, key, &req->err);
    }
    return status == OK ? http_reply_empty(req, 204) : http_fail(req, status);
}

/* --- the table --- */

static const struct http_handler put_handler = {
    .begin = put_begin,
    .body = api_storage_put_body,
    .end = put_end,
    .done = api_storage_put_done,
    .state_bytes = sizeof(struct api_put),
};
static const struct http_handler get_handler = {
    .end = get_end,
    .pull = api_storage_pull,
    .done = api_storage_get_done,
    .state_bytes = sizeof(struct store_send),
};
static const struct http_handler list_handler = { .end = list_end };
static const struct http_handler delete_handler = { .end = delete_end };

const struct http_route *api_storage_routes(size_t *count_out)
{
    static const struct http_route routes[] = {
        { .method = HTTP_PUT,
          .pattern = "/storage/put/{key*}",
          .handler = &put_handler,
          .timeout_ms = BODY_TIMEOUT_MS },
        { .method = HTTP_GET,
          .pattern = "/storage/get/{key*}",
          .handler = &get_handler,
          .timeout_ms = BODY_TIMEOUT_MS },
        { .method = HTTP_GET, .pattern = "/storage/list", .handler = &list_handler },
        { .method = HTTP_DELETE, .pattern = "/storage/delete/{key*}", .handler = &delete_handler },
    };
    *count_out = ARRAY_LEN(routes);
    return routes;
}
