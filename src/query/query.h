/*
 * SQL over pinned snapshots: one statement in, its answer out as bytes, run by an engine process. A
 * statement that writes ends in one commit, and is run again on the table as it is then when
 * another commit has made that impossible.
 *
 * The engine asks what a name means and for the bytes of files; this layer answers from the
 * catalogue and the store. Each table of a statement is pinned once, so it is read as of one moment
 * however often it is named, and stays readable until the query is freed.
 *
 *      query_start --> engine_start           engine child
 *      query_read  <-- frames                    |
 *      pins        <-- resolve, bounds, list ----'
 *      files       <-- open, read
 *      vectors     <-- nearest, items
 */
#ifndef QUERY_QUERY_H
#define QUERY_QUERY_H

#include "catalog/catalog.h"
#include "engine/engine.h"
#include "store/store.h"

struct query_service;
struct query;

/** One search of a vector index. */
struct query_nearest {
    struct str index;
    struct str body; /* JSON: that of POST /vectors/index/{name}/search, by one vector */
    deadline_ms deadline;
    struct str request_id; /* of the statement */
};
/** One page of all items of a vector index. */
struct query_items {
    struct str index, after; /* `after` empty: from the start */
    bool with_vectors;
    deadline_ms deadline;
    struct str request_id; /* of the statement */
};
/** Who knows vector indexes. */
struct query_vectors {
    /**
     * Appends the answer of that route to `reply`: {"results":[{"id","distance","metadata"}],...},
     * nearest first. Several threads at once.
     *
     * Errors   as that route: E_NOT_FOUND (the index), E_INVALID (dimension, k, ef, filter);
     *          E_UPSTREAM, E_TIMEOUT of a process that cannot be asked
     */
    enum status (*search)(void *ctx, const struct query_nearest *nearest, struct buf *reply,
                          struct err *err);
    /** Appends a page of GET /vectors/index/{name}/items in bytes. Errors as of search. */
    enum status (*items)(void *ctx, const struct query_items *items, struct buf *reply,
                         struct err *err);
    void *ctx;
};

struct query_service_opts {
    struct catalog *catalog;     /* borrowed */
    struct store *store;         /* borrowed */
    struct engine_pool *engines; /* borrowed; its children do the work */
    /* .search NULL: vector_search and vector_items are E_UNSUPPORTED */
    struct query_vectors vectors;
    uint64_t sql_bytes_max; /* 0: 1 MiB */
    bool writes;            /* statements may write; else E_DENIED */
};
enum status query_service_open(const struct query_service_opts *opts, struct query_service **out,
                               struct err *err) MUST_USE;
/** NULL is fine. After all queries were freed. */
void query_service_close(struct query_service *service);
enum status query_service_ready(struct query_service *service, struct err *err) MUST_USE;
uint64_t query_sql_bytes_max(const struct query_service *service);

enum query_format {
    QUERY_JSON,
    QUERY_JSON_ARRAYS,
    QUERY_NDJSON,
    QUERY_NDJSON_ARRAYS,
    QUERY_CSV,
    QUERY_ARROW,
    QUERY_PARQUET,
};

struct query_opts {
    struct str sql;    /* copied */
    struct str params; /* JSON text: an array, an object, or empty; copied */
    enum query_format format;
    deadline_ms deadline;
    struct str id; /* of the request: by which it is listed and canceled; copied */
};
/** Rows that replace those of a table that have the same keys: ingest's. */
struct query_upsert {
    struct table_name table;
    int fd; /* a Parquet file with all of the table's columns; borrowed until the start is over */
    uint64_t size;
    struct str uuid;   /* of the table that it was written for */
    int32_t schema_id; /* under which it was written */
    const struct str *keys;
    size_t key_count;
    struct str batch_id; /* lands once */
    deadline_ms deadline;
};
/**
 * One commit, run again when another has made it impossible; as a MERGE, it goes by the table's
 * write.merge.mode. Read it as a query is: DONE says {"rows","replaced","snapshot_id","files"}.
 *
 * Errors   by query_read: E_EXISTS the batch has landed before; E_CONFLICT it is another table by
 *          now, or has another schema, or others were faster each time; E_INVALID a row without a
 *          key
 */
enum status query_upsert_start(struct query_service *service, const struct query_upsert *upsert,
                               struct query **out, struct err *err) MUST_USE;

/** Never blocks. E_INVALID for an empty statement, E_TOO_LARGE for a long one, E_UNAVAILABLE when
 * too many wait. */
enum status query_start(struct query_service *service, const struct query_opts *opts,
                        struct query **out, struct err *err) MUST_USE;
/**
 * The next frame, as engine_read: HEAD {"columns":[{"name","type"}]} once the first rows are there,
 * DATA with the answer's bytes, DONE {"rows":n}. Errors are the statement's.
 */
enum status query_read(struct query *query, struct engine_frame *frame_out,
                       struct err *err) MUST_USE;
/** Readable when query_read has something to say; may change after each query_read. */
int query_fd(const struct query *query);
enum status query_read_wait(struct query *query, struct engine_frame *frame_out,
                            struct err *err) MUST_USE;
/** Ends what runs and lets go of the tables. NULL is fine. */
void query_free(struct query *query);

/* --- what runs now --- */

struct query_running {
    struct str id, sql; /* in the caller's arena */
    bool sql_is_cut;    /* `sql` is only its beginning */
    int64_t since_ms;   /* wall time */
    int64_t elapsed_ms;
    struct engine_progress progress;
};
/** Oldest first. Any thread. */
enum status query_running_list(struct query_service *service, struct arena *arena,
                               struct query_running **out, size_t *count_out,
                               struct err *err) MUST_USE;
/** Ends those of that id: who reads them hears E_CANCELED. How many there were; any thread. */
size_t query_cancel(struct query_service *service, struct str id);
/** For tests: pid of the engine that runs it. */
int query_pid(const struct query *query);

#endif
