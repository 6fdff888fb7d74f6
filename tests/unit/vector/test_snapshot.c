/* Saving and loading: the same index, at one moment, whatever goes on meanwhile. */
#include "saving.h"

#include <math.h>
#include <stdatomic.h>

#include "base/mem.h"
#include "base/rng.h"
#include "vector/vec_priv.h"

static void add_some(struct vec_index *index, const float *base, size_t n, uint32_t d)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t slot = 0;
        assert_int_equal(vec_add(index, base + i * d, &slot, NULL), OK);
    }
}

static void delete_each(struct vec_index *index, uint32_t from, uint32_t to, uint32_t step)
{
    struct vec_scratch *scratch = NULL;
    assert_int_equal(vec_scratch_new(index, &scratch, NULL), OK);
    for (uint32_t slot = from; slot < to; slot += step) {
        assert_int_equal(vec_delete(index, scratch, slot, NULL), OK);
    }
    vec_scratch_free(scratch);
}

static void assert_same_answers(struct vec_index *a, struct vec_index *b, const float *queries,
                                size_t n, uint32_t d)
{
    struct vec_scratch *scratch[2] = { NULL, NULL };
    struct vec_search_opts opts = { .k = 10, .ef = 50 };
    assert_int_equal(vec_scratch_new(a, &scratch[0], NULL), OK);
    assert_int_equal(vec_scratch_new(b, &scratch[1], NULL), OK);
    for (size_t q = 0; q < n; q++) {
        struct vec_hit hits[2][10] = { 0 };
        uint32_t found[2] = { 0, 0 };
        assert_int_equal(
            vec_search(a, scratch[0], queries + q * d, &opts, hits[0], &found[0], NULL), OK);
        assert_int_equal(
            vec_search(b, scratch[1], queries + q * d, &opts, hits[1], &found[1], NULL), OK);
        assert_int_equal(found[0], found[1]);
        assert_memory_equal(hits[0], hits[1], sizeof(hits[0]));
    }
    vec_scratch_free(scratch[0]);
    vec_scratch_free(scratch[1]);
}

/* An index with everything in it: deleted, used again and not linked, not linked yet. */
static struct vec_index *lived_in(const struct vec_opts *opts, const float *base, size_t n)
{
    uint32_t d = opts->dimension;
    struct vec_index *index = index_make(opts, base, n);
    delete_each(index, 1, (uint32_t)n, 5);
    add_some(index, base, n / 20, d);
    index_finish(index);
    delete_each(index, 0, (uint32_t)n, 10);
    add_some(index, base + (n - n / 20) * d, n / 20 + 7, d);
    return index;
}

static void round_trip(uint32_t d, enum vec_metric metric, uint32_t n, uint32_t graph_min)
{
    struct vec_opts opts = {
        .dimension = d, .metric = metric, .graph_min = graph_min, .ef_construction = 48, .seed = 5
    };
    float *base = vectors_make(n + 40, d, 1);
    struct vec_index *index = lived_in(&opts, base, n);
    struct vec_index *loaded = NULL;
    struct saved first;
    struct saved second;
    struct vec_stats stats[2];
    struct err err = { 0 };
    saved_take(&first, index);
    assert_int_equal(saved_load(&first, NULL, &loaded, &err), OK);
    saved_take(&second, loaded);
    saved_assert_equal(&first, &second); /* of what was loaded nothing changed */
    saved_done(&second);
    vec_stats(index, &stats[0]);
    vec_stats(loaded, &stats[1]);
    assert_int_equal(stats[0].count, stats[1].count);
    assert_int_equal(stats[0].slots, stats[1].slots);
    assert_int_equal(stats[0].linked, stats[1].linked);
    assert_same_answers(index, loaded, base + (size_t)n * d, 40, d);
    /* and life goes on, in both */
    struct vec_index *both[2] = { index, loaded };
    struct saved after[2];
    for (size_t i = 0; i < 2; i++) {
        uint64_t lost = 1;
        delete_each(both[i], 3, n, 10);
        add_some(both[i], base, n / 4, d);
        index_finish(both[i]);
        assert_int_equal(vec_unreachable(both[i], &lost, NULL), OK);
        assert_int_equal(lost, 0);
        saved_take(&after[i], both[i]);
    }
    assert_same_answers(index, loaded, base + (size_t)n * d, 40, d);
    saved_assert_equal(&after[0], &after[1]);
    saved_done(&after[0]);
    saved_done(&after[1]);
    vec_free(index);
    vec_free(loaded);
    saved_done(&first);
    mem_free(base);
}

