/*
 * Tombstones.
 */
#ifndef CATALOG_DROP_H
#define CATALOG_DROP_H

#include "catalog/swap.h"

struct drop {
    bool purge;       /* the files go as well, after their grace; else they stay for ever */
    struct str uuid;  /* only the table of that one; empty: whichever is there */
    bool tables_only; /* a view of that name is E_NOT_FOUND */
    bool views_only;  /* or a table is */
    deadline_ms deadline;
};
/** Swap the pointer that was read to a tombstone, and note its files in the trash. */
enum status drop_swap(struct local *local, struct str key, const struct local_base *base,
                      const struct drop *how, struct arena *arena, enum swap_outcome *outcome,
                      struct err *err) MUST_USE;
/** `asked->deadline` 0: 30 s from now. E_NOT_FOUND. */
enum status drop_table(struct local *local, const struct table_name *name, const struct drop *asked,
                       struct err *err) MUST_USE;

#endif
