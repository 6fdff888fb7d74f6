/* What travels with an object: from the headers of a write to attributes, and back into those of a
 * read. */
#include "s3api/s3api_priv.h"

#include <ctype.h>

#include "base/encode.h"

#define META "x-amz-meta-"

/* System metadata that is kept as it came. */
static const char *const kept[] = { "cache-control",    "content-disposition", "content-encoding",
                                    "content-language", "content-type",        "expires" };

/* What would be ignored at the user's cost. */
static const char *const refused_headers[] = {
    "x-amz-grant-full-control",
    "x-amz-grant-read",
    "x-amz-grant-read-acp",
    "x-amz-grant-write",
    "x-amz-grant-write-acp",
    "x-amz-object-lock-legal-hold",
    "x-amz-object-lock-mode",
    "x-amz-object-lock-retain-until-date",
    "x-amz-server-side-encryption",
    "x-amz-server-side-encryption-customer-algorithm",
    "x-amz-website-redirect-location",
    "x-amz-write-offset-bytes",
};

enum status s3api_attrs_set(struct s3api_request *r, struct s3api_attrs *attrs, struct str name,
                            struct str value)
{
    size_t at = 0;
    while (at < attrs->count && !str_eq(attrs->items[at].name, name)) {
        at++;
    }
    if (value.len == 0 && !str_starts(name, STR(META))) {
        if (at < attrs->count) {
            attrs->items[at] = attrs->items[--attrs->count];
        }
        return OK;
    }
    if (at == STORE_ATTRS_MAX) {
        return s3api_err(r, AWS_METADATA_TOO_LARGE, "an object may have %d attributes",
                         STORE_ATTRS_MAX);
    }
    attrs->items[at] = (struct store_attr){ name, value };
    attrs->count += at == attrs->count;
    return OK;
}

struct store_attrs s3api_attrs_view(const struct s3api_attrs *attrs)
{
    return (struct store_attrs){ attrs->items, attrs->count };
}

struct str s3api_attr(const struct store_attrs *attrs, const char *name)
{
    for (size_t i = 0; i < attrs->count; i++) {
        if (str_eq(attrs->items[i].name, str_of(name))) {
            return attrs->items[i].value;
        }
    }
    return (struct str){ NULL, 0 };
}

/* --- from headers --- */

/** "aws-chunked,gzip" is gzip: the first is about the way here. */
static enum status content_encoding(struct s3api_request *r, struct str value, struct str *out)
{
    AUTO(buf_done) struct buf text;
    buf_init(&text, 0);
    struct str rest = value;
    while (rest.ptr != NULL) {
        struct str word = str_trim(str_split(&rest, ','));
        if (word.len == 0 || str_eq_nocase(word, STR("aws-chunked"))) {
            continue;
        }
        if (text.len > 0) {
            TRY(buf_append(&text, STR(", ")));
        }
        TRY(buf_append(&text, word));
    }
    *out = arena_str(r->arena, buf_str(&text));
    return out->ptr != NULL ? OK : err_no_memory(r->err);
}

static enum status set_system(struct s3api_request *r, struct s3api_attrs *attrs)
{
    for (size_t i = 0; i < ARRAY_LEN(kept); i++) {
        struct str value = s3api_header(r, kept[i]);
        if (str_eq(str_of(kept[i]), STR("content-encoding")) && value.ptr != NULL) {
            TRY(content_encoding(r, value, &value));
        }
        TRY(s3api_attrs_set(r, attrs, str_of(kept[i]), str_trim(value)));
    }
    return OK;
}

static enum status lower(struct s3api_request *r, struct str name, struct str *out)
{
    char *text = arena_cstr(r->arena, name);
    if (text == NULL) {
        return err_no_memory(r->err);
    }
    for (size_t i = 0; i < name.len; i++) {
        text[i] = (char)tolower((unsigned char)text[i]);
    }
    *out = str_from(text, name.len);
    return OK;
}

/** A name that stands twice becomes one, joined by a comma, as S3 does it. */
static enum status set_meta(struct s3api_request *r, struct s3api_attrs *attrs, struct str name,
                            struct str value)
{
    struct store_attrs view = s3api_attrs_view(attrs);
    char *text = arena_cstr(r->arena, name);
    struct str before = text != NULL ? s3api_attr(&view, text) : STR_EMPTY;
    if (text == NULL) {
        return err_no_memory(r->err);
    }
    if (before.len > 0) {
        value = arena_printf(r->arena, "%.*s,%.*s", STR_ARG(before), STR_ARG(value));
    }
    return s3api_attrs_set(r, attrs, name, value);
}

static enum status set_user(struct s3api_request *r, struct s3api_attrs *attrs)
{
    size_t bytes = 0;
    for (size_t i = 0; i < r->http->headers.count; i++) {
        const struct http_header *header = &r->http->headers.items[i];
        struct str name, value = str_trim(header->value);
        if (!str_eq_nocase(str_take(header->name, sizeof META - 1), STR(META)) ||
            header->name.len == sizeof META - 1) {
            continue;
        }
        if (str_has_control(value)) { /* no answer could carry it */
            return s3api_err(r, AWS_INVALID_ARGUMENT, "%.*s holds a control character",
                             STR_ARG(header->name));
        }
        bytes += header->name.len - (sizeof META - 1) + value.len;
        if (bytes > S3_META_BYTES_MAX) {
            return s3api_err(r, AWS_METADATA_TOO_LARGE,
                             "the x-amz-meta-* headers have more than %d bytes", S3_META_BYTES_MAX);
        }
        TRY(lower(r, header->name, &name));
        TRY(set_meta(r, attrs, name, value));
    }
    return OK;
}

