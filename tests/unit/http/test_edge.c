/*
 * The edge by raw sockets: what is refused and how, answers that come before the body was read,
 * slow and leaving clients, full queues, and stopping in the middle of all of it.
 */
#include "lab.h"
#include "peer.h"

#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define HOST "Host: localhost\r\n"

static struct lab lab;

static const char *const hosts[] = { "lake.example", NULL };
static const char *const origins[] = { "https://app.example", NULL };

static int start(void **state)
{
    (void)state;
    lab_start(&lab, &(struct http_server_opts){ .workers = 2,
                                                .queue_max = 4,
                                                .hosts = hosts,
                                                .origins = origins,
                                                .trust_request_id = true,
                                                .cluster_secret = STR("s3cret"),
                                                .drain_ms = 300 });
    return 0;
}

static int stop(void **state)
{
    (void)state;
    lab_stop(&lab);
    return 0;
}

static int ask(const char *request)
{
    return peer_ask(lab.address, request).status;
}

static void heads_that_mean_two_things_are_400(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "GET http://localhost/hello HTTP/1.1\r\n" HOST "\r\n",
        "GET //hello HTTP/1.1\r\n" HOST "\r\n",
        "GET /t//key HTTP/1.1\r\n" HOST "\r\n",
        "GET /./hello HTTP/1.1\r\n" HOST "\r\n",
        "GET /t/../hello HTTP/1.1\r\n" HOST "\r\n",
        "GET /hello/.. HTTP/1.1\r\n" HOST "\r\n",
        "GET /hel\x01lo HTTP/1.1\r\n" HOST "\r\n",
        "GET /hel\x7flo HTTP/1.1\r\n" HOST "\r\n",
        "GET /h\xc3\xa4llo HTTP/1.1\r\n" HOST "\r\n",
        "GET /t%2Fa HTTP/1.1\r\n" HOST "\r\n",
        "GET /t%5Ca HTTP/1.1\r\n" HOST "\r\n",
        "GET /%2E%2E/hello HTTP/1.1\r\n" HOST "\r\n",
        "GET /%2e/hello HTTP/1.1\r\n" HOST "\r\n",
        "OPTIONS * HTTP/1.1\r\n" HOST "\r\n",
        "GET /hello HTTP/1.1\r\n" HOST HOST "\r\n",
        "GET /hello HTTP/1.1\r\n" HOST "Host: other\r\n\r\n",
        "GET /hello HTTP/1.1\r\n\r\n",
        "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 0\r\nContent-Length: 4\r\n\r\nabcd",
        "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 3, 3\r\n\r\nabc",
        "POST /echo HTTP/1.1\r\n" HOST "Content-Length: +3\r\n\r\nabc",
        "POST /echo HTTP/1.1\r\n" HOST "Content-Length: -3\r\n\r\nabc",
        "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 3x\r\n\r\nabc",
        "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 9223372036854775808\r\n\r\nabc",
        "POST /echo HTTP/1.1\r\n" HOST
        "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST /echo HTTP/1.1\r\n" HOST
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "POST /echo HTTP/1.0\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        "GET /hello HTTP/1.1\r\n" HOST "Bad Header: x\r\n\r\n",
        "GET /hello HTTP/1.1\r\n" HOST "X : y\r\n\r\n",
        "GET /hello HTTP/1.1\r\n" HOST " folded: x\r\n\r\n",
        "GET /hello HTTP/1.1\nHost: localhost\n\n",
        "GET /he llo HTTP/1.1\r\n" HOST "\r\n",
        "GARBAGE\r\n\r\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct peer peer = peer_open(lab.address);
        struct peer_answer answer;
        peer_send(&peer, bad[i]);
        bool answered = peer_read(&peer, false, &answer);
        if (answered && answer.status != 400) {
            fail_msg("%s -> %d", bad[i], answer.status);
        }
        if (!answered && !peer_ended(&peer)) { /* closed without a word is fine too */
            fail_msg("%s -> neither an answer nor an end", bad[i]);
        }
        peer_close(&peer);
    }
    assert_int_equal(lab.ended, 0);
    assert_int_equal(ask("GET /hello HTTP/1.1\r\n" HOST "\r\n"), 200);
}

