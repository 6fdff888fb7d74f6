/* Addresses, URLs, ranges, ETag lists, errors as JSON, hop-by-hop headers, guards and the router,
 * without a socket. */
#include "http/guard.h"
#include "http/message.h"
#include "http/router.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void addresses_are_parsed_and_faults_named(void **state)
{
    struct http_address address;
    struct err err = { .kind = OK };
    assert_int_equal(http_address_parse(STR("127.0.0.1:3110"), &address, &err), OK);
    assert_string_equal(address.host, "127.0.0.1");
    assert_int_equal(address.port, 3110);
    assert_true(http_address_is_loopback(&address));
    assert_int_equal(http_address_parse(STR("[::1]:0"), &address, &err), OK);
    assert_string_equal(address.host, "::1");
    assert_true(http_address_is_loopback(&address));
    assert_int_equal(http_address_parse(STR(":80"), &address, &err), OK);
    assert_false(http_address_is_loopback(&address));
    static const char *const remote[] = { "0.0.0.0:1", "[::]:1", "10.0.0.1:1",
                                          "localhost.example:1", "128.0.0.1:1" };
    for (size_t i = 0; i < ARRAY_LEN(remote); i++) {
        assert_int_equal(http_address_parse(str_of(remote[i]), &address, &err), OK);
        assert_false(http_address_is_loopback(&address));
    }
    static const char *const bad[] = { "",           "host",   "host:",   "host:65536",
                                       "host:-1",    "::1:80", "[::1:80", "[::1]x:80",
                                       "http://h:1", "a b:1",  "h:1 ",    "h:0x10" };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        err = (struct err){ .kind = OK };
        assert_int_equal(http_address_parse(str_of(bad[i]), &address, &err), E_INVALID);
        assert_int_not_equal(err.msg[0], '\0');
    }
}

static void urls_need_a_scheme_and_keep_their_path(void **state)
{
    struct http_url url;
    struct err err = { .kind = OK };
    assert_int_equal(http_url_parse(STR("http://host:81/api/v2//"), &url, &err), OK);
    assert_string_equal(url.address.host, "host");
    assert_int_equal(url.address.port, 81);
    assert_string_equal(url.path, "/api/v2");
    assert_false(url.tls);
    assert_int_equal(http_url_parse(STR("https://[::1]"), &url, &err), OK);
    assert_int_equal(url.address.port, 443);
    assert_true(url.tls);
    assert_int_equal(http_url_parse(STR("127.0.0.1:3211"), &url, &err), E_INVALID);
    assert_non_null(strstr(err.msg, "http://127.0.0.1:3211"));
    static const char *const bad[] = { "",           "http:/h:1",   "htp://h:1",  "http://",
                                       "http://:80", "http://h:",   "http://h:0", "http://u@h:1",
                                       "http://h?x", "http://h:1x", "http://h /" };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        err = (struct err){ .kind = OK };
        assert_int_equal(http_url_parse(str_of(bad[i]), &url, &err), E_INVALID);
        assert_int_not_equal(err.msg[0], '\0');
    }
}

static void ranges_are_cut_to_the_size(void **state)
{
    static const struct {
        const char *value;
        enum status kind;
        bool partial;
        uint64_t offset, length;
    } cases[] = {
        { "bytes=0-4", OK, true, 0, 5 },
        { "bytes=5-", OK, true, 5, 5 },
        { "bytes=-3", OK, true, 7, 3 },
        { "bytes=-30", OK, true, 0, 10 },
        { "bytes=9-99", OK, true, 9, 1 },
        { " Bytes=0-0 ", OK, true, 0, 1 },
        { "bytes= -1", OK, false, 0, 0 },
        { "bytes=0 - 0", OK, false, 0, 0 },
        { "bytes=10-", E_RANGE, false, 0, 0 },
        { "bytes=-0", E_RANGE, false, 0, 0 },
        { "bytes=4-2", OK, false, 0, 0 },
        { "bytes=0-1,3-4", OK, false, 0, 0 },
        { "lines=1-2", OK, false, 0, 0 },
        { "bytes=a-b", OK, false, 0, 0 },
        { "bytes=-", OK, false, 0, 0 },
        { "bytes=", OK, false, 0, 0 },
        { "", OK, false, 0, 0 },
        { "bytes=0-99999999999999999999", OK, false, 0, 0 },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        bool partial = true;
        uint64_t offset = 0, length = 0;
        assert_int_equal(http_range_parse(str_of(cases[i].value), 10, &partial, &offset, &length),
                         cases[i].kind);
        assert_int_equal(partial, cases[i].partial);
        assert_int_equal(offset, cases[i].offset);
        assert_int_equal(length, cases[i].length);
    }
    bool partial;
    uint64_t offset, length;
    assert_int_equal(http_range_parse(STR("bytes=0-"), 0, &partial, &offset, &length), E_RANGE);
}

