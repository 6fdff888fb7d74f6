/*
 * The local driver: the catalogue on a store. Private to this folder.
 *
 *   local.c       open, find, place, pin, batch, ready
 *   list.c        names and pages of tables
 *   group.c       appends of one table that share a commit
 *   commit.c      read the base, plan, write, swap, again
 *   plan.c        which appends fit this base
 *   snapshot.c    manifests, manifest list, metadata file
 *   swap.c        the conditional write and its lost answers
 *   created.c     what a table that was just made looks at once more
 *   drop.c        tombstones
 *   rename.c      another name; rename_settle.c finishes what others have begun
 *   namespace.c   _ns.json; with _change and _drop
 *   mint.c        locations of new tables
 *   trash.c       what may be deleted after the grace
 *   create.c      a table for another program
 *   change.c      its requirements and updates, applied and swapped; change_shared.c: of several
 *   change_view.c the same of a view
 *   publish.c     a document becomes a version of a table
 *   carry.c       batches from pointer to pointer
 *   site.c        where tables of other programs may lie
 *   transact.c    several tables at once
 *   upkeep.c      expiry and manifests on request; with upkeep_expire.c, upkeep_manifests.c, gone.c
 *   tx.c          pointers that a transaction holds, and its record
 */
#ifndef CATALOG_LOCAL_H
#define CATALOG_LOCAL_H

#include "base/rng.h"
#include "catalog/catalog_priv.h"
#include "catalog/pointer.h"
#include "catalog/reader.h"
#include "catalog/upkeep.h"

#include <pthread.h>

struct groups;
struct marks;
struct tx_seen;

struct local {
    struct catalog base;
    struct store *store; /* borrowed */
    struct str warehouse;
    const struct lake_clock *clock;
    int64_t grace_ms, group_wait_ms, backoff_max_ms;
    struct groups *groups;
    struct marks *marks;
    struct tx_seen *tx_seen; /* pending transactions that were met */
    pthread_mutex_t rng_lock;
    struct rng rng; /* guarded by rng_lock */
    struct metric *commits, *conflicts, *appends, *unknown;
    upkeep_find_orphans *find_orphans; /* NULL: nobody does */
    void *find_orphans_ctx;
};

/** A pointer as it was read, with the ETag that a swap needs. */
struct local_base {
    bool found; /* any pointer, a tombstone too */
    bool live;
    /* a rename to or from here was begun and not cleared up; what is said here is what it means
     * now. A writer that would put a table here calls rename_settle first, and reads again */
    bool renaming;
    /* A transaction over several tables that is not decided has it: this is what it was before, and
     * `etag` is none, so that every swap on it is lost. Writers wait and read again */
    bool held;
    struct pointer pointer; /* in the arena it was read into */
    char etag[STORE_ETAG_MAX + 1];
};
/** Read a pointer fresh from the store; a store that stumbles is asked again. A missing one is no
 * error. A table that a rename has brought here is live, also before its pointer says so. Of one
 * with a decided transaction, what was decided is there afterwards. */
enum status local_read_pointer(struct local *local, struct str key, struct arena *arena,
                               struct local_base *out, struct err *err) MUST_USE;
/** The body as it is, but for a transaction's hold. */
enum status local_read_raw(struct local *local, struct str key, struct arena *arena,
                           struct local_base *out, struct err *err) MUST_USE;
/** The same with its hold as it stands (pointer.tx_id). */
enum status local_read_body(struct local *local, struct str key, struct arena *arena,
                            struct local_base *out, struct err *err) MUST_USE;
/** The pointer of a live table by its exact name; E_NOT_FOUND with near misses. */
enum status local_require(struct local *local, const struct table_name *name, struct arena *arena,
                          struct local_base *out, struct err *err) MUST_USE;
void local_rng(struct local *local, struct rng *out); /* a generator of one's own */
/** Wait a moment after the `round`-th lost race or silent store, never past the deadline. */
void local_backoff(struct local *local, int round, deadline_ms deadline);

/** How many live tables and views equal `name` but for case, and one of them. */
enum status local_case_twins(struct local *local, const struct table_name *name,
                             struct arena *arena, size_t *count_out, struct table_name *out,
                             struct err *err) MUST_USE;
/** E_NOT_FOUND for `name`, with names that look like it. */
enum status local_not_found(struct local *local, const struct table_name *name,
                            struct err *err) MUST_USE;

/* The operations of the driver, one file each. */
enum status local_list(struct catalog *, const struct catalog_list_opts *, struct arena *,
                       struct catalog_list *, struct err *) MUST_USE;
enum status local_find(struct catalog *, const struct table_name *, bool nocase, struct arena *,
                       struct table_summary *, struct err *) MUST_USE;
enum status local_append(struct catalog *, const struct catalog_append *, struct arena *,
                         struct catalog_appended *, struct err *) MUST_USE;
enum status local_drop(struct catalog *, enum catalog_kind, const struct table_name *,
                       struct err *) MUST_USE;
enum status local_change(struct catalog *, enum catalog_kind, const struct catalog_change *,
                         deadline_ms, struct arena *, struct catalog_loaded *,
                         struct err *) MUST_USE;
/** Of views; local_change does it. change_view.c */
enum status local_change_view(struct local *local, const struct catalog_change *change,
                              deadline_ms deadline, struct arena *arena, struct catalog_loaded *out,
                              struct err *err) MUST_USE;
enum status local_create(struct catalog *, enum catalog_kind, const struct catalog_create *,
                         struct arena *, struct catalog_loaded *, struct err *) MUST_USE;
enum status local_upkeep(struct catalog *, const struct catalog_upkeep *, struct buf *report,
                         struct err *) MUST_USE;
enum status local_rename(struct catalog *, enum catalog_kind, const struct table_name *from,
                         const struct table_name *to, bool *missing_ns_out, struct err *) MUST_USE;
enum status local_namespace_create(struct catalog *, struct str ns, const struct ice_property *,
                                   size_t, struct arena *, struct catalog_namespace *,
                                   struct err *) MUST_USE;
enum status local_namespace_drop(struct catalog *, struct str ns, struct err *) MUST_USE;

#endif
