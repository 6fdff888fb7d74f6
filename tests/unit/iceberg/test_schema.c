/* Schemas: JSON, ids, fingerprints, fitting a file to a table. */
#include "helper.h"

static struct arena arena;
static struct buf out;
static struct err err;

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, 0);
    buf_init(&out, 0);
    err = (struct err){ 0 };
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_done(&arena);
    buf_done(&out);
    return 0;
}

/** The JSON of a schema with single quotes. */
static const char *text_of(const struct ice_schema *schema)
{
    struct json_writer w;
    buf_clear(&out);
    json_writer_init(&w, &out);
    ice_schema_write(&w, schema);
    MUST(json_writer_end(&w));
    char *copy = arena_cstr(&arena, buf_str(&out));
    for (char *c = copy; *c != '\0'; c++) {
        *c = (char)(*c == '"' ? '\'' : *c);
    }
    return copy;
}

#define ALL_TYPES                                                                                  \
    "{'type':'struct','schema-id':7,'identifier-field-ids':[1,2],'fields':[{'id':1,"               \
    "'name':'b','required':true,'type':'boolean','doc':'says é'},{'id':2,'name':'i',"              \
    "'required':true,'type':'int','write-default':5},{'id':3,'name':'d','required':false,"         \
    "'type':'decimal(9, 2)'},{'id':4,'name':'f','required':false,'type':'fixed[16]'},"             \
    "{'id':5,'name':'l','required':false,'type':{'type':'list','element-id':8,"                    \
    "'element':'string','element-required':true}},{'id':6,'name':'m','required':false,"            \
    "'type':{'type':'map','key-id':9,'key':'string','value-id':10,'value':'long',"                 \
    "'value-required':false}},{'id':7,'name':'s','required':false,"                                \
    "'type':{'type':'struct','fields':[{'id':11,'name':'x','required':false,"                      \
    "'type':'timestamptz'}]}},{'id':12,'name':'o','required':false,"                               \
    "'type':'timestamp_ns'}]}"

static void schema_is_written_as_it_was_read(void **state)
{
    (void)state;
    struct ice_schema schema = schema_of(&arena, ALL_TYPES);
    assert_string_equal(text_of(&schema), ALL_TYPES);
    assert_int_equal(ice_schema_max_id(&schema), 12);
    assert_int_equal(ice_schema_by_id(&schema, 11)->type.kind, ICE_TIMESTAMPTZ);
    assert_int_equal(ice_schema_by_name(&schema, STR("o"))->type.kind, ICE_OTHER);
    assert_null(ice_schema_by_name(&schema, STR("x")));
    assert_null(ice_schema_by_id(&schema, 99));
    assert_true(ice_schema_same(&schema, &schema));
}

static void types_are_printed_for_people(void **state)
{
    (void)state;
    struct ice_schema schema = schema_of(&arena, ALL_TYPES);
    MUST(ice_type_print(&schema.root, &out));
    assert_str(
        buf_str(&out),
        "struct<b: boolean, i: int, d: decimal(9, 2), f: fixed[16], l: list<string>, m: map<string, long>, "
        "s: struct<x: timestamptz>, o: timestamp_ns>");
}

static void decimal_and_fixed_are_read_in_any_spacing(void **state)
{
    (void)state;
    struct ice_schema schema = schema_of(
        &arena,
        "{'type':'struct','fields':[{'id':1,'name':'a','required':false,'type':'decimal(9,2)'},"
        "{'id':2,'name':'b','required':false,'type':'decimal( 38 , 0 )'},{'id':3,'name':'c','type':'fixed[ 4 ]'}]}");
    assert_int_equal(schema.root.fields[0].type.scale, 2);
    assert_int_equal(schema.root.fields[1].type.precision, 38);
    assert_int_equal(schema.root.fields[2].type.length, 4);
}

