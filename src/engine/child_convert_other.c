/*
 * The layouts of JSON and Parquet: DuckDB reads the columns and their types, we say what becomes of
 * those that Iceberg does not have.
 */
#include "engine/child_convert_priv.h"

struct described {
    struct convert *c;
    size_t cap;
};

static enum status add_column(void *ctx, const struct str *cells, size_t count, struct err *err)
{
    struct described *d = ctx;
    struct convert *c = d->c;
    struct arena *arena = &c->job->arena;
    (void)count;
    if (c->column_count == d->cap) {
        d->cap = d->cap ? d->cap * 2 : 32;
        struct convert_column *columns = arena_array(arena, d->cap, sizeof(*columns));
        if (columns == NULL) {
            return err_no_memory(err);
        }
        if (c->column_count > 0) {
            memcpy(columns, c->columns, c->column_count * sizeof(*columns));
        }
        c->columns = columns;
    }
    struct convert_column *column = &c->columns[c->column_count];
    AUTO(buf_done) struct buf quoted;
    buf_init(&quoted, 0);
    *column = (struct convert_column){ .name = arena_str(arena, cells[0]) };
    if (duck_quote_ident(&quoted, cells[0]) != OK) {
        return err_no_memory(err);
    }
    column->expr = arena_str(arena, buf_str(&quoted));
    if (column->name.ptr == NULL || column->expr.ptr == NULL) {
        return err_no_memory(err);
    }
    struct err why = { 0 };
    if (sql_type_parse(arena, cells[1], &column->type, &why) != OK) {
        return err_set(err, E_INVALID, "column \"%.*s\": %s", STR_ARG(cells[0]), why.msg);
    }
    /* JSON text is what DuckDB calls a column whose values are of several kinds: strings lose their
     * quotes again. */
    if (str_eq(cells[1], STR("JSON"))) {
        column->expr = arena_printf(
            arena,
            "CASE json_type(%.*s) WHEN 'VARCHAR' THEN %.*s->>'$' WHEN 'NULL' THEN NULL ELSE CAST(%.*s AS VARCHAR) END",
            STR_ARG(column->expr), STR_ARG(column->expr), STR_ARG(column->expr));
    }
    c->column_count++;
    return column->expr.ptr != NULL ? OK : err_no_memory(err);
}

static enum status describe(struct convert *c, struct err *err)
{
    struct described d = { .c = c };
    struct str sql = arena_printf(&c->job->arena, "DESCRIBE SELECT * FROM %.*s",
                                  STR_ARG(c->source));
    if (sql.ptr == NULL) {
        return err_no_memory(err);
    }
    c->column_count = 0;
    return convert_explain(c, duck_rows(c->session, sql, add_column, &d, err), err);
}

enum status convert_parquet_layout(struct convert *c, struct err *err)
{
    c->source = STR("read_parquet('spool://in')");
    enum status status = describe(c, err);
    if (status == E_INTERNAL || status == E_INVALID) {
        struct err why = *err;
        return err_set(err, E_INVALID, "this is no readable Parquet file: %s", why.msg);
    }
    return status;
}

/* --- JSON --- */

/** A type with every date, time and time stamp replaced by VARCHAR: their texts are read as they
 * stand. */
static bool without_times(struct ice_type *type)
{
    bool changed = false;
    for (size_t i = 0; i < type->field_count; i++) {
        changed = without_times(&type->fields[i].type) || changed;
    }
    if (type->kind == ICE_DATE || type->kind == ICE_TIMESTAMP || type->kind == ICE_TIMESTAMPTZ ||
        type->kind == ICE_UUID) {
        *type = (struct ice_type){ .kind = ICE_STRING };
        changed = true;
    }
    return changed;
}

/** Iceberg knows no map with keys of JSON's kind, and a struct needs a field: an object that is
 * always empty is kept as its text. */
static bool has_empty_struct(const struct ice_type *type)
{
    bool found = type->kind == ICE_STRUCT && type->field_count == 0;
    for (size_t i = 0; i < type->field_count; i++) {
        found = found || has_empty_struct(&type->fields[i].type);
    }
    return found;
}

static struct str json_call(struct convert *c, bool array, struct str columns)
{
    return arena_printf(&c->job->arena,
                        "read_json('spool://in', format='%s', maximum_object_size=%llu, %.*s)",
                        array ? "array" : "newline_delimited",
                        (unsigned long long)c->line_bytes_max, STR_ARG(columns));
}

/** The column list that the file is read with: the types that were found, times as text. */
static enum status json_columns(struct convert *c, struct buf *out, struct err *err)
{
    TRY(buf_append(out, STR("columns={")));
    for (size_t i = 0; i < c->column_count; i++) {
        struct convert_column *column = &c->columns[i];
        AUTO(buf_done) struct buf type;
        buf_init(&type, 0);
        bool json = str_starts(column->expr, STR("CASE json_type"));
        column->only_times = column->type.kind == ICE_DATE || column->type.kind == ICE_TIMESTAMP ||
                             column->type.kind == ICE_TIMESTAMPTZ;
        column->text = column->only_times;
        without_times(&column->type);
        if (has_empty_struct(&column->type)) {
            column->type = (struct ice_type){ .kind = ICE_STRING };
        }
        TRY(sql_type_print(&column->type, &type, err));
        TRY(buf_append(out, i == 0 ? STR("") : STR(",")));
        TRY(duck_quote_text(out, column->name));
        TRY(buf_append_char(out, ':'));
        TRY(duck_quote_text(out, json ? STR("JSON") : buf_str(&type)));
    }
    return buf_append_char(out, '}');
}

enum status convert_json_layout(struct convert *c, bool array, struct err *err)
{
    c->source = json_call(
        c, array,
        STR("sample_size=-1, maximum_depth=-1, map_inference_threshold=-1, field_appearance_threshold=0, "
            "convert_strings_to_integers=false"));
    if (c->source.ptr == NULL) {
        return err_no_memory(err);
    }
    TRY(describe(c, err));
    if (c->column_count == 0) {
        return err_set(err, E_INVALID, "the file has no fields");
    }
    AUTO(buf_done) struct buf columns;
    buf_init(&columns, 0);
    enum status status = json_columns(c, &columns, err);
    if (status != OK) {
        return status == E_TOO_LARGE ? err_no_memory(err) : status;
    }
    c->source = json_call(c, array, buf_str(&columns));
    return c->source.ptr != NULL ? OK : err_no_memory(err);
}
