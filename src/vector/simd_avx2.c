/*
 * AVX2 with FMA. Bytes are widened to 16 bits before they are multiplied: vpmaddubsw would
 * saturate.
 */
#include "vector/simd_scalar.h"

#ifdef __x86_64__

#include <immintrin.h>
#include <string.h>

static inline __m256i load256(const void *from)
{
    return _mm256_loadu_si256(from);
}

/* The sums of four registers' lanes. */
static inline void sum4(const __m256i acc[4], int32_t out[4])
{
    __m256i pair = _mm256_hadd_epi32(_mm256_hadd_epi32(acc[0], acc[1]),
                                     _mm256_hadd_epi32(acc[2], acc[3]));
    __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(pair), _mm256_extracti128_si256(pair, 1));
    _mm_storeu_si128((__m128i *)out, sum);
}

static inline __m256i widen(const uint8_t *bytes)
{
    return _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)bytes));
}

static inline void dot4_8(const uint8_t *const rows[4], const struct code_query *query,
                          size_t lines, int32_t out[4])
{
    __m256i acc[4] = { _mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256(),
                       _mm256_setzero_si256() };
    for (size_t i = 0; i < lines * LINE; i += 16) {
        __m256i q = load256(query->q16 + i);
        for (int r = 0; r < 4; r++) {
            acc[r] = _mm256_add_epi32(acc[r], _mm256_madd_epi16(widen(rows[r] + i), q));
        }
    }
    sum4(acc, out);
}

static inline void dot4_4(const uint8_t *const rows[4], const struct code_query *query,
                          int32_t out[4])
{
    __m256i acc[4] = { _mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256(),
                       _mm256_setzero_si256() };
    const __m256i nibble = _mm256_set1_epi16(15);
    for (size_t i = 0; i < LINE; i += 16) {
        __m256i below = load256(query->q16 + i);
        __m256i above = load256(query->q16 + LINE + i);
        for (int r = 0; r < 4; r++) {
            __m256i bytes = widen(rows[r] + i);
            __m256i sum = _mm256_add_epi32(
                _mm256_madd_epi16(_mm256_and_si256(bytes, nibble), below),
                _mm256_madd_epi16(_mm256_srli_epi16(bytes, 4), above));
            acc[r] = _mm256_add_epi32(acc[r], sum);
        }
    }
    sum4(acc, out);
    for (int r = 0; r < 4; r++) {
        out[r] *= 2;
    }
}

static inline float sum8(__m256 eight)
{
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}

static inline void dot4_f(const uint8_t *const rows[4], const struct code_query *query,
                          float out[4])
{
    for (int r = 0; r < 4; r++) {
        const float *row = (const float *)rows[r];
        out[r] = sum8(
            _mm256_add_ps(_mm256_mul_ps(_mm256_loadu_ps(row), _mm256_loadu_ps(query->f)),
                          _mm256_mul_ps(_mm256_loadu_ps(row + 8), _mm256_loadu_ps(query->f + 8))));
    }
}

static inline uint32_t count_below(const float *dist, uint32_t count, float d)
{
    const __m256 bound = _mm256_set1_ps(d);
    for (uint32_t i = 0; i < count; i += 8) {
        unsigned below = (unsigned)_mm256_movemask_ps(
            _mm256_cmp_ps(_mm256_loadu_ps(dist + i), bound, _CMP_LT_OQ));
        if (below != 0xff) {
            uint32_t rank = i + (uint32_t)__builtin_ctz(~below);
            return rank < count ? rank : count;
        }
    }
    return count;
}

static int32_t row_dot8(const uint8_t *high, const struct row_query *query, size_t padded)
{
    __m256i acc = _mm256_setzero_si256();
    for (size_t i = 0; i < padded; i += 16) {
        acc = _mm256_add_epi32(acc, _mm256_madd_epi16(widen(high + i), load256(query->q16 + i)));
    }
    __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(acc), _mm256_extracti128_si256(acc, 1));
    sum = _mm_hadd_epi32(sum, sum);
    return _mm_cvtsi128_si32(_mm_hadd_epi32(sum, sum));
}

