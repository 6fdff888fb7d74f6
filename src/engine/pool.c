/*
 * The pool of engine processes: opening and closing it, and which job goes to which child.
 *
 * A job goes straight to an idle child from the thread that starts it; only when none is idle does
 * it wait in the queue, and the monitor hands it on. The pool's memory lives until the last run is
 * freed, so that runs and pool may end in any order.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/mem.h"
#include "engine/engine_priv.h"

static void set_defaults(struct engine_pool_opts *opts)
{
    const uint64_t mib = 1024 * 1024;
    if (opts->name == NULL) {
        opts->name = "engine";
    }
    if (opts->engines_max == 0) {
        opts->engines_max = 8;
    }
    if (opts->engines_max > ENGINES_MAX) {
        opts->engines_max = ENGINES_MAX;
    }
    if (opts->spare == 0) {
        opts->spare = 1;
    }
    if (opts->spare > opts->engines_max) {
        opts->spare = opts->engines_max;
    }
    if (opts->queue_max == 0) {
        opts->queue_max = 64;
    }
    if (opts->threads == 0) {
        long cores = sysconf(_SC_NPROCESSORS_ONLN);
        opts->threads = cores > 0 ? (unsigned)cores : 1;
    }
    if (opts->memory_limit_bytes == 0) {
        uint64_t machine = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGE_SIZE);
        opts->memory_limit_bytes = machine / 8 < 512 * mib ? 512 * mib : machine / 8;
    }
    if (opts->resident_max_bytes == 0) {
        opts->resident_max_bytes = opts->memory_limit_bytes + opts->memory_limit_bytes / 4 +
                                   256 * mib;
    }
    if (opts->call_threads == 0) {
        opts->call_threads = 8;
    }
}

/**
 * The share of address space. Resident memory is what the monitor watches; this wall is for the
 * single huge allocation that would come between two of its looks. Beyond it: the program and its
 * libraries, and for each thread a stack (8 MiB) and an allocator's arena (64 MiB reserved).
 */
static uint64_t address_space(const struct engine_pool_opts *opts)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    (void)opts;
    return 0; /* sanitizers reserve terabytes */
#else
    const uint64_t mib = 1024 * 1024;
    return opts->resident_max_bytes + 512 * mib + opts->threads * 72 * mib;
#endif
}

static void make_metrics(struct engine_pool *pool)
{
    struct metrics *all = pool->opts.metrics;
    if (all == NULL) {
        return;
    }
    char labels[96];
    snprintf(labels, sizeof(labels), "pool=\"%s\"", pool->name);
    struct engine_metrics *m = &pool->metrics;
    m->up = metric_get(all, METRIC_GAUGE, "lakehouse_engines_up", labels,
                       "Engine processes that are ready or busy");
    m->busy = metric_get(all, METRIC_GAUGE, "lakehouse_engines_busy", labels,
                         "Engine processes that run a job");
    m->queued = metric_get(all, METRIC_GAUGE, "lakehouse_engine_queue_depth", labels,
                           "Jobs that wait for an engine process");
    m->started = metric_get(all, METRIC_COUNTER, "lakehouse_engines_started_total", labels,
                            "Engine processes started");
    m->crashed = metric_get(all, METRIC_COUNTER, "lakehouse_engines_crashed_total", labels,
                            "Engine processes that ended by themselves");
    m->retries = metric_get(all, METRIC_COUNTER, "lakehouse_engine_retries_total", labels,
                            "Jobs run again because their engine died before the answer began");
    m->calls = metric_get(all, METRIC_COUNTER, "lakehouse_engine_calls_total", labels,
                          "Calls of engine processes to their server");
    m->job_seconds = metric_get(all, METRIC_HISTOGRAM, "lakehouse_engine_job_seconds", labels,
                                "Time from a job's start to its end, waiting included");
    static const char *const reasons[KILL_REASONS] = {
        [KILL_MEMORY] = "memory",     [KILL_IGNORED_CANCEL] = "ignored_cancel",
        [KILL_PROTOCOL] = "protocol", [KILL_START] = "start",
        [KILL_SURPLUS] = "surplus",   [KILL_CLOSE] = "close",
    };
    for (unsigned i = KILL_NONE + 1; i < KILL_REASONS; i++) {
        snprintf(labels, sizeof(labels), "pool=\"%s\",reason=\"%s\"", pool->name, reasons[i]);
        m->killed[i] = metric_get(all, METRIC_COUNTER, "lakehouse_engines_killed_total", labels,
                                  "Engine processes killed, by reason");
    }
}

