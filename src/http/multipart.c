/*
 * A scanner over `window`, which holds what is not decided yet: bytes that may be the beginning of
 * a delimiter, or a part's head that is not whole.
 *
 *   PREAMBLE --delimiter--> AFTER_DELIMITER --CRLF--> HEAD --blank line--> DATA --delimiter-->
 *   AFTER_DELIMITER ...
 *                                 `-- "--" --> EPILOGUE
 *
 * The delimiter is CRLF "--" boundary; the first one may stand at the very start, so the scan
 * begins as if a CRLF had been read.
 */
#include "http/multipart.h"

#include "base/mem.h"
#include "http/message.h"

enum state { PREAMBLE, AFTER_DELIMITER, HEAD, DATA, EPILOGUE };

struct multipart {
    struct multipart_events events;
    struct arena arena;
    struct buf window;
    struct str delimiter; /* in the arena, with CRLF in front */
    enum state state;
    bool file_seen; /* the file part has begun */
    bool in_file;   /* DATA belongs to it */
};

struct str multipart_parameter(struct arena *arena, struct str header, struct str name)
{
    size_t at = str_find_char(header, ';');
    while (at < header.len) {
        struct str rest = str_trim(str_skip(header, at + 1));
        size_t equals = str_find_char(rest, '=');
        if (equals == SIZE_MAX) {
            break;
        }
        struct str key = str_trim(str_take(rest, equals)), value = str_skip(rest, equals + 1);
        char *text = arena_alloc(arena, value.len + 1);
        size_t used = 0, len = 0;
        bool quoted = value.len > 0 && value.ptr[0] == '"';
        if (text == NULL) {
            break;
        }
        for (used = quoted; used < value.len && value.ptr[used] != (quoted ? '"' : ';'); used++) {
            bool escape = quoted && value.ptr[used] == '\\' && used + 1 < value.len &&
                          strchr("\"\\", value.ptr[used + 1]) != NULL;
            used += escape;
            text[len++] = value.ptr[used];
        }
        if (str_eq_nocase(key, name)) {
            return quoted ? str_from(text, len) : str_trim(str_from(text, len));
        }
        struct str behind = str_skip(value, used);
        size_t next = str_find_char(behind, ';');
        at = next == SIZE_MAX ? header.len : (size_t)(behind.ptr - header.ptr) + next;
    }
    return (struct str){ 0 };
}

bool multipart_is(struct str content_type)
{
    return str_eq_nocase(str_trim(str_split(&content_type, ';')), STR("multipart/form-data"));
}

enum status multipart_new(struct str content_type, const struct multipart_events *events,
                          struct multipart **out, struct err *err)
{
    struct multipart *multipart = mem_zalloc(sizeof(*multipart));
    if (multipart == NULL) {
        return err_no_memory(err);
    }
    multipart->events = *events;
    arena_init(&multipart->arena, 1024 * 1024);
    /* one piece of the body and what was held back */
    buf_init(&multipart->window, 64 * 1024 * 1024);
    struct str boundary = multipart_parameter(&multipart->arena, content_type, STR("boundary"));
    enum status status = OK;
    if (boundary.len == 0 || boundary.len > MULTIPART_BOUNDARY_MAX || str_has_control(boundary)) {
        status = err_set(err, E_INVALID,
                         "the Content-Type has no usable boundary (1 to %d characters)",
                         MULTIPART_BOUNDARY_MAX);
    } else {
        multipart->delimiter = arena_printf(&multipart->arena, "\r\n--%.*s", STR_ARG(boundary));
        bool ok = multipart->delimiter.ptr != NULL &&
                  buf_append(&multipart->window, STR("\r\n")) == OK;
        status = ok ? OK : err_no_memory(err);
    }
    if (status != OK) {
        multipart_free(multipart);
        return status;
    }
    *out = multipart;
    return OK;
}

void multipart_free(struct multipart *multipart)
{
    if (multipart == NULL) {
        return;
    }
    buf_done(&multipart->window);
    arena_done(&multipart->arena);
    mem_free(multipart);
}

static enum status begin_part(struct multipart *multipart, struct str head, struct err *err)
{
    struct multipart_part part = { 0 };
    while (head.ptr != NULL) {
        struct str line = str_trim(str_split(&head, '\n'));
        struct str value = line, name = str_split(&value, ':');
        if (str_eq_nocase(name, STR("Content-Disposition"))) {
            part.field = multipart_parameter(&multipart->arena, value, STR("name"));
            part.file_name = multipart_parameter(&multipart->arena, value, STR("filename"));
            part.has_file_name = part.file_name.ptr != NULL;
        } else if (str_eq_nocase(name, STR("Content-Type")) && value.ptr != NULL) {
            part.content_type = arena_str(&multipart->arena, str_trim(value));
        }
    }
    multipart->in_file = part.has_file_name && !multipart->file_seen;
    if (!multipart->in_file) {
        return OK;
    }
    multipart->file_seen = true;
    return multipart->events.part(multipart->events.ctx, &part, err);
}

