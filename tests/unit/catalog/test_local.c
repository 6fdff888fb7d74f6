/* The local driver on a store in memory: create, append, pin, list, drop. */
#include "fixture.h"

#include <pthread.h>
#include <stdio.h>

#include "base/mem.h"
#include "catalog/pointer.h"

struct lake {
    struct store *store;
    struct catalog *catalog;
    struct arena arena;
};

static int lake_open(void **state)
{
    struct lake *lake = test_calloc(1, sizeof(*lake));
    lake->store = fixture_mem();
    lake->catalog = fixture_catalog(lake->store);
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

static struct table_summary find(struct lake *lake, const char *table)
{
    struct table_summary out = { 0 };
    struct table_name name = fixture_name(table);
    assert_ok(catalog_find(lake->catalog, &name, false, &lake->arena, &out, ERR));
    return out;
}

static void first_append_creates_the_table_with_its_snapshot(void **state)
{
    struct lake *lake = *state;
    struct catalog_appended out = fixture_add(lake->catalog, "birds", "b1", &lake->arena);
    assert_true(out.created && !out.deduplicated);
    assert_true(out.snapshot_id > 0);
    assert_int_equal(out.files_added, 1);
    struct table_summary table = find(lake, "birds");
    assert_int_equal(table.row_count, 1);
    assert_int_equal(table.file_count, 1);
    assert_int_equal(table.size_bytes, 1000);
    assert_int_equal(table.snapshot_id, out.snapshot_id);
    assert_true(str_eq(table.uuid, out.uuid));
    assert_int_equal(table.fingerprint.len, 64);
    assert_int_equal(fixture_rows(lake->catalog, "birds"), 1);
}

static void appends_add_up_and_every_snapshot_stays_readable(void **state)
{
    struct lake *lake = *state;
    int64_t ids[5];
    for (int i = 0; i < 5; i++) {
        ids[i] = fixture_add(lake->catalog, "t", "", &lake->arena).snapshot_id;
    }
    assert_int_equal(fixture_rows(lake->catalog, "t"), 5);
    struct table_name name = fixture_name("t");
    for (int i = 0; i < 5; i++) {
        struct catalog_at at = { .kind = CATALOG_AT_VERSION, .value = ids[i] };
        struct catalog_pin *pin = NULL;
        struct catalog_files files;
        assert_ok(catalog_pin(lake->catalog, &name, false, &at, &pin, ERR));
        assert_ok(catalog_files(lake->catalog, pin, &lake->arena, &files, ERR));
        assert_int_equal(files.count, i + 1);
        catalog_unpin(pin);
    }
}

static void an_unknown_version_is_not_found_and_names_those_there_are(void **state)
{
    struct lake *lake = *state;
    int64_t id = fixture_add(lake->catalog, "t", "", &lake->arena).snapshot_id;
    struct table_name name = fixture_name("t");
    struct catalog_pin *pin = NULL;
    char text[32];
    snprintf(text, sizeof(text), "%lld", (long long)id);
    assert_kind(catalog_pin(lake->catalog, &name, false,
                            &(struct catalog_at){ CATALOG_AT_VERSION, 5, STR_EMPTY }, &pin, ERR),
                E_NOT_FOUND);
    assert_non_null(strstr(fixture_err.msg, text));
    assert_kind(catalog_pin(lake->catalog, &name, false,
                            &(struct catalog_at){ CATALOG_AT_TIMESTAMP, 5, STR_EMPTY }, &pin, ERR),
                E_NOT_FOUND);
    assert_non_null(strstr(fixture_err.msg, "1970-01-01"));
    assert_kind(catalog_pin(lake->catalog, &name, false,
                            &(struct catalog_at){ CATALOG_AT_VERSION, 0, STR("nope") }, &pin, ERR),
                E_NOT_FOUND);
    assert_non_null(strstr(fixture_err.msg, "main"));
    assert_ok(catalog_pin(lake->catalog, &name, false,
                          &(struct catalog_at){ CATALOG_AT_VERSION, 0, STR("main") }, &pin, ERR));
    catalog_unpin(pin);
}

static void a_new_catalogue_with_empty_caches_finds_everything(void **state)
{
    struct lake *lake = *state;
    for (int i = 0; i < 3; i++) {
        fixture_add(lake->catalog, "a", "", &lake->arena);
        fixture_add(lake->catalog, "other.b", "", &lake->arena);
    }
    struct catalog *fresh = fixture_catalog(lake->store);
    struct catalog_list list;
    assert_ok(catalog_list(fresh, NULL, &lake->arena, &list, ERR));
    assert_int_equal(list.count, 2);
    assert_str(list.tables[0].name.name, "a");
    assert_str(list.tables[1].name.ns, "other");
    assert_int_equal(list.tables[1].row_count, 3);
    assert_int_equal(fixture_rows(fresh, "a"), 3);
    assert_int_equal(fixture_rows(fresh, "other.b"), 3);
    catalog_close(fresh);
}

static void the_same_batch_lands_once(void **state)
{
    struct lake *lake = *state;
    struct catalog_appended first = fixture_add(lake->catalog, "t", "batch 1/x", &lake->arena);
    fixture_add(lake->catalog, "t", "two", &lake->arena);
    /* by the marker: the pointer has moved on */
    struct catalog *fresh = fixture_catalog(lake->store);
    struct catalog *who[] = { lake->catalog, fresh };
    for (int i = 0; i < 2; i++) {
        struct catalog_appended again = fixture_add(who[i], "t", "batch 1/x", &lake->arena);
        assert_true(again.deduplicated && !again.created);
        assert_int_equal(again.snapshot_id, first.snapshot_id);
        assert_str(again.batch_id, "batch 1/x");
        assert_int_equal(again.files_added, 0);
        bool found = false;
        struct table_name name = fixture_name("t");
        assert_ok(
            catalog_batch(who[i], &name, STR("batch 1/x"), &lake->arena, &found, &again, ERR));
        assert_true(found && again.snapshot_id == first.snapshot_id && again.row_count == 1);
        assert_ok(catalog_batch(who[i], &name, STR("none"), &lake->arena, &found, &again, ERR));
        assert_false(found);
    }
    assert_int_equal(fixture_rows(lake->catalog, "t"), 2);
    catalog_close(fresh);
}

static void a_repeat_with_the_same_file_is_the_same_append(void **state)
{
    struct lake *lake = *state;
    struct fixture_append in = { .table = "t", .batch = "b", .file = "one.parquet" };
    struct catalog_appended a, b;
    fixture_add(lake->catalog, "t", "", &lake->arena);
    assert_ok(fixture_append(lake->catalog, &in, &lake->arena, &a, ERR));
    assert_ok(fixture_append(lake->catalog, &in, &lake->arena, &b, ERR));
    assert_false(b.deduplicated);
    assert_int_equal(a.snapshot_id, b.snapshot_id);
    assert_int_equal(fixture_rows(lake->catalog, "t"), 2);
}

static void a_dropped_table_is_gone_and_its_name_is_free(void **state)
{
    struct lake *lake = *state;
    struct table_name name = fixture_name("t");
    struct catalog_appended first = fixture_add(lake->catalog, "t", "b", &lake->arena);
    assert_ok(catalog_drop(lake->catalog, &name, ERR));
    assert_kind(catalog_drop(lake->catalog, &name, ERR), E_NOT_FOUND);
    struct catalog_pin *pin = NULL;
    assert_kind(catalog_pin(lake->catalog, &name, true, NULL, &pin, ERR), E_NOT_FOUND);
    struct catalog_list list;
    assert_ok(catalog_list(lake->catalog, NULL, &lake->arena, &list, ERR));
    assert_int_equal(list.count, 0);
    /* the tombstone */
    assert_int_equal(fixture_objects(lake->store, "_lake/cat/main/ns/main/t/"), 1);
    assert_int_equal(fixture_objects(lake->store, "_lake/trash/"), 1);
    struct catalog_appended second = fixture_add(lake->catalog, "t", "b", &lake->arena);
    assert_true(second.created && !second.deduplicated);
    assert_false(str_eq(first.uuid, second.uuid));
    assert_int_equal(fixture_rows(lake->catalog, "t"), 1);
}

static void a_name_that_differs_by_case_is_refused_and_found(void **state)
{
    struct lake *lake = *state;
    fixture_add(lake->catalog, "Birds", "", &lake->arena);
    struct catalog_appended out;
    assert_kind(fixture_append(lake->catalog, &(struct fixture_append){ .table = "birds" },
                               &lake->arena, &out, ERR),
                E_EXISTS);
    struct table_name name = fixture_name("BIRDS");
    struct table_summary table;
    assert_kind(catalog_find(lake->catalog, &name, false, &lake->arena, &table, ERR), E_NOT_FOUND);
    assert_non_null(strstr(fixture_err.msg, "did you mean \"Birds\""));
    assert_ok(catalog_find(lake->catalog, &name, true, &lake->arena, &table, ERR));
    assert_str(table.name.name, "Birds");
}

static void a_missing_table_is_not_found_and_its_neighbours_are_named(void **state)
{
    struct lake *lake = *state;
    struct catalog_appended out;
    fixture_add(lake->catalog, "flights", "", &lake->arena);
    assert_kind(fixture_append(lake->catalog,
                               &(struct fixture_append){ .table = "flight", .no_create = true },
                               &lake->arena, &out, ERR),
                E_NOT_FOUND);
    assert_non_null(strstr(fixture_err.msg, "\"flights\""));
}

static void evolving_adds_a_column_and_older_files_stay(void **state)
{
    struct lake *lake = *state;
    fixture_add(lake->catalog, "t", "", &lake->arena);
    struct ice_schema *wide = fixture_schema(&lake->arena, "price");
    struct catalog_appended out;
    assert_ok(fixture_append(
        lake->catalog, &(struct fixture_append){ .table = "t", .schema = wide, .evolved = wide },
        &lake->arena, &out, ERR));
    struct catalog_pin *pin = NULL;
    struct table_name name = fixture_name("t");
    assert_ok(catalog_pin(lake->catalog, &name, false, NULL, &pin, ERR));
    assert_int_equal(pin->schema->root.field_count, 3);
    assert_int_equal(pin->metadata->last_column_id, 3);
    assert_true(pin->metadata->schema_count == 2);
    assert_true(str_eq(pin->table.fingerprint, out.fingerprint));
    catalog_unpin(pin);
    assert_int_equal(fixture_rows(lake->catalog, "t"), 2);
    /* Another column under the same id, planned before: refused, the table untouched. */
    struct ice_schema *other = fixture_schema(&lake->arena, "weight");
    assert_kind(fixture_append(lake->catalog,
                               &(struct fixture_append){ .table = "t", .schema = other },
                               &lake->arena, &out, ERR),
                E_CONFLICT);
    assert_kind(
        fixture_append(lake->catalog,
                       &(struct fixture_append){ .table = "t", .schema = other, .evolved = other },
                       &lake->arena, &out, ERR),
        E_CONFLICT);
    assert_int_equal(fixture_rows(lake->catalog, "t"), 2);
}

static void listing_goes_in_pages_in_byte_order(void **state)
{
    struct lake *lake = *state;
    const char *names[] = { "b", "a", "\xc3\xa9t\xc3\xa9", "z", "Z", "ns.a", "a b", "x%y" };
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (strcmp(names[i], "Z") != 0) { /* differs from z only by case */
            fixture_add(lake->catalog, names[i], "", &lake->arena);
        }
    }
    struct str after = STR_EMPTY, last = STR_EMPTY;
    size_t seen = 0;
    do {
        struct catalog_list page;
        assert_ok(catalog_list(lake->catalog,
                               &(struct catalog_list_opts){ .after = after, .limit = 2 },
                               &lake->arena, &page, ERR));
        for (size_t i = 0; i < page.count; i++, seen++) {
            struct buf text;
            buf_init(&text, 1000);
            assert_ok(table_name_print(&page.tables[i].name, &text));
            assert_true(str_cmp(last, buf_str(&text)) < 0);
            last = arena_str(&lake->arena, buf_str(&text));
            buf_done(&text);
        }
        after = page.next;
    } while (after.len > 0);
    assert_int_equal(seen, 7);
    struct catalog_list page;
    assert_ok(catalog_list(lake->catalog, &(struct catalog_list_opts){ .ns = STR("ns") },
                           &lake->arena, &page, ERR));
    assert_int_equal(page.count, 1);
}

