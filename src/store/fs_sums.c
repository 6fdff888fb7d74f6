/*
 * Where a record lies: in the xattr `user.lakehouse` of its file, set before the file gets its
 * name; on file systems without xattrs, or when there is no room for it, in `_lake/sums/<SHA-256 of
 * the key>-<inode>`. The inode in the name keeps a crash between side file and rename harmless: the
 * object that is still there has its own side file. Attributes that the xattr has no room for are
 * in a side file with a number of its own instead of the inode, which the xattr's record holds.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/rng.h"
#include "store/fs_priv.h"

static const char XATTR_NAME[] = "user.lakehouse";

enum {
    SIDE_NAME_MAX = SHA256_HEX + 1 + 16 + 1,
    /* a writer may be between its side file and its rename; chosen, not measured */
    SIDE_AGE_S_MIN = 3600,
};

/** `number`: the inode, or what the record in the xattr says. */
static void side_name(const char *key_hex, uint64_t number, char out[SIDE_NAME_MAX])
{
    snprintf(out, SIDE_NAME_MAX, "%s-%llx", key_hex, (unsigned long long)number);
}

/* --- store --- */

static enum status side_store(struct fs_store *fs, uint64_t number, struct str key,
                              const uint8_t *bytes, size_t len, struct err *err)
{
    char hex[SHA256_HEX + 1], name[SIDE_NAME_MAX];
    sha256_hex(key, hex);
    side_name(hex, number, name);
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
static enum status side_record_store(struct fs_store *fs, uint64_t number, struct str key,
                                     const struct fs_record *record, struct err *err)
{
    uint8_t bytes[FS_RECORD_BYTES_MAX];
    struct fs_record with_key = *record;
    fs_record_key_set(&with_key, key);
    return side_store(fs, number, key, bytes, fs_record_encode(&with_key, bytes), err);
}

/** *done_out false and OK: the file cannot hold it. */
static enum status xattr_store(struct fs_store *fs, int fd, const struct fs_record *record,
                               bool *done_out, struct err *err)
{
    uint8_t bytes[FS_RECORD_BYTES_MAX];
    *done_out = false;
    if (atomic_load_explicit(&fs->no_xattr, memory_order_relaxed)) {
        return OK;
    }
    size_t len = fs_record_encode(record, bytes);
    if (fs->calls->fsetxattr(fd, XATTR_NAME, bytes, len, 0) == 0) {
        *done_out = true;
        return OK;
    }
    switch (errno) {
    case EOPNOTSUPP:
    case EPERM:
        atomic_store_explicit(&fs->no_xattr, true, memory_order_relaxed);
        return OK;
    case ENOSPC: /* no room among other xattrs; a full disk shows itself at the side file */
    case E2BIG:
    case ERANGE:
        return OK;
    default:
        return err_errno(err, errno, "xattr %s", XATTR_NAME);
    }
}

/** The attributes beside, the rest in the xattr. */
static enum status xattr_store_short(struct fs_store *fs, int fd, struct str key,
                                     const struct fs_record *record, bool *done_out,
                                     struct err *err)
{
    struct fs_record part = *record;
    /* the top bit is in no inode's number */
    part.side = random_u64() | UINT64_C(1) << 63;
    part.attrs_len = 0;
    TRY(xattr_store(fs, fd, &part, done_out, err));
    if (!*done_out) {
        return OK;
    }
    fs_record_attrs_set(&part, fs_record_attrs(record));
    return side_record_store(fs, part.side, key, &part, err);
}

enum status fs_record_store(struct fs_store *fs, int fd, struct str key,
                            const struct fs_record *record, struct err *err)
{
    bool done = false;
    TRY(fs_fault(fs, "record", key, err));
    TRY(xattr_store(fs, fd, record, &done, err));
    if (!done && record->attrs_len > 0) {
        TRY(xattr_store_short(fs, fd, key, record, &done, err));
    }
    if (done) {
        return OK;
    }
    struct stat st;
    if (fs->calls->fstat(fd, &st) != 0) {
        return err_errno(err, errno, "temporary file");
    }
    return side_record_store(fs, st.st_ino, key, record, err);
}

/* --- load --- */

enum { SHORT_RECORD_BYTES = 512 }; /* of objects up to 100 MiB with a few attributes; chosen */

static enum status xattr_load(const struct io_calls *calls, int fd, struct fs_record *out,
                              enum fs_known *known_out, struct err *err)
{
    uint8_t bytes[FS_RECORD_BYTES_MAX];
    /* the kernel takes as much memory as it is asked for, and most records are short */
    ssize_t len = calls->fgetxattr(fd, XATTR_NAME, bytes, SHORT_RECORD_BYTES);
    if (len < 0 && errno == ERANGE) {
        len = calls->fgetxattr(fd, XATTR_NAME, bytes, sizeof bytes);
    }
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

/** The xattr of a name in a folder. */
static ssize_t xattr_at(struct fs_store *fs, int dir_fd, const char *name, void *ptr, size_t len)
{
    if (!atomic_load_explicit(&fs->no_getxattrat, memory_order_relaxed)) {
        ssize_t got = fs->calls->getxattrat(dir_fd, name, XATTR_NAME, ptr, len);
        if (got >= 0 || (errno != ENOSYS && errno != EPERM)) {
            return got;
        }
        /* before Linux 6.13, or in a sandbox that refuses what it does not know */
        atomic_store_explicit(&fs->no_getxattrat, true, memory_order_relaxed);
    }
    AUTO(fd_done)
    int fd = fs->calls->openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    return fd < 0 ? -1 : fs->calls->fgetxattr(fd, XATTR_NAME, ptr, len);
}

bool fs_record_look(struct fs_store *fs, int dir_fd, const char *name, struct fs_record *out)
{
    uint8_t bytes[SHORT_RECORD_BYTES];
    ssize_t len = xattr_at(fs, dir_fd, name, bytes, sizeof bytes);
    return len >= 0 && fs_record_decode(bytes, (size_t)len, out) && out->side == 0;
}

static enum status side_load(const struct fs_store *fs, uint64_t number, const char *key_hex,
                             struct fs_record *out, enum fs_known *known_out, struct err *err)
{
    if (fs->sums_fd < 0) {
        *known_out = FS_FOREIGN;
        return OK;
    }
    char name[SIDE_NAME_MAX];
    side_name(key_hex, number, name);
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

/** What the xattr leaves to a side file: everything, the attributes, or nothing. */
static enum status beside_load(const struct fs_store *fs, int fd, const char *key_hex,
                               struct fs_record *out, enum fs_known *known_out, struct err *err)
{
    if (*known_out == FS_FOREIGN) {
        struct stat st;
        if (fs->calls->fstat(fd, &st) != 0) {
            return err_errno(err, errno, "cannot look at a file");
        }
        return side_load(fs, st.st_ino, key_hex, out, known_out, err);
    }
    if (*known_out == FS_XATTR && out->side != 0) {
        uint64_t side = out->side;
        TRY(side_load(fs, side, key_hex, out, known_out, err));
        if (*known_out != FS_SIDE || out->side != side) {
            *known_out = FS_BROKEN;
        }
    }
    return OK;
}

enum status fs_record_load_odd(const struct fs_store *fs, int fd, const char *odd_name,
                               struct fs_record *out, enum fs_known *known_out, struct err *err)
{
    TRY(xattr_load(fs->calls, fd, out, known_out, err));
    return beside_load(fs, fd, odd_name, out, known_out, err);
}

enum status fs_record_load(const struct fs_store *fs, int fd, struct str key, struct fs_record *out,
                           enum fs_known *known_out, struct err *err)
{
    char hex[SHA256_HEX + 1];
    TRY(xattr_load(fs != NULL ? fs->calls : &io_calls_real, fd, out, known_out, err));
    bool whole = *known_out == FS_BROKEN || (*known_out == FS_XATTR && out->side == 0);
    if (whole || fs == NULL) {
        return OK;
    }
    sha256_hex(key, hex);
    return beside_load(fs, fd, hex, out, known_out, err);
}

/* --- what others see of it --- */

void fs_md5_text(const uint8_t md5[MD5_BYTES], char out[MD5_HEX + 1])
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < MD5_BYTES; i++) {
        out[2 * i] = digits[md5[i] >> 4];
        out[2 * i + 1] = digits[md5[i] & 15];
    }
    out[MD5_HEX] = '\0';
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
        fs_md5_text(record->md5, out->etag);
        if (record->part_count > 0) {
            snprintf(out->etag + MD5_HEX, sizeof out->etag - MD5_HEX, "-%lu",
                     (unsigned long)record->part_count);
        }
        out->modified_ms = record->modified_ns / 1000000;
        return;
    }
    out->etag_weak = true;
    snprintf(out->etag, sizeof out->etag, "w%llx-%llx-%llx%09lx", (unsigned long long)st->st_ino,
             (unsigned long long)st->st_size, (unsigned long long)st->st_mtim.tv_sec,
             (unsigned long)st->st_mtim.tv_nsec);
}

