/* The sweep beside renames, drops that keep their files, and what processes left half done. */
#include "../catalog/fixture.h"

#include "base/mem.h"
#include "catalog/changes.h"
#include "catalog/local.h"
#include "catalog/namespace.h"
#include "maintain/sweeper.h"

#define HOUR (3600LL * 1000)
#define DAY (24 * HOUR)

static int64_t now_ms;

static int64_t test_now(void *ctx)
{
    (void)ctx;
    return now_ms;
}

static const struct lake_clock test_clock = { .wall_ms = test_now, .mono_ms = test_now };

struct lake {
    struct store *store;
    struct catalog *catalog;
    struct sweep *sweep;
    struct arena arena;
};

static int lake_open(void **state)
{
    struct lake *lake = test_calloc(1, sizeof(*lake));
    struct catalog_namespace made;
    now_ms = 1750000000000;
    assert_ok(store_mem_open(&(struct store_mem_opts){ .clock = &test_clock }, &lake->store, ERR));
    assert_ok(catalog_local_open(
        &(struct catalog_local_opts){ .store = lake->store, .clock = &test_clock }, &lake->catalog,
        ERR));
    assert_ok(sweep_new(
        &(struct sweep_opts){
            .store = lake->store, .catalog = lake->catalog, .clock = &test_clock, .look_ms = -1 },
        &lake->sweep, ERR));
    arena_init(&lake->arena, 0);
    assert_ok(catalog_namespace_create(lake->catalog, STR("n"), NULL, 0, &lake->arena, &made, ERR));
    *state = lake;
    return 0;
}

static int lake_close(void **state)
{
    struct lake *lake = *state;
    sweep_free(lake->sweep);
    catalog_close(lake->catalog);
    store_close(lake->store);
    arena_done(&lake->arena);
    test_free(lake);
    return 0;
}

static struct catalog_appended add(struct lake *lake, const char *table, const char *batch)
{
    struct catalog_appended out;
    struct fixture_append in = { .table = table, .batch = batch, .store = lake->store };
    assert_ok(fixture_append(lake->catalog, &in, &lake->arena, &out, ERR));
    return out;
}

static void rename_to(struct lake *lake, const char *from, const char *to)
{
    struct table_name a = fixture_name(from), b = fixture_name(to);
    bool missing_ns = false;
    assert_ok(catalog_rename(lake->catalog, CATALOG_TABLE, &a, &b, &missing_ns, ERR));
}

static void sweep_after(struct lake *lake, int64_t ms)
{
    struct sweep_result result;
    now_ms += ms;
    assert_ok(sweep_run(lake->sweep, &result, ERR));
    assert_false(result.skipped);
}

static struct local_base raw(struct lake *lake, const char *table, struct str *key_out)
{
    struct table_name name = fixture_name(table);
    struct local_base base;
    assert_ok(pointer_key(&lake->arena, STR("main"), &name, key_out, ERR));
    assert_ok(local_read_raw((struct local *)lake->catalog, *key_out, &lake->arena, &base, ERR));
    return base;
}

/** As a process leaves a pointer that died in a rename. */
static void leave(struct lake *lake, const char *table, enum pointer_state state, const char *peer)
{
    struct str key;
    struct local_base base = raw(lake, table, &key);
    struct rng rng;
    AUTO(buf_done) struct buf body;
    struct pointer next = base.pointer;
    if (!base.found) {
        next = (struct pointer){ .table = { .name = fixture_name(table), .snapshot_id = -1 } };
        next.table.uuid = next.table.metadata_location = next.table.fingerprint = STR_EMPTY;
    }
    next.state = state;
    next.rename = (struct pointer_rename){ .id = STR("0123456789abcdef"),
                                           .peer = fixture_name(peer),
                                           .begun_ms = now_ms };
    if (state == POINTER_ARRIVING) {
        struct namespace_base ns;
        assert_ok(namespace_read((struct local *)lake->catalog, next.table.name.ns, &lake->arena,
                                 &ns, ERR));
        next.namespace_uuid = ns.ns.uuid;
    }
    rng_seed(&rng, 7);
    buf_init(&body, 0);
    assert_ok(
        pointer_add_commit(&lake->arena, base.found ? &base.pointer : NULL, &rng, &next, ERR));
    assert_int_equal(pointer_encode(&next, &body), OK);
    assert_ok(store_put(lake->store, key, buf_str(&body), NULL, NULL, ERR));
}

static enum pointer_state state_of(struct lake *lake, const char *table)
{
    struct str key;
    struct local_base base = raw(lake, table, &key);
    assert_true(base.found);
    return base.pointer.state;
}

static void a_rename_that_did_not_happen_is_taken_back(void **state)
{
    struct lake *lake = *state;
    (void)add(lake, "t", "b1");
    leave(lake, "n.u", POINTER_ARRIVING, "t");
    sweep_after(lake, 1000); /* it may still be at work */
    assert_int_equal(state_of(lake, "n.u"), POINTER_ARRIVING);
    sweep_after(lake, HOUR);
    assert_int_equal(state_of(lake, "n.u"), POINTER_DROPPED);
    assert_int_equal(state_of(lake, "t"), POINTER_LIVE);
    assert_int_equal(fixture_rows(lake->catalog, "t"), 1);
}

