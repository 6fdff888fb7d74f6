/*
 * One run of the sweep, passed through its parts:
 *
 *   sweep.c      the run, its steps and deletions
 *   lease.c      one sweeper at a time
 *   emptying.c   what is in the trash and due
 *   orphans.c    files that nothing names
 *   marks.c      markers of batches
 *   transactions.c  records of transactions
 *   care.c       expiry and manifests of the tables that ask for it
 */
#ifndef MAINTAIN_SWEEP_PRIV_H
#define MAINTAIN_SWEEP_PRIV_H

#include "base/map.h"
#include "catalog/care.h"
#include "maintain/sweep.h"

struct sweep {
    struct sweep_opts opts;
    struct reader *reader; /* its own small cache: the sweep must not push out what queries need */
    struct map looked;     /* uuid -> struct look */
    struct map cared;      /* the same of care */
    struct metric *expired, *merged;
    struct metric *objects, *bytes, *runs, *failures, *last;
    char holder[UUID_TEXT + 1];
};

struct lease {
    char etag[STORE_ETAG_MAX + 1];
    int64_t renew_at; /* by the clock's monotonic time */
};

struct sweep_run {
    struct sweep *sweep;
    struct arena arena;
    int64_t now; /* by the store's clock */
    struct lease lease;
    struct str *marked; /* uuids that have markers; listed before the pointers were read */
    size_t marked_count;
    struct str *records; /* old ones of transactions; listed before the pointers were read */
    size_t record_count, record_cap;
    struct care_table *tables;
    size_t table_count;
    struct map by_uuid; /* -> struct care_table */
    struct sweep_result *result;
    struct err failed; /* the first failure that only one table had to do with */
};

/** What went wrong with one table stops nothing that has to do with others: it is remembered, and
 * returned at the end. A failure that ends the run is passed on. */
enum status run_forgive(struct sweep_run *run, enum status status, const struct err *err) MUST_USE;

/** When a table is to be looked at again. */
struct look {
    int64_t next_ms;
};
/** Is it time to look at that one again? Then the next time is `every_ms` later; -1: always. */
enum status run_is_time(struct sweep_run *run, struct map *looked, struct str uuid,
                        int64_t every_ms, bool *time_out, struct err *err) MUST_USE;
/** After each run: what is remembered of tables that went is not kept for ever. */
void run_forget_looks(struct sweep_run *run, struct map *looked);
/** Before each deletion and each table: E_CANCELED when the run must end. */
enum status run_step(struct sweep_run *run, struct err *err) MUST_USE;
/** Delete one object; `size` -1: not known. */
enum status run_delete(struct sweep_run *run, struct str key, int64_t size,
                       struct err *err) MUST_USE;
/** Call `each` for the objects below a prefix, page by page. */
enum status run_list(struct sweep_run *run, struct str prefix,
                     enum status (*each)(void *ctx, const struct store_info *info, struct err *err),
                     void *ctx, struct err *err) MUST_USE;
/** Read every pointer (again) into run->tables. */
enum status run_read_tables(struct sweep_run *run, struct err *err) MUST_USE;
/** The pointer that speaks for a uuid, or NULL. */
struct care_table *run_table(const struct sweep_run *run, struct str uuid);
/** Take out of `keys` what that one names: of a view its metadata file; `files` as in
 * refs_strike. */
enum status run_strike(struct sweep_run *run, const struct care_table *table, bool files,
                       struct map *keys, struct err *err) MUST_USE;
/** Take out of `keys` what any table or view of the lake names. */
enum status run_strike_all(struct sweep_run *run, struct map *keys, struct err *err) MUST_USE;
/** *allowed_out: the table has not gc.enabled=false; a view allows it always. */
enum status run_gc_allowed(struct sweep_run *run, const struct care_table *table, bool *allowed_out,
                           struct err *err) MUST_USE;

/** *taken_out false: another one sweeps, or did so a moment ago. Sets run->now. */
enum status lease_take(struct sweep_run *run, bool *taken_out, struct err *err) MUST_USE;
enum status lease_renew(struct sweep_run *run, struct err *err) MUST_USE;
void lease_end(struct sweep_run *run);

enum status sweep_trash(struct sweep_run *run, struct err *err) MUST_USE;
enum status sweep_orphans(struct sweep_run *run, struct err *err) MUST_USE;
enum status sweep_care(struct sweep_run *run, struct err *err) MUST_USE;
enum status sweep_list_marked(struct sweep_run *run, struct err *err) MUST_USE;
enum status sweep_marks(struct sweep_run *run, struct err *err) MUST_USE;
enum status sweep_list_transactions(struct sweep_run *run, struct err *err) MUST_USE;
enum status sweep_transactions(struct sweep_run *run, struct err *err) MUST_USE;

#endif
