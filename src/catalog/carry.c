/*
 * Batches from pointer to pointer: an entry goes only after its marker was written, whoever makes
 * the next body and whatever for.
 */
#include "catalog/carry.h"

#include "catalog/batch.h"
#include "catalog/marks.h"

enum { UNMARKED_MAX = 1000 };

enum status carry_batches(struct local *local, const struct local_base *base, size_t extra,
                          struct arena *arena, struct pointer *next, struct err *err)
{
    const struct pointer *old = &base->pointer;
    size_t old_count = base->live ? old->batch_count : 0;
    next->batches = arena_array(arena, old_count + extra, sizeof(*next->batches));
    next->batch_count = 0;
    if (next->batches == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < old_count; i++) {
        if (marks_has(local->marks, old->table.uuid, &old->batches[i])) {
            continue;
        }
        /* others fail to write theirs: the pointer must not grow for ever */
        if (old_count > UNMARKED_MAX) {
            TRY(batch_write(local->store, old->table.uuid, &old->batches[i], err));
            marks_add(local->marks, old->table.uuid, &old->batches[i]);
            continue;
        }
        next->batches[next->batch_count++] = old->batches[i];
    }
    return OK;
}
