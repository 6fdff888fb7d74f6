/*
 * A blocking HTTP client for libraries and the command line, by libcurl. One call, one answer;
 * bodies stream in both directions.
 *
 * A request that is not safe to repeat (POST, or a PUT with a condition) always gets a fresh
 * connection: libcurl would re-send it by itself when a kept one dies before the answer. Redirects
 * are not followed. Proxies of the environment are not used for loopback.
 */
#ifndef HTTP_CLIENT_H
#define HTTP_CLIENT_H

#include "base/clock.h"
#include "http/message.h"

struct http_client;

struct http_client_opts {
    const char *base_url; /* "http://127.0.0.1:3211", joined in front of each target; required */
    struct str authorization;   /* the Authorization header, or empty */
    unsigned connections_max;   /* kept handles; 0: 16 */
    int64_t connect_timeout_ms; /* 0: 5 s */
    const char *service;        /* whom we call, for messages: "catalogd" */
    const char *ca_file;        /* PEM of who may vouch for an https server; NULL: the system's */
};

/** Thread safe: each call takes a kept handle or makes one. */
enum status http_client_new(const struct http_client_opts *opts, struct http_client **out,
                            struct err *err) MUST_USE;
void http_client_free(struct http_client *client);
/**
 * For a stop: from now on a call that moves no byte for `grace_ms` is broken off (E_UPSTREAM; it is
 * noticed within a second), and once one was, a new call is not even tried (E_UPSTREAM with
 * answer->unreached). Calls that get on are left alone.
 *
 * Threads  at any time, beside calls
 */
void http_client_interrupt(struct http_client *client, int64_t grace_ms);

struct http_call {
    enum http_method method;
    struct str target; /* path and query, encoded, with a leading slash */
    const struct http_header *headers;
    size_t header_count;
    struct str body; /* or: */
    /** Fill up to `cap` bytes; *got_out 0 is the end. A failure ends the call with it. */
    enum status (*read_body)(void *ctx, char *ptr, size_t cap, size_t *got_out, struct err *err);
    int64_t body_length; /* with read_body; -1: chunked */
    /** Called with each piece of a 2xx answer's body; without it the body goes to the answer's
     * `body`. */
    enum status (*write_body)(void *ctx, struct str bytes, struct err *err);
    void *ctx;
    /* safe to send twice: may use a kept connection though it is no GET, HEAD or DELETE */
    bool repeatable;
    deadline_ms deadline;    /* 0: 60 s from now */
    struct str request_id;   /* sent as X-Request-Id when not empty */
    uint64_t body_bytes_max; /* of the collected answer; 0: 64 MiB */
};

struct http_answer {
    int status;
    bool unreached; /* with E_UPSTREAM, E_TIMEOUT: no connection came about, nothing was sent */
    bool untrusted; /* and that because nobody whom we trust vouches for the server */
    struct http_headers headers;
    struct buf body; /* of errors, and of 2xx without write_body */
    struct arena arena;
};

/**
 * Errors   E_UPSTREAM when the service cannot be reached or breaks off (the message names it),
 *          E_TIMEOUT. An HTTP error status is not an error here: look at answer->status, or use
 *          http_client_call_ok
 * Owns     the caller runs http_answer_done, also after a failure
 */
enum status http_client_call(struct http_client *client, const struct http_call *call,
                             struct http_answer *answer, struct err *err) MUST_USE;
/** The same, and a status of 400 and above becomes the error that the service's body tells. */
enum status http_client_call_ok(struct http_client *client, const struct http_call *call,
                                struct http_answer *answer, struct err *err) MUST_USE;
void http_answer_done(struct http_answer *answer);

#endif
