/*
 * Temporary files in `_lake/tmp`: without a name where the file system has O_TMPFILE, so that a
 * crash leaves nothing;
 * else, and for the moment between a link and a rename, with one. Each is locked for as long as it
 * is open, so whoever starts can tell the leftovers of the dead from the work of the living.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/rng.h"
#include "store/fs_priv.h"

/** Held shared while a file has a name but no lock yet, and exclusively by the sweep. */
static int gate_open(struct fs_store *fs)
{
    return openat(fs->locks_fd, "tmp", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
}

static void name_make(char out[64])
{
    snprintf(out, 64, "%ld-%016llx", (long)getpid(), (unsigned long long)random_u64());
}

static enum status named_new(struct fs_store *fs, struct fs_temp *out, struct err *err)
{
    AUTO(fd_done) int gate = gate_open(fs);
    struct flock shared = { .l_type = F_RDLCK, .l_whence = SEEK_SET };
    /* The sweep holds the gate for one pass over a folder. */
    while (gate >= 0 && fcntl(gate, F_OFD_SETLKW, &shared) != 0 && errno == EINTR) {
    }
    struct fs_temp temp = FS_TEMP_EMPTY;
    name_make(temp.name);
    temp.fd = openat(fs->tmp_fd, temp.name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW,
                     0644);
    if (temp.fd < 0) {
        return err_errno(err, errno, "temporary file in _lake/tmp");
    }
    (void)fs_lock_try(temp.fd, F_WRLCK);
    *out = temp;
    return OK;
}

enum status fs_temp_new(struct fs_store *fs, struct fs_temp *out, struct err *err)
{
    TRY(fs_fault(fs, "temp", STR_EMPTY, err));
    if (!atomic_load_explicit(&fs->no_unnamed, memory_order_relaxed)) {
        int fd = openat(fs->tmp_fd, ".", O_RDWR | O_TMPFILE | O_CLOEXEC, 0644);
        if (fd >= 0) {
            (void)fs_lock_try(fd, F_WRLCK);
            *out = (struct fs_temp){ .fd = fd };
            return OK;
        }
        if (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL) {
            return err_errno(err, errno, "temporary file in _lake/tmp");
        }
        atomic_store_explicit(&fs->no_unnamed, true, memory_order_relaxed);
    }
    return named_new(fs, out, err);
}

int fs_link_fd(int fd, int dir_fd, const char *name)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (linkat(AT_FDCWD, path, dir_fd, name, AT_SYMLINK_FOLLOW) == 0) {
        return 0;
    }
    /* Without /proc the descriptor itself can be linked, with a capability or on a new kernel. */
    return errno == ENOENT ? linkat(fd, "", dir_fd, name, AT_EMPTY_PATH) : -1;
}

enum status fs_temp_name(struct fs_store *fs, struct fs_temp *temp, struct err *err)
{
    if (temp->name[0] != '\0') {
        return OK;
    }
    char name[64];
    name_make(name);
    if (fs_link_fd(temp->fd, fs->tmp_fd, name) != 0) {
        return err_errno(err, errno, "temporary file in _lake/tmp");
    }
    memcpy(temp->name, name, sizeof name);
    return OK;
}

void fs_temp_drop(struct fs_store *fs, struct fs_temp *temp)
{
    if (temp->name[0] != '\0') {
        (void)unlinkat(fs->tmp_fd, temp->name, 0);
    }
    fd_done(&temp->fd);
    *temp = FS_TEMP_EMPTY;
}

/** Delete one file of the folder unless a living process has it open. */
static void leftover_remove(struct fs_store *fs, const char *name)
{
    AUTO(fd_done) int fd = openat(fs->tmp_fd, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd >= 0 && fs_lock_try(fd, F_WRLCK)) {
        (void)unlinkat(fs->tmp_fd, name, 0);
    }
}

enum status fs_temp_sweep(struct fs_store *fs, struct err *err)
{
    AUTO(fd_done) int gate = gate_open(fs);
    if (gate < 0) {
        return err_errno(err, errno, "lock file _lake/locks/tmp");
    }
    if (!fs_lock_try(gate, F_WRLCK)) {
        return OK; /* somebody makes a file or sweeps right now; the next start will do it */
    }
    int list_fd = openat(fs->tmp_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *folder = list_fd < 0 ? NULL : fdopendir(list_fd);
    if (folder == NULL) {
        enum status status = err_errno(err, errno, "_lake/tmp");
        fd_done(&list_fd);
        return status;
    }
    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            leftover_remove(fs, entry->d_name);
        }
    }
    closedir(folder);
    return OK;
}
