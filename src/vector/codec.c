/*
 * Training, and vectors to codes.
 *
 * The kept dimensions are found by subspace iteration on the centred sample (Halko, Martinsson and
 * Tropp, arXiv:0909.4061, algorithm 4.4) and rotated at random, so that one scale for all of them
 * wastes no bits. A code's norm is that of the kept dimensions alone: with it the distance of two
 * codes is, up to rounding, never more than that of the vectors.
 */
#include "vector/codec.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "vector/floats.h"

enum { ITERATIONS = 4 };
/* Chosen on image and text embeddings: below it more is lost than the third line costs. */
static const double VARIANCE_MIN = 0.88;

static const struct {
    uint32_t lines, bits, dimensions;
} KINDS[CODE_KINDS] = {
    [CODE_8X56] = { 1, 8, 56 },   [CODE_8X120] = { 2, 8, 120 },  [CODE_8X184] = { 3, 8, 184 },
    [CODE_4X112] = { 1, 4, 112 }, [CODE_F32X14] = { 1, 32, 14 },
};

/* --- matrices, row-major, columns orthonormal --- */

static double gaussian(struct rng *rng)
{
    /* the sum of twelve uniform numbers: near enough to start from, and the same everywhere */
    double sum = -6;
    for (int i = 0; i < 12; i++) {
        sum += (double)(rng_next(rng) >> 11) * 0x1p-53;
    }
    return sum;
}

static void column_take(const float *matrix, size_t rows, size_t width, size_t column, float *out)
{
    for (size_t i = 0; i < rows; i++) {
        out[i] = matrix[i * width + column];
    }
}

static void subtract(float *from, const float *what, double times, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        from[i] -= (float)times * what[i];
    }
}

/* Column j of the result, [columns][rows] in `work`: without its parts along the columns before.
 * Twice, because once leaves what rounding has left. A column of nothing becomes one of its own. */
static void orthonormal_column(float *work, size_t rows, size_t j, struct rng *rng)
{
    float *column = work + j * rows;
    for (int tries = 0; tries < 8; tries++) {
        double before = floats_dot(column, column, rows);
        for (int pass = 0; pass < 2; pass++) {
            for (size_t i = 0; i < j; i++) {
                subtract(column, work + i * rows, floats_dot(column, work + i * rows, rows), rows);
            }
        }
        double norm2 = floats_dot(column, column, rows);
        if (norm2 > before * 1e-8 && norm2 > 1e-30) {
            float factor = (float)(1 / sqrt(norm2));
            for (size_t i = 0; i < rows; i++) {
                column[i] *= factor;
            }
            return;
        }
        for (size_t i = 0; i < rows; i++) {
            column[i] = (float)gaussian(rng);
        }
    }
    memset(column, 0, rows * sizeof(*column)); /* there are no more directions than rows */
}

/* Makes the first `columns` columns of a matrix of `rows` rows orthonormal. */
static enum status orthonormalise(float *matrix, size_t rows, size_t width, size_t columns,
                                  struct rng *rng, struct err *err)
{
    float *work = mem_alloc(rows * columns * sizeof(*work));
    if (work == NULL) {
        return err_no_memory(err);
    }
    for (size_t j = 0; j < columns; j++) {
        column_take(matrix, rows, width, j, work + j * rows);
        orthonormal_column(work, rows, j, rng);
    }
    for (size_t i = 0; i < rows; i++) {
        for (size_t j = 0; j < columns; j++) {
            matrix[i * width + j] = work[j * rows + i];
        }
    }
    mem_free(work);
    return OK;
}

static void fill_random(float *matrix, size_t rows, size_t width, size_t columns, struct rng *rng)
{
    memset(matrix, 0, rows * width * sizeof(*matrix));
    for (size_t i = 0; i < rows; i++) {
        for (size_t j = 0; j < columns; j++) {
            matrix[i * width + j] = (float)gaussian(rng);
        }
    }
}

/* --- training --- */

struct training {
    const struct simd *simd;
    const float *sample; /* [n][padded], centred */
    size_t n;
    const float *common; /* a direction to be kept whatever the sample's variance there; or NULL */
    uint32_t dimension, padded;
    struct rng rng;
};

