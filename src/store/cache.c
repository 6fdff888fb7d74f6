/*
 * The block cache as a store. cache_pages.c has the memory; here is which version a read is of.
 *
 * Versions that were opened are remembered by key, the latest of each: their number is what their
 * pages are found by. A handle opens the object of the store behind it only when a page is missing,
 * and that object must be the same version.
 */
#include "store/cache.h"

#include <pthread.h>
#include <stdio.h>

#include "base/digest.h"
#include "base/mem.h"
#include "store/cache_disk.h"
#include "store/cache_near.h"
#include "store/cache_pages.h"
#include "store/lake_keys.h"
#include "store/store_priv.h"

enum {
    VERSIONS_MAX = 1 << 16,    /* about 200 bytes each */
    AHEAD_BYTES = 1024 * 1024, /* of a reader that goes from piece to piece */
    IN_ORDER_MIN = 4,          /* pieces before it is taken for one; chosen */
    URI_MAX = 512,
    PIECE_BYTES_MIN = 2 * 1024 * 1024, /* of a read that goes in several requests; chosen */
    PIECES_MAX = 4,
};

struct version {
    char *key;
    struct store_info info; /* without key */
    uint64_t number;
    uint8_t id[CACHE_DISK_ID_BYTES]; /* of key, tag and size */
    struct version *chain;           /* of the bucket */
    struct version *before, *after;  /* by age */
};

struct cache {
    struct store base;
    struct store_ops ops; /* those of `inner` by its name, with ours for reads */
    struct store *inner;
    struct pages *pages;
    struct cache_disk *disk; /* NULL: none */
    pthread_mutex_t lock;
    struct version **buckets;        /* [VERSIONS_MAX]; guarded by lock, as all below */
    struct version *oldest, *newest; /* by when they were made */
    size_t version_count;
    uint64_t numbers;
    uint32_t forgotten[256]; /* by a key's hash, see forget */
};

