/*
 * Pointer objects: keys and JSON.
 *
 *   {"format":1, "kind":"table", "state":"live", "namespace":"main", "name":"t", "uuid":...,
 *   "namespace_uuid":...,
 *    "version":3, "metadata_location":"file:///...", "summary":{...}, "commit_ids":[...],
 *    "batches":[...]}
 *
 * Invariants: a pointer is never deleted; every body ends its commit_ids with an id that no other
 * body has, so that no two bodies (and no two ETags) of one key are equal; `tx` is there while a
 * transaction over several tables holds the pointer, whose body is the old content then (tx.c).
 */
#include "catalog/pointer.h"

#include "base/encode.h"

enum { POINTER_BYTES_MAX = 16 * 1024 * 1024 };

enum status pointer_prefix(struct arena *arena, struct str warehouse, struct str *out,
                           struct err *err)
{
    *out = arena_printf(arena, "_lake/cat/%.*s/ns/", STR_ARG(warehouse));
    return out->ptr == NULL ? err_no_memory(err) : OK;
}

static enum status append_ns_prefix(struct buf *key, struct str warehouse, struct str ns)
{
    TRY(buf_printf(key, "_lake/cat/%.*s/ns/", STR_ARG(warehouse)));
    TRY(percent_append(key, ns, ""));
    return buf_append(key, STR("/t/"));
}

static enum status finish_key(struct arena *arena, struct buf *key, enum status status,
                              struct str *out, struct err *err)
{
    if (status == E_TOO_LARGE) {
        status = err_set(err, E_INVALID,
                         "the name is too long: its key would have more than %d bytes",
                         STORE_KEY_PLAIN_MAX);
    } else if (status == OK) {
        struct str copy = arena_str(arena, buf_str(key));
        status = copy.ptr == NULL ? err_no_memory(err) : OK;
        *out = status == OK ? copy : *out;
    } else {
        status = err_no_memory(err);
    }
    return status;
}

enum status pointer_ns_prefix(struct arena *arena, struct str warehouse, struct str ns,
                              struct str *out, struct err *err)
{
    AUTO(buf_done) struct buf key;
    buf_init(&key, STORE_KEY_PLAIN_MAX);
    return finish_key(arena, &key, append_ns_prefix(&key, warehouse, ns), out, err);
}

enum status pointer_children_prefix(struct arena *arena, struct str warehouse, struct str parent,
                                    struct str *out, struct err *err)
{
    AUTO(buf_done) struct buf key;
    buf_init(&key, STORE_KEY_PLAIN_MAX);
    enum status status = buf_printf(&key, "_lake/cat/%.*s/ns/", STR_ARG(warehouse));
    status = status == OK ? percent_append(&key, parent, "") : status;
    status = status == OK && parent.len > 0 ? buf_append(&key, STR("%1F")) : status;
    return finish_key(arena, &key, status, out, err);
}

enum status pointer_key(struct arena *arena, struct str warehouse, const struct table_name *name,
                        struct str *out, struct err *err)
{
    AUTO(buf_done) struct buf key;
    buf_init(&key, STORE_KEY_PLAIN_MAX);
    enum status status = append_ns_prefix(&key, warehouse, name->ns);
    status = status == OK ? percent_append(&key, name->name, "") : status;
    status = status == OK ? buf_append(&key, STR(".json")) : status;
    return finish_key(arena, &key, status, out, err);
}

enum status pointer_key_name(struct arena *arena, struct str prefix, struct str key,
                             bool *is_pointer_out, struct table_name *out, struct err *err)
{
    *is_pointer_out = false;
    if (!str_starts(key, prefix) || !str_ends(key, STR(".json"))) {
        return OK;
    }
    struct str rest = str_skip(key, prefix.len);
    rest = str_take(rest, rest.len - strlen(".json"));
    struct str ns = str_split(&rest, '/');
    struct str kind = str_split(&rest, '/');
    if (rest.ptr == NULL || !str_eq(kind, STR("t")) || str_find_char(rest, '/') != SIZE_MAX) {
        return OK;
    }
    TRY(percent_decode(arena, ns, false, &out->ns, err));
    TRY(percent_decode(arena, rest, false, &out->name, err));
    *is_pointer_out = true;
    return OK;
}

static void write_batch(struct json_writer *w, const struct pointer_batch *batch)
{
    jw_obj_begin(w);
    jw_kv_str(w, "id", batch->id);
    jw_kv_i64(w, "snapshot_id", batch->snapshot_id);
    jw_kv_i64(w, "seq", batch->sequence_number);
    jw_kv_i64(w, "rows", batch->row_count);
    jw_kv_i64(w, "committed_ms", batch->committed_ms);
    if (batch->file.len > 0) {
        jw_kv_str(w, "file", batch->file);
    }
    if (batch->source.len > 0) {
        jw_kv_str(w, "source", batch->source);
    }
    jw_obj_end(w);
}

