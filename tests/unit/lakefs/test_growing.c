/*
 * A file that another thread still writes: reads wait for its bytes, and not for ever.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/io.h"
#include "lakefs/growing.h"
#include "lakefs/lakefs.h"

enum { SIZE = 100000 };

static struct err err;

struct file {
    int fd, ours, theirs;
};

static void file_open(struct file *file)
{
    int ends[2];
    file->fd = memfd_create("growing", MFD_CLOEXEC);
    assert_true(file->fd >= 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    file->ours = ends[0];
    file->theirs = ends[1];
}

static void file_append(struct file *file, size_t len)
{
    static const char bytes[SIZE];
    assert_int_equal(io_write_full(file->fd, bytes, len, &err), OK);
    assert_int_equal(send(file->ours, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL), 1);
}

static void file_close(struct file *file)
{
    fd_done(&file->fd);
    fd_done(&file->ours);
    fd_done(&file->theirs);
}

static void *write_all(void *ctx)
{
    struct file *file = ctx;
    for (size_t i = 0; i < SIZE / 1000; i++) {
        file_append(file, 1000);
    }
    fd_done(&file->ours);
    return NULL;
}

struct reader {
    struct growing *growing;
    enum status status;
};

static void *read_all(void *ctx)
{
    struct reader *reader = ctx;
    struct err ignored;
    for (uint64_t upto = 0; upto < SIZE && reader->status == OK; upto += 777) {
        reader->status = growing_wait(reader->growing, upto, &ignored);
    }
    return NULL;
}

static void threads_wait_for_what_another_writes(void **state)
{
    struct file file;
    struct growing *growing;
    struct reader readers[4] = { 0 };
    pthread_t threads[4], writer;
    file_open(&file);
    assert_int_equal(growing_new(file.fd, file.theirs, SIZE, &growing, &err), OK);
    for (size_t i = 0; i < 4; i++) {
        readers[i].growing = growing;
        assert_int_equal(pthread_create(&threads[i], NULL, read_all, &readers[i]), 0);
    }
    assert_int_equal(pthread_create(&writer, NULL, write_all, &file), 0);
    for (size_t i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(readers[i].status, OK);
    }
    pthread_join(writer, NULL);
    assert_int_equal(growing_wait(growing, SIZE, &err), OK);
    assert_int_equal(growing_wait(growing, SIZE + 5, &err), OK); /* there is never more */
    growing_free(growing);
    file_close(&file);
}

static void what_is_there_needs_no_news(void **state)
{
    struct file file;
    struct growing *growing;
    file_open(&file);
    file_append(&file, SIZE);
    fd_done(&file.ours);
    assert_int_equal(growing_new(file.fd, file.theirs, SIZE, &growing, &err), OK);
    assert_int_equal(growing_wait(growing, SIZE, &err), OK);
    growing_free(growing);
    file_close(&file);
}

static void a_writer_that_stops_early_is_told(void **state)
{
    struct file file;
    struct growing *growing;
    file_open(&file);
    file_append(&file, 10);
    fd_done(&file.ours);
    assert_int_equal(growing_new(file.fd, file.theirs, SIZE, &growing, &err), OK);
    assert_int_equal(growing_wait(growing, 10, &err), OK);
    assert_int_equal(growing_wait(growing, 11, &err), E_CANCELED);
    growing_free(growing);
    file_close(&file);
}

static void a_writer_that_stands_still_is_not_waited_for(void **state)
{
    struct file file;
    struct growing *growing;
    file_open(&file);
    file_append(&file, 10);
    assert_int_equal(growing_new(file.fd, file.theirs, SIZE, &growing, &err), OK);
    assert_int_equal(growing_wait(growing, 11, &err), E_UNAVAILABLE);
    file_append(&file, 1);
    assert_int_equal(growing_wait(growing, 11, &err), OK);
    growing_free(growing);
    file_close(&file);
}

static void a_spool_that_grows_is_read_as_one_file(void **state)
{
    struct file file;
    struct lakefs *fs;
    const struct lakefs_opts opts = { 0 };
    pthread_t writer;
    void *opened;
    uint64_t size;
    size_t got;
    static char bytes[SIZE];
    file_open(&file);
    assert_int_equal(lakefs_new(&opts, &fs, &err), OK);
    assert_int_equal(lakefs_begin(fs, STR("t"), &err), OK);
    assert_int_equal(lakefs_add_growing(fs, STR("in"), dup(file.fd), dup(file.theirs), SIZE, &err),
                     OK);
    const struct duck_files *files = lakefs_files(fs);
    assert_int_equal(files->open(files->ctx, STR("spool://in"), &opened, &size, &err), OK);
    assert_int_equal(size, SIZE);
    assert_int_equal(pthread_create(&writer, NULL, write_all, &file), 0);
    assert_int_equal(files->read_at(opened, 1, bytes, SIZE, &got, &err), OK);
    assert_int_equal(got, SIZE - 1);
    pthread_join(writer, NULL);
    files->close(opened);
    lakefs_free(fs);
    file_close(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_wait_for_what_another_writes),
        cmocka_unit_test(what_is_there_needs_no_news),
        cmocka_unit_test(a_writer_that_stops_early_is_told),
        cmocka_unit_test(a_writer_that_stands_still_is_not_waited_for),
        cmocka_unit_test(a_spool_that_grows_is_read_as_one_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
