/*
 * Job "convert": a file in, Parquet with field ids out.
 *
 *   payload  {"format":"csv"|"tsv"|"json"|"ndjson"|"parquet","size","columns_max",
 *             "line_bytes_max","skip_bad":bool?,
 *             "types":[{"name","type"}]?,"table":<Iceberg schema>?}
 *   fds      [0] the file, [1] where the Parquet goes, [2] news, when the file is still growing to
 *            its "size" (lakefs/growing.h)
 *   calls    "plan" {"schema":<the file's, without ids>} -> {"schema":<with ids>,"parts","order",
 *            "all_columns":bool?}
 *            (child_write.h, "target"), or the error that the client shall see; "copy" {} -> a
 *            descriptor for a clean copy of the file; "spool" as of child_write.h
 *   done     {"rows","columns":[{"id","size","values","nulls","nan","min","max"}],
 *             "split_offsets":[..]}; with parts or an order {"files":[reports, as of "commit"]}, or
 *            {"in_spool":n} where these lie, with commas between, when they are long
 *
 * Text (CSV) is read as text and cast by us, so that nothing is lost: types are guessed from the
 * first rows, every value is checked while it is written, and only when one does not fit, the whole
 * file is looked at and written once more.
 */
#include <unistd.h>

#include "engine/child_convert_priv.h"
#include "engine/child_write_priv.h"

/* chosen, not measured: a longer one is data that was taken for a name */
enum { NAME_BYTES_MAX = 4096 };

enum status convert_peek(struct convert *c, char *ptr, size_t cap, size_t *got_out, struct err *err)
{
    const struct duck_files *files = lakefs_files(c->job->lakefs);
    void *file;
    uint64_t size;
    TRY(files->open(files->ctx, STR("spool://in"), &file, &size, err));
    enum status status = files->read_at(file, 0, ptr, cap, got_out, err);
    files->close(file);
    return status;
}

/** Does the file begin with nothing but white space? */
static enum status is_blank(struct convert *c, bool *out, struct err *err)
{
    char head[4096];
    size_t got;
    TRY(convert_peek(c, head, sizeof(head), &got, err));
    struct str text = str_from(head, got);
    *out = str_trim(str_starts(text, STR("\xef\xbb\xbf")) ? str_skip(text, 3) : text).len == 0;
    return OK;
}

static enum status find_layout(struct convert *c, struct err *err)
{
    bool blank = false;
    TRY(is_blank(c, &blank, err));
    if (blank) {
        return err_set(err, E_INVALID, "the file is empty: it has nothing but white space");
    }
    if (str_eq(c->format, STR("parquet"))) {
        TRY(convert_parquet_layout(c, err));
    } else if (str_eq(c->format, STR("json")) || str_eq(c->format, STR("ndjson"))) {
        TRY(convert_json_layout(c, err)); /* either name may hold an array or lines */
    } else {
        TRY(convert_csv_layout(c, str_eq(c->format, STR("tsv")) ? '\t' : 0, err));
        c->format = STR("csv");
    }
    if (c->column_count > c->columns_max) {
        return err_set(err, E_INVALID,
                       "the file has %zu columns, at most %llu are taken (ingestd.max_columns)",
                       c->column_count, (unsigned long long)c->columns_max);
    }
    for (size_t i = 0; i < c->column_count; i++) {
        if (c->columns[i].name.len > NAME_BYTES_MAX) {
            return err_set(err, E_INVALID,
                           "column %zu has a name of %zu bytes, at most %d are taken", i + 1,
                           c->columns[i].name.len, NAME_BYTES_MAX);
        }
    }
    return convert_unique_names(c, err);
}

/** The file's schema as the plan call wants it: no ids. */
static enum status write_schema(const struct convert *c, struct buf *out, struct err *err)
{
    struct ice_schema schema = { .root = { .kind = ICE_STRUCT, .field_count = c->column_count } };
    schema.root.fields = arena_array(&c->job->arena, c->column_count + 1, sizeof(struct ice_field));
    if (schema.root.fields == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < c->column_count; i++) {
        schema.root.fields[i].name = c->columns[i].name;
        schema.root.fields[i].type = c->columns[i].type;
    }
    TRY(ice_schema_check_depth(&schema, err));
    struct json_writer w;
    json_writer_init(&w, out);
    jw_obj_begin(&w);
    jw_key(&w, STR("schema"));
    ice_schema_write(&w, &schema);
    jw_obj_end(&w);
    return json_writer_end(&w) == OK ? OK : err_no_memory(err);
}

