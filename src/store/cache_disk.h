/*
 * The part of the block cache that lies on disk and outlives the process: pages (cache_pages.h) of
 * immutable versions of objects, in a folder of bounded size.
 *
 *      <dir>/<n>/index     48 bytes a slot: whose page it holds, its length and checksums
 *      <dir>/<n>/pages     16 KiB a slot
 *
 * docs/formats/block-cache.md has the bytes. Each process has a folder <n> of its own, the first
 * that no living one has locked, so that after a restart it finds its pages again and two never
 * write to the same files. Folders whose process has gone are emptied by the next one that starts.
 * The folder is the process' user's, and nobody else may write into it; no link is followed.
 * Nothing is synced: a page is believed by its checksum only, which covers whose it is, and one
 * that does not fit is no page. Slots are reused in the order of writing; one that was read since
 * the hand came by last is left alone once.
 *
 * A write that fails (a full disk) leaves the pages out, and for ten seconds none is tried.
 */
#ifndef STORE_CACHE_DISK_H
#define STORE_CACHE_DISK_H

#include "base/metrics.h"
#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>

enum { CACHE_DISK_ID_BYTES = 16 };

struct cache_disk;

/**
 * `bytes_max` of pages; about 0.4 % of that are needed in memory.
 *
 * Errors   those of making the folder and its files; E_INVALID: others may write into it, or it is
 *          a link; E_UNAVAILABLE: too many processes share it
 */
enum status cache_disk_open(const char *dir, uint64_t bytes_max, struct cache_disk **out,
                            struct err *err) MUST_USE;
/** NULL is fine. */
void cache_disk_close(struct cache_disk *disk);
/** Before other threads use it. */
void cache_disk_measure(struct cache_disk *disk, struct metrics *metrics);

/** Is this page there, as far as one can tell without reading it? Never waits for the disk. */
bool cache_disk_has(struct cache_disk *disk, const uint8_t id[CACHE_DISK_ID_BYTES], uint64_t index);
/** Its `len` bytes; false: it is not there, or not what was written. Thread safe. */
bool cache_disk_read(struct cache_disk *disk, const uint8_t id[CACHE_DISK_ID_BYTES], uint64_t index,
                     char *ptr, size_t len) MUST_USE;
/** Keep pages from `index` on: `len` bytes, of which all pages but the last are full. Thread
 * safe. */
void cache_disk_write(struct cache_disk *disk, const uint8_t id[CACHE_DISK_ID_BYTES],
                      uint64_t index, const char *ptr, size_t len);

#endif
