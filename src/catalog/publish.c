/*
 * From a document to a version of a table. The document comes whole (a change of another program,
 * a new table), so its numbers are taken from what its snapshots say of themselves.
 */
#include "catalog/publish.h"

#include "catalog/carry.h"

enum { PUT_TRIES = 3, POINTER_BYTES_MAX = 16 * 1024 * 1024 };

struct str publish_uuid(const struct publish *publish)
{
    return publish->metadata == NULL ? publish->uuid : publish->metadata->table_uuid;
}

static struct str location_of(const struct publish *publish)
{
    return publish->metadata == NULL ? publish->location : publish->metadata->location;
}

/* --- the file --- */

static int64_t next_version(const struct local_base *base)
{
    return base->live ? base->pointer.table.version + 1 : 0;
}

static enum status name_file(struct local *local, struct publish *publish, struct arena *arena,
                             struct err *err)
{
    char uuid[UUID_TEXT + 1];
    struct str name;
    uuid4(uuid);
    if (ice_metadata_name(arena, next_version(publish->base), str_of(uuid), &name) != OK) {
        return err_no_memory(err);
    }
    publish->metadata_key = arena_printf(arena, "%.*s/metadata/%.*s", STR_ARG(publish->folder),
                                         STR_ARG(name));
    if (publish->metadata_key.ptr == NULL) {
        return err_no_memory(err);
    }
    return locate_uri(local->base.reader->locate, location_of(publish), publish->metadata_key,
                      arena, &publish->metadata_uri, err);
}

static enum status put_file(struct local *local, const struct publish *publish, struct err *err)
{
    const struct store_cond how = { .opaque_etag = true }; /* readers go by its name */
    enum status status = OK;
    for (int i = 0; i < PUT_TRIES; i++) {
        status = store_put(local->store, publish->metadata_key, publish->json, &how, NULL, err);
        if (status != E_UPSTREAM && status != E_TIMEOUT) {
            break;
        }
    }
    return status;
}

void publish_discard(struct local *local, const struct publish *publish)
{
    /* What cannot be deleted now is an unreferenced file like any other, and swept as one. */
    enum status ignored = store_delete(local->store, publish->metadata_key, NULL);
    (void)ignored;
}

/* --- the pointer --- */

/** A running total of the current snapshot's summary; false when it does not say. */
static bool total(const struct ice_metadata *metadata, const char *name, int64_t *out)
{
    yyjson_val *summary = metadata->current->summary;
    yyjson_val *value = summary == NULL ? NULL : yyjson_obj_get(summary, name);
    return yyjson_is_str(value) &&
           str_to_i64(str_from(yyjson_get_str(value), yyjson_get_len(value)), out) && *out >= 0;
}

/** Rows and files by the manifest list, for a writer that keeps no totals. */
static void count_rows(struct local *local, const struct ice_metadata *metadata,
                       struct table_summary *out)
{
    struct cache_item *item = NULL;
    const struct reader_list *list = NULL;
    if (metadata->current->manifest_list.ptr == NULL ||
        reader_list(local->base.reader, metadata->current->manifest_list, &item, &list, NULL) !=
            OK) {
        return; /* what lists show is no reason to refuse a commit */
    }
    out->row_count = out->file_count = 0;
    for (size_t i = 0; i < list->count; i++) {
        const struct ice_manifest_file *row = &list->rows[i];
        if (row->content == 0 && row->added_files >= 0 && row->existing_files >= 0) {
            out->file_count += (int64_t)row->added_files + row->existing_files;
            out->row_count += row->added_rows + row->existing_rows;
        }
    }
    cache_release(item);
}

static void set_totals(struct local *local, const struct publish *publish,
                       struct table_summary *out)
{
    const struct ice_metadata *metadata = publish->metadata;
    int64_t rows = 0, files = 0, size = 0;
    if (metadata->current == NULL) {
        out->row_count = out->file_count = out->size_bytes = 0;
        return;
    }
    bool moved = !publish->base->live ||
                 publish->base->pointer.table.snapshot_id != metadata->current->id;
    if (total(metadata, "total-records", &rows) && total(metadata, "total-data-files", &files)) {
        out->row_count = rows;
        out->file_count = files;
    } else if (moved) {
        count_rows(local, metadata, out);
    }
    if (total(metadata, "total-files-size", &size)) {
        out->size_bytes = size;
    }
}

