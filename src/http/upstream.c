/*
 * Upstream connections of the gateway, in steps: connect, send, read the head, read the body.
 * Nothing here blocks.
 *
 *   upstream_call_new --> [connect] --> send ... --> recv_head --> recv ... --> free (the
 *   connection is kept when the exchange is whole)
 *
 * Bytes to send are kept in `out` until the socket takes them; bytes read are parsed at once
 * (answer_parser.h), head fields into the caller's arena and body bytes into `body`, which is
 * emptied before the socket is read again: both buffers stay bounded by one piece.
 */
#include "http/upstream.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/io.h"
#include "base/mem.h"
#include "http/answer_parser.h"
#include "http/tcp.h"

enum {
    READ_BYTES = 64 * 1024, /* chosen, not measured */
    HEAD_BYTES_MAX = 256 * 1024,
    OUT_BYTES_MAX = 1024 * 1024, /* a head and one piece of 256 KiB with its framing */
    CONTINUE_MS = 1000,          /* to wait for `100 Continue`, as curl does */
    /* A kept connection that rested this long may be closed from the other side at any moment; no
     * server gives up a connection sooner. */
    RESTED_MS = 1000,
};

struct upstream {
    struct upstream_opts opts;
    char *service;
    pthread_mutex_t lock;
    /* guarded by lock: calls that are over, with their connections and buffers, newest last */
    struct upstream_call **kept;
    size_t kept_count;
};

struct upstream_call {
    struct upstream *upstream;
    int fd;
    deadline_ms rested; /* a kept one: from then on for requests only that may be repeated */
    bool head_only;     /* a HEAD */
    bool listened;      /* for an answer, once */
    bool reused;        /* came from the kept ones */
    bool safe;          /* may be sent again */
    bool chunked;
    bool connecting;
    size_t tried;            /* addresses of the host that a connection was begun to */
    bool continued;          /* `100 Continue` has come */
    deadline_ms continue_by; /* 0: not asked yet */
    bool waiting;            /* nothing moved at the last try; the deadline runs since the first */
    bool finished_sending;
    bool head_done, keep_alive, got_bytes, eof;
    deadline_ms deadline;
    struct buf head; /* for sending again */
    struct buf out;  /* not sent yet */
    struct buf body; /* parsed, not taken yet */
    char *in;        /* READ_BYTES */
    bool extra;      /* bytes came behind the answer: the connection is not kept */
    struct answer_parser *parser;
    int status;
    struct arena *arena;
    struct http_headers headers; /* of the answer, all of them */
};

static void call_destroy(struct upstream_call *call);

enum status upstream_new(const struct upstream_opts *opts, struct upstream **out, struct err *err)
{
    if (opts->url.tls) {
        return err_set(err, E_INVALID, "an https upstream is not supported for \"%s\"",
                       opts->service);
    }
    struct upstream *upstream = mem_zalloc(sizeof(*upstream));
    if (upstream == NULL) {
        return err_no_memory(err);
    }
    upstream->opts = *opts;
    upstream->opts.kept_max = opts->kept_max ? opts->kept_max : 64;
    upstream->opts.connect_timeout_ms = opts->connect_timeout_ms ? opts->connect_timeout_ms : 2000;
    upstream->opts.head_timeout_ms = opts->head_timeout_ms ? opts->head_timeout_ms : 310000;
    upstream->opts.idle_timeout_ms = opts->idle_timeout_ms ? opts->idle_timeout_ms : 60000;
    upstream->service = mem_strndup(opts->service, strlen(opts->service));
    upstream->kept = mem_alloc(upstream->opts.kept_max * sizeof(*upstream->kept));
    pthread_mutex_init(&upstream->lock, NULL);
    if (upstream->service == NULL || upstream->kept == NULL) {
        upstream_free(upstream);
        return err_no_memory(err);
    }
    *out = upstream;
    return OK;
}

void upstream_free(struct upstream *upstream)
{
    if (upstream == NULL) {
        return;
    }
    for (size_t i = 0; upstream->kept != NULL && i < upstream->kept_count; i++) {
        call_destroy(upstream->kept[i]);
    }
    pthread_mutex_destroy(&upstream->lock);
    mem_free(upstream->kept);
    mem_free(upstream->service);
    mem_free(upstream);
}

/* --- connections --- */

