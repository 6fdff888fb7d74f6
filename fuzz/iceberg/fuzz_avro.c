/*
 * Any bytes as a manifest and as a manifest list. What can be read is written again and must come
 * back the same.
 */
#include "iceberg/manifest.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool cond)
{
    if (!cond) {
        abort();
    }
}

static void rewrite_manifest(struct arena *arena, const struct ice_manifest *manifest)
{
    struct ice_schema schema = { .root.kind = ICE_STRUCT };
    struct ice_manifest again = { 0 };
    struct buf out;
    if (manifest->file_count == 0) {
        return;
    }
    struct ice_manifest_opts opts = {
        .schema = &schema,
        .partition_spec = manifest->partition_spec,
        .avro_partition_schema = manifest->avro_partition_schema,
        .content = manifest->files[0].content == ICE_DATA ? 0 : 1,
    };
    buf_init(&out, 0);
    if (ice_manifest_write(&opts, manifest->files, manifest->file_count, &out, NULL) == OK) {
        check(ice_manifest_read(arena, buf_str(&out), NULL, &again, NULL) == OK);
        check(again.file_count == manifest->file_count);
        check(str_eq(again.files[0].path, manifest->files[0].path));
        check(str_eq(again.files[0].partition_avro, manifest->files[0].partition_avro));
        check(again.files[0].column_count <= manifest->files[0].column_count);
    }
    buf_done(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str bytes = str_from((const char *)data, size);
    struct ice_manifest_file row = { .path = STR("m"), .sequence_number = 3 };
    struct ice_manifest_file *rows = NULL;
    struct ice_manifest manifest = { 0 };
    struct arena arena;
    size_t count = 0;
    arena_init(&arena, 0);
    if (ice_manifest_read(&arena, bytes, &row, &manifest, NULL) == OK) {
        rewrite_manifest(&arena, &manifest);
    }
    if (ice_manifest_list_read(&arena, bytes, &rows, &count, NULL) == OK) {
        for (size_t i = 0; i < count; i++) {
            check(rows[i].path.len > 0);
        }
    }
    arena_done(&arena);
    return 0;
}
