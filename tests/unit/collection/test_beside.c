/* Writers, searches, pages and snapshots beside each other: what is told is true at every
 * moment. */
#include "lake.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/rng.h"

enum { WRITERS = 3, READERS = 2, IDS = 60, ROUNDS = 250, SETTLERS = 3, SETTLES = 15 };

struct crowd {
    struct lake lake;
    atomic_bool stop;
    /* Each id belongs to one writer; its number is what was acknowledged last. Those of "stay" are
     * never deleted. */
    int acknowledged[IDS];
    atomic_uint searches;
};

struct member {
    struct crowd *crowd;
    unsigned number;
};

static bool stays(unsigned id)
{
    return id % 2 == 0;
}

static void *write_some(void *arg)
{
    struct member *member = arg;
    struct crowd *crowd = member->crowd;
    struct rng rng;
    char id[16], metadata[32];
    rng_seed(&rng, member->number + 17);
    for (unsigned round = 0; round < ROUNDS; round++) {
        unsigned i = (unsigned)rng_below(&rng, IDS / WRITERS) * WRITERS + member->number;
        unsigned number = (unsigned)rng_below(&rng, 1000);
        uint64_t deleted = 0;
        snprintf(id, sizeof id, "id%02u", i);
        const struct str one = str_of(id);
        const struct coll_which which = { .ids = &one, .id_count = 1 };
        if (!stays(i) && rng_below(&rng, 3) == 0) {
            assert_ok(coll_delete(crowd->lake.service, STR("t"), &which, &deleted, ERR));
            assert_int_equal(deleted, crowd->acknowledged[i] >= 0);
            crowd->acknowledged[i] = -1;
        } else {
            snprintf(metadata, sizeof metadata, "{\"n\":%u}", number);
            assert_ok(lake_put(crowd->lake.service, "t", id, number, metadata, ERR));
            crowd->acknowledged[i] = (int)number;
        }
    }
    return NULL;
}

/** The hits are distinct ids, all that stay are among them, and distances are those of the vectors
 * that come with them. */
static void check_hits(const struct coll_hits *hits, const float *query)
{
    bool seen[IDS] = { false };
    for (size_t i = 0; i < hits->count; i++) {
        unsigned id = IDS;
        char text[16] = "";
        double sum = 0;
        memcpy(text, hits->items[i].id.ptr, hits->items[i].id.len);
        assert_int_equal(sscanf(text, "id%02u", &id), 1);
        assert_true(id < IDS && !seen[id]);
        seen[id] = true;
        for (int d = 0; d < DIM; d++) {
            double difference = (double)query[d] - (double)hits->items[i].vector[d];
            sum += difference * difference;
        }
        double told = hits->items[i].distance * hits->items[i].distance;
        assert_true(told - sum < 1e-6 * (1 + sum) && sum - told < 1e-6 * (1 + sum));
    }
    for (unsigned id = 0; id < IDS; id++) {
        if (stays(id) && !seen[id]) {
            fail_msg("id%02u was there all the while and is not found", id);
        }
    }
}

static void *search_some(void *arg)
{
    struct member *member = arg;
    struct crowd *crowd = member->crowd;
    struct rng rng;
    rng_seed(&rng, member->number + 99);
    while (!atomic_load(&crowd->stop)) {
        struct arena arena;
        struct coll_answer answer;
        float queries[3][DIM];
        arena_init(&arena, 0);
        for (unsigned i = 0; i < 3; i++) {
            lake_vector((unsigned)rng_below(&rng, 1000), queries[i]);
        }
        const struct coll_query ask = { .vectors = queries[0],
                                        .vector_count = 1 + rng_below(&rng, 3),
                                        .k = IDS,
                                        .with_vectors = true,
                                        .with_metadata = true };
        assert_ok(coll_search(crowd->lake.service, STR("t"), &ask, &arena, &answer, ERR));
        for (size_t i = 0; i < answer.query_count; i++) {
            check_hits(&answer.queries[i], queries[i]);
        }
        struct coll_item *items = NULL;
        size_t count = 0;
        struct str next;
        const struct coll_page page = { .limit = 1000 };
        assert_ok(
            coll_items(crowd->lake.service, STR("t"), &page, &arena, &items, &count, &next, ERR));
        assert_true(count >= IDS / 2 && count <= IDS);
        arena_done(&arena);
        atomic_fetch_add(&crowd->searches, 1);
    }
    return NULL;
}

