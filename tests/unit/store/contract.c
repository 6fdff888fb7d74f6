/* The contract suite; contract.h says how it is used. */
#include "contract.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/io.h"
#include "base/mem.h"
#include "base/rng.h"
#include "store/upload.h"

const struct contract_driver *contract_driver;

void must(enum status status, const struct err *err)
{
    if (status != OK) {
        fail_msg("%s: %s", status_name(status), err->msg);
    }
}

void put_text(struct store *store, const char *key, const char *text)
{
    struct err err = { 0 };
    MUST(store_put(store, str_of(key), str_of(text), NULL, NULL, &err));
}

void expect_text(struct store *store, const char *key, const char *text)
{
    struct err err = { 0 };
    struct buf got;
    buf_init(&got, 0);
    must(store_read(store, str_of(key), NULL, &got, NULL, &err), &err);
    assert_int_equal(got.len, strlen(text));
    assert_memory_equal(got.ptr == NULL ? "" : got.ptr, text, got.len);
    buf_done(&got);
}

bool put_or_refused(struct store *store, struct str key)
{
    struct err err = { 0 };
    enum status status = store_put(store, key, key, NULL, NULL, &err);
    if (status == E_INVALID && contract_driver->tree) {
        return false;
    }
    must(status, &err);
    return true;
}

static void expect_missing(struct store *store, const char *key)
{
    struct store_info info;
    struct err err = { 0 };
    enum status status = store_stat(store, str_of(key), &info, &err);
    assert_true(status == E_NOT_FOUND || (status == E_INVALID && contract_driver->tree));
}

const char *list_text(struct store *store, struct arena *arena, const struct store_list_opts *opts)
{
    struct err err = { 0 };
    struct store_list list;
    MUST(store_list(store, opts, arena, &list, &err));
    struct str text = STR_EMPTY;
    size_t o = 0, p = 0;
    while (o < list.object_count || p < list.prefix_count) {
        bool object = p == list.prefix_count ||
                      (o < list.object_count && str_cmp(list.objects[o].key, list.prefixes[p]) < 0);
        struct str key = object ? list.objects[o++].key : list.prefixes[p++];
        if (str_eq(key, STR("_lake/format.json")) || str_eq(key, STR("_lake/writer.json")) ||
            str_eq(key, STR("_lake/"))) {
            continue; /* the drivers' own */
        }
        text = arena_printf(arena, object ? "%.*s%s%.*s" : "%.*s%s[%.*s]", STR_ARG(text),
                            text.len > 0 ? " " : "", STR_ARG(key));
    }
    if (list.truncated) {
        text = arena_printf(arena, "%.*s +", STR_ARG(text));
    }
    return arena_cstr(arena, text);
}

static void expect_list(struct store *store, const struct store_list_opts *opts,
                        const char *expected)
{
    struct arena arena;
    arena_init(&arena, 0);
    assert_string_equal(list_text(store, &arena, opts), expected);
    arena_done(&arena);
}

/* --- writes and reads --- */

static void put_then_read_gives_the_bytes_and_their_md5(void **state)
{
    struct store *store = *state;
    struct err err = { 0 };
    struct store_info info, seen;
    MUST(store_put(store, STR("a/b.txt"), STR("hello"), NULL, &info, &err));
    assert_int_equal(info.size, 5);
    assert_string_equal(info.etag, "5d41402abc4b2a76b9719d911017c592");
    assert_false(info.etag_weak);
    assert_true(info.modified_ms > 1600000000000);
    expect_text(store, "a/b.txt", "hello");
    MUST(store_stat(store, STR("a/b.txt"), &seen, &err));
    assert_string_equal(seen.etag, info.etag);
    assert_int_equal(seen.size, 5);
}

static void an_empty_object_is_an_object(void **state)
{
    struct store *store = *state;
    struct err err = { 0 };
    struct store_info info;
    MUST(store_put(store, STR("empty"), STR_EMPTY, NULL, &info, &err));
    assert_string_equal(info.etag, "d41d8cd98f00b204e9800998ecf8427e");
    expect_text(store, "empty", "");
}

static void put_twice_keeps_the_last_write(void **state)
{
    put_text(*state, "k", "one");
    put_text(*state, "k", "second");
    expect_text(*state, "k", "second");
}

static void a_missing_object_is_not_found(void **state)
{
    struct store *store = *state;
    struct err err = { 0 };
    struct store_object *object = NULL;
    struct buf buf;
    buf_init(&buf, 0);
    expect_missing(store, "nothing");
    assert_int_equal(store_open(store, STR("nothing/at/all"), &object, &err), E_NOT_FOUND);
    assert_int_equal(store_read(store, STR("nothing"), NULL, &buf, NULL, &err), E_NOT_FOUND);
    assert_int_equal(buf.len, 0);
}

