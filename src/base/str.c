/*
 * Slices: comparing, searching, cutting, reading numbers, checking UTF-8.
 *
 * Nothing here allocates. memcmp and memcpy never see a NULL pointer: a slice of length 0 may
 * have one, so every call is behind a check of the length.
 */
#include "base/str.h"

#include <math.h>
#include <stdlib.h>

static bool is_space(char c);
static bool is_digit(char c);
static char lower(char c);
static size_t count_digits(struct str s, size_t start);
static bool is_number_text(struct str s);
static uint64_t load_tail(const char *ptr, size_t len);
static uint64_t mix(uint64_t a, uint64_t b);

struct str str_of(const char *cstr)
{
    return cstr == NULL ? STR_EMPTY : str_from(cstr, strlen(cstr));
}

bool str_eq(struct str a, struct str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

bool str_eq_nocase(struct str a, struct str b)
{
    if (a.len != b.len) {
        return false;
    }
    for (size_t i = 0; i < a.len; i++) {
        if (lower(a.ptr[i]) != lower(b.ptr[i])) {
            return false;
        }
    }
    return true;
}

int str_cmp(struct str a, struct str b)
{
    size_t shorter = a.len < b.len ? a.len : b.len;
    int order = shorter == 0 ? 0 : memcmp(a.ptr, b.ptr, shorter);
    if (order != 0) {
        return order;
    }
    return (a.len > b.len) - (a.len < b.len);
}

bool str_starts(struct str s, struct str prefix)
{
    return s.len >= prefix.len && str_eq(str_take(s, prefix.len), prefix);
}

bool str_ends(struct str s, struct str suffix)
{
    return s.len >= suffix.len && str_eq(str_skip(s, s.len - suffix.len), suffix);
}

size_t str_find(struct str s, struct str needle)
{
    if (needle.len == 0) {
        return 0;
    }
    size_t at = 0;
    while (s.len - at >= needle.len) {
        size_t step = str_find_char(str_from(s.ptr + at, s.len - at - needle.len + 1), *needle.ptr);
        if (step == SIZE_MAX) {
            return SIZE_MAX;
        }
        at += step;
        if (memcmp(s.ptr + at, needle.ptr, needle.len) == 0) {
            return at;
        }
        at++;
    }
    return SIZE_MAX;
}

size_t str_find_char(struct str s, char c)
{
    const char *hit = s.len == 0 ? NULL : memchr(s.ptr, c, s.len);
    return hit == NULL ? SIZE_MAX : (size_t)(hit - s.ptr);
}

size_t str_rfind_char(struct str s, char c)
{
    for (size_t i = s.len; i > 0; i--) {
        if (s.ptr[i - 1] == c) {
            return i - 1;
        }
    }
    return SIZE_MAX;
}

struct str str_skip(struct str s, size_t start)
{
    if (start >= s.len) {
        return STR_EMPTY;
    }
    return str_from(s.ptr + start, s.len - start);
}

struct str str_take(struct str s, size_t len)
{
    return str_from(s.ptr, len < s.len ? len : s.len);
}

struct str str_trim(struct str s)
{
    while (s.len > 0 && is_space(s.ptr[0])) {
        s.ptr++;
        s.len--;
    }
    while (s.len > 0 && is_space(s.ptr[s.len - 1])) {
        s.len--;
    }
    return s;
}

struct str str_split(struct str *rest, char sep)
{
    struct str whole = *rest;
    size_t at = str_find_char(whole, sep);
    if (at == SIZE_MAX) {
        *rest = str_from(NULL, 0);
        return whole;
    }
    *rest = str_from(whole.ptr + at + 1, whole.len - at - 1);
    return str_from(whole.ptr, at);
}

bool str_to_u64(struct str s, uint64_t *out)
{
    if (s.len == 0) {
        return false;
    }
    uint64_t value = 0;
    for (size_t i = 0; i < s.len; i++) {
        if (!is_digit(s.ptr[i]) || __builtin_mul_overflow(value, (uint64_t)10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(s.ptr[i] - '0'), &value)) {
            return false;
        }
    }
    *out = value;
    return true;
}

bool str_to_i64(struct str s, int64_t *out)
{
    bool negative = s.len > 0 && s.ptr[0] == '-';
    uint64_t magnitude;
    if (!str_to_u64(negative ? str_skip(s, 1) : s, &magnitude)) {
        return false;
    }
    if (magnitude > (uint64_t)INT64_MAX + (negative ? 1 : 0)) {
        return false;
    }
    /* Negated as unsigned, because INT64_MIN has no positive counterpart. */
    *out = negative ? (int64_t)(0 - magnitude) : (int64_t)magnitude;
    return true;
}

bool str_to_double(struct str s, double *out)
{
    char text
        [512]; /* chosen: more digits than any double needs, even written out without exponent */
    if (s.len >= sizeof(text) || !is_number_text(s)) {
        return false;
    }
    memcpy(text, s.ptr, s.len);
    text[s.len] = '\0';
    double value = strtod(text, NULL);
    if (!isfinite(value)) {
        return false;
    }
    *out = value;
    return true;
}

size_t str_utf8_len(struct str s)
{
    if (s.len == 0) {
        return 0;
    }
    const unsigned char *p = (const unsigned char *)s.ptr;
    if (p[0] < 0x80) {
        return 1;
    }
    if (p[0] < 0xC2 || p[0] > 0xF4) {
        return 0;
    }
    size_t len = p[0] < 0xE0 ? 2 : p[0] < 0xF0 ? 3 : 4;
    if (s.len < len) {
        return 0;
    }
    /* The second byte's range keeps out long forms, surrogates and what lies above U+10FFFF
       (Unicode, table 3-7). */
    unsigned char low = p[0] == 0xE0 ? 0xA0 : p[0] == 0xF0 ? 0x90 : 0x80;
    unsigned char high = p[0] == 0xED ? 0x9F : p[0] == 0xF4 ? 0x8F : 0xBF;
    if (p[1] < low || p[1] > high) {
        return 0;
    }
    for (size_t i = 2; i < len; i++) {
        if ((p[i] & 0xC0) != 0x80) {
            return 0;
        }
    }
    return len;
}

bool str_is_utf8(struct str s)
{
    size_t at = 0;
    while (at < s.len) {
        uint64_t word;
        if (s.len - at >= sizeof(word)) {
            memcpy(&word, s.ptr + at, sizeof(word));
            if ((word & 0x8080808080808080ULL) == 0) {
                at += sizeof(word);
                continue;
            }
        }
        size_t len = str_utf8_len(str_from(s.ptr + at, s.len - at));
        if (len == 0) {
            return false;
        }
        at += len;
    }
    return true;
}

bool str_has_control(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        if (c < 0x20 || c == 0x7f) {
            return true;
        }
    }
    return false;
}

