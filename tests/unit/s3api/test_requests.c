/* From a target to bucket, key, parameters and operation; names of buckets; places of parts. */
#include "desk.h"

#include <string.h>

static void a_target_is_split_into_bucket_and_key(void **state)
{
    struct desk *desk = *state;
    static const struct {
        const char *target, *host, *bucket, *key;
        bool has_bucket, has_key;
    } cases[] = {
        { "/", "localhost", "", "", false, false },
        { "/b", "localhost", "b", "", true, false },
        { "/b/", "localhost", "b", "", true, false },
        { "/b/k", "localhost", "b", "k", true, true },
        { "/b//k", "localhost", "b", "/k", true, true },
        { "/b/a/../k/", "localhost", "b", "a/../k/", true, true },
        { "/b/a+b%20c%2Fd", "localhost", "b", "a+b c/d", true, true },
        { "/k/l?x", "b.s3.example.org", "b", "k/l", true, true },
        { "/k", "b.with.dots.S3.example.org:3120", "b.with.dots", "k", true, true },
        { "/", "b.s3.example.org", "b", "", true, false },
        { "/b/k", "s3.example.org", "b", "k", true, true },
        { "/b/k", "xs3.example.org", "b", "k", true, true },
        { "/b/k", ".s3.example.org", "b", "k", true, true },
        { "//k", "localhost", "", "k", true, true },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *headers[] = { "Host", cases[i].host, NULL };
        struct s3api_request *r = desk_request(desk, "GET", cases[i].target, headers);
        assert_int_equal(s3api_request_read(r), OK);
        assert_true(str_eq(r->bucket_name, str_of(cases[i].bucket)));
        assert_true(str_eq(r->key, str_of(cases[i].key)));
        assert_int_equal(r->has_bucket, cases[i].has_bucket);
        assert_int_equal(r->has_key, cases[i].has_key);
    }
}

static void a_target_that_cannot_be_read_is_refused(void **state)
{
    struct desk *desk = *state;
    static const struct {
        const char *target;
        enum aws_code code;
    } cases[] = {
        { "/b/%zz", AWS_INVALID_URI },        { "/b/%f", AWS_INVALID_URI },
        { "/%zz", AWS_INVALID_URI },          { "/b/k?a=%", AWS_INVALID_URI },
        { "/b/%ff", AWS_INVALID_ARGUMENT }, /* no UTF-8 */
        { "/b/a%00b", AWS_INVALID_ARGUMENT },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct s3api_request *r = desk_request(desk, "GET", cases[i].target, NULL);
        assert_int_not_equal(s3api_request_read(r), OK);
        assert_int_equal(r->code, cases[i].code);
    }
    char target[S3_KEY_MAX + 16] = "/b/";
    memset(target + 3, 'k', S3_KEY_MAX);
    struct s3api_request *r = desk_request(desk, "GET", target, NULL);
    assert_int_equal(s3api_request_read(r), OK);
    target[3 + S3_KEY_MAX] = 'k';
    r = desk_request(desk, "GET", target, NULL);
    assert_int_not_equal(s3api_request_read(r), OK);
    assert_int_equal(r->code, AWS_KEY_TOO_LONG);
}

static void parameters_are_decoded_and_counted(void **state)
{
    struct desk *desk = *state;
    struct s3api_request *r = desk_request(desk, "GET", "/b?acl&prefix=a%2Bb+c&&x==&max=7&big=9999",
                                           NULL);
    uint64_t count = 0;
    assert_int_equal(s3api_request_read(r), OK);
    assert_non_null(s3api_param(r, "acl").ptr);
    assert_int_equal(s3api_param(r, "acl").len, 0);
    assert_true(str_eq(s3api_param(r, "prefix"), STR("a+b c")));
    assert_true(str_eq(s3api_param(r, "x"), STR("=")));
    assert_null(s3api_param(r, "ACL").ptr);
    assert_int_equal(s3api_param_count(r, "max", 1000, 1000, &count), OK);
    assert_int_equal(count, 7);
    assert_int_equal(s3api_param_count(r, "big", 1000, 1000, &count), OK);
    assert_int_equal(count, 1000);
    assert_int_equal(s3api_param_count(r, "none", 5, 1000, &count), OK);
    assert_int_equal(count, 5);
    assert_int_equal(s3api_param_count(r, "prefix", 5, 1000, &count), E_INVALID);
    char target[1024] = "/b?a";
    for (int i = 0; i < S3_PARAMS_MAX; i++) {
        strcat(target, "&a");
    }
    r = desk_request(desk, "GET", target, NULL);
    assert_int_equal(s3api_request_read(r), E_INVALID);
}

