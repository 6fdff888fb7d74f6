/* Changes of other programs: requirements, repeats, each update, a new table, and hostile ones. */
#include "helper.h"

#include "base/mem.h"
#include "iceberg/change.h"

static struct arena arena;
static struct buf out;
static struct err err;
static yyjson_doc *docs[64];
static size_t doc_count;

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, 0);
    buf_init(&out, 0);
    err = (struct err){ 0 };
    doc_count = 0;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    while (doc_count > 0) {
        yyjson_doc_free(docs[--doc_count]);
    }
    arena_done(&arena);
    buf_done(&out);
    return 0;
}

/** A value that lives until the test ends. */
static yyjson_val *val_of(struct str text)
{
    assert_true(doc_count < ARRAY_LEN(docs));
    MUST(json_parse(text, &docs[doc_count], &err));
    return yyjson_doc_get_root(docs[doc_count++]);
}

static yyjson_val *val(const char *text)
{
    return text == NULL ? NULL : val_of(json_text(&arena, text));
}

#define UUID "9c12d441-03fe-4693-9a96-a0705ddf69c1"
#define SCHEMA                                                                                     \
    "{'type':'struct','schema-id':0,'fields':[{'id':1,'name':'a','required':true,'type':'long'},"  \
    "{'id':2,'name':'b','required':false,'type':'string'}]}"
#define SNAPSHOT(id, sequence, parent)                                                             \
    "{'snapshot-id':" id ",'sequence-number':" sequence ",'timestamp-ms':2000,'schema-id':0,"      \
    "'manifest-list':'s3://l/" id ".avro','summary':{'operation':'append'}" parent "}"
#define TABLE(version, more)                                                                       \
    "{'format-version':" version ",'table-uuid':'" UUID "','location':'s3://lake/t',"              \
    "'last-sequence-number':1,'last-updated-ms':2000,'last-column-id':2,'current-schema-id':0,"    \
    "'schemas':[" SCHEMA "],'default-spec-id':0,'partition-specs':[{'spec-id':0,'fields':[]}],"    \
    "'last-partition-id':999,'default-sort-order-id':0,"                                           \
    "'sort-orders':[{'order-id':0,'fields':[]}],'properties':{'owner':'me'},"                      \
    "'current-snapshot-id':7,'snapshots':[" SNAPSHOT(                                              \
        "7", "1", "") "],"                                                                         \
                      "'refs':{'main':{'snapshot-id':7,'type':'branch'}},"                         \
                      "'snapshot-log':[{'timestamp-ms':2000,'snapshot-id':7}],'metadata-log':[],"  \
                      "'x-unknown':{'big':9007199254740993,'deep':[1,{'a':null}]}" more "}"
#define BASE TABLE("2", "")

static struct ice_change_result result;

/** The updates on a base; the new document's root, NULL when it refuses (err says why). */
static yyjson_val *change(const char *base, const char *updates)
{
    const struct ice_change asked = { .updates = val(updates),
                                      .previous_metadata_location = STR("s3://lake/t/m0.json"),
                                      .now_ms = 5000 };
    buf_clear(&out);
    err = (struct err){ 0 };
    enum status status = ice_change_apply(val(base), &asked, &arena, &out, &result, &err);
    if (status != OK) {
        assert_int_equal(out.len, 0);
        return NULL;
    }
    if (!result.changed) {
        assert_int_equal(out.len, 0);
        return NULL;
    }
    ice_metadata_unref(result.metadata);
    return val_of(buf_str(&out));
}

/** A member as text, with single quotes. */
static const char *text_of(yyjson_val *root, const char *name)
{
    yyjson_val *found = yyjson_obj_get(root, name);
    if (found == NULL) {
        return "(none)";
    }
    char *text = yyjson_val_write(found, 0, NULL);
    char *copy = arena_cstr(&arena, str_of(text));
    free(text);
    for (char *c = copy; *c != '\0'; c++) {
        *c = (char)(*c == '"' ? '\'' : *c);
    }
    return copy;
}

static void refused(const char *base, const char *updates, enum status kind, const char *says)
{
    const struct ice_change asked = { .updates = val(updates), .now_ms = 5000 };
    buf_clear(&out);
    err = (struct err){ 0 };
    assert_int_equal(ice_change_apply(val(base), &asked, &arena, &out, &result, &err), kind);
    if (strstr(err.msg, says) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", err.msg, says);
    }
    assert_int_equal(out.len, 0);
}

/* --- requirements and repeats --- */

