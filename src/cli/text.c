/*
 * Text on a terminal: how many columns it takes, and what of it may be shown.
 *
 * The widths are the C library's, asked in the locale C.UTF-8 whatever the user's is: that one is
 * always there, and the text that servers send is UTF-8. Control characters and those that turn
 * the writing direction could move the cursor or forge a line, so a sign stands in for each.
 */
#include <locale.h>
#include <pthread.h>
#include <wchar.h>

#include "cli/cli_priv.h"

enum { REPLACEMENT = 0xfffd, CONTROL_PICTURES = 0x2400, DELETE_PICTURE = 0x2421 };

static pthread_once_t utf8_once = PTHREAD_ONCE_INIT;
static locale_t utf8_locale; /* 0: the system has none */

static void make_locale(void)
{
    utf8_locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
}

/** The code point at `text[*at]`, moving *at behind it; bytes that are no UTF-8 count one each. */
static uint32_t next_code_point(struct str text, size_t *at)
{
    unsigned char lead = (unsigned char)text.ptr[*at];
    size_t extra = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : lead >= 0xc0 ? 1 : 0;
    uint32_t code = extra == 3   ? lead & 7u
                    : extra == 2 ? lead & 15u
                    : extra == 1 ? lead & 31u
                                 : lead;
    *at += 1;
    while (extra-- > 0 && *at < text.len && ((unsigned char)text.ptr[*at] & 0xc0) == 0x80) {
        code = code << 6 | ((unsigned char)text.ptr[(*at)++] & 0x3fu);
    }
    return code;
}

/** What is shown for a code point: itself, or the sign that stands in for it. */
static uint32_t visible(uint32_t code)
{
    if (code < 0x20) {
        return CONTROL_PICTURES + code;
    }
    if (code == 0x7f) {
        return DELETE_PICTURE;
    }
    bool turns = (code >= 0x202a && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069);
    bool breaks = (code >= 0x80 && code <= 0x9f) || code == 0x2028 || code == 0x2029;
    return turns || breaks ? REPLACEMENT : code;
}

/** Two for East Asian wide characters and emoji, none for combining marks. The caller has chosen
 * the locale. A character younger than the C library counts one. */
static size_t code_point_width(uint32_t code)
{
    int width = code < 0x7f ? 1 : wcwidth((wchar_t)visible(code));
    return width < 0 ? 1 : (size_t)width;
}

/** Columns of `text`, but no more than its first `bytes_out` bytes that fit in `width_max`. */
static size_t walk(struct str text, size_t width_max, size_t *bytes_out)
{
    pthread_once(&utf8_once, make_locale);
    locale_t before = utf8_locale != (locale_t)0 ? uselocale(utf8_locale) : (locale_t)0;
    size_t used = 0, at = 0;
    while (at < text.len) {
        size_t next = at;
        size_t width = code_point_width(next_code_point(text, &next));
        if (width > width_max - used) {
            break;
        }
        used += width;
        at = next;
    }
    if (before != (locale_t)0) {
        uselocale(before);
    }
    *bytes_out = at;
    return used;
}

size_t cli_display_width(struct str text)
{
    size_t bytes;
    return walk(text, SIZE_MAX, &bytes);
}

struct str cli_fitting(struct str text, size_t width)
{
    size_t bytes;
    walk(text, width, &bytes);
    return str_take(text, bytes);
}

enum status cli_append_clean(struct buf *out, struct str text)
{
    for (size_t at = 0; at < text.len;) {
        size_t start = at;
        uint32_t code = next_code_point(text, &at), shown = visible(code);
        if (shown == code) {
            TRY(buf_append_bytes(out, text.ptr + start, at - start));
            continue;
        }
        char utf8[] = { (char)(0xe0 | shown >> 12), (char)(0x80 | (shown >> 6 & 0x3f)),
                        (char)(0x80 | (shown & 0x3f)) };
        TRY(buf_append_bytes(out, utf8, sizeof(utf8)));
    }
    return OK;
}
