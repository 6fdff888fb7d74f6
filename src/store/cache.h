/*
 * A block cache before any store, for buckets: what was read of an immutable version of an object
 * is kept in memory, and in a folder if there is one, so that the next query, or the next process,
 * does not fetch it again.
 *
 * A version is a key and its ETag. Opening asks the store which one is there, except below `wh/`,
 * where keys are written once: what was open there is opened again without a request. Bytes that
 * are not kept are fetched under the condition that the object still is that version (E_CONFLICT).
 * All but reads goes to the store as it is.
 */
#ifndef STORE_CACHE_H
#define STORE_CACHE_H

#include "store/store.h"

struct store_cache_opts {
    uint64_t memory_bytes; /* at least 1 MiB */
    const char *dir;       /* cache_disk.h; NULL or "": none */
    uint64_t disk_bytes;   /* of pages in it */
};

/**
 * Owns     takes `inner`, also when it fails
 * Errors   E_NO_MEMORY; those of cache_disk_open; E_UNSUPPORTED where `inner` gives descriptors
 */
enum status store_cache_open(struct store *inner, const struct store_cache_opts *opts,
                             struct store **out, struct err *err) MUST_USE;

#endif
