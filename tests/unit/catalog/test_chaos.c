/*
 * The commit protocol under crashes, lost answers, late and repeated writes: thousands of random
 * schedules of several writers, each checked for what must always hold. A failure prints its seed;
 * LAKEHOUSE_CHAOS_SEED=<seed> runs that schedule alone, LAKEHOUSE_CHAOS_SCHEDULES sets how many
 * run.
 */
#include "chaos.h"
#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SCHEDULES = 300 }; /* sanitizers make each some eight times slower */
#else
enum { SCHEDULES = 2000 };
#endif

enum {
    TABLES = 2,
    BATCHES_PER_WRITER = 4,
    BATCHES = CHAOS_WRITERS_MAX * BATCHES_PER_WRITER,
    TRIES = 3
};

static const char *const table_names[TABLES] = { "t", "u" };

struct batch {
    int table;
    bool acked;   /* somebody was told that it landed */
    bool unknown; /* somebody was told nothing, or that nobody knows */
    bool sent;
};

struct schedule {
    struct chaos chaos;
    struct batch batches[BATCHES];
    const char *fault; /* the first broken promise */
    char text[2 * ERR_MESSAGE_MAX];
};

struct writer {
    struct schedule *schedule;
    int index;
};

static void blame(struct schedule *schedule, const char *fault, int batch, const char *detail)
{
    if (schedule->fault == NULL) {
        snprintf(schedule->text, sizeof(schedule->text), "batch %d: %s (%s)", batch, fault, detail);
        schedule->fault = schedule->text;
    }
}

static enum status open_catalog(struct store *store, uint64_t seed, struct catalog **out)
{
    return catalog_local_open(
        &(struct catalog_local_opts){ .store = store, .rng_seed = seed | 1, .backoff_max_ms = -1 },
        out, NULL);
}

/** One try of a client to get its batch in: a fresh file each time, as an upload that is sent again
 * has. */
static void try_batch(struct schedule *schedule, struct writer *writer, struct catalog *catalog,
                      int index, int try)
{
    struct batch *batch = &schedule->batches[index];
    struct chaos_handle *handle = &schedule->chaos.handles[writer->index];
    struct arena arena;
    arena_init(&arena, 0);
    char id[32], file[64];
    snprintf(id, sizeof(id), "batch-%d", index);
    snprintf(file, sizeof(file), "b%d-w%d-%d.parquet", index, writer->index, try);
    struct fixture_append in = { .table = table_names[batch->table], .batch = id, .file = file };
    struct catalog_appended out;
    struct err err = { 0 };
    batch->sent = true;
    enum status status = fixture_append(catalog, &in, &arena, &out, &err);
    if (handle->crashed) {
        batch->unknown = true; /* its client saw the connection break */
    } else if (status == OK) {
        batch->acked = true;
    } else if (strstr(err.msg, "outcome is unknown") != NULL) {
        batch->unknown = true;
    }
    arena_done(&arena);
}

static void *write_batches(void *arg)
{
    struct writer *writer = arg;
    struct schedule *schedule = writer->schedule;
    struct chaos *chaos = &schedule->chaos;
    chaos_begin(chaos, writer->index);
    struct chaos_handle *handle = &chaos->handles[writer->index];
    struct catalog *catalog = NULL;
    for (int i = 0; i < BATCHES_PER_WRITER; i++) {
        /* Sometimes two writers bring the same batch: a client that was too impatient. */
        int whose = rng_below(&chaos->rng, 4) == 0
                        ? (int)rng_below(&chaos->rng, (uint64_t)chaos->writers)
                        : writer->index;
        int index = whose * BATCHES_PER_WRITER + i;
        for (int try = 0; try < TRIES; try ++) {
            if (catalog == NULL &&
                open_catalog(&handle->base, rng_next(&chaos->rng), &catalog) != OK) {
                blame(schedule, "a catalogue did not open", index, "");
                break;
            }
            try_batch(schedule, writer, catalog, index, try);
            if (handle->crashed) { /* a new process takes over, with nothing in its memory */
                catalog_close(catalog);
                catalog = NULL;
                handle->crashed = false;
            } else if (schedule->batches[index].acked) {
                break;
            }
        }
    }
    catalog_close(catalog);
    chaos_end(chaos, writer->index);
    return NULL;
}

/* --- what must hold --- */

