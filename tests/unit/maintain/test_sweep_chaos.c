/*
 * Sweeps under crashes, lost answers, late and repeated writes, beside appends and drops, while
 * days pass: seeded schedules, each checked for what must always hold:
 *
 *   - every file that a snapshot of a live table names is there, down to the data;
 *   - what was acknowledged, and not dropped since, is in its table;
 *   - in the end nothing is left that no table names.
 *
 * A failure prints its seed; LAKEHOUSE_CHAOS_SEED=<seed> runs that schedule alone,
 * LAKEHOUSE_CHAOS_SCHEDULES sets how many run.
 */
#include "../catalog/chaos.h"
#include "../catalog/fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "catalog/refs.h"
#include "maintain/sweep.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SCHEDULES = 100 }; /* sanitizers make each some eight times slower */
#else
enum { SCHEDULES = 600 };
#endif

#define HOUR (3600LL * 1000)
#define DAY (24 * HOUR)

enum { TABLES = 3, DROPPED = 2, STEPS = 10, BATCHES = CHAOS_WRITERS_MAX * STEPS };

/* The last one is dropped now and then. */
static const char *const table_names[TABLES] = { "t", "u", "d" };

struct schedule {
    struct chaos chaos;
    struct lake_clock clock;
    int64_t now_ms;
    int busy; /* appends under way: no days pass meanwhile, as their file is put already */
    bool acked[BATCHES], in_dropped[BATCHES];
    const char *fault; /* the first broken promise */
    char text[2 * ERR_MESSAGE_MAX];
};

struct worker {
    struct schedule *schedule;
    int index;
};

static int64_t schedule_now(void *ctx)
{
    return ((struct schedule *)ctx)->now_ms;
}

static void blame(struct schedule *schedule, const char *fault, const char *detail)
{
    if (schedule->fault == NULL) {
        snprintf(schedule->text, sizeof(schedule->text), "%s (%s)", fault, detail);
        schedule->fault = schedule->text;
    }
}

static struct catalog *open_catalog(struct schedule *schedule, struct store *store)
{
    struct catalog *catalog = NULL;
    assert_ok(catalog_local_open(
        &(struct catalog_local_opts){ .store = store,
                                      .clock = &schedule->clock,
                                      .rng_seed = rng_next(&schedule->chaos.rng) | 1,
                                      .backoff_max_ms = -1 },
        &catalog, ERR));
    return catalog;
}

static enum status sweep_once(struct schedule *schedule, struct store *store,
                              struct catalog *catalog, struct err *err)
{
    struct sweep *sweep = NULL;
    struct sweep_result result;
    assert_ok(sweep_new(
        &(struct sweep_opts){
            .store = store, .catalog = catalog, .clock = &schedule->clock, .look_ms = -1 },
        &sweep, ERR));
    enum status status = sweep_run(sweep, &result, err);
    sweep_free(sweep);
    return status;
}

/* --- what the workers do --- */

static void append(struct worker *worker, struct catalog *catalog, int step)
{
    struct schedule *schedule = worker->schedule;
    struct chaos *chaos = &schedule->chaos;
    int batch = worker->index * STEPS + step;
    int table = (int)rng_below(&chaos->rng, TABLES);
    struct arena arena;
    char id[32], file[64];
    arena_init(&arena, 0);
    snprintf(id, sizeof(id), "batch-%d", batch);
    snprintf(file, sizeof(file), "b%d.parquet", batch);
    struct fixture_append in = { .table = table_names[table],
                                 .batch = id,
                                 .file = file,
                                 .store = &chaos->handles[worker->index].base };
    struct catalog_appended out;
    struct err err = { 0 };
    schedule->busy++;
    enum status status = fixture_append(catalog, &in, &arena, &out, &err);
    schedule->busy--;
    schedule->acked[batch] = status == OK && !chaos->handles[worker->index].crashed;
    schedule->in_dropped[batch] = table == DROPPED;
    arena_done(&arena);
}

static void drop(struct catalog *catalog)
{
    struct table_name name = fixture_name(table_names[DROPPED]);
    enum status ignored = catalog_drop(catalog, &name, NULL);
    (void)ignored;
}

static void pass_time(struct schedule *schedule)
{
    struct rng *rng = &schedule->chaos.rng;
    schedule->now_ms += (int64_t)rng_below(rng, (uint64_t)HOUR);
    if (schedule->busy == 0) {
        /* Files arrive within days, or a folder that was purged would fill again. Swaps may be as
         * late as they like: no fence may rely on time. */
        chaos_settle_but(&schedule->chaos, "_lake/cat/");
        schedule->now_ms += (int64_t)rng_below(rng, (uint64_t)(4 * DAY));
    }
}

