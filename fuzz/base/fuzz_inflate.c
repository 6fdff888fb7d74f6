/*
 * Any bytes as gzip and as zstd, at once and in pieces: the same comes out, and never more than
 * allowed.
 */
#include "base/inflate.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PLAIN_BYTES_MAX = 1024 * 1024 };

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

static enum status unpack(enum inflate_kind kind, struct str bytes, size_t piece, struct seen *seen)
{
    struct inflate *inflate = NULL;
    struct inflate_opts opts = { .kind = kind, .plain_bytes_max = PLAIN_BYTES_MAX };
    enum status status = inflate_new(&opts, &inflate, NULL);
    for (size_t at = 0; status == OK && at < bytes.len; at += piece) {
        status = inflate_feed(inflate, str_take(str_skip(bytes, at), piece), see, seen, NULL);
    }
    if (status == OK) {
        status = inflate_end(inflate, NULL);
    }
    inflate_free(inflate);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const enum inflate_kind kinds[] = { INFLATE_GZIP, INFLATE_ZSTD };
    struct str bytes = str_from((const char *)data, size);
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        struct seen whole = { 0 }, pieces = { 0 };
        enum status at_once = unpack(kinds[i], bytes, size + 1, &whole);
        enum status in_pieces = unpack(kinds[i], bytes, 1 + size / 7, &pieces);
        if ((at_once == OK) != (in_pieces == OK) || whole.bytes > PLAIN_BYTES_MAX ||
            (at_once == OK && (whole.bytes != pieces.bytes || whole.hash != pieces.hash))) {
            abort();
        }
    }
    return 0;
}
