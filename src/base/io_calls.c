/*
 * The machine's table, and those of base/io.h's functions that the file driver calls through any
 * table.
 */
#include "base/io_calls.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/io.h"
#include "base/mem.h"

/** glibc has no wrapper before 2.43. */
static int real_openat2(int dir_fd, const char *path, const struct open_how *how, size_t size)
{
    return (int)syscall(SYS_openat2, dir_fd, path, how, size);
}

/** glibc has no wrapper, and the headers of older systems no number: it is one on all machines. */
static ssize_t real_getxattrat(int dir_fd, const char *path, const char *name, void *ptr,
                               size_t len)
{
    enum { NUMBER = 464 };
    struct {
        _Alignas(8) uint64_t value;
        uint32_t size, flags;
    } args = { .value = (uint64_t)(uintptr_t)ptr, .size = (uint32_t)len };
    return syscall(NUMBER, dir_fd, path, AT_SYMLINK_NOFOLLOW, name, &args, sizeof args);
}

const struct io_calls io_calls_real = {
    .openat = openat,
    .openat2 = real_openat2,
    .pread = pread,
    .pwrite = pwrite,
    .ftruncate = ftruncate,
    .fsync = fsync,
    .syncfs = syncfs,
    .fstat = fstat,
    .fstatat = fstatat,
    .linkat = linkat,
    .renameat = renameat,
    .unlinkat = unlinkat,
    .mkdirat = mkdirat,
    .fsetxattr = fsetxattr,
    .fgetxattr = fgetxattr,
    .getxattrat = real_getxattrat,
    .futimens = futimens,
    .fdopendir = fdopendir,
    .readdir = readdir,
    .fcntl = fcntl,
};

enum status io_calls_pwrite_full(const struct io_calls *calls, int fd, const void *ptr, size_t len,
                                 uint64_t offset, struct err *err)
{
    const char *at = ptr;
    while (len > 0) {
        ssize_t wrote = calls->pwrite(fd, at, len, (off_t)offset);
        if (wrote < 0 && errno == EINTR) {
            continue;
        }
        if (wrote < 0) {
            return err_errno(err, errno, "cannot write at offset %llu", (unsigned long long)offset);
        }
        at += wrote;
        len -= (size_t)wrote;
        offset += (uint64_t)wrote;
    }
    return OK;
}

enum status io_calls_pread(const struct io_calls *calls, int fd, void *ptr, size_t len,
                           uint64_t offset, size_t *got_out, struct err *err)
{
    char *at = ptr;
    size_t total = 0;
    while (total < len) {
        ssize_t got = calls->pread(fd, at + total, len - total, (off_t)(offset + total));
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return err_errno(err, errno, "cannot read at offset %llu",
                             (unsigned long long)offset + total);
        }
        if (got == 0) {
            break;
        }
        total += (size_t)got;
    }
    *got_out = total;
    return OK;
}

/* --- folders --- */

/**
 * fsync the folder that holds `path`: only then does the name survive a power cut. A name that was
 * there already may be the work of somebody who died before this very fsync, so it gets it too; but
 * a parent that we may not read is not one that we made names in.
 */
static enum status sync_parent(const struct io_calls *calls, char *path, size_t len, bool made,
                               struct err *err)
{
    size_t slash = str_rfind_char(str_from(path, len), '/');
    const char *parent = slash == SIZE_MAX ? "." : slash == 0 ? "/" : path;
    if (parent == path) {
        path[slash] = '\0';
    }
    enum status status = OK;
    AUTO(fd_done)
    int fd = calls->openat(AT_FDCWD, parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        status = made ? err_errno(err, errno, "cannot open the folder \"%s\"", parent) : OK;
    } else if (calls->fsync(fd) != 0) {
        /* EINVAL, EROFS: a file system to which nothing was written */
        status = made || (errno != EINVAL && errno != EROFS)
                     ? err_errno(err, errno, "cannot make the folder \"%s\" durable", parent)
                     : OK;
    }
    if (parent == path) {
        path[slash] = '/';
    }
    return status;
}

/** mkdir of the first `len` bytes of `path`, which is put back as it was. */
static enum status make_one_dir(const struct io_calls *calls, char *path, size_t len, bool durable,
                                struct err *err)
{
    char saved = path[len];
    path[len] = '\0';
    enum status status = OK;
    struct stat info;
    bool made = calls->mkdirat(AT_FDCWD, path, 0755) == 0;
    if (!made && errno != EEXIST) {
        status = err_errno(err, errno, "cannot make the folder \"%s\"", path);
    } else if (!made && calls->fstatat(AT_FDCWD, path, &info, 0) != 0) {
        status = err_errno(err, errno, "cannot look at \"%s\"", path);
    } else if (!made && !S_ISDIR(info.st_mode)) {
        status = err_set(err, E_EXISTS, "\"%s\" is in the way: it is not a folder", path);
    } else if (durable) {
        status = sync_parent(calls, path, len, made, err);
    }
    path[len] = saved;
    return status;
}

enum status io_calls_mkdirs(const struct io_calls *calls, const char *path, bool durable,
                            struct err *err)
{
    size_t len = strlen(path);
    if (len == 0) {
        return err_set(err, E_INVALID, "the path of a folder is empty");
    }
    char *copy = mem_strndup(path, len);
    if (copy == NULL) {
        return err_no_memory(err);
    }
    enum status status = OK;
    for (size_t i = 1; i <= len && status == OK; i++) {
        /* Each prefix that ends before a slash or at the end, but not "a/" once more after "a". */
        if ((copy[i] == '/' || copy[i] == '\0') && copy[i - 1] != '/') {
            status = make_one_dir(calls, copy, i, durable, err);
        }
    }
    mem_free(copy);
    return status;
}
