/* Namespaces made, changed and dropped by name: what holds when calls die half way, and when others
 * make tables in them at the same moment. */
#include "chaos.h"
#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>

#include "catalog/changes.h"
#include "catalog/namespace.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SCHEDULES = 100 };
#else
enum { SCHEDULES = 800 };
#endif

#define NESTED                                                                                     \
    "a\037"                                                                                        \
    "b"

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

static enum status make(struct lake *lake, const char *ns)
{
    struct catalog_namespace made;
    return catalog_namespace_create(lake->catalog, str_of(ns), NULL, 0, &lake->arena, &made, ERR);
}

static enum status look(struct lake *lake, const char *ns, struct catalog_namespace *out)
{
    return catalog_namespace(lake->catalog, str_of(ns), &lake->arena, out, ERR);
}

static const char *value_of(const struct catalog_namespace *ns, const char *name)
{
    static char text[200];
    for (size_t i = 0; i < ns->property_count; i++) {
        if (str_eq(ns->properties[i].name, str_of(name))) {
            snprintf(text, sizeof(text), "%.*s", STR_ARG(ns->properties[i].value));
            return text;
        }
    }
    return NULL;
}

static enum status set(struct lake *lake, const char *ns, const char *name, const char *value)
{
    const struct ice_property property = { str_of(name), str_of(value) };
    struct catalog_namespace_updated told;
    return catalog_namespace_update(
        lake->catalog, str_of(ns),
        &(struct catalog_namespace_update){ .set = &property, .set_count = 1 }, &lake->arena, &told,
        ERR);
}

static void a_namespace_needs_its_parent_and_keeps_it(void **state)
{
    struct lake *lake = *state;
    struct catalog_namespace found;
    struct str *names;
    size_t count;
    assert_kind(make(lake, NESTED), E_NOT_FOUND);
    assert_ok(make(lake, "a"));
    assert_ok(make(lake, NESTED));
    assert_kind(make(lake, NESTED), E_EXISTS);
    assert_kind(make(lake, "a\037"), E_INVALID);
    assert_kind(make(lake, "pg_catalog"), E_INVALID);
    assert_ok(look(lake, NESTED, &found));
    assert_kind(look(lake, "a.b", &found), E_NOT_FOUND);
    assert_ok(catalog_namespaces(lake->catalog, STR("a"), &lake->arena, &names, &count, ERR));
    assert_int_equal(count, 1);
    assert_str(names[0], NESTED);
    assert_kind(catalog_namespace_drop(lake->catalog, STR("a"), ERR), E_CONFLICT);
    assert_ok(look(lake, "a", &found));
    assert_ok(catalog_namespace_drop(lake->catalog, STR(NESTED), ERR));
    assert_ok(catalog_namespace_drop(lake->catalog, STR("a"), ERR));
    assert_kind(catalog_namespace_drop(lake->catalog, STR("a"), ERR), E_NOT_FOUND);
}

/** As a process leaves it that died between its two swaps. */
static void leave_dropping(struct lake *lake, const char *ns)
{
    struct local *local = (struct local *)lake->catalog;
    struct namespace_base base;
    enum swap_outcome outcome;
    assert_ok(namespace_read(local, str_of(ns), &lake->arena, &base, ERR));
    assert_ok(namespace_swap(local, str_of(ns), &base, NAMESPACE_DROPPING, &base.ns,
                             deadline_in(1000), &outcome, ERR));
    assert_int_equal(outcome, SWAP_WON);
}

static void a_drop_that_died_is_finished_by_whoever_comes(void **state)
{
    struct lake *lake = *state;
    struct catalog_namespace old, found;
    assert_ok(make(lake, "n"));
    assert_ok(look(lake, "n", &old));
    leave_dropping(lake, "n"); /* undecided, so it is there */
    assert_ok(look(lake, "n", &found));
    (void)fixture_add(lake->catalog, "n.t", "b1", &lake->arena); /* it was empty: a new one */
    assert_ok(look(lake, "n", &found));
    assert_false(str_eq(found.uuid, old.uuid));
    leave_dropping(lake, "n");
    assert_ok(set(lake, "n", "k", "v")); /* it holds a table: it stays */
    assert_ok(look(lake, "n", &found));
    assert_string_equal(value_of(&found, "k"), "v");
    leave_dropping(lake, "n");
    assert_kind(make(lake, "n"), E_EXISTS);
    leave_dropping(lake, "n");
    assert_kind(catalog_namespace_drop(lake->catalog, STR("n"), ERR), E_CONFLICT);
    struct table_name name = fixture_name("n.t");
    assert_ok(catalog_drop(lake->catalog, &name, ERR));
    leave_dropping(lake, "n");
    assert_ok(catalog_namespace_drop(lake->catalog, STR("n"), ERR));
    assert_kind(look(lake, "n", &found), E_NOT_FOUND);
    assert_ok(make(lake, "n"));
    assert_ok(make(lake, "n\037c"));
    leave_dropping(lake, "n\037c"); /* the drop of the child comes first */
    assert_ok(catalog_namespace_drop(lake->catalog, STR("n"), ERR));
}