static void what_was_loaded_answers_and_goes_on_as_what_was_saved(void **state)
{
    static const uint32_t dimensions[] = { 2, 20, 90, 150, 260 };
    for (size_t i = 0; i < ARRAY_LEN(dimensions); i++) {
        round_trip(dimensions[i], (enum vec_metric)(i % 3), 700, 200);
    }
    round_trip(24, VEC_DOT, 700, 200);
    round_trip(24, VEC_L2, 700, 5000);
}

/* What is refused as too large when it is loaded is never what was added. */
static void the_longest_vectors_are_saved(void **state)
{
    enum { N = 200, D_MAX = 260 };
    static const uint32_t dimensions[] = { 1, 20, 90, D_MAX };
    float *base = vectors_make(N, D_MAX, 1);
    for (size_t i = 0; i < ARRAY_LEN(dimensions) * 3; i++) {
        uint32_t d = dimensions[i / 3];
        struct vec_opts opts = { .dimension = d, .graph_min = 50, .ef_construction = 32 };
        opts.metric = (enum vec_metric)(i % 3);
        struct vec_index *index = index_make(&opts, NULL, 0);
        struct vec_index *loaded = NULL;
        struct saved saved;
        for (uint32_t j = 0; j < N; j++) {
            float vector[D_MAX];
            double length = sqrt(
                vectors_distance(base + (size_t)j * d, (float[D_MAX]){ 0 }, d, VEC_L2));
            for (uint32_t at = 0; at < d; at++) { /* up to the last float below 1e15 */
                vector[at] = (float)((double)base[(size_t)j * d + at] * 0.9999999e15 / length);
            }
            add_some(index, vector, 1, d);
        }
        index_finish(index);
        saved_take(&saved, index);
        assert_int_equal(saved_load(&saved, NULL, &loaded, NULL), OK);
        assert_same_answers(index, loaded, base, 5, d);
        vec_free(loaded);
        vec_free(index);
        saved_done(&saved);
    }
    mem_free(base);
}

static void an_empty_index_is_saved(void **state)
{
    struct vec_opts opts = { .dimension = 3 };
    struct vec_index *index = index_make(&opts, NULL, 0);
    struct vec_index *loaded = NULL;
    float vector[3] = { 1, 2, 3 };
    struct saved saved;
    saved_take(&saved, index);
    assert_int_equal(saved_load(&saved, NULL, &loaded, NULL), OK);
    add_some(loaded, vector, 1, 3);
    delete_each(loaded, 0, 1, 1);
    saved_done(&saved);
    saved_take(&saved, loaded);
    vec_free(loaded);
    assert_int_equal(saved_load(&saved, NULL, &loaded, NULL), OK);
    add_some(loaded, vector, 1, 3);
    vec_free(loaded);
    vec_free(index);
    saved_done(&saved);
}