/* next = sample^T * (sample * matrix) */
static void iterate(const struct training *t, const float *matrix, size_t width, float *projected,
                    float *next)
{
    memset(next, 0, t->padded * width * sizeof(*next));
    for (size_t s = 0; s < t->n; s++) {
        const float *row = t->sample + s * t->padded;
        memset(projected, 0, width * sizeof(*projected));
        t->simd->project(row, t->dimension, matrix, width, projected);
        for (size_t i = 0; i < t->dimension; i++) {
            if (row[i] != 0) {
                t->simd->project(row + i, 1, projected, width, next + i * width);
            }
        }
    }
}

static double variance_kept(const struct training *t, const float *matrix, size_t width,
                            float *projected)
{
    double kept = 0;
    double all = 0;
    for (size_t s = 0; s < t->n; s++) {
        const float *row = t->sample + s * t->padded;
        memset(projected, 0, width * sizeof(*projected));
        t->simd->project(row, t->dimension, matrix, width, projected);
        kept += floats_dot(projected, projected, width);
        all += floats_dot(row, row, t->dimension);
    }
    return all > 0 ? kept / all : 1;
}

/* matrix = matrix * a random rotation of its columns */
static enum status mix(struct training *t, float *matrix, size_t width, size_t columns,
                       struct err *err)
{
    size_t floats = columns * width + width;
    float *rotation = mem_alloc(floats * sizeof(*rotation));
    if (rotation == NULL) {
        return err_no_memory(err);
    }
    float *row = rotation + columns * width;
    fill_random(rotation, columns, width, columns, &t->rng);
    enum status status = orthonormalise(rotation, columns, width, columns, &t->rng, err);
    for (size_t i = 0; status == OK && i < t->dimension; i++) {
        memset(row, 0, width * sizeof(*row));
        t->simd->project(matrix + i * width, columns, rotation, width, row);
        memcpy(matrix + i * width, row, width * sizeof(*row));
    }
    mem_free(rotation);
    return status;
}

/* The last dimension of truncated codes is for what the others leave; see codec.h. */
static size_t columns_of(const struct codec *codec)
{
    return codec->dimensions - (codec->truncated && !codec->dot);
}

static enum status find_subspace(struct training *t, struct codec *codec, double *kept_out,
                                 struct err *err)
{
    size_t width = codec->width;
    size_t columns = columns_of(codec);
    size_t size = t->padded * width;
    float *next = mem_alloc((size + width) * sizeof(*next));
    if (next == NULL) {
        return err_no_memory(err);
    }
    float *projected = next + size;
    fill_random(codec->matrix, t->padded, width, columns, &t->rng);
    enum status status = OK;
    for (int i = 0; status == OK && i < ITERATIONS; i++) {
        iterate(t, codec->matrix, width, projected, next);
        memcpy(codec->matrix, next, size * sizeof(*next));
        for (size_t j = 0; t->common != NULL && j < t->dimension; j++) {
            codec->matrix[j * width] = t->common[j]; /* first, so it stays as it is */
        }
        status = orthonormalise(codec->matrix, t->dimension, width, columns, &t->rng, err);
    }
    if (status == OK) {
        *kept_out = variance_kept(t, codec->matrix, width, projected);
    }
    mem_free(next);
    return status;
}

/* Dimensions fewer than a kind has need no subspace, only to be mixed. */
static enum status rotate_all(struct training *t, struct codec *codec, struct err *err)
{
    memset(codec->matrix, 0, (size_t)t->padded * codec->width * sizeof(*codec->matrix));
    for (size_t i = 0; i < t->dimension; i++) {
        codec->matrix[i * codec->width + i] = 1;
    }
    return mix(t, codec->matrix, codec->width, codec->dimensions, err);
}

static void set_kind(struct codec *codec, enum code_kind kind, uint32_t dimension)
{
    codec->kind = kind;
    codec->lines = KINDS[kind].lines;
    codec->bits = KINDS[kind].bits;
    codec->dimensions = dimension < KINDS[kind].dimensions ? dimension : KINDS[kind].dimensions;
    codec->width = (codec->dimensions + 15) / 16 * 16;
    codec->truncated = codec->dimensions < dimension;
}

void codec_shape(struct codec *codec, enum code_kind kind, const struct row_shape *shape)
{
    *codec = (struct codec){ .padded = shape->padded };
    set_kind(codec, kind, shape->dimension);
}

bool codec_has_matrix(const struct codec *codec)
{
    return codec->truncated || codec->bits == 4;
}

static enum code_kind kind_for(uint32_t dimension)
{
    return dimension <= 14    ? CODE_F32X14
           : dimension <= 56  ? CODE_8X56
           : dimension <= 112 ? CODE_4X112
           : dimension <= 120 ? CODE_8X120
           : dimension <= 184 ? CODE_8X184
                              : CODE_8X120;
}

