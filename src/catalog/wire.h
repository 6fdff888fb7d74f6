/*
 * How appends, places and summaries travel between a service and catalogd: JSON both ways. Used by
 * the http driver and by the routes that answer it.
 */
#ifndef CATALOG_WIRE_H
#define CATALOG_WIRE_H

#include "catalog/catalog.h"

/* Members of an object that the caller has begun. */
void wire_name(struct json_writer *w, const struct table_name *name);
void wire_append(struct json_writer *w, const struct catalog_append *append);
void wire_appended(struct json_writer *w, const struct catalog_appended *appended);
void wire_place(struct json_writer *w, const struct catalog_place *place);
void wire_summary(struct json_writer *w, const struct table_summary *table);
void wire_damaged(struct json_writer *w, const struct catalog_damaged *damaged);

/* Everything is copied into `arena`. E_INVALID names the field. */
enum status wire_read_name(struct arena *arena, yyjson_val *obj, struct table_name *out,
                           struct err *err) MUST_USE;
enum status wire_read_append(struct arena *arena, yyjson_val *obj, struct catalog_append *out,
                             struct err *err) MUST_USE;
enum status wire_read_appended(struct arena *arena, yyjson_val *obj, struct catalog_appended *out,
                               struct err *err) MUST_USE;
enum status wire_read_place(struct arena *arena, yyjson_val *obj, struct catalog_place *out,
                            struct err *err) MUST_USE;
enum status wire_read_summary(struct arena *arena, yyjson_val *obj, struct table_summary *out,
                              struct err *err) MUST_USE;
enum status wire_read_damaged(struct arena *arena, yyjson_val *obj, struct catalog_damaged *out,
                              struct err *err) MUST_USE;
enum status wire_read_str(struct arena *arena, yyjson_val *obj, const char *name,
                          enum json_need need, struct str *out, struct err *err) MUST_USE;

#endif
