/* ListParts and ListMultipartUploads. */
#include "s3api/s3api_priv.h"

#include <stdio.h>

#include "base/encode.h"
#include "store/lake_keys.h"

/* --- parts --- */

static enum status part_xml(struct buf *xml, const struct store_part *part)
{
    struct str text = STR_EMPTY;
    enum aws_sum sum = s3api_attrs_sum(&part->attrs, &text);
    char etag[STORE_ETAG_MAX + 3];
    int len = snprintf(etag, sizeof etag, "\"%s\"", part->etag);
    TRY(xml_open(xml, "Part"));
    TRY(xml_put_u64(xml, "PartNumber", part->number));
    TRY(xml_put_time(xml, "LastModified", part->modified_ms));
    TRY(xml_put(xml, "ETag", str_from(etag, (size_t)len)));
    TRY(xml_put_u64(xml, "Size", part->size));
    TRY(s3api_xml_sum(xml, sum, text));
    return xml_close(xml, "Part");
}

static enum status parts_head(struct s3api_request *r, struct buf *xml,
                              const struct store_attrs *attrs)
{
    struct str type;
    enum aws_sum sum = s3api_upload_sum(attrs, &type);
    TRY(xml_put(xml, "Bucket", r->bucket_name));
    TRY(xml_put(xml, "Key", r->key));
    TRY(xml_put(xml, "UploadId", s3api_param(r, "uploadId")));
    TRY(s3api_xml_owner(xml, "Initiator"));
    TRY(s3api_xml_owner(xml, "Owner"));
    TRY(xml_put(xml, "StorageClass", STR("STANDARD")));
    if (sum != AWS_SUM_NONE) {
        TRY(xml_put(xml, "ChecksumAlgorithm", str_of(aws_sum_upper(sum))));
        TRY(xml_put(xml, "ChecksumType", type));
    }
    return OK;
}

enum status s3api_list_parts(struct s3api_request *r)
{
    AUTO(buf_done) struct buf xml;
    struct store_upload upload;
    struct store_attrs attrs;
    struct store_parts parts = { 0 };
    struct str key, id = s3api_param(r, "uploadId");
    uint64_t after = 0, max = 0;
    buf_init(&xml, 0);
    TRY(s3api_param_count(r, "part-number-marker", 0, S3_PARTS_MAX, &after));
    TRY(s3api_param_count(r, "max-parts", S3_PAGE_MAX, S3_PAGE_MAX, &max));
    TRY(s3api_store_key(r, &r->bucket, r->key, &key));
    TRY(s3api_upload_failed(
        r, store_upload_get(r->bucket.store, key, id, r->arena, &upload, &attrs, r->err)));
    if (max > 0) {
        TRY(s3api_upload_failed(r, store_upload_parts(r->bucket.store, key, id, (unsigned)after,
                                                      (size_t)max, r->arena, &parts, r->err)));
    }
    TRY(xml_begin(&xml, "ListPartsResult"));
    TRY(parts_head(r, &xml, &attrs));
    TRY(xml_put_u64(&xml, "PartNumberMarker", after));
    TRY(xml_put_u64(&xml, "NextPartNumberMarker",
                    parts.count > 0 ? parts.items[parts.count - 1].number : after));
    TRY(xml_put_u64(&xml, "MaxParts", max));
    TRY(xml_put_bool(&xml, "IsTruncated", parts.truncated));
    for (size_t i = 0; i < parts.count; i++) {
        TRY(part_xml(&xml, &parts.items[i]));
    }
    TRY(xml_close(&xml, "ListPartsResult"));
    return s3api_reply_xml(r, 200, &xml);
}

/* --- uploads --- */

/** A page of open uploads as it grows, with common prefixes in between. */
struct uploads_page {
    struct str prefix, delimiter; /* of the bucket's keys */
    bool encode;
    uint64_t max, count;
    bool truncated;
    struct str next_key, next_id;
    struct buf uploads, prefixes; /* XML */
};

static enum status upload_xml(struct s3api_request *r, struct uploads_page *page,
                              const struct store_upload *upload, struct str key)
{
    struct buf *xml = &page->uploads;
    TRY(xml_open(xml, "Upload"));
    TRY(s3api_xml_text(r, xml, "Key", key, page->encode));
    TRY(xml_put(xml, "UploadId", upload->id));
    TRY(s3api_xml_owner(xml, "Initiator"));
    TRY(s3api_xml_owner(xml, "Owner"));
    TRY(xml_put(xml, "StorageClass", STR("STANDARD")));
    TRY(xml_put_time(xml, "Initiated", upload->started_ms));
    return xml_close(xml, "Upload");
}

/** The common prefix that a key falls under; length 0: none. */
static struct str common_prefix(const struct uploads_page *page, struct str key)
{
    size_t at = page->delimiter.len > 0 ? str_find(str_skip(key, page->prefix.len), page->delimiter)
                                        : SIZE_MAX;
    return at == SIZE_MAX ? STR_EMPTY : str_take(key, page->prefix.len + at + page->delimiter.len);
}

/** Goes on behind everything that starts like this: 0xff is in no UTF-8. */
static enum status skip_all(struct s3api_request *r, struct str start,
                            struct store_uploads_opts *opts)
{
    opts->after_key = arena_printf(r->arena, "%.*s\xff", STR_ARG(start));
    opts->after_id = STR_EMPTY;
    return opts->after_key.ptr != NULL ? OK : err_no_memory(r->err);
}

