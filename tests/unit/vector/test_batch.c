/* Many queries in a call: the answers of one after the other. */
#include "vectors.h"

#include <math.h>
#include <stdatomic.h>

#include "vector/vec_priv.h"

enum { K = 10, MOST = 23 };

struct answers {
    struct vec_hit hits[MOST * K];
    uint32_t found[MOST];
};

static void one_by_one(struct vec_index *index, struct vec_scratch *scratch, const float *queries,
                       uint32_t d, const struct vec_search_opts *opts, struct answers *out)
{
    memset(out, 0, sizeof(*out));
    for (uint32_t i = 0; i < MOST; i++) {
        assert_int_equal(vec_search(index, scratch, queries + (size_t)i * d, opts,
                                    out->hits + (size_t)i * K, &out->found[i], NULL),
                         OK);
    }
}

static void check_all_counts(struct vec_index *index, const float *queries, uint32_t d,
                             const struct vec_search_opts *opts)
{
    struct answers right;
    struct answers got;
    struct vec_scratch *scratch = NULL;
    assert_int_equal(vec_scratch_new(index, &scratch, NULL), OK);
    one_by_one(index, scratch, queries, d, opts, &right);
    for (uint32_t count = 0; count <= MOST; count += count < 9 ? 1 : 7) {
        memset(&got, 0, sizeof(got));
        assert_int_equal(
            vec_search_batch(index, scratch, queries, count, opts, got.hits, got.found, NULL), OK);
        assert_memory_equal(got.found, right.found, count * sizeof(*got.found));
        assert_memory_equal(got.hits, right.hits, (size_t)count * K * sizeof(*got.hits));
    }
    vec_scratch_free(scratch);
}

static void a_batch_gives_what_single_searches_give(void **state)
{
    enum { N = 1500 };
    static const uint32_t dimensions[] = { 7, 40, 100, 118, 150, 260 };
    for (size_t i = 0; i < ARRAY_LEN(dimensions); i++) {
        for (int isa = VEC_ISA_PLAIN; isa <= (int)VEC_ISA_AVX512; isa++) {
            uint32_t d = dimensions[i];
            struct vec_opts opts = { .dimension = d,
                                     .metric = (enum vec_metric)(i % 3),
                                     .graph_min = 300,
                                     .isa = (enum vec_isa)isa,
                                     .ef_construction = 40 };
            struct vec_index *probe = NULL;
            if (vec_new(&opts, &probe, NULL) == E_UNSUPPORTED) {
                print_message("[   NOTE   ] not tried: set %d\n", isa);
                continue;
            }
            vec_free(probe);
            float *base = vectors_make(N, d, 1);
            float *queries = vectors_make(MOST, d, 2);
            struct vec_index *index = index_make(&opts, base, N - 100);
            check_all_counts(index, queries, d, &(struct vec_search_opts){ .k = K, .ef = 40 });
            for (uint32_t slot = N - 100; slot < N; slot++) { /* some are not linked */
                uint32_t added = 0;
                assert_int_equal(vec_add(index, base + (size_t)slot * d, &added, NULL), OK);
            }
            check_all_counts(index, queries, d, &(struct vec_search_opts){ .k = K, .ef = 40 });
            vec_free(index);
            mem_free(base);
            mem_free(queries);
        }
    }
}

static void a_batch_takes_filters_and_targets_and_small_indexes(void **state)
{
    enum { N = 2000, D = 60 };
    struct vec_opts opts = { .dimension = D, .graph_min = 1000, .ef_construction = 40 };
    float *base = vectors_make(N, D, 1);
    float *queries = vectors_make(MOST, D, 2);
    uint64_t bits[N / 64];
    memset(bits, 0x11, sizeof(bits));
    struct vec_filter filter = { .bits = bits, .word_count = ARRAY_LEN(bits) };
    for (size_t n = 0; n <= N; n += 500) {
        struct vec_index *index = index_make(&opts, base, n);
        struct vec_report report = { .ef_used = 99 };
        check_all_counts(index, queries, D, &(struct vec_search_opts){ .k = K, .filter = &filter });
        check_all_counts(
            index, queries, D,
            &(struct vec_search_opts){ .k = K, .recall_target = 0.9F, .report = &report });
        assert_true(report.ef_used != 99 && !report.target_missed);
        vec_free(index);
    }
    mem_free(base);
    mem_free(queries);
}

