/*
 * Metadata tables: `t$files` and its like, which tell in SQL what a table's metadata says.
 *
 * A name is one of them when no table has it as a whole and what stands before its last `$` is a
 * table. It stands on the pin of that table, so that `t` and `t$files` in a statement are of one
 * snapshot. Rows go to the engine in pages, as it takes them; of the files of a snapshot one
 * manifest is held at a time.
 *
 * inspect.c has names and pages, inspect_columns.c what a table looks like, inspect_rows.c
 * snapshots, history and refs, inspect_files.c what stands in manifests, inspect_partitions.c sums
 * by partition.
 */
#ifndef QUERY_INSPECT_H
#define QUERY_INSPECT_H

#include "iceberg/partition.h"
#include "query/query_priv.h"

enum inspect_kind {
    INSPECT_DATA_FILES,
    INSPECT_DELETE_FILES,
    INSPECT_ENTRIES,
    INSPECT_FILES,
    INSPECT_HISTORY,
    INSPECT_MANIFESTS,
    INSPECT_PARTITIONS,
    INSPECT_REFS,
    INSPECT_SNAPSHOTS,
    INSPECT_KINDS
};

/** The columns of all metadata tables, by the numbers that the engine asks for them with. */
enum inspect_column_id {
    /* snapshots, history, refs */
    COL_COMMITTED_AT = 1,
    COL_SNAPSHOT_ID,
    COL_PARENT_ID,
    COL_OPERATION,
    COL_MANIFEST_LIST,
    COL_SUMMARY,
    COL_MADE_CURRENT_AT,
    COL_IS_ANCESTOR,
    COL_NAME,
    COL_TYPE,
    COL_REF_AGE,
    COL_MIN_SNAPSHOTS,
    COL_SNAPSHOT_AGE,
    /* manifests */
    COL_MANIFEST_CONTENT,
    COL_PATH,
    COL_LENGTH,
    COL_MANIFEST_SPEC,
    COL_ADDED_SNAPSHOT,
    COL_ADDED_DATA,
    COL_EXISTING_DATA,
    COL_DELETED_DATA,
    COL_ADDED_DELETES,
    COL_EXISTING_DELETES,
    COL_DELETED_DELETES,
    COL_SUMMARIES,
    /* files, and the entries around them */
    COL_CONTENT,
    COL_FILE_PATH,
    COL_FORMAT,
    COL_SPEC,
    COL_PARTITION,
    COL_RECORDS,
    COL_SIZE,
    COL_COLUMN_SIZES,
    COL_VALUES,
    COL_NULLS,
    COL_NANS,
    COL_LOWER,
    COL_UPPER,
    COL_KEY,
    COL_SPLITS,
    COL_EQUALITY,
    COL_SORT_ORDER,
    COL_REFERENCED,
    COL_OFFSET,
    COL_CONTENT_SIZE,
    COL_METRICS,
    COL_STATUS,
    COL_ENTRY_SNAPSHOT,
    COL_SEQUENCE,
    COL_FILE_SEQUENCE,
    COL_DATA_FILE,
    /* partitions, which have COL_PARTITION, COL_SPEC and COL_RECORDS too */
    COL_FILE_COUNT,
    COL_DATA_SIZE,
    COL_POSITION_RECORDS,
    COL_POSITION_FILES,
    COL_EQUALITY_RECORDS,
    COL_EQUALITY_FILES,
    COL_UPDATED_AT,
    COL_UPDATED_SNAPSHOT,
};

/** A plain column of the table, of which files have statistics. */
struct inspect_metric {
    struct str name; /* "a", "b.c", "l.element" */
    const struct ice_field *field;
};

/** One row of `partitions`. */
struct inspect_partition {
    struct str *values; /* [all_count] as bounds; .ptr NULL: null */
    int32_t spec_id;
    int64_t records, size_bytes, position_records, equality_records;
    int32_t files, position_files, equality_files;
    int64_t updated_ms, updated_snapshot; /* updated_snapshot -1: unknown */
};

/** What is made once of a pinned table; whoever has claimed the pin's `inspecting` works with
 * it. */