/** Frees what open has made; the monitor is not running. */
static void pool_free(struct engine_pool *pool)
{
    if (pool->temp_dir != NULL) {
        engine_spill_close(pool->temp_dir, &pool->spill_lock_fd);
    }
    pool_stop(pool->call_pool);
    fd_done(&pool->wake_fd);
    pthread_cond_destroy(&pool->changed);
    pthread_mutex_destroy(&pool->lock);
    mem_free(pool->name);
    mem_free(pool->program);
    mem_free(pool->temp_dir);
    mem_free(pool);
}

static enum status copy_names(struct engine_pool *pool, struct err *err)
{
    pool->name = mem_strndup(pool->opts.name, strlen(pool->opts.name));
    if (pool->name == NULL) {
        return err_no_memory(err);
    }
    pool->opts.name = pool->name;
    if (pool->opts.program == NULL) {
        TRY(engine_program_find(&pool->program, err));
    } else {
        pool->program = mem_strndup(pool->opts.program, strlen(pool->opts.program));
        if (pool->program == NULL) {
            return err_no_memory(err);
        }
    }
    pool->opts.program = pool->program;
    if (access(pool->program, X_OK) != 0) {
        return err_errno(err, errno, "the engine's program '%s'", pool->program);
    }
    if (pool->opts.temp_dir != NULL) {
        TRY(engine_spill_open(pool->opts.temp_dir, pool->name, &pool->temp_dir,
                              &pool->spill_lock_fd, err));
    }
    pool->opts.temp_dir = pool->temp_dir;
    return OK;
}

static enum status start_threads(struct engine_pool *pool, struct err *err)
{
    pool->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (pool->wake_fd < 0) {
        return err_errno(err, errno, "eventfd");
    }
    const struct pool_opts calls = { .name = "engine-call", .threads = pool->opts.call_threads };
    TRY(pool_start(&calls, &pool->call_pool, err));
    int failed = pthread_create(&pool->monitor, NULL, engine_monitor, pool);
    if (failed != 0) {
        return err_errno(err, failed, "thread of the engine pool");
    }
    return OK;
}

enum status engine_pool_open(const struct engine_pool_opts *opts, struct engine_pool **out,
                             struct err *err)
{
    struct engine_pool *pool = mem_zalloc(sizeof(*pool));
    if (pool == NULL) {
        return err_no_memory(err);
    }
    pool->opts = *opts;
    pool->holders = 1;
    pool->wake_fd = -1;
    pool->spill_lock_fd = -1;
    set_defaults(&pool->opts);
    pool->address_bytes = address_space(&pool->opts);
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->changed, NULL);
    for (unsigned i = 0; i < ENGINES_MAX; i++) {
        pool->children[i].control_fd = -1;
        pool->children[i].statm_fd = -1;
    }
    enum status kind = copy_names(pool, err);
    if (kind == OK) {
        make_metrics(pool);
        kind = start_threads(pool, err);
    }
    if (kind != OK) {
        pool_free(pool);
        return kind;
    }
    *out = pool;
    return OK;
}

void engine_pool_close(struct engine_pool *pool)
{
    if (pool == NULL) {
        return;
    }
    pthread_mutex_lock(&pool->lock);
    pool->stopping = true;
    engine_wake(pool);
    pthread_mutex_unlock(&pool->lock);
    pthread_join(pool->monitor, NULL);
    engine_pool_release(pool);
}

void engine_pool_release(struct engine_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    bool last = --pool->holders == 0;
    pthread_mutex_unlock(&pool->lock);
    if (last) {
        pool_free(pool);
    }
}

