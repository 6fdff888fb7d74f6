/* Care of a table: what expires, what it takes along, what it leaves; manifests that become few. */
#include "fixture.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "catalog/changes.h"
#include "catalog/rewrite.h"
#include "catalog/upkeep.h"

#define DAY (24LL * 3600 * 1000)

static int64_t now_ms; /* begins with the machine's: a rewrite goes by that */

static int64_t test_now(void *ctx)
{
    (void)ctx;
    return __atomic_load_n(&now_ms, __ATOMIC_RELAXED);
}

static const struct lake_clock test_clock = { .wall_ms = test_now, .mono_ms = test_now };

struct lake {
    struct store *store;
    struct catalog *catalog;
    struct arena arena;
};

static int lake_open(void **state)
{
    struct lake *lake = test_calloc(1, sizeof(*lake));
    now_ms = clock_wall_ms(clock_real());
    assert_ok(store_mem_open(&(struct store_mem_opts){ .clock = &test_clock }, &lake->store, ERR));
    assert_ok(catalog_local_open(
        &(struct catalog_local_opts){ .store = lake->store, .clock = &test_clock }, &lake->catalog,
        ERR));
    arena_init(&lake->arena, 0);
    *state = lake;
    return 0;
}

static int lake_close(void **state)
{
    struct lake *lake = *state;
    catalog_close(lake->catalog);
    store_close(lake->store);
    arena_done(&lake->arena);
    test_free(lake);
    return 0;
}

static int64_t add(struct lake *lake, int64_t rows)
{
    struct catalog_appended out;
    assert_ok(fixture_append(
        lake->catalog,
        &(struct fixture_append){ .table = "t", .batch = "", .rows = rows, .store = lake->store },
        &lake->arena, &out, ERR));
    return out.snapshot_id;
}

/** Updates of another program, as JSON with ' for ". */
static void change(struct lake *lake, const char *updates)
{
    char text[2000];
    yyjson_doc *doc = NULL;
    struct catalog_loaded loaded = { 0 };
    (void)snprintf(text, sizeof(text), "%s", updates);
    for (char *at = text; *at != '\0'; at++) {
        *at = (char)(*at == '\'' ? '"' : *at);
    }
    assert_ok(json_parse(str_of(text), &doc, ERR));
    const struct catalog_change request = { .name = fixture_name("t"),
                                            .updates = yyjson_doc_get_root(doc) };
    assert_ok(catalog_change_table(lake->catalog, &request, 0, &lake->arena, &loaded, ERR));
    buf_done(&loaded.metadata);
    json_doc_done(&doc);
}

static void set_ref(struct lake *lake, const char *name, const char *type, int64_t id,
                    const char *more)
{
    char text[500];
    (void)snprintf(
        text, sizeof(text),
        "[{'action':'set-snapshot-ref','ref-name':'%s','type':'%s','snapshot-id':%lld%s}]", name,
        type, (long long)id, more);
    change(lake, text);
}

/** The first file of the table goes, by a commit that takes files away. */
static void take_first_file(struct lake *lake)
{
    struct catalog_pin *pin = NULL;
    struct catalog_files files;
    const struct table_name name = fixture_name("t");
    int64_t id = 0;
    assert_ok(catalog_pin(lake->catalog, &name, false, NULL, &pin, ERR));
    assert_ok(catalog_files(lake->catalog, pin, &lake->arena, &files, ERR));
    size_t oldest = 0;
    for (size_t i = 0; i < files.count; i++) {
        oldest = files.files[i].file->sequence_number < files.files[oldest].file->sequence_number
                     ? i
                     : oldest;
    }
    const struct str gone = files.files[oldest].file->path;
    const struct catalog_rewrite rewrite = {
        .name = name,
        .operation = "delete",
        .uuid = pin->table.uuid,
        .snapshot_id = pin->snapshot->id,
        .schema_id = pin->metadata->current_schema_id,
        .removed = &gone,
        .removed_count = 1,
        .deadline = deadline_in(60000),
    };
    assert_ok(catalog_rewrite(lake->catalog, &rewrite, &id, ERR));
    catalog_unpin(pin);
}

