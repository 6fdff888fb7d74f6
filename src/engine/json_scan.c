/*
 * In a window over the file the next record is cut out (a line, or from a bracket to the one that
 * closes it), parsed by yyjson, and shown to the shape.
 */
#include "engine/json_scan.h"

#include "engine/window.h"

struct scan {
    const struct json_scan_opts *opts;
    struct json_shape *shape;
    struct window w;
    uint64_t line; /* of `start`, from 1 */
    struct json_scan result;
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/** Consume white space. *found_out: the character behind it, -1 at the end of the file. */
static enum status skip_blanks(struct scan *s, int *found_out, struct err *err)
{
    for (;;) {
        for (; s->w.start < s->w.end && is_blank(s->w.bytes[s->w.start]); s->w.start++) {
            s->line += s->w.bytes[s->w.start] == '\n';
        }
        if (s->w.start < s->w.end || s->w.at_end) {
            break;
        }
        TRY(window_fill(&s->w, err));
    }
    *found_out = s->w.start < s->w.end ? (unsigned char)s->w.bytes[s->w.start] : -1;
    return OK;
}

static void consume(struct scan *s, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        s->line += s->w.bytes[s->w.start + i] == '\n';
    }
    s->w.start += len;
}

static enum status too_long(const struct scan *s, struct err *err)
{
    return err_set(err, E_INVALID, "line %llu: longer than %llu bytes (ingestd.max_line_bytes)",
                   (unsigned long long)s->line, (unsigned long long)s->opts->record_bytes_max);
}

/* --- a record --- */

/** How deep the brackets of a well-formed text go. */
static unsigned depth_of(struct str text)
{
    unsigned depth = 0, deepest = 0;
    bool quoted = false;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c == '"') {
            quoted = !quoted;
        } else if (quoted) {
            i += c == '\\';
        } else if (c == '{' || c == '[') {
            depth++;
            deepest = depth > deepest ? depth : deepest;
        } else if (c == '}' || c == ']') {
            depth--;
        }
    }
    return deepest;
}

/** Parse and note one record; the message has no line yet. *fault_at_out: where in it. */
static enum status take_record(struct scan *s, struct str text, size_t *fault_at_out,
                               struct err *err)
{
    yyjson_read_err fault;
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    *fault_at_out = 0;
    /* without the IN SITU flag the text is only read; the cast is the library's signature */
    doc = yyjson_read_opts((char *)text.ptr, text.len, YYJSON_READ_BIGNUM_AS_RAW, NULL, &fault);
    if (doc == NULL && fault.code == YYJSON_READ_ERROR_MEMORY_ALLOCATION) {
        return err_no_memory(err);
    }
    if (doc == NULL) {
        *fault_at_out = fault.pos;
        return str_is_utf8(text) ? err_set(err, E_INVALID, "malformed JSON: %s", fault.msg)
                                 : err_set(err, E_INVALID, "malformed JSON: not valid UTF-8");
    }
    if (depth_of(text) > JSON_DEPTH_MAX) {
        return err_set(err, E_INVALID, "nested deeper than %d", JSON_DEPTH_MAX);
    }
    TRY(json_shape_note(s->shape, yyjson_doc_get_root(doc), err));
    s->result.record_count++;
    return OK;
}

/** The error with its line in front; a fault inside a record may be some lines down. */
static enum status with_line(const struct scan *s, struct str text, size_t fault_at,
                             enum status status, struct err *err)
{
    uint64_t line = s->line;
    if (status != E_INVALID || err == NULL) {
        return status;
    }
    for (size_t i = 0; i < fault_at && i < text.len; i++) {
        line += text.ptr[i] == '\n';
    }
    struct err why = *err;
    return err_set(err, E_INVALID, "line %llu: %s", (unsigned long long)line, why.msg);
}

/* --- a record a line --- */

/** The next line without its end; *whole_out false: it is longer than a record may be, and `line`
 * is only its beginning. */
