/*
 * JSON log lines on standard error: {"ts":..,"level":"info","event":"..","service":"..",...}. Only
 * the edge logs. One write(2) per line, so lines of threads do not mix. Never waits: a line for
 * which a pipe or a terminal has no room is dropped, and `log_lines_dropped` tells how many were.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/str.h"

#ifdef __cplusplus
extern "C" {
#endif

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

enum log_field_kind { LOG_FIELD_STR, LOG_FIELD_I64, LOG_FIELD_F64, LOG_FIELD_BOOL };

/** One field of a line; made by the L_* macros below. */
struct log_field {
    const char *name;
    enum log_field_kind kind;
    struct str str;
    int64_t i64;
    double f64;
};

#define L_STR(n, v) ((struct log_field){ .name = (n), .kind = LOG_FIELD_STR, .str = (v) })
#define L_CSTR(n, v) L_STR(n, str_of(v))
#define L_I64(n, v) ((struct log_field){ .name = (n), .kind = LOG_FIELD_I64, .i64 = (int64_t)(v) })
#define L_F64(n, v) ((struct log_field){ .name = (n), .kind = LOG_FIELD_F64, .f64 = (v) })
#define L_BOOL(n, v) ((struct log_field){ .name = (n), .kind = LOG_FIELD_BOOL, .i64 = (v) })

/** Once at start, before threads. `service` is borrowed for ever. */
void log_setup(enum log_level level, const char *service);
bool log_level_parse(struct str text, enum log_level *out) MUST_USE;
bool log_enabled(enum log_level level);
/** `event` is a fixed name in snake_case. */
void log_event(enum log_level level, const char *event, const struct log_field *fields,
               size_t count);
/** LOG(LOG_INFO, "listening", L_CSTR("address", a)) */
#define LOG(level, event, ...)                                                                     \
    log_event((level), (event), (struct log_field[]){ __VA_ARGS__ },                               \
              sizeof((struct log_field[]){ __VA_ARGS__ }) / sizeof(struct log_field))

#ifdef __cplusplus
}
#endif

#endif
