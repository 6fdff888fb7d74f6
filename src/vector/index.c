/*
 * An index as its users see it: birth, adding, taking out.
 */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "vector/centre.h"
#include "vector/check.h"
#include "vector/curve.h"
#include "vector/load.h"
#include "vector/pages.h"
#include "vector/vec_priv.h"

/* --- birth and death --- */

static uint32_t or_default(uint32_t value, uint32_t otherwise)
{
    return value == 0 ? otherwise : value;
}

static enum status opts_check(const struct vec_opts *opts, struct err *err)
{
    if (opts->dimension < 1 || opts->dimension > VEC_DIMENSION_MAX) {
        return err_set(err, E_INVALID, "dimension is %u; expected 1 to %d", opts->dimension,
                       VEC_DIMENSION_MAX);
    }
    if (opts->metric > VEC_DOT) {
        return err_set(err, E_INVALID, "there is no metric %d", (int)opts->metric);
    }
    if (opts->m < 4 || opts->m > M_MAX) {
        return err_set(err, E_INVALID, "m is %u; expected 4 to %d", opts->m, M_MAX);
    }
    if (opts->ef_construction < 32 || opts->ef_construction > 1000) {
        return err_set(err, E_INVALID, "ef_construction is %u; expected 32 to 1000",
                       opts->ef_construction);
    }
    return OK;
}

enum status vec_new(const struct vec_opts *opts, struct vec_index **out, struct err *err)
{
    struct vec_opts filled = *opts;
    bool fast = opts->preset == VEC_PRESET_FAST_BUILD;
    if (opts->preset > VEC_PRESET_FAST_BUILD) {
        return err_set(err, E_INVALID, "there is no preset %d", (int)opts->preset);
    }
    filled.m = or_default(opts->m, fast ? VEC_M_FAST_BUILD : VEC_M_DEFAULT);
    filled.ef_construction = or_default(opts->ef_construction, fast ? VEC_EF_CONSTRUCTION_FAST_BUILD
                                                                    : VEC_EF_CONSTRUCTION_DEFAULT);
    filled.graph_min = or_default(opts->graph_min, 5000);
    return index_new(&filled, out, err);
}

enum status index_new(const struct vec_opts *filled, struct vec_index **out, struct err *err)
{
    const struct simd *simd = NULL;
    TRY(opts_check(filled, err));
    TRY(simd_choose(filled->isa, &simd, err));
    struct vec_index *index = mem_zalloc(sizeof(*index));
    if (index == NULL) {
        return err_no_memory(err);
    }
    index->opts = *filled;
    index->simd = simd;
    index->exact_ns = 20e6; /* chosen, not measured */
    index->shape = row_shape(filled->dimension);
    index->row_bits = CHUNK_BITS;
    while ((index->shape.bytes << index->row_bits) > PIECE_BYTES_MAX) {
        index->row_bits--;
    }
    index->row_parts = CHUNK_SLOTS >> index->row_bits;
    index->degree = (2 * filled->m + 15) / 16 * 16;
    atomic_init(&index->entry, NO_ENTRY);
    atomic_init(&index->epoch, 1);
    for (size_t i = 0; i < AGAIN_MAX; i++) {
        atomic_init(&index->again[i], NO_SLOT);
    }
    (void)pthread_mutex_init(&index->train, NULL);
    (void)pthread_mutex_init(&index->add, NULL);
    pthread_rwlockattr_t attr; /* linking overlaps: else a delete would wait for all of it */
    (void)pthread_rwlockattr_init(&attr);
    (void)pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    (void)pthread_rwlock_init(&index->grow, &attr);
    (void)pthread_rwlockattr_destroy(&attr);
    (void)pthread_mutex_init(&index->entry_lock, NULL);
    (void)pthread_mutex_init(&index->readers_lock, NULL);
    (void)pthread_mutex_init(&index->trail_lock, NULL);
    enum status status = view_new(index, err);
    if (status != OK) {
        vec_free(index);
        return status;
    }
    *out = index;
    return OK;
}

void vec_free(struct vec_index *index)
{
    if (index == NULL) {
        return;
    }
    view_free_all(index);
    load_free(index->load);
    mem_free(index->codec_stored.crcs);
    mem_free(index->freed);
    mem_free(index->early);
    curves_free(atomic_load_explicit(&index->curves, memory_order_relaxed));
    (void)pthread_mutex_destroy(&index->train);
    (void)pthread_mutex_destroy(&index->add);
    (void)pthread_rwlock_destroy(&index->grow);
    (void)pthread_mutex_destroy(&index->entry_lock);
    (void)pthread_mutex_destroy(&index->readers_lock);
    (void)pthread_mutex_destroy(&index->trail_lock);
    mem_free(index);
}

/* --- slots --- */

enum { HELD_MAX = 65536 };

static bool has_graph(const struct vec_index *index)
{
    return atomic_load_explicit(&index->view, memory_order_relaxed)->codec != NULL;
}

