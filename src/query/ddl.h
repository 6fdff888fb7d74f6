/*
 * CREATE, ALTER and DROP: what ddl.c and alter.c share. Private to this folder.
 */
#ifndef QUERY_DDL_H
#define QUERY_DDL_H

#include "catalog/catalog.h"

/** The table of a request's "namespace" and "name", as the statement spells them. */
enum status ddl_find_table(struct catalog *catalog, struct arena *arena, yyjson_val *request,
                           struct table_summary *out, struct err *err) MUST_USE;
/** {"name","type","required"} as a field without an id. */
enum status ddl_column_type(struct arena *arena, yyjson_val *column, struct ice_field *out,
                            struct err *err) MUST_USE;
/** "fields" of a partition spec or a sort order, from [{"transform","column"}]. */
enum status ddl_write_fields(struct json_writer *w, struct arena *arena,
                             const struct ice_schema *schema, yyjson_val *fields, bool sort,
                             struct err *err) MUST_USE;
/** The shape of a new table (catalog_append) that CREATE TABLE .. AS asks for; empty: none. */
enum status ddl_write_shape(struct arena *arena, const struct ice_schema *schema,
                            yyjson_val *request, struct str *out, struct err *err) MUST_USE;

/** Make the namespace of `name` if it is the one that is there without being made. */
enum status ddl_ensure_default(struct catalog *catalog, struct arena *arena,
                               const struct table_name *name, struct err *err) MUST_USE;
enum status ddl_create_view(struct catalog *catalog, struct arena *arena, yyjson_val *asked,
                            deadline_ms deadline, struct err *err) MUST_USE;
enum status ddl_drop_view(struct catalog *catalog, struct arena *arena, yyjson_val *request,
                          struct err *err) MUST_USE;

/** ALTER TABLE of a table by its exact name. */
enum status ddl_alter(struct catalog *catalog, const struct table_name *name, yyjson_val *request,
                      deadline_ms deadline, struct err *err) MUST_USE;

#endif
