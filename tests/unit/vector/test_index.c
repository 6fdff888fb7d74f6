/* An index from outside: growth, threads, and everything refused. */
#include "saving.h"

#include <math.h>
#include <stdatomic.h>

static const struct vec_search_opts TEN = { .k = 10, .ef = 100 };

static void an_empty_index_finds_nothing(void **state)
{
    struct vec_opts opts = { .dimension = 4 };
    struct vec_index *index = index_make(&opts, NULL, 0);
    struct vec_scratch *scratch = NULL;
    struct vec_hit hits[10];
    uint32_t found = 5;
    uint64_t lost = 5;
    float query[4] = { 1, 2, 3, 4 };
    assert_int_equal(vec_scratch_new(index, &scratch, NULL), OK);
    assert_int_equal(vec_search(index, scratch, query, &TEN, hits, &found, NULL), OK);
    assert_int_equal(found, 0);
    assert_int_equal(vec_exact(index, scratch, query, &TEN, hits, &found, NULL), OK);
    assert_int_equal(found, 0);
    assert_int_equal(vec_unreachable(index, &lost, NULL), OK);
    assert_int_equal(lost, 0);
    assert_int_equal(vec_get(index, 0, query, NULL), E_NOT_FOUND);
    vec_scratch_free(scratch);
    vec_free(index);
}

static void vectors_come_back_and_are_their_own_nearest(void **state)
{
    enum { N = 2000, D = 130 };
    struct vec_opts opts = { .dimension = D, .graph_min = 1000 };
    float *base = vectors_make(N, D, 4);
    struct vec_index *index = index_make(&opts, base, N);
    struct vec_scratch *scratch = NULL;
    assert_int_equal(vec_scratch_new(index, &scratch, NULL), OK);
    for (uint32_t i = 0; i < N; i += 7) {
        float back[D];
        struct vec_hit hit;
        uint32_t found = 0;
        struct vec_search_opts one = { .k = 1 };
        assert_int_equal(vec_get(index, i, back, NULL), OK);
        for (size_t j = 0; j < D; j++) {
            assert_true(fabsf(back[j] - base[i * D + j]) < 0.002F);
        }
        assert_int_equal(vec_search(index, scratch, base + (size_t)i * D, &one, &hit, &found, NULL),
                         OK);
        assert_int_equal(hit.slot, i);
        assert_true(hit.distance < 0.01F);
    }
    vec_scratch_free(scratch);
    vec_free(index);
    mem_free(base);
}

/* The second seed makes the first vector the root and the next the entry point: each has only
 * children, and hands on who is new, which once went round between the two for ever. */
static void identical_vectors_are_all_reachable_and_told_apart(void **state)
{
    enum { N = 10000, D = 16 };
    static const uint64_t seeds[] = { 0, 169 };
    float *base = xmalloc((size_t)N * D * sizeof(*base));
    for (size_t i = 0; i < (size_t)N * D; i++) {
        base[i] = (float)(i % D);
    }
    for (size_t s = 0; s < ARRAY_LEN(seeds); s++) {
        struct vec_opts opts = { .dimension = D, .graph_min = 100, .seed = seeds[s] };
        struct vec_hit hits[200];
        uint32_t found = 0;
        uint64_t lost = 1;
        struct vec_scratch *scratch = NULL;
        struct vec_index *index = index_make(&opts, base, N);
        assert_int_equal(vec_unreachable(index, &lost, NULL), OK);
        assert_int_equal(lost, 0);
        assert_int_equal(vec_scratch_new(index, &scratch, NULL), OK);
        struct vec_search_opts many = { .k = 200, .ef = 200 };
        assert_int_equal(vec_search(index, scratch, base, &many, hits, &found, NULL), OK);
        assert_int_equal(found, 200);
        for (uint32_t i = 1; i < found; i++) {
            assert_true(hits[i - 1].slot < hits[i].slot); /* ties by slot, each once */
        }
        vec_scratch_free(scratch);
        vec_free(index);
    }
    mem_free(base);
}

