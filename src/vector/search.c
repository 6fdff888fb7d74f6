/*
 * A search: a walk on codes, or with a filter a scan of them, then the nearest of what was met
 * ranked by stored rows, in two steps where codes are of fewer dimensions. Rows that are not linked
 * are scanned, after the walk.
 */
#include <math.h>
#include <sched.h>

#include "vector/allowed.h"
#include "vector/centre.h"
#include "vector/check.h"
#include "vector/curve.h"
#include "vector/vec_priv.h"

enum {
    TRIES = 16,      /* writers that replace faster than a search runs could keep it for ever */
    EF_BLIND = 1000, /* the beam for a recall before anything was measured; chosen */
};

/* The distance of truncated codes is a lower bound but for rounding; this much of it is believed.
 * Chosen so that recall does not change (0.9 and 0.98 were tried as well). */
static const float BOUND_BELIEVED = 0.95F;
/* Of what codes leave of a query and a row, the part that neighbours have in common: the cosine
 * between the two, about. Chosen: 0.4 to 0.6 differ little (docs/benchmarks/vector.md). */
static const float REST_SHARED = 0.5F;

static enum status check(const struct vec_index *index, const float *query, uint32_t k, uint32_t ef,
                         float target, struct err *err)
{
    if (k < 1 || k > VEC_K_MAX) {
        return err_set(err, E_INVALID, "k is %u; expected 1 to %d", k, VEC_K_MAX);
    }
    if (ef > VEC_EF_MAX) {
        return err_set(err, E_INVALID, "ef is %u; expected at most %d", ef, VEC_EF_MAX);
    }
    if (target != 0 && !(target >= 0.9F && target <= 0.999F)) {
        return err_set(err, E_INVALID, "recall_target is %g; expected 0.9 to 0.999",
                       (double)target);
    }
    if (target != 0 && ef != 0) {
        return err_set(err, E_INVALID, "ef and recall_target exclude each other");
    }
    const char *refused = row_refused(query, index->shape.dimension, index->opts.metric);
    return refused == NULL ? OK : err_set(err, E_INVALID, "the query %s", refused);
}

/* Pinned, since the view was taken. */
static void prepare_row(const struct search *search, const struct view *view)
{
    struct vec_scratch *scratch = search->scratch;
    const struct vec_index *index = scratch->index;
    row_normalise(&index->shape, index->opts.metric, search->query, scratch->row.f);
    scratch->lacks = centre_query(index, view->centre, scratch->row.f);
    scratch->centre = centre_serial(view);
    row_query_prepare(&index->shape, &scratch->row);
}

static void prepare_query(const struct search *search)
{
    reader_pin(search->scratch);
    prepare_row(search, reader_view(search->scratch));
    reader_unpin(search->scratch);
}

/* Rows as they are by now. False when they are counted from elsewhere: begin anew. */
static bool rows_now(struct search *search)
{
    search->rows = reader_view(search->scratch);
    return centre_serial(search->rows) == centre_serial(search->view);
}

void search_code(struct vec_scratch *scratch, const struct codec *codec, bool walks)
{
    codec_project_query(codec, scratch->row.f, scratch->centred, scratch->steps,
                        scratch->projected);
    if (codec->rest && walks) {
        scratch->projected[codec->dimensions - 1] *= REST_SHARED;
    }
    codec_query(codec, scratch->projected, &scratch->code);
}

/* Where a walk begins; NO_SLOT when there is no graph left. The entry point may be taken out at
 * this moment: then there is another. False when that is newer than the search: begin anew. */
static bool descend(const struct search *search, uint32_t *from_out)
{
    struct vec_scratch *scratch = search->scratch;
    const struct vec_index *index = scratch->index;
    for (;;) {
        uint64_t entry = atomic_load_explicit(&index->entry, memory_order_acquire);
        *from_out = NO_SLOT;
        if (entry == NO_ENTRY) {
            return true;
        }
        if ((uint32_t)entry >= search->slots || reader_view(scratch) != search->view) {
            return false;
        }
        *from_out = graph_descend(index, search->view, &scratch->code, entry, 0, search->slots);
        if (isfinite(graph_distance(index, search->view, &scratch->code, *from_out))) {
            return true;
        }
        sched_yield();
    }
}

