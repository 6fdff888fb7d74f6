/*
 * A part being written. When its size is known it gets a place in `data`, where it will be in the
 * object: behind the part before it if that has a place, else where it is when all are as big as
 * the biggest one yet. Places never overlap, and one that holds a part is not written to again:
 * what cannot have a place is spilled, into a file of its own, and moved at the complete. A place
 * is noted in the journal, and locked for as long as somebody writes there.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/rng.h"
#include "store/fs_bulk.h"
#include "store/fs_upload.h"

/* S3: each part but the last has at least as many bytes. */
enum { LAST_BYTES = 5 * 1024 * 1024 };

struct part_writer {
    struct store_writer base;
    struct fs_store *fs;
    struct fs_upload *upload; /* referred to */
    struct store_upload_ref ref;
    unsigned number;
    int64_t size;
    uint64_t offset, spill;
    uint64_t written;
    bool noted;          /* in the journal, or that is not known */
    int dir_fd;          /* of a spilled one */
    struct fs_slot slot; /* its descriptor, and of one with a place the rest */
    struct digest *md5;
    struct fs_cuts cuts;
    struct fs_bulk bulk;
    char text[STORE_KEY_MAX + STORE_UPLOAD_ID_MAX];
};

bool fs_slot_lock(const struct fs_store *fs, int fd, uint64_t offset, uint64_t len, short type)
{
    struct flock lock = {
        .l_type = type, .l_whence = SEEK_SET, .l_start = (off_t)offset, .l_len = (off_t)len
    };
    return fs->calls->fcntl(fd, F_OFD_SETLK, &lock) == 0;
}

/* --- the place --- */

/** Where a part of this size would be; false: that cannot be told. */
static bool place_guess(const struct fs_upload *upload, unsigned number, uint64_t size,
                        uint64_t *offset_out)
{
    const struct fs_part *before = number > 1 ? fs_upload_part(upload, number - 1) : NULL;
    if (before != NULL && before->spill == 0) {
        return !__builtin_add_overflow(before->offset, before->size, offset_out);
    }
    if (number > 1 && size < LAST_BYTES && size >= upload->size_max) {
        return false; /* only a last part is that small, and nothing is known of the others */
    }
    uint64_t each = size > upload->size_max ? size : upload->size_max;
    return !__builtin_mul_overflow((uint64_t)(number - 1), each, offset_out);
}

/** True when no other part has a piece of it. */
static bool place_free(const struct fs_upload *upload, unsigned number, uint64_t offset,
                       uint64_t size)
{
    for (size_t i = 0; i < upload->count; i++) {
        const struct fs_part *part = &upload->parts[i];
        if (part->number != number && part->spill == 0 && part->offset < offset + size &&
            offset < part->offset + part->size) {
            return false;
        }
    }
    return true;
}

static bool place_find(const struct fs_upload *upload, unsigned number, int64_t size,
                       uint64_t *offset_out)
{
    const struct fs_part *own = fs_upload_part(upload, number);
    if (size <= 0 || (own != NULL && own->there)) {
        return false;
    }
    if (own != NULL && own->size == (uint64_t)size) {
        *offset_out = own->offset; /* a writer that gave up was there */
        return true;
    }
    return place_guess(upload, number, (uint64_t)size, offset_out) &&
           *offset_out <= (uint64_t)INT64_MAX - (uint64_t)size &&
           place_free(upload, number, *offset_out, (uint64_t)size);
}

static enum status place_note(struct fs_entered *in, const struct part_writer *writer,
                              struct err *err)
{
    const struct fs_part *own = fs_upload_part(in->upload, writer->number);
    if (own != NULL && own->offset == writer->offset && own->size == (uint64_t)writer->size) {
        return OK;
    }
    const struct fs_entry entry = { .kind = FS_ENTRY_PLACE,
                                    .number = writer->number,
                                    .offset = writer->offset,
                                    .size = (uint64_t)writer->size,
                                    .time_ns = fs_now_ns(in->fs),
                                    .block_log2 = FS_BLOCK_LOG2_MIN };
    return fs_upload_append(in, &entry, false, err);
}

