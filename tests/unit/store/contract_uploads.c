/* The contract suite: uploads in parts. contract.h says how it is used. */
#include "contract.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/digest.h"
#include "base/encode.h"
#include "base/mem.h"
#include "base/rng.h"
#include "store/upload.h"

#define ATTRS(...)                                                                                 \
    (&(struct store_attrs){ (const struct store_attr[]){ __VA_ARGS__ },                            \
                            sizeof((const struct store_attr[]){ __VA_ARGS__ }) /                   \
                                sizeof(struct store_attr) })

/* One test's upload, and what goes with it. */
struct lab {
    struct store *store;
    struct arena arena;
    struct str key, id;
    struct err err;
};

static struct lab lab_new(struct store *store, const char *key, const struct store_attrs *attrs)
{
    struct lab lab = { .store = store, .key = str_of(key) };
    arena_init(&lab.arena, 0);
    must(store_upload_begin(store, lab.key, attrs, &lab.arena, &lab.id, &lab.err), &lab.err);
    assert_true(lab.id.len > 0 && lab.id.len <= STORE_UPLOAD_ID_MAX);
    return lab;
}

static void lab_done(struct lab *lab)
{
    arena_done(&lab->arena);
}

#define LAB_MUST(lab, call) must((call), &(lab)->err)

/** In pieces, as bodies come. `announced` as in store_part_open. */
static enum status try_part(struct lab *lab, unsigned number, struct str bytes, int64_t announced,
                            const struct store_attrs *attrs, struct store_info *info_out,
                            struct err *err)
{
    struct store_writer *writer = NULL;
    TRY(store_part_open(lab->store, lab->key, lab->id, number, announced, &writer, err));
    enum status status = OK;
    while (status == OK && bytes.len > 0) {
        struct str piece = str_take(bytes, 70000);
        status = store_writer_write(writer, piece, err);
        bytes = str_skip(bytes, piece.len);
    }
    if (status == OK && attrs != NULL) {
        status = store_writer_attrs(writer, attrs, err);
    }
    if (status != OK) {
        store_writer_abort(writer);
        return status;
    }
    return store_writer_commit(writer, info_out, err);
}

static struct store_info part(struct lab *lab, unsigned number, struct str bytes)
{
    struct store_info info = { 0 };
    LAB_MUST(lab, try_part(lab, number, bytes, (int64_t)bytes.len, NULL, &info, &lab->err));
    assert_int_equal(info.size, bytes.len);
    return info;
}

/** Complete with all parts that are there. */
static enum status try_complete(struct lab *lab, const struct store_cond *cond,
                                struct store_info *info_out, struct err *err)
{
    struct store_parts page = { .truncated = true };
    struct store_part_ref *refs = arena_array(&lab->arena, STORE_PARTS_MAX, sizeof *refs);
    size_t count = 0;
    if (refs == NULL) {
        return err_no_memory(err);
    }
    while (page.truncated) {
        TRY(store_upload_parts(lab->store, lab->key, lab->id,
                               count > 0 ? refs[count - 1].number : 0, 0, &lab->arena, &page, err));
        for (size_t i = 0; i < page.count; i++) {
            refs[count++] = (struct store_part_ref){ page.items[i].number,
                                                     str_of(page.items[i].etag) };
        }
    }
    return store_upload_complete(lab->store, lab->key, lab->id, refs, count, NULL, cond, info_out,
                                 err);
}

static void complete(struct lab *lab)
{
    LAB_MUST(lab, try_complete(lab, NULL, NULL, &lab->err));
}

static void expect_upload_gone(struct lab *lab)
{
    struct store_upload upload;
    struct store_parts parts;
    struct store_writer *writer = NULL;
    struct err err = { 0 };
    const struct store_part_ref ref = { 1, STR("x") };
    assert_int_equal(
        store_upload_get(lab->store, lab->key, lab->id, &lab->arena, &upload, NULL, &err),
        E_NOT_FOUND);
    assert_int_equal(
        store_upload_parts(lab->store, lab->key, lab->id, 0, 0, &lab->arena, &parts, &err),
        E_NOT_FOUND);
    assert_int_equal(store_part_open(lab->store, lab->key, lab->id, 1, -1, &writer, &err),
                     E_NOT_FOUND);
    assert_int_equal(
        store_upload_complete(lab->store, lab->key, lab->id, &ref, 1, NULL, NULL, NULL, &err),
        E_NOT_FOUND);
    assert_int_equal(store_upload_abort(lab->store, lab->key, lab->id, &err), E_NOT_FOUND);
}

static void expect_nothing(struct store *store, const char *key)
{
    struct err err = { 0 };
    struct store_info info;
    assert_int_equal(store_stat(store, str_of(key), &info, &err), E_NOT_FOUND);
}

static void expect_attr(struct store *store, const char *key, const char *value)
{
    struct err err = { 0 };
    struct arena arena;
    struct store_info info;
    struct store_attrs attrs;
    arena_init(&arena, 0);
    MUST(store_stat_attrs(store, str_of(key), &arena, &info, &attrs, &err));
    assert_int_equal(attrs.count, value != NULL);
    assert_true(value == NULL || str_eq(attrs.items[0].value, str_of(value)));
    arena_done(&arena);
}

