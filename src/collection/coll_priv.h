/*
 * What the files of this layer share: the service, and one entry a name.
 *
 *   service.c   open and close, finding and opening indexes, who uses them
 *   names.c     what names there are: pointers of the store, aliases
 *   index.c     create, drop, info, list, aliases, stats
 *   write.c     groups of changes -> one log object -> applied;  prepare.c: checking and encoding
 *   them
 *   recover.c   snapshot and log -> body
 *   read.c      get, count, items;  search.c
 *   snapshot.c  body -> snapshot -> pointer -> trimmed log
 *   care.c      the background
 *   body, ids, floats, meta, filter: state;  pointer, log, record: what is stored
 *
 * Locks, outermost first: an index's queue lock; the service's lock; a body's lock; the rest are
 * leaves. None is held across I/O.
 */
#ifndef COLLECTION_COLL_PRIV_H
#define COLLECTION_COLL_PRIV_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/map.h"
#include "base/rng.h"
#include "collection/body.h"
#include "collection/log.h"
#include "collection/pointer.h"

struct write; /* write.h */

/** A name: an index or an alias. Small: there may be ten thousand that nobody uses. */
struct coll {
    struct coll_service *service;
    char *name;
    char uuid[UUID_TEXT + 1]; /* of the index; empty for an alias */
    char *index;              /* of an alias: whose name it is; guarded by the service's lock */
    char etag[STORE_ETAG_MAX + 1]; /* of the pointer as last seen; guarded by the service's lock */
    struct coll_spec spec;         /* its name is `name` */
    /* guarded by the service's lock: the largest of any pointer that was read; our epoch, or 0 */
    uint64_t seen_epoch, seen_first_log, own_epoch;

    /* guarded by the service's lock */
    struct body *body; /* NULL: closed */
    bool opening;
    bool shooting; /* a snapshot is made: the next waits for service->changed */
    bool dropped;  /* out of the map; freed with its last user */
    bool stale;    /* another process went on: what is in memory is too old to be continued */
    uint32_t users;
    uint64_t used;   /* the service's tick of the last use */
    uint64_t length; /* as last known while closed; UINT64_MAX: unknown */
    bool looked_at;  /* its log was checked, or it was open */
    char *stopped;   /* why it answers nothing */

    /* writes: the queue's lock; the rest is the leader's alone */
    pthread_mutex_t lock;
    struct write *first, *last;
    bool busy;
    bool fenced; /* another process writes */
    /* fenced: since then, at the latest, the other has written nothing behind that object */
    int64_t quiet_ms; /* monotonic */
    uint64_t quiet_sequence;
    _Atomic bool writable; /* the epoch is ours */
    uint64_t epoch;        /* ours, when writable */
    int64_t opened_ms;     /* for writing, monotonic */
    int64_t confirmed_ms;  /* at that moment the pointer had our epoch, clock_boot_ms */
    uint64_t fence;        /* the log object that our epoch began with */
    struct buf pending;    /* an object whose fate, or whose effect, is open; len 0: none */
    bool pending_durable;  /* it is there, and wants to be applied */
};

/** Any of them may be NULL. */
struct coll_metrics {
    struct metric *log_objects, *log_bytes, *snapshots, *fenced, *stopped, *open, *memory;
};

struct coll_service {
    struct coll_service_opts opts;
    struct store *store;
    struct spool *spool;
    const struct lake_clock *clock;
    pthread_mutex_t lock;
    pthread_cond_t changed; /* an index was opened, or one user fewer, or a snapshot is through */
    struct map by_name;     /* struct coll; guarded by lock, as are the others here */
    struct map gone;        /* names that were dropped: the ETags of their pointers */
    char *broken;           /* why a pointer could not be read; NULL: all could */
    uint64_t tick;
    uint64_t memory_bytes;  /* of all open indexes as last measured */
    uint64_t names_changed; /* counts changes of by_name by this process */
    bool sweep;             /* something was dropped */
    struct care *care;      /* care.c */
    struct coll_metrics metrics;
};

/* --- names.c --- */

/** Read all pointers that are new or have changed since. Damaged ones are left out; OK with
 * service->broken NULL: behind it the map has every name that was there when it began. */
enum status names_refresh(struct coll_service *service, struct err *err) MUST_USE;
/** Of names_believe, before a pointer is read. */
uint64_t names_seen(struct coll_service *service);
/** Take over what was read, unless this process has changed a name since `seen`: then it may be
 * older than what the map has, and *believed_out is false. */
