/*
 * Dates and times as SQL engines print them: `2024-01-02`, `2024-01-02 03:04:05.000006+00`,
 * `0044-03-15 (BC)`.
 */
#ifndef ICEBERG_CALENDAR_H
#define ICEBERG_CALENDAR_H

#include "base/buf.h"

/** Days since 1970-01-01; false when it is no date. */
bool calendar_parse_date(struct str text, int64_t *days) MUST_USE;
/** Microseconds since midnight, up to 24:00:00; more than 6 decimals are refused unless they are
 * zeros. */
bool calendar_parse_time(struct str text, int64_t *us) MUST_USE;
/** Microseconds since 1970; an offset (`Z`, `+00`, `-05:30`) only `with_zone`. */
bool calendar_parse_timestamp(struct str text, bool with_zone, int64_t *us) MUST_USE;

/** Days since 1970-01-01 of a date in the proleptic Gregorian calendar; months are 1 to 12. */
int64_t calendar_days(int64_t year, int64_t month, int64_t day);

enum status calendar_print_date(int64_t days, struct buf *out) MUST_USE;
enum status calendar_print_time(int64_t us, struct buf *out) MUST_USE;
enum status calendar_print_timestamp(int64_t us, bool with_zone, struct buf *out) MUST_USE;

#endif
