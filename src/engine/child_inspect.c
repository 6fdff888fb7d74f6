/*
 * Job "inspect": what a Parquet file that is already there consists of, from its footer alone.
 *
 *   payload  {"size"}
 *   fds      [0] the file
 *   done     {"schema":<Iceberg, every field with an id>,"has_ids":bool,"rows",
 *             "columns":[{"id","size","values","nulls","min","max"}],"split_offsets":[..]}
 *
 * DuckDB says which types the columns have; the footer's own tree, walked beside them, says which
 * ids. A file whose columns do not all have one gets ids from 1 on, and has_ids false. DuckDB
 * renames a column whose name another one has already but for its case; since the file stays as it
 * is, such a file is refused.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/child.h"
#include "engine/child_footer.h"
#include "engine/sql_type.h"

#define SOURCE "'spool://in'"

struct inspect {
    struct child_job *job;
    struct duck_session *session;
    struct ice_schema schema;
    size_t field_cap;
    bool has_ids;
    struct json_writer *w;
    size_t column; /* of write_columns */
};

static enum status grow(struct arena *arena, void **items, size_t count, size_t *cap, size_t size,
                        struct err *err)
{
    if (count < *cap) {
        return OK;
    }
    size_t more = *cap ? *cap * 2 : 64;
    void *bigger = arena_array(arena, more, size);
    if (bigger == NULL) {
        return err_no_memory(err);
    }
    if (count > 0) {
        memcpy(bigger, *items, count * size);
    }
    *items = bigger;
    *cap = more;
    return OK;
}

static enum status add_field(void *ctx, const struct str *cells, size_t count, struct err *err)
{
    struct inspect *in = ctx;
    struct ice_type *root = &in->schema.root;
    (void)count;
    TRY(grow(&in->job->arena, (void **)&root->fields, root->field_count, &in->field_cap,
             sizeof(*root->fields), err));
    struct ice_field *field = &root->fields[root->field_count];
    *field = (struct ice_field){ .name = arena_str(&in->job->arena, cells[0]) };
    if (field->name.ptr == NULL) {
        return err_no_memory(err);
    }
    root->field_count++;
    return sql_type_parse_stored(&in->job->arena, cells[1], &field->type, err);
}

/* --- ids: the footer's tree beside the types --- */

/** The file stays as it is, so its leaves must be stored as the table format stores them: a reader
 * that takes 64 unsigned bits for signed ones, or nanoseconds for microseconds, is right to. */
static enum status take_id(void *ctx, struct ice_field *field, const struct footer_node *node,
                           struct err *err)
{
    struct inspect *in = ctx;
    field->id = node != NULL ? node->id : 0;
    in->has_ids = in->has_ids && field->id > 0;
    const char *foreign = node != NULL && node->children == 0 ? footer_foreign(node) : NULL;
    if (foreign != NULL) {
        return err_set(
            err, E_INVALID,
            "the field \"%.*s\" has %s, which tables do not have; ingest the file instead",
            STR_ARG(node->name), foreign);
    }
    return OK;
}

/** DuckDB renames a column whose name another one has already but for its case. */
static enum status check_names(const struct inspect *in, const struct footer *footer,
                               struct err *err)
{
    const struct ice_type *root = &in->schema.root;
    for (size_t i = 0, column = 0; i < footer->count && column < root->field_count; column++) {
        if (!str_eq(footer->nodes[i].name, root->fields[column].name)) {
            return err_set(
                err, E_INVALID,
                "the name of column \"%.*s\" differs from another column's at most by case; ingest the file instead",
                STR_ARG(footer->nodes[i].name));
        }
        for (int32_t open = 1; open > 0 && i < footer->count; i++) {
            open += footer->nodes[i].children - 1;
        }
    }
    return OK;
}

