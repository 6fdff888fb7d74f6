/*
 * Single values: bounds from text, compared, and back to text.
 *
 * A bound is a promise to readers that skip files: a lower bound must not be above any value, an
 * upper bound not below. Where that cannot be promised (NaN, no code point to increment, text of
 * another form), there is no bound, which is always right.
 * Source: Iceberg table specification, appendix D "Binary single-value serialization"; Java's
 * default of 16 for cut bounds.
 */
#include "iceberg/value.h"

#include "iceberg/calendar.h"

#include "base/encode.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { CUT_CODE_POINTS = 16, CUT_BYTES = 16, DECIMAL_BYTES = 16 };

__extension__ typedef __int128 wide; /* 38 decimal digits */

/* ---- little helpers ---- */

static enum status no_value(const char *kind, struct str text, struct err *err)
{
    return err_set(err, E_INVALID, "\"%.*s\" is no %s", (int)(text.len < 100 ? text.len : 100),
                   text.ptr != NULL ? text.ptr : "", kind);
}

static enum status keep(struct arena *arena, const void *bytes, size_t len, struct str *out,
                        struct err *err)
{
    *out = arena_str(arena, str_from(bytes, len));
    return out->ptr == NULL ? err_no_memory(err) : OK;
}

static enum status keep_le(struct arena *arena, uint64_t value, size_t len, struct str *out,
                           struct err *err)
{
    uint8_t bytes[8];
    for (size_t i = 0; i < len; i++) {
        bytes[i] = (uint8_t)(value >> (8 * i));
    }
    return keep(arena, bytes, len, out, err);
}

static uint64_t get_le(struct str bytes)
{
    uint64_t value = 0;
    for (size_t i = 0; i < bytes.len; i++) {
        value |= (uint64_t)(uint8_t)bytes.ptr[i] << (8 * i);
    }
    return value;
}

/* ---- bounds from text, by type ---- */

static bool is_infinite_time(struct str text)
{
    return str_eq_nocase(text, STR("infinity")) || str_eq_nocase(text, STR("-infinity"));
}

static enum status bound_date(struct arena *arena, struct str text, struct str *out,
                              struct err *err)
{
    int64_t days = 0;
    if (!calendar_parse_date(text, &days) || days < INT32_MIN || days > INT32_MAX) {
        return no_value("date", text, err);
    }
    return keep_le(arena, (uint64_t)days, 4, out, err);
}

static enum status bound_time(struct arena *arena, struct str text, struct str *out,
                              struct err *err)
{
    int64_t us = 0;
    if (!calendar_parse_time(text, &us)) {
        return no_value("time", text, err);
    }
    return keep_le(arena, (uint64_t)us, 8, out, err);
}

static enum status bound_timestamp(struct arena *arena, struct str text, bool with_zone,
                                   struct str *out, struct err *err)
{
    int64_t us = 0;
    if (!calendar_parse_timestamp(text, with_zone, &us)) {
        return no_value("timestamp", text, err);
    }
    return keep_le(arena, (uint64_t)us, 8, out, err);
}

static enum status bound_whole(struct arena *arena, struct str text, bool narrow, struct str *out,
                               struct err *err)
{
    int64_t value = 0;
    if (!str_to_i64(text, &value) || (narrow && (value < INT32_MIN || value > INT32_MAX))) {
        return no_value(narrow ? "int" : "long", text, err);
    }
    return keep_le(arena, (uint64_t)value, narrow ? 4 : 8, out, err);
}

static enum status bound_boolean(struct arena *arena, struct str text, struct str *out,
                                 struct err *err)
{
    bool yes = str_eq_nocase(text, STR("true")) || str_eq(text, STR("1"));
    if (!yes && !str_eq_nocase(text, STR("false")) && !str_eq(text, STR("0"))) {
        return no_value("boolean", text, err);
    }
    return keep_le(arena, yes ? 1 : 0, 1, out, err);
}

static enum status bound_real(struct arena *arena, struct str text, bool narrow, bool upper,
                              struct str *out, bool *none_out, struct err *err)
{
    char copy[400]; /* the longest double without an exponent has some 330 characters */
    char *end = NULL;
    if (text.len == 0 || text.len >= sizeof(copy) || isspace((unsigned char)text.ptr[0])) {
        return no_value("number", text, err);
    }
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    double value = narrow ? (double)strtof(copy, &end) : strtod(copy, &end);
    if (*end != '\0' || end != copy + text.len) {
        return no_value("number", text, err);
    }
    if (isnan(value)) {
        *none_out = true;
        return OK;
    }
    if (value == 0) {
        value = upper ? 0.0 : -0.0; /* whichever zeros are in the file lie between */
    }
    uint64_t bits = 0;
    if (narrow) {
        float single = (float)value;
        memcpy(&bits, &single, sizeof(single));
    } else {
        memcpy(&bits, &value, sizeof(value));
    }
    return keep_le(arena, bits, narrow ? 4 : 8, out, err);
}

