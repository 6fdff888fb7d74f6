/* Renames and registrations: whatever dies, is late or is lost, a table is under exactly one
 * name. */
#include "chaos.h"
#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>

#include "catalog/care.h"
#include "catalog/changes.h"
#include "catalog/namespace.h"
#include "catalog/rename.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SCHEDULES = 150 };
#else
enum { SCHEDULES = 1500 };
#endif

struct lake {
    struct store *store;
    struct catalog *catalog;
    struct arena arena;
};

/* The n-th write fails: before it happens or after; with `dead` all later ones fail as well. */
static struct {
    long countdown;
    const char *op;
    bool dead, happened;
} fault = { .countdown = -1 };

static enum status fault_at(void *ctx, const char *op, struct str key, struct err *err)
{
    if (fault.happened && fault.dead) {
        return err_set(err, E_UPSTREAM, "the process is dead");
    }
    if (fault.countdown < 0 || strcmp(op, fault.op) != 0 || fault.countdown-- > 0) {
        return OK;
    }
    fault.happened = true;
    return err_set(err, E_UPSTREAM, "made to fail at %s", op);
}

static int lake_open(void **state)
{
    struct lake *lake = test_calloc(1, sizeof(*lake));
    fault.countdown = -1;
    fault.happened = false;
    assert_ok(
        store_mem_open(&(struct store_mem_opts){ .hook = { .at = fault_at } }, &lake->store, ERR));
    lake->catalog = fixture_catalog(lake->store);
    arena_init(&lake->arena, 0);
    *state = lake;
    return 0;
}

static int lake_close(void **state)
{
    struct lake *lake = *state;
    catalog_close(lake->catalog);
    store_close(lake->store);
    arena_done(&lake->arena);
    test_free(lake);
    return 0;
}

static enum status rename_in(struct catalog *catalog, const char *from, const char *to,
                             struct err *err)
{
    struct table_name a = fixture_name(from), b = fixture_name(to);
    bool missing_ns = false;
    return catalog_rename(catalog, CATALOG_TABLE, &a, &b, &missing_ns, err);
}

static enum status find_in(struct catalog *catalog, const char *text, struct arena *arena,
                           struct table_summary *out)
{
    struct table_name name = fixture_name(text);
    return catalog_find(catalog, &name, false, arena, out, ERR);
}

static size_t listed(struct lake *lake)
{
    struct catalog_list list;
    assert_ok(catalog_list(lake->catalog, NULL, &lake->arena, &list, ERR));
    assert_int_equal(list.damaged_count, 0);
    return list.count;
}

static void a_renamed_table_is_the_same_under_another_name(void **state)
{
    struct lake *lake = *state;
    struct table_summary old, now;
    struct catalog_namespace made;
    struct catalog_appended first = fixture_add(lake->catalog, "t", "b1", &lake->arena), again;
    (void)fixture_add(lake->catalog, "t", "b2", &lake->arena);
    assert_ok(find_in(lake->catalog, "t", &lake->arena, &old));
    assert_ok(catalog_namespace_create(lake->catalog, STR("a"), NULL, 0, &lake->arena, &made, ERR));
    assert_ok(
        catalog_namespace_create(lake->catalog, STR("a\037b"), NULL, 0, &lake->arena, &made, ERR));
    static const char *const names[] = { "t", "u", "U", "a\037b.say \"hi\" 50%/#?", "a.t", "t" };
    for (size_t i = 1; i < ARRAY_LEN(names); i++) {
        assert_ok(rename_in(lake->catalog, names[i - 1], names[i], ERR));
        assert_kind(find_in(lake->catalog, names[i - 1], &lake->arena, &now), E_NOT_FOUND);
        assert_ok(find_in(lake->catalog, names[i], &lake->arena, &now));
        assert_true(str_eq(now.uuid, old.uuid) && now.row_count == 2);
        assert_true(str_eq(now.metadata_location, old.metadata_location));
        assert_int_equal(listed(lake), 1);
        assert_int_equal(fixture_rows(lake->catalog, names[i]), 2);
    }
    /* batches are known where it is, and more goes in */
    struct fixture_append repeat = { .table = "t", .batch = "b1" };
    assert_ok(fixture_append(lake->catalog, &repeat, &lake->arena, &again, ERR));
    assert_true(again.deduplicated && again.snapshot_id == first.snapshot_id);
    (void)fixture_add(lake->catalog, "t", "b3", &lake->arena);
    assert_int_equal(fixture_rows(lake->catalog, "t"), 3);
    (void)fixture_add(lake->catalog, "u", "b1", &lake->arena); /* an old name is free */
    assert_int_equal(fixture_rows(lake->catalog, "u"), 1);
}

