/*
 * Tables of chunks that never move: a directory of pointers grows by doubling, so that no change is
 * longer than copying that. The hash is cut into shards for the same reason: the greatest step is
 * growing one of 64. Linear probing, at most 3/4 full, without tombstones.
 */
#include "collection/ids.h"

#include <pthread.h>

#include "base/mem.h"
#include "base/rng.h"

enum { SHARD_CAP_MIN = 8 };

static pthread_once_t seed_once = PTHREAD_ONCE_INIT;
static uint64_t seed;

static void make_seed(void)
{
    seed = random_u64();
}

void ids_init(struct ids *ids)
{
    *ids = (struct ids){ .bytes = sizeof *ids };
}

void ids_done(struct ids *ids)
{
    for (uint32_t row = 0; row < ids->row_count; row++) {
        mem_free(ids_row(ids, row)->id);
    }
    for (size_t i = 0; i < ids->row_chunks; i++) {
        mem_free(ids->rows[i]);
    }
    for (size_t i = 0; i < ids->slot_chunks; i++) {
        mem_free(ids->slots[i]);
    }
    for (size_t i = 0; i < IDS_SHARDS; i++) {
        mem_free(ids->shards[i].table);
    }
    mem_free(ids->rows);
    mem_free(ids->slots);
    mem_free(ids->free);
    *ids = (struct ids){ 0 };
}

/* --- the hash --- */

uint64_t ids_hash(struct str id)
{
    pthread_once(&seed_once, make_seed);
    return str_hash(id, seed);
}

static uint32_t hash_of(struct str id)
{
    uint64_t hash = ids_hash(id);
    return (uint32_t)(hash ^ (hash >> 32));
}

static struct ids_shard *shard_of(const struct ids *ids, uint32_t hash)
{
    return (struct ids_shard *)&ids->shards[hash % IDS_SHARDS];
}

static uint32_t home_of(const struct ids_shard *shard, uint32_t hash)
{
    return (hash / IDS_SHARDS) & (shard->cap - 1);
}

uint32_t ids_find(const struct ids *ids, struct str id)
{
    uint32_t hash = hash_of(id);
    const struct ids_shard *shard = shard_of(ids, hash);
    if (shard->count == 0) {
        return IDS_NONE;
    }
    uint32_t at = home_of(shard, hash);
    while (shard->table[at] != IDS_NONE) {
        const struct ids_row *row = ids_row(ids, shard->table[at]);
        if (row->hash == hash && str_eq(ids_id(row), id)) {
            return shard->table[at];
        }
        at = (at + 1) & (shard->cap - 1);
    }
    return IDS_NONE;
}

static void table_put(const struct ids_shard *shard, uint32_t hash, uint32_t row)
{
    uint32_t at = home_of(shard, hash);
    while (shard->table[at] != IDS_NONE) {
        at = (at + 1) & (shard->cap - 1);
    }
    shard->table[at] = row;
}

static enum status shard_room(struct ids *ids, struct ids_shard *shard)
{
    if (shard->count + 1 <= shard->cap / 4 * 3) {
        return OK;
    }
    struct ids_shard bigger = { .count = shard->count,
                                .cap = shard->cap == 0 ? SHARD_CAP_MIN : shard->cap * 2 };
    bigger.table = mem_alloc(bigger.cap * sizeof *bigger.table);
    if (bigger.table == NULL) {
        return E_NO_MEMORY;
    }
    memset(bigger.table, 0xff, bigger.cap * sizeof *bigger.table);
    for (uint32_t i = 0; i < shard->cap; i++) {
        if (shard->table[i] != IDS_NONE) {
            table_put(&bigger, ids_row(ids, shard->table[i])->hash, shard->table[i]);
        }
    }
    ids->bytes += (bigger.cap - shard->cap) * sizeof *bigger.table;
    mem_free(shard->table);
    *shard = bigger;
    return OK;
}

/** Later entries of the same run move back over the gap. */
static void table_remove(const struct ids *ids, struct ids_shard *shard, uint32_t row)
{
    uint32_t mask = shard->cap - 1;
    uint32_t gap = home_of(shard, ids_row(ids, row)->hash);
    while (shard->table[gap] != row) {
        gap = (gap + 1) & mask;
    }
    for (uint32_t at = (gap + 1) & mask; shard->table[at] != IDS_NONE; at = (at + 1) & mask) {
        uint32_t home = home_of(shard, ids_row(ids, shard->table[at])->hash);
        if (((at - home) & mask) >= ((at - gap) & mask)) {
            shard->table[gap] = shard->table[at];
            gap = at;
        }
    }
    shard->table[gap] = IDS_NONE;
    shard->count--;
}

/* --- rows and slots --- */

/** Room for one more pointer in a directory. */
static enum status directory_room(struct ids *ids, void ***directory, size_t count, size_t *room)
{
    if (count < *room) {
        return OK;
    }
    size_t more = *room == 0 ? 4 : *room * 2;
    void **grown = mem_realloc(*directory, more * sizeof *grown);
    if (grown == NULL) {
        return E_NO_MEMORY;
    }
    ids->bytes += (more - *room) * sizeof *grown;
    *directory = grown;
    *room = more;
    return OK;
}

enum status ids_reserve(struct ids *ids, uint32_t slot)
{
    while (slot / IDS_CHUNK >= ids->slot_chunks) {
        TRY(directory_room(ids, (void ***)&ids->slots, ids->slot_chunks, &ids->slot_room));
        struct ids_slots *chunk = mem_zalloc(sizeof *chunk);
        if (chunk == NULL) {
            return E_NO_MEMORY;
        }
        memset(chunk->row, 0xff, sizeof chunk->row);
        ids->slots[ids->slot_chunks++] = chunk;
        ids->bytes += sizeof *chunk;
    }
    return OK;
}

