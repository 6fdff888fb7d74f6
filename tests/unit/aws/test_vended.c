/* Keys that are lent: what one opens, until when, and that nobody makes one without the secret. */
#include "aws/vended.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/mem.h"

static const int64_t now_ms = 1369353600000; /* 20130524T000000Z */
static const int64_t hour_ms = 3600 * 1000;
#define SECRET "a secret that all services share"
#define PREFIX "lake/wh/main/geo/towns-1a2b/"

struct lent {
    struct arena arena;
    struct aws_vended key;
};

static void lend(struct lent *lent, const char *secret, bool write)
{
    struct aws_vendor vendor;
    arena_init(&lent->arena, 0);
    aws_vendor_init(&vendor, str_of(secret));
    assert_int_equal(
        aws_vend(&vendor, STR(PREFIX), write, now_ms + hour_ms, &lent->arena, &lent->key, NULL),
        OK);
    aws_vendor_done(&vendor);
}

static enum status read_at(struct lent *lent, struct str access_key, struct str token, int64_t at,
                           struct aws_grant *grant, enum aws_code *code)
{
    struct aws_vendor vendor;
    aws_vendor_init(&vendor, STR(SECRET));
    *code = AWS_NONE;
    return aws_vended_read(&vendor, access_key, token, at, &lent->arena, grant, code, NULL);
}

static void a_lent_key_opens_its_prefix_until_its_end(void **state)
{
    (void)state;
    for (int write = 0; write < 2; write++) {
        struct lent lent;
        struct aws_grant grant;
        enum aws_code code;
        lend(&lent, SECRET, write == 1);
        struct str name = str_of(lent.key.access_key);
        assert_true(aws_vended_looks(name));
        assert_int_equal(
            read_at(&lent, name, lent.key.session_token, now_ms + hour_ms - 1, &grant, &code), OK);
        assert_true(str_eq(grant.prefix, STR(PREFIX)));
        assert_int_equal(grant.write, write == 1);
        assert_true(str_eq(grant.secret_key, str_of(lent.key.secret_key)));
        assert_int_equal(grant.secret_key.len, AWS_VENDED_SECRET_LEN);
        assert_int_equal(
            read_at(&lent, name, lent.key.session_token, now_ms + hour_ms, &grant, &code), E_AUTH);
        assert_int_equal(code, AWS_EXPIRED_TOKEN);
        arena_done(&lent.arena);
    }
}

static void two_keys_have_nothing_in_common(void **state)
{
    (void)state;
    struct lent a, b;
    struct aws_grant grant;
    enum aws_code code;
    lend(&a, SECRET, true);
    lend(&b, SECRET, true);
    assert_string_not_equal(a.key.access_key, b.key.access_key);
    assert_string_not_equal(a.key.secret_key, b.key.secret_key);
    assert_int_equal(
        read_at(&a, str_of(a.key.access_key), b.key.session_token, now_ms, &grant, &code), E_AUTH);
    assert_int_equal(code, AWS_INVALID_TOKEN);
    arena_done(&a.arena);
    arena_done(&b.arena);
}

static void a_changed_token_is_refused_whichever_byte_it_is(void **state)
{
    (void)state;
    struct lent lent;
    struct aws_grant grant;
    enum aws_code code;
    lend(&lent, SECRET, false);
    struct str token = lent.key.session_token, name = str_of(lent.key.access_key);
    char changed[512];
    size_t kept = 0;
    assert_true(token.len < sizeof(changed));
    for (size_t i = 0; i < token.len; i++) {
        memcpy(changed, token.ptr, token.len);
        changed[i] = changed[i] == 'A' ? 'B' : 'A';
        enum status status = read_at(&lent, name, str_from(changed, token.len), now_ms, &grant,
                                     &code);
        /* the last digit may have bits that stand for no byte */
        kept += status == OK;
        assert_true(status == OK || code == AWS_INVALID_TOKEN);
    }
    assert_true(kept <= 1);
    for (size_t len = 0; len < token.len; len++) {
        assert_int_not_equal(read_at(&lent, name, str_take(token, len), now_ms, &grant, &code), OK);
    }
    arena_done(&lent.arena);
}

static void another_secret_lends_nothing_here(void **state)
{
    (void)state;
    struct lent lent;
    struct aws_grant grant;
    enum aws_code code;
    lend(&lent, "a secret of somebody else entirely", true);
    assert_int_equal(
        read_at(&lent, str_of(lent.key.access_key), lent.key.session_token, now_ms, &grant, &code),
        E_AUTH);
    assert_int_equal(code, AWS_INVALID_TOKEN);
    assert_int_equal(read_at(&lent, str_of(lent.key.access_key), STR_EMPTY, now_ms, &grant, &code),
                     E_AUTH);
    arena_done(&lent.arena);
}

static void a_key_for_everything_is_not_lent(void **state)
{
    (void)state;
    struct aws_vendor vendor;
    struct aws_vended key;
    struct arena arena;
    char longer[AWS_VENDED_PREFIX_MAX + 1];
    memset(longer, '/', sizeof(longer));
    arena_init(&arena, 0);
    aws_vendor_init(&vendor, STR(SECRET));
    const struct str wrong[] = { STR_EMPTY, STR("lake"), str_from(longer, sizeof(longer)) };
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        assert_int_equal(aws_vend(&vendor, wrong[i], true, now_ms, &arena, &key, NULL), E_INVALID);
    }
    struct str longest = str_from(longer, AWS_VENDED_PREFIX_MAX);
    struct aws_grant grant;
    enum aws_code code;
    assert_int_equal(aws_vend(&vendor, longest, true, now_ms + 1, &arena, &key, NULL), OK);
    assert_int_equal(aws_vended_read(&vendor, str_of(key.access_key), key.session_token, now_ms,
                                     &arena, &grant, &code, NULL),
                     OK);
    assert_true(str_eq(grant.prefix, longest));
    arena_done(&arena);
}

