/*
 * COPY to Parquet with field ids, and the statistics that DuckDB returns of it, by id.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "engine/child_convert_priv.h"
#include "engine/child_write_priv.h"

/* --- SQL --- */

static bool is_split(const struct convert *c)
{
    return c->split.count > 0 || c->split.order_count > 0;
}

static const struct convert_column *column_of(const struct convert *c, struct str name)
{
    for (size_t i = 0; i < c->column_count; i++) {
        if (str_eq(c->columns[i].name, name)) {
            return &c->columns[i];
        }
    }
    return NULL;
}

static enum status append_value(const struct convert_column *column, const struct ice_type *type,
                                struct buf *out, struct err *err)
{
    if (column->text) {
        return convert_text_cast(column, type, out, err);
    }
    AUTO(buf_done) struct buf sql;
    buf_init(&sql, 0);
    TRY(sql_type_print(type, &sql, err));
    bool ok = buf_printf(out, "CAST(%.*s AS %.*s)", STR_ARG(column->expr),
                         STR_ARG(buf_str(&sql))) == OK;
    return ok ? OK : err_no_memory(err);
}

/** The same of a column that must have one. */
static enum status append_required(const struct convert_column *column,
                                   const struct ice_field *field, struct buf *out, struct err *err)
{
    AUTO(buf_done) struct buf value, type, fault, words;
    buf_init(&value, 0);
    buf_init(&type, 0);
    buf_init(&fault, 0);
    buf_init(&words, 0);
    TRY(append_value(column, &field->type, &value, err));
    TRY(sql_type_print(&field->type, &type, err));
    bool ok = buf_printf(&words, "column \"%.*s\" is NOT NULL, but a row has no value for it",
                         STR_ARG(field->name)) == OK &&
              duck_quote_text(&fault, buf_str(&words)) == OK &&
              buf_printf(out,
                         "CASE WHEN (%.*s) IS NULL THEN CAST(error(%.*s) AS %.*s) ELSE %.*s END",
                         STR_ARG(buf_str(&value)), STR_ARG(buf_str(&fault)),
                         STR_ARG(buf_str(&type)), STR_ARG(buf_str(&value))) == OK;
    return ok ? OK : err_no_memory(err);
}

static enum status append_null(const struct ice_type *type, struct buf *out, struct err *err)
{
    AUTO(buf_done) struct buf sql;
    buf_init(&sql, 0);
    TRY(sql_type_print(type, &sql, err));
    bool ok = buf_printf(out, "CAST(NULL AS %.*s)", STR_ARG(buf_str(&sql))) == OK;
    return ok ? OK : err_no_memory(err);
}

/** Each column of the target that the file has, in the target's order, from the source; where rows
 * are spread or sorted, which may be by any, the others too. */
static enum status append_select(const struct convert *c, const struct ice_schema *target,
                                 struct buf *out, struct buf *ids, struct err *err)
{
    size_t written = 0, found = 0;
    for (size_t i = 0; i < target->root.field_count; i++) {
        const struct ice_field *field = &target->root.fields[i];
        const struct convert_column *column = column_of(c, field->name);
        if (column == NULL && !is_split(c) && !c->all_columns) {
            continue; /* readers give NULL for it */
        }
        bool ok = (written == 0 ||
                   (buf_append(out, STR(", ")) == OK && buf_append(ids, STR(", ")) == OK));
        if (!ok) {
            return err_no_memory(err);
        }
        TRY(column == NULL    ? append_null(&field->type, out, err)
            : field->required ? append_required(column, field, out, err)
                              : append_value(column, &field->type, out, err));
        ok = buf_append(out, STR(" AS ")) == OK && duck_quote_ident(out, field->name) == OK &&
             parquet_field_ids(field, ids) == OK;
        if (!ok) {
            return err_no_memory(err);
        }
        written++;
        found += column != NULL;
    }
    return found == c->column_count
               ? OK
               : err_set(err, E_INTERNAL, "the plan has not all columns of the file");
}

