/*
 * Closing gaps: nodes to the front, behind them what is not linked; whoever stands behind the end
 * moves into a gap, and the others stay, so that few chunks change. Links, anchors and upper layers
 * are then written anew in the new numbers, and the chunks that are left over are given back.
 *
 * A node keeps its level, which no longer is a matter of its number.
 */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "vector/centre.h"
#include "vector/check.h"
#include "vector/curve.h"
#include "vector/pages.h"
#include "vector/snapshot.h"

struct compact {
    struct vec_index *index;
    struct view *view; /* changed in place: nobody else reads it */
    uint32_t count;    /* slots, before */
    uint32_t nodes, live;
    uint32_t *map;    /* [count]: where a slot goes; NO_SLOT: nowhere */
    uint8_t *parked;  /* [AGAIN_MAX] rows and levels of what makes room for nodes */
    uint32_t **upper; /* [upper_chunks] */
    uint32_t upper_chunks, upper_rows;
    struct first_chunk first; /* slots 0: chunk 0 stays as it is */
};

static bool is_live(const struct compact *c, uint32_t slot)
{
    return !row_dead(&c->index->shape, view_row(c->index, c->view, slot));
}

static bool is_node(const struct compact *c, uint32_t slot)
{
    return c->view->codec != NULL && is_linked(c->view, slot);
}

/* --- who goes where --- */

/* Those who may stay first, then the others into the gaps, in order. */
static void map_fill(struct compact *c)
{
    uint32_t gap[2] = { 0, c->nodes }; /* for nodes, for others */
    for (uint32_t slot = 0; slot < c->count; slot++) {
        bool node = is_node(c, slot);
        bool stays = node ? slot < c->nodes
                          : slot >= c->nodes && slot < c->live && is_live(c, slot);
        c->map[slot] = stays ? slot : NO_SLOT;
        c->upper_rows += c->view->codec != NULL && is_live(c, slot)
                             ? view_node(c->view, slot)->level
                             : 0;
    }
    for (uint32_t slot = 0; slot < c->count; slot++) {
        if (c->map[slot] == NO_SLOT && is_live(c, slot)) {
            uint32_t *next = &gap[is_node(c, slot) ? 0 : 1];
            while (c->map[*next] == *next) {
                (*next)++;
            }
            c->map[slot] = (*next)++;
        }
    }
}

/* --- room, all of it before anything is changed --- */

static bool upper_alloc(struct compact *c)
{
    size_t bytes = (size_t)UPPER_SLOTS * c->index->opts.m * sizeof(uint32_t);
    c->upper_chunks = (c->upper_rows + UPPER_SLOTS - 1) / UPPER_SLOTS;
    c->upper = mem_zalloc((c->upper_chunks + (size_t)1) * sizeof(*c->upper));
    for (uint32_t i = 0; c->upper != NULL && i < c->upper_chunks; i++) {
        c->upper[i] = pages_alloc(bytes);
        if (c->upper[i] == NULL) {
            return false;
        }
        memset(c->upper[i], 0xff, bytes); /* NO_SLOT */
    }
    return c->upper != NULL;
}

static uint32_t part_slots(const struct compact *c, uint32_t slots, uint32_t part)
{
    uint32_t size = (uint32_t)1 << c->index->row_bits;
    return slots <= part * size ? 0 : slots - part * size < size ? slots - part * size : size;
}

/* A smaller chunk 0, when that is all there will be. */
static bool first_alloc(struct compact *c)
{
    struct vec_index *index = c->index;
    uint32_t have = c->view->chunks == 1 ? c->view->first_slots : CHUNK_SLOTS;
    uint32_t want = view_first_slots(c->live);
    bool right = true;
    if (c->live == 0 || c->live > CHUNK_SLOTS || want >= have) {
        return true;
    }
    c->first.slots = want;
    for (uint32_t part = 0; part < index->row_parts; part++) {
        uint32_t slots = part_slots(c, want, part);
        if (slots > 0 && slots < part_slots(c, have, part)) {
            c->first.rows[part] = pages_alloc(index->shape.bytes * slots);
            right = right && c->first.rows[part] != NULL;
        }
    }
    if (c->view->codec != NULL) {
        size_t code = (size_t)c->view->codec->lines * LINE;
        c->first.codes = pages_alloc(code * want);
        c->first.links = pages_alloc(index->degree * sizeof(uint32_t) * want);
        c->first.nodes = pages_alloc(sizeof(struct node) * want);
        right = right && c->first.codes != NULL && c->first.links != NULL && c->first.nodes != NULL;
    }
    return right;
}

