/*
 * Entries of manifests in the order of their partitions.
 */
#ifndef CATALOG_UPKEEP_SORT_H
#define CATALOG_UPKEEP_SORT_H

#include "catalog/reader.h"
#include "iceberg/partition_write.h"

struct upkeep_entry {
    const struct ice_data_file *file; /* as its manifest has it */
    const struct str *values;         /* [field_count], bounds; .ptr NULL: null */
    const struct ice_partition_spec *spec;
    size_t place;
};
/**
 * The live entries of manifests of one spec, nulls first, NaN last, else in the order given.
 *
 * Owns     in `arena`; files point into the manifests
 */
enum status upkeep_sort(struct arena *arena, const struct ice_partition_spec *spec,
                        const struct reader_manifest *const *manifests, size_t manifest_count,
                        struct upkeep_entry **out, size_t *count_out, struct err *err) MUST_USE;
/** What a manifest of these entries tells of their partitions, into row->partitions. */
enum status upkeep_summarize(struct arena *arena, const struct ice_partition_spec *spec,
                             const struct upkeep_entry *entries, size_t count,
                             struct ice_manifest_file *row, struct err *err) MUST_USE;

/** Rows in the order of their lower bounds of the spec's first field; those that tell none
 * first. */
enum status upkeep_sort_rows(struct arena *arena, const struct ice_partition_spec *spec,
                             const struct ice_manifest_file **rows, size_t count,
                             struct err *err) MUST_USE;
/** How many of rows in that order begin before the end of one before them: files of one partition
 * are apart then. */
size_t upkeep_overlaps(const struct ice_partition_spec *spec,
                       const struct ice_manifest_file *const *rows, size_t count);

#endif
