/*
 * Answers: S3's errors, and XML. An error that the HTTP layer makes (a head that is too large, a
 * slow body) leaves in the same form.
 */
#include "s3api/s3api_priv.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/encode.h"

/** What S3 calls a failure of ours that has no code of its own. */
static enum aws_code code_of(enum status kind, enum s3api_level level)
{
    switch (kind) {
    case OK:
        return AWS_NONE;
    case E_INVALID:
    case E_TYPE:
        return AWS_INVALID_ARGUMENT;
    case E_AUTH:
    case E_DENIED:
        return AWS_ACCESS_DENIED;
    case E_NOT_FOUND:
        return level == S3_OBJECT ? AWS_NO_SUCH_KEY : AWS_NO_SUCH_BUCKET;
    case E_METHOD:
        return AWS_METHOD_NOT_ALLOWED;
    case E_PRECONDITION:
        return AWS_PRECONDITION_FAILED;
    case E_EXISTS:
    case E_CONFLICT:
        return AWS_OPERATION_ABORTED;
    case E_TOO_LARGE:
        return AWS_ENTITY_TOO_LARGE;
    case E_RANGE:
        return AWS_INVALID_RANGE;
    case E_UNSUPPORTED:
        return AWS_NOT_IMPLEMENTED;
    case E_RATE:
        return AWS_SLOW_DOWN;
    case E_UNAVAILABLE:
    case E_UPSTREAM:
    case E_TIMEOUT:
    case E_NO_MEMORY:
    case E_DISK_FULL:
        return AWS_SERVICE_UNAVAILABLE;
    case E_CANCELED:
        return AWS_REQUEST_TIMEOUT;
    case E_INTERNAL:
    case E_CORRUPT:
    case E_KIND_COUNT:
        break;
    }
    return AWS_INTERNAL_ERROR;
}

enum status s3api_err(struct s3api_request *r, enum aws_code code, const char *fmt, ...)
{
    char text[ERR_MESSAGE_MAX];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    r->code = code;
    return err_set(r->err, aws_code_kind(code), "%s",
                   text[0] != '\0' ? text : aws_code_message(code));
}

/** Nothing of S3's error has a namespace. */
static enum status error_xml(struct buf *out, enum aws_code code, struct str message,
                             const struct s3api_request *r, struct str request_id)
{
    TRY(buf_append(out, STR("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n")));
    TRY(xml_open(out, "Error"));
    TRY(xml_put(out, "Code", str_of(aws_code_name(code))));
    TRY(xml_put(out, "Message", message));
    if (r != NULL && r->has_bucket) {
        TRY(xml_put(out, "BucketName", r->bucket_name));
    }
    if (r != NULL && r->has_key) {
        TRY(xml_put(out, "Key", r->key));
    }
    if (r != NULL) {
        TRY(xml_put(out, "Resource", r->http->path));
    }
    TRY(xml_put(out, "RequestId", request_id));
    TRY(xml_put(out, "HostId", STR(S3_OWNER)));
    return xml_close(out, "Error");
}

/** Of every answer. */
static void common_headers(struct http_req *req)
{
    http_reply_header(req, "x-amz-request-id", req->request_id);
    http_reply_header(req, "x-amz-id-2", STR(S3_OWNER));
}

const char *s3api_error_body(struct http_req *req, int http_status, struct buf *out)
{
    enum aws_code code = http_status == 408 ? AWS_REQUEST_TIMEOUT
                                            : code_of(req->err.kind, S3_OBJECT);
    common_headers(req);
    if (error_xml(out, code, str_of(req->err.msg), NULL, req->request_id) != OK) {
        buf_clear(out);
    }
    return "application/xml";
}

enum aws_code s3api_code_of(const struct s3api_request *r, enum status kind)
{
    return r->code != AWS_NONE ? r->code : code_of(kind, r->has_key ? S3_OBJECT : S3_BUCKET);
}

enum http_step s3api_reply_failure(struct s3api_request *r, enum status kind)
{
    AUTO(buf_done) struct buf xml;
    buf_init(&xml, 0);
    enum aws_code code = s3api_code_of(r, kind);
    int status = aws_code_status(code);
    /* messages of the store name its own keys */
    if (r->err->kind == OK || (r->code == AWS_NONE && kind == E_NOT_FOUND)) {
        (void)err_set(r->err, kind, "%s", aws_code_message(code));
    }
    common_headers(r->http);
    s3api_cors_answer(r);
    if (status == 503) {
        http_reply_header(r->http, "Retry-After", STR("1"));
    }
    if (status == 304) {
        return http_reply_empty(r->http, status);
    }
    if (error_xml(&xml, code, str_of(r->err->msg), r, r->http->request_id) != OK) {
        buf_clear(&xml);
    }
    return http_reply_buf(r->http, status, "application/xml", &xml);
}

enum status s3api_reply_xml(struct s3api_request *r, int http_status, struct buf *xml)
{
    common_headers(r->http);
    s3api_cors_answer(r);
    (void)http_reply_buf(r->http, http_status, "application/xml", xml);
    return OK;
}

enum status s3api_reply_empty(struct s3api_request *r, int http_status)
{
    common_headers(r->http);
    s3api_cors_answer(r);
    (void)http_reply_empty(r->http, http_status);
    return OK;
}

struct str s3api_etag_quoted(const struct store_info *info, char out[STORE_ETAG_MAX + 3])
{
    size_t len = strlen(info->etag);
    out[0] = '"';
    memcpy(out + 1, info->etag, len);
    out[len + 1] = '"';
    out[len + 2] = '\0';
    return str_from(out, len + 2);
}

enum status s3api_xml_owner(struct buf *xml, const char *element)
{
    TRY(xml_open(xml, element));
    TRY(xml_put(xml, "ID", STR(S3_OWNER)));
    TRY(xml_put(xml, "DisplayName", STR(S3_OWNER)));
    return xml_close(xml, element);
}

enum status s3api_xml_text(struct s3api_request *r, struct buf *xml, const char *name,
                           struct str text, bool encode)
{
    AUTO(buf_done) struct buf encoded;
    buf_init(&encoded, 0);
    if (!encode) {
        return xml_put(xml, name, text);
    }
    if (percent_append(&encoded, text, "/*") != OK) {
        return err_no_memory(r->err);
    }
    return xml_put(xml, name, buf_str(&encoded));
}

enum status s3api_xml_sum(struct buf *xml, enum aws_sum sum, struct str text)
{
    return sum != AWS_SUM_NONE ? xml_put(xml, aws_sum_element(sum), text) : OK;
}

struct str s3api_unquoted(struct str tag)
{
    bool quoted = tag.len >= 2 && tag.ptr[0] == '"' && tag.ptr[tag.len - 1] == '"';
    return quoted ? str_from(tag.ptr + 1, tag.len - 2) : tag;
}