static void the_same_bytes_are_saved_on_each_processor(void **state)
{
    enum { N = 900 };
    static const uint32_t dimensions[] = { 10, 40, 100, 150, 260 };
    for (size_t i = 0; i < ARRAY_LEN(dimensions); i++) {
        float *base = vectors_make(N, dimensions[i], 1);
        struct saved first = { 0 };
        for (int isa = VEC_ISA_PLAIN; isa <= (int)VEC_ISA_AVX512; isa++) {
            struct vec_opts opts = { .dimension = dimensions[i],
                                     .graph_min = 300,
                                     .isa = (enum vec_isa)isa,
                                     .ef_construction = 48 };
            struct vec_index *index = NULL;
            if (vec_new(&opts, &index, NULL) == E_UNSUPPORTED) {
                print_message("[   NOTE   ] not tried: set %d\n", isa);
                continue;
            }
            vec_free(index);
            struct saved saved;
            index = lived_in(&opts, base, N);
            saved_take(&saved, index);
            vec_free(index);
            if (first.count == 0) {
                first = saved;
                continue;
            }
            saved_assert_equal(&first, &saved);
            saved_done(&saved);
        }
        saved_done(&first);
        mem_free(base);
    }
}

static void a_snapshot_stays_as_it_was_while_the_index_changes(void **state)
{
    enum { N = 3000, D = 20 };
    struct vec_opts opts = { .dimension = D, .graph_min = 500, .ef_construction = 48 };
    float *base = vectors_make(N, D, 1);
    struct vec_index *index = lived_in(&opts, base, N);
    struct vec_snapshot *snapshot = NULL;
    struct vec_snapshot *another = NULL;
    struct vec_stats stats;
    struct saved before;
    struct saved after;
    saved_take(&before, index);
    assert_int_equal(vec_snapshot_take(index, &snapshot, NULL), OK);
    assert_int_equal(vec_snapshot_take(index, &another, NULL), E_CONFLICT);
    delete_each(index, 4, N, 10);
    add_some(index, base, N, D);
    index_finish(index);
    vec_stats(index, &stats);
    assert_true(stats.snapshot_bytes > 0);
    saved_read(&after, snapshot);
    saved_assert_equal(&before, &after);
    vec_snapshot_free(snapshot);
    saved_done(&before);
    saved_done(&after);
    vec_stats(index, &stats);
    assert_int_equal(stats.snapshot_bytes, 0);
    vec_free(index);
    mem_free(base);
}

/* The one before the first codec: rows alone. */
static void a_snapshot_may_be_older_than_the_graph(void **state)
{
    enum { N = 1000, D = 20 };
    struct vec_opts opts = { .dimension = D, .graph_min = N, .ef_construction = 48 };
    float *base = vectors_make(N, D, 1);
    struct vec_index *index = index_make(&opts, base, N - 1);
    struct vec_index *loaded = NULL;
    struct vec_snapshot *snapshot = NULL;
    struct vec_stats stats;
    struct saved saved;
    assert_int_equal(vec_snapshot_take(index, &snapshot, NULL), OK);
    add_some(index, base, 1, D);
    index_finish(index);
    vec_stats(index, &stats);
    assert_int_equal(stats.linked, N);
    saved_read(&saved, snapshot);
    vec_snapshot_free(snapshot);
    assert_int_equal(saved_load(&saved, NULL, &loaded, NULL), OK);
    vec_stats(loaded, &stats);
    assert_int_equal(stats.linked, 0);
    assert_int_equal(stats.count, N - 1);
    vec_free(loaded);
    vec_free(index);
    saved_done(&saved);
    mem_free(base);
}

/* Vectors around one in the middle that is highest, and nearest to each. */
static struct vec_index *star_make(uint64_t seed, uint32_t *middle_out)
{
    enum { N = 400, D = 40 };
    struct vec_opts opts = {
        .dimension = D, .graph_min = 10, .m = 4, .ef_construction = 64, .seed = seed
    };
    struct vec_index *index = index_make(&opts, NULL, 0);
    struct rng rng;
    uint32_t middle = 0;
    rng_seed(&rng, seed);
    for (uint32_t i = 0; i < N; i++) {
        middle = node_level(index, i) > node_level(index, middle) ? i : middle;
    }
    for (uint32_t i = 0; i < N; i++) {
        float vector[D] = { 0 };
        for (uint32_t j = 0; j < D; j++) {
            vector[j] = (float)rng_below(&rng, 2001) / 1000 - 1;
        }
        double length = sqrt(vectors_distance(vector, (float[D]){ 0 }, D, VEC_L2));
        for (uint32_t j = 0; j < D; j++) {
            vector[j] = i == middle ? 0 : vector[j] / (float)length;
        }
        add_some(index, vector, 1, D);
    }
    index_finish(index);
    *middle_out = middle;
    return index;
}

