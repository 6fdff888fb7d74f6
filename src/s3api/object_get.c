/*
 * GetObject, HeadObject, GetObjectAttributes. A body leaves by sendfile where the store has a file,
 * else in pieces.
 */
#include "s3api/s3api_priv.h"

#include <stdio.h>

enum { IN_PLACE_BYTES_MAX = 256 * 1024 }; /* of unchecked bytes; chosen */

/** Only what is there: "null" is the version of a bucket without versions. */
static enum status check_version(struct s3api_request *r)
{
    struct str version = s3api_param(r, "versionId");
    return version.ptr == NULL || version.len == 0 || str_eq(version, STR("null"))
               ? OK
               : s3api_err(r, AWS_NO_SUCH_VERSION, "%s", "");
}

static enum status open_object(struct s3api_request *r)
{
    struct str key;
    TRY(check_version(r));
    TRY(s3api_store_key(r, &r->bucket, r->key, &key));
    enum status status = store_open(r->bucket.store, key, &r->sent.object, r->err);
    if (status == E_NOT_FOUND && r->grant == NULL && r->api->anonymous == S3API_ANONYMOUS_ACL &&
        !s3api_acl_public(r->bucket.acl, false)) {
        return s3api_err(r, AWS_ACCESS_DENIED, "%s", ""); /* who may not list is not told */
    }
    return status;
}

/* --- ranges --- */

bool s3api_part_place(struct str runs, uint64_t number, uint64_t *offset, uint64_t *length,
                      uint64_t *count)
{
    uint64_t at = 0;
    bool found = false;
    *count = 0;
    for (struct str rest = runs; rest.ptr != NULL && rest.len > 0;) {
        struct str run = str_split(&rest, ',');
        size_t x = str_find_char(run, 'x');
        uint64_t times = 0, size = 0;
        if (x == SIZE_MAX || !str_to_u64(str_take(run, x), &times) ||
            !str_to_u64(str_skip(run, x + 1), &size)) {
            return false;
        }
        if (!found && number <= *count + times) {
            *offset = at + (number - *count - 1) * size;
            *length = size;
            found = true;
        }
        *count += times;
        at += times * size;
    }
    return found;
}

static enum status part_range(struct s3api_request *r, const struct store_info *info,
                              const struct store_attrs *attrs, bool *partial)
{
    uint64_t number = r->part_number, count = 1;
    char value[24];
    struct str runs = s3api_attr(attrs, S3_ATTR_PARTS);
    if (runs.ptr == NULL) {
        if (number != 1) {
            return s3api_err(r, AWS_INVALID_PART_NUMBER, "%s", "");
        }
        *partial = info->size > 0;
        return OK;
    }
    if (!s3api_part_place(runs, number, &r->sent.offset, &r->sent.length, &count) ||
        r->sent.offset >= info->size) {
        return s3api_err(r, AWS_INVALID_PART_NUMBER, "%s", "");
    }
    snprintf(value, sizeof value, "%llu", (unsigned long long)count);
    http_reply_header(r->http, "x-amz-mp-parts-count", str_of(value));
    *partial = true;
    return OK;
}

static enum status range_of(struct s3api_request *r, const struct store_info *info,
                            const struct store_attrs *attrs, bool *partial)
{
    struct str range = s3api_header(r, "range");
    char text[48];
    r->sent.offset = 0;
    r->sent.length = info->size;
    *partial = false;
    if (r->part_number > 0) {
        return part_range(r, info, attrs, partial);
    }
    if (range.ptr == NULL ||
        http_range_parse(range, info->size, partial, &r->sent.offset, &r->sent.length) == OK) {
        return OK;
    }
    snprintf(text, sizeof text, "bytes */%llu", (unsigned long long)info->size);
    http_reply_header(r->http, "Content-Range", str_of(text));
    return s3api_err(r, AWS_INVALID_RANGE, "the range is behind the object's %llu bytes",
                     (unsigned long long)info->size);
}

/* --- answers --- */

static void info_headers(struct s3api_request *r, const struct store_info *info)
{
    AUTO(buf_done) struct buf time;
    char etag[STORE_ETAG_MAX + 3];
    buf_init(&time, 64);
    http_reply_header(r->http, "ETag", s3api_etag_quoted(info, etag));
    if (time_append_http(&time, info->modified_ms) == OK) {
        http_reply_header(r->http, "Last-Modified", buf_str(&time));
    }
    http_reply_header(r->http, "Accept-Ranges", STR("bytes"));
    http_reply_header(r->http, "x-amz-request-id", r->http->request_id);
    http_reply_header(r->http, "x-amz-id-2", STR(S3_OWNER));
}

static enum status conditions(struct s3api_request *r, const struct store_info *info)
{
    switch (http_conditions(&r->http->headers, "", str_of(info->etag), info->modified_ms)) {
    case HTTP_WANTED:
        return OK;
    case HTTP_NOT_MODIFIED:
        info_headers(r, info);
        return s3api_err(r, AWS_NOT_MODIFIED, "%s", "");
    case HTTP_REFUSED:
        break;
    }
    return s3api_err(r, AWS_PRECONDITION_FAILED, "%s", "");
}

/** On an HTTP thread nothing great is read to be checked: that would hold up all its clients. */
static bool too_slow_here(struct s3api_request *r, const struct store_info *info)
{
    uint64_t offset = 0, length = info->size;
    bool partial = false;
    if (!r->in_place || r->http->method == HTTP_HEAD || info->size <= IN_PLACE_BYTES_MAX ||
        http_range_parse(s3api_header(r, "range"), info->size, &partial, &offset, &length) != OK) {
        return false;
    }
    return length > 0 && !store_object_checked(r->sent.object, offset, length);
}