static void *care_for_it(void *arg)
{
    struct member *member = arg;
    struct crowd *crowd = member->crowd;
    while (!atomic_load(&crowd->stop)) {
        assert_ok(coll_settle(crowd->lake.service, STR("t"), true, ERR));
        assert_ok(coll_rebuild(crowd->lake.service, STR("t"), ERR));
        assert_ok(coll_compact(crowd->lake.service, STR("t"), ERR));
    }
    return NULL;
}

static void check_acknowledged(struct crowd *crowd)
{
    uint64_t there = 0;
    char id[16];
    for (unsigned i = 0; i < IDS; i++) {
        snprintf(id, sizeof id, "id%02u", i);
        if (crowd->acknowledged[i] < 0) {
            lake_lacks(&crowd->lake, crowd->lake.service, "t", id);
        } else {
            lake_has(&crowd->lake, crowd->lake.service, "t", id, (unsigned)crowd->acknowledged[i]);
            there++;
        }
    }
    assert_int_equal(lake_count(crowd->lake.service, "t"), there);
}

static void everything_goes_on_beside_everything(void **state)
{
    static struct crowd crowd;
    struct member members[WRITERS + READERS + 1];
    pthread_t threads[WRITERS + READERS + 1];
    char id[16];
    lake_up(&crowd.lake);
    lake_create(&crowd.lake, "t");
    for (unsigned i = 0; i < IDS; i++) {
        crowd.acknowledged[i] = stays(i) ? (int)i : -1;
        snprintf(id, sizeof id, "id%02u", i);
        if (stays(i)) {
            assert_ok(lake_put(crowd.lake.service, "t", id, i, NULL, ERR));
        }
    }
    for (unsigned i = 0; i < ARRAY_LEN(members); i++) {
        members[i] = (struct member){ .crowd = &crowd, .number = i };
        assert_int_equal(pthread_create(&threads[i], NULL,
                                        i < WRITERS             ? write_some
                                        : i < WRITERS + READERS ? search_some
                                                                : care_for_it,
                                        &members[i]),
                         0);
    }
    for (unsigned i = 0; i < WRITERS; i++) {
        pthread_join(threads[i], NULL);
    }
    while (atomic_load(&crowd.searches) < 20) { /* a test that hangs here has failed */
    }
    atomic_store(&crowd.stop, true);
    for (unsigned i = WRITERS; i < ARRAY_LEN(members); i++) {
        pthread_join(threads[i], NULL);
    }
    check_acknowledged(&crowd);
    lake_again(&crowd.lake);
    check_acknowledged(&crowd);
    lake_down(&crowd.lake);
}

static void *settle_some(void *arg)
{
    struct lake *lake = arg;
    for (int i = 0; i < SETTLES; i++) {
        assert_ok(coll_settle(lake->service, STR("t"), true, ERR));
    }
    return NULL;
}

struct turns {
    pthread_mutex_t lock;
    char seen[SETTLERS * SETTLES + 8][200]; /* chunks; the rest is guarded by lock too */
    unsigned count;
    int open, most; /* chunks that were written and whose pointer was not */
};

/** Each snapshot is one chunk here; behind it, and before the next one, comes the pointer. A chunk
 * that was seen before is being deleted. */
static void see_turns(void *ctx, struct str key)
{
    struct turns *turns = ctx;
    bool fresh = str_find(key, STR("/snap/")) != SIZE_MAX;
    pthread_mutex_lock(&turns->lock);
    for (unsigned i = 0; i < turns->count; i++) {
        fresh = fresh && !str_eq(key, str_of(turns->seen[i]));
    }
    if (fresh && turns->count < ARRAY_LEN(turns->seen)) {
        snprintf(turns->seen[turns->count++], sizeof turns->seen[0], "%.*s", STR_ARG(key));
    }
    turns->open += fresh ? 1 : str_ends(key, STR("/t.json")) ? -1 : 0;
    turns->most = turns->open > turns->most ? turns->open : turns->most;
    pthread_mutex_unlock(&turns->lock);
    for (int i = 0; fresh && i < 1000; i++) {
        sched_yield(); /* others could begin now */
    }
}

