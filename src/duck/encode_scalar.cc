/*
 * The text of single values: numbers with every digit, times as ISO 8601.
 *
 * This is the hot path of large results, so nothing here allocates, and each function asks once for
 * the longest text that it can write.
 */
#include "duck/duck_priv.hpp"

#include "duck/encode_priv.hpp"

#include "duckdb/common/types/date.hpp"
#include "duckdb/common/types/interval.hpp"
#include "duckdb/common/types/time.hpp"
#include "duckdb/common/types/timestamp.hpp"

#include <charconv>
#include <cmath>
#include <cstring>

using namespace duckdb;

namespace lake {

void Out::Grow(size_t len)
{
    Sync();
    char *room = buf_reserve(&target, len);
    if (!room) {
        throw_status(E_NO_MEMORY, "a chunk of the answer passes the limit of its buffer");
    }
    next = room;
    end = target.ptr + target.cap;
}

namespace {

constexpr char PAIRS[] =
    "00010203040506070809101112131415161718192021222324252627282930313233343536373839"
    "40414243444546474849505152535455565758596061626364656667686970717273747576777879"
    "8081828384858687888990919293949596979899";

constexpr size_t INT_ROOM = 24;    /* 20 digits and a sign */
constexpr size_t HUGE_ROOM = 48;   /* 39 digits, a sign, a point */
constexpr size_t DOUBLE_ROOM = 32; /* 24 characters at most, and ".0" */
/* the longest year has 6 digits, the longest offset 9 characters */
constexpr size_t TIME_ROOM = 64;

constexpr uint64_t TEN_TO_18 = UINT64_C(1000000000000000000);

void pair(char *at, unsigned value)
{
    memcpy(at, PAIRS + 2 * (size_t)value, 2);
}

/** How many decimal digits `value` has; 0 has one. */
unsigned digit_count(uint64_t value)
{
    static constexpr uint64_t POWERS[] = {
        UINT64_C(0),
        UINT64_C(10),
        UINT64_C(100),
        UINT64_C(1000),
        UINT64_C(10000),
        UINT64_C(100000),
        UINT64_C(1000000),
        UINT64_C(10000000),
        UINT64_C(100000000),
        UINT64_C(1000000000),
        UINT64_C(10000000000),
        UINT64_C(100000000000),
        UINT64_C(1000000000000),
        UINT64_C(10000000000000),
        UINT64_C(100000000000000),
        UINT64_C(1000000000000000),
        UINT64_C(10000000000000000),
        UINT64_C(100000000000000000),
        UINT64_C(1000000000000000000),
        UINT64_C(10000000000000000000),
    };
    /* 1233 / 4096 is a little more than log10(2): the guess is right or one too few, and the table
     * tells which. A value of 0 counts as one bit and one digit. */
    unsigned bits = 64 - (unsigned)__builtin_clzll(value | 1);
    unsigned guess = bits * 1233 >> 12;
    return guess + (value >= POWERS[guess]);
}

/** Digits of `value`, written backwards from `end`; returns where they begin. */
char *digits_before(char *end, uint64_t value)
{
    while (value >= 100) {
        end -= 2;
        pair(end, (unsigned)(value % 100));
        value /= 100;
    }
    if (value >= 10) {
        end -= 2;
        pair(end, (unsigned)value);
    } else {
        *--end = (char)('0' + value);
    }
    return end;
}

/** Exactly `width` digits. */
void fixed_digits(Out &out, uint64_t value, unsigned width)
{
    char *at = out.next + width;
    for (unsigned left = width; left > 0; left--) {
        *--at = (char)('0' + value % 10);
        value /= 10;
    }
    out.next += width;
}

void two_digits(Out &out, unsigned value)
{
    pair(out.next, value);
    out.next += 2;
}

/** Digits of a 128-bit number; returns where they begin. */
char *huge_digits_before(char *end, unsigned __int128 value)
{
    while (value >= TEN_TO_18) {
        uint64_t low = (uint64_t)(value % TEN_TO_18);
        value /= TEN_TO_18;
        for (int i = 0; i < 18; i++) {
            *--end = (char)('0' + low % 10);
            low /= 10;
        }
    }
    return digits_before(end, (uint64_t)value);
}

unsigned __int128 bits_of(hugeint_t value)
{
    return ((unsigned __int128)(uint64_t)value.upper << 64) | value.lower;
}

/** A number that is given as digits, with its point `scale` places before their end: at least one
 * digit stands before it. */
void digits_with_point(Out &out, const char *begin, const char *end, uint8_t scale)
{
    size_t count = (size_t)(end - begin);
    if (scale == 0) {
        out.Bytes(begin, count);
        return;
    }
    if (count <= scale) {
        out.Literal("0.");
        memset(out.next, '0', scale - count);
        out.next += scale - count;
        out.Bytes(begin, count);
        return;
    }
    out.Bytes(begin, count - scale);
    out.Char('.');
    out.Bytes(end - scale, scale);
}

/** Shortest round-trip text, with a ".0" where nothing else says that it is no integer. */
template <class T> void floating(Out &out, T value)
{
    out.Room(DOUBLE_ROOM);
    if (std::isnan(value)) {
        out.Literal("\"NaN\"");
        return;
    }
    if (std::isinf(value)) {
        if (value < 0) {
            out.Literal("\"-Infinity\"");
        } else {
            out.Literal("\"Infinity\"");
        }
        return;
    }
    char *begin = out.next;
    auto done = std::to_chars(begin, begin + DOUBLE_ROOM - 2, value);
    out.next = done.ptr;
    for (const char *c = begin; c < done.ptr; c++) {
        if (*c == '.' || *c == 'e') {
            return;
        }
    }
    out.Literal(".0");
}

/** ISO 8601: four digits for the years 0 to 9999, a sign and more digits outside them; year 0 is 1
 * BC. */
void year(Out &out, int32_t value)
{
    if (value >= 0 && value <= 9999) {
        fixed_digits(out, (uint64_t)value, 4);
        return;
    }
    out.Char(value < 0 ? '-' : '+');
    uint64_t size = value < 0 ? (uint64_t)-(int64_t)value : (uint64_t)value;
    unsigned width = 4;
    for (uint64_t bound = 10000; size >= bound; bound *= 10) {
        width++;
    }
    fixed_digits(out, size, width);
}

void calendar_day(Out &out, date_t day)
{
    int32_t y, m, d;
    Date::Convert(day, y, m, d);
    year(out, y);
    out.Char('-');
    two_digits(out, (unsigned)m);
    out.Char('-');
    two_digits(out, (unsigned)d);
}

/** HH:MM:SS, and the fraction with `width` digits when it is not zero. */
void clock_time(Out &out, int64_t seconds, uint64_t fraction, unsigned width)
{
    two_digits(out, (unsigned)(seconds / 3600));
    out.Char(':');
    two_digits(out, (unsigned)(seconds / 60 % 60));
    out.Char(':');
    two_digits(out, (unsigned)(seconds % 60));
    if (fraction) {
        out.Char('.');
        fixed_digits(out, fraction, width);
    }
}

bool infinite(Out &out, bool is_finite, bool negative)
{
    if (is_finite) {
        return false;
    }
    if (negative) {
        out.Literal("-infinity");
    } else {
        out.Literal("infinity");
    }
    return true;
}

void signed_part(Out &out, int64_t value, char unit)
{
    if (value == 0) {
        return;
    }
    write_int(out, value);
    out.Room(TIME_ROOM);
    out.Char(unit);
}

} // namespace

/* --- numbers --- */

void write_uint(Out &out, uint64_t value)
{
    out.Room(INT_ROOM);
    out.next += digit_count(value);
    (void)digits_before(out.next, value);
}

void write_int(Out &out, int64_t value)
{
    out.Room(INT_ROOM);
    if (value < 0) {
        out.Char('-');
    }
    write_uint(out, value < 0 ? -(uint64_t)value : (uint64_t)value);
}

void write_uhugeint(Out &out, uhugeint_t value)
{
    out.Room(HUGE_ROOM);
    char scratch[HUGE_ROOM];
    char *begin = huge_digits_before(scratch + sizeof scratch,
                                     ((unsigned __int128)value.upper << 64) | value.lower);
    out.Bytes(begin, (size_t)(scratch + sizeof scratch - begin));
}

void write_decimal(Out &out, hugeint_t value, uint8_t scale)
{
    out.Room(HUGE_ROOM);
    char scratch[HUGE_ROOM];
    unsigned __int128 bits = bits_of(value);
    if (value.upper < 0) {
        out.Char('-');
        bits = -bits;
    }
    char *begin = huge_digits_before(scratch + sizeof scratch, bits);
    digits_with_point(out, begin, scratch + sizeof scratch, scale);
}

void write_hugeint(Out &out, hugeint_t value)
{
    write_decimal(out, value, 0);
}

void write_small_decimal(Out &out, int64_t value, uint8_t scale)
{
    out.Room(HUGE_ROOM);
    char scratch[INT_ROOM];
    if (value < 0) {
        out.Char('-');
    }
    char *begin = digits_before(scratch + sizeof scratch,
                                value < 0 ? -(uint64_t)value : (uint64_t)value);
    digits_with_point(out, begin, scratch + sizeof scratch, scale);
}

void write_double(Out &out, double value)
{
    floating(out, value);
}

void write_float(Out &out, float value)
{
    floating(out, value);
}

/* --- times --- */

void write_date(Out &out, date_t value)
{
    out.Room(TIME_ROOM);
    if (!infinite(out, Date::IsFinite(value), value.days < 0)) {
        calendar_day(out, value);
    }
}

void write_timestamp(Out &out, timestamp_t value, bool utc)
{
    out.Room(TIME_ROOM);
    if (infinite(out, Timestamp::IsFinite(value), value.value < 0)) {
        return;
    }
    int64_t days = value.value / Interval::MICROS_PER_DAY;
    int64_t micros = value.value % Interval::MICROS_PER_DAY;
    if (micros < 0) {
        micros += Interval::MICROS_PER_DAY;
        days--;
    }
    calendar_day(out, date_t((int32_t)days));
    out.Char('T');
    clock_time(out, micros / Interval::MICROS_PER_SEC,
               (uint64_t)(micros % Interval::MICROS_PER_SEC), 6);
    if (utc) {
        out.Char('Z');
    }
}

void write_timestamp_ns(Out &out, timestamp_t value)
{
    constexpr int64_t NANOS_PER_SEC = 1000000000;
    constexpr int64_t NANOS_PER_DAY = 86400 * NANOS_PER_SEC;
    out.Room(TIME_ROOM);
    if (infinite(out, Timestamp::IsFinite(value), value.value < 0)) {
        return;
    }
    int64_t days = value.value / NANOS_PER_DAY;
    int64_t nanos = value.value % NANOS_PER_DAY;
    if (nanos < 0) {
        nanos += NANOS_PER_DAY;
        days--;
    }
    calendar_day(out, date_t((int32_t)days));
    out.Char('T');
    uint64_t fraction = (uint64_t)(nanos % NANOS_PER_SEC);
    clock_time(out, nanos / NANOS_PER_SEC, fraction % 1000 ? fraction : fraction / 1000,
               fraction % 1000 ? 9 : 6);
}

void write_time(Out &out, int64_t micros)
{
    out.Room(TIME_ROOM);
    clock_time(out, micros / Interval::MICROS_PER_SEC,
               (uint64_t)(micros % Interval::MICROS_PER_SEC), 6);
}

void write_time_ns(Out &out, int64_t nanos)
{
    out.Room(TIME_ROOM);
    uint64_t fraction = (uint64_t)(nanos % 1000000000);
    clock_time(out, nanos / 1000000000, fraction % 1000 ? fraction : fraction / 1000,
               fraction % 1000 ? 9 : 6);
}

void write_time_tz(Out &out, dtime_tz_t value)
{
    write_time(out, value.time().micros);
    out.Room(TIME_ROOM);
    int32_t offset = value.offset();
    out.Char(offset < 0 ? '-' : '+');
    unsigned size = (unsigned)(offset < 0 ? -offset : offset);
    two_digits(out, size / 3600);
    out.Char(':');
    two_digits(out, size / 60 % 60);
    if (size % 60) {
        out.Char(':');
        two_digits(out, size % 60);
    }
}

/** P1Y2M3DT4H5M6.000007S; every part has its own sign, zero is PT0S. */
void write_interval(Out &out, interval_t value)
{
    out.Room(TIME_ROOM);
    if (value.months == 0 && value.days == 0 && value.micros == 0) {
        out.Literal("PT0S");
        return;
    }
    out.Char('P');
    signed_part(out, value.months / 12, 'Y');
    signed_part(out, value.months % 12, 'M');
    signed_part(out, value.days, 'D');
    if (value.micros == 0) {
        return;
    }
    out.Room(TIME_ROOM);
    out.Char('T');
    signed_part(out, value.micros / Interval::MICROS_PER_HOUR, 'H');
    signed_part(out, value.micros % Interval::MICROS_PER_HOUR / Interval::MICROS_PER_MINUTE, 'M');
    int64_t rest = value.micros % Interval::MICROS_PER_MINUTE;
    if (rest != 0) {
        out.Room(TIME_ROOM);
        if (rest < 0) {
            out.Char('-');
            rest = -rest;
        }
        write_uint(out, (uint64_t)(rest / Interval::MICROS_PER_SEC));
        out.Room(TIME_ROOM);
        if (rest % Interval::MICROS_PER_SEC) {
            out.Char('.');
            fixed_digits(out, (uint64_t)(rest % Interval::MICROS_PER_SEC), 6);
        }
        out.Char('S');
    }
}

/* --- bytes --- */

void write_uuid(Out &out, hugeint_t value)
{
    static const char HEX[] = "0123456789abcdef";
    out.Room(36);
    /* DuckDB flips the highest bit, so that UUIDs sort as signed numbers do. */
    uint64_t upper = (uint64_t)value.upper ^ (UINT64_C(1) << 63);
    for (unsigned i = 0; i < 32; i++) {
        if (i == 8 || i == 12 || i == 16 || i == 20) {
            out.Char('-');
        }
        uint64_t half = i < 16 ? upper : value.lower;
        out.Char(HEX[(half >> (60 - 4 * (i % 16))) & 15]);
    }
}

void write_base64(Out &out, const char *ptr, size_t len)
{
    static const char ALPHABET[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *bytes = reinterpret_cast<const unsigned char *>(ptr);
    out.Room((len + 2) / 3 * 4);
    size_t i = 0;
    for (; i + 3 <= len; i += 3) {
        unsigned group = (unsigned)bytes[i] << 16 | (unsigned)bytes[i + 1] << 8 | bytes[i + 2];
        out.Char(ALPHABET[group >> 18]);
        out.Char(ALPHABET[group >> 12 & 63]);
        out.Char(ALPHABET[group >> 6 & 63]);
        out.Char(ALPHABET[group & 63]);
    }
    if (i < len) {
        unsigned group = (unsigned)bytes[i] << 16 | (i + 1 < len ? (unsigned)bytes[i + 1] << 8 : 0);
        out.Char(ALPHABET[group >> 18]);
        out.Char(ALPHABET[group >> 12 & 63]);
        out.Char(i + 1 < len ? ALPHABET[group >> 6 & 63] : '=');
        out.Char('=');
    }
}

} // namespace lake