static struct upkeep_expired expire(struct lake *lake, const struct upkeep_expire *how)
{
    struct upkeep_expired out;
    struct upkeep_expire request = *how;
    request.name = fixture_name("t");
    assert_ok(catalog_expire_snapshots(lake->catalog, &request, &lake->arena, &out, ERR));
    return out;
}

static size_t snapshot_count(struct lake *lake)
{
    struct catalog_pin *pin = NULL;
    const struct table_name name = fixture_name("t");
    assert_ok(catalog_pin(lake->catalog, &name, false, NULL, &pin, ERR));
    size_t count = pin->metadata->snapshot_count;
    catalog_unpin(pin);
    return count;
}

/** Every snapshot that the table has can be read, by somebody who has nothing in a cache. */
static void assert_readable(struct lake *lake)
{
    struct catalog *fresh = fixture_catalog(lake->store);
    const struct table_name name = fixture_name("t");
    struct catalog_pin *pin = NULL;
    assert_ok(catalog_pin(fresh, &name, false, NULL, &pin, ERR));
    for (size_t i = 0; i < pin->metadata->snapshot_count; i++) {
        struct catalog_pin *old = NULL;
        struct catalog_files files;
        struct store_info info;
        struct catalog_at at = { .kind = CATALOG_AT_VERSION,
                                 .value = pin->metadata->snapshots[i].id };
        assert_ok(catalog_pin(fresh, &name, false, &at, &old, ERR));
        assert_ok(catalog_files(fresh, old, &lake->arena, &files, ERR));
        for (size_t f = 0; f < files.count; f++) {
            assert_ok(store_stat(lake->store, files.files[f].key, &info, ERR));
        }
        catalog_unpin(old);
    }
    catalog_unpin(pin);
    catalog_close(fresh);
}

/* --- expiry --- */

static void snapshots_expire_by_age_and_take_along_what_only_they_named(void **state)
{
    struct lake *lake = *state;
    add(lake, 1);
    add(lake, 2);
    take_first_file(lake); /* only the two before name it */
    now_ms += 6 * DAY;
    size_t before = fixture_objects(lake->store, "wh/");
    struct upkeep_expired dry = expire(lake, &(struct upkeep_expire){ .dry_run = true });
    assert_int_equal(dry.snapshots, 2);
    assert_int_equal(snapshot_count(lake), 3);
    assert_int_equal(fixture_objects(lake->store, "_lake/trash/"), 0);
    assert_int_equal(fixture_objects(lake->store, "wh/"), before);
    struct upkeep_expired done = expire(lake, &(struct upkeep_expire){ 0 });
    assert_int_equal(done.snapshots, 2);
    assert_int_equal(done.data_files, 1);
    assert_int_equal(done.manifest_lists, 2);
    assert_int_equal(done.manifests, 1); /* of the first append, which the delete wrote anew */
    assert_int_equal(done.kept_files, 0);
    assert_int_equal(done.files.count, 4);
    assert_true(done.bytes > 1000); /* the data file's, and a manifest's */
    assert_int_equal(dry.data_files + dry.manifests + dry.manifest_lists, 4);
    assert_int_equal(snapshot_count(lake), 1);
    assert_int_equal(fixture_objects(lake->store, "_lake/trash/"), 2); /* metadata, then data */
    assert_int_equal(fixture_rows(lake->catalog, "t"), 2);
    assert_int_equal(fixture_objects(lake->store, "wh/"), before + 1); /* nothing is deleted now */
    assert_readable(lake);
    done = expire(lake, &(struct upkeep_expire){ 0 });
    assert_int_equal(done.snapshots + done.files.count, 0);
    assert_int_equal(fixture_objects(lake->store, "_lake/trash/"), 2);
}

