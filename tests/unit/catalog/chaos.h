/*
 * A store that crashes, delays, repeats and loses answers on purpose, for several writers that take
 * turns by a seed.
 *
 * Each writer is a thread with a store handle of its own over one store in memory. Only the thread
 * that has the turn runs; every store operation gives the turn away at random. So a schedule
 * repeats from its seed.
 */
#ifndef TESTS_CATALOG_CHAOS_H
#define TESTS_CATALOG_CHAOS_H

#include <pthread.h>

#include "base/rng.h"
#include "store/store_priv.h"

enum { CHAOS_WRITERS_MAX = 4, CHAOS_PENDING_MAX = 256 };

struct chaos;

struct chaos_handle {
    struct store base;
    struct chaos *chaos;
    int writer;
    bool crashed; /* nothing it does has an effect any more */
};

struct chaos_put { /* a PUT on its way, given up by its sender */
    char *key, *body;
    size_t body_len;
    bool if_absent;
    char if_match[STORE_ETAG_MAX + 1];
};

struct chaos {
    struct store *store; /* in memory */
    struct rng rng;      /* of whoever has the turn */
    /* one in so many operations; 0: never */
    uint64_t crash_in, lose_in, delay_in, repeat_in, stumble_in;
    uint64_t land_in; /* a late write lands before one in so many operations */
    struct chaos_handle handles[CHAOS_WRITERS_MAX];
    int writers;
    struct chaos_put pending[CHAOS_PENDING_MAX];
    size_t pending_count;
    pthread_mutex_t lock;
    pthread_cond_t wake[CHAOS_WRITERS_MAX + 1];
    int turn;                       /* guarded by lock; `writers` is the main thread's */
    bool active[CHAOS_WRITERS_MAX]; /* guarded by lock */
};

/** `clock` NULL: the machine's. */
void chaos_init(struct chaos *chaos, uint64_t seed, int writers, const struct lake_clock *clock);
/** Run `work` as each writer until all have returned. */
void chaos_run(struct chaos *chaos, void *(*work)(void *arg), void *args[]);
void chaos_begin(struct chaos *chaos, int writer); /* a writer's first and last words */
void chaos_end(struct chaos *chaos, int writer);
/** What was delayed lands now, in any order. */
void chaos_settle(struct chaos *chaos);
/** The same for all but keys below `prefix`. */
void chaos_settle_but(struct chaos *chaos, const char *prefix);
void chaos_done(struct chaos *chaos);

#endif
