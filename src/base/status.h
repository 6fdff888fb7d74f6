/*
 * Errors: one closed list of kinds that programs act on, and a message that people read.
 *
 * A function that can fail returns `enum status` and takes `struct err *err` as its last
 * parameter, which may be NULL. The function that meets the fault writes the message, once.
 */
#ifndef BASE_STATUS_H
#define BASE_STATUS_H

#include <assert.h>
#include <stdarg.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MUST_USE __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))
/** `AUTO(fd_done) int fd = -1;` calls fd_done(&fd) when the scope ends. */
#define AUTO(done) __attribute__((cleanup(done)))
#define UNUSED __attribute__((unused))
#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

/** An assert for hot loops: on only in builds with sanitizers. */
#ifdef LAKE_DEBUG
#define DEBUG_ASSERT(cond) assert(cond)
#else
#define DEBUG_ASSERT(cond) ((void)0)
#endif

enum status {
    OK = 0,
    E_INVALID,      /* the caller's input is wrong: HTTP 400 */
    E_AUTH,         /* who are you: 401 */
    E_DENIED,       /* you may not: 403 */
    E_NOT_FOUND,    /* 404 */
    E_METHOD,       /* 405 */
    E_EXISTS,       /* it is there already: 409 */
    E_CONFLICT,     /* it does not fit what is there, or somebody else won: 409 */
    E_PRECONDITION, /* a condition of the request does not hold: 412 */
    E_TOO_LARGE,    /* 413 */
    E_TYPE,         /* media type: 415 */
    E_RANGE,        /* 416 */
    E_RATE,         /* 429 + Retry-After */
    E_CANCELED,     /* the client left: 499 */
    E_INTERNAL,     /* 500 */
    E_CORRUPT,      /* stored bytes are not what was written: 500 */
    E_UNSUPPORTED,  /* 501 */
    E_UPSTREAM,     /* a service behind us failed: 502 */
    E_UNAVAILABLE,  /* busy or not ready, try again: 503 + Retry-After */
    E_TIMEOUT,      /* 504 */
    E_NO_MEMORY,    /* a memory limit was met: 507 */
    E_DISK_FULL,    /* 507 */
    E_KIND_COUNT
};

enum { ERR_MESSAGE_MAX = 1024 };

struct err {
    enum status kind;       /* OK when nothing was written */
    unsigned retry_after_s; /* 0: no advice */
    /* lower case, no full stop, NUL-terminated, always valid UTF-8 when inputs are */
    char msg[ERR_MESSAGE_MAX];
};

/** The kind in lower case without `E_`, as it stands in JSON errors: "not_found". */
const char *status_name(enum status kind);
/** The kind of a name; E_INTERNAL when it is unknown. */
enum status status_from_name(const char *name);

/**
 * Write `kind` and a message to `err` (NULL is fine) and return `kind`.
 * A message that does not fit is cut at a UTF-8 boundary and ends in "...".
 */
enum status err_set(struct err *err, enum status kind, const char *fmt, ...) PRINTF_LIKE(3, 4);
/**
 * err_set with `: <strerror>` added; kind from errno: ENOSPC, EDQUOT, EFBIG are E_DISK_FULL,
 * ENOMEM E_NO_MEMORY, ENOENT E_NOT_FOUND, EACCES and EPERM E_DENIED, EMFILE, ENFILE and EROFS
 * E_UNAVAILABLE, else E_INTERNAL.
 */
enum status err_errno(struct err *err, int errno_value, const char *fmt, ...) PRINTF_LIKE(3, 4);
/**
 * Put `fmt: ` in front of the message that is there; returns err->kind (E_INTERNAL when err is
 * NULL).
 */
enum status err_context(struct err *err, const char *fmt, ...) PRINTF_LIKE(2, 3);
/** E_NO_MEMORY with the usual message. */
enum status err_no_memory(struct err *err);
#ifdef __clang_analyzer__
/* The analyzer sees one file at a time: let it know that these never return OK. */
#define err_set(err, kind, ...) ((void)err_set((err), (kind), __VA_ARGS__), (kind))
#define err_no_memory(err) ((void)err_no_memory(err), E_NO_MEMORY)
#define err_errno(err, value, ...) ((void)err_errno((err), (value), __VA_ARGS__), E_INTERNAL)
#endif

#define TRY(call)                                                                                  \
    do {                                                                                           \
        enum status try_status_ = (call);                                                          \
        if (try_status_ != OK) {                                                                   \
            return try_status_;                                                                    \
        }                                                                                          \
    } while (0)

#ifdef __cplusplus
}
#endif

#endif
