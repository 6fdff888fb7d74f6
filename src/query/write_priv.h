/*
 * What the files of statements that write share: write.c (targets, spools, files, the commit),
 * compact.c (CALL rewrite_data_files).
 */
#ifndef QUERY_WRITE_PRIV_H
#define QUERY_WRITE_PRIV_H

#include "query/query_priv.h"

/** A commit while it is made. All in the arena of the attempt. */
struct committing {
    struct query *query;
    struct query_pin *pin; /* NULL: the table is made */
    struct str verb, location;
    int64_t rows; /* as the engine counts them */
    const struct ice_schema *schema;
    struct ice_data_file *added;
    struct ice_partition_record *records; /* of each; empty where its spec has no fields */
    const struct str **parts;             /* of each, as the engine has told them */
    int64_t *bins;                        /* of each; -1: it is of no bin of a compaction */
    size_t added_count;
    struct str *removed, *marked;
    size_t removed_count, marked_count;
};

/** The end of a reply. `kind` not OK: its writer stopped in the middle, for that reason. */
enum status write_end(struct json_writer *w, enum status kind, struct err *err) MUST_USE;
/** The pin of "ns" and "name". */
enum status write_find_pin(struct query *query, yyjson_val *args, struct query_pin **out,
                           struct err *err) MUST_USE;
/** write->spec: that new files get. */
enum status write_find_spec(struct query_write *write, const struct ice_metadata *metadata,
                            struct err *err) MUST_USE;
/** The partition of a file that is there. */
enum status write_partition_of(struct query_write *write, const struct catalog_file *file,
                               struct write_group *out, struct err *err) MUST_USE;
/** "parts" and "order": how new rows are spread, and how those of a file lie. Sets
 * write->sort_order_id. */
enum status write_split(struct json_writer *w, struct query_write *write,
                        const struct ice_metadata *metadata, struct err *err) MUST_USE;
deadline_ms write_deadline(const struct query *query);

/** The call "compact": the plan, kept in query->write.compact. compact.c */
enum status compact_answer(struct query *query, yyjson_val *args, struct buf *reply,
                           struct err *err) MUST_USE;
/** The commit of what was planned; `c` has the files that have come of it. */
enum status compact_commit(struct committing *c, struct buf *reply, struct err *err) MUST_USE;

#endif
