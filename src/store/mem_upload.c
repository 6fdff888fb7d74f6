/*
 * Uploads in parts in memory: each part is a version like an object's, and a complete puts their
 * bytes together, under the lock. The hook is called as for objects: before a change ("write") and
 * after it ("answer").
 */
#include <stdio.h>

#include "base/digest.h"
#include "base/encode.h"
#include "base/mem.h"
#include "store/mem_priv.h"

struct part {
    unsigned number;
    struct mem_version *version;
};

struct mem_upload {
    int64_t started_ms, changed_ms;
    char *key, *attrs;
    size_t key_len, attrs_len;
    char id[STORE_UPLOAD_ID_MAX + 1];
    struct part *parts; /* by number */
    size_t part_count, part_cap;
};

struct part_writer {
    struct store_writer base;
    struct mem_store *mem;
    struct store_upload_ref ref;
    unsigned number;
    int64_t size;
    struct buf bytes;
    char text[]; /* key and id */
};

/* --- the table of uploads; under the lock --- */

static struct str upload_key(const struct mem_upload *upload)
{
    return str_from(upload->key, upload->key_len);
}

static int upload_compare(const struct mem_upload *upload, const struct store_upload_ref *ref)
{
    int order = str_cmp(upload_key(upload), ref->key);
    return order != 0 ? order : str_cmp(str_of(upload->id), ref->id);
}

/** The place of the first one that is not below `ref`. */
static size_t lower_bound(const struct mem_store *mem, const struct store_upload_ref *ref)
{
    size_t low = 0, high = mem->upload_count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (upload_compare(mem->uploads[mid], ref) < 0) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low;
}

static enum status find(const struct mem_store *mem, const struct store_upload_ref *ref,
                        size_t *at_out, struct err *err)
{
    size_t at = lower_bound(mem, ref);
    if (at == mem->upload_count || upload_compare(mem->uploads[at], ref) != 0) {
        return store_upload_not_found(ref, err);
    }
    *at_out = at;
    return OK;
}

static void upload_free(struct mem_upload *upload)
{
    for (size_t i = 0; i < upload->part_count; i++) {
        mem_version_unref(upload->parts[i].version);
    }
    mem_free(upload->parts);
    mem_free(upload->key);
    mem_free(upload->attrs);
    mem_free(upload);
}

static void remove_at(struct mem_store *mem, size_t at)
{
    upload_free(mem->uploads[at]);
    memmove(&mem->uploads[at], &mem->uploads[at + 1],
            (mem->upload_count - at - 1) * sizeof *mem->uploads);
    mem->upload_count--;
}

void mem_uploads_free(struct mem_store *mem)
{
    while (mem->upload_count > 0) {
        remove_at(mem, mem->upload_count - 1);
    }
    mem_free(mem->uploads);
}

/** Room for one more in an array that doubles. */
static void *grown(void *items, size_t count, size_t *cap, size_t size)
{
    if (count < *cap) {
        return items;
    }
    size_t cap_new = *cap == 0 ? 16 : *cap * 2;
    void *more = mem_realloc(items, cap_new * size);
    if (more != NULL) {
        *cap = cap_new;
    }
    return more;
}

static enum status insert(struct mem_store *mem, struct mem_upload *upload, struct err *err)
{
    struct mem_upload **uploads = grown(mem->uploads, mem->upload_count, &mem->upload_cap,
                                        sizeof(struct mem_upload *));
    if (uploads == NULL) {
        return err_no_memory(err);
    }
    mem->uploads = uploads;
    const struct store_upload_ref ref = { upload_key(upload), str_of(upload->id) };
    size_t at = lower_bound(mem, &ref);
    memmove(&uploads[at + 1], &uploads[at], (mem->upload_count - at) * sizeof *uploads);
    uploads[at] = upload;
    mem->upload_count++;
    return OK;
}

/* --- begin, abort --- */

static struct mem_upload *upload_new(struct mem_store *mem, struct str key, struct str attrs)
{
    struct mem_upload *upload = mem_zalloc(sizeof *upload);
    if (upload == NULL) {
        return NULL;
    }
    upload->started_ms = upload->changed_ms = clock_wall_ms(mem->clock);
    store_upload_id_make(upload->started_ms, upload->id);
    upload->key = mem_strndup(key.ptr, key.len);
    upload->key_len = key.len;
    upload->attrs = mem_strndup(attrs.len > 0 ? attrs.ptr : "", attrs.len);
    upload->attrs_len = attrs.len;
    if (upload->key == NULL || upload->attrs == NULL) {
        upload_free(upload);
        return NULL;
    }
    return upload;
}