static void a_key_and_its_prefix_live_beside_each_other_in_any_order(void **state)
{
    struct store *store = *state;
    struct err err = { 0 };
    if (contract_driver->tree) {
        put_text(store, "p/q", "1");
        assert_int_equal(store_put(store, STR("p"), STR("2"), NULL, NULL, &err), E_INVALID);
        put_text(store, "f", "3");
        assert_int_equal(store_put(store, STR("f/g"), STR("4"), NULL, NULL, &err), E_INVALID);
        assert_int_equal(store_put(store, STR("f/g/h"), STR("5"), NULL, NULL, &err), E_INVALID);
        assert_int_equal(store_copy(store, STR("f"), STR("p/q/r"), NULL, &err), E_INVALID);
        expect_list(store, NULL, "f p/q");
        MUST(store_delete(store, STR("p/q"), &err));
        MUST(store_delete(store, STR("f"), &err));
        put_text(store, "p", "2");
        put_text(store, "f/g", "4");
        expect_list(store, NULL, "f/g p");
        return;
    }
    put_text(store, "p/q", "1"); /* p is a folder now */
    put_text(store, "p", "2");
    put_text(store, "f", "3"); /* f is a file now */
    put_text(store, "f/g", "4");
    put_text(store, "f/g/h", "5");
    expect_text(store, "p", "2");
    expect_text(store, "f/g/h", "5");
    /* What was in the way goes; nothing else changes, and a new write still finds its object. */
    MUST(store_delete(store, STR("p/q"), &err));
    MUST(store_delete(store, STR("f"), &err));
    expect_text(store, "p", "2");
    expect_text(store, "f/g", "4");
    put_text(store, "p", "22");
    put_text(store, "f/g", "44");
    expect_text(store, "p", "22");
    expect_text(store, "f/g", "44");
    expect_list(store, NULL, "f/g f/g/h p");
    assert_int_equal(store_put(store, STR("f/g"), STR("x"),
                               &(struct store_cond){ .if_absent = true }, NULL, &err),
                     E_PRECONDITION);
}

static void conditions_hold(void **state)
{
    struct store *store = *state;
    struct err err = { 0 };
    struct store_info first, second;
    const struct store_cond absent = { .if_absent = true };
    assert_int_equal(store_put(store, STR("c"), STR("x"),
                               &(struct store_cond){ .if_match = STR("abc") }, NULL, &err),
                     E_PRECONDITION);
    expect_missing(store, "c");
    MUST(store_put(store, STR("c"), STR("1"), &absent, &first, &err));
    assert_int_equal(store_put(store, STR("c"), STR("2"), &absent, NULL, &err), E_PRECONDITION);
    MUST(store_put(store, STR("c"), STR("3"),
                   &(struct store_cond){ .if_match = str_of(first.etag) }, &second, &err));
    assert_string_not_equal(first.etag, second.etag);
    assert_int_equal(store_put(store, STR("c"), STR("4"),
                               &(struct store_cond){ .if_match = str_of(first.etag) }, NULL, &err),
                     E_PRECONDITION);
    expect_text(store, "c", "3");
    char endless[200];
    memset(endless, 'e', sizeof endless);
    assert_int_equal(store_put(store, STR("c"), STR("5"),
                               &(struct store_cond){ .if_match = { endless, 200 } }, NULL, &err),
                     E_PRECONDITION);
    MUST(store_delete(store, STR("c"), &err));
    MUST(store_put(store, STR("c"), STR("6"), &absent, NULL, &err));
}

static void an_opaque_tag_is_a_tag_like_any_other(void **state)
{
    struct store *store = *state;
    struct err err = { 0 };
    struct store_info first, seen, second;
    struct store_cond how = { .if_absent = true, .opaque_etag = true };
    MUST(store_put(store, STR("o"), STR("hello"), &how, &first, &err));
    MUST(store_stat(store, STR("o"), &seen, &err));
    assert_string_equal(seen.etag, first.etag);
    assert_false(seen.etag_weak);
    assert_int_equal(store_put(store, STR("o"), STR("hello"), &how, NULL, &err), E_PRECONDITION);
    how = (struct store_cond){ .if_match = str_of(first.etag), .opaque_etag = true };
    struct store_writer *writer = NULL;
    MUST(store_writer_open(store, STR("o"), &how, &writer, &err));
    MUST(store_writer_write(writer, STR("other"), &err));
    MUST(store_writer_commit(writer, &second, &err));
    assert_string_not_equal(second.etag, first.etag);
    assert_int_equal(store_put(store, STR("o"), STR("third"), &how, NULL, &err), E_PRECONDITION);
    expect_text(store, "o", "other");
}