static void requirements_hold_or_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *requirement;
        enum status kind;
    } cases[] = {
        { "{'type':'assert-table-uuid','uuid':'9C12D441-03FE-4693-9A96-A0705DDF69C1'}", OK },
        { "{'type':'assert-table-uuid','uuid':'11111111-03fe-4693-9a96-a0705ddf69c1'}",
          E_CONFLICT },
        { "{'type':'assert-create'}", E_CONFLICT },
        { "{'type':'assert-ref-snapshot-id','ref':'main','snapshot-id':7}", OK },
        { "{'type':'assert-ref-snapshot-id','ref':'main','snapshot-id':8}", E_CONFLICT },
        { "{'type':'assert-ref-snapshot-id','ref':'main','snapshot-id':null}", E_CONFLICT },
        { "{'type':'assert-ref-snapshot-id','ref':'dev','snapshot-id':null}", OK },
        { "{'type':'assert-ref-snapshot-id','ref':'dev'}", OK },
        { "{'type':'assert-ref-snapshot-id','ref':'dev','snapshot-id':7}", E_CONFLICT },
        { "{'type':'assert-last-assigned-field-id','last-assigned-field-id':2}", OK },
        { "{'type':'assert-last-assigned-field-id','last-assigned-field-id':1}", E_CONFLICT },
        { "{'type':'assert-current-schema-id','current-schema-id':0}", OK },
        { "{'type':'assert-current-schema-id','current-schema-id':1}", E_CONFLICT },
        { "{'type':'assert-last-assigned-partition-id','last-assigned-partition-id':999}", OK },
        { "{'type':'assert-last-assigned-partition-id','last-assigned-partition-id':1000}",
          E_CONFLICT },
        { "{'type':'assert-default-spec-id','default-spec-id':0}", OK },
        { "{'type':'assert-default-spec-id','default-spec-id':1}", E_CONFLICT },
        { "{'type':'assert-default-sort-order-id','default-sort-order-id':0}", OK },
        { "{'type':'assert-default-sort-order-id','default-sort-order-id':1}", E_CONFLICT },
        { "{'type':'assert-something'}", E_INVALID },
        { "{'uuid':'x'}", E_INVALID },
        { "7", E_INVALID },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *list = arena_printf(&arena, "[%s]", cases[i].requirement).ptr;
        assert_int_equal(ice_change_require(val(BASE), val(list), &err), cases[i].kind);
        teardown(NULL);
        setup(NULL);
    }
    assert_int_equal(ice_change_require(NULL, val("[{'type':'assert-create'}]"), &err), OK);
    assert_int_equal(
        ice_change_require(NULL, val("[{'type':'assert-table-uuid','uuid':'x'}]"), &err),
        E_CONFLICT);
    assert_int_equal(
        ice_change_require(NULL, val("[{'type':'assert-create'},{'type':'assert-create'}]"), &err),
        E_INVALID);
    assert_int_equal(ice_change_require(val(BASE), NULL, &err), OK);
    /* a version 1 table without refs has a main branch all the same */
    const char *v1 = "{'format-version':1,'current-snapshot-id':7}";
    assert_int_equal(
        ice_change_require(
            val(v1), val("[{'type':'assert-ref-snapshot-id','ref':'main','snapshot-id':7}]"), &err),
        OK);
}

static bool repeats(const char *requirements, const char *updates)
{
    const struct ice_change asked = { .requirements = val(requirements), .updates = val(updates) };
    return ice_change_is_repeat(val(BASE), &asked);
}

static void a_repeat_is_known_by_its_snapshots_or_its_uuid(void **state)
{
    (void)state;
    assert_true(repeats(NULL, "[{'action':'add-snapshot','snapshot':" SNAPSHOT("7", "1", "") "}]"));
    assert_false(
        repeats(NULL, "[{'action':'add-snapshot','snapshot':" SNAPSHOT("8", "2", "") "}]"));
    assert_false(repeats(NULL, "[{'action':'add-snapshot','snapshot':{'snapshot-id':7,"
                               "'manifest-list':'s3://other'}}]"));
    assert_false(repeats(NULL, "[{'action':'add-snapshot','snapshot':" SNAPSHOT(
                                   "7", "1", "") "},"
                                                 "{'action':'add-snapshot','snapshot':" SNAPSHOT(
                                                     "8", "2", "") "}]"));
    assert_false(repeats(NULL, "[{'action':'set-properties','updates':{'a':'b'}}]"));
    assert_true(
        repeats("[{'type':'assert-create'}]", "[{'action':'assign-uuid','uuid':'" UUID "'}]"));
    assert_false(repeats(NULL, "[{'action':'assign-uuid','uuid':'" UUID "'}]"));
    assert_false(
        repeats("[{'type':'assert-create'}]",
                "[{'action':'assign-uuid','uuid':'11111111-03fe-4693-9a96-a0705ddf69c1'}]"));
}

/* --- updates --- */

