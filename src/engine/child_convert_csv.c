/*
 * The layout of a CSV file, from its first records: delimiter, header, names. RFC 4180: quotes are
 * ", doubled inside.
 *
 * We decide this ourselves, not DuckDB's sniffer: that one may skip lines, or read a file with one
 * bad row as a file of one column, without a word. A delimiter is believed when it splits the first
 * records into the same number of fields.
 */
#include <stdlib.h>

#include "base/map.h"
#include "base/mem.h"
#include "engine/child_convert_priv.h"

enum {
    /* looked at first; grown up to line_bytes_max while no record ends in it */
    WINDOW_BYTES = 1024 * 1024,
    RECORDS_MAX = 100,       /* records looked at */
    BUFFER_BYTES = 32000000, /* of DuckDB's reader: 16 of its lines of 2 MB */
};

struct window {
    char *bytes;
    struct str text; /* without a byte order mark */
    bool whole;      /* the file ends in it */
};

/** Calls `field` (may be NULL) for each field of the record at *at and moves *at behind it. False
 * when the window ends inside the record. */
static bool scan_record(const struct window *w, size_t *at, char delimiter, size_t *count_out,
                        void (*field)(void *ctx, struct str raw, bool quoted), void *ctx)
{
    const char *p = w->text.ptr;
    size_t i = *at, end = w->text.len, count = 0;
    for (;;) {
        size_t start = i;
        bool quoted = i < end && p[i] == '"';
        if (quoted) {
            for (i++; i < end && (p[i] != '"' || (i + 1 < end && p[i + 1] == '"')); i++) {
                i += p[i] == '"';
            }
            if (i >= end) {
                return false;
            }
            i++;
        }
        while (i < end && p[i] != delimiter && p[i] != '\n' && p[i] != '\r') {
            i++;
        }
        if (i >= end && !w->whole) {
            return false;
        }
        count++;
        if (field != NULL) {
            field(ctx, str_from(p + start, i - start), quoted);
        }
        if (i >= end || p[i] != delimiter) {
            break;
        }
        i++;
    }
    if (i < end && p[i] == '\r') {
        i++;
    }
    if (i < end && p[i] == '\n') {
        i++;
    }
    *at = i;
    *count_out = count;
    return true;
}

static enum status open_window(struct convert *c, struct window *w, struct err *err)
{
    size_t bytes = WINDOW_BYTES;
    for (;;) {
        size_t got, records = 0, at = 0;
        bytes = bytes > c->size ? (size_t)c->size : bytes;
        mem_free(w->bytes);
        w->bytes = mem_alloc(bytes + 1);
        if (w->bytes == NULL) {
            return err_no_memory(err);
        }
        TRY(convert_peek(c, w->bytes, bytes, &got, err));
        w->text = str_from(w->bytes, got);
        w->whole = got == c->size;
        if (str_starts(w->text, STR("\xef\xbb\xbf"))) {
            w->text = str_skip(w->text, 3);
        }
        bool one = scan_record(w, &at, ',', &records, NULL, NULL);
        if ((one || w->whole) && at <= c->line_bytes_max) {
            return OK;
        }
        if (one || bytes > c->line_bytes_max) {
            return err_set(err, E_INVALID,
                           "line 1: longer than %llu bytes (ingestd.max_line_bytes)",
                           (unsigned long long)c->line_bytes_max);
        }
        bytes *= 4;
    }
}

/** Of the first records, how many have as many fields as the first one; *fields_out is that
 * number. */
static size_t agreeing_records(const struct window *w, char delimiter, size_t *fields_out,
                               size_t *records_out)
{
    size_t at = 0, agreeing = 0, records = 0, first = 0;
    while (at < w->text.len && records < RECORDS_MAX) {
        size_t count;
        size_t before = at;
        if (!scan_record(w, &at, delimiter, &count, NULL, NULL)) {
            break;
        }
        bool blank = count == 1 && at - before <= 2 &&
                     (w->text.ptr[before] == '\n' || w->text.ptr[before] == '\r');
        if (blank && records > 0) {
            continue; /* an empty line is no record */
        }
        first = records == 0 ? count : first;
        agreeing += count == first;
        records++;
    }
    *fields_out = first;
    *records_out = records;
    return agreeing;
}

/** The delimiter under which most records agree, among those that split the first one; the more
 * fields win a draw. */
