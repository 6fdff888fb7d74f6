/*
 * Waiting for a file to grow. One thread at a time waits on the socket, with the lock held, and the
 * others for the lock: whoever gets it looks at the size first.
 *
 * The process that reads could do other work meanwhile, so patience is bounded: WAIT_MS_MAX at
 * once, because then the writer stands still, and TOTAL_MS_MAX in all, because then it is slow.
 */
#include "lakefs/growing.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/mem.h"

/* chosen, not measured */
enum { WAIT_MS_MAX = 1000, TOTAL_MS_MAX = 10000 };

struct growing {
    int fd, news_fd;
    uint64_t size;
    pthread_mutex_t lock; /* held across the wait on news_fd: it is the queue of those who wait */
    uint64_t there;       /* guarded by lock, as all below: bytes seen so far */
    bool ended;           /* no more news */
    int64_t waited_ms;
};

enum status growing_new(int fd, int news_fd, uint64_t size, struct growing **out, struct err *err)
{
    struct growing *g = mem_zalloc(sizeof(*g));
    if (g == NULL) {
        return err_no_memory(err);
    }
    g->fd = fd;
    g->news_fd = news_fd;
    g->size = size;
    pthread_mutex_init(&g->lock, NULL);
    *out = g;
    return OK;
}

void growing_free(struct growing *g)
{
    if (g != NULL) {
        pthread_mutex_destroy(&g->lock);
        mem_free(g);
    }
}

static enum status look(struct growing *g, struct err *err)
{
    struct stat st;
    if (fstat(g->fd, &st) != 0) {
        return err_errno(err, errno, "size of the file");
    }
    g->there = (uint64_t)st.st_size;
    return OK;
}

/** Take what the socket has, and notice its end. */
static void take_news(struct growing *g)
{
    char news[4096];
    ssize_t got;
    do {
        got = recv(g->news_fd, news, sizeof(news), MSG_DONTWAIT);
    } while (got == (ssize_t)sizeof(news) || (got < 0 && errno == EINTR));
    g->ended = g->ended || got == 0 || (got < 0 && errno != EAGAIN && errno != EWOULDBLOCK);
}

/** One wait for news. */
static enum status wait_once(struct growing *g, deadline_ms deadline, struct err *err)
{
    int64_t started = clock_mono_ms(clock_real());
    enum status status = io_wait(g->news_fd, POLLIN, deadline, err);
    g->waited_ms += clock_mono_ms(clock_real()) - started;
    if (status == E_TIMEOUT || (status == OK && g->waited_ms > TOTAL_MS_MAX)) {
        return err_set(err, E_UNAVAILABLE, "the file comes too slowly to be read while it comes");
    }
    TRY(status);
    take_news(g);
    return OK;
}

static enum status wait_locked(struct growing *g, uint64_t upto, struct err *err)
{
    deadline_ms deadline = deadline_in(WAIT_MS_MAX);
    uint64_t before = g->there;
    for (;;) {
        /* the end first, the size behind it: what was written before the end is then seen */
        if (!g->ended) {
            take_news(g);
        }
        TRY(look(g, err));
        if (g->there >= upto) {
            return OK;
        }
        if (g->ended) {
            return err_set(err, E_CANCELED, "the file ended early");
        }
        if (g->there > before) {
            before = g->there;
            deadline = deadline_in(WAIT_MS_MAX);
        }
        TRY(wait_once(g, deadline, err));
    }
}

enum status growing_wait(struct growing *g, uint64_t upto, struct err *err)
{
    upto = upto < g->size ? upto : g->size;
    pthread_mutex_lock(&g->lock);
    enum status status = g->there >= upto ? OK : wait_locked(g, upto, err);
    pthread_mutex_unlock(&g->lock);
    return status;
}