static void a_snapshot_moves_main_and_leaves_the_rest_alone(void **state)
{
    (void)state;
    yyjson_val *root = change(
        BASE,
        "[{'action':'add-snapshot','snapshot':" SNAPSHOT(
            "8", "2",
            ",'parent-snapshot-id':7") "},{'action':'set-snapshot-ref','ref-name':'main','type':'branch','snapshot-id':8}]");
    assert_string_equal(text_of(root, "current-snapshot-id"), "8");
    assert_string_equal(text_of(root, "last-sequence-number"), "2");
    assert_string_equal(text_of(root, "refs"), "{'main':{'snapshot-id':8,'type':'branch'}}");
    assert_string_equal(text_of(root, "snapshot-log"),
                        "[{'timestamp-ms':2000,'snapshot-id':7},{'timestamp-ms':2000,"
                        "'snapshot-id':8}]");
    assert_string_equal(text_of(root, "metadata-log"),
                        "[{'timestamp-ms':2000,'metadata-file':'s3://lake/t/m0.json'}]");
    assert_string_equal(text_of(root, "last-updated-ms"), "5000");
    assert_string_equal(text_of(root, "x-unknown"),
                        "{'big':9007199254740993,'deep':[1,{'a':null}]}");
    assert_string_equal(text_of(root, "properties"), "{'owner':'me'}");
    assert_int_equal(yyjson_arr_size(yyjson_obj_get(root, "snapshots")), 2);
}

static const char same_uuid[] = "[{'action':'assign-uuid','uuid':'" UUID "'}]";
static const char add_same_schema[] = "[{'action':'add-schema','schema':" SCHEMA
                                      "},{'action':'set-current-schema','schema-id':-1}]";

static void what_changes_nothing_writes_nothing(void **state)
{
    (void)state;
    static const char *const nothing[] = {
        "[]",
        "[{'action':'set-properties','updates':{'owner':'me','uuid':'x'}}]",
        "[{'action':'remove-properties','removals':['nope']}]",
        same_uuid,
        "[{'action':'upgrade-format-version','format-version':2}]",
        "[{'action':'set-location','location':'s3://lake/t/'}]",
        add_same_schema,
        "[{'action':'add-spec','spec':{'fields':[]}},{'action':'set-default-spec','spec-id':-1}]",
        "[{'action':'add-sort-order','sort-order':{'fields':[]}}]",
        "[{'action':'set-snapshot-ref','ref-name':'main','type':'branch','snapshot-id':7}]",
        "[{'action':'remove-snapshot-ref','ref-name':'nope'}]",
        "[{'action':'remove-snapshots','snapshot-ids':[99]}]",
        "[{'action':'remove-statistics','snapshot-id':7}]",
        "[{'action':'remove-schemas','schema-ids':[5]}]",
    };
    for (size_t i = 0; i < ARRAY_LEN(nothing); i++) {
        assert_null(change(BASE, nothing[i]));
        assert_string_equal(err.msg, "");
        assert_false(result.changed);
    }
}

static void schemas_get_the_next_id_and_columns_count_on(void **state)
{
    (void)state;
    yyjson_val *root = change(
        BASE, "[{'action':'add-schema','last-column-id':9,'schema':{'type':'struct','schema-id':77,"
              "'x':1,'fields':[{'id':1,'name':'a','required':true,'type':'long'},{'id':5,'name':"
              "'c','required':false,'type':{'type':'list','element-id':6,'element':'int',"
              "'element-required':false}}]}},{'action':'set-current-schema','schema-id':-1}]");
    assert_string_equal(text_of(root, "current-schema-id"), "1");
    assert_string_equal(text_of(root, "last-column-id"), "9");
    yyjson_val *added = yyjson_arr_get(yyjson_obj_get(root, "schemas"), 1);
    assert_string_equal(text_of(added, "schema-id"), "1");
    assert_string_equal(text_of(added, "x"), "1");
    refused(BASE, "[{'action':'set-current-schema','schema-id':-1}]", E_INVALID,
            "nothing was added");
    refused(BASE, "[{'action':'set-current-schema','schema-id':4}]", E_INVALID, "not there");
    refused(BASE, "[{'action':'remove-schemas','schema-ids':[0]}]", E_INVALID, "in use");
}

static void columns_have_names_and_ids_of_their_own(void **state)
{
    (void)state;
#define TWO(first, second)                                                                         \
    "[{'action':'add-schema','schema':{'type':'struct','fields':["                                 \
    "{" first ",'required':false,'type':'long'},{" second ",'required':false,'type':'long'}]}}]"
#define NESTED(name)                                                                               \
    "[{'action':'add-schema','schema':{'type':'struct','fields':[{'id':3,'name':'s','required':"   \
    "false,'type':{'type':'struct','fields':[{'id':4,'name':'a','required':false,'type':'int'},"   \
    "{'id':5,'name':'" name "','required':false,'type':'int'}]}}]}}]"
    refused(BASE, TWO("'id':3,'name':'a'", "'id':4,'name':'a'"), E_INVALID, "called \"a\"");
    assert_non_null(change(BASE, TWO("'id':3,'name':'a'", "'id':4,'name':'A'")));
    refused(BASE, NESTED("a"), E_INVALID, "called \"a\"");
    assert_non_null(change(BASE, NESTED("b")));
    /* what is behind belongs to columns that readers make up; and others have to come after */
    refused(BASE, TWO("'id':3,'name':'a'", "'id':2147483448,'name':'b'"), E_INVALID, "reserved");
    assert_non_null(change(BASE, TWO("'id':3,'name':'a'", "'id':2147483447,'name':'b'")));
    refused(BASE,
            "[{'action':'add-schema','last-column-id':2147483647,'schema':{'type':'struct',"
            "'fields':[{'id':3,'name':'t','required':false,'type':'long'}]}}]",
            E_INVALID, "reserved");
}

