/*
 * Linking: a node's neighbours are found by a walk, chosen so that they point into different
 * directions, and linked back (Malkov and Yashunin, algorithms 1 and 4; the choice is relaxed by
 * ALPHA as in Subramanya et al., DiskANN, 2019).
 *
 * No node may be lost to walks. Each but one is anchored: the link of its anchor to it is never
 * dropped, so the anchors are a tree, and the entry point is kept the anchor of the tree's root. A
 * node whose links are all anchors' passes a new one on to one of its own children.
 */
#include <math.h>
#include <sched.h>
#include <string.h>

#include "vector/vec_priv.h"

/* On squared distances; 1.0 and 1.4 were worse on each data set that was tried. */
static const float ALPHA = 1.15F;

enum { AT_ONCE = LINKS_MAX + 1 };

/* Candidates in ascending order, and which of them are kept. */
struct choice {
    const float *dist; /* squared, to the node that chooses */
    const uint32_t *slot;
    uint32_t count;
    uint32_t anchored_to; /* those that are anchored to this node are always kept; NO_SLOT, or there
                           * are at most AT_ONCE candidates */
};

static void node_lock(struct node *node)
{
    while (atomic_exchange_explicit(&node->lock, 1, memory_order_acquire) != 0) {
        sched_yield();
    }
}

static void node_unlock(struct node *node)
{
    atomic_store_explicit(&node->lock, 0, memory_order_release);
}

/* A query for linking: true distances, with the coordinate that lies beside the code, see
 * simd.h. */
static void dot_query(const struct vec_index *index, float beside, struct code_query *out)
{
    float length = sqrtf(index->norm2_max);
    out->norm_factor = 2 * (length - beside);
    out->norm2 = 2 * length * beside;
}

void link_query_of(const struct vec_index *index, const struct view *view, uint32_t slot,
                   struct code_query *out)
{
    index->simd->of_row[view->codec->kind](view_code(view, slot), view->codec->dimensions, out);
    if (view->codec->dot) {
        dot_query(index, out->norm2, out);
    }
}

bool link_occluded(const struct vec_index *index, const struct code_query *candidate,
                   enum code_kind kind, const uint8_t *const *kept, size_t n, float dist)
{
    float bound = dist / ALPHA - candidate->norm2;
    for (size_t i = 0; i < n; i += 4) {
        float dists[4];
        size_t some = n - i < 4 ? n - i : 4;
        index->simd->distances[kind](candidate, kept + i, some, dists);
        for (size_t j = 0; j < some; j++) {
            if (dists[j] <= bound) {
                return true;
            }
        }
    }
    return false;
}

/* Of the candidates that are left, those that `kept` does not occlude, or that are to stay. */
static uint32_t occlude(struct vec_scratch *scratch, const struct view *view,
                        const struct choice *from, uint32_t kept, const bool *stays, uint8_t *left,
                        uint32_t count)
{
    const struct vec_index *index = scratch->index;
    const uint8_t *rows[AT_ONCE];
    float dist[AT_ONCE];
    uint32_t n = 0;
    for (uint32_t i = 0; i < count; i++) {
        rows[i] = view_code(view, from->slot[left[i]]);
    }
    link_query_of(index, view, from->slot[kept], &scratch->other);
    index->simd->distances[view->codec->kind](&scratch->other, rows, count, dist);
    for (uint32_t i = 0; i < count; i++) {
        uint8_t other = left[i];
        bool occluded = dist[i] + scratch->other.norm2 <= from->dist[other] / ALPHA;
        left[n] = other;
        n += !occluded || stays[other];
    }
    return n;
}

/* Of the first AT_ONCE candidates: each that is kept is held against all that are left, which needs
 * one query for each that is kept and not for each that is not. */
