/*
 * The file of exact vectors: extents handed out by a list of free ones, vectors at fixed places in
 * them. Nothing of it is needed after a crash: it is filled again from snapshot and log.
 */
#include "collection/floats.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/io.h"
#include "base/mem.h"

enum { EXTENT_BYTES = 256 * 1024 }; /* of the file; 16 vectors of the greatest dimension */

struct spool {
    int fd;
    pthread_mutex_t lock;
    uint32_t *free; /* guarded by lock, as are the others; room for all extents */
    uint32_t free_count, free_room, extents;
    _Atomic bool ends; /* relaxed: whoever set it is whoever gives back */
};

static enum status unnamed_file(const char *dir, int *fd_out, struct err *err)
{
    int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL)) {
        char path[4096];
        int len = snprintf(path, sizeof path, "%s/lakehouse-vectors-XXXXXX", dir);
        if (len < 0 || (size_t)len >= sizeof path) {
            return err_set(err, E_INVALID, "the folder's name \"%s\" is too long", dir);
        }
        fd = mkostemp(path, O_CLOEXEC);
        if (fd >= 0) {
            (void)unlink(path);
        }
    }
    if (fd < 0) {
        return err_errno(err, errno, "a temporary file in \"%s\"", dir);
    }
    *fd_out = fd;
    return OK;
}

enum status spool_open(const char *dir, struct spool **out, struct err *err)
{
    if (dir == NULL || dir[0] == '\0') {
        const char *tmp = getenv("TMPDIR");
        dir = tmp != NULL && tmp[0] != '\0' ? tmp : "/tmp";
    } else {
        TRY(io_mkdirs(dir, false, err));
    }
    struct spool *spool = mem_zalloc(sizeof *spool);
    if (spool == NULL) {
        return err_no_memory(err);
    }
    enum status status = unnamed_file(dir, &spool->fd, err);
    if (status != OK) {
        mem_free(spool);
        return status;
    }
    pthread_mutex_init(&spool->lock, NULL);
    *out = spool;
    return OK;
}

void spool_end(struct spool *spool)
{
    atomic_store_explicit(&spool->ends, true, memory_order_relaxed);
}

void spool_close(struct spool *spool)
{
    if (spool != NULL) {
        fd_done(&spool->fd);
        pthread_mutex_destroy(&spool->lock);
        mem_free(spool->free);
        mem_free(spool);
    }
}

/** Guarded by lock. Room for every extent in the list of free ones, so that giving cannot fail. */
static enum status free_room(struct spool *spool)
{
    if (spool->extents < spool->free_room) {
        return OK;
    }
    uint32_t room = spool->free_room == 0 ? 64 : spool->free_room * 2;
    uint32_t *grown = mem_realloc(spool->free, room * sizeof *grown);
    if (grown == NULL) {
        return E_NO_MEMORY;
    }
    spool->free = grown;
    spool->free_room = room;
    return OK;
}

static enum status extent_take(struct spool *spool, uint32_t *out)
{
    pthread_mutex_lock(&spool->lock);
    bool again = spool->free_count > 0;
    enum status status = again ? OK : free_room(spool);
    if (status == OK) {
        *out = again ? spool->free[--spool->free_count] : spool->extents++;
    }
    pthread_mutex_unlock(&spool->lock);
    return status;
}

static void extent_give(struct spool *spool, uint32_t extent)
{
    /* Where the file system knows no holes the bytes stay, to be overwritten. */
    if (!atomic_load_explicit(&spool->ends, memory_order_relaxed)) {
        (void)fallocate(spool->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                        (off_t)extent * EXTENT_BYTES, EXTENT_BYTES);
    }
    pthread_mutex_lock(&spool->lock);
    spool->free[spool->free_count++] = extent;
    pthread_mutex_unlock(&spool->lock);
}

void floats_init(struct floats *floats, struct spool *spool, uint32_t dimension)
{
    *floats = (struct floats){ .spool = spool,
                               .dimension = dimension,
                               .per_extent = EXTENT_BYTES / (uint32_t)(dimension * sizeof(float)) };
    pthread_mutex_init(&floats->lock, NULL);
}

void floats_done(struct floats *floats)
{
    for (uint32_t i = 0; i < floats->count; i++) {
        extent_give(floats->spool, floats->extents[i]);
    }
    mem_free(floats->extents);
    pthread_mutex_destroy(&floats->lock);
}

/** Guarded by lock. */
static enum status grow_locked(struct floats *floats, uint32_t count)
{
    while (floats->count < count) {
        if (floats->count == floats->room) {
            uint32_t room = floats->room == 0 ? 4 : floats->room * 2;
            uint32_t *grown = mem_realloc(floats->extents, room * sizeof *grown);
            if (grown == NULL) {
                return E_NO_MEMORY;
            }
            floats->extents = grown;
            floats->room = room;
        }
        TRY(extent_take(floats->spool, &floats->extents[floats->count]));
        floats->count++;
    }
    return OK;
}

static enum status offset_of(struct floats *floats, uint32_t slot, bool grow, uint64_t *out,
                             struct err *err)
{
    uint32_t index = slot / floats->per_extent;
    pthread_mutex_lock(&floats->lock);
    enum status status = grow ? grow_locked(floats, index + 1) : OK;
    bool there = status == OK && index < floats->count;
    uint64_t extent = there ? floats->extents[index] : 0;
    pthread_mutex_unlock(&floats->lock);
    if (!there) {
        return status != OK ? err_no_memory(err)
                            : err_set(err, E_INTERNAL, "slot %u has no exact vector", slot);
    }
    *out = extent * EXTENT_BYTES +
           (uint64_t)(slot % floats->per_extent) * floats->dimension * sizeof(float);
    return OK;
}

enum status floats_write(struct floats *floats, uint32_t slot, const float *vector, struct err *err)
{
    uint64_t offset = 0;
    TRY(offset_of(floats, slot, true, &offset, err));
    return io_pwrite_full(floats->spool->fd, vector, floats->dimension * sizeof *vector, offset,
                          err);
}

enum status floats_read(struct floats *floats, uint32_t slot, float *vector_out, struct err *err)
{
    uint64_t offset = 0;
    size_t got = 0, len = floats->dimension * sizeof *vector_out;
    TRY(offset_of(floats, slot, false, &offset, err));
    TRY(io_pread(floats->spool->fd, vector_out, len, offset, &got, err));
    return got == len ? OK
                      : err_set(err, E_INTERNAL, "the exact vector of slot %u was cut short", slot);
}
