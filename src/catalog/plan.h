/*
 * Planning a commit: which of the waiting appends fit the base that was read, and what they bring.
 */
#ifndef CATALOG_PLAN_H
#define CATALOG_PLAN_H

#include "catalog/commit.h"
#include "iceberg/partition_write.h"

/** One attempt at a commit. Everything in it is valid for this base only. */
struct plan {
    struct arena *arena;
    const struct local_base *base;
    const struct ice_metadata *metadata;   /* NULL: the table is to be created */
    const struct catalog_place *place;     /* of the append that creates */
    const struct ice_metadata *made;       /* and what it makes, before the snapshot; plan_done */
    struct str shape;                      /* of it */
    const struct ice_partition_spec *spec; /* of the new files; NULL: no table yet */
    const struct ice_schema *schema;       /* after what is accepted so far; NULL: no table yet */
    int32_t last_column_id;
    bool schema_changed, name_mapping;
    struct ice_data_file *files;          /* paths are URIs */
    struct ice_partition_record *records; /* of each, where the spec has fields */
    size_t file_count;
    /* of this commit; snapshot, sequence number and time come later */
    struct pointer_batch *batches;
    size_t batch_count;
    const struct ice_property *summary; /* extra entries of the accepted appends */
    size_t summary_count;
    size_t accepted;
};

enum status plan_init(struct plan *plan, struct arena *arena, const struct local_base *base,
                      const struct ice_metadata *metadata, struct commit_request **requests,
                      size_t count, struct err *err) MUST_USE;
void plan_done(struct plan *plan); /* fine on a zeroed one */
/** Accept a request, or finish it with its answer or error. */
void plan_request(struct local *local, struct plan *plan, struct commit_request *request);
/** Look a batch up: the pointer first, the markers second. Only what still counts is found. */
enum status plan_find_batch(struct local *local, const struct local_base *base,
                            const struct ice_metadata *metadata, struct str id, struct arena *arena,
                            bool *found_out, struct pointer_batch *out, struct err *err) MUST_USE;
/** An append's answer from the batch in which it landed. */
enum status plan_answer(const struct table_summary *table, const struct pointer_batch *batch,
                        const struct catalog_append *append, struct arena *arena,
                        struct catalog_appended *out, struct err *err) MUST_USE;

#endif
