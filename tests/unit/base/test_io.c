/* Files, folders, descriptors; each test has a folder of its own. */
#include "testing.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"

static char folder[] = "/tmp/test_io.XXXXXX";
static char path_space[4][512];

/** `name` in the test's folder; four at a time stay valid. */
static const char *at(const char *name)
{
    static size_t next;
    char *path = path_space[next++ % ARRAY_LEN(path_space)];
    snprintf(path, sizeof(path_space[0]), "%s/%s", folder, name);
    return path;
}

static int make_folder(void **state)
{
    strcpy(folder + sizeof(folder) - 7, "XXXXXX");
    return mkdtemp(folder) == NULL ? -1 : 0;
}

static int drop_folder(void **state)
{
    return io_remove_tree(folder, NULL) == OK && access(folder, F_OK) != 0 ? 0 : -1;
}

static int create(const char *path, const char *content)
{
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0) {
        abort();
    }
    assert_int_equal(io_write_full(fd, content, strlen(content), NULL), OK);
    return fd;
}

static void closing_forgets_the_descriptor_and_keeps_errno(void **state)
{
    int fd = create(at("f"), "");
    int number = fd;
    errno = 77;
    fd_done(&fd);
    assert_int_equal(errno, 77);
    assert_int_equal(fd, -1);
    assert_int_equal(fcntl(number, F_GETFD), -1);
    fd_done(&fd); /* twice is fine */
}

static void what_is_written_is_read(void **state)
{
    AUTO(fd_done) int fd = create(at("f"), "0123456789");
    char bytes[20] = { 0 };
    size_t got = 0;
    assert_int_equal(io_pwrite_full(fd, "xy", 2, 4, NULL), OK);
    assert_int_equal(io_pread(fd, bytes, 6, 2, &got, NULL), OK);
    assert_int_equal(got, 6);
    assert_string_equal(bytes, "23xy67");
    assert_int_equal(io_pread(fd, bytes, 20, 8, &got, NULL), OK);
    assert_int_equal(got, 2);
    assert_int_equal(io_pread(fd, bytes, 20, 100, &got, NULL), OK);
    assert_int_equal(got, 0);
    lseek(fd, 0, SEEK_SET);
    assert_int_equal(io_read_full(fd, bytes, 10, NULL), OK);
}

static void a_short_file_is_corrupt_for_a_full_read(void **state)
{
    AUTO(fd_done) int fd = create(at("f"), "abc");
    char bytes[8];
    struct err err = { 0 };
    lseek(fd, 0, SEEK_SET);
    assert_int_equal(io_read_full(fd, bytes, 8, &err), E_CORRUPT);
    assert_string_equal(err.msg, "expected 8 bytes, found only 3");
}

static void a_full_disk_is_told_as_such(void **state)
{
    AUTO(fd_done) int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(io_write_full(fd, "x", 1, NULL), E_DISK_FULL);
    assert_int_equal(io_pwrite_full(fd, "x", 1, 0, NULL), E_DISK_FULL);
}

static void a_whole_file_is_appended_to_the_buffer(void **state)
{
    int fd = create(at("f"), "content");
    fd_done(&fd);
    struct buf out;
    buf_init(&out, 0);
    assert_int_equal(buf_append(&out, STR("> ")), OK);
    assert_int_equal(io_read_file(at("f"), &out, NULL), OK);
    assert_str(buf_str(&out), "> content");
    buf_done(&out);
}

static void a_file_may_fill_the_buffer_but_not_pass_it(void **state)
{
    int fd = create(at("f"), "0123456789");
    fd_done(&fd);
    struct err err = { 0 };
    struct buf out;
    buf_init(&out, 10);
    assert_int_equal(io_read_file(at("f"), &out, NULL), OK);
    assert_str(buf_str(&out), "0123456789");
    buf_done(&out);
    buf_init(&out, 9);
    assert_int_equal(io_read_file(at("f"), &out, &err), E_TOO_LARGE);
    assert_true(str_ends(str_of(err.msg), STR("/f\" is larger than 9 bytes")));
    assert_int_equal(out.len, 0);
    buf_done(&out);
}

static void a_missing_file_is_not_found_by_name(void **state)
{
    struct err err = { 0 };
    struct buf out;
    buf_init(&out, 0);
    assert_int_equal(io_read_file(at("none"), &out, &err), E_NOT_FOUND);
    assert_true(str_find(str_of(err.msg), STR("/none\": ")) != SIZE_MAX);
    buf_done(&out);
}

static void folders_are_made_with_their_parents_and_again(void **state)
{
    struct stat info;
    for (int durable = 0; durable < 2; durable++) {
        assert_int_equal(io_mkdirs(at("a/b//c/"), durable, NULL), OK);
        assert_int_equal(io_mkdirs(at("a/b/d"), durable, NULL), OK);
        assert_int_equal(stat(at("a/b/c"), &info), 0);
        assert_true(S_ISDIR(info.st_mode));
        assert_int_equal(io_remove_tree(at("a"), NULL), OK);
    }
    assert_int_equal(io_mkdirs("/", true, NULL), OK);
    assert_int_equal(io_mkdirs("", true, NULL), E_INVALID);
}

