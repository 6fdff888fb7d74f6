/*
 * Temporary files: without a name where the file system has O_TMPFILE (made in `_lake/new`), so
 * that a crash leaves nothing; else, and for the moment between a link and a rename, with one in
 * `_lake/tmp`. Each is locked for as long as it is open, so whoever starts can tell the leftovers
 * of the dead from the work of the living.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/rng.h"
#include "store/fs_priv.h"

/** Held shared while a file has a name but no lock yet, and exclusively by the sweep. */
static int gate_open(struct fs_store *fs)
{
    return fs->calls->openat(fs->locks_fd, "tmp", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
}

static void name_make(char out[64])
{
    snprintf(out, 64, "%ld-%016llx", (long)getpid(), (unsigned long long)random_u64());
}

static enum status named_new(struct fs_store *fs, struct fs_temp *out, struct err *err)
{
    AUTO(fd_done) int gate = gate_open(fs);
    if (gate < 0) {
        return fs_own_failed(fs, errno, "_lake/locks/tmp", err);
    }
    struct flock shared = { .l_type = F_RDLCK, .l_whence = SEEK_SET };
    /* The sweep holds the gate for one pass over a folder. */
    while (fs->calls->fcntl(gate, F_OFD_SETLKW, &shared) != 0) {
        if (errno != EINTR) {
            return fs_own_failed(fs, errno, "_lake/locks/tmp", err);
        }
    }
    struct fs_temp temp = FS_TEMP_EMPTY;
    name_make(temp.name);
    temp.fd = fs->calls->openat(fs->tmp_fd, temp.name,
                                O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (temp.fd < 0) {
        return fs_own_failed(fs, errno, "_lake/tmp", err);
    }
    if (!fs_lock_try(fs, temp.fd, F_WRLCK)) {
        enum status status = fs_own_failed(fs, errno, "_lake/tmp", err);
        fs_temp_drop(fs, &temp);
        return status;
    }
    *out = temp;
    return OK;
}

/** In one nursery after the other; in `_lake/tmp` when that one cannot have it. */
static int unnamed_new(struct fs_store *fs)
{
    const int flags = O_RDWR | O_TMPFILE | O_CLOEXEC;
    unsigned turn = atomic_fetch_add_explicit(&fs->new_turn, 1, memory_order_relaxed);
    int nursery = fs->new_fds[turn % FS_NURSERIES];
    int fd = nursery < 0 ? -1 : fs->calls->openat(nursery, ".", flags, 0644);
    return fd >= 0 ? fd : fs->calls->openat(fs->tmp_fd, ".", flags, 0644);
}

enum status fs_temp_new(struct fs_store *fs, struct fs_temp *out, struct err *err)
{
    TRY(fs_fault(fs, "temp", STR_EMPTY, err));
    if (!atomic_load_explicit(&fs->no_unnamed, memory_order_relaxed)) {
        int fd = unnamed_new(fs);
        if (fd >= 0) {
            (void)fs_lock_try(fs, fd, F_WRLCK);
            *out = (struct fs_temp){ .fd = fd };
            return OK;
        }
        if (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL) {
            return fs_own_failed(fs, errno, "_lake/tmp", err);
        }
        atomic_store_explicit(&fs->no_unnamed, true, memory_order_relaxed);
    }
    return named_new(fs, out, err);
}

int fs_link_fd(const struct fs_store *fs, int fd, int dir_fd, const char *name)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (fs->calls->linkat(AT_FDCWD, path, dir_fd, name, AT_SYMLINK_FOLLOW) == 0) {
        return 0;
    }
    /* Without /proc the descriptor itself can be linked, with a capability or on a new kernel. */
    return errno == ENOENT ? fs->calls->linkat(fd, "", dir_fd, name, AT_EMPTY_PATH) : -1;
}

enum status fs_temp_name(struct fs_store *fs, struct fs_temp *temp, struct err *err)
{
    if (temp->name[0] != '\0') {
        return OK;
    }
    char name[64];
    name_make(name);
    if (fs_link_fd(fs, temp->fd, fs->tmp_fd, name) != 0) {
        return fs_own_failed(fs, errno, "_lake/tmp", err);
    }
    memcpy(temp->name, name, sizeof name);
    return OK;
}

void fs_temp_drop(struct fs_store *fs, struct fs_temp *temp)
{
    if (temp->name[0] != '\0') {
        (void)fs->calls->unlinkat(fs->tmp_fd, temp->name, 0);
    }
    fd_done(&temp->fd);
    *temp = FS_TEMP_EMPTY;
}

/** Delete one file of the folder unless a living process has it open. */
static enum status leftover_remove(void *ctx, const char *name, struct err *err)
{
    struct fs_store *fs = ctx;
    AUTO(fd_done)
    int fd = fs->calls->openat(fs->tmp_fd, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd >= 0 && fs_lock_try(fs, fd, F_WRLCK)) {
        (void)fs->calls->unlinkat(fs->tmp_fd, name, 0);
    }
    return OK;
}

enum status fs_temp_sweep(struct fs_store *fs, struct err *err)
{
    AUTO(fd_done) int gate = gate_open(fs);
    if (gate < 0) {
        return fs_own_failed(fs, errno, "_lake/locks/tmp", err);
    }
    if (!fs_lock_try(fs, gate, F_WRLCK)) {
        return OK; /* somebody makes a file or sweeps right now; the next start will do it */
    }
    return fs_own_each(fs, fs->tmp_fd, "_lake/tmp", leftover_remove, fs, err);
}
