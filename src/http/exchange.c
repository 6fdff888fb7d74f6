/*
 * The life of one request, as libmicrohttpd 1.0.1 calls it on an HTTP thread. What its source says,
 * and what we lean on:
 *
 *   - The handler is called for the head again and again while it suspends there; `100 Continue` is
 *     sent only when it returns without suspending and without an answer. So `begin` may take its
 *     time, and a refusal needs no 100.
 *   - For the body it is called with at least one byte; then, when all has come, without any until
 *     there is an answer.
 *   - An answer can be queued at the head (which ends the connection) or at the end, not between.
 *     What must be said between is written to the socket by the watcher, while the connection is
 *     suspended (watch_linger).
 *
 *        target ---> head: begin ---> body, body ---> end ---> queue the answer ---> pull, pull
 *        ---> completed
 *                      \_______ early answer: drop a small body, or watch_linger _______/
 */
#include "http/server_priv.h"

#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/mem.h"

static struct conn *conn_of(struct MHD_Connection *mhd)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(
        mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info == NULL ? NULL : info->socket_context;
}

/* --- birth --- */

void *exchange_on_target(void *server, const char *target, struct MHD_Connection *mhd)
{
    struct conn *conn = conn_of(mhd);
    struct http_exchange *ex = conn == NULL ? NULL : mem_zalloc(sizeof(*ex));
    if (ex == NULL) {
        return NULL;
    }
    ex->server = server;
    ex->conn = conn;
    ex->body_slack_ms = ex->server->opts.idle_timeout_ms;
    ex->start_us = clock_now_us();
    ex->req.exchange = ex;
    ex->reply = (struct reply){ .fd = -1, .length = -1 };
    ex->wait_fd = -1;
    arena_init(&ex->req.arena, 0);
    buf_init(&ex->reply.body, 0);
    buf_init(&ex->in, HTTP_CHUNK_BYTES);
    buf_init(&ex->out, EARLY_ANSWER_MAX + 2 * HTTP_CHUNK_BYTES);
    buf_init(&ex->raw, EARLY_ANSWER_MAX + 64 * 1024);
    ex->req.target = arena_str(&ex->req.arena, str_of(target));
    if (ex->req.target.ptr == NULL) {
        arena_done(&ex->req.arena);
        mem_free(ex);
        return NULL;
    }
    conn->exchange = ex;
    return ex;
}

/* --- handing over --- */

bool exchange_suspend(struct http_exchange *ex)
{
    struct http_server *server = ex->server;
    pthread_mutex_lock(&server->lock);
    bool allowed = !server->cutting;
    server->suspended += allowed;
    pthread_mutex_unlock(&server->lock);
    if (allowed) {
        MHD_suspend_connection(ex->conn->mhd);
    }
    return allowed;
}

void exchange_resume(struct http_exchange *ex)
{
    struct http_server *server = ex->server;
    MHD_resume_connection(ex->conn->mhd);
    pthread_mutex_lock(&server->lock);
    server->suspended--;
    pthread_cond_broadcast(&server->changed);
    pthread_mutex_unlock(&server->lock);
}

static void job_step(void *arg);

/* Queue the next step. A queue that is full delays it; only the first step of a request is refused
 * for it, earlier. */
static void submit(struct http_exchange *ex)
{
    if (pool_submit(ex->server->pool, job_step, ex, NULL) != OK) {
        ex->wait_fd = -1;
        ex->wait_deadline = deadline_in(5);
        watch_park(ex->server->watch, ex);
    }
}

/* The watcher sends ex->raw; the connection is suspended. */
static void linger_start(struct http_exchange *ex)
{
    ex->queued = true;
    ex->drop_deadline = deadline_in(DRAIN_MS);
    watch_linger(ex->server->watch, ex);
}

/* The rest of a small body is read and dropped, and the connection lives on; else the watcher
 * answers. */
static bool can_drop(const struct http_exchange *ex)
{
    if (ex->reply.kind == REPLY_FD) {
        return true; /* too large to be held; the client must finish first */
    }
    int64_t length = ex->req.content_length;
    return !ex->close && !ex->expects && length >= 0 &&
           (uint64_t)length - ex->bytes_in <= DROP_BYTES_MAX;
}

