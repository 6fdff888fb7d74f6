/*
 * Where a key lies. A plain key is its own path below the root. What a file system cannot hold like
 * that lies in `_lake/odd` under the SHA-256 of the key: a segment above 200 bytes, an empty one
 * (also at either end), `.` and `..`, control characters, `a` beside `a/b`, and names that a
 * case-folding file system would take for one.
 *
 *      read   the path, else odd
 *      write  where the object lies now; a new one goes to its path, else (a file where a folder is
 *      needed, or a
 *             folder where the file should be) to odd
 *
 * An object therefore never moves. No lookup follows a symbolic link or leaves the root: openat2
 * with RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS, or a walk of single names with O_NOFOLLOW where the
 * kernel lacks it.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <unistd.h>

#include "base/encode.h"
#include "store/fs_priv.h"

static const char *const RESERVED[] = { "_lake/tmp",   "_lake/odd",     "_lake/sums",
                                        "_lake/locks", "_lake/uploads", "_lake/secret",
                                        "_lake/new" };

/* a folder made here may be pruned by others before it is used; each try makes it again */
enum { MAKE_TRIES = 16 };

bool fs_path_reserved(struct str path)
{
    for (size_t i = 0; i < ARRAY_LEN(RESERVED); i++) {
        struct str name = str_of(RESERVED[i]);
        if (str_starts(path, name) && (path.len == name.len || path.ptr[name.len] == '/')) {
            return true;
        }
    }
    return false;
}

enum status fs_key_allowed(struct str key, struct err *err)
{
    if (fs_path_reserved(key)) {
        return err_set(err, E_DENIED, "key \"%.*s\" is a name that the store keeps for itself",
                       STR_ARG(key));
    }
    return OK;
}

/* --- odd keys --- */

static bool name_folds(struct str key)
{
    for (size_t i = 0; i < key.len; i++) {
        unsigned char c = (unsigned char)key.ptr[i];
        if (c >= 0x80 || (c >= 'A' && c <= 'Z')) {
            return true;
        }
    }
    return false;
}

bool fs_key_is_odd(const struct fs_store *fs, struct str key)
{
    if (str_has_control(key) || (fs->folding && name_folds(key))) {
        return true;
    }
    struct str rest = key;
    while (rest.ptr != NULL) {
        struct str segment = str_split(&rest, '/');
        if (segment.len == 0 || segment.len > FS_SEGMENT_MAX || str_eq(segment, STR(".")) ||
            str_eq(segment, STR(".."))) {
            return true;
        }
    }
    return false;
}

void fs_odd_name(struct str key, char out[SHA256_HEX + 1])
{
    sha256_hex(key, out);
}

/* --- opening without leaving the root --- */

/** openat2 is there since Linux 5.6; a sandbox may refuse it. */
static int open_beneath(const struct io_calls *calls, int root_fd, const char *path, int flags)
{
    struct open_how how = {
        .flags = (uint64_t)(flags | O_CLOEXEC | O_NOFOLLOW),
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
    };
    for (;;) {
        int fd = calls->openat2(root_fd, path, &how, sizeof how);
        if (fd >= 0 || (errno != EINTR && errno != EAGAIN)) {
            return fd;
        }
    }
}

/** The same, one name at a time. */
static int open_walk(const struct io_calls *calls, int root_fd, struct str path, int flags)
{
    int at = root_fd;
    struct str rest = path;
    for (;;) {
        struct str segment = str_split(&rest, '/');
        char name[NAME_MAX + 1];
        if (segment.len > NAME_MAX) {
            errno = ENAMETOOLONG;
            return -1;
        }
        memcpy(name, segment.ptr, segment.len);
        name[segment.len] = '\0';
        int more = rest.ptr != NULL ? O_RDONLY | O_DIRECTORY : flags;
        int fd = calls->openat(at, name, more | O_CLOEXEC | O_NOFOLLOW);
        int saved = errno;
        if (at != root_fd) {
            close(at);
        }
        errno = saved;
        if (fd < 0 || rest.ptr == NULL) {
            return fd;
        }
        at = fd;
    }
}

static int open_below(const struct io_calls *calls, int root_fd, struct str path, int flags)
{
    static _Atomic bool no_openat2; /* of this kernel; a hint, relaxed */
    char text[STORE_KEY_MAX + 1];
    assert(path.len < sizeof text);
    memcpy(text, path.ptr, path.len);
    text[path.len] = '\0';
    if (!atomic_load_explicit(&no_openat2, memory_order_relaxed)) {
        int fd = open_beneath(calls, root_fd, text, flags);
        if (fd >= 0 || (errno != ENOSYS && errno != EPERM)) {
            return fd;
        }
        atomic_store_explicit(&no_openat2, true, memory_order_relaxed);
    }
    return open_walk(calls, root_fd, path, flags);
}

