/*
 * From a statement's rows to files in spools.
 *
 *      INSERT, CREATE AS   one data file, straight from the query
 *      others              duck_write_gather; then each data file with rows that go is
 *                            remove   all of its rows go: nothing is written
 *                            rewrite  its other rows are written anew (copy on write)
 *                            mark     the places of those rows go into a delete file (merge on
 *                                     read), one for each partition
 *                          and the rows that are new are a data file
 */
#include "engine/child_write_priv.h"

#include "engine/sql_type.h"
#include "iceberg/manifest.h"

static const char *const verbs[] = {
    [DUCK_WRITE_INSERT] = "insert",   [DUCK_WRITE_CREATE_AS] = "create_as",
    [DUCK_WRITE_DELETE] = "delete",   [DUCK_WRITE_UPDATE] = "update",
    [DUCK_WRITE_MERGE] = "merge",     [DUCK_WRITE_TRUNCATE] = "truncate",
    [DUCK_WRITE_REQUEST] = "request", [DUCK_WRITE_VIEW] = "view",
    [DUCK_WRITE_CALL] = "call",
};

/* --- the target --- */

void write_target(struct json_writer *json, const struct writing *w)
{
    jw_kv_str(json, "ns", w->ns);
    jw_kv_str(json, "name", w->name);
    jw_kv_cstr(json, "verb", w->verb);
}

static enum status keep_columns(struct writing *w, struct err *err)
{
    w->column_count = w->schema.root.field_count;
    w->columns = arena_array(w->arena, w->column_count + 1, sizeof(*w->columns));
    if (w->columns == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < w->column_count; i++) {
        const struct ice_field *field = &w->schema.root.fields[i];
        AUTO(buf_done) struct buf type;
        buf_init(&type, 0);
        enum status kind = sql_type_print(&field->type, &type, err);
        if (kind != OK) {
            return err_context(err, "column \"%.*s\"", STR_ARG(field->name));
        }
        w->columns[i] = (struct duck_write_column){ .name = field->name,
                                                    .type = arena_str(w->arena, buf_str(&type)),
                                                    .required = field->required };
        if (w->columns[i].type.ptr == NULL) {
            return err_no_memory(err);
        }
    }
    return OK;
}

enum status write_read_schema(struct writing *w, yyjson_doc *doc, struct err *err)
{
    yyjson_val *schema = NULL;
    TRY(json_get_obj(yyjson_doc_get_root(doc), "schema", JSON_REQUIRED, &schema, err));
    TRY(ice_schema_parse(w->arena, schema, &w->schema, err));
    return keep_columns(w, err);
}

enum status write_find_target(struct writing *w, struct err *err)
{
    AUTO(buf_done) struct buf args;
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    struct json_writer json;
    buf_init(&args, 0);
    json_writer_init(&json, &args);
    jw_obj_begin(&json);
    write_target(&json, w);
    jw_obj_end(&json);
    if (json_writer_end(&json) != OK) {
        return err_no_memory(err);
    }
    TRY(write_ask(w, "target", buf_str(&args), NULL, &doc, err));
    TRY(write_read_split(w, yyjson_doc_get_root(doc), err));
    return write_read_schema(w, doc, err);
}

/* --- INSERT, CREATE TABLE AS --- */

/** The query's columns as an Iceberg schema without ids, as a member. */
static enum status new_schema(struct writing *w, struct json_writer *json, struct err *err)
{
    const struct duck_write_column *columns = NULL;
    size_t count = 0;
    TRY(duck_write_columns(w->write, &columns, &count, err));
    struct ice_schema schema = { .root = { .kind = ICE_STRUCT, .field_count = count } };
    schema.root.fields = arena_array(w->arena, count + 1, sizeof(struct ice_field));
    if (schema.root.fields == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < count; i++) {
        schema.root.fields[i].name = columns[i].name;
        enum status status = sql_type_parse(w->arena, columns[i].type, &schema.root.fields[i].type,
                                            err);
        if (status != OK) {
            return err_context(err, "column \"%.*s\"", STR_ARG(columns[i].name));
        }
    }
    TRY(ice_schema_check_depth(&schema, err));
    jw_key(json, STR("schema"));
    ice_schema_write(json, &schema);
    return OK;
}