static void write_summary(struct json_writer *w, const struct table_summary *table)
{
    jw_kv_obj(w, "summary");
    jw_kv_str(w, "fingerprint", table->fingerprint);
    jw_kv_i64(w, "snapshot_id", table->snapshot_id);
    jw_kv_i64(w, "row_count", table->row_count);
    jw_kv_i64(w, "file_count", table->file_count);
    jw_kv_i64(w, "size_bytes", table->size_bytes);
    jw_kv_i64(w, "updated_ms", table->updated_ms);
    jw_obj_end(w);
}

static const char *const state_names[] = { [POINTER_LIVE] = "live",
                                           [POINTER_DROPPED] = "dropped",
                                           [POINTER_MOVED] = "moved",
                                           [POINTER_ARRIVING] = "arriving" };

static bool has_rename(const struct pointer *pointer)
{
    return pointer->state == POINTER_MOVED || pointer->state == POINTER_ARRIVING;
}

static void write_rename(struct json_writer *w, const struct pointer_rename *rename)
{
    jw_kv_obj(w, "rename");
    jw_kv_str(w, "id", rename->id);
    jw_kv_str(w, "namespace", rename->peer.ns);
    jw_kv_str(w, "name", rename->peer.name);
    if (rename->refused) {
        jw_kv_bool(w, "refused", true);
    }
    jw_kv_i64(w, "begun_ms", rename->begun_ms);
    jw_obj_end(w);
}

enum status pointer_encode(const struct pointer *pointer, struct buf *out)
{
    struct json_writer w;
    json_writer_init(&w, out);
    jw_obj_begin(&w);
    jw_kv_i64(&w, "format", POINTER_FORMAT);
    jw_kv_cstr(&w, "kind", pointer->table.is_view ? "view" : "table");
    jw_kv_cstr(&w, "state", state_names[pointer->state]);
    if (pointer->state == POINTER_DROPPED) {
        jw_kv_bool(&w, "purge", pointer->purge);
    }
    if (has_rename(pointer)) {
        write_rename(&w, &pointer->rename);
    }
    jw_kv_str(&w, "namespace", pointer->table.name.ns);
    jw_kv_str(&w, "name", pointer->table.name.name);
    jw_kv_str(&w, "uuid", pointer->table.uuid);
    jw_kv_str(&w, "namespace_uuid", pointer->namespace_uuid);
    jw_kv_i64(&w, "version", pointer->table.version);
    jw_kv_str(&w, "metadata_location", pointer->table.metadata_location);
    write_summary(&w, &pointer->table);
    jw_kv_arr(&w, "commit_ids");
    for (size_t i = 0; i < pointer->commit_count; i++) {
        jw_str(&w, pointer->commit_ids[i]);
    }
    jw_arr_end(&w);
    jw_kv_arr(&w, "batches");
    for (size_t i = 0; i < pointer->batch_count; i++) {
        write_batch(&w, &pointer->batches[i]);
    }
    jw_arr_end(&w);
    if (pointer->tx_id.len > 0) {
        jw_kv_obj(&w, "tx");
        jw_kv_str(&w, "id", pointer->tx_id);
        jw_key(&w, STR("next"));
        jw_raw(&w, pointer->tx_next);
        jw_obj_end(&w);
    }
    jw_obj_end(&w);
    return json_writer_end(&w);
}

static enum status get_str(struct arena *arena, yyjson_val *obj, const char *name,
                           enum json_need need, struct str *out, struct err *err)
{
    struct str text = STR_EMPTY;
    TRY(json_get_str(obj, name, need, &text, err));
    *out = arena_str(arena, text);
    return out->ptr == NULL ? err_no_memory(err) : OK;
}

static enum status decode_summary(struct arena *arena, yyjson_val *root,
                                  struct table_summary *table, struct err *err)
{
    yyjson_val *obj = NULL;
    TRY(json_get_obj(root, "summary", JSON_REQUIRED, &obj, err));
    TRY(get_str(arena, obj, "fingerprint", JSON_REQUIRED, &table->fingerprint, err));
    TRY(json_get_i64(obj, "snapshot_id", JSON_REQUIRED, &table->snapshot_id, err));
    TRY(json_get_i64(obj, "row_count", JSON_REQUIRED, &table->row_count, err));
    TRY(json_get_i64(obj, "file_count", JSON_REQUIRED, &table->file_count, err));
    TRY(json_get_i64(obj, "size_bytes", JSON_REQUIRED, &table->size_bytes, err));
    return json_get_i64(obj, "updated_ms", JSON_REQUIRED, &table->updated_ms, err);
}

