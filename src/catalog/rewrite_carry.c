/*
 * The manifests that a rewrite finds. One that names files that go is written anew: what stays in
 * it as "existing", what goes as "deleted". Several of those in a row become one, as long as they
 * are of one spec and not too many files: a thousand small appends that are compacted leave a few
 * manifests, not a thousand. All others are carried as they are.
 *
 * Invariant: the entries of r->rows' new manifests are those of the old ones, no more and no less.
 */
#include "catalog/rewrite_priv.h"
#include "iceberg/value.h"

enum { JOINED_BYTES_MAX = 8 * 1024 * 1024 /* Iceberg's commit.manifest.target-size-bytes */ };

/** Manifests that are becoming one. */
struct joined {
    struct ice_manifest_opts opts; /* borrows from the first of them */
    struct ice_manifest_file row;
    struct ice_data_file *files;
    size_t count, cap;
    int64_t bytes; /* of the manifests */
    /* held, because `files` points into them */
    struct cache_item **items;
    size_t item_count, item_cap;
    struct ice_partition_specs specs;
};

/** A table may have a file twice; it is looked for once. */
static enum status note_found(struct rewriting *r, const struct ice_data_file *file,
                              struct err *err)
{
    static char found;
    struct map *named = file->content == ICE_DATA ? &r->removed : &r->removed_deletes;
    if (r->request->removes_all || map_get(named, file->path) == &found) {
        return OK;
    }
    r->found_count++;
    return map_put(named, file->path, &found, NULL) == OK ? OK : err_no_memory(err);
}

static enum status keep_gone(struct rewriting *r, const struct ice_data_file *file, struct err *err)
{
    if (r->gone_count == r->gone_cap) {
        size_t cap = r->gone_cap == 0 ? 16 : r->gone_cap * 2;
        struct ice_data_file *more = arena_array(r->arena, cap, sizeof(*more));
        if (more == NULL) {
            return err_no_memory(err);
        }
        if (r->gone_count > 0) {
            memcpy(more, r->gone, r->gone_count * sizeof(*more));
        }
        r->gone = more;
        r->gone_cap = cap;
    }
    r->gone[r->gone_count] = *file;
    r->gone[r->gone_count++].columns = NULL; /* of a manifest that is let go */
    return note_found(r, file, err);
}

static bool goes(struct rewriting *r, const struct ice_data_file *file)
{
    const struct map *named = file->content == ICE_DATA ? &r->removed : &r->removed_deletes;
    return r->request->removes_all || map_get(named, file->path) != NULL;
}

static bool any_goes(struct rewriting *r, const struct ice_manifest *manifest)
{
    for (size_t i = 0; i < manifest->file_count; i++) {
        if (manifest->files[i].status != ICE_DELETED && goes(r, &manifest->files[i])) {
            return true;
        }
    }
    return false;
}

/* --- joining --- */

/** The bounds of a partition field in both. */
static enum status join_summary(struct ice_partition_summary *into, const struct ice_type *type,
                                const struct ice_partition_summary *from, struct err *err)
{
    int order = 0;
    into->contains_null = into->contains_null || from->contains_null;
    into->contains_nan = into->contains_nan < 0 || from->contains_nan < 0
                             ? -1
                             : into->contains_nan | from->contains_nan;
    if (from->lower.ptr == NULL) { /* all of its values are null */
        return OK;
    }
    if (into->lower.ptr == NULL) {
        into->lower = from->lower;
        into->upper = from->upper;
        return OK;
    }
    TRY(ice_bound_compare(type, from->lower, into->lower, &order, err));
    into->lower = order < 0 ? from->lower : into->lower;
    TRY(ice_bound_compare(type, from->upper, into->upper, &order, err));
    into->upper = order > 0 ? from->upper : into->upper;
    return OK;
}

/** Can the summaries of a row be joined with others? Bounds of unknown types have no order. */
static const struct ice_partition_spec *comparable(const struct joined *joined,
                                                   const struct ice_manifest_file *row)
{
    const struct ice_partition_spec *spec = ice_partition_spec_by_id(&joined->specs,
                                                                     row->partition_spec_id);
    if (spec == NULL || spec->field_count != row->partition_count) {
        return NULL;
    }
    for (size_t f = 0; f < spec->field_count; f++) {
        if (spec->fields[f].type.kind == ICE_OTHER) {
            return NULL;
        }
    }
    return spec;
}

static bool may_join(const struct joined *joined, const struct ice_manifest_file *row,
                     const struct ice_manifest *manifest)
{
    return joined->opts.partition_spec_id == row->partition_spec_id &&
           joined->opts.content == row->content &&
           str_eq(joined->opts.avro_partition_schema, manifest->avro_partition_schema) &&
           joined->bytes + row->length <= JOINED_BYTES_MAX && comparable(joined, row) != NULL &&
           joined->row.partition_count == row->partition_count;
}

static enum status write_joined(struct rewriting *r, struct joined *joined, struct err *err)
{
    if (joined->count == 0) {
        return OK;
    }
    TRY(written_manifest(&r->written, &joined->opts, joined->files, joined->count, &joined->row,
                         err));
    r->rows[r->row_count++] = joined->row;
    joined->count = 0;
    joined->bytes = 0;
    for (size_t i = 0; i < joined->item_count; i++) {
        cache_release(joined->items[i]);
    }
    joined->item_count = 0;
    return OK;
}