/** Overwrites the pointer of a table of `main` behind the catalogue's back. */
static void damage(struct lake *lake, const char *table, const char *bytes)
{
    struct table_name name = { .ns = STR("main"), .name = str_of(table) };
    struct str key;
    assert_ok(pointer_key(&lake->arena, STR("main"), &name, &key, ERR));
    assert_ok(store_put(lake->store, key, str_of(bytes), NULL, NULL, ERR));
}

/** Their names are percent-encoded in keys, whose order is another. */
static void namespaces_are_listed_by_name_while_they_are_live(void **state)
{
    struct lake *lake = *state;
    struct str *names = NULL;
    size_t count = 1;
    assert_ok(catalog_namespaces(lake->catalog, STR_EMPTY, &lake->arena, &names, &count, ERR));
    assert_int_equal(count, 0);
    fixture_add(lake->catalog, "zoo.birds", "b1", &lake->arena);
    fixture_add(lake->catalog, "birds", "b2", &lake->arena);
    fixture_add(lake->catalog, "birds2", "b3", &lake->arena);
    fixture_add(lake->catalog, "a b.t", "b4", &lake->arena);
    assert_ok(catalog_namespaces(lake->catalog, STR_EMPTY, &lake->arena, &names, &count, ERR));
    assert_int_equal(count, 3);
    assert_true(str_eq(names[0], STR("a b")) && str_eq(names[1], STR("main")) &&
                str_eq(names[2], STR("zoo")));

    struct catalog_namespace found;
    assert_ok(catalog_namespace(lake->catalog, STR("a b"), &lake->arena, &found, ERR));
    assert_int_equal(found.uuid.len, 36);
    assert_int_equal(found.property_count, 1);
    assert_true(str_eq(found.properties[0].name, STR("location")));
    assert_true(str_ends(found.properties[0].value, STR("/wh/main/a-b")));
    assert_int_equal(catalog_namespace(lake->catalog, STR("nope"), &lake->arena, &found, ERR),
                     E_NOT_FOUND);

    /* a namespace that is dropped is one no more */
    assert_ok(
        store_put(lake->store, STR("_lake/cat/main/ns/zoo/_ns.json"),
                  STR("{\"format\":1,\"state\":\"dropped\",\"uuid\":\"u\",\"properties\":{}}"),
                  NULL, NULL, ERR));
    assert_int_equal(catalog_namespace(lake->catalog, STR("zoo"), &lake->arena, &found, ERR),
                     E_NOT_FOUND);
    assert_ok(catalog_namespaces(lake->catalog, STR_EMPTY, &lake->arena, &names, &count, ERR));
    assert_int_equal(count, 2);
}

