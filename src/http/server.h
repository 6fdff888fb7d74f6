/*
 * The HTTP server every service stands on: libmicrohttpd below, handlers in steps above.
 *
 * A request is a small state machine. Its steps run one at a time on a bounded pool of workers,
 * never on an HTTP thread (but for HTTP_INLINE routes), and each step returns soon: what must wait
 * for a socket says so (http_wait) and costs no thread while it waits. So slow clients, slow
 * readers and slow upstreams cost a bounded buffer each and nothing else.
 *
 *      head read --> begin --> body, body, ... --> end --> pull, pull, ... --> done
 *                                                    \___ or http_reply_* ___/
 *
 *   begin  (optional) the head is known: refuse early, or prepare to take the body
 *   body   (optional) the next bytes of the body, 1 byte to 256 KiB. After HTTP_WAIT or HTTP_AGAIN
 *          it is called again with the same bytes: they count as taken with HTTP_NEXT. A handler
 *          without it gets the whole body in req->body, at most body_bytes_max of its route
 *   end    the body is complete: make the answer, whole (http_reply_*) or as the head of a stream
 *          (http_stream)
 *   pull   (streams) the client has room: http_write some more
 *   done   (optional) always called, exactly once, last, if begin or end was called: free what is
 *          not in the arena.
 *          The client may have left at any time; req->failed tells that the answer did not go out
 *          whole
 *
 * A step returns HTTP_NEXT when its part is done, HTTP_AGAIN to be called again as soon as there is
 * room (pull), HTTP_WAIT after http_wait() to be called again when the descriptor is ready or the
 * deadline has passed, HTTP_END when the answer is complete, or HTTP_CUT to close the connection so
 * that the client sees the answer is not whole (before any head was sent: answers req->err as an
 * error instead).
 * A step of an HTTP_INLINE route that finds that it would have to wait returns HTTP_OFFLOAD, and is
 * called again on a worker, as all later steps of the request are.
 * An answer that a step makes (http_reply_*, http_fail, http_stream) counts whatever the step
 * returns with it. Made in begin or body of a request whose body is not whole it goes out at once,
 * is held to 1 MiB, and usually ends the connection.
 * A step that has failed calls http_fail(req, kind) after filling req->err, and returns what it
 * gives.
 */
#ifndef HTTP_SERVER_H
#define HTTP_SERVER_H

#include "base/clock.h"
#include "base/json.h"
#include "base/metrics.h"
#include "http/message.h"

struct http_server;
struct http_exchange; /* the server's half of a request */

enum http_step { HTTP_NEXT, HTTP_AGAIN, HTTP_WAIT, HTTP_END, HTTP_CUT, HTTP_OFFLOAD };

enum { HTTP_PARAMS_MAX = 8, HTTP_CHUNK_BYTES = 256 * 1024 };

struct http_param {
    struct str name, value; /* decoded */
};

struct http_req {
    enum http_method method;
    struct str method_name;
    struct str target; /* as it came: path and query, raw, without scheme and host */
    struct str path;   /* the raw path */
    struct str query;  /* raw, without '?' */
    struct http_headers headers;
    struct http_param params[HTTP_PARAMS_MAX]; /* from the route's {names}, decoded */
    size_t param_count;
    int64_t content_length; /* -1: none given (chunked, or no body) */
    bool has_body;
    struct str request_id; /* taken over from X-Request-Id when it is sane, else made */
    struct str body;       /* for handlers without `body`, valid from end on */
    struct arena arena;    /* dies with the request */
    struct err err;
    void *state;          /* route->state_bytes, zeroed, in the arena */
    void *ctx;            /* route->ctx */
    deadline_ms deadline; /* chosen by the route (timeout_ms) at the time the head was read */
    bool failed;          /* the client left or the answer was cut; for done() */
    /* set by a handler that has nothing left that waits: no worker for done() */
    bool done_is_quick;
    struct http_exchange *exchange;
};

struct http_handler {
    enum http_step (*begin)(struct http_req *req);
    enum http_step (*body)(struct http_req *req, struct str bytes);
    enum http_step (*end)(struct http_req *req);
    enum http_step (*pull)(struct http_req *req);
    void (*done)(struct http_req *req);
    size_t state_bytes;
};