/** Pass on, or drop, `len` bytes at the front of the window. */
static enum status emit(struct multipart *multipart, size_t len, struct err *err)
{
    enum status status = OK;
    if (multipart->state == DATA && multipart->in_file && len > 0) {
        status = multipart->events.data(multipart->events.ctx,
                                        str_take(buf_str(&multipart->window), len), err);
    }
    buf_consume(&multipart->window, len);
    return status;
}

/** PREAMBLE and DATA: up to the next delimiter, or all that cannot be the beginning of one. */
static enum status scan_data(struct multipart *multipart, bool *more_out, struct err *err)
{
    struct str window = buf_str(&multipart->window);
    size_t at = str_find(window, multipart->delimiter);
    if (at == SIZE_MAX) {
        *more_out = false;
        size_t held = multipart->delimiter.len - 1;
        return window.len > held ? emit(multipart, window.len - held, err) : OK;
    }
    TRY(emit(multipart, at, err));
    buf_consume(&multipart->window, multipart->delimiter.len);
    multipart->state = AFTER_DELIMITER;
    return OK;
}

static enum status scan_after_delimiter(struct multipart *multipart, bool *more_out,
                                        struct err *err)
{
    struct str window = buf_str(&multipart->window);
    if (str_starts(window, STR("--"))) {
        multipart->state = EPILOGUE;
        return OK;
    }
    size_t padding = 0; /* RFC 2046 allows blanks behind the boundary */
    while (padding < window.len && (window.ptr[padding] == ' ' || window.ptr[padding] == '\t')) {
        padding++;
    }
    struct str rest = str_skip(window, padding);
    if (str_starts(rest, STR("\r\n"))) {
        /* the CRLF stays: it may be half of the blank line of an empty head */
        buf_consume(&multipart->window, padding);
        multipart->state = HEAD;
        return OK;
    }
    bool undecided = rest.len == 0 || str_eq(rest, STR("\r")) || str_eq(window, STR("-"));
    if (!undecided || window.len > MULTIPART_HEAD_MAX) {
        return err_set(err, E_INVALID,
                       "a multipart boundary is followed by neither a line break nor \"--\"");
    }
    *more_out = false;
    return OK;
}

static enum status scan_head(struct multipart *multipart, bool *more_out, struct err *err)
{
    struct str window = buf_str(&multipart->window);
    size_t end = str_find(window, STR("\r\n\r\n"));
    if (end == SIZE_MAX) {
        *more_out = false;
        return window.len <= MULTIPART_HEAD_MAX
                   ? OK
                   : err_set(err, E_INVALID,
                             "the headers of a multipart part are longer than %d bytes",
                             MULTIPART_HEAD_MAX);
    }
    if (end > MULTIPART_HEAD_MAX) {
        return err_set(err, E_INVALID, "the headers of a multipart part are longer than %d bytes",
                       MULTIPART_HEAD_MAX);
    }
    TRY(begin_part(multipart, str_take(window, end), err));
    buf_consume(&multipart->window, end + 4);
    multipart->state = DATA;
    return OK;
}

enum status multipart_feed(struct multipart *multipart, struct str bytes, struct err *err)
{
    if (buf_append(&multipart->window, bytes) != OK) {
        return err_no_memory(err);
    }
    bool more = true;
    while (more) {
        switch (multipart->state) {
        case PREAMBLE:
        case DATA:
            TRY(scan_data(multipart, &more, err));
            break;
        case AFTER_DELIMITER:
            TRY(scan_after_delimiter(multipart, &more, err));
            break;
        case HEAD:
            TRY(scan_head(multipart, &more, err));
            break;
        case EPILOGUE:
            buf_clear(&multipart->window);
            more = false;
            break;
        }
    }
    return OK;
}

enum status multipart_end(struct multipart *multipart, struct err *err)
{
    if (multipart->state != EPILOGUE) {
        return err_set(err, E_INVALID, "the multipart body ends before its closing boundary");
    }
    return multipart->file_seen
               ? OK
               : err_set(err, E_INVALID, "the multipart body has no part with a file (filename=)");
}
