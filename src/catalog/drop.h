/*
 * Tombstones.
 */
#ifndef CATALOG_DROP_H
#define CATALOG_DROP_H

#include "catalog/swap.h"

/** Swap the pointer that was read to a tombstone, and note its files in the trash. */
enum status drop_swap(struct local *local, struct str key, const struct local_base *base,
                      deadline_ms deadline, struct arena *arena, enum swap_outcome *outcome,
                      struct err *err) MUST_USE;
/** Drop the table of that uuid (empty: whichever is there); E_NOT_FOUND. */
enum status drop_table(struct local *local, const struct table_name *name, struct str uuid,
                       struct err *err) MUST_USE;

#endif
