/*
 * The scanner. Positions, not pointers, so that a fault can say where it stands.
 */
#include "api/body_scan.h"

#include "base/float_text.h"

static bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

char scan_peek(struct body_scan *scan)
{
    const char *text = scan->body.ptr;
    while (scan->at < scan->body.len && is_space(text[scan->at])) {
        scan->at++;
    }
    return scan->at < scan->body.len ? text[scan->at] : '\0';
}

bool scan_take(struct body_scan *scan, char c)
{
    if (scan_peek(scan) != c || scan->at == scan->body.len) {
        return false;
    }
    scan->at++;
    return true;
}

enum status scan_fail(struct body_scan *scan, const char *what)
{
    return err_set(scan->err, E_INVALID, "byte %zu: %s", scan->at, what);
}

enum status scan_end(struct body_scan *scan)
{
    (void)scan_peek(scan);
    return scan->at == scan->body.len ? OK : scan_fail(scan, "something stands behind the JSON");
}

/* --- strings --- */

/** The four hex digits at `text`; false when they are none. */
static bool hex4(const char *text, uint32_t *out)
{
    uint32_t value = 0;
    for (int i = 0; i < 4; i++) {
        char c = text[i];
        uint32_t digit = c >= '0' && c <= '9'   ? (uint32_t)(c - '0')
                         : c >= 'a' && c <= 'f' ? (uint32_t)(c - 'a' + 10)
                         : c >= 'A' && c <= 'F' ? (uint32_t)(c - 'A' + 10)
                                                : 16;
        if (digit == 16) {
            return false;
        }
        value = value * 16 + digit;
    }
    *out = value;
    return true;
}

static char *put_utf8(char *out, uint32_t code)
{
    if (code < 0x80) {
        *out++ = (char)code;
    } else if (code < 0x800) {
        *out++ = (char)(0xc0 | code >> 6);
        *out++ = (char)(0x80 | (code & 0x3f));
    } else if (code < 0x10000) {
        *out++ = (char)(0xe0 | code >> 12);
        *out++ = (char)(0x80 | (code >> 6 & 0x3f));
        *out++ = (char)(0x80 | (code & 0x3f));
    } else {
        *out++ = (char)(0xf0 | code >> 18);
        *out++ = (char)(0x80 | (code >> 12 & 0x3f));
        *out++ = (char)(0x80 | (code >> 6 & 0x3f));
        *out++ = (char)(0x80 | (code & 0x3f));
    }
    return out;
}

/** `uD83D\uDE00` or `u00e9` at *p, which moves behind it; false: it is none. */
static bool unescape_code(const char **p, const char *end, uint32_t *out)
{
    uint32_t low;
    if (end - *p < 5 || !hex4(*p + 1, out)) {
        return false;
    }
    *p += 5;
    if (*out < 0xd800 || *out > 0xdfff) {
        return true;
    }
    if (*out > 0xdbff || end - *p < 6 || (*p)[0] != '\\' || (*p)[1] != 'u' || !hex4(*p + 2, &low) ||
        low < 0xdc00 || low > 0xdfff) {
        return false;
    }
    *p += 6;
    *out = 0x10000 + ((*out - 0xd800) << 10) + (low - 0xdc00);
    return true;
}

/** What stands between the quotes, with its escapes undone; it never grows. */
static enum status unescape(struct body_scan *scan, struct str raw, struct str *out)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    char *text = arena_alloc(scan->arena, raw.len + 1), *to_at = text;
    const char *p = raw.ptr, *end = raw.ptr + raw.len;
    if (text == NULL) {
        return err_no_memory(scan->err);
    }
    while (p < end) {
        if (*p != '\\') {
            *to_at++ = *p++;
            continue;
        }
        p++; /* a backslash is never the last: the quote behind it would not have ended the text */
        const char *known = *p != '\0' ? strchr(from, *p) : NULL;
        uint32_t code;
        if (known != NULL) {
            *to_at++ = to[known - from];
            p++;
        } else if (*p == 'u' && unescape_code(&p, end, &code)) {
            to_at = put_utf8(to_at, code);
        } else {
            return scan_fail(scan, "a text has an escape that JSON does not know");
        }
    }
    *out = str_from(text, (size_t)(to_at - text));
    return OK;
}