static void *work(void *arg)
{
    struct worker *worker = arg;
    struct schedule *schedule = worker->schedule;
    struct chaos *chaos = &schedule->chaos;
    struct chaos_handle *handle = &chaos->handles[worker->index];
    struct catalog *catalog = NULL;
    chaos_begin(chaos, worker->index);
    for (int step = 0; step < STEPS; step++) {
        if (catalog == NULL) {
            catalog = open_catalog(schedule, &handle->base);
        }
        uint64_t what = rng_below(&chaos->rng, 12);
        if (worker->index == 0 || what == 0) {
            pass_time(schedule);
            enum status ignored = sweep_once(schedule, &handle->base, catalog, NULL);
            (void)ignored; /* a storm may end it; it must not do harm */
        } else if (what == 1) {
            drop(catalog);
        } else {
            append(worker, catalog, step);
        }
        if (handle->crashed) { /* a new process takes over, with nothing in its memory */
            catalog_close(catalog);
            catalog = NULL;
            handle->crashed = false;
        }
    }
    catalog_close(catalog);
    chaos_end(chaos, worker->index);
    return NULL;
}

/* --- what must hold --- */

static void count_batch(struct str key, int counts[BATCHES])
{
    int index = -1;
    if (sscanf(key.ptr + str_rfind_char(key, '/'), "/b%d.", &index) == 1 && index < BATCHES) {
        counts[index]++;
    }
}

static void check_snapshot(struct schedule *schedule, struct catalog *catalog,
                           const struct table_name *name, const struct catalog_at *at, int counts[])
{
    struct catalog_pin *pin = NULL;
    struct catalog_files files;
    struct arena arena;
    struct err err = { 0 };
    arena_init(&arena, 0);
    if (catalog_pin(catalog, name, false, at, &pin, &err) != OK ||
        catalog_files(catalog, pin, &arena, &files, &err) != OK) {
        blame(schedule, "a snapshot cannot be read", err.msg);
        files.count = 0;
    }
    for (size_t i = 0; i < files.count; i++) {
        struct store_info info;
        if (store_stat(schedule->chaos.store, files.files[i].key, &info, &err) != OK) {
            blame(schedule, "a data file is gone", err.msg);
        }
        if (counts != NULL) {
            count_batch(files.files[i].key, counts);
        }
    }
    catalog_unpin(pin);
    arena_done(&arena);
}

static void check_table(struct schedule *schedule, struct catalog *catalog, const char *table,
                        int counts[BATCHES])
{
    struct table_name name = fixture_name(table);
    struct catalog_pin *pin = NULL;
    struct err err = { 0 };
    enum status status = catalog_pin(catalog, &name, false, NULL, &pin, &err);
    if (status == E_NOT_FOUND) {
        return;
    }
    if (status != OK) {
        blame(schedule, "a table cannot be read", err.msg);
        return;
    }
    check_snapshot(schedule, catalog, &name, NULL, counts);
    for (size_t i = 0; i < pin->metadata->snapshot_count; i++) {
        struct catalog_at at = { .kind = CATALOG_AT_VERSION,
                                 .value = pin->metadata->snapshots[i].id };
        check_snapshot(schedule, catalog, &name, &at, NULL);
    }
    catalog_unpin(pin);
}

/** By a catalogue that has nothing in its memory. */
static void check(struct schedule *schedule)
{
    struct catalog *catalog = open_catalog(schedule, schedule->chaos.store);
    int counts[BATCHES] = { 0 };
    for (int t = 0; t < TABLES; t++) {
        check_table(schedule, catalog, table_names[t], counts);
    }
    for (int i = 0; i < BATCHES; i++) {
        if (counts[i] > 1 || (schedule->acked[i] && !schedule->in_dropped[i] && counts[i] == 0)) {
            char detail[64];
            snprintf(detail, sizeof(detail), "batch %d, %d times", i, counts[i]);
            blame(schedule, "a batch is there twice, or was acknowledged and is gone", detail);
        }
    }
    catalog_close(catalog);
}

/** On a healthy store, days later. */
static void sweep_clean(struct schedule *schedule)
{
    struct catalog *catalog = open_catalog(schedule, schedule->chaos.store);
    struct err err = { 0 };
    for (int i = 0; i < 8; i++) {
        schedule->now_ms += i % 2 == 0 ? 4 * DAY : 2 * DAY;
        if (sweep_once(schedule, schedule->chaos.store, catalog, &err) != OK) {
            blame(schedule, "a sweep of a healthy store fails", err.msg);
        }
    }
    catalog_close(catalog);
}

