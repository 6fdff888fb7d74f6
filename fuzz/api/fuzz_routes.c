/*
 * Any request target, through the guards and the router to the key or the table that it names. The
 * input is `METHOD TARGET` and then lines `Name: value`. What gets through must be what it says, at
 * the service and at a gateway before it: the same key from every spelling of it, never one that
 * climbs.
 */
#include <assert.h>
#include <stdint.h>

#include "api/api_catalog.h"
#include "api/api_storage.h"
#include "base/encode.h"
#include "base/mem.h"
#include "catalog/table_name.h"
#include "http/guard.h"
#include "http/router.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct router service, gateway;

static const struct http_route forwards[] = {
    { .method = HTTP_METHOD_OTHER, .pattern = "/storage", .flags = HTTP_RAW_TAIL },
    { .method = HTTP_METHOD_OTHER, .pattern = "/storage/{rest*}", .flags = HTTP_RAW_TAIL },
    { .method = HTTP_METHOD_OTHER, .pattern = "/catalog/{rest*}", .flags = HTTP_RAW_TAIL },
    { .method = HTTP_GET, .pattern = "/health/{service}" },
};

static void routers_make(void)
{
    size_t count = 0;
    const struct http_route *routes = api_storage_routes(&count);
    if (service.count > 0) {
        return;
    }
    router_init(&service);
    router_init(&gateway);
    for (size_t i = 0; i < count; i++) {
        assert(router_add(&service, "", &routes[i], NULL, NULL) == OK);
    }
    routes = api_catalog_routes(&count);
    for (size_t i = 0; i < count; i++) {
        assert(router_add(&service, "", &routes[i], NULL, NULL) == OK);
    }
    for (size_t i = 0; i < ARRAY_LEN(forwards); i++) {
        assert(router_add(&gateway, "/v1", &forwards[i], NULL, NULL) == OK);
    }
}

static void target_set(struct http_req *req, struct str target)
{
    size_t question = str_find_char(target, '?');
    req->target = target;
    req->path = str_take(target, question == SIZE_MAX ? target.len : question);
    req->query = question == SIZE_MAX ? STR_EMPTY : str_skip(target, question + 1);
}

/* A key that the store takes comes back from its own spelling. */
static void key_check(struct http_req *req, const struct router_entry *entry)
{
    struct str key = req->params[0].value;
    if (store_key_check_plain(key, NULL) != OK) {
        return;
    }
    assert(key.len > 0 && key.ptr[0] != '/' && !str_has_control(key));
    assert(str_find(key, STR("/../")) == SIZE_MAX && !str_eq(key, STR("..")));
    struct buf path;
    struct http_req again = { .method = req->method };
    const struct router_entry *found = NULL;
    struct str allow = STR_EMPTY;
    arena_init(&again.arena, 0);
    buf_init(&path, 0);
    struct str pattern = str_of(entry->pattern);
    assert(buf_append(&path, str_take(pattern, str_find_char(pattern, '{'))) == OK);
    assert(percent_append(&path, key, "") == OK);
    target_set(&again, buf_str(&path));
    assert(guard_target(again.target, false, NULL) == OK);
    assert(router_find(&service, &again, &found, &allow, NULL) == OK && found == entry);
    assert(str_eq(again.params[0].value, key));
    buf_done(&path);
    arena_done(&again.arena);
}

static void table_check(struct str text)
{
    struct table_name name, again;
    struct arena arena;
    struct buf printed;
    arena_init(&arena, 0);
    buf_init(&printed, 0);
    if (table_name_parse(&arena, text, &name, NULL) == OK) { /* what is printed reads the same */
        assert(!str_has_control(text));
        assert(table_name_print(&name, &printed) == OK);
        assert(table_name_parse(&arena, buf_str(&printed), &again, NULL) == OK);
        assert(str_eq(name.ns, again.ns) && str_eq(name.name, again.name));
    }
    buf_done(&printed);
    arena_done(&arena);
}