bool fs_record_vanished(const struct fs_store *fs, int fd, enum fs_known known)
{
    struct stat st;
    /* A name goes before its side file does, so a file that still has one has lost nothing. */
    return (known == FS_FOREIGN || known == FS_BROKEN) && fs->calls->fstat(fd, &st) == 0 &&
           st.st_nlink == 0;
}

static enum status current_once(struct fs_store *fs, struct str key, struct fs_current *out,
                                bool *again_out, struct err *err)
{
    AUTO(fd_done) int fd = -1;
    struct fs_current current = { 0 };
    struct stat st;
    enum status status = fs_file_open(fs, key, &fd, &current.odd, &st, err);
    *again_out = false;
    if (status == E_NOT_FOUND) {
        *out = current;
        return OK;
    }
    TRY(status);
    struct fs_record record;
    current.there = true;
    TRY(fs_record_load(fs, fd, key, &record, &current.known, err));
    current.side = current.known == FS_SIDE && record.side != 0 ? record.side : st.st_ino;
    fs_info_fill(current.known, &record, &st, &current.info);
    *again_out = fs_record_vanished(fs, fd, current.known);
    *out = current;
    return OK;
}

enum status fs_current_get(struct fs_store *fs, struct str key, struct fs_current *out,
                           struct err *err)
{
    bool again = true;
    for (int i = 0; again && i < FS_OPEN_TRIES; i++) {
        TRY(current_once(fs, key, out, &again, err));
    }
    return OK;
}

/* --- removal --- */

void fs_record_forget(struct fs_store *fs, struct str key, uint64_t side)
{
    char hex[SHA256_HEX + 1], name[SIDE_NAME_MAX];
    sha256_hex(key, hex);
    side_name(hex, side, name);
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
    side_name(hex, current.side, expected);
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
