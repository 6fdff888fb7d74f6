/*
 * Which bytes of which piece are what, and the manifest as bytes. Reading and writing it is one
 * function, so that they cannot differ.
 */
#include "vector/format.h"

#include <math.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/mem.h"
#include "vector/centre.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "pieces are used where they were loaded: little endian only"
#endif

enum { FREED_A_PIECE = PIECE_BYTES_MAX / 4, FORMAT = 2, HEAD_BYTES = 20 };
/* Twice a squared norm, of what is stored. */
static const float NORM2_MAX = 2 * ROW_VALUE_MAX * ROW_VALUE_MAX;
static const char MAGIC[8] = { 'L', 'A', 'K', 'E', 'V', 'E', 'C', '\n' };

_Static_assert(sizeof(struct node) == 12, "nodes are used where they were loaded");

/* --- pieces --- */

void manifest_derive(struct manifest *manifest)
{
    const struct state *state = &manifest->state;
    manifest->shape = row_shape(state->dimension);
    manifest->row_bits = CHUNK_BITS;
    while ((manifest->shape.bytes << manifest->row_bits) > PIECE_BYTES_MAX) {
        manifest->row_bits--;
    }
    manifest->row_parts = CHUNK_SLOTS >> manifest->row_bits;
    manifest->degree = (2 * state->m + 15) / 16 * 16;
    manifest->chunks = state->count / CHUNK_SLOTS + (state->count % CHUNK_SLOTS != 0);
    manifest->freed_first = 1 + manifest->chunks * (manifest->row_parts + 2);
    manifest->pieces = manifest->freed_first + state->freed / FREED_A_PIECE +
                       (state->freed % FREED_A_PIECE != 0);
    manifest->code_bytes = 0;
    manifest->codec_bytes = 0;
    if (state->code_kind != NO_CODEC) {
        struct codec codec;
        codec_shape(&codec, (enum code_kind)state->code_kind, &manifest->shape);
        manifest->code_bytes = (size_t)codec.lines * LINE;
        manifest->codec_bytes = (codec_has_matrix(&codec) ? 1 + (size_t)codec.width : 1) *
                                manifest->shape.padded * sizeof(float);
    }
}

struct piece manifest_piece(const struct manifest *manifest, uint32_t number)
{
    uint32_t each = manifest->row_parts + 2;
    if (number == 0) {
        return (struct piece){ .kind = PIECE_CODEC };
    }
    if (number >= manifest->freed_first) {
        return (struct piece){ .kind = PIECE_FREED, .chunk = number - manifest->freed_first };
    }
    uint32_t part = (number - 1) % each;
    return (struct piece){ .kind = part < manifest->row_parts    ? PIECE_ROWS
                                   : part == manifest->row_parts ? PIECE_CODES
                                                                 : PIECE_GRAPH,
                           .chunk = (number - 1) / each,
                           .part = part < manifest->row_parts ? part : 0 };
}

uint32_t manifest_number(const struct manifest *manifest, struct piece piece)
{
    uint32_t first = 1 + piece.chunk * (manifest->row_parts + 2);
    switch (piece.kind) {
    case PIECE_ROWS:
        return first + piece.part;
    case PIECE_CODES:
        return first + manifest->row_parts;
    case PIECE_GRAPH:
        return first + manifest->row_parts + 1;
    case PIECE_FREED:
        return manifest->freed_first + piece.chunk;
    case PIECE_CODEC:
        break;
    }
    return 0;
}

uint32_t manifest_slots(const struct manifest *manifest, uint32_t chunk)
{
    uint32_t behind = manifest->state.count - chunk * CHUNK_SLOTS;
    return behind < CHUNK_SLOTS ? behind : CHUNK_SLOTS;
}

static uint32_t graph_sections(const struct manifest *manifest, uint32_t chunk,
                               struct section out[SECTIONS_MAX])
{
    size_t slots = manifest_slots(manifest, chunk);
    size_t links = manifest->degree * sizeof(uint32_t);
    size_t upper = (size_t)(manifest->upper_first[chunk + 1] - manifest->upper_first[chunk]) *
                   manifest->state.m * sizeof(uint32_t);
    size_t nodes = sizeof(struct node);
    out[0] = (struct section){ 0, slots * links, UNIT_SLOTS * links };
    out[1] = (struct section){ out[0].bytes, slots * nodes, UNIT_SLOTS * nodes };
    out[2] = (struct section){ out[1].offset + out[1].bytes, upper, BLOCK_BYTES };
    return 3;
}

