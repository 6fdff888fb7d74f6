/*
 * The pool against children of its own making: this program is also the child (started with
 * --engine=...), with kinds of jobs that
 * behave and kinds that do not. DuckDB is linked but never opened.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/io.h"
#include "engine/child.h"
#include "engine/engine.h"
#include "engine/wire.h"

/* --- the child --- */

static enum status job_echo(struct child_job *job, struct buf *done, struct err *err)
{
    struct str text;
    TRY(json_get_str(job->payload, "text", JSON_REQUIRED, &text, err));
    TRY(child_head(job, STR("{}"), err));
    TRY(child_data(job, text, err));
    return buf_printf(done, "{\"bytes\":%zu}", text.len);
}

static enum status job_pid(struct child_job *job, struct buf *done, struct err *err)
{
    TRY(child_head(job, STR("{}"), err));
    return buf_printf(done, "{\"pid\":%d}", (int)getpid());
}

static enum status job_fail(struct child_job *job, struct buf *done, struct err *err)
{
    return err_set(err, E_NOT_FOUND, "no \"thing\" here");
}

static enum status job_hang(struct child_job *job, struct buf *done, struct err *err)
{
    for (;;) {
        pause();
    }
    return OK;
}

static enum status job_sleep(struct child_job *job, struct buf *done, struct err *err)
{
    AUTO(buf_done) struct buf reply;
    buf_init(&reply, 0);
    TRY(child_head(job, STR("{}"), err));
    return child_call(job, "never", STR("{}"), &reply, NULL, err); /* hears the cancel */
}

static enum status job_grow(struct child_job *job, struct buf *done, struct err *err)
{
    for (;;) {
        const size_t step = 8 * 1024 * 1024;
        char *more = malloc(step);
        if (more != NULL) {
            memset(more, 1, step);
        }
        usleep(2000);
    }
    return OK;
}

/** Dies in the first child that gets it: the file that comes with the job remembers. */
static enum status job_die_once(struct child_job *job, struct buf *done, struct err *err)
{
    char seen = 0;
    if (pread(job->fds[0], &seen, 1, 0) == 1) {
        TRY(child_head(job, STR("{\"second\":true}"), err));
        return buf_printf(done, "{}");
    }
    TRY(io_write_full(job->fds[0], "x", 1, err));
    abort();
}

/* The last "rest" job of this child: when it was done, and where to write how long its memory was
 * kept. */
static _Atomic int64_t rest_since_us;
static _Atomic int rest_fd = -1;

/** In the place of DuckDB's allocator, which is asked here when memory goes back to the system. */
int duckdb_je_mallctl(const char *name, void *old, size_t *old_len, void *fresh, size_t fresh_len);
int duckdb_je_mallctl(const char *name, void *old, size_t *old_len, void *fresh, size_t fresh_len)
{
    int fd = strstr(name, ".purge") != NULL ? atomic_exchange(&rest_fd, -1) : -1;
    if (fd >= 0) {
        int64_t ms = (clock_now_us() - rest_since_us) / 1000;
        enum status written = io_write_full(fd, &ms, sizeof(ms), NULL);
        (void)written; /* the test would wait in vain */
        close(fd);
    }
    return 0;
}

/** Runs so long that the child has begun to look at the memory of a job that runs. */
static enum status job_rest(struct child_job *job, struct buf *done, struct err *err)
{
    TRY(child_head(job, STR("{}"), err));
    usleep(200000);
    rest_since_us = clock_now_us();
    rest_fd = dup(job->fds[0]);
    return buf_printf(done, "{}");
}

static enum status job_die(struct child_job *job, struct buf *done, struct err *err)
{
    abort();
}

static enum status job_die_late(struct child_job *job, struct buf *done, struct err *err)
{
    TRY(child_head(job, STR("{}"), err));
    TRY(child_data(job, STR("first"), err));
    usleep(100 * 1000); /* the parent takes them */
    raise(SIGSEGV);
    return OK;
}

