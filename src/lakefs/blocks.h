/*
 * Blocks of remote files in memory: 16 KiB each, the least recently used leave first, one that two
 * threads want is fetched once. For small reads, of footers and pages; one of a block's length or
 * more, of a column's chunk, is asked for as it is: whoever gives the bytes keeps them, rounding up
 * would fetch what nobody reads, and block by block it would be many requests.
 */
#ifndef LAKEFS_BLOCKS_H
#define LAKEFS_BLOCKS_H

#include "base/status.h"

#include <stddef.h>
#include <stdint.h>

enum { BLOCK_BYTES = 16 * 1024, DIRECT_BYTES = BLOCK_BYTES, DIRECT_BYTES_MAX = 8 << 20 };

struct blocks;

/** Read up to `len` bytes of a file at `offset`; fewer only at its end. Called without any lock
 * held, on several threads. */
typedef enum status blocks_fetch(void *ctx, uint32_t file, uint64_t offset, void *ptr, size_t len,
                                 size_t *got_out, struct err *err);

/** `bytes_max` bounds what is kept; blocks in use at this moment may pass it, one for each reading
 * thread. */
enum status blocks_new(uint64_t bytes_max, blocks_fetch *fetch, void *ctx, struct blocks **out,
                       struct err *err) MUST_USE;
void blocks_free(struct blocks *blocks);
/** Forget everything; nobody reads meanwhile. */
void blocks_clear(struct blocks *blocks);
/** Threads  safe beside other reads */
enum status blocks_read(struct blocks *blocks, uint32_t file, uint64_t size, uint64_t offset,
                        void *ptr, size_t len, size_t *got_out, struct err *err) MUST_USE;

#endif
