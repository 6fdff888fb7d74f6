/*
 * Nulls first, then by value, NaN last, field by field; what is equal stays in the order in which
 * it came. Rows go by the lower bound of the first field alone: it decides most of what is read.
 */
#include "catalog/upkeep_sort.h"

#include "iceberg/value.h"

#include <stdlib.h>

/* --- entries --- */

/** 0 also for values that are none of the type: their order does not matter. */
static int compare_values(const struct ice_type *type, struct str a, struct str b)
{
    int order = 0;
    if (a.ptr == NULL || b.ptr == NULL) {
        return (a.ptr != NULL) - (b.ptr != NULL);
    }
    bool a_nan = ice_partition_is_nan(type, a), b_nan = ice_partition_is_nan(type, b);
    if (a_nan || b_nan) {
        return a_nan - b_nan;
    }
    return ice_bound_compare(type, a, b, &order, NULL) == OK ? order : 0;
}

static int compare_entries(const void *a, const void *b)
{
    const struct upkeep_entry *x = a;
    const struct upkeep_entry *y = b;
    for (size_t f = 0; f < x->spec->field_count; f++) {
        int order = compare_values(&x->spec->fields[f].type, x->values[f], y->values[f]);
        if (order != 0) {
            return order;
        }
    }
    return (x->place > y->place) - (x->place < y->place);
}

static enum status read_values(struct arena *arena, const struct ice_partition_spec *spec,
                               const struct ice_partition_order *order,
                               const struct ice_data_file *file, const struct str **out,
                               struct err *err)
{
    struct str *values = arena_array(arena, spec->field_count + 1, sizeof(*values));
    if (values == NULL) {
        return err_no_memory(err);
    }
    for (size_t f = 0; f < spec->field_count; f++) {
        char scratch[8];
        bool there = false;
        TRY(ice_partition_value(file, order, &spec->fields[f], scratch, &there, &values[f], err));
        if (values[f].ptr == scratch) {
            values[f] = arena_str(arena, values[f]);
            if (values[f].ptr == NULL) {
                return err_no_memory(err);
            }
        }
    }
    *out = values;
    return OK;
}

static enum status read_entries(struct arena *arena, const struct ice_partition_spec *spec,
                                const struct ice_manifest *manifest, struct upkeep_entry *entries,
                                size_t *count, struct err *err)
{
    struct ice_partition_order order;
    TRY(ice_partition_order(arena, manifest, spec, &order, err));
    for (size_t i = 0; i < manifest->file_count; i++) {
        if (manifest->files[i].status == ICE_DELETED) {
            continue; /* told by an earlier snapshot */
        }
        struct upkeep_entry *entry = &entries[*count];
        *entry = (struct upkeep_entry){ .file = &manifest->files[i],
                                        .spec = spec,
                                        .place = *count };
        TRY(read_values(arena, spec, &order, entry->file, &entry->values, err));
        *count += 1;
    }
    return OK;
}

enum status upkeep_sort(struct arena *arena, const struct ice_partition_spec *spec,
                        const struct reader_manifest *const *manifests, size_t manifest_count,
                        struct upkeep_entry **out, size_t *count_out, struct err *err)
{
    size_t count = 0, most = 0;
    for (size_t i = 0; i < manifest_count; i++) {
        most += manifests[i]->manifest.file_count;
    }
    struct upkeep_entry *entries = arena_array(arena, most + 1, sizeof(*entries));
    if (entries == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < manifest_count; i++) {
        TRY(read_entries(arena, spec, &manifests[i]->manifest, entries, &count, err));
    }
    qsort(entries, count, sizeof(*entries), compare_entries);
    *out = entries;
    *count_out = count;
    return OK;
}

enum status upkeep_summarize(struct arena *arena, const struct ice_partition_spec *spec,
                             const struct upkeep_entry *entries, size_t count,
                             struct ice_manifest_file *row, struct err *err)
{
    row->partition_count = spec->field_count;
    row->partitions = arena_array(arena, spec->field_count + 1, sizeof(*row->partitions));
    if (row->partitions == NULL) {
        return err_no_memory(err);
    }
    for (size_t f = 0; f < spec->field_count; f++) {
        struct ice_partition_summary *summary = &row->partitions[f];
        summary->contains_nan = -1;
        for (size_t i = 0; i < count; i++) {
            TRY(ice_partition_widen(summary, &spec->fields[f].type, entries[i].values[f], err));
        }
        struct str *bounds[] = { &summary->lower, &summary->upper };
        for (size_t b = 0; b < ARRAY_LEN(bounds); b++) {
            if (bounds[b]->ptr != NULL) {
                *bounds[b] = arena_str(arena, *bounds[b]);
                TRY(bounds[b]->ptr == NULL ? err_no_memory(err) : OK);
            }
        }
    }
    return OK;
}

/* --- rows --- */

static struct str first_bound(const struct ice_manifest_file *row, bool upper)
{
    if (row->partition_count == 0) {
        return (struct str){ NULL, 0 };
    }
    return upper ? row->partitions[0].upper : row->partitions[0].lower;
}

struct keyed_row {
    const struct ice_manifest_file *row;
    const struct ice_type *type;
    size_t place;
};

static int compare_rows(const void *a, const void *b)
{
    const struct keyed_row *x = a;
    const struct keyed_row *y = b;
    int order = compare_values(x->type, first_bound(x->row, false), first_bound(y->row, false));
    return order != 0 ? order : (x->place > y->place) - (x->place < y->place);
}

enum status upkeep_sort_rows(struct arena *arena, const struct ice_partition_spec *spec,
                             const struct ice_manifest_file **rows, size_t count, struct err *err)
{
    if (count < 2 || spec->field_count == 0) {
        return OK;
    }
    struct keyed_row *keyed = arena_array(arena, count, sizeof(*keyed));
    if (keyed == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < count; i++) {
        keyed[i] = (struct keyed_row){ rows[i], &spec->fields[0].type, i };
    }
    qsort(keyed, count, sizeof(*keyed), compare_rows);
    for (size_t i = 0; i < count; i++) {
        rows[i] = keyed[i].row;
    }
    return OK;
}

size_t upkeep_overlaps(const struct ice_partition_spec *spec,
                       const struct ice_manifest_file *const *rows, size_t count)
{
    struct str end = { NULL, 0 };
    size_t overlaps = 0;
    for (size_t i = 0; i < count && spec->field_count > 0; i++) {
        struct str lower = first_bound(rows[i], false), upper = first_bound(rows[i], true);
        if (lower.ptr == NULL || upper.ptr == NULL) {
            continue; /* it tells nothing */
        }
        const struct ice_type *type = &spec->fields[0].type;
        overlaps += end.ptr != NULL && compare_values(type, lower, end) < 0 ? 1 : 0;
        end = end.ptr == NULL || compare_values(type, upper, end) > 0 ? upper : end;
    }
    return overlaps;
}