static void deleting_is_idempotent(void **state)
{
    struct store *store = *state;
    struct err err = { 0 };
    put_text(store, "d/e/f", "x");
    MUST(store_delete(store, STR("d/e/f"), &err));
    MUST(store_delete(store, STR("d/e/f"), &err));
    MUST(store_delete(store, STR("never/was"), &err));
    expect_missing(store, "d/e/f");
    put_text(store, "d/e", "a folder was here");
    expect_text(store, "d/e", "a folder was here");
}

static void a_writer_shows_nothing_before_its_commit(void **state)
{
    struct store *store = *state;
    struct err err = { 0 };
    struct store_writer *writer = NULL;
    struct store_info info;
    MUST(store_writer_open(store, STR("w/x"), NULL, &writer, &err));
    MUST(store_writer_write(writer, STR("hel"), &err));
    MUST(store_writer_write(writer, STR_EMPTY, &err));
    expect_missing(store, "w/x");
    MUST(store_writer_write(writer, STR("lo"), &err));
    MUST(store_writer_commit(writer, &info, &err));
    assert_string_equal(info.etag, "5d41402abc4b2a76b9719d911017c592");
    expect_text(store, "w/x", "hello");

    MUST(store_writer_open(store, STR("w/y"), NULL, &writer, &err));
    MUST(store_writer_write(writer, STR("gone"), &err));
    store_writer_abort(writer);
    expect_missing(store, "w/y");
    store_writer_abort(NULL);

    MUST(store_writer_open(store, STR("w/x"), &(struct store_cond){ .if_absent = true }, &writer,
                           &err));
    MUST(store_writer_write(writer, STR("other"), &err));
    assert_int_equal(store_writer_commit(writer, NULL, &err), E_PRECONDITION);
    expect_text(store, "w/x", "hello");
}

/* --- big objects, ranges --- */

enum { BIG = 3 * 1024 * 1024 + 4321 };

static char *big_bytes(uint64_t seed)
{
    char *bytes = malloc(BIG);
    struct rng rng;
    rng_seed(&rng, seed);
    for (size_t i = 0; i < BIG; i++) {
        bytes[i] = (char)rng_next(&rng);
    }
    return bytes;
}

static void any_range_of_a_big_object_is_right(void **state)
{
    struct store *store = *state;
    struct err err = { 0 };
    struct rng rng;
    struct store_object *object = NULL;
    char *bytes = big_bytes(1), *got = malloc(BIG + 10);
    rng_seed(&rng, 2);
    MUST(store_put(store, STR("big"), str_from(bytes, BIG), NULL, NULL, &err));
    MUST(store_open(store, STR("big"), &object, &err));
    assert_int_equal(store_object_info(object)->size, BIG);
    for (int i = 0; i < 60; i++) {
        size_t offset = rng_below(&rng, BIG + 1), len = rng_below(&rng, i % 2 == 0 ? 2000 : BIG),
               n = 0;
        MUST(store_object_read(object, offset, got, len, &n, &err));
        assert_int_equal(n, len < BIG - offset ? len : BIG - offset);
        assert_memory_equal(got, bytes + offset, n);
    }
    size_t n = 1;
    MUST(store_object_read(object, BIG + 5, got, 10, &n, &err));
    assert_int_equal(n, 0);
    MUST(store_object_read(object, 0, got, BIG + 10, &n, &err));
    assert_int_equal(n, BIG);
    store_object_close(object);
    free(bytes);
    free(got);
}

static void read_takes_ranges_and_limits(void **state)
{
    struct store *store = *state;
    struct err err = { 0 };
    struct store_info info;
    struct buf out;
    buf_init(&out, 0);
    put_text(store, "r", "0123456789");
    MUST(buf_append(&out, STR("<")));
    MUST(store_read(store, STR("r"), &(struct store_read_opts){ .offset = 3, .length = 4 }, &out,
                    &info, &err));
    assert_true(str_eq(buf_str(&out), STR("<3456")));
    assert_int_equal(info.size, 10);
    MUST(store_read(store, STR("r"), &(struct store_read_opts){ .offset = 8, .length = 99 }, &out,
                    NULL, &err));
    assert_true(str_eq(buf_str(&out), STR("<345689")));
    assert_int_equal(
        store_read(store, STR("r"), &(struct store_read_opts){ .offset = 11 }, &out, NULL, &err),
        E_RANGE);
    assert_int_equal(
        store_read(store, STR("r"), &(struct store_read_opts){ .bytes_max = 9 }, &out, NULL, &err),
        E_TOO_LARGE);
    assert_true(str_eq(buf_str(&out), STR("<345689")));
    buf_done(&out);
}

