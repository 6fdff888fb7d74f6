/*
 * The memory driver: a sorted array of keys, each with a counted, immutable version. It keeps the
 * contract in full, so that what stands on a store can be tested without a disk, and with faults:
 * the hook is called before a write ("write"), after it ("answer": a failure there is a lost
 * answer) and before a read ("open").
 */
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/mem.h"
#include "store/list.h"
#include "store/mem_priv.h"

struct mem_writer {
    struct store_writer base;
    struct mem_store *mem;
    struct buf bytes;
    struct store_target target;
};

struct mem_object {
    struct store_object base;
    struct mem_version *version;
};

enum status mem_fault(struct mem_store *mem, const char *op, struct str key, struct err *err)
{
    return mem->hook.at == NULL ? OK : mem->hook.at(mem->hook.ctx, op, key, err);
}

/* --- versions --- */

struct mem_version *mem_version_new(struct mem_store *mem, struct str bytes, struct str attrs)
{
    size_t size = 0;
    if (!size_add(sizeof(struct mem_version) + attrs.len, bytes.len, &size)) {
        return NULL;
    }
    struct mem_version *version = mem_alloc(size);
    if (version == NULL) {
        return NULL;
    }
    atomic_init(&version->refs, 1);
    version->info = (struct store_info){ .size = bytes.len,
                                         .modified_ms = clock_wall_ms(mem->clock) };
    md5_hex(bytes, version->info.etag);
    if (bytes.len > 0) {
        memcpy(version->bytes, bytes.ptr, bytes.len);
    }
    version->attrs_len = attrs.len;
    if (attrs.len > 0) {
        memcpy(version->bytes + bytes.len, attrs.ptr, attrs.len);
    }
    return version;
}

struct str mem_version_attrs(const struct mem_version *version)
{
    return str_from(version->bytes + version->info.size, version->attrs_len);
}

void mem_version_unref(struct mem_version *version)
{
    /* acq_rel: the last one sees all that others did with it before it frees. */
    if (version != NULL &&
        atomic_fetch_sub_explicit(&version->refs, 1, memory_order_acq_rel) == 1) {
        mem_free(version);
    }
}

static struct mem_version *version_ref(struct mem_version *version)
{
    atomic_fetch_add_explicit(&version->refs, 1, memory_order_relaxed);
    return version;
}

/* --- the array --- */

static struct str entry_key(const struct mem_entry *entry)
{
    return str_from(entry->key, entry->key_len);
}

/** The place of the first key that is not below `key`. */
static size_t lower_bound(const struct mem_store *mem, struct str key)
{
    size_t low = 0, high = mem->count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (str_cmp(entry_key(&mem->entries[mid]), key) < 0) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low;
}

static struct mem_entry *find(const struct mem_store *mem, struct str key)
{
    size_t at = lower_bound(mem, key);
    return at < mem->count && str_eq(entry_key(&mem->entries[at]), key) ? &mem->entries[at] : NULL;
}

static enum status insert(struct mem_store *mem, struct str key, struct mem_version *version,
                          struct err *err)
{
    if (mem->count == mem->cap) {
        size_t cap = mem->cap == 0 ? 64 : mem->cap * 2;
        struct mem_entry *entries = mem_realloc(mem->entries, cap * sizeof *entries);
        if (entries == NULL) {
            return err_no_memory(err);
        }
        mem->entries = entries;
        mem->cap = cap;
    }
    char *copy = mem_strndup(key.ptr, key.len);
    if (copy == NULL) {
        return err_no_memory(err);
    }
    size_t at = lower_bound(mem, key);
    memmove(&mem->entries[at + 1], &mem->entries[at], (mem->count - at) * sizeof *mem->entries);
    mem->entries[at] = (struct mem_entry){ .key = copy, .key_len = key.len, .version = version };
    mem->count++;
    return OK;
}

