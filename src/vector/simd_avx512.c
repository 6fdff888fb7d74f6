/*
 * AVX-512 with VNNI.
 */
#include "vector/simd.h"

#ifdef __x86_64__

#include <immintrin.h>
#include <string.h>

/* The sums of four registers' lanes: their transpose, added. */
static inline void sum4(__m512i a, __m512i b, __m512i c, __m512i d, int32_t out[4])
{
    __m512i ab = _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    __m512i cd = _mm512_add_epi32(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
    __m512i all = _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
    __m256i half = _mm256_add_epi32(_mm512_castsi512_si256(all), _mm512_extracti64x4_epi64(all, 1));
    __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
    _mm_storeu_si128((__m128i *)out, sum);
}

static inline __m512i line_at(const void *bytes, size_t line)
{
    return _mm512_load_si512((const char *)bytes + line * LINE);
}

static inline void dot4_8(const uint8_t *const rows[4], const struct code_query *query,
                          size_t lines, int32_t out[4])
{
    const __m512i zero = _mm512_setzero_si512();
    __m512i acc[4];
    for (int r = 0; r < 4; r++) {
        acc[r] = _mm512_dpbusd_epi32(zero, line_at(rows[r], 0), line_at(query->q, 0));
    }
    for (size_t line = 1; line < lines; line++) {
        for (int r = 0; r < 4; r++) {
            acc[r] = _mm512_dpbusd_epi32(acc[r], line_at(rows[r], line), line_at(query->q, line));
        }
    }
    sum4(acc[0], acc[1], acc[2], acc[3], out);
}

static inline void dot4_4(const uint8_t *const rows[4], const struct code_query *query,
                          int32_t out[4])
{
    const __m512i nibble = _mm512_set1_epi8(15);
    const __m512i below = line_at(query->q, 0);
    const __m512i above = line_at(query->q, 1);
    __m512i acc[4];
    for (int r = 0; r < 4; r++) {
        __m512i bytes = line_at(rows[r], 0);
        acc[r] = _mm512_dpbusd_epi32(_mm512_setzero_si512(), _mm512_and_si512(bytes, nibble),
                                     below);
        acc[r] = _mm512_dpbusd_epi32(acc[r], _mm512_and_si512(_mm512_srli_epi16(bytes, 4), nibble),
                                     above);
        acc[r] = _mm512_slli_epi32(acc[r], 1);
    }
    sum4(acc[0], acc[1], acc[2], acc[3], out);
}

static inline float sum16(__m512 all)
{
    __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(all), _mm512_extractf32x8_ps(all, 1));
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}

static inline void dot4_f(const uint8_t *const rows[4], const struct code_query *query,
                          float out[4])
{
    __m512 f = _mm512_load_ps(query->f);
    for (int r = 0; r < 4; r++) {
        out[r] = sum16(_mm512_mul_ps(_mm512_load_ps((const float *)rows[r]), f));
    }
}

/* The first n bytes of a line. */
static inline __mmask64 first_bytes(size_t n)
{
    return n >= LINE ? ~(__mmask64)0 : ((__mmask64)1 << n) - 1;
}

static inline int32_t of_row_8(const uint8_t *row, size_t dimensions, size_t lines, int8_t *q,
                               int16_t *q16)
{
    const __m512i ones = _mm512_set1_epi8(1);
    __m512i acc = _mm512_setzero_si512();
    (void)q16;
    for (size_t line = 0; line < lines; line++) {
        size_t left = dimensions > line * LINE ? dimensions - line * LINE : 0;
        __m512i number = _mm512_xor_si512(line_at(row, line), _mm512_set1_epi8((char)0x80));
        number = _mm512_maskz_mov_epi8(first_bytes(left), number);
        _mm512_store_si512(q + line * LINE, number);
        acc = _mm512_dpbusd_epi32(acc, ones, number);
    }
    return _mm512_reduce_add_epi32(acc);
}

static inline int32_t of_row_4(const uint8_t *row, size_t dimensions, int8_t *q, int16_t *q16)
{
    const size_t half = LINE - CODE_TAIL;
    const __m512i ones = _mm512_set1_epi8(1);
    const __m512i nibble = _mm512_set1_epi8(15);
    __m512i bytes = line_at(row, 0);
    __m512i below = _mm512_and_si512(bytes, nibble);
    __m512i above = _mm512_and_si512(_mm512_srli_epi16(bytes, 4), nibble);
    (void)q16;
    below = _mm512_sub_epi8(_mm512_add_epi8(below, below), nibble);
    above = _mm512_sub_epi8(_mm512_add_epi8(above, above), nibble);
    below = _mm512_maskz_mov_epi8(first_bytes(dimensions < half ? dimensions : half), below);
    above = _mm512_maskz_mov_epi8(first_bytes(dimensions < half ? 0 : dimensions - half), above);
    _mm512_store_si512(q, below);
    _mm512_store_si512(q + LINE, above);
    return _mm512_reduce_add_epi32(
        _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(_mm512_setzero_si512(), ones, below), ones, above));
}

