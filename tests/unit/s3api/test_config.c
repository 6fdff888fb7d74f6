/* Tags, ACLs and CORS: what is taken, what is kept, whom it lets in. */
#include "desk.h"

#include <stdio.h>
#include <string.h>

static int with_object(void **state)
{
    if (desk_up(state) != 0) {
        return -1;
    }
    struct desk *desk = *state;
    ASK(200, "PUT", "/bkt/k", .body = "hello");
    return 0;
}

/* --- tags --- */

static void tags_of_a_header_are_read_checked_and_packed(void **state)
{
    struct desk *desk = *state;
    static const struct {
        const char *text, *packed; /* NULL: refused */
        enum aws_code code;
    } cases[] = {
        { "", "", 0 },
        { "a=b", "a=b", 0 },
        { "a", "a=", 0 },
        { "a=&b=c", "a=&b=c", 0 },
        { "&a=b&", "a=b", 0 },
        { "a+b=c%20d", "a%20b=c%20d", 0 },
        { "%2B-%3D._%3A/%40=1", "%2B-%3D._%3A%2F%40=1", 0 },
        { "%c3%a9=%C3%A9", "%C3%A9=%C3%A9", 0 },
        { "=b", NULL, AWS_INVALID_ARGUMENT },
        { "a=b&a=c", NULL, AWS_INVALID_ARGUMENT },
        { "a=%zz", NULL, AWS_INVALID_ARGUMENT },
        { "a=%ff", NULL, AWS_INVALID_TAG },
        { "a=b%26c", NULL, AWS_INVALID_TAG },
        { "a%0ab=c", NULL, AWS_INVALID_TAG },
        { "aws:a=b", NULL, AWS_INVALID_TAG },
        { "1&2&3&4&5&6&7&8&9&10", "1=&2=&3=&4=&5=&6=&7=&8=&9=&10=", 0 },
        { "1&2&3&4&5&6&7&8&9&10&11", NULL, AWS_INVALID_TAG },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct s3api_request *r = desk_request(desk, "PUT", "/bkt/k", NULL);
        struct str packed = STR_EMPTY;
        r->has_key = true;
        enum status status = s3api_tags_from_text(r, str_of(cases[i].text), &packed);
        assert_int_equal(status == OK, cases[i].packed != NULL);
        if (status == OK) {
            assert_true(str_eq(packed, str_of(cases[i].packed)));
        } else {
            assert_int_equal(r->code, cases[i].code);
        }
    }
    assert_int_equal(s3api_tags_count(STR("")), 0);
    assert_int_equal(s3api_tags_count(STR("a=b&c=d")), 2);
}

#define TAG(key, value) "<Tag><Key>" key "</Key><Value>" value "</Value></Tag>"

