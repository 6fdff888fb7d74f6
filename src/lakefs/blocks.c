/*
 * The block cache of remote files.
 *
 * A block is in one of two states: loading, while the thread that asked first fetches it without
 * the lock, and ready. Others that want a loading block wait for it. A fetch that fails takes its
 * block away; who waited then tries for itself, so that an error is always one's own.
 *
 * Ready blocks that nobody reads are in a list by age. A block in use has `users` > 0 and is in no
 * list.
 */
#include "lakefs/blocks.h"

#include "base/mem.h"

#include <pthread.h>
#include <stdbool.h>
#include <string.h>

enum { BUCKETS = 1024 };

struct block {
    uint32_t file;
    uint64_t index;
    size_t len;     /* bytes in `data`; fewer than BLOCK_BYTES at the end of a file */
    unsigned users; /* threads that read or wait */
    bool ready;
    bool gone; /* its fetch failed: waits only to be freed by the last user */
    struct block *chain;
    struct block *older, *newer;
    char *data;
};

struct blocks {
    size_t count_max;
    blocks_fetch *fetch;
    void *ctx;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct block *buckets[BUCKETS]; /* guarded by lock, as all below */
    struct block *oldest, *newest;
    size_t count;
};

static struct block **bucket_of(struct blocks *blocks, uint32_t file, uint64_t index)
{
    uint64_t hash = (index * UINT64_C(0x9e3779b97f4a7c15)) ^ (file * UINT64_C(0xc2b2ae3d27d4eb4f));
    return &blocks->buckets[(hash >> 40) % BUCKETS];
}

static struct block *find(struct blocks *blocks, uint32_t file, uint64_t index)
{
    struct block *block = *bucket_of(blocks, file, index);
    while (block && (block->file != file || block->index != index)) {
        block = block->chain;
    }
    return block;
}

static void block_free(struct block *block)
{
    mem_free(block->data);
    mem_free(block);
}

/* --- the list of idle blocks, by age --- */

static void list_remove(struct blocks *blocks, struct block *block)
{
    *(block->older ? &block->older->newer : &blocks->oldest) = block->newer;
    *(block->newer ? &block->newer->older : &blocks->newest) = block->older;
    block->older = block->newer = NULL;
}

static void list_add_newest(struct blocks *blocks, struct block *block)
{
    block->older = blocks->newest;
    *(blocks->newest ? &blocks->newest->newer : &blocks->oldest) = block;
    blocks->newest = block;
}

/** Out of the table; the caller frees it or leaves that to its users. */
static void unlink_block(struct blocks *blocks, struct block *block)
{
    struct block **at = bucket_of(blocks, block->file, block->index);
    while (*at != block) {
        at = &(*at)->chain;
    }
    *at = block->chain;
    block->chain = NULL;
    blocks->count--;
}

static void shrink(struct blocks *blocks)
{
    while (blocks->count > blocks->count_max && blocks->oldest) {
        struct block *block = blocks->oldest;
        list_remove(blocks, block);
        unlink_block(blocks, block);
        block_free(block);
    }
}

/* --- getting a block --- */

static struct block *add_loading(struct blocks *blocks, uint32_t file, uint64_t index)
{
    struct block *block = mem_zalloc(sizeof *block);
    char *data = block ? mem_alloc(BLOCK_BYTES) : NULL;
    if (!data) {
        mem_free(block);
        return NULL;
    }
    block->file = file;
    block->index = index;
    block->data = data;
    block->users = 1;
    struct block **bucket = bucket_of(blocks, file, index);
    block->chain = *bucket;
    *bucket = block;
    blocks->count++;
    return block;
}

static void release(struct blocks *blocks, struct block *block)
{
    if (--block->users > 0) {
        return;
    }
    if (block->gone) {
        block_free(block);
        return;
    }
    list_add_newest(blocks, block);
    shrink(blocks);
}

/** Fetch it, without the lock; the lock is held again when this returns. */
static enum status load(struct blocks *blocks, struct block *block, size_t want, struct err *err)
{
    size_t got = 0;
    pthread_mutex_unlock(&blocks->lock);
    enum status status = blocks->fetch(blocks->ctx, block->file, block->index * BLOCK_BYTES,
                                       block->data, want, &got, err);
    if (status == OK && got != want) {
        status = err_set(err, E_CORRUPT,
                         "a data file ends at byte %llu, before the size that it had",
                         (unsigned long long)block->index * BLOCK_BYTES + got);
    }
    pthread_mutex_lock(&blocks->lock);
    if (status == OK) {
        block->len = want;
        block->ready = true;
    } else {
        unlink_block(blocks, block);
        block->gone = true;
        release(blocks, block);
    }
    pthread_cond_broadcast(&blocks->changed);
    return status;
}