static void the_text_of_metadata_is_the_file(void **state)
{
    struct lake *lake = *state;
    AUTO(buf_done) struct buf text;
    struct ice_metadata *metadata = NULL;
    fixture_add(lake->catalog, "birds", "b1", &lake->arena);
    struct table_summary table = find(lake, "birds");
    buf_init(&text, 1024 * 1024);
    assert_ok(catalog_metadata_text(lake->catalog, table.metadata_location, &text, ERR));
    assert_ok(ice_metadata_parse(buf_str(&text), &metadata, ERR));
    assert_true(str_eq(metadata->table_uuid, table.uuid));
    assert_int_equal(metadata->json_bytes, text.len);
    ice_metadata_unref(metadata);
    assert_int_equal(catalog_metadata_text(lake->catalog, STR("mem:///_lake/secret"), &text, ERR),
                     E_INVALID);
}

static void a_damaged_table_is_named_and_hides_no_other(void **state)
{
    struct lake *lake = *state;
    const char *names[] = { "a", "b", "c", "d", "e" };
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        fixture_add(lake->catalog, names[i], "", &lake->arena);
    }
    damage(lake, "b", "{\"format\":");
    damage(lake, "d", "{\"format\":99}");
    struct catalog_list list;
    assert_ok(catalog_list(lake->catalog, NULL, &lake->arena, &list, ERR));
    assert_int_equal(list.count, 3);
    assert_str(list.tables[1].name.name, "c");
    assert_int_equal(list.damaged_count, 2);
    assert_str(list.damaged[0].name.name, "b");
    assert_int_equal(list.damaged[0].kind, E_CORRUPT);
    assert_true(str_find(list.damaged[0].why, STR("b.json")) != SIZE_MAX);
    assert_str(list.damaged[1].name.name, "d");
    assert_int_equal(list.damaged[1].kind, E_UNSUPPORTED);
    char seen[16] = "";
    struct catalog_list_opts opts = { .limit = 1 };
    do { /* each name is on one page */
        assert_ok(catalog_list(lake->catalog, &opts, &lake->arena, &list, ERR));
        assert_int_equal(list.count + list.damaged_count, 1);
        struct str name = list.count == 1 ? list.tables[0].name.name : list.damaged[0].name.name;
        assert_true(strlen(seen) < sizeof(seen) - 1);
        strncat(seen, name.ptr, 1);
        opts.after = list.next;
    } while (list.next.len > 0);
    assert_string_equal(seen, "abcde");
}