/** Ask for something new: {"do": verb, "request", "schema"}. */
static enum status ask_new(struct writing *w, const char *name, const char *verb, yyjson_doc **out,
                           struct err *err)
{
    AUTO(buf_done) struct buf args;
    struct json_writer json;
    buf_init(&args, 0);
    json_writer_init(&json, &args);
    jw_obj_begin(&json);
    jw_kv_cstr(&json, "do", verb);
    jw_key(&json, STR("request"));
    jw_raw(&json, duck_write_request(w->write));
    enum status status = new_schema(w, &json, err);
    TRY(status); /* the writer stopped in the middle */
    jw_obj_end(&json);
    if (json_writer_end(&json) != OK) {
        return err_no_memory(err);
    }
    return write_ask(w, name, buf_str(&args), NULL, out, err);
}

static enum status find_new(struct writing *w, bool *exists_out, struct err *err)
{
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    TRY(ask_new(w, "create", "create_as", &doc, err));
    TRY(json_get_bool(yyjson_doc_get_root(doc), "exists", JSON_OPTIONAL, exists_out, err));
    TRY(*exists_out ? OK : write_read_split(w, yyjson_doc_get_root(doc), err));
    return *exists_out ? OK : write_read_schema(w, doc, err);
}

/* --- UPDATE, DELETE, MERGE --- */

static enum status touch(void *ctx, const struct str *cells, size_t count, struct err *err)
{
    struct writing *w = ctx;
    if (w->touched_count == w->touched_cap) {
        size_t cap = w->touched_cap == 0 ? 64 : w->touched_cap * 2;
        struct touched *more = arena_array(w->arena, cap, sizeof(*more));
        if (more == NULL) {
            return err_no_memory(err);
        }
        if (w->touched_count > 0) {
            memcpy(more, w->touched, w->touched_count * sizeof(*more));
        }
        w->touched = more;
        w->touched_cap = cap;
    }
    struct touched *one = &w->touched[w->touched_count++];
    *one = (struct touched){ 0 };
    return count == 2 && str_to_i64(cells[0], &one->ordinal) && str_to_i64(cells[1], &one->rows)
               ? OK
               : err_set(err, E_INTERNAL, "the rows that go cannot be counted");
}

static enum status read_fate(struct writing *w, yyjson_val *entry, struct touched *out,
                             struct err *err)
{
    yyjson_val *fate = yyjson_arr_get(entry, 0), *uri = yyjson_arr_get(entry, 1);
    out->fate = yyjson_equals_str(fate, "remove")    ? FATE_REMOVE
                : yyjson_equals_str(fate, "rewrite") ? FATE_REWRITE
                                                     : FATE_MARK;
    out->group = yyjson_get_sint(yyjson_arr_get(entry, 2));
    out->joins = yyjson_get_bool(yyjson_arr_get(entry, 3));
    w->groups = out->group >= w->groups ? out->group + 1 : w->groups;
    return yyjson_is_str(uri)
               ? child_keep_text(w->arena, str_from(yyjson_get_str(uri), yyjson_get_len(uri)),
                                 &out->uri, err)
               : err_set(err, E_INTERNAL, "a file without a name");
}

/** What becomes of each file with rows that go. */
static enum status find_fates(struct writing *w, struct err *err)
{
    AUTO(buf_done) struct buf args;
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    yyjson_val *list = NULL;
    struct json_writer json;
    buf_init(&args, 0);
    json_writer_init(&json, &args);
    jw_obj_begin(&json);
    write_target(&json, w);
    jw_kv_arr(&json, "files");
    for (size_t i = 0; i < w->touched_count; i++) {
        jw_arr_begin(&json);
        jw_i64(&json, w->touched[i].ordinal);
        jw_i64(&json, w->touched[i].rows);
        jw_arr_end(&json);
    }
    jw_arr_end(&json);
    jw_obj_end(&json);
    if (json_writer_end(&json) != OK) {
        return err_no_memory(err);
    }
    TRY(write_ask(w, "files", buf_str(&args), NULL, &doc, err));
    TRY(json_get_arr(yyjson_doc_get_root(doc), "files", JSON_REQUIRED, &list, err));
    if (yyjson_arr_size(list) != w->touched_count) {
        return err_set(err, E_INTERNAL, "%zu files are told of, not %zu", yyjson_arr_size(list),
                       w->touched_count);
    }
    for (size_t i = 0; i < w->touched_count; i++) {
        TRY(read_fate(w, yyjson_arr_get(list, i), &w->touched[i], err));
    }
    return OK;
}

