/* Without memory every call says E_NO_MEMORY and gives back what it took: the n-th allocation
 * fails, for each n. */
#include "helper.h"

#include "iceberg/value.h"

#include "base/mem.h"

static const char *const document =
    "{'format-version':2,'table-uuid':'9c12d441-03fe-4693-9a96-a0705ddf69c1','location':'s3://lake/t','last-updated-ms':1600,'last-column-id':2,"
    "'last-sequence-number':1,'current-schema-id':0,'schemas':[{'type':'struct','schema-id':0,'identifier-field-ids':[1],'fields':["
    "{'id':1,'name':'a','required':true,'type':'int','doc':'x','write-default':3},{'id':2,'name':'b','required':false,'type':'string'}]}],"
    "'partition-specs':[{'spec-id':0,'fields':[]}],'default-spec-id':0,'last-partition-id':999,'sort-orders':[],'default-sort-order-id':0,"
    "'current-snapshot-id':5,'snapshots':[{'snapshot-id':5,'sequence-number':1,'timestamp-ms':1500,'manifest-list':'s3://l','summary':{'operation':'append'}}],"
    "'snapshot-log':[{'timestamp-ms':1500,'snapshot-id':5}],'metadata-log':[{'timestamp-ms':1,'metadata-file':'f'}],'refs':{'main':{'snapshot-id':5,'type':'branch'}}}";

/** Manifest and manifest list, written and read back. */
static enum status exchange(struct arena *arena, const struct ice_schema *schema,
                            const struct ice_data_file *file, struct buf *out, struct err *err)
{
    struct ice_manifest_opts opts = { .schema = schema, .deflate = true };
    struct ice_manifest_list_opts list = { .snapshot_id = 6, .sequence_number = 2 };
    struct ice_manifest_file row = { .path = STR("m"), .added_snapshot_id = -1, .added_files = 1 };
    struct ice_manifest_file *rows = NULL;
    struct ice_manifest manifest;
    size_t count = 0;
    TRY(ice_manifest_write(&opts, file, 1, out, err));
    TRY(ice_manifest_read(arena, buf_str(out), NULL, &manifest, err));
    buf_clear(out);
    TRY(ice_manifest_list_write(&list, &row, 1, out, err));
    TRY(ice_manifest_list_read(arena, buf_str(out), &rows, &count, err));
    buf_clear(out);
    return OK;
}

/** New metadata with a wider schema, a snapshot, an expired snapshot and a full metadata log. */
static enum status edit(struct arena *arena, const struct ice_metadata *m, int64_t id,
                        const struct ice_data_file *file, struct buf *out,
                        struct ice_metadata **next_out, struct err *err)
{
    struct ice_new_snapshot snapshot = { .id = id,
                                         .sequence_number = id,
                                         .manifest_list = STR("l") };
    struct ice_property *summary = NULL;
    struct ice_edit_result result;
    struct ice_schema wide;
    bool flag = false;
    int32_t last_id = m->last_column_id;
    TRY(ice_schema_fit(arena, m->schema, m->schema, true, &last_id, &wide, &flag, err));
    TRY(ice_schema_assign_ids(arena, m->schema, &last_id, &wide, err));
    TRY(ice_append_summary(arena, m->current, file, 1, NULL, 0, &summary, &snapshot.summary_count,
                           err));
    snapshot.summary = summary;
    struct ice_edit what = {
        .snapshot = &snapshot,
        .schema = &wide,
        .snapshots_max = 2,
        .metadata_log_max = 1,
        .previous_metadata_location = STR("g"),
    };
    return ice_metadata_next(m, &what, arena, out, next_out, &result, err);
}

/** From a document that was read, and from one that was made. */
static enum status edit_twice(struct arena *arena, const struct ice_metadata *m,
                              const struct ice_data_file *file, struct buf *out, struct err *err)
{
    struct ice_metadata *next = NULL;
    struct ice_metadata *third = NULL;
    TRY(edit(arena, m, 6, file, out, &next, err));
    buf_clear(out);
    enum status status = edit(arena, next, 7, file, out, &third, err);
    ice_metadata_unref(next);
    ice_metadata_unref(third);
    return status;
}

/** Everything a commit does, from parsed metadata to new files; the first failure is returned. */
static enum status commit(struct arena *arena, struct str json, struct buf *out, struct err *err)
{
    struct ice_metadata *m = NULL;
    struct ice_column_stats column = { .field_id = 2, .nan_count = -1 };
    struct ice_data_file file = {
        .path = STR("p"),
        .format = STR("PARQUET"),
        .columns = &column,
        .column_count = 1,
        .status = ICE_ADDED,
        .snapshot_id = -1,
        .sequence_number = -1,
        .file_sequence_number = -1,
    };
    bool none = false;
    TRY(ice_metadata_parse(json, &m, err));
    enum status status = ice_bound_from_text(arena, &m->schema->root.fields[1].type, STR("text"),
                                             true, &column.upper, &none, err);
    if (status == OK) {
        status = exchange(arena, m->schema, &file, out, err);
    }
    if (status == OK) {
        status = edit_twice(arena, m, &file, out, err);
    }
    ice_metadata_unref(m);
    return status;
}

static void every_failed_allocation_is_reported_and_leaks_nothing(void **state)
{
    (void)state;
    struct arena texts;
    arena_init(&texts, 0);
    struct str json = json_text(&texts, document);
    for (long n = 0;; n++) {
        struct arena arena;
        struct buf out;
        struct err err = { 0 };
        arena_init(&arena, 0);
        buf_init(&out, 0);
        mem_fail_nth(n);
        enum status status = commit(&arena, json, &out, &err);
        bool happened = mem_fail_happened();
        mem_fail_nth(-1);
        buf_done(&out);
        arena_done(&arena);
        if (!happened) {
            assert_int_equal(status, OK);
            assert_true(n > 20);
            break;
        }
        if (status != E_NO_MEMORY) {
            fail_msg("allocation %ld: %s %s", n, status_name(status), err.msg);
        }
        if (err.kind != E_NO_MEMORY) {
            fail_msg("allocation %ld has no message", n);
        }
    }
    arena_done(&texts);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(
        every_failed_allocation_is_reported_and_leaks_nothing) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
