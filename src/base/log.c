/*
 * Log lines. A line is built in memory by the JSON writer and leaves in one write(2).
 *
 * A log must not bring the program down: a value is cut at 4 KiB, a line that cannot be built is
 * replaced by a fixed one that says so, and a failed write is ignored because there is nowhere
 * left to tell.
 */
#include "base/log.h"

#include <errno.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/json.h"

enum {
    VALUE_BYTES_MAX = 4 * 1024,  /* chosen: long enough for a SQL error, short enough for a log */
    LINE_BYTES_MAX = 128 * 1024, /* chosen */
};

static enum log_level level_min = LOG_INFO;
static const char *service_name = "lakehouse";
static const char *const level_names[] = { "debug", "info", "warn", "error" };

static enum status build_line(struct buf *line, enum log_level level, const char *event,
                              const struct log_field *fields, size_t count);
static void put_time(struct json_writer *w);
static void put_field(struct json_writer *w, const struct log_field *field);

void log_setup(enum log_level level, const char *service)
{
    level_min = level;
    service_name = service;
}

bool log_level_parse(struct str text, enum log_level *out)
{
    for (size_t i = 0; i < ARRAY_LEN(level_names); i++) {
        if (str_eq(text, str_of(level_names[i]))) {
            *out = (enum log_level)i;
            return true;
        }
    }
    return false;
}

bool log_enabled(enum log_level level)
{
    return level >= level_min;
}

void log_event(enum log_level level, const char *event, const struct log_field *fields,
               size_t count)
{
    static const char lost[] = "{\"level\":\"error\",\"event\":\"log_line_lost\"}\n";
    if (!log_enabled(level)) {
        return;
    }
    int saved_errno = errno;
    AUTO(buf_done) struct buf line;
    buf_init(&line, LINE_BYTES_MAX);
    enum status status = build_line(&line, level, event, fields, count);
    struct str text = status == OK ? buf_str(&line) : str_from(lost, sizeof(lost) - 1);
    if (io_write_full(STDERR_FILENO, text.ptr, text.len, NULL) != OK) {
        /* Standard error is gone; see above. */
    }
    errno = saved_errno;
}

static enum status build_line(struct buf *line, enum log_level level, const char *event,
                              const struct log_field *fields, size_t count)
{
    struct json_writer w;
    json_writer_init(&w, line);
    jw_obj_begin(&w);
    put_time(&w);
    jw_kv_cstr(&w, "level", level_names[level]);
    jw_kv_cstr(&w, "event", event);
    jw_kv_cstr(&w, "service", service_name);
    for (size_t i = 0; i < count; i++) {
        put_field(&w, &fields[i]);
    }
    jw_obj_end(&w);
    TRY(json_writer_end(&w));
    return buf_append_char(line, '\n');
}

static void put_time(struct json_writer *w)
{
    AUTO(buf_done) struct buf time;
    buf_init(&time, 64);
    if (time_append_iso(&time, clock_wall_ms(clock_real())) == OK) {
        jw_kv_str(w, "ts", buf_str(&time));
    }
}

static void put_field(struct json_writer *w, const struct log_field *field)
{
    jw_key(w, str_of(field->name));
    switch (field->kind) {
    case LOG_FIELD_STR:
        jw_str(w, str_take(field->str, VALUE_BYTES_MAX));
        break;
    case LOG_FIELD_I64:
        jw_i64(w, field->i64);
        break;
    case LOG_FIELD_F64:
        jw_double(w, field->f64);
        break;
    case LOG_FIELD_BOOL:
        jw_bool(w, field->i64 != 0);
        break;
    }
}
