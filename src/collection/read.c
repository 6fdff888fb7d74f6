/*
 * Reading items. A slot is learned under the lock, and what lies under it is read from the file
 * behind a pin: it is not used again meanwhile, even when the item goes.
 *
 * Pages go by the numbers of items, which never change: the page is the smallest numbers above the
 * last one. Rows are looked through in steps, so that no writer waits for a page.
 */
#include "collection/read.h"

#include <stdlib.h>

enum { CHUNKS_A_STEP = 64 };

enum status read_item_locked(struct body *body, uint32_t row, bool with_metadata,
                             struct arena *arena, struct coll_item *out, struct err *err)
{
    const struct ids_row *r = ids_row(&body->ids, row);
    out->id = arena_str(arena, ids_id(r));
    out->metadata = STR_EMPTY;
    if (with_metadata) {
        out->metadata = arena_str(arena, meta_get(body->meta, r->slot));
    }
    return out->id.ptr != NULL && out->metadata.ptr != NULL ? OK : err_no_memory(err);
}

enum status read_vector(struct body *body, uint32_t slot, struct arena *arena, const float **out,
                        struct err *err)
{
    float *vector = arena_array(arena, body->spec.dimension, sizeof *vector);
    if (vector == NULL) {
        return err_no_memory(err);
    }
    TRY(floats_read(&body->floats, slot, vector, err));
    *out = vector;
    return OK;
}

static enum status get_pinned(struct body *body, struct str id, bool with_vector,
                              struct arena *arena, struct coll_item *out, struct err *err)
{
    struct coll_item item = { 0 };
    uint32_t slot = 0;
    pthread_rwlock_rdlock(&body->lock);
    uint32_t row = ids_find(&body->ids, id);
    enum status status = row == IDS_NONE
                             ? err_set(err, E_NOT_FOUND, "id \"%.*s\" is not there", STR_ARG(id))
                             : read_item_locked(body, row, true, arena, &item, err);
    slot = row == IDS_NONE ? 0 : ids_row(&body->ids, row)->slot;
    pthread_rwlock_unlock(&body->lock);
    if (status == OK && with_vector) {
        status = read_vector(body, slot, arena, &item.vector, err);
    }
    if (status == OK) {
        *out = item;
    }
    return status;
}

enum status coll_get(struct coll_service *service, struct str name, struct str id, bool with_vector,
                     struct arena *arena, struct coll_item *out, struct err *err)
{
    AUTO(use_done) struct coll_use use = { 0 };
    struct vec_scratch *scratch = NULL;
    TRY(use_begin(service, name, &use, err));
    TRY(body_scratch_take(use.body, &scratch, err));
    vec_pin(use.body->vec, scratch);
    enum status status = get_pinned(use.body, id, with_vector, arena, out, err);
    vec_unpin(scratch);
    body_scratch_give(use.body, scratch);
    return status;
}

enum status coll_count(struct coll_service *service, struct str name, struct str filter_text,
                       uint64_t *count_out, struct err *err)
{
    AUTO(use_done) struct coll_use use = { 0 };
    struct arena arena;
    struct filter *filter = NULL;
    struct meta_match match = { 0 };
    TRY(use_begin(service, name, &use, err));
    struct body *body = use.body;
    if (filter_text.len == 0) {
        *count_out = atomic_load_explicit(&body->length, memory_order_relaxed);
        return OK;
    }
    arena_init(&arena, SIZE_MAX);
    enum status status = filter_parse(filter_text, &arena, &filter, err);
    if (status == OK) {
        pthread_rwlock_rdlock(&body->lock);
        status = meta_match(body->meta, filter, &arena, &match, err);
        pthread_rwlock_unlock(&body->lock);
    }
    *count_out = status == OK ? match.count : *count_out;
    arena_done(&arena);
    return status;
}

/* --- pages --- */

struct found { /* an item of the page to be */
    uint64_t number;
    uint32_t row;
};

/** A heap with the largest number on top: the smallest `limit` numbers are in it. */
struct page {
    struct found *items;
    size_t count, limit;
    uint64_t after; /* numbers above it */
};

static void sift_down(struct page *page)
{
    size_t at = 0;
    for (size_t child = 1; child < page->count; child = 2 * at + 1) {
        if (child + 1 < page->count && page->items[child + 1].number > page->items[child].number) {
            child++;
        }
        if (page->items[at].number >= page->items[child].number) {
            return;
        }
        struct found swap = page->items[at];
        page->items[at] = page->items[child];
        page->items[child] = swap;
        at = child;
    }
}

static void sift_up(struct page *page)
{
    size_t at = page->count - 1;
    while (at > 0 && page->items[(at - 1) / 2].number < page->items[at].number) {
        struct found swap = page->items[at];
        page->items[at] = page->items[(at - 1) / 2];
        page->items[(at - 1) / 2] = swap;
        at = (at - 1) / 2;
    }
}