/** The bytes of the version that was opened, or (behind a network) the news that it is gone. */
static void expect_version(struct store_object *object, const char *bytes, size_t offset)
{
    struct err err = { 0 };
    char got[1000];
    size_t n = 0;
    enum status status = store_object_read(object, offset, got, sizeof got, &n, &err);
    if (contract_driver->remote && status == E_CONFLICT) {
        return;
    }
    MUST(status);
    assert_int_equal(n, sizeof got);
    assert_memory_equal(got, bytes + offset, sizeof got);
}

static void an_open_object_stays_one_version(void **state)
{
    struct store *store = *state;
    struct err err = { 0 };
    struct store_object *object = NULL, *small = NULL;
    char *first = big_bytes(3), got[10];
    size_t n = 0;
    MUST(store_put(store, STR("v"), str_from(first, BIG), NULL, NULL, &err));
    put_text(store, "small", "pointer");
    MUST(store_open(store, STR("v"), &object, &err));
    MUST(store_open(store, STR("small"), &small, &err));
    put_text(store, "v", "another");
    put_text(store, "small", "changed");
    expect_version(object, first, 10);
    expect_version(object, first, BIG - 1000);
    MUST(store_delete(store, STR("v"), &err));
    MUST(store_delete(store, STR("small"), &err));
    expect_version(object, first, BIG - 1000);
    MUST(store_object_read(small, 0, got, sizeof got, &n, &err));
    assert_int_equal(n, 7);
    assert_memory_equal(got, "pointer", 7);
    store_object_close(object);
    store_object_close(small);
    store_object_close(NULL);
    free(first);
}

static void a_descriptor_reads_the_same_bytes(void **state)
{
    struct store *store = *state;
    struct err err = { 0 };
    struct store_object *object = NULL, *again = NULL;
    char *bytes = big_bytes(4), *got = malloc(BIG);
    int fd = -1;
    size_t n = 0;
    MUST(store_put(store, STR("fd"), str_from(bytes, BIG), NULL, NULL, &err));
    MUST(store_open(store, STR("fd"), &object, &err));
    enum status status = store_object_fd(object, 5, BIG - 5, &fd, &err);
    if (status != E_UNSUPPORTED) {
        MUST(status);
        MUST(io_pread(fd, got, BIG, 0, &n, &err));
        assert_int_equal(n, BIG);
        assert_memory_equal(got, bytes, BIG);
        close(fd);
        assert_int_equal(store_object_fd(object, 6, BIG, &fd, &err), E_RANGE);
        MUST(store_object_raw_fd(object, &fd, &err));
        MUST(store_fd_object(fd, &again, &err));
        assert_int_equal(store_object_info(again)->size, BIG);
        MUST(store_object_read(again, 7, got, 100000, &n, &err));
        assert_memory_equal(got, bytes + 7, 100000);
        store_object_close(again);
    }
    store_object_close(object);
    free(bytes);
    free(got);
}

static void spooled_files_become_objects(void **state)
{
    struct store *store = *state;
    struct err err = { 0 };
    struct store_info info;
    char *bytes = big_bytes(5), etag[MD5_HEX + 1];
    md5_hex(str_from(bytes, BIG), etag);
    for (int adopt = 0; adopt < 2; adopt++) {
        AUTO(fd_done) int fd = -1;
        const char *key = adopt ? "spool/adopted" : "spool/copied";
        MUST(store_spool(store, &fd, &err));
        MUST(io_write_full(fd, bytes, BIG, &err));
        MUST(store_put_fd(store, str_of(key), fd, adopt, &(struct store_cond){ .if_absent = true },
                          &info, &err));
        assert_string_equal(info.etag, etag);
        struct buf got;
        buf_init(&got, 0);
        MUST(store_read(store, str_of(key), NULL, &got, NULL, &err));
        assert_int_equal(got.len, BIG);
        assert_memory_equal(got.ptr, bytes, BIG);
        buf_done(&got);
        assert_int_equal(store_put_fd(store, str_of(key), fd, false,
                                      &(struct store_cond){ .if_absent = true }, NULL, &err),
                         E_PRECONDITION);
    }
    /* Any file will do, and an adoption that is not possible is a copy. */
    char path[] = "/tmp/store-test-XXXXXX";
    AUTO(fd_done) int fd = mkstemp(path);
    MUST(io_write_full(fd, "hello", 5, &err));
    MUST(store_put_fd(store, STR("from/file"), fd, true, NULL, NULL, &err));
    unlink(path);
    expect_text(store, "from/file", "hello");
    free(bytes);
}

