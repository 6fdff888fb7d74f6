/*
 * The child's side of the sockets.
 *
 * Frames go straight into the data socket while the parent reads. When it has not read for a while
 * (its client is slow), they go to a spool, an unnamed file, so that the job ends and the engine is
 * free for the next one; what is spooled goes to the socket as soon as there is room, and what is
 * left at the end of the job is handed to the parent as a descriptor. The bytes on the socket and
 * those in the spool are one stream. A spool that is full makes the job wait for its reader after
 * all.
 */
#include "engine/child_io.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/io.h"

enum {
    /* a reader that takes nothing for so long is slow; chosen, not measured */
    SLOW_MS = 250,
    PUMP_BYTES = 128 * 1024,
};
#define MEMORY_SPOOL_MAX ((uint64_t)64 * 1024 * 1024)

enum status child_io_init(struct child_io *io, const struct child_opts *opts, struct err *err)
{
    *io = (struct child_io){ .control_fd = opts->control_fd, .data_fd = -1, .spool_fd = -1 };
    io->temp_dir = opts->temp_dir;
    io->spool_bytes_max = opts->spool_bytes_max;
    io->memory_limit_bytes = opts->memory_limit_bytes;
    io->statm_fd = opts->statm_fd;
    io->cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (io->cancel_fd < 0) {
        return err_errno(err, errno, "eventfd");
    }
    pthread_mutex_init(&io->lock, NULL);
    pthread_cond_init(&io->changed, NULL);
    return OK;
}

void child_io_begin(struct child_io *io, int data_fd)
{
    io->data_fd = data_fd;
    io->spool_at = io->spool_end = 0;
    io->gone = false;
}

static uint64_t job_number(struct child_io *io)
{
    pthread_mutex_lock(&io->lock);
    uint64_t job = io->job;
    pthread_mutex_unlock(&io->lock);
    return job;
}

/** From here on a cancel finds nothing. */
static void forget_cancel(struct child_io *io)
{
    uint64_t count;
    pthread_mutex_lock(&io->lock);
    io->running = false;
    io->canceled = false;
    io->rows = 0;
    ssize_t got = read(io->cancel_fd, &count, sizeof(count));
    (void)got; /* empty is fine */
    pthread_mutex_unlock(&io->lock);
}

void child_io_end(struct child_io *io)
{
    forget_cancel(io);
    bool rest = io->spool_end > io->spool_at && !io->gone;
    const struct wire_head head = { .type = WIRE_IDLE, .job = job_number(io), .b = io->spool_at };
    enum status sent = wire_send(io->control_fd, &head, STR_EMPTY, &io->spool_fd, rest ? 1 : 0,
                                 true, NULL);
    (void)sent; /* without a parent the control thread ends the process */
    fd_done(&io->spool_fd);
    fd_done(&io->data_fd);
}

void child_io_cancel(struct child_io *io, uint64_t job)
{
    pthread_mutex_lock(&io->lock);
    if (io->running && io->job == job) {
        uint64_t one = 1;
        ssize_t written = write(io->cancel_fd, &one, sizeof(one));
        (void)written;
        io->canceled = true;
        if (io->session != NULL) {
            duck_session_interrupt(io->session);
        }
    }
    pthread_mutex_unlock(&io->lock);
}

bool child_io_canceled(struct child_io *io)
{
    pthread_mutex_lock(&io->lock);
    bool canceled = io->canceled;
    pthread_mutex_unlock(&io->lock);
    return canceled;
}

void child_set_session(struct child_job *job, struct duck_session *session)
{
    struct child_io *io = job->io;
    pthread_mutex_lock(&io->lock);
    io->session = session;
    if (session != NULL && io->canceled) {
        duck_session_interrupt(session);
    }
    pthread_mutex_unlock(&io->lock);
}

void child_set_rows(struct child_job *job, uint64_t rows)
{
    struct child_io *io = job->io;
    pthread_mutex_lock(&io->lock);
    io->rows = rows;
    pthread_mutex_unlock(&io->lock);
}