/** The ETag that the parts must get together. */
static void etag_of_parts(const struct str *parts, size_t count, char out[STORE_ETAG_MAX + 1])
{
    struct buf md5s;
    buf_init(&md5s, 0);
    for (size_t i = 0; i < count; i++) {
        char hex[MD5_HEX + 1];
        uint8_t md5[MD5_BYTES];
        md5_hex(parts[i], hex);
        assert_true(hex_decode(str_of(hex), md5, sizeof md5));
        assert_int_equal(buf_append_bytes(&md5s, md5, sizeof md5), OK);
    }
    char hex[MD5_HEX + 1];
    md5_hex(buf_str(&md5s), hex);
    snprintf(out, STORE_ETAG_MAX + 1, "%s-%zu", hex, count);
    buf_done(&md5s);
}

/** Bytes that differ everywhere, in the lab's arena. */
static struct str noise(struct lab *lab, size_t len, uint64_t seed)
{
    struct rng rng;
    rng_seed(&rng, seed);
    char *bytes = arena_alloc(&lab->arena, len + 8);
    assert_non_null(bytes);
    for (size_t i = 0; i < len; i += 8) {
        uint64_t word = rng_next(&rng);
        memcpy(bytes + i, &word, 8);
    }
    return str_from(bytes, len);
}

/** As a part that is not the last: behind `bytes` there is as much more as the driver needs. */
static struct str filled(struct lab *lab, struct str bytes)
{
    size_t least = contract_driver->part_bytes_min;
    if (bytes.len >= least) {
        return bytes;
    }
    char *all = arena_alloc(&lab->arena, least);
    assert_non_null(all);
    memset(all, '.', least);
    memcpy(all, bytes.ptr, bytes.len);
    return str_from(all, least);
}

/** noise that may be any part. */
static struct str noise_part(struct lab *lab, size_t len, uint64_t seed)
{
    return noise(lab, len + contract_driver->part_bytes_min, seed);
}

/** The object is these pieces one after the other, with the ETag of so many parts. */
static void expect_joined(struct lab *lab, const struct str *parts, size_t count)
{
    struct buf whole, got;
    char etag[STORE_ETAG_MAX + 1];
    struct store_info info;
    buf_init(&whole, 0);
    buf_init(&got, 0);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(buf_append(&whole, parts[i]), OK);
    }
    etag_of_parts(parts, count, etag);
    LAB_MUST(lab, store_read(lab->store, lab->key, NULL, &got, &info, &lab->err));
    assert_int_equal(got.len, whole.len);
    assert_true(str_eq(buf_str(&got), buf_str(&whole)));
    assert_string_equal(info.etag, etag);
    buf_done(&whole);
    buf_done(&got);
}

/* --- one upload --- */

static void parts_become_one_object(void **state)
{
    struct lab lab = lab_new(*state, "u/object", ATTRS({ STR("content-type"), STR("text/plain") }));
    const struct str parts[] = { filled(&lab, STR("hello ")), filled(&lab, STR("you ")),
                                 STR("there") };
    char etag[STORE_ETAG_MAX + 1], md5[MD5_HEX + 1];
    struct store_info info = part(&lab, 1, STR("hello "));
    assert_string_equal(info.etag, "f814893777bcc2295fff05f00e508da6");
    md5_hex(parts[0], md5);
    info = part(&lab, 1, parts[0]);
    assert_string_equal(info.etag, md5);
    assert_true(info.modified_ms > 1600000000000);
    part(&lab, 2, parts[1]);
    part(&lab, 3, parts[2]);
    expect_nothing(lab.store, "u/object");
    assert_string_equal(
        list_text(lab.store, &lab.arena, &(struct store_list_opts){ .prefix = STR("u") }), "");
    LAB_MUST(&lab, try_complete(&lab, NULL, &info, &lab.err));
    etag_of_parts(parts, 3, etag);
    assert_string_equal(info.etag, etag);
    assert_int_equal(info.size, parts[0].len + parts[1].len + parts[2].len);
    expect_joined(&lab, parts, 3);
    expect_attr(lab.store, "u/object", "text/plain");
    assert_string_equal(
        list_text(lab.store, &lab.arena, &(struct store_list_opts){ .prefix = STR("u") }),
        "u/object");
    expect_upload_gone(&lab);
    lab_done(&lab);
}

static void one_part_and_an_empty_one_are_objects_of_parts(void **state)
{
    struct lab lab = lab_new(*state, "u/one", NULL);
    const struct str parts[] = { STR_INIT("alone") }, empty[] = { STR_INIT("") };
    part(&lab, 10000, parts[0]);
    complete(&lab);
    expect_joined(&lab, parts, 1);
    expect_attr(lab.store, "u/one", NULL);
    lab_done(&lab);
    lab = lab_new(*state, "u/empty", NULL);
    part(&lab, 7, empty[0]);
    complete(&lab);
    expect_joined(&lab, empty, 1);
    lab_done(&lab);
}

