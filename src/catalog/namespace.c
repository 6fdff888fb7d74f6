/*
 * Namespace objects. They come into being with their first table; like pointers they are never
 * deleted, only swapped to a state. "location" is among the properties because some engines need to
 * see one before they create a table.
 */
#include "catalog/namespace.h"

#include <stdlib.h>

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

/** A namespace's object; a store that stumbles is asked again. */
static enum status read_body(struct local *local, struct str key, struct buf *out, bool *found_out,
                             struct err *err)
{
    enum status status = OK;
    for (int i = 0; i < TRIES; i++) {
        status = store_read(local->store, key, NULL, out, NULL, err);
        if (status != E_UPSTREAM && status != E_TIMEOUT) {
            break;
        }
    }
    *found_out = status == OK;
    return status == E_NOT_FOUND ? OK : status;
}

static enum status copy_properties(yyjson_val *json, struct arena *arena,
                                   struct catalog_namespace *out, struct err *err)
{
    size_t i, max;
    yyjson_val *key, *val;
    struct ice_property *properties = arena_array(arena, yyjson_obj_size(json),
                                                  sizeof(*properties));
    if (properties == NULL) {
        return err_no_memory(err);
    }
    yyjson_obj_foreach(json, i, max, key, val)
    {
        struct str value = str_from(yyjson_get_str(val), yyjson_get_len(val));
        if (value.ptr == NULL) {
            continue; /* none of ours is anything but text */
        }
        struct ice_property *property = &properties[out->property_count++];
        property->name = arena_str(arena, str_from(yyjson_get_str(key), yyjson_get_len(key)));
        property->value = arena_str(arena, value);
        if (property->name.ptr == NULL || property->value.ptr == NULL) {
            return err_no_memory(err);
        }
    }
    out->properties = properties;
    return OK;
}

/** E_CONFLICT when it is there and not live. */
static enum status read_live(struct local *local, struct str ns, struct str key,
                             struct arena *arena, bool *found_out, struct catalog_namespace *out,
                             struct err *err)
{
    AUTO(buf_done) struct buf body;
    buf_init(&body, NS_BYTES_MAX);
    TRY(read_body(local, key, &body, found_out, err));
    if (!*found_out) {
        return OK;
    }
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    struct str state = STR_EMPTY, uuid = STR_EMPTY;
    yyjson_val *properties = NULL;
    TRY(json_parse(buf_str(&body), &doc, err));
    TRY(json_get_str(yyjson_doc_get_root(doc), "state", JSON_REQUIRED, &state, err));
    TRY(json_get_str(yyjson_doc_get_root(doc), "uuid", JSON_REQUIRED, &uuid, err));
    TRY(json_get_obj(yyjson_doc_get_root(doc), "properties", JSON_REQUIRED, &properties, err));
    if (!str_eq(state, STR("live"))) {
        return err_set(err, E_CONFLICT, "namespace \"%.*s\" is %.*s", STR_ARG(ns), STR_ARG(state));
    }
    struct catalog_namespace found = { .uuid = arena_str(arena, uuid) };
    if (found.uuid.ptr == NULL) {
        return err_no_memory(err);
    }
    TRY(copy_properties(properties, arena, &found, err));
    *out = found;
    return OK;
}

enum status namespace_ensure(struct local *local, struct str ns, struct arena *arena,
                             struct str *uuid_out, struct err *err)
{
    struct str key;
    TRY(ns_key(local, ns, arena, &key, err));
    for (int i = 0; i < TRIES; i++) {
        bool found = false;
        struct catalog_namespace live;
        TRY(read_live(local, ns, key, arena, &found, &live, err));
        if (found) {
            *uuid_out = live.uuid;
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
    struct str key;
    struct catalog_namespace now = { .uuid = STR_EMPTY };
    bool found = false;
    enum status status = ns_key(local, ns, &arena, &key, err);
    if (status == OK) {
        status = read_live(local, ns, key, &arena, &found, &now, err);
    }
    if (status == OK && (!found || !str_eq(now.uuid, uuid))) {
        status = err_set(err, E_CONFLICT, "namespace \"%.*s\" was dropped meanwhile", STR_ARG(ns));
    }
    arena_done(&arena);
    return status;
}

/* --- for readers --- */

enum status local_namespace(struct catalog *catalog, struct str ns, struct arena *arena,
                            struct catalog_namespace *out, struct err *err)
{
    struct local *local = (struct local *)catalog;
    struct str key;
    bool found = false;
    enum status status = ns_key(local, ns, arena, &key, err);
    if (status == E_INVALID) {
        status = OK; /* no namespace can have that name */
    } else if (status == OK) {
        status = read_live(local, ns, key, arena, &found, out, err);
    }
    if (status == E_CONFLICT || (status == OK && !found)) {
        return err_set(err, E_NOT_FOUND, "namespace \"%.*s\" does not exist", STR_ARG(ns));
    }
    return status;
}

static int compare_names(const void *a, const void *b)
{
    return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

/** The names of a page of common prefixes, `.../<percent-encoded>/`; those that are not live are
 * left out. */
static enum status add_names(struct local *local, struct str prefix, const struct store_list *page,
                             struct arena *arena, struct str *names, size_t *count, struct err *err)
{
    for (size_t i = 0; i < page->prefix_count; i++) {
        struct str coded = str_skip(page->prefixes[i], prefix.len), name;
        struct catalog_namespace found;
        TRY(percent_decode(arena, str_take(coded, coded.len - 1), false, &name, err));
        enum status status = local_namespace(&local->base, name, arena, &found, err);
        if (status == OK) {
            names[(*count)++] = name;
        } else if (status != E_NOT_FOUND) {
            return status;
        }
    }
    return OK;
}

enum status local_namespaces(struct catalog *catalog, struct arena *arena, struct str **names_out,
                             size_t *count_out, struct err *err)
{
    struct local *local = (struct local *)catalog;
    struct str prefix, *names = NULL;
    size_t count = 0;
    TRY(pointer_prefix(arena, local->warehouse, &prefix, err));
    struct store_list_opts opts = { .prefix = prefix,
                                    .delimiter = STR("/"),
                                    .limit = STORE_LIST_MAX };
    struct store_list page = { .truncated = true };
    while (page.truncated) {
        page = (struct store_list){ 0 };
        TRY(store_list(local->store, &opts, arena, &page, err));
        struct str *more = arena_array(arena, count + page.prefix_count, sizeof(*more));
        if (more == NULL) {
            return err_no_memory(err);
        }
        if (count > 0) {
            memcpy(more, names, count * sizeof(*more));
        }
        names = more;
        TRY(add_names(local, prefix, &page, arena, names, &count, err));
        opts.after = page.next;
    }
    if (count > 0) {
        qsort(names, count, sizeof(*names), compare_names);
    }
    *names_out = names;
    *count_out = count;
    return OK;
}
