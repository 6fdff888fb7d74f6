/*
 * An index over one path of metadata: for each value that the path leads to, the slots that have
 * it; values in order. A condition on the path is answered by it alone, but for arrays, objects
 * and long strings, of which it knows the kind and the beginning.
 */
#ifndef COLLECTION_FIELD_H
#define COLLECTION_FIELD_H

#include "collection/filter_priv.h"

struct field;

/** Of no slots yet; keeps a copy of the path. NULL when there is no memory. */
struct field *field_new(const struct path *path) MUST_USE;
void field_free(struct field *field);
bool field_is_of(const struct field *field, const struct path *path);
/** `object` is what the slot has, canonical text. E_NO_MEMORY: the field is of no more use. */
enum status field_add(struct field *field, uint32_t slot, const char *object) MUST_USE;
/** `object` is what it was added with. */
void field_remove(struct field *field, uint32_t slot, const char *object);
uint64_t field_memory(const struct field *field);
/** No slot has more than one value: two ranges may be answered as one. */
bool field_is_single(const struct field *field);

/** Slots that field_mark of this condition would mark, or more. */
uint64_t field_count(const struct field *field, const struct filter *condition);
/** Sets the bits of slots that fulfil a condition of this path; false when some of them may not,
 * and must be looked at. `other` (may be NULL) is a second range that bounds the first one. */
bool field_mark(const struct field *field, const struct filter *condition,
                const struct filter *other, uint64_t *bits, size_t word_count);

#endif
