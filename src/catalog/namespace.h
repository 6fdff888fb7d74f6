/*
 * Namespaces: `_lake/cat/<warehouse>/ns/<namespace>/_ns.json`.
 *
 *   namespace.c         the object, and what readers ask
 *   namespace_change.c  making one, and its properties
 *   namespace_drop.c    giving one up
 */
#ifndef CATALOG_NAMESPACE_H
#define CATALOG_NAMESPACE_H

#include "catalog/changes.h"
#include "catalog/local.h"
#include "catalog/swap.h"

/** "wh/<warehouse>/<slug>": where the tables of a namespace lie. */
enum status namespace_location(struct local *local, struct str ns, struct arena *arena,
                               struct str *out, struct err *err) MUST_USE;
/** Make the namespace if it is missing; its uuid. One of several levels is E_NOT_FOUND then. */
enum status namespace_ensure(struct local *local, struct str ns, struct arena *arena,
                             struct str *uuid_out, struct err *err) MUST_USE;
/** The uuid of one that is there; E_NOT_FOUND. */
enum status namespace_require(struct local *local, struct str ns, struct arena *arena,
                              struct str *uuid_out, struct err *err) MUST_USE;
/** After a table was created: the namespace is still live under that uuid, else E_CONFLICT. */
enum status namespace_check(struct local *local, struct str ns, struct str uuid,
                            struct err *err) MUST_USE;

/* --- the object, for the files of namespaces --- */

enum namespace_state {
    NAMESPACE_MISSING,
    NAMESPACE_LIVE,
    NAMESPACE_DROPPING, /* being looked through: live until that is decided */
    NAMESPACE_DROPPED
};
enum { NAMESPACE_TIMEOUT_MS = 30000 };

/** As it was read, in the arena it was read into. */
struct namespace_base {
    enum namespace_state state;
    struct str key;
    struct catalog_namespace ns; /* live and dropping: with "location" */
    struct str *commit_ids;      /* oldest first */
    size_t commit_count;
    char etag[STORE_ETAG_MAX + 1];
};
enum status namespace_read(struct local *local, struct str ns, struct arena *arena,
                           struct namespace_base *out, struct err *err) MUST_USE;
/** The same once nobody is dropping it: a drop that was begun is finished. */
enum status namespace_settled(struct local *local, struct str ns, deadline_ms deadline,
                              struct arena *arena, struct namespace_base *out,
                              struct err *err) MUST_USE;
/** Swap what was read to `state` with these properties, under a fresh commit id. */
enum status namespace_swap(struct local *local, struct str ns, const struct namespace_base *base,
                           enum namespace_state state, const struct catalog_namespace *next,
                           deadline_ms deadline, enum swap_outcome *outcome,
                           struct err *err) MUST_USE;
/** Before a dropped one is made again: what was made in the one of that uuid and left live by a
 * crash becomes tombstones. Their files stay. */
enum status namespace_clear(struct local *local, struct str ns, struct str uuid,
                            deadline_ms deadline, struct err *err) MUST_USE;
enum status namespace_missing(struct str ns, struct err *err); /* E_NOT_FOUND */
/** Whole names of those below `parent` (empty: of one level), all of them or the direct ones, in
 * whatever state. */
enum status namespace_children(struct local *local, struct str parent, bool direct,
                               struct arena *arena, struct str **names_out, size_t *count_out,
                               struct err *err) MUST_USE;

/* --- of the driver: catalog.h and changes.h --- */

enum status local_namespaces(struct catalog *catalog, struct str parent, struct arena *arena,
                             struct str **names_out, size_t *count_out, struct err *err) MUST_USE;
enum status local_namespace(struct catalog *catalog, struct str ns, struct arena *arena,
                            struct catalog_namespace *out, struct err *err) MUST_USE;

#endif
