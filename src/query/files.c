/*
 * Bytes of pinned files for the engine. A local store gives a descriptor, which the engine then
 * reads by itself; another store's objects are read here, through a few that are kept open for the
 * query.
 */
#include <unistd.h>

#include "query/query_priv.h"

enum { READ_MAX = 16 * 1024 * 1024 };

/** With the lock held: the entry of a file, counted as used. */
static struct query_object *object_find(struct query *query, uint64_t file)
{
    for (size_t i = 0; i < OBJECTS_MAX; i++) {
        struct query_object *at = &query->objects[i];
        if (at->object != NULL && at->file == file) {
            at->users++;
            at->used = ++query->clock;
            return at;
        }
    }
    return NULL;
}

/** With the lock held: keep an open object in place of the longest unused; false when all are in
 * use. *old_out is for the caller to close. */
static bool object_keep(struct query *query, uint64_t file, struct store_object *object,
                        struct store_object **old_out)
{
    struct query_object *victim = NULL;
    for (size_t i = 0; i < OBJECTS_MAX; i++) {
        struct query_object *at = &query->objects[i];
        if (at->users == 0 && (victim == NULL || at->used < victim->used)) {
            victim = at;
        }
    }
    if (victim == NULL) {
        return false;
    }
    *old_out = victim->object;
    *victim = (struct query_object){ .file = file, .object = object, .used = ++query->clock };
    return true;
}

static void keep_or_close(struct query *query, uint64_t file, struct store_object *object)
{
    struct store_object *old = NULL;
    pthread_mutex_lock(&query->lock);
    bool kept = object_keep(query, file, object, &old);
    pthread_mutex_unlock(&query->lock);
    if (old != NULL) {
        store_object_close(old);
    }
    if (!kept) {
        store_object_close(object);
    }
}

static enum status open_object(struct query *query, uint64_t file, struct store_object **out,
                               struct err *err)
{
    const struct catalog_file *entry = NULL;
    TRY(query_pin_file(query, file, &entry, err));
    enum status kind = store_open(query->service->opts.store, entry->key, out, err);
    if (kind == E_NOT_FOUND) {
        return err_set(err, E_CORRUPT, "the data file '%.*s' of a table is gone",
                       STR_ARG(entry->key));
    }
    return kind;
}

enum status query_file_open(struct query *query, uint64_t file, int *fd_out, uint64_t *size_out,
                            struct err *err)
{
    struct store_object *object = NULL;
    TRY(open_object(query, file, &object, err));
    *size_out = store_object_info(object)->size;
    enum status kind = store_object_raw_fd(object, fd_out, err);
    if (kind == E_UNSUPPORTED) {
        *fd_out = -1;
        keep_or_close(query, file, object);
        return OK;
    }
    store_object_close(object);
    return kind;
}

static enum status read_object(struct store_object *object, uint64_t offset, uint64_t length,
                               struct buf *out, struct err *err)
{
    char *into = buf_reserve(out, (size_t)length);
    size_t got = 0;
    if (into == NULL) {
        return err_no_memory(err);
    }
    TRY(store_object_read(object, offset, into, (size_t)length, &got, err));
    out->len += got;
    return OK;
}

enum status query_file_read(struct query *query, uint64_t file, uint64_t offset, uint64_t length,
                            struct buf *out, struct err *err)
{
    if (length > READ_MAX) {
        return err_set(err, E_TOO_LARGE, "the engine asks for %llu bytes at once",
                       (unsigned long long)length);
    }
    pthread_mutex_lock(&query->lock);
    struct query_object *entry = object_find(query, file);
    pthread_mutex_unlock(&query->lock);
    if (entry != NULL) {
        enum status kind = read_object(entry->object, offset, length, out, err);
        pthread_mutex_lock(&query->lock);
        entry->users--;
        pthread_mutex_unlock(&query->lock);
        return kind;
    }
    struct store_object *object = NULL;
    TRY(open_object(query, file, &object, err));
    enum status kind = read_object(object, offset, length, out, err);
    keep_or_close(query, file, object);
    return kind;
}

void query_objects_free(struct query *query)
{
    for (size_t i = 0; i < OBJECTS_MAX; i++) {
        if (query->objects[i].object != NULL) {
            store_object_close(query->objects[i].object);
        }
    }
}