static void list_into(struct schedule *schedule, struct arena *arena, const char *prefix,
                      struct store_list *out)
{
    assert_ok(
        store_list(schedule->chaos.store,
                   &(struct store_list_opts){ .prefix = str_of(prefix), .limit = STORE_LIST_MAX },
                   arena, out, ERR));
    assert_false(out->truncated);
}

/** A claim may stay only where a live table names a file in its folder: of two first appends at
 * once the second's lies in the folder that it had been given. */
static void check_claims(struct schedule *schedule, struct arena *arena)
{
    struct store_list claims;
    list_into(schedule, arena, "_lake/minted/", &claims);
    for (size_t i = 0; i < claims.object_count; i++) {
        struct str key = str_skip(claims.objects[i].key, strlen("_lake/minted/"));
        struct str folder = arena_printf(arena, "%.*s/", (int)(key.len - strlen(".json")), key.ptr);
        if (fixture_objects(schedule->chaos.store, arena_cstr(arena, folder)) == 0) {
            blame(schedule, "a claim is left", arena_cstr(arena, folder));
        }
    }
}

/** Nothing is there that no live table names. */
static void check_garbage(struct schedule *schedule)
{
    struct catalog *catalog = open_catalog(schedule, schedule->chaos.store);
    struct reader *reader = NULL;
    struct arena arena;
    struct catalog_list tables;
    struct store_list objects;
    struct map keys;
    size_t pos = 0;
    arena_init(&arena, 0);
    map_init(&keys);
    assert_ok(reader_new(schedule->chaos.store, 0, &reader, ERR));
    assert_ok(catalog_list(catalog, NULL, &arena, &tables, ERR));
    list_into(schedule, &arena, "wh/", &objects);
    for (size_t i = 0; i < objects.object_count; i++) {
        assert_ok(map_put(&keys, objects.objects[i].key, &keys, NULL));
    }
    for (size_t i = 0; i < tables.count; i++) {
        assert_ok(refs_strike(reader, tables.tables[i].metadata_location, true, &keys, ERR));
    }
    if (keys.count > 0) {
        blame(schedule, "garbage is left", arena_cstr(&arena, map_next(&keys, &pos)->key));
    }
    if (fixture_objects(schedule->chaos.store, "_lake/trash/") > 0) {
        blame(schedule, "trash is left", "");
    }
    check_claims(schedule, &arena);
    map_done(&keys);
    reader_free(reader);
    catalog_close(catalog);
    arena_done(&arena);
}

static bool run_schedule(uint64_t seed)
{
    struct schedule *schedule = test_calloc(1, sizeof(*schedule));
    struct worker workers[CHAOS_WRITERS_MAX];
    void *args[CHAOS_WRITERS_MAX];
    schedule->now_ms = 1750000000000;
    schedule->clock = (struct lake_clock){ .wall_ms = schedule_now,
                                           .mono_ms = schedule_now,
                                           .ctx = schedule };
    chaos_init(&schedule->chaos, seed, 2 + (int)(seed % (CHAOS_WRITERS_MAX - 1)), &schedule->clock);
    for (int i = 0; i < CHAOS_WRITERS_MAX; i++) {
        workers[i] = (struct worker){ schedule, i };
        args[i] = &workers[i];
    }
    if (seed % 2 == 0) { /* the one writer's last swap stays on its way while days are swept */
        schedule->chaos.crash_in = 40;
        schedule->chaos.delay_in = 8;
        schedule->chaos.land_in = 400;
    }
    chaos_run(&schedule->chaos, work, args);
    check(schedule);
    chaos_settle(&schedule->chaos);
    check(schedule);
    sweep_clean(schedule);
    check(schedule);
    check_garbage(schedule);
    bool good = schedule->fault == NULL;
    if (!good) {
        print_error("LAKEHOUSE_CHAOS_SEED=%llu: %s\n", (unsigned long long)seed, schedule->fault);
    }
    chaos_done(&schedule->chaos);
    test_free(schedule);
    return good;
}

static void no_schedule_of_sweeps_breaks_a_promise(void **state)
{
    const char *seed = getenv("LAKEHOUSE_CHAOS_SEED"), *many = getenv("LAKEHOUSE_CHAOS_SCHEDULES");
    if (seed != NULL) {
        assert_true(run_schedule(strtoull(seed, NULL, 10)));
        return;
    }
    uint64_t count = many != NULL ? strtoull(many, NULL, 10) : SCHEDULES;
    for (uint64_t i = 1; i <= count; i++) {
        assert_true(run_schedule(i));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(no_schedule_of_sweeps_breaks_a_promise) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