static void a_list_of_headers_is_read_whole(void **state)
{
    struct desk *desk = *state;
    static const char *const headers[] = { "x-list", "a", "Other", "x", "X-List", "b, c", NULL };
    struct s3api_request *r = desk_request(desk, "GET", "/", headers);
    struct str list;
    assert_int_equal(s3api_header_list(r, "x-list", &list), OK);
    assert_true(str_eq(list, STR("a,b, c")));
    assert_int_equal(s3api_header_list(r, "none", &list), OK);
    assert_null(list.ptr);
}

static void an_operation_follows_from_method_level_and_parameters(void **state)
{
    struct desk *desk = *state;
    static const char copy[] = "x-amz-copy-source";
    static const struct {
        const char *method, *target, *header, *name;
        enum aws_code code; /* when there is no name */
    } cases[] = {
        { "GET", "/", NULL, "ListBuckets", 0 },
        { "GET", "/b", NULL, "ListObjects", 0 },
        { "GET", "/b?list-type=2", NULL, "ListObjectsV2", 0 },
        { "GET", "/b?versions", NULL, "ListObjectVersions", 0 },
        { "GET", "/b?uploads", NULL, "ListMultipartUploads", 0 },
        { "GET", "/b/k", NULL, "GetObject", 0 },
        { "HEAD", "/b/k", NULL, "HeadObject", 0 },
        { "GET", "/b/k?x-id=GetObject", NULL, "GetObject", 0 },
        { "PUT", "/b/k", NULL, "PutObject", 0 },
        { "PUT", "/b/k", copy, "CopyObject", 0 },
        { "PUT", "/b/k?partNumber=1&uploadId=u", NULL, "UploadPart", 0 },
        { "PUT", "/b/k?partNumber=1&uploadId=u", copy, "UploadPartCopy", 0 },
        { "POST", "/b/k?uploads", NULL, "CreateMultipartUpload", 0 },
        { "POST", "/b/k?uploadId=u", NULL, "CompleteMultipartUpload", 0 },
        { "DELETE", "/b/k?uploadId=u", NULL, "AbortMultipartUpload", 0 },
        { "POST", "/b?delete", NULL, "DeleteObjects", 0 },
        { "OPTIONS", "/b/k", NULL, "Preflight", 0 },
        { "GET", "/b/k?uploads", NULL, NULL, AWS_INVALID_REQUEST },
        { "GET", "/b/k?versions", NULL, NULL, AWS_INVALID_REQUEST },
        { "PUT", "/b/k?uploadId=u", NULL, NULL, AWS_METHOD_NOT_ALLOWED },
        { "PUT", "/b/k?partNumber=1", NULL, NULL, AWS_INVALID_ARGUMENT },
        { "GET", "/b/k", copy, NULL, AWS_INVALID_ARGUMENT },
        { "DELETE", "/b", copy, NULL, AWS_INVALID_ARGUMENT },
        { "POST", "/b?uploadId=u", copy, NULL, AWS_INVALID_ARGUMENT },
        { "POST", "/b/k", NULL, NULL, AWS_METHOD_NOT_ALLOWED },
        { "PATCH", "/b/k", NULL, NULL, AWS_METHOD_NOT_ALLOWED },
        { "PUT", "/", NULL, NULL, AWS_METHOD_NOT_ALLOWED },
        { "PUT", "/b?lifecycle", NULL, NULL, AWS_NOT_IMPLEMENTED },
        { "POST", "/b/k?select&select-type=2", NULL, NULL, AWS_NOT_IMPLEMENTED },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *headers[] = { cases[i].header, "b/source", NULL };
        struct s3api_request *r = desk_request(desk, cases[i].method, cases[i].target, headers);
        assert_int_equal(s3api_request_read(r), OK);
        enum status status = s3api_op_find(r);
        assert_int_equal(status == OK, cases[i].name != NULL);
        if (status == OK) {
            assert_string_equal(r->op->name, cases[i].name);
        } else {
            assert_int_equal(r->code, cases[i].code);
        }
    }
}

