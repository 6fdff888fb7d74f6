/*
 * All uploads in parts of a lake: listed, swept when idle, and put in order at the start. There are
 * few of them at a time, so each list reads the first record of all; memory is bounded by the page.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/mem.h"
#include "store/fs_upload.h"

enum {
    /* an empty folder may be one that is just being begun, and so may a torn journal, which an
     * operator might want to see; chosen, not measured */
    EMPTY_AGE_S_MIN = 60,
    TORN_AGE_S_MIN = 3600,
};

/** How many names this file of an upload has; two, and it is being published, or is. */
static unsigned long names_of(const struct fs_store *fs, int dir_fd, const char *name)
{
    struct stat st;
    bool there = fs->calls->fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
    return there ? (unsigned long)st.st_nlink : 0;
}

static int folder_open(const struct fs_store *fs, const char *name)
{
    return fs->calls->openat(fs->uploads_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* --- list --- */

struct item {
    int64_t started_ns;
    size_t key_len;
    char id[STORE_UPLOAD_ID_MAX + 1];
    char key[];
};

struct listing {
    struct fs_store *fs;
    const struct store_uploads_opts *opts;
    struct item **items; /* the smallest, at most one more than the page has */
    size_t count;
    char *record; /* room for one */
};

/** The first record of an upload, in `record`. E_NOT_FOUND or E_CORRUPT: it was never begun. */
static enum status first_record(const struct fs_store *fs, int dir, char *record,
                                struct fs_entry *out, struct err *err)
{
    const struct io_calls *calls = fs->calls;
    struct fs_journal journal = { 0 };
    size_t got = 0;
    AUTO(fd_done)
    int fd = calls->openat(dir, FS_UPLOAD_JOURNAL, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        return errno == ENOENT ? err_set(err, E_NOT_FOUND, "an upload without a journal")
                               : fs_own_failed(fs, errno, "_lake/uploads", err);
    }
    TRY(io_calls_pread(calls, fd, record, FS_JOURNAL_RECORD_MAX, 0, &got, err));
    return fs_entry_decode(str_from(record, got), &journal, out)
               ? OK
               : err_set(err, E_CORRUPT, "the journal of an upload has no beginning");
}

static bool is_published(const struct fs_store *fs, int dir)
{
    return names_of(fs, dir, FS_UPLOAD_DATA) > 1 || names_of(fs, dir, FS_UPLOAD_OBJECT) > 1;
}

static int item_compare(const struct item *item, struct str key, struct str id)
{
    int order = str_cmp(str_from(item->key, item->key_len), key);
    return order != 0 ? order : str_cmp(str_of(item->id), id);
}

static enum status list_entry(void *ctx, const char *name, struct err *err)
{
    struct listing *listing = ctx;
    struct str id = str_of(name);
    struct fs_entry entry;
    AUTO(fd_done) int dir = folder_open(listing->fs, name);
    if (dir < 0 || id.len > STORE_UPLOAD_ID_MAX || is_published(listing->fs, dir)) {
        return OK;
    }
    enum status status = first_record(listing->fs, dir, listing->record, &entry, err);
    if (status == E_NOT_FOUND || status == E_CORRUPT) {
        return OK;
    }
    TRY(status);
    if (!store_upload_wanted(listing->opts, entry.key, id)) {
        return OK;
    }
    size_t at = listing->count;
    while (at > 0 && item_compare(listing->items[at - 1], entry.key, id) > 0) {
        at--;
    }
    if (at > listing->opts->limit) {
        return OK;
    }
    struct item *item = mem_alloc(sizeof *item + entry.key.len);
    if (item == NULL) {
        return err_no_memory(err);
    }
    item->started_ns = entry.time_ns;
    item->key_len = entry.key.len;
    memcpy(item->id, id.ptr, id.len);
    item->id[id.len] = '\0';
    memcpy(item->key, entry.key.ptr, entry.key.len);
    if (listing->count > listing->opts->limit) {
        mem_free(listing->items[--listing->count]);
    }
    memmove(&listing->items[at + 1], &listing->items[at],
            (listing->count - at) * sizeof(struct item *));
    listing->items[at] = item;
    listing->count++;
    return OK;
}

static enum status page_make(const struct listing *listing, struct arena *arena,
                             struct store_uploads *out, struct err *err)
{
    out->truncated = listing->count > listing->opts->limit;
    size_t count = out->truncated ? listing->opts->limit : listing->count;
    out->items = arena_array(arena, count + 1, sizeof *out->items);
    if (out->items == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < count; i++) {
        const struct item *item = listing->items[i];
        struct store_upload *upload = &out->items[out->count++];
        upload->key = arena_str(arena, str_from(item->key, item->key_len));
        upload->id = arena_str(arena, str_of(item->id));
        upload->started_ms = item->started_ns / 1000000;
        if (upload->key.ptr == NULL || upload->id.ptr == NULL) {
            return err_no_memory(err);
        }
    }
    return OK;
}

enum status fs_upload_list(struct store *store, const struct store_uploads_opts *opts,
                           struct arena *arena, struct store_uploads *out, struct err *err)
{
    struct fs_store *fs = (struct fs_store *)store;
    struct listing listing = { .fs = fs, .opts = opts };
    TRY(fs_root_check(fs, err));
    if (fs->uploads_fd < 0) {
        return OK;
    }
    listing.items = mem_alloc((opts->limit + 1) * sizeof(struct item *));
    listing.record = mem_alloc(FS_JOURNAL_RECORD_MAX);
    enum status status = listing.items != NULL && listing.record != NULL ? OK : err_no_memory(err);
    if (status == OK) {
        status = fs_own_each(fs, fs->uploads_fd, "_lake/uploads", list_entry, &listing, err);
    }
    if (status == OK) {
        status = page_make(&listing, arena, out, err);
    }
    for (size_t i = 0; i < listing.count; i++) {
        mem_free(listing.items[i]);
    }
    mem_free(listing.items);
    mem_free(listing.record);
    return status;
}

/* --- what is left of others --- */

static int64_t age_s(const struct stat *st)
{
    return clock_wall_ms(clock_real()) / 1000 - st->st_mtim.tv_sec;
}

/** End a complete that was interrupted, delete what no upload needs. */
static void put_in_order(struct fs_store *fs, const char *name, char *record)
{
    struct stat st;
    struct fs_entry begin;
    AUTO(fd_done) int dir = folder_open(fs, name);
    if (dir < 0) {
        return;
    }
    bool data = names_of(fs, dir, FS_UPLOAD_DATA) > 0; /* before the journal is looked for */
    enum status status = first_record(fs, dir, record, &begin, NULL);
    if (status == OK && is_published(fs, dir)) {
        AUTO(fs_upload_leave) struct fs_entered in = FS_ENTERED_NONE;
        const struct store_upload_ref ref = { STR_EMPTY, str_of(name) };
        /* entering it is enough; one that others are in is theirs */
        (void)!fs_upload_enter(fs, &ref, FS_ENTER_IDLE, &in, NULL);
    }
    if ((status == E_NOT_FOUND || status == E_CORRUPT) && fs->calls->fstat(dir, &st) == 0 &&
        ((status == E_NOT_FOUND && data) ||
         age_s(&st) >= (status == E_CORRUPT ? TORN_AGE_S_MIN : EMPTY_AGE_S_MIN))) {
        fs_upload_discard(fs, name);
    }
}

/* --- sweep --- */

struct sweep {
    struct fs_store *fs;
    int64_t before_ms;
    struct store_swept *out;
    char *record; /* room for one */
};

static enum status sweep_entry(void *ctx, const char *name, struct err *err)
{
    struct sweep *sweep = ctx;
    AUTO(fs_upload_leave) struct fs_entered in = FS_ENTERED_NONE;
    const struct store_upload_ref ref = { STR_EMPTY, str_of(name) };
    enum status status = fs_upload_enter(sweep->fs, &ref, FS_ENTER_IDLE, &in, err);
    if (status == E_UNAVAILABLE) {
        return OK; /* somebody is in it */
    }
    if (status == E_NOT_FOUND || status == E_CORRUPT) {
        put_in_order(sweep->fs, name, sweep->record);
        return OK;
    }
    TRY(status);
    if (in.upload->changed_ns / 1000000 <= sweep->before_ms) {
        TRY(fs_upload_remove(&in, err));
        sweep->out->dropped++;
    }
    return OK;
}

enum status fs_upload_sweep(struct store *store, int64_t before_ms, struct store_swept *out,
                            struct err *err)
{
    struct fs_store *fs = (struct fs_store *)store;
    TRY(fs_may_write(fs, err));
    struct sweep sweep = { fs, before_ms, out, mem_alloc(FS_JOURNAL_RECORD_MAX) };
    if (sweep.record == NULL) {
        return err_no_memory(err);
    }
    enum status status = fs_own_each(fs, fs->uploads_fd, "_lake/uploads", sweep_entry, &sweep, err);
    mem_free(sweep.record);
    return status;
}

/* --- at the start --- */

struct recovery {
    struct fs_store *fs;
    char *record; /* room for one */
};

static enum status recover_entry(void *ctx, const char *name, struct err *err)
{
    const struct recovery *recovery = ctx;
    put_in_order(recovery->fs, name, recovery->record);
    return OK;
}

enum status fs_uploads_recover(struct fs_store *fs, struct err *err)
{
    struct recovery recovery = { fs, mem_alloc(FS_JOURNAL_RECORD_MAX) };
    if (recovery.record == NULL) {
        return err_no_memory(err);
    }
    enum status status = fs_own_each(fs, fs->uploads_fd, "_lake/uploads", recover_entry, &recovery,
                                     err);
    mem_free(recovery.record);
    return status;
}
