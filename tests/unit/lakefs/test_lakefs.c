/*
 * What a job may open, and that remote blocks are fetched once and bounded.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "lakefs/blocks.h"
#include "lakefs/lakefs.h"

static struct err err;

#define assert_ok(call)                                                                            \
    do {                                                                                           \
        enum status status_ = (call);                                                              \
        if (status_ != OK) {                                                                       \
            fail_msg("%s: %s: %s", #call, status_name(status_), err.msg);                          \
        }                                                                                          \
    } while (0)

/* --- a host: file 0 is local, file 1 remote (its bytes follow from their offsets), 2 fails --- */

static const uint64_t REMOTE_SIZE = 5 * BLOCK_BYTES + 77;

struct host {
    _Atomic unsigned opens, reads;
    _Atomic int fail_reads; /* so many reads fail first */
    _Atomic unsigned delay_us;
    char local[64];
};

static char remote_byte(uint64_t offset)
{
    return (char)(offset * 31 + offset / 4093);
}

static enum status host_open(void *ctx, uint32_t file, int *fd_out, uint64_t *size_out,
                             struct err *e)
{
    struct host *host = ctx;
    host->opens++;
    if (file == 1) {
        *fd_out = -1;
        *size_out = REMOTE_SIZE;
        return OK;
    }
    if (file == 2) {
        return err_set(e, E_UPSTREAM, "the store is down");
    }
    *fd_out = open(host->local, O_RDONLY | O_CLOEXEC);
    *size_out = 10;
    return OK;
}

static enum status host_read(void *ctx, uint32_t file, uint64_t offset, void *ptr, size_t len,
                             size_t *got_out, struct err *e)
{
    struct host *host = ctx;
    host->reads++;
    if (host->delay_us) {
        usleep(host->delay_us);
    }
    if (atomic_fetch_sub(&host->fail_reads, 1) > 0) {
        return err_set(e, E_UPSTREAM, "the store is down");
    }
    assert_int_equal(file, 1);
    size_t got = offset + len > REMOTE_SIZE ? (size_t)(REMOTE_SIZE - offset) : len;
    for (size_t i = 0; i < got; i++) {
        ((char *)ptr)[i] = remote_byte(offset + i);
    }
    *got_out = got;
    return OK;
}

static struct host host;
static struct lakefs *fs;
static const struct duck_files *files;

static int set_up(void **state)
{
    memset(&host, 0, sizeof host);
    strcpy(host.local, "/tmp/lakefs-test-XXXXXX");
    int fd = mkstemp(host.local);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "0123456789", 10), 10);
    close(fd);
    const struct lakefs_opts opts = { .host = { host_open, host_read, &host },
                                      .cache_bytes = 3 * BLOCK_BYTES };
    assert_ok(lakefs_new(&opts, &fs, &err));
    files = lakefs_files(fs);
    assert_ok(lakefs_begin(fs, STR("token"), &err));
    return 0;
}

static int tear_down(void **state)
{
    lakefs_free(fs);
    unlink(host.local);
    return 0;
}

static void *must_open(struct str path, uint64_t *size_out)
{
    void *file = NULL;
    assert_ok(files->open(files->ctx, path, &file, size_out, &err));
    return file;
}

static enum status try_open(struct str path)
{
    void *file = NULL;
    uint64_t size;
    return files->open(files->ctx, path, &file, &size, &err);
}

static void lakefs_opens_only_what_is_pinned_under_its_token(void **state)
{
    assert_int_equal(try_open(STR("lake://token/0.parquet")), E_DENIED);
    assert_ok(lakefs_pin(fs, 0, 1, &err));
    assert_ok(lakefs_pin(fs, 0, 1, &err));
    uint64_t size = 0;
    void *file = must_open(STR("lake://token/0.parquet"), &size);
    assert_int_equal(size, 10);
    files->close(file);
    const char *wrong[] = { "lake://token/1.parquet",
                            "lake://tokem/0.parquet",
                            "lake://token/0",
                            "lake://token/+0.parquet",
                            "lake://token/00.parquets",
                            "lake:///0.parquet",
                            "lake://0.parquet",
                            "lake://token/0/0.parquet",
                            "lake://token/../0.parquet",
                            "/etc/passwd",
                            "spool://token/0.parquet",
                            "lake://token/.parquet",
                            "",
                            "lake://token/4294967296.parquet" };
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        if (try_open(str_of(wrong[i])) != E_DENIED) {
            fail_msg("\"%s\" was not denied", wrong[i]);
        }
    }
    assert_int_equal(host.opens, 1);
}

