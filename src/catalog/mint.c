/*
 * Claims of folders. A claim is created with If-None-Match, so of two that would mint the same
 * location (same name, same first digits of their uuids) one mints another; and a folder that is
 * not empty is nobody's new one.
 */
#include "catalog/mint.h"

#include "catalog/namespace.h"
#include "catalog/table_name.h"

enum { MINT_FORMAT = 1, MINT_BYTES_MAX = 64 * 1024, TRIES = 4, UUID_SHORT = 8 };

static enum status mint_key(struct str location, struct arena *arena, struct str *out,
                            struct err *err)
{
    *out = arena_printf(arena, "_lake/minted/%.*s.json", STR_ARG(location));
    return out->ptr == NULL ? err_no_memory(err) : OK;
}

static enum status invent(struct local *local, const struct table_name *name, struct arena *arena,
                          struct mint *out, struct err *err)
{
    struct str folder;
    char uuid[UUID_TEXT + 1], slug[41];
    TRY(namespace_location(local, name->ns, arena, &folder, err));
    uuid4(uuid);
    ice_slug(name->name, slug);
    out->uuid = arena_str(arena, str_of(uuid));
    out->location = arena_printf(arena, "%.*s/%s-%.*s", STR_ARG(folder), slug, UUID_SHORT, uuid);
    out->name = *name;
    return out->uuid.ptr == NULL || out->location.ptr == NULL ? err_no_memory(err) : OK;
}

enum status mint_propose(struct local *local, const struct table_name *name, struct arena *arena,
                         struct mint *out, struct err *err)
{
    TRY(table_name_check_new(name, err));
    return invent(local, name, arena, out, err);
}

static enum status encode(const struct mint *mint, struct buf *out)
{
    struct json_writer w;
    json_writer_init(&w, out);
    jw_obj_begin(&w);
    jw_kv_i64(&w, "format", MINT_FORMAT);
    jw_kv_str(&w, "table_uuid", mint->uuid);
    jw_kv_str(&w, "location", mint->location);
    jw_kv_str(&w, "namespace", mint->name.ns);
    jw_kv_str(&w, "name", mint->name.name);
    jw_obj_end(&w);
    return json_writer_end(&w);
}

static enum status is_empty(struct local *local, struct str location, struct arena *arena,
                            bool *empty_out, struct err *err)
{
    struct store_list list;
    struct store_list_opts opts = { .limit = 1 };
    opts.prefix = arena_printf(arena, "%.*s/", STR_ARG(location));
    if (opts.prefix.ptr == NULL) {
        return err_no_memory(err);
    }
    TRY(store_list(local->store, &opts, arena, &list, err));
    *empty_out = list.object_count == 0;
    return OK;
}

enum status mint_new(struct local *local, const struct table_name *name, struct arena *arena,
                     struct mint *out, struct err *err)
{
    enum status status = OK;
    TRY(table_name_check_new(name, err));
    for (int i = 0; i < TRIES; i++) {
        struct mint mint;
        struct str key;
        bool empty = false;
        AUTO(buf_done) struct buf body;
        buf_init(&body, MINT_BYTES_MAX);
        TRY(invent(local, name, arena, &mint, err));
        TRY(mint_key(mint.location, arena, &key, err));
        if (encode(&mint, &body) != OK) {
            return err_no_memory(err);
        }
        /* After a lost answer the claim may stand: another uuid costs less than finding out. */
        status = store_put(local->store, key, buf_str(&body),
                           &(struct store_cond){ .if_absent = true }, NULL, err);
        status = status == OK ? is_empty(local, mint.location, arena, &empty, err) : status;
        if (status == OK && empty) {
            *out = mint;
            return OK;
        }
        if (status != OK && status != E_PRECONDITION && status != E_UPSTREAM &&
            status != E_TIMEOUT) {
            return status;
        }
    }
    return err_set(err, E_UNAVAILABLE, "no place can be made for table \"%.*s\": %s",
                   STR_ARG(name->name),
                   status == OK ? "folders are not empty" : status_name(status));
}

bool mint_is_ours(struct str warehouse, struct str uuid, struct str location)
{
    struct str rest = location;
    bool ours = str_eq(str_split(&rest, '/'), STR("wh"));
    struct str where = str_split(&rest, '/');
    ours = ours && where.len > 0 && (warehouse.len == 0 || str_eq(where, warehouse)) &&
           str_split(&rest, '/').len > 0;
    return ours && rest.ptr != NULL && str_find_char(rest, '/') == SIZE_MAX &&
           uuid.len == UUID_TEXT && rest.len > UUID_SHORT + 1 &&
           rest.ptr[rest.len - UUID_SHORT - 1] == '-' && str_ends(rest, str_take(uuid, UUID_SHORT));
}

enum status mint_drop(struct store *store, struct str location, struct err *err)
{
    struct arena arena;
    struct str key;
    arena_init(&arena, 16 * 1024);
    enum status status = mint_key(location, &arena, &key, err);
    status = status == OK ? store_delete(store, key, err) : status;
    arena_done(&arena);
    return status;
}

static enum status decode(struct arena *arena, yyjson_val *root, struct mint *out, struct err *err)
{
    int64_t format = 0;
    struct mint mint = { 0 };
    TRY(json_get_i64(root, "format", JSON_REQUIRED, &format, err));
    if (format > MINT_FORMAT) {
        return err_set(err, E_UNSUPPORTED, "a claim of format %lld was written by a newer version",
                       (long long)format);
    }
    TRY(json_get_str(root, "table_uuid", JSON_REQUIRED, &mint.uuid, err));
    TRY(json_get_str(root, "location", JSON_REQUIRED, &mint.location, err));
    TRY(json_get_str(root, "namespace", JSON_REQUIRED, &mint.name.ns, err));
    TRY(json_get_str(root, "name", JSON_REQUIRED, &mint.name.name, err));
    if (!mint_is_ours(STR_EMPTY, mint.uuid, mint.location)) {
        return err_set(err, E_INVALID, "it claims what is no location of a table");
    }
    TRY(table_name_copy(arena, &mint.name, &out->name, err));
    out->uuid = arena_str(arena, mint.uuid);
    out->location = arena_str(arena, mint.location);
    return out->uuid.ptr == NULL || out->location.ptr == NULL ? err_no_memory(err) : OK;
}

enum status mint_read(struct store *store, struct str key, struct arena *arena, struct mint *out,
                      struct err *err)
{
    AUTO(buf_done) struct buf body;
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    struct mint mint;
    buf_init(&body, MINT_BYTES_MAX);
    TRY(store_read(store, key, NULL, &body, NULL, err));
    enum status status = json_parse(buf_str(&body), &doc, err);
    status = status == OK ? decode(arena, yyjson_doc_get_root(doc), &mint, err) : status;
    if (status == E_INVALID) {
        return err_set(err, E_CORRUPT, "the claim \"%.*s\" is broken", STR_ARG(key));
    }
    TRY(status);
    *out = mint;
    return OK;
}
