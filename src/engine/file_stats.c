/*
 * What the engine reports of a Parquet file, as a manifest entry's statistics.
 *
 *   {"rows":n,"split_offsets":[4,...],
 *    "columns":[{"id":1,"size":n,"values":n,"nulls":n,"min":"text","max":"text"},...]}
 *
 * min and max are text as SQL prints it, missing when there are none (no values, or a value that is
 * not worth a bound); "nan":true says that a floating column has some NaN. The engine is a process
 * that may have been led astray by hostile bytes, so nothing in here is believed without a check.
 */
#include "engine/file_stats.h"

#include "base/json.h"
#include "iceberg/value.h"

static enum status bound(struct arena *arena, const struct ice_type *type, yyjson_val *column,
                         const char *name, bool upper, struct str *out, struct err *err)
{
    struct str text = { 0 };
    bool none = true;
    TRY(json_get_str(column, name, JSON_OPTIONAL, &text, err));
    if (text.ptr == NULL) {
        return OK;
    }
    struct str binary = { 0 };
    TRY(ice_bound_from_text(arena, type, text, upper, &binary, &none, err));
    if (!none) {
        *out = binary;
    }
    return OK;
}

static enum status column_stats(struct arena *arena, const struct ice_schema *schema,
                                yyjson_val *column, struct ice_column_stats *out, struct err *err)
{
    int64_t id = 0;
    TRY(json_get_i64(column, "id", JSON_REQUIRED, &id, err));
    const struct ice_field *field = id > 0 && id <= INT32_MAX
                                        ? ice_schema_by_id(schema, (int32_t)id)
                                        : NULL;
    if (field == NULL) {
        return err_set(err, E_INTERNAL,
                       "the engine reports a column with id %lld, which the schema does not have",
                       (long long)id);
    }
    *out = (struct ice_column_stats){ .field_id = (int32_t)id,
                                      .size_bytes = -1,
                                      .value_count = -1,
                                      .null_count = -1,
                                      .nan_count = -1 };
    bool nan = false;
    TRY(json_get_i64(column, "size", JSON_OPTIONAL, &out->size_bytes, err));
    TRY(json_get_i64(column, "values", JSON_OPTIONAL, &out->value_count, err));
    TRY(json_get_i64(column, "nulls", JSON_OPTIONAL, &out->null_count, err));
    TRY(json_get_bool(column, "nan", JSON_OPTIONAL, &nan, err));
    bool floating = field->type.kind == ICE_FLOAT || field->type.kind == ICE_DOUBLE;
    out->nan_count = floating && !nan ? 0 : -1;
    TRY(bound(arena, &field->type, column, "min", false, &out->lower, err));
    return bound(arena, &field->type, column, "max", true, &out->upper, err);
}

static enum status split_offsets(struct arena *arena, yyjson_val *root, struct ice_data_file *out,
                                 struct err *err)
{
    yyjson_val *offsets = NULL, *item;
    size_t i, max;
    TRY(json_get_arr(root, "split_offsets", JSON_OPTIONAL, &offsets, err));
    if (offsets == NULL || yyjson_arr_size(offsets) == 0) {
        return OK;
    }
    out->split_offsets = arena_array(arena, yyjson_arr_size(offsets), sizeof(*out->split_offsets));
    if (out->split_offsets == NULL) {
        return err_no_memory(err);
    }
    yyjson_arr_foreach(offsets, i, max, item)
    {
        out->split_offsets[out->split_count++] = yyjson_get_sint(item);
    }
    return OK;
}

enum status engine_file_report(struct arena *arena, const struct ice_schema *schema,
                               yyjson_val *root, struct ice_data_file *out, struct err *err)
{
    yyjson_val *columns = NULL, *item;
    struct ice_data_file file = { .content = ICE_DATA,
                                  .format = STR("PARQUET"),
                                  .status = ICE_ADDED,
                                  .snapshot_id = -1,
                                  .sequence_number = -1,
                                  .file_sequence_number = -1,
                                  .sort_order_id = -1 };
    TRY(json_get_i64(root, "rows", JSON_REQUIRED, &file.record_count, err));
    if (file.record_count < 0) {
        return err_set(err, E_INTERNAL, "the engine reports %lld rows",
                       (long long)file.record_count);
    }
    TRY(json_get_arr(root, "columns", JSON_REQUIRED, &columns, err));
    file.columns = arena_array(arena, yyjson_arr_size(columns) + 1, sizeof(*file.columns));
    if (file.columns == NULL) {
        return err_no_memory(err);
    }
    size_t i, max;
    yyjson_arr_foreach(columns, i, max, item)
    {
        TRY(column_stats(arena, schema, item, &file.columns[file.column_count], err));
        file.column_count++;
    }
    TRY(split_offsets(arena, root, &file, err));
    *out = file;
    return OK;
}

enum status engine_file_stats(struct arena *arena, const struct ice_schema *schema, struct str json,
                              struct ice_data_file *out, struct err *err)
{
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    TRY(json_parse(json, &doc, err));
    return engine_file_report(arena, schema, yyjson_doc_get_root(doc), out, err);
}
