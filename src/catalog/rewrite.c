/*
 * The life of a rewrite:
 *
 *      read the table --> does it still fit? --> manifests, list --> catalog_change_table
 *            ^                                                              |
 *            '------------------ E_CONFLICT: somebody was faster -----------'
 *
 * A manifest that names a file that goes is written anew: what stays in it as "existing", what goes
 * as "deleted". All others are carried as they are. New data files and new delete files come in
 * manifests of their own, one for each partition spec.
 *
 * Invariant: what was written here is deleted again only when the commit has surely not landed.
 */
#include "catalog/rewrite.h"

#include "base/encode.h"
#include "base/map.h"
#include "base/rng.h"
#include "catalog/catalog_priv.h"
#include "catalog/changes.h"
#include "catalog/reader.h"
#include "catalog/rewrite_check.h"
#include "iceberg/value.h"

#include <stdio.h>
#include <time.h>

enum {
    BODY_BYTES_MAX = 512 * 1024 * 1024,
    PUT_TRIES = 3,
    BACKOFF_MS = 5,
    BACKOFF_DOUBLINGS = 6,
};

struct rewriting {
    struct catalog *catalog;
    const struct catalog_rewrite *request;
    struct arena *arena; /* of one attempt */
    struct catalog_pin *pin;
    const struct reader_list *list; /* NULL: the table has no data */
    struct cache_item *list_item;
    struct map removed; /* URIs; the value is any */
    struct str folder;  /* key of the metadata folder, with its slash */
    char uuid[UUID_TEXT + 1];
    unsigned manifests;
    int64_t snapshot_id, sequence_number;
    bool was_outrun;
    struct ice_manifest_file *rows; /* of the new list */
    size_t row_count;
    struct ice_data_file *gone; /* entries that go, for the summary */
    size_t gone_count, gone_cap;
    struct str *keys; /* that were written */
    size_t key_count, key_cap;
};

/* --- objects --- */

static enum status remember(struct rewriting *r, struct str key, struct err *err)
{
    if (r->key_count == r->key_cap) {
        size_t cap = r->key_cap == 0 ? 16 : r->key_cap * 2;
        struct str *more = arena_array(r->arena, cap, sizeof(*more));
        if (more == NULL) {
            return err_no_memory(err);
        }
        if (r->key_count > 0) {
            memcpy(more, r->keys, r->key_count * sizeof(*more));
        }
        r->keys = more;
        r->key_cap = cap;
    }
    r->keys[r->key_count++] = key;
    return OK;
}

/** A body under a fresh name. It is remembered before it is written: a lost answer may have written
 * it too. */
static enum status put_fresh(struct rewriting *r, const char *name, struct str body,
                             struct str *uri_out, struct err *err)
{
    struct str key = arena_printf(r->arena, "%.*s%s", STR_ARG(r->folder), name);
    if (key.ptr == NULL) {
        return err_no_memory(err);
    }
    TRY(locate_uri(r->catalog->reader->locate, r->pin->metadata->location, key, r->arena, uri_out,
                   err));
    TRY(remember(r, key, err));
    enum status status = OK;
    const struct store_cond how = { .opaque_etag = true };
    for (int i = 0; i < PUT_TRIES; i++) {
        status = store_put(r->catalog->reader->store, key, body, &how, NULL, err);
        if (status != E_UPSTREAM && status != E_TIMEOUT) {
            break;
        }
    }
    return status;
}

static void discard(struct rewriting *r)
{
    for (size_t i = r->key_count; i > 0; i--) {
        enum status ignored = store_delete(r->catalog->reader->store, r->keys[i - 1], NULL);
        (void)ignored; /* an unreferenced file like any other */
    }
}

/* --- manifests --- */

