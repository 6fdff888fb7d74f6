/*
 * Partition specs and the values that files have in them: transforms, the type of what they make,
 * the one struct that all specs of a table share. Pure.
 * Source: Apache Iceberg, table specification, "Partitioning" and "Partition Transforms".
 */
#ifndef ICEBERG_PARTITION_H
#define ICEBERG_PARTITION_H

#include "iceberg/metadata.h"

enum ice_transform {
    ICE_IDENTITY,
    ICE_BUCKET,
    ICE_TRUNCATE,
    ICE_YEAR,
    ICE_MONTH,
    ICE_DAY,
    ICE_HOUR,
    ICE_VOID,
    ICE_UNKNOWN /* of a later version, or of a column that no schema has any more */
};

struct ice_partition_field {
    int32_t source_id, field_id;
    struct str name;
    enum ice_transform transform;
    int32_t width;        /* of bucket and truncate */
    struct ice_type type; /* of its values; ICE_OTHER where the transform is unknown */
};
struct ice_partition_spec {
    int32_t id;
    struct ice_partition_field *fields;
    size_t field_count;
};
struct ice_partition_specs {
    struct ice_partition_spec *specs; /* in the order of their ids */
    size_t count;
    /* Every field that any spec has, once, by field id: named as the newest spec names it, void
     * only where every spec says so. Those of unknown transforms are left out. */
    struct ice_partition_field *all;
    size_t all_count;
};
/**
 * The specs of a table. A source is looked for in all schemas, the newest first.
 *
 * Errors   E_CORRUPT when a spec is none
 * Owns     in `arena`; names and types borrow from `metadata`
 */
enum status ice_partition_specs(struct arena *arena, const struct ice_metadata *metadata,
                                struct ice_partition_specs *out, struct err *err) MUST_USE;
/**
 * One spec from the JSON of its fields, over one schema: for who writes files and has no metadata
 * at hand. A source that is not in `schema` makes the field unknown, void ones stay void.
 *
 * Errors   E_CORRUPT when it is none
 * Owns     in `arena`; types borrow from `schema`
 */
enum status ice_partition_spec_parse(struct arena *arena, const struct ice_schema *schema,
                                     int32_t id, struct str fields_json,
                                     struct ice_partition_spec *out, struct err *err) MUST_USE;
/** As specs and sort orders spell it: "day", "bucket[16]"; ICE_UNKNOWN. *width_out is written for
 * those with one. */
enum ice_transform ice_transform_parse(struct str text, int32_t *width_out);
/** NULL when there is none. */
const struct ice_partition_spec *ice_partition_spec_by_id(const struct ice_partition_specs *specs,
                                                          int32_t id);

/** Which field of a partition record stands where, for the files of one manifest. */
struct ice_partition_order {
    int32_t *ids; /* [count], in the order of the record */
    size_t count;
};
/** By the ids in the record's schema; by place in `spec` where a writer left them out. */
enum status ice_partition_order(struct arena *arena, const struct ice_manifest *manifest,
                                const struct ice_partition_spec *spec,
                                struct ice_partition_order *out, struct err *err) MUST_USE;
/**
 * The value of `field` in a file's partition, as a bound of field->type (value.h); .ptr NULL: null,
 * or not in the file's spec. *there_out tells the two apart.
 *
 * Shapes   scratch [8]: where a short number is put; borrowed by *out
 * Errors   E_CORRUPT for a key that ends early
 */
enum status ice_partition_value(const struct ice_data_file *file,
                                const struct ice_partition_order *order,
                                const struct ice_partition_field *field, char scratch[8],
                                bool *there_out, struct str *out, struct err *err) MUST_USE;
/** What the value of a partition field says of the column that it was made of, in all rows of a
 * file. */
struct ice_partition_range {
    bool all_null, none_null;
    bool is_value;           /* every row has `lower` */
    struct str lower, upper; /* bounds of the column's type (value.h), inclusive; .ptr NULL: none */
};
/**
 * `source` is the column's type now, and `value` as ice_partition_value gives it, of a field that
 * is there.
 *
 * Owns     in `arena`, or borrowed from `value`
 * Source   the specification's projection of predicates, read backwards; before 1970 some writers
 *          have put moments into the partition behind theirs, so the one before belongs to it
 */
enum status ice_partition_range(struct arena *arena, const struct ice_partition_field *field,
                                const struct ice_type *source, struct str value,
                                struct ice_partition_range *out, struct err *err) MUST_USE;
/** A value as people read it: "2024-01" of a month, "2024-01-02-03" of an hour, ISO 8601 of a
 * moment, base64 of bytes, else as ice_bound_print has it. */
enum status ice_partition_print(const struct ice_partition_field *field, struct str value,
                                struct buf *out, struct err *err) MUST_USE;

#endif
