/*
 * Taking a snapshot copies tables and gives versions; bytes are put together when a chunk is asked
 * for, from what units were like before they were changed, and from the index itself where they
 * were not. Writers wait for no more than the copy of a unit.
 *
 * Bytes are those of the state alone: rows, codes and links of what was taken out are blanked.
 */
#include "vector/snapshot.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "vector/centre.h"
#include "vector/check.h"
#include "vector/pages.h"

/* --- units --- */

struct unit {
    uint32_t chunk, first, count; /* slots */
    uint32_t upper_first, upper_count;
};

/* count 0: behind what there was */
static struct unit unit_of(const struct vec_snapshot *s, uint32_t slot)
{
    uint32_t slots = s->manifest.state.count;
    struct unit unit = { .chunk = slot >> CHUNK_BITS, .first = slot & ~(uint32_t)(UNIT_SLOTS - 1) };
    if (unit.first >= slots) {
        return unit;
    }
    unit.count = slots - unit.first < UNIT_SLOTS ? slots - unit.first : UNIT_SLOTS;
    unit.upper_first = s->unit_upper[slot >> UNIT_BITS];
    unit.upper_count = s->unit_upper[(slot >> UNIT_BITS) + 1] - unit.upper_first;
    return unit;
}

static size_t width_of(const struct vec_snapshot *s, enum trail_kind kind)
{
    return kind == TRAIL_ROW    ? s->manifest.shape.bytes
           : kind == TRAIL_CODE ? s->manifest.code_bytes
                                : s->manifest.degree * sizeof(uint32_t) + sizeof(struct node);
}

static size_t image_bytes(const struct vec_snapshot *s, enum trail_kind kind,
                          const struct unit *unit)
{
    size_t upper = kind == TRAIL_GRAPH ? unit->upper_count * s->manifest.state.m * sizeof(uint32_t)
                                       : 0;
    return width_of(s, kind) * unit->count + upper;
}

static void nodes_copy(const struct vec_snapshot *s, const struct unit *unit, uint8_t *out)
{
    const struct node *nodes = s->nodes[unit->chunk] + (unit->first & (CHUNK_SLOTS - 1));
    for (uint32_t i = 0; i < unit->count; i++, out += sizeof(*nodes)) {
        uint8_t state = atomic_load_explicit(&nodes[i].state, memory_order_relaxed);
        uint32_t anchor = atomic_load_explicit(&nodes[i].anchor, memory_order_relaxed);
        anchor = state == NODE_LINKED ? anchor : NO_SLOT;
        memset(out, 0, sizeof(*nodes)); /* nobody holds its lock */
        memcpy(out + offsetof(struct node, anchor), &anchor, sizeof(anchor));
        memcpy(out + offsetof(struct node, upper), &nodes[i].upper, sizeof(nodes[i].upper));
        out[offsetof(struct node, state)] = state == NODE_LINKING ? NODE_NEW : state;
        out[offsetof(struct node, level)] = nodes[i].level;
    }
}

static void upper_copy(const struct vec_snapshot *s, const struct unit *unit, uint8_t *out)
{
    size_t width = s->manifest.state.m * sizeof(uint32_t);
    for (uint32_t i = 0; i < unit->upper_count; i++) {
        uint32_t row = unit->upper_first + i;
        memcpy(out + i * width,
               (const uint8_t *)s->upper[row >> UPPER_BITS] + (row & (UPPER_SLOTS - 1)) * width,
               width);
    }
}

/* A unit as it is: its rows or codes, or its links, nodes and upper layers. */
static void unit_copy(const struct vec_snapshot *s, enum trail_kind kind, const struct unit *unit,
                      uint8_t *out)
{
    uint32_t in_chunk = unit->first & (CHUNK_SLOTS - 1);
    size_t width = width_of(s, kind);
    if (kind == TRAIL_ROW) {
        uint32_t mask = ((uint32_t)1 << s->manifest.row_bits) - 1;
        memcpy(out, s->rows[unit->first >> s->manifest.row_bits] + (unit->first & mask) * width,
               unit->count * width);
    } else if (kind == TRAIL_CODE) {
        memcpy(out, s->codes[unit->chunk] + in_chunk * width, unit->count * width);
    } else {
        size_t links = s->manifest.degree * sizeof(uint32_t);
        memcpy(out, s->links[unit->chunk] + (size_t)in_chunk * s->manifest.degree,
               unit->count * links);
        out += unit->count * links;
        nodes_copy(s, unit, out);
        upper_copy(s, unit, out + unit->count * sizeof(struct node));
    }
}