/** How often each batch is in a table, by its files. */
static void count_batches(struct schedule *schedule, struct catalog *catalog, int table,
                          int counts[BATCHES])
{
    struct table_name name = fixture_name(table_names[table]);
    struct catalog_pin *pin = NULL;
    struct catalog_files files;
    struct arena arena;
    struct err err = { 0 };
    arena_init(&arena, 0);
    enum status status = catalog_pin(catalog, &name, false, NULL, &pin, &err);
    if (status != OK && status != E_NOT_FOUND) {
        blame(schedule, "the table cannot be read", -1, err.msg);
    }
    for (size_t i = 0; status == OK && i < pin->metadata->snapshot_count; i++) { /* history too */
        struct catalog_pin *old = NULL;
        struct catalog_at at = { .kind = CATALOG_AT_VERSION,
                                 .value = pin->metadata->snapshots[i].id };
        if (catalog_pin(catalog, &name, false, &at, &old, &err) != OK ||
            catalog_files(catalog, old, &arena, &files, &err) != OK) {
            blame(schedule, "an old snapshot cannot be read", -1, err.msg);
        }
        catalog_unpin(old);
    }
    if (status == OK && catalog_files(catalog, pin, &arena, &files, &err) == OK) {
        for (size_t i = 0; i < files.count; i++) {
            int index = -1;
            struct str key = files.files[i].key;
            sscanf(key.ptr + str_rfind_char(key, '/'), "/b%d-", &index);
            if (index < 0 || index >= BATCHES) {
                blame(schedule, "a file of nobody", index, "");
            } else {
                counts[index]++;
            }
        }
        if ((int64_t)files.count != pin->table.row_count ||
            (int64_t)files.count != pin->table.file_count) {
            blame(schedule, "the summary counts other files than there are", -1, "");
        }
    } else if (status == OK) {
        blame(schedule, "the files of a table cannot be read", -1, err.msg);
    }
    catalog_unpin(pin);
    arena_done(&arena);
}

static void check(struct schedule *schedule, const char *when, bool all_acked)
{
    struct catalog *catalog = NULL;
    int counts[TABLES][BATCHES] = { 0 };
    assert_ok(open_catalog(schedule->chaos.store, 1, &catalog));
    for (int t = 0; t < TABLES; t++) {
        count_batches(schedule, catalog, t, counts[t]);
    }
    for (int i = 0; i < BATCHES; i++) {
        const struct batch *batch = &schedule->batches[i];
        int count = counts[batch->table][i];
        if (counts[1 - batch->table][i] > 0) {
            blame(schedule, "a batch in the wrong table", i, when);
        }
        if (count > 1) {
            blame(schedule, "landed more than once", i, when);
        }
        if (batch->acked && count == 0) {
            blame(schedule, "was acknowledged and is not there", i, when);
        }
        if (!batch->acked && !batch->unknown && count > 0) {
            blame(schedule, "was refused and is there", i, when);
        }
        if (all_acked && batch->sent && !batch->acked) {
            blame(schedule, "did not go in on a healthy store", i, when);
        }
    }
    catalog_close(catalog);
}

/** Clients that were left in doubt send their batch again, to a fresh and healthy catalogue. */
static void send_again(struct schedule *schedule)
{
    struct catalog *catalog = NULL;
    assert_ok(open_catalog(schedule->chaos.store, 3, &catalog));
    for (int i = 0; i < BATCHES; i++) {
        struct batch *batch = &schedule->batches[i];
        if (batch->sent) {
            struct arena arena;
            struct catalog_appended out;
            struct err err = { 0 };
            char id[32], file[64];
            arena_init(&arena, 0);
            snprintf(id, sizeof(id), "batch-%d", i);
            snprintf(file, sizeof(file), "b%d-again.parquet", i);
            struct fixture_append in = { .table = table_names[batch->table],
                                         .batch = id,
                                         .file = file };
            bool ok = fixture_append(catalog, &in, &arena, &out, &err) == OK;
            if (!ok || (batch->acked && !out.deduplicated)) {
                blame(schedule, "was not recognised", i, err.msg);
            }
            batch->acked = batch->acked || ok;
            arena_done(&arena);
        }
    }
    catalog_close(catalog);
}

