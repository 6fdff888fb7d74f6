/*
 * Arena: memory that dies together. One request, one arena; nobody frees its pieces by hand.
 */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include "base/str.h"

#ifdef __cplusplus
extern "C" {
#endif

struct arena_block;

struct arena {
    struct arena_block *head; /* newest block */
    size_t used_bytes;        /* handed out by the allocator in all */
    size_t bytes_max;
};

/** Nothing is allocated yet. bytes_max 0 means 64 MiB. */
void arena_init(struct arena *arena, size_t bytes_max);
void arena_done(struct arena *arena);
/** Give back everything but one block; the arena is as after init. */
void arena_reset(struct arena *arena);

/** Zeroed memory for any type; NULL when there is none or the limit is met. */
void *arena_alloc(struct arena *arena, size_t size) MUST_USE;
/** `count` elements of `size`, overflow checked. */
void *arena_array(struct arena *arena, size_t count, size_t size) MUST_USE;
/** A NUL-terminated copy; NULL when there is no memory. */
char *arena_cstr(struct arena *arena, struct str s) MUST_USE;
/** The same as a slice; .ptr is NULL when there is no memory. */
struct str arena_str(struct arena *arena, struct str s) MUST_USE;
/** A printed text; .ptr is NULL when there is no memory. */
struct str arena_printf(struct arena *arena, const char *fmt, ...) PRINTF_LIKE(2, 3) MUST_USE;

#define ARENA_NEW(arena, type) ((type *)arena_alloc((arena), sizeof(type)))

#ifdef __cplusplus
}
#endif

#endif
