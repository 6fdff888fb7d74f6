/*
 * What an engine reports of a Parquet file that it has written or looked at, as a data file.
 */
#ifndef ENGINE_FILE_STATS_H
#define ENGINE_FILE_STATS_H

#include "base/json.h"
#include "iceberg/manifest.h"

/**
 * The DONE frame of a "convert" or an entry of an "inspect" job as a data file: counts, sizes,
 * bounds by field id, split offsets. path and size_bytes are the caller's to set. `schema` has the
 * ids that the frame speaks of.
 */
enum status engine_file_stats(struct arena *arena, const struct ice_schema *schema, struct str json,
                              struct ice_data_file *out, struct err *err) MUST_USE;
/** The same of an object that is parsed. */
enum status engine_file_report(struct arena *arena, const struct ice_schema *schema,
                               yyjson_val *root, struct ice_data_file *out,
                               struct err *err) MUST_USE;

#endif
