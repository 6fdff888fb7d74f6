/* Table metadata: parsing, new tables, edits that lose nothing, expiry, lookups, summaries,
 * names. */
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

static struct ice_metadata *parse(const char *text)
{
    struct ice_metadata *m = NULL;
    MUST(ice_metadata_parse(json_text(&arena, text), &m, &err));
    return m;
}

static struct ice_metadata *parse_out(void)
{
    struct ice_metadata *m = NULL;
    MUST(ice_metadata_parse(buf_str(&out), &m, &err));
    return m;
}

/** The text of a member of `m`'s document, without white space, double quotes as single ones. */
static const char *member(const struct ice_metadata *m, const char *name)
{
    yyjson_val *val = yyjson_obj_get(yyjson_doc_get_root(m->doc), name);
    if (val == NULL) {
        return NULL;
    }
    char *text = yyjson_val_write(val, 0, NULL);
    char *copy = arena_cstr(&arena, str_of(text));
    free(text);
    for (char *c = copy; *c != '\0'; c++) {
        *c = (char)(*c == '"' ? '\'' : *c);
    }
    return copy;
}

#define SCHEMA_A                                                                                   \
    "{'type':'struct','schema-id':0,'fields':[{'id':1,'name':'a','required':false,'type':'int'}]}"
#define HEAD(version)                                                                              \
    "{'format-version':" version                                                                   \
    ",'table-uuid':'9c12d441-03fe-4693-9a96-a0705ddf69c1','location':'s3://lake/t',"               \
    "'last-updated-ms':1600,'last-column-id':1,"
#define V2                                                                                         \
    HEAD("2")                                                                                      \
    "'last-sequence-number':3,'current-schema-id':0,'schemas':[" SCHEMA_A "],"                     \
    "'partition-specs':[{'spec-id':0,'fields':[]}],'default-spec-id':0,'last-partition-id':999,"   \
    "'sort-orders':[{'order-id':0,'fields':[],'x':1}],'default-sort-order-id':0"
#define SNAP(id, parent, seq, time)                                                                \
    "{'snapshot-id':" #id ",'parent-snapshot-id':" #parent ",'sequence-number':" #seq              \
    ",'timestamp-ms':" #time ",'manifest-list':'s3://l/" #id "',"                                  \
    "'summary':{'operation':'append','total-records':'10','total-data-files':'1','total-files-size':'7'},'schema-id':0,'key-id':'k'}"
#define LOG(id, time) "{'timestamp-ms':" #time ",'snapshot-id':" #id "}"
#define THREE                                                                                      \
    V2 ",'current-snapshot-id':30,'snapshots':[" SNAP(10, -1, 1, 1000) "," SNAP(                   \
        20, 10, 2,                                                                                 \
        1200) "," SNAP(30, 20, 3,                                                                  \
                       1500) "],"                                                                  \
                             "'snapshot-log':[" LOG(10, 1000) "," LOG(20, 1200) "," LOG(           \
                                 30,                                                               \
                                 1500) "],'refs':{'main':{'snapshot-id':30,'type':'branch','max-ref-age-ms':9}}"

static void new_table_parses_and_is_empty(void **state)
{
    (void)state;
    struct ice_schema schema = schema_of(&arena, SCHEMA_A);
    struct ice_property property = { STR("k"), STR("v\"") };
    MUST(ice_metadata_new(
        &(struct ice_new_table){ .uuid = STR("9c12d441-03fe-4693-9a96-a0705ddf69c1"),
                                 .location = STR("s3://lake/t"),
                                 .schema = &schema,
                                 .last_column_id = 1,
                                 .properties = &property,
                                 .property_count = 1,
                                 .now_ms = 1700000000000 },
        &out, &err));
    struct ice_metadata *m = parse_out();
    assert_int_equal(m->format_version, 2);
    assert_str(m->location, "s3://lake/t");
    assert_null(m->current);
    assert_int_equal(m->last_updated_ms, 1700000000000);
    assert_int_equal(m->last_partition_id, 999);
    assert_str(ice_metadata_property(m, STR("k")), "v\"");
    assert_null(ice_metadata_property(m, STR("none")).ptr);
    assert_null(ice_metadata_as_of(m, INT64_MAX));
    assert_non_null(ice_schema_by_name(m->schema, STR("a")));
    ice_metadata_unref(m);
}

