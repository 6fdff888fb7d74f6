/*
 * Answers: from what a step said to what libmicrohttpd, or in the case of an early answer the
 * socket, gets.
 */
#include "http/server_priv.h"

#include <unistd.h>

#include "base/mem.h"

void reply_clear(struct http_exchange *ex)
{
    buf_done(&ex->reply.body);
    if (ex->reply.fd >= 0) {
        close(ex->reply.fd);
    }
    ex->reply = (struct reply){ .kind = REPLY_NONE, .fd = -1, .length = -1 };
    buf_init(&ex->reply.body, 0);
}

static void error_body(struct http_exchange *ex, enum status kind)
{
    struct http_req *req = &ex->req;
    const struct http_server_opts *opts = &ex->server->opts;
    if (opts->error_body != NULL) {
        req->err.kind = kind;
        const char *type = opts->error_body(req, ex->reply.status, &ex->reply.body);
        if (type != NULL) {
            http_reply_header(req, "Content-Type", str_of(type));
            return;
        }
    }
    struct err copy = req->err;
    copy.kind = kind;
    http_reply_header(req, "Content-Type", STR("application/json"));
    if (http_error_body(&ex->reply.body, &copy, req->request_id) != OK) {
        buf_clear(&ex->reply.body);
    }
}

/* Headers of an error that a handler had set for another answer are dropped; ours cannot fail, only
 * be missing. */
void reply_error(struct http_exchange *ex, enum status kind, int http_status)
{
    struct http_req *req = &ex->req;
    reply_clear(ex);
    if (req->err.kind == OK) {
        (void)err_set(&req->err, kind, "%s", http_reason(http_status_of(kind)));
    }
    ex->reply.kind = REPLY_BUFFER;
    ex->reply.status = http_status != 0 ? http_status : http_status_of(kind);
    if (kind == E_RATE || kind == E_UNAVAILABLE) {
        char seconds[16];
        int len = snprintf(seconds, sizeof(seconds), "%u",
                           req->err.retry_after_s > 0 ? req->err.retry_after_s : 1);
        http_reply_header(req, "Retry-After", str_from(seconds, (size_t)len));
    }
    error_body(ex, kind);
}

/* Every answer's own headers, after those of the handler. */
static void common_headers(struct http_exchange *ex)
{
    if (ex->req.request_id.len > 0) {
        http_reply_header(&ex->req, "X-Request-Id", ex->req.request_id);
    }
    if (ex->cors_origin.len > 0) {
        http_reply_header(&ex->req, "Access-Control-Allow-Origin", ex->cors_origin);
        http_reply_header(&ex->req, "Vary", STR("Origin"));
    }
    if (atomic_load_explicit(&ex->server->draining, memory_order_relaxed)) {
        ex->close = true;
    }
    if (ex->close) {
        http_reply_header(&ex->req, "Connection", STR("close"));
    }
}

/* Moves the body, or the descriptor, into a response; NULL without memory. */
static struct MHD_Response *make_response(struct http_exchange *ex)
{
    struct reply *reply = &ex->reply;
    struct MHD_Response *response = NULL;
    switch (reply->kind) {
    case REPLY_FD:
        response = MHD_create_response_from_fd_at_offset64((uint64_t)reply->length, reply->fd,
                                                           reply->offset);
        reply->fd = response != NULL ? -1 : reply->fd;
        break;
    case REPLY_STREAM:
        response = MHD_create_response_from_callback(reply->length < 0 ? MHD_SIZE_UNKNOWN
                                                                       : (uint64_t)reply->length,
                                                     64 * 1024, exchange_read, ex, NULL);
        break;
    case REPLY_NONE:
    case REPLY_BUFFER:
        if (reply->body.len == 0) {
            response = MHD_create_response_empty(MHD_RF_NONE);
            break;
        }
        response = MHD_create_response_from_buffer_with_free_callback(reply->body.len,
                                                                      reply->body.ptr, mem_free);
        if (response != NULL) {
            reply->body.ptr = NULL; /* freed by the response */
            ex->bytes_out = ex->req.method == HTTP_HEAD ? 0 : reply->body.len;
            buf_init(&reply->body, 0);
        }
        break;
    }
    return response;
}

enum MHD_Result reply_queue(struct http_exchange *ex)
{
    common_headers(ex);
    if (ex->reply.kind == REPLY_FD && ex->req.method != HTTP_HEAD) {
        ex->bytes_out = (uint64_t)ex->reply.length;
    }
    struct MHD_Response *response = make_response(ex);
    if (response == NULL) {
        return MHD_NO;
    }
    for (size_t i = 0; i < ex->reply.headers.count; i++) {
        const struct http_header *header = &ex->reply.headers.items[i];
        if (MHD_add_response_header(response, header->name.ptr, header->value.ptr) != MHD_YES) {
            MHD_destroy_response(response);
            return MHD_NO;
        }
    }
    enum MHD_Result result = MHD_queue_response(ex->conn->mhd, (unsigned)ex->reply.status,
                                                response);
    MHD_destroy_response(response); /* the connection holds its own reference */
    ex->queued = result == MHD_YES;
    return result;
}

enum status reply_raw(struct http_exchange *ex)
{
    struct buf *raw = &ex->raw;
    if (ex->reply.kind != REPLY_BUFFER) {
        return E_INTERNAL;
    }
    ex->close = true;
    common_headers(ex);
    TRY(buf_printf(raw, "HTTP/1.1 %d %s\r\nDate: ", ex->reply.status,
                   http_reason(ex->reply.status)));
    TRY(time_append_http(raw, clock_wall_ms(clock_real())));
    for (size_t i = 0; i < ex->reply.headers.count; i++) {
        const struct http_header *header = &ex->reply.headers.items[i];
        TRY(buf_printf(raw, "\r\n%s: %s", header->name.ptr, header->value.ptr));
    }
    TRY(buf_printf(raw, "\r\nContent-Length: %zu\r\n\r\n", ex->reply.body.len));
    if (ex->req.method != HTTP_HEAD) {
        TRY(buf_append(raw, buf_str(&ex->reply.body)));
        ex->bytes_out = ex->reply.body.len;
    }
    return OK;
}
