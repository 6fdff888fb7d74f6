/* Tables that other programs make and change, beside our own appends. */
#include "fixture.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "base/rng.h"
#include "catalog/changes.h"

#define COLUMNS                                                                                    \
    "\"schema\":{\"type\":\"struct\",\"schema-id\":0,\"fields\":["                                 \
    "{\"id\":1,\"name\":\"id\",\"required\":false,\"type\":\"long\"},"                             \
    "{\"id\":2,\"name\":\"name\",\"required\":false,\"type\":\"string\"}]}"

struct lake {
    struct store *store;
    struct catalog *catalog;
    struct arena arena;
};

static void lake_up(struct lake *lake)
{
    lake->store = fixture_mem();
    lake->catalog = fixture_catalog(lake->store);
    arena_init(&lake->arena, 0);
    (void)fixture_add(lake->catalog, "t", "first", &lake->arena); /* and namespace main */
}

static void lake_down(struct lake *lake)
{
    catalog_close(lake->catalog);
    store_close(lake->store);
    arena_done(&lake->arena);
}

/** `text` in single quotes for double ones, so that it can be read here. Lives in the arena. */
static struct str json_text(struct arena *arena, const char *text)
{
    struct str copy = arena_str(arena, str_of(text));
    char *at = arena_cstr(arena, copy);
    assert_non_null(at);
    for (size_t i = 0; i < copy.len; i++) {
        at[i] = at[i] == '\'' ? '"' : at[i];
    }
    return str_from(at, copy.len);
}

static enum status create(struct catalog *catalog, const char *name, const char *request,
                          bool stage, struct arena *arena, struct catalog_loaded *out,
                          struct err *err)
{
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    assert_ok(json_parse(json_text(arena, request), &doc, ERR));
    struct catalog_create how = { .name = fixture_name(name),
                                  .request = yyjson_doc_get_root(doc),
                                  .stage = stage };
    return catalog_create_table(catalog, &how, arena, out, err);
}

static enum status change(struct catalog *catalog, const char *name, const char *requirements,
                          const char *updates, struct arena *arena, struct catalog_loaded *out,
                          struct err *err)
{
    AUTO(json_doc_done) yyjson_doc *require = NULL;
    AUTO(json_doc_done) yyjson_doc *update = NULL;
    assert_ok(json_parse(json_text(arena, requirements), &require, ERR));
    assert_ok(json_parse(json_text(arena, updates), &update, ERR));
    struct catalog_change how = { .name = fixture_name(name),
                                  .requirements = yyjson_doc_get_root(require),
                                  .updates = yyjson_doc_get_root(update) };
    return catalog_change_table(catalog, &how, 0, arena, out, err);
}

/** A change that must succeed; the metadata that it answers, in the lake's arena. */
static struct str changed(struct lake *lake, const char *name, const char *requirements,
                          const char *updates)
{
    struct catalog_loaded loaded;
    assert_ok(change(lake->catalog, name, requirements, updates, &lake->arena, &loaded, ERR));
    struct str text = arena_str(&lake->arena, buf_str(&loaded.metadata));
    assert_true(loaded.metadata_location.len > 0 && loaded.location.len > 0);
    buf_done(&loaded.metadata);
    return text;
}

/** The metadata as a fresh catalogue finds it; in the arena. */
static struct str metadata_of(struct store *store, const char *table, struct arena *arena)
{
    struct catalog *fresh = fixture_catalog(store);
    struct table_summary found;
    struct table_name name = fixture_name(table);
    struct buf text;
    buf_init(&text, 0);
    assert_ok(catalog_find(fresh, &name, false, arena, &found, ERR));
    assert_ok(catalog_metadata_text(fresh, found.metadata_location, &text, ERR));
    struct str copy = arena_str(arena, buf_str(&text));
    buf_done(&text);
    catalog_close(fresh);
    return copy;
}

static bool holds(struct str text, const char *what, struct arena *arena)
{
    return str_find(text, json_text(arena, what)) != SIZE_MAX;
}

/* --- create --- */

