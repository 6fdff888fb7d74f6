/* What a sweep deletes, when, and what it leaves alone. Time is the test's own. */
#include "../catalog/fixture.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "catalog/changes.h"
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
    now_ms = 1750000000000;
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

static void drop(struct lake *lake, const char *table)
{
    struct table_name name = fixture_name(table);
    assert_ok(catalog_drop(lake->catalog, &name, ERR));
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

static struct str put(struct lake *lake, struct str folder, const char *name)
{
    struct str key = arena_printf(&lake->arena, "%.*s/%s", STR_ARG(folder), name);
    assert_ok(store_put(lake->store, key, STR("x"), NULL, NULL, ERR));
    return key;
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

/* --- dropped tables --- */

static void a_dropped_table_goes_after_its_grace_and_no_sooner(void **state)
{
    struct lake *lake = *state;
    add(lake, "t", "one");
    add(lake, "u", "one");
    drop(lake, "t");
    size_t all = objects(lake, "wh/");
    sweep_after(lake, DAY - 1);
    assert_int_equal(objects(lake, "wh/"), all);
    sweep_after(lake, 1);
    assert_int_equal(objects(lake, "wh/"), all / 2);
    assert_int_equal(lake->result.objects, all / 2 + 2); /* its trash and its marker */
    assert_int_equal(objects(lake, "_lake/trash/"), 0);
    assert_int_equal(objects(lake, "_lake/ingest/"), 1);
    assert_readable(lake, "u");
    sweep_after(lake, 10 * DAY);
    assert_int_equal(lake->result.objects + lake->result.noted, 0);
}

static void a_drop_whose_trash_was_never_written_is_found_by_its_tombstone(void **state)
{
    struct lake *lake = *state;
    add(lake, "t", "");
    struct table_summary table;
    struct table_name name = fixture_name("t");
    assert_ok(catalog_find(lake->catalog, &name, false, &lake->arena, &table, ERR));
    drop(lake, "t");
    struct str trash = arena_printf(&lake->arena, "_lake/trash/%.*s/purge.json",
                                    STR_ARG(table.uuid));
    assert_ok(store_delete(lake->store, trash, ERR)); /* as a crash after the swap leaves it */
    sweep_after(lake, 30 * DAY);
    assert_true(exists(lake, trash));
    assert_true(objects(lake, "wh/") > 0); /* the grace begins now */
    sweep_after(lake, DAY);
    assert_int_equal(objects(lake, "wh/"), 0);
}

static void a_name_made_again_does_not_hide_what_was_dropped(void **state)
{
    struct lake *lake = *state;
    add(lake, "t", "");
    struct table_summary table;
    struct table_name name = fixture_name("t");
    assert_ok(catalog_find(lake->catalog, &name, false, &lake->arena, &table, ERR));
    struct str old = location_of(lake, "t");
    drop(lake, "t");
    assert_ok(store_delete(
        lake->store, arena_printf(&lake->arena, "_lake/trash/%.*s/purge.json", STR_ARG(table.uuid)),
        ERR));
    add(lake, "t", "");
    sweep_after(lake, DAY);
    assert_int_equal(objects(lake, arena_cstr(&lake->arena, old)), 0);
    assert_readable(lake, "t");
}

static void what_gc_enabled_false_forbids_is_left_alone(void **state)
{
    struct lake *lake = *state;
    add(lake, "t", "one");
    fixture_edit(lake->store, "t", "\"properties\":{", "\"properties\":{\"gc.enabled\":\"false\",");
    put(lake, location_of(lake, "t"), "data/orphan.parquet");
    size_t all = objects(lake, "wh/");
    sweep_after(lake, 30 * DAY);
    sweep_after(lake, 30 * DAY);
    assert_int_equal(objects(lake, "wh/"), all);
    drop(lake, "t");
    sweep_after(lake, 30 * DAY);
    sweep_after(lake, 30 * DAY);
    assert_int_equal(objects(lake, "wh/"), all);
    assert_int_equal(objects(lake, "_lake/ingest/"), 1);
}

/* --- orphans --- */

static void an_orphan_goes_when_it_is_old_and_its_grace_is_over(void **state)
{
    struct lake *lake = *state;
    add(lake, "t", "");
    struct str orphan = put(lake, location_of(lake, "t"), "data/orphan.parquet");
    sweep_after(lake, 3 * DAY - 1);
    assert_int_equal(lake->result.noted, 0);
    sweep_after(lake, 1);
    assert_int_equal(lake->result.noted, 1);
    sweep_after(lake, DAY - 1);
    assert_int_equal(lake->result.noted, 0); /* once is enough */
    assert_true(exists(lake, orphan));
    sweep_after(lake, 1);
    assert_false(exists(lake, orphan));
    assert_int_equal(lake->result.objects, 2);
    assert_readable(lake, "t");
    add(lake, "t", ""); /* the fence has not hurt the table */
    assert_int_equal(fixture_rows(lake->catalog, "t"), 2);
}

static void what_became_unreferenced_a_moment_ago_has_its_grace(void **state)
{
    struct lake *lake = *state;
    add(lake, "t", "");
    add(lake, "t", "");
    now_ms += 30 * DAY;
    add(lake, "t", ""); /* expires the two before it */
    size_t all = objects(lake, "wh/");
    sweep_after(lake, DAY - 1);
    assert_int_equal(objects(lake, "wh/"), all);
    sweep_after(lake, 2);
    assert_true(objects(lake, "wh/") < all); /* manifest lists */
    assert_readable(lake, "t");
    assert_int_equal(fixture_rows(lake->catalog, "t"), 3);
}

static void leftovers_of_a_table_that_was_never_made_go(void **state)
{
    struct lake *lake = *state;
    add(lake, "other", "");
    struct str location = location_of(lake, "t");               /* an ingest asks for a place, */
    struct str left = put(lake, location, "data/left.parquet"); /* puts its file, and dies */
    location_of(lake, "v");                                     /* and one dies even before */
    sweep_after(lake, 3 * DAY);
    assert_int_equal(lake->result.noted, 1);
    assert_true(exists(lake, left));
    sweep_after(lake, DAY);
    assert_false(exists(lake, left));
    sweep_after(lake, 1);
    assert_int_equal(objects(lake, "_lake/minted/"), 0);
    add(lake, "t", ""); /* the name is free */
    assert_int_equal(fixture_rows(lake->catalog, "t"), 1);
}

static void a_folder_that_was_not_minted_is_never_swept(void **state)
{
    struct lake *lake = *state;
    add(lake, "t", "");
    struct str staged = put(lake, STR("wh/main/main/staged-12345678"), "data/a.parquet");
    struct str client = put(lake, STR("in"), "a.parquet");
    sweep_after(lake, 100 * DAY);
    sweep_after(lake, 100 * DAY);
    assert_true(exists(lake, staged) && exists(lake, client));
}

static void a_file_of_another_tables_folder_that_a_table_names_stays(void **state)
{
    struct lake *lake = *state;
    /* Two first appends at once: the second's file lies in the folder of a table that never was. */
    struct catalog_place first, second;
    struct table_name name = fixture_name("t");
    assert_ok(catalog_place(lake->catalog, &name, &lake->arena, &second, ERR));
    assert_ok(catalog_place(lake->catalog, &name, &lake->arena, &first, ERR));
    add(lake, "t", "");
    struct str far = put(lake, second.location_key, "data/far.parquet");
    struct ice_data_file file = { .path = far,
                                  .format = STR("PARQUET"),
                                  .record_count = 1,
                                  .size_bytes = 1,
                                  .sort_order_id = -1,
                                  .status = ICE_ADDED,
                                  .snapshot_id = -1,
                                  .sequence_number = -1,
                                  .file_sequence_number = -1 };
    struct catalog_append append = { .name = name,
                                     .schema = fixture_schema(&lake->arena, NULL),
                                     .files = &file,
                                     .file_count = 1,
                                     .create = true,
                                     .place = &second,
                                     .batch_id = STR_EMPTY };
    struct catalog_appended out;
    assert_ok(catalog_append(lake->catalog, &append, &lake->arena, &out, ERR));
    sweep_after(lake, 10 * DAY);
    sweep_after(lake, 10 * DAY);
    assert_true(exists(lake, far));
    assert_readable(lake, "t");
    drop(lake, "t");
    for (int i = 0; i < 4; i++) {
        sweep_after(lake, 4 * DAY);
    }
    assert_false(exists(lake, far));
    assert_int_equal(objects(lake, "wh/"), 0);
}

static void statistics_and_the_metadata_log_count_as_named(void **state)
{
    struct lake *lake = *state;
    add(lake, "t", "");
    add(lake, "t", "");
    struct str stats = put(lake, location_of(lake, "t"), "metadata/a.stats");
    struct str root = store_root_uri(lake->store);
    char entry[512];
    snprintf(entry, sizeof(entry),
             "\"statistics\":[{\"snapshot-id\":1,\"statistics-path\":\"%.*s/%.*s\"}", STR_ARG(root),
             STR_ARG(stats));
    fixture_edit(lake->store, "t", "\"statistics\":[", entry);
    size_t all = objects(lake, "wh/");
    sweep_after(lake, 30 * DAY);
    /* The version that was replaced by hand is in no log: it alone is an orphan. */
    assert_int_equal(lake->result.noted, 1);
    sweep_after(lake, 30 * DAY);
    assert_int_equal(objects(lake, "wh/"), all - 1);
    assert_true(exists(lake, stats));
    assert_readable(lake, "t");
}

static void a_path_outside_the_lake_stops_what_depends_on_it(void **state)
{
    struct lake *lake = *state;
    add(lake, "t", "");
    add(lake, "u", "");
    drop(lake, "u");
    struct str orphan = put(lake, location_of(lake, "t"), "data/orphan.parquet");
    fixture_edit(lake->store, "t", "\"metadata-log\":[",
                 "\"metadata-log\":[{\"timestamp-ms\":1,\"metadata-file\":\"gs://else/x\"}");
    now_ms += 30 * DAY;
    assert_kind(sweep_run(lake->sweep, &lake->result, ERR), E_INVALID);
    assert_non_null(strstr(fixture_err.msg, "gs://else/x"));
    assert_true(exists(lake, orphan));
    assert_int_equal(lake->result.noted, 0);
    /* What was dropped has nothing to do with it. */
    assert_true(lake->result.objects > 0);
    assert_readable(lake, "t");
}

/** A table whose log names `file` as an old metadata file, and lets it fall out. */
static void drop_from_log(struct lake *lake, const char *table, struct str file)
{
    struct catalog_loaded loaded;
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    struct str entry = arena_printf(
        &lake->arena, "\"metadata-log\":[{\"timestamp-ms\":1,\"metadata-file\":\"%.*s\"},",
        STR_ARG(file));
    add(lake, table, ""); /* the log is not empty */
    fixture_edit(lake->store, table, "\"metadata-log\":[", arena_cstr(&lake->arena, entry));
    assert_ok(json_parse(STR("[{\"action\":\"set-properties\",\"updates\":"
                             "{\"write.metadata.previous-versions-max\":\"1\"}}]"),
                         &doc, ERR));
    struct catalog_change change = { .name = fixture_name(table),
                                     .updates = yyjson_doc_get_root(doc) };
    assert_ok(catalog_change_table(lake->catalog, &change, 0, &lake->arena, &loaded, ERR));
    buf_done(&loaded.metadata);
}

static void what_metadata_names_outside_of_its_own_folder_is_not_thrown_away(void **state)
{
    struct lake *lake = *state;
    struct table_name name = fixture_name("victim");
    struct table_summary victim;
    add(lake, "t", "");
    add(lake, "victim", "");
    struct str object = put(lake, STR("bucket"), "metadata/object");
    assert_ok(catalog_find(lake->catalog, &name, false, &lake->arena, &victim, ERR));
    struct str root = str_take(victim.metadata_location,
                               str_find(victim.metadata_location, STR("/wh/")));
    drop_from_log(lake, "t", victim.metadata_location);
    drop_from_log(lake, "t",
                  arena_printf(&lake->arena, "%.*s/%.*s", STR_ARG(root), STR_ARG(object)));
    size_t own = objects(lake, "wh/");
    for (int i = 0; i < 3; i++) {
        sweep_after(lake, 30 * DAY);
    }
    assert_true(exists(lake, object));
    assert_readable(lake, "victim");
    assert_readable(lake, "t");
    assert_true(objects(lake, "wh/") < own); /* its own old files went */
}

static void a_table_in_a_transaction_is_left_alone(void **state)
{
    struct lake *lake = *state;
    struct str key = STR("_lake/cat/main/ns/main/t/t.json");
    struct str record = STR("{\"format\":1,\"id\":\"1\",\"state\":\"pending\",\"keys\":[]}");
    add(lake, "t", "");
    struct str orphan = put(lake, location_of(lake, "t"), "data/orphan.parquet");
    struct buf body;
    buf_init(&body, 0);
    assert_ok(store_read(lake->store, key, NULL, &body, NULL, ERR));
    struct str held = arena_printf(&lake->arena, "{\"tx\":{\"id\":\"1\",\"next\":%.*s},%.*s",
                                   STR_ARG(buf_str(&body)), STR_ARG(str_skip(buf_str(&body), 1)));
    assert_ok(store_put(lake->store, STR("_lake/cat/main/tx/1.json"), record, NULL, NULL, ERR));
    assert_ok(store_put(lake->store, key, held, NULL, NULL, ERR));
    now_ms += 30 * DAY;
    /* what holds it may still land: nobody can tell what is referenced */
    assert_kind(sweep_run(lake->sweep, &lake->result, ERR), E_UNAVAILABLE);
    assert_int_equal(lake->result.noted, 0);
    /* the one that made it is dead: it is aborted by whoever has looked for long enough */
    sweep_after(lake, DAY);
    assert_int_equal(lake->result.noted, 1);
    sweep_after(lake, 2 * DAY);
    assert_false(exists(lake, orphan));
    assert_readable(lake, "t");
    assert_int_equal(fixture_objects(lake->store, "_lake/cat/main/tx/"), 0);
    add(lake, "t", "");
    assert_int_equal(fixture_rows(lake->catalog, "t"), 2);
    buf_done(&body);
}

static void snapshots_beside_the_line_of_history_keep_their_files(void **state)
{
    struct lake *lake = *state;
    char from[64], to[64];
    int64_t first = add(lake, "t", "first");
    int64_t second = add(lake, "t", "second");
    now_ms += 4 * DAY;
    int64_t third = add(lake, "t", "third");
    for (int i = 0; i < 2; i++) { /* rolled back to the first: current-snapshot-id and the ref */
        const char *member = i == 0 ? "\"current-snapshot-id\":" : "\"main\":{\"snapshot-id\":";
        snprintf(from, sizeof(from), "%s%lld", member, (long long)third);
        snprintf(to, sizeof(to), "%s%lld", member, (long long)first);
        fixture_edit(lake->store, "t", from, to);
    }
    now_ms += 36 * HOUR;
    add(lake, "t", "fourth"); /* the first two are too old now, the third is not */
    struct catalog_pin *pin = NULL;
    struct table_name name = fixture_name("t");
    assert_ok(catalog_pin(lake->catalog, &name, false, NULL, &pin, ERR));
    assert_null(ice_metadata_snapshot(pin->metadata, second));
    assert_non_null(ice_metadata_snapshot(pin->metadata, third));
    catalog_unpin(pin);
    for (int i = 0; i < 4; i++) {
        sweep_after(lake, 30 * HOUR);
        assert_readable(lake, "t");
    }
}

static void markers_of_what_was_rolled_back_go(void **state)
{
    struct lake *lake = *state;
    char from[64], to[64];
    int64_t first = add(lake, "t", "first");
    int64_t second = add(lake, "t", "second");
    add(lake, "t", "");
    now_ms += HOUR;
    sweep_after(lake, 2 * DAY);
    assert_int_equal(objects(lake, "_lake/ingest/"), 2);
    snprintf(from, sizeof(from), "\"parent-snapshot-id\":%lld", (long long)second);
    snprintf(to, sizeof(to), "\"parent-snapshot-id\":%lld", (long long)first);
    fixture_edit(lake->store, "t", from, to); /* as if the third had been made on the first */
    sweep_after(lake, DAY);
    assert_int_equal(objects(lake, "_lake/ingest/"), 1);
    assert_true(fixture_add(lake->catalog, "t", "first", &lake->arena).deduplicated);
    assert_false(fixture_add(lake->catalog, "t", "second", &lake->arena).deduplicated);
}

/* --- metadata that never became the table's --- */

static void unswapped_metadata_above_the_version_goes_soon(void **state)
{
    struct lake *lake = *state;
    add(lake, "t", "");
    struct str lost = put(lake, location_of(lake, "t"),
                          "metadata/00001-6a1c2a4e-6f6e-4b43-8f57-51b6f1e1d0aa.metadata.json");
    sweep_after(lake, 9 * 60 * 1000);
    assert_true(exists(lake, lost));
    sweep_after(lake, 60 * 1000);
    assert_false(exists(lake, lost));
    add(lake, "t", "");
    sweep_after(lake, HOUR);
    assert_readable(lake, "t");
}

/* --- swaps that are still on their way --- */

#define POINTER STR("_lake/cat/main/ns/main/t/t.json")

static struct str read_pointer(struct lake *lake, struct store_info *info)
{
    struct buf body;
    buf_init(&body, 0);
    assert_ok(store_read(lake->store, POINTER, NULL, &body, info, ERR));
    struct str copy = arena_str(&lake->arena, buf_str(&body));
    buf_done(&body);
    return copy;
}

/** An append whose files are written and whose swap is late: *swap_out is to land on *etag_out. */
static void late_append(struct lake *lake, struct str *swap_out, struct store_info *base)
{
    struct store_info after;
    add(lake, "t", "");
    struct str before = read_pointer(lake, base);
    add(lake, "t", "");
    *swap_out = read_pointer(lake, &after);
    assert_ok(store_put(lake->store, POINTER, before, NULL, NULL, ERR));
    assert_string_equal((read_pointer(lake, &after), after.etag), base->etag);
}

static void a_late_swap_cannot_bring_back_what_was_noted(void **state)
{
    struct lake *lake = *state;
    struct str swap;
    struct store_info base;
    late_append(lake, &swap, &base);
    sweep_after(lake, 3 * DAY);
    assert_int_equal(lake->result.noted, 3);   /* data, manifest, list */
    assert_int_equal(lake->result.objects, 1); /* its metadata is of a version never reached */
    assert_kind(store_put(lake->store, POINTER, swap,
                          &(struct store_cond){ .if_match = str_of(base.etag) }, NULL, ERR),
                E_PRECONDITION);
    sweep_after(lake, DAY);
    assert_int_equal(fixture_rows(lake->catalog, "t"), 1);
    assert_readable(lake, "t");
}

static void a_late_swap_that_lands_before_the_note_keeps_its_files(void **state)
{
    struct lake *lake = *state;
    struct str swap;
    struct store_info base;
    late_append(lake, &swap, &base);
    now_ms += 3 * DAY;
    assert_ok(store_put(lake->store, POINTER, swap,
                        &(struct store_cond){ .if_match = str_of(base.etag) }, NULL, ERR));
    sweep_after(lake, DAY);
    sweep_after(lake, DAY);
    assert_int_equal(fixture_rows(lake->catalog, "t"), 2);
    assert_readable(lake, "t");
}

static void a_late_creation_cannot_bring_back_what_was_noted(void **state)
{
    struct lake *lake = *state;
    struct store_info info;
    add(lake, "t", "");
    struct str location = location_of(lake, "t");
    struct str swap = read_pointer(lake, &info);
    struct table_summary table;
    struct table_name name = fixture_name("t");
    assert_ok(catalog_find(lake->catalog, &name, false, &lake->arena, &table, ERR));
    assert_ok(store_delete(lake->store, POINTER, ERR)); /* it has never been there: */
    struct str claim = arena_printf(&lake->arena, "_lake/minted/%.*s.json", STR_ARG(location));
    struct str body = arena_printf(&lake->arena,
                                   "{\"format\":1,\"table_uuid\":\"%.*s\",\"location\":\"%.*s\","
                                   "\"namespace\":\"main\",\"name\":\"t\"}",
                                   STR_ARG(table.uuid), STR_ARG(location));
    assert_ok(store_put(lake->store, claim, body, NULL, NULL, ERR));
    sweep_after(lake, 3 * DAY);
    assert_int_equal(lake->result.noted, 4);
    assert_kind(
        store_put(lake->store, POINTER, swap, &(struct store_cond){ .if_absent = true }, NULL, ERR),
        E_PRECONDITION);
    sweep_after(lake, DAY);
    sweep_after(lake, DAY);
    assert_int_equal(objects(lake, "wh/") + objects(lake, "_lake/minted/"), 0);
    add(lake, "t", ""); /* the name is free */
    assert_readable(lake, "t");
}

/* --- several at once --- */

static void one_sweeps_at_a_time_and_a_dead_ones_lease_ends(void **state)
{
    struct lake *lake = *state;
    struct sweep *other = make_sweep(lake);
    add(lake, "t", "");
    assert_ok(store_put(lake->store, STR("_lake/sweep.json"),
                        STR("{\"format\":1,\"state\":\"running\",\"holder\":\"somebody\"}"), NULL,
                        NULL, ERR));
    assert_ok(sweep_run(other, &lake->result, ERR));
    assert_true(lake->result.skipped);
    now_ms += 10 * 60 * 1000 + 1;
    assert_ok(sweep_run(other, &lake->result, ERR));
    assert_false(lake->result.skipped);
    sweep_free(other);
}

static void a_clock_set_back_deletes_nothing_sooner(void **state)
{
    struct lake *lake = *state;
    add(lake, "t", "");
    drop(lake, "t");
    size_t all = objects(lake, "wh/");
    now_ms -= HOUR;
    sweep_after(lake, DAY); /* an hour is missing */
    assert_int_equal(objects(lake, "wh/"), all);
    sweep_after(lake, HOUR);
    assert_int_equal(objects(lake, "wh/"), 0);
}

static bool never(void *ctx)
{
    (void)ctx;
    return false;
}

static void a_run_that_is_told_to_stop_stops(void **state)
{
    struct lake *lake = *state;
    struct sweep *sweep = NULL;
    add(lake, "t", "");
    drop(lake, "t");
    size_t all = objects(lake, "wh/");
    assert_ok(sweep_new(
        &(struct sweep_opts){
            .store = lake->store, .catalog = lake->catalog, .clock = &test_clock, .go_on = never },
        &sweep, ERR));
    now_ms += 2 * DAY;
    assert_kind(sweep_run(sweep, &lake->result, ERR), E_CANCELED);
    assert_int_equal(objects(lake, "wh/"), all);
    sweep_free(sweep);
    sweep_after(lake, 0); /* its lease is not in the way */
    assert_int_equal(objects(lake, "wh/"), 0);
}

/* --- whatever fails, nothing that lives goes, and the next sweep makes up for it --- */

struct faults {
    long left; /* operations until one fails; below 0: none */
    bool happened;
};

static enum status fail_nth(void *ctx, const char *op, struct str key, struct err *err)
{
    struct faults *faults = ctx;
    (void)op;
    if (faults->left-- != 0) {
        return OK;
    }
    faults->happened = true;
    return err_set(err, E_UPSTREAM, "\"%.*s\" is too far away", STR_ARG(key));
}

/** A lake with something of each kind to do, days later. */
static struct lake *messy_lake(struct faults *faults)
{
    struct lake *lake = test_calloc(1, sizeof(*lake));
    arena_init(&lake->arena, 0);
    now_ms = 1750000000000;
    assert_ok(store_mem_open(
        &(struct store_mem_opts){ .clock = &test_clock, .hook = { fail_nth, faults } },
        &lake->store, ERR));
    assert_ok(catalog_local_open(
        &(struct catalog_local_opts){ .store = lake->store, .clock = &test_clock }, &lake->catalog,
        ERR));
    lake->sweep = make_sweep(lake);
    add(lake, "t", "one");
    add(lake, "t", "two");
    add(lake, "u", "one");
    drop(lake, "u");
    put(lake, location_of(lake, "t"), "data/orphan.parquet");
    put(lake, location_of(lake, "v"), "data/left.parquet");
    now_ms += 3 * DAY;
    return lake;
}

/** True when a fault was met. */
static bool sweep_with_fault(long nth, bool of_memory)
{
    struct faults faults = { .left = -1 };
    struct lake *lake = messy_lake(&faults);
    bool happened = false;
    if (of_memory) {
        mem_fail_nth(nth);
    } else {
        faults.left = nth;
    }
    enum status status = sweep_run(lake->sweep, &lake->result, ERR);
    happened = of_memory ? mem_fail_happened() : faults.happened;
    mem_fail_nth(-1);
    faults.left = -1;
    assert_true(status == OK || happened);
    assert_readable(lake, "t");
    for (int i = 0; i < 4; i++) {
        sweep_after(lake, 4 * DAY);
        assert_readable(lake, "t");
    }
    assert_int_equal(objects(lake, "wh/"), 2 * 4);
    assert_int_equal(objects(lake, "_lake/trash/") + objects(lake, "_lake/minted/"), 0);
    assert_int_equal(fixture_rows(lake->catalog, "t"), 2);
    void *state = lake;
    lake_close(&state);
    return happened;
}

static void a_lack_of_memory_harms_nothing(void **state)
{
    long nth = 0;
    while (sweep_with_fault(nth, true)) {
        nth += nth < 100 ? 1 : 13; /* all of the beginning, and samples of the rest */
        assert_true(nth < 100000);
    }
    assert_true(nth > 100);
}

static void a_store_that_stumbles_harms_nothing(void **state)
{
    long nth = 0;
    while (sweep_with_fault(nth, false)) {
        nth++;
        assert_true(nth < 10000);
    }
    assert_true(nth > 10);
}

/* --- the thread --- */

struct reported {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    int runs;
};

static void report(void *ctx, const struct sweep_result *result, enum status status,
                   const struct err *err)
{
    struct reported *reported = ctx;
    pthread_mutex_lock(&reported->lock);
    reported->runs += status == OK && !result->skipped;
    pthread_cond_signal(&reported->wake);
    pthread_mutex_unlock(&reported->lock);
}

static void the_thread_sweeps_and_stops(void **state)
{
    struct lake *lake = *state;
    struct reported reported = { .lock = PTHREAD_MUTEX_INITIALIZER,
                                 .wake = PTHREAD_COND_INITIALIZER };
    struct sweeper *sweeper = NULL;
    add(lake, "t", "");
    drop(lake, "t");
    now_ms += 2 * DAY;
    assert_ok(sweeper_start(&(struct sweeper_opts){ .sweep = { .store = lake->store,
                                                               .catalog = lake->catalog,
                                                               .clock = &test_clock,
                                                               .interval_ms = 24 * HOUR },
                                                    .first_ms = 1,
                                                    .report = report,
                                                    .report_ctx = &reported },
                            &sweeper, ERR));
    pthread_mutex_lock(&reported.lock);
    while (reported.runs == 0) {
        pthread_cond_wait(&reported.wake, &reported.lock);
    }
    pthread_mutex_unlock(&reported.lock);
    sweeper_stop(sweeper); /* which is a day away from its next run */
    assert_int_equal(objects(lake, "wh/"), 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, lake_open, lake_close)

static void records_of_transactions_go_when_they_are_an_hour_old(void **state)
{
    struct lake *lake = *state;
    static const char updates[] = "[{\"action\":\"set-properties\",\"updates\":{\"a\":\"b\"}}]";
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    (void)add(lake, "t", "1");
    (void)add(lake, "u", "1");
    assert_ok(json_parse(str_of(updates), &doc, ERR));
    struct catalog_change changes[] = {
        { .name = fixture_name("t"), .updates = yyjson_doc_get_root(doc) },
        { .name = fixture_name("u"), .updates = yyjson_doc_get_root(doc) },
    };
    assert_ok(catalog_transact(lake->catalog, changes, 2, 0, ERR));
    struct str pending = STR("{\"format\":1,\"id\":\"x\",\"state\":\"pending\",\"keys\":[]}");
    assert_ok(store_put(lake->store, STR("_lake/cat/main/tx/x.json"), pending, NULL, NULL, ERR));
    assert_ok(sweep_run(lake->sweep, &lake->result, ERR));
    assert_int_equal(fixture_objects(lake->store, "_lake/cat/main/tx/"), 2);
    now_ms += 2 * HOUR;
    assert_ok(sweep_run(lake->sweep, &lake->result, ERR));
    assert_int_equal(fixture_objects(lake->store, "_lake/cat/main/tx/"), 1); /* aborted first */
    now_ms += 2 * HOUR;
    assert_ok(sweep_run(lake->sweep, &lake->result, ERR));
    assert_int_equal(fixture_objects(lake->store, "_lake/cat/main/tx/"), 0);
    assert_int_equal(fixture_rows(lake->catalog, "t"), 1);
}

static enum status view_do(struct lake *lake, const char *name, bool create, const char *text)
{
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    struct catalog_loaded loaded;
    assert_ok(json_parse(str_of(text), &doc, ERR));
    struct catalog_create make = { .name = fixture_name(name),
                                   .request = yyjson_doc_get_root(doc) };
    struct catalog_change how = { .name = fixture_name(name), .updates = yyjson_doc_get_root(doc) };
    enum status status = create
                             ? catalog_create_view(lake->catalog, &make, &lake->arena, &loaded, ERR)
                             : catalog_change_view(lake->catalog, &how, 0, &lake->arena, &loaded,
                                                   ERR);
    if (status == OK) {
        buf_done(&loaded.metadata);
    }
    return status;
}

static struct str view_file(struct lake *lake, const char *name)
{
    struct table_name asked = fixture_name(name);
    struct table_summary view;
    assert_ok(catalog_find_view(lake->catalog, &asked, false, &lake->arena, &view, ERR));
    size_t at = str_find(view.metadata_location, STR("wh/"));
    assert_true(at != SIZE_MAX);
    return str_skip(view.metadata_location, at);
}

static void a_views_file_stays_and_what_it_has_left_goes(void **state)
{
    struct lake *lake = *state;
    (void)add(lake, "t", "b");
    assert_ok(view_do(lake, "v", true,
                      "{\"schema\":{\"type\":\"struct\",\"schema-id\":0,\"fields\":[]},"
                      "\"view-version\":{\"version-id\":1,\"timestamp-ms\":1,\"schema-id\":0,"
                      "\"summary\":{},\"default-namespace\":[\"main\"],\"representations\":"
                      "[{\"type\":\"sql\",\"sql\":\"select 1\",\"dialect\":\"duckdb\"}]}}"));
    struct str first = view_file(lake, "v");
    struct str folder = str_take(first, str_find(first, STR("/metadata/")));
    struct str stray = put(lake, folder, "metadata/stray.bin");
    sweep_after(lake, 2 * HOUR);
    assert_true(exists(lake, first) && exists(lake, stray));
    assert_ok(
        view_do(lake, "v", false, "[{\"action\":\"set-properties\",\"updates\":{\"a\":\"b\"}}]"));
    struct str second = view_file(lake, "v");
    sweep_after(lake, 2 * HOUR);
    assert_true(exists(lake, first)); /* it is in its grace */
    sweep_after(lake, 4 * DAY);
    assert_true(exists(lake, second) && !exists(lake, first));
    sweep_after(lake, 2 * DAY);
    sweep_after(lake, 2 * DAY);
    assert_true(exists(lake, second) && !exists(lake, stray));
    assert_int_equal(fixture_rows(lake->catalog, "t"), 1);
    struct table_name name = fixture_name("v");
    assert_ok(catalog_drop_view(lake->catalog, &name, ERR));
    sweep_after(lake, HOUR);
    assert_true(exists(lake, second));
    sweep_after(lake, 2 * DAY);
    assert_false(exists(lake, second));
    assert_int_equal(fixture_rows(lake->catalog, "t"), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_dropped_table_goes_after_its_grace_and_no_sooner),
        T(a_drop_whose_trash_was_never_written_is_found_by_its_tombstone),
        T(a_name_made_again_does_not_hide_what_was_dropped),
        T(what_gc_enabled_false_forbids_is_left_alone),
        T(an_orphan_goes_when_it_is_old_and_its_grace_is_over),
        T(what_became_unreferenced_a_moment_ago_has_its_grace),
        T(leftovers_of_a_table_that_was_never_made_go),
        T(a_folder_that_was_not_minted_is_never_swept),
        T(a_file_of_another_tables_folder_that_a_table_names_stays),
        T(statistics_and_the_metadata_log_count_as_named),
        T(a_path_outside_the_lake_stops_what_depends_on_it),
        T(what_metadata_names_outside_of_its_own_folder_is_not_thrown_away),
        T(a_table_in_a_transaction_is_left_alone),
        T(snapshots_beside_the_line_of_history_keep_their_files),
        T(markers_of_what_was_rolled_back_go),
        T(unswapped_metadata_above_the_version_goes_soon),
        T(a_late_swap_cannot_bring_back_what_was_noted),
        T(a_late_swap_that_lands_before_the_note_keeps_its_files),
        T(a_late_creation_cannot_bring_back_what_was_noted),
        T(one_sweeps_at_a_time_and_a_dead_ones_lease_ends),
        T(a_clock_set_back_deletes_nothing_sooner),
        T(a_run_that_is_told_to_stop_stops),
        T(a_views_file_stays_and_what_it_has_left_goes),
        cmocka_unit_test(a_lack_of_memory_harms_nothing),
        cmocka_unit_test(a_store_that_stumbles_harms_nothing),
        T(records_of_transactions_go_when_they_are_an_hour_old),
        T(the_thread_sweeps_and_stops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