static void nul_bytes_never_reach_a_route(void **state)
{
    (void)state;
    struct peer peer = peer_open(lab.address);
    struct peer_answer answer;
    static const char request[] = "GET /hello\0/x HTTP/1.1\r\n" HOST "\r\n";
    peer_send_bytes(&peer, request, sizeof(request) - 1);
    assert_true(!peer_read(&peer, false, &answer) || answer.status == 400);
    peer_close(&peer);
}

static void framing_errors_close_the_connection(void **state)
{
    (void)state;
    struct peer peer = peer_open(lab.address);
    struct peer_answer answer;
    peer_send(&peer,
              "POST /echo HTTP/1.1\r\n" HOST
              "Content-Length: 0\r\nContent-Length: 40\r\n\r\nGET /work HTTP/1.1\r\n" HOST "\r\n");
    assert_true(peer_read(&peer, false, &answer));
    assert_int_equal(answer.status, 400);
    assert_string_equal(peer_header(&answer, "Connection"), "close");
    assert_true(peer_ended(&peer));
    assert_int_equal(lab.ended, 0); /* the smuggled request was not served */
    peer_close(&peer);
}

static void foreign_hosts_are_421_and_foreign_origins_403(void **state)
{
    (void)state;
    static const struct {
        const char *headers;
        int status;
    } cases[] = {
        { "Host: 127.0.0.1:3110\r\n", 200 },
        { "Host: 10.1.2.3\r\n", 200 },
        { "Host: [::1]:80\r\n", 200 },
        { "Host: LocalHost:1\r\n", 200 },
        { "Host: lake.example:3110\r\n", 200 },
        { "Host: evil.example\r\n", 421 },
        { "Host: localhost.evil.example\r\n", 421 },
        { "Host: 127.0.0.1.evil.example\r\n", 421 },
        { "Host: localhost:x\r\n", 421 },
        { "Host: \r\n", 421 },
        { "Host: localhost:9\r\nOrigin: http://localhost:9\r\n", 200 },
        { "Host: localhost:9\r\nOrigin: http://localhost:8\r\n", 403 },
        { "Host: localhost:9\r\nOrigin: null\r\n", 403 },
        { "Host: localhost:9\r\nOrigin: http://evil.example\r\n", 403 },
        { "Host: localhost:9\r\nOrigin: https://app.example\r\n", 200 },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char text[512];
        (void)snprintf(text, sizeof(text), "GET /hello HTTP/1.1\r\n%s\r\n", cases[i].headers);
        int status = ask(text);
        if (status != cases[i].status) {
            fail_msg("%s -> %d, expected %d", cases[i].headers, status, cases[i].status);
        }
    }
    struct peer_answer answer = peer_ask(
        lab.address, "OPTIONS /echo HTTP/1.1\r\n" HOST
                     "Origin: https://app.example\r\nAccess-Control-Request-Method: POST\r\n\r\n");
    assert_int_equal(answer.status, 204);
    assert_string_equal(peer_header(&answer, "Access-Control-Allow-Origin"), "https://app.example");
    answer = peer_ask(lab.address,
                      "GET /nope HTTP/1.1\r\n" HOST "Origin: https://app.example\r\n\r\n");
    assert_string_equal(peer_header(&answer, "Access-Control-Allow-Origin"), "https://app.example");
}

static void internal_routes_need_the_secret(void **state)
{
    (void)state;
    assert_int_equal(ask("GET /internal/work HTTP/1.1\r\n" HOST "\r\n"), 403);
    assert_int_equal(
        ask("GET /internal/work HTTP/1.1\r\n" HOST "Authorization: Lakehouse s3creT\r\n\r\n"), 403);
    assert_int_equal(
        ask("GET /internal/work HTTP/1.1\r\n" HOST "Authorization: Lakehouse s3cre\r\n\r\n"), 403);
    assert_int_equal(
        ask("GET /internal/work HTTP/1.1\r\n" HOST "Authorization: Lakehouse s3cret\r\n\r\n"), 200);
}

