/*
 * Tables that other programs make.
 */
#ifndef CATALOG_CREATE_H
#define CATALOG_CREATE_H

#include "catalog/publish.h"

/** May a table of that name be made? E_NOT_FOUND the namespace, E_EXISTS a name that differs from
 * it only by case, E_INVALID. *ns_uuid_out is in `arena`. */
enum status create_check(struct local *local, const struct table_name *name, struct arena *arena,
                         struct str *ns_uuid_out, struct err *err) MUST_USE;
/**
 * Make it: `publish` has everything up to the deadline. What the name stood for before is noted in
 * the trash, then file and pointer are written, and the table looks around once more.
 *
 * `chosen`: the folder is somebody's choice, not one that was claimed. *outcome_out is SWAP_LOST:
 * look again.
 */
enum status create_publish(struct local *local, struct publish *publish, bool chosen,
                           struct arena *arena, enum swap_outcome *outcome_out,
                           struct err *err) MUST_USE;

#endif