static uint32_t choose_near(struct vec_scratch *scratch, const struct view *view,
                            const struct choice *from, uint32_t max, uint32_t *out)
{
    uint8_t left[AT_ONCE];
    bool stays[AT_ONCE];
    uint32_t count = from->count < AT_ONCE ? from->count : AT_ONCE;
    uint32_t n = 0;
    uint32_t anchored = 0;
    for (uint32_t i = 0; i < count; i++) {
        left[i] = (uint8_t)i;
        stays[i] = from->anchored_to != NO_SLOT &&
                   anchor_of(view, from->slot[i]) == from->anchored_to;
        anchored += stays[i];
        code_prefetch(view, view_code(view, from->slot[i]));
    }
    while (count > 0 && n < max) {
        uint32_t next = left[0];
        memmove(left, left + 1, --count * sizeof(*left));
        if (!stays[next] && n + anchored >= max) {
            continue; /* the room that is left is theirs */
        }
        anchored -= stays[next];
        out[n++] = from->slot[next];
        count = count == 0 ? 0 : occlude(scratch, view, from, next, stays, left, count);
    }
    return n;
}

/* Writes at most `max` of the candidates to `out`, in order; returns how many. */
static uint32_t choose(struct vec_scratch *scratch, const struct view *view,
                       const struct choice *from, uint32_t max, uint32_t *out)
{
    const struct vec_index *index = scratch->index;
    const uint8_t *kept[LINKS_MAX];
    uint32_t n = choose_near(scratch, view, from, max, out);
    for (uint32_t i = 0; i < n; i++) {
        kept[i] = view_code(view, out[i]);
    }
    for (uint32_t i = AT_ONCE; i < from->count && n < max; i++) {
        link_query_of(index, view, from->slot[i], &scratch->other);
        if (!link_occluded(index, &scratch->other, view->codec->kind, kept, n, from->dist[i])) {
            kept[n] = view_code(view, from->slot[i]);
            out[n++] = from->slot[i];
        }
    }
    return n;
}

/* --- links back --- */

/* Distances of a node's links, and of `slot`, to the node, in ascending order. */
static void candidates_of(struct vec_scratch *scratch, const struct view *view, uint32_t node,
                          const uint32_t *links, uint32_t count, uint32_t slot, struct beam *sorted)
{
    const struct vec_index *index = scratch->index;
    enum code_kind kind = view->codec->kind;
    const uint8_t *rows[LINKS_MAX + 1];
    uint32_t slots[LINKS_MAX + 1];
    float dist[LINKS_MAX + 1];
    for (uint32_t i = 0; i <= count; i++) {
        slots[i] = i < count ? link_at(links, i) : slot;
        rows[i] = view_code(view, slots[i]);
        code_prefetch(view, rows[i]);
    }
    link_query_of(index, view, node, &scratch->other);
    index->simd->distances[kind](&scratch->other, rows, count + 1, dist);
    for (uint32_t i = 0; i <= count; i++) {
        index->simd->beam_insert(sorted, dist[i] + scratch->other.norm2, slots[i]);
    }
}

/* A full list: choose anew among it and `slot`. */
static void relink(struct vec_scratch *scratch, const struct view *view, uint32_t node,
                   uint32_t *links, uint32_t count, uint32_t slot, bool anchors)
{
    float dist[LINKS_MAX + 1 + BEAM_PAD];
    uint32_t slots[LINKS_MAX + 1 + BEAM_PAD];
    uint32_t chosen[LINKS_MAX];
    struct beam sorted = { .dist = dist, .slot = slots, .cap = count + 1 };
    candidates_of(scratch, view, node, links, count, slot, &sorted);
    struct choice choice = {
        .dist = dist, .slot = slots, .count = sorted.count, .anchored_to = anchors ? node : NO_SLOT
    };
    uint32_t n = choose(scratch, view, &choice, count, chosen);
    for (uint32_t i = 0; i < count; i++) {
        link_set(links, i, i < n ? chosen[i] : NO_SLOT);
    }
}

/* Of a node all of whose links are its children: the one nearest to `slot`. Not the root of all,
 * which the entry point holds though it stands below it: one would go round in circles. */