static void a_wrong_query_is_refused_before_anything_is_searched(void **state)
{
    enum { D = 3 };
    struct vec_opts opts = { .dimension = D };
    float queries[6 * D] = { 1, 2, 3, 4, 5, 6 };
    struct vec_index *index = index_make(&opts, queries, 2);
    struct vec_scratch *scratch = NULL;
    struct vec_hit hits[6 * K] = { { .slot = 77 } };
    uint32_t found[6] = { 77 };
    struct vec_search_opts ten = { .k = K };
    queries[5 * D + 1] = NAN;
    assert_int_equal(vec_scratch_new(index, &scratch, NULL), OK);
    assert_int_equal(vec_search_batch(index, scratch, queries, 6, &ten, hits, found, NULL),
                     E_INVALID);
    assert_int_equal(hits[0].slot, 77);
    assert_int_equal(found[0], 77);
    vec_scratch_free(scratch);
    vec_free(index);
}

static enum status batch_afresh(struct vec_index *index, const float *queries)
{
    struct vec_scratch *scratch = NULL;
    struct answers got;
    struct vec_search_opts ten = { .k = K };
    enum status status = vec_scratch_new(index, &scratch, NULL);
    if (status == OK) {
        status = vec_search_batch(index, scratch, queries, MOST, &ten, got.hits, got.found, NULL);
    }
    vec_scratch_free(scratch);
    return status;
}

static void a_batch_fails_well(void **state)
{
    enum { N = 800, D = 60 };
    struct vec_opts opts = { .dimension = D, .graph_min = 300, .ef_construction = 40 };
    float *base = vectors_make(N, D, 1);
    struct vec_index *index = index_make(&opts, base, N);
    FAIL_EVERY_ALLOCATION(batch_afresh(index, base), (void)0);
    /* nothing is pinned any more: a slot is used again */
    struct vec_scratch *scratch = NULL;
    uint32_t slot = 0;
    assert_int_equal(vec_scratch_new(index, &scratch, NULL), OK);
    assert_int_equal(vec_delete(index, scratch, 5, NULL), OK);
    assert_int_equal(vec_add(index, base, &slot, NULL), OK);
    assert_int_equal(slot, 5);
    vec_scratch_free(scratch);
    vec_free(index);
    mem_free(base);
}

/* --- beside writers --- */

struct shared {
    struct vec_index *index;
    const float *base;
    _Atomic bool stop;
};

enum { SHARED_N = 1200, SHARED_D = 40 };

static void *churns(void *arg)
{
    struct shared *shared = arg;
    struct vec_scratch *scratch = NULL;
    must(vec_scratch_new(shared->index, &scratch, NULL) == OK);
    for (uint32_t i = 0; i < SHARED_N; i++) {
        uint32_t slot = 0;
        bool more = false;
        must(vec_add(shared->index, shared->base + (size_t)i * SHARED_D, &slot, NULL) == OK);
        must(vec_maintain(shared->index, scratch, 50, &more, NULL) == OK);
        must(i % 3 != 0 || vec_delete(shared->index, scratch, slot, NULL) == OK);
    }
    vec_scratch_free(scratch);
    return NULL;
}

static void *searches(void *arg)
{
    struct shared *shared = arg;
    struct vec_scratch *scratch = NULL;
    must(vec_scratch_new(shared->index, &scratch, NULL) == OK);
    while (!atomic_load(&shared->stop)) {
        struct answers got;
        struct vec_search_opts ten = { .k = K };
        must(vec_search_batch(shared->index, scratch, shared->base, MOST, &ten, got.hits, got.found,
                              NULL) == OK);
        for (uint32_t q = 0; q < MOST; q++) {
            for (uint32_t i = 0; i < got.found[q]; i++) {
                must(isfinite(got.hits[q * K + i].distance));
                must(i == 0 || got.hits[q * K + i].slot != got.hits[q * K + i - 1].slot);
            }
        }
    }
    vec_scratch_free(scratch);
    return NULL;
}

static void batches_go_on_beside_writers(void **state)
{
    struct vec_opts opts = { .dimension = SHARED_D, .graph_min = 200, .ef_construction = 40 };
    float *base = vectors_make(SHARED_N, SHARED_D, 5);
    struct shared shared = { .base = base };
    uint64_t lost = 1;
    assert_int_equal(vec_new(&opts, &shared.index, NULL), OK);
    two_beside_two(churns, searches, &shared, &shared.stop);
    index_finish(shared.index);
    assert_int_equal(vec_unreachable(shared.index, &lost, NULL), OK);
    assert_int_equal(lost, 0);
    vec_free(shared.index);
    mem_free(base);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_batch_gives_what_single_searches_give),
        cmocka_unit_test(a_batch_takes_filters_and_targets_and_small_indexes),
        cmocka_unit_test(a_wrong_query_is_refused_before_anything_is_searched),
        cmocka_unit_test(a_batch_fails_well),
        cmocka_unit_test(batches_go_on_beside_writers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
