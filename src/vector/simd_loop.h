/*
 * The walk, once for each instruction set and kind of code. The file that includes this has
 * defined, all inline:
 *
 *   dot4_8(rows, query, lines, out)    four dot products of rows of so many lines, 8 bits
 *   dot4_4(rows, query, out)           of rows of one line, 4 bits
 *   dot4_f(rows, query, out)           of rows of one line of floats
 *   of_row_8(row, dimensions, lines, q, q16)
 *                                      the query of a row's numbers less 128; returns their sum
 *   of_row_4(row, dimensions, q, q16)  of twice its numbers less 15
 *   count_below(dist, count, d)        how many of an ascending list are less than d
 *   take_fresh(links, degree, visited, slots, out)
 *                                      those of a node's links that were not met yet; marks them
 *   SIMD_TABLE                         the name of the table
 */
#include <float.h>
#include <string.h>

#include "vector/simd.h"

#define INLINE static inline __attribute__((always_inline))

INLINE struct code_tail code_tail(const uint8_t *row, size_t lines)
{
    /* word by word: the row may be killed at this moment */
    struct code_tail tail;
    const uint32_t *words = (const uint32_t *)(row + lines * LINE - CODE_TAIL);
    uint32_t copy[2] = { __atomic_load_n(words, __ATOMIC_RELAXED),
                         __atomic_load_n(words + 1, __ATOMIC_RELAXED) };
    memcpy(&tail, copy, sizeof(tail));
    return tail;
}

INLINE void distances4(const uint8_t *const rows[4], const struct code_query *query, size_t lines,
                       int bits, float out[4])
{
    int32_t dots[4];
    if (bits == 32) {
        float sums[4];
        dot4_f(rows, query, sums);
        for (int i = 0; i < 4; i++) {
            out[i] = query->norm_factor * code_tail(rows[i], lines).norm2 + query->factor * sums[i];
        }
        return;
    }
    if (bits == 4) {
        dot4_4(rows, query, dots);
    } else {
        dot4_8(rows, query, lines, dots);
    }
    for (int i = 0; i < 4; i++) {
        struct code_tail tail = code_tail(rows[i], lines);
        out[i] = query->norm_factor * tail.norm2 +
                 query->factor * tail.scale * (float)(dots[i] - query->bias);
    }
}

INLINE void distances(const struct code_query *query, const uint8_t *const *rows, size_t n,
                      float *out, size_t lines, int bits)
{
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        distances4(rows + i, query, lines, bits, out + i);
    }
    if (i < n) {
        const uint8_t *rest[4];
        float four[4];
        for (size_t j = 0; j < 4; j++) {
            rest[j] = rows[i + j < n ? i + j : n - 1];
        }
        distances4(rest, query, lines, bits, four);
        memcpy(out + i, four, (n - i) * sizeof(*out));
    }
}

INLINE void of_row(const uint8_t *row, size_t dimensions, struct code_query *out, size_t lines,
                   int bits)
{
    struct code_tail tail = code_tail(row, lines);
    if (bits == 32) {
        memset(out->f, 0, sizeof(out->f));
        memcpy(out->f, row, dimensions * sizeof(*out->f));
        out->bias = 0;
        out->factor = -2;
    } else if (bits == 4) {
        out->bias = 15 * of_row_4(row, dimensions, out->q, out->q16);
        out->factor = -tail.scale / 2;
    } else {
        out->bias = 128 * of_row_8(row, dimensions, lines, out->q, out->q16);
        out->factor = -2 * tail.scale;
    }
    out->norm_factor = 1;
    out->norm2 = tail.norm2;
}

/* The rank of what comes next in a beam that may be full. */
INLINE uint32_t rank_in(const struct beam *beam, float dist, uint32_t slot)
{
    uint32_t rank = count_below(beam->dist, beam->count, dist);
    while (rank < beam->count && beam->dist[rank] == dist &&
           (beam->slot[rank] & ~BEAM_DONE) < slot) {
        rank++;
    }
    return rank;
}

INLINE bool insert(struct beam *beam, float dist, uint32_t slot)
{
    float bound = beam->count < beam->cap ? FLT_MAX : beam->dist[beam->count - 1];
    if (!(dist <= bound)) {
        return false;
    }
    uint32_t rank = rank_in(beam, dist, slot);
    bool there = rank < beam->count && beam->dist[rank] == dist &&
                 (beam->slot[rank] & ~BEAM_DONE) == slot; /* a list that is being changed */
    if (there || rank == beam->cap) {
        return false;
    }
    beam->count += beam->count < beam->cap;
    size_t behind = beam->count - rank - 1;
    memmove(beam->dist + rank + 1, beam->dist + rank, behind * sizeof(*beam->dist));
    memmove(beam->slot + rank + 1, beam->slot + rank, behind * sizeof(*beam->slot));
    beam->dist[rank] = dist;
    beam->slot[rank] = slot;
    beam->next = rank < beam->next ? rank : beam->next;
    return true;
}

static bool beam_insert(struct beam *beam, float dist, uint32_t slot)
{
    return insert(beam, dist, slot);
}

INLINE const uint32_t *links_of(const struct walk *walk, uint32_t slot)
{
    return walk->links[slot >> CHUNK_BITS] + (size_t)(slot & (CHUNK_SLOTS - 1)) * walk->degree;
}

enum { DEGREE_MAX = 64 };

/* What a node leads to, on its way from memory. */
struct step {
    uint32_t fresh[DEGREE_MAX + 16];
    const uint8_t *rows[DEGREE_MAX + 4];
    size_t count;
};