static void etag_lists_match_weakly(void **state)
{
    assert_true(http_etag_matches(STR("\"a\", W/\"b\""), STR("b")));
    assert_true(http_etag_matches(STR("*"), STR("x")));
    assert_true(http_etag_matches(STR("abc"), STR("abc")));
    assert_false(http_etag_matches(STR("\"a\", \"bb\""), STR("b")));
    assert_false(http_etag_matches(STR(""), STR("")));
}

static void every_kind_survives_the_way_through_http(void **state)
{
    for (int kind = E_INVALID; kind < E_KIND_COUNT; kind++) {
        struct err err = { .kind = OK }, back = { .kind = OK };
        struct buf body;
        buf_init(&body, 0);
        (void)err_set(&err, (enum status)kind, "say \"%s\"\n", status_name((enum status)kind));
        assert_int_equal(http_error_body(&body, &err, STR("id")), OK);
        int status = http_status_of((enum status)kind);
        assert_in_range(status, 400, 599);
        assert_int_equal(http_error_parse(status, buf_str(&body), &back), kind);
        assert_string_equal(back.msg, err.msg);
        buf_done(&body);
    }
    struct err err = { .kind = OK };
    assert_int_equal(http_error_parse(404, STR("<html>"), &err), E_NOT_FOUND);
    assert_non_null(strstr(err.msg, "404"));
    assert_int_equal(
        http_error_parse(418, STR("{\"error\":{\"code\":\"teapot\",\"message\":\"short\"}}"), &err),
        E_INVALID);
    assert_string_equal(err.msg, "short");
    assert_int_equal(http_error_parse(302, STR(""), &err), E_UPSTREAM);
}

static void hop_headers_are_the_named_ones_too(void **state)
{
    struct arena arena;
    struct http_headers headers = { .items = NULL };
    arena_init(&arena, 0);
    assert_int_equal(http_headers_add(&headers, &arena, STR("Connection"), STR("close, X-Mine")),
                     OK);
    assert_true(http_header_is_hop(&headers, STR("x-mine")));
    assert_true(http_header_is_hop(&headers, STR("TE")));
    assert_true(http_header_is_hop(&headers, STR("Proxy-Authorization")));
    assert_false(http_header_is_hop(&headers, STR("X-Yours")));
    assert_false(http_header_is_hop(&headers, STR("Host")));
    arena_done(&arena);
}

/* --- the router --- */

static const struct http_handler nothing;

static const struct http_route routes[] = {
    { .method = HTTP_GET, .pattern = "/index/{name}", .handler = &nothing },
    { .method = HTTP_GET, .pattern = "/index/all", .handler = &nothing },
    { .method = HTTP_POST, .pattern = "/index/{name}/add", .handler = &nothing },
    { .method = HTTP_METHOD_OTHER, .pattern = "/any/{rest*}", .handler = &nothing },
    { .method = HTTP_GET, .pattern = "/any/thing", .handler = &nothing },
    { .method = HTTP_GET, .pattern = "/", .handler = &nothing },
};

static enum status find(const struct router *router, const char *method, const char *path,
                        struct http_req *req, const struct router_entry **entry)
{
    struct err err = { .kind = OK };
    struct str allow = STR_EMPTY;
    *req = (struct http_req){ .path = str_of(path), .method_name = str_of(method) };
    req->method = http_method_parse(req->method_name);
    arena_init(&req->arena, 0);
    return router_find(router, req, entry, &allow, &err);
}

