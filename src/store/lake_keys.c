/*
 * Where a page holds closed keys they stand together: the list goes on behind their folder, in
 * another page, until there are as many as were asked for.
 */
#include "store/lake_keys.h"

/* With a text above all keys of each: 0xff is in no UTF-8. */
static const struct {
    struct str start, above;
} closed[] = {
    { STR_INIT("_buckets/"), STR_INIT("_buckets/\xff") },
    { STR_INIT("_lake/"), STR_INIT("_lake/\xff") },
};

bool lake_prefix_closed(struct str prefix)
{
    for (size_t i = 0; i < ARRAY_LEN(closed); i++) {
        if (str_starts(prefix, closed[i].start)) {
            return true;
        }
    }
    return false;
}

bool lake_key_closed(struct str key)
{
    for (size_t i = 0; i < ARRAY_LEN(closed); i++) {
        if (str_eq(key, str_take(closed[i].start, closed[i].start.len - 1))) {
            return true;
        }
    }
    return lake_prefix_closed(key);
}

bool lake_key_of_tables(struct str key)
{
    return str_starts(key, STR("wh/")) || str_eq(key, STR("wh"));
}

/** The first closed line of a page; .ptr NULL: none. */
static struct str first_closed(const struct store_list *page)
{
    struct str first = { NULL, 0 };
    for (size_t i = 0; i < page->object_count && first.ptr == NULL; i++) {
        if (lake_key_closed(page->objects[i].key)) {
            first = page->objects[i].key;
        }
    }
    for (size_t i = 0; i < page->prefix_count; i++) {
        /* a common prefix "_lake" may stand for "_lakeside" */
        if (lake_prefix_closed(page->prefixes[i]) &&
            (first.ptr == NULL || str_cmp(page->prefixes[i], first) < 0)) {
            first = page->prefixes[i];
            break;
        }
    }
    return first;
}

/** What to go on behind, so that nothing closed that starts like this comes again. */
static struct str behind(struct str start)
{
    for (size_t i = 0; i < ARRAY_LEN(closed); i++) {
        if (str_starts(start, closed[i].start)) {
            return closed[i].above;
        }
    }
    return start;
}

/** Add the lines below `end` (all when it has no .ptr). */
static size_t take(struct store_list *out, const struct store_list *page, struct str end)
{
    size_t before = out->object_count + out->prefix_count;
    for (size_t i = 0; i < page->object_count; i++) {
        if (end.ptr == NULL || str_cmp(page->objects[i].key, end) < 0) {
            out->objects[out->object_count++] = page->objects[i];
        }
    }
    for (size_t i = 0; i < page->prefix_count; i++) {
        if (end.ptr == NULL || str_cmp(page->prefixes[i], end) < 0) {
            out->prefixes[out->prefix_count++] = page->prefixes[i];
        }
    }
    return out->object_count + out->prefix_count - before;
}

enum status lake_list(struct store *store, const struct store_list_opts *given, struct arena *arena,
                      struct store_list *out, struct err *err)
{
    struct store_list_opts opts = *given;
    struct store_list all = { 0 }, page = { 0 };
    size_t limit = opts.limit != 0 ? opts.limit : 1000;
    opts.limit = limit;
    for (;;) {
        TRY(store_list(store, &opts, arena, &page, err));
        struct str end = first_closed(&page);
        if (end.ptr == NULL && all.objects == NULL) { /* the usual page */
            *out = page;
            return OK;
        }
        if (all.objects == NULL) {
            all.objects = arena_array(arena, limit, sizeof(*all.objects));
            all.prefixes = arena_array(arena, limit, sizeof(*all.prefixes));
        }
        if (all.objects == NULL || all.prefixes == NULL) {
            return err_no_memory(err);
        }
        size_t count = take(&all, &page, end);
        if (end.ptr == NULL) {
            break;
        }
        /* a closed line was on the page: fewer than the limit were taken */
        opts.after = behind(end);
        opts.limit -= count;
    }
    all.truncated = page.truncated;
    all.next = page.next;
    *out = all;
    return OK;
}