/** All ways to send parts give the same object: sizes, order, announced or not, replaced or not. */
static void parts_come_in_any_shape_and_order(void **state)
{
    static const struct {
        size_t sizes[8];
        unsigned order[16]; /* 1-based; a number again replaces */
    } cases[] = {
        { { 100, 100, 100, 7 }, { 1, 2, 3, 4 } },
        { { 100, 100, 100, 7 }, { 4, 3, 2, 1 } },
        { { 100, 100, 100, 7 }, { 4, 2, 2, 1, 3, 4, 4 } },
        { { 2097152, 2097152, 1048577 }, { 3, 1, 2, 1 } },
        { { 1048576, 1048576, 1048576, 1048576 }, { 2, 4, 1, 3, 2 } },
        { { 1500000, 1500000, 1500000, 20 }, { 3, 2, 4, 1 } },
        { { 5, 4000000, 3, 1, 2000000 }, { 5, 4, 3, 2, 1, 2 } },
        { { 1, 2, 3, 4, 5, 6, 7, 8 }, { 8, 1, 7, 2, 6, 3, 5, 4 } },
        { { 0, 10, 0, 10 }, { 2, 1, 4, 3 } },
        { { 3000000, 10 }, { 2, 1 } },
        { { 10, 3000000 }, { 2, 1 } },
    };
    /* where all but the last of them are large, some of the cases do */
    size_t least = contract_driver->part_bytes_min;
    for (size_t c = least > 0 ? 2 : 0; c < ARRAY_LEN(cases); c += least > 0 ? 3 : 1) {
        for (int announce = least > 0 ? 2 : 0; announce < 3; announce++) {
            struct lab lab = lab_new(*state, "u/shape", NULL);
            struct str parts[8];
            size_t count = 0;
            for (size_t i = 0; i < ARRAY_LEN(cases[c].order) && cases[c].order[i] > 0; i++) {
                unsigned number = cases[c].order[i];
                count = number > count ? number : count;
                parts[number - 1] = noise_part(&lab, cases[c].sizes[number - 1], c * 1000 + i);
                struct str bytes = parts[number - 1];
                bool known = announce == 1 || (announce == 2 && i % 2 == 0);
                LAB_MUST(&lab, try_part(&lab, number, bytes, known ? (int64_t)bytes.len : -1, NULL,
                                        &(struct store_info){ 0 }, &lab.err));
            }
            complete(&lab);
            expect_joined(&lab, parts, count);
            lab_done(&lab);
        }
    }
}

static void a_part_may_be_replaced_by_one_of_another_size(void **state)
{
    struct lab lab = lab_new(*state, "u/replaced", NULL);
    const struct str parts[] = { noise_part(&lab, 3000000, 1), noise_part(&lab, 10, 2),
                                 noise(&lab, 3000000, 3) };
    part(&lab, 1, parts[0]);
    part(&lab, 2, noise(&lab, 3000000, 4));
    part(&lab, 3, parts[2]);
    part(&lab, 2, noise(&lab, 6000000, 5));
    part(&lab, 2, parts[1]);
    complete(&lab);
    expect_joined(&lab, parts, 3);
    lab_done(&lab);
}

static void a_complete_takes_some_of_the_parts(void **state)
{
    struct lab lab = lab_new(*state, "u/some", NULL);
    const struct str parts[] = { noise_part(&lab, 1048576, 1), noise_part(&lab, 1048576, 2),
                                 noise_part(&lab, 1048576, 3), noise_part(&lab, 1048576, 4) };
    struct store_info infos[4];
    for (unsigned i = 0; i < 4; i++) {
        infos[i] = part(&lab, 10 * (i + 1), parts[i]);
    }
    const struct store_part_ref refs[] = { { 20, str_of(infos[1].etag) },
                                           { 40, str_of(infos[3].etag) } };
    const struct str wanted[] = { parts[1], parts[3] };
    LAB_MUST(&lab, store_upload_complete(lab.store, lab.key, lab.id, refs, 2,
                                         ATTRS({ STR("a"), STR("new") }), NULL, NULL, &lab.err));
    expect_joined(&lab, wanted, 2);
    expect_attr(lab.store, "u/some", "new");
    expect_upload_gone(&lab);
    lab_done(&lab);
}

static void expect_nothing_or_no_key(struct store *store, struct str key)
{
    struct err err = { 0 };
    struct store_info info;
    enum status status = store_stat(store, key, &info, &err);
    assert_true(status == E_NOT_FOUND || status == E_INVALID);
}

