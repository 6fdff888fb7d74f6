/*
 * Field indexes, by path. A place in the list is filled once, before `count` says so; only a change
 * takes one out, when no reader is there.
 *
 * A path whose index passed the limit keeps its place, empty, so that it is not tried at each
 * filter.
 */
#include "collection/fields.h"

#include <pthread.h>
#include <stdatomic.h>

#include "base/mem.h"
#include "collection/meta_priv.h"

enum {
    CHECK_EVERY = 1024,
    /* Together they may take the larger of this and MEMORY_TIMES what metadata takes; chosen, so
     * that the numbers of a few fields fit, and the whole text of all items does not, twice. */
    MEMORY_MIN = 64 * 1024 * 1024,
    MEMORY_TIMES = 4,
};

struct place {
    struct field *field;
    bool refused; /* the field is of no slots */
};

struct fields {
    pthread_mutex_t making;
    struct place places[META_PATHS_MAX];
    _Atomic uint32_t count; /* released: the places below are whole */
};

struct fields *fields_new(void)
{
    struct fields *fields = mem_zalloc(sizeof(*fields));
    if (fields != NULL) {
        pthread_mutex_init(&fields->making, NULL);
    }
    return fields;
}

void fields_free(struct fields *fields)
{
    if (fields != NULL) {
        for (uint32_t i = 0; i < fields->count; i++) {
            field_free(fields->places[i].field);
        }
        pthread_mutex_destroy(&fields->making);
        mem_free(fields);
    }
}

void fields_add(struct fields *fields, uint32_t slot, const char *object)
{
    uint32_t count = atomic_load_explicit(&fields->count, memory_order_relaxed);
    for (uint32_t i = 0; i < count;) {
        struct place *place = &fields->places[i];
        if (place->refused || field_add(place->field, slot, object) == OK) {
            i++;
            continue;
        }
        field_free(place->field);
        *place = fields->places[--count];
    }
    atomic_store_explicit(&fields->count, count, memory_order_relaxed);
}

void fields_remove(struct fields *fields, uint32_t slot, const char *object)
{
    uint32_t count = atomic_load_explicit(&fields->count, memory_order_relaxed);
    for (uint32_t i = 0; i < count; i++) {
        if (!fields->places[i].refused) {
            field_remove(fields->places[i].field, slot, object);
        }
    }
}

static const struct place *find(const struct fields *fields, const struct path *path)
{
    uint32_t count = atomic_load_explicit(&fields->count, memory_order_acquire);
    for (uint32_t i = 0; i < count; i++) {
        if (field_is_of(fields->places[i].field, path)) {
            return &fields->places[i];
        }
    }
    return NULL;
}

const struct field *fields_find(const struct fields *fields, const struct path *path)
{
    const struct place *place = find(fields, path);
    return place != NULL && !place->refused ? place->field : NULL;
}

uint64_t fields_memory(const struct fields *fields)
{
    uint64_t bytes = sizeof(*fields);
    uint32_t count = atomic_load_explicit(&fields->count, memory_order_acquire);
    for (uint32_t i = 0; i < count; i++) {
        bytes += field_memory(fields->places[i].field);
    }
    return bytes;
}

uint32_t fields_count(const struct fields *fields)
{
    uint32_t made = 0;
    uint32_t count = atomic_load_explicit(&fields->count, memory_order_acquire);
    for (uint32_t i = 0; i < count; i++) {
        made += !fields->places[i].refused;
    }
    return made;
}

/* --- making one --- */

static uint64_t memory_left(const struct fields *fields, const struct meta *meta)
{
    uint64_t limit = records_memory(&meta->records) * MEMORY_TIMES;
    uint64_t used = fields_memory(fields);
    limit = limit > MEMORY_MIN ? limit : MEMORY_MIN;
    return limit > used ? limit - used : 0;
}

/** False: `limit` was passed. */
static enum status fill(struct field *field, const struct meta *meta, uint64_t limit,
                        bool *fits_out)
{
    uint32_t since = 0;
    *fits_out = true;
    for (size_t word = 0; word < meta->word_count && *fits_out; word++) {
        for (uint64_t rest = meta->live[word]; rest != 0; rest &= rest - 1) {
            uint32_t slot = (uint32_t)(word * 64) + (uint32_t)__builtin_ctzll(rest);
            TRY(field_add(field, slot, meta_text(meta, slot)));
            since++;
        }
        if (since >= CHECK_EVERY) {
            since = 0;
            *fits_out = field_memory(field) <= limit;
        }
    }
    return OK;
}

/** Nothing is published when there is no memory: another filter may try again. */
static const struct field *make(struct fields *fields, const struct meta *meta,
                                const struct path *path, uint32_t at)
{
    struct field *field = field_new(path);
    bool fits = false;
    if (field == NULL || fill(field, meta, memory_left(fields, meta), &fits) != OK) {
        field_free(field);
        return NULL;
    }
    if (!fits) {
        field_free(field);
        field = field_new(path);
        if (field == NULL) {
            return NULL;
        }
    }
    fields->places[at] = (struct place){ .field = field, .refused = !fits };
    atomic_store_explicit(&fields->count, at + 1, memory_order_release);
    return fits ? field : NULL;
}

const struct field *fields_make(struct fields *fields, const struct meta *meta,
                                const struct path *path)
{
    pthread_mutex_lock(&fields->making);
    uint32_t count = atomic_load_explicit(&fields->count, memory_order_relaxed);
    const struct place *place = find(fields, path); /* somebody may have been quicker */
    const struct field *field = place != NULL && !place->refused ? place->field : NULL;
    if (place == NULL && count < META_PATHS_MAX) {
        field = make(fields, meta, path, count);
    }
    pthread_mutex_unlock(&fields->making);
    return field;
}
