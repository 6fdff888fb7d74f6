/*
 * Vectors to rows of 12 bits a dimension and back. All of it is the same on every processor.
 */
#include "vector/rows.h"

#include <math.h>
#include <string.h>

#include "vector/floats.h"

/* Norms of what is stored: so that no distance overflows a float, and a unit vector is one. */
static const float NORM2_MAX = 1e30F, NORM2_MIN = 1e-30F;
enum { NUMBER_MAX = 2047 };
/* What is smaller than this everywhere is taken for zero: its inverse would overflow. */
static const float TINY = 1e-30F;

struct row_shape row_shape(uint32_t dimension)
{
    uint32_t padded = (dimension + ROW_PAD - 1) / ROW_PAD * ROW_PAD;
    bool floats = dimension <= ROW_FLOATS_MAX;
    return (struct row_shape){
        .dimension = dimension,
        .padded = padded,
        .floats = floats,
        .bytes = (floats ? padded * sizeof(float) : padded + padded / 2) + sizeof(struct row_tail),
    };
}

const char *row_refused(const float *vector, uint32_t dimension, enum vec_metric metric)
{
    double norm2 = floats_dot(vector, vector, dimension);
    if (!(norm2 <= (double)NORM2_MAX)) {
        return isfinite(norm2) ? "is too long: its squared norm is above 1e30"
                               : "has a component that is no finite number, or is too long";
    }
    if (metric == VEC_COSINE && norm2 < (double)NORM2_MIN) {
        return "is too short for the cosine: its squared norm is below 1e-30";
    }
    return NULL;
}

void row_normalise(const struct row_shape *shape, enum vec_metric metric, const float *vector,
                   float *out)
{
    if (metric == VEC_COSINE) {
        double factor = 1 / sqrt(floats_dot(vector, vector, shape->dimension));
        for (uint32_t i = 0; i < shape->dimension; i++) {
            out[i] = (float)((double)vector[i] * factor);
        }
    } else {
        memcpy(out, vector, shape->dimension * sizeof(*out));
    }
    memset(out + shape->dimension, 0, (shape->padded - shape->dimension) * sizeof(*out));
}

static void tail_write(const struct row_shape *shape, uint8_t *row, struct row_tail tail)
{
    uint32_t *words = (uint32_t *)(row + shape->bytes - sizeof(tail));
    uint32_t copy[2];
    memcpy(copy, &tail, sizeof(tail));
    __atomic_store_n(words, copy[0], __ATOMIC_RELEASE);
    __atomic_store_n(words + 1, copy[1], __ATOMIC_RELEASE);
}

void row_write(const struct row_shape *shape, const float *values, uint8_t *row_out)
{
    float max = floats_greatest(values, shape->padded);
    struct row_tail tail = { .scale = max / NUMBER_MAX,
                             .norm2 = (float)floats_dot(values, values, shape->padded) };
    if (shape->floats) {
        memcpy(row_out, values, shape->padded * sizeof(*values));
        tail_write(shape, row_out, tail);
        return;
    }
    float inverse = max > TINY ? NUMBER_MAX / max : 0;
    uint8_t *low = row_out + shape->padded;
    memset(low, 0, shape->padded / 2);
    for (uint32_t i = 0; i < shape->padded; i++) {
        float scaled = values[i] * inverse;
        scaled = scaled > NUMBER_MAX ? NUMBER_MAX : scaled < -NUMBER_MAX ? -NUMBER_MAX : scaled;
        unsigned number = (unsigned)((int)lrintf(scaled) + 2048);
        row_out[i] = (uint8_t)(number >> 4);
        low[i / 32 * 16 + i % 16] |= (uint8_t)((number & 15) << (i % 32 < 16 ? 0 : 4));
    }
    tail_write(shape, row_out, tail);
}

/* A tail is read word by word, as a row may be killed at that moment, and written last: who has
 * read one that is there reads the row that belongs to it. */
struct row_tail row_tail(const struct row_shape *shape, const uint8_t *row)
{
    struct row_tail tail;
    const uint32_t *words = (const uint32_t *)(row + shape->bytes - sizeof(tail));
    uint32_t copy[2] = { __atomic_load_n(words, __ATOMIC_ACQUIRE),
                         __atomic_load_n(words + 1, __ATOMIC_ACQUIRE) };
    memcpy(&tail, copy, sizeof(tail));
    return tail;
}

void row_kill(const struct row_shape *shape, uint8_t *row)
{
    tail_write(shape, row, (struct row_tail){ .scale = NAN, .norm2 = NAN });
}

