/* CALL rollback_to_snapshot('t', snapshot_id => n): the table is what it was then. */
#include "catalog/changes.h"
#include "query/call.h"

/** set-snapshot-ref of main, while it is where it was seen. */
static enum status write_change(const struct catalog_pin *pin, int64_t to, struct buf *out,
                                struct err *err)
{
    struct json_writer w;
    json_writer_init(&w, out);
    jw_obj_begin(&w);
    jw_kv_arr(&w, "requirements");
    jw_obj_begin(&w);
    jw_kv_cstr(&w, "type", "assert-table-uuid");
    jw_kv_str(&w, "uuid", pin->table.uuid);
    jw_obj_end(&w);
    jw_obj_begin(&w);
    jw_kv_cstr(&w, "type", "assert-ref-snapshot-id");
    jw_kv_cstr(&w, "ref", "main");
    jw_kv_i64(&w, "snapshot-id", pin->snapshot->id);
    jw_obj_end(&w);
    jw_arr_end(&w);
    jw_kv_arr(&w, "updates");
    jw_obj_begin(&w);
    jw_kv_cstr(&w, "action", "set-snapshot-ref");
    jw_kv_cstr(&w, "ref-name", "main");
    jw_kv_cstr(&w, "type", "branch");
    jw_kv_i64(&w, "snapshot-id", to);
    ice_main_write_retention(pin->metadata, &w);
    jw_obj_end(&w);
    jw_arr_end(&w);
    jw_obj_end(&w);
    return json_writer_end(&w) == OK ? OK : err_no_memory(err);
}

static enum status roll_back(struct call *call, const struct catalog_pin *pin, int64_t to,
                             struct err *err)
{
    AUTO(buf_done) struct buf json;
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    struct catalog_loaded loaded = { 0 };
    buf_init(&json, 0);
    if (pin->snapshot == NULL || ice_metadata_snapshot(pin->metadata, to) == NULL ||
        !ice_metadata_is_ancestor(pin->metadata, to, pin->snapshot->id)) {
        return err_set(err, E_INVALID,
                       "snapshot %lld is none that table \"%.*s\" has come from; "
                       "\"%.*s$history\" lists those",
                       (long long)to, STR_ARG(call->name.name), STR_ARG(call->name.name));
    }
    if (to == pin->snapshot->id) {
        return OK;
    }
    TRY(write_change(pin, to, &json, err));
    TRY(json_parse(buf_str(&json), &doc, err));
    yyjson_val *root = yyjson_doc_get_root(doc);
    const struct catalog_change change = {
        .name = call->name,
        .requirements = yyjson_obj_get(root, "requirements"),
        .updates = yyjson_obj_get(root, "updates"),
    };
    enum status status = catalog_change_table(call->catalog, &change, call->deadline, call->arena,
                                              &loaded, err);
    buf_done(&loaded.metadata);
    return status;
}

enum status call_rollback_to_snapshot(struct call *call, struct json_writer *w, struct err *err)
{
    static const struct call_column columns[] = { { "previous_snapshot_id", "BIGINT" },
                                                  { "current_snapshot_id", "BIGINT" } };
    const struct catalog_at at = { .kind = CATALOG_AT_CURRENT, .ref = STR_EMPTY };
    struct catalog_pin *pin = NULL;
    int64_t to = 0;
    TRY(json_get_i64(call->args, "snapshot_id", JSON_REQUIRED, &to, err));
    TRY(catalog_pin(call->catalog, &call->name, false, &at, &pin, err));
    enum status status = roll_back(call, pin, to, err);
    if (status == OK) {
        call_columns(w, columns, ARRAY_LEN(columns));
        jw_kv_arr(w, "rows");
        jw_arr_begin(w);
        jw_i64(w, pin->snapshot->id);
        jw_i64(w, to);
        jw_arr_end(w);
        jw_arr_end(w);
    }
    catalog_unpin(pin);
    return status;
}
