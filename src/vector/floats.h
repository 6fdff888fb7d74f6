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

/** As lrintf, for a size of less than 2^22, in a way that compilers do many at a time: the sum with
 * 1.5 * 2^23 has no room for a fraction. */
static inline int floats_nearest(float value)
{
    const float room = 12582912;
    return (int)((value + room) - room);
}

#endif
