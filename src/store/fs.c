/*
 * The file driver: one folder is the lake. This file opens and closes it and has the driver's
 * table. The rest:
 *
 *      fs_path.c    where a key lies; nothing leaves the root
 *      fs_own.c     the lake's own folders
 *      fs_temp.c    temporary files
 *      fs_record.c  the record of an object: size, MD5, checksums (format and making)
 *      fs_sums.c    where the record lies: an xattr or a side file
 *      fs_write.c   bytes into a temporary file
 *      fs_change.c  publish, remove, copy: the moments in which a name changes
 *      fs_lock.c    a key's lock among threads and processes
 *      fs_read.c    checked reads
 *      fs_list.c    keys in byte order
 *      fs_folder.c  names of folders, remembered; fs_seen.c the records that listings saw
 *      fs_odd.c     the keys of odd files, remembered
 *      fs_upload.c  uploads in parts: one of them; fs_upload_list.c all, fs_part.c a part being
 *                   written, fs_complete.c parts into an object, fs_journal.c and fs_cuts.c formats
 *
 * Invariants: a name appears only after its bytes and record are on the disk; an answer is given
 * only after the name is. After one failed fsync nothing is written any more: the kernel may have
 * dropped the pages, and a second fsync would say that all is well.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "base/encode.h"
#include "base/mem.h"
#include "base/rng.h"
#include "store/fs_upload.h"

/* --- what all parts use --- */

enum status fs_fault(struct fs_store *fs, const char *op, struct str key, struct err *err)
{
    return fs->hook.at == NULL ? OK : fs->hook.at(fs->hook.ctx, op, key, err);
}

enum status fs_write_at(const struct fs_store *fs, int fd, const void *ptr, size_t len,
                        uint64_t offset, struct err *err)
{
    return fs_room(fs, io_calls_pwrite_full(fs->calls, fd, ptr, len, offset, err), err);
}

enum status fs_room(const struct fs_store *fs, enum status status, struct err *err)
{
    if (status == E_DISK_FULL) {
        (void)err_context(err, "no room in \"%s\"", fs->dir);
    }
    return status;
}

enum status fs_may_write(struct fs_store *fs, struct err *err)
{
    if (fs->read_only) {
        return err_set(err, E_DENIED, "the store is open for reading only");
    }
    /* Acquire pairs with the release in fs_sync: whoever sees the flag sees nothing else of it. */
    if (atomic_load_explicit(&fs->stopped, memory_order_acquire)) {
        return err_set(err, E_UNAVAILABLE,
                       "an fsync failed earlier: nothing is written until the disk is well and "
                       "the service is started again");
    }
    return OK;
}

enum status fs_sync(struct fs_store *fs, int fd, const char *op, struct str key, bool after_rename,
                    struct err *err)
{
    enum status status = fs_fault(fs, op, key, err);
    if (status == OK && fs->calls->fsync(fd) != 0) {
        status = err_errno(err, errno, "fsync for key \"%.*s\"", STR_ARG(key));
    }
    if (status == OK || (status == E_DISK_FULL && !after_rename)) {
        return status;
    }
    atomic_store_explicit(&fs->stopped, true, memory_order_release);
    if (after_rename) {
        return err_set(
            err, E_UPSTREAM,
            "the folder of key \"%.*s\" could not be synced: whether the change lasts is unknown",
            STR_ARG(key));
    }
    return err_set(err, E_UNAVAILABLE, "the disk failed at an fsync for key \"%.*s\"",
                   STR_ARG(key));
}

/* --- the table --- */

static struct str root_uri(const struct store *store)
{
    return str_of(((const struct fs_store *)store)->uri);
}

