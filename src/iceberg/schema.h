/*
 * Iceberg types and schemas: tree, JSON, fingerprint, evolution by field id.
 *
 * Everything lives in the arena that it is read or made in and is never changed afterwards.
 * Source: Iceberg table specification, "Schemas and Data Types", "Schema Evolution", appendix C.
 */
#ifndef ICEBERG_SCHEMA_H
#define ICEBERG_SCHEMA_H

#include "base/json.h"

enum ice_kind {
    ICE_BOOLEAN,
    ICE_INT,
    ICE_LONG,
    ICE_FLOAT,
    ICE_DOUBLE,
    ICE_DATE,
    ICE_TIME,
    ICE_TIMESTAMP,
    ICE_TIMESTAMPTZ,
    ICE_STRING,
    ICE_UUID,
    ICE_BINARY,
    ICE_FIXED,
    ICE_DECIMAL,
    ICE_STRUCT,
    ICE_LIST,
    ICE_MAP,
    /* of a later version (timestamp_ns, variant, ...): carried by name, refused when read or
     * written */
    ICE_OTHER
};

struct ice_type {
    enum ice_kind kind;
    int32_t precision, scale; /* decimal */
    int32_t length;           /* fixed */
    struct str name;          /* ICE_OTHER: as spelled */
    /* struct: its fields; list: [0] element; map: [0] key, [1] value, named "element", "key" and
     * "value" */
    struct ice_field *fields;
    size_t field_count;
};

struct ice_field {
    int32_t id; /* 0: not assigned yet */
    struct str name;
    bool required;
    struct str doc; /* .ptr NULL: none */
    struct ice_type type;
    struct str
        extra_json; /* `,"name":value` of members that we do not know (defaults of v3), in the arena; .ptr NULL: none */
};

struct ice_schema {
    int32_t schema_id;
    struct ice_type root; /* ICE_STRUCT */
    int32_t *identifier_ids;
    size_t identifier_count;
};

/** The deepest nesting of lists, maps and structs in a column. A struct in a struct is three levels
 * of JSON, and table metadata, wrapped for the way between two services, has to stay within
 * JSON_DEPTH_MAX: 3 * 24 + 10. */
enum { ICE_TYPE_DEPTH_MAX = 24 };

enum status ice_type_parse(struct arena *arena, yyjson_val *json, struct ice_type *out,
                           struct err *err) MUST_USE;
/** "long", "decimal(9, 2)", "list<string>", "struct<a: int, b: date>" for people and for
 * fingerprints. */
enum status ice_type_print(const struct ice_type *type, struct buf *out) MUST_USE;
/** A type as a file has it: without ids, every field optional but the keys of maps. A copy in
 * `arena`; names are borrowed. */
enum status ice_type_bare(struct arena *arena, const struct ice_type *type, struct ice_type *out,
                          struct err *err) MUST_USE;
/* names and kinds, not ids */
bool ice_type_equal(const struct ice_type *a, const struct ice_type *b);
/** May a column of type `from` become one of `to` (Iceberg's promotions)? Also a decimal that stays
 * as it is. */
bool ice_type_widens(const struct ice_type *from, const struct ice_type *to);

/** Nothing in it borrows from `json`. A missing schema-id is 0. E_INVALID when it is no schema. */
enum status ice_schema_parse(struct arena *arena, yyjson_val *json, struct ice_schema *out,
                             struct err *err) MUST_USE;
void ice_schema_write(struct json_writer *w, const struct ice_schema *schema);
/** For a schema that came from a file: E_INVALID with the column that is nested too deep to be
 * written. */
enum status ice_schema_check_depth(const struct ice_schema *schema, struct err *err) MUST_USE;
/* top level, exact */
const struct ice_field *ice_schema_by_name(const struct ice_schema *schema, struct str name);
/* any depth */
const struct ice_field *ice_schema_by_id(const struct ice_schema *schema, int32_t id);
int32_t ice_schema_max_id(const struct ice_schema *schema);
/** The same fields, ids, types and flags: Iceberg's "same schema", whatever its schema-id. */
bool ice_schema_same(const struct ice_schema *a, const struct ice_schema *b);
/** Give every field a fresh id in depth order from `*last_id` + 1 (top level first, as Java does);
 * a copy in `arena`. */
enum status ice_schema_assign_ids(struct arena *arena, const struct ice_schema *schema,
                                  int32_t *last_id, struct ice_schema *out,
                                  struct err *err) MUST_USE;
/** SHA-256 in hex of the lines `name:type:required` of the top-level fields in order. */
enum status ice_schema_fingerprint(const struct ice_schema *schema, char out[65],
                                   struct err *err) MUST_USE;

/**
 * Fit the schema of a file (ids do not matter, matched by name) to a table's.
 *
 * Without `evolve`: OK when each file column is in the table with a type that can be read as the
 * table's (equal, or int in long, float in double, decimal of the same scale in one of more
 * precision), and columns that are missing in the file are optional; else E_CONFLICT with a message
 * that lists every difference. With `evolve`: new columns are added as optional at the end, types
 * are widened where Iceberg allows it (int -> long, float ->
 * double, decimal precision); what it does not allow stays E_CONFLICT. Nested structs the same, by
 * name.
 *
 * Returns  *out: the table's schema after it (== table when nothing changed: *changed_out false),
 * ids from *last_id on, schema_id not set
 */
enum status ice_schema_fit(struct arena *arena, const struct ice_schema *table,
                           const struct ice_schema *file, bool evolve, int32_t *last_id,
                           struct ice_schema *out, bool *changed_out, struct err *err) MUST_USE;

/** Name mapping JSON (schema.name-mapping.default) for files without field ids. */
enum status ice_name_mapping_write(const struct ice_schema *schema, struct buf *out) MUST_USE;

#endif