static void first_free(struct compact *c)
{
    const struct vec_index *index = c->index;
    for (uint32_t part = 0; part < index->row_parts; part++) {
        pages_free(c->first.rows[part], index->shape.bytes * part_slots(c, c->first.slots, part));
    }
    if (c->view->codec != NULL) {
        size_t code = (size_t)c->view->codec->lines * LINE;
        pages_free(c->first.codes, code * c->first.slots);
        pages_free(c->first.links, index->degree * sizeof(uint32_t) * c->first.slots);
        pages_free(c->first.nodes, sizeof(struct node) * c->first.slots);
    }
}

static void upper_free(uint32_t **upper, uint32_t chunks, uint32_t m)
{
    for (uint32_t i = 0; upper != NULL && i < chunks; i++) {
        pages_free(upper[i], (size_t)UPPER_SLOTS * m * sizeof(uint32_t));
    }
    mem_free(upper);
}

/* --- moving --- */

static void touch(const struct compact *c, uint32_t slot)
{
    trail_touch(c->view, TRAIL_ROW, slot);
    if (c->view->codec != NULL) {
        trail_touch(c->view, TRAIL_CODE, slot);
        trail_touch(c->view, TRAIL_GRAPH, slot);
    }
}

static void move(const struct compact *c, uint32_t from, uint32_t to)
{
    const struct vec_index *index = c->index;
    touch(c, to);
    memcpy(view_row(index, c->view, to), view_row(index, c->view, from), index->shape.bytes);
    if (c->view->codec != NULL) {
        memcpy(view_code(c->view, to), view_code(c->view, from),
               (size_t)c->view->codec->lines * LINE);
        memcpy(view_links(index, c->view, to), view_links(index, c->view, from),
               index->degree * sizeof(uint32_t));
        memcpy((void *)view_node(c->view, to), view_node(c->view, from), sizeof(struct node));
    }
}

/* Rows that are not linked and stand where nodes go: a few, those of `again`. */
static uint32_t park(struct compact *c, uint32_t *slots_out)
{
    size_t bytes = c->index->shape.bytes;
    uint32_t n = 0;
    for (uint32_t slot = 0; slot < c->nodes; slot++) {
        if (!is_node(c, slot) && is_live(c, slot)) {
            assert(n < AGAIN_MAX);
            memcpy(c->parked + n * (bytes + sizeof(struct node)), view_row(c->index, c->view, slot),
                   bytes);
            memcpy(c->parked + n * (bytes + sizeof(struct node)) + bytes, view_node(c->view, slot),
                   sizeof(struct node));
            slots_out[n++] = slot;
        }
    }
    return n;
}

static void unpark(const struct compact *c, const uint32_t *slots, uint32_t n)
{
    size_t bytes = c->index->shape.bytes;
    for (uint32_t i = 0; i < n; i++) {
        const uint8_t *parked = c->parked + i * (bytes + sizeof(struct node));
        uint32_t to = c->map[slots[i]];
        touch(c, to);
        memcpy(view_row(c->index, c->view, to), parked, bytes);
        memcpy((void *)view_node(c->view, to), parked + bytes, sizeof(struct node));
    }
}

static void move_all(struct compact *c)
{
    uint32_t parked[AGAIN_MAX];
    uint32_t n = park(c, parked);
    uint32_t nodes = c->nodes;
    for (uint32_t slot = nodes; slot < c->count; slot++) { /* nodes first, into gaps before them */
        if (c->map[slot] < nodes) {
            move(c, slot, c->map[slot]);
        }
    }
    for (uint32_t slot = nodes; slot < c->count; slot++) {
        if (c->map[slot] != NO_SLOT && c->map[slot] >= nodes && c->map[slot] != slot) {
            move(c, slot, c->map[slot]);
        }
    }
    unpark(c, parked, n);
}