static void types_are_those_of_the_version(void **state)
{
    (void)state;
#define ADD(type)                                                                                  \
    "[{'action':'add-schema','schema':{'type':'struct','fields':[{'id':3,'name':'t','required':"   \
    "false,'type':" type "}]}}]"
    refused(BASE, ADD("'timestamp_ns'"), E_INVALID, "format version 2");
    refused(BASE, ADD("'variant'"), E_INVALID, "format version 2");
    refused(BASE, ADD("'intervals'"), E_INVALID, "intervals");
    refused(BASE,
            ADD("{'type':'list','element-id':4,'element':'timestamptz_ns','element-required':"
                "true}"),
            E_INVALID, "timestamptz_ns");
    assert_non_null(change(TABLE("3", ",'next-row-id':0"), ADD("'timestamp_ns'")));
    assert_non_null(change(TABLE("3", ",'next-row-id':0"), ADD("'geometry(srid:4326)'")));
    refused(TABLE("3", ",'next-row-id':0"), ADD("'geometrical'"), E_INVALID, "geometrical");
    refused(BASE,
            "[{'action':'add-schema','schema':{'type':'struct','fields':[{'id':3,'name':'t',"
            "'required':false,'type':'int','initial-default':5}]}}]",
            E_INVALID, "initial default");
    refused(BASE,
            "[{'action':'add-schema','schema':{'type':'struct','fields':[{'id':3,'name':'t',"
            "'required':false,'type':'int'},{'id':3,'name':'u','required':false,'type':'int'}]}}]",
            E_INVALID, "the id 3");
#undef ADD
}

static void partition_fields_keep_or_get_ids(void **state)
{
    (void)state;
    yyjson_val *root = change(
        BASE,
        "[{'action':'add-spec','spec':{'fields':[{'source-id':1,'name':'a_bucket','transform':"
        "'bucket[16]'},{'source-id':2,'name':'b','transform':'identity','field-id':1007}]}},"
        "{'action':'set-default-spec','spec-id':-1},{'action':'add-spec','spec':{'spec-id':9,"
        "'fields':[{'source-id':1,'name':'again','transform':'bucket[16]'}]}}]");
    assert_string_equal(text_of(root, "default-spec-id"), "1");
    assert_string_equal(text_of(root, "last-partition-id"), "1007");
    assert_string_equal(
        text_of(root, "partition-specs"),
        "[{'spec-id':0,'fields':[]},{'spec-id':1,'fields':[{'field-id':1000,'source-id':1,'name':"
        "'a_bucket','transform':'bucket[16]'},{'field-id':1007,'source-id':2,'name':'b','transform':"
        "'identity'}]},{'spec-id':2,'fields':[{'field-id':1000,'source-id':1,'name':'again',"
        "'transform':'bucket[16]'}]}]");
#define SPEC(fields) "[{'action':'add-spec','spec':{'fields':[" fields "]}}]"
    refused(BASE, SPEC("{'source-id':5,'name':'x','transform':'day'}"), E_INVALID,
            "no plain column");
    refused(BASE, SPEC("{'source-id':1,'name':'x','transform':'bucket[0]'}"), E_INVALID,
            "bucket[0]");
    refused(BASE, SPEC("{'source-id':1,'name':'x','transform':'weekly'}"), E_INVALID, "weekly");
    refused(BASE, SPEC("{'source-id':1,'name':'b','transform':'identity'}"), E_INVALID, "called");
    refused(BASE,
            SPEC("{'source-id':1,'name':'x','transform':'day','field-id':1000},{'source-id':2,"
                 "'name':'y','transform':'day','field-id':1000}"),
            E_INVALID, "the id 1000");
    refused(BASE, SPEC("{'source-id':1,'name':'x','transform':'day','field-id':5}"), E_INVALID,
            "field-id");
    refused(BASE, "[{'action':'remove-partition-specs','spec-ids':[0]}]", E_INVALID, "in use");
#undef SPEC
}

