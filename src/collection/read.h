/*
 * Items as the body has them, for what reads one, a page, or hits. (Private to the folder.)
 */
#ifndef COLLECTION_READ_H
#define COLLECTION_READ_H

#include "collection/coll_priv.h"

/** Guarded by the body's lock. Id and metadata (where wanted) into the arena. */
enum status read_item_locked(struct body *body, uint32_t row, bool with_metadata,
                             struct arena *arena, struct coll_item *out, struct err *err) MUST_USE;
/** Behind a pin that is older than the slot was learned of. Into the arena. */
enum status read_vector(struct body *body, uint32_t slot, struct arena *arena, const float **out,
                        struct err *err) MUST_USE;

#endif
