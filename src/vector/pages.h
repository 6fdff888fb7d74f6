/*
 * Zeroed memory for rows: aligned to a cache line, in pages of 2 MiB when it is large.
 */
#ifndef VECTOR_PAGES_H
#define VECTOR_PAGES_H

#include "vector/lakevec.h"

/** NULL when there is none. */
void *pages_alloc(size_t bytes) MUST_USE;
/** `bytes` as it was asked for; NULL is fine. */
void pages_free(void *pages, size_t bytes);

#endif
