/*
 * A unit is right when its checksums are, and when no number in it leads anywhere it must not. That
 * anchors are a tree, and that upper layers fit, is seen when all units were.
 */
#include "vector/check.h"

#include <math.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/mem.h"
#include "vector/load.h"

struct place {
    struct vec_index *index;
    const struct view *view;
    uint32_t chunk, unit;
};

static enum status damaged(const struct place *at, enum trail_kind kind, const char *what,
                           struct err *err)
{
    static const enum piece_kind kinds[TRAIL_KINDS] = { PIECE_ROWS, PIECE_CODES, PIECE_GRAPH };
    const struct manifest *manifest = &at->index->load->manifest;
    uint32_t first = at->unit << UNIT_BITS;
    struct piece piece = { .kind = kinds[kind],
                           .chunk = at->chunk,
                           .part = kind == TRAIL_ROW ? first >> manifest->row_bits : 0 };
    return err_set(err, E_CORRUPT, "chunk %u of the vector index is damaged: %s of slots from %u",
                   manifest_number(manifest, piece), what, at->chunk * CHUNK_SLOTS + first);
}

/* --- units --- */

static bool sum_right(const void *bytes, size_t len, const struct stored *stored, uint32_t block)
{
    return !stored->in_place || crc32c(0, bytes, len) == stored->crcs[block];
}

static enum status check_rows(const struct place *at, uint32_t first, uint32_t count,
                              struct err *err)
{
    const struct vec_index *index = at->index;
    const struct stored *stored = &at->view->trails[at->chunk]
                                       ->rows[(first & (CHUNK_SLOTS - 1)) >> index->row_bits];
    uint32_t mask = ((uint32_t)1 << index->row_bits) - 1;
    if (!sum_right(view_row(index, at->view, first), count * index->shape.bytes, stored,
                   (first & mask) >> UNIT_BITS)) {
        return damaged(at, TRAIL_ROW, "rows", err);
    }
    for (uint32_t slot = first; slot < first + count; slot++) {
        const uint8_t *row = view_row(index, at->view, slot);
        bool dead = row_dead(&index->shape, row);
        if (dead != bit_get(index->load->dead, slot)) {
            return damaged(at, TRAIL_ROW, "rows that are there and should not be, or the reverse,",
                           err);
        }
        if (!dead && !row_possible(&index->shape, row)) {
            return damaged(at, TRAIL_ROW, "numbers that cannot be", err);
        }
    }
    return OK;
}

static enum status check_codes(const struct place *at, uint32_t first, uint32_t count,
                               struct err *err)
{
    size_t bytes = (size_t)at->view->codec->lines * LINE;
    if (!sum_right(view_code(at->view, first), count * bytes, &at->view->trails[at->chunk]->code,
                   at->unit)) {
        return damaged(at, TRAIL_CODE, "codes", err);
    }
    for (uint32_t slot = first; slot < first + count; slot++) {
        struct code_tail tail = code_tail_get(at->view, slot);
        bool met = isfinite(tail.norm2) && isfinite(tail.scale);
        if (met != is_linked(at->view, slot)) {
            return damaged(at, TRAIL_CODE, "codes without a node, or the reverse,", err);
        }
        if (met && !codec_possible(at->view->codec, view_code(at->view, slot), tail)) {
            return damaged(at, TRAIL_CODE, "numbers that cannot be", err);
        }
    }
    return OK;
}

/* Slots that there are, behind them nothing. */
static bool links_right(const uint32_t *links, uint32_t max, uint32_t slots)
{
    uint32_t n = 0;
    while (n < max && links[n] != NO_SLOT) {
        if (links[n++] >= slots) {
            return false;
        }
    }
    while (n < max && links[n] == NO_SLOT) {
        n++;
    }
    return n == max;
}