static void sort_orders_get_ids_from_one_on(void **state)
{
    (void)state;
    yyjson_val *root = change(
        BASE, "[{'action':'add-sort-order','sort-order':{'order-id':5,'fields':[{'transform':"
              "'identity','source-id':2,'direction':'desc','null-order':'nulls-last'}]}},"
              "{'action':'set-default-sort-order','sort-order-id':-1}]");
    assert_string_equal(text_of(root, "default-sort-order-id"), "1");
    refused(BASE,
            "[{'action':'add-sort-order','sort-order':{'fields':[{'transform':'identity',"
            "'source-id':2,'direction':'up','null-order':'nulls-last'}]}}]",
            E_INVALID, "asc");
}

static void snapshots_must_fit(void **state)
{
    (void)state;
#define SNAP(snapshot) "[{'action':'add-snapshot','snapshot':" snapshot "}]"
    refused(BASE, SNAP(SNAPSHOT("7", "2", "")), E_INVALID, "there already");
    refused(BASE, SNAP(SNAPSHOT("8", "1", ",'parent-snapshot-id':7")), E_CONFLICT, "sequence");
    refused(BASE,
            SNAP("{'snapshot-id':8,'sequence-number':2,'timestamp-ms':2000,'schema-id':4,"
                 "'manifest-list':'s3://l','summary':{'operation':'append'}}"),
            E_INVALID, "schema 4");
    const char
        *late = "{'format-version':2,'table-uuid':'" UUID
                "','location':'s3://lake/t','last-sequence-number':1,'last-updated-ms':90000,"
                "'last-column-id':2,'current-schema-id':0,'schemas':[" SCHEMA
                "],'default-spec-id':0,'partition-specs':[{'spec-id':0,'fields':[]}],"
                "'last-partition-id':999}";
    refused(late, SNAP(SNAPSHOT("8", "2", "")), E_INVALID, "clock");
    refused(BASE, SNAP("{'snapshot-id':8,'sequence-number':2,'timestamp-ms':2000}"), E_INVALID,
            "manifest-list");
    /* nothing could be added behind one that is at the end of numbers or of times */
    refused(BASE, SNAP(SNAPSHOT("8", "9223372036854775807", "")), E_INVALID, "sequence-number");
#define AT(time)                                                                                   \
    SNAP("{'snapshot-id':8,'sequence-number':2,'timestamp-ms':" time                               \
         ",'manifest-list':'s3://l','summary':{'operation':'append'}}")
    refused(BASE, AT("9223372036854775807"), E_INVALID, "clock");
    refused(BASE, AT("-9223372036854775808"), E_INVALID, "clock");
    refused(BASE, AT("86405001"), E_INVALID, "clock");
    assert_non_null(change(BASE, AT("86400000")));
    /* version 3: rows are numbered */
    const char *third = TABLE("3", ",'next-row-id':10");
    refused(third, SNAP(SNAPSHOT("8", "2", "")), E_INVALID, "first-row-id");
    refused(third, SNAP(SNAPSHOT("8", "2", ",'first-row-id':9,'added-rows':1")), E_CONFLICT,
            "at 10");
    yyjson_val *root = change(third, SNAP(SNAPSHOT("8", "2", ",'first-row-id':10,'added-rows':5")));
    assert_string_equal(text_of(root, "next-row-id"), "15");
#undef SNAP
}

static void steps_on_the_way_are_not_logged(void **state)
{
    (void)state;
    yyjson_val *root = change(
        BASE,
        "[{'action':'add-snapshot','snapshot':" SNAPSHOT(
            "8", "2",
            ",'parent-snapshot-id':7") "},{'action':'set-snapshot-ref','ref-name':'main','type':'branch','snapshot-id':8},"
                                       "{'action':'add-snapshot','snapshot':" SNAPSHOT(
                                           "9", "3",
                                           ",'parent-snapshot-id':8") "},{'action':'set-snapshot-ref','ref-name':'main','type':'branch',"
                                                                      "'snapshot-id':9}]");
    assert_string_equal(text_of(root, "snapshot-log"),
                        "[{'timestamp-ms':2000,'snapshot-id':7},{'timestamp-ms':2000,"
                        "'snapshot-id':9}]");
    assert_int_equal(yyjson_arr_size(yyjson_obj_get(root, "snapshots")), 3);
}

