/*
 * The life of a rewrite:
 *
 *      read the table --> does it still fit? --> manifests, list --> catalog_change_table
 *            ^                                                              |
 *            '------------------ E_CONFLICT: somebody was faster -----------'
 *
 * Manifests that name files that go are written anew (rewrite_carry.c). All others are carried as
 * they are. New data files and new delete files come in manifests of their own, one for each
 * partition spec: their partition records are of our making, whoever made those of the files that
 * they replace.
 *
 * Invariant: what was written here is deleted again only when the commit has surely not landed.
 */
#include "catalog/rewrite.h"

#include "catalog/batch.h"
#include "catalog/partition_row.h"
#include "catalog/rewrite_check.h"
#include "catalog/rewrite_priv.h"

/* --- new files --- */

/** Files that share a manifest. */
struct kind {
    const struct ice_spec *spec;
    int32_t content; /* 0 data, 1 deletes */
    const struct ice_partition_spec *fields;
};

static bool is_of(const struct rewriting *r, size_t i, const struct kind *kind)
{
    const struct ice_data_file *file = &r->request->added[i];
    return file->partition_spec_id == kind->spec->id &&
           (file->content == ICE_DATA) == (kind->content == 0);
}

/** What the row tells of the partitions in its manifest. */
static enum status summarize(struct rewriting *r, const struct kind *kind,
                             struct ice_manifest_file *row, struct err *err)
{
    TRY(partition_row_begin(r->arena, kind->fields, row, err));
    for (size_t i = 0; i < r->request->added_count; i++) {
        if (!is_of(r, i, kind)) {
            continue;
        }
        const struct str *values = r->request->partitions == NULL
                                       ? NULL
                                       : r->request->partitions[i].values;
        TRY(values == NULL ? err_set(err, E_INTERNAL, "a data file of no partition")
                           : partition_row_add(kind->fields, values, row, err));
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
        if (r->request->same_rows && entry->content == ICE_DATA) {
            entry->sequence_number = row->min_sequence_number = r->data_sequence_number;
        }
        TRY(locate_uri(r->catalog->reader->locate, r->pin->metadata->location, entry->path,
                       r->arena, &entry->path, err));
        row->added_files++;
        row->added_rows += entry->record_count;
    }
    return OK;
}

/** A manifest of the new files of a kind, if there are any. */
static enum status add_rows(struct rewriting *r, const struct kind *kind, size_t *placed,
                            struct err *err)
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
    if (kind->fields == NULL) {
        return err_set(err, E_CORRUPT, "the table has no partition spec %d", (int)kind->spec->id);
    }
    if (kind->fields->field_count > 0) {
        TRY(partition_row_schema(r->arena, kind->fields, &opts.avro_partition_schema, err));
        TRY(summarize(r, kind, &row, err));
    }
    TRY(written_manifest(&r->written, &opts, files, count, &row, err));
    r->rows[r->row_count++] = row;
    *placed += count;
    return OK;
}

static enum status add_all(struct rewriting *r, struct err *err)
{
    size_t placed = 0;
    struct ice_partition_specs specs;
    TRY(ice_partition_specs(r->arena, r->pin->metadata, &specs, err));
    for (size_t i = 0; i < r->pin->metadata->spec_count; i++) {
        const struct ice_spec *spec = &r->pin->metadata->specs[i];
        struct kind kind = { .spec = spec, .fields = ice_partition_spec_by_id(&specs, spec->id) };
        TRY(add_rows(r, &kind, &placed, err));
        kind.content = 1;
        TRY(add_rows(r, &kind, &placed, err));
    }
    return placed == r->request->added_count
               ? OK
               : err_set(err, E_CONFLICT, "a partition spec of new files is not there any more");
}

static enum status write_list(struct rewriting *r, struct str *uri_out, struct err *err)
{
    const struct ice_metadata *metadata = r->pin->metadata;
    size_t old = r->list == NULL ? 0 : r->list->count;
    r->rows = arena_array(r->arena, old + metadata->spec_count * 2 + 1, sizeof(*r->rows));
    if (r->rows == NULL) {
        return err_no_memory(err);
    }
    TRY(add_all(r, err)); /* the newest first */
    TRY(rewrite_carry(r, err));
    if (!r->request->removes_all && r->found_count != r->removed.count + r->removed_deletes.count) {
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

static enum status put_names(struct map *map, const struct str *uris, size_t count, struct err *err)
{
    static char any;
    for (size_t i = 0; i < count; i++) {
        if (map_put(map, uris[i], &any, NULL) != OK) {
            return err_no_memory(err);
        }
    }
    return OK;
}

static enum status attempt(struct rewriting *r, bool *wrote_out, struct err *err)
{
    struct str list_uri;
    const struct catalog_rewrite *request = r->request;
    TRY(open_base(r, err));
    TRY(put_names(&r->removed, request->removed, request->removed_count, err));
    TRY(put_names(&r->removed_deletes, request->removed_deletes, request->removed_delete_count,
                  err));
    TRY(rewrite_check(r->catalog, request, r->pin, &r->removed, r->arena, err));
    const struct ice_snapshot *read = ice_metadata_snapshot(r->pin->metadata, request->snapshot_id);
    r->data_sequence_number = read == NULL ? 0 : read->sequence_number;
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
    map_init(&r->removed_deletes);
    enum status status = attempt(r, &wrote, err);
    if (status != OK && wrote) {
        written_discard(&r->written, 0);
    }
    map_done(&r->removed);
    map_done(&r->removed_deletes);
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
