/* Indexes that are large enough for a graph: it is stored, loaded, and done without when
 * damaged. */
#include "lake.h"

#include <stdio.h>
#include <string.h>

enum { ITEMS = 6000, BATCH = 500 };

static void fill(struct lake *lake)
{
    static float vectors[BATCH][DIM];
    static char ids[BATCH][16];
    static struct coll_item items[BATCH];
    struct coll_added added;
    for (unsigned first = 0; first < ITEMS; first += BATCH) {
        for (unsigned i = 0; i < BATCH; i++) {
            lake_vector(first + i, vectors[i]);
            snprintf(ids[i], sizeof ids[i], "i%u", first + i);
            items[i] = (struct coll_item){ .id = str_of(ids[i]), .vector = vectors[i] };
        }
        assert_ok(coll_add(lake->service, STR("t"), items, BATCH, COLL_UPSERT, &added, ERR));
        assert_int_equal(added.added, BATCH);
    }
}

/** Replaced and deleted ones, so that slots are not in the order of numbers. */
static void churn(struct lake *lake)
{
    char id[16];
    uint64_t deleted = 0;
    for (unsigned i = 0; i < 200; i++) {
        snprintf(id, sizeof id, "i%u", i * 7);
        assert_ok(lake_put(lake->service, "t", id, i + 50000, "{\"x\":1}", ERR));
        snprintf(id, sizeof id, "i%u", i * 7 + 1);
        const struct str one = str_of(id);
        const struct coll_which which = { .ids = &one, .id_count = 1 };
        assert_ok(coll_delete(lake->service, STR("t"), &which, &deleted, ERR));
    }
}

/** Each item that is asked for is its own nearest, at no distance. */
static void check_search(struct lake *lake)
{
    for (unsigned i = 3; i < ITEMS; i += 97) {
        float query[DIM];
        char id[16];
        struct coll_answer answer;
        struct coll_item item;
        struct arena arena;
        arena_init(&arena, 0);
        snprintf(id, sizeof id, "i%u", i);
        enum status status = coll_get(lake->service, STR("t"), str_of(id), true, &arena, &item,
                                      ERR);
        assert_true(status == OK || status == E_NOT_FOUND);
        if (status == OK) {
            memcpy(query, item.vector, sizeof query);
            const struct coll_query ask = { .vectors = query, .vector_count = 1, .ef = 200 };
            assert_ok(coll_search(lake->service, STR("t"), &ask, &arena, &answer, ERR));
            assert_int_equal(answer.queries[0].count, 10);
            assert_str(answer.queries[0].items[0].id, id);
            assert_true(answer.queries[0].items[0].distance == 0);
        }
        arena_done(&arena);
    }
}

static void up(struct lake *lake)
{
    lake_up(lake);
    lake_create(lake, "t");
    fill(lake);
    assert_ok(coll_settle(lake->service, STR("t"), false, ERR));
    churn(lake);
    assert_ok(coll_settle(lake->service, STR("t"), true, ERR));
}

static void a_graph_is_loaded_with_its_snapshot(void **state)
{
    struct lake lake;
    struct coll_stats stats;
    up(&lake);
    assert_true(lake_objects(&lake, lake_prefix(&lake, "t", "snap/")) > 4);
    assert_ok(coll_stats(lake.service, STR("t"), &lake.arena, &stats, ERR));
    uint64_t slots = stats.graph.slots;
    struct str before = lake_dump(&lake, lake.service, "t");
    for (int i = 0; i < 2; i++) {
        lake_again(&lake);
        assert_ok(coll_stats(lake.service, STR("t"), &lake.arena, &stats, ERR));
        assert_int_equal(stats.graph.count, ITEMS - 200);
        /* as it was laid out: adding the items anew would leave no free slot */
        assert_int_equal(stats.graph.slots, slots);
        assert_true(slots > ITEMS - 200);
        assert_true(str_eq(before, lake_dump(&lake, lake.service, "t")));
        check_search(&lake);
        assert_ok(coll_settle(lake.service, STR("t"), true, ERR)); /* and of what was loaded */
    }
    assert_ok(coll_compact(lake.service, STR("t"), ERR));
    assert_ok(coll_stats(lake.service, STR("t"), &lake.arena, &stats, ERR));
    assert_int_equal(stats.graph.slots, ITEMS - 200);
    assert_true(str_eq(before, lake_dump(&lake, lake.service, "t")));
    churn(&lake);
    check_search(&lake);
    before = lake_dump(&lake, lake.service, "t");
    lake_again(&lake);
    assert_true(str_eq(before, lake_dump(&lake, lake.service, "t")));
    check_search(&lake);
    lake_down(&lake);
}