/* Its links are soon all its children's: the root of the anchors is held by one of those. */
static void an_entry_point_without_room_for_the_root_is_loaded(void **state)
{
    bool seen = false;
    for (uint64_t seed = 0; !seen && seed < 100; seed++) {
        uint32_t middle = 0;
        struct vec_index *index = star_make(seed, &middle);
        while (!seen && index->root != middle) {
            delete_each(index, index->root, index->root + 1, 1);
            seen = index->root != middle &&
                   anchor_of(atomic_load(&index->view), index->root) != middle;
        }
        if (seen) {
            struct vec_index *loaded = NULL;
            struct saved saved;
            saved_take(&saved, index);
            assert_int_equal(saved_load(&saved, NULL, &loaded, NULL), OK);
            vec_free(loaded);
            saved_done(&saved);
        }
        vec_free(index);
    }
    assert_true(seen);
}

static void only_changed_chunks_have_a_new_version(void **state)
{
    enum { N = CHUNK_SLOTS + 100, D = 2 };
    struct vec_opts opts = { .dimension = D, .graph_min = UINT32_MAX };
    float *base = vectors_make(N, D, 1);
    struct vec_index *index = index_make(&opts, base, N);
    struct vec_index *loaded = NULL;
    struct saved first;
    saved_take(&first, index);
    assert_int_equal(first.info[1].bytes, (size_t)CHUNK_SLOTS * 136);
    assert_int_equal(saved_load(&first, NULL, &loaded, NULL), OK);
    assert_int_equal(first.mapped, 1); /* the whole chunk */
    struct vec_index *both[2] = { index, loaded };
    for (size_t i = 0; i < 2; i++) {
        struct saved second;
        struct saved third;
        add_some(both[i], base, 1, D);
        saved_take(&second, both[i]);
        assert_int_equal(second.info[1].version, first.info[1].version);
        assert_int_not_equal(second.info[4].version, first.info[4].version);
        delete_each(both[i], 70, 71, 1);
        saved_take(&third, both[i]);
        assert_int_not_equal(third.info[1].version, second.info[1].version);
        assert_int_equal(third.info[4].version, second.info[4].version);
        saved_done(&second);
        saved_done(&third);
    }
    vec_free(index);
    vec_free(loaded);
    saved_done(&first);
    mem_free(base);
}

/* --- no memory --- */

static enum status save_and_load(struct vec_index *index)
{
    struct vec_snapshot *snapshot = NULL;
    struct vec_index *loaded = NULL;
    struct saved saved = { 0 };
    TRY(vec_snapshot_take(index, &snapshot, NULL));
    enum status status = OK;
    struct vec_chunk_info info;
    const void *bytes = NULL;
    for (uint32_t i = 0; status == OK && i < vec_snapshot_chunks(snapshot); i++) {
        status = vec_snapshot_chunk(snapshot, i, &info, &bytes, NULL);
    }
    if (status == OK) {
        status = vec_snapshot_manifest(snapshot, &saved.manifest, &saved.manifest_len, NULL);
    }
    if (status == OK) {
        vec_bytes_free(saved.manifest);
    }
    vec_snapshot_free(snapshot);
    if (status == OK) {
        mem_fail_nth(-1);
        saved_take(&saved, index);
        mem_fail_nth(-1);
        FAIL_EVERY_ALLOCATION(saved_load(&saved, NULL, &loaded, NULL), (void)0);
        vec_free(loaded);
        saved_done(&saved);
    }
    return status;
}

