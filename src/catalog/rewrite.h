/*
 * A commit that takes files out of a table too: what UPDATE, DELETE, MERGE, overwriting and
 * compaction do. The files are there; here are the manifests around them, the question whether what
 * others have committed meanwhile still lets it be, and the commit.
 *
 * It goes through catalog_change_table like the commit of any other program, so it works in every
 * driver, next to everybody.
 */
#ifndef CATALOG_REWRITE_H
#define CATALOG_REWRITE_H

#include "catalog/catalog.h"
#include "iceberg/partition_write.h"

struct catalog_rewrite {
    struct table_name name;
    const char *operation; /* "overwrite", "delete", "replace", "append": as the summary tells it */
    /* The table as it was read when this was made: */
    struct str uuid;
    int64_t snapshot_id; /* -1: it had no data */
    int32_t schema_id;
    /* Data files, and position deletes of files that are there. `path` is a store key under the
     * table's location; partition_spec_id is always told, and partition_avro is that of
     * `partitions`. */
    const struct ice_data_file *added;
    /* [added_count]; empty where the spec has no fields, and NULL where none has */
    const struct ice_partition_record *partitions;
    size_t added_count;
    /* URIs of data files, as the manifests spell them, that go */
    const struct str *removed;
    size_t removed_count;
    /* URIs of delete files that go, because no data file needs them any more */
    const struct str *removed_deletes;
    size_t removed_delete_count;
    /* every file goes that is there when it lands, delete files too; `removed` is empty */
    bool removes_all;
    /*
     * The new data files hold the rows of those that go, as the snapshot has them (compaction):
     * they get its sequence number, so that rows which are deleted by value after it are deleted
     * in them as well. spec_id: of all files that come and go; -1: there are several, and then
     * deletes by value within a partition that came meanwhile are a conflict.
     */
    bool same_rows;
    int32_t spec_id;
    /* URIs of data files that have to stay, because `added` says which of their rows are gone */
    const struct str *marked;
    size_t marked_count;
    /* Conflicts beyond those of files that are not there any more, and of rows that were deleted
     * meanwhile in files that go: */
    bool no_new_rows;    /* rows that came since then (serializable isolation) */
    bool no_new_deletes; /* rows that were deleted since then in files that stay */
    /* Exactly once, as of an append: E_EXISTS when it has landed before and still counts
     * (catalog_batch tells how); empty: no such question. */
    struct str batch_id;
    int64_t batch_rows;
    deadline_ms deadline;
};
/**
 * Errors   E_CONFLICT the table has moved on so that this cannot be any more: read it and make it
 *          anew; E_NOT_FOUND the table is gone; E_INVALID it is of a version that is not written;
 *          E_UNAVAILABLE / E_TIMEOUT: the outcome is unknown only if the message says so
 */
enum status catalog_rewrite(struct catalog *catalog, const struct catalog_rewrite *rewrite,
                            int64_t *snapshot_id_out, struct err *err) MUST_USE;

#endif