static void tags_of_xml_come_back(void **state)
{
    struct desk *desk = *state;
    ASK(200, "PUT", "/bkt/k?tagging",
        .body = "<Tagging xmlns=\"" AWS_XML_NAMESPACE "\"><TagSet>" TAG("a", "1 + 2")
            TAG("b", "") "</TagSet></Tagging>");
    ASK(200, "GET", "/bkt/k?tagging");
    assert_string_equal(desk_texts(desk, "Key"), "a,b");
    assert_string_equal(desk_texts(desk, "Value"), "1 + 2,");
    ASK(200, "GET", "/bkt/k");
    assert_string_equal(desk_header(desk, "x-amz-tagging-count"), "2");
    ASK(204, "DELETE", "/bkt/k?tagging");
    ASK(200, "GET", "/bkt/k?tagging");
    assert_string_equal(desk_texts(desk, "Key"), "");
    static const struct {
        const char *body, *code;
    } cases[] = {
        { "<Tagging><TagSet>" TAG("a", "1") TAG("a", "2") "</TagSet></Tagging>", "InvalidTag" },
        { "<Tagging><TagSet>" TAG("", "1") "</TagSet></Tagging>", "InvalidTag" },
        { "<Tagging><TagSet>" TAG("a", "{}") "</TagSet></Tagging>", "InvalidTag" },
        { "<Tagging></Tagging>", "MalformedXML" },
        { "<Tags><TagSet></TagSet></Tags>", "MalformedXML" },
        { "<Tagging><TagSet>", "MalformedXML" },
        { "<!DOCTYPE x><Tagging><TagSet></TagSet></Tagging>", "MalformedXML" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        REFUSED(400, cases[i].code, "PUT", "/bkt/k?tagging", .body = cases[i].body);
    }
    REFUSED(404, "NoSuchTagSet", "GET", "/bkt?tagging");
}

/* --- ACLs --- */

static void a_canned_acl_lets_in_whom_it_names(void **state)
{
    struct desk *desk = *state;
    static const struct {
        const char *acl;
        int get, put;
        const char *permissions;
    } cases[] = {
        { "private", 403, 403, "FULL_CONTROL" },
        { "public-read", 200, 403, "FULL_CONTROL,READ" },
        { "public-read-write", 200, 200, "FULL_CONTROL,READ,WRITE" },
        { "authenticated-read", 403, 403, "FULL_CONTROL,READ" },
        { "bucket-owner-full-control", 403, 403, "FULL_CONTROL" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        ASK(200, "PUT", "/bkt?acl", .headers = { "x-amz-acl", cases[i].acl });
        ASK(200, "GET", "/bkt?acl");
        assert_string_equal(desk_texts(desk, "Permission"), cases[i].permissions);
        ASK(cases[i].get, "GET", "/bkt?list-type=2", .key = "");
        ASK(cases[i].put, "PUT", "/bkt/new", .body = "x", .key = "");
        ASK(204, "DELETE", "/bkt/new");
        ASK(200, "PUT", "/bkt/k?acl", .headers = { "x-amz-acl", cases[i].acl });
        ASK(cases[i].get, "GET", "/bkt/k", .key = "");
    }
    ASK(200, "PUT", "/bkt?acl", .headers = { "x-amz-acl", "private" });
    REFUSED(400, "InvalidArgument", "PUT", "/bkt?acl", .headers = { "x-amz-acl", "open" });
    REFUSED(403, "AccessDenied", "GET", "/bkt/none", .key = "");
}

#define GRANT(who, permission)                                                                     \
    "<Grant><Grantee>" who "</Grantee><Permission>" permission "</Permission></Grant>"
#define OWNER "<ID>lakehouse</ID>"
#define ALL "<URI>http://acs.amazonaws.com/groups/global/AllUsers</URI>"
#define KNOWN "<URI>http://acs.amazonaws.com/groups/global/AuthenticatedUsers</URI>"
#define ACP(grants)                                                                                \
    "<AccessControlPolicy><Owner>" OWNER "</Owner><AccessControlList>" grants                      \
    "</AccessControlList></AccessControlPolicy>"

static void a_list_of_grants_is_one_of_the_canned_acls_or_refused(void **state)
{
    struct desk *desk = *state;
    static const struct {
        const char *body;
        int status;
        const char *told; /* permissions, or the error's code */
    } cases[] = {
        { ACP(GRANT(OWNER, "FULL_CONTROL")), 200, "FULL_CONTROL" },
        { ACP(GRANT(ALL, "READ")), 200, "FULL_CONTROL,READ" },
        { ACP(GRANT(OWNER, "FULL_CONTROL") GRANT(ALL, "READ") GRANT(ALL, "WRITE")), 200,
          "FULL_CONTROL,READ,WRITE" },
        { ACP(GRANT(KNOWN, "READ")), 200, "FULL_CONTROL,READ" },
        { ACP(""), 200, "FULL_CONTROL" },
        { ACP(GRANT(ALL, "WRITE")), 501, "NotImplemented" },
        { ACP(GRANT(ALL, "READ_ACP")), 501, "NotImplemented" },
        { ACP(GRANT("<ID>somebody</ID>", "READ")), 501, "NotImplemented" },
        { ACP(GRANT(KNOWN, "READ") GRANT(ALL, "READ")), 501, "NotImplemented" },
        { "<AccessControl></AccessControl>", 400, "MalformedACLError" },
        { "nothing", 400, "MalformedACLError" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        ASK(cases[i].status, "PUT", "/bkt/k?acl", .body = cases[i].body);
        if (cases[i].status != 200) {
            assert_string_equal(desk_texts(desk, "Code"), cases[i].told);
            continue;
        }
        ASK(200, "GET", "/bkt/k?acl");
        assert_string_equal(desk_texts(desk, "Permission"), cases[i].told);
    }
}

static void keys_do_what_their_rights_say(void **state)
{
    struct desk *desk = *state;
    REFUSED(403, "AccessDenied", "PUT", "/bkt/k", .body = "x", .key = "reader");
    REFUSED(403, "AccessDenied", "DELETE", "/bkt", .key = "reader");
    ASK(200, "GET", "/bkt/k", .key = "reader");
    REFUSED(403, "AccessDenied", "GET", "/bkt/k", .key = "narrow");
    ASK(200, "PUT", "/bkt/mine/k", .body = "x", .key = "narrow");
    REFUSED(403, "AccessDenied", "PUT", "/bkt/mine", .body = "x", .key = "narrow");
    REFUSED(403, "AccessDenied", "GET", "/bkt?list-type=2", .key = "narrow");
    ASK(200, "GET", "/bkt?list-type=2&prefix=mine/", .key = "narrow");
    REFUSED(403, "AccessDenied", "PUT", "/bkt/mine/copy", .key = "narrow",
            .headers = { "x-amz-copy-source", "bkt/k" });
    REFUSED(403, "AccessDenied", "PUT", "/bkt?acl", .key = "narrow",
            .headers = { "x-amz-acl", "public-read" });
    REFUSED(403, "AccessDenied", "GET", "/lake/_lake/secret");
    REFUSED(403, "AccessDenied", "PUT", "/lake/wh/x", .body = "x");
    REFUSED(403, "InvalidAccessKeyId", "GET", "/bkt/k", .key = "nobody");
}

/* --- CORS --- */

#define RULE(inside) "<CORSRule>" inside "</CORSRule>"
#define CORS(rules) "<CORSConfiguration>" rules "</CORSConfiguration>"
#define ORIGIN(text) "<AllowedOrigin>" text "</AllowedOrigin>"
#define METHOD(text) "<AllowedMethod>" text "</AllowedMethod>"
#define HEADER(text) "<AllowedHeader>" text "</AllowedHeader>"
#define EXPOSE(text) "<ExposeHeader>" text "</ExposeHeader>"

static void a_preflight_is_held_against_each_rule(void **state)
{
    struct desk *desk = *state;
    ASK(200, "PUT", "/bkt?cors",
        .body = CORS(RULE(ORIGIN("https://*.example.org") METHOD("GET") METHOD("PUT") HEADER(
            "x-amz-*") HEADER("content-type") EXPOSE("ETag") "<MaxAgeSeconds>60</MaxAgeSeconds>")
                         RULE(ORIGIN("*") METHOD("HEAD"))));
    static const struct {
        const char *origin, *method, *headers;
        int status;
        const char *allowed; /* the origin that is allowed, or the error's code */
    } cases[] = {
        { "https://a.example.org", "GET", NULL, 200, "https://a.example.org" },
        { "https://b.c.example.org", "GET", NULL, 200, "https://b.c.example.org" },
        { "https://a.example.org", "PUT", "X-Amz-Date, Content-Type", 200,
          "https://a.example.org" },
        { "https://a.example.org", "PUT", "x-amz-date,", 200, "https://a.example.org" },
        { "https://anybody.example", "HEAD", NULL, 200, "*" },
        { "https://example.org", "GET", NULL, 403, "AccessForbidden" },
        { "https://a.example.org.example", "GET", NULL, 403, "AccessForbidden" },
        { "https://a.example.org", "DELETE", NULL, 403, "AccessForbidden" },
        { "https://a.example.org", "PUT", "x-other", 403, "AccessForbidden" },
        { "https://a.example.org", "PUT", "x-amz-date, x-other", 403, "AccessForbidden" },
        { "https://anybody.example", "HEAD", "x-amz-date", 403, "AccessForbidden" },
        { "https://a.example.org", "get", NULL, 400, "BadRequest" },
        { "https://a.example.org", "PATCH", NULL, 400, "BadRequest" },
        { "https://a.example.org", "PUT", "a b", 400, "BadRequest" },
        { "https://a.example.org", "PUT", "x-amz-*(", 400, "BadRequest" },
        { NULL, "GET", NULL, 400, "BadRequest" },
        { "https://a.example.org", NULL, NULL, 400, "BadRequest" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct ask ask = { .method = "OPTIONS", .target = "/bkt/k", .key = "" };
        const char *pairs[] = { "Origin",
                                cases[i].origin,
                                "Access-Control-Request-Method",
                                cases[i].method,
                                "Access-Control-Request-Headers",
                                cases[i].headers };
        for (size_t j = 0, at = 0; j < ARRAY_LEN(pairs); j += 2) {
            if (pairs[j + 1] != NULL) {
                ask.headers[at++] = pairs[j];
                ask.headers[at++] = pairs[j + 1];
            }
        }
        desk_ask(desk, cases[i].status, &ask);
        assert_string_equal(cases[i].status == 200
                                ? desk_header(desk, "Access-Control-Allow-Origin")
                                : desk_texts(desk, "Code"),
                            cases[i].allowed);
    }
    ASK(200, "GET", "/bkt/k", .headers = { "Origin", "https://a.example.org" });
    assert_string_equal(desk_header(desk, "Access-Control-Expose-Headers"), "ETag");
    assert_string_equal(desk_header(desk, "Access-Control-Max-Age"), "60");
    ASK(200, "GET", "/bkt/k", .headers = { "Origin", "https://other.example" });
    assert_string_equal(desk_header(desk, "Access-Control-Allow-Origin"), "");
    ASK(204, "DELETE", "/bkt?cors");
    REFUSED(
        403, "AccessForbidden", "OPTIONS", "/bkt/k", .key = "",
        .headers = { "Origin", "https://a.example.org", "Access-Control-Request-Method", "GET" });
    REFUSED(404, "NoSuchCORSConfiguration", "GET", "/bkt?cors");
}

static void rules_that_say_nothing_are_refused(void **state)
{
    struct desk *desk = *state;
    static const struct {
        const char *body, *code;
    } cases[] = {
        { CORS(""), "MalformedXML" },
        { CORS(RULE(ORIGIN("*"))), "MalformedXML" },
        { CORS(RULE(METHOD("GET"))), "MalformedXML" },
        { "<Cors></Cors>", "MalformedXML" },
        { CORS(RULE(ORIGIN("*") METHOD("PATCH"))), "InvalidRequest" },
        { CORS(RULE(ORIGIN("*") METHOD("get"))), "InvalidRequest" },
        { CORS(RULE(ORIGIN("http://*.*") METHOD("GET"))), "InvalidRequest" },
        { CORS(RULE(ORIGIN("*") METHOD("GET") HEADER("a b"))), "InvalidRequest" },
        { CORS(RULE(ORIGIN("*") METHOD("GET") HEADER("x-*-*"))), "InvalidRequest" },
        { CORS(RULE(ORIGIN("*") METHOD("GET") HEADER(""))), "InvalidRequest" },
        { CORS(RULE(ORIGIN("*") METHOD("GET") EXPOSE("*"))), "InvalidRequest" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        REFUSED(400, cases[i].code, "PUT", "/bkt?cors", .body = cases[i].body);
    }
    REFUSED(404, "NoSuchCORSConfiguration", "GET", "/bkt?cors");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, with_object, desk_down)
    const struct CMUnitTest tests[] = {
        T(tags_of_a_header_are_read_checked_and_packed),
        T(tags_of_xml_come_back),
        T(a_canned_acl_lets_in_whom_it_names),
        T(a_list_of_grants_is_one_of_the_canned_acls_or_refused),
        T(keys_do_what_their_rights_say),
        T(a_preflight_is_held_against_each_rule),
        T(rules_that_say_nothing_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