static void ask_service(struct http_req *req)
{
    const struct router_entry *entry = NULL;
    struct str allow = STR_EMPTY, value = STR_EMPTY;
    static const char *const names[] = { "prefix", "after", "limit", "name" };
    if (router_find(&service, req, &entry, &allow, NULL) == OK) {
        for (size_t i = 0; i < req->param_count; i++) {
            assert(str_find_char(req->params[i].value, '\0') == SIZE_MAX);
            if (str_eq(req->params[i].name, STR("key"))) {
                key_check(req, entry);
            } else {
                table_check(req->params[i].value);
            }
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (http_query(req, names[i], &value) == OK && value.ptr != NULL) {
            assert(value.len <= req->query.len);
        }
    }
}

/* What a gateway forwards means the same to the service as it meant to the client. */
static void ask_gateway(struct http_req *req, struct str target)
{
    const struct router_entry *entry = NULL;
    struct str allow = STR_EMPTY;
    char path[8192] = "/v1";
    if (target.len >= sizeof(path) - 3) {
        return;
    }
    memcpy(path + 3, target.ptr, target.len);
    target_set(req, str_from(path, target.len + 3));
    if (router_find(&gateway, req, &entry, &allow, NULL) == OK && req->param_count > 0) {
        assert((entry->route.flags & HTTP_RAW_TAIL) == 0 || !guard_climbs(req->params[0].value));
    }
}

static void headers_read(struct http_req *req, struct str text)
{
    static const char *const hosts[] = { "lake.example", NULL };
    while (text.ptr != NULL && req->headers.count < 64) {
        struct str value = str_split(&text, '\n'), name = str_split(&value, ':');
        value = value.ptr == NULL ? STR_EMPTY : str_trim(value);
        assert(http_headers_add(&req->headers, &req->arena, name, value) == OK);
    }
    struct str host = http_headers_get(&req->headers, STR("host"));
    struct str origin = http_headers_get(&req->headers, STR("origin"));
    if (guard_framing(&req->headers, false, NULL) == OK) {
        assert(http_headers_count(&req->headers, STR("content-length")) +
                   http_headers_count(&req->headers, STR("transfer-encoding")) <=
               1);
    }
    if (guard_host(host, hosts)) {
        assert(host.len > 0 && str_find_char(host, '/') == SIZE_MAX);
    }
    if (origin.ptr != NULL && guard_origin(origin, host, NULL) == GUARD_ORIGIN_OWN) {
        assert(str_starts(origin, STR("http")) && host.len > 0);
    }
    (void)guard_is_json(http_headers_get(&req->headers, STR("content-type")));
    (void)guard_request_id(http_headers_get(&req->headers, STR("x-request-id")));
    bool partial = false;
    uint64_t offset = 0, length = 0;
    if (http_range_parse(http_headers_get(&req->headers, STR("range")), 1000, &partial, &offset,
                         &length) == OK &&
        partial) {
        assert(length > 0 && offset + length <= 1000);
    }
    for (size_t i = 0; i < req->headers.count; i++) {
        (void)http_header_is_hop(&req->headers, req->headers.items[i].name);
        (void)http_etag_matches(req->headers.items[i].value, STR("e"));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct http_req req = { .content_length = -1 };
    struct str headers = str_from((const char *)data, size), line = str_split(&headers, '\n');
    struct str target = line;
    routers_make();
    arena_init(&req.arena, 0);
    req.method_name = str_split(&target, ' ');
    req.method = http_method_parse(req.method_name);
    if (target.ptr != NULL && guard_target(target, false, NULL) == OK) {
        assert(target.ptr[0] == '/');
        target_set(&req, target);
        assert(str_find(req.path, STR("/../")) == SIZE_MAX);
        assert(str_find(req.path, STR("//")) == SIZE_MAX);
        ask_service(&req);
        ask_gateway(&req, target);
    }
    headers_read(&req, headers);
    arena_done(&req.arena);
    return 0;
}