enum status mem_set_locked(struct mem_store *mem, struct str key, struct mem_version *version,
                           const struct store_cond *cond, struct err *err)
{
    struct mem_entry *entry = find(mem, key);
    TRY(store_cond_check(cond, key, entry != NULL ? &entry->version->info : NULL, err));
    if (entry == NULL) {
        return insert(mem, key, version, err);
    }
    mem_version_unref(entry->version);
    entry->version = version;
    return OK;
}

/* --- writes --- */

static enum status put_with(struct mem_store *mem, struct str key, struct str bytes,
                            struct str attrs, const struct store_cond *cond,
                            struct store_info *info_out, struct err *err)
{
    TRY(mem_fault(mem, "write", key, err));
    struct mem_version *version = mem_version_new(mem, bytes, attrs);
    if (version == NULL) {
        return err_no_memory(err);
    }
    struct store_info info = version->info;
    pthread_mutex_lock(&mem->lock);
    enum status status = mem_set_locked(mem, key, version, cond, err);
    pthread_mutex_unlock(&mem->lock);
    if (status != OK) {
        mem_version_unref(version);
        return status;
    }
    TRY(mem_fault(mem, "answer", key, err));
    *info_out = info;
    return OK;
}

static enum status mem_put(struct store *store, struct str key, struct str bytes,
                           const struct store_cond *cond, struct store_info *info_out,
                           struct err *err)
{
    return put_with((struct mem_store *)store, key, bytes, STR_EMPTY, cond, info_out, err);
}

static enum status mem_writer_open(struct store *store, struct str key,
                                   const struct store_cond *cond, struct store_writer **out,
                                   struct err *err)
{
    struct mem_writer *writer = mem_zalloc(sizeof *writer);
    if (writer == NULL) {
        return err_no_memory(err);
    }
    writer->base.ops = store->ops;
    writer->mem = (struct mem_store *)store;
    buf_init(&writer->bytes, 0);
    store_target_keep(&writer->target, key, cond);
    *out = &writer->base;
    return OK;
}

static enum status mem_writer_write(struct store_writer *base, struct str bytes, struct err *err)
{
    struct mem_writer *writer = (struct mem_writer *)base;
    enum status status = buf_append(&writer->bytes, bytes);
    return status == OK ? OK
                        : err_set(err, status, "no memory for the object \"%.*s\"",
                                  STR_ARG(writer->target.key));
}

static void mem_writer_abort(struct store_writer *base)
{
    struct mem_writer *writer = (struct mem_writer *)base;
    buf_done(&writer->bytes);
    mem_free(writer);
}

static enum status mem_writer_commit(struct store_writer *base, struct store_info *info_out,
                                     struct err *err)
{
    struct mem_writer *writer = (struct mem_writer *)base;
    enum status status = put_with(writer->mem, writer->target.key, buf_str(&writer->bytes),
                                  base->attrs, &writer->target.cond, info_out, err);
    mem_writer_abort(base);
    return status;
}

static enum status mem_spool(struct store *store, int *fd_out, struct err *err)
{
    int fd = memfd_create("spool", MFD_CLOEXEC);
    if (fd < 0) {
        return err_errno(err, errno, "spool");
    }
    *fd_out = fd;
    return OK;
}

static enum status mem_remove(struct store *store, struct str key, struct str if_match,
                              struct err *err)
{
    struct mem_store *mem = (struct mem_store *)store;
    TRY(mem_fault(mem, "write", key, err));
    pthread_mutex_lock(&mem->lock);
    struct mem_entry *entry = find(mem, key);
    const struct store_cond cond = { .if_match = if_match };
    enum status status = store_cond_check(&cond, key, entry != NULL ? &entry->version->info : NULL,
                                          err);
    if (status == OK && entry != NULL) {
        mem_free(entry->key);
        mem_version_unref(entry->version);
        size_t at = (size_t)(entry - mem->entries);
        memmove(entry, entry + 1, (mem->count - at - 1) * sizeof *entry);
        mem->count--;
    }
    pthread_mutex_unlock(&mem->lock);
    TRY(status);
    return mem_fault(mem, "answer", key, err);
}