static void copies_are_fresh_keys_with_a_life_of_their_own(void **state)
{
    struct store *store = *state;
    struct err err = { 0 };
    struct store_info info;
    put_text(store, "from", "hello");
    put_text(store, "taken", "x");
    MUST(store_copy(store, STR("from"), STR("to/here"), &info, &err));
    assert_string_equal(info.etag, "5d41402abc4b2a76b9719d911017c592");
    assert_int_equal(store_copy(store, STR("from"), STR("taken"), NULL, &err), E_EXISTS);
    assert_int_equal(store_copy(store, STR("nothing"), STR("fresh"), NULL, &err), E_NOT_FOUND);
    const char *below = contract_driver->tree ? "to/there/below" : "to/here/below/";
    MUST(store_copy(store, STR("from"), str_of(below), NULL, &err));
    MUST(store_copy(store, str_of(below), STR("back"), NULL, &err));
    put_text(store, "from", "changed");
    expect_text(store, "to/here", "hello");
    expect_text(store, below, "hello");
    MUST(store_delete(store, STR("from"), &err));
    expect_text(store, "to/here", "hello");
    expect_text(store, "back", "hello");
    put_text(store, "to/here", "mine");
    expect_text(store, "back", "hello");
}

/* --- lists --- */

/** The same where no key may lie beneath another. */
static void tree_lists_are_in_byte_order(struct store *store)
{
    const char *keys[] = { "a0", "a.b", "a/b", "a-b/c", "a/c/d", "b", "a!", "a/b.c", "a/b0", "A" };
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        put_text(store, keys[i], "x");
    }
    expect_list(store, NULL, "A a! a-b/c a.b a/b a/b.c a/b0 a/c/d a0 b");
    expect_list(store, &(struct store_list_opts){ .prefix = STR("a/b") }, "a/b a/b.c a/b0");
    expect_list(store, &(struct store_list_opts){ .prefix = STR("a/") }, "a/b a/b.c a/b0 a/c/d");
    expect_list(store, &(struct store_list_opts){ .prefix = STR("nothing/") }, "");
    expect_list(store, &(struct store_list_opts){ .prefix = STR("a/../") }, "");
    expect_list(store, &(struct store_list_opts){ .prefix = STR("a//") }, "");
    expect_list(store, &(struct store_list_opts){ .prefix = STR("/") }, "");
    expect_list(store, &(struct store_list_opts){ .after = STR("a/b.c") }, "a/b0 a/c/d a0 b");
    expect_list(store, &(struct store_list_opts){ .prefix = STR("a"), .delimiter = STR("/") },
                "a! [a-b/] a.b [a/] a0");
    expect_list(store, &(struct store_list_opts){ .prefix = STR("a/"), .delimiter = STR("/") },
                "a/b a/b.c a/b0 [a/c/]");
    expect_list(store, &(struct store_list_opts){ .delimiter = STR("/"), .after = STR("a/") },
                "a0 b");
    expect_list(store, &(struct store_list_opts){ .delimiter = STR("/"), .after = STR("a/b") },
                "[a/] a0 b");
    expect_list(store, &(struct store_list_opts){ .prefix = STR("a"), .delimiter = STR("b") },
                "a! [a-b] [a.b] [a/b] a/c/d a0");
    expect_list(store, &(struct store_list_opts){ .after = STR("zzz") }, "");
    expect_list(store, &(struct store_list_opts){ .prefix = STR("b"), .after = STR("a") }, "b");
    expect_list(store, &(struct store_list_opts){ .prefix = STR("a"), .after = STR("b") }, "");
}

static void lists_are_in_byte_order_of_whole_keys(void **state)
{
    struct store *store = *state;
    if (contract_driver->tree) {
        tree_lists_are_in_byte_order(store);
        return;
    }
    const char *keys[] = { "a0", "a.b", "a/b",   "a",    "a/", "a-b/c",   "a/b/c",
                           "b",  "a!",  "a/b.c", "a/b0", "A",  "\xc3\xbc" };
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        put_text(store, keys[i], "x");
    }
    expect_list(store, NULL, "A a a! a-b/c a.b a/ a/b a/b.c a/b/c a/b0 a0 b \xc3\xbc");
    expect_list(store, &(struct store_list_opts){ .prefix = STR("a/b") }, "a/b a/b.c a/b/c a/b0");
    expect_list(store, &(struct store_list_opts){ .prefix = STR("a/") }, "a/ a/b a/b.c a/b/c a/b0");
    expect_list(store, &(struct store_list_opts){ .prefix = STR("nothing/") }, "");
    expect_list(store, &(struct store_list_opts){ .prefix = STR("a/../") }, "");
    expect_list(store, &(struct store_list_opts){ .prefix = STR("a//") }, "");
    expect_list(store, &(struct store_list_opts){ .prefix = STR("/") }, "");
    expect_list(store, &(struct store_list_opts){ .after = STR("a/b.c") },
                "a/b/c a/b0 a0 b \xc3\xbc");
    expect_list(store, &(struct store_list_opts){ .prefix = STR("a"), .delimiter = STR("/") },
                "a a! [a-b/] a.b [a/] a0");
    expect_list(store, &(struct store_list_opts){ .prefix = STR("a/"), .delimiter = STR("/") },
                "a/ a/b a/b.c [a/b/] a/b0");
    expect_list(store, &(struct store_list_opts){ .delimiter = STR("/"), .after = STR("a/") },
                "a0 b \xc3\xbc");
    expect_list(store, &(struct store_list_opts){ .delimiter = STR("/"), .after = STR("a/b") },
                "[a/] a0 b \xc3\xbc");
    expect_list(store, &(struct store_list_opts){ .prefix = STR("a"), .delimiter = STR("b") },
                "a a! [a-b] [a.b] a/ [a/b] a0");
    expect_list(store, &(struct store_list_opts){ .after = STR("zzz") }, "\xc3\xbc");
    expect_list(store, &(struct store_list_opts){ .prefix = STR("b"), .after = STR("a") }, "b");
    expect_list(store, &(struct store_list_opts){ .prefix = STR("a"), .after = STR("b") }, "");
}

