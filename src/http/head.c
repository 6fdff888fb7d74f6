/*
 * From a head to a request: copy what the client sent into the request's arena, ask the guards,
 * find the route. A refusal is an answer like any other and leaves by the same door.
 */
#include "http/server_priv.h"

#include <unistd.h>

#include "base/encode.h"
#include "http/guard.h"

struct header_copy {
    struct http_exchange *ex;
    size_t bytes;
    bool failed;
};

static enum MHD_Result copy_header(void *ctx, enum MHD_ValueKind kind, const char *name,
                                   size_t name_len, const char *value, size_t value_len)
{
    (void)kind;
    struct header_copy *copy = ctx;
    struct http_req *req = &copy->ex->req;
    copy->bytes += name_len + value_len + 4;
    copy->failed = http_headers_add(&req->headers, &req->arena, str_from(name, name_len),
                                    str_from(value == NULL ? "" : value, value_len)) != OK;
    return copy->failed ? MHD_NO : MHD_YES;
}

static void make_request_id(struct http_exchange *ex)
{
    struct http_req *req = &ex->req;
    struct str given = http_headers_get(&req->headers, STR("x-request-id"));
    if (ex->server->opts.trust_request_id && guard_request_id(given)) {
        req->request_id = given;
        return;
    }
    /* Told apart from all others, but no secret: what is random is drawn once for each server. */
    static const char digits[] = "0123456789abcdef";
    uint64_t count = atomic_fetch_add_explicit(&ex->server->ids_made, 1, memory_order_relaxed);
    char text[32];
    for (size_t i = 0; i < 16; i++) {
        text[i] = digits[ex->server->id_high >> 4 * i & 15];
        text[i + 16] = digits[(ex->server->id_low + count) >> 4 * (15 - i) & 15];
    }
    req->request_id = arena_str(&req->arena, str_from(text, sizeof(text)));
}

static enum status copy_head(struct http_exchange *ex, const char *method)
{
    struct http_req *req = &ex->req;
    struct header_copy copy = { .ex = ex };
    (void)MHD_get_connection_values_n(ex->conn->mhd, MHD_HEADER_KIND, copy_header, &copy);
    make_request_id(ex);
    req->method_name = arena_str(&req->arena, str_of(method));
    if (copy.failed || req->method_name.ptr == NULL || req->request_id.ptr == NULL) {
        return err_no_memory(&req->err);
    }
    req->method = http_method_parse(req->method_name);
    size_t question = str_find_char(req->target, '?');
    req->path = str_take(req->target, question == SIZE_MAX ? req->target.len : question);
    req->query = question == SIZE_MAX ? STR_EMPTY : str_skip(req->target, question + 1);
    if (copy.bytes + req->target.len > ex->server->opts.header_bytes_max) {
        return err_set(&req->err, E_TOO_LARGE,
                       "the request's head is larger than the limit of %zu bytes",
                       ex->server->opts.header_bytes_max);
    }
    return OK;
}

/* What the framing headers say; libmicrohttpd has checked their syntax. */
static void read_framing(struct http_exchange *ex)
{
    struct http_req *req = &ex->req;
    uint64_t length = 0;
    struct str declared = http_headers_get(&req->headers, STR("content-length"));
    bool chunked = http_headers_count(&req->headers, STR("transfer-encoding")) > 0;
    bool counted = declared.ptr != NULL && str_to_u64(declared, &length) && length <= INT64_MAX;
    req->content_length = counted && !chunked ? (int64_t)length : -1;
    /* a length that is none will be refused, and its body with it */
    req->has_body = chunked || (declared.ptr != NULL && !(counted && length == 0));
    struct str expect = http_headers_get(&req->headers, STR("expect"));
    ex->expects = !ex->http10 && req->has_body && str_eq_nocase(expect, STR("100-continue"));
}

/* Refuse with an HTTP status that no kind has. */
static bool refuse_with(struct http_exchange *ex, enum status kind, int http_status)
{
    ex->early = ex->req.has_body;
    reply_error(ex, kind, http_status);
    ex->phase = PHASE_ANSWER;
    metric_add(ex->server->m_refused_guard, 1);
    return false;
}

/* A listed foreign origin may read the answer, and ask first. Returns false when the question is
 * answered. */
static bool allow_origin(struct http_exchange *ex, struct str origin)
{
    struct http_req *req = &ex->req;
    bool asks = req->method == HTTP_OPTIONS &&
                http_headers_count(&req->headers, STR("access-control-request-method")) > 0;
    ex->cors_origin = origin;
    if (!asks) {
        return true;
    }
    http_reply_header(req, "Access-Control-Allow-Methods",
                      STR("GET, HEAD, POST, PUT, DELETE, PATCH"));
    http_reply_header(
        req, "Access-Control-Allow-Headers",
        STR("Authorization, Content-Type, Range, If-Match, If-None-Match, X-Request-Id"));
    http_reply_header(req, "Access-Control-Max-Age", STR("600"));
    (void)http_reply_empty(req, 204);
    ex->phase = PHASE_ANSWER;
    return false;
}

