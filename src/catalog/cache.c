/*
 * The cache of parsed metadata, manifest lists and manifests.
 *
 * A map from key to entry, and a ring of entries by use, newest first. An entry is shared by
 * reference count: the cache holds one, each user one. Eviction only drops the cache's, so a value
 * never goes away under a reader.
 */
#include "catalog/cache.h"

#include "base/map.h"
#include "base/mem.h"

#include <pthread.h>
#include <stdatomic.h>

struct entry {
    struct cache_item item; /* first: an item is its entry */
    atomic_int refs;
    struct str key;            /* owned */
    struct entry *prev, *next; /* guarded by the cache's lock */
};

struct cache {
    pthread_mutex_t lock;
    struct map map;    /* guarded by lock */
    struct entry ring; /* guarded by lock; ring.next is the newest */
    uint64_t bytes;    /* guarded by lock */
    uint64_t bytes_max;
};

static void entry_unref(struct entry *entry)
{
    /* acq_rel: what others did with the value happens before it is freed. */
    if (atomic_fetch_sub_explicit(&entry->refs, 1, memory_order_acq_rel) > 1) {
        return;
    }
    entry->item.done(entry->item.value);
    mem_free((char *)entry->key.ptr);
    mem_free(entry);
}

static void entry_ref(struct entry *entry)
{
    atomic_fetch_add_explicit(&entry->refs, 1, memory_order_relaxed);
}

static void ring_remove(struct entry *entry)
{
    entry->prev->next = entry->next;
    entry->next->prev = entry->prev;
}

static void ring_push(struct cache *cache, struct entry *entry)
{
    entry->prev = &cache->ring;
    entry->next = cache->ring.next;
    entry->next->prev = entry;
    cache->ring.next = entry;
}

enum status cache_new(uint64_t bytes_max, struct cache **out, struct err *err)
{
    struct cache *cache = mem_zalloc(sizeof(*cache));
    if (cache == NULL) {
        return err_no_memory(err);
    }
    pthread_mutex_init(&cache->lock, NULL);
    map_init(&cache->map);
    cache->ring.prev = cache->ring.next = &cache->ring;
    cache->bytes_max = bytes_max == 0 ? 64ULL << 20 : bytes_max;
    *out = cache;
    return OK;
}

void cache_free(struct cache *cache)
{
    if (cache == NULL) {
        return;
    }
    while (cache->ring.next != &cache->ring) {
        struct entry *entry = cache->ring.next;
        ring_remove(entry);
        entry_unref(entry);
    }
    map_done(&cache->map);
    pthread_mutex_destroy(&cache->lock);
    mem_free(cache);
}

struct cache_item *cache_get(struct cache *cache, struct str key)
{
    pthread_mutex_lock(&cache->lock);
    struct entry *entry = map_get(&cache->map, key);
    if (entry != NULL) {
        ring_remove(entry);
        ring_push(cache, entry);
        entry_ref(entry);
    }
    pthread_mutex_unlock(&cache->lock);
    return entry == NULL ? NULL : &entry->item;
}

/** Takes entries off the cold end until `bytes` more fit; returns them chained by next, for freeing
 * without the lock. */
static struct entry *evict(struct cache *cache, size_t bytes)
{
    struct entry *out = NULL;
    while (cache->bytes + bytes > cache->bytes_max && cache->ring.prev != &cache->ring) {
        struct entry *cold = cache->ring.prev;
        ring_remove(cold);
        map_remove(&cache->map, cold->key);
        cache->bytes -= cold->item.bytes;
        cold->next = out;
        out = cold;
    }
    return out;
}

/** Guarded by lock. The entry that stands under the key afterwards, or NULL without memory. */
static struct entry *insert(struct cache *cache, struct entry *fresh, struct entry **evicted_out)
{
    struct entry *there = map_get(&cache->map, fresh->key);
    if (there != NULL) {
        entry_ref(there);
        return there;
    }
    *evicted_out = evict(cache, fresh->item.bytes);
    if (map_put(&cache->map, fresh->key, fresh, NULL) == OK) {
        entry_ref(fresh);
        ring_push(cache, fresh);
        cache->bytes += fresh->item.bytes;
    }
    entry_ref(fresh);
    return fresh;
}

enum status cache_put(struct cache *cache, struct str key, void *value, size_t bytes,
                      void (*done)(void *value), struct cache_item **out, struct err *err)
{
    struct entry *fresh = mem_zalloc(sizeof(*fresh));
    char *copy = mem_strndup(key.ptr, key.len);
    if (fresh == NULL || copy == NULL) {
        mem_free(fresh);
        mem_free(copy);
        done(value);
        return err_no_memory(err);
    }
    fresh->item = (struct cache_item){ .value = value, .bytes = bytes, .done = done };
    fresh->key = str_from(copy, key.len);
    atomic_init(&fresh->refs, 1);
    struct entry *evicted = NULL;
    struct entry *kept = fresh;
    if (bytes <= cache->bytes_max) {
        pthread_mutex_lock(&cache->lock);
        kept = insert(cache, fresh, &evicted);
        pthread_mutex_unlock(&cache->lock);
        entry_unref(fresh); /* the reference it was made with; insert took those that stay */
    }
    while (evicted != NULL) {
        struct entry *next = evicted->next;
        entry_unref(evicted);
        evicted = next;
    }
    *out = &kept->item;
    return OK;
}

void cache_release(struct cache_item *item)
{
    if (item != NULL) {
        entry_unref((struct entry *)item);
    }
}

uint64_t cache_bytes(struct cache *cache)
{
    pthread_mutex_lock(&cache->lock);
    uint64_t bytes = cache->bytes;
    pthread_mutex_unlock(&cache->lock);
    return bytes;
}
