/* Filters through the whole: searches, counts and deletes hold against a model, after restarts
 * too. */
#include "lake.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"

enum { IDS = 120 };

struct model {
    bool there;
    unsigned number, colour, size;
};

static void put(struct lake *lake, struct model *model, unsigned i, struct rng *rng)
{
    char id[16], metadata[64];
    model[i] = (struct model){ .there = true,
                               .number = (unsigned)rng_below(rng, 5000),
                               .colour = (unsigned)rng_below(rng, 4),
                               .size = (unsigned)rng_below(rng, 100) };
    snprintf(id, sizeof id, "i%u", i);
    snprintf(metadata, sizeof metadata, "{\"colour\":\"c%u\",\"size\":%u}", model[i].colour,
             model[i].size);
    assert_ok(lake_put(lake->service, "t", id, model[i].number, metadata, ERR));
}

static bool passes(const struct model *model, unsigned colour, unsigned size)
{
    return model->there && model->colour == colour && model->size < size;
}

static double distance2(const float *a, const float *b)
{
    double sum = 0;
    for (int d = 0; d < DIM; d++) {
        sum += ((double)a[d] - (double)b[d]) * ((double)a[d] - (double)b[d]);
    }
    return sum;
}

/** All that pass are found, nearest first, and nobody else. */
static void check_filter(struct lake *lake, const struct model *model, unsigned colour,
                         unsigned size, unsigned query_number)
{
    char filter[96];
    float query[DIM], other[DIM];
    struct coll_answer answer;
    uint64_t count = 0, expected = 0;
    snprintf(filter, sizeof filter, "{\"colour\":\"c%u\",\"size\":{\"$lt\":%u}}", colour, size);
    for (unsigned i = 0; i < IDS; i++) {
        expected += passes(&model[i], colour, size);
    }
    assert_ok(coll_count(lake->service, STR("t"), str_of(filter), &count, ERR));
    assert_int_equal(count, expected);
    lake_vector(query_number, query);
    const struct coll_query ask = { .vectors = query,
                                    .vector_count = 1,
                                    .k = IDS,
                                    .filter = str_of(filter),
                                    .with_metadata = true };
    assert_ok(coll_search(lake->service, STR("t"), &ask, &lake->arena, &answer, ERR));
    assert_int_equal(answer.filter_count, expected);
    assert_int_equal(answer.queries[0].count, expected);
    assert_int_equal(strncmp(answer.plan, "filter:", 7), 0);
    for (size_t i = 0; i < expected; i++) {
        const struct coll_hit *hit = &answer.queries[0].items[i];
        char text[16] = "";
        memcpy(text, hit->id.ptr, hit->id.len);
        unsigned id = (unsigned)strtoul(text + 1, NULL, 10);
        assert_true(id < IDS && passes(&model[id], colour, size));
        lake_vector(model[id].number, other);
        double told = hit->distance * hit->distance, real = distance2(query, other);
        assert_true(told - real < 1e-6 * (1 + real) && real - told < 1e-6 * (1 + real));
        assert_true(i == 0 || hit[-1].distance <= hit->distance);
    }
}

static void filters_hold_against_a_model(void **state)
{
    struct lake lake;
    struct rng rng;
    struct model model[IDS] = { { false } };
    lake_up(&lake);
    lake_create(&lake, "t");
    rng_seed(&rng, 11);
    for (unsigned round = 0; round < 600; round++) {
        unsigned i = (unsigned)rng_below(&rng, IDS), what = (unsigned)rng_below(&rng, 20);
        char id[16], text[96];
        uint64_t deleted = 0, expected = 0;
        snprintf(id, sizeof id, "i%u", i);
        if (what < 14) {
            put(&lake, model, i, &rng);
        } else if (what < 17 && model[i].there) {
            model[i].size = (unsigned)rng_below(&rng, 100);
            snprintf(text, sizeof text, "{\"size\":%u}", model[i].size);
            assert_ok(coll_patch(lake.service, STR("t"), str_of(id), str_of(text), true, ERR));
        } else if (what == 17) {
            unsigned colour = (unsigned)rng_below(&rng, 4);
            snprintf(text, sizeof text, "{\"colour\":\"c%u\",\"size\":{\"$lt\":15}}", colour);
            for (unsigned k = 0; k < IDS; k++) {
                expected += passes(&model[k], colour, 15);
                model[k].there = model[k].there && !passes(&model[k], colour, 15);
            }
            const struct coll_which which = { .filter = str_of(text) };
            assert_ok(coll_delete(lake.service, STR("t"), &which, &deleted, ERR));
            assert_int_equal(deleted, expected);
        } else if (what == 18 && round % 3 == 0) {
            assert_ok(coll_settle(lake.service, STR("t"), true, ERR));
        } else if (round % 5 == 0) {
            lake_again(&lake);
        }
        if (round % 4 == 0) {
            check_filter(&lake, model, (unsigned)rng_below(&rng, 4), (unsigned)rng_below(&rng, 110),
                         round);
        }
    }
    lake_down(&lake);
}

static void what_is_wrong_with_a_filter_is_said(void **state)
{
    struct lake lake;
    struct coll_answer answer;
    uint64_t count = 0;
    lake_up(&lake);
    lake_create(&lake, "t");
    assert_ok(lake_put(lake.service, "t", "a", 1, "{\"x\":1}", ERR));
    const struct coll_query ask = { .id = STR("a"), .filter = STR("{\"x\":{\"$gtt\":1}}") };
    assert_kind(coll_search(lake.service, STR("t"), &ask, &lake.arena, &answer, ERR), E_INVALID);
    assert_kind(coll_count(lake.service, STR("t"), STR("[1]"), &count, ERR), E_INVALID);
    const struct coll_which all = { .filter = STR("{}") };
    assert_kind(coll_delete(lake.service, STR("t"), &all, &count, ERR), E_INVALID);
    assert_int_equal(lake_count(lake.service, "t"), 1);
    lake_down(&lake);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(filters_hold_against_a_model),
        cmocka_unit_test(what_is_wrong_with_a_filter_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
