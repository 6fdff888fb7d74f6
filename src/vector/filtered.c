/*
 * Searches with a filter. Three ways, and an estimate of what each costs:
 *
 *   scan    the codes, or the rows, of all that is allowed, a block at a time. Where a code is a
 *           lower bound, each row is read that its code does not rule out, so this finds what a
 *           scan of rows finds.
 *   wide    a walk with a beam that is wider as fewer are allowed; those that are not leave at the
 *           end. When too few are left, it was led where few are allowed: wider, or the scan.
 *   sparse  only allowed nodes enter the beam. A node's neighbour that is not allowed leads on to
 *           its own (Patel et al., ACORN, arXiv:2403.04871, section 6.2). It begins also at some
 *           that are allowed. Where the query leads there must be about as many allowed as
 *           elsewhere, or else the scan.
 */
#include <math.h>

#include "vector/allowed.h"
#include "vector/vec_priv.h"

enum {
    SEEDS = 32,  /* chosen, not measured: a beam is 64 */
    SPARSE = 16, /* allowed neighbours of a node from which on the others are not followed */
    FOUND_MAX = 256,
    NEAR_MIN = 8, /* chosen: as many must be expected near, or a share says nothing */
    BEAM_MAX = 20000,
    SAMPLE = 16,
    GROUP = 32, /* codes that are on their way while the group before is computed */
};

/* --- what each way costs, in nanoseconds --- */

/* Of a node that is walked: measured on 60,000 x 784 and 331,000 x 100. */
static const double HOP_NS = 300, HOP_TWO_NS = 2500;
/* From so many on it is cheaper to walk among all and forget those that are not allowed. */
static const double WIDE_SHARE = 0.1;

static uint32_t beam_of(const struct search *search)
{
    return search->ef > search->k ? search->ef : search->k;
}

static double allowed_of(const struct search *search)
{
    if (search->filter == NULL) {
        return search->linked;
    }
    double allowed = (double)filter_count(search->filter);
    return allowed < search->linked ? allowed : search->linked;
}

static double rows_ns(const struct search *search, double rows)
{
    return rows * (10 + (double)search->scratch->index->shape.padded / 10);
}

static double codes_ns(const struct search *search, double codes)
{
    const struct codec *codec = search->view->codec;
    double project = codec->matrix == NULL ? 0 : (double)codec->padded * codec->width / 25;
    return project + codes * (2 + 3 * (double)codec->lines) + rows_ns(search, 2.0 * search->k + 16);
}

/* The cheaper of two scans. */
double filtered_scan_ns(const struct search *search)
{
    double allowed = allowed_of(search);
    double rows = rows_ns(search, allowed);
    double codes = codes_ns(search, allowed);
    return codes < rows ? codes : rows;
}

double filtered_walk_ns(uint32_t ef)
{
    return ef * HOP_NS;
}

enum vec_plan filtered_plan(const struct search *search)
{
    double allowed = allowed_of(search);
    double share = allowed / search->linked;
    if (share < WIDE_SHARE && search->target &&
        filtered_scan_ns(search) < search->scratch->index->exact_ns) {
        return filtered_scan_plan(search); /* what such a walk finds was not measured */
    }
    double walk = share >= WIDE_SHARE ? beam_of(search) / share * HOP_NS
                                      : (beam_of(search) + SEEDS) * HOP_TWO_NS;
    return walk < filtered_scan_ns(search) ? VEC_PLAN_GRAPH : filtered_scan_plan(search);
}

enum vec_plan filtered_scan_plan(const struct search *search)
{
    double allowed = allowed_of(search);
    return codes_ns(search, allowed) < rows_ns(search, allowed) ? VEC_PLAN_SCAN_CODES
                                                                : VEC_PLAN_SCAN_ROWS;
}

/* --- the scan --- */

uint32_t filtered_beam(const struct search *search)
{
    return search->k + (search_bounded(search) ? 16 : 64);
}

static void rows_of(const struct search *search, const uint32_t *slots, size_t n,
                    const uint8_t **out)
{
    for (size_t i = 0; i < n; i++) {
        out[i] = view_code(search->view, slots[i]);
        code_prefetch(search->view, out[i]);
    }
}