/** The version that a copy makes: the source itself, or its bytes with other attributes. */
static struct mem_version *copy_version(struct mem_store *mem, struct mem_version *from,
                                        const struct store_copy_how *how)
{
    if (how->fresh) {
        return version_ref(from);
    }
    struct str attrs = how->attrs_new ? how->attrs : mem_version_attrs(from);
    struct mem_version *version = mem_version_new(
        mem, str_from(from->bytes, (size_t)from->info.size), attrs);
    if (version != NULL) {
        int64_t now = version->info.modified_ms;
        version->info = from->info;
        version->info.modified_ms = how->keep_time ? from->info.modified_ms : now;
    }
    return version;
}

static enum status copy_locked(struct mem_store *mem, struct str from, struct str to,
                               const struct store_copy_how *how, struct store_info *info_out,
                               struct err *err)
{
    struct mem_entry *source = find(mem, from);
    if (source == NULL) {
        return err_set(err, E_NOT_FOUND, "object \"%.*s\" is not there", STR_ARG(from));
    }
    if (how->fresh && find(mem, to) != NULL) {
        return err_set(err, E_EXISTS, "object \"%.*s\" is there already", STR_ARG(to));
    }
    const struct store_cond of_source = { .if_match = how->if_match };
    TRY(store_cond_check(&of_source, from, &source->version->info, err));
    struct mem_version *version = copy_version(mem, source->version, how);
    if (version == NULL) {
        return err_no_memory(err);
    }
    struct store_info info = version->info;
    enum status status = mem_set_locked(mem, to, version, &how->cond, err);
    if (status != OK) {
        mem_version_unref(version);
        return status;
    }
    *info_out = info;
    return OK;
}

static enum status mem_copy(struct store *store, struct str from, struct str to,
                            const struct store_copy_how *how, struct store_info *info_out,
                            struct err *err)
{
    struct mem_store *mem = (struct mem_store *)store;
    TRY(mem_fault(mem, "write", to, err));
    struct store_info info;
    pthread_mutex_lock(&mem->lock);
    enum status status = copy_locked(mem, from, to, how, &info, err);
    pthread_mutex_unlock(&mem->lock);
    TRY(status);
    TRY(mem_fault(mem, "answer", to, err));
    *info_out = info;
    return OK;
}

/* --- reads --- */

static enum status version_get(struct mem_store *mem, struct str key, struct mem_version **out,
                               struct err *err)
{
    TRY(mem_fault(mem, "open", key, err));
    pthread_mutex_lock(&mem->lock);
    struct mem_entry *entry = find(mem, key);
    struct mem_version *version = entry != NULL ? version_ref(entry->version) : NULL;
    pthread_mutex_unlock(&mem->lock);
    if (version == NULL) {
        return err_set(err, E_NOT_FOUND, "object \"%.*s\" is not there", STR_ARG(key));
    }
    *out = version;
    return OK;
}

static enum status mem_stat(struct store *store, struct str key, struct store_info *out,
                            struct buf *attrs_out, struct err *err)
{
    struct mem_version *version = NULL;
    TRY(version_get((struct mem_store *)store, key, &version, err));
    *out = version->info;
    enum status status = OK;
    if (attrs_out != NULL && buf_append(attrs_out, mem_version_attrs(version)) != OK) {
        status = err_no_memory(err);
    }
    mem_version_unref(version);
    return status;
}

static enum status object_read(struct store_object *base, uint64_t offset, void *ptr, size_t len,
                               size_t *got_out, struct err *err)
{
    memcpy(ptr, ((struct mem_object *)base)->version->bytes + offset, len);
    *got_out = len;
    return OK;
}