static enum status write_manifest(struct rewriting *r, const struct ice_manifest_opts *how,
                                  const struct ice_data_file *files, size_t count,
                                  struct ice_manifest_file *row, struct err *err)
{
    AUTO(buf_done) struct buf body;
    char name[UUID_TEXT + 32];
    struct ice_manifest_opts opts = *how;
    buf_init(&body, BODY_BYTES_MAX);
    opts.schema = r->pin->metadata->schema;
    opts.deflate = true;
    random_bytes(opts.sync, sizeof(opts.sync));
    TRY(ice_manifest_write(&opts, files, count, &body, err));
    snprintf(name, sizeof(name), "%s-m%u.avro", r->uuid, r->manifests++);
    TRY(put_fresh(r, name, buf_str(&body), &row->path, err));
    row->length = (int64_t)body.len;
    row->content = opts.content;
    row->partition_spec_id = opts.partition_spec_id;
    row->sequence_number = r->sequence_number;
    row->added_snapshot_id = r->snapshot_id;
    return OK;
}

static enum status keep_gone(struct rewriting *r, const struct ice_data_file *file, struct err *err)
{
    if (r->gone_count == r->gone_cap) {
        size_t cap = r->gone_cap == 0 ? 16 : r->gone_cap * 2;
        struct ice_data_file *more = arena_array(r->arena, cap, sizeof(*more));
        if (more == NULL) {
            return err_no_memory(err);
        }
        if (r->gone_count > 0) {
            memcpy(more, r->gone, r->gone_count * sizeof(*more));
        }
        r->gone = more;
        r->gone_cap = cap;
    }
    r->gone[r->gone_count] = *file;
    r->gone[r->gone_count++].columns = NULL; /* of a manifest that is let go */
    return OK;
}

static bool goes(struct rewriting *r, const struct ice_data_file *file)
{
    return r->request->removes_all ||
           (file->content == ICE_DATA && map_get(&r->removed, file->path) != NULL);
}

/** The entries of a manifest that loses some, with what is told of them in its row. */
static enum status split_entries(struct rewriting *r, const struct ice_manifest *manifest,
                                 struct ice_data_file *files, size_t *count_out,
                                 struct ice_manifest_file *row, struct err *err)
{
    *count_out = 0;
    for (size_t i = 0; i < manifest->file_count; i++) {
        const struct ice_data_file *file = &manifest->files[i];
        if (file->status == ICE_DELETED) {
            continue; /* told by an earlier snapshot */
        }
        bool out = goes(r, file);
        struct ice_data_file *entry = &files[(*count_out)++];
        *entry = *file;
        entry->status = out ? ICE_DELETED : ICE_EXISTING;
        entry->snapshot_id = out ? r->snapshot_id : file->snapshot_id;
        *(out ? &row->deleted_files : &row->existing_files) += 1;
        *(out ? &row->deleted_rows : &row->existing_rows) += file->record_count;
        if (file->sequence_number < row->min_sequence_number) {
            row->min_sequence_number = file->sequence_number;
        }
        if (out) {
            TRY(keep_gone(r, file, err));
        }
    }
    return OK;
}

static bool any_goes(struct rewriting *r, const struct ice_manifest *manifest)
{
    for (size_t i = 0; i < manifest->file_count; i++) {
        if (manifest->files[i].status != ICE_DELETED && goes(r, &manifest->files[i])) {
            return true;
        }
    }
    return false;
}

/** A row of the list before: as it is, or with its manifest written anew. */
static enum status carry_row(struct rewriting *r, const struct ice_manifest_file *old,
                             struct err *err)
{
    struct cache_item *item = NULL;
    const struct reader_manifest *read = NULL;
    bool may_lose = r->request->removes_all || (r->removed.count > 0 && old->content == 0);
    if (!may_lose) {
        r->rows[r->row_count++] = *old;
        return OK;
    }
    TRY(reader_manifest(r->catalog->reader, old, &item, &read, err));
    const struct ice_manifest *manifest = &read->manifest;
    struct ice_manifest_file row = { .min_sequence_number = INT64_MAX,
                                     .partitions = old->partitions,
                                     .partition_count = old->partition_count };
    enum status status = OK;
    if (!any_goes(r, manifest)) {
        r->rows[r->row_count++] = *old;
    } else {
        size_t count = 0;
        struct ice_data_file *files = arena_array(r->arena, manifest->file_count, sizeof(*files));
        struct ice_manifest_opts opts = {
            .partition_spec = manifest->partition_spec.len > 0 ? manifest->partition_spec
                                                               : STR("[]"),
            .partition_spec_id = old->partition_spec_id,
            .avro_partition_schema = manifest->avro_partition_schema,
            .content = old->content,
        };
        status = files == NULL ? err_no_memory(err)
                               : split_entries(r, manifest, files, &count, &row, err);
        status = status == OK ? write_manifest(r, &opts, files, count, &row, err) : status;
        r->rows[r->row_count++] = row;
    }
    cache_release(item);
    return status;
}