static void a_list_tells_size_etag_and_time(void **state)
{
    struct store *store = *state;
    struct err err = { 0 };
    struct arena arena;
    struct store_list list;
    struct store_info info;
    arena_init(&arena, 0);
    put_text(store, "l/hello", "hello");
    MUST(store_stat(store, STR("l/hello"), &info, &err));
    MUST(store_list(store, &(struct store_list_opts){ .prefix = STR("l") }, &arena, &list, &err));
    assert_int_equal(list.object_count, 1);
    assert_true(str_eq(list.objects[0].key, STR("l/hello")));
    assert_string_equal(list.objects[0].etag, info.etag);
    assert_int_equal(list.objects[0].size, 5);
    assert_int_equal(list.objects[0].modified_ms, info.modified_ms);
    assert_false(list.truncated);
    arena_done(&arena);
}

/** Pages of any size, put together, are the whole list; checked against a plain model. */
static void pages_put_together_are_the_list(void **state)
{
    struct store *store = *state;
    struct err err = { 0 };
    struct rng rng;
    struct arena arena;
    rng_seed(&rng, 77);
    arena_init(&arena, 0);
    static const char alphabet[] = "ab./-0/\n";
    for (int i = 0; i < 150; i++) {
        char key[12] = "z";
        size_t len = 1 + rng_below(&rng, 9);
        for (size_t j = 1; j <= len; j++) {
            key[j] = alphabet[rng_below(&rng, sizeof alphabet - 1)];
        }
        enum status fits = contract_driver->plain_keys ? store_key_check_plain(str_of(key), &err)
                                                       : store_key_check(str_of(key), &err);
        if (fits == OK) {
            (void)put_or_refused(store, str_of(key));
        }
    }
    const struct str delimiters[] = { STR_INIT(""), STR_INIT("/"), STR_INIT("a"), STR_INIT("/b") };
    for (size_t d = 0; d < ARRAY_LEN(delimiters); d++) {
        const struct store_list_opts all = { .prefix = STR("z"), .delimiter = delimiters[d] };
        const char *whole = list_text(store, &arena, &all);
        for (size_t limit = 1; limit < 30; limit = limit * 2 + 1) {
            struct store_list_opts opts = all;
            struct store_list list;
            struct str joined = STR_EMPTY;
            opts.limit = limit;
            do {
                MUST(store_list(store, &opts, &arena, &list, &err));
                assert_true(list.object_count + list.prefix_count <= limit);
                struct str page = str_of(list_text(store, &arena, &opts));
                if (list.truncated) {
                    page.len -= 2;
                }
                joined = arena_printf(&arena, "%.*s%s%.*s", STR_ARG(joined),
                                      joined.len > 0 && page.len > 0 ? " " : "", STR_ARG(page));
                opts.after = list.next;
            } while (list.truncated);
            assert_string_equal(arena_cstr(&arena, joined), whole);
        }
    }
    arena_done(&arena);
}

static void a_list_has_at_most_its_limit(void **state)
{
    struct store *store = *state;
    put_text(store, "n/1", "x");
    put_text(store, "n/2", "x");
    put_text(store, "n/3", "x");
    expect_list(store, &(struct store_list_opts){ .prefix = STR("n/"), .limit = 2 }, "n/1 n/2 +");
    expect_list(store, &(struct store_list_opts){ .prefix = STR("n/"), .limit = 3 }, "n/1 n/2 n/3");
    expect_list(store, &(struct store_list_opts){ .prefix = STR("n/"), .limit = 1000000 },
                "n/1 n/2 n/3");
}

/* --- many at once --- */

enum { RACERS = 8, ROUNDS = 12 };

