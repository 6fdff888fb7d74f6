/*
 * Does a rewrite still fit the table, after what others have committed since it was made?
 */
#ifndef CATALOG_REWRITE_CHECK_H
#define CATALOG_REWRITE_CHECK_H

#include "base/map.h"
#include "catalog/rewrite.h"

/** `pin`: the table now. E_CONFLICT with the reason. */
enum status rewrite_check(struct catalog *catalog, const struct catalog_rewrite *rewrite,
                          const struct catalog_pin *pin, const struct map *removed,
                          struct arena *arena, struct err *err) MUST_USE;

#endif
