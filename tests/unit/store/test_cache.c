/*
 * The block cache: it keeps the contract of a store, and asks the store behind it for what nobody
 * has, once, and exactly.
 */
#include "contract.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/metrics.h"
#include "base/rng.h"
#include "store/cache.h"
#include "store/cache_pages.h"
#include "store/store_priv.h"

/* --- a store that counts --- */

struct counting {
    struct store base;
    struct store_ops ops;
    struct store *inner;
    struct store_object_ops object_ops;
    _Atomic int opens, reads;
    _Atomic uint64_t bytes;
    _Atomic enum status fails; /* of reads */
    pthread_barrier_t *gate;   /* NULL: none; a read waits there before it goes on */
};

struct counted {
    struct store_object base;
    struct counting *counting;
    struct store_object *inner;
};

static struct counting *counting;

static enum status counted_read(struct store_object *base, uint64_t offset, void *ptr, size_t len,
                                size_t *got_out, struct err *err)
{
    struct counted *object = (struct counted *)base;
    counting->reads++;
    counting->bytes += len;
    if (counting->gate != NULL) {
        (void)pthread_barrier_wait(counting->gate);
    }
    if (counting->fails != OK) {
        return err_set(err, counting->fails, "as the test wants");
    }
    return store_object_read(object->inner, offset, ptr, len, got_out, err);
}

static void counted_close(struct store_object *base)
{
    store_object_close(((struct counted *)base)->inner);
    free(base);
}

static const struct store_object_ops counted_ops = { .read = counted_read, .close = counted_close };

static enum status counting_open(struct store *store, struct str key, struct store_object **out,
                                 struct err *err)
{
    struct store_object *inner = NULL;
    counting->opens++;
    TRY(store_open(counting->inner, key, &inner, err));
    struct counted *object = calloc(1, sizeof *object);
    object->base = (struct store_object){ .ops = &counted_ops, .info = *store_object_info(inner) };
    object->inner = inner;
    *out = &object->base;
    (void)store;
    return OK;
}

static enum status counting_put(struct store *store, struct str key, struct str bytes,
                                const struct store_cond *cond, struct store_info *info,
                                struct err *err)
{
    (void)store;
    return store_put(counting->inner, key, bytes, cond, info, err);
}

static enum status counting_remove(struct store *store, struct str key, struct str if_match,
                                   struct err *err)
{
    (void)store;
    return store_delete_if(counting->inner, key, if_match, err);
}

static void counting_close(struct store *store)
{
    store_close(counting->inner);
    free(store);
}

static struct str counting_uri(const struct store *store)
{
    (void)store;
    return STR("s3://bucket");
}

static struct store *cached(const struct store_cache_opts *opts)
{
    struct err err = { 0 };
    struct store *cache = NULL;
    counting = calloc(1, sizeof *counting);
    MUST(store_mem_open(&(struct store_mem_opts){ 0 }, &counting->inner, &err));
    counting->ops = (struct store_ops){ .name = "counting",
                                        .close = counting_close,
                                        .put = counting_put,
                                        .open = counting_open,
                                        .root_uri = counting_uri,
                                        .remove = counting_remove };
    counting->base.ops = &counting->ops;
    MUST(store_cache_open(&counting->base, opts, &cache, &err));
    return cache;
}

static struct store *cached_memory(uint64_t bytes)
{
    return cached(&(struct store_cache_opts){ .memory_bytes = bytes });
}

static int setup(void **state)
{
    *state = cached_memory(64 << 20);
    return 0;
}

static int teardown(void **state)
{
    store_close(*state);
    return 0;
}

/* --- what is read --- */

enum { SIZE = 3 * 1000 * 1000 + 7 };

static char byte_at(uint64_t offset)
{
    return (char)(offset * 2654435761u >> 13);
}

/** An object whose bytes tell where they are. */
static void put_big(struct store *store, const char *key)
{
    struct err err = { 0 };
    char *bytes = malloc(SIZE);
    for (size_t i = 0; i < SIZE; i++) {
        bytes[i] = byte_at(i);
    }
    MUST(store_put(store, str_of(key), str_from(bytes, SIZE), NULL, NULL, &err));
    free(bytes);
}

