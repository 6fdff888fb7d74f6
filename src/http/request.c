/*
 * What a handler calls in its steps: the request's parts, and the answer it wants. Nothing here
 * touches a socket; the answer is noted in the exchange and leaves when the step has returned.
 */
#include "http/server_priv.h"

#include <unistd.h>

#include "base/encode.h"
#include "base/mem.h"

struct str http_param(const struct http_req *req, const char *name)
{
    for (size_t i = 0; i < req->param_count; i++) {
        if (str_eq(req->params[i].name, str_of(name))) {
            return req->params[i].value;
        }
    }
    assert(!"the route has no such parameter");
    return STR_EMPTY;
}

enum status http_query(struct http_req *req, const char *name, struct str *out)
{
    struct str rest = req->query, want = str_of(name);
    *out = (struct str){ NULL, 0 };
    while (rest.ptr != NULL) {
        struct str pair = str_split(&rest, '&');
        size_t equals = str_find_char(pair, '=');
        struct str key = str_take(pair, equals == SIZE_MAX ? pair.len : equals),
                   decoded = STR_EMPTY;
        if (str_find_char(key, '%') != SIZE_MAX || str_find_char(key, '+') != SIZE_MAX) {
            TRY(percent_decode(&req->arena, key, true, &decoded, &req->err));
            key = decoded;
        }
        if (!str_eq(key, want)) {
            continue;
        }
        struct str value = equals == SIZE_MAX ? STR_EMPTY : str_skip(pair, equals + 1);
        TRY(percent_decode(&req->arena, value, true, out, &req->err));
        if (out->ptr == NULL) {
            *out = STR_EMPTY;
        }
        return OK;
    }
    return OK;
}

enum status http_body_json(struct http_req *req, yyjson_val **root_out)
{
    struct http_exchange *ex = exchange_of(req);
    if (ex->json == NULL) {
        TRY(json_parse(req->body, &ex->json, &req->err));
    }
    *root_out = yyjson_doc_get_root(ex->json);
    return OK;
}

/* --- the answer --- */

void http_reply_header(struct http_req *req, const char *name, struct str value)
{
    struct http_exchange *ex = exchange_of(req);
    if (value.len == 0 || str_has_control(value)) {
        /* a line break in a value would start another header, and of an empty one libmicrohttpd
         * makes an error */
        return;
    }
    (void)!http_headers_add(&ex->reply.headers, &req->arena, str_of(name), value);
}

/* Begins an answer; headers that were added before stay. */
static struct http_exchange *reply_begin(struct http_req *req, enum reply_kind kind,
                                         int http_status, const char *content_type)
{
    struct http_exchange *ex = exchange_of(req);
    ex->reply.kind = kind;
    ex->reply.status = http_status;
    if (content_type != NULL) {
        http_reply_header(req, "Content-Type", str_of(content_type));
    }
    return ex;
}

enum http_step http_reply(struct http_req *req, int http_status, const char *content_type,
                          struct str body)
{
    struct http_exchange *ex = exchange_of(req);
    buf_clear(&ex->reply.body);
    if (buf_append(&ex->reply.body, body) != OK) {
        (void)err_no_memory(&req->err);
        return http_fail(req, E_NO_MEMORY);
    }
    reply_begin(req, REPLY_BUFFER, http_status, content_type);
    return HTTP_END;
}

enum http_step http_reply_buf(struct http_req *req, int http_status, const char *content_type,
                              struct buf *body)
{
    struct http_exchange *ex = reply_begin(req, REPLY_BUFFER, http_status, content_type);
    size_t max = body->max;
    buf_done(&ex->reply.body);
    ex->reply.body = *body;
    buf_init(body, max);
    return HTTP_END;
}

enum http_step http_reply_json(struct http_req *req, int http_status, struct buf *json)
{
    return http_reply_buf(req, http_status, "application/json", json);
}

enum http_step http_reply_empty(struct http_req *req, int http_status)
{
    reply_begin(req, REPLY_BUFFER, http_status, NULL);
    return HTTP_END;
}

enum http_step http_fail(struct http_req *req, enum status kind)
{
    struct http_exchange *ex = exchange_of(req);
    if (ex->queued) {
        return HTTP_CUT;
    }
    struct http_headers headers = ex->reply.headers;
    /* headers that were set for this answer, like Allow or ETag */
    bool keep = ex->reply.kind == REPLY_NONE;
    reply_error(ex, kind, 0);
    for (size_t i = 0; keep && i < headers.count; i++) {
        if (!str_eq_nocase(headers.items[i].name, STR("content-type")) &&
            !str_eq_nocase(headers.items[i].name, STR("retry-after"))) {
            http_reply_header(req, headers.items[i].name.ptr, headers.items[i].value);
        }
    }
    return HTTP_END;
}

enum http_step http_stream(struct http_req *req, int http_status, const char *content_type,
                           int64_t length)
{
    struct http_exchange *ex = reply_begin(req, REPLY_STREAM, http_status, content_type);
    ex->reply.length = length;
    return HTTP_NEXT;
}

enum http_step http_reply_fd(struct http_req *req, int http_status, const char *content_type,
                             int fd, uint64_t offset, uint64_t length)
{
    if (length == 0) {
        close(fd);
        return http_reply(req, http_status, content_type, STR_EMPTY);
    }
    struct http_exchange *ex = reply_begin(req, REPLY_FD, http_status, content_type);
    ex->reply.fd = fd;
    ex->reply.offset = offset;
    ex->reply.length = (int64_t)length;
    return HTTP_END;
}

/* --- streams and waits --- */

enum status http_write(struct http_req *req, const void *ptr, size_t len)
{
    if (buf_append_bytes(&exchange_of(req)->out, ptr, len) != OK) {
        return err_no_memory(&req->err);
    }
    return OK;
}

char *http_write_reserve(struct http_req *req, size_t len)
{
    return buf_reserve(&exchange_of(req)->out, len);
}

void http_wrote(struct http_req *req, size_t len)
{
    exchange_of(req)->out.len += len;
}

bool http_head_sent(const struct http_req *req)
{
    return req->exchange->queued;
}

enum http_step http_wait(struct http_req *req, int fd, short events, deadline_ms deadline)
{
    struct http_exchange *ex = exchange_of(req);
    ex->wait_fd = fd;
    ex->wait_events = events;
    ex->wait_deadline = deadline;
    return HTTP_WAIT;
}

bool http_client_gone(const struct http_req *req)
{
    const struct conn *conn = req->exchange->conn; /* NULL in done */
    return conn == NULL ? req->failed : atomic_load_explicit(&conn->gone, memory_order_acquire);
}

bool http_client_expects(const struct http_req *req)
{
    return req->exchange->expects;
}

/* --- fields of the log line --- */

static void log_field(struct http_req *req, struct log_field field)
{
    struct http_exchange *ex = exchange_of(req);
    if (ex->log_field_count < LOG_FIELDS_MAX) {
        ex->log_fields[ex->log_field_count++] = field;
    }
}

void http_log_field_str(struct http_req *req, const char *name, struct str value)
{
    struct str copy = arena_str(&req->arena, value);
    if (copy.ptr != NULL) {
        log_field(req, L_STR(name, copy));
    }
}

void http_log_field_i64(struct http_req *req, const char *name, int64_t value)
{
    log_field(req, L_I64(name, value));
}