static enum status decode_batch(struct arena *arena, yyjson_val *obj, struct pointer_batch *batch,
                                struct err *err)
{
    TRY(get_str(arena, obj, "id", JSON_REQUIRED, &batch->id, err));
    TRY(json_get_i64(obj, "snapshot_id", JSON_REQUIRED, &batch->snapshot_id, err));
    TRY(json_get_i64(obj, "seq", JSON_REQUIRED, &batch->sequence_number, err));
    TRY(json_get_i64(obj, "rows", JSON_OPTIONAL, &batch->row_count, err));
    TRY(json_get_i64(obj, "committed_ms", JSON_OPTIONAL, &batch->committed_ms, err));
    TRY(get_str(arena, obj, "file", JSON_OPTIONAL, &batch->file, err));
    return get_str(arena, obj, "source", JSON_OPTIONAL, &batch->source, err);
}

static enum status decode_batches(struct arena *arena, yyjson_val *root, struct pointer *out,
                                  struct err *err)
{
    yyjson_val *arr = NULL;
    TRY(json_get_arr(root, "batches", JSON_OPTIONAL, &arr, err));
    size_t count = yyjson_arr_size(arr);
    out->batches = arena_array(arena, count, sizeof(*out->batches));
    if (out->batches == NULL) {
        return err_no_memory(err);
    }
    size_t i, max;
    yyjson_val *val;
    yyjson_arr_foreach(arr, i, max, val)
    {
        TRY(decode_batch(arena, val, &out->batches[i], err));
    }
    out->batch_count = count;
    return OK;
}

static enum status decode_commit_ids(struct arena *arena, yyjson_val *root, struct pointer *out,
                                     struct err *err)
{
    yyjson_val *arr = NULL;
    TRY(json_get_arr(root, "commit_ids", JSON_REQUIRED, &arr, err));
    out->commit_ids = arena_array(arena, yyjson_arr_size(arr), sizeof(*out->commit_ids));
    if (out->commit_ids == NULL) {
        return err_no_memory(err);
    }
    size_t i, max;
    yyjson_val *val;
    yyjson_arr_foreach(arr, i, max, val)
    {
        struct str id = str_from(yyjson_get_str(val), yyjson_get_len(val));
        if (id.ptr == NULL) {
            return err_set(err, E_CORRUPT, "a commit id is no string");
        }
        out->commit_ids[i] = arena_str(arena, id);
        if (out->commit_ids[i].ptr == NULL) {
            return err_no_memory(err);
        }
    }
    out->commit_count = yyjson_arr_size(arr);
    return OK;
}

static bool find_state(struct str text, enum pointer_state *out)
{
    for (size_t i = 0; i < ARRAY_LEN(state_names); i++) {
        if (str_eq(text, str_of(state_names[i]))) {
            *out = (enum pointer_state)i;
            return true;
        }
    }
    return false;
}

static enum status decode_rename(struct arena *arena, yyjson_val *root, struct pointer_rename *out,
                                 struct err *err)
{
    yyjson_val *obj = NULL;
    TRY(json_get_obj(root, "rename", JSON_REQUIRED, &obj, err));
    TRY(get_str(arena, obj, "id", JSON_REQUIRED, &out->id, err));
    TRY(get_str(arena, obj, "namespace", JSON_REQUIRED, &out->peer.ns, err));
    TRY(get_str(arena, obj, "name", JSON_REQUIRED, &out->peer.name, err));
    TRY(json_get_bool(obj, "refused", JSON_OPTIONAL, &out->refused, err));
    return json_get_i64(obj, "begun_ms", JSON_OPTIONAL, &out->begun_ms, err);
}