static enum status job_big(struct child_job *job, struct buf *done, struct err *err)
{
    static char block[1024 * 1024];
    int64_t blocks = 0;
    TRY(json_get_i64(job->payload, "blocks", JSON_REQUIRED, &blocks, err));
    TRY(child_head(job, STR("{}"), err));
    for (int64_t i = 0; i < blocks; i++) {
        memset(block, (int)('a' + i % 26), sizeof(block));
        TRY(child_data(job, str_from(block, sizeof(block)), err));
    }
    return buf_printf(done, "{\"blocks\":%lld}", (long long)blocks);
}

static enum status job_call(struct child_job *job, struct buf *done, struct err *err)
{
    AUTO(buf_done) struct buf reply;
    AUTO(fd_done) int fd = -1;
    char got[8] = { 0 };
    buf_init(&reply, 0);
    TRY(child_head(job, STR("{}"), err));
    TRY(child_call(job, "long", STR("{\"n\":1}"), &reply, &fd, err));
    TRY(child_data(job, buf_str(&reply), err));
    if (pread(fd, got, sizeof(got) - 1, 0) != 4) {
        return err_set(err, E_INTERNAL, "the descriptor gives nothing");
    }
    enum status kind = child_call(job, "refuse", STR("{}"), &reply, NULL, err);
    return buf_printf(done, "{\"file\":\"%s\",\"refused\":\"%s\"}", got, status_name(kind));
}

/** What a child that was taken over might send. */
static enum status job_nonsense(struct child_job *job, struct buf *done, struct err *err)
{
    const struct wire_head bad[] = { { .type = 77 },
                                     { .type = WIRE_CALL, .a = 9999 },
                                     { .type = WIRE_READY },
                                     { .type = WIRE_IDLE, .job = 12345 } };
    int64_t which = 0;
    TRY(json_get_i64(job->payload, "which", JSON_REQUIRED, &which, err));
    TRY(child_head(job, STR("{}"), err));
    if (which < (int64_t)ARRAY_LEN(bad)) {
        TRY(wire_send(WIRE_CONTROL_FD, &bad[which], STR("zzz"), NULL, 0, true, err));
    } else if (which == 4) {
        ssize_t sent = send(WIRE_CONTROL_FD, "short", 5, 0);
        (void)sent;
    } else {
        shutdown(WIRE_CONTROL_FD, SHUT_RDWR);
    }
    return job_hang(job, done, err);
}

/** Descriptors, environment and reach of a child. */
static enum status job_look(struct child_job *job, struct buf *done, struct err *err)
{
    int fds = 0;
    for (int fd = 0; fd < 256; fd++) {
        fds += fcntl(fd, F_GETFD) >= 0;
    }
    AUTO(fd_done) int hostname = open("/etc/hostname", O_RDONLY | O_CLOEXEC);
    AUTO(fd_done)
    int created = open("/tmp/lakehouse-engine-escaped", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    TRY(child_head(job, STR("{}"), err));
    return buf_printf(done, "{\"fds\":%d,\"secret\":%s,\"file\":%s,\"create\":%s,\"signal\":%s}",
                      fds, getenv("LAKEHOUSE_CLUSTER_SECRET") != NULL ? "true" : "false",
                      hostname >= 0 ? "true" : "false", created >= 0 ? "true" : "false",
                      kill(getppid(), 0) == 0 ? "true" : "false");
}

static int child(int argc, char **argv)
{
    static const struct child_kind kinds[] = {
        { "echo", job_echo }, { "pid", job_pid },           { "fail", job_fail },
        { "hang", job_hang }, { "sleep", job_sleep },       { "grow", job_grow },
        { "die", job_die },   { "big", job_big },           { "die_once", job_die_once },
        { "call", job_call }, { "die_late", job_die_late }, { "nonsense", job_nonsense },
        { "look", job_look }, { "rest", job_rest },
    };
    struct err err = { 0 };
    struct child_box box = { .parent_pid = 0 };
    struct child_opts opts = { .control_fd = WIRE_CONTROL_FD,
                               .statm_fd = -1,
                               .kinds = kinds,
                               .kind_count = ARRAY_LEN(kinds),
                               .spool_bytes_max = 256 << 20 };
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--engine=broken") == 0) {
            err_set(&err, E_INTERNAL, "this one never starts");
            child_refuse(WIRE_CONTROL_FD, &err);
            return 1;
        }
    }
    if (child_box_enter(&box, &err) != OK) {
        child_refuse(WIRE_CONTROL_FD, &err);
        return 1;
    }
    return child_serve(&opts);
}

