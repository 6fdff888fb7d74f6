/* Views beside tables: one name space, the same swap, and what faults leave. */
#include "fixture.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "catalog/changes.h"
#include "catalog/namespace.h"

#define VERSION(sql, at)                                                                           \
    "{'version-id':1,'timestamp-ms':" at ",'schema-id':0,'summary':{'engine':'x'},"                \
    "'default-namespace':['main'],'representations':[{'type':'sql','sql':'" sql                    \
    "','dialect':'duckdb'}]}"
#define SCHEMA                                                                                     \
    "'schema':{'type':'struct','schema-id':0,'fields':["                                           \
    "{'id':1,'name':'a','required':false,'type':'int'}]}"
#define REQUEST(sql) "{" SCHEMA ",'view-version':" VERSION(sql, "1000") ",'properties':{}}"
#define REPLACE(sql, at)                                                                           \
    "[{'action':'add-view-version','view-version':" VERSION(                                       \
        sql, at) "},{'action':'set-current-view-version','view-version-id':-1}]"
#define TABLE_REQUEST "{" SCHEMA "}"

struct lake {
    struct store *store;
    struct catalog *catalog;
    struct arena arena;
};

static struct {
    long countdown;
    enum status with;
    bool happened;
    char where[256];
} fault = { .countdown = -1 };

static enum status fault_at(void *ctx, const char *op, struct str key, struct err *err)
{
    (void)ctx;
    if (strcmp(op, "answer") == 0 && fault.with != E_UPSTREAM) {
        return OK; /* only a lost answer may be of a write that happened */
    }
    if (fault.countdown < 0 || fault.countdown-- > 0) {
        return OK;
    }
    fault.happened = true;
    snprintf(fault.where, sizeof fault.where, "%s of %.*s", op,
             (int)(key.len < 200 ? key.len : 200), key.ptr);
    return err_set(err, fault.with, "made to fail at %s", op);
}

