/*
 * Commits that replace rows: of the whole table by a file's.
 *
 * They are catalog_rewrite, with the batch of the upload, so that they land once as appends do.
 * What they cannot do beside it, a new schema, is a commit of its own before: it adds columns and
 * loses nothing.
 */
#include "catalog/rewrite.h"
#include "ingest/ingest_priv.h"

enum status ingest_prepare_table(struct ingest_upload *upload, struct err *err)
{
    const struct ingest_plan *plan = &upload->plan;
    struct catalog_appended appended;
    const struct catalog_append append = {
        .name = upload->params.table,
        .schema = &plan->target,
        .create = !upload->place.exists,
        .only_new = !upload->place.exists,
        .place = &upload->place,
        .expected_schema_id = upload->place.schema_id,
        .expected_spec_id = upload->place.spec_id,
        .shape = upload->place.exists ? STR_EMPTY : plan->shape,
        .evolved = upload->place.exists && plan->changed ? &plan->target : NULL,
        .evolved_last_column_id = plan->last_id,
        .deadline = upload->deadline,
    };
    TRY(catalog_append(upload->ingest->opts.catalog, &append, &upload->attempt_arena, &appended,
                       err));
    upload->made_table = upload->made_table || appended.created;
    return OK;
}

/** Files as catalog_rewrite wants them, with their partitions. */
static enum status place_files(struct ingest_upload *upload, const struct ingest_outputs *outputs,
                               struct ice_data_file **files_out,
                               struct ice_partition_record **records_out, struct err *err)
{
    struct arena *arena = &upload->attempt_arena;
    const struct ice_partition_spec *spec = &upload->plan.spec;
    struct ice_data_file *files = arena_array(arena, outputs->count + 1, sizeof(*files));
    struct ice_partition_record *records = arena_array(arena, outputs->count + 1, sizeof(*records));
    if (files == NULL || records == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < outputs->count; i++) {
        files[i] = outputs->files[i];
        files[i].partition_spec_id = upload->place.spec_id;
        records[i] = (struct ice_partition_record){ .values = NULL };
        if (spec->field_count > 0) {
            TRY(ice_partition_record(arena, spec, outputs->parts[i], &records[i], err));
            files[i].partition_avro = records[i].avro;
        }
    }
    *files_out = files;
    *records_out = records;
    return OK;
}

enum status ingest_overwrite(struct ingest_upload *upload, const struct ingest_outputs *outputs,
                             struct catalog_appended *out, struct err *err)
{
    struct ice_data_file *files = NULL;
    struct ice_partition_record *records = NULL;
    int64_t snapshot_id = -1;
    TRY(place_files(upload, outputs, &files, &records, err));
    const struct catalog_rewrite rewrite = {
        .name = upload->params.table,
        .operation = outputs->count > 0 ? "overwrite" : "delete",
        .uuid = upload->place.uuid,
        .snapshot_id = -1,
        .schema_id = upload->place.schema_id,
        .added = files,
        .partitions = records,
        .added_count = outputs->count,
        .removes_all = true,
        .batch_id = upload->batch_id,
        .batch_rows = outputs->rows,
        .deadline = upload->deadline,
    };
    TRY(catalog_rewrite(upload->ingest->opts.catalog, &rewrite, &snapshot_id, err));
    *out = (struct catalog_appended){
        .uuid = upload->place.uuid,
        .fingerprint = upload->place.fingerprint,
        .batch_id = upload->batch_id,
        .snapshot_id = snapshot_id,
        .row_count = outputs->rows,
        .files_added = outputs->count,
    };
    return OK;
}
