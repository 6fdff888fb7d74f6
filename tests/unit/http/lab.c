/* Routes of the laboratory. */
#include "lab.h"

#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define HOST_PAUSE_MS 2

static struct lab *lab_of(struct http_req *req)
{
    return req->ctx;
}

static void count_done(struct http_req *req)
{
    lab_of(req)->failed += req->failed;
    lab_of(req)->done++;
}

/* /hello: an inline answer */
static enum http_step hello_end(struct http_req *req)
{
    return http_reply(req, 200, "text/plain", STR("hello"));
}

/* /work: the same on a worker */
static enum http_step work_end(struct http_req *req)
{
    lab_of(req)->ended++;
    return http_reply(req, 200, "text/plain", STR("worked"));
}

/* /echo: the whole body back */
static enum http_step echo_end(struct http_req *req)
{
    return http_reply(req, 200, "application/octet-stream", req->body);
}

/* /json */
static enum http_step json_end(struct http_req *req)
{
    yyjson_val *root = NULL;
    enum status kind = http_body_json(req, &root);
    if (kind != OK) {
        return http_fail(req, kind);
    }
    return http_reply(req, 200, "text/plain", str_of(yyjson_get_type_desc(root)));
}

/* /sum: a streamed body; answers its length and a checksum */
struct sum {
    uint64_t bytes, sum;
    int steps;
};

static enum http_step sum_begin(struct http_req *req)
{
    lab_of(req)->begun++;
    struct str refuse = STR_EMPTY;
    if (http_query(req, "refuse", &refuse) != OK || refuse.ptr != NULL) {
        (void)err_set(&req->err, E_TOO_LARGE, "refused at begin");
        return http_fail(req, E_TOO_LARGE);
    }
    return HTTP_NEXT;
}

static enum http_step sum_body(struct http_req *req, struct str bytes)
{
    struct sum *sum = req->state;
    struct str limit = STR_EMPTY;
    uint64_t max = UINT64_MAX;
    assert_true(bytes.len > 0 && bytes.len <= HTTP_CHUNK_BYTES);
    for (size_t i = 0; i < bytes.len; i++) {
        sum->sum = sum->sum * 31 + (unsigned char)bytes.ptr[i];
    }
    sum->bytes += bytes.len;
    sum->steps++;
    if (http_query(req, "max", &limit) == OK && limit.ptr != NULL && str_to_u64(limit, &max) &&
        sum->bytes > max) {
        (void)err_set(&req->err, E_TOO_LARGE, "refused after %llu bytes",
                      (unsigned long long)sum->bytes);
        return http_fail(req, E_TOO_LARGE);
    }
    return HTTP_NEXT;
}

static enum http_step sum_end(struct http_req *req)
{
    struct sum *sum = req->state;
    struct str text = arena_printf(&req->arena, "%llu %llx", (unsigned long long)sum->bytes,
                                   (unsigned long long)sum->sum);
    lab_of(req)->ended++;
    return http_reply(req, 200, "text/plain", text);
}

/* /stream?bytes=&cut=&length=: 'x' for as long as asked; `cut` breaks off there */
static enum http_step stream_end(struct http_req *req)
{
    struct str text = STR_EMPTY;
    uint64_t length = 0;
    bool given = http_query(req, "length", &text) == OK && text.ptr != NULL &&
                 str_to_u64(text, &length);
    return http_stream(req, 200, "text/plain", given ? (int64_t)length : -1);
}

static uint64_t number(struct http_req *req, const char *name, uint64_t otherwise)
{
    struct str text = STR_EMPTY;
    uint64_t value = otherwise;
    if (http_query(req, name, &text) == OK && text.ptr != NULL && !str_to_u64(text, &value)) {
        fail_msg("%s is no number", name);
    }
    return value;
}

static enum http_step stream_pull(struct http_req *req)
{
    uint64_t *sent = req->state, bytes = number(req, "bytes", 0),
             cut = number(req, "cut", UINT64_MAX);
    uint64_t left = bytes - *sent;
    if (*sent >= cut) {
        (void)err_set(&req->err, E_INTERNAL, "cut on purpose");
        return HTTP_CUT;
    }
    if (left == 0) {
        return HTTP_END;
    }
    size_t take = left < 100000 ? (size_t)left : 100000;
    char *to = http_write_reserve(req, take);
    assert_non_null(to);
    memset(to, 'x', take);
    http_wrote(req, take);
    *sent += take;
    lab_of(req)->pulled_bytes += (long long)take;
    return HTTP_AGAIN;
}

