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

/** What an edit says it made is what its text says, and the next edit makes the same of both. */
static void same(struct arena *arena, const struct ice_metadata *next,
                 const struct ice_metadata *again)
{
    struct ice_edit what = { .set_count = 0, .now_ms = 1, .snapshots_max = 1 };
    struct ice_edit_result result = { 0 };
    struct err err = { 0 };
    struct buf out[2];
    check(next->snapshot_count == again->snapshot_count && next->log_count == again->log_count);
    for (size_t i = 0; i < next->snapshot_count; i++) {
        check(next->snapshots[i].id == again->snapshots[i].id);
        check(str_eq(next->snapshots[i].manifest_list, again->snapshots[i].manifest_list));
        check(ice_metadata_snapshot(next, next->snapshots[i].id) == &next->snapshots[i]);
    }
    buf_init(&out[0], 0);
    buf_init(&out[1], 0);
    enum status status = ice_metadata_edit(next, &what, arena, &out[0], &result, &err);
    check(ice_metadata_edit(again, &what, arena, &out[1], &result, &err) == status);
    check(str_eq(buf_str(&out[0]), buf_str(&out[1])));
    buf_done(&out[0]);
    buf_done(&out[1]);
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
    struct ice_metadata *next = NULL;
    if (ice_metadata_next(m, &what, arena, &out, &next, &result, &err) == OK) {
        check(ice_metadata_parse(buf_str(&out), &again, &err) == OK);
        check(str_eq(ice_metadata_property(again, STR("operation")), STR("append")));
        check(m->format_version != 2 || again->current->id == snapshot.id);
        same(arena, next, again);
        ice_metadata_unref(next);
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
