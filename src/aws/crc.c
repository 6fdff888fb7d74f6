/*
 * CRCs as polynomials over GF(2). All three are reflected: the lowest bit of a value has the
 * highest power, so that bytes are loaded as they lie, little end first. With n the width, a value
 * s of n bits stands for the sum of s_i x^(n-1-i).
 *
 *   - by table, 8 bytes a step ("slicing by 8", Kounavis and Berry, 2008), one code for both
 *     widths;
 *   - by folding, where the processor multiplies without carries (PCLMULQDQ): four registers of 128
 *     bits each take their next 64 bytes on, which is to multiply what they hold by x^512 modulo
 *     the polynomial (Gopal and others, "Fast CRC Computation for Generic Polynomials Using
 *     PCLMULQDQ Instruction", Intel 2009). What is left are 128 bits that the tables take as if
 *     they were 16 bytes of the message; so there is no Barrett reduction, and nothing depends on
 *     the width but the constants, which are computed at the first use.
 *
 * CRC32C has an instruction of its own and is base's.
 */
#include "aws/crc.h"

#include <endian.h>
#include <pthread.h>

#include "base/digest.h"

enum { FOLD_BYTES = 64, BLOCK_BYTES = 16 };

struct poly {
    unsigned bits;    /* width */
    uint64_t reduced; /* the polynomial without its highest power, reflected */
    uint64_t table[8][256];
    /* to take 128 bits past FOLD_BYTES, and past BLOCK_BYTES; for the low and the high half */
    uint64_t fold[2], block[2];
};

static struct poly polys[] = {
    [AWS_CRC32] = { .bits = 32, .reduced = 0xEDB88320 },
    [AWS_CRC32C] = { .bits = 32, .reduced = 0x82F63B78 },
    [AWS_CRC64NVME] = { .bits = 64, .reduced = 0x9A6C9329AC4BC9B5 },
};
static pthread_once_t setup_once = PTHREAD_ONCE_INIT;
static bool have_clmul;

static uint64_t ones(const struct poly *poly)
{
    return poly->bits == 64 ? UINT64_MAX : ((uint64_t)1 << poly->bits) - 1;
}

/** s * x */
static uint64_t times_x(const struct poly *poly, uint64_t s)
{
    return (s & 1) != 0 ? s >> 1 ^ poly->reduced : s >> 1;
}

/** x^power in a register of 64 bits, whatever the width. */
static uint64_t power_of_x(const struct poly *poly, unsigned power)
{
    uint64_t s = (uint64_t)1 << (poly->bits - 1);
    while (power-- > 0) {
        s = times_x(poly, s);
    }
    return s << (64 - poly->bits);
}

static void setup_poly(struct poly *poly)
{
    for (uint64_t i = 0; i < 256; i++) {
        uint64_t s = i;
        for (int bit = 0; bit < 8; bit++) {
            s = times_x(poly, s);
        }
        poly->table[0][i] = s;
    }
    for (size_t k = 1; k < 8; k++) {
        for (size_t i = 0; i < 256; i++) {
            uint64_t s = poly->table[k - 1][i];
            poly->table[k][i] = s >> 8 ^ poly->table[0][s & 0xFF];
        }
    }
    /* A reflected product of two 64-bit values stands for x times their product: hence the -1. The
     * low half has the higher powers, by 64. */
    poly->fold[0] = power_of_x(poly, 8 * FOLD_BYTES + 64 - 1);
    poly->fold[1] = power_of_x(poly, 8 * FOLD_BYTES - 1);
    poly->block[0] = power_of_x(poly, 8 * BLOCK_BYTES + 64 - 1);
    poly->block[1] = power_of_x(poly, 8 * BLOCK_BYTES - 1);
}

static void setup(void)
{
    for (size_t i = 0; i < ARRAY_LEN(polys); i++) {
        setup_poly(&polys[i]);
    }
#ifdef __x86_64__
    __builtin_cpu_init();
    have_clmul = __builtin_cpu_supports("pclmul") != 0;
#endif
}

