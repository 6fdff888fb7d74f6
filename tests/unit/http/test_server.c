/* The server with handlers that do each thing once: answers, bodies, streams, waits, HEAD,
 * errors. */
#include "lab.h"
#include "peer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define HOST "Host: localhost\r\n"

static struct lab lab;

static int start(void **state)
{
    (void)state;
    lab_start(&lab, NULL);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    lab_stop(&lab);
    return 0;
}

static void get_inline_and_on_a_worker_answers(void **state)
{
    (void)state;
    struct peer_answer answer = peer_ask(lab.address, "GET /hello HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(answer.status, 200);
    assert_string_equal(answer.body, "hello");
    answer = peer_ask(lab.address, "GET /work HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(answer.status, 200);
    assert_string_equal(answer.body, "worked");
    assert_non_null(peer_header(&answer, "X-Request-Id"));
    assert_int_equal(strlen(peer_header(&answer, "X-Request-Id")), 32);
    assert_true(lab_wait(&lab.done, 2));
    assert_int_equal(lab.failed, 0);
}

static void connection_is_kept_and_pipelined_requests_answer_in_order(void **state)
{
    (void)state;
    struct peer peer = peer_open(lab.address);
    struct peer_answer answer;
    peer_send(&peer, "GET /work HTTP/1.1\r\n" HOST "\r\nGET /hello HTTP/1.1\r\n" HOST "\r\n"
                     "POST /echo HTTP/1.1\r\n" HOST
                     "Content-Length: 3\r\n\r\nabcGET /nope HTTP/1.1\r\n" HOST "\r\n"
                     "GET /work HTTP/1.1\r\n" HOST "\r\n");
    const char *const bodies[] = { "worked", "hello", "abc", NULL, "worked" };
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        assert_true(peer_read(&peer, false, &answer));
        assert_int_equal(answer.status, bodies[i] != NULL ? 200 : 404);
        if (bodies[i] != NULL) {
            assert_string_equal(answer.body, bodies[i]);
        }
    }
    peer_close(&peer);
}

static void head_has_the_length_of_get_and_no_body(void **state)
{
    (void)state;
    struct peer peer = peer_open(lab.address);
    struct peer_answer answer;
    static const char *const paths[] = { "/work", "/file", "/stream?bytes=10&length=10",
                                         "/stream?bytes=10", "/health" };
    static const char *const lengths[] = { "6", "3", "10", NULL, NULL };
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        char text[256];
        (void)snprintf(text, sizeof(text), "HEAD %s HTTP/1.1\r\n" HOST "\r\n", paths[i]);
        peer_send(&peer, text);
        assert_true(peer_read(&peer, true, &answer));
        assert_int_equal(answer.status, 200);
        if (lengths[i] != NULL) {
            assert_string_equal(peer_header(&answer, "Content-Length"), lengths[i]);
        }
    }
    peer_send(&peer, "GET /hello HTTP/1.1\r\n" HOST "\r\n"); /* nothing was left over */
    assert_true(peer_read(&peer, false, &answer));
    assert_string_equal(answer.body, "hello");
    peer_close(&peer);
}

static void errors_are_json_with_the_request_id(void **state)
{
    (void)state;
    struct peer_answer answer = peer_ask(lab.address, "GET /fail HTTP/1.1\r\n" HOST "\r\n");
    struct err err = { .kind = OK };
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    assert_int_equal(answer.status, 503);
    assert_string_equal(peer_header(&answer, "Retry-After"), "7");
    assert_string_equal(peer_header(&answer, "Content-Type"), "application/json");
    assert_int_equal(json_parse(str_of(answer.body), &doc, &err), OK);
    yyjson_val *error = yyjson_obj_get(yyjson_doc_get_root(doc), "error");
    assert_string_equal(yyjson_get_str(yyjson_obj_get(error, "code")), "unavailable");
    assert_string_equal(yyjson_get_str(yyjson_obj_get(error, "message")), "not \"now\"");
    assert_string_equal(yyjson_get_str(yyjson_obj_get(error, "request_id")),
                        peer_header(&answer, "X-Request-Id"));
}