/** Reads and writes would work: a file can be made and the folder is still the one we opened. */
static enum status ready(struct store *store, struct err *err)
{
    struct fs_store *fs = (struct fs_store *)store;
    struct stat ours, there;
    TRY(fs_root_check(fs, err));
    if (stat(fs->dir, &there) != 0) {
        return fs_own_failed(fs, errno, "", err);
    }
    if (fs->calls->fstat(fs->root_fd, &ours) != 0 || ours.st_ino != there.st_ino ||
        ours.st_dev != there.st_dev) {
        return err_set(err, E_UNAVAILABLE,
                       "folder \"%s\" is another one than at start (start the service again)",
                       fs->dir);
    }
    if (fs->read_only) {
        return OK;
    }
    TRY(fs_may_write(fs, err));
    struct fs_temp temp = FS_TEMP_EMPTY;
    TRY(fs_temp_new(fs, &temp, err));
    enum status status = fs_write_at(fs, temp.fd, "x", 1, 0, err);
    fs_temp_drop(fs, &temp);
    return status;
}

static void fs_close(struct store *store)
{
    struct fs_store *fs = (struct fs_store *)store;
    fd_done(&fs->root_fd);
    fd_done(&fs->tmp_fd);
    fd_done(&fs->odd_fd);
    fd_done(&fs->sums_fd);
    fd_done(&fs->locks_fd);
    fd_done(&fs->uploads_fd);
    for (size_t i = 0; i < FS_NURSERIES; i++) {
        fd_done(&fs->new_fds[i]);
    }
    fs_uploads_done(fs);
    fs_odd_done(fs);
    fs_folders_done(fs);
    for (size_t i = 0; i < FS_LOCKS; i++) {
        pthread_rwlock_destroy(&fs->locks[i]);
    }
    mem_free(fs->dir);
    mem_free(fs->uri);
    mem_free(fs);
}

static const struct store_ops fs_ops = {
    .name = "fs",
    .local = true,
    .uploads = &fs_upload_ops,
    .close = fs_close,
    .writer_open = fs_writer_open,
    .writer_write = fs_writer_write,
    .writer_commit = fs_writer_commit,
    .writer_abort = fs_writer_abort,
    .put_fd = fs_put_fd,
    .spool = fs_spool,
    .stat = fs_stat,
    .open = fs_open,
    .list = fs_list,
    .remove = fs_remove,
    .copy = fs_copy,
    .root_uri = root_uri,
    .ready = ready,
};

/* --- open --- */

/** Their locks, renames or fsyncs promise less than we need. FUSE can be anything, so it is among
 * them. */
static const struct {
    unsigned long magic;
    const char *name;
} NETWORK[] = {
    { 0x6969, "NFS" },      { 0x517b, "SMB" },       { 0xff534d42, "CIFS" },
    { 0xfe534d42, "SMB2" }, { 0x65735546, "FUSE" },  { 0x01021997, "9P" },
    { 0x5346414f, "AFS" },  { 0x00c36400, "Ceph" },  { 0x0bd00bd0, "Lustre" },
    { 0x47504653, "GPFS" }, { 0x19830326, "FhGFS" }, { 0x73757245, "Coda" },
};

static enum status network_check(struct fs_store *fs, bool allowed, struct err *err)
{
    struct statfs sf;
    struct stat st;
    fs->remembers = true;
    if (fstatfs(fs->root_fd, &sf) != 0 || fstat(fs->root_fd, &st) != 0) {
        return err_errno(err, errno, "folder \"%s\"", fs->dir);
    }
    fs->root_dev = st.st_dev;
    for (size_t i = 0; i < ARRAY_LEN(NETWORK); i++) {
        if (((unsigned long)sf.f_type & 0xffffffff) != NETWORK[i].magic) {
            continue;
        }
        fs->remembers = false;
        if (!allowed) {
            return err_set(
                err, E_UNSUPPORTED,
                "folder \"%s\" is on a %s file system, where locks between machines cannot be relied on",
                fs->dir, NETWORK[i].name);
        }
    }
    return OK;
}

static enum status locks_init(struct fs_store *fs, struct err *err)
{
    pthread_rwlockattr_t attr;
    if (pthread_rwlockattr_init(&attr) != 0) {
        return err_no_memory(err);
    }
    /* Readers of a pointer come all the time; a swap must not wait for a gap between them. */
    pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    for (size_t i = 0; i < FS_LOCKS; i++) {
        pthread_rwlock_init(&fs->locks[i], &attr); /* cannot fail on Linux */
    }
    pthread_rwlockattr_destroy(&attr);
    return OK;
}