static bool guard_head(struct http_exchange *ex)
{
    struct http_req *req = &ex->req;
    const struct http_server_opts *opts = &ex->server->opts;
    struct str host = http_headers_get(&req->headers, STR("host"));
    struct str origin = http_headers_get(&req->headers, STR("origin"));
    if (guard_framing(&req->headers, ex->http10, &req->err) != OK) {
        ex->close = true;
        return refuse_with(ex, E_INVALID, 0);
    }
    if (guard_target(req->target, opts->signed_edge, &req->err) != OK) {
        ex->close = true;
        return refuse_with(ex, E_INVALID, 0);
    }
    if (opts->signed_edge) {
        return true;
    }
    bool host_fine = host.ptr == NULL ? ex->http10
                                      : guard_host(host, opts->hosts) ||
                                            guard_host(host, ex->server->hosts_bind);
    if (!host_fine) {
        (void)err_set(
            &req->err, E_INVALID,
            "%s is not called \"%.*s\"; names besides localhost and addresses go into its setting gateway.hosts",
            opts->service, STR_ARG(host));
        return refuse_with(ex, E_INVALID, 421);
    }
    switch (guard_origin(origin, host, opts->origins)) {
    case GUARD_ORIGIN_OWN:
        return true;
    case GUARD_ORIGIN_LISTED:
        return allow_origin(ex, origin);
    case GUARD_ORIGIN_FOREIGN:
        break;
    }
    (void)err_set(
        &req->err, E_DENIED,
        "pages of \"%.*s\" may not call this server; origins that may go into [gateway] origins",
        STR_ARG(origin));
    return refuse_with(ex, E_DENIED, 0);
}

static bool guard_route(struct http_exchange *ex)
{
    struct http_req *req = &ex->req;
    const struct http_route *route = &ex->entry->route;
    if (route->flags & HTTP_INTERNAL) {
        struct str given = http_headers_get(&req->headers, STR("authorization")),
                   word = STR("Lakehouse ");
        bool fits = ex->server->secret.len > 0 && str_starts(given, word) &&
                    guard_secret_eq(str_skip(given, word.len), ex->server->secret);
        if (!fits) {
            (void)err_set(&req->err, E_DENIED, "this route is for the services among themselves");
            return refuse_with(ex, E_DENIED, 0);
        }
    }
    if ((route->flags & HTTP_JSON_BODY) &&
        !guard_is_json(http_headers_get(&req->headers, STR("content-type")))) {
        (void)err_set(&req->err, E_TYPE,
                      "this route takes JSON; send Content-Type: application/json");
        return refuse_with(ex, E_TYPE, 0);
    }
    uint64_t limit = route->body_bytes_max != 0  ? route->body_bytes_max
                     : ex->handler->body != NULL ? UINT64_MAX
                                                 : ex->server->opts.body_bytes_max;
    if (req->content_length > 0 && (uint64_t)req->content_length > limit) {
        (void)err_set(&req->err, E_TOO_LARGE,
                      "the body of %lld bytes is larger than the limit of %llu",
                      (long long)req->content_length, (unsigned long long)limit);
        return refuse_with(ex, E_TOO_LARGE, 0);
    }
    buf_init(&ex->in, ex->handler->body != NULL ? HTTP_CHUNK_BYTES : (size_t)limit);
    return true;
}

static bool find_route(struct http_exchange *ex)
{
    struct http_req *req = &ex->req;
    struct str allow = STR_EMPTY;
    enum status kind = router_find(&ex->server->router, req, &ex->entry, &allow, &req->err);
    if (kind != OK) {
        ex->entry = NULL; /* found, but its parameters were not fit */
        (void)refuse_with(ex, kind, 0);
        if (kind == E_METHOD) {
            http_reply_header(req, "Allow", allow);
        }
        return false;
    }
    ex->handler = ex->entry->route.handler;
    req->ctx = ex->entry->ctx;
    req->deadline = deadline_in(ex->entry->route.timeout_ms > 0 ? ex->entry->route.timeout_ms
                                                                : 60 * 1000);
    if (!guard_route(ex)) {
        return false;
    }
    if (ex->handler->state_bytes > 0 &&
        (req->state = arena_alloc(&req->arena, ex->handler->state_bytes)) == NULL) {
        (void)err_no_memory(&req->err);
        return refuse_with(ex, E_NO_MEMORY, 0);
    }
    return true;
}

/** Nothing of a request is done any more; where a 503 would be taken for "perhaps done", 429 says
 * that it was not. */
static void refuse_stopping(struct http_exchange *ex)
{
    struct http_req *req = &ex->req;
    struct str allow = STR_EMPTY;
    const struct router_entry *entry = NULL;
    bool found = router_find(&ex->server->router, req, &entry, &allow, NULL) == OK;
    bool rate = found && (entry->route.flags & HTTP_BUSY_IS_RATE) != 0;
    enum status kind = rate ? E_RATE : E_UNAVAILABLE;
    (void)err_set(&req->err, kind, "the server is stopping");
    (void)refuse_with(ex, kind, 0);
}

void head_read(struct http_exchange *ex, const char *method, const char *version)
{
    ex->http10 = strcmp(version, MHD_HTTP_VERSION_1_0) == 0;
    enum status kind = copy_head(ex, method);
    read_framing(ex);
    if (kind != OK) {
        ex->close = true;
        (void)refuse_with(ex, kind, kind == E_TOO_LARGE ? 431 : 0);
        return;
    }
    if (!guard_head(ex)) {
        return;
    }
    if (atomic_load_explicit(&ex->server->draining, memory_order_relaxed)) {
        refuse_stopping(ex);
        return;
    }
    if (find_route(ex)) {
        ex->phase = ex->handler->begin != NULL ? PHASE_BEGIN : PHASE_BODY;
    }
}
