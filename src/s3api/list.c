/*
 * Listings of objects: v1, v2, and the versions of buckets that keep none. All are one page of the
 * store with a bucket's prefix taken off.
 */
#include "s3api/s3api_priv.h"

#include "base/encode.h"
#include "store/lake_keys.h"

struct listing {
    struct str prefix, delimiter; /* as asked; .ptr NULL: not */
    struct str after;             /* a key of the bucket */
    uint64_t max;
    bool encode; /* encoding-type=url */
    struct store_list page;
};

static enum status read_common(struct s3api_request *r, struct listing *l)
{
    struct str encoding = s3api_param(r, "encoding-type");
    l->prefix = s3api_param(r, "prefix");
    l->delimiter = s3api_param(r, "delimiter");
    TRY(s3api_param_count(r, "max-keys", S3_PAGE_MAX, S3_PAGE_MAX, &l->max));
    l->encode = str_eq(encoding, STR("url"));
    return encoding.len == 0 || l->encode
               ? OK
               : s3api_err(r, AWS_INVALID_ARGUMENT, "encoding-type is \"url\"");
}

static enum status in_store(struct s3api_request *r, struct str text, struct str *out)
{
    *out = arena_printf(r->arena, "%.*s%.*s", STR_ARG(r->bucket.prefix), STR_ARG(text));
    return out->ptr != NULL ? OK : err_no_memory(r->err);
}

static struct str in_bucket(const struct s3api_request *r, struct str key)
{
    return str_skip(key, r->bucket.prefix.len);
}

static enum status run(struct s3api_request *r, struct listing *l)
{
    struct store_list_opts opts = { .delimiter = l->delimiter, .limit = (size_t)l->max };
    if (l->max == 0) {
        return OK;
    }
    if (l->prefix.len > S3_KEY_MAX || l->after.len > S3_KEY_MAX || l->delimiter.len > S3_KEY_MAX) {
        return OK; /* no key is as long */
    }
    TRY(in_store(r, l->prefix, &opts.prefix));
    if (l->after.len > 0) {
        TRY(in_store(r, l->after, &opts.after));
    }
    return r->bucket.lake ? lake_list(r->bucket.store, &opts, r->arena, &l->page, r->err)
                          : store_list(r->bucket.store, &opts, r->arena, &l->page, r->err);
}

/* --- XML --- */

static enum status put_text(struct s3api_request *r, const struct listing *l, struct buf *xml,
                            const char *name, struct str text)
{
    return s3api_xml_text(r, xml, name, text, l->encode);
}

static enum status put_if(struct s3api_request *r, const struct listing *l, struct buf *xml,
                          const char *name, struct str text)
{
    return text.len > 0 ? put_text(r, l, xml, name, text) : OK;
}

static enum status put_object(struct s3api_request *r, const struct listing *l, struct buf *xml,
                              const char *element, const struct store_info *info, bool owner)
{
    char etag[STORE_ETAG_MAX + 3];
    TRY(xml_open(xml, element));
    TRY(put_text(r, l, xml, "Key", in_bucket(r, info->key)));
    if (str_eq(str_of(element), STR("Version"))) {
        TRY(xml_put(xml, "VersionId", STR("null")));
        TRY(xml_put_bool(xml, "IsLatest", true));
    }
    TRY(xml_put_time(xml, "LastModified", info->modified_ms));
    TRY(xml_put(xml, "ETag", s3api_etag_quoted(info, etag)));
    TRY(xml_put_u64(xml, "Size", info->size));
    if (owner) {
        TRY(s3api_xml_owner(xml, "Owner"));
    }
    TRY(xml_put(xml, "StorageClass", STR("STANDARD")));
    return xml_close(xml, element);
}

static enum status put_page(struct s3api_request *r, const struct listing *l, struct buf *xml,
                            const char *element, bool owner)
{
    for (size_t i = 0; i < l->page.object_count; i++) {
        TRY(put_object(r, l, xml, element, &l->page.objects[i], owner));
    }
    for (size_t i = 0; i < l->page.prefix_count; i++) {
        TRY(xml_open(xml, "CommonPrefixes"));
        TRY(put_text(r, l, xml, "Prefix", in_bucket(r, l->page.prefixes[i])));
        TRY(xml_close(xml, "CommonPrefixes"));
    }
    return OK;
}