/** "-12.5" as a number of 10^-scale; false when it has more decimals than the type. */
static bool parse_decimal(struct str text, int32_t scale, wide *out)
{
    struct str rest = text;
    bool minus = str_starts(rest, STR("-"));
    rest = str_skip(rest, minus ? 1 : 0);
    bool point = false;
    int32_t decimals = 0;
    size_t digits = 0;
    wide value = 0;
    for (; rest.len > 0; rest = str_skip(rest, 1)) {
        char c = rest.ptr[0];
        if (c == '.' && !point) {
            point = true;
            continue;
        }
        if (!isdigit((unsigned char)c) || digits > 60) {
            return false;
        }
        digits++;
        if (point && ++decimals > scale) {
            if (c != '0') {
                return false;
            }
            continue;
        }
        if (__builtin_mul_overflow(value, (wide)10, &value) ||
            __builtin_add_overflow(value, (wide)(c - '0'), &value)) {
            return false;
        }
    }
    for (; decimals < scale; decimals++) {
        if (__builtin_mul_overflow(value, (wide)10, &value)) {
            return false;
        }
    }
    *out = minus ? -value : value;
    return digits > 0;
}

static enum status bound_decimal(struct arena *arena, const struct ice_type *type, struct str text,
                                 struct str *out, struct err *err)
{
    wide value = 0;
    uint8_t bytes[DECIMAL_BYTES];
    if (!parse_decimal(text, type->scale, &value)) {
        return no_value("decimal of this scale", text, err);
    }
    for (size_t i = 0; i < DECIMAL_BYTES; i++) {
        bytes[DECIMAL_BYTES - 1 - i] = (uint8_t)(value >> (8 * i));
    }
    size_t start = 0; /* a leading byte that only repeats the sign of the next is left out */
    while (start < DECIMAL_BYTES - 1 && ((bytes[start] == 0x00 && bytes[start + 1] < 0x80) ||
                                         (bytes[start] == 0xff && bytes[start + 1] >= 0x80))) {
        start++;
    }
    return keep(arena, bytes + start, DECIMAL_BYTES - start, out, err);
}

/** The bytes of the code point at the front, 0 when there is none that is valid. */
static size_t code_point_len(struct str s)
{
    for (size_t len = 1; len <= 4 && len <= s.len; len++) {
        if (str_is_utf8(str_take(s, len))) {
            return len;
        }
    }
    return 0;
}

static uint32_t decode(const char *ptr, size_t len)
{
    static const uint8_t first_mask[] = { 0, 0x7f, 0x1f, 0x0f, 0x07 };
    uint32_t point = (uint8_t)ptr[0] & first_mask[len];
    for (size_t i = 1; i < len; i++) {
        point = point << 6 | ((uint8_t)ptr[i] & 0x3f);
    }
    return point;
}

static size_t encode(uint32_t point, char out[4])
{
    if (point < 0x80) {
        out[0] = (char)point;
        return 1;
    }
    size_t len = point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    static const uint8_t first_bits[] = { 0, 0, 0xc0, 0xe0, 0xf0 };
    for (size_t i = len; i-- > 1; point >>= 6) {
        out[i] = (char)(0x80 | (point & 0x3f));
    }
    out[0] = (char)(first_bits[len] | point);
    return len;
}

/** Increment the last code point that can be: the smallest text above all that begin with `prefix`.
 * 0: there is none. */
static size_t increment(char *prefix, size_t len)
{
    while (len > 0) {
        size_t start = len - 1;
        while (start > 0 && ((uint8_t)prefix[start] & 0xc0) == 0x80) {
            start--;
        }
        uint32_t point = decode(prefix + start, len - start);
        if (point < 0x10ffff) {
            point = point == 0xd7ff ? 0xe000 : point + 1; /* surrogates are no text */
            return start + encode(point, prefix + start);
        }
        len = start;
    }
    return 0;
}

