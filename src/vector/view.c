/*
 * Where rows, codes, links and nodes stand, how that grows, and when what was replaced is freed.
 */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "vector/centre.h"
#include "vector/load.h"
#include "vector/pages.h"
#include "vector/vec_priv.h"

enum { FIRST_SLOTS = 32, FIRST_GROWS = 2 };

/* --- epochs --- */

void reader_pin(struct vec_scratch *scratch)
{
    /* Sequentially consistent, as is retiring: who frees either sees this pin, or has published
     * the view that is loaded behind it. */
    if (scratch->pins++ == 0) {
        atomic_store(&scratch->pinned, atomic_load(&scratch->index->epoch));
    }
}

const struct view *reader_view(struct vec_scratch *scratch)
{
    return atomic_load(&scratch->index->view);
}

void reader_unpin(struct vec_scratch *scratch)
{
    if (--scratch->pins == 0) {
        atomic_store_explicit(&scratch->pinned, 0, memory_order_release);
    }
}

void vec_pin(struct vec_index *index, struct vec_scratch *scratch)
{
    assert(index == scratch->index);
    reader_pin(scratch);
}

void vec_unpin(struct vec_scratch *scratch)
{
    assert(scratch->pins > 0);
    reader_unpin(scratch);
}

static uint64_t oldest_pinned(struct vec_index *index)
{
    uint64_t oldest = UINT64_MAX;
    for (struct vec_scratch *reader = index->readers; reader != NULL; reader = reader->next) {
        uint64_t pinned = atomic_load(&reader->pinned);
        oldest = pinned != 0 && pinned < oldest ? pinned : oldest;
    }
    return oldest;
}

uint64_t epoch_advance(struct vec_index *index)
{
    return atomic_fetch_add(&index->epoch, 1);
}

uint64_t epoch_oldest(struct vec_index *index, size_t *retired_bytes_out)
{
    pthread_mutex_lock(&index->readers_lock);
    uint64_t oldest = oldest_pinned(index);
    *retired_bytes_out = 0;
    for (const struct retired *at = index->retired; at != NULL; at = at->next) {
        *retired_bytes_out += at->bytes;
    }
    pthread_mutex_unlock(&index->readers_lock);
    return oldest;
}

bool epoch_passed(struct vec_index *index, uint64_t epoch)
{
    pthread_mutex_lock(&index->readers_lock);
    bool passed = epoch < oldest_pinned(index);
    pthread_mutex_unlock(&index->readers_lock);
    return passed;
}

static void retired_free(struct retired *retired)
{
    if (retired->bytes == 0) {
        mem_free(retired->pages);
    } else {
        pages_free(retired->pages, retired->bytes);
    }
    mem_free(retired);
}

void view_reclaim(struct vec_index *index)
{
    pthread_mutex_lock(&index->readers_lock);
    uint64_t oldest = oldest_pinned(index);
    for (struct retired **at = &index->retired; *at != NULL;) {
        struct retired *retired = *at;
        if (retired->epoch < oldest) {
            *at = retired->next;
            retired_free(retired);
        } else {
            at = &retired->next;
        }
    }
    pthread_mutex_unlock(&index->readers_lock);
}

/* `list` is what the new view has no more; it is given away. */
static void publish(struct vec_index *index, struct view *view, struct retired *list)
{
    atomic_store(&index->view, view);
    uint64_t epoch = epoch_advance(index);
    pthread_mutex_lock(&index->readers_lock);
    while (list != NULL) {
        struct retired *next = list->next;
        list->epoch = epoch;
        list->next = index->retired;
        index->retired = list;
        list = next;
    }
    pthread_mutex_unlock(&index->readers_lock);
    view_reclaim(index);
}

/* --- a change: the next view, and what it replaces --- */

struct change {
    struct vec_index *index;
    const struct view *old;
    struct view *next;
    struct retired *replaced; /* freed when no search reads it */
    struct retired *made;     /* freed when the change fails */
    bool failed;
};

static void list_add(struct change *c, struct retired **list, void *pages, size_t bytes)
{
    struct retired *retired = mem_alloc(sizeof(*retired));
    if (retired == NULL) {
        c->failed = true;
        return;
    }
    *retired = (struct retired){ .next = *list, .pages = pages, .bytes = bytes };
    *list = retired;
}

static void *change_alloc(struct change *c, size_t bytes)
{
    void *pages = c->failed ? NULL : pages_alloc(bytes);
    if (pages == NULL) {
        c->failed = true;
        return NULL;
    }
    list_add(c, &c->made, pages, bytes);
    if (c->failed) {
        pages_free(pages, bytes);
        return NULL;
    }
    return pages;
}

