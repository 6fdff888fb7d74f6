#include "fixture.h"

#include "base/rng.h"
#include "catalog/pointer.h"

_Thread_local struct err fixture_err;

struct store *fixture_mem(void)
{
    struct store *store = NULL;
    assert_ok(store_mem_open(&(struct store_mem_opts){ 0 }, &store, ERR));
    return store;
}

struct catalog *fixture_catalog(struct store *store)
{
    struct catalog *catalog = NULL;
    assert_ok(catalog_local_open(
        &(struct catalog_local_opts){ .store = store, .rng_seed = random_u64() }, &catalog, ERR));
    return catalog;
}

struct ice_schema *fixture_schema(struct arena *arena, const char *extra)
{
    struct ice_schema *schema = ARENA_NEW(arena, struct ice_schema);
    size_t count = extra == NULL ? 2 : 3;
    struct ice_field *fields = arena_array(arena, count, sizeof(*fields));
    assert_true(schema != NULL && fields != NULL);
    fields[0] = (struct ice_field){ .id = 1, .name = STR("id"), .type = { .kind = ICE_LONG } };
    fields[1] = (struct ice_field){ .id = 2, .name = STR("name"), .type = { .kind = ICE_STRING } };
    if (extra != NULL) {
        fields[2] = (struct ice_field){ .id = 3,
                                        .name = str_of(extra),
                                        .type = { .kind = ICE_DOUBLE } };
    }
    schema->root = (struct ice_type){ .kind = ICE_STRUCT, .fields = fields, .field_count = count };
    return schema;
}

struct table_name fixture_name(const char *text)
{
    struct str whole = str_of(text);
    size_t dot = str_rfind_char(whole, '.');
    struct table_name name = { .ns = STR("main"), .name = whole };
    if (dot != SIZE_MAX) {
        name = (struct table_name){ str_take(whole, dot), str_skip(whole, dot + 1) };
    }
    return name;
}

enum status fixture_append(struct catalog *catalog, const struct fixture_append *in,
                           struct arena *arena, struct catalog_appended *out, struct err *err)
{
    struct catalog_place place;
    struct table_name name = fixture_name(in->table);
    TRY(catalog_place(catalog, &name, arena, &place, err));
    char uuid[UUID_TEXT + 1];
    uuid4(uuid);
    struct ice_data_file file = {
        .content = ICE_DATA,
        .path = in->file != NULL
                    ? arena_printf(arena, "%.*s/data/%s", STR_ARG(place.location_key), in->file)
                    : arena_printf(arena, "%.*s/data/%s.parquet", STR_ARG(place.location_key),
                                   uuid),
        .format = STR("PARQUET"),
        .record_count = in->rows == 0 ? 1 : in->rows,
        .size_bytes = 1000,
        .sort_order_id = -1,
        .status = ICE_ADDED,
        .snapshot_id = -1,
        .sequence_number = -1,
        .file_sequence_number = -1,
    };
    struct catalog_append append = {
        .name = name,
        .batch_id = str_of(in->batch),
        .schema = in->schema != NULL ? in->schema : fixture_schema(arena, NULL),
        .files = &file,
        .file_count = 1,
        .create = !in->no_create,
        .place = &place,
        .expected_schema_id = place.schema_id,
        .evolved = in->evolved,
        .evolved_last_column_id = in->evolved != NULL ? ice_schema_max_id(in->evolved) : 0,
    };
    if (in->store != NULL) {
        TRY(store_put(in->store, file.path, STR("PAR1"), NULL, NULL, err));
    }
    return catalog_append(catalog, &append, arena, out, err);
}

/** `text` with the first `from` replaced. */
static struct str replaced(struct arena *arena, struct str text, struct str from, struct str to)
{
    size_t at = str_find(text, from);
    assert_true(at != SIZE_MAX);
    struct str out = arena_printf(arena, "%.*s%.*s%.*s", (int)at, text.ptr, STR_ARG(to),
                                  STR_ARG(str_skip(text, at + from.len)));
    assert_non_null(out.ptr);
    return out;
}

void fixture_edit(struct store *store, const char *table, const char *from, const char *to)
{
    struct arena arena;
    struct buf body, metadata;
    struct store_info info;
    struct pointer pointer;
    char uuid[UUID_TEXT + 1];
    arena_init(&arena, 0);
    buf_init(&body, 0);
    buf_init(&metadata, 0);
    struct str key = arena_printf(&arena, "_lake/cat/main/ns/main/t/%s.json", table);
    assert_ok(store_read(store, key, NULL, &body, &info, ERR));
    assert_ok(pointer_decode(&arena, buf_str(&body), &pointer, ERR));
    struct str old = pointer.table.metadata_location;
    struct str old_key = str_skip(old, str_find(old, STR("/wh/")) + 1);
    assert_ok(store_read(store, old_key, NULL, &metadata, NULL, ERR));
    uuid4(uuid);
    struct str name = arena_printf(&arena, "%05lld-%s.metadata.json",
                                   (long long)++pointer.table.version, uuid);
    struct str folder = str_take(old_key, str_rfind_char(old_key, '/') + 1);
    struct str next_key = arena_printf(&arena, "%.*s%.*s", STR_ARG(folder), STR_ARG(name));
    struct str json = replaced(&arena, buf_str(&metadata), str_of(from), str_of(to));
    assert_ok(store_put(store, next_key, json, NULL, NULL, ERR));
    pointer.table.metadata_location = replaced(&arena, old, old_key, next_key);
    buf_clear(&body);
    assert_int_equal(pointer_encode(&pointer, &body), OK);
    assert_ok(store_put(store, key, buf_str(&body),
                        &(struct store_cond){ .if_match = str_of(info.etag) }, NULL, ERR));
    buf_done(&body);
    buf_done(&metadata);
    arena_done(&arena);
}

struct catalog_appended fixture_add(struct catalog *catalog, const char *table, const char *batch,
                                    struct arena *arena)
{
    struct catalog_appended out = { 0 };
    assert_ok(fixture_append(catalog, &(struct fixture_append){ .table = table, .batch = batch },
                             arena, &out, ERR));
    return out;
}

int64_t fixture_rows(struct catalog *catalog, const char *table)
{
    struct catalog_pin *pin = NULL;
    struct table_name name = fixture_name(table);
    assert_ok(catalog_pin(catalog, &name, false, NULL, &pin, ERR));
    struct arena arena;
    arena_init(&arena, 0);
    struct catalog_files files;
    assert_ok(catalog_files(catalog, pin, &arena, &files, ERR));
    int64_t rows = 0;
    for (size_t i = 0; i < files.count; i++) {
        rows += files.files[i].file->record_count;
    }
    arena_done(&arena);
    catalog_unpin(pin);
    return rows;
}

size_t fixture_objects(struct store *store, const char *prefix)
{
    struct arena arena;
    arena_init(&arena, 0);
    struct store_list list;
    assert_ok(store_list(
        store, &(struct store_list_opts){ .prefix = str_of(prefix), .limit = STORE_LIST_MAX },
        &arena, &list, ERR));
    arena_done(&arena);
    return list.object_count;
}
