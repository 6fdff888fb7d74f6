/*
 * What the tests of named indexes share: a service on a store in memory, items made from numbers,
 * and ways to break things.
 */
#ifndef TESTS_COLLECTION_LAKE_H
#define TESTS_COLLECTION_LAKE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>

#include "collection/collection.h"

/** Fails the test with the error's message. */
#define assert_ok(call)                                                                            \
    do {                                                                                           \
        enum status status_ = (call);                                                              \
        if (status_ != OK) {                                                                       \
            fail_msg("%s: %s: %s", #call, status_name(status_), lake_err.msg);                     \
        }                                                                                          \
    } while (0)
#define assert_kind(call, kind)                                                                    \
    do {                                                                                           \
        enum status status_ = (call);                                                              \
        if (status_ != (kind)) {                                                                   \
            fail_msg("%s: %s (%s), expected %s", #call, status_name(status_), lake_err.msg,        \
                     status_name(kind));                                                           \
        }                                                                                          \
    } while (0)
#define assert_str(s, text) assert_true(str_eq((s), str_of(text)))

extern _Thread_local struct err lake_err;
#define ERR (&lake_err)

enum { DIM = 8 };

/** The n-th write from now on (0: the next) fails; `with` E_UPSTREAM and `after`: it happened, and
 * its answer is lost. Counted over all keys that have `key` in them (NULL: any). */
struct lake_fault {
    long countdown; /* negative: none */
    enum status with;
    bool after;
    const char *key;
    bool happened;
    void (*opened)(void *ctx, struct str key); /* guarded by lock, as is its ctx; see lake_opened */
    void *opened_ctx;
    void (*writing)(void *ctx, struct str key); /* likewise, see lake_writing */
    void *writing_ctx;
    pthread_mutex_t lock;
};

struct lake {
    struct store *store;
    struct coll_service *service;
    struct lake_fault fault;
    struct arena arena;
    uint32_t part_rows; /* of services to be opened: snapshot_part_rows */
};

void lake_up(struct lake *lake);
void lake_down(struct lake *lake);
/** Another service on the same store. */
struct coll_service *lake_service(struct lake *lake);
/** As after a crash: what is in memory goes. */
void lake_again(struct lake *lake);
void lake_fail(struct lake *lake, long nth, enum status with, bool after, const char *key);
void lake_mend(struct lake *lake);
/** Called before each object is read, by whoever reads it; NULL: no more. */
void lake_opened(struct lake *lake, void (*opened)(void *ctx, struct str key), void *ctx);
/** Likewise before each object is written. */
void lake_writing(struct lake *lake, void (*writing)(void *ctx, struct str key), void *ctx);

/** An index "t" of DIM dimensions under l2. */
void lake_create(struct lake *lake, const char *name);
/** The vector of a number; different numbers lie apart. */
void lake_vector(unsigned number, float out[DIM]);
/** Put one item "<id>" with the vector of a number and metadata (NULL: none given). */
enum status lake_put(struct coll_service *service, const char *name, const char *id,
                     unsigned number, const char *metadata, struct err *err);
/** The item is there with exactly the vector of this number. */
void lake_has(struct lake *lake, struct coll_service *service, const char *name, const char *id,
              unsigned number);
void lake_lacks(struct lake *lake, struct coll_service *service, const char *name, const char *id);
/** All items as lines "id number-of-vector-bytes metadata", sorted by id: for comparing states. */
struct str lake_dump(struct lake *lake, struct coll_service *service, const char *name);
uint64_t lake_count(struct coll_service *service, const char *name);
size_t lake_objects(struct lake *lake, const char *prefix);
/** The key of the n-th object below a prefix. */
struct str lake_key(struct lake *lake, const char *prefix, size_t nth);
/** `_lake/vectors/by-id/<uuid>/<rest>` of an index. */
const char *lake_prefix(struct lake *lake, const char *name, const char *rest);

#endif
