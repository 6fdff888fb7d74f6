/*
 * The one thread that watches a pool: it starts children (PR_SET_PDEATHSIG is tied to the thread
 * that starts them), hears what they say on their control sockets, holds jobs to their deadlines
 * and children to their memory, reaps, and keeps spares.
 *
 * The end of a control socket is the sign that a child has gone; it is killed then in any case, and
 * waitpid, which is asked only about children that were seen dying, tells how it ended. A pid is
 * signalled only before it was reaped, so it is always ours.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "engine/engine_priv.h"

enum { REAP_MS = 5, LOOK_MS = 10 * 1000, MESSAGES_A_TURN = 16 };

static int64_t now_ms(void)
{
    return clock_mono_ms(clock_real());
}

void engine_child_kill(struct engine_pool *pool, struct engine_child *child,
                       enum kill_reason reason)
{
    if (child->state == CHILD_DYING || child->state == CHILD_NONE || child->pid <= 0) {
        return;
    }
    kill(child->pid, SIGKILL);
    child->state = CHILD_DYING;
    child->reason = reason;
    metric_add(pool->metrics.killed[reason], 1);
    engine_wake(pool);
}

void engine_child_cancel(struct engine_pool *pool, struct engine_child *child)
{
    struct engine_run *run = child->run;
    child->run = NULL;
    run->child = NULL;
    if (child->state != CHILD_BUSY) {
        return;
    }
    child->state = CHILD_CANCELING;
    child->kill_at = deadline_in(CANCEL_GRACE_MS);
    const struct wire_head head = { .type = WIRE_CANCEL, .job = child->job };
    if (wire_send(child->control_fd, &head, STR_EMPTY, NULL, 0, false, NULL) != OK) {
        engine_child_kill(pool, child, KILL_PROTOCOL);
    }
    engine_wake(pool);
}

/* --- what a child says --- */

static void child_ready(struct engine_pool *pool, struct engine_child *child)
{
    child->state = CHILD_IDLE;
    child->idle_since_ms = now_ms();
    pool->up_last_ms = child->idle_since_ms;
    pool->first_up_ms = pool->first_up_ms > 0 ? pool->first_up_ms : child->idle_since_ms;
    pool->start_failures = 0;
    pool->start_not_before = 0;
    pool->start_err.kind = OK;
    engine_dispatch(pool);
}

/** The job has ended; the rest of its frames may lie in a file. */
static void child_idle(struct engine_pool *pool, struct engine_child *child,
                       struct wire_message *message)
{
    struct engine_run *run = child->run;
    if (run != NULL) {
        if (message->fd_count > 0) {
            run->spool_fd = message->fds[0];
            run->spool_at = message->head.b;
            message->fds[0] = -1;
        }
        run->state = RUN_ENDED;
        run->child = NULL;
        /* when its caller saw the end of the socket before us: it goes on with the spool */
        fd_done(&run->peer_fd);
    }
    child->run = NULL;
    child->lost_seen = false;
    child->state = CHILD_IDLE;
    child->idle_since_ms = now_ms();
    engine_dispatch(pool);
}

/** False when it said what it may not say now. */
static bool child_said(struct engine_pool *pool, struct engine_child *child,
                       struct wire_message *message)
{
    bool at_work = child->state == CHILD_BUSY || child->state == CHILD_CANCELING;
    switch (message->head.type) {
    case WIRE_READY:
        if (child->state != CHILD_STARTING) {
            return false;
        }
        child_ready(pool, child);
        return true;
    case WIRE_FAILED:
        err_set(&pool->start_err, E_UNAVAILABLE, "%.*s", (int)message->body_len, message->body);
        return child->state == CHILD_STARTING;
    case WIRE_IDLE:
        if (!at_work || message->head.job != child->job) {
            return false;
        }
        child_idle(pool, child, message);
        return true;
    case WIRE_PROGRESS: /* one may come late, after its job has ended */
        if (at_work && message->head.job == child->job && child->run != NULL) {
            child->run->progress.rows = message->head.b;
            child->run->progress.share = message->head.a <= 10000 ? message->head.a / 10000.0 : -1;
        }
        return child->state != CHILD_STARTING;
    case WIRE_CALL:
        if (!at_work) {
            return false;
        }
        engine_call_begin(pool, child, message);
        return true;
    default:
        return false;
    }
}