static char find_delimiter(const struct window *w)
{
    static const char candidates[] = { ',', ';', '\t', '|', '^', '~', 1 };
    char best = ',';
    size_t best_agreeing = 0, best_fields = 1;
    for (size_t i = 0; i < sizeof(candidates); i++) {
        size_t fields, records;
        size_t agreeing = agreeing_records(w, candidates[i], &fields, &records);
        if (fields > 1 &&
            (agreeing > best_agreeing || (agreeing == best_agreeing && fields > best_fields))) {
            best = candidates[i];
            best_agreeing = agreeing;
            best_fields = fields;
        }
    }
    return best;
}

/* --- the header --- */

struct header {
    struct convert *c;
    size_t count;
    bool looks_like_data; /* a field is empty, a number, a date or a truth value */
    bool no_memory;
};

/** Without quotes, with "" as ". */
static struct str unquote(struct arena *arena, struct str raw, bool quoted)
{
    char *text = arena_alloc(arena, raw.len + 1);
    size_t len = 0;
    if (text == NULL) {
        return (struct str){ 0 };
    }
    for (size_t i = quoted ? 1 : 0; i < raw.len; i++) {
        if (quoted && raw.ptr[i] == '"') {
            if (i + 1 >= raw.len || raw.ptr[i + 1] != '"') {
                continue;
            }
            i++;
        }
        text[len++] = raw.ptr[i];
    }
    return str_from(text, len);
}

static bool looks_like_data(struct str text)
{
    double number;
    struct str trimmed = str_trim(text);
    bool date = trimmed.len >= 8 && trimmed.len <= 35 && trimmed.ptr[0] >= '0' &&
                trimmed.ptr[0] <= '9' &&
                (str_find_char(trimmed, '-') != SIZE_MAX ||
                 str_find_char(trimmed, '/') != SIZE_MAX ||
                 str_find_char(trimmed, ':') != SIZE_MAX);
    return str_to_double(trimmed, &number) || date || str_eq_nocase(trimmed, STR("true")) ||
           str_eq_nocase(trimmed, STR("false"));
}

static void add_name(void *ctx, struct str raw, bool quoted)
{
    struct header *header = ctx;
    struct convert *c = header->c;
    if (header->count >= c->column_count) {
        return;
    }
    struct str name = unquote(&c->job->arena, raw, quoted);
    header->no_memory = header->no_memory || name.ptr == NULL;
    header->looks_like_data = header->looks_like_data || looks_like_data(name);
    c->columns[header->count].name = name;
    c->columns[header->count].text = true;
    c->columns[header->count].expr = arena_printf(&c->job->arena, "c%zu", header->count);
    header->count++;
}

static enum status write_source(struct convert *c, char delimiter, bool has_header, struct err *err)
{
    AUTO(buf_done) struct buf sql;
    buf_init(&sql, 0);
    /* The reader's own choice, or two lines; more costs memory for every thread. */
    unsigned long long line = c->line_bytes_max,
                       buffer = line * 2 < BUFFER_BYTES ? BUFFER_BYTES : line * 2;
    enum status status = buf_printf(
        &sql,
        "read_csv('spool://in', auto_detect=false, header=%s, delim='%c', quote='\"', escape='\"', strict_mode=true, "
        "null_padding=false, max_line_size=%llu, buffer_size=%llu, columns={",
        has_header ? "true" : "false", delimiter, line, buffer);
    for (size_t i = 0; i < c->column_count && status == OK; i++) {
        status = buf_printf(&sql, "%s'c%zu':'VARCHAR'", i == 0 ? "" : ",", i);
    }
    if (status == OK) {
        status = buf_append(&sql, STR("})"));
    }
    c->source = status == OK ? arena_str(&c->job->arena, buf_str(&sql)) : (struct str){ 0 };
    return c->source.ptr != NULL ? OK : err_no_memory(err);
}

static enum status read_layout(struct convert *c, const struct window *w, char delimiter,
                               struct err *err)
{
    size_t records = 0, at = 0, count = 0;
    agreeing_records(w, delimiter, &c->column_count, &records);
    if (records == 0) {
        return err_set(err, E_INVALID, "line 1: a quoted field is not closed");
    }
    if (c->column_count > c->columns_max) {
        return OK; /* the caller refuses it */
    }
    c->columns = arena_array(&c->job->arena, c->column_count, sizeof(*c->columns));
    struct header header = { .c = c };
    if (c->columns == NULL) {
        return err_no_memory(err);
    }
    if (!scan_record(w, &at, delimiter, &count, add_name, &header) || header.no_memory) {
        return err_no_memory(err);
    }
    bool has_header = !header.looks_like_data;
    c->delimiter = delimiter;
    c->has_header = has_header;
    if (has_header && at >= w->text.len && w->whole) {
        return err_set(err, E_INVALID, "the file has a header and no rows");
    }
    for (size_t i = 0; i < c->column_count; i++) {
        struct convert_column *column = &c->columns[i];
        if (!str_is_utf8(column->name)) {
            return err_set(err, E_INVALID, "line 1: not valid UTF-8");
        }
        column->name = has_header ? column->name : STR_EMPTY;
    }
    return write_source(c, delimiter, has_header, err);
}

