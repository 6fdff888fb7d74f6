/*
 * The sweep in the background: one thread, a run now and then, at a gentle pace.
 */
#ifndef MAINTAIN_SWEEPER_H
#define MAINTAIN_SWEEPER_H

#include "maintain/sweep.h"

struct sweeper;

struct sweeper_opts {
    struct sweep_opts sweep; /* go_on and ctx are the sweeper's own; interval_ms is its rhythm */
    int64_t first_ms;        /* until the first run; 0: 10 s, or the interval if that is shorter */
    /* Told after each run, on the sweeper's thread. */
    void (*report)(void *ctx, const struct sweep_result *result, enum status status,
                   const struct err *err);
    void *report_ctx;
};

enum status sweeper_start(const struct sweeper_opts *opts, struct sweeper **out,
                          struct err *err) MUST_USE;
/** Ends a run between two deletions, and joins the thread. NULL is fine. */
void sweeper_stop(struct sweeper *sweeper);

#endif
