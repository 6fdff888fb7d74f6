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

/** What a commit adds to each total; less than nothing where it takes away. */
struct deltas {
    int64_t files, records, bytes, delete_files, position_deletes, equality_deletes;
};

static enum status put_totals(struct summary *summary, const struct ice_snapshot *parent,
                              const struct deltas *deltas)
{
    const struct {
        const char *name;
        int64_t added;
    } totals[] = {
        { "total-data-files", deltas->files },
        { "total-records", deltas->records },
        { "total-files-size", deltas->bytes },
        { "total-delete-files", deltas->delete_files },
        { "total-position-deletes", deltas->position_deletes },
        { "total-equality-deletes", deltas->equality_deletes },
    };
    for (size_t i = 0; i < ARRAY_LEN(totals); i++) {
        bool known = false;
        int64_t before = parent_total(parent, totals[i].name, &known), after;
        if (known && !__builtin_add_overflow(before, totals[i].added, &after) && after >= 0) {
            TRY(put(summary, totals[i].name, after));
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
    const struct deltas deltas = { .files = (int64_t)count, .records = records, .bytes = bytes };
    summary.items[summary.count++] = (struct ice_property){ .name = STR("operation"),
                                                            .value = STR("append") };
    if (put(&summary, "added-data-files", (int64_t)count) != OK ||
        put(&summary, "added-records", records) != OK ||
        put(&summary, "added-files-size", bytes) != OK ||
        put(&summary, "changed-partition-count", count > 0 ? 1 : 0) != OK ||
        put_totals(&summary, parent, &deltas) != OK) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < extra_count; i++) {
        summary.items[summary.count++] = extra[i];
    }
    *out = summary.items;
    *count_out = summary.count;
    return OK;
}

/* --- commits that take away too --- */

/** Sums of files on one side of a commit. */
struct sums {
    int64_t data_files, records, bytes;
    int64_t delete_files, position_files, equality_files, position_deletes, equality_deletes;
};

static bool add_file(struct sums *sums, const struct ice_data_file *file)
{
    if (file->record_count < 0 || file->size_bytes < 0 ||
        __builtin_add_overflow(sums->bytes, file->size_bytes, &sums->bytes)) {
        return false;
    }
    int64_t *rows = &sums->records;
    if (file->content == ICE_DATA) {
        sums->data_files++;
    } else {
        bool by_position = file->content == ICE_POSITION_DELETES;
        sums->delete_files++;
        (*(by_position ? &sums->position_files : &sums->equality_files))++;
        rows = by_position ? &sums->position_deletes : &sums->equality_deletes;
    }
    return !__builtin_add_overflow(*rows, file->record_count, rows);
}

/** Names that are told only when there is something to tell, as other writers do. */
static enum status put_some(struct summary *summary, const char *name, int64_t value)
{
    return value > 0 ? put(summary, name, value) : OK;
}

static enum status put_sides(struct summary *summary, const struct sums *added,
                             const struct sums *removed)
{
    const struct {
        const char *name;
        int64_t value;
    } some[] = {
        { "added-data-files", added->data_files },
        { "added-records", added->records },
        { "added-files-size", added->bytes },
        { "added-delete-files", added->delete_files },
        { "added-position-delete-files", added->position_files },
        { "added-position-deletes", added->position_deletes },
        { "deleted-data-files", removed->data_files },
        { "deleted-records", removed->records },
        { "removed-files-size", removed->bytes },
        { "removed-delete-files", removed->delete_files },
        { "removed-position-delete-files", removed->position_files },
        { "removed-position-deletes", removed->position_deletes },
        { "removed-equality-delete-files", removed->equality_files },
        { "removed-equality-deletes", removed->equality_deletes },
    };
    for (size_t i = 0; i < ARRAY_LEN(some); i++) {
        TRY(put_some(summary, some[i].name, some[i].value));
    }
    return OK;
}

enum status ice_rewrite_summary(struct arena *arena, const struct ice_snapshot *parent,
                                const struct ice_rewritten_files *files, struct ice_property **out,
                                size_t *count_out, struct err *err)
{
    enum { OWN_MAX = 32 };
    struct summary summary = { .arena = arena };
    struct sums added = { 0 }, removed = { 0 };
    bool fits = true;
    for (size_t i = 0; i < files->added_count; i++) {
        fits = fits && add_file(&added, &files->added[i]);
    }
    for (size_t i = 0; i < files->removed_count; i++) {
        fits = fits && add_file(&removed, &files->removed[i]);
    }
    if (!fits) {
        return err_set(err, E_INVALID, "files with counts that cannot be added up");
    }
    summary.items = arena_array(arena, OWN_MAX, sizeof(*summary.items));
    if (summary.items == NULL) {
        return err_no_memory(err);
    }
    const struct deltas deltas = {
        .files = added.data_files - removed.data_files,
        .records = added.records - removed.records,
        .bytes = added.bytes - removed.bytes,
        .delete_files = added.delete_files - removed.delete_files,
        .position_deletes = added.position_deletes - removed.position_deletes,
        .equality_deletes = added.equality_deletes - removed.equality_deletes,
    };
    summary.items[summary.count++] = (struct ice_property){ .name = STR("operation"),
                                                            .value = str_of(files->operation) };
    if (put_sides(&summary, &added, &removed) != OK ||
        put_totals(&summary, parent, &deltas) != OK) {
        return err_no_memory(err);
    }
    *out = summary.items;
    *count_out = summary.count;
    return OK;
}

/* --- names --- */

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