struct race {
    struct store *store;
    pthread_barrier_t barrier;
    _Atomic int wins;
    bool swap;
    char base[STORE_ETAG_MAX + 1];
    int round;
    _Atomic int number;
    _Atomic int wrong;
};

static void *racer(void *arg)
{
    struct race *race = arg;
    char key[32], text[64];
    struct err err = { 0 };
    struct store_cond cond = { .if_absent = !race->swap };
    if (race->swap) {
        cond.if_match = str_of(race->base);
    }
    snprintf(key, sizeof key, "race/%d", race->swap ? 0 : race->round);
    snprintf(text, sizeof text, "round %d racer %d", race->round, race->number++);
    pthread_barrier_wait(&race->barrier);
    enum status status = store_put(race->store, str_of(key), str_of(text), &cond, NULL, &err);
    if (status == OK) {
        race->wins++;
    } else if (status != E_PRECONDITION) {
        fprintf(stderr, "%s: %s\n", status_name(status), err.msg);
        race->wrong++;
    }
    return NULL;
}

static void race_once(struct race *race)
{
    pthread_t threads[RACERS];
    race->wins = 0;
    pthread_barrier_init(&race->barrier, NULL, RACERS);
    for (int i = 0; i < RACERS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, racer, race), 0);
    }
    for (int i = 0; i < RACERS; i++) {
        pthread_join(threads[i], NULL);
    }
    pthread_barrier_destroy(&race->barrier);
    assert_int_equal(race->wrong, 0);
    assert_int_equal(race->wins, 1);
}

static void of_parallel_creates_one_wins(void **state)
{
    struct race race = { .store = *state };
    for (race.round = 0; race.round < ROUNDS; race.round++) {
        race_once(&race);
    }
}

static void of_parallel_swaps_one_wins(void **state)
{
    struct race race = { .store = *state, .swap = true };
    struct err err = { 0 };
    put_text(race.store, "race/0", "start");
    for (race.round = 0; race.round < ROUNDS; race.round++) {
        struct store_info info;
        MUST(store_stat(race.store, STR("race/0"), &info, &err));
        memcpy(race.base, info.etag, sizeof race.base);
        race_once(&race);
    }
}

struct churn {
    struct store *store;
    int number;
    _Atomic int wrong;
};

/** Keys that need each other's names as file and as folder, made and deleted all the time. */
static void *churner(void *arg)
{
    struct churn *churn = arg;
    static const char *const keys[] = { "c", "c/d", "c/d/e", "c/d/e/f" };
    for (int i = 0; i < 60; i++) {
        struct err err = { 0 };
        struct str key = str_of(keys[(churn->number + i) % 4]);
        enum status status = i % 3 == 2 ? store_delete(churn->store, key, &err)
                                        : store_put(churn->store, key, key, NULL, NULL, &err);
        if (status != OK && !(status == E_INVALID && contract_driver->tree)) {
            fprintf(stderr, "%.*s: %s: %s\n", STR_ARG(key), status_name(status), err.msg);
            churn->wrong++;
        }
        struct buf got;
        buf_init(&got, 0);
        status = store_read(churn->store, key, NULL, &got, NULL, &err);
        if (status != E_NOT_FOUND && (status != OK || !str_eq(buf_str(&got), key))) {
            fprintf(stderr, "%.*s: %s: %s\n", STR_ARG(key), status_name(status), err.msg);
            churn->wrong++;
        }
        buf_done(&got);
    }
    return NULL;
}

static void keys_that_contend_for_names_never_fail(void **state)
{
    struct churn churns[4];
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
        churns[i] = (struct churn){ .store = *state, .number = i };
        assert_int_equal(pthread_create(&threads[i], NULL, churner, &churns[i]), 0);
    }
    int wrong = 0;
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        wrong += churns[i].wrong;
    }
    assert_int_equal(wrong, 0);
}

/* --- memory --- */

static void a_failed_allocation_is_an_error_and_leaves_nothing(void **state)
{
    struct store *store = *state;
    put_text(store, "m/there", "x");
    bool failed = true;
    for (long n = 0; failed && n < 2000; n++) {
        struct err err = { 0 };
        struct arena arena;
        struct store_list list;
        struct buf out;
        char key[32];
        arena_init(&arena, 0);
        buf_init(&out, 0);
        snprintf(key, sizeof key, "m/%ld", n);
        mem_fail_nth(n);
        enum status put = store_put(store, str_of(key), STR("hello"),
                                    &(struct store_cond){ .if_absent = true }, NULL, &err);
        enum status read = store_read(store, STR("m/there"), NULL, &out, NULL, &err);
        enum status listed = store_list(store, &(struct store_list_opts){ .prefix = STR("m/t") },
                                        &arena, &list, &err);
        failed = mem_fail_happened();
        mem_fail_nth(-1);
        bool unknown = contract_driver->remote && put == E_UPSTREAM;
        if (put != OK && put != E_NO_MEMORY && !unknown) {
            fail_msg("allocation %ld: %s: %s", n, status_name(put), err.msg);
        }
        assert_true(read == OK || read == E_NO_MEMORY ||
                    (contract_driver->remote && read == E_UPSTREAM));
        assert_true(listed == OK || listed == E_NO_MEMORY ||
                    (contract_driver->remote && listed == E_UPSTREAM));
        if (put == OK) {
            expect_text(store, key, "hello");
        } else if (!unknown) {
            expect_missing(store, key);
        }
        buf_done(&out);
        arena_done(&arena);
    }
    assert_false(failed);
}