static enum status bound_string(struct arena *arena, struct str text, bool upper, struct str *out,
                                bool *none_out, struct err *err)
{
    char prefix[CUT_CODE_POINTS * 4 + 4];
    size_t len = 0;
    for (size_t points = 0; points < CUT_CODE_POINTS && len < text.len; points++) {
        size_t one = code_point_len(str_skip(text, len));
        if (one == 0) {
            break; /* an engine cut it within a character */
        }
        len += one;
    }
    memcpy(prefix, text.ptr != NULL ? text.ptr : "", len);
    if (upper && len < text.len) {
        len = increment(prefix, len);
        *none_out = len == 0;
    }
    return *none_out ? OK : keep(arena, prefix, len, out, err);
}

/** Blobs as text: plain hex, or with each byte, or each unprintable one, as `\xNN`. */
static bool parse_blob(struct str text, struct buf *out)
{
    bool escapes = text.len > 0 && memchr(text.ptr, '\\', text.len) != NULL;
    while (text.len > 0) {
        uint8_t byte = 0;
        if (escapes && text.ptr[0] != '\\') {
            byte = (uint8_t)text.ptr[0];
            text = str_skip(text, 1);
        } else {
            struct str digits = str_take(str_skip(text, escapes ? 2 : 0), 2);
            if ((escapes && !str_starts(text, STR("\\x"))) || !hex_decode(digits, &byte, 1)) {
                return false;
            }
            text = str_skip(text, escapes ? 4 : 2);
        }
        if (buf_append_char(out, (char)byte) != OK) {
            return false;
        }
    }
    return true;
}

static enum status bound_binary(struct arena *arena, const struct ice_type *type, struct str text,
                                bool upper, struct str *out, bool *none_out, struct err *err)
{
    AUTO(buf_done) struct buf bytes;
    buf_init(&bytes, 0);
    if (!parse_blob(text, &bytes)) {
        return no_value("blob in hex", text, err);
    }
    size_t len = bytes.len;
    if (type->kind == ICE_BINARY && len > CUT_BYTES) {
        len = CUT_BYTES;
        while (upper && len > 0 && (uint8_t)bytes.ptr[len - 1] == 0xff) {
            len--;
        }
        if (upper && len == 0) {
            *none_out = true;
            return OK;
        }
        if (upper) {
            bytes.ptr[len - 1] = (char)((uint8_t)bytes.ptr[len - 1] + 1);
        }
    }
    return keep(arena, bytes.ptr != NULL ? bytes.ptr : "", len, out, err);
}

static enum status bound_uuid(struct arena *arena, struct str text, struct str *out,
                              struct err *err)
{
    char digits[32];
    uint8_t bytes[16];
    size_t len = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == '-') {
            continue;
        }
        if (len == sizeof(digits)) {
            return no_value("uuid", text, err);
        }
        digits[len++] = text.ptr[i];
    }
    if (len != sizeof(digits) || !hex_decode(str_from(digits, len), bytes, sizeof(bytes))) {
        return no_value("uuid", text, err);
    }
    return keep(arena, bytes, sizeof(bytes), out, err);
}

enum status ice_bound_from_text(struct arena *arena, const struct ice_type *type, struct str text,
                                bool upper, struct str *out, bool *none_out, struct err *err)
{
    struct str bound = { 0 };
    bool none = false;
    bool is_date = type->kind == ICE_DATE || type->kind == ICE_TIMESTAMP ||
                   type->kind == ICE_TIMESTAMPTZ;
    enum status status = OK;
    if (is_date && is_infinite_time(text)) {
        *none_out = true;
        return OK;
    }
    switch (type->kind) {
    case ICE_BOOLEAN:
        status = bound_boolean(arena, text, &bound, err);
        break;
    case ICE_INT:
    case ICE_LONG:
        status = bound_whole(arena, text, type->kind == ICE_INT, &bound, err);
        break;
    case ICE_FLOAT:
    case ICE_DOUBLE:
        status = bound_real(arena, text, type->kind == ICE_FLOAT, upper, &bound, &none, err);
        break;
    case ICE_DATE:
        status = bound_date(arena, text, &bound, err);
        break;
    case ICE_TIME:
        status = bound_time(arena, text, &bound, err);
        break;
    case ICE_TIMESTAMP:
    case ICE_TIMESTAMPTZ:
        status = bound_timestamp(arena, text, type->kind == ICE_TIMESTAMPTZ, &bound, err);
        break;
    case ICE_STRING:
        status = bound_string(arena, text, upper, &bound, &none, err);
        break;
    case ICE_UUID:
        status = bound_uuid(arena, text, &bound, err);
        break;
    case ICE_BINARY:
    case ICE_FIXED:
        status = bound_binary(arena, type, text, upper, &bound, &none, err);
        break;
    case ICE_DECIMAL:
        status = bound_decimal(arena, type, text, &bound, err);
        break;
    case ICE_STRUCT:
    case ICE_LIST:
    case ICE_MAP:
    case ICE_OTHER:
        none = true;
        break;
    }
    TRY(status);
    *none_out = none;
    if (!none) {
        *out = bound;
    }
    return OK;
}

