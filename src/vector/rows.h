/*
 * Stored rows: what an index keeps of a vector for good.
 *
 * A row has `padded` dimensions, the dimension rounded up to ROW_PAD: first the high byte of each
 * (unsigned), then the low nibbles, for each 32 dimensions 16 bytes of which byte i holds dimension
 * i below and dimension 16 + i above, then struct row_tail. The number of a dimension is
 * (high << 4 | low) - 2048, from -2047 to 2047, and its value that times the tail's scale. Behind
 * the dimension numbers are 0. Under cosine the row is that of the unit vector. What is stored is
 * the difference to a centre (centre.h), which is done by the caller, to a query as well.
 *
 * Up to ROW_FLOATS_MAX dimensions a row has floats instead, and the same tail: few numbers are
 * dense, and 12 bits do not tell neighbours apart (3,000 vectors on a circle: recall 0.52).
 */
#ifndef VECTOR_ROWS_H
#define VECTOR_ROWS_H

#include "vector/simd.h"

struct row_tail {
    float scale;
    float norm2; /* of what is stored, before it was rounded */
};

enum { ROW_FLOATS_MAX = ROW_PAD };
/* A vector's norm is at most 1e15, and a centre's, a median in each dimension of some, at most
 * sqrt(2) times as much; and what rounding adds. */
#define ROW_VALUE_MAX 2.42e15F
#define ROW_CENTRE_MAX 1.42e15F

struct row_shape {
    uint32_t dimension, padded;
    bool floats;
    size_t bytes; /* of a row with its tail, a multiple of 8 */
};

struct row_shape row_shape(uint32_t dimension);

/** Why a vector cannot be stored, NULL when it can. */
const char *row_refused(const float *vector, uint32_t dimension, enum vec_metric metric);

/** Under cosine to unit length, else a copy. out [padded], zero behind the dimension. */
void row_normalise(const struct row_shape *shape, enum vec_metric metric, const float *vector,
                   float *out);
/** `values` as row_normalise has left them. */
void row_write(const struct row_shape *shape, const float *values, uint8_t *row_out);
/** out [padded] */
void row_read(const struct row_shape *shape, const uint8_t *row, float *out);
/** Nothing is here any more: distances to it are no numbers. */
void row_kill(const struct row_shape *shape, uint8_t *row);
bool row_dead(const struct row_shape *shape, const uint8_t *row);
struct row_tail row_tail(const struct row_shape *shape, const uint8_t *row);
/** Whether row_write may have left a row that is not dead: no distance to it overflows. */
bool row_possible(const struct row_shape *shape, const uint8_t *row);

/** Prepare a query for stored rows; q8, q16 and f are the caller's, f as row_normalise left it. */
void row_query_prepare(const struct row_shape *shape, struct row_query *query);

/** The distance of the metric, in floats. */
float row_distance(const struct row_shape *shape, enum vec_metric metric, const struct simd *simd,
                   const uint8_t *row, const struct row_query *query);
/** About the same without its low bits, for order only: |x|^2 - 2 q.x, or under dot -2 q.x; of rows
 * of floats the squared distance, which loses nothing where all are far from the origin. */
float row_distance8(const struct row_shape *shape, enum vec_metric metric, const struct simd *simd,
                    const uint8_t *row, const struct row_query *query);

#endif
