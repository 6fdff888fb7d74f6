/*
 * One upload in parts: begun, entered, looked at, removed. fs_upload.h says what lies where.
 *
 * An upload is there as long as its journal is, and neither `data` nor `object` has a second name:
 * a complete gives it one, the object's, and whoever finds both knows that it was published and
 * removes the upload. (On its way there is a name in `_lake/tmp`, which says nothing.)
 */
#include "store/fs_upload.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"

enum {
    KEPT_MAX = 16, /* uploads that nobody is in; chosen, not measured */
    WAIT_S_MAX = 30,
    READ_BYTES = 256 * 1024, /* more than a record */
};

void fs_upload_temp_name(const char *id, char out[64])
{
    snprintf(out, 64, "up-%.48s", id);
}

void fs_spill_name(unsigned number, uint64_t spill, char out[64])
{
    snprintf(out, 64, "p%u-%016llx", number, (unsigned long long)spill);
}

/** As store_upload_id_make makes them: nothing else can be a name here. */
static bool id_ours(struct str id)
{
    for (size_t i = 0; i < id.len; i++) {
        char c = id.ptr[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) {
            return false;
        }
    }
    return id.len > 0 && id.len < 48; /* with what is around it, a temporary name */
}

/* --- what is kept of it --- */

void fs_uploads_init(struct fs_store *fs)
{
    pthread_mutex_init(&fs->uploads_lock, NULL);
}

static void upload_free(struct fs_upload *upload)
{
    pthread_mutex_destroy(&upload->lock);
    mem_free(upload->parts);
    mem_free(upload);
}

void fs_uploads_done(struct fs_store *fs)
{
    while (fs->uploads != NULL) {
        struct fs_upload *upload = fs->uploads;
        fs->uploads = upload->next;
        upload_free(upload);
    }
    pthread_mutex_destroy(&fs->uploads_lock);
}

/** Under uploads_lock: the one of this id, first in the list; NULL when there is no memory. */
static struct fs_upload *upload_take(struct fs_store *fs, struct str id)
{
    struct fs_upload **at = &fs->uploads;
    while (*at != NULL && !str_eq(str_of((*at)->id), id)) {
        at = &(*at)->next;
    }
    struct fs_upload *upload = *at;
    if (upload != NULL) {
        *at = upload->next;
    } else if ((upload = mem_zalloc(sizeof *upload)) != NULL) {
        memcpy(upload->id, id.ptr, id.len);
        pthread_mutex_init(&upload->lock, NULL);
    }
    if (upload != NULL) {
        upload->refs++;
        upload->next = fs->uploads;
        fs->uploads = upload;
    }
    return upload;
}

struct fs_upload *fs_upload_ref(struct fs_entered *entered)
{
    pthread_mutex_lock(&entered->fs->uploads_lock);
    entered->upload->refs++;
    pthread_mutex_unlock(&entered->fs->uploads_lock);
    return entered->upload;
}

void fs_upload_unref(struct fs_store *fs, struct fs_upload *upload)
{
    struct fs_upload *unused = NULL;
    size_t idle = 0;
    pthread_mutex_lock(&fs->uploads_lock);
    upload->refs--;
    for (struct fs_upload **at = &fs->uploads; *at != NULL;) {
        struct fs_upload *each = *at;
        idle += each->refs == 0;
        /* one of which nothing is known is none, or none any more */
        if (each->refs > 0 || (idle <= KEPT_MAX && each->journal.len > 0)) {
            at = &each->next;
            continue;
        }
        *at = each->next;
        each->next = unused;
        unused = each;
    }
    pthread_mutex_unlock(&fs->uploads_lock);
    while (unused != NULL) {
        struct fs_upload *next = unused->next;
        upload_free(unused);
        unused = next;
    }
}

struct fs_part *fs_upload_part(const struct fs_upload *upload, unsigned number)
{
    size_t low = 0, high = upload->count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (upload->parts[mid].number < number) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low < upload->count && upload->parts[low].number == number ? &upload->parts[low] : NULL;
}

