/*
 * Several tables at once: all or nothing, under crashes, lost answers, late and repeated writes,
 * and beside changes of single tables. A failure prints its seed; LAKEHOUSE_CHAOS_SEED=<seed> runs
 * that schedule alone, LAKEHOUSE_CHAOS_SCHEDULES sets how many run.
 */
#include "chaos.h"
#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "catalog/changes.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SCHEDULES = 100 }; /* sanitizers make each some eight times slower */
#else
enum { SCHEDULES = 1000 };
#endif

enum {
    TABLES = 3,
    PER_WRITER = 3, /* transactions */
    TRIES = 4,
    ATTEMPTS = CHAOS_WRITERS_MAX * PER_WRITER * TRIES + 1, /* the last on a healthy store */
    STEP_MS = 400 /* what the clock goes on with each look: patience is a dozen of them */
};

static const char *const table_names[TABLES] = { "t", "u", "v" };

#define COLUMNS                                                                                    \
    "\"schema\":{\"type\":\"struct\",\"schema-id\":0,\"fields\":["                                 \
    "{\"id\":1,\"name\":\"id\",\"required\":false,\"type\":\"long\"}]}"

/** One request: the snapshots that it adds have ids of its own. */
struct attempt {
    bool in[TABLES]; /* the tables that it changes */
    bool makes;      /* also a table of its own */
    bool sent, acked, unknown;
};

struct schedule {
    struct chaos chaos;
    struct attempt attempts[ATTEMPTS];
    int64_t now_ms;    /* of the one who has the turn */
    const char *fault; /* the first broken promise */
    char text[2 * ERR_MESSAGE_MAX];
};