/* --- new files --- */

/** Files that share a manifest. */
struct kind {
    const struct ice_spec *spec;
    int32_t content; /* 0 data, 1 deletes */
    bool is_made;    /* their partition records were made here, not carried from other files */
};

/** How partition records that others have made are spelled, as a manifest of theirs says; empty
 * where the spec has no fields. */
static enum status carried_schema(struct rewriting *r, const struct ice_spec *spec, struct str *out,
                                  struct err *err)
{
    *out = STR_EMPTY;
    if (spec->field_count == 0) {
        return OK;
    }
    for (size_t i = 0; r->list != NULL && i < r->list->count; i++) {
        struct cache_item *item = NULL;
        const struct reader_manifest *read = NULL;
        if (r->list->rows[i].partition_spec_id != spec->id) {
            continue;
        }
        TRY(reader_manifest(r->catalog->reader, &r->list->rows[i], &item, &read, err));
        *out = arena_str(r->arena, read->manifest.avro_partition_schema);
        cache_release(item);
        return out->ptr == NULL ? err_no_memory(err) : OK;
    }
    return err_set(err, E_CONFLICT, "no file of partition spec %d is there any more",
                   (int)spec->id);
}

static enum status made_schema(struct rewriting *r, const struct ice_partition_spec *spec,
                               struct str *out, struct err *err)
{
    AUTO(buf_done) struct buf json;
    buf_init(&json, 0);
    TRY(ice_partition_avro_schema(spec, &json, err));
    *out = arena_str(r->arena, buf_str(&json));
    return out->ptr == NULL ? err_no_memory(err) : OK;
}

static bool is_of(const struct rewriting *r, size_t i, const struct kind *kind)
{
    const struct ice_data_file *file = &r->request->added[i];
    int32_t spec_id = file->partition_spec_id < 0 ? r->pin->metadata->default_spec_id
                                                  : file->partition_spec_id;
    bool is_made = r->request->partitions != NULL && r->request->partitions[i].values != NULL;
    return spec_id == kind->spec->id && (file->content == ICE_DATA) == (kind->content == 0) &&
           is_made == kind->is_made;
}

/** The bounds of a partition field over the files of a manifest. */
static enum status widen(struct ice_partition_summary *summary, const struct ice_type *type,
                         struct str value, struct err *err)
{
    int order = 0;
    if (value.ptr == NULL) {
        summary->contains_null = true;
        return OK;
    }
    if (summary->lower.ptr == NULL) {
        summary->lower = summary->upper = value;
        return OK;
    }
    TRY(ice_bound_compare(type, value, summary->lower, &order, err));
    summary->lower = order < 0 ? value : summary->lower;
    TRY(ice_bound_compare(type, value, summary->upper, &order, err));
    summary->upper = order > 0 ? value : summary->upper;
    return OK;
}

static enum status summarize(struct rewriting *r, const struct kind *kind,
                             const struct ice_partition_spec *spec, struct ice_manifest_file *row,
                             struct err *err)
{
    row->partitions = arena_array(r->arena, spec->field_count, sizeof(*row->partitions));
    if (row->partitions == NULL) {
        return err_no_memory(err);
    }
    row->partition_count = spec->field_count;
    for (size_t f = 0; f < spec->field_count; f++) {
        row->partitions[f].contains_nan = -1;
    }
    for (size_t i = 0; i < r->request->added_count; i++) {
        for (size_t f = 0; is_of(r, i, kind) && f < spec->field_count; f++) {
            TRY(widen(&row->partitions[f], &spec->fields[f].type,
                      r->request->partitions[i].values[f], err));
        }
    }
    return OK;
}

