/*
 * A statement's end, found as DuckDB's own scanner finds it: strings ('' doubles, E'' has
 * backslashes, $tag$ ... $tag$), quoted names, comments to the end of the line, and nested ones.
 */
#include "cli/statement.h"

bool cli_is_name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           (unsigned char)c >= 0x80;
}

/** Behind the closing quote of what opens at `at`; SIZE_MAX when it does not close. */
static size_t skip_quoted(struct str text, size_t at, bool backslashes)
{
    char quote = text.ptr[at];
    for (size_t i = at + 1; i < text.len; i++) {
        if (backslashes && text.ptr[i] == '\\') {
            i++;
        } else if (text.ptr[i] == quote) {
            if (i + 1 < text.len && text.ptr[i + 1] == quote) {
                i++; /* doubled: it stands for itself */
                continue;
            }
            return i + 1;
        }
    }
    return SIZE_MAX;
}

static size_t skip_line(struct str text, size_t at)
{
    size_t found = str_find_char(str_skip(text, at), '\n');
    return found == SIZE_MAX ? SIZE_MAX : at + found + 1;
}

static size_t skip_block(struct str text, size_t at)
{
    size_t depth = 1;
    for (size_t i = at + 2; i + 1 < text.len; i++) {
        if (text.ptr[i] == '/' && text.ptr[i + 1] == '*') {
            depth++;
            i++;
        } else if (text.ptr[i] == '*' && text.ptr[i + 1] == '/') {
            i++;
            if (--depth == 0) {
                return i + 1;
            }
        }
    }
    return SIZE_MAX;
}

/** Length of the `$tag$` at `at`; 0 when it is none ($1 is a parameter). */
static size_t dollar_tag(struct str text, size_t at)
{
    size_t i = at + 1;
    while (i < text.len && cli_is_name_char(text.ptr[i])) {
        i++;
    }
    bool digit = i > at + 1 && text.ptr[at + 1] >= '0' && text.ptr[at + 1] <= '9';
    return i < text.len && text.ptr[i] == '$' && !digit ? i + 1 - at : 0;
}

static size_t skip_dollars(struct str text, size_t at, size_t tag_len)
{
    size_t found = str_find(str_skip(text, at + tag_len), str_from(text.ptr + at, tag_len));
    return found == SIZE_MAX ? SIZE_MAX : at + tag_len + found + tag_len;
}

static bool two(struct str text, size_t at, const char *signs)
{
    return at + 1 < text.len && text.ptr[at] == signs[0] && text.ptr[at + 1] == signs[1];
}

/** E'...': the letter stands alone before the quote. */
static bool is_escape_string(struct str text, size_t quote)
{
    return quote > 0 && (text.ptr[quote - 1] == 'E' || text.ptr[quote - 1] == 'e') &&
           (quote == 1 || !cli_is_name_char(text.ptr[quote - 2]));
}

/** Behind what begins at `at`; the place is that of a thing that does not end. */
static size_t skip_thing(struct str text, size_t at, enum cli_place *place, bool *code)
{
    char c = text.ptr[at];
    size_t tag = c == '$' && (at == 0 || !cli_is_name_char(text.ptr[at - 1])) ? dollar_tag(text, at)
                                                                              : 0;
    *code = true;
    *place = CLI_IN_TEXT;
    if (c == '\'') {
        return skip_quoted(text, at, is_escape_string(text, at));
    }
    if (tag > 0) {
        return skip_dollars(text, at, tag);
    }
    if (c == '"') {
        *place = CLI_IN_NAME;
        return skip_quoted(text, at, false);
    }
    *code = false;
    if (two(text, at, "--")) {
        return skip_line(text, at);
    }
    if (two(text, at, "/*")) {
        return skip_block(text, at);
    }
    *code = c != ' ' && c != '\t' && c != '\n' && c != '\r';
    return at + 1;
}

void cli_statement_scan(struct str text, struct cli_scan *out)
{
    *out = (struct cli_scan){ .end = SIZE_MAX, .place = CLI_IN_CODE, .blank = true };
    for (size_t at = 0; at < text.len;) {
        enum cli_place place;
        bool code;
        if (text.ptr[at] == ';') {
            out->end = at + 1;
            return;
        }
        size_t next = skip_thing(text, at, &place, &code);
        out->blank = out->blank && !code;
        if (next == SIZE_MAX) {
            out->place = place;
            out->place_start = at;
            return;
        }
        at = next;
    }
}

static bool is_plain(struct str name)
{
    bool plain = name.len > 0 && !(name.ptr[0] >= '0' && name.ptr[0] <= '9');
    for (size_t i = 0; i < name.len && plain; i++) {
        plain = cli_is_name_char(name.ptr[i]) && (unsigned char)name.ptr[i] < 0x80;
    }
    return plain;
}

static enum status append_part(struct buf *out, struct str name)
{
    if (is_plain(name)) {
        return buf_append(out, name);
    }
    TRY(buf_append_char(out, '"'));
    for (size_t i = 0; i < name.len; i++) {
        TRY(name.ptr[i] == '"' ? buf_append_char(out, '"') : OK);
        TRY(buf_append_char(out, name.ptr[i]));
    }
    return buf_append_char(out, '"');
}

enum status cli_append_name(struct buf *out, struct str name, bool dotted)
{
    if (!dotted) {
        return append_part(out, name);
    }
    for (bool first = true; name.ptr != NULL; first = false) {
        struct str part = str_split(&name, '.');
        TRY(first ? OK : buf_append_char(out, '.'));
        TRY(append_part(out, part));
    }
    return OK;
}