void snapshot_keep(struct vec_snapshot *s, enum trail_kind kind, uint32_t slot)
{
    struct unit unit = unit_of(s, slot);
    assert(kind < TRAIL_KINDS);
    if (unit.count == 0 || (kind != TRAIL_ROW && s->codec == NULL)) {
        return;
    }
    size_t bytes = image_bytes(s, kind, &unit);
    uint8_t *image = mem_alloc(bytes);
    if (image == NULL) {
        s->failed = true;
        return;
    }
    unit_copy(s, kind, &unit, image);
    s->images[unit.chunk].of[kind][(slot & (CHUNK_SLOTS - 1)) >> UNIT_BITS] = image;
    s->image_bytes += bytes;
}

/* As it was; `out` has room for image_bytes. */
static enum status unit_read(struct vec_snapshot *s, enum trail_kind kind, const struct unit *unit,
                             uint8_t *out, struct err *err)
{
    pthread_mutex_lock(&s->index->trail_lock);
    const uint8_t *image = s->images[unit->chunk]
                               .of[kind][(unit->first & (CHUNK_SLOTS - 1)) >> UNIT_BITS];
    if (image != NULL) {
        memcpy(out, image, image_bytes(s, kind, unit));
    } else if (!s->failed) {
        unit_copy(s, kind, unit, out);
    }
    enum status status = s->failed ? err_no_memory(err) : OK;
    pthread_mutex_unlock(&s->index->trail_lock);
    return status;
}

/* --- chunks --- */

static void blank_links(uint8_t *links, size_t bytes)
{
    memset(links, 0xff, bytes); /* NO_SLOT */
}

static enum status fill_rows(struct vec_snapshot *s, struct piece piece, uint8_t *out,
                             struct err *err)
{
    const struct row_shape *shape = &s->manifest.shape;
    uint32_t size = (uint32_t)1 << s->manifest.row_bits;
    uint32_t from = piece.chunk * CHUNK_SLOTS + piece.part * size;
    for (uint32_t slot = from; slot - from < size; slot += UNIT_SLOTS) {
        struct unit unit = unit_of(s, slot);
        if (unit.count == 0) {
            break;
        }
        TRY(unit_read(s, TRAIL_ROW, &unit, out, err));
        for (uint32_t i = 0; i < unit.count; i++, out += shape->bytes) {
            if (row_dead(shape, out)) {
                memset(out, 0, shape->bytes);
                row_kill(shape, out);
            }
        }
    }
    return OK;
}

/* Links, nodes and upper layers of a chunk, each where its section begins. */
static enum status fill_graph(struct vec_snapshot *s, struct piece piece, uint8_t *out,
                              struct err *err)
{
    struct section sections[SECTIONS_MAX];
    size_t links = s->manifest.degree * sizeof(uint32_t);
    size_t width = s->manifest.state.m * sizeof(uint32_t);
    uint8_t *part = mem_alloc(UNIT_SLOTS * (links + sizeof(struct node) + LEVELS_MAX * width));
    if (part == NULL) {
        return err_no_memory(err);
    }
    (void)manifest_sections(&s->manifest, piece, sections);
    uint8_t *to[] = { out, out + sections[1].offset, out + sections[2].offset };
    enum status status = OK;
    uint32_t first = piece.chunk * CHUNK_SLOTS;
    for (uint32_t slot = first; status == OK && slot - first < CHUNK_SLOTS; slot += UNIT_SLOTS) {
        struct unit unit = unit_of(s, slot);
        if (unit.count == 0) {
            break;
        }
        status = unit_read(s, TRAIL_GRAPH, &unit, part, err);
        const uint8_t *nodes = part + unit.count * links;
        memcpy(to[0], part, unit.count * links);
        memcpy(to[1], nodes, unit.count * sizeof(struct node));
        memcpy(to[2], nodes + unit.count * sizeof(struct node), unit.upper_count * width);
        for (uint32_t i = 0; i < unit.count; i++) {
            const uint8_t *node = to[1];
            uint8_t level = node[offsetof(struct node, level)];
            if (node[offsetof(struct node, state)] != NODE_LINKED) {
                blank_links(to[0], links);
                blank_links(to[2], level * width);
            }
            to[0] += links;
            to[1] += sizeof(struct node);
            to[2] += level * width;
        }
    }
    mem_free(part);
    return status;
}

