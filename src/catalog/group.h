/*
 * Group commit: appends of one table that arrive while a commit of it runs wait, and go together in
 * the next one.
 */
#ifndef CATALOG_GROUP_H
#define CATALOG_GROUP_H

#include "catalog/commit.h"

enum status groups_new(struct groups **out, struct err *err) MUST_USE;
void groups_free(struct groups *groups);
/** Commit `request` alone or with others. Afterwards it is done. */
void groups_append(struct local *local, struct commit_request *request);

#endif
