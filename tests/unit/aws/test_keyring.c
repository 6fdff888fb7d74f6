/* Whose request it is: known keys, unknown ones, and a cache that must never show. */
#include "aws/keyring.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/mem.h"

#define HASH "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static const int64_t now_ms = 1369353600000; /* 20130524T000000Z */
static const int64_t day_ms = 24 * 3600 * 1000;

static const struct aws_grant grants[] = {
    { STR_INIT("WRITER"), STR_INIT("secret of the writer"), true, STR_INIT("") },
    { STR_INIT("READER"), STR_INIT("secret of the reader"), false, STR_INIT("lake/public/") },
};

static struct aws_keyring *ring(const char *region)
{
    struct aws_keyring *keyring;
    assert_int_equal(aws_keyring_new(grants, ARRAY_LEN(grants), str_of(region), &keyring, NULL),
                     OK);
    return keyring;
}

/** How a request is signed here. */
struct form {
    const char *access_key, *secret, *region, *token;
    int64_t at_ms;
    const char *service;
};

struct verdict {
    enum status status;
    enum aws_code code;
    const char *access_key; /* of the grant */
    struct aws_signing_key key;
    struct err err;
};

/** Sign a request and ask the keyring whose it is. No assert of cmocka: threads run this. */
static struct verdict judge(struct aws_keyring *keyring, const struct form *form)
{
    struct verdict verdict = { .status = E_INTERNAL };
    struct arena arena;
    struct http_headers headers = { 0 };
    arena_init(&arena, 0);
    const struct aws_request request = { STR("GET"), STR("/lake/public/a"), STR_EMPTY, &headers };
    const struct aws_sign_opts opts = {
        .key = { str_of(form->access_key), str_of(form->secret), str_of(form->token) },
        .region = str_of(form->region),
        .service = str_of(form->service),
        .now_ms = form->at_ms,
        .payload = STR(HASH),
    };
    struct aws_auth auth;
    const struct aws_grant *grant = NULL;
    if (http_headers_add(&headers, &arena, STR("Host"), STR("localhost")) == OK &&
        aws_sign(&request, &opts, &headers, &arena, NULL) == OK &&
        aws_auth_read(&request, &arena, &auth, &verdict.code, NULL) == OK) {
        verdict.status = aws_keyring_verify(keyring, &auth, &request, form->at_ms, &arena, &grant,
                                            &verdict.key, &verdict.code, &verdict.err);
        verdict.access_key = grant != NULL ? grant->access_key.ptr : NULL;
    }
    arena_done(&arena);
    return verdict;
}

static struct form writer(void)
{
    return (struct form){ "WRITER", "secret of the writer", "us-east-1", NULL, now_ms, NULL };
}

static struct form reader(void)
{
    return (struct form){ "READER", "secret of the reader", "us-east-1", NULL, now_ms, NULL };
}

static void a_request_is_known_by_its_key(void **state)
{
    (void)state;
    struct aws_keyring *keyring = ring("");
    struct form form = writer();
    struct aws_signing_key expected;
    for (int round = 0; round < 3; round++) {
        struct verdict verdict = judge(keyring, &form);
        assert_int_equal(verdict.status, OK);
        assert_string_equal(verdict.access_key, "WRITER");
        aws_signing_key_make(STR("secret of the writer"), STR("20130524"), STR("us-east-1"),
                             STR("s3"), &expected);
        assert_memory_equal(&verdict.key, &expected, sizeof(expected));
        struct form other = reader();
        assert_string_equal(judge(keyring, &other).access_key, "READER");
    }
    aws_keyring_free(keyring);
    aws_keyring_free(NULL);
}

static void expect(struct aws_keyring *keyring, struct form form, enum aws_code code)
{
    struct verdict verdict = judge(keyring, &form);
    assert_int_equal(verdict.status, aws_code_kind(code));
    assert_int_equal(verdict.code, code);
    assert_null(verdict.access_key);
}

static void others_are_refused_also_when_the_key_is_cached(void **state)
{
    (void)state;
    struct aws_keyring *keyring = ring("us-east-1");
    for (int round = 0; round < 3; round++) {
        struct form form = writer();
        form.access_key = "SOMEBODY";
        expect(keyring, form, AWS_INVALID_ACCESS_KEY_ID);
        form = writer();
        form.access_key = "WRITE";
        expect(keyring, form, AWS_INVALID_ACCESS_KEY_ID);
        form = writer();
        form.secret = "secret of the reader";
        expect(keyring, form, AWS_SIGNATURE_DOES_NOT_MATCH);
        form = writer();
        form.token = "a token";
        expect(keyring, form, AWS_INVALID_TOKEN);
        form = writer();
        form.region = "us-east-2";
        expect(keyring, form, AWS_AUTHORIZATION_HEADER_MALFORMED);
        form = writer();
        form.service = "sts";
        expect(keyring, form, AWS_AUTHORIZATION_HEADER_MALFORMED);
        form = writer();
        assert_int_equal(judge(keyring, &form).status, OK); /* from now on cached */
    }
    aws_keyring_free(keyring);
}

static void nobodys_secret_does_not_open(void **state)
{
    (void)state;
    struct aws_keyring *keyring = ring("");
    struct form form = { "", "", "us-east-1", NULL, now_ms, NULL };
    for (int round = 0; round < 2; round++) {
        form.access_key = "SOMEBODY";
        form.secret = "";
        expect(keyring, form, AWS_INVALID_ACCESS_KEY_ID);
    }
    aws_keyring_free(keyring);
    assert_int_equal(aws_keyring_new(NULL, 0, STR_EMPTY, &keyring, NULL), OK);
    expect(keyring, writer(), AWS_INVALID_ACCESS_KEY_ID);
    aws_keyring_free(keyring);
}

