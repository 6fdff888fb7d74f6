/*
 * Any bytes as the body of an upload, under options that the first byte picks: at once and in
 * pieces the same comes out, and never more than allowed.
 */
#include "ingest/body.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PLAIN_BYTES_MAX = 256 * 1024 };

struct seen {
    uint64_t bytes, hash;
};

static enum status see(void *ctx, struct str bytes, struct err *err)
{
    struct seen *seen = ctx;
    (void)err;
    for (size_t i = 0; i < bytes.len; i++) {
        seen->hash = seen->hash * 31 + (unsigned char)bytes.ptr[i];
    }
    seen->bytes += bytes.len;
    return OK;
}

static enum status feed(struct body_opts opts, struct str bytes, size_t piece, struct seen *seen)
{
    struct body *body = NULL;
    opts.ctx = seen;
    enum status status = ingest_body_new(&opts, &body, NULL);
    for (size_t at = 0; status == OK && at < bytes.len; at += piece) {
        status = body_feed(body, str_take(str_skip(bytes, at), piece), NULL);
    }
    status = status == OK ? body_end(body, NULL) : status;
    ingest_body_free(body);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct seen whole = { 0 }, pieces = { 0 };
    if (size == 0) {
        return 0;
    }
    struct body_opts opts = { .encoding = (enum inflate_kind)(data[0] % 3),
                              .charset = (enum charset)(data[0] / 3 % 5),
                              .charset_given = data[0] & 0x80,
                              .plain_bytes_max = PLAIN_BYTES_MAX,
                              .sink = see };
    struct str bytes = str_from((const char *)data + 1, size - 1);
    enum status at_once = feed(opts, bytes, size, &whole);
    enum status in_pieces = feed(opts, bytes, 1 + size / 9, &pieces);
    if ((at_once == OK) != (in_pieces == OK) ||
        whole.bytes > (uint64_t)PLAIN_BYTES_MAX * CHARSET_BYTES_MAX + size * CHARSET_BYTES_MAX ||
        (at_once == OK && (whole.bytes != pieces.bytes || whole.hash != pieces.hash))) {
        abort();
    }
    return 0;
}
