/*
 * What the files of the server share. Not for other layers.
 *
 * Who owns an exchange: exactly one thread at a time, so its fields need no lock.
 *
 *      HTTP thread --suspend, pool_submit--> worker --MHD_resume_connection--> HTTP thread
 *      worker --watch_park--> watcher --pool_submit or resume--> ...
 *
 * A connection is suspended exactly while a step of its request is queued, running or parked, or
 * while the watcher sends an early answer. Each hand-over goes through a mutex (the pool's, the
 * watcher's, libmicrohttpd's), which publishes the fields to the next owner. The only field that
 * others write is conn->gone.
 */
#ifndef HTTP_SERVER_PRIV_H
#define HTTP_SERVER_PRIV_H

#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/log.h"
#include "base/pool.h"
#include "http/router.h"
#include "http/server.h"

enum {
    DRAIN_BYTES_MAX = 64 * 1024 * 1024, /* of a refused body; DESIGN section 8 */
    DRAIN_MS = 5000,
    /* a refused body this small is read to its end, which keeps the connection */
    DROP_BYTES_MAX = 64 * 1024,
    EARLY_ANSWER_MAX = 1024 * 1024, /* of an answer that is sent before the body was read */
    LOG_FIELDS_MAX = 8,
    STATUSES_COUNTED = 64,
};

struct watch;

/* One accepted connection, from libmicrohttpd's notice of its start to that of its end. */
struct conn {
    struct http_server *server;
    struct MHD_Connection *mhd;
    int fd;
    /* its request, until libmicrohttpd has said that it is over; the HTTP thread's */
    struct http_exchange *exchange;
    /* the watcher tells the owner of the exchange that nobody listens any more */
    _Atomic bool gone;
    /* the HTTP thread tells the watcher until when a head must be complete */
    _Atomic int64_t head_deadline;
    /* and until when the next bytes of a body, when it waits for them */
    _Atomic int64_t body_deadline;
    /* the watcher tells the HTTP thread that it ended the connection for that */
    _Atomic bool slow_body;
    /* and that it can go on only with bytes of the client's */
    _Atomic bool receiving;
    /* the HTTP thread counts what has come: nothing new means that it is stuck */
    _Atomic uint32_t turns;
    /* the watcher's: gone and receiving at the last sweep; since when bytes wait that are not read,
     * and the turns then */
    bool ending;
    deadline_ms stuck_until; /* 0: it is not */
    uint32_t stuck_turns;
    /* guarded by the watcher's lock: its request, while it waits there */
    struct http_exchange *parked;
    /* guarded by the watcher's lock: the exchange whose early answer it sends */
    struct http_exchange *linger;
};

enum phase {
    PHASE_HEAD,   /* nothing is known */
    PHASE_BEGIN,  /* begin is to be called */
    PHASE_BODY,   /* the body comes in */
    PHASE_END,    /* the body is complete */
    PHASE_PULL,   /* a stream runs */
    PHASE_ANSWER, /* an answer stands in `reply`, whole */
};

enum reply_kind { REPLY_NONE, REPLY_BUFFER, REPLY_FD, REPLY_STREAM };

struct reply {
    enum reply_kind kind;
    int status;
    struct http_headers headers; /* in the request's arena */
    struct buf body;
    int fd; /* REPLY_FD, -1 when handed on */
    uint64_t offset;
    int64_t length; /* REPLY_FD and REPLY_STREAM; -1: chunked */
};

struct http_exchange {
    struct http_req req;
    struct http_server *server;
    struct conn *conn;
    const struct router_entry *entry; /* NULL: no route */
    const struct http_handler *handler;
    enum phase phase;
    bool http10;
    bool expects;     /* Expect: 100-continue, and 100 was not sent */
    bool head_passed; /* the body may come */
    bool body_whole;  /* the body has come */
    bool started;     /* begin or end was called, so done must be */
    bool counted;     /* stands in server->active */
    /* a step was queued before: the queue's limit counts for the first one only */
    bool first_step;
    bool peeked;    /* the first of the next body bytes is already in `in` */
    bool stepping;  /* of an inline route: its body step was parked and goes on */
    bool offloaded; /* of an inline route: it goes on on workers */
    bool early;     /* the answer was made before the body was whole */
    bool close;     /* the connection ends after this answer */
    bool queued;    /* the head of the answer has left our hands */
    bool pull_ended;
    bool cut;               /* close without (the rest of) an answer */
    bool cut_after;         /* cut when what is in `out` has left */
    bool raw_whole;         /* an early answer went out whole */
    struct buf in;          /* body bytes: the whole body, or the next piece of it */
    struct buf out;         /* stream bytes that wait for the client */
    size_t out_pos;         /* of `out`, already taken */
    struct str cors_origin; /* a listed foreign origin, which may read the answer */
    struct reply reply;
    yyjson_doc *json; /* of http_body_json */
    /* a wait: what http_wait asked for, and its place in the watcher */
    int wait_fd;
    short wait_events;
    deadline_ms wait_deadline;
    size_t heap_index;                            /* guarded by the watcher's lock */
    struct http_exchange *park_next, *ready_next; /* the watcher's */
    bool wait_pending;                            /* to be parked as soon as `out` has left */
    /* an early answer on its way, or a refused body that is dropped */
    struct buf raw;
    size_t raw_pos;
    uint64_t dropped_bytes;
    deadline_ms drop_deadline;
    bool raw_shut;
    /* the clock of a body that comes slowly; body_until 0: it stands */
    int64_t body_slack_ms;
    deadline_ms body_until;
    uint64_t body_credited;
    /* for the log and the metrics */
    int64_t start_us;
    uint64_t bytes_in, bytes_out;
    struct log_field log_fields[LOG_FIELDS_MAX];
    size_t log_field_count;
};

