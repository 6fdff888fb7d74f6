/*
 * A job as its caller sees it: start, read frames, free.
 *
 * The caller reads the child's stream directly, so that a slow caller holds back its own child and
 * nothing else. The stream's end before a DONE or ERROR frame means one of three things. The
 * monitor has ended the run: then its outcome is there. The frames go on in a spool, a file that
 * the child left behind. Or the child has died: then the caller gets a fresh socket to wait on, and
 * the monitor decides, once it knows how the child ended, whether the job runs again over that
 * socket or the socket is closed with an outcome.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "engine/engine_priv.h"

enum { READ_BYTES = 256 * 1024 };

/** A fresh data socket: our end does not block. */
static enum status open_data(int *ours_out, int *peer_out, struct err *err)
{
    int fds[2];
    TRY(wire_pair(SOCK_STREAM, fds, err));
    enum status kind = io_nonblock(fds[0], err);
    if (kind != OK) {
        close(fds[0]);
        close(fds[1]);
        return kind;
    }
    *ours_out = fds[0];
    *peer_out = fds[1];
    return OK;
}

static void run_destroy(struct engine_run *run)
{
    fd_done(&run->data_fd);
    fd_done(&run->peer_fd);
    fd_done(&run->payload_fd);
    fd_done(&run->spool_fd);
    for (size_t i = 0; i < run->job.fd_count; i++) {
        fd_done(&run->job.fds[i]);
    }
    buf_done(&run->rx);
    mem_free(run);
}

/** Everything that the run owns; on failure it is in a state that run_destroy takes. */
static enum status run_fill(struct engine_run *run, const struct engine_job *job, struct err *err)
{
    if (strlen(job->kind) >= sizeof(run->kind) || job->fd_count > ENGINE_FDS_MAX) {
        return err_set(err, E_INTERNAL, "a job of kind '%s' with %zu descriptors", job->kind,
                       job->fd_count);
    }
    memcpy(run->kind, job->kind, strlen(job->kind) + 1);
    run->job.kind = run->kind;
    run->job.payload = STR_EMPTY;
    if (job->payload.len > WIRE_PAYLOAD_MAX) {
        return err_set(err, E_TOO_LARGE, "a job of %zu bytes", job->payload.len);
    }
    run->payload_bytes = job->payload.len;
    TRY(wire_memory_file(job->payload, &run->payload_fd, err));
    run->job.fd_count = 0;
    for (size_t i = 0; i < job->fd_count; i++) {
        int copy = fcntl(job->fds[i], F_DUPFD_CLOEXEC, 0);
        if (copy < 0) {
            return err_errno(err, errno, "descriptor of an engine job");
        }
        run->job.fds[run->job.fd_count++] = copy;
    }
    return open_data(&run->data_fd, &run->peer_fd, err);
}

/** Into the pool, or the reason why not. */
static enum status admit(struct engine_pool *pool, struct engine_run *run, struct err *err)
{
    enum status kind = OK;
    pthread_mutex_lock(&pool->lock);
    if (pool->stopping) {
        kind = err_set(err, E_UNAVAILABLE, "the server is stopping");
    } else if (run->job.only_if_idle &&
               (pool->queue_first != NULL || engine_count(pool, CHILD_IDLE) == 0)) {
        kind = err_set(err, E_UNAVAILABLE, "no engine is idle");
    } else if (pool->queue_count >= pool->opts.queue_max) {
        kind = err_set(err, E_UNAVAILABLE, "%zu jobs wait for an engine already (at most %zu)",
                       pool->queue_count, pool->opts.queue_max);
        if (err != NULL) {
            err->retry_after_s = 1;
        }
    } else {
        pool->holders++;
        pool->job_last_ms = clock_mono_ms(clock_real());
        engine_enqueue(pool, run, false);
        engine_dispatch(pool);
        engine_wake(pool); /* for the deadline, the memory watch, and a fresh spare */
    }
    pthread_mutex_unlock(&pool->lock);
    return kind;
}

