/*
 * The parent's half, shared among pool.c (jobs to children), run.c (a job as its caller sees it),
 * monitor.c (the one thread that watches), call.c (what children ask), spawn.c (how a child is
 * started) and spill.c (their folders).
 *
 *          callers                        monitor thread                        call threads
 *   engine_start ---> queue | child   <--- control sockets: ready, idle, call ---> job.call --->
 *   reply
 *   engine_read  <--- data socket          deadlines, memory, reaping, spares
 *
 * One lock guards all that is said here to be guarded; nothing is waited for while it is held:
 * sends to children never block.
 */
#ifndef ENGINE_ENGINE_PRIV_H
#define ENGINE_ENGINE_PRIV_H

#include <pthread.h>
#include <sys/types.h>

#include "base/io.h"
#include "base/pool.h"
#include "engine/engine.h"
#include "engine/wire.h"

enum {
    ENGINES_MAX = 256,
    /* being answered at once for one job; more wait in its control socket */
    CALLS_PER_JOB_MAX = 8,
    /* DESIGN 2: an engine that ignores a cancel for one second is killed */
    CANCEL_GRACE_MS = 1000,
    /* at 2 GB/s of page faults a child grows 100 MB between two looks */
    MEMORY_CHECK_MS = 50,
    /* a child that is not ready by then is killed; a loaded machine takes 1 s */
    START_LIMIT_MS = 20 * 1000,
    /* children beyond the spares go after that; chosen, not measured */
    IDLE_SURPLUS_MS = 60 * 1000,
    /* A pool that nobody uses holds no child: an idle server is small, and the next job waits for
     * a start, which takes about 0.1 s. The first child of a pool, which shows that one starts,
     * waits so long for a job; after a job spares stay so long. Both chosen, not measured. */
    UNUSED_MS = 10 * 1000,
    USED_MS = 10 * 60 * 1000,
};

enum child_state {
    CHILD_NONE, /* the slot is free */
    CHILD_STARTING,
    CHILD_IDLE,
    CHILD_BUSY,      /* run is its job */
    CHILD_CANCELING, /* its job was given up; it has until kill_at to say so */
    CHILD_DYING,     /* killed or gone, not reaped yet */
};

enum kill_reason {
    KILL_NONE,
    KILL_MEMORY,
    KILL_IGNORED_CANCEL,
    KILL_PROTOCOL,
    KILL_START,
    KILL_SURPLUS,
    KILL_CLOSE,
    KILL_REASONS
};

struct engine_child {
    enum child_state state;
    pid_t pid;
    int control_fd;
    int statm_fd;           /* /proc/<pid>/statm, -1 when there is none */
    uint64_t job;           /* number of the job it runs */
    struct engine_run *run; /* NULL when that was given up */
    bool lost_seen;         /* its run's stream was over when last looked at */
    deadline_ms kill_at;    /* STARTING and CANCELING */
    int64_t idle_since_ms;
    uint64_t resident_bytes, virtual_bytes; /* when last looked at */
    enum kill_reason reason;
};

enum run_state {
    RUN_QUEUED,
    RUN_RUNNING,
    RUN_LOST, /* its stream broke off or its child died: decided when both are known */
    RUN_ENDED,
};

struct engine_run {
    struct engine_pool *pool;
    struct engine_job job; /* kind points to `kind`; fds are ours */
    char kind[32];
    int payload_fd;
    uint64_t payload_bytes;
    int64_t start_us;
    /* guarded by pool->lock */
    enum run_state state;
    struct engine_child *child;
    struct engine_run *next; /* in the queue */
    int peer_fd;             /* the child's end of the data socket until it is sent */
    unsigned tries;          /* children that died with it */
    bool head_read;          /* the caller has seen the head: no second try */
    bool counted;            /* in the metrics, as ended */
    /* when ENDED: what the caller gets after the bytes that are there; OK: there must be a DONE */
    enum status outcome;
    struct err outcome_err;
    struct engine_progress progress; /* but for `running` */
    struct engine_call *calls;
    size_t call_count;
    int spool_fd; /* the rest of the frames, behind those on the socket; -1 none */
    uint64_t spool_at;
    /* the caller's alone; data_fd changes under the lock, since the monitor shuts it down */
    int data_fd;
    struct buf rx;
    size_t rx_used;    /* of rx: given out by the last engine_read */
    unsigned rx_tries; /* `tries` of the stream whose bytes are in rx */
    /* the stream in rx broke off; what comes next may be another child's */
    bool rx_ended;
    enum status end; /* OK, or what every further engine_read says */
    struct err end_err;
    bool done; /* the DONE frame was given out */
};