/** It has died, or closed a socket that it may not close, which comes to the same. */
static void child_gone(struct engine_child *child)
{
    kill(child->pid, SIGKILL);
    child->state = CHILD_DYING;
}

static bool may_call(const struct engine_child *child)
{
    return child->run == NULL || child->run->call_count < CALLS_PER_JOB_MAX;
}

static void child_listen(struct engine_pool *pool, struct engine_child *child,
                         struct wire_message *message)
{
    for (unsigned i = 0; i < MESSAGES_A_TURN && child->state != CHILD_DYING && may_call(child);
         i++) {
        enum wire_got got = wire_recv(child->control_fd, false, message);
        if (got == WIRE_NOTHING) {
            return;
        }
        if (got == WIRE_GONE) {
            child_gone(child);
            return;
        }
        bool fine = child_said(pool, child, message);
        wire_message_done(message);
        if (!fine) {
            engine_child_kill(pool, child, KILL_PROTOCOL);
        }
    }
}

/* --- the end of a child --- */

static void say_how_it_died(struct engine_pool *pool, const struct engine_child *child,
                            int wait_status, struct err *err)
{
    bool full = pool->address_bytes > 0 &&
                child->virtual_bytes > pool->address_bytes - pool->address_bytes / 8;
    if (WIFSIGNALED(wait_status) && full && WTERMSIG(wait_status) != SIGKILL) {
        err_set(err, E_NO_MEMORY,
                "the statement needs more memory than an engine may have (%llu MiB)",
                (unsigned long long)(pool->opts.memory_limit_bytes >> 20));
    } else if (WIFSIGNALED(wait_status)) {
        err_set(err, E_INTERNAL, "the engine process that ran this was ended by signal %d%s",
                WTERMSIG(wait_status),
                WTERMSIG(wait_status) == SIGKILL
                    ? " (from outside, perhaps by the system for lack of memory)"
                    : "");
    } else {
        err_set(err, E_INTERNAL, "the engine process that ran this ended by itself with code %d",
                WEXITSTATUS(wait_status));
    }
}

static void back_off(struct engine_pool *pool, int wait_status)
{
    const int64_t first_ms = 100;
    const unsigned doublings_max = 7; /* 12.8 s */
    unsigned failures = pool->start_failures++;
    pool->start_not_before = deadline_in(first_ms
                                         << (failures > doublings_max ? doublings_max : failures));
    if (pool->start_err.kind == OK) {
        err_set(&pool->start_err, E_UNAVAILABLE, "the engine process ends at its start (%s %d)",
                WIFSIGNALED(wait_status) ? "signal" : "code",
                WIFSIGNALED(wait_status) ? WTERMSIG(wait_status) : WEXITSTATUS(wait_status));
    }
    LOG(LOG_ERROR, "engine_not_started", L_CSTR("pool", pool->name),
        L_CSTR("reason", pool->start_err.msg));
}

/** A dead child: its slot is free again, its job is decided. */
static void child_reaped(struct engine_pool *pool, struct engine_child *child, int wait_status)
{
    struct engine_run *run = child->run;
    if (child->reason == KILL_NONE && child->job > 0) {
        metric_add(pool->metrics.crashed, 1);
        LOG(LOG_WARN, "engine_died", L_CSTR("pool", pool->name), L_I64("pid", child->pid),
            L_I64("signal", WIFSIGNALED(wait_status) ? WTERMSIG(wait_status) : 0),
            L_I64("code", WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 0));
    }
    bool came_up = child->idle_since_ms > 0 || child->job > 0;
    if (came_up) {
        pool->up_last_ms = now_ms();
    } else if (child->reason != KILL_CLOSE) {
        back_off(pool, wait_status);
    }
    if (run != NULL) {
        say_how_it_died(pool, child, wait_status, &run->outcome_err);
        run->child = NULL;
        if (run->state == RUN_LOST) {
            engine_run_decide(run); /* its caller has a fresh socket already */
        } else {
            run->state = RUN_LOST; /* its caller meets the end of the stream and decides */
        }
    }
    fd_done(&child->control_fd);
    fd_done(&child->statm_fd);
    *child = (struct engine_child){ .state = CHILD_NONE, .control_fd = -1, .statm_fd = -1 };
}

