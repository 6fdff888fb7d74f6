/*
 * The memory of a connection, in place of libmicrohttpd's own pool.
 *
 * libmicrohttpd gives each connection one block, which holds the head as it came and as it was
 * parsed, pieces of the body, and the answer's head. Its pool clears what a request gives back and
 * then the whole block before the next request: 60 KiB of writes for a request of 100 bytes, an
 * eighth of all the time that a small one took ("technically not needed, but safer", says its
 * source). This pool has the same functions, under the names by which the library's other files
 * call them, and does not clear. The linker takes the first it finds, so memorypool.o of the
 * archive stays out. See docs/decisions/0018-memory-of-connections.md.
 *
 * What a block held before is never seen by anybody else: it belongs to one connection, from fresh
 * pages of the system until it goes back there.
 *
 * Threads: a pool belongs to its connection, and so to one thread at a time.
 */
#ifndef HTTP_MHD_POOL_H
#define HTTP_MHD_POOL_H

#include <stdbool.h>
#include <stddef.h>

/** The limit for MHD_OPTION_CONNECTION_MEMORY_LIMIT that has room for a head of that size. */
size_t mhd_pool_bytes(size_t header_bytes_max);

/* The names, types and meanings are those of libmicrohttpd 1.0.1, src/microhttpd/memorypool.h. */

struct MemoryPool;

/** Once a process; nothing to do. */
void MHD_init_mem_pools_(void);
/** At least `max` bytes, which are 0; NULL without memory. */
struct MemoryPool *MHD_pool_create(size_t max);
/** NULL is fine. */
void MHD_pool_destroy(struct MemoryPool *pool);
/** A block from the front, or from the end (never resized); NULL when it does not fit. */
void *MHD_pool_allocate(struct MemoryPool *pool, size_t size, bool from_end);
/** As allocate from the end; when it does not fit, how many bytes the front must give back first,
 * SIZE_MAX when that would not help. */
void *MHD_pool_try_alloc(struct MemoryPool *pool, size_t size, size_t *required_bytes);
/** True for the last block of the front: it can grow and shrink where it is. */
bool MHD_pool_is_resizable_inplace(struct MemoryPool *pool, void *block, size_t block_size);
/** A block of the front with another size; it may move when it grows, and the place it had stays
 * taken until the reset. NULL when it does not fit; the old one is then as it was. */
void *MHD_pool_reallocate(struct MemoryPool *pool, void *old, size_t old_size, size_t new_size);
/** Bytes between the front and the end. */
size_t MHD_pool_get_free(struct MemoryPool *pool);
/** Gives back the last block of the front or of the end; another one stays taken until the reset.
 * NULL is fine. */
void MHD_pool_deallocate(struct MemoryPool *pool, void *block, size_t block_size);
/** Gives everything back except one block of `new_size` bytes, at the front, that begins with the
 * `copy_bytes` at `keep` (NULL: none). Its address. */
void *MHD_pool_reset(struct MemoryPool *pool, void *keep, size_t copy_bytes, size_t new_size);

#endif
