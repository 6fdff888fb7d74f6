/* Named indexes as their users see them. */
#include "lake.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "collection/ids.h"

static void what_was_put_is_there_bit_for_bit_and_after_a_restart(void **state)
{
    struct lake lake;
    lake_up(&lake);
    lake_create(&lake, "t");
    assert_ok(lake_put(lake.service, "t", "a", 1, "{\"x\":1}", ERR));
    assert_ok(lake_put(lake.service, "t", "b", 2, NULL, ERR));
    assert_ok(lake_put(lake.service, "t", "a", 3, NULL, ERR));
    for (int i = 0; i < 2; i++) {
        struct coll_item item;
        lake_has(&lake, lake.service, "t", "a", 3);
        lake_has(&lake, lake.service, "t", "b", 2);
        lake_lacks(&lake, lake.service, "t", "c");
        assert_ok(coll_get(lake.service, STR("t"), STR("a"), false, &lake.arena, &item, ERR));
        assert_str(item.metadata, "{\"x\":1}");
        assert_null(item.vector);
        assert_int_equal(lake_count(lake.service, "t"), 2);
        lake_again(&lake);
    }
    lake_down(&lake);
}

static void a_search_that_scans_much_is_not_quick(void **state)
{
    enum { WIDE = 4096, MANY = 245 };
    struct lake lake;
    struct coll_added added;
    struct coll_info info;
    struct arena arena;
    static float vector[WIDE];
    struct coll_spec spec = { .name = STR("wide"), .dimension = WIDE, .metric = VEC_L2 };
    lake_up(&lake);
    arena_init(&arena, 0);
    assert_ok(coll_create(lake.service, &spec, &arena, &info, ERR));
    for (unsigned i = 0; i < MANY; i++) {
        char id[16];
        (void)snprintf(id, sizeof id, "%u", i);
        struct coll_item item = { .id = str_of(id), .vector = vector };
        vector[i] = 1;
        assert_ok(coll_add(lake.service, spec.name, &item, 1, COLL_UPSERT, &added, ERR));
        assert_int_equal(coll_is_quick(lake.service, spec.name), (i + 1) * WIDE <= 1000000);
    }
    assert_false(coll_is_quick(lake.service, spec.name));
    arena_done(&arena);
    lake_down(&lake);
}

static void an_index_is_open_from_its_first_use_on(void **state)
{
    struct lake lake;
    lake_up(&lake);
    lake_create(&lake, "t");
    assert_ok(coll_alias_set(lake.service, STR("other"), STR("t"), ERR));
    assert_false(coll_is_quick(lake.service, STR("none")));
    assert_ok(lake_put(lake.service, "t", "a", 1, NULL, ERR));
    assert_true(coll_is_quick(lake.service, STR("t")) && coll_is_quick(lake.service, STR("other")));
    lake_again(&lake);
    assert_false(coll_is_quick(lake.service, STR("t")) ||
                 coll_is_quick(lake.service, STR("other")));
    lake_has(&lake, lake.service, "other", "a", 1);
    assert_true(coll_is_quick(lake.service, STR("t")));
    assert_ok(coll_drop(lake.service, STR("t"), ERR));
    assert_false(coll_is_quick(lake.service, STR("t")) ||
                 coll_is_quick(lake.service, STR("other")));
    lake_down(&lake);
}

