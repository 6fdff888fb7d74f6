/*
 * A bounded pool of worker threads with one bounded queue.
 */
#ifndef BASE_POOL_H
#define BASE_POOL_H

#include <stddef.h>

#include "base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

struct pool;

struct pool_opts {
    const char *name;   /* thread name, up to 15 bytes; borrowed */
    unsigned threads;   /* 0: 4. Threads start when first needed and stay */
    size_t queue_max;   /* 0: 1024 */
    size_t stack_bytes; /* 0: 512 KiB */
};

enum status pool_start(const struct pool_opts *opts, struct pool **out, struct err *err) MUST_USE;
/** Run what is queued, then join the threads. NULL is fine. */
void pool_stop(struct pool *pool);
/** E_UNAVAILABLE (retry_after_s 1) when the queue is full. */
enum status pool_submit(struct pool *pool, void (*fn)(void *arg), void *arg,
                        struct err *err) MUST_USE;
/** Jobs that wait, and jobs that run. */
size_t pool_queued(struct pool *pool);
size_t pool_running(struct pool *pool);

#ifdef __cplusplus
}
#endif

#endif