static void broken_schema_is_invalid(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "7",
        "{'type':'struct'}",
        "{'type':'list','element-id':1,'element':'int'}",
        "{'type':'struct','fields':[1]}",
        "{'type':'struct','fields':[{'id':1,'name':'a'}]}",
        "{'type':'struct','fields':[{'id':1,'type':'int'}]}",
        "{'type':'struct','fields':[{'id':1,'name':'a','type':'decimal(39, 0)'}]}",
        "{'type':'struct','fields':[{'id':1,'name':'a','type':'decimal(3, 4)'}]}",
        "{'type':'struct','fields':[{'id':1,'name':'a','type':'fixed[0]'}]}",
        "{'type':'struct','fields':[{'id':1,'name':'a','type':{'type':'list'}}]}",
        "{'type':'struct','fields':[{'id':1,'name':'a','type':{'type':'cube'}}]}",
        "{'type':'struct','fields':[{'id':5000000000,'name':'a','type':'int'}]}",
        "{'type':'struct','schema-id':5000000000,'fields':[]}",
        "{'type':'struct','identifier-field-ids':['a'],'fields':[]}",
    };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        yyjson_doc *doc = NULL;
        struct ice_schema schema;
        MUST(json_parse(json_text(&arena, texts[i]), &doc, &err));
        enum status status = ice_schema_parse(&arena, yyjson_doc_get_root(doc), &schema, &err);
        yyjson_doc_free(doc);
        if (status != E_INVALID) {
            fail_msg("%s", texts[i]);
        }
    }
}

static void fresh_ids_go_level_by_level(void **state)
{
    (void)state;
    struct ice_schema schema = schema_of(
        &arena,
        "{'type':'struct','identifier-field-ids':[70],'fields':[{'id':90,'name':'s','required':false,'type':{'type':'struct','fields':["
        "{'id':70,'name':'x','required':true,'type':'int'}]}},{'id':80,'name':'m','required':false,'type':{'type':'map','key-id':1,'key':'string',"
        "'value-id':2,'value':{'type':'list','element-id':3,'element':'int','element-required':false},'value-required':false}}]}");
    struct ice_schema fresh;
    int32_t last = 0;
    MUST(ice_schema_assign_ids(&arena, &schema, &last, &fresh, &err));
    assert_int_equal(last, 6);
    assert_int_equal(fresh.root.fields[0].id, 1);
    assert_int_equal(fresh.root.fields[1].id, 2);
    assert_int_equal(fresh.root.fields[0].type.fields[0].id, 3);
    assert_int_equal(fresh.root.fields[1].type.fields[0].id, 4);
    assert_int_equal(fresh.root.fields[1].type.fields[1].id, 5);
    assert_int_equal(fresh.root.fields[1].type.fields[1].type.fields[0].id, 6);
    assert_int_equal(fresh.identifier_ids[0], 3);
    assert_int_equal(schema.root.fields[0].id, 90); /* the original stays */
}

static void doubled_and_empty_names_get_no_ids(void **state)
{
    (void)state;
    struct ice_schema twice = schema_of(
        &arena,
        "{'type':'struct','fields':[{'id':1,'name':'a','type':'int'},{'id':2,'name':'a','type':'int'}]}");
    struct ice_schema empty = schema_of(
        &arena, "{'type':'struct','fields':[{'id':1,'name':'','type':'int'}]}");
    struct ice_schema fresh;
    int32_t last = 0;
    assert_int_equal(ice_schema_assign_ids(&arena, &twice, &last, &fresh, &err), E_INVALID);
    assert_int_equal(ice_schema_assign_ids(&arena, &empty, &last, &fresh, &err), E_INVALID);
    assert_int_equal(last, 0);
}

static void fingerprint_is_over_names_types_and_flags(void **state)
{
    (void)state;
    struct ice_schema schema = schema_of(
        &arena,
        "{'type':'struct','fields':[{'id':1,'name':'a','required':true,'type':'int'},{'id':2,'name':'b','required':false,'type':'string'}]}");
    struct ice_schema other_ids = schema_of(
        &arena,
        "{'type':'struct','fields':[{'id':3,'name':'a','required':true,'type':'int'},{'id':4,'name':'b','required':false,'type':'string'}]}");
    struct ice_schema other_flag = schema_of(
        &arena,
        "{'type':'struct','fields':[{'id':1,'name':'a','required':false,'type':'int'},{'id':2,'name':'b','required':false,'type':'string'}]}");
    char a[65];
    char b[65];
    MUST(ice_schema_fingerprint(&schema, a, &err));
    /* printf 'a:int:true\nb:string:false\n' | sha256sum */
    assert_string_equal(a, "a7e7d6498fa1dc596e381c712ba8b722ef6abc66cd1dbb5f20a57f6c52d404d5");
    MUST(ice_schema_fingerprint(&other_ids, b, &err));
    assert_string_equal(a, b);
    MUST(ice_schema_fingerprint(&other_flag, b, &err));
    assert_string_not_equal(a, b);
}

