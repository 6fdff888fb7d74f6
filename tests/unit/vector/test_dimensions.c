/* Each dimension that has a kind of code or of row of its own: recall against brute force, and that
 * every vector can be reached. */
#include "saving.h"

static const struct vec_search_opts TEN = { .k = 10, .ef = 100 };

static double recall_at(uint32_t dimension, enum vec_metric metric, size_t n)
{
    enum { QUERIES = 25 };
    struct vec_opts opts = {
        .dimension = dimension, .metric = metric, .graph_min = 500, .ef_construction = 60
    };
    float *base = vectors_make(n, dimension, 1);
    float *queries = vectors_make(QUERIES, dimension, 2);
    uint64_t lost = 1;
    struct vec_index *index = index_make(&opts, base, n);
    struct vec_stats stats;
    vec_stats(index, &stats);
    assert_int_equal(stats.count, n);
    assert_int_equal(stats.linked, n < 500 ? 0 : n);
    assert_int_equal(vec_unreachable(index, &lost, NULL), OK);
    assert_int_equal(lost, 0);
    double recall = index_recall(index, base, n, queries, QUERIES, &TEN, dimension, metric);
    vec_free(index);
    mem_free(base);
    mem_free(queries);
    return recall;
}

/* Floors are 0.02 below what was measured on 2026-11-26, for each kind of code. */
static void recall_has_a_floor_at_each_dimension_and_metric(void **state)
{
    static const uint32_t dimensions[] = { 1,   2,   3,    57,   113,  128, 185,
                                           300, 768, 1024, 1536, 3072, 4096 };
    for (size_t i = 0; i < ARRAY_LEN(dimensions); i++) {
        for (int metric = VEC_L2; metric <= (int)VEC_DOT; metric++) {
            bool large = dimensions[i] > 300; /* these take long: one metric each, by turns */
            if (large && i % 3 != (size_t)metric) {
                continue;
            }
            double recall = recall_at(dimensions[i], (enum vec_metric)metric, large ? 600 : 1500);
            /* in one dimension cosines are 0 or 2: all of one side are equally near */
            double floor = dimensions[i] == 1 && metric == (int)VEC_COSINE ? 0 : 0.97;
            print_message("[   INFO   ] d %u metric %d recall %.4f\n", dimensions[i], metric,
                          recall);
            assert_true(recall >= floor);
        }
    }
}

static void small_indexes_are_scanned_and_exact(void **state)
{
    for (size_t n = 0; n <= 3; n++) {
        assert_true(n == 0 || recall_at(20, VEC_L2, n) == 1);
    }
    assert_true(recall_at(20, VEC_L2, 400) == 1);
    assert_true(recall_at(20, VEC_COSINE, 400) == 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recall_has_a_floor_at_each_dimension_and_metric),
        cmocka_unit_test(small_indexes_are_scanned_and_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
