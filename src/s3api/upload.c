/*
 * Uploads in parts: begin, a part, a part that is copied, abort. Which checksum the object is to
 * have is said at the beginning; parts that come without it get it here.
 */
#include "s3api/s3api_priv.h"

#include <stdio.h>

#include "base/log.h"

enum { SWEEP_EVERY_MS = 3600 * 1000 }; /* chosen */

/** The store's words about an upload, in S3's. */
enum status s3api_upload_failed(struct s3api_request *r, enum status status)
{
    return status == E_NOT_FOUND ? s3api_err(r, AWS_NO_SUCH_UPLOAD, "%s", "") : status;
}

/* --- which checksum --- */

static bool type_fits(enum aws_sum sum, struct str type)
{
    if (str_eq(type, STR("FULL_OBJECT"))) {
        return aws_sum_joins(sum);
    }
    return str_eq(type, STR("COMPOSITE")) && sum != AWS_SUM_CRC64NVME;
}

/** As it is kept, of any case. */
static struct str spelled(struct str type)
{
    return str_eq_nocase(type, STR("FULL_OBJECT")) ? STR("FULL_OBJECT")
           : str_eq_nocase(type, STR("COMPOSITE")) ? STR("COMPOSITE")
                                                   : type;
}

static enum status sum_wanted(struct s3api_request *r, struct s3api_attrs *attrs)
{
    struct str name = s3api_header(r, "x-amz-checksum-algorithm");
    struct str type = spelled(s3api_header(r, S3_ATTR_SUM_TYPE));
    enum aws_sum sum = aws_sum_parse(name);
    if (name.len == 0) {
        return type.len == 0 ? OK
                             : s3api_err(r, AWS_INVALID_REQUEST,
                                         "x-amz-checksum-type needs x-amz-checksum-algorithm");
    }
    if (type.len == 0) {
        type = sum == AWS_SUM_CRC64NVME ? STR("FULL_OBJECT") : STR("COMPOSITE");
    }
    if (sum == AWS_SUM_NONE || !type_fits(sum, type)) {
        return s3api_err(r, AWS_INVALID_REQUEST, "there is no %.*s checksum of type %.*s",
                         STR_ARG(name), STR_ARG(type));
    }
    http_reply_header(r->http, "x-amz-checksum-algorithm", str_of(aws_sum_upper(sum)));
    http_reply_header(r->http, "x-amz-checksum-type", type);
    struct str text = arena_printf(r->arena, "%s %.*s", aws_sum_upper(sum), STR_ARG(type));
    return text.ptr != NULL ? s3api_attrs_set(r, attrs, STR(S3_ATTR_SUM_WANTED), text)
                            : err_no_memory(r->err);
}

enum aws_sum s3api_upload_sum(const struct store_attrs *attrs, struct str *type_out)
{
    struct str rest = s3api_attr(attrs, S3_ATTR_SUM_WANTED);
    if (rest.ptr == NULL) {
        *type_out = STR_EMPTY;
        return AWS_SUM_NONE;
    }
    enum aws_sum sum = aws_sum_parse(str_split(&rest, ' '));
    *type_out = rest;
    return sum;
}

/* --- begin and abort --- */

/** Once an hour the upload that begins pays for those that nobody will end. */
static void sweep_now_and_then(struct s3api_request *r)
{
    struct s3api *api = r->api;
    struct err why = { 0 };
    int64_t now_ms = clock_mono_ms(api->clock), due_ms = atomic_load(&api->sweep_due_ms);
    if (now_ms < due_ms ||
        !atomic_compare_exchange_strong(&api->sweep_due_ms, &due_ms, now_ms + SWEEP_EVERY_MS)) {
        return;
    }
    struct store_swept swept;
    enum status status = store_uploads_sweep(r->bucket.store, api->upload_idle_ms, &swept, &why);
    if (status != OK) {
        LOG(LOG_WARN, "upload_sweep_failed", L_STR("error", str_of(why.msg)),
            L_I64("uploads", (int64_t)swept.dropped));
    }
    if (status == OK && swept.unreadable > 0) {
        LOG(LOG_WARN, "uploads_unreadable", L_I64("count", (int64_t)swept.unreadable),
            L_STR("reason", str_of(swept.why.msg)));
    }
}

