/*
 * Any bytes as table metadata. What can be read is edited, and the new document must be readable
 * with what was added.
 */
#include "iceberg/metadata.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool cond)
{
    if (!cond) {
        abort();
    }
}

static void ask(const struct ice_metadata *m)
{
    for (size_t i = 0; i < m->snapshot_count; i++) {
        int64_t id = m->snapshots[i].id;
        check(ice_metadata_snapshot(m, id) == &m->snapshots[i]);
        (void)ice_metadata_as_of(m, m->snapshots[i].timestamp_ms);
        (void)ice_metadata_is_ancestor(m, id, m->snapshots[m->snapshot_count - 1].id);
    }
    (void)ice_metadata_by_ref(m, STR("main"));
    (void)ice_schema_max_id(m->schema);
}

static void edit(struct arena *arena, const struct ice_metadata *m)
{
    struct ice_property property = { STR("operation"), STR("append") };
    struct ice_new_snapshot snapshot = { .id = ice_snapshot_id(m),
                                         .manifest_list = STR("s3://l"),
                                         .summary = &property,
                                         .summary_count = 1 };
    struct ice_edit_result result = { 0 };
    struct ice_metadata *again = NULL;
    struct err err = { 0 };
    struct buf out;
    if (__builtin_add_overflow(m->last_sequence_number, 1, &snapshot.sequence_number)) {
        return;
    }
    struct ice_edit what = { .snapshot = m->format_version == 2 ? &snapshot : NULL,
                             .set_properties = &property,
                             .set_count = 1,
                             .previous_metadata_location = STR("f"),
                             .now_ms = 1,
                             .snapshots_max = 2,
                             .metadata_log_max = 2 };
    buf_init(&out, 0);
    if (ice_metadata_edit(m, &what, arena, &out, &result, &err) == OK) {
        check(ice_metadata_parse(buf_str(&out), &again, &err) == OK);
        check(str_eq(ice_metadata_property(again, STR("operation")), STR("append")));
        check(m->format_version != 2 || again->current->id == snapshot.id);
        ice_metadata_unref(again);
    }
    buf_done(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ice_metadata *m = NULL;
    struct arena arena;
    arena_init(&arena, 0);
    if (ice_metadata_parse(str_from((const char *)data, size), &m, NULL) == OK) {
        ask(m);
        edit(&arena, m);
        ice_metadata_unref(m);
    }
    arena_done(&arena);
    return 0;
}
