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
    int64_t step_ms; /* the clock goes on by so much after each */
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
        __atomic_add_fetch(&now_ms, racer->step_ms, __ATOMIC_RELAXED);
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
    struct racer racer = { .lake = &other, .appends = 60, .step_ms = DAY };
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

static void main_keeps_what_it_says_through_commits_of_ours(void **state)
{
    struct lake *lake = *state;
    add(lake, 1);
    int64_t id = add(lake, 1);
    set_ref(lake, "main", "branch", id, ",'min-snapshots-to-keep':4,'max-snapshot-age-ms':77");
    take_first_file(lake);
    struct catalog_pin *pin = NULL;
    const struct table_name name = fixture_name("t");
    assert_ok(catalog_pin(lake->catalog, &name, false, NULL, &pin, ERR));
    assert_int_equal(pin->metadata->ref_count, 1);
    assert_int_equal(pin->metadata->branches[0].keep_min, 4);
    assert_int_equal(pin->metadata->branches[0].snapshot_age_max_ms, 77);
    assert_int_equal(pin->metadata->branches[0].ref_age_max_ms, 0);
    catalog_unpin(pin);
    now_ms += 6 * DAY;
    assert_int_equal(expire(lake, &(struct upkeep_expire){ .retain_last = 1 }).snapshots, 0);
}

/* --- manifests --- */

/** What a table's files are, whatever manifests they stand in. */
struct content {
    size_t manifests, files;
    int64_t rows, numbers; /* `numbers` changes with any id or number of any entry */
};

static int64_t path_number(struct str path)
{
    int64_t number = 0;
    for (size_t i = 0; i < path.len; i++) {
        number = (number * 31 + path.ptr[i]) % 1000003;
    }
    return number;
}

static struct content content_of(struct lake *lake)
{
    struct content content = { 0 };
    struct catalog_pin *pin = NULL;
    struct catalog_manifests list;
    const struct table_name name = fixture_name("t");
    assert_ok(catalog_pin(lake->catalog, &name, false, NULL, &pin, ERR));
    assert_ok(catalog_manifests(lake->catalog, pin, &list, ERR));
    content.manifests = list.count;
    for (size_t i = 0; i < list.count; i++) {
        struct catalog_manifest one;
        assert_ok(catalog_manifest_open(lake->catalog, &list.rows[i], &one, ERR));
        for (size_t f = 0; f < one.manifest->file_count; f++) {
            const struct ice_data_file *file = &one.manifest->files[f];
            if (file->status == ICE_DELETED) {
                continue;
            }
            content.files++;
            content.rows += file->record_count;
            assert_true(file->sequence_number >= list.rows[i].min_sequence_number);
            content.numbers += path_number(file->path) *
                               (file->snapshot_id % 1009 + 7 * file->sequence_number +
                                11 * file->file_sequence_number + 13 * (int64_t)file->content);
        }
        catalog_manifest_close(&one);
    }
    catalog_unpin(pin);
    return content;
}

static struct upkeep_rewritten rewrite_manifests(struct lake *lake,
                                                 const struct upkeep_manifests *how)
{
    struct upkeep_rewritten out;
    struct upkeep_manifests request = *how;
    request.name = fixture_name("t");
    assert_ok(catalog_rewrite_manifests(lake->catalog, &request, &lake->arena, &out, ERR));
    return out;
}

static void assert_same_files(struct content before, struct content after)
{
    assert_int_equal(before.files, after.files);
    assert_int_equal(before.rows, after.rows);
    assert_int_equal(before.numbers, after.numbers);
}