/** The ready block, with a user more. The lock is held. */
static enum status acquire(struct blocks *blocks, uint32_t file, uint64_t index, size_t want,
                           struct block **out, struct err *err)
{
    for (;;) {
        struct block *block = find(blocks, file, index);
        if (!block) {
            block = add_loading(blocks, file, index);
            if (!block) {
                return err_no_memory(err);
            }
            TRY(load(blocks, block, want, err));
            *out = block;
            return OK;
        }
        if (block->ready) {
            if (block->users++ == 0) {
                list_remove(blocks, block);
            }
            *out = block;
            return OK;
        }
        block->users++;
        while (!block->ready && !block->gone) {
            pthread_cond_wait(&blocks->changed, &blocks->lock);
        }
        if (block->ready) {
            *out = block;
            return OK;
        }
        release(blocks, block);
    }
}

static enum status direct_read(struct blocks *blocks, uint32_t file, uint64_t offset, void *ptr,
                               size_t len, size_t *got_out, struct err *err)
{
    for (size_t done = 0; done < len;) {
        size_t want = len - done < DIRECT_BYTES_MAX ? len - done : (size_t)DIRECT_BYTES_MAX;
        size_t got = 0;
        TRY(blocks->fetch(blocks->ctx, file, offset + done, (char *)ptr + done, want, &got, err));
        if (got != want) {
            return err_set(err, E_CORRUPT,
                           "a data file ends at byte %llu, before the size that it had",
                           (unsigned long long)offset + done + got);
        }
        done += got;
    }
    *got_out = len;
    return OK;
}

enum status blocks_read(struct blocks *blocks, uint32_t file, uint64_t size, uint64_t offset,
                        void *ptr, size_t len, size_t *got_out, struct err *err)
{
    size_t got = 0;
    if (offset < size && len > size - offset) {
        len = (size_t)(size - offset);
    }
    if (len >= DIRECT_BYTES) {
        return direct_read(blocks, file, offset, ptr, len, got_out, err);
    }
    while (got < len && offset < size) {
        uint64_t index = offset / BLOCK_BYTES;
        uint64_t begin = index * BLOCK_BYTES;
        size_t want = size - begin < BLOCK_BYTES ? (size_t)(size - begin) : BLOCK_BYTES;
        struct block *block = NULL;
        pthread_mutex_lock(&blocks->lock);
        enum status status = acquire(blocks, file, index, want, &block, err);
        pthread_mutex_unlock(&blocks->lock);
        if (status != OK) {
            return status;
        }
        size_t skip = (size_t)(offset - begin);
        size_t piece = block->len - skip < len - got ? block->len - skip : len - got;
        memcpy((char *)ptr + got, block->data + skip, piece);
        pthread_mutex_lock(&blocks->lock);
        release(blocks, block);
        pthread_mutex_unlock(&blocks->lock);
        got += piece;
        offset += piece;
    }
    *got_out = got;
    return OK;
}

/* --- its life --- */

enum status blocks_new(uint64_t bytes_max, blocks_fetch *fetch, void *ctx, struct blocks **out,
                       struct err *err)
{
    struct blocks *blocks = mem_zalloc(sizeof *blocks);
    if (!blocks) {
        return err_no_memory(err);
    }
    blocks->count_max = bytes_max / BLOCK_BYTES ? (size_t)(bytes_max / BLOCK_BYTES) : 1;
    blocks->fetch = fetch;
    blocks->ctx = ctx;
    pthread_mutex_init(&blocks->lock, NULL);
    pthread_cond_init(&blocks->changed, NULL);
    *out = blocks;
    return OK;
}

void blocks_clear(struct blocks *blocks)
{
    pthread_mutex_lock(&blocks->lock);
    while (blocks->oldest) {
        struct block *block = blocks->oldest;
        list_remove(blocks, block);
        unlink_block(blocks, block);
        block_free(block);
    }
    assert(blocks->count == 0);
    pthread_mutex_unlock(&blocks->lock);
}

void blocks_free(struct blocks *blocks)
{
    if (!blocks) {
        return;
    }
    blocks_clear(blocks);
    pthread_cond_destroy(&blocks->changed);
    pthread_mutex_destroy(&blocks->lock);
    mem_free(blocks);
}
