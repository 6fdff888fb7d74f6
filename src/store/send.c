#include "store/send.h"

enum {
    /* Head and body leave in one call, and the client wakes once: a GET of 4 KiB cost 28 us of
     * processor time by sendfile. Up to where that stays cheaper is chosen, not measured. */
    WHOLE_BYTES_MAX = 32 * 1024,
};

/** *done_out false and OK: the file is shorter than it was, and what there is of it is sent. */
static enum status send_whole(struct http_req *req, int http_status, const char *type,
                              const struct store_send *send, bool *done_out)
{
    AUTO(buf_done) struct buf body;
    size_t got = 0;
    buf_init(&body, WHOLE_BYTES_MAX);
    char *room = buf_reserve(&body, (size_t)send->length);
    if (room == NULL) {
        return err_no_memory(&req->err);
    }
    TRY(store_object_read(send->object, send->offset, room, (size_t)send->length, &got, &req->err));
    *done_out = got == send->length;
    if (*done_out) {
        body.len = got;
        (void)http_reply_buf(req, http_status, type, &body);
    }
    return OK;
}

enum status store_send_begin(struct http_req *req, int http_status, const char *type,
                             const struct store_send *send)
{
    int fd = -1;
    http_log_field_i64(req, "object_bytes", (int64_t)send->length);
    if (req->method != HTTP_HEAD && send->length > 0) {
        bool done = false;
        if (send->length <= WHOLE_BYTES_MAX && store_object_is_file(send->object)) {
            TRY(send_whole(req, http_status, type, send, &done));
        }
        if (done) {
            return OK;
        }
        enum status status = store_object_fd(send->object, send->offset, send->length, &fd,
                                             &req->err);
        if (status == OK) {
            (void)http_reply_fd(req, http_status, type, fd, send->offset, send->length);
            return OK;
        }
        if (status != E_UNSUPPORTED) {
            return status;
        }
        req->err = (struct err){ 0 };
    }
    (void)http_stream(req, http_status, type, (int64_t)send->length);
    return OK;
}

enum http_step store_send_pull(struct http_req *req, struct store_send *send)
{
    if (send->length == 0) {
        return HTTP_END;
    }
    size_t want = send->length < HTTP_CHUNK_BYTES ? (size_t)send->length : HTTP_CHUNK_BYTES;
    char *room = http_write_reserve(req, want);
    size_t got = 0;
    if (room == NULL ||
        store_object_read(send->object, send->offset, room, want, &got, &req->err) != OK ||
        got == 0) {
        return HTTP_CUT;
    }
    http_wrote(req, got);
    send->offset += got;
    send->length -= got;
    return send->length == 0 ? HTTP_END : HTTP_AGAIN;
}
