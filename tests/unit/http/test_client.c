/* The client against the laboratory's server, and against a scripted server that misbehaves. */
#include "lab.h"
#include "peer.h"

#include "http/client.h"

#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static struct lab lab;
static struct http_client *client;

static int start(void **state)
{
    static char url[256];
    (void)state;
    lab_start(&lab, NULL);
    (void)snprintf(url, sizeof(url), "http://%s", lab.address);
    return http_client_new(&(struct http_client_opts){ .base_url = url, .service = "lab" }, &client,
                           NULL) == OK
               ? 0
               : -1;
}

static int stop(void **state)
{
    (void)state;
    http_client_free(client);
    lab_stop(&lab);
    return 0;
}

static void answers_and_errors_come_back(void **state)
{
    (void)state;
    struct http_answer answer;
    struct err err = { .kind = OK };
    assert_int_equal(http_client_call(client,
                                      &(struct http_call){ .method = HTTP_GET,
                                                           .target = STR("/hello"),
                                                           .request_id = STR("id-1") },
                                      &answer, &err),
                     OK);
    assert_int_equal(answer.status, 200);
    assert_true(str_eq(buf_str(&answer.body), STR("hello")));
    assert_true(str_eq(http_headers_get(&answer.headers, STR("content-type")), STR("text/plain")));
    http_answer_done(&answer);
    assert_int_equal(http_client_call_ok(
                         client, &(struct http_call){ .method = HTTP_GET, .target = STR("/fail") },
                         &answer, &err),
                     E_UNAVAILABLE);
    assert_string_equal(err.msg, "not \"now\"");
    assert_int_equal(err.retry_after_s, 7);
    http_answer_done(&answer);
    assert_int_equal(
        http_client_call(client, &(struct http_call){ .method = HTTP_HEAD, .target = STR("/work") },
                         &answer, &err),
        OK);
    assert_true(str_eq(http_headers_get(&answer.headers, STR("content-length")), STR("6")));
    http_answer_done(&answer);
}

struct source {
    size_t left;
    bool fail;
};

static enum status read_source(void *ctx, char *ptr, size_t cap, size_t *got, struct err *err)
{
    struct source *source = ctx;
    if (source->fail && source->left < 200000) {
        return err_set(err, E_DISK_FULL, "the source broke");
    }
    *got = source->left < cap ? source->left : cap;
    memset(ptr, 'z', *got);
    source->left -= *got;
    return OK;
}

static void bodies_stream_out_by_length_and_by_chunks(void **state)
{
    (void)state;
    struct http_answer answer;
    struct err err = { .kind = OK };
    for (int chunked = 0; chunked < 2; chunked++) {
        struct source source = { .left = 3000000 };
        struct http_call call = { .method = HTTP_PUT,
                                  .target = STR("/sum"),
                                  .read_body = read_source,
                                  .ctx = &source,
                                  .body_length = chunked ? -1 : 3000000 };
        assert_int_equal(http_client_call_ok(client, &call, &answer, &err), OK);
        assert_int_equal(answer.status, 200);
        assert_true(str_starts(buf_str(&answer.body), STR("3000000 ")));
        http_answer_done(&answer);
    }
    struct source broken = { .left = 3000000, .fail = true };
    struct http_call call = { .method = HTTP_PUT,
                              .target = STR("/sum"),
                              .read_body = read_source,
                              .ctx = &broken,
                              .body_length = 3000000 };
    assert_int_equal(http_client_call_ok(client, &call, &answer, &err), E_DISK_FULL);
    assert_string_equal(err.msg, "the source broke");
    http_answer_done(&answer);
    assert_int_equal(
        http_client_call_ok(
            client,
            &(struct http_call){ .method = HTTP_POST, .target = STR("/echo"), .body = STR("abc") },
            &answer, &err),
        OK);
    assert_true(str_eq(buf_str(&answer.body), STR("abc")));
    http_answer_done(&answer);
    assert_int_equal(http_client_call_ok(
                         client, &(struct http_call){ .method = HTTP_POST, .target = STR("/echo") },
                         &answer, &err),
                     OK);
    assert_int_equal(answer.body.len, 0);
    http_answer_done(&answer);
}