/* Distances of the next block of what is allowed, to scan_dist and scan_slot. */
static size_t scan_block(const struct search *search, struct allowed_walk *walk)
{
    struct vec_scratch *scratch = search->scratch;
    const struct vec_index *index = scratch->index;
    enum code_kind kind = search->view->codec->kind;
    const uint8_t *rows[2][GROUP];
    size_t n = allowed_next(walk, scratch->scan_slot, SCAN_BLOCK);
    size_t ahead = n < GROUP ? n : GROUP;
    rows_of(search, scratch->scan_slot, ahead, rows[0]);
    for (size_t i = 0, group = 0; i < n; i += GROUP, group ^= 1) {
        size_t here = ahead;
        size_t next = i + GROUP;
        ahead = next >= n ? 0 : n - next < GROUP ? n - next : GROUP;
        rows_of(search, scratch->scan_slot + next, ahead, rows[group ^ 1]);
        index->simd->distances[kind](&scratch->code, rows[group], here, scratch->scan_dist + i);
    }
    return n;
}

static void beam_take_block(struct search *search, size_t n)
{
    struct vec_scratch *scratch = search->scratch;
    struct beam *beam = &scratch->beam;
    for (size_t i = 0; i < n; i++) {
        if (beam->count < beam->cap || scratch->scan_dist[i] <= beam->dist[beam->count - 1]) {
            (void)scratch->index->simd->beam_insert(beam, scratch->scan_dist[i],
                                                    scratch->scan_slot[i]);
        }
    }
}

/* How much rows are farther than their codes tell, of those that were read. */
struct off {
    double sum, sum2;
    uint32_t n;
};

static void off_take(struct off *off, float row, float code)
{
    if (!isnan(row)) {
        double here = (double)(row - code);
        off->sum += here;
        off->sum2 += here * here;
        off->n++;
    }
}

/* At least: the mean less three deviations (chosen, not measured). Codes that are no lower bound
 * are nearer, in the beam, than those of others: there it is not the mean but none. */
static float off_least(const struct off *off, bool bounded)
{
    double mean = bounded && off->n > 0 ? off->sum / off->n : 0;
    double square = off->n == 0 ? 0 : off->sum2 / off->n - mean * mean;
    return (float)(mean - 3 * sqrt(fmax(square, 0)));
}

/* Of the beam, rows until their codes rule out the rest: true when they do. */
static bool rank_nearest(struct search *search, float *off_out)
{
    const struct vec_scratch *scratch = search->scratch;
    const struct beam *beam = &scratch->beam;
    bool bounded = search_bounded(search);
    struct off off = { 0 };
    for (uint32_t i = 0; i < beam->count; i++) {
        search_prefetch(search, beam->slot[i], scratch->index->shape.padded);
    }
    for (uint32_t i = 0; i < beam->count; i++) {
        if (bounded && beam->dist[i] > search_reach(search, 0)) {
            return true;
        }
        off_take(&off, search_rank(search, beam->slot[i]), beam->dist[i] + scratch->code.norm2);
    }
    *off_out = off_least(&off, bounded);
    return false;
}

/* Who is allowed may have to do with the query, such that those that are near by code are not near
 * by row: so a few of all are looked at as well. */
static float off_of_some(struct search *search, size_t n)
{
    const struct vec_scratch *scratch = search->scratch;
    struct off off = { 0 };
    for (size_t i = 0; i < SAMPLE; i++) {
        search_prefetch(search, scratch->scan_slot[i * n / SAMPLE], scratch->index->shape.padded);
    }
    for (size_t i = 0; i < SAMPLE; i++) {
        size_t at = i * n / SAMPLE;
        off_take(&off, search_rank(search, scratch->scan_slot[at]),
                 scratch->scan_dist[at] + scratch->code.norm2);
    }
    return off_least(&off, true);
}

