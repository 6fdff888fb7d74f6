/*
 * The driver for a store in another process: storaged's internal routes, one call each.
 *
 * A lost answer is an unknown outcome (E_UPSTREAM, E_TIMEOUT) and is said to the caller, who reads
 * back; nothing that changes anything is sent twice. The http client gives requests with a
 * condition a connection of their own for that.
 *
 * An open object keeps its first MiB, so small ones (pointers) are whole versions whatever happens
 * later. Of a bigger one each further piece is asked for by ETag; if it was replaced or deleted
 * meanwhile the read fails, other bytes never come.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/encode.h"
#include "base/io.h"
#include "base/json.h"
#include "base/mem.h"
#include "http/client.h"
#include "store/store_priv.h"

enum {
    HEAD_BYTES = 1024 * 1024,
    TARGET_BYTES_MAX = 16 * 1024,
    COPY_BYTES_MAX = 64 * 1024, /* two keys and attributes in base64 */
    CALL_MS = 60000,
    INTERRUPT_MS = 5000,     /* chosen: half of what a stop gives to what runs */
    BYTES_PER_MS_MIN = 4096, /* a body that moves at 4 MB/s or faster is in time */
    URI_MAX = 4096,
};

struct http_store {
    struct store base;
    struct http_client *client;
    pthread_mutex_t lock;
    char uri[URI_MAX]; /* "" until known; written once; guarded by lock */
};

struct http_writer {
    struct store_writer base;
    struct http_store *http;
    /* what was written waits in a file, so that a lost connection is noticed before anything is
     * visible */
    int fd;
    uint64_t size;
    struct store_target target;
};

struct http_object {
    struct store_object base;
    struct http_store *http;
    struct buf head; /* the first bytes */
    size_t key_len;
    char key[STORE_KEY_MAX];
};

/* --- calls --- */

/** A key that is no path: dots and slashes would be taken for one. */
static enum status encode_all(struct buf *out, struct str key)
{
    enum status status = OK;
    for (size_t i = 0; i < key.len && status == OK; i++) {
        status = buf_printf(out, "%%%02X", (unsigned char)key.ptr[i]);
    }
    return status;
}

/** "/internal/store/<op>/<key>", a plain key with its slashes. */
static enum status target_key(struct buf *out, const char *op, struct str key, struct err *err)
{
    bool plain = store_key_check_plain(key, NULL) == OK;
    buf_init(out, TARGET_BYTES_MAX);
    if (buf_printf(out, "/internal/store/%s/", op) != OK ||
        (plain ? percent_append(out, key, "/") : encode_all(out, key)) != OK) {
        return err_no_memory(err);
    }
    return OK;
}

static enum status target_param(struct buf *out, const char *name, struct str value,
                                struct err *err)
{
    if (buf_printf(out, "%c%s=", str_find_char(buf_str(out), '?') == SIZE_MAX ? '?' : '&', name) !=
            OK ||
        percent_append(out, value, "") != OK) {
        return err_no_memory(err);
    }
    return OK;
}

static deadline_ms deadline_for(uint64_t bytes)
{
    return deadline_in(CALL_MS + (int64_t)(bytes / BYTES_PER_MS_MIN));
}

static enum status info_parse(yyjson_val *obj, struct store_info *out, struct err *err)
{
    struct store_info info = { 0 };
    struct str etag = STR_EMPTY;
    if (json_get_u64(obj, "size", JSON_REQUIRED, &info.size, err) != OK ||
        json_get_str(obj, "etag", JSON_REQUIRED, &etag, err) != OK ||
        json_get_bool(obj, "weak", JSON_REQUIRED, &info.etag_weak, err) != OK ||
        json_get_i64(obj, "modified_ms", JSON_REQUIRED, &info.modified_ms, err) != OK) {
        err_context(err, "answer of storaged");
        return E_UPSTREAM;
    }
    if (etag.len > STORE_ETAG_MAX) {
        return err_set(err, E_UPSTREAM, "answer of storaged: the ETag is too long");
    }
    memcpy(info.etag, etag.ptr, etag.len);
    *out = info;
    return OK;
}

