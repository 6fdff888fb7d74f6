/*
 * Time is passed in, so that tests own it. Wall time in ms since 1970 UTC, a monotonic clock for
 * waits, and one that goes on while the machine sleeps, for what others may have done meanwhile. A
 * deadline is made once at the edge and handed down.
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include "base/buf.h"

#ifdef __cplusplus
extern "C" {
#endif

/** A clock is some functions and their context; clock_real() is the machine's. */
struct lake_clock {
    int64_t (*wall_ms)(void *ctx);
    int64_t (*mono_ms)(void *ctx);
    int64_t (*boot_ms)(void *ctx); /* NULL: as mono_ms */
    void *ctx;
};

const struct lake_clock *clock_real(void);
int64_t clock_wall_ms(const struct lake_clock *clock);
/** Stands still while the machine sleeps. */
int64_t clock_mono_ms(const struct lake_clock *clock);
/** Monotonic too, and goes on while the machine sleeps. */
int64_t clock_boot_ms(const struct lake_clock *clock);
/** Of the machine's monotonic clock, for measurements. */
int64_t clock_now_us(void);

/** A point in the machine's monotonic time, ms; DEADLINE_NEVER waits for ever. */
typedef int64_t
    /* a plain number of ms; the one typedef, so that a timeout is never taken for a deadline */
    deadline_ms;
#define DEADLINE_NEVER INT64_MAX
deadline_ms deadline_in(int64_t timeout_ms);
/** What is left, never negative; INT_MAX-like for never, made for poll(): -1 when never. */
int deadline_poll_ms(deadline_ms deadline);
bool deadline_passed(deadline_ms deadline);

/** 2024-01-02T03:04:05.678Z */
enum status time_append_iso(struct buf *out, int64_t wall_ms) MUST_USE;
/** Sun, 06 Nov 1994 08:49:37 GMT */
enum status time_append_http(struct buf *out, int64_t wall_ms) MUST_USE;
/** The three HTTP date forms; false when it is none. */
bool time_parse_http(struct str text, int64_t *wall_ms_out) MUST_USE;

#ifdef __cplusplus
}
#endif

#endif
