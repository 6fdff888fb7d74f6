/*
 * Registering: Parquet objects that lie in the store already become a table, or join one.
 *
 * The objects are copied (by link where the store can) to fresh names in the table, so their keys
 * stay their owner's to change. Which key a file came from is kept in
 * `_lake/ingest/<table-uuid>/src-<sha256 of the key>.json`; it also makes a key count once per
 * table.
 */
#ifndef CATALOG_REGISTER_H
#define CATALOG_REGISTER_H

#include "catalog/catalog.h"

/** What an engine finds in a Parquet object's footer. */
struct catalog_inspected {
    /* every field with an id: the file's own, or (has_ids false) given by ice_schema_assign_ids
     * from 1 on */
    const struct ice_schema *schema;
    bool has_ids; /* every column carries a field id in the file */
    /* record_count, size_bytes, statistics by the ids of `schema`, split offsets; path and format
     * are not looked at */
    struct ice_data_file file;
};
/**
 * Read the footer of `object`, which lies under `key`. Everything returned is in `arena`. What is
 * no Parquet file is E_INVALID. Only this needs an engine, so it is handed in.
 */
struct catalog_inspector {
    enum status (*inspect)(void *ctx, struct str key, struct store_object *object,
                           struct arena *arena, struct catalog_inspected *out, struct err *err);
    void *ctx;
};

enum { REGISTER_OBJECTS_MAX = 10000 };

struct catalog_register {
    struct table_name name;
    const struct str *keys; /* 1 to REGISTER_OBJECTS_MAX; a key named twice counts once */
    size_t key_count;
    deadline_ms deadline;
};
struct catalog_registered {
    struct str uuid, fingerprint; /* in `arena` */
    int64_t snapshot_id;
    bool existing; /* the table was there */
    size_t added;  /* objects that had not been taken before */
};
/**
 * Errors   E_NOT_FOUND names the first missing object; E_CONFLICT: the objects differ among
 *          themselves or from the table. Then nothing was added
 */
enum status catalog_register(struct catalog *catalog, struct store *store,
                             const struct catalog_inspector *inspector,
                             const struct catalog_register *request, struct arena *arena,
                             struct catalog_registered *out, struct err *err) MUST_USE;

#endif