static void a_batch_acts_as_if_in_order(void **state)
{
    struct lake lake;
    float v[4][DIM];
    struct coll_added added;
    lake_up(&lake);
    lake_create(&lake, "t");
    for (unsigned i = 0; i < 4; i++) {
        lake_vector(i, v[i]);
    }
    const struct coll_item items[] = {
        { .id = STR("a"), .vector = v[0], .metadata = STR("{\"n\":1}") },
        { .id = STR("b"), .vector = v[1] },
        { .id = STR("a"), .vector = v[2] },
    };
    assert_ok(coll_add(lake.service, STR("t"), items, 3, COLL_UPSERT, &added, ERR));
    assert_int_equal(added.added, 2);
    assert_int_equal(added.updated, 0);
    assert_int_equal(added.length, 2);
    assert_ok(coll_add(lake.service, STR("t"), items, 3, COLL_UPSERT, &added, ERR));
    assert_int_equal(added.added, 0);
    assert_int_equal(added.updated, 2);
    lake_has(&lake, lake.service, "t", "a", 2);
    const struct coll_item fresh[] = { { .id = STR("c"), .vector = v[0] },
                                       { .id = STR("a"), .vector = v[1] } };
    assert_kind(coll_add(lake.service, STR("t"), fresh, 2, COLL_INSERT, &added, ERR), E_EXISTS);
    assert_kind(coll_add(lake.service, STR("t"), fresh, 2, COLL_UPDATE, &added, ERR), E_NOT_FOUND);
    lake_lacks(&lake, lake.service, "t", "c");
    lake_has(&lake, lake.service, "t", "a", 2);
    const struct coll_item twice[] = { { .id = STR("d"), .vector = v[0] },
                                       { .id = STR("d"), .vector = v[1] } };
    assert_kind(coll_add(lake.service, STR("t"), twice, 2, COLL_INSERT, &added, ERR), E_EXISTS);
    assert_int_equal(lake_count(lake.service, "t"), 2);
    lake_down(&lake);
}

static void what_is_wrong_with_an_item_is_said_and_nothing_is_added(void **state)
{
    struct lake lake;
    float good[DIM], bad[DIM];
    char long_id[600];
    struct coll_added added;
    lake_up(&lake);
    lake_create(&lake, "t");
    lake_vector(1, good);
    lake_vector(2, bad);
    memset(long_id, 'x', sizeof long_id);
    struct coll_item items[] = { { .id = STR("a"), .vector = good },
                                 { .id = STR("b"), .vector = bad } };
    bad[3] = NAN;
    assert_kind(coll_add(lake.service, STR("t"), items, 2, COLL_UPSERT, &added, ERR), E_INVALID);
    assert_non_null(strstr(lake_err.msg, "item 1"));
    bad[3] = 2e15F;
    assert_kind(coll_add(lake.service, STR("t"), items, 2, COLL_UPSERT, &added, ERR), E_INVALID);
    bad[3] = 1;
    items[1].id = STR_EMPTY;
    assert_kind(coll_add(lake.service, STR("t"), items, 2, COLL_UPSERT, &added, ERR), E_INVALID);
    items[1].id = str_from(long_id, 513);
    assert_kind(coll_add(lake.service, STR("t"), items, 2, COLL_UPSERT, &added, ERR), E_INVALID);
    items[1].id = str_from("a\0b", 3);
    assert_kind(coll_add(lake.service, STR("t"), items, 2, COLL_UPSERT, &added, ERR), E_INVALID);
    items[1].id = STR("b");
    items[1].metadata = STR("[1]");
    assert_kind(coll_add(lake.service, STR("t"), items, 2, COLL_UPSERT, &added, ERR), E_INVALID);
    assert_non_null(strstr(lake_err.msg, "item 1: its metadata: "));
    assert_int_equal(lake_count(lake.service, "t"), 0);
    items[1].metadata = STR_EMPTY;
    items[1].id = str_from(long_id, 512);
    assert_ok(coll_add(lake.service, STR("t"), items, 2, COLL_UPSERT, &added, ERR));
    lake_down(&lake);
}

/** Of a patch there is one item, which has no position. */
static void what_is_wrong_with_a_patch_names_the_id(void **state)
{
    static const char filler[COLL_METADATA_MAX + 1];
    const struct str wrong[] = { STR("[1]"), STR("{\"a\""), str_from(filler, sizeof filler) };
    struct lake lake;
    lake_up(&lake);
    lake_create(&lake, "t");
    assert_ok(lake_put(lake.service, "t", "a", 1, NULL, ERR));
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        assert_kind(coll_patch(lake.service, STR("t"), STR("a"), wrong[i], false, ERR), E_INVALID);
        assert_non_null(strstr(lake_err.msg, "id \"a\": its metadata"));
        assert_null(strstr(lake_err.msg, "item 0"));
    }
    lake_down(&lake);
}

