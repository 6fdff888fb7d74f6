/*
 * Where a record lies: in the xattr `user.lakehouse` of its file, set before the file gets its
 * name; on file systems without xattrs, or when there is no room for it, in `_lake/sums/<SHA-256 of
 * the key>-<inode>`. The inode in the name keeps a crash between side file and rename harmless: the
 * object that is still there has its own side file.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "store/fs_priv.h"

static const char XATTR_NAME[] = "user.lakehouse";

enum {
    SIDE_NAME_MAX = SHA256_HEX + 1 + 16 + 1,
    /* a writer may be between its side file and its rename; chosen, not measured */
    SIDE_AGE_S_MIN = 3600,
};

static void side_name(const char *key_hex, uint64_t inode, char out[SIDE_NAME_MAX])
{
    snprintf(out, SIDE_NAME_MAX, "%s-%llx", key_hex, (unsigned long long)inode);
}

/* --- store --- */

static enum status side_store(struct fs_store *fs, int fd, struct str key, const uint8_t *bytes,
                              size_t len, struct err *err)
{
    struct stat st;
    if (fs->calls->fstat(fd, &st) != 0) {
        return err_errno(err, errno, "temporary file");
    }
    char hex[SHA256_HEX + 1], name[SIDE_NAME_MAX];
    sha256_hex(key, hex);
    side_name(hex, st.st_ino, name);
    AUTO(fd_done)
    int side = fs->calls->openat(fs->sums_fd, name,
                                 O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (side < 0) {
        return fs_own_failed(fs, errno, "_lake/sums", err);
    }
    TRY(fs_write_at(fs, side, bytes, len, 0, err));
    TRY(fs_sync(fs, side, "fsync_side", key, false, err));
    return fs_sync(fs, fs->sums_fd, "fsync_sums", key, false, err);
}

/** A side file has the key too, for the sweep. */
static enum status side_record_store(struct fs_store *fs, int fd, struct str key,
                                     const struct fs_record *record, struct err *err)
{
    uint8_t bytes[FS_RECORD_BYTES_MAX];
    struct fs_record with_key = *record;
    fs_record_key_set(&with_key, key);
    return side_store(fs, fd, key, bytes, fs_record_encode(&with_key, bytes), err);
}

enum status fs_record_store(struct fs_store *fs, int fd, struct str key,
                            const struct fs_record *record, struct err *err)
{
    TRY(fs_fault(fs, "record", key, err));
    if (!atomic_load_explicit(&fs->no_xattr, memory_order_relaxed)) {
        uint8_t bytes[FS_RECORD_BYTES_MAX];
        size_t len = fs_record_encode(record, bytes);
        if (fs->calls->fsetxattr(fd, XATTR_NAME, bytes, len, 0) == 0) {
            return OK;
        }
        switch (errno) {
        case EOPNOTSUPP:
        case EPERM:
            atomic_store_explicit(&fs->no_xattr, true, memory_order_relaxed);
            break;
        case ENOSPC: /* no room among other xattrs; a full disk shows itself at the side file */
        case E2BIG:
        case ERANGE:
            break;
        default:
            return err_errno(err, errno, "xattr %s", XATTR_NAME);
        }
    }
    return side_record_store(fs, fd, key, record, err);
}

/* --- load --- */

static enum status xattr_load(const struct io_calls *calls, int fd, struct fs_record *out,
                              enum fs_known *known_out, struct err *err)
{
    uint8_t bytes[FS_RECORD_BYTES_MAX];
    ssize_t len = calls->fgetxattr(fd, XATTR_NAME, bytes, sizeof bytes);
    if (len < 0 && errno != ENODATA && errno != EOPNOTSUPP && errno != ERANGE) {
        return err_errno(err, errno, "cannot read xattr %s", XATTR_NAME);
    }
    if (len < 0) {
        *known_out = errno == ERANGE ? FS_BROKEN : FS_FOREIGN;
    } else {
        *known_out = fs_record_decode(bytes, (size_t)len, out) ? FS_XATTR : FS_BROKEN;
    }
    return OK;
}

static enum status side_load(const struct fs_store *fs, int fd, const char *key_hex,
                             struct fs_record *out, enum fs_known *known_out, struct err *err)
{
    struct stat st;
    if (fs->sums_fd < 0) {
        *known_out = FS_FOREIGN;
        return OK;
    }
    if (fs->calls->fstat(fd, &st) != 0) {
        return err_errno(err, errno, "cannot look at a file");
    }
    char name[SIDE_NAME_MAX];
    side_name(key_hex, st.st_ino, name);
    AUTO(fd_done)
    int side = fs->calls->openat(fs->sums_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (side < 0 && errno != ENOENT) {
        return fs_own_failed(fs, errno, "_lake/sums", err);
    }
    if (side < 0) {
        *known_out = FS_FOREIGN;
        return OK;
    }
    uint8_t bytes[FS_RECORD_BYTES_MAX];
    size_t len = 0;
    TRY(io_calls_pread(fs->calls, side, bytes, sizeof bytes, 0, &len, err));
    *known_out = fs_record_decode(bytes, len, out) ? FS_SIDE : FS_BROKEN;
    return OK;
}

enum status fs_record_load_odd(const struct fs_store *fs, int fd, const char *odd_name,
                               struct fs_record *out, enum fs_known *known_out, struct err *err)
{
    TRY(xattr_load(fs->calls, fd, out, known_out, err));
    return *known_out == FS_FOREIGN ? side_load(fs, fd, odd_name, out, known_out, err) : OK;
}

enum status fs_record_load(const struct fs_store *fs, int fd, struct str key, struct fs_record *out,
                           enum fs_known *known_out, struct err *err)
{
    char hex[SHA256_HEX + 1];
    TRY(xattr_load(fs != NULL ? fs->calls : &io_calls_real, fd, out, known_out, err));
    if (*known_out != FS_FOREIGN || fs == NULL) {
        return OK;
    }
    sha256_hex(key, hex);
    return side_load(fs, fd, hex, out, known_out, err);
}

/* --- what others see of it --- */

static void hex_text(char *out, const uint8_t *bytes, size_t len)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < len; i++) {
        out[2 * i] = digits[bytes[i] >> 4];
        out[2 * i + 1] = digits[bytes[i] & 15];
    }
    out[2 * len] = '\0';
}

