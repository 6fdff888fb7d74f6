/*
 * The hash map: open addressing, linear probing, at most 3/4 full.
 *
 * Removing moves later entries of the same run back, so there are no tombstones and a lookup
 * ends at the first free slot. Hashes are seeded per process, so that nobody outside can choose
 * keys that collide; the order of iteration differs from run to run for the same reason.
 */
#include "base/map.h"

#include <pthread.h>

#include "base/mem.h"
#include "base/rng.h"

enum { CAP_MIN = 8 };

static pthread_once_t seed_once = PTHREAD_ONCE_INIT;
static uint64_t seed;

static void make_seed(void);
static size_t find_slot(const struct map *map, struct str key, uint64_t hash);
static enum status grow(struct map *map);
static void close_gap(struct map *map, size_t gap);

void map_init(struct map *map)
{
    *map = (struct map){ 0 };
}

void map_done(struct map *map)
{
    for (size_t i = 0; i < map->cap; i++) {
        mem_free((char *)map->slots[i].key.ptr);
    }
    mem_free(map->slots);
    *map = (struct map){ 0 };
}

void *map_get(const struct map *map, struct str key)
{
    if (map->count == 0) {
        return NULL;
    }
    return map->slots[find_slot(map, key, str_hash(key, seed))].value;
}

enum status map_put(struct map *map, struct str key, void *value, void **old_out)
{
    if (map->count + 1 > map->cap / 4 * 3) {
        TRY(grow(map));
    }
    uint64_t hash = str_hash(key, seed);
    struct map_entry *entry = &map->slots[find_slot(map, key, hash)];
    void *old = entry->value;
    if (entry->key.ptr == NULL) {
        char *copy = mem_strndup(key.ptr, key.len);
        if (copy == NULL) {
            return E_NO_MEMORY;
        }
        entry->key = str_from(copy, key.len);
        entry->hash = hash;
        map->count++;
    }
    entry->value = value;
    if (old_out != NULL) {
        *old_out = old;
    }
    return OK;
}

void *map_remove(struct map *map, struct str key)
{
    if (map->count == 0) {
        return NULL;
    }
    size_t at = find_slot(map, key, str_hash(key, seed));
    struct map_entry *entry = &map->slots[at];
    if (entry->key.ptr == NULL) {
        return NULL;
    }
    void *value = entry->value;
    mem_free((char *)entry->key.ptr);
    close_gap(map, at);
    map->count--;
    return value;
}

struct map_entry *map_next(const struct map *map, size_t *pos)
{
    while (*pos < map->cap) {
        struct map_entry *entry = &map->slots[(*pos)++];
        if (entry->key.ptr != NULL) {
            return entry;
        }
    }
    return NULL;
}

static void make_seed(void)
{
    seed = random_u64();
}

/** The slot that holds `key`, or the free one where it belongs. A free slot's value is NULL. */
static size_t find_slot(const struct map *map, struct str key, uint64_t hash)
{
    size_t at = hash & (map->cap - 1);
    while (map->slots[at].key.ptr != NULL) {
        if (map->slots[at].hash == hash && str_eq(map->slots[at].key, key)) {
            return at;
        }
        at = (at + 1) & (map->cap - 1);
    }
    return at;
}

static enum status grow(struct map *map)
{
    pthread_once(&seed_once, make_seed); /* every map that holds something came through here */
    size_t cap;
    size_t bytes;
    if (!size_mul(map->cap > 0 ? map->cap : CAP_MIN / 2, 2, &cap) ||
        !size_mul(cap, sizeof(struct map_entry), &bytes)) {
        return E_NO_MEMORY;
    }
    struct map bigger = { .slots = mem_zalloc(bytes), .count = map->count, .cap = cap };
    if (bigger.slots == NULL) {
        return E_NO_MEMORY;
    }
    for (size_t i = 0; i < map->cap; i++) {
        const struct map_entry *entry = &map->slots[i];
        if (entry->key.ptr != NULL) {
            bigger.slots[find_slot(&bigger, entry->key, entry->hash)] = *entry;
        }
    }
    mem_free(map->slots);
    *map = bigger;
    return OK;
}

/** Free the slot `gap` and move back what could no longer be found behind it. */
static void close_gap(struct map *map, size_t gap)
{
    size_t mask = map->cap - 1;
    size_t at = (gap + 1) & mask;
    while (map->slots[at].key.ptr != NULL) {
        /* An entry may fill the gap when its home is not between the gap (excluded) and itself. */
        size_t home = map->slots[at].hash & mask;
        if (((at - home) & mask) >= ((at - gap) & mask)) {
            map->slots[gap] = map->slots[at];
            gap = at;
        }
        at = (at + 1) & mask;
    }
    map->slots[gap] = (struct map_entry){ 0 };
}
