/*
 * Filters over all slots.
 *
 * A node is answered within a set of slots: those that the conditions before it have left. Each
 * condition is answered by the index of its path, or, when few slots are left, by reading their
 * metadata; an index that is not there is made when many are. AND takes its conditions by the
 * number of slots that they may let through, fewest first; OR looks only among what is not found
 * yet.
 *
 *   {"a": 1, "b": {"$gt": 5}}      live -> a = 1 (by index) -> b > 5 (12 slots left: by metadata)
 *
 * Sets are bits here. Below INDEX_ITEMS_MIN items everything is read: that costs less than
 * indexes.
 */
#include "base/mem.h"
#include "collection/meta_priv.h"

enum {
    INDEX_ITEMS_MIN = 2048, /* chosen: read in less than a millisecond */
    READ_COST = 32,         /* one item's metadata, in marks of an index; measured 150 ns to 5 ns */
};

struct plan {
    const struct meta *meta;
    bool by_index, by_reading;
};

static enum status answer(struct plan *plan, const struct filter *filter, const uint64_t *within,
                          uint64_t *out);

static uint64_t count_bits(const uint64_t *bits, size_t word_count)
{
    uint64_t count = 0;
    for (size_t i = 0; i < word_count; i++) {
        count += (uint64_t)__builtin_popcountll(bits[i]);
    }
    return count;
}

/** Those of `within` that fulfil the filter, into `out`, which may be `within`. */
static void read_slots(struct plan *plan, const struct filter *filter, const uint64_t *within,
                       uint64_t *out)
{
    const struct meta *meta = plan->meta;
    plan->by_reading = true;
    for (size_t word = 0; word < meta->word_count; word++) {
        uint64_t found = 0;
        for (uint64_t rest = within[word]; rest != 0; rest &= rest - 1) {
            uint32_t slot = (uint32_t)(word * 64) + (uint32_t)__builtin_ctzll(rest);
            found |= filter_matches(filter, meta_text(meta, slot)) ? rest & -rest : 0;
        }
        out[word] = found;
    }
}

/* --- conditions --- */

/** `other` is a second range of the same path, or NULL. */
static enum status answer_condition(struct plan *plan, const struct filter *filter,
                                    const struct filter *other, const uint64_t *within,
                                    uint64_t *out)
{
    size_t words = plan->meta->word_count;
    uint64_t left = count_bits(within, words);
    const struct field *field = fields_find(plan->meta->fields, filter->path);
    if (field == NULL && left >= INDEX_ITEMS_MIN) {
        field = fields_make(plan->meta->fields, plan->meta, filter->path);
    }
    if (field == NULL || field_count(field, filter) / READ_COST > left) {
        read_slots(plan, filter, within, out);
        if (other != NULL) {
            read_slots(plan, other, out, out);
        }
        return OK;
    }
    plan->by_index = true;
    memset(out, 0, words * sizeof(*out));
    bool exact = field_mark(field, filter, other, out, words);
    for (size_t i = 0; i < words; i++) {
        out[i] &= within[i];
    }
    if (!exact) {
        read_slots(plan, filter, out, out);
    }
    if (!exact && other != NULL) {
        read_slots(plan, other, out, out);
    }
    return OK;
}

/* --- logic --- */

static uint64_t estimate(const struct plan *plan, const struct filter *filter)
{
    uint64_t items = plan->meta->items;
    uint64_t most = filter->kind == FILTER_OR ? 0 : items;
    const struct field *field;
    switch (filter->kind) {
    case FILTER_AND:
    case FILTER_OR:
        for (size_t i = 0; i < filter->child_count; i++) {
            uint64_t part = estimate(plan, filter->children[i]);
            if (filter->kind == FILTER_OR) {
                most += part;
            } else {
                most = part < most ? part : most;
            }
        }
        return most;
    case FILTER_NOT:
        most = estimate(plan, filter->children[0]);
        return most <= items ? items - most : most; /* more: nothing is known */
    case FILTER_IN:
    case FILTER_RANGE:
    case FILTER_EXISTS:
        break;
    }
    field = fields_find(plan->meta->fields, filter->path);
    return field != NULL ? field_count(field, filter) : items + 1; /* none is there: last */
}

struct step {
    const struct filter *filter, *other;
    uint64_t estimate;
};

/** A range that is the other end of an earlier step's. Of one element of an array it might not be,
 * so the index must have none. */
static bool join_ranges(const struct plan *plan, struct step *steps, size_t count,
                        const struct filter *filter)
{
    const struct field *field = filter->kind == FILTER_RANGE
                                    ? fields_find(plan->meta->fields, filter->path)
                                    : NULL;
    if (field == NULL || !field_is_single(field)) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        const struct filter *first = steps[i].filter;
        bool lower = filter->op == RANGE_GT || filter->op == RANGE_GTE;
        if (first->kind == FILTER_RANGE && first->path == filter->path && steps[i].other == NULL &&
            first->values[0].kind == filter->values[0].kind &&
            lower != (first->op == RANGE_GT || first->op == RANGE_GTE)) {
            steps[i].other = filter;
            steps[i].estimate = 0; /* unknown, and likely small */
            return true;
        }
    }
    return false;
}

