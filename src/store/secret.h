/*
 * The token with which the services of one lake know each other: `<dir>/_lake/secret`, made at the
 * first start.
 */
#ifndef STORE_SECRET_H
#define STORE_SECRET_H

#include "base/str.h"

enum { STORE_SECRET_MIN = 16, STORE_SECRET_MAX = 128 };

/**
 * Read the secret below `dir`, or make it: 64 hex digits, mode 0600, durable. Of processes that
 * start together one makes it and all get the same. A text of one's own in the file is fine: one
 * line of 16 to 128 printable characters.
 *
 * Errors   E_DENIED when others than the owner may read the file, E_INVALID when the text is no
 *          secret
 * Returns  out is NUL-terminated
 */
enum status store_secret_load(const char *dir, char out[STORE_SECRET_MAX + 1],
                              struct err *err) MUST_USE;

struct io_calls;
/** The same over a table of system calls, for tests. */
enum status store_secret_load_by(const struct io_calls *calls, const char *dir,
                                 char out[STORE_SECRET_MAX + 1], struct err *err) MUST_USE;

#endif