/* --- helpers --- */

static struct metrics *metrics;

static struct engine_pool *open_pool(const struct engine_pool_opts *given)
{
    struct engine_pool_opts opts = *given;
    struct engine_pool *pool = NULL;
    struct err err = { 0 };
    opts.program = "/proc/self/exe";
    opts.name = opts.name == NULL ? "test" : opts.name;
    opts.metrics = metrics;
    if (engine_pool_open(&opts, &pool, &err) != OK) {
        fail_msg("%s", err.msg);
    }
    return pool;
}

static struct engine_run *start(struct engine_pool *pool, const char *kind, const char *payload,
                                int64_t timeout_ms)
{
    struct engine_run *run = NULL;
    struct err err = { 0 };
    const struct engine_job job = { .kind = kind,
                                    .payload = str_of(payload),
                                    .deadline = deadline_in(timeout_ms) };
    if (engine_start(pool, &job, &run, &err) != OK) {
        fail_msg("%s", err.msg);
    }
    return run;
}

/** Read to the end; `data` takes the DATA, `done` the DONE. */
static enum status drain(struct engine_run *run, struct buf *data, struct buf *done,
                         struct err *err)
{
    for (;;) {
        struct engine_frame frame;
        TRY(engine_read_wait(run, &frame, err));
        if (frame.type == ENGINE_DATA && data != NULL) {
            assert_int_equal(buf_append(data, frame.bytes), OK);
        }
        if (frame.type == ENGINE_DONE) {
            if (done != NULL) {
                assert_int_equal(buf_append(done, frame.bytes), OK);
            }
            return OK;
        }
    }
}

static enum status run_kind(struct engine_pool *pool, const char *kind, const char *payload,
                            int64_t timeout_ms, struct buf *done, struct err *err)
{
    struct engine_run *run = start(pool, kind, payload, timeout_ms);
    enum status status = drain(run, NULL, done, err);
    engine_free(run);
    return status;
}

static void assert_works(struct engine_pool *pool)
{
    struct err err = { 0 };
    if (run_kind(pool, "echo", "{\"text\":\"hello\"}", 20000, NULL, &err) != OK) {
        fail_msg("%s", err.msg);
    }
}

static size_t open_fds(void)
{
    size_t count = 0;
    DIR *list = opendir("/proc/self/fd");
    assert_non_null(list);
    while (readdir(list) != NULL) {
        count++;
    }
    closedir(list);
    return count;
}

/* --- the tests --- */

static void engine_runs_a_job_and_gives_its_bytes(void **state)
{
    struct engine_pool *pool = open_pool(&(struct engine_pool_opts){ 0 });
    struct engine_run *run = start(pool, "echo", "{\"text\":\"hello\"}", 20000);
    AUTO(buf_done) struct buf data;
    AUTO(buf_done) struct buf done;
    struct err err = { 0 };
    buf_init(&data, 0);
    buf_init(&done, 0);
    assert_int_equal(drain(run, &data, &done, &err), OK);
    assert_string_equal(buf_cstr(&data), "hello");
    assert_string_equal(buf_cstr(&done), "{\"bytes\":5}");
    struct engine_frame frame;
    assert_int_equal(engine_read(run, &frame, &err), OK); /* and again the end */
    assert_int_equal(frame.type, ENGINE_DONE);
    engine_free(run);
    assert_int_equal(engine_pool_ready(pool, &err), OK);
    engine_pool_close(pool);
}

