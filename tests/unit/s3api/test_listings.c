/* Listings in pages: of objects (both versions), of versions, of uploads and of buckets. */
#include "desk.h"

#include <stdio.h>
#include <string.h>

static const char *const keys[] = { "a", "a/1", "a/2", "a/b/3", "b c",
                                    "d", "d/x", "e+f", "z/",    "\xc3\xa9" };

static int with_objects(void **state)
{
    if (desk_up(state) != 0) {
        return -1;
    }
    struct desk *desk = *state;
    static const char *const targets[] = { "/bkt/a",     "/bkt/a/1",   "/bkt/a/2", "/bkt/a/b/3",
                                           "/bkt/b%20c", "/bkt/d",     "/bkt/d/x", "/bkt/e+f",
                                           "/bkt/z/",    "/bkt/%c3%a9" };
    for (size_t i = 0; i < ARRAY_LEN(targets); i++) {
        ASK(200, "PUT", targets[i], .body = "x");
    }
    return 0;
}

/** What a listing must show: keys and common prefixes, in order, each once. */
static void model(const char *prefix, const char *delimiter, const char *after, char *keys_out,
                  char *prefixes_out)
{
    char last[64] = "";
    *keys_out = *prefixes_out = '\0';
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        const char *key = keys[i];
        if (strncmp(key, prefix, strlen(prefix)) != 0) {
            continue;
        }
        const char *at = *delimiter != '\0' ? strstr(key + strlen(prefix), delimiter) : NULL;
        char common[64];
        snprintf(common, sizeof common, "%.*s",
                 at != NULL ? (int)(at - key + (long)strlen(delimiter)) : 0, key);
        if (at != NULL && strcmp(common, last) != 0 && strcmp(common, after) > 0) {
            strcat(strcat(prefixes_out, *prefixes_out != '\0' ? "," : ""), common);
            strcpy(last, common);
        } else if (at == NULL && strcmp(key, after) > 0) {
            strcat(strcat(keys_out, *keys_out != '\0' ? "," : ""), key);
        }
    }
}

static void join(char *all, const char *more)
{
    if (*more != '\0') {
        strcat(strcat(all, *all != '\0' ? "," : ""), more);
    }
}

/** The next page's parameters, from the answer; false at the end. */
static bool next_page(struct desk *desk, const char *kind, char *out, size_t size)
{
    AUTO(buf_done) struct buf place;
    bool v2 = strcmp(kind, "list-type=2") == 0, versions = strcmp(kind, "versions") == 0;
    const char *element = v2 ? "NextContinuationToken" : versions ? "NextKeyMarker" : "NextMarker";
    if (strcmp(desk_texts(desk, "IsTruncated"), "true") != 0) {
        assert_string_equal(desk_texts(desk, element), "");
        return false;
    }
    const char *text = desk_texts(desk, element);
    if (*text == '\0') { /* v1 without a delimiter: the last key is the place */
        assert_string_equal(kind, "x");
        text = desk_texts(desk, "Key");
        text = strrchr(text, ',') != NULL ? strrchr(text, ',') + 1 : text;
    }
    buf_init(&place, 0);
    for (; *text != '\0'; text++) { /* percent-encoded */
        assert_int_equal(buf_printf(&place, "%%%02x", (unsigned char)*text), OK);
    }
    snprintf(out, size, "&%s=%s",
             v2         ? "continuation-token"
             : versions ? "key-marker"
                        : "marker",
             buf_cstr(&place));
    return true;
}

static void pages_of_any_size_show_each_key_once(void **state)
{
    struct desk *desk = *state;
    static const char *const kinds[] = { "x", "list-type=2", "versions" };
    static const char *const prefixes[] = { "", "a", "a/", "nothing" };
    static const char *const delimiters[] = { "", "/" };
    for (size_t i = 0; i < 3 * 4 * 2 * 4; i++) {
        const char *kind = kinds[i % 3], *prefix = prefixes[i / 3 % 4];
        const char *delimiter = delimiters[i / 12 % 2];
        unsigned max = (unsigned)(i / 24) * (unsigned)(i / 24) + 1; /* 1, 2, 5, 10 */
        char found_keys[512] = "", found_prefixes[512] = "", expected_keys[512],
             expected_prefixes[512], target[512], next[256] = "";
        unsigned pages = 0;
        do {
            snprintf(target, sizeof target, "/bkt?%s&prefix=%s&delimiter=%s&max-keys=%u%s", kind,
                     prefix, delimiter, max, next);
            ASK(200, "GET", target);
            const char *page = desk_texts(desk, "Key");
            join(found_keys, page);
            /* the listing's own prefix is told first */
            const char *common = desk_texts(desk, "Prefix") + strlen(prefix);
            join(found_prefixes, common + (*common == ','));
        } while (next_page(desk, kind, next, sizeof next) && pages++ < 20);
        model(prefix, delimiter, "", expected_keys, expected_prefixes);
        assert_string_equal(found_keys, expected_keys);
        assert_string_equal(found_prefixes, expected_prefixes);
    }
}

static void a_listing_begins_behind_a_key_that_need_not_be_there(void **state)
{
    struct desk *desk = *state;
    char expected[512], ignored[512];
    ASK(200, "GET", "/bkt?list-type=2&start-after=a/15");
    model("", "", "a/15", expected, ignored);
    assert_string_equal(desk_texts(desk, "Key"), expected);
    assert_string_equal(desk_texts(desk, "StartAfter"), "a/15");
    ASK(200, "GET", "/bkt?marker=a/15");
    assert_string_equal(desk_texts(desk, "Key"), expected);
    ASK(200, "GET", "/bkt?list-type=2&max-keys=0");
    assert_string_equal(desk_texts(desk, "KeyCount"), "0");
    assert_string_equal(desk_texts(desk, "IsTruncated"), "false");
}