bool row_dead(const struct row_shape *shape, const uint8_t *row)
{
    return isnan(row_tail(shape, row).norm2);
}

bool row_possible(const struct row_shape *shape, const uint8_t *row)
{
    const float most = ROW_VALUE_MAX;
    struct row_tail tail = row_tail(shape, row);
    bool right = tail.scale >= 0 && tail.scale * NUMBER_MAX <= most && tail.norm2 >= 0 &&
                 tail.norm2 <= most * most;
    for (uint32_t i = 0; shape->floats && i < shape->padded; i++) {
        float value;
        memcpy(&value, row + i * sizeof(value), sizeof(value));
        right = right && fabsf(value) <= most;
    }
    return right;
}

void row_read(const struct row_shape *shape, const uint8_t *row, float *out)
{
    if (shape->floats) {
        memcpy(out, row, shape->padded * sizeof(*out));
        return;
    }
    float scale = row_tail(shape, row).scale;
    const uint8_t *low = row + shape->padded;
    for (uint32_t i = 0; i < shape->padded; i++) {
        unsigned pair = low[i / 32 * 16 + i % 16];
        int number = (int)((unsigned)row[i] << 4 | (i % 32 < 16 ? pair & 15 : pair >> 4)) - 2048;
        out[i] = (float)number * scale;
    }
}

void row_query_prepare(const struct row_shape *shape, struct row_query *query)
{
    enum { QUERY_MAX = 127 };
    float max = floats_greatest(query->f, shape->padded);
    float inverse = max > TINY ? QUERY_MAX / max : 0;
    int32_t sum = 0;
    const float *restrict f = query->f;
    int8_t *restrict q8 = query->q8;
    int16_t *restrict q16 = query->q16;
    for (uint32_t i = 0; i < shape->padded; i++) {
        int number = floats_nearest(f[i] * inverse);
        q8[i] = (int8_t)number;
        q16[i] = (int16_t)number;
        sum += number;
    }
    query->factor = max / QUERY_MAX;
    query->bias = 255 * sum;
    query->norm2 = (float)floats_dot(query->f, query->f, shape->padded);
}

/* Of a row of floats: the squared distance to the query, and the dot product. */
static float raw_l2(const uint8_t *row, const float *query)
{
    float sum = 0;
    for (size_t i = 0; i < ROW_FLOATS_MAX; i++) {
        float value;
        memcpy(&value, row + i * sizeof(value), sizeof(value));
        sum += (value - query[i]) * (value - query[i]);
    }
    return sum;
}

static float raw_dot(const uint8_t *row, const float *query)
{
    float sum = 0;
    for (size_t i = 0; i < ROW_FLOATS_MAX; i++) {
        float value;
        memcpy(&value, row + i * sizeof(value), sizeof(value));
        sum += value * query[i];
    }
    return sum;
}

float row_distance(const struct row_shape *shape, enum vec_metric metric, const struct simd *simd,
                   const uint8_t *row, const struct row_query *query)
{
    float scale = row_tail(shape, row).scale;
    const uint8_t *low = row + shape->padded;
    if (shape->floats && isnan(scale)) {
        return NAN;
    }
    if (metric == VEC_DOT) {
        return shape->floats ? -raw_dot(row, query->f)
                             : -simd->row_dot(row, low, scale, query->f, shape->padded);
    }
    float l2 = shape->floats ? raw_l2(row, query->f)
                             : simd->row_l2(row, low, scale, query->f, shape->padded);
    return metric == VEC_COSINE ? l2 / 2 : l2;
}

float row_distance8(const struct row_shape *shape, enum vec_metric metric, const struct simd *simd,
                    const uint8_t *row, const struct row_query *query)
{
    /* a high byte alone stands for the middle of its 16 numbers: 16 * (high + 1/2) - 2048, so
     * the dot product is 8 * (2 * dot - 255 * sum of q) steps */
    struct row_tail tail = row_tail(shape, row);
    if (shape->floats) {
        float order = metric == VEC_DOT ? -2 * raw_dot(row, query->f) : raw_l2(row, query->f);
        return isnan(tail.scale) ? NAN : order;
    }
    int32_t dot = 2 * simd->row_dot8(row, query, shape->padded) - query->bias;
    float norm2 = metric == VEC_DOT ? 0 : tail.norm2;
    return norm2 - 16 * tail.scale * query->factor * (float)dot;
}
