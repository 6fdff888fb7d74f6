/*
 * The memory of the block cache (cache.h): pages of 16 KiB of immutable versions of objects. Behind
 * it there may be a folder (cache_disk.h), which is asked before the source, and gets what was
 * fetched.
 *
 * Missing pages that lie side by side are fetched by one request; a page that two threads want is
 * fetched once; what failed is not remembered. A page starts among the new, and moves to the kept
 * when it is asked for again; new ones leave first while they hold more than a quarter of the room,
 * so that one scan does not drive out footers and what is read all the time.
 */
#ifndef STORE_CACHE_PAGES_H
#define STORE_CACHE_PAGES_H

#include "base/metrics.h"
#include "base/status.h"

#include <stdint.h>

enum { PAGE_BYTES = 16 * 1024, RUN_BYTES_MAX = 8 * 1024 * 1024 };

struct pages;
struct cache_disk;

/** Exactly `len` bytes at `offset`, at most RUN_BYTES_MAX. Called without any lock held, on several
 * threads. */
typedef enum status pages_fetch(void *ctx, uint64_t offset, char *ptr, size_t len, struct err *err);

/** What is read: one version of an object. */
struct pages_source {
    uint64_t version;  /* its number */
    const uint8_t *id; /* [CACHE_DISK_ID_BYTES]: the version in any process; for the folder */
    uint64_t size;
    bool keep;      /* its pages are kept from their first read on */
    uint64_t ahead; /* bytes behind the read that are worth to be fetched with it */
    pages_fetch *fetch;
    void *ctx;
};

/** `disk` (NULL: none) outlives it. */
enum status pages_new(uint64_t bytes_max, struct cache_disk *disk, struct pages **out,
                      struct err *err) MUST_USE;
void cache_pages_free(struct pages *pages);
/** Before other threads use it. */
void pages_measure(struct pages *pages, struct metrics *metrics);
/**
 * [offset, offset + len) of the source, which is inside of it.
 *
 * Errors   those of fetch; E_NO_MEMORY
 * Threads  safe beside other reads; no lock is held across fetch
 */
enum status pages_read(struct pages *pages, const struct pages_source *source, uint64_t offset,
                       char *ptr, size_t len, struct err *err) MUST_USE;
/** Bytes in pages now. */
uint64_t pages_bytes(struct pages *pages);

#endif