static void hand_back(struct http_exchange *ex, enum step_give give)
{
    if (give == STEP_PARK) {
        watch_park(ex->server->watch, ex);
    } else if (ex->phase == PHASE_ANSWER && ex->early && !ex->cut && !can_drop(ex)) {
        /* nothing would call us for it before the client sends more */
        ex->cut = reply_raw(ex) != OK;
        if (ex->cut) {
            exchange_resume(ex);
            return;
        }
        linger_start(ex);
    } else {
        exchange_resume(ex);
    }
}

static void job_step(void *arg)
{
    struct http_exchange *ex = arg;
    hand_back(ex, step_run(ex));
}

static bool in_place(const struct http_exchange *ex)
{
    return ex->entry != NULL && (ex->entry->route.flags & HTTP_INLINE) && !ex->offloaded;
}

void exchange_unpark(struct http_exchange *ex)
{
    ex->cut |= atomic_load_explicit(&ex->conn->gone, memory_order_acquire);
    if (ex->cut || in_place(ex)) {
        exchange_resume(ex); /* libmicrohttpd calls again, and the step goes on there */
    } else {
        submit(ex);
    }
}

void exchange_lingered(struct http_exchange *ex)
{
    ex->cut = true; /* libmicrohttpd has nothing to add */
    exchange_resume(ex);
}

/* The queue is full: say so before anything of the request was done. */
static void refuse_busy(struct http_exchange *ex)
{
    struct http_server *server = ex->server;
    bool rate = ex->entry != NULL && (ex->entry->route.flags & HTTP_BUSY_IS_RATE);
    enum status kind = rate ? E_RATE : E_UNAVAILABLE;
    metric_add(server->m_refused_queue, 1);
    (void)err_set(&ex->req.err, kind, "the server is busy: %zu steps wait for a worker; try again",
                  server->opts.queue_max);
    ex->req.err.retry_after_s = 1;
    ex->early = !ex->body_whole && ex->req.has_body;
    reply_error(ex, kind, 0);
    ex->phase = PHASE_ANSWER;
}

/*
 * A client that is known to have left is not looked for here: it may have closed its sending half
 * only and still read a quick answer. Its request ends when it would have to wait (watch_park).
 *
 * Let the handler work: in place, or on a worker while the connection is suspended. Returns true
 * when it was handed over: then nothing of it may be touched any more. HTTP thread.
 */
static bool dispatch(struct http_exchange *ex)
{
    struct http_server *server = ex->server;
    if (ex->wait_pending) {
        ex->wait_pending = false;
        if (!exchange_suspend(ex)) {
            ex->cut = true;
            return false;
        }
        watch_park(server->watch, ex);
        return true;
    }
    bool here = in_place(ex);
    if (here) {
        enum step_give give = step_run(ex);
        if (give == STEP_TO_HTTP) {
            return false;
        }
        here = give == STEP_PARK;
    }
    if (!here && !ex->first_step && pool_queued(server->pool) >= server->opts.queue_max) {
        refuse_busy(ex);
        return false;
    }
    ex->first_step = true;
    if (!exchange_suspend(ex)) {
        ex->cut = true;
        return false;
    }
    if (here) {
        watch_park(server->watch, ex);
    } else {
        submit(ex);
    }
    return true;
}

/* --- the three calls --- */

static bool linger(struct http_exchange *ex)
{
    if (reply_raw(ex) != OK || !exchange_suspend(ex)) {
        ex->cut = true;
        return false;
    }
    linger_start(ex);
    return true;
}

/*
 * How long the client may take for what comes next of its body. It begins with the idle time;
 * waiting for it takes away, each byte gives 1/rate seconds back, and it is never more than the
 * idle time. So a sender at the rate lasts for ever, and one that trickles is cut after about the
 * idle time, whatever it holds (a PUT slot) meanwhile. Time in which we are not ready for its bytes
 * does not count.
 */
