/*
 * A commit of a whole snapshot through catalog_change_table: the objects that are written under
 * fresh names before it, and the change. In every driver.
 */
#ifndef CATALOG_WRITTEN_H
#define CATALOG_WRITTEN_H

#include "base/rng.h"
#include "catalog/catalog_priv.h"
#include "catalog/changes.h"

struct written {
    struct catalog *catalog;
    struct arena *arena; /* what is made here lives there */
    char uuid[UUID_TEXT + 1];
    unsigned names;
    /* Of the base that was begun on: */
    const struct ice_metadata *metadata;
    struct str folder; /* key of the metadata folder, with its slash */
    int64_t snapshot_id, sequence_number;
    struct str *keys; /* that were written */
    size_t key_count, key_cap;
};

void written_init(struct written *w, struct catalog *catalog, struct arena *arena);
/** A snapshot on this base, whose pin outlives what is done on it. Again after a lost race.
 * E_INVALID for a format version that is not written. */
enum status written_begin(struct written *w, const struct catalog_pin *pin,
                          struct err *err) MUST_USE;
/** Write a manifest; of `row`, path, length, content, spec and the snapshot's numbers are filled
 * in. Schema, deflate and sync of `how` are ours. */
enum status written_manifest(struct written *w, const struct ice_manifest_opts *how,
                             const struct ice_data_file *files, size_t count,
                             struct ice_manifest_file *row, struct err *err) MUST_USE;
enum status written_list(struct written *w, const struct catalog_pin *pin,
                         const struct ice_manifest_file *rows, size_t count, struct str *uri_out,
                         struct err *err) MUST_USE;

struct written_commit {
    const struct table_name *name;
    const struct catalog_pin *pin; /* of the base */
    struct str list_uri;
    const struct ice_property *summary;
    size_t summary_count;
    const struct catalog_change_batch *batch; /* as of catalog_change_table */
    deadline_ms deadline;
};
/** As catalog_change_table. E_CONFLICT: main has moved on. */
enum status written_commit(struct written *w, const struct written_commit *commit,
                           struct err *err) MUST_USE;
/** After that error the commit has surely not landed, and what was written may be deleted. */
bool written_is_lost(enum status status);
/** Delete what was written, but for the first `from` objects. */
void written_discard(struct written *w, size_t from);
/** Between 5 and 400 ms, more with each round that was lost. */
void written_back_off(int round);

#endif