/* /ticks: two lines, a wait for nothing but time between them, so that the first must leave before
 * the second is there */
static enum http_step ticks_end(struct http_req *req)
{
    return http_stream(req, 200, "text/plain", -1);
}

static enum http_step ticks_pull(struct http_req *req)
{
    int *state = req->state;
    switch ((*state)++) {
    case 0:
        assert_int_equal(http_write(req, "one\n", 4), OK);
        return HTTP_AGAIN;
    case 1:
        return http_wait(req, lab_of(req)->pipe[0], POLLIN, deadline_in(60 * 1000));
    case 2:
        assert_int_equal(http_write(req, "two\n", 4), OK);
        return HTTP_AGAIN;
    default:
        return HTTP_END;
    }
}

/* /drip?bytes=: one 'x' at a time, and after each a wait for a pipe that is readable already: the
 * watcher gives the request back while the thread that parked it is still on its way out */
static enum http_step drip_pull(struct http_req *req)
{
    uint64_t *sent = req->state;
    if (*sent == number(req, "bytes", 0)) {
        return HTTP_END;
    }
    (*sent)++;
    assert_int_equal(http_write(req, "x", 1), OK);
    return http_wait(req, lab_of(req)->pipe[0], POLLIN, deadline_in(60 * 1000));
}

/* /wait: answers when the laboratory's pipe is readable, or 504 after ?ms= */
static enum http_step wait_end(struct http_req *req)
{
    struct pollfd now = { .fd = lab_of(req)->pipe[0], .events = POLLIN };
    deadline_ms *until = req->state;
    if (*until == 0) {
        *until = deadline_in((int64_t)number(req, "ms", 60 * 1000));
        lab_of(req)->waiting++;
    }
    if (poll(&now, 1, 0) == 1) {
        return http_reply(req, 200, "text/plain", STR("ready"));
    }
    if (deadline_passed(*until)) {
        (void)err_set(&req->err, E_TIMEOUT, "nothing came");
        return http_fail(req, E_TIMEOUT);
    }
    return http_wait(req, now.fd, POLLIN, *until);
}

/* /sleep?ms=: waits for nothing but time */
static enum http_step sleep_end(struct http_req *req)
{
    deadline_ms *until = req->state;
    if (*until == 0) {
        *until = deadline_in((int64_t)number(req, "ms", 0));
        lab_of(req)->waiting++;
    }
    return deadline_passed(*until) ? http_reply(req, 200, "text/plain", STR("slept"))
                                   : http_wait(req, -1, 0, *until);
}

/* /gate: holds its worker until the laboratory opens it (what no real handler may do) */
static enum http_step gate_end(struct http_req *req)
{
    lab_of(req)->waiting++;
    while (!lab_of(req)->release && !http_client_gone(req)) {
        (void)poll(NULL, 0, HOST_PAUSE_MS);
    }
    return http_reply(req, 200, "text/plain", STR("through"));
}

/* /file: this program's own first bytes */
static enum http_step file_end(struct http_req *req)
{
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    return http_reply_fd(req, 200, "application/octet-stream", fd, 1, 3);
}

static enum http_step fail_end(struct http_req *req)
{
    req->err.retry_after_s = 7;
    (void)err_set(&req->err, E_UNAVAILABLE, "not \"now\"");
    req->err.retry_after_s = 7;
    return http_fail(req, E_UNAVAILABLE);
}

static enum http_step params_end(struct http_req *req)
{
    struct str text = arena_printf(&req->arena, "%.*s|%.*s", STR_ARG(http_param(req, "table")),
                                   STR_ARG(http_param(req, "key")));
    http_log_field_str(req, "table", http_param(req, "table"));
    return http_reply(req, 200, "text/plain", text);
}

static enum http_step raw_end(struct http_req *req)
{
    return http_reply(req, 200, "text/plain", http_param(req, "rest"));
}

static const struct http_handler hello = { .end = hello_end, .done = count_done };
static const struct http_handler work = { .end = work_end, .done = count_done };
static const struct http_handler echo = { .end = echo_end, .done = count_done };
static const struct http_handler json = { .end = json_end };
static const struct http_handler sum = { sum_begin, sum_body,   sum_end,
                                         NULL,      count_done, sizeof(struct sum) };
