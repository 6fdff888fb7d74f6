/*
 * Files and descriptors. Every call that the system may interrupt or do by halves is repeated
 * until it is whole, so that callers see all or an error.
 */
#include "base/io.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io_calls.h"

enum { READ_CHUNK_BYTES = 64 * 1024, TREE_DEPTH_MAX = 128 };

static enum status read_to_end(int fd, const char *path, struct buf *out, struct err *err);
static enum status remove_at(int parent_fd, const char *name, unsigned depth, struct err *err);
static enum status remove_children(int dir_fd, const char *name, unsigned depth, struct err *err);
static void dir_done(DIR **dir);

void fd_done(int *fd)
{
    if (*fd != -1) {
        int saved_errno = errno;
        close(*fd); /* never repeated: after EINTR Linux has closed it already */
        errno = saved_errno;
        *fd = -1;
    }
}

void file_done(FILE **file)
{
    if (*file != NULL) {
        fclose(*file);
        *file = NULL;
    }
}

enum status io_write_full(int fd, const void *ptr, size_t len, struct err *err)
{
    const char *at = ptr;
    while (len > 0) {
        ssize_t wrote = write(fd, at, len);
        if (wrote < 0 && errno == EINTR) {
            continue;
        }
        if (wrote < 0) {
            return err_errno(err, errno, "cannot write");
        }
        at += wrote;
        len -= (size_t)wrote;
    }
    return OK;
}

enum status io_pwrite_full(int fd, const void *ptr, size_t len, uint64_t offset, struct err *err)
{
    return io_calls_pwrite_full(&io_calls_real, fd, ptr, len, offset, err);
}

enum status io_read_full(int fd, void *ptr, size_t len, struct err *err)
{
    char *at = ptr;
    size_t left = len;
    while (left > 0) {
        ssize_t got = read(fd, at, left);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return err_errno(err, errno, "cannot read");
        }
        if (got == 0) {
            return err_set(err, E_CORRUPT, "expected %zu bytes, found only %zu", len, len - left);
        }
        at += got;
        left -= (size_t)got;
    }
    return OK;
}

enum status io_pread(int fd, void *ptr, size_t len, uint64_t offset, size_t *got_out,
                     struct err *err)
{
    return io_calls_pread(&io_calls_real, fd, ptr, len, offset, got_out, err);
}

enum status io_read_file(const char *path, struct buf *out, struct err *err)
{
    AUTO(fd_done) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return err_errno(err, errno, "cannot open \"%s\"", path);
    }
    size_t start = out->len;
    enum status status = read_to_end(fd, path, out, err);
    if (status != OK) {
        out->len = start;
    }
    return status;
}

enum status io_mkdirs(const char *path, bool durable, struct err *err)
{
    return io_calls_mkdirs(&io_calls_real, path, durable, err);
}

enum status io_remove_tree(const char *path, struct err *err)
{
    return remove_at(AT_FDCWD, path, 0, err);
}

enum status io_nonblock(int fd, struct err *err)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) {
        return err_errno(err, errno, "cannot make a descriptor non-blocking");
    }
    return OK;
}

enum status io_wait(int fd, short events, deadline_ms deadline, struct err *err)
{
    struct pollfd poll_fd = { .fd = fd, .events = events };
    for (;;) {
        int ready = poll(&poll_fd, 1, deadline_poll_ms(deadline));
        if (ready > 0 && (poll_fd.revents & POLLNVAL) != 0) {
            return err_set(err, E_INTERNAL, "cannot wait: descriptor %d is not open", fd);
        }
        if (ready > 0) {
            return OK; /* a broken connection is ready too; the next read or write tells how */
        }
        if (ready < 0 && errno != EINTR) {
            return err_errno(err, errno, "cannot wait");
        }
        if (deadline_passed(deadline)) {
            return err_set(err, E_TIMEOUT, "timed out");
        }
    }
}

static enum status read_to_end(int fd, const char *path, struct buf *out, struct err *err)
{
    for (;;) {
        size_t room = out->max - out->len;
        size_t want = room < READ_CHUNK_BYTES ? room : READ_CHUNK_BYTES;
        char probe; /* a full buffer is fine when nothing follows */
        char *at = want > 0 ? buf_reserve(out, want) : &probe;
        if (at == NULL) {
            return err_no_memory(err);
        }
        ssize_t got = read(fd, at, want > 0 ? want : 1);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return err_errno(err, errno, "cannot read \"%s\"", path);
        }
        if (got == 0) {
            return OK;
        }
        if (want == 0) {
            return err_set(err, E_TOO_LARGE, "\"%s\" is larger than %zu bytes", path, out->max);
        }
        out->len += (size_t)got;
    }
}

/** Names are resolved below an open folder, so nobody can swap a link in between. */
static enum status remove_at(int parent_fd, const char *name, unsigned depth, struct err *err)
{
    if (unlinkat(parent_fd, name, 0) == 0 || errno == ENOENT) {
        return OK;
    }
    if (errno != EISDIR && errno != EPERM) { /* POSIX says EPERM, Linux EISDIR */
        return err_errno(err, errno, "cannot delete \"%s\"", name);
    }
    int unlink_errno = errno;
    int dir_fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (dir_fd < 0 && errno == ENOENT) {
        return OK;
    }
    if (dir_fd < 0) {
        int reason = errno == ENOTDIR ? unlink_errno : errno;
        return err_errno(err, reason, "cannot delete \"%s\"", name);
    }
    TRY(remove_children(dir_fd, name, depth, err));
    if (unlinkat(parent_fd, name, AT_REMOVEDIR) != 0 && errno != ENOENT) {
        return err_errno(err, errno, "cannot delete the folder \"%s\"", name);
    }
    return OK;
}

/** Owns `dir_fd`. */
static enum status remove_children(int dir_fd, const char *name, unsigned depth, struct err *err)
{
    AUTO(dir_done) DIR *dir = fdopendir(dir_fd);
    if (dir == NULL) {
        int reason = errno;
        close(dir_fd);
        return err_errno(err, reason, "cannot list \"%s\"", name);
    }
    if (depth >= TREE_DEPTH_MAX) {
        return err_set(err, E_INVALID, "\"%s\" lies more than %d folders deep", name,
                       (int)TREE_DEPTH_MAX);
    }
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(dir);
        if (entry == NULL && errno != 0) {
            return err_errno(err, errno, "cannot list \"%s\"", name);
        }
        if (entry == NULL) {
            return OK;
        }
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            TRY(remove_at(dir_fd, entry->d_name, depth + 1, err));
        }
    }
}

static void dir_done(DIR **dir)
{
    if (*dir != NULL) {
        closedir(*dir);
    }
}
