/* Tags of objects and buckets, kept as S3's header spells them: "a=b&c=d", percent-encoded. */
#include "s3api/s3api_priv.h"

#include <ctype.h>
#include <string.h>

#include "base/encode.h"

enum {
    TAG_KEY_MAX = 128, /* characters; S3's */
    TAG_VALUE_MAX = 256,
    BUCKET_TAGS_MAX = 50,
};

struct tags {
    struct http_param items[BUCKET_TAGS_MAX];
    size_t count;
};

static size_t characters(struct str text)
{
    size_t count = 0;
    for (size_t i = 0; i < text.len; i++) {
        count += ((unsigned char)text.ptr[i] & 0xc0) != 0x80;
    }
    return count;
}

/** Letters and numbers of any script, blanks and a few signs: what S3 allows everywhere. */
static bool is_plain(struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (c < 0x80 && !isalnum(c) && (c == 0 || strchr(" +-=._:/@", c) == NULL)) {
            return false;
        }
    }
    return true;
}

static bool has(const struct tags *tags, struct str key)
{
    for (size_t i = 0; i < tags->count; i++) {
        if (str_eq(tags->items[i].name, key)) {
            return true;
        }
    }
    return false;
}

static enum status add(struct s3api_request *r, struct tags *tags, struct str key, struct str value)
{
    size_t max = r->has_key ? S3_TAGS_MAX : BUCKET_TAGS_MAX;
    if (tags->count == max) {
        return s3api_err(r, AWS_INVALID_TAG, "more than %zu tags", max);
    }
    if (key.len == 0 || !str_is_utf8(key) || !str_is_utf8(value) || characters(key) > TAG_KEY_MAX ||
        characters(value) > TAG_VALUE_MAX || str_starts(key, STR("aws:")) || !is_plain(key) ||
        !is_plain(value)) {
        return s3api_err(
            r, AWS_INVALID_TAG,
            "a tag has a key of 1 to %d characters and a value of at most %d: letters, "
            "numbers, blanks and +-=._:/@",
            TAG_KEY_MAX, TAG_VALUE_MAX);
    }
    if (has(tags, key)) {
        return s3api_err(r, AWS_INVALID_TAG, "tag \"%.*s\" is there twice", STR_ARG(key));
    }
    tags->items[tags->count++] = (struct http_param){ key, value };
    return OK;
}

static enum status pack(struct s3api_request *r, const struct tags *tags, struct str *out)
{
    AUTO(buf_done) struct buf text;
    buf_init(&text, 0);
    for (size_t i = 0; i < tags->count; i++) {
        TRY(buf_append(&text, i > 0 ? STR("&") : STR_EMPTY));
        TRY(percent_append(&text, tags->items[i].name, ""));
        TRY(buf_append_char(&text, '='));
        TRY(percent_append(&text, tags->items[i].value, ""));
    }
    *out = arena_str(r->arena, buf_str(&text));
    return out->ptr != NULL ? OK : err_no_memory(r->err);
}

static enum status unpack(struct s3api_request *r, struct str text, struct tags *out)
{
    struct str rest = text;
    while (rest.ptr != NULL && text.len > 0) {
        struct str pair = str_split(&rest, '&'), key = STR_EMPTY, value = STR_EMPTY;
        size_t equals = str_find_char(pair, '=');
        if (pair.len == 0) {
            continue;
        }
        TRY(s3api_decode(r, str_take(pair, equals == SIZE_MAX ? pair.len : equals), true,
                         AWS_INVALID_ARGUMENT, &key));
        TRY(s3api_decode(r, equals == SIZE_MAX ? STR_EMPTY : str_skip(pair, equals + 1), true,
                         AWS_INVALID_ARGUMENT, &value));
        if (key.len == 0 || has(out, key)) {
            return s3api_err(r, AWS_INVALID_ARGUMENT, "the tags hold a key that is empty or twice");
        }
        TRY(add(r, out, key, value));
    }
    return OK;
}

enum status s3api_tags_from_text(struct s3api_request *r, struct str text, struct str *out)
{
    struct tags tags = { .count = 0 };
    TRY(unpack(r, text, &tags));
    return pack(r, &tags, out);
}

enum status s3api_tags_from_xml(struct s3api_request *r, struct str *out)
{
    const struct xml_node *root = NULL;
    TRY(s3api_xml_root(r, buf_str(&r->xml_in), "Tagging", AWS_MALFORMED_XML, &root));
    if (xml_child(root, "TagSet") == NULL) {
        return s3api_err(r, AWS_MALFORMED_XML, "a Tagging has a TagSet");
    }
    return s3api_tags_from_set(r, xml_child(root, "TagSet"), out);
}

enum status s3api_tags_from_set(struct s3api_request *r, const struct xml_node *set,
                                struct str *out)
{
    struct tags tags = { .count = 0 };
    const struct xml_node *tag = set != NULL ? xml_child(set, "Tag") : NULL;
    for (; tag != NULL; tag = xml_again(tag)) {
        struct str value = xml_text(tag, "Value");
        TRY(add(r, &tags, xml_text(tag, "Key"), value.ptr != NULL ? value : STR("")));
    }
    return pack(r, &tags, out);
}

size_t s3api_tags_count(struct str packed)
{
    size_t count = packed.len > 0;
    for (size_t i = 0; i < packed.len; i++) {
        count += packed.ptr[i] == '&';
    }
    return count;
}

enum status s3api_reply_tags(struct s3api_request *r, struct str packed)
{
    AUTO(buf_done) struct buf xml;
    struct tags tags = { .count = 0 };
    buf_init(&xml, 0);
    TRY(unpack(r, packed, &tags));
    TRY(xml_begin(&xml, "Tagging"));
    TRY(xml_open(&xml, "TagSet"));
    for (size_t i = 0; i < tags.count; i++) {
        TRY(xml_open(&xml, "Tag"));
        TRY(xml_put(&xml, "Key", tags.items[i].name));
        TRY(xml_put(&xml, "Value", tags.items[i].value));
        TRY(xml_close(&xml, "Tag"));
    }
    TRY(xml_close(&xml, "TagSet"));
    TRY(xml_close(&xml, "Tagging"));
    return s3api_reply_xml(r, 200, &xml);
}

/* --- of objects --- */

enum status s3api_get_object_tagging(struct s3api_request *r)
{
    struct store_attrs attrs;
    struct store_info info;
    struct str key;
    TRY(s3api_store_key(r, &r->bucket, r->key, &key));
    TRY(store_stat_attrs(r->bucket.store, key, r->arena, &info, &attrs, r->err));
    return s3api_reply_tags(r, s3api_attr(&attrs, S3_ATTR_TAGS));
}

enum status s3api_put_object_tagging(struct s3api_request *r)
{
    struct str tags = STR_EMPTY;
    TRY(s3api_tags_from_xml(r, &tags));
    TRY(s3api_change_attr(r, S3_ATTR_TAGS, tags));
    return s3api_reply_empty(r, 200);
}

enum status s3api_delete_object_tagging(struct s3api_request *r)
{
    TRY(s3api_change_attr(r, S3_ATTR_TAGS, STR_EMPTY));
    return s3api_reply_empty(r, 204);
}
