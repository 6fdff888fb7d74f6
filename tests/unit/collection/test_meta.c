/* Metadata of slots: what is taken, what is given back, and filters over all of them. */
#include "../base/testing.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/rng.h"
#include "collection/collection.h"
#include "collection/meta.h"

struct shelf {
    struct meta *meta;
    struct arena arena;
};

static void shelf_open(struct shelf *shelf)
{
    *shelf = (struct shelf){ 0 };
    arena_init(&shelf->arena, 0);
    assert_int_equal(meta_new(&shelf->meta, NULL), OK);
}

static void shelf_close(struct shelf *shelf)
{
    meta_free(shelf->meta);
    arena_done(&shelf->arena);
}

static void set(struct shelf *shelf, uint32_t slot, const char *text)
{
    struct err err = { 0 };
    if (meta_set(shelf->meta, slot, str_of(text), &err) != OK) {
        fail_msg("%s: %s", text, err.msg);
    }
}

static struct filter *parse(struct shelf *shelf, const char *text)
{
    struct filter *filter = NULL;
    struct err err = { 0 };
    if (filter_parse(str_of(text), &shelf->arena, &filter, &err) != OK) {
        fail_msg("%s: %s", text, err.msg);
    }
    return filter;
}

static bool has(const struct meta_match *match, uint32_t slot)
{
    for (uint64_t i = 0; match->slots != NULL && i < match->count; i++) {
        if (match->slots[i] == slot) {
            return true;
        }
    }
    return match->slots == NULL && slot / 64 < match->word_count &&
           (match->bits[slot / 64] >> (slot % 64) & 1) != 0;
}

static struct meta_match match(struct shelf *shelf, const char *filter)
{
    struct meta_match out = { 0 };
    assert_int_equal(meta_match(shelf->meta, parse(shelf, filter), &shelf->arena, &out, NULL), OK);
    return out;
}

static void values_are_given_back_in_compact_text(void **state)
{
    static const char *const cases[][2] = {
        { " { } ", "{}" },
        { "{ \"b\" : [ 1 , 2.50, -0.0, null ] , \"a\" : \"\\u0041\\/\\n\" }",
          "{\"b\":[1,2.5,-0.0,null],\"a\":\"A/\\n\"}" },
        { "{\"n\":18446744073709551615,\"m\":123456789012345678901234567890,\"k\":1e400}",
          "{\"n\":18446744073709551615,\"m\":123456789012345678901234567890,\"k\":1e400}" },
    };
    struct shelf shelf;
    shelf_open(&shelf);
    assert_str(meta_get(shelf.meta, 12345), "{}");
    for (uint32_t i = 0; i < ARRAY_LEN(cases); i++) {
        set(&shelf, i * 1000, cases[i][0]);
    }
    for (uint32_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_str(meta_get(shelf.meta, i * 1000), cases[i][1]);
    }
    set(&shelf, 1000, "{}");
    assert_str(meta_get(shelf.meta, 1000), "{}");
    shelf_close(&shelf);
}