/** What the current snapshot's list says. */
static size_t rows_of(struct lake *lake, const struct catalog_pin *pin,
                      struct ice_manifest_file **rows_out)
{
    struct buf bytes;
    size_t count = 0;
    buf_init(&bytes, 0);
    struct str uri = pin->snapshot->manifest_list;
    struct str key = str_skip(uri, str_find(uri, STR("wh/")));
    assert_ok(store_read(lake->store, key, NULL, &bytes, NULL, ERR));
    assert_ok(ice_manifest_list_read(&lake->arena, buf_str(&bytes), rows_out, &count, ERR));
    buf_done(&bytes);
    return count;
}

static void many_small_manifests_are_merged(void **state)
{
    struct lake *lake = *state;
    for (int i = 0; i < 120; i++) {
        fixture_add(lake->catalog, "t", "", &lake->arena);
    }
    assert_int_equal(fixture_rows(lake->catalog, "t"), 120);
    struct catalog_pin *pin = NULL;
    struct ice_manifest_file *rows = NULL;
    struct table_name name = fixture_name("t");
    assert_ok(catalog_pin(lake->catalog, &name, false, NULL, &pin, ERR));
    assert_true(rows_of(lake, pin, &rows) < 30);
    /* The log of metadata files is bounded; what fell out of it is in the trash, many at a time. */
    assert_int_equal(
        yyjson_arr_size(yyjson_obj_get(yyjson_doc_get_root(pin->metadata->doc), "metadata-log")),
        93);
    catalog_unpin(pin);
    assert_int_equal(fixture_objects(lake->store, "_lake/trash/"), 1);
}

