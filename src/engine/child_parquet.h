/*
 * Parquet files that the engine writes: field ids for COPY, and what is told of a file once it is
 * there. Compiled only into lakehouse-engine.
 */
#ifndef ENGINE_CHILD_PARQUET_H
#define ENGINE_CHILD_PARQUET_H

#include "base/json.h"
#include "duck/duck.h"
#include "iceberg/schema.h"

/** 'name': id, or with children 'name': {__duckdb_field_id: id, ...}. Lists have `element`, maps
 * `key` and `value`. */
enum status parquet_field_ids(const struct ice_field *field, struct buf *out) MUST_USE;
/** The one row that COPY with RETURN_STATS answers with, as a JSON object with its newline,
 * appended. Frees `result`. */
enum status parquet_copy_row(struct duck_result *result, struct buf *row, struct err *err) MUST_USE;
/**
 * "rows", "columns" and "split_offsets" of the file in `fd` (engine/file_stats.h reads them), as
 * members of an object that the caller has begun.
 *
 * row  what parquet_copy_row gave, parsed
 */
enum status parquet_report(struct json_writer *w, const struct ice_schema *schema, yyjson_val *row,
                           int fd, struct err *err) MUST_USE;

#endif
