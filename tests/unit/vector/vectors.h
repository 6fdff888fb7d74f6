/* Vectors for the tests: seeded, clustered, and whoever is nearest by brute force in doubles. */
#ifndef TEST_VECTOR_VECTORS_H
#define TEST_VECTOR_VECTORS_H

#include <stdlib.h>
#include <string.h>

#include "../base/testing.h"

#include "vector/lakevec.h"

/** For threads of a test's own: cmocka's asserts work in its thread only. */
#define must(cond)                                                                                 \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            print_error("%s:%d: not so: %s\n", __FILE__, __LINE__, #cond);                         \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/** Two threads of `work` and two of `beside`, which end when `stop` is set: after the first two. */
void two_beside_two(void *(*work)(void *), void *(*beside)(void *), void *arg, _Atomic bool *stop);

/** `n` vectors around n / 20 centres; NULL never. The caller frees. */
float *vectors_make(size_t n, size_t dimension, uint64_t seed);
/** The k nearest rows of `base` [n], nearest first. */
void vectors_nearest(const float *base, size_t n, size_t dimension, enum vec_metric metric,
                     const float *query, size_t k, uint32_t *out);
double vectors_distance(const float *a, const float *b, size_t dimension, enum vec_metric metric);

/** An index of `n` vectors, maintained until nothing is left. */
struct vec_index *index_make(const struct vec_opts *opts, const float *base, size_t n);
void index_finish(struct vec_index *index);
/** The share of the true k nearest that `queries` searches find. */
double index_recall(struct vec_index *index, const float *base, size_t n, const float *queries,
                    size_t count, const struct vec_search_opts *opts, size_t dimension,
                    enum vec_metric metric);

#endif
