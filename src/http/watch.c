/*
 * The watcher: one thread with one epoll that waits for everybody, so that nobody else has to.
 *
 *   - the listening socket: accepts, and hands connections to libmicrohttpd (its own way to stop
 *     listening can abort the process when a connection limit is met at the same moment)
 *   - the client's socket of every connection, for a client that leaves while its connection is
 *     suspended (a half-close counts as gone; bytes that are sent ahead do not), for heads that
 *     take too long, and for ends that libmicrohttpd does not see: its epoll is edge-triggered, and
 *     it does not read again when the end has come together with the last bytes
 *   - descriptors and deadlines of parked requests (http_wait)
 *   - early answers: sent while the client is still sending, then half-closed, then drained (a
 *     lingering close), because a socket that is closed with unread bytes takes the answer back
 *     with its reset
 *
 * Everything is found by descriptor in one table below one lock. An event may be stale, its
 * descriptor closed and used again in the meantime: a client's leaving is therefore asked for once
 * more, and a parked step can bear to be called in vain.
 * Exchanges are given back outside the lock.
 */
#include "http/server_priv.h"

#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/io.h"
#include "base/mem.h"
#include "http/tcp.h"

enum {
    EVENTS = 128,
    SWEEP_MS = 1000,
    ENDING_MS = 200, /* between the two looks at a client that has ended; chosen, not measured */
    STUCK_MS = 3000, /* bytes that an HTTP thread does not read; chosen, not measured */
    LINGER_READ = 256 * 1024,
};

struct slot {
    struct conn *conn;            /* a client's socket */
    struct http_exchange *parked; /* requests that wait for a descriptor, chained by park_next */
};

struct watch {
    struct http_server *server;
    pthread_t thread;
    int epoll_fd, wake_fd;
    pthread_mutex_t lock;
    struct slot *slots; /* by descriptor; guarded by lock */
    size_t slot_count;  /* guarded by lock */
    /* parked and lingering ones by deadline, nearest first; guarded by lock */
    struct http_exchange **heap;
    size_t heap_count, heap_cap; /* guarded by lock */
    deadline_ms sleeps_until;    /* of the thread; guarded by lock */
    bool paused;            /* too many connections, the listening socket rests; guarded by lock */
    bool cutting, stopping; /* guarded by lock */
    pthread_mutex_t accept_lock; /* held while connections are taken in; before lock */
    bool accepting;              /* guarded by accept_lock */
    deadline_ms sweep_at;        /* the thread's own */
    char *scratch;               /* the thread's own, LINGER_READ bytes */
};

/* Exchanges that the lock's holder found ready, chained by ready_next to be given back without
 * it. */
struct ready {
    struct http_exchange *first;
};

static void wake(struct watch *w)
{
    uint64_t one = 1;
    ssize_t written = write(w->wake_fd, &one, sizeof(one));
    (void)written; /* full means that it is awake anyway */
}

/* --- the heap of deadlines; all with the lock held --- */

static deadline_ms due(const struct http_exchange *ex)
{
    return ex->raw.len > 0 ? ex->drop_deadline : ex->wait_deadline;
}

static void heap_place(struct watch *w, size_t i, struct http_exchange *ex)
{
    w->heap[i] = ex;
    ex->heap_index = i;
}