/** What another process hashes `id` to. */
static uint64_t hash_elsewhere(struct str id)
{
    uint64_t hash = 0;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        hash = ids_hash(id);
        _exit(write(ends[1], &hash, sizeof hash) == (ssize_t)sizeof hash ? 0 : 1);
    }
    assert_int_equal(read(ends[0], &hash, sizeof hash), sizeof hash);
    assert_int_equal(waitpid(child, NULL, 0), child);
    close(ends[0]);
    close(ends[1]);
    return hash;
}

/** Else somebody chooses ids that all share it. The first test: the seed is drawn at first use. */
static void no_two_processes_hash_an_id_alike(void **state)
{
    uint64_t a = hash_elsewhere(STR("an id")), b = hash_elsewhere(STR("an id"));
    assert_true(a != b);
    assert_true(ids_hash(STR("an id")) == ids_hash(STR("an id")));
    assert_true(ids_hash(STR("an id")) != a);
}

static void searches_give_each_id_once_by_exact_distance(void **state)
{
    struct lake lake;
    char id[16];
    float query[DIM], other[DIM];
    lake_up(&lake);
    lake_create(&lake, "t");
    struct coll_answer answer;
    lake_vector(7, query);
    const struct coll_query ask = { .vectors = query, .vector_count = 1, .k = 50 };
    assert_ok(coll_search(lake.service, STR("t"), &ask, &lake.arena, &answer, ERR));
    assert_int_equal(answer.queries[0].count, 0);
    for (unsigned i = 0; i < 30; i++) {
        snprintf(id, sizeof id, "i%u", i);
        assert_ok(lake_put(lake.service, "t", id, i + 100, NULL, ERR));
        assert_ok(lake_put(lake.service, "t", id, i, NULL, ERR));
    }
    assert_ok(coll_search(lake.service, STR("t"), &ask, &lake.arena, &answer, ERR));
    assert_int_equal(answer.query_count, 1);
    assert_int_equal(answer.queries[0].count, 30);
    const struct coll_hit *hits = answer.queries[0].items;
    assert_str(hits[0].id, "i7");
    assert_true(hits[0].distance == 0);
    for (size_t i = 0; i < 30; i++) {
        unsigned number = 0;
        double sum = 0;
        assert_int_equal(sscanf(hits[i].id.ptr, "i%u", &number), 1);
        lake_vector(number, other);
        for (int d = 0; d < DIM; d++) {
            sum += pow((double)query[d] - (double)other[d], 2);
        }
        assert_true(fabs(hits[i].distance - sqrt(sum)) < 1e-9 * (1 + sqrt(sum)));
        assert_true(i == 0 || hits[i - 1].distance <= hits[i].distance);
    }
    const struct coll_query near = { .id = STR("i7"),
                                     .k = 5,
                                     .has_max_distance = true,
                                     .max_distance = hits[1].distance,
                                     .with_vectors = true };
    assert_ok(coll_search(lake.service, STR("t"), &near, &lake.arena, &answer, ERR));
    assert_int_equal(answer.queries[0].count, 2);
    assert_memory_equal(answer.queries[0].items[0].vector, query, sizeof query);
    const struct coll_query nobody = { .id = STR("none") };
    assert_kind(coll_search(lake.service, STR("t"), &nobody, &lake.arena, &answer, ERR),
                E_NOT_FOUND);
    const struct coll_query many = { .vectors = query, .vector_count = 1, .k = 10001 };
    assert_kind(coll_search(lake.service, STR("t"), &many, &lake.arena, &answer, ERR), E_INVALID);
    lake_down(&lake);
}

