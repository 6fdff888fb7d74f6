/*
 * Pointers: the objects `_lake/vectors/<name>.json`, the only ones that change. An index's says
 * where its state lies and who writes it; an alias' says whose name it is. See
 * docs/formats/vector-collection.md.
 *
 * Threads  all calls are safe beside each other
 */
#ifndef COLLECTION_POINTER_H
#define COLLECTION_POINTER_H

#include "collection/collection.h"

/** Of one whose snapshot has a list; others say 1. */
enum { COLL_POINTER_FORMAT = 2 };

enum coll_pointer_kind { COLL_POINTER_INDEX, COLL_POINTER_ALIAS };

/** A state to start from: all log objects up to `sequence` are in it. */
struct coll_snapshot_ref {
    struct str name; /* of its folder; empty: there is none */
    uint64_t tag;
    uint64_t sequence;
    uint64_t chunks, items, bytes;
    uint64_t next_number;
    uint64_t graph_chunks; /* of the library's own state beside it; 0: there is none */
    uint64_t entries;      /* of its list; 0: it has none, and all is in its own folder */
};

struct coll_pointer {
    enum coll_pointer_kind kind;
    bool dropped;
    struct str name;
    struct str commit; /* no two bodies share it */
    struct str index;  /* of an alias: whose name it is */
    /* of an index: */
    struct str uuid;
    uint64_t epoch;
    uint64_t first_log; /* objects before it are of no use */
    struct coll_spec spec;
    struct coll_snapshot_ref snapshot;
    char etag[STORE_ETAG_MAX + 1]; /* of this body */
};

/** 1 to COLL_NAME_MAX characters, see DESIGN 8; else E_INVALID. */
enum status coll_name_check(struct str name, struct err *err) MUST_USE;
enum status coll_pointer_key(struct arena *arena, struct str name, struct str *out,
                             struct err *err) MUST_USE;
/** Whose pointer a key is; false: nobody's. */
bool coll_pointer_key_name(struct arena *arena, struct str key, struct str *name_out);

enum status coll_pointer_encode(const struct coll_pointer *pointer, struct buf *out) MUST_USE;
/** Everything goes into the arena. E_CORRUPT, E_UNSUPPORTED (a newer version's). */
enum status coll_pointer_decode(struct arena *arena, struct str json, struct coll_pointer *out,
                                struct err *err) MUST_USE;

/** E_NOT_FOUND: there is none; a dropped one is OK. */
enum status coll_pointer_read(struct store *store, struct str name, struct arena *arena,
                              struct coll_pointer *out, struct err *err) MUST_USE;
/**
 * Put `pointer` where `base` is (its etag; NULL: where nothing is), under a fresh commit id. Sets
 * pointer->commit and etag. A lost answer is resolved by reading back.
 *
 * Errors   E_PRECONDITION: somebody else changed it, nothing of this is there. E_UPSTREAM: unknown
 *          to the end; others: nothing was written
 */
enum status coll_pointer_swap(struct store *store, const struct coll_pointer *base,
                              struct arena *arena, struct coll_pointer *pointer,
                              struct err *err) MUST_USE;

const char *coll_metric_name(enum vec_metric metric);

#endif
