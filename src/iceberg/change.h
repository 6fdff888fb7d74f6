/*
 * What another program asks of a table: requirements on the metadata that it has read, then
 * updates. Pure: one JSON document in, the next one out; members that we do not know are carried.
 *
 * Everything works on the document itself, so a `base` is the root of the table's metadata JSON,
 * whole (not that of an ice_metadata, whose lists may lie elsewhere). NULL: there is no table.
 *
 * Source   Apache Iceberg, rest-catalog-open-api.yaml (TableRequirement, TableUpdate) and the table
 *          specification, versions 1 to 3
 * Errors   E_CONFLICT a requirement does not hold, or a snapshot's sequence number is behind: the
 *          client has to read again. E_INVALID the change itself is wrong (unknown action, missing
 *          member, an id that is not there): it can never be applied. E_UNSUPPORTED what this
 *          program refuses by name
 */
#ifndef ICEBERG_CHANGE_H
#define ICEBERG_CHANGE_H

#include "iceberg/metadata.h"

struct ice_change {
    yyjson_val *requirements; /* array; NULL: none */
    yyjson_val *updates;      /* array; NULL: none */
    /* goes to the end of metadata-log, with the base's last-updated-ms; .ptr NULL: none */
    struct str previous_metadata_location;
    int64_t now_ms; /* used as max(now, every time that the base knows) */
};

/**
 * An update of ours, beside those of the specification: let go what the table does not need any
 * more, judged on the very base that the change is applied to. So nobody can make a ref meanwhile
 * to what goes. Members, all optional: "older-than-ms" (a moment; else by the table's properties,
 * and by Iceberg's default), "retain-last" (newest of each branch; the same), "snapshots-max"
 * (bound on the number, see ice_expiry_rule). What refs say of themselves goes before all three.
 * E_INVALID: gc.enabled=false.
 */
#define ICE_CHANGE_EXPIRE "lakehouse.expire-snapshots"

/** All of them hold on `base`. The first that does not is named. */
enum status ice_change_require(yyjson_val *base, yyjson_val *requirements,
                               struct err *err) MUST_USE;
/** Is one of them assert-create? */
bool ice_change_creates(yyjson_val *requirements);
/**
 * Has `base` taken this very change already? So it is when it has all snapshots that the change
 * adds, with the same manifest lists, or (assert-create) the uuid that the change assigns. Asked
 * before any requirement is looked at: a client that repeats a commit whose answer was lost would
 * otherwise delete the files of a live snapshot.
 */
bool ice_change_is_repeat(yyjson_val *base, const struct ice_change *change);
/** Has `base` some of the snapshots that the change adds, and others not? Then nobody can tell
 * whether it has landed: a snapshot may have expired since. */
bool ice_change_is_there_in_part(yyjson_val *base, const struct ice_change *change);

struct ice_change_result {
    bool changed; /* false: nothing to write; `out` is as it was */
    /* The new document, parsed; the caller unrefs. NULL when not changed. */
    struct ice_metadata *metadata;
    struct str location;          /* the table's, in `arena` */
    bool sets_location;           /* the change has named one, which the caller has to judge */
    struct str *dropped_metadata; /* locations that fell out of the metadata log, in `arena` */
    size_t dropped_metadata_count;
    struct str *removed_manifest_lists; /* of snapshots that the change removed, in `arena` */
    size_t removed_count;
};
/**
 * The updates in order on `base`, appended to `out`. The requirements are not looked at here. What
 * comes out is a document that ice_metadata_parse takes and whose references hold (current schema,
 * default spec and order, refs, logs).
 */
enum status ice_change_apply(yyjson_val *base, const struct ice_change *change, struct arena *arena,
                             struct buf *out, struct ice_change_result *result,
                             struct err *err) MUST_USE;

/**
 * A new table of a CreateTableRequest: `schema`, `partition-spec`, `write-order`, `properties`.
 * Field ids are given anew from 1 in the order of the schema, and spec and order follow them;
 * "format-version" among the properties chooses the version (2 without it) and is not kept.
 */
struct ice_create {
    yyjson_val *request;
    struct str uuid, location;           /* both chosen by the caller */
    const struct ice_property *defaults; /* properties that the request does not name */
    size_t default_count;
    int64_t now_ms;
};
enum status ice_create_table(const struct ice_create *create, struct buf *out,
                             struct err *err) MUST_USE;

#endif