/** A call whose answer is a JSON document; the caller frees it. */
static enum status call_json(struct http_store *http, const struct http_call *call,
                             yyjson_doc **out, struct err *err)
{
    struct http_answer answer = { 0 };
    enum status status = http_client_call_ok(http->client, call, &answer, err);
    if (status == OK && json_parse(buf_str(&answer.body), out, err) != OK) {
        err_context(err, "answer of storaged");
        status = E_UPSTREAM;
    }
    http_answer_done(&answer);
    return status;
}

static enum status call_info(struct http_store *http, const struct http_call *call,
                             struct store_info *out, struct err *err)
{
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    TRY(call_json(http, call, &doc, err));
    return info_parse(yyjson_doc_get_root(doc), out, err);
}

/** A call that changes something: memory that fails now may fail after the request has left. */
static enum status changed_info(struct http_store *http, const struct http_call *call,
                                struct store_info *out, struct err *err)
{
    enum status status = call_info(http, call, out, err);
    return status == E_NO_MEMORY
               ? err_set(err, E_UPSTREAM,
                         "no memory while storaged answered: the outcome is unknown")
               : status;
}

/* --- writes --- */

/** A PUT of what `call` says in its body fields, which begins with `attrs_len` bytes of
 * attributes. */
static enum status put_call(struct http_store *http, struct str key, const struct store_cond *cond,
                            size_t attrs_len, struct http_call *call, struct store_info *info_out,
                            struct err *err)
{
    AUTO(buf_done) struct buf target;
    char match[STORE_ETAG_QUOTED];
    struct str quoted;
    struct http_header headers[2];
    size_t count = 0;
    TRY(target_key(&target, "put", key, err));
    if (buf_printf(&target, "?attrs=%zu%s", attrs_len, cond->opaque_etag ? "&etag=opaque" : "") !=
        OK) {
        return err_no_memory(err);
    }
    if (cond->if_absent) {
        headers[count++] = (struct http_header){ STR("If-None-Match"), STR("*") };
    }
    if (cond->if_match.len > 0) {
        TRY(store_etag_quote(cond->if_match, match, &quoted, err));
        headers[count++] = (struct http_header){ STR("If-Match"), quoted };
    }
    call->method = HTTP_PUT;
    call->target = buf_str(&target);
    call->headers = headers;
    call->header_count = count;
    return changed_info(http, call, info_out, err);
}

static enum status http_put(struct store *store, struct str key, struct str bytes,
                            const struct store_cond *cond, struct store_info *info_out,
                            struct err *err)
{
    struct http_call call = { .body = bytes, .deadline = deadline_for(bytes.len) };
    return put_call((struct http_store *)store, key, cond, 0, &call, info_out, err);
}

struct file_body {
    struct str before; /* sent first */
    int fd;
    uint64_t offset;
};

static enum status file_body_read(void *ctx, char *ptr, size_t cap, size_t *got_out,
                                  struct err *err)
{
    struct file_body *body = ctx;
    if (body->before.len > 0) {
        *got_out = body->before.len < cap ? body->before.len : cap;
        memcpy(ptr, body->before.ptr, *got_out);
        body->before = str_skip(body->before, *got_out);
        return OK;
    }
    TRY(io_pread(body->fd, ptr, cap, body->offset, got_out, err));
    body->offset += *got_out;
    return OK;
}

