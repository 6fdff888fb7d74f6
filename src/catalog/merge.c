/*
 * Merging manifests: entries of many small manifests are carried into few larger ones as
 * "existing", with the snapshot id and sequence numbers that they had. Deleted entries have told
 * their story and are left out. What is much larger than all that is smaller waits. The old
 * manifests stay where they are: older snapshots name them until they expire.
 */
#include "catalog/merge.h"

#include "catalog/partition_row.h"

#include <stdlib.h>

struct bin {
    struct ice_data_file *files;
    size_t count, cap;
    int64_t bytes;
    struct ice_manifest_file row; /* for its partitions */
};

/** The bounds of one more manifest's partitions. */
static enum status bin_widen(struct bin *bin, const struct ice_partition_spec *spec,
                             struct arena *arena, const struct ice_manifest_file *row,
                             struct err *err)
{
    if (bin->count == 0 && spec->field_count > 0) {
        TRY(partition_row_begin(arena, spec, &bin->row, err));
    }
    for (size_t f = 0; f < spec->field_count; f++) {
        const struct ice_partition_summary *from = &row->partitions[f];
        struct ice_partition_summary *to = &bin->row.partitions[f];
        const struct ice_type *type = &spec->fields[f].type;
        TRY(from->lower.ptr != NULL ? ice_partition_widen(to, type, from->lower, err) : OK);
        TRY(from->upper.ptr != NULL ? ice_partition_widen(to, type, from->upper, err) : OK);
        to->contains_null = to->contains_null || from->contains_null;
        to->contains_nan = from->contains_nan == 1 ? 1 : to->contains_nan;
    }
    return OK;
}

/** Can bounds be joined with others? Those of other programs may be of a wrong length. */
static bool bounds_hold(const struct ice_partition_spec *spec, const struct ice_manifest_file *row)
{
    for (size_t f = 0; f < spec->field_count; f++) {
        const struct ice_partition_summary *from = &row->partitions[f];
        const struct str bounds[] = { from->lower, from->lower, from->upper, from->upper };
        struct ice_partition_summary alone = { .contains_nan = -1 };
        for (size_t i = 0; i < ARRAY_LEN(bounds); i++) {
            if (ice_partition_widen(&alone, &spec->fields[f].type, bounds[i], NULL) != OK) {
                return false;
            }
        }
    }
    return true;
}

static bool is_small(const struct ice_partition_spec *spec, const struct ice_manifest_file *row)
{
    return row->content == 0 && row->length < MERGE_TARGET_BYTES / 2 &&
           row->key_metadata.len == 0 && row->partition_spec_id == spec->id &&
           (spec->field_count == 0 || row->partition_count == spec->field_count);
}

/** Some writers leave out numbers that entries of old files must have. Such a manifest can be read,
 * but not written again. */
static bool can_carry(const struct merge_writer *writer, const struct ice_manifest *manifest)
{
    if (writer->spec->field_count > 0 &&
        !str_eq(manifest->avro_partition_schema, writer->avro_schema)) {
        return false; /* another program spells partition records otherwise */
    }
    for (size_t i = 0; i < manifest->file_count; i++) {
        const struct ice_data_file *file = &manifest->files[i];
        if (file->status != ICE_DELETED &&
            (file->content != ICE_DATA || file->snapshot_id < 0 || file->sequence_number < 0 ||
             file->file_sequence_number < 0)) {
            return false;
        }
    }
    return true;
}

static enum status bin_add(struct bin *bin, struct arena *arena,
                           const struct ice_manifest *manifest, struct err *err)
{
    if (bin->count + manifest->file_count > bin->cap) {
        size_t cap = 2 * (bin->count + manifest->file_count);
        struct ice_data_file *files = arena_array(arena, cap, sizeof(*files));
        if (files == NULL) {
            return err_no_memory(err);
        }
        if (bin->count > 0) {
            memcpy(files, bin->files, bin->count * sizeof(*files));
        }
        bin->files = files;
        bin->cap = cap;
    }
    for (size_t i = 0; i < manifest->file_count; i++) {
        if (manifest->files[i].status != ICE_DELETED) {
            bin->files[bin->count] = manifest->files[i];
            bin->files[bin->count++].status = ICE_EXISTING;
        }
    }
    return OK;
}