static bool right(struct store_object *object, uint64_t offset, size_t len)
{
    struct err err = { 0 };
    char *bytes = malloc(len);
    size_t got = 0;
    bool fine = store_object_read(object, offset, bytes, len, &got, &err) == OK && got == len;
    for (size_t i = 0; i < len && fine; i++) {
        fine = bytes[i] == byte_at(offset + i);
    }
    free(bytes);
    return fine;
}

static struct store_object *opened(struct store *store, const char *key)
{
    struct err err = { 0 };
    struct store_object *object = NULL;
    MUST(store_open(store, str_of(key), &object, &err));
    return object;
}

static void a_range_is_fetched_once_and_little_more_than_it(void **state)
{
    put_big(*state, "wh/a.parquet");
    struct store_object *object = opened(*state, "wh/a.parquet");
    assert_true(right(object, 500000, 300000));
    assert_int_equal(counting->reads, 1);
    assert_true(counting->bytes < 300000 + 2 * PAGE_BYTES);
    assert_true(right(object, 500000, 300000));
    assert_true(right(object, 600001, 17));
    assert_int_equal(counting->reads, 1);
    /* only what is missing around it, as one run on each side */
    assert_true(right(object, 400000, 500000));
    assert_int_equal(counting->reads, 3);
    assert_true(counting->bytes < 500000 + 2 * PAGE_BYTES);
    store_object_close(object);
}

static void the_next_open_needs_no_request(void **state)
{
    put_big(*state, "wh/a.parquet");
    store_object_close(opened(*state, "wh/a.parquet"));
    assert_int_equal(counting->opens, 1);
    struct store_object *object = opened(*state, "wh/a.parquet");
    assert_int_equal(store_object_info(object)->size, SIZE);
    assert_int_equal(counting->opens, 1);
    assert_true(right(object, 0, 100));
    assert_true(right(object, 10, 100));
    assert_int_equal(counting->opens, 2); /* for the bytes */
    assert_int_equal(counting->reads, 1);
    store_object_close(object);
    /* outside of the tables' folder a key may change: it is asked for each time, its bytes not */
    put_big(*state, "mine.parquet");
    for (int i = 0; i < 2; i++) {
        object = opened(*state, "mine.parquet");
        assert_true(right(object, 0, 100));
        store_object_close(object);
    }
    assert_int_equal(counting->opens, 4);
    assert_int_equal(counting->reads, 2);
}

static void another_version_is_a_conflict_and_never_other_bytes(void **state)
{
    struct err err = { 0 };
    char bytes[100];
    size_t got = 0;
    put_big(*state, "wh/a.parquet");
    struct store_object *old = opened(*state, "wh/a.parquet");
    store_object_close(old);
    old = opened(*state, "wh/a.parquet"); /* without a request */
    MUST(store_put(counting->inner, STR("wh/a.parquet"), STR("other"), NULL, NULL, &err));
    assert_int_equal(store_object_read(old, 0, bytes, 100, &got, &err), E_CONFLICT);
    store_object_close(old);
    struct store_object *new = opened(*state, "wh/a.parquet");
    assert_int_equal(store_object_info(new)->size, 5);
    store_object_close(new);
    MUST(store_delete(*state, STR("wh/a.parquet"), &err));
    assert_int_equal(store_open(*state, STR("wh/a.parquet"), &new, &err), E_NOT_FOUND);
}

static void an_error_is_not_remembered(void **state)
{
    struct err err = { 0 };
    char bytes[100];
    size_t got = 0;
    put_big(*state, "wh/a.parquet");
    struct store_object *object = opened(*state, "wh/a.parquet");
    counting->fails = E_UPSTREAM;
    assert_int_equal(store_object_read(object, 0, bytes, 100, &got, &err), E_UPSTREAM);
    counting->fails = OK;
    assert_true(right(object, 0, 100));
    store_object_close(object);
}

static void who_reads_piece_by_piece_is_read_ahead_for(void **state)
{
    put_big(*state, "wh/a.parquet");
    struct store_object *object = opened(*state, "wh/a.parquet");
    for (size_t at = 0; at + 20000 < SIZE; at += 20000) {
        assert_true(right(object, at, 20000));
    }
    assert_true(counting->reads < 12); /* of 150 */
    assert_true(counting->bytes <= SIZE);
    store_object_close(object);
}