static enum status make_matrix(struct training *t, struct codec *codec, struct err *err)
{
    mem_free(codec->matrix);
    codec->matrix = mem_alloc((size_t)t->padded * codec->width * sizeof(*codec->matrix));
    if (codec->matrix == NULL) {
        return err_no_memory(err);
    }
    if (!codec->truncated) {
        return rotate_all(t, codec, err);
    }
    double kept = 0;
    TRY(find_subspace(t, codec, &kept, err));
    if (kept < VARIANCE_MIN && codec->kind == CODE_8X120) {
        set_kind(codec, CODE_8X184, t->dimension);
        return make_matrix(t, codec, err);
    }
    return mix(t, codec->matrix, codec->width, columns_of(codec), err);
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

/* A few that are far away from all others would say what the mean is, and where variance is. */
static enum status leave_strange(struct training *t, float *sample, struct err *err)
{
    const double strange = 100; /* times the median of squared norms; chosen */
    double *norms = mem_alloc(2 * t->n * sizeof(*norms));
    if (norms == NULL) {
        return err_no_memory(err);
    }
    double *sorted = norms + t->n;
    size_t kept = 0;
    for (size_t s = 0; s < t->n; s++) {
        norms[s] = floats_dot(sample + s * t->padded, sample + s * t->padded, t->padded);
    }
    memcpy(sorted, norms, t->n * sizeof(*norms));
    qsort(sorted, t->n, sizeof(*sorted), by_size);
    double most = strange * sorted[t->n / 2];
    for (size_t s = 0; s < t->n; s++) {
        if (most > 0 && norms[s] > most) {
            continue;
        }
        if (kept < s) {
            memcpy(sample + kept * t->padded, sample + s * t->padded, t->padded * sizeof(*sample));
        }
        kept++;
    }
    t->n = kept;
    mem_free(norms);
    return OK;
}

static void centre(const struct training *t, float *sample, float *mean)
{
    for (uint32_t i = 0; i < t->padded; i++) {
        double sum = 0;
        for (size_t s = 0; s < t->n; s++) {
            sum += (double)sample[s * t->padded + i];
        }
        mean[i] = (float)(sum / (double)t->n);
        for (size_t s = 0; s < t->n; s++) {
            sample[s * t->padded + i] -= mean[i];
        }
    }
}

/* Whether queries reach farther that way than vectors do in a kept dimension. */
static bool common_counts(const struct training *t, const float *common, uint32_t dimensions)
{
    double norm2 = 0;
    for (size_t s = 0; s < t->n; s++) {
        const float *row = t->sample + s * t->padded;
        norm2 += floats_dot(row, row, t->dimension) / (double)t->n;
    }
    return floats_dot(common, common, t->dimension) * dimensions > norm2;
}

enum status codec_train(const struct row_shape *shape, enum vec_metric metric,
                        const struct simd *simd, float *sample, size_t n, const float *common,
                        uint64_t seed, struct codec **out, struct err *err)
{
    struct codec *codec = mem_zalloc(sizeof(*codec));
    struct training t = { .simd = simd,
                          .sample = sample,
                          .n = n,
                          .dimension = shape->dimension,
                          .padded = shape->padded };
    if (codec == NULL) {
        return err_no_memory(err);
    }
    rng_seed(&t.rng, seed);
    codec->simd = simd;
    codec->padded = shape->padded;
    codec->dot = metric == VEC_DOT;
    set_kind(codec, kind_for(shape->dimension), shape->dimension);
    codec->mean = mem_zalloc(shape->padded * sizeof(*codec->mean));
    enum status status = codec->mean == NULL ? err_no_memory(err) : leave_strange(&t, sample, err);
    if (status == OK && !codec->dot) {
        centre(&t, sample, codec->mean);
    }
    if (codec->dot && common != NULL && common_counts(&t, common, codec->dimensions)) {
        t.common = common;
    }
    if (status == OK && codec_has_matrix(codec)) {
        status = make_matrix(&t, codec, err);
    }
    if (status == OK) {
        status = codec_steps(codec, err);
    }
    if (status != OK) {
        codec_free(codec);
        return status;
    }
    *out = codec;
    return OK;
}

void codec_free(struct codec *codec)
{
    if (codec != NULL) {
        mem_free(codec->mean);
        mem_free(codec->matrix);
        mem_free(codec->steps);
        mem_free(codec);
    }
}

/* --- coding --- */

/* `length2` is that of the vector that was projected. */
static void rest_set(const struct codec *codec, double length2, float *projected)
{
    if (codec->rest) {
        double kept = floats_dot(projected, projected, codec->width);
        projected[codec->dimensions - 1] = (float)sqrt(fmax(length2 - kept, 0));
    }
}

void codec_project(const struct codec *codec, const float *values, float *centred,
                   float *projected_out)
{
    for (uint32_t i = 0; i < codec->padded; i++) {
        centred[i] = values[i] - codec->mean[i];
    }
    if (codec->matrix == NULL) {
        memset(projected_out, 0, codec->width * sizeof(*projected_out));
        memcpy(projected_out, centred, codec->dimensions * sizeof(*projected_out));
        return;
    }
    memset(projected_out, 0, codec->width * sizeof(*projected_out));
    codec->simd->project(centred, codec->padded, codec->matrix, codec->width, projected_out);
    if (codec->rest) {
        rest_set(codec, floats_dot(centred, centred, codec->padded), projected_out);
    }
}

/* Of a vector of unit length, so that no product of two such vectors, nor of parts of them, reaches
 * 2^31: it is at most the product of their lengths, rounding included. */
static const float UNIT_STEPS = 32000;

static bool column_empty(const struct codec *codec, size_t column)
{
    bool empty = true;
    for (size_t i = 0; i < codec->padded; i++) {
        empty = empty && codec->matrix[i * codec->width + column] == 0;
    }
    return empty;
}

enum status codec_steps(struct codec *codec, struct err *err)
{
    if (codec->matrix == NULL) {
        return OK;
    }
    size_t width = codec->width;
    codec->steps = mem_alloc((size_t)codec->padded * width * sizeof(*codec->steps));
    if (codec->steps == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < codec->padded; i++) {
        for (size_t j = 0; j < width; j++) {
            float steps = codec->matrix[i * width + j] * UNIT_STEPS;
            codec->steps[(i / 2 * width + j) * 2 + i % 2] = (int16_t)lrintf(steps);
        }
    }
    codec->rest = codec->truncated && !codec->dot && column_empty(codec, codec->dimensions - 1);
    return OK;
}

static void centre_query(const float *restrict values, const float *restrict mean, size_t n,
                         float *restrict out)
{
    for (size_t i = 0; i < n; i++) {
        out[i] = values[i] - mean[i];
    }
}

void codec_project_query(const struct codec *codec, const float *values, float *centred,
                         int16_t *steps, float *projected_out)
{
    if (codec->matrix == NULL) {
        codec_project(codec, values, centred, projected_out);
        return;
    }
    int32_t sums[CODE_BYTES_MAX];
    centre_query(values, codec->mean, codec->padded, centred);
    double length2 = floats_dot(centred, centred, codec->padded);
    float length = (float)sqrt(length2);
    float inverse = length > 0 ? UNIT_STEPS / length : 0;
    inverse = isfinite(inverse) ? inverse : 0; /* too short for a float to tell */
    for (uint32_t i = 0; i < codec->padded; i++) {
        steps[i] = (int16_t)floats_nearest(centred[i] * inverse);
    }
    codec->simd->project16(steps, codec->padded, codec->steps, codec->width, sums);
    for (uint32_t j = 0; j < codec->width; j++) {
        projected_out[j] = (float)sums[j] * (length / (UNIT_STEPS * UNIT_STEPS));
    }
    rest_set(codec, length2, projected_out);
}

static float norm2_of(const float *values, size_t n)
{
    float sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += values[i] * values[i];
    }
    return sum;
}

