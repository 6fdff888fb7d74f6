/*
 * The block cache as a store. cache_pages.c has the memory; here is which version a read is of.
 *
 * Versions that were opened are remembered by key, the latest of each: their number is what their
 * pages are found by. A handle opens the object of the store behind it only when a page is missing,
 * and that object must be the same version.
 */
#include "store/cache.h"

#include <pthread.h>

#include "base/mem.h"
#include "store/cache_pages.h"
#include "store/lake_keys.h"
#include "store/store_priv.h"

enum {
    VERSIONS_MAX = 1 << 16,    /* about 200 bytes each */
    AHEAD_BYTES = 1024 * 1024, /* of a reader that goes from piece to piece */
    IN_ORDER_MIN = 4,          /* pieces before it is taken for one; chosen */
};

struct version {
    char *key;
    struct store_info info; /* without key */
    uint64_t number;
    struct version *chain;          /* of the bucket */
    struct version *before, *after; /* by age */
};

struct cache {
    struct store base;
    struct store_ops ops; /* those of `inner` by its name, with ours for reads */
    struct store *inner;
    struct pages *pages;
    pthread_mutex_t lock;
    struct version **buckets;        /* [VERSIONS_MAX]; guarded by lock, as all below */
    struct version *oldest, *newest; /* by when they were made */
    size_t version_count;
    uint64_t numbers;
};

struct cache_object {
    struct store_object base;
    struct cache *cache;
    uint64_t number;
    bool keep;
    pthread_mutex_t lock;
    struct store_object *inner; /* NULL until a page is missing; guarded by lock */
    uint64_t read_end;          /* where the last read ended; guarded by lock */
    unsigned in_order;          /* reads that began there; guarded by lock */
    size_t key_len;
    char key[STORE_KEY_MAX];
};

/* --- versions; the lock is held --- */

static struct version **slot_of(struct cache *cache, struct str key)
{
    assert(cache->buckets != NULL);
    struct version **at = &cache->buckets[str_hash(key, 0) % VERSIONS_MAX];
    while (*at != NULL && !str_eq(str_of((*at)->key), key)) {
        at = &(*at)->chain;
    }
    return at;
}

static void version_drop(struct cache *cache, struct version **slot)
{
    struct version *version = *slot;
    assert(version != NULL);
    *slot = version->chain;
    *(version->before != NULL ? &version->before->after : &cache->oldest) = version->after;
    *(version->after != NULL ? &version->after->before : &cache->newest) = version->before;
    cache->version_count--;
    mem_free(version->key);
    mem_free(version);
}

/** The number of this version, which it gets if it is new. 0: no memory. */
static uint64_t version_note(struct cache *cache, struct str key, const struct store_info *info)
{
    struct version **slot = slot_of(cache, key);
    if (*slot != NULL && strcmp((*slot)->info.etag, info->etag) == 0 &&
        (*slot)->info.size == info->size) {
        return (*slot)->number;
    }
    if (*slot != NULL) {
        version_drop(cache, slot);
    }
    if (cache->version_count == VERSIONS_MAX) {
        version_drop(cache, slot_of(cache, str_of(cache->oldest->key)));
        slot = slot_of(cache, key);
    }
    struct version *version = mem_zalloc(sizeof *version);
    char *copy = mem_strndup(key.ptr, key.len);
    if (version == NULL || copy == NULL) {
        mem_free(version);
        mem_free(copy);
        return 0;
    }
    *version = (struct version){
        .key = copy, .info = *info, .number = ++cache->numbers, .before = cache->newest
    };
    version->info.key = STR_EMPTY;
    *(cache->newest != NULL ? &cache->newest->after : &cache->oldest) = version;
    cache->newest = version;
    slot = slot_of(cache, key);
    *slot = version;
    cache->version_count++;
    return version->number;
}

static void forget(struct cache *cache, struct str key)
{
    pthread_mutex_lock(&cache->lock);
    struct version **slot = slot_of(cache, key);
    if (*slot != NULL) {
        version_drop(cache, slot);
    }
    pthread_mutex_unlock(&cache->lock);
}

/* --- reads --- */

static enum status replaced(const struct cache_object *object, struct err *err)
{
    return err_set(err, E_CONFLICT, "object \"%.*s\" was replaced or deleted while it was read",
                   (int)object->key_len, object->key);
}