/** "a", "b" */
enum status write_append_columns(const struct writing *w, struct buf *sql)
{
    for (size_t i = 0; i < w->column_count; i++) {
        if (i > 0) {
            TRY(buf_append(sql, STR(", ")));
        }
        TRY(duck_quote_ident(sql, w->columns[i].name));
    }
    return OK;
}

/** The table as our own SQL names it. */
enum status write_append_table(const struct writing *w, struct buf *sql)
{
    TRY(buf_append(sql, STR("lake.")));
    TRY(duck_quote_ident(sql, w->ns));
    TRY(buf_append_char(sql, '.'));
    return duck_quote_ident(sql, w->name);
}

enum status write_select_all(const struct writing *w, struct buf *sql)
{
    TRY(buf_append(sql, STR("SELECT ")));
    TRY(write_append_columns(w, sql));
    TRY(buf_append(sql, STR(" FROM ")));
    TRY(write_append_table(w, sql));
    return buf_append(sql, STR(" AS t"));
}

/** NULL: there is none with this fate. */
static const struct touched *one_of_group(const struct writing *w, enum fate fate, int64_t group)
{
    for (size_t i = 0; i < w->touched_count; i++) {
        if (w->touched[i].fate == fate && w->touched[i].group == group) {
            return &w->touched[i];
        }
    }
    return NULL;
}

/** The rows that stay, of a group's files that are rewritten. */
static enum status append_staying(const struct writing *w, int64_t group, struct buf *sql)
{
    bool first = true;
    TRY(write_select_all(w, sql));
    TRY(buf_append(sql, STR(" WHERE t._file_index IN (")));
    for (size_t i = 0; i < w->touched_count; i++) {
        if (w->touched[i].fate == FATE_REWRITE && w->touched[i].group == group) {
            TRY(buf_printf(sql, "%s%lld", first ? "" : ", ", (long long)w->touched[i].ordinal));
            first = false;
        }
    }
    return buf_append(sql, STR(") AND NOT EXISTS (SELECT 1 FROM " DUCK_WRITE_ROWS
                               " AS r WHERE r.__file = t._file_index AND r.__row = t._file_row)"));
}

static enum status append_made(const struct writing *w, struct buf *sql)
{
    TRY(buf_append(sql, STR("SELECT ")));
    TRY(write_append_columns(w, sql));
    return buf_append(sql, STR(" FROM " DUCK_WRITE_ROWS " WHERE NOT __gone"));
}

/** Data files of the rows that stay, one for each partition, and of those that are new; together
 * where there are no partitions. */
static enum status copy_data(struct writing *w, bool makes, struct err *err)
{
    for (int64_t group = 0; group < w->groups; group++) {
        AUTO(buf_done) struct buf sql;
        buf_init(&sql, 0);
        const struct touched *one = one_of_group(w, FATE_REWRITE, group);
        if (one == NULL) {
            continue;
        }
        enum status status = append_staying(w, group, &sql);
        if (makes && w->split.count == 0 && one->joins) {
            status = status == OK ? buf_append(&sql, STR(" UNION ALL ")) : status;
            status = status == OK ? append_made(w, &sql) : status;
            makes = false;
        }
        if (status != OK) {
            return err_no_memory(err);
        }
        TRY(write_copy_ours(w, buf_str(&sql), &w->schema, group, &w->data, err));
    }
    AUTO(buf_done) struct buf sql;
    buf_init(&sql, 0);
    if (!makes) {
        return OK;
    }
    if (append_made(w, &sql) != OK) {
        return err_no_memory(err);
    }
    return write_copy_ours(w, buf_str(&sql), &w->schema, -1, &w->data, err);
}

