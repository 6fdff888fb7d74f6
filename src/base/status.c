/*
 * Errors: the table of kinds and the four ways to write a message.
 *
 * A message is printed into a buffer on the stack and then copied, so that an argument may point
 * into the message that is replaced. What does not fit is cut where a UTF-8 character begins.
 */
#include "base/status.h"

#ifdef __clang_analyzer__
#undef err_set
#undef err_no_memory
#undef err_errno
#endif

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char *const kind_names[E_KIND_COUNT] = {
    [OK] = "ok",
    [E_INVALID] = "invalid",
    [E_AUTH] = "auth",
    [E_DENIED] = "denied",
    [E_NOT_FOUND] = "not_found",
    [E_METHOD] = "method",
    [E_EXISTS] = "exists",
    [E_CONFLICT] = "conflict",
    [E_PRECONDITION] = "precondition",
    [E_TOO_LARGE] = "too_large",
    [E_TYPE] = "type",
    [E_RANGE] = "range",
    [E_RATE] = "rate",
    [E_CANCELED] = "canceled",
    [E_INTERNAL] = "internal",
    [E_CORRUPT] = "corrupt",
    [E_UNSUPPORTED] = "unsupported",
    [E_UPSTREAM] = "upstream",
    [E_UNAVAILABLE] = "unavailable",
    [E_TIMEOUT] = "timeout",
    [E_NO_MEMORY] = "no_memory",
    [E_DISK_FULL] = "disk_full",
};

static void print_message(char out[ERR_MESSAGE_MAX], const char *fmt, va_list args)
    __attribute__((format(printf, 2, 0)));
static void join_message(char out[ERR_MESSAGE_MAX], const char *head, const char *tail);
static void cut_message(char out[ERR_MESSAGE_MAX]);
static enum status kind_of_errno(int errno_value);

const char *status_name(enum status kind)
{
    if ((unsigned)kind >= E_KIND_COUNT) {
        return kind_names[E_INTERNAL];
    }
    return kind_names[kind];
}

enum status status_from_name(const char *name)
{
    for (int kind = 0; kind < E_KIND_COUNT; kind++) {
        if (strcmp(kind_names[kind], name) == 0) {
            return (enum status)kind;
        }
    }
    return E_INTERNAL;
}

enum status err_set(struct err *err, enum status kind, const char *fmt, ...)
{
    if (err == NULL) {
        return kind;
    }
    char message[ERR_MESSAGE_MAX];
    va_list args;
    va_start(args, fmt);
    print_message(message, fmt, args);
    va_end(args);
    strcpy(err->msg, message);
    err->kind = kind;
    err->retry_after_s = 0;
    return kind;
}

enum status err_errno(struct err *err, int errno_value, const char *fmt, ...)
{
    enum status kind = kind_of_errno(errno_value);
    if (err == NULL) {
        return kind;
    }
    char message[ERR_MESSAGE_MAX];
    va_list args;
    va_start(args, fmt);
    print_message(message, fmt, args);
    va_end(args);
    /* glibc keeps the text of an unknown number per thread, so strerror is safe in threads. */
    join_message(err->msg, message, strerror(errno_value));
    err->kind = kind;
    err->retry_after_s = 0;
    return kind;
}

enum status err_context(struct err *err, const char *fmt, ...)
{
    if (err == NULL) {
        return E_INTERNAL;
    }
    if (err->kind == OK) {
        /* Somebody failed without a message; success must not come out of that. */
        err->kind = E_INTERNAL;
        strcpy(err->msg, "failed without a reason");
    }
    char head[ERR_MESSAGE_MAX];
    char tail[ERR_MESSAGE_MAX];
    va_list args;
    va_start(args, fmt);
    print_message(head, fmt, args);
    va_end(args);
    strcpy(tail, err->msg);
    join_message(err->msg, head, tail);
    return err->kind;
}

enum status err_no_memory(struct err *err)
{
    return err_set(err, E_NO_MEMORY, "out of memory");
}

static void print_message(char out[ERR_MESSAGE_MAX], const char *fmt, va_list args)
{
    int len = vsnprintf(out, ERR_MESSAGE_MAX, fmt, args);
    if (len < 0) {
        strcpy(out, "a message that cannot be printed");
    } else if (len >= ERR_MESSAGE_MAX) {
        cut_message(out);
    }
}

/** `head: tail`, cut when it is too long. */
static void join_message(char out[ERR_MESSAGE_MAX], const char *head, const char *tail)
{
    int len = snprintf(out, ERR_MESSAGE_MAX, "%s: %s", head, tail);
    if (len >= ERR_MESSAGE_MAX) {
        cut_message(out);
    }
}

/** Ends a full buffer in "...", at the last place where a UTF-8 character begins. */
static void cut_message(char out[ERR_MESSAGE_MAX])
{
    size_t end = ERR_MESSAGE_MAX - 4;
    while (end > 0 && ((unsigned char)out[end] & 0xC0) == 0x80) {
        end--;
    }
    strcpy(out + end, "...");
}

static enum status kind_of_errno(int errno_value)
{
    switch (errno_value) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return E_DISK_FULL;
    case ENOMEM:
        return E_NO_MEMORY;
    case ENOENT:
        return E_NOT_FOUND;
    case EACCES:
    case EPERM:
        return E_DENIED;
    case EMFILE: /* these pass, by themselves or by an operator's hand */
    case ENFILE:
    case EROFS:
        return E_UNAVAILABLE;
    default:
        return E_INTERNAL;
    }
}
