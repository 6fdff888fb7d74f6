/*
 * Loading: chunks that are whole stay where they are mapped; what may grow, and what is small, is
 * copied and checked now.
 */
#include "vector/load.h"

#include <string.h>

#include "base/crc32c.h"
#include "base/mem.h"
#include "vector/centre.h"
#include "vector/check.h"

struct loading {
    struct vec_index *index;
    struct load *load;
    struct in_place in_place;
    struct codec *codec; /* until it is the view's, as is the centre */
    struct centre *centre;
};

static enum status piece_damaged(uint32_t number, struct err *err)
{
    return err_set(err, E_CORRUPT, "chunk %u of the vector index is damaged", number);
}

static void piece_release(struct load *load, uint32_t number)
{
    struct mapped *mapped = &load->mapped[number];
    if (mapped->bytes != NULL) {
        load->source.release(load->source.ctx, number, mapped->bytes, mapped->len);
    }
    mapped->bytes = NULL;
}

void load_give_back(struct load *load, struct piece piece)
{
    uint32_t number = manifest_number(&load->manifest, piece);
    if (load->mapped != NULL && number < load->manifest.pieces) {
        piece_release(load, number);
    }
}

void load_free(struct load *load)
{
    if (load == NULL) {
        return;
    }
    for (uint32_t i = 0; load->mapped != NULL && i < load->manifest.pieces; i++) {
        piece_release(load, i);
    }
    manifest_done(&load->manifest);
    (void)pthread_mutex_destroy(&load->lock);
    mem_free(load->mapped);
    mem_free(load->dead);
    mem_free(load);
}

/* --- mapping --- */

/* Whether it may stay where it is mapped: nothing is ever added to it. */
static bool stays(const struct manifest *manifest, struct piece piece)
{
    if (piece.kind == PIECE_ROWS) {
        return manifest_bytes(manifest, piece) == manifest->shape.bytes << manifest->row_bits;
    }
    return (piece.kind == PIECE_CODES || piece.kind == PIECE_GRAPH) &&
           manifest_slots(manifest, piece.chunk) == CHUNK_SLOTS;
}

static bool sections_right(const struct load *load, uint32_t number, bool stay)
{
    const struct manifest *manifest = &load->manifest;
    struct piece piece = manifest_piece(manifest, number);
    struct section sections[SECTIONS_MAX];
    uint32_t n = manifest_sections(manifest, piece, sections);
    assert(n <= SECTIONS_MAX);
    const uint32_t *crc = manifest->crcs[number];
    const uint8_t *bytes = load->mapped[number].bytes;
    for (uint32_t i = 0; i < n; i++) {
        const struct section *section = &sections[i];
        bool later = stay && !(piece.kind == PIECE_GRAPH && i == n - 1);
        for (size_t at = 0; at < section->bytes; at += section->block, crc++) {
            size_t left = section->bytes - at;
            size_t len = left < section->block ? left : section->block;
            if (!later && crc32c(0, bytes + section->offset + at, len) != *crc) {
                return false;
            }
        }
    }
    return true;
}

static void place(struct loading *l, struct piece piece, void *bytes)
{
    if (piece.kind == PIECE_ROWS) {
        l->in_place.rows[piece.chunk * l->load->manifest.row_parts + piece.part] = bytes;
    } else if (piece.kind == PIECE_CODES) {
        l->in_place.codes[piece.chunk] = bytes;
    } else {
        l->in_place.links[piece.chunk] = bytes;
    }
}

static enum status piece_map(struct loading *l, uint32_t number, struct err *err)
{
    struct load *load = l->load;
    struct piece piece = manifest_piece(&load->manifest, number);
    size_t bytes = manifest_bytes(&load->manifest, piece);
    struct mapped *mapped = &load->mapped[number];
    if (bytes == 0) {
        return OK;
    }
    TRY(load->source.map(load->source.ctx, number, &mapped->bytes, &mapped->len, err));
    if (mapped->len != bytes) {
        return err_set(err, E_CORRUPT, "chunk %u of the vector index has %zu bytes, not %zu",
                       number, mapped->len, bytes);
    }
    bool stay = stays(&load->manifest, piece) && (uintptr_t)mapped->bytes % LINE == 0;
    if (stay) {
        place(l, piece, mapped->bytes);
    }
    return sections_right(load, number, stay) ? OK : piece_damaged(number, err);
}

