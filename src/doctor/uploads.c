/*
 * Uploads in parts that nobody has completed: they take room, and no list of objects shows them.
 */
#include "doctor/doctor.h"
#include "store/upload.h"

struct open_uploads {
    uint64_t count, parts, bytes;
    int64_t oldest_ms;
};

static enum status parts_look(struct store *store, const struct store_upload *upload,
                              struct open_uploads *open, struct err *err)
{
    AUTO(arena_done) struct arena arena;
    struct store_parts page = { .truncated = true };
    unsigned after = 0;
    arena_init(&arena, 0);
    while (page.truncated) {
        arena_reset(&arena);
        TRY(store_upload_parts(store, upload->key, upload->id, after, 0, &arena, &page, err));
        for (size_t i = 0; i < page.count; i++) {
            open->bytes += page.items[i].size;
            after = page.items[i].number;
        }
        open->parts += page.count;
    }
    return OK;
}

static enum status upload_look(const struct doctor *doctor, struct store *store,
                               const struct store_upload *upload, struct open_uploads *open)
{
    struct err why = { 0 };
    enum status status = parts_look(store, upload, open, &why);
    if (status == OK) {
        bool first = open->count++ == 0;
        open->oldest_ms = first || upload->started_ms < open->oldest_ms ? upload->started_ms
                                                                        : open->oldest_ms;
    } else if (status != E_NOT_FOUND && status != E_NO_MEMORY) { /* completed meanwhile */
        doctor_tell(doctor, DOCTOR_PROBLEM, "uploads", "abort it, and send its parts again",
                    "the upload \"%.*s\" of \"%.*s\" cannot be read: %s", STR_ARG(upload->id),
                    STR_ARG(upload->key), why.msg);
    }
    return status == E_NO_MEMORY ? status : OK;
}

static void tell_unreadable(const struct doctor *doctor, const struct store_uploads *page)
{
    if (page->unreadable > 0) {
        doctor_tell(doctor, DOCTOR_PROBLEM, "uploads",
                    "if no newer lakehouse wrote them, delete these objects, and what lies below "
                    "_lake/uploads/parts/ under their ids",
                    "%llu records of uploads in parts cannot be read, and are not swept: %.*s",
                    (unsigned long long)page->unreadable, STR_ARG(page->why));
    }
}

static enum status sum_up(const struct doctor *doctor, const struct open_uploads *open,
                          struct err *err)
{
    AUTO(buf_done) struct buf time;
    buf_init(&time, 64);
    if (open->count == 0) {
        return OK;
    }
    if (time_append_iso(&time, open->oldest_ms) != OK) {
        return err_no_memory(err);
    }
    doctor_tell(doctor, DOCTOR_NOTE, "uploads", "abort those that nobody will complete",
                "%llu uploads in parts are open, with %llu parts of %llu bytes; the first was "
                "begun %.*s",
                (unsigned long long)open->count, (unsigned long long)open->parts,
                (unsigned long long)open->bytes, (int)time.len, time.ptr);
    return OK;
}

enum status doctor_uploads(const struct doctor *doctor, struct store *store, struct err *err)
{
    AUTO(arena_done) struct arena last; /* where the next page starts */
    struct store_uploads page = { .truncated = true };
    struct store_uploads_opts opts = { 0 };
    struct open_uploads open = { 0 };
    arena_init(&last, 0);
    while (page.truncated) {
        AUTO(arena_done) struct arena arena;
        arena_init(&arena, 0);
        enum status status = store_upload_list(store, &opts, &arena, &page, err);
        if (status == E_UNSUPPORTED) {
            return OK;
        }
        TRY(status);
        if (opts.after_key.len == 0) { /* each page tells all of them */
            tell_unreadable(doctor, &page);
        }
        for (size_t i = 0; i < page.count; i++) {
            if (upload_look(doctor, store, &page.items[i], &open) != OK) {
                return err_no_memory(err);
            }
        }
        if (page.truncated) {
            arena_reset(&last);
            opts.after_key = arena_str(&last, page.items[page.count - 1].key);
            opts.after_id = arena_str(&last, page.items[page.count - 1].id);
            if (opts.after_key.ptr == NULL || opts.after_id.ptr == NULL) {
                return err_no_memory(err);
            }
        }
    }
    return sum_up(doctor, &open, err);
}
