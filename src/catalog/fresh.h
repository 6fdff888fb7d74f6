/*
 * The metadata of a table that an append makes, before its first snapshot. Private to this folder.
 */
#ifndef CATALOG_FRESH_H
#define CATALOG_FRESH_H

#include "catalog/local.h"

/**
 * Of append->place, ->schema and ->shape.
 *
 * Returns  *out referenced
 * Errors   E_INVALID for a shape that is none, or of a version that is not written
 */
enum status fresh_metadata(struct local *local, const struct catalog_append *append,
                           struct arena *arena, const struct ice_metadata **out,
                           struct err *err) MUST_USE;

#endif
