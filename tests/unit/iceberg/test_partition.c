/* Partition specs, the values of files in them, and how people read these. */
#include "helper.h"

#include "iceberg/partition_write.h"
#include "iceberg/shape.h"
#include "iceberg/value.h"

static struct arena arena;
static struct err err;
static struct ice_metadata *metadata;

#define TABLE                                                                                      \
    "{'format-version':2,'table-uuid':'9c12d441-03fe-4693-9a96-a0705ddf69c1','location':'"         \
    "file:/t','last-sequence-number':0,'last-updated-ms':1,'last-column-id':6,'current-sc"         \
    "hema-id':1,'schemas':[{'type':'struct','schema-id':0,'fields':[{'id':1,'name':'id','"         \
    "required':true,'type':'long'},{'id':2,'name':'s','required':false,'type':'string'},{"         \
    "'id':3,'name':'gone','required':false,'type':'date'},{'id':4,'name':'at','required':"         \
    "false,'type':'timestamp'}]},{'type':'struct','schema-id':1,'fields':[{'id':1,'name':"         \
    "'id','required':true,'type':'long'},{'id':2,'name':'s','required':false,'type':'stri"         \
    "ng'},{'id':4,'name':'at','required':false,'type':'timestamp'}]}],'default-spec-id':2"         \
    ",'last-partition-id':1004,'partition-specs':[{'spec-id':2,'fields':[{'source-id':2,'"         \
    "field-id':1000,'name':'s_now','transform':'void'},{'source-id':1,'field-id':1003,'na"         \
    "me':'id_trunc','transform':'truncate[10]'},{'source-id':9,'field-id':1004,'name':'lo"         \
    "st','transform':'identity'},{'source-id':1,'field-id':1005,'name':'odd','transform':"         \
    "'zorder[3]'}]},{'spec-id':0,'fields':[]},{'spec-id':1,'fields':[{'source-id':2,'fiel"         \
    "d-id':1000,'name':'s','transform':'identity'},{'source-id':3,'field-id':1001,'name':"         \
    "'gone_month','transform':'month'},{'source-id':1,'field-id':1002,'name':'id_bucket',"         \
    "'transform':'bucket[16]'}]}],'default-sort-order-id':0,'sort-orders':[{'order-id':0,"         \
    "'fields':[]}],'properties':{},'snapshots':[],'refs':{},'snapshot-log':[],'metadata-l"         \
    "og':[]}"

static int setup(void **state)
{
    arena_init(&arena, 0);
    err = (struct err){ 0 };
    MUST(ice_metadata_parse(json_text(&arena, TABLE), &metadata, &err));
    return 0;
}

static int teardown(void **state)
{
    ice_metadata_unref(metadata);
    arena_done(&arena);
    return 0;
}

static void partition_specs_join_in_one_struct_by_field_id(void **state)
{
    static const struct {
        int32_t id;
        const char *name;
        enum ice_transform transform;
        enum ice_kind kind;
    } expected[] = { { 1000, "s_now", ICE_IDENTITY, ICE_STRING },
                     { 1001, "gone_month", ICE_MONTH, ICE_INT },
                     { 1002, "id_bucket", ICE_BUCKET, ICE_INT },
                     { 1003, "id_trunc", ICE_TRUNCATE, ICE_LONG } };
    struct ice_partition_specs specs;
    MUST(ice_partition_specs(&arena, metadata, &specs, &err));
    assert_int_equal(specs.count, 3);
    assert_int_equal(specs.all_count, ARRAY_LEN(expected));
    for (size_t i = 0; i < ARRAY_LEN(expected); i++) {
        assert_int_equal(specs.all[i].field_id, expected[i].id);
        assert_str(specs.all[i].name, expected[i].name);
        assert_int_equal(specs.all[i].transform, expected[i].transform);
        assert_int_equal(specs.all[i].type.kind, expected[i].kind);
    }
    assert_int_equal(specs.all[2].width, 16);
    const struct ice_partition_spec *newest = ice_partition_spec_by_id(&specs, 2);
    assert_int_equal(newest->fields[0].transform, ICE_VOID);
    assert_int_equal(newest->fields[2].transform, ICE_UNKNOWN); /* no schema has its column */
    assert_int_equal(newest->fields[3].transform, ICE_UNKNOWN);
    assert_null(ice_partition_spec_by_id(&specs, 7));
}

