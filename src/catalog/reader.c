/*
 * The reader: bytes of immutable objects -> parsed, shared values.
 *
 * A cache key is a letter for the kind and the URI. What is parsed may point into the bytes it came
 * from, so both live and die in one value.
 */
#include "catalog/reader.h"

#include <unistd.h>

#include "base/mem.h"
#include "catalog/pin.h"

enum {
    OBJECT_BYTES_MAX = 512 * 1024 * 1024,
    PARSED_BYTES_MAX = 1024 * 1024 * 1024,
    CACHE_BYTES_MIN = 64 * 1024 * 1024,
    CACHE_BYTES_MAX = 1024 * 1024 * 1024,
    READ_TRIES = 3
};

static uint64_t default_cache_bytes(void)
{
    uint64_t share = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGE_SIZE) / 64;
    return share < CACHE_BYTES_MIN   ? CACHE_BYTES_MIN
           : share > CACHE_BYTES_MAX ? CACHE_BYTES_MAX
                                     : share;
}

enum status reader_new(struct store *store, uint64_t cache_bytes, struct reader **out,
                       struct err *err)
{
    struct reader *reader = mem_zalloc(sizeof(*reader));
    if (reader == NULL) {
        return err_no_memory(err);
    }
    reader->store = store;
    enum status status = locate_new(store, &reader->locate, err);
    if (status == OK) {
        status = cache_new(cache_bytes == 0 ? default_cache_bytes() : cache_bytes, &reader->cache,
                           err);
    }
    if (status != OK) {
        reader_free(reader);
        return status;
    }
    *out = reader;
    return OK;
}

void reader_free(struct reader *reader)
{
    if (reader != NULL) {
        cache_free(reader->cache);
        locate_free(reader->locate);
        mem_free(reader);
    }
}

/** The whole object behind `uri`. A store that stumbles is asked again: nothing can have
 * changed. */
enum status reader_bytes(struct reader *reader, struct str uri, struct buf *out, struct err *err)
{
    struct arena arena;
    arena_init(&arena, 64 * 1024);
    struct str key;
    enum status status = locate_key(reader->locate, uri, &arena, &key, err);
    for (int i = 0; status == OK; i++) {
        status = store_read(reader->store, key,
                            &(struct store_read_opts){ .bytes_max = OBJECT_BYTES_MAX }, out, NULL,
                            err);
        if ((status != E_UPSTREAM && status != E_TIMEOUT) || i + 1 == READ_TRIES) {
            break;
        }
        status = OK;
    }
    if (status == E_NOT_FOUND) {
        status = err_set(err, E_CORRUPT, "\"%.*s\" is named by a table but is missing",
                         STR_ARG(key));
    }
    arena_done(&arena);
    return status;
}

enum status reader_key(struct arena *arena, char kind, struct str uri, struct str *out,
                       struct err *err)
{
    *out = arena_printf(arena, "%c%.*s", kind, STR_ARG(uri));
    return out->ptr == NULL ? err_no_memory(err) : OK;
}

/* --- metadata --- */

static void metadata_done(void *value)
{
    ice_metadata_unref(value);
}

static enum status metadata_read(struct reader *reader, struct str uri, struct str key,
                                 struct cache_item **out, struct err *err)
{
    AUTO(buf_done) struct buf json;
    buf_init(&json, OBJECT_BYTES_MAX);
    TRY(reader_bytes(reader, uri, &json, err));
    struct ice_metadata *metadata = NULL;
    enum status status = ice_metadata_parse(buf_str(&json), &metadata, err);
    if (status != OK) {
        (void)err_context(err, "\"%.*s\"", STR_ARG(uri));
        return status;
    }
    return cache_put(reader->cache, key, metadata, metadata->arena.used_bytes + 3 * json.len,
                     metadata_done, out, err);
}

enum status reader_metadata(struct reader *reader, struct str uri, const struct ice_metadata **out,
                            struct err *err)
{
    struct arena arena;
    arena_init(&arena, 64 * 1024);
    struct str key;
    enum status status = reader_key(&arena, 'm', uri, &key, err);
    struct cache_item *item = NULL;
    if (status == OK) {
        item = cache_get(reader->cache, key);
    }
    if (status == OK && item == NULL) {
        status = metadata_read(reader, uri, key, &item, err);
    }
    if (status == OK) {
        *out = ice_metadata_ref(item->value);
        cache_release(item);
    }
    arena_done(&arena);
    return status;
}

void reader_keep_metadata(struct reader *reader, struct str uri,
                          const struct ice_metadata *metadata)
{
    struct arena arena;
    arena_init(&arena, 64 * 1024);
    struct str key;
    struct cache_item *item = NULL;
    if (reader_key(&arena, 'm', uri, &key, NULL) == OK &&
        cache_put(reader->cache, key, ice_metadata_ref(metadata),
                  metadata->arena.used_bytes + 3 * metadata->json_bytes, metadata_done, &item,
                  NULL) == OK) {
        cache_release(item);
    }
    arena_done(&arena);
}

/* --- manifest lists and manifests --- */