static enum status plan(struct convert *c, struct ice_schema *target_out, struct err *err)
{
    AUTO(buf_done) struct buf args, reply;
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    yyjson_val *schema = NULL;
    buf_init(&args, 0);
    buf_init(&reply, 0);
    TRY(write_schema(c, &args, err));
    TRY(child_call(c->job, "plan", buf_str(&args), &reply, NULL, err));
    TRY(json_parse(buf_str(&reply), &doc, err));
    TRY(json_get_obj(yyjson_doc_get_root(doc), "schema", JSON_REQUIRED, &schema, err));
    struct writing w = { .arena = &c->job->arena };
    TRY(write_read_split(&w, yyjson_doc_get_root(doc), err));
    c->split = w.split;
    c->all_columns = false;
    TRY(json_get_bool(yyjson_doc_get_root(doc), "all_columns", JSON_OPTIONAL, &c->all_columns,
                      err));
    return ice_schema_parse(&c->job->arena, schema, target_out, err);
}

/** Types, plan, write; `sample` says how much of the file the types are taken from. *misfit_out:
 * the guess did not hold. */
static enum status attempt(struct convert *c, bool sample, bool *misfit_out, struct buf *done,
                           struct err *err)
{
    struct ice_schema target;
    bool again = false;
    if (convert_has_texts(c)) {
        TRY(convert_type_texts(c, sample, &again, err));
        if (again) {
            *misfit_out = true;
            return OK;
        }
    }
    TRY(plan(c, &target, err));
    enum status status = convert_write(c, &target, misfit_out, done, err);
    return str_eq(c->format, STR("parquet"))
               ? convert_blame_parquet(status, "this Parquet file cannot be read", err)
               : status;
}

/** Lines that end in several ways are too much for DuckDB's strict reader, which says so in these
 * words. */
static bool needs_copy(const struct convert *c, enum status status, const struct err *err)
{
    return status == E_INVALID && str_eq(c->format, STR("csv")) && !c->is_copied && err != NULL &&
           strstr(err->msg, "state machine reached an invalid state") != NULL;
}

static enum status convert(struct convert *c, struct buf *done, struct err *err)
{
    bool misfit = false;
    TRY(find_layout(c, err));
    TRY(convert_force_types(c, err));
    if (c->skip_bad && str_eq(c->format, STR("csv"))) {
        TRY(convert_clean_csv(c, err));
    }
    enum status status = attempt(c, true, &misfit, done, err);
    if (needs_copy(c, status, err)) {
        TRY(convert_clean_csv(c, err));
        status = attempt(c, true, &misfit, done, err);
    }
    TRY(status);
    if (misfit) {
        misfit = false;
        TRY(attempt(c, false, &misfit, done, err));
    }
    bool excluded = false;
    if (misfit) {
        TRY(convert_exclude_misfits(c, &excluded, err));
    }
    if (excluded) {
        misfit = false;
        TRY(attempt(c, false, &misfit, done, err));
    }
    return misfit ? err_set(err, E_INTERNAL,
                            "a value does not fit a type that was found from the whole file")
                  : OK;
}

static enum status read_payload(struct convert *c, struct err *err)
{
    yyjson_val *payload = c->job->payload, *table = NULL;
    TRY(json_get_str(payload, "format", JSON_REQUIRED, &c->format, err));
    TRY(json_get_u64(payload, "size", JSON_REQUIRED, &c->size, err));
    TRY(json_get_u64(payload, "columns_max", JSON_REQUIRED, &c->columns_max, err));
    TRY(json_get_u64(payload, "line_bytes_max", JSON_REQUIRED, &c->line_bytes_max, err));
    TRY(json_get_arr(payload, "types", JSON_OPTIONAL, &c->types, err));
    TRY(json_get_bool(payload, "skip_bad", JSON_OPTIONAL, &c->skip_bad, err));
    TRY(json_get_obj(payload, "table", JSON_OPTIONAL, &table, err));
    if (table != NULL) {
        struct ice_schema *schema = ARENA_NEW(&c->job->arena, struct ice_schema);
        if (schema == NULL) {
            return err_no_memory(err);
        }
        TRY(ice_schema_parse(&c->job->arena, table, schema, err));
        c->table = schema;
    }
    if (c->job->fd_count != 2 && c->job->fd_count != 3) {
        return err_set(err, E_INTERNAL, "a convert job has two or three descriptors, not %zu",
                       c->job->fd_count);
    }
    c->output_fd = c->job->fds[1];
    return OK;
}

static enum status open_input(struct child_job *job, uint64_t size, struct err *err)
{
    int input = dup(job->fds[0]);
    if (job->fd_count == 2) {
        return lakefs_add_input(job->lakefs, STR("in"), input, size, err);
    }
    return lakefs_add_growing(job->lakefs, STR("in"), input, dup(job->fds[2]), size, err);
}

enum status child_convert(struct child_job *job, struct buf *done, struct err *err)
{
    struct convert c = { .job = job };
    TRY(read_payload(&c, err));
    TRY(open_input(job, c.size, err));
    struct duck_session_opts opts = { .files = lakefs_files(job->lakefs), .trusted = true };
    TRY(duck_session_open(job->duck, &opts, &c.session, err));
    child_set_session(job, c.session);
    enum status status = convert(&c, done, err);
    child_set_session(job, NULL);
    duck_session_close(c.session);
    return status;
}
