/*
 * What the engine reports of rows that were left out.
 */
#include "ingest/ingest_priv.h"

enum status ingest_read_skipped(struct arena *arena, struct str done_json,
                                struct ingest_result *out, struct err *err)
{
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    yyjson_val *skipped = NULL, *rows = NULL, *row;
    TRY(json_parse(done_json, &doc, err));
    TRY(json_get_obj(yyjson_doc_get_root(doc), "skipped", JSON_REQUIRED, &skipped, err));
    TRY(json_get_u64(skipped, "count", JSON_REQUIRED, &out->skipped_count, err));
    TRY(json_get_arr(skipped, "rows", JSON_REQUIRED, &rows, err));
    out->skipped_told = 0;
    out->skipped = arena_array(arena, yyjson_arr_size(rows) + 1, sizeof(*out->skipped));
    if (out->skipped == NULL) {
        return err_no_memory(err);
    }
    size_t i, max;
    yyjson_arr_foreach(rows, i, max, row)
    {
        struct ingest_skipped *told = &out->skipped[i];
        struct str reason;
        TRY(json_get_u64(row, "line", JSON_REQUIRED, &told->line, err));
        TRY(json_get_str(row, "reason", JSON_REQUIRED, &reason, err));
        told->reason = arena_str(arena, reason);
        if (told->reason.ptr == NULL) {
            return err_no_memory(err);
        }
        out->skipped_told++;
    }
    return OK;
}