/* Places in a city: in floats |x|^2 - 2 q.x would be noise. */
static void few_dimensions_far_from_the_origin_are_told_apart(void **state)
{
    enum { N = 1000, D = 2 };
    float *base = vectors_make(N, D, 6);
    for (size_t i = 0; i < (size_t)N * D; i++) {
        base[i] = 48 + base[i] * 0.01F;
    }
    struct vec_opts opts = { .dimension = D };
    struct vec_index *index = index_make(&opts, base, N);
    assert_true(index_recall(index, base, N, base, 50, &TEN, D, VEC_L2) >= 0.99);
    vec_free(index);
    mem_free(base);
}

static void what_is_not_linked_yet_is_found(void **state)
{
    enum { N = 3000, D = 24 };
    struct vec_opts opts = { .dimension = D, .graph_min = 500 };
    float *base = vectors_make(N, D, 8);
    struct vec_index *index = index_make(&opts, base, N / 2);
    struct err err = { 0 };
    for (size_t i = N / 2; i < N; i++) {
        uint32_t slot = 0;
        assert_int_equal(vec_add(index, base + i * D, &slot, &err), OK);
    }
    struct vec_stats stats;
    vec_stats(index, &stats);
    assert_int_equal(stats.linked, N / 2);
    assert_true(index_recall(index, base, N, base + (size_t)(N - 40) * D, 40, &TEN, D, VEC_L2) >=
                0.97);
    vec_free(index);
    mem_free(base);
}

static void each_instruction_set_gives_the_same_answers(void **state)
{
    enum { N = 1500, QUERIES = 40 };
    static const uint32_t dimensions[] = { 40, 100, 150, 260 };
    for (size_t i = 0; i < ARRAY_LEN(dimensions); i++) {
        uint32_t d = dimensions[i];
        float *base = vectors_make(N, d, 1);
        struct vec_hit first[QUERIES][10];
        bool have_first = false;
        for (int isa = VEC_ISA_PLAIN; isa <= (int)VEC_ISA_AVX512; isa++) {
            struct vec_opts opts = {
                .dimension = d, .graph_min = 300, .isa = (enum vec_isa)isa, .ef_construction = 60
            };
            struct vec_index *probe = NULL;
            if (vec_new(&opts, &probe, NULL) == E_UNSUPPORTED) {
                print_message("[   NOTE   ] not tried: set %d\n", isa);
                continue;
            }
            vec_free(probe);
            struct vec_index *index = index_make(&opts, base, N);
            struct vec_scratch *scratch = NULL;
            struct vec_hit hits[10] = { 0 };
            assert_int_equal(vec_scratch_new(index, &scratch, NULL), OK);
            for (size_t q = 0; q < QUERIES; q++) {
                uint32_t found = 0;
                assert_int_equal(
                    vec_search(index, scratch, base + q * 31 * d, &TEN, hits, &found, NULL), OK);
                if (!have_first) {
                    memcpy(first[q], hits, sizeof(hits));
                }
                assert_memory_equal(first[q], hits, sizeof(hits));
            }
            have_first = true;
            vec_scratch_free(scratch);
            vec_free(index);
        }
        mem_free(base);
    }
}

/* --- threads --- */

struct shared {
    struct vec_index *index;
    const float *base;
    _Atomic size_t next;
    _Atomic bool stop;
};

enum { SHARED_N = 6000, SHARED_D = 32 };

static void *adds_and_links(void *arg)
{
    struct shared *shared = arg;
    struct vec_scratch *scratch = NULL;
    bool more = false;
    must(vec_scratch_new(shared->index, &scratch, NULL) == OK);
    for (size_t i = atomic_fetch_add(&shared->next, 1); i < SHARED_N;
         i = atomic_fetch_add(&shared->next, 1)) {
        uint32_t slot = 0;
        must(vec_add(shared->index, shared->base + i * SHARED_D, &slot, NULL) == OK);
        must(vec_maintain(shared->index, scratch, 100, &more, NULL) == OK);
    }
    vec_scratch_free(scratch);
    return NULL;
}

static void *searches(void *arg)
{
    struct shared *shared = arg;
    struct vec_scratch *scratch = NULL;
    size_t q = 0;
    must(vec_scratch_new(shared->index, &scratch, NULL) == OK);
    while (!atomic_load(&shared->stop)) {
        struct vec_hit hits[10];
        uint32_t found = 0;
        const float *query = shared->base + (q++ % SHARED_N) * SHARED_D;
        must(vec_search(shared->index, scratch, query, &TEN, hits, &found, NULL) == OK);
        for (uint32_t i = 1; i < found; i++) {
            must(hits[i - 1].distance <= hits[i].distance);
            must(hits[i - 1].slot != hits[i].slot);
        }
    }
    vec_scratch_free(scratch);
    return NULL;
}