/* Of what most often is walked next. */
INLINE void links_ahead(const struct walk *walk, const struct beam *beam)
{
    if (beam->next < beam->count) {
        const uint32_t *links = links_of(walk, beam->slot[beam->next]);
        for (size_t i = 0; i < walk->degree; i += LINE / sizeof(*links)) {
            __builtin_prefetch(links + i);
        }
    }
}

INLINE void step_begin(const struct walk *walk, struct beam *beam, struct step *step, size_t lines)
{
    uint32_t slot = beam_take(beam);
    size_t n = take_fresh(links_of(walk, slot), walk->degree, walk->visited, walk->slots,
                          step->fresh);
    step->count = n;
    for (size_t i = 0; i < n; i++) {
        step->rows[i] = walk->codes[step->fresh[i] >> CHUNK_BITS] +
                        (size_t)(step->fresh[i] & (CHUNK_SLOTS - 1)) * lines * LINE;
        for (size_t line = 0; line < lines; line++) {
            __builtin_prefetch(step->rows[i] + line * LINE);
        }
    }
    links_ahead(walk, beam);
    for (size_t i = n; i < ((n + 3) & ~(size_t)3); i++) {
        step->rows[i] = step->rows[n - 1];
    }
}

INLINE void step_end(const struct walk *walk, struct beam *beam, const struct step *step,
                     size_t lines, int bits)
{
    for (size_t i = 0; i < step->count; i += 4) {
        float dist[4];
        distances4(step->rows + i, walk->query, lines, bits, dist);
        for (size_t j = 0; j < 4 && i + j < step->count; j++) {
            insert(beam, dist[j], step->fresh[i + j]);
        }
        links_ahead(walk, beam);
    }
}

/* A walk, and its two last steps: the lines of one are on their way while the other's distances are
 * computed. So a node is chosen before it is known where the one before it leads. */
struct pipe {
    struct step steps[2];
    size_t at;
};

INLINE void pipe_begin(struct pipe *pipe)
{
    pipe->at = 0;
    pipe->steps[1].count = 0;
}

/* False when there was nothing left. */
INLINE bool pipe_turn(const struct walk *walk, struct beam *beam, struct pipe *pipe, size_t lines,
                      int bits)
{
    struct step *now = &pipe->steps[pipe->at];
    struct step *before = &pipe->steps[pipe->at ^ 1];
    now->count = 0;
    if (beam->next < beam->count) {
        step_begin(walk, beam, now, lines);
    } else if (before->count == 0) {
        return false;
    }
    step_end(walk, beam, before, lines, bits);
    pipe->at ^= 1;
    return true;
}

INLINE void walk_on(const struct walk *walk, struct beam *beam, size_t lines, int bits)
{
    struct pipe pipe;
    pipe_begin(&pipe);
    while (pipe_turn(walk, beam, &pipe, lines, bits)) {
    }
}

/* While one computes, what the others will need is on its way. */
INLINE void walk_on_many(const struct walk *walks, struct beam *const *beams, size_t n,
                         size_t lines, int bits)
{
    struct pipe pipes[WALKS_MAX];
    bool going = n > 0;
    for (size_t i = 0; i < n; i++) {
        pipe_begin(&pipes[i]);
    }
    while (going) {
        going = false;
        for (size_t i = 0; i < n; i++) {
            going = pipe_turn(&walks[i], beams[i], &pipes[i], lines, bits) || going;
        }
    }
}

#define FOR_KIND(name, lines, bits)                                                                \
    static void distances_##name(const struct code_query *query, const uint8_t *const *rows,       \
                                 size_t n, float *out)                                             \
    {                                                                                              \
        distances(query, rows, n, out, lines, bits);                                               \
    }                                                                                              \
    static void of_row_##name(const uint8_t *row, size_t dimensions, struct code_query *out)       \
    {                                                                                              \
        of_row(row, dimensions, out, lines, bits);                                                 \
    }                                                                                              \
    static void walk_##name(const struct walk *walk, struct beam *beam)                            \
    {                                                                                              \
        walk_on(walk, beam, lines, bits);                                                          \
    }                                                                                              \
    static void walk_many_##name(const struct walk *walks, struct beam *const *beams, size_t n)    \
    {                                                                                              \
        walk_on_many(walks, beams, n, lines, bits);                                                \
    }
FOR_KIND(8x56, 1, 8)
FOR_KIND(8x120, 2, 8)
FOR_KIND(8x184, 3, 8)
FOR_KIND(4x112, 1, 4)
FOR_KIND(f32x14, 1, 32)

const struct simd SIMD_TABLE = {
    .name = SIMD_NAME,
    .distances = { [CODE_8X56] = distances_8x56,
                   [CODE_8X120] = distances_8x120,
                   [CODE_8X184] = distances_8x184,
                   [CODE_4X112] = distances_4x112,
                   [CODE_F32X14] = distances_f32x14 },
    .of_row = { [CODE_8X56] = of_row_8x56,
                [CODE_8X120] = of_row_8x120,
                [CODE_8X184] = of_row_8x184,
                [CODE_4X112] = of_row_4x112,
                [CODE_F32X14] = of_row_f32x14 },
    .walk = { [CODE_8X56] = walk_8x56,
              [CODE_8X120] = walk_8x120,
              [CODE_8X184] = walk_8x184,
              [CODE_4X112] = walk_4x112,
              [CODE_F32X14] = walk_f32x14 },
    .walk_many = { [CODE_8X56] = walk_many_8x56,
                   [CODE_8X120] = walk_many_8x120,
                   [CODE_8X184] = walk_many_8x184,
                   [CODE_4X112] = walk_many_4x112,
                   [CODE_F32X14] = walk_many_f32x14 },
    .beam_insert = beam_insert,
    .row_dot8 = row_dot8,
    .row_l2 = row_l2,
    .row_dot = row_dot,
    .project = project,
    .project16 = project16,
};
