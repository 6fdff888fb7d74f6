/* Appends that share a commit, and what old commits leave behind. */
#include "fixture.h"

#include "catalog/changes.h"

#include <pthread.h>
#include <stdio.h>

enum { APPENDS = 6 };

struct appender {
    struct catalog *catalog;
    const char *batch, *extra;
    const char *table; /* NULL: t */
    enum status status;
    struct catalog_appended out;
    struct arena arena;
    struct err err;
};

static void *run(void *arg)
{
    struct appender *a = arg;
    struct fixture_append in = { .table = a->table != NULL ? a->table : "t",
                                 .batch = a->batch,
                                 .schema = a->extra != NULL ? fixture_schema(&a->arena, a->extra)
                                                            : NULL };
    a->status = fixture_append(a->catalog, &in, &a->arena, &a->out, &a->err);
    return NULL;
}

static struct catalog *gathering(struct store *store)
{
    struct catalog *catalog = NULL;
    assert_ok(catalog_local_open(
        &(struct catalog_local_opts){ .store = store, .group_wait_ms = 300 }, &catalog, ERR));
    return catalog;
}

static void run_all(struct appender *appenders, size_t count, struct catalog *catalog)
{
    pthread_t threads[APPENDS];
    for (size_t i = 0; i < count; i++) {
        appenders[i].catalog = catalog;
        arena_init(&appenders[i].arena, 0);
        assert_int_equal(pthread_create(&threads[i], NULL, run, &appenders[i]), 0);
    }
    for (size_t i = 0; i < count; i++) {
        pthread_join(threads[i], NULL);
    }
}

static void done_all(struct appender *appenders, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        arena_done(&appenders[i].arena);
    }
}

static void appends_that_arrive_together_share_one_snapshot(void **state)
{
    struct store *store = fixture_mem();
    struct catalog *catalog = gathering(store);
    struct appender a[APPENDS] = { { .batch = "1" }, { .batch = "2" }, { .batch = "3" },
                                   { .batch = "4" }, { .batch = "4" }, { .batch = "" } };
    run_all(a, APPENDS, catalog);
    int created = 0, deduplicated = 0;
    for (int i = 0; i < APPENDS; i++) {
        assert_int_equal(a[i].status, OK);
        assert_int_equal(a[i].out.snapshot_id, a[0].out.snapshot_id);
        assert_int_equal(a[i].out.row_count, 1);
        created += a[i].out.created;
        deduplicated += a[i].out.deduplicated;
    }
    assert_int_equal(created, 1);
    assert_int_equal(deduplicated, 1);
    assert_int_equal(fixture_rows(catalog, "t"), APPENDS - 1);
    assert_int_equal(fixture_objects(store, "_lake/ingest/"), 4);
    done_all(a, APPENDS);
    catalog_close(catalog);
    store_close(store);
}

/** "main" / "x/c" and "main/x" / "c": one text, were they joined by a slash. */
static void tables_whose_names_look_alike_share_nothing(void **state)
{
    struct store *store = fixture_mem();
    struct catalog *catalog = gathering(store);
    struct catalog_namespace made;
    struct arena arena;
    struct appender appenders[] = { { .batch = "a", .table = "x/c" },
                                    { .batch = "b", .table = "main/x.c" },
                                    { .batch = "c", .table = "x/c" } };
    (void)state;
    arena_init(&arena, 0);
    assert_ok(catalog_namespace_create(catalog, STR("main/x"), NULL, 0, &arena, &made, ERR));
    for (int round = 0; round < 2; round++) { /* tables that are made, tables that are there */
        run_all(appenders, ARRAY_LEN(appenders), catalog);
        for (size_t i = 0; i < ARRAY_LEN(appenders); i++) {
            if (appenders[i].status != OK) {
                fail_msg("%zu: %s", i, appenders[i].err.msg);
            }
        }
        appenders[0].batch = "d";
        appenders[1].batch = "e";
        appenders[2].batch = "f";
        done_all(appenders, ARRAY_LEN(appenders));
    }
    assert_int_equal(fixture_rows(catalog, "x/c"), 4);
    arena_done(&arena);
    catalog_close(catalog);
    store_close(store);
}

