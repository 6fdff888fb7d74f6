/* The contract suite: which keys there are. contract.h says how it is used. */
#include "contract.h"

#include <stdlib.h>

#include "base/rng.h"

static void expect_gone(struct store *store, struct str key)
{
    struct err err = { 0 };
    struct store_info info;
    enum status status = store_stat(store, key, &info, &err);
    assert_true(status == E_NOT_FOUND || (status == E_INVALID && contract_driver->tree));
}

static void expect_bytes(struct store *store, struct str key, struct str bytes)
{
    struct err err = { 0 };
    struct buf got;
    buf_init(&got, 0);
    MUST(store_read(store, key, NULL, &got, NULL, &err));
    assert_true(str_eq(buf_str(&got), bytes));
    buf_done(&got);
}

/** Put each with its own name as content, read each, delete each; the others stay. */
static void keep_all(struct store *store, const struct str *keys, size_t count)
{
    struct err err = { 0 };
    struct arena arena;
    arena_init(&arena, 0);
    bool *kept = arena_array(&arena, count, sizeof *kept);
    size_t kept_count = 0;
    for (size_t i = 0; i < count; i++) {
        kept[i] = put_or_refused(store, keys[i]);
        kept_count += kept[i];
    }
    assert_true(kept_count > count / 2);
    for (size_t i = 0; i < count; i++) {
        if (kept[i]) {
            expect_bytes(store, keys[i], keys[i]);
        } else {
            expect_gone(store, keys[i]);
        }
    }
    for (size_t i = 0; i < count; i++) {
        if (!kept[i]) {
            continue;
        }
        MUST(store_delete(store, keys[i], &err));
        expect_gone(store, keys[i]);
        if (i + 1 < count && kept[i + 1]) {
            expect_bytes(store, keys[i + 1], keys[i + 1]);
        }
    }
    assert_string_equal(list_text(store, &arena, NULL), "");
    arena_done(&arena);
}

static void bad_keys_are_invalid(void **state)
{
    struct store *store = *state;
    char longest[STORE_KEY_MAX + 1];
    memset(longest, 'x', sizeof longest);
    const struct str bad[] = { STR_INIT(""),
                               STR_INIT("a\0b"),
                               STR_INIT("\0"),
                               STR_INIT("\xff"),
                               { longest, sizeof longest } };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct err err = { 0 };
        struct store_info info;
        assert_int_equal(store_put(store, bad[i], STR("x"), NULL, NULL, &err), E_INVALID);
        assert_true(err.msg[0] != '\0');
        assert_int_equal(store_stat(store, bad[i], &info, &err), E_INVALID);
        assert_int_equal(store_delete(store, bad[i], &err), E_INVALID);
    }
}

static void a_plain_key_is_a_path(void **state)
{
    char longest[STORE_KEY_MAX];
    memset(longest, 'x', sizeof longest);
    const struct str bad[] = {
        STR_INIT(""),      STR_INIT("/a"),   STR_INIT("a//b"),
        STR_INIT("a//"),   STR_INIT(".."),   STR_INIT("a/../b"),
        STR_INIT("a/."),   STR_INIT("./a"),  STR_INIT("a\0b"),
        STR_INIT("a\nb"),  STR_INIT("\x7f"), STR_INIT("\xff"),
        STR_INIT("a/../"), STR_INIT("/"),    { longest, STORE_KEY_PLAIN_MAX + 1 },
    };
    struct err err = { 0 };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(store_key_check_plain(bad[i], &err), E_INVALID);
    }
    MUST(store_key_check_plain(str_from(longest, STORE_KEY_PLAIN_MAX), &err));
    MUST(store_key_check_plain(STR("a/.b/..c/d../e/"), &err));
    (void)state;
}

static void names_that_a_file_system_refuses_are_kept(void **state)
{
    static char longest[STORE_KEY_PLAIN_MAX], segment[260] = "dir/";
    memset(longest, 'x', sizeof longest);
    memset(segment + 4, 's', 255);
    const struct str keys[] = {
        { longest, sizeof longest },
        { segment, 259 },
        STR_INIT("a/"),
        STR_INIT("a"),
        STR_INIT("a/b"),
        STR_INIT("a/b/"),
        STR_INIT("a/b/c"),
        STR_INIT("a/b/c/"),
        STR_INIT("..."),
        STR_INIT("a b"),
        STR_INIT("-"),
        STR_INIT("~"),
        STR_INIT("\xc3\xbc/\xf0\x9f\xa6\x86"),
        STR_INIT("con"),
        STR_INIT("x:y"),
        STR_INIT("x\\y"),
        STR_INIT("*?<>|\"'"),
        STR_INIT(".hidden"),
        STR_INIT("A"),
        STR_INIT("B"),
    };
    keep_all(*state, keys, ARRAY_LEN(keys));
}