static int64_t timespec_ms(struct timespec t)
{
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void fs_info_fill(enum fs_known known, const struct fs_record *record, const struct stat *st,
                  struct store_info *out)
{
    *out = (struct store_info){ .size = (uint64_t)st->st_size,
                                .modified_ms = timespec_ms(st->st_mtim) };
    if ((known == FS_XATTR || known == FS_SIDE) && record->size == out->size) {
        hex_text(out->etag, record->md5, MD5_BYTES);
        out->modified_ms = record->modified_ns / 1000000;
        return;
    }
    out->etag_weak = true;
    snprintf(out->etag, sizeof out->etag, "w%llx-%llx-%llx%09lx", (unsigned long long)st->st_ino,
             (unsigned long long)st->st_size, (unsigned long long)st->st_mtim.tv_sec,
             (unsigned long)st->st_mtim.tv_nsec);
}

enum status fs_current_get(struct fs_store *fs, struct str key, struct fs_current *out,
                           struct err *err)
{
    AUTO(fd_done) int fd = -1;
    struct fs_current current = { 0 };
    enum status status = fs_file_open(fs, key, &fd, &current.odd, err);
    if (status == E_NOT_FOUND) {
        *out = current;
        return OK;
    }
    TRY(status);
    struct stat st;
    struct fs_record record;
    if (fs->calls->fstat(fd, &st) != 0) {
        return err_errno(err, errno, "key \"%.*s\"", STR_ARG(key));
    }
    current.there = true;
    current.inode = st.st_ino;
    TRY(fs_record_load(fs, fd, key, &record, &current.known, err));
    fs_info_fill(current.known, &record, &st, &current.info);
    *out = current;
    return OK;
}

/* --- removal --- */

void fs_record_forget(struct fs_store *fs, struct str key, uint64_t inode)
{
    char hex[SHA256_HEX + 1], name[SIDE_NAME_MAX];
    sha256_hex(key, hex);
    side_name(hex, inode, name);
    (void)fs->calls->unlinkat(fs->sums_fd, name, 0);
}

/** True when the side file's object is there, it is too young to tell, or nothing can be told. */
static bool side_wanted(struct fs_store *fs, const char *name)
{
    AUTO(fd_done)
    int side = fs->calls->openat(fs->sums_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct stat st;
    uint8_t bytes[FS_RECORD_BYTES_MAX];
    size_t len = 0;
    if (side < 0 || fs->calls->fstat(side, &st) != 0 ||
        clock_wall_ms(clock_real()) - timespec_ms(st.st_mtim) < (int64_t)SIDE_AGE_S_MIN * 1000 ||
        io_calls_pread(fs->calls, side, bytes, sizeof bytes, 0, &len, NULL) != OK) {
        return true;
    }
    struct fs_record record;
    if (!fs_record_decode(bytes, len, &record) ||
        store_key_check(fs_record_key(&record), NULL) != OK) {
        return false;
    }
    struct fs_current current;
    if (fs_current_get(fs, fs_record_key(&record), &current, NULL) != OK) {
        return true;
    }
    char hex[SHA256_HEX + 1], expected[SIDE_NAME_MAX];
    sha256_hex(fs_record_key(&record), hex);
    side_name(hex, current.inode, expected);
    return current.there && strcmp(expected, name) == 0;
}

static enum status side_sweep(void *ctx, const char *name, struct err *err)
{
    struct fs_store *fs = ctx;
    if (!side_wanted(fs, name)) {
        (void)fs->calls->unlinkat(fs->sums_fd, name, 0);
    }
    return OK;
}

enum status fs_record_sweep(struct fs_store *fs, struct err *err)
{
    return fs_own_each(fs, fs->sums_fd, "_lake/sums", side_sweep, fs, err);
}