/* Fills scratch->beam. *again_out: begin anew; *found_out is false when a filter led it nowhere. */
static enum status walk(struct search *search, bool *again_out, bool *found_out, struct err *err)
{
    struct vec_scratch *scratch = search->scratch;
    uint32_t from = NO_SLOT;
    *found_out = true;
    *again_out = !descend(search, &from);
    if (*again_out || from == NO_SLOT) {
        return OK;
    }
    if (from == search->without) {
        from = link_at(view_links(scratch->index, search->view, from), 0);
        if (from >= search->slots) {
            return OK;
        }
    }
    if (search->without != NO_SLOT) {
        (void)bit_take(scratch->visited, search->without);
    }
    if (search->filter != NULL) {
        return filtered_walk(search, from, found_out, err);
    }
    float dist = graph_distance(scratch->index, search->view, &scratch->code, from);
    *again_out = !scratch->index->simd->beam_insert(&scratch->beam, dist, from);
    (void)bit_take(scratch->visited, from);
    if (!search->waits) {
        graph_walk(scratch, search->view, search->slots);
    }
    return OK;
}

/* --- ranking --- */

void search_prefetch(const struct search *search, uint32_t slot, size_t bytes)
{
    const struct vec_index *index = search->scratch->index;
    const uint8_t *row = view_row(index, search->rows, slot);
    for (size_t i = 0; i < bytes; i += LINE) {
        __builtin_prefetch(row + i);
    }
    __builtin_prefetch(row + bytes - 1); /* rows begin anywhere in a line */
    __builtin_prefetch(row + index->shape.bytes - sizeof(struct row_tail));
}

/* Distances are squared ones here, or twice minus the dot product: what codes tell as well. */
static float unit(const struct vec_index *index)
{
    return index->opts.metric == VEC_L2 ? 1 : 2;
}

static float rank_high(struct search *search, uint32_t slot)
{
    struct vec_scratch *scratch = search->scratch;
    const struct vec_index *index = scratch->index;
    float dist = row_distance8(&index->shape, index->opts.metric, index->simd,
                               view_row(index, search->rows, slot), &scratch->row);
    (void)index->simd->beam_insert(&scratch->best, dist, slot);
    search->died += isnan(dist);
    return dist;
}

/* By how much the high bytes, of row and query, may be wrong: three times what rounding that is
 * spread evenly makes of each dimension, summed as if they had nothing to do with each other. */
static float high_margin(const struct vec_scratch *scratch, struct row_tail tail)
{
    float row = 16 * tail.scale;
    float query = scratch->row.factor;
    return 2 * 3 * sqrtf((row * row * scratch->row.norm2 + query * query * tail.norm2) / 12);
}

float search_rank(struct search *search, uint32_t slot)
{
    struct vec_scratch *scratch = search->scratch;
    const struct vec_index *index = scratch->index;
    struct beam *best = &scratch->best;
    const uint8_t *row = view_row(index, search->rows, slot);
    if (best->count == best->cap && !index->shape.floats) {
        float high = row_distance8(&index->shape, index->opts.metric, index->simd, row,
                                   &scratch->row);
        high += index->opts.metric == VEC_DOT ? 0 : scratch->row.norm2;
        if (high - high_margin(scratch, row_tail(&index->shape, row)) >
            best->dist[best->count - 1]) {
            return high;
        }
    }
    float dist = unit(index) *
                 row_distance(&index->shape, index->opts.metric, index->simd, row, &scratch->row);
    (void)index->simd->beam_insert(best, dist, slot);
    search->died += isnan(dist);
    return dist;
}

bool search_bounded(const struct search *search)
{
    return search->view->codec->truncated && !search->view->codec->dot;
}

float search_reach(const struct search *search, float off)
{
    const struct vec_scratch *scratch = search->scratch;
    const struct beam *best = &scratch->best;
    if (best->count < best->cap) {
        return INFINITY;
    }
    float worst = best->dist[best->count - 1];
    float reach = worst - off;
    if (search_bounded(search)) {
        reach = fminf(reach, worst / BOUND_BELIEVED);
    }
    return reach - scratch->code.norm2;
}

/* By how much rows are farther than their codes tell. */
struct farther {
    double n, sum, sum2;
};

static void farther_take(struct farther *farther, double by)
{
    farther->n += 1;
    farther->sum += by;
    farther->sum2 += by * by;
}

/* At least: the mean less three deviations. */
static double farther_least(const struct farther *farther)
{
    double mean = farther->sum / farther->n;
    return mean - 3 * sqrt(fmax(farther->sum2 / farther->n - mean * mean, 0));
}

