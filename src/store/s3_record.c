/* The records of open uploads in parts. s3_parts.h says what they are for. */
#include <stdio.h>

#include "base/encode.h"
#include "base/json.h"
#include "base/mem.h"
#include "store/s3_parts.h"

enum { RECORD_VERSION = 1, RECORD_BYTES_MAX = 64 * 1024, ID_BYTES = 36, KEY_IN_NAME_MAX = 90 };

static const char *const step_names[] = { [S3_RECORD_COPYING] = "copy",
                                          [S3_RECORD_COMMITTING] = "commit",
                                          [S3_RECORD_SETTLING] = "settle" };

enum status s3_record_name(const struct store_upload_ref *ref, char out[S3_RECORD_NAME_MAX + 1],
                           struct err *err)
{
    AUTO(buf_done) struct buf tag;
    char hash[SHA256_HEX + 1];
    buf_init(&tag, 2 * KEY_IN_NAME_MAX);
    if (ref->id.len != ID_BYTES || str_find_char(ref->id, '.') != SIZE_MAX) {
        return store_upload_not_found(ref, err);
    }
    if (ref->key.len > KEY_IN_NAME_MAX) {
        sha256_hex(ref->key, hash);
        (void)snprintf(out, S3_RECORD_NAME_MAX + 1, S3_OPEN_PREFIX "%.*s.~%s", STR_ARG(ref->id),
                       hash);
        return OK;
    }
    if (hex_append(&tag, ref->key.ptr, ref->key.len) != OK) {
        return err_no_memory(err);
    }
    (void)snprintf(out, S3_RECORD_NAME_MAX + 1, S3_OPEN_PREFIX "%.*s.%.*s", STR_ARG(ref->id),
                   STR_ARG(buf_str(&tag)));
    return OK;
}

/* --- reading --- */

bool s3_record_unreadable(enum status status)
{
    return status == E_CORRUPT || status == E_UNSUPPORTED;
}

static enum status broken(struct str name, const char *what, struct err *err)
{
    return err_set(err, E_CORRUPT, "object \"%.*s\": %s", STR_ARG(name), what);
}

/** By its step. A complete whose step is not told, or is none that we know, may have been sent. */
static enum s3_record_state state_of(struct str write_id, struct str step)
{
    if (write_id.len == 0) {
        return S3_RECORD_OPEN;
    }
    for (enum s3_record_state i = S3_RECORD_COPYING; i <= S3_RECORD_SETTLING; i++) {
        if (str_eq(step, str_of(step_names[i]))) {
            return i;
        }
    }
    return S3_RECORD_COMMITTING;
}

static enum status parse(struct str name, struct str text, struct arena *arena,
                         struct s3_record *out, struct err *err)
{
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    AUTO(buf_done) struct buf attrs;
    struct str key = STR_EMPTY, packed = STR_EMPTY, write_id = STR_EMPTY, upload_id = STR_EMPTY,
               step = STR_EMPTY, by = STR_EMPTY;
    int64_t version = 0;
    buf_init(&attrs, ATTRS_PACKED_MAX);
    enum status status = json_parse(text, &doc, err);
    if (status != OK) {
        return status == E_NO_MEMORY ? status : broken(name, "it is no JSON", err);
    }
    yyjson_val *root = yyjson_doc_get_root(doc);
    if (json_get_i64(root, "version", JSON_REQUIRED, &version, NULL) != OK ||
        json_get_str(root, "key", JSON_REQUIRED, &key, NULL) != OK ||
        json_get_str(root, "attrs", JSON_REQUIRED, &packed, NULL) != OK ||
        json_get_str(root, "write_id", JSON_OPTIONAL, &write_id, NULL) != OK ||
        json_get_str(root, "upload_id", JSON_OPTIONAL, &upload_id, NULL) != OK ||
        json_get_str(root, "step", JSON_OPTIONAL, &step, NULL) != OK ||
        json_get_str(root, "by", JSON_OPTIONAL, &by, NULL) != OK) {
        return broken(name, "it is no record of an upload", err);
    }
    if (version != RECORD_VERSION) {
        return err_set(err, E_UNSUPPORTED, "object \"%.*s\" has version %lld, not %d",
                       STR_ARG(name), (long long)version, RECORD_VERSION);
    }
    status = base64_decode(packed, &attrs);
    if (status == E_NO_MEMORY) {
        return err_no_memory(err);
    }
    if (status != OK || !attrs_packed_valid(buf_str(&attrs))) {
        return broken(name, "its attributes are not what was written", err);
    }
    out->state = state_of(write_id, step);
    out->key = arena_str(arena, key);
    out->attrs = arena_str(arena, buf_str(&attrs));
    out->write_id = arena_str(arena, write_id);
    out->upload_id = arena_str(arena, upload_id);
    out->by = arena_str(arena, by);
    bool fine = out->key.ptr != NULL && out->attrs.ptr != NULL && out->write_id.ptr != NULL &&
                out->upload_id.ptr != NULL && out->by.ptr != NULL;
    return fine ? OK : err_no_memory(err);
}