static enum status next_line(struct scan *s, struct str *line, bool *whole_out, struct err *err)
{
    size_t looked = 0;
    for (;;) {
        size_t have = s->w.end - s->w.start;
        const char *from = s->w.bytes + s->w.start;
        const char *end = have > looked ? memchr(from + looked, '\n', have - looked) : NULL;
        size_t len = end != NULL ? (size_t)(end - from) : have;
        looked = have;
        *line = str_from(from, len);
        *whole_out = len <= s->opts->record_bytes_max;
        if (end != NULL || s->w.at_end || !*whole_out) {
            return OK;
        }
        TRY(window_fill(&s->w, err));
    }
}

/** Drop the rest of a line that is too long; its length in all. */
static enum status drop_line(struct scan *s, uint64_t *len_out, struct err *err)
{
    uint64_t begin = s->w.offset + s->w.start;
    for (;;) {
        char *end = memchr(s->w.bytes + s->w.start, '\n', s->w.end - s->w.start);
        s->w.start = end != NULL ? (size_t)(end - s->w.bytes) : s->w.end;
        if (end != NULL || s->w.at_end) {
            *len_out = s->w.offset + s->w.start - begin;
            return OK;
        }
        TRY(window_fill(&s->w, err));
    }
}

static enum status bad_line(struct scan *s, enum status status, struct str line, bool whole,
                            const struct err *why, struct err *err)
{
    uint64_t offset = s->w.offset + s->w.start, len = line.len;
    if (status != E_INVALID || s->opts->bad == NULL) {
        if (err != NULL) {
            *err = *why;
        }
        return whole ? with_line(s, STR_EMPTY, 0, status, err) : status;
    }
    if (!whole) {
        TRY(drop_line(s, &len, err));
    }
    return s->opts->bad(s->opts->ctx, s->line, offset, len, str_of(why->msg), err);
}

static enum status scan_lines(struct scan *s, struct err *err)
{
    for (;;) {
        struct str line;
        struct err why = { 0 };
        bool whole;
        size_t fault_at;
        TRY(next_line(s, &line, &whole, err));
        if (line.len == 0 && s->w.at_end && s->w.start == s->w.end) {
            return OK;
        }
        enum status status = OK;
        if (!whole) {
            status = too_long(s, &why);
        } else if (str_trim(line).len > 0) {
            status = take_record(s, line, &fault_at, &why);
        }
        if (status != OK) {
            TRY(bad_line(s, status, line, whole, &why, err));
        } else if (s->opts->good != NULL && str_trim(line).len > 0) {
            TRY(s->opts->good(s->opts->ctx, s->line, str_trim(line), err));
        }
        if (whole) {
            s->w.start += line.len;
        }
        if (s->w.start < s->w.end) { /* the line's end */
            s->w.start++;
            s->line++;
        }
    }
}

/* --- records between brackets --- */

/** Finds the end of a record that begins with a bracket; can go on when more bytes have come. */
struct cutter {
    size_t at;
    unsigned depth;
    bool quoted, escaped;
};

/** True when the closing bracket stands before cutter->at. */
static bool cut(struct cutter *cutter, struct str text)
{
    for (; cutter->at < text.len; cutter->at++) {
        char c = text.ptr[cutter->at];
        if (cutter->escaped) {
            cutter->escaped = false;
        } else if (cutter->quoted) {
            cutter->escaped = c == '\\';
            cutter->quoted = c != '"';
        } else if (c == '"') {
            cutter->quoted = true;
        } else if (c == '{' || c == '[') {
            cutter->depth++;
        } else if ((c == '}' || c == ']') && --cutter->depth == 0) {
            cutter->at++;
            return true;
        }
    }
    return false;
}

/** The record at `start`, which begins with a brace: taken and consumed. */
static enum status take_braced(struct scan *s, struct err *err)
{
    struct cutter cutter = { 0 };
    size_t fault_at = 0;
    while (!cut(&cutter, str_from(s->w.bytes + s->w.start, s->w.end - s->w.start))) {
        if (s->w.end - s->w.start > s->opts->record_bytes_max) {
            return too_long(s, err);
        }
        if (s->w.at_end) {
            return err_set(err, E_INVALID, "line %llu: malformed JSON: the file ends inside it",
                           (unsigned long long)s->line);
        }
        TRY(window_fill(&s->w, err));
    }
    if (cutter.at > s->opts->record_bytes_max) {
        return too_long(s, err);
    }
    struct str text = str_from(s->w.bytes + s->w.start, cutter.at);
    enum status status = take_record(s, text, &fault_at, err);
    TRY(with_line(s, text, fault_at, status, err));
    consume(s, text.len);
    return OK;
}