static void a_created_table_takes_appends_and_is_read(void **state)
{
    struct lake lake;
    struct catalog_loaded loaded;
    struct catalog_appended appended;
    lake_up(&lake);
    assert_ok(create(lake.catalog, "made", "{" COLUMNS ",'properties':{'owner':'me'}}", false,
                     &lake.arena, &loaded, ERR));
    assert_true(holds(buf_str(&loaded.metadata), "'commit.retry.num-retries':'20'", &lake.arena));
    assert_true(holds(buf_str(&loaded.metadata), "'owner':'me'", &lake.arena));
    struct str stored = metadata_of(lake.store, "made", &lake.arena);
    assert_true(str_eq(stored, buf_str(&loaded.metadata)));
    buf_done(&loaded.metadata);
    assert_int_equal(fixture_objects(lake.store, "_lake/minted/"), 0); /* its claim is gone */
    struct fixture_append in = { .table = "made", .batch = "b", .rows = 7, .no_create = true };
    assert_ok(fixture_append(lake.catalog, &in, &lake.arena, &appended, ERR));
    assert_int_equal(fixture_rows(lake.catalog, "made"), 7);
    stored = metadata_of(lake.store, "made", &lake.arena);
    assert_true(holds(stored, "'owner':'me'", &lake.arena)); /* our own commits carry it */
    assert_kind(create(lake.catalog, "made", "{" COLUMNS "}", false, &lake.arena, &loaded, ERR),
                E_EXISTS);
    assert_kind(create(lake.catalog, "MADE", "{" COLUMNS "}", false, &lake.arena, &loaded, ERR),
                E_EXISTS);
    assert_kind(create(lake.catalog, "nope.t", "{" COLUMNS "}", false, &lake.arena, &loaded, ERR),
                E_NOT_FOUND);
    lake_down(&lake);
    (void)state;
}

static void a_refused_request_leaves_no_table(void **state)
{
    struct lake lake;
    struct catalog_loaded loaded;
    lake_up(&lake);
    assert_kind(create(lake.catalog, "made", "{'schema':{'type':'struct','fields':[{'id':1}]}}",
                       false, &lake.arena, &loaded, ERR),
                E_INVALID);
    struct table_name name = fixture_name("made");
    struct table_summary table;
    assert_kind(catalog_find(lake.catalog, &name, false, &lake.arena, &table, ERR), E_NOT_FOUND);
    lake_down(&lake);
    (void)state;
}

/** A commit with assert-create that makes what was staged; format with the uuid and location. */
static const char *finish_of(struct arena *arena, struct str uuid, struct str location)
{
    struct str text = arena_printf(
        arena,
        "[{'action':'assign-uuid','uuid':'%.*s'},"
        "{'action':'upgrade-format-version','format-version':2},"
        "{'action':'add-schema','schema':{'type':'struct','schema-id':0,'fields':["
        "{'id':1,'name':'id','required':false,'type':'long'},"
        "{'id':2,'name':'name','required':false,'type':'string'}]},'last-column-id':2},"
        "{'action':'set-current-schema','schema-id':-1},"
        "{'action':'add-spec','spec':{'spec-id':0,'fields':[]}},"
        "{'action':'set-default-spec','spec-id':-1},"
        "{'action':'add-sort-order','sort-order':{'order-id':0,'fields':[]}},"
        "{'action':'set-default-sort-order','sort-order-id':-1},"
        "{'action':'set-location','location':'%.*s'},"
        "{'action':'set-properties','updates':{'made-by':'two steps'}}]",
        STR_ARG(uuid), STR_ARG(location));
    return arena_cstr(arena, text);
}

#define ASSERT_CREATE "[{'type':'assert-create'}]"

static struct str uuid_in(struct str metadata)
{
    size_t at = str_find(metadata, STR("\"table-uuid\":\""));
    assert_true(at != SIZE_MAX);
    return str_take(str_skip(metadata, at + strlen("\"table-uuid\":\"")), UUID_TEXT);
}

static void a_staged_table_is_written_by_its_commit_only(void **state)
{
    struct lake lake;
    struct catalog_loaded loaded;
    lake_up(&lake);
    size_t before = fixture_objects(lake.store, "");
    assert_ok(create(lake.catalog, "staged", "{" COLUMNS "}", true, &lake.arena, &loaded, ERR));
    assert_int_equal(fixture_objects(lake.store, ""), before);
    assert_int_equal(loaded.metadata_location.len, 0);
    struct str uuid = arena_str(&lake.arena, uuid_in(buf_str(&loaded.metadata)));
    buf_done(&loaded.metadata);
    const char *finish = finish_of(&lake.arena, uuid, loaded.location);
    struct str first = changed(&lake, "staged", ASSERT_CREATE, finish);
    assert_true(holds(first, "'made-by':'two steps'", &lake.arena));
    /* the answer was lost and the client asks again: that is no conflict, and changes nothing */
    before = fixture_objects(lake.store, "");
    assert_true(str_eq(changed(&lake, "staged", ASSERT_CREATE, finish), first));
    assert_int_equal(fixture_objects(lake.store, ""), before);
    /* another client's table of that name is there already */
    const char *other = finish_of(&lake.arena, STR("7a7e2f4c-54a8-4a47-9d52-0dfb1f5b2f4d"),
                                  loaded.location);
    assert_kind(change(lake.catalog, "staged", ASSERT_CREATE, other, &lake.arena, &loaded, ERR),
                E_EXISTS);
    lake_down(&lake);
    (void)state;
}