static enum status put_head(struct s3api_request *r, const struct listing *l, struct buf *xml)
{
    TRY(xml_put(xml, "Name", r->bucket_name));
    TRY(put_text(r, l, xml, "Prefix", l->prefix));
    TRY(put_if(r, l, xml, "Delimiter", l->delimiter));
    TRY(xml_put_u64(xml, "MaxKeys", l->max));
    if (l->encode) {
        TRY(xml_put(xml, "EncodingType", STR("url")));
    }
    return xml_put_bool(xml, "IsTruncated", l->page.truncated);
}

enum status s3api_list_objects_v1(struct s3api_request *r)
{
    AUTO(buf_done) struct buf xml;
    struct listing l = { .after = s3api_param(r, "marker") };
    buf_init(&xml, 0);
    TRY(read_common(r, &l));
    TRY(run(r, &l));
    TRY(xml_begin(&xml, "ListBucketResult"));
    TRY(put_head(r, &l, &xml));
    TRY(put_text(r, &l, &xml, "Marker", l.after));
    if (l.page.truncated && l.delimiter.len > 0) {
        TRY(put_text(r, &l, &xml, "NextMarker", in_bucket(r, l.page.next)));
    }
    TRY(put_page(r, &l, &xml, "Contents", true));
    TRY(xml_close(&xml, "ListBucketResult"));
    return s3api_reply_xml(r, 200, &xml);
}

enum status s3api_token_read(struct s3api_request *r, struct str token, struct str *after)
{
    AUTO(buf_done) struct buf bytes;
    buf_init(&bytes, 4 * S3_KEY_MAX);
    enum status status = base64_decode(token, &bytes);
    if (status == E_NO_MEMORY) {
        return err_no_memory(r->err);
    }
    if (token.len == 0 || status != OK || !str_is_utf8(buf_str(&bytes))) {
        return s3api_err(r, AWS_INVALID_ARGUMENT, "the continuation token is none of ours");
    }
    *after = arena_str(r->arena, buf_str(&bytes));
    return after->ptr != NULL ? OK : err_no_memory(r->err);
}

enum status s3api_token_put(struct buf *xml, const char *name, struct str after)
{
    AUTO(buf_done) struct buf text;
    buf_init(&text, 0);
    TRY(base64_append(&text, after.ptr, after.len));
    return xml_put(xml, name, buf_str(&text));
}

enum status s3api_list_objects_v2(struct s3api_request *r)
{
    AUTO(buf_done) struct buf xml;
    struct str token = s3api_param(r, "continuation-token"), start = s3api_param(r, "start-after");
    struct listing l = { .after = start };
    buf_init(&xml, 0);
    if (!str_eq(s3api_param(r, "list-type"), STR("2"))) {
        return s3api_err(r, AWS_INVALID_ARGUMENT, "list-type is 2");
    }
    TRY(read_common(r, &l));
    if (token.ptr != NULL) {
        TRY(s3api_token_read(r, token, &l.after));
    }
    TRY(run(r, &l));
    bool owner = str_eq(s3api_param(r, "fetch-owner"), STR("true"));
    TRY(xml_begin(&xml, "ListBucketResult"));
    TRY(put_head(r, &l, &xml));
    TRY(xml_put_u64(&xml, "KeyCount", l.page.object_count + l.page.prefix_count));
    if (token.ptr != NULL) {
        TRY(xml_put(&xml, "ContinuationToken", token));
    }
    TRY(put_if(r, &l, &xml, "StartAfter", start));
    if (l.page.truncated) {
        TRY(s3api_token_put(&xml, "NextContinuationToken", in_bucket(r, l.page.next)));
    }
    TRY(put_page(r, &l, &xml, "Contents", owner));
    TRY(xml_close(&xml, "ListBucketResult"));
    return s3api_reply_xml(r, 200, &xml);
}

enum status s3api_list_versions(struct s3api_request *r)
{
    AUTO(buf_done) struct buf xml;
    struct listing l = { .after = s3api_param(r, "key-marker") };
    buf_init(&xml, 0);
    TRY(read_common(r, &l));
    TRY(run(r, &l));
    TRY(xml_begin(&xml, "ListVersionsResult"));
    TRY(put_head(r, &l, &xml));
    TRY(put_text(r, &l, &xml, "KeyMarker", l.after));
    TRY(put_text(r, &l, &xml, "VersionIdMarker", s3api_param(r, "version-id-marker")));
    if (l.page.truncated) {
        TRY(put_text(r, &l, &xml, "NextKeyMarker", in_bucket(r, l.page.next)));
        TRY(xml_put(&xml, "NextVersionIdMarker", STR("null")));
    }
    TRY(put_page(r, &l, &xml, "Version", true));
    TRY(xml_close(&xml, "ListVersionsResult"));
    return s3api_reply_xml(r, 200, &xml);
}