static void lake_up(struct lake *lake)
{
    fault.countdown = -1;
    fault.happened = false;
    assert_ok(
        store_mem_open(&(struct store_mem_opts){ .hook = { .at = fault_at } }, &lake->store, ERR));
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

static int lake_open(void **state)
{
    struct lake *lake = test_calloc(1, sizeof(*lake));
    lake_up(lake);
    *state = lake;
    return 0;
}

static int lake_close(void **state)
{
    lake_down(*state);
    test_free(*state);
    return 0;
}

/** Single quotes for double ones. */
static yyjson_doc *parse(const char *text)
{
    char copy[4096];
    yyjson_doc *doc = NULL;
    assert_true(snprintf(copy, sizeof copy, "%s", text) < (int)sizeof copy);
    for (char *at = copy; *at != '\0'; at++) {
        *at = (char)(*at == '\'' ? '"' : *at);
    }
    assert_ok(json_parse(str_of(copy), &doc, ERR));
    return doc;
}

static enum status create_as(struct lake *lake, enum catalog_kind kind, const char *name,
                             const char *request, struct err *err)
{
    AUTO(json_doc_done) yyjson_doc *doc = parse(request);
    struct catalog_loaded loaded;
    struct catalog_create how = { .name = fixture_name(name), .request = yyjson_doc_get_root(doc) };
    enum status status = (kind == CATALOG_VIEW ? catalog_create_view : catalog_create_table)(
        lake->catalog, &how, &lake->arena, &loaded, err);
    if (status == OK) {
        assert_true(loaded.metadata_location.len > 0 && loaded.location.len > 0);
        buf_done(&loaded.metadata);
    }
    return status;
}

static enum status create(struct lake *lake, const char *name, struct err *err)
{
    return create_as(lake, CATALOG_VIEW, name, REQUEST("select 1 a"), err);
}

static enum status change(struct lake *lake, const char *name, const char *requirements,
                          const char *updates, struct err *err)
{
    AUTO(json_doc_done) yyjson_doc *require = parse(requirements);
    AUTO(json_doc_done) yyjson_doc *update = parse(updates);
    struct catalog_loaded loaded;
    struct catalog_change how = { .name = fixture_name(name),
                                  .requirements = yyjson_doc_get_root(require),
                                  .updates = yyjson_doc_get_root(update) };
    enum status status = catalog_change_view(lake->catalog, &how, 0, &lake->arena, &loaded, err);
    if (status == OK) {
        buf_done(&loaded.metadata);
    }
    return status;
}

static enum status find(struct lake *lake, const char *name, struct table_summary *out)
{
    struct table_name asked = fixture_name(name);
    return catalog_find_view(lake->catalog, &asked, false, &lake->arena, out, ERR);
}

static enum status drop(struct lake *lake, const char *name)
{
    struct table_name asked = fixture_name(name);
    return catalog_drop_view(lake->catalog, &asked, ERR);
}

static enum status rename_as(struct lake *lake, enum catalog_kind kind, const char *from,
                             const char *to)
{
    struct table_name a = fixture_name(from), b = fixture_name(to);
    bool missing_ns = false;
    return catalog_rename(lake->catalog, kind, &a, &b, &missing_ns, ERR);
}

/** The view's metadata as a fresh catalogue reads it; in the arena. Empty: there is none. */
static struct str metadata_of(struct lake *lake, const char *name)
{
    struct lake fresh = { .store = lake->store, .catalog = fixture_catalog(lake->store) };
    struct table_summary view;
    struct str text = STR_EMPTY;
    AUTO(buf_done) struct buf body;
    buf_init(&body, 0);
    arena_init(&fresh.arena, 0);
    if (find(&fresh, name, &view) == OK) {
        assert_ok(catalog_metadata_text(fresh.catalog, view.metadata_location, &body, ERR));
        text = arena_str(&lake->arena, buf_str(&body));
    }
    catalog_close(fresh.catalog);
    arena_done(&fresh.arena);
    return text;
}

static bool holds(struct lake *lake, const char *name, const char *text)
{
    return str_find(metadata_of(lake, name), str_of(text)) != SIZE_MAX;
}

/** The text of the current version: the one with the highest id, in these tests. */
static bool is_current(struct lake *lake, const char *name, const char *sql)
{
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    assert_ok(json_parse(metadata_of(lake, name), &doc, ERR));
    yyjson_val *root = yyjson_doc_get_root(doc), *version;
    int64_t current = yyjson_get_sint(yyjson_obj_get(root, "current-version-id"));
    size_t i, max;
    yyjson_arr_foreach(yyjson_obj_get(root, "versions"), i, max, version)
    {
        if (yyjson_get_sint(yyjson_obj_get(version, "version-id")) == current) {
            yyjson_val *one = yyjson_arr_get_first(yyjson_obj_get(version, "representations"));
            return yyjson_equals_str(yyjson_obj_get(one, "sql"), sql);
        }
    }
    return false;
}

static size_t listed(struct lake *lake, enum catalog_kind kind)
{
    struct catalog_list list;
    const struct catalog_list_opts opts = { .ns = STR_EMPTY, .after = STR_EMPTY, .kind = kind };
    assert_ok(catalog_list(lake->catalog, &opts, &lake->arena, &list, ERR));
    assert_int_equal(list.damaged_count, 0);
    return list.count;
}

/* --- what they are --- */

static void a_view_is_made_replaced_and_dropped(void **state)
{
    struct lake *lake = *state;
    struct table_summary view, after;
    assert_ok(create(lake, "v", ERR));
    assert_int_equal(fixture_objects(lake->store, "_lake/minted/"), 0); /* its claim is gone */
    assert_ok(find(lake, "v", &view));
    assert_true(view.is_view && view.uuid.len == UUID_TEXT && view.snapshot_id == -1);
    assert_true(is_current(lake, "v", "select 1 a"));
    assert_ok(change(lake, "v", "[]", REPLACE("select 2 a", "2000"), ERR));
    assert_true(is_current(lake, "v", "select 2 a"));
    assert_ok(find(lake, "v", &after));
    assert_true(str_eq(after.uuid, view.uuid) && after.version == view.version + 1);
    assert_true(holds(lake, "v", "select 1 a")); /* the past is kept */
    /* the file before lies in the trash, and is read by those who found its name a moment ago */
    assert_int_equal(fixture_objects(lake->store, "_lake/trash/"), 1);
    AUTO(buf_done) struct buf body;
    buf_init(&body, 0);
    assert_ok(catalog_metadata_text(lake->catalog, view.metadata_location, &body, ERR));
    assert_ok(drop(lake, "v"));
    assert_kind(find(lake, "v", &view), E_NOT_FOUND);
    assert_kind(drop(lake, "v"), E_NOT_FOUND);
    assert_kind(change(lake, "v", "[]", REPLACE("select 3 a", "3000"), ERR), E_NOT_FOUND);
    assert_int_equal(fixture_objects(lake->store, "_lake/trash/"), 2); /* with its folder */
    assert_ok(create(lake, "v", ERR));
    assert_ok(find(lake, "v", &after));
    assert_false(str_eq(after.uuid, view.uuid));
}

static void tables_and_views_share_their_names(void **state)
{
    struct lake *lake = *state;
    struct table_name v = fixture_name("v"), t = fixture_name("t");
    struct table_summary found;
    struct catalog_appended appended;
    struct fixture_append append = { .table = "v", .batch = "b" };
    assert_ok(create(lake, "v", ERR));
    assert_int_equal(listed(lake, CATALOG_TABLE), 1);
    assert_int_equal(listed(lake, CATALOG_VIEW), 1);
    static const char *const taken[] = { "t", "T", "v", "V" };
    for (size_t i = 0; i < ARRAY_LEN(taken); i++) {
        assert_kind(create(lake, taken[i], ERR), E_EXISTS);
        assert_kind(create_as(lake, CATALOG_TABLE, taken[i], TABLE_REQUEST, ERR), E_EXISTS);
    }
    /* a table is no view, and a view no table */
    assert_kind(find(lake, "t", &found), E_NOT_FOUND);
    assert_kind(change(lake, "t", "[]", REPLACE("select 2 a", "2000"), ERR), E_NOT_FOUND);
    assert_kind(drop(lake, "t"), E_NOT_FOUND);
    assert_kind(catalog_find(lake->catalog, &v, false, &lake->arena, &found, ERR), E_NOT_FOUND);
    assert_kind(catalog_find(lake->catalog, &(struct table_name){ v.ns, STR("V") }, true,
                             &lake->arena, &found, ERR),
                E_NOT_FOUND);
    assert_kind(catalog_drop(lake->catalog, &v, ERR), E_NOT_FOUND);
    assert_kind(catalog_drop_table(lake->catalog, &v, true, ERR), E_NOT_FOUND);
    assert_true(fixture_append(lake->catalog, &append, &lake->arena, &appended, ERR) != OK);
    assert_ok(catalog_find_any(lake->catalog, &v, false, &lake->arena, &found, ERR));
    assert_true(found.is_view);
    assert_ok(catalog_find_any(lake->catalog, &t, false, &lake->arena, &found, ERR));
    assert_false(found.is_view);
    /* and each name is free again after */
    assert_ok(drop(lake, "v"));
    assert_ok(create_as(lake, CATALOG_TABLE, "V", TABLE_REQUEST, ERR));
    assert_ok(catalog_drop(lake->catalog, &t, ERR));
    assert_ok(create(lake, "t", ERR));
    assert_int_equal(listed(lake, CATALOG_TABLE), 1);
    assert_int_equal(listed(lake, CATALOG_VIEW), 1);
}

static void a_list_of_one_kind_comes_in_pages_without_the_other(void **state)
{
    struct lake *lake = *state;
    struct str after = STR_EMPTY;
    char name[16];
    for (int i = 0; i < 6; i++) { /* v0 a0 v1 ... */
        snprintf(name, sizeof name, "n%d", i);
        assert_ok(i % 2 == 0 ? create(lake, name, ERR)
                             : create_as(lake, CATALOG_TABLE, name, TABLE_REQUEST, ERR));
    }
    for (int i = 0; i < 6; i += 2) {
        struct catalog_list list;
        const struct catalog_list_opts opts = {
            .ns = STR("main"), .after = after, .limit = 1, .kind = CATALOG_VIEW
        };
        assert_ok(catalog_list(lake->catalog, &opts, &lake->arena, &list, ERR));
        snprintf(name, sizeof name, "n%d", i);
        assert_int_equal(list.count, 1);
        assert_str(list.tables[0].name.name, name);
        after = list.next;
    }
    assert_int_equal(after.len, 0);
}

static void a_view_is_renamed_but_not_over_anything(void **state)
{
    struct lake *lake = *state;
    struct table_summary before, after;
    assert_ok(create(lake, "v", ERR));
    assert_ok(create(lake, "w", ERR));
    assert_ok(find(lake, "v", &before));
    assert_kind(rename_as(lake, CATALOG_VIEW, "v", "t"), E_EXISTS);
    assert_kind(rename_as(lake, CATALOG_VIEW, "v", "W"), E_EXISTS);
    assert_kind(rename_as(lake, CATALOG_VIEW, "t", "x"), E_NOT_FOUND); /* a table is none */
    assert_kind(rename_as(lake, CATALOG_TABLE, "v", "x"), E_NOT_FOUND);
    assert_kind(rename_as(lake, CATALOG_TABLE, "t", "v"), E_EXISTS);
    assert_kind(rename_as(lake, CATALOG_VIEW, "v", "nope.v"), E_NOT_FOUND);
    assert_ok(rename_as(lake, CATALOG_VIEW, "v", "x"));
    assert_kind(find(lake, "v", &after), E_NOT_FOUND);
    assert_ok(find(lake, "x", &after));
    assert_true(after.is_view && str_eq(after.uuid, before.uuid));
    assert_ok(change(lake, "x", "[]", REPLACE("select 2 a", "2000"), ERR));
    assert_true(is_current(lake, "x", "select 2 a"));
    assert_int_equal(listed(lake, CATALOG_VIEW), 2);
    assert_int_equal(listed(lake, CATALOG_TABLE), 1);
}

static void a_namespace_with_a_view_in_it_is_not_dropped(void **state)
{
    struct lake *lake = *state;
    struct catalog_namespace made;
    assert_ok(
        catalog_namespace_create(lake->catalog, STR("geo"), NULL, 0, &lake->arena, &made, ERR));
    assert_kind(create(lake, "nope.v", ERR), E_NOT_FOUND);
    assert_ok(create(lake, "geo.v", ERR));
    assert_kind(catalog_namespace_drop(lake->catalog, STR("geo"), ERR), E_CONFLICT);
    assert_ok(drop(lake, "geo.v"));
    assert_ok(catalog_namespace_drop(lake->catalog, STR("geo"), ERR));
    assert_kind(create(lake, "geo.v", ERR), E_NOT_FOUND);
}

static void a_place_of_its_own_is_judged_as_a_tables(void **state)
{
    struct lake *lake = *state;
    char text[1024];
    static const char *const refused[] = { "mem://lake/wh/main/main/a%b", "mem://elsewhere/v",
                                           "mem://lake/wh/main", "s3://other/wh/main/main/v" };
    struct table_summary view;
    struct str root;
    assert_ok(create(lake, "v", ERR));
    assert_ok(find(lake, "v", &view));
    root = str_take(view.metadata_location, str_find(view.metadata_location, STR("/wh/")));
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        snprintf(text, sizeof text, "{" SCHEMA ",'location':'%s','view-version':%s}", refused[i],
                 VERSION("select 1 a", "1000"));
        assert_kind(create_as(lake, CATALOG_VIEW, "w", text, ERR), E_INVALID);
        snprintf(text, sizeof text, "[{'action':'set-location','location':'%s'}]", refused[i]);
        assert_kind(change(lake, "v", "[]", text, ERR), E_INVALID);
    }
    snprintf(text, sizeof text,
             "{" SCHEMA ",'location':'%.*s/wh/main/main/mine','view-version':%s}", STR_ARG(root),
             VERSION("select 1 a", "1000"));
    assert_ok(create_as(lake, CATALOG_VIEW, "w", text, ERR));
    assert_kind(create_as(lake, CATALOG_VIEW, "x", text, ERR), E_INVALID); /* taken */
    snprintf(text, sizeof text,
             "[{'action':'set-location','location':'%.*s/wh/main/main/mine/in'}]", STR_ARG(root));
    assert_kind(change(lake, "v", "[]", text, ERR), E_INVALID);
    snprintf(text, sizeof text, "[{'action':'set-location','location':'%.*s/wh/main/main/other/'}]",
             STR_ARG(root));
    assert_ok(change(lake, "v", "[]", text, ERR));
    assert_ok(find(lake, "v", &view));
    assert_true(str_find(view.metadata_location, STR("/wh/main/main/other/metadata/")) != SIZE_MAX);
}

