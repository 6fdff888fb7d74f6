/* The sweep of uploads in parts that nobody will end. s3_parts.h has the idea. */
#include "store/s3_parts.h"

/** Has nothing happened in it since? */
static enum status idle(struct s3_store *s3, const struct store_upload *upload,
                        const struct store_info *record, int64_t before_ms, bool *out,
                        struct err *err)
{
    struct arena arena;
    struct s3_part *parts = NULL;
    size_t count = 0;
    bool more = false;
    *out = record->modified_ms <= before_ms;
    if (!*out) {
        return OK;
    }
    arena_init(&arena, 0);
    enum status status = s3_parts_scan(s3, upload->id, 0, STORE_PARTS_MAX, &arena, &parts, &count,
                                       &more, err);
    for (size_t i = 0; status == OK && i < count; i++) {
        *out = *out && parts[i].modified_ms <= before_ms;
    }
    arena_done(&arena);
    return status;
}

static enum status sweep_record(struct s3_store *s3, const struct store_info *record,
                                int64_t before_ms, size_t *count_out, struct err *err)
{
    struct arena arena;
    struct store_upload upload;
    bool is_idle = false;
    arena_init(&arena, 0);
    enum status status = s3_upload_of(s3, record, &arena, &upload, err);
    if (status == OK && upload.id.len > 0) {
        status = idle(s3, &upload, record, before_ms, &is_idle, err);
    } else if (status == OK && record->size == 0) { /* whoever ended it has died over it */
        (void)!s3_remove(&s3->base, record->key, STR_EMPTY, NULL);
    }
    if (status == OK && is_idle) {
        const struct store_upload_ref ref = { upload.key, upload.id };
        status = s3_parts_abort(&s3->base, &ref, err);
        *count_out += status == OK;
        status = status == E_NOT_FOUND ? OK : status;
    }
    arena_done(&arena);
    return status;
}

/** Parts whose record is gone: of a complete that was killed, or sent while it ended. */
static enum status sweep_orphans(struct s3_store *s3, int64_t before_ms, struct arena *arena,
                                 struct err *err)
{
    struct store_list_opts opts = { .prefix = STR(S3_PARTS_PREFIX),
                                    .delimiter = STR("/"),
                                    .limit = S3_LIST_MAX };
    for (bool more = true; more;) {
        struct store_list page;
        TRY(s3_list(&s3->base, &opts, arena, &page, err));
        for (size_t i = 0; i < page.prefix_count; i++) {
            struct str id = str_skip(page.prefixes[i], sizeof S3_PARTS_PREFIX - 1);
            struct store_list_opts record = { .limit = 1 };
            struct store_list found;
            id.len--; /* the slash */
            record.prefix = arena_printf(arena, S3_OPEN_PREFIX "%.*s.", STR_ARG(id));
            if (record.prefix.ptr == NULL) {
                return err_no_memory(err);
            }
            TRY(s3_list(&s3->base, &record, arena, &found, err));
            if (found.object_count == 0) {
                s3_parts_drop(s3, id, before_ms);
            }
        }
        opts.after = page.next;
        more = page.truncated;
    }
    return OK;
}

enum status s3_parts_sweep(struct store *store, int64_t before_ms, size_t *count_out,
                           struct err *err)
{
    struct s3_store *s3 = (struct s3_store *)store;
    struct store_list_opts opts = { .prefix = STR(S3_OPEN_PREFIX), .limit = STORE_LIST_MAX };
    struct arena arena;
    enum status status = s3_may_write(s3, err);
    arena_init(&arena, 0);
    for (bool more = status == OK; more;) {
        struct store_list page = { 0 };
        status = s3_list(&s3->base, &opts, &arena, &page, err);
        for (size_t i = 0; status == OK && i < page.object_count; i++) {
            status = sweep_record(s3, &page.objects[i], before_ms, count_out, err);
        }
        opts.after = page.next;
        more = status == OK && page.truncated;
    }
    if (status == OK) {
        status = sweep_orphans(s3, before_ms, &arena, err);
    }
    arena_done(&arena);
    return status;
}
