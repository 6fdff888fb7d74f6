/*
 * One page of a listing. A source is asked for "the smallest key not below a bound"; after an
 * object the bound is just above its key, after a common prefix it is just above everything that
 * starts with it, so a page costs as many seeks as it has lines, however many keys a common prefix
 * hides.
 */
#include "store/list.h"

void list_bound_set(struct list_bound *bound, struct str text)
{
    assert(text.len <= sizeof bound->bytes);
    if (text.len > 0) {
        memmove(bound->bytes, text.ptr, text.len);
    }
    bound->len = text.len;
    bound->end = false;
}

void list_bound_after(struct list_bound *bound, struct str text)
{
    assert(text.len < sizeof bound->bytes);
    list_bound_set(bound, text);
    bound->bytes[bound->len++] = '\0';
}

void list_bound_past(struct list_bound *bound, struct str prefix)
{
    list_bound_set(bound, prefix);
    while (bound->len > 0 && (unsigned char)bound->bytes[bound->len - 1] == 0xff) {
        bound->len--;
    }
    if (bound->len == 0) {
        bound->end = true;
        return;
    }
    bound->bytes[bound->len - 1] = (char)((unsigned char)bound->bytes[bound->len - 1] + 1);
}

/** The common prefix that `key` falls under, or length 0. */
static struct str common_prefix(struct str key, const struct store_list_opts *opts)
{
    if (opts->delimiter.len == 0) {
        return STR_EMPTY;
    }
    size_t at = str_find(str_skip(key, opts->prefix.len), opts->delimiter);
    if (at == SIZE_MAX) {
        return STR_EMPTY;
    }
    return str_take(key, opts->prefix.len + at + opts->delimiter.len);
}

static void first_bound(struct list_bound *bound, const struct store_list_opts *opts)
{
    if (opts->after.len == 0 || str_cmp(opts->after, opts->prefix) < 0) {
        list_bound_set(bound, opts->prefix);
        return;
    }
    /* A page that ended with a common prefix goes on behind all that it hides. */
    if (str_starts(opts->after, opts->prefix) &&
        str_eq(common_prefix(opts->after, opts), opts->after)) {
        list_bound_past(bound, opts->after);
        return;
    }
    list_bound_after(bound, opts->after);
}

struct page {
    const struct list_source *source;
    const struct store_list_opts *opts;
    struct arena *arena;
    struct store_list list;
    size_t object_cap, prefix_cap;
    struct str last;
};

/** `items` grown to hold one more; the old array stays in the arena, which doubling bounds to twice
 * the need. */
static void *grown(struct arena *arena, void *items, size_t count, size_t *cap, size_t size)
{
    if (count < *cap) {
        return items;
    }
    size_t cap_new = *cap == 0 ? 64 : *cap * 2;
    void *more = arena_array(arena, cap_new, size);
    if (more == NULL) {
        return NULL;
    }
    if (count > 0) {
        memcpy(more, items, count * size);
    }
    *cap = cap_new;
    return more;
}

static enum status add_prefix(struct page *page, struct str prefix, struct err *err)
{
    struct str *items = grown(page->arena, page->list.prefixes, page->list.prefix_count,
                              &page->prefix_cap, sizeof *items);
    struct str copy = arena_str(page->arena, prefix);
    if (items == NULL || copy.ptr == NULL) {
        return err_no_memory(err);
    }
    page->list.prefixes = items;
    items[page->list.prefix_count++] = copy;
    page->last = copy;
    return OK;
}

static enum status add_object(struct page *page, struct str key, struct err *err)
{
    struct store_info info = { 0 };
    bool there = false;
    struct str copy = arena_str(page->arena, key);
    if (copy.ptr == NULL) {
        return err_no_memory(err);
    }
    TRY(page->source->info(page->source->ctx, &info, &there, err));
    if (!there) {
        return OK;
    }
    struct store_info *items = grown(page->arena, page->list.objects, page->list.object_count,
                                     &page->object_cap, sizeof *items);
    if (items == NULL) {
        return err_no_memory(err);
    }
    page->list.objects = items;
    info.key = copy;
    items[page->list.object_count++] = info;
    page->last = copy;
    return OK;
}

enum status list_page(const struct list_source *source, const struct store_list_opts *opts,
                      struct arena *arena, struct store_list *out, struct err *err)
{
    struct page page = { .source = source, .opts = opts, .arena = arena };
    struct list_bound bound;
    first_bound(&bound, opts);
    while (!bound.end) {
        struct str key;
        bool found = false;
        TRY(source->seek(source->ctx, str_from(bound.bytes, bound.len), &key, &found, err));
        if (!found || !str_starts(key, opts->prefix)) {
            break;
        }
        if (page.list.object_count + page.list.prefix_count == opts->limit) {
            page.list.truncated = true;
            page.list.next = page.last;
            break;
        }
        struct str prefix = common_prefix(key, opts);
        if (prefix.len > 0) {
            list_bound_past(&bound, prefix);
            TRY(add_prefix(&page, prefix, err));
        } else {
            list_bound_after(&bound, key);
            TRY(add_object(&page, key, err));
        }
    }
    *out = page.list;
    return OK;
}
