/*
 * Reading what never changes: table metadata, manifest lists and manifests, through one bounded
 * cache. Both drivers of the catalogue stand on it. Thread safe.
 */
#ifndef CATALOG_READER_H
#define CATALOG_READER_H

#include "catalog/cache.h"
#include "catalog/catalog.h"
#include "catalog/locate.h"

struct reader {
    struct store *store; /* borrowed */
    struct locate *locate;
    struct cache *cache;
};

struct reader_list { /* a manifest list */
    struct arena arena;
    struct buf bytes;
    struct ice_manifest_file *rows;
    size_t count;
};
struct reader_manifest {
    struct arena arena;
    struct buf bytes;
    struct ice_manifest manifest;
    /* of its files, found once: a query asks for all of them; .ptr NULL: under no root, or
     * deleted */
    struct str *keys;
};

/** cache_bytes  0: a 64th of the machine's memory, 64 MiB to 1 GiB: the manifests of 100,000 files
 *               are some 60 MiB, and those that do not fit are parsed again by every query */
enum status reader_new(struct store *store, uint64_t cache_bytes, struct reader **out,
                       struct err *err) MUST_USE;
void reader_free(struct reader *reader);

/**
 * What a URI names, from the cache or the store; a missing object is E_CORRUPT, because somebody's
 * metadata names it.
 *
 * Owns     metadata is a reference (ice_metadata_unref); `item` of the others is released by the
 *          caller
 */
enum status reader_metadata(struct reader *reader, struct str uri, const struct ice_metadata **out,
                            struct err *err) MUST_USE;
/** The bytes of an object, appended; nothing is kept. */
enum status reader_bytes(struct reader *reader, struct str uri, struct buf *out,
                         struct err *err) MUST_USE;
enum status reader_list(struct reader *reader, struct str uri, struct cache_item **item_out,
                        const struct reader_list **out, struct err *err) MUST_USE;
enum status reader_manifest(struct reader *reader, const struct ice_manifest_file *row,
                            struct cache_item **item_out, const struct reader_manifest **out,
                            struct err *err) MUST_USE;
/** The cache's key of what is kept of a URI; each kind has a letter. */
enum status reader_key(struct arena *arena, char kind, struct str uri, struct str *out,
                       struct err *err) MUST_USE;
/** Keep metadata that we have just written. */
void reader_keep_metadata(struct reader *reader, struct str uri,
                          const struct ice_metadata *metadata);

/** catalog_pin for a table whose pointer has been read. */
enum status reader_pin_table(struct reader *reader, const struct table_summary *table,
                             const struct catalog_at *at, struct catalog_pin **out,
                             struct err *err) MUST_USE;

#endif
