/* Codes: what they leave out is told by their last dimension. */
#include "vectors.h"

#include <math.h>

#include "vector/codec.h"

enum { D = 256, N = 400 };

struct coded {
    struct row_shape shape;
    const struct simd *simd;
    struct codec *codec;
    float *vectors; /* [N][D] */
    uint8_t *codes; /* [N] of codec->lines lines */
    float projected[CODE_BYTES_MAX];
};

static void code(struct coded *c, enum vec_metric metric)
{
    struct err err = { 0 };
    c->shape = row_shape(D);
    c->vectors = vectors_make(N, D, 7);
    assert_int_equal(simd_choose(VEC_ISA_BEST, &c->simd, &err), OK);
    float *sample = xmalloc(sizeof(float) * N * D);
    memcpy(sample, c->vectors, sizeof(float) * N * D);
    assert_int_equal(codec_train(&c->shape, metric, c->simd, sample, N, NULL, 1, &c->codec, &err),
                     OK);
    mem_free(sample);
}

static void encode(struct coded *c)
{
    float centred[D];
    size_t bytes = (size_t)c->codec->lines * LINE;
    assert_int_equal(posix_memalign((void **)&c->codes, LINE, N * bytes), 0);
    for (size_t i = 0; i < N; i++) {
        codec_project(c->codec, c->vectors + i * D, centred, c->projected);
        struct code_tail tail = codec_encode(c->codec, c->projected, 0, c->codes + i * bytes);
        memcpy(c->codes + (i + 1) * bytes - CODE_TAIL, &tail, sizeof(tail));
    }
}

static void done(struct coded *c)
{
    codec_free(c->codec);
    mem_free(c->vectors);
    free(c->codes);
}

/* And closer than what the kept dimensions tell. */
static void a_code_distance_is_a_lower_bound_and_a_close_one(void **state)
{
    struct coded c = { 0 };
    float centred[D];
    int16_t steps[D];
    struct code_query query;
    code(&c, VEC_L2);
    encode(&c);
    assert_true(c.codec->truncated && c.codec->rest);
    double all = 0;
    double with = 0;
    double kept = 0;
    for (size_t i = 0; i < N; i += 20) {
        codec_project_query(c.codec, c.vectors + i * D, centred, steps, c.projected);
        codec_query(c.codec, c.projected, &query);
        float rest = c.projected[c.codec->dimensions - 1];
        assert_true(rest > 0);
        for (size_t j = 0; j < N; j++) {
            const uint8_t *row = c.codes + j * c.codec->lines * LINE;
            float dist = 0;
            c.simd->distances[c.codec->kind](&query, &row, 1, &dist);
            dist += query.norm2;
            double exact = vectors_distance(c.vectors + i * D, c.vectors + j * D, D, VEC_L2);
            assert_true((double)dist <= exact * 1.02 + 0.01 * (double)query.norm2);
            codec_project(c.codec, c.vectors + j * D, centred, c.projected);
            double differ = (double)(rest - c.projected[c.codec->dimensions - 1]);
            all += exact;
            with += (double)dist;
            kept += (double)dist - differ * differ;
        }
    }
    assert_true(with > kept && with <= all);
    done(&c);
}

static void the_last_dimension_holds_the_length_of_what_is_left(void **state)
{
    struct coded c = { 0 };
    float centred[D];
    code(&c, VEC_COSINE);
    for (size_t i = 0; i < N; i++) {
        codec_project(c.codec, c.vectors + i * D, centred, c.projected);
        double length2 = 0;
        double coded2 = 0;
        for (size_t j = 0; j < D; j++) {
            length2 += (double)centred[j] * (double)centred[j];
        }
        for (size_t j = 0; j < c.codec->dimensions; j++) {
            coded2 += (double)c.projected[j] * (double)c.projected[j];
        }
        assert_true(fabs(length2 - coded2) <= 1e-4 * length2);
    }
    done(&c);
}

static void a_codec_without_it_has_its_last_dimension_as_any_other(void **state)
{
    struct coded c = { 0 };
    float centred[D];
    struct err err = { 0 };
    code(&c, VEC_DOT);
    assert_true(c.codec->truncated && !c.codec->rest);
    done(&c);
    code(&c, VEC_L2);
    size_t last = c.codec->dimensions - 1;
    c.codec->matrix[3 * c.codec->width + last] = 1; /* as before there was one */
    mem_free(c.codec->steps);
    assert_int_equal(codec_steps(c.codec, &err), OK);
    assert_false(c.codec->rest);
    codec_project(c.codec, c.vectors, centred, c.projected);
    assert_float_equal(c.projected[last], centred[3], 1e-6);
    c.codes = NULL;
    done(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_code_distance_is_a_lower_bound_and_a_close_one),
        cmocka_unit_test(the_last_dimension_holds_the_length_of_what_is_left),
        cmocka_unit_test(a_codec_without_it_has_its_last_dimension_as_any_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