enum status s3api_get_check(struct s3api_request *r)
{
    if (s3api_param(r, "partNumber").ptr == NULL) {
        return OK;
    }
    TRY(s3api_upload_part_check(r));
    return s3api_header(r, "range").ptr == NULL
               ? OK
               : s3api_err(r, AWS_INVALID_REQUEST, "Range and partNumber do not go together");
}

enum status s3api_get_object(struct s3api_request *r)
{
    const char *type = NULL;
    bool partial = false;
    TRY(r->sent.object == NULL ? open_object(r) : OK);
    const struct store_info *info = store_object_info(r->sent.object);
    if (too_slow_here(r, info)) {
        r->offload = true;
        return OK;
    }
    struct store_attrs attrs = store_object_attrs(r->sent.object);
    TRY(s3api_may_read_object(r, &attrs));
    TRY(conditions(r, info));
    TRY(range_of(r, info, &attrs, &partial));
    bool whole = r->sent.length == info->size;
    bool sums = whole && str_eq_nocase(s3api_header(r, "x-amz-checksum-mode"), STR("ENABLED"));
    TRY(s3api_attrs_reply(r, &attrs, sums, &type));
    info_headers(r, info);
    s3api_cors_answer(r);
    if (partial) {
        char text[80];
        snprintf(text, sizeof text, "bytes %llu-%llu/%llu", (unsigned long long)r->sent.offset,
                 (unsigned long long)(r->sent.offset + r->sent.length - 1),
                 (unsigned long long)info->size);
        http_reply_header(r->http, "Content-Range", str_of(text));
    }
    return store_send_begin(r->http, partial ? 206 : 200, type, &r->sent);
}

/* --- attributes --- */

static bool wanted(struct str list, const char *name)
{
    struct str rest = list;
    while (rest.ptr != NULL) {
        if (str_eq(str_trim(str_split(&rest, ',')), str_of(name))) {
            return true;
        }
    }
    return false;
}

static enum status xml_sum(struct buf *xml, const struct store_attrs *attrs)
{
    struct str text = STR_EMPTY, type = s3api_attr(attrs, S3_ATTR_SUM_TYPE);
    enum aws_sum sum = s3api_attrs_sum(attrs, &text);
    if (sum == AWS_SUM_NONE) {
        return OK;
    }
    TRY(xml_open(xml, "Checksum"));
    TRY(s3api_xml_sum(xml, sum, text));
    TRY(xml_put(xml, "ChecksumType", type.len > 0 ? type : STR("FULL_OBJECT")));
    return xml_close(xml, "Checksum");
}

static enum status xml_parts(struct buf *xml, struct str runs)
{
    uint64_t offset, length, count = 0;
    (void)s3api_part_place(runs, 1, &offset, &length, &count);
    TRY(xml_open(xml, "ObjectParts"));
    TRY(xml_put_u64(xml, "PartsCount", count));
    return xml_close(xml, "ObjectParts");
}

enum status s3api_attributes_check(struct s3api_request *r)
{
    static const struct str names[] = { STR_INIT("ETag"), STR_INIT("Checksum"),
                                        STR_INIT("ObjectParts"), STR_INIT("StorageClass"),
                                        STR_INIT("ObjectSize") };
    struct str rest;
    TRY(s3api_header_list(r, "x-amz-object-attributes", &rest));
    if (rest.len == 0) {
        return OK; /* which is told when the bucket was found */
    }
    while (rest.ptr != NULL) {
        struct str name = str_trim(str_split(&rest, ','));
        size_t i = 0;
        while (i < ARRAY_LEN(names) && !str_eq(name, names[i])) {
            i++;
        }
        if (i == ARRAY_LEN(names)) {
            return s3api_err(r, AWS_INVALID_ARGUMENT, "an object has no attribute \"%.*s\"",
                             STR_ARG(name));
        }
    }
    return OK;
}

enum status s3api_get_attributes(struct s3api_request *r)
{
    AUTO(buf_done) struct buf xml;
    AUTO(buf_done) struct buf time;
    struct str list;
    buf_init(&xml, 0);
    buf_init(&time, 64);
    TRY(s3api_header_list(r, "x-amz-object-attributes", &list));
    if (list.len == 0) {
        return s3api_err(r, AWS_INVALID_REQUEST, "x-amz-object-attributes says what is wanted");
    }
    TRY(open_object(r));
    const struct store_info *info = store_object_info(r->sent.object);
    struct store_attrs attrs = store_object_attrs(r->sent.object);
    struct str runs = s3api_attr(&attrs, S3_ATTR_PARTS);
    TRY(xml_begin(&xml, "GetObjectAttributesResponse"));
    if (wanted(list, "ETag")) {
        TRY(xml_put(&xml, "ETag", str_of(info->etag)));
    }
    if (wanted(list, "Checksum")) {
        TRY(xml_sum(&xml, &attrs));
    }
    if (wanted(list, "ObjectParts") && runs.len > 0) {
        TRY(xml_parts(&xml, runs));
    }
    if (wanted(list, "StorageClass")) {
        TRY(xml_put(&xml, "StorageClass", STR("STANDARD")));
    }
    if (wanted(list, "ObjectSize")) {
        TRY(xml_put_u64(&xml, "ObjectSize", info->size));
    }
    TRY(xml_close(&xml, "GetObjectAttributesResponse"));
    TRY(time_append_http(&time, info->modified_ms));
    http_reply_header(r->http, "Last-Modified", buf_str(&time));
    return s3api_reply_xml(r, 200, &xml);
}
