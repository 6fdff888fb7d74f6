/*
 * A filter over metadata, as JSON:
 *
 *   {"colour": "red", "size": {"$gte": 3, "$lt": 9}, "$or": [{"a.b": {"$in": [1, "x"]}}, ...]}
 *
 * Operators: equality, $eq, $ne, $in, $nin, $gt, $gte, $lt, $lte, $exists, $and, $or, $nor, $not,
 * with MongoDB's meaning: docs/reference/filters.md. A path's dots go into nested objects and
 * arrays; `\.` is a dot of the name itself. Numbers are compared exactly across integer and double.
 * Anything else beginning with '$' is E_INVALID, by name.
 */
#ifndef COLLECTION_FILTER_H
#define COLLECTION_FILTER_H

#include "base/arena.h"
#include "base/status.h"
#include "base/str.h"

struct filter;

/** In the arena; `json` is not needed afterwards. Depth above 32, more than 1,000 conditions:
 * E_INVALID. `{}` lets all through. */
enum status filter_parse(struct str json, struct arena *arena, struct filter **out,
                         struct err *err) MUST_USE;
bool filter_is_empty(const struct filter *filter);

#endif
