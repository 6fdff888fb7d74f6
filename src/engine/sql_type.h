/*
 * SQL's types as DuckDB spells them, and Iceberg's: both directions.
 *
 * What Iceberg does not have becomes the next wider thing that it has; a value is then cast before
 * it is written. TIME and INTERVAL become strings on the way in (a `time` column makes a whole
 * table unreadable in Spark).
 */
#ifndef ENGINE_SQL_TYPE_H
#define ENGINE_SQL_TYPE_H

#include "iceberg/schema.h"

/** "BIGINT", "DECIMAL(9,2)", "STRUCT(a INTEGER, \"b c\" VARCHAR[])[]", ... Ids are 0. E_UNSUPPORTED
 * names a type that cannot be kept. */
enum status sql_type_parse(struct arena *arena, struct str text, struct ice_type *out,
                           struct err *err) MUST_USE;
/** The same for a column of a Parquet file that stays as it is: TIME is `time`, since nobody casts
 * its values. */
enum status sql_type_parse_stored(struct arena *arena, struct str text, struct ice_type *out,
                                  struct err *err) MUST_USE;
/** As SQL: "BIGINT", "STRUCT(\"a\" INTEGER)[]". E_UNSUPPORTED for types of later versions. */
enum status sql_type_print(const struct ice_type *type, struct buf *out, struct err *err) MUST_USE;

#endif