static void memory_is_bounded_and_a_scan_leaves_what_is_read_often(void **state)
{
    struct store *store = cached_memory(1 << 20);
    struct metrics *metrics = metrics_new();
    struct metric *held = metric_get(metrics, METRIC_GAUGE, "lakehouse_cache_bytes", "", "");
    store_measure(store, metrics);
    put_big(store, "wh/a.parquet");
    put_big(store, "wh/b.parquet");
    struct store_object *often = opened(store, "wh/a.parquet"),
                        *scan = opened(store, "wh/b.parquet");
    assert_true(right(often, SIZE - 100000, 100000));
    assert_true(right(often, SIZE - 100000, 100000));
    for (size_t at = 0; at + 50000 < SIZE; at += 50000) {
        assert_true(right(scan, at, 50000));
        assert_true(metric_value(held) <= (1 << 20));
    }
    int reads = counting->reads;
    assert_true(right(often, SIZE - 100000, 100000));
    assert_int_equal(counting->reads, reads);
    /* more than there is room for is right, too */
    assert_true(right(scan, 0, SIZE));
    store_object_close(often);
    store_object_close(scan);
    store_close(store);
    metrics_free(metrics);
    (void)state;
}

/* --- with a folder --- */

static void the_folder_gives_the_next_process_what_was_fetched(void **state)
{
    char dir[] = "/tmp/cache-XXXXXX", pages[64];
    struct err err = { 0 };
    assert_non_null(mkdtemp(dir));
    const struct store_cache_opts opts = { 64 << 20, dir, 16 << 20 };
    snprintf(pages, sizeof pages, "%s/0/pages", dir);
    for (int process = 0; process < 4; process++) {
        struct store *store = cached(&opts);
        put_big(store, "wh/a.parquet");
        if (process == 2) { /* another version of it */
            MUST(store_put(store, STR("wh/a.parquet"), STR("other"), NULL, NULL, &err));
        } else if (process == 3) {
            assert_int_equal(truncate(pages, 700000), 0);
        }
        struct store_object *object = opened(store, "wh/a.parquet");
        if (process == 2) {
            char bytes[5];
            size_t got = 0;
            MUST(store_object_read(object, 0, bytes, 5, &got, &err));
            assert_memory_equal(bytes, "other", 5);
            assert_int_equal(counting->reads, 1);
        } else {
            assert_true(right(object, 0, SIZE));
            assert_int_equal(counting->reads == 0, process == 1);
            assert_true(process != 3 || counting->bytes <= SIZE);
        }
        store_object_close(object);
        store_close(store);
    }
    static const char *const names[] = { "0/index", "0/pages", "0", "" };
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char path[64];
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        assert_int_equal(remove(path), 0);
    }
    (void)state;
}

static void a_large_read_goes_in_pieces_side_by_side(void **state)
{
    struct err err = { 0 };
    enum { LARGE = 9 * 1024 * 1024 };
    char *bytes = malloc(LARGE);
    for (size_t i = 0; i < LARGE; i++) {
        bytes[i] = byte_at(i);
    }
    MUST(store_put(*state, STR("wh/large"), str_from(bytes, LARGE), NULL, NULL, &err));
    free(bytes);
    struct store_object *object = opened(*state, "wh/large");
    assert_true(right(object, 77, LARGE - 77));
    assert_int_equal(counting->reads, 5); /* four of two mebibytes, and the rest */
    assert_int_equal(counting->bytes, LARGE);
    counting->fails = E_UPSTREAM;
    assert_true(right(object, 0, LARGE));
    store_object_close(object);
}

/* --- many at once --- */

static void *read_same(void *arg)
{
    return right(arg, 1000000, 200000) ? NULL : arg;
}

static void what_two_want_is_fetched_once(void **state)
{
    pthread_t thread;
    pthread_barrier_t gate;
    void *wrong = NULL;
    put_big(*state, "wh/a.parquet");
    struct store_object *object = opened(*state, "wh/a.parquet");
    pthread_barrier_init(&gate, NULL, 2);
    counting->gate = &gate;
    assert_int_equal(pthread_create(&thread, NULL, read_same, object), 0);
    while (counting->reads == 0) {
        sched_yield();
    }
    pthread_t second;
    assert_int_equal(pthread_create(&second, NULL, read_same, object), 0);
    (void)pthread_barrier_wait(&gate);
    pthread_join(thread, &wrong);
    assert_null(wrong);
    pthread_join(second, &wrong);
    assert_null(wrong);
    assert_int_equal(counting->reads, 1);
    counting->gate = NULL;
    pthread_barrier_destroy(&gate);
    store_object_close(object);
}