static enum status upload_begin(struct store *store, struct str key, struct str attrs,
                                char id_out[STORE_UPLOAD_ID_MAX + 1], struct err *err)
{
    struct mem_store *mem = (struct mem_store *)store;
    char id[STORE_UPLOAD_ID_MAX + 1];
    TRY(mem_fault(mem, "write", key, err));
    struct mem_upload *upload = upload_new(mem, key, attrs);
    if (upload == NULL) {
        return err_no_memory(err);
    }
    memcpy(id, upload->id, sizeof id);
    pthread_mutex_lock(&mem->lock);
    enum status status = insert(mem, upload, err);
    pthread_mutex_unlock(&mem->lock);
    if (status != OK) {
        upload_free(upload);
        return status;
    }
    TRY(mem_fault(mem, "answer", key, err));
    memcpy(id_out, id, sizeof id);
    return OK;
}

static enum status upload_abort(struct store *store, const struct store_upload_ref *ref,
                                struct err *err)
{
    struct mem_store *mem = (struct mem_store *)store;
    size_t at = 0;
    TRY(mem_fault(mem, "write", ref->key, err));
    pthread_mutex_lock(&mem->lock);
    enum status status = find(mem, ref, &at, err);
    if (status == OK) {
        remove_at(mem, at);
    }
    pthread_mutex_unlock(&mem->lock);
    TRY(status);
    return mem_fault(mem, "answer", ref->key, err);
}

/* --- parts --- */

static const struct store_ops part_ops;

static enum status upload_part_open(struct store *store, const struct store_upload_ref *ref,
                                    unsigned number, int64_t size, struct store_writer **out,
                                    struct err *err)
{
    struct mem_store *mem = (struct mem_store *)store;
    size_t at = 0;
    pthread_mutex_lock(&mem->lock);
    enum status status = find(mem, ref, &at, err);
    pthread_mutex_unlock(&mem->lock);
    TRY(status);
    struct part_writer *writer = mem_zalloc(sizeof *writer + ref->key.len + ref->id.len);
    if (writer == NULL) {
        return err_no_memory(err);
    }
    writer->base.ops = &part_ops;
    writer->mem = mem;
    writer->number = number;
    writer->size = size;
    memcpy(writer->text, ref->key.ptr, ref->key.len);
    memcpy(writer->text + ref->key.len, ref->id.ptr, ref->id.len);
    writer->ref = (struct store_upload_ref){ str_from(writer->text, ref->key.len),
                                             str_from(writer->text + ref->key.len, ref->id.len) };
    buf_init(&writer->bytes, 0);
    *out = &writer->base;
    return OK;
}

static enum status part_write(struct store_writer *base, struct str bytes, struct err *err)
{
    struct part_writer *writer = (struct part_writer *)base;
    TRY(store_part_size_check(writer->number, writer->size, writer->bytes.len + bytes.len, false,
                              err));
    enum status status = buf_append(&writer->bytes, bytes);
    return status == OK ? OK : err_set(err, status, "no memory for part %u", writer->number);
}

static void part_abort(struct store_writer *base)
{
    struct part_writer *writer = (struct part_writer *)base;
    buf_done(&writer->bytes);
    mem_free(writer);
}

static enum status part_set(struct mem_upload *upload, unsigned number, struct mem_version *version,
                            struct err *err)
{
    size_t at = upload->part_count;
    while (at > 0 && upload->parts[at - 1].number >= number) {
        at--;
    }
    if (at < upload->part_count && upload->parts[at].number == number) {
        mem_version_unref(upload->parts[at].version);
        upload->parts[at].version = version;
        upload->changed_ms = version->info.modified_ms;
        return OK;
    }
    struct part *parts = grown(upload->parts, upload->part_count, &upload->part_cap, sizeof *parts);
    if (parts == NULL) {
        return err_no_memory(err);
    }
    upload->parts = parts;
    memmove(&parts[at + 1], &parts[at], (upload->part_count - at) * sizeof *parts);
    parts[at] = (struct part){ number, version };
    upload->part_count++;
    upload->changed_ms = version->info.modified_ms;
    return OK;
}

