/* Metadata that an edit made without reading its text again is what the text says. */
#include "helper.h"

#include "base/rng.h"
#include "iceberg/metadata_priv.h"

enum { SEEDS = 60, EDITS = 40 };

#define SCHEMA                                                                                     \
    "{'type':'struct','schema-id':0,'fields':[{'id':1,'name':'a','required':false,'type':'int'}]}"
#define HEAD                                                                                       \
    "{'format-version':2,'table-uuid':'9c12d441-03fe-4693-9a96-a0705ddf69c1',"                     \
    "'location':'s3://lake/t','last-updated-ms':5,'last-column-id':1,'last-sequence-number':2,"    \
    "'current-schema-id':0,'schemas':[" SCHEMA "],'partition-specs':[{'spec-id':0,'fields':[]}],"  \
    "'default-spec-id':0,'last-partition-id':999,'sort-orders':[],'default-sort-order-id':0"
#define TWO                                                                                        \
    "[{'snapshot-id':9,'sequence-number':1,'timestamp-ms':3,'manifest-list':'s3://\\u00e9\\/l',"   \
    "'summary':{'operation':'append','x':'\\n'},'new-in-v9':[{'deep':1.50}]},"                     \
    "{ 'snapshot-id' : 4, 'parent-snapshot-id':9, 'sequence-number':2,'timestamp-ms':5,"           \
    "'manifest-list':'s3://m','key-id':'k'}]"
#define LOG                                                                                        \
    "[{'timestamp-ms':3,'snapshot-id':9,'who':['me',{}]}, {'timestamp-ms':5,'snapshot-id':4}]"

/* Documents that others wrote: with white space, members of their own, the lists in any order, or
 * without them. */
static const char *const documents[] = {
    HEAD ",'current-snapshot-id':4,'snapshots': " TWO " ,'snapshot-log':" LOG ",'after':{'a':[]}}",
    HEAD ",'snapshot-log':" LOG ",'x':1,'current-snapshot-id':4,'snapshots':" TWO
         ",'statistics':[{'snapshot-id':9,'statistics-path':'p'}]}",
    HEAD ",'snapshot-log':[],'snapshots':[]}",
    HEAD "}",
    /* a name twice: the first one counts */
    HEAD ",'current-snapshot-id':4,'snapshots':" TWO ",'snapshots':[],'snapshot-log':" LOG
         ",'snapshot-log':[1]}",
};

static struct arena arena;
static struct err err;

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, 0);
    err = (struct err){ 0 };
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_done(&arena);
    return 0;
}

static void expect_json(yyjson_val *a, yyjson_val *b)
{
    assert_int_equal(a == NULL, b == NULL);
    if (a != NULL) {
        char *x = yyjson_val_write(a, 0, NULL);
        char *y = yyjson_val_write(b, 0, NULL);
        assert_string_equal(x, y);
        free(x);
        free(y);
    }
}

static void expect_snapshot(const struct ice_snapshot *a, const struct ice_snapshot *b)
{
    assert_int_equal(a->id, b->id);
    assert_int_equal(a->parent_id, b->parent_id);
    assert_int_equal(a->sequence_number, b->sequence_number);
    assert_int_equal(a->timestamp_ms, b->timestamp_ms);
    assert_int_equal(a->schema_id, b->schema_id);
    assert_true(str_eq(a->manifest_list, b->manifest_list));
    expect_json(a->summary, b->summary);
}

static void expect_same(const struct ice_metadata *made, const struct ice_metadata *read)
{
    assert_int_equal(made->snapshot_count, read->snapshot_count);
    assert_int_equal(made->log_count, read->log_count);
    assert_int_equal(made->json_bytes, read->json_bytes);
    assert_int_equal(made->last_updated_ms, read->last_updated_ms);
    assert_int_equal(made->last_sequence_number, read->last_sequence_number);
    assert_int_equal(made->current_schema_id, read->current_schema_id);
    assert_int_equal(made->schema_count, read->schema_count);
    assert_int_equal(made->ref_count, read->ref_count);
    assert_int_equal(made->current == NULL, read->current == NULL);
    assert_true(made->current == NULL || made->current->id == read->current->id);
    for (size_t i = 0; i < made->snapshot_count; i++) {
        expect_snapshot(&made->snapshots[i], &read->snapshots[i]);
        assert_int_equal(made->by_id[i].id, read->by_id[i].id);
        assert_int_equal(made->by_id[i].index, read->by_id[i].index);
    }
    for (size_t i = 0; i < made->log_count; i++) {
        assert_int_equal(made->snapshot_log[i].snapshot_id, read->snapshot_log[i].snapshot_id);
        assert_int_equal(made->snapshot_log[i].timestamp_ms, read->snapshot_log[i].timestamp_ms);
    }
}