static bool node_right(const struct place *at, uint32_t slot, uint32_t *upper)
{
    const struct vec_index *index = at->index;
    const struct manifest *manifest = &index->load->manifest;
    const struct node *node = view_node(at->view, slot);
    uint8_t state = atomic_load_explicit(&node->state, memory_order_relaxed);
    uint32_t anchor = anchor_of(at->view, slot);
    bool dead = bit_get(index->load->dead, slot);
    bool follows = *upper == NO_SLOT || node->upper == *upper;
    *upper = node->upper + node->level;
    return (state == NODE_GONE) == dead && (state == NODE_NEW || state == NODE_LINKED || dead) &&
           atomic_load_explicit(&node->lock, memory_order_relaxed) == 0 &&
           node->level < LEVELS_MAX && follows && node->upper >= manifest->upper_first[at->chunk] &&
           *upper <= manifest->upper_first[at->chunk + 1] &&
           (anchor == NO_SLOT || anchor < manifest->state.count) &&
           links_right(view_links(index, at->view, slot), index->degree, manifest->state.count);
}

static enum status check_graph(const struct place *at, uint32_t first, uint32_t count,
                               struct err *err)
{
    const struct vec_index *index = at->index;
    const struct stored *stored = &at->view->trails[at->chunk]->graph;
    uint32_t slots = manifest_slots(&index->load->manifest, at->chunk);
    uint32_t blocks = (slots + UNIT_SLOTS - 1) / UNIT_SLOTS;
    uint32_t upper = NO_SLOT;
    if (!sum_right(view_links(index, at->view, first), count * index->degree * sizeof(uint32_t),
                   stored, at->unit)) {
        return damaged(at, TRAIL_GRAPH, "links", err);
    }
    if (!sum_right(view_node(at->view, first), count * sizeof(struct node), stored,
                   blocks + at->unit)) {
        return damaged(at, TRAIL_GRAPH, "nodes", err);
    }
    for (uint32_t slot = first; slot < first + count; slot++) {
        if (!node_right(at, slot, &upper)) {
            return damaged(at, TRAIL_GRAPH, "a node that cannot be", err);
        }
    }
    return OK;
}

/* Holds load->lock. Codes are seen beside nodes. */
static enum status unit_check(const struct place *at, enum trail_kind kind, struct err *err)
{
    struct trail *trail = at->view->trails[at->chunk];
    uint32_t slots = at->index->load->manifest.state.count;
    uint32_t first = at->chunk * CHUNK_SLOTS + (at->unit << UNIT_BITS);
    uint32_t count = first >= slots ? 0 : slots - first < UNIT_SLOTS ? slots - first : UNIT_SLOTS;
    bool there = count > 0 && (kind == TRAIL_ROW || at->view->codec != NULL);
    if (atomic_load_explicit(&trail->checked[kind][at->unit], memory_order_relaxed) || !there ||
        at->index->load->dead == NULL) {
        return OK;
    }
    if (kind == TRAIL_ROW) {
        TRY(check_rows(at, first, count, err));
    } else if (kind == TRAIL_GRAPH) {
        TRY(check_graph(at, first, count, err));
    } else {
        TRY(unit_check(at, TRAIL_GRAPH, err));
        TRY(check_codes(at, first, count, err));
    }
    atomic_store_explicit(&trail->checked[kind][at->unit], true, memory_order_release);
    return OK;
}

/* For who reads that of a slot next. */
static enum status need(struct vec_index *index, const struct view *view, enum trail_kind kind,
                        uint32_t slot, struct err *err)
{
    struct place at = { .index = index,
                        .view = view,
                        .chunk = slot >> CHUNK_BITS,
                        .unit = (slot & (CHUNK_SLOTS - 1)) >> UNIT_BITS };
    if (slot >= index->load->manifest.state.count ||
        atomic_load_explicit(&view->trails[at.chunk]->checked[kind][at.unit],
                             memory_order_acquire)) {
        return OK;
    }
    pthread_mutex_lock(&index->load->lock);
    enum status status = unit_check(&at, kind, err);
    pthread_mutex_unlock(&index->load->lock);
    return status;
}

