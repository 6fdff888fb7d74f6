/*
 * Numbers of a vector go the fast way, sixteen digits at a time: how many of the next bytes are
 * digits is counted, and their value put together, without a branch on length or sign, because
 * neither is what a processor can predict. All others go eight digits at a time, or by strtof.
 *
 *   text --> digits as an integer (up to 19) and a power of ten --> double --> float
 *
 * The double is the integer, rounded once, times a power of ten, itself rounded: off by less than 2
 * units in its last place (2^-53 each). Rounding it to a float gives the right float unless a
 * middle of two floats lies within those 2 units: then, and for what is too small to be a normal
 * float, strtof decides. Digits behind the sixteenth, which texts of doubles have, are left out at
 * first: the double is off by more then, and so is what counts as near to a middle.
 *
 * Writing scales the float to an integer of 9 digits, takes digits away while the text still reads
 * back as the float, by the same reasoning.
 */
#include "base/float_text.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the first character is the lowest byte");

enum {
    POWER_MIN = -70,
    POWER_MAX = 60,
    DIGITS_MAX = 19,     /* of an integer of 64 bits */
    AHEAD = 32,          /* bytes that the fast way may look at */
    COUNTED_MAX = 23,    /* digits of a fraction: one more, and there may be more than are seen */
    BEHIND = 16,         /* and in front of the number */
    SLOW_TEXT_MAX = 256, /* without asking for memory */
    /* Units of a double within which a middle of two floats is too near to tell: more than the 2 of
     * two roundings; and where digits were left out behind at least 2^40, which is 2^13 of 2^53. */
    NEAR = 8,
    NEAR_CUT = 1 << 14,
};
#define CUT_DIGITS_MIN ((uint64_t)1 << 40)

static const double powers[] = {
    1e-70, 1e-69, 1e-68, 1e-67, 1e-66, 1e-65, 1e-64, 1e-63, 1e-62, 1e-61, 1e-60, 1e-59,
    1e-58, 1e-57, 1e-56, 1e-55, 1e-54, 1e-53, 1e-52, 1e-51, 1e-50, 1e-49, 1e-48, 1e-47,
    1e-46, 1e-45, 1e-44, 1e-43, 1e-42, 1e-41, 1e-40, 1e-39, 1e-38, 1e-37, 1e-36, 1e-35,
    1e-34, 1e-33, 1e-32, 1e-31, 1e-30, 1e-29, 1e-28, 1e-27, 1e-26, 1e-25, 1e-24, 1e-23,
    1e-22, 1e-21, 1e-20, 1e-19, 1e-18, 1e-17, 1e-16, 1e-15, 1e-14, 1e-13, 1e-12, 1e-11,
    1e-10, 1e-9,  1e-8,  1e-7,  1e-6,  1e-5,  1e-4,  1e-3,  1e-2,  1e-1,  1e0,   1e1,
    1e2,   1e3,   1e4,   1e5,   1e6,   1e7,   1e8,   1e9,   1e10,  1e11,  1e12,  1e13,
    1e14,  1e15,  1e16,  1e17,  1e18,  1e19,  1e20,  1e21,  1e22,  1e23,  1e24,  1e25,
    1e26,  1e27,  1e28,  1e29,  1e30,  1e31,  1e32,  1e33,  1e34,  1e35,  1e36,  1e37,
    1e38,  1e39,  1e40,  1e41,  1e42,  1e43,  1e44,  1e45,  1e46,  1e47,  1e48,  1e49,
    1e50,  1e51,  1e52,  1e53,  1e54,  1e55,  1e56,  1e57,  1e58,  1e59,  1e60
};

static double power_of_ten(int exponent)
{
    return powers[exponent - POWER_MIN];
}

static const uint64_t small_powers[] = { 1,      10,      100,      1000,     10000,
                                         100000, 1000000, 10000000, 100000000 };

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static uint64_t eight_at(const char *p)
{
    uint64_t word;
    memcpy(&word, p, sizeof(word));
    return word;
}

static uint16_t two_at(const char *p)
{
    uint16_t word;
    memcpy(&word, p, sizeof(word));
    return word;
}

/** How many of the eight bytes, from the first on, are digits. */
static unsigned digits_in(uint64_t word)
{
    /* a byte is a digit when its high half is 3, and still is with 6 added */
    uint64_t sixes = word + 0x0606060606060606ULL;
    uint64_t other = ((word & 0xf0f0f0f0f0f0f0f0ULL) ^ 0x3030303030303030ULL) |
                     ((sixes & 0xf0f0f0f0f0f0f0f0ULL) ^ 0x3030303030303030ULL);
    return other == 0 ? 8 : (unsigned)__builtin_ctzll(other) / 8;
}