static void only_a_folder_of_ones_own_is_taken(void **state)
{
    static const struct {
        const char *location;
        enum status kind;
    } cases[] = {
        { "mem:/wh/main/main/mine", OK },
        { "mem:/wh/main/main/mine/inside", E_INVALID }, /* of the one above */
        { "mem:/wh/main/main", E_INVALID },             /* the namespace's */
        { "mem:/wh/main", E_INVALID },
        { "mem:/elsewhere/main/main/mine", E_INVALID },
        { "mem:/wh/other/main/mine", E_INVALID },
        { "mem:/_lake/cat/main/mine", E_INVALID },
        { "file:///etc/wh/main/main/mine", E_INVALID },
        { "mem:/wh/main/main/a#b", E_INVALID },
        { "mem:/wh/main/main/a?b", E_INVALID },
        { "mem:/wh/main/main/a%20b", E_INVALID },
        { "mem:/wh/main/main/a\\u0001b", E_INVALID },
        { "mem:/wh/main/main/../../other/x", E_INVALID },
    };
    struct lake lake;
    lake_up(&lake);
    struct str root = store_root_uri(lake.store);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct catalog_loaded loaded;
        char name[16], request[1024];
        const char *at = cases[i].location;
        struct str prefix = STR_EMPTY;
        if (strncmp(at, "mem:/", 5) == 0) {
            prefix = root;
            at += 4;
        }
        snprintf(name, sizeof name, "made%zu", i);
        snprintf(request, sizeof request, "{" COLUMNS ",'location':'%.*s%s'}", STR_ARG(prefix), at);
        for (int stage = 1; stage >= 0; stage--) {
            enum status status = create(lake.catalog, name, request, stage == 1, &lake.arena,
                                        &loaded, ERR);
            if (status != cases[i].kind) {
                fail_msg("%s: %s: %s", cases[i].location, status_name(status), ERR->msg);
            }
            if (status == OK) {
                buf_done(&loaded.metadata);
            }
        }
        /* the same by a commit */
        struct str location = arena_printf(&lake.arena, "%.*s%s", STR_ARG(prefix), at);
        const char *finish = finish_of(&lake.arena, STR("7a7e2f4c-54a8-4a47-9d52-0dfb1f5b2f4d"),
                                       location);
        assert_kind(
            change(lake.catalog, "committed", ASSERT_CREATE, finish, &lake.arena, &loaded, ERR),
            E_INVALID); /* the first one because it is taken */
    }
    lake_down(&lake);
    (void)state;
}

/* --- change --- */

static struct str uuid_of(struct lake *lake, const char *table)
{
    return uuid_in(metadata_of(lake->store, table, &lake->arena));
}

static const char *require_uuid(struct lake *lake, struct str uuid)
{
    return arena_cstr(
        &lake->arena,
        arena_printf(&lake->arena, "[{'type':'assert-table-uuid','uuid':'%.*s'}]", STR_ARG(uuid)));
}

static void a_change_keeps_rows_batches_and_what_we_do_not_know(void **state)
{
    struct lake lake;
    struct catalog_appended again;
    lake_up(&lake);
    fixture_edit(lake.store, "t", "\"properties\":{",
                 "\"from-another\":{\"x\":[1]},\"properties\":{");
    const char *require = require_uuid(&lake, uuid_of(&lake, "t"));
    struct str text = changed(&lake, "t", require,
                              "[{'action':'set-properties','updates':{'owner':'me'}}]");
    assert_true(holds(text, "'owner':'me'", &lake.arena));
    assert_true(holds(text, "'from-another':{'x':[1]}", &lake.arena));
    assert_int_equal(fixture_rows(lake.catalog, "t"), 1);
    again = fixture_add(lake.catalog, "t", "first", &lake.arena);
    assert_true(again.deduplicated); /* the batch is still known */
    (void)fixture_add(lake.catalog, "t", "second", &lake.arena);
    assert_int_equal(fixture_rows(lake.catalog, "t"), 2);
    text = metadata_of(lake.store, "t", &lake.arena);
    assert_true(holds(text, "'owner':'me'", &lake.arena));
    assert_true(holds(text, "'from-another':{'x':[1]}", &lake.arena));
    struct table_name name = fixture_name("t");
    struct table_summary table;
    assert_ok(catalog_find(lake.catalog, &name, false, &lake.arena, &table, ERR));
    assert_int_equal(table.row_count, 2);
    lake_down(&lake);
    (void)state;
}

