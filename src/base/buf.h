/*
 * A growing byte buffer with a limit. What is appended to is put back as it was on failure.
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include "base/str.h"

#ifdef __cplusplus
extern "C" {
#endif

struct buf {
    char *ptr; /* NULL until the first append; not NUL-terminated, see buf_cstr */
    size_t len;
    size_t cap;
    size_t max; /* appending past it is E_TOO_LARGE */
};

/** bytes_max 0 means 1 GiB. Nothing is allocated yet. */
void buf_init(struct buf *buf, size_t bytes_max);
/** Frees; the buffer is then as after init with the same limit. */
void buf_done(struct buf *buf);
static inline void buf_clear(struct buf *buf)
{
    buf->len = 0;
}
static inline struct str buf_str(const struct buf *buf)
{
    return (struct str){ buf->ptr, buf->len };
}

enum status buf_append(struct buf *buf, struct str s) MUST_USE;
enum status buf_append_bytes(struct buf *buf, const void *ptr, size_t len) MUST_USE;
enum status buf_append_char(struct buf *buf, char c) MUST_USE;
enum status buf_printf(struct buf *buf, const char *fmt, ...) PRINTF_LIKE(2, 3) MUST_USE;
/**
 * Room for `len` more bytes; returns where they go, NULL on failure. Then buf->len += what was
 * written.
 */
char *buf_reserve(struct buf *buf, size_t len) MUST_USE;
/** Drop `len` bytes from the front. */
void buf_consume(struct buf *buf, size_t len);
/** The content followed by a NUL that does not count; NULL when there is no memory. */
const char *buf_cstr(struct buf *buf);

#ifdef __cplusplus
}
#endif

#endif