static uint32_t nearest_child(struct vec_scratch *scratch, const struct view *view,
                              const uint32_t *links, uint32_t count, uint32_t slot)
{
    const struct vec_index *index = scratch->index;
    uint32_t root = atomic_load_explicit(&index->root, memory_order_relaxed);
    uint32_t best = NO_SLOT;
    float best_dist = 0;
    link_query_of(index, view, slot, &scratch->other);
    for (uint32_t i = 0; i < count; i++) {
        if (link_at(links, i) == root) {
            continue;
        }
        float dist = graph_distance(index, view, &scratch->other, link_at(links, i));
        if (best == NO_SLOT || dist < best_dist) {
            best = link_at(links, i);
            best_dist = dist;
        }
    }
    return best;
}

/* Returns where to try next, NO_SLOT when it is done. */
static uint32_t link_back_here(struct vec_scratch *scratch, const struct view *view, uint32_t node,
                               uint32_t slot)
{
    uint32_t degree = scratch->index->degree;
    uint32_t *links = view_links(scratch->index, view, node);
    uint32_t count = links_count(links, degree);
    bool anchored = anchor_of(view, slot) == node;
    uint32_t children = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (link_at(links, i) == slot) {
            return NO_SLOT;
        }
        children += anchor_of(view, link_at(links, i)) == node;
    }
    if (count < degree) {
        link_set(links, count, slot);
        return NO_SLOT;
    }
    if (children == degree) {
        if (!anchored) {
            return NO_SLOT;
        }
        uint32_t child = nearest_child(scratch, view, links, count, slot);
        anchor_set(view, slot, child);
        return child;
    }
    relink(scratch, view, node, links, count, slot, true);
    return NO_SLOT;
}

void link_back(struct vec_scratch *scratch, const struct view *view, uint32_t node, uint32_t slot)
{
    while (node != NO_SLOT) {
        struct node *locked = view_node(view, node);
        trail_touch(view, TRAIL_GRAPH, node);
        node_lock(locked);
        uint32_t next = link_back_here(scratch, view, node, slot);
        node_unlock(locked);
        node = next;
    }
}

static void link_back_upper(struct vec_scratch *scratch, const struct view *view, uint32_t level,
                            uint32_t node, uint32_t slot)
{
    uint32_t m = scratch->index->opts.m;
    struct node *locked = view_node(view, node);
    uint32_t *links = view_upper(scratch->index, view, node, level);
    trail_touch(view, TRAIL_GRAPH, node);
    node_lock(locked);
    uint32_t count = links_count(links, m);
    if (links_to(links, count, slot)) {
        /* a link to who had the slot before */
    } else if (count < m) {
        link_set(links, count, slot);
    } else {
        relink(scratch, view, node, links, count, slot, false);
    }
    node_unlock(locked);
}

/* --- a node --- */

/* Candidates in scratch->beam, nearest first, without what was not linked when the walk began. */
static uint32_t choose_links(struct vec_scratch *scratch, const struct view *view, uint32_t *out)
{
    struct beam *beam = &scratch->beam;
    for (uint32_t i = 0; i < beam->count; i++) {
        beam->slot[i] &= ~BEAM_DONE;
        beam->dist[i] += scratch->code.norm2;
    }
    struct choice choice = {
        .dist = beam->dist, .slot = beam->slot, .count = beam->count, .anchored_to = NO_SLOT
    };
    return choose(scratch, view, &choice, scratch->index->opts.m, out);
}

/* The walk of an upper layer: rare, so it is not one of simd's. */
static void walk_upper(struct vec_scratch *scratch, const struct view *view, uint32_t level,
                       uint32_t slots)
{
    const struct vec_index *index = scratch->index;
    struct beam *beam = &scratch->beam;
    while (beam->next < beam->count) {
        const uint32_t *links = view_upper(index, view, beam_take(beam), level);
        for (uint32_t i = 0; i < index->opts.m; i++) {
            uint32_t slot = link_at(links, i);
            if (slot == NO_SLOT) {
                break;
            }
            if (slot >= slots || !bit_take(scratch->visited, slot)) {
                continue;
            }
            (void)index->simd->beam_insert(beam, graph_distance(index, view, &scratch->code, slot),
                                           slot);
        }
    }
}

