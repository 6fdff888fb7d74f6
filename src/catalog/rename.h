/*
 * Renames. Two pointers change, one swap decides (docs/formats/catalog.md, "Renames"):
 *
 *        from                          to
 *        live                          -, dropped
 *        live                          arriving (id)          nothing is seen of it
 *        moved (id)   <-- decides      arriving (id)          the table is there, read through
 *        `from`
 *        moved (id)                    live
 *        dropped                       live
 *
 * `arriving` that is in the way, or was left by a process that died, is taken back: it is marked
 * refused, `from` is swapped to what it is already (so a swap to `moved` that is on its way can
 * only lose), then it becomes a tombstone.
 */
#ifndef CATALOG_RENAME_H
#define CATALOG_RENAME_H

#include "catalog/local.h"

/** What an ARRIVING pointer that was read at `key` means: live with what the table has, or nothing.
 * It may have changed meanwhile; then `*base` is what it became. */
enum status rename_resolve(struct local *local, struct str key, struct arena *arena,
                           struct local_base *base, struct err *err) MUST_USE;
/** Finish or take back a rename to or from `key`: after it the pointer is live, a tombstone, or not
 * there. */
enum status rename_settle(struct local *local, struct str key, deadline_ms deadline,
                          struct err *err) MUST_USE;
/** For writers: settle it if need be, then read it. */
enum status rename_read_settled(struct local *local, struct str key, deadline_ms deadline,
                                struct arena *arena, struct local_base *out,
                                struct err *err) MUST_USE;

#endif
