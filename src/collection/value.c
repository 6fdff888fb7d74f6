/*
 * Walking canonical JSON text, and numbers in one form.
 *
 *   9007199254740993  ->  high 9007199254740992.0, low 1
 *   -0.5              ->  high -0.5,               low 0
 *
 * Both are ordered by high, then low, because high is the greatest double that is not above the
 * number. A whole number of 64 bits is less than 2^11 above it.
 */
#include "collection/value.h"

#include <stdlib.h>

enum { DOUBLE_BITS = 53 };

enum value_kind value_kind(const char *at)
{
    switch (at != NULL ? *at : '\0') {
    case '\0':
        return VALUE_MISSING;
    case 'n':
        return VALUE_NULL;
    case 'f':
        return VALUE_FALSE;
    case 't':
        return VALUE_TRUE;
    case '"':
        return VALUE_STRING;
    case '[':
        return VALUE_ARRAY;
    case '{':
        return VALUE_OBJECT;
    default:
        return VALUE_NUMBER;
    }
}

/** Behind the closing quote; `at` is behind the opening one. */
static const char *string_end(const char *at)
{
    for (;; at++) {
        if (*at == '"') {
            return at + 1;
        }
        if (*at == '\\') {
            at++;
        }
    }
}

static const char *container_end(const char *at)
{
    unsigned depth = 0;
    for (;;) {
        switch (*at++) {
        case '"':
            at = string_end(at);
            break;
        case '[':
        case '{':
            depth++;
            break;
        case ']':
        case '}':
            if (--depth == 0) {
                return at;
            }
            break;
        default:
            break;
        }
    }
}

const char *value_skip(const char *at)
{
    if (*at == '"') {
        return string_end(at + 1);
    }
    if (*at == '[' || *at == '{') {
        return container_end(at);
    }
    while (*at != ',' && *at != ']' && *at != '}' && *at != '\0') {
        at++;
    }
    return at;
}

/* --- numbers --- */

static uint64_t sortable(double value)
{
    uint64_t bits;
    value = value == 0 ? 0 : value; /* -0.0 is 0 */
    memcpy(&bits, &value, sizeof(bits));
    return bits >> 63 != 0 ? ~bits : bits | (uint64_t)1 << 63;
}

static struct number from_integer(uint64_t size, bool negative)
{
    uint64_t low = 0;
    if (size >> DOUBLE_BITS != 0) {
        uint64_t unit = (uint64_t)1 << (64 - __builtin_clzll(size) - DOUBLE_BITS);
        low = size & (unit - 1);
        size -= low;
        if (negative && low != 0) { /* the double below is the one further from 0 */
            return (struct number){ sortable(-((double)size + (double)unit)),
                                    (uint16_t)(unit - low) };
        }
    }
    double high = negative ? -(double)size : (double)size;
    return (struct number){ sortable(high), (uint16_t)low };
}

struct number value_number(const char *at)
{
    const char *digit = at;
    bool negative = *digit == '-';
    uint64_t size = 0;
    bool fits = true;
    digit += negative;
    for (; *digit >= '0' && *digit <= '9'; digit++) {
        fits = fits && !__builtin_mul_overflow(size, (uint64_t)10, &size) &&
               !__builtin_add_overflow(size, (uint64_t)(*digit - '0'), &size);
    }
    bool whole = *digit != '.' && *digit != 'e' && *digit != 'E';
    if (whole && fits && (!negative || size <= (uint64_t)1 << 63)) {
        return from_integer(size, negative);
    }
    return (struct number){ sortable(strtod(at, NULL)), 0 };
}

int number_cmp(struct number a, struct number b)
{
    if (a.high != b.high) {
        return a.high < b.high ? -1 : 1;
    }
    return (a.low > b.low) - (a.low < b.low);
}

/* --- strings --- */

struct str value_string(const char *at)
{
    return str_from(at + 1, (size_t)(string_end(at + 1) - at) - 2);
}

static unsigned hex(char c)
{
    return c <= '9' ? (unsigned)(c - '0') : (unsigned)((c | 0x20) - 'a' + 10);
}

