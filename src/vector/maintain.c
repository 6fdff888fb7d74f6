/*
 * The care of an index: its codec is trained when there are enough vectors, and what was added is
 * linked, one at a time, by as many threads as call; then it is measured what searches find.
 */
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "vector/centre.h"
#include "vector/check.h"
#include "vector/curve.h"
#include "vector/vec_priv.h"

enum {
    /* that a codec is trained on: more changed nothing that was seen */
    SAMPLE_ROWS_MAX = 8192,
    SAMPLE_FLOATS_MAX = 8 << 20, /* so that training stays below two seconds at any dimension */
};

static uint64_t now_us(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

struct sample {
    float *values; /* [n][padded], and what follows */
    size_t n;
    const float *common; /* what rows are counted from; NULL: the origin */
    uint64_t centre;     /* its serial number */
};

/* Rows that are there, spread over all of them. */
static enum status sample_take(struct vec_index *index, struct sample *out, struct err *err)
{
    uint32_t count = atomic_load_explicit(&index->count, memory_order_acquire);
    size_t padded = index->shape.padded;
    size_t max = SAMPLE_FLOATS_MAX / padded;
    max = max < SAMPLE_ROWS_MAX ? max : SAMPLE_ROWS_MAX;
    size_t n = count < max ? count : max;
    float *sample = mem_alloc((n + 1) * padded * sizeof(*sample));
    if (sample == NULL) {
        return err_no_memory(err);
    }
    pthread_rwlock_rdlock(&index->grow); /* the view stays */
    const struct view *view = atomic_load_explicit(&index->view, memory_order_relaxed);
    *out = (struct sample){ .values = sample, .centre = centre_serial(view) };
    for (size_t i = 0; i < n; i++) {
        uint32_t slot = (uint32_t)((uint64_t)i * count / n);
        uint32_t end = (uint32_t)((uint64_t)(i + 1) * count / n);
        while (slot < end && row_dead(&index->shape, view_row(index, view, slot))) {
            slot++;
        }
        if (slot < end) { /* and it stays: grow keeps deletes out */
            row_read(&index->shape, view_row(index, view, slot), sample + out->n++ * padded);
        }
    }
    if (view->centre != NULL) {
        memcpy(sample + n * padded, view->centre->values, padded * sizeof(*sample));
        out->common = sample + n * padded;
    }
    pthread_rwlock_unlock(&index->grow);
    return OK;
}

/* Searches and adds go on while the codec is found; adds wait while the graph's chunks are made. */
static enum status train(struct vec_index *index, struct err *err)
{
    struct sample sample = { 0 };
    struct codec *codec = NULL;
    TRY(sample_take(index, &sample, err));
    if (sample.n == 0) { /* all were deleted meanwhile */
        mem_free(sample.values);
        return OK;
    }
    enum status status = codec_train(&index->shape, index->opts.metric, index->simd, sample.values,
                                     sample.n, sample.common, index->opts.seed, &codec, err);
    mem_free(sample.values);
    if (status != OK) {
        return status;
    }
    pthread_mutex_lock(&index->add);
    pthread_rwlock_wrlock(&index->grow);
    /* else rows are counted from elsewhere by now: the next sample is of those */
    bool same = centre_serial(atomic_load_explicit(&index->view, memory_order_relaxed)) ==
                sample.centre;
    status = same ? view_begin_graph(index, codec, err) : OK;
    pthread_rwlock_unlock(&index->grow);
    pthread_mutex_unlock(&index->add);
    if (status != OK || !same) {
        codec_free(codec);
    }
    return status;
}

static bool has_graph(struct vec_index *index)
{
    pthread_rwlock_rdlock(&index->grow); /* the view stays */
    bool has = atomic_load_explicit(&index->view, memory_order_relaxed)->codec != NULL;
    pthread_rwlock_unlock(&index->grow);
    return has;
}

static bool graph_due(struct vec_index *index)
{
    return atomic_load_explicit(&index->live, memory_order_relaxed) >= index->opts.graph_min;
}

static enum status train_once(struct vec_index *index, struct err *err)
{
    pthread_mutex_lock(&index->train);
    enum status status = has_graph(index) ? OK : train(index, err);
    pthread_mutex_unlock(&index->train);
    return status;
}

/* False when there is nothing to be claimed. */
static bool claim(struct vec_index *index, uint32_t *slot_out)
{
    uint32_t slot = atomic_load_explicit(&index->claimed, memory_order_relaxed);
    do {
        if (slot >= atomic_load_explicit(&index->count, memory_order_acquire)) {
            return false;
        }
    } while (!atomic_compare_exchange_weak(&index->claimed, &slot, slot + 1));
    *slot_out = slot;
    return true;
}

static bool is_waiting(const struct view *view, uint32_t slot)
{
    uint8_t state = atomic_load_explicit(&view_node(view, slot)->state, memory_order_acquire);
    return state == NODE_NEW || state == NODE_LINKING;
}

/* Others may have claimed a slot before this one and not linked it yet. */
static void linked_advance(struct vec_index *index, const struct view *view)
{
    uint32_t linked = atomic_load_explicit(&index->linked, memory_order_relaxed);
    while (linked < atomic_load_explicit(&index->claimed, memory_order_relaxed) &&
           !is_waiting(view, linked)) {
        if (atomic_compare_exchange_weak_explicit(&index->linked, &linked, linked + 1,
                                                  memory_order_release, memory_order_relaxed)) {
            linked++;
        }
    }
}

/* Unless somebody else is at it, or it is gone. */
static void link_claimed(struct vec_scratch *scratch, const struct view *view, uint32_t slot)
{
    struct node *node = view_node(view, slot);
    uint8_t state = NODE_NEW;
    trail_touch(view, TRAIL_GRAPH, slot);
    if (atomic_compare_exchange_strong(&node->state, &state, NODE_LINKING)) {
        link_slot(scratch, slot);
        atomic_store_explicit(&node->state, NODE_LINKED, memory_order_release);
        atomic_fetch_add_explicit(&scratch->index->nodes, 1, memory_order_relaxed);
        linked_advance(scratch->index, view);
    }
}

/* One of the slots that are used again; false when none is left that nobody links. */
static bool link_again(struct vec_scratch *scratch, const struct view *view)
{
    struct vec_index *index = scratch->index;
    for (size_t i = 0; i < AGAIN_MAX; i++) {
        uint32_t slot = atomic_load_explicit(&index->again[i], memory_order_relaxed);
        if (slot != NO_SLOT && (slot & AGAIN_TAKEN) == 0 &&
            atomic_compare_exchange_strong_explicit(&index->again[i], &slot, slot | AGAIN_TAKEN,
                                                    memory_order_acquire, memory_order_relaxed)) {
            link_claimed(scratch, view, slot);
            /* when another thread is at it, searches must find it here until that is done */
            bool waits = is_waiting(view, slot);
            atomic_store_explicit(&index->again[i], waits ? slot : NO_SLOT, memory_order_release);
            if (!waits) {
                return true;
            }
        }
    }
    return false;
}

/* *more_out is false when there is nothing to be linked. */
static enum status link_one(struct vec_scratch *scratch, bool *more_out, struct err *err)
{
    struct vec_index *index = scratch->index;
    uint32_t slot = 0;
    pthread_rwlock_rdlock(&index->grow);
    const struct view *view = atomic_load_explicit(&index->view, memory_order_relaxed);
    /* what could fail is done before a slot is claimed */
    enum status status = scratch_ready(
        scratch, index->opts.ef_construction, 1,
        atomic_load_explicit(&index->count, memory_order_acquire) + CHUNK_SLOTS, err);
    *more_out = status == OK && link_again(scratch, view);
    if (status == OK && !*more_out && claim(index, &slot)) {
        *more_out = true;
        link_claimed(scratch, view, slot);
        linked_advance(index, view); /* also past one that is gone */
    }
    pthread_rwlock_unlock(&index->grow);
    return status;
}

enum status vec_maintain(struct vec_index *index, struct vec_scratch *scratch, uint64_t budget_us,
                         bool *left_out, struct err *err)
{
    uint64_t start = now_us();
    if (atomic_load_explicit(&index->unchecked, memory_order_acquire)) {
        *left_out = true;
        bool done = false;
        while (!done) {
            TRY(check_some(index, &done, err));
            if (now_us() - start >= budget_us) {
                return OK;
            }
        }
    }
    bool more = has_graph(index);
    bool link = true;
    if (!more && graph_due(index)) {
        TRY(train_once(index, err));
        more = has_graph(index);
        if (!more) { /* rows changed meanwhile: another time */
            *left_out = graph_due(index);
            return OK;
        }
    }
    do {
        if (more) {
            TRY(link_one(scratch, &link, err));
            more = link;
        }
        if (!link) {
            TRY(curve_step(scratch, &more, err));
        }
    } while (more && now_us() - start < budget_us);
    *left_out = more;
    return OK;
}
