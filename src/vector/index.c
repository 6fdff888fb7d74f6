/*
 * An index as its users see it: birth, adding, and the care of its graph.
 */
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "vector/pages.h"
#include "vector/vec_priv.h"

enum {
    /* that a codec is trained on: more changed nothing that was seen */
    SAMPLE_ROWS_MAX = 8192,
    SAMPLE_FLOATS_MAX = 8 << 20, /* so that training stays below two seconds at any dimension */
};

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
    filled.m = or_default(opts->m, 32);
    filled.ef_construction = or_default(opts->ef_construction, 200);
    filled.graph_min = or_default(opts->graph_min, 5000);
    TRY(opts_check(&filled, err));
    const struct simd *simd = NULL;
    TRY(simd_choose(opts->isa, &simd, err));
    struct vec_index *index = mem_zalloc(sizeof(*index));
    if (index == NULL) {
        return err_no_memory(err);
    }
    index->opts = filled;
    index->simd = simd;
    index->shape = row_shape(filled.dimension);
    index->degree = (2 * filled.m + 15) / 16 * 16;
    atomic_init(&index->entry, NO_ENTRY);
    atomic_init(&index->epoch, 1);
    (void)pthread_mutex_init(&index->train, NULL);
    (void)pthread_mutex_init(&index->add, NULL);
    (void)pthread_rwlock_init(&index->grow, NULL);
    (void)pthread_mutex_init(&index->entry_lock, NULL);
    (void)pthread_mutex_init(&index->readers_lock, NULL);
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
    (void)pthread_mutex_destroy(&index->train);
    (void)pthread_mutex_destroy(&index->add);
    (void)pthread_rwlock_destroy(&index->grow);
    (void)pthread_mutex_destroy(&index->entry_lock);
    (void)pthread_mutex_destroy(&index->readers_lock);
    mem_free(index);
}

/* --- adding --- */

static void norm_room(struct vec_index *index, const float *values)
{
    float norm2 = 0;
    for (uint32_t i = 0; i < index->shape.dimension; i++) {
        norm2 += values[i] * values[i];
    }
    if (index->opts.metric == VEC_DOT && norm2 > index->norm2_max) {
        pthread_rwlock_wrlock(&index->grow);
        link_norm_raise(index, atomic_load_explicit(&index->view, memory_order_relaxed), norm2);
        pthread_rwlock_unlock(&index->grow);
    }
}

enum status vec_add(struct vec_index *index, const float *vector, uint32_t *slot_out,
                    struct err *err)
{
    float values[VEC_DIMENSION_MAX];
    const char *refused = row_refused(vector, index->shape.dimension, index->opts.metric);
    if (refused != NULL) {
        return err_set(err, E_INVALID, "the vector %s", refused);
    }
    row_normalise(&index->shape, index->opts.metric, vector, values);
    pthread_mutex_lock(&index->add);
    enum status status = view_room(index, err);
    if (status == OK) {
        norm_room(index, values);
        const struct view *view = atomic_load_explicit(&index->view, memory_order_relaxed);
        uint32_t slot = atomic_load_explicit(&index->count, memory_order_relaxed);
        row_write(&index->shape, values, view_row(index, view, slot));
        /* publishes the row to searches and to those who link */
        atomic_store_explicit(&index->count, slot + 1, memory_order_release);
        *slot_out = slot;
    }
    pthread_mutex_unlock(&index->add);
    return status;
}

enum status vec_get(struct vec_index *index, uint32_t slot, float *vector_out, struct err *err)
{
    float values[VEC_DIMENSION_MAX];
    pthread_mutex_lock(&index->add); /* the view stays */
    bool there = slot < atomic_load_explicit(&index->count, memory_order_relaxed);
    if (there) {
        const struct view *view = atomic_load_explicit(&index->view, memory_order_relaxed);
        row_read(&index->shape, view_row(index, view, slot), values);
        memcpy(vector_out, values, index->shape.dimension * sizeof(*values));
    }
    pthread_mutex_unlock(&index->add);
    return there ? OK : err_set(err, E_NOT_FOUND, "slot %u holds no vector", slot);
}

/* --- care --- */

static uint64_t now_us(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* A sample of the rows that are there, spread over all of them. */
static enum status sample_take(struct vec_index *index, float **out, size_t *n_out, struct err *err)
{
    uint32_t count = atomic_load_explicit(&index->count, memory_order_acquire);
    size_t max = SAMPLE_FLOATS_MAX / index->shape.padded;
    max = max < SAMPLE_ROWS_MAX ? max : SAMPLE_ROWS_MAX;
    size_t n = count < max ? count : max;
    float *sample = mem_alloc(n * index->shape.padded * sizeof(*sample));
    if (sample == NULL) {
        return err_no_memory(err);
    }
    pthread_rwlock_rdlock(&index->grow); /* the view stays */
    const struct view *view = atomic_load_explicit(&index->view, memory_order_relaxed);
    for (size_t i = 0; i < n; i++) {
        uint32_t slot = (uint32_t)((uint64_t)i * count / n);
        row_read(&index->shape, view_row(index, view, slot), sample + i * index->shape.padded);
    }
    pthread_rwlock_unlock(&index->grow);
    *out = sample;
    *n_out = n;
    return OK;
}

/* Searches and adds go on while the codec is found; adds wait while the graph's chunks are made. */
static enum status train(struct vec_index *index, struct err *err)
{
    float *sample = NULL;
    size_t n = 0;
    struct codec *codec = NULL;
    TRY(sample_take(index, &sample, &n, err));
    enum status status = codec_train(&index->shape, index->opts.metric, index->simd, sample, n,
                                     index->opts.seed, &codec, err);
    mem_free(sample);
    if (status != OK) {
        return status;
    }
    pthread_mutex_lock(&index->add);
    pthread_rwlock_wrlock(&index->grow);
    status = view_begin_graph(index, codec, err);
    pthread_rwlock_unlock(&index->grow);
    pthread_mutex_unlock(&index->add);
    if (status != OK) {
        codec_free(codec);
    }
    return status;
}

static enum status train_once(struct vec_index *index, struct err *err)
{
    pthread_mutex_lock(&index->train);
    const struct view *view = atomic_load_explicit(&index->view, memory_order_relaxed);
    enum status status = view->codec == NULL ? train(index, err) : OK;
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
    } while (!atomic_compare_exchange_weak_explicit(&index->claimed, &slot, slot + 1,
                                                    memory_order_relaxed, memory_order_relaxed));
    *slot_out = slot;
    return true;
}

