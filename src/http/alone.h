/*
 * A handler's steps without a server: for tests of what a handler answers. No connection, no
 * threads; steps run one after the other as they would, and what they answer is handed back.
 */
#ifndef HTTP_ALONE_H
#define HTTP_ALONE_H

#include "http/server.h"

struct http_alone_request {
    struct str method, target;          /* "/a/b?c=d" */
    const struct http_headers *headers; /* NULL: none */
    struct str body;
    size_t piece_bytes; /* the body comes in pieces of so many; 0: at once */
};

struct http_alone_answer {
    int status; /* 0: the connection was closed without an answer */
    struct http_headers headers;
    struct str body; /* of a HEAD: none */
    bool cut;        /* the body broke off */
};

/**
 * Run one request through `handler`. A step that asks to be offloaded is called again, as on a
 * worker; one that waits for a descriptor is not for this.
 *
 * Owns     the answer is in `arena`
 * Errors   E_NO_MEMORY
 */
enum status http_alone(const struct http_handler *handler, void *ctx,
                       const struct http_alone_request *request, struct arena *arena,
                       struct http_alone_answer *out, struct err *err) MUST_USE;

#endif
