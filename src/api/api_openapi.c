/*
 * The document lies in the program byte for byte; the Makefile knows that this file depends on it.
 */
#include "api/api_openapi.h"

/* the path is seen from the top of the tree, where everything is compiled */
__asm__(".pushsection .rodata\n"
        "api_openapi_text:\n"
        ".incbin \"src/api/openapi.json\"\n"
        "1:\n"
        ".balign 8\n"
        "api_openapi_bytes:\n"
        ".quad 1b - api_openapi_text\n"
        ".popsection\n");

extern const char api_openapi_text[] __attribute__((visibility("hidden")));
extern const uint64_t api_openapi_bytes __attribute__((visibility("hidden")));

static enum http_step openapi_end(struct http_req *req)
{
    struct str text = str_from(api_openapi_text, (size_t)api_openapi_bytes);
    return http_reply(req, 200, "application/json", text);
}

static const struct http_handler openapi_handler = { .end = openapi_end };

static const struct http_route routes[] = {
    { .method = HTTP_GET,
      .pattern = "/openapi.json",
      .handler = &openapi_handler,
      .flags = HTTP_INLINE | HTTP_QUIET },
};

const struct http_route *api_openapi_routes(size_t *count_out)
{
    *count_out = ARRAY_LEN(routes);
    return routes;
}
