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
#include "engine/child_write.h"

#include <stdio.h>
#include <unistd.h>

#include "base/io.h"
#include "engine/child_parquet.h"
#include "engine/sql_type.h"

enum {
    REPLY_MAX = 256 * 1024 * 1024,
    FIELD_PATH = 2147483546, /* of a position delete, as the specification numbers them */
    FIELD_POS = 2147483545,
};

enum fate { FATE_REMOVE, FATE_REWRITE, FATE_MARK };

struct touched {
    int64_t ordinal, rows; /* that go */
    enum fate fate;
    struct str uri;
    int64_t group; /* of delete files: files of one partition share one */
};

struct writing {
    struct child_job *job;
    struct duck_session *session;
    struct duck_write *write;
    struct arena *arena;
    const char *verb;
    struct ice_schema schema;
    struct duck_write_column *columns;
    size_t column_count;
    struct touched *touched;
    size_t touched_count, touched_cap;
    int64_t groups;
    struct buf data, deletes; /* reports, with commas between */
};

static const char *const verbs[] = {
    [DUCK_WRITE_INSERT] = "insert",   [DUCK_WRITE_CREATE_AS] = "create_as",
    [DUCK_WRITE_DELETE] = "delete",   [DUCK_WRITE_UPDATE] = "update",
    [DUCK_WRITE_MERGE] = "merge",     [DUCK_WRITE_TRUNCATE] = "truncate",
    [DUCK_WRITE_REQUEST] = "request",
};

/* --- calls --- */

/** `doc_out` is the caller's. */
static enum status ask(struct writing *w, const char *name, struct str args, int *fd_out,
                       yyjson_doc **doc_out, struct err *err)
{
    AUTO(buf_done) struct buf reply;
    buf_init(&reply, REPLY_MAX);
    TRY(child_call(w->job, name, args, &reply, fd_out, err));
    return json_parse(buf_str(&reply), doc_out, err);
}

static void write_target(struct json_writer *json, const struct writing *w)
{
    jw_kv_str(json, "ns", duck_write_ns(w->write));
    jw_kv_str(json, "name", duck_write_name(w->write));
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

static enum status read_schema(struct writing *w, yyjson_doc *doc, struct err *err)
{
    yyjson_val *schema = NULL;
    TRY(json_get_obj(yyjson_doc_get_root(doc), "schema", JSON_REQUIRED, &schema, err));
    TRY(ice_schema_parse(w->arena, schema, &w->schema, err));
    return keep_columns(w, err);
}

static enum status find_target(struct writing *w, struct err *err)
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
    TRY(ask(w, "target", buf_str(&args), NULL, &doc, err));
    return read_schema(w, doc, err);
}

/* --- spools --- */

struct spool {
    int64_t number;
    int fd; /* ours, beside the one that lakefs has */
    char path[48];
};

static enum status open_spool(struct writing *w, struct spool *out, struct err *err)
{
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    int fd = -1;
    char name[32];
    TRY(ask(w, "spool", STR("{}"), &fd, &doc, err));
    enum status status = json_get_i64(yyjson_doc_get_root(doc), "spool", JSON_REQUIRED,
                                      &out->number, err);
    if (status == OK && fd < 0) {
        status = err_set(err, E_INTERNAL, "no descriptor came with a spool");
    }
    if (status != OK) {
        fd_done(&fd);
        return status;
    }
    out->fd = fd;
    snprintf(name, sizeof(name), "w%lld", (long long)out->number);
    snprintf(out->path, sizeof(out->path), "spool://%s", name);
    status = lakefs_add_output(w->job->lakefs, str_of(name), dup(fd), err);
    if (status != OK) {
        fd_done(&out->fd);
    }
    return status;
}

/** What COPY has answered, as a report behind those in `list`. group -1: of data. */
static enum status add_report(struct writing *w, struct spool *spool, struct duck_result *result,
                              const struct ice_schema *schema, int64_t group, struct buf *list,
                              struct err *err)
{
    AUTO(buf_done) struct buf row;
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    struct json_writer json;
    buf_init(&row, 0);
    (void)w;
    TRY(parquet_copy_row(result, &row, err));
    TRY(json_parse(str_trim(buf_str(&row)), &doc, err));
    if (list->len > 0 && buf_append_char(list, ',') != OK) {
        return err_no_memory(err);
    }
    json_writer_init(&json, list);
    jw_obj_begin(&json);
    jw_kv_i64(&json, "spool", spool->number);
    if (group >= 0) {
        jw_kv_i64(&json, "group", group);
    }
    enum status status = parquet_report(&json, schema, yyjson_doc_get_root(doc), spool->fd, err);
    jw_obj_end(&json);
    enum status written = json_writer_end(&json);
    return status != OK ? status : written == OK ? OK : err_no_memory(err);
}

static enum status field_ids(const struct ice_schema *schema, struct buf *out, struct err *err)
{
    for (size_t i = 0; i < schema->root.field_count; i++) {
        if ((i > 0 && buf_append(out, STR(", ")) != OK) ||
            parquet_field_ids(&schema->root.fields[i], out) != OK) {
            return err_no_memory(err);
        }
    }
    return OK;
}

