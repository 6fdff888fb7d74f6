/* The contract suite: attributes, and changes under conditions. contract.h says how it is used. */
#include "contract.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"

#define ATTRS(...)                                                                                 \
    (&(struct store_attrs){ (const struct store_attr[]){ __VA_ARGS__ },                            \
                            sizeof((const struct store_attr[]){ __VA_ARGS__ }) /                   \
                                sizeof(struct store_attr) })

static const struct store_attrs none;

static enum status try_put(struct store *store, const char *key, struct str bytes,
                           const struct store_attrs *attrs, struct err *err)
{
    struct store_writer *writer = NULL;
    TRY(store_writer_open(store, str_of(key), NULL, &writer, err));
    enum status status = store_writer_write(writer, bytes, err);
    if (status == OK) {
        status = store_writer_attrs(writer, attrs, err);
    }
    if (status != OK) {
        store_writer_abort(writer);
        return status;
    }
    return store_writer_commit(writer, NULL, err);
}

static void put_attrs(struct store *store, const char *key, const char *text,
                      const struct store_attrs *attrs)
{
    struct err err = { 0 };
    MUST(try_put(store, key, str_of(text), attrs, &err));
}

static void assert_attrs(const struct store_attrs *got, const struct store_attrs *expected)
{
    assert_int_equal(got->count, expected->count);
    for (size_t i = 0; i < got->count; i++) {
        assert_true(str_eq(got->items[i].name, expected->items[i].name));
        assert_true(str_eq(got->items[i].value, expected->items[i].value));
    }
}

/** Both ways to get them. */
static void expect_attrs(struct store *store, const char *key, const struct store_attrs *expected)
{
    struct err err = { 0 };
    struct arena arena;
    struct store_attrs got;
    struct store_info info;
    struct store_object *object = NULL;
    arena_init(&arena, 0);
    MUST(store_stat_attrs(store, str_of(key), &arena, &info, &got, &err));
    assert_attrs(&got, expected);
    MUST(store_open(store, str_of(key), &object, &err));
    got = store_object_attrs(object);
    assert_attrs(&got, expected);
    assert_string_equal(store_object_info(object)->etag, info.etag);
    store_object_close(object);
    arena_done(&arena);
}

static struct store_info stat_of(struct store *store, const char *key)
{
    struct err err = { 0 };
    struct store_info info = { 0 };
    MUST(store_stat(store, str_of(key), &info, &err));
    return info;
}

static void attributes_are_written_with_the_object(void **state)
{
    struct store *store = *state;
    put_attrs(store, "a/k", "hello",
              ATTRS({ STR("x-amz-meta-b"), STR("two\r\n\0\xff") },
                    { STR("content-type"), STR("text/plain") }, { STR("x-empty"), STR("") }));
    expect_text(store, "a/k", "hello");
    expect_attrs(store, "a/k",
                 ATTRS({ STR("content-type"), STR("text/plain") },
                       { STR("x-amz-meta-b"), STR("two\r\n\0\xff") }, { STR("x-empty"), STR("") }));
    put_attrs(store, "a/empty", "", ATTRS({ STR("a"), STR("1") }));
    expect_text(store, "a/empty", "");
    expect_attrs(store, "a/empty", ATTRS({ STR("a"), STR("1") }));
    put_attrs(store, "a/k", "other", ATTRS({ STR("a"), STR("1") }));
    expect_attrs(store, "a/k", ATTRS({ STR("a"), STR("1") }));
    put_text(store, "a/k", "plain");
    expect_attrs(store, "a/k", &none);
    put_attrs(store, "a/k", "none", &none);
    expect_attrs(store, "a/k", &none);
}

