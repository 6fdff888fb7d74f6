/*
 *      lists of the snapshots --> their manifests --- less those that the table names --+
 *                                                                                       |
 *      told <--- less those that the table names --- the files in those manifests <-----'
 *
 * Files are gathered until there are many, struck against all that the table names, and told. A
 * file that an entry says is deleted was named by an older snapshot, whose expiry tells it.
 */
#include "catalog/gone.h"

#include "catalog/refs.h"

struct thing {
    enum gone_kind kind;
    int64_t bytes;
    bool outside;
};

struct search {
    const struct gone *gone;
    struct arena arena; /* rows of manifests */
    struct arena pass;  /* what is gathered until it is told */
    struct map keys;    /* -> struct thing, in `pass` */
    struct map rows;    /* key of a manifest -> struct ice_manifest_file, in `arena` */
    struct gone_found found;
};

/** A path under no root of the lake is not ours to speak of. */
static enum status gather(struct search *s, struct str uri, enum gone_kind kind, int64_t bytes,
                          struct err *err)
{
    struct str key;
    struct thing *thing = ARENA_NEW(&s->pass, struct thing);
    if (thing == NULL) {
        return err_no_memory(err);
    }
    if (locate_key(s->gone->reader->locate, uri, &s->pass, &key, NULL) != OK) {
        return OK;
    }
    *thing = (struct thing){ .kind = kind,
                             .bytes = bytes > 0 ? bytes : 0,
                             .outside = !str_starts(key, s->gone->folder) };
    return map_put(&s->keys, key, thing, NULL) == OK ? OK : err_no_memory(err);
}

/** Tell what is gathered, and begin anew. */
static enum status tell(struct search *s, struct err *err)
{
    struct str *keys = arena_array(&s->pass, s->keys.count + 1, sizeof(*keys));
    size_t pos = 0, count = 0;
    enum status status = keys == NULL ? err_no_memory(err) : OK;
    for (struct map_entry *at; status == OK && (at = map_next(&s->keys, &pos)) != NULL;) {
        const struct thing *thing = at->value;
        if (thing->outside) {
            s->found.outside++;
            continue;
        }
        s->found.files[thing->kind]++;
        s->found.bytes += thing->bytes;
        keys[count++] = at->key;
        if (count == GONE_KEYS_MAX) {
            status = s->gone->take(s->gone->ctx, keys, count, err);
            count = 0;
        }
    }
    if (status == OK && count > 0) {
        status = s->gone->take(s->gone->ctx, keys, count, err);
    }
    map_done(&s->keys);
    map_init(&s->keys);
    arena_reset(&s->pass);
    return status;
}

/* --- lists, manifests, statistics --- */

static enum status remember(struct search *s, const struct ice_manifest_file *row, struct err *err)
{
    struct str key;
    if (locate_key(s->gone->reader->locate, row->path, &s->pass, &key, NULL) != OK ||
        map_get(&s->rows, key) != NULL) {
        return OK;
    }
    TRY(gather(s, row->path, GONE_MANIFEST, row->length, err));
    struct ice_manifest_file *copy = ARENA_NEW(&s->arena, struct ice_manifest_file);
    if (copy != NULL) {
        *copy = *row;
        copy->path = arena_str(&s->arena, row->path);
        copy->partitions = NULL;
        copy->partition_count = 0;
        copy->key_metadata = STR_EMPTY;
    }
    return copy != NULL && copy->path.ptr != NULL && map_put(&s->rows, key, copy, NULL) == OK
               ? OK
               : err_no_memory(err);
}

static enum status look_at_snapshot(struct search *s, const struct ice_snapshot *snapshot,
                                    struct err *err)
{
    struct cache_item *item = NULL;
    const struct reader_list *list = NULL;
    if (snapshot->manifest_list.len == 0) {
        return OK;
    }
    TRY(gather(s, snapshot->manifest_list, GONE_LIST, 0, err));
    enum status status = reader_list(s->gone->reader, snapshot->manifest_list, &item, &list, err);
    if (status != OK) {
        return status == E_CORRUPT || status == E_UNSUPPORTED || status == E_INVALID ? OK : status;
    }
    for (size_t i = 0; i < list->count && status == OK; i++) {
        status = remember(s, &list->rows[i], err);
    }
    cache_release(item);
    return status;
}

static bool is_gone(const struct gone *gone, int64_t snapshot_id)
{
    for (size_t i = 0; i < gone->snapshot_count; i++) {
        if (gone->snapshots[i].id == snapshot_id) {
            return true;
        }
    }
    return false;
}

