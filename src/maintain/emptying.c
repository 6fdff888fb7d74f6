/*
 * Emptying the trash: what a trash object names goes once its grace is over, by the store's clock
 * and the longer of the grace it was promised and the one in force now.
 *
 * Everything is looked up once more before it goes. What is named by the table (or, for orphans, by
 * any table) stays, though its trash object goes; a folder only goes when no pointer that keeps its
 * files lies in it.
 *
 * What a commit or an expiry has made unreferenced was named by the table's metadata, and other
 * programs write that: it may name any object. So of it only goes what lies in the table's own
 * folder.
 */
#include "base/mem.h"
#include "catalog/mint.h"
#include "catalog/refs.h"
#include "catalog/trash.h"
#include "maintain/sweep_priv.h"

enum { KEYS_MAX = 100000, OBJECTS_MAX = 10000, TRASH_BYTES_MAX = 512 * 1024 * 1024 };

/** Trash objects of one table that are due, and what they name. */
struct heap {
    struct sweep_run *run;
    struct arena arena; /* reset when it was emptied */
    struct str uuid;
    enum trash_kind kind;
    struct map keys;
    struct str objects[OBJECTS_MAX];
    size_t object_count;
};

static void heap_clear(struct heap *heap)
{
    map_done(&heap->keys);
    map_init(&heap->keys);
    arena_reset(&heap->arena);
    heap->object_count = 0;
    heap->uuid = STR_EMPTY;
}

static enum status delete_keys(struct heap *heap, struct err *err)
{
    size_t pos = 0;
    for (struct map_entry *at; (at = map_next(&heap->keys, &pos)) != NULL;) {
        TRY(run_delete(heap->run, at->key, -1, err));
    }
    for (size_t i = 0; i < heap->object_count; i++) {
        TRY(run_delete(heap->run, heap->objects[i], -1, err));
    }
    return OK;
}

/** Strike what is still named. *may_out false: the table's files are not to be touched now. */
static enum status check_keys(struct heap *heap, bool *may_out, struct err *err)
{
    struct sweep_run *run = heap->run;
    const struct care_table *table = run_table(run, heap->uuid);
    *may_out = true;
    if (table != NULL && care_names_files(table)) {
        TRY(run_gc_allowed(run, table, may_out, err));
    }
    if (!*may_out) {
        return OK;
    }
    if (heap->kind == TRASH_ORPHANS) {
        return run_strike_all(run, &heap->keys, err);
    }
    bool files = heap->kind == TRASH_FILES; /* else only keys of metadata are among them */
    return table != NULL && care_names_files(table)
               ? run_strike(run, table, files, &heap->keys, err)
               : OK;
}

static enum status heap_empty(struct heap *heap, struct err *err)
{
    bool may = false;
    enum status status = OK;
    struct err why = { 0 };
    if (heap->object_count > 0) {
        status = check_keys(heap, &may, &why);
        status = status == OK && may ? delete_keys(heap, &why) : status;
    }
    heap_clear(heap);
    status = run_forgive(heap->run, status, &why);
    return status == OK ? OK : err_set(err, status, "%s", why.msg);
}

/* --- a dropped table --- */

static enum status delete_listed(void *ctx, const struct store_info *info, struct err *err)
{
    return run_delete(ctx, info->key, (int64_t)info->size, err);
}

/** Does any pointer that keeps its files have its metadata in this folder? */
static enum status folder_is_used(struct sweep_run *run, struct str prefix, bool *used_out,
                                  struct err *err)
{
    *used_out = false;
    for (size_t i = 0; i < run->table_count && !*used_out; i++) {
        struct str key;
        if (care_names_files(&run->tables[i])) {
            TRY(locate_key(run->sweep->reader->locate, run->tables[i].metadata_location,
                           &run->arena, &key, err));
            *used_out = str_starts(key, prefix);
        }
    }
    return OK;
}

static enum status purge(struct sweep_run *run, const struct trash *trash, struct str object,
                         struct err *err)
{
    const struct care_table *table = run_table(run, trash->uuid);
    bool used = table != NULL && care_names_files(table);
    if (!used) {
        TRY(folder_is_used(run, trash->prefix, &used, err));
    }
    if (!used) {
        TRY(run_list(run, trash->prefix, delete_listed, run, err));
    }
    return run_delete(run, object, -1, err);
}

/* --- what is due --- */