static enum status fill_codes(struct vec_snapshot *s, struct piece piece, uint8_t *out,
                              struct err *err)
{
    struct piece graph = { .kind = PIECE_GRAPH, .chunk = piece.chunk };
    struct section sections[SECTIONS_MAX];
    size_t width = s->manifest.code_bytes;
    uint8_t *links = pages_alloc(manifest_bytes(&s->manifest, graph));
    if (links == NULL) {
        return err_no_memory(err);
    }
    (void)manifest_sections(&s->manifest, graph, sections);
    enum status status = fill_graph(s, graph, links, err);
    const uint8_t *node = links + sections[1].offset;
    uint32_t first = piece.chunk * CHUNK_SLOTS;
    for (uint32_t slot = first; status == OK && slot - first < CHUNK_SLOTS; slot += UNIT_SLOTS) {
        struct unit unit = unit_of(s, slot);
        if (unit.count == 0) {
            break;
        }
        status = unit_read(s, TRAIL_CODE, &unit, out, err);
        for (uint32_t i = 0; i < unit.count; i++, out += width, node += sizeof(struct node)) {
            if (node[offsetof(struct node, state)] != NODE_LINKED) {
                struct code_tail none = { NAN, NAN };
                memset(out, 0, width);
                memcpy(out + width - CODE_TAIL, &none, sizeof(none));
            }
        }
    }
    pages_free(links, manifest_bytes(&s->manifest, graph));
    return status;
}

static void fill_codec(const struct vec_snapshot *s, uint8_t *out)
{
    size_t mean = s->manifest.shape.padded * sizeof(float);
    memcpy(out, s->codec->mean, mean);
    if (s->codec->matrix != NULL) {
        memcpy(out + mean, s->codec->matrix, s->manifest.codec_bytes - mean);
    }
}

static enum status fill(struct vec_snapshot *s, struct piece piece, uint8_t *out, size_t bytes,
                        struct err *err)
{
    switch (piece.kind) {
    case PIECE_ROWS:
        return fill_rows(s, piece, out, err);
    case PIECE_CODES:
        return fill_codes(s, piece, out, err);
    case PIECE_GRAPH:
        return fill_graph(s, piece, out, err);
    case PIECE_CODEC:
        fill_codec(s, out);
        break;
    case PIECE_FREED:
        memcpy(out, s->freed + (size_t)piece.chunk * (PIECE_BYTES_MAX / sizeof(uint32_t)), bytes);
        break;
    }
    return OK;
}

static struct stored *stored_of(struct vec_snapshot *s, struct piece piece)
{
    switch (piece.kind) {
    case PIECE_ROWS:
        return &s->trails[piece.chunk]->rows[piece.part];
    case PIECE_CODES:
        return &s->trails[piece.chunk]->code;
    case PIECE_GRAPH:
        return &s->trails[piece.chunk]->graph;
    case PIECE_FREED:
        return NULL; /* always summed anew: it is short, and there may be several */
    case PIECE_CODEC:
        break;
    }
    return &s->index->codec_stored;
}

uint32_t vec_snapshot_chunks(const struct vec_snapshot *s)
{
    return s->manifest.pieces;
}

static enum status buffer_room(struct vec_snapshot *s, size_t bytes, struct err *err)
{
    if (bytes <= s->buffer_bytes) {
        return OK;
    }
    pages_free(s->buffer, s->buffer_bytes);
    s->buffer = pages_alloc(bytes);
    s->buffer_bytes = s->buffer == NULL ? 0 : bytes;
    return s->buffer == NULL ? err_no_memory(err) : OK;
}

