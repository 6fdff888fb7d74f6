/*
 * AWS Signature Version 4, both sides of it: sign a request, and tell whether a request was signed
 * with a secret. Header form, query form (presigned) and the seed of streaming bodies.
 *
 * A canonical request is made from what stands on the wire: the path is percent-decoded once and
 * encoded again once (S3's rule, other services encode twice), query parameters are decoded, a plus
 * is a space, encoded and sorted, and exactly the listed headers are signed.
 *
 * Source   "Authenticating Requests (AWS Signature Version 4)" of the Amazon S3 API reference; its
 *          examples are in the tests
 * Threads  pure functions
 */
#ifndef AWS_SIGV4_H
#define AWS_SIGV4_H

#include "aws/code.h"
#include "base/arena.h"
#include "base/digest.h"
#include "http/message.h"

enum {
    AWS_SKEW_MAX_S = 15 * 60,          /* S3's: RequestTimeTooSkewed */
    AWS_EXPIRES_MAX_S = 7 * 24 * 3600, /* of a presigned request */
    AWS_TIME_LEN = 16,                 /* 20240102T030405Z */
    AWS_SECRET_MAX = 1024,             /* bytes; AWS's have 40; chosen */
};

struct aws_key {
    struct str access_key, secret_key;
    struct str session_token; /* empty: none */
};

/** A request as it is on the wire. */
struct aws_request {
    struct str method;
    struct str path;                    /* raw, from the leading slash on */
    struct str query;                   /* raw, without '?' */
    const struct http_headers *headers; /* Host among them */
};

/** Of nothing. */
#define AWS_EMPTY_SHA256 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

/** What x-amz-content-sha256 says of the body. */
enum aws_payload {
    AWS_PAYLOAD_HASH,     /* the hex SHA-256 of the body */
    AWS_PAYLOAD_UNSIGNED, /* UNSIGNED-PAYLOAD */
    AWS_PAYLOAD_STREAM,   /* STREAMING-AWS4-HMAC-SHA256-PAYLOAD */
    AWS_PAYLOAD_STREAM_TRAILER,
    AWS_PAYLOAD_STREAM_UNSIGNED_TRAILER, /* STREAMING-UNSIGNED-PAYLOAD-TRAILER */
};

enum aws_auth_form { AWS_AUTH_ANONYMOUS, AWS_AUTH_HEADER, AWS_AUTH_QUERY };

/** A request's claim to be somebody, read but not believed. Points into the request and the
 * arena. */
struct aws_auth {
    enum aws_auth_form form;
    struct str access_key;
    struct str day, region, service; /* "20240102", "us-east-1", "s3" */
    char time[AWS_TIME_LEN + 1];
    int64_t time_ms;
    int64_t expires_s;         /* query form */
    struct str signed_headers; /* lower case, joined by ';' */
    struct str session_token;
    struct str signature; /* 64 hex digits */
    enum aws_payload payload;
    struct str
        payload_text; /* as the header says; "UNSIGNED-PAYLOAD" in the query form without it */
};

/**
 * Read the Authorization header or the X-Amz-* parameters. Neither: AWS_AUTH_ANONYMOUS and OK.
 * Commas of the header may stand without spaces. The time is that of x-amz-date, else of Date.
 *
 * Errors   with *code_out: malformed header or parameters, both forms at once, an expiry that is
 *          out of bounds, a signature form that is not AWS4-HMAC-SHA256, an x-amz-content-sha256
 *          that is none of the five, a missing Host among the signed headers, an x-amz-* header
 *          that
 *          is not signed (header form)
 */
enum status aws_auth_read(const struct aws_request *request, struct arena *arena,
                          struct aws_auth *out, enum aws_code *code_out, struct err *err) MUST_USE;

/** A day's signing key: HMAC over HMAC of secret (AWS_SECRET_MAX bytes at most), day, region and
 * service. */
struct aws_signing_key {
    uint8_t bytes[SHA256_BYTES];
};
void aws_signing_key_make(struct str secret, struct str day, struct str region, struct str service,
                          struct aws_signing_key *out);

/**
 * Is the claim true? The comparison takes the same time whatever differs.
 *
 * `now_ms` the server's clock; `region` empty: any. For AWS_PAYLOAD_HASH the body itself is the
 * caller's to hash and compare with auth->payload_text.
 * Errors   with *code_out: AWS_REQUEST_TIME_TOO_SKEWED (says both times), AWS_ACCESS_DENIED (a
 *          presigned request that has expired or is not valid yet), AWS_AUTHORIZATION_HEADER_
 *          MALFORMED or _QUERY_PARAMETERS_ERROR, by its form (region, service, or a day that is
 *          not the time's), AWS_SIGNATURE_DOES_NOT_MATCH (the message holds the canonical request,
 *          for the client's developer)
 */
enum status aws_auth_verify(const struct aws_auth *auth, const struct aws_request *request,
                            const struct aws_signing_key *key, struct str region, int64_t now_ms,
                            struct arena *arena, enum aws_code *code_out, struct err *err) MUST_USE;

struct aws_sign_opts {
    struct aws_key key;
    struct str region;
    struct str service; /* empty: "s3" */
    int64_t now_ms;
    struct str payload; /* hex SHA-256, or UNSIGNED-PAYLOAD, or one of the streaming words */
};
/**
 * Sign for the header form: adds x-amz-date, x-amz-content-sha256, x-amz-security-token where there
 * is a token, and Authorization to `headers`, which must hold Host and everything that is to be
 * sent; all of it is signed but `user-agent`, `expect`, `content-length` and hop-by-hop headers.
 * request->headers is not looked at.
 */
enum status aws_sign(const struct aws_request *request, const struct aws_sign_opts *opts,
                     struct http_headers *headers, struct arena *arena, struct err *err) MUST_USE;
/** The target (path and query) of a request that anybody may send for `expires_s` seconds, with the
 * headers in request->headers. */
enum status aws_presign(const struct aws_request *request, const struct aws_sign_opts *opts,
                        int64_t expires_s, struct arena *arena, struct str *target_out,
                        struct err *err) MUST_USE;

/* --- for streaming bodies (frames.h) and for tests --- */

/** Hex HMAC of a string to sign. */
void aws_signature(const struct aws_signing_key *key, struct str to_sign, char out[SHA256_HEX + 1]);
/** The canonical request, in the arena. */
enum status aws_canonical(const struct aws_request *request, struct str signed_headers,
                          struct str payload, struct arena *arena, struct str *out,
                          struct err *err) MUST_USE;

#endif