static enum status find_ids(struct inspect *in, struct err *err)
{
    struct footer footer;
    in->has_ids = true;
    TRY(footer_read(in->session, &in->job->arena, &footer, err));
    TRY(check_names(in, &footer, err));
    TRY(footer_walk(&footer, &in->schema.root, take_id, in, err));
    if (!in->has_ids) {
        struct ice_schema numbered;
        int32_t last_id = 0;
        TRY(ice_schema_assign_ids(&in->job->arena, &in->schema, &last_id, &numbered, err));
        in->schema = numbered;
    }
    return OK;
}

/* --- statistics of top-level leaves --- */

/** Bounds are taken where text order does not matter and NaN cannot be: numbers, dates, times,
 * strings. */
static bool has_bounds(const struct ice_type *type)
{
    return type->kind == ICE_INT || type->kind == ICE_LONG || type->kind == ICE_DECIMAL ||
           type->kind == ICE_DATE || type->kind == ICE_TIMESTAMP || type->kind == ICE_TIMESTAMPTZ ||
           type->kind == ICE_STRING;
}

static enum status append_column(const struct ice_field *field, struct buf *sql, struct err *err)
{
    AUTO(buf_done) struct buf type;
    buf_init(&type, 0);
    TRY(sql_type_print(&field->type, &type, err));
    bool ok =
        buf_append(
            sql,
            STR("SELECT sum(total_compressed_size), sum(num_values), "
                "CASE WHEN count(stats_null_count) = count(*) THEN sum(stats_null_count) END, ")) ==
        OK;
    if (has_bounds(&field->type)) {
        for (int max = 0; max < 2; max++) {
            const char *name = max ? "max" : "min";
            ok =
                ok &&
                buf_printf(
                    sql,
                    "CASE WHEN count(stats_%s_value) = count(*) AND count(TRY_CAST(stats_%s_value AS %.*s)) = count(*) "
                    "THEN CAST(%s(TRY_CAST(stats_%s_value AS %.*s)) AS VARCHAR) END%s",
                    name, name, STR_ARG(buf_str(&type)), name, name, STR_ARG(buf_str(&type)),
                    max ? "" : ", ") == OK;
        }
    } else {
        ok = ok && buf_append(sql, STR("NULL, NULL")) == OK;
    }
    ok = ok &&
         buf_append(sql, STR(" FROM parquet_metadata(" SOURCE ") WHERE path_in_schema = ")) == OK &&
         duck_quote_text(sql, field->name) == OK;
    return ok ? OK : err_no_memory(err);
}

static void write_number(struct json_writer *w, const char *key, struct str cell)
{
    int64_t number;
    if (cell.ptr != NULL && str_to_i64(cell, &number)) {
        jw_kv_i64(w, key, number);
    }
}

static enum status write_column(void *ctx, const struct str *cells, size_t count, struct err *err)
{
    struct inspect *in = ctx;
    (void)count, (void)err;
    jw_obj_begin(in->w);
    jw_kv_i64(in->w, "id", in->schema.root.fields[in->column].id);
    write_number(in->w, "size", cells[0]);
    write_number(in->w, "values", cells[1]);
    write_number(in->w, "nulls", cells[2]);
    jw_kv_bool(in->w, "nan", true); /* not known */
    if (cells[3].ptr != NULL && cells[4].ptr != NULL) {
        jw_kv_str(in->w, "min", cells[3]);
        jw_kv_str(in->w, "max", cells[4]);
    }
    jw_obj_end(in->w);
    return OK;
}

static enum status write_columns(struct inspect *in, struct err *err)
{
    jw_kv_arr(in->w, "columns");
    for (in->column = 0; in->column < in->schema.root.field_count; in->column++) {
        const struct ice_field *field = &in->schema.root.fields[in->column];
        if (field->type.field_count > 0) {
            continue;
        }
        AUTO(buf_done) struct buf sql;
        buf_init(&sql, 0);
        TRY(append_column(field, &sql, err));
        TRY(duck_rows(in->session, buf_str(&sql), write_column, in, err));
    }
    jw_arr_end(in->w);
    return OK;
}