struct inspect {
    struct catalog *catalog;       /* borrowed */
    const struct catalog_pin *pin; /* borrowed */
    struct arena arena;
    struct ice_partition_specs specs;
    struct inspect_metric *metrics; /* by name */
    size_t metric_count;
    bool listed;
    struct catalog_manifests manifests; /* once `listed` */
    /* the manifest that the last page ended in, or had as its last */
    struct catalog_manifest open;
    size_t open_index;
    struct ice_partition_order order; /* of the open one, in `order_arena` */
    struct arena order_arena;
    bool counted;
    struct inspect_partition *partitions; /* once `counted` */
    size_t partition_count;
};

/** Where a page's rows are written: as the engine reads them, an array for each row. */
struct inspect_page {
    struct json_writer w;
    struct buf *out;
    const int32_t *columns; /* ids */
    size_t column_count;
    size_t rows;
};
/** It has enough: the rest is for the next one. */
bool inspect_page_is_full(const struct inspect_page *page);

/* --- columns: inspect_columns.c --- */

/** The kind that a suffix names, in any case; false when there is none. */
bool inspect_kind_of(struct str suffix, enum inspect_kind *out);
const char *inspect_name(enum inspect_kind kind);
/** "$data_files, $delete_files, ...". */
enum status inspect_names(struct buf *out) MUST_USE;
/** Does it tell of one snapshot, so that AT means something? */
bool inspect_is_of_a_snapshot(enum inspect_kind kind);
/** The columns as fields of a struct; their ids are those above. In the inspection's arena. */
enum status inspect_columns(struct inspect *in, enum inspect_kind kind, struct ice_type *out,
                            struct err *err) MUST_USE;
/** The columns of a file, in their order; *count_out of them. */
enum status inspect_file_ids(const struct inspect *in, struct arena *arena, int32_t **out,
                             size_t *count_out, struct err *err) MUST_USE;
/** Fill in->metrics. */
enum status inspect_find_metrics(struct inspect *in, struct err *err) MUST_USE;

/* --- rows: from `after` on until the page is full; *next_out is where the next page begins, 0 when
 * there is none --- */

enum status inspect_rows(struct inspect *in, enum inspect_kind kind, struct inspect_page *page,
                         uint64_t after, uint64_t *next_out, struct err *err) MUST_USE;
enum status inspect_files(struct inspect *in, enum inspect_kind kind, struct inspect_page *page,
                          uint64_t after, uint64_t *next_out, struct err *err) MUST_USE;
enum status inspect_manifests(struct inspect *in, struct inspect_page *page, uint64_t after,
                              uint64_t *next_out, struct err *err) MUST_USE;
enum status inspect_partitions(struct inspect *in, struct inspect_page *page, uint64_t after,
                               uint64_t *next_out, struct err *err) MUST_USE;

/** Make manifest `index` the open one. */
enum status inspect_open(struct inspect *in, size_t index, struct err *err) MUST_USE;
/** in->manifests is filled. */
enum status inspect_list(struct inspect *in, struct err *err) MUST_USE;
/** A value as text that the engine casts, or null. */
void inspect_write_value(struct json_writer *w, const struct ice_type *type, struct str value);
void inspect_write_opt(struct json_writer *w, int64_t value);    /* -1 is null */
void inspect_write_text(struct json_writer *w, struct str text); /* null without pointer or UTF-8 */

/* --- the door: inspect.c --- */

/** A name that no table has: its pin and which metadata table it is. E_NOT_FOUND when it has no
 * `$`, or nothing stands before it. */
enum status inspect_resolve(struct query *query, struct str ns, struct str name,
                            const struct catalog_at *at, struct query_pin **pin_out,
                            enum inspect_kind *kind_out, struct err *err) MUST_USE;
/** Its columns, for the answer to "resolve". `inspecting` is not claimed. */
enum status inspect_write_columns(struct query *query, struct query_pin *pin,
                                  enum inspect_kind kind, struct ice_type *out,
                                  struct err *err) MUST_USE;
/** The answer to "inspect". */
enum status inspect_answer(struct query *query, yyjson_val *args, struct buf *reply,
                           struct err *err) MUST_USE;
void inspect_free(struct inspect *in);

#endif
