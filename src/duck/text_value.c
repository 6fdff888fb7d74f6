/*
 * Texts to values, by hand: these run once for each value of each file, and a cast that may fail
 * costs SQL several passes over it.
 *
 * A double takes the short way when it can: up to 15 digits and a power of ten up to 22 are both
 * exact in binary64, so one multiplication or division rounds once, as IEEE 754 wants it (Clinger,
 * "How to Read Floating Point Numbers Accurately", 1990). strtod does the rest.
 */
#include "duck/text_value.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    DIGITS_EXACT = 15,      /* always survive a binary64 (DBL_DIG) */
    DIGITS_MAX = 17,        /* tell every binary64 from its neighbours (DBL_DECIMAL_DIG) */
    POWER_EXACT = 22,       /* 10^22 is the greatest power of ten without rounding */
    NUMBER_BYTES_MAX = 400, /* 1e-308 written out has 310; longer texts are no doubles */
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* --- numbers --- */

bool text_to_long(struct str text, int64_t *out)
{
    const char *p = text.ptr, *end = p + text.len;
    bool negative = p < end && *p == '-';
    p += negative;
    size_t digits = (size_t)(end - p);
    if (digits == 0 || digits > 19 || (*p == '0' && (digits > 1 || negative))) {
        return false;
    }
    uint64_t value = 0; /* 19 digits fit */
    for (; p < end; p++) {
        if (!is_digit(*p)) {
            return false;
        }
        value = value * 10 + (uint64_t)(*p - '0');
    }
    if (value > (uint64_t)INT64_MAX + negative) {
        return false;
    }
    *out = negative ? (int64_t)(0 - value) : (int64_t)value;
    return true;
}

bool text_to_int(struct str text, int32_t *out)
{
    int64_t value;
    if (!text_to_long(text, &value) || value < INT32_MIN || value > INT32_MAX) {
        return false;
    }
    *out = (int32_t)value;
    return true;
}

/** A number in its parts: the value is digits * 10^power. */
struct number {
    uint64_t digits; /* the first DIGITS_MAX + 1 significant ones */
    unsigned significant;
    int power; /* of the digits as a whole number */
    bool negative, exponent, plain_whole;
};

static const char *scan_digits(const char *p, const char *end, struct number *n, bool fraction)
{
    for (; p < end && is_digit(*p); p++) {
        n->power -= fraction;
        if (n->significant == 0 && *p == '0') {
            continue;
        }
        if (n->significant <= DIGITS_MAX) {
            n->digits = n->digits * 10 + (uint64_t)(*p - '0');
        }
        n->significant++;
    }
    return p;
}

static const char *scan_exponent(const char *p, const char *end, struct number *n)
{
    int value = 0;
    p++;
    bool negative = p < end && *p == '-';
    p += p < end && (*p == '-' || *p == '+');
    const char *first = p;
    for (; p < end && is_digit(*p) && p - first < 3; p++) {
        value = value * 10 + (*p - '0');
    }
    n->exponent = true;
    n->power += negative ? -value : value;
    return p > first ? p : NULL;
}

/** -?(0|[1-9][0-9]*)(\.[0-9]+)? or -?\.[0-9]+, and an exponent of up to three digits behind. */
static bool scan_number(struct str text, struct number *n)
{
    const char *p = text.ptr, *end = p + text.len;
    *n = (struct number){ .negative = p < end && *p == '-' };
    p += n->negative;
    const char *whole = p;
    p = scan_digits(p, end, n, false);
    size_t whole_digits = (size_t)(p - whole);
    if (whole_digits > 1 && *whole == '0') {
        return false;
    }
    n->plain_whole = whole_digits > 0;
    if (p < end && *p == '.') {
        const char *fraction = ++p;
        p = scan_digits(p, end, n, true);
        if (p == fraction) {
            return false;
        }
    } else if (whole_digits == 0) {
        return false;
    }
    if (p < end && (*p == 'e' || *p == 'E')) {
        p = scan_exponent(p, end, n);
    }
    return p == end;
}

static double power_of_ten(unsigned power)
{
    static const double powers[POWER_EXACT + 1] = {
        1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
        1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
    };
    return powers[power];
}