/* ---- values of bounds ---- */

static enum status wrong_length(struct str bound, struct err *err)
{
    return err_set(err, E_CORRUPT, "a bound has %zu bytes, which its type does not allow",
                   bound.len);
}

/** A whole number of 4 or 8 bytes; the shorter form stands in files from before a column was
 * widened. */
static enum status get_whole(const struct ice_type *type, struct str bound, int64_t *out,
                             struct err *err)
{
    bool may_be_4 = type->kind == ICE_INT || type->kind == ICE_DATE || type->kind == ICE_LONG;
    bool may_be_8 = type->kind != ICE_INT && type->kind != ICE_DATE;
    if (bound.len == 4 && may_be_4) {
        *out = (int32_t)(uint32_t)get_le(bound);
        return OK;
    }
    if (bound.len == 8 && may_be_8) {
        *out = (int64_t)get_le(bound);
        return OK;
    }
    return wrong_length(bound, err);
}

static enum status get_real(const struct ice_type *type, struct str bound, double *out,
                            struct err *err)
{
    uint64_t bits = 0;
    if (bound.len == 4) {
        float single = 0;
        uint32_t half = (uint32_t)get_le(bound);
        memcpy(&single, &half, sizeof(single));
        *out = (double)single;
    } else if (bound.len == 8 && type->kind == ICE_DOUBLE) {
        bits = get_le(bound);
        memcpy(out, &bits, sizeof(*out));
    } else {
        return wrong_length(bound, err);
    }
    return isnan(*out) ? err_set(err, E_CORRUPT, "a bound is NaN, which orders nothing") : OK;
}

static enum status get_decimal(struct str bound, wide *out, struct err *err)
{
    unsigned __int128 value = 0;
    if (bound.len == 0 || bound.len > DECIMAL_BYTES) {
        return wrong_length(bound, err);
    }
    if ((uint8_t)bound.ptr[0] >= 0x80) {
        value = ~value;
    }
    for (size_t i = 0; i < bound.len; i++) {
        value = value << 8 | (uint8_t)bound.ptr[i];
    }
    *out = (wide)value;
    return OK;
}

static enum status compare_whole(const struct ice_type *type, struct str a, struct str b, int *out,
                                 struct err *err)
{
    int64_t x = 0;
    int64_t y = 0;
    TRY(get_whole(type, a, &x, err));
    TRY(get_whole(type, b, &y, err));
    *out = (x > y) - (x < y);
    return OK;
}

static enum status compare_real(const struct ice_type *type, struct str a, struct str b, int *out,
                                struct err *err)
{
    double x = 0;
    double y = 0;
    TRY(get_real(type, a, &x, err));
    TRY(get_real(type, b, &y, err));
    *out = (x > y) - (x < y);
    return OK;
}

static enum status compare_decimal(struct str a, struct str b, int *out, struct err *err)
{
    wide x = 0;
    wide y = 0;
    TRY(get_decimal(a, &x, err));
    TRY(get_decimal(b, &y, err));
    *out = (x > y) - (x < y);
    return OK;
}

enum status ice_bound_compare(const struct ice_type *type, struct str a, struct str b, int *out,
                              struct err *err)
{
    switch (type->kind) {
    case ICE_INT:
    case ICE_LONG:
    case ICE_DATE:
    case ICE_TIME:
    case ICE_TIMESTAMP:
    case ICE_TIMESTAMPTZ:
        return compare_whole(type, a, b, out, err);
    case ICE_FLOAT:
    case ICE_DOUBLE:
        return compare_real(type, a, b, out, err);
    case ICE_DECIMAL:
        return compare_decimal(a, b, out, err);
    case ICE_BOOLEAN:
        if (a.len != 1 || b.len != 1) {
            return wrong_length(a.len != 1 ? a : b, err);
        }
        *out = (a.ptr[0] != 0) - (b.ptr[0] != 0);
        return OK;
    case ICE_UUID:
        if (a.len != 16 || b.len != 16) {
            return wrong_length(a.len != 16 ? a : b, err);
        }
        *out = str_cmp(a, b);
        return OK;
    case ICE_STRING:
    case ICE_BINARY:
    case ICE_FIXED:
        *out = str_cmp(a, b);
        return OK;
    case ICE_STRUCT:
    case ICE_LIST:
    case ICE_MAP:
    case ICE_OTHER:
        break;
    }
    return err_set(err, E_UNSUPPORTED, "this type has no order");
}

