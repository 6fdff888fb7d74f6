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
bool marks_has(struct marks *marks, struct str uuid, const struct pointer_batch *batch);
/** After the marker was written, never before. */
void marks_add(struct marks *marks, struct str uuid, const struct pointer_batch *batch);

#endif