static void bucket_names_are_those_of_s3(void **state)
{
    (void)state;
    static const char *const good[] = { "abc", "a-b", "a.b", "1.2.3", "0ab", "a--b" };
    static const char *const bad[] = { "",    "ab",      "-ab",  "ab-",  ".ab",
                                       "ab.", "a..b",    "a.-b", "a-.b", "Abc",
                                       "a_b", "1.2.3.4", "a/b",  "a b",  "b\xc3\xa4r" };
    char longest[S3_BUCKET_MAX + 2] = { 0 };
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        assert_int_equal(s3api_bucket_name_check(str_of(good[i]), NULL), OK);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(s3api_bucket_name_check(str_of(bad[i]), NULL), E_INVALID);
    }
    memset(longest, 'a', S3_BUCKET_MAX);
    assert_int_equal(s3api_bucket_name_check(str_of(longest), NULL), OK);
    longest[S3_BUCKET_MAX] = 'a';
    assert_int_equal(s3api_bucket_name_check(str_of(longest), NULL), E_INVALID);
}

static void parts_of_an_object_lie_where_their_sizes_say(void **state)
{
    (void)state;
    uint64_t offset = 0, length = 0, count = 0;
    assert_true(s3api_part_place(STR("3x100,1x7"), 1, &offset, &length, &count));
    assert_true(offset == 0 && length == 100 && count == 4);
    assert_true(s3api_part_place(STR("3x100,1x7"), 3, &offset, &length, &count));
    assert_true(offset == 200 && length == 100);
    assert_true(s3api_part_place(STR("3x100,1x7"), 4, &offset, &length, &count));
    assert_true(offset == 300 && length == 7);
    assert_false(s3api_part_place(STR("3x100,1x7"), 5, &offset, &length, &count));
    assert_true(count == 4);
    static const char *const broken[] = { "x", "3", "3x", "x3", "3x1,,", "-1x3", "3x1,y" };
    for (size_t i = 0; i < ARRAY_LEN(broken); i++) {
        assert_false(s3api_part_place(str_of(broken[i]), 9, &offset, &length, &count));
    }
}

static void the_range_of_a_copied_part_must_be_there(void **state)
{
    struct desk *desk = *state;
    static const struct {
        const char *range;
        enum aws_code code;
        uint64_t offset, length;
    } cases[] = {
        { NULL, AWS_NONE, 0, 10 },
        { "bytes=0-9", AWS_NONE, 0, 10 },
        { "bytes=3-3", AWS_NONE, 3, 1 },
        { "bytes=0-10", AWS_INVALID_RANGE, 0, 0 },
        { "bytes=10-11", AWS_INVALID_RANGE, 0, 0 },
        { "bytes=5-4", AWS_INVALID_ARGUMENT, 0, 0 },
        { "bytes=5-", AWS_INVALID_ARGUMENT, 0, 0 },
        { "bytes=-5", AWS_INVALID_ARGUMENT, 0, 0 },
        { "bytes=0-1,3-4", AWS_INVALID_ARGUMENT, 0, 0 },
        { "0-1", AWS_INVALID_ARGUMENT, 0, 0 },
        { "bytes=0-18446744073709551616", AWS_INVALID_ARGUMENT, 0, 0 },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *headers[] = { cases[i].range != NULL ? "x-amz-copy-source-range" : NULL,
                                  cases[i].range, NULL };
        struct s3api_request *r = desk_request(desk, "PUT", "/b/k", headers);
        assert_int_equal(s3api_copy_range(r, 10) == OK, cases[i].code == AWS_NONE);
        assert_int_equal(r->code, cases[i].code);
        if (cases[i].code == AWS_NONE) {
            assert_int_equal(r->sent.offset, cases[i].offset);
            assert_int_equal(r->sent.length, cases[i].length);
        }
    }
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, desk_up, desk_down)
    const struct CMUnitTest tests[] = {
        T(a_target_is_split_into_bucket_and_key),
        T(a_target_that_cannot_be_read_is_refused),
        T(parameters_are_decoded_and_counted),
        T(a_list_of_headers_is_read_whole),
        T(an_operation_follows_from_method_level_and_parameters),
        cmocka_unit_test(bucket_names_are_those_of_s3),
        cmocka_unit_test(parts_of_an_object_lie_where_their_sizes_say),
        T(the_range_of_a_copied_part_must_be_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