static enum status look_at_statistics(struct search *s, const char *list, struct err *err)
{
    size_t i = 0, max = 0;
    yyjson_val *entry = NULL, *arr = NULL;
    if (s->gone->before != NULL) {
        arr = yyjson_obj_get(yyjson_doc_get_root(s->gone->before->doc), list);
    }
    if (!yyjson_is_arr(arr)) {
        return OK;
    }
    yyjson_arr_foreach(arr, i, max, entry)
    {
        yyjson_val *path = yyjson_obj_get(entry, "statistics-path");
        if (yyjson_is_str(path) &&
            is_gone(s->gone, yyjson_get_sint(yyjson_obj_get(entry, "snapshot-id")))) {
            TRY(gather(s, str_from(yyjson_get_str(path), yyjson_get_len(path)), GONE_STATISTICS,
                       yyjson_get_sint(yyjson_obj_get(entry, "file-size-in-bytes")), err));
        }
    }
    return OK;
}

static enum status find_metadata(struct search *s, struct err *err)
{
    for (size_t i = 0; i < s->gone->snapshot_count; i++) {
        TRY(look_at_snapshot(s, &s->gone->snapshots[i], err));
    }
    TRY(look_at_statistics(s, "statistics", err));
    TRY(look_at_statistics(s, "partition-statistics", err));
    return refs_strike_metadata(s->gone->reader, s->gone->after, false, &s->keys, err);
}

/* --- the files in the manifests that are gone --- */

static enum status look_at_entries(struct search *s, const struct ice_manifest *manifest,
                                   struct err *err)
{
    for (size_t i = 0; i < manifest->file_count; i++) {
        const struct ice_data_file *file = &manifest->files[i];
        enum gone_kind kind = file->content == ICE_DATA               ? GONE_DATA
                              : file->content == ICE_POSITION_DELETES ? GONE_POSITION_DELETES
                                                                      : GONE_EQUALITY_DELETES;
        if (file->status != ICE_DELETED) {
            TRY(gather(s, file->path, kind, file->size_bytes, err));
        }
        if (s->keys.count >= GONE_KEYS_MAX) {
            TRY(refs_strike_metadata(s->gone->reader, s->gone->after, true, &s->keys, err));
            TRY(tell(s, err));
        }
    }
    return OK;
}

static enum status look_at_manifest(struct search *s, const struct ice_manifest_file *row,
                                    struct err *err)
{
    struct cache_item *item = NULL;
    const struct reader_manifest *manifest = NULL;
    enum status status = reader_manifest(s->gone->reader, row, &item, &manifest, err);
    if (status != OK) {
        return status == E_CORRUPT || status == E_UNSUPPORTED || status == E_INVALID ? OK : status;
    }
    status = look_at_entries(s, &manifest->manifest, err);
    cache_release(item);
    return status;
}

/** The rows of those manifests that are still among the keys: the table names the others. */
static enum status gone_rows(struct search *s, struct ice_manifest_file ***out, size_t *count_out,
                             struct err *err)
{
    struct ice_manifest_file **rows = arena_array(&s->arena, s->rows.count + 1, sizeof(*rows));
    size_t pos = 0, count = 0;
    if (rows == NULL) {
        return err_no_memory(err);
    }
    for (struct map_entry *at; (at = map_next(&s->rows, &pos)) != NULL;) {
        if (map_get(&s->keys, at->key) != NULL) {
            rows[count++] = at->value;
        }
    }
    *out = rows;
    *count_out = count;
    return OK;
}

static enum status find_all(struct search *s, struct err *err)
{
    struct ice_manifest_file **rows = NULL;
    size_t count = 0;
    TRY(find_metadata(s, err));
    TRY(gone_rows(s, &rows, &count, err));
    TRY(tell(s, err));
    for (size_t i = 0; i < count; i++) {
        TRY(look_at_manifest(s, rows[i], err));
    }
    if (s->keys.count > 0) {
        TRY(refs_strike_metadata(s->gone->reader, s->gone->after, true, &s->keys, err));
    }
    return tell(s, err);
}

enum status gone_find(const struct gone *gone, struct gone_found *out, struct err *err)
{
    struct search s = { .gone = gone };
    arena_init(&s.arena, 0);
    arena_init(&s.pass, 0);
    map_init(&s.keys);
    map_init(&s.rows);
    enum status status = gone->snapshot_count == 0 ? OK : find_all(&s, err);
    *out = s.found;
    map_done(&s.keys);
    map_done(&s.rows);
    arena_done(&s.pass);
    arena_done(&s.arena);
    return status;
}
