/*
 * A hash map from byte strings to pointers, open addressing, keys copied. Not thread safe.
 */
#ifndef BASE_MAP_H
#define BASE_MAP_H

#include "base/str.h"

#ifdef __cplusplus
extern "C" {
#endif

struct map_entry {
    struct str key; /* owned by the map */
    void *value;
    uint64_t hash;
};

struct map {
    struct map_entry *slots; /* key.ptr NULL: free */
    size_t count;
    size_t cap; /* power of two or 0 */
};

void map_init(struct map *map);
/** Keys are freed, values are the caller's. */
void map_done(struct map *map);
void *map_get(const struct map *map, struct str key);
/**
 * Sets or replaces; the old value, if any, goes to `*old_out` (may be NULL). E_NO_MEMORY leaves
 * the map as it was.
 */
enum status map_put(struct map *map, struct str key, void *value, void **old_out) MUST_USE;
/** Removes and returns the value, NULL when it was not there. */
void *map_remove(struct map *map, struct str key);
/** Iterate: start with *pos = 0; NULL at the end. The map must not change meanwhile. */
struct map_entry *map_next(const struct map *map, size_t *pos);

#ifdef __cplusplus
}
#endif

#endif
