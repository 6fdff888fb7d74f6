/* The worker pool. Tests hold workers at a gate instead of sleeping. */
#include "testing.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

#include "base/pool.h"

struct gate {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned waiting;
    bool open;
};

static struct gate gate = { .lock = PTHREAD_MUTEX_INITIALIZER,
                            .changed = PTHREAD_COND_INITIALIZER };
static atomic_uint done_count;

static int reset(void **state)
{
    gate.waiting = 0;
    gate.open = false;
    atomic_store(&done_count, 0);
    return 0;
}

static void wait_at_gate(void *arg)
{
    pthread_mutex_lock(&gate.lock);
    gate.waiting++;
    pthread_cond_broadcast(&gate.changed);
    while (!gate.open) {
        pthread_cond_wait(&gate.changed, &gate.lock);
    }
    pthread_mutex_unlock(&gate.lock);
    atomic_fetch_add(&done_count, 1);
}

static void await_waiting(unsigned count)
{
    pthread_mutex_lock(&gate.lock);
    while (gate.waiting < count) {
        pthread_cond_wait(&gate.changed, &gate.lock);
    }
    pthread_mutex_unlock(&gate.lock);
}

static void open_gate(void)
{
    pthread_mutex_lock(&gate.lock);
    gate.open = true;
    pthread_cond_broadcast(&gate.changed);
    pthread_mutex_unlock(&gate.lock);
}

static void count_one(void *arg)
{
    atomic_fetch_add(&done_count, 1);
}

static struct pool *start(unsigned threads, size_t queue_max)
{
    struct pool *pool = NULL;
    struct pool_opts opts = { .name = "test", .threads = threads, .queue_max = queue_max };
    assert_int_equal(pool_start(&opts, &pool, NULL), OK);
    return pool;
}

static void every_job_runs_once_even_those_queued_at_the_stop(void **state)
{
    struct pool *pool = start(3, 1000);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(pool_submit(pool, count_one, NULL, NULL), OK);
    }
    pool_stop(pool);
    assert_int_equal(atomic_load(&done_count), 1000);
    pool_stop(NULL);
}

static void jobs_run_side_by_side_up_to_the_thread_count(void **state)
{
    struct pool *pool = start(3, 10);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(pool_submit(pool, wait_at_gate, NULL, NULL), OK);
    }
    await_waiting(3); /* hangs if fewer threads start */
    assert_int_equal(pool_running(pool), 3);
    assert_int_equal(pool_queued(pool), 2);
    open_gate();
    pool_stop(pool);
    assert_int_equal(atomic_load(&done_count), 5);
}

static void a_full_queue_is_unavailable_with_advice_when_to_retry(void **state)
{
    struct pool *pool = start(1, 2);
    struct err err = { 0 };
    assert_int_equal(pool_submit(pool, wait_at_gate, NULL, NULL), OK);
    await_waiting(1);
    assert_int_equal(pool_submit(pool, count_one, NULL, NULL), OK);
    assert_int_equal(pool_submit(pool, count_one, NULL, NULL), OK);
    assert_int_equal(pool_submit(pool, count_one, NULL, &err), E_UNAVAILABLE);
    assert_int_equal(err.retry_after_s, 1);
    assert_string_equal(err.msg, "the worker pool \"test\" is busy");
    open_gate();
    pool_stop(pool);
    assert_int_equal(atomic_load(&done_count), 3);
}

static void submit_again(void *arg)
{
    assert_int_equal(pool_submit(arg, count_one, NULL, NULL), OK);
    wait_at_gate(NULL);
}

static void a_job_may_submit_jobs(void **state)
{
    struct pool *pool = start(2, 10);
    assert_int_equal(pool_submit(pool, submit_again, pool, NULL), OK);
    await_waiting(1);
    open_gate();
    pool_stop(pool);
    assert_int_equal(atomic_load(&done_count), 2);
}

static void note_mask(void *arg)
{
    pthread_sigmask(SIG_SETMASK, NULL, arg);
}

static void workers_take_no_signals_and_the_submitter_keeps_its_own(void **state)
{
    sigset_t in_worker;
    sigset_t here;
    sigemptyset(&in_worker);
    struct pool *pool = start(1, 1);
    assert_int_equal(pool_submit(pool, note_mask, &in_worker, NULL), OK);
    pool_stop(pool);
    assert_int_equal(sigismember(&in_worker, SIGTERM), 1);
    pthread_sigmask(SIG_SETMASK, NULL, &here);
    assert_int_equal(sigismember(&here, SIGTERM), 0);
}

static void a_pool_that_was_never_used_stops(void **state)
{
    pool_stop(start(0, 0));
}

static void an_absurd_size_is_refused(void **state)
{
    struct pool *pool = NULL;
    assert_int_equal(pool_start(&(struct pool_opts){ .threads = 100000 }, &pool, NULL), E_INVALID);
    assert_int_equal(pool_start(&(struct pool_opts){ .queue_max = SIZE_MAX }, &pool, NULL),
                     E_INVALID);
}

static enum status start_and_stop(void)
{
    struct pool *pool = NULL;
    TRY(pool_start(&(struct pool_opts){ .name = "p" }, &pool, NULL));
    pool_stop(pool);
    return OK;
}

static void without_memory_no_pool_starts(void **state)
{
    FAIL_EVERY_ALLOCATION(start_and_stop(), {});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(every_job_runs_once_even_those_queued_at_the_stop, reset),
        cmocka_unit_test_setup(jobs_run_side_by_side_up_to_the_thread_count, reset),
        cmocka_unit_test_setup(a_full_queue_is_unavailable_with_advice_when_to_retry, reset),
        cmocka_unit_test_setup(a_job_may_submit_jobs, reset),
        cmocka_unit_test(workers_take_no_signals_and_the_submitter_keeps_its_own),
        cmocka_unit_test(a_pool_that_was_never_used_stops),
        cmocka_unit_test(an_absurd_size_is_refused),
        cmocka_unit_test(without_memory_no_pool_starts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