void child_io_progress(struct child_io *io)
{
    double percent = -1;
    uint64_t scanned = 0;
    pthread_mutex_lock(&io->lock);
    struct wire_head head = { .type = WIRE_PROGRESS, .job = io->job, .b = io->rows };
    bool known = io->running && io->session != NULL;
    if (known) {
        duck_session_progress(io->session, &percent, &scanned);
    }
    pthread_mutex_unlock(&io->lock);
    head.a = percent >= 0 && percent <= 100 ? (uint32_t)(percent * 100) : WIRE_SHARE_UNKNOWN;
    if (known) {
        enum status sent = wire_send(io->control_fd, &head, STR_EMPTY, NULL, 0, false, NULL);
        (void)sent; /* the next one will be newer anyway */
    }
}

/* --- frames --- */

static enum status canceled(struct err *err)
{
    return err_set(err, E_CANCELED, "the job was canceled");
}

/** Wait for `events` on fd, or for the cancel. *ready_out false: the time has passed (never with
 * -1). */
static enum status wait_ready(struct child_io *io, int fd, short events, int timeout_ms,
                              bool *ready_out, struct err *err)
{
    struct pollfd fds[2] = { { .fd = fd, .events = events },
                             { .fd = io->cancel_fd, .events = POLLIN } };
    for (;;) {
        int got = poll(fds, 2, timeout_ms);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return err_errno(err, errno, "wait for the server");
        }
        if (fds[1].revents != 0) {
            return canceled(err);
        }
        *ready_out = fds[0].revents != 0;
        return OK;
    }
}

/** As much as the socket takes now. */
static enum status send_some(struct child_io *io, struct str bytes, size_t *sent_out,
                             struct err *err)
{
    *sent_out = 0;
    while (*sent_out < bytes.len) {
        ssize_t sent = send(io->data_fd, bytes.ptr + *sent_out, bytes.len - *sent_out,
                            MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno == EINTR) {
            continue;
        }
        if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            return OK;
        }
        if (sent < 0) {
            io->gone = true;
            return canceled(err);
        }
        *sent_out += (size_t)sent;
    }
    return OK;
}

/** Move what is spooled to the socket, as much as it takes now. */
static enum status pump(struct child_io *io, struct err *err)
{
    char piece[PUMP_BYTES];
    while (io->spool_at < io->spool_end) {
        size_t got = 0;
        size_t sent = 0;
        uint64_t left = io->spool_end - io->spool_at;
        TRY(io_pread(io->spool_fd, piece, left < sizeof(piece) ? (size_t)left : sizeof(piece),
                     io->spool_at, &got, err));
        TRY(send_some(io, str_from(piece, got), &sent, err));
        io->spool_at += sent;
        if (sent < got) {
            return OK;
        }
    }
    if (io->spool_end > 0 && ftruncate(io->spool_fd, 0) != 0) {
        return err_errno(err, errno, "spool of an answer");
    }
    io->spool_at = io->spool_end = 0;
    return OK;
}