static void a_rename_that_happened_is_finished_and_its_files_stay(void **state)
{
    struct lake *lake = *state;
    struct str uuid = add(lake, "t", "b1").uuid;
    size_t objects = fixture_objects(lake->store, "wh/");
    leave(lake, "n.u", POINTER_ARRIVING, "t");
    leave(lake, "t", POINTER_MOVED, "n.u");
    assert_int_equal(fixture_rows(lake->catalog, "n.u"), 1); /* it is there before that */
    sweep_after(lake, 1000);
    assert_int_equal(state_of(lake, "n.u"), POINTER_ARRIVING);
    sweep_after(lake, HOUR);
    sweep_after(lake, HOUR);
    assert_int_equal(state_of(lake, "n.u"), POINTER_LIVE);
    assert_int_equal(state_of(lake, "t"), POINTER_DROPPED);
    for (int i = 0; i < 3; i++) {
        sweep_after(lake, 10 * DAY);
    }
    assert_int_equal(fixture_objects(lake->store, "wh/"), objects);
    struct catalog_appended again = add(lake, "n.u", "b1"); /* nor is its batch forgotten */
    assert_true(again.deduplicated && str_eq(again.uuid, uuid));
    assert_int_equal(fixture_rows(lake->catalog, "n.u"), 1);
}

static void a_renamed_table_is_swept_under_its_name(void **state)
{
    struct lake *lake = *state;
    struct table_name u = fixture_name("n.u");
    struct catalog_place place;
    (void)add(lake, "t", "b1");
    (void)add(lake, "t", "b2");
    rename_to(lake, "t", "n.u");
    (void)add(lake, "t", "b1"); /* another one takes the old name */
    assert_ok(catalog_place(lake->catalog, &u, &lake->arena, &place, ERR));
    struct str orphan = arena_printf(&lake->arena, "%.*s/data/orphan.parquet",
                                     STR_ARG(place.location_key));
    assert_ok(store_put(lake->store, orphan, STR("x"), NULL, NULL, ERR));
    sweep_after(lake, 4 * DAY);
    sweep_after(lake, 4 * DAY);
    struct store_info info;
    assert_kind(store_stat(lake->store, orphan, &info, ERR), E_NOT_FOUND);
    assert_int_equal(fixture_rows(lake->catalog, "n.u"), 2);
    assert_int_equal(fixture_rows(lake->catalog, "t"), 1);
    struct table_name t = fixture_name("t");
    assert_ok(catalog_drop(lake->catalog, &t, ERR));
    assert_ok(catalog_drop(lake->catalog, &u, ERR));
    sweep_after(lake, HOUR);
    sweep_after(lake, 2 * DAY);
    assert_int_equal(fixture_objects(lake->store, "wh/"), 0);
}

static void a_table_that_was_dropped_without_its_files_can_be_registered_much_later(void **state)
{
    struct lake *lake = *state;
    struct table_name t = fixture_name("t");
    struct table_summary table;
    struct catalog_loaded loaded;
    (void)add(lake, "t", "b1");
    assert_ok(catalog_find(lake->catalog, &t, false, &lake->arena, &table, ERR));
    assert_ok(catalog_drop_table(lake->catalog, &t, false, ERR));
    for (int i = 0; i < 3; i++) {
        sweep_after(lake, 10 * DAY);
    }
    struct catalog_register_metadata request = { .name = fixture_name("n.back"),
                                                 .metadata_location = table.metadata_location };
    assert_ok(catalog_register_metadata(lake->catalog, &request, &lake->arena, &loaded, ERR));
    buf_done(&loaded.metadata);
    for (int i = 0; i < 3; i++) {
        sweep_after(lake, 10 * DAY);
    }
    assert_int_equal(fixture_rows(lake->catalog, "n.back"), 1);
    assert_true(add(lake, "n.back", "b1").deduplicated);
}

static void a_drop_of_a_namespace_that_died_is_finished(void **state)
{
    struct lake *lake = *state;
    struct local *local = (struct local *)lake->catalog;
    static const char *const names[] = { "n", "full" };
    (void)add(lake, "full.t", "b1");
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct namespace_base base;
        enum swap_outcome outcome;
        struct str ns = str_of(names[i]);
        assert_ok(namespace_read(local, ns, &lake->arena, &base, ERR));
        assert_ok(namespace_swap(local, ns, &base, NAMESPACE_DROPPING, &base.ns, deadline_in(1000),
                                 &outcome, ERR));
    }
    sweep_after(lake, HOUR);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct namespace_base base;
        assert_ok(namespace_read(local, str_of(names[i]), &lake->arena, &base, ERR));
        assert_int_equal(base.state, i == 0 ? NAMESPACE_DROPPED : NAMESPACE_LIVE);
    }
    assert_int_equal(fixture_rows(lake->catalog, "full.t"), 1);
}

#define T(name) cmocka_unit_test_setup_teardown(name, lake_open, lake_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_rename_that_did_not_happen_is_taken_back),
        T(a_rename_that_happened_is_finished_and_its_files_stay),
        T(a_renamed_table_is_swept_under_its_name),
        T(a_table_that_was_dropped_without_its_files_can_be_registered_much_later),
        T(a_drop_of_a_namespace_that_died_is_finished),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