/** The newest of the kept calls, if its connection may serve such a request; NULL when there is
 * none. */
static struct upstream_call *pop_kept(struct upstream *upstream, bool safe)
{
    struct upstream_call *call = NULL;
    pthread_mutex_lock(&upstream->lock);
    if (upstream->kept_count > 0) {
        struct upstream_call *newest = upstream->kept[upstream->kept_count - 1];
        if (safe || !deadline_passed(newest->rested)) {
            call = newest;
            upstream->kept_count--;
        }
    }
    pthread_mutex_unlock(&upstream->lock);
    return call;
}

/** One whose connection the other side has not closed; NULL when there is none. */
static struct upstream_call *take_kept(struct upstream *upstream, bool safe)
{
    for (;;) {
        struct upstream_call *call = pop_kept(upstream, safe);
        if (call == NULL) {
            return NULL;
        }
        char byte;
        ssize_t n = recv(call->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            return call;
        }
        call_destroy(call); /* closed by the other side, or bytes that nobody asked for */
    }
}

static void give_back(struct upstream_call *call)
{
    struct upstream *upstream = call->upstream;
    call->rested = deadline_in(RESTED_MS);
    if (call->out.cap > READ_BYTES) {
        buf_done(&call->out); /* it has carried a body */
        buf_init(&call->out, OUT_BYTES_MAX);
    }
    pthread_mutex_lock(&upstream->lock);
    bool kept = upstream->kept_count < upstream->opts.kept_max;
    if (kept) {
        upstream->kept[upstream->kept_count++] = call;
    }
    pthread_mutex_unlock(&upstream->lock);
    if (!kept) {
        call_destroy(call);
    }
}

static enum status unreachable(const struct upstream *upstream, const char *why, struct err *err)
{
    return err_set(err, E_UPSTREAM, "%s at %s:%u cannot be reached: %s", upstream->service,
                   upstream->opts.url.address.host, upstream->opts.url.address.port, why);
}

/** Begin a connection to one address; false with *problem_out when it has failed already. */
static bool connect_to(struct upstream_call *call, const struct addrinfo *at, int *problem_out)
{
    int fd = socket(at->ai_family, at->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, at->ai_protocol);
    if (fd == -1) {
        *problem_out = errno;
        return false;
    }
    if (connect(fd, at->ai_addr, at->ai_addrlen) != 0 && errno != EINPROGRESS) {
        *problem_out = errno;
        close(fd);
        return false;
    }
    tcp_setup(fd, at->ai_addr);
    call->fd = fd;
    return true;
}

/** Start a connection to the next of the host's addresses; it is complete when the socket is
 * writable. `problem` is why the one before it failed, for the message when there is no next. */
static enum status connect_start(struct upstream_call *call, int problem, struct err *err)
{
    const struct http_address *address = &call->upstream->opts.url.address;
    char port[8];
    snprintf(port, sizeof(port), "%u", address->port);
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV };
    struct addrinfo *list = NULL;
    int failed = getaddrinfo(address->host, port, &hints, &list);
    if (failed != 0) {
        return unreachable(call->upstream, gai_strerror(failed), err);
    }
    size_t index = 0;
    for (struct addrinfo *at = list; at != NULL && call->fd == -1; at = at->ai_next) {
        if (index++ >= call->tried) {
            call->tried = index;
            (void)connect_to(call, at, &problem);
        }
    }
    freeaddrinfo(list);
    if (call->fd == -1) {
        return unreachable(call->upstream, strerror(problem), err);
    }
    call->connecting = true;
    call->reused = false;
    call->deadline = deadline_in(call->upstream->opts.connect_timeout_ms);
    return OK;
}

/* --- parsing --- */

static enum status on_header(void *ctx, struct str name, struct str value)
{
    struct upstream_call *call = ctx;
    return http_headers_add(&call->headers, call->arena, name, value);
}

static enum status on_head(void *ctx, int status, bool keep_alive)
{
    struct upstream_call *call = ctx;
    call->head_done = true;
    call->status = status;
    call->keep_alive = keep_alive;
    return OK;
}

static void on_interim(void *ctx, int status)
{
    struct upstream_call *call = ctx;
    call->continued |= status == 100;
    call->headers.count = 0; /* 100 and its like: the real head follows */
}

