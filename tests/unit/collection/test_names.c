/* Names: what is found under them while others change them, and what is swept when they go. */
#include "lake.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

static void create_by(struct lake *lake, struct coll_service *service, const char *name)
{
    struct coll_info info;
    const struct coll_spec spec = { .name = str_of(name), .dimension = DIM, .metric = VEC_L2 };
    assert_ok(coll_create(service, &spec, &lake->arena, &info, ERR));
}

/* --- sweeping --- */

struct meddler {
    struct lake *lake;
    atomic_bool done;
};

/** While this service reads the pointer of "n" for the first time it makes an index. */
static void make_another(void *ctx, struct str key)
{
    struct meddler *meddler = ctx;
    struct coll_info info;
    struct arena arena;
    bool not_yet = false;
    if (!str_ends(key, STR("/n.json")) ||
        !atomic_compare_exchange_strong(&meddler->done, &not_yet, true)) {
        return;
    }
    arena_init(&arena, 0);
    const struct coll_spec spec = { .name = STR("x"), .dimension = DIM };
    assert_ok(coll_create(meddler->lake->service, &spec, &arena, &info, ERR));
    arena_done(&arena);
}

static void a_sweep_leaves_an_index_whose_pointer_was_read_while_names_changed(void **state)
{
    struct lake lake;
    struct meddler meddler = { .lake = &lake };
    lake_up(&lake);
    lake_create(&lake, "u");
    assert_ok(lake_put(lake.service, "u", "a", 1, NULL, ERR));
    const char *objects = lake_prefix(&lake, "u", "");
    struct coll_service *other = lake_service(&lake);
    create_by(&lake, other, "n");
    assert_ok(lake_put(other, "n", "a", 7, NULL, ERR));
    lake_opened(&lake, make_another, &meddler);
    assert_ok(coll_drop(lake.service, STR("u"), ERR));
    while (lake_objects(&lake, objects) > 0) { /* a test that hangs here has failed */
    }
    coll_service_close(lake.service); /* its sweep is through */
    lake_opened(&lake, NULL, NULL);
    lake.service = other;
    lake_again(&lake);
    lake_has(&lake, lake.service, "n", "a", 7);
    lake_down(&lake);
}

/** Each name that is dropped leaves a tombstone; listing does not read them again and again. */
static void count_tombstones(void *ctx, struct str key)
{
    if (str_find(key, STR("/dropped")) != SIZE_MAX) {
        atomic_fetch_add((atomic_uint *)ctx, 1);
    }
}

static void a_tombstone_is_read_once(void **state)
{
    enum { DROPPED = 20, LISTS = 10 };
    struct lake lake;
    struct coll_info *list = NULL;
    size_t count = 0;
    char name[16];
    atomic_uint reads = 0;
    lake_up(&lake);
    lake_create(&lake, "t");
    for (unsigned i = 0; i < DROPPED; i++) {
        snprintf(name, sizeof name, "dropped%u", i);
        lake_create(&lake, name);
        assert_ok(coll_drop(lake.service, str_of(name), ERR));
    }
    lake_again(&lake);
    lake_opened(&lake, count_tombstones, &reads);
    for (unsigned i = 0; i < LISTS; i++) {
        assert_ok(coll_list(lake.service, &lake.arena, &list, &count, ERR));
        assert_int_equal(count, 1);
    }
    assert_true(atomic_load(&reads) <= 2 * DROPPED); /* here and in the background */
    lake_opened(&lake, NULL, NULL);
    lake_create(&lake, "dropped3");
    struct coll_service *other = lake_service(&lake);
    assert_ok(coll_drop(other, STR("dropped3"), ERR));
    create_by(&lake, other, "dropped3");
    coll_service_close(other);
    assert_ok(coll_list(lake.service, &lake.arena, &list, &count, ERR));
    assert_int_equal(count, 2);
    lake_down(&lake);
}

