/*
 * Parts into one object. `data` becomes the object: parts that lie in it where they belong stay,
 * the others are moved to their place, where nothing lies that the upload still has. If something
 * does (parts that are dropped, or were placed by a wrong guess), or another process still writes
 * there, everything is copied into a new file `object` beside it, and that becomes the object.
 *
 * Until the object is published nothing of the upload is lost. The file gets a second name then,
 * which is how an interrupted complete is known (fs_upload.c). The checksums of the object are
 * joined from those of the parts; only what is moved is read, and checked on its way.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/mem.h"
#include "store/fs_upload.h"

enum { MOVE_BYTES = 1024 * 1024 };

struct joining {
    struct fs_store *fs;
    struct fs_entered *in;
    const struct store_upload_how *how;
    const struct fs_part **parts; /* the wanted ones, in order */
    bool *in_place;               /* of the upload's parts */
    int data_fd;
    struct fs_temp temp; /* the file that becomes the object */
    bool beside;         /* it is `object` */
    struct fs_record record;
    char *chunk;
};

/* --- what is wanted --- */

static enum status parts_find(struct joining *join, struct err *err)
{
    const struct store_upload_how *how = join->how;
    const struct fs_upload *upload = join->in->upload;
    join->parts = mem_alloc(how->count * sizeof(struct fs_part *));
    join->in_place = mem_zalloc(upload->count + 1);
    join->chunk = mem_alloc(MOVE_BYTES);
    if (join->parts == NULL || join->in_place == NULL || join->chunk == NULL) {
        return err_no_memory(err);
    }
    uint64_t offset = 0;
    for (size_t i = 0; i < how->count; i++) {
        char etag[MD5_HEX + 1];
        const struct fs_part *part = fs_upload_part(upload, how->parts[i].number);
        bool there = part != NULL && part->there;
        if (there) {
            fs_md5_text(part->md5, etag);
        }
        TRY(store_part_ref_check(&how->parts[i], there ? etag : NULL, err));
        assert(part != NULL);
        join->parts[i] = part;
        join->in_place[part - upload->parts] = part->size == 0 ||
                                               (part->spill == 0 && part->offset == offset);
        if (__builtin_add_overflow(offset, part->size, &offset) || offset > INT64_MAX) {
            return err_set(err, E_TOO_LARGE, "the parts have too many bytes for one object");
        }
    }
    join->record.size = offset;
    return OK;
}

static bool part_in_place(const struct joining *join, const struct fs_part *part)
{
    return join->in_place[part - join->in->upload->parts];
}

/** True when something that lies in `data` would be overwritten or cut off. */
static bool data_needed(const struct joining *join)
{
    const struct fs_upload *upload = join->in->upload;
    for (size_t k = 0; k < upload->count; k++) {
        const struct fs_part *other = &upload->parts[k];
        if (!other->there || other->spill != 0 || other->size == 0 || join->in_place[k]) {
            continue;
        }
        uint64_t end = other->offset + other->size, offset = 0;
        if (end > join->record.size) {
            return true;
        }
        for (size_t i = 0; i < join->how->count; i++) {
            const struct fs_part *part = join->parts[i];
            if (!part_in_place(join, part) && other->offset < offset + part->size && offset < end) {
                return true;
            }
            offset += part->size;
        }
    }
    return false;
}

/** Nobody of this process writes to a place any more. */
static void slots_end(const struct joining *join)
{
    for (struct fs_slot *slot = join->in->upload->slots; slot != NULL; slot = slot->next) {
        pthread_mutex_lock(&slot->lock);
        slot->ended = true;
        (void)fs_slot_lock(join->fs, slot->fd, 0, 0, F_UNLCK);
        pthread_mutex_unlock(&slot->lock);
    }
}

/* --- the file that becomes the object --- */

