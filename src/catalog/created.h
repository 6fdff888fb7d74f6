/*
 * A table that has just been made looks around once more.
 */
#ifndef CATALOG_CREATED_H
#define CATALOG_CREATED_H

#include "catalog/local.h"

struct created {
    const struct table_name *name;
    struct str key;           /* of the pointer */
    const struct pointer *as; /* the body that won */
    deadline_ms deadline;
    bool keep_files; /* they are not of this call: giving way leaves them */
};
/**
 * May it stay?
 *
 * Errors   E_CONFLICT its namespace is gone, E_EXISTS another table's name differs from it only by
 *          case: then it is a tombstone again, and nobody was told of it. E_UNAVAILABLE: that could
 *          not be found out, the outcome is unknown
 */
enum status created_settle(struct local *local, const struct created *created,
                           struct err *err) MUST_USE;

/**
 * Of a table in a folder that somebody has chosen (`folder`, a key), and that no claim keeps for
 * it: is it still alone there?
 *
 * Errors   E_INVALID another table overlaps it, E_CONFLICT another has its uuid: then it is a
 *          tombstone again. E_UNAVAILABLE as above
 */
enum status created_settle_folder(struct local *local, const struct created *created,
                                  struct str folder, struct err *err) MUST_USE;

#endif