static void a_name_that_is_taken_or_nowhere_is_refused(void **state)
{
    struct lake *lake = *state;
    struct table_name t = fixture_name("t"), nowhere = fixture_name("nope.t");
    bool missing_ns = false;
    (void)fixture_add(lake->catalog, "t", "", &lake->arena);
    (void)fixture_add(lake->catalog, "u", "", &lake->arena);
    assert_kind(rename_in(lake->catalog, "t", "u", ERR), E_EXISTS);
    assert_kind(rename_in(lake->catalog, "t", "t", ERR), E_EXISTS);
    assert_kind(rename_in(lake->catalog, "t", "U", ERR), E_EXISTS); /* only the case differs */
    assert_kind(rename_in(lake->catalog, "nope", "v", ERR), E_NOT_FOUND);
    assert_kind(rename_in(lake->catalog, "t", "duckdb_x", ERR), E_INVALID);
    assert_kind(rename_in(lake->catalog, "t", "information_schema.x", ERR), E_INVALID);
    assert_kind(catalog_rename(lake->catalog, CATALOG_VIEW, &t,
                               &(struct table_name){ t.ns, STR("v") }, &missing_ns, ERR),
                E_NOT_FOUND);
    assert_false(missing_ns);
    assert_kind(catalog_rename(lake->catalog, CATALOG_TABLE, &t, &nowhere, &missing_ns, ERR),
                E_NOT_FOUND);
    assert_true(missing_ns);
    assert_int_equal(listed(lake), 2);
    assert_int_equal(fixture_rows(lake->catalog, "t"), 1);
}

/* --- every write fails once --- */

/** Under which of the two names it is; it must be one. */
static const char *whereabouts(struct lake *lake, struct str uuid)
{
    struct table_summary t, u;
    bool at_t = find_in(lake->catalog, "t", &lake->arena, &t) == OK && str_eq(t.uuid, uuid);
    bool at_u = find_in(lake->catalog, "n.u", &lake->arena, &u) == OK && str_eq(u.uuid, uuid);
    assert_true(at_t != at_u);
    assert_int_equal(fixture_rows(lake->catalog, at_t ? "t" : "n.u"), 1);
    assert_int_equal(listed(lake), 1);
    return at_t ? "t" : "n.u";
}

static void fresh_process(struct lake *lake)
{
    fault.countdown = -1;
    fault.happened = false;
    catalog_close(lake->catalog);
    lake->catalog = fixture_catalog(lake->store);
}

enum healer { BY_APPEND, BY_CREATE, BY_RENAME, BY_DROP_OF_NAMESPACE, BY_SWEEP, HEALERS };