static void *read_anything(void *arg)
{
    static _Atomic uint64_t seed;
    struct rng rng;
    rng_seed(&rng, ++seed);
    for (int i = 0; i < 200; i++) {
        size_t offset = rng_below(&rng, SIZE - 1),
               len = 1 + rng_below(&rng, i % 8 == 0 ? 900000 : 9000);
        if (!right(arg, offset, len < SIZE - offset ? len : SIZE - offset)) {
            return arg;
        }
    }
    return NULL;
}

static void reads_of_many_threads_are_right_while_pages_come_and_go(void **state)
{
    pthread_t threads[6];
    struct store *store = cached_memory(1 << 20);
    put_big(store, "wh/a.parquet");
    struct store_object *object = opened(store, "wh/a.parquet");
    for (size_t i = 0; i < ARRAY_LEN(threads); i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, read_anything, object), 0);
    }
    for (size_t i = 0; i < ARRAY_LEN(threads); i++) {
        void *wrong = NULL;
        pthread_join(threads[i], &wrong);
        assert_null(wrong);
    }
    store_object_close(object);
    store_close(store);
    (void)state;
}

/* --- run --- */

static struct store *open_store(void)
{
    struct store *inner = NULL, *cache = NULL;
    const struct store_cache_opts opts = { .memory_bytes = 1 << 20 };
    return store_mem_open(&(struct store_mem_opts){ 0 }, &inner, NULL) == OK &&
                   store_cache_open(inner, &opts, &cache, NULL) == OK
               ? cache
               : NULL;
}

static void holds(struct store *store, const char *key, const char *text)
{
    struct err err = { 0 };
    char bytes[64];
    size_t got = 0;
    struct store_object *object = opened(store, key);
    MUST(store_object_read(object, 0, bytes, strlen(text), &got, &err));
    assert_memory_equal(bytes, text, strlen(text));
    assert_int_equal(got, strlen(text));
    store_object_close(object);
}

/** Who reads while another is writing must not leave the old version behind for everybody. */
static void what_a_writer_has_committed_is_what_is_read(void **state)
{
    struct err err = { 0 };
    struct store *store = open_store();
    struct store_writer *writer = NULL;
    struct str key = STR("wh/a/metadata/v1.json");
    MUST(store_put(store, key, STR("version one"), NULL, NULL, &err));
    MUST(store_writer_open(store, key, NULL, &writer, &err));
    MUST(store_writer_write(writer, STR("version two"), &err));
    holds(store, "wh/a/metadata/v1.json", "version one");
    MUST(store_writer_commit(writer, NULL, &err));
    holds(store, "wh/a/metadata/v1.json", "version two");
    MUST(store_writer_open(store, key, NULL, &writer, &err));
    MUST(store_writer_write(writer, STR("version six"), &err));
    store_writer_abort(writer);
    holds(store, "wh/a/metadata/v1.json", "version two");
    store_close(store);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_range_is_fetched_once_and_little_more_than_it),
        TEST(the_next_open_needs_no_request),
        TEST(another_version_is_a_conflict_and_never_other_bytes),
        TEST(an_error_is_not_remembered),
        TEST(who_reads_piece_by_piece_is_read_ahead_for),
        cmocka_unit_test(the_folder_gives_the_next_process_what_was_fetched),
        TEST(a_large_read_goes_in_pieces_side_by_side),
        cmocka_unit_test(memory_is_bounded_and_a_scan_leaves_what_is_read_often),
        TEST(what_two_want_is_fetched_once),
        cmocka_unit_test(what_a_writer_has_committed_is_what_is_read),
        cmocka_unit_test(reads_of_many_threads_are_right_while_pages_come_and_go),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    return failed +
           contract_run("store cache", &(struct contract_driver){ .open = open_store,
                                                                  .close = store_close,
                                                                  .remote = true,
                                                                  .uri_scheme = "mem://" });
}
