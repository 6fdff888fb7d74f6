/*
 * Which batches have their marker, as far as this process knows. A pointer may forget a batch only
 * then; one that another process left in the pointer simply gets its marker written again.
 */
#include "catalog/marks.h"

#include <pthread.h>
#include <stdio.h>

#include "base/map.h"
#include "base/mem.h"

struct marks {
    pthread_mutex_t lock;
    struct map map; /* guarded by lock; key "<uuid>/<id>/<snapshot>", value one of the two below */
};

/* More than a pointer ever carries; past it all is forgotten, which costs some markers a second
 * write. */
enum { MARKS_MAX = 100000, MARK_KEY_MAX = 320 };

static int mark_taken, mark_written;

struct marks *marks_new(void)
{
    struct marks *marks = mem_zalloc(sizeof(*marks));
    if (marks != NULL) {
        pthread_mutex_init(&marks->lock, NULL);
        map_init(&marks->map);
    }
    return marks;
}

void marks_free(struct marks *marks)
{
    if (marks != NULL) {
        map_done(&marks->map);
        pthread_mutex_destroy(&marks->lock);
        mem_free(marks);
    }
}

static struct str mark_key(char *room, struct str uuid, const struct pointer_batch *batch)
{
    int len = snprintf(room, MARK_KEY_MAX, "%.*s/%.*s/%lld", STR_ARG(uuid), STR_ARG(batch->id),
                       (long long)batch->snapshot_id);
    return str_from(room, len < MARK_KEY_MAX ? (size_t)len : MARK_KEY_MAX - 1);
}

static void *get(struct marks *marks, struct str uuid, const struct pointer_batch *batch)
{
    char room[MARK_KEY_MAX];
    struct str key = mark_key(room, uuid, batch);
    pthread_mutex_lock(&marks->lock);
    void *value = map_get(&marks->map, key);
    pthread_mutex_unlock(&marks->lock);
    return value;
}

static void set(struct marks *marks, struct str uuid, const struct pointer_batch *batch,
                void *value)
{
    char room[MARK_KEY_MAX];
    struct str key = mark_key(room, uuid, batch);
    pthread_mutex_lock(&marks->lock);
    if (marks->map.count >= MARKS_MAX) {
        map_done(&marks->map);
        map_init(&marks->map);
    }
    /* Without memory it is as if we did not know: the marker is written once more. */
    enum status ignored = map_put(&marks->map, key, value, NULL);
    (void)ignored;
    pthread_mutex_unlock(&marks->lock);
}

bool marks_has(struct marks *marks, struct str uuid, const struct pointer_batch *batch)
{
    return get(marks, uuid, batch) == &mark_written;
}

bool marks_is_taken(struct marks *marks, struct str uuid, const struct pointer_batch *batch)
{
    return get(marks, uuid, batch) != NULL;
}

void marks_take(struct marks *marks, struct str uuid, const struct pointer_batch *batch)
{
    set(marks, uuid, batch, &mark_taken);
}

void marks_add(struct marks *marks, struct str uuid, const struct pointer_batch *batch)
{
    set(marks, uuid, batch, &mark_written);
}

void marks_drop(struct marks *marks, struct str uuid, const struct pointer_batch *batch)
{
    char room[MARK_KEY_MAX];
    struct str key = mark_key(room, uuid, batch);
    pthread_mutex_lock(&marks->lock);
    (void)map_remove(&marks->map, key);
    pthread_mutex_unlock(&marks->lock);
}
