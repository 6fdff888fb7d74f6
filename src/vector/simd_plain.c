/*
 * Plain C, for processors without the others; the meaning of each loop is to be read here.
 */
#include "vector/simd_scalar.h"

#include <math.h>
#include <string.h>

static inline void dot4_8(const uint8_t *const rows[4], const struct code_query *query,
                          size_t lines, int32_t out[4])
{
    for (int r = 0; r < 4; r++) {
        int32_t sum = 0;
        for (size_t i = 0; i < lines * LINE; i++) {
            sum += rows[r][i] * query->q[i];
        }
        out[r] = sum;
    }
}

static inline void dot4_4(const uint8_t *const rows[4], const struct code_query *query,
                          int32_t out[4])
{
    for (int r = 0; r < 4; r++) {
        int32_t sum = 0;
        for (size_t i = 0; i < LINE; i++) {
            sum += (rows[r][i] & 15) * query->q[i] + (rows[r][i] >> 4) * query->q[LINE + i];
        }
        out[r] = 2 * sum;
    }
}

static inline void dot4_f(const uint8_t *const rows[4], const struct code_query *query,
                          float out[4])
{
    enum { LANES = LINE / sizeof(float) };
    for (int r = 0; r < 4; r++) {
        float lanes[LANES];
        memcpy(lanes, rows[r], sizeof(lanes));
        for (size_t i = 0; i < LANES; i++) {
            lanes[i] *= query->f[i];
        }
        for (size_t half = LANES / 2; half > 0; half /= 2) {
            for (size_t i = 0; i < half; i++) {
                lanes[i] += lanes[i + half];
            }
        }
        out[r] = lanes[0];
    }
}

static inline uint32_t count_below(const float *dist, uint32_t count, float d)
{
    uint32_t low = 0;
    while (count > 0) {
        uint32_t half = count / 2;
        bool below = dist[low + half] < d;
        low = below ? low + half + 1 : low;
        count = below ? count - half - 1 : half;
    }
    return low;
}

static int32_t row_dot8(const uint8_t *high, const struct row_query *query, size_t padded)
{
    int32_t sum = 0;
    for (size_t i = 0; i < padded; i++) {
        sum += high[i] * query->q8[i];
    }
    return sum;
}

/* Dimension i of a row, a number from -2048 to 2047; see rows.h. */
static inline float number_at(const uint8_t *high, const uint8_t *low, size_t i)
{
    uint8_t pair = low[i / 32 * 16 + i % 16];
    return (float)((high[i] << 4 | (i % 32 < 16 ? pair & 15 : pair >> 4)) - 2048);
}

/* Lane i of 32 has the sum of what stands at i modulo 32; then halves are added to halves. */
static inline float lanes_sum(float lanes[32])
{
    for (size_t half = 16; half > 0; half /= 2) {
        for (size_t i = 0; i < half; i++) {
            lanes[i] += lanes[i + half];
        }
    }
    return lanes[0];
}

static float row_l2(const uint8_t *high, const uint8_t *low, float scale, const float *query,
                    size_t padded)
{
    float lanes[32] = { 0 };
    for (size_t i = 0; i < padded; i++) {
        float diff = fmaf(number_at(high, low, i), scale, -query[i]);
        lanes[i % 32] = fmaf(diff, diff, lanes[i % 32]);
    }
    return lanes_sum(lanes);
}

static float row_dot(const uint8_t *high, const uint8_t *low, float scale, const float *query,
                     size_t padded)
{
    float lanes[32] = { 0 };
    for (size_t i = 0; i < padded; i++) {
        lanes[i % 32] = fmaf(number_at(high, low, i), query[i], lanes[i % 32]);
    }
    return scale * lanes_sum(lanes);
}

static void project(const float *x, size_t n, const float *matrix, size_t width, float *out)
{
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < width; j++) {
            out[j] = fmaf(x[i], matrix[i * width + j], out[j]);
        }
    }
}

static void project16(const int16_t *x, size_t n, const int16_t *matrix, size_t width, int32_t *out)
{
    memset(out, 0, width * sizeof(*out));
    for (size_t i = 0; i < n; i += 2) {
        const int16_t *row = matrix + i * width;
        for (size_t j = 0; j < width; j++) {
            out[j] += x[i] * row[2 * j] + x[i + 1] * row[2 * j + 1];
        }
    }
}

#define SIMD_TABLE simd_plain
#define SIMD_NAME "plain"
#include "vector/simd_loop.h"
