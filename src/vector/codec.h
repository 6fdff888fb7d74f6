/*
 * Codes: what a walk reads of a vector. A codec is trained once on a sample of stored rows and
 * never changes: a mean, and for most dimensions a matrix that keeps the greatest part of the
 * variance in few dimensions, mixed so that each holds about as much.
 */
#ifndef VECTOR_CODEC_H
#define VECTOR_CODEC_H

#include "vector/rows.h"

/**
 * Where dimensions are left out, the last one of a code is the length of what the others leave of
 * the vector: the squared difference of two lengths is never more than that of the parts (Cauchy
 * and Schwarz), so with it a code's distance is a closer lower bound. The matrix' last column is
 * then of zeros. Not under dot.
 */
struct codec {
    enum code_kind kind;
    uint32_t lines, bits;
    uint32_t dimensions; /* kept, at most those of the kind */
    uint32_t width;      /* of the matrix: dimensions rounded up to 16 */
    uint32_t padded;     /* of stored rows */
    bool truncated;      /* fewer than the vectors have: a squared code distance is a lower bound */
    bool rest;           /* the last of them is the length of what the others leave */
    bool dot;            /* there is no mean, and a row's tail has what it is told */
    float *mean;         /* [padded], of stored rows: counted from their centre */
    float *matrix;       /* [padded][width]; NULL: dimensions are taken as they are */
    int16_t *steps;      /* the matrix in whole steps, in pairs of rows: see simd.h, project16 */
    const struct simd *simd;
};

/**
 * Shapes   sample [n][padded], rows as row_read gives them; it is overwritten. common [padded]:
 *          what
 *          rows are counted from, or NULL. Under dot product queries hold it, so it is a direction
 *          that codes keep
 * Errors   E_NO_MEMORY
 * Threads  none but the caller's; the same for each instruction set
 */
MUST_USE enum status codec_train(const struct row_shape *shape, enum vec_metric metric,
                                 const struct simd *simd, float *sample, size_t n,
                                 const float *common, uint64_t seed, struct codec **out,
                                 struct err *err);
void codec_free(struct codec *codec);

/** All but simd, dot, the mean and the matrix, which it may need. */
void codec_shape(struct codec *codec, enum code_kind kind, const struct row_shape *shape);
bool codec_has_matrix(const struct codec *codec);

/** values [padded]; projected_out [width of at most CODE_BYTES_MAX] */
void codec_project(const struct codec *codec, const float *values, float *centred,
                   float *projected_out);
/** The same of a search's query, from a matrix of half the bytes: as near as 16 bits tell. steps
 * [padded] is written. The same for each instruction set. */
void codec_project_query(const struct codec *codec, const float *values, float *centred,
                         int16_t *steps, float *projected_out);
/** What codec_project_query needs; the matrix is one that codec_trained finds right. */
MUST_USE enum status codec_steps(struct codec *codec, struct err *err);
/** A code row of codec->lines lines; its tail has no numbers, it is returned. `beside` is the
 * tail's norm2 under dot, else unused. */
struct code_tail codec_encode(const struct codec *codec, const float *projected, float beside,
                              uint8_t *row_out);
/** Whether codec_encode may have left that; and training, the mean and the matrix. */
bool codec_possible(const struct codec *codec, const uint8_t *row, struct code_tail tail);
bool codec_trained(const struct codec *codec);
/** For a search; linking changes norm_factor and norm2 under dot. */
void codec_query(const struct codec *codec, const float *projected, struct code_query *out);
#endif
