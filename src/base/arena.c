/*
 * Arena: a list of blocks, newest first; memory is cut from the front of the newest.
 *
 *     head -> [ header | used ....... | free .. ] -> [ header | used ............ ] -> NULL
 *
 * Blocks double from 4 KiB to 256 KiB. What is bigger than a block gets one of its own size. The
 * limit counts whole blocks, because that is what the process really holds.
 */
#include "base/arena.h"

#include <stdio.h>

#include "base/mem.h"

enum {
    ARENA_BYTES_MAX_DEFAULT = 64 * 1024 * 1024,
    BLOCK_BYTES_MIN = 4 * 1024,   /* chosen: a small request needs one */
    BLOCK_BYTES_MAX = 256 * 1024, /* chosen: above it the waste at the end counts more */
    ALIGN = 16,
};

struct arena_block {
    struct arena_block *next;
    size_t size; /* of `bytes` */
    size_t used;
    _Alignas(16) char bytes[];
};

static struct arena_block *add_block(struct arena *arena, size_t size);
static void free_blocks(struct arena_block *block);

void arena_init(struct arena *arena, size_t bytes_max)
{
    *arena = (struct arena){ .bytes_max = bytes_max > 0 ? bytes_max : ARENA_BYTES_MAX_DEFAULT };
}

void arena_done(struct arena *arena)
{
    free_blocks(arena->head);
    arena->head = NULL;
    arena->used_bytes = 0;
}

void arena_reset(struct arena *arena)
{
    struct arena_block *kept = arena->head;
    if (kept == NULL) {
        return;
    }
    free_blocks(kept->next);
    kept->next = NULL;
    kept->used = 0;
    arena->used_bytes = sizeof(*kept) + kept->size;
}

void *arena_alloc(struct arena *arena, size_t size)
{
    size_t rounded;
    if (!size_add(size > 0 ? size : 1, ALIGN - 1, &rounded)) {
        return NULL;
    }
    rounded &= ~(size_t)(ALIGN - 1);
    struct arena_block *block = arena->head;
    if (block == NULL || block->size - block->used < rounded) {
        block = add_block(arena, rounded);
        if (block == NULL) {
            return NULL;
        }
    }
    void *ptr = block->bytes + block->used;
    block->used += rounded;
    return memset(ptr, 0, rounded);
}

void *arena_array(struct arena *arena, size_t count, size_t size)
{
    size_t bytes;
    return size_mul(count, size, &bytes) ? arena_alloc(arena, bytes) : NULL;
}

char *arena_cstr(struct arena *arena, struct str s)
{
    size_t size;
    if (!size_add(s.len, 1, &size)) {
        return NULL;
    }
    char *copy = arena_alloc(arena, size); /* zeroed, so the NUL is there */
    if (copy != NULL && s.len > 0) {
        memcpy(copy, s.ptr, s.len);
    }
    return copy;
}

struct str arena_str(struct arena *arena, struct str s)
{
    char *copy = arena_cstr(arena, s);
    return str_from(copy, copy == NULL ? 0 : s.len);
}

struct str arena_printf(struct arena *arena, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int len = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    char *text = len < 0 ? NULL : arena_alloc(arena, (size_t)len + 1);
    if (text == NULL) {
        return str_from(NULL, 0);
    }
    va_start(args, fmt);
    vsnprintf(text, (size_t)len + 1, fmt, args);
    va_end(args);
    return str_from(text, (size_t)len);
}

/** A new head with room for `size` bytes, which are a multiple of ALIGN. */
static struct arena_block *add_block(struct arena *arena, size_t size)
{
    size_t left = arena->bytes_max > arena->used_bytes ? arena->bytes_max - arena->used_bytes : 0;
    size_t needed;
    if (!size_add(size, sizeof(struct arena_block), &needed) || needed > left) {
        return NULL;
    }
    size_t total = arena->head == NULL ? BLOCK_BYTES_MIN
                                       : 2 * (sizeof(*arena->head) + arena->head->size);
    total = total > BLOCK_BYTES_MAX ? BLOCK_BYTES_MAX : total;
    total = total > left ? left : total;
    total = total < needed ? needed : total;
    struct arena_block *block = mem_alloc(total);
    if (block == NULL) {
        return NULL;
    }
    block->next = arena->head;
    block->size = total - sizeof(*block);
    block->used = 0;
    arena->head = block;
    arena->used_bytes += total;
    return block;
}

static void free_blocks(struct arena_block *block)
{
    while (block != NULL) {
        struct arena_block *next = block->next;
        mem_free(block);
        block = next;
    }
}