static void adding_linking_and_searching_go_on_at_once(void **state)
{
    struct vec_opts opts = { .dimension = SHARED_D, .graph_min = 1000, .ef_construction = 60 };
    float *base = vectors_make(SHARED_N, SHARED_D, 5);
    struct shared shared = { .base = base };
    uint64_t lost = 1;
    assert_int_equal(vec_new(&opts, &shared.index, NULL), OK);
    two_beside_two(adds_and_links, searches, &shared, &shared.stop);
    index_finish(shared.index);
    assert_int_equal(vec_unreachable(shared.index, &lost, NULL), OK);
    assert_int_equal(lost, 0);
    struct vec_stats stats;
    vec_stats(shared.index, &stats);
    assert_int_equal(stats.linked, SHARED_N);
    vec_free(shared.index);
    mem_free(base);
}

/* --- what is refused --- */

static struct saved saved_of(const struct vec_opts *opts, const float *base, size_t n)
{
    struct saved saved = { 0 };
    struct vec_index *index = index_make(opts, base, n);
    saved_take(&saved, index);
    vec_free(index);
    return saved;
}

/* Stored indexes say what they were made with. */
static void a_preset_fills_what_was_not_said(void **state)
{
    enum { D = 24, N = 600 };
    float *base = vectors_make(N, D, 5);
    struct vec_opts opts = { .dimension = D, .graph_min = 100, .preset = VEC_PRESET_FAST_BUILD };
    struct vec_opts same = { .dimension = D, .graph_min = 100, .m = 16, .ef_construction = 64 };
    struct saved preset = saved_of(&opts, base, N);
    struct saved said = saved_of(&same, base, N);
    saved_assert_equal(&preset, &said);
    saved_done(&preset);
    saved_done(&said);
    opts.m = 24;
    opts.ef_construction = 100;
    same.m = 24;
    same.ef_construction = 100;
    preset = saved_of(&opts, base, N);
    said = saved_of(&same, base, N);
    saved_assert_equal(&preset, &said);
    saved_done(&preset);
    saved_done(&said);
    mem_free(base);
}

static void wrong_options_are_refused_by_name(void **state)
{
    struct vec_index *index = NULL;
    struct err err = { 0 };
    static const struct {
        struct vec_opts opts;
        const char *word;
    } wrong[] = {
        { { .dimension = 0 }, "dimension" },
        { { .dimension = VEC_DIMENSION_MAX + 1 }, "dimension" },
        { { .dimension = 3, .m = 3 }, "m is 3" },
        { { .dimension = 3, .m = 33 }, "m is 33" },
        { { .dimension = 3, .ef_construction = 31 }, "ef_construction" },
        { { .dimension = 3, .metric = (enum vec_metric)3 }, "metric" },
        { { .dimension = 3, .isa = (enum vec_isa)9 }, "instruction set" },
        { { .dimension = 3, .preset = (enum vec_preset)9 }, "preset" },
    };
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        assert_int_equal(vec_new(&wrong[i].opts, &index, &err), E_INVALID);
        assert_non_null(strstr(err.msg, wrong[i].word));
    }
}

static void wrong_vectors_and_searches_are_refused(void **state)
{
    struct vec_opts opts = { .dimension = 2, .metric = VEC_COSINE };
    float good[2] = { 1, 2 };
    float zero[2] = { 0 };
    float nan[2] = { NAN, 1 };
    struct vec_index *index = index_make(&opts, good, 1);
    struct vec_scratch *scratch = NULL;
    struct vec_hit hits[2];
    uint32_t slot = 9;
    uint32_t found = 9;
    struct err err = { 0 };
    assert_int_equal(vec_scratch_new(index, &scratch, NULL), OK);
    assert_int_equal(vec_add(index, zero, &slot, &err), E_INVALID);
    assert_int_equal(vec_add(index, nan, &slot, &err), E_INVALID);
    assert_int_equal(slot, 9);
    assert_int_equal(vec_search(index, scratch, nan, &TEN, hits, &found, &err), E_INVALID);
    struct vec_search_opts k_large = { .k = VEC_K_MAX + 1 };
    struct vec_search_opts ef_large = { .k = 1, .ef = VEC_EF_MAX + 1 };
    assert_int_equal(vec_search(index, scratch, good, &k_large, hits, &found, &err), E_INVALID);
    assert_int_equal(vec_search(index, scratch, good, &ef_large, hits, &found, &err), E_INVALID);
    assert_int_equal(vec_exact(index, scratch, good, &k_large, hits, &found, &err), E_INVALID);
    assert_int_equal(found, 9);
    vec_scratch_free(scratch);
    vec_free(index);
}