/* The files of an old table are not written down again by each merge of the last hundred. */
static void a_merge_leaves_what_is_much_larger_alone(void **state)
{
    struct lake *lake = *state;
    enum { APPENDS = 1000 };
    for (int i = 0; i < APPENDS; i++) {
        fixture_add(lake->catalog, "t", "", &lake->arena);
        arena_reset(&lake->arena);
    }
    assert_int_equal(fixture_rows(lake->catalog, "t"), APPENDS);
    struct catalog_pin *pin = NULL;
    struct ice_manifest_file *rows = NULL;
    struct table_name name = fixture_name("t");
    assert_ok(catalog_pin(lake->catalog, &name, false, NULL, &pin, ERR));
    size_t count = rows_of(lake, pin, &rows);
    assert_true(count <= 100);
    int64_t files = 0;
    size_t merged = 0;
    for (size_t i = 0; i < count; i++) {
        files += rows[i].added_files + rows[i].existing_files;
        merged += rows[i].existing_files > 0 ? 1 : 0;
    }
    assert_int_equal(files, APPENDS);
    assert_true(merged >= 2 && merged <= 6);
    catalog_unpin(pin);
}

/** The manifest that a snapshot's list names last, as its writer forgot the numbers of an old
 * file. */
static void forget_numbers(struct lake *lake, const struct ice_snapshot *snapshot,
                           const struct ice_schema *schema)
{
    struct buf list, bytes, out;
    struct ice_manifest_file *rows = NULL;
    struct ice_manifest manifest;
    size_t count = 0;
    buf_init(&list, 0);
    buf_init(&bytes, 0);
    buf_init(&out, 0);
    struct str uri = snapshot->manifest_list;
    assert_ok(
        store_read(lake->store, str_skip(uri, str_find(uri, STR("wh/"))), NULL, &list, NULL, ERR));
    assert_ok(ice_manifest_list_read(&lake->arena, buf_str(&list), &rows, &count, ERR));
    struct str path = rows[count - 1].path;
    struct str key = str_skip(path, str_find(path, STR("wh/")));
    assert_ok(store_read(lake->store, key, NULL, &bytes, NULL, ERR));
    assert_ok(ice_manifest_read(&lake->arena, buf_str(&bytes), NULL, &manifest, ERR));
    struct ice_manifest_opts opts = { .schema = schema, .partition_spec = STR("[]") };
    assert_ok(ice_manifest_write(&opts, manifest.files, manifest.file_count, &out, ERR));
    /* its only entry: added, three nulls, data; now: existing, three nulls, data */
    size_t at = str_find(buf_str(&out), str_from("\2\0\0\0\0", 5));
    assert_true(at != SIZE_MAX);
    out.ptr[at] = 0;
    assert_ok(store_put(lake->store, key, buf_str(&out), NULL, NULL, ERR));
    buf_done(&list);
    buf_done(&bytes);
    buf_done(&out);
}

static void a_manifest_that_cannot_be_written_again_is_left_out_of_merges(void **state)
{
    struct lake *lake = *state;
    struct catalog_pin *pin = NULL;
    struct table_name name = fixture_name("t");
    fixture_add(lake->catalog, "t", "", &lake->arena);
    assert_ok(catalog_pin(lake->catalog, &name, false, NULL, &pin, ERR));
    forget_numbers(lake, pin->snapshot, pin->schema);
    catalog_unpin(pin);
    catalog_close(lake->catalog); /* which has the manifest in its memory */
    lake->catalog = fixture_catalog(lake->store);
    for (int i = 0; i < 110; i++) {
        fixture_add(lake->catalog, "t", "", &lake->arena);
    }
    assert_int_equal(fixture_rows(lake->catalog, "t"), 111);
}

