/*
 * CALL rewrite_data_files: the rows of many files into few. Compiled only into lakehouse-engine.
 *
 *      where?       the files that it finds, by a SELECT that the guard has seen
 *      "compact"    the parent says which files are read together (src/query/compact.c)
 *      each bin     one COPY: its rows less the deleted ones, in the order that they have or in the
 *                   table's, into one file; into one for each partition of the new spec, or into
 *                   several of the target size, where the parent says so
 *      "commit"     all of them at once
 *
 * Memory and spilling are those of any statement: a COPY holds row groups, a sort spills.
 */
#include "engine/child_write_priv.h"

struct chosen {
    struct buf list; /* JSON: ordinals with commas between */
};

static enum status choose_one(void *ctx, const struct str *cells, size_t count, struct err *err)
{
    struct chosen *chosen = ctx;
    (void)count;
    bool ok = chosen->list.len == 0 || buf_append_char(&chosen->list, ',') == OK;
    return ok && buf_append(&chosen->list, cells[0]) == OK ? OK : err_no_memory(err);
}

/** `chosen` as far as there is a condition. */
static enum status choose(struct writing *w, yyjson_val *args, struct chosen *chosen, bool *all_out,
                          struct err *err)
{
    struct str where = STR_EMPTY;
    TRY(json_get_str(args, "where", JSON_OPTIONAL, &where, err));
    *all_out = where.len == 0;
    TRY(duck_write_choose(w->write, w->ns, w->name, where, err));
    return *all_out
               ? OK
               : duck_rows(w->session, STR("SELECT __file FROM " DUCK_WRITE_ROWS " ORDER BY 1"),
                           choose_one, chosen, err);
}

static enum status write_question(const struct writing *w, yyjson_val *args,
                                  const struct chosen *chosen, bool all, struct buf *out,
                                  struct err *err)
{
    struct json_writer json;
    json_writer_init(&json, out);
    jw_obj_begin(&json);
    write_target(&json, w);
    jw_key(&json, STR("args"));
    jw_val(&json, args);
    if (!all) {
        jw_kv_arr(&json, "chosen");
        jw_raw(&json, buf_str(&chosen->list));
        jw_arr_end(&json);
    }
    jw_obj_end(&json);
    return json_writer_end(&json) == OK ? OK : err_no_memory(err);
}

static enum status ask_plan(struct writing *w, yyjson_val *args, yyjson_doc **out, struct err *err)
{
    AUTO(buf_done) struct buf question;
    struct chosen chosen;
    bool all = true;
    buf_init(&question, WRITE_REPLY_MAX);
    buf_init(&chosen.list, WRITE_REPLY_MAX);
    enum status status = choose(w, args, &chosen, &all, err);
    status = status == OK ? write_question(w, args, &chosen, all, &question, err) : status;
    buf_done(&chosen.list);
    TRY(status);
    return write_ask(w, "compact", buf_str(&question), NULL, out, err);
}

/* --- a bin --- */

static enum status append_bin(const struct writing *w, yyjson_val *files, struct buf *sql)
{
    size_t i, max;
    yyjson_val *file;
    TRY(write_select_all(w, sql));
    TRY(buf_append(sql, STR(" WHERE t._file_index IN (")));
    yyjson_arr_foreach(files, i, max, file)
    {
        TRY(buf_printf(sql, "%s%llu", i == 0 ? "" : ", ",
                       (unsigned long long)yyjson_get_uint(file)));
    }
    return buf_append_char(sql, ')');
}

static enum status copy_bin(struct writing *w, yyjson_val *bin, int64_t target, struct err *err)
{
    AUTO(buf_done) struct buf sql;
    bool spreads = yyjson_get_bool(yyjson_arr_get(bin, 0));
    bool splits = yyjson_get_bool(yyjson_arr_get(bin, 1));
    buf_init(&sql, 0);
    bool is_split = spreads && w->split.count > 0; /* which COPY does by partition */
    if (append_bin(w, yyjson_arr_get(bin, 2), &sql) != OK) {
        return err_no_memory(err);
    }
    w->cut_bytes = splits && !is_split ? target : 0;
    return write_copy_ours(w, buf_str(&sql), &w->schema, spreads ? -1 : w->bin - 1, &w->data, err);
}

static enum status copy_all(struct writing *w, yyjson_val *plan, struct err *err)
{
    yyjson_val *bins = NULL, *bin;
    int64_t target = 0;
    size_t i, max;
    TRY(json_get_arr(plan, "bins", JSON_REQUIRED, &bins, err));
    TRY(json_get_i64(plan, "target", JSON_REQUIRED, &target, err));
    yyjson_arr_foreach(bins, i, max, bin)
    {
        w->bin = (int64_t)i + 1;
        TRY(copy_bin(w, bin, target, err));
    }
    w->bin = 0;
    return OK;
}

/* --- the end --- */

static enum status keep_report(struct writing *w, yyjson_val *root, struct str *out,
                               struct err *err)
{
    yyjson_val *report = NULL;
    AUTO(buf_done) struct buf text;
    struct json_writer json;
    buf_init(&text, 0);
    TRY(json_get_obj(root, "report", JSON_REQUIRED, &report, err));
    json_writer_init(&json, &text);
    jw_val(&json, report);
    if (json_writer_end(&json) != OK) {
        return err_no_memory(err);
    }
    return child_keep_text(w->arena, buf_str(&text), out, err);
}

static enum status commit(struct writing *w, struct str *report_out, struct err *err)
{
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    TRY(write_ask_commit(w, 0, &doc, err));
    return keep_report(w, yyjson_doc_get_root(doc), report_out, err);
}

enum status write_compact(struct writing *w, struct str *report_out, struct err *err)
{
    AUTO(json_doc_done) yyjson_doc *request = NULL, *doc = NULL;
    yyjson_val *args = NULL;
    bool commits = false;
    w->verb = "compact";
    TRY(json_parse(duck_write_request(w->write), &request, err));
    TRY(json_get_obj(yyjson_doc_get_root(request), "args", JSON_REQUIRED, &args, err));
    TRY(ask_plan(w, args, &doc, err));
    yyjson_val *plan = yyjson_doc_get_root(doc);
    TRY(write_read_split(w, plan, err));
    TRY(write_read_schema(w, doc, err));
    TRY(json_get_bool(plan, "commits", JSON_REQUIRED, &commits, err));
    if (!commits) {
        return keep_report(w, plan, report_out, err);
    }
    TRY(copy_all(w, plan, err));
    return commit(w, report_out, err);
}