static void what_a_dropped_view_left_can_be_registered(void **state)
{
    struct lake *lake = *state;
    struct table_summary view, again;
    struct catalog_loaded loaded;
    assert_ok(create(lake, "v", ERR));
    assert_ok(find(lake, "v", &view));
    struct catalog_register_metadata how = { .name = fixture_name("w"),
                                             .metadata_location = view.metadata_location };
    assert_kind(catalog_register_view(lake->catalog, &how, &lake->arena, &loaded, ERR), E_INVALID);
    assert_ok(drop(lake, "v"));
    assert_kind(catalog_register_metadata(lake->catalog, &how, &lake->arena, &loaded, ERR),
                E_INVALID); /* it is no table's metadata */
    assert_ok(catalog_register_view(lake->catalog, &how, &lake->arena, &loaded, ERR));
    buf_done(&loaded.metadata);
    assert_ok(find(lake, "w", &again));
    assert_true(str_eq(again.uuid, view.uuid));
    assert_kind(catalog_register_view(lake->catalog, &how, &lake->arena, &loaded, ERR), E_EXISTS);
    how.name = fixture_name("t");
    assert_kind(catalog_register_view(lake->catalog, &how, &lake->arena, &loaded, ERR), E_EXISTS);
    assert_ok(change(lake, "w", "[]", REPLACE("select 2 a", "2000"), ERR));
}