/* Whichever allocation fails, an append has landed or it has not, and says which. */
static void a_lack_of_memory_never_loses_or_doubles_an_append(void **state)
{
    struct lake *lake = *state;
    bool happened = true;
    int64_t landed = 0;
    long walked = 0;
    for (long nth = 0; happened; nth++) {
        struct arena arena;
        struct catalog_appended out;
        char batch[32], table[32];
        arena_init(&arena, 0);
        snprintf(table, sizeof(table), "t%ld", nth / 16); /* small tables: few allocations */
        if (nth % 16 == 0) {
            fixture_add(lake->catalog, table, "", &arena);
            landed = 1;
        }
        snprintf(batch, sizeof(batch), "n%ld", nth);
        struct fixture_append in = { .table = table,
                                     .batch = batch,
                                     .schema = fixture_schema(&arena, NULL) };
        mem_fail_nth(nth);
        enum status status = fixture_append(lake->catalog, &in, &arena, &out, ERR);
        happened = mem_fail_happened();
        mem_fail_nth(-1);
        bool found = false;
        struct table_name name = fixture_name(table);
        if (status != OK && strstr(fixture_err.msg, "outcome is unknown") == NULL) {
            assert_ok(
                catalog_batch(lake->catalog, &name, str_of(batch), &arena, &found, &out, ERR));
            assert_false(found);
        }
        assert_ok(fixture_append(lake->catalog, &in, &arena, &out, ERR)); /* again, with memory */
        landed++;
        arena_done(&arena);
        assert_int_equal(find(lake, table).row_count, landed);
        assert_int_equal(fixture_rows(lake->catalog, table), landed);
        walked = nth;
        assert_true(nth < 5000);
    }
    assert_true(walked > 100);
}

/* --- threads --- */

enum { THREADS = 8, APPENDS = 25 };

struct worker {
    struct catalog *catalog;
    int index;
};

static void *work(void *arg)
{
    struct worker *worker = arg;
    struct arena arena;
    arena_init(&arena, 0);
    for (int i = 0; i < APPENDS; i++) {
        char batch[64];
        struct catalog_appended out;
        snprintf(batch, sizeof(batch), "w%d-%d", worker->index, i);
        struct fixture_append in = { .table = "t", .batch = batch };
        struct err err;
        if (fixture_append(worker->catalog, &in, &arena, &out, &err) != OK) {
            fprintf(stderr, "worker %d: %s\n", worker->index, err.msg);
            worker->index = -1;
            break;
        }
        arena_reset(&arena);
    }
    arena_done(&arena);
    return NULL;
}

static void parallel_appends_all_land(void **state)
{
    struct lake *lake = *state;
    struct catalog *second = fixture_catalog(lake->store); /* as another process would be */
    struct worker workers[THREADS];
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){ .catalog = i % 2 == 0 ? lake->catalog : second, .index = i };
        assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(workers[i].index, i);
    }
    assert_int_equal(fixture_rows(lake->catalog, "t"), THREADS * APPENDS);
    assert_int_equal(find(lake, "t").row_count, THREADS * APPENDS);
    catalog_close(second);
}

/* --- partitions --- */

static const char shape[] =
    "{\"partition-spec\":{\"fields\":["
    "{\"source-id\":1,\"transform\":\"bucket[4]\",\"name\":\"id_bucket\"},"
    "{\"source-id\":2,\"transform\":\"identity\",\"name\":\"name\"}]},"
    "\"write-order\":{\"fields\":[{\"source-id\":2,\"transform\":\"identity\","
    "\"direction\":\"desc\",\"null-order\":\"nulls-last\"}]},\"properties\":{\"p\":\"q\"}}";

struct spread {
    const char *batch, *shape, *bucket, *name; /* name NULL: null */
    int32_t spec_id;
    size_t part_count;
    bool whole; /* without parts */
};

/** One file of one partition. */
static enum status append_spread(struct lake *lake, const struct spread *in,
                                 struct catalog_appended *out)
{
    struct catalog_place place;
    struct table_name name = fixture_name("t");
    TRY(catalog_place(lake->catalog, &name, &lake->arena, &place, ERR));
    struct ice_data_file file = {
        .path = arena_printf(&lake->arena, "%.*s/data/%s.parquet", STR_ARG(place.location_key),
                             in->batch),
        .format = STR("PARQUET"),
        .record_count = 1,
        .size_bytes = 1000,
        .sort_order_id = 1,
    };
    const struct str values[] = { str_of(in->bucket),
                                  in->name == NULL ? (struct str){ NULL, 0 } : str_of(in->name) };
    const struct str *const parts[] = { values };
    const struct catalog_append append = {
        .name = name,
        .batch_id = str_of(in->batch),
        .schema = fixture_schema(&lake->arena, NULL),
        .files = &file,
        .file_count = 1,
        .create = true,
        .place = &place,
        .expected_schema_id = place.schema_id,
        .expected_spec_id = in->spec_id,
        .parts = in->whole ? NULL : parts,
        .part_count = in->part_count,
        .shape = in->shape == NULL ? STR_EMPTY : str_of(in->shape),
    };
    return catalog_append(lake->catalog, &append, &lake->arena, out, ERR);
}