static void distances_are_those_of_the_metric(void **state)
{
    struct lake lake;
    struct coll_info info;
    struct coll_answer answer;
    struct coll_added added;
    const float vector[2] = { 3, 4 }, query[2] = { -3, -4 };
    lake_up(&lake);
    const struct {
        const char *name;
        enum vec_metric metric;
        double distance;
    } all[] = { { "l", VEC_L2, 10 }, { "c", VEC_COSINE, 2 }, { "d", VEC_DOT, 25 } };
    for (size_t i = 0; i < 3; i++) {
        struct str name = str_of(all[i].name);
        const struct coll_spec spec = { .name = name, .dimension = 2, .metric = all[i].metric };
        const struct coll_item item = { .id = STR("a"), .vector = vector };
        const struct coll_query ask = { .vectors = query, .vector_count = 1 };
        assert_ok(coll_create(lake.service, &spec, &lake.arena, &info, ERR));
        assert_ok(coll_add(lake.service, name, &item, 1, COLL_UPSERT, &added, ERR));
        assert_ok(coll_search(lake.service, name, &ask, &lake.arena, &answer, ERR));
        assert_true(answer.queries[0].items[0].distance == all[i].distance);
    }
    lake_down(&lake);
}

static void deletes_count_what_was_there(void **state)
{
    struct lake lake;
    uint64_t deleted = 0;
    lake_up(&lake);
    lake_create(&lake, "t");
    assert_ok(lake_put(lake.service, "t", "a", 1, NULL, ERR));
    assert_ok(lake_put(lake.service, "t", "b", 2, NULL, ERR));
    assert_ok(lake_put(lake.service, "t", "c", 3, NULL, ERR));
    const struct str ids[] = { STR("a"), STR("x"), STR("a") };
    const struct coll_which some = { .ids = ids, .id_count = 3 };
    assert_ok(coll_delete(lake.service, STR("t"), &some, &deleted, ERR));
    assert_int_equal(deleted, 1);
    lake_lacks(&lake, lake.service, "t", "a");
    const struct coll_which none = { 0 };
    assert_kind(coll_delete(lake.service, STR("t"), &none, &deleted, ERR), E_INVALID);
    const struct coll_which all = { .all = true };
    assert_ok(coll_delete(lake.service, STR("t"), &all, &deleted, ERR));
    assert_int_equal(deleted, 2);
    assert_int_equal(lake_count(lake.service, "t"), 0);
    assert_ok(lake_put(lake.service, "t", "a", 9, NULL, ERR));
    lake_again(&lake);
    assert_int_equal(lake_count(lake.service, "t"), 1);
    lake_has(&lake, lake.service, "t", "a", 9);
    lake_down(&lake);
}

static void names_are_checked_listed_and_made_again(void **state)
{
    struct lake lake;
    struct coll_info info, *list = NULL;
    size_t count = 0;
    lake_up(&lake);
    struct coll_spec spec = { .name = STR("a/b"), .dimension = DIM, .metric = VEC_L2 };
    assert_kind(coll_create(lake.service, &spec, &lake.arena, &info, ERR), E_INVALID);
    spec.name = STR("a.b");
    assert_kind(coll_create(lake.service, &spec, &lake.arena, &info, ERR), E_INVALID);
    spec.name = STR("n");
    spec.dimension = 0;
    assert_kind(coll_create(lake.service, &spec, &lake.arena, &info, ERR), E_INVALID);
    lake_create(&lake, "zwei \xc3\xa4");
    lake_create(&lake, "eins");
    spec = (struct coll_spec){ .name = STR("eins"), .dimension = 3 };
    assert_kind(coll_create(lake.service, &spec, &lake.arena, &info, ERR), E_EXISTS);
    assert_ok(lake_put(lake.service, "eins", "old", 1, NULL, ERR));
    for (int i = 0; i < 2; i++) {
        assert_ok(coll_list(lake.service, &lake.arena, &list, &count, ERR));
        assert_int_equal(count, 2);
        assert_str(list[0].spec.name, "eins");
        assert_int_equal(list[0].length, 1);
        assert_str(list[1].spec.name, "zwei \xc3\xa4");
        assert_int_equal(list[1].length, 0);
        lake_again(&lake);
    }
    struct str old = arena_str(&lake.arena, list[0].uuid);
    assert_ok(coll_drop(lake.service, STR("eins"), ERR));
    assert_kind(coll_info(lake.service, STR("eins"), &lake.arena, &info, ERR), E_NOT_FOUND);
    assert_kind(coll_drop(lake.service, STR("eins"), ERR), E_NOT_FOUND);
    lake_create(&lake, "eins");
    assert_int_equal(lake_count(lake.service, "eins"), 0);
    assert_ok(coll_info(lake.service, STR("eins"), &lake.arena, &info, ERR));
    assert_false(str_eq(info.uuid, old));
    lake_down(&lake);
}

