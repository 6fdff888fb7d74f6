/*
 * String ids of one index: id -> row -> slot, and back from slots.
 *
 * A row is an item for as long as it lives; its slot changes when its vector is replaced. Rows have
 * numbers that grow in the order of the first adding and stand in snapshots, so that pages over all
 * items go by them whatever happens meanwhile, also to the process.
 *
 * A slot that was replaced keeps its row, with the stamp of that moment: a search that began before
 * may have found the old vector, and still knows whose it was. It is forgotten when the slot is
 * used again.
 *
 * Threads  one writer at a time; readers beside each other: under the body's lock
 */
#ifndef COLLECTION_IDS_H
#define COLLECTION_IDS_H

#include "base/status.h"
#include "base/str.h"

enum { IDS_CHUNK = 256, IDS_SHARDS = 64, IDS_NONE = UINT32_MAX };

struct ids_row {
    char *id; /* owned; not NUL-terminated */
    uint64_t number;
    uint32_t slot, hash;
    uint32_t refs; /* slots that name it, retired ones too */
    uint16_t id_len;
    bool live;
    bool saved; /* what it was went to the snapshot that is being made */
};

struct ids_rows { /* IDS_CHUNK rows */
    struct ids_row rows[IDS_CHUNK];
    uint64_t number_min, number_max; /* bounds of those that were ever live here */
    uint64_t changed;                /* the caller's: the log object that changed one last */
    struct body_before *saved;       /* the caller's: what some were when a snapshot began */
};

struct ids_slots {
    uint64_t retired[IDS_CHUNK]; /* the stamp of the replacing; 0: current */
    uint32_t row[IDS_CHUNK];     /* IDS_NONE: nobody's */
};

struct ids_shard {
    uint32_t *table; /* row, or IDS_NONE */
    uint32_t count, cap;
};

struct ids {
    struct ids_rows **rows;
    size_t row_chunks, row_room;
    struct ids_slots **slots;
    size_t slot_chunks, slot_room;
    uint32_t *free; /* rows to be used again; room for all rows */
    uint32_t free_count, free_room;
    uint32_t row_count; /* ever used */
    bool in_order;      /* free rows are left alone */
    uint64_t live;
    uint64_t bytes; /* of all this */
    struct ids_shard shards[IDS_SHARDS];
};

void ids_init(struct ids *ids);
void ids_done(struct ids *ids);

static inline struct ids_row *ids_row(const struct ids *ids, uint32_t row)
{
    return &ids->rows[row / IDS_CHUNK]->rows[row % IDS_CHUNK];
}
static inline struct str ids_id(const struct ids_row *row)
{
    return str_from(row->id, row->id_len);
}

/** Under a seed that each process draws anew, so that nobody can choose ids that share their
 * hash. */
uint64_t ids_hash(struct str id);

/** IDS_NONE when it is not there. */
uint32_t ids_find(const struct ids *ids, struct str id);
/** Whose slot it is: IDS_NONE nobody's; `*retired_out` is the stamp of its replacing, or 0. */
uint32_t ids_at_slot(const struct ids *ids, uint32_t slot, uint64_t *retired_out);

/** Rows from this one on are used next; those before it that were never used are free, and taken
 * first once ids_start_anywhere was called. E_NO_MEMORY. */
enum status ids_start_at(struct ids *ids, uint32_t row) MUST_USE;
void ids_start_anywhere(struct ids *ids);

/** Room for a slot, so that ids_insert and ids_move cannot fail on its account. */
enum status ids_reserve(struct ids *ids, uint32_t slot) MUST_USE;
/** The id is not there, the slot was reserved. E_NO_MEMORY: nothing has changed. */
enum status ids_insert(struct ids *ids, struct str id, uint64_t number, uint32_t slot,
                       uint32_t *row_out) MUST_USE;
/** Its vector is in another slot now, which was reserved. */
void ids_move(struct ids *ids, uint32_t row, uint32_t slot, uint64_t stamp);
void ids_remove(struct ids *ids, uint32_t row);
/** The slot is nobody's. */
void ids_forget_slot(struct ids *ids, uint32_t slot);

#endif