static enum status spool_open(struct child_io *io, struct err *err)
{
    if (io->spool_fd < 0 && io->temp_dir != NULL) {
        io->spool_fd = open(io->temp_dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    }
    if (io->spool_fd < 0) {
        io->spool_fd = memfd_create("lakehouse-answer", MFD_CLOEXEC);
        io->spool_bytes_max = io->spool_bytes_max < MEMORY_SPOOL_MAX ? io->spool_bytes_max
                                                                     : MEMORY_SPOOL_MAX;
    }
    return io->spool_fd >= 0 ? OK : err_errno(err, errno, "spool of an answer");
}

/** Behind what is spooled; when there is no room, wait until the reader has made some. */
static enum status spool_write(struct child_io *io, struct str bytes, struct err *err)
{
    TRY(spool_open(io, err));
    while (io->spool_end > 0 && io->spool_end + bytes.len > io->spool_bytes_max) {
        bool ready = false;
        TRY(wait_ready(io, io->data_fd, POLLOUT, -1, &ready, err));
        TRY(pump(io, err));
    }
    TRY(io_pwrite_full(io->spool_fd, bytes.ptr, bytes.len, io->spool_end, err));
    io->spool_end += bytes.len;
    return OK;
}

static enum status stream_write(struct child_io *io, struct str bytes, struct err *err)
{
    if (io->spool_end > 0) {
        TRY(pump(io, err));
    }
    bool slow = io->spool_end > 0;
    while (bytes.len > 0 && !slow) {
        size_t sent = 0;
        bool ready = true;
        TRY(send_some(io, bytes, &sent, err));
        bytes = str_skip(bytes, sent);
        if (bytes.len > 0) {
            TRY(wait_ready(io, io->data_fd, POLLOUT, SLOW_MS, &ready, err));
        }
        slow = !ready;
    }
    return bytes.len > 0 ? spool_write(io, bytes, err) : OK;
}

enum status child_io_frame(struct child_io *io, enum wire_frame type, struct str bytes,
                           struct err *err)
{
    if (bytes.len > WIRE_FRAME_MAX) {
        return err_set(err, E_TOO_LARGE, "a frame of %zu bytes", bytes.len);
    }
    char head[WIRE_FRAME_HEAD];
    wire_frame_head(head, type, bytes.len);
    TRY(stream_write(io, str_from(head, sizeof(head)), err));
    return stream_write(io, bytes, err);
}

enum status child_head(struct child_job *job, struct str json, struct err *err)
{
    return child_io_frame(job->io, WIRE_FRAME_HEAD_JSON, json, err);
}

enum status child_data(struct child_job *job, struct str bytes, struct err *err)
{
    bool full = bytes.len > 0;
    while (full) {
        struct str piece = str_take(bytes, WIRE_DATA_MAX);
        TRY(child_io_frame(job->io, WIRE_FRAME_DATA, piece, err));
        bytes = str_skip(bytes, piece.len);
        full = piece.len == WIRE_DATA_MAX;
    }
    return OK;
}

/* --- questions --- */

static enum status send_call(struct child_io *io, struct str name, struct str args, int reply_fd,
                             struct err *err)
{
    char body[WIRE_BODY_MAX];
    if (args.len > WIRE_CALL_ARGS_MAX || name.len + args.len > sizeof(body)) {
        return err_set(err, E_TOO_LARGE, "a question of %zu bytes to the server", args.len);
    }
    memcpy(body, name.ptr, name.len);
    memcpy(body + name.len, args.ptr, args.len);
    const struct wire_head head = { .type = WIRE_CALL,
                                    .a = (uint32_t)name.len,
                                    .job = job_number(io) };
    return wire_send(io->control_fd, &head, str_from(body, name.len + args.len), &reply_fd, 1, true,
                     err);
}

static enum status take_reply(struct wire_message *message, struct buf *reply, int *fd_out,
                              struct err *err)
{
    size_t next_fd = 0;
    struct str inline_body = str_from(message->body, message->body_len);
    if (message->head.type != WIRE_REPLY) {
        return err_set(err, E_INTERNAL, "the server answered something else");
    }
    if (message->head.a != OK) {
        return err_set(err,
                       message->head.a < E_KIND_COUNT ? (enum status)message->head.a : E_INTERNAL,
                       "%.*s", STR_ARG(inline_body));
    }
    if (message->head.flags & WIRE_IN_FILE) {
        if (message->fd_count <= next_fd) {
            return err_set(err, E_INTERNAL, "the server's answer came without its file");
        }
        TRY(wire_memory_read(message->fds[next_fd++], message->head.b, reply, err));
    } else if (buf_append(reply, inline_body) != OK) {
        return err_no_memory(err);
    }
    if ((message->head.flags & WIRE_WITH_FD) && fd_out != NULL && message->fd_count > next_fd) {
        *fd_out = message->fds[next_fd];
        message->fds[next_fd] = -1;
    }
    return OK;
}

enum status child_call(struct child_job *job, const char *name, struct str args, struct buf *reply,
                       int *fd_out, struct err *err)
{
    struct child_io *io = job->io;
    int fds[2];
    if (fd_out != NULL) {
        *fd_out = -1;
    }
    TRY(wire_pair(SOCK_SEQPACKET, fds, err));
    AUTO(fd_done) int ours = fds[0];
    AUTO(fd_done) int theirs = fds[1];
    TRY(send_call(io, str_of(name), args, theirs, err));
    fd_done(&theirs); /* so that a parent that drops the question is seen */
    bool ready = false;
    TRY(wait_ready(io, ours, POLLIN, -1, &ready, err));
    struct wire_message message; /* 48 KiB */
    if (wire_recv(ours, true, &message) != WIRE_GOT) {
        return canceled(err);
    }
    enum status kind = take_reply(&message, reply, fd_out, err);
    wire_message_done(&message);
    return kind;
}
