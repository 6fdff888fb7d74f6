/*
 * The one door to the drivers: checks keys and limits, then calls the driver's table. What several
 * drivers would otherwise write alike (a whole read, a put through a writer, a put from a
 * descriptor by copying) is here once.
 */
#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/io.h"
#include "base/mem.h"
#include "store/store_priv.h"

enum {
    READ_BYTES_DEFAULT = 256 * 1024 * 1024,
    LIST_LIMIT_DEFAULT = 1000,
    COPY_CHUNK_BYTES = 1024 * 1024,
};

static const struct store_cond no_cond;
/* for a writer behind a put: the put itself is counted */
static struct store_meter uncounted;

/* --- keys --- */

static enum status key_segments_check(struct str key, struct err *err)
{
    struct str rest = key;
    while (rest.ptr != NULL) {
        struct str segment = str_split(&rest, '/');
        if (segment.len == 0 && rest.ptr != NULL) {
            return err_set(err, E_INVALID, "key \"%.*s\" has an empty segment", STR_ARG(key));
        }
        if (str_eq(segment, STR(".")) || str_eq(segment, STR(".."))) {
            return err_set(err, E_INVALID, "key \"%.*s\" has a \"%.*s\" segment", STR_ARG(key),
                           STR_ARG(segment));
        }
    }
    return OK;
}

static enum status key_text_check(struct str key, size_t max, struct err *err)
{
    if (key.len == 0) {
        return err_set(err, E_INVALID, "the key is empty");
    }
    if (key.len > max) {
        return err_set(err, E_INVALID, "the key has %zu bytes, at most %zu are allowed", key.len,
                       max);
    }
    if (!str_is_utf8(key)) {
        return err_set(err, E_INVALID, "the key is not valid UTF-8");
    }
    return OK;
}

enum status store_key_check(struct str key, struct err *err)
{
    TRY(key_text_check(key, STORE_KEY_MAX, err));
    if (str_find_char(key, '\0') != SIZE_MAX) {
        return err_set(err, E_INVALID, "the key has a NUL in it");
    }
    return OK;
}

enum status store_key_check_plain(struct str key, struct err *err)
{
    TRY(key_text_check(key, STORE_KEY_PLAIN_MAX, err));
    if (str_has_control(key)) {
        return err_set(err, E_INVALID, "the key has a control character in it");
    }
    if (key.ptr[0] == '/') {
        return err_set(err, E_INVALID, "key \"%.*s\" starts with a slash", STR_ARG(key));
    }
    return key_segments_check(key, err);
}

/* --- life --- */

void store_close(struct store *store)
{
    if (store != NULL) {
        store->ops->close(store);
    }
}

void store_interrupt(struct store *store)
{
    if (store->ops->interrupt != NULL) {
        store->ops->interrupt(store);
    }
}

void store_measure(struct store *store, struct metrics *metrics)
{
    store_meter_init(&store->meter, metrics);
    if (store->ops->measure != NULL) {
        store->ops->measure(store, metrics);
    }
}

bool store_is_local(const struct store *store)
{
    return store->ops->local;
}

struct str store_root_uri(const struct store *store)
{
    return store->ops->root_uri(store);
}

enum status store_ready(struct store *store, struct err *err)
{
    return store->ops->ready(store, err);
}

/* --- writes --- */

static void attrs_free(struct str attrs)
{
    if (attrs.len > 0) {
        mem_free((char *)(uintptr_t)attrs.ptr);
    }
}

enum status store_writer_open(struct store *store, struct str key, const struct store_cond *cond,
                              struct store_writer **out, struct err *err)
{
    TRY(store_key_check(key, err));
    enum status status = store->ops->writer_open(store, key, cond != NULL ? cond : &no_cond, out,
                                                 err);
    if (status != OK) {
        return store_meter_count(&store->meter, STORE_PUT, status);
    }
    (*out)->meter = &store->meter;
    return OK;
}

enum status store_writer_write(struct store_writer *writer, struct str bytes, struct err *err)
{
    if (bytes.len == 0) {
        return OK;
    }
    TRY(writer->ops->writer_write(writer, bytes, err));
    metric_add(writer->meter->written, (double)bytes.len);
    return OK;
}

