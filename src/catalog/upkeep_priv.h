/*
 * What the files of upkeep share.
 *
 *   upkeep.c            by name, with JSON; what is below
 *   upkeep_expire.c     snapshots that nobody needs
 *   upkeep_manifests.c  small manifests become few
 *   gone.c              files that only such snapshots named
 */
#ifndef CATALOG_UPKEEP_PRIV_H
#define CATALOG_UPKEEP_PRIV_H

#include "catalog/local.h"
#include "catalog/upkeep.h"

/** Ten minutes where the caller has none. */
deadline_ms upkeep_deadline(deadline_ms deadline);
/** The lake's reader with a small cache of its own: care must not push out what queries need. */
enum status upkeep_reader(struct local *local, struct reader **out, struct err *err) MUST_USE;
void upkeep_reader_done(struct reader *reader); /* NULL is fine */

#endif