static void the_root_uri_has_no_slash_at_its_end(void **state)
{
    struct err err = { 0 };
    struct str uri = store_root_uri(*state);
    assert_true(str_starts(uri, str_of(contract_driver->uri_scheme)));
    assert_false(str_ends(uri, STR("/")));
    MUST(store_ready(*state, &err));
}

static void a_store_without_uploads_says_so(void **state)
{
    struct store *store = *state;
    struct arena arena;
    struct err err = { 0 };
    struct str key = STR("k"), id = STR("id");
    struct store_uploads uploads;
    struct store_writer *writer = NULL;
    const struct store_part_ref ref = { 1, STR("x") };
    arena_init(&arena, 0);
    assert_int_equal(store_upload_begin(store, key, NULL, &arena, &id, &err), E_UNSUPPORTED);
    assert_int_equal(store_part_open(store, key, id, 1, -1, &writer, &err), E_UNSUPPORTED);
    assert_int_equal(store_upload_complete(store, key, id, &ref, 1, NULL, NULL, NULL, &err),
                     E_UNSUPPORTED);
    assert_int_equal(store_upload_abort(store, key, id, &err), E_UNSUPPORTED);
    assert_int_equal(store_upload_list(store, NULL, &arena, &uploads, &err), E_UNSUPPORTED);
    assert_int_equal(store_uploads_sweep(store, 0, NULL, &err), E_UNSUPPORTED);
    arena_done(&arena);
}

/* --- run --- */

int contract_setup(void **state)
{
    *state = contract_driver->open();
    return *state == NULL;
}

int contract_teardown(void **state)
{
    contract_driver->close(*state);
    return 0;
}

int contract_run(const char *name, const struct contract_driver *of)
{
    contract_driver = of;
    const struct CMUnitTest tests[] = {
        CONTRACT_TEST(put_then_read_gives_the_bytes_and_their_md5),
        CONTRACT_TEST(an_empty_object_is_an_object),
        CONTRACT_TEST(put_twice_keeps_the_last_write),
        CONTRACT_TEST(a_missing_object_is_not_found),
        CONTRACT_TEST(a_key_and_its_prefix_live_beside_each_other_in_any_order),
        CONTRACT_TEST(conditions_hold),
        CONTRACT_TEST(an_opaque_tag_is_a_tag_like_any_other),
        CONTRACT_TEST(deleting_is_idempotent),
        CONTRACT_TEST(a_writer_shows_nothing_before_its_commit),
        CONTRACT_TEST(any_range_of_a_big_object_is_right),
        CONTRACT_TEST(read_takes_ranges_and_limits),
        CONTRACT_TEST(an_open_object_stays_one_version),
        CONTRACT_TEST(a_descriptor_reads_the_same_bytes),
        CONTRACT_TEST(spooled_files_become_objects),
        CONTRACT_TEST(copies_are_fresh_keys_with_a_life_of_their_own),
        CONTRACT_TEST(lists_are_in_byte_order_of_whole_keys),
        CONTRACT_TEST(a_list_tells_size_etag_and_time),
        CONTRACT_TEST(pages_put_together_are_the_list),
        CONTRACT_TEST(a_list_has_at_most_its_limit),
        CONTRACT_TEST(of_parallel_creates_one_wins),
        CONTRACT_TEST(of_parallel_swaps_one_wins),
        CONTRACT_TEST(keys_that_contend_for_names_never_fail),
        CONTRACT_TEST(a_failed_allocation_is_an_error_and_leaves_nothing),
        CONTRACT_TEST(the_root_uri_has_no_slash_at_its_end),
    };
    const struct CMUnitTest none[] = { CONTRACT_TEST(a_store_without_uploads_says_so) };
    return _cmocka_run_group_tests(name, tests, ARRAY_LEN(tests), NULL, NULL) +
           contract_keys_run(name) + contract_attrs_run(name) +
           (of->no_uploads ? _cmocka_run_group_tests(name, none, ARRAY_LEN(none), NULL, NULL)
                           : contract_uploads_run(name));
}
