/*
 * float32 as decimal text, both ways, fast and exact: what is read is the float nearest to the text
 * (ties to even, as strtof), what is written reads back as the same float.
 */
#ifndef BASE_FLOAT_TEXT_H
#define BASE_FLOAT_TEXT_H

#include "base/str.h"

#ifdef __cplusplus
extern "C" {
#endif

/* float_text_write: the longest text it makes, "-1.17549435e-38" and some room */
enum { FLOAT_TEXT_MAX = 24 };

/**
 * Read the number of JSON's grammar that stands at `text` (RFC 8259: no leading zeros, no `+`, no
 * `.5`).
 *
 * Returns  the bytes it takes, 0 when there is none, or when it is larger than a float can be
 * Cost     about 8 ns up to 19 digits
 * Source   Clinger, "How to read floating point numbers accurately", PLDI 1990: the fast path. Here
 *          it goes through a double with an error of some units in its last place, which decides
 *          the float unless the double is that near to the middle of two floats
 */
size_t float_text_read(struct str text, float *out);

/**
 * Read numbers like `-0.0123` that end in a comma, with at most one blank behind it, from `*at` of
 * a text on: as long as they are such, and stand neither at the front nor at the end of the text.
 *
 * Returns  how many, at most count_max, of 0 and more; *at is where the next one would begin
 * Cost     about 9 ns each, up to 23 digits
 * Source   Lemire, "Number parsing at a gigabyte per second", 2021: digits by vectors. Texts of
 *          more
 *          than 16 digits are cut there, and what the rest could change is read with care
 */
size_t float_text_read_many(struct str text, size_t *at, float *out, size_t count_max);

/**
 * Write a finite float with the fewest of 6 to 9 digits that read back as it.
 *
 * Returns  the bytes written, at most FLOAT_TEXT_MAX; no NUL
 */
size_t float_text_write(float value, char out[FLOAT_TEXT_MAX]);

#ifdef __cplusplus
}
#endif

#endif
