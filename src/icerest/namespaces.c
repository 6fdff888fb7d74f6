/*
 * Namespaces: which there are, and their properties. "location" is always among these: Trino makes
 * a table in two steps only where it sees one.
 */
#include "icerest/icerest_priv.h"

static const struct icerest *icerest_of(const struct http_req *req)
{
    return req->ctx;
}

static void write_levels(struct json_writer *w, struct str ns)
{
    jw_arr_begin(w);
    jw_str(w, ns);
    jw_arr_end(w);
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
        write_levels(&w, names[i]);
    }
    jw_arr_end(&w);
    icerest_write_next(&w, page, names);
    jw_obj_end(&w);
    return icerest_reply(req, &w, &json);
}

/** The children of `parent`; namespaces have one level, so those of one that is there are none. */
static enum status children(struct http_req *req, struct str **names_out, size_t *count_out)
{
    struct catalog *catalog = icerest_of(req)->catalog;
    struct str parent;
    TRY(http_query(req, "parent", &parent));
    if (parent.len == 0) {
        return catalog_namespaces(catalog, &req->arena, names_out, count_out, &req->err);
    }
    struct catalog_namespace found;
    TRY(catalog_namespace(catalog, parent, &req->arena, &found, &req->err));
    *names_out = NULL;
    *count_out = 0;
    return OK;
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
    if (req->method == HTTP_HEAD) {
        return http_reply_empty(req, 204);
    }
    AUTO(buf_done) struct buf json;
    buf_init(&json, ICEREST_JSON_MAX);
    struct json_writer w;
    json_writer_init(&w, &json);
    jw_obj_begin(&w);
    jw_key(&w, STR("namespace"));
    write_levels(&w, ns);
    jw_kv_obj(&w, "properties");
    for (size_t i = 0; i < found.property_count; i++) {
        jw_key(&w, found.properties[i].name);
        jw_str(&w, found.properties[i].value);
    }
    jw_obj_end(&w);
    jw_obj_end(&w);
    return icerest_reply(req, &w, &json);
}

static const struct http_handler list_handler = { .end = list_end,
                                                  .state_bytes = sizeof(struct icerest_state) };
static const struct http_handler get_handler = { .end = get_end,
                                                 .state_bytes = sizeof(struct icerest_state) };

const struct icerest_endpoint *icerest_namespace_endpoints(size_t *count_out)
{
    static const struct icerest_endpoint endpoints[] = {
        { .method = HTTP_GET, .pattern = "/namespaces", .handler = &list_handler },
        { .method = HTTP_GET,
          .pattern = "/namespaces/{namespace}",
          .handler = &get_handler,
          .head = true },
    };
    *count_out = ARRAY_LEN(endpoints);
    return endpoints;
}
