/*
 * A search: a walk on codes, then the nearest of what it met ranked by stored rows, in two steps
 * where codes are of fewer dimensions. Rows that are not linked are scanned.
 */
#include <math.h>
#include <sched.h>

#include "vector/vec_priv.h"

/* The distance of truncated codes is a lower bound but for rounding; this much of it is believed.
 * Chosen so that recall does not change (0.9 and 0.98 were tried as well). */
static const float BOUND_BELIEVED = 0.95F;

static enum status check(const struct vec_index *index, const float *query, uint32_t k, uint32_t ef,
                         struct err *err)
{
    if (k < 1 || k > VEC_K_MAX) {
        return err_set(err, E_INVALID, "k is %u; expected 1 to %d", k, VEC_K_MAX);
    }
    if (ef > VEC_EF_MAX) {
        return err_set(err, E_INVALID, "ef is %u; expected at most %d", ef, VEC_EF_MAX);
    }
    const char *refused = row_refused(query, index->shape.dimension, index->opts.metric);
    return refused == NULL ? OK : err_set(err, E_INVALID, "the query %s", refused);
}

static void prepare_row(struct vec_scratch *scratch, const float *query)
{
    const struct vec_index *index = scratch->index;
    row_normalise(&index->shape, index->opts.metric, query, scratch->row.f);
    row_query_prepare(&index->shape, &scratch->row);
}

/* Fills scratch->beam. The entry point may be taken out at this moment: then there is another.
 * False when that is newer than the search: begin anew. */
static bool walk(struct vec_scratch *scratch, const struct view *view, uint32_t slots)
{
    const struct vec_index *index = scratch->index;
    codec_project(view->codec, scratch->row.f, scratch->centred, scratch->projected);
    codec_query(view->codec, scratch->projected, &scratch->code);
    for (;;) {
        uint64_t entry = atomic_load_explicit(&index->entry, memory_order_acquire);
        if (entry == NO_ENTRY) {
            return true;
        }
        if ((uint32_t)entry >= slots || reader_view(scratch) != view) {
            return false;
        }
        uint32_t from = graph_descend(index, view, &scratch->code, entry, 0, slots);
        if (index->simd->beam_insert(&scratch->beam,
                                     graph_distance(index, view, &scratch->code, from), from)) {
            (void)bit_take(scratch->visited, from);
            break;
        }
        sched_yield();
    }
    graph_walk(scratch, view, slots);
    return true;
}

static void prefetch_row(const struct vec_index *index, const struct view *view, uint32_t slot,
                         size_t bytes)
{
    const uint8_t *row = view_row(index, view, slot);
    for (size_t i = 0; i < bytes; i += LINE) {
        __builtin_prefetch(row + i);
    }
}

/*
 * From what the walk met, nearest first by code, to scratch->best by high bytes. When codes are
 * truncated, nobody behind one whose lower bound is above the worst of the best can be among them.
 */
static void rank_high(struct vec_scratch *scratch, const struct view *view)
{
    const struct vec_index *index = scratch->index;
    const struct beam *beam = &scratch->beam;
    struct beam *best = &scratch->best;
    bool bounded = view->codec->truncated && !view->codec->dot;
    enum { AHEAD = 4 };
    for (uint32_t i = 0; i < beam->count && i < AHEAD; i++) {
        prefetch_row(index, view, beam->slot[i] & ~BEAM_DONE, index->shape.padded);
    }
    for (uint32_t i = 0; i < beam->count; i++) {
        if (i + AHEAD < beam->count) {
            prefetch_row(index, view, beam->slot[i + AHEAD] & ~BEAM_DONE, index->shape.padded);
        }
        if (bounded && best->count == best->cap &&
            (beam->dist[i] + scratch->code.norm2) * BOUND_BELIEVED >
                best->dist[best->count - 1] + scratch->row.norm2) {
            break;
        }
        uint32_t slot = beam->slot[i] & ~BEAM_DONE;
        float dist = row_distance8(&index->shape, index->opts.metric, index->simd,
                                   view_row(index, view, slot), &scratch->row);
        (void)index->simd->beam_insert(best, dist, slot);
    }
}

/* Codes of all dimensions are as good as the high bytes: the first of the beam are the best. */
static void rank_codes(struct vec_scratch *scratch)
{
    for (uint32_t i = 0; i < scratch->beam.count && i < scratch->best.cap; i++) {
        (void)scratch->index->simd->beam_insert(&scratch->best, (float)i,
                                                scratch->beam.slot[i] & ~BEAM_DONE);
    }
}

static void scan_high(struct vec_scratch *scratch, const struct view *view, uint32_t from,
                      uint32_t to)
{
    const struct vec_index *index = scratch->index;
    for (uint32_t slot = from; slot < to; slot++) {
        if (!bit_get(scratch->visited, slot) &&
            !row_dead(&index->shape, view_row(index, view, slot))) {
            float dist = row_distance8(&index->shape, index->opts.metric, index->simd,
                                       view_row(index, view, slot), &scratch->row);
            (void)index->simd->beam_insert(&scratch->best, dist, slot);
        }
    }
}

/* Before the walk: what is linked meanwhile is met by either. */
static void again_take(struct vec_scratch *scratch)
{
    struct vec_index *index = scratch->index;
    scratch->again_count = 0;
    for (size_t i = 0; i < AGAIN_MAX; i++) {
        uint32_t slot = atomic_load_explicit(&index->again[i], memory_order_acquire);
        if (slot != NO_SLOT) {
            scratch->again[scratch->again_count++] = slot & ~AGAIN_TAKEN;
        }
    }
}

