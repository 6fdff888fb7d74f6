/*
 * Merging small manifests, so that a table of many small appends stays quick to read.
 */
#ifndef CATALOG_MERGE_H
#define CATALOG_MERGE_H

#include "catalog/snapshot.h"
#include "iceberg/partition_write.h"

/** From so many small data manifests on they are merged, into manifests of about this size
 * (Iceberg's defaults). */
enum { MERGE_COUNT_MIN = 100, MERGE_TARGET_BYTES = 8 * 1024 * 1024 };

/** Writes a manifest under a fresh name and fills its row's path and length. */
struct merge_writer {
    enum status (*write)(void *ctx, const struct ice_data_file *files, size_t count,
                         struct ice_manifest_file *row, struct err *err);
    void *ctx;
    /* of the table's current spec; where it has fields, the Avro schema of records that `write`
     * takes: manifests with another are left alone */
    const struct ice_partition_spec *spec;
    struct str avro_schema;
};
/**
 * The rows of the next manifest list from those of the last one. Only manifests of data
 * of the current spec are touched; with fewer than MERGE_COUNT_MIN small ones all rows are taken
 * over. One with more than twice the files of all smaller ones together stays, so that a file is
 * carried about as often as the table has grown by half.
 *
 * Returns  *rows_out has room for one more row at its end
 */
enum status merge_rows(struct reader *reader, const struct reader_list *list,
                       const struct merge_writer *writer, int64_t snapshot_id, struct arena *arena,
                       struct ice_manifest_file **rows_out, size_t *count_out,
                       struct err *err) MUST_USE;

#endif