static void an_upload_of_any_key_is_an_object_like_others(void **state)
{
    static const char *const keys[] = { "u/a/", "u/../x//", "u", "u/a", "\n" };
    /* moto puts "\n" and does not find it when it came in parts */
    for (size_t i = 0; i < ARRAY_LEN(keys) - contract_driver->plain_keys; i++) {
        struct lab lab = { .store = *state, .key = str_of(keys[i]) };
        arena_init(&lab.arena, 0);
        enum status status = store_upload_begin(lab.store, lab.key, ATTRS({ STR("a"), STR("b") }),
                                                &lab.arena, &lab.id, &lab.err);
        const struct str parts[] = { filled(&lab, STR("one")), str_of(keys[i]) };
        if (status == OK) {
            part(&lab, 1, parts[0]);
            part(&lab, 2, parts[1]);
            status = try_complete(&lab, NULL, NULL, &lab.err);
        }
        if (status == E_INVALID && contract_driver->tree) {
            expect_nothing_or_no_key(lab.store, lab.key);
            lab_done(&lab);
            continue;
        }
        must(status, &lab.err);
        expect_joined(&lab, parts, 2);
        LAB_MUST(&lab, store_copy(lab.store, lab.key, STR("copy"), NULL, &lab.err));
        expect_attr(lab.store, "copy", "b");
        LAB_MUST(&lab, store_delete(lab.store, STR("copy"), &lab.err));
        lab_done(&lab);
    }
}

/* --- what is refused --- */

static void a_complete_that_cannot_be_changes_nothing(void **state)
{
    struct lab lab = lab_new(*state, "u/refused", NULL);
    const struct str parts[] = { filled(&lab, STR("one")), STR("two") };
    struct store_info a = part(&lab, 1, parts[0]), b = part(&lab, 3, parts[1]);
    struct str one = str_of(a.etag), two = str_of(b.etag);
    static char longest[200];
    memset(longest, 'x', sizeof longest);
    const struct {
        struct store_part_ref refs[3];
        size_t count;
        enum status expected;
    } cases[] = {
        { { { 1, one } }, 0, E_INVALID },
        { { { 3, two }, { 1, one } }, 2, E_INVALID },
        { { { 1, one }, { 1, one } }, 2, E_INVALID },
        { { { 0, one } }, 1, E_INVALID },
        { { { 10001, one } }, 1, E_INVALID },
        { { { 1, one }, { 2, two }, { 3, two } }, 3, E_CONFLICT },
        { { { 1, one }, { 3, one } }, 2, E_CONFLICT },
        { { { 1, STR("") }, { 3, two } }, 2, E_CONFLICT },
        { { { 1, one }, { 3, { longest, sizeof longest } } }, 2, E_CONFLICT },
        { { { 1, one }, { 4, two } }, 2, E_CONFLICT },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err err = { 0 };
        assert_int_equal(store_upload_complete(lab.store, lab.key, lab.id, cases[i].refs,
                                               cases[i].count, NULL, NULL, NULL, &err),
                         cases[i].expected);
        assert_true(err.msg[0] != '\0');
        expect_nothing(lab.store, "u/refused");
    }
    complete(&lab);
    expect_joined(&lab, parts, 2);
    lab_done(&lab);
}

static void conditions_of_a_complete_hold(void **state)
{
    struct store *store = *state;
    struct lab lab = lab_new(store, "u/cond", NULL);
    const struct str parts[] = { STR("new") };
    struct store_info info;
    struct err err = { 0 };
    part(&lab, 1, parts[0]);
    assert_int_equal(try_complete(&lab, &(struct store_cond){ .if_match = STR("x") }, NULL, &err),
                     E_PRECONDITION);
    put_text(store, "u/cond", "old");
    assert_int_equal(try_complete(&lab, &(struct store_cond){ .if_absent = true }, NULL, &err),
                     E_PRECONDITION);
    expect_text(store, "u/cond", "old");
    MUST(store_stat(store, lab.key, &info, &err));
    MUST(try_complete(&lab, &(struct store_cond){ .if_match = str_of(info.etag) }, NULL, &err));
    expect_joined(&lab, parts, 1);
    expect_upload_gone(&lab);
    lab_done(&lab);
    lab = lab_new(store, "u/fresh", NULL);
    part(&lab, 1, parts[0]);
    MUST(try_complete(&lab, &(struct store_cond){ .if_absent = true }, NULL, &err));
    expect_joined(&lab, parts, 1);
    lab_done(&lab);
}

static void what_is_no_upload_or_no_part_is_refused(void **state)
{
    struct store *store = *state;
    struct lab lab = lab_new(store, "u/k", NULL), other = lab;
    struct err err = { 0 };
    struct store_writer *writer = NULL;
    static char longest[STORE_UPLOAD_ID_MAX + 1];
    memset(longest, 'x', sizeof longest);
    const struct str ids[] = { STR_INIT(""),     STR_INIT("nothing"),
                               STR_INIT(".."),   STR_INIT("."),
                               STR_INIT("a/b"),  STR_INIT("../u"),
                               STR_INIT("a\0b"), { longest, sizeof longest },
                               { longest, 128 } };
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        other.id = ids[i];
        expect_upload_gone(&other);
    }
    other = lab;
    other.key = STR("u/other");
    expect_upload_gone(&other);
    assert_int_equal(store_part_open(store, lab.key, lab.id, 0, -1, &writer, &err), E_INVALID);
    assert_int_equal(store_part_open(store, lab.key, lab.id, 10001, -1, &writer, &err), E_INVALID);
    assert_int_equal(store_upload_begin(store, STR(""), NULL, &lab.arena, &lab.id, &err),
                     E_INVALID);
    assert_int_equal(
        store_upload_begin(store, lab.key, ATTRS({ STR(""), STR("x") }), &lab.arena, &lab.id, &err),
        E_INVALID);
    assert_int_equal(try_part(&lab, 1, STR("hello"), 4, NULL, NULL, &err), E_INVALID);
    assert_int_equal(try_part(&lab, 1, STR("hello"), 6, NULL, NULL, &err), E_INVALID);
    assert_int_equal(try_part(&lab, 1, STR(""), 1, NULL, NULL, &err), E_INVALID);
    struct store_parts parts;
    MUST(store_upload_parts(store, lab.key, lab.id, 0, 0, &lab.arena, &parts, &err));
    assert_int_equal(parts.count, 0);
    lab_done(&lab);
}