/* An old link may have led the walk to such a slot before it had a code, so that it is marked: what
 * counts is whether it is among the best. */
static void scan_again(struct vec_scratch *scratch, const struct view *view, uint32_t slots)
{
    const struct vec_index *index = scratch->index;
    for (uint32_t i = 0; i < scratch->again_count; i++) {
        uint32_t slot = scratch->again[i];
        if (slot < slots && !row_dead(&index->shape, view_row(index, view, slot))) {
            float dist = row_distance8(&index->shape, index->opts.metric, index->simd,
                                       view_row(index, view, slot), &scratch->row);
            (void)index->simd->beam_insert(&scratch->best, dist, slot);
        }
    }
}

static uint32_t hits_take(const struct beam *order, struct vec_hit *hits)
{
    for (uint32_t i = 0; i < order->count; i++) {
        hits[i] = (struct vec_hit){ .slot = order->slot[i], .distance = order->dist[i] };
    }
    return order->count;
}

/* From scratch->best to the hits; scratch->beam is used. */
static uint32_t rank_exact(struct vec_scratch *scratch, const struct view *view, uint32_t k,
                           struct vec_hit *hits)
{
    const struct vec_index *index = scratch->index;
    const struct beam *best = &scratch->best;
    struct beam *order = &scratch->beam;
    size_t bytes = index->shape.bytes;
    beam_clear(order, k);
    for (uint32_t i = 0; i < best->count; i++) {
        prefetch_row(index, view, best->slot[i] & ~BEAM_DONE, bytes);
    }
    for (uint32_t i = 0; i < best->count; i++) {
        uint32_t slot = best->slot[i] & ~BEAM_DONE;
        float dist = row_distance(&index->shape, index->opts.metric, index->simd,
                                  view_row(index, view, slot), &scratch->row);
        (void)index->simd->beam_insert(order, dist, slot);
    }
    return hits_take(order, hits);
}

/* How many are ranked exactly: as many more as high bytes, or codes, put in a wrong order. */
static uint32_t rerank_count(const struct view *view, uint32_t k)
{
    bool coarse = view->codec != NULL && view->codec->bits == 4;
    return coarse ? 4 * k + 16 : k + (k < 16 ? 4 : k / 4);
}

/* *again_out: what was read first is older than what was read last. */
static enum status search_once(struct vec_scratch *scratch, uint32_t k, uint32_t ef,
                               struct vec_hit *hits_out, uint32_t *found_out, bool *again_out,
                               struct err *err)
{
    struct vec_index *index = scratch->index;
    reader_pin(scratch);
    /* linked first: what is linked meanwhile is scanned, and met only once; the view last: it
     * holds what was told before */
    uint32_t linked = atomic_load_explicit(&index->linked, memory_order_acquire);
    again_take(scratch);
    uint32_t slots = atomic_load_explicit(&index->count, memory_order_acquire);
    const struct view *view = reader_view(scratch);
    enum status status = scratch_ready(scratch, ef > k ? ef : k, rerank_count(view, k), slots, err);
    *again_out = status == OK && linked > 0 && !walk(scratch, view, slots);
    if (status == OK && !*again_out) {
        if (view->codec != NULL && !view->codec->truncated && linked == slots &&
            scratch->again_count == 0) {
            rank_codes(scratch);
        } else if (view->codec != NULL) {
            rank_high(scratch, view);
        }
        scan_high(scratch, view, linked, slots);
        scan_again(scratch, view, slots);
        *found_out = rank_exact(scratch, view, k, hits_out);
    }
    reader_unpin(scratch);
    return status;
}

enum status vec_search(struct vec_index *index, struct vec_scratch *scratch, const float *query,
                       const struct vec_search_opts *opts, struct vec_hit *hits_out,
                       uint32_t *found_out, struct err *err)
{
    uint32_t k = opts->k == 0 ? 10 : opts->k;
    uint32_t ef = opts->ef == 0 ? 64 : opts->ef;
    bool again = true;
    TRY(check(index, query, k, ef, err));
    prepare_row(scratch, query);
    while (again) {
        TRY(search_once(scratch, k, ef < k ? k : ef, hits_out, found_out, &again, err));
    }
    return OK;
}

enum status vec_exact(struct vec_index *index, struct vec_scratch *scratch, const float *query,
                      uint32_t k, struct vec_hit *hits_out, uint32_t *found_out, struct err *err)
{
    TRY(check(index, query, k, 0, err));
    reader_pin(scratch);
    uint32_t slots = atomic_load_explicit(&index->count, memory_order_acquire);
    const struct view *view = reader_view(scratch);
    enum status status = scratch_ready(scratch, k, 1, slots, err);
    if (status == OK) {
        prepare_row(scratch, query);
        for (uint32_t slot = 0; slot < slots; slot++) {
            if (row_dead(&index->shape, view_row(index, view, slot))) {
                continue;
            }
            float dist = row_distance(&index->shape, index->opts.metric, index->simd,
                                      view_row(index, view, slot), &scratch->row);
            (void)index->simd->beam_insert(&scratch->beam, dist, slot);
        }
        *found_out = hits_take(&scratch->beam, hits_out);
    }
    reader_unpin(scratch);
    return status;
}