/** Everything that may come after a process that died in a rename. */
static void heal(struct lake *lake, enum healer healer, struct str uuid)
{
    const char *at = whereabouts(lake, uuid);
    const char *other = strcmp(at, "t") == 0 ? "n.u" : "t";
    struct local *local = (struct local *)lake->catalog;
    struct str key;
    struct catalog_appended out;
    switch (healer) {
    case BY_APPEND: { /* the old client sends its batch again */
        struct fixture_append repeat = { .table = at, .batch = "b1" };
        assert_ok(fixture_append(lake->catalog, &repeat, &lake->arena, &out, ERR));
        assert_true(out.deduplicated);
        out = fixture_add(lake->catalog, at, "b2", &lake->arena);
        assert_true(str_eq(out.uuid, uuid));
        assert_int_equal(fixture_rows(lake->catalog, at), 2);
        break;
    }
    case BY_CREATE: /* another table takes the name that is free */
        out = fixture_add(lake->catalog, other, "b1", &lake->arena);
        assert_true(out.created && !str_eq(out.uuid, uuid));
        assert_int_equal(fixture_rows(lake->catalog, at), 1);
        assert_int_equal(fixture_rows(lake->catalog, other), 1);
        assert_int_equal(listed(lake), 2);
        break;
    case BY_RENAME: /* and back again */
        assert_ok(rename_in(lake->catalog, at, other, ERR));
        assert_string_equal(whereabouts(lake, uuid), other);
        break;
    case BY_DROP_OF_NAMESPACE:
        assert_int_equal(catalog_namespace_drop(lake->catalog, STR("n"), ERR),
                         strcmp(at, "t") == 0 ? OK : E_CONFLICT);
        assert_string_equal(whereabouts(lake, uuid), at);
        break;
    case BY_SWEEP:
        for (int i = 0; i < 2; i++) {
            struct table_name name = fixture_name(i == 0 ? "t" : "n.u");
            struct local_base base;
            assert_ok(pointer_key(&lake->arena, STR("main"), &name, &key, ERR));
            assert_ok(rename_settle(local, key, deadline_in(10000), ERR));
            assert_ok(local_read_raw(local, key, &lake->arena, &base, ERR));
            assert_true(!base.renaming);
        }
        assert_string_equal(whereabouts(lake, uuid), at);
        break;
    case HEALERS:
        break;
    }
}

/** False: the call was over before the n-th write. */
static bool fail_at(long n, const char *op, bool dead, enum healer healer)
{
    void *state = NULL;
    lake_open(&state);
    struct lake *lake = state;
    struct catalog_namespace made;
    struct str uuid = fixture_add(lake->catalog, "t", "b1", &lake->arena).uuid;
    assert_ok(catalog_namespace_create(lake->catalog, STR("n"), NULL, 0, &lake->arena, &made, ERR));
    fault.op = op;
    fault.dead = dead;
    fault.countdown = n;
    enum status status = rename_in(lake->catalog, "t", "n.u", ERR);
    bool happened = fault.happened;
    assert_true(status == OK || dead); /* one fault is got over */
    fresh_process(lake);
    const char *at = whereabouts(lake, uuid);
    assert_true(status != OK || strcmp(at, "n.u") == 0);
    heal(lake, healer, uuid);
    lake_close(&state);
    return happened;
}

static void a_rename_that_died_is_finished_or_taken_back(void **state)
{
    static const char *const ops[] = { "write", "answer" };
    for (int healer = 0; healer < HEALERS; healer++) {
        for (size_t i = 0; i < 2 * ARRAY_LEN(ops); i++) {
            long n = 0;
            while (fail_at(n, ops[i / 2], i % 2 == 1, (enum healer)healer)) {
                n++;
            }
            assert_true(n >= 3);
        }
    }
}

/** What is being renamed right now is in the sweep's list whatever it was called when it looked. */
static void the_sweep_sees_a_table_between_two_names(void **state)
{
    struct lake *lake = *state;
    struct catalog_namespace made;
    struct care_table *tables;
    size_t count;
    struct str uuid = fixture_add(lake->catalog, "t", "b1", &lake->arena).uuid;
    assert_ok(catalog_namespace_create(lake->catalog, STR("n"), NULL, 0, &lake->arena, &made, ERR));
    for (long n = 0; n < 4; n++) {
        fault.op = "write";
        fault.dead = true;
        fault.countdown = n;
        enum status ignored = rename_in(lake->catalog, n < 3 ? "t" : "n.u", n < 3 ? "n.u" : "t",
                                        ERR);
        (void)ignored;
        fresh_process(lake);
        assert_ok(care_tables(lake->catalog, &lake->arena, &tables, &count, ERR));
        size_t keeps = 0;
        for (size_t i = 0; i < count; i++) {
            keeps += str_eq(tables[i].uuid, uuid) && care_names_files(&tables[i]);
        }
        assert_true(keeps >= 1);
        assert_ok(care_clear_up(lake->catalog, ERR)); /* too young to be touched */
        (void)whereabouts(lake, uuid);
    }
}

/* --- registration --- */

