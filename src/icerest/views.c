/*
 * Views: which there are, their metadata, and what other programs do to them.
 *
 * As with tables the metadata leaves as the file that the pointer names. Nothing is lent with it:
 * whoever reads a view reads the tables that it names, and asks for those.
 */
#include "icerest/icerest_priv.h"

#include "catalog/changes.h"

static struct catalog *catalog_of(const struct http_req *req)
{
    return ((const struct icerest *)req->ctx)->catalog;
}

/** LoadViewResult. */
static enum http_step reply(struct http_req *req, struct str metadata_location, struct str metadata)
{
    AUTO(buf_done) struct buf json;
    struct json_writer w;
    buf_init(&json, ICEREST_JSON_MAX);
    json_writer_init(&w, &json);
    jw_obj_begin(&w);
    jw_kv_str(&w, "metadata-location", metadata_location);
    jw_key(&w, STR("metadata"));
    jw_raw(&w, metadata);
    jw_kv_obj(&w, "config");
    jw_obj_end(&w);
    jw_obj_end(&w);
    return icerest_reply(req, &w, &json);
}

static enum http_step reply_loaded(struct http_req *req, enum status status,
                                   struct catalog_loaded *loaded)
{
    if (status != OK) {
        return icerest_fail_change(req, status);
    }
    enum http_step step = reply(req, loaded->metadata_location, buf_str(&loaded->metadata));
    buf_done(&loaded->metadata);
    return step;
}

static enum http_step list_end(struct http_req *req)
{
    return icerest_list(req, CATALOG_VIEW);
}

static enum http_step load_end(struct http_req *req)
{
    struct table_name name;
    struct table_summary view;
    AUTO(buf_done) struct buf metadata;
    buf_init(&metadata, ICEREST_JSON_MAX);
    icerest_missing(req, "NoSuchViewException");
    enum status status = icerest_view_of(req, &name);
    if (status == OK) {
        status = catalog_find_view(catalog_of(req), &name, false, &req->arena, &view, &req->err);
        /* a name that no view can have is one that does not exist */
        status = status == E_INVALID ? err_set(&req->err, E_NOT_FOUND, "%s", req->err.msg) : status;
    }
    if (status != OK) {
        return http_fail(req, status);
    }
    if (req->method == HTTP_HEAD) {
        return http_reply_empty(req, 204);
    }
    status = catalog_metadata_text(catalog_of(req), view.metadata_location, &metadata, &req->err);
    return status == OK ? reply(req, view.metadata_location, buf_str(&metadata))
                        : icerest_fail_load(req, status, view.metadata_location);
}

/* --- what changes them --- */

static enum http_step create_end(struct http_req *req)
{
    struct catalog_create create;
    struct catalog_loaded loaded;
    enum status status = icerest_read_create(req, ICEREST_VIEW, &create);
    if (status == OK) {
        status = catalog_create_view(catalog_of(req), &create, &req->arena, &loaded, &req->err);
    }
    return reply_loaded(req, status, &loaded);
}

static enum status read_change(struct http_req *req, struct catalog_change *out)
{
    yyjson_val *root = NULL;
    icerest_missing(req, "NoSuchViewException");
    TRY(icerest_view_of(req, &out->name));
    TRY(http_body_json(req, &root));
    if (!yyjson_is_obj(root)) {
        return err_set(&req->err, E_INVALID, "the request is no JSON object");
    }
    /* the specification asks for updates alone */
    TRY(json_get_arr(root, "requirements", JSON_OPTIONAL, &out->requirements, &req->err));
    return json_get_arr(root, "updates", JSON_REQUIRED, &out->updates, &req->err);
}

static enum http_step replace_end(struct http_req *req)
{
    struct catalog_change change = { 0 };
    struct catalog_loaded loaded;
    enum status status = read_change(req, &change);
    if (status == OK) {
        status = catalog_change_view(catalog_of(req), &change, req->deadline, &req->arena, &loaded,
                                     &req->err);
    }
    return reply_loaded(req, status, &loaded);
}

static enum status read_registration(struct http_req *req, struct catalog_register_metadata *out)
{
    yyjson_val *root = NULL;
    TRY(http_body_json(req, &root));
    TRY(icerest_namespace_of(req, &out->name.ns));
    TRY(json_get_str(root, "name", JSON_REQUIRED, &out->name.name, &req->err));
    icerest_about(req, ICEREST_VIEW, out->name.ns, out->name.name);
    return json_get_str(root, "metadata-location", JSON_REQUIRED, &out->metadata_location,
                        &req->err);
}

static enum http_step register_end(struct http_req *req)
{
    struct catalog_register_metadata request = { .deadline = req->deadline };
    struct catalog_loaded loaded;
    icerest_missing(req, "NoSuchNamespaceException");
    enum status status = read_registration(req, &request);
    if (status == OK) {
        status = catalog_register_view(catalog_of(req), &request, &req->arena, &loaded, &req->err);
    }
    return reply_loaded(req, status, &loaded);
}

static enum http_step rename_end(struct http_req *req)
{
    return icerest_rename(req, CATALOG_VIEW);
}

static enum http_step drop_end(struct http_req *req)
{
    struct table_name name;
    icerest_missing(req, "NoSuchViewException");
    enum status status = icerest_view_of(req, &name);
    status = status == OK ? catalog_drop_view(catalog_of(req), &name, &req->err) : status;
    return status == OK ? http_reply_empty(req, 204) : http_fail(req, status);
}

#define HANDLER(function) { .end = (function), .state_bytes = sizeof(struct icerest_state) }
static const struct http_handler list_handler = HANDLER(list_end);
static const struct http_handler load_handler = HANDLER(load_end);
static const struct http_handler create_handler = HANDLER(create_end);
static const struct http_handler replace_handler = HANDLER(replace_end);
static const struct http_handler register_handler = HANDLER(register_end);
static const struct http_handler rename_handler = HANDLER(rename_end);
static const struct http_handler drop_handler = HANDLER(drop_end);

const struct icerest_endpoint *icerest_view_endpoints(size_t *count_out)
{
    static const struct icerest_endpoint endpoints[] = {
        { .method = HTTP_GET,
          .pattern = "/namespaces/{namespace}/views",
          .handler = &list_handler },
        { .method = HTTP_POST,
          .pattern = "/namespaces/{namespace}/views",
          .handler = &create_handler,
          .flags = HTTP_BUSY_IS_RATE },
        { .method = HTTP_GET,
          .pattern = "/namespaces/{namespace}/views/{view}",
          .handler = &load_handler,
          .head = true },
        { .method = HTTP_POST,
          .pattern = "/namespaces/{namespace}/views/{view}",
          .handler = &replace_handler,
          .flags = HTTP_BUSY_IS_RATE },
        { .method = HTTP_DELETE,
          .pattern = "/namespaces/{namespace}/views/{view}",
          .handler = &drop_handler },
        { .method = HTTP_POST, .pattern = "/views/rename", .handler = &rename_handler },
        { .method = HTTP_POST,
          .pattern = "/namespaces/{namespace}/register-view",
          .handler = &register_handler },
    };
    *count_out = ARRAY_LEN(endpoints);
    return endpoints;
}