static void an_alias_is_another_name_and_switches_at_once(void **state)
{
    struct lake lake;
    struct coll_alias *list = NULL;
    size_t count = 0;
    lake_up(&lake);
    lake_create(&lake, "one");
    lake_create(&lake, "two");
    assert_ok(lake_put(lake.service, "one", "a", 1, NULL, ERR));
    assert_ok(lake_put(lake.service, "two", "a", 2, NULL, ERR));
    assert_kind(coll_alias_set(lake.service, STR("two"), STR("one"), ERR), E_EXISTS);
    assert_kind(coll_alias_set(lake.service, STR("live"), STR("none"), ERR), E_NOT_FOUND);
    assert_ok(coll_alias_set(lake.service, STR("live"), STR("one"), ERR));
    lake_has(&lake, lake.service, "live", "a", 1);
    struct coll_info info;
    const struct coll_spec spec = { .name = STR("live"), .dimension = DIM };
    assert_kind(coll_create(lake.service, &spec, &lake.arena, &info, ERR), E_EXISTS);
    assert_kind(coll_drop(lake.service, STR("live"), ERR), E_NOT_FOUND);
    assert_ok(coll_alias_set(lake.service, STR("live"), STR("two"), ERR));
    lake_has(&lake, lake.service, "live", "a", 2);
    lake_again(&lake);
    lake_has(&lake, lake.service, "live", "a", 2);
    assert_ok(coll_alias_list(lake.service, &lake.arena, &list, &count, ERR));
    assert_int_equal(count, 1);
    assert_str(list[0].alias, "live");
    assert_str(list[0].index, "two");
    assert_ok(coll_alias_drop(lake.service, STR("live"), ERR));
    assert_kind(coll_info(lake.service, STR("live"), &lake.arena, &info, ERR), E_NOT_FOUND);
    assert_ok(coll_info(lake.service, STR("two"), &lake.arena, &info, ERR));
    lake_down(&lake);
}

static void pages_give_each_item_once_while_writes_run(void **state)
{
    struct lake lake;
    char id[16];
    bool seen[200] = { false };
    uint64_t deleted = 0;
    lake_up(&lake);
    lake_create(&lake, "t");
    for (unsigned i = 0; i < 200; i++) {
        snprintf(id, sizeof id, "%u", i);
        assert_ok(lake_put(lake.service, "t", id, i, NULL, ERR));
    }
    struct str next = STR_EMPTY;
    unsigned round = 0;
    do {
        struct coll_item *items = NULL;
        size_t count = 0;
        const struct coll_page page = { .after = next, .limit = 7, .with_vectors = true };
        assert_ok(
            coll_items(lake.service, STR("t"), &page, &lake.arena, &items, &count, &next, ERR));
        for (size_t i = 0; i < count; i++) {
            unsigned number = 0;
            char text[16] = "";
            memcpy(text, items[i].id.ptr, items[i].id.len);
            if (sscanf(text, "%u", &number) == 1 && number < 200) {
                assert_false(seen[number]);
                seen[number] = true;
            }
        }
        /* Even ones move to other slots, those that end in 5 go, others come. */
        snprintf(id, sizeof id, "%u", round * 2 % 200);
        assert_ok(lake_put(lake.service, "t", id, round + 1000, NULL, ERR));
        snprintf(id, sizeof id, "%u", (round * 10 + 5) % 200);
        const struct str gone = str_of(id);
        const struct coll_which which = { .ids = &gone, .id_count = 1 };
        assert_ok(coll_delete(lake.service, STR("t"), &which, &deleted, ERR));
        snprintf(id, sizeof id, "new%u", round);
        assert_ok(lake_put(lake.service, "t", id, round + 2000, NULL, ERR));
        if (++round == 10) {
            lake_again(&lake); /* and the process is another one */
        }
    } while (next.len > 0);
    for (unsigned i = 0; i < 200; i++) {
        assert_true(seen[i] || i % 10 == 5);
    }
    const struct coll_page broken = { .after = STR("x"), .limit = 1 };
    struct coll_item *items = NULL;
    size_t count = 0;
    assert_kind(
        coll_items(lake.service, STR("t"), &broken, &lake.arena, &items, &count, &next, ERR),
        E_INVALID);
    lake_down(&lake);
}