static inline uint32_t count_below(const float *dist, uint32_t count, float d)
{
    const __m512 bound = _mm512_set1_ps(d);
    for (uint32_t i = 0; i < count; i += 16) {
        uint32_t below = _mm512_cmp_ps_mask(_mm512_loadu_ps(dist + i), bound, _CMP_LT_OQ);
        if (below != 0xffff) {
            uint32_t rank = i + (uint32_t)__builtin_ctz(~below);
            return rank < count ? rank : count;
        }
    }
    return count;
}

/* The links of a node, sixteen at a time, read once: others may write them, and a compiler that
 * reads twice would look at one slot and take another. */
static inline __m512i links16(const uint32_t *links)
{
#ifdef __SANITIZE_THREAD__
    _Alignas(LINE) uint32_t one_by_one[16];
    for (size_t i = 0; i < 16; i++) {
        one_by_one[i] = __atomic_load_n(links + i, __ATOMIC_ACQUIRE);
    }
    return _mm512_load_si512(one_by_one);
#else
    __m512i slots = _mm512_load_si512(links);
    __asm__ volatile("" : "+v"(slots) : : "memory");
    return slots;
#endif
}

static inline size_t take_fresh(const uint32_t *links, size_t degree, uint64_t *visited,
                                uint32_t slots, uint32_t *out)
{
    const __m512i end = _mm512_set1_epi32((int)slots);
    uint32_t *words = (uint32_t *)visited;
    size_t n = 0;
    for (size_t i = 0; i < degree; i += 16) {
        __m512i slot = links16(links + i);
        __mmask16 there = _mm512_cmplt_epu32_mask(slot, end);
        __m512i word = _mm512_mask_i32gather_epi32(_mm512_setzero_si512(), there,
                                                   _mm512_srli_epi32(slot, 5), words, 4);
        __m512i bit = _mm512_sllv_epi32(_mm512_set1_epi32(1),
                                        _mm512_and_si512(slot, _mm512_set1_epi32(31)));
        __mmask16 fresh = _mm512_mask_testn_epi32_mask(there, word, bit);
        _mm512_storeu_si512(out + n, _mm512_maskz_compress_epi32(fresh, slot));
        size_t end_at = n + (size_t)__builtin_popcount(fresh);
        for (; n < end_at; n++) {
            words[out[n] >> 5] |= 1u << (out[n] & 31);
        }
        if (_mm512_cmpeq_epi32_mask(slot, _mm512_set1_epi32(-1)) != 0) { /* NO_SLOT */
            break;
        }
    }
    return n;
}

static int32_t row_dot8(const uint8_t *high, const struct row_query *query, size_t padded)
{
    __m512i acc = _mm512_setzero_si512();
    size_t i = 0;
    for (; i + LINE <= padded; i += LINE) {
        acc = _mm512_dpbusd_epi32(acc, _mm512_loadu_si512(high + i),
                                  _mm512_loadu_si512(query->q8 + i));
    }
    if (i < padded) { /* half a line: rows are padded to 32 */
        __m512i bytes = _mm512_zextsi256_si512(_mm256_loadu_si256((const __m256i *)(high + i)));
        __m512i q = _mm512_zextsi256_si512(_mm256_loadu_si256((const __m256i *)(query->q8 + i)));
        acc = _mm512_dpbusd_epi32(acc, bytes, q);
    }
    return _mm512_reduce_add_epi32(acc);
}

static inline __m512 numbers(const uint8_t *high, __m128i low)
{
    __m512i number = _mm512_or_si512(
        _mm512_slli_epi32(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)high)), 4),
        _mm512_cvtepu8_epi32(low));
    return _mm512_cvtepi32_ps(_mm512_sub_epi32(number, _mm512_set1_epi32(2048)));
}

static inline float lanes_sum(__m512 first, __m512 second)
{
    return sum16(_mm512_add_ps(first, second));
}

