/*
 * aws-chunked bodies: frames with a signature each or none, then trailers.
 *
 *     size in hex [;chunk-signature=64 hex digits] CRLF  data CRLF     any number of them
 *     0           [;chunk-signature=64 hex digits] CRLF
 *     [x-amz-checksum-crc32:value CRLF] [x-amz-trailer-signature:64 hex digits CRLF] CRLF
 *
 * The decoder is pushed bytes as they come and gives the data back as it finds it, in place,
 * without a copy. A frame's data is given out before its signature can be known, all but its last
 * piece: the caller must not make anything visible before aws_frames_end has said OK.
 *
 * Each signature covers the one before it, the first that of the request. So frames cannot be left
 * out, repeated or moved. Of trailers, what clients send is taken: a line may end in LF, CRLF or
 * (minio-go) LF CRLF, and more empty lines may follow the last.
 *
 * Source   "Signature calculations for the authorization header: transferring payload in multiple
 *          chunks" and the like with "trailing headers", Amazon S3 API reference
 * Threads  one at a time
 */
#ifndef AWS_FRAMES_H
#define AWS_FRAMES_H

#include "aws/sigv4.h"

enum {
    AWS_FRAME_HEAD_MAX = 256,     /* bytes; 102 at most in sound ones; chosen */
    AWS_TRAILER_BYTES_MAX = 4096, /* of all of them; chosen */
    AWS_TRAILERS_MAX = 16,        /* chosen */
};

struct aws_frames;

struct aws_frames_opts {
    enum aws_payload payload; /* one of the three streaming forms */
    /* Of the signed forms: */
    struct aws_signing_key key;
    struct str seed;  /* the request's signature, 64 hex digits */
    struct str time;  /* as in the request: 20240102T030405Z */
    struct str scope; /* day/region/service/aws4_request */
    /* Of all: */
    uint64_t decoded_length;  /* x-amz-decoded-content-length */
    struct str trailer_names; /* x-amz-trailer: separated by commas; empty: none promised */
};

/**
 * Copies what it needs of the options.
 *
 * Errors   E_INVALID when more than AWS_TRAILERS_MAX trailers are promised, or by a form that has
 *          none; E_NO_MEMORY
 */
enum status aws_frames_new(const struct aws_frames_opts *opts, struct aws_frames **out,
                           struct err *err) MUST_USE;
void aws_frames_free(struct aws_frames *frames);
/**
 * Take bytes from the front of *rest, which is moved on, until some data was found or all are
 * taken.
 *
 * Returns  *data_out is a piece of data inside *rest, or empty when *rest is used up
 * Errors   with *code_out: AWS_INCOMPLETE_BODY (a broken frame, as S3 has it, or more data than
 *          decoded_length), AWS_SIGNATURE_DOES_NOT_MATCH, AWS_MALFORMED_TRAILER (too many bytes of
 *          them), AWS_INTERNAL_ERROR (no memory). Every later call fails alike.
 */
enum status aws_frames_push(struct aws_frames *frames, struct str *rest, struct str *data_out,
                            enum aws_code *code_out, struct err *err) MUST_USE;
/**
 * The body is over: was the last frame there, every signature right, the length as promised, and
 * each promised trailer there, and no other?
 *
 * Errors   with *code_out: AWS_INCOMPLETE_BODY (it ended too early, or is shorter than
 *          decoded_length), AWS_SIGNATURE_DOES_NOT_MATCH (the trailers' own),
 *          AWS_MALFORMED_TRAILER, and those of aws_frames_push
 */
enum status aws_frames_end(struct aws_frames *frames, enum aws_code *code_out,
                           struct err *err) MUST_USE;
/** After the end: a trailer's value, the decoder's; .ptr NULL when there is none of that name. */
struct str aws_frames_trailer(const struct aws_frames *frames, struct str name);

#endif
