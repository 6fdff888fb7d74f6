/*
 * Pins: one snapshot of one table, and the cached manifests that its files point into.
 */
#ifndef CATALOG_PIN_H
#define CATALOG_PIN_H

#include "catalog/reader.h"

/** A copy of `table` whose texts are in `arena`. */
enum status table_summary_copy(struct arena *arena, const struct table_summary *table,
                               struct table_summary *out, struct err *err) MUST_USE;
/** Keep `item` until the pin ends. Takes it, also on failure. */
enum status pin_hold(const struct catalog_pin *pin, struct cache_item *item,
                     struct err *err) MUST_USE;

#endif