/* The bytes into s->buffer, and their checksums where they are kept. */
static enum status piece_make(struct vec_snapshot *s, uint32_t number, struct err *err)
{
    struct piece piece = manifest_piece(&s->manifest, number);
    struct stored *stored = stored_of(s, piece);
    size_t bytes = manifest_bytes(&s->manifest, piece);
    TRY(buffer_room(s, bytes, err));
    TRY(fill(s, piece, s->buffer, bytes, err));
    if (s->manifest.crcs[number] != NULL) {
        return OK;
    }
    uint32_t *crcs = mem_alloc(manifest_crc_count(&s->manifest, piece) * sizeof(*crcs));
    if (crcs == NULL) {
        return err_no_memory(err);
    }
    manifest_checksum(&s->manifest, piece, s->buffer, crcs);
    s->manifest.crcs[number] = crcs;
    if (stored != NULL) {
        stored->crcs = crcs;
    }
    return OK;
}

enum status vec_snapshot_chunk(struct vec_snapshot *s, uint32_t number, struct vec_chunk_info *out,
                               const void **bytes_out, struct err *err)
{
    if (number >= s->manifest.pieces) {
        return err_set(err, E_NOT_FOUND, "the snapshot has no chunk %u", number);
    }
    size_t bytes = manifest_bytes(&s->manifest, manifest_piece(&s->manifest, number));
    if (bytes_out != NULL && bytes > 0) {
        TRY(piece_make(s, number, err));
    }
    if (bytes_out != NULL) {
        *bytes_out = s->buffer;
    }
    *out = (struct vec_chunk_info){ .number = number,
                                    .version = s->manifest.versions[number],
                                    .bytes = bytes };
    return OK;
}

enum status vec_snapshot_manifest(struct vec_snapshot *s, void **bytes_out, size_t *len_out,
                                  struct err *err)
{
    for (uint32_t i = 0; i < s->manifest.pieces; i++) {
        struct piece piece = manifest_piece(&s->manifest, i);
        if (manifest_bytes(&s->manifest, piece) > 0 && s->manifest.crcs[i] == NULL) {
            TRY(piece_make(s, i, err));
        }
    }
    return manifest_write(&s->manifest, bytes_out, len_out, err);
}

/* --- taking one --- */

static void state_take(struct vec_index *index, const struct view *view, struct state *out)
{
    *out = (struct state){
        .dimension = index->opts.dimension,
        .metric = (uint32_t)index->opts.metric,
        .m = index->opts.m,
        .ef_construction = index->opts.ef_construction,
        .graph_min = index->opts.graph_min,
        .seed = index->opts.seed,
        .entry = atomic_load(&index->entry),
        .root = atomic_load(&index->root),
        .count = atomic_load(&index->count),
        .live = atomic_load(&index->live),
        .linked = atomic_load(&index->linked),
        .nodes = atomic_load(&index->nodes),
        .upper_used = index->upper_used,
        .norm2_max = index->norm2_max,
        .code_kind = view->codec == NULL ? NO_CODEC : (uint32_t)view->codec->kind,
        .code_dimensions = view->codec == NULL ? 0 : view->codec->dimensions,
        .freed = (uint32_t)index->freed_count,
    };
    for (size_t i = 0; i < AGAIN_MAX; i++) {
        uint32_t slot = atomic_load(&index->again[i]);
        if (slot != NO_SLOT && slot < out->linked) { /* others are linked in their turn */
            out->again[out->again_count++] = slot;
        }
    }
}

static void *table_copy(const void *table, size_t count, bool *failed)
{
    void **copy = mem_zalloc((count + 1) * sizeof(*copy));
    if (copy == NULL) {
        *failed = true;
    } else if (count > 0) {
        memcpy(copy, table, count * sizeof(*copy));
    }
    return copy;
}