static void body_clock_start(struct http_exchange *ex)
{
    const struct http_server_opts *opts = &ex->server->opts;
    if (opts->body_rate_min == 0) {
        return;
    }
    uint64_t come = ex->bytes_in + ex->dropped_bytes;
    uint64_t fresh = come - ex->body_credited;
    uint64_t back_ms = fresh < UINT64_MAX / 1000 ? fresh * 1000 / opts->body_rate_min : UINT64_MAX;
    uint64_t taken_ms = (uint64_t)(opts->idle_timeout_ms - ex->body_slack_ms);
    ex->body_slack_ms += (int64_t)(back_ms < taken_ms ? back_ms : taken_ms);
    ex->body_credited = come;
    ex->body_until = deadline_in(ex->body_slack_ms);
    atomic_store_explicit(&ex->conn->body_deadline, ex->body_until, memory_order_relaxed);
}

static void body_clock_stop(struct http_exchange *ex)
{
    if (ex->body_until == 0) {
        return;
    }
    atomic_store_explicit(&ex->conn->body_deadline, DEADLINE_NEVER, memory_order_relaxed);
    ex->body_slack_ms = ex->body_until - deadline_in(0);
    ex->body_slack_ms = ex->body_slack_ms > 0 ? ex->body_slack_ms : 0;
    ex->body_until = 0;
}

/* Nothing can be done before more of the body comes. */
static enum MHD_Result wait_for_body(struct http_exchange *ex)
{
    body_clock_start(ex);
    atomic_store_explicit(&ex->conn->receiving, true, memory_order_relaxed);
    return MHD_YES;
}

/* Each returns MHD_YES after handing over, or when libmicrohttpd should go on. */
static enum MHD_Result access_head(struct http_exchange *ex)
{
    for (;;) {
        if (ex->cut) {
            return MHD_NO;
        }
        if (ex->phase == PHASE_BEGIN || (ex->phase == PHASE_PULL && ex->early)) {
            if (dispatch(ex)) {
                return MHD_YES;
            }
            continue;
        }
        if (ex->phase == PHASE_ANSWER && ex->req.has_body && !can_drop(ex)) {
            return linger(ex) ? MHD_YES : MHD_NO;
        }
        ex->head_passed = true;
        return ex->req.has_body ? wait_for_body(ex) : MHD_YES;
    }
}

/* The answer is known and the body is not at its end: read on and drop, or let the watcher take
 * over. */
static enum MHD_Result drop(struct http_exchange *ex, size_t *upload_len)
{
    ex->dropped_bytes += *upload_len;
    if (ex->drop_deadline == 0) {
        ex->drop_deadline = deadline_in(DRAIN_MS);
    }
    if (can_drop(ex) && ex->dropped_bytes <= DRAIN_BYTES_MAX &&
        !deadline_passed(ex->drop_deadline)) {
        *upload_len = 0;
        return wait_for_body(ex);
    }
    *upload_len = 1; /* a suspended connection must leave something, see peeked */
    return ex->reply.kind != REPLY_FD && linger(ex) ? MHD_YES : MHD_NO;
}

static void refuse_body(struct http_exchange *ex, enum status kind, uint64_t limit)
{
    if (kind == E_TOO_LARGE) {
        (void)err_set(&ex->req.err, kind, "the body is larger than the limit of %llu bytes",
                      (unsigned long long)limit);
    } else {
        (void)err_no_memory(&ex->req.err);
    }
    ex->early = true;
    reply_error(ex, kind, 0);
    ex->phase = PHASE_ANSWER;
}

static uint64_t body_limit(const struct http_exchange *ex)
{
    uint64_t limit = ex->entry->route.body_bytes_max;
    if (limit == 0) {
        limit = ex->handler->body != NULL ? UINT64_MAX : ex->server->opts.body_bytes_max;
    }
    return limit;
}

