/*
 * What rows and codes both ask of a list of floats; the same bits on every processor.
 */
#ifndef VECTOR_FLOATS_H
#define VECTOR_FLOATS_H

#include <stddef.h>

/** The greatest absolute value; 0 for none. */
float floats_greatest(const float *values, size_t n);
/** The sum of products, in doubles. */
double floats_dot(const float *a, const float *b, size_t n);

#endif
