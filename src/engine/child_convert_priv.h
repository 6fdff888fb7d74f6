/*
 * What the files of a conversion share: the source as SQL sees it, its columns, and what is known
 * of their types.
 *
 *   child_convert.c         the flow: layout, types, plan, write
 *   child_convert_csv.c     the layout of a CSV file, from its first bytes
 *   child_convert_json.c    the layout of a JSON file, read once before
 *   child_convert_parquet.c the layout of a Parquet file, from its footer
 *   child_convert_clean.c   a copy without bad rows, and with lines that all end alike
 *   child_convert_types.c   types that the client has said
 *   child_convert_text.c    which type a column of texts has
 *   child_convert_write.c   COPY to Parquet, and the statistics that come back
 */
#ifndef ENGINE_CHILD_CONVERT_PRIV_H
#define ENGINE_CHILD_CONVERT_PRIV_H

#include "engine/child.h"
#include "engine/sql_type.h"

struct convert_column {
    struct str name;      /* in the table */
    struct str expr;      /* SQL over the source: a column, quoted, or more */
    bool text;            /* values are texts whose type is to be found */
    bool only_times;      /* text from JSON: it may be a date or a time stamp, never a number */
    bool forced;          /* the client has said its type */
    struct ice_type type; /* what it is written as, before the table's schema has its say */
};

/** Bad rows that are told one by one; all are counted. */
enum { CONVERT_SKIPPED_TOLD_MAX = 100 };

struct convert_skipped {
    uint64_t line;
    struct str reason;
};

/** A row that has a value which does not fit its column's type. */
struct convert_excluded {
    uint64_t row; /* from 1, of those that can be read */
    struct str reason;
};

struct convert {
    struct child_job *job;
    struct duck_session *session;
    struct str format; /* "csv", ... after the layout is known */
    uint64_t size, columns_max, line_bytes_max;
    int output_fd;
    const struct ice_schema *table; /* NULL: a new one */
    struct str source;              /* a table function call */
    struct convert_column *columns;
    size_t column_count;
    unsigned outputs;              /* names of output spools given so far */
    bool all_columns;              /* of the plan: also those that the file has not */
    struct duck_write_split split; /* of the plan: by what rows are spread and sorted */
    /* CSV */
    char delimiter;
    bool has_header;
    /* child_convert_clean.c */
    bool skip_bad;         /* leave bad rows out, and tell which */
    bool is_copied;        /* what is read is a clean copy */
    struct str input_name; /* of the copy: "clean1" */
    unsigned copies;
    int64_t rows_expected; /* of a copy */
    uint64_t skipped_count;
    struct convert_skipped skipped[CONVERT_SKIPPED_TOLD_MAX];
    /* child_convert_types.c */
    yyjson_val *types;                 /* [{"name","type"}] that the client has said; NULL: none */
    struct convert_excluded *excluded; /* in the order of their rows */
    size_t excluded_count;
};

/** The first bytes of the input, at most `cap`. */
enum status convert_peek(struct convert *c, char *ptr, size_t cap, size_t *got_out,
                         struct err *err) MUST_USE;

enum status convert_csv_layout(struct convert *c, char delimiter /* 0: find it */,
                               struct err *err) MUST_USE;

/** The first rows of a CSV file. */
struct convert_sample {
    size_t rows_max;
    size_t rows; /* seen; fewer than rows_max only when the file has no more */
    /** A value that is not NULL, without its quotes; what is doubled in them stays doubled. */
    void (*field)(void *ctx, size_t column, struct str text);
    void *ctx;
};
/**
 * Go through the first rows without DuckDB. *told_out is false when they do not lie in the first
 * window, or when one is not as plain as can be (a wrong number of fields, blanks around a value,
 * an empty line): then `field` has been called for some, and DuckDB has to tell.
 */
enum status convert_csv_sample(struct convert *c, struct convert_sample *sample, bool *told_out,
                               struct err *err) MUST_USE;
enum status convert_json_layout(struct convert *c, struct err *err) MUST_USE;
enum status convert_parquet_layout(struct convert *c, struct err *err) MUST_USE;
/** What fails while a Parquet file is read is the file's fault, and not ours: E_INVALID, after
 * `what`. */
enum status convert_blame_parquet(enum status status, const char *what, struct err *err) MUST_USE;
/** Read a clean copy of a CSV whose layout is known from now on, without its bad rows (skip_bad) or
 * with their error. */
enum status convert_clean_csv(struct convert *c, struct err *err) MUST_USE;
/** E_INVALID with the line and the fault of the first bad row; OK when there is none. */
enum status convert_find_bad_csv(const struct convert *c, struct err *err) MUST_USE;
struct json_shape;
struct json_scan;
/** json_scan that leaves bad lines out and makes a copy of the others, which is_copied says. */
enum status convert_scan_json(struct convert *c, struct json_shape *shape, struct json_scan *out,
                              struct err *err) MUST_USE;
/** The same for records that are lines, once their layout is known. */
enum status convert_clean_json(struct convert *c, struct err *err) MUST_USE;
/** Let the source be what input_name says. */
enum status convert_point_source(struct convert *c, struct err *err) MUST_USE;

/** Give columns the types that the client has said. */
enum status convert_force_types(struct convert *c, struct err *err) MUST_USE;
/** Values that do not fit a type that the client has said: an error with the first one's line, or a
 * copy without their rows (skip_bad). *found_out false: there are none. */
enum status convert_exclude_misfits(struct convert *c, bool *found_out, struct err *err) MUST_USE;
/** SQL that is true when a text fits the type; NULL or false when it does not. */
enum status convert_text_check(const struct ice_type *type, struct str expr,
                               struct buf *out) MUST_USE;
/** The member "skipped" of the done frame. */
void convert_write_skipped(const struct convert *c, struct json_writer *w);
/** Duplicate names (ignoring case) get _1, _2, ...; empty ones become column1, ... */
enum status convert_unique_names(struct convert *c, struct err *err) MUST_USE;

/**
 * Find the types of the text columns. From a sample: types are guesses, and the write finds out
 * when one is wrong; *again_out is true when the sample cannot tell (a column without values in
 * it). From the whole file: types hold.
 */
enum status convert_type_texts(struct convert *c, bool sample, bool *again_out,
                               struct err *err) MUST_USE;
/** The value of a text column as `type`; one that does not fit ends the statement. */
enum status convert_text_cast(const struct convert_column *column, const struct ice_type *type,
                              struct buf *out, struct err *err) MUST_USE;
bool convert_has_texts(const struct convert *c);

/** Write under `target` (with ids). *misfit_out: a value did not fit its guessed type; nothing is
 * written then. `done` gets the statistics. */
enum status convert_write(struct convert *c, const struct ice_schema *target, bool *misfit_out,
                          struct buf *done, struct err *err) MUST_USE;

/** E_INVALID with "line 3: ..." of what DuckDB says of a bad row; other errors stay. */
enum status convert_explain(const struct convert *c, enum status status, struct err *err) MUST_USE;

#endif