/* Where a slot that is used again waits to be linked; NULL when all places are taken. Holds add. */
static _Atomic uint32_t *again_place(struct vec_index *index)
{
    for (size_t i = 0; i < AGAIN_MAX; i++) {
        if (atomic_load_explicit(&index->again[i], memory_order_relaxed) == NO_SLOT) {
            return &index->again[i];
        }
    }
    return NULL;
}

/* The oldest that is free, if no search may still read it. Holds add. */
static bool freed_take(struct vec_index *index, uint32_t *slot_out)
{
    if (index->freed_count == 0) {
        return false;
    }
    const struct freed *oldest = &index->freed[index->freed_first];
    if (!epoch_passed(index, oldest->epoch)) {
        return false;
    }
    *slot_out = oldest->slot;
    index->freed_changed = true;
    index->freed_first = (index->freed_first + 1) % index->freed_cap;
    index->freed_count--;
    return true;
}

/* Room for one more, so that a delete that has begun cannot fail. Holds add. */
static enum status freed_room(struct vec_index *index, struct err *err)
{
    if (index->freed_count < index->freed_cap) {
        return OK;
    }
    size_t cap = index->freed_cap == 0 ? 16 : 2 * index->freed_cap;
    struct freed *ring = mem_alloc(cap * sizeof(*ring));
    if (ring == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < index->freed_count; i++) {
        size_t at = index->freed_first + i;
        ring[i] = index->freed[at < index->freed_cap ? at : at - index->freed_cap];
    }
    mem_free(index->freed);
    index->freed = ring;
    index->freed_first = 0;
    index->freed_cap = cap;
    return OK;
}

static void freed_put(struct vec_index *index, uint32_t slot)
{
    size_t at = (index->freed_first + index->freed_count++) % index->freed_cap;
    index->freed_changed = true;
    index->freed[at] = (struct freed){ .epoch = epoch_advance(index), .slot = slot };
}

/* --- adding --- */

/* A longer vector than all before, where dot products are sought. Holds add. */
static enum status norm_room(struct vec_index *index, const float *values, struct err *err)
{
    float norm2 = 0;
    for (uint32_t i = 0; i < index->shape.dimension; i++) {
        norm2 += values[i] * values[i];
    }
    if (index->opts.metric == VEC_DOT && norm2 > index->norm2_max) {
        TRY(check_all(index, err));
        pthread_rwlock_wrlock(&index->grow);
        link_norm_raise(index, atomic_load_explicit(&index->view, memory_order_relaxed), norm2);
        pthread_rwlock_unlock(&index->grow);
    }
    return OK;
}

static void node_again(const struct vec_index *index, const struct view *view, uint32_t slot)
{
    struct node *node = view_node(view, slot);
    uint32_t *links = view_links(index, view, slot);
    trail_touch(view, TRAIL_GRAPH, slot);
    for (uint32_t i = 0; i < index->degree; i++) {
        link_set(links, i, NO_SLOT);
    }
    for (uint32_t level = node->level; level > 0; level--) {
        uint32_t *upper = view_upper(index, view, slot, level);
        for (uint32_t i = 0; i < index->opts.m; i++) {
            link_set(upper, i, NO_SLOT);
        }
    }
}

/* False when no slot can be used again now. */
static bool add_again(struct vec_index *index, const float *values, uint32_t *slot_out)
{
    const struct view *view = atomic_load_explicit(&index->view, memory_order_relaxed);
    bool graph = has_graph(index);
    _Atomic uint32_t *place = graph ? again_place(index) : NULL;
    if (atomic_load_explicit(&index->unchecked, memory_order_acquire)) {
        return false; /* what is there is read, and that it is as it was, before it is changed */
    }
    if ((graph && place == NULL) || !freed_take(index, slot_out)) {
        return false;
    }
    if (graph) {
        node_again(index, view, *slot_out);
    }
    trail_touch(view, TRAIL_ROW, *slot_out);
    row_write(&index->shape, values, view_row(index, view, *slot_out));
    if (graph) {
        /* Publishes the row and the node to who links it. Sequentially consistent, as is claiming:
         * either the slot was claimed, and waits in its place, or who claims it sees that it is
         * new. When both are so, one of them finds it taken. */
        atomic_store(&view_node(view, *slot_out)->state, NODE_NEW);
        if (*slot_out < atomic_load(&index->claimed)) {
            atomic_store_explicit(place, *slot_out, memory_order_release);
        }
    }
    log_put(&index->reborn, *slot_out);
    return true;
}

/* Slots that a search without an end keeps from being used again must not fill the memory. */
static bool held_back(struct vec_index *index)
{
    return index->freed_count > HELD_MAX + (size_t)atomic_load(&index->live) &&
           !epoch_passed(index, index->freed[index->freed_first].epoch);
}

