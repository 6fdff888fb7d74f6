/*
 * What the edge keeps of each request: counters and one log line.
 */
#include "http/server_priv.h"

/* Statuses that get a slot; others share the last one's lookup by name each time. */
static int status_slot(int status)
{
    static const short known[] = { 200, 201, 202, 204, 206, 304, 400, 401, 403,
                                   404, 405, 409, 411, 412, 413, 415, 416, 421,
                                   429, 431, 499, 500, 501, 502, 503, 504, 507 };
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        if (known[i] == status) {
            return (int)i;
        }
    }
    return -1;
}

static void on_render(void *ctx)
{
    struct http_server *server = ctx;
    pthread_mutex_lock(&server->lock);
    size_t active = server->active;
    pthread_mutex_unlock(&server->lock);
    metric_set(server->m_in_flight, (double)active);
    metric_set(server->m_connections,
               (double)atomic_load_explicit(&server->connections, memory_order_relaxed));
    if (server->pool != NULL) {
        metric_set(server->m_queued, (double)pool_queued(server->pool));
        metric_set(server->m_running, (double)pool_running(server->pool));
    }
}

void account_setup(struct http_server *server)
{
    struct metrics *m = server->opts.metrics;
    const char *labels = server->opts.labels != NULL ? server->opts.labels : "";
    const char *refused = "lakehouse_http_refused_total",
               *refused_help = "Requests refused at the edge, by reason.";
    server->m_bytes_in = metric_get(m, METRIC_COUNTER, "lakehouse_http_request_bytes_total", labels,
                                    "Body bytes received.");
    server->m_bytes_out = metric_get(m, METRIC_COUNTER, "lakehouse_http_response_bytes_total",
                                     labels, "Body bytes sent.");
    server->m_in_flight = metric_get(m, METRIC_GAUGE, "lakehouse_http_in_flight", labels,
                                     "Requests being served.");
    server->m_connections = metric_get(m, METRIC_GAUGE, "lakehouse_http_connections", labels,
                                       "Open client connections.");
    server->m_queued = metric_get(m, METRIC_GAUGE, "lakehouse_worker_queue_depth", labels,
                                  "Steps that wait for a worker.");
    server->m_running = metric_get(m, METRIC_GAUGE, "lakehouse_worker_busy", labels,
                                   "Workers that run a step.");
    server->m_gone = metric_get(m, METRIC_COUNTER, "lakehouse_http_client_gone_total", labels,
                                "Requests whose client left before the answer was whole.");
    server->m_refused_queue = metric_get(m, METRIC_COUNTER, refused, "reason=\"queue\"",
                                         refused_help);
    server->m_refused_guard = metric_get(m, METRIC_COUNTER, refused, "reason=\"head\"",
                                         refused_help);
    server->m_refused_malformed = metric_get(m, METRIC_COUNTER, refused, "reason=\"malformed\"",
                                             refused_help);
    server->m_refused_slow_head = metric_get(m, METRIC_COUNTER, refused, "reason=\"slow_head\"",
                                             refused_help);
    server->m_refused_slow_body = metric_get(m, METRIC_COUNTER, refused, "reason=\"slow_body\"",
                                             refused_help);
    metrics_on_render(m, on_render, server);
}

static void count_request(struct http_exchange *ex, int status, double seconds)
{
    struct http_server *server = ex->server;
    size_t index = ex->entry == NULL ? server->router.count : ex->entry->index;
    const char *pattern = ex->entry == NULL ? "(none)" : ex->entry->pattern;
    struct route_metrics *route = &server->route_metrics[index];
    int slot = status_slot(status);
    struct metric *requests = slot < 0
                                  ? NULL
                                  : atomic_load_explicit(&route->requests[ex->req.method][slot],
                                                         memory_order_acquire);
    if (requests == NULL) {
        char labels[512];
        (void)snprintf(labels, sizeof(labels), "route=\"%s\",method=\"%s\",status=\"%d\"", pattern,
                       http_method_name(ex->req.method), status);
        requests = metric_get(server->opts.metrics, METRIC_COUNTER, "lakehouse_http_requests_total",
                              labels, "Requests by route, method and status.");
        if (slot >= 0) {
            /* publishes the series to the other threads that count it */
            atomic_store_explicit(&route->requests[ex->req.method][slot], requests,
                                  memory_order_release);
        }
    }
    metric_add(requests, 1);
    metric_observe(route->seconds, seconds);
}

void account_begin(struct http_exchange *ex)
{
    ex->counted = true;
    pthread_mutex_lock(&ex->server->lock);
    ex->server->active++;
    pthread_mutex_unlock(&ex->server->lock);
}

/** What an operator looks for stands out: a mistake of ours or a full disk, which nobody else will
 * mend; then what the machine or a neighbour could not do for now. A statement that needs more
 * memory than it may have (the other 507) is one client's. S3 has no 507: there it is a 503. A 501
 * is the client's business, as every 4xx is. */
static enum log_level level_of(const struct http_exchange *ex, int status)
{
    if (status == 500 || (status > 501 && ex->req.err.kind == E_DISK_FULL)) {
        return LOG_ERROR;
    }
    if (status > 501) {
        return LOG_WARN;
    }
    return ex->entry != NULL && (ex->entry->route.flags & HTTP_QUIET) ? LOG_DEBUG : LOG_INFO;
}

void account_end(struct http_exchange *ex)
{
    struct http_server *server = ex->server;
    struct http_req *req = &ex->req;
    double ms = (double)(clock_now_us() - ex->start_us) / 1000.0;
    int status = ex->queued ? ex->reply.status : 499;
    count_request(ex, status, ms / 1000.0);
    metric_add(server->m_bytes_in, (double)ex->bytes_in);
    metric_add(server->m_bytes_out, (double)ex->bytes_out);
    if (req->failed) {
        metric_add(server->m_gone, 1);
    }
    enum log_level level = level_of(ex, status);
    if (!log_enabled(level)) {
        return;
    }
    struct log_field fields[10 + LOG_FIELDS_MAX] = {
        L_STR("request_id", req->request_id),
        L_STR("method", req->method_name),
        L_STR("path", req->path),
        L_I64("status", status),
        L_F64("duration_ms", ms),
        L_I64("bytes_in", ex->bytes_in),
        L_I64("bytes_out", ex->bytes_out),
        L_BOOL("client_gone", req->failed),
    };
    size_t count = 8;
    if (req->err.kind != OK && status >= 400) {
        fields[count++] = L_CSTR("error", req->err.msg);
    }
    for (size_t i = 0; i < ex->log_field_count; i++) {
        fields[count++] = ex->log_fields[i];
    }
    log_event(level, "request", fields, count);
}