static enum status put_file(struct store *store, struct str key, int fd, struct str attrs,
                            const struct store_cond *cond, struct store_info *info_out,
                            struct err *err)
{
    struct stat st;
    if (fstat(fd, &st) != 0) {
        return err_errno(err, errno, "file for key \"%.*s\"", STR_ARG(key));
    }
    if (st.st_size == 0 && attrs.len == 0) {
        return http_put(store, key, STR_EMPTY, cond, info_out, err);
    }
    struct file_body body = { .fd = fd, .before = attrs };
    struct http_call call = {
        .read_body = file_body_read,
        .body_length = st.st_size + (int64_t)attrs.len,
        .ctx = &body,
        .deadline = deadline_for((uint64_t)st.st_size),
    };
    return put_call((struct http_store *)store, key, cond, attrs.len, &call, info_out, err);
}

static enum status http_put_fd(struct store *store, struct str key, int fd, bool adopt,
                               const struct store_cond *cond, struct store_info *info_out,
                               struct err *err)
{
    return put_file(store, key, fd, STR_EMPTY, cond, info_out, err);
}

static void http_writer_abort(struct store_writer *base)
{
    struct http_writer *writer = (struct http_writer *)base;
    fd_done(&writer->fd);
    mem_free(writer);
}

static enum status http_writer_open(struct store *store, struct str key,
                                    const struct store_cond *cond, struct store_writer **out,
                                    struct err *err)
{
    struct http_writer *writer = mem_zalloc(sizeof *writer);
    if (writer == NULL) {
        return err_no_memory(err);
    }
    writer->base.ops = store->ops;
    writer->http = (struct http_store *)store;
    writer->fd = -1;
    store_target_keep(&writer->target, key, cond);
    enum status status = store_spool_temp(store, &writer->fd, err);
    if (status != OK) {
        http_writer_abort(&writer->base);
        return status;
    }
    *out = &writer->base;
    return OK;
}

static enum status http_writer_write(struct store_writer *base, struct str bytes, struct err *err)
{
    struct http_writer *writer = (struct http_writer *)base;
    TRY(io_pwrite_full(writer->fd, bytes.ptr, bytes.len, writer->size, err));
    writer->size += bytes.len;
    return OK;
}

static enum status http_writer_commit(struct store_writer *base, struct store_info *info_out,
                                      struct err *err)
{
    struct http_writer *writer = (struct http_writer *)base;
    enum status status = put_file(&writer->http->base, writer->target.key, writer->fd, base->attrs,
                                  &writer->target.cond, info_out, err);
    http_writer_abort(base);
    return status;
}

static enum status http_remove(struct store *store, struct str key, struct str if_match,
                               struct err *err)
{
    AUTO(buf_done) struct buf target;
    char match[STORE_ETAG_QUOTED];
    struct http_answer answer = { 0 };
    struct http_header header = { STR("If-Match"), STR_EMPTY };
    TRY(target_key(&target, "delete", key, err));
    TRY(store_etag_quote(if_match, match, &header.value, err));
    enum status status = http_client_call_ok(
        ((struct http_store *)store)->client,
        &(struct http_call){ .method = HTTP_DELETE,
                             .target = buf_str(&target),
                             .headers = &header,
                             .header_count = if_match.len > 0 },
        &answer, err);
    http_answer_done(&answer);
    return status;
}

static enum status copy_body(struct buf *body, struct str from, struct str to,
                             const struct store_copy_how *how, struct err *err)
{
    AUTO(buf_done) struct buf attrs;
    struct json_writer w;
    buf_init(&attrs, COPY_BYTES_MAX);
    if (base64_append(&attrs, how->attrs.ptr, how->attrs.len) != OK) {
        return err_no_memory(err);
    }
    json_writer_init(&w, body);
    jw_obj_begin(&w);
    jw_kv_str(&w, "from", from);
    jw_kv_str(&w, "to", to);
    if (!how->fresh) {
        jw_kv_bool(&w, "keep_time", how->keep_time);
        jw_kv_bool(&w, "if_absent", how->cond.if_absent);
        jw_kv_str(&w, "to_if_match", how->cond.if_match);
        jw_kv_str(&w, "from_if_match", how->if_match);
    }
    if (how->attrs_new) {
        jw_kv_str(&w, "attrs", buf_str(&attrs));
    }
    jw_obj_end(&w);
    return json_writer_end(&w) == OK ? OK : err_no_memory(err);
}

