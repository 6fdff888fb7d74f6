/*
 * Objects under fresh names, a manifest list, and {"requirements","updates"} with the snapshot that
 * names it all. The one requirement beside the uuid is that main is where it was.
 */
#include "catalog/written.h"

#include "base/encode.h"
#include "catalog/reader.h"

#include <stdio.h>
#include <time.h>

enum {
    BODY_BYTES_MAX = 512 * 1024 * 1024,
    PUT_TRIES = 3,
    BACKOFF_MS = 5,
    BACKOFF_DOUBLINGS = 6,
};

void written_init(struct written *w, struct catalog *catalog, struct arena *arena)
{
    *w = (struct written){ .catalog = catalog, .arena = arena };
    uuid4(w->uuid);
}

enum status written_begin(struct written *w, const struct catalog_pin *pin, struct err *err)
{
    struct str key;
    const struct ice_metadata *metadata = pin->metadata;
    TRY(ice_metadata_check_written(metadata, pin->table.name.name, err));
    TRY(locate_key(w->catalog->reader->locate, metadata->location, w->arena, &key, err));
    w->metadata = metadata;
    w->folder = arena_printf(w->arena, "%.*s/metadata/", STR_ARG(key));
    w->snapshot_id = ice_snapshot_id(metadata);
    w->sequence_number = metadata->last_sequence_number + 1;
    return w->folder.ptr == NULL ? err_no_memory(err) : OK;
}

/* --- objects --- */

static enum status remember(struct written *w, struct str key, struct err *err)
{
    if (w->key_count == w->key_cap) {
        size_t cap = w->key_cap == 0 ? 16 : w->key_cap * 2;
        struct str *more = arena_array(w->arena, cap, sizeof(*more));
        if (more == NULL) {
            return err_no_memory(err);
        }
        if (w->key_count > 0) {
            memcpy(more, w->keys, w->key_count * sizeof(*more));
        }
        w->keys = more;
        w->key_cap = cap;
    }
    w->keys[w->key_count++] = key;
    return OK;
}

/** A body under a fresh name. It is remembered before it is written: a lost answer may have written
 * it too. */
static enum status put_fresh(struct written *w, const char *name, struct str body,
                             struct str *uri_out, struct err *err)
{
    struct str key = arena_printf(w->arena, "%.*s%s", STR_ARG(w->folder), name);
    if (key.ptr == NULL) {
        return err_no_memory(err);
    }
    TRY(locate_uri(w->catalog->reader->locate, w->metadata->location, key, w->arena, uri_out, err));
    TRY(remember(w, key, err));
    enum status status = OK;
    const struct store_cond how = { .opaque_etag = true };
    for (int i = 0; i < PUT_TRIES; i++) {
        status = store_put(w->catalog->reader->store, key, body, &how, NULL, err);
        if (status != E_UPSTREAM && status != E_TIMEOUT) {
            break;
        }
    }
    return status;
}

void written_discard(struct written *w, size_t from)
{
    while (w->key_count > from) {
        enum status ignored = store_delete(w->catalog->reader->store, w->keys[--w->key_count],
                                           NULL);
        (void)ignored; /* an unreferenced file like any other */
    }
}

enum status written_manifest(struct written *w, const struct ice_manifest_opts *how,
                             const struct ice_data_file *files, size_t count,
                             struct ice_manifest_file *row, struct err *err)
{
    AUTO(buf_done) struct buf body;
    char name[UUID_TEXT + 32];
    struct ice_manifest_opts opts = *how;
    buf_init(&body, BODY_BYTES_MAX);
    opts.schema = w->metadata->schema;
    opts.deflate = true;
    random_bytes(opts.sync, sizeof(opts.sync));
    TRY(ice_manifest_write(&opts, files, count, &body, err));
    snprintf(name, sizeof(name), "%s-m%u.avro", w->uuid, w->names++);
    TRY(put_fresh(w, name, buf_str(&body), &row->path, err));
    row->length = (int64_t)body.len;
    row->content = opts.content;
    row->partition_spec_id = opts.partition_spec_id;
    row->sequence_number = w->sequence_number;
    row->added_snapshot_id = w->snapshot_id;
    return OK;
}

enum status written_list(struct written *w, const struct catalog_pin *pin,
                         const struct ice_manifest_file *rows, size_t count, struct str *uri_out,
                         struct err *err)
{
    struct ice_manifest_list_opts opts = {
        .snapshot_id = w->snapshot_id,
        .parent_snapshot_id = pin->snapshot == NULL ? -1 : pin->snapshot->id,
        .sequence_number = w->sequence_number,
        .deflate = true,
    };
    AUTO(buf_done) struct buf body;
    char name[UUID_TEXT + 64];
    buf_init(&body, BODY_BYTES_MAX);
    random_bytes(opts.sync, sizeof(opts.sync));
    TRY(ice_manifest_list_write(&opts, rows, count, &body, err));
    snprintf(name, sizeof(name), "snap-%lld-1-%s.avro", (long long)w->snapshot_id, w->uuid);
    return put_fresh(w, name, buf_str(&body), uri_out, err);
}

