/*
 * Writing: bytes go to a temporary file and through the hashes as they come; then time and record
 * are set, the file is synced, and fs_publish gives it its name. Until that moment nobody can see
 * it, and a crash leaves nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "store/fs_bulk.h"
#include "store/fs_priv.h"

enum {
    HASH_CHUNK_BYTES = 256 * 1024,
    COPY_CHUNK_BYTES = 1024 * 1024, /* a block of most objects */
};

struct fs_writer {
    struct store_writer base;
    struct fs_store *fs;
    struct fs_temp temp;
    struct fs_hash hash;
    struct fs_record record;
    struct store_target target;
    struct fs_bulk bulk;
};

static void writer_free(struct fs_writer *writer)
{
    fs_bulk_done(&writer->bulk);
    fs_temp_drop(writer->fs, &writer->temp);
    fs_hash_done(&writer->hash);
    mem_free(writer);
}

enum status fs_writer_open(struct store *store, struct str key, const struct store_cond *cond,
                           struct store_writer **out, struct err *err)
{
    struct fs_store *fs = (struct fs_store *)store;
    TRY(fs_key_allowed(key, err));
    TRY(fs_may_write(fs, err));
    struct fs_writer *writer = mem_zalloc(sizeof *writer);
    if (writer == NULL) {
        return err_no_memory(err);
    }
    writer->base.ops = store->ops;
    writer->fs = fs;
    writer->temp = FS_TEMP_EMPTY;
    store_target_keep(&writer->target, key, cond);
    enum status status = fs_hash_init(&writer->hash, &writer->record, cond->opaque_etag, err);
    if (status == OK) {
        status = fs_temp_new(fs, &writer->temp, err);
    }
    if (status != OK) {
        writer_free(writer);
        return status;
    }
    fs_bulk_init(&writer->bulk, fs->calls, writer->temp.fd, 0);
    *out = &writer->base;
    return OK;
}

enum status fs_writer_write(struct store_writer *base, struct str bytes, struct err *err)
{
    struct fs_writer *writer = (struct fs_writer *)base;
    TRY(fs_fault(writer->fs, "write", writer->target.key, err));
    TRY(fs_room(writer->fs, fs_bulk_write(&writer->bulk, bytes, err), err));
    fs_hash_update(&writer->hash, bytes);
    return OK;
}

void fs_writer_abort(struct store_writer *base)
{
    writer_free((struct fs_writer *)base);
}

int64_t fs_now_ns(const struct fs_store *fs)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return clock_wall_ms(fs->clock) * 1000000 + now.tv_nsec % 1000000;
}

enum status fs_finish(struct fs_store *fs, struct str key, struct fs_temp *temp,
                      struct fs_record *record, const struct store_cond *cond,
                      struct store_info *info_out, struct err *err)
{
    struct timespec times[2] = { { .tv_nsec = UTIME_OMIT },
                                 { .tv_sec = record->modified_ns / 1000000000,
                                   .tv_nsec = record->modified_ns % 1000000000 } };
    if (fs->calls->futimens(temp->fd, times) != 0) {
        return err_errno(err, errno, "temporary file");
    }
    TRY(fs_record_store(fs, temp->fd, key, record, err));
    TRY(fs_sync(fs, temp->fd, "fsync", key, false, err));
    struct stat st;
    if (fs->calls->fstat(temp->fd, &st) != 0) {
        return err_errno(err, errno, "temporary file");
    }
    if ((uint64_t)st.st_size != record->size) {
        return err_set(err, E_INTERNAL, "the file for \"%.*s\" changed while it was taken over",
                       STR_ARG(key));
    }
    TRY(fs_publish(fs, key, temp, record, cond, err));
    fs_info_fill(FS_XATTR, record, &st, info_out);
    return OK;
}

enum status fs_writer_commit(struct store_writer *base, struct store_info *info_out,
                             struct err *err)
{
    struct fs_writer *writer = (struct fs_writer *)base;
    fs_hash_final(&writer->hash);
    writer->record.modified_ns = fs_now_ns(writer->fs);
    fs_record_attrs_set(&writer->record, base->attrs);
    enum status status = fs_room(writer->fs, fs_bulk_end(&writer->bulk, err), err);
    if (status == OK) {
        status = fs_finish(writer->fs, writer->target.key, &writer->temp, &writer->record,
                           &writer->target.cond, info_out, err);
    }
    writer_free(writer);
    return status;
}

/* --- whole files --- */

enum status fs_spool(struct store *store, int *fd_out, struct err *err)
{
    struct fs_store *fs = (struct fs_store *)store;
    struct fs_temp temp = FS_TEMP_EMPTY;
    TRY(fs_may_write(fs, err));
    TRY(fs_temp_new(fs, &temp, err));
    if (temp.name[0] != '\0') {
        (void)fs->calls->unlinkat(fs->tmp_fd, temp.name, 0);
    }
    *fd_out = temp.fd;
    return OK;
}

