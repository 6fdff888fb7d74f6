/*
 * Digests by OpenSSL: MD5, SHA-1, SHA-256, HMAC. CRC32C is in crc32c.h.
 */
#ifndef BASE_DIGEST_H
#define BASE_DIGEST_H

#include "base/crc32c.h"
#include "base/str.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { SHA256_BYTES = 32, SHA1_BYTES = 20, MD5_BYTES = 16, SHA256_HEX = 64, MD5_HEX = 32 };

struct digest; /* a running MD5, SHA-1 or SHA-256 */

enum digest_kind { DIGEST_MD5, DIGEST_SHA1, DIGEST_SHA256 };

/** NULL when there is no memory. */
struct digest *digest_new(enum digest_kind kind) MUST_USE;
void digest_free(struct digest *digest);
void digest_update(struct digest *digest, const void *bytes, size_t len);
/** Writes 16, 20 or 32 bytes; the digest can then only be freed. */
void digest_final(struct digest *digest, uint8_t *out);

void sha256(struct str bytes, uint8_t out[SHA256_BYTES]);
/** NUL-terminated lower-case hex. */
void sha256_hex(struct str bytes, char out[SHA256_HEX + 1]);
void md5_hex(struct str bytes, char out[MD5_HEX + 1]);
void hmac_sha256(struct str key, struct str message, uint8_t out[SHA256_BYTES]);
/** Equal length and content, in time that does not depend on the content. */
bool digest_equal(struct str a, struct str b);

#ifdef __cplusplus
}
#endif

#endif
