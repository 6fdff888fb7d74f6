/*
 * aws-chunked bodies. Byte 0 picks the form, byte 1 the size of the pieces that the body comes in,
 * bytes 2 and 3 the length that was promised; the rest is
 *
 *   - a body as it came: in pieces it is what it is in one, never longer than was promised;
 *   - data: framed and signed here it comes back, and with one of its bytes changed it is refused
 *     or the same.
 */
#include <stdio.h>
#include <stdlib.h>

#include "aws/frames.h"
#include "base/mem.h"

#define EMPTY_HASH "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define TIME "20130524T000000Z"
#define SCOPE "20130524/us-east-1/s3/aws4_request"

static const struct aws_signing_key key = { "thirty-two bytes of a secret key" };

/** What became of a body. */
struct result {
    enum aws_code code;
    struct buf data;
    char trailer[64];
};

static void decode(const struct aws_frames_opts *opts, struct str body, size_t step,
                   struct result *out)
{
    struct aws_frames *frames;
    struct err err;
    *out = (struct result){ .code = AWS_NONE };
    buf_init(&out->data, 0);
    if (aws_frames_new(opts, &frames, &err) != OK) {
        abort();
    }
    for (size_t at = 0; out->code == AWS_NONE && at < body.len; at += step) {
        struct str rest = str_take(str_skip(body, at), step), data;
        while (rest.len > 0 && aws_frames_push(frames, &rest, &data, &out->code, &err) == OK) {
            if (buf_append(&out->data, data) != OK) {
                abort();
            }
        }
    }
    if (out->code == AWS_NONE && aws_frames_end(frames, &out->code, &err) == OK) {
        struct str value = aws_frames_trailer(frames, STR("a"));
        snprintf(out->trailer, sizeof(out->trailer), "%.*s", STR_ARG(value));
        if (out->data.len != opts->decoded_length) {
            abort();
        }
    }
    if (out->data.len > opts->decoded_length) {
        abort();
    }
    aws_frames_free(frames);
}

static bool same(const struct result *a, const struct result *b)
{
    return a->code == b->code && str_eq(buf_str(&a->data), buf_str(&b->data)) &&
           strcmp(a->trailer, b->trailer) == 0;
}

static void sign(const char *kind, const char *rest, struct str text, char last[SHA256_HEX + 1])
{
    char hash[SHA256_HEX + 1], to_sign[512];
    sha256_hex(text, hash);
    snprintf(to_sign, sizeof(to_sign), "AWS4-HMAC-SHA256-%s\n" TIME "\n" SCOPE "\n%s\n%s%s", kind,
             last, rest, hash);
    aws_signature(&key, str_of(to_sign), last);
}

static void put(struct buf *out, enum status status)
{
    (void)out;
    if (status != OK) {
        abort();
    }
}

/** A frame for each line of the data, then a trailer. */
static void encode(const struct aws_frames_opts *opts, struct str data, struct buf *out)
{
    char last[SHA256_HEX + 1] = EMPTY_HASH;
    bool is_signed = opts->payload != AWS_PAYLOAD_STREAM_UNSIGNED_TRAILER;
    for (bool more = true; more;) {
        size_t at = str_find_char(data, '\n');
        struct str piece = str_take(data, at == SIZE_MAX ? data.len : at + 1);
        more = piece.len > 0;
        sign("PAYLOAD", EMPTY_HASH "\n", piece, last);
        put(out, is_signed ? buf_printf(out, "%zx;chunk-signature=%s\r\n", piece.len, last)
                           : buf_printf(out, "%zx\r\n", piece.len));
        put(out, buf_append(out, piece));
        put(out, more ? buf_append(out, STR("\r\n")) : OK);
        data = str_skip(data, piece.len);
    }
    if (opts->payload != AWS_PAYLOAD_STREAM) {
        put(out, buf_append(out, STR("a:value\r\n")));
    }
    if (opts->payload == AWS_PAYLOAD_STREAM_TRAILER) {
        sign("TRAILER", "", STR("a:value\n"), last);
        put(out, buf_printf(out, "x-amz-trailer-signature:%s\r\n", last));
    }
    put(out, buf_append(out, STR("\r\n")));
}

static void round_trip(struct aws_frames_opts *opts, struct str data, size_t step, size_t change)
{
    struct buf body;
    struct result result;
    buf_init(&body, 0);
    opts->decoded_length = data.len;
    encode(opts, data, &body);
    decode(opts, buf_str(&body), step, &result);
    if (result.code != AWS_NONE || !str_eq(buf_str(&result.data), data) ||
        strcmp(result.trailer, opts->payload == AWS_PAYLOAD_STREAM ? "" : "value") != 0) {
        abort();
    }
    if (opts->payload != AWS_PAYLOAD_STREAM_UNSIGNED_TRAILER) {
        struct result other;
        body.ptr[change % body.len] ^= (char)(1 + change % 127);
        decode(opts, buf_str(&body), step, &other);
        if (other.code == AWS_NONE && !same(&result, &other)) {
            abort();
        }
        buf_done(&other.data);
    }
    buf_done(&result.data);
    buf_done(&body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 4 || size > 64 * 1024) {
        return 0;
    }
    struct aws_frames_opts opts = {
        .payload = AWS_PAYLOAD_STREAM + data[0] % 3,
        .key = key,
        .seed = STR(EMPTY_HASH),
        .time = STR(TIME),
        .scope = STR(SCOPE),
        .decoded_length = (uint64_t)data[2] << 8 | data[3],
    };
    opts.trailer_names = opts.payload == AWS_PAYLOAD_STREAM ? STR_EMPTY : STR("a");
    size_t step = data[1] % 64 + 1;
    struct str text = str_from((const char *)data + 4, size - 4);
    struct result whole, pieces;
    decode(&opts, text, SIZE_MAX / 2, &whole);
    decode(&opts, text, step, &pieces);
    /* A frame that is refused at its end was given out before, if it came in pieces. */
    if (whole.code != pieces.code || (whole.code == AWS_NONE && !same(&whole, &pieces)) ||
        !str_starts(buf_str(&pieces.data), buf_str(&whole.data))) {
        abort();
    }
    buf_done(&whole.data);
    buf_done(&pieces.data);
    round_trip(&opts, text, step, (size_t)data[2] << 8 | data[3]);
    return 0;
}