enum http_route_flags {
    /* a Content-Type that is not JSON is 415 (none at all counts as not JSON) */
    HTTP_JSON_BODY = 1,
    HTTP_INLINE = 2,   /* steps run on the HTTP thread: nothing in them may wait */
    HTTP_QUIET = 4,    /* not logged at info (health, metrics) */
    HTTP_INTERNAL = 8, /* needs `Authorization: Lakehouse <secret>` */
    /* the tail parameter {x*} is the raw rest (proxy); checked only for `..` in any spelling */
    HTTP_RAW_TAIL = 16,
    /* {x*} is the raw rest, whatever stands in it: for the routes of a signed_edge */
    HTTP_ANY_TAIL = 32,
    /* a full queue, and a server that stops, are 429, not 503: for clients that take a 503 for
     * "perhaps done" */
    HTTP_BUSY_IS_RATE = 64,
};

struct http_route {
    /* HTTP_METHOD_OTHER: any. HEAD is answered by GET routes too (the body is dropped) */
    enum http_method method;
    const char *
        pattern; /* "/catalog/manifest/{table}"; {x} one segment, {x*} the rest, at the end, may hold slashes and %2F */
    const struct http_handler *handler;
    void *ctx;
    unsigned flags;
    /* 0: [http] body_bytes_max; for handlers with `body` 0 means that they see to it themselves */
    uint64_t body_bytes_max;
    /* 0: 60 s. For req->deadline; the server itself does not end a step by it */
    int64_t timeout_ms;
};

struct http_server_opts {
    const char *service;       /* "gateway" */
    const char *version;       /* of the program, for /health; NULL: "unknown" */
    const char *bind;          /* "127.0.0.1:3110"; port 0: any free one */
    bool allow_remote;         /* else an address that is not loopback is E_INVALID */
    struct metrics *metrics;   /* shared with the routes; required */
    struct str cluster_secret; /* for HTTP_INTERNAL routes; empty: those routes answer 403 */
    unsigned http_threads;     /* 0: half of the cores, 2 to 8 */
    unsigned workers;          /* 0: 32 */
    size_t queue_max;          /* steps that wait for a worker; 0: 1024. Full: 503 + Retry-After */
    unsigned connections_max;  /* 0: 1024 */
    size_t header_bytes_max;   /* 0: 16 KiB */
    uint64_t body_bytes_max;   /* of buffered bodies; 0: 16 MiB */
    int64_t idle_timeout_ms;   /* a connection on which nothing moves; 0: 60 s */
    int64_t head_timeout_ms;   /* to send a whole head, however slowly it trickles; 0: 30 s */
    /* bytes a second of a body, on average over the idle time; 0: no limit */
    uint64_t body_rate_min;
    int64_t drain_ms; /* time that a stop gives to what runs; 0: 10 s */
    /* NULL-terminated: names besides IP literals and localhost that Host may carry */
    const char *const *hosts;
    const char *const *origins; /* NULL-terminated: foreign origins that may call */
    /* services behind the gateway keep a given X-Request-Id; the gateway too, when sane */
    bool trust_request_id;
    /* Each request proves who sends it (S3's signatures): any Host and any Origin will do, and a
     * path may hold any segments. */
    bool signed_edge;
    /* Errors in another wire format: appends the body, returns its content type. NULL, also as
     * what it returns: our JSON */
    const char *(*error_body)(struct http_req *req, int http_status, struct buf *out);
    /* of this server's metrics, where several share a registry: "door=\"s3\""; NULL: none */
    const char *labels;
};

/* --- life --- */

/** Nothing listens yet. */
enum status http_server_new(const struct http_server_opts *opts, struct http_server **out,
                            struct err *err) MUST_USE;
/** Before start. `prefix` ("/v1" or "") is put in front of the pattern; the arrays are borrowed for
 * ever. */
enum status http_server_mount(struct http_server *server, const char *prefix,
                              const struct http_route *routes, size_t count, void *ctx,
                              struct err *err) MUST_USE;
/** Adds /health, /ready, /metrics. `ready` returns OK or says in one line what is missing; may be
 * NULL. Called at most once a second, on a worker. */