/** The object behind it, of the same version. */
static enum status inner_of(struct cache_object *object, struct store_object **out, struct err *err)
{
    struct store *inner = object->cache->inner;
    struct str key = str_from(object->key, object->key_len);
    pthread_mutex_lock(&object->lock);
    struct store_object *there = object->inner;
    pthread_mutex_unlock(&object->lock);
    if (there == NULL) {
        enum status status = inner->ops->open(inner, key, &there, err);
        if (status == E_NOT_FOUND) {
            forget(object->cache, key);
            return replaced(object, err);
        }
        TRY(status);
        if (strcmp(there->info.etag, object->base.info.etag) != 0) {
            store_object_close(there);
            forget(object->cache, key);
            return replaced(object, err);
        }
        pthread_mutex_lock(&object->lock);
        struct store_object *other = object->inner;
        object->inner = other != NULL ? other : there;
        pthread_mutex_unlock(&object->lock);
        if (other != NULL) {
            store_object_close(there);
            there = other;
        }
    }
    *out = there;
    return OK;
}

static enum status fetch(void *ctx, uint64_t offset, char *ptr, size_t len, struct err *err)
{
    struct cache_object *object = ctx;
    struct store_object *inner = NULL;
    TRY(inner_of(object, &inner, err));
    while (len > 0) {
        size_t got = 0;
        TRY(inner->ops->read(inner, offset, ptr, len, &got, err));
        if (got == 0) {
            return err_set(err, E_CORRUPT, "object \"%.*s\" ends early", (int)object->key_len,
                           object->key);
        }
        offset += got;
        ptr += got;
        len -= got;
    }
    return OK;
}

/** How far ahead is worth it: only for who has read piece behind piece for a while. */
static uint64_t ahead_of(struct cache_object *object, uint64_t offset, size_t len)
{
    pthread_mutex_lock(&object->lock);
    object->in_order = offset == object->read_end ? object->in_order + 1 : 0;
    object->read_end = offset + len;
    uint64_t ahead = object->in_order >= IN_ORDER_MIN ? AHEAD_BYTES : 0;
    pthread_mutex_unlock(&object->lock);
    return ahead;
}

static enum status object_read(struct store_object *base, uint64_t offset, void *ptr, size_t len,
                               size_t *got_out, struct err *err)
{
    struct cache_object *object = (struct cache_object *)base;
    const struct pages_source source = {
        .version = object->number,
        .size = base->info.size,
        .keep = object->keep,
        .ahead = ahead_of(object, offset, len),
        .fetch = fetch,
        .ctx = object,
    };
    TRY(pages_read(object->cache->pages, &source, offset, ptr, len, err));
    *got_out = len;
    return OK;
}

static void object_close(struct store_object *base)
{
    struct cache_object *object = (struct cache_object *)base;
    store_object_close(object->inner);
    pthread_mutex_destroy(&object->lock);
    mem_free(object);
}

static const struct store_object_ops object_ops = { .read = object_read, .close = object_close };

/** Takes `inner`, which may be NULL, also when it fails. */
static enum status object_make(struct cache *cache, struct str key, const struct store_info *info,
                               uint64_t number, struct store_object *inner,
                               struct store_object **out, struct err *err)
{
    struct cache_object *object = mem_zalloc(sizeof *object);
    if (object == NULL) {
        store_object_close(inner);
        return err_no_memory(err);
    }
    object->base = (struct store_object){ .ops = &object_ops, .info = *info };
    object->cache = cache;
    object->number = number;
    /* metadata are small, and every query reads them */
    object->keep = !str_ends(key, STR(".parquet"));
    object->inner = inner;
    object->key_len = key.len;
    memcpy(object->key, key.ptr, key.len);
    pthread_mutex_init(&object->lock, NULL);
    if (inner != NULL) { /* its attributes are ours to free now */
        object->base.attrs = inner->attrs;
        object->base.attrs_block = inner->attrs_block;
        inner->attrs_block = NULL;
    }
    *out = &object->base;
    return OK;
}

/** What was open before, where keys are written once, and has no attributes. */
static bool known(struct cache *cache, struct str key, struct store_info *info_out,
                  uint64_t *number_out)
{
    if (!lake_key_of_tables(key)) {
        return false;
    }
    pthread_mutex_lock(&cache->lock);
    struct version *version = *slot_of(cache, key);
    if (version != NULL) {
        *info_out = version->info;
        *number_out = version->number;
    }
    pthread_mutex_unlock(&cache->lock);
    return version != NULL;
}