/** A key as the reader of manifests makes it. */
static void put_value(struct buf *key, const char *bytes, int64_t len)
{
    must(buf_append_bytes(key, &len, sizeof(len)), NULL);
    if (len > 0) {
        must(buf_append_bytes(key, bytes, (size_t)len), NULL);
    }
}

static void partition_values_are_found_by_field_id(void **state)
{
    AUTO(buf_done) struct buf key;
    struct ice_partition_specs specs;
    struct ice_partition_order order;
    struct ice_manifest manifest = {
        .avro_partition_schema = json_text(
            &arena, "{'type':'record','name':'r102','fields':[{'name':'b','type':'int'},"
                    "{'name':'s','type':'string','field-id':1000},"
                    "{'name':'m','type':'int','field-id':1001}]}")
    };
    buf_init(&key, 0);
    put_value(&key, "\x07\0\0\0\0\0\0\0", 8);
    put_value(&key, "owl", 3);
    put_value(&key, NULL, -1);
    struct ice_data_file file = { .partition_key = buf_str(&key) };
    MUST(ice_partition_specs(&arena, metadata, &specs, &err));
    MUST(ice_partition_order(&arena, &manifest, ice_partition_spec_by_id(&specs, 1), &order, &err));
    assert_int_equal(order.count, 3);
    assert_int_equal(order.ids[0], 1000); /* without an id it is that of its place */
    order.ids[0] = 1002;
    char scratch[8];
    bool there = false;
    struct str value;
    MUST(ice_partition_value(&file, &order, &specs.all[0], scratch, &there, &value, &err));
    assert_true(there);
    assert_str(value, "owl");
    MUST(ice_partition_value(&file, &order, &specs.all[1], scratch, &there, &value, &err));
    assert_true(there);
    assert_null(value.ptr);
    MUST(ice_partition_value(&file, &order, &specs.all[2], scratch, &there, &value, &err));
    assert_int_equal(value.len, 4);
    assert_int_equal(value.ptr[0], 7);
    MUST(ice_partition_value(&file, &order, &specs.all[3], scratch, &there, &value, &err));
    assert_false(there);
    for (size_t cut = 0; cut < key.len; cut++) { /* a record that ends early never passes */
        file.partition_key = str_take(buf_str(&key), cut);
        assert_int_equal(
            ice_partition_value(&file, &order, &specs.all[3], scratch, &there, &value, NULL),
            E_CORRUPT);
    }
}

static void records_are_made_anew_whoever_wrote_them(void **state)
{
    static const struct ice_partition_field fields[] = {
        { .field_id = 1000, .transform = ICE_IDENTITY, .type = { .kind = ICE_DOUBLE } },
        { .field_id = 1001, .transform = ICE_IDENTITY, .type = { .kind = ICE_INT } },
        { .field_id = 1002, .transform = ICE_IDENTITY, .type = { .kind = ICE_BINARY } },
        { .field_id = 1003, .transform = ICE_VOID, .type = { .kind = ICE_INT } },
    };
    const struct ice_partition_spec spec = { .id = 1,
                                             .fields = (struct ice_partition_field *)fields,
                                             .field_count = ARRAY_LEN(fields) };
    const struct ice_manifest manifest = {
        /* in another order, before a float became a double */
        .avro_partition_schema = json_text(&arena,
                                           "{'type':'record','name':'r102','fields':["
                                           "{'name':'i','type':['int','null'],'field-id':1001},"
                                           "{'name':'f','type':'float','field-id':1000},"
                                           "{'name':'b','type':'bytes','field-id':1002}]}")
    };
    AUTO(buf_done) struct buf key;
    struct ice_partition_record record;
    buf_init(&key, 0);
    put_value(&key, "\xff\xff\xff\xff\xff\xff\xff\xff", 8);
    put_value(&key, "\0\0\x20\x40", 4); /* 2.5 */
    put_value(&key, "x\0y", 3);
    struct ice_data_file file = { .partition_key = buf_str(&key) };
    struct ice_partition_order order;
    MUST(ice_partition_order(&arena, &manifest, &spec, &order, &err));
    MUST(ice_partition_record_of(&arena, &spec, &order, &file, &record, &err));
    static const char wanted[] = "\x02\0\0\0\0\0\0\x04\x40\x02\x01\x02\x06x\0y\0";
    assert_int_equal(record.avro.len, sizeof(wanted) - 1);
    assert_memory_equal(record.avro.ptr, wanted, sizeof(wanted) - 1);
    assert_int_equal(record.values[0].len, 8);
    assert_int_equal(record.values[1].len, 4);
    assert_null(record.values[3].ptr);
    buf_clear(&key);
    put_value(&key, "abc", 3); /* no number */
    put_value(&key, "\0\0\x20\x40", 4);
    put_value(&key, NULL, -1);
    file.partition_key = buf_str(&key);
    assert_int_equal(ice_partition_record_of(&arena, &spec, &order, &file, &record, NULL),
                     E_CORRUPT);
    file.partition_key = str_take(buf_str(&key), 20);
    assert_int_equal(ice_partition_record_of(&arena, &spec, &order, &file, &record, NULL),
                     E_CORRUPT);
}