/** Room in the list of free rows for each row that there is, so that removing cannot fail. */
static enum status free_room(struct ids *ids)
{
    if (ids->row_count < ids->free_room) {
        return OK;
    }
    uint32_t room = ids->free_room == 0 ? 64 : ids->free_room * 2;
    uint32_t *grown = mem_realloc(ids->free, room * sizeof *grown);
    if (grown == NULL) {
        return E_NO_MEMORY;
    }
    ids->bytes += (room - ids->free_room) * sizeof *grown;
    ids->free = grown;
    ids->free_room = room;
    return OK;
}

/** Behind all that were ever used. */
static enum status row_append(struct ids *ids, uint32_t *row_out)
{
    TRY(free_room(ids));
    if (ids->row_count / IDS_CHUNK >= ids->row_chunks) {
        TRY(directory_room(ids, (void ***)&ids->rows, ids->row_chunks, &ids->row_room));
        struct ids_rows *chunk = mem_zalloc(sizeof *chunk);
        if (chunk == NULL) {
            return E_NO_MEMORY;
        }
        chunk->number_min = UINT64_MAX;
        ids->rows[ids->row_chunks++] = chunk;
        ids->bytes += sizeof *chunk;
    }
    *row_out = ids->row_count++;
    return OK;
}

static enum status row_take(struct ids *ids, uint32_t *row_out)
{
    if (ids->free_count > 0 && !ids->in_order) {
        *row_out = ids->free[--ids->free_count];
        return OK;
    }
    return row_append(ids, row_out);
}

enum status ids_start_at(struct ids *ids, uint32_t row)
{
    ids->in_order = true;
    while (ids->row_count < row) {
        uint32_t unused = 0;
        TRY(row_append(ids, &unused));
        ids->free[ids->free_count++] = unused;
    }
    return OK;
}

void ids_start_anywhere(struct ids *ids)
{
    ids->in_order = false;
}

static void slot_unref(struct ids *ids, uint32_t slot)
{
    struct ids_slots *chunk = ids->slots[slot / IDS_CHUNK];
    uint32_t row = chunk->row[slot % IDS_CHUNK];
    chunk->row[slot % IDS_CHUNK] = IDS_NONE;
    if (row != IDS_NONE) {
        struct ids_row *r = ids_row(ids, row);
        if (--r->refs == 0 && !r->live) {
            ids->free[ids->free_count++] = row;
        }
    }
}

static void slot_set(struct ids *ids, uint32_t slot, uint32_t row)
{
    slot_unref(ids, slot);
    struct ids_slots *chunk = ids->slots[slot / IDS_CHUNK];
    chunk->row[slot % IDS_CHUNK] = row;
    chunk->retired[slot % IDS_CHUNK] = 0;
    ids_row(ids, row)->refs++;
    ids_row(ids, row)->slot = slot;
}

uint32_t ids_at_slot(const struct ids *ids, uint32_t slot, uint64_t *retired_out)
{
    if (slot / IDS_CHUNK >= ids->slot_chunks) {
        return IDS_NONE;
    }
    const struct ids_slots *chunk = ids->slots[slot / IDS_CHUNK];
    *retired_out = chunk->retired[slot % IDS_CHUNK];
    return chunk->row[slot % IDS_CHUNK];
}

enum status ids_insert(struct ids *ids, struct str id, uint64_t number, uint32_t slot,
                       uint32_t *row_out)
{
    uint32_t hash = hash_of(id);
    struct ids_shard *shard = shard_of(ids, hash);
    TRY(shard_room(ids, shard));
    char *copy = mem_strndup(id.ptr, id.len);
    if (copy == NULL) {
        return E_NO_MEMORY;
    }
    uint32_t row = IDS_NONE;
    if (row_take(ids, &row) != OK) {
        mem_free(copy);
        return E_NO_MEMORY;
    }
    struct ids_rows *chunk = ids->rows[row / IDS_CHUNK];
    chunk->number_min = number < chunk->number_min ? number : chunk->number_min;
    chunk->number_max = number > chunk->number_max ? number : chunk->number_max;
    *ids_row(ids, row) = (struct ids_row){
        .id = copy, .id_len = (uint16_t)id.len, .number = number, .hash = hash, .live = true
    };
    slot_set(ids, slot, row);
    table_put(shard, hash, row);
    shard->count++;
    ids->live++;
    ids->bytes += id.len + 16; /* with what malloc takes */
    *row_out = row;
    return OK;
}

void ids_move(struct ids *ids, uint32_t row, uint32_t slot, uint64_t stamp)
{
    uint32_t old = ids_row(ids, row)->slot;
    ids->slots[old / IDS_CHUNK]->retired[old % IDS_CHUNK] = stamp;
    slot_set(ids, slot, row);
}

void ids_remove(struct ids *ids, uint32_t row)
{
    struct ids_row *r = ids_row(ids, row);
    table_remove(ids, shard_of(ids, r->hash), row);
    r->live = false;
    ids->live--;
    ids->bytes -= r->id_len + 16U;
    mem_free(r->id);
    r->id = NULL;
    slot_unref(ids, r->slot);
}

void ids_forget_slot(struct ids *ids, uint32_t slot)
{
    if (slot / IDS_CHUNK < ids->slot_chunks) {
        slot_unref(ids, slot);
    }
}