static enum status added_files(struct rewriting *r, const struct kind *kind,
                               struct ice_data_file *files, size_t *count_out,
                               struct ice_manifest_file *row, struct err *err)
{
    *count_out = 0;
    for (size_t i = 0; i < r->request->added_count; i++) {
        if (!is_of(r, i, kind)) {
            continue;
        }
        struct ice_data_file *entry = &files[(*count_out)++];
        *entry = r->request->added[i];
        entry->status = ICE_ADDED;
        entry->snapshot_id = entry->sequence_number = entry->file_sequence_number = -1;
        TRY(locate_uri(r->catalog->reader->locate, r->pin->metadata->location, entry->path,
                       r->arena, &entry->path, err));
        row->added_files++;
        row->added_rows += entry->record_count;
    }
    return OK;
}

/** A manifest of the new files of a kind, if there are any. */
static enum status add_rows(struct rewriting *r, const struct kind *kind, struct err *err)
{
    size_t count = 0;
    struct ice_manifest_file row = { .min_sequence_number = r->sequence_number };
    struct ice_data_file *files = arena_array(r->arena, r->request->added_count + 1,
                                              sizeof(*files));
    struct ice_manifest_opts opts = { .partition_spec = kind->spec->fields_json,
                                      .partition_spec_id = kind->spec->id,
                                      .content = kind->content };
    if (files == NULL) {
        return err_no_memory(err);
    }
    TRY(added_files(r, kind, files, &count, &row, err));
    if (count == 0) {
        return OK;
    }
    if (kind->is_made) {
        struct ice_partition_specs specs;
        TRY(ice_partition_specs(r->arena, r->pin->metadata, &specs, err));
        const struct ice_partition_spec *spec = ice_partition_spec_by_id(&specs, kind->spec->id);
        TRY(made_schema(r, spec, &opts.avro_partition_schema, err));
        TRY(summarize(r, kind, spec, &row, err));
    } else {
        TRY(carried_schema(r, kind->spec, &opts.avro_partition_schema, err));
    }
    TRY(write_manifest(r, &opts, files, count, &row, err));
    r->rows[r->row_count++] = row;
    return OK;
}

static enum status add_all(struct rewriting *r, struct err *err)
{
    for (size_t i = 0; i < r->pin->metadata->spec_count; i++) {
        const struct ice_spec *spec = &r->pin->metadata->specs[i];
        TRY(add_rows(r, &(struct kind){ .spec = spec, .is_made = true }, err));
        TRY(add_rows(r, &(struct kind){ .spec = spec }, err));
        TRY(add_rows(r, &(struct kind){ .spec = spec, .content = 1 }, err));
    }
    return OK;
}

static enum status write_list(struct rewriting *r, struct str *uri_out, struct err *err)
{
    const struct ice_metadata *metadata = r->pin->metadata;
    size_t old = r->list == NULL ? 0 : r->list->count;
    r->rows = arena_array(r->arena, old + metadata->spec_count * 3 + 1, sizeof(*r->rows));
    if (r->rows == NULL) {
        return err_no_memory(err);
    }
    TRY(add_all(r, err)); /* the newest first */
    for (size_t i = 0; i < old; i++) {
        TRY(carry_row(r, &r->list->rows[i], err));
    }
    if (!r->request->removes_all && r->gone_count != r->removed.count) {
        return err_set(err, E_CONFLICT,
                       "files that this statement has read were removed by another commit");
    }
    struct ice_manifest_list_opts opts = {
        .snapshot_id = r->snapshot_id,
        .parent_snapshot_id = r->pin->snapshot == NULL ? -1 : r->pin->snapshot->id,
        .sequence_number = r->sequence_number,
        .deflate = true,
    };
    AUTO(buf_done) struct buf body;
    char name[UUID_TEXT + 64];
    buf_init(&body, BODY_BYTES_MAX);
    random_bytes(opts.sync, sizeof(opts.sync));
    TRY(ice_manifest_list_write(&opts, r->rows, r->row_count, &body, err));
    snprintf(name, sizeof(name), "snap-%lld-1-%s.avro", (long long)r->snapshot_id, r->uuid);
    return put_fresh(r, name, buf_str(&body), uri_out, err);
}

