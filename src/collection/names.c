/*
 * The map of names, a copy of the store's pointers. What this process changes is in it at once;
 * what others change comes by names_refresh, which lists all pointers with their ETags in one go
 * and reads those that are new. A name that is not in the map is looked for in the store, so an
 * index that another process has made is found at once.
 *
 * A pointer that was read while this process changed one is not believed: it may be older.
 */
#include "base/mem.h"
#include "collection/coll_priv.h"

enum { FIND_TRIES = 16, QUICK_NUMBERS = 1000000 };

void names_free(struct coll *coll)
{
    if (coll != NULL) {
        assert(coll->first == NULL && coll->body == NULL);
        pthread_mutex_destroy(&coll->lock);
        buf_done(&coll->pending);
        mem_free(coll->name);
        mem_free(coll->index);
        mem_free(coll->stopped);
        mem_free(coll);
    }
}

static struct coll *coll_new(struct coll_service *service, const struct coll_pointer *pointer)
{
    struct coll *coll = mem_zalloc(sizeof *coll);
    if (coll == NULL) {
        return NULL;
    }
    coll->service = service;
    pthread_mutex_init(&coll->lock, NULL);
    buf_init(&coll->pending, LOG_OBJECT_BYTES_MAX);
    coll->length = UINT64_MAX;
    coll->name = mem_strndup(pointer->name.ptr, pointer->name.len);
    if (pointer->kind == COLL_POINTER_ALIAS) {
        coll->index = mem_strndup(pointer->index.ptr, pointer->index.len);
    } else {
        memcpy(coll->uuid, pointer->uuid.ptr, UUID_TEXT);
        coll->spec = pointer->spec;
    }
    if (coll->name == NULL || (pointer->kind == COLL_POINTER_ALIAS && coll->index == NULL)) {
        names_free(coll);
        return NULL;
    }
    coll->spec.name = str_of(coll->name);
    return coll;
}

/** Guarded by the service's lock. Out of the map; freed with its last user. */
static void leave_locked(struct coll_service *service, struct coll *coll)
{
    (void)map_remove(&service->by_name, str_of(coll->name));
    coll->dropped = true;
    if (coll->users > 0) {
        return;
    }
    if (coll->body != NULL) {
        /* nobody uses it, so the only reference is the index's own */
        service->memory_bytes -= coll->body->accounted;
        metric_add(service->metrics.open, -1);
        body_free(coll->body);
        coll->body = NULL;
    }
    names_free(coll);
}

/** Is the entry of what the pointer is of? */
static bool is_same(const struct coll *coll, const struct coll_pointer *pointer)
{
    return pointer->kind == COLL_POINTER_ALIAS
               ? coll->index != NULL && str_eq(str_of(coll->index), pointer->index)
               : coll->index == NULL && str_eq(str_of(coll->uuid), pointer->uuid);
}

/** Guarded by the service's lock. How far the writer of the index is, for who follows it. */
static void see_locked(struct coll *coll, const struct coll_pointer *pointer)
{
    coll->seen_epoch = pointer->epoch > coll->seen_epoch ? pointer->epoch : coll->seen_epoch;
    coll->seen_first_log = pointer->first_log > coll->seen_first_log ? pointer->first_log
                                                                     : coll->seen_first_log;
}

/** Guarded by the service's lock. So that a tombstone is read once; without memory it is again. */
static void remember_gone_locked(struct coll_service *service, const struct coll_pointer *pointer)
{
    void *old = pointer->dropped ? NULL : map_remove(&service->gone, pointer->name);
    char *etag = pointer->dropped ? mem_strndup(pointer->etag, strlen(pointer->etag)) : NULL;
    if (etag != NULL && map_put(&service->gone, pointer->name, etag, &old) != OK) {
        mem_free(etag);
    }
    mem_free(old);
}

enum status names_set_locked(struct coll_service *service, const struct coll_pointer *pointer,
                             struct err *err)
{
    remember_gone_locked(service, pointer);
    struct coll *old = map_get(&service->by_name, pointer->name);
    if (!pointer->dropped && old != NULL && is_same(old, pointer)) {
        memcpy(old->etag, pointer->etag, sizeof old->etag);
        see_locked(old, pointer);
        return OK;
    }
    struct coll *new = pointer->dropped ? NULL : coll_new(service, pointer);
    if (!pointer->dropped && new == NULL) {
        return err_no_memory(err);
    }
    if (old != NULL) {
        leave_locked(service, old);
    }
    if (new != NULL) {
        memcpy(new->etag, pointer->etag, sizeof new->etag);
        see_locked(new, pointer);
        if (map_put(&service->by_name, str_of(new->name), new, NULL) != OK) {
            names_free(new);
            return err_no_memory(err);
        }
    }
    return OK;
}

