/* Two catalogues on one folder, in threads and in processes of their own: never both win, and all
 * that was acknowledged is there. */
#include "fixture.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"

enum { PROCESSES = 3, THREADS = 2, APPENDS = 8 };

static char dir[64];

static int dir_make(void **state)
{
    snprintf(dir, sizeof(dir), "/tmp/catalog-fs-XXXXXX");
    return mkdtemp(dir) == NULL ? -1 : 0;
}

static int dir_remove(void **state)
{
    return io_remove_tree(dir, NULL) == OK ? 0 : -1;
}

static struct store *open_store(void)
{
    struct store *store = NULL;
    assert_ok(
        store_fs_open(&(struct store_fs_opts){ .dir = dir, .allow_network = true }, &store, ERR));
    return store;
}

struct worker {
    struct catalog *catalog;
    int process, thread, failed;
};

static void *work(void *arg)
{
    struct worker *worker = arg;
    for (int i = 0; i < APPENDS && worker->failed == 0; i++) {
        struct arena arena;
        struct catalog_appended out;
        struct err err;
        char batch[64];
        arena_init(&arena, 0);
        snprintf(batch, sizeof(batch), "p%d-t%d-%d", worker->process, worker->thread, i);
        struct fixture_append in = { .table = "t", .batch = batch };
        if (fixture_append(worker->catalog, &in, &arena, &out, &err) != OK) {
            fprintf(stderr, "%s: %s\n", batch, err.msg);
            worker->failed = 1;
        }
        arena_done(&arena);
    }
    return NULL;
}

/** A process with a store and a catalogue of its own, and two threads. */
static int child(int process)
{
    struct store *store = open_store();
    struct catalog *catalog = fixture_catalog(store);
    struct worker workers[THREADS];
    pthread_t threads[THREADS];
    int failed = 0;
    for (int i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){ catalog, process, i, 0 };
        if (pthread_create(&threads[i], NULL, work, &workers[i]) != 0) {
            return 1;
        }
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        failed += workers[i].failed;
    }
    catalog_close(catalog);
    store_close(store);
    return failed;
}

static void processes_on_one_folder_never_both_win(void **state)
{
    pid_t pids[PROCESSES];
    for (int i = 0; i < PROCESSES; i++) {
        pids[i] = fork();
        assert_true(pids[i] >= 0);
        if (pids[i] == 0) {
            _exit(child(i));
        }
    }
    for (int i = 0; i < PROCESSES; i++) {
        int status = 0;
        assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    struct store *store = open_store();
    struct catalog *catalog = fixture_catalog(store);
    assert_int_equal(fixture_rows(catalog, "t"), PROCESSES * THREADS * APPENDS);
    struct arena arena;
    arena_init(&arena, 0);
    struct table_name name = fixture_name("t");
    for (int p = 0; p < PROCESSES; p++) {
        for (int t = 0; t < THREADS; t++) {
            char batch[64];
            bool found = false;
            struct catalog_appended out;
            snprintf(batch, sizeof(batch), "p%d-t%d-%d", p, t, APPENDS - 1);
            assert_ok(catalog_batch(catalog, &name, str_of(batch), &arena, &found, &out, ERR));
            assert_true(found);
        }
    }
    arena_done(&arena);
    catalog_close(catalog);
    store_close(store);
}

static void metadata_is_named_by_file_uri_and_a_moved_folder_still_works(void **state)
{
    struct store *store = open_store();
    struct catalog *catalog = fixture_catalog(store);
    struct arena arena;
    arena_init(&arena, 0);
    fixture_add(catalog, "t", "b", &arena);
    struct table_summary table;
    struct table_name name = fixture_name("t");
    assert_ok(catalog_find(catalog, &name, false, &arena, &table, ERR));
    struct str path = str_skip(table.metadata_location, strlen("file://"));
    assert_true(str_starts(table.metadata_location, STR("file:///")));
    assert_int_equal(access(arena_cstr(&arena, path), R_OK), 0);
    catalog_close(catalog);
    store_close(store);

    char moved[80];
    snprintf(moved, sizeof(moved), "%s-moved", dir);
    assert_int_equal(rename(dir, moved), 0);
    snprintf(dir, sizeof(dir), "%.60s", moved);
    store = open_store();
    catalog = fixture_catalog(store);
    assert_int_equal(fixture_rows(catalog, "t"), 1);
    fixture_add(catalog, "t", "c", &arena);
    assert_int_equal(fixture_rows(catalog, "t"), 2);
    catalog_close(catalog);
    store_close(store);
    arena_done(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(processes_on_one_folder_never_both_win, dir_make,
                                        dir_remove),
        cmocka_unit_test_setup_teardown(
            metadata_is_named_by_file_uri_and_a_moved_folder_still_works, dir_make, dir_remove),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
