/*
 * Statistics of a file whose field ids are not the table's.
 */
#ifndef CATALOG_REMAP_H
#define CATALOG_REMAP_H

#include "iceberg/manifest.h"

/**
 * Bring the statistics of `out`, which are by the ids of `from`, to those of `to`. Both have the
 * same fields in the same order.
 *
 * Errors   E_CONFLICT when the file carries ids of its own (`has_ids`) that differ: readers would
 *          take one column for another
 */
enum status remap_stats(struct arena *arena, const struct ice_schema *from,
                        const struct ice_schema *to, bool has_ids, struct str key,
                        struct ice_data_file *out, struct err *err) MUST_USE;

#endif