static void an_append_makes_a_table_with_partitions_and_goes_into_them(void **state)
{
    struct lake *lake = *state;
    struct catalog_appended out;
    struct catalog_place place;
    struct table_name name = fixture_name("t");
    assert_ok(append_spread(
        lake, &(struct spread){ .batch = "b1", .shape = shape, .bucket = "3", .part_count = 2 },
        &out));
    assert_true(out.created);
    assert_ok(catalog_place(lake->catalog, &name, &lake->arena, &place, ERR));
    assert_int_equal(place.sort_order_id, 1);
    assert_true(place.partition_fields.len > 0 && place.sort_fields.len > 0);
    struct spread more = {
        .batch = "b2", .bucket = "1", .name = "x", .spec_id = place.spec_id, .part_count = 2
    };
    assert_ok(append_spread(lake, &more, &out));
    assert_ok(append_spread(lake, &more, &out)); /* the same once more */
    assert_int_equal(fixture_rows(lake->catalog, "t"), 2);

    struct catalog_pin *pin = NULL;
    struct catalog_files files;
    assert_ok(catalog_pin(lake->catalog, &name, false, NULL, &pin, ERR));
    assert_ok(catalog_files(lake->catalog, pin, &lake->arena, &files, ERR));
    assert_str(ice_metadata_property(pin->metadata, STR("p")), "q");
    assert_str(ice_metadata_property(pin->metadata, STR("lakehouse.expire-snapshots")), "true");
    assert_int_equal(files.count, 2);
    for (size_t i = 0; i < files.count; i++) {
        assert_int_equal(files.files[i].file->partition_spec_id, place.spec_id);
        assert_int_equal(files.files[i].file->sort_order_id, 1);
        assert_true(files.files[i].file->partition_key.len > 0);
    }
    struct catalog_manifests list;
    assert_ok(catalog_manifests(lake->catalog, pin, &list, ERR));
    assert_int_equal(list.count, 2);
    assert_int_equal(list.rows[0].partition_count, 2);
    assert_str(list.rows[0].partitions[1].lower, "x");
    assert_false(list.rows[0].partitions[1].contains_null);
    assert_true(list.rows[1].partitions[1].contains_null);
    catalog_unpin(pin);
}

static void small_manifests_of_partitions_are_merged_with_their_bounds(void **state)
{
    struct lake *lake = *state;
    struct catalog_appended out;
    struct catalog_pin *pin = NULL;
    struct ice_manifest_file *rows = NULL;
    struct table_name name = fixture_name("t");
    size_t merged = 0;
    for (int i = 0; i < 120; i++) {
        char batch[16], value[16];
        snprintf(batch, sizeof(batch), "b%d", i);
        snprintf(value, sizeof(value), "n%03d", (i * 37) % 120);
        assert_ok(append_spread(lake,
                                &(struct spread){ .batch = batch,
                                                  .shape = i == 0 ? shape : NULL,
                                                  .bucket = "3",
                                                  .name = i == 50 ? NULL : value,
                                                  .part_count = 2 },
                                &out));
    }
    assert_int_equal(fixture_rows(lake->catalog, "t"), 120);
    assert_ok(catalog_pin(lake->catalog, &name, false, NULL, &pin, ERR));
    size_t count = rows_of(lake, pin, &rows);
    assert_true(count < 30);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(rows[i].partition_count, 2);
        if (rows[i].existing_files >= 100) {
            merged++;
            assert_true(rows[i].partitions[1].contains_null);
            assert_true(rows[i].partitions[1].lower.len == 4 &&
                        rows[i].partitions[1].upper.len == 4);
            assert_str(rows[i].partitions[1].lower, "n000");
            assert_str(rows[i].partitions[1].upper, "n118");
            assert_int_equal(rows[i].partitions[0].lower.ptr[0], 3);
        }
    }
    assert_int_equal(merged, 1);
    catalog_unpin(pin);
}

/** The current snapshot's list, as another program may have written it: a bound of a wrong
 * length. */
