/*
 * Where tables of other programs may lie.
 */
#ifndef CATALOG_SITE_H
#define CATALOG_SITE_H

#include "catalog/local.h"

/**
 * The key of a folder that a client has named for a table. In `arena`.
 *
 * Errors   E_INVALID when it is outside of the warehouse, the folder of the warehouse or of a
 *          namespace itself, or spelled with '#', '?', '%' or control characters
 */
enum status site_key(struct local *local, struct str uri, struct arena *arena, struct str *out,
                     struct err *err) MUST_USE;
/** A file that metadata names lies in the warehouse; else E_INVALID. `what` is the file's, as
 * "the manifest list". */
enum status site_check_file(struct local *local, const char *what, struct str uri,
                            struct err *err) MUST_USE;
/** Is one of two folders (keys without a slash at the end) the other, or below it? */
bool site_overlaps(struct str a, struct str b);
/**
 * No other live table lies in `key`, or around it, or has this uuid: what one table's owner does
 * with its folder (a purge, a lent key) must not reach another's.
 *
 * Errors   E_INVALID an overlap, E_CONFLICT the uuid; both name that table
 * Cost     a listing of all tables; their pointers only where they have changed since the last
 */
enum status site_check_free(struct local *local, const struct table_name *name, struct str key,
                            struct str uuid, struct err *err) MUST_USE;

#endif