/** A request signed by a lent key, through a keyring. */
static enum status judged(struct aws_keyring *keyring, const struct aws_key *key, int64_t at,
                          struct arena *arena, const struct aws_grant **grant, enum aws_code *code)
{
    struct http_headers headers = { 0 };
    struct aws_request request = { STR("GET"), STR("/lake/wh/main/a"), STR_EMPTY, &headers };
    struct aws_sign_opts opts = {
        .key = *key, .region = STR("us-east-1"), .now_ms = at, .payload = STR(AWS_EMPTY_SHA256)
    };
    struct aws_auth auth;
    TRY(http_headers_add(&headers, arena, STR("Host"), STR("localhost")));
    TRY(aws_sign(&request, &opts, &headers, arena, NULL));
    TRY(aws_auth_read(&request, arena, &auth, code, NULL));
    return aws_keyring_verify(keyring, &auth, &request, at, arena, grant, NULL, code, NULL);
}

static void a_keyring_takes_lent_keys_when_it_is_told_to(void **state)
{
    (void)state;
    struct lent lent;
    struct aws_keyring *keyring;
    const struct aws_grant kept = { STR("KEPT"), STR("secret"), true, STR_EMPTY };
    const struct aws_grant *grant = NULL;
    enum aws_code code = AWS_NONE;
    lend(&lent, SECRET, true);
    struct aws_key key = { str_of(lent.key.access_key), str_of(lent.key.secret_key),
                           lent.key.session_token };
    assert_int_equal(aws_keyring_new(&kept, 1, STR_EMPTY, &keyring, NULL), OK);
    assert_int_equal(judged(keyring, &key, now_ms, &lent.arena, &grant, &code), E_AUTH);
    assert_int_equal(code, AWS_INVALID_ACCESS_KEY_ID);
    aws_keyring_take_lent(keyring, STR(SECRET));
    assert_int_equal(judged(keyring, &key, now_ms, &lent.arena, &grant, &code), OK);
    assert_true(str_eq(grant->prefix, STR(PREFIX)) && grant->write);
    struct aws_key stolen = key;
    stolen.secret_key = STR("0123456789012345678901234567890123456789");
    assert_int_not_equal(judged(keyring, &stolen, now_ms, &lent.arena, &grant, &code), OK);
    assert_int_equal(code, AWS_SIGNATURE_DOES_NOT_MATCH);
    stolen = key;
    stolen.session_token = STR_EMPTY;
    assert_int_not_equal(judged(keyring, &stolen, now_ms, &lent.arena, &grant, &code), OK);
    assert_int_equal(code, AWS_INVALID_TOKEN);
    assert_int_not_equal(judged(keyring, &key, now_ms + hour_ms, &lent.arena, &grant, &code), OK);
    assert_int_equal(code, AWS_EXPIRED_TOKEN);
    struct aws_key own = { STR("KEPT"), STR("secret"), STR_EMPTY };
    assert_int_equal(judged(keyring, &own, now_ms, &lent.arena, &grant, &code), OK);
    aws_keyring_free(keyring);
    arena_done(&lent.arena);
}

static void without_memory_nothing_is_lent_or_read(void **state)
{
    (void)state;
    struct lent lent;
    struct aws_vendor vendor;
    struct aws_grant grant;
    enum aws_code code;
    lend(&lent, SECRET, true);
    aws_vendor_init(&vendor, STR(SECRET));
    for (int what = 0; what < 2; what++) {
        long nth = 0;
        for (bool happened = true; happened; nth++) {
            struct arena arena;
            struct aws_vended key;
            arena_init(&arena, 0);
            mem_fail_nth(nth);
            enum status status = what == 0 ? aws_vend(&vendor, STR(PREFIX), true, now_ms, &arena,
                                                      &key, NULL)
                                           : aws_vended_read(&vendor, str_of(lent.key.access_key),
                                                             lent.key.session_token, now_ms, &arena,
                                                             &grant, &code, NULL);
            happened = mem_fail_happened();
            mem_fail_nth(-1);
            assert_int_equal(status, happened ? E_NO_MEMORY : OK);
            arena_done(&arena);
        }
        assert_true(nth > 2);
    }
    arena_done(&lent.arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lent_key_opens_its_prefix_until_its_end),
        cmocka_unit_test(two_keys_have_nothing_in_common),
        cmocka_unit_test(a_changed_token_is_refused_whichever_byte_it_is),
        cmocka_unit_test(another_secret_lends_nothing_here),
        cmocka_unit_test(a_key_for_everything_is_not_lent),
        cmocka_unit_test(a_keyring_takes_lent_keys_when_it_is_told_to),
        cmocka_unit_test(without_memory_nothing_is_lent_or_read),
    };
    return cmocka_run_group_tests_name("aws/vended", tests, NULL, NULL);
}
