/*
 * The life of a child: jobs one after the other on the main thread, the control socket on a thread
 * of its own.
 *
 * The control thread never waits for a job, so a cancel is heard at any time; it interrupts again
 * and again until the job has ended, since an interrupt that meets DuckDB between two statements is
 * forgotten. The end of the control socket ends the process on the spot: without its server a child
 * has nothing to keep.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/io.h"
#include "base/mem.h"
#include "engine/child_io.h"

enum {
    INTERRUPT_AGAIN_MS = 20,
    PROGRESS_MS = 500, /* chosen, not measured */
    MEMORY_MS = 50,    /* between two looks; DuckDB's threads take some 20 MiB meanwhile */
    REST_MS = 1000,    /* without a job, before what is free goes back; chosen, not measured */
    JOB_ARENA_MAX = 512 * 1024 * 1024
};

static void interrupt_again(struct child_io *io)
{
    pthread_mutex_lock(&io->lock);
    if (io->canceled && io->session != NULL) {
        duck_session_interrupt(io->session);
    }
    pthread_mutex_unlock(&io->lock);
}

/** A job for the main thread. The parent sends one only after the last has ended; another is a
 * broken promise of ours. */
static void pass_job(struct child_io *io, const struct wire_message *message)
{
    struct wire_message *copy = mem_alloc(sizeof(*copy));
    if (copy == NULL) {
        _exit(1);
    }
    *copy = *message;
    pthread_mutex_lock(&io->lock);
    assert(io->next == NULL);
    io->next = copy;
    io->job = message->head.job; /* from here on a cancel finds it */
    io->running = true;
    pthread_cond_signal(&io->changed);
    pthread_mutex_unlock(&io->lock);
}

/* --- memory --- */

/** The control thread's own. */
struct care {
    int statm_fd;
    uint64_t resident_max; /* beyond it nothing that is free is kept */
    deadline_ms progress_at;
    bool rested;     /* nothing is kept since the last job */
    bool job_waited; /* a job was running when the last wait began */
};

/** Pages of our own, as the parent counts them. */
static uint64_t resident_bytes(int statm_fd)
{
    char text[128];
    ssize_t got = statm_fd < 0 ? -1 : pread(statm_fd, text, sizeof(text) - 1, 0);
    if (got <= 0) {
        return 0;
    }
    text[got] = '\0';
    struct str rest = str_trim(str_of(text));
    uint64_t resident = 0, shared = 0;
    (void)str_split(&rest, ' '); /* the size of all that is mapped */
    if (!str_to_u64(str_split(&rest, ' '), &resident) ||
        !str_to_u64(str_split(&rest, ' '), &shared) || resident < shared) {
        return 0;
    }
    return (resident - shared) * (uint64_t)sysconf(_SC_PAGE_SIZE);
}

/** Below the limit free pages are kept, because the next ones are cheaper so; near to it, and when
 * there is nothing to do, they are not. */
static void look_at_memory(struct care *care, bool running)
{
    if (running ? resident_bytes(care->statm_fd) > care->resident_max : !care->rested) {
        duck_memory_trim();
    }
    care->rested = !running;
}

/* --- the control thread --- */

/** Until something is to be done unasked. */
static int quiet_ms(struct child_io *io, struct care *care)
{
    pthread_mutex_lock(&io->lock);
    care->job_waited = io->running;
    int ms = io->canceled   ? INTERRUPT_AGAIN_MS
             : io->running  ? MEMORY_MS
             : care->rested ? -1
                            : REST_MS;
    pthread_mutex_unlock(&io->lock);
    return ms;
}

/** Nothing came for that long. A job that has ended meanwhile ends a wait that was short for its
 * sake: the rest begins only now. */
static void do_unasked(struct child_io *io, struct care *care)
{
    pthread_mutex_lock(&io->lock);
    bool running = io->running;
    pthread_mutex_unlock(&io->lock);
    if (running || !care->job_waited) {
        look_at_memory(care, running);
    }
    interrupt_again(io);
    if (deadline_passed(care->progress_at)) {
        care->progress_at = deadline_in(PROGRESS_MS);
        child_io_progress(io);
    }
}

static void *control_main(void *arg)
{
    struct child_io *io = arg;
    struct wire_message message;
    struct care care = { .statm_fd = io->statm_fd,
                         .resident_max = io->memory_limit_bytes / 4 * 3,
                         .rested = true };
    for (;;) {
        struct pollfd wait = { .fd = io->control_fd, .events = POLLIN };
        int got = poll(&wait, 1, quiet_ms(io, &care));
        if (got == 0) {
            do_unasked(io, &care);
        }
        if (got <= 0) {
            continue;
        }
        enum wire_got what = wire_recv(io->control_fd, false, &message);
        if (what == WIRE_GONE) {
            _exit(0);
        }
        if (what == WIRE_GOT && message.head.type == WIRE_JOB) {
            care.rested = false;
            care.progress_at = deadline_in(PROGRESS_MS);
            pass_job(io, &message);
        } else if (what == WIRE_GOT && message.head.type == WIRE_CANCEL) {
            child_io_cancel(io, message.head.job);
        }
    }
    return NULL;
}

