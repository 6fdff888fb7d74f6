/*
 * What the tests of the iceberg layer share: the includes of cmocka, JSON by hand, schemas from
 * text.
 */
#ifndef TEST_ICEBERG_HELPER_H
#define TEST_ICEBERG_HELPER_H

#include "iceberg/metadata.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

/** Single quotes become double quotes, so that JSON in C stays readable; in `arena`. */
struct str json_text(struct arena *arena, const char *text);
/** A schema from such JSON; fails the test when it is none. */
struct ice_schema schema_of(struct arena *arena, const char *text);
/** Fails the test with the message when `status` is not OK. */
void must(enum status status, const struct err *err);
#define MUST(call) must((call), &err)
#define assert_str(s, text) assert_true(str_eq((s), str_of(text)))

#endif