enum status scan_string(struct body_scan *scan, struct str *out)
{
    if (!scan_take(scan, '"')) {
        return scan_fail(scan, "a text is expected");
    }
    const char *start = scan->body.ptr + scan->at, *end = scan->body.ptr + scan->body.len;
    const char *p = start;
    bool escaped = false;
    while (p < end && *p != '"' && (unsigned char)*p >= 0x20) {
        escaped = escaped || *p == '\\';
        p += *p == '\\' && p + 1 < end ? 2 : 1;
    }
    scan->at = (size_t)(p - scan->body.ptr);
    if (p >= end || *p != '"') {
        return scan_fail(scan, p >= end ? "a text does not end"
                                        : "a text has a control character: escape it");
    }
    scan->at++;
    *out = str_from(start, (size_t)(p - start));
    if (!str_is_utf8(*out)) {
        return scan_fail(scan, "a text is not UTF-8");
    }
    return escaped ? unescape(scan, *out, out) : OK;
}

/* --- numbers and words --- */

static bool is_number_char(char c)
{
    return (c >= '0' && c <= '9') || c == '-' || c == '+' || c == '.' || c == 'e' || c == 'E';
}

/** The characters of a number, taken. */
static struct str number_text(struct body_scan *scan)
{
    (void)scan_peek(scan);
    size_t start = scan->at;
    while (scan->at < scan->body.len && is_number_char(scan->body.ptr[scan->at])) {
        scan->at++;
    }
    return str_from(scan->body.ptr + start, scan->at - start);
}

enum status scan_u32(struct body_scan *scan, uint32_t max, uint32_t *out)
{
    uint64_t value;
    struct str text = number_text(scan);
    if (!str_to_u64(text, &value) || value > max || (text.len > 1 && text.ptr[0] == '0')) {
        return err_set(scan->err, E_INVALID, "byte %zu: a whole number from 0 to %u is expected",
                       scan->at, max);
    }
    *out = (uint32_t)value;
    return OK;
}

enum status scan_double(struct body_scan *scan, double *out)
{
    float near;
    double value;
    struct str text = number_text(scan);
    /* a float's reader knows the grammar */
    if (text.len == 0 || float_text_read(text, &near) != text.len || !str_to_double(text, &value)) {
        return scan_fail(scan, "a number is expected");
    }
    *out = value;
    return OK;
}

static bool take_word(struct body_scan *scan, struct str word)
{
    (void)scan_peek(scan);
    if (!str_starts(str_skip(scan->body, scan->at), word)) {
        return false;
    }
    scan->at += word.len;
    return true;
}

enum status scan_bool(struct body_scan *scan, bool *out)
{
    bool yes = take_word(scan, STR("true"));
    if (!yes && !take_word(scan, STR("false"))) {
        return scan_fail(scan, "true or false is expected");
    }
    *out = yes;
    return OK;
}

enum status scan_floats(struct body_scan *scan, float *out, size_t count_max, size_t *count_out)
{
    if (!scan_take(scan, '[')) {
        return scan_fail(scan, "an array of numbers is expected");
    }
    size_t count = 0;
    if (scan_take(scan, ']')) {
        *count_out = 0;
        return OK;
    }
    const char *text = scan->body.ptr;
    size_t at = scan->at, len = scan->body.len;
    for (;;) {
        count += count < count_max
                     ? float_text_read_many(scan->body, &at, out + count, count_max - count)
                     : 0;
        while (at < len && is_space(text[at])) {
            at++;
        }
        float value;
        size_t taken = at < len ? float_text_read(str_from(text + at, len - at), &value) : 0;
        scan->at = at += taken;
        if (taken == 0) {
            return scan_fail(scan, "a number is expected, one that a float can hold");
        }
        if (count < count_max) {
            out[count] = value;
        }
        count++;
        if (at < len && text[at] == ',') {
            at++;
            continue;
        }
        scan->at = at;
        if (scan_take(scan, ',')) {
            at = scan->at;
            continue;
        }
        break;
    }
    if (!scan_take(scan, ']')) {
        return scan_fail(scan, "\",\" or \"]\" is expected");
    }
    *count_out = count;
    return OK;
}

/* --- any value --- */

/** Behind the string that begins at `at`; the end of the body when it does not end. */
static size_t string_end(struct str body, size_t at)
{
    for (at++; at < body.len && body.ptr[at] != '"'; at++) {
        at += body.ptr[at] == '\\';
    }
    return at + 1;
}

