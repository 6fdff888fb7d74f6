/* Names, keys, pointers and locations: what lies in the store. */
#include "fixture.h"

#include <stdio.h>

#include "catalog/batch.h"
#include "catalog/locate.h"
#include "catalog/pointer.h"
#include "catalog/table_name.h"

static void names_are_split_checked_and_printed(void **state)
{
    struct arena arena;
    struct table_name name;
    arena_init(&arena, 0);
    assert_ok(table_name_parse(&arena, STR("t"), &name, ERR));
    assert_str(name.ns, "main");
    assert_ok(table_name_parse(&arena, STR("zoo.b\xc3\xa4r 1"), &name, ERR));
    assert_str(name.ns, "zoo");
    assert_str(name.name, "b\xc3\xa4r 1");
    static const char *const bad[] = { "",       ".",    "a.",      ".a",           "a/b",
                                       "a\"b",   "a'b",  "a\nb",    "a\x80",        "\x7f",
                                       "\"a",    "\"\"", "\"a\"b",  "\"a\".",       "a..b",
                                       "\"a.b'", "`a`",  "a\037.t", "\"a\037z\".t", "\".\".t",
                                       "\"..\"" };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_kind(table_name_parse(&arena, str_of(bad[i]), &name, ERR), E_INVALID);
    }
    char text[400];
    memset(text, 'x', sizeof(text));
    assert_ok(table_name_parse(&arena, str_from(text, 80), &name, ERR));
    assert_kind(table_name_parse(&arena, str_from(text, 81), &name, ERR), E_INVALID);
    for (size_t i = 0; i < 80; i++) {
        memcpy(text + 4 * i, "\xf0\x9f\xa6\x86", 4);
    }
    assert_ok(table_name_parse(&arena, str_from(text, 320), &name, ERR)); /* 80 ducks */
    arena_done(&arena);
}

static void the_text_of_a_name_is_read_back(void **state)
{
    static const struct {
        const char *ns, *name, *text;
    } names[] = {
        { "main", "t", "t" },
        { "zoo", "t", "zoo.t" },
        { "main", "a.b", "\"a.b\"" },
        { "a\037b", "t", "a.b.t" },
        { "a.b", "tab/le", "\"a.b\".\"tab/le\"" },
        { "a\037b.c\037d", "T t", "a.\"b.c\".d.T t" },
        { "it's", "say \"hi\"", "\"it's\".\"say \"\"hi\"\"\"" },
        { "\"", "\"\"", "\"\"\"\".\"\"\"\"\"\"" },
        { "50%", "a+b\xc3\xa4#?", "50%.a+b\xc3\xa4#?" },
    };
    struct arena arena;
    struct buf out;
    arena_init(&arena, 0);
    buf_init(&out, 0);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct table_name name = { str_of(names[i].ns), str_of(names[i].name) }, back;
        buf_clear(&out);
        assert_ok(table_name_print(&name, &out));
        assert_str(buf_str(&out), names[i].text);
        assert_ok(table_name_parse(&arena, buf_str(&out), &back, ERR));
        assert_true(str_eq(back.ns, name.ns) && str_eq(back.name, name.name));
    }
    buf_done(&out);
    arena_done(&arena);
}

static void a_schema_of_sql_names_one_level_or_several(void **state)
{
    static const struct {
        const char *schema, *first, *second; /* second NULL: nothing else */
    } schemas[] = {
        { "main", "main", NULL },        { "a/b c", "a/b c", NULL },
        { "a.b", "a.b", "a\037b" },      { "a..b", "a..b", NULL },
        { "\"a.b\"", "a.b", "\"a.b\"" }, { "\"a\".\"b\"", "a\037b", "\"a\".\"b\"" },
        { "\"a", "\"a", NULL },
    };
    struct arena arena;
    struct buf out;
    arena_init(&arena, 0);
    buf_init(&out, 0);
    for (size_t i = 0; i < ARRAY_LEN(schemas); i++) {
        struct str found[2];
        size_t count = 0;
        assert_ok(table_name_of_schema(&arena, str_of(schemas[i].schema), found, &count, ERR));
        assert_int_equal(count, schemas[i].second == NULL ? 1 : 2);
        assert_str(found[0], schemas[i].first);
        assert_true(count == 1 || str_eq(found[1], str_of(schemas[i].second)));
        buf_clear(&out);
        assert_ok(table_name_schema(found[0], &out));
        struct str again[2];
        assert_ok(table_name_of_schema(&arena, buf_str(&out), again, &count, ERR));
        bool is_among = str_eq(again[0], found[0]) || (count > 1 && str_eq(again[1], found[0]));
        assert_true(is_among);
    }
    buf_done(&out);
    arena_done(&arena);
}

