/*
 * Single values: the binary form of bounds (appendix D), their comparison, and their text.
 */
#ifndef ICEBERG_VALUE_H
#define ICEBERG_VALUE_H

#include "iceberg/schema.h"

/**
 * Make a bound from text as an SQL engine prints it (`2024-01-02`, `2024-01-02 03:04:05.000006+00`,
 * `12.50`, `true`, raw string). Strings are cut to 16 code points (upper bounds: last one
 * incremented); `*none_out` is true when no bound can be given (NaN, no upper bound exists, a type
 * without bounds).
 */
enum status ice_bound_from_text(struct arena *arena, const struct ice_type *type, struct str text,
                                bool upper, struct str *out, bool *none_out,
                                struct err *err) MUST_USE;
/** Compare two bounds of one type; widens 4-byte bounds of promoted columns. E_CORRUPT when a
 * length is wrong. */
enum status ice_bound_compare(const struct ice_type *type, struct str a, struct str b, int *out,
                              struct err *err) MUST_USE;
/** As text an SQL engine can cast back; the inverse of from_text for what is not cut. */
enum status ice_bound_print(const struct ice_type *type, struct str bound, struct buf *out,
                            struct err *err) MUST_USE;

#endif