/* Those behind the beam that their codes do not rule out. */
static void rank_rest(struct search *search, size_t n, float off)
{
    struct vec_scratch *scratch = search->scratch;
    float worst = scratch->beam.dist[scratch->beam.count - 1];
    if (search_bounded(search)) { /* up to as many the bound alone costs less */
        off = n < 8 * (size_t)SAMPLE ? 0 : fminf(off, off_of_some(search, n));
    }
    float reach = search_reach(search, off);
    for (size_t i = 0; i < n; i++) {
        if (scratch->scan_dist[i] >= worst && scratch->scan_dist[i] <= reach) {
            (void)search_rank(search, scratch->scan_slot[i]);
            reach = search_reach(search, off);
        }
    }
}

enum status filtered_scan(struct search *search, struct err *err)
{
    struct vec_scratch *scratch = search->scratch;
    struct allowed_walk walk;
    TRY(scratch_scan(scratch, err));
    uint32_t cap = scratch->beam.cap;
    allowed_begin(&walk, search->filter, 0, search->linked);
    for (size_t n = scan_block(search, &walk); n > 0; n = scan_block(search, &walk)) {
        float off = 0;
        beam_take_block(search, n);
        if (!rank_nearest(search, &off) && scratch->beam.count == cap) {
            rank_rest(search, n, off);
        }
        beam_clear(&scratch->beam, cap);
    }
    return OK;
}

/* --- the walk --- */

struct steps {
    const struct search *search;
    const struct vec_filter *bits;
    uint32_t found[FOUND_MAX];
    size_t count;
};

/* The node's neighbours that are allowed and were not met; the others to `between`. */
static size_t step(struct steps *steps, uint32_t node, uint32_t *between)
{
    const struct search *search = steps->search;
    const struct vec_index *index = search->scratch->index;
    const uint32_t *links = view_links(index, search->view, node);
    size_t others = 0;
    for (uint32_t i = 0; i < index->degree && steps->count < FOUND_MAX; i++) {
        uint32_t slot = link_at(links, i);
        if (slot == NO_SLOT) {
            break;
        }
        if (slot >= search->slots || bit_get(search->scratch->visited, slot)) {
            continue;
        }
        if (filter_has(steps->bits, slot)) {
            (void)bit_take(search->scratch->visited, slot);
            steps->found[steps->count++] = slot;
        } else if (between != NULL) {
            between[others++] = slot;
        }
    }
    return others;
}

/* What is found from a node, to the beam. */
static void steps_from(struct steps *steps, uint32_t node)
{
    const struct search *search = steps->search;
    struct vec_scratch *scratch = search->scratch;
    uint32_t between[LINKS_MAX];
    const uint8_t *rows[FOUND_MAX];
    float dist[FOUND_MAX];
    steps->count = 0;
    size_t others = step(steps, node, between);
    if (steps->count < SPARSE) {
        for (size_t i = 0; i < others; i++) {
            __builtin_prefetch(view_links(scratch->index, search->view, between[i]));
        }
        for (size_t i = 0; i < others && steps->count < FOUND_MAX; i++) {
            (void)bit_take(scratch->visited, between[i]); /* leads on once */
            (void)step(steps, between[i], NULL);
        }
    }
    if (steps->count == 0) {
        return;
    }
    rows_of(search, steps->found, steps->count, rows);
    scratch->index->simd->distances[search->view->codec->kind](&scratch->code, rows, steps->count,
                                                               dist);
    for (size_t i = 0; i < steps->count; i++) {
        (void)scratch->index->simd->beam_insert(&scratch->beam, dist[i], steps->found[i]);
    }
}

static void enter(const struct search *search, uint32_t slot)
{
    struct vec_scratch *scratch = search->scratch;
    if (bit_take(scratch->visited, slot)) {
        float dist = graph_distance(scratch->index, search->view, &scratch->code, slot);
        (void)scratch->index->simd->beam_insert(&scratch->beam, dist, slot);
    }
}

/* Some that are allowed, spread over all. */
static void seeds(const struct search *search)
{
    for (uint64_t i = 0; i < SEEDS; i++) {
        struct allowed_walk walk;
        uint32_t slot = 0;
        allowed_begin(&walk, search->filter, (uint32_t)(search->linked * i / SEEDS),
                      search->linked);
        if (allowed_next(&walk, &slot, 1) == 1) {
            enter(search, slot);
        }
    }
}