static enum status register_in(struct lake *lake, const char *text, struct str location,
                               bool overwrite)
{
    struct catalog_loaded loaded;
    struct catalog_register_metadata request = { .name = fixture_name(text),
                                                 .metadata_location = location,
                                                 .overwrite = overwrite };
    enum status status = catalog_register_metadata(lake->catalog, &request, &lake->arena, &loaded,
                                                   ERR);
    if (status == OK) {
        assert_str(loaded.metadata_location,
                   arena_printf(&lake->arena, "%.*s", STR_ARG(location)).ptr);
        assert_true(loaded.metadata.len > 0);
        buf_done(&loaded.metadata);
    }
    return status;
}

static void a_dropped_table_that_kept_its_files_is_registered_again(void **state)
{
    struct lake *lake = *state;
    struct table_name t = fixture_name("t");
    struct table_summary old, now;
    struct catalog_appended again;
    (void)fixture_add(lake->catalog, "t", "b1", &lake->arena);
    (void)fixture_add(lake->catalog, "t", "b2", &lake->arena);
    assert_ok(find_in(lake->catalog, "t", &lake->arena, &old));
    assert_kind(register_in(lake, "t", old.metadata_location, false), E_EXISTS);
    assert_kind(register_in(lake, "u", old.metadata_location, false), E_INVALID); /* t's folder */
    assert_ok(catalog_drop_table(lake->catalog, &t, false, ERR));
    assert_int_equal(fixture_objects(lake->store, "_lake/trash/"), 0);
    assert_kind(register_in(lake, "nope.t", old.metadata_location, false), E_NOT_FOUND);
    assert_ok(register_in(lake, "t", old.metadata_location, false));
    assert_ok(find_in(lake->catalog, "t", &lake->arena, &now));
    assert_true(str_eq(now.uuid, old.uuid) && now.row_count == 2 && now.file_count == 2);
    struct fixture_append repeat = { .table = "t", .batch = "b2" };
    assert_ok(fixture_append(lake->catalog, &repeat, &lake->arena, &again, ERR));
    assert_true(again.deduplicated);
    (void)fixture_add(lake->catalog, "t", "b3", &lake->arena);
    assert_int_equal(fixture_rows(lake->catalog, "t"), 3);
    /* and back to the metadata of before */
    assert_ok(register_in(lake, "t", old.metadata_location, true));
    assert_int_equal(fixture_rows(lake->catalog, "t"), 2);
    (void)fixture_add(lake->catalog, "t", "b4", &lake->arena); /* a name that no file has */
    assert_int_equal(fixture_rows(lake->catalog, "t"), 3);
    assert_ok(catalog_drop_table(lake->catalog, &t, false, ERR));
    assert_ok(register_in(lake, "other", old.metadata_location, true));
    assert_int_equal(fixture_rows(lake->catalog, "other"), 2);
}

/** Whoever asks for a purge: gc.enabled=false keeps the files, and then also what is known of
 * batches. */
static void a_table_whose_files_are_kept_knows_its_batches_when_it_comes_back(void **state)
{
    struct lake *lake = *state;
    struct table_name t = fixture_name("t");
    struct table_summary table;
    struct catalog_appended again;
    (void)fixture_add(lake->catalog, "t", "b1", &lake->arena);
    fixture_edit(lake->store, "t", "\"properties\":{", "\"properties\":{\"gc.enabled\":\"false\",");
    assert_ok(find_in(lake->catalog, "t", &lake->arena, &table));
    assert_ok(catalog_drop_table(lake->catalog, &t, true, ERR));
    struct store_list list;
    struct store_list_opts markers = { .prefix = STR("_lake/ingest/"), .limit = 10 };
    assert_ok(store_list(lake->store, &markers, &lake->arena, &list, ERR));
    for (size_t i = 0; i < list.object_count; i++) { /* as if the marker had never been written */
        assert_ok(store_delete(lake->store, list.objects[i].key, ERR));
    }
    assert_ok(register_in(lake, "t", table.metadata_location, false));
    struct fixture_append repeat = { .table = "t", .batch = "b1" };
    assert_ok(fixture_append(lake->catalog, &repeat, &lake->arena, &again, ERR));
    assert_true(again.deduplicated);
}

