/*
 * Access keys that are lent: for some minutes, for one prefix, and kept by nobody. What a key may
 * do stands in its session token, sealed by a secret that all services share, and its secret key is
 * made of the token; so whoever has the services' secret can lend one, and tell whether one was
 * lent, without a word between them.
 *
 *      claims = version, rights, when it ends, 8 random bytes, prefix
 *      session token = base64url(claims, HMAC(seal, claims))
 *      access key    = "LAKETMP" and the random bytes in hex
 *      secret key    = base64url(HMAC(secret, claims)), 40 characters of it
 *
 * Threads  safe: immutable
 */
#ifndef AWS_VENDED_H
#define AWS_VENDED_H

#include "aws/keyring.h"

enum {
    AWS_VENDED_ACCESS_KEY_LEN = 23,
    AWS_VENDED_SECRET_LEN = 40,
    AWS_VENDED_PREFIX_MAX = 1024, /* bytes; of a bucket's name and a key */
};

struct aws_vendor {
    uint8_t seal[SHA256_BYTES], secret[SHA256_BYTES];
};
/** `cluster_secret` is not kept; the keys made of it are good for nothing else. */
void aws_vendor_init(struct aws_vendor *vendor, struct str cluster_secret);
void aws_vendor_done(struct aws_vendor *vendor); /* wipes it */

struct aws_vended {
    char access_key[AWS_VENDED_ACCESS_KEY_LEN + 1];
    char secret_key[AWS_VENDED_SECRET_LEN + 1];
    struct str session_token; /* in the arena */
};
/** E_INVALID for a prefix that is empty, too long or without '/': a key for everything is not
 * lent. */
enum status aws_vend(const struct aws_vendor *vendor, struct str prefix, bool write,
                     int64_t expires_ms, struct arena *arena, struct aws_vended *out,
                     struct err *err) MUST_USE;

/** Does an access key look like one that is lent? */
bool aws_vended_looks(struct str access_key);
/**
 * The grant of a lent key, in `arena`.
 *
 * Errors   with *code_out: AWS_INVALID_TOKEN (it is not ours, or not of that access key),
 *          AWS_EXPIRED_TOKEN; E_NO_MEMORY
 */
enum status aws_vended_read(const struct aws_vendor *vendor, struct str access_key,
                            struct str session_token, int64_t now_ms, struct arena *arena,
                            struct aws_grant *out, enum aws_code *code_out,
                            struct err *err) MUST_USE;

#endif