/* A table of pointers with `more` at its end, for the next view. */
static void change_table(struct change *c, void *table_ptr, uint32_t count, uint32_t more)
{
    void **table;
    memcpy(&table, table_ptr, sizeof(table));
    void **copy = c->failed ? NULL : mem_zalloc((size_t)(count + more) * sizeof(*copy));
    if (copy == NULL) {
        c->failed = true;
        return;
    }
    if (count > 0) {
        memcpy(copy, table, count * sizeof(*copy));
    }
    memcpy(table_ptr, &copy, sizeof(copy));
}

static bool change_begin(struct change *c, struct vec_index *index, uint32_t chunks,
                         uint32_t upper_chunks)
{
    struct view *old = atomic_load_explicit(&index->view, memory_order_relaxed);
    *c = (struct change){ .index = index, .old = old, .next = mem_alloc(sizeof(*c->next)) };
    if (c->next == NULL) {
        return false;
    }
    *c->next = *old;
    struct view *next = c->next;
    uint32_t parts = index->row_parts;
    /* each in turn: after a failure all are the old view's, or copies */
    change_table(c, &next->trails, old->chunks, chunks);
    change_table(c, &next->rows, old->chunks * parts, chunks * parts);
    change_table(c, &next->codes, old->codec != NULL ? old->chunks : 0, old->chunks + chunks);
    change_table(c, &next->links, old->codec != NULL ? old->chunks : 0, old->chunks + chunks);
    change_table(c, &next->nodes, old->codec != NULL ? old->chunks : 0, old->chunks + chunks);
    change_table(c, &next->upper, old->upper_chunks, upper_chunks);
    next->chunks += chunks;
    next->upper_chunks += upper_chunks;
    return true;
}

static void view_tables_free(struct view *view, const struct view *not_those)
{
    void *tables[][2] = { { view->trails, not_those != NULL ? not_those->trails : NULL },
                          { view->rows, not_those != NULL ? not_those->rows : NULL },
                          { view->codes, not_those != NULL ? not_those->codes : NULL },
                          { view->links, not_those != NULL ? not_those->links : NULL },
                          { view->nodes, not_those != NULL ? not_those->nodes : NULL },
                          { view->upper, not_those != NULL ? not_those->upper : NULL } };
    for (size_t i = 0; i < ARRAY_LEN(tables); i++) {
        if (tables[i][0] != tables[i][1]) {
            mem_free(tables[i][0]);
        }
    }
    mem_free(view);
}

static size_t list_drop(struct retired *list, bool pages_too)
{
    size_t bytes = 0;
    while (list != NULL) {
        struct retired *next = list->next;
        bytes += list->bytes;
        if (pages_too) {
            retired_free(list);
        } else {
            mem_free(list);
        }
        list = next;
    }
    return bytes;
}

static enum status change_end(struct change *c, struct err *err)
{
    struct vec_index *index = c->index;
    struct view *old = atomic_load_explicit(&index->view, memory_order_relaxed);
    void *gone[] = { old->trails, old->rows, old->codes, old->links, old->nodes, old->upper, old };
    for (size_t i = 0; !c->failed && i < ARRAY_LEN(gone); i++) {
        if (gone[i] != NULL) {
            list_add(c, &c->replaced, gone[i], 0);
        }
    }
    if (c->failed) {
        (void)list_drop(c->made, true);
        (void)list_drop(c->replaced, false);
        view_tables_free(c->next, old);
        return err_no_memory(err);
    }
    size_t dropped = 0;
    for (struct retired *at = c->replaced; at != NULL; at = at->next) {
        dropped += at->bytes;
    }
    size_t added = list_drop(c->made, false);
    atomic_fetch_add_explicit(&index->memory_bytes, added - dropped, memory_order_relaxed);
    publish(index, c->next, c->replaced);
    return OK;
}

/* --- growing --- */

static uint32_t capacity(const struct view *view)
{
    return view->chunks == 0   ? 0
           : view->chunks == 1 ? view->first_slots
                               : view->chunks * CHUNK_SLOTS;
}

static size_t code_bytes(const struct view *view)
{
    return (size_t)view->codec->lines * LINE;
}