/** One byte of a string without its escapes; canonical text has \u only for control bytes. */
static char next_byte(const char **at)
{
    char c = *(*at)++;
    if (c != '\\') {
        return c;
    }
    c = *(*at)++;
    switch (c) {
    case 'b':
        return '\b';
    case 'f':
        return '\f';
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    case 'u':
        *at += 4;
        return (char)(hex((*at)[-2]) << 4 | hex((*at)[-1]));
    default:
        return c;
    }
}

size_t value_unescape(struct str raw, char *out, size_t room, bool *cut_out)
{
    size_t len = 0;
    const char *at = raw.ptr;
    const char *end = raw.ptr + raw.len;
    while (at < end && len < room) {
        out[len++] = next_byte(&at);
    }
    *cut_out = at < end;
    return len;
}

int value_string_cmp(struct str raw, struct str plain)
{
    if (raw.len == 0 || memchr(raw.ptr, '\\', raw.len) == NULL) {
        return str_cmp(raw, plain);
    }
    const char *at = raw.ptr;
    const char *end = raw.ptr + raw.len;
    for (size_t i = 0; i < plain.len; i++) {
        if (at == end) {
            return -1;
        }
        unsigned char a = (unsigned char)next_byte(&at);
        unsigned char b = (unsigned char)plain.ptr[i];
        if (a != b) {
            return a < b ? -1 : 1;
        }
    }
    return at < end;
}

/* --- members --- */

static bool at_end(const char *at)
{
    return *at == ']' || *at == '}';
}

const char *value_next_item(const char **at)
{
    if (at_end(*at) || at_end(*at + 1)) { /* behind the last one, or there is none */
        return NULL;
    }
    const char *value = *at + 1; /* behind the bracket or the comma */
    *at = value_skip(value);
    return value;
}

const char *value_next_member(const char **at, struct str *key_out)
{
    if (at_end(*at) || at_end(*at + 1)) {
        return NULL;
    }
    *key_out = value_string(*at + 1);
    const char *value = key_out->ptr + key_out->len + 2; /* the quote and the colon */
    *at = value_skip(value);
    return value;
}

static bool array_equal(const char *a, const char *b)
{
    for (;;) {
        const char *x = value_next_item(&a);
        const char *y = value_next_item(&b);
        if (x == NULL || y == NULL) {
            return x == y;
        }
        if (!value_equal(x, y)) {
            return false;
        }
    }
}

const char *value_member(const char *object, struct str key)
{
    struct str name;
    for (const char *value; (value = value_next_member(&object, &name)) != NULL;) {
        if (str_eq(name, key)) {
            return value;
        }
    }
    return NULL;
}

static bool object_equal(const char *a, const char *b)
{
    struct str name;
    size_t count = 0;
    const char *value;
    for (const char *at = b; value_next_member(&at, &name) != NULL;) {
        count++;
    }
    while ((value = value_next_member(&a, &name)) != NULL) {
        const char *other = count-- > 0 ? value_member(b, name) : NULL;
        if (other == NULL || !value_equal(value, other)) {
            return false;
        }
    }
    return count == 0;
}

bool value_equal(const char *a, const char *b)
{
    enum value_kind kind = value_kind(a);
    if (kind != value_kind(b)) {
        return false;
    }
    switch (kind) {
    case VALUE_NUMBER:
        return number_cmp(value_number(a), value_number(b)) == 0;
    case VALUE_STRING:
        return str_eq(value_string(a), value_string(b));
    case VALUE_ARRAY:
        return array_equal(a, b);
    case VALUE_OBJECT:
        return object_equal(a, b);
    case VALUE_MISSING:
    case VALUE_NULL:
    case VALUE_FALSE:
    case VALUE_TRUE:
        break;
    }
    return true;
}

enum status value_write(yyjson_val *value, struct buf *out)
{
    struct json_writer writer;
    json_writer_init(&writer, out);
    jw_val(&writer, value);
    return json_writer_end(&writer);
}
