/*
 * What may be deleted after its grace: `_lake/trash/<table-uuid>/<time>-<random>.json`, and
 * `_lake/trash/<table-uuid>/purge.json` for the whole of a dropped table.
 */
#ifndef CATALOG_TRASH_H
#define CATALOG_TRASH_H

#include "catalog/local.h"

enum trash_kind {
    TRASH_EXPIRED, /* metadata that a commit of ours has made unreferenced */
    TRASH_ORPHANS, /* files that a sweep found, and that nothing names */
    TRASH_PURGE,   /* a dropped table */
    TRASH_FILES,   /* of any kind, in the table's folder: only snapshots named them that expired */
};

struct trash {
    enum trash_kind kind;
    struct str uuid;
    const struct str *keys; /* single objects */
    size_t key_count;
    /* everything below it, with its slash; empty: none. Only locations that we minted */
    struct str prefix;
    int64_t grace_ms; /* read: as it was promised when it was written */
};
/** Nothing to throw away is fine. The grace starts now. There is one of TRASH_PURGE for a table: a
 * second is not written. */
enum status trash_write(struct local *local, const struct trash *trash, struct err *err) MUST_USE;
/** Note everything of a dropped table; `metadata_location` is that of its tombstone. */
enum status trash_purge(struct local *local, struct str uuid, struct str metadata_location,
                        struct err *err) MUST_USE;
#define TRASH_PREFIX STR("_lake/trash/")
/** E_NOT_FOUND, E_CORRUPT; E_UNSUPPORTED for a newer format. Everything is in `arena`. */
enum status trash_read(struct store *store, struct str key, struct arena *arena, struct trash *out,
                       struct err *err) MUST_USE;

#endif