/** file_path and pos of the rows of a group that go, in the order that readers want. */
static enum status append_marks(const struct writing *w, int64_t group, struct buf *sql)
{
    bool first = true;
    TRY(buf_append(sql, STR("SELECT f.uri AS file_path, r.__row AS pos FROM " DUCK_WRITE_ROWS
                            " AS r JOIN (VALUES ")));
    for (size_t i = 0; i < w->touched_count; i++) {
        const struct touched *one = &w->touched[i];
        if (one->fate == FATE_MARK && one->group == group) {
            TRY(buf_printf(sql, "%s(%lld::UBIGINT, ", first ? "" : ", ", (long long)one->ordinal));
            TRY(duck_quote_text(sql, one->uri));
            TRY(buf_append_char(sql, ')'));
            first = false;
        }
    }
    return buf_append(sql, STR(") AS f(file, uri) ON r.__file = f.file ORDER BY 1, 2"));
}

static enum status copy_marks(struct writing *w, struct err *err)
{
    for (int64_t group = 0; group < w->groups; group++) {
        AUTO(buf_done) struct buf sql;
        buf_init(&sql, 0);
        if (one_of_group(w, FATE_MARK, group) != NULL) {
            if (append_marks(w, group, &sql) != OK) {
                return err_no_memory(err);
            }
            TRY(write_copy_ours(w, buf_str(&sql), ice_delete_schema(), group, &w->deletes, err));
        }
    }
    return OK;
}

struct count {
    int64_t number;
};

static enum status take_count(void *ctx, const struct str *cells, size_t count, struct err *err)
{
    struct count *out = ctx;
    return count == 1 && cells[0].ptr != NULL && str_to_i64(cells[0], &out->number)
               ? OK
               : err_set(err, E_INTERNAL, "rows cannot be counted");
}

enum status write_count(struct writing *w, struct str sql, int64_t *out, struct err *err)
{
    struct count count = { 0 };
    TRY(duck_rows(w->session, sql, take_count, &count, err));
    *out = count.number;
    return OK;
}

enum status write_rows_gathered(struct writing *w, bool makes, struct err *err)
{
    int64_t made = 0;
    TRY(duck_rows(w->session,
                  STR("SELECT __file, count(*) FROM " DUCK_WRITE_ROWS
                      " WHERE __file IS NOT NULL GROUP BY 1 ORDER BY 1"),
                  touch, w, err));
    if (makes) {
        TRY(write_count(w, STR("SELECT count(*) FROM " DUCK_WRITE_ROWS " WHERE NOT __gone"), &made,
                        err));
    }
    if (w->touched_count > 0) {
        TRY(find_fates(w, err));
    }
    TRY(copy_data(w, made > 0, err));
    return copy_marks(w, err);
}

/** Rows that change, and the files of what they become. */
static enum status change_rows(struct writing *w, int64_t *rows_out, struct err *err)
{
    bool deletes = duck_write_kind(w->write) == DUCK_WRITE_DELETE;
    TRY(duck_write_gather(w->write, w->columns, deletes ? 0 : w->column_count, err));
    TRY(write_count(w, STR("SELECT count(*) FROM " DUCK_WRITE_ROWS), rows_out, err));
    return *rows_out == 0 ? OK : write_rows_gathered(w, !deletes, err);
}

static enum status count_all(struct writing *w, int64_t *rows_out, struct err *err)
{
    AUTO(buf_done) struct buf sql;
    buf_init(&sql, 0);
    TRY(duck_write_gather(w->write, w->columns, 0, err)); /* nothing, but the session is ours */
    if (buf_append(&sql, STR("SELECT count(*) FROM ")) != OK || write_append_table(w, &sql) != OK) {
        return err_no_memory(err);
    }
    return write_count(w, buf_str(&sql), rows_out, err);
}

/* --- commit --- */

static void write_ordinals(struct json_writer *json, const char *name, const struct writing *w,
                           bool marked)
{
    jw_kv_arr(json, name);
    for (size_t i = 0; i < w->touched_count; i++) {
        if ((w->touched[i].fate == FATE_MARK) == marked) {
            jw_i64(json, w->touched[i].ordinal);
        }
    }
    jw_arr_end(json);
}

