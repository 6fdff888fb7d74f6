/*
 * The proxy in steps, over http/upstream.h.
 *
 *   begin   build the head that goes on: target without "/v1", hop-by-hop headers, our own token
 *           and Origin left out. A client that waits for `100 Continue` waits for the service's
 *           word
 *   body    each piece goes on before the next is taken, so a slow service slows its own client
 *           only
 *   end     the rest, then the answer's head
 *   pull    the answer's body
 *
 * An answer that comes before the body is whole (a 413) ends the request: it is collected and
 * answered, and the server drains the client. It is noticed when the next piece of the body comes:
 * while the client sends nothing, nobody looks.
 */
#include "gateway/gateway.h"

#include <poll.h>

#include "base/mem.h"

enum {
    AREA_MAX = 16,
    EARLY_BODY_MAX = 512 * 1024,
    PIECE_BYTES = 64 * 1024, /* of an answer: what the upstream reads at once */
};

struct area {
    struct upstream *upstream;
    struct http_url url;
    char service[32];
    const char *prefix; /* "/v1", which the service does not see, or "" */
    char pattern[64], tail_pattern[64];
    struct http_route routes[2];
};

struct gateway {
    struct area areas[AREA_MAX];
    size_t area_count;
    struct http_route health_route;
};

struct forward {
    struct upstream_call *call;
    bool taken;          /* the piece of this body step is already with the upstream */
    uint64_t body_bytes; /* of the body, with the upstream */
    bool sent;           /* end: everything has left */
    bool early;          /* the service has answered before the body was whole */
    bool head_known;
    struct upstream_head head;
    uint64_t answer_bytes; /* of the answer's body, with the client */
    struct buf early_body;
    bool early_body_open;
};

static enum http_step forward_begin(struct http_req *req);
static enum http_step forward_body(struct http_req *req, struct str bytes);
static enum http_step forward_end(struct http_req *req);
static enum http_step forward_pull(struct http_req *req);
static void forward_done(struct http_req *req);

static const struct http_handler forward_handler = {
    .begin = forward_begin,
    .body = forward_body,
    .end = forward_end,
    .pull = forward_pull,
    .done = forward_done,
    .state_bytes = sizeof(struct forward),
};

/* --- life --- */

/** Nothing in the steps waits, so they run where the bytes are; but a name must be asked for, and
 * that may take its time. */
static unsigned step_flags(const struct http_url *url)
{
    return http_address_is_literal(&url->address) ? HTTP_INLINE : 0;
}

static enum status area_init(struct area *area, const struct gateway_upstream *in,
                             int64_t head_timeout_ms, struct err *err)
{
    struct err why = { 0 };
    if (http_url_parse(str_of(in->url), &area->url, &why) != OK) {
        return err_set(err, E_INVALID, "%s = \"%s\": %s", in->setting, in->url, why.msg);
    }
    area->prefix = in->bare ? "" : "/v1";
    snprintf(area->service, sizeof(area->service), "%s", in->service);
    snprintf(area->pattern, sizeof(area->pattern), "/%s", in->area);
    snprintf(area->tail_pattern, sizeof(area->tail_pattern), "/%s/{rest*}", in->area);
    struct upstream_opts opts = { .url = area->url,
                                  .service = area->service,
                                  .head_timeout_ms = head_timeout_ms };
    if (upstream_new(&opts, &area->upstream, &why) != OK) {
        return err_set(err, E_INVALID, "%s = \"%s\": %s", in->setting, in->url, why.msg);
    }
    struct http_route route = { .method = HTTP_METHOD_OTHER,
                                .pattern = area->pattern,
                                .handler = &forward_handler,
                                .ctx = area,
                                .flags = HTTP_RAW_TAIL | step_flags(&area->url) |
                                         (in->busy_is_rate ? HTTP_BUSY_IS_RATE : 0) };
    area->routes[0] = route;
    route.pattern = area->tail_pattern;
    area->routes[1] = route;
    return OK;
}

