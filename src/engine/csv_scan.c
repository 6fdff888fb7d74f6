/*
 * The end of a record can be far away when a quote is not closed; what is bad is then its first
 * line alone, and the next line gets its chance.
 */
#include "engine/csv_scan.h"

#include <stdio.h>

#include "engine/window.h"

struct scan {
    const struct csv_scan_opts *opts;
    struct window w;
    uint64_t line; /* of `start`, from 1 */
};

enum found {
    RECORD,
    CUT,        /* the text ends inside it */
    TEXT_BEHIND /* something stands behind a closing quote */
};

struct record {
    size_t len, field_count; /* without the line's end */
};

static bool ends_line(char c)
{
    return c == '\n' || c == '\r';
}

/** Behind the quoted field that begins at `at`; SIZE_MAX when it is not closed in the text. */
static size_t skip_quoted(struct str text, size_t at)
{
    for (size_t i = at + 1; i < text.len; i++) {
        if (text.ptr[i] == '"') {
            if (i + 1 >= text.len || text.ptr[i + 1] != '"') {
                return i + 1;
            }
            i++;
        }
    }
    return SIZE_MAX;
}

/** The record at the front of `text`. */
static enum found find_record(struct str text, char delimiter, struct record *out)
{
    size_t i = 0, fields = 1;
    for (;;) {
        bool quoted = i < text.len && text.ptr[i] == '"';
        if (quoted) {
            i = skip_quoted(text, i);
            if (i == SIZE_MAX) {
                return CUT;
            }
            while (i < text.len && text.ptr[i] == ' ' && delimiter != ' ') {
                i++;
            }
        }
        while (!quoted && i < text.len && text.ptr[i] != delimiter && !ends_line(text.ptr[i])) {
            i++;
        }
        if (i >= text.len || ends_line(text.ptr[i])) {
            *out = (struct record){ i, fields };
            return i < text.len ? RECORD : CUT;
        }
        if (text.ptr[i] != delimiter) {
            return TEXT_BEHIND;
        }
        i++;
        fields++;
    }
}

/** Bytes of the first line. */
static size_t first_line(struct str text)
{
    size_t i = 0;
    while (i < text.len && !ends_line(text.ptr[i])) {
        i++;
    }
    return i;
}

/** Consume `len` bytes and the line's end behind them. */
static enum status consume(struct scan *s, size_t len, struct err *err)
{
    for (size_t i = 0; i < len; i++) {
        char c = s->w.bytes[s->w.start + i];
        bool pair = c == '\r' && i + 1 < len && s->w.bytes[s->w.start + i + 1] == '\n';
        s->line += ends_line(c) && !pair;
    }
    s->w.start += len;
    while (s->w.end - s->w.start < 2 && !s->w.at_end) {
        TRY(window_fill(&s->w, err));
    }
    struct str rest = window_rest(&s->w);
    size_t end = str_starts(rest, STR("\r\n")) ? 2 : rest.len > 0 && ends_line(rest.ptr[0]) ? 1 : 0;
    s->w.start += end;
    s->line += end > 0;
    return OK;
}

/** Drop a first line that may be longer than the window. */
static enum status drop_line(struct scan *s, struct err *err)
{
    for (;;) {
        s->w.start += first_line(window_rest(&s->w));
        if (s->w.start < s->w.end || s->w.at_end) {
            return consume(s, 0, err);
        }
        TRY(window_fill(&s->w, err));
    }
}

static enum status bad(struct scan *s, struct str reason, struct err *err)
{
    TRY(s->opts->bad(s->opts->ctx, s->line, reason, err));
    return drop_line(s, err);
}

static enum status take_record(struct scan *s, const struct record *record, struct err *err)
{
    const struct csv_scan_opts *opts = s->opts;
    struct str text = str_take(window_rest(&s->w), record->len);
    struct err reason = { 0 };
    if (text.len == 0 && opts->field_count > 1) {
        return consume(s, 0, err);
    }
    enum status status = OK;
    if (record->field_count != opts->field_count) {
        status = err_set(&reason, E_INVALID, "expected %zu fields, found %zu", opts->field_count,
                         record->field_count);
    } else if (!str_is_utf8(text)) {
        status = err_set(&reason, E_INVALID, "not valid UTF-8");
    }
    TRY(status == OK ? opts->good(opts->ctx, s->line, text, err)
                     : opts->bad(opts->ctx, s->line, str_of(reason.msg), err));
    return consume(s, text.len, err);
}

static enum status next_record(struct scan *s, struct err *err)
{
    struct record record;
    for (;;) {
        struct str text = window_rest(&s->w);
        enum found found = find_record(text, s->opts->delimiter, &record);
        bool too_long = found == CUT ? text.len > s->opts->record_bytes_max
                                     : found == RECORD && record.len > s->opts->record_bytes_max;
        if (too_long) {
            char reason[96];
            int len = snprintf(reason, sizeof(reason),
                               "longer than %llu bytes (ingestd.max_line_bytes)",
                               (unsigned long long)s->opts->record_bytes_max);
            return bad(s, str_from(reason, (size_t)len), err);
        }
        if (found == TEXT_BEHIND) {
            return bad(s, STR("a quoted field has text behind its closing quote"), err);
        }
        if (found == RECORD) {
            return take_record(s, &record, err);
        }
        if (s->w.at_end) {
            break;
        }
        TRY(window_fill(&s->w, err));
    }
    /* the last record has no line end of its own; find_record gives its length unless a quote is
     * open */
    struct str text = window_rest(&s->w);
    record.len = SIZE_MAX;
    return find_record(text, s->opts->delimiter, &record) == CUT && record.len == text.len
               ? take_record(s, &record, err)
               : bad(s, STR("a quoted field is not closed"), err);
}

enum status csv_scan(const struct csv_scan_opts *opts, struct err *err)
{
    struct scan s = { .opts = opts, .w = { .read = opts->read, .ctx = opts->ctx }, .line = 1 };
    enum status status = window_fill(&s.w, err);
    while (status == OK && !(s.w.start == s.w.end && s.w.at_end)) {
        status = s.w.start == s.w.end ? window_fill(&s.w, err) : next_record(&s, err);
    }
    window_done(&s.w);
    return status;
}