enum status engine_start(struct engine_pool *pool, const struct engine_job *job,
                         struct engine_run **out, struct err *err)
{
    struct engine_run *run = mem_zalloc(sizeof(*run));
    if (run == NULL) {
        return err_no_memory(err);
    }
    run->pool = pool;
    run->job = *job;
    run->data_fd = run->peer_fd = run->payload_fd = run->spool_fd = -1;
    run->start_us = clock_now_us();
    run->progress.share = -1;
    buf_init(&run->rx, 2 * WIRE_FRAME_MAX);
    enum status kind = run_fill(run, job, err);
    if (kind == OK) {
        kind = admit(pool, run, err);
    }
    if (kind != OK) {
        run_destroy(run);
        return kind;
    }
    *out = run;
    return OK;
}

void engine_run_count(struct engine_run *run, enum status kind)
{
    if (run->counted) {
        return;
    }
    run->counted = true;
    struct engine_pool *pool = run->pool;
    struct engine_metrics *m = &pool->metrics;
    metric_observe(m->job_seconds, (double)(clock_now_us() - run->start_us) / 1e6);
    if (pool->opts.metrics != NULL && m->jobs[kind] == NULL) {
        char labels[128];
        snprintf(labels, sizeof(labels), "pool=\"%s\",outcome=\"%s\"", pool->name,
                 kind == OK ? "ok" : status_name(kind));
        m->jobs[kind] = metric_get(pool->opts.metrics, METRIC_COUNTER,
                                   "lakehouse_engine_jobs_total", labels,
                                   "Jobs that ended, by outcome");
    }
    metric_add(m->jobs[kind], 1);
}

void engine_run_end(struct engine_run *run, enum status kind)
{
    if (run->state == RUN_QUEUED) {
        engine_unqueue(run->pool, run);
    }
    run->state = RUN_ENDED;
    run->child = NULL;
    run->outcome = kind;
    fd_done(&run->peer_fd);
    if (run->data_fd >= 0) {
        shutdown(run->data_fd, SHUT_RDWR); /* wakes the caller; what is there can still be read */
    }
}

/** Remember how it ended: every further read says the same. */
static enum status run_ended(struct engine_run *run, enum status kind, struct err *err)
{
    run->end = kind;
    pthread_mutex_lock(&run->pool->lock);
    engine_run_count(run, kind);
    pthread_mutex_unlock(&run->pool->lock);
    if (err != NULL) {
        *err = run->end_err;
    }
    return kind;
}

void engine_run_decide(struct engine_run *run)
{
    bool again = !run->head_read && run->tries == 0 && run->outcome_err.kind != E_NO_MEMORY &&
                 !run->pool->stopping;
    if (!again) {
        engine_run_end(run, run->outcome_err.kind);
        return;
    }
    run->tries++;
    metric_add(run->pool->metrics.retries, 1);
    engine_enqueue(run->pool, run, true);
    engine_dispatch(run->pool);
}

/** With the lock held: the stream broke off and nothing is known yet, or it is known that the child
 * died. The run goes on over a fresh socket. */
static void stream_lost(struct engine_run *run, int fresh, int peer)
{
    close(run->data_fd);
    run->data_fd = fresh;
    run->peer_fd = peer;
    run->rx_ended = true;
    bool dead = run->state == RUN_LOST && run->child == NULL;
    run->state = RUN_LOST;
    if (dead) {
        engine_run_decide(run);
    }
    engine_wake(run->pool);
}

