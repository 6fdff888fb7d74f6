/*
 * The gateway's way to a service: non-blocking HTTP/1.1 over kept connections, parsed by llhttp,
 * driven in steps.
 *
 * Every call either makes progress, or says that it must wait for `fd`; nothing blocks. A kept
 * connection may end at the moment that a request goes out on it. A GET or HEAD without body, and a
 * request whose body waits for `100 Continue`, are then sent again on a fresh one, as long as no
 * byte of an answer has come. Nothing else is ever sent twice: it takes a kept connection only if
 * that was in use a moment ago.
 */
#ifndef HTTP_UPSTREAM_H
#define HTTP_UPSTREAM_H

#include "base/clock.h"
#include "http/message.h"

struct upstream;      /* one service: its URL and its kept connections; thread safe */
struct upstream_call; /* one exchange */

struct upstream_opts {
    struct http_url url;
    const char *service;        /* "queryd", for messages */
    unsigned kept_max;          /* 0: 64 */
    int64_t connect_timeout_ms; /* 0: 2 s */
    int64_t head_timeout_ms;    /* that an answer or its next bytes may take; 0: 310 s */
    int64_t idle_timeout_ms;    /* that the next bytes of a body may wait to be taken; 0: 60 s */
};

enum upstream_state { UPSTREAM_DONE, UPSTREAM_WANT_READ, UPSTREAM_WANT_WRITE };

struct upstream_head {
    int status;
    struct http_headers headers; /* hop-by-hop ones already left out */
    int64_t content_length;      /* -1 unknown */
    struct arena *arena;
};

enum status upstream_new(const struct upstream_opts *opts, struct upstream **out,
                         struct err *err) MUST_USE;
void upstream_free(struct upstream *upstream);

/** `head` is the ready-made request head (request line to blank line); copied. `safe` marks
 * GET/HEAD without body, and requests that wait with theirs (upstream_ask). */
enum status upstream_call_new(struct upstream *upstream, struct str head, bool safe,
                              bool chunked_body, struct upstream_call **out,
                              struct err *err) MUST_USE;
/** Gives the connection back to the kept ones when the exchange is complete, else closes it. NULL
 * is fine. */
void upstream_call_free(struct upstream_call *call);
/** The descriptor and the deadline to wait for, after a WANT. */
int upstream_call_fd(const struct upstream_call *call);
deadline_ms upstream_call_deadline(const struct upstream_call *call);
/**
 * Send the head and then body bytes. All of `bytes` is taken or kept inside (at most 256 KiB +
 * framing); *state_out is UPSTREAM_DONE when everything has left, else wait and call again with
 * empty bytes. `last` closes a chunked body.
 * Errors   E_UPSTREAM (cannot connect, broken off), E_TIMEOUT (a deadline has passed). An answer
 *          that comes before the body is whole (413) is no error: *early_out becomes true and the
 *          rest of the body need not be sent.
 */
enum status upstream_send(struct upstream_call *call, struct str bytes, bool last,
                          enum upstream_state *state_out, bool *early_out,
                          struct err *err) MUST_USE;
/**
 * After a head with `Expect: 100-continue`, before upstream_send: send it and wait for the word.
 * *go_out true: it wants the body, or has said nothing for a second (RFC 9110 section 10.1.1); else
 * with UPSTREAM_DONE it has answered, and upstream_recv_head gives what.
 */
enum status upstream_ask(struct upstream_call *call, struct arena *arena, bool *go_out,
                         enum upstream_state *state_out, struct err *err) MUST_USE;
/** The answer's head; 1xx are skipped. */
enum status upstream_recv_head(struct upstream_call *call, struct arena *arena,
                               struct upstream_head *head_out, enum upstream_state *state_out,
                               struct err *err) MUST_USE;
/** The answer has come whole and all of it was taken. */
bool upstream_call_whole(const struct upstream_call *call);
/** Body bytes, de-chunked. *got_out 0 with UPSTREAM_DONE is the clean end; a connection that ends
 * early is E_UPSTREAM. */
enum status upstream_recv(struct upstream_call *call, char *ptr, size_t cap, size_t *got_out,
                          enum upstream_state *state_out, struct err *err) MUST_USE;

#endif