static void a_namespace_that_is_made_again_has_no_tables(void **state)
{
    struct lake *lake = *state;
    struct table_name name = fixture_name("n.t");
    struct table_summary table;
    (void)fixture_add(lake->catalog, "n.t", "b1", &lake->arena);
    struct local *local = (struct local *)lake->catalog;
    struct namespace_base base;
    enum swap_outcome outcome;
    /* its maker died before it looked at the namespace once more, which was dropped meanwhile */
    assert_ok(namespace_read(local, STR("n"), &lake->arena, &base, ERR));
    assert_ok(namespace_swap(local, STR("n"), &base, NAMESPACE_DROPPED, &base.ns, deadline_in(1000),
                             &outcome, ERR));
    assert_ok(make(lake, "n"));
    assert_kind(catalog_find(lake->catalog, &name, false, &lake->arena, &table, ERR), E_NOT_FOUND);
    assert_ok(catalog_namespace_drop(lake->catalog, STR("n"), ERR));
}

static void properties_are_set_and_removed(void **state)
{
    struct lake *lake = *state;
    struct catalog_namespace found;
    struct catalog_namespace_updated told;
    static const struct ice_property first[] = { { STR_INIT("a"), STR_INIT("1") },
                                                 { STR_INIT("b"), STR_INIT("2") } };
    assert_ok(
        catalog_namespace_create(lake->catalog, STR("n"), first, 2, &lake->arena, &found, ERR));
    assert_int_equal(found.property_count, 3); /* with its location */
    const struct ice_property b = { STR("b"), STR("3") };
    const struct str gone[] = { STR("a"), STR("z"), STR("location") };
    struct catalog_namespace_update update = {
        .set = &b, .set_count = 1, .remove = gone, .remove_count = 3
    };
    assert_ok(catalog_namespace_update(lake->catalog, STR("n"), &update, &lake->arena, &told, ERR));
    assert_int_equal(told.updated_count, 1);
    assert_int_equal(told.removed_count, 2);
    assert_int_equal(told.missing_count, 1);
    assert_str(told.missing[0], "z");
    assert_ok(look(lake, "n", &found));
    assert_int_equal(found.property_count, 2);
    assert_string_equal(value_of(&found, "b"), "3");
    assert_non_null(value_of(&found, "location")); /* there is always one */
    assert_kind(set(lake, "n", "location", "file:///etc"), E_INVALID);
    assert_kind(set(lake, "nope", "a", "1"), E_NOT_FOUND);
}

/* --- every write fails once --- */

enum deed { CREATE, UPDATE, DROP, DEEDS };

static enum status do_deed(struct lake *lake, enum deed deed)
{
    switch (deed) {
    case CREATE:
        return make(lake, "n");
    case UPDATE:
        return set(lake, "n", "k", "v");
    case DROP:
        return catalog_namespace_drop(lake->catalog, STR("n"), ERR);
    case DEEDS:
        break;
    }
    return OK;
}

static bool is_done(struct lake *lake, enum deed deed)
{
    struct catalog_namespace found;
    enum status status = look(lake, "n", &found);
    assert_true(status == OK || status == E_NOT_FOUND);
    return deed == UPDATE ? status == OK && value_of(&found, "k") != NULL
                          : (status == OK) == (deed == CREATE);
}

/** False: the call was over before the n-th write. */
static bool fail_at(enum deed deed, long n, const char *op, bool dead)
{
    void *state = NULL;
    lake_open(&state);
    struct lake *lake = state;
    if (deed != CREATE) {
        assert_ok(make(lake, "n"));
    }
    fault.op = op;
    fault.dead = dead;
    fault.countdown = n;
    enum status status = do_deed(lake, deed);
    bool happened = fault.happened;
    fault.countdown = -1;
    fault.happened = false;
    assert_true(status == OK ? is_done(lake, deed) : dead); /* one fault is got over */
    if (status != OK) { /* again, by somebody else: done now, or told that it was done before */
        catalog_close(lake->catalog);
        lake->catalog = fixture_catalog(lake->store);
        bool was_done = is_done(lake, deed);
        status = do_deed(lake, deed);
        assert_true(status == OK ||
                    (was_done && status == (deed == CREATE ? E_EXISTS : E_NOT_FOUND)));
        assert_true(is_done(lake, deed));
    }
    lake_close(&state);
    return happened;
}

static void a_write_that_fails_leaves_all_or_nothing(void **state)
{
    static const char *const ops[] = { "write", "answer" };
    for (int deed = 0; deed < DEEDS; deed++) {
        for (size_t i = 0; i < 2 * ARRAY_LEN(ops); i++) {
            long n = 0;
            while (fail_at((enum deed)deed, n, ops[i / 2], i % 2 == 1)) {
                n++;
            }
            assert_true(n >= (deed == DROP ? 2 : 1));
        }
    }
}

/* --- others make tables meanwhile --- */