/** Somebody asks for a snapshot while another is made: both are whole. */
static void snapshots_asked_for_at_once_take_turns(void **state)
{
    enum { ITEMS = 600 };
    static struct turns turns = { .lock = PTHREAD_MUTEX_INITIALIZER };
    struct lake lake;
    struct rng rng;
    struct coll_stats stats;
    pthread_t threads[SETTLERS];
    char id[16];
    lake_up(&lake);
    lake_create(&lake, "t");
    rng_seed(&rng, 3);
    for (unsigned i = 0; i < ITEMS; i++) {
        snprintf(id, sizeof id, "id%u", i);
        assert_ok(lake_put(lake.service, "t", id, i, NULL, ERR));
    }
    lake_writing(&lake, see_turns, &turns);
    for (unsigned i = 0; i < SETTLERS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, settle_some, &lake), 0);
    }
    for (unsigned i = 0; i < 300; i++) { /* what the walks have not come to yet goes and comes */
        uint64_t deleted = 0;
        snprintf(id, sizeof id, "id%u", (unsigned)rng_below(&rng, ITEMS));
        const struct str one = str_of(id);
        const struct coll_which which = { .ids = &one, .id_count = 1 };
        assert_ok(coll_delete(lake.service, STR("t"), &which, &deleted, ERR));
        assert_ok(lake_put(lake.service, "t", id, i, NULL, ERR));
    }
    for (unsigned i = 0; i < SETTLERS; i++) {
        pthread_join(threads[i], NULL);
    }
    assert_ok(coll_settle(lake.service, STR("t"), true, ERR));
    lake_writing(&lake, NULL, NULL);
    assert_int_equal(turns.most, 1);
    assert_int_equal(turns.count, SETTLERS * SETTLES + 1);
    assert_int_equal(lake_objects(&lake, lake_prefix(&lake, "t", "snap/")), 1);
    assert_ok(coll_stats(lake.service, STR("t"), &lake.arena, &stats, ERR));
    assert_int_equal(stats.log_tail_objects, 0);
    struct str before = lake_dump(&lake, lake.service, "t");
    lake_again(&lake);
    assert_true(str_eq(before, lake_dump(&lake, lake.service, "t")));
    assert_int_equal(lake_count(lake.service, "t"), ITEMS);
    lake_down(&lake);
}

/** Two services take the index from each other all the time: each acknowledged write stays. */
static void two_services_lose_no_acknowledged_write(void **state)
{
    struct lake lake;
    struct rng rng;
    int acknowledged[IDS];
    char id[16];
    lake_up(&lake);
    lake_create(&lake, "t");
    rng_seed(&rng, 5);
    struct coll_service *both[2] = { lake.service, lake_service(&lake) };
    memset(acknowledged, -1, sizeof acknowledged);
    for (unsigned round = 0; round < 300; round++) {
        unsigned who = (unsigned)rng_below(&rng, 2), i = (unsigned)rng_below(&rng, IDS);
        snprintf(id, sizeof id, "id%02u", i);
        enum status status = lake_put(both[who], "t", id, round, NULL, ERR);
        assert_true(status == OK || status == E_CONFLICT);
        if (status == OK) {
            acknowledged[i] = (int)round;
        } else { /* it starts again, and writes then */
            coll_service_close(both[who]);
            both[who] = lake_service(&lake);
        }
        if (round % 60 == 59) {
            status = coll_settle(both[who], STR("t"), true, ERR);
            assert_true(status == OK || status == E_CONFLICT);
        }
    }
    coll_service_close(both[1]);
    lake.service = both[0];
    lake_again(&lake);
    for (unsigned i = 0; i < IDS; i++) {
        snprintf(id, sizeof id, "id%02u", i);
        if (acknowledged[i] >= 0) {
            lake_has(&lake, lake.service, "t", id, (unsigned)acknowledged[i]);
        } else {
            lake_lacks(&lake, lake.service, "t", id);
        }
    }
    lake_down(&lake);
}

static void an_index_made_again_has_nothing_of_the_old_one(void **state)
{
    struct lake lake;
    lake_up(&lake);
    for (unsigned i = 0; i < 100; i++) {
        lake_create(&lake, "t");
        assert_int_equal(lake_count(lake.service, "t"), 0);
        assert_ok(lake_put(lake.service, "t", "a", i, NULL, ERR));
        if (i % 3 == 0) {
            lake_again(&lake);
            lake_has(&lake, lake.service, "t", "a", i);
        }
        assert_ok(coll_drop(lake.service, STR("t"), ERR));
        if (i % 2 == 0) {
            lake_again(&lake);
        }
    }
    lake_down(&lake);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_goes_on_beside_everything),
        cmocka_unit_test(snapshots_asked_for_at_once_take_turns),
        cmocka_unit_test(two_services_lose_no_acknowledged_write),
        cmocka_unit_test(an_index_made_again_has_nothing_of_the_old_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
