/*
 * Writing what a commit will point to: manifests, a manifest list, a metadata file. All under fresh
 * names.
 */
#ifndef CATALOG_SNAPSHOT_H
#define CATALOG_SNAPSHOT_H

#include "catalog/plan.h"

enum { SNAPSHOT_KEYS_MAX = 1024 };

struct snapshot {
    int64_t id; /* -1: metadata without a new snapshot */
    int64_t sequence_number, timestamp_ms, version;
    struct str metadata_uri;
    const struct ice_metadata *metadata; /* what was written, parsed; referenced */
    struct ice_edit_result edit;
    struct str keys[SNAPSHOT_KEYS_MAX]; /* everything written, for taking it back */
    size_t key_count;
};

/**
 * Write the snapshot that `plan` describes. On failure what was written is deleted again.
 *
 * Owns     strings are in plan->arena; snapshot_done drops the metadata
 */
enum status snapshot_write(struct local *local, const struct plan *plan, struct snapshot *out,
                           struct err *err) MUST_USE;
/** The commit is lost for certain: delete what was written, the metadata file first, so that nobody
 * takes it for the newest. */
void snapshot_discard(struct local *local, const struct snapshot *snapshot);
void snapshot_done(struct snapshot *snapshot);
/** Do commits of ours expire snapshots of this table? (lakehouse.expire-snapshots=true) */
bool snapshot_expires(const struct ice_metadata *metadata);
/** How many snapshots such a table may have, `coming` of which are not there yet. */
size_t snapshot_count_max(const struct ice_metadata *base, size_t coming, int64_t now);

#endif