/* --- the whole; all units were checked --- */

static enum status whole_wrong(const char *what, struct err *err)
{
    return err_set(err, E_CORRUPT, "the vector index is damaged: %s", what);
}

/* Nodes follow each other, are as many as was said, and upper links lead to nodes as high. */
static enum status check_nodes(const struct vec_index *index, const struct view *view,
                               struct err *err)
{
    const struct state *state = &index->load->manifest.state;
    uint32_t upper = 0;
    uint32_t linked = 0;
    uint32_t again = 0;
    uint32_t early = 0; /* where nodes will stand when gaps are closed, and not one of them */
    for (uint32_t slot = 0; slot < state->count; slot++) {
        const struct node *node = view_node(view, slot);
        if (node->upper != upper) {
            return whole_wrong("upper layers do not follow each other", err);
        }
        upper += node->level;
        linked += is_linked(view, slot);
        bool new = atomic_load_explicit(&node->state, memory_order_relaxed) == NODE_NEW;
        again += slot < state->linked && new;
        early += slot < state->nodes && new;
        for (uint32_t level = 1; level <= node->level; level++) {
            const uint32_t *links = view_upper(index, view, slot, level);
            if (!links_right(links, index->opts.m, state->count)) {
                return whole_wrong("an upper link leads nowhere", err);
            }
            for (uint32_t i = 0; i < links_count(links, index->opts.m); i++) {
                if (view_node(view, links[i])->level < level) {
                    return whole_wrong("an upper link leads too low", err);
                }
            }
        }
    }
    for (uint32_t i = 0; i < state->again_count; i++) {
        const struct node *node = view_node(view, state->again[i]);
        again -= atomic_load_explicit(&node->state, memory_order_relaxed) == NODE_NEW;
    }
    return upper == state->upper_used && linked == state->nodes && again == 0 && early <= AGAIN_MAX
               ? OK
               : whole_wrong("it has another number of nodes", err);
}

/* From each node anchors lead to the root. `done` has a bit a slot. */
static enum status check_anchors(const struct vec_index *index, const struct view *view,
                                 uint64_t *done, struct err *err)
{
    const struct state *state = &index->load->manifest.state;
    (void)bit_take(done, state->root);
    for (uint32_t slot = 0; slot < state->count; slot++) {
        uint32_t steps = 0;
        uint32_t at = slot;
        if (!is_linked(view, slot)) {
            continue;
        }
        while (!bit_get(done, at)) {
            at = anchor_of(view, at);
            if (at == NO_SLOT || !is_linked(view, at) || steps++ > state->count) {
                return whole_wrong("anchors are no tree", err);
            }
        }
        for (at = slot; bit_take(done, at);) {
            at = anchor_of(view, at);
        }
    }
    return OK;
}

/* The entry point holds the root of the anchors: itself, or, when all its links are its children's,
 * one of those below it. */
static bool entry_holds_root(const struct state *state, const struct view *view)
{
    uint32_t entry = (uint32_t)state->entry;
    uint32_t at = anchor_of(view, state->root);
    if (entry == state->root) {
        return at == NO_SLOT;
    }
    for (uint32_t steps = 0; at != entry; steps++) {
        if (at == NO_SLOT || at == state->root || !is_linked(view, at) || steps > state->count) {
            return false;
        }
        at = anchor_of(view, at);
    }
    return true;
}

static enum status check_entry(const struct vec_index *index, const struct view *view,
                               struct err *err)
{
    const struct state *state = &index->load->manifest.state;
    uint32_t slot = (uint32_t)state->entry;
    return is_linked(view, slot) && view_node(view, slot)->level == state->entry >> 32 &&
                   is_linked(view, state->root) && entry_holds_root(state, view)
               ? OK
               : whole_wrong("its entry point is none", err);
}