static enum status copy_statement(const struct convert *c, const struct ice_schema *target,
                                  struct buf *out, struct err *err)
{
    AUTO(buf_done) struct buf select, ids;
    buf_init(&select, 0);
    buf_init(&ids, 0);
    TRY(append_select(c, target, &select, &ids, err));
    bool ok =
        buf_printf(
            out,
            "COPY (SELECT %.*s FROM %.*s) TO 'spool://out%u' (FORMAT parquet, COMPRESSION zstd, FIELD_IDS {%.*s}, RETURN_STATS)",
            STR_ARG(buf_str(&select)), STR_ARG(c->source), c->outputs,
            STR_ARG(buf_str(&ids))) == OK;
    return ok ? OK : err_no_memory(err);
}

static enum status check_rows(const struct convert *c, int64_t rows, struct err *err)
{
    return !c->is_copied || rows == c->rows_expected
               ? OK
               : err_set(err, E_INTERNAL, "the file has %lld good rows, of which %lld were written",
                         (long long)c->rows_expected, (long long)rows);
}

static enum status write_done(struct convert *c, const struct ice_schema *target, yyjson_val *row,
                              struct buf *done, struct err *err)
{
    int64_t rows = 0;
    TRY(json_get_i64(row, "count", JSON_REQUIRED, &rows, err));
    TRY(check_rows(c, rows, err));
    struct json_writer w;
    json_writer_init(&w, done);
    jw_obj_begin(&w);
    enum status status = parquet_report(&w, target, row, c->output_fd, err);
    if (c->skip_bad) {
        convert_write_skipped(c, &w);
    }
    TRY(status); /* the writer may have stopped in the middle */
    jw_obj_end(&w);
    return json_writer_end(&w) == OK ? OK : err_no_memory(err);
}

/** One file into the output. */
static enum status write_one(struct convert *c, const struct ice_schema *target, struct buf *row,
                             struct err *err)
{
    AUTO(buf_done) struct buf sql;
    char name[32];
    buf_init(&sql, 0);
    snprintf(name, sizeof(name), "out%u", ++c->outputs);
    if (ftruncate(c->output_fd, 0) != 0 || lseek(c->output_fd, 0, SEEK_SET) != 0) {
        return err_set(err, E_INTERNAL, "cannot rewind the output");
    }
    TRY(lakefs_add_output(c->job->lakefs, str_of(name), dup(c->output_fd), err));
    TRY(copy_statement(c, target, &sql, err));
    struct duck_result *result = NULL;
    TRY(duck_query(c->session, buf_str(&sql), STR_EMPTY, &result, err));
    return parquet_copy_row(result, row, err);
}

/** Files of their partitions, or one that is sorted, into spools; `reports` are theirs. */
static enum status write_split(struct convert *c, const struct ice_schema *target,
                               struct buf *reports, struct err *err)
{
    AUTO(buf_done) struct buf sql, select, ids;
    buf_init(&sql, 0);
    buf_init(&select, 0);
    buf_init(&ids, 0);
    struct writing w = { .job = c->job,
                         .session = c->session,
                         .arena = &c->job->arena,
                         .schema = *target,
                         .split = c->split,
                         .folders = ++c->outputs };
    TRY(append_select(c, target, &select, &ids, err));
    if (buf_printf(&sql, "SELECT %.*s FROM %.*s", STR_ARG(buf_str(&select)), STR_ARG(c->source)) !=
        OK) {
        return err_no_memory(err);
    }
    TRY(write_copy_ours(&w, buf_str(&sql), target, -1, reports, err));
    return check_rows(c, w.rows_written, err);
}

enum { REPORTS_MAX = 1024 * 1024 /* in a frame; longer ones lie in a spool */ };