struct writer {
    struct schedule *schedule;
    int index;
    struct lake_clock clock;
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

static struct lake_clock clock_of(struct schedule *schedule)
{
    return (struct lake_clock){
        .wall_ms = wall_ms, .mono_ms = next_ms, .boot_ms = next_ms, .ctx = schedule
    };
}

static void blame(struct schedule *schedule, const char *fault, int attempt, const char *detail)
{
    if (schedule->fault == NULL) {
        snprintf(schedule->text, sizeof(schedule->text), "attempt %d: %s (%s)", attempt, fault,
                 detail);
        schedule->fault = schedule->text;
    }
}

static enum status open_catalog(struct store *store, uint64_t seed, const struct lake_clock *clock,
                                struct catalog **out)
{
    return catalog_local_open(
        &(struct catalog_local_opts){
            .store = store, .rng_seed = seed | 1, .clock = clock, .backoff_max_ms = -1 },
        out, NULL);
}

static void make_tables(struct store *store, const struct lake_clock *clock)
{
    struct catalog *catalog = NULL;
    struct arena arena;
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    struct catalog_namespace ns;
    arena_init(&arena, 0);
    assert_ok(open_catalog(store, 1, clock, &catalog));
    assert_ok(json_parse(STR("{" COLUMNS "}"), &doc, ERR));
    assert_ok(catalog_namespace_create(catalog, STR("main"), NULL, 0, &arena, &ns, ERR));
    for (int i = 0; i < TABLES; i++) {
        struct catalog_loaded loaded;
        struct catalog_create create = { .name = fixture_name(table_names[i]),
                                         .request = yyjson_doc_get_root(doc) };
        assert_ok(catalog_create_table(catalog, &create, &arena, &loaded, ERR));
        buf_done(&loaded.metadata);
    }
    catalog_close(catalog);
    arena_done(&arena);
}

/* --- requests --- */

static int64_t snapshot_id(int attempt, int table)
{
    return 1000 + attempt * TABLES + table;
}

static void append_snapshot(struct buf *json, const struct catalog_pin *pin, int64_t id,
                            int64_t now)
{
    int64_t parent = pin->table.snapshot_id;
    struct str location = pin->metadata->location;
    char parents[64] = "", known[32] = "null";
    if (parent >= 0) {
        snprintf(parents, sizeof(parents), "\"parent-snapshot-id\":%lld,", (long long)parent);
        snprintf(known, sizeof(known), "%lld", (long long)parent);
    }
    assert_ok(buf_printf(
        json,
        "\"requirements\":[{\"type\":\"assert-ref-snapshot-id\",\"ref\":\"main\","
        "\"snapshot-id\":%s}],"
        "\"updates\":[{\"action\":\"add-snapshot\",\"snapshot\":{\"snapshot-id\":%lld,%s"
        "\"sequence-number\":%lld,\"timestamp-ms\":%lld,"
        "\"manifest-list\":\"%.*s/metadata/snap-%lld.avro\",\"summary\":{\"operation\":\"append\","
        "\"total-records\":\"1\",\"total-data-files\":\"1\",\"total-files-size\":\"1\"},"
        "\"schema-id\":0}},{\"action\":\"set-snapshot-ref\",\"ref-name\":\"main\","
        "\"type\":\"branch\",\"snapshot-id\":%lld}]",
        known, (long long)id, parents, (long long)pin->metadata->last_sequence_number + 1,
        (long long)now, STR_ARG(location), (long long)id, (long long)id));
}

static void append_creation_at(struct buf *json, int attempt, const char *folder)
{
    assert_ok(
        buf_printf(json,
                   "\"requirements\":[{\"type\":\"assert-create\"}],\"updates\":["
                   "{\"action\":\"assign-uuid\",\"uuid\":\"00000000-0000-4000-8000-%012d\"},"
                   "{\"action\":\"upgrade-format-version\",\"format-version\":2},"
                   "{\"action\":\"add-schema\",\"last-column-id\":1," COLUMNS "},"
                   "{\"action\":\"set-current-schema\",\"schema-id\":-1},"
                   "{\"action\":\"add-spec\",\"spec\":{\"spec-id\":0,\"fields\":[]}},"
                   "{\"action\":\"set-default-spec\",\"spec-id\":-1},"
                   "{\"action\":\"add-sort-order\",\"sort-order\":{\"order-id\":0,\"fields\":[]}},"
                   "{\"action\":\"set-default-sort-order\",\"sort-order-id\":-1},"
                   "{\"action\":\"set-location\",\"location\":\"%s\"}]",
                   attempt, folder));
}

static void append_creation(struct buf *json, int attempt, struct str beside)
{
    struct arena arena;
    struct str folder = str_take(beside, str_rfind_char(beside, '/'));
    arena_init(&arena, 0);
    folder = arena_printf(&arena, "%.*s/made%d", STR_ARG(folder), attempt);
    append_creation_at(json, attempt, arena_cstr(&arena, folder));
    arena_done(&arena);
}

/** The request of an attempt as its client makes it from what it reads: an array of changes. False:
 * the tables could not be read. */
static bool make_request(struct schedule *schedule, struct catalog *catalog, int index,
                         struct buf *json)
{
    const struct attempt *attempt = &schedule->attempts[index];
    struct str beside = STR_EMPTY;
    struct arena arena;
    bool good = true;
    arena_init(&arena, 0);
    assert_ok(buf_append(json, STR("[")));
    for (int t = TABLES - 1; t >= 0 && good; t--) { /* in another order than the keys */
        struct catalog_pin *pin = NULL;
        struct table_name name = fixture_name(table_names[t]);
        if (!attempt->in[t]) {
            continue;
        }
        good = catalog_pin(catalog, &name, false, NULL, &pin, NULL) == OK;
        if (good) {
            beside = arena_str(&arena, pin->metadata->location);
            assert_ok(
                buf_printf(json, "%s{\"name\":\"%s\",", json->len > 1 ? "," : "", table_names[t]));
            append_snapshot(json, pin, snapshot_id(index, t), wall_ms(schedule));
            assert_ok(buf_append(json, STR("}")));
            catalog_unpin(pin);
        }
    }
    if (attempt->makes && good) {
        assert_ok(buf_printf(json, ",{\"name\":\"made%d\",", index));
        append_creation(json, index, beside);
        assert_ok(buf_append(json, STR("}")));
    }
    assert_ok(buf_append(json, STR("]")));
    arena_done(&arena);
    return good;
}

/** The `fail_nth` allocation fails from when the request was read; -1: none. */
static enum status send_failing(struct catalog *catalog, struct str json, long fail_nth,
                                bool *failed_out, struct err *err)
{
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    struct catalog_change changes[TABLES + 1];
    size_t i, count;
    yyjson_val *val;
    assert_ok(json_parse(json, &doc, ERR));
    yyjson_arr_foreach(yyjson_doc_get_root(doc), i, count, val)
    {
        changes[i] = (struct catalog_change){
            .name = fixture_name(yyjson_get_str(yyjson_obj_get(val, "name"))),
            .requirements = yyjson_obj_get(val, "requirements"),
            .updates = yyjson_obj_get(val, "updates"),
        };
    }
    mem_fail_nth(fail_nth);
    enum status status = catalog_transact(catalog, changes,
                                          yyjson_arr_size(yyjson_doc_get_root(doc)), 0, err);
    *failed_out = mem_fail_happened();
    mem_fail_nth(-1);
    return status;
}

static enum status send_request(struct catalog *catalog, struct str json, struct err *err)
{
    bool failed = false;
    return send_failing(catalog, json, -1, &failed, err);
}

/** What the client hears, which is nothing when its server has crashed. */
static void hear(struct schedule *schedule, int index, enum status status, const struct err *err,
                 bool crashed)
{
    struct attempt *attempt = &schedule->attempts[index];
    attempt->sent = true;
    if (crashed) {
        attempt->unknown = true;
    } else if (status == OK) {
        attempt->acked = true;
    } else if (strstr(err->msg, "outcome is unknown") != NULL) {
        attempt->unknown = true;
    } else if (status != E_CONFLICT && status != E_UNAVAILABLE && status != E_UPSTREAM &&
               status != E_TIMEOUT && status != E_EXISTS && status != E_NO_MEMORY) {
        blame(schedule, "an odd refusal", index, err->msg);
    }
}

static void *write_transactions(void *arg)
{
    struct writer *writer = arg;
    struct schedule *schedule = writer->schedule;
    struct chaos *chaos = &schedule->chaos;
    chaos_begin(chaos, writer->index);
    struct chaos_handle *handle = &chaos->handles[writer->index];
    struct catalog *catalog = NULL;
    for (int i = 0; i < PER_WRITER * TRIES; i++) {
        int index = writer->index * PER_WRITER * TRIES + i;
        struct err err = { 0 };
        struct buf json;
        buf_init(&json, 0);
        if (catalog == NULL) {
            assert_ok(open_catalog(&handle->base, rng_next(&chaos->rng), &writer->clock, &catalog));
        }
        if (make_request(schedule, catalog, index, &json)) {
            enum status status = send_request(catalog, buf_str(&json), &err);
            hear(schedule, index, status, &err, handle->crashed);
            /* a client (or somebody between) that heard nothing sends the same again */
            if (schedule->attempts[index].unknown && !handle->crashed) {
                status = send_request(catalog, buf_str(&json), &err);
                if (!handle->crashed && status == OK) {
                    schedule->attempts[index].acked = true;
                }
            }
            if (schedule->attempts[index].acked) {
                i += TRIES - 1 - i % TRIES;
            }
        }
        if (handle->crashed) { /* a new process takes over, with nothing in its memory */
            catalog_close(catalog);
            catalog = NULL;
            handle->crashed = false;
        }
        buf_done(&json);
    }
    catalog_close(catalog);
    chaos_end(chaos, writer->index);
    return NULL;
}

/* --- what must hold --- */

static bool has_snapshot(const struct catalog_pin *pin, int64_t id)
{
    for (size_t i = 0; i < pin->metadata->snapshot_count; i++) {
        if (pin->metadata->snapshots[i].id == id) {
            return true;
        }
    }
    return false;
}

static void check_attempt(struct schedule *schedule, struct catalog *catalog, int index,
                          struct catalog_pin *const *pins, const char *when)
{
    const struct attempt *attempt = &schedule->attempts[index];
    struct arena arena;
    struct table_summary made;
    char text[32];
    int there = 0, all = 0;
    arena_init(&arena, 0);
    for (int t = 0; t < TABLES; t++) {
        all += attempt->in[t];
        there += has_snapshot(pins[t], snapshot_id(index, t));
    }
    snprintf(text, sizeof(text), "made%d", index);
    struct table_name name = fixture_name(text);
    all += attempt->makes;
    there += catalog_find(catalog, &name, false, &arena, &made, NULL) == OK;
    if (there != 0 && there != all) {
        blame(schedule, "landed in part", index, when);
    }
    if (attempt->acked && there == 0) {
        blame(schedule, "was acknowledged and is not there", index, when);
    }
    if (!attempt->acked && !attempt->unknown && there > 0) {
        blame(schedule, attempt->sent ? "was refused and is there" : "was never sent", index, when);
    }
    arena_done(&arena);
}

static void check(struct schedule *schedule, const char *when)
{
    struct catalog *catalog = NULL;
    struct catalog_pin *pins[TABLES] = { NULL };
    struct lake_clock clock = clock_of(schedule);
    bool good = true;
    assert_ok(open_catalog(schedule->chaos.store, 1, &clock, &catalog));
    for (int t = 0; t < TABLES; t++) {
        struct table_name name = fixture_name(table_names[t]);
        struct err err = { 0 };
        if (catalog_pin(catalog, &name, false, NULL, &pins[t], &err) != OK) {
            blame(schedule, "a table cannot be read", t, err.msg);
            good = false;
        }
    }
    for (int i = 0; i < ATTEMPTS && good; i++) {
        check_attempt(schedule, catalog, i, pins, when);
    }
    for (int t = 0; t < TABLES; t++) {
        catalog_unpin(pins[t]);
    }
    catalog_close(catalog);
}

/** Whatever is left of the dead, tables can be written again. */
static void check_alive(struct schedule *schedule)
{
    struct catalog *catalog = NULL;
    struct lake_clock clock = clock_of(schedule);
    struct err err = { 0 };
    struct buf json;
    int last = ATTEMPTS - 1;
    buf_init(&json, 0);
    schedule->attempts[last] = (struct attempt){ .in = { true, true, true } };
    assert_ok(open_catalog(schedule->chaos.store, 5, &clock, &catalog));
    for (int i = 0; i < 100 && !schedule->attempts[last].acked; i++) {
        buf_clear(&json);
        assert_true(make_request(schedule, catalog, last, &json));
        enum status status = send_request(catalog, buf_str(&json), &err);
        hear(schedule, last, status, &err, false);
    }
    if (!schedule->attempts[last].acked) {
        blame(schedule, "did not go in on a healthy store", last, err.msg);
    }
    buf_done(&json);
    catalog_close(catalog);
}

static void plan(struct schedule *schedule)
{
    struct rng *rng = &schedule->chaos.rng;
    for (int i = 0; i < ATTEMPTS; i++) {
        struct attempt *attempt = &schedule->attempts[i];
        uint64_t which = 1 + rng_below(rng, (1 << TABLES) - 1); /* one table too: the plain path */
        for (int t = 0; t < TABLES; t++) {
            attempt->in[t] = which >> t & 1;
        }
        attempt->makes = rng_below(rng, 4) == 0;
    }
}

static bool run_schedule(uint64_t seed, int *landed)
{
    struct schedule *schedule = test_calloc(1, sizeof(*schedule));
    struct writer writers[CHAOS_WRITERS_MAX];
    struct lake_clock clock = clock_of(schedule);
    void *args[CHAOS_WRITERS_MAX];
    chaos_init(&schedule->chaos, seed, 2 + (int)(seed % (CHAOS_WRITERS_MAX - 1)), NULL);
    plan(schedule);
    make_tables(schedule->chaos.store, &clock);
    for (int i = 0; i < CHAOS_WRITERS_MAX; i++) {
        writers[i] = (struct writer){ schedule, i, clock };
        args[i] = &writers[i];
    }
    chaos_run(&schedule->chaos, write_transactions, args);
    check(schedule, "at the end");
    chaos_settle(&schedule->chaos);
    check(schedule, "after late writes");
    for (int i = 0; i < ATTEMPTS; i++) {
        *landed += schedule->attempts[i].acked;
    }
    check_alive(schedule);
    check(schedule, "after one more");
    bool good = schedule->fault == NULL;
    if (!good) {
        print_error("LAKEHOUSE_CHAOS_SEED=%llu: %s\n", (unsigned long long)seed, schedule->fault);
    }
    chaos_done(&schedule->chaos);
    test_free(schedule);
    return good;
}

static void no_schedule_breaks_a_transaction(void **state)
{
    const char *one = getenv("LAKEHOUSE_CHAOS_SEED"), *many = getenv("LAKEHOUSE_CHAOS_SCHEDULES");
    uint64_t first = one != NULL ? strtoull(one, NULL, 10) : 1;
    uint64_t count = one != NULL ? 1 : many != NULL ? strtoull(many, NULL, 10) : SCHEDULES;
    int landed = 0;
    for (uint64_t seed = first; seed < first + count; seed++) {
        assert_true(run_schedule(seed, &landed));
    }
    print_message("%llu schedules, %d transactions landed\n", (unsigned long long)count, landed);
    assert_true(one != NULL || landed > (int)count); /* doing nothing is no way to be right */
    (void)state;
}

/* --- by hand --- */

static void what_does_not_hold_changes_no_table(void **state)
{
    struct schedule *schedule = test_calloc(1, sizeof(*schedule));
    struct lake_clock clock = clock_of(schedule);
    struct store *store = fixture_mem();
    struct catalog *catalog = NULL;
    struct buf json;
    struct err err = { 0 };
    buf_init(&json, 0);
    make_tables(store, &clock);
    assert_ok(open_catalog(store, 1, &clock, &catalog));
    schedule->attempts[0] = (struct attempt){ .in = { true, false, true }, .makes = true };
    assert_true(make_request(schedule, catalog, 0, &json));
    size_t before = fixture_objects(store, "wh/");
    assert_ok(send_request(catalog, buf_str(&json), &err));
    assert_int_equal(fixture_objects(store, "wh/"), before + 3);
    /* again: it has landed; nothing is written */
    assert_ok(send_request(catalog, buf_str(&json), &err));
    assert_int_equal(fixture_objects(store, "wh/"), before + 3);
    /* one that stands on a state that has gone fails, and takes the other with it */
    struct buf late;
    buf_init(&late, 0);
    schedule->attempts[1] = (struct attempt){ .in = { true, true, false } };
    assert_true(make_request(schedule, catalog, 1, &late));
    buf_clear(&json);
    schedule->attempts[2] = (struct attempt){ .in = { false, true, false } };
    assert_true(make_request(schedule, catalog, 2, &json));
    assert_ok(send_request(catalog, buf_str(&json), &err));
    before = fixture_objects(store, "");
    assert_kind(send_request(catalog, buf_str(&late), ERR), E_CONFLICT);
    assert_int_equal(fixture_objects(store, ""), before);
    /* the same table twice is refused */
    assert_kind(
        send_request(catalog,
                     STR("[{\"name\":\"t\",\"updates\":[]},{\"name\":\"t\",\"updates\":[]}]"), ERR),
        E_INVALID);
    buf_done(&late);
    buf_done(&json);
    catalog_close(catalog);
    store_close(store);
    test_free(schedule);
    (void)state;
}

static int64_t current_snapshot(struct catalog *catalog, const char *table)
{
    struct arena arena;
    struct table_summary found;
    struct table_name name = fixture_name(table);
    arena_init(&arena, 0);
    assert_ok(catalog_find(catalog, &name, false, &arena, &found, ERR));
    int64_t id = found.snapshot_id;
    arena_done(&arena);
    return id;
}

static void a_part_that_is_there_is_not_the_whole(void **state)
{
    struct schedule *schedule = test_calloc(1, sizeof(*schedule));
    struct lake_clock clock = clock_of(schedule);
    struct store *store = fixture_mem();
    struct catalog *catalog = NULL;
    struct buf both, one;
    struct err err = { 0 };
    buf_init(&both, 0);
    buf_init(&one, 0);
    make_tables(store, &clock);
    assert_ok(open_catalog(store, 1, &clock, &catalog));
    schedule->attempts[0] = (struct attempt){ .in = { true, true, false } };
    assert_true(make_request(schedule, catalog, 0, &both));
    schedule->attempts[0] = (struct attempt){ .in = { true, false, false } };
    assert_true(make_request(schedule, catalog, 0, &one));
    assert_ok(send_request(catalog, buf_str(&one), &err));
    size_t before = fixture_objects(store, "");
    assert_kind(send_request(catalog, buf_str(&both), &err), E_UNAVAILABLE);
    assert_non_null(strstr(err.msg, "the outcome is unknown"));
    assert_int_equal(fixture_objects(store, ""), before);
    assert_int_equal(current_snapshot(catalog, "t"), snapshot_id(0, 0));
    assert_int_equal(current_snapshot(catalog, "u"), -1);
    buf_done(&both);
    buf_done(&one);
    catalog_close(catalog);
    store_close(store);
    test_free(schedule);
    (void)state;
}

/** A transaction of two new tables, which must be refused and leave nothing. */
static void refuse_two(struct catalog *catalog, struct store *store, const char *first,
                       const char *second, enum status kind)
{
    struct buf json;
    size_t before = fixture_objects(store, "wh/");
    buf_init(&json, 0);
    const char *const names[] = { first, second };
    for (int i = 0; i < 2; i++) {
        const char *folder = strchr(names[i], ' ') + 1;
        assert_ok(buf_printf(&json, "%s{\"name\":\"%.*s\",", i > 0 ? "," : "[",
                             (int)(folder - names[i] - 1), names[i]));
        append_creation_at(&json, i, folder);
        assert_ok(buf_append(&json, STR("}")));
    }
    assert_ok(buf_append(&json, STR("]")));
    assert_kind(send_request(catalog, buf_str(&json), ERR), kind);
    assert_int_equal(fixture_objects(store, "wh/"), before);
    buf_done(&json);
}

static void new_tables_of_one_transaction_do_not_meet(void **state)
{
    struct schedule *schedule = test_calloc(1, sizeof(*schedule));
    struct lake_clock clock = clock_of(schedule);
    struct store *store = fixture_mem();
    struct catalog *catalog = NULL;
    struct catalog_pin *pin = NULL;
    struct table_name name = fixture_name("t");
    struct arena arena;
    arena_init(&arena, 0);
    make_tables(store, &clock);
    assert_ok(open_catalog(store, 1, &clock, &catalog));
    assert_ok(catalog_pin(catalog, &name, false, NULL, &pin, ERR));
    struct str location = pin->metadata->location;
    struct str root = str_take(location, str_rfind_char(location, '/'));
    const char *a = arena_cstr(&arena, arena_printf(&arena, "a %.*s/x", STR_ARG(root)));
    const char *twin = arena_cstr(&arena, arena_printf(&arena, "A %.*s/y", STR_ARG(root)));
    const char *same = arena_cstr(&arena, arena_printf(&arena, "b %.*s/x", STR_ARG(root)));
    const char *inside = arena_cstr(&arena, arena_printf(&arena, "b %.*s/x/y", STR_ARG(root)));
    refuse_two(catalog, store, a, twin, E_EXISTS);
    refuse_two(catalog, store, a, same, E_INVALID);
    refuse_two(catalog, store, a, inside, E_INVALID);
    refuse_two(catalog, store, inside, a, E_INVALID);
    catalog_unpin(pin);
    catalog_close(catalog);
    store_close(store);
    arena_done(&arena);
    test_free(schedule);
    (void)state;
}

static void no_failed_allocation_leaves_a_part(void **state)
{
    for (long n = 0;; n += n < 40 ? 1 : 7) { /* each costs a lake of its own */
        struct schedule *schedule = test_calloc(1, sizeof(*schedule));
        struct lake_clock clock = clock_of(schedule);
        struct catalog *catalog = NULL;
        struct buf json;
        struct err err = { 0 };
        bool failed = false;
        buf_init(&json, 0);
        schedule->chaos.store = fixture_mem();
        make_tables(schedule->chaos.store, &clock);
        assert_ok(open_catalog(schedule->chaos.store, 1, &clock, &catalog));
        schedule->attempts[0] = (struct attempt){ .in = { true, true, true }, .makes = true };
        assert_true(make_request(schedule, catalog, 0, &json));
        enum status status = send_failing(catalog, buf_str(&json), n, &failed, &err);
        hear(schedule, 0, status, &err, false);
        catalog_close(catalog);
        check(schedule, "without memory");
        check_alive(schedule);
        check(schedule, "after one more");
        if (schedule->fault != NULL) {
            fail_msg("allocation %ld: %s", n, schedule->fault);
        }
        store_close(schedule->chaos.store);
        buf_done(&json);
        test_free(schedule);
        if (!failed) {
            assert_true(n > 100 && status == OK);
            break;
        }
    }
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_does_not_hold_changes_no_table),
        cmocka_unit_test(a_part_that_is_there_is_not_the_whole),
        cmocka_unit_test(new_tables_of_one_transaction_do_not_meet),
        cmocka_unit_test(no_failed_allocation_leaves_a_part),
        cmocka_unit_test(no_schedule_breaks_a_transaction),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
