/*
 * The folder of the block cache: what it gives back is what was written, whatever happened to its
 * files, and a page that it does not have is no error.
 */
#include "contract.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/metrics.h"
#include "base/rng.h"
#include "store/cache_disk.h"
#include "store/cache_pages.h"

enum { ENTRY = 48, SLOTS = 64, ROOM = SLOTS * (PAGE_BYTES + ENTRY) };

static char dir[64];

static int setup(void **state)
{
    snprintf(dir, sizeof dir, "/tmp/cache-XXXXXX");
    *state = mkdtemp(dir);
    return *state == NULL;
}

static int teardown(void **state)
{
    for (int i = 0; i < 3; i++) {
        char path[128];
        static const char *const names[] = { "/index", "/pages", "" };
        for (size_t n = 0; n < ARRAY_LEN(names); n++) {
            snprintf(path, sizeof path, "%s/%d%s", dir, i, names[n]);
            (void)remove(path);
        }
    }
    (void)state;
    return rmdir(dir);
}

static struct cache_disk *opened(uint64_t bytes)
{
    struct cache_disk *disk = NULL;
    struct err err = { 0 };
    MUST(cache_disk_open(dir, bytes, &disk, &err));
    return disk;
}

/** Ids as the cache makes them: as good as random. */
static void id_of(uint64_t object, uint8_t out[CACHE_DISK_ID_BYTES])
{
    struct rng rng;
    rng_seed(&rng, object);
    uint64_t words[2] = { rng_next(&rng), rng_next(&rng) };
    memcpy(out, words, CACHE_DISK_ID_BYTES);
}

static void fill(uint64_t object, uint64_t index, char *out, size_t len)
{
    struct rng rng;
    rng_seed(&rng, object * 1000003 + index);
    for (size_t i = 0; i < len; i++) {
        out[i] = (char)rng_next(&rng);
    }
}

/** `count` pages from `index` on, the last one with `last` bytes. */
static void write_pages(struct cache_disk *disk, uint64_t object, uint64_t index, size_t count,
                        size_t last)
{
    uint8_t id[CACHE_DISK_ID_BYTES];
    char *bytes = malloc(count * PAGE_BYTES);
    id_of(object, id);
    for (size_t i = 0; i < count; i++) {
        fill(object, index + i, bytes + i * PAGE_BYTES, i + 1 < count ? (size_t)PAGE_BYTES : last);
    }
    cache_disk_write(disk, id, index, bytes, (count - 1) * PAGE_BYTES + last);
    free(bytes);
}

/** Is it there? And if so, it is what was written. */
static bool has_right(struct cache_disk *disk, uint64_t object, uint64_t index, size_t len)
{
    uint8_t id[CACHE_DISK_ID_BYTES];
    char got[PAGE_BYTES], wanted[PAGE_BYTES];
    id_of(object, id);
    if (!cache_disk_read(disk, id, index, got, len)) {
        return false;
    }
    fill(object, index, wanted, len);
    assert_memory_equal(got, wanted, len);
    return true;
}

static int file_of(int folder, const char *name)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%d/%s", dir, folder, name);
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    return fd;
}

