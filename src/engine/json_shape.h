/*
 * What the values of a JSON file are, told from all of them: a tree of kinds that grows with each
 * record, and the column types that follow from it.
 *
 * A place that had nothing but null, or a list nothing but no elements, knows no kind: it takes
 * whatever type the table has there. Numbers keep their range, so that integers fit a table's int,
 * double or decimal when every one of them does.
 */
#ifndef ENGINE_JSON_SHAPE_H
#define ENGINE_JSON_SHAPE_H

#include "base/json.h"
#include "iceberg/schema.h"

struct json_shape;

/** Fields that all records together may have, at any depth: what has more is data used as names. */
enum { JSON_SHAPE_FIELDS_MAX = 100000 };

/** Of a record that is an object; everything in `arena`. */
enum status json_shape_new(struct arena *arena, struct json_shape **out, struct err *err) MUST_USE;
void json_shape_free(struct json_shape *shape); /* its maps; the arena is the caller's */

/**
 * Take a record in.
 *
 * Errors   E_INVALID with a reason for people: not an object, a name twice in one object, names
 *          that differ only by case, an empty name, too many fields. What stood before the fault
 *          has been taken in. E_NO_MEMORY
 */
enum status json_shape_note(struct json_shape *shape, yyjson_val *record, struct err *err) MUST_USE;

size_t json_shape_field_count(const struct json_shape *shape);
struct str json_shape_field_name(const struct json_shape *shape, size_t i);
/**
 * The type of the i-th top-level field. `table` (may be NULL) is the type that the table has there:
 * it is taken where every value fits it, and what is unknown is taken from it.
 */
enum status json_shape_field_type(const struct json_shape *shape, size_t i,
                                  const struct ice_type *table, struct arena *arena,
                                  struct ice_type *out, struct err *err) MUST_USE;
/** All values of the field are strings (or null): they may be dates. */
bool json_shape_field_is_text(const struct json_shape *shape, size_t i);

#endif