static enum status count_bytes(void *ctx, struct str bytes, struct err *err)
{
    size_t *count = ctx;
    *count += bytes.len;
    return *count > 5000000 ? err_set(err, E_CANCELED, "enough") : OK;
}

static void answers_stream_in_and_a_cut_is_an_error(void **state)
{
    (void)state;
    struct http_answer answer;
    struct err err = { .kind = OK };
    size_t count = 0;
    struct http_call call = { .method = HTTP_GET,
                              .target = STR("/stream?bytes=3000000"),
                              .write_body = count_bytes,
                              .ctx = &count };
    assert_int_equal(http_client_call_ok(client, &call, &answer, &err), OK);
    assert_int_equal(count, 3000000);
    http_answer_done(&answer);
    call.target = STR("/stream?bytes=3000000&cut=1000000");
    count = 0;
    assert_int_equal(http_client_call_ok(client, &call, &answer, &err), E_UPSTREAM);
    assert_non_null(strstr(err.msg, "lab"));
    http_answer_done(&answer);
    call.target = STR("/stream?bytes=9000000");
    count = 0;
    assert_int_equal(http_client_call_ok(client, &call, &answer, &err), E_CANCELED);
    http_answer_done(&answer);
    call = (struct http_call){ .method = HTTP_GET,
                               .target = STR("/stream?bytes=3000000"),
                               .body_bytes_max = 1000 };
    assert_int_equal(http_client_call_ok(client, &call, &answer, &err), E_TOO_LARGE);
    http_answer_done(&answer);
    assert_true(lab_wait(&lab.done, 4));
}

static void refusals_of_big_bodies_are_seen(void **state)
{
    (void)state;
    struct http_answer answer;
    struct err err = { .kind = OK };
    static const struct {
        struct str target;
        int64_t length;
    } cases[] = { { STR_INIT("/capped"), 20000000 },
                  { STR_INIT("/capped"), -1 },
                  { STR_INIT("/sum?refuse=1"), -1 },
                  { STR_INIT("/sum?max=300000"), 20000000 },
                  { STR_INIT("/sum?max=300000"), -1 } };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct source source = { .left = 20000000 };
        struct http_call call = { .method = HTTP_PUT,
                                  .target = cases[i].target,
                                  .read_body = read_source,
                                  .ctx = &source,
                                  .body_length = cases[i].length };
        enum status kind = http_client_call_ok(client, &call, &answer, &err);
        if (kind != E_TOO_LARGE) {
            fail_msg("case %zu: %s: %s", i, status_name(kind), err.msg);
        }
        http_answer_done(&answer);
    }
}

static void deadlines_and_unreachable_services_are_told_apart(void **state)
{
    (void)state;
    struct http_answer answer;
    struct err err = { .kind = OK };
    struct http_client *lost = NULL;
    assert_int_equal(http_client_call(client,
                                      &(struct http_call){ .method = HTTP_GET,
                                                           .target = STR("/wait"),
                                                           .deadline = deadline_in(50) },
                                      &answer, &err),
                     E_TIMEOUT);
    http_answer_done(&answer);
    assert_int_equal(http_client_new(&(struct http_client_opts){ .base_url = "http://127.0.0.1:1/",
                                                                 .service = "nobody" },
                                     &lost, &err),
                     OK);
    assert_int_equal(http_client_call(lost,
                                      &(struct http_call){ .method = HTTP_GET, .target = STR("/") },
                                      &answer, &err),
                     E_UPSTREAM);
    assert_non_null(strstr(err.msg, "nobody cannot be reached at http://127.0.0.1:1"));
    http_answer_done(&answer);
    http_client_free(lost);
    assert_int_equal(http_client_new(&(struct http_client_opts){ .base_url = "127.0.0.1:1",
                                                                 .service = "nobody" },
                                     &lost, &err),
                     E_INVALID);
}

