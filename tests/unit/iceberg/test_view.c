/* Views: making one, replacing it, what is refused, and how much of the past is kept. */
#include "helper.h"

#include "base/mem.h"
#include "iceberg/view.h"

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

static yyjson_val *val_of(struct str text)
{
    assert_true(doc_count < ARRAY_LEN(docs));
    MUST(json_parse(text, &docs[doc_count], &err));
    return yyjson_doc_get_root(docs[doc_count++]);
}

static yyjson_val *val(const char *text)
{
    return val_of(json_text(&arena, text));
}

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

#define UUID "9c12d441-03fe-4693-9a96-a0705ddf69c1"
#define SCHEMA                                                                                     \
    "{'type':'struct','schema-id':4,'fields':[{'id':1,'name':'a','required':false,'type':'int'}]}"
#define VERSION(schema, sql, dialect)                                                              \
    "{'version-id':1,'timestamp-ms':2000,'schema-id':" schema ",'summary':{'engine':'x'},"         \
    "'default-namespace':['main'],'representations':[{'type':'sql','sql':'" sql                    \
    "','dialect':'" dialect "'}]}"

static yyjson_val *create(const char *request)
{
    const struct ice_create asked = {
        .request = val(request), .uuid = STR(UUID), .location = STR("s3://lake/v"), .now_ms = 5000
    };
    buf_clear(&out);
    err = (struct err){ 0 };
    if (ice_view_create(&asked, &out, &err) != OK) {
        assert_int_equal(out.len, 0);
        return NULL;
    }
    return val_of(buf_str(&out));
}

static yyjson_val *new_view(void)
{
    yyjson_val *root = create("{'name':'v','schema':" SCHEMA ",'view-version':" VERSION(
        "0", "SELECT 1", "spark") ",'properties':{'owner':'me'}}");
    assert_non_null(root);
    return root;
}

/** NULL when it is refused, or nothing changes. */
static yyjson_val *change(yyjson_val *base, const char *updates)
{
    const struct ice_change asked = { .updates = val(updates), .now_ms = 9000 };
    bool changed = false;
    buf_clear(&out);
    err = (struct err){ 0 };
    enum status status = ice_view_apply(base, &asked, &arena, &out, &changed, &err);
    assert_true((status == OK && changed) == (out.len > 0));
    return out.len > 0 ? val_of(buf_str(&out)) : NULL;
}

static void refused(yyjson_val *base, const char *updates, enum status kind, const char *says)
{
    const struct ice_change asked = { .updates = val(updates), .now_ms = 9000 };
    bool changed = false;
    buf_clear(&out);
    err = (struct err){ 0 };
    assert_int_equal(ice_view_apply(base, &asked, &arena, &out, &changed, &err), kind);
    if (strstr(err.msg, says) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", err.msg, says);
    }
    assert_int_equal(out.len, 0);
}

static void a_new_view_has_one_version(void **state)
{
    (void)state;
    yyjson_val *root = new_view();
    MUST(ice_view_check(root, &err));
    assert_string_equal(text_of(root, "view-uuid"), "'" UUID "'");
    assert_string_equal(text_of(root, "current-version-id"), "1");
    assert_string_equal(text_of(root, "version-log"), "[{'timestamp-ms':2000,'version-id':1}]");
    assert_string_equal(text_of(root, "properties"), "{'owner':'me'}");
    yyjson_val *version = yyjson_arr_get(yyjson_obj_get(root, "versions"), 0);
    yyjson_val *schema = yyjson_arr_get(yyjson_obj_get(root, "schemas"), 0);
    assert_string_equal(text_of(version, "schema-id"), "0");
    assert_string_equal(text_of(schema, "schema-id"), "0");
    assert_null(create("{'name':'v','schema':" SCHEMA "}"));
    assert_null(create("{'name':'v','view-version':" VERSION("0", "SELECT 1", "spark") "}"));
}

