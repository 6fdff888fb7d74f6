#include "desk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

static int64_t now(void *ctx)
{
    return ((struct desk *)ctx)->now_ms;
}

int desk_up(void **state)
{
    static const struct aws_grant grants[] = {
        { STR_INIT("main"), STR_INIT("main-secret"), true, STR_INIT("") },
        { STR_INIT("reader"), STR_INIT("reader-secret"), false, STR_INIT("") },
        { STR_INIT("narrow"), STR_INIT("narrow-secret"), true, STR_INIT("bkt/mine/") },
    };
    struct err err;
    struct desk *desk = calloc(1, sizeof(*desk));
    desk->now_ms = DESK_NOW_MS;
    desk->fail_nth = -1;
    desk->clock = (struct lake_clock){ .wall_ms = now, .mono_ms = now, .ctx = desk };
    desk->metrics = metrics_new();
    arena_init(&desk->arena, 0);
    struct s3api_opts opts = { .grants = grants,
                               .grant_count = ARRAY_LEN(grants),
                               .region = "us-east-1",
                               .domain = "s3.example.org",
                               .anonymous = S3API_ANONYMOUS_ACL,
                               .metrics = desk->metrics,
                               .clock = &desk->clock };
    if (store_mem_open(&(struct store_mem_opts){ .clock = &desk->clock }, &desk->store, &err) !=
        OK) {
        return -1;
    }
    opts.store = desk->store;
    if (s3api_new(&opts, &desk->api, &err) != OK) {
        return -1;
    }
    *state = desk;
    ASK(200, "PUT", "/bkt");
    return 0;
}

int desk_down(void **state)
{
    struct desk *desk = *state;
    s3api_free(desk->api);
    store_close(desk->store);
    metrics_free(desk->metrics);
    arena_done(&desk->arena);
    free(desk);
    return 0;
}

/** Amazon's clients sign nearly all; a digest of the body is tried elsewhere. */
static enum status sign(struct desk *desk, const struct ask *ask, struct http_headers *headers,
                        struct err *err)
{
    const char *key = ask->key != NULL ? ask->key : "main";
    char secret[64];
    struct str query = str_of(ask->target), path = str_split(&query, '?');
    struct aws_request request = { str_of(ask->method), path, query.ptr != NULL ? query : STR_EMPTY,
                                   headers };
    snprintf(secret, sizeof secret, "%s-secret", key);
    struct aws_sign_opts opts = { .key = { str_of(key), str_of(secret), STR_EMPTY },
                                  .region = STR("us-east-1"),
                                  .now_ms = desk->now_ms,
                                  .payload = STR("UNSIGNED-PAYLOAD") };
    return key[0] != '\0' ? aws_sign(&request, &opts, headers, &desk->arena, err) : OK;
}

enum status desk_try(struct desk *desk, const struct ask *ask, struct err *err)
{
    struct http_headers headers = { 0 };
    bool host = false;
    for (size_t i = 0; ask->headers[i] != NULL; i += 2) {
        host = host || strcmp(ask->headers[i], "Host") == 0;
        TRY(http_headers_add(&headers, &desk->arena, str_of(ask->headers[i]),
                             str_of(ask->headers[i + 1])));
    }
    if (!host) {
        TRY(http_headers_add(&headers, &desk->arena, STR("Host"), STR("localhost:3120")));
    }
    struct http_alone_request request = { .method = str_of(ask->method),
                                          .target = str_of(ask->target),
                                          .headers = &headers,
                                          .piece_bytes = ask->piece_bytes };
    if (ask->body != NULL) {
        request.body = str_from(ask->body, ask->body_len > 0 ? ask->body_len : strlen(ask->body));
    }
    char length[24];
    snprintf(length, sizeof length, "%zu", request.body.len);
    TRY(http_headers_add(&headers, &desk->arena, STR("Content-Length"), str_of(length)));
    TRY(sign(desk, ask, &headers, err));
    mem_fail_nth(desk->fail_nth);
    enum status status = http_alone(&s3api_handler, desk->api, &request, &desk->arena,
                                    &desk->answer, err);
    desk->failed = mem_fail_happened();
    mem_fail_nth(-1);
    return status;
}

void desk_ask(struct desk *desk, int status, const struct ask *ask)
{
    struct err err = { 0 };
    if (desk_try(desk, ask, &err) != OK) {
        fail_msg("%s %s: %s", ask->method, ask->target, err.msg);
    }
    if (desk->answer.status != status) {
        fail_msg("%s %s: %d, expected %d: %s", ask->method, ask->target, desk->answer.status,
                 status, desk_body(desk));
    }
}

void desk_refused(struct desk *desk, int status, const char *code, const struct ask *ask)
{
    desk_ask(desk, status, ask);
    if (strcmp(desk_texts(desk, "Code"), code) != 0) {
        fail_msg("%s %s: %s, expected %s", ask->method, ask->target, desk_body(desk), code);
    }
}

const char *desk_header(struct desk *desk, const char *name)
{
    struct str value = http_headers_get(&desk->answer.headers, str_of(name));
    return value.ptr != NULL ? arena_cstr(&desk->arena, value) : "";
}

const char *desk_body(struct desk *desk)
{
    return arena_cstr(&desk->arena, desk->answer.body);
}

static void gather(const struct xml_node *node, struct str name, struct buf *out)
{
    for (; node != NULL; node = node->next) {
        if (str_eq(node->name, name)) {
            assert_int_equal(
                buf_printf(out, "%s%.*s", out->len > 0 ? "," : "", STR_ARG(node->text)), OK);
        }
        gather(node->first, name, out);
    }
}

const char *desk_texts(struct desk *desk, const char *element)
{
    struct xml_node *root = NULL;
    struct err err;
    struct buf text;
    if (xml_read(desk->answer.body, &desk->arena, &root, &err) != OK) {
        fail_msg("the answer is no XML: %s: %s", err.msg, desk_body(desk));
    }
    buf_init(&text, 0);
    gather(root, str_of(element), &text);
    const char *out = arena_cstr(&desk->arena, buf_str(&text));
    buf_done(&text);
    return out;
}

struct s3api_request *desk_request(struct desk *desk, const char *method, const char *target,
                                   const char *const *headers)
{
    struct s3api_request *r = ARENA_NEW(&desk->arena, struct s3api_request);
    struct http_req *http = ARENA_NEW(&desk->arena, struct http_req);
    struct str query = str_of(target);
    http->path = str_split(&query, '?');
    http->query = query.ptr != NULL ? query : STR_EMPTY;
    http->method = http_method_parse(str_of(method));
    http->method_name = str_of(method);
    for (size_t i = 0; headers != NULL && headers[i] != NULL; i += 2) {
        assert_int_equal(http_headers_add(&http->headers, &desk->arena, str_of(headers[i]),
                                          str_of(headers[i + 1])),
                         OK);
    }
    r->api = desk->api;
    r->http = http;
    r->arena = &desk->arena;
    r->err = &http->err;
    return r;
}
