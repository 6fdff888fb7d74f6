/*
 * Walking everything that a table's metadata names, the current snapshot first: it names most of
 * what there is, so that for a table of appends the older ones are hardly looked at.
 *
 * The walk never holds what it finds. It tells a visitor, who strikes it from a (bounded) set of
 * candidates.
 */
#include "catalog/refs.h"

struct walk {
    struct reader *reader;
    const struct ice_metadata *metadata;
    bool files;
    const struct refs_visitor *visitor;
    struct map seen; /* manifests that were opened */
};

static bool is_over(const struct walk *walk)
{
    return walk->visitor->is_over != NULL && walk->visitor->is_over(walk->visitor->ctx);
}

static enum status strike(struct walk *walk, struct str uri, struct err *err)
{
    struct arena arena;
    struct str key;
    arena_init(&arena, 64 * 1024);
    enum status status = locate_key(walk->reader->locate, uri, &arena, &key, err);
    if (status == OK) {
        walk->visitor->named(walk->visitor->ctx, key);
    }
    arena_done(&arena);
    return status;
}

/** A text member of each entry of a list in the document. */
static enum status strike_member(struct walk *walk, const char *list, const char *member,
                                 struct err *err)
{
    yyjson_val *arr = yyjson_obj_get(yyjson_doc_get_root(walk->metadata->doc), list);
    size_t count = yyjson_arr_size(arr);
    for (size_t i = 0; i < count && !is_over(walk); i++) {
        yyjson_val *uri = yyjson_obj_get(yyjson_arr_get(arr, i), member);
        if (!yyjson_is_str(uri)) {
            return err_set(err, E_CORRUPT, "an entry of \"%s\" has no \"%s\"", list, member);
        }
        TRY(strike(walk, str_from(yyjson_get_str(uri), yyjson_get_len(uri)), err));
    }
    return OK;
}

static enum status strike_manifest(struct walk *walk, const struct ice_manifest_file *row,
                                   struct err *err)
{
    struct cache_item *item = NULL;
    const struct reader_manifest *manifest = NULL;
    TRY(reader_manifest(walk->reader, row, &item, &manifest, err));
    enum status status = OK;
    for (size_t i = 0; i < manifest->manifest.file_count && status == OK; i++) {
        const struct ice_data_file *file = &manifest->manifest.files[i];
        if (manifest->keys[i].ptr != NULL) {
            walk->visitor->named(walk->visitor->ctx, manifest->keys[i]);
        } else if (file->status != ICE_DELETED) {
            status = strike(walk, file->path, err); /* which says why it cannot */
        }
        if (status == OK && file->referenced_data_file.len > 0) {
            status = strike(walk, file->referenced_data_file, err);
        }
    }
    cache_release(item);
    return status;
}

static enum status strike_snapshot(struct walk *walk, const struct ice_snapshot *snapshot,
                                   struct err *err)
{
    struct cache_item *item = NULL;
    const struct reader_list *list = NULL;
    if (snapshot->manifest_list.ptr == NULL) {
        return err_set(err, E_UNSUPPORTED, "snapshot %lld lists its manifests inline (version 1)",
                       (long long)snapshot->id);
    }
    TRY(strike(walk, snapshot->manifest_list, err));
    if (is_over(walk)) {
        return OK;
    }
    TRY(reader_list(walk->reader, snapshot->manifest_list, &item, &list, err));
    enum status status = OK;
    for (size_t i = 0; i < list->count && status == OK && !is_over(walk); i++) {
        const struct ice_manifest_file *row = &list->rows[i];
        if (map_get(&walk->seen, row->path) != NULL) {
            continue;
        }
        status = strike(walk, row->path, err);
        if (status == OK && walk->files) {
            status = strike_manifest(walk, row, err);
        }
        if (status == OK && map_put(&walk->seen, row->path, walk, NULL) != OK) {
            status = err_no_memory(err);
        }
    }
    cache_release(item);
    return status;
}

static enum status strike_snapshots(struct walk *walk, struct err *err)
{
    const struct ice_metadata *metadata = walk->metadata;
    if (metadata->current != NULL) {
        TRY(strike_snapshot(walk, metadata->current, err));
    }
    for (size_t i = metadata->snapshot_count; i > 0 && !is_over(walk); i--) {
        TRY(strike_snapshot(walk, &metadata->snapshots[i - 1], err));
    }
    return OK;
}

enum status refs_visit(struct reader *reader, const struct ice_metadata *metadata, bool files,
                       const struct refs_visitor *visitor, struct err *err)
{
    struct walk walk = {
        .reader = reader, .metadata = metadata, .files = files, .visitor = visitor
    };
    map_init(&walk.seen);
    enum status status = strike_member(&walk, "metadata-log", "metadata-file", err);
    status = status == OK ? strike_member(&walk, "statistics", "statistics-path", err) : status;
    status = status == OK ? strike_member(&walk, "partition-statistics", "statistics-path", err)
                          : status;
    status = status == OK ? strike_snapshots(&walk, err) : status;
    map_done(&walk.seen);
    return status;
}

/* --- from a map --- */

static void remove_key(void *ctx, struct str key)
{
    (void)map_remove(ctx, key);
}

static bool is_empty(void *ctx)
{
    return ((const struct map *)ctx)->count == 0;
}

enum status refs_strike_metadata(struct reader *reader, const struct ice_metadata *metadata,
                                 bool files, struct map *keys, struct err *err)
{
    const struct refs_visitor visitor = { .named = remove_key, .is_over = is_empty, .ctx = keys };
    return refs_visit(reader, metadata, files, &visitor, err);
}

enum status refs_strike(struct reader *reader, struct str metadata_uri, bool files,
                        struct map *keys, struct err *err)
{
    const struct ice_metadata *metadata = NULL;
    const struct refs_visitor visitor = { .named = remove_key, .ctx = keys };
    struct walk walk = { .reader = reader, .visitor = &visitor };
    TRY(strike(&walk, metadata_uri, err));
    TRY(reader_metadata(reader, metadata_uri, &metadata, err));
    enum status status = refs_strike_metadata(reader, metadata, files, keys, err);
    ice_metadata_unref(metadata);
    return status;
}