static enum status beside_open(struct joining *join, struct err *err)
{
    const struct io_calls *calls = join->fs->calls;
    memset(join->in_place, 0, join->in->upload->count);
    (void)calls->unlinkat(join->in->dir_fd, FS_UPLOAD_OBJECT, 0);
    join->beside = true;
    join->temp.fd = calls->openat(join->in->dir_fd, FS_UPLOAD_OBJECT,
                                  O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (join->temp.fd < 0) {
        return fs_own_failed(join->fs, errno, "_lake/uploads", err);
    }
    (void)fs_lock_try(join->fs, join->temp.fd, F_WRLCK);
    return fs_sync(join->fs, join->in->dir_fd, "fsync_object",
                   str_from(join->in->upload->key, join->in->upload->key_len), false, err);
}

static enum status target_open(struct joining *join, struct err *err)
{
    struct fs_store *fs = join->fs;
    join->data_fd = fs->calls->openat(join->in->dir_fd, FS_UPLOAD_DATA,
                                      O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    if (join->data_fd < 0) {
        return fs_own_failed(fs, errno, "_lake/uploads", err);
    }
    slots_end(join);
    /* it is locked for as long as it may get a name in _lake/tmp, too */
    if (!fs_slot_lock(fs, join->data_fd, 0, 0, F_WRLCK) || data_needed(join)) {
        return beside_open(join, err);
    }
    join->temp.fd = join->data_fd;
    return OK;
}

/* --- its bytes and checksums --- */

static enum status damaged(const struct joining *join, const struct fs_part *part, struct err *err)
{
    return err_set(err, E_CORRUPT,
                   "part %u of the upload \"%s\" is damaged: its bytes are not what was written",
                   part->number, join->in->upload->id);
}

static enum status bytes_move(struct joining *join, const struct fs_part *part, int from,
                              struct fs_cuts *cuts, uint32_t *crc_out, struct err *err)
{
    uint32_t crc = 0;
    for (uint64_t done = 0; done < part->size;) {
        uint64_t left = part->size - done;
        size_t got = 0, want = left < MOVE_BYTES ? (size_t)left : MOVE_BYTES;
        TRY(io_calls_pread(join->fs->calls, from, join->chunk, want, part->offset + done, &got,
                           err));
        if (got < want) {
            return damaged(join, part, err);
        }
        TRY(fs_write_at(join->fs, join->temp.fd, join->chunk, want, cuts->offset + done, err));
        crc = crc32c(crc, join->chunk, want);
        fs_cuts_update(cuts, str_from(join->chunk, want));
        done += want;
    }
    fs_cuts_final(cuts);
    *crc_out = crc;
    return OK;
}

/** To where `cuts` start; they are filled. */
static enum status part_move(struct joining *join, const struct fs_part *part,
                             const struct fs_cuts *old, struct fs_cuts *cuts, struct err *err)
{
    AUTO(fd_done) int own = -1;
    uint32_t crc = 0;
    if (part->spill != 0) {
        char name[64];
        fs_spill_name(part->number, part->spill, name);
        own = join->fs->calls->openat(join->in->dir_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
        if (own < 0) {
            return errno == ENOENT ? damaged(join, part, err)
                                   : fs_own_failed(join->fs, errno, "_lake/uploads", err);
        }
    }
    TRY(fs_fault(join->fs, "move", STR_EMPTY, err));
    TRY(bytes_move(join, part, own >= 0 ? own : join->data_fd, cuts, &crc, err));
    return crc == fs_cuts_whole(old) ? OK : damaged(join, part, err);
}

/** Put one part behind the others. */
static enum status part_join(struct joining *join, const struct fs_part *part, uint64_t offset,
                             struct err *err)
{
    AUTO(buf_done) struct buf bytes;
    struct fs_entry entry;
    struct fs_cuts old, moved;
    buf_init(&bytes, FS_JOURNAL_RECORD_MAX);
    TRY(fs_upload_record(join->in, part->record_at, part->record_len, &bytes, &entry, err));
    fs_entry_cuts(buf_str(&bytes), &entry, &old);
    bool stays = part->size == 0 || part_in_place(join, part);
    if (!stays) {
        fs_cuts_init(&moved, offset);
        TRY(part_move(join, part, &old, &moved, err));
    }
    return fs_cuts_join(&join->record, stays ? &old : &moved) ? OK : damaged(join, part, err);
}

static enum status parts_join(struct joining *join, struct err *err)
{
    struct digest *md5 = digest_new(DIGEST_MD5);
    if (md5 == NULL) {
        return err_no_memory(err);
    }
    enum status status = OK;
    uint64_t offset = 0;
    fs_cuts_target(&join->record);
    for (size_t i = 0; i < join->how->count && status == OK; i++) {
        digest_update(md5, join->parts[i]->md5, MD5_BYTES);
        status = part_join(join, join->parts[i], offset, err);
        offset += join->parts[i]->size;
    }
    digest_final(md5, join->record.md5);
    digest_free(md5);
    join->record.part_count = (uint32_t)join->how->count;
    return status;
}

static enum status attrs_join(struct joining *join, struct err *err)
{
    AUTO(buf_done) struct buf bytes;
    struct fs_entry begin;
    buf_init(&bytes, FS_JOURNAL_RECORD_MAX);
    if (join->how->attrs_new) {
        fs_record_attrs_set(&join->record, join->how->attrs);
        return OK;
    }
    TRY(fs_upload_record(join->in, (struct fs_journal){ 0 }, join->in->upload->begin_len, &bytes,
                         &begin, err));
    fs_record_attrs_set(&join->record, begin.attrs);
    return OK;
}

/* --- the moment --- */

/** What writers that gave up have left behind the end. */
static enum status length_set(const struct joining *join, struct err *err)
{
    struct stat st;
    if (join->fs->calls->fstat(join->temp.fd, &st) != 0) {
        return err_errno(err, errno, "the file of an upload");
    }
    if ((uint64_t)st.st_size > join->record.size &&
        join->fs->calls->ftruncate(join->temp.fd, (off_t)join->record.size) != 0) {
        return err_errno(err, errno, "the file of an upload");
    }
    return OK;
}

static enum status temp_name(struct joining *join, struct err *err)
{
    const struct io_calls *calls = join->fs->calls;
    const char *own = join->beside ? FS_UPLOAD_OBJECT : FS_UPLOAD_DATA;
    char name[64];
    fs_upload_temp_name(join->in->upload->id, name);
    int failed = calls->linkat(join->in->dir_fd, own, join->fs->tmp_fd, name, 0);
    if (failed != 0 && errno == EEXIST) {
        (void)calls->unlinkat(join->fs->tmp_fd, name, 0);
        failed = calls->linkat(join->in->dir_fd, own, join->fs->tmp_fd, name, 0);
    }
    if (failed != 0) {
        return fs_own_failed(join->fs, errno, "_lake/tmp", err);
    }
    memcpy(join->temp.name, name, sizeof name);
    return OK;
}

static enum status object_make(struct joining *join, struct store_info *info_out, struct err *err)
{
    struct str key = str_from(join->in->upload->key, join->in->upload->key_len);
    struct fs_current current;
    TRY(parts_find(join, err));
    TRY(fs_current_get(join->fs, key, &current, err));
    TRY(store_cond_check(&join->how->cond, key, current.there ? &current.info : NULL, err));
    TRY(target_open(join, err));
    TRY(parts_join(join, err));
    TRY(attrs_join(join, err));
    TRY(length_set(join, err));
    TRY(temp_name(join, err));
    join->record.modified_ns = fs_now_ns(join->fs);
    return fs_finish(join->fs, key, &join->temp, &join->record, &join->how->cond, info_out, err);
}

static void joining_done(struct joining *join, enum status status)
{
    bool same = join->temp.fd == join->data_fd;
    fs_temp_drop(join->fs, &join->temp);
    if (!same) {
        fd_done(&join->data_fd);
    }
    if (join->beside && status != OK && status != E_UPSTREAM) {
        (void)join->fs->calls->unlinkat(join->in->dir_fd, FS_UPLOAD_OBJECT, 0);
    }
    mem_free(join->parts);
    mem_free(join->in_place);
    mem_free(join->chunk);
    mem_free(join);
}

enum status fs_upload_complete(struct store *store, const struct store_upload_ref *ref,
                               const struct store_upload_how *how, struct store_info *info_out,
                               struct err *err)
{
    AUTO(fs_upload_leave) struct fs_entered in = FS_ENTERED_NONE;
    TRY(fs_upload_enter((struct fs_store *)store, ref, FS_ENTER_CHANGE, &in, err));
    struct joining *join = mem_zalloc(sizeof *join); /* a record is big */
    if (join == NULL) {
        return err_no_memory(err);
    }
    join->fs = in.fs;
    join->in = &in;
    join->how = how;
    join->data_fd = -1;
    join->temp = FS_TEMP_EMPTY;
    enum status status = object_make(join, info_out, err);
    joining_done(join, status);
    TRY(status);
    /* The object is there. An upload that cannot be removed now is known by the two names, and
     * removed by whoever finds it; once the object is replaced it would look open. */
    if (fs_upload_remove(&in, NULL) != OK) {
        (void)!fs_upload_remove(&in, NULL);
    }
    return OK;
}