/** Room for one more part. */
static enum status part_room(struct fs_upload *upload, struct err *err)
{
    if (upload->count < upload->cap) {
        return OK;
    }
    size_t cap = upload->cap == 0 ? 16 : upload->cap * 2;
    struct fs_part *parts = mem_realloc(upload->parts, cap * sizeof *parts);
    if (parts == NULL) {
        return err_no_memory(err);
    }
    upload->parts = parts;
    upload->cap = cap;
    return OK;
}

/** There is room. */
static struct fs_part *part_add(struct fs_upload *upload, unsigned number)
{
    struct fs_part *part = fs_upload_part(upload, number);
    if (part != NULL) {
        return part;
    }
    size_t at = upload->count++;
    for (; at > 0 && upload->parts[at - 1].number > number; at--) {
        upload->parts[at] = upload->parts[at - 1];
    }
    upload->parts[at] = (struct fs_part){ .number = number };
    return &upload->parts[at];
}

/** What a record says that reaches from upload->journal to `next`. There is room for a part. */
static void entry_take(struct fs_upload *upload, const struct fs_entry *entry,
                       struct fs_journal next)
{
    struct fs_journal at = upload->journal;
    uint32_t record_len = (uint32_t)(next.len - at.len);
    upload->journal = next;
    if (entry->kind == FS_ENTRY_BEGIN) {
        memcpy(upload->key, entry->key.ptr, entry->key.len);
        upload->key_len = entry->key.len;
        upload->begin_len = record_len;
        upload->started_ns = upload->changed_ns = entry->time_ns;
        return;
    }
    struct fs_part *part = part_add(upload, entry->number);
    upload->changed_ns = entry->time_ns > upload->changed_ns ? entry->time_ns : upload->changed_ns;
    upload->size_max = entry->size > upload->size_max ? entry->size : upload->size_max;
    if (entry->kind == FS_ENTRY_PLACE && part->there) {
        return;
    }
    *part = (struct fs_part){
        .number = entry->number,
        .there = entry->kind == FS_ENTRY_PART,
        .offset = entry->offset,
        .size = entry->size,
        .spill = entry->spill,
        .modified_ns = entry->time_ns,
        .record_at = at,
        .record_len = record_len,
    };
    memcpy(part->md5, entry->md5, MD5_BYTES);
}

/** Take the records that are in `bytes`, from where the journal is known; how far they reach. */
static enum status records_take(struct fs_upload *upload, struct str bytes, size_t *used_out,
                                struct err *err)
{
    size_t used = 0;
    for (;;) {
        struct fs_journal next = upload->journal;
        struct fs_entry entry;
        if (!fs_entry_decode(str_skip(bytes, used), &next, &entry)) {
            *used_out = used;
            return OK;
        }
        TRY(part_room(upload, err));
        used += (size_t)(next.len - upload->journal.len);
        entry_take(upload, &entry, next);
    }
}

/** Read what was appended since. */
static enum status journal_read(struct fs_entered *in, struct err *err)
{
    struct stat st;
    if (in->fs->calls->fstat(in->journal_fd, &st) != 0) {
        return err_errno(err, errno, "the journal of an upload");
    }
    if ((uint64_t)st.st_size <= in->upload->journal.len) {
        return OK;
    }
    char *bytes = mem_alloc(READ_BYTES);
    if (bytes == NULL) {
        return err_no_memory(err);
    }
    enum status status = OK;
    size_t used = 1;
    while (status == OK && used > 0) {
        size_t got = 0;
        used = 0;
        status = io_calls_pread(in->fs->calls, in->journal_fd, bytes, READ_BYTES,
                                in->upload->journal.len, &got, err);
        if (status == OK) {
            status = records_take(in->upload, str_from(bytes, got), &used, err);
        }
    }
    mem_free(bytes);
    return status;
}

/* --- enter, leave --- */

static enum status threads_lock(struct fs_upload *upload, enum fs_enter how, struct err *err)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += how == FS_ENTER_IDLE ? 0 : WAIT_S_MAX;
    return pthread_mutex_timedlock(&upload->lock, &until) == 0
               ? OK
               : err_set(err, E_UNAVAILABLE, "the upload \"%s\" is in use for too long",
                         upload->id);
}

