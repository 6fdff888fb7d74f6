/* If-Match and its kin, on reads, on writes and on copies. */
#include "desk.h"

#include <stdio.h>
#include <string.h>

static char etag[64]; /* of bkt/k, quoted */

static int with_object(void **state)
{
    if (desk_up(state) != 0) {
        return -1;
    }
    struct desk *desk = *state;
    ASK(200, "PUT", "/bkt/k", .body = "hello");
    snprintf(etag, sizeof etag, "%s", desk_header(desk, "ETag"));
    return 0;
}

/** A minute before, at, and a minute after the object's time. */
#define BEFORE "Tue, 02 Jan 2024 03:03:05 GMT"
#define AT "Tue, 02 Jan 2024 03:04:05 GMT"
#define AFTER "Tue, 02 Jan 2024 03:05:05 GMT"

static void reads_are_made_under_conditions(void **state)
{
    struct desk *desk = *state;
    static const struct {
        const char *headers[5]; /* a value of NULL: the ETag */
        int status;
    } cases[] = {
        { { "If-Match", NULL }, 200 },
        { { "If-Match", "*" }, 200 },
        { { "If-Match", "\"other\"" }, 412 },
        { { "If-None-Match", NULL }, 304 },
        { { "If-None-Match", "*" }, 304 },
        { { "If-None-Match", "\"other\"" }, 200 },
        { { "If-Modified-Since", BEFORE }, 200 },
        { { "If-Modified-Since", AT }, 304 },
        { { "If-Modified-Since", "no date" }, 200 },
        { { "If-Unmodified-Since", BEFORE }, 412 },
        { { "If-Unmodified-Since", AT }, 200 },
        /* a tag that holds outweighs a date, and so does one that does not */
        { { "If-Match", NULL, "If-Unmodified-Since", BEFORE }, 200 },
        { { "If-None-Match", "\"other\"", "If-Modified-Since", AFTER }, 200 },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        for (int head = 0; head < 2; head++) {
            struct ask ask = { .method = head ? "HEAD" : "GET", .target = "/bkt/k" };
            memcpy(ask.headers, cases[i].headers, sizeof cases[i].headers);
            ask.headers[1] = ask.headers[1] == NULL ? etag : ask.headers[1];
            desk_ask(desk, cases[i].status, &ask);
            if (cases[i].status == 304) {
                assert_string_equal(desk_header(desk, "ETag"), etag);
                assert_int_equal(desk->answer.body.len, 0);
            }
        }
    }
}

static void writes_are_made_under_conditions(void **state)
{
    struct desk *desk = *state;
    REFUSED(412, "PreconditionFailed", "PUT", "/bkt/k", .headers = { "If-None-Match", "*" },
            .body = "x");
    REFUSED(412, "PreconditionFailed", "PUT", "/bkt/k", .headers = { "If-Match", "\"other\"" },
            .body = "x");
    REFUSED(404, "NoSuchKey", "PUT", "/bkt/none", .headers = { "If-Match", "\"other\"" },
            .body = "x");
    REFUSED(404, "NoSuchKey", "PUT", "/bkt/none", .headers = { "If-Match", "*" }, .body = "x");
    REFUSED(501, "NotImplemented", "PUT", "/bkt/k", .headers = { "If-None-Match", "\"other\"" },
            .body = "x");
    REFUSED(400, "InvalidRequest", "PUT", "/bkt/k",
            .headers = { "If-None-Match", "*", "If-Match", "*" }, .body = "x");
    ASK(200, "GET", "/bkt/k");
    assert_string_equal(desk_body(desk), "hello");
    ASK(200, "PUT", "/bkt/k", .headers = { "If-Match", etag }, .body = "second");
    REFUSED(412, "PreconditionFailed", "PUT", "/bkt/k", .headers = { "If-Match", etag },
            .body = "x");
    ASK(200, "PUT", "/bkt/k", .headers = { "If-Match", "*" }, .body = "third");
    ASK(200, "PUT", "/bkt/new", .headers = { "If-None-Match", " * " }, .body = "new");
    ASK(200, "GET", "/bkt/k");
    assert_string_equal(desk_body(desk), "third");
}