/* --- no memory --- */

static enum status make_and_free(void)
{
    struct vec_opts opts = { .dimension = 3 };
    struct vec_index *index = NULL;
    struct vec_scratch *scratch = NULL;
    enum status status = vec_new(&opts, &index, NULL);
    if (status == OK) {
        status = vec_scratch_new(index, &scratch, NULL);
    }
    vec_scratch_free(scratch);
    vec_free(index);
    return status;
}

static void making_an_index_fails_well(void **state)
{
    FAIL_EVERY_ALLOCATION(make_and_free(), (void)0);
}

static enum status add_until(struct vec_index *index, size_t n)
{
    struct vec_stats stats;
    enum status status = OK;
    for (vec_stats(index, &stats); status == OK && stats.count < n; stats.count++) {
        float vector[3] = { (float)stats.count, 1, 2 };
        uint32_t slot = 0;
        status = vec_add(index, vector, &slot, NULL);
        assert_true(status != OK || slot == stats.count);
    }
    return status;
}

static enum status maintain_all(struct vec_index *index, struct vec_scratch *scratch)
{
    bool more = true;
    enum status status = OK;
    while (status == OK && more) {
        status = vec_maintain(index, scratch, 1000000, &more, NULL);
    }
    return status;
}

/* A call that failed has changed nothing, so the next one goes on from there. */
static void growing_and_linking_fail_well_and_go_on(void **state)
{
    /* m 4: more upper layers than one chunk of them holds */
    struct vec_opts opts = { .dimension = 3, .graph_min = 1500, .ef_construction = 32, .m = 4 };
    struct vec_index *index = NULL;
    struct vec_scratch *scratch = NULL;
    struct vec_hit hits[10];
    uint32_t found = 0;
    uint64_t lost = 1;
    float query[3] = { 50, 1, 2 };
    assert_int_equal(vec_new(&opts, &index, NULL), OK);
    assert_int_equal(vec_scratch_new(index, &scratch, NULL), OK);
    FAIL_EVERY_ALLOCATION(add_until(index, 1500), (void)0);
    FAIL_EVERY_ALLOCATION(vec_search(index, scratch, query, &TEN, hits, &found, NULL), (void)0);
    assert_int_equal(found, 10);
    assert_int_equal(hits[0].slot, 50);
    FAIL_EVERY_ALLOCATION(maintain_all(index, scratch), (void)0);
    FAIL_EVERY_ALLOCATION(add_until(index, 20000), (void)0);
    assert_int_equal(maintain_all(index, scratch), OK);
    assert_int_equal(vec_unreachable(index, &lost, NULL), OK);
    assert_int_equal(lost, 0);
    vec_scratch_free(scratch);
    vec_free(index);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_index_finds_nothing),
        cmocka_unit_test(vectors_come_back_and_are_their_own_nearest),
        cmocka_unit_test(identical_vectors_are_all_reachable_and_told_apart),
        cmocka_unit_test(few_dimensions_far_from_the_origin_are_told_apart),
        cmocka_unit_test(what_is_not_linked_yet_is_found),
        cmocka_unit_test(each_instruction_set_gives_the_same_answers),
        cmocka_unit_test(adding_linking_and_searching_go_on_at_once),
        cmocka_unit_test(a_preset_fills_what_was_not_said),
        cmocka_unit_test(wrong_options_are_refused_by_name),
        cmocka_unit_test(wrong_vectors_and_searches_are_refused),
        cmocka_unit_test(making_an_index_fails_well),
        cmocka_unit_test(growing_and_linking_fail_well_and_go_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
