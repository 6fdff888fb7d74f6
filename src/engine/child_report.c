/*
 * The report of CALL as a SELECT of constants, so that it leaves in every format by the one way of
 * results: {"columns":[{"name","type"}],"rows":[[value,..],..]}, where a value is a text, a number,
 * a boolean or null.
 */
#include "engine/child_write.h"

static enum status append_value(yyjson_val *value, struct buf *sql)
{
    if (yyjson_is_str(value)) {
        return duck_quote_text(sql, str_from(yyjson_get_str(value), yyjson_get_len(value)));
    }
    if (yyjson_is_null(value) || value == NULL) {
        return buf_append(sql, STR("NULL"));
    }
    struct json_writer w;
    json_writer_init(&w, sql);
    jw_val(&w, value);
    return json_writer_end(&w);
}

static enum status append_columns(yyjson_val *columns, struct buf *sql)
{
    size_t i, max;
    yyjson_val *column;
    yyjson_arr_foreach(columns, i, max, column)
    {
        const char *type = yyjson_get_str(yyjson_obj_get(column, "type"));
        const char *name = yyjson_get_str(yyjson_obj_get(column, "name"));
        TRY(buf_printf(sql, "%sCAST(c%zu AS %s) AS ", i == 0 ? "SELECT " : ", ", i,
                       type == NULL ? "VARCHAR" : type));
        TRY(duck_quote_ident(sql, str_of(name == NULL ? "" : name)));
    }
    return OK;
}

static enum status append_row(yyjson_val *row, size_t count, struct buf *sql)
{
    for (size_t i = 0; i < count; i++) {
        TRY(buf_append_char(sql, i == 0 ? '(' : ','));
        TRY(append_value(yyjson_arr_get(row, i), sql));
    }
    return buf_append_char(sql, ')');
}

/** Of no rows, one of NULLs that a condition takes away. */
static enum status append_rows(yyjson_val *rows, size_t count, struct buf *sql)
{
    size_t i, max;
    yyjson_val *row;
    TRY(buf_append(sql, STR(" FROM (VALUES ")));
    yyjson_arr_foreach(rows, i, max, row)
    {
        if (i > 0) {
            TRY(buf_append_char(sql, ','));
        }
        TRY(append_row(row, count, sql));
    }
    if (yyjson_arr_size(rows) == 0) {
        TRY(append_row(NULL, count, sql));
    }
    for (size_t c = 0; c < count; c++) {
        TRY(buf_printf(sql, "%sc%zu", c == 0 ? ") AS r(" : ",", c));
    }
    return buf_append(sql, yyjson_arr_size(rows) == 0 ? STR(") WHERE false") : STR(")"));
}

enum status child_report_select(struct str report, struct buf *sql, struct err *err)
{
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    yyjson_val *columns = NULL, *rows = NULL;
    TRY(json_parse(report, &doc, err));
    TRY(json_get_arr(yyjson_doc_get_root(doc), "columns", JSON_REQUIRED, &columns, err));
    TRY(json_get_arr(yyjson_doc_get_root(doc), "rows", JSON_REQUIRED, &rows, err));
    size_t count = yyjson_arr_size(columns);
    if (count == 0) {
        return err_set(err, E_INTERNAL, "a report without columns");
    }
    return append_columns(columns, sql) == OK && append_rows(rows, count, sql) == OK
               ? OK
               : err_no_memory(err);
}
