/*
 * The lake's own folders below `_lake`. When one of them fails, the lake is not well, and the error
 * says so: E_UNAVAILABLE with a word to the operator, never "not found" or "denied", which a caller
 * would take for news about a key.
 */
#include <errno.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "store/fs_priv.h"

enum status fs_own_failed(const struct fs_store *fs, int errno_value, const char *path,
                          struct err *err)
{
    const char *slash = path[0] == '\0' ? "" : "/";
    struct stat st;
    /* ext4 does not permit to make a file in a folder that was deleted */
    bool refused = errno_value == EPERM || errno_value == EACCES;
    if (refused && fs->calls->fstatat(fs->root_fd, path, &st, AT_SYMLINK_NOFOLLOW) != 0 &&
        errno == ENOENT) {
        errno_value = ENOENT;
    }
    switch (errno_value) {
    case ENOENT:
    case ENOTDIR:
    case ESTALE:
    case ELOOP:
    case EXDEV:
        return err_set(err, E_UNAVAILABLE,
                       "\"%s%s%s\" is not there any more: the folder was deleted or moved (put it "
                       "back and start the service again)",
                       fs->dir, slash, path);
    case EACCES:
    case EPERM:
        return err_set(err, E_UNAVAILABLE,
                       "\"%s%s%s\" may not be used: %s (give the folder to the service's user)",
                       fs->dir, slash, path, strerror(errno_value));
    case EROFS:
        return err_set(err, E_UNAVAILABLE,
                       "\"%s%s%s\" is on a file system that is mounted read-only (a sick disk can "
                       "be the reason: see the kernel's log)",
                       fs->dir, slash, path);
    default:
        return err_errno(err, errno_value, "\"%s%s%s\"", fs->dir, slash, path);
    }
}

enum status fs_root_check(const struct fs_store *fs, struct err *err)
{
    struct stat st;
    if (fs->calls->fstat(fs->root_fd, &st) != 0) {
        return fs_own_failed(fs, errno, "", err);
    }
    return st.st_nlink == 0 ? fs_own_failed(fs, ENOENT, "", err) : OK;
}

/** A read-only store may lack it: -1. */
static enum status own_dir(struct fs_store *fs, const char *path, int *fd_out, struct err *err)
{
    if (!fs->read_only && fs->calls->mkdirat(fs->root_fd, path, 0755) != 0 && errno != EEXIST) {
        return fs_own_failed(fs, errno, path, err);
    }
    enum status status = fs_dir_open(fs, str_of(path), fd_out, err);
    return status == E_NOT_FOUND && fs->read_only ? OK : status;
}

/** Ask ext4 to put the folders in this one far from each other, as it does with those of the root.
 */
static void spread_folders(int fd)
{
    int flags = 0;
    if (ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0 && (flags & FS_TOPDIR_FL) == 0) {
        flags |= FS_TOPDIR_FL;
        (void)ioctl(fd, FS_IOC_SETFLAGS, &flags);
    }
}

/**
 * The folders in which unnamed files are made. They stay empty, and which one a file comes from is
 * of no meaning: ext4 takes its inode from the neighbourhood of the folder, and there it looks at
 * each inode that was deleted in the last minutes, to pass it over. Where many files are replaced,
 * by us or by anybody near us, that is up to 8192 of them for each new file. So there are several,
 * in neighbourhoods of their own. What cannot be made is done without, and nothing is synced: the
 * next start makes them again. So they are made past the table of calls, too: a test that tries
 * each change and each power cut has nothing to find in them.
 */
static void nurseries_open(struct fs_store *fs)
{
    AUTO(fd_done) int all = -1;
    if (fs->read_only || own_dir(fs, "_lake/new", &all, NULL) != OK) {
        return;
    }
    for (size_t i = 0; i < FS_NURSERIES; i++) {
        char name[] = { (char)('0' + i), '\0' };
        const int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW;
        fs->new_fds[i] = fs->calls->openat(all, name, flags);
        if (fs->new_fds[i] < 0 && errno == ENOENT) {
            spread_folders(all);
            (void)mkdirat(all, name, 0755);
            fs->new_fds[i] = fs->calls->openat(all, name, flags);
        }
    }
}

enum status fs_own_open(struct fs_store *fs, struct err *err)
{
    AUTO(fd_done) int lake = -1;
    TRY(own_dir(fs, "_lake", &lake, err));
    TRY(own_dir(fs, "_lake/tmp", &fs->tmp_fd, err));
    TRY(own_dir(fs, "_lake/odd", &fs->odd_fd, err));
    TRY(own_dir(fs, "_lake/sums", &fs->sums_fd, err));
    TRY(own_dir(fs, "_lake/locks", &fs->locks_fd, err));
    TRY(own_dir(fs, "_lake/uploads", &fs->uploads_fd, err));
    nurseries_open(fs);
    /* The way to `_lake` itself is synced with the first key below it, _lake/format.json. A lake
     * that has that one may lack its empty folders, after a copy that left them out. */
    return fs->read_only ? OK : fs_sync(fs, lake, "fsync_own", STR_EMPTY, false, err);
}

static enum status each_entry(const struct fs_store *fs, DIR *folder, const char *path,
                              enum status (*each)(void *ctx, const char *name, struct err *err),
                              void *ctx, struct err *err)
{
    for (;;) {
        errno = 0;
        const struct dirent *entry = fs->calls->readdir(folder);
        if (entry == NULL) {
            return errno == 0 ? OK : fs_own_failed(fs, errno, path, err);
        }
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            TRY(each(ctx, entry->d_name, err));
        }
    }
}

enum status fs_own_each(const struct fs_store *fs, int dir_fd, const char *path,
                        enum status (*each)(void *ctx, const char *name, struct err *err),
                        void *ctx, struct err *err)
{
    int fd = fs->calls->openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *folder = fd < 0 ? NULL : fs->calls->fdopendir(fd);
    if (folder == NULL) {
        enum status status = fs_own_failed(fs, errno, path, err);
        fd_done(&fd);
        return status;
    }
    enum status status = each_entry(fs, folder, path, each, ctx, err);
    closedir(folder);
    return status;
}