uint64_t names_seen(struct coll_service *service)
{
    pthread_mutex_lock(&service->lock);
    uint64_t seen = service->names_changed;
    pthread_mutex_unlock(&service->lock);
    return seen;
}

enum status names_believe(struct coll_service *service, const struct coll_pointer *pointer,
                          uint64_t seen, bool *believed_out, struct err *err)
{
    enum status status = OK;
    pthread_mutex_lock(&service->lock);
    *believed_out = service->names_changed == seen;
    if (*believed_out) {
        status = names_set_locked(service, pointer, err);
    }
    pthread_mutex_unlock(&service->lock);
    return status;
}

/** Read one pointer and take it over. E_NOT_FOUND: there is none, or it was dropped. */
static enum status read_one(struct coll_service *service, struct str name, bool *believed_out,
                            struct err *err)
{
    struct arena arena;
    struct coll_pointer pointer = { 0 };
    uint64_t seen = names_seen(service);
    arena_init(&arena, 0);
    enum status status = coll_pointer_read(service->store, name, &arena, &pointer, err);
    if (status == OK) {
        status = names_believe(service, &pointer, seen, believed_out, err);
    }
    status = status == OK && pointer.dropped ? E_NOT_FOUND : status;
    arena_done(&arena);
    return status == E_NOT_FOUND
               ? err_set(err, E_NOT_FOUND, "index \"%.*s\" is not there", STR_ARG(name))
               : status;
}

struct alias_look { /* an alias' index that is not in the map, and what the alias was */
    char index[4 * COLL_NAME_MAX + 1], etag[STORE_ETAG_MAX + 1];
};

/** Guarded by the service's lock. NULL: not in the map; look->index: an alias' index is not. */
static struct coll *look_locked(struct coll_service *service, struct str name, bool follow,
                                struct alias_look *look)
{
    struct coll *coll = map_get(&service->by_name, name);
    if (coll != NULL && follow && coll->index != NULL) {
        struct coll *index = map_get(&service->by_name, str_of(coll->index));
        size_t len = strlen(coll->index);
        len = len < 4 * COLL_NAME_MAX ? len : 4 * COLL_NAME_MAX;
        memcpy(look->index, coll->index, len);
        look->index[len] = '\0';
        memcpy(look->etag, coll->etag, sizeof look->etag);
        coll = index != NULL && index->index == NULL ? index : NULL;
    }
    if (coll != NULL) {
        coll->users++;
    }
    return coll;
}

/** Does a search of it read a million numbers at most? That is less than a millisecond. */
static bool scans_little(const struct body *body)
{
    uint64_t scanned = atomic_load_explicit(&body->scanned, memory_order_relaxed);
    return scanned * body->spec.dimension <= QUICK_NUMBERS;
}

bool coll_is_quick(struct coll_service *service, struct str name)
{
    pthread_mutex_lock(&service->lock);
    const struct coll *coll = map_get(&service->by_name, name);
    if (coll != NULL && coll->index != NULL) {
        coll = map_get(&service->by_name, str_of(coll->index));
    }
    bool quick = coll != NULL && coll->body != NULL && !coll->stale && coll->stopped == NULL &&
                 scans_little(coll->body);
    pthread_mutex_unlock(&service->lock);
    return quick;
}

/** The index of an alias is no index, as far as we know: look for it, and where it is none, whether
 * the alias has another one by now. E_NOT_FOUND: it has not. */
