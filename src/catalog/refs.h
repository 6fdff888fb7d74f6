/*
 * What a table names: its metadata file and log, statistics, manifest lists, manifests, data and
 * delete files, of every snapshot that its metadata has.
 */
#ifndef CATALOG_REFS_H
#define CATALOG_REFS_H

#include "base/map.h"
#include "catalog/reader.h"

/**
 * Take out of `keys` what the table with this metadata names. Stops as soon as `keys` is empty.
 *
 * Errors   E_INVALID when a path lies under no root of the lake, E_CORRUPT when something named is
 *          missing: then nobody knows what is referenced, and nothing may be deleted
 * Cost     `files` false: keys of metadata only are looked for, so that no manifest is opened
 */
enum status refs_strike(struct reader *reader, struct str metadata_uri, bool files,
                        struct map *keys, struct err *err) MUST_USE;
struct refs_visitor {
    void (*named)(void *ctx, struct str key); /* may be told twice */
    bool (*is_over)(void *ctx);               /* nothing more is asked for; NULL: never */
    void *ctx;
};
/** Tell each key that this metadata names, but for the file that it stands in. Errors and `files`
 * as below. */
enum status refs_visit(struct reader *reader, const struct ice_metadata *metadata, bool files,
                       const struct refs_visitor *visitor, struct err *err) MUST_USE;
/** The same of metadata that was read: without the file that it stands in. */
enum status refs_strike_metadata(struct reader *reader, const struct ice_metadata *metadata,
                                 bool files, struct map *keys, struct err *err) MUST_USE;

#endif
