/*
 * Where the keys for somebody else's S3 come from, in the order of AWS's own tools: our settings,
 * the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN), the shared files
 * (AWS_SHARED_CREDENTIALS_FILE or ~/.aws/credentials, AWS_CONFIG_FILE or ~/.aws/config; the profile
 * of AWS_PROFILE, else `default`), which are read again when they have changed: short-lived keys
 * are refreshed there by other programs.
 */
#ifndef AWS_CREDENTIALS_H
#define AWS_CREDENTIALS_H

#include "aws/sigv4.h"

struct aws_credentials;

struct aws_credentials_opts {
    struct aws_key settings; /* of [s3]; empty: not set */
    struct str profile;      /* empty: AWS_PROFILE, else "default" */
    /** The environment; NULL: the process' own. Tests give theirs. */
    const char *(*env)(void *ctx, const char *name);
    void *env_ctx;
};

enum status aws_credentials_new(const struct aws_credentials_opts *opts,
                                struct aws_credentials **out, struct err *err) MUST_USE;
void aws_credentials_free(struct aws_credentials *credentials);
/**
 * The keys as of now, copied into the arena. Thread safe.
 *
 * Errors   E_AUTH: none are to be had; names the three places that were looked at, and what was
 *          wrong with a file that was there
 */
enum status aws_credentials_get(struct aws_credentials *credentials, struct arena *arena,
                                struct aws_key *out, struct err *err) MUST_USE;
/** The region that the environment or the shared files name, into the arena; empty: none. */
enum status aws_credentials_region(struct aws_credentials *credentials, struct arena *arena,
                                   struct str *out, struct err *err) MUST_USE;

#endif
