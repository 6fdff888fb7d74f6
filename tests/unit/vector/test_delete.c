/* Taking out and adding again: nothing is lost, nothing comes back, whatever is taken out. */
#include "vectors.h"

#include <math.h>
#include <stdatomic.h>

#include "base/rng.h"

enum { D = 24 };

/* What the index should hold: which vector is in which slot. */
struct model {
    struct vec_index *index;
    struct vec_scratch *scratch;
    float *vectors;    /* [n][D] to choose from */
    uint32_t *slot_of; /* [n]; UINT32_MAX: not in the index */
    uint32_t n;
    uint32_t live;
};

static void model_begin(struct model *model, const struct vec_opts *opts, uint32_t n)
{
    *model = (struct model){ .n = n, .vectors = vectors_make(n, D, 3) };
    model->slot_of = xmalloc(n * sizeof(*model->slot_of));
    memset(model->slot_of, 0xff, n * sizeof(*model->slot_of));
    assert_int_equal(vec_new(opts, &model->index, NULL), OK);
    assert_int_equal(vec_scratch_new(model->index, &model->scratch, NULL), OK);
}

static void model_end(struct model *model)
{
    vec_scratch_free(model->scratch);
    vec_free(model->index);
    mem_free(model->vectors);
    mem_free(model->slot_of);
}

static void model_add(struct model *model, uint32_t i)
{
    assert_int_equal(
        vec_add(model->index, model->vectors + (size_t)i * D, &model->slot_of[i], NULL), OK);
    model->live++;
}

static void model_delete(struct model *model, uint32_t i)
{
    assert_int_equal(vec_delete(model->index, model->scratch, model->slot_of[i], NULL), OK);
    model->slot_of[i] = UINT32_MAX;
    model->live--;
}

static void model_link(struct model *model)
{
    for (bool more = true; more;) {
        assert_int_equal(vec_maintain(model->index, model->scratch, 1000000, &more, NULL), OK);
    }
}

/* Sizes, reachability, and `queries` searches against brute force; returns the recall. */
static double model_check(struct model *model, uint32_t queries, uint32_t k, uint32_t ef)
{
    struct vec_stats stats;
    uint64_t lost = 1;
    size_t right = 0;
    size_t all = 0;
    vec_stats(model->index, &stats);
    assert_int_equal(stats.count, model->live);
    assert_int_equal(vec_unreachable(model->index, &lost, NULL), OK);
    assert_int_equal(lost, 0);
    float *there = xmalloc(((size_t)model->live + 1) * D * sizeof(*there));
    uint32_t *slots = xmalloc((model->live + 1) * sizeof(*slots));
    uint32_t count = 0;
    for (uint32_t i = 0; i < model->n; i++) {
        if (model->slot_of[i] != UINT32_MAX) {
            memcpy(there + (size_t)count * D, model->vectors + (size_t)i * D, D * sizeof(*there));
            slots[count++] = model->slot_of[i];
        }
    }
    struct vec_search_opts opts = { .k = k, .ef = ef };
    for (uint32_t q = 0; q < queries; q++) {
        struct vec_hit hits[64];
        uint32_t truth[65];
        uint32_t found = 0;
        const float *query = model->vectors + (size_t)(q * 37 % model->n) * D;
        uint32_t expected = k < count ? k : count;
        vectors_nearest(there, count, D, VEC_L2, query, expected, truth);
        assert_int_equal(vec_search(model->index, model->scratch, query, &opts, hits, &found, NULL),
                         OK);
        assert_int_equal(found, expected);
        for (uint32_t i = 0; i < found; i++) {
            for (uint32_t j = 0; j < i; j++) {
                assert_int_not_equal(hits[i].slot, hits[j].slot);
            }
            for (uint32_t t = 0; t < expected; t++) {
                right += hits[i].slot == slots[truth[t]];
            }
        }
        all += expected;
    }
    mem_free(there);
    mem_free(slots);
    return all == 0 ? 1 : (double)right / (double)all;
}

static void small_indexes_are_emptied_and_begun_again(void **state)
{
    for (uint32_t size = 1; size <= 3; size++) {
        for (uint32_t graph_min = 1; graph_min <= 10; graph_min += 9) {
            struct vec_opts opts = { .dimension = D, .graph_min = graph_min };
            struct model model;
            model_begin(&model, &opts, 60);
            for (uint32_t round = 0; round < 20; round++) {
                for (uint32_t i = 0; i < size; i++) {
                    model_add(&model, (round * 3 + i) % 60);
                }
                if (round % 2 == 0) {
                    model_link(&model);
                }
                assert_true(model_check(&model, 3, 10, 20) == 1);
                for (uint32_t i = 0; i < size; i++) {
                    model_delete(&model, (round * 3 + (round % 3 == 0 ? i : size - 1 - i)) % 60);
                    assert_true(model_check(&model, 2, 10, 20) == 1);
                }
            }
            struct vec_stats stats;
            vec_stats(model.index, &stats);
            assert_true(stats.slots <= 2 * size); /* slots are used again */
            model_end(&model);
        }
    }
}

