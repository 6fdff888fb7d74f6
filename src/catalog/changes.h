/*
 * What other programs do to tables, as Iceberg's REST specification has it: they bring requirements
 * and updates, or whole metadata files, and the catalogue decides. Of the local driver only, but
 * for what SQL does too: create and change a table or a view, rename it, drop it, make and drop a
 * namespace.
 *
 * Every one of them goes through the same conditional swap of the pointer as our own commits.
 *
 * Errors   E_NOT_FOUND the table (or what the text says) is not there; E_EXISTS a table or view of
 *          that name is; E_CONFLICT the base has moved on: read again; E_INVALID never;
 *          E_UNAVAILABLE / E_TIMEOUT: the outcome is unknown only if the message says so. The http
 *          driver says so of every call that failed after an answer was lost
 */
#ifndef CATALOG_CHANGES_H
#define CATALOG_CHANGES_H

#include "catalog/catalog.h"

/** A table's metadata after the call. */
struct catalog_loaded {
    struct str metadata_location; /* URI, in `arena`; empty: a staged table, nothing is written */
    struct str location;          /* of the table, URI, in `arena` */
    struct buf metadata;          /* JSON; the caller's buf_done */
};

struct catalog_create {
    struct table_name name;
    yyjson_val *request; /* CreateTableRequest: schema, partition-spec, write-order, properties,
                            location; stage-create and name are the caller's */
    bool stage;          /* answer what would be made; write nothing */
    deadline_ms deadline;
};
/** E_NOT_FOUND: the namespace. E_INVALID also: a location outside of the warehouse, in another
 * table's, or with one of '#', '?', '%' and control characters in it. */
enum status catalog_create_table(struct catalog *catalog, const struct catalog_create *create,
                                 struct arena *arena, struct catalog_loaded *out,
                                 struct err *err) MUST_USE;

/** What a change brings, exactly once: as the batch of an append. */
struct catalog_change_batch {
    struct str id;
    int64_t row_count;
    struct str file; /* key of its first file, or empty */
};
struct catalog_change {
    struct table_name name;
    yyjson_val *requirements, *updates; /* arrays, or NULL */
    /* of a change that adds a snapshot to a table that is there: E_EXISTS when it has landed
     * before with another snapshot, and still counts (catalog_batch tells how). NULL: none */
    const struct catalog_change_batch *batch;
};
/**
 * Check the requirements, apply the updates, swap; when the swap is lost and they still hold on the
 * new base, again. With assert-create the table is made (the end of a staged create).
 */
enum status catalog_change_table(struct catalog *catalog, const struct catalog_change *change,
                                 deadline_ms deadline, struct arena *arena,
                                 struct catalog_loaded *out, struct err *err) MUST_USE;
/** Several tables, all or nothing (docs/formats/catalog.md, "Several tables at once"). One change
 * takes the way above. */
enum status catalog_transact(struct catalog *catalog, const struct catalog_change *changes,
                             size_t count, deadline_ms deadline, struct err *err) MUST_USE;

/** A metadata file that is there becomes a table, or (`overwrite`) another table's metadata. */
struct catalog_register_metadata {
    struct table_name name;
    struct str metadata_location; /* URI below the warehouse */
    bool overwrite;
    deadline_ms deadline;
};
/** E_NOT_FOUND: the namespace. E_INVALID: no metadata there, or a location that is outside of the
 * warehouse or another table's. */
enum status catalog_register_metadata(struct catalog *catalog,
                                      const struct catalog_register_metadata *request,
                                      struct arena *arena, struct catalog_loaded *out,
                                      struct err *err) MUST_USE;

/** E_NOT_FOUND: `from`, or the namespace of `to` (then *missing_ns_out is set). The files stay
 * where they are. */
enum status catalog_rename(struct catalog *catalog, enum catalog_kind kind,
                           const struct table_name *from, const struct table_name *to,
                           bool *missing_ns_out, struct err *err) MUST_USE;
/** As catalog_drop; without `purge` the files stay for ever. */
enum status catalog_drop_table(struct catalog *catalog, const struct table_name *name, bool purge,
                               struct err *err) MUST_USE;

/* --- views: the same names, the same swap; ice_view_* makes the documents --- */

/** Of a CreateViewRequest. `stage` is E_INVALID; otherwise as catalog_create_table. */
enum status catalog_create_view(struct catalog *catalog, const struct catalog_create *create,
                                struct arena *arena, struct catalog_loaded *out,
                                struct err *err) MUST_USE;
/** As catalog_change_table; a view is never made by it. A repeat of what has landed is a success
 * (ice_view_is_repeat). */
enum status catalog_change_view(struct catalog *catalog, const struct catalog_change *change,
                                deadline_ms deadline, struct arena *arena,
                                struct catalog_loaded *out, struct err *err) MUST_USE;
/** As catalog_register_metadata, without `overwrite`. */
enum status catalog_register_view(struct catalog *catalog,
                                  const struct catalog_register_metadata *request,
                                  struct arena *arena, struct catalog_loaded *out,
                                  struct err *err) MUST_USE;
/** Its folder, if we minted it, goes after the grace. E_NOT_FOUND, also for a table. */
enum status catalog_drop_view(struct catalog *catalog, const struct table_name *name,
                              struct err *err) MUST_USE;

/* --- namespaces --- */

/* A namespace is its levels joined by CATALOG_NS_SEPARATOR. A level has 1 to 80 characters, any but
 * control characters; at most CATALOG_NS_LEVELS_MAX of them. */

/** "location" among the properties is kept; without it the warehouse's own is put in. E_EXISTS;
 * E_NOT_FOUND: its parent. */
enum status catalog_namespace_create(struct catalog *catalog, struct str ns,
                                     const struct ice_property *properties, size_t count,
                                     struct arena *arena, struct catalog_namespace *out,
                                     struct err *err) MUST_USE;
struct catalog_namespace_update {
    const struct ice_property *set;
    size_t set_count;
    const struct str *remove;
    size_t remove_count;
};
struct catalog_namespace_updated {
    struct str *updated, *removed, *missing; /* names, in `arena` */
    size_t updated_count, removed_count, missing_count;
};
enum status catalog_namespace_update(struct catalog *catalog, struct str ns,
                                     const struct catalog_namespace_update *update,
                                     struct arena *arena, struct catalog_namespace_updated *out,
                                     struct err *err) MUST_USE;
/** E_CONFLICT: it holds a table, a view or a namespace. By the protocol: dropping, look,
 * dropped. */
enum status catalog_namespace_drop(struct catalog *catalog, struct str ns,
                                   struct err *err) MUST_USE;

#endif