static void version_1_is_read_leniently(void **state)
{
    (void)state;
    struct ice_metadata *m = parse(HEAD(
        "1") "'schema':{'type':'struct','fields':[{'id':1,'name':'a','required':true,'type':'int'}]},"
             "'partition-spec':[{'source-id':1,'name':'p','transform':'identity'}],'current-snapshot-id':5,"
             "'snapshots':[{'snapshot-id':5,'timestamp-ms':1500,'manifest-list':'s3://l/5'}]}");
    assert_int_equal(m->current->sequence_number, 0);
    assert_int_equal(m->current->schema_id, -1);
    assert_null(m->current->summary);
    assert_str(m->specs[0].fields_json,
               "[{\"source-id\":1,\"name\":\"p\",\"transform\":\"identity\",\"field-id\":1000}]");
    assert_ptr_equal(ice_metadata_by_ref(m, STR("main")), m->current);
    assert_ptr_equal(ice_metadata_as_of(m, 1500), m->current);
    struct ice_edit_result result;
    struct ice_schema schema = schema_of(&arena, SCHEMA_A);
    assert_int_equal(
        ice_metadata_edit(m, &(struct ice_edit){ .schema = &schema }, &arena, &out, &result, &err),
        E_UNSUPPORTED);
    struct ice_property set = { STR("k"), STR("v") };
    MUST(ice_metadata_edit(m, &(struct ice_edit){ .set_properties = &set, .set_count = 1 }, &arena,
                           &out, &result, &err));
    ice_metadata_unref(m);
    m = parse_out();
    assert_str(ice_metadata_property(m, STR("k")), "v");
    assert_null(member(m, "schemas"));
    ice_metadata_unref(m);
}

static void all_three_spellings_of_no_snapshot_are_read(void **state)
{
    (void)state;
    const char *const texts[] = { V2 "}", V2 ",'current-snapshot-id':-1}",
                                  V2 ",'current-snapshot-id':null,'snapshots':null,'refs':null}" };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct ice_metadata *m = parse(texts[i]);
        assert_null(m->current);
        assert_int_equal(m->snapshot_count, 0);
        ice_metadata_unref(m);
    }
}

static void broken_metadata_is_corrupt_and_later_versions_unsupported(void **state)
{
    (void)state;
    const struct {
        const char *text;
        enum status status;
    } cases[] = {
        { "", E_CORRUPT },
        { "[]", E_CORRUPT },
        { "{}", E_CORRUPT },
        { "{'format-version':4}", E_UNSUPPORTED },
        { "{'format-version':0}", E_CORRUPT },
        { HEAD("2") "'last-sequence-number':0}", E_CORRUPT },
        { V2 ",'current-snapshot-id':7}", E_CORRUPT },
        { V2 ",'snapshots':[" SNAP(1, -1, 1, 1) "," SNAP(1, -1, 1, 1) "]}", E_CORRUPT },
        { V2 ",'snapshots':[7]}", E_CORRUPT },
        { V2 ",'snapshot-log':[null]}", E_CORRUPT },
        { V2 ",'refs':{'a':1}}", E_CORRUPT },
        { V2 ",'refs':[]}", E_CORRUPT },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct ice_metadata *m = NULL;
        enum status status = ice_metadata_parse(json_text(&arena, cases[i].text), &m, &err);
        if (status != cases[i].status) {
            fail_msg("case %zu: %s %s", i, status_name(status), err.msg);
        }
        assert_null(m);
    }
}