static enum status http_copy(struct store *store, struct str from, struct str to,
                             const struct store_copy_how *how, struct store_info *info_out,
                             struct err *err)
{
    static const struct http_header json_type = { STR_INIT("Content-Type"),
                                                  STR_INIT("application/json") };
    AUTO(buf_done) struct buf body;
    buf_init(&body, COPY_BYTES_MAX);
    if (how->cond.if_match.len > STORE_ETAG_MAX || how->if_match.len > STORE_ETAG_MAX) {
        return err_set(err, E_PRECONDITION, "no object has an ETag that long");
    }
    TRY(copy_body(&body, from, to, how, err));
    struct http_call call = {
        .method = HTTP_POST,
        .target = how->fresh ? STR("/internal/store/copy") : STR("/internal/store/copy-with"),
        .headers = &json_type,
        .header_count = 1,
        .body = buf_str(&body),
    };
    return changed_info((struct http_store *)store, &call, info_out, err);
}

/* --- reads --- */

/** Attributes as they come in an answer, base64; appended to `out`. */
static enum status attrs_take(struct str text, struct buf *out, struct err *err)
{
    size_t before = out->len;
    enum status status = base64_decode(text, out);
    if (status == E_NO_MEMORY) {
        return err_no_memory(err);
    }
    if (status != OK || !attrs_packed_valid(str_skip(buf_str(out), before))) {
        return err_set(err, E_UPSTREAM, "answer of storaged: its attributes are not well formed");
    }
    return OK;
}

static enum status http_stat(struct store *store, struct str key, struct store_info *out,
                             struct buf *attrs_out, struct err *err)
{
    AUTO(buf_done) struct buf target;
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    TRY(target_key(&target, "stat", key, err));
    if (attrs_out != NULL) {
        TRY(target_param(&target, "attrs", STR("1"), err));
    }
    TRY(call_json((struct http_store *)store,
                  &(struct http_call){ .method = HTTP_GET, .target = buf_str(&target) }, &doc,
                  err));
    struct str attrs = STR_EMPTY;
    yyjson_val *root = yyjson_doc_get_root(doc);
    TRY(info_parse(root, out, err));
    TRY(json_get_str(root, "attrs", JSON_OPTIONAL, &attrs, err));
    return attrs_out != NULL ? attrs_take(attrs, attrs_out, err) : OK;
}

static enum status read_target(struct buf *target, struct str key, uint64_t offset, uint64_t length,
                               struct str etag, struct err *err)
{
    TRY(target_key(target, "read", key, err));
    if (buf_printf(target, "?offset=%llu&length=%llu", (unsigned long long)offset,
                   (unsigned long long)length) != OK) {
        return err_no_memory(err);
    }
    return etag.len > 0 ? target_param(target, "etag", etag, err) : OK;
}

/** What the headers of a read tell of the object. */
static enum status read_info(const struct http_answer *answer, struct store_info *out,
                             struct err *err)
{
    struct store_info info = { 0 };
    struct str etag = http_headers_get(&answer->headers, STR("X-Lake-Etag"));
    if (!str_to_u64(http_headers_get(&answer->headers, STR("X-Lake-Size")), &info.size) ||
        !str_to_i64(http_headers_get(&answer->headers, STR("X-Lake-Modified")),
                    &info.modified_ms) ||
        etag.len > STORE_ETAG_MAX) {
        return err_set(err, E_UPSTREAM, "answer of storaged: its headers do not tell the object");
    }
    info.etag_weak = str_eq(http_headers_get(&answer->headers, STR("X-Lake-Weak")), STR("1"));
    if (etag.len > 0) {
        memcpy(info.etag, etag.ptr, etag.len);
    }
    *out = info;
    return OK;
}

