/*
 * Running a handler's steps, on a worker or (HTTP_INLINE) on the HTTP thread. One call of step_run
 * does as much as can be done without the client or a descriptor: begin, then back for the body;
 * the last piece of the body, end, and the first pulls.
 *
 * A stream gives its bytes to the client early rather than late: after each pull that took a while,
 * and when 64 KiB are there. One that has ended before anything left goes out as a plain answer
 * with a length.
 */
#include "http/server_priv.h"

enum {
    PULL_BYTES = 64 * 1024,
    /* longer than this nobody waits for more while bytes are there; chosen, not measured */
    PULL_US = 2000,
};

/* What a step's return value means, once answers and failures are looked at. */
enum outcome { OUTCOME_NEXT, OUTCOME_AGAIN, OUTCOME_WAIT, OUTCOME_OFFLOAD, OUTCOME_ANSWERED };

static void answer_missing(struct http_exchange *ex)
{
    if (ex->req.err.kind == OK) {
        (void)err_set(&ex->req.err, E_INTERNAL, "the handler of \"%s\" gave no answer",
                      ex->entry->pattern);
    }
    reply_error(ex, ex->req.err.kind, 0);
}

/* An answer that is set counts, whatever the step returned with it. */
static enum outcome settle(struct http_exchange *ex, enum http_step step)
{
    if (ex->reply.kind != REPLY_NONE) {
        return OUTCOME_ANSWERED;
    }
    switch (step) {
    case HTTP_NEXT:
        return OUTCOME_NEXT;
    case HTTP_AGAIN:
        return OUTCOME_AGAIN;
    case HTTP_WAIT:
        return OUTCOME_WAIT;
    case HTTP_OFFLOAD:
        assert((ex->entry->route.flags & HTTP_INLINE) && !ex->offloaded);
        ex->offloaded = true;
        return OUTCOME_OFFLOAD;
    case HTTP_END:
    case HTTP_CUT:
        break;
    }
    answer_missing(ex);
    return OUTCOME_ANSWERED;
}

static void answered(struct http_exchange *ex)
{
    ex->early = ex->req.has_body && !ex->body_whole;
    ex->phase = ex->reply.kind == REPLY_STREAM ? PHASE_PULL : PHASE_ANSWER;
}

/* True: go on with the next phase; false: give what `give` says. */
static bool run_begin(struct http_exchange *ex, enum step_give *give)
{
    ex->started = true;
    switch (settle(ex, ex->handler->begin(&ex->req))) {
    case OUTCOME_NEXT:
        ex->phase = PHASE_BODY;
        *give = STEP_TO_HTTP;
        return false;
    case OUTCOME_WAIT:
        *give = STEP_PARK;
        return false;
    case OUTCOME_OFFLOAD:
        *give = STEP_TO_WORKER;
        return false;
    case OUTCOME_AGAIN:
        return true;
    case OUTCOME_ANSWERED:
        break;
    }
    answered(ex);
    return true;
}

/* The bytes in ex->in. They count as taken only with HTTP_NEXT. */
static bool run_body(struct http_exchange *ex, enum step_give *give)
{
    ex->started = true;
    switch (settle(ex, ex->handler->body(&ex->req, buf_str(&ex->in)))) {
    case OUTCOME_NEXT:
        buf_clear(&ex->in);
        *give = STEP_TO_HTTP;
        return ex->phase == PHASE_END;
    case OUTCOME_WAIT:
        *give = STEP_PARK;
        return false;
    case OUTCOME_OFFLOAD:
        *give = STEP_TO_WORKER;
        return false;
    case OUTCOME_AGAIN:
        return true;
    case OUTCOME_ANSWERED:
        break;
    }
    answered(ex);
    return true;
}

static bool run_end(struct http_exchange *ex, enum step_give *give)
{
    if (ex->handler->body != NULL && ex->in.len > 0) {
        return run_body(ex, give);
    }
    if (ex->handler->body == NULL) {
        ex->req.body = buf_str(&ex->in);
    }
    ex->started = true;
    switch (settle(ex, ex->handler->end(&ex->req))) {
    case OUTCOME_WAIT:
        *give = STEP_PARK;
        return false;
    case OUTCOME_OFFLOAD:
        *give = STEP_TO_WORKER;
        return false;
    case OUTCOME_AGAIN:
        return true;
    case OUTCOME_NEXT:
        answer_missing(ex);
        break;
    case OUTCOME_ANSWERED:
        break;
    }
    answered(ex);
    return true;
}

