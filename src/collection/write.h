/*
 * Changes of one index: they wait in a queue, and whoever finds nobody leading takes all that wait,
 * makes one log object of them, and applies it when it is durable.
 */
#ifndef COLLECTION_WRITE_H
#define COLLECTION_WRITE_H

#include "collection/coll_priv.h"

enum write_kind {
    WRITE_ADD,
    WRITE_DELETE,        /* ids */
    WRITE_DELETE_FILTER, /* the rest go alone into an object */
    WRITE_CLEAR,
    WRITE_PATCH,
    WRITE_CALL, /* nothing is written: `call` runs while nobody changes anything */
};

struct write {
    enum write_kind kind;
    const struct coll_item *items;
    size_t count;
    enum coll_add_mode mode;
    const struct str *ids;
    size_t id_count;
    const struct filter *filter;
    struct str id, metadata;
    bool merge;
    enum status (*call)(struct coll *coll, struct body *body, void *ctx, struct err *err);
    void *ctx;
    bool needs_epoch; /* the call is for the writer of the index alone */

    uint64_t added, updated, deleted, length; /* the answer */
    enum status status;
    struct err err;

    struct write *next;
    bool taken, leads, finished; /* guarded by the queue's lock */
    pthread_cond_t wake;
};

/** Returns write->status, with its error. */
enum status write_run(struct coll *coll, struct write *write, struct err *err) MUST_USE;

/* --- prepare.c --- */

struct overlay_entry {
    struct str id;
    uint64_t owner; /* the batch that touched it last, from 1 */
    bool there;     /* behind what was prepared so far */
};
/** What the changes before, in the same object, have done to ids. */
struct overlay {
    struct overlay_entry *entries; /* id.ptr NULL: free */
    size_t count, cap;
};

struct prepare {
    struct coll *coll;
    struct body *body;
    struct buf *bytes; /* the object */
    struct overlay overlay;
    uint64_t batch; /* counts the writes */
    uint64_t length;
    uint32_t count;
};

enum status prepare_begin(struct prepare *prepare, struct coll *coll, struct body *body,
                          struct buf *bytes, struct err *err) MUST_USE;
/** Check one write against the state and what comes before it, and encode it. An error is the
 * write's own and leaves the object as it was, but E_INTERNAL. */
enum status prepare_write(struct prepare *prepare, struct write *write, struct err *err) MUST_USE;
void prepare_done(struct prepare *prepare);

#endif
