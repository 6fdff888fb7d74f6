/*
 * Locks of keys: 256 files `_lake/locks/00` to `ff`, a key's file is chosen by its CRC32C.
 * Open-file-description locks hold among processes and vanish with the holder; they are taken on a
 * description of their own for each use. Before them a read-write lock of this process is taken, so
 * that threads queue up in memory and only one of them at a time waits for other processes.
 *
 * The file's first byte says that a name under this lock is being changed and is not on the disk
 * yet. Whoever gets the lock and finds it met the work of a process that died in between, or whose
 * fsync failed: what can be seen may vanish at a power cut, so everything is synced before it is
 * believed. After a power cut the byte means nothing: what is there then is on the disk.
 *
 * On a file system that became read-only, as a sick disk does, readers go on: they lock the file
 * that is there, and where there is none nobody has ever written under it.
 */
#include <errno.h>
#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include "store/fs_priv.h"

enum {
    WAIT_MS_MAX = 30000,
    PAUSE_US_FIRST = 100,
    PAUSE_US_MAX = 5000, /* other processes hold a lock for an fsync or two: some ms */
    CHANGING = '!',      /* the first byte of a lock file */
};

unsigned fs_lock_index(struct str key)
{
    return crc32c(0, key.ptr, key.len) % FS_LOCKS;
}

bool fs_lock_try(const struct fs_store *fs, int fd, short type)
{
    struct flock lock = { .l_type = type, .l_whence = SEEK_SET };
    return fs->calls->fcntl(fd, F_OFD_SETLK, &lock) == 0;
}

static bool threads_lock(pthread_rwlock_t *lock, enum fs_lock_mode mode)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += WAIT_MS_MAX / 1000;
    return (mode == FS_LOCK_SHARED ? pthread_rwlock_timedrdlock(lock, &until)
                                   : pthread_rwlock_timedwrlock(lock, &until)) == 0;
}

/**
 * Wait for other processes. The kernel's waiting lock has no time limit, so this tries, with
 * growing pauses.
 */
enum status fs_lock_file(const struct fs_store *fs, int fd, enum fs_lock_mode mode, struct str key,
                         struct err *err)
{
    short type = mode == FS_LOCK_SHARED ? F_RDLCK : F_WRLCK;
    deadline_ms deadline = deadline_in(WAIT_MS_MAX);
    long pause_us = PAUSE_US_FIRST;
    while (!fs_lock_try(fs, fd, type)) {
        if (errno != EAGAIN && errno != EACCES && errno != EINTR) {
            return err_errno(err, errno, "lock of key \"%.*s\"", STR_ARG(key));
        }
        if (deadline_passed(deadline)) {
            return err_set(err, E_UNAVAILABLE,
                           "another process holds the lock of key \"%.*s\" for too long",
                           STR_ARG(key));
        }
        nanosleep(&(struct timespec){ .tv_nsec = pause_us * 1000 }, NULL);
        pause_us = pause_us * 2 < PAUSE_US_MAX ? pause_us * 2 : PAUSE_US_MAX;
    }
    return OK;
}

static enum status leftover_sync(struct fs_store *fs, const struct fs_lock *lock, struct str key,
                                 struct err *err)
{
    char mark = 0;
    size_t got = 0;
    TRY(io_calls_pread(fs->calls, lock->fd, &mark, 1, 0, &got, err));
    if (got == 0 || mark != CHANGING) {
        return OK;
    }
    if (lock->reads_only || atomic_load_explicit(&fs->stopped, memory_order_acquire)) {
        return err_set(err, E_UNAVAILABLE,
                       "an fsync failed earlier: whether the last change of key \"%.*s\" lasts is "
                       "unknown until the disk is well and the service is started again",
                       STR_ARG(key));
    }
    enum status status = fs_fault(fs, "syncfs", key, err);
    if (status != OK || fs->calls->syncfs(fs->root_fd) != 0) {
        return err_set(err, E_UNAVAILABLE,
                       "the disk failed at a sync of what another process has left for key "
                       "\"%.*s\"",
                       STR_ARG(key));
    }
    static const char settled = 0;
    return fs->read_only ? OK : io_calls_pwrite_full(fs->calls, lock->fd, &settled, 1, 0, err);
}

enum status fs_lock_change_begin(struct fs_lock *lock, struct err *err)
{
    static const char changing = CHANGING;
    enum status status = io_calls_pwrite_full(lock->fs->calls, lock->fd, &changing, 1, 0, err);
    if (status != OK && status != E_DISK_FULL) {
        return status;
    }
    lock->changing = status == OK; /* on a full disk it goes unmarked: deleting must work there */
    return OK;
}

/** -1 where a reader finds no file. */
static int lock_file_open_to_read(const struct fs_store *fs, const char *name)
{
    int fd = fs->calls->openat(fs->locks_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC, 0);
    if (fd < 0 && errno == ENOENT) {
        errno = 0; /* nobody has ever written under it */
    }
    return fd;
}

static enum status lock_file_open(struct fs_store *fs, enum fs_lock_mode mode, struct fs_lock *lock,
                                  struct err *err)
{
    char name[8];
    snprintf(name, sizeof name, "%02x", lock->index);
    if (fs->read_only && fs->locks_fd < 0) {
        return OK; /* a folder that is no lake */
    }
    errno = 0;
    if (fs->read_only) {
        lock->fd = lock_file_open_to_read(fs, name);
    } else {
        int flags = O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC;
        lock->fd = fs->calls->openat(fs->locks_fd, name, flags, 0644);
        if (lock->fd < 0 && errno == EROFS && mode == FS_LOCK_SHARED) {
            lock->reads_only = true;
            lock->fd = lock_file_open_to_read(fs, name);
        }
    }
    if (lock->fd < 0 && errno != 0) {
        char path[32];
        snprintf(path, sizeof path, "_lake/locks/%s", name);
        return fs_own_failed(fs, errno, path, err);
    }
    return OK;
}

enum status fs_lock_key(struct fs_store *fs, struct str key, enum fs_lock_mode mode,
                        struct fs_lock *out, struct err *err)
{
    struct fs_lock lock = { .fs = fs, .fd = -1, .index = fs_lock_index(key), .held = true };
    if (!threads_lock(&fs->locks[lock.index], mode)) {
        return err_set(err, E_UNAVAILABLE, "the lock of key \"%.*s\" is held for too long",
                       STR_ARG(key));
    }
    enum status status = lock_file_open(fs, mode, &lock, err);
    if (status == OK && lock.fd >= 0) {
        status = fs_lock_file(fs, lock.fd, mode, key, err);
    }
    if (status == OK && lock.fd >= 0) {
        status = leftover_sync(fs, &lock, key, err);
    }
    if (status != OK) {
        fs_lock_done(&lock);
        return status;
    }
    *out = lock;
    return OK;
}

void fs_lock_done(struct fs_lock *lock)
{
    if (!lock->held) {
        return;
    }
    if (lock->changing && !atomic_load_explicit(&lock->fs->stopped, memory_order_acquire)) {
        static const char settled = 0;
        (void)!lock->fs->calls->pwrite(lock->fd, &settled, 1, 0);
    }
    if (lock->fd >= 0) {
        /* a child forked just now may share the description */
        (void)fs_lock_try(lock->fs, lock->fd, F_UNLCK);
        fd_done(&lock->fd);
    }
    pthread_rwlock_unlock(&lock->fs->locks[lock->index]);
    lock->held = false;
}