/* --- the change --- */

static enum status write_snapshot(struct rewriting *r, struct json_writer *w, struct str list_uri,
                                  struct err *err)
{
    const struct ice_metadata *metadata = r->pin->metadata;
    const struct ice_rewritten_files files = { .operation = r->request->operation,
                                               .added = r->request->added,
                                               .added_count = r->request->added_count,
                                               .removed = r->gone,
                                               .removed_count = r->gone_count };
    struct ice_property *summary = NULL;
    size_t count = 0;
    int64_t now = clock_wall_ms(clock_real());
    TRY(ice_rewrite_summary(r->arena, r->pin->snapshot, &files, &summary, &count, err));
    jw_kv_obj(w, "snapshot");
    jw_kv_i64(w, "snapshot-id", r->snapshot_id);
    if (r->pin->snapshot != NULL) {
        jw_kv_i64(w, "parent-snapshot-id", r->pin->snapshot->id);
    }
    jw_kv_i64(w, "sequence-number", r->sequence_number);
    jw_kv_i64(w, "timestamp-ms", now > metadata->last_updated_ms ? now : metadata->last_updated_ms);
    jw_kv_str(w, "manifest-list", list_uri);
    jw_kv_i64(w, "schema-id", metadata->current_schema_id);
    jw_kv_obj(w, "summary");
    for (size_t i = 0; i < count; i++) {
        jw_key(w, summary[i].name);
        jw_str(w, summary[i].value);
    }
    jw_obj_end(w);
    jw_obj_end(w);
    return OK;
}

/** {"requirements":[..],"updates":[..]} */
static enum status write_change(struct rewriting *r, struct str list_uri, struct buf *out,
                                struct err *err)
{
    struct json_writer w;
    json_writer_init(&w, out);
    jw_obj_begin(&w);
    jw_kv_arr(&w, "requirements");
    jw_obj_begin(&w);
    jw_kv_cstr(&w, "type", "assert-table-uuid");
    jw_kv_str(&w, "uuid", r->pin->metadata->table_uuid);
    jw_obj_end(&w);
    jw_obj_begin(&w);
    jw_kv_cstr(&w, "type", "assert-ref-snapshot-id");
    jw_kv_cstr(&w, "ref", "main");
    jw_key(&w, STR("snapshot-id"));
    if (r->pin->snapshot == NULL) {
        jw_null(&w);
    } else {
        jw_i64(&w, r->pin->snapshot->id);
    }
    jw_obj_end(&w);
    jw_arr_end(&w);
    jw_kv_arr(&w, "updates");
    jw_obj_begin(&w);
    jw_kv_cstr(&w, "action", "add-snapshot");
    enum status status = write_snapshot(r, &w, list_uri, err);
    jw_obj_end(&w);
    jw_obj_begin(&w);
    jw_kv_cstr(&w, "action", "set-snapshot-ref");
    jw_kv_cstr(&w, "ref-name", "main");
    jw_kv_cstr(&w, "type", "branch");
    jw_kv_i64(&w, "snapshot-id", r->snapshot_id);
    jw_obj_end(&w);
    jw_arr_end(&w);
    jw_obj_end(&w);
    if (status != OK) {
        return status; /* it stopped in the middle */
    }
    return json_writer_end(&w) == OK ? OK : err_no_memory(err);
}