uint32_t manifest_sections(const struct manifest *manifest, struct piece piece,
                           struct section out[SECTIONS_MAX])
{
    bool graph = manifest->state.code_kind != NO_CODEC;
    size_t unit = 0;
    size_t records = 0;
    if (piece.kind == PIECE_CODEC) {
        out[0] = (struct section){ 0, manifest->codec_bytes, BLOCK_BYTES };
        return graph;
    }
    if (piece.kind == PIECE_FREED) {
        uint32_t behind = manifest->state.freed - piece.chunk * FREED_A_PIECE;
        size_t n = behind < FREED_A_PIECE ? behind : FREED_A_PIECE;
        out[0] = (struct section){ 0, n * sizeof(uint32_t), BLOCK_BYTES };
        return 1;
    }
    if (piece.kind == PIECE_GRAPH) {
        return graph ? graph_sections(manifest, piece.chunk, out) : 0;
    }
    uint32_t slots = manifest_slots(manifest, piece.chunk);
    if (piece.kind == PIECE_CODES) {
        records = slots;
        unit = manifest->code_bytes;
    } else {
        uint32_t size = (uint32_t)1 << manifest->row_bits;
        uint32_t from = piece.part * size;
        records = slots <= from ? 0 : slots - from < size ? slots - from : size;
        unit = manifest->shape.bytes;
    }
    out[0] = (struct section){ 0, records * unit, UNIT_SLOTS * unit };
    return records * unit > 0;
}

size_t manifest_bytes(const struct manifest *manifest, struct piece piece)
{
    struct section sections[SECTIONS_MAX];
    uint32_t n = manifest_sections(manifest, piece, sections);
    return n == 0 ? 0 : sections[n - 1].offset + sections[n - 1].bytes;
}

static size_t blocks(const struct section *section)
{
    return section->bytes / section->block + (section->bytes % section->block != 0);
}

uint32_t manifest_crc_count(const struct manifest *manifest, struct piece piece)
{
    struct section sections[SECTIONS_MAX];
    uint32_t n = manifest_sections(manifest, piece, sections);
    size_t count = 0;
    for (uint32_t i = 0; i < n; i++) {
        count += blocks(&sections[i]);
    }
    return (uint32_t)count;
}

void manifest_checksum(const struct manifest *manifest, struct piece piece, const uint8_t *bytes,
                       uint32_t *crcs_out)
{
    struct section sections[SECTIONS_MAX];
    uint32_t n = manifest_sections(manifest, piece, sections);
    for (uint32_t i = 0; i < n; i++) {
        for (size_t at = 0; at < sections[i].bytes; at += sections[i].block) {
            size_t left = sections[i].bytes - at;
            size_t len = left < sections[i].block ? left : sections[i].block;
            *crcs_out++ = crc32c(0, bytes + sections[i].offset + at, len);
        }
    }
}

/* --- the manifest as bytes --- */

struct cursor {
    uint8_t *bytes; /* NULL: only counting */
    size_t at, len;
    bool reading, failed;
};

static void number(struct cursor *c, void *value, size_t size)
{
    uint8_t le[8];
    if (c->reading && (c->failed || c->len - c->at < size)) {
        c->failed = true;
        return;
    }
    if (c->reading) {
        memcpy(value, c->bytes + c->at, size);
    } else if (c->bytes != NULL) {
        memcpy(le, value, size);
        memcpy(c->bytes + c->at, le, size);
    }
    c->at += size;
}

static void u32(struct cursor *c, uint32_t *value)
{
    number(c, value, sizeof(*value));
}

static void u64(struct cursor *c, uint64_t *value)
{
    number(c, value, sizeof(*value));
}

static void state_pass(struct cursor *c, struct state *s)
{
    u32(c, &s->dimension);
    u32(c, &s->metric);
    u32(c, &s->m);
    u32(c, &s->ef_construction);
    u32(c, &s->graph_min);
    u32(c, &s->count);
    u64(c, &s->seed);
    u64(c, &s->versions);
    u64(c, &s->entry);
    u32(c, &s->root);
    u32(c, &s->live);
    u32(c, &s->linked);
    u32(c, &s->nodes);
    u32(c, &s->upper_used);
    number(c, &s->norm2_max, sizeof(s->norm2_max));
    u32(c, &s->code_kind);
    u32(c, &s->code_dimensions);
    u32(c, &s->freed);
    u32(c, &s->again_count);
    for (uint32_t i = 0; i < s->again_count && i < AGAIN_MAX; i++) {
        u32(c, &s->again[i]);
    }
}

