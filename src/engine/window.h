/*
 * A window that slides over a file from front to back, for scanners that need one record in memory
 * at a time. It grows while a record does not fit in it.
 */
#ifndef ENGINE_WINDOW_H
#define ENGINE_WINDOW_H

#include "base/str.h"

struct window {
    /** Bytes at `offset`; *got_out 0 only at the end of the file. */
    enum status (*read)(void *ctx, uint64_t offset, void *ptr, size_t len, size_t *got_out,
                        struct err *err);
    void *ctx;
    char *bytes; /* of the window; the rest is zero at first */
    size_t cap;
    size_t start, end; /* what is not yet consumed */
    uint64_t offset;   /* of bytes[0] in the file */
    bool at_end;       /* the file ends at `end` */
};

/** More bytes behind `end`; sets at_end when there are none. Moves what is not consumed. */
enum status window_fill(struct window *w, struct err *err) MUST_USE;
/** What is not yet consumed. */
static inline struct str window_rest(const struct window *w)
{
    return str_from(w->bytes + w->start, w->end - w->start);
}
void window_done(struct window *w);

#endif