static void relative_folders_are_made_below_the_current_one(void **state)
{
    char before[512];
    struct stat info;
    assert_non_null(getcwd(before, sizeof(before)));
    assert_int_equal(chdir(folder), 0);
    assert_int_equal(io_mkdirs("r/s", true, NULL), OK);
    assert_int_equal(io_mkdirs("./t", true, NULL), OK);
    assert_int_equal(chdir(before), 0);
    assert_int_equal(stat(at("r/s"), &info), 0);
    assert_int_equal(stat(at("t"), &info), 0);
}

static void a_file_in_the_way_of_a_folder_is_told(void **state)
{
    int fd = create(at("f"), "");
    fd_done(&fd);
    struct err err = { 0 };
    assert_int_equal(io_mkdirs(at("f"), false, &err), E_EXISTS);
    assert_true(str_ends(str_of(err.msg), STR("/f\" is in the way: it is not a folder")));
    assert_int_not_equal(io_mkdirs(at("f/g"), false, NULL), OK);
}

static void a_tree_is_deleted_without_following_links(void **state)
{
    assert_int_equal(io_mkdirs(at("keep"), false, NULL), OK);
    int fd = create(at("keep/file"), "precious");
    fd_done(&fd);
    assert_int_equal(io_mkdirs(at("tree/x/y"), false, NULL), OK);
    fd = create(at("tree/x/file"), "");
    fd_done(&fd);
    assert_int_equal(symlink(at("keep"), at("tree/link")), 0);
    assert_int_equal(symlink("nowhere", at("tree/dangling")), 0);
    assert_int_equal(io_remove_tree(at("tree"), NULL), OK);
    assert_int_not_equal(access(at("tree"), F_OK), 0);
    assert_int_equal(access(at("keep/file"), F_OK), 0);
    assert_int_equal(symlink(at("keep"), at("top")), 0);
    assert_int_equal(io_remove_tree(at("top"), NULL), OK); /* the link itself */
    assert_int_equal(access(at("keep/file"), F_OK), 0);
    assert_int_equal(io_remove_tree(at("tree"), NULL), OK);      /* missing is fine */
    assert_int_equal(io_remove_tree(at("keep/file"), NULL), OK); /* a file too */
}

static void waiting_ends_by_readiness_or_by_the_deadline(void **state)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(io_nonblock(ends[0], NULL), OK);
    assert_true((fcntl(ends[0], F_GETFL) & O_NONBLOCK) != 0);
    assert_int_equal(io_wait(ends[0], POLLIN, deadline_in(0), NULL), E_TIMEOUT);
    assert_int_equal(io_wait(ends[0], POLLIN, deadline_in(20), NULL), E_TIMEOUT);
    assert_int_equal(io_wait(ends[1], POLLOUT, DEADLINE_NEVER, NULL), OK);
    assert_int_equal(io_write_full(ends[1], "x", 1, NULL), OK);
    assert_int_equal(io_wait(ends[0], POLLIN, DEADLINE_NEVER, NULL), OK);
    fd_done(&ends[1]);
    assert_int_equal(io_wait(ends[0], POLLIN, DEADLINE_NEVER, NULL), OK); /* the end is news too */
    int closed = ends[0];
    fd_done(&ends[0]);
    assert_int_equal(io_wait(closed, POLLIN, deadline_in(1000), NULL), E_INTERNAL);
    assert_int_not_equal(io_nonblock(closed, NULL), OK);
}

static enum status read_and_make(struct buf *out)
{
    TRY(io_mkdirs(at("m/n"), false, NULL));
    return io_read_file(at("f"), out, NULL);
}

static void without_memory_nothing_is_half_read(void **state)
{
    int fd = create(at("f"), "content");
    fd_done(&fd);
    struct buf out;
    buf_init(&out, 0);
    FAIL_EVERY_ALLOCATION(read_and_make(&out), assert_int_equal(out.len, 0));
    assert_str(buf_str(&out), "content");
    buf_done(&out);
}

#define IO_TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, drop_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IO_TEST(closing_forgets_the_descriptor_and_keeps_errno),
        IO_TEST(what_is_written_is_read),
        IO_TEST(a_short_file_is_corrupt_for_a_full_read),
        IO_TEST(a_full_disk_is_told_as_such),
        IO_TEST(a_whole_file_is_appended_to_the_buffer),
        IO_TEST(a_file_may_fill_the_buffer_but_not_pass_it),
        IO_TEST(a_missing_file_is_not_found_by_name),
        IO_TEST(folders_are_made_with_their_parents_and_again),
        IO_TEST(relative_folders_are_made_below_the_current_one),
        IO_TEST(a_file_in_the_way_of_a_folder_is_told),
        IO_TEST(a_tree_is_deleted_without_following_links),
        IO_TEST(waiting_ends_by_readiness_or_by_the_deadline),
        IO_TEST(without_memory_nothing_is_half_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
