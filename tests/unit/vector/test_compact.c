/* Memory: what small indexes take, what compaction gives back, what a search that does not end
 * holds. */
#include "saving.h"

#include <stdio.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/rng.h"
#include "vector/vec_priv.h"

enum { D = 6 };

/* A vector that tells its number: the first component does. */
static void numbered(uint32_t i, uint32_t d, float *out)
{
    struct rng rng;
    rng_seed(&rng, i);
    for (uint32_t j = 0; j < d; j++) {
        out[j] = (float)(rng_next(&rng) >> 40) / 65536.0F;
    }
    out[0] = (float)i;
}

static void add_numbered(struct vec_index *index, uint32_t from, uint32_t to, uint32_t d)
{
    float *vector = xmalloc(d * sizeof(*vector));
    for (uint32_t i = from; i < to; i++) {
        uint32_t slot = 0;
        numbered(i, d, vector);
        assert_int_equal(vec_add(index, vector, &slot, NULL), OK);
    }
    mem_free(vector);
}

static void delete_where(struct vec_index *index, uint32_t from, uint32_t to, uint32_t step)
{
    struct vec_scratch *scratch = NULL;
    assert_int_equal(vec_scratch_new(index, &scratch, NULL), OK);
    for (uint32_t slot = from; slot < to; slot += step) {
        assert_int_equal(vec_delete(index, scratch, slot, NULL), OK);
    }
    vec_scratch_free(scratch);
}

static struct vec_stats stats_of(struct vec_index *index)
{
    struct vec_stats stats;
    vec_stats(index, &stats);
    return stats;
}

/* Compacts; each vector is where the map says, is found there, and no slot is left over. */
static void compact_and_check(struct vec_index *index, uint32_t d)
{
    struct vec_stats before = stats_of(index);
    struct vec_scratch *scratch = NULL;
    struct vec_search_opts opts = { .k = 1, .ef = 64 };
    uint32_t *map = NULL;
    uint64_t count = 0;
    uint64_t lost = 1;
    uint32_t there = 0;
    float *was = xmalloc((before.slots + 1) * d * sizeof(*was));
    float *is = xmalloc(d * sizeof(*is));
    assert_int_equal(vec_scratch_new(index, &scratch, NULL), OK);
    for (uint32_t slot = 0; slot < before.slots; slot++) {
        was[(size_t)slot * d] = -1;
        (void)!vec_get(index, slot, was + (size_t)slot * d, NULL);
    }
    assert_int_equal(vec_compact(index, &map, &count, NULL), OK);
    struct vec_stats after = stats_of(index);
    assert_int_equal(count, before.slots);
    assert_int_equal(after.slots, before.count);
    assert_int_equal(after.count, before.count);
    assert_int_equal(after.linked, before.linked);
    assert_true(after.memory_bytes <= before.memory_bytes);
    for (uint32_t slot = 0; slot < count; slot++) {
        const float *vector = was + (size_t)slot * d;
        struct vec_hit hit;
        uint32_t found = 0;
        assert_int_equal(map[slot] == UINT32_MAX, vector[0] < 0);
        if (map[slot] == UINT32_MAX) {
            continue;
        }
        there++;
        assert_true(map[slot] < after.slots);
        assert_int_equal(vec_get(index, map[slot], is, NULL), OK);
        assert_memory_equal(is, vector, d * sizeof(*is));
        if (slot % 7 == 0) {
            assert_int_equal(vec_search(index, scratch, vector, &opts, &hit, &found, NULL), OK);
            assert_int_equal(found, 1);
            assert_int_equal(hit.slot, map[slot]);
        }
    }
    assert_int_equal(there, after.count);
    assert_int_equal(vec_unreachable(index, &lost, NULL), OK);
    assert_int_equal(lost, 0);
    vec_bytes_free(map);
    vec_scratch_free(scratch);
    mem_free(was);
    mem_free(is);
}