static enum status check_whole(struct vec_index *index, const struct view *view, struct err *err)
{
    const struct state *state = &index->load->manifest.state;
    if (view->codec == NULL) {
        return OK;
    }
    TRY(check_nodes(index, view, err));
    if (state->nodes == 0) {
        return OK;
    }
    TRY(check_entry(index, view, err));
    uint64_t *done = mem_zalloc(((size_t)state->count + 63) / 64 * sizeof(*done));
    if (done == NULL) {
        return err_no_memory(err);
    }
    enum status status = check_anchors(index, view, done, err);
    mem_free(done);
    return status;
}

static void next(struct load *load)
{
    if (++load->unit == UNITS) {
        load->unit = 0;
        if (++load->kind == TRAIL_KINDS) {
            load->kind = 0;
            load->chunk++;
        }
    }
}

/* Holds load->lock and a view. */
static enum status some(struct vec_index *index, const struct view *view, bool *done_out,
                        struct err *err)
{
    struct load *load = index->load;
    *done_out = load->dead == NULL;
    if (*done_out) {
        return OK;
    }
    if (load->chunk < load->manifest.chunks) {
        struct place at = {
            .index = index, .view = view, .chunk = load->chunk, .unit = load->unit
        };
        TRY(unit_check(&at, (enum trail_kind)load->kind, err));
        next(load);
        return OK;
    }
    TRY(check_whole(index, view, err));
    mem_free(load->dead);
    load->dead = NULL;
    *done_out = true;
    atomic_store_explicit(&index->unchecked, false, memory_order_release);
    return OK;
}

enum status check_some(struct vec_index *index, bool *done_out, struct err *err)
{
    pthread_rwlock_rdlock(&index->grow); /* the view stays */
    pthread_mutex_lock(&index->load->lock);
    enum status status = some(index, atomic_load_explicit(&index->view, memory_order_relaxed),
                              done_out, err);
    pthread_mutex_unlock(&index->load->lock);
    pthread_rwlock_unlock(&index->grow);
    return status;
}

enum status check_all(struct vec_index *index, struct err *err)
{
    bool done = !atomic_load_explicit(&index->unchecked, memory_order_acquire);
    while (!done) {
        TRY(check_some(index, &done, err));
    }
    return OK;
}

enum status check_row(struct vec_index *index, uint32_t slot, struct err *err)
{
    if (!atomic_load_explicit(&index->unchecked, memory_order_acquire)) {
        return OK;
    }
    pthread_rwlock_rdlock(&index->grow);
    enum status status = need(index, atomic_load_explicit(&index->view, memory_order_relaxed),
                              TRAIL_ROW, slot, err);
    pthread_rwlock_unlock(&index->grow);
    return status;
}

/* --- the way of a search --- */

/* A node that is gone to: its code, and its level. */
static enum status need_node(struct vec_scratch *scratch, const struct view *view, uint32_t slot,
                             uint32_t level, float *dist_out, struct err *err)
{
    TRY(need(scratch->index, view, TRAIL_CODE, slot, err));
    if (view_node(view, slot)->level < level) {
        return whole_wrong("an upper link leads too low", err);
    }
    *dist_out = graph_distance(scratch->index, view, &scratch->code, slot);
    return OK;
}

static enum status descend(struct vec_scratch *scratch, const struct view *view, uint64_t entry,
                           uint32_t *slot_out, float *dist_out, struct err *err)
{
    const struct vec_index *index = scratch->index;
    uint32_t slots = index->load->manifest.state.count;
    uint32_t best = (uint32_t)entry;
    float best_dist = 0;
    TRY(need_node(scratch, view, best, (uint32_t)(entry >> 32), &best_dist, err));
    for (uint32_t level = (uint32_t)(entry >> 32); level > 0; level--) {
        for (uint32_t from = NO_SLOT; from != best;) {
            from = best;
            const uint32_t *links = view_upper(index, view, from, level);
            for (uint32_t i = 0; i < index->opts.m && link_at(links, i) != NO_SLOT; i++) {
                float dist = 0;
                if (link_at(links, i) >= slots) {
                    return whole_wrong("an upper link leads nowhere", err);
                }
                TRY(need_node(scratch, view, link_at(links, i), level, &dist, err));
                if (dist < best_dist) {
                    best_dist = dist;
                    best = link_at(links, i);
                }
            }
        }
    }
    *slot_out = best;
    *dist_out = best_dist;
    return OK;
}