/** The value of the first `count` (1 to 8) bytes, all digits. */
static uint64_t value_of(uint64_t word, unsigned count)
{
    /* zeros in front: the bytes move up, and what comes in is no '0' but 0, which the mask makes
     * the same */
    word = (word << (8 - count) * 8) & 0x0f0f0f0f0f0f0f0fULL;
    word = (word * 10 + (word >> 8)) & 0x00ff00ff00ff00ffULL;
    word = (word * 100 + (word >> 16)) & 0x0000ffff0000ffffULL;
    return (word * 10000 + (word >> 32)) & 0xffffffffULL;
}

/** The digits at `p` behind those that `*value` has; 16 bytes may be looked at. Returns how
 * many. */
static unsigned take_sixteen(const char *p, uint64_t *value)
{
    uint64_t first = eight_at(p), second = eight_at(p + 8);
    unsigned a = digits_in(first);
    if (a == 0) {
        return 0;
    }
    *value = *value * small_powers[a] + value_of(first, a);
    if (a < 8) {
        return a;
    }
    unsigned b = digits_in(second);
    if (b > 0) {
        *value = *value * small_powers[b] + value_of(second, b);
    }
    return 8 + b;
}

#if defined(__SSE2__)

typedef unsigned char bytes16 __attribute__((vector_size(16)));
typedef signed char signed16 __attribute__((vector_size(16)));
typedef char chars16 __attribute__((vector_size(16)));
typedef short shorts8 __attribute__((vector_size(16)));
typedef unsigned short words8 __attribute__((vector_size(16)));
typedef int ints4 __attribute__((vector_size(16)));
typedef unsigned long long longs2 __attribute__((vector_size(16)));

static bytes16 load16(const void *p)
{
    bytes16 v;
    memcpy(&v, p, sizeof(v));
    return v;
}

/** Bit i: the byte at p + i is no digit; bits from 32 on are set. */
static uint64_t others_at(const char *p)
{
    const unsigned char up = 128 - '0'; /* the ten digits become the ten least numbers */
    chars16 low = (chars16)((signed16)(load16(p) + up) < -118);
    chars16 high = (chars16)((signed16)(load16(p + 16) + up) < -118);
    return ~((uint64_t)(uint32_t)__builtin_ia32_pmovmskb128(low) |
             (uint64_t)(uint32_t)__builtin_ia32_pmovmskb128(high) << 16);
}

/** The integer of the `count` (0 to 16) digits in front of `end`: neighbours are added up. */
static uint64_t value_before(const char *end, unsigned count)
{
    static const unsigned char keep[32] = { [16] = 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                            0xff,        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
    const shorts8 by100 = { 100, 1, 100, 1, 100, 1, 100, 1 };
    const shorts8 by10000 = { 10000, 1, 10000, 1, 10000, 1, 10000, 1 };
    words8 ones = (words8)((load16(end - 16) - '0') & load16(keep + count));
    shorts8 tens = (shorts8)((ones & 0xff) * 10 + (ones >> 8));
    ints4 fours = __builtin_ia32_pmaddwd128(tens, by100);
    longs2 eights = (longs2)__builtin_ia32_pmaddwd128(__builtin_ia32_packssdw128(fours, fours),
                                                      by10000);
    return (eights[0] & 0xffffffff) * 100000000 + (eights[0] >> 32);
}

/** The digits at p + skip: all that are there, and the value of the first 16. `p` is the number's
 * start. Where the next number begins hangs on the count, so that must be there soon. */
static inline unsigned count_digits(const char *p, unsigned skip, uint64_t *value)
{
    unsigned count = (unsigned)__builtin_ctzll(others_at(p) >> skip);
    unsigned kept = count < 16 ? count : 16;
    *value = value_before(p + skip + kept, kept);
    return count;
}

#else

static inline unsigned count_digits(const char *p, unsigned skip, uint64_t *value)
{
    *value = 0;
    unsigned count = take_sixteen(p + skip, value);
    return count < 16 ? count : 16 + digits_in(eight_at(p + skip + 16));
}

#endif

static bool is_middle(double value, uint64_t near)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof(bits));
    /* 29 of a double's bits are beyond a float's; 1 << 28 is the middle */
    return (bits & 0x1fffffff) - ((1u << 28) - near) <= 2 * near;
}

/** The float of digits * 10^exponent; false when it takes more care. */
static bool nearest(uint64_t digits, int exponent, bool minus, float *out)
{
    if (exponent < POWER_MIN || exponent > POWER_MAX) {
        return false;
    }
    /* up to 2^63 the processor has an instruction for it; 19 digits may be more */
    double value = (digits >> 63 == 0 ? (double)(int64_t)digits : (double)digits) *
                   power_of_ten(exponent);
    bool normal = value >= (double)FLT_MIN * 2 && value <= (double)FLT_MAX / 2;
    if (is_middle(value, NEAR) || !(normal || digits == 0)) {
        return false;
    }
    *out = (float)(minus ? -value : value);
    return true;
}