static void what_cannot_be_kept_is_refused(void **state)
{
    static const char *const cases[][2] = {
        { "[]", "metadata is no JSON object" },
        { "\"x\"", "metadata is no JSON object" },
        { "{\"a\":1,\"b\":{\"c\":1,\"d\":2,\"c\":3}}", "the name \"c\" twice" },
        { "{\"a\":1,\"\\u0061\":2}", "the name \"a\" twice" },
        { "{\"a\":}", "metadata: not valid JSON: line 1" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err err = { 0 };
        assert_int_equal(meta_check(str_of(cases[i][0]), &err), E_INVALID);
        if (str_find(str_of(err.msg), str_of(cases[i][1])) == SIZE_MAX) {
            fail_msg("%s: \"%s\" does not say \"%s\"", cases[i][0], err.msg, cases[i][1]);
        }
    }
    char text[COLL_METADATA_MAX + 2];
    for (int depth = 63; depth <= 64; depth++) { /* the object is one */
        int len = snprintf(text, sizeof(text), "{\"a\":");
        memset(text + len, '[', (size_t)depth);
        memset(text + len + depth, ']', (size_t)depth);
        text[len + 2 * depth] = '}';
        text[len + 2 * depth + 1] = '\0';
        assert_int_equal(meta_check(str_of(text), NULL), depth == 63 ? OK : E_INVALID);
    }
    for (int more = 0; more <= 1; more++) {
        size_t len = COLL_METADATA_MAX + (size_t)more;
        memset(text, 'x', len);
        memcpy(text, "{\"a\":\"", 6);
        memcpy(text + len - 2, "\"}", 2);
        assert_int_equal(meta_check(str_from(text, len), NULL), more == 0 ? OK : E_INVALID);
    }
}

static void patches_follow_rfc_7396(void **state)
{
    static const char *const cases[][3] = {
        { "{\"a\":\"b\"}", "{\"a\":\"c\"}", "{\"a\":\"c\"}" },
        { "{\"a\":\"b\"}", "{\"b\":\"c\"}", "{\"a\":\"b\",\"b\":\"c\"}" },
        { "{\"a\":\"b\",\"b\":\"c\"}", "{\"a\":null}", "{\"b\":\"c\"}" },
        { "{\"a\":[\"b\"]}", "{\"a\":\"c\"}", "{\"a\":\"c\"}" },
        { "{\"a\":{\"b\":\"c\"}}", "{\"a\":{\"b\":\"d\",\"c\":null}}", "{\"a\":{\"b\":\"d\"}}" },
        { "{\"a\":[{\"b\":\"c\"}]}", "{\"a\":[1]}", "{\"a\":[1]}" },
        { "{\"e\":null}", "{\"a\":1}", "{\"e\":null,\"a\":1}" },
        { "{\"x\":{\"e\":null}}", "{\"a\":1}", "{\"x\":{\"e\":null},\"a\":1}" },
        { "{}", "{\"a\":{\"bb\":{\"ccc\":null}}}", "{\"a\":{\"bb\":{}}}" },
        { "{\"a\":5}", "{\"a\":{\"b\":null,\"c\":1}}", "{\"a\":{\"c\":1}}" },
        { "{}", "{\"n\":12345678901234567890123}", "{\"n\":12345678901234567890123}" },
    };
    struct shelf shelf;
    shelf_open(&shelf);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct str out = STR_EMPTY;
        set(&shelf, 1, cases[i][0]);
        assert_int_equal(meta_merged(shelf.meta, 1, str_of(cases[i][1]), &shelf.arena, &out, NULL),
                         OK);
        assert_str(out, cases[i][2]);
        assert_str(meta_get(shelf.meta, 1), cases[i][0]);
    }
    struct str out;
    assert_int_equal(meta_merged(shelf.meta, 1, STR("[1]"), &shelf.arena, &out, NULL), E_INVALID);
    shelf_close(&shelf);
}

static void items_come_go_and_move(void **state)
{
    struct shelf shelf;
    struct meta_stats stats;
    shelf_open(&shelf);
    set(&shelf, 5, "{\"a\":1}");
    set(&shelf, 900, "{\"a\":2}");
    assert_int_equal(meta_add(shelf.meta, 7, NULL), OK);
    assert_int_equal(meta_add(shelf.meta, 5, NULL), OK); /* it has some already */
    struct meta_match found = match(&shelf, "{\"a\":null}");
    assert_int_equal(found.count, 1);
    assert_true(has(&found, 7));
    assert_int_equal(match(&shelf, "{}").count, 3);
    assert_int_equal(meta_move(shelf.meta, 900, 7, NULL), OK);
    assert_int_equal(meta_move(shelf.meta, 5, 100000, NULL), OK);
    found = match(&shelf, "{\"a\":{\"$gte\":1}}");
    assert_int_equal(found.count, 2);
    assert_true(has(&found, 7) && has(&found, 100000));
    assert_str(meta_get(shelf.meta, 900), "{}");
    assert_int_equal(meta_move(shelf.meta, 7, 7, NULL), OK);
    assert_str(meta_get(shelf.meta, 7), "{\"a\":2}");
    assert_int_equal(meta_move(shelf.meta, 4, 7, NULL), OK); /* nothing takes its place */
    meta_remove(shelf.meta, 100000);
    meta_remove(shelf.meta, 100000);
    meta_remove(shelf.meta, 4000000);
    meta_stats(shelf.meta, &stats);
    assert_int_equal(stats.items, 0);
    found = match(&shelf, "{}");
    assert_int_equal(found.count, 0);
    shelf_close(&shelf);
}

