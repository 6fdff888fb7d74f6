/*
 * Allocation: malloc behind one door, so that tests can make the n-th call fail, and sizes
 * that came from outside are checked before they reach an allocator.
 */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * As malloc, calloc, realloc; NULL when there is none (or a test says so). Size 0 gives a valid
 * pointer.
 */
void *mem_alloc(size_t size) MUST_USE;
void *mem_zalloc(size_t size) MUST_USE;
void *mem_realloc(void *ptr, size_t size) MUST_USE;
/** NULL is fine. */
void mem_free(void *ptr);
/** A NUL-terminated copy of `len` bytes. */
char *mem_strndup(const char *ptr, size_t len) MUST_USE;

/** For start-up code only: abort with a line on standard error when there is no memory. */
void *xmalloc(size_t size) MUST_USE;
char *xstrdup(const char *text) MUST_USE;

/** False when the result does not fit in size_t; `*out` is then untouched. */
bool size_mul(size_t a, size_t b, size_t *out) MUST_USE;
bool size_add(size_t a, size_t b, size_t *out) MUST_USE;

/**
 * Tests: let the `nth` allocation from now on in this thread fail (0 = the next), once; -1
 * switches it off.
 */
void mem_fail_nth(long nth);
/** Tests: true when the failure set by mem_fail_nth has happened. */
bool mem_fail_happened(void);

#ifdef __cplusplus
}
#endif

#endif
