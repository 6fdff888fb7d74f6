/* Without memory, and with a store that fails, every call says so and gives back what it took; the
 * table stays as it was or becomes what it should, and the same batch again lands once. */
#include "fixture.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "catalog/changes.h"

enum deed { CREATE, APPEND, PIN, LIST, DROP, RENAME, REGISTER, MAKE_NS, CHANGE_NS, DROP_NS, DEEDS };

struct lake {
    struct store *store;
    struct catalog *catalog;
    struct arena arena;
    const struct ice_schema *schema;
};

/* The n-th time that the store is asked to write, or has written, it fails with this. */
static struct {
    long countdown;
    enum status with;
    bool happened;
    char where[256]; /* what failed */
} fault = { .countdown = -1 };

static enum status fault_at(void *ctx, const char *op, struct str key, struct err *err)
{
    /* Only a lost answer may be of a write that happened (store.h). */
    if (strcmp(op, "answer") == 0 && fault.with != E_UPSTREAM) {
        return OK;
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
    const struct store_mem_opts opts = { .hook = { .at = fault_at } };
    assert_ok(store_mem_open(&opts, &lake->store, ERR));
    lake->catalog = fixture_catalog(lake->store);
    arena_init(&lake->arena, 0);
    lake->schema = fixture_schema(&lake->arena, NULL);
    (void)fixture_add(lake->catalog, "t", "first", &lake->arena);
    struct catalog_namespace made;
    assert_ok(catalog_namespace_create(lake->catalog, STR("e"), NULL, 0, &lake->arena, &made, ERR));
}

static void lake_down(struct lake *lake)
{
    catalog_close(lake->catalog);
    store_close(lake->store);
    arena_done(&lake->arena);
}

static enum status pin(struct lake *lake, struct arena *arena, struct err *err)
{
    struct table_name name = fixture_name("t");
    struct catalog_at at = { 0 };
    struct catalog_pin *pin = NULL;
    struct catalog_files files = { 0 };
    TRY(catalog_pin(lake->catalog, &name, false, &at, &pin, err));
    enum status status = catalog_files(lake->catalog, pin, arena, &files, err);
    assert_true(status != OK || files.count == 1);
    catalog_unpin(pin);
    return status;
}

/** As fixture_append, but nothing of its own fails for want of memory. */
static enum status append_second(struct catalog *catalog, const struct ice_schema *schema,
                                 const char *table, struct arena *arena,
                                 struct catalog_appended *out, struct err *err)
{
    struct catalog_place place;
    struct table_name name = fixture_name(table);
    char path[512];
    TRY(catalog_place(catalog, &name, arena, &place, err));
    snprintf(path, sizeof path, "%.*s/data/second.parquet", STR_ARG(place.location_key));
    struct ice_data_file file = {
        .content = ICE_DATA,
        .path = str_of(path),
        .format = STR("PARQUET"),
        .record_count = 1,
        .size_bytes = 1000,
        .sort_order_id = -1,
        .status = ICE_ADDED,
        .snapshot_id = -1,
        .sequence_number = -1,
        .file_sequence_number = -1,
    };
    struct catalog_append append = {
        .name = name,
        .batch_id = STR("second"),
        .schema = schema,
        .files = &file,
        .file_count = 1,
        .create = true,
        .place = &place,
        .expected_schema_id = place.schema_id,
    };
    return catalog_append(catalog, &append, arena, out, err);
}

static enum status rename_t(struct catalog *catalog, struct err *err)
{
    struct table_name from = fixture_name("t"), to = fixture_name("e.u");
    bool missing_ns = false;
    return catalog_rename(catalog, CATALOG_TABLE, &from, &to, &missing_ns, err);
}

/** The very metadata that it has, over itself. */
static enum status register_again(struct catalog *catalog, struct arena *arena, struct err *err)
{
    struct catalog_register_metadata request = { .name = fixture_name("t"), .overwrite = true };
    struct table_summary table;
    struct catalog_loaded loaded;
    TRY(catalog_find(catalog, &request.name, false, arena, &table, err));
    request.metadata_location = table.metadata_location;
    TRY(catalog_register_metadata(catalog, &request, arena, &loaded, err));
    buf_done(&loaded.metadata);
    return OK;
}

static enum status change_e(struct catalog *catalog, struct arena *arena, struct err *err)
{
    static const struct ice_property property = { STR_INIT("k"), STR_INIT("v") };
    struct catalog_namespace_updated told;
    return catalog_namespace_update(
        catalog, STR("e"), &(struct catalog_namespace_update){ .set = &property, .set_count = 1 },
        arena, &told, err);
}

static enum status do_deed(struct lake *lake, enum deed deed, struct err *err)
{
    struct arena arena;
    struct catalog_appended appended;
    struct table_name name = fixture_name("t");
    enum status status = OK;
    arena_init(&arena, 0);
    switch (deed) {
    case CREATE:
    case APPEND:
        status = append_second(lake->catalog, lake->schema, deed == CREATE ? "fresh" : "t", &arena,
                               &appended, err);
        break;
    case PIN:
        status = pin(lake, &arena, err);
        break;
    case LIST: {
        struct catalog_list list = { 0 };
        status = catalog_list(lake->catalog, NULL, &arena, &list, err);
        assert_true(status != OK || list.count == 1);
        break;
    }
    case DROP:
        status = catalog_drop(lake->catalog, &name, err);
        break;
    case RENAME:
        status = rename_t(lake->catalog, err);
        break;
    case REGISTER:
        status = register_again(lake->catalog, &arena, err);
        break;
    case MAKE_NS: {
        struct catalog_namespace made;
        status = catalog_namespace_create(lake->catalog, STR("fresh"), NULL, 0, &arena, &made, err);
        break;
    }
    case CHANGE_NS:
        status = change_e(lake->catalog, &arena, err);
        break;
    case DROP_NS:
        status = catalog_namespace_drop(lake->catalog, STR("e"), err);
        break;
    case DEEDS:
    default:
        fail();
    }
    arena_done(&arena);
    return status;
}

static void expect_one_name(struct catalog *fresh, struct arena *arena, bool at_old,
                            enum status said)
{
    struct table_name to = fixture_name("e.u");
    struct table_summary table;
    bool at_new = catalog_find(fresh, &to, false, arena, &table, ERR) == OK;
    assert_true(at_old != at_new && (said != OK || at_new));
    assert_int_equal(rename_t(fresh, ERR), at_old ? OK : E_NOT_FOUND);
    assert_int_equal(fixture_rows(fresh, "e.u"), 1);
}

static void expect_namespace(struct catalog *fresh, struct arena *arena, enum deed deed,
                             enum status said)
{
    struct catalog_namespace found;
    struct str ns = deed == MAKE_NS ? STR("fresh") : STR("e");
    enum status there = catalog_namespace(fresh, ns, arena, &found, ERR);
    if (deed == CHANGE_NS) {
        assert_ok(there);
        assert_true(said != OK || found.property_count == 2);
        assert_ok(change_e(fresh, arena, ERR));
        return;
    }
    bool done = (there == OK) == (deed == MAKE_NS);
    assert_true(done || said != OK);
    enum status again = deed == MAKE_NS
                            ? catalog_namespace_create(fresh, ns, NULL, 0, arena, &found, ERR)
                            : catalog_namespace_drop(fresh, ns, ERR);
    /* a drop that was begun may be finished now */
    assert_true(again == OK || (done && again == (deed == MAKE_NS ? E_EXISTS : E_NOT_FOUND)));
}

/** A second catalogue on the same store, with nothing in its cache. */
static void expect_right(struct lake *lake, enum deed deed, enum status said)
{
    struct catalog *fresh = fixture_catalog(lake->store);
    struct table_name name = fixture_name(deed == CREATE ? "fresh" : "t");
    struct table_summary table = { 0 };
    enum status there = catalog_find(fresh, &name, false, &lake->arena, &table, ERR);
    assert_true(there == OK || there == E_NOT_FOUND);
    int64_t rows = there == OK ? table.row_count : 0;
    int64_t before = deed == CREATE ? 0 : 1;
    if (deed == CREATE || deed == APPEND) {
        assert_true(rows == before + 1 || (said != OK && rows == before));
        const char *text = deed == CREATE ? "fresh" : "t";
        struct catalog_appended out;
        assert_ok(append_second(fresh, lake->schema, text, &lake->arena, &out, ERR));
        assert_int_equal(fixture_rows(fresh, text), before + 1);
    } else if (deed == RENAME) {
        expect_one_name(fresh, &lake->arena, rows == 1, said);
    } else if (deed == MAKE_NS || deed == CHANGE_NS || deed == DROP_NS) {
        assert_int_equal(rows, 1);
        expect_namespace(fresh, &lake->arena, deed, said);
    } else if (deed == DROP) {
        assert_true(rows == 0 || (said != OK && rows == 1));
        enum status status = catalog_drop(fresh, &name, ERR);
        assert_int_equal(status, rows == 0 ? E_NOT_FOUND : OK);
    } else {
        assert_int_equal(rows, 1);
    }
    catalog_close(fresh);
}

static void every_failed_allocation_is_reported_and_harms_nothing(void **state)
{
    for (enum deed deed = CREATE; deed < DEEDS; deed++) {
        for (long n = 0;; n++) {
            struct lake lake;
            struct err err = { 0 };
            lake_up(&lake);
            mem_fail_nth(n);
            enum status status = do_deed(&lake, deed, &err);
            bool happened = mem_fail_happened();
            mem_fail_nth(-1);
            /* what is not needed for the answer (a cache, a marker) may be left out */
            bool told = status == E_NO_MEMORY || status == E_UNAVAILABLE; /* outcome unknown */
            if (status != OK && (!happened || !told || err.kind != status)) {
                fail_msg("deed %d, allocation %ld: %s %s", (int)deed, n, status_name(status),
                         err.msg);
            }
            expect_right(&lake, deed, status);
            lake_down(&lake);
            if (!happened) {
                assert_true(n > 3);
                break;
            }
        }
    }
}

static void every_failed_write_is_reported_and_harms_nothing(void **state)
{
    static const enum status kinds[] = { E_DISK_FULL, E_UNAVAILABLE, E_UPSTREAM };
    for (size_t kind = 0; kind < ARRAY_LEN(kinds); kind++) {
        for (enum deed deed = CREATE; deed < DEEDS; deed++) {
            for (long n = 0;; n++) {
                struct lake lake;
                struct err err = { 0 };
                lake_up(&lake);
                fault.countdown = n;
                fault.with = kinds[kind];
                fault.happened = false;
                enum status status = do_deed(&lake, deed, &err);
                bool happened = fault.happened;
                fault.countdown = -1;
                if (status != OK && (!happened || err.kind != status || status == E_NOT_FOUND ||
                                     status == E_CORRUPT || status == E_INVALID)) {
                    fail_msg("deed %d, write %ld with %s: %s %s", (int)deed, n,
                             status_name(kinds[kind]), status_name(status), err.msg);
                }
                expect_right(&lake, deed, status);
                lake_down(&lake);
                if (!happened) {
                    break;
                }
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_failed_allocation_is_reported_and_harms_nothing),
        cmocka_unit_test(every_failed_write_is_reported_and_harms_nothing),
    };
    return cmocka_run_group_tests_name("catalog memory", tests, NULL, NULL);
}