/* --- commits --- */

static void a_repeat_is_a_success_and_undoes_nothing(void **state)
{
    struct lake *lake = *state;
    struct table_summary view, after;
    char require[128];
    assert_ok(create(lake, "v", ERR));
    assert_ok(find(lake, "v", &view));
    snprintf(require, sizeof require, "[{'type':'assert-view-uuid','uuid':'%.*s'}]",
             STR_ARG(view.uuid));
    assert_ok(change(lake, "v", require, REPLACE("select 2 a", "2000"), ERR));
    assert_ok(change(lake, "v", require, REPLACE("select 3 a", "3000"), ERR));
    assert_ok(find(lake, "v", &view));
    assert_ok(change(lake, "v", require, REPLACE("select 2 a", "2000"), ERR)); /* late */
    assert_true(is_current(lake, "v", "select 3 a"));
    assert_ok(find(lake, "v", &after));
    assert_int_equal(after.version, view.version);
    /* the same text meant anew */
    assert_ok(change(lake, "v", require, REPLACE("select 2 a", "4000"), ERR));
    assert_true(is_current(lake, "v", "select 2 a"));
    /* another view of that name */
    assert_ok(drop(lake, "v"));
    assert_ok(create(lake, "v", ERR));
    assert_kind(change(lake, "v", require, REPLACE("select 5 a", "5000"), ERR), E_CONFLICT);
    assert_kind(change(lake, "v", "[{'type':'assert-create'}]", "[]", ERR), E_INVALID);
    assert_kind(change(lake, "v", "[]", "[{'action':'add-snapshot'}]", ERR), E_INVALID);
    assert_true(is_current(lake, "v", "select 1 a"));
}