static void removed_snapshots_take_along_what_names_them(void **state)
{
    (void)state;
    const char *base =
        "{'format-version':2,'table-uuid':'" UUID "','location':'s3://lake/t',"
        "'last-sequence-number':3,'last-updated-ms':2000,'last-column-id':2,'current-schema-id':0,"
        "'schemas':[" SCHEMA "],'default-spec-id':0,'partition-specs':[{'spec-id':0,'fields':[]}],"
        "'last-partition-id':999,'current-snapshot-id':9,'snapshots':[" SNAPSHOT("7", "1", "") "," SNAPSHOT(
            "8", "2",
            "") "," SNAPSHOT("9", "3",
                             "") "],'refs':{'main':{'snapshot-id':9,"
                                 "'type':'branch'},'old':{'snapshot-id':8,'type':'tag'}},'snapshot-log':[{'timestamp-ms':1,"
                                 "'snapshot-id':7},{'timestamp-ms':2,'snapshot-id':8},{'timestamp-ms':3,'snapshot-id':9}],"
                                 "'statistics':[{'snapshot-id':8,'statistics-path':'s3://x','file-size-in-bytes':1,"
                                 "'file-footer-size-in-bytes':1,'blob-metadata':[]}]}";
    yyjson_val *root = change(base, "[{'action':'remove-snapshots','snapshot-ids':[8]}]");
    assert_string_equal(text_of(root, "refs"), "{'main':{'snapshot-id':9,'type':'branch'}}");
    assert_string_equal(text_of(root, "snapshot-log"), "[{'timestamp-ms':3,'snapshot-id':9}]");
    assert_string_equal(text_of(root, "statistics"), "(none)");
    assert_int_equal(result.removed_count, 1);
    assert_str(result.removed_manifest_lists[0], "s3://l/8.avro");
    root = change(base, "[{'action':'remove-snapshots','snapshot-ids':[9]}]");
    assert_string_equal(text_of(root, "current-snapshot-id"), "-1");
    root = change(base, "[{'action':'remove-snapshot-ref','ref-name':'main'}]");
    assert_string_equal(text_of(root, "current-snapshot-id"), "-1");
    assert_string_equal(text_of(root, "refs"), "{'old':{'snapshot-id':8,'type':'tag'}}");
}

static void refs_keep_to_their_kind(void **state)
{
    (void)state;
#define REF(rest) "[{'action':'set-snapshot-ref'," rest "}]"
    yyjson_val *root = change(
        BASE, REF("'ref-name':'v1','type':'tag','snapshot-id':7,'max-ref-age-ms':5"));
    assert_string_equal(text_of(yyjson_obj_get(root, "refs"), "v1"),
                        "{'snapshot-id':7,'type':'tag','max-ref-age-ms':5}");
    refused(BASE, REF("'ref-name':'main','type':'tag','snapshot-id':7"), E_INVALID, "main");
    refused(BASE, REF("'ref-name':'x','type':'branch','snapshot-id':8"), E_INVALID, "not there");
    refused(BASE, REF("'ref-name':'x','type':'tag','snapshot-id':7,'min-snapshots-to-keep':1"),
            E_INVALID, "min-snapshots");
    refused(BASE, REF("'ref-name':'','type':'tag','snapshot-id':7"), E_INVALID, "name");
#undef REF
}

static void the_metadata_log_has_a_length(void **state)
{
    (void)state;
    yyjson_val *root = change(
        TABLE("2", ""), "[{'action':'set-properties','updates':{'write.metadata.previous-versions-"
                        "max':'1'}}]");
    assert_int_equal(yyjson_arr_size(yyjson_obj_get(root, "metadata-log")), 1);
    const char *again = json_text(&arena, "[{'action':'set-properties','updates':{'a':'b'}}]").ptr;
    const struct ice_change asked = { .updates = val(again),
                                      .previous_metadata_location = STR("s3://lake/t/m1.json"),
                                      .now_ms = 4000 };
    buf_clear(&out);
    MUST(ice_change_apply(root, &asked, &arena, &out, &result, &err));
    ice_metadata_unref(result.metadata);
    root = val_of(buf_str(&out));
    assert_string_equal(text_of(root, "metadata-log"),
                        "[{'timestamp-ms':5000,'metadata-file':'s3://lake/t/m1.json'}]");
    assert_int_equal(result.dropped_metadata_count, 1);
    assert_str(result.dropped_metadata[0], "s3://lake/t/m0.json");
    assert_string_equal(text_of(root, "last-updated-ms"), "5000"); /* a clock that ran back */
}

static void versions_go_up_only(void **state)
{
    (void)state;
    yyjson_val *root = change(BASE, "[{'action':'upgrade-format-version','format-version':3}]");
    assert_string_equal(text_of(root, "next-row-id"), "0");
    refused(BASE, "[{'action':'upgrade-format-version','format-version':1}]", E_INVALID, "never");
    refused(BASE, "[{'action':'upgrade-format-version','format-version':4}]", E_INVALID, "known");
    const char *first = "{'format-version':1,'table-uuid':'" UUID "','location':'s3://lake/t',"
                        "'last-updated-ms':2000,'last-column-id':2,'schema':" SCHEMA
                        ",'partition-spec':"
                        "[{'source-id':1,'name':'a','transform':'identity'}],'properties':{}}";
    root = change(first, "[{'action':'set-properties','updates':{'a':'b'}}]");
    assert_string_equal(text_of(root, "format-version"), "1");
    assert_string_equal(text_of(root, "last-sequence-number"), "(none)");
    assert_string_equal(text_of(root, "partition-spec"),
                        "[{'source-id':1,'name':'a','transform':'identity','field-id':1000}]");
    assert_int_equal(yyjson_arr_size(yyjson_obj_get(root, "schemas")), 1);
    assert_string_equal(text_of(root, "last-partition-id"), "1000");
    root = change(first, "[{'action':'set-properties','updates':{'format-version':'2'}}]");
    assert_string_equal(text_of(root, "format-version"), "2");
    assert_string_equal(text_of(root, "schema"), "(none)");
    assert_string_equal(text_of(root, "partition-spec"), "(none)");
    assert_string_equal(text_of(root, "properties"), "{}");
    assert_string_equal(text_of(root, "last-sequence-number"), "0");
}