static struct str numbered(char *out, size_t room, uint32_t i, unsigned filler)
{
    int len = snprintf(out, room, "{\"number\":%u,\"filler\":\"%0*d\"}", i, (int)filler, 0);
    return str_from(out, (size_t)len);
}

static void churn_gives_memory_back(void **state)
{
    enum { COUNT = 20000, ROUNDS = 12 };
    char text[1000];
    struct shelf shelf;
    struct rng rng;
    uint8_t *filler = calloc(COUNT, 1);
    assert_non_null(filler);
    uint64_t bytes = 0;
    rng_seed(&rng, 7);
    shelf_open(&shelf);
    for (uint32_t i = 0; i < COUNT * ROUNDS; i++) {
        uint32_t slot = i < COUNT ? i : (uint32_t)rng_below(&rng, COUNT);
        filler[slot] = (uint8_t)(1 + rng_below(&rng, 200));
        assert_int_equal(
            meta_set(shelf.meta, slot, numbered(text, sizeof(text), slot, filler[slot]), NULL), OK);
    }
    for (uint32_t slot = 0; slot < COUNT; slot++) {
        struct str wanted = numbered(text, sizeof(text), slot, filler[slot]);
        assert_true(str_eq(meta_get(shelf.meta, slot), wanted));
        bytes += wanted.len;
    }
    struct meta_stats stats;
    meta_stats(shelf.meta, &stats);
    assert_true(stats.metadata_bytes < bytes * 2);
    for (uint32_t slot = 10; slot < COUNT; slot++) {
        meta_remove(shelf.meta, slot);
    }
    for (uint32_t i = 0; i < COUNT; i++) { /* the sweep goes on with changes */
        assert_int_equal(meta_set(shelf.meta, 3, STR("{\"x\":1}"), NULL), OK);
    }
    meta_stats(shelf.meta, &stats);
    assert_true(stats.metadata_bytes < 300000);
    assert_true(str_eq(meta_get(shelf.meta, 9), numbered(text, sizeof(text), 9, filler[9])));
    shelf_close(&shelf);
    free(filler);
}

static void small_ones_cost_little(void **state)
{
    enum { COUNT = 100000 };
    char text[100];
    uint64_t bytes = 0;
    struct shelf shelf;
    struct meta_stats stats;
    shelf_open(&shelf);
    meta_stats(shelf.meta, &stats);
    assert_true(stats.metadata_bytes < 1024);
    for (uint32_t i = 0; i < COUNT; i++) {
        struct str json = numbered(text, sizeof(text), 100000 + i, 21);
        bytes += json.len;
        assert_int_equal(meta_set(shelf.meta, i, json, NULL), OK);
    }
    meta_stats(shelf.meta, &stats);
    assert_int_equal(stats.items, COUNT);
    assert_true(stats.metadata_bytes < bytes + 16 * COUNT);
    shelf_close(&shelf);
}

/* --- indexes against reading --- */

static const char *const NAMES[] = { "a", "b", "c", "0", "1", "d.e" };

static void put_scalar(struct rng *rng, struct buf *out)
{
    static const char *const values[] = {
        "null",
        "true",
        "false",
        "\"\"",
        "\"x\"",
        "\"y\\n\"",
        "\"y\\u0001\"",
        "9007199254740993",
        "9007199254740992.0",
        "-9007199254740993",
        "18446744073709551615",
        "1.8446744073709551615e19",
        "123456789012345678901",
        "1e999",
        "-0.0",
    };
    uint64_t dice = rng_below(rng, 10);
    enum status status;
    if (dice < 4) {
        status = buf_printf(out, "%d", (int)rng_below(rng, 40) - 10);
    } else if (dice == 4) {
        status = buf_printf(out, "%d.5", (int)rng_below(rng, 20) - 10);
    } else if (dice == 5) {
        status = buf_printf(out, "\"w%d\"", (int)rng_below(rng, 30));
    } else if (dice == 6) { /* about as long as what an index keeps of it */
        int len = 120 + (int)rng_below(rng, 16);
        status = buf_printf(out, "\"%0*d\"", len, (int)rng_below(rng, 3));
    } else {
        status = buf_append(out, str_of(values[rng_below(rng, ARRAY_LEN(values))]));
    }
    assert_int_equal(status, OK);
}