enum { THREADS = 6, ROUNDS = 8 };

struct worker {
    struct lake *lake;
    int number, failed;
};

static void *set_properties(void *arg)
{
    struct worker *worker = arg;
    struct lake own = { .store = worker->lake->store, .catalog = worker->lake->catalog };
    arena_init(&own.arena, 0);
    for (int i = 0; i < ROUNDS; i++) {
        char updates[128];
        struct err err = { 0 };
        snprintf(updates, sizeof updates, "[{'action':'set-properties','updates':{'p%d-%d':'x'}}]",
                 worker->number, i);
        worker->failed += change(&own, "v", "[]", updates, &err) != OK;
    }
    arena_done(&own.arena);
    return NULL;
}

static void changes_at_once_lose_nothing(void **state)
{
    struct lake *lake = *state;
    struct lake other = { .store = lake->store, .catalog = fixture_catalog(lake->store) };
    struct worker workers[THREADS];
    pthread_t threads[THREADS];
    char property[32];
    assert_ok(create(lake, "v", ERR));
    for (int i = 0; i < THREADS; i++) { /* two processes */
        workers[i] = (struct worker){ .lake = i % 2 == 0 ? lake : &other, .number = i };
        assert_int_equal(pthread_create(&threads[i], NULL, set_properties, &workers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(workers[i].failed, 0);
    }
    for (int i = 0; i < THREADS * ROUNDS; i++) {
        snprintf(property, sizeof property, "\"p%d-%d\":\"x\"", i / ROUNDS, i % ROUNDS);
        assert_true(holds(lake, "v", property));
    }
    catalog_close(other.catalog);
}

/* --- faults --- */

enum deed { CREATE, REPLACE, RENAME, DROP, DEEDS };

static enum status do_deed(struct lake *lake, enum deed deed, struct err *err)
{
    struct table_name v = fixture_name("v"), w = fixture_name("w");
    bool missing_ns = false;
    switch (deed) {
    case CREATE:
        return create(lake, "made", err);
    case REPLACE:
        return change(lake, "v", "[]", REPLACE("select 2 a", "2000"), err);
    case RENAME:
        return catalog_rename(lake->catalog, CATALOG_VIEW, &v, &w, &missing_ns, err);
    case DROP:
        return catalog_drop_view(lake->catalog, &v, err);
    case DEEDS:
        break;
    }
    return OK;
}

static bool is_done(struct lake *lake, enum deed deed)
{
    struct lake fresh = { .store = lake->store, .catalog = fixture_catalog(lake->store) };
    struct table_summary view;
    arena_init(&fresh.arena, 0);
    bool done = false;
    switch (deed) {
    case CREATE:
        done = find(&fresh, "made", &view) == OK;
        break;
    case REPLACE:
        done = is_current(&fresh, "v", "select 2 a");
        break;
    case RENAME:
        done = find(&fresh, "w", &view) == OK;
        assert_true((find(&fresh, "v", &view) == OK) != done); /* under exactly one name */
        break;
    case DROP:
        done = find(&fresh, "v", &view) == E_NOT_FOUND;
        break;
    case DEEDS:
        break;
    }
    assert_int_equal(listed(&fresh, CATALOG_TABLE), 1);
    catalog_close(fresh.catalog);
    arena_done(&fresh.arena);
    return done;
}

/** What was said is true, and it can be gone on with. */
static void expect_true(struct lake *lake, enum deed deed, enum status said, const struct err *err)
{
    bool unknown = strncmp(err->msg, "the outcome is unknown", 22) == 0;
    bool done = is_done(lake, deed);
    if (said == OK ? !done : (done && !unknown)) {
        fail_msg("deed %d, %s: %s: %s", (int)deed, fault.where, status_name(said), err->msg);
    }
    struct err why = { 0 };
    enum status again = do_deed(lake, deed, &why);
    enum status then = !done || deed == REPLACE ? OK : deed == CREATE ? E_EXISTS : E_NOT_FOUND;
    if (again != then) {
        fail_msg("deed %d again, %s: %s: %s", (int)deed, fault.where, status_name(again), why.msg);
    }
    assert_true(is_done(lake, deed));
}

static void every_failed_write_and_lost_answer_is_told_truly(void **state)
{
    static const enum status kinds[] = { E_DISK_FULL, E_UNAVAILABLE, E_UPSTREAM };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(kinds) * DEEDS; i++) {
        enum deed deed = (enum deed)(i % DEEDS);
        for (long n = 0;; n++) {
            struct lake lake;
            struct err err = { 0 };
            lake_up(&lake);
            assert_ok(create(&lake, "v", ERR));
            fault.with = kinds[i / DEEDS];
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

static void every_failed_allocation_is_told_truly(void **state)
{
    (void)state;
    for (enum deed deed = CREATE; deed <= REPLACE; deed++) {
        AUTO(json_doc_done)
        yyjson_doc *doc = parse(deed == CREATE ? REQUEST("select 1 a")
                                               : REPLACE("select 2 a", "2000"));
        yyjson_val *root = yyjson_doc_get_root(doc);
        for (long n = 0;; n++) {
            struct lake lake;
            struct err err = { 0 };
            struct catalog_loaded loaded;
            struct catalog_create make = { .name = fixture_name("made"), .request = root };
            struct catalog_change how = { .name = fixture_name("v"), .updates = root };
            lake_up(&lake);
            assert_ok(create(&lake, "v", ERR));
            snprintf(fault.where, sizeof fault.where, "allocation %ld", n);
            mem_fail_nth(n);
            enum status status = deed == CREATE ? catalog_create_view(lake.catalog, &make,
                                                                      &lake.arena, &loaded, &err)
                                                : catalog_change_view(lake.catalog, &how, 0,
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
}

/* --- beside each other --- */

struct racer {
    struct lake *lake;
    struct catalog *catalog;
    const char *name;
    enum catalog_kind kind;
    enum status status;
    bool drops_namespace;
};

static void *race(void *arg)
{
    struct racer *racer = arg;
    struct lake own = { .store = racer->lake->store, .catalog = racer->catalog };
    struct err err = { 0 };
    arena_init(&own.arena, 0);
    if (racer->drops_namespace) {
        racer->status = catalog_namespace_drop(own.catalog, STR("geo"), &err);
    } else {
        racer->status = create_as(
            &own, racer->kind, racer->name,
            racer->kind == CATALOG_VIEW ? REQUEST("select 1 a") : TABLE_REQUEST, &err);
    }
    arena_done(&own.arena);
    return NULL;
}

static void race_all(struct racer *racers, size_t count)
{
    pthread_t threads[4];
    assert_true(count <= ARRAY_LEN(threads));
    for (size_t i = 0; i < count; i++) {
        racers[i].catalog = fixture_catalog(racers[i].lake->store);
        assert_int_equal(pthread_create(&threads[i], NULL, race, &racers[i]), 0);
    }
    for (size_t i = 0; i < count; i++) {
        pthread_join(threads[i], NULL);
        catalog_close(racers[i].catalog);
    }
}

static void a_table_and_a_view_that_want_one_name_do_not_both_get_it(void **state)
{
    (void)state;
    for (int round = 0; round < 30; round++) {
        struct lake lake;
        lake_up(&lake);
        struct racer racers[] = {
            { .lake = &lake, .name = "same", .kind = CATALOG_VIEW },
            { .lake = &lake, .name = round % 2 == 0 ? "same" : "SAME", .kind = CATALOG_TABLE },
        };
        race_all(racers, ARRAY_LEN(racers));
        int won = (racers[0].status == OK) + (racers[1].status == OK);
        assert_true(won <= 1); /* of two names that differ by case both may give way */
        assert_true(won == 1 || round % 2 == 1);
        assert_int_equal(listed(&lake, CATALOG_VIEW) + listed(&lake, CATALOG_TABLE), 1 + won);
        lake_down(&lake);
    }
}

static void a_view_in_a_namespace_that_is_dropped_is_made_or_is_not(void **state)
{
    (void)state;
    for (int round = 0; round < 30; round++) {
        struct lake lake;
        struct catalog_namespace ns;
        lake_up(&lake);
        assert_ok(
            catalog_namespace_create(lake.catalog, STR("geo"), NULL, 0, &lake.arena, &ns, ERR));
        struct racer racers[] = { { .lake = &lake, .name = "geo.v", .kind = CATALOG_VIEW },
                                  { .lake = &lake, .drops_namespace = true } };
        race_all(racers, ARRAY_LEN(racers));
        bool there = catalog_namespace(lake.catalog, STR("geo"), &lake.arena, &ns, ERR) == OK;
        assert_true((racers[1].status == OK) == !there);
        assert_true(racers[0].status == OK ? there : racers[0].status == E_NOT_FOUND);
        assert_int_equal(listed(&lake, CATALOG_VIEW), racers[0].status == OK);
        lake_down(&lake);
    }
}

int main(void)
{
#define LAKE(test) cmocka_unit_test_setup_teardown(test, lake_open, lake_close)
    const struct CMUnitTest tests[] = {
        LAKE(a_view_is_made_replaced_and_dropped),
        LAKE(tables_and_views_share_their_names),
        LAKE(a_list_of_one_kind_comes_in_pages_without_the_other),
        LAKE(a_view_is_renamed_but_not_over_anything),
        LAKE(a_namespace_with_a_view_in_it_is_not_dropped),
        LAKE(a_place_of_its_own_is_judged_as_a_tables),
        LAKE(what_a_dropped_view_left_can_be_registered),
        LAKE(a_repeat_is_a_success_and_undoes_nothing),
        LAKE(changes_at_once_lose_nothing),
        cmocka_unit_test(every_failed_write_and_lost_answer_is_told_truly),
        cmocka_unit_test(every_failed_allocation_is_told_truly),
        cmocka_unit_test(a_table_and_a_view_that_want_one_name_do_not_both_get_it),
        cmocka_unit_test(a_view_in_a_namespace_that_is_dropped_is_made_or_is_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