static void engine_passes_a_jobs_error_on(void **state)
{
    struct engine_pool *pool = open_pool(&(struct engine_pool_opts){ 0 });
    struct err err = { 0 };
    assert_int_equal(run_kind(pool, "fail", "{}", 20000, NULL, &err), E_NOT_FOUND);
    assert_string_equal(err.msg, "no \"thing\" here");
    assert_int_equal(run_kind(pool, "no such kind", "{}", 20000, NULL, &err), E_UNSUPPORTED);
    assert_works(pool);
    engine_pool_close(pool);
}

static void engine_that_ignores_a_deadline_is_killed_and_others_go_on(void **state)
{
    struct engine_pool *pool = open_pool(
        &(struct engine_pool_opts){ .engines_max = 3, .spare = 2 });
    struct engine_run *hang = start(pool, "hang", "{}", 300);
    int64_t begin = clock_mono_ms(clock_real());
    struct err err = { 0 };
    assert_works(pool);
    assert_int_equal(drain(hang, NULL, NULL, &err), E_TIMEOUT);
    assert_in_range(clock_mono_ms(clock_real()) - begin, 250, 2500);
    int pid = engine_pid(hang);
    assert_int_equal(pid, 0);
    engine_free(hang);
    struct metric *killed = metric_get(metrics, METRIC_COUNTER, "lakehouse_engines_killed_total",
                                       "pool=\"test\",reason=\"ignored_cancel\"", "");
    double before = metric_value(killed);
    for (int i = 0; i < 100 && metric_value(killed) == before; i++) {
        assert_works(pool);
        usleep(30000);
    }
    assert_true(metric_value(killed) >= 1);
    engine_pool_close(pool);
}

static void engine_free_cancels_and_the_child_is_used_again(void **state)
{
    struct engine_pool *pool = open_pool(&(struct engine_pool_opts){ .engines_max = 1 });
    AUTO(buf_done) struct buf first;
    AUTO(buf_done) struct buf second;
    struct err err = { 0 };
    buf_init(&first, 0);
    buf_init(&second, 0);
    assert_int_equal(run_kind(pool, "pid", "{}", 20000, &first, &err), OK);
    struct engine_run *run = start(pool, "big", "{\"blocks\":100000}", 60000);
    struct engine_frame frame;
    assert_int_equal(engine_read_wait(run, &frame, &err), OK);
    assert_int_equal(frame.type, ENGINE_HEAD);
    engine_free(run);
    assert_int_equal(run_kind(pool, "pid", "{}", 20000, &second, &err), OK);
    assert_string_equal(buf_cstr(&first), buf_cstr(&second)); /* not killed */
    engine_pool_close(pool);
}

static void engine_past_its_memory_is_killed(void **state)
{
    struct engine_pool *pool = open_pool(&(struct engine_pool_opts){
        .engines_max = 2, .memory_limit_bytes = 64 << 20, .resident_max_bytes = 400 << 20 });
    struct engine_run *grow = start(pool, "grow", "{}", 60000);
    struct err err = { 0 };
    assert_works(pool);
    assert_int_equal(drain(grow, NULL, NULL, &err), E_NO_MEMORY);
    engine_free(grow);
    assert_works(pool);
    engine_pool_close(pool);
}