enum status scan_raw(struct body_scan *scan, struct str *out)
{
    (void)scan_peek(scan);
    size_t start = scan->at, at = start, depth = 0, len = scan->body.len;
    while (at < len) {
        char c = scan->body.ptr[at];
        if (c == '"') {
            at = string_end(scan->body, at);
        } else if (c == '{' || c == '[') {
            depth++;
            at++;
        } else if (depth == 0 && (c == ',' || c == '}' || c == ']' || is_space(c))) {
            break;
        } else {
            depth -= c == '}' || c == ']';
            at++;
        }
        if (depth == 0 && (c == '"' || c == '}' || c == ']')) {
            break;
        }
    }
    if (at > len || depth > 0 || at == start) {
        return scan_fail(scan, at == start ? "a value is expected" : "a value does not end");
    }
    scan->at = at;
    *out = str_from(scan->body.ptr + start, at - start);
    return OK;
}

/* --- objects and arrays --- */

const char *scan_nearest(struct str unknown, const char *const *names, size_t count)
{
    const char *best = NULL;
    size_t best_distance = unknown.len < 3 ? 2 : 3; /* two letters off is still a typing error */
    for (size_t i = 0; i < count; i++) {
        size_t distance = str_distance(unknown, str_of(names[i]));
        if (distance < best_distance) {
            best = names[i];
            best_distance = distance;
        }
    }
    return best;
}

enum status scan_unknown(struct str unknown, const char *const *names, size_t count,
                         struct err *err)
{
    const char *near = scan_nearest(unknown, names, count);
    return err_set(err, E_INVALID, "unknown field \"%.*s\"%s%s%s", STR_ARG(str_take(unknown, 100)),
                   near != NULL ? ", did you mean \"" : "", near != NULL ? near : "",
                   near != NULL ? "\"?" : "");
}

static enum status unknown_field(struct body_scan *scan, struct str name,
                                 const struct scan_field *fields, size_t count)
{
    const char *names[SCAN_FIELDS_MAX];
    for (size_t i = 0; i < count; i++) {
        names[i] = fields[i].name;
    }
    return scan_unknown(name, names, count, scan->err);
}

static enum status read_field(struct body_scan *scan, const struct scan_field *fields, size_t count,
                              uint32_t *seen, void *ctx)
{
    struct str name;
    size_t i = 0;
    TRY(scan_string(scan, &name));
    if (!scan_take(scan, ':')) {
        return scan_fail(scan, "\":\" is expected");
    }
    while (i < count && !str_eq(name, str_of(fields[i].name))) {
        i++;
    }
    if (i == count) {
        return unknown_field(scan, name, fields, count);
    }
    if (*seen & 1u << i) {
        return err_set(scan->err, E_INVALID, "byte %zu: \"%s\" stands there twice", scan->at,
                       fields[i].name);
    }
    *seen |= 1u << i;
    if (take_word(scan, STR("null"))) {
        return OK;
    }
    if (fields[i].read(scan, ctx) == OK) {
        return OK;
    }
    return err_context(scan->err, "\"%s\"", fields[i].name);
}

enum status scan_object(struct body_scan *scan, const struct scan_field *fields, size_t count,
                        void *ctx)
{
    uint32_t seen = 0;
    assert(count <= SCAN_FIELDS_MAX);
    if (!scan_take(scan, '{')) {
        return scan_fail(scan, "an object is expected");
    }
    if (scan_take(scan, '}')) {
        return OK;
    }
    do {
        TRY(read_field(scan, fields, count, &seen, ctx));
    } while (scan_take(scan, ','));
    return scan_take(scan, '}') ? OK : scan_fail(scan, "\",\" or \"}\" is expected");
}

enum status scan_array(struct body_scan *scan,
                       enum status (*read)(struct body_scan *scan, void *ctx), void *ctx)
{
    if (!scan_take(scan, '[')) {
        return scan_fail(scan, "an array is expected");
    }
    if (scan_take(scan, ']')) {
        return OK;
    }
    do {
        TRY(read(scan, ctx));
    } while (scan_take(scan, ','));
    return scan_take(scan, ']') ? OK : scan_fail(scan, "\",\" or \"]\" is expected");
}