static void sane_request_ids_are_kept(void **state)
{
    (void)state;
    struct peer_answer answer = peer_ask(lab.address, "GET /hello HTTP/1.1\r\n" HOST
                                                      "X-Request-Id: abc-1.2_Z\r\n\r\n");
    assert_string_equal(peer_header(&answer, "X-Request-Id"), "abc-1.2_Z");
    answer = peer_ask(lab.address, "GET /hello HTTP/1.1\r\n" HOST "X-Request-Id: a\"b\r\n\r\n");
    assert_string_not_equal(peer_header(&answer, "X-Request-Id"), "a\"b");
    assert_int_equal(strlen(peer_header(&answer, "X-Request-Id")), 32);
}

static void heads_beyond_the_limit_are_431(void **state)
{
    (void)state;
    char *text = malloc(100000);
    int len = snprintf(text, 100000, "GET /hello HTTP/1.1\r\n" HOST "X-Long: ");
    memset(text + len, 'x', 40000);
    strcpy(text + len + 40000, "\r\n\r\n");
    assert_int_equal(ask(text), 431);
    free(text);
}

/* --- answers before the body was read --- */

static void expect_gets_its_refusal_without_100(void **state)
{
    (void)state;
    struct peer_answer answer = peer_ask(lab.address,
                                         "PUT /capped HTTP/1.1\r\n" HOST
                                         "Content-Length: 100000\r\nExpect: 100-continue\r\n\r\n");
    assert_int_equal(answer.status, 413);
    answer = peer_ask(lab.address, "PUT /sum?refuse=1 HTTP/1.1\r\n" HOST
                                   "Content-Length: 10\r\nExpect: 100-continue\r\n\r\n");
    assert_int_equal(answer.status, 413);
    assert_int_equal(
        ask("POST /nope HTTP/1.1\r\n" HOST "Content-Length: 10\r\nExpect: 100-continue\r\n\r\n"),
        404);
}

static void expect_gets_100_after_begin_agreed(void **state)
{
    (void)state;
    struct peer peer = peer_open(lab.address);
    struct peer_answer answer;
    peer_send(&peer,
              "PUT /sum HTTP/1.1\r\n" HOST "Content-Length: 3\r\nExpect: 100-continue\r\n\r\n");
    assert_true(peer_read(&peer, false, &answer));
    assert_int_equal(answer.status, 100);
    assert_int_equal(lab.begun, 1);
    peer_send(&peer, "abc");
    assert_true(peer_read(&peer, false, &answer));
    assert_int_equal(answer.status, 200);
    assert_true(strncmp(answer.body, "3 ", 2) == 0);
    peer_close(&peer);
}

/* A client that reads nothing until it has sent everything. */
static void send_all_then_read(const char *head, size_t body_len, int status)
{
    struct peer peer = peer_open(lab.address);
    struct peer_answer answer;
    char *body = calloc(1, 1 << 20);
    peer_send(&peer, head);
    for (size_t sent = 0; sent < body_len; sent += 1 << 20) {
        peer_send_bytes(&peer, body, body_len - sent < 1 << 20 ? body_len - sent : 1 << 20);
    }
    assert_true(peer_read(&peer, false, &answer));
    assert_int_equal(answer.status, status);
    assert_true(answer.whole);
    assert_non_null(strstr(answer.body, "\"request_id\":"));
    assert_string_equal(peer_header(&answer, "Connection"), "close");
    assert_true(peer_ended(&peer));
    peer_close(&peer);
    free(body);
}