static void deletes_are_made_under_conditions(void **state)
{
    struct desk *desk = *state;
    REFUSED(412, "PreconditionFailed", "DELETE", "/bkt/k", .headers = { "If-Match", "\"other\"" });
    ASK(200, "GET", "/bkt/k");
    ASK(204, "DELETE", "/bkt/k", .headers = { "If-Match", etag });
    REFUSED(404, "NoSuchKey", "GET", "/bkt/k");
    ASK(204, "DELETE", "/bkt/k");
}

static void the_source_of_a_copy_has_conditions_of_its_own(void **state)
{
    struct desk *desk = *state;
    static const struct {
        const char *name, *value; /* NULL: the ETag */
        int status;
    } cases[] = {
        { "x-amz-copy-source-if-match", NULL, 200 },
        { "x-amz-copy-source-if-match", "\"other\"", 412 },
        { "x-amz-copy-source-if-none-match", NULL, 412 },
        { "x-amz-copy-source-if-none-match", "\"other\"", 200 },
        { "x-amz-copy-source-if-modified-since", AT, 412 },
        { "x-amz-copy-source-if-modified-since", BEFORE, 200 },
        { "x-amz-copy-source-if-unmodified-since", BEFORE, 412 },
        { "x-amz-copy-source-if-unmodified-since", AT, 200 },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        ASK(cases[i].status, "PUT", "/bkt/copy",
            .headers = { "x-amz-copy-source", "bkt/k", cases[i].name,
                         cases[i].value != NULL ? cases[i].value : etag });
    }
    REFUSED(412, "PreconditionFailed", "PUT", "/bkt/copy",
            .headers = { "x-amz-copy-source", "/bkt/k", "If-None-Match", "*" });
}

static void ranges_are_of_the_bytes_that_are_there(void **state)
{
    struct desk *desk = *state;
    static const struct {
        const char *range;
        int status;
        const char *body, *place;
    } cases[] = {
        { "bytes=1-3", 206, "ell", "bytes 1-3/5" }, { "bytes=-2", 206, "lo", "bytes 3-4/5" },
        { "bytes=3-99", 206, "lo", "bytes 3-4/5" }, { "bytes=0-", 206, "hello", "bytes 0-4/5" },
        { "bytes= -1", 200, "hello", "" },          { "bytes=0-1,3-4", 200, "hello", "" },
        { "lines=0-1", 200, "hello", "" },          { "bytes=5-", 416, NULL, "bytes */5" },
        { "bytes=-0", 416, NULL, "bytes */5" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        ASK(cases[i].status, "GET", "/bkt/k", .headers = { "Range", cases[i].range });
        assert_string_equal(desk_header(desk, "Content-Range"), cases[i].place);
        if (cases[i].body != NULL) {
            assert_string_equal(desk_body(desk), cases[i].body);
        } else {
            assert_string_equal(desk_texts(desk, "Code"), "InvalidRange");
        }
    }
}

static void times_are_read_in_both_forms(void **state)
{
    (void)state;
    static const char *const good[] = { AT, "2024-01-02T03:04:05Z", "2024-01-02T03:04:05.678Z",
                                        "2024-01-02T03:04:05" };
    static const char *const bad[] = {
        "",
        "2024-01-02",
        "2024-01-02T03:04:05+01:00",
        "2024-13-02T03:04:05Z",
        "yesterday",
        "a text that is longer than any date could ever be is no date"
    };
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        int64_t ms = 0;
        assert_true(s3api_time_parse(str_of(good[i]), &ms));
        assert_int_equal(ms, DESK_NOW_MS);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        int64_t ms = 0;
        assert_false(s3api_time_parse(str_of(bad[i]), &ms));
    }
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, with_object, desk_down)
    const struct CMUnitTest tests[] = {
        T(reads_are_made_under_conditions),
        T(writes_are_made_under_conditions),
        T(deletes_are_made_under_conditions),
        T(the_source_of_a_copy_has_conditions_of_its_own),
        T(ranges_are_of_the_bytes_that_are_there),
        cmocka_unit_test(times_are_read_in_both_forms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