static void edit_keeps_members_it_does_not_know(void **state)
{
    (void)state;
    struct ice_metadata *m = parse(
        THREE
        ",'statistics':[{'snapshot-id':20,'statistics-path':'p'}],'encryption-keys':[{'key-id':'k'}],"
        "'future':{'n':18446744073709551615,'i':-9223372036854775808,'f':1.5,'s':'\\u0000\\u00e9'},'properties':{'a':'1','b':'2'}}");
    struct ice_property set[] = { { STR("b"), STR("3") }, { STR("c"), STR("4") } };
    struct str removed = STR("a");
    struct ice_edit_result result;
    MUST(ice_metadata_edit(m,
                           &(struct ice_edit){ .set_properties = set,
                                               .set_count = 2,
                                               .remove_properties = &removed,
                                               .remove_count = 1,
                                               .previous_metadata_location = STR("s3://l/v1"),
                                               .now_ms = 1 },
                           &arena, &out, &result, &err));
    struct ice_metadata *n = parse_out();
    static const char *const same[] = { "sort-orders", "encryption-keys", "future", "statistics",
                                        "snapshots",   "snapshot-log",    "refs",   "schemas" };
    for (size_t i = 0; i < ARRAY_LEN(same); i++) {
        assert_string_equal(member(m, same[i]), member(n, same[i]));
    }
    assert_string_equal(
        member(n, "future"),
        "{'n':18446744073709551615,'i':-9223372036854775808,'f':1.5,'s':'\\u0000é'}");
    assert_string_equal(member(n, "properties"), "{'b':'3','c':'4'}");
    assert_string_equal(member(n, "metadata-log"),
                        "[{'timestamp-ms':1600,'metadata-file':'s3://l/v1'}]");
    /* a clock behind the table's does not turn it back */
    assert_int_equal(n->last_updated_ms, 1600);
    assert_int_equal(result.timestamp_ms, 1600);
    ice_metadata_unref(m);
    ice_metadata_unref(n);
}

static struct ice_new_snapshot new_snapshot(void)
{
    static const struct ice_property summary[] = { { STR_INIT("operation"), STR_INIT("append") } };
    return (struct ice_new_snapshot){ .id = 40,
                                      .sequence_number = 4,
                                      .manifest_list = STR("s3://l/40"),
                                      .summary = summary,
                                      .summary_count = 1 };
}

static void snapshot_becomes_current_on_main(void **state)
{
    (void)state;
    struct ice_metadata *m = parse(THREE "}");
    struct ice_new_snapshot snapshot = new_snapshot();
    struct ice_edit_result result;
    MUST(ice_metadata_edit(m, &(struct ice_edit){ .snapshot = &snapshot, .now_ms = 2000 }, &arena,
                           &out, &result, &err));
    struct ice_metadata *n = parse_out();
    assert_int_equal(n->current->id, 40);
    assert_int_equal(n->current->parent_id, 30);
    assert_int_equal(n->current->timestamp_ms, 2000);
    assert_int_equal(n->current->schema_id, 0);
    assert_int_equal(n->last_sequence_number, 4);
    assert_int_equal(n->last_updated_ms, 2000);
    assert_int_equal(n->log_count, 4);
    assert_string_equal(member(n, "refs"),
                        "{'main':{'snapshot-id':40,'type':'branch','max-ref-age-ms':9}}");
    assert_ptr_equal(ice_metadata_as_of(n, 1999), ice_metadata_snapshot(n, 30));
    assert_true(ice_metadata_is_ancestor(n, 10, 40));
    assert_false(ice_metadata_is_ancestor(n, 40, 10));
    ice_metadata_unref(n);
    snapshot.id = 30;
    assert_int_equal(ice_metadata_edit(m, &(struct ice_edit){ .snapshot = &snapshot }, &arena, &out,
                                       &result, &err),
                     E_CONFLICT);
    snapshot = new_snapshot();
    snapshot.sequence_number = 3;
    assert_int_equal(ice_metadata_edit(m, &(struct ice_edit){ .snapshot = &snapshot }, &arena, &out,
                                       &result, &err),
                     E_CONFLICT);
    ice_metadata_unref(m);
}

