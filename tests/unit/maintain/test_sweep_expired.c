/* What the sweep does with files that only expired snapshots named. Time is the test's own. */
#include "../catalog/fixture.h"

#include "base/mem.h"
#include "catalog/rewrite.h"
#include "catalog/upkeep.h"
#include "maintain/sweep.h"

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
    struct sweep_result result;
};

static struct sweep *make_sweep(struct lake *lake)
{
    struct sweep *sweep = NULL;
    assert_ok(sweep_new(
        &(struct sweep_opts){
            .store = lake->store, .catalog = lake->catalog, .clock = &test_clock, .look_ms = -1 },
        &sweep, ERR));
    return sweep;
}

static int lake_open(void **state)
{
    struct lake *lake = test_calloc(1, sizeof(*lake));
    now_ms = clock_wall_ms(clock_real()); /* a rewrite goes by the machine's */
    assert_ok(store_mem_open(&(struct store_mem_opts){ .clock = &test_clock }, &lake->store, ERR));
    assert_ok(catalog_local_open(
        &(struct catalog_local_opts){ .store = lake->store, .clock = &test_clock }, &lake->catalog,
        ERR));
    lake->sweep = make_sweep(lake);
    arena_init(&lake->arena, 0);
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

static int64_t add(struct lake *lake, const char *table, const char *batch)
{
    struct catalog_appended out;
    struct fixture_append in = { .table = table, .batch = batch, .store = lake->store };
    assert_ok(fixture_append(lake->catalog, &in, &lake->arena, &out, ERR));
    return out.snapshot_id;
}

/** After `ms` more. */
static void sweep_after(struct lake *lake, int64_t ms)
{
    now_ms += ms;
    assert_ok(sweep_run(lake->sweep, &lake->result, ERR));
    assert_false(lake->result.skipped);
}

static size_t objects(struct lake *lake, const char *prefix)
{
    return fixture_objects(lake->store, prefix);
}

static struct str location_of(struct lake *lake, const char *table)
{
    struct table_name name = fixture_name(table);
    struct catalog_place place;
    assert_ok(catalog_place(lake->catalog, &name, &lake->arena, &place, ERR));
    return place.location_key;
}

static bool exists(struct lake *lake, struct str key)
{
    struct store_info info;
    return store_stat(lake->store, key, &info, NULL) == OK;
}

/** Every snapshot's files are there, down to the data. */
static void assert_readable(struct lake *lake, const char *table)
{
    struct catalog *fresh = fixture_catalog(lake->store);
    struct table_name name = fixture_name(table);
    struct catalog_pin *pin = NULL;
    assert_ok(catalog_pin(fresh, &name, false, NULL, &pin, ERR));
    for (size_t i = 0; i < pin->metadata->snapshot_count; i++) {
        struct catalog_pin *old = NULL;
        struct catalog_files files;
        struct catalog_at at = { .kind = CATALOG_AT_VERSION,
                                 .value = pin->metadata->snapshots[i].id };
        assert_ok(catalog_pin(fresh, &name, false, &at, &old, ERR));
        assert_ok(catalog_files(fresh, old, &lake->arena, &files, ERR));
        for (size_t f = 0; f < files.count; f++) {
            assert_true(exists(lake, files.files[f].key));
        }
        catalog_unpin(old);
    }
    catalog_unpin(pin);
    catalog_close(fresh);
}

/** The only file of the table is replaced by none. */
static void empty_table(struct lake *lake, const char *table)
{
    struct table_name name = fixture_name(table);
    struct catalog_pin *pin = NULL;
    int64_t id = 0;
    assert_ok(catalog_pin(lake->catalog, &name, false, NULL, &pin, ERR));
    const struct catalog_rewrite rewrite = { .name = name,
                                             .operation = "delete",
                                             .uuid = pin->table.uuid,
                                             .snapshot_id = pin->snapshot->id,
                                             .schema_id = pin->metadata->current_schema_id,
                                             .removes_all = true,
                                             .deadline = deadline_in(60000) };
    assert_ok(catalog_rewrite(lake->catalog, &rewrite, &id, ERR));
    catalog_unpin(pin);
}

static void expire_all(struct lake *lake, const char *table)
{
    struct upkeep_expired out;
    const struct upkeep_expire how = { .name = fixture_name(table), .older_than_ms = INT64_MAX };
    assert_ok(catalog_expire_snapshots(lake->catalog, &how, &lake->arena, &out, ERR));
    assert_true(out.snapshots > 0);
    assert_int_equal(out.data_files, 1);
}

static void what_only_expired_snapshots_named_goes_after_the_grace(void **state)
{
    struct lake *lake = *state;
    add(lake, "t", "");
    struct str data = arena_printf(&lake->arena, "%.*s/data/", STR_ARG(location_of(lake, "t")));
    empty_table(lake, "t");
    expire_all(lake, "t");
    sweep_after(lake, DAY - 1);
    assert_int_equal(objects(lake, arena_cstr(&lake->arena, data)), 1);
    sweep_after(lake, 1);
    assert_int_equal(objects(lake, arena_cstr(&lake->arena, data)), 0);
    assert_int_equal(objects(lake, "_lake/trash/"), 0);
    assert_readable(lake, "t");
}

static void what_the_table_names_again_stays_though_it_was_noted(void **state)
{
    struct lake *lake = *state;
    add(lake, "t", "");
    struct catalog_pin *pin = NULL;
    struct catalog_files files;
    struct catalog_appended appended;
    struct table_name name = fixture_name("t");
    assert_ok(catalog_pin(lake->catalog, &name, false, NULL, &pin, ERR));
    assert_ok(catalog_files(lake->catalog, pin, &lake->arena, &files, ERR));
    struct str key = arena_str(&lake->arena, files.files[0].key);
    catalog_unpin(pin);
    empty_table(lake, "t");
    expire_all(lake, "t");
    struct str base = str_skip(key, str_rfind_char(key, '/') + 1);
    struct fixture_append again = {
        .table = "t", .batch = "", .file = arena_cstr(&lake->arena, base), .store = lake->store
    };
    assert_ok(fixture_append(lake->catalog, &again, &lake->arena, &appended, ERR));
    sweep_after(lake, DAY);
    assert_true(exists(lake, key));
    assert_readable(lake, "t");
}

#define T(name) cmocka_unit_test_setup_teardown(name, lake_open, lake_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(what_only_expired_snapshots_named_goes_after_the_grace),
        T(what_the_table_names_again_stays_though_it_was_noted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