/* Loading looks at all of it. */
static void assert_sound(struct vec_index *index)
{
    struct saved saved;
    struct vec_index *loaded = NULL;
    struct err err = { 0 };
    saved_take(&saved, index);
    assert_int_equal(saved_load(&saved, NULL, &loaded, &err), OK);
    index_finish(loaded);
    vec_free(loaded);
    saved_done(&saved);
}

static struct vec_opts options(uint32_t graph_min)
{
    return (
        struct vec_opts){ .dimension = D, .graph_min = graph_min, .m = 6, .ef_construction = 40 };
}

static void gaps_are_closed(void **state)
{
    enum { N = 3000 };
    static const uint32_t graph_mins[] = { 500, UINT32_MAX };
    for (size_t i = 0; i < ARRAY_LEN(graph_mins); i++) {
        struct vec_opts opts = options(graph_mins[i]);
        struct vec_index *index = NULL;
        assert_int_equal(vec_new(&opts, &index, NULL), OK);
        add_numbered(index, 0, N, D);
        index_finish(index);
        compact_and_check(index, D); /* there are none */
        delete_where(index, 0, N, 3);
        add_numbered(index, N, N + 100, D); /* used again, and not linked */
        delete_where(index, 1, N, 3);
        compact_and_check(index, D);
        assert_sound(index);
        add_numbered(index, N + 100, N + 600, D);
        delete_where(index, 10, 900, 2);
        index_finish(index);
        add_numbered(index, N + 600, N + 1200, D); /* some behind the end */
        assert_sound(index);
        compact_and_check(index, D);
        assert_sound(index);
        index_finish(index);
        compact_and_check(index, D);
        vec_free(index);
    }
}

/* Nothing is moved then, though one that is not linked stands among those that are. */
static void without_gaps_all_stay(void **state)
{
    struct vec_opts opts = options(100);
    struct vec_index *index = NULL;
    assert_int_equal(vec_new(&opts, &index, NULL), OK);
    add_numbered(index, 0, 300, D);
    index_finish(index);
    delete_where(index, 50, 51, 1);
    add_numbered(index, 300, 301, D);
    assert_int_equal(stats_of(index).linked, 299);
    assert_int_equal(stats_of(index).slots, 300);
    compact_and_check(index, D);
    index_finish(index);
    assert_int_equal(stats_of(index).linked, 300);
    assert_sound(index);
    vec_free(index);
}

/* Of recall, which maintenance measures by stored vectors. */
static void compaction_may_come_amid_a_measurement(void **state)
{
    enum { N = 2000 };
    for (int steps = 0; steps < 3000; steps += 250) {
        struct vec_opts opts = options(500);
        struct vec_index *index = NULL;
        struct vec_scratch *scratch = NULL;
        bool more = true;
        assert_int_equal(vec_new(&opts, &index, NULL), OK);
        assert_int_equal(vec_scratch_new(index, &scratch, NULL), OK);
        add_numbered(index, 0, N, D);
        while (stats_of(index).linked < N) {
            assert_int_equal(vec_maintain(index, scratch, 1, &more, NULL), OK);
        }
        for (int i = 0; i < steps && more; i++) {
            assert_int_equal(vec_maintain(index, scratch, 0, &more, NULL), OK);
        }
        delete_where(index, 0, N - 10, 1);
        compact_and_check(index, D);
        index_finish(index);
        vec_scratch_free(scratch);
        vec_free(index);
    }
}

static void everything_may_go_and_come_again(void **state)
{
    for (uint32_t n = 0; n <= 3; n++) {
        struct vec_opts opts = options(1);
        struct vec_index *index = NULL;
        assert_int_equal(vec_new(&opts, &index, NULL), OK);
        for (int i = 0; i < 3; i++) {
            add_numbered(index, 0, 300 + n, D);
            index_finish(index);
            compact_and_check(index, D);
            delete_where(index, n, 300 + n, 1);
            compact_and_check(index, D);
            assert_int_equal(stats_of(index).slots, n);
            assert_sound(index);
            delete_where(index, 0, n, 1);
            compact_and_check(index, D);
            assert_int_equal(stats_of(index).memory_bytes, 0);
            assert_sound(index);
        }
        vec_free(index);
    }
}