enum status convert_csv_layout(struct convert *c, char delimiter, struct err *err)
{
    struct window w = { 0 };
    enum status status = open_window(c, &w, err);
    if (status == OK && memchr(w.text.ptr, 0, w.text.len) != NULL) {
        status = err_set(err, E_INVALID, "the file is not text: it has NUL bytes");
    }
    if (status == OK) {
        status = read_layout(c, &w, delimiter != 0 ? delimiter : find_delimiter(&w), err);
    }
    mem_free(w.bytes);
    return status;
}

/* --- a sample --- */

struct sampling {
    struct convert_sample *sample;
    size_t column;
    bool odd;
};

/** A field that DuckDB's reader could see in another way than we do makes the sample odd. */
static void sample_field(void *ctx, struct str raw, bool quoted)
{
    struct sampling *s = ctx;
    const struct convert_sample *sample = s->sample;
    struct str text = raw;
    if (quoted) {
        text = raw.len >= 2 ? str_from(raw.ptr + 1, raw.len - 2) : STR_EMPTY;
        s->odd = s->odd || raw.len < 2 || raw.ptr[raw.len - 1] != '"';
    } else {
        s->odd = s->odd || str_find_char(raw, '"') != SIZE_MAX ||
                 (raw.len > 0 && (raw.ptr[0] == ' ' || raw.ptr[raw.len - 1] == ' '));
    }
    if (!s->odd && text.len > 0) {
        sample->field(sample->ctx, s->column, text);
    }
    s->column++;
}

static bool sample_window(const struct convert *c, const struct window *w,
                          struct convert_sample *sample)
{
    size_t at = 0, count = 0;
    if (c->has_header && !scan_record(w, &at, c->delimiter, &count, NULL, NULL)) {
        return false;
    }
    for (sample->rows = 0; sample->rows < sample->rows_max && at < w->text.len; sample->rows++) {
        struct sampling s = { .sample = sample };
        bool empty = w->text.ptr[at] == '\n' || w->text.ptr[at] == '\r';
        if (empty || !scan_record(w, &at, c->delimiter, &count, sample_field, &s) || s.odd ||
            count != c->column_count) {
            return false;
        }
    }
    return sample->rows == sample->rows_max || w->whole;
}

enum status convert_csv_sample(struct convert *c, struct convert_sample *sample, bool *told_out,
                               struct err *err)
{
    struct window w = { 0 };
    enum status status = open_window(c, &w, err);
    if (status == OK) {
        *told_out = sample_window(c, &w, sample);
    }
    mem_free(w.bytes);
    return status;
}

/* --- names --- */

static struct str lower(struct arena *arena, struct str name)
{
    struct str copy = arena_str(arena, name);
    for (size_t i = 0; copy.ptr != NULL && i < copy.len; i++) {
        char *at = (char *)copy.ptr + i;
        *at = *at >= 'A' && *at <= 'Z' ? (char)(*at + 32) : *at;
    }
    return copy;
}

enum status convert_unique_names(struct convert *c, struct err *err)
{
    struct map seen;
    map_init(&seen);
    enum status status = OK;
    for (size_t i = 0; i < c->column_count && status == OK; i++) {
        struct convert_column *column = &c->columns[i];
        if (column->name.len == 0) {
            column->name = arena_printf(&c->job->arena, "column%zu", i + 1);
        }
        struct str name = column->name;
        for (unsigned n = 1; map_get(&seen, lower(&c->job->arena, name)) != NULL; n++) {
            name = arena_printf(&c->job->arena, "%.*s_%u", STR_ARG(column->name), n);
        }
        column->name = name;
        struct str key = lower(&c->job->arena, name);
        status = key.ptr == NULL ? E_NO_MEMORY : map_put(&seen, key, column, NULL);
    }
    map_done(&seen);
    return status == OK ? OK : err_no_memory(err);
}