enum { ROUNDS = 4, TABLES = CHAOS_WRITERS_MAX * ROUNDS };

struct schedule {
    struct chaos chaos;
    bool acked[TABLES];
    struct str uuids[TABLES];
    struct arena arena;
    int dropped;
};
struct writer {
    struct schedule *schedule;
    int index;
};

static enum status open_catalog(struct store *store, uint64_t seed, struct catalog **out)
{
    return catalog_local_open(
        &(struct catalog_local_opts){ .store = store, .rng_seed = seed | 1, .backoff_max_ms = -1 },
        out, NULL);
}

static void table_text(int index, char text[16])
{
    snprintf(text, 16, "n.t%d", index);
}

/** The first writer drops the namespace again and again, the others make tables in it. */
static void round_of(struct writer *writer, struct catalog *catalog, int round)
{
    struct schedule *schedule = writer->schedule;
    struct chaos_handle *handle = &schedule->chaos.handles[writer->index];
    struct arena arena;
    struct err err = { 0 };
    struct catalog_appended out;
    arena_init(&arena, 0);
    if (writer->index == 0) {
        bool ok = catalog_namespace_drop(catalog, STR("n"), &err) == OK;
        schedule->dropped += ok && !handle->crashed;
    } else {
        char text[16];
        int index = writer->index * ROUNDS + round;
        table_text(index, text);
        struct fixture_append in = { .table = text, .batch = "" };
        bool ok = fixture_append(catalog, &in, &arena, &out, &err) == OK;
        schedule->acked[index] = ok && !handle->crashed;
    }
    arena_done(&arena);
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
            assert_ok(open_catalog(&handle->base, rng_next(&chaos->rng), &catalog));
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

/** Every table that somebody was told of is there, in a namespace that is there. */
static const char *check(struct schedule *schedule)
{
    struct catalog *catalog = NULL;
    const char *broken = NULL;
    struct str uuid;
    assert_ok(open_catalog(schedule->chaos.store, 1, &catalog));
    struct local *local = (struct local *)catalog;
    for (int i = 0; i < TABLES; i++) {
        char text[16];
        struct local_base base;
        table_text(i, text);
        struct table_name name = fixture_name(text);
        enum status status = local_require(local, &name, &schedule->arena, &base, NULL);
        if (schedule->acked[i] && status != OK) {
            broken = "a table that was acknowledged is not there";
        } else if (schedule->acked[i] &&
                   namespace_require(local, name.ns, &schedule->arena, &uuid, NULL) != OK) {
            broken = "a namespace was dropped with a table in it";
        } else if (schedule->acked[i] && !str_eq(uuid, base.pointer.namespace_uuid)) {
            broken = "a table outlived its namespace";
        }
    }
    catalog_close(catalog);
    return broken;
}

static bool run_schedule(uint64_t seed, int *dropped)
{
    struct schedule *schedule = test_calloc(1, sizeof(*schedule));
    struct writer writers[CHAOS_WRITERS_MAX];
    void *args[CHAOS_WRITERS_MAX];
    chaos_init(&schedule->chaos, seed, 2 + (int)(seed % (CHAOS_WRITERS_MAX - 1)), NULL);
    arena_init(&schedule->arena, 0);
    for (int i = 0; i < CHAOS_WRITERS_MAX; i++) {
        writers[i] = (struct writer){ schedule, i };
        args[i] = &writers[i];
    }
    chaos_run(&schedule->chaos, work, args);
    const char *broken = check(schedule);
    chaos_settle(&schedule->chaos);
    broken = broken == NULL ? check(schedule) : broken;
    if (broken != NULL) {
        print_error("LAKEHOUSE_CHAOS_SEED=%llu: %s\n", (unsigned long long)seed, broken);
    }
    *dropped += schedule->dropped;
    arena_done(&schedule->arena);
    chaos_done(&schedule->chaos);
    test_free(schedule);
    return broken == NULL;
}

static void no_table_is_lost_in_a_drop(void **state)
{
    const char *one = getenv("LAKEHOUSE_CHAOS_SEED");
    uint64_t first = one == NULL ? 1 : strtoull(one, NULL, 10);
    int dropped = 0;
    for (uint64_t seed = first; seed < first + (one == NULL ? SCHEDULES : 1); seed++) {
        assert_true(run_schedule(seed, &dropped));
    }
    assert_true(one != NULL || dropped > SCHEDULES / 8); /* some were dropped all the same */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_namespace_needs_its_parent_and_keeps_it, lake_open,
                                        lake_close),
        cmocka_unit_test_setup_teardown(a_drop_that_died_is_finished_by_whoever_comes, lake_open,
                                        lake_close),
        cmocka_unit_test_setup_teardown(a_namespace_that_is_made_again_has_no_tables, lake_open,
                                        lake_close),
        cmocka_unit_test_setup_teardown(properties_are_set_and_removed, lake_open, lake_close),
        cmocka_unit_test(a_write_that_fails_leaves_all_or_nothing),
        cmocka_unit_test(no_table_is_lost_in_a_drop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