/** An unnamed file of our own file system can get a name; any other is copied. */
static bool adoptable(const struct fs_store *fs, int fd)
{
    struct stat ours, st;
    int flags = fs->calls->fcntl(fd, F_GETFL);
    return flags >= 0 && (flags & O_TMPFILE) == O_TMPFILE && fs->calls->fstat(fd, &st) == 0 &&
           st.st_nlink == 0 && fs->calls->fstat(fs->tmp_fd, &ours) == 0 && st.st_dev == ours.st_dev;
}

static enum status hash_file(const struct fs_store *fs, int fd, struct fs_hash *hash,
                             struct err *err)
{
    char *chunk = mem_alloc(HASH_CHUNK_BYTES);
    if (chunk == NULL) {
        return err_no_memory(err);
    }
    enum status status = OK;
    size_t got = 1;
    for (uint64_t offset = 0; status == OK && got > 0; offset += got) {
        got = 0;
        status = io_calls_pread(fs->calls, fd, chunk, HASH_CHUNK_BYTES, offset, &got, err);
        fs_hash_update(hash, str_from(chunk, got));
    }
    mem_free(chunk);
    return status;
}

static enum status adopt_file(struct fs_store *fs, struct str key, int fd,
                              const struct store_cond *cond, struct store_info *info_out,
                              struct err *err)
{
    struct fs_temp temp = { .fd = fs->calls->fcntl(fd, F_DUPFD_CLOEXEC, 0) };
    if (temp.fd < 0) {
        return err_errno(err, errno, "spool file");
    }
    /* The disk works on what is written already while the processor hashes it. */
    (void)sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE);
    struct fs_hash hash = { 0 };
    struct fs_record record;
    enum status status = fs_hash_init(&hash, &record, cond->opaque_etag, err);
    if (status == OK) {
        status = hash_file(fs, fd, &hash, err);
    }
    if (status == OK) {
        fs_hash_final(&hash);
        record.modified_ns = fs_now_ns(fs);
        (void)fchmod(fd, 0644);
        status = fs_finish(fs, key, &temp, &record, cond, info_out, err);
    }
    fs_hash_done(&hash);
    fs_temp_drop(fs, &temp);
    return status;
}

enum status fs_put_fd(struct store *store, struct str key, int fd, bool adopt,
                      const struct store_cond *cond, struct store_info *info_out, struct err *err)
{
    struct fs_store *fs = (struct fs_store *)store;
    if (!adopt || !adoptable(fs, fd)) {
        return store_put_fd_by_writer(store, key, fd, cond, info_out, err);
    }
    TRY(fs_key_allowed(key, err));
    TRY(fs_may_write(fs, err));
    return adopt_file(fs, key, fd, cond, info_out, err);
}

/* --- copies --- */

/** Move the bytes; what has a record is checked on its way, what has none goes through `hash`. */
static enum status copy_bytes(struct fs_store *fs, struct store_object *object, int fd,
                              struct fs_hash *hash, struct err *err)
{
    char *chunk = mem_alloc(COPY_CHUNK_BYTES);
    if (chunk == NULL) {
        return err_no_memory(err);
    }
    enum status status = OK;
    size_t got = 1;
    for (uint64_t offset = 0; status == OK && got > 0; offset += got) {
        status = store_object_read(object, offset, chunk, COPY_CHUNK_BYTES, &got, err);
        if (status == OK && hash != NULL) {
            fs_hash_update(hash, str_from(chunk, got));
        }
        if (status == OK && got > 0) {
            status = fs_write_at(fs, fd, chunk, got, offset, err);
        }
    }
    mem_free(chunk);
    return status;
}

/** Fill the file and `record`, but for the time and the attributes. */
static enum status copy_content(struct fs_store *fs, struct store_object *object, int fd,
                                struct fs_record *record, struct err *err)
{
    enum fs_known known = FS_FOREIGN;
    TRY(fs_object_record(fs, object, record, &known, err));
    if (known != FS_FOREIGN) {
        record->key_len = 0;
        record->side = 0;
        return copy_bytes(fs, object, fd, NULL, err);
    }
    struct fs_hash hash = { 0 };
    enum status status = fs_hash_init(&hash, record, false, err);
    if (status == OK) {
        record->modified_ns = object->info.modified_ms * 1000000;
        status = copy_bytes(fs, object, fd, &hash, err);
    }
    if (status == OK) {
        fs_hash_final(&hash);
    }
    fs_hash_done(&hash);
    return status;
}

enum status fs_write_copy(struct fs_store *fs, struct store_object *object, struct str to,
                          const struct store_copy_how *how, const struct store_cond *cond,
                          struct store_info *info_out, struct err *err)
{
    struct fs_temp temp = FS_TEMP_EMPTY;
    struct fs_record record;
    TRY(fs_temp_new(fs, &temp, err));
    enum status status = copy_content(fs, object, temp.fd, &record, err);
    if (status == OK) {
        if (!how->keep_time) {
            record.modified_ns = fs_now_ns(fs);
        }
        if (how->attrs_new) {
            fs_record_attrs_set(&record, how->attrs);
        }
        status = fs_finish(fs, to, &temp, &record, cond, info_out, err);
    }
    fs_temp_drop(fs, &temp);
    return status;
}
