/*
 * The only room that sees DuckDB: one instance in the engine process, our catalogue, the statement
 * guard, results as bytes.
 *
 * DuckDB reaches files only through `struct duck_files` and tables only through `struct duck_lake`;
 * both are handed in per session. No exception and no DuckDB type leaves this folder.
 */
#ifndef DUCK_DUCK_H
#define DUCK_DUCK_H

#include "base/arena.h"
#include "base/buf.h"

#ifdef __cplusplus
extern "C" {
#endif

struct duck;
struct duck_session;
struct duck_result;

struct duck_opts {
    unsigned threads;            /* 0: the machine's */
    uint64_t memory_limit_bytes; /* 0: 1 GiB */
    const char *temp_dir;        /* spill folder; NULL: none, no spilling */
    uint64_t temp_bytes_max;     /* 0: 16 GiB */
};
/** Starts DuckDB, checks library version and source id, locks its settings (second wall), attaches
 * `lake`. */
enum status duck_open(const struct duck_opts *opts, struct duck **out, struct err *err) MUST_USE;
void duck_close(struct duck *duck);
/** Give back to the system what the allocator keeps of memory that is free. Any thread, at any
 * time. */
void duck_memory_trim(void);
const char *duck_version(void);

/* --- files: how DuckDB's bytes are read and written --- */

struct duck_files {
    /** Paths are whole: "lake://<token>/<n>.parquet", "spool://in". Anything not known here is
     * E_DENIED. */
    enum status (*open)(void *ctx, struct str path, void **file_out, uint64_t *size_out,
                        struct err *err);
    enum status (*read_at)(void *file, uint64_t offset, void *ptr, size_t len, size_t *got_out,
                           struct err *err); /* thread safe */
    void (*close)(void *file);
    enum status (*create)(void *ctx, struct str path, void **sink_out, struct err *err);
    enum status (*write)(void *sink, struct str bytes, struct err *err); /* sequential */
    enum status (*finish)(void *sink, struct err *err);                  /* frees the sink */
    void *ctx;
};

/* --- tables: what a name means in this statement --- */

struct duck_column {
    struct str name;
    int32_t id;      /* field id; 0 when unknown */
    struct str type; /* as SQL: "BIGINT", "STRUCT(a INTEGER, b VARCHAR)[]" */
    bool required;
    struct duck_column *children; /* struct fields; list: element; map: key, value */
    size_t child_count;
};
struct duck_table_file {
    struct str path;
    int64_t row_count, size_bytes;
    /* the file may be without field ids: then its columns are matched by name; one whose columns
     * all have ids is matched by id in any case */
    bool by_name;
    /* Of a table with delete files, as those say them: */
    int64_t sequence_number, partition;
    struct str uri; /* what a delete by position calls it; .ptr NULL: none is there */
};
/** Rows that are not there any more: named by file and position, or by what their columns hold. */
struct duck_delete_file {
    struct str path;
    bool by_value;
    int64_t row_count, sequence_number;
    int64_t partition; /* by value: of the files that it counts for; -1: of all */
    int64_t file;      /* by position: the only one that it names, its index; -1: it may be any */
    struct duck_column *columns; /* by value: id and type of each */
    size_t column_count;
};
struct duck_bounds {
    struct str lower, upper;         /* text that casts to the column's type; .ptr NULL: unknown */
    int64_t null_count, value_count; /* -1 unknown */
    bool upper_is_cut; /* a truncated string bound: usable for pruning, not as a value */
    /* Of a column that the table is partitioned by: */
    bool is_value; /* every row has `lower`, also where the file itself has no such column */
    /* every value's hash, as Iceberg's bucket transform has it, leaves `bucket`; 0: unknown */
    uint32_t bucket_count, bucket;
};
/** A view: its texts, the first that can be read counts; one for DuckDB is the only one that
 * does. */
struct duck_view {
    /* what names without them mean in the texts; catalog may be empty */
    struct str catalog, schema;
    struct duck_view_text {
        struct str dialect, sql;
    } *texts;
    size_t text_count;
    /* what the text calls its columns, and what the view does; none: the text's own names */
    struct duck_view_column {
        struct str from, to;
    } *columns;
    size_t column_count;
};
struct duck_table {
    struct str ns, name; /* as they are spelled in the catalogue */
    /* the same for the same files and delete files; what is made of them may be kept by it */
    struct str key;
    struct duck_column *columns;
    size_t column_count;
    struct duck_table_file *files; /* only when asked for */
    size_t file_count;
    struct duck_delete_file *deletes; /* with the files */
    size_t delete_count;
    /* Where a file's `path` is NULL: the path of file i, data files first, is this, the number
     * first_file + i, and path_suffix. */
    struct str path_prefix, path_suffix;
    uint64_t first_file;
    int64_t row_count; /* -1 unknown; those of the files, deleted ones too */
    /* a column that a file does not have may stand in its partition: `bounds` tells */
    bool partitioned;
    /** Bounds of one column of one file, asked for only while pruning. May be NULL. */
    enum status (*bounds)(void *bounds_ctx, size_t file, int32_t field_id, struct duck_bounds *out,
                          struct err *err);
    void *bounds_ctx;
    /**
     * Of a table that has rows and no files; NULL: it has files. A page of them behind `after`
     * (first 0), of the columns with these ids, as JSON: {"rows":[[cell,..],..],"next":n?}; without
     * "next" it is the last. Structs, lists and maps (as pairs) are arrays, a moment is
     * microseconds, other cells are numbers, booleans, null, or text that casts to their type.
     *
     * Owns     appended to `out`; limits are its
     */
    enum status (*rows)(void *rows_ctx, const int32_t *columns, size_t column_count, uint64_t after,
                        struct buf *out, struct err *err);
    void *rows_ctx;
    bool is_view;
    const struct duck_view *view; /* of a view that was resolved; then only ns and name count */
};
enum duck_at_kind { DUCK_AT_CURRENT, DUCK_AT_VERSION, DUCK_AT_TIMESTAMP };
struct duck_at {
    enum duck_at_kind kind;
    struct str version; /* text of the VERSION expression: a snapshot id or a ref name */
    int64_t timestamp_ms;
};
struct duck_lake {
    /**
     * Called on DuckDB's threads, several at once, once per table and statement. Names ignore case
     * as the lake decides. E_NOT_FOUND when there is none.
     * Owns: what *out points to lives as long as the session.
     */
    enum status (*resolve)(void *ctx, struct str ns, struct str name, const struct duck_at *at,
                           bool want_files, const struct duck_table **out, struct err *err);
    /** All tables and views (names and `is_view`) in byte order, in `arena`; an entry without a
     * name stands for its namespace alone. */
    enum status (*list)(void *ctx, struct arena *arena, struct duck_table **tables_out,
                        size_t *count_out, struct err *err);
    void *ctx;
};

/* --- vectors: what `vector_search` asks --- */

struct duck_nearest {
    struct str index;
    const float *vector; /* [dimension], finite; any dimension: the index says which is right */
    size_t dimension;
    bool has_k, has_ef; /* not given: as the index decides */
    uint32_t k, ef;
    struct str filter; /* text as the statement has it, meant to be JSON; empty: none */
    bool with_metadata;
};
struct duck_hit {
    struct str id;
    double distance;
    struct str metadata; /* JSON; .ptr NULL: none */
};
struct duck_item {
    struct str id;
    const float *vector; /* [dimension] of its page; NULL where vectors were not wanted */
    struct str metadata; /* JSON; empty: none */
};
struct duck_page {
    const struct duck_item *items;
    size_t count;
    uint32_t dimension;
    struct str next; /* `after` of the page behind it; empty: this is the last one */
};
struct duck_vectors {
    /**
     * Called on DuckDB's threads, several at once, once per scan.
     *
     * Owns     what *out points to lies in `arena`, nearest first
     * Errors   E_NOT_FOUND (the index), E_INVALID (dimension, k, ef, filter), E_UNSUPPORTED (there
     *          are no vectors here), and others from who is asked
     */
    enum status (*search)(void *ctx, const struct duck_nearest *nearest, struct arena *arena,
                          const struct duck_hit **out, size_t *count_out, struct err *err);
    /**
     * The items of an index behind `after`, a page of them; called as search is, page by page.
     *
     * Owns     what *out points to lies in `arena`
     */
    enum status (*items)(void *ctx, struct str index, struct str after, bool with_vectors,
                         struct arena *arena, struct duck_page *out, struct err *err);
    void *ctx;
};

/* --- a statement --- */

struct duck_session_opts {
    const struct duck_lake *lake;       /* NULL: no tables */
    const struct duck_files *files;     /* NULL: no files */
    const struct duck_vectors *vectors; /* NULL: no vector indexes */
    /* our own SQL (ingest): the guard is not asked, COPY and read_csv work on `files` paths */
    bool trusted;
};
/** A fresh connection. The opts' pointers are borrowed until close. */
enum status duck_session_open(struct duck *duck, const struct duck_session_opts *opts,
                              struct duck_session **out, struct err *err) MUST_USE;
void duck_session_close(struct duck_session *session);
/** Thread safe: what runs ends soon with E_CANCELED. */
void duck_session_interrupt(struct duck_session *session);
/** Share done in percent, -1 unknown, and rows processed. Thread safe. */
void duck_session_progress(struct duck_session *session, double *percent_out, uint64_t *rows_out);

/**
 * Guard, bind, plan and start one statement (or a script of SELECTs: the last one's result).
 * Streaming: rows are computed as they are taken.
 *
 * params   JSON text: an array for ? and $1, an object for $name, or empty
 * Errors   E_INVALID with position ("line 1, column 15: ...") and reason, also for statements that
 *          write (with a word on what to use); E_NOT_FOUND for tables (with near misses),
 *          E_NO_MEMORY, E_CANCELED, E_CORRUPT and others from files
 */
enum status duck_query(struct duck_session *session, struct str sql, struct str params,
                       struct duck_result **out, struct err *err) MUST_USE;
/**
 * The same for an answer that becomes a Parquet file (zstd): it runs to its end and writes to the
 * sink that `files->create` gives for `path`, which no other part of a statement can reach.
 * Errors   E_INVALID also for EXPLAIN, which is no table
 */
enum status duck_query_to_parquet(struct duck_session *session, struct str sql, struct str params,
                                  struct str path, uint64_t *rows_out, struct err *err) MUST_USE;
void duck_result_free(struct duck_result *result);
size_t duck_result_column_count(const struct duck_result *result);
struct str duck_result_column_name(const struct duck_result *result, size_t i);
struct str duck_result_column_type(const struct duck_result *result, size_t i); /* SQL type text */

/** For our own small results (trusted SQL): every row as text cells, .ptr NULL is NULL. A
 * callback's failure ends it. */
enum status duck_rows(struct duck_session *session, struct str sql,
                      enum status (*row)(void *ctx, const struct str *cells, size_t count,
                                         struct err *err),
                      void *ctx, struct err *err) MUST_USE;
/** For our own statements without a result of interest. */
enum status duck_exec(struct duck_session *session, struct str sql, struct err *err) MUST_USE;
/** Quote an identifier or a literal for SQL. */
enum status duck_quote_ident(struct buf *out, struct str name) MUST_USE;
enum status duck_quote_text(struct buf *out, struct str text) MUST_USE;

/**
 * In trusted SQL, text_value.h as functions of one text: `__lake_text_fits(x)`, the sum of the
 * TEXT_FITS_* of it, and `__lake_text_<type>(x)` for int, long, double, boolean, date, timestamp
 * and timestamptz, its value. A text that does not fit ends the statement with E_INVALID and
 * DUCK_TEXT_MISFIT in the message.
 */
#define DUCK_TEXT_FUNCTIONS "__lake_text_"
#define DUCK_TEXT_MISFIT "lakehouse: misfit"

/* --- a statement that writes --- */

/*
 * DuckDB writes nothing itself: it says what a statement means (a request), or computes the rows
 * that it makes and those that it takes away, and the caller makes files and a commit of them.
 */
enum duck_write_kind {
    DUCK_WRITE_REQUEST,   /* CREATE, ALTER, DROP: duck_write_request says what */
    DUCK_WRITE_INSERT,    /* duck_write_copy gives the rows */
    DUCK_WRITE_CREATE_AS, /* the same; the table is new, and the request says how */
    DUCK_WRITE_VIEW,      /* CREATE VIEW: a request, to which duck_write_columns belongs */
    DUCK_WRITE_DELETE,    /* duck_write_gather, then SQL over DUCK_WRITE_ROWS */
    DUCK_WRITE_UPDATE,
    DUCK_WRITE_MERGE,
    DUCK_WRITE_TRUNCATE, /* DELETE without a condition: nothing is computed */
    DUCK_WRITE_CALL,     /* a procedure: duck_write_request says which, with its arguments */
};
struct duck_write;
/** How rows are spread over files. */
struct duck_write_split {
    const struct str *sql; /* [count] expressions over the columns; none: one file */
    size_t count;
    /* [order_count] terms of ORDER BY, by which the rows of each file lie; none: as they come */
    const struct str *order;
    size_t order_count;
};
/**
 * How many threads COPY may use for a split: 1 where rows go to several files and have an order in
 * each, because DuckDB keeps it only then; 0: as many as there are. duck_session_threads.
 */
enum status duck_session_threads(struct duck_session *session, unsigned threads /* 0: all */,
                                 struct err *err) MUST_USE;
/** The n-th of them in COPY, which answers with each file's value of it. */
#define DUCK_WRITE_PART "__part_"
/** A column that is written. */
struct duck_write_column {
    struct str name, type; /* the type as SQL */
    bool required;
};
/**
 * Parse and guard. *out NULL: the statement only reads, and duck_query is for it.
 *
 * Errors   as of duck_query; a statement that writes stands alone, so a script with one is
 *          E_INVALID
 * Owns     until duck_write_free, which comes before the session's close
 */
enum status duck_write_open(struct duck_session *session, struct str sql, struct str params,
                            struct duck_write **out, struct err *err) MUST_USE;
void duck_write_free(struct duck_write *write);
enum duck_write_kind duck_write_kind(const struct duck_write *write);
/** The table that it writes to, as the statement spells it. */
struct str duck_write_ns(const struct duck_write *write);
struct str duck_write_name(const struct duck_write *write);
/** Of DUCK_WRITE_CALL, in lower case. */
struct str duck_write_procedure(const struct duck_write *write);
/**
 * What is asked of the catalogue, as a JSON object: {"do": verb, "namespace", "name", ...}; of
 * CREATE TABLE .. AS and CREATE VIEW without the columns. src/query/ddl.c lists the verbs.
 */
struct str duck_write_request(const struct duck_write *write);
/** The columns of the query of CREATE TABLE .. AS and CREATE VIEW. */
enum status duck_write_columns(struct duck_write *write, const struct duck_write_column **out,
                               size_t *count_out, struct err *err) MUST_USE;
/**
 * The rows of INSERT and CREATE TABLE .. AS as a Parquet file (zstd) in the sink of `path`, or as
 * several below it, with these columns, which are all that the table has.
 *
 * field_ids  as COPY's FIELD_IDS has them: 'a': 1, 'b': {__duckdb_field_id: 2, ...}
 * Returns    the rows of COPY's RETURN_STATS, one for each file
 * Errors     E_INVALID also for a NULL in a required column
 */
enum status duck_write_copy(struct duck_write *write, const struct duck_write_column *columns,
                            size_t count, const struct duck_write_split *split, struct str path,
                            struct str field_ids, struct duck_result **out,
                            struct err *err) MUST_USE;
/**
 * Compute what DELETE, UPDATE and MERGE do into the temporary table DUCK_WRITE_ROWS: each row has
 * `__file` and `__row` (of the row that goes; NULL: a row that is new) and, but for DELETE and rows
 * that only go (`__gone`), the columns. From here on the session is trusted: it runs our own SQL
 * only.
 *
 * Errors   E_INVALID when a row of the table would be changed twice
 */
#define DUCK_WRITE_ROWS "temp.main.__lake_rows"
enum status duck_write_gather(struct duck_write *write, const struct duck_write_column *columns,
                              size_t count, struct err *err) MUST_USE;
/**
 * For a request that is about some of a table's data files: the column `__file` of DUCK_WRITE_ROWS
 * has the ordinals of those with a row for which `condition`, a client's text, holds; an empty one
 * makes no table. From here on the session is trusted.
 *
 * Errors   E_INVALID for what is no condition, or is not allowed in a SELECT
 */
enum status duck_write_choose(struct duck_write *write, struct str ns, struct str name,
                              struct str condition, struct err *err) MUST_USE;

/* --- results as bytes: DESIGN's value rules --- */

enum duck_format {
    DUCK_JSON,
    DUCK_JSON_ARRAYS,
    DUCK_NDJSON,
    DUCK_NDJSON_ARRAYS,
    DUCK_CSV,
    DUCK_ARROW
};
struct duck_encoder;

enum status duck_encoder_new(struct duck_result *result, enum duck_format format,
                             struct duck_encoder **out, struct err *err) MUST_USE;
void duck_encoder_free(struct duck_encoder *encoder);
/** Append what stands before the first row: `{"columns":[...],"rows":[`, the CSV header, nothing
 * for NDJSON. */
enum status duck_encoder_head(struct duck_encoder *encoder, struct buf *out,
                              struct err *err) MUST_USE;
/** Append the next chunk (up to 2,048 rows); *done_out when there are no more. */
enum status duck_encoder_next(struct duck_encoder *encoder, struct buf *out, bool *done_out,
                              struct err *err) MUST_USE;
/** Append what stands behind the last row: `],"row_count":n}`. */
enum status duck_encoder_tail(struct duck_encoder *encoder, struct buf *out,
                              struct err *err) MUST_USE;
uint64_t duck_encoder_rows(const struct duck_encoder *encoder);

#ifdef __cplusplus
}
#endif

#endif