/** By the C library, which wants a NUL behind it. */
static size_t read_slowly(struct str number, float *out)
{
    char few[SLOW_TEXT_MAX];
    char *text = number.len < sizeof(few) ? few : mem_alloc(number.len + 1);
    if (text == NULL) {
        return 0;
    }
    memcpy(text, number.ptr, number.len);
    text[number.len] = '\0';
    float value = strtof(text, NULL);
    if (text != few) {
        mem_free(text);
    }
    if (isinf(value)) {
        return 0;
    }
    *out = value;
    return number.len;
}

static const char *skip_digits(const char *p, const char *end)
{
    while (p < end && is_digit(*p)) {
        p++;
    }
    return p;
}

/** The bytes that JSON's grammar gives to the number at the front; 0: there is none. */
static size_t number_len(struct str text)
{
    const char *p = text.ptr, *end = p + text.len;
    p += p < end && *p == '-';
    const char *whole = p;
    p = skip_digits(p, end);
    if (p == whole || (*whole == '0' && p - whole > 1)) {
        return 0;
    }
    if (p < end && *p == '.') {
        const char *fraction = p + 1;
        p = skip_digits(fraction, end);
        if (p == fraction) {
            return 0;
        }
    }
    if (p < end && (*p == 'e' || *p == 'E')) {
        p++;
        p += p < end && (*p == '-' || *p == '+');
        const char *exponent = p;
        p = skip_digits(p, end);
        if (p == exponent) {
            return 0;
        }
    }
    return (size_t)(p - text.ptr);
}

static size_t read_any(struct str text, float *out)
{
    size_t len = number_len(text);
    return len > 0 ? read_slowly(str_take(text, len), out) : 0;
}

/** `e-05` at `p`: adds to the exponent, returns what is behind it; NULL: it takes more care. */
static const char *read_exponent(const char *p, const char *end, int *exponent)
{
    int value = 0;
    p++;
    bool minus = p < end && *p == '-';
    p += p < end && (*p == '-' || *p == '+');
    const char *start = p;
    while (p < end && is_digit(*p) && p - start < 3) {
        value = value * 10 + (*p++ - '0');
    }
    if (p == start || (p < end && is_digit(*p))) {
        return NULL;
    }
    *exponent += minus ? -value : value;
    return p;
}

/* by sign and digits of the fraction: neither is to be foreseen, so there is no branch on them */
static const double fractions[2][17] = {
    { 1e0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 1e-10, 1e-11, 1e-12, 1e-13, 1e-14,
      1e-15, 1e-16 },
    { -1e0, -1e-1, -1e-2, -1e-3, -1e-4, -1e-5, -1e-6, -1e-7, -1e-8, -1e-9, -1e-10, -1e-11, -1e-12,
      -1e-13, -1e-14, -1e-15, -1e-16 },
};

/** The usual number of a vector, `-0.0123`, without an exponent: returns the bytes it takes, 0 for
 * all others. It is 0, or at least 1e-16 and less than 1: a normal float. */
static inline size_t read_fraction(const char *p, float *out)
{
    uint64_t front = eight_at(p), digits;
    unsigned minus = (front & 0xff) == '-';
    if (((front >> minus * 8) & 0xffff) != ('0' | '.' << 8)) {
        return 0;
    }
    unsigned count = count_digits(p, minus + 2, &digits);
    unsigned kept = count < 16 ? count : 16; /* the others are left out */
    double value = (double)(int64_t)digits * fractions[minus][kept];
    bool rare = count - 1 >= COUNTED_MAX || (count > 16 && digits < CUT_DIGITS_MIN);
    if (rare || is_middle(value, NEAR_CUT)) {
        return 0;
    }
    *out = (float)value;
    return minus + 2 + count;
}

/** With AHEAD bytes to look at behind the number. */
static size_t read_general(struct str text, float *out)
{
    const char *p = text.ptr, *end = p + text.len;
    bool minus = *p == '-';
    p += minus;
    uint64_t digits = 0;
    bool zero = *p == '0'; /* nothing but a point may follow */
    unsigned whole = zero ? 1 : take_sixteen(p, &digits), fraction = 0;
    int exponent = 0;
    p += whole;
    if (whole == 0 || whole == 16 || (zero && is_digit(*p))) {
        return read_any(text, out);
    }
    if (*p == '.') {
        fraction = take_sixteen(++p, &digits);
        p += fraction;
        /* the last few, one by one: texts of doubles have 16 to 18 digits */
        unsigned used = (zero ? 0 : whole) + fraction;
        while (fraction >= 16 && used < DIGITS_MAX && is_digit(*p)) {
            digits = digits * 10 + (uint64_t)(*p++ - '0');
            fraction++;
            used++;
        }
        if (fraction == 0 || used > DIGITS_MAX || is_digit(*p)) {
            return read_any(text, out);
        }
        exponent = -(int)fraction;
    }
    if (*p == 'e' || *p == 'E') {
        p = read_exponent(p, end, &exponent);
    }
    if (p == NULL || !nearest(digits, exponent, minus, out)) {
        return read_any(text, out);
    }
    return (size_t)(p - text.ptr);
}