/** What S3 has headers for, and what looks as if. */
static void attributes_that_are_headers_come_back_as_they_were(void **state)
{
    struct store *store = *state;
    put_attrs(store, "h/1", "x",
              ATTRS({ STR("content-type"), STR("binary/octet-stream") },
                    { STR("content-encoding"), STR("gzip") }, { STR("cache-control"), STR("a, b") },
                    { STR("content-language"), STR("de") },
                    { STR("content-disposition"), STR("attachment; filename=\"\xc3\xbc\"") },
                    { STR("expires"), STR("tomorrow") }, { STR("x-amz-meta-a"), STR(" b ") },
                    { STR("x-amz-meta-b"), STR("a  b") }, { STR("x-amz-meta-c d"), STR("x") },
                    { STR("x-amz-meta-d"), STR("=?utf-8?q?=C3=BC?=") },
                    { STR("x-amz-meta-lakehouse-write"), STR("mine") },
                    { STR("content-length"), STR("7") }));
    expect_text(store, "h/1", "x");
    expect_attrs(store, "h/1",
                 ATTRS({ STR("cache-control"), STR("a, b") },
                       { STR("content-disposition"), STR("attachment; filename=\"\xc3\xbc\"") },
                       { STR("content-encoding"), STR("gzip") },
                       { STR("content-language"), STR("de") }, { STR("content-length"), STR("7") },
                       { STR("content-type"), STR("binary/octet-stream") },
                       { STR("expires"), STR("tomorrow") }, { STR("x-amz-meta-a"), STR(" b ") },
                       { STR("x-amz-meta-b"), STR("a  b") }, { STR("x-amz-meta-c d"), STR("x") },
                       { STR("x-amz-meta-d"), STR("=?utf-8?q?=C3=BC?=") },
                       { STR("x-amz-meta-lakehouse-write"), STR("mine") }));
    put_attrs(store, "h/2", "x",
              ATTRS({ STR("expires"), STR("Wed, 21 Oct 2099 07:28:00 GMT") },
                    { STR("content-type"), STR("text/plain") },
                    { STR("cache-control"), STR("no-cache") }));
    expect_attrs(store, "h/2",
                 ATTRS({ STR("cache-control"), STR("no-cache") },
                       { STR("content-type"), STR("text/plain") },
                       { STR("expires"), STR("Wed, 21 Oct 2099 07:28:00 GMT") }));
}

/** More than a part of an upload, with attributes before or after the bytes; copied, too. */
static void large_objects_have_attributes_and_conditions(void **state)
{
    enum { LARGE = (17 << 20) + 5 };
    struct store *store = *state;
    struct err err = { 0 };
    struct store_info info;
    const struct store_attrs *attrs = ATTRS({ STR("content-type"), STR("text/plain") },
                                            { STR("is"), STR("large") });
    char *bytes = calloc(1, LARGE);
    bytes[LARGE - 1] = 'e';
    for (int late = 0; late < 2; late++) {
        struct store_writer *writer = NULL;
        MUST(store_writer_open(store, STR("large"), NULL, &writer, &err));
        if (late) {
            store_writer_attrs_late(writer);
        } else {
            MUST(store_writer_attrs(writer, attrs, &err));
        }
        MUST(store_writer_write(writer, str_from(bytes, LARGE), &err));
        MUST(store_writer_attrs(writer, attrs, &err));
        MUST(store_writer_commit(writer, &info, &err));
        assert_int_equal(info.size, LARGE);
        expect_attrs(store, "large", attrs);
        MUST(store_delete(store, STR("copy"), &err));
        MUST(store_copy(store, STR("large"), STR("copy"), NULL, &err));
        assert_int_equal(store_copy(store, STR("large"), STR("copy"), NULL, &err), E_EXISTS);
        expect_attrs(store, "copy", attrs);
        MUST(store_set_attrs(store, STR("copy"), &none, str_of(stat_of(store, "copy").etag), NULL,
                             &err));
        expect_attrs(store, "copy", &none);
        struct buf got;
        buf_init(&got, 0);
        MUST(store_read(store, STR("copy"), NULL, &got, NULL, &err));
        assert_true(str_eq(buf_str(&got), str_from(bytes, LARGE)));
        buf_done(&got);
    }
    free(bytes);
}

static void attributes_come_any_time_and_the_last_count(void **state)
{
    struct store *store = *state;
    struct err err = { 0 };
    struct store_writer *writer = NULL;
    MUST(store_writer_open(store, STR("w"), NULL, &writer, &err));
    MUST(store_writer_attrs(writer, ATTRS({ STR("a"), STR("1") }, { STR("b"), STR("1") }), &err));
    MUST(store_writer_write(writer, STR("x"), &err));
    MUST(store_writer_attrs(writer, ATTRS({ STR("c"), STR("2") }), &err));
    MUST(store_writer_commit(writer, NULL, &err));
    expect_attrs(store, "w", ATTRS({ STR("c"), STR("2") }));
    MUST(store_writer_open(store, STR("w"), NULL, &writer, &err));
    MUST(store_writer_attrs(writer, ATTRS({ STR("gone"), STR("1") }), &err));
    store_writer_abort(writer);
    expect_attrs(store, "w", ATTRS({ STR("c"), STR("2") }));
}

