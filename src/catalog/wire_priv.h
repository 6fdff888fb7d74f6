/*
 * The half of wire.h that is about data files.
 */
#ifndef CATALOG_WIRE_PRIV_H
#define CATALOG_WIRE_PRIV_H

#include "catalog/wire.h"

/** A whole object. Column statistics travel as arrays [id, size, values, nulls, nans, lower,
 * upper], bounds in base64 or null. */
void wire_file(struct json_writer *w, const struct ice_data_file *file);
enum status wire_read_file(struct arena *arena, yyjson_val *obj, struct ice_data_file *out,
                           struct err *err) MUST_USE;

#endif