static void chunks_are_given_back(void **state)
{
    enum { N = CHUNK_SLOTS + 3000 };
    struct vec_opts opts = options(UINT32_MAX);
    struct vec_index *both[2] = { NULL, NULL };
    struct saved saved;
    assert_int_equal(vec_new(&opts, &both[0], NULL), OK);
    add_numbered(both[0], 0, N, D);
    saved_take(&saved, both[0]);
    assert_int_equal(saved_load(&saved, NULL, &both[1], NULL), OK);
    assert_int_equal(saved.mapped, 1);
    for (size_t i = 0; i < 2; i++) {
        delete_where(both[i], 5, N - 20, 1);
        compact_and_check(both[i], D);
        assert_int_equal(saved.mapped, 1 - i); /* the second's is given back */
        assert_true(stats_of(both[i]).memory_bytes < 16384);
        assert_sound(both[i]);
        add_numbered(both[i], 0, N, D);
        assert_sound(both[i]);
        vec_free(both[i]);
    }
    saved_done(&saved);
}

/* Rows of so many dimensions stand in eight parts of a chunk. */
static void parts_of_chunks_are_given_back(void **state)
{
    enum { N = 9000, WIDE = 4000 };
    struct vec_opts opts = { .dimension = WIDE, .graph_min = UINT32_MAX };
    struct vec_index *index = NULL;
    struct vec_index *loaded = NULL;
    struct saved saved;
    float vector[WIDE] = { 0 };
    assert_int_equal(vec_new(&opts, &index, NULL), OK);
    for (uint32_t i = 0; i < N; i++) {
        uint32_t slot = 0;
        vector[i % WIDE] = (float)i;
        assert_int_equal(vec_add(index, vector, &slot, NULL), OK);
    }
    saved_take(&saved, index);
    vec_free(index);
    assert_true(saved.count > 10 && saved.info[1].bytes > 0 && saved.info[2].bytes > 0);
    assert_int_equal(saved_load(&saved, NULL, &loaded, NULL), OK);
    assert_int_equal(saved.mapped, 1);
    float back[WIDE];
    assert_int_equal(vec_get(loaded, N - 1, back, NULL), OK);
    assert_true(back[(N - 1) % WIDE] > (float)N - 5 && back[(N - 1) % WIDE] < (float)N + 5);
    delete_where(loaded, 100, N, 1);
    uint32_t *map = NULL;
    uint64_t count = 0;
    assert_int_equal(vec_compact(loaded, &map, &count, NULL), OK);
    vec_bytes_free(map);
    assert_int_equal(saved.mapped, 0);
    assert_true(stats_of(loaded).memory_bytes < 1 << 20);
    vec_free(loaded);
    saved_done(&saved);
}

static void compaction_waits_for_no_snapshot_and_fails_well(void **state)
{
    struct vec_opts opts = options(100);
    struct vec_index *index = NULL;
    struct vec_snapshot *snapshot = NULL;
    uint32_t *map = NULL;
    uint64_t count = 0;
    assert_int_equal(vec_new(&opts, &index, NULL), OK);
    add_numbered(index, 0, 400, D);
    index_finish(index);
    delete_where(index, 0, 400, 2);
    assert_int_equal(vec_snapshot_take(index, &snapshot, NULL), OK);
    assert_int_equal(vec_compact(index, &map, &count, NULL), E_CONFLICT);
    vec_snapshot_free(snapshot);
    FAIL_EVERY_ALLOCATION(vec_compact(index, &map, &count, NULL), (void)0);
    assert_int_equal(count, 400);
    assert_int_equal(stats_of(index).slots, 200);
    vec_bytes_free(map);
    assert_sound(index);
    vec_free(index);
}

