/*
 * The state of one index in memory: vectors, ids, metadata, exact floats; and how records change
 * it.
 *
 * Changing is the work of one thread at a time (the one that leads the index's writes, or recovers
 * it); searches and reads go on beside it. `lock` is held for an item's change, never across I/O.
 *
 * A vector is replaced by adding the new one, then letting the id go to it, then deleting the old
 * one: a search meets the one or the other, or both.
 */
#ifndef COLLECTION_BODY_H
#define COLLECTION_BODY_H

#include "collection/collection.h"
#include "collection/floats.h"
#include "collection/ids.h"
#include "collection/meta.h"
#include "collection/snap_list.h"

enum {
    BODY_SCRATCHES = 64,
    BODY_GHOSTS = 64,
    BODY_GRAPH_MIN = 5000, /* vectors from which on there is a graph: the library's default */
};

/** What an item was when a snapshot began that has not come to it yet. */
struct body_before {
    uint64_t number;
    uint32_t row, slot;
    uint16_t id_len;
    uint32_t metadata_len;
    struct body_before *next;
    char bytes[]; /* id, metadata */
};

/** A snapshot that goes through the rows; guarded by the body's lock. */
struct body_walk {
    uint32_t row;        /* rows before it are through */
    uint64_t number_end; /* items from here on came later */
    bool failed;         /* there was no memory to keep something */
};

/** Which vectors are as they were in a graph that was stored. */
struct body_stored {
    uint64_t *slots; /* bits; NULL: there is no such graph */
    uint64_t slot_count;
    uint64_t changes; /* vectors that came or went since */
};

struct body {
    struct vec_index *vec;
    struct coll_spec spec; /* without a name */
    pthread_rwlock_t lock;
    struct ids ids; /* guarded by lock, as are meta and walk */
    struct meta *meta;
    /* Counts replacements; changed under the lock, before the old vector is deleted: who reads it
     * behind a pin knows that what is retired later is still where it was. */
    _Atomic uint64_t stamp;
    struct body_walk *walk;
    struct floats floats;
    /* the writer's alone */
    uint64_t sequence;       /* of the last log object that is in it */
    uint64_t epoch;          /* of that object */
    uint64_t next_number;    /* of the next item */
    size_t resume;           /* where an object that could not be applied whole goes on; 0: none */
    struct vec_scratch *own; /* while records are applied */
    uint32_t ghosts[BODY_GHOSTS]; /* replaced or deleted slots that want to be deleted still */
    uint32_t ghost_count;
    /* The snapshot that its rows are laid out as: of whoever loads it, then of whoever makes the
     * next one; empty: there is none. */
    struct snap_list base; /* guarded by lock, where it is not the maker who looks */
    uint64_t base_sequence, base_tag;
    /* slots that hold what they hold in the graph of that snapshot, and of one that is being
     * made; guarded by lock */
    struct body_stored stored, stored_next;
    /* read by others */
    _Atomic uint64_t length;
    _Atomic bool behind;                       /* vec_maintain has work */
    _Atomic uint64_t scanned;                  /* vectors that are in no graph, as last looked */
    _Atomic uint64_t memory_bytes;             /* as last looked */
    _Atomic uint64_t tail_objects, tail_bytes; /* behind the last snapshot */
    _Atomic uint64_t plans_graph, plans_scan, plans_exact;
    uint32_t refs;      /* guarded by the service's lock, as is: */
    uint64_t accounted; /* what it counts in the service's memory */
    /* of searches */
    pthread_mutex_t scratch_lock;
    struct vec_scratch *scratches[BODY_SCRATCHES]; /* guarded by scratch_lock */
    uint32_t scratch_count;
};

enum status body_new(const struct coll_spec *spec, struct spool *spool, struct body **out,
                     struct err *err) MUST_USE;
/** Nobody uses it any more. NULL is fine. */
void body_free(struct body *body);

enum status body_scratch_take(struct body *body, struct vec_scratch **out,
                              struct err *err) MUST_USE;
void body_scratch_give(struct body *body, struct vec_scratch *scratch);

/**
 * Apply all records of an object that record_check has seen. Applying it again does no harm: the
 * outcome is the same.
 *
 * Errors   E_NO_MEMORY, E_DISK_FULL, ...: part of it is applied, do it again; E_CORRUPT: it is none
 *          for this index
 */
enum status body_apply(struct body *body, struct str bytes, const struct record_head *head,
                       struct err *err) MUST_USE;

/** The object empties the index: whoever applies it goes on with a new body, see body_cleared. */
bool body_clears(struct str bytes, const struct record_head *head);
/** An empty body that goes on where `from` is: the same index after its items went at once. */
enum status body_cleared(const struct body *from, struct body **out, struct err *err) MUST_USE;
/**
 * A body with the items of `from` and without the gaps that others left there: slots and rows are
 * new, numbers are the same. Nothing is linked, and it begins with no snapshot.
 *
 * Errors   as body_load
 * Owns     the caller frees both
 * Threads  nobody else uses `from`
 */
enum status body_packed(struct body *from, struct body **out, struct err *err) MUST_USE;
/** Does anything lie in it that a packed one would not have? Any thread that uses it. */
bool body_has_gaps(struct body *body);
/** One item of a snapshot, into a body that nobody sees yet. */
enum status body_load(struct body *body, const struct record *record, struct err *err) MUST_USE;
/** The same where the vector is in its slot already. E_CORRUPT: the slot is another item's. */
enum status body_load_at(struct body *body, const struct record *record, uint32_t slot,
                         struct err *err) MUST_USE;
/** Take this instead of the empty one that it has; nobody has used it yet. */
void body_adopt(struct body *body, struct vec_index *vec);

/** All slots are as in the graph that was loaded, or whose snapshot begins. False: no memory. */
bool body_stored_begin(struct body *body, struct body_stored *stored);
void body_stored_end(struct body_stored *stored);
/** Guarded by lock. */
bool body_stored_has(const struct body_stored *stored, uint32_t slot);
/** Behind the last item: take out what no item has. E_CORRUPT: then some item has no vector. */
enum status body_load_end(struct body *body, struct err *err) MUST_USE;

/** Look how many vectors searches scan, and keep it in `scanned`; true when there may be a graph.
 * Any thread that uses the body. */
bool body_look(struct body *body);
/** Look how much memory it takes, and keep it in memory_bytes. */
uint64_t body_measure(struct body *body);

#endif