enum status gateway_new(const struct gateway_opts *opts, struct gateway **out, struct err *err)
{
    assert(opts->upstream_count <= AREA_MAX);
    struct gateway *gateway = mem_zalloc(sizeof(*gateway));
    if (gateway == NULL) {
        return err_no_memory(err);
    }
    enum status status = OK;
    for (size_t i = 0; i < opts->upstream_count && status == OK; i++) {
        gateway->area_count = i + 1;
        status = area_init(&gateway->areas[i], &opts->upstreams[i], opts->head_timeout_ms, err);
    }
    if (status != OK) {
        gateway_free(gateway);
        return status;
    }
    gateway->health_route = (struct http_route){ .method = HTTP_GET,
                                                 .pattern = "/health/{service}",
                                                 .handler = &forward_handler,
                                                 .ctx = gateway,
                                                 .flags = HTTP_QUIET };
    *out = gateway;
    return OK;
}

enum status gateway_mount(struct gateway *gateway, struct http_server *server, struct err *err)
{
    for (size_t i = 0; i < gateway->area_count; i++) {
        struct area *area = &gateway->areas[i];
        TRY(http_server_mount(server, area->prefix, area->routes, ARRAY_LEN(area->routes), NULL,
                              err));
    }
    return http_server_mount(server, "/v1", &gateway->health_route, 1, NULL, err);
}

void gateway_free(struct gateway *gateway)
{
    if (gateway == NULL) {
        return;
    }
    for (size_t i = 0; i < gateway->area_count; i++) {
        upstream_free(gateway->areas[i].upstream);
    }
    mem_free(gateway);
}

/* --- the head that goes on --- */

/** Left out: hop-by-hop, what we set ourselves, what only the edge may judge, and a token that
 * outsiders must not use. */
static bool header_goes_on(const struct http_req *req, const struct http_header *header)
{
    static const char *const ours[] = { "Host",   "Content-Length", "Expect",
                                        "Origin", "X-Request-Id",   "Transfer-Encoding" };
    for (size_t i = 0; i < ARRAY_LEN(ours); i++) {
        if (str_eq_nocase(header->name, str_of(ours[i]))) {
            return false;
        }
    }
    if (str_eq_nocase(header->name, STR("Authorization")) &&
        str_starts(header->value, STR("Lakehouse "))) {
        return false;
    }
    return !http_header_is_hop(&req->headers, header->name);
}

static enum status head_write(const struct http_req *req, const struct area *area,
                              struct str target, struct buf *out)
{
    const struct http_address *address = &area->url.address;
    bool v6 = strchr(address->host, ':') != NULL;
    TRY(buf_printf(out, "%.*s %s%.*s HTTP/1.1\r\nHost: %s%s%s:%u\r\n", STR_ARG(req->method_name),
                   area->url.path, STR_ARG(target), v6 ? "[" : "", address->host, v6 ? "]" : "",
                   address->port));
    for (size_t i = 0; i < req->headers.count; i++) {
        const struct http_header *header = &req->headers.items[i];
        if (header_goes_on(req, header)) {
            TRY(buf_printf(out, "%.*s: %.*s\r\n", STR_ARG(header->name), STR_ARG(header->value)));
        }
    }
    TRY(buf_printf(out, "X-Request-Id: %.*s\r\n", STR_ARG(req->request_id)));
    if (http_client_expects(req)) {
        TRY(buf_append(out, STR("Expect: 100-continue\r\n")));
    }
    if (req->content_length >= 0) {
        TRY(buf_printf(out, "Content-Length: %lld\r\n", (long long)req->content_length));
    } else if (req->has_body) {
        TRY(buf_append(out, STR("Transfer-Encoding: chunked\r\n")));
    }
    return buf_append(out, STR("\r\n"));
}

/** The area of a request: its route's, or the one that /health/{service} names; NULL when there is
 * none. */
static struct area *area_of(struct http_req *req, struct str *target_out)
{
    if (!str_starts(req->path, STR("/v1/health/"))) {
        struct area *area = req->ctx;
        *target_out = str_skip(req->target, strlen(area->prefix));
        return area;
    }
    struct gateway *gateway = req->ctx;
    *target_out = STR("/health");
    for (size_t i = 0; i < gateway->area_count; i++) {
        if (str_eq(http_param(req, "service"), str_of(gateway->areas[i].service))) {
            return &gateway->areas[i];
        }
    }
    return NULL;
}

