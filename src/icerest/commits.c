/*
 * What other programs do to tables: create, commit, several commits at once.
 *
 * Clients act on the code of an answer: after 4xx they delete the files of their commit, after 5xx
 * they leave them. So 500 CommitStateUnknownException is said when the outcome is unknown and never
 * else, and a store or a server that has no time is 429: nothing was committed, come back.
 */
#include "icerest/icerest_priv.h"

#include "catalog/changes.h"
#include "iceberg/change.h"

static struct catalog *catalog_of(const struct http_req *req)
{
    return ((const struct icerest *)req->ctx)->catalog;
}

enum http_step icerest_fail_change(struct http_req *req, enum status status)
{
    bool waits = status == E_UNAVAILABLE || status == E_TIMEOUT || status == E_UPSTREAM;
    if (waits && str_starts(str_of(req->err.msg), STR("the outcome is unknown"))) {
        icerest_type(req, "CommitStateUnknownException");
        return http_fail(req, E_INTERNAL);
    }
    if (str_starts(str_of(req->err.msg), STR("requirement failed"))) {
        req->err.msg[0] = 'R'; /* as Java's catalogues spell it, and programs look for it */
    }
    return http_fail(req, waits ? E_RATE : status);
}

/** `loaded` as LoadTableResult, or, the same without credentials, CommitTableResponse. */
static enum http_step reply(struct http_req *req, const struct table_name *name,
                            struct catalog_loaded *loaded, enum icerest_wish wish)
{
    struct icerest_access access;
    AUTO(buf_done) struct buf json;
    buf_init(&json, ICEREST_JSON_MAX);
    enum status status = icerest_access_of(req, name, loaded->location, wish, &access);
    if (status == OK && loaded->metadata_location.len > 0) {
        status = icerest_tell_etag(req, loaded->metadata_location);
    }
    if (status != OK) { /* it has landed: that must not look like a failure */
        struct err why = req->err;
        (void)err_set(&req->err, E_UNAVAILABLE, "the outcome is unknown: %s", why.msg);
        return icerest_fail_change(req, E_UNAVAILABLE);
    }
    struct json_writer w;
    json_writer_init(&w, &json);
    jw_obj_begin(&w);
    if (loaded->metadata_location.len > 0) { /* a staged table has none */
        jw_kv_str(&w, "metadata-location", loaded->metadata_location);
    }
    jw_key(&w, STR("metadata"));
    jw_raw(&w, buf_str(&loaded->metadata));
    icerest_write_access(&w, req, &access);
    jw_obj_end(&w);
    return icerest_reply(req, &w, &json);
}

/* --- create --- */

enum status icerest_read_create(struct http_req *req, enum icerest_thing thing,
                                struct catalog_create *out)
{
    yyjson_val *root = NULL;
    struct catalog_create create = { .deadline = req->deadline };
    icerest_missing(req, "NoSuchNamespaceException");
    TRY(http_body_json(req, &root));
    if (!yyjson_is_obj(root)) {
        return err_set(&req->err, E_INVALID, "the request is no JSON object");
    }
    TRY(json_get_str(root, "name", JSON_REQUIRED, &create.name.name, &req->err));
    TRY(icerest_namespace_of(req, &create.name.ns));
    icerest_about(req, thing, create.name.ns, create.name.name);
    create.request = root;
    *out = create;
    return OK;
}

static enum http_step create_end(struct http_req *req)
{
    struct catalog_create create;
    struct catalog_loaded loaded;
    enum status status = icerest_read_create(req, ICEREST_TABLE, &create);
    if (status == OK) {
        status = json_get_bool(create.request, "stage-create", JSON_OPTIONAL, &create.stage,
                               &req->err);
    }
    if (status == OK) {
        status = catalog_create_table(catalog_of(req), &create, &req->arena, &loaded, &req->err);
    }
    if (status != OK) {
        return icerest_fail_change(req, status);
    }
    enum http_step step = reply(req, &create.name, &loaded, icerest_wish_of(req));
    buf_done(&loaded.metadata);
    return step;
}

/* --- commit --- */

