/*
 * Reading: one open file is one version of an object, whatever happens to its name. Each block that
 * a read touches is checked against its CRC32C, by pread (never through a mapping: a file cut short
 * by somebody would be a SIGBUS).
 *
 * A checked block is remembered by inode, time of change and number, in one table of the process; a
 * later read of the same unchanged file costs nothing, and what was checked may leave by sendfile.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/mem.h"
#include "store/fs_priv.h"

enum {
    CHECK_CHUNK_BYTES = 256 * 1024,
    SMALL_BYTES_MAX = 32 * 1024, /* to check these costs less than to ask whether one has */
    CHECKED_SLOTS = 64 * 1024,   /* 512 KiB of marks for 64 GiB of blocks */
};

struct fs_object {
    struct store_object base;
    const struct io_calls *calls;
    int fd;
    bool checked; /* there is a record; a foreign file has none */
    uint8_t block_log2;
    uint32_t sum_count;
    uint32_t *sums;
    size_t key_len;
    char key[STORE_KEY_MAX];
};

/* A mark says "this block of this unchanged file was right". Relaxed: a lost mark costs one more
 * check. */
static _Atomic uint64_t checked_blocks[CHECKED_SLOTS];

/* --- open --- */

static enum status changed_error(struct str key, struct err *err)
{
    return err_set(
        err, E_CORRUPT,
        "object \"%.*s\" is damaged: its bytes are not what was written (if it was changed on purpose, remove "
        "the file's xattr user.lakehouse)",
        STR_ARG(key));
}

static void object_close(struct store_object *base)
{
    struct fs_object *object = (struct fs_object *)base;
    fd_done(&object->fd);
    mem_free(object->sums);
    mem_free(object);
}

static const struct store_object_ops object_ops;

static enum status sums_keep(struct fs_object *object, const struct fs_record *record,
                             struct err *err)
{
    object->sums = mem_alloc(record->sum_count * sizeof *object->sums);
    if (object->sums == NULL) {
        return err_no_memory(err);
    }
    memcpy(object->sums, record->sums, record->sum_count * sizeof *object->sums);
    object->sum_count = record->sum_count;
    object->block_log2 = record->block_log2;
    object->checked = true;
    return OK;
}

static enum status object_fill(const struct fs_store *fs, struct fs_object *object,
                               const struct stat *st, struct err *err)
{
    struct str key = str_from(object->key, object->key_len);
    struct fs_record record;
    enum fs_known known = FS_BROKEN;
    TRY(fs_record_load(fs, object->fd, key, &record, &known, err));
    if (fs != NULL && fs_record_vanished(fs, object->fd, known)) {
        return err_set(err, E_CONFLICT, "object \"%.*s\" is replaced again and again",
                       STR_ARG(key));
    }
    fs_info_fill(known, &record, st, &object->base.info);
    if (known == FS_BROKEN || (known != FS_FOREIGN && record.size != object->base.info.size)) {
        return changed_error(key, err);
    }
    if (known == FS_FOREIGN) {
        return OK;
    }
    TRY(attrs_unpack_block(fs_record_attrs(&record), &object->base.attrs, &object->base.attrs_block,
                           err));
    return sums_keep(object, &record, err);
}

/** Takes `fd`, also on failure. E_CONFLICT: the file has gone meanwhile. */
static enum status object_new(const struct fs_store *fs, int fd, const struct stat *st,
                              struct str key, struct store_object **out, struct err *err)
{
    struct fs_object *object = mem_zalloc(sizeof *object);
    if (object == NULL) {
        close(fd);
        return err_no_memory(err);
    }
    object->base.ops = &object_ops;
    object->calls = fs != NULL ? fs->calls : &io_calls_real;
    object->fd = fd;
    object->key_len = key.len;
    memcpy(object->key, key.ptr, key.len);
    enum status status = object_fill(fs, object, st, err);
    if (status != OK) {
        store_object_close(&object->base);
        return status;
    }
    *out = &object->base;
    return OK;
}

/** Pointers live under `_lake/`: a rename shows one before its folder is durable, the lock is held
 * until it is. */
static enum status file_open_durable(struct fs_store *fs, struct str key, int *fd_out,
                                     struct stat *st_out, struct err *err)
{
    bool odd = false;
    if (!str_starts(key, STR("_lake/"))) {
        return fs_file_open(fs, key, fd_out, &odd, st_out, err);
    }
    AUTO(fs_lock_done) struct fs_lock lock = { 0 };
    TRY(fs_lock_key(fs, key, FS_LOCK_SHARED, &lock, err));
    return fs_file_open(fs, key, fd_out, &odd, st_out, err);
}