static void an_aborted_upload_is_gone_and_so_are_its_parts_on_the_way(void **state)
{
    struct lab lab = lab_new(*state, "u/aborted", NULL);
    struct err err = { 0 };
    struct store_writer *known = NULL, *unknown = NULL;
    part(&lab, 1, STR("x"));
    MUST(store_part_open(lab.store, lab.key, lab.id, 1, 3, &known, &err));
    MUST(store_writer_write(known, STR("abc"), &err));
    MUST(store_part_open(lab.store, lab.key, lab.id, 2, -1, &unknown, &err));
    MUST(store_writer_write(unknown, STR("abc"), &err));
    MUST(store_upload_abort(lab.store, lab.key, lab.id, &err));
    expect_upload_gone(&lab);
    assert_int_equal(store_writer_commit(known, NULL, &err), E_NOT_FOUND);
    assert_int_equal(store_writer_commit(unknown, NULL, &err), E_NOT_FOUND);
    expect_upload_gone(&lab);
    expect_nothing(lab.store, "u/aborted");
    lab_done(&lab);
}

static void a_part_that_is_not_committed_is_none(void **state)
{
    struct lab lab = lab_new(*state, "u/late", NULL);
    struct err err = { 0 };
    struct store_writer *late = NULL, *dropped = NULL;
    const struct str parts[] = { noise_part(&lab, 1048576, 1), noise_part(&lab, 1048576, 2) };
    struct str other = noise_part(&lab, 1048576, 3);
    part(&lab, 1, parts[0]);
    MUST(store_part_open(lab.store, lab.key, lab.id, 1, (int64_t)other.len, &dropped, &err));
    MUST(store_writer_write(dropped, other, &err));
    store_writer_abort(dropped);
    part(&lab, 2, parts[1]);
    MUST(store_part_open(lab.store, lab.key, lab.id, 2, (int64_t)other.len, &late, &err));
    MUST(store_writer_write(late, str_take(other, 500000), &err));
    complete(&lab);
    expect_joined(&lab, parts, 2);
    /* what it still writes is no more in the object than what it wrote */
    enum status status = store_writer_write(late, str_skip(other, 500000), &err);
    if (status == OK) {
        assert_int_equal(store_writer_commit(late, NULL, &err), E_NOT_FOUND);
    } else {
        assert_int_equal(status, E_NOT_FOUND);
        store_writer_abort(late);
    }
    expect_joined(&lab, parts, 2);
    lab_done(&lab);
}

/* --- what is there --- */

static void parts_are_listed_in_pages_with_their_attributes(void **state)
{
    struct lab lab = lab_new(*state, "u/parts", NULL);
    struct store_parts page;
    const unsigned numbers[] = { 7, 2, 10000, 1 };
    char notes[300];
    memset(notes, 'n', sizeof notes);
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        struct str text = arena_printf(&lab.arena, "part %u", numbers[i]);
        struct store_info info;
        struct str note = str_from(notes, numbers[i] == 7 ? sizeof notes : 3);
        LAB_MUST(&lab,
                 try_part(&lab, numbers[i], text, -1,
                          ATTRS({ STR("note"), note }, { STR("sum"), text }), &info, &lab.err));
        assert_int_equal(info.size, text.len);
    }
    LAB_MUST(&lab,
             store_upload_parts(lab.store, lab.key, lab.id, 0, 3, &lab.arena, &page, &lab.err));
    assert_int_equal(page.count, 3);
    assert_true(page.truncated);
    assert_int_equal(page.items[0].number, 1);
    assert_int_equal(page.items[1].number, 2);
    assert_int_equal(page.items[2].number, 7);
    for (size_t i = 0; i < 3; i++) {
        struct str text = arena_printf(&lab.arena, "part %u", page.items[i].number);
        char etag[MD5_HEX + 1];
        md5_hex(text, etag);
        assert_string_equal(page.items[i].etag, etag);
        assert_int_equal(page.items[i].size, text.len);
        assert_true(page.items[i].modified_ms > 1600000000000);
        assert_int_equal(page.items[i].attrs.count, 2);
        assert_int_equal(page.items[i].attrs.items[0].value.len,
                         page.items[i].number == 7 ? 300 : 3);
        assert_true(str_eq(page.items[i].attrs.items[1].value, text));
    }
    LAB_MUST(&lab,
             store_upload_parts(lab.store, lab.key, lab.id, 7, 1, &lab.arena, &page, &lab.err));
    assert_int_equal(page.count, 1);
    assert_false(page.truncated);
    assert_int_equal(page.items[0].number, 10000);
    LAB_MUST(&lab,
             store_upload_parts(lab.store, lab.key, lab.id, 10000, 0, &lab.arena, &page, &lab.err));
    assert_int_equal(page.count, 0);
    lab_done(&lab);
}