static void a_change_that_does_not_hold_changes_nothing(void **state)
{
    struct lake lake;
    struct catalog_loaded loaded;
    const char *set = "[{'action':'set-properties','updates':{'owner':'me'}}]";
    lake_up(&lake);
    struct str before = metadata_of(lake.store, "t", &lake.arena);
    size_t objects = fixture_objects(lake.store, "");
    const char *other = require_uuid(&lake, STR("7a7e2f4c-54a8-4a47-9d52-0dfb1f5b2f4d"));
    assert_kind(change(lake.catalog, "t", other, set, &lake.arena, &loaded, ERR), E_CONFLICT);
    assert_kind(change(lake.catalog, "t",
                       "[{'type':'assert-ref-snapshot-id','ref':'main','snapshot-id':null}]", set,
                       &lake.arena, &loaded, ERR),
                E_CONFLICT);
    assert_kind(change(lake.catalog, "t", "[]", "[{'action':'fly'}]", &lake.arena, &loaded, ERR),
                E_INVALID);
    assert_kind(change(lake.catalog, "nope", "[]", set, &lake.arena, &loaded, ERR), E_NOT_FOUND);
    assert_true(str_eq(metadata_of(lake.store, "t", &lake.arena), before));
    assert_int_equal(fixture_objects(lake.store, ""), objects);
    /* a table that was dropped is not found; one that was made again is another */
    const char *old = require_uuid(&lake, uuid_in(before));
    struct table_name name = fixture_name("t");
    assert_ok(catalog_drop(lake.catalog, &name, ERR));
    assert_kind(change(lake.catalog, "t", old, set, &lake.arena, &loaded, ERR), E_NOT_FOUND);
    (void)fixture_add(lake.catalog, "t", "second", &lake.arena);
    assert_kind(change(lake.catalog, "t", old, set, &lake.arena, &loaded, ERR), E_CONFLICT);
    lake_down(&lake);
    (void)state;
}

/** The updates of an append of `rows` as another program sends it: its snapshot stands on `parent`,
 * and names a manifest list that nobody reads here. */
static const char *snapshot_updates(struct lake *lake, int64_t id, int64_t parent, int64_t seq,
                                    const char *list, int64_t rows)
{
    struct str text = arena_printf(
        &lake->arena,
        "[{'action':'add-snapshot','snapshot':{'snapshot-id':%lld,'parent-snapshot-id':%lld,"
        "'sequence-number':%lld,'timestamp-ms':%lld,'manifest-list':'%s',"
        "'summary':{'operation':'append','total-records':'%lld','total-data-files':'3',"
        "'total-files-size':'99'},'schema-id':0}},"
        "{'action':'set-snapshot-ref','ref-name':'main','type':'branch','snapshot-id':%lld}]",
        (long long)id, (long long)parent, (long long)seq, (long long)clock_wall_ms(clock_real()),
        list, (long long)rows, (long long)id);
    return arena_cstr(&lake->arena, text);
}

static const char *require_main(struct lake *lake, int64_t id)
{
    return arena_cstr(&lake->arena, arena_printf(&lake->arena,
                                                 "[{'type':'assert-ref-snapshot-id','ref':'main',"
                                                 "'snapshot-id':%lld}]",
                                                 (long long)id));
}

static const char *list_of(struct lake *lake, const char *name)
{
    struct table_name table = fixture_name("t");
    struct table_summary found;
    assert_ok(catalog_find(lake->catalog, &table, false, &lake->arena, &found, ERR));
    struct str folder = str_take(found.metadata_location,
                                 str_rfind_char(found.metadata_location, '/'));
    return arena_cstr(&lake->arena, arena_printf(&lake->arena, "%.*s/%s", STR_ARG(folder), name));
}

static void a_snapshot_lands_once_however_often_it_is_sent(void **state)
{
    struct lake lake;
    struct catalog_loaded loaded;
    struct table_summary table;
    struct table_name name = fixture_name("t");
    lake_up(&lake);
    assert_ok(catalog_find(lake.catalog, &name, false, &lake.arena, &table, ERR));
    int64_t base = table.snapshot_id;
    const char *require = require_main(&lake, base);
    const char *updates = snapshot_updates(&lake, 77, base, 2, list_of(&lake, "snap-77.avro"), 42);
    struct str landed = changed(&lake, "t", require, updates);
    assert_ok(catalog_find(lake.catalog, &name, false, &lake.arena, &table, ERR));
    assert_int_equal(table.snapshot_id, 77);
    assert_int_equal(table.row_count, 42);
    assert_int_equal(table.file_count, 3);
    assert_int_equal(table.size_bytes, 99);
    assert_true(str_eq(changed(&lake, "t", require, updates), landed));
    /* also when the table has gone on since */
    (void)changed(&lake, "t", "[]", "[{'action':'set-properties','updates':{'a':'b'}}]");
    struct str now = changed(&lake, "t", require, updates);
    assert_true(holds(now, "'a':'b'", &lake.arena));
    /* another snapshot on the same base has lost */
    const char *late = snapshot_updates(&lake, 78, base, 2, list_of(&lake, "snap-78.avro"), 42);
    assert_kind(change(lake.catalog, "t", require, late, &lake.arena, &loaded, ERR), E_CONFLICT);
    /* a manifest list outside of the warehouse is nobody's to read */
    require = require_main(&lake, 77);
    late = snapshot_updates(&lake, 79, 77, 3, "file:///etc/snap-79.avro", 42);
    assert_kind(change(lake.catalog, "t", require, late, &lake.arena, &loaded, ERR), E_INVALID);
    lake_down(&lake);
    (void)state;
}

