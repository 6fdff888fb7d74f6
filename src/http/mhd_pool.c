/* One block from the system, taken from both sides:
 *
 *      memory          front                 back            size
 *      |  read buffer, write buffer  |  free  |  parsed headers  |
 */
#include "http/mhd_pool.h"

#include <assert.h>
#include <microhttpd.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include "base/mem.h"

/* Another release may call its pool otherwise: compare memorypool.h, then change this line. */
_Static_assert(MHD_VERSION == 0x01000100, "these are the names inside of libmicrohttpd 1.0.1");

enum { ALIGN = 2 * sizeof(void *), PAGE = 4096 };

struct MemoryPool {
    char *memory;
    size_t size, front, back; /* multiples of ALIGN */
};

/* 0 for a size that is near SIZE_MAX. */
static size_t round_up(size_t size, size_t unit)
{
    return (size + (unit - 1)) / unit * unit;
}

/* What was given back reads as rubbish where tests look for mistakes: nobody may lean on zeros. */
static void forget(char *bytes, size_t len)
{
#ifdef __SANITIZE_ADDRESS__
    memset(bytes, 0xA5, len);
#else
    (void)bytes, (void)len;
#endif
}

size_t mhd_pool_bytes(size_t header_bytes_max)
{
    return 2 * header_bytes_max + 8 * 1024;
}

void MHD_init_mem_pools_(void) {}

struct MemoryPool *MHD_pool_create(size_t max)
{
    size_t size = round_up(max, PAGE);
    if (size == 0) {
        return NULL;
    }
    struct MemoryPool *pool = mem_alloc(sizeof(*pool));
    if (pool == NULL) {
        return NULL;
    }
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        mem_free(pool);
        return NULL;
    }
    *pool = (struct MemoryPool){ .memory = memory, .size = size, .back = size };
    return pool;
}

void MHD_pool_destroy(struct MemoryPool *pool)
{
    if (pool != NULL) {
        (void)munmap(pool->memory, pool->size);
        mem_free(pool);
    }
}

size_t MHD_pool_get_free(struct MemoryPool *pool)
{
    return pool->back - pool->front;
}

/* The bytes that a block takes, when there are as many. */
static bool fits(struct MemoryPool *pool, size_t size, size_t *taken_out)
{
    *taken_out = round_up(size, ALIGN);
    return *taken_out >= size && *taken_out <= MHD_pool_get_free(pool);
}

void *MHD_pool_allocate(struct MemoryPool *pool, size_t size, bool from_end)
{
    size_t taken = 0;
    if (!fits(pool, size, &taken)) {
        return NULL;
    }
    if (from_end) {
        pool->back -= taken;
        return pool->memory + pool->back;
    }
    pool->front += taken;
    return pool->memory + pool->front - taken;
}

void *MHD_pool_try_alloc(struct MemoryPool *pool, size_t size, size_t *required_bytes)
{
    size_t taken = 0;
    if (fits(pool, size, &taken)) {
        *required_bytes = 0;
        return MHD_pool_allocate(pool, size, true);
    }
    bool could = taken >= size && taken <= pool->back;
    *required_bytes = could ? taken - MHD_pool_get_free(pool) : SIZE_MAX;
    return NULL;
}

bool MHD_pool_is_resizable_inplace(struct MemoryPool *pool, void *block, size_t block_size)
{
    return block != NULL &&
           round_up((size_t)((char *)block - pool->memory) + block_size, ALIGN) == pool->front;
}

void *MHD_pool_reallocate(struct MemoryPool *pool, void *old, size_t old_size, size_t new_size)
{
    if (old != NULL && old_size > new_size) {
        forget((char *)old + new_size, old_size - new_size);
    }
    if (MHD_pool_is_resizable_inplace(pool, old, old_size)) {
        size_t begin = (size_t)((char *)old - pool->memory);
        if (new_size > pool->back - begin) {
            return NULL;
        }
        pool->front = round_up(begin + new_size, ALIGN);
        return old;
    }
    if (old != NULL && old_size > new_size) {
        return old;
    }
    void *block = MHD_pool_allocate(pool, new_size, false);
    if (block != NULL && old != NULL && old_size > 0) {
        memcpy(block, old, old_size);
        forget(old, old_size);
    }
    return block;
}

void MHD_pool_deallocate(struct MemoryPool *pool, void *block, size_t block_size)
{
    if (block == NULL || block_size == 0) {
        return;
    }
    size_t begin = (size_t)((char *)block - pool->memory);
    size_t end = round_up(begin + block_size, ALIGN);
    forget(block, block_size);
    if (end == pool->front) {
        /* what was split off from the middle of another one leaves that one's last bytes taken */
        pool->front = round_up(begin, ALIGN);
    } else if (begin == pool->back) {
        pool->back = end;
    }
}

void *MHD_pool_reset(struct MemoryPool *pool, void *keep, size_t copy_bytes, size_t new_size)
{
    assert(copy_bytes <= new_size && new_size <= pool->size);
    if (keep != NULL && copy_bytes > 0) {
        memmove(pool->memory, keep, copy_bytes);
    }
    forget(pool->memory + copy_bytes, pool->size - copy_bytes);
    pool->front = round_up(new_size, ALIGN);
    pool->back = pool->size;
    return pool->memory;
}
