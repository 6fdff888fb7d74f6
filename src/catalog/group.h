/*
 * Who commits to a table of this process, one after the other: appends that arrive while a commit
 * runs wait, and go together in the next one; a change of another program goes alone.
 */
#ifndef CATALOG_GROUP_H
#define CATALOG_GROUP_H

#include "catalog/commit.h"

enum status groups_new(struct groups **out, struct err *err) MUST_USE;
void groups_free(struct groups *groups);
/** Commit `request` alone or with others. Afterwards it is done. */
void groups_append(struct local *local, struct commit_request *request);

/**
 * The same for changes that may go together: those with the same `run` that wait one behind the
 * other go in one call, in order, and `ctx` tells each what became of it. `run` returns whether any
 * was in conflict.
 *
 * Errors   E_TIMEOUT its turn did not come before the deadline: it did not run
 */
enum status groups_share(struct local *local, const struct table_name *name, deadline_ms deadline,
                         bool (*run)(void *const *ctxs, size_t count), void *ctx,
                         struct err *err) MUST_USE;
/**
 * Run `run` alone: no append or change of that table in this process runs beside it. Its status is
 * returned. After E_CONFLICT (its client will read again and come back) appends to the table wait
 * for the next one for half a second at most, so that a client is not overtaken each time.
 *
 * Errors   E_TIMEOUT also when its turn did not come before the deadline: it did not run
 */
enum status groups_alone(struct local *local, const struct table_name *name, deadline_ms deadline,
                         enum status (*run)(void *ctx, struct err *err), void *ctx,
                         struct err *err) MUST_USE;

#endif