/* --- new numbers --- */

/* Links to who is there; behind them nothing. */
static void renumber(const struct compact *c, uint32_t *links, uint32_t max)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < max && links[i] != NO_SLOT; i++) {
        uint32_t to = c->map[links[i]];
        if (to < c->nodes) {
            links[kept++] = to;
        }
    }
    while (kept < max) {
        links[kept++] = NO_SLOT;
    }
}

static uint32_t renumbered(const struct compact *c, uint32_t slot)
{
    return slot == NO_SLOT ? NO_SLOT : c->map[slot];
}

static void upper_move(const struct compact *c, struct node *node, bool linked, uint32_t to)
{
    uint32_t m = c->index->opts.m;
    for (uint32_t i = 0; linked && i < node->level; i++) {
        uint32_t from = node->upper + i;
        uint32_t *links = c->upper[(to + i) >> UPPER_BITS] +
                          (size_t)((to + i) & (UPPER_SLOTS - 1)) * m;
        memcpy(links, c->view->upper[from >> UPPER_BITS] + (size_t)(from & (UPPER_SLOTS - 1)) * m,
               m * sizeof(*links));
        renumber(c, links, m);
    }
    node->upper = to;
}

static void graph_renumber(struct compact *c)
{
    struct vec_index *index = c->index;
    uint32_t upper = 0;
    for (uint32_t slot = 0; slot < c->live; slot++) {
        struct node *node = view_node(c->view, slot);
        bool linked = slot < c->nodes;
        trail_touch(c->view, TRAIL_GRAPH, slot);
        atomic_store(&node->state, linked ? NODE_LINKED : NODE_NEW);
        atomic_store(&node->anchor, linked ? renumbered(c, atomic_load(&node->anchor)) : NO_SLOT);
        if (linked) {
            renumber(c, view_links(index, c->view, slot), index->degree);
        } else {
            memset(view_links(index, c->view, slot), 0xff, index->degree * sizeof(uint32_t));
            code_tail_set(c->view, slot, (struct code_tail){ NAN, NAN });
        }
        upper_move(c, node, linked, upper);
        upper += node->level;
    }
    uint64_t entry = atomic_load(&index->entry);
    if (entry != NO_ENTRY) {
        atomic_store(&index->entry, (entry >> 32) << 32 | c->map[(uint32_t)entry]);
        atomic_store(&index->root, renumbered(c, atomic_load(&index->root)));
    }
    uint32_t **old = c->view->upper;
    size_t bytes = (size_t)UPPER_SLOTS * index->opts.m * sizeof(uint32_t);
    upper_free(old, c->view->upper_chunks, index->opts.m);
    atomic_fetch_add(&index->memory_bytes,
                     (c->upper_chunks - (size_t)c->view->upper_chunks) * bytes);
    c->view->upper = c->upper;
    c->view->upper_chunks = c->upper_chunks;
    c->upper = NULL;
    index->upper_used = upper;
}

/* --- giving back --- */

/* Slots behind the last, as they are before they are used. */
static void blank_rest(const struct compact *c)
{
    uint32_t end = c->view->chunks == 1 ? c->view->first_slots : c->view->chunks * CHUNK_SLOTS;
    for (uint32_t slot = c->live; c->view->codec != NULL && slot < end && slot < c->count; slot++) {
        memset((void *)view_node(c->view, slot), 0, sizeof(struct node));
        memset(view_links(c->index, c->view, slot), 0xff, c->index->degree * sizeof(uint32_t));
        memset(view_code(c->view, slot), 0, (size_t)c->view->codec->lines * LINE);
    }
}