static enum status decode_head(struct arena *arena, yyjson_val *root, struct pointer *out,
                               struct err *err)
{
    int64_t format = 0;
    struct str kind = STR_EMPTY, state = STR_EMPTY;
    TRY(json_get_i64(root, "format", JSON_REQUIRED, &format, err));
    if (format > POINTER_FORMAT) {
        return err_set(err, E_UNSUPPORTED,
                       "a pointer of format %lld was written by a newer version",
                       (long long)format);
    }
    TRY(json_get_str(root, "kind", JSON_REQUIRED, &kind, err));
    TRY(json_get_str(root, "state", JSON_REQUIRED, &state, err));
    TRY(get_str(arena, root, "namespace", JSON_REQUIRED, &out->table.name.ns, err));
    TRY(get_str(arena, root, "name", JSON_REQUIRED, &out->table.name.name, err));
    TRY(get_str(arena, root, "uuid", JSON_REQUIRED, &out->table.uuid, err));
    TRY(get_str(arena, root, "namespace_uuid", JSON_OPTIONAL, &out->namespace_uuid, err));
    TRY(json_get_i64(root, "version", JSON_REQUIRED, &out->table.version, err));
    TRY(get_str(arena, root, "metadata_location", JSON_REQUIRED, &out->table.metadata_location,
                err));
    TRY(json_get_bool(root, "purge", JSON_OPTIONAL, &out->purge, err));
    out->table.is_view = str_eq(kind, STR("view"));
    bool known = (out->table.is_view || str_eq(kind, STR("table"))) &&
                 find_state(state, &out->state);
    return known
               ? OK
               : err_set(
                     err, E_UNSUPPORTED,
                     "a pointer of kind \"%.*s\" in state \"%.*s\" was written by a newer version",
                     STR_ARG(kind), STR_ARG(state));
}

static enum status decode_tx(struct arena *arena, yyjson_val *root, struct pointer *out,
                             struct err *err)
{
    yyjson_val *tx = NULL, *next = NULL;
    AUTO(buf_done) struct buf json;
    struct json_writer w;
    buf_init(&json, POINTER_BYTES_MAX);
    out->tx_id = out->tx_next = STR_EMPTY;
    TRY(json_get_obj(root, "tx", JSON_OPTIONAL, &tx, err));
    if (tx == NULL) {
        return OK;
    }
    TRY(get_str(arena, tx, "id", JSON_REQUIRED, &out->tx_id, err));
    TRY(json_get_obj(tx, "next", JSON_REQUIRED, &next, err));
    if (out->tx_id.len == 0) {
        return err_set(err, E_CORRUPT, "a transaction has no id");
    }
    json_writer_init(&w, &json);
    jw_val(&w, next);
    if (json_writer_end(&w) == OK) {
        out->tx_next = arena_str(arena, buf_str(&json));
    }
    return out->tx_next.len == 0 ? err_no_memory(err) : OK;
}

static enum status decode_root(struct arena *arena, yyjson_val *root, struct pointer *out,
                               struct err *err)
{
    TRY(decode_head(arena, root, out, err));
    TRY(decode_tx(arena, root, out, err));
    TRY(has_rename(out) ? decode_rename(arena, root, &out->rename, err) : OK);
    TRY(decode_summary(arena, root, &out->table, err));
    TRY(decode_commit_ids(arena, root, out, err));
    return decode_batches(arena, root, out, err);
}

enum status pointer_decode(struct arena *arena, struct str json, struct pointer *out,
                           struct err *err)
{
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    struct pointer pointer = { 0 };
    enum status status = json_parse(json, &doc, err);
    if (status == OK) {
        status = decode_root(arena, yyjson_doc_get_root(doc), &pointer, err);
    }
    if (status == E_INVALID) { /* stored bytes, not a caller's input */
        if (err != NULL) {
            err->kind = E_CORRUPT;
        }
        (void)err_context(err, "a broken pointer");
        return E_CORRUPT;
    }
    TRY(status);
    *out = pointer;
    return OK;
}

bool pointer_has_commit(const struct pointer *pointer, struct str commit_id)
{
    for (size_t i = pointer->commit_count; i > 0; i--) {
        if (str_eq(pointer->commit_ids[i - 1], commit_id)) {
            return true;
        }
    }
    return false;
}

const struct pointer_batch *pointer_find_batch(const struct pointer *pointer, struct str batch_id)
{
    for (size_t i = pointer->batch_count; i > 0; i--) {
        if (str_eq(pointer->batches[i - 1].id, batch_id)) {
            return &pointer->batches[i - 1];
        }
    }
    return NULL;
}

enum status pointer_add_commit(struct arena *arena, const struct pointer *base, struct rng *rng,
                               struct pointer *next, struct err *err)
{
    size_t old = base == NULL ? 0 : base->commit_count;
    size_t keep = old < POINTER_COMMIT_IDS_MAX ? old : POINTER_COMMIT_IDS_MAX - 1;
    next->commit_ids = arena_array(arena, keep + 1, sizeof(*next->commit_ids));
    struct str fresh = arena_printf(arena, "%016llx", (unsigned long long)rng_next(rng));
    if (next->commit_ids == NULL || fresh.ptr == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < keep; i++) {
        next->commit_ids[i] = base->commit_ids[old - keep + i];
    }
    next->commit_ids[keep] = fresh;
    next->commit_count = keep + 1;
    return OK;
}