static void refusals_are_seen_by_clients_that_send_everything_first(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++) {
        send_all_then_read("PUT /capped HTTP/1.1\r\n" HOST "Content-Length: 50000000\r\n\r\n",
                           50000000, 413);
        send_all_then_read("PUT /sum?refuse=1 HTTP/1.1\r\n" HOST "Content-Length: 20000000\r\n\r\n",
                           20000000, 413);
        send_all_then_read("PUT /sum?max=1000000 HTTP/1.1\r\n" HOST
                           "Content-Length: 30000000\r\n\r\n",
                           30000000, 413);
        send_all_then_read("POST /nope HTTP/1.1\r\n" HOST "Content-Length: 10000000\r\n\r\n",
                           10000000, 404);
        send_all_then_read("POST /echo HTTP/1.1\r\n" HOST "Content-Length: 10000000\r\n\r\n",
                           10000000, 413);
    }
    assert_true(lab_wait(&lab.done, lab.begun));
    assert_int_equal(lab.failed, 0);
}

static void small_refused_bodies_keep_the_connection(void **state)
{
    (void)state;
    struct peer peer = peer_open(lab.address);
    struct peer_answer answer;
    peer_send(&peer, "POST /nope HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhello"
                     "PUT /sum?refuse=1 HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhello"
                     "GET /hello HTTP/1.1\r\n" HOST "\r\n");
    static const int statuses[] = { 404, 413, 200 };
    for (size_t i = 0; i < ARRAY_LEN(statuses); i++) {
        assert_true(peer_read(&peer, false, &answer));
        assert_int_equal(answer.status, statuses[i]);
    }
    peer_close(&peer);
}

static void chunked_bodies_beyond_the_limit_are_413_in_the_middle(void **state)
{
    (void)state;
    struct peer peer = peer_open(lab.address);
    struct peer_answer answer;
    peer_send(&peer, "PUT /capped HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n3e8\r\n");
    char bytes[1002] = "";
    memset(bytes, 'a', 1000);
    memcpy(bytes + 1000, "\r\n", 2);
    peer_send_bytes(&peer, bytes, sizeof(bytes));
    peer_send(&peer, "1\r\nb\r\n"); /* and no last chunk: the answer does not wait for it */
    assert_true(peer_read(&peer, false, &answer));
    assert_int_equal(answer.status, 413);
    peer_close(&peer);
    assert_true(lab_wait(&lab.done, 1));
}

/* --- slow clients --- */

