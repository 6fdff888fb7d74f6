/*
 * Digests. MD5, SHA-1 and SHA-256 come from OpenSSL; HMAC is RFC 2104 over them.
 *
 * CRC32C (polynomial 0x1EDC6F41, here bit-reversed as 0x82F63B78) has two engines, chosen once:
 *   - tables, 8 bytes a step ("slicing by 8", Kounavis and Berry, 2008);
 *   - the SSE4.2 instruction. It takes 3 cycles but starts every cycle, so long inputs run as three
 *     lanes side by side. A lane's result is moved past the lanes behind it by a table: feeding n
 *     zero bytes is linear over GF(2), so it is the xor of what each of the 4 bytes becomes.
 */
#include "base/digest.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"

enum { SHA256_BLOCK_BYTES = 64, LANE_BYTES = 1024 /* chosen: three lanes fit the L1 cache */ };

struct digest {
    EVP_MD_CTX *ctx;
};

static pthread_once_t setup_once = PTHREAD_ONCE_INIT;
/* Fetched once, an implicit fetch costs more than a short digest; kept for ever. */
static EVP_MD *md5_method, *sha1_method, *sha256_method;
static uint32_t crc_table[8][256];
#ifdef __x86_64__
static uint32_t lane_table[4][256]; /* a CRC's k-th byte after LANE_BYTES zero bytes */
static bool have_sse42;
#endif

static void setup(void);
static const EVP_MD *method_of(enum digest_kind kind);
static void setup_crc(void);
static void must(int ok);
static void one_shot(const EVP_MD *method, struct str bytes, uint8_t *out);
static void to_hex(const uint8_t *bytes, size_t len, char *out);
static uint32_t crc_by_table(uint32_t crc, const uint8_t *p, size_t len);
#ifdef __x86_64__
static uint32_t crc_by_sse42(uint32_t crc, const uint8_t *p, size_t len);
static void setup_lanes(void);
#endif

struct digest *digest_new(enum digest_kind kind)
{
    pthread_once(&setup_once, setup);
    struct digest *digest = mem_zalloc(sizeof(*digest));
    if (digest == NULL) {
        return NULL;
    }
    digest->ctx = EVP_MD_CTX_new();
    if (digest->ctx == NULL || EVP_DigestInit_ex2(digest->ctx, method_of(kind), NULL) != 1) {
        digest_free(digest);
        return NULL;
    }
    return digest;
}

void digest_free(struct digest *digest)
{
    if (digest != NULL) {
        EVP_MD_CTX_free(digest->ctx);
        mem_free(digest);
    }
}

void digest_update(struct digest *digest, const void *bytes, size_t len)
{
    must(EVP_DigestUpdate(digest->ctx, bytes, len));
}

void digest_final(struct digest *digest, uint8_t *out)
{
    must(EVP_DigestFinal_ex(digest->ctx, out, NULL));
}

void sha256(struct str bytes, uint8_t out[SHA256_BYTES])
{
    pthread_once(&setup_once, setup);
    one_shot(sha256_method, bytes, out);
}

void sha256_hex(struct str bytes, char out[SHA256_HEX + 1])
{
    uint8_t sum[SHA256_BYTES];
    sha256(bytes, sum);
    to_hex(sum, sizeof(sum), out);
}

void md5_hex(struct str bytes, char out[MD5_HEX + 1])
{
    uint8_t sum[MD5_BYTES];
    pthread_once(&setup_once, setup);
    one_shot(md5_method, bytes, sum);
    to_hex(sum, sizeof(sum), out);
}

void hmac_sha256(struct str key, struct str message, uint8_t out[SHA256_BYTES])
{
    pthread_once(&setup_once, setup);
    uint8_t block[SHA256_BLOCK_BYTES] = { 0 };
    uint8_t inner[SHA256_BYTES];
    if (key.len > sizeof(block)) {
        sha256(key, block);
    } else if (key.len > 0) {
        memcpy(block, key.ptr, key.len);
    }
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    must(ctx != NULL);
    for (size_t i = 0; i < sizeof(block); i++) {
        block[i] ^= 0x36; /* ipad */
    }
    must(EVP_DigestInit_ex2(ctx, sha256_method, NULL));
    must(EVP_DigestUpdate(ctx, block, sizeof(block)));
    must(EVP_DigestUpdate(ctx, message.ptr, message.len));
    must(EVP_DigestFinal_ex(ctx, inner, NULL));
    for (size_t i = 0; i < sizeof(block); i++) {
        block[i] ^= 0x36 ^ 0x5C; /* from ipad to opad */
    }
    must(EVP_DigestInit_ex2(ctx, sha256_method, NULL));
    must(EVP_DigestUpdate(ctx, block, sizeof(block)));
    must(EVP_DigestUpdate(ctx, inner, sizeof(inner)));
    must(EVP_DigestFinal_ex(ctx, out, NULL));
    EVP_MD_CTX_free(ctx);
    OPENSSL_cleanse(block, sizeof(block));
}

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

bool digest_equal(struct str a, struct str b)
{
    return a.len == b.len && (a.len == 0 || CRYPTO_memcmp(a.ptr, b.ptr, a.len) == 0);
}

static void setup(void)
{
    md5_method = EVP_MD_fetch(NULL, "MD5", NULL);
    sha1_method = EVP_MD_fetch(NULL, "SHA1", NULL);
    sha256_method = EVP_MD_fetch(NULL, "SHA2-256", NULL);
    must(md5_method != NULL && sha1_method != NULL && sha256_method != NULL);
    setup_crc();
#ifdef __x86_64__
    __builtin_cpu_init();
    have_sse42 = __builtin_cpu_supports("sse4.2") != 0;
    setup_lanes();
#endif
}

static const EVP_MD *method_of(enum digest_kind kind)
{
    switch (kind) {
    case DIGEST_MD5:
        return md5_method;
    case DIGEST_SHA1:
        return sha1_method;
    case DIGEST_SHA256:
        return sha256_method;
    }
    return NULL;
}

static void setup_crc(void)
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
}

/**
 * OpenSSL fails here only without memory or with a broken installation. A digest that silently is
 * wrong would corrupt data, so the process ends.
 */
static void must(int ok)
{
    if (ok != 1) {
        fputs("OpenSSL cannot compute a digest (no memory, or MD5, SHA-1 or SHA-256 is missing)\n",
              stderr);
        abort();
    }
}

static void one_shot(const EVP_MD *method, struct str bytes, uint8_t *out)
{
    must(EVP_Digest(bytes.ptr, bytes.len, out, NULL, method, NULL));
}

static void to_hex(const uint8_t *bytes, size_t len, char *out)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < len; i++) {
        out[2 * i] = digits[bytes[i] >> 4];
        out[2 * i + 1] = digits[bytes[i] & 15];
    }
    out[2 * len] = '\0';
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