static void lakefs_begin_forgets_the_last_job(void **state)
{
    assert_ok(lakefs_pin(fs, 0, 1, &err));
    assert_ok(lakefs_begin(fs, STR("other"), &err));
    assert_int_equal(try_open(STR("lake://token/0.parquet")), E_DENIED);
    assert_int_equal(try_open(STR("lake://other/0.parquet")), E_DENIED);
}

static void lakefs_prefix_and_number_open(void **state)
{
    struct arena arena;
    struct str prefix;
    uint64_t size;
    arena_init(&arena, 0);
    assert_ok(lakefs_pin(fs, 0, 1, &err));
    assert_ok(lakefs_prefix(fs, &arena, &prefix, &err));
    files->close(must_open(arena_printf(&arena, "%.*s0" LAKEFS_SUFFIX, STR_ARG(prefix)), &size));
    arena_done(&arena);
}

static void lakefs_opens_the_ranges_that_are_pinned(void **state)
{
    static const struct {
        const char *path;
        enum status status;
    } cases[] = {
        { "lake://token/0.parquet", OK },         { "lake://token/1.parquet", OK },
        { "lake://token/2.parquet", E_UPSTREAM }, { "lake://token/3.parquet", E_DENIED },
        { "lake://token/99.parquet", E_DENIED },  { "lake://token/100.parquet", OK },
        { "lake://token/199.parquet", OK },       { "lake://token/200.parquet", E_DENIED },
    };
    assert_ok(lakefs_pin(fs, 0, 3, &err));
    assert_ok(lakefs_pin(fs, 3, 0, &err));
    assert_ok(lakefs_pin(fs, 100, 100, &err));
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        void *file = NULL;
        uint64_t size;
        enum status status = files->open(files->ctx, str_of(cases[i].path), &file, &size, &err);
        if (status != cases[i].status) {
            fail_msg("%s: %d", cases[i].path, (int)status);
        }
        if (status == OK) {
            files->close(file);
        }
    }
    assert_ok(lakefs_begin(fs, STR("token"), &err));
    assert_int_equal(try_open(STR("lake://token/0.parquet")), E_DENIED);
}

static void lakefs_reads_a_local_file_by_its_descriptor(void **state)
{
    char bytes[16];
    uint64_t size;
    size_t got = 0;
    assert_ok(lakefs_pin(fs, 0, 1, &err));
    void *file = must_open(STR("lake://token/0.parquet"), &size);
    assert_ok(files->read_at(file, 3, bytes, sizeof bytes, &got, &err));
    assert_int_equal(got, 7);
    assert_memory_equal(bytes, "3456789", 7);
    assert_ok(files->read_at(file, 10, bytes, 1, &got, &err));
    assert_int_equal(got, 0);
    files->close(file);
    assert_int_equal(host.reads, 0);
}

static void lakefs_asks_the_host_once_for_a_file_that_is_opened_again(void **state)
{
    uint64_t size;
    assert_ok(lakefs_pin(fs, 0, 1, &err));
    void *first = must_open(STR("lake://token/0.parquet"), &size);
    void *second = must_open(STR("lake://token/0.parquet"), &size);
    files->close(first);
    files->close(second);
    files->close(must_open(STR("lake://token/0.parquet"), &size));
    assert_int_equal(host.opens, 1);
}

static void lakefs_tells_the_hosts_error(void **state)
{
    assert_ok(lakefs_pin(fs, 2, 1, &err));
    assert_int_equal(try_open(STR("lake://token/2.parquet")), E_UPSTREAM);
    assert_string_equal(err.msg, "the store is down");
}

/* --- remote --- */

static void check_remote(void *file, uint64_t offset, size_t len)
{
    char *bytes = malloc(len);
    size_t got = 0;
    assert_ok(files->read_at(file, offset, bytes, len, &got, &err));
    size_t expected = offset >= REMOTE_SIZE        ? 0
                      : offset + len > REMOTE_SIZE ? (size_t)(REMOTE_SIZE - offset)
                                                   : len;
    assert_int_equal(got, expected);
    for (size_t i = 0; i < got; i++) {
        if (bytes[i] != remote_byte(offset + i)) {
            fail_msg("byte %llu differs", (unsigned long long)(offset + i));
        }
    }
    free(bytes);
}

