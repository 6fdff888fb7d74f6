/*
 * Engine processes, seen from the parent: a bounded pool of children that run DuckDB, one job at a
 * time each.
 *
 * A child is `lakehouse-engine`, connected by socketpairs, under RLIMIT_AS, a raised oom_score_adj
 * and PR_SET_PDEATHSIG. It owns nothing: tables, files and spools reach it through calls that the
 * job's own handler answers. The parent owns deadlines: a job that is cancelled and does not end
 * within a second, or a child past its memory limit, is killed; the job gets E_TIMEOUT or
 * E_NO_MEMORY, and since no other job runs in that child nobody else notices. A child that dies by
 * itself before its job's answer has begun has the job run again once in a fresh child.
 *
 *      parent                                   child
 *      engine_start  --- job + descriptors ---> runs it
 *      engine_read   <-- frames: head, data ... done | error
 *      job.call      <-- "resolve", "open" ...  (each on a private socket, answered on the pool's
 *      threads)
 */
#ifndef ENGINE_ENGINE_H
#define ENGINE_ENGINE_H

#include "base/clock.h"
#include "base/json.h"
#include "base/metrics.h"

struct engine_pool;
struct engine_run;

struct engine_pool_opts {
    const char *name;     /* "queryd": for metrics and the child's log lines */
    const char *program;  /* NULL: ../libexec/lakehouse-engine beside the running program */
    unsigned engines_max; /* 0: 8 */
    unsigned spare;       /* children kept started and idle while the pool is used; 0: 1 */
    size_t queue_max;     /* jobs that wait for a child; 0: 64. Full: E_UNAVAILABLE */
    unsigned threads;     /* of DuckDB in each child; 0: the machine's */
    /* DuckDB's limit in each child; 0: an eighth of the machine, at least 512 MiB */
    uint64_t memory_limit_bytes;
    uint64_t resident_max_bytes; /* a child above it is killed; 0: memory_limit * 1.25 + 256 MiB */
    /* spill: one folder per child below it, emptied at start; NULL: no spilling */
    const char *temp_dir;
    uint64_t temp_bytes_max;
    unsigned call_threads;   /* 0: 8 */
    struct metrics *metrics; /* may be NULL */
};

/** Starts the spare children in the background: it returns in about a millisecond. */
enum status engine_pool_open(const struct engine_pool_opts *opts, struct engine_pool **out,
                             struct err *err) MUST_USE;
/** Ends what runs, kills and reaps all children. Runs that are not freed yet say E_UNAVAILABLE. */
void engine_pool_close(struct engine_pool *pool);
/** OK when a child is up, or was within the last seconds, or would be for the next job; else why
 * none starts. */
enum status engine_pool_ready(struct engine_pool *pool, struct err *err) MUST_USE;

enum { ENGINE_FDS_MAX = 8 };

struct engine_job {
    const char *kind;   /* "query", "convert", "upsert", "inspect", "unpack": the child's handler */
    struct str payload; /* JSON; copied */
    int fds[ENGINE_FDS_MAX]; /* duplicated, go with the job; the caller keeps its own */
    size_t fd_count;
    deadline_ms deadline; /* then E_TIMEOUT */
    bool only_if_idle;    /* E_UNAVAILABLE instead of waiting for a child */
    /**
     * A call of the child while the job runs: on the pool's threads, several at once. Fill `reply`
     * (JSON or bytes, as that call has it) and perhaps *fd_out (then owned and closed by the pool).
     * Not called any more once engine_free has returned.
     */
    enum status (*call)(void *ctx, struct str name, yyjson_val *args, struct buf *reply,
                        int *fd_out, struct err *err);
    void *ctx;
};

/** A DATA frame of this size is followed by another one that continues it; a shorter one (or an
 * empty one) completes what the job gave at once. */
enum { ENGINE_DATA_MAX = 256 * 1024 };

enum engine_frame_type { ENGINE_NOTHING_YET, ENGINE_HEAD, ENGINE_DATA, ENGINE_DONE };

struct engine_frame {
    enum engine_frame_type type;
    struct str bytes; /* valid until the next engine_read; HEAD and DONE are JSON */
};

/** E_UNAVAILABLE when the queue is full. Never blocks. */
enum status engine_start(struct engine_pool *pool, const struct engine_job *job,
                         struct engine_run **out, struct err *err) MUST_USE;
/** The next frame, or NOTHING_YET: wait for engine_fd. Errors are the job's: what the child
 * reported, E_TIMEOUT, E_NO_MEMORY, E_INTERNAL (it crashed). */
enum status engine_read(struct engine_run *run, struct engine_frame *frame_out,
                        struct err *err) MUST_USE;
/** Readable when engine_read has something to say. May change after each engine_read. */
int engine_fd(const struct engine_run *run);
/** Blocking engine_read: until a frame, or the job's deadline. */
enum status engine_read_wait(struct engine_run *run, struct engine_frame *frame_out,
                             struct err *err) MUST_USE;
struct engine_progress {
    bool running;  /* else it waits for an engine, or has ended */
    double share;  /* done, 0 to 1; -1 unknown */
    uint64_t rows; /* of the answer, so far */
};
/** How far it is, as its child said last. Any thread may ask. */
void engine_progress(const struct engine_run *run, struct engine_progress *out);
/** End it: its caller hears E_CANCELED with this message. Any thread may, until engine_free. */
void engine_cancel(struct engine_run *run, const char *why);
/** Cancels what has not ended. Waits only for calls that are being answered. NULL is fine. */
void engine_free(struct engine_run *run);
/** Pid of the child that runs it, for tests; 0 while it waits. */
int engine_pid(const struct engine_run *run);

#endif
