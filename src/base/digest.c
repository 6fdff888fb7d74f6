/*
 * Digests. MD5, SHA-1 and SHA-256 come from OpenSSL; HMAC is RFC 2104 over them.
 */
#include "base/digest.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"

enum { SHA256_BLOCK_BYTES = 64 };

struct digest {
    EVP_MD_CTX *ctx;
};

static pthread_once_t setup_once = PTHREAD_ONCE_INIT;
/* Fetched once, an implicit fetch costs more than a short digest; kept for ever. */
static EVP_MD *md5_method, *sha1_method, *sha256_method;

static void setup(void);
static const EVP_MD *method_of(enum digest_kind kind);
static void must(int ok);
static void one_shot(const EVP_MD *method, struct str bytes, uint8_t *out);
static void to_hex(const uint8_t *bytes, size_t len, char *out);

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