static void object_close(struct store_object *base)
{
    struct http_object *object = (struct http_object *)base;
    buf_done(&object->head);
    mem_free(object);
}

struct piece {
    char *ptr;
    size_t len, cap;
};

static enum status piece_take(void *ctx, struct str bytes, struct err *err)
{
    struct piece *piece = ctx;
    if (bytes.len > piece->cap - piece->len) {
        return err_set(err, E_UPSTREAM, "answer of storaged: more bytes than were asked for");
    }
    memcpy(piece->ptr + piece->len, bytes.ptr, bytes.len);
    piece->len += bytes.len;
    return OK;
}

/** Ask for a piece of this very version. */
static enum status piece_read(struct http_object *object, uint64_t offset, char *ptr, size_t len,
                              struct err *err)
{
    AUTO(buf_done) struct buf target;
    struct http_answer answer = { 0 };
    struct piece piece = { .ptr = ptr, .cap = len };
    TRY(read_target(&target, str_from(object->key, object->key_len), offset, len,
                    str_of(object->base.info.etag), err));
    struct http_call call = {
        .method = HTTP_GET,
        .target = buf_str(&target),
        .write_body = piece_take,
        .ctx = &piece,
        .deadline = deadline_for(len),
    };
    enum status status = http_client_call_ok(object->http->client, &call, &answer, err);
    http_answer_done(&answer);
    if (status == E_NOT_FOUND) {
        return err_set(err, E_CONFLICT, "object \"%.*s\" was deleted while it was read",
                       (int)object->key_len, object->key);
    }
    TRY(status);
    return piece.len == len
               ? OK
               : err_set(err, E_UPSTREAM, "answer of storaged: fewer bytes than the object has");
}

static enum status object_read(struct store_object *base, uint64_t offset, void *ptr, size_t len,
                               size_t *got_out, struct err *err)
{
    struct http_object *object = (struct http_object *)base;
    size_t done = 0;
    if (offset < object->head.len) {
        done = object->head.len - (size_t)offset < len ? object->head.len - (size_t)offset : len;
        memcpy(ptr, object->head.ptr + offset, done);
    }
    if (done < len) {
        TRY(piece_read(object, offset + done, (char *)ptr + done, len - done, err));
    }
    *got_out = len;
    return OK;
}

static const struct store_object_ops object_ops = { .read = object_read, .close = object_close };

static enum status read_attrs(const struct http_answer *answer, struct store_object *object,
                              struct err *err)
{
    AUTO(buf_done) struct buf packed;
    buf_init(&packed, 2 * ATTRS_PACKED_MAX);
    TRY(attrs_take(http_headers_get(&answer->headers, STR("X-Lake-Attrs")), &packed, err));
    return attrs_unpack_block(buf_str(&packed), &object->attrs, &object->attrs_block, err);
}

static enum status object_fetch(struct http_object *object, struct err *err)
{
    AUTO(buf_done) struct buf target;
    struct http_answer answer = { 0 };
    TRY(read_target(&target, str_from(object->key, object->key_len), 0, HEAD_BYTES, STR_EMPTY,
                    err));
    struct http_call call = { .method = HTTP_GET,
                              .target = buf_str(&target),
                              .body_bytes_max = HEAD_BYTES };
    enum status status = http_client_call_ok(object->http->client, &call, &answer, err);
    if (status == OK) {
        status = read_info(&answer, &object->base.info, err);
    }
    if (status == OK) {
        status = read_attrs(&answer, &object->base, err);
    }
    uint64_t size = object->base.info.size;
    if (status == OK && answer.body.len != (size < HEAD_BYTES ? size : HEAD_BYTES)) {
        status = err_set(err, E_UPSTREAM, "answer of storaged: fewer bytes than the object has");
    }
    if (status == OK) {
        status = buf_append(&object->head, buf_str(&answer.body)) == OK ? OK : err_no_memory(err);
    }
    http_answer_done(&answer);
    return status;
}