/* Takes bytes into ex->in; what does not fit stays with libmicrohttpd. */
static void take_bytes(struct http_exchange *ex, const char *upload, size_t *upload_len)
{
    size_t take = *upload_len;
    uint64_t limit = body_limit(ex);
    if (take > limit - ex->bytes_in) {
        refuse_body(ex, E_TOO_LARGE, limit);
        return;
    }
    if (ex->handler->body != NULL && take > HTTP_CHUNK_BYTES - ex->in.len) {
        take = HTTP_CHUNK_BYTES - ex->in.len;
    }
    enum status kind = buf_append_bytes(&ex->in, upload, take);
    if (kind != OK) {
        refuse_body(ex, kind == E_TOO_LARGE ? E_TOO_LARGE : E_NO_MEMORY, limit);
        return;
    }
    ex->bytes_in += take;
    *upload_len -= take;
}

/* More bytes wait in the socket, so the next call is near and a step can have more to work on. */
static bool more_waits(const struct http_exchange *ex)
{
    int waiting = 0;
    return ioctl(ex->conn->fd, FIONREAD, &waiting) == 0 && waiting > 0;
}

/*
 * While a chunked body holds more than one chunk, libmicrohttpd calls again at once although the
 * connection is suspended, unless a byte is left over. So one byte that is already taken is shown
 * to it as left, and skipped when it comes again.
 */
static enum MHD_Result access_body(struct http_exchange *ex, const char *upload, size_t *upload_len)
{
    ex->expects = false;
    if (ex->phase == PHASE_BODY && ex->stepping) { /* the piece in `in` is not taken yet */
        ex->stepping = in_place(ex) && dispatch(ex);
        if (ex->stepping || ex->cut) {
            return ex->cut ? MHD_NO : MHD_YES;
        }
    }
    if (ex->peeked) {
        ex->peeked = false;
        upload++;
        if (--*upload_len == 0 && ex->phase == PHASE_BODY) {
            return wait_for_body(ex);
        }
    }
    if (ex->phase == PHASE_BODY) {
        take_bytes(ex, upload, upload_len);
    }
    if (ex->phase == PHASE_BODY) {
        if (*upload_len == 0 && ex->bytes_in == (uint64_t)ex->req.content_length) {
            return MHD_YES; /* the next call is for the end: one step takes the rest and ends */
        }
        if (ex->handler->body == NULL || (*upload_len == 0 && more_waits(ex))) {
            return wait_for_body(ex);
        }
        ex->peeked = *upload_len == 0;
        size_t left = ex->peeked ? 1 : *upload_len;
        ex->stepping = in_place(ex);
        if (dispatch(ex)) {
            *upload_len = left;
            return MHD_YES;
        }
        ex->stepping = false;
        ex->peeked = false;
    }
    if (ex->phase == PHASE_PULL && dispatch(ex)) {
        *upload_len = *upload_len == 0 ? 1 : *upload_len; /* an early stream is gathered */
        return MHD_YES;
    }
    if (ex->cut) {
        return MHD_NO;
    }
    return ex->phase == PHASE_ANSWER ? drop(ex, upload_len) : wait_for_body(ex);
}

static enum MHD_Result access_final(struct http_exchange *ex)
{
    ex->body_whole = true;
    ex->expects = false;
    if (ex->phase == PHASE_BODY) {
        ex->phase = PHASE_END;
    }
    for (;;) {
        if (ex->cut) {
            return MHD_NO;
        }
        bool ready = ex->phase == PHASE_ANSWER ||
                     (ex->phase == PHASE_PULL && (ex->pull_ended || ex->out.len > ex->out_pos));
        if (ready) {
            return reply_queue(ex);
        }
        if (dispatch(ex)) {
            return MHD_YES;
        }
    }
}

enum MHD_Result exchange_on_access(void *server, struct MHD_Connection *mhd, const char *url,
                                   const char *method, const char *version, const char *upload,
                                   size_t *upload_len, void **exchange)
{
    (void)server, (void)mhd, (void)url;
    struct http_exchange *ex = *exchange;
    if (ex == NULL || ex->cut) {
        return MHD_NO;
    }
    atomic_store_explicit(&ex->conn->receiving, false, memory_order_relaxed);
    atomic_fetch_add_explicit(&ex->conn->turns, 1, memory_order_relaxed);
    body_clock_stop(ex);
    if (ex->phase == PHASE_HEAD) {
        atomic_store_explicit(&ex->conn->head_deadline, DEADLINE_NEVER, memory_order_relaxed);
        account_begin(ex);
        head_read(ex, method, version);
    }
    if (!ex->head_passed) {
        return access_head(ex);
    }
    if (*upload_len > 0) {
        return access_body(ex, upload, upload_len);
    }
    return access_final(ex);
}

