/*
 * The files of one commit, in the order in which they name each other:
 *
 *      data files (the callers', already there) <- manifest <- manifest list <- metadata file <-
 *      (the pointer, swapped later)
 *
 * A manifest names its files with inherited numbers; the list carries the rows of the snapshot
 * before, merged when they have become many; the metadata file is the last one edited. None of it
 * is visible before the swap.
 */
#include "catalog/snapshot.h"

#include "catalog/merge.h"
#include "catalog/partition_row.h"
#include "iceberg/expiry.h"

#include <stdio.h>

enum {
    BODY_BYTES_MAX = 512 * 1024 * 1024,
    PUT_TRIES = 3,
    SNAPSHOTS_MAX = 1000,
    SNAPSHOTS_BUSY = 150, /* of a table that gets so many in ten minutes */
};

#define BUSY_MS (600LL * 1000)

#define EXPIRE_PROPERTY STR("lakehouse.expire-snapshots")
#define MAPPING_PROPERTY STR("schema.name-mapping.default")

struct writer {
    struct local *local;
    const struct plan *plan;
    struct snapshot *out;
    struct str folder; /* key of the metadata folder, with its slash */
    struct str location;
    struct ice_schema schema; /* the plan's, under the id that it has or gets */
    char uuid[UUID_TEXT + 1]; /* in all names of this attempt */
    unsigned manifests;
    /* the table's, or that of a new table without snapshots */
    const struct ice_metadata *base;
    struct str spec_json, avro_schema; /* of new files: their spec, and its records */
    struct cache_item *base_list;      /* the list before, which rows of the new one point into */
};

/** A body under a fresh name. The name is remembered before it is written: a lost answer may have
 * written it too. */
static enum status put_fresh(struct writer *w, struct str key, struct str body, struct err *err)
{
    if (w->out->key_count == SNAPSHOT_KEYS_MAX) {
        return err_set(err, E_TOO_LARGE, "a commit may write at most %d metadata objects",
                       SNAPSHOT_KEYS_MAX);
    }
    w->out->keys[w->out->key_count++] = key;
    enum status status = OK;
    const struct store_cond how = { .opaque_etag = true }; /* readers go by its name */
    for (int i = 0; i < PUT_TRIES; i++) {
        status = store_put(w->local->store, key, body, &how, NULL, err);
        if (status != E_UPSTREAM && status != E_TIMEOUT) {
            break;
        }
    }
    return status;
}

static enum status fresh_key(struct writer *w, const char *name, struct str *key_out,
                             struct str *uri_out, struct err *err)
{
    *key_out = arena_printf(w->plan->arena, "%.*s%s", STR_ARG(w->folder), name);
    if (key_out->ptr == NULL) {
        return err_no_memory(err);
    }
    return locate_uri(w->local->base.reader->locate, w->location, *key_out, w->plan->arena, uri_out,
                      err);
}

/* --- manifests --- */

static enum status write_manifest(void *ctx, const struct ice_data_file *files, size_t count,
                                  struct ice_manifest_file *row, struct err *err)
{
    struct writer *w = ctx;
    AUTO(buf_done) struct buf body;
    buf_init(&body, BODY_BYTES_MAX);
    struct ice_manifest_opts opts = {
        .schema = &w->schema,
        .partition_spec = w->spec_json,
        .partition_spec_id = row->partition_spec_id,
        .avro_partition_schema = w->avro_schema,
        .deflate = true,
    };
    random_bytes(opts.sync, sizeof(opts.sync));
    TRY(ice_manifest_write(&opts, files, count, &body, err));
    char name[UUID_TEXT + 32];
    snprintf(name, sizeof(name), "%s-m%u.avro", w->uuid, w->manifests++);
    struct str key;
    TRY(fresh_key(w, name, &key, &row->path, err));
    TRY(put_fresh(w, key, buf_str(&body), err));
    row->length = (int64_t)body.len;
    row->sequence_number = w->out->sequence_number;
    return OK;
}

static enum status added_row(struct writer *w, struct ice_manifest_file *row, struct err *err)
{
    const struct plan *plan = w->plan;
    *row = (struct ice_manifest_file){
        .partition_spec_id = plan->spec->id,
        .min_sequence_number = w->out->sequence_number,
        .added_snapshot_id = w->out->id,
        .added_files = (int32_t)plan->file_count,
    };
    for (size_t i = 0; i < plan->file_count; i++) {
        row->added_rows += plan->files[i].record_count;
    }
    if (plan->spec->field_count > 0) {
        TRY(partition_row_begin(plan->arena, plan->spec, row, err));
    }
    for (size_t i = 0; plan->spec->field_count > 0 && i < plan->file_count; i++) {
        TRY(partition_row_add(plan->spec, plan->records[i].values, row, err));
    }
    return write_manifest(w, plan->files, plan->file_count, row, err);
}