/* What a node leads to. */
struct met {
    uint32_t count;
    uint32_t slots[LINKS_MAX];
    float dist[LINKS_MAX];
};

static enum status meet(struct vec_scratch *scratch, const struct view *view, uint32_t node,
                        uint32_t slots, struct met *out, struct err *err)
{
    const uint32_t *links = view_links(scratch->index, view, node);
    for (uint32_t i = 0; i < scratch->index->degree && link_at(links, i) != NO_SLOT; i++) {
        uint32_t slot = link_at(links, i);
        if (slot < slots && bit_take(scratch->visited, slot)) {
            TRY(need_node(scratch, view, slot, 0, &out->dist[out->count], err));
            out->slots[out->count++] = slot;
        }
    }
    return OK;
}

/* As searches walk: the next node is taken before those that the last one leads to are in. */
static enum status walk(struct vec_scratch *scratch, const struct view *view, uint32_t slots,
                        struct err *err)
{
    const struct vec_index *index = scratch->index;
    struct beam *beam = &scratch->beam;
    uint64_t entry = atomic_load_explicit(&index->entry, memory_order_acquire);
    uint32_t slot = 0;
    float dist = 0;
    if (entry == NO_ENTRY || (uint32_t)entry >= slots) {
        return OK; /* as above */
    }
    search_code(scratch, view->codec, true);
    TRY(descend(scratch, view, entry, &slot, &dist, err));
    (void)bit_take(scratch->visited, slot);
    (void)index->simd->beam_insert(beam, dist, slot);
    struct met steps[2] = { 0 };
    for (size_t at = 0; beam->next < beam->count || steps[at ^ 1].count > 0; at ^= 1) {
        steps[at].count = 0;
        if (beam->next < beam->count) {
            TRY(meet(scratch, view, beam_take(beam), slots, &steps[at], err));
        }
        const struct met *before = &steps[at ^ 1];
        for (uint32_t i = 0; i < before->count; i++) {
            (void)index->simd->beam_insert(beam, before->dist[i], before->slots[i]);
        }
    }
    for (uint32_t i = 0; i < beam->count; i++) {
        TRY(need((struct vec_index *)index, view, TRAIL_ROW, beam->slot[i] & ~BEAM_DONE, err));
    }
    return OK;
}

static enum status way(struct vec_scratch *scratch, const struct view *view, uint32_t ef,
                       struct err *err)
{
    struct vec_index *index = scratch->index;
    const struct state *state = &index->load->manifest.state;
    if (view->codec != NULL && state->nodes > 0) {
        TRY(scratch_ready(scratch, ef, 1, state->count, err));
        TRY(walk(scratch, view, state->count, err));
    }
    for (uint32_t i = 0; i < state->again_count; i++) {
        TRY(need(index, view, TRAIL_ROW, state->again[i], err));
    }
    for (uint32_t slot = state->linked; slot < state->count; slot++) {
        TRY(need(index, view, TRAIL_ROW, slot, err));
    }
    return OK;
}

enum status check_search(struct vec_scratch *scratch, uint32_t ef, struct err *err)
{
    if (!atomic_load_explicit(&scratch->index->unchecked, memory_order_acquire)) {
        return OK;
    }
    reader_pin(scratch);
    enum status status = way(scratch, reader_view(scratch), ef, err);
    reader_unpin(scratch);
    /* when all was checked meanwhile, and linking began, this was the way through another graph */
    bool others = !atomic_load_explicit(&scratch->index->unchecked, memory_order_acquire);
    return status == E_CORRUPT && others ? OK : status;
}