/* Only allowed nodes enter. */
static void walk_steps(const struct search *search, const struct vec_filter *bits, uint32_t from)
{
    struct beam *beam = &search->scratch->beam;
    struct steps steps = { .search = search, .bits = bits };
    seeds(search);
    if (filter_has(bits, from)) {
        enter(search, from);
    }
    steps_from(&steps, from);
    while (beam->next < beam->count) {
        steps_from(&steps, beam_take(beam));
    }
}

/* How many of the two hops around a node are allowed, against how many of all are: false when it
 * is so few that a walk from here, and from anywhere, would be led astray. */
static bool near_as_elsewhere(const struct search *search, const struct vec_filter *bits,
                              uint32_t from, double share)
{
    const struct vec_index *index = search->scratch->index;
    const uint32_t *links = view_links(index, search->view, from);
    uint32_t count = links_count(links, index->degree);
    double seen = 0;
    double allowed = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t node = link_at(links, i);
        const uint32_t *others = node < search->slots ? view_links(index, search->view, node)
                                                      : links;
        for (uint32_t j = 0; j < index->degree && link_at(others, j) != NO_SLOT; j++) {
            seen++;
            allowed += filter_has(bits, link_at(others, j));
        }
    }
    return seen * share >= NEAR_MIN && allowed >= seen * share / 3;
}

/* All nodes enter; those that are not allowed leave at the end. */
static void walk_wide(const struct search *search, const struct vec_filter *bits, uint32_t from)
{
    struct beam *beam = &search->scratch->beam;
    uint32_t kept = 0;
    enter(search, from);
    graph_walk(search->scratch, search->view, search->slots);
    for (uint32_t i = 0; i < beam->count; i++) {
        if (filter_has(bits, beam->slot[i] & ~BEAM_DONE)) {
            beam->slot[kept] = beam->slot[i];
            beam->dist[kept++] = beam->dist[i];
        }
    }
    beam->count = kept;
}

/* Wider until enough are found, as long as a scan costs more; false: scan. */
static enum status walk_widening(struct search *search, const struct vec_filter *bits,
                                 uint32_t from, double share, bool *found_out, struct err *err)
{
    struct vec_scratch *scratch = search->scratch;
    uint32_t least = beam_of(search);
    uint32_t best = scratch->best.cap;
    uint32_t beam = (uint32_t)(1.25 * least / share);
    *found_out = false;
    for (; !*found_out && beam < BEAM_MAX && beam * HOP_NS < filtered_scan_ns(search); beam *= 4) {
        TRY(scratch_ready(scratch, beam, best, search->slots, err));
        walk_wide(search, bits, from);
        uint32_t enough = least / 2 > search->k ? least / 2 : search->k;
        *found_out = scratch->beam.count >= enough;
    }
    return OK;
}

enum status filtered_walk(struct search *search, uint32_t from, bool *found_out, struct err *err)
{
    struct vec_scratch *scratch = search->scratch;
    struct vec_filter bits = { .bits = scratch->allow,
                               .word_count = ((uint64_t)search->slots + 63) / 64 };
    const struct vec_filter *filter = search->filter;
    double share = allowed_of(search) / search->linked;
    if (filter->bits != NULL) {
        bits = *filter;
    } else {
        TRY(scratch_allow(scratch, search->slots, err));
        bits.bits = scratch->allow;
        for (uint64_t i = 0; i < filter->slot_count && filter->slots[i] < search->slots; i++) {
            (void)bit_take(scratch->allow, filter->slots[i]);
        }
    }
    if (share >= WIDE_SHARE) {
        return walk_widening(search, &bits, from, share, found_out, err);
    }
    *found_out = near_as_elsewhere(search, &bits, from, share);
    if (*found_out) {
        walk_steps(search, &bits, from);
        *found_out = scratch->beam.count >= search->k;
    }
    return OK;
}
