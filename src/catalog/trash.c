/*
 * Trash objects. Nothing is deleted here: a reader that pinned an older snapshot may still need it,
 * so what became unreferenced is only noted, with the moment from which its grace counts.
 */
#include "catalog/trash.h"

#include "catalog/mint.h"

enum { TRASH_FORMAT = 1, TRASH_BYTES_MAX = 256 * 1024 * 1024, TRIES = 3 };

static const char *const kinds[] = { "expired", "orphans", "purge", "files" };

static enum status encode(struct local *local, const struct trash *trash, int64_t now,
                          struct buf *out)
{
    struct json_writer w;
    json_writer_init(&w, out);
    jw_obj_begin(&w);
    jw_kv_i64(&w, "format", TRASH_FORMAT);
    jw_kv_cstr(&w, "kind", kinds[trash->kind]);
    jw_kv_str(&w, "table_uuid", trash->uuid);
    jw_kv_i64(&w, "time_ms", now);
    jw_kv_i64(&w, "delete_after_ms", now + local->grace_ms);
    if (trash->prefix.len > 0) {
        jw_kv_str(&w, "prefix", trash->prefix);
    }
    jw_kv_arr(&w, "keys");
    for (size_t i = 0; i < trash->key_count; i++) {
        jw_str(&w, trash->keys[i]);
    }
    jw_arr_end(&w);
    jw_obj_end(&w);
    return json_writer_end(&w);
}

static enum status make_key(struct local *local, const struct trash *trash, int64_t now,
                            struct arena *arena, struct str *out, struct err *err)
{
    struct rng rng;
    if (trash->kind == TRASH_PURGE) {
        *out = arena_printf(arena, "_lake/trash/%.*s/purge.json", STR_ARG(trash->uuid));
    } else {
        local_rng(local, &rng);
        *out = arena_printf(arena, "_lake/trash/%.*s/%013lld-%08x.json", STR_ARG(trash->uuid),
                            (long long)now, (unsigned)rng_next(&rng));
    }
    return out->ptr == NULL ? err_no_memory(err) : OK;
}

enum status trash_write(struct local *local, const struct trash *trash, struct err *err)
{
    if (trash->key_count == 0 && trash->prefix.len == 0) {
        return OK;
    }
    int64_t now = clock_wall_ms(local->clock);
    struct arena arena;
    arena_init(&arena, 4096);
    AUTO(buf_done) struct buf body;
    buf_init(&body, TRASH_BYTES_MAX);
    struct str key;
    struct store_cond cond = { .if_absent = true };
    enum status status = make_key(local, trash, now, &arena, &key, err);
    if (status == OK && encode(local, trash, now, &body) != OK) {
        status = err_no_memory(err);
    }
    for (int i = 0; i < TRIES && status == OK; i++) {
        status = store_put(local->store, key, buf_str(&body), &cond, NULL, err);
        if ((status != E_UPSTREAM && status != E_TIMEOUT) || i + 1 == TRIES) {
            break;
        }
        status = OK;
    }
    arena_done(&arena);
    return status == E_PRECONDITION ? OK : status; /* there already: perhaps by a lost answer */
}

enum status trash_purge(struct local *local, struct str uuid, struct str metadata_location,
                        struct err *err)
{
    struct arena arena;
    arena_init(&arena, 64 * 1024);
    struct trash trash = { .kind = TRASH_PURGE, .uuid = uuid, .prefix = STR_EMPTY };
    struct str location;
    enum status status = locate_table(local->base.reader->locate, metadata_location, &arena,
                                      &location, err);
    if (status == OK && mint_is_ours(local->warehouse, uuid, location)) {
        trash.prefix = arena_printf(&arena, "%.*s/", STR_ARG(location));
        status = trash.prefix.ptr == NULL ? err_no_memory(err) : OK;
    }
    status = status == OK ? trash_write(local, &trash, err) : status;
    arena_done(&arena);
    return status == E_INVALID ? OK : status; /* a location that is not ours is left alone */
}

/* --- reading --- */

static enum status copy_keys(struct arena *arena, yyjson_val *arr, struct trash *out,
                             struct err *err)
{
    struct str *keys = arena_array(arena, yyjson_arr_size(arr), sizeof(*keys));
    if (keys == NULL) {
        return err_no_memory(err);
    }
    size_t i, max;
    yyjson_val *val;
    yyjson_arr_foreach(arr, i, max, val)
    {
        keys[i] = arena_str(arena, str_from(yyjson_get_str(val), yyjson_get_len(val)));
        if (keys[i].ptr == NULL) {
            return err_no_memory(err);
        }
        TRY(store_key_check(keys[i], err)); /* also refuses what is no string */
        if (str_starts(keys[i], STR("_lake/"))) {
            return err_set(err, E_INVALID, "it names an object of the lake itself");
        }
    }
    out->keys = keys;
    out->key_count = yyjson_arr_size(arr);
    return OK;
}

static enum status decode(struct arena *arena, yyjson_val *root, struct trash *out, struct err *err)
{
    int64_t format = 0, from = 0, until = 0;
    struct str kind = STR_EMPTY, uuid = STR_EMPTY, prefix = STR_EMPTY;
    yyjson_val *keys = NULL;
    TRY(json_get_i64(root, "format", JSON_REQUIRED, &format, err));
    TRY(json_get_str(root, "kind", JSON_REQUIRED, &kind, err));
    size_t at = 0;
    while (at < ARRAY_LEN(kinds) && !str_eq(kind, str_of(kinds[at]))) {
        at++;
    }
    if (format > TRASH_FORMAT || at == ARRAY_LEN(kinds)) {
        return err_set(err, E_UNSUPPORTED, "it was written by a newer version");
    }
    TRY(json_get_str(root, "table_uuid", JSON_REQUIRED, &uuid, err));
    TRY(json_get_i64(root, "time_ms", JSON_REQUIRED, &from, err));
    TRY(json_get_i64(root, "delete_after_ms", JSON_REQUIRED, &until, err));
    TRY(json_get_str(root, "prefix", JSON_OPTIONAL, &prefix, err));
    TRY(json_get_arr(root, "keys", JSON_REQUIRED, &keys, err));
    TRY(copy_keys(arena, keys, out, err));
    bool folder = str_ends(prefix, STR("/")) &&
                  mint_is_ours(STR_EMPTY, uuid, str_take(prefix, prefix.len - 1));
    if (folder != (at == TRASH_PURGE)) {
        return err_set(err, E_INVALID, "its prefix is no folder of that table");
    }
    out->kind = (enum trash_kind)at;
    out->grace_ms = until - from;
    out->uuid = arena_str(arena, uuid);
    out->prefix = arena_str(arena, prefix);
    return out->uuid.ptr == NULL || out->prefix.ptr == NULL ? err_no_memory(err) : OK;
}

enum status trash_read(struct store *store, struct str key, struct arena *arena, struct trash *out,
                       struct err *err)
{
    AUTO(buf_done) struct buf body;
    buf_init(&body, TRASH_BYTES_MAX);
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    struct trash trash = { 0 };
    TRY(store_read(store, key, NULL, &body, NULL, err));
    enum status status = json_parse(buf_str(&body), &doc, err);
    status = status == OK ? decode(arena, yyjson_doc_get_root(doc), &trash, err) : status;
    if (status == E_INVALID) {
        return err_set(err, E_CORRUPT, "the trash object \"%.*s\" is broken", STR_ARG(key));
    }
    TRY(status);
    *out = trash;
    return OK;
}
