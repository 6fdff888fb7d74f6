/*
 * Namespaces: which there are, their properties, making and dropping them. "location" is always
 * among the properties: Trino makes a table in two steps only where it sees one.
 */
#include "icerest/icerest_priv.h"

#include "base/encode.h"
#include "catalog/changes.h"

static const struct icerest *icerest_of(const struct http_req *req)
{
    return req->ctx;
}

static enum http_step list_reply(struct http_req *req, const struct str *names,
                                 const struct icerest_page *page)
{
    AUTO(buf_done) struct buf json;
    buf_init(&json, ICEREST_JSON_MAX);
    struct json_writer w;
    json_writer_init(&w, &json);
    jw_obj_begin(&w);
    jw_kv_arr(&w, "namespaces");
    assert(names != NULL || page->to == 0);
    for (size_t i = page->from; i < page->to; i++) {
        icerest_write_levels(&w, names[i]);
    }
    jw_arr_end(&w);
    icerest_write_next(&w, page, names);
    jw_obj_end(&w);
    return icerest_reply(req, &w, &json);
}

/**
 * The children of `parent`. PyIceberg encodes its levels once more than a query is encoded anyway:
 * what is no namespace as it stands may be one behind that.
 */
static enum status children(struct http_req *req, struct str **names_out, size_t *count_out)
{
    struct catalog *catalog = icerest_of(req)->catalog;
    struct str parent, decoded;
    TRY(http_query(req, "parent", &parent));
    icerest_about(req, ICEREST_NAMESPACE, parent, STR_EMPTY);
    enum status status = catalog_namespaces(catalog, parent, &req->arena, names_out, count_out,
                                            &req->err);
    if (status != E_NOT_FOUND || str_find_char(parent, '%') == SIZE_MAX ||
        percent_decode(&req->arena, parent, false, &decoded, NULL) != OK) {
        return status;
    }
    icerest_about(req, ICEREST_NAMESPACE, decoded, STR_EMPTY);
    return catalog_namespaces(catalog, decoded, &req->arena, names_out, count_out, &req->err);
}

static enum http_step list_end(struct http_req *req)
{
    struct str *names = NULL;
    size_t count = 0;
    struct icerest_page page;
    icerest_missing(req, "NoSuchNamespaceException");
    enum status status = children(req, &names, &count);
    status = status == OK ? icerest_page_of(req, names, count, &page) : status;
    return status == OK ? list_reply(req, names, &page) : http_fail(req, status);
}

/* --- one --- */

static enum http_step namespace_reply(struct http_req *req, struct str ns,
                                      const struct catalog_namespace *found)
{
    AUTO(buf_done) struct buf json;
    buf_init(&json, ICEREST_JSON_MAX);
    struct json_writer w;
    json_writer_init(&w, &json);
    jw_obj_begin(&w);
    jw_key(&w, STR("namespace"));
    icerest_write_levels(&w, ns);
    jw_kv_obj(&w, "properties");
    for (size_t i = 0; i < found->property_count; i++) {
        jw_key(&w, found->properties[i].name);
        jw_str(&w, found->properties[i].value);
    }
    jw_obj_end(&w);
    jw_obj_end(&w);
    return icerest_reply(req, &w, &json);
}

static enum http_step get_end(struct http_req *req)
{
    struct str ns;
    struct catalog_namespace found;
    icerest_missing(req, "NoSuchNamespaceException");
    enum status status = icerest_namespace_of(req, &ns);
    if (status == OK) {
        status = catalog_namespace(icerest_of(req)->catalog, ns, &req->arena, &found, &req->err);
    }
    if (status != OK) {
        return http_fail(req, status);
    }
    return req->method == HTTP_HEAD ? http_reply_empty(req, 204) : namespace_reply(req, ns, &found);
}

/* --- create --- */

/** The object of strings `name`, or none. Names and values borrow from the document. */
static enum status read_properties(struct http_req *req, yyjson_val *root, const char *name,
                                   struct ice_property **out, size_t *count_out)
{
    yyjson_val *obj = NULL, *key, *val;
    size_t i, max, count = 0;
    TRY(json_get_obj(root, name, JSON_OPTIONAL, &obj, &req->err));
    struct ice_property *properties = arena_array(&req->arena, yyjson_obj_size(obj),
                                                  sizeof(*properties));
    if (properties == NULL) {
        return err_no_memory(&req->err);
    }
    if (obj != NULL) {
        yyjson_obj_foreach(obj, i, max, key, val)
        {
            if (!yyjson_is_str(val)) {
                return err_set(&req->err, E_INVALID, "\"%s\": the value of \"%s\" is no string",
                               name, yyjson_get_str(key));
            }
            properties[count++] = (struct ice_property){
                .name = str_from(yyjson_get_str(key), yyjson_get_len(key)),
                .value = str_from(yyjson_get_str(val), yyjson_get_len(val)),
            };
        }
    }
    *out = properties;
    *count_out = count;
    return OK;
}

static enum http_step create_end(struct http_req *req)
{
    struct catalog *catalog = icerest_of(req)->catalog;
    struct catalog_namespace made;
    struct ice_property *properties = NULL;
    yyjson_val *root = NULL;
    size_t count = 0;
    struct str ns = STR_EMPTY;
    icerest_missing(req, "NoSuchNamespaceException");
    enum status status = http_body_json(req, &root);
    status = status == OK ? icerest_levels(req, root, "namespace", &ns) : status;
    if (status == OK) {
        icerest_about(req, ICEREST_NAMESPACE, ns, STR_EMPTY);
    }
    status = status == OK ? read_properties(req, root, "properties", &properties, &count) : status;
    if (status == OK) {
        status = catalog_namespace_create(catalog, ns, properties, count, &req->arena, &made,
                                          &req->err);
    }
    if (status == E_NOT_FOUND) { /* that is its parent */
        icerest_about(req, ICEREST_NAMESPACE,
                      str_take(ns, str_rfind_char(ns, CATALOG_NS_SEPARATOR)), STR_EMPTY);
    }
    return status == OK ? namespace_reply(req, ns, &made) : http_fail(req, status);
}