static const char *options_wrong(const struct state *s)
{
    return s->dimension < 1 || s->dimension > VEC_DIMENSION_MAX   ? "dimension"
           : s->metric > (uint32_t)VEC_DOT                        ? "metric"
           : s->m < 4 || s->m > M_MAX                             ? "m"
           : s->ef_construction < 32 || s->ef_construction > 1000 ? "ef_construction"
           : s->count > SLOTS_MAX - CHUNK_SLOTS                   ? "count"
           : s->linked > s->count                                 ? "linked"
           : s->freed > s->count                                  ? "freed"
           : s->live != s->count - s->freed                       ? "live"
           : s->again_count > AGAIN_MAX                           ? "again"
           : s->graph_min == 0                                    ? "graph_min"
           : !(s->norm2_max >= 0 && s->norm2_max <= NORM2_MAX)    ? "norm"
                                                                  : NULL;
}

static const char *graph_wrong(const struct state *s)
{
    if (s->code_kind == NO_CODEC) {
        return s->linked != 0 || s->nodes != 0 || s->upper_used != 0 || s->again_count != 0 ||
                       s->entry != NO_ENTRY
                   ? "graph"
                   : NULL;
    }
    struct row_shape shape = row_shape(s->dimension);
    struct codec codec;
    if (s->code_kind >= CODE_KINDS) {
        return "kind of code";
    }
    codec_shape(&codec, (enum code_kind)s->code_kind, &shape);
    if (codec.dimensions != s->code_dimensions) {
        return "dimensions of codes";
    }
    for (uint32_t i = 0; i < s->again_count; i++) {
        if (s->again[i] >= s->linked) {
            return "slot to be linked again";
        }
    }
    uint32_t slot = (uint32_t)s->entry;
    if (s->nodes > s->live || s->upper_used > SLOTS_MAX ||
        s->upper_used > s->count * (uint64_t)(LEVELS_MAX - 1)) {
        return "graph";
    }
    if ((s->nodes == 0) != (s->entry == NO_ENTRY)) {
        return "entry point";
    }
    return s->nodes == 0                                      ? NULL
           : slot >= s->count || s->entry >> 32 >= LEVELS_MAX ? "entry point"
           : s->root >= s->count                              ? "root"
                                                              : NULL;
}

static const char *state_wrong(const struct state *s)
{
    const char *wrong = options_wrong(s);
    return wrong != NULL ? wrong : graph_wrong(s);
}

/* False when there is no memory. */
static bool centre_pass(struct cursor *c, struct manifest *m)
{
    uint32_t n = centre_wanted(&m->shape, (enum vec_metric)m->state.metric) ? m->shape.dimension
                                                                            : 0;
    if (c->reading && n > 0) {
        m->centre = mem_zalloc(m->shape.padded * sizeof(*m->centre));
        if (m->centre == NULL) {
            return false;
        }
    }
    for (uint32_t i = 0; i < n; i++) {
        float value = c->reading || m->centre == NULL ? 0 : m->centre[i];
        number(c, &value, sizeof(value));
        c->failed = c->failed || !(fabsf(value) <= ROW_CENTRE_MAX);
        if (c->reading) {
            m->centre[i] = value;
        }
    }
    return true;
}

static bool upper_pass(struct cursor *c, struct manifest *m)
{
    uint32_t before = 0;
    if (m->state.code_kind == NO_CODEC) {
        return true;
    }
    for (uint32_t i = 0; i < m->chunks; i++) {
        u32(c, &m->upper_first[i]);
        if (m->upper_first[i] < before || m->upper_first[i] > m->state.upper_used) {
            return false;
        }
        before = m->upper_first[i];
    }
    m->upper_first[m->chunks] = m->state.upper_used;
    return m->chunks == 0 || m->upper_first[0] == 0;
}

/* False when there is no memory. */
static bool pieces_pass(struct cursor *c, struct manifest *m)
{
    for (uint32_t i = 0; i < m->pieces && !c->failed; i++) {
        struct piece piece = manifest_piece(m, i);
        uint32_t count = manifest_crc_count(m, piece);
        u64(c, &m->versions[i]);
        if (c->reading && count > (c->len - c->at) / sizeof(uint32_t)) {
            c->failed = true;
            return true;
        }
        if (c->reading && count > 0) {
            m->crcs[i] = mem_alloc(count * sizeof(uint32_t));
            if (m->crcs[i] == NULL) {
                return false;
            }
        }
        for (uint32_t j = 0; j < count; j++) {
            u32(c, &m->crcs[i][j]);
        }
    }
    return true;
}

