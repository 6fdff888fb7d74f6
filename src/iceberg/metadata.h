/*
 * Table metadata: one immutable JSON document per version, parsed once and shared by reference
 * count.
 *
 * The document itself is kept beside the parsed view, so that properties, statistics, branches,
 * sort orders and members that we do not know are carried through our own commits unharmed. An edit
 * makes a new document from an old one.
 */
#ifndef ICEBERG_METADATA_H
#define ICEBERG_METADATA_H

#include "iceberg/manifest.h"
#include "iceberg/schema.h"

struct ice_part; /* metadata_priv.h, as the next two */
struct ice_doc;
struct ice_snapshot_slot;

struct ice_snapshot {
    int64_t id, parent_id /* -1 none */, sequence_number, timestamp_ms;
    /* .ptr NULL: a snapshot of version 1 that lists its manifests inline, which is not supported */
    struct str manifest_list;
    int32_t schema_id;     /* -1 unknown */
    yyjson_val *summary;   /* object of strings, or NULL */
    struct ice_part *part; /* its own text, where metadata share it; NULL: the document has it */
};
struct ice_log_entry {
    int64_t timestamp_ms, snapshot_id;
};
struct ice_ref {
    struct str name;
    int64_t snapshot_id;
    bool is_tag;
    /* what it says of how long it and its history are kept; 0: nothing */
    int64_t ref_age_max_ms, snapshot_age_max_ms, keep_min;
};

struct ice_metadata {
    struct arena arena;
    /* the whole document as read; where ice_metadata_next made it, its lists of snapshots and their
     * log are empty, and stand in the members below only */
    yyjson_doc *doc;
    struct ice_doc *home; /* owns doc */
    size_t json_bytes;    /* of the whole document */
    int refs;             /* atomic */
    int32_t format_version;
    struct str table_uuid, location;
    int64_t last_sequence_number, last_updated_ms;
    int32_t last_column_id, current_schema_id, default_spec_id, last_partition_id;
    struct ice_schema *schemas;
    size_t schema_count;
    const struct ice_schema *schema; /* the current one */
    struct ice_spec {
        int32_t id;
        struct str fields_json;
        size_t field_count;
    } *specs;
    size_t spec_count;
    struct ice_snapshot *snapshots;
    size_t snapshot_count;
    struct ice_snapshot_slot *by_id;    /* sorted by snapshot id, for the lookups below */
    const struct ice_snapshot *current; /* NULL: empty table */
    struct ice_log_entry *snapshot_log;
    size_t log_count;
    struct str log_text; /* its entries with commas between; .ptr NULL: the document has it */
    size_t *log_ends;    /* with log_text: where each entry ends in it */
    struct ice_ref *branches;
    size_t ref_count;
};

/** A broken document is E_CORRUPT, a version above 3 E_UNSUPPORTED. */
enum status ice_metadata_parse(struct str json, struct ice_metadata **out,
                               struct err *err) MUST_USE;
struct ice_metadata *ice_metadata_ref(const struct ice_metadata *metadata);
void ice_metadata_unref(const struct ice_metadata *metadata);

const struct ice_schema *ice_metadata_schema(const struct ice_metadata *metadata,
                                             int32_t schema_id); /* NULL */
/**
 * The id of `schema` among the table's, or the one that it gets when an edit adds it (*known_out
 * false). E_TOO_LARGE when ids have run out.
 */
enum status ice_metadata_schema_id(const struct ice_metadata *metadata,
                                   const struct ice_schema *schema, int32_t *out, bool *known_out,
                                   struct err *err) MUST_USE;
const struct ice_snapshot *ice_metadata_snapshot(const struct ice_metadata *metadata,
                                                 int64_t snapshot_id); /* NULL */
/** Members of the update set-snapshot-ref: how long `main` says its history is kept, for setting a
 * ref says all of it anew. */
void ice_main_write_retention(const struct ice_metadata *metadata, struct json_writer *w);
const struct ice_snapshot *ice_metadata_by_ref(const struct ice_metadata *metadata, struct str ref);
/** The snapshot that was current at `wall_ms` by the snapshot log; NULL before the first. */
const struct ice_snapshot *ice_metadata_as_of(const struct ice_metadata *metadata, int64_t wall_ms);
/** May data be written into the table? E_INVALID, with its name and what to do: only version 2. */
enum status ice_metadata_check_written(const struct ice_metadata *metadata, struct str table_name,
                                       struct err *err) MUST_USE;
