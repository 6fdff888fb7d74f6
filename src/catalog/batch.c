/*
 * Batches: ids, markers, and whether one still counts.
 */
#include "catalog/batch.h"

#include "base/digest.h"
#include "base/rng.h"

#include <stdio.h>

enum { PLAIN_ID_MAX = 128, MARKER_BYTES_MAX = 64 * 1024, TRIES = 3 };

static bool is_plain(struct str id)
{
    if (id.len > PLAIN_ID_MAX || str_starts(id, STR("src-")) || str_starts(id, STR("sha-"))) {
        return false;
    }
    for (size_t i = 0; i < id.len; i++) {
        unsigned char c = (unsigned char)id.ptr[i];
        bool alnum = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!alnum && c != '-' && c != '_') {
            return false;
        }
    }
    return true;
}

static enum status hashed(struct arena *arena, const char *prefix, struct str text,
                          const char *suffix, struct str *out, struct err *err)
{
    char hex[SHA256_HEX + 1];
    sha256_hex(text, hex);
    *out = arena_printf(arena, "%s%s%s", prefix, hex, suffix);
    return out->ptr == NULL ? err_no_memory(err) : OK;
}

enum status batch_id(struct arena *arena, struct str client_id, struct str *out, struct err *err)
{
    if (!is_plain(client_id)) {
        return hashed(arena, "sha-", client_id, "", out, err);
    }
    *out = arena_str(arena, client_id);
    return out->ptr == NULL ? err_no_memory(err) : OK;
}

enum status batch_source_id(struct arena *arena, struct str source_key, struct str *out,
                            struct err *err)
{
    return hashed(arena, "src-", source_key, "", out, err);
}

enum status batch_source_file(struct arena *arena, struct str source_key, struct str *out,
                              struct err *err)
{
    char uuid[UUID_TEXT + 1], suffix[UUID_TEXT + 16];
    uuid4(uuid);
    snprintf(suffix, sizeof(suffix), "-%s.parquet", uuid);
    return hashed(arena, "reg-", source_key, suffix, out, err);
}

bool batch_source_of_file(struct str key, struct str *id_out)
{
    static _Thread_local char id[BATCH_SOURCE_ID_LEN];
    size_t slash = str_rfind_char(key, '/');
    struct str name = slash == SIZE_MAX ? key : str_skip(key, slash + 1);
    if (!str_starts(name, STR("reg-")) ||
        name.len != 4 + SHA256_HEX + 1 + UUID_TEXT + strlen(".parquet")) {
        return false;
    }
    memcpy(id, "src-", 4);
    memcpy(id + 4, name.ptr + 4, SHA256_HEX);
    *id_out = str_from(id, sizeof(id));
    return true;
}

static enum status marker_key(struct arena *arena, struct str uuid, struct str id, struct str *out,
                              struct err *err)
{
    *out = arena_printf(arena, "_lake/ingest/%.*s/%.*s.json", STR_ARG(uuid), STR_ARG(id));
    return out->ptr == NULL ? err_no_memory(err) : OK;
}

static enum status marker_encode(const struct pointer_batch *batch, struct buf *out)
{
    struct json_writer w;
    json_writer_init(&w, out);
    jw_obj_begin(&w);
    jw_kv_i64(&w, "format", 1);
    jw_kv_str(&w, "id", batch->id);
    jw_kv_i64(&w, "snapshot_id", batch->snapshot_id);
    jw_kv_i64(&w, "seq", batch->sequence_number);
    jw_kv_i64(&w, "rows", batch->row_count);
    jw_kv_i64(&w, "committed_ms", batch->committed_ms);
    jw_kv_str(&w, "file", batch->file);
    jw_kv_str(&w, "source", batch->source);
    jw_obj_end(&w);
    return json_writer_end(&w);
}

enum status batch_write(struct store *store, struct str uuid, const struct pointer_batch *batch,
                        struct err *err)
{
    struct arena arena;
    arena_init(&arena, 16 * 1024);
    AUTO(buf_done) struct buf body;
    buf_init(&body, MARKER_BYTES_MAX);
    struct str key;
    enum status status = marker_key(&arena, uuid, batch->id, &key, err);
    if (status == OK && marker_encode(batch, &body) != OK) {
        status = err_no_memory(err);
    }
    const struct store_cond how = { .opaque_etag = true };
    for (int i = 0; i < TRIES && status == OK; i++) { /* always the same bytes: safe to repeat */
        status = store_put(store, key, buf_str(&body), &how, NULL, err);
        if ((status != E_UPSTREAM && status != E_TIMEOUT) || i + 1 == TRIES) {
            break;
        }
        status = OK;
    }
    arena_done(&arena);
    return status;
}

static enum status copy_str(struct arena *arena, yyjson_val *root, const char *name,
                            struct str *out, struct err *err)
{
    struct str text = STR_EMPTY;
    TRY(json_get_str(root, name, JSON_OPTIONAL, &text, err));
    *out = arena_str(arena, text);
    return out->ptr == NULL ? err_no_memory(err) : OK;
}