/** The first `count` significant digits of a positive number, and the number that they name. */
static uint64_t first_digits(double value, unsigned count, double *named_out)
{
    char shown[64];
    uint64_t digits = 0;
    snprintf(shown, sizeof(shown), "%.*e", (int)count - 1, value);
    for (const char *p = shown; *p != 'e' && *p != '\0'; p++) {
        digits = is_digit(*p) ? digits * 10 + (uint64_t)(*p - '0') : digits;
    }
    *named_out = strtod(shown, NULL);
    return digits;
}

/** True when `value` shows the number's own digits, and none fewer name it. */
static bool digits_survive(const struct number *n, double value)
{
    double named;
    for (unsigned count = DIGITS_EXACT; count < n->significant; count++) {
        first_digits(value, count, &named);
        if (named == value) {
            return false;
        }
    }
    return first_digits(value, n->significant, &named) == n->digits;
}

static bool number_to_double(const struct number *number, struct str text, double *out)
{
    struct number n = *number;
    if (n.significant > DIGITS_MAX || text.len > NUMBER_BYTES_MAX) {
        return false;
    }
    while (n.significant > DIGITS_EXACT && n.digits % 10 == 0) {
        n.digits /= 10;
        n.significant--;
        n.power++;
    }
    bool exact = n.significant <= DIGITS_EXACT;
    if (exact && n.power >= -POWER_EXACT && n.power <= POWER_EXACT) {
        double value = (double)n.digits;
        value = n.power < 0 ? value / power_of_ten((unsigned)-n.power)
                            : value * power_of_ten((unsigned)n.power);
        *out = n.negative ? -value : value;
        return true;
    }
    char copy[NUMBER_BYTES_MAX + 1];
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    double value = strtod(copy, NULL);
    /* a subnormal number has fewer digits than others */
    exact = exact && (fabs(value) >= DBL_MIN || n.significant == 0);
    if (!isfinite(value) || (!exact && !digits_survive(&n, fabs(value)))) {
        return false;
    }
    *out = value;
    return true;
}

bool text_to_double(struct str text, double *out)
{
    struct number n;
    return scan_number(text, &n) && number_to_double(&n, text, out);
}

bool text_to_boolean(struct str text, bool *out)
{
    if (text.len == 4 && (memcmp(text.ptr, "true", 4) == 0 || memcmp(text.ptr, "TRUE", 4) == 0 ||
                          memcmp(text.ptr, "True", 4) == 0)) {
        *out = true;
        return true;
    }
    if (text.len == 5 && (memcmp(text.ptr, "false", 5) == 0 || memcmp(text.ptr, "FALSE", 5) == 0 ||
                          memcmp(text.ptr, "False", 5) == 0)) {
        *out = false;
        return true;
    }
    return false;
}

/* --- dates and times --- */

enum { MINUTE = 60, HOUR = 3600, DAY = 86400, MICROS = 1000000 };

/** Two digits as a number, or a value above 99. */
static unsigned two_digits(const char *p)
{
    unsigned tens = (unsigned char)(p[0] - '0'), ones = (unsigned char)(p[1] - '0');
    return tens > 9 || ones > 9 ? 1000 : tens * 10 + ones;
}

/** Days since 1970-01-01 in the proleptic Gregorian calendar: years begin in March, so that the
 * leap day is a year's last, and 146,097 days are 400 years. */
static int32_t days_of(unsigned year, unsigned month, unsigned day)
{
    unsigned y = month <= 2 ? year - 1 : year;
    unsigned day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    unsigned era = y / 400, year_of_era = y % 400;
    unsigned day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return (int32_t)(era * 146097 + day_of_era) - 719468;
}

