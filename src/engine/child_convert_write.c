/*
 * COPY to Parquet with field ids, and the statistics that DuckDB returns of it, by id.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "engine/child_convert_priv.h"
#include "engine/row_groups.h"

/* --- SQL --- */

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

/** 'name': id, or with children 'name': {__duckdb_field_id: id, ...}. Lists have `element`, maps
 * `key` and `value`. */
static enum status append_ids(const struct ice_field *field, struct buf *out)
{
    TRY(duck_quote_text(out, field->name));
    if (field->type.field_count == 0) {
        return buf_printf(out, ": %d", field->id);
    }
    TRY(buf_printf(out, ": {__duckdb_field_id: %d", field->id));
    for (size_t i = 0; i < field->type.field_count; i++) {
        TRY(buf_append(out, STR(", ")));
        TRY(append_ids(&field->type.fields[i], out));
    }
    return buf_append_char(out, '}');
}

/** Each column of the target that the file has, in the target's order, from the source. */
static enum status append_select(const struct convert *c, const struct ice_schema *target,
                                 struct buf *out, struct buf *ids, struct err *err)
{
    size_t written = 0;
    for (size_t i = 0; i < target->root.field_count; i++) {
        const struct ice_field *field = &target->root.fields[i];
        const struct convert_column *column = column_of(c, field->name);
        if (column == NULL) {
            continue; /* readers give NULL for it */
        }
        bool ok = (written == 0 ||
                   (buf_append(out, STR(", ")) == OK && buf_append(ids, STR(", ")) == OK));
        if (!ok) {
            return err_no_memory(err);
        }
        TRY(append_value(column, &field->type, out, err));
        ok = buf_append(out, STR(" AS ")) == OK && duck_quote_ident(out, field->name) == OK &&
             append_ids(field, ids) == OK;
        if (!ok) {
            return err_no_memory(err);
        }
        written++;
    }
    return written == c->column_count
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

/* --- statistics --- */

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
static enum status write_offsets(const struct convert *c, struct json_writer *w, struct err *err)
{
    unsigned char tail[ROW_GROUPS_TAIL_BYTES] = { 0 };
    struct offsets offsets = { .w = w };
    off_t size = lseek(c->output_fd, 0, SEEK_END);
    if (size < (off_t)sizeof(tail) ||
        pread(c->output_fd, tail, sizeof(tail), size - (off_t)sizeof(tail)) != sizeof(tail)) {
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
    enum status status = pread(c->output_fd, footer, len, at) == (ssize_t)len
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

static enum status write_done(struct convert *c, const struct ice_schema *target, yyjson_val *row,
                              struct buf *done, struct err *err)
{
    AUTO(buf_done) struct buf path;
    buf_init(&path, 0);
    int64_t rows = 0;
    TRY(json_get_i64(row, "count", JSON_REQUIRED, &rows, err));
    yyjson_val *all = yyjson_obj_get(row, "column_statistics");
    struct json_writer w;
    json_writer_init(&w, done);
    jw_obj_begin(&w);
    jw_kv_i64(&w, "rows", rows);
    jw_kv_arr(&w, "columns");
    enum status status = OK;
    for (size_t i = 0; i < target->root.field_count && status == OK; i++) {
        status = write_field(&w, all, &target->root.fields[i], &path, false) == OK
                     ? OK
                     : err_no_memory(err);
    }
    jw_arr_end(&w);
    if (status == OK && c->is_copied && rows != c->rows_expected) {
        status = err_set(err, E_INTERNAL, "the file has %lld good rows, of which %lld were written",
                         (long long)c->rows_expected, (long long)rows);
    }
    if (c->skip_bad) {
        convert_write_skipped(c, &w);
    }
    if (status == OK) {
        status = write_offsets(c, &w, err);
    }
    jw_obj_end(&w);
    enum status written = json_writer_end(&w);
    return status != OK ? status : written == OK ? OK : err_no_memory(err);
}

/** Run the COPY; its one row as JSON. */
static enum status copy(struct convert *c, struct str sql, struct buf *row, struct err *err)
{
    struct duck_result *result = NULL;
    struct duck_encoder *encoder = NULL;
    bool done = false;
    TRY(duck_query(c->session, sql, STR_EMPTY, &result, err));
    enum status status = duck_encoder_new(result, DUCK_NDJSON, &encoder, err);
    while (status == OK && !done) {
        status = duck_encoder_next(encoder, row, &done, err);
    }
    duck_encoder_free(encoder);
    duck_result_free(result);
    return status;
}

enum status convert_write(struct convert *c, const struct ice_schema *target, bool *misfit_out,
                          struct buf *done, struct err *err)
{
    AUTO(buf_done) struct buf sql, row;
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    char name[32];
    buf_init(&sql, 0);
    buf_init(&row, 0);
    snprintf(name, sizeof(name), "out%u", ++c->outputs);
    if (ftruncate(c->output_fd, 0) != 0 || lseek(c->output_fd, 0, SEEK_SET) != 0) {
        return err_set(err, E_INTERNAL, "cannot rewind the output");
    }
    TRY(lakefs_add_output(c->job->lakefs, str_of(name), dup(c->output_fd), err));
    TRY(copy_statement(c, target, &sql, err));
    enum status status = copy(c, buf_str(&sql), &row, err);
    if (status == E_INVALID && err != NULL && strstr(err->msg, DUCK_TEXT_MISFIT) != NULL) {
        *misfit_out = true;
        return OK;
    }
    TRY(convert_explain(c, status, err));
    TRY(json_parse(str_trim(buf_str(&row)), &doc, err));
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