/*
 * From what the walk met, nearest first by code, to scratch->best by high bytes. When codes are
 * truncated, the first rows tell how far the others are at least: nobody behind one that would be
 * farther than the last of the best can be among them.
 */
static void rank_beam(struct search *search)
{
    const struct vec_scratch *scratch = search->scratch;
    const struct beam *beam = &scratch->beam;
    const struct beam *best = &scratch->best;
    size_t bytes = scratch->index->shape.padded;
    bool bounded = search_bounded(search);
    float norms = scratch->row.norm2 - scratch->code.norm2; /* neither distance has its own */
    struct farther farther = { 0 };
    enum { AHEAD = 4 };
    for (uint32_t i = 0; i < beam->count && i < AHEAD; i++) {
        search_prefetch(search, beam->slot[i] & ~BEAM_DONE, bytes);
    }
    for (uint32_t i = 0; i < beam->count; i++) {
        if (i + AHEAD < beam->count) {
            search_prefetch(search, beam->slot[i + AHEAD] & ~BEAM_DONE, bytes);
        }
        if (bounded && best->count == best->cap &&
            (double)beam->dist[i] + farther_least(&farther) >
                (double)best->dist[best->count - 1] + (double)norms) {
            break;
        }
        float high = rank_high(search, beam->slot[i] & ~BEAM_DONE);
        if (isfinite(high)) { /* it is there */
            farther_take(&farther, (double)(high + norms - beam->dist[i]));
        }
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

static uint32_t hits_take(const struct beam *order, float unit_of, float lacks,
                          struct vec_hit *hits)
{
    for (uint32_t i = 0; i < order->count; i++) {
        hits[i] = (struct vec_hit){ .slot = order->slot[i],
                                    .distance = order->dist[i] / unit_of + lacks };
    }
    return order->count;
}

static float rank_row(struct search *search, uint32_t slot)
{
    struct vec_scratch *scratch = search->scratch;
    const struct vec_index *index = scratch->index;
    float dist = row_distance(&index->shape, index->opts.metric, index->simd,
                              view_row(index, search->rows, slot), &scratch->row);
    (void)index->simd->beam_insert(&scratch->beam, dist, slot);
    search->died += isnan(dist);
    return dist;
}

/* From scratch->best to scratch->beam. */
static void rank_exact(struct search *search)
{
    struct vec_scratch *scratch = search->scratch;
    const struct beam *best = &scratch->best;
    beam_clear(&scratch->beam, search->k);
    for (uint32_t i = 0; i < best->count; i++) {
        search_prefetch(search, best->slot[i] & ~BEAM_DONE, scratch->index->shape.bytes);
    }
    for (uint32_t i = 0; i < best->count; i++) {
        (void)rank_row(search, best->slot[i] & ~BEAM_DONE);
    }
}

/* How many are ranked exactly: as many more as high bytes, or codes, put in a wrong order. */
static uint32_t rerank_count(const struct view *view, uint32_t k)
{
    bool coarse = view->codec != NULL && view->codec->bits == 4;
    return coarse ? 4 * k + 16 : k + (k < 16 ? 4 : k / 4);
}

/* --- what is not in the graph, or was not when the search began --- */

/* What became live since the search began is told at its end, so that who replaces a vector by
 * another slot is rather met twice than not at all. */
struct since {
    uint32_t slots;
    uint64_t reborn, gone;
};

static struct since since_now(const struct vec_index *index)
{
    struct since since;
    fence_reads(); /* behind what the walk has seen */
    since.gone = atomic_load_explicit(&index->gone.total, memory_order_acquire);
    since.reborn = atomic_load_explicit(&index->reborn.total, memory_order_acquire);
    since.slots = atomic_load_explicit(&index->count, memory_order_acquire);
    return since;
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

typedef float (*rank_fn)(struct search *search, uint32_t slot);

static void scan_one(struct search *search, uint32_t slot, rank_fn rank)
{
    const struct vec_index *index = search->scratch->index;
    if (!row_dead(&index->shape, view_row(index, search->rows, slot))) {
        (void)rank(search, slot);
    }
}

static void scan_rows(struct search *search, uint32_t from, uint32_t end, rank_fn rank)
{
    enum { SOME = 16 };
    struct allowed_walk walk;
    uint32_t slots[2][SOME];
    size_t bytes = search->scratch->index->shape.padded;
    allowed_begin(&walk, search->filter, from, end);
    size_t next = allowed_next(&walk, slots[0], SOME);
    for (size_t turn = 0; next > 0; turn ^= 1) {
        size_t n = next;
        next = allowed_next(&walk, slots[turn ^ 1], SOME);
        for (size_t i = 0; search->filter != NULL && i < next; i++) {
            search_prefetch(search, slots[turn ^ 1][i], bytes);
        }
        for (size_t i = 0; i < n; i++) {
            scan_one(search, slots[turn][i], rank);
        }
    }
}

static void scan_named(struct search *search, uint32_t slot, uint32_t slots, rank_fn rank)
{
    if (slot < slots && filter_has(search->filter, slot)) {
        scan_one(search, slot, rank);
    }
}

/* Where a node that was taken out during a walk would have led: nobody else may have, yet. */
static void scan_behind(struct search *search, uint32_t slot, uint32_t slots, rank_fn rank)
{
    const struct vec_index *index = search->scratch->index;
    const uint32_t *links = view_links(index, search->rows, slot);
    uint32_t count = links_count(links, index->degree);
    for (uint32_t i = 0; i < count; i++) {
        scan_named(search, link_at(links, i), slots, rank);
    }
}

static uint32_t log_at(const struct slot_log *log, uint64_t at)
{
    return atomic_load_explicit(&log->slots[at % LOG_MAX], memory_order_relaxed);
}

/* What became live in a part of the search's time. False when more happened than is remembered. */
static bool scan_since(struct search *search, const struct since *from, const struct since *to,
                       rank_fn rank)
{
    struct vec_index *index = search->scratch->index;
    bool walked = search->plan == VEC_PLAN_GRAPH;
    if (to->reborn - from->reborn > LOG_MAX || (walked && to->gone - from->gone > LOG_MAX)) {
        return false;
    }
    if (!rows_now(search)) {
        return false;
    }
    scan_rows(search, from->slots, to->slots, rank);
    for (uint64_t at = from->reborn; at < to->reborn; at++) {
        scan_named(search, log_at(&index->reborn, at), to->slots, rank);
    }
    for (uint64_t at = from->gone; walked && at < to->gone; at++) {
        scan_behind(search, log_at(&index->gone, at), to->slots, rank);
    }
    /* what was read must not have been overwritten meanwhile */
    fence_reads();
    uint64_t reborn = atomic_load_explicit(&index->reborn.total, memory_order_relaxed);
    uint64_t gone = atomic_load_explicit(&index->gone.total, memory_order_relaxed);
    return reborn - from->reborn < LOG_MAX && (!walked || gone - from->gone < LOG_MAX);
}

/*
 * What is not linked, then what became live meanwhile; as long as somebody is taken out meanwhile
 * as well, so that who came instead may be newer still. An old link may have led the walk to a slot
 * that is used again before it had a code, so that it is marked: what counts is whether it is among
 * the best. False when the search must begin anew.
 */
static bool scan_last(struct search *search, rank_fn rank, void (*finish)(struct search *search))
{
    enum { TURNS = 64 }; /* who writes faster than this reads could keep it for ever */
    struct vec_scratch *scratch = search->scratch;
    struct since from = { .slots = search->linked, .reborn = search->reborn, .gone = search->gone };
    struct since to = since_now(scratch->index);
    if (!rows_now(search)) {
        return false;
    }
    for (uint32_t i = 0; i < scratch->again_count; i++) {
        scan_named(search, scratch->again[i], to.slots, rank);
    }
    for (int turn = 0; turn < TURNS; turn++) {
        bool same = to.slots == from.slots && to.reborn == from.reborn && to.gone == from.gone;
        bool told = same || (!search->by_rank && scan_since(search, &from, &to, rank));
        finish(search);
        if (!told) {
            return false;
        }
        from = to;
        to = since_now(scratch->index);
        if (to.gone == search->gone || (to.slots == from.slots && to.reborn == from.reborn)) {
            break;
        }
    }
    return true;
}

/* --- the whole --- */

static enum vec_plan plan_of(const struct search *search)
{
    const struct vec_index *index = search->scratch->index;
    if (search->linked == 0) {
        return VEC_PLAN_SCAN_ROWS;
    }
    if (search->filter != NULL && index->plan_tried != 0) {
        return (enum vec_plan)(index->plan_tried - 1);
    }
    double scan = search->target ? filtered_scan_ns(search) : 0;
    if (search->target && (search->missed || search->filter == NULL) &&
        scan < (search->missed ? index->exact_ns : filtered_walk_ns(search->ef))) {
        return filtered_scan_plan(search);
    }
    return search->filter == NULL ? VEC_PLAN_GRAPH : filtered_plan(search);
}

static void search_begin(struct search *search)
{
    struct vec_scratch *scratch = search->scratch;
    struct vec_index *index = scratch->index;
    /* linked first: what is linked meanwhile is scanned; the view last: it holds what was told
     * before */
    search->linked = atomic_load_explicit(&index->linked, memory_order_acquire);
    search->reborn = atomic_load_explicit(&index->reborn.total, memory_order_acquire);
    search->gone = atomic_load_explicit(&index->gone.total, memory_order_acquire);
    again_take(scratch);
    search->slots = atomic_load_explicit(&index->count, memory_order_acquire);
    search->view = reader_view(scratch);
    search->rows = search->view;
    if (search->query != NULL && scratch->centre != centre_serial(search->view)) {
        prepare_row(search, search->view);
    }
    search->died = 0;
    search->by_rank = false;
    search->plan = plan_of(search);
}

/* What is linked: from a walk to scratch->beam, from a scan to scratch->best. */
static enum status find_linked(struct search *search, bool *again_out, struct err *err)
{
    struct vec_scratch *scratch = search->scratch;
    uint32_t best = rerank_count(search->view, search->k);
    uint32_t beam = search->ef > search->k ? search->ef : search->k;
    bool found = false;
    *again_out = false;
    if (search->plan != VEC_PLAN_SCAN_ROWS) {
        search_code(scratch, search->view->codec, search->plan == VEC_PLAN_GRAPH);
    }
    if (search->plan == VEC_PLAN_GRAPH) {
        TRY(scratch_ready(scratch, beam, best, search->slots, err));
        TRY(walk(search, again_out, &found, err));
        if (*again_out || found) {
            return OK;
        }
        search->plan = filtered_scan_plan(search);
        search_code(scratch, search->view->codec, false);
    }
    if (search->plan == VEC_PLAN_SCAN_CODES) {
        TRY(scratch_ready(scratch, filtered_beam(search), search->k, 0, err));
        return filtered_scan(search, err);
    }
    search->linked = 0; /* all of it is scanned as what is not linked */
    return scratch_ready(scratch, 1, search->k, 0, err);
}

/* Where the nearest are in the end. */
static const struct beam *search_result(const struct search *search)
{
    return search->plan == VEC_PLAN_GRAPH ? &search->scratch->beam : &search->scratch->best;
}

static void keep(struct search *search)
{
    (void)search;
}

/* scratch->beam to scratch->best. */
static void rank_walked(struct search *search)
{
    struct vec_scratch *scratch = search->scratch;
    struct since since = since_now(scratch->index);
    bool alone = since.slots == search->linked && scratch->again_count == 0 &&
                 since.reborn == search->reborn && since.gone == search->gone;
    search->by_rank = alone && !search->view->codec->truncated;
    search->rows = reader_view(scratch);
    if (search->by_rank) {
        rank_codes(scratch);
    } else {
        rank_beam(search);
    }
}

enum status search_front(struct search *search, bool *again_out, struct err *err)
{
    search_begin(search);
    search->waits = search->waits && search->plan == VEC_PLAN_GRAPH && search->filter == NULL;
    return find_linked(search, again_out, err);
}

/* Anew when what was read first is older than what was read last, or too many of those that were
 * met are gone. */
void search_back(struct search *search, bool *again_out)
{
    bool walked = search->plan == VEC_PLAN_GRAPH;
    if (walked) {
        rank_walked(search);
    }
    bool told = scan_last(search, walked ? rank_high : search_rank, walked ? rank_exact : keep);
    *again_out = !told || (search->died > 0 && search_result(search)->count < search->k);
}

static void report(const struct search *search, const struct vec_search_opts *opts)
{
    if (opts->report != NULL) {
        *opts->report = (struct vec_report){
            .plan = search->plan,
            .ef_used = search->plan != VEC_PLAN_GRAPH ? 0
                       : search->ef > search->k       ? search->ef
                                                      : search->k,
            .target_missed = search->missed && search->plan == VEC_PLAN_GRAPH,
        };
    }
}

/* The beam for a recall, or that there is none. */
static void target_begin(struct search *search, float recall)
{
    const struct vec_index *index = search->scratch->index;
    uint32_t most = 0;
    search->target = true;
    search->ef = curve_ef(index, search->k, recall, &most);
    search->missed = search->ef == 0;
    if (search->missed) {
        search->ef = most == 0 ? EF_BLIND : most;
    }
}

double search_scan_ns(struct vec_scratch *scratch)
{
    struct search search = { .scratch = scratch, .k = 10, .without = NO_SLOT };
    search_begin(&search);
    return filtered_scan_ns(&search);
}

enum status search_measure(struct vec_scratch *scratch, uint32_t k, uint32_t ef, uint32_t without,
                           const struct beam **nearest_out, struct err *err)
{
    struct search search = { .scratch = scratch, .k = k, .ef = ef, .without = without, .died = 0 };
    bool again = true;
    for (int tries = 0; again && tries < TRIES; tries++) {
        search_begin(&search);
        search.plan = ef == 0 ? VEC_PLAN_SCAN_CODES : VEC_PLAN_GRAPH;
        TRY(find_linked(&search, &again, err));
    }
    if (ef != 0) {
        rank_walked(&search);
        rank_exact(&search);
    }
    *nearest_out = search_result(&search);
    return OK;
}

enum status search_check(const struct vec_index *index, const float *query,
                         const struct vec_search_opts *opts, struct err *err)
{
    return check(index, query, opts->k == 0 ? 10 : opts->k, opts->ef, opts->recall_target, err);
}

enum status search_prepare(struct search *search, const float *query,
                           const struct vec_search_opts *opts, struct err *err)
{
    TRY(search_check(search->scratch->index, query, opts, err));
    search->filter = opts->filter;
    search->k = opts->k == 0 ? 10 : opts->k;
    search->ef = opts->ef == 0 ? VEC_EF_DEFAULT : opts->ef;
    search->without = NO_SLOT;
    search->query = query;
    prepare_query(search);
    if (opts->recall_target != 0) {
        target_begin(search, opts->recall_target);
    }
    return OK;
}

enum status search_run(struct search *search, struct err *err)
{
    bool again = true;
    enum status status = OK;
    search->waits = false;
    for (int tries = 0; status == OK && again && tries < TRIES; tries++) {
        reader_pin(search->scratch);
        status = search_front(search, &again, err);
        if (status == OK && !again) {
            search_back(search, &again);
        }
        reader_unpin(search->scratch);
    }
    return status;
}

uint32_t search_hits(const struct search *search, const struct vec_search_opts *opts,
                     struct vec_hit *hits_out)
{
    float unit_of = search->plan == VEC_PLAN_GRAPH ? 1 : unit(search->scratch->index);
    curve_ask(search->scratch);
    report(search, opts);
    return hits_take(search_result(search), unit_of, search->scratch->lacks, hits_out);
}

enum status vec_search(struct vec_index *index, struct vec_scratch *scratch, const float *query,
                       const struct vec_search_opts *opts, struct vec_hit *hits_out,
                       uint32_t *found_out, struct err *err)
{
    struct search search = { .scratch = scratch };
    TRY(search_prepare(&search, query, opts, err));
    TRY(search.filter != NULL || search.target
            ? check_all(index, err)
            : check_search(scratch, search.ef < search.k ? search.k : search.ef, err));
    TRY(search_run(&search, err));
    *found_out = search_hits(&search, opts, hits_out);
    return OK;
}

enum status vec_exact(struct vec_index *index, struct vec_scratch *scratch, const float *query,
                      const struct vec_search_opts *opts, struct vec_hit *hits_out,
                      uint32_t *found_out, struct err *err)
{
    struct search search = { .scratch = scratch,
                             .query = query,
                             .filter = opts->filter,
                             .k = opts->k == 0 ? 10 : opts->k,
                             .without = NO_SLOT };
    TRY(check(index, query, search.k, 0, 0, err));
    prepare_query(&search);
    enum status status = check_all(index, err);
    bool again = true;
    for (int tries = 0; status == OK && again && tries < TRIES; tries++) {
        reader_pin(scratch);
        search_begin(&search);
        search.plan = VEC_PLAN_SCAN_ROWS;
        status = scratch_ready(scratch, search.k, 1, 0, err);
        if (status == OK) {
            scan_rows(&search, 0, search.slots, rank_row);
            search.linked = search.slots;
            again = !scan_last(&search, rank_row, keep);
        }
        reader_unpin(scratch);
    }
    if (status == OK) {
        *found_out = hits_take(&scratch->beam, 1, scratch->lacks, hits_out);
        report(&search, opts);
    }
    return status;
}
