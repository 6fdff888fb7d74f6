/*
 * Random operations on an index, held against a plain list of vectors: adding, taking out,
 * replacing, maintaining, searching, compacting, saving while it goes on, loading. A short run by
 * default; LAKEVEC_OPERATIONS and LAKEVEC_SEED make it long, or another one: `make
 * vector-property`. A failure is repeated by its seed.
 */
#include "saving.h"

#include <math.h>
#include <stdio.h>

#include "base/mem.h"
#include "base/rng.h"

enum { SLOTS = 20000, LIVE_MAX = 1500, POOL = 3000, K_MAX = 20 };

struct model {
    struct vec_index *index;
    struct vec_scratch *scratch;
    struct rng rng;
    uint32_t d;
    enum vec_metric metric;
    float *pool;     /* [POOL][d] */
    uint32_t *is;    /* [SLOTS]: which of the pool a slot holds, or UINT32_MAX */
    uint32_t *slots; /* [live] */
    uint32_t live, max;
    struct vec_snapshot *snapshot; /* or NULL; and what there was then */
    uint32_t *was;
    uint32_t was_live;
    size_t right, wanted; /* of what searches should have found */
    uint32_t searches, loads, compactions;
};

static uint32_t some(struct model *m, uint32_t below)
{
    return (uint32_t)rng_below(&m->rng, below);
}

static const float *vector_of(const struct model *m, uint32_t which)
{
    return m->pool + (size_t)which * m->d;
}

/* --- what changes it --- */

static void put(struct model *m, uint32_t slot, uint32_t which)
{
    assert_true(slot < SLOTS);
    assert_int_equal(m->is[slot], UINT32_MAX); /* nobody was there */
    m->is[slot] = which;
    m->slots[m->live++] = slot;
}

static void add(struct model *m)
{
    uint32_t slot = 0;
    uint32_t which = some(m, some(m, 4) == 0 ? 20 : POOL); /* many are equal */
    struct err err = { 0 };
    if (m->live < m->max) {
        assert_int_equal(vec_add(m->index, vector_of(m, which), &slot, &err), OK);
        put(m, slot, which);
    }
}

static void delete_at(struct model *m, uint32_t at)
{
    uint32_t slot = m->slots[at];
    assert_int_equal(vec_delete(m->index, m->scratch, slot, NULL), OK);
    assert_int_equal(vec_delete(m->index, m->scratch, slot, NULL), E_NOT_FOUND);
    m->is[slot] = UINT32_MAX;
    m->slots[at] = m->slots[--m->live];
}

static void delete_one(struct model *m)
{
    if (m->live > 0) {
        delete_at(m, some(m, m->live));
    }
}

static void replace(struct model *m)
{
    if (m->live > 0) {
        uint32_t at = some(m, m->live);
        uint32_t which = some(m, POOL);
        uint32_t slot = 0;
        assert_int_equal(vec_add(m->index, vector_of(m, which), &slot, NULL), OK);
        put(m, slot, which);
        delete_at(m, at);
    }
}

static void delete_most(struct model *m)
{
    uint32_t left = some(m, 3) == 0 ? 0 : some(m, 50);
    while (m->live > left) {
        delete_at(m, m->live - 1);
    }
    m->max = 50 + some(m, LIVE_MAX - 50);
}

static void maintain(struct model *m)
{
    bool more = false;
    assert_int_equal(
        vec_maintain(m->index, m->scratch, some(m, 20) == 0 ? 100000 : some(m, 300), &more, NULL),
        OK);
}

static void compact(struct model *m)
{
    uint32_t *map = NULL;
    uint64_t count = 0;
    struct vec_stats stats;
    enum status status = vec_compact(m->index, &map, &count, NULL);
    assert_int_equal(status, m->snapshot != NULL ? E_CONFLICT : OK);
    if (status != OK) {
        return;
    }
    vec_stats(m->index, &stats);
    assert_int_equal(stats.slots, m->live);
    uint32_t *is = xmalloc(SLOTS * sizeof(*is));
    memset(is, 0xff, SLOTS * sizeof(*is));
    for (uint32_t i = 0; i < m->live; i++) {
        uint32_t to = map[m->slots[i]];
        assert_true(to < m->live);
        assert_int_equal(is[to], UINT32_MAX);
        is[to] = m->is[m->slots[i]];
        m->slots[i] = to;
    }
    mem_free(m->is);
    m->is = is;
    vec_bytes_free(map);
    m->compactions++;
}

