/*
 * The sweep: deletes what nothing names any more, after its grace and never sooner.
 * docs/decisions/0006-sweeping.md has the rules.
 *
 * One run looks at everything once. Runs of several processes on one store do no harm to each
 * other, and a lease keeps them from doing the same work twice.
 */
#ifndef MAINTAIN_SWEEP_H
#define MAINTAIN_SWEEP_H

#include "catalog/catalog.h"
#include "catalog/upkeep.h"

struct sweep;

struct sweep_opts {
    struct store *store;     /* borrowed */
    struct catalog *catalog; /* borrowed; a local one */
    const struct lake_clock *clock;
    struct metrics *metrics; /* may be NULL */
    int64_t grace_ms;        /* least grace of trash; 0: one day */
    int64_t orphan_ms;       /* age of a file that was never referenced; 0: three days */
    /* age of a metadata file that never became the table's; 0: 10 minutes */
    int64_t unswapped_ms;
    /* a folder is looked through for orphans once in so long; 0: 6 hours, -1: in each run */
    int64_t look_ms;
    int64_t interval_ms; /* between runs on one store, whoever does them; 0: no wait */
    /* a table that asks for it is cared for once in so long (snapshots expire, small manifests are
     * merged); 0: never, -1: in each run */
    int64_t care_ms;
    /* Called between deletions and tables, may wait; false ends the run. NULL: never */
    bool (*go_on)(void *ctx);
    void *ctx;
};
struct sweep_result {
    bool skipped;            /* another process sweeps, or has within the interval */
    uint64_t objects, bytes; /* deleted */
    uint64_t noted;          /* orphans whose grace has begun */
    /* by the care of tables: snapshots and refs that expired, manifests that others stand for */
    uint64_t expired_snapshots, expired_refs, merged_manifests;
};

enum status sweep_new(const struct sweep_opts *opts, struct sweep **out, struct err *err) MUST_USE;
void sweep_free(struct sweep *sweep);
/**
 * One run. `result` is filled in also on failure.
 *
 * Errors   E_CANCELED when go_on said so; any other: what could not be told for certain was left
 *          alone, and the next run tries again
 */
enum status sweep_run(struct sweep *sweep, struct sweep_result *result, struct err *err) MUST_USE;
/**
 * Look for orphans of one table now, by the rules of the sweep: what is found is noted, and goes
 * after the grace. `opts` are those of the sweep in the background; the lease is not taken, for two
 * at once do no harm. A dry run notes nothing and writes nothing.
 *
 * Memory   100,000 names at a time
 * Errors   E_INVALID older_than_ms is less than orphan_ms ago, the table's folder is not one that
 *          we
 *          minted, or its gc.enabled is false; E_NOT_FOUND; whatever keeps anybody from telling
 *          what is referenced
 */
enum status sweep_find_orphans(const struct sweep_opts *opts, const struct upkeep_orphans *request,
                               struct arena *arena, struct upkeep_found *out,
                               struct err *err) MUST_USE;

#endif