/* Whatever may fail, but for the freed slots. */
static enum status tables_take(struct vec_snapshot *s, const struct view *view, struct err *err)
{
    size_t chunks = s->manifest.chunks;
    size_t graph = view->codec == NULL ? 0 : chunks;
    size_t pieces = s->manifest.pieces;
    bool failed = false;
    s->trails = table_copy(view->trails, chunks, &failed);
    s->rows = table_copy(view->rows, chunks * s->manifest.row_parts, &failed);
    s->codes = table_copy(view->codes, graph, &failed);
    s->links = table_copy(view->links, graph, &failed);
    s->nodes = table_copy(view->nodes, graph, &failed);
    s->upper = table_copy(view->upper, view->upper_chunks, &failed);
    s->codec = view->codec;
    if (view->centre != NULL) {
        size_t bytes = s->manifest.shape.padded * sizeof(*s->manifest.centre);
        s->manifest.centre = mem_alloc(bytes);
        failed = failed || s->manifest.centre == NULL;
        if (s->manifest.centre != NULL) {
            memcpy(s->manifest.centre, view->centre->values, bytes);
        }
    }
    s->images = mem_zalloc((chunks + 1) * sizeof(*s->images));
    s->freed = mem_alloc((s->manifest.state.freed + (size_t)1) * sizeof(*s->freed));
    s->unit_upper = mem_zalloc((chunks * UNITS + 1) * sizeof(*s->unit_upper));
    s->manifest.versions = mem_zalloc(pieces * sizeof(*s->manifest.versions));
    s->manifest.crcs = mem_zalloc(pieces * sizeof(*s->manifest.crcs));
    s->manifest.upper_first = mem_zalloc((chunks + 1) * sizeof(*s->manifest.upper_first));
    return failed || s->images == NULL || s->freed == NULL || s->unit_upper == NULL ||
                   s->manifest.versions == NULL || s->manifest.crcs == NULL ||
                   s->manifest.upper_first == NULL
               ? err_no_memory(err)
               : OK;
}

static bool touched(const struct trail *trail, enum trail_kind kind, uint32_t from, uint32_t to)
{
    bool any = false;
    for (uint32_t unit = from; unit < to; unit++) {
        any |= atomic_load_explicit(&trail->touched[kind][unit], memory_order_relaxed);
    }
    return any;
}

static bool piece_changed(struct vec_snapshot *s, struct piece piece)
{
    uint32_t units = ((uint32_t)1 << s->manifest.row_bits) / UNIT_SLOTS;
    switch (piece.kind) {
    case PIECE_ROWS:
        return touched(s->trails[piece.chunk], TRAIL_ROW, piece.part * units,
                       (piece.part + 1) * units);
    case PIECE_CODES:
        return touched(s->trails[piece.chunk], TRAIL_CODE, 0, UNITS);
    case PIECE_GRAPH:
        return touched(s->trails[piece.chunk], TRAIL_GRAPH, 0, UNITS);
    case PIECE_FREED:
    case PIECE_CODEC:
        break;
    }
    return false;
}

/* What changed gets the next version, and what is known of checksums is the others'. */
static void versions_take(struct vec_snapshot *s)
{
    struct vec_index *index = s->index;
    for (uint32_t i = 0; i < s->manifest.pieces; i++) {
        struct piece piece = manifest_piece(&s->manifest, i);
        struct stored *stored = stored_of(s, piece);
        if (manifest_bytes(&s->manifest, piece) == 0) {
            continue;
        }
        if (piece.kind == PIECE_FREED) {
            if (index->freed_changed || index->freed_version == 0) {
                index->freed_version = ++index->versions;
                index->freed_changed = false;
            }
            s->manifest.versions[i] = index->freed_version;
            continue;
        }
        if (stored->version == 0 || piece_changed(s, piece)) {
            mem_free(stored->crcs);
            stored->crcs = NULL;
            stored->version = ++index->versions;
        }
        s->manifest.versions[i] = stored->version;
        s->manifest.crcs[i] = stored->crcs;
    }
    s->manifest.state.versions = index->versions;
    for (uint32_t chunk = 0; chunk < s->manifest.chunks; chunk++) {
        struct trail *trail = s->trails[chunk];
        for (size_t kind = 0; kind < TRAIL_KINDS; kind++) {
            for (size_t unit = 0; unit < UNITS; unit++) {
                atomic_store_explicit(&trail->touched[kind][unit], false, memory_order_relaxed);
            }
        }
    }
}

