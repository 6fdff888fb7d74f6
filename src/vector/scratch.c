/*
 * What one thread works in: beams, the bits of what was visited, prepared queries.
 */
#include <string.h>

#include "base/mem.h"
#include "vector/pages.h"
#include "vector/vec_priv.h"

static enum status beam_reserve(struct beam *beam, uint32_t *reserved, uint32_t cap,
                                struct err *err)
{
    if (cap <= *reserved) {
        return OK;
    }
    float *dist = mem_realloc(beam->dist, (cap + (size_t)BEAM_PAD) * sizeof(*dist));
    if (dist == NULL) {
        return err_no_memory(err);
    }
    beam->dist = dist;
    uint32_t *slot = mem_realloc(beam->slot, (cap + (size_t)BEAM_PAD) * sizeof(*slot));
    if (slot == NULL) {
        return err_no_memory(err);
    }
    beam->slot = slot;
    *reserved = cap;
    return OK;
}

void beam_clear(struct beam *beam, uint32_t cap)
{
    beam->count = 0;
    beam->next = 0;
    beam->cap = cap;
}

enum status scratch_ready(struct vec_scratch *scratch, uint32_t ef, uint32_t best, uint32_t slots,
                          struct err *err)
{
    size_t words = ((size_t)slots + 63) / 64;
    TRY(beam_reserve(&scratch->beam, &scratch->beam_reserved, ef > best ? ef : best, err));
    TRY(beam_reserve(&scratch->best, &scratch->best_reserved, best, err));
    if (words > scratch->visited_words) {
        size_t room = words + words / 2;
        uint64_t *visited = pages_alloc(room * sizeof(*visited));
        if (visited == NULL) {
            return err_no_memory(err);
        }
        pages_free(scratch->visited, scratch->visited_words * sizeof(*visited));
        scratch->visited = visited;
        scratch->visited_words = room;
    }
    beam_clear(&scratch->beam, ef);
    beam_clear(&scratch->best, best);
    if (words > 0) {
        memset(scratch->visited, 0, words * sizeof(*scratch->visited));
    }
    return OK;
}

enum status scratch_allow(struct vec_scratch *scratch, uint32_t slots, struct err *err)
{
    size_t words = ((size_t)slots + 63) / 64;
    if (words > scratch->allow_words) {
        size_t room = words + words / 2;
        uint64_t *allow = mem_alloc(room * sizeof(*allow));
        if (allow == NULL) {
            return err_no_memory(err);
        }
        mem_free(scratch->allow);
        scratch->allow = allow;
        scratch->allow_words = room;
    }
    if (words > 0) {
        memset(scratch->allow, 0, words * sizeof(*scratch->allow));
    }
    return OK;
}

enum status scratch_scan(struct vec_scratch *scratch, struct err *err)
{
    if (scratch->scan_dist == NULL) {
        size_t each = sizeof(*scratch->scan_dist) + sizeof(*scratch->scan_slot);
        float *block = mem_alloc(SCAN_BLOCK * each);
        if (block == NULL) {
            return err_no_memory(err);
        }
        scratch->scan_dist = block;
        scratch->scan_slot = (uint32_t *)(block + SCAN_BLOCK);
    }
    return OK;
}

/* Everything whose size the dimension decides, in one block. */
static enum status fixed_parts(struct vec_scratch *scratch, const struct vec_index *index,
                               struct err *err)
{
    size_t padded = index->shape.padded;
    size_t floats = padded * 2 + CODE_BYTES_MAX;
    scratch->fixed_bytes = floats * sizeof(float) + padded * 5 + index->shape.bytes;
    char *block = pages_alloc(scratch->fixed_bytes);
    if (block == NULL) {
        return err_no_memory(err);
    }
    scratch->fixed = block;
    scratch->row.f = (float *)block;
    scratch->centred = scratch->row.f + padded;
    scratch->projected = scratch->centred + padded;
    scratch->row.q16 = (int16_t *)(scratch->projected + CODE_BYTES_MAX);
    scratch->steps = scratch->row.q16 + padded;
    scratch->row.q8 = (int8_t *)(scratch->steps + padded);
    return OK;
}

enum status vec_scratch_new(struct vec_index *index, struct vec_scratch **out, struct err *err)
{
    struct vec_scratch *scratch = pages_alloc(sizeof(*scratch)); /* its queries are whole lines */
    if (scratch == NULL) {
        return err_no_memory(err);
    }
    scratch->index = index;
    enum status status = fixed_parts(scratch, index, err);
    if (status != OK) {
        pages_free(scratch, sizeof(*scratch));
        return status;
    }
    pthread_mutex_lock(&index->readers_lock);
    scratch->next = index->readers;
    index->readers = scratch;
    pthread_mutex_unlock(&index->readers_lock);
    *out = scratch;
    return OK;
}

void vec_scratch_free(struct vec_scratch *scratch)
{
    if (scratch == NULL) {
        return;
    }
    for (size_t i = 0; i < WALKS_MAX - 1; i++) {
        vec_scratch_free(scratch->others[i]);
    }
    struct vec_index *index = scratch->index;
    pthread_mutex_lock(&index->readers_lock);
    for (struct vec_scratch **at = &index->readers; *at != NULL; at = &(*at)->next) {
        if (*at == scratch) {
            *at = scratch->next;
            break;
        }
    }
    pthread_mutex_unlock(&index->readers_lock);
    mem_free(scratch->beam.dist);
    mem_free(scratch->beam.slot);
    mem_free(scratch->best.dist);
    mem_free(scratch->best.slot);
    mem_free(scratch->allow);
    mem_free(scratch->scan_dist);
    pages_free(scratch->visited, scratch->visited_words * sizeof(*scratch->visited));
    pages_free(scratch->fixed, scratch->fixed_bytes);
    pages_free(scratch, sizeof(*scratch));
}
