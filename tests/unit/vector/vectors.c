#include "vectors.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/mem.h"
#include "base/rng.h"

void two_beside_two(void *(*work)(void *), void *(*beside)(void *), void *arg, _Atomic bool *stop)
{
    pthread_t threads[4];
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, i < 2 ? work : beside, arg), 0);
    }
    (void)pthread_join(threads[0], NULL);
    (void)pthread_join(threads[1], NULL);
    atomic_store(stop, true);
    (void)pthread_join(threads[2], NULL);
    (void)pthread_join(threads[3], NULL);
}

static double uniform(struct rng *rng)
{
    return (double)(rng_next(rng) >> 11) * 0x1p-53;
}

static double normal(struct rng *rng)
{
    return sqrt(-2 * log(1 - uniform(rng))) * cos(6.283185307179586 * uniform(rng));
}

float *vectors_make(size_t n, size_t dimension, uint64_t seed)
{
    struct rng rng;
    size_t centres = n / 20 + 1;
    float *out = xmalloc((n + centres) * dimension * sizeof(*out));
    float *centre = out + n * dimension;
    rng_seed(&rng, 77); /* centres are the same for each seed, so that queries have neighbours */
    for (size_t i = 0; i < centres * dimension; i++) {
        centre[i] = (float)normal(&rng);
    }
    rng_seed(&rng, seed);
    for (size_t i = 0; i < n; i++) {
        const float *near = centre + rng_below(&rng, centres) * dimension;
        for (size_t j = 0; j < dimension; j++) {
            out[i * dimension + j] = near[j] + (float)normal(&rng) * 0.6F;
        }
    }
    return out;
}

double vectors_distance(const float *a, const float *b, size_t dimension, enum vec_metric metric)
{
    double l2 = 0;
    double dot = 0;
    double aa = 0;
    double bb = 0;
    for (size_t i = 0; i < dimension; i++) {
        double x = (double)a[i];
        double y = (double)b[i];
        l2 += (x - y) * (x - y);
        dot += x * y;
        aa += x * x;
        bb += y * y;
    }
    return metric == VEC_L2 ? l2 : metric == VEC_DOT ? -dot : 1 - dot / sqrt(aa * bb);
}

void vectors_nearest(const float *base, size_t n, size_t dimension, enum vec_metric metric,
                     const float *query, size_t k, uint32_t *out)
{
    double *dist = xmalloc((k + 1) * sizeof(*dist));
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        double d = vectors_distance(base + i * dimension, query, dimension, metric);
        size_t at = count;
        while (at > 0 && dist[at - 1] > d) {
            at--;
        }
        if (at < k) {
            count += count < k;
            memmove(dist + at + 1, dist + at, (count - at - 1) * sizeof(*dist));
            memmove(out + at + 1, out + at, (count - at - 1) * sizeof(*out));
            dist[at] = d;
            out[at] = (uint32_t)i;
        }
    }
    mem_free(dist);
}

void index_finish(struct vec_index *index)
{
    struct vec_scratch *scratch = NULL;
    struct err err = { 0 };
    assert_int_equal(vec_scratch_new(index, &scratch, &err), OK);
    for (bool more = true; more;) {
        assert_int_equal(vec_maintain(index, scratch, 1000000, &more, &err), OK);
    }
    vec_scratch_free(scratch);
}

struct vec_index *index_make(const struct vec_opts *opts, const float *base, size_t n)
{
    struct vec_index *index = NULL;
    struct err err = { 0 };
    assert_int_equal(vec_new(opts, &index, &err), OK);
    for (size_t i = 0; i < n; i++) {
        uint32_t slot = 0;
        assert_int_equal(vec_add(index, base + i * opts->dimension, &slot, &err), OK);
        assert_int_equal(slot, i);
    }
    index_finish(index);
    return index;
}

double index_recall(struct vec_index *index, const float *base, size_t n, const float *queries,
                    size_t count, const struct vec_search_opts *opts, size_t dimension,
                    enum vec_metric metric)
{
    struct vec_scratch *scratch = NULL;
    struct err err = { 0 };
    size_t right = 0;
    uint32_t *truth = xmalloc((opts->k + 1) * sizeof(*truth));
    struct vec_hit *hits = xmalloc(opts->k * sizeof(*hits));
    assert_int_equal(vec_scratch_new(index, &scratch, &err), OK);
    for (size_t i = 0; i < count; i++) {
        uint32_t found = 0;
        const float *query = queries + i * dimension;
        vectors_nearest(base, n, dimension, metric, query, opts->k, truth);
        assert_int_equal(vec_search(index, scratch, query, opts, hits, &found, &err), OK);
        assert_int_equal(found, opts->k < n ? opts->k : n);
        for (size_t j = 0; j < found; j++) {
            for (size_t t = 0; t < found; t++) {
                right += hits[j].slot == truth[t];
            }
        }
    }
    size_t all = count * (opts->k < n ? opts->k : n);
    vec_scratch_free(scratch);
    mem_free(truth);
    mem_free(hits);
    return (double)right / (double)all;
}