static size_t bytes_max(void)
{
    return contract_driver->attrs_bytes_max != 0 ? contract_driver->attrs_bytes_max
                                                 : (size_t)STORE_ATTRS_BYTES_MAX;
}

/** As many bytes as are allowed, in as many attributes as are. */
static struct store_attrs most_attrs(void)
{
    const bool all = contract_driver->attrs_bytes_max == 0;
    const size_t count = all ? STORE_ATTRS_MAX : 32;
    static struct store_attr items[STORE_ATTRS_MAX + 1];
    static char names[STORE_ATTRS_MAX + 1][8], value[STORE_ATTRS_BYTES_MAX];
    const size_t each = bytes_max() / count;
    memset(value, 'v', sizeof value);
    for (int i = 0; i <= STORE_ATTRS_MAX; i++) {
        snprintf(names[i], sizeof names[i], "n%03d", i);
        items[i] = (struct store_attr){ str_of(names[i]), str_from(value, each - 4) };
    }
    return (struct store_attrs){ items, count };
}

static void attributes_have_limits(void **state)
{
    struct store *store = *state;
    struct err err = { 0 };
    struct store_attrs most = most_attrs();
    char value[STORE_ATTRS_BYTES_MAX];
    memset(value, 'v', sizeof value);
    put_attrs(store, "most", "x", &most);
    expect_attrs(store, "most", &most);
    const struct store_attrs long_one = {
        (const struct store_attr[]){ { STR("n"), str_from(value, bytes_max() - 1) } }, 1
    };
    put_attrs(store, "long", "x", &long_one);
    expect_attrs(store, "long", &long_one);
    most.count = STORE_ATTRS_MAX + 1;
    assert_int_equal(try_put(store, "most", STR("y"), &most, &err), E_TOO_LARGE);
    assert_int_equal(try_put(store, "most", STR("y"),
                             ATTRS({ STR("nn"), str_from(value, sizeof value - 1) }), &err),
                     E_TOO_LARGE);
    assert_int_equal(try_put(store, "most", STR("y"), ATTRS({ STR(""), STR("v") }), &err),
                     E_INVALID);
    assert_int_equal(
        try_put(store, "most", STR("y"),
                ATTRS({ STR("a"), STR("v") }, { STR("b"), STR("v") }, { STR("a"), STR("v") }),
                &err),
        E_INVALID);
    expect_text(store, "most", "x");
}

/** More than one xattr holds, under keys of every kind; replaced, copied and deleted again. */
static void many_attributes_go_where_the_object_goes(void **state)
{
    struct store *store = *state;
    struct err err = { 0 };
    const struct store_attrs most = most_attrs();
    const char *wild[] = { "p/plain", "p/odd/", "p/plain/below" };
    const char *tame[] = { "p/plain", "p/even", "p/other/below" };
    const char **keys = contract_driver->tree ? tame : wild;
    for (size_t i = 0; i < ARRAY_LEN(wild); i++) {
        char copy[64];
        snprintf(copy, sizeof copy, "copy/%zu", i);
        put_attrs(store, keys[i], "one", &most);
        put_attrs(store, keys[i], "two", &most);
        expect_text(store, keys[i], "two");
        expect_attrs(store, keys[i], &most);
        MUST(store_copy(store, str_of(keys[i]), str_of(copy), NULL, &err));
        put_text(store, keys[i], "three");
        expect_attrs(store, keys[i], &none);
        expect_text(store, copy, "two");
        expect_attrs(store, copy, &most);
        MUST(store_delete(store, str_of(copy), &err));
        put_text(store, copy, "new");
        expect_attrs(store, copy, &none);
    }
}

