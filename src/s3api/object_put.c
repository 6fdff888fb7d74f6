/* PutObject and CopyObject. */
#include "s3api/s3api_priv.h"

#include <stdio.h>

#include "base/encode.h"
#include "base/mem.h"

enum { PUMP_BYTES = 1024 * 1024 };

/** Opened when the head is there, so that what cannot be is refused before the body comes. */
enum status s3api_put_begin(struct s3api_request *r)
{
    struct str key;
    r->attrs = arena_alloc(r->arena, sizeof(*r->attrs));
    if (r->attrs == NULL) {
        return err_no_memory(r->err);
    }
    if (r->http->has_body == false && s3api_header(r, "content-length").ptr == NULL) {
        return s3api_err(r, AWS_MISSING_CONTENT_LENGTH, "%s", "");
    }
    TRY(s3api_store_key(r, &r->bucket, r->key, &key));
    TRY(s3api_attrs_from_headers(r, r->attrs));
    TRY(s3api_write_conditions(r, key));
    TRY(store_writer_open(r->bucket.store, key, &r->cond, &r->writer, r->err));
    store_writer_attrs_late(r->writer); /* a checksum is among them */
    return OK;
}

static enum status commit(struct s3api_request *r, struct s3api_attrs *attrs,
                          struct store_info *info)
{
    struct store_attrs view = s3api_attrs_view(attrs);
    struct str key;
    TRY(s3api_store_key(r, &r->bucket, r->key, &key));
    TRY(store_writer_attrs(r->writer, &view, r->err));
    struct store_writer *writer = r->writer;
    r->writer = NULL; /* gone, whatever the outcome */
    return s3api_write_refused(r, key, store_writer_commit(writer, info, r->err));
}

enum status s3api_put_end(struct s3api_request *r)
{
    struct store_info info;
    char etag[STORE_ETAG_MAX + 3];
    TRY(s3api_attrs_set_sum(r, r->attrs));
    TRY(commit(r, r->attrs, &info));
    http_log_field_i64(r->http, "object_bytes", (int64_t)info.size);
    http_reply_header(r->http, "ETag", s3api_etag_quoted(&info, etag));
    s3api_sum_header(r, r->body.sum, str_of(r->body.sum_text), STR_EMPTY);
    return s3api_reply_empty(r, 200);
}

/* --- copies --- */

/** "/bucket/key?versionId=null", percent-encoded, with or without the slash. */
static enum status source_name(struct s3api_request *r, struct str *bucket, struct str *key)
{
    struct str text = s3api_header(r, "x-amz-copy-source"), decoded = STR_EMPTY;
    size_t question = str_find_char(text, '?');
    struct str version = question == SIZE_MAX ? STR_EMPTY : str_skip(text, question + 1);
    if (version.len > 0 && !str_eq(version, STR("versionId=null"))) {
        return s3api_err(r, AWS_NO_SUCH_VERSION, "%s", "");
    }
    TRY(s3api_decode(r, str_take(text, question == SIZE_MAX ? text.len : question), false,
                     AWS_INVALID_ARGUMENT, &decoded));
    decoded = str_starts(decoded, STR("/")) ? str_skip(decoded, 1) : decoded;
    size_t slash = str_find_char(decoded, '/');
    if (slash == SIZE_MAX || slash == 0 || slash == decoded.len - 1) {
        return s3api_err(r, AWS_INVALID_ARGUMENT, "x-amz-copy-source is \"bucket/key\"");
    }
    *bucket = str_take(decoded, slash);
    *key = str_skip(decoded, slash + 1);
    return OK;
}

enum status s3api_source_open(struct s3api_request *r, struct s3api_source *out)
{
    struct str bucket = STR_EMPTY, key = STR_EMPTY;
    TRY(source_name(r, &bucket, &key));
    TRY(s3api_bucket_find(r, bucket, &out->bucket));
    TRY(s3api_may(r, &out->bucket, key, false));
    TRY(s3api_store_key(r, &out->bucket, key, &out->store_key));
    TRY(store_open(out->bucket.store, out->store_key, &r->sent.object, r->err));
    out->object = r->sent.object;
    out->info = *store_object_info(r->sent.object);
    out->attrs = store_object_attrs(r->sent.object);
    return http_conditions(&r->http->headers, "x-amz-copy-source-", str_of(out->info.etag),
                           out->info.modified_ms) == HTTP_WANTED
               ? OK
               : s3api_err(r, AWS_PRECONDITION_FAILED, "a condition on the source does not hold");
}

