/*
 * The worker pool: a ring of jobs under one lock, and threads that start when they are needed.
 *
 * A thread is started when more jobs wait than threads are idle. Workers block every signal, so
 * that signals go to the thread that waits for them.
 */
#include "base/pool.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/prctl.h>

#include "base/mem.h"

enum {
    THREADS_DEFAULT = 4,
    THREADS_MAX = 1024,
    QUEUE_MAX_DEFAULT = 1024,
    STACK_BYTES_DEFAULT = 512 * 1024,
};

struct job {
    void (*fn)(void *arg);
    void *arg;
};

struct pool {
    pthread_mutex_t lock;
    pthread_cond_t wake;      /* a job came, or `stopping` was set */
    pthread_t *threads;       /* [threads_max]; guarded by lock until stopping */
    struct job *ring;         /* [queue_max]; guarded by lock */
    size_t first;             /* oldest job in the ring; guarded by lock */
    size_t queued;            /* guarded by lock */
    size_t running;           /* guarded by lock */
    unsigned threads_started; /* guarded by lock */
    unsigned idle;            /* threads that wait for a job; guarded by lock */
    bool stopping;            /* guarded by lock */
    unsigned threads_max;
    size_t queue_max;
    size_t stack_bytes;
    char name[16]; /* what the kernel keeps of a thread's name */
};

static void free_pool(struct pool *pool);
static void add_thread(struct pool *pool);
static void *worker_main(void *arg);
static bool take_job(struct pool *pool, struct job *out);

enum status pool_start(const struct pool_opts *opts, struct pool **out, struct err *err)
{
    unsigned threads = opts->threads > 0 ? opts->threads : THREADS_DEFAULT;
    size_t queue_max = opts->queue_max > 0 ? opts->queue_max : QUEUE_MAX_DEFAULT;
    size_t ring_bytes;
    if (threads > THREADS_MAX || !size_mul(queue_max, sizeof(struct job), &ring_bytes)) {
        return err_set(err, E_INVALID, "a pool of %u threads and %zu waiting jobs is too large",
                       threads, queue_max);
    }
    struct pool *pool = mem_zalloc(sizeof(*pool));
    if (pool == NULL) {
        return err_no_memory(err);
    }
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->wake, NULL);
    pool->threads_max = threads;
    pool->queue_max = queue_max;
    pool->stack_bytes = opts->stack_bytes > 0 ? opts->stack_bytes : STACK_BYTES_DEFAULT;
    if (opts->name != NULL) {
        strncpy(pool->name, opts->name, sizeof(pool->name) - 1);
    }
    pool->threads = mem_zalloc(threads * sizeof(*pool->threads));
    pool->ring = mem_zalloc(ring_bytes);
    if (pool->threads == NULL || pool->ring == NULL) {
        free_pool(pool);
        return err_no_memory(err);
    }
    *out = pool;
    return OK;
}

void pool_stop(struct pool *pool)
{
    if (pool == NULL) {
        return;
    }
    pthread_mutex_lock(&pool->lock);
    pool->stopping = true;
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
    for (unsigned i = 0; i < pool->threads_started; i++) { /* no longer changes */
        pthread_join(pool->threads[i], NULL);
    }
    free_pool(pool);
}

enum status pool_submit(struct pool *pool, void (*fn)(void *arg), void *arg, struct err *err)
{
    const char *refusal = NULL;
    pthread_mutex_lock(&pool->lock);
    if (pool->stopping) {
        refusal = "is stopping";
    } else if (pool->queued == pool->queue_max) {
        refusal = "is busy";
    } else if (pool->queued >= pool->idle && pool->threads_started < pool->threads_max) {
        add_thread(pool);
        refusal = pool->threads_started == 0 ? "cannot start a thread" : NULL;
    }
    if (refusal == NULL) {
        size_t slot = (pool->first + pool->queued) % pool->queue_max;
        pool->ring[slot] = (struct job){ .fn = fn, .arg = arg };
        pool->queued++;
        pthread_cond_signal(&pool->wake);
    }
    pthread_mutex_unlock(&pool->lock);
    if (refusal == NULL) {
        return OK;
    }
    err_set(err, E_UNAVAILABLE, "the worker pool \"%s\" %s", pool->name, refusal);
    if (err != NULL) {
        err->retry_after_s = 1;
    }
    return E_UNAVAILABLE;
}

size_t pool_queued(struct pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    size_t queued = pool->queued;
    pthread_mutex_unlock(&pool->lock);
    return queued;
}

size_t pool_running(struct pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    size_t running = pool->running;
    pthread_mutex_unlock(&pool->lock);
    return running;
}

static void free_pool(struct pool *pool)
{
    pthread_cond_destroy(&pool->wake);
    pthread_mutex_destroy(&pool->lock);
    mem_free(pool->ring);
    mem_free(pool->threads);
    mem_free(pool);
}

/** Called with the lock. That a thread cannot start is no fault while others run. */
static void add_thread(struct pool *pool)
{
    pthread_attr_t attr;
    if (pthread_attr_init(&attr) != 0) {
        return;
    }
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    if (pthread_attr_setstacksize(&attr, pool->stack_bytes) == 0) {
        pthread_sigmask(SIG_SETMASK, &all, &before); /* inherited by the new thread */
        pthread_t *thread = &pool->threads[pool->threads_started];
        if (pthread_create(thread, &attr, worker_main, pool) == 0) {
            pool->threads_started++;
        }
        pthread_sigmask(SIG_SETMASK, &before, NULL);
    }
    pthread_attr_destroy(&attr);
}

static void *worker_main(void *arg)
{
    struct pool *pool = arg;
    struct job job;
    if (pool->name[0] != '\0') {
        prctl(PR_SET_NAME, pool->name);
    }
    while (take_job(pool, &job)) {
        job.fn(job.arg);
        pthread_mutex_lock(&pool->lock);
        pool->running--;
        pthread_mutex_unlock(&pool->lock);
    }
    return NULL;
}

/** Waits for a job; false when the pool stops and none is left. */
static bool take_job(struct pool *pool, struct job *out)
{
    pthread_mutex_lock(&pool->lock);
    while (pool->queued == 0 && !pool->stopping) {
        pool->idle++;
        pthread_cond_wait(&pool->wake, &pool->lock);
        pool->idle--;
    }
    bool found = pool->queued > 0;
    if (found) {
        *out = pool->ring[pool->first];
        pool->first = (pool->first + 1) % pool->queue_max;
        pool->queued--;
        pool->running++;
    }
    pthread_mutex_unlock(&pool->lock);
    return found;
}