static enum status cache_open(struct store *store, struct str key, struct store_object **out,
                              struct err *err)
{
    struct cache *cache = (struct cache *)store;
    struct store_info info;
    struct store_object *inner = NULL;
    uint64_t number = 0;
    if (known(cache, key, &info, &number)) {
        return object_make(cache, key, &info, number, NULL, out, err);
    }
    TRY(cache->inner->ops->open(cache->inner, key, &inner, err));
    if (inner->info.etag[0] == '\0' || inner->info.etag_weak || inner->attrs.count > 0) {
        *out = inner; /* no name for its version, or more than a version remembers */
        return OK;
    }
    info = inner->info;
    pthread_mutex_lock(&cache->lock);
    number = version_note(cache, key, &info);
    pthread_mutex_unlock(&cache->lock);
    if (number == 0) {
        store_object_close(inner);
        return err_no_memory(err);
    }
    return object_make(cache, key, &info, number, inner, out, err);
}

/* --- all else goes through --- */

static enum status cache_writer_open(struct store *store, struct str key,
                                     const struct store_cond *cond, struct store_writer **out,
                                     struct err *err)
{
    struct cache *cache = (struct cache *)store;
    forget(cache, key);
    return cache->inner->ops->writer_open(cache->inner, key, cond, out, err);
}

static enum status cache_put(struct store *store, struct str key, struct str bytes,
                             const struct store_cond *cond, struct store_info *info,
                             struct err *err)
{
    struct cache *cache = (struct cache *)store;
    forget(cache, key);
    return cache->inner->ops->put(cache->inner, key, bytes, cond, info, err);
}

static enum status cache_put_fd(struct store *store, struct str key, int fd, bool adopt,
                                const struct store_cond *cond, struct store_info *info,
                                struct err *err)
{
    struct cache *cache = (struct cache *)store;
    forget(cache, key);
    return cache->inner->ops->put_fd(cache->inner, key, fd, adopt, cond, info, err);
}

static enum status cache_spool(struct store *store, int *fd_out, struct err *err)
{
    struct store *inner = ((struct cache *)store)->inner;
    return inner->ops->spool(inner, fd_out, err);
}

static enum status cache_stat(struct store *store, struct str key, struct store_info *info,
                              struct buf *attrs_out, struct err *err)
{
    struct store *inner = ((struct cache *)store)->inner;
    return inner->ops->stat(inner, key, info, attrs_out, err);
}

static enum status cache_list(struct store *store, const struct store_list_opts *opts,
                              struct arena *arena, struct store_list *out, struct err *err)
{
    struct store *inner = ((struct cache *)store)->inner;
    return inner->ops->list(inner, opts, arena, out, err);
}

static enum status cache_remove(struct store *store, struct str key, struct str if_match,
                                struct err *err)
{
    struct cache *cache = (struct cache *)store;
    forget(cache, key);
    enum status status = cache->inner->ops->remove(cache->inner, key, if_match, err);
    forget(cache, key); /* somebody may have opened it meanwhile */
    return status;
}

static enum status cache_copy(struct store *store, struct str from, struct str to,
                              const struct store_copy_how *how, struct store_info *info,
                              struct err *err)
{
    struct cache *cache = (struct cache *)store;
    enum status status = cache->inner->ops->copy(cache->inner, from, to, how, info, err);
    forget(cache, to);
    return status;
}

/* --- uploads in parts --- */

static struct store *inner_store(struct store *store)
{
    return ((struct cache *)store)->inner;
}

static enum status upload_begin(struct store *store, struct str key, struct str attrs,
                                char id_out[STORE_UPLOAD_ID_MAX + 1], struct err *err)
{
    struct store *inner = inner_store(store);
    return inner->ops->uploads->begin(inner, key, attrs, id_out, err);
}

static enum status upload_part_open(struct store *store, const struct store_upload_ref *ref,
                                    unsigned number, int64_t size, struct store_writer **out,
                                    struct err *err)
{
    struct store *inner = inner_store(store);
    return inner->ops->uploads->part_open(inner, ref, number, size, out, err);
}

static enum status upload_get(struct store *store, const struct store_upload_ref *ref,
                              int64_t *started_ms_out, struct buf *attrs_out, struct err *err)
{
    struct store *inner = inner_store(store);
    return inner->ops->uploads->get(inner, ref, started_ms_out, attrs_out, err);
}