static void write_pass(struct cursor *c, struct manifest *m, uint32_t len, uint32_t crc)
{
    char magic[sizeof(MAGIC)];
    uint32_t format = FORMAT;
    memcpy(magic, MAGIC, sizeof(magic));
    number(c, magic, sizeof(magic));
    u32(c, &format);
    u32(c, &len);
    u32(c, &crc);
    state_pass(c, &m->state);
    (void)centre_pass(c, m);
    (void)upper_pass(c, m);
    (void)pieces_pass(c, m);
}

enum status manifest_write(const struct manifest *manifest, void **bytes_out, size_t *len_out,
                           struct err *err)
{
    struct manifest m = *manifest; /* a pass that reads would write to it */
    struct cursor count = { 0 };
    write_pass(&count, &m, 0, 0);
    struct cursor c = { .bytes = mem_alloc(count.at), .len = count.at };
    if (c.bytes == NULL) {
        return err_no_memory(err);
    }
    write_pass(&c, &m, (uint32_t)count.at, 0);
    uint32_t crc = crc32c(0, c.bytes + HEAD_BYTES, c.len - HEAD_BYTES);
    memcpy(c.bytes + HEAD_BYTES - sizeof(crc), &crc, sizeof(crc));
    *bytes_out = c.bytes;
    *len_out = c.len;
    return OK;
}

static enum status head_check(const uint8_t *bytes, size_t len, struct err *err)
{
    uint32_t words[3];
    if (len < HEAD_BYTES || memcmp(bytes, MAGIC, sizeof(MAGIC)) != 0) {
        return err_set(err, E_CORRUPT, "this is no manifest of a vector index");
    }
    memcpy(words, bytes + sizeof(MAGIC), sizeof(words));
    if (words[0] != FORMAT) {
        return err_set(err, E_UNSUPPORTED, "the vector index has format %u; this program knows %d",
                       words[0], FORMAT);
    }
    if (words[1] != len || words[2] != crc32c(0, bytes + HEAD_BYTES, len - HEAD_BYTES)) {
        return err_set(err, E_CORRUPT, "the manifest of the vector index is damaged");
    }
    return OK;
}

static enum status tables_alloc(struct manifest *out, size_t len, struct err *err)
{
    if (out->pieces > len / sizeof(uint64_t)) { /* each has a version */
        return err_set(err, E_CORRUPT, "the manifest of the vector index is too short");
    }
    out->upper_first = mem_zalloc((out->chunks + (size_t)1) * sizeof(*out->upper_first));
    out->versions = mem_zalloc(out->pieces * sizeof(*out->versions));
    out->crcs = mem_zalloc(out->pieces * sizeof(*out->crcs));
    return out->upper_first == NULL || out->versions == NULL || out->crcs == NULL
               ? err_no_memory(err)
               : OK;
}

enum status manifest_read(struct manifest *out, const void *bytes, size_t len, struct err *err)
{
    *out = (struct manifest){ 0 };
    TRY(head_check(bytes, len, err));
    struct cursor c = { .bytes = (uint8_t *)bytes, .at = HEAD_BYTES, .len = len, .reading = true };
    state_pass(&c, &out->state);
    const char *wrong = c.failed ? "length" : state_wrong(&out->state);
    if (wrong != NULL) {
        return err_set(err, E_CORRUPT, "the manifest of the vector index has a wrong %s", wrong);
    }
    manifest_derive(out);
    if (!centre_pass(&c, out)) {
        return err_no_memory(err);
    }
    if (c.failed) {
        return err_set(err, E_CORRUPT, "the manifest of the vector index has a wrong centre");
    }
    TRY(tables_alloc(out, len, err));
    if (!upper_pass(&c, out) || c.failed) {
        return err_set(err, E_CORRUPT, "the manifest of the vector index has wrong upper layers");
    }
    for (uint32_t i = 0; i < out->pieces; i++) {
        if (manifest_bytes(out, manifest_piece(out, i)) > PIECE_BYTES_MAX) {
            return err_set(err, E_CORRUPT, "chunk %u of the vector index is too large", i);
        }
    }
    if (!pieces_pass(&c, out)) {
        return err_no_memory(err);
    }
    if (c.failed || c.at != len) {
        return err_set(err, E_CORRUPT, "the manifest of the vector index has a wrong length");
    }
    return OK;
}

void manifest_done(struct manifest *manifest)
{
    for (uint32_t i = 0; manifest->crcs != NULL && i < manifest->pieces; i++) {
        mem_free(manifest->crcs[i]);
    }
    mem_free(manifest->crcs);
    mem_free(manifest->versions);
    mem_free(manifest->upper_first);
    mem_free(manifest->centre);
    *manifest = (struct manifest){ 0 };
}