struct engine_call {
    struct engine_pool *pool;
    struct engine_run *run; /* NULL: the job was given up; guarded by pool->lock */
    struct engine_call *next;
    bool begun; /* guarded by pool->lock */
    int reply_fd;
    size_t name_len, args_len;
    char bytes[]; /* name, args */
};

struct engine_metrics {
    struct metric *up, *busy, *queued, *started, *job_seconds, *retries, *calls;
    struct metric *killed[KILL_REASONS];
    struct metric *crashed;
    struct metric *jobs[E_KIND_COUNT]; /* by outcome; made when first needed */
};

struct engine_pool {
    struct engine_pool_opts opts; /* defaults filled in; strings are ours */
    char *name, *program, *temp_dir;
    uint64_t address_bytes; /* RLIMIT_AS of a child; 0: none */
    struct pool *call_pool;
    pthread_t monitor;
    int wake_fd;       /* eventfd: the monitor has something to look at */
    int spill_lock_fd; /* holds our spill folder, -1 none */
    struct engine_metrics metrics;

    pthread_mutex_t lock;
    pthread_cond_t changed; /* a call has ended, the pool has closed */
    /* guarded by lock */
    struct engine_child children[ENGINES_MAX];
    struct engine_run *queue_first, *queue_last;
    size_t queue_count;
    /* the owner and the runs that are not freed: they keep the pool's memory */
    size_t holders;
    uint64_t job_last;
    bool stopping;
    unsigned start_failures; /* in a row */
    deadline_ms start_not_before;
    struct err start_err; /* why the last one did not start */
    int64_t up_last_ms;   /* when a child was last seen up; 0 never */
    int64_t first_up_ms;  /* when the first child came up; 0 not yet */
    int64_t job_last_ms;  /* when the last job came; 0 none yet */
};

/* pool.c; all with the lock held */
/** Give jobs that wait to children that are idle. */
void engine_dispatch(struct engine_pool *pool);
/** Put it at the front (a second try) or at the end of the queue. */
void engine_enqueue(struct engine_pool *pool, struct engine_run *run, bool front);
void engine_unqueue(struct engine_pool *pool, struct engine_run *run);
/** How many are in a state. */
unsigned engine_count(const struct engine_pool *pool, enum child_state state);
void engine_wake(struct engine_pool *pool);
/** The last holder frees the pool. Takes and gives up the lock by itself. */
void engine_pool_release(struct engine_pool *pool);

/* run.c; with the lock held */
/** End a run from outside: its caller gets `kind` once it has taken what is there. The message is
 * in run->outcome_err. */
void engine_run_end(struct engine_run *run, enum status kind);
void engine_run_count(struct engine_run *run, enum status kind);
/** A run whose stream broke off and whose child is dead: once more in another child, or the end
 * with outcome_err. Its socket is fresh. */
void engine_run_decide(struct engine_run *run);

/* monitor.c */
void *engine_monitor(void *arg);
/** Let go of a child's job: tell it, and give it a second. With the lock held. */
void engine_child_cancel(struct engine_pool *pool, struct engine_child *child);
void engine_child_kill(struct engine_pool *pool, struct engine_child *child,
                       enum kill_reason reason);

/* call.c */
/** With the lock held: takes the message's descriptor and bytes; answers on a thread of the
 * pool. */
void engine_call_begin(struct engine_pool *pool, struct engine_child *child,
                       struct wire_message *message);
/** With the lock held: calls of a run that have not begun are dropped; waits for those that
 * have. */
void engine_calls_end(struct engine_pool *pool, struct engine_run *run);

/* spawn.c */
/** Start a child in `slot`; only the monitor's thread does it (PR_SET_PDEATHSIG watches the
 * thread). Without the lock. */
enum status engine_spawn(struct engine_pool *pool, unsigned slot, pid_t *pid_out,
                         int *control_fd_out, struct err *err) MUST_USE;
/** The program that is started when none is named. */
enum status engine_program_find(char **out, struct err *err) MUST_USE;

/* spill.c */
/** A fresh folder below `dir` for this pool, locked as long as *lock_fd_out is open; folders of
 * pools that are gone are removed. */
enum status engine_spill_open(const char *dir, const char *name, char **path_out, int *lock_fd_out,
                              struct err *err) MUST_USE;
void engine_spill_close(const char *path, int *lock_fd);

#endif
