/*
 * The field indexes of one meta. One is made when a filter first would have to read the metadata of
 * many slots for its path; from then on it follows each change.
 *
 * Threads  fields_add and fields_remove as changes of the meta; fields_find and fields_make beside
 *          each other: who makes one, makes it whole before others see it.
 */
#ifndef COLLECTION_FIELDS_H
#define COLLECTION_FIELDS_H

#include "collection/field.h"
#include "collection/meta.h"

struct fields;

/** NULL when there is no memory. */
struct fields *fields_new(void) MUST_USE;
void fields_free(struct fields *fields);
/** A field that has no memory for it goes; filters do without. */
void fields_add(struct fields *fields, uint32_t slot, const char *object);
void fields_remove(struct fields *fields, uint32_t slot, const char *object);
/** NULL: there is none. */
const struct field *fields_find(const struct fields *fields, const struct path *path);
/** NULL: it would take too much, or there are META_PATHS_MAX. */
const struct field *fields_make(struct fields *fields, const struct meta *meta,
                                const struct path *path);
uint64_t fields_memory(const struct fields *fields);
uint32_t fields_count(const struct fields *fields);

#endif
