/*
 * Loops of simd_loop.h that gain nothing from wider registers, for the sets that have no better.
 */
#ifndef VECTOR_SIMD_SCALAR_H
#define VECTOR_SIMD_SCALAR_H

#include "vector/simd.h"

static inline int32_t of_row_8(const uint8_t *row, size_t dimensions, size_t lines, int8_t *q,
                               int16_t *q16)
{
    int32_t sum = 0;
    for (size_t i = 0; i < lines * LINE; i++) {
        int number = i < dimensions ? row[i] - 128 : 0;
        q[i] = (int8_t)number;
        q16[i] = (int16_t)number;
        sum += number;
    }
    return sum;
}

static inline int32_t of_row_4(const uint8_t *row, size_t dimensions, int8_t *q, int16_t *q16)
{
    const size_t half = LINE - CODE_TAIL;
    int32_t sum = 0;
    for (size_t i = 0; i < LINE; i++) {
        int below = i < half && i < dimensions ? 2 * (row[i] & 15) - 15 : 0;
        int above = i < half && half + i < dimensions ? 2 * (row[i] >> 4) - 15 : 0;
        q[i] = (int8_t)below;
        q[LINE + i] = (int8_t)above;
        q16[i] = (int16_t)below;
        q16[LINE + i] = (int16_t)above;
        sum += below + above;
    }
    return sum;
}

static inline size_t take_fresh(const uint32_t *links, size_t degree, uint64_t *visited,
                                uint32_t slots, uint32_t *out)
{
    size_t n = 0;
    for (size_t i = 0; i < degree; i++) {
        uint32_t slot = __atomic_load_n(links + i, __ATOMIC_ACQUIRE);
        if (slot == NO_SLOT) {
            break;
        }
        if (slot < slots && bit_take(visited, slot)) {
            out[n++] = slot;
        }
    }
    return n;
}

#endif
