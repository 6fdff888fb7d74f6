/* The loops for each instruction set give the bits that plain C gives. */
#include "vectors.h"

#include "base/rng.h"
#include "vector/pages.h"
#include "vector/simd.h"

static const struct {
    size_t lines, bits, dimensions;
} KINDS[CODE_KINDS] = { { 1, 8, 56 }, { 2, 8, 120 }, { 3, 8, 184 }, { 1, 4, 112 }, { 1, 32, 14 } };

enum { ROWS = 67 };

/* Sets that this processor has, plain first; the test says which it left out. */
static size_t sets(const struct simd *out[3])
{
    size_t n = 0;
    for (int isa = VEC_ISA_PLAIN; isa <= (int)VEC_ISA_AVX512; isa++) {
        struct err err = { 0 };
        if (simd_choose((enum vec_isa)isa, &out[n], &err) == OK) {
            n++;
        } else {
            print_message("[   NOTE   ] not tried: %s\n", err.msg);
        }
    }
    return n;
}

static void fill(struct rng *rng, uint8_t *rows, size_t lines, bool floats)
{
    for (size_t i = 0; i < (size_t)ROWS * lines * LINE; i++) {
        rows[i] = (uint8_t)rng_next(rng);
    }
    for (size_t i = 0; floats && i < (size_t)ROWS * LINE / sizeof(float); i++) {
        float value = (float)rng_below(rng, 1000) / 77 - 6;
        memcpy(rows + i * sizeof(value), &value, sizeof(value));
    }
    for (size_t i = 0; i < ROWS; i++) {
        struct code_tail tail = { .norm2 = (float)(rng_next(rng) % 1000) / 7,
                                  .scale = (float)(rng_next(rng) % 1000) / 3000 };
        memcpy(rows + (i + 1) * lines * LINE - CODE_TAIL, &tail, sizeof(tail));
    }
}

static void distances_and_queries_of_rows_are_the_same(void **state)
{
    const struct simd *set[3];
    size_t n = sets(set);
    struct rng rng;
    rng_seed(&rng, 5);
    for (int kind = 0; kind < (int)CODE_KINDS; kind++) {
        size_t row_bytes = KINDS[kind].lines * LINE;
        uint8_t *block = pages_alloc(ROWS * row_bytes);
        const uint8_t *rows[ROWS];
        fill(&rng, block, KINDS[kind].lines, KINDS[kind].bits == 32);
        for (size_t i = 0; i < ROWS; i++) {
            rows[i] = block + i * row_bytes;
        }
        for (size_t dims = KINDS[kind].dimensions; dims > 0; dims -= dims > 9 ? 9 : 1) {
            struct code_query plain = { 0 };
            float right[ROWS];
            set[0]->of_row[kind](rows[3], dims, &plain);
            set[0]->distances[kind](&plain, rows, ROWS, right);
            for (size_t s = 1; s < n; s++) {
                for (size_t count = 1; count <= ROWS; count += 1 + count / 3) {
                    struct code_query query = { 0 };
                    float got[ROWS];
                    set[s]->of_row[kind](rows[3], dims, &query);
                    assert_int_equal(query.bias, plain.bias);
                    assert_memory_equal(query.q, plain.q, row_bytes);
                    set[s]->distances[kind](&query, rows, count, got);
                    assert_memory_equal(got, right, count * sizeof(*got));
                }
            }
        }
        pages_free(block, ROWS * row_bytes);
    }
}

static void a_beam_holds_the_nearest_in_order(void **state)
{
    const struct simd *set[3];
    size_t n = sets(set);
    for (size_t s = 0; s < n; s++) {
        for (uint32_t cap = 1; cap < 90; cap += 11) {
            struct rng rng;
            float dist[100 + BEAM_PAD];
            uint32_t slot[100 + BEAM_PAD];
            struct beam beam = { .dist = dist, .slot = slot, .cap = cap };
            uint32_t seen[50] = { 0 };
            rng_seed(&rng, cap);
            for (uint32_t i = 0; i < 500; i++) {
                uint32_t value = (uint32_t)rng_below(&rng, 50); /* many ties, broken by slot */
                bool among = set[s]->beam_insert(&beam, (float)value, i);
                seen[value]++;
                uint32_t below = 0;
                for (uint32_t v = 0; v <= value; v++) {
                    below += seen[v];
                }
                assert_int_equal(among, below <= cap);
            }
            assert_int_equal(beam.count, cap);
            for (uint32_t i = 1; i < cap; i++) {
                assert_true(dist[i - 1] < dist[i] ||
                            (dist[i - 1] == dist[i] && slot[i - 1] < slot[i]));
            }
        }
    }
}