/* Make a whole answer of a stream that ended before its head left. */
static void stream_to_buffer(struct http_exchange *ex)
{
    buf_done(&ex->reply.body);
    ex->reply.body = ex->out;
    buf_init(&ex->out, EARLY_ANSWER_MAX);
    ex->reply.kind = REPLY_BUFFER;
    ex->phase = PHASE_ANSWER;
}

/* A stream that ends before the connection saw its head. One that is shorter than its handler has
 * promised must be seen to be cut. */
static bool ended_unseen(struct http_exchange *ex)
{
    bool promised = ex->reply.length >= 0 && (uint64_t)ex->reply.length != ex->out.len;
    if (ex->queued || (!ex->early && (promised || ex->out_pos > 0))) {
        return false;
    }
    stream_to_buffer(ex);
    return true;
}

/* Returns true to pull again at once. */
static bool after_pull(struct http_exchange *ex, int64_t started_us, enum step_give *give)
{
    size_t waiting = ex->out.len - ex->out_pos;
    if (ex->early) {
        ex->cut = waiting > EARLY_ANSWER_MAX;
        *give = STEP_TO_HTTP;
        return !ex->cut;
    }
    if (waiting == 0) {
        return true;
    }
    *give = STEP_TO_HTTP;
    return waiting < PULL_BYTES && clock_now_us() - started_us < PULL_US;
}

static bool run_pull_end(struct http_exchange *ex, enum step_give *give)
{
    ex->pull_ended = true;
    (void)ended_unseen(ex);
    *give = STEP_TO_HTTP;
    return false;
}

static bool run_pull(struct http_exchange *ex, int64_t started_us, enum step_give *give)
{
    if (ex->req.method == HTTP_HEAD || ex->reply.status == 204 || ex->reply.status == 304) {
        ex->pull_ended = true; /* the head is all; it keeps the length that the stream would have */
        *give = STEP_TO_HTTP;
        return ex->early && ended_unseen(ex);
    }
    if (ex->out_pos == ex->out.len) {
        buf_clear(&ex->out);
        ex->out_pos = 0;
    }
    enum http_step step = ex->handler->pull == NULL ? HTTP_END : ex->handler->pull(&ex->req);
    if (ex->reply.kind != REPLY_STREAM) { /* failed before the head left */
        buf_clear(&ex->out);
        ex->phase = PHASE_ANSWER;
        *give = STEP_TO_HTTP;
        return false;
    }
    switch (step) {
    case HTTP_NEXT:
    case HTTP_AGAIN:
        return after_pull(ex, started_us, give);
    case HTTP_END:
        return run_pull_end(ex, give);
    case HTTP_WAIT:
        /* what is there leaves first; dispatch parks the request when it has left */
        ex->wait_pending = ex->out.len > ex->out_pos && !ex->early;
        *give = ex->wait_pending ? STEP_TO_HTTP : STEP_PARK;
        return false;
    case HTTP_CUT:
    case HTTP_OFFLOAD: /* pulls run where the head was made */
        break;
    }
    if (!ex->queued) {
        reply_clear(ex);
        buf_clear(&ex->out);
        answer_missing(ex);
        ex->phase = PHASE_ANSWER;
    } else {
        ex->cut_after = true;
    }
    *give = STEP_TO_HTTP;
    return false;
}

enum step_give step_run(struct http_exchange *ex)
{
    enum step_give give = STEP_TO_HTTP;
    int64_t started_us = clock_now_us();
    for (;;) {
        bool more = false;
        if (atomic_load_explicit(&ex->server->cut_now, memory_order_relaxed)) {
            ex->cut = true;
            return STEP_TO_HTTP;
        }
        switch (ex->phase) {
        case PHASE_BEGIN:
            more = run_begin(ex, &give);
            break;
        case PHASE_BODY:
            more = run_body(ex, &give);
            break;
        case PHASE_END:
            more = run_end(ex, &give);
            break;
        case PHASE_PULL:
            more = run_pull(ex, started_us, &give);
            break;
        case PHASE_HEAD:
        case PHASE_ANSWER:
            give = STEP_TO_HTTP;
            break;
        }
        if (!more) {
            return give;
        }
    }
}
