/*
 * Care of a table, by request (SQL's CALL) or by timer: snapshots that nobody needs any more
 * expire, small manifests become few. Each is one commit by the same swap as all others, and takes
 * nothing from anybody who reads a snapshot that is kept; what becomes unreferenced goes to the
 * trash, and is deleted after its grace by the sweep (docs/decisions/0006, 0022).
 *
 * Each has a dry run, which writes nothing, and a report. All is of the local driver;
 * catalog_upkeep works in every driver, by name and with JSON.
 */
#ifndef CATALOG_UPKEEP_H
#define CATALOG_UPKEEP_H

#include "catalog/catalog.h"

/** Names in a report; of more only the number is told. */
enum { UPKEEP_NAMES_MAX = 1000 };
struct upkeep_names {
    struct str *names; /* [UPKEEP_NAMES_MAX], made with the first */
    size_t count;
};

/** One more; what is over the bound is not kept. The name is copied. */
enum status upkeep_name(struct upkeep_names *names, struct arena *arena, struct str name,
                        struct err *err) MUST_USE;

struct upkeep_expire {
    struct table_name name;
    /* a moment, ms: snapshots from before it are old. 0: by history.expire.max-snapshot-age-ms, and
     * without that five days ago */
    int64_t older_than_ms;
    /* newest of each branch that stay. 0: by history.expire.min-snapshots-to-keep, and without that
     * one */
    int64_t retain_last;
    bool dry_run;
    deadline_ms deadline; /* 0: ten minutes from now */
};
struct upkeep_expired {
    int64_t snapshots, refs; /* that went */
    /* files that only they named, and that are in the trash now */
    int64_t data_files, position_deletes, equality_deletes, manifests, manifest_lists, statistics;
    int64_t bytes;
    /* files that only they named and that stay where they are: outside of the table's folder */
    int64_t kept_files;
    struct upkeep_names refs_gone, files; /* keys */
};
/**
 * What refs say of themselves (max-ref-age-ms, max-snapshot-age-ms, min-snapshots-to-keep) goes
 * before the arguments, those before the table's properties. A table with
 * lakehouse.expire-snapshots=true has the bound on their number too that its appends keep
 * (decision 16). Nothing to do is a success without a commit.
 *
 * Memory   the rows of the manifests that go (some 300 bytes each), 100,000 names of files at a
 *          time, one manifest at a time, 18 MiB of marks and 16 MiB for reading
 * Errors   E_INVALID gc.enabled=false; E_NOT_FOUND; E_UNAVAILABLE as catalog_change_table. After
 *          the commit nothing is an error: what could not be noted is left to the sweep
 */
enum status catalog_expire_snapshots(struct catalog *catalog, const struct upkeep_expire *expire,
                                     struct arena *arena, struct upkeep_expired *out,
                                     struct err *err) MUST_USE;

struct upkeep_manifests {
    struct table_name name;
    /* only when so many fewer there would be, or a partition's files get together; 0: one */
    int64_t fewer_min;
    bool dry_run;
    deadline_ms deadline; /* 0: ten minutes from now */
};
struct upkeep_rewritten {
    int64_t snapshot_id;                  /* -1: there was nothing to do */
    int64_t rewritten, added, kept;       /* manifests */
    int64_t rewritten_bytes, added_bytes; /* of a dry run the latter is unknown, 0 */
    int64_t entries;                      /* that were carried */
    struct upkeep_names files;            /* keys of the manifests that were rewritten */
};
/**
 * Small manifests of a partition spec and a content are merged up to
 * commit.manifest.target-size-bytes (8 MiB where the table does not say), sorted by partition; of a
 * partitioned table also those that overlap. Entries keep their snapshots and numbers; those that
 * say "deleted" are left out. Nothing to do is a success without a commit. A lost race costs a new
 * list, not new manifests.
 *
 * Memory   the manifests of one batch: 32 MiB of them as they lie on the store or two of the
 *          target's size, and not more than 128 MiB of what they say, beyond the first of them; a
 *          copy of its entries; one manifest that is made, 50,000 entries at most
 * Errors   E_INVALID for a format version other than 2; E_NOT_FOUND; E_CONFLICT others won every
 *          race
 *          until the deadline; E_UNAVAILABLE as catalog_change_table
 */
enum status catalog_rewrite_manifests(struct catalog *catalog,
                                      const struct upkeep_manifests *request, struct arena *arena,
                                      struct upkeep_rewritten *out, struct err *err) MUST_USE;

/* --- by name --- */

/** Files in a table's folder that nothing names: the sweep's rules, now and for one table. The
 * layer of the sweep stands above this one, so it is handed down. */
struct upkeep_orphans {
    struct table_name name;
    int64_t older_than_ms; /* a moment; 0: as old as the sweep asks for */
    bool dry_run;
};
struct upkeep_found {
    int64_t files, bytes; /* in the trash now; of a dry run: that would be */
    struct upkeep_names names;
};
typedef enum status upkeep_find_orphans(void *ctx, const struct upkeep_orphans *request,
                                        struct arena *arena, struct upkeep_found *out,
                                        struct err *err);
/** Of a local driver, before it is used by several threads. Without it the procedure is
 * E_UNSUPPORTED. */
void catalog_upkeep_set_orphans(struct catalog *catalog, upkeep_find_orphans *find, void *ctx);

/** A procedure on a table, in every driver. */
struct catalog_upkeep {
    struct table_name name;
    /* expire_snapshots {older_than, retain_last, dry_run}, rewrite_manifests {dry_run},
     * remove_orphan_files {older_than, dry_run} */
    struct str procedure;
    yyjson_val *args; /* an object; moments are milliseconds; NULL: none */
    deadline_ms deadline;
};
/**
 * `report` becomes a JSON object of numbers and lists of text, by the names that
 * docs/reference/maintenance.md has.
 *
 * Errors   E_INVALID for the procedure or its arguments; as the functions above
 */
enum status catalog_upkeep(struct catalog *catalog, const struct catalog_upkeep *upkeep,
                           struct buf *report, struct err *err) MUST_USE;

#endif
