/*
 * What children ask while their job runs. The monitor takes the question from the control socket, a
 * thread of the call pool lets the job's owner answer it, and the answer goes back over the socket
 * that came with the question: one short message, whose body is a memory file when it is long, so
 * that no thread of ours waits for a child to read.
 */
#include <unistd.h>

#include "base/json.h"
#include "base/mem.h"
#include "engine/engine_priv.h"

enum { CALL_NAME_MAX = 32 };

static void reply(int fd, enum status status, struct str body, int give_fd)
{
    AUTO(fd_done) int file = -1;
    struct wire_head head = { .type = WIRE_REPLY, .a = (uint32_t)status, .b = body.len };
    int fds[2];
    size_t fd_count = 0;
    if (body.len > WIRE_BODY_MAX) {
        struct err err;
        enum status kind = wire_memory_file(body, &file, &err);
        if (kind != OK) {
            reply(fd, kind, str_of(err.msg), -1);
            return;
        }
        head.flags |= WIRE_IN_FILE;
        fds[fd_count++] = file;
        body = STR_EMPTY;
    }
    if (give_fd >= 0) {
        head.flags |= WIRE_WITH_FD;
        fds[fd_count++] = give_fd;
    }
    enum status sent = wire_send(fd, &head, body, fds, fd_count, false, NULL);
    (void)sent; /* a child that is not there any more needs no answer */
}

static void call_free(struct engine_call *call)
{
    fd_done(&call->reply_fd);
    mem_free(call);
}

/** Ask the owner of the job. */
static void answer(struct engine_call *call, struct engine_run *run)
{
    AUTO(json_doc_done) yyjson_doc *args = NULL;
    AUTO(fd_done) int give_fd = -1;
    struct buf body;
    struct err err = { 0 };
    buf_init(&body, WIRE_PAYLOAD_MAX);
    enum status kind = json_parse(str_from(call->bytes + call->name_len, call->args_len), &args,
                                  &err);
    if (kind == OK && run->job.call == NULL) {
        kind = err_set(&err, E_UNSUPPORTED, "this job answers no calls");
    }
    if (kind == OK) {
        kind = run->job.call(run->job.ctx, str_from(call->bytes, call->name_len),
                             yyjson_doc_get_root(args), &body, &give_fd, &err);
    }
    if (kind == OK) {
        reply(call->reply_fd, OK, buf_str(&body), give_fd);
    } else {
        reply(call->reply_fd, kind, str_of(err.msg), -1);
    }
    buf_done(&body);
}

static void unlink_call(struct engine_run *run, const struct engine_call *call)
{
    for (struct engine_call **at = &run->calls; *at != NULL; at = &(*at)->next) {
        if (*at == call) {
            *at = call->next;
            run->call_count--;
            return;
        }
    }
}

static void call_run(void *arg)
{
    struct engine_call *call = arg;
    struct engine_pool *pool = call->pool;
    pthread_mutex_lock(&pool->lock);
    struct engine_run *run = call->run;
    call->begun = true;
    pthread_mutex_unlock(&pool->lock);
    if (run != NULL) {
        answer(call, run);
        pthread_mutex_lock(&pool->lock);
        if (run->call_count >= CALLS_PER_JOB_MAX) {
            engine_wake(pool); /* the monitor listens to this child again */
        }
        unlink_call(run, call);
        pthread_cond_broadcast(&pool->changed);
        pthread_mutex_unlock(&pool->lock);
    }
    call_free(call);
}

/** The question, taken out of the message; NULL when it is none. */
static struct engine_call *call_new(struct wire_message *message)
{
    size_t name_len = message->head.a;
    if (message->fd_count != 1 || name_len == 0 || name_len > CALL_NAME_MAX ||
        message->body_len <= name_len || message->body_len - name_len > WIRE_CALL_ARGS_MAX) {
        return NULL;
    }
    struct engine_call *call = mem_zalloc(sizeof(*call) + message->body_len);
    if (call == NULL) {
        return NULL;
    }
    call->reply_fd = message->fds[0];
    message->fds[0] = -1;
    call->name_len = name_len;
    call->args_len = message->body_len - name_len;
    memcpy(call->bytes, message->body, message->body_len);
    return call;
}

void engine_call_begin(struct engine_pool *pool, struct engine_child *child,
                       struct wire_message *message)
{
    metric_add(pool->metrics.calls, 1);
    struct engine_run *run = child->run;
    if (run == NULL) {
        /* given up: the socket for the reply is closed with the message, which the child
         * understands */
        return;
    }
    struct engine_call *call = call_new(message);
    if (call == NULL) {
        engine_child_kill(pool, child, KILL_PROTOCOL);
        return;
    }
    call->pool = pool;
    call->run = run;
    struct err err;
    enum status kind = pool_submit(pool->call_pool, call_run, call, &err);
    if (kind != OK) {
        reply(call->reply_fd, kind, str_of(err.msg), -1);
        call_free(call);
        return;
    }
    /* Its thread takes the lock first, which we hold. */
    call->next = run->calls;
    run->calls = call;
    run->call_count++;
}

void engine_calls_end(struct engine_pool *pool, struct engine_run *run)
{
    for (struct engine_call *call = run->calls, *next; call != NULL; call = next) {
        next = call->next;
        if (!call->begun) {
            unlink_call(run, call);
            call->run = NULL;
        }
    }
    while (run->calls != NULL) {
        pthread_cond_wait(&pool->changed, &pool->lock);
    }
}