static void one_that_does_not_fit_leaves_the_others_alone(void **state)
{
    struct store *store = fixture_mem();
    struct catalog *catalog = gathering(store);
    struct arena arena;
    arena_init(&arena, 0);
    fixture_add(catalog, "t", "", &arena);
    struct appender a[3] = { { .batch = "1" },
                             { .batch = "2", .extra = "not_in_it" },
                             { .batch = "3" } };
    run_all(a, 3, catalog);
    assert_int_equal(a[0].status, OK);
    assert_int_equal(a[1].status, E_CONFLICT);
    assert_int_equal(a[2].status, OK);
    assert_int_equal(a[0].out.snapshot_id, a[2].out.snapshot_id);
    assert_int_equal(fixture_rows(catalog, "t"), 3);
    done_all(a, 3);
    arena_done(&arena);
    catalog_close(catalog);
    store_close(store);
}

/* --- time --- */

static int64_t now_ms;

static int64_t test_wall(void *ctx)
{
    return now_ms;
}

static const struct lake_clock test_clock = { .wall_ms = test_wall, .mono_ms = test_wall };

/** A catalogue that lives by now_ms, which is set to some day. */
static struct catalog *clocked_catalog(struct store *store)
{
    struct catalog *catalog = NULL;
    now_ms = 1750000000000;
    assert_ok(catalog_local_open(
        &(struct catalog_local_opts){ .store = store, .clock = &test_clock }, &catalog, ERR));
    return catalog;
}

static void old_snapshots_expire_and_their_lists_go_to_the_trash(void **state)
{
    struct store *store = fixture_mem();
    struct catalog *catalog = clocked_catalog(store);
    struct arena arena;
    arena_init(&arena, 0);
    int64_t first = fixture_add(catalog, "t", "first", &arena).snapshot_id;
    for (int i = 0; i < 9; i++) {
        now_ms += 24LL * 3600 * 1000;
        fixture_add(catalog, "t", "", &arena);
    }
    struct catalog_pin *pin = NULL;
    struct table_name name = fixture_name("t");
    assert_ok(catalog_pin(catalog, &name, false, NULL, &pin, ERR));
    assert_true(pin->metadata->snapshot_count >= 5 && pin->metadata->snapshot_count <= 7);
    assert_null(ice_metadata_snapshot(pin->metadata, first));
    catalog_unpin(pin);
    assert_int_equal(fixture_rows(catalog, "t"), 10);
    assert_true(fixture_objects(store, "_lake/trash/") > 0);
    /* Its batch is still known. */
    assert_true(fixture_add(catalog, "t", "first", &arena).deduplicated);
    catalog_close(catalog);
    arena_done(&arena);
    store_close(store);
}

/** How many snapshots a table has after so many appends, this much time between two. */
static size_t snapshots_after(int appends, int64_t step_ms)
{
    struct store *store = fixture_mem();
    struct catalog *catalog = clocked_catalog(store);
    struct arena arena;
    arena_init(&arena, 0);
    for (int i = 0; i < appends; i++) {
        now_ms += step_ms;
        fixture_add(catalog, "t", "", &arena);
        arena_reset(&arena);
    }
    struct catalog_pin *pin = NULL;
    struct table_name name = fixture_name("t");
    assert_ok(catalog_pin(catalog, &name, false, NULL, &pin, ERR));
    size_t count = pin->metadata->snapshot_count;
    catalog_unpin(pin);
    assert_int_equal(fixture_rows(catalog, "t"), appends);
    catalog_close(catalog);
    arena_done(&arena);
    store_close(store);
    return count;
}

static void a_busy_table_keeps_fewer_snapshots(void **state)
{
    const int64_t spell = 5 * 1000;
    assert_int_equal(snapshots_after(150, 1), 150);
    assert_int_equal(snapshots_after(151, 1), 113);
    assert_int_equal(snapshots_after(160, 1), 122);
    /* never more than 120 in ten minutes: as many as there is room for */
    assert_int_equal(snapshots_after(300, spell), 300);
    assert_int_equal(snapshots_after(1000, spell), 1000);
    assert_int_equal(snapshots_after(1001, spell), 750);
}