/** `path` of an own file that is not there: the upload is not. */
static enum status not_there(struct fs_store *fs, const struct store_upload_ref *ref,
                             struct err *err)
{
    struct stat st;
    if (errno != ENOENT && errno != ENOTDIR && errno != ELOOP) {
        return fs_own_failed(fs, errno, "_lake/uploads", err);
    }
    if (fs->uploads_fd < 0) {
        return store_upload_not_found(ref, err);
    }
    if (fs->calls->fstat(fs->uploads_fd, &st) != 0 || st.st_nlink == 0) {
        return fs_own_failed(fs, ENOENT, "_lake/uploads", err);
    }
    return store_upload_not_found(ref, err);
}

static enum status files_open(struct fs_entered *in, const struct store_upload_ref *ref,
                              enum fs_enter how, struct err *err)
{
    struct fs_store *fs = in->fs;
    in->dir_fd = fs->uploads_fd < 0
                     ? (errno = ENOENT, -1)
                     : fs->calls->openat(fs->uploads_fd, in->upload->id,
                                         O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (in->dir_fd < 0) {
        return not_there(fs, ref, err);
    }
    in->journal_fd = fs->calls->openat(in->dir_fd, FS_UPLOAD_JOURNAL,
                                       (how != FS_ENTER_READ ? O_RDWR : O_RDONLY) | O_NOFOLLOW |
                                           O_CLOEXEC);
    if (in->journal_fd < 0) {
        return not_there(fs, ref, err);
    }
    if (how == FS_ENTER_READ) {
        return OK;
    }
    if (how == FS_ENTER_IDLE && !fs_lock_try(fs, in->journal_fd, F_WRLCK)) {
        return err_set(err, E_UNAVAILABLE, "another process is in the upload \"%s\"",
                       in->upload->id);
    }
    if (how == FS_ENTER_CHANGE) {
        TRY(fs_lock_file(fs, in->journal_fd, FS_LOCK_EXCLUSIVE, ref->key, err));
    }
    struct stat st;
    if (fs->calls->fstat(in->journal_fd, &st) != 0) {
        return err_errno(err, errno, "the journal of an upload");
    }
    return st.st_nlink == 0 ? store_upload_not_found(ref, err) : OK;
}

/** Has this file of the upload a second name? */
static enum status second_name(const struct fs_entered *in, const char *name, bool *out,
                               struct err *err)
{
    struct stat st;
    *out = false;
    assert(in->fs != NULL);
    if (in->fs->calls->fstatat(in->dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
        return errno == ENOENT ? OK : fs_own_failed(in->fs, errno, "_lake/uploads", err);
    }
    *out = st.st_nlink > 1;
    return OK;
}

static enum status two_names(const struct fs_entered *in, bool *out, struct err *err)
{
    TRY(second_name(in, FS_UPLOAD_DATA, out, err));
    return *out ? OK : second_name(in, FS_UPLOAD_OBJECT, out, err);
}

/** Has it become an object? Only its holder may ask: a complete on its way looks like it. */
static enum status published(const struct fs_entered *in, bool *out, struct err *err)
{
    TRY(two_names(in, out, err));
    if (!*out) {
        return OK;
    }
    char temp[64];
    fs_upload_temp_name(in->upload->id, temp);
    if (in->fs->calls->unlinkat(in->fs->tmp_fd, temp, 0) != 0 && errno != ENOENT) {
        return fs_own_failed(in->fs, errno, "_lake/tmp", err);
    }
    return two_names(in, out, err);
}

static enum status entered_check(struct fs_entered *in, const struct store_upload_ref *ref,
                                 enum fs_enter how, struct err *err)
{
    bool gone = false;
    struct fs_upload *upload = in->upload;
    TRY(journal_read(in, err));
    if (upload->journal.len == 0) {
        return err_set(err, E_CORRUPT, "the journal of the upload \"%s\" is damaged", upload->id);
    }
    if (ref->key.len > 0 && !str_eq(ref->key, str_from(upload->key, upload->key_len))) {
        return store_upload_not_found(ref, err);
    }
    if (how != FS_ENTER_READ) {
        TRY(published(in, &gone, err));
    }
    if (gone) {
        TRY(fs_upload_remove(in, err));
        return store_upload_not_found(ref, err);
    }
    return OK;
}

void fs_upload_leave(struct fs_entered *in)
{
    if (in->upload == NULL) {
        return;
    }
    if (in->journal_fd >= 0) {
        /* a child forked just now may share the description */
        (void)fs_lock_try(in->fs, in->journal_fd, F_UNLCK);
    }
    fd_done(&in->journal_fd);
    fd_done(&in->dir_fd);
    pthread_mutex_unlock(&in->upload->lock);
    fs_upload_unref(in->fs, in->upload);
    in->upload = NULL;
}

static enum status enter(struct fs_store *fs, const struct store_upload_ref *ref, enum fs_enter how,
                         struct fs_entered *out, struct err *err)
{
    struct fs_entered in = FS_ENTERED_NONE;
    if (!id_ours(ref->id)) {
        return store_upload_not_found(ref, err);
    }
    if (how != FS_ENTER_READ) {
        TRY(fs_may_write(fs, err));
    }
    in.fs = fs;
    pthread_mutex_lock(&fs->uploads_lock);
    in.upload = upload_take(fs, ref->id);
    pthread_mutex_unlock(&fs->uploads_lock);
    if (in.upload == NULL) {
        return err_no_memory(err);
    }
    enum status status = threads_lock(in.upload, how, err);
    if (status != OK) {
        fs_upload_unref(fs, in.upload);
        return status;
    }
    status = files_open(&in, ref, how, err);
    if (status == OK) {
        status = entered_check(&in, ref, how, err);
    }
    if (status != OK) {
        fs_upload_leave(&in);
        return status;
    }
    *out = in;
    return OK;
}

enum status fs_upload_enter(struct fs_store *fs, const struct store_upload_ref *ref,
                            enum fs_enter how, struct fs_entered *out, struct err *err)
{
    bool unclear = false;
    TRY(enter(fs, ref, how, out, err));
    enum status status = how != FS_ENTER_READ || fs->read_only ? OK : two_names(out, &unclear, err);
    if (status != OK || !unclear) {
        if (status != OK) {
            fs_upload_leave(out);
        }
        return status;
    }
    /* it is just becoming an object, or has become one: only with the lock one can tell */
    fs_upload_leave(out);
    return enter(fs, ref, FS_ENTER_CHANGE, out, err);
}

/* --- changes --- */

enum status fs_upload_append(struct fs_entered *in, const struct fs_entry *entry, bool sync,
                             struct err *err)
{
    AUTO(buf_done) struct buf bytes;
    struct fs_upload *upload = in->upload;
    struct str key = str_from(upload->key, upload->key_len);
    struct fs_journal next = upload->journal;
    buf_init(&bytes, FS_JOURNAL_RECORD_MAX);
    TRY(part_room(upload, err));
    if (fs_entry_encode(entry, &next, &bytes) != OK) {
        return err_no_memory(err);
    }
    TRY(fs_fault(in->fs, "journal", key, err));
    TRY(fs_write_at(in->fs, in->journal_fd, bytes.ptr, bytes.len, upload->journal.len, err));
    if (sync) {
        TRY(fs_sync(in->fs, in->journal_fd, "fsync_journal", key, true, err));
    }
    entry_take(upload, entry, next);
    return OK;
}

enum status fs_upload_record(const struct fs_entered *in, struct fs_journal at, uint32_t len,
                             struct buf *out, struct fs_entry *entry_out, struct err *err)
{
    char *to = buf_reserve(out, len);
    size_t got = 0;
    if (to == NULL) {
        return err_no_memory(err);
    }
    TRY(io_calls_pread(in->fs->calls, in->journal_fd, to, len, at.len, &got, err));
    if (got != len || !fs_entry_decode(str_from(to, got), &at, entry_out)) {
        return err_set(err, E_CORRUPT, "the journal of the upload \"%s\" is damaged",
                       in->upload->id);
    }
    out->len += len;
    return OK;
}

static enum status file_delete(void *ctx, const char *name, struct err *err)
{
    const struct fs_entered *in = ctx;
    (void)in->fs->calls->unlinkat(in->dir_fd, name, 0);
    return OK;
}

enum status fs_upload_remove(struct fs_entered *in, struct err *err)
{
    struct fs_store *fs = in->fs;
    struct str key = str_from(in->upload->key, in->upload->key_len);
    TRY(fs_fault(fs, "unlink", key, err));
    if (fs->calls->unlinkat(in->dir_fd, FS_UPLOAD_JOURNAL, 0) != 0 && errno != ENOENT) {
        return fs_own_failed(fs, errno, "_lake/uploads", err);
    }
    TRY(fs_sync(fs, in->dir_fd, "fsync_end", key, true, err));
    in->upload->journal = (struct fs_journal){ 0 };
    in->upload->count = 0;
    /* What stays of it is deleted by the next sweep or start. */
    (void)!fs_own_each(fs, in->dir_fd, "_lake/uploads", file_delete, in, NULL);
    (void)fs->calls->unlinkat(fs->uploads_fd, in->upload->id, AT_REMOVEDIR);
    return OK;
}

void fs_upload_discard(struct fs_store *fs, const char *id)
{
    struct fs_entered in = FS_ENTERED_NONE;
    in.fs = fs;
    in.dir_fd = fs->calls->openat(fs->uploads_fd, id,
                                  O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (in.dir_fd >= 0) {
        (void)!fs_own_each(fs, in.dir_fd, "_lake/uploads", file_delete, &in, NULL);
        fd_done(&in.dir_fd);
    }
    (void)fs->calls->unlinkat(fs->uploads_fd, id, AT_REMOVEDIR);
}

static enum status upload_abort(struct store *store, const struct store_upload_ref *ref,
                                struct err *err)
{
    AUTO(fs_upload_leave) struct fs_entered in = FS_ENTERED_NONE;
    TRY(fs_upload_enter((struct fs_store *)store, ref, FS_ENTER_CHANGE, &in, err));
    TRY(fs_upload_remove(&in, err));
    return fs_fault(in.fs, "answer", ref->key, err);
}

/* --- begin --- */

static enum status begin_journal(struct fs_store *fs, int dir_fd, const struct fs_entry *entry,
                                 struct err *err)
{
    AUTO(buf_done) struct buf bytes;
    struct fs_journal journal = { 0 };
    buf_init(&bytes, FS_JOURNAL_RECORD_MAX);
    if (fs_entry_encode(entry, &journal, &bytes) != OK) {
        return err_no_memory(err);
    }
    AUTO(fd_done)
    int fd = fs->calls->openat(dir_fd, FS_UPLOAD_JOURNAL,
                               O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (fd < 0) {
        return fs_own_failed(fs, errno, "_lake/uploads", err);
    }
    TRY(fs_write_at(fs, fd, bytes.ptr, bytes.len, 0, err));
    return fs_sync(fs, fd, "fsync_begin", entry->key, false, err);
}

static enum status begin_files(struct fs_store *fs, const char *id, const struct fs_entry *entry,
                               struct err *err)
{
    AUTO(fd_done) int data = -1;
    AUTO(fd_done)
    int dir = fs->calls->openat(fs->uploads_fd, id,
                                O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (dir < 0) {
        return fs_own_failed(fs, errno, "_lake/uploads", err);
    }
    /* The journal comes first and goes first: other files without it belong to nobody. */
    TRY(begin_journal(fs, dir, entry, err));
    data = fs->calls->openat(dir, FS_UPLOAD_DATA,
                             O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (data < 0) {
        return fs_own_failed(fs, errno, "_lake/uploads", err);
    }
    TRY(fs_sync(fs, dir, "fsync_upload", entry->key, false, err));
    return fs_sync(fs, fs->uploads_fd, "fsync_uploads", entry->key, false, err);
}

static enum status upload_begin(struct store *store, struct str key, struct str attrs,
                                char id_out[STORE_UPLOAD_ID_MAX + 1], struct err *err)
{
    struct fs_store *fs = (struct fs_store *)store;
    TRY(fs_key_allowed(key, err));
    TRY(fs_may_write(fs, err));
    TRY(fs_fault(fs, "upload", key, err));
    const struct fs_entry entry = {
        .kind = FS_ENTRY_BEGIN, .time_ns = fs_now_ns(fs), .key = key, .attrs = attrs
    };
    char id[STORE_UPLOAD_ID_MAX + 1];
    store_upload_id_make(entry.time_ns / 1000000, id);
    if (fs->calls->mkdirat(fs->uploads_fd, id, 0755) != 0) {
        return fs_own_failed(fs, errno, "_lake/uploads", err);
    }
    enum status status = begin_files(fs, id, &entry, err);
    if (status != OK) {
        fs_upload_discard(fs, id);
        return status;
    }
    TRY(fs_fault(fs, "answer", key, err));
    memcpy(id_out, id, sizeof id);
    return OK;
}

/* --- what is there --- */

static enum status upload_get(struct store *store, const struct store_upload_ref *ref,
                              int64_t *started_ms_out, struct buf *attrs_out, struct err *err)
{
    AUTO(fs_upload_leave) struct fs_entered in = FS_ENTERED_NONE;
    AUTO(buf_done) struct buf bytes;
    struct fs_entry begin;
    buf_init(&bytes, FS_JOURNAL_RECORD_MAX);
    TRY(fs_upload_enter((struct fs_store *)store, ref, FS_ENTER_READ, &in, err));
    assert(in.upload != NULL);
    TRY(fs_upload_record(&in, (struct fs_journal){ 0 }, in.upload->begin_len, &bytes, &begin, err));
    if (attrs_out != NULL && buf_append(attrs_out, begin.attrs) != OK) {
        return err_no_memory(err);
    }
    *started_ms_out = in.upload->started_ns / 1000000;
    return OK;
}

static enum status part_tell(const struct fs_entered *in, const struct fs_part *part,
                             struct arena *arena, struct store_part *out, struct err *err)
{
    AUTO(buf_done) struct buf bytes;
    struct fs_entry entry;
    buf_init(&bytes, FS_JOURNAL_RECORD_MAX);
    TRY(fs_upload_record(in, part->record_at, part->record_len, &bytes, &entry, err));
    *out = (struct store_part){ .number = part->number,
                                .size = part->size,
                                .modified_ms = part->modified_ns / 1000000 };
    fs_md5_text(part->md5, out->etag);
    return attrs_unpack(entry.attrs, arena, &out->attrs, err);
}

static enum status upload_parts(struct store *store, const struct store_upload_ref *ref,
                                unsigned after, size_t limit, struct arena *arena,
                                struct store_parts *out, struct err *err)
{
    AUTO(fs_upload_leave) struct fs_entered in = FS_ENTERED_NONE;
    TRY(fs_upload_enter((struct fs_store *)store, ref, FS_ENTER_READ, &in, err));
    const struct fs_upload *upload = in.upload;
    assert(upload != NULL);
    size_t room = upload->count < limit ? upload->count : limit;
    out->items = arena_array(arena, room + 1, sizeof *out->items);
    if (out->items == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < upload->count; i++) {
        const struct fs_part *part = &upload->parts[i];
        if (!part->there || part->number <= after) {
            continue;
        }
        if (out->count == limit) {
            out->truncated = true;
            break;
        }
        TRY(part_tell(&in, part, arena, &out->items[out->count], err));
        out->count++;
    }
    return OK;
}

static int64_t now_ms(const struct store *store)
{
    return clock_wall_ms(((const struct fs_store *)store)->clock);
}

const struct store_upload_ops fs_upload_ops = {
    .begin = upload_begin,
    .part_open = fs_part_open,
    .get = upload_get,
    .parts = upload_parts,
    .complete = fs_upload_complete,
    .abort = upload_abort,
    .list = fs_upload_list,
    .sweep = fs_upload_sweep,
    .now_ms = now_ms,
};
