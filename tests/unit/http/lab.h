/*
 * A server with one route for each thing that a handler can do, and eyes on what the server did
 * with it.
 */
#ifndef TEST_HTTP_LAB_H
#define TEST_HTTP_LAB_H

#include "http/server.h"

#include <stdatomic.h>

struct lab {
    struct http_server *server;
    struct metrics *metrics;
    const char *address;
    atomic_int begun, ended, done, failed, waiting; /* over all requests */
    atomic_llong pulled_bytes;
    atomic_bool release; /* lets /gate steps go on */
    int pipe[2];         /* /wait waits for its reading end */
};

/** `opts` may be NULL; bind, metrics and service are filled in. */
void lab_start(struct lab *lab, const struct http_server_opts *given);
void lab_stop(struct lab *lab);
/** Wait (5 s at most) until the counter is `value`. */
bool lab_wait(const atomic_int *counter, int value);

#endif
