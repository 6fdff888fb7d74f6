/*
 * Which slots a search may give: all, an ascending list, or bits.
 */
#ifndef VECTOR_ALLOWED_H
#define VECTOR_ALLOWED_H

#include "vector/lakevec.h"

/** Slots in [next, end) that are allowed, in ascending order. */
struct allowed_walk {
    const struct vec_filter *filter;
    /* of the list: which is next; of all: the slot; of bits: the word behind `word` */
    uint64_t at;
    uint64_t word; /* bits that were not given yet, of the word before `at` */
    uint32_t end;
};

/** How many slots a filter names; more than are there when it names such. */
uint64_t filter_count(const struct vec_filter *filter);
/** Whether the filter, or none, lets this slot through. */
bool filter_has(const struct vec_filter *filter, uint32_t slot);
void allowed_begin(struct allowed_walk *walk, const struct vec_filter *filter, uint32_t from,
                   uint32_t end);
/** At most `max` of the next; 0 when there are no more. */
size_t allowed_next(struct allowed_walk *walk, uint32_t *out, size_t max);

#endif
