/*
 * Values within canonical JSON text: text that was checked and written by base/json.h, without
 * white space, each string with the escapes that it needs and no others. Equal strings are equal
 * bytes there, and walking it needs no checks. Text ends in `}`, `]` or NUL, so that a number in it
 * always ends.
 *
 * Numbers have one form for all: the greatest double not above, and what is missing from it to the
 * whole number. So integers of 64 bits and doubles compare exactly. What is beyond 64 bits counts
 * as the nearest double, beyond that as infinite.
 */
#ifndef COLLECTION_VALUE_H
#define COLLECTION_VALUE_H

#include "base/buf.h"
#include "base/json.h"
#include "base/str.h"

/* In the order in which kinds are sorted. */
enum value_kind {
    VALUE_MISSING,
    VALUE_NULL,
    VALUE_FALSE,
    VALUE_TRUE,
    VALUE_NUMBER,
    VALUE_STRING,
    VALUE_ARRAY,
    VALUE_OBJECT,
};

struct number {
    uint64_t high; /* a double's bits, so turned that they sort as it does */
    uint16_t low;  /* below 2,048 */
};

/** NULL is missing. */
enum value_kind value_kind(const char *at);
/** Just behind the value. */
const char *value_skip(const char *at);
struct number value_number(const char *at);
int number_cmp(struct number a, struct number b);
/** What stands between the quotes, escapes as they are. */
struct str value_string(const char *at);
/** By bytes, `raw` as it is without its escapes. */
int value_string_cmp(struct str raw, struct str plain);
/** The first bytes without escapes, at most `room` of them; gives how many. `cut_out`: there are
 * more. */
size_t value_unescape(struct str raw, char *out, size_t room, bool *cut_out);
/** Deep. Members of objects may stand in any order. */
bool value_equal(const char *a, const char *b);

/** What an array or object holds: `*at` stands on its `[` or `{` at first, then behind what was
 * given. NULL at the end. `key_out` has the name, escapes as they are. */
const char *value_next_item(const char **at);
const char *value_next_member(const char **at, struct str *key_out);
/** NULL when it is not there. `key` with its escapes. */
const char *value_member(const char *object, struct str key);

/** Appends a value as canonical text. */
enum status value_write(yyjson_val *value, struct buf *out) MUST_USE;

#endif