static void remote_reads_cross_blocks_and_end_at_the_end(void **state)
{
    uint64_t size;
    assert_ok(lakefs_pin(fs, 1, 1, &err));
    void *file = must_open(STR("lake://token/1.parquet"), &size);
    assert_int_equal(size, REMOTE_SIZE);
    check_remote(file, 0, 10);
    check_remote(file, BLOCK_BYTES - 5, 10);
    check_remote(file, REMOTE_SIZE - 3, 10);
    check_remote(file, REMOTE_SIZE, 10);
    check_remote(file, 0, (size_t)REMOTE_SIZE);
    files->close(file);
}

static void remote_blocks_are_kept_and_bounded(void **state)
{
    uint64_t size;
    assert_ok(lakefs_pin(fs, 1, 1, &err));
    void *file = must_open(STR("lake://token/1.parquet"), &size);
    check_remote(file, 0, 10);
    check_remote(file, 1000, 10);
    assert_int_equal(host.reads, 1);
    for (unsigned block = 1; block < 4; block++) {
        check_remote(file, (uint64_t)block * BLOCK_BYTES, 10);
    }
    assert_int_equal(host.reads, 4);
    check_remote(file, 3 * (uint64_t)BLOCK_BYTES, 10); /* the newest is there */
    assert_int_equal(host.reads, 4);
    check_remote(file, 0, 10); /* the oldest of four was dropped: three fit */
    assert_int_equal(host.reads, 5);
    files->close(file);
}

static void remote_error_is_told_and_not_remembered(void **state)
{
    uint64_t size;
    char byte;
    size_t got;
    assert_ok(lakefs_pin(fs, 1, 1, &err));
    void *file = must_open(STR("lake://token/1.parquet"), &size);
    host.fail_reads = 1;
    assert_int_equal(files->read_at(file, 0, &byte, 1, &got, &err), E_UPSTREAM);
    check_remote(file, 0, 10);
    files->close(file);
}

static void *read_first_block(void *file)
{
    check_remote(file, 5, 100);
    return NULL;
}

static void remote_block_that_two_threads_want_is_fetched_once(void **state)
{
    uint64_t size;
    pthread_t threads[8];
    assert_ok(lakefs_pin(fs, 1, 1, &err));
    void *file = must_open(STR("lake://token/1.parquet"), &size);
    host.delay_us = 50000;
    for (size_t i = 0; i < ARRAY_LEN(threads); i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, read_first_block, file), 0);
    }
    for (size_t i = 0; i < ARRAY_LEN(threads); i++) {
        pthread_join(threads[i], NULL);
    }
    assert_int_equal(host.reads, 1);
    files->close(file);
}

static void *read_at_random(void *file)
{
    unsigned seed = (unsigned)(uintptr_t)&seed;
    for (int i = 0; i < 200; i++) {
        check_remote(file, (uint64_t)rand_r(&seed) % REMOTE_SIZE, 3000);
    }
    return NULL;
}

static void remote_reads_of_many_threads_are_right_while_blocks_come_and_go(void **state)
{
    uint64_t size;
    pthread_t threads[6];
    assert_ok(lakefs_pin(fs, 1, 1, &err));
    void *file = must_open(STR("lake://token/1.parquet"), &size);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, read_at_random, file), 0);
    }
    for (size_t i = 0; i < ARRAY_LEN(threads); i++) {
        pthread_join(threads[i], NULL);
    }
    files->close(file);
}

/* --- spools --- */

static int temp_fd(const char *content)
{
    char name[] = "/tmp/lakefs-spool-XXXXXX";
    int fd = mkstemp(name);
    assert_true(fd >= 0);
    unlink(name);
    assert_int_equal(write(fd, content, strlen(content)), (ssize_t)strlen(content));
    return fd;
}

static void spool_input_reads_up_to_its_size(void **state)
{
    char bytes[16];
    uint64_t size;
    size_t got;
    assert_ok(lakefs_add_input(fs, STR("in"), temp_fd("hello world"), 5, &err));
    void *file = must_open(STR("spool://in"), &size);
    assert_int_equal(size, 5);
    assert_ok(files->read_at(file, 1, bytes, sizeof bytes, &got, &err));
    assert_int_equal(got, 4);
    assert_memory_equal(bytes, "ello", 4);
    files->close(file);
    void *sink = NULL;
    assert_int_equal(files->create(files->ctx, STR("spool://in"), &sink, &err), E_DENIED);
    assert_int_equal(try_open(STR("spool://other")), E_DENIED);
}

