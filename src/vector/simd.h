/*
 * The loops that depend on the processor: compiled once for each instruction set and width of a
 * code row, chosen once an index.
 *
 * Integer stages are exact. Float stages run in fixed lanes, fused multiply-add only where it is
 * written, so each set gives the same bits.
 */
#ifndef VECTOR_SIMD_H
#define VECTOR_SIMD_H

#include "vector/lakevec.h"

enum {
    LINE = 64,     /* bytes of a cache line; code rows are whole lines */
    CODE_TAIL = 8, /* bytes at a code row's end: struct code_tail */
    CODE_BYTES_MAX = 3 * LINE,
    ROW_PAD = 32,  /* stored rows have a multiple of this many dimensions */
    WALKS_MAX = 4, /* at once: more gained nothing in the prototype */
    BEAM_PAD = 16, /* elements behind a beam that may be written */
};

/** How a vector is coded for the walk. */
enum code_kind {
    CODE_8X56,   /* one line, 8 bits a dimension, up to 56 dimensions */
    CODE_8X120,  /* two lines */
    CODE_8X184,  /* three lines */
    CODE_4X112,  /* one line, 4 bits: byte i holds dimension i below and dimension 56 + i above */
    CODE_F32X14, /* one line of floats: where there are few dimensions, vectors are dense in each */
    CODE_KINDS
};

struct code_tail {
    float norm2; /* of the kept dimensions; for dot products see below */
    float scale; /* both are no number where nothing is: such a distance is none, and is dropped */
};

/**
 * A query against code rows. A row's distance, but for what is the same for all rows, is
 *     norm_factor * tail.norm2 + factor * tail.scale * (dot - bias)
 * with dot the sum of the row's numbers (unsigned) times q (signed); of floats times f where rows
 * are of floats, which have no scale and no bias.
 *
 * A squared distance needs the row's squared norm: norm_factor is 1. Where the nearest has the
 * greatest dot product, a = sqrt(M^2 - |x|^2), M at least the greatest norm, is one more coordinate
 * that gives all vectors the length M, so that the graph can be built on squared distances. These
 * are 2 M (b_x + b_y) - 2 b_x b_y - 2 x.y with b = M - a: no term is larger than the norms of the
 * two, however long M is. tail.norm2 holds b, and a search's norm_factor is 0.
 */
struct code_query {
    _Alignas(LINE) int8_t q[CODE_BYTES_MAX];      /* zero where a row has its tail */
    _Alignas(LINE) int16_t q16[CODE_BYTES_MAX];   /* the same, for sets without VNNI */
    _Alignas(LINE) float f[LINE / sizeof(float)]; /* instead of both, for CODE_F32X14 */
    int32_t bias;
    float factor; /* -2 * the query's scale */
    float norm_factor;
    float norm2; /* to be added for a true squared distance */
};

/** Code rows and links in chunks of CHUNK_SLOTS slots. */
enum { CHUNK_BITS = 16, CHUNK_SLOTS = 1 << CHUNK_BITS };

struct beam {
    float *dist;    /* ascending; ties by slot */
    uint32_t *slot; /* BEAM_DONE is set in those whose links were walked */
    uint32_t count, cap;
    uint32_t next; /* the first that is not done */
};
#define BEAM_DONE 0x80000000u
enum { SLOTS_MAX = 0x7fffffff };
#define NO_SLOT UINT32_MAX

/** The nearest that was not walked yet: next < count. */
static inline uint32_t beam_take(struct beam *beam)
{
    uint32_t slot = beam->slot[beam->next];
    beam->slot[beam->next] = slot | BEAM_DONE;
    do {
        beam->next++;
    } while (beam->next < beam->count && (beam->slot[beam->next] & BEAM_DONE) != 0);
    return slot;
}

/** A bit a slot: true when it was not set, as it is now. */
static inline bool bit_take(uint64_t *bits, uint32_t slot)
{
    uint64_t bit = (uint64_t)1 << (slot & 63);
    bool fresh = (bits[slot >> 6] & bit) == 0;
    bits[slot >> 6] |= bit;
    return fresh;
}

static inline bool bit_get(const uint64_t *bits, uint32_t slot)
{
    return (bits[slot >> 6] >> (slot & 63) & 1) != 0;
}

struct walk {
    const uint8_t *const *codes;  /* by chunk */
    const uint32_t *const *links; /* by chunk; `degree` a slot, NO_SLOT behind the last */
    uint32_t degree;              /* a multiple of 16 */
    uint64_t *visited;            /* a bit a slot */
    uint32_t slots;               /* links to others are newer than this walk */
    const struct code_query *query;
};

/** A query against stored rows, see rows.h. */
struct row_query {
    int8_t *q8;   /* [padded] */
    int16_t *q16; /* [padded] */
    float *f;     /* [padded], zero behind the dimension */
    int32_t bias;
    float factor; /* the query's scale */
    float norm2;
};

struct simd {
    const char *name;
    /** Distances of n rows; each is `rows[i]`. */
    void (*distances[CODE_KINDS])(const struct code_query *query, const uint8_t *const *rows,
                                  size_t n, float *out);
    /** The query that stands for a code row. */
    void (*of_row[CODE_KINDS])(const uint8_t *row, size_t dimensions, struct code_query *out);
    /** Walk from what is in the beam until nothing in it is left to be walked. */
    void (*walk[CODE_KINDS])(const struct walk *walk, struct beam *beam);
    /** The same of at most WALKS_MAX that have nothing to do with each other, in turn. */
    void (*walk_many[CODE_KINDS])(const struct walk *walks, struct beam *const *beams, size_t n);
    /** Put one in; false when it is not among the nearest `cap`, is there already, or its distance
     * is no finite number. */
    bool (*beam_insert)(struct beam *beam, float dist, uint32_t slot);
    /** Dot product of a stored row's high bytes with the query's. */
    int32_t (*row_dot8)(const uint8_t *high, const struct row_query *query, size_t padded);
    /** Squared distance, and dot product, of a stored row and a query in floats. */
    float (*row_l2)(const uint8_t *high, const uint8_t *low, float scale, const float *query,
                    size_t padded);
    float (*row_dot)(const uint8_t *high, const uint8_t *low, float scale, const float *query,
                     size_t padded);
    /** out[j] += sum over i of x[i] * matrix[i * width + j]; width is a multiple of 16. */
    void (*project)(const float *x, size_t n, const float *matrix, size_t width, float *out);
    /** out[j] = sum over i of x[i] * number(i, j), which is at matrix[(i / 2 * width + j) * 2 +
     * i % 2]; n is even, width a multiple of 16, and no sum of a part overflows. */
    void (*project16)(const int16_t *x, size_t n, const int16_t *matrix, size_t width,
                      int32_t *out);
};

extern const struct simd simd_plain, simd_avx2, simd_avx512;

/** E_UNSUPPORTED when the processor has not what was asked for. */
MUST_USE enum status simd_choose(enum vec_isa isa, const struct simd **out, struct err *err);

#endif