static enum status on_body(void *ctx, struct str bytes)
{
    struct upstream_call *call = ctx;
    return buf_append(&call->body, bytes);
}

/* --- a call --- */

static struct upstream_call *call_make(struct upstream *upstream)
{
    struct upstream_call *call = mem_zalloc(sizeof(*call));
    if (call == NULL) {
        return NULL;
    }
    call->upstream = upstream;
    call->fd = -1;
    buf_init(&call->head, HEAD_BYTES_MAX);
    buf_init(&call->out, OUT_BYTES_MAX);
    buf_init(&call->body, READ_BYTES);
    call->in = mem_alloc(READ_BYTES);
    struct answer_events events = { on_header, on_head, on_interim, on_body, call };
    call->parser = answer_parser_new(&events, false);
    if (call->in == NULL || call->parser == NULL) {
        call_destroy(call);
        return NULL;
    }
    return call;
}

static void call_destroy(struct upstream_call *call)
{
    fd_done(&call->fd);
    buf_done(&call->head);
    buf_done(&call->out);
    buf_done(&call->body);
    answer_parser_free(call->parser);
    mem_free(call->in);
    mem_free(call);
}

/** As new, but for the connection and the memory. */
static void call_clear(struct upstream_call *call)
{
    *call = (struct upstream_call){ .upstream = call->upstream,
                                    .fd = call->fd,
                                    .head = call->head,
                                    .out = call->out,
                                    .body = call->body,
                                    .in = call->in,
                                    .parser = call->parser };
    buf_clear(&call->head);
    buf_clear(&call->out);
    buf_clear(&call->body);
}

enum status upstream_call_new(struct upstream *upstream, struct str head, bool safe,
                              bool chunked_body, struct upstream_call **out, struct err *err)
{
    struct upstream_call *call = take_kept(upstream, safe);
    bool reused = call != NULL;
    if (!reused && (call = call_make(upstream)) == NULL) {
        return err_no_memory(err);
    }
    call_clear(call);
    call->reused = reused;
    call->safe = safe;
    call->chunked = chunked_body;
    call->head_only = str_starts(head, STR("HEAD "));
    answer_parser_reset(call->parser, call->head_only);
    enum status status = OK;
    if ((safe && buf_append(&call->head, head) != OK) || buf_append(&call->out, head) != OK) {
        status = err_set(err, E_TOO_LARGE, "the head of the request is too large to forward");
    } else if (!reused) {
        status = connect_start(call, ECONNREFUSED, err);
    }
    if (status != OK) {
        call_destroy(call);
        return status;
    }
    *out = call;
    return OK;
}

void upstream_call_free(struct upstream_call *call)
{
    if (call == NULL) {
        return;
    }
    bool whole = answer_parser_done(call->parser) && call->keep_alive && call->finished_sending &&
                 call->out.len == 0 && !call->extra && !call->eof && call->fd != -1;
    if (whole) {
        give_back(call);
    } else {
        call_destroy(call);
    }
}

int upstream_call_fd(const struct upstream_call *call)
{
    return call->fd;
}

deadline_ms upstream_call_deadline(const struct upstream_call *call)
{
    return call->deadline;
}

/** Nothing moves: the time for it runs since it was tried first, however long the client had left
 * us without a reason to try. */
static enum status not_yet(struct upstream_call *call, int64_t timeout_ms, const char *doing,
                           struct err *err)
{
    if (!call->waiting) {
        call->waiting = true;
        call->deadline = deadline_in(timeout_ms);
    }
    if (!deadline_passed(call->deadline)) {
        return OK;
    }
    return err_set(err, E_TIMEOUT, "%s took too long to %s", call->upstream->service, doing);
}

static enum status broken(const struct upstream_call *call, const char *why, struct err *err)
{
    return err_set(err, E_UPSTREAM, "%s broke off: %s", call->upstream->service, why);
}

/** A kept connection died under a request that is safe to repeat and had no answer yet: once more
 * on a fresh one. */
static enum status send_again(struct upstream_call *call, const char *why, struct err *err)
{
    if (!call->reused || !call->safe || call->got_bytes) {
        return broken(call, why, err);
    }
    fd_done(&call->fd);
    buf_clear(&call->out);
    call->eof = call->waiting = false;
    call->headers.count = 0;
    call->tried = 0;
    answer_parser_reset(call->parser, call->head_only);
    TRY(buf_append(&call->out, buf_str(&call->head)) == OK ? OK : err_no_memory(err));
    return connect_start(call, ECONNREFUSED, err);
}