static void spool_output_is_written_from_its_start_and_not_read(void **state)
{
    int fd = temp_fd("");
    int kept = dup(fd);
    void *sink = NULL;
    char bytes[16];
    assert_ok(lakefs_add_output(fs, STR("out"), fd, &err));
    assert_int_equal(try_open(STR("spool://out")), E_DENIED);
    assert_ok(files->create(files->ctx, STR("spool://out"), &sink, &err));
    assert_ok(files->write(sink, STR("abc"), &err));
    assert_ok(files->write(sink, STR("def"), &err));
    assert_ok(files->finish(sink, &err));
    assert_int_equal(pread(kept, bytes, sizeof bytes, 0), 6);
    assert_memory_equal(bytes, "abcdef", 6);
    close(kept);
}

struct collected {
    char text[32];
    size_t len;
    enum status next; /* what the callback answers */
};

static enum status collect(void *ctx, struct str bytes, struct err *error)
{
    struct collected *into = ctx;
    if (into->next != OK) {
        return err_set(error, into->next, "the reader has gone");
    }
    assert_true(into->len + bytes.len <= sizeof into->text);
    memcpy(into->text + into->len, bytes.ptr, bytes.len);
    into->len += bytes.len;
    return OK;
}

static void sink_hands_on_what_is_written_and_is_not_read(void **state)
{
    struct collected got = { .next = OK };
    void *sink = NULL;
    assert_ok(lakefs_add_sink(fs, STR("answer"),
                              (struct lakefs_sink){ .write = collect, .ctx = &got }, &err));
    assert_int_equal(try_open(STR("spool://answer")), E_DENIED);
    assert_ok(files->create(files->ctx, STR("spool://answer"), &sink, &err));
    assert_ok(files->write(sink, STR("abc"), &err));
    assert_ok(files->write(sink, STR("de"), &err));
    got.next = E_CANCELED;
    assert_int_equal(files->write(sink, STR("x"), &err), E_CANCELED);
    assert_ok(files->finish(sink, &err));
    assert_int_equal(got.len, 5);
    assert_memory_equal(got.text, "abcde", 5);
    assert_ok(lakefs_begin(fs, STR("next"), &err));
    assert_int_equal(files->create(files->ctx, STR("spool://answer"), &sink, &err), E_DENIED);
}

static void spool_of_the_same_name_replaces_the_old_one(void **state)
{
    uint64_t size;
    assert_ok(lakefs_add_input(fs, STR("in"), temp_fd("one"), 3, &err));
    assert_ok(lakefs_add_input(fs, STR("in"), temp_fd("three"), 5, &err));
    files->close(must_open(STR("spool://in"), &size));
    assert_int_equal(size, 5);
    assert_int_equal(lakefs_add_input(fs, STR("a/b"), temp_fd("x"), 1, &err), E_INTERNAL);
    assert_int_equal(lakefs_add_input(fs, STR("bad"), -1, 1, &err), E_INTERNAL);
}

static void the_end_of_a_job_gives_its_files_back(void **state)
{
    int fd = temp_fd("hello");
    assert_ok(lakefs_add_input(fs, STR("in"), fd, 5, &err));
    lakefs_end(fs);
    assert_int_equal(fcntl(fd, F_GETFD), -1);
    assert_int_equal(try_open(STR("spool://in")), E_DENIED);
    lakefs_end(fs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(lakefs_opens_only_what_is_pinned_under_its_token),
        TEST(lakefs_begin_forgets_the_last_job),
        TEST(lakefs_prefix_and_number_open),
        TEST(lakefs_opens_the_ranges_that_are_pinned),
        TEST(lakefs_reads_a_local_file_by_its_descriptor),
        TEST(lakefs_asks_the_host_once_for_a_file_that_is_opened_again),
        TEST(lakefs_tells_the_hosts_error),
        TEST(remote_reads_cross_blocks_and_end_at_the_end),
        TEST(remote_blocks_are_kept_and_bounded),
        TEST(remote_error_is_told_and_not_remembered),
        TEST(remote_block_that_two_threads_want_is_fetched_once),
        TEST(remote_reads_of_many_threads_are_right_while_blocks_come_and_go),
        TEST(spool_input_reads_up_to_its_size),
        TEST(spool_output_is_written_from_its_start_and_not_read),
        TEST(sink_hands_on_what_is_written_and_is_not_read),
        TEST(spool_of_the_same_name_replaces_the_old_one),
        TEST(the_end_of_a_job_gives_its_files_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