static void every_name_has_a_key_of_its_own_and_back(void **state)
{
    static const char *const names[] = { "t",           "T",      "a b",   "%61", "a",
                                         "caf\xc3\xa9", "x+y",    "a~-_z", "_ns", "a/b",
                                         ".",           "a.json", "..",    "\"" };
    struct arena arena;
    struct str prefix, seen[ARRAY_LEN(names)];
    arena_init(&arena, 0);
    assert_ok(pointer_prefix(&arena, STR("main"), &prefix, ERR));
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct table_name name = { STR("n s"), str_of(names[i]) }, back;
        bool is_pointer = false;
        assert_ok(pointer_key(&arena, STR("main"), &name, &seen[i], ERR));
        assert_ok(store_key_check_plain(seen[i], ERR));
        assert_ok(pointer_key_name(&arena, prefix, seen[i], &is_pointer, &back, ERR));
        assert_true(is_pointer && str_eq(back.ns, name.ns) && str_eq(back.name, name.name));
        for (size_t j = 0; j < i; j++) {
            assert_false(str_eq(seen[i], seen[j]));
        }
    }
    static const char *const namespaces[] = { "a\037b", "a.b", "a/b", "a%1Fb" };
    for (size_t i = 0; i < ARRAY_LEN(namespaces); i++) {
        struct table_name name = { str_of(namespaces[i]), STR("t") }, back;
        bool is_pointer = false;
        assert_ok(pointer_key(&arena, STR("main"), &name, &seen[i], ERR));
        assert_ok(store_key_check_plain(seen[i], ERR));
        assert_ok(pointer_key_name(&arena, prefix, seen[i], &is_pointer, &back, ERR));
        assert_true(is_pointer && str_eq(back.ns, name.ns));
        for (size_t j = 0; j < i; j++) {
            assert_false(str_eq(seen[i], seen[j]));
        }
    }
    bool is_pointer = true;
    struct table_name back;
    assert_ok(pointer_key_name(&arena, prefix, STR("_lake/cat/main/ns/n/_ns.json"), &is_pointer,
                               &back, ERR));
    assert_false(is_pointer);
    arena_done(&arena);
}

static struct pointer example(void)
{
    static struct str ids[] = { STR_INIT("01f2e3d4c5b6a798"), STR_INIT("7a6b5c4d3e2f1001") };
    static struct pointer_batch batches[] = {
        { .id = STR_INIT("monday"),
          .snapshot_id = 5,
          .sequence_number = 2,
          .row_count = 4000,
          .committed_ms = 99,
          .file = STR_INIT("wh/x"),
          .source = STR_INIT("a \"b\"") },
    };
    return (struct pointer){
        .table = { .name = { STR("main"), STR("birds") },
                   .uuid = STR("u"),
                   .fingerprint = STR("f"),
                   .snapshot_id = -1,
                   .row_count = 1,
                   .file_count = 2,
                   .size_bytes = 3,
                   .updated_ms = 4,
                   .metadata_location = STR("file:///x"),
                   .version = 7 },
        .namespace_uuid = STR("n"),
        .commit_ids = ids,
        .commit_count = 2,
        .batches = batches,
        .batch_count = 1,
    };
}

static void a_pointer_is_read_as_it_was_written(void **state)
{
    struct arena arena;
    struct buf json;
    arena_init(&arena, 0);
    buf_init(&json, 0);
    struct pointer in = example(), out;
    assert_ok(pointer_encode(&in, &json));
    assert_ok(pointer_decode(&arena, buf_str(&json), &out, ERR));
    assert_true(str_eq(out.table.uuid, in.table.uuid) && out.table.version == 7 &&
                out.table.snapshot_id == -1);
    assert_true(out.state == POINTER_LIVE && !out.table.is_view && out.batch_count == 1 &&
                out.commit_count == 2);
    assert_str(out.batches[0].source, "a \"b\"");
    assert_true(pointer_has_commit(&out, STR("7a6b5c4d3e2f1001")) &&
                !pointer_has_commit(&out, STR("7a6b5c4d3e2f1000")));
    assert_non_null(pointer_find_batch(&out, STR("monday")));
    assert_null(pointer_find_batch(&out, STR("tuesday")));
    /* Cut anywhere, it is broken and nothing worse. */
    for (size_t len = 0; len < json.len; len++) {
        assert_kind(pointer_decode(&arena, str_take(buf_str(&json), len), &out, ERR), E_CORRUPT);
    }
    buf_done(&json);
    arena_done(&arena);
}