static enum status part_finish(struct part_writer *writer, struct store_info *info_out,
                               struct err *err)
{
    struct mem_store *mem = writer->mem;
    size_t at = 0;
    TRY(store_part_size_check(writer->number, writer->size, writer->bytes.len, true, err));
    TRY(mem_fault(mem, "write", writer->ref.key, err));
    struct mem_version *version = mem_version_new(mem, buf_str(&writer->bytes), writer->base.attrs);
    if (version == NULL) {
        return err_no_memory(err);
    }
    struct store_info info = version->info;
    pthread_mutex_lock(&mem->lock);
    enum status status = find(mem, &writer->ref, &at, err);
    if (status == OK) {
        status = part_set(mem->uploads[at], writer->number, version, err);
    }
    pthread_mutex_unlock(&mem->lock);
    if (status != OK) {
        mem_version_unref(version);
        return status;
    }
    TRY(mem_fault(mem, "answer", writer->ref.key, err));
    *info_out = info;
    return OK;
}

static enum status part_commit(struct store_writer *base, struct store_info *info_out,
                               struct err *err)
{
    enum status status = part_finish((struct part_writer *)base, info_out, err);
    part_abort(base);
    return status;
}

static const struct store_ops part_ops = {
    .name = "mem",
    .writer_write = part_write,
    .writer_commit = part_commit,
    .writer_abort = part_abort,
};

/* --- what is there --- */

static enum status upload_get(struct store *store, const struct store_upload_ref *ref,
                              int64_t *started_ms_out, struct buf *attrs_out, struct err *err)
{
    struct mem_store *mem = (struct mem_store *)store;
    size_t at = 0;
    pthread_mutex_lock(&mem->lock);
    enum status status = find(mem, ref, &at, err);
    if (status == OK) {
        const struct mem_upload *upload = mem->uploads[at];
        *started_ms_out = upload->started_ms;
        if (attrs_out != NULL &&
            buf_append(attrs_out, str_from(upload->attrs, upload->attrs_len)) != OK) {
            status = err_no_memory(err);
        }
    }
    pthread_mutex_unlock(&mem->lock);
    return status;
}

static enum status parts_fill(const struct mem_upload *upload, unsigned after, size_t limit,
                              struct arena *arena, struct store_parts *out, struct err *err)
{
    size_t from = 0;
    while (from < upload->part_count && upload->parts[from].number <= after) {
        from++;
    }
    size_t left = upload->part_count - from;
    out->truncated = left > limit;
    size_t count = out->truncated ? limit : left;
    out->items = arena_array(arena, count + 1, sizeof *out->items);
    if (out->items == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < count; i++) {
        const struct mem_version *version = upload->parts[from + i].version;
        struct store_part *part = &out->items[i];
        part->number = upload->parts[from + i].number;
        part->size = version->info.size;
        part->modified_ms = version->info.modified_ms;
        memcpy(part->etag, version->info.etag, sizeof part->etag);
        TRY(attrs_unpack(mem_version_attrs(version), arena, &part->attrs, err));
        out->count++;
    }
    return OK;
}

static enum status upload_parts(struct store *store, const struct store_upload_ref *ref,
                                unsigned after, size_t limit, struct arena *arena,
                                struct store_parts *out, struct err *err)
{
    struct mem_store *mem = (struct mem_store *)store;
    size_t at = 0;
    pthread_mutex_lock(&mem->lock);
    enum status status = find(mem, ref, &at, err);
    if (status == OK) {
        status = parts_fill(mem->uploads[at], after, limit, arena, out, err);
    }
    pthread_mutex_unlock(&mem->lock);
    return status;
}

static enum status list_locked(const struct mem_store *mem, const struct store_uploads_opts *opts,
                               struct arena *arena, struct store_uploads *out, struct err *err)
{
    out->items = arena_array(arena, opts->limit, sizeof *out->items);
    if (out->items == NULL) {
        return err_no_memory(err);
    }
    const struct store_upload_ref start = { opts->after_key, opts->after_id };
    for (size_t i = lower_bound(mem, &start); i < mem->upload_count; i++) {
        const struct mem_upload *upload = mem->uploads[i];
        struct str key = upload_key(upload), id = str_of(upload->id);
        if (!store_upload_wanted(opts, key, id)) {
            continue;
        }
        if (out->count == opts->limit) {
            out->truncated = true;
            break;
        }
        struct store_upload *item = &out->items[out->count++];
        *item = (struct store_upload){ arena_str(arena, key), arena_str(arena, id),
                                       upload->started_ms };
        if (item->key.ptr == NULL || item->id.ptr == NULL) {
            return err_no_memory(err);
        }
    }
    return OK;
}

