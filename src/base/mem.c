/*
 * Allocation: malloc behind one door.
 *
 * The door counts, per thread, the allocations that are still to succeed before one fails. A test
 * sets that number to 0, 1, 2 ... and so walks through every error path of what it calls.
 */
#include "base/mem.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Thread_local long fail_countdown = -1;
static _Thread_local bool fail_happened;

static bool must_fail(void);
static void *or_abort(void *ptr);

void *mem_alloc(size_t size)
{
    return must_fail() ? NULL : malloc(size > 0 ? size : 1);
}

void *mem_zalloc(size_t size)
{
    return must_fail() ? NULL : calloc(1, size > 0 ? size : 1);
}

void *mem_realloc(void *ptr, size_t size)
{
    return must_fail() ? NULL : realloc(ptr, size > 0 ? size : 1);
}

void mem_free(void *ptr)
{
    free(ptr);
}

char *mem_strndup(const char *ptr, size_t len)
{
    size_t size;
    if (!size_add(len, 1, &size)) {
        return NULL;
    }
    char *copy = mem_alloc(size);
    if (copy == NULL) {
        return NULL;
    }
    if (len > 0) {
        memcpy(copy, ptr, len);
    }
    copy[len] = '\0';
    return copy;
}

void *xmalloc(size_t size)
{
    return or_abort(mem_alloc(size));
}

char *xstrdup(const char *text)
{
    return or_abort(mem_strndup(text, strlen(text)));
}

bool size_mul(size_t a, size_t b, size_t *out)
{
    size_t product;
    if (__builtin_mul_overflow(a, b, &product)) {
        return false;
    }
    *out = product;
    return true;
}

bool size_add(size_t a, size_t b, size_t *out)
{
    size_t sum;
    if (__builtin_add_overflow(a, b, &sum)) {
        return false;
    }
    *out = sum;
    return true;
}

void mem_fail_nth(long nth)
{
    fail_countdown = nth;
    fail_happened = false;
}

bool mem_fail_happened(void)
{
    return fail_happened;
}

static bool must_fail(void)
{
    if (fail_countdown < 0) {
        return false;
    }
    if (fail_countdown-- > 0) {
        return false;
    }
    fail_happened = true; /* the countdown is now -1: off */
    return true;
}

static void *or_abort(void *ptr)
{
    if (ptr == NULL) {
        fputs("out of memory at start\n", stderr);
        abort();
    }
    return ptr;
}
