/*
 * Checks and small helpers of table names; parse and print are public in catalog.h.
 */
#ifndef CATALOG_TABLE_NAME_H
#define CATALOG_TABLE_NAME_H

#include "catalog/catalog.h"

/** A name that is already split: E_INVALID when it can be none. Any characters but control
 * characters may be in it. */
enum status table_name_check(const struct table_name *name, struct err *err) MUST_USE;
enum status table_name_check_ns(struct str ns, struct err *err) MUST_USE;
/** May a table be made under this name? E_INVALID where SQL has its own: it could not be read. */
enum status table_name_check_new(const struct table_name *name, struct err *err) MUST_USE;
/** table_name_print into an arena. */
enum status table_name_text(const struct table_name *name, struct arena *arena, struct str *out,
                            struct err *err) MUST_USE;
enum status table_name_copy(struct arena *arena, const struct table_name *name,
                            struct table_name *out, struct err *err) MUST_USE;
/** ASCII letters compare without case, others exactly. */
bool table_name_eq_nocase(const struct table_name *a, const struct table_name *b);

#endif