/** Make the call; nothing is sent yet. */
static enum http_step call_open(struct http_req *req)
{
    struct forward *forward = req->state;
    struct str target;
    struct area *area = area_of(req, &target);
    if (area == NULL) {
        return http_fail(req, err_set(&req->err, E_NOT_FOUND,
                                      "there is no service \"%.*s\" behind this gateway",
                                      STR_ARG(http_param(req, "service"))));
    }
    struct buf head;
    buf_init(&head, 0);
    bool chunked = req->has_body && req->content_length < 0;
    bool safe = http_client_expects(req) ||
                (!req->has_body && (req->method == HTTP_GET || req->method == HTTP_HEAD));
    enum status status = head_write(req, area, target, &head);
    if (status != OK) {
        status = err_no_memory(&req->err);
    } else {
        status = upstream_call_new(area->upstream, buf_str(&head), safe, chunked, &forward->call,
                                   &req->err);
    }
    buf_done(&head);
    return status == OK ? HTTP_NEXT : http_fail(req, status);
}

/* --- the answer --- */

static enum http_step wait_for(struct http_req *req, enum upstream_state state)
{
    struct forward *forward = req->state;
    short events = state == UPSTREAM_WANT_WRITE ? POLLOUT | POLLIN : POLLIN;
    return http_wait(req, upstream_call_fd(forward->call), events,
                     upstream_call_deadline(forward->call));
}

/** Headers of the answer that our server does not write itself. */
static void reply_headers(struct http_req *req, const struct upstream_head *head)
{
    static const char *const ours[] = { "Content-Length", "Content-Type", "X-Request-Id", "Date" };
    for (size_t i = 0; i < head->headers.count; i++) {
        const struct http_header *header = &head->headers.items[i];
        bool skip = false;
        for (size_t k = 0; k < ARRAY_LEN(ours); k++) {
            skip = skip || str_eq_nocase(header->name, str_of(ours[k]));
        }
        struct str name = arena_str(&req->arena, header->name);
        if (!skip && name.ptr != NULL) {
            http_reply_header(req, name.ptr, header->value);
        }
    }
}

static const char *content_type_of(struct http_req *req, const struct upstream_head *head)
{
    struct str type = http_headers_get(&head->headers, STR("Content-Type"));
    return type.ptr != NULL ? arena_cstr(&req->arena, type) : NULL;
}

/** Read the answer's head, once. Until forward->head_known the step that is returned is the
 * caller's to return. */
static enum http_step read_head(struct http_req *req)
{
    struct forward *forward = req->state;
    enum upstream_state state;
    enum status status = upstream_recv_head(forward->call, &req->arena, &forward->head, &state,
                                            &req->err);
    if (status != OK) {
        return http_fail(req, status);
    }
    if (state != UPSTREAM_DONE) {
        return wait_for(req, state);
    }
    forward->head_known = true;
    return HTTP_NEXT;
}

/** The answer is whole: its connection can serve the next request before the client has read this
 * one's last bytes. */
static void call_end(struct forward *forward)
{
    upstream_call_free(forward->call);
    forward->call = NULL;
}

static enum http_step answer_head(struct http_req *req)
{
    struct forward *forward = req->state;
    enum http_step step = read_head(req);
    if (!forward->head_known) {
        return step;
    }
    reply_headers(req, &forward->head);
    int code = forward->head.status;
    if (req->method == HTTP_HEAD || code == 204 || code == 304) {
        call_end(forward);
    }
    if (code == 204 || code == 304) {
        return http_reply_empty(req, code);
    }
    return http_stream(req, code, content_type_of(req, &forward->head),
                       forward->head.content_length);
}

/** The service has answered before the body was whole: collect its (small) answer and end the
 * request with it. */