enum status http_server_mount_ops(struct http_server *server, const char *prefix,
                                  enum status (*ready)(void *ctx, struct err *err), void *ctx,
                                  struct err *err) MUST_USE;
/** Bind and serve. E_INVALID with one clear line when the port is taken or the address is not
 * allowed. */
enum status http_server_start(struct http_server *server, struct err *err) MUST_USE;
/** "127.0.0.1:43121" once started. */
const char *http_server_address(const struct http_server *server);
/** Stop accepting, finish what runs for at most drain_ms, cut the rest, join. */
void http_server_stop(struct http_server *server);
void http_server_free(struct http_server *server);

/* --- in a step --- */

/** The value of a {name} in the pattern; asserts that there is one. */
struct str http_param(const struct http_req *req, const char *name);
/** A decoded query parameter; .ptr NULL when it is absent. The first wins. Broken escapes are
 * E_INVALID. */
enum status http_query(struct http_req *req, const char *name, struct str *out) MUST_USE;
/** req->body as JSON, errors into req->err. The document dies with the request. */
enum status http_body_json(struct http_req *req, yyjson_val **root_out) MUST_USE;

/** Add a header to the answer, before the reply. Copied. Without effect when the value is empty or
 * holds control characters. */
void http_reply_header(struct http_req *req, const char *name, struct str value);
/** A whole answer; `body` is copied (or moved from a buf, which is then empty). Returns
 * HTTP_END. */
enum http_step http_reply(struct http_req *req, int http_status, const char *content_type,
                          struct str body);
enum http_step http_reply_buf(struct http_req *req, int http_status, const char *content_type,
                              struct buf *body);
/** 200 (or given) JSON from a writer's buffer. */
enum http_step http_reply_json(struct http_req *req, int http_status, struct buf *json);
enum http_step http_reply_empty(struct http_req *req, int http_status);
/** Answer req->err (kind `kind`, which is returned by the call that failed) as our JSON error. Ends
 * the request. Before the body was read whole, up to 64 MiB or 5 s of it are drained and dropped,
 * so that the client sees the answer. */
enum http_step http_fail(struct http_req *req, enum status kind);
/** The head of a stream: `length` -1 is chunked. Then pull() is called until it returns HTTP_END.
 * Returns HTTP_NEXT. */
enum http_step http_stream(struct http_req *req, int http_status, const char *content_type,
                           int64_t length);
/** The answer is `length` bytes of a file from `offset`; the server closes `fd`. Sent by sendfile.
 * Returns HTTP_END. */
enum http_step http_reply_fd(struct http_req *req, int http_status, const char *content_type,
                             int fd, uint64_t offset, uint64_t length);
/** In pull: append to the output; at most HTTP_CHUNK_BYTES a step. E_NO_MEMORY only. */
enum status http_write(struct http_req *req, const void *ptr, size_t len) MUST_USE;
/** Room for `len` <= HTTP_CHUNK_BYTES bytes to be written in place; then http_wrote. NULL without
 * memory. */
char *http_write_reserve(struct http_req *req, size_t len) MUST_USE;
void http_wrote(struct http_req *req, size_t len);
/** True once the head has left; then only http_write and HTTP_CUT can tell the client of an
 * error. */
bool http_head_sent(const struct http_req *req);
/** Park the request until `fd` is ready for `events` (POLLIN, POLLOUT) or the deadline has passed;
 * the same step runs again. fd -1: only the deadline. Returns HTTP_WAIT. */
enum http_step http_wait(struct http_req *req, int fd, short events, deadline_ms deadline);
/** True when the client is known to have left (or only closed its sending half, which counts the
 * same). A parked request whose client leaves is not stepped again: done() is called. */
bool http_client_gone(const struct http_req *req);
/** True while the client waits for our `100 Continue` before it sends its body: begin may look
 * first. */
bool http_client_expects(const struct http_req *req);
/** Added to the log line of the request. Name is a literal; at most 8. */
void http_log_field_str(struct http_req *req, const char *name, struct str value);
void http_log_field_i64(struct http_req *req, const char *name, int64_t value);

#endif
