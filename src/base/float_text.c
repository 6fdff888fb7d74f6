/*
 * Reading goes eight digits at a time: how many of the next eight bytes are digits is counted
 * without a branch, because the length of numbers in a vector is what no processor predicts.
 *
 *   text --> digits as an integer (up to 19) and a power of ten --> double --> float
 *
 * The double is the integer, rounded once, times a power of ten, itself rounded: off by less than 2
 * units in its last place (2^-53 each). Rounding it to a float gives the right float unless a
 * middle of two floats lies within those 2 units: then, and for what is too small to be a normal
 * float, strtof decides.
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
    DIGITS_MAX = 19,    /* of an integer of 64 bits */
    AHEAD = 32,         /* bytes that the fast way may look at */
    SLOW_TEXT_MAX = 256 /* without asking for memory */
};

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

/**
 * The float of digits * 10^exponent; false when it takes more care. The sign is put in without a
 * branch: it is not to be foreseen either.
 */
static bool nearest(uint64_t digits, int exponent, bool minus, float *out)
{
    enum { NEAR = 8 }; /* more than the 2 units that the double may be off by */
    if (exponent < POWER_MIN || exponent > POWER_MAX) {
        return false;
    }
    /* up to 2^63 the processor has an instruction for it; 19 digits may be more */
    double value = (digits >> 63 == 0 ? (double)(int64_t)digits : (double)digits) *
                   power_of_ten(exponent);
    uint64_t bits;
    memcpy(&bits, &value, sizeof(bits));
    /* 29 of a double's bits are beyond a float's; 1 << 28 is the middle */
    uint64_t beyond = bits & 0x1fffffff;
    bool middle = beyond - ((1u << 28) - NEAR) <= 2 * NEAR;
    bool normal = value >= (double)FLT_MIN * 2 && value <= (double)FLT_MAX / 2;
    if (middle || !(normal || digits == 0)) {
        return false;
    }
    bits |= (uint64_t)minus << 63;
    memcpy(&value, &bits, sizeof(bits));
    *out = (float)value;
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

/** The usual number of a vector, `-0.0123`: returns the bytes it takes, 0 for all others. */
static inline size_t read_fraction(const char *p, float *out)
{
    uint64_t front = eight_at(p), digits = 0;
    unsigned minus = (front & 0xff) == '-';
    if (((front >> minus * 8) & 0xffff) != ('0' | '.' << 8)) {
        return 0;
    }
    unsigned len = minus + 2;
    unsigned fraction = take_sixteen(p + len, &digits);
    if (fraction == 16) { /* texts of doubles have 16 to 18 */
        uint64_t third = eight_at(p + len + 16);
        unsigned more = digits_in(third);
        if (more > 0) {
            digits = digits * small_powers[more] + value_of(third, more);
        }
        fraction += more;
    }
    len += fraction;
    bool ends = (p[len] | 0x20) != 'e' && fraction - 1 < DIGITS_MAX; /* so no digit comes behind */
    return ends && nearest(digits, -(int)fraction, minus, out) ? len : 0;
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
    if (text.len < 2 * AHEAD) {
        return read_any(text, out);
    }
    size_t len = read_fraction(text.ptr, out);
    return len > 0 ? len : read_general(text, out);
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