static void slow_uploads_and_slow_readers_cost_no_worker(void **state)
{
    (void)state;
    enum { MANY = 100 };
    struct lab wide; /* two workers, and the usual queue */
    struct peer up[MANY], down[MANY];
    lab_start(&wide, &(struct http_server_opts){ .workers = 2 });
    for (int i = 0; i < MANY; i++) {
        up[i] = peer_open(wide.address);
        peer_send(&up[i], "PUT /sum HTTP/1.1\r\n" HOST "Content-Length: 1000\r\n\r\nab");
        down[i] = peer_open(wide.address);
        peer_send(&down[i], "GET /stream?bytes=100000000 HTTP/1.1\r\n" HOST "\r\n");
        assert_true(lab_wait(&wide.begun, i + 1));
        char byte;
        assert_int_equal(recv(down[i].fd, &byte, 1, 0), 1);
        assert_int_equal(byte, 'H');
        assert_int_equal(peer_ask(wide.address, "GET /work HTTP/1.1\r\n" HOST "\r\n").status, 200);
    }
    for (int i = 0; i < MANY; i++) {
        peer_send(&up[i], "c");
    }
    (void)poll(NULL, 0, 50);
    struct peer_answer answer = peer_ask(wide.address, "GET /work HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(answer.status, 200);
    /* each reader holds a bounded piece: what its socket took, and a chunk or two of ours */
    assert_true(wide.pulled_bytes < (long long)MANY * 12 * 1000 * 1000);
    for (int i = 0; i < MANY; i++) {
        peer_close(&up[i]);
        peer_close(&down[i]);
    }
    assert_true(lab_wait(&wide.done, 3 * MANY + 1));
    assert_int_equal(wide.failed, 2 * MANY);
    lab_stop(&wide);
}

static void clients_that_leave_while_waiting_end_their_request_once(void **state)
{
    (void)state;
    enum { MANY = 50 };
    struct peer peers[MANY];
    for (int i = 0; i < MANY; i++) {
        peers[i] = peer_open(lab.address);
        peer_send(&peers[i], i % 2 ? "GET /wait HTTP/1.1\r\n" HOST "\r\n"
                                   : "GET /sleep?ms=60000 HTTP/1.1\r\n" HOST "\r\n");
        assert_true(lab_wait(&lab.waiting, i + 1));
        if (i % 3 == 0) { /* bytes that are sent ahead are not a goodbye */
            peer_send(&peers[i], "GET /hello HTTP/1.1\r\n" HOST "\r\n");
        }
    }
    (void)poll(NULL, 0, 50);
    assert_int_equal(lab.done, 0);
    for (int i = 0; i < MANY; i++) {
        if (i % 5 == 0) {
            shutdown(peers[i].fd, SHUT_WR); /* a half-close counts */
        } else {
            peer_close(&peers[i]);
        }
    }
    assert_true(lab_wait(&lab.done, MANY));
    assert_int_equal(lab.failed, MANY);
    for (int i = 0; i < MANY; i++) {
        if (peers[i].fd >= 0) {
            assert_true(peer_ended(&peers[i]));
            peer_close(&peers[i]);
        }
    }
    assert_int_equal(lab.done, MANY);
}

static void half_closed_clients_get_answers_that_need_no_wait(void **state)
{
    (void)state;
    struct peer peer = peer_open(lab.address);
    struct peer_answer answer;
    peer_send(&peer, "GET /hello HTTP/1.1\r\n" HOST "\r\n");
    shutdown(peer.fd, SHUT_WR);
    assert_true(peer_read(&peer, false, &answer));
    assert_string_equal(answer.body, "hello");
    peer_close(&peer);
}

static void half_closed_clients_are_let_go_when_nothing_more_can_come(void **state)
{
    (void)state;
    static const char *const parts[] = {
        "", /* nothing */
        "GET /hel",
        "GET /hello HTTP/1.1\r\n" HOST "\r\n",
        "GET /work HTTP/1.1\r\n" HOST "\r\n", /* whether it is answered is libmicrohttpd's to say */
        "PUT /sum HTTP/1.1\r\n" HOST "Content-Length: 10\r\n\r\nabc",
        "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        "POST /nope HTTP/1.1\r\n" HOST "Content-Length: 10\r\n\r\nabc",
    };
    struct peer peers[ARRAY_LEN(parts)];
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        peers[i] = peer_open(lab.address);
        peer_send(&peers[i], parts[i]);
        shutdown(peers[i].fd, SHUT_WR); /* the end often comes together with the bytes */
    }
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) { /* long before the idle time of a minute */
        struct peer_answer answer;
        bool answered = peer_read(&peers[i], false, &answer);
        assert_true(i != 2 || (answered && answer.status == 200));
        assert_true(peer_ended(&peers[i]));
        peer_close(&peers[i]);
    }
}

