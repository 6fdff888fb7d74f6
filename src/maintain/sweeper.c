/*
 * The thread that sweeps. Between steps it lets others go first: after each burst it pauses, so
 * that a large purge takes a while instead of the disk.
 */
#include "maintain/sweeper.h"

#include <pthread.h>

#include "base/mem.h"

/* Chosen: 16 deletions, then 4 ms: at most some 4000 a second. */
enum { BURST_STEPS = 16, PAUSE_MS = 4, FIRST_MS = 10000 };

struct sweeper {
    struct sweeper_opts opts;
    struct sweep *sweep;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool stopping;  /* guarded by lock */
    unsigned steps; /* the thread's own */
};

/** Sleep, but not through a stop; false when stopping. */
static bool sleep_ms(struct sweeper *sweeper, int64_t ms)
{
    deadline_ms until = deadline_in(ms);
    struct timespec at = { .tv_sec = until / 1000, .tv_nsec = (until % 1000) * 1000000 };
    pthread_mutex_lock(&sweeper->lock);
    int rc = 0;
    while (!sweeper->stopping && rc == 0) {
        rc = pthread_cond_timedwait(&sweeper->wake, &sweeper->lock, &at);
    }
    bool go_on = !sweeper->stopping;
    pthread_mutex_unlock(&sweeper->lock);
    return go_on;
}

static bool go_on(void *ctx)
{
    struct sweeper *sweeper = ctx;
    return sleep_ms(sweeper, ++sweeper->steps % BURST_STEPS == 0 ? PAUSE_MS : 0);
}

static void *run(void *arg)
{
    struct sweeper *sweeper = arg;
    int64_t interval = sweeper->opts.sweep.interval_ms;
    int64_t first = sweeper->opts.first_ms > 0 ? sweeper->opts.first_ms : FIRST_MS;
    for (int64_t wait = first < interval ? first : interval; sleep_ms(sweeper, wait);
         wait = interval) {
        struct sweep_result result;
        struct err err = { 0 };
        enum status status = sweep_run(sweeper->sweep, &result, &err);
        if (sweeper->opts.report != NULL && status != E_CANCELED) {
            sweeper->opts.report(sweeper->opts.report_ctx, &result, status, &err);
        }
    }
    return NULL;
}

static void sweeper_free(struct sweeper *sweeper)
{
    sweep_free(sweeper->sweep);
    pthread_cond_destroy(&sweeper->wake);
    pthread_mutex_destroy(&sweeper->lock);
    mem_free(sweeper);
}

enum status sweeper_start(const struct sweeper_opts *opts, struct sweeper **out, struct err *err)
{
    struct sweeper *sweeper = mem_zalloc(sizeof(*sweeper));
    if (sweeper == NULL) {
        return err_no_memory(err);
    }
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&sweeper->wake, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&sweeper->lock, NULL);
    sweeper->opts = *opts;
    sweeper->opts.sweep.go_on = go_on;
    sweeper->opts.sweep.ctx = sweeper;
    enum status status = sweep_new(&sweeper->opts.sweep, &sweeper->sweep, err);
    if (status == OK && pthread_create(&sweeper->thread, NULL, run, sweeper) != 0) {
        status = err_set(err, E_NO_MEMORY, "no thread can be made for the sweep");
    }
    if (status != OK) {
        sweeper_free(sweeper);
        return status;
    }
    *out = sweeper;
    return OK;
}

void sweeper_stop(struct sweeper *sweeper)
{
    if (sweeper == NULL) {
        return;
    }
    pthread_mutex_lock(&sweeper->lock);
    sweeper->stopping = true;
    pthread_cond_signal(&sweeper->wake);
    pthread_mutex_unlock(&sweeper->lock);
    pthread_join(sweeper->thread, NULL);
    sweeper_free(sweeper);
}