/** Its snapshot has expired, so that only its batch tells that it has landed. */
static void a_repeat_is_known_by_its_batch_too(void **state)
{
    struct lake lake;
    struct catalog_loaded loaded = { 0 };
    struct table_summary table;
    struct table_name name = fixture_name("t");
    lake_up(&lake);
    assert_ok(catalog_find(lake.catalog, &name, false, &lake.arena, &table, ERR));
    const char *list = list_of(&lake, "snap-77.avro");
    for (int64_t id = 77; id < 79; id++) {
        AUTO(json_doc_done) yyjson_doc *updates = NULL;
        const char *text = snapshot_updates(&lake, id, table.snapshot_id, 2, list, 42);
        assert_ok(json_parse(json_text(&lake.arena, text), &updates, ERR));
        const struct catalog_change_batch batch = { .id = STR("b"), .row_count = 41 };
        const struct catalog_change how = { .name = name,
                                            .updates = yyjson_doc_get_root(updates),
                                            .batch = &batch };
        if (id == 77) {
            assert_ok(catalog_change_table(lake.catalog, &how, 0, &lake.arena, &loaded, ERR));
            buf_done(&loaded.metadata);
            (void)changed(&lake, "t", "[]",
                          snapshot_updates(&lake, 80, 77, 3, list_of(&lake, "snap-80.avro"), 43));
            (void)changed(&lake, "t", "[]", "[{'action':'remove-snapshots','snapshot-ids':[77]}]");
            assert_ok(catalog_change_table(lake.catalog, &how, 0, &lake.arena, &loaded, ERR));
            assert_false(holds(buf_str(&loaded.metadata), "'snapshot-id':77", &lake.arena));
            buf_done(&loaded.metadata);
        } else { /* the same batch with another snapshot has not landed */
            assert_kind(catalog_change_table(lake.catalog, &how, 0, &lake.arena, &loaded, ERR),
                        E_EXISTS);
        }
    }
    assert_ok(catalog_find(lake.catalog, &name, false, &lake.arena, &table, ERR));
    assert_int_equal(table.snapshot_id, 80);
    lake_down(&lake);
    (void)state;
}

/* --- faults --- */

static struct {
    long countdown;
    enum status with;
    bool happened;
    char where[256];
} fault = { .countdown = -1 };

static enum status fault_at(void *ctx, const char *op, struct str key, struct err *err)
{
    if (strcmp(op, "answer") == 0 && fault.with != E_UPSTREAM) {
        return OK; /* only a lost answer may be of a write that happened */
    }
    if (fault.countdown < 0 || fault.countdown-- > 0) {
        return OK;
    }
    fault.happened = true;
    snprintf(fault.where, sizeof fault.where, "%s of %.*s", op,
             (int)(key.len < 200 ? key.len : 200), key.ptr);
    (void)ctx;
    return err_set(err, fault.with, "made to fail at %s", op);
}

enum deed { CREATE, SET, DEEDS };

static void faulty_up(struct lake *lake)
{
    const struct store_mem_opts opts = { .hook = { .at = fault_at } };
    assert_ok(store_mem_open(&opts, &lake->store, ERR));
    lake->catalog = fixture_catalog(lake->store);
    arena_init(&lake->arena, 0);
    (void)fixture_add(lake->catalog, "t", "first", &lake->arena);
}

static enum status do_deed(struct lake *lake, enum deed deed, struct err *err)
{
    struct catalog_loaded loaded;
    enum status status = deed == CREATE
                             ? create(lake->catalog, "made", "{" COLUMNS "}", false, &lake->arena,
                                      &loaded, err)
                             : change(lake->catalog, "t", "[]",
                                      "[{'action':'set-properties','updates':{'owner':'me'}}]",
                                      &lake->arena, &loaded, err);
    if (status == OK) {
        buf_done(&loaded.metadata);
    }
    return status;
}

/** What was said is true, and what is there can be gone on with. */
static void expect_true(struct lake *lake, enum deed deed, enum status said, const struct err *err)
{
    struct table_name name = fixture_name(deed == CREATE ? "made" : "t");
    struct table_summary table;
    bool unknown = strncmp(err->msg, "the outcome is unknown", 22) == 0;
    struct catalog *fresh = fixture_catalog(lake->store);
    enum status there = catalog_find(fresh, &name, false, &lake->arena, &table, ERR);
    bool done = there == OK && (deed == CREATE || holds(metadata_of(lake->store, "t", &lake->arena),
                                                        "'owner':'me'", &lake->arena));
    if (said == OK ? !done : (done && !unknown)) {
        fail_msg("deed %d, %s: %s: %s", (int)deed, fault.where, status_name(said), err->msg);
    }
    struct lake again = { .store = lake->store, .catalog = fresh };
    struct err why = { 0 };
    arena_init(&again.arena, 0);
    enum status status = do_deed(&again, deed, &why);
    assert_true(status == (deed == CREATE && done ? E_EXISTS : OK));
    (void)fixture_add(fresh, deed == CREATE ? "made" : "t", "more", &again.arena);
    assert_int_equal(fixture_rows(fresh, deed == CREATE ? "made" : "t"), deed == CREATE ? 1 : 2);
    arena_done(&again.arena);
    catalog_close(fresh);
}