/** "key:1 key:2 +": uploads by key and the order of their beginning. */
static const char *uploads_text(struct lab *lab, const struct store_uploads_opts *opts,
                                const struct str *ids, size_t id_count)
{
    struct store_uploads page;
    struct str text = STR_EMPTY;
    LAB_MUST(lab, store_upload_list(lab->store, opts, &lab->arena, &page, &lab->err));
    for (size_t i = 0; i < page.count; i++) {
        size_t n = 0;
        while (n < id_count && !str_eq(ids[n], page.items[i].id)) {
            n++;
        }
        assert_true(n < id_count && page.items[i].started_ms > 1600000000000);
        text = arena_printf(&lab->arena, "%.*s%s%.*s:%zu", STR_ARG(text), i > 0 ? " " : "",
                            STR_ARG(page.items[i].key), n);
    }
    text = arena_printf(&lab->arena, "%.*s%s", STR_ARG(text), page.truncated ? " +" : "");
    return arena_cstr(&lab->arena, text);
}

static void open_uploads_are_listed_by_key_then_id(void **state)
{
    struct lab lab = lab_new(*state, "c", NULL);
    const char *keys[] = { "c", "b/1", "a", "b", "b/1" };
    struct str ids[ARRAY_LEN(keys)] = { lab.id };
    for (size_t i = 1; i < ARRAY_LEN(keys); i++) {
        LAB_MUST(&lab, store_upload_begin(lab.store, str_of(keys[i]), NULL, &lab.arena, &ids[i],
                                          &lab.err));
    }
    bool turned = str_cmp(ids[1], ids[4]) > 0; /* begun in one millisecond */
    struct str first = turned ? ids[4] : ids[1], second = turned ? ids[1] : ids[4];
    ids[1] = first;
    ids[4] = second;
    const struct {
        struct store_uploads_opts opts;
        const char *expected;
    } cases[] = {
        { { .limit = 0 }, "a:2 b:3 b/1:1 b/1:4 c:0" },
        { { .limit = 3 }, "a:2 b:3 b/1:1 +" },
        { { .limit = 5 }, "a:2 b:3 b/1:1 b/1:4 c:0" },
        { { .after_key = STR("b/1"), .after_id = first }, "b/1:4 c:0" },
        { { .after_key = STR("b/1"), .after_id = second }, "c:0" },
        { { .after_key = STR("b/1") }, "c:0" },
        { { .after_key = STR("b"), .limit = 1 }, "b/1:1 +" },
        { { .prefix = STR("b") }, "b:3 b/1:1 b/1:4" },
        { { .prefix = STR("b/") }, "b/1:1 b/1:4" },
        { { .prefix = STR("x") }, "" },
        { { .after_key = STR("c") }, "" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_string_equal(uploads_text(&lab, &cases[i].opts, ids, ARRAY_LEN(ids)),
                            cases[i].expected);
    }
    LAB_MUST(&lab, store_upload_abort(lab.store, STR("b"), ids[3], &lab.err));
    assert_string_equal(uploads_text(&lab, NULL, ids, ARRAY_LEN(ids)), "a:2 b/1:1 b/1:4 c:0");
    lab_done(&lab);
}

static void an_upload_tells_its_attributes(void **state)
{
    struct lab lab = lab_new(*state, "u/told",
                             ATTRS({ STR("b"), STR("2") }, { STR("a"), STR("1") }));
    struct store_upload upload;
    struct store_attrs attrs;
    LAB_MUST(&lab,
             store_upload_get(lab.store, lab.key, lab.id, &lab.arena, &upload, &attrs, &lab.err));
    assert_true(str_eq(upload.key, lab.key) && str_eq(upload.id, lab.id));
    assert_true(upload.started_ms > 1600000000000);
    assert_int_equal(attrs.count, 2);
    assert_true(str_eq(attrs.items[1].name, STR("b")) && str_eq(attrs.items[1].value, STR("2")));
    LAB_MUST(&lab,
             store_upload_get(lab.store, lab.key, lab.id, &lab.arena, &upload, NULL, &lab.err));
    lab_done(&lab);
}

static void parts_that_are_too_small_are_refused(void **state)
{
    if (contract_driver->part_bytes_min == 0) {
        return;
    }
    struct lab lab = lab_new(*state, "u/small", NULL);
    struct err err = { 0 };
    const struct str parts[] = { filled(&lab, STR("one")), STR("two") };
    part(&lab, 1, str_take(parts[0], contract_driver->part_bytes_min - 1));
    part(&lab, 2, parts[1]);
    assert_int_equal(try_complete(&lab, NULL, NULL, &err), E_INVALID);
    expect_nothing(lab.store, "u/small");
    part(&lab, 1, parts[0]);
    complete(&lab);
    expect_joined(&lab, parts, 2);
    lab_done(&lab);
}

static void idle_uploads_are_swept(void **state)
{
    struct lab lab = lab_new(*state, "u/idle", NULL);
    struct store_swept swept = { .dropped = 9 };
    part(&lab, 1, STR("x"));
    LAB_MUST(&lab, store_uploads_sweep(lab.store, 3600 * 1000, &swept, &lab.err));
    assert_int_equal(swept.dropped, 0);
    LAB_MUST(&lab, store_uploads_sweep(lab.store, -1000, &swept, &lab.err));
    assert_int_equal(swept.dropped, 1);
    expect_upload_gone(&lab);
    LAB_MUST(&lab, store_uploads_sweep(lab.store, -1000, NULL, &lab.err));
    lab_done(&lab);
}

/* --- many at once --- */

enum { SENDERS = 6, SENT = 24, SENT_LARGE = 6, SENT_BYTES = 1048576 };

struct sender {
    struct lab *lab;
    const struct str *parts;
    unsigned first, count;
    _Atomic int wrong;
};

/** Every part is sent by two threads, with other bytes by one of them first. */
static void *send_parts(void *arg)
{
    struct sender *sender = arg;
    for (unsigned i = 0; i < sender->count; i++) {
        struct err err = { 0 };
        struct store_info info;
        unsigned number = (i + sender->first) % sender->count + 1;
        bool again = number % SENDERS == sender->first % SENDERS;
        struct str bytes = again || (i % 3 != 0) ? sender->parts[number - 1]
                                                 : sender->parts[number % sender->count];
        if (number % SENDERS != sender->first % SENDERS &&
            (number + 1) % SENDERS != sender->first % SENDERS) {
            continue;
        }
        enum status status = try_part(sender->lab, number, bytes,
                                      i % 5 == 0 ? -1 : (int64_t)bytes.len, NULL, &info, &err);
        if (status != OK) {
            fprintf(stderr, "part %u: %s: %s\n", number, status_name(status), err.msg);
            sender->wrong++;
        }
    }
    return NULL;
}

static void many_threads_send_parts_of_one_upload(void **state)
{
    struct lab lab = lab_new(*state, "u/many", NULL);
    struct str parts[SENT], seen[SENT];
    unsigned count = contract_driver->part_bytes_min > 0 ? SENT_LARGE : SENT;
    struct sender senders[SENDERS];
    pthread_t threads[SENDERS];
    struct store_parts page;
    for (unsigned i = 0; i < count; i++) {
        parts[i] = noise_part(&lab, SENT_BYTES, i);
    }
    for (unsigned i = 0; i < SENDERS; i++) {
        senders[i] = (struct sender){ .lab = &lab, .parts = parts, .first = i, .count = count };
        assert_int_equal(pthread_create(&threads[i], NULL, send_parts, &senders[i]), 0);
    }
    for (unsigned i = 0; i < SENDERS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(senders[i].wrong, 0);
    }
    /* of those that raced for a number one won; the object is what the list of parts says */
    LAB_MUST(&lab,
             store_upload_parts(lab.store, lab.key, lab.id, 0, 0, &lab.arena, &page, &lab.err));
    assert_int_equal(page.count, count);
    for (unsigned i = 0; i < count; i++) {
        char etag[MD5_HEX + 1];
        md5_hex(parts[i], etag);
        bool own = strcmp(page.items[i].etag, etag) == 0;
        seen[i] = own ? parts[i] : parts[(i + 1) % count];
    }
    complete(&lab);
    expect_joined(&lab, seen, count);
    lab_done(&lab);
}

struct ending {
    struct lab *lab;
    pthread_barrier_t *barrier;
    bool abort;
    enum status status;
};

static void *end_upload(void *arg)
{
    struct ending *ending = arg;
    struct err err = { 0 };
    struct lab own = *ending->lab;
    arena_init(&own.arena, 0);
    pthread_barrier_wait(ending->barrier);
    ending->status = ending->abort ? store_upload_abort(own.store, own.key, own.id, &err)
                                   : try_complete(&own, NULL, NULL, &err);
    arena_done(&own.arena);
    return NULL;
}

/** Of many completes and aborts of one upload one happens. */
static void an_upload_ends_once(void **state)
{
    for (int round = 0; round < (contract_driver->remote ? 4 : 12); round++) {
        struct lab lab = lab_new(*state, "u/end", NULL);
        struct ending endings[4];
        pthread_t threads[ARRAY_LEN(endings)];
        pthread_barrier_t barrier;
        int done = 0;
        struct err err = { 0 };
        const struct str parts[] = { filled(&lab, STR("one")), STR("two") };
        MUST(store_delete(lab.store, lab.key, &err));
        part(&lab, 1, parts[0]);
        part(&lab, 2, parts[1]);
        pthread_barrier_init(&barrier, NULL, ARRAY_LEN(endings));
        for (size_t i = 0; i < ARRAY_LEN(endings); i++) {
            endings[i] = (struct ending){ &lab, &barrier, i % 2 == 1, OK };
            assert_int_equal(pthread_create(&threads[i], NULL, end_upload, &endings[i]), 0);
        }
        bool completed = false;
        for (size_t i = 0; i < ARRAY_LEN(endings); i++) {
            pthread_join(threads[i], NULL);
            done += endings[i].status == OK;
            completed = completed || (endings[i].status == OK && !endings[i].abort);
            assert_true(endings[i].status == OK || endings[i].status == E_NOT_FOUND);
        }
        pthread_barrier_destroy(&barrier);
        assert_int_equal(done, 1);
        if (completed) {
            expect_joined(&lab, parts, 2);
        } else {
            expect_nothing(lab.store, "u/end");
        }
        expect_upload_gone(&lab);
        lab_done(&lab);
    }
}

/* --- memory --- */

static enum status whole_upload(struct lab *lab, struct err *err)
{
    TRY(store_upload_begin(lab->store, lab->key, ATTRS({ STR("a"), STR("1") }), &lab->arena,
                           &lab->id, err));
    if (contract_driver->part_bytes_min == 0) {
        TRY(try_part(lab, 1, STR("one"), 3, ATTRS({ STR("sum"), STR("x") }), NULL, err));
        TRY(try_part(lab, 2, STR("two"), -1, NULL, NULL, err));
    } else {
        TRY(try_part(lab, 1, STR("onetwo"), 6, ATTRS({ STR("sum"), STR("x") }), NULL, err));
    }
    struct store_uploads uploads;
    TRY(store_upload_list(lab->store, NULL, &lab->arena, &uploads, err));
    struct store_upload upload;
    TRY(store_upload_get(lab->store, lab->key, lab->id, &lab->arena, &upload, NULL, err));
    return try_complete(lab, NULL, NULL, err);
}

static void a_failed_allocation_loses_no_upload(void **state)
{
    bool failed = true;
    for (long n = 0; failed && n < 2000; n += contract_driver->remote ? 7 : 1) {
        struct lab lab = { .store = *state, .key = STR("m") };
        struct err err = { 0 };
        arena_init(&lab.arena, 0);
        mem_fail_nth(n);
        enum status status = whole_upload(&lab, &err);
        failed = mem_fail_happened();
        mem_fail_nth(-1);
        struct store_swept left = { .dropped = 1 };
        bool unknown = contract_driver->remote && status == E_UPSTREAM;
        if (status != OK && status != E_NO_MEMORY && !unknown) {
            fail_msg("allocation %ld: %s: %s", n, status_name(status), err.msg);
        }
        if (unknown) {
            err = (struct err){ 0 };
            MUST(store_uploads_sweep(lab.store, -1000, NULL, &err));
            MUST(store_delete(lab.store, lab.key, &err));
        } else if (status != OK) {
            expect_nothing(lab.store, "m");
            if (lab.id.len > 0) {
                err = (struct err){ 0 };
                MUST(store_upload_abort(lab.store, lab.key, lab.id, &err));
            }
        } else {
            expect_text(lab.store, "m", "onetwo");
            expect_attr(lab.store, "m", "1");
            /* what it could not clear is known by the object, so that goes afterwards */
            MUST(store_uploads_sweep(lab.store, -1000, &left, &err));
            assert_int_equal(left.dropped, 0);
            MUST(store_delete(lab.store, lab.key, &err));
        }
        MUST(store_uploads_sweep(lab.store, -1000, &left, &err));
        assert_int_equal(left.dropped, 0);
        arena_done(&lab.arena);
    }
    assert_false(failed);
}

/* --- run --- */

int contract_uploads_run(const char *name)
{
    const struct CMUnitTest tests[] = {
        CONTRACT_TEST(parts_become_one_object),
        CONTRACT_TEST(one_part_and_an_empty_one_are_objects_of_parts),
        CONTRACT_TEST(parts_come_in_any_shape_and_order),
        CONTRACT_TEST(a_part_may_be_replaced_by_one_of_another_size),
        CONTRACT_TEST(a_complete_takes_some_of_the_parts),
        CONTRACT_TEST(an_upload_of_any_key_is_an_object_like_others),
        CONTRACT_TEST(a_complete_that_cannot_be_changes_nothing),
        CONTRACT_TEST(conditions_of_a_complete_hold),
        CONTRACT_TEST(what_is_no_upload_or_no_part_is_refused),
        CONTRACT_TEST(an_aborted_upload_is_gone_and_so_are_its_parts_on_the_way),
        CONTRACT_TEST(a_part_that_is_not_committed_is_none),
        CONTRACT_TEST(parts_are_listed_in_pages_with_their_attributes),
        CONTRACT_TEST(open_uploads_are_listed_by_key_then_id),
        CONTRACT_TEST(an_upload_tells_its_attributes),
        CONTRACT_TEST(parts_that_are_too_small_are_refused),
        CONTRACT_TEST(idle_uploads_are_swept),
        CONTRACT_TEST(many_threads_send_parts_of_one_upload),
        CONTRACT_TEST(an_upload_ends_once),
        CONTRACT_TEST(a_failed_allocation_loses_no_upload),
    };
    return _cmocka_run_group_tests(name, tests, ARRAY_LEN(tests), NULL, NULL);
}