enum status s3api_create_upload(struct s3api_request *r)
{
    AUTO(buf_done) struct buf xml;
    struct s3api_attrs attrs = { .count = 0 };
    struct str key, id;
    buf_init(&xml, 0);
    TRY(s3api_store_key(r, &r->bucket, r->key, &key));
    TRY(s3api_attrs_from_headers(r, &attrs));
    TRY(sum_wanted(r, &attrs));
    sweep_now_and_then(r);
    struct store_attrs view = s3api_attrs_view(&attrs);
    TRY(store_upload_begin(r->bucket.store, key, &view, r->arena, &id, r->err));
    TRY(xml_begin(&xml, "InitiateMultipartUploadResult"));
    TRY(xml_put(&xml, "Bucket", r->bucket_name));
    TRY(xml_put(&xml, "Key", r->key));
    TRY(xml_put(&xml, "UploadId", id));
    TRY(xml_close(&xml, "InitiateMultipartUploadResult"));
    return s3api_reply_xml(r, 200, &xml);
}

/** Only the one that was begun at that second: an upload's time does not change. */
static enum status check_begun(struct s3api_request *r, struct str key, struct str id)
{
    struct str text = s3api_header(r, "x-amz-if-match-initiated-time");
    struct store_upload upload;
    struct store_attrs attrs;
    int64_t wanted_ms = 0;
    if (text.ptr == NULL) {
        return OK;
    }
    if (!s3api_time_parse(str_trim(text), &wanted_ms)) {
        return s3api_err(r, AWS_INVALID_ARGUMENT, "x-amz-if-match-initiated-time is no date");
    }
    TRY(s3api_upload_failed(
        r, store_upload_get(r->bucket.store, key, id, r->arena, &upload, &attrs, r->err)));
    return upload.started_ms / 1000 == wanted_ms / 1000
               ? OK
               : s3api_err(r, AWS_PRECONDITION_FAILED, "the upload was begun at another time");
}

enum status s3api_abort_upload(struct s3api_request *r)
{
    struct str key, id = s3api_param(r, "uploadId");
    TRY(s3api_store_key(r, &r->bucket, r->key, &key));
    TRY(check_begun(r, key, id));
    TRY(s3api_upload_failed(r, store_upload_abort(r->bucket.store, key, id, r->err)));
    return s3api_reply_empty(r, 204);
}

/* --- a part --- */

enum status s3api_upload_part_check(struct s3api_request *r)
{
    uint64_t number = 0;
    struct str text = s3api_param(r, "partNumber");
    if (!str_to_u64(text, &number) || number == 0 || number > S3_PARTS_MAX) {
        return s3api_err(r, AWS_INVALID_ARGUMENT, "partNumber is a number from 1 to %d",
                         S3_PARTS_MAX);
    }
    r->part_number = (unsigned)number;
    return OK;
}

/** What the object is to have, the part must have too. A copied one can bring none. */
static enum status part_sum(struct s3api_request *r, const struct store_attrs *attrs)
{
    struct str type;
    enum aws_sum sum = s3api_upload_sum(attrs, &type);
    bool copied = r->op->body == S3_BODY_NONE, none = copied || r->body.sum_default;
    if (sum == AWS_SUM_NONE && r->body.sum != AWS_SUM_CRC64NVME) {
        return aws_summer_init(&r->body.whole, AWS_SUM_CRC64NVME, r->err);
    }
    if (sum == AWS_SUM_NONE || (sum == r->body.sum && !none)) {
        return OK;
    }
    if (!none || (!copied && str_eq(type, STR("COMPOSITE")))) {
        return s3api_err(r, AWS_INVALID_REQUEST, "the upload was begun with %s, this part has %s",
                         aws_sum_upper(sum), none ? "none" : aws_sum_upper(r->body.sum));
    }
    r->body.sum = sum;
    return aws_summer_init(&r->body.summer, sum, r->err);
}

static enum status part_open(struct s3api_request *r, int64_t size)
{
    struct store_upload upload;
    struct store_attrs attrs;
    struct str key, id = s3api_param(r, "uploadId");
    TRY(s3api_store_key(r, &r->bucket, r->key, &key));
    TRY(s3api_upload_failed(
        r, store_upload_get(r->bucket.store, key, id, r->arena, &upload, &attrs, r->err)));
    TRY(part_sum(r, &attrs));
    return s3api_upload_failed(
        r, store_part_open(r->bucket.store, key, id, r->part_number, size, &r->writer, r->err));
}