static enum status tables_alloc(struct loading *l, struct err *err)
{
    const struct manifest *manifest = &l->load->manifest;
    size_t chunks = manifest->chunks;
    l->load->mapped = mem_zalloc(manifest->pieces * sizeof(*l->load->mapped));
    l->load->dead = mem_zalloc(((size_t)manifest->state.count / 64 + 1) * sizeof(uint64_t));
    l->in_place.rows = mem_zalloc(chunks * manifest->row_parts * sizeof(*l->in_place.rows));
    l->in_place.codes = mem_zalloc(chunks * sizeof(*l->in_place.codes));
    l->in_place.links = mem_zalloc(chunks * sizeof(*l->in_place.links));
    return l->load->mapped == NULL || l->load->dead == NULL || l->in_place.rows == NULL ||
                   l->in_place.codes == NULL || l->in_place.links == NULL
               ? err_no_memory(err)
               : OK;
}

/* --- what is copied --- */

static enum status codec_load(struct loading *l, struct err *err)
{
    const struct manifest *manifest = &l->load->manifest;
    const uint8_t *bytes = l->load->mapped[0].bytes;
    size_t mean = manifest->shape.padded * sizeof(float);
    if (manifest->state.code_kind == NO_CODEC) {
        return OK;
    }
    struct codec *codec = mem_zalloc(sizeof(*codec));
    l->codec = codec;
    if (codec == NULL) {
        return err_no_memory(err);
    }
    codec_shape(codec, (enum code_kind)manifest->state.code_kind, &manifest->shape);
    codec->simd = l->index->simd;
    codec->dot = manifest->state.metric == (uint32_t)VEC_DOT;
    codec->mean = mem_alloc(mean);
    codec->matrix = codec_has_matrix(codec) ? mem_alloc(manifest->codec_bytes - mean) : NULL;
    if (codec->mean == NULL || (codec->matrix == NULL && codec_has_matrix(codec))) {
        return err_no_memory(err);
    }
    memcpy(codec->mean, bytes, mean);
    if (codec->matrix != NULL) {
        memcpy(codec->matrix, bytes + mean, manifest->codec_bytes - mean);
    }
    return codec_trained(codec) ? codec_steps(codec, err) : piece_damaged(0, err);
}

static enum status freed_load(struct loading *l, struct err *err)
{
    struct vec_index *index = l->index;
    struct load *load = l->load;
    uint32_t n = 0;
    index->freed = mem_alloc((load->manifest.state.freed + (size_t)1) * sizeof(*index->freed));
    if (index->freed == NULL) {
        return err_no_memory(err);
    }
    index->freed_cap = load->manifest.state.freed + (size_t)1;
    for (uint32_t i = load->manifest.freed_first; i < load->manifest.pieces; i++) {
        const uint8_t *bytes = load->mapped[i].bytes;
        for (size_t at = 0; at < load->mapped[i].len; at += sizeof(uint32_t)) {
            uint32_t slot;
            memcpy(&slot, bytes + at, sizeof(slot));
            if (slot >= load->manifest.state.count || !bit_take(load->dead, slot)) {
                return piece_damaged(i, err);
            }
            index->freed[n++] = (struct freed){ .slot = slot };
        }
    }
    index->freed_count = n;
    return OK;
}

static void upper_load(const struct loading *l, const struct view *view, uint32_t chunk,
                       const uint8_t *rows)
{
    const struct manifest *manifest = &l->load->manifest;
    size_t m = manifest->state.m;
    for (uint32_t row = manifest->upper_first[chunk]; row < manifest->upper_first[chunk + 1];
         row++) {
        memcpy(view->upper[row >> UPPER_BITS] + (row & (UPPER_SLOTS - 1)) * m, rows,
               m * sizeof(uint32_t));
        rows += m * sizeof(uint32_t);
    }
}

static void piece_copy(const struct loading *l, uint32_t number)
{
    const struct manifest *manifest = &l->load->manifest;
    const struct view *view = atomic_load(&l->index->view);
    struct piece piece = manifest_piece(manifest, number);
    const uint8_t *bytes = l->load->mapped[number].bytes;
    size_t part = (size_t)piece.chunk * manifest->row_parts + piece.part;
    struct section sections[SECTIONS_MAX];
    (void)manifest_sections(manifest, piece, sections);
    if (piece.kind == PIECE_ROWS && l->in_place.rows[part] == NULL) {
        memcpy(view->rows[part], bytes, sections[0].bytes);
    } else if (piece.kind == PIECE_CODES && l->in_place.codes[piece.chunk] == NULL) {
        memcpy(view->codes[piece.chunk], bytes, sections[0].bytes);
    } else if (piece.kind == PIECE_GRAPH) {
        upper_load(l, view, piece.chunk, bytes + sections[2].offset);
        if (l->in_place.links[piece.chunk] == NULL) {
            memcpy(view->links[piece.chunk], bytes, sections[0].bytes);
            memcpy((void *)view->nodes[piece.chunk], bytes + sections[1].offset, sections[1].bytes);
        }
    }
}