/** The stream has ended without a last frame: see the top of this file. */
static enum status stream_ended(struct engine_run *run, struct err *err)
{
    struct engine_pool *pool = run->pool;
    int fresh = -1;
    int peer = -1;
    enum status kind = open_data(&fresh, &peer, &run->end_err);
    pthread_mutex_lock(&pool->lock);
    if (run->state != RUN_ENDED && kind == OK) {
        stream_lost(run, fresh, peer);
        pthread_mutex_unlock(&pool->lock);
        return OK;
    }
    if (run->state == RUN_ENDED && run->outcome != OK) {
        kind = run->outcome;
        run->end_err = run->outcome_err;
    } else if (run->state == RUN_ENDED) {
        kind = err_set(&run->end_err, E_INTERNAL, "the engine ended its answer before the end");
    }
    pthread_mutex_unlock(&pool->lock);
    fd_done(&fresh);
    fd_done(&peer);
    return run_ended(run, kind, err);
}

/** More bytes of the spool, if there is one. */
static enum status read_spool(struct engine_run *run, char *into, size_t cap, size_t *got_out,
                              struct err *err)
{
    pthread_mutex_lock(&run->pool->lock);
    int fd = run->spool_fd;
    pthread_mutex_unlock(&run->pool->lock);
    *got_out = 0;
    if (fd < 0) {
        return OK;
    }
    TRY(io_pread(fd, into, cap, run->spool_at, got_out, err));
    run->spool_at += *got_out;
    return OK;
}

/** Bytes after a stream that broke off: of its spool, they go on; of another child, what is in rx
 * was never whole. */
static void forget_broken(struct engine_run *run)
{
    pthread_mutex_lock(&run->pool->lock);
    unsigned tries = run->tries;
    pthread_mutex_unlock(&run->pool->lock);
    if (tries != run->rx_tries) {
        buf_clear(&run->rx);
    }
    run->rx_tries = tries;
    run->rx_ended = false;
}

enum { FILLED, FILL_EMPTY, FILL_END };

/** Take what the socket has. */
static enum status fill(struct engine_run *run, int *how_out, struct err *err)
{
    char *into = buf_reserve(&run->rx, READ_BYTES);
    if (into == NULL) {
        return err_no_memory(err);
    }
    for (;;) {
        ssize_t got = recv(run->data_fd, into, READ_BYTES, MSG_DONTWAIT);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            *how_out = FILL_EMPTY;
            return OK;
        }
        size_t count = got > 0 ? (size_t)got : 0;
        if (count == 0) {
            TRY(read_spool(run, into, READ_BYTES, &count, err));
        }
        if (count > 0 && run->rx_ended) {
            forget_broken(run);
            memmove(run->rx.ptr + run->rx.len, into, count);
        }
        run->rx.len += count;
        *how_out = count > 0 ? FILLED : FILL_END;
        return OK;
    }
}

/** The frame at the front of rx, if it is whole. */
static enum status take_frame(struct engine_run *run, struct engine_frame *frame, struct err *err)
{
    frame->type = ENGINE_NOTHING_YET;
    frame->bytes = STR_EMPTY;
    if (run->rx.len < WIRE_FRAME_HEAD) {
        return OK;
    }
    enum wire_frame type;
    size_t len;
    if (!wire_frame_parse(run->rx.ptr, &type, &len)) {
        return err_set(err, E_INTERNAL, "the engine sent something that is no answer");
    }
    if (run->rx.len - WIRE_FRAME_HEAD < len) {
        return OK;
    }
    run->rx_used = WIRE_FRAME_HEAD + len;
    frame->bytes = str_from(run->rx.ptr + WIRE_FRAME_HEAD, len);
    switch (type) {
    case WIRE_FRAME_HEAD_JSON:
        frame->type = ENGINE_HEAD;
        break;
    case WIRE_FRAME_DATA:
        frame->type = ENGINE_DATA;
        break;
    case WIRE_FRAME_DONE:
        frame->type = ENGINE_DONE;
        break;
    case WIRE_FRAME_ERROR:
        return wire_error_read(frame->bytes, err);
    }
    return OK;
}

/** Notes of a frame that goes to the caller. */
static void note_frame(struct engine_run *run, const struct engine_frame *frame)
{
    if (frame->type == ENGINE_DONE) {
        run->done = true;
        (void)run_ended(run, OK, NULL);
        return;
    }
    pthread_mutex_lock(&run->pool->lock);
    run->head_read = true;
    pthread_mutex_unlock(&run->pool->lock);
}