/** One upload onto the page. *skip_out: the listing must begin again behind what it stands for. */
static enum status take(struct s3api_request *r, struct uploads_page *page,
                        const struct store_upload *upload, struct store_uploads_opts *opts,
                        bool *skip_out)
{
    struct str key = str_skip(upload->key, r->bucket.prefix.len);
    if (r->bucket.lake && lake_key_closed(key)) {
        size_t slash = str_find_char(key, '/');
        *skip_out = true;
        return skip_all(r, str_take(upload->key, slash == SIZE_MAX ? key.len : slash + 1), opts);
    }
    if (page->count == page->max) {
        page->truncated = true;
        return OK;
    }
    page->count++;
    struct str common = common_prefix(page, key);
    if (common.len > 0) {
        TRY(xml_open(&page->prefixes, "CommonPrefixes"));
        TRY(s3api_xml_text(r, &page->prefixes, "Prefix", common, page->encode));
        TRY(xml_close(&page->prefixes, "CommonPrefixes"));
        page->next_key = common;
        page->next_id = STR_EMPTY;
        *skip_out = true;
        return skip_all(r, str_take(upload->key, r->bucket.prefix.len + common.len), opts);
    }
    page->next_key = key;
    page->next_id = opts->after_id = upload->id;
    opts->after_key = upload->key;
    return upload_xml(r, page, upload, key);
}

static enum status fill(struct s3api_request *r, struct uploads_page *page,
                        struct store_uploads_opts *opts)
{
    for (bool more = page->max > 0; more && !page->truncated;) {
        struct store_uploads list;
        bool skip = false;
        opts->limit = (size_t)(page->max - page->count) + 1;
        opts->limit = opts->limit < STORE_UPLOAD_PAGE_MAX ? opts->limit : STORE_UPLOAD_PAGE_MAX;
        TRY(store_upload_list(r->bucket.store, opts, r->arena, &list, r->err));
        for (size_t i = 0; i < list.count && !skip && !page->truncated; i++) {
            TRY(take(r, page, &list.items[i], opts, &skip));
        }
        more = skip || list.truncated;
    }
    return OK;
}

static enum status uploads_xml(struct s3api_request *r, struct uploads_page *page, struct buf *xml)
{
    TRY(xml_begin(xml, "ListMultipartUploadsResult"));
    TRY(xml_put(xml, "Bucket", r->bucket_name));
    TRY(s3api_xml_text(r, xml, "KeyMarker", s3api_param(r, "key-marker"), page->encode));
    TRY(xml_put(xml, "UploadIdMarker", s3api_param(r, "upload-id-marker")));
    if (page->truncated) {
        TRY(s3api_xml_text(r, xml, "NextKeyMarker", page->next_key, page->encode));
        TRY(xml_put(xml, "NextUploadIdMarker", page->next_id));
    }
    TRY(s3api_xml_text(r, xml, "Prefix", page->prefix, page->encode));
    if (page->delimiter.len > 0) {
        TRY(s3api_xml_text(r, xml, "Delimiter", page->delimiter, page->encode));
    }
    TRY(xml_put_u64(xml, "MaxUploads", page->max));
    TRY(xml_put_bool(xml, "IsTruncated", page->truncated));
    TRY(buf_append(xml, buf_str(&page->uploads)));
    TRY(buf_append(xml, buf_str(&page->prefixes)));
    return xml_close(xml, "ListMultipartUploadsResult");
}

/** Where to begin: behind a common prefix means behind everything in it. */
static enum status first_after(struct s3api_request *r, const struct uploads_page *page,
                               struct store_uploads_opts *opts)
{
    struct str key = s3api_param(r, "key-marker"), id = s3api_param(r, "upload-id-marker");
    if (key.len == 0) {
        return OK;
    }
    opts->after_key = arena_printf(r->arena, "%.*s%.*s", STR_ARG(r->bucket.prefix), STR_ARG(key));
    if (opts->after_key.ptr == NULL) {
        return err_no_memory(r->err);
    }
    opts->after_id = id;
    return str_eq(common_prefix(page, key), key) ? skip_all(r, opts->after_key, opts) : OK;
}

enum status s3api_list_uploads(struct s3api_request *r)
{
    AUTO(buf_done) struct buf xml;
    struct str encoding = s3api_param(r, "encoding-type");
    struct uploads_page page = { .prefix = s3api_param(r, "prefix"),
                                 .delimiter = s3api_param(r, "delimiter"),
                                 .encode = str_eq(encoding, STR("url")) };
    struct store_uploads_opts opts = { 0 };
    buf_init(&xml, 0);
    buf_init(&page.uploads, 0);
    buf_init(&page.prefixes, 0);
    if (encoding.len > 0 && !page.encode) {
        return s3api_err(r, AWS_INVALID_ARGUMENT, "encoding-type is \"url\"");
    }
    TRY(s3api_param_count(r, "max-uploads", S3_PAGE_MAX, S3_PAGE_MAX, &page.max));
    opts.prefix = arena_printf(r->arena, "%.*s%.*s", STR_ARG(r->bucket.prefix),
                               STR_ARG(page.prefix));
    if (opts.prefix.ptr == NULL) {
        return err_no_memory(r->err);
    }
    enum status status = first_after(r, &page, &opts);
    status = status == OK ? fill(r, &page, &opts) : status;
    status = status == OK ? uploads_xml(r, &page, &xml) : status;
    buf_done(&page.uploads);
    buf_done(&page.prefixes);
    TRY(status);
    return s3api_reply_xml(r, 200, &xml);
}