static void engine_that_dies_before_its_head_runs_the_job_again(void **state)
{
    struct engine_pool *pool = open_pool(&(struct engine_pool_opts){ .engines_max = 1 });
    char path[] = "/tmp/lakehouse-die-once-XXXXXX";
    AUTO(fd_done) int fd = mkstemp(path);
    assert_true(fd >= 0);
    unlink(path);
    struct engine_run *run = NULL;
    struct err err = { 0 };
    const struct engine_job job = { .kind = "die_once",
                                    .payload = STR("{}"),
                                    .fds = { fd },
                                    .fd_count = 1,
                                    .deadline = deadline_in(20000) };
    assert_int_equal(engine_start(pool, &job, &run, &err), OK);
    if (drain(run, NULL, NULL, &err) != OK) {
        fail_msg("%s", err.msg);
    }
    engine_free(run);
    /* twice is enough */
    assert_int_equal(run_kind(pool, "die", "{}", 20000, NULL, &err), E_INTERNAL);
    assert_non_null(strstr(err.msg, "signal 6"));
    assert_works(pool);
    engine_pool_close(pool);
}

static void engine_that_dies_after_its_head_is_an_error_after_the_bytes(void **state)
{
    struct engine_pool *pool = open_pool(&(struct engine_pool_opts){ .engines_max = 1 });
    struct engine_run *run = start(pool, "die_late", "{}", 20000);
    AUTO(buf_done) struct buf data;
    struct err err = { 0 };
    buf_init(&data, 0);
    assert_int_equal(drain(run, &data, NULL, &err), E_INTERNAL);
    assert_string_equal(buf_cstr(&data), "first");
    engine_free(run);
    assert_works(pool);
    engine_pool_close(pool);
}

static void engine_killed_from_outside_costs_nobody_an_answer_that_had_not_begun(void **state)
{
    struct engine_pool *pool = open_pool(
        &(struct engine_pool_opts){ .engines_max = 2, .spare = 2 });
    struct engine_run *run = start(pool, "hang", "{}", 3000);
    struct err err = { 0 };
    int pid = 0;
    for (int i = 0; i < 500 && pid == 0; i++) {
        pid = engine_pid(run);
        usleep(10000);
    }
    assert_true(pid > 0);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(drain(run, NULL, NULL, &err), E_TIMEOUT); /* it ran again, and hung again */
    engine_free(run);
    assert_works(pool);
    engine_pool_close(pool);
}

static void engine_queue_has_an_end(void **state)
{
    struct engine_pool *pool = open_pool(
        &(struct engine_pool_opts){ .engines_max = 1, .queue_max = 2 });
    assert_works(pool);
    struct engine_run *busy = start(pool, "hang", "{}", 60000);
    deadline_ms given_up = deadline_in(10000);
    /* the child of the job before may not have said yet that it is idle */
    while (engine_pid(busy) == 0) {
        assert_false(deadline_passed(given_up));
        assert_int_equal(usleep(1000), 0);
    }
    struct engine_run *waits[2] = { start(pool, "echo", "{\"text\":\"a\"}", 60000),
                                    start(pool, "echo", "{\"text\":\"b\"}", 200) };
    struct engine_run *none = NULL;
    struct err err = { 0 };
    const struct engine_job job = { .kind = "echo",
                                    .payload = STR("{}"),
                                    .deadline = deadline_in(1000) };
    assert_int_equal(engine_start(pool, &job, &none, &err), E_UNAVAILABLE);
    assert_true(err.retry_after_s > 0);
    assert_int_equal(drain(waits[1], NULL, NULL, &err), E_TIMEOUT); /* in the queue */
    engine_free(waits[1]);
    engine_free(busy);
    assert_int_equal(drain(waits[0], NULL, NULL, &err), OK); /* after the hanging one was killed */
    engine_free(waits[0]);
    engine_pool_close(pool);
}

/** Statements that follow one another closely must find warm pages. A busy machine makes the child
 * keep them for longer, never for less. */