enum status s3api_pump(struct s3api_request *r, struct store_object *object, uint64_t offset,
                       uint64_t length)
{
    char *piece = mem_alloc(PUMP_BYTES);
    enum status status = piece != NULL ? OK : err_no_memory(r->err);
    while (status == OK && length > 0) {
        size_t got = 0;
        status = store_object_read(object, offset, piece,
                                   length < PUMP_BYTES ? (size_t)length : PUMP_BYTES, &got, r->err);
        if (status == OK && got == 0) {
            status = err_set(r->err, E_CORRUPT, "the source ends before its length");
        }
        if (status == OK) {
            s3api_sum_update(r, str_from(piece, got));
        }
        status = status == OK ? store_writer_write(r->writer, str_from(piece, got), r->err)
                              : status;
        offset += got;
        length -= got;
    }
    mem_free(piece);
    return status;
}

/** COPY or REPLACE, the default being COPY. */
static enum status directive(struct s3api_request *r, const char *header, bool *replace)
{
    struct str text = s3api_header(r, header);
    *replace = str_eq(text, STR("REPLACE"));
    return text.ptr == NULL || *replace || str_eq(text, STR("COPY"))
               ? OK
               : s3api_err(r, AWS_INVALID_ARGUMENT, "%s is COPY or REPLACE", header);
}

/** What the copy carries: of the source, of the headers, or some of both. */
static enum status copy_attrs(struct s3api_request *r, const struct s3api_source *source,
                              struct s3api_attrs *out, bool *same)
{
    bool replace = false, tags_replace = false;
    struct s3api_attrs given = { .count = 0 };
    TRY(directive(r, "x-amz-metadata-directive", &replace));
    TRY(directive(r, "x-amz-tagging-directive", &tags_replace));
    TRY(s3api_attrs_from_headers(r, &given));
    *same = !replace && !tags_replace && s3api_header(r, "x-amz-acl").ptr == NULL;
    for (size_t i = 0; i < source->attrs.count; i++) {
        struct store_attr attr = source->attrs.items[i];
        bool sum = str_starts(attr.name, STR(AWS_SUM_HEADER)) ||
                   str_eq(attr.name, STR(S3_ATTR_PARTS));
        bool tags = str_eq(attr.name, STR(S3_ATTR_TAGS));
        if (sum || (tags ? !tags_replace : !replace)) {
            /* the ACL is never copied, and an upload is not this object's */
            bool never = str_eq(attr.name, STR(S3_ATTR_ACL)) ||
                         str_eq(attr.name, STR(S3_ATTR_UPLOAD));
            TRY(never ? OK : s3api_attrs_set(r, out, attr.name, attr.value));
        }
    }
    for (size_t i = 0; i < given.count; i++) {
        bool tags = str_eq(given.items[i].name, STR(S3_ATTR_TAGS));
        bool acl = str_eq(given.items[i].name, STR(S3_ATTR_ACL));
        if (acl || (tags ? tags_replace : replace)) {
            TRY(s3api_attrs_set(r, out, given.items[i].name, given.items[i].value));
        }
    }
    return OK;
}

enum status s3api_copy_check(struct s3api_request *r)
{
    struct str text = s3api_header(r, "x-amz-checksum-algorithm");
    return text.len == 0 || aws_sum_parse(text) != AWS_SUM_NONE
               ? OK
               : s3api_err(r, AWS_INVALID_REQUEST, "there is no checksum algorithm \"%.*s\" here",
                           STR_ARG(text));
}

/** A checksum that the source does not have must be computed. */
static enum status wants_sum(struct s3api_request *r, const struct s3api_source *source)
{
    enum aws_sum sum = aws_sum_parse(s3api_header(r, "x-amz-checksum-algorithm"));
    struct str old = STR_EMPTY;
    if (sum == AWS_SUM_NONE) {
        return OK;
    }
    struct str type = s3api_attr(&source->attrs, S3_ATTR_SUM_TYPE);
    if (s3api_attrs_sum(&source->attrs, &old) == sum && !str_eq(type, STR("COMPOSITE"))) {
        return OK;
    }
    r->body.sum = sum;
    return aws_summer_init(&r->body.summer, sum, r->err);
}

