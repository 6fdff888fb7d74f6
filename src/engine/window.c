/*
 *      file   |#### read ####|.... window ....|        |
 *                             ^start     ^end
 */
#include "engine/window.h"

#include "base/mem.h"

enum { WINDOW_BYTES = 1024 * 1024 };

enum status window_fill(struct window *w, struct err *err)
{
    if (w->start > 0) {
        memmove(w->bytes, w->bytes + w->start, w->end - w->start);
        w->offset += w->start;
        w->end -= w->start;
        w->start = 0;
    }
    if (w->end == w->cap) {
        size_t cap = w->cap ? w->cap * 2 : WINDOW_BYTES;
        char *bytes = mem_realloc(w->bytes, cap);
        if (bytes == NULL) {
            return err_no_memory(err);
        }
        w->bytes = bytes;
        w->cap = cap;
    }
    size_t got;
    TRY(w->read(w->ctx, w->offset + w->end, w->bytes + w->end, w->cap - w->end, &got, err));
    w->end += got;
    w->at_end = got == 0;
    return OK;
}

void window_done(struct window *w)
{
    mem_free(w->bytes);
    w->bytes = NULL;
}
