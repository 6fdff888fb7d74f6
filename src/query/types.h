/*
 * Which bounds of Iceberg types may leave files out.
 */
#ifndef QUERY_TYPES_H
#define QUERY_TYPES_H

#include "iceberg/schema.h"

/** Whether bounds of the type, as text, are good for leaving files out. */
bool query_type_has_bounds(const struct ice_type *type);

#endif