static enum status commit(struct rewriting *r, struct str list_uri, struct err *err)
{
    AUTO(buf_done) struct buf json;
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    struct catalog_loaded loaded = { 0 };
    buf_init(&json, BODY_BYTES_MAX);
    TRY(write_change(r, list_uri, &json, err));
    TRY(json_parse(buf_str(&json), &doc, err));
    yyjson_val *root = yyjson_doc_get_root(doc);
    const struct catalog_change change = {
        .name = r->request->name,
        .requirements = yyjson_obj_get(root, "requirements"),
        .updates = yyjson_obj_get(root, "updates"),
    };
    enum status status = catalog_change_table(r->catalog, &change, r->request->deadline, r->arena,
                                              &loaded, err);
    buf_done(&loaded.metadata);
    return status;
}

/* --- one attempt --- */

static enum status open_base(struct rewriting *r, struct err *err)
{
    struct str key;
    TRY(catalog_pin(r->catalog, &r->request->name, false, NULL, &r->pin, err));
    const struct ice_metadata *metadata = r->pin->metadata;
    if (metadata->format_version != 2) {
        return err_set(
            err, E_INVALID, "table \"%.*s\" has format version %d; only version 2 is written%s",
            STR_ARG(r->request->name.name), (int)metadata->format_version,
            metadata->format_version < 2 ? " (set its property format-version to 2)" : "");
    }
    if (r->pin->snapshot != NULL) {
        TRY(reader_list(r->catalog->reader, r->pin->snapshot->manifest_list, &r->list_item,
                        &r->list, err));
    }
    TRY(locate_key(r->catalog->reader->locate, metadata->location, r->arena, &key, err));
    r->folder = arena_printf(r->arena, "%.*s/metadata/", STR_ARG(key));
    r->snapshot_id = ice_snapshot_id(metadata);
    r->sequence_number = metadata->last_sequence_number + 1;
    return r->folder.ptr == NULL ? err_no_memory(err) : OK;
}

static enum status attempt(struct rewriting *r, bool *wrote_out, struct err *err)
{
    struct str list_uri;
    static char any;
    TRY(open_base(r, err));
    for (size_t i = 0; i < r->request->removed_count; i++) {
        if (map_put(&r->removed, r->request->removed[i], &any, NULL) != OK) {
            return err_no_memory(err);
        }
    }
    TRY(rewrite_check(r->catalog, r->request, r->pin, &r->removed, r->arena, err));
    *wrote_out = true;
    TRY(write_list(r, &list_uri, err));
    *wrote_out = false; /* from here on it may have landed */
    enum status status = commit(r, list_uri, err);
    r->was_outrun = status == E_CONFLICT; /* which may leave room for this one */
    *wrote_out = status == E_CONFLICT || status == E_NOT_FOUND || status == E_INVALID ||
                 status == E_EXISTS;
    return status;
}

static enum status run_once(struct rewriting *r, struct err *err)
{
    bool wrote = false;
    uuid4(r->uuid);
    map_init(&r->removed);
    enum status status = attempt(r, &wrote, err);
    if (status != OK && wrote) {
        discard(r);
    }
    map_done(&r->removed);
    cache_release(r->list_item);
    catalog_unpin(r->pin);
    return status;
}

/** Between 5 and 400 ms, more with each round that was lost. */
static void back_off(int round)
{
    int64_t most = (int64_t)BACKOFF_MS << (round < BACKOFF_DOUBLINGS ? round : BACKOFF_DOUBLINGS);
    int64_t ms = most / 2 + (int64_t)(random_u64() % (uint64_t)most);
    const struct timespec wait = { .tv_sec = 0, .tv_nsec = ms * 1000000 };
    (void)nanosleep(&wait, NULL);
}

enum status catalog_rewrite(struct catalog *catalog, const struct catalog_rewrite *rewrite,
                            int64_t *snapshot_id_out, struct err *err)
{
    for (int round = 0;; round++) {
        struct arena arena;
        arena_init(&arena, 0);
        struct rewriting r = { .catalog = catalog, .request = rewrite, .arena = &arena };
        enum status status = run_once(&r, err);
        *snapshot_id_out = r.snapshot_id;
        arena_done(&arena);
        if (!r.was_outrun || deadline_passed(rewrite->deadline)) {
            return status;
        }
        back_off(round);
    }
}