static void beam_start(struct vec_scratch *scratch, const struct view *view, uint32_t from)
{
    beam_clear(&scratch->beam, scratch->beam.cap);
    (void)bit_take(scratch->visited, from);
    (void)scratch->index->simd->beam_insert(
        &scratch->beam, graph_distance(scratch->index, view, &scratch->code, from), from);
}

/* Fills scratch->beam from `from` on; returns the nearest that was met: where the next layer
 * begins. */
static uint32_t walk_layer(struct vec_scratch *scratch, const struct view *view, uint32_t level,
                           uint32_t from, uint32_t slots)
{
    beam_start(scratch, view, from);
    if (level > 0) {
        walk_upper(scratch, view, level, slots);
    } else {
        graph_walk(scratch, view, slots);
    }
    assert(scratch->beam.count > 0); /* who walks is linked, and nobody is taken out meanwhile */
    return scratch->beam.slot[0] & ~BEAM_DONE;
}

/* What a node links to in each of its layers. */
struct plan {
    uint32_t top;
    uint32_t count[LEVELS_MAX];
    uint32_t slots[LEVELS_MAX][M_MAX];
};

static void plan_links(struct vec_scratch *scratch, const struct view *view, uint64_t entry,
                       uint32_t level, uint32_t slots, struct plan *plan)
{
    const struct vec_index *index = scratch->index;
    uint32_t top = (uint32_t)(entry >> 32);
    uint32_t from = graph_descend(index, view, &scratch->code, entry, level, slots);
    plan->top = level < top ? level : top;
    for (uint32_t at = plan->top + 1; at-- > 0;) {
        from = walk_layer(scratch, view, at, from, slots);
        plan->count[at] = choose_links(scratch, view, plan->slots[at]);
        if (at > 0) {
            memset(scratch->visited, 0, ((size_t)slots + 63) / 64 * sizeof(*scratch->visited));
        }
    }
}

static void plan_carry_out(struct vec_scratch *scratch, const struct view *view, uint32_t slot,
                           const struct plan *plan)
{
    struct vec_index *index = scratch->index;
    trail_touch(view, TRAIL_GRAPH, slot);
    for (uint32_t level = 0; level <= plan->top; level++) {
        uint32_t *links = level > 0 ? view_upper(index, view, slot, level)
                                    : view_links(index, view, slot);
        for (uint32_t i = 0; i < plan->count[level]; i++) {
            link_set(links, i, plan->slots[level][i]);
        }
    }
}

static void plan_link_back(struct vec_scratch *scratch, const struct view *view, uint32_t slot,
                           const struct plan *plan)
{
    anchor_set(view, slot, plan->slots[0][0]);
    for (uint32_t i = 0; i < plan->count[0]; i++) {
        link_back(scratch, view, plan->slots[0][i], slot);
    }
    for (uint32_t level = 1; level <= plan->top; level++) {
        for (uint32_t i = 0; i < plan->count[level]; i++) {
            link_back_upper(scratch, view, level, plan->slots[level][i], slot);
        }
    }
}

/* The first of all, with nothing to link to; false when somebody else was. */
static bool entry_first(struct vec_index *index, const struct view *view, uint32_t slot,
                        uint32_t level, struct code_tail tail)
{
    pthread_mutex_lock(&index->entry_lock);
    bool first = atomic_load_explicit(&index->entry, memory_order_relaxed) == NO_ENTRY;
    if (first) {
        code_tail_set(view, slot, tail);
        anchor_set(view, slot, NO_SLOT);
        atomic_store_explicit(&index->root, slot, memory_order_relaxed);
        atomic_store_explicit(&index->entry, (uint64_t)level << 32 | slot, memory_order_release);
    }
    pthread_mutex_unlock(&index->entry_lock);
    return first;
}

