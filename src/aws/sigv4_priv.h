/* What signing and verifying share. */
#ifndef AWS_SIGV4_PRIV_H
#define AWS_SIGV4_PRIV_H

#include "aws/sigv4.h"

/** The signature of a canonical request; `time` as in the request, `scope`
 * day/region/service/aws4_request. */
enum status aws_sign_canonical(const struct aws_signing_key *key, struct str canonical,
                               const char *time, struct str scope, struct arena *arena,
                               char out[SHA256_HEX + 1], struct err *err) MUST_USE;
/** 20240102T030405Z */
void aws_write_time(int64_t now_ms, char out[AWS_TIME_LEN + 1]);

#endif
