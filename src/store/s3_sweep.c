/* The sweep of uploads in parts that nobody will end. s3_parts.h has the idea. A record that cannot
 * be read is counted and left alone: the others are not the less swept. */
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
                                int64_t before_ms, struct store_swept *out, struct err *err)
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
        status = s3_parts_drop_idle(s3, &ref, err);
        out->dropped += status == OK;
        status = status == E_NOT_FOUND ? OK : status;
    }
    arena_done(&arena);
    return status;
}

static enum status sweep_page(struct s3_store *s3, const struct store_list *page, int64_t before_ms,
                              struct store_swept *out, struct err *err)
{
    for (size_t i = 0; i < page->object_count; i++) {
        struct err why = { 0 };
        enum status status = sweep_record(s3, &page->objects[i], before_ms, out, &why);
        if (s3_record_unreadable(status)) {
            out->why = out->unreadable++ == 0 ? why : out->why;
        } else if (status != OK) {
            return err_set(err, status, "%s", why.msg);
        }
    }
    return OK;
}

/** Parts whose record is gone: of a complete that was killed, or sent while it ended. */
static enum status sweep_orphans(struct s3_store *s3, const struct store_list *page,
                                 int64_t before_ms, struct arena *arena, struct err *err)
{
    for (size_t i = 0; i < page->prefix_count; i++) {
        struct str id = str_skip(page->prefixes[i], sizeof S3_PARTS_PREFIX - 1);
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
    return OK;
}

enum status s3_parts_sweep(struct store *store, int64_t before_ms, struct store_swept *out,
                           struct err *err)
{
    struct s3_store *s3 = (struct s3_store *)store;
    const struct store_list_opts kinds[] = {
        { .prefix = STR_INIT(S3_OPEN_PREFIX), .limit = S3_LIST_MAX },
        { .prefix = STR_INIT(S3_PARTS_PREFIX), .delimiter = STR_INIT("/"), .limit = S3_LIST_MAX },
    };
    struct arena arena;
    enum status status = s3_may_write(s3, err);
    arena_init(&arena, 0);
    for (size_t kind = 0; kind < ARRAY_LEN(kinds) && status == OK; kind++) {
        struct store_list_opts opts = kinds[kind];
        char after[STORE_KEY_MAX];
        for (bool more = true; more && status == OK;) {
            struct store_list page = { 0 };
            status = s3_list(&s3->base, &opts, &arena, &page, err);
            if (status == OK) {
                status = sweep_page(s3, &page, before_ms, out, err);
            }
            if (status == OK) {
                status = sweep_orphans(s3, &page, before_ms, &arena, err);
            }
            more = page.truncated;
            opts.after = s3_page_end(&page, after);
            arena_reset(&arena);
        }
    }
    arena_done(&arena);
    return status;
}