static void a_pointer_of_the_future_is_not_read(void **state)
{
    struct arena arena;
    struct pointer out;
    arena_init(&arena, 0);
    assert_kind(pointer_decode(&arena, STR("{\"format\":2}"), &out, ERR), E_UNSUPPORTED);
#define HEAD                                                                                       \
    "{\"format\":1,\"kind\":\"table\",\"state\":\"live\",\"namespace\":\"main\",\"name\":\"t\","   \
    "\"uuid\":\"u\",\"version\":1,\"metadata_location\":\"x\","
    assert_kind(pointer_decode(&arena, STR(HEAD "\"tx\":{\"id\":\"1\"}}"), &out, ERR), E_CORRUPT);
    assert_kind(pointer_decode(&arena, STR(HEAD "\"tx\":null}"), &out, ERR), E_CORRUPT);
    arena_done(&arena);
}

static void a_pointer_that_is_held_keeps_what_follows(void **state)
{
    struct arena arena;
    struct pointer out;
    AUTO(buf_done) struct buf json;
    struct pointer pointer = { .table = { .name = { STR("main"), STR("t") },
                                          .uuid = STR("u"),
                                          .fingerprint = STR("f"),
                                          .metadata_location = STR("x") },
                               .namespace_uuid = STR("n"),
                               .tx_id = STR("42"),
                               .tx_next = STR("{\"a\":[1,\"\\u00e9\"]}") };
    arena_init(&arena, 0);
    buf_init(&json, 0);
    assert_int_equal(pointer_encode(&pointer, &json), OK);
    assert_ok(pointer_decode(&arena, buf_str(&json), &out, ERR));
    assert_str(out.tx_id, "42");
    assert_str(out.tx_next, "{\"a\":[1,\"\u00e9\"]}");
    assert_int_equal(out.state, POINTER_LIVE);
    arena_done(&arena);
    (void)state;
}

static void commit_ids_are_fresh_and_bounded(void **state)
{
    struct arena arena;
    struct rng rng;
    struct pointer pointer = { 0 };
    arena_init(&arena, 0);
    rng_seed(&rng, 1);
    for (int i = 0; i < 300; i++) {
        struct pointer next = { 0 };
        assert_ok(pointer_add_commit(&arena, &pointer, &rng, &next, ERR));
        struct str fresh = next.commit_ids[next.commit_count - 1];
        assert_int_equal(fresh.len, POINTER_COMMIT_ID_LEN);
        assert_false(pointer_has_commit(&pointer, fresh));
        pointer = next;
    }
    assert_int_equal(pointer.commit_count, POINTER_COMMIT_IDS_MAX);
    arena_done(&arena);
}

static void batch_ids_never_meet_those_of_registered_objects(void **state)
{
    struct arena arena;
    struct str source, client, plain;
    arena_init(&arena, 0);
    assert_ok(batch_source_id(&arena, STR("k.parquet"), &source, ERR));
    assert_ok(batch_id(&arena, source, &client, ERR));
    assert_false(str_eq(source, client));
    assert_ok(batch_id(&arena, client, &plain, ERR));
    assert_false(str_eq(plain, client));
    assert_ok(batch_id(&arena, STR("monday_1-a"), &plain, ERR));
    assert_str(plain, "monday_1-a");
    struct str file, id;
    assert_ok(batch_source_file(&arena, STR("k.parquet"), &file, ERR));
    assert_true(batch_source_of_file(arena_printf(&arena, "wh/x/data/%.*s", STR_ARG(file)), &id));
    assert_true(str_eq(id, source));
    assert_false(batch_source_of_file(STR("wh/x/data/other.parquet"), &id));
    arena_done(&arena);
}

