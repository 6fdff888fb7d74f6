/*
 * Text forms of bytes. Decoders are strict: what they accept has exactly one meaning.
 */
#include "base/encode.h"

static const char hex_lower[] = "0123456789abcdef";
static const char hex_upper[] = "0123456789ABCDEF";
static const char base64_digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static int hex_value(char c);
static int base64_value(char c);
static bool decode_quad(const char *quad, bool last, uint8_t out[3], size_t *len_out);
static bool is_unreserved(char c);

enum status hex_append(struct buf *out, const void *bytes, size_t len)
{
    if (len > SIZE_MAX / 2) {
        return E_TOO_LARGE;
    }
    size_t start = out->len;
    const uint8_t *p = bytes;
    for (size_t i = 0; i < len; i++) {
        char pair[2] = { hex_lower[p[i] >> 4], hex_lower[p[i] & 15] };
        enum status status = buf_append_bytes(out, pair, 2);
        if (status != OK) {
            out->len = start;
            return status;
        }
    }
    return OK;
}

bool hex_decode(struct str text, uint8_t *out, size_t len)
{
    if (text.len % 2 != 0 || text.len / 2 != len) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        if (hex_value(text.ptr[i]) < 0) {
            return false;
        }
    }
    for (size_t i = 0; i < len; i++) {
        out[i] = (uint8_t)(hex_value(text.ptr[2 * i]) << 4 | hex_value(text.ptr[2 * i + 1]));
    }
    return true;
}

enum status base64_append(struct buf *out, const void *bytes, size_t len)
{
    size_t start = out->len;
    const uint8_t *p = bytes;
    for (size_t i = 0; i < len; i += 3) {
        size_t have = len - i < 3 ? len - i : 3;
        uint32_t bits = (uint32_t)p[i] << 16;
        bits |= have > 1 ? (uint32_t)p[i + 1] << 8 : 0;
        bits |= have > 2 ? (uint32_t)p[i + 2] : 0;
        char quad[4] = { base64_digits[bits >> 18], base64_digits[bits >> 12 & 63],
                         have > 1 ? base64_digits[bits >> 6 & 63] : '=',
                         have > 2 ? base64_digits[bits & 63] : '=' };
        enum status status = buf_append_bytes(out, quad, sizeof(quad));
        if (status != OK) {
            out->len = start;
            return status;
        }
    }
    return OK;
}

enum status base64_decode(struct str text, struct buf *out)
{
    size_t start = out->len;
    enum status status = text.len % 4 == 0 ? OK : E_INVALID;
    for (size_t i = 0; status == OK && i < text.len; i += 4) {
        uint8_t bytes[3];
        size_t len;
        if (!decode_quad(text.ptr + i, i + 4 == text.len, bytes, &len)) {
            status = E_INVALID;
        } else {
            status = buf_append_bytes(out, bytes, len);
        }
    }
    if (status != OK) {
        out->len = start;
    }
    return status;
}

enum status percent_append(struct buf *out, struct str raw, const char *keep)
{
    struct str kept = str_of(keep);
    size_t start = out->len;
    for (size_t i = 0; i < raw.len; i++) {
        unsigned char c = (unsigned char)raw.ptr[i];
        char escape[3] = { '%', hex_upper[c >> 4], hex_upper[c & 15] };
        bool stays = is_unreserved(raw.ptr[i]) || str_find_char(kept, raw.ptr[i]) != SIZE_MAX;
        enum status status = stays ? buf_append_char(out, raw.ptr[i])
                                   : buf_append_bytes(out, escape, sizeof(escape));
        if (status != OK) {
            out->len = start;
            return status;
        }
    }
    return OK;
}

enum status percent_decode(struct arena *arena, struct str text, bool plus_is_space,
                           struct str *out, struct err *err)
{
    char *decoded = arena_alloc(arena, text.len > 0 ? text.len : 1);
    if (decoded == NULL) {
        return err_no_memory(err);
    }
    size_t len = 0;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c == '%') {
            int high = i + 1 < text.len ? hex_value(text.ptr[i + 1]) : -1;
            int low = i + 2 < text.len ? hex_value(text.ptr[i + 2]) : -1;
            if (high < 0 || low < 0) {
                return err_set(err, E_INVALID, "broken percent escape at byte %zu", i);
            }
            c = (char)(high << 4 | low);
            i += 2;
        } else if (c == '+' && plus_is_space) {
            c = ' ';
        }
        decoded[len++] = c;
    }
    *out = str_from(decoded, len);
    return OK;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    if (c >= 'A' && c <= 'F') {
        return c - 'A' + 10;
    }
    return -1;
}

static int base64_value(char c)
{
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }
    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }
    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/** Four digits to three bytes; padding only in the `last` group, and its unused bits are zero. */
static bool decode_quad(const char *quad, bool last, uint8_t out[3], size_t *len_out)
{
    size_t digits = 4;
    while (last && digits > 2 && quad[digits - 1] == '=') {
        digits--;
    }
    uint32_t bits = 0;
    for (size_t i = 0; i < 4; i++) {
        int value = i < digits ? base64_value(quad[i]) : 0;
        if (value < 0) {
            return false;
        }
        bits = bits << 6 | (uint32_t)value;
    }
    uint32_t unused = digits == 2 ? bits & 0xFFFF : digits == 3 ? bits & 0xFF : 0;
    if (unused != 0) {
        return false;
    }
    out[0] = (uint8_t)(bits >> 16);
    out[1] = (uint8_t)(bits >> 8);
    out[2] = (uint8_t)bits;
    *len_out = digits - 1;
    return true;
}

/** RFC 3986, section 2.3. */
static bool is_unreserved(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_' || c == '~';
}
