/* Stored rows: 12 bits a dimension and back, what is refused, distances. */
#include "vectors.h"

#include <math.h>

#include "base/rng.h"
#include "vector/floats.h"
#include "vector/rows.h"

enum { D_MAX = 200 };

static void a_row_is_within_half_a_step_of_its_vector(void **state)
{
    for (uint32_t d = 1; d <= D_MAX; d += d < 40 ? 1 : 37) {
        struct row_shape shape = row_shape(d);
        float *vectors = vectors_make(20, d, d);
        uint8_t *row = xmalloc(shape.bytes);
        float in[D_MAX + ROW_PAD];
        float out[D_MAX + ROW_PAD];
        for (size_t i = 0; i < 20; i++) {
            row_normalise(&shape, VEC_L2, vectors + i * d, in);
            row_write(&shape, in, row);
            row_read(&shape, row, out);
            float step = row_tail(&shape, row).scale;
            for (uint32_t j = 0; j < shape.padded; j++) {
                assert_true(fabsf(in[j] - out[j]) <= step * 0.5001F);
                assert_true(j < d || out[j] == 0);
            }
        }
        mem_free(vectors);
        mem_free(row);
    }
}

static void what_has_no_length_that_can_be_counted_is_refused(void **state)
{
    float v[3] = { 1, 2, 3 };
    assert_null(row_refused(v, 3, VEC_L2));
    v[1] = NAN;
    assert_non_null(row_refused(v, 3, VEC_L2));
    v[1] = INFINITY;
    assert_non_null(row_refused(v, 3, VEC_DOT));
    v[1] = 1.1e15F; /* squared 1.2e30 */
    assert_non_null(row_refused(v, 3, VEC_L2));
    v[1] = 0.9e15F;
    assert_null(row_refused(v, 3, VEC_L2));
    float zero[3] = { 0 };
    float small[3] = { 1e-20F, 0, 0 };
    assert_null(row_refused(zero, 3, VEC_L2));
    assert_non_null(row_refused(zero, 3, VEC_COSINE));
    assert_non_null(row_refused(small, 3, VEC_COSINE));
}

static void distances_are_those_of_the_vectors(void **state)
{
    enum { D = 100, N = 50 };
    struct row_shape shape = row_shape(D);
    const struct simd *simd = NULL;
    float *vectors = vectors_make(N, D, 3);
    float f[D + ROW_PAD];
    float values[D + ROW_PAD];
    int8_t q8[D + ROW_PAD];
    int16_t q16[D + ROW_PAD];
    struct row_query query = { .q8 = q8, .q16 = q16, .f = f };
    uint8_t *row = xmalloc(shape.bytes);
    assert_int_equal(simd_choose(VEC_ISA_PLAIN, &simd, NULL), OK);
    for (int metric = VEC_L2; metric <= (int)VEC_DOT; metric++) {
        row_normalise(&shape, (enum vec_metric)metric, vectors, f);
        row_query_prepare(&shape, &query);
        for (size_t i = 1; i < N; i++) {
            const float *other = vectors + i * D;
            row_normalise(&shape, (enum vec_metric)metric, other, values);
            row_write(&shape, values, row);
            double right = vectors_distance(vectors, other, D, (enum vec_metric)metric);
            double got = (double)row_distance(&shape, (enum vec_metric)metric, simd, row, &query);
            double lengths = (double)row_tail(&shape, row).norm2 + (double)query.norm2;
            assert_true(fabs(got - right) <= 2e-4 * lengths);
            /* by high bytes, as far as 8 bits go */
            double high = (double)row_distance8(&shape, (enum vec_metric)metric, simd, row, &query);
            double rough = metric == (int)VEC_DOT  ? high / 2
                           : metric == (int)VEC_L2 ? high + (double)query.norm2
                                                   : (high + (double)query.norm2) / 2;
            assert_true(fabs(rough - right) <= 0.01 * lengths);
        }
    }
    mem_free(row);
    mem_free(vectors);
}

static void vectors_of_nothing_and_of_next_to_nothing_are_rows(void **state)
{
    struct row_shape shape = row_shape(5);
    float values[ROW_PAD] = { 0 };
    float out[ROW_PAD];
    uint8_t *row = xmalloc(shape.bytes);
    row_write(&shape, values, row);
    row_read(&shape, row, out);
    assert_memory_equal(values, out, sizeof(values));
    values[2] = 1e-40F;
    row_write(&shape, values, row);
    row_read(&shape, row, out);
    for (size_t i = 0; i < ROW_PAD; i++) {
        assert_true(fabsf(out[i]) <= 1e-39F);
    }
    mem_free(row);
}

static void the_nearest_whole_number_is_that_of_lrintf(void **state)
{
    for (int i = -4000000; i <= 4000000; i += 7) {
        for (int eighths = 0; eighths < 8; eighths++) {
            float value = (float)i + (float)eighths / 8;
            assert_int_equal(floats_nearest(value), lrintf(value));
        }
    }
    for (int i = -64000; i <= 64000; i++) { /* halves go to the even one */
        float value = (float)i / 2;
        assert_int_equal(floats_nearest(value), lrintf(value));
    }
}

static void the_greatest_is_found_at_each_place(void **state)
{
    float values[67] = { 0 };
    for (size_t n = 0; n <= 67; n++) {
        for (size_t at = 0; at < n; at++) {
            values[at] = at % 2 == 0 ? -3.5F : 3.5F;
            assert_true(floats_greatest(values, n) == 3.5F);
            values[at] = 0.25F;
        }
        assert_true(floats_greatest(values, n) == (n == 0 ? 0 : 0.25F));
        memset(values, 0, sizeof(values));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_row_is_within_half_a_step_of_its_vector),
        cmocka_unit_test(what_has_no_length_that_can_be_counted_is_refused),
        cmocka_unit_test(distances_are_those_of_the_vectors),
        cmocka_unit_test(vectors_of_nothing_and_of_next_to_nothing_are_rows),
        cmocka_unit_test(the_nearest_whole_number_is_that_of_lrintf),
        cmocka_unit_test(the_greatest_is_found_at_each_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