size_t float_text_read(struct str text, float *out)
{
    char padded[2 * AHEAD];
    if (text.len >= sizeof(padded)) {
        return read_general(text, out);
    }
    memcpy(padded, text.ptr, text.len);
    memset(padded + text.len, 0, sizeof(padded) - text.len);
    return read_general(str_from(padded, sizeof(padded)), out);
}

size_t float_text_read_many(struct str text, size_t *at, float *out, size_t count_max)
{
    size_t i = 0, from = *at;
    if (from < BEHIND) {
        return 0;
    }
    /* what stands behind a number is as it is behind the first one: else a slower way goes on */
    uint16_t mask = 0xffff, wanted = 0;
    while (i < count_max && text.len - from >= 2 * AHEAD) {
        const char *p = text.ptr + from;
        size_t len = read_fraction(p, &out[i]);
        uint16_t behind = two_at(p + len);
        if (wanted == 0) {
            mask = behind >> 8 == ' ' ? 0xffff : 0xff;
            wanted = ',' | (' ' << 8 & mask);
        }
        if (len == 0 || (behind & mask) != wanted) {
            break;
        }
        from += len + (mask == 0xff ? 1 : 2);
        i++;
    }
    *at = from;
    return i;
}

/* --- writing --- */

/** Digits and a power of ten as text: plain from 1e-5 to 1e9, else with an exponent. */
static size_t print_digits(bool minus, uint64_t digits, int exponent, char *out)
{
    char text[24];
    int len = snprintf(text, sizeof(text), "%llu", (unsigned long long)digits);
    int point = len + exponent; /* digits before the point */
    char *p = out;
    if (minus) {
        *p++ = '-';
    }
    if (point > 10 || point < -4) {
        *p++ = text[0];
        if (len > 1) {
            *p++ = '.';
            memcpy(p, text + 1, (size_t)len - 1);
            p += len - 1;
        }
        return (size_t)(p - out) + (size_t)sprintf(p, "e%d", point - 1);
    }
    if (point <= 0) {
        memcpy(p, "0.00000", 7);
        p += 2 - point;
        memcpy(p, text, (size_t)len);
        return (size_t)(p - out) + (size_t)len;
    }
    int whole = point < len ? point : len;
    memcpy(p, text, (size_t)whole);
    p += whole;
    for (int i = len; i < point; i++) {
        *p++ = '0';
    }
    if (point < len) {
        *p++ = '.';
        memcpy(p, text + point, (size_t)(len - point));
        p += len - point;
    }
    return (size_t)(p - out);
}

/** The shortest digits that are the float; false when the quick way finds none. */
static bool shortest(float value, uint64_t *digits_out, int *exponent_out)
{
    if (value < FLT_MIN * 4 || value > FLT_MAX / 4) {
        return false;
    }
    int exponent = (int)floor(log10((double)value)) - 8;
    double scaled = (double)value * power_of_ten(-exponent);
    uint64_t nine = (uint64_t)llround(scaled);
    for (int keep = 6; keep <= 9; keep++) {
        uint64_t unit = small_powers[9 - keep];
        uint64_t digits = (nine + unit / 2) / unit;
        int at = exponent + 9 - keep;
        float back;
        if (nearest(digits, at, false, &back) && back == value) {
            while (digits % 10 == 0) {
                digits /= 10;
                at++;
            }
            *digits_out = digits;
            *exponent_out = at;
            return true;
        }
    }
    return false;
}

size_t float_text_write(float value, char out[FLOAT_TEXT_MAX])
{
    uint64_t digits = 0;
    int exponent = 0;
    if (value == 0) {
        memcpy(out, "-0.0", 4);
        size_t skip = signbit(value) ? 0 : 1;
        memmove(out, out + skip, 4 - skip);
        return 4 - skip;
    }
    if (shortest(fabsf(value), &digits, &exponent)) {
        return print_digits(value < 0, digits, exponent, out);
    }
    return (size_t)snprintf(out, FLOAT_TEXT_MAX, "%.9g", (double)value);
}