/* The low nibbles of 32 dimensions, one a byte: those of the first 16, then of the others. */
static inline void nibbles(const uint8_t *low, __m128i out[2])
{
    const __m128i nibble = _mm_set1_epi8(15);
    __m128i pairs = _mm_loadu_si128((const __m128i *)low);
    out[0] = _mm_and_si128(pairs, nibble);
    out[1] = _mm_and_si128(_mm_srli_epi16(pairs, 4), nibble);
}

static float row_l2(const uint8_t *high, const uint8_t *low, float scale, const float *query,
                    size_t padded)
{
    const __m512 scales = _mm512_set1_ps(scale);
    __m512 first = _mm512_setzero_ps();
    __m512 second = _mm512_setzero_ps();
    for (size_t i = 0; i < padded; i += 32) {
        __m128i lows[2];
        nibbles(low + i / 2, lows);
        __m512 a = _mm512_fmsub_ps(numbers(high + i, lows[0]), scales, _mm512_loadu_ps(query + i));
        __m512 b = _mm512_fmsub_ps(numbers(high + i + 16, lows[1]), scales,
                                   _mm512_loadu_ps(query + i + 16));
        first = _mm512_fmadd_ps(a, a, first);
        second = _mm512_fmadd_ps(b, b, second);
    }
    return lanes_sum(first, second);
}

static float row_dot(const uint8_t *high, const uint8_t *low, float scale, const float *query,
                     size_t padded)
{
    __m512 first = _mm512_setzero_ps();
    __m512 second = _mm512_setzero_ps();
    for (size_t i = 0; i < padded; i += 32) {
        __m128i lows[2];
        nibbles(low + i / 2, lows);
        first = _mm512_fmadd_ps(numbers(high + i, lows[0]), _mm512_loadu_ps(query + i), first);
        second = _mm512_fmadd_ps(numbers(high + i + 16, lows[1]), _mm512_loadu_ps(query + i + 16),
                                 second);
    }
    return scale * lanes_sum(first, second);
}

/* Columns of 64 at a time, so that four sums are under way. */
static void project(const float *x, size_t n, const float *matrix, size_t width, float *out)
{
    size_t j = 0;
    for (; j + 64 <= width; j += 64) {
        __m512 acc[4];
        for (int c = 0; c < 4; c++) {
            acc[c] = _mm512_loadu_ps(out + j + 16 * c);
        }
        for (size_t i = 0; i < n; i++) {
            __m512 factor = _mm512_set1_ps(x[i]);
            for (int c = 0; c < 4; c++) {
                acc[c] = _mm512_fmadd_ps(factor, _mm512_loadu_ps(matrix + i * width + j + 16 * c),
                                         acc[c]);
            }
        }
        for (int c = 0; c < 4; c++) {
            _mm512_storeu_ps(out + j + 16 * c, acc[c]);
        }
    }
    for (; j < width; j += 16) {
        __m512 acc = _mm512_loadu_ps(out + j);
        for (size_t i = 0; i < n; i++) {
            acc = _mm512_fmadd_ps(_mm512_set1_ps(x[i]), _mm512_loadu_ps(matrix + i * width + j),
                                  acc);
        }
        _mm512_storeu_ps(out + j, acc);
    }
}

/* `sums` times 16 columns. */
static inline __attribute__((always_inline)) void project_some(const int16_t *x, size_t n,
                                                               const int16_t *matrix, size_t width,
                                                               int sums, int32_t *out)
{
    __m512i acc[8];
    for (int c = 0; c < sums; c++) {
        acc[c] = _mm512_setzero_si512();
    }
    for (size_t i = 0; i < n; i += 2) {
        int32_t pair;
        memcpy(&pair, x + i, sizeof(pair));
        for (int c = 0; c < sums; c++) {
            acc[c] = _mm512_dpwssd_epi32(acc[c], _mm512_set1_epi32(pair),
                                         _mm512_loadu_si512(matrix + i * width + 32 * c));
        }
    }
    for (int c = 0; c < sums; c++) {
        _mm512_storeu_si512(out + 16 * c, acc[c]);
    }
}

/* Each row of the matrix at once, so that it is read in order. */
static void project16(const int16_t *x, size_t n, const int16_t *matrix, size_t width, int32_t *out)
{
    size_t j = 0;
    for (; j + 128 <= width; j += 128) {
        project_some(x, n, matrix + 2 * j, width, 8, out + j);
    }
    for (; j + 64 <= width; j += 64) {
        project_some(x, n, matrix + 2 * j, width, 4, out + j);
    }
    for (; j < width; j += 16) {
        project_some(x, n, matrix + 2 * j, width, 1, out + j);
    }
}

#define SIMD_TABLE simd_avx512
#define SIMD_NAME "avx512"
#include "vector/simd_loop.h"

#endif