static void stored_rows_and_projections_are_the_same(void **state)
{
    const struct simd *set[3];
    size_t n = sets(set);
    struct rng rng;
    rng_seed(&rng, 9);
    for (size_t padded = ROW_PAD; padded <= 15 * ROW_PAD; padded += ROW_PAD) {
        uint8_t *row = xmalloc(padded * 3 / 2);
        float *f = xmalloc(padded * sizeof(*f));
        int8_t *q8 = xmalloc(padded);
        int16_t *q16 = xmalloc(padded * sizeof(*q16));
        float *matrix = xmalloc(padded * 80 * sizeof(*matrix));
        for (size_t i = 0; i < padded * 3 / 2; i++) {
            row[i] = (uint8_t)rng_next(&rng);
        }
        for (size_t i = 0; i < padded; i++) {
            f[i] = (float)((double)rng_below(&rng, 2000) / 777 - 1.2);
            q16[i] = (int16_t)((int)rng_below(&rng, 255) - 127);
            q8[i] = (int8_t)q16[i];
        }
        for (size_t i = 0; i < padded * 80; i++) {
            matrix[i] = (float)((double)rng_below(&rng, 2000) / 999 - 1);
        }
        struct row_query query = { .q8 = q8, .q16 = q16, .f = f };
        float right[80] = { 0 };
        set[0]->project(f, padded, matrix, 80, right);
        float l2 = set[0]->row_l2(row, row + padded, 0.013F, f, padded);
        float dot = set[0]->row_dot(row, row + padded, 0.013F, f, padded);
        for (size_t s = 1; s < n; s++) {
            float got[80] = { 0 };
            set[s]->project(f, padded, matrix, 80, got);
            assert_memory_equal(got, right, sizeof(got));
            assert_true(set[s]->row_l2(row, row + padded, 0.013F, f, padded) == l2);
            assert_true(set[s]->row_dot(row, row + padded, 0.013F, f, padded) == dot);
            assert_int_equal(set[s]->row_dot8(row, &query, padded),
                             set[0]->row_dot8(row, &query, padded));
        }
        mem_free(row);
        mem_free(f);
        mem_free(q8);
        mem_free(q16);
        mem_free(matrix);
    }
}

/* Of all widths that codes have, and with numbers as large as they come. */
static void projections_in_whole_steps_are_the_same(void **state)
{
    const struct simd *set[3];
    size_t count = sets(set);
    struct rng rng;
    rng_seed(&rng, 13);
    for (size_t width = 16; width <= CODE_BYTES_MAX; width += 16) {
        size_t n = ROW_PAD * (1 + width % 7);
        int16_t *x = xmalloc(n * sizeof(*x));
        int16_t *matrix = xmalloc(n * width * sizeof(*matrix));
        int16_t most = (int16_t)(32000 / (int)n); /* so that no sum overflows */
        for (size_t i = 0; i < n; i++) {
            x[i] = (int16_t)((int)rng_below(&rng, 64001) - 32000);
        }
        for (size_t i = 0; i < n * width; i++) {
            matrix[i] = (int16_t)((int)rng_below(&rng, 2 * (uint64_t)most + 1) - most);
        }
        for (size_t s = 0; s < count; s++) {
            int32_t got[CODE_BYTES_MAX] = { 0 };
            set[s]->project16(x, n, matrix, width, got);
            for (size_t j = 0; j < width; j++) {
                int64_t right = 0;
                for (size_t i = 0; i < n; i++) {
                    right += x[i] * matrix[(i / 2 * width + j) * 2 + i % 2];
                }
                assert_true(got[j] == right);
            }
        }
        mem_free(x);
        mem_free(matrix);
    }
}

static void a_set_that_is_not_there_is_refused(void **state)
{
    const struct simd *simd = NULL;
    struct err err = { 0 };
    assert_int_equal(simd_choose((enum vec_isa)7, &simd, &err), E_INVALID);
    assert_int_equal(simd_choose(VEC_ISA_BEST, &simd, &err), OK);
    assert_non_null(simd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(distances_and_queries_of_rows_are_the_same),
        cmocka_unit_test(a_beam_holds_the_nearest_in_order),
        cmocka_unit_test(stored_rows_and_projections_are_the_same),
        cmocka_unit_test(projections_in_whole_steps_are_the_same),
        cmocka_unit_test(a_set_that_is_not_there_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
