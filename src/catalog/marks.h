/*
 * The batches whose markers this process has written, so that the next pointer may forget them.
 * Thread safe.
 */
#ifndef CATALOG_MARKS_H
#define CATALOG_MARKS_H

#include "catalog/pointer.h"

struct marks;

/** NULL when there is no memory. */
struct marks *marks_new(void) MUST_USE;
void marks_free(struct marks *marks);
/** Its marker was written: the next pointer may forget it. */
bool marks_has(struct marks *marks, struct str uuid, const struct pointer_batch *batch);
/** Somebody here writes its marker now, or has: nobody else need. */
bool marks_is_taken(struct marks *marks, struct str uuid, const struct pointer_batch *batch);
/** The caller is about to write the marker, and will say marks_add or marks_drop. */
void marks_take(struct marks *marks, struct str uuid, const struct pointer_batch *batch);
/** After the marker was written, never before. */
void marks_add(struct marks *marks, struct str uuid, const struct pointer_batch *batch);
void marks_drop(struct marks *marks, struct str uuid, const struct pointer_batch *batch);

#endif