/* --- what looks at it --- */

static double nth_distance(const struct model *m, const float *query, uint32_t k)
{
    double nearest[K_MAX];
    uint32_t n = 0;
    for (uint32_t i = 0; i < m->live; i++) {
        double dist = vectors_distance(vector_of(m, m->is[m->slots[i]]), query, m->d, m->metric);
        uint32_t at = n < k ? n : k;
        while (at > 0 && nearest[at - 1] > dist) {
            at--;
        }
        if (at < k) {
            n += n < k;
            memmove(nearest + at + 1, nearest + at, (n - at - 1) * sizeof(*nearest));
            nearest[at] = dist;
        }
    }
    return nearest[n - 1];
}

/* Floats up to 32 dimensions, else of 12 bits. */
static double tolerance(const struct model *m)
{
    return m->d <= 32 ? 1e-3 : 0.15;
}

static uint32_t hits_check(const struct model *m, const float *query, const struct vec_hit *hits,
                           uint32_t found, double far)
{
    uint32_t right = 0;
    for (uint32_t i = 0; i < found; i++) {
        assert_true(hits[i].slot < SLOTS);
        uint32_t which = m->is[hits[i].slot];
        assert_int_not_equal(which, UINT32_MAX);
        double dist = vectors_distance(vector_of(m, which), query, m->d, m->metric);
        if (!(fabs(dist - (double)hits[i].distance) <= tolerance(m))) {
            print_error("slot %u at %g, told %g\n", hits[i].slot, dist, (double)hits[i].distance);
        }
        assert_true(fabs(dist - (double)hits[i].distance) <= tolerance(m));
        assert_true(i == 0 || hits[i - 1].distance < hits[i].distance ||
                    (hits[i - 1].distance == hits[i].distance && hits[i - 1].slot < hits[i].slot));
        for (uint32_t j = 0; j < i; j++) {
            assert_int_not_equal(hits[i].slot, hits[j].slot);
        }
        right += dist <= far + tolerance(m);
    }
    return right;
}

static void search(struct model *m)
{
    struct vec_hit hits[K_MAX];
    float query[64];
    uint32_t found = 0;
    uint32_t k = 1 + some(m, K_MAX);
    struct vec_search_opts opts = { .k = k, .ef = 64 };
    const float *near = vector_of(m, some(m, POOL));
    for (uint32_t j = 0; j < m->d; j++) {
        query[j] = near[j] + (float)some(m, 1000) / 5000;
    }
    uint32_t expected = m->live < k ? m->live : k;
    double far = expected == 0 ? 0 : nth_distance(m, query, expected);
    assert_int_equal(vec_exact(m->index, m->scratch, query, &opts, hits, &found, NULL), OK);
    assert_int_equal(found, expected);
    assert_int_equal(hits_check(m, query, hits, found, far), found);
    assert_int_equal(vec_search(m->index, m->scratch, query, &opts, hits, &found, NULL), OK);
    assert_int_equal(found, expected);
    m->right += hits_check(m, query, hits, found, far);
    m->wanted += expected;
    m->searches++;
}

static void look(struct model *m)
{
    struct vec_stats stats;
    uint64_t lost = 1;
    vec_stats(m->index, &stats);
    assert_int_equal(stats.count, m->live);
    assert_int_equal(vec_unreachable(m->index, &lost, NULL), OK);
    assert_int_equal(lost, 0);
}

/* --- saving --- */

static void scratch_anew(struct model *m)
{
    vec_scratch_free(m->scratch);
    assert_int_equal(vec_scratch_new(m->index, &m->scratch, NULL), OK);
}

static void snapshot_take(struct model *m)
{
    if (m->snapshot == NULL) {
        assert_int_equal(vec_snapshot_take(m->index, &m->snapshot, NULL), OK);
        memcpy(m->was, m->is, SLOTS * sizeof(*m->was));
        m->was_live = m->live;
    }
}