/** Our own COPY of `select` into a spool. */
static enum status copy_ours(struct writing *w, struct str select, const struct ice_schema *schema,
                             int64_t group, struct buf *list, struct err *err)
{
    AUTO(buf_done) struct buf sql, ids;
    struct spool spool = { .fd = -1 };
    struct duck_result *result = NULL;
    buf_init(&sql, 0);
    buf_init(&ids, 0);
    TRY(field_ids(schema, &ids, err));
    TRY(open_spool(w, &spool, err));
    enum status status =
        buf_printf(&sql,
                   "COPY (%.*s) TO '%s' (FORMAT parquet, COMPRESSION zstd, FIELD_IDS {%.*s}, "
                   "RETURN_STATS)",
                   STR_ARG(select), spool.path, STR_ARG(buf_str(&ids))) == OK
            ? duck_query(w->session, buf_str(&sql), STR_EMPTY, &result, err)
            : err_no_memory(err);
    if (status == OK) {
        status = add_report(w, &spool, result, schema, group, list, err);
    }
    fd_done(&spool.fd);
    return status;
}

/* --- INSERT, CREATE TABLE AS --- */

static enum status copy_new(struct writing *w, struct err *err)
{
    AUTO(buf_done) struct buf ids;
    struct spool spool = { .fd = -1 };
    struct duck_result *result = NULL;
    buf_init(&ids, 0);
    TRY(field_ids(&w->schema, &ids, err));
    TRY(open_spool(w, &spool, err));
    enum status status = duck_write_copy(w->write, w->columns, w->column_count, str_of(spool.path),
                                         buf_str(&ids), &result, err);
    if (status == OK) {
        status = add_report(w, &spool, result, &w->schema, -1, &w->data, err);
    }
    fd_done(&spool.fd);
    return status;
}

/** The query's columns as an Iceberg schema without ids, inside of the request. */
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