static void the_most_literal_route_wins(void **state)
{
    static const struct {
        const char *method, *path, *pattern;
        enum status kind;
    } cases[] = {
        { "GET", "/v1/index/all", "/v1/index/all", OK },
        { "HEAD", "/v1/index/x", "/v1/index/{name}", OK },
        { "POST", "/v1/index/x/add", "/v1/index/{name}/add", OK },
        { "GET", "/v1/any/thing", "/v1/any/thing", OK },
        { "PUT", "/v1/any/thing", "/v1/any/{rest*}", OK },
        { "BREW", "/v1/any/a/b", "/v1/any/{rest*}", OK },
        { "GET", "/v1/", "/v1/", OK },
        { "GET", "/v1", NULL, E_NOT_FOUND },
        { "GET", "/v1/index", NULL, E_NOT_FOUND },
        { "GET", "/v1/index/", NULL, E_NOT_FOUND },
        { "GET", "/v1/index/x/", NULL, E_NOT_FOUND },
        { "GET", "/v1/v1/index/x", NULL, E_NOT_FOUND },
        { "GET", "/V1/index/x", NULL, E_NOT_FOUND },
        { "PUT", "/v1/index/x/add", NULL, E_METHOD },
        { "GET", "/v1%2findex/x", NULL, E_INVALID },
    };
    struct router router;
    router_init(&router);
    for (size_t i = 0; i < ARRAY_LEN(routes); i++) {
        assert_int_equal(router_add(&router, "/v1", &routes[i], NULL, NULL), OK);
    }
    assert_int_equal(router_add(&router, "/v1", &routes[0], NULL, NULL), E_INVALID);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct http_req req;
        const struct router_entry *entry = NULL;
        enum status kind = find(&router, cases[i].method, cases[i].path, &req, &entry);
        if (kind != cases[i].kind ||
            (kind == OK && strcmp(entry->pattern, cases[i].pattern) != 0)) {
            fail_msg("%s %s -> %s", cases[i].method, cases[i].path, status_name(kind));
        }
        arena_done(&req.arena);
    }
    router_done(&router);
}

static void running_out_of_memory_is_an_error_and_leaks_nothing(void **state)
{
    for (long nth = 0;; nth++) {
        struct router router;
        router_init(&router);
        mem_fail_nth(nth);
        enum status kind = router_add(&router, "/v1", &routes[0], NULL, NULL);
        bool failed = mem_fail_happened();
        mem_fail_nth(-1);
        router_done(&router);
        assert_int_equal(kind, failed ? E_NO_MEMORY : OK);
        if (!failed) {
            assert_true(nth > 2);
            return;
        }
    }
}

static void secrets_and_ids_are_compared_whole(void **state)
{
    assert_true(guard_secret_eq(STR("abc"), STR("abc")));
    assert_false(guard_secret_eq(STR("abc"), STR("abcd")));
    assert_false(guard_secret_eq(STR("abc"), STR("abd")));
    assert_true(guard_request_id(STR("a.B_c-9")));
    assert_false(guard_request_id(STR("")));
    assert_false(guard_request_id(STR("a b")));
    char long_id[130];
    memset(long_id, 'a', sizeof(long_id));
    assert_true(guard_request_id(str_from(long_id, 128)));
    assert_false(guard_request_id(str_from(long_id, 129)));
    assert_true(guard_is_json(STR("Application/JSON ; charset=utf-8")));
    assert_true(guard_is_json(STR("application/vnd.lake+json")));
    assert_false(guard_is_json(STR("application/jsonp")));
    assert_false(guard_is_json(STR("+json")));
}

static void ways_up_are_found_in_every_spelling(void **state)
{
    (void)state;
    static const char *const bad[] = { "..",      "%2e%2E",   "a/..",     "a/%2e./b",
                                       "..%2Fa",  "a%5c..",   "a%2f.%2e", "%2E%2E%2F",
                                       "a/..\\b", "a%5C%2e.", "../" };
    static const char *const fine[] = { "",       "a",     "a..b",  "...",  "a/.b",    "a/..b",
                                        "%2e",    ".",     "a/./b", "..%",  "..%2",    "..%zz",
                                        "%252e.", "a/b..", "..%20", "%00.", "a%2F%2F", "...%2F" };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_true(guard_climbs(str_of(bad[i])));
    }
    for (size_t i = 0; i < ARRAY_LEN(fine); i++) {
        assert_false(guard_climbs(str_of(fine[i])));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_are_parsed_and_faults_named),
        cmocka_unit_test(urls_need_a_scheme_and_keep_their_path),
        cmocka_unit_test(ranges_are_cut_to_the_size),
        cmocka_unit_test(etag_lists_match_weakly),
        cmocka_unit_test(every_kind_survives_the_way_through_http),
        cmocka_unit_test(hop_headers_are_the_named_ones_too),
        cmocka_unit_test(the_most_literal_route_wins),
        cmocka_unit_test(running_out_of_memory_is_an_error_and_leaks_nothing),
        cmocka_unit_test(secrets_and_ids_are_compared_whole),
        cmocka_unit_test(ways_up_are_found_in_every_spelling),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