static void list_done(void *value)
{
    struct reader_list *list = value;
    arena_done(&list->arena);
    buf_done(&list->bytes);
    mem_free(list);
}

static enum status list_read(struct reader *reader, struct str uri, struct str key,
                             struct cache_item **out, struct err *err)
{
    struct reader_list *list = mem_zalloc(sizeof(*list));
    if (list == NULL) {
        return err_no_memory(err);
    }
    arena_init(&list->arena, PARSED_BYTES_MAX);
    buf_init(&list->bytes, OBJECT_BYTES_MAX);
    enum status status = reader_bytes(reader, uri, &list->bytes, err);
    if (status == OK) {
        status = ice_manifest_list_read(&list->arena, buf_str(&list->bytes), &list->rows,
                                        &list->count, err);
        if (status != OK) {
            (void)err_context(err, "\"%.*s\"", STR_ARG(uri));
        }
    }
    if (status != OK) {
        list_done(list);
        return status;
    }
    return cache_put(reader->cache, key, list, list->arena.used_bytes + list->bytes.cap, list_done,
                     out, err);
}

enum status reader_list(struct reader *reader, struct str uri, struct cache_item **item_out,
                        const struct reader_list **out, struct err *err)
{
    struct arena arena;
    arena_init(&arena, 64 * 1024);
    struct str key;
    enum status status = reader_key(&arena, 'l', uri, &key, err);
    struct cache_item *item = status == OK ? cache_get(reader->cache, key) : NULL;
    if (status == OK && item == NULL) {
        status = list_read(reader, uri, key, &item, err);
    }
    if (status == OK) {
        *item_out = item;
        *out = item->value;
    }
    arena_done(&arena);
    return status;
}

static void manifest_done(void *value)
{
    struct reader_manifest *manifest = value;
    arena_done(&manifest->arena);
    buf_done(&manifest->bytes);
    mem_free(manifest);
}

/** Where its files lie. One under no root is whoever's who asks for it to complain about. */
static enum status find_keys(struct reader *reader, struct reader_manifest *manifest,
                             struct err *err)
{
    const struct ice_manifest *parsed = &manifest->manifest;
    struct arena scratch;
    arena_init(&scratch, 1024 * 1024);
    manifest->keys = arena_array(&manifest->arena, parsed->file_count, sizeof(*manifest->keys));
    enum status status = manifest->keys == NULL ? err_no_memory(err) : OK;
    for (size_t i = 0; i < parsed->file_count && status == OK; i++) {
        struct str key;
        manifest->keys[i] = (struct str){ NULL, 0 };
        arena_reset(&scratch);
        if (parsed->files[i].status != ICE_DELETED &&
            locate_key(reader->locate, parsed->files[i].path, &scratch, &key, NULL) == OK) {
            manifest->keys[i] = arena_str(&manifest->arena, key);
            status = manifest->keys[i].ptr == NULL ? err_no_memory(err) : OK;
        }
    }
    arena_done(&scratch);
    return status;
}

static enum status manifest_read(struct reader *reader, const struct ice_manifest_file *row,
                                 struct str key, struct cache_item **out, struct err *err)
{
    struct reader_manifest *manifest = mem_zalloc(sizeof(*manifest));
    if (manifest == NULL) {
        return err_no_memory(err);
    }
    arena_init(&manifest->arena, PARSED_BYTES_MAX);
    buf_init(&manifest->bytes, OBJECT_BYTES_MAX);
    enum status status = reader_bytes(reader, row->path, &manifest->bytes, err);
    if (status == OK) {
        status = ice_manifest_read(&manifest->arena, buf_str(&manifest->bytes), row,
                                   &manifest->manifest, err);
        if (status != OK) {
            (void)err_context(err, "\"%.*s\"", STR_ARG(row->path));
        }
    }
    status = status == OK ? find_keys(reader, manifest, err) : status;
    if (status != OK) {
        manifest_done(manifest);
        return status;
    }
    return cache_put(reader->cache, key, manifest, manifest->arena.used_bytes + manifest->bytes.cap,
                     manifest_done, out, err);
}

enum status reader_manifest(struct reader *reader, const struct ice_manifest_file *row,
                            struct cache_item **item_out, const struct reader_manifest **out,
                            struct err *err)
{
    struct arena arena;
    arena_init(&arena, 64 * 1024);
    /* The same manifest can be named by rows with different numbers only when a commit was retried;
     * those are inherited into the entries, so they are part of the key. */
    struct str key = arena_printf(&arena, "f%lld:%lld:%.*s", (long long)row->sequence_number,
                                  (long long)row->added_snapshot_id, STR_ARG(row->path));
    enum status status = key.ptr == NULL ? err_no_memory(err) : OK;
    struct cache_item *item = status == OK ? cache_get(reader->cache, key) : NULL;
    if (status == OK && item == NULL) {
        status = manifest_read(reader, row, key, &item, err);
    }
    if (status == OK) {
        *item_out = item;
        *out = item->value;
    }
    arena_done(&arena);
    return status;
}
