#include "vector/trail.h"

#include "vector/snapshot.h"

void trail_touch_first(struct vec_index *index, struct trail *trail, enum trail_kind kind,
                       uint32_t slot)
{
    uint32_t unit = (slot & (CHUNK_SLOTS - 1)) >> UNIT_BITS;
    pthread_mutex_lock(&index->trail_lock);
    if (!atomic_load_explicit(&trail->touched[kind][unit], memory_order_relaxed)) {
        if (index->snapshot != NULL) {
            snapshot_keep(index->snapshot, kind, slot);
        }
        atomic_store_explicit(&trail->touched[kind][unit], true, memory_order_release);
    }
    pthread_mutex_unlock(&index->trail_lock);
}