static void small_manifests_become_one_and_entries_keep_their_numbers(void **state)
{
    struct lake *lake = *state;
    for (int i = 0; i < 20; i++) {
        add(lake, i + 1);
    }
    take_first_file(lake);
    struct content before = content_of(lake);
    assert_int_equal(before.manifests, 20);
    struct upkeep_rewritten dry = rewrite_manifests(lake,
                                                    &(struct upkeep_manifests){ .dry_run = true });
    assert_int_equal(dry.rewritten, 20);
    assert_int_equal(dry.added, 1);
    assert_int_equal(dry.snapshot_id, -1);
    assert_int_equal(dry.files.count, 20);
    assert_int_equal(content_of(lake).manifests, 20);
    struct upkeep_rewritten few = rewrite_manifests(lake,
                                                    &(struct upkeep_manifests){ .fewer_min = 30 });
    assert_int_equal(few.rewritten, 0);
    struct upkeep_rewritten done = rewrite_manifests(lake, &(struct upkeep_manifests){ 0 });
    assert_int_equal(done.rewritten, 20);
    assert_int_equal(done.added, 1);
    assert_int_equal(done.entries, 19);
    assert_true(done.snapshot_id > 0 && done.added_bytes > 0);
    struct content after = content_of(lake);
    assert_int_equal(after.manifests, 1);
    assert_same_files(before, after);
    struct catalog_pin *pin = NULL;
    const struct table_name name = fixture_name("t");
    assert_ok(catalog_pin(lake->catalog, &name, false, NULL, &pin, ERR));
    yyjson_val *summary = pin->snapshot->summary;
    assert_string_equal(yyjson_get_str(yyjson_obj_get(summary, "operation")), "replace");
    assert_string_equal(yyjson_get_str(yyjson_obj_get(summary, "manifests-replaced")), "20");
    assert_string_equal(yyjson_get_str(yyjson_obj_get(summary, "total-data-files")), "19");
    assert_string_equal(yyjson_get_str(yyjson_obj_get(summary, "total-records")), "209");
    catalog_unpin(pin);
    assert_readable(lake);
    size_t snapshots = snapshot_count(lake);
    done = rewrite_manifests(lake, &(struct upkeep_manifests){ 0 });
    assert_int_equal(done.rewritten, 0);
    assert_int_equal(done.snapshot_id, -1);
    assert_int_equal(snapshot_count(lake), snapshots); /* nothing to do is no commit */
    now_ms += 6 * DAY;
    struct upkeep_expired gone = expire(lake, &(struct upkeep_expire){ 0 });
    assert_int_equal(gone.manifests, 21); /* those that were merged, and the one of file 1 before */
    assert_int_equal(gone.data_files, 1);
    assert_readable(lake);
}

/** A table that is partitioned by its id, whose manifests are to have some 12000 bytes. */
static void make_partitioned(struct lake *lake)
{
    static const char text[] =
        "{\"schema\":{\"type\":\"struct\",\"schema-id\":0,\"fields\":[{\"id\":1,\"name\":\"id\","
        "\"required\":false,\"type\":\"long\"}]},\"partition-spec\":{\"spec-id\":0,\"fields\":["
        "{\"name\":\"part\",\"transform\":\"identity\",\"source-id\":1,\"field-id\":1000}]},"
        "\"properties\":{\"commit.manifest.target-size-bytes\":\"12000\"}}";
    yyjson_doc *doc = NULL;
    struct catalog_loaded loaded = { 0 };
    struct catalog_namespace ns;
    assert_ok(json_parse(str_of(text), &doc, ERR));
    enum status status = catalog_namespace_create(lake->catalog, STR("main"), NULL, 0, &lake->arena,
                                                  &ns, ERR);
    assert_true(status == OK || status == E_EXISTS);
    const struct catalog_create create = { .name = fixture_name("t"),
                                           .request = yyjson_doc_get_root(doc) };
    assert_ok(catalog_create_table(lake->catalog, &create, &lake->arena, &loaded, ERR));
    buf_done(&loaded.metadata);
    json_doc_done(&doc);
}

/** One commit with a file in each of these partitions; -1: of null. */
static void add_parts(struct lake *lake, const int *parts, size_t count)
{
    static int number;
    struct catalog_pin *pin = NULL;
    struct catalog_place place;
    struct ice_partition_specs specs;
    struct ice_data_file files[8];
    struct ice_partition_record records[8];
    int64_t id = 0;
    const struct table_name name = fixture_name("t");
    assert_ok(catalog_pin(lake->catalog, &name, false, NULL, &pin, ERR));
    assert_ok(catalog_place(lake->catalog, &name, &lake->arena, &place, ERR));
    assert_ok(ice_partition_specs(&lake->arena, pin->metadata, &specs, ERR));
    for (size_t i = 0; i < count; i++) {
        struct str text = parts[i] < 0 ? (struct str){ NULL, 0 }
                                       : arena_printf(&lake->arena, "%d", parts[i]);
        assert_ok(ice_partition_record(&lake->arena, &specs.specs[0], &text, &records[i], ERR));
        files[i] = (struct ice_data_file){
            .path = arena_printf(&lake->arena, "%.*s/data/p-%d.parquet",
                                 STR_ARG(place.location_key), number++),
            .format = STR("PARQUET"),
            .record_count = 1,
            .size_bytes = 100,
            .sort_order_id = -1,
            .partition_spec_id = 0,
            .partition_avro = records[i].avro,
        };
        assert_ok(store_put(lake->store, files[i].path, STR("PAR1"), NULL, NULL, ERR));
    }
    const struct catalog_rewrite rewrite = {
        .name = name,
        .operation = "append",
        .uuid = pin->table.uuid,
        .snapshot_id = pin->snapshot == NULL ? -1 : pin->snapshot->id,
        .added = files,
        .partitions = records,
        .added_count = count,
        .deadline = deadline_in(60000),
    };
    assert_ok(catalog_rewrite(lake->catalog, &rewrite, &id, ERR));
    catalog_unpin(pin);
}

