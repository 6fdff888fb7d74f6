/*
 * The statement guard by itself: parses and looks, binds and runs nothing. For its fuzz target.
 */
#ifndef DUCK_GUARD_CHECK_H
#define DUCK_GUARD_CHECK_H

#include "base/str.h"

#ifdef __cplusplus
extern "C" {
#endif

/** OK when the guard would let the script pass, *statements_out of them. */
enum status duck_guard_check(struct str sql, size_t *statements_out, struct err *err) MUST_USE;

#ifdef __cplusplus
}
#endif

#endif
