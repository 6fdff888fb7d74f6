/* Compacting an index: what deletes left goes, in memory and for whoever opens it next. */
#include "lake.h"

#include <stdio.h>

/** Ids of all items in the order of pages, a line each. */
static struct str pages_of(struct lake *lake)
{
    struct coll_item *items = NULL;
    struct str next = STR_EMPTY;
    struct buf text;
    size_t count = 0;
    buf_init(&text, 0);
    do {
        const struct coll_page page = { .after = next, .limit = 7 };
        assert_ok(
            coll_items(lake->service, STR("t"), &page, &lake->arena, &items, &count, &next, ERR));
        for (size_t i = 0; i < count; i++) {
            assert_ok(buf_append(&text, items[i].id));
            assert_ok(buf_append(&text, STR("\n")));
        }
    } while (next.len > 0);
    struct str kept = arena_str(&lake->arena, buf_str(&text));
    buf_done(&text);
    return kept;
}

static void expect_no_gaps(struct lake *lake, uint64_t items)
{
    struct coll_stats stats;
    assert_ok(coll_stats(lake->service, STR("t"), &lake->arena, &stats, ERR));
    assert_int_equal(stats.graph.count, items);
    assert_int_equal(stats.graph.slots, items);
    assert_int_equal(stats.deleted, 0);
}

static const char *id_of(unsigned i)
{
    static _Thread_local char id[16];
    snprintf(id, sizeof id, "id%u", i);
    return id;
}

static enum status delete_one(struct lake *lake, unsigned i)
{
    uint64_t deleted = 0;
    const struct str id = str_of(id_of(i));
    const struct coll_which which = { .ids = &id, .id_count = 1 };
    return coll_delete(lake->service, STR("t"), &which, &deleted, ERR);
}

/** Gaps from the log, from a snapshot's parts, and from both. */
static void compacting_gives_memory_back_and_it_stays_given_back(void **state)
{
    enum { ITEMS = 2000, LEFT = 200 };
    for (int snapshot = 0; snapshot < 3; snapshot++) {
        struct lake lake;
        struct coll_stats before, after;
        lake_up(&lake);
        lake_create(&lake, "t");
        for (unsigned i = 0; i < ITEMS; i++) {
            assert_ok(lake_put(lake.service, "t", id_of(i), i, "{\"a\":2}", ERR));
        }
        assert_ok(snapshot > 0 ? coll_settle(lake.service, STR("t"), true, ERR) : OK);
        for (unsigned i = 0; i < ITEMS; i++) {
            assert_ok(i % 10 != 3 ? delete_one(&lake, i) : OK);
        }
        assert_ok(snapshot > 1 ? coll_settle(lake.service, STR("t"), true, ERR) : OK);
        struct str dump = lake_dump(&lake, lake.service, "t"), pages = pages_of(&lake);
        assert_ok(coll_info(lake.service, STR("t"), &lake.arena, &before.info, ERR));
        assert_ok(coll_compact(lake.service, STR("t"), ERR));
        assert_ok(coll_info(lake.service, STR("t"), &lake.arena, &after.info, ERR));
        assert_true(after.info.memory_bytes < before.info.memory_bytes / 2);
        expect_no_gaps(&lake, LEFT);
        for (int again = 0; again < 2; again++) {
            assert_true(str_eq(dump, lake_dump(&lake, lake.service, "t")));
            assert_true(str_eq(pages, pages_of(&lake)));
            lake_again(&lake);
        }
        expect_no_gaps(&lake, LEFT);
        assert_ok(lake_put(lake.service, "t", "more", 77, NULL, ERR)); /* and it goes on */
        assert_ok(coll_settle(lake.service, STR("t"), true, ERR));
        lake_again(&lake);
        assert_int_equal(lake_count(lake.service, "t"), LEFT + 1);
        lake_has(&lake, lake.service, "t", "more", 77);
        lake_down(&lake);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(compacting_gives_memory_back_and_it_stays_given_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
