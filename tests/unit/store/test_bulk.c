/* Many bytes into a file, past the page cache: what is in it afterwards is what was written,
 * wherever the pieces were cut. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/fs_bulk.h"

enum { BYTES = 3 * 1024 * 1024 + 12345 };

static char *content, *back;
static int fails_at, calls; /* the n-th write fails; 0: none */

static ssize_t counted_pwrite(int fd, const void *ptr, size_t len, off_t offset)
{
    if (++calls == fails_at) {
        errno = EINVAL;
        return -1;
    }
    return pwrite(fd, ptr, len, offset);
}

static int open_file(void)
{
    char path[] = "build-bulk-XXXXXX"; /* here, not on a tmpfs as a rule */
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    unlink(path);
    return fd;
}

/** `total` bytes in pieces of `piece`, from `offset` on; then the file must hold them and no flag
 * be left. */
static void write_and_compare(size_t total, size_t piece, uint64_t offset)
{
    struct io_calls table = io_calls_real;
    struct fs_bulk bulk;
    struct err err = { 0 };
    int fd = open_file();
    table.pwrite = counted_pwrite;
    calls = 0;
    fs_bulk_init(&bulk, &table, fd, offset);
    for (size_t at = 0; at < total; at += piece) {
        size_t len = total - at < piece ? total - at : piece;
        assert_int_equal(fs_bulk_write(&bulk, str_from(content + at, len), &err), OK);
    }
    assert_int_equal(fs_bulk_end(&bulk, &err), OK);
    fs_bulk_done(&bulk);
    assert_int_equal(pread(fd, back, BYTES, (off_t)offset), total);
    assert_memory_equal(back, content, total);
    assert_int_equal(lseek(fd, 0, SEEK_END), total > 0 ? (off_t)(offset + total) : 0);
    assert_int_equal(fcntl(fd, F_GETFL) & O_DIRECT, 0);
    close(fd);
}

static void what_was_written_is_there(void **state)
{
    static const size_t totals[] = { 0, 1, 4096, 262144, 262145, 266240, 524288, 1048576, BYTES };
    static const size_t pieces[] = { 1000003, 262144, 4096, 65537 };
    for (size_t i = 0; i < ARRAY_LEN(totals); i++) {
        for (size_t j = 0; j < ARRAY_LEN(pieces); j++) {
            write_and_compare(totals[i], pieces[j], 0);
            write_and_compare(totals[i], pieces[j], 16 * 1024 * 1024);
            write_and_compare(totals[i], pieces[j], 777);
        }
    }
}

/** One write, and so nothing to wait for before the sync. */
static void what_comes_at_once_and_is_not_great_is_written_at_once(void **state)
{
    write_and_compare(524288 + 777, BYTES, 0);
    assert_int_equal(calls, 1);
    write_and_compare(1048576, BYTES, 4096);
    assert_int_equal(calls, 1);
    write_and_compare(BYTES, BYTES, 0);
    assert_true(calls > 2);
}

static void a_write_that_the_file_system_refuses_is_made_the_usual_way(void **state)
{
    for (fails_at = 2; fails_at < 8; fails_at++) { /* the first ones are usual writes */
        write_and_compare(BYTES, 262144, 0);
    }
    fails_at = 0;
}

static void an_error_is_told(void **state)
{
    struct io_calls table = io_calls_real;
    struct fs_bulk bulk;
    struct err err = { 0 };
    int fd = open_file();
    table.pwrite = counted_pwrite;
    calls = 0;
    fails_at = 1;
    fs_bulk_init(&bulk, &table, fd, 0);
    assert_int_not_equal(fs_bulk_write(&bulk, str_from(content, 1000), &err), OK);
    fs_bulk_done(&bulk);
    close(fd);
    fails_at = 0;
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_written_is_there),
        cmocka_unit_test(what_comes_at_once_and_is_not_great_is_written_at_once),
        cmocka_unit_test(a_write_that_the_file_system_refuses_is_made_the_usual_way),
        cmocka_unit_test(an_error_is_told),
    };
    content = malloc(BYTES);
    back = malloc(BYTES);
    for (size_t i = 0; i < BYTES; i++) {
        content[i] = (char)(i * 2654435761U >> 13);
    }
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(content);
    free(back);
    return failed;
}
