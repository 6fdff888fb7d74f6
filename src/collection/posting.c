/*
 * A list of slots, or chunks of 65,536 slots each:
 *
 *   list    3 17 90 ...                     up to LIST_MAX
 *   chunks  [0] 16-bit numbers, ascending   up to NUMBERS_MAX of them, 8 KiB
 *           [1] bits                        8 KiB
 *           [2] NULL                        none
 *
 * It goes back to fewer bytes when it is half as long as would be needed, so that one slot that
 * comes and goes does not convert it each time.
 */
#include "collection/posting.h"

#include <string.h>

#include "base/mem.h"

enum {
    LIST_MAX = 4096, /* moving 8 KiB on average is about what an update costs otherwise */
    CHUNK_BITS = 16,
    CHUNK_SLOTS = 1 << CHUNK_BITS,
    CHUNK_WORDS = CHUNK_SLOTS / 64,
    NUMBERS_MAX = 4096, /* as many bytes as the bits */
};

struct chunk {
    uint32_t count, room; /* room 0: bits */
    union {
        uint16_t numbers[CHUNK_WORDS * 4];
        uint64_t bits[CHUNK_WORDS];
    };
};

struct posting {
    uint64_t count;
    uint32_t *list; /* NULL: chunks, or nothing yet */
    uint32_t room;
    struct chunk **chunks; /* [chunk_count] */
    uint32_t chunk_count;
    uint64_t memory; /* of the chunks */
};

struct posting *posting_new(void)
{
    return mem_zalloc(sizeof(struct posting));
}

static void free_chunks(struct posting *posting)
{
    for (uint32_t i = 0; i < posting->chunk_count; i++) {
        mem_free(posting->chunks[i]);
    }
    mem_free(posting->chunks);
    posting->chunks = NULL;
    posting->chunk_count = 0;
    posting->memory = 0;
}

void posting_free(struct posting *posting)
{
    if (posting != NULL) {
        free_chunks(posting);
        mem_free(posting->list);
        mem_free(posting);
    }
}

/* --- chunks --- */

static size_t chunk_bytes(const struct chunk *chunk)
{
    return offsetof(struct chunk, bits) +
           (chunk->room == 0 ? CHUNK_WORDS * sizeof(uint64_t) : chunk->room * sizeof(uint16_t));
}