static enum status refuse_unkept(struct s3api_request *r)
{
    for (size_t i = 0; i < ARRAY_LEN(refused_headers); i++) {
        if (s3api_header(r, refused_headers[i]).ptr != NULL) {
            return s3api_err(r, AWS_NOT_IMPLEMENTED, "%s is not supported here",
                             refused_headers[i]);
        }
    }
    struct str class = s3api_header(r, "x-amz-storage-class");
    if (class.ptr != NULL && !str_eq(class, STR("STANDARD"))) {
        return s3api_err(r, AWS_INVALID_STORAGE_CLASS, "the one storage class here is STANDARD");
    }
    return OK;
}

enum status s3api_attrs_from_headers(struct s3api_request *r, struct s3api_attrs *attrs)
{
    struct str acl, tags = s3api_header(r, "x-amz-tagging");
    TRY(refuse_unkept(r));
    TRY(set_system(r, attrs));
    TRY(set_user(r, attrs));
    TRY(s3api_acl_wanted(r, &acl));
    if (!str_eq(acl, STR("private"))) {
        TRY(s3api_attrs_set(r, attrs, STR(S3_ATTR_ACL), acl));
    }
    if (tags.ptr != NULL) {
        TRY(s3api_tags_from_text(r, tags, &tags));
        TRY(s3api_attrs_set(r, attrs, STR(S3_ATTR_TAGS), tags));
    }
    return OK;
}

/* --- into headers --- */

enum aws_sum s3api_attrs_sum(const struct store_attrs *attrs, struct str *text_out)
{
    for (size_t i = 0; i < attrs->count; i++) {
        enum aws_sum sum = aws_sum_of_header(attrs->items[i].name);
        if (sum != AWS_SUM_NONE) {
            *text_out = attrs->items[i].value;
            return sum;
        }
    }
    return AWS_SUM_NONE;
}

void s3api_sum_header(struct s3api_request *r, enum aws_sum sum, struct str text, struct str type)
{
    if (sum == AWS_SUM_NONE) {
        return;
    }
    http_reply_header(r->http, aws_sum_header(sum), text);
    http_reply_header(r->http, S3_ATTR_SUM_TYPE, type.len > 0 ? type : STR("FULL_OBJECT"));
}

/** What a signed GET may say in place of what was kept: response-content-type and so on. */
static enum status override(struct s3api_request *r, const char *header, struct str *value)
{
    char name[64];
    snprintf(name, sizeof name, "response-%s", header);
    struct str given = s3api_param(r, name);
    if (given.ptr == NULL) {
        return OK;
    }
    if (r->grant == NULL) {
        return s3api_err(r, AWS_INVALID_REQUEST, "%s needs a signature", name);
    }
    *value = given;
    return OK;
}

enum status s3api_attrs_reply(struct s3api_request *r, const struct store_attrs *attrs,
                              bool checksums, const char **type_out)
{
    char count[24];
    for (size_t i = 0; i < ARRAY_LEN(kept); i++) {
        struct str value = s3api_attr(attrs, kept[i]);
        TRY(override(r, kept[i], &value));
        if (str_eq(str_of(kept[i]), STR("content-type"))) {
            *type_out = arena_cstr(r->arena, value.len > 0 ? value : STR("binary/octet-stream"));
        } else {
            http_reply_header(r->http, kept[i], value);
        }
    }
    for (size_t i = 0; i < attrs->count; i++) {
        if (str_starts(attrs->items[i].name, STR(META))) {
            char *name = arena_cstr(r->arena, attrs->items[i].name);
            struct str value = attrs->items[i].value; /* one blank is an empty value on the wire */
            http_reply_header(r->http, name != NULL ? name : META,
                              value.len > 0 ? value : STR(" "));
        }
    }
    size_t tags = s3api_tags_count(s3api_attr(attrs, S3_ATTR_TAGS));
    if (tags > 0) {
        snprintf(count, sizeof count, "%zu", tags);
        http_reply_header(r->http, "x-amz-tagging-count", str_of(count));
    }
    struct str text = STR_EMPTY;
    enum aws_sum sum = s3api_attrs_sum(attrs, &text);
    if (checksums) {
        s3api_sum_header(r, sum, text, s3api_attr(attrs, S3_ATTR_SUM_TYPE));
    }
    return *type_out != NULL ? OK : err_no_memory(r->err);
}

enum status s3api_attrs_set_sum(struct s3api_request *r, struct s3api_attrs *attrs)
{
    if (r->body.sum == AWS_SUM_NONE) {
        return OK;
    }
    return s3api_attrs_set(r, attrs, str_of(aws_sum_header(r->body.sum)), str_of(r->body.sum_text));
}

/* --- changing one --- */

enum { CHANGE_TRIES = 8 }; /* chosen: each one lost means that somebody else changed it */

enum status s3api_change_attr(struct s3api_request *r, const char *name, struct str value)
{
    struct str key;
    TRY(s3api_store_key(r, &r->bucket, r->key, &key));
    for (int i = 0;; i++) {
        struct s3api_attrs attrs = { .count = 0 };
        struct store_attrs before;
        struct store_info info;
        TRY(store_stat_attrs(r->bucket.store, key, r->arena, &info, &before, r->err));
        for (size_t j = 0; j < before.count; j++) {
            TRY(s3api_attrs_set(r, &attrs, before.items[j].name, before.items[j].value));
        }
        TRY(s3api_attrs_set(r, &attrs, str_of(name), value));
        struct store_attrs after = s3api_attrs_view(&attrs);
        enum status status = store_set_attrs(r->bucket.store, key, &after, str_of(info.etag), NULL,
                                             r->err);
        if (status != E_PRECONDITION || i == CHANGE_TRIES) {
            return status;
        }
    }
}
