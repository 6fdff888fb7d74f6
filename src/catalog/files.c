/*
 * The live files of a snapshot: its manifest list, each manifest of it, the entries that are not
 * deleted.
 */
#include "catalog/batch.h"
#include "catalog/catalog_priv.h"
#include "catalog/pin.h"

/** The manifests of a snapshot, held by the pin. */
struct manifests {
    const struct reader_manifest **items;
    size_t count;
};

static enum status read_list(struct reader *reader, const struct catalog_pin *pin,
                             const struct reader_list **out, struct err *err)
{
    struct cache_item *item = NULL;
    if (pin->snapshot->manifest_list.ptr == NULL) {
        return err_set(
            err, E_UNSUPPORTED,
            "snapshot %lld of table \"%.*s\" lists its manifests inline (format version 1)",
            (long long)pin->snapshot->id, STR_ARG(pin->table.name.name));
    }
    TRY(reader_list(reader, pin->snapshot->manifest_list, &item, out, err));
    return pin_hold(pin, item, err);
}

static enum status read_manifests(struct reader *reader, const struct catalog_pin *pin,
                                  struct arena *arena, struct manifests *out, struct err *err)
{
    struct cache_item *item = NULL;
    const struct reader_list *list = NULL;
    TRY(read_list(reader, pin, &list, err));
    out->items = arena_array(arena, list->count, sizeof(struct reader_manifest *));
    if (out->items == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < list->count; i++) {
        TRY(reader_manifest(reader, &list->rows[i], &item, &out->items[i], err));
        TRY(pin_hold(pin, item, err));
        out->count++;
    }
    return OK;
}

enum status catalog_manifests(struct catalog *catalog, const struct catalog_pin *pin,
                              struct catalog_manifests *out, struct err *err)
{
    const struct reader_list *list = NULL;
    if (pin->snapshot == NULL) {
        *out = (struct catalog_manifests){ 0 };
        return OK;
    }
    TRY(read_list(catalog->reader, pin, &list, err));
    *out = (struct catalog_manifests){ .rows = list->rows, .count = list->count };
    return OK;
}

enum status catalog_manifest_open(struct catalog *catalog, const struct ice_manifest_file *row,
                                  struct catalog_manifest *out, struct err *err)
{
    struct cache_item *item = NULL;
    const struct reader_manifest *manifest = NULL;
    TRY(reader_manifest(catalog->reader, row, &item, &manifest, err));
    *out = (struct catalog_manifest){ .manifest = &manifest->manifest, .item = item };
    return OK;
}

void catalog_manifest_close(struct catalog_manifest *manifest)
{
    if (manifest->item != NULL) {
        cache_release(manifest->item);
    }
    *manifest = (struct catalog_manifest){ 0 };
}

static void count_files(const struct manifests *manifests, size_t *data_out, size_t *deletes_out)
{
    for (size_t m = 0; m < manifests->count; m++) {
        const struct ice_manifest *manifest = &manifests->items[m]->manifest;
        for (size_t i = 0; i < manifest->file_count; i++) {
            if (manifest->files[i].status != ICE_DELETED) {
                (*(manifest->files[i].content == ICE_DATA ? data_out : deletes_out))++;
            }
        }
    }
}

static enum status add_file(struct reader *reader, struct arena *arena,
                            const struct reader_manifest *manifest, size_t index,
                            struct catalog_files *out, struct err *err)
{
    const struct ice_data_file *file = &manifest->manifest.files[index];
    struct catalog_file entry = { .source = STR_EMPTY,
                                  .file = file,
                                  .manifest = &manifest->manifest,
                                  .key = manifest->keys[index] };
    if (entry.key.ptr == NULL) { /* says why, or the lake has a new root since */
        TRY(locate_key(reader->locate, file->path, arena, &entry.key, err));
    }
    if (file->content == ICE_DATA) {
        out->files[out->count++] = entry;
    } else {
        out->deletes[out->delete_count++] = entry;
    }
    return OK;
}

enum status catalog_files(struct catalog *catalog, const struct catalog_pin *pin,
                          struct arena *arena, struct catalog_files *out, struct err *err)
{
    struct catalog_files files = { 0 };
    struct manifests manifests = { 0 };
    if (pin->snapshot != NULL) {
        TRY(read_manifests(catalog->reader, pin, arena, &manifests, err));
    }
    size_t data = 0, deletes = 0;
    count_files(&manifests, &data, &deletes);
    files.files = arena_array(arena, data, sizeof(*files.files));
    files.deletes = arena_array(arena, deletes, sizeof(*files.deletes));
    if (files.files == NULL || files.deletes == NULL) {
        return err_no_memory(err);
    }
    for (size_t m = 0; m < manifests.count; m++) {
        const struct ice_manifest *manifest = &manifests.items[m]->manifest;
        for (size_t i = 0; i < manifest->file_count; i++) {
            if (manifest->files[i].status != ICE_DELETED) {
                TRY(add_file(catalog->reader, arena, manifests.items[m], i, &files, err));
            }
        }
    }
    *out = files;
    return OK;
}

enum status catalog_sources(struct catalog *catalog, const struct catalog_pin *pin,
                            struct arena *arena, struct catalog_files *files, struct err *err)
{
    for (size_t i = 0; i < files->count; i++) {
        struct str id;
        bool found = false;
        struct pointer_batch batch;
        if (!batch_source_of_file(files->files[i].key, &id)) {
            continue;
        }
        TRY(batch_read(catalog->reader->store, pin->table.uuid, id, arena, &found, &batch, err));
        if (found) {
            files->files[i].source = batch.source;
        }
    }
    return OK;
}
