/*
 * Tables under their names: dropping, another name, and a name for what lies there already.
 */
#include "icerest/icerest_priv.h"

#include "catalog/changes.h"

static const struct icerest *icerest_of(const struct http_req *req)
{
    return req->ctx;
}

/* --- drop --- */

/** Clients of Python write `True`. */
static enum status read_purge(struct http_req *req, bool *out)
{
    struct str text;
    TRY(http_query(req, "purgeRequested", &text));
    *out = text.ptr != NULL && str_eq_nocase(text, STR("true"));
    return *out || text.ptr == NULL || str_eq_nocase(text, STR("false"))
               ? OK
               : err_set(&req->err, E_INVALID, "purgeRequested=%.*s: it is true or false",
                         STR_ARG(text));
}

static enum http_step drop_end(struct http_req *req)
{
    struct table_name name;
    bool purge = false;
    icerest_missing(req, "NoSuchTableException");
    enum status status = read_purge(req, &purge);
    status = status == OK ? icerest_table_of(req, &name) : status;
    status = status == OK ? catalog_drop_table(icerest_of(req)->catalog, &name, purge, &req->err)
                          : status;
    return status == OK ? http_reply_empty(req, 204) : http_fail(req, status);
}

/* --- rename --- */

enum status icerest_identifier(struct http_req *req, yyjson_val *root, const char *member,
                               struct table_name *out)
{
    yyjson_val *obj = NULL;
    TRY(json_get_obj(root, member, JSON_REQUIRED, &obj, &req->err));
    TRY(icerest_levels(req, obj, "namespace", &out->ns));
    return json_get_str(obj, "name", JSON_REQUIRED, &out->name, &req->err);
}

enum http_step icerest_rename(struct http_req *req, enum catalog_kind kind)
{
    struct table_name from = { 0 }, to = { 0 };
    yyjson_val *root = NULL;
    bool missing_ns = false;
    enum status status = http_body_json(req, &root);
    status = status == OK ? icerest_identifier(req, root, "source", &from) : status;
    status = status == OK ? icerest_identifier(req, root, "destination", &to) : status;
    if (status == OK) {
        status = catalog_rename(icerest_of(req)->catalog, kind, &from, &to, &missing_ns, &req->err);
    }
    icerest_missing(req, missing_ns             ? "NoSuchNamespaceException"
                         : kind == CATALOG_VIEW ? "NoSuchViewException"
                                                : "NoSuchTableException");
    if (status == E_NOT_FOUND || status == E_EXISTS) {
        const struct table_name *which = missing_ns || status == E_EXISTS ? &to : &from;
        icerest_about(req, kind == CATALOG_VIEW ? ICEREST_VIEW : ICEREST_TABLE, which->ns,
                      which->name);
    }
    return status == OK ? http_reply_empty(req, 204) : http_fail(req, status);
}

static enum http_step rename_end(struct http_req *req)
{
    return icerest_rename(req, CATALOG_TABLE);
}

/* --- register --- */

static enum status read_registration(struct http_req *req, struct catalog_register_metadata *out)
{
    yyjson_val *root = NULL;
    TRY(http_body_json(req, &root));
    TRY(icerest_namespace_of(req, &out->name.ns));
    TRY(json_get_str(root, "name", JSON_REQUIRED, &out->name.name, &req->err));
    icerest_about(req, ICEREST_TABLE, out->name.ns, out->name.name);
    TRY(json_get_str(root, "metadata-location", JSON_REQUIRED, &out->metadata_location, &req->err));
    return json_get_bool(root, "overwrite", JSON_OPTIONAL, &out->overwrite, &req->err);
}

static enum http_step registered_reply(struct http_req *req, const struct table_name *name,
                                       const struct catalog_loaded *loaded)
{
    AUTO(buf_done) struct buf json;
    struct icerest_access access;
    buf_init(&json, ICEREST_JSON_MAX);
    enum status status = icerest_access_of(req, name, loaded->location, icerest_wish_of(req),
                                           &access);
    if (status != OK) {
        return http_fail(req, status);
    }
    struct json_writer w;
    json_writer_init(&w, &json);
    jw_obj_begin(&w);
    jw_kv_str(&w, "metadata-location", loaded->metadata_location);
    jw_key(&w, STR("metadata"));
    jw_raw(&w, buf_str(&loaded->metadata));
    icerest_write_access(&w, req, &access);
    jw_obj_end(&w);
    return icerest_reply(req, &w, &json);
}

static enum http_step register_end(struct http_req *req)
{
    struct catalog_register_metadata request = { .deadline = req->deadline };
    struct catalog_loaded loaded;
    icerest_missing(req, "NoSuchNamespaceException");
    enum status status = read_registration(req, &request);
    if (status == OK) {
        status = catalog_register_metadata(icerest_of(req)->catalog, &request, &req->arena, &loaded,
                                           &req->err);
    }
    if (status != OK) {
        return http_fail(req, status);
    }
    enum http_step step = registered_reply(req, &request.name, &loaded);
    buf_done(&loaded.metadata);
    return step;
}

static const struct http_handler rename_handler = { .end = rename_end,
                                                    .state_bytes = sizeof(struct icerest_state) };
static const struct http_handler register_handler = { .end = register_end,
                                                      .state_bytes = sizeof(struct icerest_state) };
static const struct http_handler drop_handler = { .end = drop_end,
                                                  .state_bytes = sizeof(struct icerest_state) };

const struct icerest_endpoint *icerest_move_endpoints(size_t *count_out)
{
    static const struct icerest_endpoint endpoints[] = {
        { .method = HTTP_DELETE,
          .pattern = "/namespaces/{namespace}/tables/{table}",
          .handler = &drop_handler },
        { .method = HTTP_POST, .pattern = "/tables/rename", .handler = &rename_handler },
        { .method = HTTP_POST,
          .pattern = "/namespaces/{namespace}/register",
          .handler = &register_handler },
    };
    *count_out = ARRAY_LEN(endpoints);
    return endpoints;
}