static void a_copy_takes_attributes_and_conditions(void **state)
{
    struct store *store = *state;
    struct err err = { 0 };
    struct store_info info;
    const struct store_cond absent = { .if_absent = true };
    put_attrs(store, "from", "hello", ATTRS({ STR("a"), STR("1") }));
    put_text(store, "to", "old");
    const struct store_info from = stat_of(store, "from"), old = stat_of(store, "to");
    struct store_copy_opts opts = { .cond = &absent };
    assert_int_equal(store_copy_with(store, STR("from"), STR("to"), &opts, NULL, &err),
                     E_PRECONDITION);
    opts = (struct store_copy_opts){ .if_match = str_of(old.etag) };
    assert_int_equal(store_copy_with(store, STR("from"), STR("to"), &opts, NULL, &err),
                     E_PRECONDITION);
    opts = (struct store_copy_opts){ .cond = &(struct store_cond){ .if_match = STR("other") } };
    assert_int_equal(store_copy_with(store, STR("from"), STR("to"), &opts, NULL, &err),
                     E_PRECONDITION);
    assert_int_equal(store_copy_with(store, STR("nothing"), STR("to"),
                                     &(struct store_copy_opts){ 0 }, NULL, &err),
                     E_NOT_FOUND);
    expect_text(store, "to", "old");
    opts = (struct store_copy_opts){
        .cond = &(struct store_cond){ .if_match = str_of(old.etag) },
        .if_match = str_of(from.etag),
    };
    MUST(store_copy_with(store, STR("from"), STR("to"), &opts, &info, &err));
    assert_string_equal(info.etag, from.etag);
    expect_text(store, "to", "hello");
    expect_attrs(store, "to", ATTRS({ STR("a"), STR("1") }));
    MUST(store_copy_with(store, STR("from"), STR("to"),
                         &(struct store_copy_opts){ .attrs = ATTRS({ STR("b"), STR("2") }) }, NULL,
                         &err));
    expect_attrs(store, "to", ATTRS({ STR("b"), STR("2") }));
    expect_attrs(store, "from", ATTRS({ STR("a"), STR("1") }));
    MUST(store_copy_with(store, STR("to"), STR("to"), &(struct store_copy_opts){ .attrs = &none },
                         NULL, &err));
    expect_text(store, "to", "hello");
    expect_attrs(store, "to", &none);
}

static void new_attributes_change_nothing_else(void **state)
{
    struct store *store = *state;
    struct err err = { 0 };
    struct store_info info;
    const char *keys[] = { "s/k", contract_driver->tree ? "s/l" : "s/odd/" };
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        struct str key = str_of(keys[i]);
        put_attrs(store, keys[i], "hello", ATTRS({ STR("a"), STR("1") }));
        MUST(store_copy(store, key, STR("s/twin"), NULL, &err));
        const struct store_info before = stat_of(store, keys[i]);
        MUST(store_set_attrs(store, key, ATTRS({ STR("t"), STR("x") }), STR_EMPTY, &info, &err));
        assert_string_equal(info.etag, before.etag);
        if (!contract_driver->new_times) {
            assert_int_equal(info.modified_ms, before.modified_ms);
            assert_int_equal(stat_of(store, keys[i]).modified_ms, before.modified_ms);
        }
        expect_text(store, keys[i], "hello");
        expect_attrs(store, keys[i], ATTRS({ STR("t"), STR("x") }));
        expect_attrs(store, "s/twin", ATTRS({ STR("a"), STR("1") }));
        assert_int_equal(store_set_attrs(store, key, &none, STR("other"), NULL, &err),
                         E_PRECONDITION);
        MUST(store_set_attrs(store, key, &none, str_of(before.etag), NULL, &err));
        expect_attrs(store, keys[i], &none);
        MUST(store_delete(store, STR("s/twin"), &err));
    }
    assert_int_equal(store_set_attrs(store, STR("s/no"), &none, STR_EMPTY, NULL, &err),
                     E_NOT_FOUND);
}

static void a_delete_takes_a_condition(void **state)
{
    struct store *store = *state;
    struct err err = { 0 };
    struct store_info gone;
    put_text(store, "d", "hello");
    const struct store_info info = stat_of(store, "d");
    if (contract_driver->no_delete_if) {
        assert_int_equal(store_delete_if(store, STR("d"), STR("other"), &err), E_UNSUPPORTED);
        assert_int_equal(store_delete_if(store, STR("d"), str_of(info.etag), &err), E_UNSUPPORTED);
        expect_text(store, "d", "hello");
        return;
    }
    assert_int_equal(store_delete_if(store, STR("d"), STR("other"), &err), E_PRECONDITION);
    expect_text(store, "d", "hello");
    MUST(store_delete_if(store, STR("d"), str_of(info.etag), &err));
    assert_int_equal(store_stat(store, STR("d"), &gone, &err), E_NOT_FOUND);
    assert_int_equal(store_delete_if(store, STR("d"), str_of(info.etag), &err), E_PRECONDITION);
    MUST(store_delete_if(store, STR("d"), STR_EMPTY, &err));
}

/* --- many at once --- */

struct pair {
    struct store *store;
    _Atomic bool stop;
    _Atomic int wrong;
};

