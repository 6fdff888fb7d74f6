/*
 * Snapshots, history and refs: what the table's metadata says by itself.
 */
#include <stdlib.h>

#include "query/inspect.h"

enum { US_PER_MS = 1000 };

static struct str text_of(yyjson_val *value)
{
    return yyjson_is_str(value) ? str_from(yyjson_get_str(value), yyjson_get_len(value))
                                : (struct str){ NULL, 0 };
}

static void write_moment(struct json_writer *w, int64_t ms)
{
    int64_t us = 0;
    if (__builtin_mul_overflow(ms, US_PER_MS, &us)) {
        jw_null(w);
    } else {
        jw_i64(w, us);
    }
}

/* --- snapshots --- */

/** All of the summary but the operation, which has a column of its own. */
static void write_summary(struct json_writer *w, yyjson_val *summary)
{
    size_t i;
    size_t max;
    yyjson_val *key;
    yyjson_val *value;
    if (summary == NULL) {
        jw_null(w);
        return;
    }
    jw_arr_begin(w);
    yyjson_obj_foreach(summary, i, max, key, value)
    {
        if (yyjson_is_str(value) && !yyjson_equals_str(key, "operation")) {
            jw_arr_begin(w);
            jw_str(w, text_of(key));
            jw_str(w, text_of(value));
            jw_arr_end(w);
        }
    }
    jw_arr_end(w);
}

static void write_snapshot(struct inspect_page *page, const struct ice_snapshot *snapshot)
{
    struct json_writer *w = &page->w;
    for (size_t i = 0; i < page->column_count; i++) {
        switch (page->columns[i]) {
        case COL_COMMITTED_AT:
            write_moment(w, snapshot->timestamp_ms);
            break;
        case COL_SNAPSHOT_ID:
            jw_i64(w, snapshot->id);
            break;
        case COL_PARENT_ID:
            inspect_write_opt(w, snapshot->parent_id);
            break;
        case COL_OPERATION:
            inspect_write_text(w, text_of(yyjson_obj_get(snapshot->summary, "operation")));
            break;
        case COL_MANIFEST_LIST:
            inspect_write_text(w, snapshot->manifest_list);
            break;
        case COL_SUMMARY:
            write_summary(w, snapshot->summary);
            break;
        default:
            jw_null(w);
            break;
        }
    }
}

/* --- history --- */

static int compare_ids(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/** The current snapshot and those before it, sorted. */
static enum status find_ancestors(struct arena *arena, const struct ice_metadata *metadata,
                                  int64_t **out, size_t *count_out, struct err *err)
{
    int64_t *ids = arena_array(arena, metadata->snapshot_count + 1, sizeof(*ids));
    size_t count = 0;
    if (ids == NULL) {
        return err_no_memory(err);
    }
    const struct ice_snapshot *at = metadata->current;
    while (at != NULL && count < metadata->snapshot_count) {
        ids[count++] = at->id;
        at = at->parent_id < 0 ? NULL : ice_metadata_snapshot(metadata, at->parent_id);
    }
    if (count > 1) {
        qsort(ids, count, sizeof(*ids), compare_ids);
    }
    *out = ids;
    *count_out = count;
    return OK;
}

struct history {
    const struct ice_metadata *metadata;
    int64_t *ancestors; /* sorted */
    size_t ancestor_count;
};

static void write_event(struct inspect_page *page, const struct history *history,
                        const struct ice_log_entry *event)
{
    struct json_writer *w = &page->w;
    const struct ice_snapshot *snapshot = ice_metadata_snapshot(history->metadata,
                                                                event->snapshot_id);
    for (size_t i = 0; i < page->column_count; i++) {
        switch (page->columns[i]) {
        case COL_MADE_CURRENT_AT:
            write_moment(w, event->timestamp_ms);
            break;
        case COL_SNAPSHOT_ID:
            jw_i64(w, event->snapshot_id);
            break;
        case COL_PARENT_ID:
            inspect_write_opt(w, snapshot == NULL ? -1 : snapshot->parent_id);
            break;
        case COL_IS_ANCESTOR:
            jw_bool(w, history->ancestor_count > 0 &&
                           bsearch(&event->snapshot_id, history->ancestors, history->ancestor_count,
                                   sizeof(event->snapshot_id), compare_ids) != NULL);
            break;
        default:
            jw_null(w);
            break;
        }
    }
}

/* --- refs --- */

/** A number of a ref; null where it has none. */
static void write_number(struct json_writer *w, yyjson_val *ref, const char *name)
{
    yyjson_val *value = yyjson_obj_get(ref, name);
    if (yyjson_is_int(value)) {
        jw_i64(w, yyjson_get_sint(value));
    } else {
        jw_null(w);
    }
}

static void write_ref(struct inspect_page *page, const struct ice_metadata *metadata,
                      const struct ice_ref *ref)
{
    struct json_writer *w = &page->w;
    yyjson_val *refs = yyjson_obj_get(yyjson_doc_get_root(metadata->doc), "refs");
    yyjson_val *json = yyjson_obj_getn(refs, ref->name.ptr, ref->name.len);
    for (size_t i = 0; i < page->column_count; i++) {
        switch (page->columns[i]) {
        case COL_NAME:
            jw_str(w, ref->name);
            break;
        case COL_TYPE:
            jw_str(w, ref->is_tag ? STR("TAG") : STR("BRANCH"));
            break;
        case COL_SNAPSHOT_ID:
            jw_i64(w, ref->snapshot_id);
            break;
        case COL_REF_AGE:
            write_number(w, json, "max-ref-age-ms");
            break;
        case COL_MIN_SNAPSHOTS:
            write_number(w, json, "min-snapshots-to-keep");
            break;
        case COL_SNAPSHOT_AGE:
            write_number(w, json, "max-snapshot-age-ms");
            break;
        default:
            jw_null(w);
            break;
        }
    }
}

/* --- a page of any of them --- */

static size_t count_of(const struct ice_metadata *metadata, enum inspect_kind kind)
{
    return kind == INSPECT_SNAPSHOTS ? metadata->snapshot_count
           : kind == INSPECT_HISTORY ? metadata->log_count
                                     : metadata->ref_count;
}

enum status inspect_rows(struct inspect *in, enum inspect_kind kind, struct inspect_page *page,
                         uint64_t after, uint64_t *next_out, struct err *err)
{
    AUTO(arena_done) struct arena scratch;
    const struct ice_metadata *metadata = in->pin->metadata;
    struct history history = { .metadata = metadata };
    uint64_t count = count_of(metadata, kind);
    arena_init(&scratch, 0);
    if (kind == INSPECT_HISTORY) {
        TRY(find_ancestors(&scratch, metadata, &history.ancestors, &history.ancestor_count, err));
    }
    for (uint64_t i = after; i < count; i++) {
        if (inspect_page_is_full(page)) {
            *next_out = i;
            return OK;
        }
        jw_arr_begin(&page->w);
        if (kind == INSPECT_SNAPSHOTS) {
            write_snapshot(page, &metadata->snapshots[i]);
        } else if (kind == INSPECT_HISTORY) {
            write_event(page, &history, &metadata->snapshot_log[i]);
        } else {
            write_ref(page, metadata, &metadata->branches[i]);
        }
        jw_arr_end(&page->w);
        page->rows++;
    }
    return OK;
}
