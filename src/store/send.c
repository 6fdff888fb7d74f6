#include "store/send.h"

enum status store_send_begin(struct http_req *req, int http_status, const char *type,
                             const struct store_send *send)
{
    int fd = -1;
    http_log_field_i64(req, "object_bytes", (int64_t)send->length);
    if (req->method != HTTP_HEAD && send->length > 0) {
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