void store_writer_attrs_late(struct store_writer *writer)
{
    writer->attrs_late = true;
}

enum status store_writer_attrs(struct store_writer *writer, const struct store_attrs *attrs,
                               struct err *err)
{
    AUTO(buf_done) struct buf packed;
    buf_init(&packed, ATTRS_PACKED_MAX);
    TRY(attrs_pack(attrs, &packed, err));
    return store_writer_packed(writer, buf_str(&packed), err);
}

enum status store_writer_packed(struct store_writer *writer, struct str packed, struct err *err)
{
    char *copy = packed.len > 0 ? mem_strndup(packed.ptr, packed.len) : NULL;
    if (packed.len > 0 && copy == NULL) {
        return err_no_memory(err);
    }
    attrs_free(writer->attrs);
    writer->attrs = copy != NULL ? str_from(copy, packed.len) : STR_EMPTY;
    return OK;
}

enum status store_writer_commit(struct store_writer *writer, struct store_info *info_out,
                                struct err *err)
{
    struct store_info info;
    struct store_meter *meter = writer->meter; /* the writer is gone afterwards */
    struct str attrs = writer->attrs;
    enum status status = writer->ops->writer_commit(writer, &info, err);
    attrs_free(attrs);
    TRY(store_meter_count(meter, STORE_PUT, status));
    if (info_out != NULL) {
        *info_out = info;
    }
    return OK;
}

void store_writer_abort(struct store_writer *writer)
{
    if (writer != NULL) {
        attrs_free(writer->attrs);
        writer->ops->writer_abort(writer);
    }
}

static enum status put_by_writer(struct store *store, struct str key, struct str bytes,
                                 const struct store_cond *cond, struct store_info *info_out,
                                 struct err *err)
{
    struct store_writer *writer = NULL;
    TRY(store->ops->writer_open(store, key, cond, &writer, err));
    writer->meter = &uncounted;
    enum status status = store_writer_write(writer, bytes, err);
    if (status != OK) {
        store_writer_abort(writer);
        return status;
    }
    return store->ops->writer_commit(writer, info_out, err);
}

enum status store_put(struct store *store, struct str key, struct str bytes,
                      const struct store_cond *cond, struct store_info *info_out, struct err *err)
{
    TRY(store_key_check(key, err));
    if (cond == NULL) {
        cond = &no_cond;
    }
    struct store_info info;
    enum status status = OK;
    if (store->ops->put != NULL) {
        status = store->ops->put(store, key, bytes, cond, &info, err);
    } else {
        status = put_by_writer(store, key, bytes, cond, &info, err);
    }
    metric_add(status == OK ? store->meter.written : NULL, (double)bytes.len);
    TRY(store_meter_count(&store->meter, STORE_PUT, status));
    if (info_out != NULL) {
        *info_out = info;
    }
    return OK;
}

/** Feed the whole of `fd` to a writer through one buffer. */
static enum status writer_feed(struct store_writer *writer, int fd, char *chunk, struct err *err)
{
    uint64_t offset = 0;
    for (;;) {
        size_t got = 0;
        TRY(io_pread(fd, chunk, COPY_CHUNK_BYTES, offset, &got, err));
        if (got == 0) {
            return OK;
        }
        TRY(store_writer_write(writer, str_from(chunk, got), err));
        offset += got;
    }
}

enum status store_put_fd_by_writer(struct store *store, struct str key, int fd,
                                   const struct store_cond *cond, struct store_info *info_out,
                                   struct err *err)
{
    char *chunk = mem_alloc(COPY_CHUNK_BYTES);
    if (chunk == NULL) {
        return err_no_memory(err);
    }
    struct store_writer *writer = NULL;
    enum status status = store->ops->writer_open(store, key, cond, &writer, err);
    if (status == OK) {
        writer->meter = &uncounted;
        status = writer_feed(writer, fd, chunk, err);
        if (status == OK) {
            status = store->ops->writer_commit(writer, info_out, err);
        } else {
            store_writer_abort(writer);
        }
    }
    mem_free(chunk);
    return status;
}