static void days_and_regions_do_not_meet_in_the_cache(void **state)
{
    (void)state;
    struct aws_keyring *keyring = ring("");
    /* Far more than it has room for, twice over, and a region that is longer than it takes. */
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 300; i++) {
            char region[64];
            snprintf(region, sizeof(region), "%s-%d",
                     i % 7 == 0 ? "a-region-of-a-name-that-no-slot-is-long-enough-for" : "region",
                     i / 3);
            struct form form = i % 2 == 0 ? writer() : reader();
            form.region = region;
            form.at_ms = now_ms + i % 5 * day_ms;
            struct verdict verdict = judge(keyring, &form);
            assert_int_equal(verdict.status, OK);
            assert_string_equal(verdict.access_key, form.access_key);
            form.secret = "wrong";
            assert_int_equal(judge(keyring, &form).code, AWS_SIGNATURE_DOES_NOT_MATCH);
        }
    }
    aws_keyring_free(keyring);
}

static void *judge_often(void *keyring)
{
    for (int i = 0; i < 500; i++) {
        char region[16];
        snprintf(region, sizeof(region), "region-%d", i % 150);
        struct form form = i % 2 == 0 ? writer() : reader();
        form.region = region;
        form.at_ms = now_ms + i % 3 * day_ms;
        struct verdict verdict = judge(keyring, &form);
        if (verdict.status != OK || strcmp(verdict.access_key, form.access_key) != 0) {
            static char fault[] = "a request was refused, or taken for another's";
            return fault;
        }
    }
    return NULL;
}

static void many_threads_ask_at_once(void **state)
{
    (void)state;
    struct aws_keyring *keyring = ring("");
    pthread_t threads[4];
    for (size_t i = 0; i < ARRAY_LEN(threads); i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, judge_often, keyring), 0);
    }
    for (size_t i = 0; i < ARRAY_LEN(threads); i++) {
        void *fault;
        assert_int_equal(pthread_join(threads[i], &fault), 0);
        assert_null(fault);
    }
    aws_keyring_free(keyring);
}

static void faulty_grants_are_named(void **state)
{
    (void)state;
    static char text[AWS_SECRET_MAX + 1];
    memset(text, 'k', sizeof(text));
    const struct str good = STR("s"), empty = STR_EMPTY;
    const struct {
        struct aws_grant grant;
        const char *says;
    } faults[] = {
        { { empty, good, true, empty }, "an access key must have" },
        { { str_from(text, 129), good, true, empty }, "an access key must have" },
        { { STR("a\nb"), good, true, empty }, "an access key must have" },
        { { STR("NEW"), empty, true, empty }, "\"NEW\"" },
        { { STR("NEW"), str_from(text, sizeof(text)), true, empty }, "\"NEW\"" },
        { { STR("NEW"), good, true, STR("lake") }, "\"lake\" of the access key \"NEW\"" },
        { { STR("WRITER"), good, true, empty }, "\"WRITER\" is there twice" },
    };
    for (size_t i = 0; i < ARRAY_LEN(faults); i++) {
        struct aws_grant both[] = { grants[0], faults[i].grant };
        struct aws_keyring *keyring;
        struct err err;
        assert_int_equal(aws_keyring_new(both, 2, STR_EMPTY, &keyring, &err), E_INVALID);
        assert_non_null(strstr(err.msg, faults[i].says));
    }
}

static void a_grant_covers_what_begins_with_its_prefix(void **state)
{
    (void)state;
    assert_true(aws_grant_covers(&grants[0], STR("any/thing")));
    assert_true(aws_grant_covers(&grants[1], STR("lake/public/a")));
    assert_true(aws_grant_covers(&grants[1], STR("lake/public/")));
    assert_false(aws_grant_covers(&grants[1], STR("lake/publi")));
    assert_false(aws_grant_covers(&grants[1], STR("lake/")));
    assert_false(aws_grant_covers(&grants[1], STR("")));
}

static enum status make_and_drop(void)
{
    struct aws_keyring *keyring;
    TRY(aws_keyring_new(grants, ARRAY_LEN(grants), STR("us-east-1"), &keyring, NULL));
    aws_keyring_free(keyring);
    return OK;
}

static void without_memory_there_is_no_keyring(void **state)
{
    (void)state;
    long nth = 0;
    for (bool happened = true; happened; nth++) {
        mem_fail_nth(nth);
        enum status status = make_and_drop();
        happened = mem_fail_happened();
        mem_fail_nth(-1);
        assert_int_equal(status, happened ? E_NO_MEMORY : OK);
    }
    assert_true(nth > 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_is_known_by_its_key),
        cmocka_unit_test(others_are_refused_also_when_the_key_is_cached),
        cmocka_unit_test(nobodys_secret_does_not_open),
        cmocka_unit_test(days_and_regions_do_not_meet_in_the_cache),
        cmocka_unit_test(many_threads_ask_at_once),
        cmocka_unit_test(faulty_grants_are_named),
        cmocka_unit_test(a_grant_covers_what_begins_with_its_prefix),
        cmocka_unit_test(without_memory_there_is_no_keyring),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