static void ask(struct lake *lake, const float *vectors, size_t count, struct coll_answer *out)
{
    const struct coll_query query = { .vectors = vectors, .vector_count = count, .k = 20 };
    assert_ok(coll_search(lake->service, STR("t"), &query, &lake->arena, out, ERR));
    assert_int_equal(out->query_count, count);
    assert_string_equal(out->plan, "graph");
}

static void many_queries_find_what_each_by_itself_finds(void **state)
{
    enum { QUERIES = 39 }; /* two whole groups and a part of one */
    static float vectors[QUERIES][DIM];
    struct lake lake;
    struct coll_answer all, one;
    struct coll_stats stats;
    up(&lake);
    for (unsigned i = 0; i < QUERIES; i++) {
        lake_vector(i * 131 + 7, vectors[i]);
    }
    ask(&lake, vectors[0], QUERIES, &all);
    for (unsigned i = 0; i < QUERIES; i++) {
        ask(&lake, vectors[i], 1, &one);
        assert_int_equal(one.queries[0].count, all.queries[i].count);
        assert_int_equal(one.queries[0].count, 20);
        assert_int_equal(one.ef_used, all.ef_used);
        for (size_t hit = 0; hit < one.queries[0].count; hit++) {
            const struct coll_hit *a = &one.queries[0].items[hit], *b = &all.queries[i].items[hit];
            assert_true(str_eq(a->id, b->id) && a->distance == b->distance);
        }
    }
    assert_ok(coll_stats(lake.service, STR("t"), &lake.arena, &stats, ERR));
    assert_int_equal(stats.plans_graph, 2 * QUERIES);
    lake_down(&lake);
}

static void the_recall_that_was_measured_is_told(void **state)
{
    struct lake lake;
    struct coll_stats stats;
    lake_up(&lake);
    lake_create(&lake, "t");
    assert_ok(lake_put(lake.service, "t", "a", 1, NULL, ERR));
    assert_ok(coll_stats(lake.service, STR("t"), &lake.arena, &stats, ERR));
    assert_true(stats.recall < 0);
    fill(&lake);
    assert_ok(coll_settle(lake.service, STR("t"), false, ERR));
    do { /* the background may be who measures; a test that hangs here has failed */
        assert_ok(coll_stats(lake.service, STR("t"), &lake.arena, &stats, ERR));
    } while (stats.recall < 0);
    assert_true(stats.recall > 0.9 && stats.recall <= 1);
    lake_down(&lake);
}

static void a_damaged_graph_is_made_anew_from_the_items(void **state)
{
    struct lake lake;
    up(&lake);
    struct str before = lake_dump(&lake, lake.service, "t");
    const char *snap = lake_prefix(&lake, "t", "snap/");
    size_t count = lake_objects(&lake, snap);
    for (size_t i = 0; i < count; i++) {
        struct str key = lake_key(&lake, snap, i);
        struct coll_stats stats;
        struct buf bytes;
        if (str_ends(key, STR("/000000"))) {
            continue; /* the items themselves: tested elsewhere */
        }
        for (int missing = 0; missing < 2; missing++) {
            buf_init(&bytes, 0);
            assert_ok(
                store_read(lake.store, key, &(struct store_read_opts){ 0 }, &bytes, NULL, ERR));
            if (missing) {
                assert_ok(store_delete(lake.store, key, ERR));
            } else {
                bytes.ptr[bytes.len / 2] ^= 1;
                assert_ok(store_put(lake.store, key, buf_str(&bytes), &(struct store_cond){ 0 },
                                    NULL, ERR));
                bytes.ptr[bytes.len / 2] ^= 1;
            }
            lake_again(&lake);
            if (str_ends(key, STR("/list"))) { /* nobody knows what there is */
                assert_kind(coll_stats(lake.service, STR("t"), &lake.arena, &stats, ERR),
                            E_CORRUPT);
            } else {
                assert_ok(coll_stats(lake.service, STR("t"), &lake.arena, &stats, ERR));
                assert_int_equal(stats.graph.slots, ITEMS - 200); /* they were added anew */
                assert_true(str_eq(before, lake_dump(&lake, lake.service, "t")));
                check_search(&lake);
            }
            assert_ok(
                store_put(lake.store, key, buf_str(&bytes), &(struct store_cond){ 0 }, NULL, ERR));
            buf_done(&bytes);
        }
    }
    lake_down(&lake);
}

