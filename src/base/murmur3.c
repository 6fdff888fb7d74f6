/*
 * MurmurHash3, 32 bits: four bytes at a time are mixed in, then what is left, then the length.
 */
#include "base/murmur3.h"

enum { ROTATE_BLOCK = 15, ROTATE_HASH = 13 };

static uint32_t rotate(uint32_t value, unsigned bits)
{
    return value << bits | value >> (32 - bits);
}

static uint32_t mix(uint32_t block)
{
    return rotate(block * 0xcc9e2d51u, ROTATE_BLOCK) * 0x1b873593u;
}

/** Up to four bytes, little endian. */
static uint32_t take(const char *bytes, size_t count)
{
    uint32_t block = 0;
    for (size_t i = count; i-- > 0;) {
        block = block << 8 | (uint8_t)bytes[i];
    }
    return block;
}

uint32_t murmur3_32(struct str bytes)
{
    uint32_t hash = 0;
    size_t whole = bytes.len / 4 * 4;
    for (size_t i = 0; i < whole; i += 4) {
        hash = rotate(hash ^ mix(take(bytes.ptr + i, 4)), ROTATE_HASH) * 5 + 0xe6546b64u;
    }
    if (whole < bytes.len) {
        hash ^= mix(take(bytes.ptr + whole, bytes.len - whole));
    }
    hash ^= (uint32_t)bytes.len;
    hash = (hash ^ hash >> 16) * 0x85ebca6bu;
    hash = (hash ^ hash >> 13) * 0xc2b2ae35u;
    return hash ^ hash >> 16;
}
