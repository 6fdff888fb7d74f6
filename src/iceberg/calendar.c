/*
 * Dates and times as SQL engines print them, and as the numbers that Iceberg stores.
 *
 * The calendar is the proleptic Gregorian one. Days are counted in 400-year cycles that begin in
 * March, which puts the leap day last; the formulas are the well-known ones of Howard Hinnant's
 * "chrono-compatible low-level date algorithms".
 */
#include "iceberg/calendar.h"

#include <ctype.h>

static const int64_t DAY_US = 86400000000;

/** Up to `max` digits at the front of `*rest`; false when there is none. */
static bool take_digits(struct str *rest, size_t max, int64_t *out, size_t *count)
{
    size_t len = 0;
    int64_t value = 0;
    while (len < rest->len && len < max && isdigit((unsigned char)rest->ptr[len])) {
        value = value * 10 + (rest->ptr[len++] - '0');
    }
    *rest = str_skip(*rest, len);
    *out = value;
    *count = len;
    return len > 0;
}

static bool take_char(struct str *rest, char c)
{
    if (rest->len == 0 || rest->ptr[0] != c) {
        return false;
    }
    *rest = str_skip(*rest, 1);
    return true;
}

static bool is_leap(int64_t year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static int64_t month_days(int64_t year, int64_t month)
{
    static const int64_t days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    return days[month - 1] + (month == 2 && is_leap(year) ? 1 : 0);
}

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0 ? 1 : 0);
}

/** Days of the years before `year`, counted in 400-year cycles of 146097 days. */
int64_t calendar_days(int64_t year, int64_t month, int64_t day)
{
    int64_t y = month <= 2 ? year - 1 : year; /* years that begin in March put the leap day last */
    int64_t era = floor_div(y, 400);
    int64_t of_era = y - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static void date_of(int64_t days, int64_t *year, int64_t *month, int64_t *day)
{
    int64_t shifted = days + 719468;
    int64_t era = floor_div(shifted, 146097);
    int64_t of_era = shifted - era * 146097;
    int64_t y = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * y + y / 4 - y / 100);
    int64_t m = (5 * of_year + 2) / 153;
    *day = of_year - (153 * m + 2) / 5 + 1;
    *month = m < 10 ? m + 3 : m - 9;
    *year = y + era * 400 + (*month <= 2 ? 1 : 0);
}

/** `2024-01-02`, also with more digits in the year, a minus before it, or ` (BC)` behind it. */
static bool take_date(struct str *rest, int64_t *days)
{
    int64_t year = 0;
    int64_t month = 0;
    int64_t day = 0;
    size_t count = 0;
    bool minus = take_char(rest, '-');
    if (!take_digits(rest, 7, &year, &count) || !take_char(rest, '-') ||
        !take_digits(rest, 2, &month, &count) || !take_char(rest, '-') ||
        !take_digits(rest, 2, &day, &count)) {
        return false;
    }
    if (str_starts(*rest, STR(" (BC)"))) {
        *rest = str_skip(*rest, STR(" (BC)").len);
        year = 1 - year;
    }
    year = minus ? -year : year;
    if (month < 1 || month > 12 || day < 1 || day > month_days(year, month)) {
        return false;
    }
    *days = calendar_days(year, month, day);
    return true;
}

/** `03:04:05.000006`, in microseconds; more digits are refused, for the bound would be rounded. */
static bool take_time(struct str *rest, int64_t *us)
{
    int64_t hour = 0;
    int64_t minute = 0;
    int64_t second = 0;
    int64_t fraction = 0;
    size_t count = 0;
    if (!take_digits(rest, 2, &hour, &count) || !take_char(rest, ':') ||
        !take_digits(rest, 2, &minute, &count) || !take_char(rest, ':') ||
        !take_digits(rest, 2, &second, &count)) {
        return false;
    }
    if (take_char(rest, '.')) {
        if (!take_digits(rest, 6, &fraction, &count)) {
            return false;
        }
        for (; count < 6; count++) {
            fraction *= 10;
        }
        while (take_char(rest, '0')) {
        }
    }
    *us = ((hour * 60 + minute) * 60 + second) * 1000000 + fraction;
    return hour <= 24 && minute < 60 && second < 60 && *us <= DAY_US;
}

/** `Z`, `+00`, `-05:30`, `+01:02:03`, or nothing; in microseconds east of UTC. */
static bool take_offset(struct str *rest, int64_t *us)
{
    int64_t parts[3] = { 0 };
    size_t count = 0;
    *us = 0;
    if (rest->len == 0 || take_char(rest, 'Z')) {
        return true;
    }
    bool minus = take_char(rest, '-');
    if (!minus && !take_char(rest, '+')) {
        return false;
    }
    for (size_t i = 0; i < 3 && (i == 0 || take_char(rest, ':')); i++) {
        if (!take_digits(rest, 2, &parts[i], &count)) {
            return false;
        }
    }
    *us = ((parts[0] * 60 + parts[1]) * 60 + parts[2]) * 1000000 * (minus ? -1 : 1);
    return true;
}

bool calendar_parse_date(struct str text, int64_t *days)
{
    struct str rest = text;
    return take_date(&rest, days) && rest.len == 0;
}

bool calendar_parse_time(struct str text, int64_t *us)
{
    struct str rest = text;
    return take_time(&rest, us) && rest.len == 0;
}

bool calendar_parse_timestamp(struct str text, bool with_zone, int64_t *us)
{
    struct str rest = text;
    int64_t days = 0;
    int64_t of_day = 0;
    int64_t offset = 0;
    if (!take_date(&rest, &days)) {
        return false;
    }
    if (take_char(&rest, ' ') || take_char(&rest, 'T')) {
        if (!take_time(&rest, &of_day)) {
            return false;
        }
    }
    if (with_zone && !take_offset(&rest, &offset)) {
        return false;
    }
    return rest.len == 0 && !__builtin_mul_overflow(days, DAY_US, us) &&
           !__builtin_add_overflow(*us, of_day - offset, us);
}

/* ---- to text ---- */

enum status calendar_print_date(int64_t days, struct buf *out)
{
    int64_t year = 0;
    int64_t month = 0;
    int64_t day = 0;
    date_of(days, &year, &month, &day);
    bool bc = year <= 0; /* there is no year 0: 1 BC stands before 1 */
    return buf_printf(out, "%04lld-%02lld-%02lld%s", (long long)(bc ? 1 - year : year),
                      (long long)month, (long long)day, bc ? " (BC)" : "");
}

enum status calendar_print_time(int64_t us, struct buf *out)
{
    int64_t s = us / 1000000;
    TRY(buf_printf(out, "%02lld:%02lld:%02lld", (long long)(s / 3600), (long long)(s / 60 % 60),
                   (long long)(s % 60)));
    return us % 1000000 != 0 ? buf_printf(out, ".%06lld", (long long)(us % 1000000)) : OK;
}

enum status calendar_print_timestamp(int64_t us, bool with_zone, struct buf *out)
{
    int64_t days = floor_div(us, DAY_US);
    TRY(calendar_print_date(days, out));
    TRY(buf_append_char(out, ' '));
    TRY(calendar_print_time(us - days * DAY_US, out));
    return with_zone ? buf_append(out, STR("+00")) : OK;
}
