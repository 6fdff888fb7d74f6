/*
 * The memory driver's own header: mem.c has the objects, mem_upload.c the uploads in parts.
 */
#ifndef STORE_MEM_PRIV_H
#define STORE_MEM_PRIV_H

#include <pthread.h>
#include <stdatomic.h>

#include "store/store_priv.h"

struct mem_version {
    _Atomic unsigned refs;
    struct store_info info;
    size_t attrs_len; /* the packed attributes lie behind the bytes */
    char bytes[];
};

struct mem_entry {
    char *key;
    size_t key_len;
    struct mem_version *version;
};

struct mem_upload;

struct mem_store {
    struct store base;
    const struct lake_clock *clock;
    struct store_fault_hook hook;
    pthread_mutex_t lock;
    struct mem_entry *entries;       /* sorted by key; guarded by lock */
    size_t count, cap;               /* guarded by lock */
    struct mem_upload **uploads;     /* sorted by key, then id; guarded by lock */
    size_t upload_count, upload_cap; /* guarded by lock */
};

/** A test's fault at this point, if there is one. */
enum status mem_fault(struct mem_store *mem, const char *op, struct str key,
                      struct err *err) MUST_USE;
/** NULL when there is no memory. The ETag is the MD5 of the bytes. */
struct mem_version *mem_version_new(struct mem_store *mem, struct str bytes, struct str attrs);
struct str mem_version_attrs(const struct mem_version *version);
void mem_version_unref(struct mem_version *version);
/** Under the lock: make this the object `key`, if `cond` holds. Takes `version` when it is OK. */
enum status mem_set_locked(struct mem_store *mem, struct str key, struct mem_version *version,
                           const struct store_cond *cond, struct err *err) MUST_USE;

/* --- mem_upload.c --- */

extern const struct store_upload_ops mem_upload_ops;
void mem_uploads_free(struct mem_store *mem);

#endif
