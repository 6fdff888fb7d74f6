/*
 * Reads: an open object is the key, its ETag and its first bytes (of a Parquet file its last ones);
 * each further piece is asked for under the condition that it still is that version, so that other
 * bytes never come.
 */
#include <stdio.h>

#include "base/mem.h"
#include "store/s3_priv.h"

/* Pointers and small metadata come whole with the first request. Of a data file it learns the size,
 * and the last bytes are what every reader wants first: the footer. */
enum { HEAD_BYTES = 64 * 1024, TAIL_BYTES = 16 * 1024 };

struct s3_object {
    struct store_object base;
    struct s3_store *s3;
    char match_text[STORE_ETAG_QUOTED];
    struct str match;     /* this version's tag in quotes; empty: not known yet */
    uint64_t have_offset; /* of the bytes in `have` */
    size_t have_len, key_len;
    char key[STORE_KEY_MAX];
    char have[HEAD_BYTES];
};

enum status s3_stat(struct store *store, struct str key, struct store_info *out,
                    struct buf *attrs_out, struct err *err)
{
    struct s3_request request = { .method = HTTP_HEAD, .key = key, .repeatable = true };
    struct http_answer answer;
    enum status status = s3_call_ok((struct s3_store *)store, &request, &answer, err);
    if (status == OK) {
        status = s3_info(&answer, out, err);
    }
    if (status == OK && attrs_out != NULL) {
        status = s3_attrs_read(&answer, attrs_out, err);
    }
    http_answer_done(&answer);
    return status;
}

enum which { RANGE, LAST, ALL };

/** Bytes [offset, offset + len) of the version in object->match, or of any version when that is
 * empty; or the last `len` of it, or all. */
static enum status fetch(struct s3_object *object, enum which which, uint64_t offset, char *ptr,
                         size_t len, size_t *got_out, struct http_answer *answer, struct err *err)
{
    char text[64];
    struct s3_request request = {
        .method = HTTP_GET,
        .key = str_from(object->key, object->key_len),
        .into = ptr,
        .into_cap = len,
        .into_len = got_out,
        .repeatable = true,
    };
    if (which != ALL) {
        int count = which == LAST
                        ? snprintf(text, sizeof text, "bytes=-%zu", len)
                        : snprintf(text, sizeof text, "bytes=%llu-%llu", (unsigned long long)offset,
                                   (unsigned long long)(offset + len - 1));
        s3_header(&request, STR("range"), str_from(text, (size_t)count));
    }
    if (object->match.len > 0) {
        s3_header(&request, STR("if-match"), object->match);
    }
    return s3_call_ok(object->s3, &request, answer, err);
}

static enum status piece_read(struct s3_object *object, uint64_t offset, char *ptr, size_t len,
                              struct err *err)
{
    struct http_answer answer;
    size_t got = 0;
    enum status status = fetch(object, RANGE, offset, ptr, len, &got, &answer, err);
    int answered = answer.status;
    http_answer_done(&answer);
    if (status == E_NOT_FOUND || status == E_PRECONDITION || status == E_RANGE) {
        return err_set(err, E_CONFLICT, "object \"%.*s\" was %s while it was read",
                       (int)object->key_len, object->key,
                       status == E_NOT_FOUND ? "deleted" : "replaced");
    }
    TRY(status);
    if (answered != 206 || got != len) {
        return err_set(err, E_UPSTREAM, "the store sends other bytes of \"%.*s\" than asked for",
                       (int)object->key_len, object->key);
    }
    return OK;
}