/* ---- to text ---- */

static enum status print_real(bool narrow, double value, struct buf *out)
{
    if (isinf(value)) {
        return buf_append(out, value < 0 ? STR("-inf") : STR("inf"));
    }
    /* enough digits to come back the same */
    return buf_printf(out, "%.*g", narrow ? 9 : 17, value);
}

static enum status print_decimal(wide value, int32_t scale, struct buf *out)
{
    char digits[48];
    size_t at = sizeof(digits);
    unsigned __int128 rest = value < 0 ? -(unsigned __int128)value : (unsigned __int128)value;
    int32_t decimals = 0;
    do {
        if (decimals++ == scale && scale > 0) {
            digits[--at] = '.';
        }
        digits[--at] = (char)('0' + (int)(rest % 10));
        rest /= 10;
    } while (rest > 0 || decimals <= scale);
    if (value < 0) {
        digits[--at] = '-';
    }
    return buf_append_bytes(out, digits + at, sizeof(digits) - at);
}

static enum status print_bytes(struct str bytes, struct buf *out)
{
    for (size_t i = 0; i < bytes.len; i++) {
        TRY(buf_printf(out, "\\x%02X", (unsigned)(uint8_t)bytes.ptr[i]));
    }
    return OK;
}

static enum status print_uuid(struct str bytes, struct buf *out)
{
    static const size_t ends[] = { 4, 6, 8, 10, 16 };
    size_t from = 0;
    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        TRY(i > 0 ? buf_append_char(out, '-') : OK);
        TRY(hex_append(out, bytes.ptr + from, ends[i] - from));
        from = ends[i];
    }
    return OK;
}

static enum status print_bound(const struct ice_type *type, struct str bound, struct buf *out,
                               struct err *err)
{
    int64_t whole = 0;
    double real = 0;
    wide decimal = 0;
    switch (type->kind) {
    case ICE_BOOLEAN:
        return bound.len == 1 ? buf_append(out, bound.ptr[0] != 0 ? STR("true") : STR("false"))
                              : wrong_length(bound, err);
    case ICE_INT:
    case ICE_LONG:
        TRY(get_whole(type, bound, &whole, err));
        return buf_printf(out, "%lld", (long long)whole);
    case ICE_FLOAT:
    case ICE_DOUBLE:
        TRY(get_real(type, bound, &real, err));
        return print_real(bound.len == 4, real, out);
    case ICE_DATE:
        TRY(get_whole(type, bound, &whole, err));
        return calendar_print_date(whole, out);
    case ICE_TIME:
        TRY(get_whole(type, bound, &whole, err));
        return calendar_print_time(whole, out);
    case ICE_TIMESTAMP:
    case ICE_TIMESTAMPTZ:
        TRY(get_whole(type, bound, &whole, err));
        return calendar_print_timestamp(whole, type->kind == ICE_TIMESTAMPTZ, out);
    case ICE_DECIMAL:
        TRY(get_decimal(bound, &decimal, err));
        return print_decimal(decimal, type->scale, out);
    case ICE_STRING:
        return buf_append(out, bound);
    case ICE_UUID:
        return bound.len == 16 ? print_uuid(bound, out) : wrong_length(bound, err);
    case ICE_BINARY:
    case ICE_FIXED:
        return print_bytes(bound, out);
    case ICE_STRUCT:
    case ICE_LIST:
    case ICE_MAP:
    case ICE_OTHER:
        break;
    }
    return err_set(err, E_UNSUPPORTED, "this type has no bounds");
}

enum status ice_bound_print(const struct ice_type *type, struct str bound, struct buf *out,
                            struct err *err)
{
    size_t start = out->len;
    struct err local = { 0 };
    enum status status = print_bound(type, bound, out, &local);
    if (status == OK) {
        return OK;
    }
    out->len = start;
    return local.kind != OK ? err_set(err, status, "%s", local.msg)
                            : err_set(err, status, "a bound cannot be printed");
}