/** The attribute says what the bytes are, whichever version is met. */
static void *pair_reader(void *arg)
{
    struct pair *pair = arg;
    while (!pair->stop) {
        struct err err = { 0 };
        struct store_object *object = NULL;
        char got[8] = "";
        size_t len = 0;
        enum status status = store_open(pair->store, STR("pair"), &object, &err);
        if (status == OK) {
            status = store_object_read(object, 0, got, sizeof got, &len, &err);
        }
        struct store_attrs attrs = object != NULL ? store_object_attrs(object) : none;
        if (status != OK || attrs.count == 0 || !str_eq(attrs.items[0].value, str_from(got, len))) {
            fprintf(stderr, "%s %s\n", status_name(status), err.msg);
            pair->wrong++;
        }
        store_object_close(object);
    }
    return NULL;
}

static void bytes_and_attributes_are_never_of_two_versions(void **state)
{
    struct pair pair = { .store = *state };
    pthread_t thread;
    char pad[5000];
    memset(pad, 'p', sizeof pad);
    const size_t pad_len = bytes_max() / 2 < sizeof pad ? bytes_max() / 2 : sizeof pad;
    put_attrs(pair.store, "pair", "0", ATTRS({ STR("is"), STR("0") }));
    assert_int_equal(pthread_create(&thread, NULL, pair_reader, &pair), 0);
    for (int i = 0; i < 60; i++) {
        char text[8];
        snprintf(text, sizeof text, "%d", i);
        /* every second one with more than one xattr holds */
        put_attrs(pair.store, "pair", text,
                  ATTRS({ STR("is"), str_of(text) },
                        { STR("pad"), str_from(pad, i % 2 == 0 ? 0 : pad_len) }));
    }
    pair.stop = true;
    pthread_join(thread, NULL);
    assert_int_equal(pair.wrong, 0);
}

/* --- memory --- */

static void a_failed_allocation_loses_no_attributes(void **state)
{
    struct store *store = *state;
    bool failed = true;
    put_attrs(store, "m", "x", ATTRS({ STR("is"), STR("x") }));
    for (long n = 0; failed && n < 2000; n++) {
        struct err err = { 0 };
        struct arena arena;
        struct store_attrs got = none;
        struct store_info info;
        arena_init(&arena, 0);
        mem_fail_nth(n);
        enum status put = try_put(store, "m", STR("x"), ATTRS({ STR("is"), STR("x") }), &err);
        enum status set = store_set_attrs(store, STR("m"), ATTRS({ STR("is"), STR("x") }),
                                          STR_EMPTY, NULL, &err);
        enum status read = store_stat_attrs(store, STR("m"), &arena, &info, &got, &err);
        failed = mem_fail_happened();
        mem_fail_nth(-1);
        const enum status all[] = { put, set, read };
        for (size_t i = 0; i < ARRAY_LEN(all); i++) {
            if (all[i] != OK && all[i] != E_NO_MEMORY &&
                !(contract_driver->remote && all[i] == E_UPSTREAM)) {
                fail_msg("allocation %ld: %s: %s", n, status_name(all[i]), err.msg);
            }
        }
        assert_true(read != OK || got.count == 1);
        expect_text(store, "m", "x");
        expect_attrs(store, "m", ATTRS({ STR("is"), STR("x") }));
        arena_done(&arena);
    }
    assert_false(failed);
}

/* --- run --- */

int contract_attrs_run(const char *name)
{
    const struct CMUnitTest tests[] = {
        CONTRACT_TEST(attributes_are_written_with_the_object),
        CONTRACT_TEST(attributes_that_are_headers_come_back_as_they_were),
        CONTRACT_TEST(large_objects_have_attributes_and_conditions),
        CONTRACT_TEST(attributes_come_any_time_and_the_last_count),
        CONTRACT_TEST(attributes_have_limits),
        CONTRACT_TEST(many_attributes_go_where_the_object_goes),
        CONTRACT_TEST(a_copy_takes_attributes_and_conditions),
        CONTRACT_TEST(new_attributes_change_nothing_else),
        CONTRACT_TEST(a_delete_takes_a_condition),
        CONTRACT_TEST(bytes_and_attributes_are_never_of_two_versions),
        CONTRACT_TEST(a_failed_allocation_loses_no_attributes),
    };
    return _cmocka_run_group_tests(name, tests, ARRAY_LEN(tests), NULL, NULL);
}
