/*
 * Without memory each operation says so, blames nobody, gives back what it took, and leaves what
 * was there as it was; asked again, it does what it is for.
 */
#include "desk.h"

#include <stdio.h>
#include <string.h>

#define XML_TAGS "<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>"
#define XML_CORS                                                                                   \
    "<CORSConfiguration><CORSRule><AllowedOrigin>https://*.example.org</AllowedOrigin>"            \
    "<AllowedMethod>GET</AllowedMethod><AllowedHeader>x-*</AllowedHeader>"                         \
    "<ExposeHeader>ETag</ExposeHeader></CORSRule></CORSConfiguration>"
#define XML_ACP                                                                                    \
    "<AccessControlPolicy><AccessControlList><Grant><Grantee><URI>"                                \
    "http://acs.amazonaws.com/groups/global/AllUsers</URI></Grantee>"                              \
    "<Permission>READ</Permission></Grant></AccessControlList></AccessControlPolicy>"
#define XML_DELETE                                                                                 \
    "<Delete><Object><Key>gone/1</Key></Object><Object><Key>gone/2</Key></Object></Delete>"

static const struct {
    int status;
    struct ask ask;
} asks[] = {
    { 200,
      { .method = "PUT", .target = "/new-bucket", .headers = { "x-amz-acl", "public-read" } } },
    { 200, { .method = "HEAD", .target = "/bkt" } },
    { 200, { .method = "GET", .target = "/?max-buckets=1" } },
    { 200, { .method = "GET", .target = "/bkt?location" } },
    { 200, { .method = "PUT", .target = "/bkt?acl", .body = XML_ACP } },
    { 200, { .method = "GET", .target = "/bkt?acl" } },
    { 200, { .method = "PUT", .target = "/bkt?cors", .body = XML_CORS } },
    { 200, { .method = "GET", .target = "/bkt?cors" } },
    { 200,
      { .method = "OPTIONS",
        .target = "/bkt/k",
        .key = "",
        .headers = { "Origin", "https://a.example.org", "Access-Control-Request-Method", "GET",
                     "Access-Control-Request-Headers", "x-a, x-b" } } },
    { 204, { .method = "PUT", .target = "/bkt?tagging", .body = XML_TAGS } },
    { 200, { .method = "GET", .target = "/bkt?tagging" } },
    { 200,
      { .method = "PUT",
        .target = "/bkt/a%20b?x-id=PutObject",
        .body = "bytes that come in pieces",
        .piece_bytes = 7,
        .headers = { "Content-Type", "text/plain", "x-amz-meta-One", "1", "x-amz-meta-one", "2",
                     "x-amz-tagging", "a=b&c=d", "Content-Encoding", "aws-chunked, gzip" } } },
    { 200,
      { .method = "PUT",
        .target = "/bkt/sha",
        .body = "hello",
        .headers = { "x-amz-checksum-sha256", "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=",
                     "Content-MD5", "XUFAKrxLKna5cZ2REBfFkg==" } } },
    { 200,
      { .method = "GET", .target = "/bkt/k", .headers = { "Origin", "https://a.example.org" } } },
    { 200, { .method = "GET", .target = "/bkt/k?response-content-type=text%2Fhtml" } },
    { 206, { .method = "GET", .target = "/bkt/k", .headers = { "Range", "bytes=1-2" } } },
    { 200,
      { .method = "HEAD", .target = "/bkt/k", .headers = { "x-amz-checksum-mode", "ENABLED" } } },
    { 200,
      { .method = "GET",
        .target = "/bkt/k?attributes",
        .headers = { "x-amz-object-attributes", "ETag,Checksum", "x-amz-object-attributes",
                     "ObjectSize" } } },
    { 404, { .method = "GET", .target = "/bkt/none" } },
    { 200,
      { .method = "PUT",
        .target = "/bkt/copy",
        .headers = { "x-amz-copy-source", "/bkt/k", "x-amz-checksum-algorithm", "SHA1" } } },
    { 200,
      { .method = "PUT",
        .target = "/bkt/copy",
        .headers = { "x-amz-copy-source", "bkt%2Fk", "x-amz-metadata-directive", "REPLACE",
                     "x-amz-meta-a", "b" } } },
    { 200, { .method = "PUT", .target = "/bkt/k?tagging", .body = XML_TAGS } },
    { 200, { .method = "GET", .target = "/bkt/k?tagging" } },
    { 200, { .method = "PUT", .target = "/bkt/k?acl", .headers = { "x-amz-acl", "public-read" } } },
    { 200, { .method = "GET", .target = "/bkt/k?acl" } },
    { 200,
      { .method = "GET", .target = "/bkt?prefix=a&delimiter=/&encoding-type=url&max-keys=1" } },
    { 200, { .method = "GET", .target = "/bkt?list-type=2&max-keys=1&fetch-owner=true" } },
    { 200, { .method = "GET", .target = "/bkt?list-type=2&continuation-token=YQ==" } },
    { 200, { .method = "GET", .target = "/bkt?versions" } },
    { 200, { .method = "POST", .target = "/bkt/up?uploads" } },
    { 200, { .method = "GET", .target = "/bkt?uploads&delimiter=/&max-uploads=1" } },
    { 200, { .method = "POST", .target = "/bkt?delete", .body = XML_DELETE } },
    { 204, { .method = "DELETE", .target = "/bkt/k2", .headers = { "If-Match", "*" } } },
};