static void locations_are_mapped_by_all_roots(void **state)
{
    struct store *store = fixture_mem();
    struct locate *locate = NULL;
    struct arena arena;
    struct str key;
    arena_init(&arena, 0);
    assert_ok(store_put(store, STR("_lake/format.json"),
                        STR("{\"version\":1,\"roots\":[\"file:///old/lake\",\"s3://bucket/pre\"]}"),
                        NULL, NULL, ERR));
    assert_ok(locate_new(store, &locate, ERR));
    static const char *const good[] = { "file:///old/lake/wh/x", "file:/old/lake/wh/x",
                                        "FILE://localhost/old/lake/wh/x", "s3://bucket/pre/wh/x",
                                        "s3a://bucket/pre/wh/x" };
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        assert_ok(locate_key(locate, str_of(good[i]), &arena, &key, ERR));
        assert_str(key, "wh/x");
    }
    struct str uri;
    assert_ok(locate_uri(locate, STR_EMPTY, STR("wh/x"), &arena, &uri, ERR));
    assert_ok(locate_key(locate, uri, &arena, &key, ERR));
    assert_str(key, "wh/x");
    static const char *const bad[] = { "wh/x",
                                       "file:///old/lakes/wh/x",
                                       "file:///old/lake/../etc/passwd",
                                       "file:///old/lake",
                                       "file:///etc/passwd",
                                       "s3://other/pre/wh/x",
                                       "file:///old/lake/_lake/secret",
                                       "http://x/y",
                                       "file:///old/lake//x" };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_kind(locate_key(locate, str_of(bad[i]), &arena, &key, ERR), E_INVALID);
    }
    arena_done(&arena);
    locate_free(locate);
    store_close(store);
}

/** What `_lake/format.json` says. */
static bool format_has(struct store *store, const char *text)
{
    AUTO(buf_done) struct buf body;
    buf_init(&body, 65536);
    assert_ok(store_read(store, STR("_lake/format.json"), NULL, &body, NULL, ERR));
    return str_find(buf_str(&body), str_of(text)) != SIZE_MAX;
}

static void a_table_is_written_under_a_root_of_its_own_kind(void **state)
{
    static const struct {
        enum catalog_uri kind; /* of new tables */
        const char *table;     /* "": a new one */
        const char *root;      /* NULL: the store's own */
    } cases[] = {
        { CATALOG_URI_STORE, "", NULL },
        { CATALOG_URI_FILE, "", NULL },
        { CATALOG_URI_S3, "", "s3://lake" },
        { CATALOG_URI_S3, "file:///old/wh/x", NULL },
        { CATALOG_URI_STORE, "s3://lake/wh/x", "s3://lake" },
        { CATALOG_URI_FILE, "S3A://elsewhere/wh/x", "s3://lake" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct store *store = fixture_mem();
        struct locate *locate = NULL;
        struct arena arena;
        struct str uri, key;
        arena_init(&arena, 0);
        assert_ok(store_put(store, STR("_lake/format.json"),
                            STR("{\"version\":1,\"cluster_id\":\"c\",\"roots\":[]}"), NULL, NULL,
                            ERR));
        assert_ok(locate_new(store, &locate, ERR));
        locate_offer(locate, STR("s3://lake"), cases[i].kind);
        assert_ok(locate_uri(locate, str_of(cases[i].table), STR("wh/y"), &arena, &uri, ERR));
        struct str root = cases[i].root != NULL ? str_of(cases[i].root) : store_root_uri(store);
        assert_true(str_starts(uri, root));
        assert_str(str_skip(uri, root.len), "/wh/y");
        assert_int_equal(format_has(store, "s3://lake"), cases[i].root != NULL);
        locate_free(locate);
        /* and everybody finds the way back */
        assert_ok(locate_new(store, &locate, ERR));
        assert_ok(locate_key(locate, uri, &arena, &key, ERR));
        assert_str(key, "wh/y");
        locate_free(locate);
        arena_done(&arena);
        store_close(store);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_split_checked_and_printed),
        cmocka_unit_test(the_text_of_a_name_is_read_back),
        cmocka_unit_test(a_schema_of_sql_names_one_level_or_several),
        cmocka_unit_test(every_name_has_a_key_of_its_own_and_back),
        cmocka_unit_test(a_pointer_is_read_as_it_was_written),
        cmocka_unit_test(a_pointer_of_the_future_is_not_read),
        cmocka_unit_test(a_pointer_that_is_held_keeps_what_follows),
        cmocka_unit_test(commit_ids_are_fresh_and_bounded),
        cmocka_unit_test(batch_ids_never_meet_those_of_registered_objects),
        cmocka_unit_test(locations_are_mapped_by_all_roots),
        cmocka_unit_test(a_table_is_written_under_a_root_of_its_own_kind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
