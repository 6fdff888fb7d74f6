/*
 * What a person says of a table's partitions and its order, by the names of columns, as the fields
 * of a partition spec or a sort order. Pure.
 */
#ifndef ICEBERG_SHAPE_H
#define ICEBERG_SHAPE_H

#include "iceberg/sort_order.h"

struct ice_shape_field {
    struct str column;           /* `a`, or `a.b` of a struct */
    struct str transform;        /* as Iceberg spells it: "identity", "bucket[16]" */
    bool descending, nulls_last; /* of a sort order */
};
/**
 * Of "day(ts), bucket(16, id), name", or (`sort`) of "ts desc, name nulls last": NULL comes first
 * where nothing is said and the order ascends, else last.
 *
 * Errors   E_INVALID, after `what`
 * Owns     in `arena`
 */
enum status ice_shape_parse(struct arena *arena, const char *what, struct str text, bool sort,
                            struct ice_shape_field **out, size_t *count_out,
                            struct err *err) MUST_USE;
/** The exact spelling first, else one that differs by case; NULL. */
const struct ice_field *ice_shape_column(const struct ice_type *root, struct str name);
/** The JSON array of a spec's or an order's fields. E_INVALID: a column that is not in `schema`. */
enum status ice_shape_write(struct json_writer *w, struct arena *arena,
                            const struct ice_schema *schema, const struct ice_shape_field *fields,
                            size_t count, bool sort, struct err *err) MUST_USE;

/**
 * The spec and the order of a new table out of
 * {"partition-spec":{"fields"},"write-order":{"fields"}} (NULL: neither), with the ids that a new
 * table gives them.
 *
 * Errors   E_INVALID when it is none
 * Owns     in `arena`; types borrow from `schema`
 */
enum status ice_shape_spec(struct arena *arena, const struct ice_schema *schema, yyjson_val *shape,
                           struct ice_partition_spec *out, struct err *err) MUST_USE;
enum status ice_shape_order(struct arena *arena, yyjson_val *shape, struct ice_sort_order *out,
                            struct err *err) MUST_USE;

#endif