enum status names_believe(struct coll_service *service, const struct coll_pointer *pointer,
                          uint64_t seen, bool *believed_out, struct err *err) MUST_USE;
/** The entry of a name in the service's map, read from the store when it is not there, with a user
 * more. `follow`: of an alias that of its index. E_NOT_FOUND. */
enum status names_find(struct coll_service *service, struct str name, bool follow,
                       struct coll **out, struct err *err) MUST_USE;
/** Take over what a pointer says; guarded by the service's lock. A dropped one leaves. */
enum status names_set_locked(struct coll_service *service, const struct coll_pointer *pointer,
                             struct err *err) MUST_USE;
void names_free(struct coll *coll);

/* --- service.c --- */

struct coll_use {
    struct coll *coll;
    struct body *body;
};
/** Find and open. Whoever gets one gives it back. */
enum status use_begin(struct coll_service *service, struct str name, struct coll_use *out,
                      struct err *err) MUST_USE;
/** The same of an entry that has a user already. */
enum status use_open(struct coll *coll, struct coll_use *out, struct err *err) MUST_USE;
void use_end(struct coll_use *use);
void use_done(struct coll_use *use); /* for AUTO(); nothing where coll is NULL */
void coll_unref(struct coll *coll);
struct body *coll_body_ref(struct coll *coll);
void coll_body_unref(struct coll_service *service, struct body *body);
/** The leader's alone: this is the state from now on; the old one goes with its last user. */
void coll_body_set(struct coll *coll, struct body *body);
/** Measured anew: keeps the sum. */
void coll_body_account(struct coll_service *service, struct body *body);
/** Close the least used that nobody uses until `bytes` more have room. E_NO_MEMORY. */
enum status service_room(struct coll_service *service, struct coll *keep, uint64_t bytes,
                         struct err *err) MUST_USE;
/**
 * recover_open for a body that is to take the place of `now`, which goes on meanwhile. From before
 * it is read until coll_body_set measures it, it counts as much as `now` does in the memory of all
 * indexes; the limit of one index is that of each of the two.
 *
 * Errors   as recover_open; E_NO_MEMORY: there is no room for both
 * Owns     the caller gives it to coll_body_set, or back to coll_beside_free
 */
enum status coll_beside_open(struct coll *coll, const struct body *now, bool anew,
                             struct body **out, struct err *err) MUST_USE;
/** Another one without gaps takes its place, which counts as much until it is measured; *body stays
 * where there is no room for it. E_NO_MEMORY, and as body_packed. */
enum status coll_beside_pack(struct coll *coll, struct body **body, struct err *err) MUST_USE;
/** Nobody has used it. NULL is fine. */
void coll_beside_free(struct coll_service *service, struct body *body);
/** It answers nothing any more; the message is err's. */
void coll_stop(struct coll *coll, const struct err *err);

/* --- write.c --- */

/** The leader's alone: another process is the writer. */
void write_fenced(struct coll *coll);

/* --- recover.c --- */

/** Snapshot and log; `anew`: without the graph that is stored. E_NOT_FOUND: it was dropped.
 * E_CORRUPT and E_UNSUPPORTED stop the index. */
enum status recover_open(struct coll *coll, bool anew, struct body **out, struct err *err) MUST_USE;
/** Apply what is in the log behind it; *body may become another one. E_NOT_FOUND: the log was
 * trimmed meanwhile; E_CORRUPT: or it has a gap. */
enum status recover_tail(struct coll *coll, struct body **body, struct err *err) MUST_USE;
/** Apply an object to *body, which may become another one. */
enum status recover_apply(struct body **body, struct str bytes, const struct record_head *head,
                          struct err *err) MUST_USE;

/** How many items a closed index has, by its pointer and the last log object; `all`: and whether
 * each log object is there and sound (E_CORRUPT). */
enum status recover_look(struct coll *coll, bool all, uint64_t *length_out,
                         struct err *err) MUST_USE;

/* --- snapshot.c --- */

/** Make one, swap the pointer to it, trim the log. One at a time of an index: waits for its
 * turn. */
enum status snapshot_make(struct coll *coll, struct err *err) MUST_USE;
/** About how many bytes one would write now. */
uint64_t snapshot_cost(struct body *body);

/* --- care.c --- */

enum status care_start(struct coll_service *service, struct err *err) MUST_USE;
void care_stop(struct coll_service *service);
enum care_work {
    CARE_LINK, /* something was added */
    CARE_KEEP, /* a snapshot is due, or objects want to be swept */
};
void care_wake(struct coll_service *service, enum care_work work);

#endif