static enum status find_new(struct writing *w, bool *exists_out, struct err *err)
{
    AUTO(buf_done) struct buf args;
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    struct json_writer json;
    buf_init(&args, 0);
    json_writer_init(&json, &args);
    jw_obj_begin(&json);
    jw_key(&json, STR("request"));
    jw_raw(&json, duck_write_request(w->write));
    enum status status = new_schema(w, &json, err);
    jw_obj_end(&json);
    enum status written = json_writer_end(&json);
    TRY(status);
    if (written != OK) {
        return err_no_memory(err);
    }
    TRY(ask(w, "create", buf_str(&args), NULL, &doc, err));
    TRY(json_get_bool(yyjson_doc_get_root(doc), "exists", JSON_OPTIONAL, exists_out, err));
    return *exists_out ? OK : read_schema(w, doc, err);
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
    TRY(ask(w, "files", buf_str(&args), NULL, &doc, err));
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

static bool any_fate(const struct writing *w, enum fate fate)
{
    for (size_t i = 0; i < w->touched_count; i++) {
        if (w->touched[i].fate == fate) {
            return true;
        }
    }
    return false;
}

/** "a", "b" */
static enum status append_columns(const struct writing *w, struct buf *sql)
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
static enum status append_table(const struct writing *w, struct buf *sql)
{
    TRY(buf_append(sql, STR("lake.")));
    TRY(duck_quote_ident(sql, duck_write_ns(w->write)));
    TRY(buf_append_char(sql, '.'));
    return duck_quote_ident(sql, duck_write_name(w->write));
}

/** The rows that stay, of files that are rewritten. */
static enum status append_staying(const struct writing *w, struct buf *sql)
{
    bool first = true;
    TRY(buf_append(sql, STR("SELECT ")));
    TRY(append_columns(w, sql));
    TRY(buf_append(sql, STR(" FROM ")));
    TRY(append_table(w, sql));
    TRY(buf_append(sql, STR(" AS t WHERE t._file_index IN (")));
    for (size_t i = 0; i < w->touched_count; i++) {
        if (w->touched[i].fate == FATE_REWRITE) {
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
    TRY(append_columns(w, sql));
    return buf_append(sql, STR(" FROM " DUCK_WRITE_ROWS " WHERE NOT __gone"));
}

/** One data file of the rows that stay in files that go, and of those that are new. */
static enum status copy_data(struct writing *w, bool makes, struct err *err)
{
    AUTO(buf_done) struct buf sql;
    buf_init(&sql, 0);
    bool rewrites = any_fate(w, FATE_REWRITE);
    if (!rewrites && !makes) {
        return OK;
    }
    enum status status = rewrites ? append_staying(w, &sql) : OK;
    if (status == OK && rewrites && makes) {
        status = buf_append(&sql, STR(" UNION ALL "));
    }
    if (status == OK && makes) {
        status = append_made(w, &sql);
    }
    if (status != OK) {
        return err_no_memory(err);
    }
    return copy_ours(w, buf_str(&sql), &w->schema, -1, &w->data, err);
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
    struct ice_field fields[] = {
        { .name = STR("file_path"), .id = FIELD_PATH, .type = { .kind = ICE_STRING } },
        { .name = STR("pos"), .id = FIELD_POS, .type = { .kind = ICE_LONG } },
    };
    const struct ice_schema schema = {
        .root = { .kind = ICE_STRUCT, .fields = fields, .field_count = ARRAY_LEN(fields) }
    };
    for (int64_t group = 0; group < w->groups; group++) {
        AUTO(buf_done) struct buf sql;
        buf_init(&sql, 0);
        bool any = false;
        for (size_t i = 0; i < w->touched_count; i++) {
            any = any || (w->touched[i].fate == FATE_MARK && w->touched[i].group == group);
        }
        if (any) {
            if (append_marks(w, group, &sql) != OK) {
                return err_no_memory(err);
            }
            TRY(copy_ours(w, buf_str(&sql), &schema, group, &w->deletes, err));
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

static enum status count_rows(struct writing *w, struct str sql, int64_t *out, struct err *err)
{
    struct count count = { 0 };
    TRY(duck_rows(w->session, sql, take_count, &count, err));
    *out = count.number;
    return OK;
}

/** Rows that change, and the files of what they become. */
static enum status change_rows(struct writing *w, int64_t *rows_out, struct err *err)
{
    bool deletes = duck_write_kind(w->write) == DUCK_WRITE_DELETE;
    int64_t made = 0;
    TRY(duck_write_gather(w->write, w->columns, deletes ? 0 : w->column_count, err));
    TRY(count_rows(w, STR("SELECT count(*) FROM " DUCK_WRITE_ROWS), rows_out, err));
    if (*rows_out == 0) {
        return OK;
    }
    TRY(duck_rows(w->session,
                  STR("SELECT __file, count(*) FROM " DUCK_WRITE_ROWS
                      " WHERE __file IS NOT NULL GROUP BY 1 ORDER BY 1"),
                  touch, w, err));
    if (!deletes) {
        TRY(count_rows(w, STR("SELECT count(*) FROM " DUCK_WRITE_ROWS " WHERE NOT __gone"), &made,
                       err));
    }
    if (w->touched_count > 0) {
        TRY(find_fates(w, err));
    }
    TRY(copy_data(w, made > 0, err));
    return copy_marks(w, err);
}

static enum status count_all(struct writing *w, int64_t *rows_out, struct err *err)
{
    AUTO(buf_done) struct buf sql;
    buf_init(&sql, 0);
    TRY(duck_write_gather(w->write, w->columns, 0, err)); /* nothing, but the session is ours */
    if (buf_append(&sql, STR("SELECT count(*) FROM ")) != OK || append_table(w, &sql) != OK) {
        return err_no_memory(err);
    }
    return count_rows(w, buf_str(&sql), rows_out, err);
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
    jw_kv_bool(&json, "all", duck_write_kind(w->write) == DUCK_WRITE_TRUNCATE);
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

static enum status commit(struct writing *w, struct child_written *out, struct err *err)
{
    AUTO(buf_done) struct buf args;
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    buf_init(&args, REPLY_MAX);
    TRY(write_commit(w, out->rows, &args, err));
    TRY(ask(w, "commit", buf_str(&args), NULL, &doc, err));
    yyjson_val *id = yyjson_obj_get(yyjson_doc_get_root(doc), "snapshot_id");
    out->has_snapshot = yyjson_is_int(id);
    out->snapshot_id = yyjson_get_sint(id);
    return OK;
}

/** Rows of the one data file, as its report says. */
static enum status reported_rows(const struct writing *w, int64_t *out, struct err *err)
{
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    TRY(json_parse(buf_str(&w->data), &doc, err));
    return json_get_i64(yyjson_doc_get_root(doc), "rows", JSON_REQUIRED, out, err);
}

static enum status run(struct writing *w, struct child_written *out, struct err *err)
{
    enum duck_write_kind kind = duck_write_kind(w->write);
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    bool exists = false;
    switch (kind) {
    case DUCK_WRITE_REQUEST:
        return ask(w, "request", duck_write_request(w->write), NULL, &doc, err);
    case DUCK_WRITE_CREATE_AS:
        TRY(find_new(w, &exists, err));
        if (exists) {
            return OK; /* IF NOT EXISTS */
        }
        TRY(copy_new(w, err));
        TRY(reported_rows(w, &out->rows, err));
        break;
    case DUCK_WRITE_INSERT:
        TRY(find_target(w, err));
        TRY(copy_new(w, err));
        TRY(reported_rows(w, &out->rows, err));
        break;
    case DUCK_WRITE_TRUNCATE:
        TRY(find_target(w, err));
        TRY(count_all(w, &out->rows, err));
        break;
    case DUCK_WRITE_DELETE:
    case DUCK_WRITE_UPDATE:
    case DUCK_WRITE_MERGE:
        TRY(find_target(w, err));
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
                         .verb = verbs[duck_write_kind(write)] };
    buf_init(&w.data, REPLY_MAX);
    buf_init(&w.deletes, REPLY_MAX);
    *out = (struct child_written){ 0 };
    enum status status = run(&w, out, err);
    buf_done(&w.data);
    buf_done(&w.deletes);
    return status;
}
