/*
 * What is to be known of an index from outside.
 */
#include "base/mem.h"
#include "vector/check.h"
#include "vector/snapshot.h"

/* The ring of free slots is in the order of its epochs. */
static void held(struct vec_index *index, struct vec_stats *out)
{
    size_t bytes = 0;
    pthread_mutex_lock(&index->add);
    uint64_t oldest = epoch_oldest(index, &bytes);
    size_t below = 0;
    size_t above = index->freed_count;
    while (below < above) {
        size_t at = below + (above - below) / 2;
        if (index->freed[(index->freed_first + at) % index->freed_cap].epoch < oldest) {
            below = at + 1;
        } else {
            above = at;
        }
    }
    out->held_slots = index->freed_count - below;
    out->held_bytes = bytes;
    pthread_mutex_unlock(&index->add);
}

void vec_stats(struct vec_index *index, struct vec_stats *out)
{
    uint32_t slots = atomic_load_explicit(&index->count, memory_order_acquire);
    *out = (struct vec_stats){ .slots = slots };
    out->count = atomic_load_explicit(&index->live, memory_order_relaxed);
    out->linked = atomic_load_explicit(&index->nodes, memory_order_relaxed);
    held(index, out);
    pthread_rwlock_rdlock(&index->grow);
    const struct view *view = atomic_load_explicit(&index->view, memory_order_relaxed);
    if (view->codec != NULL) {
        out->code_dimensions = view->codec->dimensions;
        out->code_bits = view->codec->bits;
    }
    pthread_rwlock_unlock(&index->grow);
    out->memory_bytes = atomic_load_explicit(&index->memory_bytes, memory_order_relaxed);
    out->unchecked = atomic_load_explicit(&index->unchecked, memory_order_relaxed);
    pthread_mutex_lock(&index->trail_lock);
    out->snapshot_bytes = index->snapshot == NULL ? 0 : index->snapshot->image_bytes;
    pthread_mutex_unlock(&index->trail_lock);
}

/* A breadth-first search: `queue` holds what was met, `seen` a bit a slot. */
struct reach {
    uint32_t *queue;
    uint64_t *seen;
    uint32_t count;
};

static void reach_all(struct reach *reach, const struct view *view, const uint32_t *links,
                      uint32_t max)
{
    for (uint32_t i = 0; i < max && links[i] != NO_SLOT; i++) {
        if (is_linked(view, links[i]) && bit_take(reach->seen, links[i])) {
            reach->queue[reach->count++] = links[i];
        }
    }
}

enum status vec_unreachable(struct vec_index *index, uint64_t *count_out, struct err *err)
{
    struct vec_stats stats;
    TRY(check_all(index, err));
    vec_stats(index, &stats);
    pthread_rwlock_rdlock(&index->grow); /* the view stays */
    const struct view *view = atomic_load_explicit(&index->view, memory_order_relaxed);
    uint32_t slots = atomic_load_explicit(&index->count, memory_order_acquire);
    uint64_t entry = atomic_load_explicit(&index->entry, memory_order_acquire);
    if (view->codec == NULL || entry == NO_ENTRY) {
        *count_out = stats.linked;
        pthread_rwlock_unlock(&index->grow);
        return OK;
    }
    struct reach reach = { .queue = mem_alloc((size_t)slots * sizeof(*reach.queue)),
                           .seen = mem_zalloc(((size_t)slots + 63) / 64 * sizeof(*reach.seen)) };
    enum status status = reach.queue == NULL || reach.seen == NULL ? err_no_memory(err) : OK;
    if (status == OK) {
        reach_all(&reach, view, (uint32_t[]){ (uint32_t)entry }, 1);
        for (uint32_t i = 0; i < reach.count; i++) {
            uint32_t slot = reach.queue[i];
            reach_all(&reach, view, view_links(index, view, slot), index->degree);
            for (uint32_t level = 1; level <= view_node(view, slot)->level; level++) {
                reach_all(&reach, view, view_upper(index, view, slot, level), index->opts.m);
            }
        }
        *count_out = stats.linked - reach.count;
    }
    pthread_rwlock_unlock(&index->grow);
    mem_free(reach.queue);
    mem_free(reach.seen);
    return status;
}