static enum status bin_flush(struct bin *bin, const struct merge_writer *writer,
                             int64_t snapshot_id, struct ice_manifest_file *rows, size_t *count,
                             struct err *err)
{
    if (bin->count == 0) {
        return OK; /* a manifest is never empty */
    }
    struct ice_manifest_file row = { .partition_spec_id = writer->spec->id,
                                     .partitions = bin->row.partitions,
                                     .partition_count = bin->row.partition_count,
                                     .added_snapshot_id = snapshot_id,
                                     .existing_files = (int32_t)bin->count,
                                     .min_sequence_number = INT64_MAX };
    for (size_t i = 0; i < bin->count; i++) {
        int64_t seq = bin->files[i].sequence_number;
        row.existing_rows += bin->files[i].record_count;
        row.min_sequence_number = seq < row.min_sequence_number ? seq : row.min_sequence_number;
    }
    TRY(writer->write(writer->ctx, bin->files, bin->count, &row, err));
    rows[(*count)++] = row;
    bin->count = 0;
    bin->bytes = 0;
    return OK;
}

/** Files that a merge would carry; 0 where the list does not say. */
static int64_t live_files(const struct ice_manifest_file *row)
{
    return (row->added_files > 0 ? (int64_t)row->added_files : 0) +
           (row->existing_files > 0 ? (int64_t)row->existing_files : 0);
}

static int compare_counts(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/**
 * The most files that a manifest may have to be merged. One with more than twice the files of all
 * smaller ones stays as it is until those have grown: else each merge would write the whole table
 * down again, for the sake of a hundred files. What stays apart grows by a factor, so there are few
 * of them.
 */
static enum status files_max(const struct ice_partition_spec *spec, const struct reader_list *list,
                             size_t small, struct arena *arena, int64_t *out, struct err *err)
{
    int64_t *counts = arena_array(arena, small, sizeof(*counts));
    if (counts == NULL) {
        return err_no_memory(err);
    }
    size_t count = 0;
    int64_t below = 0;
    for (size_t i = 0; i < list->count; i++) {
        if (is_small(spec, &list->rows[i])) {
            counts[count] = live_files(&list->rows[i]);
            below += counts[count++];
        }
    }
    qsort(counts, count, sizeof(*counts), compare_counts);
    for (; count > 1; count--) {
        below -= counts[count - 1];
        if (counts[count - 1] <= 2 * below) {
            break;
        }
    }
    *out = counts[count - 1];
    return OK;
}

struct held { /* manifests that entries of the bin point into */
    struct cache_item **items;
    size_t count;
};

static enum status merge_small(struct reader *reader, const struct reader_list *list, size_t small,
                               const struct merge_writer *writer, int64_t snapshot_id,
                               struct arena *arena, struct held *held,
                               struct ice_manifest_file *rows, size_t *count, struct err *err)
{
    struct bin bin = { 0 };
    int64_t most = 0;
    TRY(files_max(writer->spec, list, small, arena, &most, err));
    for (size_t i = 0; i < list->count; i++) {
        const struct ice_manifest_file *row = &list->rows[i];
        if (!is_small(writer->spec, row) || live_files(row) > most ||
            !bounds_hold(writer->spec, row)) {
            rows[(*count)++] = *row;
            continue;
        }
        const struct reader_manifest *manifest = NULL;
        TRY(reader_manifest(reader, row, &held->items[held->count], &manifest, err));
        held->count++;
        if (!can_carry(writer, &manifest->manifest)) {
            rows[(*count)++] = *row;
            continue;
        }
        if (bin.bytes + row->length > MERGE_TARGET_BYTES) {
            TRY(bin_flush(&bin, writer, snapshot_id, rows, count, err));
        }
        TRY(bin_widen(&bin, writer->spec, arena, row, err));
        TRY(bin_add(&bin, arena, &manifest->manifest, err));
        bin.bytes += row->length;
    }
    return bin_flush(&bin, writer, snapshot_id, rows, count, err);
}

enum status merge_rows(struct reader *reader, const struct reader_list *list,
                       const struct merge_writer *writer, int64_t snapshot_id, struct arena *arena,
                       struct ice_manifest_file **rows_out, size_t *count_out, struct err *err)
{
    size_t small = 0, count = 0;
    for (size_t i = 0; i < list->count; i++) {
        small += is_small(writer->spec, &list->rows[i]) ? 1 : 0;
    }
    struct ice_manifest_file *rows = arena_array(arena, list->count + 1, sizeof(*rows));
    if (rows == NULL) {
        return err_no_memory(err);
    }
    enum status status = OK;
    if (small < MERGE_COUNT_MIN) {
        memcpy(rows, list->rows, list->count * sizeof(*rows));
        count = list->count;
    } else {
        struct held held = { .items = arena_array(arena, small, sizeof(*held.items)) };
        status = held.items == NULL ? err_no_memory(err)
                                    : merge_small(reader, list, small, writer, snapshot_id, arena,
                                                  &held, rows, &count, err);
        for (size_t i = 0; i < held.count; i++) {
            cache_release(held.items[i]);
        }
    }
    if (status == OK) {
        *rows_out = rows;
        *count_out = count;
    }
    return status;
}