struct cache_object {
    struct store_object base;
    struct cache *cache;
    uint64_t number;
    uint8_t id[CACHE_DISK_ID_BYTES];
    bool keep;
    pthread_mutex_t lock;
    struct store_object *inner; /* NULL until a page is missing; guarded by lock */
    uint64_t read_end;          /* where the last read ended; guarded by lock */
    unsigned in_order;          /* reads that began there; guarded by lock */
    struct near near;           /* guarded by lock */
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

/** The same in every process: by it pages are found in the folder. */
static void id_make(struct str uri, struct str key, const struct store_info *info,
                    uint8_t out[CACHE_DISK_ID_BYTES])
{
    char text[STORE_KEY_MAX + STORE_ETAG_MAX + URI_MAX + 64];
    uint8_t hash[SHA256_BYTES];
    int len = snprintf(text, sizeof text, "%.*s%c%s%c%llu%c%.*s", STR_ARG(str_take(uri, URI_MAX)),
                       0, info->etag, 0, (unsigned long long)info->size, 0, STR_ARG(key));
    sha256(str_from(text, (size_t)len), hash);
    memcpy(out, hash, CACHE_DISK_ID_BYTES);
}

/** This version, which is new or known; NULL: no memory. */
static const struct version *version_note(struct cache *cache, struct str key,
                                          const struct store_info *info)
{
    struct version **slot = slot_of(cache, key);
    if (*slot != NULL && strcmp((*slot)->info.etag, info->etag) == 0 &&
        (*slot)->info.size == info->size) {
        return *slot;
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
        return NULL;
    }
    *version = (struct version){
        .key = copy, .info = *info, .number = ++cache->numbers, .before = cache->newest
    };
    version->info.key = STR_EMPTY;
    if (cache->disk != NULL) {
        id_make(cache->inner->ops->root_uri(cache->inner), key, info, version->id);
    }
    *(cache->newest != NULL ? &cache->newest->after : &cache->oldest) = version;
    cache->newest = version;
    slot = slot_of(cache, key);
    *slot = version;
    cache->version_count++;
    return version;
}

/** How often a key, or one that shares its place, was forgotten; the lock is held. */
static uint32_t *forgotten(struct cache *cache, struct str key)
{
    return &cache->forgotten[str_hash(key, 0) % ARRAY_LEN(cache->forgotten)];
}

/** Before a write and after it: whoever opens it in between may have seen either version, and who
 * has begun to open it before the end must not note what he saw. */
static void forget(struct cache *cache, struct str key)
{
    pthread_mutex_lock(&cache->lock);
    ++*forgotten(cache, key);
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

/** A part of a large read. */
struct piece {
    struct cache_object *object;
    struct store_object *inner;
    uint64_t offset;
    char *ptr;
    size_t len;
    enum status status;
    struct err err;
};

static enum status piece_read(const struct piece *piece, struct err *err)
{
    const struct cache_object *object = piece->object;
    struct store_object *inner = piece->inner;
    uint64_t offset = piece->offset;
    char *ptr = piece->ptr;
    size_t len = piece->len;
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

static void *piece_run(void *arg)
{
    struct piece *piece = arg;
    piece->status = piece_read(piece, &piece->err);
    return NULL;
}

/** One stream of a distant bucket is slower than several: a large read is several. */
static enum status fetch(void *ctx, uint64_t offset, char *ptr, size_t len, struct err *err)
{
    struct cache_object *object = ctx;
    struct piece pieces[PIECES_MAX];
    pthread_t threads[PIECES_MAX];
    struct store_object *inner = NULL;
    size_t count = len / PIECE_BYTES_MIN, started = 0;
    count = count == 0 ? 1 : count < PIECES_MAX ? count : (size_t)PIECES_MAX;
    TRY(inner_of(object, &inner, err));
    for (size_t i = 0; i < count; i++) {
        size_t begin = len / count * i, end = i + 1 == count ? len : len / count * (i + 1);
        pieces[i] = (struct piece){ .object = object,
                                    .inner = inner,
                                    .offset = offset + begin,
                                    .ptr = ptr + begin,
                                    .len = end - begin };
    }
    while (started + 1 < count &&
           pthread_create(&threads[started], NULL, piece_run, &pieces[started]) == 0) {
        started++;
    }
    for (size_t i = started; i < count; i++) { /* the last one at least is ours */
        (void)piece_run(&pieces[i]);
    }
    for (size_t i = 0; i < started; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    for (size_t i = 0; i < count; i++) {
        if (pieces[i].status != OK) {
            return err_set(err, pieces[i].status, "%s", pieces[i].err.msg);
        }
    }
    return OK;
}

/** How far ahead is worth it: for who has read piece behind piece for a while, and where the same
 * pieces were read side by side before. */
static uint64_t ahead_of(struct cache_object *object, uint64_t offset, size_t len)
{
    pthread_mutex_lock(&object->lock);
    object->in_order = offset == object->read_end ? object->in_order + 1 : 0;
    object->read_end = offset + len;
    uint64_t ahead = object->in_order >= IN_ORDER_MIN ? AHEAD_BYTES : 0;
    uint64_t near = near_note(&object->near, offset, len);
    ahead = near > ahead ? near : ahead;
    pthread_mutex_unlock(&object->lock);
    return ahead;
}

static enum status object_read(struct store_object *base, uint64_t offset, void *ptr, size_t len,
                               size_t *got_out, struct err *err)
{
    struct cache_object *object = (struct cache_object *)base;
    const struct pages_source source = {
        .version = object->number,
        .id = object->id,
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

/** A version's names, copied while the lock is held. */
struct which {
    uint64_t number;
    uint8_t id[CACHE_DISK_ID_BYTES];
};

static struct which which_of(const struct version *version)
{
    struct which which = { .number = version->number };
    memcpy(which.id, version->id, sizeof which.id);
    return which;
}

/** Takes `inner`, which may be NULL, also when it fails. */
static enum status object_make(struct cache *cache, struct str key, const struct store_info *info,
                               const struct which *which, struct store_object *inner,
                               struct store_object **out, struct err *err)
{
    struct cache_object *object = mem_zalloc(sizeof *object);
    if (object == NULL) {
        store_object_close(inner);
        return err_no_memory(err);
    }
    object->base = (struct store_object){ .ops = &object_ops, .info = *info };
    object->cache = cache;
    object->number = which->number;
    memcpy(object->id, which->id, sizeof object->id);
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
                  struct which *which_out)
{
    if (!lake_key_of_tables(key)) {
        return false;
    }
    pthread_mutex_lock(&cache->lock);
    struct version *version = *slot_of(cache, key);
    if (version != NULL) {
        *info_out = version->info;
        *which_out = which_of(version);
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
    struct which which = { 0 };
    if (known(cache, key, &info, &which)) {
        return object_make(cache, key, &info, &which, NULL, out, err);
    }
    pthread_mutex_lock(&cache->lock);
    uint32_t before = *forgotten(cache, key);
    pthread_mutex_unlock(&cache->lock);
    TRY(cache->inner->ops->open(cache->inner, key, &inner, err));
    if (inner->info.etag[0] == '\0' || inner->info.etag_weak || inner->attrs.count > 0) {
        *out = inner; /* no name for its version, or more than a version remembers */
        return OK;
    }
    info = inner->info;
    pthread_mutex_lock(&cache->lock);
    const struct version *version = version_note(cache, key, &info);
    if (version != NULL) {
        which = which_of(version);
        if (*forgotten(cache, key) != before) {
            version_drop(cache, slot_of(cache, key));
        }
    }
    pthread_mutex_unlock(&cache->lock);
    if (which.number == 0) {
        store_object_close(inner);
        return err_no_memory(err);
    }
    return object_make(cache, key, &info, &which, inner, out, err);
}

/* --- all else goes through --- */

/** A writer of the store behind, whose commit is a write of the cache's. */
struct cache_writer {
    struct store_writer base;
    struct cache *cache;
    struct store_writer *inner;
    struct str key; /* behind it */
};

static enum status cache_writer_open(struct store *store, struct str key,
                                     const struct store_cond *cond, struct store_writer **out,
                                     struct err *err)
{
    struct cache *cache = (struct cache *)store;
    struct cache_writer *writer = mem_zalloc(sizeof(*writer) + key.len);
    if (writer == NULL) {
        return err_no_memory(err);
    }
    enum status status = cache->inner->ops->writer_open(cache->inner, key, cond, &writer->inner,
                                                        err);
    if (status != OK) {
        mem_free(writer);
        return status;
    }
    char *copy = (char *)(writer + 1);
    memcpy(copy, key.ptr, key.len);
    writer->base.ops = store->ops;
    writer->cache = cache;
    writer->key = str_from(copy, key.len);
    *out = &writer->base;
    return OK;
}

/** The attributes are given to the writer that store.c knows. */
static struct store_writer *inner_writer(struct store_writer *base)
{
    struct cache_writer *writer = (struct cache_writer *)base;
    writer->inner->attrs = base->attrs;
    writer->inner->attrs_late = base->attrs_late;
    return writer->inner;
}

static enum status cache_writer_write(struct store_writer *base, struct str bytes, struct err *err)
{
    struct store_writer *inner = inner_writer(base);
    return inner->ops->writer_write(inner, bytes, err);
}

static enum status cache_writer_commit(struct store_writer *base, struct store_info *info,
                                       struct err *err)
{
    struct cache_writer *writer = (struct cache_writer *)base;
    struct store_writer *inner = inner_writer(base);
    forget(writer->cache, writer->key);
    enum status status = inner->ops->writer_commit(inner, info, err);
    forget(writer->cache, writer->key);
    mem_free(writer);
    return status;
}

static void cache_writer_abort(struct store_writer *base)
{
    struct store_writer *inner = inner_writer(base);
    inner->ops->writer_abort(inner);
    mem_free(base);
}

static enum status cache_put(struct store *store, struct str key, struct str bytes,
                             const struct store_cond *cond, struct store_info *info,
                             struct err *err)
{
    struct cache *cache = (struct cache *)store;
    forget(cache, key);
    enum status status = cache->inner->ops->put(cache->inner, key, bytes, cond, info, err);
    forget(cache, key);
    return status;
}

static enum status cache_put_fd(struct store *store, struct str key, int fd, bool adopt,
                                const struct store_cond *cond, struct store_info *info,
                                struct err *err)
{
    struct cache *cache = (struct cache *)store;
    forget(cache, key);
    enum status status = cache->inner->ops->put_fd(cache->inner, key, fd, adopt, cond, info, err);
    forget(cache, key);
    return status;
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
    forget(cache, key);
    return status;
}

static enum status cache_copy(struct store *store, struct str from, struct str to,
                              const struct store_copy_how *how, struct store_info *info,
                              struct err *err)
{
    struct cache *cache = (struct cache *)store;
    forget(cache, to);
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
    forget((struct cache *)store, ref->key);
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

static enum status upload_sweep(struct store *store, int64_t before_ms, struct store_swept *out,
                                struct err *err)
{
    struct store *inner = inner_store(store);
    return inner->ops->uploads->sweep(inner, before_ms, out, err);
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
    struct cache *cache = (struct cache *)store;
    pages_measure(cache->pages, metrics);
    if (cache->disk != NULL) {
        cache_disk_measure(cache->disk, metrics);
    }
}

static void cache_interrupt(struct store *store)
{
    store_interrupt(((struct cache *)store)->inner);
}

static void cache_close(struct store *store)
{
    struct cache *cache = (struct cache *)store;
    store_close(cache->inner);
    cache_pages_free(cache->pages);
    cache_disk_close(cache->disk);
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
        .interrupt = inner->interrupt != NULL ? cache_interrupt : NULL,
        .writer_open = cache_writer_open,
        .writer_write = cache_writer_write,
        .writer_commit = cache_writer_commit,
        .writer_abort = cache_writer_abort,
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
    enum status status = cache->buckets != NULL ? OK : err_no_memory(err);
    if (status == OK && opts->dir != NULL && opts->dir[0] != '\0') {
        status = cache_disk_open(opts->dir, opts->disk_bytes, &cache->disk, err);
    }
    if (status == OK) {
        status = pages_new(opts->memory_bytes, cache->disk, &cache->pages, err);
    }
    if (status != OK) {
        cache_close(&cache->base);
        return status;
    }
    *out = &cache->base;
    return OK;
}