/* A server that answers the first request of each connection and closes before the second's answer;
 * counts requests. */
struct rude {
    int fd;
    pthread_t thread;
    atomic_int requests, came, left;
    char url[64];
};

struct rude_peer {
    struct rude *rude;
    int fd;
};

static bool rude_request(struct rude_peer *peer)
{
    char text[4096];
    size_t len = 0;
    while (len < sizeof(text) - 1) {
        ssize_t got = recv(peer->fd, text + len, sizeof(text) - 1 - len, 0);
        if (got <= 0) {
            return false;
        }
        len += (size_t)got;
        text[len] = '\0';
        if (strstr(text, "\r\n\r\n") != NULL) {
            break;
        }
    }
    peer->rude->requests++;
    return true;
}

static void *rude_peer_main(void *arg)
{
    struct rude_peer peer = *(struct rude_peer *)arg;
    static const char ok[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    free(arg);
    if (rude_request(&peer)) {
        (void)!send(peer.fd, ok, sizeof(ok) - 1, MSG_NOSIGNAL);
        (void)rude_request(&peer);
    }
    close(peer.fd);
    peer.rude->left++;
    return NULL;
}

static void *rude_main(void *arg)
{
    struct rude *rude = arg;
    for (;;) {
        pthread_t thread;
        struct rude_peer *peer = malloc(sizeof(*peer));
        peer->rude = rude;
        peer->fd = accept(rude->fd, NULL, NULL);
        if (peer->fd < 0) {
            free(peer);
            return NULL;
        }
        rude->came++;
        assert_int_equal(pthread_create(&thread, NULL, rude_peer_main, peer), 0);
        pthread_detach(thread);
    }
}

static void what_is_not_safe_to_repeat_is_sent_once(void **state)
{
    (void)state;
    struct rude rude = { .fd = socket(AF_INET, SOCK_STREAM, 0) };
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof(at);
    struct http_answer answer;
    struct err err = { .kind = OK };
    struct http_client *to_rude = NULL;
    assert_int_equal(bind(rude.fd, (struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(listen(rude.fd, 8), 0);
    assert_int_equal(getsockname(rude.fd, (struct sockaddr *)&at, &len), 0);
    (void)snprintf(rude.url, sizeof(rude.url), "http://127.0.0.1:%d", ntohs(at.sin_port));
    assert_int_equal(pthread_create(&rude.thread, NULL, rude_main, &rude), 0);
    assert_int_equal(
        http_client_new(&(struct http_client_opts){ .base_url = rude.url, .service = "rude" },
                        &to_rude, &err),
        OK);
    /* a GET leaves a kept connection; the POST must not use it, else it would be lost or sent
     * twice */
    assert_int_equal(
        http_client_call_ok(to_rude, &(struct http_call){ .method = HTTP_GET, .target = STR("/") },
                            &answer, &err),
        OK);
    http_answer_done(&answer);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(
            http_client_call_ok(
                to_rude,
                &(struct http_call){ .method = HTTP_POST, .target = STR("/"), .body = STR_EMPTY },
                &answer, &err),
            OK);
        http_answer_done(&answer);
    }
    assert_int_equal(rude.requests, 4);
    http_client_free(to_rude);
    shutdown(rude.fd, SHUT_RDWR);
    pthread_join(rude.thread, NULL);
    assert_true(lab_wait(&rude.left, rude.came));
    close(rude.fd);
}

/* --- a server that goes while a kept connection is used, and comes back --- */

struct mortal {
    int fd;
    struct sockaddr_in at;
    int answers; /* of its one connection; then it reads one more request and goes */
};

static void mortal_listen(struct mortal *mortal)
{
    int yes = 1;
    socklen_t len = sizeof(mortal->at);
    mortal->fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(setsockopt(mortal->fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)), 0);
    assert_int_equal(bind(mortal->fd, (struct sockaddr *)&mortal->at, len), 0);
    assert_int_equal(listen(mortal->fd, 1), 0);
    assert_int_equal(getsockname(mortal->fd, (struct sockaddr *)&mortal->at, &len), 0);
}

/** The whole request: its head, and a body of three bytes when it is a PUT. */
static void mortal_take(int fd)
{
    char text[4096] = "";
    size_t len = 0, whole = SIZE_MAX;
    while (len < whole && len < sizeof(text) - 1) {
        ssize_t got = recv(fd, text + len, sizeof(text) - 1 - len, 0);
        if (got <= 0) {
            return;
        }
        len += (size_t)got;
        text[len] = '\0';
        const char *end = strstr(text, "\r\n\r\n");
        whole = end == NULL ? SIZE_MAX
                            : (size_t)(end - text) + 4 + (strncmp(text, "PUT", 3) == 0 ? 3 : 0);
    }
}

static void *mortal_main(void *arg)
{
    struct mortal *mortal = arg;
    static const char ok[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    int fd = accept(mortal->fd, NULL, NULL);
    close(mortal->fd); /* whoever connects from here on is refused */
    for (int i = 0; i < mortal->answers; i++) {
        mortal_take(fd);
        (void)!send(fd, ok, sizeof(ok) - 1, MSG_NOSIGNAL);
    }
    mortal_take(fd);
    close(fd);
    return NULL;
}

/** libcurl sends a PUT again when its kept connection dies, and remembers to rewind the body; where
 * that fails too, the next call must not hear of it. */
static void a_call_that_failed_leaves_nothing_to_the_next(void **state)
{
    (void)state;
    struct mortal mortal = {
        .at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) }, .answers = 1
    };
    struct http_answer answer;
    struct err err = { .kind = OK };
    struct http_client *to_mortal = NULL;
    struct source source = { .left = 3 };
    const struct http_call get = { .method = HTTP_GET, .target = STR("/") };
    const struct http_call put = { .method = HTTP_PUT, .target = STR("/"), .body = STR("abc") };
    const struct http_call stream = { .method = HTTP_PUT,
                                      .target = STR("/"),
                                      .read_body = read_source,
                                      .ctx = &source,
                                      .body_length = 3 };
    pthread_t thread;
    char url[64];
    mortal_listen(&mortal);
    (void)snprintf(url, sizeof(url), "http://127.0.0.1:%d", ntohs(mortal.at.sin_port));
    const struct http_client_opts opts = { .base_url = url, .service = "mortal" };
    assert_int_equal(http_client_new(&opts, &to_mortal, &err), OK);
    assert_int_equal(pthread_create(&thread, NULL, mortal_main, &mortal), 0);
    assert_int_equal(http_client_call_ok(to_mortal, &get, &answer, &err), OK);
    http_answer_done(&answer);
    assert_int_equal(http_client_call_ok(to_mortal, &put, &answer, &err), E_UPSTREAM);
    http_answer_done(&answer);
    pthread_join(thread, NULL);
    mortal_listen(&mortal);
    assert_int_equal(pthread_create(&thread, NULL, mortal_main, &mortal), 0);
    enum status status = http_client_call_ok(to_mortal, &stream, &answer, &err);
    http_answer_done(&answer);
    http_client_free(to_mortal);
    shutdown(mortal.fd, SHUT_RDWR);
    pthread_join(thread, NULL);
    if (status != OK) {
        fail_msg("%s", err.msg);
    }
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(answers_and_errors_come_back),
        T(bodies_stream_out_by_length_and_by_chunks),
        T(answers_stream_in_and_a_cut_is_an_error),
        T(refusals_of_big_bodies_are_seen),
        T(deadlines_and_unreachable_services_are_told_apart),
        T(what_is_not_safe_to_repeat_is_sent_once),
        T(a_call_that_failed_leaves_nothing_to_the_next),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