/* The slot becomes the entry point, if it is the highest; the root of the anchors is anchored to
 * it. */
static void entry_move(struct vec_scratch *scratch, const struct view *view, uint32_t slot,
                       uint32_t level)
{
    struct vec_index *index = scratch->index;
    pthread_mutex_lock(&index->entry_lock);
    uint64_t entry = atomic_load_explicit(&index->entry, memory_order_relaxed);
    if ((uint32_t)(entry >> 32) < level) {
        uint32_t root = atomic_load_explicit(&index->root, memory_order_relaxed);
        anchor_set(view, root, slot);
        link_back(scratch, view, slot, root);
        atomic_store_explicit(&index->entry, (uint64_t)level << 32 | slot, memory_order_release);
    }
    pthread_mutex_unlock(&index->entry_lock);
}

/* M - sqrt(M^2 - norm2), such that a small one is not lost beside a large M. */
static float dot_beside(const struct vec_index *index, float norm2)
{
    double max = (double)index->norm2_max;
    double rest = sqrt(fmax(max - (double)norm2, 0));
    return max > 0 ? (float)((double)norm2 / (sqrt(max) + rest)) : 0;
}

void link_norm_raise(struct vec_index *index, const struct view *view, float norm2)
{
    index->norm2_max = 2 * norm2;
    uint32_t claimed = atomic_load_explicit(&index->claimed, memory_order_relaxed);
    for (uint32_t slot = 0; view->codec != NULL && slot < claimed; slot++) {
        if (!is_linked(view, slot)) {
            continue;
        }
        float beside = dot_beside(index,
                                  row_tail(&index->shape, view_row(index, view, slot)).norm2);
        struct code_tail tail = code_tail_get(view, slot);
        tail.norm2 = beside;
        code_tail_set(view, slot, tail);
    }
}

/* The query for the walks, and the code row without its tail: until links go out from the node, an
 * old link to its slot must not lead a walk there. */
static struct code_tail encode(struct vec_scratch *scratch, const struct view *view, uint32_t slot)
{
    const struct vec_index *index = scratch->index;
    trail_touch(view, TRAIL_CODE, slot);
    row_read(&index->shape, view_row(index, view, slot), scratch->row.f);
    codec_project(view->codec, scratch->row.f, scratch->centred, scratch->projected);
    float beside = dot_beside(index, row_tail(&index->shape, view_row(index, view, slot)).norm2);
    struct code_tail tail = codec_encode(view->codec, scratch->projected, beside,
                                         view_code(view, slot));
    codec_query(view->codec, scratch->projected, &scratch->code);
    if (view->codec->dot) {
        dot_query(index, beside, &scratch->code);
    }
    return tail;
}

/* Links go out from the top layer down to the last, then the node can be met, then links lead to
 * it: a walk that meets it can go on from there. */
void link_slot(struct vec_scratch *scratch, uint32_t slot)
{
    struct vec_index *index = scratch->index;
    const struct view *view = atomic_load_explicit(&index->view, memory_order_acquire);
    uint32_t slots = atomic_load_explicit(&index->count, memory_order_acquire);
    slots = slots < scratch->visited_words * 64 ? slots : (uint32_t)(scratch->visited_words * 64);
    uint32_t level = view_node(view, slot)->level;
    struct code_tail tail = encode(scratch, view, slot);
    uint64_t entry = atomic_load_explicit(&index->entry, memory_order_acquire);
    if (entry == NO_ENTRY) {
        if (entry_first(index, view, slot, level, tail)) {
            return;
        }
        entry = atomic_load_explicit(&index->entry, memory_order_acquire);
    }
    struct plan plan = { 0 };
    plan_links(scratch, view, entry, level, slots, &plan);
    plan_carry_out(scratch, view, slot, &plan);
    code_tail_set(view, slot, tail);
    plan_link_back(scratch, view, slot, &plan);
    if (level > (uint32_t)(entry >> 32)) {
        entry_move(scratch, view, slot, level);
    }
}