static enum status read_change(struct http_req *req, yyjson_val *root, struct catalog_change *out)
{
    if (!yyjson_is_obj(root)) {
        return err_set(&req->err, E_INVALID, "the request is no JSON object");
    }
    TRY(json_get_arr(root, "requirements", JSON_REQUIRED, &out->requirements, &req->err));
    TRY(json_get_arr(root, "updates", JSON_REQUIRED, &out->updates, &req->err));
    icerest_missing(req, ice_change_creates(out->requirements) ? "NoSuchNamespaceException"
                                                               : "NoSuchTableException");
    return OK;
}

static enum http_step commit_end(struct http_req *req)
{
    struct catalog_change change = { 0 };
    struct catalog_loaded loaded;
    yyjson_val *root = NULL;
    icerest_missing(req, "NoSuchTableException");
    enum status status = icerest_table_of(req, &change.name);
    status = status == OK ? http_body_json(req, &root) : status;
    status = status == OK ? read_change(req, root, &change) : status;
    if (status == OK) {
        status = catalog_change_table(catalog_of(req), &change, req->deadline, &req->arena, &loaded,
                                      &req->err);
    }
    if (status != OK) {
        return icerest_fail_change(req, status);
    }
    enum http_step step = reply(req, &change.name, &loaded, ICEREST_NOTHING);
    buf_done(&loaded.metadata);
    return step;
}

/* --- several at once --- */

static enum status read_one(struct http_req *req, yyjson_val *root, struct catalog_change *out)
{
    yyjson_val *identifier = NULL;
    TRY(read_change(req, root, out));
    TRY(json_get_obj(root, "identifier", JSON_REQUIRED, &identifier, &req->err));
    TRY(json_get_str(identifier, "name", JSON_REQUIRED, &out->name.name, &req->err));
    return icerest_levels(req, identifier, "namespace", &out->name.ns);
}

static enum status read_all(struct http_req *req, struct catalog_change **out, size_t *count_out)
{
    yyjson_val *root = NULL, *arr = NULL, *val;
    size_t i, max;
    TRY(http_body_json(req, &root));
    if (!yyjson_is_obj(root)) {
        return err_set(&req->err, E_INVALID, "the request is no JSON object");
    }
    TRY(json_get_arr(root, "table-changes", JSON_REQUIRED, &arr, &req->err));
    size_t count = yyjson_arr_size(arr);
    struct catalog_change *changes = arena_array(&req->arena, count, sizeof(*changes));
    if (changes == NULL) {
        return err_no_memory(&req->err);
    }
    yyjson_arr_foreach(arr, i, max, val)
    {
        TRY(read_one(req, val, &changes[i]));
    }
    if (count == 1) {
        icerest_about(req, ICEREST_TABLE, changes[0].name.ns, changes[0].name.name);
    }
    *out = changes;
    *count_out = count;
    return OK;
}

static enum http_step transact_end(struct http_req *req)
{
    struct catalog_change *changes = NULL;
    size_t count = 0;
    enum status status = read_all(req, &changes, &count);
    if (status == OK && count == 1) { /* of several, the catalogue's message says which one */
        icerest_about(req, ICEREST_TABLE, changes[0].name.ns, changes[0].name.name);
    }
    if (status == OK) {
        status = catalog_transact(catalog_of(req), changes, count, req->deadline, &req->err);
    }
    return status == OK ? http_reply_empty(req, 204) : icerest_fail_change(req, status);
}

static const struct http_handler create_handler = { .end = create_end,
                                                    .state_bytes = sizeof(struct icerest_state) };
static const struct http_handler commit_handler = { .end = commit_end,
                                                    .state_bytes = sizeof(struct icerest_state) };
static const struct http_handler transact_handler = { .end = transact_end,
                                                      .state_bytes = sizeof(struct icerest_state) };

const struct icerest_endpoint *icerest_commit_endpoints(size_t *count_out)
{
    static const struct icerest_endpoint endpoints[] = {
        { .method = HTTP_POST,
          .pattern = "/namespaces/{namespace}/tables",
          .handler = &create_handler,
          .flags = HTTP_BUSY_IS_RATE },
        { .method = HTTP_POST,
          .pattern = "/namespaces/{namespace}/tables/{table}",
          .handler = &commit_handler,
          .flags = HTTP_BUSY_IS_RATE },
        { .method = HTTP_POST,
          .pattern = "/transactions/commit",
          .handler = &transact_handler,
          .flags = HTTP_BUSY_IS_RATE },
    };
    *count_out = ARRAY_LEN(endpoints);
    return endpoints;
}