static void put_text(struct buf *out, const char *text)
{
    assert_int_equal(buf_append(out, str_of(text)), OK);
}

static void put_value(struct rng *rng, struct buf *out, unsigned depth);

static void put_object(struct rng *rng, struct buf *out, unsigned depth)
{
    uint64_t names = rng_below(rng, 1 << ARRAY_LEN(NAMES));
    names &= depth == 0 ? names : rng_below(rng, 1 << ARRAY_LEN(NAMES));
    put_text(out, "{");
    for (size_t i = 0; i < ARRAY_LEN(NAMES); i++) {
        if ((names >> i & 1) != 0) {
            assert_int_equal(
                buf_printf(out, "%s\"%s\":", out->ptr[out->len - 1] == '{' ? "" : ",", NAMES[i]),
                OK);
            put_value(rng, out, depth + 1);
        }
    }
    put_text(out, "}");
}

static void put_value(struct rng *rng, struct buf *out, unsigned depth)
{
    uint64_t dice = depth < 4 ? rng_below(rng, 10) : 9;
    if (dice > 3) {
        put_scalar(rng, out);
    } else if (dice > 1) {
        put_object(rng, out, depth);
    } else {
        put_text(out, "[");
        for (uint64_t i = rng_below(rng, 4); i > 0; i--) {
            put_value(rng, out, depth + 1);
            put_text(out, i > 1 ? "," : "");
        }
        put_text(out, "]");
    }
}

static void put_path(struct rng *rng, struct buf *out)
{
    static const char *const parts[] = { "a", "b", "c", "0", "1", "d\\\\.e" };
    put_text(out, "\"");
    uint64_t count = 1 + rng_below(rng, 2) * (1 + rng_below(rng, 2));
    for (uint64_t i = 0; i < count; i++) {
        put_text(out, i > 0 ? "." : "");
        put_text(out, parts[rng_below(rng, i > 0 ? ARRAY_LEN(parts) : 3)]);
    }
    put_text(out, "\":");
}

static void put_condition(struct rng *rng, struct buf *out)
{
    static const char *const ranges[] = { "$gt", "$gte", "$lt", "$lte" };
    switch (rng_below(rng, 8)) {
    case 0:
        put_value(rng, out, 3);
        break;
    case 1:
        put_text(out, rng_below(rng, 2) == 0 ? "{\"$ne\":" : "{\"$eq\":");
        put_value(rng, out, 3);
        put_text(out, "}");
        break;
    case 2:
        put_text(out, rng_below(rng, 2) == 0 ? "{\"$in\":[" : "{\"$nin\":[");
        for (uint64_t i = rng_below(rng, 5); i > 0; i--) {
            put_value(rng, out, 3);
            put_text(out, i > 1 ? "," : "");
        }
        put_text(out, "]}");
        break;
    case 3:
        put_text(out, rng_below(rng, 2) == 0 ? "{\"$exists\":true}" : "{\"$exists\":false}");
        break;
    case 4:
        put_text(out, "{\"$not\":{\"$lt\":3}}");
        break;
    default:
        put_text(out, "{");
        for (uint64_t i = 0, count = 1 + rng_below(rng, 2), first = rng_below(rng, 4); i < count;
             i++) {
            struct buf one;
            buf_init(&one, 0);
            do { /* of null there is no order */
                buf_clear(&one);
                put_scalar(rng, &one);
            } while (str_eq(buf_str(&one), STR("null")));
            assert_int_equal(buf_printf(out, "%s\"%s\":%.*s", i > 0 ? "," : "",
                                        ranges[(first + 2 * i) % 4], STR_ARG(buf_str(&one))),
                             OK);
            buf_done(&one);
        }
        put_text(out, "}");
    }
}

static void put_filter(struct rng *rng, struct buf *out, unsigned depth)
{
    static const char *const lists[] = { "\"$and\":[", "\"$or\":[", "\"$nor\":[" };
    put_text(out, "{");
    for (uint64_t i = 0, count = 1 + rng_below(rng, 2); i < count; i++) {
        put_text(out, i > 0 ? "," : "");
        uint64_t dice = depth < 2 ? rng_below(rng, 10) : 9;
        if (dice < 4) {
            put_text(out, lists[rng_below(rng, 3)]);
            put_filter(rng, out, depth + 1);
            put_text(out, ",");
            put_filter(rng, out, depth + 1);
            put_text(out, "]");
        } else if (dice == 4) {
            put_text(out, "\"$not\":");
            put_filter(rng, out, depth + 1);
        } else {
            put_path(rng, out);
            put_condition(rng, out);
        }
    }
    put_text(out, "}");
}

