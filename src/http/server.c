/*
 * The life of a server: options, routes, the listening socket, and the order in which things start
 * and stop.
 *
 *      HTTP threads (libmicrohttpd, epoll)  <-- connections --  watcher (accepts, watches, parks)
 *             |  steps                                             ^ waits
 *             v                                                    |
 *          pool of workers ----------------------------------------'
 *
 * Stop: no more connections; new requests on kept ones get 503; what runs has drain_ms; then
 * whatever waits is ended, steps that run are waited for (they return soon, by contract), and when
 * nothing is suspended any more the daemon stops (MHD_stop_daemon aborts the process while
 * something is). Workers last, for the done() calls.
 */
#include "http/server_priv.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/io.h"
#include "base/mem.h"
#include "base/rng.h"
#include "http/mhd_pool.h"

/* Each has an epoll of its own; chosen, not measured. */
static unsigned thread_count(void)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    return cores < 4 ? 2 : cores > 16 ? 8 : (unsigned)(cores / 2);
}

static void fill_defaults(struct http_server_opts *opts)
{
    opts->http_threads = opts->http_threads > 0 ? opts->http_threads : thread_count();
    opts->workers = opts->workers > 0 ? opts->workers : 32;
    opts->queue_max = opts->queue_max > 0 ? opts->queue_max : 1024;
    opts->connections_max = opts->connections_max > 0 ? opts->connections_max : 1024;
    opts->header_bytes_max = opts->header_bytes_max > 0 ? opts->header_bytes_max : 16 * 1024;
    opts->body_bytes_max = opts->body_bytes_max > 0 ? opts->body_bytes_max : 16 * 1024 * 1024;
    opts->idle_timeout_ms = opts->idle_timeout_ms > 0 ? opts->idle_timeout_ms : 60 * 1000;
    opts->head_timeout_ms = opts->head_timeout_ms > 0 ? opts->head_timeout_ms : 30 * 1000;
    opts->drain_ms = opts->drain_ms > 0 ? opts->drain_ms : 10 * 1000;
}

enum status http_server_new(const struct http_server_opts *opts, struct http_server **out,
                            struct err *err)
{
    struct http_server *server = mem_zalloc(sizeof(*server));
    if (server == NULL) {
        return err_no_memory(err);
    }
    server->opts = *opts;
    fill_defaults(&server->opts);
    server->listen_fd = -1;
    router_init(&server->router);
    random_bytes(&server->id_high, sizeof(server->id_high));
    random_bytes(&server->id_low, sizeof(server->id_low));
    pthread_mutex_init(&server->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&server->changed, &attr);
    pthread_condattr_destroy(&attr);
    if (opts->cluster_secret.len > 0) {
        server->secret = str_from(mem_strndup(opts->cluster_secret.ptr, opts->cluster_secret.len),
                                  opts->cluster_secret.len);
        if (server->secret.ptr == NULL) {
            http_server_free(server);
            return err_no_memory(err);
        }
    }
    *out = server;
    return OK;
}

enum status http_server_mount(struct http_server *server, const char *prefix,
                              const struct http_route *routes, size_t count, void *ctx,
                              struct err *err)
{
    assert(server->daemon == NULL);
    for (size_t i = 0; i < count; i++) {
        TRY(router_add(&server->router, prefix, &routes[i], ctx, err));
    }
    return OK;
}

const char *http_server_address(const struct http_server *server)
{
    return server->address;
}

/* --- the listening socket --- */

static enum status note_address(struct http_server *server, int fd, struct err *err)
{
    struct sockaddr_storage bound = { 0 };
    socklen_t len = sizeof(bound);
    char host[256], port[16];
    if (getsockname(fd, (struct sockaddr *)&bound, &len) != 0) {
        return err_errno(err, errno, "cannot read the address of the listening socket");
    }
    int failed = getnameinfo((struct sockaddr *)&bound, len, host, sizeof(host), port, sizeof(port),
                             NI_NUMERICHOST | NI_NUMERICSERV);
    if (failed != 0) {
        return err_set(err, E_INTERNAL, "cannot read the address of the listening socket: %s",
                       gai_strerror(failed));
    }
    bool v6 = bound.ss_family == AF_INET6;
    (void)snprintf(server->address, sizeof(server->address), v6 ? "[%s]:%s" : "%s:%s", host, port);
    return OK;
}