static enum status begin(struct rewriting *r, struct joined *joined,
                         const struct ice_manifest_file *row, const struct ice_manifest *manifest,
                         struct err *err)
{
    joined->opts = (struct ice_manifest_opts){
        .partition_spec = manifest->partition_spec.len > 0 ? manifest->partition_spec : STR("[]"),
        .partition_spec_id = row->partition_spec_id,
        .avro_partition_schema = manifest->avro_partition_schema,
        .content = row->content,
    };
    joined->row = (struct ice_manifest_file){ .min_sequence_number = INT64_MAX,
                                              .partition_count = row->partition_count };
    joined->row.partitions = arena_array(r->arena, row->partition_count,
                                         sizeof(*joined->row.partitions));
    if (joined->row.partitions == NULL) {
        return err_no_memory(err);
    }
    if (row->partition_count > 0) {
        memcpy(joined->row.partitions, row->partitions,
               row->partition_count * sizeof(*row->partitions));
    }
    return OK;
}

/** Hold a manifest until its entries are written. */
static enum status hold(struct rewriting *r, struct joined *joined, struct cache_item *item,
                        struct err *err)
{
    if (joined->item_count == joined->item_cap) {
        size_t cap = joined->item_cap == 0 ? 16 : joined->item_cap * 2;
        struct cache_item **more = arena_array(r->arena, cap, sizeof(*more));
        if (more == NULL) {
            cache_release(item);
            return err_no_memory(err);
        }
        if (joined->item_count > 0) {
            memcpy(more, joined->items, joined->item_count * sizeof(*more));
        }
        joined->items = more;
        joined->item_cap = cap;
    }
    joined->items[joined->item_count++] = item;
    return OK;
}

static enum status room_for(struct rewriting *r, struct joined *joined, size_t count,
                            struct err *err)
{
    if (joined->count + count <= joined->cap) {
        return OK;
    }
    size_t cap = 2 * (joined->count + count);
    struct ice_data_file *more = arena_array(r->arena, cap, sizeof(*more));
    if (more == NULL) {
        return err_no_memory(err);
    }
    if (joined->count > 0) {
        memcpy(more, joined->files, joined->count * sizeof(*more));
    }
    joined->files = more;
    joined->cap = cap;
    return OK;
}

/** The entries of a manifest that loses some, with what is told of them in the row. */
static enum status add_entries(struct rewriting *r, struct joined *joined,
                               const struct ice_manifest *manifest, struct err *err)
{
    struct ice_manifest_file *row = &joined->row;
    TRY(room_for(r, joined, manifest->file_count, err));
    for (size_t i = 0; i < manifest->file_count; i++) {
        const struct ice_data_file *file = &manifest->files[i];
        if (file->status == ICE_DELETED) {
            continue; /* told by an earlier snapshot */
        }
        bool out = goes(r, file);
        struct ice_data_file *entry = &joined->files[joined->count++];
        *entry = *file;
        entry->status = out ? ICE_DELETED : ICE_EXISTING;
        entry->snapshot_id = out ? r->written.snapshot_id : file->snapshot_id;
        *(out ? &row->deleted_files : &row->existing_files) += 1;
        *(out ? &row->deleted_rows : &row->existing_rows) += file->record_count;
        if (file->sequence_number < row->min_sequence_number) {
            row->min_sequence_number = file->sequence_number;
        }
        if (out) {
            TRY(keep_gone(r, file, err));
        }
    }
    return OK;
}

/** Takes over `item`. */
static enum status add_manifest(struct rewriting *r, struct joined *joined,
                                const struct ice_manifest_file *row,
                                const struct ice_manifest *manifest, struct cache_item *item,
                                struct err *err)
{
    enum status status = OK;
    bool joins = joined->count > 0 && may_join(joined, row, manifest);
    if (!joins) {
        status = write_joined(r, joined, err);
        status = status == OK ? begin(r, joined, row, manifest, err) : status;
    }
    if (status != OK) {
        cache_release(item);
        return status;
    }
    TRY(hold(r, joined, item, err));
    const struct ice_partition_spec *spec = joins ? comparable(joined, row) : NULL;
    for (size_t f = 0; spec != NULL && f < row->partition_count; f++) {
        TRY(join_summary(&joined->row.partitions[f], &spec->fields[f].type, &row->partitions[f],
                         err));
    }
    joined->bytes += row->length;
    return add_entries(r, joined, manifest, err);
}

/** A row of the list before: as it is, or among those that are joined. */
static enum status carry_row(struct rewriting *r, struct joined *joined,
                             const struct ice_manifest_file *old, struct err *err)
{
    struct cache_item *item = NULL;
    const struct reader_manifest *read = NULL;
    const struct map *named = old->content == 0 ? &r->removed : &r->removed_deletes;
    if (!r->request->removes_all && named->count == 0) {
        r->rows[r->row_count++] = *old;
        return OK;
    }
    TRY(reader_manifest(r->catalog->reader, old, &item, &read, err));
    if (!any_goes(r, &read->manifest)) {
        cache_release(item);
        r->rows[r->row_count++] = *old;
        return OK;
    }
    return add_manifest(r, joined, old, &read->manifest, item, err);
}

enum status rewrite_carry(struct rewriting *r, struct err *err)
{
    struct joined joined = { .count = 0 };
    TRY(ice_partition_specs(r->arena, r->pin->metadata, &joined.specs, err));
    enum status status = OK;
    for (size_t i = 0; r->list != NULL && i < r->list->count && status == OK; i++) {
        status = carry_row(r, &joined, &r->list->rows[i], err);
    }
    status = status == OK ? write_joined(r, &joined, err) : status;
    for (size_t i = 0; i < joined.item_count; i++) {
        cache_release(joined.items[i]);
    }
    return status;
}