static void names_are_encoded_when_asked_for(void **state)
{
    struct desk *desk = *state;
    ASK(200, "GET", "/bkt?list-type=2&encoding-type=url&delimiter=/&prefix=");
    assert_string_equal(desk_texts(desk, "Key"), "a,b%20c,d,e%2Bf,%C3%A9");
    REFUSED(400, "InvalidArgument", "GET", "/bkt?encoding-type=base64");
    REFUSED(400, "InvalidArgument", "GET", "/bkt?max-keys=-1");
    REFUSED(400, "InvalidArgument", "GET", "/bkt?list-type=3");
}

static void tokens_are_ours_or_refused(void **state)
{
    struct desk *desk = *state;
    static const char *const bad[] = { "", "!", "YQ=", "//8=" /* no UTF-8 */ };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct s3api_request *r = desk_request(desk, "GET", "/bkt", NULL);
        struct str after;
        assert_int_not_equal(s3api_token_read(r, str_of(bad[i]), &after), OK);
        assert_int_equal(r->code, AWS_INVALID_ARGUMENT);
    }
    static const char *const places[] = { "a", "a/\x01&<", "\xc3\xa9", "longer than one line" };
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        AUTO(buf_done) struct buf xml;
        struct s3api_request *r = desk_request(desk, "GET", "/bkt", NULL);
        struct xml_node *root = NULL;
        struct str after;
        buf_init(&xml, 0);
        assert_int_equal(s3api_token_put(&xml, "Token", str_of(places[i])), OK);
        assert_int_equal(xml_read(buf_str(&xml), &desk->arena, &root, NULL), OK);
        assert_int_equal(s3api_token_read(r, root->text, &after), OK);
        assert_true(str_eq(after, str_of(places[i])));
    }
}

static void uploads_are_listed_in_pages_with_common_prefixes(void **state)
{
    struct desk *desk = *state;
    static const char *const begun[] = { "/bkt/a/1?uploads", "/bkt/a/2?uploads", "/bkt/m?uploads",
                                         "/bkt/m?uploads", "/bkt/z/1?uploads" };
    char found[256] = "", common[256] = "", target[512] = "/bkt?uploads&delimiter=/&max-uploads=1";
    unsigned pages = 1;
    for (size_t i = 0; i < ARRAY_LEN(begun); i++) {
        ASK(200, "POST", begun[i]);
    }
    for (;; pages++) {
        ASK(200, "GET", target);
        join(found, desk_texts(desk, "Key"));
        const char *prefix = desk_texts(desk, "Prefix"); /* the listing's own is told first */
        join(common, prefix + (*prefix == ','));
        if (strcmp(desk_texts(desk, "IsTruncated"), "true") != 0) {
            break;
        }
        snprintf(target, sizeof target,
                 "/bkt?uploads&delimiter=/&max-uploads=1&key-marker=%s&upload-id-marker=%s",
                 desk_texts(desk, "NextKeyMarker"), desk_texts(desk, "NextUploadIdMarker"));
    }
    assert_string_equal(found, "m,m");
    assert_string_equal(common, "a/,z/");
    assert_int_equal(pages, 4);
    ASK(200, "GET", "/bkt?uploads&prefix=a/");
    assert_string_equal(desk_texts(desk, "Key"), "a/1,a/2");
}

static void buckets_are_listed_in_pages_and_as_far_as_the_key_reaches(void **state)
{
    struct desk *desk = *state;
    ASK(200, "PUT", "/other-1");
    ASK(200, "PUT", "/other-2");
    ASK(200, "GET", "/");
    assert_string_equal(desk_texts(desk, "Name"), "bkt,lake,other-1,other-2");
    assert_string_equal(desk_texts(desk, "BucketRegion"), "");
    ASK(200, "GET", "/", .key = "narrow");
    assert_string_equal(desk_texts(desk, "Name"), "bkt");
    ASK(200, "GET", "/?prefix=other-&max-buckets=1");
    assert_string_equal(desk_texts(desk, "Name"), "other-1");
    assert_string_equal(desk_texts(desk, "BucketRegion"), "us-east-1");
    char target[256];
    snprintf(target, sizeof target, "/?prefix=other-&max-buckets=1&continuation-token=%s",
             desk_texts(desk, "ContinuationToken"));
    ASK(200, "GET", target);
    assert_string_equal(desk_texts(desk, "Name"), "other-2");
    assert_string_equal(desk_texts(desk, "ContinuationToken"), "");
    ASK(200, "GET", "/?bucket-region=eu-west-1");
    assert_string_equal(desk_texts(desk, "Name"), "");
    REFUSED(400, "InvalidArgument", "GET", "/?max-buckets=0");
    REFUSED(400, "InvalidArgument", "GET", "/?max-buckets=10001");
    REFUSED(403, "AccessDenied", "GET", "/", .key = "");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, with_objects, desk_down)
    const struct CMUnitTest tests[] = {
        T(pages_of_any_size_show_each_key_once),
        T(a_listing_begins_behind_a_key_that_need_not_be_there),
        T(names_are_encoded_when_asked_for),
        T(tokens_are_ours_or_refused),
        cmocka_unit_test_setup_teardown(uploads_are_listed_in_pages_with_common_prefixes, desk_up,
                                        desk_down),
        cmocka_unit_test_setup_teardown(buckets_are_listed_in_pages_and_as_far_as_the_key_reaches,
                                        desk_up, desk_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