/** A kill or a deadline that the child has already answered to by itself is told in the parent's
 * words. */
static enum status own_words(struct engine_run *run, enum status kind)
{
    pthread_mutex_lock(&run->pool->lock);
    if (run->state == RUN_ENDED && run->outcome != OK) {
        kind = run->outcome;
        run->end_err = run->outcome_err;
    }
    pthread_mutex_unlock(&run->pool->lock);
    return kind;
}

enum status engine_read(struct engine_run *run, struct engine_frame *frame_out, struct err *err)
{
    frame_out->type = run->done ? ENGINE_DONE : ENGINE_NOTHING_YET;
    frame_out->bytes = STR_EMPTY;
    if (run->end != OK && err != NULL) {
        *err = run->end_err;
    }
    if (run->end != OK || run->done) {
        return run->end;
    }
    buf_consume(&run->rx, run->rx_used);
    run->rx_used = 0;
    for (;;) {
        enum status kind = take_frame(run, frame_out, &run->end_err);
        if (kind != OK) {
            return run_ended(run, own_words(run, kind), err);
        }
        if (frame_out->type != ENGINE_NOTHING_YET) {
            note_frame(run, frame_out);
            return OK;
        }
        int how = FILL_EMPTY;
        kind = fill(run, &how, &run->end_err);
        if (kind != OK) {
            return run_ended(run, kind, err);
        }
        if (how == FILL_EMPTY) {
            return OK;
        }
        if (how == FILL_END) {
            return stream_ended(run, err);
        }
    }
}

int engine_fd(const struct engine_run *run)
{
    return run->data_fd;
}

enum status engine_read_wait(struct engine_run *run, struct engine_frame *frame_out,
                             struct err *err)
{
    for (;;) {
        TRY(engine_read(run, frame_out, err));
        if (frame_out->type != ENGINE_NOTHING_YET) {
            return OK;
        }
        /* The monitor ends every run at its deadline, so this wait needs none. */
        struct pollfd wait = { .fd = engine_fd(run), .events = POLLIN };
        if (poll(&wait, 1, -1) < 0 && errno != EINTR) {
            return err_errno(err, errno, "wait for the engine");
        }
    }
}

void engine_free(struct engine_run *run)
{
    if (run == NULL) {
        return;
    }
    struct engine_pool *pool = run->pool;
    pthread_mutex_lock(&pool->lock);
    engine_run_count(run, E_CANCELED);
    if (run->state == RUN_QUEUED) {
        engine_unqueue(pool, run);
    }
    if (run->child != NULL) {
        engine_child_cancel(pool, run->child);
    }
    run->state = RUN_ENDED;
    engine_calls_end(pool, run);
    pthread_mutex_unlock(&pool->lock);
    run_destroy(run);
    engine_pool_release(pool);
}

void engine_progress(const struct engine_run *run, struct engine_progress *out)
{
    pthread_mutex_lock(&run->pool->lock);
    *out = run->progress;
    out->running = run->state == RUN_RUNNING;
    pthread_mutex_unlock(&run->pool->lock);
}

void engine_cancel(struct engine_run *run, const char *why)
{
    pthread_mutex_lock(&run->pool->lock);
    if (run->state != RUN_ENDED) {
        err_set(&run->outcome_err, E_CANCELED, "%s", why);
        if (run->child != NULL) {
            engine_child_cancel(run->pool, run->child);
        }
        engine_run_end(run, E_CANCELED);
    }
    pthread_mutex_unlock(&run->pool->lock);
}

int engine_pid(const struct engine_run *run)
{
    pthread_mutex_lock(&run->pool->lock);
    int pid = run->child == NULL ? 0 : (int)run->child->pid;
    pthread_mutex_unlock(&run->pool->lock);
    return pid;
}
