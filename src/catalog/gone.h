/*
 * The files that only snapshots named which a table does not have any more: manifest lists,
 * manifests, data and delete files, statistics.
 */
#ifndef CATALOG_GONE_H
#define CATALOG_GONE_H

#include "catalog/reader.h"

enum gone_kind {
    GONE_DATA,
    GONE_POSITION_DELETES,
    GONE_EQUALITY_DELETES,
    GONE_MANIFEST,
    GONE_LIST,
    GONE_STATISTICS,
    GONE_KINDS
};
struct gone {
    struct reader *reader;
    const struct ice_snapshot *snapshots; /* that are gone */
    size_t snapshot_count;
    const struct ice_metadata *before; /* has their statistics; NULL: those are not looked for */
    const struct ice_metadata *after;  /* all that it names is kept */
    struct str folder;                 /* the table's, a key with its slash */
    /* Told of keys in the folder, up to GONE_KEYS_MAX at a time. */
    enum status (*take)(void *ctx, const struct str *keys, size_t count, struct err *err);
    void *ctx;
};
enum { GONE_KEYS_MAX = 100000 };
struct gone_found {
    int64_t files[GONE_KINDS], bytes; /* as far as metadata tells; those that were told */
    int64_t outside;                  /* not told: they lie outside of the folder */
};
/**
 * What cannot be read of the snapshots that are gone is passed over: the sweep finds it.
 *
 * Memory   a row for each manifest that they alone named, GONE_KEYS_MAX keys, one manifest, 18 MiB
 * Cost     manifests that are gone are read twice, and all that the table has once; of more than
 *          1.5
 *          million files again for as many
 * Errors   what the table names cannot be told (as refs_strike): nothing more is told then; those
 *          of `take`
 */
enum status gone_find(const struct gone *gone, struct gone_found *out, struct err *err) MUST_USE;

#endif
