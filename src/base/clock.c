/*
 * Clocks, deadlines, and the two date formats that leave the process.
 *
 * Dates use the proleptic Gregorian calendar of gmtime_r and timegm; years are 0 to 9999.
 */
#include "base/clock.h"

#include <limits.h>
#include <time.h>

static const char *const day_names[] = { "Sunday",   "Monday", "Tuesday", "Wednesday",
                                         "Thursday", "Friday", "Saturday" };
static const char *const month_names[] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                           "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };

static int64_t real_wall_ms(void *ctx);
static int64_t real_mono_ms(void *ctx);
static int64_t real_boot_ms(void *ctx);
static int64_t read_clock_us(clockid_t id);
static enum status split_time(int64_t wall_ms, struct tm *tm_out, int *ms_out);
static bool take_day_name(struct str *text, bool *long_name_out);
static bool parse_fixdate(struct str text, struct tm *tm);
static bool parse_rfc850(struct str text, struct tm *tm);
static bool parse_asctime(struct str text, struct tm *tm);
static bool take_literal(struct str *text, struct str literal);
static bool take_number(struct str *text, size_t digits, int *out);
static bool take_month(struct str *text, int *out);
static bool take_time(struct str *text, struct tm *tm);
static bool is_real_date(const struct tm *tm);

const struct lake_clock *clock_real(void)
{
    static const struct lake_clock real = { .wall_ms = real_wall_ms,
                                            .mono_ms = real_mono_ms,
                                            .boot_ms = real_boot_ms };
    return &real;
}

int64_t clock_wall_ms(const struct lake_clock *clock)
{
    return clock->wall_ms(clock->ctx);
}

int64_t clock_mono_ms(const struct lake_clock *clock)
{
    return clock->mono_ms(clock->ctx);
}

int64_t clock_boot_ms(const struct lake_clock *clock)
{
    return clock->boot_ms != NULL ? clock->boot_ms(clock->ctx) : clock->mono_ms(clock->ctx);
}

int64_t clock_now_us(void)
{
    return read_clock_us(CLOCK_MONOTONIC);
}

deadline_ms deadline_in(int64_t timeout_ms)
{
    deadline_ms deadline;
    int64_t now = real_mono_ms(NULL);
    if (timeout_ms <= 0) {
        return now;
    }
    return __builtin_add_overflow(now, timeout_ms, &deadline) ? DEADLINE_NEVER : deadline;
}

int deadline_poll_ms(deadline_ms deadline)
{
    if (deadline == DEADLINE_NEVER) {
        return -1;
    }
    int64_t now = real_mono_ms(NULL);
    if (deadline <= now) {
        return 0;
    }
    return deadline - now > INT_MAX ? INT_MAX : (int)(deadline - now);
}

bool deadline_passed(deadline_ms deadline)
{
    return deadline != DEADLINE_NEVER && real_mono_ms(NULL) >= deadline;
}

static void digits_put(char *to, int value, int count)
{
    for (int i = count; i-- > 0; value /= 10) {
        to[i] = (char)('0' + value % 10);
    }
}

enum status time_append_iso(struct buf *out, int64_t wall_ms)
{
    struct tm tm;
    int ms;
    TRY(split_time(wall_ms, &tm, &ms));
    char text[] = "yyyy-mm-ddThh:mm:ss.mmmZ"; /* without printf: a listing has one for a key */
    digits_put(text, tm.tm_year + 1900, 4);
    digits_put(text + 5, tm.tm_mon + 1, 2);
    digits_put(text + 8, tm.tm_mday, 2);
    digits_put(text + 11, tm.tm_hour, 2);
    digits_put(text + 14, tm.tm_min, 2);
    digits_put(text + 17, tm.tm_sec, 2);
    digits_put(text + 20, ms, 3);
    return buf_append_bytes(out, text, sizeof text - 1);
}