static void times_never_run_backwards(void **state)
{
    struct store *store = fixture_mem();
    struct catalog *catalog = clocked_catalog(store);
    struct arena arena;
    arena_init(&arena, 0);
    int64_t last = 0;
    for (int i = 0; i < 5; i++) {
        now_ms += i % 2 == 0 ? 1000 : -5000;
        int64_t at = fixture_add(catalog, "t", "", &arena).committed_ms;
        assert_true(at >= last);
        last = at;
    }
    catalog_close(catalog);
    arena_done(&arena);
    store_close(store);
}

static int64_t an_hour_ago(void *ctx)
{
    return now_ms - 3600LL * 1000;
}

static const struct lake_clock slow_clock = { .wall_ms = an_hour_ago, .mono_ms = an_hour_ago };

static void assert_rising(yyjson_val *list, const char *what)
{
    size_t i, max;
    int64_t last = 0;
    yyjson_val *entry;
    yyjson_arr_foreach(list, i, max, entry)
    {
        int64_t at = yyjson_get_sint(yyjson_obj_get(entry, "timestamp-ms"));
        if (at < last) {
            fail_msg("entry %zu of %s is older than the one before it", i, what);
        }
        last = at;
    }
    assert_true(max > 0);
}

/* Two processes whose clocks are an hour apart, or one whose clock is set back again and again. */
static void with_clocks_an_hour_apart_commits_work_and_logs_rise(void **state)
{
    struct store *store = fixture_mem();
    struct catalog *catalogs[2] = { NULL };
    struct arena arena;
    struct catalog_appended out;
    arena_init(&arena, 0);
    now_ms = 1750000000000;
    for (int i = 0; i < 2; i++) {
        assert_ok(catalog_local_open(
            &(struct catalog_local_opts){ .store = store,
                                          .clock = i == 0 ? &test_clock : &slow_clock },
            &catalogs[i], ERR));
    }
    int64_t updated = 0;
    struct table_name name = fixture_name("t");
    for (int i = 0; i < 8; i++) {
        struct table_summary table;
        struct ice_schema *wider = fixture_schema(&arena, "extra");
        struct fixture_append in = { .table = "t", .batch = "" };
        in.schema = in.evolved = i == 5 ? wider : NULL;
        now_ms += 1000;
        assert_ok(fixture_append(catalogs[i % 2], &in, &arena, &out, ERR));
        assert_ok(catalog_find(catalogs[i % 2], &name, false, &arena, &table, ERR));
        assert_true(table.updated_ms >= updated);
        updated = table.updated_ms;
    }
    struct catalog_pin *pin = NULL;
    struct catalog *reader = NULL; /* which has to read what was written */
    assert_ok(catalog_local_open(&(struct catalog_local_opts){ .store = store }, &reader, ERR));
    assert_ok(catalog_pin(reader, &name, false, NULL, &pin, ERR));
    yyjson_val *root = yyjson_doc_get_root(pin->metadata->doc);
    assert_rising(yyjson_obj_get(root, "snapshots"), "snapshots");
    assert_rising(yyjson_obj_get(root, "snapshot-log"), "snapshot-log");
    assert_rising(yyjson_obj_get(root, "metadata-log"), "metadata-log");
    assert_true(pin->metadata->last_updated_ms >= pin->snapshot->timestamp_ms);
    assert_ptr_equal(ice_metadata_as_of(pin->metadata, now_ms), pin->snapshot);
    catalog_unpin(pin);
    catalog_close(reader);
    assert_int_equal(fixture_rows(catalogs[0], "t"), 8);
    assert_ok(catalog_drop(catalogs[1], &name, ERR));
    fixture_add(catalogs[1], "t", "", &arena);
    catalog_close(catalogs[0]);
    catalog_close(catalogs[1]);
    arena_done(&arena);
    store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(appends_that_arrive_together_share_one_snapshot),
        cmocka_unit_test(tables_whose_names_look_alike_share_nothing),
        cmocka_unit_test(one_that_does_not_fit_leaves_the_others_alone),
        cmocka_unit_test(old_snapshots_expire_and_their_lists_go_to_the_trash),
        cmocka_unit_test(a_busy_table_keeps_fewer_snapshots),
        cmocka_unit_test(times_never_run_backwards),
        cmocka_unit_test(with_clocks_an_hour_apart_commits_work_and_logs_rise),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