static enum status look_behind(struct coll_service *service, struct str alias,
                               const struct alias_look *look, struct err *err)
{
    bool believed = false;
    struct arena arena;
    struct coll_pointer now = { 0 };
    enum status status = read_one(service, str_of(look->index), &believed, err);
    pthread_mutex_lock(&service->lock);
    const struct coll *index = map_get(&service->by_name, str_of(look->index));
    bool none = index == NULL || index->index != NULL;
    pthread_mutex_unlock(&service->lock);
    if ((status != OK && status != E_NOT_FOUND) || !none || (status == OK && !believed)) {
        return status == E_NOT_FOUND ? OK : status;
    }
    uint64_t seen = names_seen(service);
    arena_init(&arena, 0);
    status = coll_pointer_read(service->store, alias, &arena, &now, err);
    bool same = status == OK && strcmp(now.etag, look->etag) == 0;
    status = status == OK ? names_believe(service, &now, seen, &believed, err) : status;
    arena_done(&arena);
    return same ? err_set(err, E_NOT_FOUND, "index \"%s\" of the alias \"%.*s\" is not there",
                          look->index, STR_ARG(alias))
                : status;
}

enum status names_find(struct coll_service *service, struct str name, bool follow,
                       struct coll **out, struct err *err)
{
    TRY(coll_name_check(name, err));
    for (int i = 0; i < FIND_TRIES; i++) {
        bool believed = false;
        struct alias_look look = { .index = "" };
        pthread_mutex_lock(&service->lock);
        struct coll *coll = look_locked(service, name, follow, &look);
        pthread_mutex_unlock(&service->lock);
        if (coll != NULL) {
            *out = coll;
            return OK;
        }
        TRY(look.index[0] != '\0' ? look_behind(service, name, &look, err)
                                  : read_one(service, name, &believed, err));
    }
    return err_set(err, E_UNAVAILABLE, "\"%.*s\" changes all the time", STR_ARG(name));
}

/* --- all of them --- */

/** Guarded by the service's lock. Was it there as it is now when we last looked? */
static bool known_locked(const struct coll_service *service, struct str name, const char *etag)
{
    const struct coll *coll = map_get(&service->by_name, name);
    const char *gone = map_get(&service->gone, name);
    return (coll != NULL && coll->etag[0] != '\0' && strcmp(coll->etag, etag) == 0) ||
           (gone != NULL && strcmp(gone, etag) == 0);
}

/** Until it is believed: a name that the map lacks would seem to be nobody's. */
static enum status read_surely(struct coll_service *service, struct str name, struct err *err)
{
    bool believed = false;
    enum status status = OK;
    for (int i = 0; status == OK && !believed && i < FIND_TRIES; i++) {
        status = read_one(service, name, &believed, err);
    }
    return status != OK || believed
               ? status
               : err_set(err, E_UNAVAILABLE, "names change all the time; try again");
}

/** A damaged pointer, or a newer version's: it is told by coll_service_ready, and disturbs none
 * but its own index. */
static void note_broken(char **broken, const struct err *err)
{
    if (*broken == NULL) {
        *broken = mem_strndup(err->msg, strlen(err->msg));
    }
}

static enum status refresh_page(struct coll_service *service, const struct store_list *list,
                                struct arena *arena, char **broken, struct err *err)
{
    for (size_t i = 0; i < list->object_count; i++) {
        struct str name = STR_EMPTY;
        if (!coll_pointer_key_name(arena, list->objects[i].key, &name)) {
            continue;
        }
        pthread_mutex_lock(&service->lock);
        bool known = known_locked(service, name, list->objects[i].etag);
        pthread_mutex_unlock(&service->lock);
        struct err own = { 0 };
        enum status status = known ? OK : read_surely(service, name, &own);
        if (status == E_CORRUPT || status == E_UNSUPPORTED) {
            note_broken(broken, &own);
        } else if (status != OK && status != E_NOT_FOUND) {
            if (err != NULL) {
                *err = own;
            }
            return status;
        }
    }
    return OK;
}

enum status names_refresh(struct coll_service *service, struct err *err)
{
    struct arena arena;
    char *broken = NULL;
    struct store_list list = { .truncated = true };
    enum status status = OK;
    arena_init(&arena, SIZE_MAX);
    while (status == OK && list.truncated) {
        const struct store_list_opts opts = { .prefix = STR("_lake/vectors/"),
                                              .delimiter = STR("/"),
                                              .after = list.next,
                                              .limit = STORE_LIST_MAX };
        status = store_list(service->store, &opts, &arena, &list, err);
        status = status == OK ? refresh_page(service, &list, &arena, &broken, err) : status;
    }
    arena_done(&arena);
    if (status == OK) {
        pthread_mutex_lock(&service->lock);
        char *old = service->broken;
        service->broken = broken;
        pthread_mutex_unlock(&service->lock);
        broken = old;
    }
    mem_free(broken);
    return status;
}