static void arguments_go_before_properties(void **state)
{
    struct lake *lake = *state;
    for (int i = 0; i < 5; i++) {
        add(lake, 1);
        now_ms += DAY;
    }
    change(lake, "[{'action':'set-properties','updates':"
                 "{'history.expire.max-snapshot-age-ms':'1',"
                 "'history.expire.min-snapshots-to-keep':'4'}}]");
    struct upkeep_expire how = { .dry_run = true };
    assert_int_equal(expire(lake, &how).snapshots, 1);
    how.retain_last = 2;
    assert_int_equal(expire(lake, &how).snapshots, 3);
    how.older_than_ms = now_ms - 4 * DAY; /* the first two are from then or before */
    assert_int_equal(expire(lake, &how).snapshots, 1);
    how.older_than_ms = now_ms + DAY;
    how.retain_last = 1;
    assert_int_equal(expire(lake, &how).snapshots, 4);
    assert_int_equal(snapshot_count(lake), 5);
}

static void branches_and_tags_keep_what_they_need_and_old_ones_go(void **state)
{
    struct lake *lake = *state;
    int64_t first = add(lake, 1), second = add(lake, 1), third = add(lake, 1);
    add(lake, 1);
    set_ref(lake, "t1", "tag", first, "");
    set_ref(lake, "b1", "branch", third, ",'min-snapshots-to-keep':2");
    set_ref(lake, "old", "tag", second, ",'max-ref-age-ms':1000");
    change(lake, "[{'action':'set-properties','updates':"
                 "{'history.expire.max-ref-age-ms':'99999999999999'}}]");
    now_ms += 10 * DAY;
    struct upkeep_expired out = expire(lake, &(struct upkeep_expire){ 0 });
    assert_int_equal(out.refs, 1);
    assert_str(out.refs_gone.names[0], "old");
    assert_int_equal(out.snapshots, 0); /* the tag, the branch and the one before, main */
    set_ref(lake, "b1", "branch", third, ",'min-snapshots-to-keep':1");
    out = expire(lake, &(struct upkeep_expire){ 0 });
    assert_int_equal(out.snapshots, 1);
    assert_int_equal(out.manifests, 0); /* an append's manifests are carried on */
    assert_int_equal(out.manifest_lists, 1);
    assert_readable(lake);
}

static void statistics_go_with_their_snapshot(void **state)
{
    struct lake *lake = *state;
    struct catalog_place place;
    const struct table_name name = fixture_name("t");
    int64_t first = add(lake, 1), second = add(lake, 1);
    assert_ok(catalog_place(lake->catalog, &name, &lake->arena, &place, ERR));
    struct table_summary table;
    assert_ok(catalog_find(lake->catalog, &name, false, &lake->arena, &table, ERR));
    struct str root = str_take(table.metadata_location,
                               str_find(table.metadata_location, STR("/wh/")) + 1);
    const struct {
        const char *action, *member, *file;
        int64_t id;
    } files[] = {
        { "set-statistics", "statistics", "a.puffin", first },
        { "set-statistics", "statistics", "b.puffin", second },
        { "set-partition-statistics", "partition-statistics", "c.parquet", first },
        /* another snapshot's statistics name it too: it stays */
        { "set-partition-statistics", "partition-statistics", "b.puffin", first },
    };
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        char text[1000];
        (void)snprintf(text, sizeof(text),
                       "[{'action':'%s','%s':{'snapshot-id':%lld,'statistics-path':"
                       "'%.*s%.*s/metadata/%s','file-size-in-bytes':70,"
                       "'file-footer-size-in-bytes':1,'blob-metadata':[]}}]",
                       files[i].action, files[i].member, (long long)files[i].id, STR_ARG(root),
                       STR_ARG(place.location_key), files[i].file);
        change(lake, text);
    }
    now_ms += 6 * DAY;
    struct upkeep_expired out = expire(lake, &(struct upkeep_expire){ 0 });
    assert_int_equal(out.snapshots, 1);
    assert_int_equal(out.statistics, 1); /* a.puffin; b's is named by the second, c was replaced */
    assert_readable(lake);
}

