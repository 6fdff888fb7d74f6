/*
 * mode=upsert: a file is converted as always, into one Parquet file with all of the table's
 * columns; then the service's upserter replaces rows by it (docs/decisions/0023).
 */
#include <sys/stat.h>

#include "iceberg/shape.h"
#include "ingest/ingest_priv.h"

/* --- keys --- */

/** What is equal must be one value: nothing nested, no floats, as Iceberg's identifier fields. */
static bool may_be_key(const struct ice_type *type)
{
    return type->field_count == 0 && type->kind != ICE_FLOAT && type->kind != ICE_DOUBLE &&
           type->kind != ICE_STRUCT && type->kind != ICE_LIST && type->kind != ICE_MAP &&
           type->kind != ICE_OTHER;
}

static enum status find_key(struct ingest_upload *upload, const struct ice_schema *file,
                            struct str name, struct str *out, struct err *err)
{
    const struct ice_schema *table = &upload->plan.target;
    const struct ice_field *there = ice_shape_column(&file->root, name);
    if (there == NULL) {
        return err_set(err, E_INVALID, "key: the file has no column \"%.*s\"", STR_ARG(name));
    }
    const struct ice_field *column = ice_schema_by_name(table, there->name);
    if (column == NULL || !may_be_key(&column->type)) {
        return err_set(err, E_INVALID,
                       "key: column \"%.*s\" cannot be a key: floats and nested columns cannot",
                       STR_ARG(name));
    }
    *out = column->name;
    return OK;
}

enum status ingest_find_keys(struct ingest_upload *upload, const struct ice_schema *file,
                             struct err *err)
{
    size_t count = upload->params.key_count;
    struct str *keys = arena_array(&upload->plan.arena, count + 1, sizeof(*keys));
    if (keys == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < count; i++) {
        TRY(find_key(upload, file, upload->params.keys[i], &keys[i], err));
        for (size_t k = 0; k < i; k++) {
            if (str_eq(keys[k], keys[i])) {
                return err_set(err, E_INVALID, "key: \"%.*s\" is named twice", STR_ARG(keys[i]));
            }
        }
    }
    upload->plan.keys = keys;
    return OK;
}

/* --- the run --- */

enum status ingest_upsert_start(struct ingest_upload *upload, struct err *err)
{
    const struct ingest_upserter *upserter = &upload->ingest->opts.upserter;
    struct stat info;
    if (fstat(upload->output_fd, &info) != 0) {
        return err_set(err, E_INTERNAL, "the converted file cannot be looked at");
    }
    const struct ingest_upsert upsert = {
        .table = upload->params.table,
        .fd = upload->output_fd,
        .size = (uint64_t)info.st_size,
        .uuid = upload->place.uuid,
        .schema_id = upload->place.schema_id,
        .keys = upload->plan.keys,
        .key_count = upload->params.key_count,
        .batch_id = upload->batch_id,
        .deadline = upload->deadline,
    };
    return upserter->start(upserter->ctx, &upsert, &upload->upserting, err);
}

static enum status read_files(struct ingest_upload *upload, yyjson_val *list, struct err *err)
{
    struct ingest_result *result = &upload->result;
    size_t i, max;
    yyjson_val *file;
    result->files = arena_array(&upload->arena, yyjson_arr_size(list) + 1, sizeof(*result->files));
    if (result->files == NULL) {
        return err_no_memory(err);
    }
    yyjson_arr_foreach(list, i, max, file)
    {
        struct ingest_file *to = &result->files[i];
        struct str key;
        TRY(json_get_str(file, "key", JSON_REQUIRED, &key, err));
        TRY(json_get_i64(file, "size", JSON_REQUIRED, &to->size, err));
        TRY(json_get_i64(file, "rows", JSON_REQUIRED, &to->row_count, err));
        to->key = arena_str(&upload->arena, key);
        TRY(to->key.ptr == NULL ? err_no_memory(err) : OK);
    }
    result->file_count = yyjson_arr_size(list);
    return OK;
}

static enum status read_done(struct ingest_upload *upload, struct str json,
                             struct catalog_appended *out, struct err *err)
{
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    yyjson_val *files = NULL;
    TRY(json_parse(json, &doc, err));
    yyjson_val *root = yyjson_doc_get_root(doc);
    *out = (struct catalog_appended){ .uuid = upload->place.uuid,
                                      .fingerprint = upload->place.fingerprint,
                                      .created = upload->made_table,
                                      .batch_id = upload->batch_id,
                                      .snapshot_id = -1 };
    TRY(json_get_i64(root, "rows", JSON_REQUIRED, &out->row_count, err));
    TRY(json_get_i64(root, "replaced", JSON_REQUIRED, &upload->result.replaced, err));
    TRY(json_get_i64(root, "snapshot_id", JSON_OPTIONAL, &out->snapshot_id, err));
    TRY(json_get_arr(root, "files", JSON_OPTIONAL, &files, err));
    return read_files(upload, files, err);
}

enum status ingest_upsert_step(struct ingest_upload *upload, bool *done_out,
                               struct catalog_appended *out, struct err *err)
{
    const struct ingest_upserter *upserter = &upload->ingest->opts.upserter;
    struct engine_frame frame = { 0 };
    enum status status = upserter->read(upload->upserting, &frame, err);
    *done_out = status == OK && frame.type == ENGINE_DONE;
    if (*done_out) {
        status = read_done(upload, frame.bytes, out, err);
    }
    if (status != OK || *done_out) {
        upserter->free(upload->upserting);
        upload->upserting = NULL;
    }
    return status;
}