static void partition_values_are_printed_for_people(void **state)
{
    static const struct {
        enum ice_transform transform;
        enum ice_kind kind;
        int64_t value;
        size_t len;
        const char *text;
    } cases[] = {
        { ICE_YEAR, ICE_INT, 54, 4, "2024" },
        { ICE_YEAR, ICE_INT, -1, 4, "1969" },
        { ICE_MONTH, ICE_INT, 0, 4, "1970-01" },
        { ICE_MONTH, ICE_INT, -1, 4, "1969-12" },
        { ICE_MONTH, ICE_INT, -12, 4, "1969-01" },
        { ICE_MONTH, ICE_INT, 647, 4, "2023-12" },
        { ICE_DAY, ICE_DATE, 1, 4, "1970-01-02" },
        { ICE_HOUR, ICE_INT, 25, 4, "1970-01-02-01" },
        { ICE_HOUR, ICE_INT, -1, 4, "1969-12-31-23" },
        { ICE_HOUR, ICE_INT, -24, 4, "1969-12-31-00" },
        { ICE_BUCKET, ICE_INT, 3, 4, "3" },
        { ICE_TRUNCATE, ICE_LONG, -10, 8, "-10" },
        { ICE_IDENTITY, ICE_TIMESTAMP, 1000000, 8, "1970-01-01T00:00:01" },
        { ICE_IDENTITY, ICE_TIMESTAMPTZ, 0, 8, "1970-01-01T00:00:00+00:00" },
        { ICE_IDENTITY, ICE_BINARY, 0x6c776f, 3, "b3ds" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO(buf_done) struct buf out;
        struct ice_partition_field field = { .transform = cases[i].transform,
                                             .type = { .kind = cases[i].kind } };
        buf_init(&out, 0);
        MUST(ice_partition_print(&field, str_from((const char *)&cases[i].value, cases[i].len),
                                 &out, &err));
        assert_string_equal(buf_cstr(&out), cases[i].text);
    }
}

/* --- what a value says of its column --- */

static struct ice_partition_range range_of(enum ice_transform transform, int32_t width,
                                           enum ice_kind source, struct str value)
{
    struct ice_partition_range range;
    const struct ice_partition_field field = { .transform = transform, .width = width };
    const struct ice_type type = { .kind = source, .precision = 9, .scale = 2 };
    MUST(ice_partition_range(&arena, &field, &type, value, &range, &err));
    return range;
}

static void assert_range(enum ice_transform transform, int32_t width, enum ice_kind source,
                         struct str value, const char *lower, const char *upper)
{
    const struct ice_type type = { .kind = source, .precision = 9, .scale = 2 };
    struct ice_partition_range range = range_of(transform, width, source, value);
    const struct str bounds[] = { range.lower, range.upper };
    const char *const expected[] = { lower, upper };
    assert_true(range.none_null && !range.all_null);
    for (size_t i = 0; i < ARRAY_LEN(bounds); i++) {
        AUTO(buf_done) struct buf text;
        buf_init(&text, 0);
        if (expected[i] == NULL) {
            assert_null(bounds[i].ptr);
            continue;
        }
        assert_non_null(bounds[i].ptr);
        MUST(ice_bound_print(&type, bounds[i], &text, &err));
        assert_string_equal(buf_cstr(&text), expected[i]);
    }
}

static struct str number(int64_t value, size_t len)
{
    struct str bytes = arena_str(&arena, str_from((const char *)&value, len));
    assert_non_null(bytes.ptr);
    return bytes;
}

static void partition_ranges_hold_what_was_put_into_them(void **state)
{
    assert_range(ICE_IDENTITY, 0, ICE_STRING, STR("owl"), "owl", "owl");
    assert_true(range_of(ICE_IDENTITY, 0, ICE_STRING, STR("owl")).is_value);
    assert_range(ICE_TRUNCATE, 10, ICE_LONG, number(-10, 8), "-10", "-1");
    assert_range(ICE_TRUNCATE, 10, ICE_INT, number(INT32_MAX - 7, 4), "2147483640", NULL);
    assert_range(ICE_TRUNCATE, 10, ICE_LONG, number(INT64_MAX - 3, 8), "9223372036854775804", NULL);
    assert_range(ICE_TRUNCATE, 50, ICE_DECIMAL, str_from("\x04\x1a", 2), "10.50", "10.99");
    assert_range(ICE_TRUNCATE, 100, ICE_DECIMAL, str_from("\x9c", 1), "-1.00", "-0.01");
    assert_range(ICE_TRUNCATE, 3, ICE_STRING, STR("ow"), "ow", "ow");
    assert_range(ICE_TRUNCATE, 2, ICE_STRING, STR("ow"), "ow", "ox");
    assert_range(ICE_TRUNCATE, 2, ICE_STRING, STR("o\x7f"), "o\x7f", "p");
    assert_range(ICE_TRUNCATE, 2, ICE_STRING, STR("\u00e9\u00bf"), "\u00e9\u00bf", "\u00ea");
    assert_range(ICE_TRUNCATE, 1, ICE_STRING, STR("\x7f"), "\x7f", NULL);
    assert_range(ICE_YEAR, 0, ICE_DATE, number(54, 4), "2024-01-01", "2024-12-31");
    assert_range(ICE_MONTH, 0, ICE_DATE, number(649, 4), "2024-02-01", "2024-02-29");
    assert_range(ICE_DAY, 0, ICE_DATE, number(-1, 4), "1969-12-31", "1969-12-31");
    assert_range(ICE_DAY, 0, ICE_TIMESTAMP, number(1, 4), "1970-01-02 00:00:00",
                 "1970-01-02 23:59:59.999999");
    assert_range(ICE_HOUR, 0, ICE_TIMESTAMP, number(25, 4), "1970-01-02 01:00:00",
                 "1970-01-02 01:59:59.999999");
    /* what a writer has rounded towards zero lies one before */
    assert_range(ICE_DAY, 0, ICE_TIMESTAMP, number(0, 4), "1969-12-31 00:00:00",
                 "1970-01-01 23:59:59.999999");
    assert_range(ICE_MONTH, 0, ICE_DATE, number(-1, 4), "1969-11-01", "1969-12-31");
    assert_range(ICE_BUCKET, 4, ICE_LONG, number(3, 4), NULL, NULL);
    assert_range(ICE_YEAR, 0, ICE_TIMESTAMP, number(INT32_MAX, 4), NULL, NULL);
}

static void partition_ranges_tell_of_nulls(void **state)
{
    const struct str null = { NULL, 0 };
    assert_true(range_of(ICE_BUCKET, 4, ICE_LONG, null).all_null);
    assert_true(range_of(ICE_DAY, 0, ICE_DATE, null).all_null);
    assert_false(range_of(ICE_VOID, 0, ICE_LONG, null).all_null);
    assert_false(range_of(ICE_UNKNOWN, 0, ICE_LONG, null).all_null);
    assert_false(range_of(ICE_UNKNOWN, 0, ICE_LONG, number(3, 4)).none_null);
}

/** "column:transform:desc:last ..." of what was read; or "?" for an error. */
static void check_shape(const char *text, bool sort, const char *expected)
{
    struct ice_shape_field *fields = NULL;
    size_t count = 0;
    AUTO(buf_done) struct buf said;
    buf_init(&said, 0);
    enum status status = ice_shape_parse(&arena, "what", str_of(text), sort, &fields, &count, &err);
    if (status != OK) {
        assert_int_equal(status, E_INVALID);
        assert_string_equal("?", expected);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        MUST(buf_printf(&said, "%s%.*s:%.*s:%d:%d", i == 0 ? "" : " ", STR_ARG(fields[i].column),
                        STR_ARG(fields[i].transform), fields[i].descending, fields[i].nulls_last));
    }
    assert_str(buf_str(&said), expected);
}

static void shapes_are_read_as_people_write_them(void **state)
{
    check_shape("a", false, "a:identity:0:0");
    check_shape(" day( ts ) ,Bucket(16, id),truncate(s.b, 4)", false,
                "ts:day:0:0 id:bucket[16]:0:0 s.b:truncate[4]:0:0");
    check_shape("a desc, b asc nulls last, c DESC NULLS FIRST, hour(t), d nulls first", true,
                "a:identity:1:1 b:identity:0:1 c:identity:1:0 t:hour:0:0 d:identity:0:0");
    static const char *const bad[] = { "",          ",",     "a,",          "week(a)",
                                       "bucket(a)", "day(",  "bucket(0,a)", "bucket(x,y)",
                                       "void(a)",   "day()", "bucket(4,)",  "year(a)b" };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        check_shape(bad[i], false, "?");
    }
}