static enum status marker_decode(struct arena *arena, struct str json, struct pointer_batch *out,
                                 struct err *err)
{
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    TRY(json_parse(json, &doc, err));
    yyjson_val *root = yyjson_doc_get_root(doc);
    TRY(copy_str(arena, root, "id", &out->id, err));
    TRY(json_get_i64(root, "snapshot_id", JSON_REQUIRED, &out->snapshot_id, err));
    TRY(json_get_i64(root, "seq", JSON_REQUIRED, &out->sequence_number, err));
    TRY(json_get_i64(root, "rows", JSON_REQUIRED, &out->row_count, err));
    TRY(json_get_i64(root, "committed_ms", JSON_REQUIRED, &out->committed_ms, err));
    TRY(copy_str(arena, root, "file", &out->file, err));
    return copy_str(arena, root, "source", &out->source, err);
}

enum status batch_read(struct store *store, struct str uuid, struct str id, struct arena *arena,
                       bool *found_out, struct pointer_batch *out, struct err *err)
{
    struct str key;
    TRY(marker_key(arena, uuid, id, &key, err));
    return batch_read_key(store, key, arena, found_out, out, err);
}

enum status batch_read_key(struct store *store, struct str key, struct arena *arena,
                           bool *found_out, struct pointer_batch *out, struct err *err)
{
    AUTO(buf_done) struct buf body;
    buf_init(&body, MARKER_BYTES_MAX);
    enum status status = OK;
    for (int i = 0; i < TRIES; i++) {
        status = store_read(store, key, NULL, &body, NULL, err);
        if (status != E_UPSTREAM && status != E_TIMEOUT) {
            break;
        }
    }
    if (status == E_NOT_FOUND) {
        *found_out = false;
        return OK;
    }
    TRY(status);
    struct pointer_batch batch = { 0 };
    status = marker_decode(arena, buf_str(&body), &batch, err);
    if (status != OK) {
        return err_set(err, E_CORRUPT, "the marker \"%.*s\" is broken", STR_ARG(key));
    }
    *out = batch;
    *found_out = true;
    return OK;
}

/* --- does it still count --- */

static int64_t summary_number(const struct ice_snapshot *snapshot, const char *name)
{
    yyjson_val *value = snapshot->summary == NULL ? NULL : yyjson_obj_get(snapshot->summary, name);
    int64_t number = -1;
    if (!yyjson_is_str(value) ||
        !str_to_i64(str_from(yyjson_get_str(value), yyjson_get_len(value)), &number)) {
        return -1;
    }
    return number;
}

/** True when nothing that stood before this snapshot stands after it. */
static bool wipes(const struct ice_metadata *metadata, const struct ice_snapshot *snapshot)
{
    yyjson_val *op = snapshot->summary == NULL ? NULL
                                               : yyjson_obj_get(snapshot->summary, "operation");
    if (!yyjson_equals_str(op, "delete") && !yyjson_equals_str(op, "overwrite")) {
        return false;
    }
    if (summary_number(snapshot, "total-data-files") == 0) {
        return true;
    }
    if (snapshot->summary != NULL &&
        yyjson_equals_str(yyjson_obj_get(snapshot->summary, BATCH_ROWS_STAY), "true")) {
        return false;
    }
    const struct ice_snapshot *parent = ice_metadata_snapshot(metadata, snapshot->parent_id);
    int64_t before = parent == NULL ? -1 : summary_number(parent, "total-data-files");
    return before > 0 && summary_number(snapshot, "deleted-data-files") >= before;
}

bool batch_counts(const struct ice_metadata *metadata, const struct pointer_batch *batch)
{
    if (batch->snapshot_id < 0) {
        return true; /* it brought no rows that could have gone */
    }
    if (metadata->current == NULL ||
        !ice_metadata_is_ancestor(metadata, batch->snapshot_id, metadata->current->id)) {
        return false;
    }
    const struct ice_snapshot *at = metadata->current;
    for (size_t i = 0; at != NULL && at->id != batch->snapshot_id && i <= metadata->snapshot_count;
         i++) {
        if (wipes(metadata, at)) {
            return false;
        }
        at = at->parent_id < 0 ? NULL : ice_metadata_snapshot(metadata, at->parent_id);
    }
    return true;
}

bool batch_may_lapse(const struct ice_metadata *metadata)
{
    const struct ice_snapshot *at = metadata->current;
    size_t count = 0;
    while (at != NULL && count <= metadata->snapshot_count) {
        count++;
        at = at->parent_id < 0 ? NULL : ice_metadata_snapshot(metadata, at->parent_id);
    }
    bool may = count != metadata->snapshot_count; /* something lies beside the line of history */
    for (size_t i = 0; i < metadata->snapshot_count && !may; i++) {
        may = wipes(metadata, &metadata->snapshots[i]);
    }
    return may;
}
