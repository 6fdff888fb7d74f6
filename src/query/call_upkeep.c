/* CALL expire_snapshots, rewrite_manifests, remove_orphan_files: one row of what the catalogue
 * reports. */
#include "catalog/upkeep.h"
#include "query/call.h"

/** A list becomes its text, which the type of the column reads. */
static enum status write_value(struct json_writer *w, yyjson_val *value, struct err *err)
{
    if (!yyjson_is_arr(value)) {
        if (value == NULL) {
            jw_null(w);
        } else {
            jw_val(w, value);
        }
        return OK;
    }
    AUTO(buf_done) struct buf text;
    struct json_writer list;
    buf_init(&text, 0);
    json_writer_init(&list, &text);
    jw_val(&list, value);
    TRY(json_writer_end(&list) == OK ? OK : err_no_memory(err));
    jw_str(w, buf_str(&text));
    return OK;
}

static enum status upkeep(struct call *call, const char *procedure,
                          const struct call_column *columns, size_t count, struct json_writer *w,
                          struct err *err)
{
    AUTO(buf_done) struct buf report;
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    const struct catalog_upkeep request = { .name = call->name,
                                            .procedure = str_of(procedure),
                                            .args = call->args,
                                            .deadline = call->deadline };
    buf_init(&report, 0);
    TRY(catalog_upkeep(call->catalog, &request, &report, err));
    TRY(json_parse(buf_str(&report), &doc, err));
    call_columns(w, columns, count);
    jw_kv_arr(w, "rows");
    jw_arr_begin(w);
    for (size_t i = 0; i < count; i++) {
        TRY(write_value(w, yyjson_obj_get(yyjson_doc_get_root(doc), columns[i].name), err));
    }
    jw_arr_end(w);
    jw_arr_end(w);
    return OK;
}

#define COUNT "BIGINT"
#define NAMES "VARCHAR[]"

enum status call_expire_snapshots(struct call *call, struct json_writer *w, struct err *err)
{
    static const struct call_column columns[] = {
        { "expired_snapshots_count", COUNT },
        { "removed_refs_count", COUNT },
        { "deleted_data_files_count", COUNT },
        { "deleted_position_delete_files_count", COUNT },
        { "deleted_equality_delete_files_count", COUNT },
        { "deleted_manifest_files_count", COUNT },
        { "deleted_manifest_lists_count", COUNT },
        { "deleted_statistics_files_count", COUNT },
        { "deleted_bytes_count", COUNT },
        { "kept_files_count", COUNT },
        { "removed_refs", NAMES },
        { "files", NAMES },
    };
    return upkeep(call, "expire_snapshots", columns, ARRAY_LEN(columns), w, err);
}

enum status call_rewrite_manifests(struct call *call, struct json_writer *w, struct err *err)
{
    static const struct call_column columns[] = {
        { "rewritten_manifests_count", COUNT },
        { "added_manifests_count", COUNT },
        { "kept_manifests_count", COUNT },
        { "entries_count", COUNT },
        { "rewritten_bytes_count", COUNT },
        { "added_bytes_count", COUNT },
        { "snapshot_id", COUNT },
        { "files", NAMES },
    };
    return upkeep(call, "rewrite_manifests", columns, ARRAY_LEN(columns), w, err);
}

enum status call_remove_orphan_files(struct call *call, struct json_writer *w, struct err *err)
{
    static const struct call_column columns[] = {
        { "orphan_files_count", COUNT },
        { "orphan_bytes_count", COUNT },
        { "files", NAMES },
    };
    return upkeep(call, "remove_orphan_files", columns, ARRAY_LEN(columns), w, err);
}