static int number_4(float value, float inverse)
{
    int number = (int)lrintf(value * inverse + 7.5F);
    return number < 0 ? 0 : number > 15 ? 15 : number;
}

/* The scale that loses least: a few far values may be cut for the sake of the others. */
static float scale_4(const float *values, size_t n, float max)
{
    float best_scale = 0;
    float best = INFINITY;
    for (int step = 8; step <= 20; step++) {
        float scale = max * (float)step / (20 * 7.5F);
        float inverse = 1 / scale;
        float lost = 0;
        for (size_t i = 0; i < n; i++) {
            float diff = values[i] - scale * ((float)number_4(values[i], inverse) - 7.5F);
            lost += diff * diff;
        }
        if (lost < best) {
            best = lost;
            best_scale = scale;
        }
    }
    return best_scale;
}

struct code_tail codec_encode(const struct codec *codec, const float *projected, float beside,
                              uint8_t *row_out)
{
    const float tiny = 1e-30F;
    size_t bytes = (size_t)codec->lines * LINE;
    size_t n = codec->dimensions;
    float max = floats_greatest(projected, n);
    struct code_tail tail = { .norm2 = codec->dot ? beside : norm2_of(projected, n) };
    memset(row_out, 0, bytes - CODE_TAIL);
    if (codec->bits == 32) {
        memcpy(row_out, projected, n * sizeof(*projected));
    } else if (codec->bits == 8) {
        float inverse = max > tiny ? 127 / max : 0;
        tail.scale = max / 127;
        for (size_t i = 0; i < n; i++) {
            row_out[i] = (uint8_t)((int)lrintf(projected[i] * inverse) + 128);
        }
    } else {
        size_t half = bytes - CODE_TAIL;
        tail.scale = max > tiny ? scale_4(projected, n, max) : 0;
        float inverse = tail.scale > 0 ? 1 / tail.scale : 0;
        for (size_t i = 0; i < n; i++) {
            row_out[i % half] |= (uint8_t)(number_4(projected[i], inverse) << (i < half ? 0 : 4));
        }
    }
    return tail;
}

