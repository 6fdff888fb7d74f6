/*
 * Partition records of files that we write: their Avro schema, and a record from values as text.
 * Pure.
 * Source: Apache Iceberg, table specification, "Manifests" and "Avro" (appendix A).
 */
#ifndef ICEBERG_PARTITION_WRITE_H
#define ICEBERG_PARTITION_WRITE_H

#include "iceberg/partition.h"

/** The JSON of the record `r102`, each field optional, in the order of the spec. E_UNSUPPORTED for
 * an unknown transform. */
enum status ice_partition_avro_schema(const struct ice_partition_spec *spec, struct buf *out,
                                      struct err *err) MUST_USE;

struct ice_partition_record {
    struct str avro;    /* the record, as a manifest has it */
    struct str *values; /* [field_count] as bounds (value.h); .ptr NULL: null */
};
/**
 * texts    [field_count] as SQL prints values of the fields' types; .ptr NULL: null
 * Errors   E_INVALID for a text that is no such value; E_UNSUPPORTED for bytes, and for a NaN
 * Owns     in `arena`
 */
enum status ice_partition_record(struct arena *arena, const struct ice_partition_spec *spec,
                                 const struct str *texts, struct ice_partition_record *out,
                                 struct err *err) MUST_USE;

/**
 * The record of a file that stands in a manifest, made anew from its partition_key: so it is of the
 * schema above, whoever wrote that manifest. `spec` is the file's, `order` that of the manifest.
 *
 * Errors   E_CORRUPT for a record that is none of this spec
 * Owns     in `arena`; values borrow from the key
 */
enum status ice_partition_record_of(struct arena *arena, const struct ice_partition_spec *spec,
                                    const struct ice_partition_order *order,
                                    const struct ice_data_file *file,
                                    struct ice_partition_record *out, struct err *err) MUST_USE;

/** Widen what a manifest's row tells of a partition field by one file's value (a bound of that
 * type; .ptr NULL: null). Starts as { .contains_nan = -1 }. E_CORRUPT for a value of a wrong
 * length. */
enum status ice_partition_widen(struct ice_partition_summary *summary, const struct ice_type *type,
                                struct str value, struct err *err) MUST_USE;
/** Is it a float's or double's NaN? */
bool ice_partition_is_nan(const struct ice_type *type, struct str value);

#endif