enum status store_put_fd(struct store *store, struct str key, int fd, bool adopt,
                         const struct store_cond *cond, struct store_info *info_out,
                         struct err *err)
{
    TRY(store_key_check(key, err));
    if (cond == NULL) {
        cond = &no_cond;
    }
    struct store_info info;
    enum status status = OK;
    if (store->ops->put_fd != NULL) {
        status = store->ops->put_fd(store, key, fd, adopt, cond, &info, err);
    } else {
        status = store_put_fd_by_writer(store, key, fd, cond, &info, err);
    }
    metric_add(status == OK ? store->meter.written : NULL, status == OK ? (double)info.size : 0);
    TRY(store_meter_count(&store->meter, STORE_PUT, status));
    if (info_out != NULL) {
        *info_out = info;
    }
    return OK;
}

enum status store_spool_temp(struct store *store, int *fd_out, struct err *err)
{
    const char *dir = getenv("TMPDIR");
    dir = dir != NULL && dir[0] != '\0' ? dir : "/tmp";
    int fd = open(dir, O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
    if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL)) {
        char path[PATH_MAX];
        snprintf(path, sizeof path, "%s/lakehouse-XXXXXX", dir);
        fd = mkostemp(path, O_CLOEXEC);
        if (fd >= 0) {
            (void)unlink(path);
        }
    }
    if (fd < 0) {
        return err_errno(err, errno, "temporary file in \"%s\"", dir);
    }
    *fd_out = fd;
    return OK;
}

enum status store_spool(struct store *store, int *fd_out, struct err *err)
{
    return store->ops->spool(store, fd_out, err);
}

enum status store_delete(struct store *store, struct str key, struct err *err)
{
    return store_delete_if(store, key, STR_EMPTY, err);
}

enum status store_delete_if(struct store *store, struct str key, struct str if_match,
                            struct err *err)
{
    TRY(store_key_check(key, err));
    return store_meter_count(&store->meter, STORE_DELETE,
                             store->ops->remove(store, key, if_match, err));
}

static enum status copy_how(struct store *store, struct str from, struct str to,
                            const struct store_copy_how *how, struct store_info *info_out,
                            struct err *err)
{
    TRY(store_key_check(from, err));
    TRY(store_key_check(to, err));
    struct store_info info;
    TRY(store_meter_count(&store->meter, STORE_COPY,
                          store->ops->copy(store, from, to, how, &info, err)));
    if (info_out != NULL) {
        *info_out = info;
    }
    return OK;
}

enum status store_copy(struct store *store, struct str from, struct str to,
                       struct store_info *info_out, struct err *err)
{
    static const struct store_copy_how fresh = { .fresh = true };
    return copy_how(store, from, to, &fresh, info_out, err);
}

enum status store_copy_with(struct store *store, struct str from, struct str to,
                            const struct store_copy_opts *opts, struct store_info *info_out,
                            struct err *err)
{
    AUTO(buf_done) struct buf packed;
    buf_init(&packed, ATTRS_PACKED_MAX);
    TRY(attrs_pack(opts->attrs, &packed, err));
    const struct store_copy_how how = {
        .attrs_new = opts->attrs != NULL,
        .attrs = buf_str(&packed),
        .cond = opts->cond != NULL ? *opts->cond : no_cond,
        .if_match = opts->if_match,
    };
    return copy_how(store, from, to, &how, info_out, err);
}

enum status store_set_attrs(struct store *store, struct str key, const struct store_attrs *attrs,
                            struct str if_match, struct store_info *info_out, struct err *err)
{
    AUTO(buf_done) struct buf packed;
    buf_init(&packed, ATTRS_PACKED_MAX);
    TRY(attrs_pack(attrs, &packed, err));
    const struct store_copy_how how = {
        .keep_time = true,
        .attrs_new = true,
        .attrs = buf_str(&packed),
        .if_match = if_match,
    };
    return copy_how(store, key, key, &how, info_out, err);
}