static enum status drop_sums(struct s3api_request *r, struct s3api_attrs *attrs)
{
    for (size_t i = attrs->count; i-- > 0;) {
        if (str_starts(attrs->items[i].name, STR(AWS_SUM_HEADER))) {
            TRY(s3api_attrs_set(r, attrs, attrs->items[i].name, STR_EMPTY));
        }
    }
    return OK;
}

/** By reading and writing: between stores, and where a checksum is wanted. */
static enum status copy_bytes(struct s3api_request *r, const struct s3api_source *source,
                              struct s3api_attrs *attrs, struct str key, struct store_info *info)
{
    TRY(store_writer_open(r->bucket.store, key, &r->cond, &r->writer, r->err));
    TRY(s3api_pump(r, source->object, 0, source->info.size));
    if (r->body.sum != AWS_SUM_NONE) {
        s3api_sum_text(r);
        TRY(drop_sums(r, attrs));
        TRY(s3api_attrs_set_sum(r, attrs));
    }
    /* it is one piece now */
    TRY(s3api_attrs_set(r, attrs, STR(S3_ATTR_PARTS), STR_EMPTY));
    return commit(r, attrs, info);
}

static enum status copy(struct s3api_request *r, const struct s3api_source *source,
                        struct s3api_attrs *attrs, struct str key, struct store_info *info)
{
    if (r->body.sum != AWS_SUM_NONE || source->bucket.store != r->bucket.store) {
        return copy_bytes(r, source, attrs, key, info);
    }
    struct store_attrs view = s3api_attrs_view(attrs);
    struct store_copy_opts opts = { .attrs = &view,
                                    .cond = &r->cond,
                                    .if_match = str_of(source->info.etag) };
    return s3api_write_refused(
        r, key, store_copy_with(r->bucket.store, source->store_key, key, &opts, info, r->err));
}

static enum status reply_copy(struct s3api_request *r, const struct store_info *info,
                              const struct s3api_attrs *attrs)
{
    AUTO(buf_done) struct buf xml;
    char etag[STORE_ETAG_MAX + 3];
    struct store_attrs view = s3api_attrs_view(attrs);
    struct str text = STR_EMPTY;
    enum aws_sum sum = s3api_attrs_sum(&view, &text);
    buf_init(&xml, 0);
    TRY(xml_begin(&xml, "CopyObjectResult"));
    TRY(xml_put_time(&xml, "LastModified", info->modified_ms));
    TRY(xml_put(&xml, "ETag", s3api_etag_quoted(info, etag)));
    if (sum != AWS_SUM_NONE) {
        struct str type = s3api_attr(&view, S3_ATTR_SUM_TYPE);
        TRY(s3api_xml_sum(&xml, sum, text));
        TRY(xml_put(&xml, "ChecksumType", type.len > 0 ? type : STR("FULL_OBJECT")));
    }
    TRY(xml_close(&xml, "CopyObjectResult"));
    return s3api_reply_xml(r, 200, &xml);
}

enum status s3api_copy_object(struct s3api_request *r)
{
    struct s3api_source source;
    struct s3api_attrs attrs = { .count = 0 };
    struct store_info info;
    struct str key;
    bool same = false;
    TRY(s3api_store_key(r, &r->bucket, r->key, &key));
    TRY(s3api_source_open(r, &source));
    if (source.info.size > r->api->object_bytes_max) {
        return s3api_err(r, AWS_INVALID_REQUEST,
                         "the source is larger than %llu bytes: copy it in parts",
                         (unsigned long long)r->api->object_bytes_max);
    }
    TRY(copy_attrs(r, &source, &attrs, &same));
    TRY(wants_sum(r, &source));
    bool itself = source.bucket.store == r->bucket.store && str_eq(source.store_key, key);
    if (itself && same && r->body.sum == AWS_SUM_NONE) {
        return s3api_err(r, AWS_INVALID_REQUEST,
                         "a copy onto itself must change metadata, tags, ACL or checksum");
    }
    TRY(s3api_write_conditions(r, key));
    TRY(copy(r, &source, &attrs, key, &info));
    return reply_copy(r, &info, &attrs);
}
