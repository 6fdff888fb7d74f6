/*
 * Values that stand as text in a file: which types a text fits, and its value as one of them. A
 * text fits a type only if it comes back from it unharmed, so leading zeros, plus signs, blanks,
 * mixed dates and times of day fit none. docs/decisions/0004-types-of-csv.md has the rules and why.
 *
 * Pure functions: no DuckDB, no memory. text_functions.cc makes them SQL.
 */
#ifndef DUCK_TEXT_VALUE_H
#define DUCK_TEXT_VALUE_H

#include "base/str.h"

#ifdef __cplusplus
extern "C" {
#endif

enum text_fits {
    TEXT_FITS_INT = 1 << 0,
    TEXT_FITS_LONG = 1 << 1,
    TEXT_FITS_DOUBLE = 1 << 2,
    TEXT_FITS_DECIMAL = 1 << 3, /* digits and a point; how many the caller has to count */
    TEXT_FITS_BOOLEAN = 1 << 4,
    TEXT_FITS_DATE = 1 << 5,
    TEXT_FITS_TIMESTAMP = 1 << 6,
    TEXT_FITS_TIMESTAMPTZ = 1 << 7,
    TEXT_FITS_ALL = (1 << 8) - 1,
};
/** All types that `text` fits, as a sum of TEXT_FITS_*. */
unsigned text_fits(struct str text);

/** False, and *out untouched, when the text does not fit. */
bool text_to_int(struct str text, int32_t *out) MUST_USE;
bool text_to_long(struct str text, int64_t *out) MUST_USE;
bool text_to_double(struct str text, double *out) MUST_USE;
bool text_to_boolean(struct str text, bool *out) MUST_USE;
/** Days since 1970-01-01, years 1 to 9999. */
bool text_to_date(struct str text, int32_t *out) MUST_USE;
/** Microseconds since 1970; with a zone in UTC. */
bool text_to_timestamp(struct str text, int64_t *out) MUST_USE;
bool text_to_timestamptz(struct str text, int64_t *out) MUST_USE;

#ifdef __cplusplus
}
#endif

#endif
