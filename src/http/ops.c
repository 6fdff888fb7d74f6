/*
 * /health, /ready and /metrics, the same for every service. Health and metrics answer on the HTTP
 * thread, so that they can be asked when every worker is busy; readiness may ask others and runs on
 * a worker, at most once a second while the answer is yes. A no is asked again soon: whoever polls
 * it waits for the start.
 */
#include "http/server_priv.h"

#include "base/mem.h"

enum { READY_FRESH_US = 1000 * 1000, NOT_READY_FRESH_US = 10 * 1000 };

struct ops {
    struct http_server *server;
    enum status (*ready)(void *ctx, struct err *err);
    void *ready_ctx;
    pthread_mutex_t lock; /* held while `ready` runs: one asks, the others wait for its answer */
    struct err last;      /* guarded by lock */
    int64_t asked_us;     /* guarded by lock; 0: never */
};

static enum http_step answer_state(struct http_req *req, const char *state)
{
    struct ops *ops = req->ctx;
    struct buf json;
    struct json_writer w;
    buf_init(&json, 4096);
    json_writer_init(&w, &json);
    jw_obj_begin(&w);
    jw_kv_cstr(&w, "status", state);
    jw_kv_cstr(&w, "service", ops->server->opts.service);
    const char *version = ops->server->opts.version;
    jw_kv_cstr(&w, "version", version != NULL ? version : "unknown");
    jw_obj_end(&w);
    if (json_writer_end(&w) != OK) {
        buf_done(&json);
        return http_fail(req, err_no_memory(&req->err));
    }
    return http_reply_json(req, 200, &json);
}

static enum http_step health_end(struct http_req *req)
{
    return answer_state(req, "ok");
}

static enum http_step ready_end(struct http_req *req)
{
    struct ops *ops = req->ctx;
    pthread_mutex_lock(&ops->lock);
    int64_t now_us = clock_now_us();
    int64_t fresh_us = ops->last.kind == OK ? READY_FRESH_US : NOT_READY_FRESH_US;
    if (ops->ready != NULL && (ops->asked_us == 0 || now_us - ops->asked_us > fresh_us)) {
        ops->last = (struct err){ .kind = OK };
        enum status kind = ops->ready(ops->ready_ctx, &ops->last);
        if (kind != OK && ops->last.kind == OK) {
            (void)err_set(&ops->last, kind, "not ready");
        } else if (kind == OK) {
            ops->last.kind = OK;
        }
        ops->asked_us = now_us;
    }
    struct err last = ops->last;
    pthread_mutex_unlock(&ops->lock);
    if (last.kind != OK) {
        (void)err_set(&req->err, E_UNAVAILABLE, "%s", last.msg);
        return http_fail(req, E_UNAVAILABLE);
    }
    return answer_state(req, "ready");
}

static enum http_step metrics_end(struct http_req *req)
{
    struct ops *ops = req->ctx;
    struct buf text;
    buf_init(&text, 16 * 1024 * 1024);
    if (metrics_render(ops->server->opts.metrics, &text) != OK) {
        buf_done(&text);
        return http_fail(req, err_no_memory(&req->err));
    }
    return http_reply_buf(req, 200, "text/plain; version=0.0.4; charset=utf-8", &text);
}

static const struct http_handler health_handler = { .end = health_end };
static const struct http_handler ready_handler = { .end = ready_end };
static const struct http_handler metrics_handler = { .end = metrics_end };

static const struct http_route ops_routes[] = {
    { .method = HTTP_GET,
      .pattern = "/health",
      .handler = &health_handler,
      .flags = HTTP_INLINE | HTTP_QUIET },
    { .method = HTTP_GET, .pattern = "/ready", .handler = &ready_handler, .flags = HTTP_QUIET },
    { .method = HTTP_GET,
      .pattern = "/metrics",
      .handler = &metrics_handler,
      .flags = HTTP_INLINE | HTTP_QUIET },
};

enum status http_server_mount_ops(struct http_server *server, const char *prefix,
                                  enum status (*ready)(void *ctx, struct err *err), void *ctx,
                                  struct err *err)
{
    if (server->ops == NULL) {
        server->ops = mem_zalloc(sizeof(*server->ops));
        if (server->ops == NULL) {
            return err_no_memory(err);
        }
        pthread_mutex_init(&server->ops->lock, NULL);
        server->ops->server = server;
        server->ops->ready = ready;
        server->ops->ready_ctx = ctx;
    }
    return http_server_mount(server, prefix, ops_routes, ARRAY_LEN(ops_routes), server->ops, err);
}

void ops_free(struct ops *ops)
{
    if (ops != NULL) {
        pthread_mutex_destroy(&ops->lock);
        mem_free(ops);
    }
}