enum { SLOTS = 70000, ITEMS = 5000 };

static uint32_t any_slot(struct rng *rng)
{
    return (uint32_t)(rng_below(rng, 2) == 0 ? rng_below(rng, SLOTS) : rng_below(rng, ITEMS / 2));
}

static void change(struct shelf *shelf, struct rng *rng, struct buf *text)
{
    uint32_t slot = any_slot(rng);
    switch (rng_below(rng, 8)) {
    case 0:
        meta_remove(shelf->meta, slot);
        break;
    case 1:
        assert_int_equal(meta_move(shelf->meta, slot, any_slot(rng), NULL), OK);
        break;
    case 2:
        assert_int_equal(meta_add(shelf->meta, slot, NULL), OK);
        break;
    default:
        buf_clear(text);
        put_object(rng, text, 0);
        assert_int_equal(meta_set(shelf->meta, slot, buf_str(text), NULL), OK);
    }
}

static void compare(struct shelf *shelf, struct str text, unsigned *by_index)
{
    struct filter *filter = NULL;
    struct meta_match found = { 0 };
    struct err err = { 0 };
    if (filter_parse(text, &shelf->arena, &filter, &err) != OK) {
        fail_msg("%.*s: %s", STR_ARG(text), err.msg);
    }
    assert_int_equal(meta_match(shelf->meta, filter, &shelf->arena, &found, NULL), OK);
    *by_index += str_starts(str_of(found.plan), STR("index"));
    uint64_t at = 0;
    for (uint32_t slot = 0; slot < SLOTS; slot++) {
        bool wanted = meta_matches(shelf->meta, filter, slot);
        bool given = found.slots != NULL ? at < found.count && found.slots[at] == slot
                                         : has(&found, slot);
        at += given;
        if (wanted != given) {
            fail_msg("%.*s by %s: slot %u is %s: %.*s", STR_ARG(text), found.plan, slot,
                     given ? "there" : "missing", STR_ARG(meta_get(shelf->meta, slot)));
        }
    }
    assert_int_equal(at, found.count);
}

static void indexes_answer_as_reading_does(void **state)
{
    enum { ROUNDS = 500 };
    struct shelf shelf;
    struct buf text;
    struct rng rng;
    unsigned by_index = 0;
    rng_seed(&rng, 42);
    buf_init(&text, 0);
    shelf_open(&shelf);
    for (int i = 0; i < 2 * ITEMS; i++) {
        change(&shelf, &rng, &text);
    }
    for (int round = 0; round < ROUNDS; round++) {
        buf_clear(&text);
        put_filter(&rng, &text, 0);
        compare(&shelf, buf_str(&text), &by_index);
        arena_reset(&shelf.arena);
        for (int i = 0; i < 20; i++) {
            change(&shelf, &rng, &text);
        }
    }
    struct meta_stats stats;
    meta_stats(shelf.meta, &stats);
    assert_true(stats.items > 2048 && stats.paths > 50);
    assert_true(by_index > ROUNDS / 2);
    for (uint32_t slot = 0; slot < SLOTS; slot++) { /* what is gone is gone from the indexes */
        meta_remove(shelf.meta, slot);
    }
    for (uint32_t slot = 0; slot < 3000; slot++) {
        set(&shelf, slot, "{\"z\":1}");
    }
    compare(&shelf, STR("{\"a\":{\"$exists\":true}}"), &by_index);
    compare(&shelf, STR("{\"a\":null}"), &by_index);
    shelf_close(&shelf);
    buf_done(&text);
}

