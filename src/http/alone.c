/*
 * The exchange is a real one but for its connection and its server, so a handler calls what it
 * always calls. What the server does with an answer is done here by hand.
 */
#include "http/alone.h"

#include <unistd.h>

#include "base/mem.h"
#include "http/server_priv.h"

enum { READ_BYTES = 64 * 1024 };

static enum status set_up(struct http_exchange *ex, const struct http_handler *handler, void *ctx,
                          const struct http_alone_request *request, struct err *err)
{
    struct http_req *req = &ex->req;
    struct str rest = request->target;
    arena_init(&req->arena, 0);
    buf_init(&ex->out, 0);
    buf_init(&ex->reply.body, 0);
    ex->reply.fd = -1;
    req->exchange = ex;
    req->method = http_method_parse(request->method);
    req->method_name = request->method;
    req->target = request->target;
    req->path = str_split(&rest, '?');
    req->query = rest.ptr != NULL ? rest : STR_EMPTY;
    req->has_body = request->body.len > 0;
    req->content_length = (int64_t)request->body.len;
    req->request_id = STR("alone");
    req->deadline = DEADLINE_NEVER;
    req->ctx = ctx;
    for (size_t i = 0; request->headers != NULL && i < request->headers->count; i++) {
        const struct http_header *header = &request->headers->items[i];
        TRY(http_headers_add(&req->headers, &req->arena, header->name, header->value));
    }
    req->state = arena_alloc(&req->arena, handler->state_bytes + 1);
    if (req->state == NULL) {
        return err_no_memory(err);
    }
    memset(req->state, 0, handler->state_bytes + 1);
    return OK;
}

static bool answered(const struct http_exchange *ex)
{
    return ex->reply.kind != REPLY_NONE || ex->cut;
}

static void step(struct http_exchange *ex, enum http_step (*call)(struct http_req *))
{
    enum http_step step = HTTP_OFFLOAD;
    for (int i = 0; call != NULL && i < 2 && step == HTTP_OFFLOAD; i++) {
        step = call(&ex->req);
    }
    ex->cut = ex->cut || step == HTTP_CUT;
}

static void run(struct http_exchange *ex, const struct http_handler *handler,
                const struct http_alone_request *request)
{
    struct str rest = request->body;
    step(ex, handler->begin);
    while (rest.len > 0 && !answered(ex) && handler->body != NULL) {
        size_t most = request->piece_bytes > 0 ? request->piece_bytes : rest.len;
        struct str piece = str_take(rest, most < rest.len ? most : rest.len);
        enum http_step step = handler->body(&ex->req, piece);
        step = step == HTTP_OFFLOAD ? handler->body(&ex->req, piece) : step;
        ex->cut = step == HTTP_CUT;
        rest = str_skip(rest, piece.len);
    }
    ex->req.body = request->body;
    if (!answered(ex)) {
        step(ex, handler->end);
    }
}

/** The bytes of the answer, behind each other in ex->out. */
static enum status collect(struct http_exchange *ex, const struct http_handler *handler)
{
    if (ex->reply.kind == REPLY_BUFFER) {
        return buf_append(&ex->out, buf_str(&ex->reply.body));
    }
    if (ex->reply.kind == REPLY_STREAM && ex->req.method != HTTP_HEAD) {
        enum http_step step = handler->pull == NULL ? HTTP_END : HTTP_AGAIN;
        while (step == HTTP_AGAIN || step == HTTP_NEXT) {
            step = handler->pull(&ex->req);
        }
        ex->cut = step == HTTP_CUT;
    }
    char piece[READ_BYTES];
    while (ex->reply.kind == REPLY_FD && ex->reply.length > 0) {
        size_t want = (size_t)ex->reply.length < sizeof piece ? (size_t)ex->reply.length
                                                              : sizeof piece;
        ssize_t got = pread(ex->reply.fd, piece, want, (off_t)ex->reply.offset);
        ex->cut = got <= 0;
        if (ex->cut) {
            break;
        }
        TRY(buf_append_bytes(&ex->out, piece, (size_t)got));
        ex->reply.offset += (uint64_t)got;
        ex->reply.length -= got;
    }
    return OK;
}

static enum status hand_over(struct http_exchange *ex, struct arena *arena,
                             struct http_alone_answer *out, struct err *err)
{
    struct http_alone_answer answer = { .cut = ex->cut,
                                        .status = ex->reply.kind != REPLY_NONE ? ex->reply.status
                                                                               : 0 };
    for (size_t i = 0; i < ex->reply.headers.count; i++) {
        const struct http_header *header = &ex->reply.headers.items[i];
        TRY(http_headers_add(&answer.headers, arena, header->name, header->value));
    }
    answer.body = arena_str(arena, buf_str(&ex->out));
    if (answer.body.ptr == NULL) {
        return err_no_memory(err);
    }
    *out = answer;
    return OK;
}

enum status http_alone(const struct http_handler *handler, void *ctx,
                       const struct http_alone_request *request, struct arena *arena,
                       struct http_alone_answer *out, struct err *err)
{
    struct http_exchange *ex = mem_zalloc(sizeof(*ex));
    if (ex == NULL) {
        return err_no_memory(err);
    }
    enum status status = set_up(ex, handler, ctx, request, err);
    if (status == OK) {
        run(ex, handler, request);
        status = collect(ex, handler);
        if (handler->done != NULL) {
            handler->done(&ex->req);
        }
    }
    status = status == OK ? hand_over(ex, arena, out, err) : status;
    if (ex->reply.fd >= 0) {
        close(ex->reply.fd);
    }
    buf_done(&ex->out);
    buf_done(&ex->reply.body);
    arena_done(&ex->req.arena);
    mem_free(ex);
    return status;
}
