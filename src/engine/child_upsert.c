/*
 * Job "upsert": the rows of a Parquet file replace those of a table that have the same keys.
 *
 *   payload  {"ns","name","size","schema_id","keys":[column,..]}
 *   fds      [0] the file, with all of the table's columns as that schema has them
 *   calls    those of child_write.h and of a query over the table
 *   done     {"rows","replaced","snapshot_id","files":[{"key","size","rows"}]}
 *
 * It is UPDATE's way from DUCK_WRITE_ROWS on: rows of the table whose keys are in the file go,
 * however many there are of one key, and the file's rows come. Of rows of the file with one key the
 * last counts.
 */
#include <unistd.h>

#include "engine/child_write_priv.h"

#define STAGED "temp.main.__lake_staged"
#define SOURCE "read_parquet('spool://staged', file_row_number = true)"

struct upsert {
    struct writing w;
    struct child_tables *tables;
    const struct duck_write_column **keys;
    size_t key_count;
    int64_t rows, replaced;
};

static const struct duck_write_column *find_column(const struct writing *w, struct str name)
{
    for (size_t i = 0; i < w->column_count; i++) {
        if (str_eq(w->columns[i].name, name)) {
            return &w->columns[i];
        }
    }
    return NULL;
}

/** The file was written for the table as it was: is it that still? */
static enum status read_keys(struct upsert *u, yyjson_val *payload, struct err *err)
{
    yyjson_val *list = NULL, *name;
    size_t i, max;
    int64_t schema_id = 0;
    TRY(json_get_i64(payload, "schema_id", JSON_REQUIRED, &schema_id, err));
    TRY(json_get_arr(payload, "keys", JSON_REQUIRED, &list, err));
    u->keys = arena_array(u->w.arena, yyjson_arr_size(list) + 1, sizeof(*u->keys));
    if (u->keys == NULL) {
        return err_no_memory(err);
    }
    yyjson_arr_foreach(list, i, max, name)
    {
        struct str text = str_from(yyjson_get_str(name), yyjson_get_len(name));
        u->keys[u->key_count] = find_column(&u->w, text);
        if (u->w.schema.schema_id != schema_id || u->keys[u->key_count] == NULL) {
            return err_set(err, E_CONFLICT, "the schema of table \"%.*s\" has changed meanwhile",
                           STR_ARG(u->w.name));
        }
        u->key_count++;
    }
    return OK;
}

/* --- SQL --- */

/** "a", "b" */
static enum status append_keys(const struct upsert *u, struct buf *sql)
{
    for (size_t i = 0; i < u->key_count; i++) {
        TRY(i > 0 ? buf_append(sql, STR(", ")) : OK);
        TRY(duck_quote_ident(sql, u->keys[i]->name));
    }
    return OK;
}

static enum status append_staging(const struct upsert *u, struct buf *sql)
{
    TRY(buf_append(sql, STR("CREATE TEMP TABLE " STAGED " AS SELECT ")));
    TRY(write_append_columns(&u->w, sql));
    TRY(buf_append(sql, STR(" FROM " SOURCE " QUALIFY row_number() OVER (PARTITION BY ")));
    TRY(append_keys(u, sql));
    return buf_append(sql, STR(" ORDER BY file_row_number DESC) = 1"));
}

/** t."a" = s."a" AND .. */
static enum status append_match(const struct upsert *u, struct buf *sql)
{
    for (size_t i = 0; i < u->key_count; i++) {
        TRY(buf_append(sql, i > 0 ? STR(" AND t.") : STR("t.")));
        TRY(duck_quote_ident(sql, u->keys[i]->name));
        TRY(buf_append(sql, STR(" = s.")));
        TRY(duck_quote_ident(sql, u->keys[i]->name));
    }
    return OK;
}

/** What goes, and what comes. */
static enum status append_gathering(const struct upsert *u, struct buf *sql)
{
    TRY(buf_append(sql, STR("CREATE TEMP TABLE " DUCK_WRITE_ROWS " AS SELECT t._file_index AS "
                            "__file, t._file_row AS __row, true AS __gone")));
    for (size_t i = 0; i < u->w.column_count; i++) {
        TRY(buf_printf(sql, ", CAST(NULL AS %.*s) AS ", STR_ARG(u->w.columns[i].type)));
        TRY(duck_quote_ident(sql, u->w.columns[i].name));
    }
    TRY(buf_append(sql, STR(" FROM ")));
    TRY(write_append_table(&u->w, sql));
    TRY(buf_append(sql, STR(" AS t SEMI JOIN " STAGED " AS s ON (")));
    TRY(append_match(u, sql));
    TRY(buf_append(sql, STR(") UNION ALL SELECT NULL, NULL, false, ")));
    TRY(write_append_columns(&u->w, sql));
    return buf_append(sql, STR(" FROM " STAGED));
}

static enum status ignore(void *ctx, const struct str *cells, size_t count, struct err *err)
{
    (void)ctx;
    (void)cells;
    (void)count;
    (void)err;
    return OK;
}