static enum status object_read(struct store_object *base, uint64_t offset, void *ptr, size_t len,
                               size_t *got_out, struct err *err)
{
    struct s3_object *object = (struct s3_object *)base;
    uint64_t end = offset + len, have_end = object->have_offset + object->have_len;
    uint64_t from = offset > object->have_offset ? offset : object->have_offset;
    uint64_t to = end < have_end ? end : have_end;
    if (from >= to) {
        from = to = end; /* nothing of it is here */
    }
    if (from > offset) {
        TRY(piece_read(object, offset, ptr, (size_t)(from - offset), err));
    }
    if (from < to) {
        memcpy((char *)ptr + (from - offset), object->have + (from - object->have_offset),
               (size_t)(to - from));
    }
    if (to < end) {
        TRY(piece_read(object, to, (char *)ptr + (to - offset), (size_t)(end - to), err));
    }
    *got_out = len;
    return OK;
}

static void object_close(struct store_object *base)
{
    mem_free(base);
}

static const struct store_object_ops object_ops = { .read = object_read, .close = object_close };

static enum status take_attrs(struct s3_object *object, const struct http_answer *answer,
                              struct err *err)
{
    AUTO(buf_done) struct buf packed;
    buf_init(&packed, ATTRS_PACKED_MAX);
    TRY(s3_attrs_read(answer, &packed, err));
    return attrs_unpack_block(buf_str(&packed), &object->base.attrs, &object->base.attrs_block,
                              err);
}

static enum status object_fetch(struct s3_object *object, struct err *err)
{
    struct http_answer answer;
    bool tail = str_ends(str_from(object->key, object->key_len), STR(".parquet"));
    size_t most = tail ? TAIL_BYTES : HEAD_BYTES;
    enum status status = fetch(object, tail ? LAST : RANGE, 0, object->have, most,
                               &object->have_len, &answer, err);
    if (status == E_RANGE) {
        /* an empty object has no first byte */
        http_answer_done(&answer);
        status = fetch(object, ALL, 0, object->have, most, &object->have_len, &answer, err);
    }
    if (status == OK) {
        status = s3_info(&answer, &object->base.info, err);
    }
    if (status == OK) {
        status = take_attrs(object, &answer, err);
    }
    uint64_t size = object->base.info.size;
    if (status == OK && object->have_len != (size < most ? size : most)) {
        status = err_set(err, E_UPSTREAM, "the store sends %zu of %llu bytes of \"%.*s\"",
                         object->have_len, (unsigned long long)size, (int)object->key_len,
                         object->key);
    }
    object->have_offset = tail ? size - object->have_len : 0;
    http_answer_done(&answer);
    return status;
}

enum status s3_open(struct store *store, struct str key, struct store_object **out, struct err *err)
{
    struct s3_object *object = mem_alloc(sizeof *object);
    if (object == NULL) {
        return err_no_memory(err);
    }
    object->base = (struct store_object){ .ops = &object_ops };
    object->s3 = (struct s3_store *)store;
    object->match = STR_EMPTY;
    object->have_offset = 0;
    object->have_len = 0;
    object->key_len = key.len;
    memcpy(object->key, key.ptr, key.len);
    enum status status = object_fetch(object, err);
    if (status == OK) {
        status = store_etag_quote(str_of(object->base.info.etag), object->match_text,
                                  &object->match, err);
    }
    if (status != OK) {
        mem_free(object->base.attrs_block);
        object_close(&object->base);
        return status;
    }
    *out = &object->base;
    return OK;
}

enum status s3_read_version(struct s3_store *s3, struct str key, const struct store_info *version,
                            struct buf *out, struct err *err)
{
    struct store_object *object = NULL;
    char *to = buf_reserve(out, version->size > 0 ? (size_t)version->size : 1);
    size_t got = 0;
    if (to == NULL) {
        return err_no_memory(err);
    }
    TRY(s3_open(&s3->base, key, &object, err));
    enum status status = OK;
    if (strcmp(object->info.etag, version->etag) != 0 || object->info.size != version->size) {
        status = err_set(err, E_CONFLICT, "object \"%.*s\" was replaced while it was read",
                         STR_ARG(key));
    } else if (version->size > 0) {
        status = object_read(object, 0, to, (size_t)version->size, &got, err);
    }
    out->len += status == OK ? (size_t)version->size : 0;
    mem_free(object->attrs_block);
    object_close(object);
    return status;
}
