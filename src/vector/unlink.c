/*
 * Unlinking: a node leaves the graph, and those who led through it are given other ways.
 *
 * Whoever holds a link to it is among its own neighbours or near it, most often: these are found by
 * a walk, and lose the link. A link that is not found leads to a slot without a row, which walks
 * drop, until it is chosen anew or the slot is used again, and then it is a link like others. A
 * slot's level is a matter of its number, so it fits whatever points to it.
 *
 * Nobody may be lost: children are anchored to the anchor of the node, or to one of them when it
 * was the root. Writers are kept out by grow; searches go on.
 */
#include <math.h>

#include "vector/vec_priv.h"

enum { WAYS = 2, TRIES = 4 }; /* new links a node gets for a lost one, of so many that are near */

/* The last takes its place: first it is not there, then it is, never twice. */
static bool link_drop(uint32_t *links, uint32_t max, uint32_t slot)
{
    uint32_t count = links_count(links, max);
    for (uint32_t i = 0; i < count; i++) {
        if (link_at(links, i) == slot) {
            uint32_t last = link_at(links, count - 1);
            link_set(links, count - 1, NO_SLOT);
            if (i < count - 1) {
                link_set(links, i, last);
            }
            return true;
        }
    }
    return false;
}

/* --- anchors --- */

struct family {
    uint32_t children[LINKS_MAX];
    uint32_t count;
};

/* Each child is among the node's links. The root is nobody's child, whatever it is anchored to. */
static void family_of(const struct vec_index *index, const struct view *view, uint32_t slot,
                      struct family *out)
{
    const uint32_t *links = view_links(index, view, slot);
    uint32_t count = links_count(links, index->degree);
    out->count = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t child = link_at(links, i);
        if (child != index->root && is_linked(view, child) && anchor_of(view, child) == slot) {
            out->children[out->count++] = child;
        }
    }
}

static void anchors_hand_over(struct vec_scratch *scratch, const struct view *view, uint32_t slot)
{
    struct vec_index *index = scratch->index;
    struct family family;
    family_of(index, view, slot, &family);
    uint32_t to = anchor_of(view, slot);
    uint32_t from = 0;
    if (slot == index->root) {
        to = family.count > 0 ? family.children[from++] : NO_SLOT;
        atomic_store_explicit(&index->root, to, memory_order_relaxed);
    }
    for (uint32_t i = from; i < family.count; i++) {
        anchor_set(view, family.children[i], to);
        link_back(scratch, view, to, family.children[i]);
    }
}

/* --- the entry point --- */

/* The highest that is left: one of those next to it in its top layer, or, when it was alone up
 * there, whoever is to be found: that is rare. */
static uint32_t entry_candidate(const struct vec_index *index, const struct view *view,
                                uint32_t slot)
{
    uint32_t top = view_node(view, slot)->level;
    for (uint32_t i = 0; top > 0 && i < index->opts.m; i++) {
        uint32_t other = link_at(view_upper(index, view, slot, top), i);
        if (other == NO_SLOT) {
            break;
        }
        if (other != slot && is_linked(view, other)) {
            return other;
        }
    }
    uint32_t slots = atomic_load_explicit(&index->claimed, memory_order_relaxed);
    uint32_t best = index->root;
    for (uint32_t i = 0; i < slots && view_node(view, best)->level < top; i++) {
        if (view_node(view, i)->level > view_node(view, best)->level && i != slot &&
            is_linked(view, i)) {
            best = i;
        }
    }
    return best;
}

/* Also when the root has changed: the entry point's link to it is what keeps the tree in reach. */
static void entry_settle(struct vec_scratch *scratch, const struct view *view, uint32_t slot)
{
    struct vec_index *index = scratch->index;
    uint64_t entry = atomic_load_explicit(&index->entry, memory_order_relaxed);
    if (index->root == NO_SLOT) {
        atomic_store_explicit(&index->entry, NO_ENTRY, memory_order_release);
        return;
    }
    if ((uint32_t)entry == slot) {
        uint32_t next = entry_candidate(index, view, slot);
        entry = (uint64_t)view_node(view, next)->level << 32 | next;
    }
    uint32_t at = (uint32_t)entry;
    anchor_set(view, index->root, at == index->root ? NO_SLOT : at);
    if (at != index->root) {
        link_back(scratch, view, at, index->root);
    }
    atomic_store_explicit(&index->entry, entry, memory_order_release);
}

/* --- repair --- */

/* The few of `lost` (links of the node that goes) that are nearest to `node`, in scratch->best. */
static void ways_near(struct vec_scratch *scratch, const struct view *view, uint32_t node,
                      const uint32_t *links, uint32_t count, const uint32_t *lost, uint32_t lost_n)
{
    const struct vec_index *index = scratch->index;
    beam_clear(&scratch->best, TRIES);
    link_query_of(index, view, node, &scratch->other);
    for (uint32_t i = 0; i < lost_n; i++) {
        uint32_t slot = link_at(lost, i);
        if (slot != node && is_linked(view, slot) && !links_to(links, count, slot)) {
            float dist = graph_distance(index, view, &scratch->other, slot);
            (void)index->simd->beam_insert(&scratch->best, dist + scratch->other.norm2, slot);
        }
    }
}