static void reap(struct engine_pool *pool)
{
    for (unsigned i = 0; i < pool->opts.engines_max; i++) {
        struct engine_child *child = &pool->children[i];
        int wait_status = 0;
        if (child->state == CHILD_DYING &&
            waitpid(child->pid, &wait_status, WNOHANG) == child->pid) {
            child_reaped(pool, child, wait_status);
        }
    }
}

/* --- limits --- */

static void look_at_memory(struct engine_child *child)
{
    char text[128];
    ssize_t got = child->statm_fd < 0 ? -1 : pread(child->statm_fd, text, sizeof(text) - 1, 0);
    if (got <= 0) {
        return;
    }
    text[got] = '\0';
    char *end = NULL;
    unsigned long long size = strtoull(text, &end, 10);
    unsigned long long resident = strtoull(end, NULL, 10);
    uint64_t page = (uint64_t)sysconf(_SC_PAGE_SIZE);
    child->virtual_bytes = size * page;
    child->resident_bytes = resident * page;
}

/** End a running job for a reason of ours: the caller hears it at once, the child has its
 * second. */
static void give_up(struct engine_pool *pool, struct engine_child *child, enum status kind)
{
    struct engine_run *run = child->run;
    engine_child_cancel(pool, child);
    engine_run_end(run, kind);
}

static void hold_to_memory(struct engine_pool *pool, struct engine_child *child)
{
    look_at_memory(child);
    uint64_t limit = pool->opts.resident_max_bytes;
    if (child->state == CHILD_IDLE && child->resident_bytes > limit / 2) {
        engine_child_kill(pool, child, KILL_MEMORY); /* what its last job left behind */
        return;
    }
    if (child->resident_bytes <= limit) {
        return;
    }
    struct engine_run *run = child->run;
    if (run != NULL) {
        err_set(&run->outcome_err, E_NO_MEMORY,
                "the statement took %llu MiB of memory; its limit is %llu MiB",
                (unsigned long long)(child->resident_bytes >> 20),
                (unsigned long long)(pool->opts.memory_limit_bytes >> 20));
        child->run = NULL;
        engine_run_end(run, E_NO_MEMORY);
    }
    engine_child_kill(pool, child, KILL_MEMORY);
}

/** Whether spares are worth their memory. */
static bool in_use(const struct engine_pool *pool)
{
    if (pool->job_last_ms > 0) {
        return now_ms() - pool->job_last_ms < USED_MS;
    }
    return pool->first_up_ms == 0 || now_ms() - pool->first_up_ms < UNUSED_MS;
}

static void hold_child(struct engine_pool *pool, struct engine_child *child)
{
    switch (child->state) {
    case CHILD_NONE:
    case CHILD_DYING:
        return;
    case CHILD_STARTING:
        if (child->pid > 0 && deadline_passed(child->kill_at)) {
            engine_child_kill(pool, child, KILL_START);
        }
        return;
    case CHILD_CANCELING:
        if (deadline_passed(child->kill_at)) {
            engine_child_kill(pool, child, KILL_IGNORED_CANCEL);
            return;
        }
        break;
    case CHILD_BUSY:
        /* it was heard since, and did not say that the job has ended */
        if (child->run->state == RUN_LOST && child->lost_seen) {
            child_gone(child);
            return;
        }
        child->lost_seen = child->run->state == RUN_LOST;
        if (deadline_passed(child->run->job.deadline)) {
            err_set(&child->run->outcome_err, E_TIMEOUT,
                    "the statement did not end within its time limit of %lld s",
                    (long long)((clock_now_us() - child->run->start_us + 500000) / 1000000));
            give_up(pool, child, E_TIMEOUT);
        }
        break;
    case CHILD_IDLE:
        if (!in_use(pool) || (engine_count(pool, CHILD_IDLE) > pool->opts.spare &&
                              now_ms() - child->idle_since_ms > IDLE_SURPLUS_MS)) {
            engine_child_kill(pool, child, KILL_SURPLUS);
            return;
        }
        break;
    }
    hold_to_memory(pool, child);
}

