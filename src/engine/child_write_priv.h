/*
 * What the files of a statement that writes share: child_write.c (which rows), child_write_files.c
 * (into which files).
 */
#ifndef ENGINE_CHILD_WRITE_PRIV_H
#define ENGINE_CHILD_WRITE_PRIV_H

#include "engine/child_parquet.h"
#include "engine/child_write.h"

enum {
    WRITE_REPLY_MAX = 256 * 1024 * 1024,
};

enum fate { FATE_REMOVE, FATE_REWRITE, FATE_MARK };

struct touched {
    int64_t ordinal, rows; /* that go */
    enum fate fate;
    struct str uri;
    int64_t group; /* of delete files: files of one partition share one */
    bool joins;    /* its rows may lie in a file with new ones: it is of the spec that those get */
};

struct writing {
    struct child_job *job;
    struct duck_session *session;
    struct duck_write *write;
    struct arena *arena;
    const char *verb;
    struct str ns, name; /* of the table, as SQL spells them */
    bool all;            /* every row goes */
    struct ice_schema schema;
    struct duck_write_column *columns;
    size_t column_count;
    struct duck_write_split split; /* of new rows */
    int64_t rows_written;          /* of new rows into data files */
    unsigned folders;
    /* of a compaction: the number of the bin that is written, plus 1, and the size that files are
     * cut to; 0: there is none */
    int64_t bin, cut_bytes;
    struct touched *touched;
    size_t touched_count, touched_cap;
    int64_t groups;
    struct buf data, deletes; /* reports, with commas between */
};

/** "ns", "name", "verb" of a question. */
void write_target(struct json_writer *json, const struct writing *w);
/** w->schema and columns of an answer. */
enum status write_read_schema(struct writing *w, yyjson_doc *doc, struct err *err) MUST_USE;
/** "parts" and "order" of what the parent has answered, into w->split. */
enum status write_read_split(struct writing *w, yyjson_val *root, struct err *err) MUST_USE;
/** SELECT all columns FROM the table AS t */
enum status write_select_all(const struct writing *w, struct buf *sql) MUST_USE;
/** Ask the parent; `doc_out` is the caller's. */
enum status write_ask(struct writing *w, const char *name, struct str args, int *fd_out,
                      yyjson_doc **doc_out, struct err *err) MUST_USE;
/** Ask for the target: schema, columns, split. */
enum status write_find_target(struct writing *w, struct err *err) MUST_USE;
/** How many rows such a SELECT of one number tells. */
enum status write_count(struct writing *w, struct str sql, int64_t *out, struct err *err) MUST_USE;
/** The table as our own SQL names it, appended; then a list of its columns: "a", "b". */
enum status write_append_table(const struct writing *w, struct buf *sql) MUST_USE;
enum status write_append_columns(const struct writing *w, struct buf *sql) MUST_USE;
/** Files of what DUCK_WRITE_ROWS has; `makes`: there may be rows that are new. */
enum status write_rows_gathered(struct writing *w, bool makes, struct err *err) MUST_USE;
/** The commit; its answer is the caller's. */
enum status write_ask_commit(struct writing *w, int64_t rows, yyjson_doc **doc_out,
                             struct err *err) MUST_USE;
/** A new spool with that text. */
enum status write_to_spool(struct writing *w, struct str text, int64_t *number_out,
                           struct err *err) MUST_USE;
/** The rows of INSERT and CREATE TABLE .. AS, with a report of each file behind those in
 * w->data. */
enum status write_copy_new(struct writing *w, struct err *err) MUST_USE;
/**
 * Our own COPY of `select`, with a report of each file behind those in `list`.
 *
 * group  of the partition that all of its rows are of; -1: new rows, which are spread
 */
enum status write_copy_ours(struct writing *w, struct str select, const struct ice_schema *schema,
                            int64_t group, struct buf *list, struct err *err) MUST_USE;

/** CALL rewrite_data_files; the report, in w->arena. child_compact.c */
enum status write_compact(struct writing *w, struct str *report_out, struct err *err) MUST_USE;

#endif