/** The schema of the metadata, with a shape over it. */
static void shapes_become_specs_and_orders(void **state)
{
    AUTO(buf_done) struct buf json;
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    struct json_writer w;
    struct ice_shape_field *fields = NULL;
    size_t count = 0;
    struct ice_partition_spec spec;
    struct ice_sort_order order;
    struct str column = metadata->schema->root.fields[0].name;
    buf_init(&json, 0);
    struct str text = arena_printf(&arena, "bucket(8, %.*s)", STR_ARG(column));
    MUST(ice_shape_parse(&arena, "x", text, false, &fields, &count, &err));
    json_writer_init(&w, &json);
    jw_obj_begin(&w);
    jw_kv_obj(&w, "partition-spec");
    jw_key(&w, STR("fields"));
    MUST(ice_shape_write(&w, &arena, metadata->schema, fields, count, false, &err));
    jw_obj_end(&w);
    jw_kv_obj(&w, "write-order");
    fields[0].descending = true;
    jw_key(&w, STR("fields"));
    MUST(ice_shape_write(&w, &arena, metadata->schema, fields, count, true, &err));
    jw_obj_end(&w);
    jw_obj_end(&w);
    MUST(json_writer_end(&w));
    MUST(json_parse(buf_str(&json), &doc, &err));
    MUST(ice_shape_spec(&arena, metadata->schema, yyjson_doc_get_root(doc), &spec, &err));
    MUST(ice_shape_order(&arena, yyjson_doc_get_root(doc), &order, &err));
    assert_int_equal(spec.field_count, 1);
    assert_int_equal(spec.fields[0].transform, ICE_BUCKET);
    assert_int_equal(spec.fields[0].width, 8);
    assert_int_equal(spec.fields[0].source_id, metadata->schema->root.fields[0].id);
    assert_int_equal(order.id, 1);
    assert_int_equal(order.field_count, 1);
    assert_true(order.fields[0].descending);
    assert_false(order.fields[0].nulls_last);
    MUST(ice_shape_order(&arena, NULL, &order, &err));
    assert_int_equal(order.id, 0);
    fields[0].column = STR("nix");
    json_writer_init(&w, &json);
    assert_int_equal(ice_shape_write(&w, &arena, metadata->schema, fields, 1, false, &err),
                     E_INVALID);
}