/** Jobs that wait too long, or for children that do not come. */
static void hold_queue(struct engine_pool *pool)
{
    const unsigned failures_max = 3;
    unsigned up = engine_count(pool, CHILD_BUSY) + engine_count(pool, CHILD_CANCELING) +
                  engine_count(pool, CHILD_IDLE);
    bool hopeless = up == 0 && pool->start_failures >= failures_max;
    for (struct engine_run *run = pool->queue_first, *next; run != NULL; run = next) {
        next = run->next;
        if (hopeless) {
            err_set(&run->outcome_err, E_UNAVAILABLE, "no engine starts: %s", pool->start_err.msg);
            engine_run_end(run, E_UNAVAILABLE);
        } else if (deadline_passed(run->job.deadline)) {
            err_set(&run->outcome_err, E_TIMEOUT, "no engine was free before the time limit");
            engine_run_end(run, E_TIMEOUT);
        }
    }
}

/* --- starting --- */

/** A free slot when one more child is wanted now, else -1. It is then STARTING without a pid. */
static int slot_to_start(struct engine_pool *pool)
{
    unsigned starting = engine_count(pool, CHILD_STARTING);
    bool spare_missing = engine_count(pool, CHILD_IDLE) + starting < pool->opts.spare;
    bool wanted = (spare_missing && in_use(pool)) || pool->queue_count > starting;
    if (!wanted || !deadline_passed(pool->start_not_before)) {
        return -1;
    }
    for (unsigned i = 0; i < pool->opts.engines_max; i++) {
        if (pool->children[i].state == CHILD_NONE) {
            pool->children[i].state = CHILD_STARTING;
            return (int)i;
        }
    }
    return -1;
}

static void start_child(struct engine_pool *pool, unsigned slot)
{
    pid_t pid = 0;
    int control_fd = -1;
    struct err err = { 0 };
    enum status kind = engine_spawn(pool, slot, &pid, &control_fd, &err);
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/statm", (int)pid);
    int statm_fd = kind == OK ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    pthread_mutex_lock(&pool->lock);
    struct engine_child *child = &pool->children[slot];
    if (kind == OK) {
        child->pid = pid;
        child->control_fd = control_fd;
        child->statm_fd = statm_fd;
        child->kill_at = deadline_in(START_LIMIT_MS);
        metric_add(pool->metrics.started, 1);
    } else {
        child->state = CHILD_NONE;
        pool->start_err = err;
        back_off(pool, 0);
    }
    pthread_mutex_unlock(&pool->lock);
}

/* --- the loop --- */

struct watch {
    struct pollfd fds[ENGINES_MAX + 1];
    unsigned slots[ENGINES_MAX + 1];
    unsigned count;
};

static int sooner(int a_ms, int64_t b_ms)
{
    return b_ms < a_ms ? (int)(b_ms < 0 ? 0 : b_ms) : a_ms;
}

/** How long nothing needs a look, if no socket speaks. */
static int quiet_ms(struct engine_pool *pool)
{
    int ms = LOOK_MS;
    for (unsigned i = 0; i < pool->opts.engines_max; i++) {
        const struct engine_child *child = &pool->children[i];
        if (child->state == CHILD_BUSY) {
            ms = sooner(ms, child->lost_seen ? 0 : MEMORY_CHECK_MS);
            ms = sooner(ms, deadline_poll_ms(child->run->job.deadline) >= 0
                                ? deadline_poll_ms(child->run->job.deadline)
                                : ms);
        } else if (child->state == CHILD_CANCELING || child->state == CHILD_STARTING) {
            ms = sooner(ms, MEMORY_CHECK_MS);
        } else if (child->state == CHILD_DYING) {
            ms = sooner(ms, REAP_MS);
        }
    }
    if (pool->queue_first != NULL || pool->start_failures > 0) {
        ms = sooner(ms, MEMORY_CHECK_MS);
    }
    return ms;
}