static enum status add_behind(struct vec_index *index, const float *values, uint32_t *slot_out,
                              struct err *err)
{
    if (held_back(index)) {
        return err_set(err, E_UNAVAILABLE, "a search that does not end holds back %zu free slots",
                       index->freed_count);
    }
    TRY(view_room(index, err));
    const struct view *view = atomic_load_explicit(&index->view, memory_order_relaxed);
    uint32_t slot = atomic_load_explicit(&index->count, memory_order_relaxed);
    trail_touch(view, TRAIL_ROW, slot);
    row_write(&index->shape, values, view_row(index, view, slot));
    /* publishes the row to searches and to those who link */
    atomic_store_explicit(&index->count, slot + 1, memory_order_release);
    *slot_out = slot;
    return OK;
}

enum status vec_add(struct vec_index *index, const float *vector, uint32_t *slot_out,
                    struct err *err)
{
    float values[VEC_DIMENSION_MAX];
    uint32_t slot = 0;
    const char *refused = row_refused(vector, index->shape.dimension, index->opts.metric);
    if (refused != NULL) {
        return err_set(err, E_INVALID, "the vector %s", refused);
    }
    row_normalise(&index->shape, index->opts.metric, vector, values);
    pthread_mutex_lock(&index->add);
    enum status status = centre_before(index, values, err);
    if (status == OK) {
        centre_subtract(index, atomic_load_explicit(&index->view, memory_order_relaxed)->centre,
                        values);
        status = norm_room(index, values, err);
    }
    if (status == OK && !add_again(index, values, &slot)) {
        status = add_behind(index, values, &slot, err);
    }
    if (status == OK) {
        atomic_fetch_add_explicit(&index->live, 1, memory_order_relaxed);
        centre_after(index, slot, vector);
        *slot_out = slot;
    }
    pthread_mutex_unlock(&index->add);
    return status;
}

/* --- taking out --- */

/* A row that nobody has linked, or will. Holds add, and grow alone. */
static void again_drop(struct vec_index *index, uint32_t slot)
{
    for (size_t i = 0; i < AGAIN_MAX; i++) {
        if (atomic_load_explicit(&index->again[i], memory_order_relaxed) == slot) {
            atomic_store_explicit(&index->again[i], NO_SLOT, memory_order_relaxed);
        }
    }
}

static void take_out(struct vec_index *index, struct vec_scratch *scratch, uint32_t slot)
{
    const struct view *view = atomic_load_explicit(&index->view, memory_order_relaxed);
    log_put(&index->gone, slot); /* first: a walk that is not led on by it looks here */
    trail_touch(view, TRAIL_ROW, slot);
    row_kill(&index->shape, view_row(index, view, slot));
    if (view->codec != NULL) {
        struct node *node = view_node(view, slot);
        if (is_linked(view, slot)) {
            unlink_slot(scratch, slot);
            atomic_fetch_sub_explicit(&index->nodes, 1, memory_order_relaxed);
        } else {
            trail_touch(view, TRAIL_GRAPH, slot);
            again_drop(index, slot);
            atomic_store_explicit(&node->state, NODE_GONE, memory_order_relaxed);
            code_tail_set(view, slot, (struct code_tail){ NAN, NAN }); /* scans read all codes */
        }
    }
    freed_put(index, slot);
    atomic_fetch_sub_explicit(&index->live, 1, memory_order_relaxed);
}

static bool holds(struct vec_index *index, uint32_t slot)
{
    const struct view *view = atomic_load_explicit(&index->view, memory_order_relaxed);
    return slot < atomic_load_explicit(&index->count, memory_order_relaxed) &&
           !row_dead(&index->shape, view_row(index, view, slot));
}

enum status vec_delete(struct vec_index *index, struct vec_scratch *scratch, uint32_t slot,
                       struct err *err)
{
    TRY(check_all(index, err));
    pthread_mutex_lock(&index->add);
    enum status status = holds(index, slot)
                             ? freed_room(index, err)
                             : err_set(err, E_NOT_FOUND, "slot %u holds no vector", slot);
    if (status == OK) {
        status = scratch_ready(scratch, UNLINK_EF, UNLINK_EF,
                               atomic_load_explicit(&index->count, memory_order_relaxed), err);
    }
    if (status == OK) {
        pthread_rwlock_wrlock(&index->grow);
        take_out(index, scratch, slot);
        pthread_rwlock_unlock(&index->grow);
    }
    pthread_mutex_unlock(&index->add);
    return status;
}

enum status vec_get(struct vec_index *index, uint32_t slot, float *vector_out, struct err *err)
{
    float values[VEC_DIMENSION_MAX];
    TRY(check_row(index, slot, err));
    pthread_mutex_lock(&index->add); /* the view stays, and the row */
    bool there = holds(index, slot);
    if (there) {
        const struct view *view = atomic_load_explicit(&index->view, memory_order_relaxed);
        row_read(&index->shape, view_row(index, view, slot), values);
        centre_add(index, view->centre, values);
        memcpy(vector_out, values, index->shape.dimension * sizeof(*values));
    }
    pthread_mutex_unlock(&index->add);
    return there ? OK : err_set(err, E_NOT_FOUND, "slot %u holds no vector", slot);
}
