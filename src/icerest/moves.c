/*
 * Tables under their names: dropping.
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

static const struct http_handler drop_handler = { .end = drop_end,
                                                  .state_bytes = sizeof(struct icerest_state) };

const struct icerest_endpoint *icerest_move_endpoints(size_t *count_out)
{
    static const struct icerest_endpoint endpoints[] = {
        { .method = HTTP_DELETE,
          .pattern = "/namespaces/{namespace}/tables/{table}",
          .handler = &drop_handler },
    };
    *count_out = ARRAY_LEN(endpoints);
    return endpoints;
}