static enum status old_rows(struct writer *w, struct ice_manifest_file **rows, size_t *count,
                            struct err *err)
{
    const struct ice_metadata *metadata = w->plan->metadata;
    if (metadata == NULL || metadata->current == NULL) {
        *count = 0;
        *rows = arena_array(w->plan->arena, 1, sizeof(**rows));
        return *rows == NULL ? err_no_memory(err) : OK;
    }
    if (metadata->current->manifest_list.ptr == NULL) {
        return err_set(err, E_UNSUPPORTED,
                       "the table lists its manifests inline (format version 1)");
    }
    const struct reader_list *list = NULL;
    TRY(reader_list(w->local->base.reader, metadata->current->manifest_list, &w->base_list, &list,
                    err));
    struct merge_writer writer = {
        .write = write_manifest, .ctx = w, .spec = w->plan->spec, .avro_schema = w->avro_schema
    };
    return merge_rows(w->local->base.reader, list, &writer, w->out->id, w->plan->arena, rows, count,
                      err);
}

static enum status write_list(struct writer *w, struct str *uri_out, struct err *err)
{
    struct ice_manifest_file *rows = NULL;
    size_t count = 0;
    struct ice_manifest_file added;
    TRY(added_row(w, &added, err));
    TRY(old_rows(w, &rows, &count, err));
    memmove(rows + 1, rows, count * sizeof(*rows)); /* the newest first */
    rows[0] = added;
    const struct ice_metadata *metadata = w->plan->metadata;
    struct ice_manifest_list_opts opts = {
        .snapshot_id = w->out->id,
        .parent_snapshot_id = metadata == NULL || metadata->current == NULL ? -1
                                                                            : metadata->current->id,
        .sequence_number = w->out->sequence_number,
        .deflate = true,
    };
    random_bytes(opts.sync, sizeof(opts.sync));
    AUTO(buf_done) struct buf body;
    buf_init(&body, BODY_BYTES_MAX);
    TRY(ice_manifest_list_write(&opts, rows, count + 1, &body, err));
    char name[UUID_TEXT + 64];
    snprintf(name, sizeof(name), "snap-%lld-1-%s.avro", (long long)w->out->id, w->uuid);
    struct str key;
    TRY(fresh_key(w, name, &key, uri_out, err));
    return put_fresh(w, key, buf_str(&body), err);
}

/* --- metadata --- */

/** A table whose files came without field ids keeps a name mapping that follows its schema. */
static enum status name_mapping(struct writer *w, const struct ice_metadata *base,
                                struct ice_property *out, size_t *count, struct err *err)
{
    const struct plan *plan = w->plan;
    bool has = ice_metadata_property(base, MAPPING_PROPERTY).ptr != NULL;
    if (!(plan->name_mapping && !has) && !(has && plan->schema_changed)) {
        return OK;
    }
    AUTO(buf_done) struct buf json;
    buf_init(&json, BODY_BYTES_MAX);
    TRY(ice_name_mapping_write(plan->schema, &json));
    struct str text = arena_str(plan->arena, buf_str(&json));
    if (text.ptr == NULL) {
        return err_no_memory(err);
    }
    out[(*count)++] = (struct ice_property){ MAPPING_PROPERTY, text };
    return OK;
}

bool snapshot_expires(const struct ice_metadata *metadata)
{
    return str_eq(ice_metadata_property(metadata, EXPIRE_PROPERTY), STR("true"));
}

/**
 * Each commit writes all snapshots anew, some 650 bytes each. Where commits are rare, many cost
 * nothing and reach far back; where they are many, they reach back for minutes and are half of what
 * a commit costs.
 */
size_t snapshot_count_max(const struct ice_metadata *base, size_t coming, int64_t now)
{
    size_t young = coming;
    for (size_t i = 0; i < base->snapshot_count; i++) {
        young += base->snapshots[i].timestamp_ms > now - BUSY_MS ? 1 : 0;
    }
    return young > SNAPSHOTS_BUSY ? SNAPSHOTS_BUSY : SNAPSHOTS_MAX;
}

/** The new document, and what it says. */
static enum status edit_metadata(struct writer *w, const struct ice_metadata *base, int64_t now,
                                 struct str list_uri, struct buf *json,
                                 struct ice_metadata **next_out, struct err *err)
{
    const struct plan *plan = w->plan;
    struct ice_new_snapshot snapshot = {
        .id = w->out->id,
        .sequence_number = w->out->sequence_number,
        .manifest_list = list_uri,
    };
    struct ice_property *summary = NULL;
    struct ice_property mapping[1];
    size_t mapping_count = 0;
    if (w->out->id >= 0) {
        TRY(ice_append_summary(plan->arena, base->current, plan->files, plan->file_count,
                               plan->summary, plan->summary_count, &summary,
                               &snapshot.summary_count, err));
        snapshot.summary = summary;
    }
    TRY(name_mapping(w, base, mapping, &mapping_count, err));
    bool ours = snapshot_expires(base);
    struct ice_edit edit = {
        .schema = plan->schema_changed ? plan->schema : NULL,
        .last_column_id = plan->last_column_id,
        .snapshot = w->out->id >= 0 ? &snapshot : NULL,
        .set_properties = mapping,
        .set_count = mapping_count,
        .previous_metadata_location = plan->metadata != NULL
                                          ? plan->base->pointer.table.metadata_location
                                          : STR_EMPTY,
        .now_ms = now,
        .snapshots_max = ours ? snapshot_count_max(base, 1, now) : 0,
        .snapshot_age_max_ms = ours ? ICE_EXPIRY_AGE_MS : 0,
    };
    TRY(ice_metadata_next(base, &edit, plan->arena, json, next_out, &w->out->edit, err));
    w->out->timestamp_ms = w->out->edit.timestamp_ms;
    return OK;
}

