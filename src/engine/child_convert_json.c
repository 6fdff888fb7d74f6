/*
 * The layout of a JSON file: we read it once ourselves (json_scan.h), so that every record is known
 * to be well-formed and every value's kind is known, and tell DuckDB the columns and their types.
 *
 * Its own detection is not used: it takes arrays that are cut short, gives another name to a field
 * that differs by case and then reads NULL for it, and says "JSON" of what never had a value.
 */
#include "engine/child_convert_priv.h"
#include "engine/json_scan.h"

struct reading {
    const struct duck_files *files;
    void *file;
};

static enum status read_input(void *ctx, uint64_t offset, void *ptr, size_t len, size_t *got_out,
                              struct err *err)
{
    struct reading *reading = ctx;
    return reading->files->read_at(reading->file, offset, ptr, len, got_out, err);
}

static enum status scan_input(struct convert *c, struct json_shape *shape, struct json_scan *out,
                              struct err *err)
{
    struct reading reading = { .files = lakefs_files(c->job->lakefs) };
    uint64_t size;
    TRY(reading.files->open(reading.files->ctx, STR("spool://in"), &reading.file, &size, err));
    struct json_scan_opts opts = { .read = read_input,
                                   .record_bytes_max = c->line_bytes_max,
                                   .ctx = &reading };
    enum status status = json_scan(&opts, shape, out, err);
    reading.files->close(reading.file);
    return status;
}

/** A string may be a date, a time stamp, or what else the table has that is written as text. */
static bool may_be_more_than_text(const struct ice_type *table)
{
    return table == NULL || table->kind == ICE_DATE || table->kind == ICE_TIMESTAMP ||
           table->kind == ICE_TIMESTAMPTZ || table->kind == ICE_TIME || table->kind == ICE_UUID;
}

static enum status add_columns(struct convert *c, const struct json_shape *shape, struct err *err)
{
    struct arena *arena = &c->job->arena;
    size_t count = json_shape_field_count(shape);
    c->columns = arena_array(arena, count + 1, sizeof(*c->columns));
    if (c->columns == NULL) {
        return err_no_memory(err);
    }
    for (; c->column_count < count; c->column_count++) {
        struct convert_column *column = &c->columns[c->column_count];
        AUTO(buf_done) struct buf quoted;
        buf_init(&quoted, 0);
        column->name = arena_str(arena, json_shape_field_name(shape, c->column_count));
        const struct ice_field *theirs = c->table != NULL
                                             ? ice_schema_by_name(c->table, column->name)
                                             : NULL;
        const struct ice_type *table = theirs != NULL ? &theirs->type : NULL;
        if (column->name.ptr == NULL || duck_quote_ident(&quoted, column->name) != OK) {
            return err_no_memory(err);
        }
        column->expr = arena_str(arena, buf_str(&quoted));
        if (column->expr.ptr == NULL) {
            return err_no_memory(err);
        }
        TRY(json_shape_field_type(shape, c->column_count, table, arena, &column->type, err));
        column->text = json_shape_field_is_text(shape, c->column_count) &&
                       may_be_more_than_text(table);
        column->only_times = column->text;
    }
    return OK;
}

/** read_json with the columns as they were found; texts stay texts here. */
static enum status write_source(struct convert *c, enum json_layout layout, struct err *err)
{
    static const char *const formats[] = { [JSON_LINES] = "newline_delimited",
                                           [JSON_ARRAY] = "array",
                                           [JSON_CONCATENATED] = "unstructured" };
    AUTO(buf_done) struct buf sql;
    buf_init(&sql, 0);
    enum status status = buf_printf(
        &sql, "read_json('spool://%s', format='%s', maximum_object_size=%llu, columns={",
        c->is_copied ? c->input_name.ptr : "in", formats[layout],
        (unsigned long long)c->line_bytes_max);
    for (size_t i = 0; i < c->column_count && status == OK; i++) {
        AUTO(buf_done) struct buf type;
        buf_init(&type, 0);
        TRY(sql_type_print(&c->columns[i].type, &type, err));
        status = i == 0 ? OK : buf_append_char(&sql, ',');
        status = status == OK ? duck_quote_text(&sql, c->columns[i].name) : status;
        status = status == OK ? buf_append_char(&sql, ':') : status;
        status = status == OK ? duck_quote_text(&sql, buf_str(&type)) : status;
    }
    status = status == OK ? buf_append(&sql, STR("})")) : status;
    c->source = status == OK ? arena_str(&c->job->arena, buf_str(&sql)) : (struct str){ 0 };
    return c->source.ptr != NULL ? OK : err_no_memory(err);
}

static enum status lay_out(struct convert *c, struct json_shape *shape, struct err *err)
{
    struct json_scan scan;
    TRY(c->skip_bad ? convert_scan_json(c, shape, &scan, err) : scan_input(c, shape, &scan, err));
    if (scan.record_count == 0) {
        return err_set(err, E_INVALID, "the file has no rows");
    }
    if (json_shape_field_count(shape) == 0) {
        return err_set(err, E_INVALID, "the file has no fields");
    }
    if (json_shape_field_count(shape) > c->columns_max) {
        c->column_count = json_shape_field_count(shape);
        return OK; /* the caller refuses it */
    }
    TRY(add_columns(c, shape, err));
    return write_source(c, scan.layout, err);
}

enum status convert_clean_json(struct convert *c, struct err *err)
{
    struct json_shape *shape = NULL;
    struct json_scan scan;
    TRY(json_shape_new(&c->job->arena, &shape, err));
    enum status status = convert_scan_json(c, shape, &scan, err);
    json_shape_free(shape);
    return status == OK && scan.layout == JSON_LINES ? convert_point_source(c, err) : status;
}

enum status convert_json_layout(struct convert *c, struct err *err)
{
    struct json_shape *shape = NULL;
    TRY(json_shape_new(&c->job->arena, &shape, err));
    enum status status = lay_out(c, shape, err);
    json_shape_free(shape);
    return status;
}
