/*
 * Listing pointers. Percent-encoding does not keep byte order (`%` sorts before letters), so all
 * names of a namespace are collected and sorted by their printed form; only the pointers of the
 * page that is asked for are read, and those that have not changed since (by ETag) not even that.
 */
#include "catalog/names.h"

#include <stdlib.h>

#include "base/mem.h"
#include "catalog/pin.h"
#include "catalog/table_name.h"

enum { POINTER_BYTES_MAX = 16 * 1024 * 1024 };

static int compare_entries(const void *a, const void *b)
{
    return str_cmp(((const struct name_entry *)a)->text, ((const struct name_entry *)b)->text);
}

static enum status add_page(struct arena *arena, struct str prefix, const struct store_list *page,
                            struct names *out, size_t *cap, struct err *err)
{
    if (out->count + page->object_count > *cap) {
        *cap = 2 * (out->count + page->object_count);
        struct name_entry *entries = arena_array(arena, *cap, sizeof(*entries));
        if (entries == NULL) {
            return err_no_memory(err);
        }
        if (out->count > 0) {
            memcpy(entries, out->entries, out->count * sizeof(*entries));
        }
        out->entries = entries;
    }
    for (size_t i = 0; i < page->object_count; i++) {
        struct name_entry *entry = &out->entries[out->count];
        const struct store_info *info = &page->objects[i];
        bool is_pointer = false;
        *entry = (struct name_entry){ .key = info->key, .etag_weak = info->etag_weak };
        memcpy(entry->etag, info->etag, sizeof(entry->etag));
        TRY(pointer_key_name(arena, prefix, info->key, &is_pointer, &entry->name, err));
        if (is_pointer) {
            TRY(table_name_text(&entry->name, arena, &entry->text, err));
            out->count++;
        }
    }
    return OK;
}

enum status names_list(struct local *local, struct str ns, struct arena *arena, struct names *out,
                       struct err *err)
{
    struct names names = { 0 };
    struct str all, prefix;
    size_t cap = 0;
    TRY(pointer_prefix(arena, local->warehouse, &all, err));
    prefix = all;
    if (ns.len > 0) {
        TRY(pointer_ns_prefix(arena, local->warehouse, ns, &prefix, err));
    }
    struct store_list_opts opts = { .prefix = prefix, .limit = STORE_LIST_MAX };
    struct store_list page = { .truncated = true };
    while (page.truncated) {
        page = (struct store_list){ 0 };
        TRY(store_list(local->store, &opts, arena, &page, err));
        TRY(add_page(arena, all, &page, &names, &cap, err));
        opts.after = page.next;
    }
    if (names.count > 0) {
        qsort(names.entries, names.count, sizeof(*names.entries), compare_entries);
    }
    *out = names;
    return OK;
}

/* --- summaries by ETag --- */

struct kept_summary {
    struct arena arena;
    bool live;
    bool passing; /* what it says depends on another object: not to be kept */
    struct table_summary summary;
};

static void kept_done(void *value)
{
    struct kept_summary *kept = value;
    arena_done(&kept->arena);
    mem_free(kept);
}

static enum status read_summary(struct local *local, const struct name_entry *entry,
                                struct kept_summary *kept, struct err *err)
{
    struct arena arena;
    arena_init(&arena, 4 * POINTER_BYTES_MAX);
    struct local_base base;
    enum status status = local_read_pointer(local, entry->key, &arena, &base, err);
    if (status == OK) {
        kept->live = base.live;
        kept->passing = base.renaming || base.held;
        status = kept->live
                     ? table_summary_copy(&kept->arena, &base.pointer.table, &kept->summary, err)
                     : OK;
    }
    arena_done(&arena);
    return status;
}

enum status names_summary(struct local *local, const struct name_entry *entry, struct arena *arena,
                          bool *live_out, struct table_summary *out, struct err *err)
{
    struct cache *cache = local->base.reader->cache;
    struct str key = arena_printf(arena, "p%s:%.*s", entry->etag, STR_ARG(entry->key));
    if (key.ptr == NULL) {
        return err_no_memory(err);
    }
    /* A weak tag (a file that somebody else wrote) or none says too little to trust what is
     * kept. */
    bool may_keep = entry->etag[0] != '\0' && !entry->etag_weak;
    struct cache_item *item = may_keep ? cache_get(cache, key) : NULL;
    struct kept_summary *kept = item == NULL ? mem_zalloc(sizeof(*kept)) : item->value;
    if (kept == NULL) {
        return err_no_memory(err);
    }
    enum status status = OK;
    if (item == NULL) {
        arena_init(&kept->arena, 1024 * 1024);
        status = read_summary(local, entry, kept, err);
    }
    if (status == OK) {
        *live_out = kept->live;
        status = kept->live ? table_summary_copy(arena, &kept->summary, out, err) : OK;
    }
    if (item != NULL) {
        cache_release(item);
    } else if (status == OK && may_keep && !kept->passing) {
        /* It may be newer than the tag of the listing. Then it is kept under an old tag that no
         * listing will show again. */
        if (cache_put(cache, key, kept, kept->arena.used_bytes + sizeof(*kept), kept_done, &item,
                      NULL) == OK) {
            cache_release(item);
        }
    } else {
        kept_done(kept);
    }
    return status;
}
