/*
 * Log lines. A line is built in memory by the JSON writer and leaves in one write(2).
 *
 * A log must not bring the program down, nor hold it up. A value is cut, a line that cannot be
 * built is replaced by a fixed one that says so, and a failed write is ignored because there is
 * nowhere left to tell. A pipe or a terminal whose reader stands still would block whoever writes
 * the next line, and soon every thread: so a line is written only where there is room for it now,
 * else it is dropped and counted, and the next line that goes out tells how many were.
 */
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/json.h"

/* A value is cut after so many bytes; where a line gets too long so (JSON makes up to six of one),
 * all of its values are cut shorter. Chosen: the first is enough for a SQL error. */
static const size_t value_bytes[] = { 2048, 512, 64 };

enum {
    /* a pipe that is writable has room for this many bytes at once */
    LINE_BYTES_MAX = PIPE_BUF,
    /* chosen: some 3,000 lines that a reader may be behind before one is dropped */
    PIPE_BYTES = 1024 * 1024,
};

static pthread_mutex_t write_lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t dropped; /* guarded by write_lock */
static enum log_level level_min = LOG_INFO;
static const char *service_name = "lakehouse";
static const char *const level_names[] = { "debug", "info", "warn", "error" };

static enum status build_line(struct buf *line, enum log_level level, const char *event,
                              const struct log_field *fields, size_t count, size_t value_max);
static void write_line(struct str line);
static void put_time(struct json_writer *w);
static void put_field(struct json_writer *w, const struct log_field *field, size_t value_max);

void log_setup(enum log_level level, const char *service)
{
    level_min = level;
    service_name = service;
    /* Only a pipe takes it, and one whose size the system does not let grow stays as it is. */
    (void)fcntl(STDERR_FILENO, F_SETPIPE_SZ, PIPE_BYTES);
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
    enum status status = E_TOO_LARGE;
    for (size_t i = 0; i < ARRAY_LEN(value_bytes) && status == E_TOO_LARGE; i++) {
        buf_clear(&line);
        status = build_line(&line, level, event, fields, count, value_bytes[i]);
    }
    pthread_mutex_lock(&write_lock);
    write_line(status == OK ? buf_str(&line) : str_from(lost, sizeof(lost) - 1));
    pthread_mutex_unlock(&write_lock);
    errno = saved_errno;
}

/* Whether a line can be written without waiting. A file always says yes. */
static bool has_room(void)
{
    struct pollfd fd = { .fd = STDERR_FILENO, .events = POLLOUT };
    return poll(&fd, 1, 0) == 1 && (fd.revents & POLLOUT) != 0;
}

/* With write_lock held, so that no other thread takes the room between the look and the write. */
static void write_line(struct str line)
{
    if (dropped > 0 && has_room()) {
        const struct log_field count = L_I64("count", dropped);
        AUTO(buf_done) struct buf notice;
        buf_init(&notice, LINE_BYTES_MAX);
        if (build_line(&notice, LOG_WARN, "log_lines_dropped", &count, 1, 0) == OK &&
            io_write_full(STDERR_FILENO, notice.ptr, notice.len, NULL) == OK) {
            dropped = 0;
        }
    }
    if (dropped > 0 || !has_room()) {
        dropped++;
    } else if (io_write_full(STDERR_FILENO, line.ptr, line.len, NULL) != OK) {
        /* Standard error is gone; see above. */
    }
}

static enum status build_line(struct buf *line, enum log_level level, const char *event,
                              const struct log_field *fields, size_t count, size_t value_max)
{
    struct json_writer w;
    json_writer_init(&w, line);
    jw_obj_begin(&w);
    put_time(&w);
    jw_kv_cstr(&w, "level", level_names[level]);
    jw_kv_cstr(&w, "event", event);
    jw_kv_cstr(&w, "service", service_name);
    for (size_t i = 0; i < count; i++) {
        put_field(&w, &fields[i], value_max);
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

static void put_field(struct json_writer *w, const struct log_field *field, size_t value_max)
{
    jw_key(w, str_of(field->name));
    switch (field->kind) {
    case LOG_FIELD_STR:
        jw_str(w, str_take(field->str, value_max));
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