static enum status listen_at(struct http_server *server, const struct addrinfo *info,
                             struct err *err)
{
    AUTO(fd_done) int fd = socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int on = 1;
    if (fd < 0) {
        return err_errno(err, errno, "cannot make a socket for \"%s\"", server->opts.bind);
    }
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(fd, info->ai_addr, info->ai_addrlen) != 0 || listen(fd, 1024) != 0) {
        int why = errno;
        switch (why) {
        case EADDRINUSE:
            return err_set(
                err, E_INVALID,
                "the address %s is in use by another program; stop it or bind %s to another port (0 takes any free one)",
                server->opts.bind, server->opts.service);
        case EADDRNOTAVAIL:
            return err_set(err, E_INVALID, "this machine has no address \"%s\"", server->opts.bind);
        case EACCES:
            return err_set(err, E_INVALID,
                           "not allowed to bind \"%s\"; ports below 1024 need the right to",
                           server->opts.bind);
        default:
            return err_errno(err, why, "cannot bind \"%s\"", server->opts.bind);
        }
    }
    TRY(note_address(server, fd, err));
    server->listen_fd = fd;
    fd = -1;
    return OK;
}

static enum status open_listener(struct http_server *server, struct err *err)
{
    struct http_address address;
    TRY(http_address_parse(str_of(server->opts.bind), &address, err));
    if (!server->opts.allow_remote && !http_address_is_loopback(&address)) {
        return err_set(
            err, E_INVALID,
            "\"%s\" can be reached from other machines, and there is no authentication yet; set allow_remote = true in [http] if you mean it",
            server->opts.bind);
    }
    char port[8];
    (void)snprintf(port, sizeof(port), "%u", address.port);
    struct addrinfo hints = { .ai_family = AF_UNSPEC,
                              .ai_socktype = SOCK_STREAM,
                              .ai_flags = AI_PASSIVE | AI_NUMERICSERV };
    if (strcasecmp(address.host, "localhost") == 0) {
        hints.ai_family = AF_INET; /* one socket: the address most clients try */
    }
    struct addrinfo *found = NULL;
    int failed = getaddrinfo(address.host, port, &hints, &found);
    if (failed != 0) {
        return err_set(err, E_INVALID, "cannot find the address of \"%s\": %s", address.host,
                       gai_strerror(failed));
    }
    enum status kind = listen_at(server, found, err);
    freeaddrinfo(found);
    memcpy(server->bind_host, address.host, sizeof(server->bind_host));
    server->hosts_bind[0] = server->bind_host;
    return kind;
}

/* --- libmicrohttpd --- */

static void on_connection(void *ctx, struct MHD_Connection *mhd, void **socket_context,
                          enum MHD_ConnectionNotificationCode code)
{
    struct http_server *server = ctx;
    struct conn *conn = *socket_context;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        const union MHD_ConnectionInfo *info = MHD_get_connection_info(
            mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
        conn = mem_zalloc(sizeof(*conn));
        if (conn == NULL || info == NULL) {
            mem_free(conn);
            return; /* its requests find no connection, and are closed */
        }
        conn->server = server;
        conn->mhd = mhd;
        conn->fd = info->connect_fd;
        atomic_init(&conn->head_deadline, deadline_in(server->opts.head_timeout_ms));
        atomic_init(&conn->body_deadline, DEADLINE_NEVER);
        atomic_init(&conn->receiving, true);
        *socket_context = conn;
        watch_client_add(server->watch, conn);
        return;
    }
    atomic_fetch_sub_explicit(&server->connections, 1, memory_order_relaxed);
    if (conn != NULL) {
        /* a chunk's line that is longer than its memory makes libmicrohttpd forget the request */
        exchange_on_completed(server, mhd, (void **)&conn->exchange,
                              MHD_REQUEST_TERMINATED_WITH_ERROR);
        watch_client_remove(server->watch, conn);
        mem_free(conn);
        *socket_context = NULL;
    }
}

static size_t leave_escapes(void *ctx, struct MHD_Connection *mhd, char *text)
{
    (void)ctx, (void)mhd;
    return strlen(text);
}

