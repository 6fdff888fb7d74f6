/* Metadata of slots: what is taken, what is given back, and filters over all of them. */
#include "../base/testing.h"

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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
