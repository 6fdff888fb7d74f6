/* Filters over all slots: by reading the metadata of each. */
#include "base/mem.h"
#include "collection/meta_priv.h"

static void scan(const struct meta *meta, const struct filter *filter, uint64_t *bits)
{
    for (size_t word = 0; word < meta->word_count; word++) {
        for (uint64_t rest = meta->live[word]; rest != 0; rest &= rest - 1) {
            uint32_t slot = (uint32_t)(word * 64) + (uint32_t)__builtin_ctzll(rest);
            if (filter_matches(filter, meta_text(meta, slot))) {
                bits[word] |= rest & -rest;
            }
        }
    }
}

static uint64_t count_bits(const uint64_t *bits, size_t word_count)
{
    uint64_t count = 0;
    for (size_t i = 0; i < word_count; i++) {
        count += (uint64_t)__builtin_popcountll(bits[i]);
    }
    return count;
}

static enum status give(const uint64_t *bits, size_t word_count, struct arena *arena,
                        struct meta_match *out)
{
    struct meta_match match = { .count = count_bits(bits, word_count), .plan = "scan" };
    if (match.count * sizeof(*match.slots) < word_count * sizeof(*match.bits)) {
        match.slots = arena_array(arena, match.count, sizeof(*match.slots));
        size_t at = 0;
        for (size_t word = 0; match.slots != NULL && word < word_count; word++) {
            for (uint64_t rest = bits[word]; rest != 0; rest &= rest - 1) {
                match.slots[at++] = (uint32_t)(word * 64) + (uint32_t)__builtin_ctzll(rest);
            }
        }
    } else {
        match.word_count = word_count;
        match.bits = arena_array(arena, word_count, sizeof(*match.bits));
        if (match.bits != NULL && word_count > 0) {
            memcpy(match.bits, bits, word_count * sizeof(*bits));
        }
    }
    if (match.slots == NULL && match.bits == NULL) {
        return E_NO_MEMORY;
    }
    *out = match;
    return OK;
}

enum status meta_match(const struct meta *meta, const struct filter *filter, struct arena *arena,
                       struct meta_match *out, struct err *err)
{
    uint64_t *bits = mem_zalloc(meta->word_count * sizeof(*bits));
    if (bits == NULL) {
        return err_no_memory(err);
    }
    scan(meta, filter, bits);
    enum status status = give(bits, meta->word_count, arena, out);
    mem_free(bits);
    return status == OK ? OK : err_no_memory(err);
}
