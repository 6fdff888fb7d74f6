/*
 * A path into metadata, `a.b.0.c`, and the values that it leads to: MongoDB's way through arrays.
 *
 *   "a" of {"a": [1, [2]]}          -> 1, [2], [1, [2]]     each element, then the array
 *   "a.b" of {"a": [{"b": 1}, {}]}  -> 1, missing           each object of an array
 *   "a.0" of {"a": [5, 7]}          -> 5                    a position, as it is
 *   "a.b" of {"a": 4}, of {}        -> missing
 *   "a.b" of {"a": [1, 2]}          -> nothing at all
 */
#ifndef COLLECTION_PATH_H
#define COLLECTION_PATH_H

#include "base/arena.h"
#include "base/str.h"

/* More would let a document of nested arrays be walked in thousands of ways: a position may be
 * taken or not at each of them. */
enum { PATH_PARTS_MAX = 16 };

struct path_part {
    struct str key;    /* with its escapes, as it stands in canonical text */
    uint32_t position; /* UINT32_MAX: it is none */
};

struct path {
    struct str text; /* as it was given */
    uint64_t hash;
    struct path_part *parts;
    size_t count;
};

/** In the arena. `\.` is a dot and `\\` a backslash of a name. E_INVALID, E_NO_MEMORY. */
enum status path_parse(struct str text, struct arena *arena, struct path **out,
                       struct err *err) MUST_USE;

/** Calls `visit` with each value (NULL: missing) until it gives true; gives what it gave last. */
bool path_walk(const struct path *path, const char *object,
               bool (*visit)(void *ctx, const char *value), void *ctx);

#endif
