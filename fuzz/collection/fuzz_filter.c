/*
 * Metadata and a filter, cut at the first NUL: both are refused with a message, or the filter gives
 * the same answer by reading and by indexes, its negation the opposite one, and what was put is
 * given back as text that gives itself.
 */
#include <assert.h>

#include "collection/filter.h"
#include "collection/meta.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* As many as make a filter worth an index, of little metadata. */
enum { SLOT = 77, CROWD = 2100 };

static struct meta *crowd(struct str metadata)
{
    static struct meta *kept; /* made once: only one slot differs */
    for (uint32_t slot = 0; kept == NULL || slot < CROWD; slot++) {
        if (kept == NULL) {
            assert(meta_new(&kept, NULL) == OK);
        }
        struct meta_stats stats;
        meta_stats(kept, &stats);
        if (stats.items == CROWD) {
            break;
        }
        assert(meta_add(kept, slot, NULL) == OK);
    }
    struct err err = { 0 };
    if (meta_set(kept, SLOT, metadata, &err) != OK) {
        assert(err.kind != OK && err.msg[0] != '\0');
        return NULL;
    }
    return kept;
}

static bool is_found(const struct meta_match *match)
{
    for (uint64_t i = 0; match->slots != NULL && i < match->count; i++) {
        if (match->slots[i] == SLOT) {
            return true;
        }
    }
    return match->slots == NULL && (match->bits[SLOT / 64] >> (SLOT % 64) & 1) != 0;
}

static void check_text(struct meta *meta, struct arena *arena)
{
    struct str once = arena_str(arena, meta_get(meta, SLOT));
    struct str merged;
    assert(meta_set(meta, SLOT, once, NULL) == OK);
    assert(str_eq(meta_get(meta, SLOT), once));
    assert(meta_merged(meta, SLOT, STR("{}"), arena, &merged, NULL) == OK);
    assert(str_eq(merged, once));
}

static void check_filter(const struct meta *meta, struct str text, struct arena *arena)
{
    struct err err = { 0 };
    struct filter *filter, *opposite;
    struct meta_match match;
    if (filter_parse(text, arena, &filter, &err) != OK) {
        assert(err.kind != OK && err.msg[0] != '\0');
        return;
    }
    bool holds = meta_matches(meta, filter, SLOT);
    assert(meta_match(meta, filter, arena, &match, NULL) == OK);
    assert(is_found(&match) == holds);
    struct str negated = arena_printf(arena, "{\"$nor\":[%.*s]}", STR_ARG(text));
    if (filter_parse(negated, arena, &opposite, NULL) == OK) { /* it may be too deep now */
        assert(meta_matches(meta, opposite, SLOT) == !holds);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = str_from((const char *)data, size);
    size_t cut = str_find_char(text, '\0');
    struct arena arena;
    arena_init(&arena, 0);
    struct meta *meta = crowd(str_take(text, cut == SIZE_MAX ? size : cut));
    if (meta != NULL) {
        check_text(meta, &arena);
        check_filter(meta, cut == SIZE_MAX ? STR("{}") : str_skip(text, cut + 1), &arena);
    }
    arena_done(&arena);
    return 0;
}