static void keys_and_lineage_are_of_version_3(void **state)
{
    (void)state;
    const char *add = "[{'action':'add-encryption-key','encryption-key':{'key-id':'k',"
                      "'encrypted-key-metadata':'eA=='}}]";
    refused(BASE, add, E_INVALID, "version 3");
    refused(BASE, "[{'action':'enable-row-lineage'}]", E_INVALID, "version 3");
    yyjson_val *root = change(TABLE("3", ",'next-row-id':0"), add);
    assert_string_equal(text_of(root, "encryption-keys"),
                        "[{'key-id':'k','encrypted-key-metadata':'eA=='}]");
}

static void what_is_no_update_is_refused(void **state)
{
    (void)state;
    refused(BASE, "[{'action':'drop-everything'}]", E_INVALID, "drop-everything");
    refused(BASE, "[{}]", E_INVALID, "action");
    refused(BASE, "[5]", E_INVALID, "objects");
    refused(BASE, "[{'action':'set-properties','updates':{'a':5}}]", E_INVALID, "no text");
    refused(BASE, "[{'action':'set-properties'}]", E_INVALID, "updates");
    refused(BASE, "[{'action':'assign-uuid','uuid':'11111111-03fe-4693-9a96-a0705ddf69c1'}]",
            E_INVALID, "never changes");
    refused(BASE, "[{'action':'set-location','location':'/'}]", E_INVALID, "empty");
    refused(NULL, "[]", E_INVALID, "assign-uuid");
    refused("{'format-version':1,'table-uuid':'" UUID "','location':'s3://lake/t',"
            "'last-updated-ms':2000,'last-column-id':2,'schema':" SCHEMA
            ",'partition-specs':[{'spec-id':3,'fields':[]}],'default-spec-id':2}",
            "[]", E_CORRUPT, "partition spec");
}

/* --- new tables --- */

static yyjson_val *create(const char *request)
{
    static const struct ice_property defaults[] = { { STR_INIT("commit.retry.num-retries"),
                                                      STR_INIT("20") } };
    const struct ice_create asked = { .request = val(request),
                                      .uuid = STR(UUID),
                                      .location = STR("s3://lake/t"),
                                      .defaults = defaults,
                                      .default_count = 1,
                                      .now_ms = 5000 };
    buf_clear(&out);
    err = (struct err){ 0 };
    return ice_create_table(&asked, &out, &err) == OK ? val_of(buf_str(&out)) : NULL;
}

static void a_new_table_gets_our_ids(void **state)
{
    (void)state;
    yyjson_val *root = create(
        "{'name':'t','schema':{'type':'struct','schema-id':7,'identifier-field-ids':[20],'fields':["
        "{'id':10,'name':'s','required':false,'type':{'type':'struct','fields':[{'id':30,'name':'x',"
        "'required':false,'type':'int'}]}},{'id':20,'name':'k','required':true,'type':'long'}]},"
        "'partition-spec':{'fields':[{'source-id':20,'field-id':1005,'name':'k_b','transform':"
        "'bucket[4]'}]},'write-order':{'order-id':3,'fields':[{'source-id':30,'transform':"
        "'identity','direction':'asc','null-order':'nulls-first'}]},'properties':{'owner':'you',"
        "'format-version':'2'}}");
    assert_non_null(root);
    assert_string_equal(text_of(root, "last-column-id"), "3");
    assert_string_equal(text_of(root, "current-schema-id"), "0");
    assert_string_equal(
        text_of(root, "partition-specs"),
        "[{'spec-id':0,'fields':[{'field-id':1000,'source-id':2,'name':'k_b','transform':"
        "'bucket[4]'}]}]");
    assert_string_equal(text_of(root, "default-spec-id"), "0");
    assert_string_equal(text_of(root, "default-sort-order-id"), "1");
    assert_string_equal(text_of(root, "properties"),
                        "{'commit.retry.num-retries':'20','owner':'you'}");
    assert_string_equal(text_of(root, "current-snapshot-id"), "-1");
    assert_string_equal(text_of(root, "snapshots"), "[]");
    assert_string_equal(text_of(root, "last-sequence-number"), "0");
    yyjson_val *schema = yyjson_arr_get(yyjson_obj_get(root, "schemas"), 0);
    assert_string_equal(text_of(schema, "identifier-field-ids"), "[2]");
}

