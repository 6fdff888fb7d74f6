/*
 * Namespace objects, and what readers ask of them.
 *
 * They come into being with their first table, or by name; like pointers they are never deleted,
 * only swapped to a state. "location" is among the properties because some engines need to see one
 * before they create a table. A namespace that is being dropped counts as live until that is
 * decided.
 */
#include "catalog/namespace.h"

#include <stdlib.h>

#include "base/encode.h"
#include "catalog/table_name.h"

enum { NS_FORMAT = 1, NS_BYTES_MAX = 1024 * 1024, TRIES = 4, COMMIT_IDS_MAX = 64 };

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

enum status namespace_missing(struct str ns, struct err *err)
{
    AUTO(buf_done) struct buf text;
    buf_init(&text, 64 * 1024);
    bool printed = table_name_print_ns(ns, &text) == OK;
    return err_set(err, E_NOT_FOUND, "namespace \"%.*s\" does not exist",
                   STR_ARG(printed ? buf_str(&text) : ns));
}

/* --- writing --- */

static const char *const state_names[] = { [NAMESPACE_LIVE] = "live",
                                           [NAMESPACE_DROPPING] = "dropping",
                                           [NAMESPACE_DROPPED] = "dropped" };

static void write_properties(struct json_writer *w, const struct catalog_namespace *ns)
{
    jw_kv_obj(w, "properties");
    for (size_t i = 0; i < ns->property_count; i++) {
        jw_key(w, ns->properties[i].name);
        jw_str(w, ns->properties[i].value);
    }
    jw_obj_end(w);
}

static enum status encode(struct str ns, const struct namespace_base *base,
                          enum namespace_state state, const struct catalog_namespace *next,
                          struct str commit_id, struct buf *out)
{
    struct json_writer w;
    json_writer_init(&w, out);
    jw_obj_begin(&w);
    jw_kv_i64(&w, "format", NS_FORMAT);
    jw_kv_str(&w, "namespace", ns);
    jw_kv_str(&w, "uuid", next->uuid);
    jw_kv_cstr(&w, "state", state_names[state]);
    write_properties(&w, next);
    jw_kv_arr(&w, "commit_ids");
    size_t old = base->commit_count;
    for (size_t i = old < COMMIT_IDS_MAX ? 0 : old - COMMIT_IDS_MAX + 1; i < old; i++) {
        jw_str(&w, base->commit_ids[i]);
    }
    jw_str(&w, commit_id);
    jw_arr_end(&w);
    jw_obj_end(&w);
    return json_writer_end(&w);
}

static enum status has_commit(struct str body, struct str commit_id, bool *has_out, struct err *err)
{
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    yyjson_val *arr = NULL, *val;
    size_t i, max;
    *has_out = false;
    TRY(json_parse(body, &doc, err));
    TRY(json_get_arr(yyjson_doc_get_root(doc), "commit_ids", JSON_OPTIONAL, &arr, err));
    if (arr == NULL) {
        return OK;
    }
    yyjson_arr_foreach(arr, i, max, val)
    {
        *has_out = *has_out ||
                   str_eq(str_from(yyjson_get_str(val), yyjson_get_len(val)), commit_id);
    }
    return OK;
}

enum status namespace_swap(struct local *local, struct str ns, const struct namespace_base *base,
                           enum namespace_state state, const struct catalog_namespace *next,
                           deadline_ms deadline, enum swap_outcome *outcome, struct err *err)
{
    AUTO(buf_done) struct buf body;
    struct rng rng;
    char id[POINTER_COMMIT_ID_LEN + 1];
    local_rng(local, &rng);
    int len = snprintf(id, sizeof(id), "%016llx", (unsigned long long)rng_next(&rng));
    buf_init(&body, NS_BYTES_MAX);
    struct str commit_id = str_from(id, (size_t)len);
    enum status status = encode(ns, base, state, next, commit_id, &body);
    if (status != OK) {
        return status == E_TOO_LARGE ? err_set(err, E_INVALID,
                                               "the properties of a namespace have more than %d "
                                               "bytes",
                                               NS_BYTES_MAX)
                                     : err_no_memory(err);
    }
    struct swap swap = {
        .key = base->key,
        .base_etag = base->state == NAMESPACE_MISSING ? STR_EMPTY : str_of(base->etag),
        .body = buf_str(&body),
        .commit_id = commit_id,
        .deadline = deadline,
        .has_commit = has_commit,
    };
    return swap_pointer(local, &swap, outcome, err);
}

/* --- reading --- */

/** A namespace's object; a store that stumbles is asked again. */
static enum status read_body(struct local *local, struct str key, struct buf *out,
                             struct store_info *info, bool *found_out, struct err *err)
{
    enum status status = OK;
    for (int i = 0; i < TRIES; i++) {
        status = store_read(local->store, key, NULL, out, info, err);
        if (status != E_UPSTREAM && status != E_TIMEOUT) {
            break;
        }
    }
    *found_out = status == OK;
    return status == E_NOT_FOUND ? OK : status;
}

