/*
 * The bytes of a file -> Parquet -> one commit, exactly once.
 *
 * An upload is a small state machine, driven by whoever has the bytes (HTTP, a registered object):
 *
 *      ingest_begin --> ingest_write ... --> ingest_end --> ingest_step, wait ingest_fd,
 *      ingest_step ... --> done
 *        the spool       spooled, hashed      an engine job starts (dedup is looked up first)
 *        committed
 *
 * The job of a great file that comes quickly has started by then and reads along (early.c).
 *
 * The engine reads the spool and writes Parquet into a second spool; it asks for the target schema
 * by a call ("plan") when it knows the file's. Then the file goes to the store under a fresh name
 * and catalog_append commits it. The batch id is the caller's key, else SHA-256 of the bytes and of
 * the options that change the result.
 */
#ifndef INGEST_INGEST_H
#define INGEST_INGEST_H

#include "catalog/catalog.h"
#include "catalog/register.h"
#include "engine/engine.h"
#include "ingest/body.h"

struct ingest;        /* the service: thread safe */
struct ingest_upload; /* one file: one thread at a time */

/** Rows of a file for those of a table that have the same keys. */
struct ingest_upsert {
    struct table_name table;
    int fd; /* Parquet, with all columns of the table; borrowed */
    uint64_t size;
    struct str uuid; /* of that table */
    int32_t schema_id;
    const struct str *keys;
    size_t key_count;
    struct str batch_id;
    deadline_ms deadline;
};
/** Who can do that: queryd's half of a statement that writes (query_upsert_start), which lies
 * beside this layer. The functions are those of a query. */
struct ingest_upserter {
    enum status (*start)(void *ctx, const struct ingest_upsert *upsert, void **run_out,
                         struct err *err);
    enum status (*read)(void *run, struct engine_frame *frame_out, struct err *err);
    int (*fd)(const void *run);
    void (*free)(void *run);
    void *ctx;
};

struct ingest_service_opts {
    struct ingest_upserter upserter; /* .start NULL: mode upsert is E_UNSUPPORTED */
    struct engine_pool *engines;     /* borrowed, like the rest */
    struct catalog *catalog;
    struct store *store;
    struct metrics *metrics;     /* may be NULL */
    size_t columns_max;          /* 0: 10000 */
    size_t line_bytes_max;       /* 0: 16 MiB */
    uint64_t unpacked_bytes_max; /* of a gzip or zstd file; 0: 64 GiB */
    uint64_t expansion_max;      /* unpacked bytes for a packed one; 0: 200 */
    int64_t timeout_ms;          /* of the engine job; 0: one hour */
};
enum status ingest_open(const struct ingest_service_opts *opts, struct ingest **out,
                        struct err *err) MUST_USE;
void ingest_close(struct ingest *ingest);

/** For registering objects: their footers, read by an engine. Blocks its caller. */
struct catalog_inspector ingest_inspector(struct ingest *ingest);

enum ingest_format {
    INGEST_GUESS,
    INGEST_CSV,
    INGEST_TSV,
    INGEST_JSON,
    INGEST_NDJSON,
    INGEST_PARQUET
};
/** By name ("csv"), by content type, by file name ("x.csv", "x.csv.gz"); INGEST_GUESS when it says
 * nothing. */
enum ingest_format ingest_format_of(struct str name, struct str content_type, struct str file_name);
/** By Parquet's magic, an opening bracket or brace, else CSV; never INGEST_GUESS. */
enum ingest_format ingest_format_of_bytes(struct str head);
/** What a file's name says of how it is packed: ".gz", ".zst". */
enum inflate_kind ingest_packing_of(struct str file_name);

/** What a column is to be, whatever its values look like. */
struct ingest_type {
    struct str name;
    struct ice_type type;
};
/** Of "zip:string,price:decimal(10,2)", in `arena`. E_INVALID when it is something else. */
enum status ingest_types_parse(struct arena *arena, struct str text, struct ingest_type **out,
                               size_t *count_out, struct err *err) MUST_USE;

enum ingest_mode {
    INGEST_APPEND,
    INGEST_OVERWRITE, /* the file's rows replace all that the table has, in one snapshot */
    INGEST_UPSERT     /* they replace those that have the same keys */
};

struct ingest_params {
    struct table_name table;
    enum ingest_mode mode;
    enum ingest_format format;
    enum inflate_kind encoding; /* Content-Encoding */
    enum inflate_kind packing;  /* by the file's name */
    enum charset charset;
    bool charset_given;
    struct ingest_type *types; /* borrowed until the upload ends */
    size_t type_count;
    bool evolve;            /* add columns, widen types */
    bool skip_bad;          /* leave bad rows out, and tell which */
    bool dedup_off;         /* land also what has landed before */
    const struct str *keys; /* of INGEST_UPSERT: columns; borrowed until the upload ends */
    size_t key_count;
    /* how rows of a new table are spread and sorted: "day(ts), bucket(16, id)", "ts desc"; of one
     * that is there, what it must have. Empty: as it is */
    struct str partition_by, sort_by;
    struct str batch_key; /* the client's Idempotency-Key; empty: by content */
    /* bytes that ingest_write will be given in all, when that is known before; 0: it is not */
    uint64_t size_expected;
};
enum status ingest_begin(struct ingest *ingest, const struct ingest_params *params,
                         struct ingest_upload **out, struct err *err) MUST_USE;
enum status ingest_write(struct ingest_upload *upload, struct str bytes, struct err *err) MUST_USE;
/** All bytes are there: look for the batch, else start the engine job. E_INVALID for an empty
 * file. */
enum status ingest_end(struct ingest_upload *upload, struct err *err) MUST_USE;
/** Go on; *done_out false: call again when ingest_fd is readable. The commit itself runs inside a
 * step, on the caller's thread. */
enum status ingest_step(struct ingest_upload *upload, bool *done_out, struct err *err) MUST_USE;
int ingest_fd(const struct ingest_upload *upload);

struct ingest_result {
    struct str table, dataset_id, fingerprint;
    int64_t rows, snapshot_id;
    bool created, deduplicated;
    int64_t replaced; /* rows that went, of INGEST_UPSERT */
    struct ingest_file {
        struct str key;
        int64_t size, row_count;
    } *files;
    size_t file_count;
    /* with skip_bad: how many rows were left out, and the first of them */
    uint64_t skipped_count;
    struct ingest_skipped {
        uint64_t line;
        struct str reason;
    } *skipped;
    size_t skipped_told;
};
/** After done; lives as long as the upload. */
const struct ingest_result *ingest_result(const struct ingest_upload *upload);
/** Ends what has not ended; NULL is fine. */
void ingest_upload_free(struct ingest_upload *upload);

#endif