/** *placed_out false: it is to be spilled. */
static enum status slot_open(struct fs_entered *in, struct part_writer *writer, bool *placed_out,
                             struct err *err)
{
    *placed_out = false;
    if (!place_find(in->upload, writer->number, writer->size, &writer->offset)) {
        return OK;
    }
    AUTO(fd_done)
    int fd = in->fs->calls->openat(in->dir_fd, FS_UPLOAD_DATA, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        return fs_own_failed(in->fs, errno, "_lake/uploads", err);
    }
    if (!fs_slot_lock(in->fs, fd, writer->offset, (uint64_t)writer->size, F_WRLCK)) {
        return OK;
    }
    TRY(place_note(in, writer, err));
    writer->slot.fd = fd;
    fd = -1;
    writer->slot.next = in->upload->slots;
    in->upload->slots = &writer->slot;
    *placed_out = true;
    return OK;
}

static enum status spill_open(const struct fs_entered *in, struct part_writer *writer,
                              struct err *err)
{
    char name[64];
    writer->offset = 0;
    writer->spill = random_u64() | 1;
    fs_spill_name(writer->number, writer->spill, name);
    writer->dir_fd = in->fs->calls->fcntl(in->dir_fd, F_DUPFD_CLOEXEC, 0);
    if (writer->dir_fd < 0) {
        return fs_own_failed(in->fs, errno, "_lake/uploads", err);
    }
    writer->slot.fd = in->fs->calls->openat(
        writer->dir_fd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
    return writer->slot.fd < 0 ? fs_own_failed(in->fs, errno, "_lake/uploads", err) : OK;
}

/* --- the writer --- */

static void spill_delete(const struct part_writer *writer)
{
    char name[64];
    fs_spill_name(writer->number, writer->spill, name);
    (void)writer->fs->calls->unlinkat(writer->dir_fd, name, 0);
}

static void writer_free(struct part_writer *writer)
{
    if (writer->dir_fd >= 0 && writer->slot.fd >= 0 && !writer->noted) {
        spill_delete(writer);
    }
    if (writer->upload != NULL) {
        pthread_mutex_lock(&writer->upload->lock);
        for (struct fs_slot **at = &writer->upload->slots; *at != NULL; at = &(*at)->next) {
            if (*at == &writer->slot) {
                *at = writer->slot.next;
                break;
            }
        }
        pthread_mutex_unlock(&writer->upload->lock);
        fs_upload_unref(writer->fs, writer->upload);
    }
    if (writer->slot.fd >= 0) {
        /* a child forked just now may share the description */
        (void)fs_slot_lock(writer->fs, writer->slot.fd, 0, 0, F_UNLCK);
    }
    fd_done(&writer->slot.fd);
    fd_done(&writer->dir_fd);
    pthread_mutex_destroy(&writer->slot.lock);
    fs_bulk_done(&writer->bulk);
    digest_free(writer->md5);
    mem_free(writer);
}

static const struct store_ops part_ops;

static struct part_writer *writer_new(struct fs_store *fs, const struct store_upload_ref *ref,
                                      unsigned number, int64_t size)
{
    struct part_writer *writer = mem_zalloc(sizeof *writer);
    if (writer == NULL) {
        return NULL;
    }
    writer->base.ops = &part_ops;
    writer->fs = fs;
    writer->number = number;
    writer->size = size;
    writer->dir_fd = writer->slot.fd = -1;
    pthread_mutex_init(&writer->slot.lock, NULL);
    memcpy(writer->text, ref->key.ptr, ref->key.len);
    memcpy(writer->text + ref->key.len, ref->id.ptr, ref->id.len);
    writer->ref = (struct store_upload_ref){ str_from(writer->text, ref->key.len),
                                             str_from(writer->text + ref->key.len, ref->id.len) };
    writer->md5 = digest_new(DIGEST_MD5);
    if (writer->md5 == NULL) {
        writer_free(writer);
        return NULL;
    }
    return writer;
}

enum status fs_part_open(struct store *store, const struct store_upload_ref *ref, unsigned number,
                         int64_t size, struct store_writer **out, struct err *err)
{
    struct fs_store *fs = (struct fs_store *)store;
    struct fs_entered in = FS_ENTERED_NONE;
    bool placed = false;
    TRY(fs_fault(fs, "part", ref->key, err));
    TRY(fs_upload_enter(fs, ref, FS_ENTER_CHANGE, &in, err));
    struct part_writer *writer = writer_new(fs, ref, number, size);
    enum status status = writer != NULL ? OK : err_no_memory(err);
    if (status == OK) {
        status = slot_open(&in, writer, &placed, err);
    }
    if (status == OK && !placed) {
        status = spill_open(&in, writer, err);
    }
    if (status == OK) {
        writer->upload = fs_upload_ref(&in);
        fs_cuts_init(&writer->cuts, writer->offset);
        fs_bulk_init(&writer->bulk, fs->calls, writer->slot.fd, writer->offset);
    }
    fs_upload_leave(&in);
    if (status != OK) {
        if (writer != NULL) {
            writer_free(writer);
        }
        return status;
    }
    *out = &writer->base;
    return OK;
}

static enum status part_write(struct store_writer *base, struct str bytes, struct err *err)
{
    struct part_writer *writer = (struct part_writer *)base;
    TRY(store_part_size_check(writer->number, writer->size, writer->written + bytes.len, false,
                              err));
    TRY(fs_fault(writer->fs, "write", writer->ref.key, err));
    pthread_mutex_lock(&writer->slot.lock);
    enum status status = writer->slot.ended
                             ? store_upload_not_found(&writer->ref, err)
                             : fs_room(writer->fs, fs_bulk_write(&writer->bulk, bytes, err), err);
    pthread_mutex_unlock(&writer->slot.lock);
    TRY(status);
    writer->written += bytes.len;
    digest_update(writer->md5, bytes.ptr, bytes.len);
    fs_cuts_update(&writer->cuts, bytes);
    return OK;
}

static void part_abort(struct store_writer *base)
{
    writer_free((struct part_writer *)base);
}

/** The bytes are on the disk: note the part. */
static enum status part_note(struct part_writer *writer, struct store_info *info_out,
                             struct err *err)
{
    AUTO(fs_upload_leave) struct fs_entered in = FS_ENTERED_NONE;
    struct fs_entry entry = {
        .kind = FS_ENTRY_PART,
        .number = writer->number,
        .offset = writer->offset,
        .size = writer->written,
        .spill = writer->spill,
        .attrs = writer->base.attrs,
        .sums = writer->cuts.sums,
        .sum_count = writer->cuts.count,
        .block_log2 = writer->cuts.block_log2,
    };
    digest_final(writer->md5, entry.md5);
    TRY(fs_upload_enter(writer->fs, &writer->ref, FS_ENTER_CHANGE, &in, err));
    if (writer->slot.ended) {
        return store_upload_not_found(&writer->ref, err);
    }
    entry.time_ns = fs_now_ns(writer->fs);
    const struct fs_part *found = fs_upload_part(in.upload, writer->number);
    struct fs_part old = found != NULL ? *found : (struct fs_part){ 0 };
    enum status status = fs_upload_append(&in, &entry, true, err);
    writer->noted = status == OK || status == E_UPSTREAM;
    TRY(status);
    if (old.there && old.spill != 0) {
        char name[64];
        fs_spill_name(old.number, old.spill, name);
        (void)writer->fs->calls->unlinkat(in.dir_fd, name, 0);
    }
    *info_out = (struct store_info){ .size = entry.size, .modified_ms = entry.time_ns / 1000000 };
    fs_md5_text(entry.md5, info_out->etag);
    return OK;
}

/** What is still in memory goes to its place, if that still is ours. */
static enum status part_end(struct part_writer *writer, struct err *err)
{
    pthread_mutex_lock(&writer->slot.lock);
    enum status status = writer->slot.ended
                             ? store_upload_not_found(&writer->ref, err)
                             : fs_room(writer->fs, fs_bulk_end(&writer->bulk, err), err);
    pthread_mutex_unlock(&writer->slot.lock);
    return status;
}

static enum status part_finish(struct part_writer *writer, struct store_info *info_out,
                               struct err *err)
{
    struct fs_store *fs = writer->fs;
    TRY(store_part_size_check(writer->number, writer->size, writer->written, true, err));
    TRY(fs_may_write(fs, err));
    fs_cuts_final(&writer->cuts);
    TRY(part_end(writer, err));
    TRY(fs_sync(fs, writer->slot.fd, "fsync_part", writer->ref.key, false, err));
    if (writer->spill != 0) {
        TRY(fs_sync(fs, writer->dir_fd, "fsync_spill", writer->ref.key, false, err));
    }
    TRY(part_note(writer, info_out, err));
    return fs_fault(fs, "answer", writer->ref.key, err);
}

static enum status part_commit(struct store_writer *base, struct store_info *info_out,
                               struct err *err)
{
    struct part_writer *writer = (struct part_writer *)base;
    enum status status = part_finish(writer, info_out, err);
    writer_free(writer);
    return status;
}

static const struct store_ops part_ops = {
    .name = "fs",
    .writer_write = part_write,
    .writer_commit = part_commit,
    .writer_abort = part_abort,
};