static void uppers_take(struct vec_snapshot *s, uint32_t upper_used)
{
    uint32_t units = s->manifest.state.count / UNIT_SLOTS +
                     (s->manifest.state.count % UNIT_SLOTS != 0);
    for (uint32_t i = 0; s->codec != NULL && i < units; i++) {
        s->unit_upper[i] = s->nodes[i / UNITS][i % UNITS * UNIT_SLOTS].upper;
        if (i % UNITS == 0) {
            s->manifest.upper_first[i / UNITS] = s->unit_upper[i];
        }
    }
    s->unit_upper[units] = upper_used;
    s->manifest.upper_first[s->manifest.chunks] = upper_used;
}

/* Holds add, and grow alone. */
static enum status take(struct vec_snapshot *s, struct err *err)
{
    struct vec_index *index = s->index;
    const struct view *view = atomic_load(&index->view);
    pthread_mutex_lock(&index->trail_lock); /* the one before has written its checksums */
    bool held = index->snapshot != NULL;
    pthread_mutex_unlock(&index->trail_lock);
    if (held) {
        return err_set(err, E_CONFLICT, "another snapshot of the index is held");
    }
    state_take(index, view, &s->manifest.state);
    manifest_derive(&s->manifest);
    TRY(tables_take(s, view, err));
    uppers_take(s, index->upper_used);
    for (uint32_t i = 0; i < s->manifest.pieces; i++) {
        if (manifest_bytes(&s->manifest, manifest_piece(&s->manifest, i)) > PIECE_BYTES_MAX) {
            return err_set(err, E_TOO_LARGE, "chunk %u of the index would be above 64 MiB", i);
        }
    }
    for (uint32_t i = 0; i < s->manifest.state.freed; i++) {
        s->freed[i] = index->freed[(index->freed_first + i) % index->freed_cap].slot;
    }
    versions_take(s);
    pthread_mutex_lock(&index->trail_lock);
    index->snapshot = s;
    pthread_mutex_unlock(&index->trail_lock);
    return OK;
}

static void snapshot_drop(struct vec_snapshot *s)
{
    for (uint32_t i = 0; s->manifest.crcs != NULL && i < s->manifest.pieces; i++) {
        if (s->manifest.crcs[i] != NULL && stored_of(s, manifest_piece(&s->manifest, i)) != NULL) {
            s->manifest.crcs[i] = NULL; /* the index keeps them */
        }
    }
    for (uint32_t i = 0; s->images != NULL && i < s->manifest.chunks; i++) {
        for (size_t kind = 0; kind < TRAIL_KINDS; kind++) {
            for (size_t unit = 0; unit < UNITS; unit++) {
                mem_free(s->images[i].of[kind][unit]);
            }
        }
    }
    void *const tables[] = { s->trails, s->rows,  s->codes,  s->links,     s->nodes,
                             s->upper,  s->freed, s->images, s->unit_upper };
    manifest_done(&s->manifest);
    for (size_t i = 0; i < ARRAY_LEN(tables); i++) {
        mem_free(tables[i]);
    }
    pages_free(s->buffer, s->buffer_bytes);
    mem_free(s);
}

enum status vec_snapshot_take(struct vec_index *index, struct vec_snapshot **out, struct err *err)
{
    TRY(check_all(index, err)); /* else what is damaged would get checksums of its own */
    struct vec_snapshot *s = mem_zalloc(sizeof(*s));
    if (s == NULL) {
        return err_no_memory(err);
    }
    s->index = index;
    pthread_mutex_lock(&index->add);
    pthread_rwlock_wrlock(&index->grow);
    enum status status = take(s, err);
    pthread_rwlock_unlock(&index->grow);
    pthread_mutex_unlock(&index->add);
    if (status != OK) {
        snapshot_drop(s);
        return status;
    }
    *out = s;
    return OK;
}

void vec_snapshot_free(struct vec_snapshot *s)
{
    if (s == NULL) {
        return;
    }
    pthread_mutex_lock(&s->index->trail_lock);
    s->index->snapshot = NULL;
    pthread_mutex_unlock(&s->index->trail_lock);
    snapshot_drop(s);
}