/** `s` without the inversion at both ends, here and below. */
static uint64_t by_table(const struct poly *poly, uint64_t s, const char *p, size_t len)
{
    const uint64_t (*table)[256] = poly->table;
    for (; len >= 8; p += 8, len -= 8) {
        uint64_t word;
        memcpy(&word, p, sizeof(word));
        word = le64toh(word) ^ s;
        s = table[7][word & 0xFF] ^ table[6][word >> 8 & 0xFF] ^ table[5][word >> 16 & 0xFF] ^
            table[4][word >> 24 & 0xFF] ^ table[3][word >> 32 & 0xFF] ^
            table[2][word >> 40 & 0xFF] ^ table[1][word >> 48 & 0xFF] ^ table[0][word >> 56];
    }
    for (; len > 0; p++, len--) {
        s = s >> 8 ^ table[0][(s ^ (unsigned char)*p) & 0xFF];
    }
    return s;
}

#ifdef __x86_64__
#define CLMUL __attribute__((target("pclmul")))
typedef long long v128 __attribute__((vector_size(16)));

static v128 load(const char *p)
{
    v128 block;
    memcpy(&block, p, sizeof(block));
    return block;
}

CLMUL static v128 pass(v128 s, v128 by)
{
    return __builtin_ia32_pclmulqdq128(s, by, 0x00) ^ __builtin_ia32_pclmulqdq128(s, by, 0x11);
}

/** `len` is FOLD_BYTES or more. */
CLMUL static uint64_t by_folding(const struct poly *poly, uint64_t s, const char *p, size_t len)
{
    const v128 fold = { (long long)poly->fold[0], (long long)poly->fold[1] };
    const v128 block = { (long long)poly->block[0], (long long)poly->block[1] };
    v128 a = load(p) ^ (v128) { (long long)s, 0 };
    v128 b = load(p + 16), c = load(p + 32), d = load(p + 48);
    for (p += FOLD_BYTES, len -= FOLD_BYTES; len >= FOLD_BYTES;
         p += FOLD_BYTES, len -= FOLD_BYTES) {
        a = pass(a, fold) ^ load(p);
        b = pass(b, fold) ^ load(p + 16);
        c = pass(c, fold) ^ load(p + 32);
        d = pass(d, fold) ^ load(p + 48);
    }
    a = pass(pass(pass(a, block) ^ b, block) ^ c, block) ^ d;
    for (; len >= BLOCK_BYTES; p += BLOCK_BYTES, len -= BLOCK_BYTES) {
        a = pass(a, block) ^ load(p);
    }
    char rest[BLOCK_BYTES];
    memcpy(rest, &a, sizeof(rest));
    return by_table(poly, by_table(poly, 0, rest, sizeof(rest)), p, len);
}
#else
static uint64_t by_folding(const struct poly *poly, uint64_t s, const char *p, size_t len)
{
    return by_table(poly, s, p, len);
}
#endif

uint64_t aws_crc_update(enum aws_crc kind, uint64_t crc, struct str bytes)
{
    if (kind == AWS_CRC32C) {
        return crc32c((uint32_t)crc, bytes.ptr, bytes.len);
    }
    pthread_once(&setup_once, setup);
    if (!have_clmul || bytes.len < FOLD_BYTES) {
        return aws_crc_portable(kind, crc, bytes);
    }
    const struct poly *poly = &polys[kind];
    return by_folding(poly, crc ^ ones(poly), bytes.ptr, bytes.len) ^ ones(poly);
}

uint64_t aws_crc_portable(enum aws_crc kind, uint64_t crc, struct str bytes)
{
    pthread_once(&setup_once, setup);
    const struct poly *poly = &polys[kind];
    return by_table(poly, crc ^ ones(poly), bytes.ptr, bytes.len) ^ ones(poly);
}

/** a * b modulo the polynomial. */
static uint64_t times(const struct poly *poly, uint64_t a, uint64_t b)
{
    uint64_t product = 0;
    for (unsigned i = poly->bits; i-- > 0;) {
        product ^= (a >> i & 1) != 0 ? b : 0;
        b = times_x(poly, b);
    }
    return product;
}

/*
 * Behind n more bytes, a message's polynomial is multiplied by x^(8 n); the inversions of both
 * pieces cancel each other but for those that the whole has.
 */
uint64_t aws_crc_join(enum aws_crc kind, uint64_t first, uint64_t second, uint64_t second_bytes)
{
    pthread_once(&setup_once, setup);
    const struct poly *poly = &polys[kind];
    uint64_t power = (uint64_t)1 << (poly->bits - 1 - 8); /* x^8 */
    for (; second_bytes > 0; second_bytes >>= 1) {
        if ((second_bytes & 1) != 0) {
            first = times(poly, power, first);
        }
        power = times(poly, power, power);
    }
    return first ^ second;
}
