/* Registering objects, with an inspector that reads a made-up footer: "<rows> <column>[:id]
 * ...". */
#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>

#include "catalog/register.h"

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

static enum status inspect(void *ctx, struct str key, struct store_object *object,
                           struct arena *arena, struct catalog_inspected *out, struct err *err)
{
    char text[256];
    size_t got = 0;
    TRY(store_object_read(object, 0, text, sizeof(text), &got, err));
    struct str rest = str_from(text, got);
    struct str rows = str_split(&rest, ' ');
    struct ice_schema *schema = ARENA_NEW(arena, struct ice_schema);
    struct ice_field *fields = arena_array(arena, 8, sizeof(*fields));
    struct ice_column_stats *stats = arena_array(arena, 8, sizeof(*stats));
    int64_t count = 0;
    size_t n = 0;
    if (!str_to_i64(rows, &count)) {
        return err_set(err, E_INVALID, "\"%.*s\" is no Parquet file", STR_ARG(key));
    }
    out->has_ids = false;
    for (; rest.ptr != NULL && n < 8; n++) {
        struct str column = str_split(&rest, ' ');
        struct str name = str_split(&column, ':');
        int64_t id = (int64_t)n + 1;
        out->has_ids = column.ptr != NULL && str_to_i64(column, &id);
        fields[n] = (struct ice_field){ .id = (int32_t)id,
                                        .name = arena_str(arena, name),
                                        .type = { .kind = ICE_LONG } };
        stats[n] = (struct ice_column_stats){ .field_id = (int32_t)id,
                                              .size_bytes = 8,
                                              .value_count = count,
                                              .null_count = 0,
                                              .nan_count = -1 };
    }
    schema->root = (struct ice_type){ .kind = ICE_STRUCT, .fields = fields, .field_count = n };
    out->schema = schema;
    out->file = (struct ice_data_file){
        .record_count = count, .columns = stats, .column_count = n, .sort_order_id = -1
    };
    return OK;
}

static const struct catalog_inspector inspector = { .inspect = inspect };

static void put(struct lake *lake, const char *key, const char *text)
{
    assert_ok(store_put(lake->store, str_of(key), str_of(text), NULL, NULL, ERR));
}

static enum status reg(struct lake *lake, const char *table, struct catalog_registered *out,
                       size_t count, ...)
{
    struct str keys[8];
    va_list args;
    va_start(args, count);
    for (size_t i = 0; i < count; i++) {
        keys[i] = str_of(va_arg(args, const char *));
    }
    va_end(args);
    struct catalog_register request = { .name = fixture_name(table),
                                        .keys = keys,
                                        .key_count = count };
    return catalog_register(lake->catalog, lake->store, &inspector, &request, &lake->arena, out,
                            ERR);
}

static void objects_become_a_table_and_count_once(void **state)
{
    struct lake *lake = *state;
    struct catalog_registered first, again, more;
    put(lake, "in/a.parquet", "10 x y");
    put(lake, "in/b.parquet", "5 x y");
    put(lake, "in/c.parquet", "1 x y");
    assert_ok(reg(lake, "t", &first, 3, "in/a.parquet", "in/b.parquet", "in/a.parquet"));
    assert_false(first.existing);
    assert_int_equal(first.added, 2);
    assert_int_equal(fixture_rows(lake->catalog, "t"), 15);
    assert_ok(reg(lake, "t", &again, 2, "in/b.parquet", "in/a.parquet"));
    assert_true(again.existing && again.added == 0 && str_eq(again.uuid, first.uuid));
    assert_int_equal(again.snapshot_id, first.snapshot_id);
    struct catalog *fresh = fixture_catalog(lake->store);
    struct catalog *mine = lake->catalog;
    lake->catalog = fresh;
    assert_ok(reg(lake, "t", &more, 2, "in/b.parquet", "in/c.parquet"));
    assert_true(more.existing && more.added == 1 && str_eq(more.uuid, first.uuid));
    lake->catalog = mine;
    catalog_close(fresh);
    assert_int_equal(fixture_rows(lake->catalog, "t"), 16);
    /* The owner's objects are the owner's: what happens to them does not matter any more. */
    assert_ok(store_delete(lake->store, STR("in/a.parquet"), ERR));
    assert_int_equal(fixture_objects(lake->store, "wh/main/main/"),
                     3 /* files */ + 2 * 3 /* metadata, list, manifest */);
}