#define TABLE                                                                                      \
    "{'type':'struct','fields':[{'id':1,'name':'a','required':true,'type':'long'},"                \
    "{'id':2,'name':'b','required':false,'type':'int'},{'id':3,'name':'s',"                        \
    "'required':false,'type':{'type':'struct','fields':[{'id':4,'name':'x',"                       \
    "'required':false,'type':'decimal(5, 2)'}]}}]}"

static enum status fit(const char *file, bool evolve, struct ice_schema *result, bool *changed,
                       int32_t *last)
{
    struct ice_schema table = schema_of(&arena, TABLE);
    struct ice_schema other = schema_of(&arena, file);
    return ice_schema_fit(&arena, &table, &other, evolve, last, result, changed, &err);
}

static void file_with_fewer_or_narrower_columns_fits(void **state)
{
    (void)state;
    struct ice_schema result;
    bool changed = true;
    int32_t last = 4;
    MUST(fit("{'type':'struct','fields':[{'id':0,'name':'a','required':false,'type':'int'}]}",
             false, &result, &changed, &last));
    assert_false(changed);
    assert_int_equal(last, 4);
    MUST(fit(
        "{'type':'struct','fields':[{'id':0,'name':'s','type':{'type':'struct','fields':[{'id':0,'name':'x','type':'decimal(4, 2)'}]}},"
        "{'id':0,'name':'a','type':'long'}]}",
        true, &result, &changed, &last));
    assert_false(changed);
}

static void every_difference_is_named_at_once(void **state)
{
    (void)state;
    struct ice_schema result;
    bool changed = false;
    int32_t last = 4;
    assert_int_equal(
        fit("{'type':'struct','fields':[{'id':0,'name':'b','type':'long'},{'id':0,'name':'new','type':'int'},{'id':0,'name':'B','type':'int'},"
            "{'id':0,'name':'s','type':{'type':'struct','fields':[{'id':0,'name':'x','type':'decimal(5, 3)'}]}}]}",
            false, &result, &changed, &last),
        E_CONFLICT);
    assert_string_equal(
        err.msg,
        "the file does not fit the table: column \"a\" is required in the table and missing in the file; column \"b\" is long in the file and int in the table; "
        "column \"s.x\" is decimal(5, 3) in the file and decimal(5, 2) in the table; column \"new\" is not in the table; "
        "column \"B\" differs from the table's column only by case");
    assert_int_equal(last, 4);
}

static void evolution_adds_optional_columns_and_widens(void **state)
{
    (void)state;
    struct ice_schema result;
    bool changed = false;
    int32_t last = 4;
    MUST(fit(
        "{'type':'struct','fields':[{'id':0,'name':'a','type':'int'},{'id':0,'name':'b','type':'long'},"
        "{'id':0,'name':'n','required':true,'type':{'type':'list','element-id':0,'element':'int','element-required':false}},"
        "{'id':0,'name':'s','type':{'type':'struct','fields':[{'id':0,'name':'y','type':'date'},{'id':0,'name':'x','type':'decimal(9, 2)'}]}}]}",
        true, &result, &changed, &last));
    assert_true(changed);
    assert_string_equal(
        text_of(&result),
        "{'type':'struct','schema-id':0,'fields':[{'id':1,'name':'a','required':true,'type':'long'},{'id':2,'name':'b','required':false,'type':'long'},"
        "{'id':3,'name':'s','required':false,'type':{'type':'struct','fields':[{'id':4,'name':'x','required':false,'type':'decimal(9, 2)'},"
        "{'id':5,'name':'y','required':false,'type':'date'}]}},"
        "{'id':6,'name':'n','required':false,'type':{'type':'list','element-id':7,'element':'int','element-required':false}}]}");
    assert_int_equal(last, 7);
}

static void evolution_stops_where_iceberg_does(void **state)
{
    (void)state;
    static const char *const files[] = {
        "{'type':'struct','fields':[{'id':0,'name':'a','type':'double'}]}",
        "{'type':'struct','fields':[{'id':0,'name':'a','type':'string'}]}",
        "{'type':'struct','fields':[{'id':0,'name':'b','type':'int'}]}",
        "{'type':'struct','fields':[{'id':0,'name':'a','type':'long'},{'id':0,'name':'s','type':'string'}]}",
        "{'type':'struct','fields':[{'id':0,'name':'a','type':'long'},{'id':0,'name':'n','type':'int'},{'id':0,'name':'n','type':'int'}]}",
    };
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        struct ice_schema result;
        bool changed = false;
        int32_t last = 4;
        assert_int_equal(fit(files[i], true, &result, &changed, &last), E_CONFLICT);
    }
}

