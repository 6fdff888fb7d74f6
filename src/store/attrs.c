/*
 * Attributes to bytes and back; attrs.h has the format.
 */
#include "store/attrs.h"

#include <stdlib.h>

#include "base/mem.h"

enum { HEAD_BYTES = 4 };

static size_t length_get(const char *at)
{
    const unsigned char *bytes = (const unsigned char *)at;
    return (size_t)bytes[0] | (size_t)bytes[1] << 8;
}

/** Takes the next one off `rest`; false when it is none. */
static bool next_attr(struct str *rest, struct store_attr *out)
{
    if (rest->len < HEAD_BYTES) {
        return false;
    }
    size_t name = length_get(rest->ptr), value = length_get(rest->ptr + 2);
    if (name == 0 || name + value > rest->len - HEAD_BYTES) {
        return false;
    }
    out->name = str_from(rest->ptr + HEAD_BYTES, name);
    out->value = str_from(rest->ptr + HEAD_BYTES + name, value);
    *rest = str_skip(*rest, HEAD_BYTES + name + value);
    return true;
}

/** False when it is not valid. */
static bool packed_count(struct str packed, size_t *count_out)
{
    struct str rest = packed, before = STR_EMPTY;
    size_t count = 0, bytes = 0;
    while (rest.len > 0) {
        struct store_attr attr;
        if (!next_attr(&rest, &attr) || (count > 0 && str_cmp(before, attr.name) >= 0)) {
            return false;
        }
        before = attr.name;
        bytes += attr.name.len + attr.value.len;
        count++;
    }
    *count_out = count;
    return count <= STORE_ATTRS_MAX && bytes <= STORE_ATTRS_BYTES_MAX;
}

bool attrs_packed_valid(struct str packed)
{
    size_t count = 0;
    return packed_count(packed, &count);
}

/* --- pack --- */

static int attr_compare(const void *a, const void *b)
{
    return str_cmp((*(const struct store_attr *const *)a)->name,
                   (*(const struct store_attr *const *)b)->name);
}

static enum status limits_check(const struct store_attrs *attrs, struct err *err)
{
    size_t bytes = 0;
    if (attrs->count > STORE_ATTRS_MAX) {
        return err_set(err, E_TOO_LARGE, "%zu attributes, at most %d are allowed", attrs->count,
                       STORE_ATTRS_MAX);
    }
    for (size_t i = 0; i < attrs->count; i++) {
        if (attrs->items[i].name.len == 0) {
            return err_set(err, E_INVALID, "the name of an attribute is empty");
        }
        if (!size_add(bytes, attrs->items[i].name.len, &bytes) ||
            !size_add(bytes, attrs->items[i].value.len, &bytes) || bytes > STORE_ATTRS_BYTES_MAX) {
            return err_set(err, E_TOO_LARGE, "the attributes have more than %d bytes",
                           STORE_ATTRS_BYTES_MAX);
        }
    }
    return OK;
}

static enum status attr_append(struct buf *out, const struct store_attr *attr, struct err *err)
{
    const char head[HEAD_BYTES] = { (char)(attr->name.len & 255), (char)(attr->name.len >> 8),
                                    (char)(attr->value.len & 255), (char)(attr->value.len >> 8) };
    if (buf_append(out, str_from(head, HEAD_BYTES)) != OK || buf_append(out, attr->name) != OK ||
        buf_append(out, attr->value) != OK) {
        return err_no_memory(err);
    }
    return OK;
}

enum status attrs_pack(const struct store_attrs *attrs, struct buf *out, struct err *err)
{
    const struct store_attr *sorted[STORE_ATTRS_MAX];
    if (attrs == NULL || attrs->count == 0) {
        return OK;
    }
    TRY(limits_check(attrs, err));
    for (size_t i = 0; i < attrs->count; i++) {
        sorted[i] = &attrs->items[i];
    }
    qsort(sorted, attrs->count, sizeof *sorted, attr_compare);
    size_t len_before = out->len;
    for (size_t i = 0; i < attrs->count; i++) {
        enum status status = OK;
        if (i > 0 && str_eq(sorted[i - 1]->name, sorted[i]->name)) {
            status = err_set(err, E_INVALID, "attribute \"%.*s\" is there twice",
                             STR_ARG(sorted[i]->name));
        } else {
            status = attr_append(out, sorted[i], err);
        }
        if (status != OK) {
            out->len = len_before;
            return status;
        }
    }
    return OK;
}

/* --- unpack --- */

static void items_fill(struct str packed, struct store_attr *items)
{
    struct str rest = packed;
    for (size_t i = 0; rest.len > 0 && next_attr(&rest, &items[i]); i++) {
    }
}

enum status attrs_unpack(struct str packed, struct arena *arena, struct store_attrs *out,
                         struct err *err)
{
    size_t count = 0;
    bool valid = packed_count(packed, &count);
    assert(valid);
    struct store_attr *items = arena_array(arena, count + 1, sizeof *items);
    struct str copy = arena_str(arena, packed);
    if (items == NULL || copy.ptr == NULL) {
        return err_no_memory(err);
    }
    items_fill(copy, items);
    *out = (struct store_attrs){ items, count };
    return OK;
}

enum status attrs_unpack_block(struct str packed, struct store_attrs *out, void **block_out,
                               struct err *err)
{
    size_t count = 0;
    bool valid = packed_count(packed, &count);
    assert(valid);
    *out = (struct store_attrs){ NULL, 0 };
    *block_out = NULL;
    if (count == 0) {
        return OK;
    }
    struct store_attr *items = mem_alloc(count * sizeof *items + packed.len);
    if (items == NULL) {
        return err_no_memory(err);
    }
    char *text = (char *)(items + count);
    memcpy(text, packed.ptr, packed.len);
    items_fill(str_from(text, packed.len), items);
    *out = (struct store_attrs){ items, count };
    *block_out = items;
    return OK;
}