struct route_metrics {
    /* looked up once each; relaxed: the registry publishes */
    _Atomic(struct metric *) requests[HTTP_METHOD_OTHER + 1][STATUSES_COUNTED];
    struct metric *seconds;
};

struct http_server {
    /* defaults filled in; strings copied where they are not literals for ever */
    struct http_server_opts opts;
    struct str secret;
    struct router router;
    struct pool *pool;
    struct watch *watch;
    struct MHD_Daemon *daemon;
    int listen_fd;
    char address[300];
    const char *hosts_bind[2]; /* the name that we are bound to is a fine Host */
    char bind_host[256];
    struct ops *ops; /* NULL: not mounted */

    pthread_mutex_t lock;
    pthread_cond_t changed;
    size_t active; /* requests whose head is complete and whose end is not; guarded by lock */
    /* connections that libmicrohttpd must not be stopped with; guarded by lock */
    size_t suspended;
    bool cutting; /* nobody may suspend any more; guarded by lock */
    /* new requests are refused; relaxed, a late reader only serves one more */
    _Atomic bool draining;
    /* nothing new is begun; relaxed, a late reader only does one more step */
    _Atomic bool cut_now;
    _Atomic size_t connections; /* relaxed, a figure and the accept limit */

    uint64_t id_high, id_low; /* of the ids that are given to requests */
    _Atomic uint64_t ids_made;

    /* [router.count + 1]; the last is for requests without a route */
    struct route_metrics *route_metrics;
    struct metric *m_bytes_in, *m_bytes_out, *m_in_flight, *m_queued, *m_running, *m_connections,
        *m_gone;
    struct metric *m_refused_queue, *m_refused_guard, *m_refused_malformed, *m_refused_slow_head,
        *m_refused_slow_body;
};

/* --- exchange.c: the life of one request, as libmicrohttpd calls it --- */

void *exchange_on_target(void *server, const char *target, struct MHD_Connection *mhd);
enum MHD_Result exchange_on_access(void *server, struct MHD_Connection *mhd, const char *url,
                                   const char *method, const char *version, const char *upload,
                                   size_t *upload_len, void **exchange);
void exchange_on_completed(void *server, struct MHD_Connection *mhd, void **exchange,
                           enum MHD_RequestTerminationCode code);
/* From the watcher, which owned it: run it again, where its steps run (or end it when the client is
 * gone). */
void exchange_unpark(struct http_exchange *ex);
/* From the watcher: the early answer is out, as far as it went. */
void exchange_lingered(struct http_exchange *ex);
/* libmicrohttpd's content reader of streams. */
ssize_t exchange_read(void *exchange, uint64_t pos, char *ptr, size_t cap);
/* Gives the connection back to libmicrohttpd. The exchange is not ours any more afterwards. */
void exchange_resume(struct http_exchange *ex);
/* False when the server is being cut: then the connection was not suspended. */
bool exchange_suspend(struct http_exchange *ex) MUST_USE;

/* --- step.c: running a handler's steps --- */

enum step_give { STEP_TO_HTTP, STEP_PARK, STEP_TO_WORKER };
/* Runs steps until libmicrohttpd or the watcher must act. */
enum step_give step_run(struct http_exchange *ex);

/* --- head.c: from a head to a request with a route, or to a refusal in ex->reply --- */

void head_read(struct http_exchange *ex, const char *method, const char *version);

/* --- reply.c: answers --- */

void reply_clear(struct http_exchange *ex);
/* An error answer in place of what stood there; never fails: at worst an answer without a body. */
void reply_error(struct http_exchange *ex, enum status kind, int http_status);
/* Hand the answer to libmicrohttpd, which asks exchange_read for the bytes of a stream. */
enum MHD_Result reply_queue(struct http_exchange *ex);
/* The whole answer as bytes on the wire, with Connection: close, into ex->raw. */
enum status reply_raw(struct http_exchange *ex) MUST_USE;

/* --- account.c: metrics and the log line --- */

void account_setup(struct http_server *server);
void account_begin(struct http_exchange *ex);
void account_end(struct http_exchange *ex);

/* --- watch.c: the thread that waits for everybody --- */

enum status watch_start(struct http_server *server, struct watch **out, struct err *err) MUST_USE;
/* Accept from server->listen_fd until watch_quiesce, which returns when the last one was handed
 * over. */
void watch_accept(struct watch *watch);
void watch_quiesce(struct watch *watch);
/* Unpark all, end all early answers, mark all clients gone; and so for ever on. */
void watch_cut(struct watch *watch);
void watch_stop(struct watch *watch);
void watch_client_add(struct watch *watch, struct conn *conn);
void watch_client_remove(struct watch *watch, struct conn *conn);
/* Takes the exchange over; ends in exchange_unpark. */
void watch_park(struct watch *watch, struct http_exchange *ex);
/* Takes the exchange over; sends ex->raw, drains the client, ends in exchange_lingered. */
void watch_linger(struct watch *watch, struct http_exchange *ex);

/* --- ops.c --- */

void ops_free(struct ops *ops);

static inline struct http_exchange *exchange_of(struct http_req *req)
{
    return req->exchange;
}

#endif
