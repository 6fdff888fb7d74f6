/*
 * Data files with their statistics as JSON. Only what an append may hold: unpartitioned data files.
 */
#include "catalog/wire_priv.h"

#include "base/encode.h"

enum { BOUND_BYTES_MAX = 1024 * 1024, COLUMN_VALUES = 7 };

static void write_bound(struct json_writer *w, struct str bound)
{
    if (bound.ptr == NULL) {
        jw_null(w);
        return;
    }
    AUTO(buf_done) struct buf text;
    buf_init(&text, BOUND_BYTES_MAX * 2);
    if (base64_append(&text, bound.ptr, bound.len) != OK) {
        w->status = w->status == OK ? E_NO_MEMORY : w->status;
        return;
    }
    jw_str(w, buf_str(&text));
}

static void write_column(struct json_writer *w, const struct ice_column_stats *column)
{
    jw_arr_begin(w);
    jw_i64(w, column->field_id);
    jw_i64(w, column->size_bytes);
    jw_i64(w, column->value_count);
    jw_i64(w, column->null_count);
    jw_i64(w, column->nan_count);
    write_bound(w, column->lower);
    write_bound(w, column->upper);
    jw_arr_end(w);
}

void wire_file(struct json_writer *w, const struct ice_data_file *file)
{
    jw_obj_begin(w);
    jw_kv_str(w, "path", file->path);
    jw_kv_str(w, "format", file->format);
    jw_kv_i64(w, "records", file->record_count);
    jw_kv_i64(w, "size", file->size_bytes);
    jw_kv_i64(w, "sort_order_id", file->sort_order_id);
    jw_kv_arr(w, "columns");
    for (size_t i = 0; i < file->column_count; i++) {
        write_column(w, &file->columns[i]);
    }
    jw_arr_end(w);
    jw_kv_arr(w, "split_offsets");
    for (size_t i = 0; i < file->split_count; i++) {
        jw_i64(w, file->split_offsets[i]);
    }
    jw_arr_end(w);
    jw_obj_end(w);
}

static enum status read_bound(struct arena *arena, yyjson_val *val, struct str *out,
                              struct err *err)
{
    *out = (struct str){ NULL, 0 };
    if (yyjson_is_null(val)) {
        return OK;
    }
    AUTO(buf_done) struct buf bytes;
    buf_init(&bytes, BOUND_BYTES_MAX);
    struct str text = str_from(yyjson_get_str(val), yyjson_get_len(val));
    if (!yyjson_is_str(val) || base64_decode(text, &bytes) != OK) {
        return err_set(err, E_INVALID, "a bound is no base64");
    }
    *out = arena_str(arena, bytes.ptr == NULL ? STR_EMPTY : buf_str(&bytes));
    return out->ptr == NULL ? err_no_memory(err) : OK;
}

static enum status read_column(struct arena *arena, yyjson_val *arr, struct ice_column_stats *out,
                               struct err *err)
{
    if (yyjson_arr_size(arr) != COLUMN_VALUES) {
        return err_set(err, E_INVALID, "the statistics of a column have %zu values, not %d",
                       yyjson_arr_size(arr), COLUMN_VALUES);
    }
    for (size_t i = 0; i < 5; i++) {
        if (!yyjson_is_int(yyjson_arr_get(arr, i))) {
            return err_set(err, E_INVALID, "a count in the statistics of a column is no integer");
        }
    }
    int64_t id = yyjson_get_sint(yyjson_arr_get(arr, 0));
    if (id < 0 || id > INT32_MAX) {
        return err_set(err, E_INVALID, "field id %lld is out of range", (long long)id);
    }
    *out = (struct ice_column_stats){
        .field_id = (int32_t)id,
        .size_bytes = yyjson_get_sint(yyjson_arr_get(arr, 1)),
        .value_count = yyjson_get_sint(yyjson_arr_get(arr, 2)),
        .null_count = yyjson_get_sint(yyjson_arr_get(arr, 3)),
        .nan_count = yyjson_get_sint(yyjson_arr_get(arr, 4)),
    };
    TRY(read_bound(arena, yyjson_arr_get(arr, 5), &out->lower, err));
    return read_bound(arena, yyjson_arr_get(arr, 6), &out->upper, err);
}

static enum status read_columns(struct arena *arena, yyjson_val *obj, struct ice_data_file *out,
                                struct err *err)
{
    yyjson_val *arr = NULL;
    TRY(json_get_arr(obj, "columns", JSON_OPTIONAL, &arr, err));
    out->columns = arena_array(arena, yyjson_arr_size(arr), sizeof(*out->columns));
    if (out->columns == NULL) {
        return err_no_memory(err);
    }
    size_t i, max;
    yyjson_val *val;
    yyjson_arr_foreach(arr, i, max, val)
    {
        TRY(read_column(arena, val, &out->columns[i], err));
    }
    out->column_count = yyjson_arr_size(arr);
    return OK;
}

static enum status read_splits(struct arena *arena, yyjson_val *obj, struct ice_data_file *out,
                               struct err *err)
{
    yyjson_val *arr = NULL;
    TRY(json_get_arr(obj, "split_offsets", JSON_OPTIONAL, &arr, err));
    out->split_offsets = arena_array(arena, yyjson_arr_size(arr), sizeof(*out->split_offsets));
    if (out->split_offsets == NULL) {
        return err_no_memory(err);
    }
    size_t i, max;
    yyjson_val *val;
    yyjson_arr_foreach(arr, i, max, val)
    {
        if (!yyjson_is_int(val)) {
            return err_set(err, E_INVALID, "a split offset is no integer");
        }
        out->split_offsets[i] = yyjson_get_sint(val);
    }
    out->split_count = yyjson_arr_size(arr);
    return OK;
}

enum status wire_read_file(struct arena *arena, yyjson_val *obj, struct ice_data_file *out,
                           struct err *err)
{
    struct ice_data_file file = { .content = ICE_DATA,
                                  .status = ICE_ADDED,
                                  .snapshot_id = -1,
                                  .sequence_number = -1,
                                  .file_sequence_number = -1 };
    int64_t sort_order = -1;
    TRY(wire_read_str(arena, obj, "path", JSON_REQUIRED, &file.path, err));
    TRY(wire_read_str(arena, obj, "format", JSON_REQUIRED, &file.format, err));
    TRY(json_get_i64(obj, "records", JSON_REQUIRED, &file.record_count, err));
    TRY(json_get_i64(obj, "size", JSON_REQUIRED, &file.size_bytes, err));
    TRY(json_get_i64(obj, "sort_order_id", JSON_OPTIONAL, &sort_order, err));
    file.sort_order_id = sort_order < -1 || sort_order > INT32_MAX ? -1 : (int32_t)sort_order;
    TRY(read_columns(arena, obj, &file, err));
    TRY(read_splits(arena, obj, &file, err));
    *out = file;
    return OK;
}
