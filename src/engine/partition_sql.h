/*
 * Partition specs and sort orders as SQL: what an engine hears of a table that it writes rows for.
 */
#ifndef ENGINE_PARTITION_SQL_H
#define ENGINE_PARTITION_SQL_H

#include "iceberg/sort_order.h"

/**
 * The value that `field` has for a row, as an expression over the columns of `schema`; appended.
 *
 * Errors   E_UNSUPPORTED for transforms and types of which rows cannot be written
 */
enum status partition_sql(const struct ice_schema *schema, const struct ice_partition_field *field,
                          struct buf *out, struct err *err) MUST_USE;

/** The values of a spec's fields: a member "parts", a list of such expressions. Errors as above. */
enum status partition_sql_write(struct json_writer *w, const struct ice_schema *schema,
                                const struct ice_partition_spec *spec, struct err *err) MUST_USE;
/**
 * How rows are to be sorted: a member "order", a list of ORDER BY's terms. It is left out, and
 * *sorted_out is false, where the order has no fields, or one that SQL cannot spell: nobody has to
 * follow an order.
 */
enum status sort_sql_write(struct json_writer *w, const struct ice_schema *schema,
                           const struct ice_sort_order *order, bool *sorted_out,
                           struct err *err) MUST_USE;

#endif