static void first_snapshot_has_no_parent(void **state)
{
    (void)state;
    struct ice_metadata *m = parse(V2 "}");
    struct ice_new_snapshot snapshot = new_snapshot();
    struct ice_edit_result result;
    MUST(ice_metadata_edit(m, &(struct ice_edit){ .snapshot = &snapshot, .now_ms = 2000 }, &arena,
                           &out, &result, &err));
    struct ice_metadata *n = parse_out();
    assert_int_equal(n->current->parent_id, -1);
    assert_null(strstr(member(n, "snapshots"), "parent"));
    assert_string_equal(member(n, "snapshot-log"), "[{'timestamp-ms':2000,'snapshot-id':40}]");
    ice_metadata_unref(n);
    ice_metadata_unref(m);
}

static void schema_change_adds_one_and_reuses_an_identical_one(void **state)
{
    (void)state;
    struct ice_metadata *m = parse(THREE "}");
    struct ice_schema wide = schema_of(
        &arena, "{'type':'struct','fields':[{'id':1,'name':'a','required':false,'type':'long'},"
                "{'id':2,'name':'b','required':false,'type':'string','write-default':'x'}]}");
    struct ice_edit_result result;
    MUST(ice_metadata_edit(m, &(struct ice_edit){ .schema = &wide, .last_column_id = 2 }, &arena,
                           &out, &result, &err));
    assert_int_equal(result.schema_id, 1);
    struct ice_metadata *n = parse_out();
    assert_int_equal(n->current_schema_id, 1);
    assert_int_equal(n->schema_count, 2);
    assert_int_equal(n->last_column_id, 2);
    assert_non_null(strstr(member(n, "schemas"), "'write-default':'x'"));
    buf_clear(&out);
    struct ice_schema old = schema_of(&arena, SCHEMA_A);
    MUST(ice_metadata_edit(n, &(struct ice_edit){ .schema = &old }, &arena, &out, &result, &err));
    assert_int_equal(result.schema_id, 0);
    struct ice_metadata *o = parse_out();
    assert_int_equal(o->schema_count, 2);
    assert_int_equal(o->current_schema_id, 0);
    assert_int_equal(o->last_column_id, 2);
    ice_metadata_unref(m);
    ice_metadata_unref(n);
    ice_metadata_unref(o);
}

static void expiry_by_count_takes_the_oldest_and_cuts_the_log(void **state)
{
    (void)state;
    struct ice_metadata *m = parse(
        THREE ",'statistics':[{'snapshot-id':10,'x':1},{'snapshot-id':30,'x':2}]}");
    struct ice_new_snapshot snapshot = new_snapshot();
    struct ice_edit_result result;
    MUST(ice_metadata_edit(
        m, &(struct ice_edit){ .snapshot = &snapshot, .snapshots_max = 2, .now_ms = 2000 }, &arena,
        &out, &result, &err));
    assert_int_equal(result.expired_count, 2);
    assert_int_equal(result.expired[0].id, 10);
    assert_str(result.expired[1].manifest_list, "s3://l/20");
    struct ice_metadata *n = parse_out();
    assert_int_equal(n->snapshot_count, 2);
    assert_string_equal(
        member(n, "snapshot-log"),
        "[{'timestamp-ms':1500,'snapshot-id':30},{'timestamp-ms':2000,'snapshot-id':40}]");
    assert_string_equal(member(n, "statistics"), "[{'snapshot-id':30,'x':2}]");
    assert_null(ice_metadata_as_of(n, 1200));
    assert_true(ice_metadata_is_ancestor(n, 10, 40)); /* a chain cut by expiry */
    assert_false(ice_metadata_is_ancestor(n, 40, 30));
    ice_metadata_unref(n);
    ice_metadata_unref(m);
}

static void expiry_by_age_keeps_what_is_young(void **state)
{
    (void)state;
    struct ice_metadata *m = parse(THREE "}");
    struct ice_new_snapshot snapshot = new_snapshot();
    struct ice_edit_result result;
    MUST(ice_metadata_edit(
        m, &(struct ice_edit){ .snapshot = &snapshot, .snapshot_age_max_ms = 800, .now_ms = 2000 },
        &arena, &out, &result, &err));
    assert_int_equal(result.expired_count, 1); /* 1200 is exactly 800 old */
    assert_int_equal(result.expired[0].id, 10);
    ice_metadata_unref(m);
}

