/*
 * What the files of the metadata module share.
 */
#ifndef ICEBERG_METADATA_PRIV_H
#define ICEBERG_METADATA_PRIV_H

#include "iceberg/metadata.h"

/* yyjson's loops step from the container's address, which must not be done with NULL. */
#define ARR_EACH(arr, i, max, val)                                                                 \
    if ((arr) != NULL)                                                                             \
    yyjson_arr_foreach(arr, i, max, val)
#define OBJ_EACH(obj, i, max, key, val)                                                            \
    if ((obj) != NULL)                                                                             \
    yyjson_obj_foreach(obj, i, max, key, val)

/** One snapshot id and where its snapshot stands, sorted by id. */
struct ice_snapshot_slot {
    int64_t id;
    size_t index;
};

/** The index of a snapshot in metadata->snapshots, SIZE_MAX when it is not there. */
size_t metadata_find(const struct ice_metadata *metadata, int64_t snapshot_id);
/** A whole number in a text property or ref member; `otherwise` when it is absent or no number. */
int64_t metadata_property_i64(const struct ice_metadata *metadata, struct str name,
                              int64_t otherwise);

#endif
