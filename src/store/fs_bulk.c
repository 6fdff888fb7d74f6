#include "store/fs_bulk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

enum {
    /* what most objects have; chosen */
    PLAIN_BYTES = 256 * 1024,
    /* written at once: one sync of it all instead of direct writes before it; chosen */
    WHOLE_BYTES_MAX = 1024 * 1024,
    CHUNK_BYTES = 256 * 1024,
    /* of the offset, the length and the memory of a direct write; more than any disk's sector */
    ALIGN_BYTES = 4096,
};

void fs_bulk_init(struct fs_bulk *bulk, const struct io_calls *calls, int fd, uint64_t offset)
{
    *bulk = (struct fs_bulk){ .calls = calls,
                              .fd = fd,
                              .offset = offset,
                              .plain_end = offset + PLAIN_BYTES,
                              .no_direct = offset % ALIGN_BYTES != 0 };
}

static enum status set_direct(struct fs_bulk *bulk, bool direct)
{
    int flags = fcntl(bulk->fd, F_GETFL);
    int wanted = direct ? flags | O_DIRECT : flags & ~O_DIRECT;
    if (flags < 0 || fcntl(bulk->fd, F_SETFL, wanted) != 0) {
        return E_UNSUPPORTED;
    }
    bulk->direct = direct;
    return OK;
}

static enum status write_plain(struct fs_bulk *bulk, const char *ptr, size_t len, struct err *err)
{
    if (bulk->direct && set_direct(bulk, false) != OK) {
        return err_errno(err, errno, "the flags of a temporary file");
    }
    TRY(io_calls_pwrite_full(bulk->calls, bulk->fd, ptr, len, bulk->offset, err));
    bulk->offset += len;
    return OK;
}

/** A whole number of blocks out of `chunk`. */
static enum status write_blocks(struct fs_bulk *bulk, size_t len, struct err *err)
{
    struct err why = { 0 };
    if (!bulk->no_direct && !bulk->direct) {
        bulk->no_direct = set_direct(bulk, true) != OK;
    }
    if (!bulk->no_direct) {
        if (io_calls_pwrite_full(bulk->calls, bulk->fd, bulk->chunk, len, bulk->offset, &why) ==
            OK) {
            bulk->offset += len;
            return OK;
        }
        /* maybe this file system only says so now; what really is wrong, the plain write tells */
        bulk->no_direct = true;
    }
    return write_plain(bulk, bulk->chunk, len, err);
}

static enum status chunk_flush(struct fs_bulk *bulk, struct err *err)
{
    size_t blocks = bulk->len - bulk->len % ALIGN_BYTES;
    if (blocks > 0) {
        TRY(write_blocks(bulk, blocks, err));
    }
    bulk->len -= blocks;
    if (bulk->len > 0) {
        memmove(bulk->chunk, bulk->chunk + blocks, bulk->len);
    }
    return OK;
}

static bool chunk_ready(struct fs_bulk *bulk)
{
    void *memory = NULL;
    if (bulk->chunk == NULL && posix_memalign(&memory, ALIGN_BYTES, CHUNK_BYTES) == 0) {
        bulk->chunk = memory;
    }
    return bulk->chunk != NULL;
}

enum status fs_bulk_write(struct fs_bulk *bulk, struct str bytes, struct err *err)
{
    bool untouched = bulk->offset + PLAIN_BYTES == bulk->plain_end;
    if (untouched && bytes.len > PLAIN_BYTES && bytes.len <= WHOLE_BYTES_MAX) {
        bulk->plain_end = bulk->offset + bytes.len;
    }
    while (bytes.len > 0) {
        if (bulk->no_direct && bulk->len == 0) {
            return write_plain(bulk, bytes.ptr, bytes.len, err);
        }
        if (bulk->offset < bulk->plain_end) {
            struct str first = str_take(bytes, (size_t)(bulk->plain_end - bulk->offset));
            TRY(write_plain(bulk, first.ptr, first.len, err));
            bytes = str_skip(bytes, first.len);
            continue;
        }
        if (!chunk_ready(bulk)) {
            bulk->no_direct = true; /* it goes without, as far as it is in memory already */
            continue;
        }
        struct str part = str_take(bytes, CHUNK_BYTES - bulk->len);
        memcpy(bulk->chunk + bulk->len, part.ptr, part.len);
        bulk->len += part.len;
        bytes = str_skip(bytes, part.len);
        if (bulk->len == CHUNK_BYTES) {
            TRY(chunk_flush(bulk, err));
        }
    }
    return OK;
}

enum status fs_bulk_end(struct fs_bulk *bulk, struct err *err)
{
    TRY(chunk_flush(bulk, err));
    if (bulk->len > 0) {
        TRY(write_plain(bulk, bulk->chunk, bulk->len, err));
        bulk->len = 0;
    }
    return bulk->direct && set_direct(bulk, false) != OK
               ? err_errno(err, errno, "the flags of a temporary file")
               : OK;
}

void fs_bulk_done(struct fs_bulk *bulk)
{
    free(bulk->chunk);
    bulk->chunk = NULL;
}