static struct wire_message *next_job(struct child_io *io)
{
    pthread_mutex_lock(&io->lock);
    while (io->next == NULL) {
        pthread_cond_wait(&io->changed, &io->lock);
    }
    struct wire_message *message = io->next;
    io->next = NULL;
    pthread_mutex_unlock(&io->lock);
    return message;
}

static child_handler *find_handler(const struct child_opts *opts, struct str kind)
{
    for (size_t i = 0; i < opts->kind_count; i++) {
        if (str_eq(kind, str_of(opts->kinds[i].name))) {
            return opts->kinds[i].handler;
        }
    }
    return NULL;
}

static enum status handle(const struct child_opts *opts, struct child_job *job, struct str kind,
                          struct buf *done, struct err *err)
{
    child_handler *handler = find_handler(opts, kind);
    if (handler == NULL) {
        return err_set(err, E_UNSUPPORTED, "the engine knows no job of kind '%.*s'", STR_ARG(kind));
    }
    if (opts->begin != NULL) {
        TRY(opts->begin(opts->ctx, job, err));
    }
    enum status status = handler(job, done, err);
    if (opts->end != NULL) {
        opts->end(opts->ctx, job);
    }
    return status;
}

static enum status read_payload(struct wire_message *message, struct buf *text,
                                yyjson_doc **doc_out, struct err *err)
{
    if (message->fd_count < 2) {
        return err_set(err, E_INTERNAL, "a job without its payload");
    }
    TRY(wire_memory_read(message->fds[1], message->head.b, text, err));
    fd_done(&message->fds[1]);
    return json_parse(buf_str(text), doc_out, err);
}

/** Run one job and send its last frame. */
static void run_job(const struct child_opts *opts, struct child_io *io,
                    struct wire_message *message)
{
    AUTO(json_doc_done) yyjson_doc *payload = NULL;
    struct buf text;
    struct buf last;
    struct err err = { 0 };
    struct child_job job = { .duck = opts->duck, .lakefs = opts->lakefs, .io = io };
    buf_init(&text, WIRE_PAYLOAD_MAX);
    buf_init(&last, WIRE_FRAME_MAX);
    arena_init(&job.arena, JOB_ARENA_MAX);
    enum status kind = read_payload(message, &text, &payload, &err);
    if (kind == OK) {
        job.payload = yyjson_doc_get_root(payload);
        job.fds = message->fds + 2;
        job.fd_count = message->fd_count - 2;
        kind = handle(opts, &job, str_from(message->body, message->body_len), &last, &err);
    }
    enum wire_frame type = kind == OK ? WIRE_FRAME_DONE : WIRE_FRAME_ERROR;
    if (kind != OK) {
        err.kind = kind;
        buf_clear(&last);
        kind = wire_error_print(&err, &last);
    }
    if (kind == OK) {
        /* a parent that does not want it any more has closed its end */
        kind = child_io_frame(io, type, buf_str(&last), NULL);
    }
    arena_done(&job.arena);
    buf_done(&last);
    buf_done(&text);
}

int child_serve(const struct child_opts *opts)
{
    struct err err = { 0 };
    struct child_io io;
    pthread_t control;
    if (child_io_init(&io, opts, &err) != OK ||
        pthread_create(&control, NULL, control_main, &io) != 0) {
        child_refuse(opts->control_fd, &err);
        return 1;
    }
    const struct wire_head ready = { .type = WIRE_READY };
    if (wire_send(opts->control_fd, &ready, STR_EMPTY, NULL, 0, true, &err) != OK) {
        return 1;
    }
    for (;;) {
        struct wire_message *message = next_job(&io);
        int data_fd = message->fd_count > 0 ? message->fds[0] : -1;
        if (data_fd >= 0) {
            message->fds[0] = -1;
        }
        child_io_begin(&io, data_fd);
        run_job(opts, &io, message);
        wire_message_done(message);
        mem_free(message);
        child_io_end(&io);
    }
}

void child_refuse(int control_fd, const struct err *err)
{
    const struct wire_head head = { .type = WIRE_FAILED };
    struct str why = err->kind == OK ? STR("no memory or no threads") : str_of(err->msg);
    enum status sent = wire_send(control_fd, &head, why, NULL, 0, true, NULL);
    (void)sent; /* the parent sees the end of the process in any case */
}