static enum status unexpected(const struct scan *s, int found, const char *wanted, struct err *err)
{
    if (found == -1) {
        return err_set(err, E_INVALID, "line %llu: malformed JSON: the file ends before %s",
                       (unsigned long long)s->line, wanted);
    }
    return err_set(err, E_INVALID, "line %llu: malformed JSON: %s should stand here",
                   (unsigned long long)s->line, wanted);
}

static enum status scan_concatenated(struct scan *s, struct err *err)
{
    for (;;) {
        int found;
        TRY(skip_blanks(s, &found, err));
        if (found == -1) {
            return OK;
        }
        if (found != '{') {
            return unexpected(s, found, "an object", err);
        }
        TRY(take_braced(s, err));
    }
}

static enum status scan_array(struct scan *s, struct err *err)
{
    int found;
    s->w.start++; /* the bracket */
    TRY(skip_blanks(s, &found, err));
    while (found != ']') {
        if (found != '{') {
            return unexpected(s, found, "an object", err);
        }
        TRY(take_braced(s, err));
        TRY(skip_blanks(s, &found, err));
        if (found == ',') {
            s->w.start++;
            TRY(skip_blanks(s, &found, err));
            if (found == ']') {
                return unexpected(s, found, "an object", err);
            }
        } else if (found != ']') {
            return unexpected(s, found, "a comma or the array's end", err);
        }
    }
    s->w.start++;
    TRY(skip_blanks(s, &found, err));
    return found == -1 ? OK : unexpected(s, found, "nothing more", err);
}

/* --- which of the three --- */

/** The first character of the next line, 0 when there is none in the window. */
static char behind_line(const struct scan *s, struct str line)
{
    size_t at = s->w.start + line.len;
    while (at < s->w.end && is_blank(s->w.bytes[at])) {
        at++;
    }
    return at < s->w.end ? s->w.bytes[at] : '\0';
}

/** Records are lines, unless the first one goes on in the next line or has another one behind it in
 * its own. A broken first line does not go on when the next one begins a record. */
static enum status find_layout(struct scan *s, int first, struct err *err)
{
    struct str line;
    bool whole;
    struct cutter cutter = { 0 };
    s->result.layout = JSON_LINES;
    if (first == '[') {
        s->result.layout = JSON_ARRAY;
        return OK;
    }
    TRY(next_line(s, &line, &whole, err));
    if (first != '{' || !whole) {
        return OK;
    }
    bool ends = cut(&cutter, line);
    char next = behind_line(s, line);
    if (ends ? str_starts(str_trim(str_skip(line, cutter.at)), STR("{"))
             : next != '\0' && next != '{') {
        s->result.layout = JSON_CONCATENATED;
    }
    return OK;
}

static enum status scan(struct scan *s, struct err *err)
{
    int first;
    TRY(window_fill(&s->w, err));
    while (s->w.end < 3 && !s->w.at_end) {
        TRY(window_fill(&s->w, err));
    }
    if (str_starts(str_from(s->w.bytes, s->w.end), STR("\xef\xbb\xbf"))) {
        s->w.start = 3;
    }
    TRY(skip_blanks(s, &first, err));
    TRY(find_layout(s, first, err));
    switch (s->result.layout) {
    case JSON_ARRAY:
        return scan_array(s, err);
    case JSON_CONCATENATED:
        return scan_concatenated(s, err);
    case JSON_LINES:
        return scan_lines(s, err);
    }
    return OK;
}

enum status json_scan(const struct json_scan_opts *opts, struct json_shape *shape,
                      struct json_scan *out, struct err *err)
{
    struct scan s = {
        .opts = opts, .shape = shape, .w = { .read = opts->read, .ctx = opts->ctx }, .line = 1
    };
    enum status status = scan(&s, err);
    window_done(&s.w);
    if (status == OK) {
        *out = s.result;
    }
    return status;
}