static void engine_keeps_free_memory_for_a_second(void **state)
{
    struct engine_pool *pool = open_pool(&(struct engine_pool_opts){ .engines_max = 1 });
    int fds[2];
    struct engine_run *run = NULL;
    struct err err = { 0 };
    int64_t kept_ms = 0;
    assert_int_equal(pipe(fds), 0);
    const struct engine_job job = { .kind = "rest",
                                    .payload = STR("{}"),
                                    .fds = { fds[1] },
                                    .fd_count = 1,
                                    .deadline = deadline_in(60000) };
    assert_int_equal(engine_start(pool, &job, &run, &err), OK);
    assert_int_equal(drain(run, NULL, NULL, &err), OK);
    engine_free(run);
    struct pollfd wait = { .fd = fds[0], .events = POLLIN };
    assert_int_equal(poll(&wait, 1, 60000), 1);
    assert_int_equal(read(fds[0], &kept_ms, sizeof(kept_ms)), sizeof(kept_ms));
    assert_true(kept_ms >= 1000);
    close(fds[0]);
    close(fds[1]);
    engine_pool_close(pool);
}

static enum status answer_call(void *ctx, struct str name, yyjson_val *args, struct buf *reply,
                               int *fd_out, struct err *err)
{
    if (str_eq(name, STR("refuse"))) {
        return err_set(err, E_DENIED, "no");
    }
    if (str_eq(name, STR("long"))) {
        char *room = buf_reserve(reply, 3000000);
        assert(room != NULL);
        memset(room, 'r', 3000000);
        reply->len += 3000000;
        *fd_out = dup(*(int *)ctx);
        return OK;
    }
    usleep(50000); /* "never" */
    return err_set(err, E_UNAVAILABLE, "not now");
}

static void engine_calls_are_answered_with_bytes_and_descriptors(void **state)
{
    struct engine_pool *pool = open_pool(&(struct engine_pool_opts){ .engines_max = 1 });
    char path[] = "/tmp/lakehouse-call-XXXXXX";
    AUTO(fd_done) int fd = mkstemp(path);
    AUTO(buf_done) struct buf data;
    AUTO(buf_done) struct buf done;
    struct engine_run *run = NULL;
    struct err err = { 0 };
    buf_init(&data, 0);
    buf_init(&done, 0);
    unlink(path);
    assert_int_equal(write(fd, "file", 4), 4);
    const struct engine_job job = { .kind = "call",
                                    .payload = STR("{}"),
                                    .deadline = deadline_in(20000),
                                    .call = answer_call,
                                    .ctx = &fd };
    assert_int_equal(engine_start(pool, &job, &run, &err), OK);
    if (drain(run, &data, &done, &err) != OK) {
        fail_msg("%s", err.msg);
    }
    assert_int_equal(data.len, 3000000);
    assert_string_equal(buf_cstr(&done), "{\"file\":\"file\",\"refused\":\"denied\"}");
    engine_free(run);
    for (int i = 0; i < 10; i++) { /* freed while a call is answered */
        const struct engine_job sleeping = { .kind = "sleep",
                                             .payload = STR("{}"),
                                             .deadline = deadline_in(20000),
                                             .call = answer_call,
                                             .ctx = &fd };
        struct engine_frame frame;
        assert_int_equal(engine_start(pool, &sleeping, &run, &err), OK);
        assert_int_equal(engine_read_wait(run, &frame, &err), OK);
        usleep((useconds_t)i * 1000);
        engine_free(run);
    }
    engine_pool_close(pool);
}

static void engine_of_a_slow_reader_is_free_for_the_next_job(void **state)
{
    struct engine_pool *pool = open_pool(&(struct engine_pool_opts){ .engines_max = 1 });
    struct engine_run *slow = start(pool, "big", "{\"blocks\":20}", 60000);
    struct engine_frame frame;
    struct err err = { 0 };
    assert_int_equal(engine_read_wait(slow, &frame, &err), OK); /* the head, and no more for now */
    assert_works(pool);
    AUTO(buf_done) struct buf data;
    buf_init(&data, 0);
    if (drain(slow, &data, NULL, &err) != OK) {
        fail_msg("%s", err.msg);
    }
    assert_int_equal(data.len, 20 << 20);
    for (size_t i = 0; i < data.len; i++) {
        if (data.ptr[i] != (char)('a' + (i >> 20) % 26)) {
            fail_msg("byte %zu is '%c'", i, data.ptr[i]);
        }
    }
    engine_free(slow);
    engine_pool_close(pool);
}

