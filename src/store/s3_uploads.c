/*
 * The list of open uploads in parts. Records lie in the order of their beginning, and a list is in
 * that of keys: so all are looked at for each page, a thousand at a time, and the first ones kept.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/encode.h"
#include "store/s3_parts.h"

enum status s3_upload_of(struct s3_store *s3, const struct store_info *info, struct arena *arena,
                         struct store_upload *out, struct err *err)
{
    struct str name = str_skip(info->key, sizeof S3_OPEN_PREFIX - 1);
    struct str id = str_split(&name, '.');
    char digits[13] = "";
    *out = (struct store_upload){ 0 };
    if (info->size == 0 || id.len < sizeof digits - 1 || name.len == 0) {
        return OK; /* ended */
    }
    (void)snprintf(digits, sizeof digits, "%.12s", id.ptr);
    out->started_ms = strtoll(digits, NULL, 16);
    if (!str_starts(name, STR("~"))) {
        uint8_t *key = arena_alloc(arena, name.len / 2 + 1);
        if (key == NULL) {
            return err_no_memory(err);
        }
        out->key = str_from((const char *)key, name.len / 2);
        out->id = hex_decode(name, key, name.len / 2) ? id : STR_EMPTY;
        return OK;
    }
    struct store_object *object = NULL;
    struct s3_record record;
    enum status status = s3_open(&s3->base, info->key, &object, err);
    if (status == E_NOT_FOUND) {
        return OK; /* meanwhile */
    }
    TRY(status);
    status = s3_record_take(object, info->key, arena, &record, err);
    store_object_close(object);
    TRY(status);
    out->key = record.key;
    out->id = record.state != S3_RECORD_ENDED ? id : STR_EMPTY;
    return OK;
}

static int upload_compare(const void *a, const void *b)
{
    const struct store_upload *x = a, *y = b;
    int order = str_cmp(x->key, y->key);
    return order != 0 ? order : str_cmp(x->id, y->id);
}

/* --- the first ones --- */

/** What is kept of the records looked at so far: at most one more than are wanted. */
struct first_ones {
    const struct store_uploads_opts *opts;
    struct store_upload *items; /* in order; in the arena that `now` names */
    size_t count;
    struct arena arenas[2];
    unsigned now;
    size_t unreadable;
    struct err why;
};

/** The items become those of `all` that come first, in an arena of their own. */
static enum status keep_first(struct first_ones *first, struct store_upload *all, size_t count,
                              struct err *err)
{
    struct arena *arena = &first->arenas[1 - first->now];
    size_t keep = count < first->opts->limit + 1 ? count : first->opts->limit + 1;
    struct store_upload *items = arena_array(arena, keep + 1, sizeof *items);
    if (items == NULL) {
        return err_no_memory(err);
    }
    if (count > 0) {
        qsort(all, count, sizeof *all, upload_compare);
    }
    for (size_t i = 0; i < keep; i++) {
        items[i] = (struct store_upload){ arena_str(arena, all[i].key), arena_str(arena, all[i].id),
                                          all[i].started_ms };
        if (items[i].key.ptr == NULL || items[i].id.ptr == NULL) {
            return err_no_memory(err);
        }
    }
    arena_reset(&first->arenas[first->now]);
    first->now = 1 - first->now;
    first->items = items;
    first->count = keep;
    return OK;
}

static enum status take_page(struct s3_store *s3, struct first_ones *first,
                             const struct store_list *page, struct arena *arena, struct err *err)
{
    size_t count = first->count;
    struct store_upload *all = arena_array(arena, count + page->object_count + 1, sizeof *all);
    if (all == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < count; i++) {
        all[i] = first->items[i];
    }
    for (size_t i = 0; i < page->object_count; i++) {
        struct store_upload *upload = &all[count];
        struct err why = { 0 };
        enum status status = s3_upload_of(s3, &page->objects[i], arena, upload, &why);
        if (s3_record_unreadable(status)) {
            first->why = first->unreadable++ == 0 ? why : first->why;
            continue;
        }
        if (status != OK) {
            return err_set(err, status, "%s", why.msg);
        }
        count += upload->id.len > 0 && store_upload_wanted(first->opts, upload->key, upload->id);
    }
    return keep_first(first, all, count, err);
}

static enum status take_all(struct s3_store *s3, struct first_ones *first, struct err *err)
{
    struct store_list_opts list = { .prefix = STR(S3_OPEN_PREFIX), .limit = S3_LIST_MAX };
    char after[STORE_KEY_MAX];
    struct arena arena;
    enum status status = OK;
    arena_init(&arena, 0);
    for (bool more = true; more && status == OK;) {
        struct store_list page = { 0 };
        status = s3_list(&s3->base, &list, &arena, &page, err);
        if (status == OK) {
            status = take_page(s3, first, &page, &arena, err);
        }
        more = page.truncated;
        list.after = s3_page_end(&page, after);
        arena_reset(&arena);
    }
    arena_done(&arena);
    return status;
}

struct str s3_page_end(const struct store_list *page, char text[STORE_KEY_MAX])
{
    struct str next = str_take(page->next, STORE_KEY_MAX);
    if (next.len > 0) {
        memcpy(text, next.ptr, next.len);
    }
    return str_from(text, next.len);
}

static enum status copy_out(const struct first_ones *first, struct arena *arena,
                            struct store_uploads *out, struct err *err)
{
    size_t count = first->count < first->opts->limit ? first->count : first->opts->limit;
    struct store_upload *items = arena_array(arena, count + 1, sizeof *items);
    struct str why = first->unreadable > 0 ? arena_str(arena, str_of(first->why.msg)) : STR("");
    bool fine = items != NULL && why.ptr != NULL;
    for (size_t i = 0; fine && i < count; i++) {
        const struct store_upload *upload = &first->items[i];
        items[i] = (struct store_upload){ arena_str(arena, upload->key),
                                          arena_str(arena, upload->id), upload->started_ms };
        fine = items[i].key.ptr != NULL && items[i].id.ptr != NULL;
    }
    if (!fine) {
        return err_no_memory(err);
    }
    *out = (struct store_uploads){ .items = items,
                                   .count = count,
                                   .truncated = first->count > count,
                                   .unreadable = first->unreadable,
                                   .why = why };
    return OK;
}

enum status s3_uploads_list(struct store *store, const struct store_uploads_opts *opts,
                            struct arena *arena, struct store_uploads *out, struct err *err)
{
    struct first_ones first = { .opts = opts };
    arena_init(&first.arenas[0], 0);
    arena_init(&first.arenas[1], 0);
    enum status status = take_all((struct s3_store *)store, &first, err);
    if (status == OK) {
        status = copy_out(&first, arena, out, err);
    }
    arena_done(&first.arenas[0]);
    arena_done(&first.arenas[1]);
    return status;
}
