/*
 * A bounded cache of parsed immutable objects, least recently used out first. Thread safe; no lock
 * is held while a value is made or freed.
 */
#ifndef CATALOG_CACHE_H
#define CATALOG_CACHE_H

#include "base/str.h"

struct cache;

/** One cached value. Whoever holds a reference may read `value`; it outlives its place in the
 * cache. */
struct cache_item {
    void *value;
    size_t bytes;
    void (*done)(void *value);
};

/** bytes_max 0: 64 MiB. */
enum status cache_new(uint64_t bytes_max, struct cache **out, struct err *err) MUST_USE;
/** Items that are still referenced live on until they are released. */
void cache_free(struct cache *cache);

/** A new reference, or NULL. */
struct cache_item *cache_get(struct cache *cache, struct str key) MUST_USE;
/**
 * Keep `value` under `key`; when another thread was first, its value stays and ours is freed.
 *
 * Owns     takes `value`, also on failure
 * Returns  a reference to what is cached now; a value larger than the whole cache is returned
 * without being kept
 */
enum status cache_put(struct cache *cache, struct str key, void *value, size_t bytes,
                      void (*done)(void *value), struct cache_item **out, struct err *err) MUST_USE;
/** NULL is fine. */
void cache_release(struct cache_item *item);
uint64_t cache_bytes(struct cache *cache);

#endif