static enum status write_files_done(struct convert *c, struct str reports, struct buf *done,
                                    struct err *err)
{
    struct writing w = { .job = c->job };
    struct json_writer json;
    int64_t spool = 0;
    bool is_long = reports.len > REPORTS_MAX;
    TRY(is_long ? write_to_spool(&w, reports, &spool, err) : OK);
    json_writer_init(&json, done);
    jw_obj_begin(&json);
    if (is_long) {
        jw_kv_i64(&json, "in_spool", spool);
    } else {
        jw_kv_arr(&json, "files");
        jw_raw(&json, reports);
        jw_arr_end(&json);
    }
    if (c->skip_bad) {
        convert_write_skipped(c, &json);
    }
    jw_obj_end(&json);
    return json_writer_end(&json) == OK ? OK : err_no_memory(err);
}

enum status convert_write(struct convert *c, const struct ice_schema *target, bool *misfit_out,
                          struct buf *done, struct err *err)
{
    AUTO(buf_done) struct buf written;
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    buf_init(&written, WRITE_REPLY_MAX);
    enum status status = is_split(c) ? write_split(c, target, &written, err)
                                     : write_one(c, target, &written, err);
    if (status == E_INVALID && err != NULL && strstr(err->msg, DUCK_TEXT_MISFIT) != NULL) {
        *misfit_out = true;
        return OK;
    }
    TRY(convert_explain(c, status, err));
    if (is_split(c)) {
        return write_files_done(c, buf_str(&written), done, err);
    }
    TRY(json_parse(str_trim(buf_str(&written)), &doc, err));
    return write_done(c, target, yyjson_doc_get_root(doc), done, err);
}

/* --- what DuckDB says of a bad row, in our words --- */

/** DuckDB's words do not tell a row that never ends from one that is too long, so our own reader
 * looks for the reason. */
static enum status look_again(const struct convert *c, unsigned long long line, const char *guess,
                              struct err *err)
{
    struct err exact = { 0 };
    if (!c->is_copied && convert_find_bad_csv(c, &exact) == E_INVALID) {
        *err = exact;
        return E_INVALID;
    }
    return err_set(err, E_INVALID, "line %llu: %s", line, guess);
}

static enum status bad_row(const struct convert *c, const char *message, struct err *err)
{
    const char *line = strstr(message, "on Line: ");
    unsigned long long number = line != NULL ? strtoull(line + strlen("on Line: "), NULL, 10) : 0;
    const char *counts = strcasestr(message, "Expected Number of Columns: ");
    if (counts != NULL) {
        unsigned long long expected = 0, found = 0;
        const char *got = strstr(counts, "Found: ");
        expected = strtoull(counts + strlen("Expected Number of Columns: "), NULL, 10);
        found = got != NULL ? strtoull(got + strlen("Found: "), NULL, 10) : 0;
        if (got != NULL) {
            return err_set(err, E_INVALID, "line %llu: expected %llu fields, found %llu", number,
                           expected, found);
        }
    }
    if (strstr(message, "unterminated quote") != NULL) {
        return look_again(
            c, number, "a quoted field is not closed, or has text behind its closing quote", err);
    }
    if (strstr(message, "nvalid unicode") != NULL) {
        return err_set(err, E_INVALID, "line %llu: not valid UTF-8", number);
    }
    if (strstr(message, "aximum line size") != NULL) {
        return err_set(err, E_INVALID, "line %llu: longer than %llu bytes (ingestd.max_line_bytes)",
                       number, (unsigned long long)c->line_bytes_max);
    }
    return look_again(c, number, "the row cannot be read", err);
}

enum status convert_explain(const struct convert *c, enum status status, struct err *err)
{
    if (status != E_INVALID || err == NULL) {
        return status;
    }
    struct err said = *err;
    if (strstr(said.msg, "CSV Error on Line") != NULL) {
        return bad_row(c, said.msg, err);
    }
    const char *in_line = strstr(said.msg, "in line "),
               *colon = in_line != NULL ? strstr(in_line, ": ") : NULL;
    if (strcasestr(said.msg, "malformed JSON") != NULL && colon != NULL) {
        return err_set(err, E_INVALID, "line %llu: malformed JSON: %s",
                       strtoull(in_line + strlen("in line "), NULL, 10), colon + 2);
    }
    return status;
}
