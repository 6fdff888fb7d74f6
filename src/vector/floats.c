/*
 * Sums run in eight lanes that a compiler may hold in registers; they are the same wherever it
 * does.
 */
#include "vector/floats.h"

#include <math.h>

float floats_greatest(const float *values, size_t n)
{
    enum { LANES = 16 };
    float lanes[LANES] = { 0 };
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        for (size_t lane = 0; lane < LANES; lane++) {
            float size = fabsf(values[i + lane]);
            lanes[lane] = size > lanes[lane] ? size : lanes[lane];
        }
    }
    for (; i < n; i++) {
        float size = fabsf(values[i]);
        lanes[0] = size > lanes[0] ? size : lanes[0];
    }
    float max = lanes[0];
    for (size_t lane = 1; lane < LANES; lane++) {
        max = lanes[lane] > max ? lanes[lane] : max;
    }
    return max;
}

double floats_dot(const float *a, const float *b, size_t n)
{
    double lanes[8] = { 0 };
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        for (size_t lane = 0; lane < 8; lane++) {
            lanes[lane] += (double)a[i + lane] * (double)b[i + lane];
        }
    }
    for (; i < n; i++) {
        lanes[i % 8] += (double)a[i] * (double)b[i];
    }
    return ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) +
           ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]));
}
