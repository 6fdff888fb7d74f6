/*
 * What the files of the schema module share.
 */
#ifndef ICEBERG_SCHEMA_PRIV_H
#define ICEBERG_SCHEMA_PRIV_H

#include "iceberg/schema.h"

#include <stdio.h>

/** A type as its JSON value: a string or an object. */
void type_write(struct json_writer *w, const struct ice_type *type);
/** The member `"fields": [...]` of a struct. */
void type_write_fields(struct json_writer *w, const struct ice_type *type);
/** Kind and parameters, without the children. */
bool type_head_equal(const struct ice_type *a, const struct ice_type *b);
/** The id, in `new`, of what has `old_id` in `old`, which has the same shape; 0: nothing has. */
int32_t schema_moved_id(const struct ice_type *old, const struct ice_type *new, int32_t old_id);

#endif
