/*
 * Parquet files of ours: field ids for COPY, and the statistics that DuckDB returns of it, by id.
 */
#include "engine/child_parquet.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "engine/row_groups.h"

/** 'name': id, or with children 'name': {__duckdb_field_id: id, ...}. Lists have `element`, maps
 * `key` and `value`. */
enum status parquet_field_ids(const struct ice_field *field, struct buf *out)
{
    TRY(duck_quote_text(out, field->name));
    if (field->type.field_count == 0) {
        return buf_printf(out, ": %d", field->id);
    }
    TRY(buf_printf(out, ": {__duckdb_field_id: %d", field->id));
    for (size_t i = 0; i < field->type.field_count; i++) {
        TRY(buf_append(out, STR(", ")));
        TRY(parquet_field_ids(&field->type.fields[i], out));
    }
    return buf_append_char(out, '}');
}

/** DuckDB's path of a leaf: "s"."x". */
static enum status append_path(struct buf *path, struct str name)
{
    if (path->len > 0) {
        TRY(buf_append_char(path, '.'));
    }
    return duck_quote_ident(path, name);
}

static void write_number(struct json_writer *w, const char *key, yyjson_val *stats,
                         const char *name)
{
    const char *text = yyjson_get_str(yyjson_obj_get(stats, name));
    int64_t number;
    if (text != NULL && str_to_i64(str_of(text), &number)) {
        jw_kv_i64(w, key, number);
    }
}

static void write_bound(struct json_writer *w, const char *key, yyjson_val *stats, const char *name,
                        const struct ice_type *type)
{
    yyjson_val *value = yyjson_obj_get(stats, name);
    if (!yyjson_is_str(value) || type->kind == ICE_BINARY || type->kind == ICE_FIXED) {
        return; /* blobs come as hex, and nobody prunes by them */
    }
    struct str text = str_from(yyjson_get_str(value), yyjson_get_len(value));
    if (type->kind == ICE_BOOLEAN) {
        text = str_eq(text, STR("1")) || str_eq(text, STR("true")) ? STR("true") : STR("false");
    }
    jw_kv_str(w, key, text);
}

/** The leaves below `field`. Children of lists and maps have counts, but no bounds: a bound of
 * elements says nothing of rows. */
static enum status write_field(struct json_writer *w, yyjson_val *all,
                               const struct ice_field *field, struct buf *path, bool repeated)
{
    size_t before = path->len;
    TRY(append_path(path, field->name));
    bool repeats = repeated || field->type.kind == ICE_LIST || field->type.kind == ICE_MAP;
    for (size_t i = 0; i < field->type.field_count; i++) {
        TRY(write_field(w, all, &field->type.fields[i], path, repeats));
    }
    yyjson_val *stats = field->type.field_count == 0 ? yyjson_obj_getn(all, path->ptr, path->len)
                                                     : NULL;
    if (stats != NULL) {
        jw_obj_begin(w);
        jw_kv_i64(w, "id", field->id);
        write_number(w, "size", stats, "column_size_bytes");
        write_number(w, "values", stats, "num_values");
        write_number(w, "nulls", stats, "null_count");
        const char *nan = yyjson_get_str(yyjson_obj_get(stats, "has_nan"));
        jw_kv_bool(w, "nan", nan != NULL && strcmp(nan, "false") != 0);
        if (!repeated) {
            write_bound(w, "min", stats, "min", &field->type);
            write_bound(w, "max", stats, "max", &field->type);
        }
        jw_obj_end(w);
    }
    path->len = before;
    return OK;
}

struct offsets {
    struct json_writer *w;
    size_t count;
    int64_t last;
};

static enum status add_offset(void *ctx, int64_t offset, struct err *err)
{
    struct offsets *offsets = ctx;
    if (offsets->count > 0 && offset <= offsets->last) {
        return err_set(err, E_INTERNAL, "the row groups are not in the order of their offsets");
    }
    offsets->count++;
    offsets->last = offset;
    jw_i64(offsets->w, offset);
    return OK;
}

/** Row groups begin where a reader may split; DuckDB does not return them, so the footer just
 * written is read, without a statement: that costs a small file a millisecond. */
static enum status write_offsets(int fd, struct json_writer *w, struct err *err)
{
    unsigned char tail[ROW_GROUPS_TAIL_BYTES] = { 0 };
    struct offsets offsets = { .w = w };
    off_t size = lseek(fd, 0, SEEK_END);
    if (size < (off_t)sizeof(tail) ||
        pread(fd, tail, sizeof(tail), size - (off_t)sizeof(tail)) != sizeof(tail)) {
        return err_set(err, E_INTERNAL, "the end of the file just written cannot be read");
    }
    size_t len = tail[0] | (size_t)tail[1] << 8 | (size_t)tail[2] << 16 | (size_t)tail[3] << 24;
    if (len > (size_t)size - sizeof(tail)) {
        return err_set(err, E_INTERNAL, "the file just written has no footer");
    }
    char *footer = mem_alloc(len + 1);
    if (footer == NULL) {
        return err_no_memory(err);
    }
    off_t at = size - (off_t)sizeof(tail) - (off_t)len;
    enum status status = pread(fd, footer, len, at) == (ssize_t)len
                             ? OK
                             : err_set(err, E_INTERNAL, "the footer just written cannot be read");
    jw_kv_arr(w, "split_offsets");
    if (status == OK) {
        status = row_groups_read(str_from(footer, len), add_offset, &offsets, err);
    }
    jw_arr_end(w);
    mem_free(footer);
    return status;
}

enum status parquet_report(struct json_writer *w, const struct ice_schema *schema, yyjson_val *row,
                           int fd, struct err *err)
{
    AUTO(buf_done) struct buf path;
    buf_init(&path, 0);
    int64_t rows = 0;
    TRY(json_get_i64(row, "count", JSON_REQUIRED, &rows, err));
    yyjson_val *all = yyjson_obj_get(row, "column_statistics");
    jw_kv_i64(w, "rows", rows);
    jw_kv_arr(w, "columns");
    for (size_t i = 0; i < schema->root.field_count; i++) {
        if (write_field(w, all, &schema->root.fields[i], &path, false) != OK) {
            return err_no_memory(err);
        }
    }
    jw_arr_end(w);
    return write_offsets(fd, w, err);
}

enum status parquet_copy_row(struct duck_result *result, struct buf *row, struct err *err)
{
    struct duck_encoder *encoder = NULL;
    bool done = false;
    enum status status = duck_encoder_new(result, DUCK_NDJSON, &encoder, err);
    while (status == OK && !done) {
        status = duck_encoder_next(encoder, row, &done, err);
    }
    duck_encoder_free(encoder);
    duck_result_free(result);
    return status;
}
