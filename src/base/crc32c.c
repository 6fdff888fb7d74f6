/*
 * CRC32C (polynomial 0x1EDC6F41, here bit-reversed as 0x82F63B78) has two engines, chosen once:
 *   - tables, 8 bytes a step ("slicing by 8", Kounavis and Berry, 2008);
 *   - the SSE4.2 instruction. It takes 3 cycles but starts every cycle, so long inputs run as three
 *     lanes side by side. A lane's result is moved past the lanes behind it by a table: feeding n
 *     zero bytes is linear over GF(2), so it is the xor of what each of the 4 bytes becomes.
 */
#include "base/crc32c.h"

#include <pthread.h>
#include <stdbool.h>
#include <string.h>

enum { LANE_BYTES = 1024 /* chosen: three lanes fit the L1 cache */ };

static pthread_once_t setup_once = PTHREAD_ONCE_INIT;
static uint32_t crc_table[8][256];
#ifdef __x86_64__
static uint32_t lane_table[4][256]; /* a CRC's k-th byte after LANE_BYTES zero bytes */
static bool have_sse42;
#endif

static void setup(void);
static uint32_t crc_by_table(uint32_t crc, const uint8_t *p, size_t len);
#ifdef __x86_64__
static uint32_t crc_by_sse42(uint32_t crc, const uint8_t *p, size_t len);
static void setup_lanes(void);
#endif

uint32_t crc32c(uint32_t crc, const void *bytes, size_t len)
{
    pthread_once(&setup_once, setup);
#ifdef __x86_64__
    if (have_sse42) {
        return ~crc_by_sse42(~crc, bytes, len);
    }
#endif
    return ~crc_by_table(~crc, bytes, len);
}

uint32_t crc32c_portable(uint32_t crc, const void *bytes, size_t len)
{
    pthread_once(&setup_once, setup);
    return ~crc_by_table(~crc, bytes, len);
}

static void setup(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;
        for (int bit = 0; bit < 8; bit++) {
            crc = (crc & 1) != 0 ? crc >> 1 ^ 0x82F63B78 : crc >> 1;
        }
        crc_table[0][i] = crc;
    }
    for (size_t k = 1; k < 8; k++) {
        for (size_t i = 0; i < 256; i++) {
            uint32_t crc = crc_table[k - 1][i];
            crc_table[k][i] = crc >> 8 ^ crc_table[0][crc & 0xFF];
        }
    }
#ifdef __x86_64__
    __builtin_cpu_init();
    have_sse42 = __builtin_cpu_supports("sse4.2") != 0;
    setup_lanes();
#endif
}

/** `crc` without the inversion at both ends, here and below. */
static uint32_t crc_by_table(uint32_t crc, const uint8_t *p, size_t len)
{
    for (; len >= 8; p += 8, len -= 8) {
        uint32_t low = crc ^ ((uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
                              (uint32_t)p[3] << 24);
        crc = crc_table[7][low & 0xFF] ^ crc_table[6][low >> 8 & 0xFF] ^
              crc_table[5][low >> 16 & 0xFF] ^ crc_table[4][low >> 24] ^ crc_table[3][p[4]] ^
              crc_table[2][p[5]] ^ crc_table[1][p[6]] ^ crc_table[0][p[7]];
    }
    for (; len > 0; p++, len--) {
        crc = crc >> 8 ^ crc_table[0][(crc ^ *p) & 0xFF];
    }
    return crc;
}

#ifdef __x86_64__
static uint64_t load_u64(const uint8_t *p)
{
    uint64_t word;
    memcpy(&word, p, sizeof(word));
    return word;
}

/** What `crc` becomes when LANE_BYTES zero bytes follow. */
static uint32_t pass_lane(uint32_t crc)
{
    return lane_table[0][crc & 0xFF] ^ lane_table[1][crc >> 8 & 0xFF] ^
           lane_table[2][crc >> 16 & 0xFF] ^ lane_table[3][crc >> 24];
}

static void setup_lanes(void)
{
    uint32_t bits[32];
    for (size_t bit = 0; bit < 32; bit++) {
        uint32_t crc = (uint32_t)1 << bit;
        for (size_t i = 0; i < LANE_BYTES; i++) {
            crc = crc >> 8 ^ crc_table[0][crc & 0xFF];
        }
        bits[bit] = crc;
    }
    for (size_t k = 0; k < 4; k++) {
        for (size_t value = 0; value < 256; value++) {
            for (size_t bit = 0; bit < 8; bit++) {
                lane_table[k][value] ^= (value >> bit & 1) != 0 ? bits[8 * k + bit] : 0;
            }
        }
    }
}

__attribute__((target("sse4.2"))) static uint32_t crc_by_sse42(uint32_t crc, const uint8_t *p,
                                                               size_t len)
{
    uint64_t a = crc;
    for (; len >= 3 * LANE_BYTES; p += 3 * LANE_BYTES, len -= 3 * LANE_BYTES) {
        uint64_t b = 0;
        uint64_t c = 0;
        for (size_t i = 0; i < LANE_BYTES; i += 8) {
            a = __builtin_ia32_crc32di(a, load_u64(p + i));
            b = __builtin_ia32_crc32di(b, load_u64(p + LANE_BYTES + i));
            c = __builtin_ia32_crc32di(c, load_u64(p + 2 * LANE_BYTES + i));
        }
        a = pass_lane(pass_lane((uint32_t)a) ^ (uint32_t)b) ^ (uint32_t)c;
    }
    for (; len >= 8; p += 8, len -= 8) {
        a = __builtin_ia32_crc32di(a, load_u64(p));
    }
    for (; len > 0; p++, len--) {
        a = __builtin_ia32_crc32qi((uint32_t)a, *p);
    }
    return (uint32_t)a;
}
#endif