static void engine_that_talks_nonsense_is_killed(void **state)
{
    struct engine_pool *pool = open_pool(&(struct engine_pool_opts){ .engines_max = 2 });
    for (int i = 0; i <= 5; i++) {
        char payload[32];
        struct err err = { 0 };
        snprintf(payload, sizeof(payload), "{\"which\":%d}", i);
        assert_int_equal(run_kind(pool, "nonsense", payload, 10000, NULL, &err), E_INTERNAL);
    }
    assert_works(pool);
    engine_pool_close(pool);
}

static void engine_inherits_nothing(void **state)
{
    setenv("LAKEHOUSE_CLUSTER_SECRET", "hush", 1);
    /* without close-on-exec, as a library may do */
    AUTO(fd_done) int leaky = open("/dev/null", O_RDONLY);
    struct engine_pool *pool = open_pool(&(struct engine_pool_opts){ 0 });
    AUTO(buf_done) struct buf done;
    struct err err = { 0 };
    buf_init(&done, 0);
    if (run_kind(pool, "look", "{}", 20000, &done, &err) != OK) {
        fail_msg("%s", err.msg);
    }
    /* 0, 1, 2, control, cancel, data */
    assert_string_equal(
        buf_cstr(&done),
        "{\"fds\":6,\"secret\":false,\"file\":false,\"create\":false,\"signal\":false}");
    engine_pool_close(pool);
    unsetenv("LAKEHOUSE_CLUSTER_SECRET");
}

static void engine_that_never_starts_is_said(void **state)
{
    struct engine_pool *pool = open_pool(&(struct engine_pool_opts){ .name = "broken" });
    struct err err = { 0 };
    assert_int_equal(run_kind(pool, "echo", "{}", 20000, NULL, &err), E_UNAVAILABLE);
    assert_non_null(strstr(err.msg, "this one never starts"));
    usleep(1000);
    assert_int_equal(engine_pool_ready(pool, &err) == OK ||
                         strstr(err.msg, "this one never starts") != NULL,
                     true);
    engine_pool_close(pool);
}

static void engine_pool_may_close_before_its_runs(void **state)
{
    struct engine_pool *pool = open_pool(&(struct engine_pool_opts){ .engines_max = 1 });
    struct engine_run *busy = start(pool, "hang", "{}", 60000);
    struct engine_run *waits = start(pool, "echo", "{\"text\":\"a\"}", 60000);
    struct err err = { 0 };
    engine_pool_close(pool);
    assert_int_equal(drain(busy, NULL, NULL, &err), E_UNAVAILABLE);
    assert_int_equal(drain(waits, NULL, NULL, &err), E_UNAVAILABLE);
    engine_free(busy);
    engine_free(waits);
}

struct hammer {
    struct engine_pool *pool;
    unsigned seed;
    int answered, refused;
};

/** Small jobs, some given up early. */
static void *hammer(void *arg)
{
    struct hammer *h = arg;
    for (int i = 0; i < 60; i++) {
        struct err err = { 0 };
        struct engine_run *run = NULL;
        bool leave = rand_r(&h->seed) % 4 == 0;
        const struct engine_job job = { .kind = leave ? "big" : "echo",
                                        .payload = leave ? STR("{\"blocks\":50}")
                                                         : STR("{\"text\":\"hello\"}"),
                                        .deadline = deadline_in(30000) };
        if (engine_start(h->pool, &job, &run, &err) != OK) {
            h->refused++;
            continue;
        }
        struct engine_frame frame;
        enum status kind = engine_read_wait(run, &frame, &err);
        if (!leave && kind == OK) {
            kind = drain(run, NULL, NULL, &err);
        }
        h->answered += kind == OK;
        engine_free(run);
    }
    return NULL;
}