static enum status http_open(struct store *store, struct str key, struct store_object **out,
                             struct err *err)
{
    struct http_object *object = mem_zalloc(sizeof *object);
    if (object == NULL) {
        return err_no_memory(err);
    }
    object->base.ops = &object_ops;
    object->http = (struct http_store *)store;
    object->key_len = key.len;
    memcpy(object->key, key.ptr, key.len);
    buf_init(&object->head, HEAD_BYTES);
    enum status status = object_fetch(object, err);
    if (status != OK) {
        store_object_close(&object->base);
        return status;
    }
    *out = &object->base;
    return OK;
}

/* --- lists --- */

static enum status list_target(struct buf *target, const struct store_list_opts *opts,
                               struct err *err)
{
    buf_init(target, TARGET_BYTES_MAX);
    if (buf_printf(target, "/internal/store/list?limit=%zu", opts->limit) != OK) {
        return err_no_memory(err);
    }
    TRY(target_param(target, "prefix", opts->prefix, err));
    TRY(target_param(target, "delimiter", opts->delimiter, err));
    return target_param(target, "after", opts->after, err);
}

static enum status list_objects(yyjson_val *array, struct arena *arena, struct store_list *list,
                                struct err *err)
{
    size_t i, count;
    yyjson_val *item;
    list->objects = arena_array(arena, yyjson_arr_size(array) + 1, sizeof *list->objects);
    if (list->objects == NULL) {
        return err_no_memory(err);
    }
    yyjson_arr_foreach(array, i, count, item)
    {
        struct store_info *info = &list->objects[list->object_count++];
        struct str key = STR_EMPTY;
        TRY(info_parse(item, info, err));
        TRY(json_get_str(item, "key", JSON_REQUIRED, &key, err));
        info->key = arena_str(arena, key);
        if (info->key.ptr == NULL) {
            return err_no_memory(err);
        }
    }
    return OK;
}

static enum status list_prefixes(yyjson_val *array, struct arena *arena, struct store_list *list,
                                 struct err *err)
{
    size_t i, count;
    yyjson_val *item;
    list->prefixes = arena_array(arena, yyjson_arr_size(array) + 1, sizeof *list->prefixes);
    if (list->prefixes == NULL) {
        return err_no_memory(err);
    }
    yyjson_arr_foreach(array, i, count, item)
    {
        struct str text = arena_str(arena, str_from(yyjson_get_str(item), yyjson_get_len(item)));
        if (text.ptr == NULL) {
            return err_no_memory(err);
        }
        list->prefixes[list->prefix_count++] = text;
    }
    return OK;
}

static enum status http_list(struct store *store, const struct store_list_opts *opts,
                             struct arena *arena, struct store_list *out, struct err *err)
{
    AUTO(buf_done) struct buf target;
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    struct store_list list = { 0 };
    yyjson_val *objects = NULL, *prefixes = NULL;
    struct str next = STR_EMPTY;
    TRY(list_target(&target, opts, err));
    TRY(call_json((struct http_store *)store,
                  &(struct http_call){ .method = HTTP_GET, .target = buf_str(&target) }, &doc,
                  err));
    yyjson_val *root = yyjson_doc_get_root(doc);
    if (json_get_arr(root, "objects", JSON_REQUIRED, &objects, err) != OK ||
        json_get_arr(root, "prefixes", JSON_REQUIRED, &prefixes, err) != OK ||
        json_get_bool(root, "truncated", JSON_REQUIRED, &list.truncated, err) != OK ||
        json_get_str(root, "next", JSON_REQUIRED, &next, err) != OK) {
        err_context(err, "answer of storaged");
        return E_UPSTREAM;
    }
    TRY(list_objects(objects, arena, &list, err));
    TRY(list_prefixes(prefixes, arena, &list, err));
    list.next = arena_str(arena, next);
    if (list.next.ptr == NULL) {
        return err_no_memory(err);
    }
    *out = list;
    return OK;
}

