/*
 * What the tests of the S3 API share: an API over a store in memory, and requests to it, signed as
 * clients sign them and run through its handler without a server.
 */
#ifndef TESTS_S3API_DESK_H
#define TESTS_S3API_DESK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "http/alone.h"
#include "s3api/s3api_priv.h"

/** 2024-01-02T03:04:05Z, at which everything happens unless a test moves it. */
#define DESK_NOW_MS 1704164645000

struct desk {
    int64_t now_ms;
    struct lake_clock clock;
    struct metrics *metrics;
    struct store *store;
    struct s3api *api;
    struct arena arena; /* of the test */
    struct http_alone_answer answer;
    long fail_nth; /* let this allocation of the next request fail; -1: none */
    bool failed;   /* it came to that */
};

/** cmocka's setup and teardown: a desk with the bucket `bkt`, in *state. */
int desk_up(void **state);
int desk_down(void **state);

struct ask {
    const char *method, *target;
    const char *headers[16]; /* name, value, name, ... up to NULL */
    const char *body;        /* NULL: none */
    size_t body_len;         /* 0: that of the text */
    size_t piece_bytes;
    const char *key; /* "main" (NULL), "reader", "narrow" (bkt/mine/), or "" for nobody */
};

/** Into desk->answer. */
enum status desk_try(struct desk *desk, const struct ask *ask, struct err *err) MUST_USE;
/** The same; fails the test unless the answer has that status. */
void desk_ask(struct desk *desk, int status, const struct ask *ask);
/** Fails the test unless the answer is an error with that code. */
void desk_refused(struct desk *desk, int status, const char *code, const struct ask *ask);
/** ASK(200, "GET", "/bkt/k", .body = "x") */
#define ASK(status_, method_, ...)                                                                 \
    desk_ask(desk, status_, &(struct ask){ .method = method_, .target = __VA_ARGS__ })
#define REFUSED(status_, code_, method_, ...)                                                      \
    desk_refused(desk, status_, code_, &(struct ask){ .method = method_, .target = __VA_ARGS__ })

/** Of desk->answer: a header ("" when it is not there), the body as text. */
const char *desk_header(struct desk *desk, const char *name);
const char *desk_body(struct desk *desk);
/** All texts of the elements of that name in the answer, in order, with commas between. */
const char *desk_texts(struct desk *desk, const char *element);

/** A request for the functions that are handed one, with a http_req of these headers; in the desk's
 * arena. */
struct s3api_request *desk_request(struct desk *desk, const char *method, const char *target,
                                   const char *const *headers);

#endif
