/*
 * Partitions in manifests and their lists.
 */
#include "catalog/partition_row.h"

enum status partition_row_schema(struct arena *arena, const struct ice_partition_spec *spec,
                                 struct str *out, struct err *err)
{
    AUTO(buf_done) struct buf json;
    buf_init(&json, 0);
    TRY(ice_partition_avro_schema(spec, &json, err));
    *out = arena_str(arena, buf_str(&json));
    return out->ptr == NULL ? err_no_memory(err) : OK;
}

enum status partition_row_begin(struct arena *arena, const struct ice_partition_spec *spec,
                                struct ice_manifest_file *row, struct err *err)
{
    row->partitions = arena_array(arena, spec->field_count + 1, sizeof(*row->partitions));
    if (row->partitions == NULL) {
        return err_no_memory(err);
    }
    row->partition_count = spec->field_count;
    for (size_t f = 0; f < spec->field_count; f++) {
        row->partitions[f] = (struct ice_partition_summary){ .contains_nan = -1 };
    }
    return OK;
}

enum status partition_row_add(const struct ice_partition_spec *spec, const struct str *values,
                              struct ice_manifest_file *row, struct err *err)
{
    for (size_t f = 0; f < spec->field_count; f++) {
        TRY(ice_partition_widen(&row->partitions[f], &spec->fields[f].type, values[f], err));
    }
    return OK;
}