static void a_rare_value_is_found_without_reading(void **state)
{
    enum { COUNT = 100000 };
    char text[200];
    struct shelf shelf;
    shelf_open(&shelf);
    for (uint32_t i = 0; i < COUNT; i++) {
        int len = snprintf(text, sizeof(text),
                           "{\"group\":%u,\"price\":%u.25,\"tags\":[\"t%u\",\"all\"]}", i % 100, i,
                           i % 7);
        assert_int_equal(meta_set(shelf.meta, i, str_from(text, (size_t)len), NULL), OK);
    }
    static const struct {
        const char *filter;
        uint64_t count;
    } cases[] = {
        { "{\"group\":7}", COUNT / 100 },
        { "{\"price\":{\"$gte\":1000,\"$lt\":2000}}", 1000 },
        { "{\"price\":{\"$lt\":2000,\"$gt\":1000.25}}", 999 },
        { "{\"tags\":\"all\"}", COUNT },
        { "{\"tags\":{\"$in\":[\"t1\",\"t2\"]},\"group\":{\"$ne\":7}}", 28286 },
        { "{\"group\":{\"$exists\":false}}", 0 },
        { "{\"other\":{\"$exists\":false},\"group\":{\"$in\":[1,2,3]}}", 3 * COUNT / 100 },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct meta_match found = match(&shelf, cases[i].filter);
        assert_string_equal(found.plan, "index");
        assert_int_equal(found.count, cases[i].count);
        assert_true((found.slots != NULL) == (found.count < COUNT / 32 - 1));
    }
    struct meta_match found = match(&shelf, "{\"group\":7,\"price\":123407.25}");
    assert_string_equal(found.plan, "index+scan"); /* nothing is left to read, or little */
    assert_int_equal(found.count, 0);
    struct meta_stats stats;
    meta_stats(shelf.meta, &stats);
    assert_int_equal(stats.paths, 4);
    assert_true(stats.index_bytes < 60 * COUNT);
    shelf_close(&shelf);
}

struct reader {
    pthread_t thread;
    struct shelf *shelf; /* its meta alone is shared */
    unsigned wrong;
};

static void *read_beside(void *ctx)
{
    static const char *const filters[] = { "{\"g\":3}", "{\"h\":{\"$gte\":0}}", "{\"i\":null}",
                                           "{\"g\":3,\"h\":{\"$lt\":5000}}" };
    static const uint64_t counts[] = { 500, 5000, 5000, 500 };
    struct reader *reader = ctx;
    for (size_t i = 0; i < ARRAY_LEN(filters); i++) {
        struct arena arena;
        struct filter *filter;
        struct meta_match found = { 0 };
        arena_init(&arena, 0);
        bool done = filter_parse(str_of(filters[i]), &arena, &filter, NULL) == OK &&
                    meta_match(reader->shelf->meta, filter, &arena, &found, NULL) == OK;
        reader->wrong += !done || found.count != counts[i];
        arena_done(&arena);
    }
    return NULL;
}

static void readers_beside_each_other_make_one_index(void **state)
{
    struct shelf shelf;
    struct reader readers[4];
    char text[64];
    shelf_open(&shelf);
    for (uint32_t i = 0; i < 5000; i++) {
        snprintf(text, sizeof(text), "{\"g\":%u,\"h\":%u}", i % 10, i);
        set(&shelf, i, text);
    }
    for (size_t i = 0; i < ARRAY_LEN(readers); i++) {
        readers[i] = (struct reader){ .shelf = &shelf };
        assert_int_equal(pthread_create(&readers[i].thread, NULL, read_beside, &readers[i]), 0);
    }
    for (size_t i = 0; i < ARRAY_LEN(readers); i++) {
        pthread_join(readers[i].thread, NULL);
        assert_int_equal(readers[i].wrong, 0);
    }
    struct meta_stats stats;
    meta_stats(shelf.meta, &stats);
    assert_int_equal(stats.paths, 3);
    shelf_close(&shelf);
}

static void more_paths_than_may_be_are_read(void **state)
{
    struct shelf shelf;
    char text[64];
    shelf_open(&shelf);
    for (uint32_t i = 0; i < 3000; i++) {
        set(&shelf, i, "{\"p300\":1}");
    }
    for (int i = 0; i <= 300; i++) {
        snprintf(text, sizeof(text), "{\"p%d\":1}", i);
        struct meta_match found = match(&shelf, text);
        assert_int_equal(found.count, i == 300 ? 3000 : 0);
        assert_string_equal(found.plan, i < META_PATHS_MAX ? "index" : "scan");
    }
    struct meta_stats stats;
    meta_stats(shelf.meta, &stats);
    assert_int_equal(stats.paths, META_PATHS_MAX);
    shelf_close(&shelf);
}

