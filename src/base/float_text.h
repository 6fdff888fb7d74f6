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
 * Write a finite float with the fewest of 6 to 9 digits that read back as it.
 *
 * Returns  the bytes written, at most FLOAT_TEXT_MAX; no NUL
 */
size_t float_text_write(float value, char out[FLOAT_TEXT_MAX]);

#ifdef __cplusplus
}
#endif

#endif