/** A field's conditions together, when they are ranges, want the index first. */
static void make_for_ranges(struct plan *plan, const struct filter *filter, uint64_t left)
{
    for (size_t i = 1; i < filter->child_count && left >= INDEX_ITEMS_MIN; i++) {
        const struct filter *child = filter->children[i];
        if (child->kind == FILTER_RANGE && child->path == filter->children[0]->path &&
            fields_find(plan->meta->fields, child->path) == NULL) {
            (void)fields_make(plan->meta->fields, plan->meta, child->path);
        }
    }
}

static size_t make_steps(struct plan *plan, const struct filter *filter, struct step *steps)
{
    size_t count = 0;
    for (size_t i = 0; i < filter->child_count; i++) {
        const struct filter *child = filter->children[i];
        if (join_ranges(plan, steps, count, child)) {
            continue;
        }
        struct step step = { .filter = child, .estimate = estimate(plan, child) };
        size_t at = count++;
        for (; at > 0 && steps[at - 1].estimate > step.estimate; at--) {
            steps[at] = steps[at - 1];
        }
        steps[at] = step;
    }
    return count;
}

static enum status answer_steps(struct plan *plan, const struct step *steps, size_t count,
                                const uint64_t *within, uint64_t *out)
{
    size_t words = plan->meta->word_count;
    uint64_t *left = mem_alloc(words * sizeof(*left));
    if (left == NULL) {
        return E_NO_MEMORY;
    }
    memcpy(left, within, words * sizeof(*left));
    enum status status = OK;
    for (size_t i = 0; i < count && status == OK; i++) {
        status = steps[i].other != NULL
                     ? answer_condition(plan, steps[i].filter, steps[i].other, left, out)
                     : answer(plan, steps[i].filter, left, out);
        memcpy(left, out, words * sizeof(*left));
    }
    mem_free(left);
    return status;
}

static enum status answer_and(struct plan *plan, const struct filter *filter,
                              const uint64_t *within, uint64_t *out)
{
    size_t words = plan->meta->word_count;
    if (filter->child_count == 0) {
        memcpy(out, within, words * sizeof(*out));
        return OK;
    }
    if (filter->child_count == 1) {
        return answer(plan, filter->children[0], within, out);
    }
    struct step *steps = mem_alloc(filter->child_count * sizeof(*steps));
    if (steps == NULL) {
        return E_NO_MEMORY;
    }
    make_for_ranges(plan, filter, count_bits(within, words));
    size_t count = make_steps(plan, filter, steps);
    enum status status = answer_steps(plan, steps, count, within, out);
    mem_free(steps);
    return status;
}

static enum status answer_or(struct plan *plan, const struct filter *filter, const uint64_t *within,
                             uint64_t *out)
{
    size_t words = plan->meta->word_count;
    uint64_t *left = mem_alloc(2 * words * sizeof(*left));
    if (left == NULL) {
        return E_NO_MEMORY;
    }
    uint64_t *found = left + words;
    memcpy(left, within, words * sizeof(*left));
    memset(out, 0, words * sizeof(*out));
    enum status status = OK;
    for (size_t i = 0; i < filter->child_count && status == OK; i++) {
        status = answer(plan, filter->children[i], left, found);
        for (size_t word = 0; word < words && status == OK; word++) {
            out[word] |= found[word];
            left[word] &= ~found[word];
        }
    }
    mem_free(left);
    return status;
}

/** `out` is none of the sets in `within`. */
static enum status answer(struct plan *plan, const struct filter *filter, const uint64_t *within,
                          uint64_t *out)
{
    switch (filter->kind) {
    case FILTER_AND:
        return answer_and(plan, filter, within, out);
    case FILTER_OR:
        return answer_or(plan, filter, within, out);
    case FILTER_NOT:
        TRY(answer(plan, filter->children[0], within, out));
        for (size_t i = 0; i < plan->meta->word_count; i++) {
            out[i] = within[i] & ~out[i];
        }
        return OK;
    case FILTER_IN:
    case FILTER_RANGE:
    case FILTER_EXISTS:
        break;
    }
    return answer_condition(plan, filter, NULL, within, out);
}

/* --- the answer --- */

static enum status give(const uint64_t *bits, size_t word_count, struct arena *arena,
                        struct meta_match *out)
{
    struct meta_match match = { .count = count_bits(bits, word_count) };
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
    struct plan plan = { .meta = meta };
    uint64_t *bits = mem_zalloc(meta->word_count * sizeof(*bits));
    if (bits == NULL) {
        return err_no_memory(err);
    }
    enum status status = OK;
    if (meta->items < INDEX_ITEMS_MIN && meta->word_count > 0) {
        read_slots(&plan, filter, meta->live, bits);
    } else if (meta->word_count > 0) {
        status = answer(&plan, filter, meta->live, bits);
    }
    status = status == OK ? give(bits, meta->word_count, arena, out) : status;
    mem_free(bits);
    if (status != OK) {
        return err_no_memory(err);
    }
    out->plan = !plan.by_reading ? "index" : plan.by_index ? "index+scan" : "scan";
    return OK;
}