static enum status write_metadata(struct writer *w, const struct ice_metadata *base,
                                  struct str list_uri, struct err *err)
{
    struct snapshot *out = w->out;
    AUTO(buf_done) struct buf json;
    buf_init(&json, BODY_BYTES_MAX);
    /* Parsed before it is written: what we could not read back must not become a table. */
    struct ice_metadata *next = NULL;
    TRY(edit_metadata(w, base, clock_wall_ms(w->local->clock), list_uri, &json, &next, err));
    out->metadata = next; /* whatever happens now, snapshot_done drops it */
    struct str name, key;
    out->version = w->plan->metadata == NULL ? 0 : w->plan->base->pointer.table.version + 1;
    if (ice_metadata_name(w->plan->arena, out->version, str_of(w->uuid), &name) != OK) {
        return err_no_memory(err);
    }
    key = arena_printf(w->plan->arena, "%.*s%.*s", STR_ARG(w->folder), STR_ARG(name));
    if (key.ptr == NULL) {
        return err_no_memory(err);
    }
    TRY(locate_uri(w->local->base.reader->locate, w->location, key, w->plan->arena,
                   &out->metadata_uri, err));
    return put_fresh(w, key, buf_str(&json), err);
}

static enum status find_folder(struct writer *w, struct err *err)
{
    const struct plan *plan = w->plan;
    struct str key;
    if (plan->metadata != NULL) {
        w->location = plan->metadata->location;
        TRY(locate_key(w->local->base.reader->locate, w->location, plan->arena, &key, err));
    } else {
        key = plan->place->location_key;
        TRY(locate_uri(w->local->base.reader->locate, STR_EMPTY, key, plan->arena, &w->location,
                       err));
    }
    w->folder = arena_printf(plan->arena, "%.*s/metadata/", STR_ARG(key));
    return w->folder.ptr == NULL ? err_no_memory(err) : OK;
}

/** Manifests name the schema that they were written under, so its id is needed before the metadata
 * has it. */
static enum status name_schema(struct writer *w, struct err *err)
{
    const struct plan *plan = w->plan;
    bool known;
    w->schema = *plan->schema;
    w->schema.schema_id = 0; /* of a new table */
    return plan->metadata == NULL ? OK
                                  : ice_metadata_schema_id(plan->metadata, plan->schema,
                                                           &w->schema.schema_id, &known, err);
}

/** How manifests spell the spec of new files. */
static enum status name_spec(struct writer *w, struct err *err)
{
    const struct ice_partition_spec *spec = w->plan->spec;
    w->spec_json = STR("[]");
    if (spec->field_count == 0) {
        return OK;
    }
    for (size_t i = 0; i < w->base->spec_count; i++) {
        if (w->base->specs[i].id == spec->id) {
            w->spec_json = w->base->specs[i].fields_json;
        }
    }
    return partition_row_schema(w->plan->arena, spec, &w->avro_schema, err);
}

static enum status write_all(struct writer *w, struct err *err)
{
    const struct plan *plan = w->plan;
    struct str list_uri = STR_EMPTY;
    w->base = plan->metadata != NULL ? plan->metadata : plan->made;
    TRY(name_spec(w, err));
    TRY(find_folder(w, err));
    TRY(name_schema(w, err));
    int64_t last = plan->metadata == NULL ? 0 : plan->metadata->last_sequence_number;
    if (last == INT64_MAX) {
        return err_set(err, E_INVALID, "the table has no sequence number left");
    }
    w->out->sequence_number = last + 1;
    if (plan->file_count > 0) {
        w->out->id = ice_snapshot_id(plan->metadata);
        TRY(write_list(w, &list_uri, err));
    }
    return write_metadata(w, w->base, list_uri, err);
}

enum status snapshot_write(struct local *local, const struct plan *plan, struct snapshot *out,
                           struct err *err)
{
    *out = (struct snapshot){ .id = -1 };
    struct writer w = { .local = local, .plan = plan, .out = out };
    uuid4(w.uuid);
    enum status status = write_all(&w, err);
    cache_release(w.base_list);
    if (status != OK) {
        snapshot_discard(local, out);
        snapshot_done(out);
    }
    return status;
}

void snapshot_discard(struct local *local, const struct snapshot *snapshot)
{
    for (size_t i = snapshot->key_count; i > 0; i--) {
        /* What cannot be deleted now is an unreferenced file like any other, and swept as one. */
        enum status ignored = store_delete(local->store, snapshot->keys[i - 1], NULL);
        (void)ignored;
    }
}

void snapshot_done(struct snapshot *snapshot)
{
    if (snapshot->metadata != NULL) {
        ice_metadata_unref(snapshot->metadata);
        snapshot->metadata = NULL;
    }
}