static void fill_for_failures(struct shelf *shelf)
{
    char text[64];
    shelf_open(shelf);
    for (uint32_t i = 0; i < 2100; i++) {
        snprintf(text, sizeof(text), "{\"n\":%u,\"s\":\"%u\",\"g\":%u}", i, i % 300, i % 2);
        set(shelf, i * 7, text);
    }
}

/** A filter must be right whichever allocation fails: without its index, or refused as a whole. */
static void an_index_without_memory_is_done_without(void **state)
{
    static const char *const filter = "{\"s\":{\"$in\":[\"3\",\"x\"]},\"g\":1}";
    struct shelf shelf;
    struct meta_match found;
    fill_for_failures(&shelf);
    struct filter *parsed = parse(&shelf, filter);
    for (long nth = 0;; nth = nth < 60 ? nth + 1 : nth + nth / 20) {
        struct shelf fresh;
        fill_for_failures(&fresh);
        mem_fail_nth(nth);
        enum status status = meta_match(fresh.meta, parsed, &fresh.arena, &found, NULL);
        bool first = mem_fail_happened();
        mem_fail_nth(nth / 2); /* and what follows it */
        enum status changed = meta_set(fresh.meta, 7, STR("{\"n\":-1,\"s\":\"new\",\"g\":1}"),
                                       NULL);
        mem_fail_nth(-1);
        assert_true(status == OK || (status == E_NO_MEMORY && first));
        assert_true(status != OK || found.count == 7);
        found = match(&fresh, filter);
        assert_int_equal(found.count, 7);
        assert_int_equal(match(&fresh, "{\"n\":-1}").count, changed == OK ? 1 : 0);
        shelf_close(&fresh);
        if (!first) {
            assert_true(nth > 500);
            break;
        }
    }
    shelf_close(&shelf);
}

/* --- memory --- */

static enum status all_calls(struct shelf *shelf)
{
    struct meta_match found;
    struct str merged;
    struct filter *filter;
    arena_reset(&shelf->arena);
    TRY(meta_set(shelf->meta, 2, STR("{\"a\":\"new\",\"b\":[1,2]}"), NULL));
    TRY(meta_add(shelf->meta, 70000, NULL));
    TRY(meta_move(shelf->meta, 70000, 200000, NULL));
    TRY(meta_merged(shelf->meta, 2, STR("{\"c\":null}"), &shelf->arena, &merged, NULL));
    TRY(filter_parse(STR("{\"a\":{\"$ne\":\"x\"}}"), &shelf->arena, &filter, NULL));
    return meta_match(shelf->meta, filter, &shelf->arena, &found, NULL);
}

static void put_back(struct shelf *shelf)
{
    struct str now = meta_get(shelf->meta, 2);
    assert_true(str_eq(now, STR("{\"a\":\"old\"}")) ||
                str_eq(now, STR("{\"a\":\"new\",\"b\":[1,2]}")));
    shelf_close(shelf);
    shelf_open(shelf);
    set(shelf, 2, "{\"a\":\"old\"}");
}

static void every_allocation_may_fail(void **state)
{
    struct shelf shelf;
    struct meta *meta = NULL;
    FAIL_EVERY_ALLOCATION(meta_new(&meta, NULL), assert_null(meta));
    meta_free(meta);
    shelf_open(&shelf);
    set(&shelf, 2, "{\"a\":\"old\"}");
    FAIL_EVERY_ALLOCATION(all_calls(&shelf), put_back(&shelf));
    shelf_close(&shelf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_given_back_in_compact_text),
        cmocka_unit_test(what_cannot_be_kept_is_refused),
        cmocka_unit_test(patches_follow_rfc_7396),
        cmocka_unit_test(items_come_go_and_move),
        cmocka_unit_test(churn_gives_memory_back),
        cmocka_unit_test(small_ones_cost_little),
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(indexes_answer_as_reading_does),
        cmocka_unit_test(a_rare_value_is_found_without_reading),
        cmocka_unit_test(readers_beside_each_other_make_one_index),
        cmocka_unit_test(more_paths_than_may_be_are_read),
        cmocka_unit_test(an_index_without_memory_is_done_without),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