static enum status write_rows(void *ctx, const struct str *cells, size_t count, struct err *err)
{
    struct inspect *in = ctx;
    int64_t rows;
    (void)count;
    if (cells[0].ptr == NULL || !str_to_i64(cells[0], &rows)) {
        return err_set(err, E_INVALID, "the Parquet footer has no row count");
    }
    jw_kv_i64(in->w, "rows", rows);
    return OK;
}

static enum status write_offset(void *ctx, const struct str *cells, size_t count, struct err *err)
{
    struct inspect *in = ctx;
    int64_t offset;
    (void)count, (void)err;
    if (cells[0].ptr != NULL && str_to_i64(cells[0], &offset)) {
        jw_i64(in->w, offset);
    }
    return OK;
}

static enum status write_done(struct inspect *in, struct err *err)
{
    TRY(ice_schema_check_depth(&in->schema, err));
    jw_obj_begin(in->w);
    jw_key(in->w, STR("schema"));
    ice_schema_write(in->w, &in->schema);
    jw_kv_bool(in->w, "has_ids", in->has_ids);
    TRY(duck_rows(in->session, STR("SELECT num_rows FROM parquet_file_metadata(" SOURCE ")"),
                  write_rows, in, err));
    TRY(write_columns(in, err));
    jw_kv_arr(in->w, "split_offsets");
    TRY(duck_rows(
        in->session,
        STR("SELECT min(coalesce(dictionary_page_offset, data_page_offset)) FROM parquet_metadata(" SOURCE
            ") GROUP BY row_group_id ORDER BY 1"),
        write_offset, in, err));
    jw_arr_end(in->w);
    jw_obj_end(in->w);
    return OK;
}

static enum status inspect(struct inspect *in, struct buf *done, struct err *err)
{
    struct json_writer w;
    in->schema.root.kind = ICE_STRUCT;
    in->w = &w;
    TRY(duck_rows(in->session, STR("DESCRIBE SELECT * FROM read_parquet(" SOURCE ")"), add_field,
                  in, err));
    TRY(find_ids(in, err));
    json_writer_init(&w, done);
    enum status status = write_done(in, err);
    if (status != OK) {
        return status; /* it stopped in the middle */
    }
    return json_writer_end(&w) == OK ? OK : err_no_memory(err);
}

/** The caller names the object; nobody knows it as our source. */
static void drop_source(char *text)
{
    static const char *const names[] = { " in file " SOURCE, "file " SOURCE " " };
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        size_t len = strlen(names[i]);
        for (char *at = strcasestr(text, names[i]); at != NULL; at = strcasestr(at, names[i])) {
            memmove(at, at + len, strlen(at + len) + 1);
        }
    }
}

enum status child_inspect(struct child_job *job, struct buf *done, struct err *err)
{
    struct inspect in = { .job = job };
    uint64_t size = 0;
    TRY(json_get_u64(job->payload, "size", JSON_REQUIRED, &size, err));
    if (job->fd_count != 1) {
        return err_set(err, E_INTERNAL, "an inspect job has one descriptor, not %zu",
                       job->fd_count);
    }
    TRY(lakefs_add_input(job->lakefs, STR("in"), dup(job->fds[0]), size, err));
    struct duck_session_opts opts = { .files = lakefs_files(job->lakefs), .trusted = true };
    TRY(duck_session_open(job->duck, &opts, &in.session, err));
    child_set_session(job, in.session);
    enum status status = inspect(&in, done, err);
    child_set_session(job, NULL);
    duck_session_close(in.session);
    /* DuckDB reports broken files as I/O errors too */
    if ((status == E_INTERNAL || status == E_INVALID) && err != NULL) {
        struct err why = *err;
        drop_source(why.msg);
        return err_set(err, E_INVALID, "this Parquet file cannot be a table's: %s", why.msg);
    }
    return status;
}
