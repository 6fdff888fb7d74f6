/*
 * Snapshot summaries, and the names that a commit mints: snapshot ids, metadata file names, slugs.
 */
#include "iceberg/metadata_priv.h"

#include "base/rng.h"

#include <stdio.h>

static int64_t parent_total(const struct ice_snapshot *parent, const char *name, bool *known)
{
    if (parent == NULL) {
        *known = true;
        return 0;
    }
    yyjson_val *total = yyjson_obj_get(parent->summary, name);
    int64_t value = 0;
    struct str text = str_from(yyjson_get_str(total), yyjson_get_len(total));
    *known = yyjson_is_str(total) && str_to_i64(text, &value) && value >= 0;
    return *known ? value : 0;
}

struct summary {
    struct arena *arena;
    struct ice_property *items;
    size_t count;
    const struct ice_property *extra;
    size_t extra_count;
};

static enum status put(struct summary *summary, const char *name, int64_t value)
{
    for (size_t i = 0; i < summary->extra_count; i++) {
        if (str_eq(summary->extra[i].name, str_of(name))) {
            return OK; /* the caller knows better */
        }
    }
    struct str text = arena_printf(summary->arena, "%lld", (long long)value);
    if (text.ptr == NULL) {
        return E_NO_MEMORY;
    }
    summary->items[summary->count++] = (struct ice_property){ .name = str_of(name), .value = text };
    return OK;
}

static enum status put_totals(struct summary *summary, const struct ice_snapshot *parent,
                              int64_t files, int64_t records, int64_t bytes)
{
    const struct {
        const char *name;
        int64_t added;
    } totals[] = {
        { "total-data-files", files },   { "total-records", records },
        { "total-files-size", bytes },   { "total-delete-files", 0 },
        { "total-position-deletes", 0 }, { "total-equality-deletes", 0 },
    };
    for (size_t i = 0; i < ARRAY_LEN(totals); i++) {
        bool known = false;
        int64_t before = parent_total(parent, totals[i].name, &known);
        if (known && before <= INT64_MAX - totals[i].added) {
            TRY(put(summary, totals[i].name, before + totals[i].added));
        }
    }
    return OK;
}

enum status ice_append_summary(struct arena *arena, const struct ice_snapshot *parent,
                               const struct ice_data_file *files, size_t count,
                               const struct ice_property *extra, size_t extra_count,
                               struct ice_property **out, size_t *count_out, struct err *err)
{
    enum { OWN_MAX = 16 };
    struct summary summary = { .arena = arena, .extra = extra, .extra_count = extra_count };
    int64_t records = 0;
    int64_t bytes = 0;
    for (size_t i = 0; i < count; i++) {
        if (files[i].content != ICE_DATA || files[i].record_count < 0 || files[i].size_bytes < 0 ||
            __builtin_add_overflow(records, files[i].record_count, &records) ||
            __builtin_add_overflow(bytes, files[i].size_bytes, &bytes)) {
            return err_set(err, E_INVALID,
                           "\"%.*s\" is no data file with counts that can be added up",
                           STR_ARG(files[i].path));
        }
    }
    size_t room = 0;
    if (!__builtin_add_overflow(extra_count, OWN_MAX, &room)) {
        summary.items = arena_array(arena, room, sizeof(*summary.items));
    }
    if (summary.items == NULL) {
        return err_no_memory(err);
    }
    summary.items[summary.count++] = (struct ice_property){ .name = STR("operation"),
                                                            .value = STR("append") };
    if (put(&summary, "added-data-files", (int64_t)count) != OK ||
        put(&summary, "added-records", records) != OK ||
        put(&summary, "added-files-size", bytes) != OK ||
        put(&summary, "changed-partition-count", count > 0 ? 1 : 0) != OK ||
        put_totals(&summary, parent, (int64_t)count, records, bytes) != OK) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < extra_count; i++) {
        summary.items[summary.count++] = extra[i];
    }
    *out = summary.items;
    *count_out = summary.count;
    return OK;
}

int64_t ice_snapshot_id(const struct ice_metadata *metadata)
{
    /* Below 2^53: clients in JavaScript read JSON numbers as doubles, and two bigger ids can become
     * one. */
    for (;;) {
        int64_t id = (int64_t)(random_u64() & (((uint64_t)1 << 53) - 1));
        if (id != 0 && (metadata == NULL || ice_metadata_snapshot(metadata, id) == NULL)) {
            return id;
        }
    }
}

enum status ice_metadata_name(struct arena *arena, int64_t version, struct str uuid,
                              struct str *out)
{
    struct str name = arena_printf(arena, "%05lld-%.*s.metadata.json", (long long)version,
                                   STR_ARG(uuid));
    if (name.ptr == NULL) {
        return E_NO_MEMORY;
    }
    *out = name;
    return OK;
}

void ice_slug(struct str name, char out[41])
{
    size_t len = 0;
    for (size_t i = 0; i < name.len && len < 40; i++) {
        char c = name.ptr[i];
        if (c >= 'A' && c <= 'Z') {
            c = (char)(c - 'A' + 'a');
        }
        bool kept = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
        if (!kept && (len == 0 || out[len - 1] == '-')) {
            continue; /* no dash at the start, and one for a run of others */
        }
        out[len++] = kept ? c : '-';
    }
    while (len > 0 && out[len - 1] == '-') {
        len--;
    }
    if (len == 0) {
        out[len++] = 'x';
    }
    out[len] = '\0';
}
