/* What meta.c, its field indexes and the planner share. */
#ifndef COLLECTION_META_PRIV_H
#define COLLECTION_META_PRIV_H

#include "collection/fields.h"
#include "collection/filter_priv.h"
#include "collection/meta.h"
#include "collection/records.h"

struct meta {
    struct records records; /* no text: {} */
    uint64_t *live;         /* a bit for each slot that is there */
    size_t word_count;
    uint64_t items;
    struct fields *fields; /* a filter may make one, see fields.h */
};

static inline bool bit_is_set(const uint64_t *bits, uint32_t slot)
{
    return (bits[slot / 64] >> (slot % 64) & 1) != 0;
}

/** The text of a slot that is there. */
static inline const char *meta_text(const struct meta *meta, uint32_t slot)
{
    struct str text = records_get(&meta->records, slot);
    return text.ptr != NULL ? text.ptr : "{}";
}

#endif
