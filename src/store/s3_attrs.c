/*
 * Attributes as headers of S3 and back.
 *
 *      content-type and its kin       go as those headers
 *      x-amz-meta-*                   go as such
 *      all others, and whose value is no plain text of a header
 *                                     go packed (attrs.h), in base64, as one piece of metadata
 *
 * S3 gives every object a content type; the one that it takes by itself is sent where none is
 * wanted, and not told as an attribute. User metadata have room for 2 KiB, S3's own limit, of which
 * the id of the write takes its part.
 */
#include "base/encode.h"
#include "http/message.h"
#include "store/s3_priv.h"

#define META "x-amz-meta-"
#define OURS "x-amz-meta-lakehouse-"
#define PACKED "x-amz-meta-lakehouse-attrs"
#define NO_TYPE "binary/octet-stream"

enum {
    META_BYTES_MAX = 2048,
    WRITE_ID_BYTES = sizeof "lakehouse-write" - 1 + S3_WRITE_ID,
    VALUE_BYTES_MAX = 1024, /* of a system header; all headers together have 8 KiB */
};

static const char *const system_names[] = {
    "cache-control",    "content-disposition", "content-encoding",
    "content-language", "content-type",        "expires",
};

static bool is_system(struct str name)
{
    for (size_t i = 0; i < ARRAY_LEN(system_names); i++) {
        if (str_eq(name, str_of(system_names[i]))) {
            return true;
        }
    }
    return false;
}

/** Comes back from every store as it went: no space at its ends or twice, and no encoded word. */
static bool value_plain(struct str value)
{
    for (size_t i = 0; i < value.len; i++) {
        char c = value.ptr[i];
        bool space = c == ' ' && (i == 0 || i + 1 == value.len || value.ptr[i - 1] == ' ');
        if (c < ' ' || c > '~' || space || (c == '?' && i > 0 && value.ptr[i - 1] == '=')) {
            return false;
        }
    }
    return value.len > 0 && value.len <= VALUE_BYTES_MAX;
}

static bool name_plain(struct str name)
{
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-')) {
            return false;
        }
    }
    return name.len > sizeof META - 1;
}

/** Goes as a header of its own. */
static bool attr_plain(const struct store_attr *attr)
{
    int64_t time_ms = 0;
    if (!value_plain(attr->value)) {
        return false;
    }
    if (is_system(attr->name)) {
        return !str_eq(attr->value, STR(NO_TYPE)) &&
               (!str_eq(attr->name, STR("expires")) || time_parse_http(attr->value, &time_ms));
    }
    return str_starts(attr->name, STR(META)) && !str_starts(attr->name, STR(OURS)) &&
           name_plain(attr->name);
}

static enum status rest_add(struct s3_write *write, const struct store_attrs *rest,
                            struct http_header *header, struct err *err)
{
    AUTO(buf_done) struct buf packed, text;
    buf_init(&packed, ATTRS_PACKED_MAX);
    buf_init(&text, 2 * ATTRS_PACKED_MAX);
    TRY(attrs_pack(rest, &packed, err));
    if (base64_append(&text, packed.ptr, packed.len) != OK) {
        return err_no_memory(err);
    }
    *header = (struct http_header){ STR(PACKED), arena_str(write->attrs_arena, buf_str(&text)) };
    return header->value.ptr != NULL ? OK : err_no_memory(err);
}

enum status s3_write_attrs(struct s3_write *write, struct str packed, struct arena *arena,
                           struct err *err)
{
    struct store_attrs attrs;
    TRY(attrs_unpack(packed, arena, &attrs, err));
    struct http_header *headers = arena_array(arena, attrs.count + 2, sizeof *headers);
    struct store_attr *rest = arena_array(arena, attrs.count + 1, sizeof *rest);
    size_t count = 0, rest_count = 0, meta = WRITE_ID_BYTES;
    bool typed = false;
    if (headers == NULL || rest == NULL) {
        return err_no_memory(err);
    }
    write->attrs_arena = arena;
    for (size_t i = 0; i < attrs.count; i++) {
        if (!attr_plain(&attrs.items[i])) {
            rest[rest_count++] = attrs.items[i];
            continue;
        }
        headers[count++] = (struct http_header){ attrs.items[i].name, attrs.items[i].value };
        typed = typed || str_eq(attrs.items[i].name, STR("content-type"));
    }
    if (rest_count > 0) {
        TRY(rest_add(write, &(struct store_attrs){ rest, rest_count }, &headers[count++], err));
    }
    for (size_t i = 0; i < count; i++) {
        if (str_starts(headers[i].name, STR(META))) {
            meta += headers[i].name.len - (sizeof META - 1) + headers[i].value.len;
        }
    }
    if (meta > META_BYTES_MAX) {
        return err_set(err, E_TOO_LARGE,
                       "object \"%.*s\": its attributes take %zu bytes of metadata, at most %d are "
                       "allowed in a bucket",
                       STR_ARG(write->key), meta - WRITE_ID_BYTES, META_BYTES_MAX - WRITE_ID_BYTES);
    }
    if (!typed) {
        headers[count++] = (struct http_header){ STR("content-type"), STR(NO_TYPE) };
    }
    write->attrs = headers;
    write->attr_count = count;
    return OK;
}

/* --- back --- */

static enum status rest_take(struct str text, struct store_attr *items, size_t *count,
                             struct arena *arena, struct err *err)
{
    struct store_attrs rest;
    AUTO(buf_done) struct buf packed;
    buf_init(&packed, ATTRS_PACKED_MAX);
    enum status status = base64_decode(text, &packed);
    if (status == E_NO_MEMORY) {
        return err_no_memory(err);
    }
    if (status != OK || !attrs_packed_valid(buf_str(&packed))) {
        return err_set(err, E_CORRUPT, "the metadata %s are not what was written", PACKED);
    }
    TRY(attrs_unpack(buf_str(&packed), arena, &rest, err));
    for (size_t i = 0; i < rest.count && *count < STORE_ATTRS_MAX; i++) {
        items[(*count)++] = rest.items[i];
    }
    return OK;
}

/** .ptr NULL without memory. */
static struct str lower(struct str name, struct arena *arena)
{
    char *text = arena_cstr(arena, name);
    for (size_t i = 0; text != NULL && i < name.len; i++) {
        text[i] = (char)(text[i] >= 'A' && text[i] <= 'Z' ? text[i] - 'A' + 'a' : text[i]);
    }
    return str_from(text, name.len);
}

enum status s3_attrs_read(const struct http_answer *answer, struct buf *out, struct err *err)
{
    struct arena arena;
    enum status status = OK;
    size_t count = 0;
    arena_init(&arena, 0);
    struct store_attr *items = arena_array(&arena, STORE_ATTRS_MAX, sizeof *items);
    status = items != NULL ? OK : err_no_memory(err);
    for (size_t i = 0; status == OK && i < answer->headers.count && count < STORE_ATTRS_MAX; i++) {
        struct str value = answer->headers.items[i].value;
        struct str name = lower(answer->headers.items[i].name, &arena);
        if (name.ptr == NULL) {
            status = err_no_memory(err);
        } else if (str_eq(name, STR(PACKED))) {
            status = rest_take(value, items, &count, &arena, err);
        } else if (is_system(name) ? value.len > 0 && !str_eq(value, STR(NO_TYPE))
                                   : str_starts(name, STR(META)) && !str_starts(name, STR(OURS))) {
            items[count++] = (struct store_attr){ name, value };
        }
    }
    if (status == OK) {
        status = attrs_pack(&(struct store_attrs){ items, count }, out, err);
    }
    arena_done(&arena);
    return status;
}
