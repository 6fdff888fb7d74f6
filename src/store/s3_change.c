/*
 * Deletes and copies.
 *
 * No store that was tried looks at conditions on the target of a CopyObject, and some not at those
 * on its source, or keep headers that were to go. So a copy is made of what does have conditions: a
 * small object is read, as one version, and put; a larger one is an upload whose parts the store
 * copies by itself. Both take attributes like any other write.
 *
 * A DELETE under a condition is believed only after it was tried: MinIO deletes whatever is there.
 */
#include <stdio.h>

#include "aws/xml.h"
#include "base/digest.h"
#include "base/encode.h"
#include "store/s3_priv.h"

/* --- deletes --- */

enum { DELETES_UNKNOWN, DELETES_HOLD, DELETES_DO_NOT };

/** OK with the answer's code; AWS_NONE: done. */
static enum status send_delete(struct s3_store *s3, struct str key, struct str quoted,
                               enum aws_code *code_out, struct err *err)
{
    struct s3_request request = { .method = HTTP_DELETE, .key = key };
    struct http_answer answer;
    request.repeatable = quoted.len == 0;
    if (quoted.len > 0) {
        s3_header(&request, STR("if-match"), quoted);
    }
    enum status status = s3_call(s3, &request, &answer, err);
    *code_out = status == OK && answer.status >= 300 ? s3_code(&answer) : AWS_NONE;
    bool told = *code_out == AWS_NONE || *code_out == AWS_NO_SUCH_KEY ||
                *code_out == AWS_PRECONDITION_FAILED;
    if (status == OK && !told) {
        status = s3_failed(s3, &request, &answer, err);
    }
    http_answer_done(&answer);
    return status;
}

/** Once for a store: does it delete an object under a tag that the object never had? */
static enum status try_conditional(struct s3_store *s3, struct err *err)
{
    static const struct store_cond no_cond;
    char name[64], id[UUID_TEXT + 1];
    enum aws_code code = AWS_NONE;
    struct store_info info;
    uuid4(id);
    int len = snprintf(name, sizeof name, "_lake/probe/%s", id);
    struct str key = str_from(name, (size_t)len);
    TRY(s3_put(&s3->base, key, STR("delete"), &no_cond, &info, err));
    enum status status = send_delete(s3, key, STR("\"00000000000000000000000000000000\""), &code,
                                     err);
    (void)!s3_remove(&s3->base, key, STR_EMPTY, NULL);
    if (status == E_UNSUPPORTED || (status == OK && code != AWS_PRECONDITION_FAILED)) {
        atomic_store_explicit(&s3->deletes_if, DELETES_DO_NOT, memory_order_relaxed);
        return OK;
    }
    TRY(status);
    atomic_store_explicit(&s3->deletes_if, DELETES_HOLD, memory_order_relaxed);
    return OK;
}

static enum status gone(struct str key, struct err *err)
{
    return err_set(err, E_PRECONDITION, "object \"%.*s\" has changed or is not there",
                   STR_ARG(key));
}

static enum status remove_if(struct s3_store *s3, struct str key, struct str if_match,
                             struct err *err)
{
    char match[STORE_ETAG_QUOTED];
    struct str quoted;
    struct store_info info;
    enum aws_code code = AWS_NONE;
    TRY(store_etag_quote(if_match, match, &quoted, err));
    int holds = s3->lease != NULL ? DELETES_HOLD
                                  : atomic_load_explicit(&s3->deletes_if, memory_order_relaxed);
    if (holds == DELETES_UNKNOWN) {
        TRY(try_conditional(s3, err));
        holds = atomic_load_explicit(&s3->deletes_if, memory_order_relaxed);
    }
    if (holds == DELETES_DO_NOT) {
        return err_set(err, E_UNSUPPORTED,
                       "object \"%.*s\": %s deletes without looking at the condition", STR_ARG(key),
                       s3->endpoint);
    }
    /* Some answer a missing object as one that was deleted. */
    enum status status = s3_stat(&s3->base, key, &info, NULL, err);
    if (status == E_NOT_FOUND || (status == OK && !str_eq(if_match, str_of(info.etag)))) {
        return gone(key, err);
    }
    TRY(status);
    status = send_delete(s3, key, s3->lease == NULL ? quoted : STR_EMPTY, &code, err);
    if ((status == E_UPSTREAM || status == E_TIMEOUT) &&
        s3_stat(&s3->base, key, &info, NULL, NULL) == E_NOT_FOUND) {
        return OK; /* the answer was lost */
    }
    TRY(status);
    return code == AWS_NONE ? OK : gone(key, err);
}