static bool read_date(const char *p, int32_t *days)
{
    static const unsigned char lengths[] = { 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    unsigned century = two_digits(p), rest = two_digits(p + 2), month = two_digits(p + 5),
             day = two_digits(p + 8);
    if (century > 99 || rest > 99 || p[4] != '-' || p[7] != '-' || month < 1 || month > 12 ||
        day < 1 || day > lengths[month - 1]) {
        return false;
    }
    unsigned year = century * 100 + rest;
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    if (year == 0 || (month == 2 && day == 29 && !leap)) {
        return false;
    }
    *days = days_of(year, month, day);
    return true;
}

bool text_to_date(struct str text, int32_t *out)
{
    return text.len == 10 && read_date(text.ptr, out);
}

/** YYYY-MM-DD[ T]HH:MM[:SS[.f{1,6}]] at the front; *used_out: its length. */
static bool read_timestamp(struct str text, int64_t *us, size_t *used_out)
{
    int32_t days;
    const char *p = text.ptr;
    if (text.len < 16 || !read_date(p, &days) || (p[10] != ' ' && p[10] != 'T') || p[13] != ':') {
        return false;
    }
    unsigned hour = two_digits(p + 11), minute = two_digits(p + 14), second = 0;
    int64_t micros = 0;
    size_t at = 16;
    if (text.len >= 19 && p[16] == ':') {
        second = two_digits(p + 17);
        at = 19;
        if (text.len > 20 && p[19] == '.' && is_digit(p[20])) {
            int64_t unit = MICROS / 10;
            for (at = 20; at < text.len && at < 26 && is_digit(p[at]); at++, unit /= 10) {
                micros += (p[at] - '0') * unit;
            }
        }
    }
    if (hour > 23 || minute > 59 || second > 59) {
        return false;
    }
    int64_t seconds = (int64_t)days * DAY + hour * HOUR + minute * MINUTE + second;
    *us = seconds * MICROS + micros;
    *used_out = at;
    return true;
}

bool text_to_timestamp(struct str text, int64_t *out)
{
    size_t used;
    int64_t us;
    if (!read_timestamp(text, &us, &used) || used != text.len) {
        return false;
    }
    *out = us;
    return true;
}

/** Z, or [-+]HH, [-+]HHMM, [-+]HH:MM, up to 15:59 as ISO 8601 writers have it. */
static bool read_offset(struct str text, int64_t *seconds)
{
    if (text.len == 1 && text.ptr[0] == 'Z') {
        *seconds = 0;
        return true;
    }
    bool colon = text.len == 6 && text.ptr[3] == ':';
    if ((text.len != 3 && text.len != 5 && !colon) || (text.ptr[0] != '-' && text.ptr[0] != '+')) {
        return false;
    }
    unsigned hours = two_digits(text.ptr + 1);
    unsigned minutes = text.len == 3 ? 0 : two_digits(text.ptr + (colon ? 4 : 3));
    if (hours > 15 || minutes > 59) {
        return false;
    }
    int64_t offset = (int64_t)hours * HOUR + minutes * MINUTE;
    *seconds = text.ptr[0] == '-' ? -offset : offset;
    return true;
}

bool text_to_timestamptz(struct str text, int64_t *out)
{
    /* 0001-01-01 and 10000-01-01, in seconds */
    const int64_t first = (int64_t)-719162 * DAY, behind = (int64_t)2932897 * DAY;
    size_t used;
    int64_t us, offset;
    if (!read_timestamp(text, &us, &used) || !read_offset(str_skip(text, used), &offset)) {
        return false;
    }
    us -= offset * MICROS;
    if (us < first * MICROS || us >= behind * MICROS) {
        return false;
    }
    *out = us;
    return true;
}

/* --- all at once --- */

static unsigned number_fits(struct str text)
{
    struct number n;
    int64_t whole;
    double value;
    unsigned fits = 0;
    if (text_to_long(text, &whole)) {
        fits |= TEXT_FITS_LONG;
        fits |= whole >= INT32_MIN && whole <= INT32_MAX ? TEXT_FITS_INT : 0u;
    }
    if (!scan_number(text, &n)) {
        return fits;
    }
    fits |= n.plain_whole && !n.exponent ? TEXT_FITS_DECIMAL : 0u;
    fits |= number_to_double(&n, text, &value) ? TEXT_FITS_DOUBLE : 0u;
    return fits;
}

static unsigned time_fits(struct str text)
{
    int32_t days;
    int64_t us;
    return (text_to_date(text, &days) ? TEXT_FITS_DATE : 0u) |
           (text_to_timestamp(text, &us) ? TEXT_FITS_TIMESTAMP : 0u) |
           (text_to_timestamptz(text, &us) ? TEXT_FITS_TIMESTAMPTZ : 0u);
}

unsigned text_fits(struct str text)
{
    bool truth;
    char first = text.len > 0 ? text.ptr[0] : '\0';
    if (!is_digit(first) && first != '-' && first != '.') {
        return text_to_boolean(text, &truth) ? TEXT_FITS_BOOLEAN : 0;
    }
    return text.len >= 10 && text.ptr[4] == '-' ? time_fits(text) : number_fits(text);
}