static void offer(struct page *page, uint64_t number, uint32_t row)
{
    if (number < page->after) {
        return;
    }
    if (page->count < page->limit) {
        page->items[page->count++] = (struct found){ .number = number, .row = row };
        sift_up(page);
    } else if (number < page->items[0].number) {
        page->items[0] = (struct found){ .number = number, .row = row };
        sift_down(page);
    }
}

/** Guarded by the body's lock. */
static void offer_chunk(const struct ids *ids, size_t chunk, struct page *page)
{
    const struct ids_rows *rows = ids->rows[chunk];
    if (rows->number_max < page->after ||
        (page->count == page->limit && rows->number_min > page->items[0].number)) {
        return;
    }
    for (uint32_t i = 0; i < IDS_CHUNK; i++) {
        if (rows->rows[i].live) {
            offer(page, rows->rows[i].number, (uint32_t)(chunk * IDS_CHUNK + i));
        }
    }
}

static void find_page(struct body *body, struct page *page)
{
    bool more = true;
    for (size_t chunk = 0; more; chunk += CHUNKS_A_STEP) {
        pthread_rwlock_rdlock(&body->lock);
        for (size_t i = chunk; i < chunk + CHUNKS_A_STEP && i < body->ids.row_chunks; i++) {
            offer_chunk(&body->ids, i, page);
        }
        more = chunk + CHUNKS_A_STEP < body->ids.row_chunks;
        pthread_rwlock_unlock(&body->lock);
    }
}

static int by_number(const void *a, const void *b)
{
    const struct found *x = a, *y = b;
    return x->number < y->number ? -1 : x->number > y->number;
}

/** One item of the page, as it is now; *there_out false: it is gone. */
static enum status page_item(struct body *body, const struct found *found,
                             const struct coll_page *page, struct arena *arena,
                             struct coll_item *out, bool *there_out, struct err *err)
{
    enum status status = OK;
    uint32_t slot = 0;
    pthread_rwlock_rdlock(&body->lock);
    const struct ids_row *row = ids_row(&body->ids, found->row);
    *there_out = row->live && row->number == found->number;
    if (*there_out) {
        slot = row->slot;
        status = read_item_locked(body, found->row, true, arena, out, err);
    }
    pthread_rwlock_unlock(&body->lock);
    if (status == OK && *there_out && page->with_vectors) {
        status = read_vector(body, slot, arena, &out->vector, err);
    }
    return status;
}

static enum status read_page(struct body *body, struct page *found, const struct coll_page *page,
                             struct arena *arena, struct coll_item **items_out, size_t *count_out,
                             struct err *err)
{
    struct vec_scratch *scratch = NULL;
    struct coll_item *items = arena_array(arena, found->count, sizeof *items);
    if (items == NULL) {
        return err_no_memory(err);
    }
    TRY(body_scratch_take(body, &scratch, err));
    enum status status = OK;
    size_t count = 0;
    for (size_t i = 0; status == OK && i < found->count; i++) {
        bool there = false;
        vec_pin(body->vec, scratch);
        status = page_item(body, &found->items[i], page, arena, &items[count], &there, err);
        vec_unpin(scratch);
        count += there;
    }
    body_scratch_give(body, scratch);
    *items_out = items;
    *count_out = count;
    return status;
}

enum status coll_items(struct coll_service *service, struct str name, const struct coll_page *page,
                       struct arena *arena, struct coll_item **items_out, size_t *count_out,
                       struct str *next_out, struct err *err)
{
    AUTO(use_done) struct coll_use use = { 0 };
    uint64_t after = 0;
    if (page->limit < 1 || page->limit > COLL_PAGE_MAX) {
        return err_set(err, E_INVALID, "limit is %zu; it goes from 1 to %d", page->limit,
                       COLL_PAGE_MAX);
    }
    if (page->after.len > 0 && !str_to_u64(page->after, &after)) {
        return err_set(err, E_INVALID, "\"after\" is none that a page has given");
    }
    TRY(use_begin(service, name, &use, err));
    struct page found = { .limit = page->limit, .after = after };
    found.items = arena_array(arena, page->limit, sizeof *found.items);
    if (found.items == NULL) {
        return err_no_memory(err);
    }
    find_page(use.body, &found);
    if (found.count > 1) {
        qsort(found.items, found.count, sizeof *found.items, by_number);
    }
    struct str next = STR_EMPTY;
    if (found.count == found.limit) {
        next = arena_printf(arena, "%llu",
                            (unsigned long long)found.items[found.count - 1].number + 1);
        if (next.ptr == NULL) {
            return err_no_memory(err);
        }
    }
    TRY(read_page(use.body, &found, page, arena, items_out, count_out, err));
    *next_out = next;
    return OK;
}