static enum status names_init(struct fs_store *fs, const char *dir, struct err *err)
{
    char *real = realpath(dir, NULL);
    if (real == NULL) {
        return err_errno(err, errno, "folder \"%s\"", dir);
    }
    size_t len = strlen(real);
    fs->dir = mem_strndup(real, len);
    fs->uri = mem_alloc(len + sizeof "file://");
    free(real);
    if (fs->dir == NULL || fs->uri == NULL) {
        return err_no_memory(err);
    }
    memcpy(fs->uri, "file://", 7);
    memcpy(fs->uri + 7, fs->dir, len + 1);
    return OK;
}

/** Does the file system take two spellings for one name? */
static enum status folding_probe(struct fs_store *fs, struct err *err)
{
    char upper[64], lower[64];
    unsigned long long number = (unsigned long long)random_u64();
    snprintf(upper, sizeof upper, "CASE-%llx", number);
    snprintf(lower, sizeof lower, "case-%llx", number);
    AUTO(fd_done)
    int fd = fs->calls->openat(fs->tmp_fd, upper, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0) {
        return fs_own_failed(fs, errno, "_lake/tmp", err);
    }
    fs->folding = faccessat(fs->tmp_fd, lower, F_OK, 0) == 0;
    (void)fs->calls->unlinkat(fs->tmp_fd, upper, 0);
    return OK;
}

/** Whoever made this file has synced the folder's own name before. */
static bool lake_there(const struct fs_store *fs, const char *dir)
{
    struct stat st;
    AUTO(fd_done) int fd = fs->calls->openat(AT_FDCWD, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd >= 0 && fs->calls->fstatat(fd, "_lake/format.json", &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static enum status open_parts(struct fs_store *fs, const struct store_fs_opts *opts,
                              struct err *err)
{
    TRY(locks_init(fs, err));
    if (!fs->read_only && !lake_there(fs, opts->dir)) {
        TRY(io_calls_mkdirs(fs->calls, opts->dir, true, err));
    }
    TRY(names_init(fs, opts->dir, err));
    fs->root_fd = fs->calls->openat(AT_FDCWD, fs->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fs->root_fd < 0) {
        return err_errno(err, errno, "folder \"%s\"", fs->dir);
    }
    TRY(network_check(fs, opts->allow_network, err));
    TRY(fs_own_open(fs, err));
    if (!fs->read_only) {
        TRY(fs_temp_sweep(fs, err));
        TRY(folding_probe(fs, err));
        TRY(fs_record_sweep(fs, err));
        TRY(fs_uploads_recover(fs, err));
    }
    enum status status = store_format_check(&fs->base, str_of(fs->uri), fs->dir, fs->read_only,
                                            err);
    return status == E_NOT_FOUND && opts->any_folder ? OK : status;
}

enum status store_fs_open(const struct store_fs_opts *opts, struct store **out, struct err *err)
{
    struct fs_store *fs = mem_zalloc(sizeof *fs);
    if (fs == NULL) {
        return err_no_memory(err);
    }
    fs->base.ops = &fs_ops;
    fs->read_only = opts->read_only;
    fs->clock = opts->clock != NULL ? opts->clock : clock_real();
    fs->calls = opts->calls != NULL ? opts->calls : &io_calls_real;
    fs->hook = opts->hook;
    fs->root_fd = fs->tmp_fd = fs->odd_fd = fs->sums_fd = fs->locks_fd = fs->uploads_fd = -1;
    for (size_t i = 0; i < FS_NURSERIES; i++) {
        fs->new_fds[i] = -1;
    }
    fs_uploads_init(fs);
    fs_odd_init(fs);
    fs_folders_init(fs);
    enum status status = open_parts(fs, opts, err);
    if (status != OK) {
        fs_close(&fs->base);
        return status;
    }
    *out = &fs->base;
    return OK;
}