static enum status connect_check(struct upstream_call *call, bool *ready_out, struct err *err)
{
    struct pollfd poller = { .fd = call->fd, .events = POLLOUT };
    *ready_out = poll(&poller, 1, 0) == 1;
    if (!*ready_out && !deadline_passed(call->deadline)) {
        return OK;
    }
    int problem = ETIMEDOUT;
    socklen_t len = sizeof(problem);
    if (*ready_out && getsockopt(call->fd, SOL_SOCKET, SO_ERROR, &problem, &len) != 0) {
        problem = errno;
    }
    if (problem != 0) {
        *ready_out = false;
        fd_done(&call->fd);
        return connect_start(call, problem, err);
    }
    call->connecting = false;
    return OK;
}

static bool readable(int fd)
{
    struct pollfd poller = { .fd = fd, .events = POLLIN };
    return poll(&poller, 1, 0) == 1 && (poller.revents & POLLIN) != 0;
}

/** Send what is in `out`; *state_out says whether it has all left. */
static enum status flush(struct upstream_call *call, enum upstream_state *state_out,
                         bool *early_out, struct err *err)
{
    if (call->connecting) {
        bool ready;
        TRY(connect_check(call, &ready, err));
        if (!ready) {
            *state_out = UPSTREAM_WANT_WRITE;
            return OK;
        }
    }
    while (call->out.len > 0) {
        ssize_t n = send(call->fd, call->out.ptr, call->out.len, MSG_NOSIGNAL);
        if (n > 0) {
            buf_consume(&call->out, (size_t)n);
            call->waiting = false;
        } else if (n < 0 && errno == EINTR) {
            continue;
        } else if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            *early_out = readable(call->fd);
            *state_out = UPSTREAM_WANT_WRITE;
            return not_yet(call, call->upstream->opts.idle_timeout_ms, "take the request", err);
        } else if (readable(call->fd)) {
            buf_clear(&call->out); /* it has answered and closed: the answer is still to be read */
            call->keep_alive = false;
            *early_out = true;
        } else {
            TRY(send_again(call, strerror(errno), err));
            *state_out = UPSTREAM_WANT_WRITE;
            return OK;
        }
    }
    *state_out = UPSTREAM_DONE;
    return OK;
}

enum status upstream_send(struct upstream_call *call, struct str bytes, bool last,
                          enum upstream_state *state_out, bool *early_out, struct err *err)
{
    *early_out = false;
    call->safe = call->safe && bytes.len == 0;
    bool frame = call->chunked && bytes.len > 0;
    bool ok = (!frame || buf_printf(&call->out, "%zx\r\n", bytes.len) == OK) &&
              buf_append(&call->out, bytes) == OK &&
              (!frame || buf_append(&call->out, STR("\r\n")) == OK);
    if (ok && last && !call->finished_sending) {
        ok = !call->chunked || buf_append(&call->out, STR("0\r\n\r\n")) == OK;
        call->finished_sending = ok;
    }
    if (!ok) {
        return err_no_memory(err);
    }
    TRY(flush(call, state_out, early_out, err));
    if (!*early_out && !last && *state_out == UPSTREAM_DONE && bytes.len > 0 &&
        readable(call->fd)) {
        *early_out = true;
    }
    return OK;
}

/** Read and parse once. *state_out is DONE when something was read (or the end was seen). */
static enum status read_some(struct upstream_call *call, enum upstream_state *state_out,
                             struct err *err)
{
    ssize_t n = recv(call->fd, call->in, READ_BYTES, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) {
        *state_out = UPSTREAM_WANT_READ;
        return not_yet(call, call->upstream->opts.head_timeout_ms, "answer", err);
    }
    call->waiting = false;
    if (n < 0) {
        *state_out = UPSTREAM_WANT_WRITE;
        return send_again(call, strerror(errno), err);
    }
    *state_out = UPSTREAM_DONE;
    if (n == 0) {
        call->eof = true;
        if (!call->got_bytes) {
            *state_out = UPSTREAM_WANT_WRITE;
            return send_again(call, "it closed the connection without an answer", err);
        }
        struct err why = { 0 };
        return answer_parser_end(call->parser, &why) == OK ? OK : broken(call, why.msg, err);
    }
    call->got_bytes = true;
    struct err why = { 0 };
    size_t used = 0;
    if (answer_parser_feed(call->parser, str_from(call->in, (size_t)n), &used, &why) != OK) {
        return broken(call, why.msg, err);
    }
    call->extra = used < (size_t)n;
    return OK;
}