static void a_replaced_view_keeps_its_past(void **state)
{
    (void)state;
    yyjson_val *root = change(
        new_view(), "[{'action':'add-view-version','view-version':" VERSION(
                        "0", "SELECT 2",
                        "Spark") "},{'action':'set-current-view-version','view-version-id':-1}]");
    assert_non_null(root);
    assert_string_equal(text_of(root, "current-version-id"), "2");
    assert_string_equal(text_of(root, "version-log"),
                        "[{'timestamp-ms':2000,'version-id':1},{'timestamp-ms':2000,"
                        "'version-id':2}]");
    /* back to an old one: no version more, and the time is ours */
    root = change(root,
                  "[{'action':'add-view-version','view-version':" VERSION(
                      "0", "SELECT 1",
                      "spark") "},{'action':'set-current-view-version','view-version-id':-1}]");
    assert_string_equal(text_of(root, "current-version-id"), "1");
    assert_int_equal(yyjson_arr_size(yyjson_obj_get(root, "versions")), 2);
    assert_non_null(strstr(text_of(root, "version-log"), "{'timestamp-ms':9000,'version-id':1}"));
    assert_null(change(root, "[{'action':'set-current-view-version','view-version-id':1}]"));
    assert_string_equal(err.msg, "");
}

static void old_versions_go_as_a_property_says(void **state)
{
    (void)state;
    yyjson_val *root = change(
        new_view(), "[{'action':'set-properties','updates':{'version.history.num-entries':'2'}}]");
    for (int i = 0; i < 4; i++) {
        const char *updates =
            arena_printf(&arena,
                         "[{'action':'add-view-version','view-version':"
                         "{'timestamp-ms':%d,'schema-id':0,'summary':{},'default-namespace':[],"
                         "'representations':[{'type':'sql','sql':'SELECT %d','dialect':'spark'}]}},"
                         "{'action':'set-current-view-version','view-version-id':-1}]",
                         3000 + i, 10 + i)
                .ptr;
        root = change(root, updates);
        assert_non_null(root);
    }
    assert_int_equal(yyjson_arr_size(yyjson_obj_get(root, "versions")), 2);
    assert_string_equal(text_of(root, "version-log"),
                        "[{'timestamp-ms':3002,'version-id':4},{'timestamp-ms':3003,"
                        "'version-id':5}]");
}

static void what_does_not_fit_is_refused(void **state)
{
    (void)state;
    yyjson_val *base = new_view();
#define ADD(version)                                                                               \
    "[{'action':'add-view-version','view-version':" version                                        \
    "},{'action':'set-current-view-version','view-version-id':-1}]"
    refused(base, ADD(VERSION("0", "SELECT 2", "trino")), E_INVALID, "loss of view dialects");
    refused(base, ADD(VERSION("7", "SELECT 2", "spark")), E_INVALID, "schema 7");
    refused(base, ADD(VERSION("-1", "SELECT 2", "spark")), E_INVALID, "schema -1");
    refused(base,
            ADD("{'timestamp-ms':1,'schema-id':0,'summary':{},'default-namespace':[],"
                "'representations':[]}"),
            E_INVALID, "without a representation");
    refused(base,
            ADD("{'timestamp-ms':1,'schema-id':0,'summary':{},'default-namespace':[],"
                "'representations':[{'type':'sql','sql':'a','dialect':'x'},{'type':'sql',"
                "'sql':'b','dialect':'X'}]}"),
            E_INVALID, "multiple queries for dialect");
    refused(base, "[{'action':'set-current-view-version','view-version-id':9}]", E_INVALID, "9");
    refused(base, "[{'action':'add-snapshot'}]", E_INVALID, "not one of views");
    refused(base, "[{'action':'upgrade-format-version','format-version':2}]", E_INVALID, "2");
    refused(base, "[{'action':'assign-uuid','uuid':'11111111-03fe-4693-9a96-a0705ddf69c1'}]",
            E_INVALID, "never changes");
    refused(base, "[{'action':'set-properties','updates':{'a':1}}]", E_INVALID, "no text");
    refused(val("{'view-uuid':'x','format-version':1,'location':'l','current-version-id':3,"
                "'versions':[{'version-id':2}]}"),
            "[]", E_CORRUPT, "no metadata of a view");
    refused(val("{'view-uuid':'x','format-version':2,'location':'l','current-version-id':2,"
                "'versions':[{'version-id':2}]}"),
            "[]", E_UNSUPPORTED, "format version 2");
    yyjson_val *root = change(base, "[{'action':'set-properties','updates':"
                                    "{'replace.drop-dialect.allowed':'true'}}]");
    assert_non_null(change(root, ADD(VERSION("0", "SELECT 2", "trino"))));
#undef ADD
}