static void what_is_not_there_is_not_taken_out(void **state)
{
    struct vec_opts opts = { .dimension = D };
    struct model model;
    model_begin(&model, &opts, 10);
    assert_int_equal(vec_delete(model.index, model.scratch, 0, NULL), E_NOT_FOUND);
    model_add(&model, 0);
    uint32_t slot = model.slot_of[0];
    model_delete(&model, 0);
    float back[D];
    assert_int_equal(vec_delete(model.index, model.scratch, slot, NULL), E_NOT_FOUND);
    assert_int_equal(vec_get(model.index, slot, back, NULL), E_NOT_FOUND);
    assert_int_equal(vec_delete(model.index, model.scratch, UINT32_MAX, NULL), E_NOT_FOUND);
    model_end(&model);
}

/* Slots that were freed before there were nodes: they are no nodes, and are used again. */
static void what_went_before_the_graph_began_is_not_linked(void **state)
{
    struct vec_opts opts = { .dimension = D, .graph_min = 100, .ef_construction = 48 };
    struct model model;
    model_begin(&model, &opts, 400);
    for (uint32_t i = 0; i < 99; i++) {
        model_add(&model, i);
    }
    for (uint32_t i = 0; i < 80; i += 2) {
        model_delete(&model, i);
    }
    for (uint32_t i = 99; i < 400; i++) {
        model_add(&model, i);
        if (i % 7 == 0) {
            bool more = false;
            assert_int_equal(vec_maintain(model.index, model.scratch, 100, &more, NULL), OK);
        }
    }
    model_link(&model);
    struct vec_stats stats;
    vec_stats(model.index, &stats);
    assert_int_equal(stats.linked, stats.count);
    assert_true(model_check(&model, 30, 10, 100) >= 0.97);
    for (uint32_t i = 1; i < 300; i += 2) {
        model_delete(&model, i);
    }
    assert_true(model_check(&model, 30, 10, 100) >= 0.97);
    model_end(&model);
}

/* Five times every vector is taken out, in random order, and put back. */
static void churn_loses_nobody_and_little_recall(void **state)
{
    enum { N = 3000 };
    struct vec_opts opts = { .dimension = D, .graph_min = 500, .ef_construction = 80 };
    struct model model;
    struct rng rng;
    rng_seed(&rng, 11);
    model_begin(&model, &opts, N);
    for (uint32_t i = 0; i < N; i++) {
        model_add(&model, i);
    }
    model_link(&model);
    double before = model_check(&model, 60, 10, 40);
    for (uint32_t i = 0; i < 5 * N; i++) {
        uint32_t which = (uint32_t)rng_below(&rng, N);
        model_delete(&model, which);
        model_add(&model, which);
        if (i % 64 == 63) {
            model_link(&model);
        }
    }
    model_link(&model);
    double after = model_check(&model, 60, 10, 40);
    struct vec_stats stats;
    vec_stats(model.index, &stats);
    print_message("[   INFO   ] recall %.4f before, %.4f after, %u slots\n", before, after,
                  (unsigned)stats.slots);
    assert_true(after >= before - 0.01);
    assert_true(stats.slots <= N + 256);
    model_end(&model);
}

/* Those that most links lead to, the entry point among them, and then everybody, down to
 * nothing. */
static void the_most_linked_and_then_all_are_taken_out(void **state)
{
    enum { N = 2500 };
    struct vec_opts opts = { .dimension = D, .graph_min = 100, .ef_construction = 60, .m = 8 };
    struct model model;
    model_begin(&model, &opts, N);
    for (uint32_t i = 0; i < N; i++) {
        model_add(&model, i);
    }
    model_link(&model);
    for (uint32_t i = 0; i < N; i++) {
        /* slots below are the older ones: they are the entry points and have the most links */
        model_delete(&model, i);
        if (i % 250 == 0 || N - i < 20) {
            assert_true(model_check(&model, 20, 10, 100) >= 0.97);
        }
    }
    model_add(&model, 7);
    model_link(&model);
    assert_true(model_check(&model, 5, 10, 100) == 1);
    model_end(&model);
}