enum status time_append_http(struct buf *out, int64_t wall_ms)
{
    struct tm tm;
    int ms;
    TRY(split_time(wall_ms, &tm, &ms));
    return buf_printf(out, "%.3s, %02d %s %04d %02d:%02d:%02d GMT", day_names[tm.tm_wday],
                      tm.tm_mday, month_names[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min,
                      tm.tm_sec);
}

bool time_parse_http(struct str text, int64_t *wall_ms_out)
{
    struct tm tm = { 0 };
    bool long_name;
    if (!take_day_name(&text, &long_name)) {
        return false;
    }
    bool parsed;
    if (long_name) {
        parsed = parse_rfc850(text, &tm);
    } else {
        parsed = str_starts(text, STR(",")) ? parse_fixdate(text, &tm) : parse_asctime(text, &tm);
    }
    if (!parsed || !is_real_date(&tm)) {
        return false;
    }
    *wall_ms_out = (int64_t)timegm(&tm) * 1000;
    return true;
}

static int64_t real_wall_ms(void *ctx UNUSED)
{
    return read_clock_us(CLOCK_REALTIME) / 1000;
}

static int64_t real_mono_ms(void *ctx UNUSED)
{
    return read_clock_us(CLOCK_MONOTONIC) / 1000;
}

static int64_t real_boot_ms(void *ctx UNUSED)
{
    return read_clock_us(CLOCK_BOOTTIME) / 1000;
}

static int64_t read_clock_us(clockid_t id)
{
    struct timespec now;
    int result = clock_gettime(id, &now);
    assert(result == 0); /* these clocks always exist on Linux */
    (void)result;
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static enum status split_time(int64_t wall_ms, struct tm *tm_out, int *ms_out)
{
    int64_t ms = wall_ms % 1000;
    time_t seconds = wall_ms / 1000;
    if (ms < 0) { /* before 1970: round towards the past */
        ms += 1000;
        seconds--;
    }
    if (gmtime_r(&seconds, tm_out) == NULL || tm_out->tm_year < -1900 || tm_out->tm_year > 8099) {
        return E_INVALID;
    }
    *ms_out = (int)ms;
    return OK;
}

/** "Sunday" or "Sun"; false when it is no day. */
static bool take_day_name(struct str *text, bool *long_name_out)
{
    for (size_t i = 0; i < ARRAY_LEN(day_names); i++) {
        struct str name = str_of(day_names[i]);
        if (take_literal(text, name)) {
            *long_name_out = true;
            return true;
        }
        if (take_literal(text, str_take(name, 3))) {
            *long_name_out = false;
            return true;
        }
    }
    return false;
}

/** ", 06 Nov 1994 08:49:37 GMT", what senders must use (RFC 9110, section 5.6.7). */
static bool parse_fixdate(struct str text, struct tm *tm)
{
    int year;
    if (!take_literal(&text, STR(", ")) || !take_number(&text, 2, &tm->tm_mday) ||
        !take_literal(&text, STR(" ")) || !take_month(&text, &tm->tm_mon) ||
        !take_literal(&text, STR(" ")) || !take_number(&text, 4, &year) ||
        !take_literal(&text, STR(" ")) || !take_time(&text, tm)) {
        return false;
    }
    tm->tm_year = year - 1900;
    return str_eq(text, STR(" GMT"));
}

/** ", 06-Nov-94 08:49:37 GMT". A year more than 50 years ahead means the century before. */
static bool parse_rfc850(struct str text, struct tm *tm)
{
    int year;
    if (!take_literal(&text, STR(", ")) || !take_number(&text, 2, &tm->tm_mday) ||
        !take_literal(&text, STR("-")) || !take_month(&text, &tm->tm_mon) ||
        !take_literal(&text, STR("-")) || !take_number(&text, 2, &year) ||
        !take_literal(&text, STR(" ")) || !take_time(&text, tm)) {
        return false;
    }
    struct tm now;
    int ms;
    if (split_time(real_wall_ms(NULL), &now, &ms) != OK) {
        return false;
    }
    int this_year = now.tm_year + 1900;
    year += this_year / 100 * 100;
    year -= year > this_year + 50 ? 100 : 0;
    tm->tm_year = year - 1900;
    return str_eq(text, STR(" GMT"));
}

/** " Nov  6 08:49:37 1994", the form of C's asctime. */
static bool parse_asctime(struct str text, struct tm *tm)
{
    int year;
    if (!take_literal(&text, STR(" ")) || !take_month(&text, &tm->tm_mon) ||
        !take_literal(&text, STR(" "))) {
        return false;
    }
    size_t day_digits = take_literal(&text, STR(" ")) ? 1 : 2;
    if (!take_number(&text, day_digits, &tm->tm_mday) || !take_literal(&text, STR(" ")) ||
        !take_time(&text, tm) || !take_literal(&text, STR(" ")) || !take_number(&text, 4, &year)) {
        return false;
    }
    tm->tm_year = year - 1900;
    return text.len == 0;
}

static bool take_literal(struct str *text, struct str literal)
{
    if (!str_starts(*text, literal)) {
        return false;
    }
    *text = str_skip(*text, literal.len);
    return true;
}

static bool take_number(struct str *text, size_t digits, int *out)
{
    uint64_t value;
    if (text->len < digits || !str_to_u64(str_take(*text, digits), &value)) {
        return false;
    }
    *text = str_skip(*text, digits);
    *out = (int)value;
    return true;
}

static bool take_month(struct str *text, int *out)
{
    for (size_t i = 0; i < ARRAY_LEN(month_names); i++) {
        if (take_literal(text, str_of(month_names[i]))) {
            *out = (int)i;
            return true;
        }
    }
    return false;
}

static bool take_time(struct str *text, struct tm *tm)
{
    return take_number(text, 2, &tm->tm_hour) && take_literal(text, STR(":")) &&
           take_number(text, 2, &tm->tm_min) && take_literal(text, STR(":")) &&
           take_number(text, 2, &tm->tm_sec);
}

/** Second 60 is a leap second, which timegm counts into the next minute. */
static bool is_real_date(const struct tm *tm)
{
    static const int days[] = { 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    int year = tm->tm_year + 1900;
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    bool day_exists = tm->tm_mday >= 1 && tm->tm_mday <= days[tm->tm_mon] &&
                      (leap || tm->tm_mon != 1 || tm->tm_mday <= 28);
    return day_exists && tm->tm_hour <= 23 && tm->tm_min <= 59 && tm->tm_sec <= 60;
}