static enum status write_commit(const struct writing *w, int64_t rows, struct buf *out,
                                struct err *err)
{
    struct json_writer json;
    json_writer_init(&json, out);
    jw_obj_begin(&json);
    write_target(&json, w);
    jw_kv_i64(&json, "rows", rows);
    jw_kv_bool(&json, "all", w->all);
    jw_kv_arr(&json, "data");
    jw_raw(&json, buf_str(&w->data));
    jw_arr_end(&json);
    jw_kv_arr(&json, "deletes");
    jw_raw(&json, buf_str(&w->deletes));
    jw_arr_end(&json);
    write_ordinals(&json, "remove", w, false);
    write_ordinals(&json, "mark", w, true);
    jw_obj_end(&json);
    return json_writer_end(&json) == OK ? OK : err_no_memory(err);
}

enum status write_ask_commit(struct writing *w, int64_t rows, yyjson_doc **doc_out, struct err *err)
{
    AUTO(buf_done) struct buf args;
    buf_init(&args, WRITE_REPLY_MAX);
    TRY(write_commit(w, rows, &args, err));
    return write_ask(w, "commit", buf_str(&args), NULL, doc_out, err);
}

static enum status commit(struct writing *w, struct child_written *out, struct err *err)
{
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    TRY(write_ask_commit(w, out->rows, &doc, err));
    yyjson_val *id = yyjson_obj_get(yyjson_doc_get_root(doc), "snapshot_id");
    out->has_snapshot = yyjson_is_int(id);
    out->snapshot_id = yyjson_get_sint(id);
    return OK;
}

static enum status call(struct writing *w, struct child_written *out, struct err *err)
{
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    AUTO(buf_done) struct buf text;
    struct json_writer json;
    buf_init(&text, WRITE_REPLY_MAX);
    TRY(write_ask(w, "request", duck_write_request(w->write), NULL, &doc, err));
    json_writer_init(&json, &text);
    jw_val(&json, yyjson_doc_get_root(doc));
    if (json_writer_end(&json) != OK) {
        return err_no_memory(err);
    }
    return child_keep_text(w->arena, buf_str(&text), &out->report, err);
}

static enum status run(struct writing *w, struct child_written *out, struct err *err)
{
    enum duck_write_kind kind = duck_write_kind(w->write);
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    bool exists = false;
    switch (kind) {
    case DUCK_WRITE_REQUEST:
        return write_ask(w, "request", duck_write_request(w->write), NULL, &doc, err);
    case DUCK_WRITE_VIEW:
        return ask_new(w, "request", "create_view", &doc, err);
    case DUCK_WRITE_CALL:
        return str_eq(duck_write_procedure(w->write), STR("rewrite_data_files"))
                   ? write_compact(w, &out->report, err)
                   : call(w, out, err);
    case DUCK_WRITE_CREATE_AS:
        TRY(find_new(w, &exists, err));
        if (exists) {
            return OK; /* IF NOT EXISTS */
        }
        TRY(write_copy_new(w, err));
        out->rows = w->rows_written;
        break;
    case DUCK_WRITE_INSERT:
        TRY(write_find_target(w, err));
        TRY(write_copy_new(w, err));
        out->rows = w->rows_written;
        break;
    case DUCK_WRITE_TRUNCATE:
        TRY(write_find_target(w, err));
        TRY(count_all(w, &out->rows, err));
        break;
    case DUCK_WRITE_DELETE:
    case DUCK_WRITE_UPDATE:
    case DUCK_WRITE_MERGE:
        TRY(write_find_target(w, err));
        TRY(change_rows(w, &out->rows, err));
        break;
    }
    return commit(w, out, err);
}

enum status child_write(struct child_job *job, struct duck_session *session,
                        struct duck_write *write, struct child_written *out, struct err *err)
{
    struct writing w = { .job = job,
                         .session = session,
                         .write = write,
                         .arena = &job->arena,
                         .verb = verbs[duck_write_kind(write)],
                         .ns = duck_write_ns(write),
                         .name = duck_write_name(write),
                         .all = duck_write_kind(write) == DUCK_WRITE_TRUNCATE };
    buf_init(&w.data, WRITE_REPLY_MAX);
    buf_init(&w.deletes, WRITE_REPLY_MAX);
    *out = (struct child_written){ 0 };
    enum status status = run(&w, out, err);
    buf_done(&w.data);
    buf_done(&w.deletes);
    return status;
}
