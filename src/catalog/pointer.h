/*
 * The pointer of a table: the one object that changes. Its keys, its JSON, and its rules of growth.
 * docs/formats/catalog.md has the format.
 */
#ifndef CATALOG_POINTER_H
#define CATALOG_POINTER_H

#include "base/rng.h"
#include "catalog/catalog.h"

enum { POINTER_FORMAT = 1, POINTER_COMMIT_IDS_MAX = 256, POINTER_COMMIT_ID_LEN = 16 };

enum pointer_state {
    POINTER_LIVE,
    POINTER_DROPPED,
    POINTER_MOVED,   /* renamed: a tombstone that still has everything for the new name to take */
    POINTER_ARRIVING /* where a table will be, or is, once the one it comes from is MOVED */
};

/** Of MOVED and ARRIVING: the two bodies of one rename have the same id. */
struct pointer_rename {
    struct str id;
    struct table_name peer; /* where it went, or where it comes from */
    bool refused;           /* of ARRIVING: somebody wants it not to be */
    int64_t begun_ms;
};

/** An append (or a registered object) that has landed and whose marker object may not be written
 * yet. */
struct pointer_batch {
    struct str id;
    int64_t snapshot_id; /* -1: it brought no files */
    int64_t sequence_number, row_count, committed_ms;
    /* key of its first file, or empty: tells a repeat of the same append from another with equal
     * bytes */
    struct str file;
    struct str source; /* the user's key of a registered object, or empty */
};

struct pointer {
    enum pointer_state state;
    /* name, uuid, version, metadata_location and what lists show; of a view too, which has its key
     * among those of tables */
    struct table_summary table;
    struct str namespace_uuid;
    /* oldest first, at most POINTER_COMMIT_IDS_MAX; one per body ever written */
    struct str *commit_ids;
    size_t commit_count;
    struct pointer_batch *batches;
    size_t batch_count;
    bool purge; /* of a tombstone: its files may go after their grace */
    struct pointer_rename rename;
    /* of the transaction over several tables that holds it, and the JSON of the body that follows
     * if it is committed; empty: none (tx.h) */
    struct str tx_id, tx_next;
};

/** `_lake/cat/<warehouse>/ns/` */
enum status pointer_prefix(struct arena *arena, struct str warehouse, struct str *out,
                           struct err *err) MUST_USE;
/** `_lake/cat/<warehouse>/ns/<namespace>/t/` */
enum status pointer_ns_prefix(struct arena *arena, struct str warehouse, struct str ns,
                              struct str *out, struct err *err) MUST_USE;
/** What the keys of all namespaces below `parent` begin with; empty: pointer_prefix. */
enum status pointer_children_prefix(struct arena *arena, struct str warehouse, struct str parent,
                                    struct str *out, struct err *err) MUST_USE;
/** `_lake/cat/<warehouse>/ns/<namespace>/t/<name>.json`; a name whose key is too long for a store
 * is E_INVALID. */
enum status pointer_key(struct arena *arena, struct str warehouse, const struct table_name *name,
                        struct str *out, struct err *err) MUST_USE;
/** The name behind a key below pointer_prefix; *is_pointer_out false for other objects
 * (`_ns.json`). */
enum status pointer_key_name(struct arena *arena, struct str prefix, struct str key,
                             bool *is_pointer_out, struct table_name *out,
                             struct err *err) MUST_USE;

enum status pointer_encode(const struct pointer *pointer, struct buf *out) MUST_USE;
/** Everything is copied into `arena`. E_CORRUPT; E_UNSUPPORTED for a newer format. */
enum status pointer_decode(struct arena *arena, struct str json, struct pointer *out,
                           struct err *err) MUST_USE;

bool pointer_has_commit(const struct pointer *pointer, struct str commit_id);
/* NULL */
const struct pointer_batch *pointer_find_batch(const struct pointer *pointer, struct str batch_id);
/** commit_ids of `base` (may be NULL) plus a fresh one from `rng`, cut to the newest; the fresh one
 * is the last. */
enum status pointer_add_commit(struct arena *arena, const struct pointer *base, struct rng *rng,
                               struct pointer *next, struct err *err) MUST_USE;

#endif
