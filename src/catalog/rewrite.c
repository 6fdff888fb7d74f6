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

#include "base/map.h"
#include "catalog/batch.h"
#include "catalog/partition_row.h"
#include "catalog/reader.h"
#include "catalog/rewrite_check.h"
#include "catalog/written.h"

struct rewriting {
    struct catalog *catalog;
    const struct catalog_rewrite *request;
    struct arena *arena; /* of one attempt */
    struct catalog_pin *pin;
    const struct reader_list *list; /* NULL: the table has no data */
    struct cache_item *list_item;
    struct map removed; /* URIs; the value is any */
    struct written written;
    bool was_outrun;
    struct ice_manifest_file *rows; /* of the new list */
    size_t row_count;
    struct ice_data_file *gone; /* entries that go, for the summary */
    size_t gone_count, gone_cap;
};

/* --- manifests --- */

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
        entry->snapshot_id = out ? r->written.snapshot_id : file->snapshot_id;
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
        status = status == OK ? written_manifest(&r->written, &opts, files, count, &row, err)
                              : status;
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

static bool is_of(const struct rewriting *r, size_t i, const struct kind *kind)
{
    const struct ice_data_file *file = &r->request->added[i];
    int32_t spec_id = file->partition_spec_id < 0 ? r->pin->metadata->default_spec_id
                                                  : file->partition_spec_id;
    bool is_made = r->request->partitions != NULL && r->request->partitions[i].values != NULL;
    return spec_id == kind->spec->id && (file->content == ICE_DATA) == (kind->content == 0) &&
           is_made == kind->is_made;
}

static enum status summarize(struct rewriting *r, const struct kind *kind,
                             const struct ice_partition_spec *spec, struct ice_manifest_file *row,
                             struct err *err)
{
    TRY(partition_row_begin(r->arena, spec, row, err));
    for (size_t i = 0; i < r->request->added_count; i++) {
        TRY(is_of(r, i, kind) ? partition_row_add(spec, r->request->partitions[i].values, row, err)
                              : OK);
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
    struct ice_manifest_file row = { .min_sequence_number = r->written.sequence_number };
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
        TRY(partition_row_schema(r->arena, spec, &opts.avro_partition_schema, err));
        TRY(summarize(r, kind, spec, &row, err));
    } else {
        TRY(carried_schema(r, kind->spec, &opts.avro_partition_schema, err));
    }
    TRY(written_manifest(&r->written, &opts, files, count, &row, err));
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
    return written_list(&r->written, r->pin, r->rows, r->row_count, uri_out, err);
}

/* --- the change --- */

/** Files that go may be written anew, so that what batches brought is still there though all files
 * of theirs went. */
static enum status tell_that_rows_stay(struct rewriting *r, struct ice_property **summary,
                                       size_t *count, struct err *err)
{
    if (r->request->removes_all || r->request->removed_count == 0) {
        return OK;
    }
    struct ice_property *more = arena_array(r->arena, *count + 1, sizeof(*more));
    if (more == NULL) {
        return err_no_memory(err);
    }
    memcpy(more, *summary, *count * sizeof(*more));
    more[(*count)++] = (struct ice_property){ STR(BATCH_ROWS_STAY), STR("true") };
    *summary = more;
    return OK;
}

static enum status commit(struct rewriting *r, struct str list_uri, struct err *err)
{
    const struct ice_rewritten_files files = { .operation = r->request->operation,
                                               .added = r->request->added,
                                               .added_count = r->request->added_count,
                                               .removed = r->gone,
                                               .removed_count = r->gone_count };
    struct written_commit commit = { .name = &r->request->name,
                                     .pin = r->pin,
                                     .list_uri = list_uri,
                                     .deadline = r->request->deadline };
    struct ice_property *summary = NULL;
    TRY(ice_rewrite_summary(r->arena, r->pin->snapshot, &files, &summary, &commit.summary_count,
                            err));
    TRY(tell_that_rows_stay(r, &summary, &commit.summary_count, err));
    commit.summary = summary;
    const struct catalog_change_batch batch = {
        .id = r->request->batch_id,
        .row_count = r->request->batch_rows,
        .file = r->request->added_count > 0 ? r->request->added[0].path : STR_EMPTY,
    };
    commit.batch = batch.id.len > 0 ? &batch : NULL;
    return written_commit(&r->written, &commit, err);
}

/* --- one attempt --- */

static enum status open_base(struct rewriting *r, struct err *err)
{
    TRY(catalog_pin(r->catalog, &r->request->name, false, NULL, &r->pin, err));
    TRY(written_begin(&r->written, r->pin, err));
    return r->pin->snapshot == NULL
               ? OK
               : reader_list(r->catalog->reader, r->pin->snapshot->manifest_list, &r->list_item,
                             &r->list, err);
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
    *wrote_out = written_is_lost(status);
    return status;
}

static enum status run_once(struct rewriting *r, struct err *err)
{
    bool wrote = false;
    written_init(&r->written, r->catalog, r->arena);
    map_init(&r->removed);
    enum status status = attempt(r, &wrote, err);
    if (status != OK && wrote) {
        written_discard(&r->written, 0);
    }
    map_done(&r->removed);
    cache_release(r->list_item);
    catalog_unpin(r->pin);
    return status;
}

enum status catalog_rewrite(struct catalog *catalog, const struct catalog_rewrite *rewrite,
                            int64_t *snapshot_id_out, struct err *err)
{
    for (int round = 0;; round++) {
        struct arena arena;
        arena_init(&arena, 0);
        struct rewriting r = { .catalog = catalog, .request = rewrite, .arena = &arena };
        enum status status = run_once(&r, err);
        *snapshot_id_out = r.written.snapshot_id;
        arena_done(&arena);
        if (!r.was_outrun || deadline_passed(rewrite->deadline)) {
            return status;
        }
        written_back_off(round);
    }
}