/* Chunk `i` for `slots` slots, with the first `kept` of what was there. */
static void *regrow(struct change *c, void *old, size_t width, uint32_t kept, uint32_t slots)
{
    char *pages = change_alloc(c, width * slots);
    if (pages != NULL && old != NULL) {
        memcpy(pages, old, width * kept);
        list_add(c, &c->replaced, old, width * kept);
    }
    return pages;
}

/* The parts of a chunk's rows; a whole one stays where it is. */
static void rows_regrow(struct change *c, uint32_t chunk, uint32_t kept, uint32_t slots)
{
    uint32_t size = (uint32_t)1 << c->index->row_bits;
    uint8_t **parts = c->next->rows + (size_t)chunk * c->index->row_parts;
    for (uint32_t from = 0; from < slots; from += size, parts++) {
        uint32_t have = kept < from ? 0 : kept - from < size ? kept - from : size;
        uint32_t want = slots - from < size ? slots - from : size;
        if (have < want) {
            *parts = regrow(c, *parts, c->index->shape.bytes, have, want);
        }
    }
}

/* What a snapshot still needs of a chunk that is about to stand elsewhere. */
static void trail_touch_all(const struct view *view, uint32_t slots)
{
    for (uint32_t slot = 0; slot < slots; slot += UNIT_SLOTS) {
        trail_touch(view, TRAIL_ROW, slot);
        if (view->codec != NULL) {
            trail_touch(view, TRAIL_CODE, slot);
            trail_touch(view, TRAIL_GRAPH, slot);
        }
    }
}

static void trail_add(struct change *c, uint32_t chunk)
{
    struct trail *trail = c->failed ? NULL : mem_zalloc(sizeof(*trail));
    if (trail == NULL) {
        c->failed = true;
        return;
    }
    list_add(c, &c->made, trail, 0);
    if (c->failed) {
        mem_free(trail);
    } else {
        c->next->trails[chunk] = trail;
    }
}

static void links_clear(uint32_t *links, size_t from, size_t to)
{
    for (size_t i = from; links != NULL && i < to; i++) {
        links[i] = NO_SLOT;
    }
}

/* Links and nodes of a chunk, and codes of the next view's codec. */
static void graph_chunk(struct change *c, uint32_t i, uint32_t kept, uint32_t slots)
{
    struct view *next = c->next;
    uint32_t degree = c->index->degree;
    next->codes[i] = regrow(c, next->codes[i], code_bytes(next), kept, slots);
    next->links[i] = regrow(c, next->links[i], degree * sizeof(uint32_t), kept, slots);
    links_clear(next->links[i], (size_t)kept * degree, (size_t)slots * degree);
    next->nodes[i] = regrow(c, next->nodes[i], sizeof(struct node), kept, slots);
}

static void upper_chunks_fill(struct change *c)
{
    struct view *next = c->next;
    size_t words = (size_t)UPPER_SLOTS * c->index->opts.m;
    for (uint32_t i = c->old->upper_chunks; i < next->upper_chunks; i++) {
        next->upper[i] = change_alloc(c, words * sizeof(uint32_t));
        links_clear(next->upper[i], 0, words);
    }
}

uint32_t view_first_slots(uint32_t slots)
{
    uint32_t first = FIRST_SLOTS;
    while (first < slots && first < CHUNK_SLOTS) {
        first *= FIRST_GROWS;
    }
    return first;
}

static enum status grow_slots(struct vec_index *index, struct err *err)
{
    struct view *old = atomic_load_explicit(&index->view, memory_order_relaxed);
    bool first = old->chunks == 0 || (old->chunks == 1 && old->first_slots < CHUNK_SLOTS);
    struct change c;
    if (!change_begin(&c, index, old->chunks == 0 || !first, 0)) {
        return err_no_memory(err);
    }
    uint32_t kept = first ? old->first_slots : 0;
    uint32_t slots = !first ? CHUNK_SLOTS : kept == 0 ? FIRST_SLOTS : kept * FIRST_GROWS;
    slots = slots < CHUNK_SLOTS ? slots : CHUNK_SLOTS;
    uint32_t i = c.next->chunks - 1;
    if (!c.failed) {
        c.next->first_slots = first ? slots : old->first_slots;
        if (old->chunks == c.next->chunks) {
            trail_touch_all(old, kept);
        } else {
            trail_add(&c, i);
        }
        rows_regrow(&c, i, kept, slots);
        if (c.next->codec != NULL) {
            graph_chunk(&c, i, kept, slots);
        }
    }
    return change_end(&c, err);
}

