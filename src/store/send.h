/*
 * An object as the body of an answer: small ones of a file whole, with the head; others by sendfile
 * where the driver has a descriptor, else in pieces.
 */
#ifndef STORE_SEND_H
#define STORE_SEND_H

#include "http/server.h"
#include "store/store.h"

/** What is still to be sent. In the state of an exchange, whose `done` closes the object. */
struct store_send {
    struct store_object *object;
    uint64_t offset, length;
};

/**
 * Begin the answer; of a HEAD or of no bytes it is a head alone. Pieces are then asked for by
 * store_send_pull, which must be what the handler pulls by.
 *
 * Errors   those of store_object_fd; nothing is answered then. In *err: req->err
 */
enum status store_send_begin(struct http_req *req, int http_status, const char *type,
                             const struct store_send *send) MUST_USE;
enum http_step store_send_pull(struct http_req *req, struct store_send *send);

#endif