static void map_keys_never_evolve(void **state)
{
    (void)state;
    struct ice_schema table = schema_of(
        &arena,
        "{'type':'struct','fields':[{'id':1,'name':'m','type':{'type':'map','key-id':2,'key':'int','value-id':3,'value':'int'}}]}");
    struct ice_schema keys = schema_of(
        &arena,
        "{'type':'struct','fields':[{'id':0,'name':'m','type':{'type':'map','key-id':0,'key':'long','value-id':0,'value':'int'}}]}");
    struct ice_schema values = schema_of(
        &arena,
        "{'type':'struct','fields':[{'id':0,'name':'m','type':{'type':'map','key-id':0,'key':'int','value-id':0,'value':'long'}}]}");
    struct ice_schema result;
    bool changed = false;
    int32_t last = 3;
    assert_int_equal(ice_schema_fit(&arena, &table, &keys, true, &last, &result, &changed, &err),
                     E_CONFLICT);
    MUST(ice_schema_fit(&arena, &table, &values, true, &last, &result, &changed, &err));
    assert_int_equal(result.root.fields[0].type.fields[1].type.kind, ICE_LONG);
}

/** A schema with one column, an integer in so many structs and lists by turns. */
static void nest(struct ice_schema *schema, struct ice_field *fields, unsigned depth)
{
    *schema = (struct ice_schema){
        .root = { .kind = ICE_STRUCT, .field_count = 1, .fields = &fields[0] }
    };
    for (unsigned i = 0; i < depth; i++) {
        fields[i] = (struct ice_field){ .name = STR("element"),
                                        .type = { .kind = i % 4 != 3 ? ICE_STRUCT : ICE_LIST,
                                                  .field_count = 1,
                                                  .fields = &fields[i + 1] } };
    }
    fields[depth] = (struct ice_field){ .name = STR("element"), .type = { .kind = ICE_INT } };
    fields[0].name = STR("deep");
}

static void what_passes_the_check_of_depth_is_written_and_read(void **state)
{
    (void)state;
    struct ice_field fields[ICE_TYPE_DEPTH_MAX + 2];
    struct ice_schema schema;
    nest(&schema, fields, ICE_TYPE_DEPTH_MAX);
    MUST(ice_schema_check_depth(&schema, &err));
    struct ice_schema again = schema_of(&arena, text_of(&schema));
    assert_true(ice_schema_same(&schema, &again));
    nest(&schema, fields, ICE_TYPE_DEPTH_MAX + 1);
    assert_int_equal(ice_schema_check_depth(&schema, &err), E_INVALID);
    assert_string_equal(err.msg, "column \"deep\" is nested deeper than 24");
}

static void name_mapping_covers_nested_fields(void **state)
{
    (void)state;
    struct ice_schema schema = schema_of(&arena, TABLE);
    MUST(ice_name_mapping_write(&schema, &out));
    assert_str(buf_str(&out),
               "[{\"field-id\":1,\"names\":[\"a\"]},{\"field-id\":2,\"names\":[\"b\"]},"
               "{\"field-id\":3,\"names\":[\"s\"],"
               "\"fields\":[{\"field-id\":4,\"names\":[\"x\"]}]}]");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(schema_is_written_as_it_was_read, setup, teardown),
        cmocka_unit_test_setup_teardown(types_are_printed_for_people, setup, teardown),
        cmocka_unit_test_setup_teardown(decimal_and_fixed_are_read_in_any_spacing, setup, teardown),
        cmocka_unit_test_setup_teardown(broken_schema_is_invalid, setup, teardown),
        cmocka_unit_test_setup_teardown(fresh_ids_go_level_by_level, setup, teardown),
        cmocka_unit_test_setup_teardown(doubled_and_empty_names_get_no_ids, setup, teardown),
        cmocka_unit_test_setup_teardown(fingerprint_is_over_names_types_and_flags, setup, teardown),
        cmocka_unit_test_setup_teardown(file_with_fewer_or_narrower_columns_fits, setup, teardown),
        cmocka_unit_test_setup_teardown(every_difference_is_named_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(evolution_adds_optional_columns_and_widens, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(evolution_stops_where_iceberg_does, setup, teardown),
        cmocka_unit_test_setup_teardown(map_keys_never_evolve, setup, teardown),
        cmocka_unit_test_setup_teardown(what_passes_the_check_of_depth_is_written_and_read, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(name_mapping_covers_nested_fields, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