static enum status upload_parts(struct store *store, const struct store_upload_ref *ref,
                                unsigned after, size_t limit, struct arena *arena,
                                struct store_parts *out, struct err *err)
{
    struct store *inner = inner_store(store);
    return inner->ops->uploads->parts(inner, ref, after, limit, arena, out, err);
}

static enum status upload_complete(struct store *store, const struct store_upload_ref *ref,
                                   const struct store_upload_how *how, struct store_info *info_out,
                                   struct err *err)
{
    struct store *inner = inner_store(store);
    forget((struct cache *)store, ref->key);
    enum status status = inner->ops->uploads->complete(inner, ref, how, info_out, err);
    forget((struct cache *)store, ref->key); /* somebody may have opened it meanwhile */
    return status;
}

static enum status upload_abort(struct store *store, const struct store_upload_ref *ref,
                                struct err *err)
{
    struct store *inner = inner_store(store);
    return inner->ops->uploads->abort(inner, ref, err);
}

static enum status upload_list(struct store *store, const struct store_uploads_opts *opts,
                               struct arena *arena, struct store_uploads *out, struct err *err)
{
    struct store *inner = inner_store(store);
    return inner->ops->uploads->list(inner, opts, arena, out, err);
}

static enum status upload_sweep(struct store *store, int64_t before_ms, size_t *count_out,
                                struct err *err)
{
    struct store *inner = inner_store(store);
    return inner->ops->uploads->sweep(inner, before_ms, count_out, err);
}

static int64_t upload_now_ms(const struct store *store)
{
    const struct store *inner = ((const struct cache *)store)->inner;
    return inner->ops->uploads->now_ms(inner);
}

static const struct store_upload_ops cache_uploads = {
    .begin = upload_begin,
    .part_open = upload_part_open,
    .get = upload_get,
    .parts = upload_parts,
    .complete = upload_complete,
    .abort = upload_abort,
    .list = upload_list,
    .sweep = upload_sweep,
    .now_ms = upload_now_ms,
};

static struct str cache_root_uri(const struct store *store)
{
    const struct store *inner = ((const struct cache *)store)->inner;
    return inner->ops->root_uri(inner);
}

static enum status cache_ready(struct store *store, struct err *err)
{
    struct store *inner = ((struct cache *)store)->inner;
    return inner->ops->ready(inner, err);
}

static void cache_measure(struct store *store, struct metrics *metrics)
{
    pages_measure(((struct cache *)store)->pages, metrics);
}

static void cache_close(struct store *store)
{
    struct cache *cache = (struct cache *)store;
    store_close(cache->inner);
    pages_free(cache->pages);
    while (cache->oldest != NULL) {
        version_drop(cache, slot_of(cache, str_of(cache->oldest->key)));
    }
    mem_free(cache->buckets);
    pthread_mutex_destroy(&cache->lock);
    mem_free(cache);
}

static void take_ops(struct cache *cache)
{
    const struct store_ops *inner = cache->inner->ops;
    cache->ops = (struct store_ops){
        .name = inner->name,
        .uploads = inner->uploads != NULL ? &cache_uploads : NULL,
        .close = cache_close,
        .measure = cache_measure,
        .writer_open = cache_writer_open,
        .writer_write = inner->writer_write,
        .writer_commit = inner->writer_commit,
        .writer_abort = inner->writer_abort,
        .put = inner->put != NULL ? cache_put : NULL,
        .put_fd = inner->put_fd != NULL ? cache_put_fd : NULL,
        .spool = cache_spool,
        .stat = cache_stat,
        .open = cache_open,
        .list = cache_list,
        .remove = cache_remove,
        .copy = cache_copy,
        .root_uri = cache_root_uri,
        .ready = cache_ready,
    };
    cache->base.ops = &cache->ops;
}

enum status store_cache_open(struct store *inner, const struct store_cache_opts *opts,
                             struct store **out, struct err *err)
{
    struct cache *cache = mem_zalloc(sizeof *cache);
    if (cache == NULL) {
        store_close(inner);
        return err_no_memory(err);
    }
    cache->inner = inner;
    pthread_mutex_init(&cache->lock, NULL);
    take_ops(cache);
    cache->buckets = mem_zalloc(VERSIONS_MAX * sizeof *cache->buckets);
    enum status status = cache->buckets != NULL ? pages_new(opts->memory_bytes, &cache->pages, err)
                                                : err_no_memory(err);
    if (status != OK) {
        cache_close(&cache->base);
        return status;
    }
    *out = &cache->base;
    return OK;
}