static void every_failed_write_and_lost_answer_is_told_truly(void **state)
{
    static const enum status kinds[] = { E_DISK_FULL, E_UNAVAILABLE, E_UPSTREAM };
    for (size_t kind = 0; kind < ARRAY_LEN(kinds); kind++) {
        for (enum deed deed = CREATE; deed < DEEDS; deed++) {
            for (long n = 0;; n++) {
                struct lake lake;
                struct err err = { 0 };
                faulty_up(&lake);
                fault.with = kinds[kind];
                fault.happened = false;
                fault.countdown = n;
                enum status status = do_deed(&lake, deed, &err);
                fault.countdown = -1;
                expect_true(&lake, deed, status, &err);
                lake_down(&lake);
                if (!fault.happened) {
                    assert_true(n >= 2 && status == OK);
                    break;
                }
            }
        }
    }
    (void)state;
}

static void every_failed_allocation_is_told_truly(void **state)
{
    static const char *const texts[DEEDS] = {
        "{" COLUMNS "}", "[{'action':'set-properties','updates':{'owner':'me'}}]"
    };
    for (enum deed deed = CREATE; deed < DEEDS; deed++) {
        for (long n = 0;; n++) {
            struct lake lake;
            struct err err = { 0 };
            struct catalog_loaded loaded;
            AUTO(json_doc_done) yyjson_doc *doc = NULL;
            lake_up(&lake);
            assert_ok(json_parse(json_text(&lake.arena, texts[deed]), &doc, ERR));
            yyjson_val *root = yyjson_doc_get_root(doc);
            struct catalog_create make = { .name = fixture_name("made"), .request = root };
            struct catalog_change how = { .name = fixture_name("t"), .updates = root };
            snprintf(fault.where, sizeof fault.where, "allocation %ld", n);
            mem_fail_nth(n);
            enum status status = deed == CREATE ? catalog_create_table(lake.catalog, &make,
                                                                       &lake.arena, &loaded, &err)
                                                : catalog_change_table(lake.catalog, &how, 0,
                                                                       &lake.arena, &loaded, &err);
            bool happened = mem_fail_happened();
            mem_fail_nth(-1);
            if (status == OK) {
                buf_done(&loaded.metadata);
            }
            expect_true(&lake, deed, status, &err);
            lake_down(&lake);
            if (!happened) {
                assert_true(n > 10 && status == OK);
                break;
            }
        }
    }
    (void)state;
}

/* --- beside each other --- */

enum { ROUNDS = 12, THREADS = 6 };

struct worker {
    struct catalog *catalog;
    int number;
    int failed;
};

static void *work(void *arg)
{
    struct worker *worker = arg;
    struct arena arena;
    arena_init(&arena, 0);
    for (int i = 0; i < ROUNDS; i++) {
        struct err err = { 0 };
        char text[128];
        enum status status;
        if (worker->number % 2 == 0) {
            struct catalog_loaded loaded;
            snprintf(text, sizeof text, "[{'action':'set-properties','updates':{'p%d-%d':'x'}}]",
                     worker->number, i);
            status = change(worker->catalog, "t", "[]", text, &arena, &loaded, &err);
            if (status == OK) {
                buf_done(&loaded.metadata);
            }
        } else {
            struct catalog_appended out;
            snprintf(text, sizeof text, "b%d-%d", worker->number, i);
            status = fixture_append(worker->catalog,
                                    &(struct fixture_append){ .table = "t", .batch = text }, &arena,
                                    &out, &err);
        }
        worker->failed += status == OK ? 0 : 1;
    }
    arena_done(&arena);
    return NULL;
}

/** Threads of two catalogues on one store, as two processes are. */
static void changes_and_appends_at_once_lose_nothing(void **state)
{
    struct lake lake;
    pthread_t threads[THREADS];
    struct worker workers[THREADS];
    lake_up(&lake);
    struct catalog *second = fixture_catalog(lake.store);
    for (int i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){ .catalog = i < THREADS / 2 ? lake.catalog : second,
                                      .number = i };
        assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(workers[i].failed, 0);
    }
    assert_int_equal(fixture_rows(lake.catalog, "t"), 1 + ROUNDS * THREADS / 2);
    struct str text = metadata_of(lake.store, "t", &lake.arena);
    for (int i = 0; i < ROUNDS * THREADS; i += 2) {
        char what[32];
        snprintf(what, sizeof what, "'p%d-%d':'x'", i % THREADS, i / THREADS);
        assert_true(holds(text, what, &lake.arena));
    }
    catalog_close(second);
    lake_down(&lake);
    (void)state;
}