static void engine_pool_survives_kills_under_load(void **state)
{
    struct engine_pool *pool = open_pool(
        &(struct engine_pool_opts){ .engines_max = 3, .spare = 2 });
    assert_works(pool);
    struct hammer hammers[4];
    pthread_t threads[4];
    for (unsigned i = 0; i < 4; i++) {
        hammers[i] = (struct hammer){ .pool = pool, .seed = i + 1 };
        assert_int_equal(pthread_create(&threads[i], NULL, hammer, &hammers[i]), 0);
    }
    for (int i = 0; i < 5; i++) {
        struct engine_run *run = start(pool, "hang", "{}", 10000);
        int pid = 0;
        for (int tries = 0; tries < 2000 && (pid = engine_pid(run)) == 0; tries++) {
            usleep(1000);
        }
        if (pid > 0) {
            kill(pid, SIGKILL);
        }
        engine_free(run);
    }
    int answered = 0;
    for (unsigned i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        answered += hammers[i].answered;
    }
    assert_in_range(answered, 240 - 5, 240);
    assert_works(pool);
    engine_pool_close(pool);
}

static void engine_pool_leaks_no_descriptors(void **state)
{
    size_t before = open_fds();
    struct engine_pool *pool = open_pool(&(struct engine_pool_opts){ .engines_max = 2 });
    struct err err = { 0 };
    assert_works(pool);
    size_t warm = open_fds();
    for (int i = 0; i < 200; i++) {
        assert_works(pool);
    }
    enum status kind = run_kind(pool, "die", "{}", 20000, NULL, &err);
    assert_int_equal(kind, E_INTERNAL);
    assert_works(pool);
    usleep(200000);
    assert_true(open_fds() <= warm + 2); /* one child more may be up: its socket and its statm */
    engine_pool_close(pool);
    assert_int_equal(open_fds(), before);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strncmp(argv[1], "--engine=", 9) == 0) {
        return child(argc, argv);
    }
    metrics = metrics_new();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(engine_runs_a_job_and_gives_its_bytes),
        cmocka_unit_test(engine_passes_a_jobs_error_on),
        cmocka_unit_test(engine_that_ignores_a_deadline_is_killed_and_others_go_on),
        cmocka_unit_test(engine_free_cancels_and_the_child_is_used_again),
        cmocka_unit_test(engine_past_its_memory_is_killed),
        cmocka_unit_test(engine_that_dies_before_its_head_runs_the_job_again),
        cmocka_unit_test(engine_that_dies_after_its_head_is_an_error_after_the_bytes),
        cmocka_unit_test(engine_killed_from_outside_costs_nobody_an_answer_that_had_not_begun),
        cmocka_unit_test(engine_keeps_free_memory_for_a_second),
        cmocka_unit_test(engine_queue_has_an_end),
        cmocka_unit_test(engine_calls_are_answered_with_bytes_and_descriptors),
        cmocka_unit_test(engine_of_a_slow_reader_is_free_for_the_next_job),
        cmocka_unit_test(engine_that_talks_nonsense_is_killed),
        cmocka_unit_test(engine_inherits_nothing),
        cmocka_unit_test(engine_that_never_starts_is_said),
        cmocka_unit_test(engine_pool_may_close_before_its_runs),
        cmocka_unit_test(engine_pool_survives_kills_under_load),
        cmocka_unit_test(engine_pool_leaks_no_descriptors),
    };
    int failed = cmocka_run_group_tests_name("engine pool", tests, NULL, NULL);
    metrics_free(metrics);
    return failed;
}