uint32_t node_level(const struct vec_index *index, uint32_t slot)
{
    uint64_t hash = index->opts.seed + ((uint64_t)slot + 1) * 0x9e3779b97f4a7c15; /* splitmix64 */
    hash = (hash ^ (hash >> 30)) * 0xbf58476d1ce4e5b9;
    hash = (hash ^ (hash >> 27)) * 0x94d049bb133111eb;
    hash ^= hash >> 31;
    uint32_t level = 0;
    while (level + 1 < LEVELS_MAX && hash % index->opts.m == 0) {
        hash /= index->opts.m;
        level++;
    }
    return level;
}

static void centre_replace(struct change *c, struct centre *centre)
{
    list_add(c, &c->made, centre, 0);
    if (c->failed) {
        mem_free(centre);
        return;
    }
    if (c->old->centre != NULL) {
        list_add(c, &c->replaced, c->old->centre, 0);
    }
    c->next->centre = centre;
}

enum status view_recentre(struct vec_index *index, struct centre *centre, struct err *err)
{
    struct view *old = atomic_load_explicit(&index->view, memory_order_relaxed);
    uint32_t slots = old->first_slots;
    struct change c;
    assert(old->codec == NULL && slots <= (uint32_t)1 << index->row_bits);
    if (!change_begin(&c, index, 0, 0)) {
        mem_free(centre);
        return err_no_memory(err);
    }
    centre_replace(&c, centre);
    if (!c.failed && slots > 0) {
        trail_touch_all(old, slots);
        c.next->rows[0] = regrow(&c, old->rows[0], index->shape.bytes, slots, slots);
    }
    if (!c.failed) {
        centre_rows_write(index, c.next, atomic_load_explicit(&index->count, memory_order_relaxed));
    }
    return change_end(&c, err);
}

static enum status grow_upper(struct vec_index *index, uint32_t rows, struct err *err)
{
    struct view *old = atomic_load_explicit(&index->view, memory_order_relaxed);
    uint32_t chunks = (rows + UPPER_SLOTS - 1) / UPPER_SLOTS;
    struct change c;
    if (chunks <= old->upper_chunks) {
        return OK;
    }
    if (!change_begin(&c, index, 0, chunks - old->upper_chunks)) {
        return err_no_memory(err);
    }
    if (!c.failed) {
        upper_chunks_fill(&c);
    }
    return change_end(&c, err);
}

static void node_begin(struct vec_index *index, const struct view *view, uint32_t slot)
{
    struct node *node = view_node(view, slot);
    trail_touch(view, TRAIL_GRAPH, slot);
    trail_touch(view, TRAIL_CODE, slot); /* which is longer now */
    node->level = (uint8_t)node_level(index, slot);
    node->upper = index->upper_used;
    index->upper_used += node->level;
    atomic_init(&node->anchor, NO_SLOT);
}

static enum status grow_for(struct vec_index *index, uint32_t slot, struct err *err)
{
    const struct view *view = atomic_load_explicit(&index->view, memory_order_relaxed);
    if (slot >= capacity(view)) {
        TRY(grow_slots(index, err));
        view = atomic_load_explicit(&index->view, memory_order_relaxed);
    }
    if (view->codec == NULL) {
        return OK;
    }
    TRY(grow_upper(index, index->upper_used + node_level(index, slot), err));
    node_begin(index, atomic_load_explicit(&index->view, memory_order_relaxed), slot);
    return OK;
}

enum status view_room(struct vec_index *index, struct err *err)
{
    const struct view *view = atomic_load_explicit(&index->view, memory_order_relaxed);
    uint32_t slot = atomic_load_explicit(&index->count, memory_order_relaxed);
    if (slot >= SLOTS_MAX - CHUNK_SLOTS) {
        return err_set(err, E_NO_MEMORY, "an index holds at most %d vectors",
                       SLOTS_MAX - CHUNK_SLOTS);
    }
    uint32_t level = node_level(index, slot);
    if (slot < capacity(view) &&
        (view->codec == NULL || index->upper_used + level <= view->upper_chunks * UPPER_SLOTS)) {
        if (view->codec != NULL) {
            node_begin(index, view, slot);
        }
        return OK;
    }
    pthread_rwlock_wrlock(&index->grow);
    enum status status = grow_for(index, slot, err);
    pthread_rwlock_unlock(&index->grow);
    return status;
}

