/*
 * Both libraries keep the state of a stream; here are the loop over one output buffer, the limits,
 * and what is between two members.
 */
#include "base/inflate.h"

#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "base/mem.h"

enum {
    PIECE_BYTES = 64 * 1024,
    GZIP_WINDOW = 15 + 16,   /* zlib.h: the largest window, and a gzip head */
    ZSTD_WINDOW_LOG_MAX = 27 /* 128 MiB: what `zstd --ultra` and `--long` ask for at most */
};

struct inflate {
    struct inflate_opts opts;
    uint64_t packed_bytes, plain_bytes;
    bool begun;    /* some packed bytes have come */
    bool at_start; /* nothing of the next member or frame has come yet */
    bool padded;   /* gzip: zeros stand behind the last member */
    z_stream z;
    ZSTD_DStream *zstd;
    char piece[PIECE_BYTES];
};

enum inflate_kind inflate_sniff(struct str head)
{
    if (str_starts(head, STR("\x1f\x8b\x08"))) { /* RFC 1952, 2.3.1: deflate is the one method */
        return INFLATE_GZIP;
    }
    /* RFC 8878, 3.1.1 */
    return str_starts(head, STR("\x28\xb5\x2f\xfd")) ? INFLATE_ZSTD : INFLATE_NONE;
}

const char *inflate_name(enum inflate_kind kind)
{
    return kind == INFLATE_GZIP ? "gzip" : "zstd";
}

enum status inflate_new(const struct inflate_opts *opts, struct inflate **out, struct err *err)
{
    struct inflate *in = mem_zalloc(sizeof(*in));
    if (in == NULL) {
        return err_no_memory(err);
    }
    in->opts = *opts;
    in->at_start = true;
    bool ok;
    if (opts->kind == INFLATE_GZIP) {
        ok = inflateInit2(&in->z, GZIP_WINDOW) == Z_OK;
    } else {
        in->zstd = ZSTD_createDStream();
        ok = in->zstd != NULL && !ZSTD_isError(ZSTD_DCtx_setParameter(in->zstd, ZSTD_d_windowLogMax,
                                                                      ZSTD_WINDOW_LOG_MAX));
    }
    if (!ok) {
        inflate_free(in);
        return err_no_memory(err);
    }
    *out = in;
    return OK;
}

void inflate_free(struct inflate *in)
{
    if (in == NULL) {
        return;
    }
    if (in->opts.kind == INFLATE_GZIP) {
        (void)inflateEnd(&in->z);
    }
    ZSTD_freeDStream(in->zstd);
    mem_free(in);
}

static enum status damaged(const struct inflate *in, struct err *err)
{
    return err_set(err, E_INVALID, "the %s data is damaged at byte %llu of what it unpacks to",
                   inflate_name(in->opts.kind), (unsigned long long)in->plain_bytes);
}

/** One call of gzip's library: *used_out packed bytes became *made_out plain ones. */
static enum status step_gzip(struct inflate *in, struct str packed, size_t *used_out,
                             size_t *made_out, struct err *err)
{
    z_stream *z = &in->z;
    if (in->at_start && in->begun && packed.ptr[0] == '\0') {
        /* tape blocks and some servers pad with zeros */
        in->padded = true;
        *used_out = 1;
        *made_out = 0;
        return OK;
    }
    if (in->padded) {
        return err_set(err, E_INVALID, "the gzip data has other bytes behind its end");
    }
    if (in->at_start && in->begun) {
        (void)inflateReset(z);
    }
    size_t piece = packed.len < UINT32_MAX ? packed.len : UINT32_MAX;
    z->next_in = (Bytef *)packed.ptr;
    z->avail_in = (uInt)piece;
    z->next_out = (Bytef *)in->piece;
    z->avail_out = PIECE_BYTES;
    int result = inflate(z, Z_NO_FLUSH);
    *used_out = piece - z->avail_in;
    *made_out = PIECE_BYTES - z->avail_out;
    in->at_start = result == Z_STREAM_END;
    if (result == Z_MEM_ERROR) {
        return err_no_memory(err);
    }
    /* Z_BUF_ERROR: neither input nor output was there, which is no fault */
    return result == Z_OK || result == Z_STREAM_END || result == Z_BUF_ERROR ? OK
                                                                             : damaged(in, err);
}

static enum status step_zstd(struct inflate *in, struct str packed, size_t *used_out,
                             size_t *made_out, struct err *err)
{
    ZSTD_inBuffer from = { packed.ptr, packed.len, 0 };
    ZSTD_outBuffer out = { in->piece, PIECE_BYTES, 0 };
    size_t left = ZSTD_decompressStream(in->zstd, &out, &from);
    if (ZSTD_isError(left)) {
        ZSTD_ErrorCode code = ZSTD_getErrorCode(left);
        if (code == ZSTD_error_memory_allocation) {
            return err_no_memory(err);
        }
        if (code == ZSTD_error_frameParameter_windowTooLarge) {
            return err_set(err, E_TOO_LARGE,
                           "the zstd data needs a window of more than %d MiB to be unpacked",
                           1 << (ZSTD_WINDOW_LOG_MAX - 20));
        }
        return damaged(in, err);
    }
    in->at_start = left == 0;
    *used_out = from.pos;
    *made_out = out.pos;
    return OK;
}

static enum status check_limits(const struct inflate *in, struct err *err)
{
    const struct inflate_opts *opts = &in->opts;
    if (opts->plain_bytes_max > 0 && in->plain_bytes > opts->plain_bytes_max) {
        return err_set(err, E_TOO_LARGE, "the %s data unpacks to more than %llu bytes",
                       inflate_name(opts->kind), (unsigned long long)opts->plain_bytes_max);
    }
    if (opts->expansion_max > 0 && in->plain_bytes > INFLATE_FREE_BYTES &&
        in->plain_bytes / opts->expansion_max > in->packed_bytes) {
        return err_set(err, E_TOO_LARGE, "the %s data unpacks to more than %llu times its size",
                       inflate_name(opts->kind), (unsigned long long)opts->expansion_max);
    }
    return OK;
}

enum status inflate_feed(struct inflate *in, struct str packed,
                         enum status (*plain)(void *ctx, struct str bytes, struct err *err),
                         void *ctx, struct err *err)
{
    /* a full piece may have more behind it that needs no further input */
    for (bool more = false; packed.len > 0 || more;) {
        size_t used = 0, made = 0;
        TRY(in->opts.kind == INFLATE_GZIP ? step_gzip(in, packed, &used, &made, err)
                                          : step_zstd(in, packed, &used, &made, err));
        packed = str_skip(packed, used);
        in->begun = in->begun || used > 0;
        in->packed_bytes += used;
        in->plain_bytes += made;
        more = made == PIECE_BYTES && !in->at_start;
        TRY(check_limits(in, err));
        if (made > 0) {
            TRY(plain(ctx, str_from(in->piece, made), err));
        }
    }
    return OK;
}

enum status inflate_end(struct inflate *in, struct err *err)
{
    return in->begun && in->at_start
               ? OK
               : err_set(err, E_INVALID, "the %s data ends early: byte %llu of what it unpacks to",
                         inflate_name(in->opts.kind), (unsigned long long)in->plain_bytes);
}