static void what_is_no_metadata_of_the_warehouse_is_not_registered(void **state)
{
    struct lake *lake = *state;
    struct table_summary table;
    struct table_name t = fixture_name("t");
    (void)fixture_add(lake->catalog, "t", "", &lake->arena);
    assert_ok(find_in(lake->catalog, "t", &lake->arena, &table));
    struct str root = store_root_uri(lake->store);
    static const char *const keys[] = { "/_lake/format.json", "/wh/main/main/x/metadata/v1.json",
                                        "/x", "/wh/main/../../x" };
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        struct str uri = arena_printf(&lake->arena, "%.*s%s", STR_ARG(root), keys[i]);
        assert_kind(register_in(lake, "u", uri, false), E_INVALID);
    }
    assert_kind(register_in(lake, "u", STR("file:///etc/passwd"), false), E_INVALID);
    assert_kind(register_in(lake, "u", STR(""), false), E_INVALID);
    /* a file that says it is somewhere else, or no metadata at all */
    AUTO(buf_done) struct buf text;
    buf_init(&text, 0);
    assert_ok(catalog_metadata_text(lake->catalog, table.metadata_location, &text, ERR));
    assert_ok(store_put(lake->store, STR("wh/main/main/x/metadata/1.json"), buf_str(&text), NULL,
                        NULL, ERR));
    assert_ok(
        store_put(lake->store, STR("wh/main/main/x/metadata/2.json"), STR("{}"), NULL, NULL, ERR));
    assert_ok(catalog_drop_table(lake->catalog, &t, false, ERR));
    for (int i = 1; i <= 2; i++) {
        struct str uri = arena_printf(&lake->arena, "%.*s/wh/main/main/x/metadata/%d.json",
                                      STR_ARG(root), i);
        assert_kind(register_in(lake, "u", uri, false), E_INVALID);
    }
    assert_int_equal(listed(lake), 0);
}

/* --- many at once --- */

/* Two tables and four names. Each writer renames whatever it finds to a name that it draws, appends
 * to whatever it finds, or changes two names at once in a transaction, and makes no table. */
enum {
    NAMES = 4,
    TABLES = 2,
    ROUNDS = 5,
    BATCHES = CHAOS_WRITERS_MAX * ROUNDS,
    STEP_MS = 400 /* what the clock goes on with each look */
};
static const char *const draw[NAMES] = { "a", "b", "n.a", "n.c" };

struct schedule {
    struct chaos chaos;
    struct str uuids[TABLES];
    bool acked[BATCHES];      /* appends */
    bool transacted[BATCHES]; /* transactions that somebody was told of */
    struct arena arena;
    struct lake_clock clock;
    int64_t now_ms; /* of the one who has the turn */
    int renamed, transactions;
};
struct writer {
    struct schedule *schedule;
    int index;
};

static int64_t next_ms(void *ctx)
{
    struct schedule *schedule = ctx;
    return schedule->now_ms += STEP_MS;
}

static int64_t wall_ms(void *ctx)
{
    return 1767225600000 + ((struct schedule *)ctx)->now_ms;
}

static enum status open_catalog(struct schedule *schedule, struct store *store, uint64_t seed,
                                struct catalog **out)
{
    schedule->clock = (struct lake_clock){
        .wall_ms = wall_ms, .mono_ms = next_ms, .boot_ms = next_ms, .ctx = schedule
    };
    return catalog_local_open(
        &(struct catalog_local_opts){
            .store = store, .rng_seed = seed | 1, .clock = &schedule->clock, .backoff_max_ms = -1 },
        out, NULL);
}

/** A property on whatever is at two names, on both or on none. */
static enum status transact(struct catalog *catalog, const char *one, const char *other, int index,
                            struct err *err)
{
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    char json[128];
    int len = snprintf(json, sizeof(json),
                       "[{\"action\":\"set-properties\",\"updates\":{\"tx%d\":\"1\"}}]", index);
    assert_ok(json_parse(str_from(json, (size_t)len), &doc, ERR));
    yyjson_val *updates = yyjson_doc_get_root(doc);
    const struct catalog_change changes[] = {
        { .name = fixture_name(one), .updates = updates },
        { .name = fixture_name(other), .updates = updates },
    };
    return catalog_transact(catalog, changes, ARRAY_LEN(changes), 0, err);
}