static void what_is_dropped_is_swept(void **state)
{
    struct lake lake;
    lake_up(&lake);
    lake_create(&lake, "t");
    lake_create(&lake, "u");
    assert_ok(lake_put(lake.service, "t", "a", 1, NULL, ERR));
    assert_ok(lake_put(lake.service, "u", "a", 1, NULL, ERR));
    const char *t = lake_prefix(&lake, "t", ""), *u = lake_prefix(&lake, "u", "");
    assert_int_equal(lake_objects(&lake, t), 2);
    assert_ok(coll_drop(lake.service, STR("t"), ERR));
    while (lake_objects(&lake, t) > 0) { /* a test that hangs here has failed */
    }
    assert_int_equal(lake_objects(&lake, u), 2);
    lake_down(&lake);
}

/** Zeros stand for defaults that may change: what is told are the values that work. */
static void an_index_tells_the_values_that_work(void **state)
{
    struct lake lake;
    struct coll_info info, *list = NULL;
    size_t count = 0;
    lake_up(&lake);
    const struct coll_spec spec = { .name = STR("t"), .dimension = DIM, .ef_search = 99 };
    assert_ok(coll_create(lake.service, &spec, &lake.arena, &info, ERR));
    for (int i = 0; i < 3; i++) {
        assert_int_equal(info.spec.m, VEC_M_DEFAULT);
        assert_int_equal(info.spec.ef_construction, VEC_EF_CONSTRUCTION_DEFAULT);
        assert_int_equal(info.spec.ef_search, 99);
        assert_true(info.length_known && info.length == (uint64_t)(i > 0));
        if (i == 0) {
            assert_ok(lake_put(lake.service, "t", "a", 1, NULL, ERR));
            lake_again(&lake); /* closed from here on */
            assert_ok(coll_info(lake.service, STR("t"), &lake.arena, &info, ERR));
        } else {
            assert_ok(coll_list(lake.service, &lake.arena, &list, &count, ERR));
            assert_int_equal(count, 1);
            info = list[0];
        }
        assert_false(info.open);
    }
    lake_down(&lake);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_two_processes_hash_an_id_alike),
        cmocka_unit_test(an_index_tells_the_values_that_work),
        cmocka_unit_test(what_was_put_is_there_bit_for_bit_and_after_a_restart),
        cmocka_unit_test(a_search_that_scans_much_is_not_quick),
        cmocka_unit_test(an_index_is_open_from_its_first_use_on),
        cmocka_unit_test(a_batch_acts_as_if_in_order),
        cmocka_unit_test(what_is_wrong_with_an_item_is_said_and_nothing_is_added),
        cmocka_unit_test(what_is_wrong_with_a_patch_names_the_id),
        cmocka_unit_test(searches_give_each_id_once_by_exact_distance),
        cmocka_unit_test(distances_are_those_of_the_metric),
        cmocka_unit_test(deletes_count_what_was_there),
        cmocka_unit_test(names_are_checked_listed_and_made_again),
        cmocka_unit_test(an_alias_is_another_name_and_switches_at_once),
        cmocka_unit_test(pages_give_each_item_once_while_writes_run),
        cmocka_unit_test(what_is_dropped_is_swept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