enum status fs_open(struct store *store, struct str key, struct store_object **out, struct err *err)
{
    struct fs_store *fs = (struct fs_store *)store;
    TRY(fs_key_allowed(key, err));
    TRY(fs_fault(fs, "open", key, err));
    enum status status = E_CONFLICT;
    for (int i = 0; status == E_CONFLICT && i < FS_OPEN_TRIES; i++) {
        int fd = -1;
        struct stat st;
        TRY(file_open_durable(fs, key, &fd, &st, err));
        status = object_new(fs, fd, &st, key, out, err);
    }
    return status == E_CONFLICT
               ? err_set(err, E_UNAVAILABLE, "object \"%.*s\" is replaced again and again",
                         STR_ARG(key))
               : status;
}

enum status store_fd_object(int fd, struct store_object **out, struct err *err)
{
    struct stat st;
    if (fstat(fd, &st) != 0) {
        enum status status = err_errno(err, errno, "cannot look at a file");
        close(fd);
        return status;
    }
    return object_new(NULL, fd, &st, STR("(file)"), out, err);
}

static enum status stat_once(struct fs_store *fs, struct str key, struct store_info *out,
                             struct buf *attrs_out, bool *again_out, struct err *err)
{
    AUTO(fd_done) int fd = -1;
    struct fs_record record;
    struct stat st;
    TRY(file_open_durable(fs, key, &fd, &st, err));
    enum fs_known known = FS_BROKEN;
    TRY(fs_record_load(fs, fd, key, &record, &known, err));
    *again_out = fs_record_vanished(fs, fd, known);
    fs_info_fill(known, &record, &st, out);
    bool attrs = attrs_out != NULL && (known == FS_XATTR || known == FS_SIDE);
    return attrs && buf_append(attrs_out, fs_record_attrs(&record)) != OK ? err_no_memory(err) : OK;
}

enum status fs_stat(struct store *store, struct str key, struct store_info *out,
                    struct buf *attrs_out, struct err *err)
{
    bool again = true;
    TRY(fs_key_allowed(key, err));
    for (int i = 0; again && i < FS_OPEN_TRIES; i++) {
        TRY(stat_once((struct fs_store *)store, key, out, attrs_out, &again, err));
    }
    return OK;
}

enum status fs_object_record(const struct fs_store *fs, const struct store_object *base,
                             struct fs_record *out, enum fs_known *known_out, struct err *err)
{
    const struct fs_object *object = (const struct fs_object *)base;
    struct str key = str_from(object->key, object->key_len);
    TRY(fs_record_load(fs, object->fd, key, out, known_out, err));
    if (object->checked && fs_record_vanished(fs, object->fd, *known_out)) {
        return err_set(err, E_CONFLICT, "object \"%.*s\" was replaced while it was copied",
                       STR_ARG(key));
    }
    bool known = *known_out == FS_XATTR || *known_out == FS_SIDE;
    return known == object->checked ? OK : changed_error(key, err);
}

/* --- checks --- */

/** The mark of block 0 of this file as it is now. */
static enum status file_mark(const struct fs_object *object, uint64_t *mark_out, struct err *err)
{
    struct stat st;
    if (object->calls->fstat(object->fd, &st) != 0) {
        return err_errno(err, errno, "key \"%.*s\"", (int)object->key_len, object->key);
    }
    uint64_t parts[6] = { st.st_dev,
                          st.st_ino,
                          (uint64_t)st.st_mtim.tv_sec,
                          (uint64_t)st.st_mtim.tv_nsec,
                          (uint64_t)st.st_ctim.tv_sec,
                          (uint64_t)st.st_ctim.tv_nsec };
    *mark_out = str_hash(str_from((const char *)parts, sizeof parts), 2);
    return OK;
}

static uint64_t block_mark(uint64_t mark, uint64_t block)
{
    /* odd multiplier: distinct blocks stay apart */
    return ((mark + block) * UINT64_C(0x9e3779b97f4a7c15)) | 1;
}

static bool block_known(uint64_t mark)
{
    return atomic_load_explicit(&checked_blocks[(mark >> 32) % CHECKED_SLOTS],
                                memory_order_relaxed) == mark;
}

static void block_remember(uint64_t mark)
{
    atomic_store_explicit(&checked_blocks[(mark >> 32) % CHECKED_SLOTS], mark,
                          memory_order_relaxed);
}

static enum status object_error(const struct fs_object *object, struct err *err)
{
    return changed_error(str_from(object->key, object->key_len), err);
}

static enum status pread_all(const struct fs_object *object, void *ptr, size_t len, uint64_t offset,
                             struct err *err)
{
    size_t got = 0;
    TRY(io_calls_pread(object->calls, object->fd, ptr, len, offset, &got, err));
    return got == len ? OK : object_error(object, err);
}

static uint64_t block_len(const struct fs_object *object, uint64_t block)
{
    uint64_t start = block << object->block_log2;
    uint64_t left = object->base.info.size - start;
    uint64_t full = (uint64_t)1 << object->block_log2;
    return left < full ? left : full;
}