/** The strings of `json`, and "location" where it is not among them. */
static enum status copy_properties(yyjson_val *json, struct str location, struct arena *arena,
                                   struct catalog_namespace *out, struct err *err)
{
    size_t i, max;
    yyjson_val *key, *val;
    bool located = false;
    struct ice_property *properties = arena_array(arena, yyjson_obj_size(json) + 1,
                                                  sizeof(*properties));
    if (properties == NULL) {
        return err_no_memory(err);
    }
    yyjson_obj_foreach(json, i, max, key, val)
    {
        struct str name = str_from(yyjson_get_str(key), yyjson_get_len(key));
        struct str value = str_from(yyjson_get_str(val), yyjson_get_len(val));
        if (value.ptr == NULL) {
            continue; /* none of ours is anything but text */
        }
        struct ice_property *property = &properties[out->property_count++];
        property->name = arena_str(arena, name);
        property->value = arena_str(arena, value);
        located = located || str_eq(name, STR("location"));
        if (property->name.ptr == NULL || property->value.ptr == NULL) {
            return err_no_memory(err);
        }
    }
    if (!located) {
        properties[out->property_count++] = (struct ice_property){ STR("location"), location };
    }
    out->properties = properties;
    return OK;
}

static enum status copy_commit_ids(yyjson_val *root, struct arena *arena,
                                   struct namespace_base *out, struct err *err)
{
    yyjson_val *arr = NULL, *val;
    size_t i, max;
    TRY(json_get_arr(root, "commit_ids", JSON_OPTIONAL, &arr, err));
    out->commit_ids = arena_array(arena, yyjson_arr_size(arr) + 1, sizeof(*out->commit_ids));
    if (out->commit_ids == NULL) {
        return err_no_memory(err);
    }
    if (arr == NULL) {
        return OK;
    }
    yyjson_arr_foreach(arr, i, max, val)
    {
        struct str id = arena_str(arena, str_from(yyjson_get_str(val), yyjson_get_len(val)));
        if (id.ptr == NULL) {
            return err_no_memory(err);
        }
        out->commit_ids[out->commit_count++] = id;
    }
    return OK;
}

static enum status decode_state(struct str ns, struct str text, enum namespace_state *out,
                                struct err *err)
{
    for (size_t i = NAMESPACE_LIVE; i < ARRAY_LEN(state_names); i++) {
        if (str_eq(text, str_of(state_names[i]))) {
            *out = (enum namespace_state)i;
            return OK;
        }
    }
    return err_set(err, E_UNSUPPORTED,
                   "namespace \"%.*s\" is in the state \"%.*s\", which a newer version wrote",
                   STR_ARG(ns), STR_ARG(text));
}

static enum status decode(struct local *local, struct str ns, yyjson_val *root, struct arena *arena,
                          struct namespace_base *out, struct err *err)
{
    struct str state = STR_EMPTY, uuid = STR_EMPTY, folder, location;
    yyjson_val *properties = NULL;
    TRY(json_get_str(root, "state", JSON_REQUIRED, &state, err));
    TRY(json_get_str(root, "uuid", JSON_REQUIRED, &uuid, err));
    TRY(json_get_obj(root, "properties", JSON_REQUIRED, &properties, err));
    TRY(decode_state(ns, state, &out->state, err));
    out->ns.uuid = arena_str(arena, uuid);
    if (out->ns.uuid.ptr == NULL) {
        return err_no_memory(err);
    }
    TRY(copy_commit_ids(root, arena, out, err));
    TRY(namespace_location(local, ns, arena, &folder, err));
    TRY(locate_uri(local->base.reader->locate, STR_EMPTY, folder, arena, &location, err));
    return copy_properties(properties, location, arena, &out->ns, err);
}

enum status namespace_read(struct local *local, struct str ns, struct arena *arena,
                           struct namespace_base *out, struct err *err)
{
    AUTO(buf_done) struct buf body;
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    struct namespace_base base = { .state = NAMESPACE_MISSING };
    struct store_info info;
    bool found = false;
    buf_init(&body, 2 * NS_BYTES_MAX);
    TRY(ns_key(local, ns, arena, &base.key, err));
    TRY(read_body(local, base.key, &body, &info, &found, err));
    if (found) {
        memcpy(base.etag, info.etag, sizeof(base.etag));
        enum status status = json_parse(buf_str(&body), &doc, err);
        status = status == OK ? decode(local, ns, yyjson_doc_get_root(doc), arena, &base, err)
                              : status;
        if (status == E_INVALID) { /* stored bytes, not a caller's input */
            return err_set(err, E_CORRUPT, "\"%.*s\" is broken", STR_ARG(base.key));
        }
        TRY(status);
    }
    *out = base;
    return OK;
}

/* --- with tables --- */

enum status namespace_require(struct local *local, struct str ns, struct arena *arena,
                              struct str *uuid_out, struct err *err)
{
    struct namespace_base base;
    TRY(namespace_settled(local, ns, deadline_in(NAMESPACE_TIMEOUT_MS), arena, &base, err));
    if (base.state != NAMESPACE_LIVE) {
        return namespace_missing(ns, err);
    }
    *uuid_out = base.ns.uuid;
    return OK;
}

