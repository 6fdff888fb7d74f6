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
/** The same of metadata that was read: without the file that it stands in. */
enum status refs_strike_metadata(struct reader *reader, const struct ice_metadata *metadata,
                                 bool files, struct map *keys, struct err *err) MUST_USE;

#endif