static void flip(const char *name, off_t at)
{
    char byte = 0;
    int fd = file_of(0, name);
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= 0x10;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

static void pages_outlive_the_process(void **state)
{
    struct cache_disk *disk = opened(ROOM);
    write_pages(disk, 1, 5, 3, 100);
    write_pages(disk, 2, 0, 1, PAGE_BYTES);
    for (int i = 0; i < 2; i++) {
        assert_true(has_right(disk, 1, 5, PAGE_BYTES) && has_right(disk, 1, 6, PAGE_BYTES));
        assert_true(has_right(disk, 1, 7, 100) && has_right(disk, 2, 0, PAGE_BYTES));
        assert_false(has_right(disk, 1, 4, PAGE_BYTES) || has_right(disk, 3, 5, PAGE_BYTES));
        cache_disk_close(disk);
        disk = opened(ROOM);
    }
    assert_false(has_right(disk, 1, 7, 99)); /* of another length is no such page */
    cache_disk_close(disk);
    (void)state;
}

static void what_is_not_as_it_was_written_is_not_there(void **state)
{
    struct cache_disk *disk = opened(ROOM);
    write_pages(disk, 1, 0, 6, PAGE_BYTES);
    flip("pages", 2 * PAGE_BYTES + 77);
    assert_false(has_right(disk, 1, 2, PAGE_BYTES));
    assert_true(has_right(disk, 1, 1, PAGE_BYTES) && has_right(disk, 1, 3, PAGE_BYTES));
    write_pages(disk, 1, 2, 1, PAGE_BYTES); /* and it is kept again */
    assert_true(has_right(disk, 1, 2, PAGE_BYTES));
    cache_disk_close(disk);
    for (off_t at = 0; at < ENTRY; at += 5) { /* of slot 4 */
        flip("index", 4 * ENTRY + at);
        disk = opened(ROOM);
        assert_false(has_right(disk, 1, 4, PAGE_BYTES));
        assert_true(has_right(disk, 1, 3, PAGE_BYTES) && has_right(disk, 1, 5, PAGE_BYTES));
        cache_disk_close(disk);
        flip("index", 4 * ENTRY + at);
    }
    (void)state;
}

static void files_that_were_cut_or_mixed_up_give_nothing_wrong(void **state)
{
    char entry[ENTRY];
    struct cache_disk *disk = opened(ROOM);
    write_pages(disk, 1, 0, 4, PAGE_BYTES);
    cache_disk_close(disk);
    int fd = file_of(0, "index"); /* what belongs to one slot says nothing of another */
    assert_int_equal(pread(fd, entry, ENTRY, 0), ENTRY);
    assert_int_equal(pwrite(fd, entry, ENTRY, ENTRY), ENTRY);
    close(fd);
    fd = file_of(0, "pages");
    assert_int_equal(ftruncate(fd, 2 * PAGE_BYTES + 9), 0);
    close(fd);
    disk = opened(ROOM);
    assert_true(has_right(disk, 1, 0, PAGE_BYTES));
    for (uint64_t i = 1; i < 4; i++) {
        assert_false(has_right(disk, 1, i, PAGE_BYTES));
    }
    cache_disk_close(disk);
    fd = file_of(0, "index");
    assert_int_equal(ftruncate(fd, ENTRY / 2), 0);
    close(fd);
    disk = opened(ROOM);
    assert_false(has_right(disk, 1, 0, PAGE_BYTES));
    cache_disk_close(disk);
    (void)state;
}

/** Whatever bytes the files have. */
static void random_damage_gives_nothing_wrong(void **state)
{
    struct rng rng;
    rng_seed(&rng, 7);
    unsigned there = 0;
    for (int round = 0; round < 40; round++) {
        struct cache_disk *disk = opened(ROOM);
        write_pages(disk, 1, 0, 20, 500);
        write_pages(disk, 2, 3, 30, PAGE_BYTES);
        cache_disk_close(disk);
        for (int i = 0; i < 30; i++) {
            bool index = i % 3 == 0;
            flip(index ? "index" : "pages",
                 (off_t)rng_below(&rng, index ? 50 * ENTRY : 50 * PAGE_BYTES - PAGE_BYTES));
        }
        disk = opened(ROOM);
        for (uint64_t i = 0; i < 40; i++) {
            there += has_right(disk, 1, i, i == 19 ? 500 : PAGE_BYTES);
            there += has_right(disk, 2, i, PAGE_BYTES);
        }
        cache_disk_close(disk);
    }
    assert_true(there > 40 * 10);
    (void)state;
}

static void its_room_is_bounded_and_what_is_read_stays_longer(void **state)
{
    struct cache_disk *disk = opened(ROOM);
    struct metrics *metrics = metrics_new();
    struct metric *held = metric_get(metrics, METRIC_GAUGE, "lakehouse_cache_disk_bytes", "", "");
    struct stat st;
    cache_disk_measure(disk, metrics);
    write_pages(disk, 1, 0, 1, PAGE_BYTES);
    for (uint64_t object = 2; object < 40; object++) {
        assert_true(has_right(disk, 1, 0, PAGE_BYTES));
        write_pages(disk, object, 0, 10, PAGE_BYTES);
        assert_true(has_right(disk, object, 9, PAGE_BYTES));
        assert_true(metric_value(held) <= ROOM);
    }
    assert_false(has_right(disk, 20, 0, PAGE_BYTES));
    cache_disk_close(disk);
    int fd = file_of(0, "pages");
    assert_int_equal(fstat(fd, &st), 0);
    assert_true(st.st_size <= ROOM);
    close(fd);
    disk = opened(ROOM / 4); /* less room than before */
    unsigned there = 0;
    for (uint64_t object = 30; object < 40; object++) {
        for (uint64_t i = 0; i < 10; i++) {
            there += has_right(disk, object, i, PAGE_BYTES);
        }
    }
    assert_true(there <= SLOTS / 4);
    cache_disk_close(disk);
    metrics_free(metrics);
    (void)state;
}

static void each_process_has_files_of_its_own(void **state)
{
    struct cache_disk *a = opened(ROOM), *b = opened(ROOM);
    for (uint64_t i = 0; i < 10; i++) {
        write_pages(a, 1, i, 1, PAGE_BYTES);
        write_pages(b, 2, i, 1, PAGE_BYTES);
    }
    for (uint64_t i = 0; i < 10; i++) {
        assert_true(has_right(a, 1, i, PAGE_BYTES) && has_right(b, 2, i, PAGE_BYTES));
        assert_false(has_right(a, 2, i, PAGE_BYTES) || has_right(b, 1, i, PAGE_BYTES));
    }
    cache_disk_close(a);
    a = opened(ROOM); /* the first is free again */
    assert_true(has_right(a, 1, 3, PAGE_BYTES));
    cache_disk_close(a);
    cache_disk_close(b);
    (void)state;
}

static off_t size_of(int folder, const char *name)
{
    struct stat st;
    int fd = file_of(folder, name);
    assert_int_equal(fstat(fd, &st), 0);
    close(fd);
    return st.st_size;
}

static void what_gone_processes_left_is_cut(void **state)
{
    struct cache_disk *a = opened(ROOM), *b = opened(ROOM), *c = opened(ROOM);
    write_pages(a, 1, 0, 4, PAGE_BYTES);
    write_pages(b, 2, 0, 4, PAGE_BYTES);
    write_pages(c, 3, 0, 4, PAGE_BYTES);
    cache_disk_close(a);
    cache_disk_close(b);
    assert_true(size_of(1, "pages") > 0 && size_of(1, "index") > 0);
    a = opened(ROOM); /* takes the first; the second has no owner, the third has */
    assert_int_equal(size_of(1, "pages") + size_of(1, "index"), 0);
    assert_true(has_right(a, 1, 3, PAGE_BYTES) && has_right(c, 3, 3, PAGE_BYTES));
    b = opened(ROOM);
    assert_false(has_right(b, 2, 0, PAGE_BYTES));
    write_pages(b, 2, 0, 1, PAGE_BYTES);
    assert_true(has_right(b, 2, 0, PAGE_BYTES));
    cache_disk_close(a);
    cache_disk_close(b);
    cache_disk_close(c);
    (void)state;
}

static void expect_no_folder(const char *path, const char *words)
{
    struct cache_disk *disk = NULL;
    struct err err = { 0 };
    assert_int_not_equal(cache_disk_open(path, ROOM, &disk, &err), OK);
    assert_non_null(strstr(err.msg, "s3.cache_dir"));
    assert_non_null(strstr(err.msg, words));
}

static void a_folder_of_others_is_refused_and_no_link_is_followed(void **state)
{
    char link[128], target[128], file[160];
    snprintf(link, sizeof link, "%s/link", dir);
    snprintf(target, sizeof target, "%s/target", dir);
    snprintf(file, sizeof file, "%s/0", dir);
    assert_int_equal(mkdir(target, 0700), 0);
    assert_int_equal(symlink(target, link), 0);
    expect_no_folder(link, "link");
    assert_int_equal(symlink(target, file), 0); /* where the first process' files would be */
    expect_no_folder(dir, "/0");
    assert_int_equal(unlink(file), 0);
    assert_int_equal(chmod(dir, 0770), 0);
    expect_no_folder(dir, "others may write");
    assert_int_equal(chmod(dir, 0700), 0);
    cache_disk_close(opened(ROOM));
    snprintf(file, sizeof file, "%s/0/pages", dir);
    snprintf(target, sizeof target, "%s/target/victim", dir);
    assert_int_equal(unlink(file), 0);
    assert_int_equal(symlink(target, file), 0);
    expect_no_folder(dir, "/0");
    assert_int_not_equal(access(target, F_OK), 0);
    assert_int_equal(unlink(file), 0);
    assert_int_equal(unlink(link), 0);
    snprintf(target, sizeof target, "%s/target", dir);
    assert_int_equal(rmdir(target), 0);
    (void)state;
}

static void room_for_a_page_is_found_in_few_steps(void **state)
{
    enum { MANY = 4000 };
    struct cache_disk *disk = opened((uint64_t)MANY * (PAGE_BYTES + ENTRY));
    uint8_t id[CACHE_DISK_ID_BYTES];
    size_t gone = 0;
    id_of(1, id);
    for (uint64_t i = 0; i < MANY; i += 100) {
        write_pages(disk, 1, i, 100, PAGE_BYTES);
    }
    for (uint64_t i = 0; i < MANY; i++) {
        assert_true(has_right(disk, 1, i, PAGE_BYTES));
    }
    write_pages(disk, 2, 0, 1, PAGE_BYTES); /* all were read: going around would take 4000 */
    for (uint64_t i = 0; i < MANY; i++) {
        bool there = cache_disk_has(disk, id, i);
        assert_true(there || (i > 0 && i < 128));
        gone += !there;
    }
    assert_int_equal(gone, 1);
    assert_true(has_right(disk, 2, 0, PAGE_BYTES));
    cache_disk_close(disk);
    (void)state;
}

static void a_full_disk_keeps_nothing_and_harms_nothing(void **state)
{
    struct rlimit before, small;
    struct cache_disk *disk = opened(ROOM);
    write_pages(disk, 1, 0, 2, PAGE_BYTES);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = 3 * PAGE_BYTES; /* as a disk without room: part of a write may land */
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    write_pages(disk, 2, 0, 4, PAGE_BYTES);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    (void)signal(SIGXFSZ, handler);
    for (uint64_t i = 0; i < 4; i++) {
        assert_false(has_right(disk, 2, i, PAGE_BYTES));
    }
    assert_true(has_right(disk, 1, 0, PAGE_BYTES) && has_right(disk, 1, 1, PAGE_BYTES));
    cache_disk_close(disk);
    disk = opened(ROOM);
    assert_true(has_right(disk, 1, 0, PAGE_BYTES) && has_right(disk, 1, 1, PAGE_BYTES));
    assert_false(has_right(disk, 2, 0, PAGE_BYTES));
    cache_disk_close(disk);
    (void)state;
}

static void a_folder_that_cannot_be_is_named(void **state)
{
    struct cache_disk *disk = NULL;
    struct err err = { 0 };
    assert_int_not_equal(cache_disk_open("/proc/nothing", ROOM, &disk, &err), OK);
    assert_non_null(strstr(err.msg, "s3.cache_dir"));
    (void)state;
}

static void *use(void *arg)
{
    static _Atomic uint64_t seed;
    struct rng rng;
    rng_seed(&rng, ++seed);
    for (int i = 0; i < 400; i++) {
        uint64_t object = 1 + rng_below(&rng, 6), index = rng_below(&rng, 30);
        if (i % 2 == 0) {
            write_pages(arg, object, index, 1 + (size_t)rng_below(&rng, 5), PAGE_BYTES);
        } else {
            (void)has_right(arg, object, index, PAGE_BYTES);
        }
    }
    return NULL;
}

static void threads_get_what_was_written_while_slots_are_reused(void **state)
{
    pthread_t threads[6];
    struct cache_disk *disk = opened(ROOM);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, use, disk), 0);
    }
    for (size_t i = 0; i < ARRAY_LEN(threads); i++) {
        pthread_join(threads[i], NULL);
    }
    cache_disk_close(disk);
    (void)state;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(pages_outlive_the_process),
        TEST(what_is_not_as_it_was_written_is_not_there),
        TEST(files_that_were_cut_or_mixed_up_give_nothing_wrong),
        TEST(random_damage_gives_nothing_wrong),
        TEST(its_room_is_bounded_and_what_is_read_stays_longer),
        TEST(each_process_has_files_of_its_own),
        TEST(what_gone_processes_left_is_cut),
        TEST(a_folder_of_others_is_refused_and_no_link_is_followed),
        TEST(room_for_a_page_is_found_in_few_steps),
        TEST(a_full_disk_keeps_nothing_and_harms_nothing),
        cmocka_unit_test(a_folder_that_cannot_be_is_named),
        TEST(threads_get_what_was_written_while_slots_are_reused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