static enum status part_commit(struct s3api_request *r, struct store_info *info)
{
    struct s3api_attrs attrs = { .count = 0 };
    uint8_t bytes[AWS_SUM_BYTES_MAX];
    char text[AWS_SUM_TEXT_MAX + 1];
    TRY(s3api_attrs_set_sum(r, &attrs));
    if (r->body.whole.sum != AWS_SUM_NONE) {
        aws_summer_final(&r->body.whole, bytes);
        aws_sum_text(r->body.whole.sum, bytes, text);
        TRY(s3api_attrs_set(r, &attrs, STR(S3_ATTR_SUM_WHOLE), str_of(text)));
    }
    struct store_attrs view = s3api_attrs_view(&attrs);
    TRY(store_writer_attrs(r->writer, &view, r->err));
    struct store_writer *writer = r->writer;
    r->writer = NULL; /* gone, whatever the outcome */
    return s3api_upload_failed(r, store_writer_commit(writer, info, r->err));
}

enum status s3api_upload_part_begin(struct s3api_request *r)
{
    if (!r->http->has_body && s3api_header(r, "content-length").ptr == NULL) {
        return s3api_err(r, AWS_MISSING_CONTENT_LENGTH, "%s", "");
    }
    return part_open(r, r->body.length);
}

enum status s3api_upload_part_end(struct s3api_request *r)
{
    struct store_info info;
    char etag[STORE_ETAG_MAX + 3];
    TRY(part_commit(r, &info));
    http_log_field_i64(r->http, "object_bytes", (int64_t)info.size);
    http_reply_header(r->http, "ETag", s3api_etag_quoted(&info, etag));
    s3api_sum_header(r, r->body.sum, str_of(r->body.sum_text), STR_EMPTY);
    return s3api_reply_empty(r, 200);
}

/* --- a part that is copied --- */

/** Unlike a Range, all of it must be there. */
enum status s3api_copy_range(struct s3api_request *r, uint64_t size)
{
    struct str text = s3api_header(r, "x-amz-copy-source-range");
    uint64_t first = 0, last = 0;
    r->sent.offset = 0;
    r->sent.length = size;
    if (text.ptr == NULL) {
        return OK;
    }
    struct str range = str_skip(text, STR("bytes=").len);
    size_t dash = str_find_char(range, '-');
    if (!str_starts(text, STR("bytes=")) || dash == SIZE_MAX ||
        !str_to_u64(str_take(range, dash), &first) ||
        !str_to_u64(str_skip(range, dash + 1), &last) || first > last) {
        return s3api_err(r, AWS_INVALID_ARGUMENT,
                         "x-amz-copy-source-range is \"bytes=first-last\"");
    }
    if (last >= size) {
        return s3api_err(r, AWS_INVALID_RANGE, "the range goes beyond the source's %llu bytes",
                         (unsigned long long)size);
    }
    r->sent.offset = first;
    r->sent.length = last - first + 1;
    return OK;
}

enum status s3api_upload_part_copy(struct s3api_request *r)
{
    AUTO(buf_done) struct buf xml;
    struct s3api_source source;
    struct store_info info;
    char etag[STORE_ETAG_MAX + 3];
    buf_init(&xml, 0);
    TRY(s3api_source_open(r, &source));
    TRY(s3api_copy_range(r, source.info.size));
    if (r->sent.length > r->api->object_bytes_max) {
        return s3api_err(r, AWS_ENTITY_TOO_LARGE, "a part may have %llu bytes",
                         (unsigned long long)r->api->object_bytes_max);
    }
    TRY(part_open(r, (int64_t)r->sent.length));
    TRY(s3api_pump(r, source.object, r->sent.offset, r->sent.length));
    s3api_sum_text(r);
    TRY(part_commit(r, &info));
    TRY(xml_begin(&xml, "CopyPartResult"));
    TRY(xml_put_time(&xml, "LastModified", info.modified_ms));
    TRY(xml_put(&xml, "ETag", s3api_etag_quoted(&info, etag)));
    TRY(s3api_xml_sum(&xml, r->body.sum, str_of(r->body.sum_text)));
    TRY(xml_close(&xml, "CopyPartResult"));
    return s3api_reply_xml(r, 200, &xml);
}