ssize_t exchange_read(void *exchange, uint64_t pos, char *ptr, size_t cap)
{
    (void)pos;
    struct http_exchange *ex = exchange;
    for (;;) {
        size_t waiting = ex->out.len - ex->out_pos;
        if (waiting > 0) {
            size_t take = waiting < cap ? waiting : cap;
            memcpy(ptr, ex->out.ptr + ex->out_pos, take);
            ex->out_pos += take;
            ex->bytes_out += take;
            return (ssize_t)take;
        }
        if (ex->cut || ex->cut_after) {
            ex->cut = true;
            return MHD_CONTENT_READER_END_WITH_ERROR;
        }
        if (ex->pull_ended) {
            /* libmicrohttpd does not ask beyond a promised length, so a stream that has one is
             * short here */
            ex->cut = ex->reply.length >= 0;
            return ex->cut ? MHD_CONTENT_READER_END_WITH_ERROR : MHD_CONTENT_READER_END_OF_STREAM;
        }
        if (dispatch(ex)) {
            return 0;
        }
    }
}

/* --- death --- */

static void exchange_free(struct http_exchange *ex)
{
    struct http_server *server = ex->server;
    bool counted = ex->counted;
    reply_clear(ex);
    json_doc_done(&ex->json);
    buf_done(&ex->in);
    buf_done(&ex->out);
    buf_done(&ex->raw);
    arena_done(&ex->req.arena);
    mem_free(ex);
    if (counted) {
        pthread_mutex_lock(&server->lock);
        server->active--;
        pthread_cond_broadcast(&server->changed);
        pthread_mutex_unlock(&server->lock);
    }
}

static void job_done(void *arg)
{
    struct http_exchange *ex = arg;
    if (ex->started && ex->handler->done != NULL) {
        ex->handler->done(&ex->req);
    }
    account_end(ex);
    exchange_free(ex);
}

void exchange_on_completed(void *server_ptr, struct MHD_Connection *mhd, void **exchange,
                           enum MHD_RequestTerminationCode code)
{
    (void)mhd;
    struct http_server *server = server_ptr;
    struct http_exchange *ex = *exchange;
    *exchange = NULL;
    if (ex == NULL) {
        return;
    }
    ex->conn->exchange = NULL;
    /* the next head on this connection, after it was idle for as long as it may */
    atomic_store_explicit(&ex->conn->head_deadline,
                          deadline_in(server->opts.idle_timeout_ms + server->opts.head_timeout_ms),
                          memory_order_relaxed);
    atomic_store_explicit(&ex->conn->body_deadline, DEADLINE_NEVER, memory_order_relaxed);
    atomic_store_explicit(&ex->conn->receiving, true, memory_order_relaxed);
    if (atomic_load_explicit(&ex->conn->slow_body, memory_order_relaxed)) {
        (void)err_set(&ex->req.err, E_TIMEOUT,
                      "the body came slower than %llu bytes a second (http.body_rate_min)",
                      (unsigned long long)server->opts.body_rate_min);
    }
    if (!ex->counted) { /* libmicrohttpd refused the head by itself */
        metric_add(server->m_refused_malformed, 1);
        exchange_free(ex);
        return;
    }
    ex->req.failed = !(code == MHD_REQUEST_TERMINATED_COMPLETED_OK && ex->queued && !ex->cut) &&
                     !ex->raw_whole;
    bool here = ex->entry == NULL || in_place(ex) || !ex->started || ex->handler->done == NULL ||
                ex->req.done_is_quick;
    ex->conn = NULL; /* may be closed before done runs */
    if (here || pool_submit(server->pool, job_done, ex, NULL) != OK) {
        job_done(ex);
    }
}