enum status s3_remove(struct store *store, struct str key, struct str if_match, struct err *err)
{
    struct s3_store *s3 = (struct s3_store *)store;
    enum aws_code code = AWS_NONE;
    TRY(s3_may_write(s3, err));
    if (s3->lease != NULL) {
        s3_lease_lock(s3->lease, key);
    }
    enum status status = if_match.len > 0 ? remove_if(s3, key, if_match, err)
                                          : send_delete(s3, key, STR_EMPTY, &code, err);
    if (s3->lease != NULL) {
        s3_lease_unlock(s3->lease, key);
    }
    return status;
}

/* --- many at once --- */

enum { DELETE_KEYS_MAX = 1000, DELETE_XML_MAX = 8 * 1024 * 1024 }; /* S3's, and ample for it */

static enum status send_deletes(struct s3_store *s3, const struct str *keys, size_t count)
{
    AUTO(buf_done) struct buf xml;
    AUTO(buf_done) struct buf key;
    AUTO(buf_done) struct buf md5;
    char hex[MD5_HEX + 1];
    uint8_t hash[MD5_BYTES];
    struct http_answer answer = { 0 };
    buf_init(&xml, DELETE_XML_MAX);
    buf_init(&key, 2 * STORE_KEY_MAX);
    buf_init(&md5, 64);
    bool fine = xml_begin(&xml, "Delete") == OK && xml_put_bool(&xml, "Quiet", true) == OK;
    for (size_t i = 0; i < count && fine; i++) {
        buf_clear(&key);
        fine = buf_printf(&key, "%s%.*s", s3->prefix, STR_ARG(keys[i])) == OK &&
               xml_open(&xml, "Object") == OK && xml_put(&xml, "Key", buf_str(&key)) == OK &&
               xml_close(&xml, "Object") == OK;
    }
    if (!fine || xml_close(&xml, "Delete") != OK) {
        return E_NO_MEMORY;
    }
    md5_hex(buf_str(&xml), hex);
    bool decoded = hex_decode(str_of(hex), hash, sizeof hash);
    assert(decoded);
    struct s3_request request = {
        .method = HTTP_POST, .query = STR("delete="), .body = buf_str(&xml), .repeatable = true
    };
    if (base64_append(&md5, hash, sizeof hash) != OK) {
        return E_NO_MEMORY;
    }
    s3_header(&request, STR("content-md5"), buf_str(&md5));
    s3_header(&request, STR("content-type"), STR("application/xml"));
    enum status status = s3_call_ok(s3, &request, &answer, NULL);
    http_answer_done(&answer);
    return status;
}

void s3_remove_all(struct s3_store *s3, const struct str *keys, size_t count)
{
    while (count > 0) {
        size_t some = count < DELETE_KEYS_MAX ? count : DELETE_KEYS_MAX;
        if (send_deletes(s3, keys, some) != OK) { /* not every store knows it */
            for (size_t i = 0; i < some; i++) {
                (void)!s3_remove(&s3->base, keys[i], STR_EMPTY, NULL);
            }
        }
        keys += some;
        count -= some;
    }
}

/* --- copies --- */

enum status s3_copy_source(const struct s3_store *s3, struct str key, struct buf *out,
                           struct err *err)
{
    bool fine = buf_printf(out, "/%s/", s3->bucket) == OK &&
                percent_append(out, str_of(s3->prefix), "/") == OK &&
                percent_append(out, key, "/") == OK;
    return fine ? OK : err_no_memory(err);
}