/* Others may have claimed a slot before this one and not linked it yet. */
static void linked_advance(struct vec_index *index, const struct view *view)
{
    uint32_t linked = atomic_load_explicit(&index->linked, memory_order_relaxed);
    while (linked < atomic_load_explicit(&index->claimed, memory_order_relaxed) &&
           atomic_load_explicit(&view_node(view, linked)->linked, memory_order_acquire) != 0) {
        if (atomic_compare_exchange_weak_explicit(&index->linked, &linked, linked + 1,
                                                  memory_order_release, memory_order_relaxed)) {
            linked++;
        }
    }
}

/* False when there is nothing to be linked. */
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
    *more_out = status == OK && claim(index, &slot);
    if (*more_out) {
        link_slot(scratch, slot);
        atomic_store_explicit(&view_node(view, slot)->linked, 1, memory_order_release);
        linked_advance(index, view);
    }
    pthread_rwlock_unlock(&index->grow);
    return status;
}

enum status vec_maintain(struct vec_index *index, struct vec_scratch *scratch, uint64_t budget_us,
                         bool *left_out, struct err *err)
{
    uint64_t end = now_us() + budget_us;
    bool more = atomic_load_explicit(&index->count, memory_order_acquire) >= index->opts.graph_min;
    if (more) {
        TRY(train_once(index, err));
    }
    while (more && now_us() < end) {
        TRY(link_one(scratch, &more, err));
    }
    *left_out = more;
    return OK;
}

/* --- what is to be known --- */

void vec_stats(struct vec_index *index, struct vec_stats *out)
{
    *out = (struct vec_stats){ .count = atomic_load_explicit(&index->count, memory_order_acquire) };
    pthread_rwlock_rdlock(&index->grow);
    const struct view *view = atomic_load_explicit(&index->view, memory_order_relaxed);
    if (view->codec != NULL) {
        out->linked = atomic_load_explicit(&index->linked, memory_order_acquire);
        out->code_dimensions = view->codec->dimensions;
        out->code_bits = view->codec->bits;
        for (uint32_t slot = 0; slot < out->linked; slot++) {
            const uint32_t *links = view_links(index, view, slot);
            for (uint32_t i = 0; i < index->degree; i++) {
                if (__atomic_load_n(links + i, __ATOMIC_RELAXED) == NO_SLOT) {
                    break;
                }
                out->links++;
            }
        }
    }
    pthread_rwlock_unlock(&index->grow);
    out->memory_bytes = atomic_load_explicit(&index->memory_bytes, memory_order_relaxed);
}

/* A breadth-first search: `queue` holds what was met, `seen` a bit a slot. */
struct reach {
    uint32_t *queue;
    uint64_t *seen;
    uint32_t count;
};

static void reach_all(struct reach *reach, const uint32_t *links, uint32_t max)
{
    for (uint32_t i = 0; i < max && links[i] != NO_SLOT; i++) {
        uint64_t bit = (uint64_t)1 << (links[i] & 63);
        if ((reach->seen[links[i] >> 6] & bit) == 0) {
            reach->seen[links[i] >> 6] |= bit;
            reach->queue[reach->count++] = links[i];
        }
    }
}

enum status vec_unreachable(struct vec_index *index, uint64_t *count_out, struct err *err)
{
    const struct view *view = atomic_load_explicit(&index->view, memory_order_relaxed);
    uint32_t linked = atomic_load_explicit(&index->linked, memory_order_acquire);
    uint32_t entry = (uint32_t)atomic_load_explicit(&index->entry, memory_order_acquire);
    if (view->codec == NULL || linked == 0) {
        *count_out = 0;
        return OK;
    }
    struct reach reach = { .queue = mem_alloc((size_t)linked * sizeof(*reach.queue)),
                           .seen = mem_zalloc(((size_t)linked + 63) / 64 * sizeof(*reach.seen)) };
    enum status status = reach.queue == NULL || reach.seen == NULL ? err_no_memory(err) : OK;
    if (status == OK) {
        reach_all(&reach, (uint32_t[]){ entry }, 1);
        for (uint32_t i = 0; i < reach.count; i++) {
            uint32_t slot = reach.queue[i];
            reach_all(&reach, view_links(index, view, slot), index->degree);
            for (uint32_t level = 1; level <= view_node(view, slot)->level; level++) {
                reach_all(&reach, view_upper(index, view, slot, level), index->opts.m);
            }
        }
        *count_out = linked - reach.count;
    }
    mem_free(reach.queue);
    mem_free(reach.seen);
    return status;
}
