/*
 * The health of the services inside `serve`: they live and die with the process that answers, so it
 * is "ok" for each that is there, and 404 for a name that is none.
 */
#include "api/api_health.h"

static enum http_step health_end(struct http_req *req)
{
    const struct api_health *health = req->ctx;
    struct str wanted = http_param(req, "service");
    size_t i = 0;
    while (health->services[i] != NULL && !str_eq(wanted, str_of(health->services[i]))) {
        i++;
    }
    if (health->services[i] == NULL) {
        return http_fail(req, err_set(&req->err, E_NOT_FOUND, "there is no service \"%.*s\" here",
                                      STR_ARG(wanted)));
    }
    struct buf json;
    struct json_writer w;
    buf_init(&json, 4096);
    json_writer_init(&w, &json);
    jw_obj_begin(&w);
    jw_kv_cstr(&w, "status", "ok");
    jw_kv_cstr(&w, "service", health->services[i]);
    jw_kv_cstr(&w, "version", health->version);
    jw_obj_end(&w);
    if (json_writer_end(&w) != OK) {
        buf_done(&json);
        return http_fail(req, err_no_memory(&req->err));
    }
    return http_reply_json(req, 200, &json);
}

static const struct http_handler health_handler = { .end = health_end };

static const struct http_route routes[] = {
    { .method = HTTP_GET,
      .pattern = "/health/{service}",
      .handler = &health_handler,
      .flags = HTTP_INLINE | HTTP_QUIET },
};

const struct http_route *api_health_routes(size_t *count_out)
{
    *count_out = ARRAY_LEN(routes);
    return routes;
}