static void keys_that_are_no_paths_are_kept(void **state)
{
    static char longest[STORE_KEY_MAX], deepest[STORE_KEY_MAX];
    memset(longest, 'x', sizeof longest);
    for (size_t i = 0; i < sizeof deepest; i++) {
        deepest[i] = i % 2 == 0 ? 'd' : '/';
    }
    const struct str keys[] = {
        { longest, sizeof longest },
        { deepest, sizeof deepest },
        { deepest, sizeof deepest - 1 },
        STR_INIT("/"),
        STR_INIT("//"),
        STR_INIT("///a"),
        STR_INIT("/a"),
        STR_INIT("a"),
        STR_INIT("a//b"),
        STR_INIT("a/b"),
        STR_INIT("a//"),
        STR_INIT("a/"),
        STR_INIT("."),
        STR_INIT(".."),
        STR_INIT("./"),
        STR_INIT("../"),
        STR_INIT("./a"),
        STR_INIT("a/."),
        STR_INIT("a/.."),
        STR_INIT("a/./b"),
        STR_INIT("a/../b"),
        STR_INIT("../../../../../../../../tmp/out"),
        STR_INIT("/etc/passwd"),
        STR_INIT("x/../_lake/secret"),
        STR_INIT("_lake/../a"),
        STR_INIT("_lake//tmp/a"),
        STR_INIT("%2e%2e/a"),
        STR_INIT("a%2Fb"),
        STR_INIT("a?b=c&d#e"),
        STR_INIT("a+b"),
        STR_INIT("\n"),
        STR_INIT("a\nb/\tc\r"),
        STR_INIT("\x01\x1f\x7f"),
        STR_INIT("\xc2\x85\xe2\x80\xa8"), /* controls and line ends outside of ASCII */
        STR_INIT("\xef\xbf\xbf\xf4\x8f\xbf\xbf"),
    };
    keep_all(*state, keys, ARRAY_LEN(keys));
}

static void keys_that_are_no_paths_are_listed_with_the_others(void **state)
{
    struct store *store = *state;
    struct arena arena;
    static const char *const keys[] = {
        "a/b", "a//b", "a/./b", "a/../b", "/a", "a/\nb", "a", "//"
    };
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        put_text(store, keys[i], "x");
    }
    const struct {
        struct store_list_opts opts;
        const char *expected;
    } cases[] = {
        { { .limit = 0 }, "// /a a a/\nb a/../b a/./b a//b a/b" },
        { { .prefix = STR("/") }, "// /a" },
        { { .prefix = STR("a/.") }, "a/../b a/./b" },
        { { .prefix = STR("a/../") }, "a/../b" },
        { { .prefix = STR("a//") }, "a//b" },
        { { .after = STR("a/../b") }, "a/./b a//b a/b" },
        { { .delimiter = STR("/") }, "[/] a [a/]" },
        { { .prefix = STR("a/"), .delimiter = STR("/") }, "a/\nb [a/../] [a/./] [a//] a/b" },
        { { .prefix = STR("/"), .delimiter = STR("/") }, "[//] /a" },
        { { .prefix = STR("a/"), .delimiter = STR("/"), .limit = 2 }, "a/\nb [a/../] +" },
    };
    arena_init(&arena, 0);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_string_equal(list_text(store, &arena, &cases[i].opts), cases[i].expected);
    }
    arena_done(&arena);
}

static void keys_that_are_no_paths_have_conditions_attributes_and_copies(void **state)
{
    struct store *store = *state;
    struct err err = { 0 };
    struct arena arena;
    struct store_info info;
    struct store_attrs attrs;
    const struct store_attr attr = { STR("content-type"), STR("a/b") };
    const struct str key = STR("../a//\x01");
    MUST(store_put(store, key, STR("1"), &(struct store_cond){ .if_absent = true }, &info, &err));
    assert_int_equal(
        store_put(store, key, STR("2"), &(struct store_cond){ .if_absent = true }, NULL, &err),
        E_PRECONDITION);
    MUST(store_put(store, key, STR("2"), &(struct store_cond){ .if_match = str_of(info.etag) },
                   NULL, &err));
    MUST(store_set_attrs(store, key, &(struct store_attrs){ &attr, 1 }, STR_EMPTY, NULL, &err));
    MUST(store_copy(store, key, STR("a/."), NULL, &err));
    MUST(store_copy(store, key, STR("plain"), NULL, &err));
    MUST(store_copy_with(store, STR("plain"), STR(".."),
                         &(struct store_copy_opts){ .if_match = STR_EMPTY }, NULL, &err));
    const struct str all[] = { key, STR_INIT("a/."), STR_INIT("plain"), STR_INIT("..") };
    arena_init(&arena, 0);
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        expect_bytes(store, all[i], STR("2"));
        MUST(store_stat_attrs(store, all[i], &arena, &info, &attrs, &err));
        assert_int_equal(attrs.count, 1);
        assert_true(str_eq(attrs.items[0].value, attr.value));
    }
    arena_done(&arena);
    assert_int_equal(store_delete_if(store, STR(".."), STR("other"), &err), E_PRECONDITION);
    MUST(store_delete_if(store, STR(".."), str_of(info.etag), &err));
    expect_gone(store, STR(".."));
}

/* --- run --- */

int contract_keys_run(const char *name)
{
    const struct CMUnitTest plain[] = {
        CONTRACT_TEST(bad_keys_are_invalid),
        CONTRACT_TEST(a_plain_key_is_a_path),
        CONTRACT_TEST(names_that_a_file_system_refuses_are_kept),
    };
    const struct CMUnitTest wide[] = {
        CONTRACT_TEST(keys_that_are_no_paths_are_kept),
        CONTRACT_TEST(keys_that_are_no_paths_are_listed_with_the_others),
        CONTRACT_TEST(keys_that_are_no_paths_have_conditions_attributes_and_copies),
    };
    int failed = _cmocka_run_group_tests(name, plain, ARRAY_LEN(plain), NULL, NULL);
    return contract_driver->plain_keys
               ? failed
               : failed + _cmocka_run_group_tests(name, wide, ARRAY_LEN(wide), NULL, NULL);
}