uint64_t str_hash(struct str s, uint64_t seed)
{
    /* Odd constants with mixed bits: digits of pi, as in many published mixers. */
    const uint64_t k0 = 0x243F6A8885A308D3ULL;
    const uint64_t k1 = 0x13198A2E03707345ULL;
    uint64_t hash = mix(seed ^ k0, k1 ^ s.len);
    size_t at = 0;
    for (; s.len - at >= 8; at += 8) {
        hash = mix(hash ^ load_tail(s.ptr + at, 8), k1);
    }
    hash = mix(hash ^ load_tail(s.ptr + at, s.len - at), k0);
    return mix(hash, k1);
}

size_t str_distance(struct str a, struct str b)
{
    enum { LEN_MAX = 64 };
    a = str_take(a, LEN_MAX);
    b = str_take(b, LEN_MAX);
    /* Three rows of the usual table; the oldest is for two neighbours that changed places. */
    size_t rows[3][LEN_MAX + 1];
    for (size_t j = 0; j <= b.len; j++) {
        rows[0][j] = j;
    }
    for (size_t i = 1; i <= a.len; i++) {
        size_t *now = rows[i % 3];
        const size_t *before = rows[(i + 2) % 3];
        const size_t *older = rows[(i + 1) % 3];
        now[0] = i;
        for (size_t j = 1; j <= b.len; j++) {
            bool same = a.ptr[i - 1] == b.ptr[j - 1];
            size_t best = before[j - 1] + (same ? 0 : 1);
            best = before[j] + 1 < best ? before[j] + 1 : best;
            best = now[j - 1] + 1 < best ? now[j - 1] + 1 : best;
            if (i > 1 && j > 1 && a.ptr[i - 1] == b.ptr[j - 2] && a.ptr[i - 2] == b.ptr[j - 1] &&
                older[j - 2] + 1 < best) {
                best = older[j - 2] + 1;
            }
            now[j] = best;
        }
    }
    return rows[a.len % 3][b.len];
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

static size_t count_digits(struct str s, size_t start)
{
    size_t count = 0;
    while (start + count < s.len && is_digit(s.ptr[start + count])) {
        count++;
    }
    return count;
}

/** -?D*[.D*][eE[+-]D+] with at least one digit before the exponent: no hex, no inf, no spaces. */
static bool is_number_text(struct str s)
{
    size_t at = s.len > 0 && s.ptr[0] == '-' ? 1 : 0;
    size_t digits = count_digits(s, at);
    at += digits;
    if (at < s.len && s.ptr[at] == '.') {
        size_t fraction = count_digits(s, at + 1);
        digits += fraction;
        at += 1 + fraction;
    }
    if (digits == 0) {
        return false;
    }
    if (at < s.len && (s.ptr[at] == 'e' || s.ptr[at] == 'E')) {
        at++;
        if (at < s.len && (s.ptr[at] == '+' || s.ptr[at] == '-')) {
            at++;
        }
        size_t exponent = count_digits(s, at);
        if (exponent == 0) {
            return false;
        }
        at += exponent;
    }
    return at == s.len;
}

/** Up to 8 bytes as a number, little end first, zero-filled. */
static uint64_t load_tail(const char *ptr, size_t len)
{
    uint64_t word = 0;
    if (len > 0) {
        memcpy(&word, ptr, len);
    }
    return word;
}

/** Both halves of the 128-bit product folded together: every input bit reaches every output bit. */
static uint64_t mix(uint64_t a, uint64_t b)
{
    __uint128_t product = (__uint128_t)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}