static void a_void_field_of_a_column_that_is_gone_stays_void(void **state)
{
    struct ice_partition_spec spec;
    MUST(ice_partition_spec_parse(&arena, metadata->schema, 4,
                                  STR("[{\"source-id\":9999,\"field-id\":1000,\"name\":\"a\","
                                      "\"transform\":\"void\"},{\"source-id\":9999,\"field-id\":"
                                      "1001,\"name\":\"b\",\"transform\":\"day\"}]"),
                                  &spec, &err));
    assert_int_equal(spec.id, 4);
    assert_int_equal(spec.fields[0].transform, ICE_VOID);
    assert_int_equal(spec.fields[1].transform, ICE_UNKNOWN);
    assert_int_equal(ice_partition_spec_parse(&arena, metadata->schema, 4, STR("[1]"), &spec, &err),
                     E_CORRUPT);
    MUST(ice_partition_spec_parse(&arena, metadata->schema, 0, STR_EMPTY, &spec, &err));
    assert_int_equal(spec.field_count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(partition_specs_join_in_one_struct_by_field_id, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(partition_values_are_found_by_field_id, setup, teardown),
        cmocka_unit_test_setup_teardown(records_are_made_anew_whoever_wrote_them, setup, teardown),
        cmocka_unit_test_setup_teardown(partition_values_are_printed_for_people, setup, teardown),
        cmocka_unit_test_setup_teardown(partition_ranges_hold_what_was_put_into_them, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(partition_ranges_tell_of_nulls, setup, teardown),
        cmocka_unit_test_setup_teardown(shapes_are_read_as_people_write_them, setup, teardown),
        cmocka_unit_test_setup_teardown(shapes_become_specs_and_orders, setup, teardown),
        cmocka_unit_test_setup_teardown(a_void_field_of_a_column_that_is_gone_stays_void, setup,
                                        teardown),
    };
    return cmocka_run_group_tests_name("partition", tests, NULL, NULL);
}
