/*
 * Do field ids still mean the same columns? Pure questions about two schemas.
 */
#ifndef CATALOG_FIT_H
#define CATALOG_FIT_H

#include "iceberg/schema.h"

/** Every field has an id, and no two share one; else E_INVALID. */
enum status fit_has_ids(const struct ice_schema *schema, struct err *err) MUST_USE;
/**
 * Files written under `file` can be read under `table`: each field of `file` is in it with the same
 * id and name and a type that reads it, and what `table` requires is there. Else E_CONFLICT that
 * names the first difference.
 */
enum status fit_reads(const struct ice_schema *file, const struct ice_schema *table,
                      struct err *err) MUST_USE;
/** `next` may follow `table`: all its fields are kept or widened, and new ones have ids above
 * `last_column_id`. Else E_CONFLICT. */
enum status fit_evolves(const struct ice_schema *table, const struct ice_schema *next,
                        int32_t last_column_id, struct err *err) MUST_USE;

#endif