static void saving_and_loading_fail_well(void **state)
{
    enum { N = 300, D = 20 };
    struct vec_opts opts = { .dimension = D, .graph_min = 100, .ef_construction = 32 };
    float *base = vectors_make(N, D, 1);
    struct vec_index *index = lived_in(&opts, base, N);
    long nth = 0;
    enum status status = E_NO_MEMORY;
    while (status != OK) {
        mem_fail_nth(nth++);
        status = save_and_load(index);
        assert_true(status == OK || status == E_NO_MEMORY);
    }
    mem_fail_nth(-1);
    assert_true(nth > 10);
    vec_free(index);
    mem_free(base);
}

/* --- threads --- */

enum { SHARED_N = 2500, SHARED_D = 20 };

struct shared {
    struct vec_index *index;
    const float *base;
    _Atomic size_t next;
    _Atomic bool stop;
};

static void *churns(void *arg)
{
    struct shared *shared = arg;
    struct vec_scratch *scratch = NULL;
    bool more = false;
    must(vec_scratch_new(shared->index, &scratch, NULL) == OK);
    for (size_t i = atomic_fetch_add(&shared->next, 1); i < SHARED_N;
         i = atomic_fetch_add(&shared->next, 1)) {
        uint32_t slot = 0;
        must(vec_add(shared->index, shared->base + i * SHARED_D, &slot, NULL) == OK);
        if (i % 3 == 0) {
            must(vec_delete(shared->index, scratch, slot, NULL) == OK);
        }
        must(vec_maintain(shared->index, scratch, 50, &more, NULL) == OK);
    }
    vec_scratch_free(scratch);
    return NULL;
}

static void *searches_and_saves(void *arg)
{
    struct shared *shared = arg;
    struct vec_scratch *scratch = NULL;
    struct vec_search_opts opts = { .k = 10, .ef = 40 };
    must(vec_scratch_new(shared->index, &scratch, NULL) == OK);
    for (size_t q = 0; !atomic_load(&shared->stop); q++) {
        struct vec_snapshot *snapshot = NULL;
        struct vec_hit hits[10];
        uint32_t found = 0;
        must(vec_search(shared->index, scratch, shared->base + q % SHARED_N * SHARED_D, &opts, hits,
                        &found, NULL) == OK);
        if (q % 64 == 0 && vec_snapshot_take(shared->index, &snapshot, NULL) == OK) {
            struct saved saved;
            struct vec_index *loaded = NULL;
            saved_read(&saved, snapshot);
            vec_snapshot_free(snapshot);
            must(saved_load(&saved, NULL, &loaded, NULL) == OK); /* which checks all of it */
            vec_free(loaded);
            saved_done(&saved);
        }
    }
    vec_scratch_free(scratch);
    return NULL;
}

static void snapshots_are_whole_beside_adding_linking_and_searching(void **state)
{
    struct vec_opts opts = { .dimension = SHARED_D, .graph_min = 500, .ef_construction = 48 };
    float *base = vectors_make(SHARED_N, SHARED_D, 5);
    struct shared shared = { .base = base };
    assert_int_equal(vec_new(&opts, &shared.index, NULL), OK);
    two_beside_two(churns, searches_and_saves, &shared, &shared.stop);
    vec_free(shared.index);
    mem_free(base);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_loaded_answers_and_goes_on_as_what_was_saved),
        cmocka_unit_test(the_longest_vectors_are_saved),
        cmocka_unit_test(an_empty_index_is_saved),
        cmocka_unit_test(the_same_bytes_are_saved_on_each_processor),
        cmocka_unit_test(a_snapshot_stays_as_it_was_while_the_index_changes),
        cmocka_unit_test(a_snapshot_may_be_older_than_the_graph),
        cmocka_unit_test(an_entry_point_without_room_for_the_root_is_loaded),
        cmocka_unit_test(only_changed_chunks_have_a_new_version),
        cmocka_unit_test(saving_and_loading_fail_well),
        cmocka_unit_test(snapshots_are_whole_beside_adding_linking_and_searching),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