static void first_take(struct compact *c)
{
    struct vec_index *index = c->index;
    struct first_chunk *first = &c->first;
    uint32_t kept = c->live;
    for (uint32_t part = 0; part < index->row_parts; part++) {
        if (first->rows[part] != NULL) {
            memcpy(first->rows[part], c->view->rows[part],
                   index->shape.bytes * part_slots(c, kept, part));
        }
    }
    if (c->view->codec != NULL) {
        size_t links = index->degree * sizeof(uint32_t);
        assert(first->codes != NULL && first->links != NULL && first->nodes != NULL);
        memset(first->links, 0xff, links * first->slots);
        memcpy(first->codes, c->view->codes[0], (size_t)c->view->codec->lines * LINE * kept);
        memcpy(first->links, c->view->links[0], links * kept);
        memcpy((void *)first->nodes, c->view->nodes[0], sizeof(struct node) * kept);
    }
    view_first_replace(index, c->view, first);
    *first = (struct first_chunk){ 0 };
}

static void give_back(struct compact *c)
{
    struct vec_index *index = c->index;
    uint32_t chunks = (c->live + CHUNK_SLOTS - 1) / CHUNK_SLOTS;
    if (c->live > 0) {
        touch(c, c->live - 1); /* chunks end here now */
    }
    if (c->first.slots > 0) {
        first_take(c);
    }
    view_chunks_drop(index, c->view, chunks);
    blank_rest(c);
    mem_free(index->freed);
    index->freed = NULL;
    index->freed_first = 0;
    index->freed_count = 0;
    index->freed_cap = 0;
    index->freed_changed = true;
    for (size_t i = 0; i < AGAIN_MAX; i++) {
        atomic_store(&index->again[i], NO_SLOT);
    }
    centre_forget(index);
    atomic_store(&index->count, c->live);
    atomic_store(&index->linked, c->nodes);
    atomic_store(&index->claimed, c->nodes);
}

/* --- the whole --- */

static enum status prepare(struct compact *c, struct err *err)
{
    struct vec_index *index = c->index;
    c->map = mem_alloc((c->count + (size_t)1) * sizeof(*c->map));
    c->parked = mem_alloc(AGAIN_MAX * (index->shape.bytes + sizeof(struct node)));
    if (c->map == NULL || c->parked == NULL) {
        return err_no_memory(err);
    }
    map_fill(c);
    return upper_alloc(c) && first_alloc(c) ? OK : err_no_memory(err);
}

/* There are no gaps. */
static enum status all_stay(struct compact *c, struct err *err)
{
    c->map = mem_alloc((c->count + (size_t)1) * sizeof(*c->map));
    if (c->map == NULL) {
        return err_no_memory(err);
    }
    for (uint32_t slot = 0; slot < c->count; slot++) {
        c->map[slot] = slot;
    }
    return OK;
}

static enum status compact(struct compact *c, struct err *err)
{
    struct vec_index *index = c->index;
    pthread_mutex_lock(&index->trail_lock);
    bool held = index->snapshot != NULL;
    pthread_mutex_unlock(&index->trail_lock);
    if (held) {
        return err_set(err, E_CONFLICT, "a snapshot of the index is held");
    }
    if (c->live == c->count) {
        return all_stay(c, err);
    }
    TRY(prepare(c, err));
    move_all(c);
    if (c->view->codec != NULL) {
        graph_renumber(c);
    }
    give_back(c);
    curve_renumbered(index);
    return OK;
}

enum status vec_compact(struct vec_index *index, uint32_t **map_out, uint64_t *count_out,
                        struct err *err)
{
    TRY(check_all(index, err));
    pthread_mutex_lock(&index->add);
    pthread_rwlock_wrlock(&index->grow);
    struct compact c = {
        .index = index,
        .view = atomic_load(&index->view),
        .count = atomic_load(&index->count),
        .nodes = atomic_load(&index->nodes),
        .live = atomic_load(&index->live),
    };
    enum status status = compact(&c, err);
    first_free(&c); /* what was not used */
    pthread_rwlock_unlock(&index->grow);
    pthread_mutex_unlock(&index->add);
    upper_free(c.upper, c.upper_chunks, index->opts.m);
    mem_free(c.parked);
    if (status != OK) {
        mem_free(c.map);
        return status;
    }
    view_reclaim(index);
    *map_out = c.map;
    *count_out = c.count;
    return OK;
}
