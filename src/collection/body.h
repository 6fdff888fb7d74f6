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
#include "collection/record.h"

enum {
    BODY_SCRATCHES = 64,
    BODY_GHOSTS = 64,
    BODY_GRAPH_MIN = 5000, /* vectors from which on there is a graph: the library's default */
};

/** What an item was when a snapshot began that has not come to it yet. */
struct body_before {
    uint64_t number;
    uint32_t slot;
    uint16_t id_len;
    uint32_t metadata_len;
    struct body_before *next;
    char bytes[]; /* id, metadata */
};

/** A snapshot that goes through the rows; guarded by the body's lock. */
struct body_walk {
    uint32_t row;        /* rows before it are through */
    uint64_t number_end; /* items from here on came later */
    struct body_before *saved;
    bool failed; /* there was no memory to keep something */
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
/** One item of a snapshot, into a body that nobody sees yet. */
enum status body_load(struct body *body, const struct record *record, struct err *err) MUST_USE;
/** The same where the vector is in its slot already. E_CORRUPT: the slot is another item's. */
enum status body_load_at(struct body *body, const struct record *record, uint32_t slot,
                         struct err *err) MUST_USE;
/** Take this instead of the empty one that it has; nobody has used it yet. */
void body_adopt(struct body *body, struct vec_index *vec);

/** Look how many vectors searches scan, and keep it in `scanned`; true when there may be a graph.
 * Any thread that uses the body. */
bool body_look(struct body *body);
/** Look how much memory it takes, and keep it in memory_bytes. */
uint64_t body_measure(struct body *body);

#endif