static enum status append_to(struct catalog *catalog, const char *table, int index, struct err *err)
{
    struct arena arena;
    struct catalog_appended out;
    char batch[16];
    arena_init(&arena, 0);
    snprintf(batch, sizeof(batch), "b%d", index);
    struct fixture_append in = { .table = table, .batch = batch, .no_create = true };
    enum status status = fixture_append(catalog, &in, &arena, &out, err);
    arena_done(&arena);
    return status;
}

static void round_of(struct writer *writer, struct catalog *catalog, int round)
{
    struct schedule *schedule = writer->schedule;
    struct chaos *chaos = &schedule->chaos;
    struct chaos_handle *handle = &chaos->handles[writer->index];
    uint64_t one = rng_below(&chaos->rng, NAMES), other = rng_below(&chaos->rng, NAMES);
    int index = writer->index * ROUNDS + round;
    struct err err = { 0 };
    uint64_t what = rng_below(&chaos->rng, 4);
    if (what >= 2) {
        bool ok = rename_in(catalog, draw[one], draw[other], &err) == OK;
        schedule->renamed += ok && !handle->crashed;
    } else if (what == 1) {
        other = one == other ? (one + 1) % NAMES : other;
        bool ok = transact(catalog, draw[one], draw[other], index, &err) == OK;
        schedule->transacted[index] = ok && !handle->crashed;
        schedule->transactions += schedule->transacted[index];
    } else {
        bool ok = append_to(catalog, draw[one], index, &err) == OK;
        schedule->acked[index] = ok && !handle->crashed;
    }
}

static void *work(void *arg)
{
    struct writer *writer = arg;
    struct chaos *chaos = &writer->schedule->chaos;
    struct chaos_handle *handle = &chaos->handles[writer->index];
    struct catalog *catalog = NULL;
    chaos_begin(chaos, writer->index);
    for (int i = 0; i < ROUNDS; i++) {
        if (catalog == NULL) {
            assert_ok(
                open_catalog(writer->schedule, &handle->base, rng_next(&chaos->rng), &catalog));
        }
        round_of(writer, catalog, i);
        if (handle->crashed) {
            catalog_close(catalog);
            catalog = NULL;
            handle->crashed = false;
        }
    }
    catalog_close(catalog);
    chaos_end(chaos, writer->index);
    return NULL;
}

static void count_changes(struct catalog *catalog, const char *table, int changed[BATCHES])
{
    struct table_name name = fixture_name(table);
    struct catalog_pin *pin = NULL;
    assert_ok(catalog_pin(catalog, &name, false, NULL, &pin, ERR));
    for (int i = 0; i < BATCHES; i++) {
        char key[16];
        snprintf(key, sizeof(key), "tx%d", i);
        changed[i] += ice_metadata_property(pin->metadata, str_of(key)).len > 0;
    }
    catalog_unpin(pin);
}

/** Each table under one name, and every acknowledged append in one of them. With `settle`, after
 * everything that was begun has been cleared up. */
static const char *check(struct schedule *schedule, bool settle)
{
    struct catalog *catalog = NULL;
    const char *broken = NULL;
    int at[TABLES] = { 0 }, changed[BATCHES] = { 0 };
    int64_t rows = 0, acked = 0;
    assert_ok(open_catalog(schedule, schedule->chaos.store, 1, &catalog));
    for (int i = 0; i < NAMES; i++) {
        struct table_summary table;
        struct table_name name = fixture_name(draw[i]);
        struct str key;
        struct local_base base;
        assert_ok(pointer_key(&schedule->arena, STR("main"), &name, &key, ERR));
        if (settle) {
            assert_ok(rename_settle((struct local *)catalog, key, deadline_in(10000), ERR));
            assert_ok(local_read_raw((struct local *)catalog, key, &schedule->arena, &base, ERR));
            broken = base.renaming ? "a rename was not cleared up" : broken;
        }
        enum status status = find_in(catalog, draw[i], &schedule->arena, &table);
        if (status != OK && status != E_NOT_FOUND) {
            broken = "a name cannot be read";
        }
        for (int t = 0; t < TABLES && status == OK; t++) {
            at[t] += str_eq(table.uuid, schedule->uuids[t]);
        }
        rows += status == OK ? fixture_rows(catalog, draw[i]) : 0;
        if (status == OK) {
            count_changes(catalog, draw[i], changed);
        }
    }
    for (int i = 0; i < BATCHES; i++) {
        acked += schedule->acked[i];
        bool whole = changed[i] == TABLES || (changed[i] == 0 && !schedule->transacted[i]);
        broken = whole ? broken : "a transaction is lost, or there by halves";
    }
    for (int t = 0; t < TABLES; t++) {
        broken = at[t] == 0 ? "a table is under no name" : broken;
        broken = at[t] > 1 ? "a table is under two names" : broken;
    }
    broken = rows < TABLES + acked ? "an append that was acknowledged is lost" : broken;
    catalog_close(catalog);
    return broken;
}