/** Bytes of the newest snapshot's own folder, and of all. */
static void snap_bytes(struct lake *lake, uint64_t *newest_out, uint64_t *all_out)
{
    struct store_list list;
    const struct store_list_opts opts = { .prefix = str_of(lake_prefix(lake, "t", "snap/")),
                                          .limit = STORE_LIST_MAX };
    assert_ok(store_list(lake->store, &opts, &lake->arena, &list, ERR));
    assert_true(list.object_count > 0);
    struct str last = list.objects[list.object_count - 1].key;
    struct str folder = str_take(last, str_rfind_char(last, '/') + 1);
    *newest_out = *all_out = 0;
    for (size_t i = 0; i < list.object_count; i++) {
        *newest_out += str_starts(list.objects[i].key, folder) ? list.objects[i].size : 0;
        *all_out += list.objects[i].size;
    }
}

/** Some come, some go, some are others now. */
static void change_some(struct lake *lake, unsigned round, unsigned count)
{
    char id[16];
    uint64_t deleted = 0;
    for (unsigned i = 0; i < count; i++) {
        unsigned number = round * count + i;
        snprintf(id, sizeof id, "n%u", number);
        assert_ok(lake_put(lake->service, "t", id, 80000 + number, "{\"y\":2}", ERR));
        snprintf(id, sizeof id, "i%u", 2000 + number);
        assert_ok(lake_put(lake->service, "t", id, 70000 + number, NULL, ERR));
        snprintf(id, sizeof id, "i%u", 4000 + number);
        const struct str one = str_of(id);
        const struct coll_which which = { .ids = &one, .id_count = 1 };
        assert_ok(coll_delete(lake->service, STR("t"), &which, &deleted, ERR));
    }
}

/** Of the changed ones, each where it is or was. */
static void check_some(struct lake *lake, unsigned round, unsigned count)
{
    char id[16];
    for (unsigned i = 0; i < (round + 1) * count; i++) {
        snprintf(id, sizeof id, "n%u", i);
        lake_has(lake, lake->service, "t", id, 80000 + i);
        snprintf(id, sizeof id, "i%u", 2000 + i);
        lake_has(lake, lake->service, "t", id, 70000 + i);
        snprintf(id, sizeof id, "i%u", 4000 + i);
        lake_lacks(lake, lake->service, "t", id);
    }
}

static void a_graph_serves_later_snapshots_until_much_has_changed(void **state)
{
    enum { COUNT = 20 }; /* 80 vectors come or go a round, of the 375 that may */
    struct lake lake;
    struct coll_stats stats;
    uint64_t newest = 0, all = 0;
    lake_up(&lake);
    lake.part_rows = 256;
    lake_again(&lake);
    lake_create(&lake, "t");
    fill(&lake);
    assert_ok(coll_settle(lake.service, STR("t"), true, ERR));
    bool anew = false;
    for (unsigned round = 0; round < 6; round++) {
        change_some(&lake, round, COUNT);
        assert_ok(coll_settle(lake.service, STR("t"), true, ERR));
        snap_bytes(&lake, &newest, &all);
        anew = anew || newest > all / 3; /* the links are more than half of all */
        assert_true(round >= 4 || newest < all / 10);
        struct str before = lake_dump(&lake, lake.service, "t");
        if (round % 2 == 1) {
            lake_again(&lake);
            assert_true(str_eq(before, lake_dump(&lake, lake.service, "t")));
        }
        assert_ok(coll_settle(lake.service, STR("t"), false, ERR));
        assert_ok(coll_stats(lake.service, STR("t"), &lake.arena, &stats, ERR));
        assert_int_equal(stats.graph.count, ITEMS);
        assert_int_equal(stats.graph.linked, ITEMS);
        check_some(&lake, round, COUNT);
    }
    assert_true(anew);
    lake_down(&lake);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_graph_is_loaded_with_its_snapshot),
        cmocka_unit_test(many_queries_find_what_each_by_itself_finds),
        cmocka_unit_test(the_recall_that_was_measured_is_told),
        cmocka_unit_test(a_damaged_graph_is_made_anew_from_the_items),
        cmocka_unit_test(a_graph_serves_later_snapshots_until_much_has_changed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
