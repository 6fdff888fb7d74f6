/* Listings of the file driver remember records; what they show is what is there. */
#include "contract.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/io.h"
#include "base/io_calls.h"
#include "store/fs_priv.h"

enum { WAIT_MS = 60 * 1000, OBJECTS = 8 };

static char dir[64];
static int looks;                 /* at records */
static void (*before_look)(void); /* between the look at a file and that at its record */

static ssize_t counted_getxattrat(int dir_fd, const char *path, const char *name, void *ptr,
                                  size_t len)
{
    looks++;
    if (before_look != NULL) {
        before_look();
    }
    return io_calls_real.getxattrat(dir_fd, path, name, ptr, len);
}

static ssize_t counted_fgetxattr(int fd, const char *name, void *ptr, size_t len)
{
    looks++;
    return io_calls_real.fgetxattr(fd, name, ptr, len);
}

static ssize_t unknown_getxattrat(int dir_fd, const char *path, const char *name, void *ptr,
                                  size_t len)
{
    errno = ENOSYS;
    return -1;
}

static struct io_calls calls;

static struct store *open_counted(void)
{
    struct err err = { 0 };
    struct store *store = NULL;
    calls = io_calls_real;
    calls.getxattrat = counted_getxattrat;
    calls.fgetxattr = counted_fgetxattr;
    MUST(store_fs_open(&(struct store_fs_opts){ .dir = dir, .calls = &calls }, &store, &err));
    return store;
}

static int setup(void **state)
{
    before_look = NULL;
    looks = 0;
    snprintf(dir, sizeof dir, "/tmp/store-list-XXXXXX");
    return mkdtemp(dir) == NULL;
}

static int teardown(void **state)
{
    return io_remove_tree(dir, NULL) != OK;
}

static const char *path_of(const char *name)
{
    static char paths[2][128];
    static int turn;
    char *path = paths[turn ^= 1];
    snprintf(path, sizeof paths[0], "%s/%s", dir, name);
    return path;
}