/* --- properties --- */

static enum status read_removals(struct http_req *req, yyjson_val *root, struct str **out,
                                 size_t *count_out)
{
    yyjson_val *arr = NULL, *val;
    size_t i, max;
    TRY(json_get_arr(root, "removals", JSON_OPTIONAL, &arr, &req->err));
    struct str *names = arena_array(&req->arena, yyjson_arr_size(arr), sizeof(*names));
    if (names == NULL) {
        return err_no_memory(&req->err);
    }
    if (arr != NULL) {
        yyjson_arr_foreach(arr, i, max, val)
        {
            if (!yyjson_is_str(val)) {
                return err_set(&req->err, E_INVALID, "\"removals\": entry %zu is no string", i);
            }
            names[i] = str_from(yyjson_get_str(val), yyjson_get_len(val));
        }
    }
    *out = names;
    *count_out = yyjson_arr_size(arr);
    return OK;
}

static enum status read_update(struct http_req *req, struct catalog_namespace_update *out)
{
    yyjson_val *root = NULL;
    struct ice_property *set = NULL;
    struct str *remove = NULL;
    TRY(http_body_json(req, &root));
    TRY(read_properties(req, root, "updates", &set, &out->set_count));
    TRY(read_removals(req, root, &remove, &out->remove_count));
    out->set = set;
    out->remove = remove;
    return OK;
}

/** A key that is to be set and removed, or NULL. */
static const struct str *find_both(const struct catalog_namespace_update *update)
{
    for (size_t i = 0; i < update->set_count; i++) {
        for (size_t k = 0; k < update->remove_count; k++) {
            if (str_eq(update->set[i].name, update->remove[k])) {
                return &update->remove[k];
            }
        }
    }
    return NULL;
}

static void write_names(struct json_writer *w, const char *key, const struct str *names,
                        size_t count)
{
    jw_kv_arr(w, key);
    for (size_t i = 0; i < count; i++) {
        jw_str(w, names[i]);
    }
    jw_arr_end(w);
}

static enum http_step updated_reply(struct http_req *req,
                                    const struct catalog_namespace_updated *updated)
{
    AUTO(buf_done) struct buf json;
    buf_init(&json, ICEREST_JSON_MAX);
    struct json_writer w;
    json_writer_init(&w, &json);
    jw_obj_begin(&w);
    write_names(&w, "updated", updated->updated, updated->updated_count);
    write_names(&w, "removed", updated->removed, updated->removed_count);
    write_names(&w, "missing", updated->missing, updated->missing_count);
    jw_obj_end(&w);
    return icerest_reply(req, &w, &json);
}

static enum http_step update_end(struct http_req *req)
{
    struct catalog_namespace_update update = { 0 };
    struct catalog_namespace_updated updated;
    struct str ns;
    icerest_missing(req, "NoSuchNamespaceException");
    enum status status = icerest_namespace_of(req, &ns);
    status = status == OK ? read_update(req, &update) : status;
    if (status != OK) {
        return http_fail(req, status);
    }
    const struct str *both = find_both(&update);
    if (both != NULL) {
        (void)err_set(&req->err, E_INVALID, "\"%.*s\" is to be set and removed", STR_ARG(*both));
        return icerest_refuse(req, 422);
    }
    status = catalog_namespace_update(icerest_of(req)->catalog, ns, &update, &req->arena, &updated,
                                      &req->err);
    return status == OK ? updated_reply(req, &updated) : http_fail(req, status);
}

/* --- drop --- */

static enum http_step drop_end(struct http_req *req)
{
    struct str ns;
    icerest_missing(req, "NoSuchNamespaceException");
    icerest_conflict(req, "NamespaceNotEmptyException");
    enum status status = icerest_namespace_of(req, &ns);
    status = status == OK ? catalog_namespace_drop(icerest_of(req)->catalog, ns, &req->err)
                          : status;
    return status == OK ? http_reply_empty(req, 204) : http_fail(req, status);
}

static const struct http_handler list_handler = { .end = list_end,
                                                  .state_bytes = sizeof(struct icerest_state) };
static const struct http_handler get_handler = { .end = get_end,
                                                 .state_bytes = sizeof(struct icerest_state) };
static const struct http_handler create_handler = { .end = create_end,
                                                    .state_bytes = sizeof(struct icerest_state) };
static const struct http_handler update_handler = { .end = update_end,
                                                    .state_bytes = sizeof(struct icerest_state) };
static const struct http_handler drop_handler = { .end = drop_end,
                                                  .state_bytes = sizeof(struct icerest_state) };

const struct icerest_endpoint *icerest_namespace_endpoints(size_t *count_out)
{
    static const struct icerest_endpoint endpoints[] = {
        { .method = HTTP_GET, .pattern = "/namespaces", .handler = &list_handler },
        { .method = HTTP_GET,
          .pattern = "/namespaces/{namespace}",
          .handler = &get_handler,
          .head = true },
        { .method = HTTP_POST, .pattern = "/namespaces", .handler = &create_handler },
        { .method = HTTP_POST,
          .pattern = "/namespaces/{namespace}/properties",
          .handler = &update_handler },
        { .method = HTTP_DELETE, .pattern = "/namespaces/{namespace}", .handler = &drop_handler },
    };
    *count_out = ARRAY_LEN(endpoints);
    return endpoints;
}
