/*
 * What the files of the metadata module share.
 */
#ifndef ICEBERG_METADATA_PRIV_H
#define ICEBERG_METADATA_PRIV_H

#include "iceberg/metadata.h"

/* yyjson's loops step from the container's address, which must not be done with NULL. */
#define ARR_EACH(arr, i, max, val)                                                                 \
    if ((arr) != NULL)                                                                             \
    yyjson_arr_foreach(arr, i, max, val)
#define OBJ_EACH(obj, i, max, key, val)                                                            \
    if ((obj) != NULL)                                                                             \
    yyjson_obj_foreach(obj, i, max, key, val)

/** One snapshot id and where its snapshot stands, sorted by id. */
struct ice_snapshot_slot {
    int64_t id;
    size_t index;
};

/** A parsed text that several metadata may share. Thread safe by its count. */
struct ice_doc {
    int refs; /* atomic */
    yyjson_doc *doc;
};
/** Takes one reference's worth of *out. */
enum status ice_doc_parse(struct str json, struct ice_doc **out, struct err *err) MUST_USE;
struct ice_doc *ice_doc_ref(struct ice_doc *doc);
void ice_doc_unref(struct ice_doc *doc); /* NULL is fine */

/** One snapshot as text, and the document that its parsed values point into. */
struct ice_part {
    int refs; /* atomic */
    struct ice_doc *home;
    size_t len;
    char text[];
};
void ice_part_unref(struct ice_part *part); /* NULL is fine */

struct metadata_span {
    size_t at, len; /* len 0: it is not there */
};
/** What an edit wrote, and where in its text. */
struct metadata_written {
    const struct ice_metadata *base;
    struct str json;
    /* the two lists, with their brackets; twice: a name is there more than once, nothing holds */
    struct metadata_span snapshots, log;
    bool twice;
    const bool *expired; /* [base->snapshot_count] */
    size_t log_from;     /* the first entry of the base's snapshot log that stays */
    const struct ice_new_snapshot *new_snapshot; /* the last in both lists; NULL: none */
    int64_t now_ms;
    size_t *snapshot_ends, *log_ends; /* of each entry in `json` */
};

/** Metadata from its document: what `written` (NULL: nothing) does not know is read there. */
enum status metadata_parse(struct str json, const struct metadata_written *written,
                           struct ice_metadata **out, struct err *err) MUST_USE;
enum status metadata_parse_snapshot(yyjson_val *json, struct ice_snapshot *out,
                                    struct err *err) MUST_USE;
/** The metadata that was written. */
enum status metadata_next(const struct metadata_written *written, struct ice_metadata **out,
                          struct err *err) MUST_USE;
/** Its two lists, into `m`. */
enum status metadata_next_snapshots(struct ice_metadata *m, const struct metadata_written *written,
                                    struct err *err) MUST_USE;
enum status metadata_next_log(struct ice_metadata *m, const struct metadata_written *written,
                              struct err *err) MUST_USE;

/** The index of a snapshot in metadata->snapshots, SIZE_MAX when it is not there. */
size_t metadata_find(const struct ice_metadata *metadata, int64_t snapshot_id);
/** A whole number in a text property or ref member; `otherwise` when it is absent or no number. */
int64_t metadata_property_i64(const struct ice_metadata *metadata, struct str name,
                              int64_t otherwise);

#endif
