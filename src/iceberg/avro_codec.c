/*
 * The codecs of Avro blocks: raw deflate both ways, zstandard for reading.
 *
 * Decompression grows its buffer in steps and stops at the buffer's limit, so a small file cannot
 * ask for much memory.
 */
#include "iceberg/avro_priv.h"

#include <zlib.h>
#include <zstd.h>

enum { STEP_BYTES = 64 * 1024 };

enum status avro_deflate(struct str plain, struct buf *out, struct err *err)
{
    z_stream z = { 0 };
    if (plain.len > UINT32_MAX / 2 || deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED,
                                                   -MAX_WBITS, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
        return err_no_memory(err);
    }
    size_t room = deflateBound(&z, plain.len);
    char *target = buf_reserve(out, room);
    int result = Z_MEM_ERROR;
    if (target != NULL) {
        z.next_in = (Bytef *)plain.ptr;
        z.avail_in = (uInt)plain.len;
        z.next_out = (Bytef *)target;
        z.avail_out = (uInt)room;
        result = deflate(&z, Z_FINISH);
        out->len += result == Z_STREAM_END ? z.total_out : 0;
    }
    (void)deflateEnd(&z);
    return result == Z_STREAM_END ? OK : err_no_memory(err);
}

static size_t room_left(const struct buf *out)
{
    size_t left = out->max - out->len;
    return left < STEP_BYTES ? left : STEP_BYTES;
}

static enum status bomb(const struct buf *out, struct err *err)
{
    return err_set(err, E_TOO_LARGE, "a block is larger than %zu bytes when decompressed",
                   out->max);
}

static enum status inflate_all(z_stream *z, struct buf *out, struct err *err)
{
    for (;;) {
        size_t room = room_left(out);
        if (room == 0) {
            return bomb(out, err);
        }
        char *target = buf_reserve(out, room);
        if (target == NULL) {
            return err_no_memory(err);
        }
        z->next_out = (Bytef *)target;
        z->avail_out = (uInt)room;
        int result = inflate(z, Z_NO_FLUSH);
        out->len += room - z->avail_out;
        if (result == Z_STREAM_END) {
            return OK;
        }
        if (result != Z_OK || (z->avail_in == 0 && z->avail_out > 0)) {
            return err_set(err, E_CORRUPT, "a block cannot be decompressed (deflate)");
        }
    }
}

enum status avro_inflate(struct str packed, struct buf *out, struct err *err)
{
    z_stream z = { 0 };
    if (packed.len > UINT32_MAX) {
        return err_set(err, E_TOO_LARGE, "a block has %zu bytes", packed.len);
    }
    z.next_in = (Bytef *)packed.ptr;
    z.avail_in = (uInt)packed.len;
    if (inflateInit2(&z, -MAX_WBITS) != Z_OK) {
        return err_no_memory(err);
    }
    enum status status = inflate_all(&z, out, err);
    (void)inflateEnd(&z);
    return status;
}

static enum status unzstd_all(ZSTD_DStream *stream, struct str packed, struct buf *out,
                              struct err *err)
{
    ZSTD_inBuffer in = { .src = packed.ptr, .size = packed.len };
    size_t hint = 1;
    bool full = false;
    while (in.pos < in.size || full) {
        size_t room = room_left(out);
        if (room == 0) {
            return bomb(out, err);
        }
        char *target = buf_reserve(out, room);
        if (target == NULL) {
            return err_no_memory(err);
        }
        ZSTD_outBuffer step = { .dst = target, .size = room };
        hint = ZSTD_decompressStream(stream, &step, &in);
        if (ZSTD_isError(hint)) {
            return err_set(err, E_CORRUPT, "a block cannot be decompressed (zstandard)");
        }
        out->len += step.pos;
        full = step.pos == step.size && hint != 0;
    }
    if (hint != 0) {
        return err_set(err, E_CORRUPT, "a block ends within its zstandard frame");
    }
    return OK;
}

enum status avro_unzstd(struct str packed, struct buf *out, struct err *err)
{
    ZSTD_DStream *stream = ZSTD_createDStream();
    if (stream == NULL) {
        return err_no_memory(err);
    }
    enum status status = unzstd_all(stream, packed, out, err);
    (void)ZSTD_freeDStream(stream);
    return status;
}