/** Is that the folder of this table, and of no other that keeps its files? */
static bool is_own_folder(const struct sweep_run *run, struct str uuid, struct str folder)
{
    bool own = mint_is_ours(STR_EMPTY, uuid, folder), others = false;
    struct arena arena;
    arena_init(&arena, 0);
    for (size_t i = 0; i < run->table_count && !others; i++) {
        const struct care_table *table = &run->tables[i];
        struct str at;
        if (care_names_files(table) &&
            locate_table(run->sweep->reader->locate, table->metadata_location, &arena, &at, NULL) ==
                OK &&
            str_eq(at, folder)) {
            own = own || str_eq(table->uuid, uuid);
            others = !str_eq(table->uuid, uuid);
        }
    }
    arena_done(&arena);
    return own && !others;
}

/** May this key be deleted for what this trash object says? */
static bool may_name(const struct sweep_run *run, const struct trash *trash, struct str key,
                     struct str *last, bool *last_own)
{
    struct str folder = STR_EMPTY;
    if (trash->kind == TRASH_FILES) {
        const struct care_table *table = run_table(run, trash->uuid);
        struct str own = table == NULL ? STR_EMPTY : table->location;
        bool inside = own.len > 0 && key.len > own.len && str_starts(key, own) &&
                      key.ptr[own.len] == '/';
        folder = inside ? own : STR_EMPTY;
    } else if (trash->kind == TRASH_EXPIRED) {
        size_t end = str_find(key, STR("/metadata/"));
        folder = str_take(key, end == SIZE_MAX ? 0 : end);
    } else {
        return true;
    }
    if (!str_eq(folder, *last)) { /* nearly always all are in one */
        *last = folder;
        *last_own = is_own_folder(run, trash->uuid, folder);
    }
    return *last_own;
}

static enum status take_in(struct heap *heap, const struct trash *trash, struct str object,
                           struct err *err)
{
    struct str last = STR_EMPTY; /* a key without such a folder is nobody's */
    bool last_own = false;
    for (size_t i = 0; i < trash->key_count; i++) {
        if (may_name(heap->run, trash, trash->keys[i], &last, &last_own) &&
            map_put(&heap->keys, trash->keys[i], heap, NULL) != OK) {
            return err_no_memory(err);
        }
    }
    struct str copy = arena_str(&heap->arena, object);
    struct str uuid = heap->object_count == 0 ? arena_str(&heap->arena, trash->uuid) : heap->uuid;
    if (copy.ptr == NULL || uuid.ptr == NULL) {
        return err_no_memory(err);
    }
    heap->uuid = uuid;
    heap->kind = trash->kind;
    heap->objects[heap->object_count++] = copy;
    return OK;
}

static enum status take_trash(struct heap *heap, const struct trash *trash, struct str object,
                              struct err *err)
{
    bool other = !str_eq(heap->uuid, trash->uuid) || heap->kind != trash->kind;
    if (other || heap->object_count == OBJECTS_MAX || heap->keys.count >= KEYS_MAX) {
        TRY(heap_empty(heap, err));
    }
    return trash->kind == TRASH_PURGE ? purge(heap->run, trash, object, err)
                                      : take_in(heap, trash, object, err);
}

static enum status look_at_trash(void *ctx, const struct store_info *info, struct err *err)
{
    struct heap *heap = ctx;
    struct sweep_run *run = heap->run;
    int64_t age = run->now - info->modified_ms;
    if (age < run->sweep->opts.grace_ms) {
        return OK;
    }
    struct trash trash;
    struct arena arena;
    arena_init(&arena, TRASH_BYTES_MAX);
    TRY(run_step(run, err));
    struct err why = { 0 };
    enum status status = trash_read(run->sweep->opts.store, info->key, &arena, &trash, &why);
    if (status == OK && age >= trash.grace_ms) {
        status = take_trash(heap, &trash, info->key, &why);
    }
    arena_done(&arena);
    if (status == E_NOT_FOUND) {
        return OK; /* another sweep was here */
    }
    status = run_forgive(run, status, &why);
    return status == OK ? OK : err_set(err, status, "%s", why.msg);
}

enum status sweep_trash(struct sweep_run *run, struct err *err)
{
    struct heap *heap = mem_zalloc(sizeof(*heap));
    if (heap == NULL) {
        return err_no_memory(err);
    }
    heap->run = run;
    heap->uuid = STR_EMPTY;
    arena_init(&heap->arena, TRASH_BYTES_MAX);
    map_init(&heap->keys);
    enum status status = run_list(run, TRASH_PREFIX, look_at_trash, heap, err);
    status = status == OK ? heap_empty(heap, err) : status;
    map_done(&heap->keys);
    arena_done(&heap->arena);
    mem_free(heap);
    return status;
}
