/*
 * What may be deleted after its grace: `_lake/trash/<table-uuid>/<time>-<random>.json`.
 */
#ifndef CATALOG_TRASH_H
#define CATALOG_TRASH_H

#include "catalog/local.h"

struct trash {
    struct str uuid;
    const struct str *keys; /* single objects */
    size_t key_count;
    /* everything below it, with its slash; empty: none. Only locations that we minted */
    struct str prefix;
};
/** Nothing to throw away is fine. The grace starts now. */
enum status trash_write(struct local *local, const struct trash *trash, struct err *err) MUST_USE;

#endif