/* The first metadata file that is written waits until the gate is opened. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool armed, entered, open;
} gate = { .lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER };

static enum status gate_at(void *ctx, const char *op, struct str key, struct err *err)
{
    pthread_mutex_lock(&gate.lock);
    if (gate.armed && str_ends(key, STR(".metadata.json"))) {
        gate.armed = false;
        gate.entered = true;
        pthread_cond_broadcast(&gate.wake);
        while (!gate.open) {
            pthread_cond_wait(&gate.wake, &gate.lock);
        }
    }
    pthread_mutex_unlock(&gate.lock);
    (void)ctx;
    (void)op;
    (void)err;
    return OK;
}

struct sharer {
    struct catalog *catalog;
    const char *requirements, *updates;
    enum status status;
    bool sees_first, sees_own; /* in the metadata that it was answered */
};

static void *share(void *arg)
{
    struct sharer *sharer = arg;
    struct arena arena;
    struct catalog_loaded loaded;
    struct err err = { 0 };
    arena_init(&arena, 0);
    sharer->status = change(sharer->catalog, "t", sharer->requirements, sharer->updates, &arena,
                            &loaded, &err);
    if (sharer->status == OK) {
        sharer->sees_first = holds(buf_str(&loaded.metadata), "'first':'x'", &arena);
        sharer->sees_own = holds(buf_str(&loaded.metadata), "'own':'", &arena);
        buf_done(&loaded.metadata);
    }
    arena_done(&arena);
    return NULL;
}

static int64_t version_of(struct catalog *catalog, struct arena *arena)
{
    struct table_name name = fixture_name("t");
    struct table_summary table;
    assert_ok(catalog_find(catalog, &name, false, arena, &table, ERR));
    return table.version;
}

static void changes_that_wait_together_share_a_swap_and_fail_alone(void **state)
{
    enum { SHARERS = 6 };
    static const struct {
        const char *requirements, *updates;
        enum status kind;
    } cases[SHARERS] = {
        { "[]", "[{'action':'set-properties','updates':{'first':'x'}}]", OK },
        { "[]", "[{'action':'set-properties','updates':{'own':'1'}}]", OK },
        { "[]", "[{'action':'fly'}]", E_INVALID },
        { "[{'type':'assert-ref-snapshot-id','ref':'main','snapshot-id':1}]",
          "[{'action':'set-properties','updates':{'never':'x'}}]", E_CONFLICT },
        { "[]", "[{'action':'set-properties','updates':{'own':'1'}}]", OK },
        { "[]", "[{'action':'set-properties','updates':{'own':'1'}}]", OK },
    };
    const struct store_mem_opts opts = { .hook = { .at = gate_at } };
    struct lake lake;
    pthread_t threads[SHARERS];
    struct sharer sharers[SHARERS];
    assert_ok(store_mem_open(&opts, &lake.store, ERR));
    lake.catalog = fixture_catalog(lake.store);
    arena_init(&lake.arena, 0);
    (void)fixture_add(lake.catalog, "t", "first", &lake.arena);
    int64_t before = version_of(lake.catalog, &lake.arena);
    gate.armed = true;
    for (int i = 0; i < SHARERS; i++) {
        sharers[i] = (struct sharer){ .catalog = lake.catalog,
                                      .requirements = cases[i].requirements,
                                      .updates = cases[i].updates };
        assert_int_equal(pthread_create(&threads[i], NULL, share, &sharers[i]), 0);
        pthread_mutex_lock(&gate.lock);
        while (!gate.entered) { /* the others queue behind the first */
            pthread_cond_wait(&gate.wake, &gate.lock);
        }
        pthread_mutex_unlock(&gate.lock);
    }
    nanosleep(&(struct timespec){ .tv_nsec = 200 * 1000000 }, NULL); /* until they stand there */
    pthread_mutex_lock(&gate.lock);
    gate.open = true;
    pthread_cond_broadcast(&gate.wake);
    pthread_mutex_unlock(&gate.lock);
    for (int i = 0; i < SHARERS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(sharers[i].status, cases[i].kind);
        assert_true(cases[i].kind != OK || sharers[i].sees_first);
        assert_true(cases[i].kind != OK || i == 0 || sharers[i].sees_own);
    }
    /* alone they would be four; a slow thread may miss the one that is shared */
    assert_in_range(version_of(lake.catalog, &lake.arena) - before, 2, 3);
    struct str text = metadata_of(lake.store, "t", &lake.arena);
    assert_true(holds(text, "'own':'1'", &lake.arena));
    assert_false(holds(text, "'never'", &lake.arena));
    lake_down(&lake);
    (void)state;
}