/** Until it needs no more than there is. How often it failed. */
static size_t starve(struct desk *desk, int status, const struct ask *ask)
{
    size_t failures = 0;
    for (long nth = 0;; nth++) {
        struct err err = { 0 };
        desk->fail_nth = nth;
        enum status made = desk_try(desk, ask, &err);
        desk->fail_nth = -1;
        if (!desk->failed) {
            assert_int_equal(made, OK);
            if (desk->answer.status != status) {
                fail_msg("%s %s: %d: %s", ask->method, ask->target, desk->answer.status,
                         desk_body(desk));
            }
            return failures;
        }
        failures++;
        int got = made == OK ? desk->answer.status : 503;
        if (got != 503 && got != 500 && got != status && !desk->answer.cut) {
            fail_msg("%s %s without its allocation %ld: %d: %s", ask->method, ask->target, nth, got,
                     desk_body(desk));
        }
    }
}

static void each_operation_fails_as_our_fault_and_can_be_made_again(void **state)
{
    struct desk *desk = *state;
    ASK(200, "PUT", "/bkt/k", .body = "hello", .headers = { "x-amz-meta-a", "b" });
    ASK(200, "PUT", "/bkt/a/1", .body = "x");
    ASK(200, "PUT", "/bkt/k2", .body = "x");
    for (size_t i = 0; i < ARRAY_LEN(asks); i++) {
        assert_true(starve(desk, asks[i].status, &asks[i].ask) > 2);
    }
    ASK(200, "GET", "/bkt/k");
    assert_string_equal(desk_body(desk), "hello");
    assert_string_equal(desk_header(desk, "x-amz-meta-a"), "b");
    assert_string_equal(desk_header(desk, "x-amz-tagging-count"), "1");
    ASK(200, "GET", "/bkt/a%20b");
    assert_string_equal(desk_body(desk), "bytes that come in pieces");
    assert_string_equal(desk_header(desk, "x-amz-meta-one"), "1,2");
    assert_string_equal(desk_header(desk, "Content-Encoding"), "gzip");
}

static void an_upload_in_parts_survives_each_failure(void **state)
{
    struct desk *desk = *state;
    static const char *const algorithms[] = { "CRC32", "SHA1", NULL };
    for (size_t i = 0; i < ARRAY_LEN(algorithms); i++) {
        char begin[256], part[256], copied[256], list[256], etag[64], second[64];
        static char body[1024];
        const char *algorithm = algorithms[i];
        ASK(200, "PUT", "/bkt/source", .body = "source");
        snprintf(begin, sizeof begin, "/bkt/up%zu?uploads", i);
        ASK(200, "POST", begin,
            .headers = { algorithm != NULL ? "x-amz-checksum-algorithm" : NULL, algorithm });
        const char *id = desk_texts(desk, "UploadId");
        snprintf(part, sizeof part, "/bkt/up%zu?partNumber=1&uploadId=%s", i, id);
        snprintf(copied, sizeof copied, "/bkt/up%zu?partNumber=2&uploadId=%s", i, id);
        snprintf(list, sizeof list, "/bkt/up%zu?uploadId=%s", i, id);
        struct ask send = { .method = "PUT", .target = part, .body = "hello" };
        const char *name = i == 0   ? "x-amz-checksum-crc32"
                           : i == 1 ? "x-amz-checksum-sha1"
                                    : "x-amz-checksum-crc32c";
        send.headers[0] = name; /* without an algorithm the object's own is kept beside it */
        send.headers[1] = i == 0   ? "NhCmhg=="
                          : i == 1 ? "qvTGHdzF6KLavt4PO0gs2a6pQ00="
                                   : "mnG7TA==";
        assert_true(starve(desk, 200, &send) > 2);
        snprintf(etag, sizeof etag, "%s", desk_header(desk, "ETag"));
        struct ask copy = { .method = "PUT",
                            .target = copied,
                            .headers = { "x-amz-copy-source", "bkt/source",
                                         "x-amz-copy-source-range", "bytes=0-5" } };
        assert_true(starve(desk, 200, &copy) > 2);
        snprintf(second, sizeof second, "%s", desk_texts(desk, "ETag"));
        struct ask listing = { .method = "GET", .target = list };
        assert_true(starve(desk, 200, &listing) > 2);
        snprintf(body, sizeof body,
                 "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>%s</ETag>"
                 "<Checksum%s>%s</Checksum%s></Part></CompleteMultipartUpload>",
                 etag,
                 i == 0   ? "CRC32"
                 : i == 1 ? "SHA1"
                          : "CRC32C",
                 send.headers[1],
                 i == 0   ? "CRC32"
                 : i == 1 ? "SHA1"
                          : "CRC32C");
        struct ask complete = { .method = "POST", .target = list, .body = body };
        assert_true(starve(desk, 200, &complete) > 2);
        assert_string_equal(desk_texts(desk, "ChecksumType"),
                            i == 1 || i == 0 ? "COMPOSITE" : "FULL_OBJECT");
        snprintf(part, sizeof part, "/bkt/up%zu", i);
        ASK(200, "GET", part);
        assert_string_equal(desk_body(desk), "hello");
    }
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, desk_up, desk_down)
    const struct CMUnitTest tests[] = {
        T(each_operation_fails_as_our_fault_and_can_be_made_again),
        T(an_upload_in_parts_survives_each_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