enum status engine_pool_ready(struct engine_pool *pool, struct err *err)
{
    const int64_t recent_ms = 5000;
    pthread_mutex_lock(&pool->lock);
    bool up = engine_count(pool, CHILD_IDLE) + engine_count(pool, CHILD_BUSY) +
                  engine_count(pool, CHILD_CANCELING) >
              0;
    bool was_up = pool->up_last_ms > 0 &&
                  clock_mono_ms(clock_real()) - pool->up_last_ms < recent_ms;
    /* one has shown that it starts, and the spares were let go for lack of work */
    bool resting = pool->first_up_ms > 0 && pool->start_failures == 0;
    struct err why = pool->start_err;
    pthread_mutex_unlock(&pool->lock);
    if (up || was_up || resting) {
        return OK;
    }
    return err_set(err, E_UNAVAILABLE, "no engine is up%s%s", why.kind == OK ? " yet" : ": ",
                   why.kind == OK ? "" : why.msg);
}

unsigned engine_count(const struct engine_pool *pool, enum child_state state)
{
    unsigned count = 0;
    for (unsigned i = 0; i < pool->opts.engines_max; i++) {
        count += pool->children[i].state == state;
    }
    return count;
}

void engine_wake(struct engine_pool *pool)
{
    uint64_t one = 1;
    ssize_t written = write(pool->wake_fd, &one, sizeof(one));
    (void)written; /* full means that it is awake anyway */
}

void engine_enqueue(struct engine_pool *pool, struct engine_run *run, bool front)
{
    run->state = RUN_QUEUED;
    run->child = NULL;
    run->next = front ? pool->queue_first : NULL;
    if (front) {
        pool->queue_first = run;
        pool->queue_last = pool->queue_last == NULL ? run : pool->queue_last;
    } else if (pool->queue_last == NULL) {
        pool->queue_first = pool->queue_last = run;
    } else {
        pool->queue_last->next = run;
        pool->queue_last = run;
    }
    pool->queue_count++;
    metric_set(pool->metrics.queued, (double)pool->queue_count);
}

void engine_unqueue(struct engine_pool *pool, struct engine_run *run)
{
    struct engine_run *before = NULL;
    for (struct engine_run *at = pool->queue_first; at != NULL; before = at, at = at->next) {
        if (at != run) {
            continue;
        }
        *(before == NULL ? &pool->queue_first : &before->next) = run->next;
        if (pool->queue_last == run) {
            pool->queue_last = before;
        }
        run->next = NULL;
        pool->queue_count--;
        metric_set(pool->metrics.queued, (double)pool->queue_count);
        return;
    }
}

/** Send the job; a child that does not take it is no child of ours any more. */
static bool hand_over(struct engine_pool *pool, struct engine_child *child, struct engine_run *run)
{
    int fds[WIRE_FDS_MAX] = { run->peer_fd, run->payload_fd };
    for (size_t i = 0; i < run->job.fd_count; i++) {
        fds[2 + i] = run->job.fds[i];
    }
    uint64_t number = ++pool->job_last;
    const struct wire_head head = { .type = WIRE_JOB, .job = number, .b = run->payload_bytes };
    if (wire_send(child->control_fd, &head, str_of(run->kind), fds, 2 + run->job.fd_count, false,
                  NULL) != OK) {
        engine_child_kill(pool, child, KILL_PROTOCOL);
        return false;
    }
    fd_done(&run->peer_fd); /* so that the child's death is the end of the stream */
    child->state = CHILD_BUSY;
    child->job = number;
    child->run = run;
    run->state = RUN_RUNNING;
    run->child = child;
    return true;
}

void engine_dispatch(struct engine_pool *pool)
{
    for (unsigned i = 0; i < pool->opts.engines_max && pool->queue_first != NULL; i++) {
        struct engine_child *child = &pool->children[i];
        if (child->state != CHILD_IDLE) {
            continue;
        }
        struct engine_run *run = pool->queue_first;
        if (hand_over(pool, child, run)) {
            engine_unqueue(pool, run);
        }
    }
    metric_set(pool->metrics.busy,
               engine_count(pool, CHILD_BUSY) + engine_count(pool, CHILD_CANCELING));
}