static enum http_step early_answer(struct http_req *req)
{
    struct forward *forward = req->state;
    enum upstream_state state;
    if (!forward->head_known) {
        enum http_step step = read_head(req);
        if (!forward->head_known) {
            return step;
        }
        buf_init(&forward->early_body, EARLY_BODY_MAX);
        forward->early_body_open = true;
    }
    for (;;) {
        char piece[4096];
        size_t got;
        enum status status = upstream_recv(forward->call, piece, sizeof(piece), &got, &state,
                                           &req->err);
        if (status != OK) {
            return http_fail(req, status);
        }
        if (state != UPSTREAM_DONE) {
            return wait_for(req, state);
        }
        if (got == 0) {
            break;
        }
        if (buf_append_bytes(&forward->early_body, piece, got) != OK) {
            return http_fail(req,
                             err_set(&req->err, E_UPSTREAM,
                                     "the answer that came before the body was sent is too large"));
        }
    }
    reply_headers(req, &forward->head);
    return http_reply(req, forward->head.status, content_type_of(req, &forward->head),
                      buf_str(&forward->early_body));
}

/* --- steps --- */

static enum http_step forward_begin(struct http_req *req)
{
    struct forward *forward = req->state;
    if (forward->early) {
        return early_answer(req);
    }
    if (forward->call == NULL) {
        enum http_step step = call_open(req);
        if (forward->call == NULL || !http_client_expects(req)) {
            return step;
        }
    }
    bool wanted;
    enum upstream_state state;
    enum status status = upstream_ask(forward->call, &req->arena, &wanted, &state, &req->err);
    if (status != OK) {
        return http_fail(req, status);
    }
    if (state != UPSTREAM_DONE) {
        return wait_for(req, state);
    }
    forward->early = !wanted;
    return forward->early ? early_answer(req) : HTTP_NEXT;
}

static enum http_step forward_body(struct http_req *req, struct str bytes)
{
    struct forward *forward = req->state;
    if (forward->early) {
        return early_answer(req);
    }
    if (forward->taken) {
        bytes = STR_EMPTY;
    }
    forward->body_bytes += bytes.len;
    /* with the last byte of a known length the service has all: its answer is not early then */
    bool last = req->content_length >= 0 && forward->body_bytes == (uint64_t)req->content_length;
    enum upstream_state state;
    enum status status = upstream_send(forward->call, bytes, last, &state, &forward->early,
                                       &req->err);
    if (status != OK) {
        return http_fail(req, status);
    }
    forward->taken = state != UPSTREAM_DONE;
    if (forward->early) {
        return early_answer(req);
    }
    return state == UPSTREAM_DONE ? HTTP_NEXT : wait_for(req, state);
}

static enum http_step forward_end(struct http_req *req)
{
    struct forward *forward = req->state;
    if (!forward->sent) {
        enum upstream_state state;
        enum status status = upstream_send(forward->call, STR_EMPTY, true, &state, &forward->early,
                                           &req->err);
        if (status != OK) {
            return http_fail(req, status);
        }
        if (state != UPSTREAM_DONE && !forward->early) {
            return wait_for(req, state);
        }
        forward->sent = true;
    }
    return answer_head(req);
}

static enum http_step forward_pull(struct http_req *req)
{
    struct forward *forward = req->state;
    int64_t length = forward->head.content_length;
    size_t want = PIECE_BYTES;
    if (length >= 0 && (uint64_t)length - forward->answer_bytes < PIECE_BYTES) {
        want = (size_t)((uint64_t)length - forward->answer_bytes);
    }
    char *room = http_write_reserve(req, want);
    if (room == NULL) {
        return HTTP_CUT;
    }
    size_t got = 0;
    enum upstream_state state;
    if (upstream_recv(forward->call, room, want, &got, &state, &req->err) != OK) {
        return HTTP_CUT;
    }
    if (state != UPSTREAM_DONE) {
        return wait_for(req, state);
    }
    http_wrote(req, got);
    forward->answer_bytes += got;
    if (!upstream_call_whole(forward->call)) {
        return HTTP_AGAIN;
    }
    call_end(forward);
    return HTTP_END;
}

static void forward_done(struct http_req *req)
{
    struct forward *forward = req->state;
    if (forward->early_body_open) {
        buf_done(&forward->early_body);
    }
    call_end(forward);
}
