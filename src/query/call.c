/* CALL: which procedures there are, and what they may be asked. */
#include "query/call.h"

#include "query/ddl.h"

enum { ARGS_MAX = 8 };

static const struct {
    const char *name;
    call_run *run;
    const char *args[ARGS_MAX]; /* NULL: no more */
} procedures[] = {
    { "rollback_to_snapshot", call_rollback_to_snapshot, { "snapshot_id" } },
    { "expire_snapshots", call_expire_snapshots, { "older_than", "retain_last", "dry_run" } },
    { "rewrite_manifests", call_rewrite_manifests, { "dry_run" } },
    { "remove_orphan_files", call_remove_orphan_files, { "older_than", "dry_run" } },
};

void call_columns(struct json_writer *w, const struct call_column *columns, size_t count)
{
    jw_kv_arr(w, "columns");
    for (size_t i = 0; i < count; i++) {
        jw_obj_begin(w);
        jw_kv_cstr(w, "name", columns[i].name);
        jw_kv_cstr(w, "type", columns[i].type);
        jw_obj_end(w);
    }
    jw_arr_end(w);
}

static enum status refuse_procedure(struct str name, struct err *err)
{
    AUTO(buf_done) struct buf known;
    buf_init(&known, 0);
    for (size_t i = 0; i < ARRAY_LEN(procedures); i++) {
        if (buf_printf(&known, "%s, ", procedures[i].name) != OK) {
            return err_no_memory(err);
        }
    }
    return err_set(err, E_INVALID,
                   "there is no procedure \"%.*s\": there are %.*srewrite_data_files",
                   STR_ARG(name), STR_ARG(buf_str(&known)));
}

static enum status find(yyjson_val *request, size_t *out, struct err *err)
{
    struct str name;
    TRY(json_get_str(request, "procedure", JSON_REQUIRED, &name, err));
    for (size_t i = 0; i < ARRAY_LEN(procedures); i++) {
        if (str_eq(name, str_of(procedures[i].name))) {
            *out = i;
            return OK;
        }
    }
    return refuse_procedure(name, err);
}

static enum status check_args(size_t procedure, yyjson_val *args, struct err *err)
{
    size_t i, max;
    yyjson_val *key, *value;
    yyjson_obj_foreach(args, i, max, key, value)
    {
        size_t known = 0;
        while (known < ARGS_MAX && procedures[procedure].args[known] != NULL &&
               !yyjson_equals_str(key, procedures[procedure].args[known])) {
            known++;
        }
        if (known == ARGS_MAX || procedures[procedure].args[known] == NULL) {
            return err_set(err, E_INVALID, "procedure %s has no argument \"%s\"",
                           procedures[procedure].name, yyjson_get_str(key));
        }
    }
    return OK;
}

static enum status run(struct call *call, yyjson_val *request, struct buf *reply, struct err *err)
{
    struct table_summary table;
    size_t procedure = 0;
    struct json_writer w;
    TRY(find(request, &procedure, err));
    TRY(json_get_obj(request, "args", JSON_REQUIRED, &call->args, err));
    TRY(check_args(procedure, call->args, err));
    TRY(ddl_find_table(call->catalog, call->arena, request, &table, err));
    call->name = table.name;
    json_writer_init(&w, reply);
    jw_obj_begin(&w);
    TRY(procedures[procedure].run(call, &w, err));
    jw_obj_end(&w);
    return json_writer_end(&w) == OK ? OK : err_no_memory(err);
}

enum status query_call(struct catalog *catalog, yyjson_val *request, deadline_ms deadline,
                       struct buf *reply, struct err *err)
{
    struct arena arena;
    struct call call = { .catalog = catalog, .arena = &arena, .deadline = deadline };
    arena_init(&arena, 0);
    enum status status = run(&call, request, reply, err);
    arena_done(&arena);
    return status;
}