static void gc_enabled_false_is_refused_by_name(void **state)
{
    struct lake *lake = *state;
    struct upkeep_expired out;
    add(lake, 1);
    add(lake, 1);
    now_ms += 6 * DAY;
    change(lake, "[{'action':'set-properties','updates':{'gc.enabled':'false'}}]");
    const struct upkeep_expire how = { .name = fixture_name("t") };
    assert_kind(catalog_expire_snapshots(lake->catalog, &how, &lake->arena, &out, ERR), E_INVALID);
    assert_true(str_find(str_of(fixture_err.msg), STR("gc.enabled")) != SIZE_MAX);
    assert_int_equal(snapshot_count(lake), 2);
    const struct upkeep_expire none = { .name = fixture_name("nobody") };
    assert_kind(catalog_expire_snapshots(lake->catalog, &none, &lake->arena, &out, ERR),
                E_NOT_FOUND);
    const struct upkeep_expire less = { .name = fixture_name("t"), .retain_last = -1 };
    assert_kind(catalog_expire_snapshots(lake->catalog, &less, &lake->arena, &out, ERR), E_INVALID);
}

static void a_folder_that_is_not_ours_keeps_its_files(void **state)
{
    struct lake *lake = *state;
    add(lake, 1);
    add(lake, 1);
    take_first_file(lake);
    struct catalog_place place;
    const struct table_name name = fixture_name("t");
    assert_ok(catalog_place(lake->catalog, &name, &lake->arena, &place, ERR));
    struct str tail = str_skip(place.location_key, str_rfind_char(place.location_key, '/') + 1);
    char from[200], to[200];
    (void)snprintf(from, sizeof(from), "/%.*s\"", STR_ARG(tail));
    (void)snprintf(to, sizeof(to), "/elsewhere\"");
    fixture_edit(lake->store, "t", from, to); /* as a table that was moved */
    now_ms += 6 * DAY;
    struct upkeep_expired out = expire(lake, &(struct upkeep_expire){ 0 });
    assert_int_equal(out.snapshots, 2);
    assert_int_equal(out.data_files + out.manifests + out.manifest_lists, 0);
    assert_int_equal(out.kept_files, 4);
    assert_int_equal(fixture_objects(lake->store, "_lake/trash/"), 0);
}

struct racer {
    struct lake *lake;
    int appends;
};

static void *append_all(void *arg)
{
    struct racer *racer = arg;
    for (int i = 0; i < racer->appends; i++) {
        struct arena arena;
        struct catalog_appended out;
        arena_init(&arena, 0);
        assert_ok(fixture_append(
            racer->lake->catalog,
            &(struct fixture_append){ .table = "t", .batch = "", .store = racer->lake->store },
            &arena, &out, ERR));
        __atomic_add_fetch(&now_ms, DAY, __ATOMIC_RELAXED);
        arena_done(&arena);
    }
    return NULL;
}

static void beside_appends_of_another_process_no_row_is_lost(void **state)
{
    struct lake *lake = *state;
    pthread_t thread;
    int64_t went = 0;
    struct lake other = { .store = lake->store };
    assert_ok(catalog_local_open(
        &(struct catalog_local_opts){ .store = lake->store, .clock = &test_clock }, &other.catalog,
        ERR));
    add(lake, 1);
    struct racer racer = { .lake = &other, .appends = 60 };
    assert_int_equal(pthread_create(&thread, NULL, append_all, &racer), 0);
    for (int i = 0; i < 60; i++) {
        went += expire(lake, &(struct upkeep_expire){ .older_than_ms = test_now(NULL) - 2 * DAY })
                    .snapshots;
    }
    pthread_join(thread, NULL);
    went += expire(lake, &(struct upkeep_expire){ .older_than_ms = test_now(NULL) + 1 }).snapshots;
    assert_true(went > 0);
    assert_int_equal(snapshot_count(lake), 1);
    assert_int_equal(fixture_rows(lake->catalog, "t"), 61);
    assert_readable(lake);
    catalog_close(other.catalog);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, lake_open, lake_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(snapshots_expire_by_age_and_take_along_what_only_they_named),
        TEST(arguments_go_before_properties),
        TEST(branches_and_tags_keep_what_they_need_and_old_ones_go),
        TEST(statistics_go_with_their_snapshot),
        TEST(gc_enabled_false_is_refused_by_name),
        TEST(a_folder_that_is_not_ours_keeps_its_files),
        TEST(beside_appends_of_another_process_no_row_is_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
