/*
 * Metadata of views: one immutable JSON document per version, as for tables.
 *
 * Source   Apache Iceberg, view specification version 1, and rest-catalog-open-api.yaml
 *          (ViewUpdate,
 *          ViewRequirement, CreateViewRequest)
 * Errors   as in change.h
 */
#ifndef ICEBERG_VIEW_H
#define ICEBERG_VIEW_H

#include "iceberg/change.h"

/** A new view of a CreateViewRequest: `schema`, `view-version`, `properties`. */
enum status ice_view_create(const struct ice_create *create, struct buf *out,
                            struct err *err) MUST_USE;
/** E_CORRUPT when `base` is no view of a version that we know. */
enum status ice_view_check(yyjson_val *base, struct err *err) MUST_USE;
/** assert-view-uuid is the only one. */
enum status ice_view_require(yyjson_val *base, yyjson_val *requirements, struct err *err) MUST_USE;
/** *changed_out false: nothing to write. */
enum status ice_view_apply(yyjson_val *base, const struct ice_change *change, struct arena *arena,
                           struct buf *out, bool *changed_out, struct err *err) MUST_USE;

/**
 * Has `base` taken these updates already? So it is when they add versions, and `base` has each of
 * them with the very time that its writer gave it: a client that has lost the answer sends the same
 * again, one that means the same text anew sends a new time. Asked before the requirement: what
 * somebody else has written since is not undone by a late repeat.
 *
 * Updates that add no version say what is to be, so applying them twice is no harm; a version that
 * the history has let go (version.history.num-entries) is not known again.
 */
bool ice_view_is_repeat(yyjson_val *base, yyjson_val *updates);

#endif