static void a_search_without_an_end_holds_back_no_more_than_a_bound(void **state)
{
    struct vec_opts opts = options(UINT32_MAX);
    struct vec_index *index = NULL;
    struct vec_scratch *stalled = NULL;
    struct vec_scratch *scratch = NULL;
    float vector[D] = { 1 };
    uint32_t slot = 0;
    uint32_t replaced = 0;
    enum status status = OK;
    assert_int_equal(vec_new(&opts, &index, NULL), OK);
    assert_int_equal(vec_scratch_new(index, &stalled, NULL), OK);
    assert_int_equal(vec_scratch_new(index, &scratch, NULL), OK);
    assert_int_equal(vec_add(index, vector, &slot, NULL), OK);
    vec_pin(index, stalled);
    while (status == OK && replaced < 100000) {
        assert_int_equal(vec_delete(index, scratch, slot, NULL), OK);
        status = vec_add(index, vector, &slot, NULL);
        replaced += status == OK;
    }
    assert_int_equal(status, E_UNAVAILABLE);
    assert_in_range(replaced, 65530, 65550);
    assert_in_range(stats_of(index).held_slots, 65530, 65550);
    assert_true(stats_of(index).held_bytes > 0);
    vec_unpin(stalled);
    assert_int_equal(stats_of(index).held_slots, 0);
    assert_int_equal(vec_add(index, vector, &slot, NULL), OK);
    vec_scratch_free(stalled);
    vec_scratch_free(scratch);
    vec_free(index);
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { MEASURED = false };
#else
enum { MEASURED = true };
#endif

static size_t resident_bytes(void)
{
    size_t pages[2] = { 0, 0 };
    FILE *file = fopen("/proc/self/statm", "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%zu %zu", &pages[0], &pages[1]), 2);
    (void)fclose(file);
    return pages[1] * (size_t)sysconf(_SC_PAGESIZE);
}

/* What 10,000 of them take decides whether a machine can have them open. */
static void an_index_of_100_vectors_takes_64_kib_at_most(void **state)
{
    enum { N = 500, EACH = 100, WIDE = 200 };
    struct vec_opts opts = { .dimension = WIDE };
    struct vec_search_opts ten = { .k = 10 };
    struct vec_index *indexes[N];
    struct vec_scratch *scratches[N];
    float vector[WIDE];
    size_t before = resident_bytes();
    for (size_t i = 0; i < N; i++) {
        struct vec_hit hits[10];
        uint32_t found = 0;
        assert_int_equal(vec_new(&opts, &indexes[i], NULL), OK);
        add_numbered(indexes[i], 0, EACH, WIDE);
        assert_int_equal(vec_scratch_new(indexes[i], &scratches[i], NULL), OK);
        numbered(3, WIDE, vector);
        assert_int_equal(vec_search(indexes[i], scratches[i], vector, &ten, hits, &found, NULL),
                         OK);
        assert_int_equal(hits[0].slot, 3);
    }
    double each = (double)(resident_bytes() - before) / N / 1024;
    print_message("[   INFO   ] %.1f KiB each\n", each);
    assert_true(!MEASURED || each <= 64);
    for (size_t i = 0; i < N; i++) {
        vec_scratch_free(scratches[i]);
        vec_free(indexes[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_index_of_100_vectors_takes_64_kib_at_most),
        cmocka_unit_test(gaps_are_closed),
        cmocka_unit_test(without_gaps_all_stay),
        cmocka_unit_test(compaction_may_come_amid_a_measurement),
        cmocka_unit_test(everything_may_go_and_come_again),
        cmocka_unit_test(chunks_are_given_back),
        cmocka_unit_test(parts_of_chunks_are_given_back),
        cmocka_unit_test(compaction_waits_for_no_snapshot_and_fails_well),
        cmocka_unit_test(a_search_without_an_end_holds_back_no_more_than_a_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