static void set_up(struct schedule *schedule)
{
    struct catalog *catalog = NULL;
    struct catalog_namespace made;
    arena_init(&schedule->arena, 0);
    assert_ok(open_catalog(schedule, schedule->chaos.store, 5, &catalog));
    assert_ok(catalog_namespace_create(catalog, STR("n"), NULL, 0, &schedule->arena, &made, ERR));
    for (int i = 0; i < TABLES; i++) {
        schedule->uuids[i] = fixture_add(catalog, draw[i], "first", &schedule->arena).uuid;
    }
    catalog_close(catalog);
}

static bool run_schedule(uint64_t seed, int *renamed, int *transactions)
{
    struct schedule *schedule = test_calloc(1, sizeof(*schedule));
    struct writer writers[CHAOS_WRITERS_MAX];
    void *args[CHAOS_WRITERS_MAX];
    chaos_init(&schedule->chaos, seed, 2 + (int)(seed % (CHAOS_WRITERS_MAX - 1)), NULL);
    set_up(schedule);
    for (int i = 0; i < CHAOS_WRITERS_MAX; i++) {
        writers[i] = (struct writer){ schedule, i };
        args[i] = &writers[i];
    }
    chaos_run(&schedule->chaos, work, args);
    const char *broken = check(schedule, seed % 2 == 0);
    chaos_settle(&schedule->chaos);
    broken = broken == NULL ? check(schedule, false) : broken;
    broken = broken == NULL ? check(schedule, true) : broken;
    if (broken != NULL) {
        print_error("LAKEHOUSE_CHAOS_SEED=%llu: %s\n", (unsigned long long)seed, broken);
    }
    *renamed += schedule->renamed;
    *transactions += schedule->transactions;
    arena_done(&schedule->arena);
    chaos_done(&schedule->chaos);
    test_free(schedule);
    return broken == NULL;
}

static void every_table_is_always_under_one_name(void **state)
{
    const char *one = getenv("LAKEHOUSE_CHAOS_SEED");
    uint64_t first = one == NULL ? 1 : strtoull(one, NULL, 10);
    int renamed = 0, transactions = 0;
    for (uint64_t seed = first; seed < first + (one == NULL ? SCHEDULES : 1); seed++) {
        assert_true(run_schedule(seed, &renamed, &transactions));
    }
    assert_true(one != NULL || (renamed > SCHEDULES / 2 && transactions > SCHEDULES / 4));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_renamed_table_is_the_same_under_another_name, lake_open,
                                        lake_close),
        cmocka_unit_test_setup_teardown(a_name_that_is_taken_or_nowhere_is_refused, lake_open,
                                        lake_close),
        cmocka_unit_test(a_rename_that_died_is_finished_or_taken_back),
        cmocka_unit_test_setup_teardown(the_sweep_sees_a_table_between_two_names, lake_open,
                                        lake_close),
        cmocka_unit_test_setup_teardown(a_dropped_table_that_kept_its_files_is_registered_again,
                                        lake_open, lake_close),
        cmocka_unit_test_setup_teardown(
            a_table_whose_files_are_kept_knows_its_batches_when_it_comes_back, lake_open,
            lake_close),
        cmocka_unit_test_setup_teardown(what_is_no_metadata_of_the_warehouse_is_not_registered,
                                        lake_open, lake_close),
        cmocka_unit_test(every_table_is_always_under_one_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
