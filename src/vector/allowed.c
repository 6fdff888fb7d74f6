/*
 * Filters: going through what they allow, in order, so that a scan touches no other slot.
 */
#include "vector/allowed.h"

uint64_t filter_count(const struct vec_filter *filter)
{
    if (filter->bits == NULL || filter->slot_count > 0) {
        return filter->slot_count;
    }
    uint64_t count = 0; /* bits that nobody has counted */
    for (uint64_t i = 0; i < filter->word_count; i++) {
        count += (uint64_t)__builtin_popcountll(filter->bits[i]);
    }
    return count;
}

/* The first of the list that is not below `slot`. */
static uint64_t list_find(const struct vec_filter *filter, uint32_t slot)
{
    uint64_t low = 0;
    for (uint64_t count = filter->slot_count; count > 0;) {
        uint64_t half = count / 2;
        bool below = filter->slots[low + half] < slot;
        low = below ? low + half + 1 : low;
        count = below ? count - half - 1 : half;
    }
    return low;
}

bool filter_has(const struct vec_filter *filter, uint32_t slot)
{
    if (filter == NULL) {
        return true;
    }
    if (filter->bits != NULL) {
        return slot / 64 < filter->word_count && (filter->bits[slot / 64] >> slot % 64 & 1) != 0;
    }
    uint64_t at = list_find(filter, slot);
    return at < filter->slot_count && filter->slots[at] == slot;
}

void allowed_begin(struct allowed_walk *walk, const struct vec_filter *filter, uint32_t from,
                   uint32_t end)
{
    *walk = (struct allowed_walk){ .filter = filter, .at = from, .end = end };
    if (filter == NULL) {
        return;
    }
    if (filter->bits == NULL) {
        walk->at = list_find(filter, from);
        return;
    }
    walk->at = from / 64;
    if (walk->at < filter->word_count) {
        walk->word = filter->bits[walk->at++] & (~(uint64_t)0 << from % 64);
    }
}

static size_t next_of_all(struct allowed_walk *walk, uint32_t *out, size_t max)
{
    size_t n = 0;
    while (n < max && walk->at < walk->end) {
        out[n++] = (uint32_t)walk->at++;
    }
    return n;
}

static size_t next_of_list(struct allowed_walk *walk, uint32_t *out, size_t max)
{
    const struct vec_filter *filter = walk->filter;
    size_t n = 0;
    while (n < max && walk->at < filter->slot_count && filter->slots[walk->at] < walk->end) {
        out[n++] = filter->slots[walk->at++];
    }
    return n;
}

static size_t next_of_bits(struct allowed_walk *walk, uint32_t *out, size_t max)
{
    const struct vec_filter *filter = walk->filter;
    uint64_t words = ((uint64_t)walk->end + 63) / 64;
    words = words < filter->word_count ? words : filter->word_count;
    size_t n = 0;
    for (;;) {
        for (; walk->word != 0; walk->word &= walk->word - 1) {
            uint64_t slot = (walk->at - 1) * 64 + (uint64_t)__builtin_ctzll(walk->word);
            if (n == max || slot >= walk->end) {
                return n;
            }
            out[n++] = (uint32_t)slot;
        }
        if (walk->at >= words) {
            return n;
        }
        walk->word = filter->bits[walk->at++];
    }
}

size_t allowed_next(struct allowed_walk *walk, uint32_t *out, size_t max)
{
    return walk->filter == NULL         ? next_of_all(walk, out, max)
           : walk->filter->bits == NULL ? next_of_list(walk, out, max)
                                        : next_of_bits(walk, out, max);
}