static void unknown_route_is_404_and_other_method_405_with_allow(void **state)
{
    (void)state;
    struct peer_answer answer = peer_ask(lab.address, "GET /nowhere HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(answer.status, 404);
    answer = peer_ask(lab.address, "DELETE /stream HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(answer.status, 405);
    assert_string_equal(peer_header(&answer, "Allow"), "GET, HEAD, POST");
    answer = peer_ask(lab.address, "BREW /work HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(answer.status, 405);
}

static void parameters_are_decoded_and_tails_keep_slashes(void **state)
{
    (void)state;
    struct peer_answer answer = peer_ask(lab.address,
                                         "GET /t/a%2Fb/x/y%2Fz%20 HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(answer.status, 200);
    assert_string_equal(answer.body, "a/b|x/y/z ");
    answer = peer_ask(lab.address, "GET /raw/a%2Fb/%2e/%zz HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(answer.status, 200);
    assert_string_equal(answer.body, "a%2Fb/%2e/%zz");
    assert_int_equal(peer_ask(lab.address, "GET /raw/a/%2e%2e/b HTTP/1.1\r\n" HOST "\r\n").status,
                     400);
    assert_int_equal(peer_ask(lab.address, "GET /raw/a%2F.. HTTP/1.1\r\n" HOST "\r\n").status, 400);
    assert_int_equal(peer_ask(lab.address, "GET /t/%zz/k HTTP/1.1\r\n" HOST "\r\n").status, 400);
    assert_int_equal(peer_ask(lab.address, "GET /t/a/%00 HTTP/1.1\r\n" HOST "\r\n").status, 400);
    assert_int_equal(peer_ask(lab.address, "GET /t/%2e%2e/k HTTP/1.1\r\n" HOST "\r\n").status, 400);
}

/* As sum_body does. */
static uint64_t checksum(const char *ptr, size_t len)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < len; i++) {
        sum = sum * 31 + (unsigned char)ptr[i];
    }
    return sum;
}

static void expect_sum(struct peer *peer, const char *data, size_t len)
{
    struct peer_answer answer;
    char want[64];
    (void)snprintf(want, sizeof(want), "%zu %llx", len, (unsigned long long)checksum(data, len));
    assert_true(peer_read(peer, false, &answer));
    assert_int_equal(answer.status, 200);
    assert_string_equal(answer.body, want);
}

static void streamed_bodies_arrive_whole_by_length_and_by_chunks(void **state)
{
    (void)state;
    enum { LEN = 5 * 1000 * 1000 };
    char *data = malloc(LEN);
    for (size_t i = 0; i < LEN; i++) {
        data[i] = (char)(i * 7919 >> 3);
    }
    struct peer peer = peer_open(lab.address);
    char head[200];
    (void)snprintf(head, sizeof(head), "PUT /sum HTTP/1.1\r\n" HOST "Content-Length: %d\r\n\r\n",
                   LEN);
    peer_send(&peer, head);
    peer_send_bytes(&peer, data, LEN);
    expect_sum(&peer, data, LEN);
    /* chunks of many sizes, sent as they fall, on the same connection */
    peer_send(&peer, "PUT /sum HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n");
    size_t at = 0;
    for (size_t size = 1; at < LEN; size = size * 3 % 70001) {
        size_t take = LEN - at < size ? LEN - at : size;
        (void)snprintf(head, sizeof(head), "%zx\r\n", take);
        peer_send(&peer, head);
        peer_send_bytes(&peer, data + at, take);
        peer_send(&peer, "\r\n");
        at += take;
    }
    peer_send(&peer, "0\r\n\r\n");
    expect_sum(&peer, data, LEN);
    /* many tiny chunks in one packet, and an empty body */
    peer_send(&peer, "PUT /sum HTTP/1.1\r\n" HOST
                     "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n1\r\nb\r\n2\r\ncd\r\n0\r\n\r\n"
                     "PUT /sum HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n"
                     "PUT /sum HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    expect_sum(&peer, "abcd", 4);
    expect_sum(&peer, "", 0);
    expect_sum(&peer, "", 0);
    peer_close(&peer);
    free(data);
}

static void streams_are_chunked_or_of_their_length_and_cut_when_they_fail(void **state)
{
    (void)state;
    struct peer peer = peer_open(lab.address);
    struct peer_answer answer;
    peer_send(&peer, "GET /stream?bytes=3000000 HTTP/1.1\r\n" HOST "\r\n");
    assert_true(peer_read(&peer, false, &answer));
    assert_true(answer.chunked && answer.whole);
    assert_int_equal(answer.body_len, 3000000);
    peer_send(&peer, "GET /stream?bytes=3000000&length=3000000 HTTP/1.1\r\n" HOST "\r\n");
    assert_true(peer_read(&peer, false, &answer));
    assert_true(!answer.chunked && answer.whole);
    assert_int_equal(answer.body_len, 3000000);
    peer_send(&peer, "GET /stream?bytes=5 HTTP/1.1\r\n" HOST "\r\n");
    assert_true(peer_read(&peer, false, &answer));
    assert_string_equal(answer.body, "xxxxx");
    peer_send(&peer, "GET /stream?bytes=9000000&cut=400000 HTTP/1.1\r\n" HOST "\r\n");
    assert_true(peer_read(&peer, false, &answer));
    assert_false(answer.whole);
    assert_true(peer_ended(&peer));
    peer_close(&peer);
    answer = peer_ask(lab.address,
                      "GET /stream?bytes=300000&length=400000 HTTP/1.1\r\n" HOST "\r\n");
    assert_false(answer.whole); /* shorter than promised */
    answer = peer_ask(lab.address, "GET /stream?bytes=9&cut=0 HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(answer.status, 500); /* nothing had left: an error with its status */
    answer = peer_ask(lab.address, "GET /stream?bytes=7 HTTP/1.0\r\n\r\n");
    assert_string_equal(answer.body, "xxxxxxx");
}

static void first_bytes_of_a_stream_leave_before_the_next_are_there(void **state)
{
    (void)state;
    struct peer peer = peer_open(lab.address);
    struct peer_answer answer;
    char first[1024] = "";
    peer_send(&peer, "GET /ticks HTTP/1.1\r\n" HOST "\r\n");
    /* SO_RCVTIMEO is not needed: the runner bounds a test that hangs */
    while (strstr(first, "one\n") == NULL) {
        ssize_t got = read(peer.fd, first + strlen(first), sizeof(first) - 1 - strlen(first));
        assert_true(got > 0);
    }
    assert_null(strstr(first, "two"));
    assert_true(peer_silent(&peer, 50));
    assert_int_equal(write(lab.pipe[1], "x", 1), 1);
    assert_int_equal(buf_append(&peer.in, str_of(first)), OK);
    assert_true(peer_read(&peer, false, &answer));
    assert_string_equal(answer.body, "one\ntwo\n");
    peer_close(&peer);
}

/* What parks a request may not look at it afterwards: ThreadSanitizer says so when it does. */
static void a_stream_that_waits_after_each_byte_is_handed_over_whole(void **state)
{
    (void)state;
    char byte = 0;
    int done = lab.done;
    assert_int_equal(write(lab.pipe[1], "x", 1), 1);
    struct peer_answer answer = peer_ask(lab.address,
                                         "GET /drip?bytes=500 HTTP/1.1\r\n" HOST "\r\n");
    assert_true(answer.whole);
    assert_int_equal(answer.body_len, 500);
    for (int i = 0; i < 50; i++) { /* the same with clients that leave */
        struct peer peer = peer_open(lab.address);
        peer_send(&peer, "GET /drip?bytes=1000000000 HTTP/1.1\r\n" HOST "\r\n");
        assert_int_equal(read(peer.fd, &byte, 1), 1);
        peer_close(&peer);
    }
    assert_true(lab_wait(&lab.done, done + 51));
    assert_int_equal(read(lab.pipe[0], &byte, 1), 1);
}

static void waits_end_by_their_descriptor_or_their_deadline(void **state)
{
    (void)state;
    struct peer peer = peer_open(lab.address);
    struct peer_answer answer;
    peer_send(&peer, "GET /wait?ms=30 HTTP/1.1\r\n" HOST "\r\n");
    assert_true(peer_read(&peer, false, &answer));
    assert_int_equal(answer.status, 504);
    peer_send(&peer, "GET /sleep?ms=20 HTTP/1.1\r\n" HOST "\r\n");
    assert_true(peer_read(&peer, false, &answer));
    assert_string_equal(answer.body, "slept");
    peer_send(&peer, "GET /wait HTTP/1.1\r\n" HOST "\r\n");
    assert_true(lab_wait(&lab.waiting, 3));
    assert_true(peer_silent(&peer, 20));
    assert_int_equal(write(lab.pipe[1], "x", 1), 1);
    assert_true(peer_read(&peer, false, &answer));
    assert_string_equal(answer.body, "ready");
    peer_close(&peer);
}

static void files_are_sent_by_range(void **state)
{
    (void)state;
    struct peer_answer answer = peer_ask(lab.address, "GET /file HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(answer.status, 200);
    assert_int_equal(answer.body_len, 3);
    assert_memory_equal(answer.body, "ELF", 3);
}

static void json_bodies_are_parsed_and_bad_ones_are_400(void **state)
{
    (void)state;
    struct peer_answer answer = peer_ask(
        lab.address,
        "POST /json HTTP/1.1\r\n" HOST
        "Content-Type: application/json; charset=utf-8\r\nContent-Length: 7\r\n\r\n{\"a\":1}");
    assert_int_equal(answer.status, 200);
    assert_string_equal(answer.body, "object");
    answer = peer_ask(lab.address, "POST /json HTTP/1.1\r\n" HOST
                                   "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{]");
    assert_int_equal(answer.status, 400);
    answer = peer_ask(lab.address, "POST /json HTTP/1.1\r\n" HOST
                                   "Content-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}");
    assert_int_equal(answer.status, 415);
    answer = peer_ask(lab.address, "POST /json HTTP/1.1\r\n" HOST "Content-Length: 2\r\n\r\n{}");
    assert_int_equal(answer.status, 415);
}

static void health_ready_and_metrics_answer(void **state)
{
    (void)state;
    struct peer_answer answer = peer_ask(lab.address, "GET /health HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(answer.status, 200);
    assert_non_null(strstr(answer.body, "\"status\":\"ok\""));
    assert_non_null(strstr(answer.body, "\"service\":\"lab\""));
    assert_non_null(strstr(answer.body, "\"version\":\"9.9.9\""));
    answer = peer_ask(lab.address, "GET /ready HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(answer.status, 200);
    (void)peer_ask(lab.address, "GET /work HTTP/1.1\r\n" HOST "\r\n");
    assert_true(lab_wait(&lab.done, 1));
    answer = peer_ask(lab.address, "GET /metrics HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(answer.status, 200);
    assert_non_null(
        strstr(answer.body,
               "lakehouse_http_requests_total{route=\"/work\",method=\"GET\",status=\"200\"} 1"));
    assert_non_null(strstr(answer.body, "lakehouse_http_request_seconds_bucket{route=\"/work\""));
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(get_inline_and_on_a_worker_answers),
        T(connection_is_kept_and_pipelined_requests_answer_in_order),
        T(head_has_the_length_of_get_and_no_body),
        T(errors_are_json_with_the_request_id),
        T(unknown_route_is_404_and_other_method_405_with_allow),
        T(parameters_are_decoded_and_tails_keep_slashes),
        T(streamed_bodies_arrive_whole_by_length_and_by_chunks),
        T(streams_are_chunked_or_of_their_length_and_cut_when_they_fail),
        T(first_bytes_of_a_stream_leave_before_the_next_are_there),
        T(a_stream_that_waits_after_each_byte_is_handed_over_whole),
        T(waits_end_by_their_descriptor_or_their_deadline),
        T(files_are_sent_by_range),
        T(json_bodies_are_parsed_and_bad_ones_are_400),
        T(health_ready_and_metrics_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