enum status view_begin_graph(struct vec_index *index, struct codec *codec, struct err *err)
{
    uint32_t count = atomic_load_explicit(&index->count, memory_order_relaxed);
    uint32_t rows = 0;
    for (uint32_t slot = 0; slot < count; slot++) {
        rows += node_level(index, slot);
    }
    struct change c;
    if (!change_begin(&c, index, 0, (rows + UPPER_SLOTS) / UPPER_SLOTS)) {
        return err_no_memory(err);
    }
    c.next->codec = codec;
    for (uint32_t i = 0; !c.failed && i < c.next->chunks; i++) {
        graph_chunk(&c, i, 0, c.next->chunks == 1 ? c.next->first_slots : CHUNK_SLOTS);
    }
    if (!c.failed) {
        upper_chunks_fill(&c);
    }
    for (uint32_t slot = 0; !c.failed && slot < count; slot++) {
        node_begin(index, c.next, slot);
        if (row_dead(&index->shape, view_row(index, c.next, slot))) {
            atomic_init(&view_node(c.next, slot)->state, NODE_GONE);
            code_tail_set(c.next, slot, (struct code_tail){ NAN, NAN }); /* scans read all codes */
        }
    }
    enum status status = change_end(&c, err);
    index->upper_used = status == OK ? index->upper_used : 0;
    return status;
}

/* --- birth and death --- */

enum status view_new(struct vec_index *index, struct err *err)
{
    struct view *view = mem_zalloc(sizeof(*view));
    if (view == NULL) {
        return err_no_memory(err);
    }
    view->index = index;
    atomic_init(&index->view, view);
    return OK;
}

/* Rows, codes and links of a chunk where they were loaded, or as memory. */
static void restore_chunk(struct change *c, uint32_t chunk, uint32_t slots,
                          const struct in_place *in_place)
{
    struct vec_index *index = c->index;
    struct view *next = c->next;
    struct trail *trail = next->trails[chunk];
    uint32_t size = (uint32_t)1 << index->row_bits;
    for (uint32_t part = 0; !c->failed && part * size < slots; part++) {
        size_t at = (size_t)chunk * index->row_parts + part;
        next->rows[at] = in_place->rows[at];
        trail->rows[part].in_place = next->rows[at] != NULL;
        if (next->rows[at] == NULL) {
            uint32_t want = slots - part * size < size ? slots - part * size : size;
            next->rows[at] = change_alloc(c, index->shape.bytes * want);
        }
    }
    if (next->codec == NULL || c->failed) {
        return;
    }
    next->codes[chunk] = in_place->codes[chunk];
    trail->code.in_place = next->codes[chunk] != NULL;
    if (next->codes[chunk] == NULL) {
        next->codes[chunk] = change_alloc(c, code_bytes(next) * slots);
    }
    next->links[chunk] = in_place->links[chunk];
    trail->graph.in_place = next->links[chunk] != NULL;
    size_t words = (size_t)slots * index->degree;
    if (next->links[chunk] != NULL) {
        next->nodes[chunk] = (struct node *)(next->links[chunk] + words);
        return;
    }
    next->links[chunk] = change_alloc(c, words * sizeof(uint32_t));
    links_clear(next->links[chunk], 0, words);
    next->nodes[chunk] = change_alloc(c, sizeof(struct node) * slots);
}

enum status view_restore(struct vec_index *index, uint32_t slots, uint32_t upper_rows,
                         struct centre *centre, struct codec *codec,
                         const struct in_place *in_place, struct err *err)
{
    uint32_t chunks = (slots + CHUNK_SLOTS - 1) / CHUNK_SLOTS;
    uint32_t first = view_first_slots(slots);
    struct change c;
    if (!change_begin(&c, index, chunks,
                      codec == NULL ? 0 : (upper_rows + UPPER_SLOTS) / UPPER_SLOTS)) {
        return err_no_memory(err);
    }
    c.next->centre = centre;
    c.next->codec = codec;
    c.next->first_slots = chunks == 0 ? 0 : first;
    for (uint32_t i = 0; !c.failed && i < chunks; i++) {
        trail_add(&c, i);
        if (!c.failed) {
            restore_chunk(&c, i, chunks == 1 ? first : CHUNK_SLOTS, in_place);
        }
    }
    if (!c.failed) {
        upper_chunks_fill(&c);
    }
    return change_end(&c, err);
}

/* What stands in loaded memory is the source's, and not this index' memory alone. */
static size_t unless_loaded(const struct stored *stored, void *pages, size_t bytes)
{
    if (!stored->in_place) {
        pages_free(pages, bytes);
    }
    return bytes;
}