/* Main's history is 10, 20, 30; `refs` as given. */
#define THREE_WITH(refs)                                                                           \
    V2 ",'current-snapshot-id':30,'snapshots':[" SNAP(10, -1, 1, 1000) "," SNAP(                   \
        20, 10, 2, 1200) "," SNAP(30, 20, 3, 1500) "],'refs':{" refs "}}"

static void expiry_obeys_tags_branches_and_settings(void **state)
{
    (void)state;
    const struct {
        const char *text;
        size_t expired;
    } cases[] = {
        { THREE_WITH("'main':{'snapshot-id':30,'type':'branch'},"
                     "'t':{'snapshot-id':20,'type':'tag'}"),
          2 },
        { THREE_WITH("'main':{'snapshot-id':30,'type':'branch'},"
                     "'b':{'snapshot-id':20,'type':'branch'}"),
          1 },
        { THREE_WITH("'main':{'snapshot-id':30,'type':'branch','min-snapshots-to-keep':3}"), 1 },
        { THREE ",'properties':{'history.expire.min-snapshots-to-keep':'4'}}", 0 },
        { THREE ",'properties':{'history.expire.min-snapshots-to-keep':'9223372036854775807'}}",
          0 },
        { THREE ",'properties':{'gc.enabled':'false'}}", 0 },
        { THREE "}", 3 },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct ice_metadata *m = parse(cases[i].text);
        struct ice_new_snapshot snapshot = new_snapshot();
        struct ice_edit_result result;
        struct ice_edit edit = { .snapshot = &snapshot, .snapshots_max = 1, .now_ms = 2000 };
        buf_clear(&out);
        MUST(ice_metadata_edit(m, &edit, &arena, &out, &result, &err));
        assert_int_equal(result.expired_count, cases[i].expired);
        ice_metadata_unref(m);
        ice_metadata_unref(parse_out());
    }
}

static void metadata_log_is_bounded_and_says_what_fell_out(void **state)
{
    (void)state;
    struct ice_metadata *m = parse(
        V2
        ",'metadata-log':[{'timestamp-ms':1,'metadata-file':'f1'},{'timestamp-ms':2,'metadata-file':'f2'}]}");
    struct ice_edit_result result;
    MUST(ice_metadata_edit(
        m, &(struct ice_edit){ .previous_metadata_location = STR("f3"), .metadata_log_max = 2 },
        &arena, &out, &result, &err));
    assert_int_equal(result.dropped_metadata_count, 1);
    assert_str(result.dropped_metadata[0], "f1");
    struct ice_metadata *n = parse_out();
    assert_string_equal(
        member(n, "metadata-log"),
        "[{'timestamp-ms':2,'metadata-file':'f2'},{'timestamp-ms':1600,'metadata-file':'f3'}]");
    ice_metadata_unref(m);
    ice_metadata_unref(n);
}

static void property_both_set_and_removed_is_invalid(void **state)
{
    (void)state;
    struct ice_metadata *m = parse(V2 "}");
    struct ice_property set = { STR("k"), STR("v") };
    struct str removed = STR("k");
    struct ice_edit_result result;
    assert_int_equal(ice_metadata_edit(m,
                                       &(struct ice_edit){ .set_properties = &set,
                                                           .set_count = 1,
                                                           .remove_properties = &removed,
                                                           .remove_count = 1 },
                                       &arena, &out, &result, &err),
                     E_INVALID);
    ice_metadata_unref(m);
}

static void rolled_back_snapshot_is_no_ancestor_though_the_chain_is_cut(void **state)
{
    (void)state;
    /* 20 was rolled back, 30 stands on 10, and 10 has expired. */
    struct ice_metadata *m = parse(V2 ",'current-snapshot-id':40,'snapshots':[" SNAP(
        20, 10, 2, 1200) "," SNAP(40, 10, 2, 1500) "]}");
    assert_false(ice_metadata_is_ancestor(m, 20, 40));
    assert_true(ice_metadata_is_ancestor(m, 10, 40));
    ice_metadata_unref(m);
    m = parse(V2 ",'snapshots':[" SNAP(1, 2, 1, 1) "," SNAP(2, 1, 2, 2) "]}"); /* a circle ends */
    assert_false(ice_metadata_is_ancestor(m, 3, 1));
    ice_metadata_unref(m);
}