static int64_t bound(struct str text)
{
    int64_t value = -1;
    if (text.ptr != NULL) {
        assert_int_equal(text.len, sizeof(value));
        memcpy(&value, text.ptr, sizeof(value));
    }
    return value;
}

static void entries_are_sorted_by_partition_so_that_few_manifests_are_read_for_one(void **state)
{
    struct lake *lake = *state;
    make_partitioned(lake);
    for (int i = 0; i < 12; i++) {
        add_parts(lake, (const int[]){ i, 40 - i, i % 3 == 0 ? -1 : 20 }, 3);
    }
    struct content before = content_of(lake);
    struct upkeep_rewritten done = rewrite_manifests(lake, &(struct upkeep_manifests){ 0 });
    struct content after = content_of(lake);
    assert_int_equal(done.rewritten, 12);
    assert_int_equal(after.manifests, done.added);
    assert_true(after.manifests > 2 && after.manifests < 12);
    assert_same_files(before, after);
    struct catalog_pin *pin = NULL;
    struct catalog_manifests list;
    const struct table_name name = fixture_name("t");
    assert_ok(catalog_pin(lake->catalog, &name, false, NULL, &pin, ERR));
    assert_ok(catalog_manifests(lake->catalog, pin, &list, ERR));
    size_t of_35 = 0, of_null = 0;
    int64_t end = -1;
    for (size_t i = 0; i < list.count; i++) {
        const struct ice_partition_summary *part = &list.rows[i].partitions[0];
        assert_int_equal(list.rows[i].partition_count, 1);
        assert_true(bound(part->lower) >= end); /* in order, one behind the other */
        end = bound(part->upper);
        of_35 += bound(part->lower) <= 35 && bound(part->upper) >= 35;
        of_null += part->contains_null ? 1 : 0;
    }
    assert_int_equal(of_35, 1);
    assert_int_equal(of_null, 1);
    catalog_unpin(pin);
    assert_readable(lake);
    int again = 0; /* what is sorted is smaller, so there may be fewer still */
    while (rewrite_manifests(lake, &(struct upkeep_manifests){ 0 }).rewritten > 0) {
        assert_true(++again < 3);
    }
    assert_same_files(before, content_of(lake));
}

static void manifests_beside_appends_lose_no_row(void **state)
{
    struct lake *lake = *state;
    pthread_t thread;
    int64_t rewritten = 0;
    struct lake other = { .store = lake->store };
    assert_ok(catalog_local_open(
        &(struct catalog_local_opts){ .store = lake->store, .clock = &test_clock }, &other.catalog,
        ERR));
    add(lake, 1);
    struct racer racer = { .lake = &other, .appends = 60 };
    int64_t start = now_ms;
    assert_int_equal(pthread_create(&thread, NULL, append_all, &racer), 0);
    for (int i = 0; i < 20; i++) {
        rewritten += rewrite_manifests(lake, &(struct upkeep_manifests){ 0 }).rewritten;
    }
    pthread_join(thread, NULL);
    rewritten += rewrite_manifests(lake, &(struct upkeep_manifests){ 0 }).rewritten;
    assert_true(rewritten > 20 && now_ms == start);
    struct content content = content_of(lake);
    assert_int_equal(content.rows, 61);
    assert_int_equal(content.manifests, 1);
    assert_readable(lake);
    catalog_close(other.catalog);
}

static void a_table_without_data_and_one_of_version_3_are_told_so(void **state)
{
    struct lake *lake = *state;
    make_partitioned(lake);
    assert_int_equal(rewrite_manifests(lake, &(struct upkeep_manifests){ 0 }).snapshot_id, -1);
    add_parts(lake, (const int[]){ 1 }, 1);
    fixture_edit(lake->store, "t", "\"format-version\":2",
                 "\"format-version\":3,\"next-row-id\":0");
    struct upkeep_rewritten out;
    const struct upkeep_manifests how = { .name = fixture_name("t") };
    assert_kind(catalog_rewrite_manifests(lake->catalog, &how, &lake->arena, &out, ERR), E_INVALID);
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
        TEST(main_keeps_what_it_says_through_commits_of_ours),
        TEST(small_manifests_become_one_and_entries_keep_their_numbers),
        TEST(entries_are_sorted_by_partition_so_that_few_manifests_are_read_for_one),
        TEST(manifests_beside_appends_lose_no_row),
        TEST(a_table_without_data_and_one_of_version_3_are_told_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