static size_t part_free(struct vec_index *index, const struct view *view, uint32_t chunk,
                        uint32_t part, uint32_t slots)
{
    struct stored *stored = &view->trails[chunk]->rows[part];
    uint8_t **rows = &view->rows[chunk * index->row_parts + part];
    size_t bytes = unless_loaded(stored, *rows, index->shape.bytes * slots);
    if (stored->in_place) {
        load_give_back(index->load, (struct piece){ PIECE_ROWS, chunk, part });
    }
    stored->in_place = false;
    *rows = NULL;
    return bytes;
}

static size_t graph_free(struct vec_index *index, const struct view *view, uint32_t chunk,
                         uint32_t slots)
{
    struct trail *trail = view->trails[chunk];
    size_t bytes = unless_loaded(&trail->code, view->codes[chunk], code_bytes(view) * slots);
    bytes += unless_loaded(&trail->graph, view->links[chunk],
                           index->degree * sizeof(uint32_t) * slots);
    bytes += unless_loaded(&trail->graph, view->nodes[chunk], sizeof(struct node) * slots);
    if (trail->code.in_place) {
        load_give_back(index->load, (struct piece){ PIECE_CODES, chunk, 0 });
    }
    if (trail->graph.in_place) {
        load_give_back(index->load, (struct piece){ PIECE_GRAPH, chunk, 0 });
    }
    trail->code.in_place = false;
    trail->graph.in_place = false;
    return bytes;
}

static uint32_t part_slots(const struct vec_index *index, uint32_t slots, uint32_t part)
{
    uint32_t size = (uint32_t)1 << index->row_bits;
    return slots <= part * size ? 0 : slots - part * size < size ? slots - part * size : size;
}

static size_t chunk_free(struct vec_index *index, const struct view *view, uint32_t chunk)
{
    struct trail *trail = view->trails[chunk];
    uint32_t slots = view->chunks == 1 ? view->first_slots : CHUNK_SLOTS;
    size_t bytes = 0;
    for (uint32_t part = 0; part < index->row_parts; part++) {
        bytes += part_free(index, view, chunk, part, part_slots(index, slots, part));
        mem_free(trail->rows[part].crcs);
    }
    if (view->codec != NULL) {
        bytes += graph_free(index, view, chunk, slots);
    }
    mem_free(trail->code.crcs);
    mem_free(trail->graph.crcs);
    mem_free(trail);
    return bytes;
}

void view_chunks_drop(struct vec_index *index, struct view *view, uint32_t chunks)
{
    size_t bytes = 0;
    for (uint32_t i = chunks; i < view->chunks; i++) {
        bytes += chunk_free(index, view, i);
    }
    view->chunks = chunks < view->chunks ? chunks : view->chunks;
    view->first_slots = view->chunks == 0 ? 0 : view->first_slots;
    atomic_fetch_sub(&index->memory_bytes, bytes);
}

void view_first_replace(struct vec_index *index, struct view *view, const struct first_chunk *first)
{
    uint32_t have = view->chunks == 1 ? view->first_slots : CHUNK_SLOTS;
    size_t gone = 0;
    size_t came = 0;
    for (uint32_t part = 0; part < index->row_parts; part++) {
        uint32_t slots = part_slots(index, first->slots, part);
        if (slots < part_slots(index, have, part)) {
            gone += part_free(index, view, 0, part, part_slots(index, have, part));
            view->rows[part] = first->rows[part];
            came += index->shape.bytes * slots;
        }
    }
    if (view->codec != NULL) {
        gone += graph_free(index, view, 0, have);
        view->codes[0] = first->codes;
        view->links[0] = first->links;
        view->nodes[0] = first->nodes;
        came += (code_bytes(view) + index->degree * sizeof(uint32_t) + sizeof(struct node)) *
                first->slots;
    }
    view->first_slots = first->slots;
    atomic_fetch_add(&index->memory_bytes, came - gone);
}

void view_free_all(struct vec_index *index)
{
    struct view *view = atomic_load_explicit(&index->view, memory_order_relaxed);
    for (struct retired *at = index->retired; at != NULL;) {
        struct retired *next = at->next;
        retired_free(at);
        at = next;
    }
    if (view == NULL) {
        return;
    }
    for (uint32_t i = 0; i < view->chunks; i++) {
        (void)chunk_free(index, view, i);
    }
    for (uint32_t i = 0; i < view->upper_chunks; i++) {
        pages_free(view->upper[i], (size_t)UPPER_SLOTS * index->opts.m * sizeof(uint32_t));
    }
    codec_free(view->codec);
    mem_free(view->centre);
    view_tables_free(view, NULL);
}