static void heap_up(struct watch *w, size_t i)
{
    struct http_exchange *ex = w->heap[i];
    while (i > 0 && due(w->heap[(i - 1) / 2]) > due(ex)) {
        heap_place(w, i, w->heap[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    heap_place(w, i, ex);
}

static void heap_down(struct watch *w, size_t i)
{
    struct http_exchange *ex = w->heap[i];
    for (;;) {
        size_t child = 2 * i + 1;
        if (child + 1 < w->heap_count && due(w->heap[child + 1]) < due(w->heap[child])) {
            child++;
        }
        if (child >= w->heap_count || due(w->heap[child]) >= due(ex)) {
            break;
        }
        heap_place(w, i, w->heap[child]);
        i = child;
    }
    heap_place(w, i, ex);
}

static bool heap_add(struct watch *w, struct http_exchange *ex)
{
    if (w->heap_count == w->heap_cap) {
        size_t cap = w->heap_cap == 0 ? 64 : w->heap_cap * 2;
        struct http_exchange **heap = mem_realloc(w->heap, cap * sizeof(struct http_exchange *));
        if (heap == NULL) {
            return false;
        }
        w->heap = heap;
        w->heap_cap = cap;
    }
    w->heap[w->heap_count] = ex;
    heap_up(w, w->heap_count++);
    return true;
}

static void heap_remove(struct watch *w, struct http_exchange *ex)
{
    size_t i = ex->heap_index;
    struct http_exchange *last = w->heap[--w->heap_count];
    if (last != ex) {
        heap_place(w, i, last);
        heap_up(w, i);
        heap_down(w, last->heap_index);
    }
}

/* --- the table; all with the lock held --- */

static struct slot *slot_at(struct watch *w, int fd)
{
    return fd >= 0 && (size_t)fd < w->slot_count ? &w->slots[fd] : NULL;
}

static struct slot *slot_make(struct watch *w, int fd)
{
    if ((size_t)fd >= w->slot_count) {
        size_t count = (size_t)fd + 64;
        struct slot *slots = mem_realloc(w->slots, count * sizeof(*slots));
        if (slots == NULL) {
            return NULL;
        }
        memset(slots + w->slot_count, 0, (count - w->slot_count) * sizeof(*slots));
        w->slots = slots;
        w->slot_count = count;
    }
    return &w->slots[fd];
}

static bool poll_set(struct watch *w, int operation, int fd, uint32_t events)
{
    struct epoll_event event = { .events = events, .data = { .fd = fd } };
    return epoll_ctl(w->epoll_fd, operation, fd, &event) == 0;
}

static uint32_t wanted(const struct http_exchange *ex)
{
    return (ex->wait_events & POLLIN ? EPOLLIN | EPOLLRDHUP : 0) |
           (ex->wait_events & POLLOUT ? EPOLLOUT : 0);
}

/* What all who wait for a descriptor want of it, once: whoever is woken asks for himself. */
static bool rearm(struct watch *w, int fd, const struct http_exchange *list)
{
    uint32_t events = EPOLLONESHOT;
    for (; list != NULL; list = list->park_next) {
        events |= wanted(list);
    }
    return poll_set(w, EPOLL_CTL_MOD, fd, events) ||
           (errno == ENOENT && poll_set(w, EPOLL_CTL_ADD, fd, events));
}

static void slot_leave(struct watch *w, struct slot *slot, struct http_exchange *ex)
{
    struct http_exchange **at = &slot->parked;
    while (*at != NULL && *at != ex) {
        at = &(*at)->park_next;
    }
    if (*at == NULL) {
        return;
    }
    *at = ex->park_next;
    ex->park_next = NULL;
    /* Nobody is left: the registration stays, for it has fired, or will once and in vain; the next
     * one to wait for this descriptor finds it, unless it was closed meanwhile. */
    if (slot->parked != NULL) {
        (void)rearm(w, ex->wait_fd, slot->parked);
    }
}

/* Takes a waiting exchange out of the table and the heap; the caller gives it back. */
static void take_out(struct watch *w, struct http_exchange *ex)
{
    heap_remove(w, ex);
    if (ex->raw.len > 0) {
        ex->conn->linger = NULL;
        (void)poll_set(w, EPOLL_CTL_MOD, ex->conn->fd, EPOLLRDHUP | EPOLLET);
        return;
    }
    struct slot *slot = slot_at(w, ex->wait_fd);
    if (slot != NULL) {
        slot_leave(w, slot, ex);
    }
    ex->conn->parked = NULL;
}

static void make_ready(struct watch *w, struct ready *ready, struct http_exchange *ex)
{
    take_out(w, ex);
    ex->ready_next = ready->first;
    ready->first = ex;
}

static void give_back(struct ready *ready)
{
    struct http_exchange *ex = ready->first;
    while (ex != NULL) {
        struct http_exchange *next = ex->ready_next;
        if (ex->raw.len > 0) {
            exchange_lingered(ex);
        } else {
            exchange_unpark(ex);
        }
        ex = next;
    }
    ready->first = NULL;
}

/* --- clients --- */

void watch_client_add(struct watch *w, struct conn *conn)
{
    pthread_mutex_lock(&w->lock);
    struct slot *slot = slot_make(w, conn->fd);
    if (slot != NULL) {
        slot->conn = conn;
        if (w->cutting) {
            atomic_store_explicit(&conn->gone, true, memory_order_release);
        }
        /* edge-triggered and without EPOLLIN: it wakes us once, when the client has left */
        (void)poll_set(w, EPOLL_CTL_ADD, conn->fd, EPOLLRDHUP | EPOLLET);
    }
    pthread_mutex_unlock(&w->lock);
}

void watch_client_remove(struct watch *w, struct conn *conn)
{
    pthread_mutex_lock(&w->lock);
    struct slot *slot = slot_at(w, conn->fd);
    if (slot != NULL && slot->conn == conn) {
        slot->conn = NULL;
        (void)poll_set(w, EPOLL_CTL_DEL, conn->fd, 0);
    }
    if (w->paused) {
        w->paused = false;
        (void)poll_set(w, EPOLL_CTL_MOD, w->server->listen_fd, EPOLLIN);
    }
    pthread_mutex_unlock(&w->lock);
}

static void sweep_soon(struct watch *w)
{
    deadline_ms soon = deadline_in(ENDING_MS);
    w->sweep_at = soon < w->sweep_at ? soon : w->sweep_at;
}

/* The watcher's thread. */
static void client_left(struct watch *w, struct ready *ready, struct conn *conn)
{
    struct pollfd now = { .fd = conn->fd, .events = POLLRDHUP };
    if (poll(&now, 1, 0) <= 0 || !(now.revents & (POLLRDHUP | POLLHUP | POLLERR))) {
        return;
    }
    /* publishes to the owner of the exchange that nobody listens */
    atomic_store_explicit(&conn->gone, true, memory_order_release);
    sweep_soon(w);
    if (conn->parked != NULL) {
        make_ready(w, ready, conn->parked);
    }
}

/* --- parked requests --- */

/* False when the descriptor cannot be waited for: a file, which is always ready, or a closed
 * one. */
static bool slot_join(struct watch *w, struct http_exchange *ex)
{
    struct slot *slot = slot_make(w, ex->wait_fd);
    if (slot == NULL) {
        return false;
    }
    ex->park_next = slot->parked;
    slot->parked = ex;
    if (rearm(w, ex->wait_fd, slot->parked)) {
        return true;
    }
    slot->parked = ex->park_next;
    ex->park_next = NULL;
    return false;
}

void watch_park(struct watch *w, struct http_exchange *ex)
{
    struct ready ready = { .first = NULL };
    pthread_mutex_lock(&w->lock);
    bool sooner = ex->wait_deadline < w->sleeps_until;
    bool kept = heap_add(w, ex);
    if (kept) {
        ex->conn->parked = ex;
        bool waits = ex->wait_fd < 0 || slot_join(w, ex);
        if (!waits || w->cutting || atomic_load_explicit(&ex->conn->gone, memory_order_acquire)) {
            make_ready(w, &ready, ex);
        }
    }
    pthread_mutex_unlock(&w->lock);
    if (!kept) { /* without memory nothing can wait */
        ex->cut = true;
        exchange_resume(ex);
        return;
    }
    if (sooner) {
        wake(w);
    }
    give_back(&ready);
}

/* --- early answers --- */

void watch_linger(struct watch *w, struct http_exchange *ex)
{
    pthread_mutex_lock(&w->lock);
    bool kept = !w->cutting && heap_add(w, ex);
    if (kept) {
        ex->conn->linger = ex;
        kept = poll_set(w, EPOLL_CTL_MOD, ex->conn->fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP);
        if (!kept) {
            take_out(w, ex);
        }
    }
    pthread_mutex_unlock(&w->lock);
    wake(w);
    if (!kept) {
        exchange_lingered(ex);
    }
}

/* Sends what is left of the answer. False when the client cannot take it any more. */
static bool linger_send(struct watch *w, struct http_exchange *ex)
{
    while (ex->raw_pos < ex->raw.len) {
        ssize_t sent = send(ex->conn->fd, ex->raw.ptr + ex->raw_pos, ex->raw.len - ex->raw_pos,
                            MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent < 0) {
            return errno == EAGAIN || errno == EINTR;
        }
        ex->raw_pos += (size_t)sent;
    }
    if (!ex->raw_shut) {
        ex->raw_shut = true;
        ex->raw_whole = true;
        (void)shutdown(ex->conn->fd, SHUT_WR);
        (void)poll_set(w, EPOLL_CTL_MOD, ex->conn->fd, EPOLLIN | EPOLLRDHUP);
    }
    return true;
}

/* One round of sending and dropping; true when there is nothing more to be done for this client. */
static bool linger_step(struct watch *w, struct http_exchange *ex)
{
    if (!linger_send(w, ex)) {
        return true;
    }
    ssize_t got = recv(ex->conn->fd, w->scratch, LINGER_READ, MSG_DONTWAIT);
    if (got > 0) {
        ex->dropped_bytes += (uint64_t)got;
        return ex->dropped_bytes > DRAIN_BYTES_MAX;
    }
    return got == 0 ? ex->raw_whole : errno != EAGAIN && errno != EINTR;
}

/* --- the listening socket --- */

/* Let the listening socket rest; the next connection that ends, or the next sweep, wakes it. */
static void pause_accept(struct watch *w)
{
    pthread_mutex_lock(&w->lock);
    w->paused = true;
    (void)poll_set(w, EPOLL_CTL_MOD, w->server->listen_fd, 0);
    pthread_mutex_unlock(&w->lock);
}

/* Returns false when there is nobody to accept, or no room. */
static bool accept_one(struct watch *w)
{
    struct http_server *server = w->server;
    struct sockaddr_storage peer;
    socklen_t len = sizeof(peer);
    if (atomic_load_explicit(&server->connections, memory_order_relaxed) >=
        server->opts.connections_max) {
        pause_accept(w);
        return false;
    }
    int fd = accept4(server->listen_fd, (struct sockaddr *)&peer, &len,
                     SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            pause_accept(w);
        }
        return false;
    }
    tcp_setup(fd, (struct sockaddr *)&peer);
    atomic_fetch_add_explicit(&server->connections, 1, memory_order_relaxed);
    if (MHD_add_connection(server->daemon, fd, (struct sockaddr *)&peer, len) != MHD_YES) {
        /* it has closed the descriptor */
        atomic_fetch_sub_explicit(&server->connections, 1, memory_order_relaxed);
    }
    return true;
}

static void accept_some(struct watch *w)
{
    pthread_mutex_lock(&w->accept_lock);
    for (int i = 0; w->accepting && i < 16; i++) {
        if (!accept_one(w)) {
            break;
        }
    }
    pthread_mutex_unlock(&w->accept_lock);
}

void watch_accept(struct watch *w)
{
    pthread_mutex_lock(&w->accept_lock);
    w->accepting = true;
    (void)poll_set(w, EPOLL_CTL_ADD, w->server->listen_fd, EPOLLIN);
    pthread_mutex_unlock(&w->accept_lock);
}

void watch_quiesce(struct watch *w)
{
    pthread_mutex_lock(&w->accept_lock);
    if (w->accepting) {
        w->accepting = false;
        (void)poll_set(w, EPOLL_CTL_DEL, w->server->listen_fd, 0);
        /* who comes now is refused, and does not wait in the backlog */
        (void)shutdown(w->server->listen_fd, SHUT_RD);
    }
    pthread_mutex_unlock(&w->accept_lock);
}

/* --- the thread --- */

/*
 * Of a connection that can go on only with bytes of the client's: the client has ended and no byte
 * can come any more, or bytes are there and libmicrohttpd does not read them. It does not when a
 * chunk's line is longer than its memory; and it would hold the connection for the idle time. (It
 * still does when it was resumed with bytes in hand: then the socket is in no epoll of its own, and
 * it sees no end of it.)
 * An end is asked for twice, a sweep apart: what has come meanwhile is read by then.
 */
static bool at_its_end(struct conn *conn)
{
    int waiting = 0;
    bool receiving = atomic_load_explicit(&conn->receiving, memory_order_relaxed) &&
                     ioctl(conn->fd, FIONREAD, &waiting) == 0;
    bool gone = receiving && waiting == 0 &&
                atomic_load_explicit(&conn->gone, memory_order_relaxed);
    bool twice = gone && conn->ending;
    conn->ending = gone;
    uint32_t turns = atomic_load_explicit(&conn->turns, memory_order_relaxed);
    if (!receiving || waiting == 0) {
        conn->stuck_until = 0;
    } else if (conn->stuck_until == 0 || turns != conn->stuck_turns) {
        conn->stuck_until = deadline_in(STUCK_MS);
        conn->stuck_turns = turns;
    }
    return twice || (conn->stuck_until != 0 && deadline_passed(conn->stuck_until));
}

/* True when the client has taken its time with a head or a body: the connection is to be ended. */
static bool too_slow(struct watch *w, struct conn *conn)
{
    if (deadline_passed(atomic_load_explicit(&conn->head_deadline, memory_order_relaxed))) {
        atomic_store_explicit(&conn->head_deadline, DEADLINE_NEVER, memory_order_relaxed);
        metric_add(w->server->m_refused_slow_head, 1);
        return true;
    }
    if (deadline_passed(atomic_load_explicit(&conn->body_deadline, memory_order_relaxed))) {
        atomic_store_explicit(&conn->body_deadline, DEADLINE_NEVER, memory_order_relaxed);
        /* what the HTTP thread sees of it, it sees after the shutdown that follows */
        atomic_store_explicit(&conn->slow_body, true, memory_order_relaxed);
        metric_add(w->server->m_refused_slow_body, 1);
        return true;
    }
    return false;
}

/* Heads and bodies that are not there in time, clients that have ended, and a listening socket that
 * was put to rest. */
static void sweep(struct watch *w)
{
    if (!deadline_passed(w->sweep_at)) {
        return;
    }
    w->sweep_at = deadline_in(SWEEP_MS);
    pthread_mutex_lock(&w->lock);
    if (w->paused) {
        w->paused = false;
        (void)poll_set(w, EPOLL_CTL_MOD, w->server->listen_fd, EPOLLIN);
    }
    for (size_t i = 0; i < w->slot_count; i++) {
        struct conn *conn = w->slots[i].conn;
        if (conn != NULL && at_its_end(conn)) {
            (void)shutdown(conn->fd, SHUT_RDWR);
        } else if (conn != NULL && conn->ending) {
            sweep_soon(w);
        } else if (conn != NULL && too_slow(w, conn)) {
            (void)shutdown(conn->fd, SHUT_RDWR); /* libmicrohttpd sees the end and closes */
        }
    }
    pthread_mutex_unlock(&w->lock);
}

static void handle_event(struct watch *w, struct ready *ready, int fd, uint32_t events)
{
    struct slot *slot = slot_at(w, fd);
    if (slot == NULL) {
        return;
    }
    if (slot->parked != NULL) {
        while (slot->parked != NULL) {
            make_ready(w, ready, slot->parked);
        }
        return;
    }
    struct conn *conn = slot->conn;
    if (conn == NULL) {
        return;
    }
    if (conn->linger != NULL) {
        if (linger_step(w, conn->linger)) {
            make_ready(w, ready, conn->linger);
        }
    } else if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) {
        client_left(w, ready, conn);
    }
}

static void handle_deadlines(struct watch *w)
{
    struct ready ready = { .first = NULL };
    pthread_mutex_lock(&w->lock);
    while (w->heap_count > 0 && (w->cutting || deadline_passed(due(w->heap[0])))) {
        make_ready(w, &ready, w->heap[0]);
    }
    pthread_mutex_unlock(&w->lock);
    give_back(&ready);
}

static int next_timeout(struct watch *w)
{
    pthread_mutex_lock(&w->lock);
    deadline_ms next = w->heap_count > 0 && due(w->heap[0]) < w->sweep_at ? due(w->heap[0])
                                                                          : w->sweep_at;
    w->sleeps_until = next;
    pthread_mutex_unlock(&w->lock);
    return deadline_poll_ms(next);
}

static void *watch_main(void *arg)
{
    struct watch *w = arg;
    struct epoll_event events[EVENTS];
    pthread_setname_np(pthread_self(), "http-watch");
    for (;;) {
        int count = epoll_wait(w->epoll_fd, events, EVENTS, next_timeout(w));
        struct ready ready = { .first = NULL };
        bool accepts = false;
        pthread_mutex_lock(&w->lock);
        bool stopping = w->stopping;
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;
            if (fd == w->wake_fd) {
                uint64_t value;
                ssize_t got = read(w->wake_fd, &value, sizeof(value));
                (void)got;
            } else if (fd == w->server->listen_fd) {
                accepts = true;
            } else {
                handle_event(w, &ready, fd, events[i].events);
            }
        }
        pthread_mutex_unlock(&w->lock);
        if (stopping) {
            return NULL;
        }
        give_back(&ready);
        if (accepts) {
            accept_some(w);
        }
        handle_deadlines(w);
        sweep(w);
    }
}