static bool run_schedule(uint64_t seed)
{
    struct schedule *schedule = test_calloc(1, sizeof(*schedule));
    struct writer writers[CHAOS_WRITERS_MAX];
    void *args[CHAOS_WRITERS_MAX];
    chaos_init(&schedule->chaos, seed, 2 + (int)(seed % (CHAOS_WRITERS_MAX - 1)), NULL);
    for (int i = 0; i < BATCHES; i++) {
        schedule->batches[i].table = (int)rng_below(&schedule->chaos.rng, TABLES);
    }
    for (int i = 0; i < CHAOS_WRITERS_MAX; i++) {
        writers[i] = (struct writer){ schedule, i };
        args[i] = &writers[i];
    }
    chaos_run(&schedule->chaos, write_batches, args);
    check(schedule, "at the end", false);
    chaos_settle(&schedule->chaos);
    check(schedule, "after late writes", false);
    send_again(schedule);
    check(schedule, "after sending again", true);
    bool good = schedule->fault == NULL;
    if (!good) {
        print_error("LAKEHOUSE_CHAOS_SEED=%llu: %s\n", (unsigned long long)seed, schedule->fault);
    }
    chaos_done(&schedule->chaos);
    test_free(schedule);
    return good;
}

/* --- names that differ only by case --- */

static void *make_twin(void *arg)
{
    struct writer *writer = arg;
    struct chaos *chaos = &writer->schedule->chaos;
    struct catalog *catalog = NULL;
    struct catalog_appended out;
    struct arena arena;
    struct err err = { 0 };
    arena_init(&arena, 0);
    chaos_begin(chaos, writer->index);
    assert_ok(open_catalog(&chaos->handles[writer->index].base, rng_next(&chaos->rng), &catalog));
    char table[] = "twin";
    table[writer->index] = (char)(table[writer->index] - 'a' + 'A');
    struct fixture_append in = { .table = table, .batch = "" };
    enum status status = fixture_append(catalog, &in, &arena, &out, &err);
    writer->schedule->batches[writer->index].acked = status == OK;
    if (status != OK && status != E_EXISTS) {
        blame(writer->schedule, "an odd refusal", writer->index, err.msg);
    }
    catalog_close(catalog);
    arena_done(&arena);
    chaos_end(chaos, writer->index);
    return NULL;
}

/** 0: as it should be. Writers that make tWin, Twin, ... at once: at most one of the tables stays,
 * and those that were told so are there. */
static int twin_schedule(uint64_t seed, int *stayed)
{
    struct schedule *schedule = test_calloc(1, sizeof(*schedule));
    struct writer writers[CHAOS_WRITERS_MAX];
    void *args[CHAOS_WRITERS_MAX];
    chaos_init(&schedule->chaos, seed, 2 + (int)(seed % (CHAOS_WRITERS_MAX - 1)), NULL);
    schedule->chaos.crash_in = schedule->chaos.lose_in = schedule->chaos.delay_in = 0;
    schedule->chaos.repeat_in = schedule->chaos.stumble_in = 0;
    for (int i = 0; i < CHAOS_WRITERS_MAX; i++) {
        writers[i] = (struct writer){ schedule, i };
        args[i] = &writers[i];
    }
    chaos_run(&schedule->chaos, make_twin, args);
    struct catalog *catalog = NULL;
    struct catalog_list list;
    struct arena arena;
    int acked = 0;
    arena_init(&arena, 0);
    assert_ok(open_catalog(schedule->chaos.store, 1, &catalog));
    assert_ok(catalog_list(catalog, NULL, &arena, &list, ERR));
    for (int i = 0; i < BATCHES; i++) {
        acked += schedule->batches[i].acked;
    }
    *stayed += (int)list.count;
    int fault = list.count > 1 || (int)list.count != acked || schedule->fault != NULL;
    if (fault) {
        print_error("seed %llu: %zu tables, %d acknowledged %s\n", (unsigned long long)seed,
                    list.count, acked, schedule->fault != NULL ? schedule->fault : "");
    }
    arena_done(&arena);
    catalog_close(catalog);
    chaos_done(&schedule->chaos);
    test_free(schedule);
    return fault;
}

static void of_names_that_differ_by_case_one_stays(void **state)
{
    int stayed = 0;
    for (uint64_t seed = 1; seed <= SCHEDULES; seed++) {
        assert_int_equal(twin_schedule(seed, &stayed), 0);
    }
    assert_true(stayed > SCHEDULES / 2); /* giving way is no way to make nothing */
}

static void no_schedule_breaks_a_promise(void **state)
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
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_schedule_breaks_a_promise),
        cmocka_unit_test(of_names_that_differ_by_case_one_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
