/*
 * The access keys of our S3 server: who signed a request, and what that key may do.
 *
 * A key of the settings is for ever, until they change, and knows no session token. Beside them a
 * keyring may take keys that are lent (vended.h): those come with one.
 *
 * Owns     a keyring copies the grants that it is made of, and wipes the secrets when it is freed
 * Threads  safe; immutable but for a small cache of signing keys under a lock
 */
#ifndef AWS_KEYRING_H
#define AWS_KEYRING_H

#include "aws/sigv4.h"

/** One access key and its rights. */
struct aws_grant {
    struct str access_key, secret_key;
    bool write;        /* else it may only read */
    struct str prefix; /* "bucket/" or "bucket/some/prefix"; empty: everything */
};

struct aws_keyring;

/**
 * `region` empty: requests may be signed for any.
 *
 * Errors   E_INVALID names the access key: it or its secret is empty or too long, it is there
 *          twice, or its prefix has no '/' ("lake" would be a prefix of "lakehouse/" too);
 *          E_NO_MEMORY
 */
enum status aws_keyring_new(const struct aws_grant *grants, size_t count, struct str region,
                            struct aws_keyring **out, struct err *err) MUST_USE;
void aws_keyring_free(struct aws_keyring *keyring);
/** Take keys that `cluster_secret` lends, too. Before the first request. */
void aws_keyring_take_lent(struct aws_keyring *keyring, struct str cluster_secret);

/**
 * Whose is this request? `auth` is of aws_auth_read, and not anonymous.
 *
 * Returns  *grant_out lives as long as the keyring, or `arena` where the key was lent; *key_out
 * (may be NULL) is the key that the
 *          frames of a streaming body are signed with
 * Errors   with *code_out: AWS_INVALID_ACCESS_KEY_ID (after the same work as for a wrong
 *          signature), AWS_INVALID_TOKEN, and those of aws_auth_verify
 * Cost     two SHA-256 of the request's head and one HMAC; four more HMACs when the day's key is
 *          not in the cache, which only requests that were right enter
 */
enum status aws_keyring_verify(struct aws_keyring *keyring, const struct aws_auth *auth,
                               const struct aws_request *request, int64_t now_ms,
                               struct arena *arena, const struct aws_grant **grant_out,
                               struct aws_signing_key *key_out, enum aws_code *code_out,
                               struct err *err) MUST_USE;

/** May the key touch this? `resource` is "bucket/key", or "bucket/" and what a list begins with. */
bool aws_grant_covers(const struct aws_grant *grant, struct str resource);

#endif