/* What is known of a piece: it is the same in the next snapshot, unless it is changed. */
static void stored_load(const struct loading *l, uint32_t number)
{
    struct manifest *manifest = &l->load->manifest;
    struct piece piece = manifest_piece(manifest, number);
    const struct view *view = atomic_load(&l->index->view);
    struct trail *trail = piece.kind == PIECE_CODEC || piece.kind == PIECE_FREED
                              ? NULL
                              : view->trails[piece.chunk];
    struct stored *stored = piece.kind == PIECE_CODEC   ? &l->index->codec_stored
                            : piece.kind == PIECE_ROWS  ? &trail->rows[piece.part]
                            : piece.kind == PIECE_CODES ? &trail->code
                            : piece.kind == PIECE_GRAPH ? &trail->graph
                                                        : NULL;
    if (stored == NULL) {
        l->index->freed_version = manifest->versions[number];
    } else {
        stored->version = manifest->versions[number];
        stored->crcs = manifest->crcs[number];
        manifest->crcs[number] = NULL;
    }
}

/* --- loading --- */

static void state_load(const struct loading *l)
{
    struct vec_index *index = l->index;
    const struct state *state = &l->load->manifest.state;
    atomic_store(&index->count, state->count);
    atomic_store(&index->claimed, state->linked);
    atomic_store(&index->linked, state->linked);
    atomic_store(&index->live, state->live);
    atomic_store(&index->nodes, state->nodes);
    atomic_store(&index->entry, state->entry);
    atomic_store(&index->root, state->root);
    for (uint32_t i = 0; i < state->again_count; i++) {
        atomic_store(&index->again[i], state->again[i]);
    }
    index->upper_used = state->upper_used;
    index->norm2_max = state->norm2_max;
    index->versions = state->versions;
    atomic_store(&index->unchecked, true);
}

/* Whatever was copied is given back, and the index has taken the rest. */
static enum status load_all(struct loading *l, struct err *err)
{
    struct load *load = l->load;
    const struct state *state = &load->manifest.state;
    bool small = true;
    TRY(tables_alloc(l, err));
    for (uint32_t i = 0; i < load->manifest.pieces; i++) {
        TRY(piece_map(l, i, err));
    }
    TRY(codec_load(l, err));
    TRY(freed_load(l, err));
    if (load->manifest.centre != NULL) {
        l->centre = centre_new(l->index, load->manifest.centre);
        if (l->centre == NULL) {
            return err_no_memory(err);
        }
    }
    TRY(view_restore(l->index, state->count, state->upper_used, l->centre, l->codec, &l->in_place,
                     err));
    l->centre = NULL;
    l->codec = NULL;
    for (uint32_t i = 0; i < load->manifest.pieces; i++) {
        struct piece piece = manifest_piece(&load->manifest, i);
        if (load->mapped[i].bytes == NULL) {
            continue;
        }
        piece_copy(l, i);
        stored_load(l, i);
        bool stay = stays(&load->manifest, piece) && (uintptr_t)load->mapped[i].bytes % LINE == 0;
        small &= !stay;
        if (stay) {
            atomic_fetch_add(&l->index->memory_bytes, load->mapped[i].len);
        } else {
            piece_release(load, i);
        }
    }
    state_load(l);
    return small ? check_all(l->index, err) : OK;
}

enum status vec_load(const struct vec_opts *opts, const void *manifest, size_t len,
                     const struct vec_chunk_source *source, struct vec_index **out, struct err *err)
{
    struct loading l = { .load = mem_zalloc(sizeof(*l.load)) };
    if (l.load == NULL) {
        return err_no_memory(err);
    }
    (void)pthread_mutex_init(&l.load->lock, NULL);
    l.load->source = *source;
    enum status status = manifest_read(&l.load->manifest, manifest, len, err);
    const struct state *state = &l.load->manifest.state;
    struct vec_opts stored = {
        .dimension = state->dimension,
        .metric = (enum vec_metric)state->metric,
        .m = state->m,
        .ef_construction = state->ef_construction,
        .graph_min = state->graph_min,
        .seed = state->seed,
        .isa = opts == NULL ? VEC_ISA_BEST : opts->isa,
    };
    if (status == OK) {
        status = index_new(&stored, &l.index, err);
    }
    if (status != OK) {
        load_free(l.load);
        return status;
    }
    l.index->load = l.load;
    status = load_all(&l, err);
    codec_free(l.codec);
    mem_free(l.centre);
    mem_free(l.in_place.rows);
    mem_free(l.in_place.codes);
    mem_free(l.in_place.links);
    if (status != OK) {
        vec_free(l.index);
        return status;
    }
    *out = l.index;
    return OK;
}

void vec_bytes_free(void *bytes)
{
    mem_free(bytes);
}
