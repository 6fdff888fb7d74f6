/*
 * Text and bytes as a borrowed slice. A `struct str` owns nothing and need not end in NUL.
 */
#ifndef BASE_STR_H
#define BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

struct str {
    const char *ptr; /* may be NULL when len is 0 */
    size_t len;
};

/** STR("literal") and the printf pair: printf("%.*s", STR_ARG(s)). */
#define STR(literal) ((struct str){ "" literal, sizeof(literal) - 1 })
#define STR_INIT(literal) { "" literal, sizeof(literal) - 1 }
#define STR_EMPTY ((struct str){ "", 0 })
#define STR_ARG(s) (int)(s).len, (s).ptr ? (s).ptr : ""

static inline struct str str_from(const char *ptr, size_t len)
{
    return (struct str){ ptr, len };
}
/** The bytes of a NUL-terminated text; NULL gives the empty slice. */
struct str str_of(const char *cstr);

bool str_eq(struct str a, struct str b);
/** ASCII letters compare without case. */
bool str_eq_nocase(struct str a, struct str b);
/** memcmp order, the shorter first. */
int str_cmp(struct str a, struct str b);
bool str_starts(struct str s, struct str prefix);
bool str_ends(struct str s, struct str suffix);
/** Index of the first occurrence, or SIZE_MAX. */
size_t str_find(struct str s, struct str needle);
size_t str_find_char(struct str s, char c);
size_t str_rfind_char(struct str s, char c);
/** From `start` on; past the end gives the empty slice. */
struct str str_skip(struct str s, size_t start);
/** At most `len` bytes from the front. */
struct str str_take(struct str s, size_t len);
/** Without ASCII white space at both ends. */
struct str str_trim(struct str s);
/**
 * Cut at the first `sep`: returns what stands before it and moves `*rest` behind it. At the end
 * `*rest` becomes {NULL, 0}; loop with `while (rest.ptr != NULL)`.
 */
struct str str_split(struct str *rest, char sep);

/** Whole-string decimal numbers without sign tricks, spaces or overflow; false when it is none. */
bool str_to_u64(struct str s, uint64_t *out) MUST_USE;
bool str_to_i64(struct str s, int64_t *out) MUST_USE;
bool str_to_double(struct str s, double *out) MUST_USE;

/** Bytes of the valid UTF-8 character at the front; 0 when there is none. */
size_t str_utf8_len(struct str s);
bool str_is_utf8(struct str s);
/** True when a byte below 0x20 or 0x7f is in it. */
bool str_has_control(struct str s);
uint64_t str_hash(struct str s, uint64_t seed);

/** Edit distance of two short names (64 bytes at most are looked at), for "did you mean". */
size_t str_distance(struct str a, struct str b);

#ifdef __cplusplus
}
#endif

#endif