static void watch_free(struct watch *w)
{
    fd_done(&w->epoll_fd);
    fd_done(&w->wake_fd);
    pthread_mutex_destroy(&w->lock);
    pthread_mutex_destroy(&w->accept_lock);
    mem_free(w->slots);
    mem_free(w->heap);
    mem_free(w->scratch);
    mem_free(w);
}

enum status watch_start(struct http_server *server, struct watch **out, struct err *err)
{
    struct watch *w = mem_zalloc(sizeof(*w));
    if (w == NULL) {
        return err_no_memory(err);
    }
    w->server = server;
    w->sweep_at = deadline_in(SWEEP_MS);
    w->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    w->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    pthread_mutex_init(&w->lock, NULL);
    pthread_mutex_init(&w->accept_lock, NULL);
    w->scratch = mem_alloc(LINGER_READ);
    enum status kind = OK;
    if (w->scratch == NULL) {
        kind = err_no_memory(err);
    } else if (w->epoll_fd < 0 || w->wake_fd < 0 ||
               !poll_set(w, EPOLL_CTL_ADD, w->wake_fd, EPOLLIN)) {
        kind = err_errno(err, errno, "cannot set up the server's epoll");
    } else {
        int failed = pthread_create(&w->thread, NULL, watch_main, w);
        kind = failed == 0 ? OK
                           : err_errno(err, failed, "cannot start the server's watcher thread");
    }
    if (kind != OK) {
        watch_free(w);
        return kind;
    }
    *out = w;
    return OK;
}

void watch_cut(struct watch *w)
{
    /* tells the steps that are about to run that the server goes down */
    atomic_store_explicit(&w->server->cut_now, true, memory_order_relaxed);
    pthread_mutex_lock(&w->lock);
    w->cutting = true;
    for (size_t i = 0; i < w->slot_count; i++) {
        if (w->slots[i].conn != NULL) {
            atomic_store_explicit(&w->slots[i].conn->gone, true, memory_order_release);
        }
    }
    pthread_mutex_unlock(&w->lock);
    wake(w);
}

void watch_stop(struct watch *w)
{
    if (w == NULL) {
        return;
    }
    pthread_mutex_lock(&w->lock);
    w->stopping = true;
    pthread_mutex_unlock(&w->lock);
    wake(w);
    pthread_join(w->thread, NULL);
    watch_free(w);
}
