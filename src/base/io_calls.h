/*
 * The system calls on files as a table. What has to survive a failing disk calls through it, so
 * that a test can put a double before the machine: one that fails the n-th call, or one that
 * remembers what was synced and pulls the plug. The machine's own table is libc's functions, so the
 * price is one indirect call.
 */
#ifndef BASE_IO_CALLS_H
#define BASE_IO_CALLS_H

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "base/status.h"

/* The meanings, errno included, are those of the manual pages. */
struct io_calls {
    int (*openat)(int dir_fd, const char *path, int flags, ...);
    int (*openat2)(int dir_fd, const char *path, const struct open_how *how, size_t size);
    ssize_t (*pread)(int fd, void *ptr, size_t len, off_t offset);
    ssize_t (*pwrite)(int fd, const void *ptr, size_t len, off_t offset);
    int (*ftruncate)(int fd, off_t len);
    int (*fsync)(int fd);
    int (*syncfs)(int fd);
    int (*fstat)(int fd, struct stat *out);
    int (*fstatat)(int dir_fd, const char *path, struct stat *out, int flags);
    int (*linkat)(int dir_fd, const char *path, int new_dir_fd, const char *new_path, int flags);
    int (*renameat)(int dir_fd, const char *path, int new_dir_fd, const char *new_path);
    int (*unlinkat)(int dir_fd, const char *path, int flags);
    int (*mkdirat)(int dir_fd, const char *path, mode_t mode);
    int (*fsetxattr)(int fd, const char *name, const void *ptr, size_t len, int flags);
    ssize_t (*fgetxattr)(int fd, const char *name, void *ptr, size_t len);
    /* of a name in a folder, which is no link; ENOSYS before Linux 6.13 */
    ssize_t (*getxattrat)(int dir_fd, const char *path, const char *name, void *ptr, size_t len);
    int (*futimens)(int fd, const struct timespec times[2]);
    DIR *(*fdopendir)(int fd);
    struct dirent *(*readdir)(DIR *dir);
    int (*fcntl)(int fd, int command, ...);
};

extern const struct io_calls io_calls_real;

/* As the functions of base/io.h without `calls`. */
enum status io_calls_pwrite_full(const struct io_calls *calls, int fd, const void *ptr, size_t len,
                                 uint64_t offset, struct err *err) MUST_USE;
enum status io_calls_pread(const struct io_calls *calls, int fd, void *ptr, size_t len,
                           uint64_t offset, size_t *got_out, struct err *err) MUST_USE;
enum status io_calls_mkdirs(const struct io_calls *calls, const char *path, bool durable,
                            struct err *err) MUST_USE;

#endif