/** One of the edits that there are, at random. */
static struct ice_edit random_edit(struct rng *rng, const struct ice_metadata *m,
                                   struct ice_new_snapshot *snapshot, struct ice_schema *schema)
{
    static const struct ice_property summary[] = { { STR("operation"), STR("append") },
                                                   { STR("note"), STR("a \"quote\", \\ \n") } };
    static const struct ice_property property = { STR("p"), STR("v") };
    *snapshot = (struct ice_new_snapshot){
        .id = 1 + (int64_t)rng_below(rng, 1 << 20) * 64 + (int64_t)m->snapshot_count % 64,
        .sequence_number = m->last_sequence_number + 1,
        .manifest_list = STR("s3://lake/\xc3\xa9 \"x\""),
        .summary = summary,
        .summary_count = ARRAY_LEN(summary),
    };
    struct ice_edit edit = { .now_ms = m->last_updated_ms + (int64_t)rng_below(rng, 5) };
    bool known = ice_metadata_snapshot(m, snapshot->id) != NULL;
    edit.snapshot = rng_below(rng, 4) > 0 && !known ? snapshot : NULL;
    if (rng_below(rng, 8) == 0) {
        *schema = schema_of(&arena,
                            rng_below(rng, 2) == 0
                                ? SCHEMA
                                : "{'type':'struct','fields':[{'id':1,'name':'a','required':false,"
                                  "'type':'long'}]}");
        edit.schema = schema;
    }
    edit.set_properties = &property;
    edit.set_count = rng_below(rng, 4) == 0 ? 1 : 0;
    edit.snapshots_max = rng_below(rng, 3) == 0 ? 1 + (size_t)rng_below(rng, 12) : 0;
    edit.metadata_log_max = 5;
    edit.previous_metadata_location = rng_below(rng, 3) > 0 ? STR("f") : STR_EMPTY;
    return edit;
}

/** Two lines of edits from one document: by what the edits made, and by what was read of their
 * texts. They never part. */
static void run_edits(const char *document, uint64_t seed)
{
    struct rng rng;
    rng_seed(&rng, seed);
    struct ice_metadata *made = NULL, *read = NULL;
    struct str text = json_text(&arena, document);
    MUST(ice_metadata_parse(text, &made, &err));
    MUST(ice_metadata_parse(text, &read, &err));
    for (int i = 0; i < EDITS; i++) {
        struct buf a, b;
        struct ice_new_snapshot snapshot;
        struct ice_schema schema;
        struct ice_metadata *next = NULL, *again = NULL;
        struct ice_edit_result result, other;
        struct ice_edit edit = random_edit(&rng, made, &snapshot, &schema);
        buf_init(&a, 0);
        buf_init(&b, 0);
        MUST(ice_metadata_next(made, &edit, &arena, &a, &next, &result, &err));
        MUST(ice_metadata_edit(read, &edit, &arena, &b, &other, &err));
        assert_int_equal(a.len, b.len);
        assert_memory_equal(a.ptr, b.ptr, a.len);
        assert_int_equal(result.expired_count, other.expired_count);
        MUST(ice_metadata_parse(buf_str(&b), &again, &err));
        /* what is shared must not need its base */
        ice_metadata_unref(made);
        ice_metadata_unref(read);
        memset(a.ptr, 'x', a.len);
        buf_done(&a);
        buf_done(&b);
        expect_same(next, again);
        made = next;
        read = again;
    }
    ice_metadata_unref(made);
    ice_metadata_unref(read);
}

static void what_an_edit_made_is_what_its_text_says(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(documents); i++) {
        for (uint64_t seed = 1; seed <= SEEDS; seed++) {
            run_edits(documents[i], seed);
            arena_reset(&arena);
        }
    }
}

/** Two commits on one base, as of two writers of which one will lose: each has its own. */
static void edits_of_one_base_do_not_meet(void **state)
{
    (void)state;
    struct ice_metadata *base = NULL, *next[2] = { NULL, NULL };
    MUST(ice_metadata_parse(json_text(&arena, documents[0]), &base, &err));
    for (int64_t i = 0; i < 2; i++) {
        struct buf out;
        struct ice_new_snapshot snapshot = { .id = 100 + i,
                                             .sequence_number = 3,
                                             .manifest_list = STR("l") };
        struct ice_edit edit = { .snapshot = &snapshot, .snapshots_max = i == 0 ? 1 : 0 };
        struct ice_edit_result result;
        buf_init(&out, 0);
        MUST(ice_metadata_next(base, &edit, &arena, &out, &next[i], &result, &err));
        buf_done(&out);
    }
    ice_metadata_unref(base);
    assert_int_equal(next[0]->snapshot_count, 1);
    assert_int_equal(next[1]->snapshot_count, 3);
    ice_metadata_unref(next[0]);
    assert_str(ice_metadata_snapshot(next[1], 9)->manifest_list, "s3://\xc3\xa9/l");
    assert_true(
        yyjson_equals_str(yyjson_obj_get(ice_metadata_snapshot(next[1], 9)->summary, "x"), "\n"));
    ice_metadata_unref(next[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_an_edit_made_is_what_its_text_says, setup, teardown),
        cmocka_unit_test_setup_teardown(edits_of_one_base_do_not_meet, setup, teardown),
    };
    return cmocka_run_group_tests_name("iceberg metadata next", tests, NULL, NULL);
}
