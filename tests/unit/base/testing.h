/*
 * What the tests of base share: cmocka with the headers it wants, and the walk through every
 * failing allocation.
 */
#ifndef TESTS_BASE_TESTING_H
#define TESTS_BASE_TESTING_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/str.h"

#define assert_str(actual, expected) assert_str_at((actual), (expected), __FILE__, __LINE__)

static inline void assert_str_at(struct str actual, const char *expected, const char *file,
                                 int line)
{
    if (!str_eq(actual, str_of(expected))) {
        print_error("%s:%d: \"%.*s\" is not \"%s\"\n", file, line, STR_ARG(actual), expected);
        fail();
    }
}

/**
 * Run `call` with the 0th, 1st, 2nd ... allocation failing, until none fails. `call` gives an
 * enum status and must be E_NO_MEMORY each time an allocation failed; then `check` runs. At least
 * one allocation must have failed, so that the walk cannot pass by doing nothing.
 */
#define FAIL_EVERY_ALLOCATION(call, check)                                                         \
    do {                                                                                           \
        long nth_ = 0;                                                                             \
        for (;; nth_++) {                                                                          \
            mem_fail_nth(nth_);                                                                    \
            enum status status_ = (call);                                                          \
            bool happened_ = mem_fail_happened();                                                  \
            mem_fail_nth(-1);                                                                      \
            if (!happened_) {                                                                      \
                assert_int_equal(status_, OK);                                                     \
                break;                                                                             \
            }                                                                                      \
            assert_int_equal(status_, E_NO_MEMORY);                                                \
            check;                                                                                 \
        }                                                                                          \
        assert_true(nth_ > 0);                                                                     \
    } while (0)

#endif