static enum status make_table(struct local *local, const struct publish *publish,
                              struct arena *arena, struct table_summary *out, struct err *err)
{
    const struct ice_metadata *metadata = publish->metadata;
    char fingerprint[65];
    TRY(ice_schema_fingerprint(metadata->schema, fingerprint, err));
    struct table_summary table = { .name = *publish->name };
    if (publish->base->live) {
        table = publish->base->pointer.table;
    } else {
        table.uuid = arena_str(arena, metadata->table_uuid);
    }
    table.fingerprint = arena_str(arena, str_of(fingerprint));
    table.snapshot_id = metadata->current == NULL ? -1 : metadata->current->id;
    table.updated_ms = metadata->last_updated_ms;
    table.metadata_location = publish->metadata_uri;
    table.version = next_version(publish->base);
    set_totals(local, publish, &table);
    if (table.uuid.ptr == NULL || table.fingerprint.ptr == NULL) {
        return err_no_memory(err);
    }
    *out = table;
    return OK;
}

static enum status make_view(struct local *local, const struct publish *publish,
                             struct arena *arena, struct table_summary *out, struct err *err)
{
    *out = (struct table_summary){
        .name = *publish->name,
        .uuid = arena_str(arena, publish->uuid),
        .fingerprint = STR_EMPTY,
        .snapshot_id = -1,
        .updated_ms = clock_wall_ms(local->clock),
        .metadata_location = publish->metadata_uri,
        .version = next_version(publish->base),
        .is_view = true,
    };
    return out->uuid.ptr == NULL ? err_no_memory(err) : OK;
}

/** A batch lands with the pointer that makes it visible. */
static void add_batch(struct publish *publish)
{
    const struct ice_metadata *metadata = publish->metadata;
    struct pointer_batch *batch = publish->batch;
    if (batch == NULL || metadata == NULL || metadata->current == NULL) {
        return;
    }
    batch->snapshot_id = metadata->current->id;
    batch->sequence_number = metadata->current->sequence_number;
    batch->committed_ms = metadata->current->timestamp_ms;
    publish->next.batches[publish->next.batch_count++] = *batch;
}

static enum status make_pointer(struct local *local, struct publish *publish, struct arena *arena,
                                struct err *err)
{
    const struct local_base *base = publish->base;
    struct rng rng;
    publish->next = (struct pointer){
        .state = POINTER_LIVE,
        .namespace_uuid = base->live ? base->pointer.namespace_uuid : publish->namespace_uuid,
    };
    TRY((publish->metadata == NULL ? make_view : make_table)(local, publish, arena,
                                                             &publish->next.table, err));
    TRY(carry_batches(local, base, publish->batch != NULL ? 1 : 0, arena, &publish->next, err));
    add_batch(publish);
    local_rng(local, &rng);
    return pointer_add_commit(arena, base->found ? &base->pointer : NULL, &rng, &publish->next,
                              err);
}

enum status publish_write(struct local *local, struct publish *publish, struct arena *arena,
                          struct err *err)
{
    TRY(name_file(local, publish, arena, err));
    enum status status = put_file(local, publish, err);
    status = status == OK ? make_pointer(local, publish, arena, err) : status;
    if (status != OK) {
        publish_discard(local, publish);
    }
    return status;
}

static enum status swap(struct local *local, const struct publish *publish,
                        enum swap_outcome *outcome_out, struct err *err)
{
    AUTO(buf_done) struct buf body;
    buf_init(&body, POINTER_BYTES_MAX);
    enum status status = pointer_encode(&publish->next, &body);
    *outcome_out = SWAP_REFUSED;
    if (status != OK) {
        return status == E_TOO_LARGE
                   ? err_set(err, status, "the pointer would be larger than %d bytes",
                             POINTER_BYTES_MAX)
                   : err_no_memory(err);
    }
    struct swap how = {
        .key = publish->key,
        .base_etag = publish->base->found ? str_of(publish->base->etag) : STR_EMPTY,
        .body = buf_str(&body),
        .commit_id = publish->next.commit_ids[publish->next.commit_count - 1],
        .deadline = publish->deadline,
    };
    return swap_pointer(local, &how, outcome_out, err);
}

enum status publish_swap(struct local *local, struct publish *publish,
                         enum swap_outcome *outcome_out, struct err *err)
{
    enum status status = swap(local, publish, outcome_out, err);
    switch (*outcome_out) {
    case SWAP_WON:
        metric_add(local->commits, 1);
        if (publish->metadata != NULL) {
            reader_keep_metadata(local->base.reader, publish->metadata_uri, publish->metadata);
        }
        break;
    case SWAP_LOST:
        metric_add(local->conflicts, 1);
        publish_discard(local, publish);
        break;
    case SWAP_REFUSED:
        publish_discard(local, publish);
        break;
    case SWAP_UNKNOWN: /* the pointer may still come to name it */
        break;
    }
    return status;
}
