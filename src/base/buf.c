/*
 * The growing buffer. Capacity doubles from 64 bytes and never passes the limit by more than the
 * one byte that buf_cstr needs for its NUL.
 */
#include "base/buf.h"

#include <stdio.h>

#include "base/mem.h"

enum { CAP_MIN = 64 };
static const size_t bytes_max_default = (size_t)1 << 30;

static enum status grow(struct buf *buf, size_t cap_needed);

void buf_init(struct buf *buf, size_t bytes_max)
{
    *buf = (struct buf){ .max = bytes_max > 0 ? bytes_max : bytes_max_default };
}

void buf_done(struct buf *buf)
{
    mem_free(buf->ptr);
    *buf = (struct buf){ .max = buf->max };
}

enum status buf_append(struct buf *buf, struct str s)
{
    return buf_append_bytes(buf, s.ptr, s.len);
}

enum status buf_append_bytes(struct buf *buf, const void *ptr, size_t len)
{
    if (len == 0) {
        return OK;
    }
    if (len > buf->max - buf->len) {
        return E_TOO_LARGE;
    }
    TRY(grow(buf, buf->len + len));
    memcpy(buf->ptr + buf->len, ptr, len);
    buf->len += len;
    return OK;
}

enum status buf_append_char(struct buf *buf, char c)
{
    return buf_append_bytes(buf, &c, 1);
}

enum status buf_printf(struct buf *buf, const char *fmt, ...)
{
    size_t room = buf->cap - buf->len;
    va_list args;
    va_start(args, fmt);
    int printed = vsnprintf(room > 0 ? buf->ptr + buf->len : NULL, room, fmt, args);
    va_end(args);
    if (printed < 0) {
        return E_INTERNAL;
    }
    size_t len = (size_t)printed;
    if (len > buf->max - buf->len) {
        return E_TOO_LARGE;
    }
    if (len >= room) {
        TRY(grow(buf, buf->len + len + 1)); /* vsnprintf writes a NUL as well */
        va_start(args, fmt);
        vsnprintf(buf->ptr + buf->len, len + 1, fmt, args);
        va_end(args);
    }
    buf->len += len;
    return OK;
}

char *buf_reserve(struct buf *buf, size_t len)
{
    if (len > buf->max - buf->len || grow(buf, buf->len + len) != OK) {
        return NULL;
    }
    return buf->ptr + buf->len;
}

void buf_consume(struct buf *buf, size_t len)
{
    assert(len <= buf->len);
    if (len > 0 && len < buf->len) {
        memmove(buf->ptr, buf->ptr + len, buf->len - len);
    }
    buf->len -= len;
}

const char *buf_cstr(struct buf *buf)
{
    if (grow(buf, buf->len + 1) != OK) {
        return NULL;
    }
    buf->ptr[buf->len] = '\0';
    return buf->ptr;
}

/** Capacity for `cap_needed` bytes at least; callers have checked it against the limit. */
static enum status grow(struct buf *buf, size_t cap_needed)
{
    if (cap_needed <= buf->cap && buf->ptr != NULL) {
        return OK;
    }
    size_t cap = buf->cap < CAP_MIN ? CAP_MIN : buf->cap;
    while (cap < cap_needed) {
        cap = cap > SIZE_MAX / 2 ? cap_needed : cap * 2;
    }
    if (cap > buf->max && cap_needed <= buf->max) {
        cap = buf->max;
    } else if (cap > buf->max) {
        cap = cap_needed;
    }
    char *ptr = mem_realloc(buf->ptr, cap);
    if (ptr == NULL) {
        return E_NO_MEMORY;
    }
    buf->ptr = ptr;
    buf->cap = cap;
    return OK;
}
