/*
 *      lists of the snapshots --> their manifests --- less those that the table names --+
 *                                                                                       |
 *      told <--- less those that the table names --- the files in those manifests <-----'
 *
 * Files are many, so only marks of them are held: those in the manifests that are gone are marked,
 * what the table names is unmarked, and the manifests are read once more to tell what is left. A
 * file that an entry says is deleted was named by an older snapshot, whose expiry tells it.
 */
#include "catalog/gone.h"

#include "base/mem.h"
#include "base/rng.h"
#include "catalog/refs.h"

/* 18 MiB for as many files; of more, some at a time. */
enum { MARKS_CAP = 2 * 1024 * 1024, MARKS_MAX = MARKS_CAP / 4 * 3 };

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
    /* Marks of files in manifests that are gone, open addressing, 0: free; `named`: by the table */
    uint64_t *marks, seed;
    bool *named;
    size_t marked;
    bool is_full;
    struct gone_found found;
};

static enum status gather_key(struct search *s, struct str key, enum gone_kind kind, int64_t bytes,
                              struct err *err)
{
    struct thing *thing = ARENA_NEW(&s->pass, struct thing);
    if (thing == NULL) {
        return err_no_memory(err);
    }
    *thing = (struct thing){ .kind = kind,
                             .bytes = bytes > 0 ? bytes : 0,
                             .outside = !str_starts(key, s->gone->folder) };
    return map_put(&s->keys, key, thing, NULL) == OK ? OK : err_no_memory(err);
}

/** A path under no root of the lake is not ours to speak of. */
static enum status gather(struct search *s, struct str uri, enum gone_kind kind, int64_t bytes,
                          struct err *err)
{
    struct str key;
    return locate_key(s->gone->reader->locate, uri, &s->pass, &key, NULL) == OK
               ? gather_key(s, key, kind, bytes, err)
               : OK;
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

/** A number for a key: two keys may have one, and then neither is told, which is safe. Never 0. */
static uint64_t mark_of(const struct search *s, struct str key)
{
    uint64_t mark = str_hash(key, s->seed);
    return mark == 0 ? 1 : mark;
}

/** Where a mark stands, or would. */
static uint64_t *find_mark(const struct search *s, uint64_t mark)
{
    size_t at = (size_t)(mark >> 7) & (MARKS_CAP - 1);
    while (s->marks[at] != 0 && s->marks[at] != mark) {
        at = (at + 1) & (MARKS_CAP - 1);
    }
    return &s->marks[at];
}

/** The table names it: its place stays taken, and what stood behind it is still found. */
static void unmark(void *ctx, struct str key)
{
    struct search *s = ctx;
    uint64_t *place = find_mark(s, mark_of(s, key));
    if (*place != 0) {
        s->named[place - s->marks] = true;
    }
}

static bool is_marked(const struct search *s, struct str key)
{
    const uint64_t *place = find_mark(s, mark_of(s, key));
    return *place != 0 && !s->named[place - s->marks];
}

/** Once to mark the files of a manifest, once more to tell those that the table does not name. */
static enum status look_at_entries(struct search *s, const struct reader_manifest *manifest,
                                   bool tells, struct err *err)
{
    for (size_t i = 0; i < manifest->manifest.file_count; i++) {
        const struct ice_data_file *file = &manifest->manifest.files[i];
        enum gone_kind kind = file->content == ICE_DATA               ? GONE_DATA
                              : file->content == ICE_POSITION_DELETES ? GONE_POSITION_DELETES
                                                                      : GONE_EQUALITY_DELETES;
        struct str key = manifest->keys[i];
        if (file->status == ICE_DELETED || key.ptr == NULL) {
            continue;
        }
        if (!tells) {
            uint64_t mark = mark_of(s, key), *place = find_mark(s, mark);
            s->marked += *place == 0 ? 1 : 0;
            *place = mark;
        } else if (is_marked(s, key)) {
            TRY(gather_key(s, key, kind, file->size_bytes, err));
            unmark(s, key); /* told once */
        }
        if (s->keys.count >= GONE_KEYS_MAX) {
            TRY(tell(s, err));
        }
    }
    return OK;
}

static enum status look_at_manifest(struct search *s, const struct ice_manifest_file *row,
                                    bool tells, struct err *err)
{
    struct cache_item *item = NULL;
    const struct reader_manifest *manifest = NULL;
    enum status status = reader_manifest(s->gone->reader, row, &item, &manifest, err);
    if (status != OK) {
        return status == E_CORRUPT || status == E_UNSUPPORTED || status == E_INVALID ? OK : status;
    }
    if (!tells && s->marked + manifest->manifest.file_count > MARKS_MAX) {
        s->is_full = true; /* with the next pass */
    } else {
        status = look_at_entries(s, manifest, tells, err);
    }
    cache_release(item);
    return status;
}

/** Manifests from `from` on, as many as can be marked together; *end_out is behind the last. */
static enum status look_at_some(struct search *s, struct ice_manifest_file *const *rows,
                                size_t from, size_t count, size_t *end_out, struct err *err)
{
    const struct refs_visitor visitor = { .named = unmark, .ctx = s };
    size_t end = from;
    memset(s->marks, 0, MARKS_CAP * sizeof(*s->marks));
    memset(s->named, 0, MARKS_CAP * sizeof(*s->named));
    s->marked = 0;
    s->is_full = false;
    while (end < count) {
        TRY(look_at_manifest(s, rows[end], false, err));
        if (s->is_full) {
            break;
        }
        end++;
    }
    if (end == from) {
        end++; /* more in one than can be marked: left to the sweep */
    }
    TRY(refs_visit(s->gone->reader, s->gone->after, true, &visitor, err));
    for (size_t i = from; i < end; i++) {
        TRY(look_at_manifest(s, rows[i], true, err));
    }
    *end_out = end;
    return tell(s, err);
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

static enum status find_files(struct search *s, struct ice_manifest_file *const *rows, size_t count,
                              struct err *err)
{
    if (count == 0) {
        return OK;
    }
    s->seed = random_u64();
    s->marks = mem_alloc(MARKS_CAP * sizeof(*s->marks));
    s->named = mem_alloc(MARKS_CAP * sizeof(*s->named));
    enum status status = s->marks == NULL || s->named == NULL ? err_no_memory(err) : OK;
    for (size_t at = 0; status == OK && at < count;) {
        status = look_at_some(s, rows, at, count, &at, err);
    }
    mem_free(s->marks);
    mem_free(s->named);
    return status;
}

static enum status find_all(struct search *s, struct err *err)
{
    struct ice_manifest_file **rows = NULL;
    size_t count = 0;
    TRY(find_metadata(s, err));
    TRY(gone_rows(s, &rows, &count, err));
    TRY(tell(s, err));
    return find_files(s, rows, count, err);
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
