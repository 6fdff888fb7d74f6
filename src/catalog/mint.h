/*
 * Locations of new tables. Each is minted once: while a table is being made, the object
 * `_lake/minted/<location>.json` claims its folder. So two tables never share one, and what an
 * append that never committed has left there is known to be ours.
 */
#ifndef CATALOG_MINT_H
#define CATALOG_MINT_H

#include "catalog/local.h"

struct mint {
    struct str uuid, location; /* a key without trailing slash */
    struct table_name name;
};
/** A fresh uuid and location for `name`, claimed. In `arena`. */
enum status mint_new(struct local *local, const struct table_name *name, struct arena *arena,
                     struct mint *out, struct err *err) MUST_USE;
/** The same without a claim: nothing is written, and nothing keeps the folder. */
enum status mint_propose(struct local *local, const struct table_name *name, struct arena *arena,
                         struct mint *out, struct err *err) MUST_USE;
/** Is this what mint_new makes for a table of that uuid? By the names alone; `warehouse` empty: of
 * any. */
bool mint_is_ours(struct str warehouse, struct str uuid, struct str location);
/** The table is there (its pointer claims the folder from now on), or nothing is left in it. */
enum status mint_drop(struct store *store, struct str location, struct err *err) MUST_USE;
#define MINT_PREFIX STR("_lake/minted/")
enum status mint_read(struct store *store, struct str key, struct arena *arena, struct mint *out,
                      struct err *err) MUST_USE;

#endif
