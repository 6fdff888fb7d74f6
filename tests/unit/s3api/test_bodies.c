/* Bodies: what was promised of them is held to, whatever pieces they come in; XML; many deletes. */
#include "desk.h"

#include <stdio.h>
#include <string.h>

static void a_body_is_held_to_what_was_said_of_it(void **state)
{
    struct desk *desk = *state;
    static const struct {
        const char *headers[5];
        int status;
        const char *code;
    } cases[] = {
        { { NULL }, 200, NULL },
        { { "Content-MD5", "XUFAKrxLKna5cZ2REBfFkg==" }, 200, NULL },
        { { "Content-MD5", "1B2M2Y8AsgTpgAmY7PhCfg==" }, 400, "BadDigest" },
        { { "Content-MD5", "short" }, 400, "InvalidDigest" },
        { { "x-amz-checksum-crc32", "NhCmhg==" }, 200, NULL },
        { { "x-amz-checksum-crc32", "AAAAAA==" }, 400, "BadDigest" },
        { { "x-amz-checksum-crc32", "AAAA" }, 400, "InvalidRequest" },
        { { "X-Amz-Checksum-CRC32C", "mnG7TA==" }, 200, NULL },
        { { "x-amz-checksum-sha1", "qvTGHdzF6KLavt4PO0gs2a6pQ00=" }, 200, NULL },
        { { "x-amz-checksum-sha256", "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=" }, 200, NULL },
        { { "x-amz-checksum-crc32", "NhCmhg==", "x-amz-checksum-crc32c", "mnG7TA==" },
          400,
          "InvalidRequest" },
        { { "x-amz-checksum-sha512", "AAAA" }, 400, "InvalidRequest" },
        { { "x-amz-checksum-type", "FULL_OBJECT" }, 200, NULL },
        { { "x-amz-sdk-checksum-algorithm", "CRC32" }, 400, "InvalidRequest" },
        { { "x-amz-sdk-checksum-algorithm", "CRC65" }, 400, "InvalidRequest" },
        { { "x-amz-sdk-checksum-algorithm", "SHA1", "x-amz-checksum-crc32", "NhCmhg==" },
          400,
          "InvalidRequest" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        for (size_t piece = 0; piece < 6; piece++) {
            struct ask ask = {
                .method = "PUT", .target = "/bkt/k", .body = "hello", .piece_bytes = piece
            };
            memcpy(ask.headers, cases[i].headers, sizeof cases[i].headers);
            ASK(204, "DELETE", "/bkt/k");
            desk_ask(desk, cases[i].status, &ask);
            if (cases[i].code != NULL) {
                assert_string_equal(desk_texts(desk, "Code"), cases[i].code);
                ASK(404, "GET", "/bkt/k"); /* nothing of it stays */
            } else {
                ASK(200, "GET", "/bkt/k");
                assert_string_equal(desk_body(desk), "hello");
            }
        }
    }
}

static void what_comes_without_a_checksum_gets_s3s_own(void **state)
{
    struct desk *desk = *state;
    ASK(200, "PUT", "/bkt/k", .body = "123456789"); /* the check value of CRC-64/NVME */
    assert_string_equal(desk_header(desk, "x-amz-checksum-crc64nvme"), "rosUhgp5mIg=");
    assert_string_equal(desk_header(desk, "x-amz-checksum-type"), "FULL_OBJECT");
    ASK(200, "HEAD", "/bkt/k");
    assert_string_equal(desk_header(desk, "x-amz-checksum-crc64nvme"), "");
    ASK(200, "HEAD", "/bkt/k", .headers = { "x-amz-checksum-mode", "ENABLED" });
    assert_string_equal(desk_header(desk, "x-amz-checksum-crc64nvme"), "rosUhgp5mIg=");
    ASK(200, "PUT", "/bkt/k", .body = "hello", .headers = { "x-amz-checksum-crc32", "NhCmhg==" });
    assert_string_equal(desk_header(desk, "x-amz-checksum-crc32"), "NhCmhg==");
    assert_string_equal(desk_header(desk, "x-amz-checksum-crc64nvme"), "");
}

static void the_hash_of_a_body_that_is_none_is_that_of_nothing(void **state)
{
    struct desk *desk = *state;
    static const char *const hashes[] = { AWS_EMPTY_SHA256,
                                          "0000000000000000000000000000000000000000000000000000"
                                          "000000000000" };
    for (size_t i = 0; i < ARRAY_LEN(hashes); i++) {
        struct s3api_request *r = desk_request(desk, "GET", "/bkt/k", NULL);
        r->op = &(struct s3api_op){ .name = "GetObject" };
        r->auth.form = AWS_AUTH_HEADER;
        r->auth.payload = AWS_PAYLOAD_HASH;
        r->auth.payload_text = str_of(hashes[i]);
        assert_int_equal(s3api_body_check(r) == OK, i == 0);
        assert_int_equal(r->code, i == 0 ? AWS_NONE : AWS_CONTENT_SHA256_MISMATCH);
        r->http->has_body = true; /* it is looked at when it has come */
        assert_int_equal(s3api_body_check(r), OK);
    }
    struct s3api_request *r = desk_request(desk, "PUT", "/bkt?tagging", NULL);
    r->op = &(struct s3api_op){ .name = "PutBucketTagging", .body = S3_BODY_XML };
    r->auth.form = AWS_AUTH_HEADER;
    r->auth.payload = AWS_PAYLOAD_STREAM_UNSIGNED_TRAILER;
    r->http->has_body = true;
    assert_int_not_equal(s3api_body_check(r), OK);
    assert_int_equal(r->code, AWS_INVALID_REQUEST);
}

static void what_travels_with_an_object_comes_back(void **state)
{
    struct desk *desk = *state;
    ASK(200, "PUT", "/bkt/k", .body = "x",
        .headers = { "Content-Type", "text/x", "Cache-Control", "no-store", "Content-Encoding",
                     "aws-chunked,gzip", "x-amz-meta-A", "1", "X-Amz-Meta-a", "2",
                     "x-amz-meta-empty", "" });
    ASK(200, "GET", "/bkt/k");
    assert_string_equal(desk_header(desk, "Content-Type"), "text/x");
    assert_string_equal(desk_header(desk, "Cache-Control"), "no-store");
    assert_string_equal(desk_header(desk, "Content-Encoding"), "gzip");
    assert_string_equal(desk_header(desk, "x-amz-meta-a"), "1,2");
    ASK(200, "GET", "/bkt/k?response-content-type=a%2Fb&response-cache-control=x");
    assert_string_equal(desk_header(desk, "Content-Type"), "a/b");
    assert_string_equal(desk_header(desk, "Cache-Control"), "x");
    ASK(200, "PUT", "/bkt/copy", .headers = { "x-amz-copy-source", "bkt/k" });
    ASK(200, "GET", "/bkt/copy");
    assert_string_equal(desk_header(desk, "x-amz-meta-a"), "1,2");
    ASK(200, "PUT", "/bkt/copy",
        .headers = { "x-amz-copy-source", "bkt/k", "x-amz-metadata-directive", "REPLACE",
                     "x-amz-meta-b", "3" });
    ASK(200, "GET", "/bkt/copy");
    assert_string_equal(desk_header(desk, "x-amz-meta-a"), "");
    assert_string_equal(desk_header(desk, "x-amz-meta-b"), "3");
    REFUSED(400, "InvalidRequest", "PUT", "/bkt/k", .headers = { "x-amz-copy-source", "bkt/k" });
    REFUSED(501, "NotImplemented", "PUT", "/bkt/k", .body = "x",
            .headers = { "x-amz-server-side-encryption", "AES256" });
    REFUSED(400, "InvalidStorageClass", "PUT", "/bkt/k", .body = "x",
            .headers = { "x-amz-storage-class", "GLACIER" });
    char large[S3_META_BYTES_MAX + 2] = { 0 };
    memset(large, 'x', S3_META_BYTES_MAX + 1);
    REFUSED(400, "MetadataTooLarge", "PUT", "/bkt/k", .body = "x",
            .headers = { "x-amz-meta-a", large });
}

static void many_are_deleted_by_one_request(void **state)
{
    struct desk *desk = *state;
    ASK(200, "PUT", "/bkt/a", .body = "x");
    ASK(200, "PUT", "/bkt/b%20c", .body = "x");
    ASK(200, "POST", "/bkt?delete",
        .body = "<Delete><Object><Key>a</Key></Object><Object><Key>none</Key></Object></Delete>");
    assert_string_equal(desk_texts(desk, "Key"), "a,none");
    ASK(200, "POST", "/bkt?delete",
        .body = "<Delete><Quiet>true</Quiet><Object><Key>b c</Key></Object></Delete>");
    assert_string_equal(desk_texts(desk, "Key"), "");
    ASK(200, "GET", "/bkt");
    assert_string_equal(desk_texts(desk, "Key"), "");
    REFUSED(400, "MalformedXML", "POST", "/bkt?delete", .body = "<Delete></Delete>");
    REFUSED(400, "MalformedXML", "POST", "/bkt?delete", .body = "<Delete><Object/>");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, desk_up, desk_down)
    const struct CMUnitTest tests[] = {
        T(a_body_is_held_to_what_was_said_of_it),
        T(what_comes_without_a_checksum_gets_s3s_own),
        T(the_hash_of_a_body_that_is_none_is_that_of_nothing),
        T(what_travels_with_an_object_comes_back),
        T(many_are_deleted_by_one_request),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
