/*
 * The graph as searches and linking walk it: layers of links, the upper ones sparse.
 */
#include <string.h>

#include "vector/vec_priv.h"

float graph_distance(const struct vec_index *index, const struct view *view,
                     const struct code_query *query, uint32_t slot)
{
    const uint8_t *row = view_code(view, slot);
    float dist;
    index->simd->distances[view->codec->kind](query, &row, 1, &dist);
    return dist;
}

static uint32_t *tail_words(const struct view *view, uint32_t slot)
{
    return (uint32_t *)(view_code(view, slot) + (size_t)view->codec->lines * LINE - CODE_TAIL);
}

struct code_tail code_tail_get(const struct view *view, uint32_t slot)
{
    struct code_tail tail;
    memcpy(&tail, tail_words(view, slot), sizeof(tail));
    return tail;
}

void code_tail_set(const struct view *view, uint32_t slot, struct code_tail tail)
{
    trail_touch(view, TRAIL_CODE, slot);
    uint32_t *words = tail_words(view, slot);
    uint32_t copy[2];
    memcpy(copy, &tail, sizeof(tail));
    __atomic_store_n(words, copy[0], __ATOMIC_RELEASE);
    __atomic_store_n(words + 1, copy[1], __ATOMIC_RELEASE);
}

/* The nearest to the query among a node's neighbours in an upper layer, if it is nearer. */
static bool step(const struct vec_index *index, const struct view *view,
                 const struct code_query *query, uint32_t level, uint32_t slots, uint32_t *slot,
                 float *dist)
{
    const uint32_t *links = view_upper(index, view, *slot, level);
    const uint8_t *rows[M_MAX];
    uint32_t others[M_MAX];
    float dists[M_MAX];
    size_t n = 0;
    for (uint32_t i = 0; i < index->opts.m; i++) {
        uint32_t other = link_at(links, i);
        if (other == NO_SLOT) {
            break;
        }
        if (other >= slots) {
            continue; /* newer than the view */
        }
        others[n] = other;
        rows[n] = view_code(view, other);
        code_prefetch(view, rows[n]);
        n++;
    }
    bool nearer = false;
    if (n == 0) {
        return nearer;
    }
    index->simd->distances[view->codec->kind](query, rows, n, dists);
    for (size_t i = 0; i < n; i++) {
        if (dists[i] < *dist) {
            *dist = dists[i];
            *slot = others[i];
            nearer = true;
        }
    }
    return nearer;
}

uint32_t graph_descend(const struct vec_index *index, const struct view *view,
                       const struct code_query *query, uint64_t entry, uint32_t level,
                       uint32_t slots)
{
    uint32_t slot = (uint32_t)entry;
    float dist = graph_distance(index, view, query, slot);
    for (uint32_t at = (uint32_t)(entry >> 32); at > level; at--) {
        while (step(index, view, query, at, slots, &slot, &dist)) {
        }
    }
    return slot;
}

static struct walk walk_of(const struct vec_scratch *scratch, const struct view *view,
                           uint32_t slots)
{
    return (struct walk){
        .codes = (const uint8_t *const *)view->codes,
        .links = (const uint32_t *const *)view->links,
        .degree = scratch->index->degree,
        .visited = scratch->visited,
        .slots = slots,
        .query = &scratch->code,
    };
}

void graph_walk(struct vec_scratch *scratch, const struct view *view, uint32_t slots)
{
    struct walk walk = walk_of(scratch, view, slots);
    scratch->index->simd->walk[view->codec->kind](&walk, &scratch->beam);
}

void graph_walk_many(struct search *const *searches, size_t n)
{
    struct walk walks[WALKS_MAX];
    struct beam *beams[WALKS_MAX];
    if (n == 0) {
        return;
    }
    for (size_t i = 0; i < n; i++) {
        walks[i] = walk_of(searches[i]->scratch, searches[i]->view, searches[i]->slots);
        beams[i] = &searches[i]->scratch->beam;
    }
    const struct search *first = searches[0];
    first->scratch->index->simd->walk_many[first->view->codec->kind](walks, beams, n);
}
