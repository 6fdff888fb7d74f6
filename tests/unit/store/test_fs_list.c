/* Listings of the file driver remember records and names; what they show is what is there. */
#include "contract.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/io.h"
#include "base/io_calls.h"
#include "base/rng.h"
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

static int names_read; /* from folders */

static struct dirent *counted_readdir(DIR *folder)
{
    struct dirent *entry = readdir(folder);
    names_read += entry != NULL && entry->d_name[0] != '.';
    return entry;
}

static struct io_calls calls;

static struct store *open_counted(void)
{
    struct err err = { 0 };
    struct store *store = NULL;
    calls = io_calls_real;
    calls.getxattrat = counted_getxattrat;
    calls.fgetxattr = counted_fgetxattr;
    calls.readdir = counted_readdir;
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

/* --- names --- */

/** All keys below "n/" in pages, with a space between. */
static const char *names_text(struct store *store, size_t limit, const char *delimiter)
{
    static char text[64 * 1024];
    struct err err = { 0 };
    struct arena arena;
    struct store_list list = { .next = STR("") };
    size_t len = 0;
    arena_init(&arena, 0);
    do {
        MUST(store_list(store,
                        &(struct store_list_opts){ .prefix = STR("n/"),
                                                   .delimiter = str_of(delimiter),
                                                   .after = list.next,
                                                   .limit = limit },
                        &arena, &list, &err));
        for (size_t i = 0; i < list.object_count; i++) {
            len += (size_t)snprintf(text + len, sizeof text - len, "%.*s ",
                                    STR_ARG(list.objects[i].key));
        }
        for (size_t i = 0; i < list.prefix_count; i++) {
            len += (size_t)snprintf(text + len, sizeof text - len, "%.*s* ",
                                    STR_ARG(list.prefixes[i]));
        }
        assert_true(len < sizeof text);
    } while (list.truncated);
    text[len > 0 ? len - 1 : 0] = '\0';
    arena_done(&arena);
    return text;
}

static void list_until_names_are_remembered(struct store *store)
{
    deadline_ms deadline = deadline_in(WAIT_MS);
    do {
        assert_false(deadline_passed(deadline));
        usleep(20 * 1000);
        names_read = 0;
        (void)names_text(store, 100, "");
    } while (names_read > 0);
}

static void the_pages_of_a_quiet_folder_read_it_once(void **state)
{
    enum { FILES = 1000 };
    struct store *store = open_counted();
    assert_int_equal(mkdir(path_of("n"), 0755), 0);
    for (int i = 0; i < FILES; i++) {
        char name[16];
        snprintf(name, sizeof name, "n/%03d", i);
        write_at_start(name, "x", "w");
    }
    char first[16 * 1024];
    snprintf(first, sizeof first, "%s", names_text(store, FILES, ""));
    assert_true(names_read >= FILES);
    list_until_names_are_remembered(store);
    assert_string_equal(names_text(store, 7, ""), first);
    assert_int_equal(names_read, 0);
    store_close(store);
}

static void names_that_came_went_or_changed_are_listed_as_they_are(void **state)
{
    struct store *store = open_counted(), *other = open_counted();
    struct err err = { 0 };
    assert_int_equal(mkdir(path_of("out"), 0755), 0);
    for (int folder = 'a'; folder <= 'h'; folder++) {
        char key[16];
        snprintf(key, sizeof key, "n/%c/1", folder);
        put_text(store, key, "1");
        snprintf(key, sizeof key, "n/%c/2", folder);
        put_text(store, key, "2");
    }
    list_until_names_are_remembered(store);

    put_text(store, "n/a/3", "3");
    put_text(other, "n/b/0", "0");
    MUST(store_delete(other, STR("n/c/1"), &err));
    write_at_start("n/d/by-hand", "x", "w");
    assert_int_equal(rename(path_of("n/e/1"), path_of("n/e/4")), 0);
    assert_int_equal(rename(path_of("n/f/2"), path_of("out/2")), 0);
    assert_int_equal(unlink(path_of("n/g/1")), 0); /* a folder takes the name of the file */
    put_text(store, "n/g/1/x", "x");
    assert_int_equal(rename(path_of("n/h"), path_of("out/h")), 0); /* and another folder comes */
    assert_int_equal(mkdir(path_of("out/new"), 0755), 0);
    write_at_start("out/new/5", "5", "w");
    assert_int_equal(rename(path_of("out/new"), path_of("n/h")), 0);
    assert_string_equal(names_text(store, 5, ""),
                        "n/a/1 n/a/2 n/a/3 n/b/0 n/b/1 n/b/2 n/c/2 n/d/1 n/d/2 n/d/by-hand n/e/2 "
                        "n/e/4 n/f/1 n/g/1/x n/g/2 n/h/5");
    list_until_names_are_remembered(store);
    MUST(store_delete(other, STR("n/h/5"), &err)); /* and the folder with it */
    assert_string_equal(names_text(store, 100, "/"), "n/a/* n/b/* n/c/* n/d/* n/e/* n/f/* n/g/*");
    assert_int_equal(io_remove_tree(path_of("n"), NULL), OK);
    assert_string_equal(names_text(store, 100, ""), "");
    store_close(store);
    store_close(other);
}

/** One random segment of few possible ones, so that files, folders and odd keys meet. */
static void random_key(struct rng *rng, char key[64])
{
    static const char *const segments[] = { "a",  "a.b", "a0", "ab", "b", "A",  "%",
                                            "..", "",    "c",  "z",  "~", "a b" };
    size_t len = (size_t)snprintf(key, 64, "n");
    for (uint64_t depth = 1 + rng_below(rng, 3); depth > 0; depth--) {
        len += (size_t)snprintf(key + len, 64 - len, "/%s",
                                segments[rng_below(rng, ARRAY_LEN(segments))]);
    }
}

static void with_or_without_memory_for_names_a_listing_is_the_same(void **state)
{
    struct store *store = open_counted();
    struct fs_store *fs = (struct fs_store *)store;
    struct rng rng;
    rng_seed(&rng, 7);
    for (int i = 0; i < 200; i++) {
        char key[64];
        random_key(&rng, key);
        put_text(store, key, "x");
    }
    for (size_t limit = 1; limit < 40; limit += 3) {
        for (int delimited = 0; delimited < 2; delimited++) {
            char with[16 * 1024];
            const char *delimiter = delimited ? "/" : "";
            snprintf(with, sizeof with, "%s", names_text(store, limit, delimiter));
            assert_int_equal(fs->folders.live_bytes - fs->folders.kept_bytes, 0);
            size_t live = fs->folders.live_bytes;
            fs->remembers = false;
            fs->folders.live_bytes += (size_t)1 << 40;
            assert_string_equal(names_text(store, limit, delimiter), with);
            fs->folders.live_bytes -= (size_t)1 << 40;
            fs->remembers = true;
            assert_int_equal(fs->folders.live_bytes, live);
        }
    }
    store_close(store);
}

static void what_is_remembered_of_folders_has_a_limit(void **state)
{
    struct store *store = open_counted();
    struct fs_store *fs = (struct fs_store *)store;
    assert_int_equal(mkdir(path_of("n"), 0755), 0);
    for (int i = 0; i < 2 * FS_FOLDERS_KEPT; i++) {
        char name[32];
        snprintf(name, sizeof name, "n/%04d", i);
        assert_int_equal(mkdir(path_of(name), 0755), 0);
        snprintf(name, sizeof name, "n/%04d/x", i);
        write_at_start(name, "x", "w");
    }
    deadline_ms deadline = deadline_in(WAIT_MS);
    size_t before = 0;
    do {
        assert_false(deadline_passed(deadline));
        usleep(20 * 1000);
        names_read = 0;
        (void)names_text(store, 1000, "");
        size_t kept = 0;
        for (size_t i = 0; i < FS_FOLDERS_KEPT; i++) {
            kept += fs->folders.kept[i] != NULL;
        }
        assert_true(kept >= before && kept <= FS_FOLDERS_KEPT);
        before = kept;
    } while (before < FS_FOLDERS_KEPT * 9 / 10);
    assert_int_equal(fs->folders.live_bytes, fs->folders.kept_bytes);
    store_close(store);
}

/* --- threads --- */

enum { LISTERS = 3, CHANGES = 60 };

static _Atomic bool changing;

static void *list_meanwhile(void *store)
{
    while (changing) {
        struct err err = { 0 };
        struct arena arena;
        struct store_list list;
        arena_init(&arena, 0);
        if (store_list(store, &(struct store_list_opts){ .prefix = STR("n/"), .limit = 7 }, &arena,
                       &list, &err) != OK) {
            abort();
        }
        for (size_t i = 1; i < list.object_count; i++) {
            if (str_cmp(list.objects[i - 1].key, list.objects[i].key) >= 0) {
                abort();
            }
        }
        arena_done(&arena);
    }
    return NULL;
}

/** A folder is remembered by one thread while others use it and its files change. */
static void threads_that_list_and_change_do_not_disturb_each_other(void **state)
{
    struct store *store = open_counted();
    struct fs_store *fs = (struct fs_store *)store;
    struct err err = { 0 };
    for (int i = 0; i < OBJECTS; i++) {
        char key[16];
        snprintf(key, sizeof key, "n/%d/%d", i % 3, i);
        put_text(store, key, "x");
    }
    list_until_names_are_remembered(store);
    changing = true;
    pthread_t threads[LISTERS];
    calls = io_calls_real; /* its counters are one thread's */
    for (int i = 0; i < LISTERS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, list_meanwhile, store), 0);
    }
    for (int i = 0; i < CHANGES; i++) {
        char key[16];
        snprintf(key, sizeof key, "n/%d/new", i % 3);
        put_text(store, key, "y");
        MUST(store_delete(store, str_of(key), &err));
    }
    changing = false;
    for (int i = 0; i < LISTERS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_string_equal(names_text(store, 100, ""),
                        "n/0/0 n/0/3 n/0/6 n/1/1 n/1/4 n/1/7 n/2/2 n/2/5");
    assert_int_equal(fs->folders.live_bytes, fs->folders.kept_bytes);
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
        cmocka_unit_test_setup_teardown(the_pages_of_a_quiet_folder_read_it_once, setup, teardown),
        cmocka_unit_test_setup_teardown(names_that_came_went_or_changed_are_listed_as_they_are,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(with_or_without_memory_for_names_a_listing_is_the_same,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_remembered_of_folders_has_a_limit, setup, teardown),
        cmocka_unit_test_setup_teardown(threads_that_list_and_change_do_not_disturb_each_other,
                                        setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