static enum status copy_small(struct s3_store *s3, struct s3_write *write, struct str from,
                              const struct store_info *source, struct store_info *info_out,
                              struct err *err)
{
    AUTO(buf_done) struct buf bytes;
    buf_init(&bytes, S3_PART_BYTES + 1);
    TRY(s3_read_version(s3, from, source, &bytes, err));
    return s3_write_bytes(s3, write, buf_str(&bytes), info_out, err);
}

static enum status copy_large(struct s3_store *s3, struct s3_write *write, struct str from,
                              const struct store_info *source, struct store_info *info_out,
                              struct err *err)
{
    AUTO(buf_done) struct buf text;
    struct s3_upload upload;
    struct store_info after;
    buf_init(&text, S3_TARGET_BYTES_MAX);
    TRY(s3_copy_source(s3, from, &text, err));
    TRY(s3_upload_begin(s3, write, &upload, err));
    enum status status = s3_upload_copy(&upload, buf_str(&text), source->etag, source->size, err);
    if (status == OK) {
        status = s3_stat(&s3->base, from, &after, NULL, err);
    }
    /* not all stores look at the condition on the source */
    if (status == E_PRECONDITION || (status == OK && strcmp(after.etag, source->etag) != 0)) {
        status = err_set(err, E_CONFLICT, "object \"%.*s\" was replaced while it was copied",
                         STR_ARG(from));
    }
    if (status == OK) {
        status = s3_upload_complete(&upload, info_out, err);
    }
    s3_upload_end(&upload, status == OK);
    return status;
}

/** E_CONFLICT: the source has changed meanwhile, and it may be tried again. */
static enum status copy_once(struct s3_store *s3, struct str from, struct str to,
                             const struct store_copy_how *how, struct arena *arena,
                             struct store_info *info_out, struct err *err)
{
    AUTO(buf_done) struct buf packed;
    struct s3_write write;
    struct store_info source;
    struct store_cond cond = how->cond;
    bool itself = str_eq(from, to);
    buf_init(&packed, ATTRS_PACKED_MAX);
    TRY(s3_stat(&s3->base, from, &source, how->attrs_new ? NULL : &packed, err));
    const struct store_cond of_source = { .if_match = how->if_match };
    TRY(store_cond_check(&of_source, from, &source, err));
    if (how->fresh) {
        cond = (struct store_cond){ .if_absent = true };
    } else if (itself) {
        TRY(store_cond_check(&how->cond, to, &source, err));
        cond = (struct store_cond){ .if_match = str_of(source.etag) };
    }
    s3_write_init(&write, to, &cond);
    TRY(s3_write_attrs(&write, how->attrs_new ? how->attrs : buf_str(&packed), arena, err));
    enum status status = source.size <= S3_PART_BYTES
                             ? copy_small(s3, &write, from, &source, info_out, err)
                             : copy_large(s3, &write, from, &source, info_out, err);
    if (status == E_PRECONDITION && how->fresh) {
        return err_set(err, E_EXISTS, "object \"%.*s\" is there already", STR_ARG(to));
    }
    return status == E_PRECONDITION && itself ? E_CONFLICT : status;
}

enum status s3_copy(struct store *store, struct str from, struct str to,
                    const struct store_copy_how *how, struct store_info *info_out, struct err *err)
{
    struct s3_store *s3 = (struct s3_store *)store;
    deadline_ms deadline = deadline_in(s3->retry_ms);
    TRY(s3_may_make(s3, to, err));
    for (unsigned tries = 0;; tries++) {
        struct arena arena;
        arena_init(&arena, 0);
        enum status status = copy_once(s3, from, to, how, &arena, info_out, err);
        arena_done(&arena);
        if (status != E_CONFLICT || !s3_pause(s3, tries, deadline)) {
            return status;
        }
    }
}