static void object_close(struct store_object *base)
{
    struct mem_object *object = (struct mem_object *)base;
    mem_version_unref(object->version);
    mem_free(object);
}

static const struct store_object_ops object_ops = { .read = object_read, .close = object_close };

static enum status mem_open(struct store *store, struct str key, struct store_object **out,
                            struct err *err)
{
    struct mem_version *version = NULL;
    TRY(version_get((struct mem_store *)store, key, &version, err));
    struct mem_object *object = mem_zalloc(sizeof *object);
    if (object == NULL) {
        mem_version_unref(version);
        return err_no_memory(err);
    }
    object->base = (struct store_object){ .ops = &object_ops, .info = version->info };
    object->version = version;
    enum status status = attrs_unpack_block(mem_version_attrs(version), &object->base.attrs,
                                            &object->base.attrs_block, err);
    if (status != OK) {
        object_close(&object->base);
        return status;
    }
    *out = &object->base;
    return OK;
}

static enum status list_seek(void *ctx, struct str bound, struct str *key_out, bool *found_out,
                             struct err *err)
{
    struct mem_store *mem = ((void **)ctx)[0];
    size_t at = lower_bound(mem, bound);
    *found_out = at < mem->count;
    if (*found_out) {
        *key_out = entry_key(&mem->entries[at]);
        ((void **)ctx)[1] = &mem->entries[at];
    }
    return OK;
}

static enum status list_info(void *ctx, struct store_info *out, bool *there_out, struct err *err)
{
    *out = ((const struct mem_entry *)((void **)ctx)[1])->version->info;
    *there_out = true;
    return OK;
}

static enum status mem_list(struct store *store, const struct store_list_opts *opts,
                            struct arena *arena, struct store_list *out, struct err *err)
{
    struct mem_store *mem = (struct mem_store *)store;
    void *ctx[2] = { mem, NULL };
    pthread_mutex_lock(&mem->lock);
    enum status status = list_page(
        &(struct list_source){ .seek = list_seek, .info = list_info, .ctx = ctx }, opts, arena, out,
        err);
    pthread_mutex_unlock(&mem->lock);
    return status;
}

/* --- life --- */

static struct str mem_root_uri(const struct store *store)
{
    return STR("mem://lake");
}

static enum status mem_ready(struct store *store, struct err *err)
{
    return OK;
}

static void mem_close(struct store *store)
{
    struct mem_store *mem = (struct mem_store *)store;
    for (size_t i = 0; i < mem->count; i++) {
        mem_free(mem->entries[i].key);
        mem_version_unref(mem->entries[i].version);
    }
    mem_free(mem->entries);
    mem_uploads_free(mem);
    pthread_mutex_destroy(&mem->lock);
    mem_free(mem);
}

static const struct store_ops mem_ops = {
    .name = "mem",
    .local = true,
    .uploads = &mem_upload_ops,
    .close = mem_close,
    .writer_open = mem_writer_open,
    .writer_write = mem_writer_write,
    .writer_commit = mem_writer_commit,
    .writer_abort = mem_writer_abort,
    .put = mem_put,
    .spool = mem_spool,
    .stat = mem_stat,
    .open = mem_open,
    .list = mem_list,
    .remove = mem_remove,
    .copy = mem_copy,
    .root_uri = mem_root_uri,
    .ready = mem_ready,
};

enum status store_mem_open(const struct store_mem_opts *opts, struct store **out, struct err *err)
{
    struct mem_store *mem = mem_zalloc(sizeof *mem);
    if (mem == NULL) {
        return err_no_memory(err);
    }
    mem->base.ops = &mem_ops;
    mem->clock = opts != NULL && opts->clock != NULL ? opts->clock : clock_real();
    mem->hook = opts != NULL ? opts->hook : (struct store_fault_hook){ 0 };
    pthread_mutex_init(&mem->lock, NULL);
    *out = &mem->base;
    return OK;
}
