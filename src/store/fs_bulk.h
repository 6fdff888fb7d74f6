/*
 * Many bytes in order into an open file, past the page cache: what is stored is synced before it is
 * acknowledged, so a copy of it in the kernel costs a pass over the bytes and the memory of
 * everybody else, and gains nothing.
 *
 * The first bytes go the usual way, so that small files cost nothing more (all of them when they
 * come at once and are at most 1 MiB: a direct write is one more wait for the disk); so do the last
 * ones, which fill no block, and all of them where the file system has no O_DIRECT. Nothing of that
 * changes what a sync promises.
 */
#ifndef STORE_FS_BULK_H
#define STORE_FS_BULK_H

#include "base/io_calls.h"
#include "base/str.h"

struct fs_bulk {
    const struct io_calls *calls;
    int fd;          /* the caller's; its description is nobody else's */
    uint64_t offset; /* where the next bytes go that are not in `chunk` */
    uint64_t plain_end;
    char *chunk; /* NULL until it is needed */
    size_t len;
    bool direct;    /* fd has O_DIRECT now */
    bool no_direct; /* it cannot have it */
};

void fs_bulk_init(struct fs_bulk *bulk, const struct io_calls *calls, int fd, uint64_t offset);
/** Errors of a write. Some of the bytes may stay in memory until fs_bulk_end. */
enum status fs_bulk_write(struct fs_bulk *bulk, struct str bytes, struct err *err) MUST_USE;
/** Write what is left. Then the file may be synced. */
enum status fs_bulk_end(struct fs_bulk *bulk, struct err *err) MUST_USE;
/** Frees; the file stays as it is. */
void fs_bulk_done(struct fs_bulk *bulk);

#endif