static void a_new_table_may_be_bare_and_of_any_version(void **state)
{
    (void)state;
#define CREATE(more)                                                                               \
    "{'schema':{'type':'struct','fields':[{'id':1,'name':'a','required':false,'type':'int'}]"      \
    "}" more "}"
    yyjson_val *root = create(CREATE(""));
    assert_string_equal(text_of(root, "format-version"), "2");
    assert_string_equal(text_of(root, "partition-specs"), "[{'spec-id':0,'fields':[]}]");
    assert_string_equal(text_of(root, "default-sort-order-id"), "0");
    root = create(CREATE(",'properties':{'format-version':'1'}"));
    assert_string_equal(text_of(root, "format-version"), "1");
    assert_string_equal(text_of(root, "partition-spec"), "[]");
    root = create(CREATE(",'properties':{'format-version':'3'}"));
    assert_string_equal(text_of(root, "next-row-id"), "0");
    root = create("{'schema':{'type':'struct','fields':[{'id':0,'name':'a','required':false,'type':"
                  "'int'}]},'partition-spec':{'fields':[{'source-id':0,'name':'p','transform':"
                  "'bucket[4]'}]}}"); /* as Spark counts */
    assert_string_equal(text_of(root, "partition-specs"),
                        "[{'spec-id':0,'fields':[{'field-id':1000,'source-id':1,'name':'p',"
                        "'transform':'bucket[4]'}]}]");
    assert_null(create(CREATE(",'properties':{'format-version':'9'}")));
    assert_null(create(CREATE(",'properties':{'a':1}")));
    assert_null(create(CREATE(",'partition-spec':{'fields':[{'source-id':9,'name':'x','transform':"
                              "'day'}]}")));
    assert_null(create("{'name':'t'}"));
#undef CREATE
}

/* --- without memory --- */

static void without_memory_nothing_is_written(void **state)
{
    (void)state;
    yyjson_val *base = val(BASE);
    const struct ice_change asked = {
        .updates = val("[{'action':'add-snapshot','snapshot':" SNAPSHOT(
            "8", "2",
            ",'parent-snapshot-id':7") "},{'action':'set-snapshot-ref','ref-name':'main','type':'branch','snapshot-id':8},"
                                       "{'action':'add-spec','spec':{'fields':[{'source-id':1,'name':'x','transform':'day'}]}},"
                                       "{'action':'set-properties','updates':{'a':'b'}},{'action':'remove-snapshots',"
                                       "'snapshot-ids':[7]}]"),
        .previous_metadata_location = STR("s3://lake/t/m0.json"),
        .now_ms = 5000,
    };
    long nth = 0;
    for (bool happened = true; happened; nth++) {
        struct arena own;
        struct buf text;
        arena_init(&own, 0);
        buf_init(&text, 0);
        mem_fail_nth(nth);
        enum status status = ice_change_apply(base, &asked, &own, &text, &result, NULL);
        happened = mem_fail_happened();
        mem_fail_nth(-1);
        assert_int_equal(status, happened ? E_NO_MEMORY : OK);
        assert_true(happened ? text.len == 0 : text.len > 0);
        if (status == OK) {
            ice_metadata_unref(result.metadata);
        }
        buf_done(&text);
        arena_done(&own);
    }
    assert_true(nth > 20);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(requirements_hold_or_are_named),
        TEST(a_repeat_is_known_by_its_snapshots_or_its_uuid),
        TEST(a_snapshot_moves_main_and_leaves_the_rest_alone),
        TEST(what_changes_nothing_writes_nothing),
        TEST(schemas_get_the_next_id_and_columns_count_on),
        TEST(columns_have_names_and_ids_of_their_own),
        TEST(types_are_those_of_the_version),
        TEST(partition_fields_keep_or_get_ids),
        TEST(sort_orders_get_ids_from_one_on),
        TEST(snapshots_must_fit),
        TEST(steps_on_the_way_are_not_logged),
        TEST(removed_snapshots_take_along_what_names_them),
        TEST(refs_keep_to_their_kind),
        TEST(the_metadata_log_has_a_length),
        TEST(versions_go_up_only),
        TEST(keys_and_lineage_are_of_version_3),
        TEST(what_is_no_update_is_refused),
        TEST(a_new_table_gets_our_ids),
        TEST(a_new_table_may_be_bare_and_of_any_version),
        TEST(without_memory_nothing_is_written),
    };
    return cmocka_run_group_tests_name("iceberg/change", tests, NULL, NULL);
}
