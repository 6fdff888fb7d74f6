/*
 * Engine processes, seen from inside: one job at a time, run by the handler of its kind. Compiled
 * only into lakehouse-engine.
 *
 *   main thread      runs the job; with DuckDB's threads it asks the parent (child_call) and sends
 *   frames (child_head, child_data)
 *   control thread   reads the control socket: job, cancel; when the parent has gone it ends the
 *   process
 */
#ifndef ENGINE_CHILD_H
#define ENGINE_CHILD_H

#include "base/json.h"
#include "duck/duck.h"
#include "lakefs/lakefs.h"

struct child_job {
    struct duck *duck;
    struct lakefs *lakefs; /* begun with a fresh token for this job */
    yyjson_val *payload;
    int *fds; /* as given by the parent; a handler that takes one sets it to -1 */
    size_t fd_count;
    struct arena arena;
    struct child_io *io; /* private to child_io.c */
};

/** Send frames to the parent; blocks while the parent does not read. E_CANCELED when it has
 * left. */
/* child_data sends pieces of ENGINE_DATA_MAX; what was given is complete with the first shorter
 * piece, which may be empty. */
enum status child_head(struct child_job *job, struct str json, struct err *err) MUST_USE;
enum status child_data(struct child_job *job, struct str bytes, struct err *err) MUST_USE;
/** Ask the parent. `args` is JSON text. The reply is appended; *fd_out (may be NULL) is -1 when
 * none came. Thread safe. */
enum status child_call(struct child_job *job, const char *name, struct str args, struct buf *reply,
                       int *fd_out, struct err *err) MUST_USE;
/** The session that a cancel interrupts; NULL when it is closed. */
void child_set_session(struct child_job *job, struct duck_session *session);
/** How many rows of the answer there are so far, for who asks how far the job is. */
void child_set_rows(struct child_job *job, uint64_t rows);

/** Runs one kind of job. OK: `done` is the JSON of the DONE frame. */
typedef enum status child_handler(struct child_job *job, struct buf *done, struct err *err);

child_handler child_query;   /* child_query.c */
child_handler child_upsert;  /* child_upsert.c: a file's rows replace a table's by keys */
child_handler child_convert; /* child_convert.c: a file in, Parquet out */
/* child_inspect.c: schema and statistics of a Parquet file that is there */
child_handler child_inspect;
child_handler child_unpack; /* child_unpack.c: the rows of a Parquet file as NDJSON */

struct child_kind {
    const char *name;
    child_handler *handler;
};

struct child_opts {
    int control_fd;
    const struct child_kind *kinds;
    size_t kind_count;
    struct duck *duck;
    struct lakefs *lakefs;
    /** Before each job, on its thread; may be NULL. */
    enum status (*begin)(void *ctx, struct child_job *job, struct err *err);
    void (*end)(void *ctx, struct child_job *job);
    void *ctx;
    const char *temp_dir; /* where an answer goes that nobody reads yet; NULL: memory */
    uint64_t spool_bytes_max;
    uint64_t memory_limit_bytes; /* near to it, memory that is free goes back to the system */
    int statm_fd;                /* /proc/self/statm, opened outside the box; -1: not known */
};
/** Say that it is ready and run jobs, one after the other, until the parent has gone.
 * child_serve.c */
int child_serve(const struct child_opts *opts);
/** Tell the parent why this child cannot start. */
void child_refuse(int control_fd, const struct err *err);

/** What a process can only do to itself, first thing in main. child_box.c */
struct child_box {
    int parent_pid;         /* 0: not checked */
    uint64_t address_bytes; /* RLIMIT_AS; 0: none */
    const char *temp_dir;   /* the only folder it may write to; NULL: none */
};
enum status child_box_enter(const struct child_box *box, struct err *err) MUST_USE;

/** The tables of a query: names are asked of the parent, snapshots are kept from job to job.
 * child_tables.c */
struct child_tables;
enum status child_tables_new(struct child_job *job, struct child_tables **out,
                             struct err *err) MUST_USE;
void child_tables_free(struct child_tables *tables);
const struct duck_lake *child_tables_lake(struct child_tables *tables);

/** A copy in the arena, of text in an answer of the parent. child_tables.c */
enum status child_keep_text(struct arena *arena, struct str text, struct str *out,
                            struct err *err) MUST_USE;

/** Vector indexes, asked of the parent; `job` is borrowed by what is given. child_vectors.c */
struct duck_vectors child_vectors(struct child_job *job);

/** main() of lakehouse-engine. */
int child_main(int argc, char **argv);

#endif