static struct str value_of(const struct ice_property *list, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (str_eq(list[i].name, str_of(name))) {
            return list[i].value;
        }
    }
    return (struct str){ NULL, 0 };
}

static void append_summary_has_running_totals(void **state)
{
    (void)state;
    struct ice_metadata *m = parse(THREE "}");
    struct ice_data_file files[2] = { { .path = STR("a"), .record_count = 5, .size_bytes = 100 },
                                      { .path = STR("b"), .record_count = 6, .size_bytes = 200 } };
    struct ice_property extra = { STR("lakehouse.batch"), STR("x") };
    struct ice_property *list = NULL;
    size_t count = 0;
    MUST(ice_append_summary(&arena, m->current, files, 2, &extra, 1, &list, &count, &err));
    assert_str(list[0].name, "operation");
    assert_str(value_of(list, count, "added-records"), "11");
    assert_str(value_of(list, count, "total-records"), "21");
    assert_str(value_of(list, count, "total-data-files"), "3");
    assert_str(value_of(list, count, "total-files-size"), "307");
    assert_str(value_of(list, count, "lakehouse.batch"), "x");
    assert_null(value_of(list, count, "total-delete-files").ptr); /* the parent does not say */
    MUST(ice_append_summary(&arena, NULL, files, 2, NULL, 0, &list, &count, &err));
    assert_str(value_of(list, count, "total-delete-files"), "0");
    assert_str(value_of(list, count, "total-equality-deletes"), "0");
    ice_metadata_unref(m);
}

static void names_are_what_readers_expect(void **state)
{
    (void)state;
    struct str name;
    char slug[41];
    MUST(ice_metadata_name(&arena, 3, STR("u"), &name));
    assert_str(name, "00003-u.metadata.json");
    for (int i = 0; i < 1000; i++) {
        int64_t id = ice_snapshot_id(NULL);
        assert_true(id > 0 && id < ((int64_t)1 << 53));
    }
    ice_slug(STR("My Table#1/ü?"), slug);
    assert_string_equal(slug, "my-table-1");
    ice_slug(STR("//"), slug);
    assert_string_equal(slug, "x");
    ice_slug(STR("0123456789012345678901234567890123456789abc"), slug);
    assert_int_equal(strlen(slug), 40);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(new_table_parses_and_is_empty, setup, teardown),
        cmocka_unit_test_setup_teardown(version_1_is_read_leniently, setup, teardown),
        cmocka_unit_test_setup_teardown(all_three_spellings_of_no_snapshot_are_read, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(broken_metadata_is_corrupt_and_later_versions_unsupported,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(edit_keeps_members_it_does_not_know, setup, teardown),
        cmocka_unit_test_setup_teardown(snapshot_becomes_current_on_main, setup, teardown),
        cmocka_unit_test_setup_teardown(first_snapshot_has_no_parent, setup, teardown),
        cmocka_unit_test_setup_teardown(schema_change_adds_one_and_reuses_an_identical_one, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(expiry_by_count_takes_the_oldest_and_cuts_the_log, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(expiry_by_age_keeps_what_is_young, setup, teardown),
        cmocka_unit_test_setup_teardown(expiry_obeys_tags_branches_and_settings, setup, teardown),
        cmocka_unit_test_setup_teardown(metadata_log_is_bounded_and_says_what_fell_out, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(property_both_set_and_removed_is_invalid, setup, teardown),
        cmocka_unit_test_setup_teardown(rolled_back_snapshot_is_no_ancestor_though_the_chain_is_cut,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(append_summary_has_running_totals, setup, teardown),
        cmocka_unit_test_setup_teardown(names_are_what_readers_expect, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