static void *append_one(void *arg)
{
    struct worker *worker = arg;
    struct arena arena;
    arena_init(&arena, 0);
    (void)fixture_add(worker->catalog, "t", "later", &arena);
    arena_done(&arena);
    return NULL;
}

/** A client that was told to read again works for a while; the table waits for it. */
static void an_append_lets_a_client_go_first_that_was_refused(void **state)
{
    struct lake lake;
    pthread_t thread;
    struct catalog_loaded loaded;
    struct table_summary table;
    struct table_name name = fixture_name("t");
    lake_up(&lake);
    assert_kind(change(lake.catalog, "t", require_main(&lake, 1), "[]", &lake.arena, &loaded, ERR),
                E_CONFLICT);
    assert_ok(catalog_find(lake.catalog, &name, false, &lake.arena, &table, ERR));
    struct worker worker = { .catalog = lake.catalog };
    assert_int_equal(pthread_create(&thread, NULL, append_one, &worker), 0);
    nanosleep(&(struct timespec){ .tv_nsec = 50 * 1000000 }, NULL); /* what the client works */
    /* holds only while the append has not landed */
    (void)changed(&lake, "t", require_main(&lake, table.snapshot_id),
                  "[{'action':'set-properties','updates':{'a':'b'}}]");
    pthread_join(thread, NULL);
    assert_int_equal(fixture_rows(lake.catalog, "t"), 2);
    lake_down(&lake);
    (void)state;
}

static const char *bare_snapshot(struct lake *lake, int64_t id)
{
    struct str text = arena_printf(
        &lake->arena,
        "{'action':'add-snapshot','snapshot':{'snapshot-id':%lld,'sequence-number':9,"
        "'timestamp-ms':%lld,'manifest-list':'%s','summary':{'operation':'append'},'schema-id':0}}",
        (long long)id, (long long)clock_wall_ms(clock_real()),
        list_of(lake, id == 77 ? "snap-77.avro" : "snap-78.avro"));
    return arena_cstr(&lake->arena, text);
}

static void a_part_of_a_change_that_is_there_is_no_failure(void **state)
{
    struct lake lake;
    struct catalog_loaded loaded;
    struct err err = { 0 };
    lake_up(&lake);
    const char *first = bare_snapshot(&lake, 77), *second = bare_snapshot(&lake, 78);
    const char *one = arena_cstr(&lake.arena, arena_printf(&lake.arena, "[%s]", first));
    const char *both = arena_cstr(&lake.arena, arena_printf(&lake.arena, "[%s,%s]", first, second));
    (void)changed(&lake, "t", "[]", one);
    assert_kind(change(lake.catalog, "t", require_main(&lake, 1), both, &lake.arena, &loaded, &err),
                E_UNAVAILABLE);
    assert_non_null(strstr(err.msg, "the outcome is unknown"));
    lake_down(&lake);
    (void)state;
}

static void a_table_at_the_end_of_its_sequence_numbers_takes_no_appends(void **state)
{
    struct lake lake;
    struct catalog_appended appended;
    struct fixture_append more = { .table = "t", .batch = "more" };
    lake_up(&lake);
    fixture_edit(lake.store, "t", "\"last-sequence-number\":1",
                 "\"last-sequence-number\":9223372036854775807");
    assert_kind(fixture_append(lake.catalog, &more, &lake.arena, &appended, ERR), E_INVALID);
    assert_int_equal(fixture_rows(lake.catalog, "t"), 1);
    lake_down(&lake);
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_created_table_takes_appends_and_is_read),
        cmocka_unit_test(a_refused_request_leaves_no_table),
        cmocka_unit_test(a_staged_table_is_written_by_its_commit_only),
        cmocka_unit_test(only_a_folder_of_ones_own_is_taken),
        cmocka_unit_test(a_change_keeps_rows_batches_and_what_we_do_not_know),
        cmocka_unit_test(a_change_that_does_not_hold_changes_nothing),
        cmocka_unit_test(a_repeat_is_known_by_its_batch_too),
        cmocka_unit_test(a_snapshot_lands_once_however_often_it_is_sent),
        cmocka_unit_test(a_table_at_the_end_of_its_sequence_numbers_takes_no_appends),
        cmocka_unit_test(a_part_of_a_change_that_is_there_is_no_failure),
        cmocka_unit_test(every_failed_write_and_lost_answer_is_told_truly),
        cmocka_unit_test(every_failed_allocation_is_told_truly),
        cmocka_unit_test(changes_and_appends_at_once_lose_nothing),
        cmocka_unit_test(an_append_lets_a_client_go_first_that_was_refused),
        cmocka_unit_test(changes_that_wait_together_share_a_swap_and_fail_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
