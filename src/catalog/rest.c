/*
 * After a commit, when its callers have their answers: marker objects for the batches in the
 * pointer (each caller its own; the leader those that others left), and a trash object for what the
 * commit has made unreferenced: metadata files that fell
 * out of the log, manifest lists of expired snapshots, and manifests that only those named (merged
 * ones).
 *
 * Data files are not looked for here: appends and merges never make one unreferenced.
 */
#include "base/map.h"
#include "catalog/batch.h"
#include "catalog/commit.h"
#include "catalog/marks.h"
#include "catalog/mint.h"
#include "catalog/trash.h"

enum { TRASH_KEYS_MAX = 100000 };

struct heap_of_keys {
    struct local *local;
    struct arena *arena;
    struct str *keys;
    size_t count;
};

/** A file outside the lake is not ours to delete. */
static void add_uri(struct heap_of_keys *heap, struct str uri)
{
    struct str key;
    if (heap->count < TRASH_KEYS_MAX && uri.len > 0 &&
        locate_key(heap->local->base.reader->locate, uri, heap->arena, &key, NULL) == OK) {
        heap->keys[heap->count++] = key;
    }
}

/** The oldest snapshot of main's history that is still there. */
static const struct ice_snapshot *oldest_kept(const struct ice_metadata *metadata)
{
    const struct ice_snapshot *at = metadata->current;
    for (size_t i = 0; at != NULL && at->parent_id >= 0 && i < metadata->snapshot_count; i++) {
        const struct ice_snapshot *parent = ice_metadata_snapshot(metadata, at->parent_id);
        if (parent == NULL) {
            break;
        }
        at = parent;
    }
    return at;
}

/** Is every snapshot that is left an ancestor of the current one? */
static bool is_one_line(const struct ice_metadata *metadata)
{
    const struct ice_snapshot *at = metadata->current;
    size_t count = 0;
    while (at != NULL && count <= metadata->snapshot_count) {
        count++;
        at = at->parent_id < 0 ? NULL : ice_metadata_snapshot(metadata, at->parent_id);
    }
    return count == metadata->snapshot_count;
}

static enum status mark_rows(struct reader *reader, struct str uri, struct map *paths,
                             struct err *err)
{
    struct cache_item *item = NULL;
    const struct reader_list *list = NULL;
    TRY(reader_list(reader, uri, &item, &list, err));
    enum status status = OK;
    for (size_t i = 0; i < list->count && status == OK; i++) {
        status = map_put(paths, list->rows[i].path, paths, NULL);
    }
    cache_release(item);
    return status;
}

static enum status add_unmarked(struct heap_of_keys *heap, struct str uri, struct map *paths,
                                struct err *err)
{
    struct cache_item *item = NULL;
    const struct reader_list *list = NULL;
    TRY(reader_list(heap->local->base.reader, uri, &item, &list, err));
    enum status status = OK;
    for (size_t i = 0; i < list->count && status == OK; i++) {
        if (map_get(paths, list->rows[i].path) == NULL) {
            add_uri(heap, list->rows[i].path);
            status = map_put(paths, list->rows[i].path, paths, NULL); /* once is enough */
        }
    }
    cache_release(item);
    return status;
}

/**
 * In one line of history a manifest that has left the list never comes back, so what the oldest
 * kept snapshot does not name, nobody does. With snapshots beside that line (branches, what was
 * rolled back) that is not so, and the manifests are left to the sweep.
 */
static enum status add_expired(struct heap_of_keys *heap, const struct commit_rest *rest,
                               struct err *err)
{
    const struct ice_metadata *metadata = rest->metadata;
    const struct ice_snapshot *oldest = oldest_kept(metadata);
    bool one_line = is_one_line(metadata) && oldest != NULL && oldest->manifest_list.ptr != NULL;
    struct map paths;
    map_init(&paths);
    enum status status = OK;
    if (one_line) {
        status = mark_rows(heap->local->base.reader, oldest->manifest_list, &paths, err);
    }
    for (size_t i = 0; i < rest->expired_count && status == OK; i++) {
        if (one_line && rest->expired[i].manifest_list.len > 0) {
            status = add_unmarked(heap, rest->expired[i].manifest_list, &paths, err);
        }
        add_uri(heap, rest->expired[i].manifest_list);
    }
    map_done(&paths);
    return status;
}

static enum status throw_away(struct local *local, struct commit_rest *rest, struct err *err)
{
    if (rest->dropped_count + rest->expired_count == 0) {
        return OK;
    }
    struct heap_of_keys heap = { .local = local, .arena = &rest->arena };
    heap.keys = arena_array(&rest->arena, TRASH_KEYS_MAX, sizeof(*heap.keys));
    if (heap.keys == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < rest->dropped_count; i++) {
        add_uri(&heap, rest->dropped[i]);
    }
    if (rest->expired_count > 0) {
        TRY(add_expired(&heap, rest, err));
    }
    struct trash trash = {
        .kind = TRASH_EXPIRED, .uuid = rest->uuid, .keys = heap.keys, .key_count = heap.count
    };
    return trash_write(local, &trash, err);
}

static void write_marker(struct local *local, struct str uuid, const struct pointer_batch *batch)
{
    if (batch_write(local->store, uuid, batch, NULL) == OK) {
        marks_add(local->marks, uuid, batch);
    } else {
        marks_drop(local->marks, uuid, batch);
    }
}

void commit_mark(struct local *local, struct commit_request *request)
{
    for (size_t i = 0; i < request->mark_count; i++) {
        write_marker(local, request->mark_uuid, &request->marks[i]);
    }
}

void commit_finish(struct local *local, struct commit_rest *rest)
{
    if (rest->minted.len > 0) {
        enum status ignored = mint_drop(local->store, rest->minted, NULL);
        (void)ignored; /* a claim too many is swept */
    }
    for (size_t i = 0; i < rest->batch_count; i++) {
        write_marker(local, rest->uuid, &rest->batches[i]);
    }
    if (rest->metadata != NULL) {
        enum status ignored = throw_away(local, rest, NULL);
        (void)ignored;
        ice_metadata_unref(rest->metadata);
    }
    arena_done(&rest->arena);
}