static void repair(struct vec_scratch *scratch, const struct view *view, uint32_t node,
                   const uint32_t *lost, uint32_t lost_n)
{
    const struct vec_index *index = scratch->index;
    uint32_t *links = view_links(index, view, node);
    uint32_t count = links_count(links, index->degree);
    const uint8_t *rows[LINKS_MAX];
    uint32_t added = 0;
    ways_near(scratch, view, node, links, count, lost, lost_n);
    for (uint32_t i = 0; i < count; i++) {
        rows[i] = view_code(view, link_at(links, i));
    }
    for (uint32_t i = 0; i < scratch->best.count && added < WAYS && count < index->degree; i++) {
        uint32_t slot = scratch->best.slot[i];
        link_query_of(index, view, slot, &scratch->other);
        if (!link_occluded(index, &scratch->other, view->codec->kind, rows, count,
                           scratch->best.dist[i])) {
            rows[count] = view_code(view, slot);
            link_set(links, count++, slot);
            added++;
        }
    }
}

/* Who may hold a link: scratch->beam has the nearest, found from the node's own links. */
static void walk_near(struct vec_scratch *scratch, const struct view *view, uint32_t slot,
                      uint32_t slots)
{
    const struct vec_index *index = scratch->index;
    const uint32_t *links = view_links(index, view, slot);
    uint32_t count = links_count(links, index->degree);
    beam_clear(&scratch->beam, UNLINK_EF);
    (void)bit_take(scratch->visited, slot);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t link = link_at(links, i);
        if (link < slots) {
            (void)bit_take(scratch->visited, link);
            (void)index->simd->beam_insert(&scratch->beam,
                                           graph_distance(index, view, &scratch->code, link), link);
        }
    }
    graph_walk(scratch, view, slots);
}

static void drop_at(struct vec_scratch *scratch, const struct view *view, uint32_t node,
                    uint32_t slot, const uint32_t *lost, uint32_t lost_n)
{
    const struct vec_index *index = scratch->index;
    trail_touch(view, TRAIL_GRAPH, node);
    if (link_drop(view_links(index, view, node), index->degree, slot)) {
        repair(scratch, view, node, lost, lost_n);
    }
}

/* Upper layers are sparse, and each link is most often held by both. */
static void drop_upper(const struct vec_index *index, const struct view *view, uint32_t slot)
{
    for (uint32_t level = view_node(view, slot)->level; level > 0; level--) {
        const uint32_t *links = view_upper(index, view, slot, level);
        uint32_t count = links_count(links, index->opts.m);
        for (uint32_t i = 0; i < count; i++) {
            uint32_t node = link_at(links, i);
            uint32_t *others = view_upper(index, view, node, level);
            trail_touch(view, TRAIL_GRAPH, node);
            if (is_linked(view, node) && link_drop(others, index->opts.m, slot)) {
                /* the next of its neighbours in its place */
                uint32_t next = link_at(links, (i + 1) % count);
                uint32_t have = links_count(others, index->opts.m);
                if (next != node && is_linked(view, next) && !links_to(others, have, next)) {
                    link_set(others, have, next);
                }
            }
        }
    }
}

void unlink_slot(struct vec_scratch *scratch, uint32_t slot)
{
    struct vec_index *index = scratch->index;
    const struct view *view = atomic_load_explicit(&index->view, memory_order_relaxed);
    uint32_t slots = atomic_load_explicit(&index->count, memory_order_relaxed);
    const uint32_t *lost = view_links(index, view, slot);
    link_query_of(index, view, slot, &scratch->code);
    trail_touch(view, TRAIL_GRAPH, slot);
    atomic_store_explicit(&view_node(view, slot)->state, NODE_GONE, memory_order_relaxed);
    uint32_t anchor = anchor_of(view, slot);
    if (anchor != NO_SLOT) { /* first of all: it must not hand a child back to the node */
        trail_touch(view, TRAIL_GRAPH, anchor);
        (void)link_drop(view_links(index, view, anchor), index->degree, slot);
    }
    anchors_hand_over(scratch, view, slot);
    anchor_set(view, slot, NO_SLOT);
    entry_settle(scratch, view, slot);
    walk_near(scratch, view, slot, slots);
    code_tail_set(view, slot, (struct code_tail){ NAN, NAN });
    uint32_t lost_n = links_count(lost, index->degree);
    for (uint32_t i = 0; i < scratch->beam.count; i++) {
        drop_at(scratch, view, scratch->beam.slot[i] & ~BEAM_DONE, slot, lost, lost_n);
    }
    for (uint32_t i = 0; i < lost_n; i++) {
        drop_at(scratch, view, link_at(lost, i), slot, lost, lost_n);
    }
    drop_upper(index, view, slot);
}