static enum status start_daemon(struct http_server *server, struct err *err)
{
    const struct http_server_opts *opts = &server->opts;
    unsigned threads = opts->http_threads;
    server->daemon = MHD_start_daemon(
        MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_NO_LISTEN_SOCKET, 0,
        NULL, NULL, exchange_on_access, server, MHD_OPTION_THREAD_POOL_SIZE,
        threads > 1 ? threads : 0U, MHD_OPTION_CLIENT_DISCIPLINE_LVL, 1,
        MHD_OPTION_CONNECTION_LIMIT, opts->connections_max + 2 * threads,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, mhd_pool_bytes(opts->header_bytes_max),
        MHD_OPTION_CONNECTION_MEMORY_INCREMENT, (size_t)(16 * 1024), MHD_OPTION_CONNECTION_TIMEOUT,
        (unsigned)((opts->idle_timeout_ms + 999) / 1000), MHD_OPTION_UNESCAPE_CALLBACK,
        leave_escapes, NULL, MHD_OPTION_URI_LOG_CALLBACK, exchange_on_target, server,
        MHD_OPTION_NOTIFY_COMPLETED, exchange_on_completed, server, MHD_OPTION_NOTIFY_CONNECTION,
        on_connection, server, MHD_OPTION_END);
    if (server->daemon == NULL) {
        return err_set(err, E_INTERNAL, "cannot start the HTTP threads: %s", strerror(errno));
    }
    return OK;
}

static enum status setup_metrics(struct http_server *server, struct err *err)
{
    server->route_metrics = mem_zalloc((server->router.count + 1) * sizeof(*server->route_metrics));
    if (server->route_metrics == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i <= server->router.count; i++) {
        char labels[300];
        (void)snprintf(labels, sizeof(labels), "route=\"%s\"",
                       i < server->router.count ? server->router.entries[i]->pattern : "(none)");
        server->route_metrics[i].seconds = metric_get(
            server->opts.metrics, METRIC_HISTOGRAM, "lakehouse_http_request_seconds", labels,
            "Time from the request line to the end of the answer.");
    }
    account_setup(server);
    return OK;
}

enum status http_server_start(struct http_server *server, struct err *err)
{
    TRY(open_listener(server, err));
    TRY(setup_metrics(server, err));
    /* beyond queue_max only follow-up steps and done() calls are queued: at most one each a
     * connection */
    size_t queue = server->opts.queue_max + 2 * (size_t)server->opts.connections_max;
    TRY(pool_start(&(struct pool_opts){ .name = "http-work",
                                        .threads = server->opts.workers,
                                        .queue_max = queue },
                   &server->pool, err));
    TRY(watch_start(server, &server->watch, err));
    TRY(start_daemon(server, err));
    watch_accept(server->watch);
    return OK;
}

/* --- stopping --- */

/* Until `*count` is 0 or the deadline has passed. */
static void wait_for_zero(struct http_server *server, const size_t *count, deadline_ms deadline)
{
    pthread_mutex_lock(&server->lock);
    while (*count > 0 && !deadline_passed(deadline)) {
        struct timespec until;
        if (deadline == DEADLINE_NEVER) {
            pthread_cond_wait(&server->changed, &server->lock);
        } else {
            until = (struct timespec){ .tv_sec = deadline / 1000,
                                       .tv_nsec = (deadline % 1000) * 1000 * 1000 };
            pthread_cond_timedwait(&server->changed, &server->lock, &until);
        }
    }
    pthread_mutex_unlock(&server->lock);
}

void http_server_stop(struct http_server *server)
{
    if (server->watch != NULL) {
        atomic_store_explicit(&server->draining, true, memory_order_relaxed);
        watch_quiesce(server->watch);
        wait_for_zero(server, &server->active, deadline_in(server->opts.drain_ms));
        pthread_mutex_lock(&server->lock);
        server->cutting = true;
        pthread_mutex_unlock(&server->lock);
        watch_cut(server->watch);
        wait_for_zero(server, &server->suspended, DEADLINE_NEVER);
    }
    if (server->daemon != NULL) {
        MHD_stop_daemon(server->daemon);
        server->daemon = NULL;
    }
    pool_stop(server->pool);
    server->pool = NULL;
    watch_stop(server->watch);
    server->watch = NULL;
    fd_done(&server->listen_fd);
}

void http_server_free(struct http_server *server)
{
    if (server == NULL) {
        return;
    }
    http_server_stop(server);
    ops_free(server->ops);
    router_done(&server->router);
    mem_free(server->route_metrics);
    mem_free((char *)server->secret.ptr);
    pthread_cond_destroy(&server->changed);
    pthread_mutex_destroy(&server->lock);
    mem_free(server);
}
