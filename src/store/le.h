/* Little-endian integers of up to 8 bytes, as the store's own formats hold them. */
#ifndef STORE_LE_H
#define STORE_LE_H

#include <stddef.h>
#include <stdint.h>

static inline void le_put(void *to, uint64_t value, size_t bytes)
{
    uint8_t *at = to;
    for (size_t i = 0; i < bytes; i++) {
        at[i] = (uint8_t)(value >> (8 * i));
    }
}

static inline uint64_t le_get(const void *from, size_t bytes)
{
    const uint8_t *at = from;
    uint64_t value = 0;
    for (size_t i = 0; i < bytes; i++) {
        value |= (uint64_t)at[i] << (8 * i);
    }
    return value;
}

#endif