static enum status run_sql(struct upsert *u,
                           enum status (*append)(const struct upsert *u, struct buf *sql),
                           struct err *err)
{
    AUTO(buf_done) struct buf sql;
    buf_init(&sql, 0);
    if (append(u, &sql) != OK) {
        return err_no_memory(err);
    }
    return duck_rows(u->w.session, buf_str(&sql), ignore, NULL, err);
}

/** A row without its key, or without what a column must have, is none. */
static enum status check_nulls(struct upsert *u, const struct duck_write_column *column,
                               const char *what, struct err *err)
{
    AUTO(buf_done) struct buf sql;
    int64_t nulls = 0;
    buf_init(&sql, 0);
    if (buf_append(&sql, STR("SELECT count(*) FROM " SOURCE " WHERE ")) != OK ||
        duck_quote_ident(&sql, column->name) != OK || buf_append(&sql, STR(" IS NULL")) != OK) {
        return err_no_memory(err);
    }
    TRY(write_count(&u->w, buf_str(&sql), &nulls, err));
    return nulls == 0 ? OK
                      : err_set(err, E_INVALID,
                                "column \"%.*s\" is %s, but %lld rows have no value "
                                "for it",
                                STR_ARG(column->name), what, (long long)nulls);
}

static enum status gather(struct upsert *u, struct err *err)
{
    for (size_t i = 0; i < u->key_count; i++) {
        TRY(check_nulls(u, u->keys[i], "a key", err));
    }
    for (size_t i = 0; i < u->w.column_count; i++) {
        TRY(u->w.columns[i].required ? check_nulls(u, &u->w.columns[i], "NOT NULL", err) : OK);
    }
    TRY(run_sql(u, append_staging, err));
    TRY(run_sql(u, append_gathering, err));
    TRY(write_count(&u->w, STR("SELECT count(*) FROM " DUCK_WRITE_ROWS " WHERE NOT __gone"),
                    &u->rows, err));
    return write_count(&u->w, STR("SELECT count(*) FROM " DUCK_WRITE_ROWS " WHERE __gone"),
                       &u->replaced, err);
}

/* --- the job --- */

static enum status write_done(const struct upsert *u, yyjson_val *answer, struct buf *done,
                              struct err *err)
{
    struct json_writer json;
    json_writer_init(&json, done);
    jw_obj_begin(&json);
    jw_kv_i64(&json, "rows", u->rows);
    jw_kv_i64(&json, "replaced", u->replaced);
    jw_key(&json, STR("snapshot_id"));
    jw_val(&json, yyjson_obj_get(answer, "snapshot_id"));
    if (yyjson_obj_get(answer, "files") != NULL) {
        jw_key(&json, STR("files"));
        jw_val(&json, yyjson_obj_get(answer, "files"));
    }
    jw_obj_end(&json);
    return json_writer_end(&json) == OK ? OK : err_no_memory(err);
}

static enum status run(struct upsert *u, struct buf *done, struct err *err)
{
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    yyjson_val *payload = u->w.job->payload;
    uint64_t size = 0;
    TRY(json_get_str(payload, "ns", JSON_REQUIRED, &u->w.ns, err));
    TRY(json_get_str(payload, "name", JSON_REQUIRED, &u->w.name, err));
    TRY(json_get_u64(payload, "size", JSON_REQUIRED, &size, err));
    if (u->w.job->fd_count != 1) {
        return err_set(err, E_INTERNAL, "an upsert has one descriptor, not %zu",
                       u->w.job->fd_count);
    }
    TRY(lakefs_add_input(u->w.job->lakefs, STR("staged"), dup(u->w.job->fds[0]), size, err));
    TRY(child_tables_new(u->w.job, &u->tables, err));
    const struct duck_session_opts opts = { .lake = child_tables_lake(u->tables),
                                            .files = lakefs_files(u->w.job->lakefs),
                                            .trusted = true };
    TRY(duck_session_open(u->w.job->duck, &opts, &u->w.session, err));
    child_set_session(u->w.job, u->w.session);
    TRY(write_find_target(&u->w, err));
    TRY(read_keys(u, payload, err));
    TRY(gather(u, err));
    TRY(u->rows > 0 ? write_rows_gathered(&u->w, true, err) : OK);
    TRY(write_ask_commit(&u->w, u->rows, &doc, err));
    return write_done(u, yyjson_doc_get_root(doc), done, err);
}

enum status child_upsert(struct child_job *job, struct buf *done, struct err *err)
{
    struct upsert u = { .w = { .job = job, .arena = &job->arena, .verb = "merge" } };
    buf_init(&u.w.data, WRITE_REPLY_MAX);
    buf_init(&u.w.deletes, WRITE_REPLY_MAX);
    enum status status = run(&u, done, err);
    child_set_session(job, NULL);
    duck_session_close(u.w.session);
    child_tables_free(u.tables);
    buf_done(&u.w.data);
    buf_done(&u.w.deletes);
    return status;
}
