/*
 * What the manifest of partitioned files says of partitions: the schema of their records, and in
 * the manifest list the bounds of each field. Private to this folder.
 */
#ifndef CATALOG_PARTITION_ROW_H
#define CATALOG_PARTITION_ROW_H

#include "iceberg/partition_write.h"

/** The Avro schema of records that are made here. Owns: in `arena`. */
enum status partition_row_schema(struct arena *arena, const struct ice_partition_spec *spec,
                                 struct str *out, struct err *err) MUST_USE;
/** Bounds of no files yet, in `arena`. */
enum status partition_row_begin(struct arena *arena, const struct ice_partition_spec *spec,
                                struct ice_manifest_file *row, struct err *err) MUST_USE;
/** And those of one more; `values` [spec->field_count] are borrowed. */
enum status partition_row_add(const struct ice_partition_spec *spec, const struct str *values,
                              struct ice_manifest_file *row, struct err *err) MUST_USE;

#endif
