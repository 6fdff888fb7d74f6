/*
 * An index as it is stored: pieces of bytes, and the manifest that says what they are
 * (docs/formats/vector-index.md).
 */
#ifndef VECTOR_FORMAT_H
#define VECTOR_FORMAT_H

#include "vector/vec_priv.h"

enum { BLOCK_BYTES = 65536, SECTIONS_MAX = 3 };

enum piece_kind { PIECE_CODEC, PIECE_ROWS, PIECE_CODES, PIECE_GRAPH, PIECE_FREED };

struct piece {
    enum piece_kind kind;
    uint32_t chunk; /* of PIECE_FREED: which of them */
    uint32_t part;  /* of PIECE_ROWS */
};

/** Bytes of a piece that have checksums of their own, one a block. */
struct section {
    size_t offset, bytes, block;
};

#define NO_CODEC UINT32_MAX

/** All that is stored but pieces; fixed numbers. */
struct state {
    uint32_t dimension, metric, m, ef_construction, graph_min;
    uint64_t seed;
    uint64_t versions, entry;
    uint32_t root, count, live, linked, nodes, upper_used;
    float norm2_max;
    uint32_t code_kind, code_dimensions; /* NO_CODEC: no graph */
    uint32_t freed, again_count;
    uint32_t again[AGAIN_MAX];
};

struct manifest {
    struct state state;
    float *centre;         /* [padded]; NULL where rows have none */
    uint32_t *upper_first; /* [chunks + 1]: upper rows before each chunk's; NULL without a graph */
    uint64_t *versions;    /* [pieces] */
    uint32_t **crcs;       /* [pieces]; NULL for a piece without bytes */
    /* all that follows is derived from the state */
    struct row_shape shape;
    uint32_t chunks, row_bits, row_parts, degree, pieces, freed_first;
    size_t code_bytes, codec_bytes;
};

/** Fills what is derived; the state is right. */
void manifest_derive(struct manifest *manifest);
struct piece manifest_piece(const struct manifest *manifest, uint32_t number);
/** The inverse of manifest_piece. */
uint32_t manifest_number(const struct manifest *manifest, struct piece piece);
/** Returns how many sections there are, 0 when the piece has no bytes. */
uint32_t manifest_sections(const struct manifest *manifest, struct piece piece,
                           struct section out[SECTIONS_MAX]);
size_t manifest_bytes(const struct manifest *manifest, struct piece piece);
uint32_t manifest_crc_count(const struct manifest *manifest, struct piece piece);
/** Slots of a chunk that are counted. */
uint32_t manifest_slots(const struct manifest *manifest, uint32_t chunk);
/** crcs_out [manifest_crc_count] */
void manifest_checksum(const struct manifest *manifest, struct piece piece, const uint8_t *bytes,
                       uint32_t *crcs_out);

MUST_USE enum status manifest_write(const struct manifest *manifest, void **bytes_out,
                                    size_t *len_out, struct err *err);
/** E_CORRUPT; E_UNSUPPORTED for another version. The caller calls manifest_done, also after a
 * failure. */
MUST_USE enum status manifest_read(struct manifest *out, const void *bytes, size_t len,
                                   struct err *err);
void manifest_done(struct manifest *manifest);

#endif