/* What was saved is what there was then, whatever happened since. */
static void snapshot_check(struct model *m)
{
    struct saved saved;
    struct vec_index *loaded = NULL;
    struct vec_stats stats;
    struct err err = { 0 };
    float vector[64];
    if (m->snapshot == NULL) {
        return;
    }
    saved_read(&saved, m->snapshot);
    vec_snapshot_free(m->snapshot);
    m->snapshot = NULL;
    assert_int_equal(saved_load(&saved, NULL, &loaded, &err), OK);
    vec_stats(loaded, &stats);
    assert_int_equal(stats.count, m->was_live);
    for (uint32_t slot = 0; slot < SLOTS; slot++) {
        bool there = vec_get(loaded, slot, vector, NULL) == OK;
        assert_int_equal(there, m->was[slot] != UINT32_MAX);
        const float *was = there ? vector_of(m, m->was[slot]) : NULL;
        if (there && m->d <= 32 && m->metric == VEC_L2) {
            assert_memory_equal(vector, was, m->d * sizeof(*vector));
        }
        for (uint32_t j = 0; there && m->d <= 32 && m->metric == VEC_DOT && j < m->d; j++) {
            assert_true(fabsf(vector[j] - was[j]) <= 1e-5F);
        }
    }
    vec_free(loaded);
    saved_done(&saved);
}

/* And goes on with what was loaded. */
static void reload(struct model *m)
{
    struct saved saved;
    struct vec_index *loaded = NULL;
    struct err err = { 0 };
    snapshot_check(m);
    saved_take(&saved, m->index);
    assert_int_equal(saved_load(&saved, NULL, &loaded, &err), OK);
    vec_scratch_free(m->scratch);
    m->scratch = NULL;
    vec_free(m->index);
    m->index = loaded;
    scratch_anew(m);
    saved_done(&saved);
    m->loads++;
}

/* --- the whole --- */

static void operate(struct model *m)
{
    static const struct {
        uint32_t of_10000;
        void (*operation)(struct model *m);
    } all[] = {
        { 3800, add },   { 2000, delete_one },  { 1500, replace },      { 1600, maintain },
        { 900, search }, { 20, snapshot_take }, { 10, snapshot_check }, { 8, reload },
        { 6, compact },  { 4, delete_most },    { 60, look },
    };
    uint32_t draw = some(m, 9908);
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        if (draw < all[i].of_10000) {
            all[i].operation(m);
            return;
        }
        draw -= all[i].of_10000;
    }
}

static void run(uint64_t seed, uint32_t operations)
{
    static const uint32_t dimensions[] = { 12, 40, 3 };
    struct model m = { .d = dimensions[seed % 3], .metric = (enum vec_metric)(seed / 3 % 3) };
    struct vec_opts opts = { .dimension = m.d,
                             .metric = m.metric,
                             .graph_min = 200,
                             .m = seed % 2 == 0 ? 8 : 16,
                             .ef_construction = 64,
                             .seed = seed };
    rng_seed(&m.rng, seed);
    m.pool = vectors_make(POOL, m.d, seed + 1);
    m.is = xmalloc(SLOTS * sizeof(*m.is));
    m.was = xmalloc(SLOTS * sizeof(*m.was));
    m.slots = xmalloc(SLOTS * sizeof(*m.slots));
    memset(m.is, 0xff, SLOTS * sizeof(*m.is));
    m.max = LIVE_MAX;
    assert_int_equal(vec_new(&opts, &m.index, NULL), OK);
    scratch_anew(&m);
    for (uint32_t i = 0; i < operations; i++) {
        operate(&m);
    }
    snapshot_check(&m);
    look(&m);
    double recall = m.wanted == 0 ? 1 : (double)m.right / (double)m.wanted;
    print_message("[   INFO   ] seed %llu: %u operations, %u searches, recall %.4f, %u loads, %u "
                  "compactions\n",
                  (unsigned long long)seed, operations, m.searches, recall, m.loads, m.compactions);
    assert_true(recall >= 0.97);
    vec_scratch_free(m.scratch);
    vec_free(m.index);
    mem_free(m.pool);
    mem_free(m.is);
    mem_free(m.was);
    mem_free(m.slots);
}

static uint64_t from_environment(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text == NULL ? otherwise : strtoull(text, NULL, 10);
}

static void random_operations_do_what_they_do_to_a_plain_list(void **state)
{
    uint32_t operations = (uint32_t)from_environment("LAKEVEC_OPERATIONS", 4000);
    uint64_t seed = from_environment("LAKEVEC_SEED", UINT64_MAX);
    for (uint64_t i = 0; seed == UINT64_MAX && i < 9; i++) {
        run(i, operations);
    }
    if (seed != UINT64_MAX) {
        run(seed, operations);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_operations_do_what_they_do_to_a_plain_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