static void full_queue_is_503_with_retry_after(void **state)
{
    (void)state;
    enum { MANY = 2 + 4 }; /* workers and queue */
    struct peer peers[MANY];
    struct peer_answer answer;
    for (int i = 0; i < MANY; i++) {
        peers[i] = peer_open(lab.address);
        peer_send(&peers[i], "GET /gate HTTP/1.1\r\n" HOST "\r\n");
        assert_true(i >= 2 || lab_wait(&lab.waiting, i + 1));
    }
    (void)poll(NULL, 0, 100); /* the queue's four have come */
    answer = peer_ask(lab.address, "GET /work HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(answer.status, 503);
    assert_string_equal(peer_header(&answer, "Retry-After"), "1");
    assert_int_equal(ask("GET /health HTTP/1.1\r\n" HOST "\r\n"), 200); /* costs no worker */
    assert_int_equal(ask("PUT /sum HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc"), 503);
    /* where a 503 would be taken for "perhaps done" */
    answer = peer_ask(lab.address, "PUT /rated HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc");
    assert_int_equal(answer.status, 429);
    assert_string_equal(peer_header(&answer, "Retry-After"), "1");
    lab.release = true;
    for (int i = 0; i < MANY; i++) {
        assert_true(peer_read(&peers[i], false, &answer));
        assert_string_equal(answer.body, "through");
        peer_close(&peers[i]);
    }
}

/* --- life --- */

static void ports_in_use_and_open_addresses_are_told_in_one_line(void **state)
{
    (void)state;
    struct http_server *server = NULL;
    struct metrics *metrics = metrics_new();
    struct err err = { .kind = OK };
    struct http_server_opts opts = { .service = "second", .bind = lab.address, .metrics = metrics };
    assert_int_equal(http_server_new(&opts, &server, &err), OK);
    assert_int_equal(http_server_start(server, &err), E_INVALID);
    assert_non_null(strstr(err.msg, lab.address));
    assert_non_null(strstr(err.msg, "in use"));
    assert_null(strchr(err.msg, '\n'));
    http_server_free(server);
    opts.bind = "0.0.0.0:0";
    assert_int_equal(http_server_new(&opts, &server, &err), OK);
    assert_int_equal(http_server_start(server, &err), E_INVALID);
    assert_non_null(strstr(err.msg, "allow_remote"));
    http_server_free(server);
    opts.bind = "[::]:0";
    opts.allow_remote = true;
    assert_int_equal(http_server_new(&opts, &server, &err), OK);
    enum status kind = http_server_start(server, &err);
    assert_true(kind == OK || strstr(err.msg, "[::]") != NULL); /* a machine may have no IPv6 */
    http_server_free(server);
    metrics_free(metrics);
}

static void connections_beyond_the_limit_wait_for_their_turn(void **state)
{
    (void)state;
    struct lab small;
    lab_start(&small, &(struct http_server_opts){ .connections_max = 2, .workers = 2 });
    struct peer a = peer_open(small.address), b = peer_open(small.address), c;
    struct peer_answer answer;
    peer_send(&a, "GET /hello HTTP/1.1\r\n" HOST "\r\n");
    peer_send(&b, "GET /hello HTTP/1.1\r\n" HOST "\r\n");
    assert_true(peer_read(&a, false, &answer) && peer_read(&b, false, &answer));
    c = peer_open(small.address);
    peer_send(&c, "GET /hello HTTP/1.1\r\n" HOST "\r\n");
    assert_true(peer_silent(&c, 50));
    peer_close(&a);
    assert_true(peer_read(&c, false, &answer));
    assert_int_equal(answer.status, 200);
    peer_close(&b);
    peer_close(&c);
    lab_stop(&small);
}

static void idle_connections_are_closed(void **state)
{
    (void)state;
    struct lab small;
    lab_start(&small, &(struct http_server_opts){ .idle_timeout_ms = 1000 });
    struct peer silent = peer_open(small.address), half = peer_open(small.address);
    peer_send(&half, "GET /hello HT");
    assert_true(peer_ended(&silent));
    assert_true(peer_ended(&half));
    peer_close(&silent);
    peer_close(&half);
    lab_stop(&small);
}

static void heads_that_trickle_are_cut(void **state)
{
    (void)state;
    struct lab small;
    lab_start(&small, &(struct http_server_opts){ .head_timeout_ms = 300 });
    struct peer peer = peer_open(small.address);
    struct peer_answer answer;
    int64_t began_us = clock_now_us();
    bool open = true;
    while (open && clock_now_us() - began_us < 6 * 1000 * 1000) {
        open = peer_try_send(&peer, "X", 1);
        (void)poll(NULL, 0, 20);
    }
    assert_false(open);
    assert_false(peer_read(&peer, false, &answer));
    peer_close(&peer);
    /* a kept connection that served a request is given the idle time first */
    peer = peer_open(small.address);
    peer_send(&peer, "GET /sleep?ms=1500 HTTP/1.1\r\n" HOST "\r\n");
    assert_true(peer_read(&peer, false, &answer)); /* a request that waits is not a slow head */
    assert_int_equal(answer.status, 200);
    peer_close(&peer);
    lab_stop(&small);
}

static void bodies_that_trickle_are_cut(void **state)
{
    (void)state;
    struct lab small;
    lab_start(&small, &(struct http_server_opts){ .idle_timeout_ms = 1000, .body_rate_min = 1000 });
    struct peer slow = peer_open(small.address), brisk = peer_open(small.address);
    struct peer_answer answer;
    char piece[100];
    memset(piece, 'x', sizeof(piece));
    peer_send(&slow, "PUT /sum HTTP/1.1\r\n" HOST "Content-Length: 100000\r\n\r\n");
    peer_send(&brisk, "PUT /sum HTTP/1.1\r\n" HOST "Content-Length: 20000\r\n\r\n");
    bool open = true;
    for (int i = 0; i < 200; i++) { /* 4 seconds: 50 bytes a second, and 5000 */
        open = open && peer_try_send(&slow, "x", 1);
        /* the idle time is given, and not counted by the millisecond */
        assert_true(open || i >= 40);
        peer_send_bytes(&brisk, piece, sizeof(piece));
        (void)poll(NULL, 0, 20);
    }
    assert_false(open);
    assert_false(peer_read(&slow, false, &answer));
    assert_true(peer_read(&brisk, false, &answer));
    assert_int_equal(answer.status, 200);
    peer_close(&slow);
    peer_close(&brisk);
    lab_stop(&small);
}

/* Clients of every kind, each starting again as long as the server lives. */
static void *noise_main(void *arg)
{
    static atomic_uint seed;
    const char *address = arg;
    unsigned n = seed++ * 7;
    static const char *const requests[] = {
        "GET /work HTTP/1.1\r\n" HOST "\r\n",
        "GET /stream?bytes=5000000 HTTP/1.1\r\n" HOST "\r\n",
        "GET /sleep?ms=5 HTTP/1.1\r\n" HOST "\r\n",
        "GET /wait HTTP/1.1\r\n" HOST "\r\n",
        "PUT /sum HTTP/1.1\r\n" HOST "Content-Length: 100000\r\n\r\nhalf of it",
        "PUT /capped HTTP/1.1\r\n" HOST "Content-Length: 100000\r\n\r\nhalf of it",
        "GET /gate HTTP/1.1\r\n" HOST "\r\n",
        "GET /he",
    };
    for (;; n++) {
        struct sockaddr_in to = { .sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)atoi(strrchr(address, ':') + 1)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        const char *request = requests[n % ARRAY_LEN(requests)];
        if (connect(fd, (struct sockaddr *)&to, sizeof(to)) != 0) {
            close(fd);
            return NULL;
        }
        char bytes[2000];
        struct timeval limit = { .tv_usec = 20 * 1000 };
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
        (void)send(fd, request, strlen(request), MSG_NOSIGNAL);
        (void)!recv(fd, bytes, sizeof(bytes), 0);
        close(fd);
    }
}

static void stopping_under_load_ends_every_request_once(void **state)
{
    (void)state;
    enum { THREADS = 16 };
    for (int round = 0; round < 3; round++) {
        struct lab busy;
        pthread_t threads[THREADS];
        char address[64];
        lab_start(&busy,
                  &(struct http_server_opts){ .workers = 4, .queue_max = 8, .drain_ms = 100 });
        (void)snprintf(address, sizeof(address), "%s", busy.address);
        for (int i = 0; i < THREADS; i++) {
            assert_int_equal(pthread_create(&threads[i], NULL, noise_main, address), 0);
        }
        (void)poll(NULL, 0, 300);
        struct peer parked = peer_open(address);
        peer_send(&parked, "GET /sleep?ms=60000 HTTP/1.1\r\n" HOST "\r\n");
        (void)poll(NULL, 0, 100);
        int64_t began_us = clock_now_us();
        http_server_stop(busy.server);
        assert_true(clock_now_us() - began_us < 5 * 1000 * 1000);
        /* cut, or refused because the queue was full or the server stopping */
        struct peer_answer answer;
        assert_true(!peer_read(&parked, false, &answer) || answer.status == 503);
        peer_close(&parked);
        for (int i = 0; i < THREADS; i++) {
            pthread_join(threads[i], NULL);
        }
        struct buf text;
        buf_init(&text, 0);
        assert_int_equal(metrics_render(busy.metrics, &text), OK);
        assert_non_null(strstr(buf_cstr(&text), "\nlakehouse_http_in_flight 0\n"));
        buf_done(&text);
        lab_stop(&busy);
    }
}

static void stopping_finishes_what_runs(void **state)
{
    (void)state;
    struct lab calm;
    struct peer_answer answer;
    lab_start(&calm, &(struct http_server_opts){ .workers = 2, .drain_ms = 5000 });
    struct peer peer = peer_open(calm.address);
    peer_send(&peer, "GET /sleep?ms=200 HTTP/1.1\r\n" HOST "\r\n");
    assert_true(lab_wait(&calm.waiting, 1));
    http_server_stop(calm.server);
    assert_true(peer_read(&peer, false, &answer));
    assert_string_equal(answer.body, "slept");
    assert_string_equal(peer_header(&answer, "Connection"), "close");
    assert_int_equal(calm.done, 1);
    assert_int_equal(calm.failed, 0);
    peer_close(&peer);
    lab_stop(&calm);
}

static void *stop_server(void *arg)
{
    http_server_stop(((struct lab *)arg)->server);
    return NULL;
}

static void a_stopping_server_says_what_a_full_one_says(void **state)
{
    (void)state;
    struct lab calm;
    struct peer_answer answer;
    struct peer peers[3];
    pthread_t thread;
    lab_start(&calm, &(struct http_server_opts){ .workers = 2, .drain_ms = 5000 });
    for (int i = 0; i < 3; i++) { /* connections that are open when it stops */
        peers[i] = peer_open(calm.address);
        peer_send(&peers[i], "GET /health HTTP/1.1\r\n" HOST "\r\n");
        assert_true(peer_read(&peers[i], false, &answer));
    }
    peer_send(&peers[0], "GET /gate HTTP/1.1\r\n" HOST "\r\n");
    assert_true(lab_wait(&calm.waiting, 1));
    assert_int_equal(pthread_create(&thread, NULL, stop_server, &calm), 0);
    (void)poll(NULL, 0, 200);
    peer_send(&peers[1], "PUT /sum HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc");
    assert_true(peer_read(&peers[1], false, &answer));
    assert_int_equal(answer.status, 503);
    peer_send(&peers[2], "PUT /rated HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc");
    assert_true(peer_read(&peers[2], false, &answer));
    assert_int_equal(answer.status, 429);
    assert_non_null(peer_header(&answer, "Retry-After"));
    calm.release = true;
    assert_true(peer_read(&peers[0], false, &answer));
    pthread_join(thread, NULL);
    for (int i = 0; i < 3; i++) {
        peer_close(&peers[i]);
    }
    lab_stop(&calm);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(heads_that_mean_two_things_are_400),
        T(nul_bytes_never_reach_a_route),
        T(framing_errors_close_the_connection),
        T(foreign_hosts_are_421_and_foreign_origins_403),
        T(internal_routes_need_the_secret),
        T(sane_request_ids_are_kept),
        T(heads_beyond_the_limit_are_431),
        T(expect_gets_its_refusal_without_100),
        T(expect_gets_100_after_begin_agreed),
        T(refusals_are_seen_by_clients_that_send_everything_first),
        T(small_refused_bodies_keep_the_connection),
        T(chunked_bodies_beyond_the_limit_are_413_in_the_middle),
        T(slow_uploads_and_slow_readers_cost_no_worker),
        T(clients_that_leave_while_waiting_end_their_request_once),
        T(half_closed_clients_get_answers_that_need_no_wait),
        T(half_closed_clients_are_let_go_when_nothing_more_can_come),
        T(full_queue_is_503_with_retry_after),
        T(ports_in_use_and_open_addresses_are_told_in_one_line),
        T(connections_beyond_the_limit_wait_for_their_turn),
        T(idle_connections_are_closed),
        T(heads_that_trickle_are_cut),
        T(bodies_that_trickle_are_cut),
        T(stopping_under_load_ends_every_request_once),
        T(stopping_finishes_what_runs),
        T(a_stopping_server_says_what_a_full_one_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