static void files_name_the_key_that_they_came_from(void **state)
{
    struct lake *lake = *state;
    struct catalog_registered out;
    put(lake, "some where/\xc3\xa9.parquet", "10 x");
    assert_ok(reg(lake, "t", &out, 1, "some where/\xc3\xa9.parquet"));
    struct catalog_pin *pin = NULL;
    struct catalog_files files;
    struct table_name name = fixture_name("t");
    assert_ok(catalog_pin(lake->catalog, &name, false, NULL, &pin, ERR));
    assert_ok(catalog_files(lake->catalog, pin, &lake->arena, &files, ERR));
    assert_ok(catalog_sources(lake->catalog, pin, &lake->arena, &files, ERR));
    assert_int_equal(files.count, 1);
    assert_str(files.files[0].source, "some where/\xc3\xa9.parquet");
    assert_non_null(ice_metadata_property(pin->metadata, STR("schema.name-mapping.default")).ptr);
    catalog_unpin(pin);
}

static void a_missing_object_is_not_found_and_nothing_is_added(void **state)
{
    struct lake *lake = *state;
    struct catalog_registered out;
    put(lake, "a", "10 x");
    assert_kind(reg(lake, "t", &out, 2, "a", "b"), E_NOT_FOUND);
    assert_non_null(strstr(fixture_err.msg, "\"b\""));
    assert_int_equal(fixture_objects(lake->store, ""), 1);
}

static void another_schema_is_a_conflict(void **state)
{
    struct lake *lake = *state;
    struct catalog_registered out;
    put(lake, "a", "10 x");
    put(lake, "b", "10 z");
    put(lake, "c", "10 x:7");
    assert_kind(reg(lake, "t", &out, 2, "a", "b"), E_CONFLICT);
    assert_int_equal(fixture_objects(lake->store, "wh/"), 0);
    assert_ok(reg(lake, "t", &out, 1, "a"));
    size_t before = fixture_objects(lake->store, "");
    assert_kind(reg(lake, "t", &out, 1, "b"), E_CONFLICT);
    /* the same name under another field id */
    assert_kind(reg(lake, "t", &out, 1, "c"), E_CONFLICT);
    assert_non_null(strstr(fixture_err.msg, "field id 7"));
    assert_kind(reg(lake, "t", &out, 1, "_lake/secret"), E_INVALID);
    assert_kind(reg(lake, "t", &out, 0), E_INVALID);
    assert_int_equal(fixture_objects(lake->store, ""), before);
    assert_int_equal(fixture_rows(lake->catalog, "t"), 10);
}

static void ids_of_the_files_are_kept_for_a_new_table(void **state)
{
    struct lake *lake = *state;
    struct catalog_registered out;
    put(lake, "a", "10 x:7 y:3");
    assert_ok(reg(lake, "t", &out, 1, "a"));
    struct catalog_pin *pin = NULL;
    struct table_name name = fixture_name("t");
    assert_ok(catalog_pin(lake->catalog, &name, false, NULL, &pin, ERR));
    assert_int_equal(pin->schema->root.fields[0].id, 7);
    assert_int_equal(pin->metadata->last_column_id, 7);
    assert_null(ice_metadata_property(pin->metadata, STR("schema.name-mapping.default")).ptr);
    catalog_unpin(pin);
}

int main(void)
{
#define LAKE_TEST(name) cmocka_unit_test_setup_teardown(name, lake_open, lake_close)
    const struct CMUnitTest tests[] = {
        LAKE_TEST(objects_become_a_table_and_count_once),
        LAKE_TEST(files_name_the_key_that_they_came_from),
        LAKE_TEST(a_missing_object_is_not_found_and_nothing_is_added),
        LAKE_TEST(another_schema_is_a_conflict),
        LAKE_TEST(ids_of_the_files_are_kept_for_a_new_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