enum status store_etag_quote(struct str etag, char text[STORE_ETAG_QUOTED], struct str *quoted_out,
                             struct err *err)
{
    if (etag.len > STORE_ETAG_MAX) {
        return err_set(err, E_PRECONDITION, "no object has an ETag that long");
    }
    int len = snprintf(text, STORE_ETAG_QUOTED, "\"%.*s\"", STR_ARG(etag));
    *quoted_out = str_from(text, (size_t)len);
    return OK;
}

void store_target_keep(struct store_target *target, struct str key, const struct store_cond *cond)
{
    struct str tag = str_take(cond->if_match, sizeof target->if_match);
    *target = (struct store_target){ .cond = { .if_absent = cond->if_absent,
                                               .opaque_etag = cond->opaque_etag } };
    memcpy(target->key_text, key.ptr, key.len);
    target->key = str_from(target->key_text, key.len);
    if (tag.len > 0) {
        memcpy(target->if_match, tag.ptr, tag.len);
        target->cond.if_match = str_from(target->if_match, tag.len);
    }
}

enum status store_cond_check(const struct store_cond *cond, struct str key,
                             const struct store_info *current, struct err *err)
{
    if (cond->if_absent && current != NULL) {
        return err_set(err, E_PRECONDITION, "object \"%.*s\" is there already", STR_ARG(key));
    }
    if (cond->if_match.len == 0) {
        return OK;
    }
    if (current == NULL) {
        return err_set(err, E_PRECONDITION, "object \"%.*s\" is not there", STR_ARG(key));
    }
    if (current->etag[0] == '\0' || !str_eq(cond->if_match, str_of(current->etag))) {
        return err_set(err, E_PRECONDITION, "object \"%.*s\" has changed: its ETag is \"%s\"",
                       STR_ARG(key), current->etag);
    }
    return OK;
}

/* --- reads --- */

enum status store_stat(struct store *store, struct str key, struct store_info *info_out,
                       struct err *err)
{
    TRY(store_key_check(key, err));
    return store_meter_count(&store->meter, STORE_STAT,
                             store->ops->stat(store, key, info_out, NULL, err));
}

enum status store_stat_attrs(struct store *store, struct str key, struct arena *arena,
                             struct store_info *info_out, struct store_attrs *attrs_out,
                             struct err *err)
{
    AUTO(buf_done) struct buf packed;
    struct store_info info;
    buf_init(&packed, ATTRS_PACKED_MAX);
    TRY(store_key_check(key, err));
    TRY(store_meter_count(&store->meter, STORE_STAT,
                          store->ops->stat(store, key, &info, &packed, err)));
    TRY(attrs_unpack(buf_str(&packed), arena, attrs_out, err));
    *info_out = info;
    return OK;
}

enum status store_open(struct store *store, struct str key, struct store_object **out,
                       struct err *err)
{
    TRY(store_key_check(key, err));
    TRY(store_meter_count(&store->meter, STORE_OPEN, store->ops->open(store, key, out, err)));
    (*out)->meter = &store->meter;
    return OK;
}

const struct store_info *store_object_info(const struct store_object *object)
{
    return &object->info;
}

struct store_attrs store_object_attrs(const struct store_object *object)
{
    return object->attrs;
}

enum status store_object_read(struct store_object *object, uint64_t offset, void *ptr, size_t len,
                              size_t *got_out, struct err *err)
{
    if (offset >= object->info.size || len == 0) {
        *got_out = 0;
        return OK;
    }
    uint64_t left = object->info.size - offset;
    *got_out = 0;
    enum status status = object->ops->read(object, offset, ptr, left < len ? (size_t)left : len,
                                           got_out, err);
    return store_meter_read(object->meter, *got_out, status);
}

enum status store_object_raw_fd(struct store_object *object, int *fd_out, struct err *err)
{
    if (object->ops->raw_fd == NULL) {
        return err_set(err, E_UNSUPPORTED, "this store has no file behind an object");
    }
    return object->ops->raw_fd(object, fd_out, err);
}