static void a_damaged_pointer_stops_nothing_but_its_own_index(void **state)
{
    struct lake lake;
    struct coll_info *list = NULL;
    size_t count = 0;
    lake_up(&lake);
    lake_create(&lake, "t");
    lake_create(&lake, "u");
    assert_ok(lake_put(lake.service, "t", "a", 1, NULL, ERR));
    assert_ok(lake_put(lake.service, "u", "a", 1, NULL, ERR));
    const char *objects = lake_prefix(&lake, "t", "");
    assert_ok(
        store_put(lake.store, STR("_lake/vectors/t.json"), STR("{\"format\":"), NULL, NULL, ERR));
    lake_again(&lake);
    assert_ok(coll_list(lake.service, &lake.arena, &list, &count, ERR));
    assert_int_equal(count, 1);
    assert_kind(coll_service_ready(lake.service, ERR), E_CORRUPT);
    assert_non_null(strstr(lake_err.msg, "t.json"));
    lake_has(&lake, lake.service, "u", "a", 1);
    assert_ok(coll_drop(lake.service, STR("u"), ERR)); /* and nothing is swept that may be its */
    coll_service_close(lake.service);
    assert_true(lake_objects(&lake, objects) > 0);
    lake.service = lake_service(&lake);
    lake_down(&lake);
}

/* --- aliases --- */

static uint64_t searched(struct coll_service *service, const char *name, enum status *status_out)
{
    uint64_t count = 0;
    *status_out = coll_count(service, str_of(name), STR_EMPTY, &count, ERR);
    return count;
}

/** A rebuilt index goes live: the alias is switched and the old index dropped by another process.
 * Nobody meets a moment without it. */
static void an_alias_that_another_process_switched_is_followed_at_once(void **state)
{
    struct lake lake;
    enum status status = OK;
    lake_up(&lake);
    lake_create(&lake, "old");
    assert_ok(coll_alias_set(lake.service, STR("live"), STR("old"), ERR));
    for (unsigned i = 0; i < 10; i++) {
        const char *next = i % 2 == 0 ? "new" : "old", *before = i % 2 == 0 ? "old" : "new";
        struct coll_service *reader = lake_service(&lake);
        struct coll_alias *aliases = NULL;
        size_t count = 0;
        assert_ok(coll_alias_list(reader, &lake.arena, &aliases, &count, ERR)); /* and opens none */
        assert_int_equal(count, 1);
        lake_create(&lake, next);
        assert_ok(lake_put(lake.service, next, "a", 1, NULL, ERR));
        assert_ok(coll_alias_set(lake.service, STR("live"), str_of(next), ERR));
        assert_ok(coll_drop(lake.service, str_of(before), ERR));
        assert_int_equal(searched(reader, "live", &status), 1);
        assert_int_equal(status, OK);
        coll_service_close(reader);
    }
    lake_down(&lake);
}

static void an_alias_of_what_became_an_alias_is_not_found(void **state)
{
    struct lake lake;
    enum status status = OK;
    lake_up(&lake);
    lake_create(&lake, "a");
    lake_create(&lake, "b");
    assert_ok(coll_alias_set(lake.service, STR("first"), STR("a"), ERR));
    assert_kind(coll_alias_set(lake.service, STR("second"), STR("first"), ERR), E_NOT_FOUND);
    assert_ok(coll_drop(lake.service, STR("a"), ERR));
    (void)searched(lake.service, "first", &status);
    assert_int_equal(status, E_NOT_FOUND);
    assert_ok(coll_alias_set(lake.service, STR("a"), STR("b"), ERR));
    (void)searched(lake.service, "first", &status);
    assert_int_equal(status, E_NOT_FOUND);
    (void)searched(lake.service, "a", &status);
    assert_int_equal(status, OK);
    lake_down(&lake);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sweep_leaves_an_index_whose_pointer_was_read_while_names_changed),
        cmocka_unit_test(a_tombstone_is_read_once),
        cmocka_unit_test(a_damaged_pointer_stops_nothing_but_its_own_index),
        cmocka_unit_test(an_alias_that_another_process_switched_is_followed_at_once),
        cmocka_unit_test(an_alias_of_what_became_an_alias_is_not_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