/** Read a block through a small buffer only to check it. */
static enum status block_check(const struct fs_object *object, uint64_t block, char *scratch,
                               struct err *err)
{
    uint64_t offset = block << object->block_log2;
    uint64_t left = block_len(object, block);
    uint32_t crc = 0;
    while (left > 0) {
        size_t part = left < CHECK_CHUNK_BYTES ? (size_t)left : CHECK_CHUNK_BYTES;
        TRY(pread_all(object, scratch, part, offset, err));
        crc = crc32c(crc, scratch, part);
        offset += part;
        left -= part;
    }
    return crc == object->sums[block] ? OK : object_error(object, err);
}

static enum status blocks_check(const struct fs_object *object, uint64_t first, uint64_t last,
                                uint64_t mark, struct err *err)
{
    char *scratch = NULL;
    enum status status = OK;
    for (uint64_t block = first; block <= last && status == OK; block++) {
        if (block_known(block_mark(mark, block))) {
            continue;
        }
        if (scratch == NULL && (scratch = mem_alloc(CHECK_CHUNK_BYTES)) == NULL) {
            return err_no_memory(err);
        }
        status = block_check(object, block, scratch, err);
        if (status == OK) {
            block_remember(block_mark(mark, block));
        }
    }
    mem_free(scratch);
    return status;
}

static enum status object_check(struct store_object *base, uint64_t offset, uint64_t length,
                                struct err *err)
{
    const struct fs_object *object = (const struct fs_object *)base;
    if (!object->checked || length == 0) {
        return OK;
    }
    uint64_t mark = 0;
    TRY(file_mark(object, &mark, err));
    return blocks_check(object, offset >> object->block_log2,
                        (offset + length - 1) >> object->block_log2, mark, err);
}

static bool object_checked(struct store_object *base, uint64_t offset, uint64_t length)
{
    const struct fs_object *object = (const struct fs_object *)base;
    uint64_t mark = 0;
    bool known = true;
    if (!object->checked || length == 0) {
        return true;
    }
    if (file_mark(object, &mark, NULL) != OK) {
        return false;
    }
    uint64_t last = (offset + length - 1) >> object->block_log2;
    for (uint64_t block = offset >> object->block_log2; known && block <= last; block++) {
        known = block_known(block_mark(mark, block));
    }
    return known;
}

/* --- reads --- */

/** A whole block that is wanted whole: read once, checked where it lies. `mark` NULL: it is
 * not remembered that it is right. */
static enum status block_read_whole(const struct fs_object *object, uint64_t block, char *to,
                                    const uint64_t *mark, struct err *err)
{
    size_t len = (size_t)block_len(object, block);
    TRY(pread_all(object, to, len, block << object->block_log2, err));
    if (crc32c(0, to, len) != object->sums[block]) {
        return object_error(object, err);
    }
    if (mark != NULL) {
        block_remember(block_mark(*mark, block));
    }
    return OK;
}

/** Fill `ptr` with what lies in one block. */
static enum status block_read(const struct fs_object *object, uint64_t offset, char *ptr,
                              size_t len, uint64_t mark, struct err *err)
{
    uint64_t block = offset >> object->block_log2;
    bool known = block_known(block_mark(mark, block));
    if (!known && offset == block << object->block_log2 && len == block_len(object, block)) {
        return block_read_whole(object, block, ptr, &mark, err);
    }
    if (!known) {
        TRY(blocks_check(object, block, block, mark, err));
    }
    return pread_all(object, ptr, len, offset, err);
}

static enum status object_read(struct store_object *base, uint64_t offset, void *ptr, size_t len,
                               size_t *got_out, struct err *err)
{
    const struct fs_object *object = (const struct fs_object *)base;
    if (!object->checked) {
        return io_calls_pread(object->calls, object->fd, ptr, len, offset, got_out, err);
    }
    uint64_t mark = 0;
    if (len == object->base.info.size && len <= SMALL_BYTES_MAX) {
        *got_out = len;
        return block_read_whole(object, 0, ptr, NULL, err);
    }
    TRY(file_mark(object, &mark, err));
    size_t done = 0;
    while (done < len) {
        uint64_t at = offset + done;
        uint64_t block_end = ((at >> object->block_log2) + 1) << object->block_log2;
        size_t part = block_end - at < len - done ? (size_t)(block_end - at) : len - done;
        TRY(block_read(object, at, (char *)ptr + done, part, mark, err));
        done += part;
    }
    *got_out = done;
    return OK;
}

static enum status object_raw_fd(struct store_object *base, int *fd_out, struct err *err)
{
    const struct fs_object *object = (const struct fs_object *)base;
    int fd = object->calls->fcntl(object->fd, F_DUPFD_CLOEXEC, 0);
    if (fd < 0) {
        return err_errno(err, errno, "descriptor of \"%.*s\"", (int)object->key_len, object->key);
    }
    *fd_out = fd;
    return OK;
}

static const struct store_object_ops object_ops = {
    .read = object_read,
    .raw_fd = object_raw_fd,
    .check = object_check,
    .checked = object_checked,
    .close = object_close,
};