/* Components are centred, so they may be twice as large, and a norm is that of one vector. */
bool codec_possible(const struct codec *codec, const uint8_t *row, struct code_tail tail)
{
    const float most = 2.1F * ROW_VALUE_MAX;
    size_t floats = codec->bits == 32 ? (LINE - CODE_TAIL) / sizeof(float) : 0;
    bool right = tail.scale >= 0 && tail.scale <= most && tail.norm2 >= 0 &&
                 tail.norm2 <= (codec->dot ? most : most * most);
    for (size_t i = 0; i < floats; i++) { /* behind the last dimension they count too */
        float value;
        memcpy(&value, row + i * sizeof(value), sizeof(value));
        right = right && fabsf(value) <= most;
    }
    return right;
}

bool codec_trained(const struct codec *codec)
{
    const double longest = 1.01; /* columns are of unit length, but for rounding */
    bool right = true;
    for (uint32_t i = 0; i < codec->padded; i++) {
        right = right && fabsf(codec->mean[i]) <= ROW_VALUE_MAX;
    }
    for (uint32_t j = 0; codec->matrix != NULL && j < codec->width; j++) {
        double norm2 = 0;
        for (uint32_t i = 0; i < codec->padded; i++) {
            double value = (double)codec->matrix[(size_t)i * codec->width + j];
            norm2 += value * value;
        }
        right = right && norm2 <= longest;
    }
    return right;
}

/* Where dimension i stands among a query's numbers. */
static size_t place(const struct codec *codec, size_t i)
{
    size_t half = LINE - CODE_TAIL;
    return codec->bits == 8 || i < half ? i : LINE + i - half;
}

static void put(const struct codec *codec, struct code_query *out, size_t i, int number)
{
    size_t at = place(codec, i);
    out->q[at] = (int8_t)number;
    out->q16[at] = (int16_t)number;
}

void codec_query(const struct codec *codec, const float *projected, struct code_query *out)
{
    const float tiny = 1e-30F;
    float max = floats_greatest(projected, codec->dimensions);
    float inverse = max > tiny ? 127 / max : 0;
    int32_t sum = 0;
    memset(out->q, 0, sizeof(out->q));
    memset(out->q16, 0, sizeof(out->q16));
    if (codec->bits == 32) {
        memset(out->f, 0, sizeof(out->f));
        memcpy(out->f, projected, codec->dimensions * sizeof(*projected));
    }
    for (size_t i = 0; codec->bits != 32 && i < codec->dimensions; i++) {
        int number = (int)lrintf(projected[i] * inverse);
        put(codec, out, i, number);
        sum += number;
    }
    /* 8 bits: values are scale * (number - 128); 4 bits: scale * (2 * number - 15) / 2 */
    out->bias = codec->bits == 8 ? 128 * sum : 15 * sum;
    out->factor = codec->bits == 32 ? -2 : -max / 127 * (codec->bits == 8 ? 2 : 1);
    out->norm_factor = codec->dot ? 0 : 1;
    out->norm2 = codec->dot ? 0 : norm2_of(projected, codec->dimensions);
}