static void watch_prepare(struct engine_pool *pool, struct watch *watch)
{
    watch->fds[0] = (struct pollfd){ .fd = pool->wake_fd, .events = POLLIN };
    watch->count = 1;
    for (unsigned i = 0; i < pool->opts.engines_max; i++) {
        const struct engine_child *child = &pool->children[i];
        if (child->state == CHILD_NONE || child->state == CHILD_DYING || child->pid <= 0) {
            continue;
        }
        watch->slots[watch->count] = i;
        watch->fds[watch->count++] = (struct pollfd){ .fd = child->control_fd,
                                                      .events = may_call(child) ? POLLIN : 0 };
    }
}

static void watch_handle(struct engine_pool *pool, struct watch *watch,
                         struct wire_message *message)
{
    if (watch->fds[0].revents != 0) {
        uint64_t count;
        ssize_t got = read(pool->wake_fd, &count, sizeof(count));
        (void)got; /* not blocking; empty is fine */
    }
    for (unsigned i = 1; i < watch->count; i++) {
        struct engine_child *child = &pool->children[watch->slots[i]];
        if (watch->fds[i].revents != 0 && child->control_fd == watch->fds[i].fd) {
            child_listen(pool, child, message);
        }
    }
}

static void hold_all(struct engine_pool *pool)
{
    for (unsigned i = 0; i < pool->opts.engines_max; i++) {
        hold_child(pool, &pool->children[i]);
    }
    reap(pool);
    hold_queue(pool);
    unsigned busy = engine_count(pool, CHILD_BUSY) + engine_count(pool, CHILD_CANCELING);
    metric_set(pool->metrics.busy, busy);
    metric_set(pool->metrics.up, busy + engine_count(pool, CHILD_IDLE));
}

/** Every run ends, every child dies. With the lock held. */
static void stop_all(struct engine_pool *pool)
{
    for (struct engine_run *run = pool->queue_first, *next; run != NULL; run = next) {
        next = run->next;
        err_set(&run->outcome_err, E_UNAVAILABLE, "the server is stopping");
        engine_run_end(run, E_UNAVAILABLE);
    }
    for (unsigned i = 0; i < pool->opts.engines_max; i++) {
        struct engine_child *child = &pool->children[i];
        struct engine_run *run = child->run;
        if (run != NULL) {
            err_set(&run->outcome_err, E_UNAVAILABLE, "the server is stopping");
            child->run = NULL;
            engine_run_end(run, E_UNAVAILABLE);
        }
        engine_child_kill(pool, child, KILL_CLOSE);
    }
}

static void reap_all(struct engine_pool *pool)
{
    for (unsigned i = 0; i < pool->opts.engines_max; i++) {
        struct engine_child *child = &pool->children[i];
        int wait_status = 0;
        while (child->state == CHILD_DYING && waitpid(child->pid, &wait_status, 0) < 0 &&
               errno == EINTR) {
        }
        if (child->state == CHILD_DYING) {
            child_reaped(pool, child, wait_status);
        }
    }
}

void *engine_monitor(void *arg)
{
    struct engine_pool *pool = arg;
    struct wire_message message; /* 48 KiB */
    struct watch watch;
    pthread_mutex_lock(&pool->lock);
    while (!pool->stopping) {
        hold_all(pool);
        int slot = slot_to_start(pool);
        if (slot >= 0) {
            pthread_mutex_unlock(&pool->lock);
            start_child(pool, (unsigned)slot);
            pthread_mutex_lock(&pool->lock);
        }
        watch_prepare(pool, &watch);
        int timeout_ms = slot >= 0 ? 0 : quiet_ms(pool);
        pthread_mutex_unlock(&pool->lock);
        poll(watch.fds, watch.count, timeout_ms);
        pthread_mutex_lock(&pool->lock);
        watch_handle(pool, &watch, &message);
    }
    stop_all(pool);
    reap_all(pool);
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}