/** The place of the first number not below. */
static uint32_t number_place(const struct chunk *chunk, uint16_t number)
{
    uint32_t low = 0;
    uint32_t high = chunk->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (chunk->numbers[middle] < number) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/** With room for `room` numbers, or bits when 0, holding what `old` (may be NULL) holds. */
static struct chunk *chunk_convert(const struct chunk *old, uint32_t room)
{
    struct chunk shape = { .room = room };
    struct chunk *chunk = mem_zalloc(chunk_bytes(&shape));
    if (chunk == NULL) {
        return NULL;
    }
    chunk->room = room;
    if (old == NULL) {
        return chunk;
    }
    uint32_t at = 0;
    chunk->count = old->count;
    if (old->room > 0 && room > 0) {
        memcpy(chunk->numbers, old->numbers, old->count * sizeof(uint16_t));
    } else if (old->room > 0) {
        for (; at < old->count; at++) {
            chunk->bits[old->numbers[at] / 64] |= (uint64_t)1 << (old->numbers[at] % 64);
        }
    } else {
        for (uint32_t i = 0; i < CHUNK_SLOTS; i++) {
            if ((old->bits[i / 64] >> (i % 64) & 1) != 0) {
                chunk->numbers[at++] = (uint16_t)i;
            }
        }
    }
    return chunk;
}

static enum status replace_chunk(struct posting *posting, uint32_t index, uint32_t room)
{
    struct chunk *old = posting->chunks[index];
    struct chunk *chunk = chunk_convert(old, room);
    if (chunk == NULL) {
        return E_NO_MEMORY;
    }
    posting->memory += chunk_bytes(chunk);
    posting->memory -= old != NULL ? chunk_bytes(old) : 0;
    posting->chunks[index] = chunk;
    mem_free(old);
    return OK;
}

static enum status chunks_room(struct posting *posting, uint32_t index)
{
    if (index < posting->chunk_count) {
        return OK;
    }
    uint32_t count = index + index / 4 + 1;
    struct chunk **chunks = mem_realloc(posting->chunks, count * sizeof(struct chunk *));
    if (chunks == NULL) {
        return E_NO_MEMORY;
    }
    for (uint32_t i = posting->chunk_count; i < count; i++) {
        chunks[i] = NULL;
    }
    posting->chunks = chunks;
    posting->chunk_count = count;
    return OK;
}

static enum status chunks_add(struct posting *posting, uint32_t slot)
{
    uint32_t index = slot >> CHUNK_BITS;
    uint16_t number = (uint16_t)slot;
    TRY(chunks_room(posting, index));
    struct chunk *chunk = posting->chunks[index];
    if (chunk != NULL && chunk->room == 0) {
        uint64_t bit = (uint64_t)1 << (number % 64);
        bool fresh = (chunk->bits[number / 64] & bit) == 0;
        chunk->bits[number / 64] |= bit;
        chunk->count += fresh;
        posting->count += fresh;
        return OK;
    }
    uint32_t place = chunk != NULL ? number_place(chunk, number) : 0;
    if (chunk != NULL && place < chunk->count && chunk->numbers[place] == number) {
        return OK;
    }
    if (chunk == NULL || chunk->count == chunk->room) {
        uint32_t room = chunk == NULL ? 16 : chunk->room * 2;
        TRY(replace_chunk(posting, index, room > NUMBERS_MAX ? 0 : room));
        return chunks_add(posting, slot); /* once: there is room now */
    }
    memmove(chunk->numbers + place + 1, chunk->numbers + place,
            (chunk->count - place) * sizeof(uint16_t));
    chunk->numbers[place] = number;
    chunk->count++;
    posting->count++;
    return OK;
}

static bool chunk_take(struct chunk *chunk, uint16_t number)
{
    if (chunk->room == 0) {
        uint64_t bit = (uint64_t)1 << (number % 64);
        bool there = (chunk->bits[number / 64] & bit) != 0;
        chunk->bits[number / 64] &= ~bit;
        chunk->count -= there;
        return there;
    }
    uint32_t place = number_place(chunk, number);
    if (place == chunk->count || chunk->numbers[place] != number) {
        return false;
    }
    chunk->count--;
    memmove(chunk->numbers + place, chunk->numbers + place + 1,
            (chunk->count - place) * sizeof(uint16_t));
    return true;
}

static void chunks_remove(struct posting *posting, uint32_t slot)
{
    uint32_t index = slot >> CHUNK_BITS;
    struct chunk *chunk = index < posting->chunk_count ? posting->chunks[index] : NULL;
    if (chunk == NULL || !chunk_take(chunk, (uint16_t)slot)) {
        return;
    }
    posting->count--;
    if (chunk->count == 0) {
        posting->memory -= chunk_bytes(chunk);
        posting->chunks[index] = NULL;
        mem_free(chunk);
    } else if (chunk->room == 0 && chunk->count <= NUMBERS_MAX / 2) {
        (void)!replace_chunk(posting, index, NUMBERS_MAX / 2); /* bits are right as well */
    }
}

static void chunk_mark(const struct chunk *chunk, uint64_t *bits, size_t word_count)
{
    size_t words = word_count < CHUNK_WORDS ? word_count : CHUNK_WORDS;
    if (chunk->room == 0) {
        for (size_t i = 0; i < words; i++) {
            bits[i] |= chunk->bits[i];
        }
        return;
    }
    for (uint32_t i = 0; i < chunk->count; i++) {
        if (chunk->numbers[i] / 64 < words) {
            bits[chunk->numbers[i] / 64] |= (uint64_t)1 << (chunk->numbers[i] % 64);
        }
    }
}

/* --- the list --- */

static uint32_t list_place(const struct posting *posting, uint32_t slot)
{
    uint32_t low = 0;
    uint32_t high = (uint32_t)posting->count;
    if (high > 0 && posting->list[high - 1] < slot) { /* as it is when slots come in order */
        return high;
    }
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (posting->list[middle] < slot) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static enum status to_chunks(struct posting *posting)
{
    uint64_t count = posting->count;
    posting->count = 0;
    for (uint64_t i = 0; i < count; i++) {
        if (chunks_add(posting, posting->list[i]) != OK) {
            free_chunks(posting);
            posting->count = count;
            return E_NO_MEMORY;
        }
    }
    mem_free(posting->list);
    posting->list = NULL;
    posting->room = 0;
    return OK;
}

static void to_list(struct posting *posting)
{
    uint32_t *list = mem_alloc(LIST_MAX / 2 * sizeof(*list));
    if (list == NULL) {
        return; /* chunks are right as well */
    }
    uint32_t at = 0;
    for (uint32_t c = 0; c < posting->chunk_count; c++) {
        const struct chunk *chunk = posting->chunks[c];
        uint32_t end = chunk == NULL ? 0 : chunk->room == 0 ? CHUNK_SLOTS : chunk->count;
        for (uint32_t i = 0; i < end; i++) {
            if (chunk->room > 0) {
                list[at++] = c << CHUNK_BITS | chunk->numbers[i];
            } else if ((chunk->bits[i / 64] >> (i % 64) & 1) != 0) {
                list[at++] = c << CHUNK_BITS | i;
            }
        }
    }
    free_chunks(posting);
    posting->list = list;
    posting->room = LIST_MAX / 2;
}

static enum status list_room(struct posting *posting)
{
    if (posting->list != NULL && posting->count < posting->room) {
        return OK;
    }
    uint32_t room = posting->room < 2 ? 2 : posting->room + posting->room / 2;
    room = room < LIST_MAX ? room : LIST_MAX;
    uint32_t *list = mem_realloc(posting->list, room * sizeof(*list));
    if (list == NULL) {
        return E_NO_MEMORY;
    }
    posting->list = list;
    posting->room = room;
    return OK;
}

/* --- both --- */

enum status posting_add(struct posting *posting, uint32_t slot)
{
    if (posting->list == NULL && posting->count > 0) {
        return chunks_add(posting, slot);
    }
    uint32_t place = list_place(posting, slot);
    if (place < posting->count && posting->list[place] == slot) {
        return OK;
    }
    if (posting->count == LIST_MAX) {
        TRY(to_chunks(posting));
        return chunks_add(posting, slot);
    }
    TRY(list_room(posting));
    memmove(posting->list + place + 1, posting->list + place,
            (posting->count - place) * sizeof(*posting->list));
    posting->list[place] = slot;
    posting->count++;
    return OK;
}

void posting_remove(struct posting *posting, uint32_t slot)
{
    if (posting->list == NULL) {
        chunks_remove(posting, slot);
        if (posting->chunks != NULL && posting->count <= LIST_MAX / 2) {
            to_list(posting);
        }
        return;
    }
    uint32_t place = list_place(posting, slot);
    if (place < posting->count && posting->list[place] == slot) {
        posting->count--;
        memmove(posting->list + place, posting->list + place + 1,
                (posting->count - place) * sizeof(*posting->list));
    }
}

uint64_t posting_count(const struct posting *posting)
{
    return posting->count;
}

void posting_mark(const struct posting *posting, uint64_t *bits, size_t word_count)
{
    for (uint64_t i = 0; posting->list != NULL && i < posting->count; i++) {
        uint32_t slot = posting->list[i];
        if (slot / 64 < word_count) {
            bits[slot / 64] |= (uint64_t)1 << (slot % 64);
        }
    }
    for (uint32_t i = 0; i < posting->chunk_count; i++) {
        size_t from = (size_t)i * CHUNK_WORDS;
        if (posting->chunks[i] != NULL && from < word_count) {
            chunk_mark(posting->chunks[i], bits + from, word_count - from);
        }
    }
}

uint64_t posting_memory(const struct posting *posting)
{
    return sizeof(*posting) + posting->room * sizeof(*posting->list) +
           posting->chunk_count * sizeof(struct chunk *) + posting->memory;
}
