/*
 * Sort orders: how the rows of a file that is written shall lie. Pure.
 * Source: Apache Iceberg, table specification, "Sorting".
 */
#ifndef ICEBERG_SORT_ORDER_H
#define ICEBERG_SORT_ORDER_H

#include "iceberg/partition.h"

struct ice_sort_field {
    struct ice_partition_field by; /* source_id, transform and width of it; `name` is empty */
    bool descending, nulls_last;
};
struct ice_sort_order {
    int32_t id; /* 0: unsorted, without fields */
    struct ice_sort_field *fields;
    size_t field_count;
};
/** The JSON of the fields of the table's default sort order, and its id: 0 and empty where it has
 * none. Borrows from a copy in `arena`. E_CORRUPT when there is no such order. */
enum status ice_sort_order_default(struct arena *arena, const struct ice_metadata *metadata,
                                   int32_t *id_out, struct str *fields_json_out,
                                   struct err *err) MUST_USE;
/** An order from the JSON of its fields. Transforms that are not known are ICE_UNKNOWN.
 * E_CORRUPT when it is none. Owns: in `arena`. */
enum status ice_sort_order_parse(struct arena *arena, int32_t id, struct str fields_json,
                                 struct ice_sort_order *out, struct err *err) MUST_USE;

#endif
