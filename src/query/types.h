/*
 * What an Iceberg type is called in SQL.
 */
#ifndef QUERY_TYPES_H
#define QUERY_TYPES_H

#include "iceberg/schema.h"

/** Append "BIGINT", "DECIMAL(9,2)", `STRUCT("a" INTEGER)[]`. A type of a later version of the
 * format is E_UNSUPPORTED. */
enum status query_type_sql(const struct ice_type *type, struct buf *out, struct err *err) MUST_USE;
/** Whether bounds of the type, as text, are good for leaving files out. */
bool query_type_has_bounds(const struct ice_type *type);

#endif