static void write_at_start(const char *name, const char *text, const char *mode)
{
    FILE *file = fopen(path_of(name), mode);
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

static void put_objects(struct store *store)
{
    for (int i = 0; i < OBJECTS; i++) {
        char key[16], text[16];
        snprintf(key, sizeof key, "a/%d", i);
        snprintf(text, sizeof text, "text %d", i);
        put_text(store, key, text);
    }
}

/** Every line is what an open file of that key says; gives the number of lines. */
static size_t list_right(struct store *store)
{
    struct err err = { 0 };
    struct arena arena;
    struct store_list list;
    arena_init(&arena, 0);
    MUST(store_list(store, &(struct store_list_opts){ .prefix = STR("a/") }, &arena, &list, &err));
    int looks_of_list = looks;
    for (size_t i = 0; i < list.object_count; i++) {
        struct store_info info;
        MUST(store_stat(store, list.objects[i].key, &info, &err));
        assert_string_equal(list.objects[i].etag, info.etag);
        assert_int_equal(list.objects[i].size, info.size);
        assert_int_equal(list.objects[i].etag_weak, info.etag_weak);
        assert_int_equal(list.objects[i].modified_ms, info.modified_ms);
    }
    looks = looks_of_list;
    size_t count = list.object_count;
    arena_done(&arena);
    return count;
}

/** List until no record is looked at any more: all are remembered. */
static void list_until_remembered(struct store *store)
{
    deadline_ms deadline = deadline_in(WAIT_MS);
    do {
        assert_false(deadline_passed(deadline));
        usleep(20 * 1000);
        looks = 0;
        assert_int_equal(list_right(store), OBJECTS);
    } while (looks > 0);
}

static void a_listing_again_looks_at_no_record(void **state)
{
    struct store *store = open_counted();
    put_objects(store);
    assert_int_equal(list_right(store), OBJECTS);
    assert_true(looks >= OBJECTS); /* they are young */
    list_until_remembered(store);
    store_close(store);
}

static void what_changed_since_is_listed_as_it_is(void **state)
{
    struct store *store = open_counted(), *other = open_counted();
    struct err err = { 0 };
    put_objects(store);
    list_until_remembered(store);

    put_text(store, "a/0", "text x"); /* as long as before */
    put_text(other, "a/1", "text y");
    MUST(store_delete(other, STR("a/2"), &err));
    assert_int_equal(rename(path_of("a/4"), path_of("a/3")), 0);
    write_at_start("a/5", "TEXT 5", "r+");
    write_at_start("a/6", ", and more", "a");
    assert_int_equal(removexattr(path_of("a/7"), "user.lakehouse"), 0);
    assert_int_equal(list_right(store), OBJECTS - 2);

    /* gone, and another file is there: ext4 gives it the same inode */
    MUST(store_delete(store, STR("a/0"), &err));
    put_text(store, "a/0", "text z");
    assert_int_equal(unlink(path_of("a/1")), 0);
    write_at_start("a/1", "text f", "w");
    assert_int_equal(list_right(store), OBJECTS - 2);

    /* the whole folder is another one */
    assert_int_equal(rename(path_of("a"), path_of("b")), 0);
    assert_int_equal(list_right(store), 0);
    put_text(store, "a/0", "text 0");
    assert_int_equal(list_right(store), 1);
    store_close(store);
    store_close(other);
}

static void what_may_not_be_read_any_more_is_not_listed(void **state)
{
    if (geteuid() == 0 && seteuid(65534) != 0) {
        skip();
    }
    bool changed = getuid() != geteuid();
    assert_int_equal(seteuid(getuid()), 0);
    assert_int_equal(chmod(dir, 0777), 0);
    assert_int_equal(changed ? seteuid(65534) : 0, 0);
    struct store *store = open_counted();
    put_objects(store);
    list_until_remembered(store);
    assert_int_equal(chmod(path_of("a/3"), 0), 0);
    assert_int_equal(list_right(store), OBJECTS - 1);
    store_close(store);
    assert_int_equal(seteuid(getuid()), 0);
}

/* --- between two looks --- */

static void swap(void)
{
    before_look = NULL;
    assert_int_equal(rename(path_of("a/0"), path_of("old")), 0);
    assert_int_equal(rename(path_of("new"), path_of("a/0")), 0);
}

static void a_file_put_between_two_looks_is_not_taken_for_the_other(void **state)
{
    struct store *store = open_counted();
    struct err err = { 0 };
    struct arena arena;
    arena_init(&arena, 0);
    put_objects(store);
    put_text(store, "new", "text n");
    struct store_info before, after, listed;
    MUST(store_stat(store, STR("a/0"), &before, &err));
    MUST(store_stat(store, STR("new"), &after, &err));
    /* both are old enough to be remembered when they get their turn */
    struct stat st;
    struct timespec now;
    deadline_ms deadline = deadline_in(WAIT_MS);
    assert_int_equal(stat(path_of("new"), &st), 0);
    do {
        assert_false(deadline_passed(deadline));
        usleep(20 * 1000);
        clock_gettime(CLOCK_REALTIME_COARSE, &now);
    } while (now.tv_sec < st.st_ctim.tv_sec + 5);

    before_look = swap;
    struct store_list list;
    MUST(store_list(store, &(struct store_list_opts){ .prefix = STR("a/0") }, &arena, &list, &err));
    assert_null(before_look);
    listed = list.objects[0];
    assert_true(strcmp(listed.etag, before.etag) == 0 || strcmp(listed.etag, after.etag) == 0);
    assert_int_equal(listed.modified_ms,
                     strcmp(listed.etag, after.etag) == 0 ? after.modified_ms : before.modified_ms);
    /* and back: the first file must not be known by the second one's record */
    assert_int_equal(rename(path_of("a/0"), path_of("new")), 0);
    assert_int_equal(rename(path_of("old"), path_of("a/0")), 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(list_right(store), OBJECTS);
    }
    list_until_remembered(store);
    arena_done(&arena);
    store_close(store);
}

/** The same without renames: the file that was looked at is there again, its time of change as it
 * was. */
static void a_record_of_another_version_is_not_remembered(void **state)
{
    struct stat st = { .st_ino = 7, .st_size = 6, .st_mtim = { 1000, 5 }, .st_ctim = { 1000, 6 } };
    struct fs_record record = { .size = 6, .modified_ns = INT64_C(1000000000005), .md5 = { 1 } };
    struct fs_record seen;
    record.modified_ns++;
    fs_seen_put(&st, &record);
    assert_false(fs_seen_get(&st, &seen));
    record.modified_ns--;
    record.size++;
    fs_seen_put(&st, &record);
    assert_false(fs_seen_get(&st, &seen));
    record.size--;
    fs_seen_put(&st, &record);
    assert_true(fs_seen_get(&st, &seen));
    assert_memory_equal(seen.md5, record.md5, sizeof seen.md5);
    st.st_ctim.tv_nsec++;
    assert_false(fs_seen_get(&st, &seen));
    st.st_ctim.tv_nsec--;
    st.st_ino++;
    assert_false(fs_seen_get(&st, &seen));
}

static void more_files_than_there_is_room_for_are_told_apart(void **state)
{
    enum { FILES = 1000 * 1000 };
    size_t remembered = 0;
    for (int round = 0; round < 2; round++) {
        for (uint64_t i = 0; i < FILES; i++) {
            struct stat st = { .st_ino = 1000 + i, .st_mtim = { 1000, 5 }, .st_ctim = { 1, 1 } };
            struct fs_record record = { .modified_ns = INT64_C(1000000000005) }, seen;
            memcpy(record.md5, &i, sizeof i);
            record.part_count = (uint32_t)(i % 3);
            if (round == 0) {
                fs_seen_put(&st, &record);
            } else if (fs_seen_get(&st, &seen)) {
                assert_memory_equal(seen.md5, record.md5, sizeof i);
                assert_int_equal(seen.part_count, i % 3);
                remembered++;
            }
        }
    }
    assert_true(remembered > 200 * 1000 && remembered <= 256 * 1024);
}

static void a_kernel_without_getxattrat_lists_and_remembers_the_same(void **state)
{
    struct store *store = open_counted();
    calls.getxattrat = unknown_getxattrat;
    put_objects(store);
    list_until_remembered(store);
    put_text(store, "a/0", "text x");
    write_at_start("a/9", "foreign", "w");
    assert_int_equal(list_right(store), OBJECTS + 1);
    store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_listing_again_looks_at_no_record, setup, teardown),
        cmocka_unit_test_setup_teardown(what_changed_since_is_listed_as_it_is, setup, teardown),
        cmocka_unit_test_setup_teardown(what_may_not_be_read_any_more_is_not_listed, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_file_put_between_two_looks_is_not_taken_for_the_other,
                                        setup, teardown),
        cmocka_unit_test(a_record_of_another_version_is_not_remembered),
        cmocka_unit_test(more_files_than_there_is_room_for_are_told_apart),
        cmocka_unit_test_setup_teardown(a_kernel_without_getxattrat_lists_and_remembers_the_same,
                                        setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
