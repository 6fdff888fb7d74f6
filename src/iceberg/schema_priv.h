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

#endif