/* --- life --- */

/** Ask for the root; keeps its URI, and passes on whether the store is ready. */
static enum status root_ask(struct http_store *http, struct err *err)
{
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    struct http_call call = { .method = HTTP_GET, .target = STR("/internal/store/root") };
    struct str uri = STR_EMPTY, message = STR_EMPTY;
    bool ready = false;
    TRY(call_json(http, &call, &doc, err));
    yyjson_val *root = yyjson_doc_get_root(doc);
    if (json_get_str(root, "uri", JSON_REQUIRED, &uri, err) != OK || uri.len >= URI_MAX ||
        json_get_bool(root, "ready", JSON_REQUIRED, &ready, err) != OK ||
        json_get_str(root, "message", JSON_REQUIRED, &message, err) != OK) {
        return err_set(err, E_UPSTREAM, "answer of storaged: it does not tell its root");
    }
    pthread_mutex_lock(&http->lock);
    if (http->uri[0] == '\0') {
        memcpy(http->uri, uri.ptr, uri.len);
    }
    pthread_mutex_unlock(&http->lock);
    return ready ? OK : err_set(err, E_UNAVAILABLE, "storaged: %.*s", STR_ARG(message));
}

static bool uri_known(struct http_store *http)
{
    pthread_mutex_lock(&http->lock);
    bool known = http->uri[0] != '\0';
    pthread_mutex_unlock(&http->lock);
    return known;
}

static struct str http_root_uri(const struct store *store)
{
    /* only what is cached changes */
    struct http_store *http = (struct http_store *)(uintptr_t)store;
    if (!uri_known(http)) {
        (void)!root_ask(http, NULL);
    }
    /* Written once under the lock before it is known. Empty: storaged cannot be reached. */
    return uri_known(http) ? str_of(http->uri) : STR_EMPTY;
}

static enum status http_ready(struct store *store, struct err *err)
{
    return root_ask((struct http_store *)store, err);
}

static void http_close(struct store *store)
{
    struct http_store *http = (struct http_store *)store;
    http_client_free(http->client);
    pthread_mutex_destroy(&http->lock);
    mem_free(http);
}

/** Storaged may wait for a disk or a bucket of its own. */
static void http_interrupt(struct store *store)
{
    http_client_interrupt(((struct http_store *)store)->client, INTERRUPT_MS);
}

static const struct store_ops http_ops = {
    .name = "http",
    .close = http_close,
    .interrupt = http_interrupt,
    .writer_open = http_writer_open,
    .writer_write = http_writer_write,
    .writer_commit = http_writer_commit,
    .writer_abort = http_writer_abort,
    .put = http_put,
    .put_fd = http_put_fd,
    .spool = store_spool_temp,
    .stat = http_stat,
    .open = http_open,
    .list = http_list,
    .remove = http_remove,
    .copy = http_copy,
    .root_uri = http_root_uri,
    .ready = http_ready,
};

static enum status client_new(struct http_store *http, const struct store_http_opts *opts,
                              struct err *err)
{
    AUTO(buf_done) struct buf authorization;
    buf_init(&authorization, 0);
    if (buf_printf(&authorization, "Lakehouse %.*s", STR_ARG(opts->cluster_secret)) != OK) {
        return err_no_memory(err);
    }
    struct http_client_opts client = {
        .base_url = opts->url,
        .authorization = buf_str(&authorization),
        .service = "storaged",
    };
    return http_client_new(&client, &http->client, err);
}

enum status store_http_open(const struct store_http_opts *opts, struct store **out, struct err *err)
{
    struct http_store *http = mem_zalloc(sizeof *http);
    if (http == NULL) {
        return err_no_memory(err);
    }
    http->base.ops = &http_ops;
    pthread_mutex_init(&http->lock, NULL);
    enum status status = client_new(http, opts, err);
    if (status != OK) {
        http_close(&http->base);
        return status;
    }
    *out = &http->base;
    return OK;
}
