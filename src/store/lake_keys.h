/*
 * Whose the keys of a lake are: `_lake/` and `_buckets/` are closed to every client, `wh/` belongs
 * to the tables, the rest is the users'.
 */
#ifndef STORE_LAKE_KEYS_H
#define STORE_LAKE_KEYS_H

#include "store/store.h"

/** True in and below the closed folders, and for their bare names: a bare `_lake` would be beside
 * them. */
bool lake_key_closed(struct str key);
/** True when every key that starts like this is closed. */
bool lake_prefix_closed(struct str prefix);
bool lake_key_of_tables(struct str key);

/** store_list without what is closed; pages are as full as those of store_list. */
enum status lake_list(struct store *store, const struct store_list_opts *given, struct arena *arena,
                      struct store_list *out, struct err *err) MUST_USE;

#endif
