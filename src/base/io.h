/*
 * Files and descriptors: full reads and writes with EINTR handled, durable files, folders,
 * and the scope cleanup of descriptors.
 */
#ifndef BASE_IO_H
#define BASE_IO_H

#include <stdio.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/clock.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Close *fd unless it is -1, and make it -1. For AUTO(fd_done). */
void fd_done(int *fd);
void file_done(FILE **file);

/** All of it or an error; a short file is E_CORRUPT for read_full. */
enum status io_write_full(int fd, const void *ptr, size_t len, struct err *err) MUST_USE;
enum status io_pwrite_full(int fd, const void *ptr, size_t len, uint64_t offset,
                           struct err *err) MUST_USE;
enum status io_read_full(int fd, void *ptr, size_t len, struct err *err) MUST_USE;
/** Up to `len` bytes; *got_out < len only at the end of the file. */
enum status io_pread(int fd, void *ptr, size_t len, uint64_t offset, size_t *got_out,
                     struct err *err) MUST_USE;
/** A whole small file appended to `out`. */
enum status io_read_file(const char *path, struct buf *out, struct err *err) MUST_USE;
/** mkdir -p, mode 0755; parents are made durable too when `durable`. */
enum status io_mkdirs(const char *path, bool durable, struct err *err) MUST_USE;
/** Delete a folder and all below it; not following links. Missing is fine. */
enum status io_remove_tree(const char *path, struct err *err) MUST_USE;
/** Set O_NONBLOCK. */
enum status io_nonblock(int fd, struct err *err) MUST_USE;
/** Wait until `fd` is ready for `events` (poll); E_TIMEOUT when the deadline passes first. */
enum status io_wait(int fd, short events, deadline_ms deadline, struct err *err) MUST_USE;

#ifdef __cplusplus
}
#endif

#endif
