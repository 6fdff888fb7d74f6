/*
 * Namespace objects. They come into being with their first table; like pointers they are never
 * deleted, only swapped to a state. "location" is among the properties because some engines need to
 * see one before they create a table.
 */
#include "catalog/namespace.h"

#include "base/encode.h"

enum { NS_BYTES_MAX = 1024 * 1024, TRIES = 4 };

enum status namespace_location(struct local *local, struct str ns, struct arena *arena,
                               struct str *out, struct err *err)
{
    char slug[41];
    ice_slug(ns, slug);
    *out = arena_printf(arena, "wh/%.*s/%s", STR_ARG(local->warehouse), slug);
    return out->ptr == NULL ? err_no_memory(err) : OK;
}

static enum status ns_key(struct local *local, struct str ns, struct arena *arena, struct str *out,
                          struct err *err)
{
    struct str prefix; /* ".../<namespace>/t/" */
    TRY(pointer_ns_prefix(arena, local->warehouse, ns, &prefix, err));
    *out = arena_printf(arena, "%.*s_ns.json", STR_ARG(str_take(prefix, prefix.len - 2)));
    return out->ptr == NULL ? err_no_memory(err) : OK;
}

static enum status encode(struct local *local, struct str ns, struct arena *arena, struct buf *out,
                          struct err *err)
{
    struct str location, uri;
    TRY(namespace_location(local, ns, arena, &location, err));
    TRY(locate_uri(local->base.reader->locate, STR_EMPTY, location, arena, &uri, err));
    char uuid[UUID_TEXT + 1];
    uuid4(uuid);
    struct json_writer w;
    json_writer_init(&w, out);
    jw_obj_begin(&w);
    jw_kv_i64(&w, "format", 1);
    jw_kv_str(&w, "namespace", ns);
    jw_kv_cstr(&w, "uuid", uuid);
    jw_kv_cstr(&w, "state", "live");
    jw_kv_obj(&w, "properties");
    jw_kv_str(&w, "location", uri);
    jw_obj_end(&w);
    jw_kv_cstr(&w, "commit_id", uuid); /* of the first body: the uuid is as fresh as any id */
    jw_obj_end(&w);
    return json_writer_end(&w) == OK ? OK : err_no_memory(err);
}

static enum status read_live(struct local *local, struct str ns, struct str key,
                             struct arena *arena, bool *found_out, struct str *uuid_out,
                             struct err *err)
{
    AUTO(buf_done) struct buf body;
    buf_init(&body, NS_BYTES_MAX);
    enum status status = OK;
    for (int i = 0; i < TRIES; i++) {
        status = store_read(local->store, key, NULL, &body, NULL, err);
        if (status != E_UPSTREAM && status != E_TIMEOUT) {
            break;
        }
    }
    *found_out = status == OK;
    if (status == E_NOT_FOUND) {
        return OK;
    }
    TRY(status);
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    struct str state = STR_EMPTY, uuid = STR_EMPTY;
    TRY(json_parse(buf_str(&body), &doc, err));
    TRY(json_get_str(yyjson_doc_get_root(doc), "state", JSON_REQUIRED, &state, err));
    TRY(json_get_str(yyjson_doc_get_root(doc), "uuid", JSON_REQUIRED, &uuid, err));
    if (!str_eq(state, STR("live"))) {
        return err_set(err, E_CONFLICT, "namespace \"%.*s\" is %.*s", STR_ARG(ns), STR_ARG(state));
    }
    *uuid_out = arena_str(arena, uuid);
    return uuid_out->ptr == NULL ? err_no_memory(err) : OK;
}

enum status namespace_ensure(struct local *local, struct str ns, struct arena *arena,
                             struct str *uuid_out, struct err *err)
{
    struct str key;
    TRY(ns_key(local, ns, arena, &key, err));
    for (int i = 0; i < TRIES; i++) {
        bool found = false;
        TRY(read_live(local, ns, key, arena, &found, uuid_out, err));
        if (found) {
            return OK;
        }
        AUTO(buf_done) struct buf body;
        buf_init(&body, NS_BYTES_MAX);
        TRY(encode(local, ns, arena, &body, err));
        /* Whoever was first, the next round reads what is there. */
        enum status status = store_put(local->store, key, buf_str(&body),
                                       &(struct store_cond){ .if_absent = true }, NULL, err);
        if (status != OK && status != E_PRECONDITION && status != E_UPSTREAM &&
            status != E_TIMEOUT) {
            return status;
        }
    }
    return err_set(err, E_UNAVAILABLE,
                   "namespace \"%.*s\" cannot be made: the store does not answer", STR_ARG(ns));
}

enum status namespace_check(struct local *local, struct str ns, struct str uuid, struct err *err)
{
    struct arena arena;
    arena_init(&arena, 64 * 1024);
    struct str key, now = STR_EMPTY;
    bool found = false;
    enum status status = ns_key(local, ns, &arena, &key, err);
    if (status == OK) {
        status = read_live(local, ns, key, &arena, &found, &now, err);
    }
    if (status == OK && (!found || !str_eq(now, uuid))) {
        status = err_set(err, E_CONFLICT, "namespace \"%.*s\" was dropped meanwhile", STR_ARG(ns));
    }
    arena_done(&arena);
    return status;
}