static const struct http_handler stream = {
    .end = stream_end, .pull = stream_pull, .done = count_done, .state_bytes = sizeof(uint64_t)
};
static const struct http_handler ticks = {
    .end = ticks_end, .pull = ticks_pull, .done = count_done, .state_bytes = sizeof(int)
};
static const struct http_handler drip = {
    .end = ticks_end, .pull = drip_pull, .done = count_done, .state_bytes = sizeof(uint64_t)
};
static const struct http_handler waits = { .end = wait_end,
                                           .done = count_done,
                                           .state_bytes = sizeof(deadline_ms) };
static const struct http_handler sleeps = { .end = sleep_end,
                                            .done = count_done,
                                            .state_bytes = sizeof(deadline_ms) };
static const struct http_handler gate = { .end = gate_end, .done = count_done };
static const struct http_handler file = { .end = file_end, .done = count_done };
static const struct http_handler fails = { .end = fail_end };
static const struct http_handler params = { .end = params_end };
static const struct http_handler raw = { .end = raw_end };

static const struct http_route routes[] = {
    { .method = HTTP_GET, .pattern = "/hello", .handler = &hello, .flags = HTTP_INLINE },
    { .method = HTTP_GET, .pattern = "/work", .handler = &work },
    { .method = HTTP_POST, .pattern = "/echo", .handler = &echo, .body_bytes_max = 1024 * 1024 },
    { .method = HTTP_POST, .pattern = "/json", .handler = &json, .flags = HTTP_JSON_BODY },
    { .method = HTTP_PUT, .pattern = "/sum", .handler = &sum },
    { .method = HTTP_PUT, .pattern = "/rated", .handler = &sum, .flags = HTTP_BUSY_IS_RATE },
    { .method = HTTP_PUT, .pattern = "/capped", .handler = &sum, .body_bytes_max = 1000 },
    { .method = HTTP_GET, .pattern = "/stream", .handler = &stream },
    { .method = HTTP_POST, .pattern = "/stream", .handler = &stream },
    { .method = HTTP_GET, .pattern = "/ticks", .handler = &ticks },
    { .method = HTTP_GET, .pattern = "/drip", .handler = &drip },
    { .method = HTTP_GET, .pattern = "/wait", .handler = &waits },
    { .method = HTTP_GET, .pattern = "/sleep", .handler = &sleeps },
    { .method = HTTP_GET, .pattern = "/gate", .handler = &gate },
    { .method = HTTP_GET, .pattern = "/file", .handler = &file },
    { .method = HTTP_GET, .pattern = "/fail", .handler = &fails },
    { .method = HTTP_GET, .pattern = "/t/{table}/{key*}", .handler = &params },
    { .method = HTTP_GET, .pattern = "/raw/{rest*}", .handler = &raw, .flags = HTTP_RAW_TAIL },
    { .method = HTTP_GET, .pattern = "/internal/work", .handler = &work, .flags = HTTP_INTERNAL },
};

void lab_start(struct lab *lab, const struct http_server_opts *given)
{
    struct http_server_opts opts = given != NULL ? *given
                                                 : (struct http_server_opts){ .workers = 4 };
    struct err err = { .kind = OK };
    memset(lab, 0, sizeof(*lab));
    assert_int_equal(pipe(lab->pipe), 0);
    lab->metrics = metrics_new();
    opts.service = "lab";
    opts.version = "9.9.9";
    opts.bind = opts.bind != NULL ? opts.bind : "127.0.0.1:0";
    opts.metrics = lab->metrics;
    assert_int_equal(http_server_new(&opts, &lab->server, &err), OK);
    assert_int_equal(http_server_mount(lab->server, "", routes, ARRAY_LEN(routes), lab, &err), OK);
    assert_int_equal(http_server_mount_ops(lab->server, "", NULL, NULL, &err), OK);
    enum status kind = http_server_start(lab->server, &err);
    if (kind != OK) {
        fail_msg("the server does not start: %s", err.msg);
    }
    lab->address = http_server_address(lab->server);
}

void lab_stop(struct lab *lab)
{
    lab->release = true;
    http_server_free(lab->server);
    metrics_free(lab->metrics);
    close(lab->pipe[0]);
    close(lab->pipe[1]);
}

bool lab_wait(const atomic_int *counter, int value)
{
    for (deadline_ms until = deadline_in(5000); !deadline_passed(until);) {
        if (*counter == value) {
            return true;
        }
        (void)poll(NULL, 0, HOST_PAUSE_MS);
    }
    return *counter == value;
}