enum status fs_dir_open(const struct fs_store *fs, struct str path, int *fd_out, struct err *err)
{
    int fd = path.len == 0 ? fs->calls->openat(fs->root_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
                           : open_below(fs->calls, fs->root_fd, path, O_RDONLY | O_DIRECTORY);
    if (fd < 0) {
        if (errno == ENOENT || errno == ENOTDIR || errno == ELOOP || errno == EXDEV ||
            errno == ENAMETOOLONG) {
            return err_set(err, E_NOT_FOUND, "folder \"%.*s\" is not there", STR_ARG(path));
        }
        return err_errno(err, errno, "folder \"%.*s\"", STR_ARG(path));
    }
    *fd_out = fd;
    return OK;
}

/** OK and -1 when there is no regular file. */
static enum status file_try(const struct fs_store *fs, int dir_fd, struct str path, struct str key,
                            int *fd_out, struct stat *st_out, struct err *err)
{
    /* Non-blocking, so that a named pipe somebody left does not hold us. */
    AUTO(fd_done) int fd = open_below(fs->calls, dir_fd, path, O_RDONLY | O_NONBLOCK);
    *fd_out = -1;
    if (fd < 0) {
        switch (errno) {
        case ENOENT:
        case ENOTDIR:
        case ENXIO: /* a socket */
        case ENAMETOOLONG:
            return OK;
        case ELOOP:
        case EXDEV:
            return err_set(err, E_DENIED, "a symbolic link is in the path of key \"%.*s\"",
                           STR_ARG(key));
        default:
            return err_errno(err, errno, "key \"%.*s\"", STR_ARG(key));
        }
    }
    if (fs->calls->fstat(fd, st_out) != 0) {
        return err_errno(err, errno, "key \"%.*s\"", STR_ARG(key));
    }
    if (S_ISREG(st_out->st_mode)) {
        *fd_out = fd;
        fd = -1;
    }
    return OK;
}

enum status fs_file_open(const struct fs_store *fs, struct str key, int *fd_out, bool *odd_out,
                         struct stat *st_out, struct err *err)
{
    int fd = -1;
    bool odd = false;
    if (!fs_key_is_odd(fs, key)) {
        TRY(file_try(fs, fs->root_fd, key, key, &fd, st_out, err));
    }
    if (fd < 0 && fs->odd_fd >= 0) {
        char name[SHA256_HEX + 1];
        fs_odd_name(key, name);
        TRY(file_try(fs, fs->odd_fd, str_of(name), key, &fd, st_out, err));
        odd = true;
    }
    if (fd < 0) {
        TRY(fs_root_check(fs, err));
        return err_set(err, E_NOT_FOUND, "object \"%.*s\" is not there", STR_ARG(key));
    }
    *fd_out = fd;
    *odd_out = odd;
    return OK;
}

/* --- places --- */

void fs_place_done(struct fs_place *place)
{
    fd_done(&place->dir_fd);
}

static enum status place_odd(const struct fs_store *fs, struct str key, struct fs_place *out,
                             struct err *err)
{
    int fd = fs->calls->openat(fs->odd_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return fs_own_failed(fs, errno, "_lake/odd", err);
    }
    *out = (struct fs_place){ .dir_fd = fd, .odd = true };
    fs_odd_name(key, out->name);
    return OK;
}

/** Cut a plain key into its folder and its name. */
static struct str key_cut(struct str key, char name[NAME_MAX + 1])
{
    size_t slash = str_rfind_char(key, '/');
    struct str base = slash == SIZE_MAX ? key : str_skip(key, slash + 1);
    assert(base.len <= NAME_MAX);
    memcpy(name, base.ptr, base.len);
    name[base.len] = '\0';
    return slash == SIZE_MAX ? STR_EMPTY : str_take(key, slash);
}

enum status fs_place_find(const struct fs_store *fs, struct str key, bool odd, struct fs_place *out,
                          struct err *err)
{
    if (odd) {
        return place_odd(fs, key, out, err);
    }
    struct fs_place place = FS_PLACE_EMPTY;
    struct str folder = key_cut(key, place.name);
    TRY(fs_dir_open(fs, folder, &place.dir_fd, err));
    *out = place;
    return OK;
}

/* A folder is remembered as durable by inode and time of birth: a number that is used again has
 * another birth. */
static uint64_t dir_mark(int fd)
{
    struct statx sx;
    if (statx(fd, "", AT_EMPTY_PATH, STATX_INO | STATX_BTIME, &sx) != 0 ||
        (sx.stx_mask & STATX_BTIME) == 0) {
        return 0; /* never remembered */
    }
    uint64_t parts[3] = { sx.stx_ino, (uint64_t)sx.stx_btime.tv_sec, sx.stx_btime.tv_nsec };
    return str_hash(str_from((const char *)parts, sizeof parts), 1) | 1;
}

/** Make sure that the entry of folder `fd` in `parent_fd` is on the disk. */
static enum status dir_durable(struct fs_store *fs, int parent_fd, int fd, struct str key,
                               struct err *err)
{
    uint64_t mark = dir_mark(fd);
    _Atomic uint64_t *slot = &fs->durable_dirs[mark % FS_DURABLE_SLOTS];
    if (mark != 0 && atomic_load_explicit(slot, memory_order_relaxed) == mark) {
        return OK;
    }
    TRY(fs_sync(fs, parent_fd, "fsync_parent", key, false, err));
    atomic_store_explicit(slot, mark, memory_order_relaxed);
    return OK;
}

/**
 * One step of the walk. *child_out -1 (and OK) when a file is in the way; E_NOT_FOUND when the
 * folder was pruned by somebody meanwhile.
 */
static enum status dir_step(struct fs_store *fs, int parent_fd, const char *name, struct str key,
                            int *child_out, struct err *err)
{
    AUTO(fd_done)
    int fd = fs->calls->openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) {
        TRY(fs_fault(fs, "mkdir", key, err));
        if (fs->calls->mkdirat(parent_fd, name, 0755) != 0 && errno != EEXIST) {
            return err_errno(err, errno, "folder of key \"%.*s\"", STR_ARG(key));
        }
        fd = fs->calls->openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    }
    if (fd < 0) {
        *child_out = -1;
        if (errno == ENOTDIR) {
            struct stat st;
            if (fs->calls->fstatat(parent_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
                S_ISLNK(st.st_mode)) {
                return err_set(err, E_DENIED, "a symbolic link is in the path of key \"%.*s\"",
                               STR_ARG(key));
            }
            return OK;
        }
        if (errno == ELOOP) {
            return err_set(err, E_DENIED, "a symbolic link is in the path of key \"%.*s\"",
                           STR_ARG(key));
        }
        return err_errno(err, errno, "folder of key \"%.*s\"", STR_ARG(key));
    }
    TRY(dir_durable(fs, parent_fd, fd, key, err));
    *child_out = fd;
    fd = -1;
    return OK;
}

/** Open the folder, making what is missing. *fd_out -1: a file is in the way. */
static enum status dirs_make(struct fs_store *fs, struct str folder, struct str key, int *fd_out,
                             struct err *err)
{
    AUTO(fd_done) int at = fs->calls->openat(fs->root_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (at < 0) {
        return fs_own_failed(fs, errno, "", err);
    }
    struct str rest = folder;
    while (rest.ptr != NULL && folder.len > 0) {
        struct str segment = str_split(&rest, '/');
        char name[NAME_MAX + 1];
        memcpy(name, segment.ptr, segment.len);
        name[segment.len] = '\0';
        int child = -1;
        TRY(dir_step(fs, at, name, key, &child, err));
        fd_done(&at);
        at = child;
        if (at < 0) {
            break;
        }
    }
    *fd_out = at;
    at = -1;
    return OK;
}

enum status fs_place_make(struct fs_store *fs, struct str key, const bool *lies_odd,
                          struct fs_place *out, struct err *err)
{
    if (lies_odd != NULL ? *lies_odd : fs_key_is_odd(fs, key)) {
        return place_odd(fs, key, out, err);
    }
    struct fs_place place = FS_PLACE_EMPTY;
    struct str folder = key_cut(key, place.name);
    enum status status = E_NOT_FOUND;
    for (int i = 0; i < MAKE_TRIES && status == E_NOT_FOUND; i++) {
        status = dirs_make(fs, folder, key, &place.dir_fd, err);
    }
    if (status == E_NOT_FOUND) {
        TRY(fs_root_check(fs, err));
        return err_set(err, E_UNAVAILABLE, "the folder of key \"%.*s\" vanishes again and again",
                       STR_ARG(key));
    }
    TRY(status);
    struct stat st;
    bool folder_there = place.dir_fd >= 0 &&
                        fs->calls->fstatat(place.dir_fd, place.name, &st, AT_SYMLINK_NOFOLLOW) ==
                            0 &&
                        S_ISDIR(st.st_mode);
    if (place.dir_fd < 0 || folder_there) {
        fs_place_done(&place);
        return place_odd(fs, key, out, err);
    }
    *out = place;
    return OK;
}

void fs_dirs_prune(struct fs_store *fs, struct str key)
{
    size_t slash = str_rfind_char(key, '/');
    while (slash != SIZE_MAX) {
        struct str folder = str_take(key, slash);
        struct fs_place place = FS_PLACE_EMPTY;
        if (str_eq(folder, STR("_lake")) || fs_place_find(fs, folder, false, &place, NULL) != OK) {
            return;
        }
        int failed = fs->calls->unlinkat(place.dir_fd, place.name, AT_REMOVEDIR);
        fs_place_done(&place);
        if (failed != 0) {
            return;
        }
        slash = str_rfind_char(folder, '/');
    }
}