static int64_t answer_length(const struct upstream_call *call)
{
    uint64_t length = 0;
    struct str text = http_headers_get(&call->headers, STR("Content-Length"));
    return text.ptr != NULL && str_to_u64(text, &length) ? (int64_t)length : -1;
}

/** One more piece of the head, after what is still to be sent: the request once more, when a kept
 * connection had died. */
static enum status read_head(struct upstream_call *call, enum upstream_state *state_out,
                             struct err *err)
{
    if (call->connecting || call->out.len > 0) {
        bool early = false;
        TRY(flush(call, state_out, &early, err));
        if (*state_out != UPSTREAM_DONE && !early) {
            return OK;
        }
    }
    if (!call->listened && !call->continued) {
        /* it has only just got the request */
        call->listened = true;
        *state_out = UPSTREAM_WANT_READ;
        return not_yet(call, call->upstream->opts.head_timeout_ms, "answer", err);
    }
    TRY(read_some(call, state_out, err));
    if (call->eof && !call->head_done) {
        return broken(call, "its answer has no whole head", err);
    }
    return OK;
}

enum status upstream_ask(struct upstream_call *call, struct arena *arena, bool *go_out,
                         enum upstream_state *state_out, struct err *err)
{
    call->arena = arena;
    *go_out = false;
    while (!call->continued && !call->head_done) {
        if (call->continue_by != 0 && deadline_passed(call->continue_by)) {
            break;
        }
        call->waiting = false; /* the second is all that it has */
        TRY(read_head(call, state_out, err));
        if (*state_out == UPSTREAM_WANT_READ) {
            call->continue_by = call->continue_by != 0 ? call->continue_by
                                                       : deadline_in(CONTINUE_MS);
            call->deadline = call->continue_by;
            return OK;
        }
        if (*state_out == UPSTREAM_WANT_WRITE) {
            return OK;
        }
    }
    call->waiting = false;
    *go_out = !call->head_done;
    *state_out = UPSTREAM_DONE;
    return OK;
}

enum status upstream_recv_head(struct upstream_call *call, struct arena *arena,
                               struct upstream_head *head_out, enum upstream_state *state_out,
                               struct err *err)
{
    call->arena = arena;
    while (!call->head_done) {
        TRY(read_head(call, state_out, err));
        if (*state_out != UPSTREAM_DONE) {
            return OK;
        }
    }
    struct http_headers kept = { 0 };
    for (size_t i = 0; i < call->headers.count; i++) {
        const struct http_header *header = &call->headers.items[i];
        if (!http_header_is_hop(&call->headers, header->name)) {
            TRY(http_headers_add(&kept, arena, header->name, header->value));
        }
    }
    *head_out = (struct upstream_head){ .status = call->status,
                                        .headers = kept,
                                        .content_length = answer_length(call),
                                        .arena = arena };
    *state_out = UPSTREAM_DONE;
    return OK;
}

enum status upstream_recv(struct upstream_call *call, char *ptr, size_t cap, size_t *got_out,
                          enum upstream_state *state_out, struct err *err)
{
    *got_out = 0;
    *state_out = UPSTREAM_DONE;
    while (call->body.len == 0 && !answer_parser_done(call->parser)) {
        TRY(read_some(call, state_out, err));
        if (*state_out == UPSTREAM_WANT_READ) {
            return OK;
        }
        if (call->eof && !answer_parser_done(call->parser) && call->body.len == 0) {
            return broken(call, "its answer is not whole", err);
        }
    }
    size_t n = call->body.len < cap ? call->body.len : cap;
    if (n > 0) {
        memcpy(ptr, call->body.ptr, n);
        buf_consume(&call->body, n);
    }
    *got_out = n;
    *state_out = UPSTREAM_DONE;
    return OK;
}

bool upstream_call_whole(const struct upstream_call *call)
{
    return answer_parser_done(call->parser) && call->body.len == 0;
}