enum status s3_record_take(struct store_object *object, struct str name, struct arena *arena,
                           struct s3_record *out, struct err *err)
{
    AUTO(buf_done) struct buf text;
    size_t got = 0, size = (size_t)object->info.size;
    *out = (struct s3_record){ .state = S3_RECORD_ENDED };
    memcpy(out->etag, object->info.etag, sizeof out->etag);
    buf_init(&text, RECORD_BYTES_MAX);
    if (size == 0) {
        return OK;
    }
    char *to = size <= RECORD_BYTES_MAX ? buf_reserve(&text, size) : NULL;
    if (to == NULL) {
        return size > RECORD_BYTES_MAX ? broken(name, "it is too large", err) : err_no_memory(err);
    }
    TRY(object->ops->read(object, 0, to, size, &got, err));
    return parse(name, str_from(to, got), arena, out, err);
}

enum status s3_record_read(struct s3_store *s3, const struct store_upload_ref *ref,
                           struct arena *arena, struct s3_record *out, struct err *err)
{
    char name[S3_RECORD_NAME_MAX + 1];
    struct store_object *object = NULL;
    struct s3_record record;
    TRY(s3_record_name(ref, name, err));
    enum status status = s3_open(&s3->base, str_of(name), &object, err);
    if (status == E_NOT_FOUND) {
        return store_upload_not_found(ref, err);
    }
    TRY(status);
    status = s3_record_take(object, str_of(name), arena, &record, err);
    store_object_close(object);
    TRY(status);
    if (record.state != S3_RECORD_ENDED && !str_eq(record.key, ref->key)) {
        return broken(str_of(name), "it is of another key", err);
    }
    *out = record;
    return OK;
}

/* --- writing --- */

static enum status render(const struct s3_record *record, struct buf *out, struct err *err)
{
    AUTO(buf_done) struct buf attrs;
    struct json_writer w;
    buf_init(&attrs, RECORD_BYTES_MAX);
    if (record->state == S3_RECORD_ENDED) {
        return OK;
    }
    if (base64_append(&attrs, record->attrs.ptr, record->attrs.len) != OK) {
        return err_no_memory(err);
    }
    json_writer_init(&w, out);
    jw_obj_begin(&w);
    jw_kv_i64(&w, "version", RECORD_VERSION);
    jw_kv_str(&w, "key", record->key);
    jw_kv_str(&w, "attrs", buf_str(&attrs));
    if (record->state != S3_RECORD_OPEN) {
        jw_kv_str(&w, "write_id", record->write_id);
        jw_kv_str(&w, "upload_id", record->upload_id);
        jw_kv_cstr(&w, "step", step_names[record->state]);
    }
    if (record->state == S3_RECORD_SETTLING) {
        jw_kv_str(&w, "by", record->by);
    }
    jw_obj_end(&w);
    return json_writer_end(&w) == OK ? OK : err_no_memory(err);
}

enum status s3_record_write(struct s3_store *s3, const struct store_upload_ref *ref,
                            struct s3_record *record, const struct store_cond *cond,
                            struct err *err)
{
    AUTO(buf_done) struct buf text;
    char name[S3_RECORD_NAME_MAX + 1];
    struct store_info info;
    buf_init(&text, RECORD_BYTES_MAX);
    TRY(s3_record_name(ref, name, err));
    TRY(render(record, &text, err));
    TRY(s3_put(&s3->base, str_of(name), buf_str(&text), cond, &info, err));
    memcpy(record->etag, info.etag, sizeof record->etag);
    return OK;
}

/* --- is it open? --- */

enum status s3_record_live(struct s3_store *s3, const struct store_upload_ref *ref,
                           struct arena *arena, struct s3_record *out, struct err *err)
{
    struct s3_record record;
    bool landed = false;
    TRY(s3_record_read(s3, ref, arena, &record, err));
    if (record.state == S3_RECORD_COMMITTING || record.state == S3_RECORD_SETTLING) {
        TRY(s3_write_landed(s3, record.key, record.write_id, &landed, err));
    }
    if (record.state == S3_RECORD_ENDED || landed) {
        return store_upload_not_found(ref, err);
    }
    *out = record;
    return OK;
}