enum status namespace_ensure(struct local *local, struct str ns, struct arena *arena,
                             struct str *uuid_out, struct err *err)
{
    if (str_find_char(ns, CATALOG_NS_SEPARATOR) != SIZE_MAX) {
        return namespace_require(local, ns, arena, uuid_out, err);
    }
    deadline_ms deadline = deadline_in(NAMESPACE_TIMEOUT_MS);
    for (int i = 0; i < TRIES; i++) {
        struct namespace_base base;
        enum swap_outcome outcome = SWAP_REFUSED;
        TRY(namespace_settled(local, ns, deadline, arena, &base, err));
        if (base.state == NAMESPACE_LIVE) {
            *uuid_out = base.ns.uuid;
            return OK;
        }
        if (base.state == NAMESPACE_DROPPED) {
            TRY(namespace_clear(local, ns, base.ns.uuid, deadline, err));
        }
        char uuid[UUID_TEXT + 1];
        uuid4(uuid);
        struct catalog_namespace fresh = { .uuid = str_of(uuid) };
        /* Whoever was first, the next round reads what is there. */
        TRY(namespace_swap(local, ns, &base, NAMESPACE_LIVE, &fresh, deadline, &outcome, err));
    }
    return err_set(err, E_UNAVAILABLE, "namespace \"%.*s\" cannot be made: others are dropping it",
                   STR_ARG(ns));
}

enum status namespace_check(struct local *local, struct str ns, struct str uuid, struct err *err)
{
    struct arena arena;
    struct namespace_base now;
    arena_init(&arena, 64 * 1024 * 1024);
    enum status status = namespace_settled(local, ns, deadline_in(NAMESPACE_TIMEOUT_MS), &arena,
                                           &now, err);
    if (status == OK && (now.state != NAMESPACE_LIVE || !str_eq(now.ns.uuid, uuid))) {
        status = err_set(err, E_CONFLICT, "namespace \"%.*s\" was dropped meanwhile", STR_ARG(ns));
    }
    arena_done(&arena);
    return status;
}

/* --- for readers --- */

static bool is_there(const struct namespace_base *base)
{
    return base->state == NAMESPACE_LIVE || base->state == NAMESPACE_DROPPING;
}

enum status local_namespace(struct catalog *catalog, struct str ns, struct arena *arena,
                            struct catalog_namespace *out, struct err *err)
{
    struct namespace_base base = { .state = NAMESPACE_MISSING };
    enum status status = table_name_check_ns(ns, err);
    status = status == OK ? namespace_read((struct local *)catalog, ns, arena, &base, err) : status;
    if (status == E_INVALID || (status == OK && !is_there(&base))) {
        return namespace_missing(ns, err); /* or no namespace can have that name */
    }
    TRY(status);
    *out = base.ns;
    return OK;
}

static int compare_names(const void *a, const void *b)
{
    return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

/** Those of a page of common prefixes, `.../<percent-encoded>/`. */
static enum status add_names(struct str prefix, size_t skip, bool direct,
                             const struct store_list *page, struct arena *arena, struct str *names,
                             size_t *count, struct err *err)
{
    for (size_t i = 0; i < page->prefix_count; i++) {
        struct str coded = str_skip(page->prefixes[i], prefix.len), name;
        TRY(percent_decode(arena, str_take(coded, coded.len - 1), false, &name, err));
        struct str below = str_skip(name, skip);
        if (!direct || str_find_char(below, CATALOG_NS_SEPARATOR) == SIZE_MAX) {
            names[(*count)++] = name;
        }
    }
    return OK;
}

enum status namespace_children(struct local *local, struct str parent, bool direct,
                               struct arena *arena, struct str **names_out, size_t *count_out,
                               struct err *err)
{
    struct str all, prefix, *names = NULL;
    size_t count = 0;
    TRY(pointer_prefix(arena, local->warehouse, &all, err));
    TRY(pointer_children_prefix(arena, local->warehouse, parent, &prefix, err));
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
        TRY(add_names(all, parent.len > 0 ? parent.len + 1 : 0, direct, &page, arena, names, &count,
                      err));
        opts.after = page.next;
    }
    if (count > 0) {
        qsort(names, count, sizeof(*names), compare_names);
    }
    *names_out = names;
    *count_out = count;
    return OK;
}

enum status local_namespaces(struct catalog *catalog, struct str parent, struct arena *arena,
                             struct str **names_out, size_t *count_out, struct err *err)
{
    struct local *local = (struct local *)catalog;
    struct catalog_namespace ignored;
    struct str *names = NULL;
    size_t count = 0, live = 0;
    if (parent.len > 0) {
        TRY(local_namespace(catalog, parent, arena, &ignored, err));
    }
    TRY(namespace_children(local, parent, true, arena, &names, &count, err));
    for (size_t i = 0; i < count; i++) {
        struct namespace_base base;
        TRY(namespace_read(local, names[i], arena, &base, err));
        if (is_there(&base)) {
            names[live++] = names[i];
        }
    }
    *names_out = names;
    *count_out = live;
    return OK;
}