/* Eight dimensions from their high bytes and low nibbles (one a byte). */
static inline __m256 numbers(const uint8_t *high, __m128i low)
{
    __m256i number = _mm256_or_si256(
        _mm256_slli_epi32(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)high)), 4),
        _mm256_cvtepu8_epi32(low));
    return _mm256_cvtepi32_ps(_mm256_sub_epi32(number, _mm256_set1_epi32(2048)));
}

/* Lanes 0 to 31, eight a register; see lanes_sum of simd_plain.c. */
static inline float lanes_sum(const __m256 lanes[4])
{
    __m256 eight = _mm256_add_ps(_mm256_add_ps(lanes[0], lanes[2]),
                                 _mm256_add_ps(lanes[1], lanes[3]));
    return sum8(eight);
}

/* 32 dimensions. */
static inline void block(const uint8_t *high, const uint8_t *low, __m256 out[4])
{
    const __m128i nibble = _mm_set1_epi8(15);
    __m128i pairs = _mm_loadu_si128((const __m128i *)low);
    __m128i below = _mm_and_si128(pairs, nibble);
    __m128i above = _mm_and_si128(_mm_srli_epi16(pairs, 4), nibble);
    out[0] = numbers(high, below);
    out[1] = numbers(high + 8, _mm_srli_si128(below, 8));
    out[2] = numbers(high + 16, above);
    out[3] = numbers(high + 24, _mm_srli_si128(above, 8));
}

static float row_l2(const uint8_t *high, const uint8_t *low, float scale, const float *query,
                    size_t padded)
{
    const __m256 scales = _mm256_set1_ps(scale);
    __m256 lanes[4] = { _mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps(),
                        _mm256_setzero_ps() };
    for (size_t i = 0; i < padded; i += 32) {
        __m256 number[4];
        block(high + i, low + i / 2, number);
        for (int j = 0; j < 4; j++) {
            __m256 diff = _mm256_fmsub_ps(number[j], scales, _mm256_loadu_ps(query + i + 8 * j));
            lanes[j] = _mm256_fmadd_ps(diff, diff, lanes[j]);
        }
    }
    return lanes_sum(lanes);
}

static float row_dot(const uint8_t *high, const uint8_t *low, float scale, const float *query,
                     size_t padded)
{
    __m256 lanes[4] = { _mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps(),
                        _mm256_setzero_ps() };
    for (size_t i = 0; i < padded; i += 32) {
        __m256 number[4];
        block(high + i, low + i / 2, number);
        for (int j = 0; j < 4; j++) {
            lanes[j] = _mm256_fmadd_ps(number[j], _mm256_loadu_ps(query + i + 8 * j), lanes[j]);
        }
    }
    return scale * lanes_sum(lanes);
}

static void project(const float *x, size_t n, const float *matrix, size_t width, float *out)
{
    for (size_t j = 0; j < width; j += 16) {
        __m256 a = _mm256_loadu_ps(out + j);
        __m256 b = _mm256_loadu_ps(out + j + 8);
        for (size_t i = 0; i < n; i++) {
            __m256 factor = _mm256_set1_ps(x[i]);
            a = _mm256_fmadd_ps(factor, _mm256_loadu_ps(matrix + i * width + j), a);
            b = _mm256_fmadd_ps(factor, _mm256_loadu_ps(matrix + i * width + j + 8), b);
        }
        _mm256_storeu_ps(out + j, a);
        _mm256_storeu_ps(out + j + 8, b);
    }
}

static void project16(const int16_t *x, size_t n, const int16_t *matrix, size_t width, int32_t *out)
{
    for (size_t j = 0; j < width; j += 16) {
        __m256i a = _mm256_setzero_si256();
        __m256i b = _mm256_setzero_si256();
        for (size_t i = 0; i < n; i += 2) {
            int32_t pair;
            memcpy(&pair, x + i, sizeof(pair));
            __m256i factor = _mm256_set1_epi32(pair);
            const int16_t *at = matrix + i * width + 2 * j;
            a = _mm256_add_epi32(a, _mm256_madd_epi16(factor, load256(at)));
            b = _mm256_add_epi32(b, _mm256_madd_epi16(factor, load256(at + 16)));
        }
        _mm256_storeu_si256((__m256i *)(out + j), a);
        _mm256_storeu_si256((__m256i *)(out + j + 8), b);
    }
}

#define SIMD_TABLE simd_avx2
#define SIMD_NAME "avx2"
#include "vector/simd_loop.h"

#endif
