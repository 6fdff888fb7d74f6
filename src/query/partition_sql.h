/*
 * Partition transforms as SQL. Private to this folder.
 */
#ifndef QUERY_PARTITION_SQL_H
#define QUERY_PARTITION_SQL_H

#include "iceberg/partition.h"

/**
 * The value that `field` has for a row, as an expression over the columns of `schema`; appended.
 *
 * Errors   E_UNSUPPORTED for transforms and types of which rows cannot be written
 */
enum status partition_sql(const struct ice_schema *schema, const struct ice_partition_field *field,
                          struct buf *out, struct err *err) MUST_USE;

#endif