static void requirements_are_the_uuid(void **state)
{
    (void)state;
    yyjson_val *base = new_view();
    MUST(ice_view_require(base, val("[{'type':'assert-view-uuid','uuid':'" UUID "'}]"), &err));
    MUST(ice_view_require(base, NULL, &err));
    assert_int_equal(ice_view_require(base, val("[{'type':'assert-view-uuid','uuid':'x'}]"), &err),
                     E_CONFLICT);
    assert_int_equal(ice_view_require(base, val("[{'type':'assert-create'}]"), &err), E_INVALID);
}

static void members_that_nobody_knows_are_carried(void **state)
{
    (void)state;
    yyjson_val *base = val("{'view-uuid':'" UUID "','format-version':1,'location':'l',"
                           "'current-version-id':2,'versions':[{'version-id':2,'x':1}],"
                           "'y':{'z':9007199254740993}}");
    yyjson_val *root = change(base, "[{'action':'set-location','location':'m/'}]");
    assert_string_equal(text_of(root, "y"), "{'z':9007199254740993}");
    assert_string_equal(text_of(root, "versions"), "[{'version-id':2,'x':1}]");
    assert_string_equal(text_of(root, "location"), "'m'");
}

static void without_memory_nothing_is_made(void **state)
{
    (void)state;
    const struct ice_create asked = {
        .request = val("{'name':'v','schema':" SCHEMA ",'view-version':" VERSION(
            "0", "SELECT 1", "spark") ",'properties':{'owner':'me'}}"),
        .uuid = STR(UUID),
        .location = STR("s3://lake/v"),
        .now_ms = 5000,
    };
    long nth = 0;
    for (bool happened = true; happened; nth++) {
        struct buf text;
        buf_init(&text, 0);
        mem_fail_nth(nth);
        enum status status = ice_view_create(&asked, &text, NULL);
        happened = mem_fail_happened();
        mem_fail_nth(-1);
        assert_int_equal(status, happened ? E_NO_MEMORY : OK);
        assert_true(happened ? text.len == 0 : text.len > 0);
        buf_done(&text);
    }
    assert_true(nth > 10);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

static void a_repeat_is_known_by_the_time_of_its_version(void **state)
{
    (void)state;
#define ADD(sql, at)                                                                               \
    "{'action':'add-view-version','view-version':{'version-id':7,'timestamp-ms':" at               \
    ",'schema-id':-1,'summary':{'engine':'x'},'default-namespace':['main'],'representations':["    \
    "{'type':'sql','sql':'" sql "','dialect':'spark'}]}}"
#define CURRENT "{'action':'set-current-view-version','view-version-id':-1}"
    yyjson_val *root = change(new_view(), "[{'action':'add-schema','schema':" SCHEMA
                                          "}," ADD("SELECT 2", "3000") "," CURRENT "]");
    assert_non_null(root);
    assert_true(ice_view_is_repeat(root, val("[" ADD("SELECT 2", "3000") "," CURRENT "]")));
    assert_true(ice_view_is_repeat(root, val("[" ADD("SELECT 1", "2000") "," CURRENT "]")));
    assert_false(ice_view_is_repeat(root, val("[" ADD("SELECT 2", "3001") "," CURRENT "]")));
    assert_false(ice_view_is_repeat(root, val("[" ADD("SELECT 3", "3000") "," CURRENT "]")));
    assert_false(ice_view_is_repeat(
        root, val("[" ADD("SELECT 2", "3000") "," ADD("SELECT 3", "3000") "," CURRENT "]")));
    assert_false(ice_view_is_repeat(root, val("[" CURRENT "]")));
    assert_false(ice_view_is_repeat(root, val("[{'action':'add-view-version'}]")));
    assert_false(ice_view_is_repeat(root, val("[]")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_new_view_has_one_version),
        TEST(a_replaced_view_keeps_its_past),
        TEST(old_versions_go_as_a_property_says),
        TEST(what_does_not_fit_is_refused),
        TEST(requirements_are_the_uuid),
        TEST(members_that_nobody_knows_are_carried),
        TEST(without_memory_nothing_is_made),
        TEST(a_repeat_is_known_by_the_time_of_its_version),
    };
    return cmocka_run_group_tests_name("iceberg/view", tests, NULL, NULL);
}