enum status store_object_fd(struct store_object *object, uint64_t offset, uint64_t length,
                            int *fd_out, struct err *err)
{
    if (object->ops->raw_fd == NULL) {
        return err_set(err, E_UNSUPPORTED, "this store has no file behind an object");
    }
    if (offset > object->info.size || length > object->info.size - offset) {
        return err_set(err, E_RANGE, "the range ends behind the object's %llu bytes",
                       (unsigned long long)object->info.size);
    }
    enum status status = OK;
    if (object->ops->check != NULL) {
        status = object->ops->check(object, offset, length, err);
    }
    if (status == OK) {
        status = object->ops->raw_fd(object, fd_out, err);
    }
    return store_meter_read(object->meter, length, status);
}

bool store_object_is_file(const struct store_object *object)
{
    return object->ops->raw_fd != NULL;
}

bool store_object_checked(struct store_object *object, uint64_t offset, uint64_t length)
{
    return object->ops->checked == NULL || object->ops->checked(object, offset, length);
}

void store_object_close(struct store_object *object)
{
    if (object != NULL) {
        mem_free(object->attrs_block);
        object->ops->close(object);
    }
}

/** How many bytes a read of `opts` gives of an object of `size`. */
static enum status read_span(uint64_t size, const struct store_read_opts *opts, struct str key,
                             uint64_t *length_out, struct err *err)
{
    if (opts->offset > size) {
        return err_set(err, E_RANGE, "offset %llu is behind the end of \"%.*s\" (%llu bytes)",
                       (unsigned long long)opts->offset, STR_ARG(key), (unsigned long long)size);
    }
    uint64_t length = size - opts->offset;
    if (opts->length != 0 && opts->length < length) {
        length = opts->length;
    }
    uint64_t max = opts->bytes_max != 0 ? opts->bytes_max : READ_BYTES_DEFAULT;
    if (length > max || length > SIZE_MAX) {
        return err_set(err, E_TOO_LARGE,
                       "object \"%.*s\" has %llu bytes to read, at most %llu are allowed",
                       STR_ARG(key), (unsigned long long)length, (unsigned long long)max);
    }
    *length_out = length;
    return OK;
}

static enum status object_read_all(struct store_object *object, struct str key,
                                   const struct store_read_opts *opts, struct buf *out,
                                   struct err *err)
{
    uint64_t length = 0;
    TRY(read_span(object->info.size, opts, key, &length, err));
    if (length == 0) {
        return OK;
    }
    char *to = buf_reserve(out, (size_t)length);
    if (to == NULL) {
        return err_no_memory(err);
    }
    size_t done = 0;
    while (done < length) {
        size_t got = 0;
        TRY(store_object_read(object, opts->offset + done, to + done, (size_t)length - done, &got,
                              err));
        if (got == 0) {
            return err_set(err, E_CORRUPT, "object \"%.*s\" ends early", STR_ARG(key));
        }
        done += got;
    }
    out->len += done;
    return OK;
}

enum status store_read(struct store *store, struct str key, const struct store_read_opts *opts,
                       struct buf *out, struct store_info *info_out, struct err *err)
{
    static const struct store_read_opts whole;
    struct store_object *object = NULL;
    TRY(store_open(store, key, &object, err));
    enum status status = object_read_all(object, key, opts != NULL ? opts : &whole, out, err);
    if (status == OK && info_out != NULL) {
        *info_out = object->info;
    }
    store_object_close(object);
    return status;
}

/* --- lists --- */

enum status store_list(struct store *store, const struct store_list_opts *opts, struct arena *arena,
                       struct store_list *out, struct err *err)
{
    struct store_list_opts checked = opts != NULL ? *opts : (struct store_list_opts){ 0 };
    if (checked.prefix.len > STORE_KEY_MAX || checked.after.len > STORE_KEY_MAX ||
        checked.delimiter.len > STORE_KEY_MAX) {
        return err_set(err, E_INVALID, "prefix, delimiter and after have at most %d bytes",
                       STORE_KEY_MAX);
    }
    if (checked.limit == 0) {
        checked.limit = LIST_LIMIT_DEFAULT;
    }
    if (checked.limit > STORE_LIST_MAX) {
        checked.limit = STORE_LIST_MAX;
    }
    struct store_list list = { 0 };
    TRY(store_meter_count(&store->meter, STORE_LIST,
                          store->ops->list(store, &checked, arena, &list, err)));
    *out = list;
    return OK;
}