static enum status upload_list(struct store *store, const struct store_uploads_opts *opts,
                               struct arena *arena, struct store_uploads *out, struct err *err)
{
    struct mem_store *mem = (struct mem_store *)store;
    pthread_mutex_lock(&mem->lock);
    enum status status = list_locked(mem, opts, arena, out, err);
    pthread_mutex_unlock(&mem->lock);
    return status;
}

/* --- complete --- */

/** Bytes and MD5s of the wanted parts, one after the other. */
static enum status parts_join(const struct mem_upload *upload, const struct store_upload_how *how,
                              struct buf *bytes, struct buf *md5s, struct err *err)
{
    size_t at = 0;
    for (size_t i = 0; i < how->count; i++) {
        while (at < upload->part_count && upload->parts[at].number < how->parts[i].number) {
            at++;
        }
        bool there = at < upload->part_count && upload->parts[at].number == how->parts[i].number;
        const struct mem_version *version = there ? upload->parts[at].version : NULL;
        uint8_t md5[MD5_BYTES];
        TRY(store_part_ref_check(&how->parts[i], there ? version->info.etag : NULL, err));
        assert(version != NULL);
        bool hex = hex_decode(str_of(version->info.etag), md5, sizeof md5);
        assert(hex);
        if (buf_append_bytes(md5s, md5, sizeof md5) != OK ||
            buf_append(bytes, str_from(version->bytes, (size_t)version->info.size)) != OK) {
            return err_no_memory(err);
        }
    }
    return OK;
}

static enum status object_make(struct mem_store *mem, const struct mem_upload *upload,
                               const struct store_upload_how *how, struct mem_version **out,
                               struct err *err)
{
    AUTO(buf_done) struct buf bytes;
    AUTO(buf_done) struct buf md5s;
    buf_init(&bytes, 0);
    buf_init(&md5s, 0);
    TRY(parts_join(upload, how, &bytes, &md5s, err));
    struct mem_version *version = mem_version_new(
        mem, buf_str(&bytes),
        how->attrs_new ? how->attrs : str_from(upload->attrs, upload->attrs_len));
    if (version == NULL) {
        return err_no_memory(err);
    }
    char md5[MD5_HEX + 1];
    md5_hex(buf_str(&md5s), md5);
    snprintf(version->info.etag, sizeof version->info.etag, "%s-%zu", md5, how->count);
    *out = version;
    return OK;
}

static enum status complete_locked(struct mem_store *mem, const struct store_upload_ref *ref,
                                   const struct store_upload_how *how, struct store_info *info_out,
                                   struct err *err)
{
    struct mem_version *version = NULL;
    size_t at = 0;
    TRY(find(mem, ref, &at, err));
    TRY(object_make(mem, mem->uploads[at], how, &version, err));
    *info_out = version->info;
    enum status status = mem_set_locked(mem, ref->key, version, &how->cond, err);
    if (status != OK) {
        mem_version_unref(version);
        return status;
    }
    remove_at(mem, at);
    return OK;
}

static enum status upload_complete(struct store *store, const struct store_upload_ref *ref,
                                   const struct store_upload_how *how, struct store_info *info_out,
                                   struct err *err)
{
    struct mem_store *mem = (struct mem_store *)store;
    TRY(mem_fault(mem, "write", ref->key, err));
    pthread_mutex_lock(&mem->lock);
    enum status status = complete_locked(mem, ref, how, info_out, err);
    pthread_mutex_unlock(&mem->lock);
    TRY(status);
    return mem_fault(mem, "answer", ref->key, err);
}

static enum status upload_sweep(struct store *store, int64_t before_ms, struct store_swept *out,
                                struct err *err)
{
    struct mem_store *mem = (struct mem_store *)store;
    pthread_mutex_lock(&mem->lock);
    for (size_t i = mem->upload_count; i > 0; i--) {
        if (mem->uploads[i - 1]->changed_ms <= before_ms) {
            remove_at(mem, i - 1);
            out->dropped++;
        }
    }
    pthread_mutex_unlock(&mem->lock);
    return OK;
}

static int64_t now_ms(const struct store *store)
{
    return clock_wall_ms(((const struct mem_store *)store)->clock);
}

const struct store_upload_ops mem_upload_ops = {
    .begin = upload_begin,
    .part_open = upload_part_open,
    .get = upload_get,
    .parts = upload_parts,
    .complete = upload_complete,
    .abort = upload_abort,
    .list = upload_list,
    .sweep = upload_sweep,
    .now_ms = now_ms,
};