static void spoil_bound(struct lake *lake)
{
    struct catalog_pin *pin = NULL;
    struct ice_manifest_file *rows = NULL;
    struct table_name name = fixture_name("t");
    struct buf out;
    buf_init(&out, 0);
    assert_ok(catalog_pin(lake->catalog, &name, false, NULL, &pin, ERR));
    const struct ice_snapshot *snapshot = pin->snapshot;
    size_t count = rows_of(lake, pin, &rows);
    rows[count - 1].partitions[0].lower = STR("abc");
    const struct ice_manifest_list_opts opts = { .snapshot_id = snapshot->id,
                                                 .parent_snapshot_id = snapshot->parent_id,
                                                 .sequence_number = snapshot->sequence_number };
    assert_ok(ice_manifest_list_write(&opts, rows, count, &out, ERR));
    struct str uri = snapshot->manifest_list;
    assert_ok(store_put(lake->store, str_skip(uri, str_find(uri, STR("wh/"))), buf_str(&out), NULL,
                        NULL, ERR));
    buf_done(&out);
    catalog_unpin(pin);
    catalog_close(lake->catalog); /* which has the list in its memory */
    lake->catalog = fixture_catalog(lake->store);
}

static void a_manifest_whose_bounds_are_none_is_left_out_of_merges(void **state)
{
    struct lake *lake = *state;
    for (int i = 0; i < 115; i++) {
        struct catalog_appended out;
        char batch[16];
        snprintf(batch, sizeof(batch), "b%d", i);
        assert_ok(append_spread(lake,
                                &(struct spread){ .batch = batch,
                                                  .shape = i == 0 ? shape : NULL,
                                                  .bucket = "3",
                                                  .name = "x",
                                                  .part_count = 2 },
                                &out));
        if (i == 0) {
            spoil_bound(lake);
        }
    }
    assert_int_equal(fixture_rows(lake->catalog, "t"), 115);
}

static void files_that_were_spread_otherwise_are_refused(void **state)
{
    struct lake *lake = *state;
    struct catalog_appended out;
    struct spread in = { .batch = "b1", .shape = shape, .bucket = "3", .part_count = 1 };
    assert_kind(append_spread(lake, &in, &out), E_INVALID); /* two are needed */
    in.bucket = "many";
    in.part_count = 2;
    assert_kind(append_spread(lake, &in, &out), E_INVALID);
    in.shape = "{\"partition-spec\":{\"fields\":[{\"source-id\":77}]}}";
    assert_kind(append_spread(lake, &in, &out), E_INVALID);
    in.shape = "{\"properties\":{\"format-version\":\"1\"}}";
    assert_kind(append_spread(lake, &in, &out), E_INVALID);
    in.shape = shape;
    in.bucket = "3";
    assert_ok(append_spread(lake, &in, &out));
    in.batch = "b2";
    in.spec_id = 7;
    assert_kind(append_spread(lake, &in, &out), E_CONFLICT);
    in.spec_id = 0;
    in.whole = true;
    assert_kind(append_spread(lake, &in, &out), E_UNSUPPORTED);
    assert_int_equal(fixture_rows(lake->catalog, "t"), 1);
}

int main(void)
{
#define LAKE_TEST(name) cmocka_unit_test_setup_teardown(name, lake_open, lake_close)
    const struct CMUnitTest tests[] = {
        LAKE_TEST(first_append_creates_the_table_with_its_snapshot),
        LAKE_TEST(appends_add_up_and_every_snapshot_stays_readable),
        LAKE_TEST(an_unknown_version_is_not_found_and_names_those_there_are),
        LAKE_TEST(a_new_catalogue_with_empty_caches_finds_everything),
        LAKE_TEST(the_same_batch_lands_once),
        LAKE_TEST(a_repeat_with_the_same_file_is_the_same_append),
        LAKE_TEST(a_dropped_table_is_gone_and_its_name_is_free),
        LAKE_TEST(a_name_that_differs_by_case_is_refused_and_found),
        LAKE_TEST(a_missing_table_is_not_found_and_its_neighbours_are_named),
        LAKE_TEST(evolving_adds_a_column_and_older_files_stay),
        LAKE_TEST(listing_goes_in_pages_in_byte_order),
        LAKE_TEST(namespaces_are_listed_by_name_while_they_are_live),
        LAKE_TEST(the_text_of_metadata_is_the_file),
        LAKE_TEST(a_damaged_table_is_named_and_hides_no_other),
        LAKE_TEST(many_small_manifests_are_merged),
        LAKE_TEST(a_merge_leaves_what_is_much_larger_alone),
        LAKE_TEST(a_manifest_that_cannot_be_written_again_is_left_out_of_merges),
        LAKE_TEST(a_lack_of_memory_never_loses_or_doubles_an_append),
        LAKE_TEST(parallel_appends_all_land),
        LAKE_TEST(an_append_makes_a_table_with_partitions_and_goes_into_them),
        LAKE_TEST(small_manifests_of_partitions_are_merged_with_their_bounds),
        LAKE_TEST(a_manifest_whose_bounds_are_none_is_left_out_of_merges),
        LAKE_TEST(files_that_were_spread_otherwise_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