/* --- the change --- */

static void write_snapshot(struct written *w, const struct written_commit *commit,
                           struct json_writer *j)
{
    const struct ice_metadata *metadata = w->metadata;
    int64_t now = clock_wall_ms(clock_real());
    jw_kv_obj(j, "snapshot");
    jw_kv_i64(j, "snapshot-id", w->snapshot_id);
    if (commit->pin->snapshot != NULL) {
        jw_kv_i64(j, "parent-snapshot-id", commit->pin->snapshot->id);
    }
    jw_kv_i64(j, "sequence-number", w->sequence_number);
    jw_kv_i64(j, "timestamp-ms", now > metadata->last_updated_ms ? now : metadata->last_updated_ms);
    jw_kv_str(j, "manifest-list", commit->list_uri);
    jw_kv_i64(j, "schema-id", metadata->current_schema_id);
    jw_kv_obj(j, "summary");
    for (size_t i = 0; i < commit->summary_count; i++) {
        jw_key(j, commit->summary[i].name);
        jw_str(j, commit->summary[i].value);
    }
    jw_obj_end(j);
    jw_obj_end(j);
}

/** {"requirements":[..],"updates":[..]} */
static enum status write_change(struct written *w, const struct written_commit *commit,
                                struct buf *out, struct err *err)
{
    struct json_writer j;
    json_writer_init(&j, out);
    jw_obj_begin(&j);
    jw_kv_arr(&j, "requirements");
    jw_obj_begin(&j);
    jw_kv_cstr(&j, "type", "assert-table-uuid");
    jw_kv_str(&j, "uuid", w->metadata->table_uuid);
    jw_obj_end(&j);
    jw_obj_begin(&j);
    jw_kv_cstr(&j, "type", "assert-ref-snapshot-id");
    jw_kv_cstr(&j, "ref", "main");
    jw_key(&j, STR("snapshot-id"));
    if (commit->pin->snapshot == NULL) {
        jw_null(&j);
    } else {
        jw_i64(&j, commit->pin->snapshot->id);
    }
    jw_obj_end(&j);
    jw_arr_end(&j);
    jw_kv_arr(&j, "updates");
    jw_obj_begin(&j);
    jw_kv_cstr(&j, "action", "add-snapshot");
    write_snapshot(w, commit, &j);
    jw_obj_end(&j);
    jw_obj_begin(&j);
    jw_kv_cstr(&j, "action", "set-snapshot-ref");
    jw_kv_cstr(&j, "ref-name", "main");
    jw_kv_cstr(&j, "type", "branch");
    jw_kv_i64(&j, "snapshot-id", w->snapshot_id);
    ice_main_write_retention(w->metadata, &j);
    jw_obj_end(&j);
    jw_arr_end(&j);
    jw_obj_end(&j);
    return json_writer_end(&j) == OK ? OK : err_no_memory(err);
}

enum status written_commit(struct written *w, const struct written_commit *commit, struct err *err)
{
    AUTO(buf_done) struct buf json;
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    struct catalog_loaded loaded = { 0 };
    buf_init(&json, BODY_BYTES_MAX);
    TRY(write_change(w, commit, &json, err));
    TRY(json_parse(buf_str(&json), &doc, err));
    yyjson_val *root = yyjson_doc_get_root(doc);
    const struct catalog_change change = {
        .name = *commit->name,
        .requirements = yyjson_obj_get(root, "requirements"),
        .updates = yyjson_obj_get(root, "updates"),
        .batch = commit->batch,
    };
    enum status status = catalog_change_table(w->catalog, &change, commit->deadline, w->arena,
                                              &loaded, err);
    buf_done(&loaded.metadata);
    return status;
}

bool written_is_lost(enum status status)
{
    return status == E_CONFLICT || status == E_NOT_FOUND || status == E_INVALID ||
           status == E_EXISTS;
}

/** Between 5 and 400 ms, more with each round that was lost. */
void written_back_off(int round)
{
    int64_t most = (int64_t)BACKOFF_MS << (round < BACKOFF_DOUBLINGS ? round : BACKOFF_DOUBLINGS);
    int64_t ms = most / 2 + (int64_t)(random_u64() % (uint64_t)most);
    const struct timespec wait = { .tv_sec = 0, .tv_nsec = ms * 1000000 };
    (void)nanosleep(&wait, NULL);
}
