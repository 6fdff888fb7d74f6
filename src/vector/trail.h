/*
 * Trails: what changed since the last snapshot was taken, in units of 256 slots of a chunk; what a
 * snapshot that is held still needs of a unit is copied before its first change.
 */
#ifndef VECTOR_TRAIL_H
#define VECTOR_TRAIL_H

#include <stdatomic.h>

#include "vector/simd.h"

enum {
    UNIT_BITS = 8,
    UNIT_SLOTS = 1 << UNIT_BITS,
    UNITS = CHUNK_SLOTS / UNIT_SLOTS,
    PIECE_BYTES_MAX = 64 << 20,
    ROW_PARTS_MAX = 8, /* of a chunk's rows, each of at most PIECE_BYTES_MAX: 4096 dimensions */
};

enum trail_kind {
    TRAIL_ROW,
    TRAIL_CODE,
    TRAIL_GRAPH, /* links, nodes and upper layers */
    TRAIL_KINDS
};

/** What is stored as one piece: docs/formats/vector-index.md. */
struct stored {
    uint64_t version; /* in the last snapshot; 0: in none */
    uint32_t *crcs;   /* of that version; NULL: not known yet */
    bool in_place;    /* it stands in memory that was loaded */
};

struct trail {
    _Atomic bool touched[TRAIL_KINDS][UNITS];       /* guarded by trail_lock until it is true */
    _Atomic bool checked[TRAIL_KINDS][UNITS];       /* of what was loaded, see check.h */
    struct stored rows[ROW_PARTS_MAX], code, graph; /* written with add and grow alone */
};

/** By part of rows, by chunk, by chunk. */
struct in_place {
    uint8_t **rows, **codes;
    uint32_t **links;
};

struct vec_index;

void trail_touch_first(struct vec_index *index, struct trail *trail, enum trail_kind kind,
                       uint32_t slot);

#endif