/** A text property; .ptr NULL when absent. */
struct str ice_metadata_property(const struct ice_metadata *metadata, struct str name);
bool ice_metadata_is_ancestor(const struct ice_metadata *metadata, int64_t ancestor_id,
                              int64_t of_id); /* a chain cut by expiry: true */

struct ice_property {
    struct str name, value;
};
struct ice_new_table {
    struct str uuid, location;
    const struct ice_schema *schema; /* ids assigned */
    int32_t last_column_id;
    const struct ice_property *properties;
    size_t property_count;
    int64_t now_ms;
};
/** The JSON of a v2 table without snapshots. */
enum status ice_metadata_new(const struct ice_new_table *in, struct buf *out,
                             struct err *err) MUST_USE;

/** One commit of ours on `base`. All parts optional. */
struct ice_edit {
    /* becomes current under the next free id (or the id of an identical one) */
    const struct ice_schema *schema;
    int32_t last_column_id; /* with schema */
    struct ice_new_snapshot {
        int64_t id, sequence_number;
        struct str manifest_list;
        const struct ice_property *
            summary; /* with "operation" first; running totals are the caller's (ice_append_summary) */
        size_t summary_count;
    } *snapshot;
    const struct ice_property *set_properties;
    size_t set_count;
    const struct str *remove_properties;
    size_t remove_count;
    /* appended to metadata-log with base's last-updated-ms */
    struct str previous_metadata_location;
    int64_t now_ms; /* used as max(now, every time the base knows) */
    /* 0: no expiry. Ours only: oldest snapshots that no ref but main's history names go first; more
     * than this many are cut to a quarter less */
    size_t snapshots_max;
    /* 0: no limit; else what the table says itself (ICE_EXPIRY_AGE_PROPERTY) goes before it */
    int64_t snapshot_age_max_ms;
    size_t metadata_log_max; /* 0: 100; a longer one is cut to a quarter less */
};
struct ice_edit_result {
    int32_t schema_id;
    int64_t timestamp_ms;
    struct str *dropped_metadata; /* locations that fell out of the metadata log, in `arena` */
    size_t dropped_metadata_count;
    struct ice_snapshot *expired; /* in `arena` */
    size_t expired_count;
};
enum status ice_metadata_edit(const struct ice_metadata *base, const struct ice_edit *edit,
                              struct arena *arena, struct buf *out, struct ice_edit_result *result,
                              struct err *err) MUST_USE;
/**
 * The same, and the new document as it would be parsed. What the two have in common is not read
 * again, and what stays in the lists of snapshots is shared with `base`: for a table of a thousand
 * snapshots that is nearly all.
 *
 * `out` is empty before.
 *
 * Owns     the caller unrefs *next_out, which outlives `base`
 */
enum status ice_metadata_next(const struct ice_metadata *base, const struct ice_edit *edit,
                              struct arena *arena, struct buf *out, struct ice_metadata **next_out,
                              struct ice_edit_result *result, struct err *err) MUST_USE;

/** The summary of an append, with the totals every reader expects; strings in `arena`. `parent` may
 * be NULL. */
enum status ice_append_summary(struct arena *arena, const struct ice_snapshot *parent,
                               const struct ice_data_file *files, size_t count,
                               const struct ice_property *extra, size_t extra_count,
                               struct ice_property **out, size_t *count_out,
                               struct err *err) MUST_USE;

/** What a commit does that takes files away too. */
struct ice_rewritten_files {
    const char *operation; /* "overwrite", "delete", "replace", "append" */
    const struct ice_data_file *added, *removed;
    size_t added_count, removed_count;
};
/** Its summary, as of ice_append_summary. */
enum status ice_rewrite_summary(struct arena *arena, const struct ice_snapshot *parent,
                                const struct ice_rewritten_files *files, struct ice_property **out,
                                size_t *count_out, struct err *err) MUST_USE;

/** A positive random id below 2^53 that `metadata` (may be NULL) does not have. */
int64_t ice_snapshot_id(const struct ice_metadata *metadata);
/** "00003-<uuid>.metadata.json" */
enum status ice_metadata_name(struct arena *arena, int64_t version, struct str uuid,
                              struct str *out) MUST_USE;
/** A slug `[a-z0-9_-]{1,40}` of any name, for locations. */
void ice_slug(struct str name, char out[41]);

#endif