static void random_operations_agree_with_brute_force(void **state)
{
    enum { N = 400, OPERATIONS = 20000 };
    struct vec_opts opts = { .dimension = D, .graph_min = 50, .ef_construction = 48 };
    struct model model;
    struct rng rng;
    double sum = 0;
    uint32_t checks = 0;
    rng_seed(&rng, 23);
    model_begin(&model, &opts, N);
    for (uint32_t i = 0; i < OPERATIONS; i++) {
        uint32_t which = (uint32_t)rng_below(&rng, N);
        if (model.slot_of[which] == UINT32_MAX) {
            model_add(&model, which);
        } else if (rng_below(&rng, 3) > 0) {
            model_delete(&model, which);
        }
        if (rng_below(&rng, 20) == 0) {
            bool more = false;
            assert_int_equal(
                vec_maintain(model.index, model.scratch, rng_below(&rng, 300), &more, NULL), OK);
        }
        if (i % 200 == 199) {
            double recall = model_check(&model, 5, 10, 64);
            assert_true(recall >= 0.9);
            sum += recall;
            checks++;
        }
    }
    assert_true(sum / checks >= 0.99);
    model_end(&model);
}

/* --- threads --- */

struct shared {
    struct vec_index *index;
    const float *vectors;
    _Atomic bool stop;
};

enum { SHARED_N = 1500 };

static void *churns(void *arg)
{
    struct shared *shared = arg;
    struct vec_scratch *scratch = NULL;
    struct rng rng;
    uint32_t slots[SHARED_N / 2];
    bool more = false;
    rng_seed(&rng, (uint64_t)(uintptr_t)&slots);
    must(vec_scratch_new(shared->index, &scratch, NULL) == OK);
    for (size_t i = 0; i < ARRAY_LEN(slots); i++) {
        must(vec_add(shared->index, shared->vectors + i * D, &slots[i], NULL) == OK);
        must(vec_maintain(shared->index, scratch, 50, &more, NULL) == OK);
    }
    for (size_t i = 0; i < 2 * ARRAY_LEN(slots); i++) {
        size_t which = rng_below(&rng, ARRAY_LEN(slots));
        must(vec_delete(shared->index, scratch, slots[which], NULL) == OK);
        must(vec_add(shared->index, shared->vectors + which * D, &slots[which], NULL) == OK);
        must(vec_maintain(shared->index, scratch, 50, &more, NULL) == OK);
    }
    vec_scratch_free(scratch);
    return NULL;
}

static void *searches(void *arg)
{
    struct shared *shared = arg;
    struct vec_scratch *scratch = NULL;
    struct vec_search_opts opts = { .k = 10, .ef = 40 };
    size_t q = 0;
    must(vec_scratch_new(shared->index, &scratch, NULL) == OK);
    while (!atomic_load(&shared->stop)) {
        struct vec_hit hits[10];
        uint32_t found = 0;
        const float *query = shared->vectors + (q++ % (SHARED_N / 2)) * D;
        must(vec_search(shared->index, scratch, query, &opts, hits, &found, NULL) == OK);
        for (uint32_t i = 0; i < found; i++) {
            /* a row is that of a vector there was: its distance is that of its content */
            must(isfinite(hits[i].distance));
            for (uint32_t j = 0; j < i; j++) {
                must(hits[i].slot != hits[j].slot);
            }
        }
    }
    vec_scratch_free(scratch);
    return NULL;
}

static void searches_go_on_beside_adding_and_taking_out(void **state)
{
    struct vec_opts opts = { .dimension = D, .graph_min = 200, .ef_construction = 48 };
    float *vectors = vectors_make(SHARED_N, D, 5);
    struct shared shared = { .vectors = vectors };
    uint64_t lost = 1;
    assert_int_equal(vec_new(&opts, &shared.index, NULL), OK);
    two_beside_two(churns, searches, &shared, &shared.stop);
    index_finish(shared.index);
    assert_int_equal(vec_unreachable(shared.index, &lost, NULL), OK);
    assert_int_equal(lost, 0);
    struct vec_stats stats;
    vec_stats(shared.index, &stats);
    assert_int_equal(stats.count, SHARED_N / 2 * 2);
    assert_int_equal(stats.linked, stats.count);
    vec_free(shared.index);
    mem_free(vectors);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_indexes_are_emptied_and_begun_again),
        cmocka_unit_test(what_is_not_there_is_not_taken_out),
        cmocka_unit_test(what_went_before_the_graph_began_is_not_linked),
        cmocka_unit_test(churn_loses_nobody_and_little_recall),
        cmocka_unit_test(the_most_linked_and_then_all_are_taken_out),
        cmocka_unit_test(random_operations_agree_with_brute_force),
        cmocka_unit_test(searches_go_on_beside_adding_and_taking_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
