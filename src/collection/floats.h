/*
 * The vectors as they were put, bit for bit, out of memory: in one unnamed file that all indexes of
 * a service share.
 *
 * An index takes extents of the file and lays the vectors of its slots into them; an extent that is
 * given back leaves a hole and is used again. Files are sparse: a small index costs what it writes.
 *
 * Threads  reads and writes of different slots beside each other; one that grows an index at a time
 */
#ifndef COLLECTION_FLOATS_H
#define COLLECTION_FLOATS_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/status.h"
#include "base/str.h"

struct spool;

/** `dir` NULL: the system's temporary folder. It is made if missing. */
enum status spool_open(const char *dir, struct spool **out, struct err *err) MUST_USE;
void spool_close(struct spool *spool);
/** All of the file goes soon: what is given back from now on is not taken out of it one by one. */
void spool_end(struct spool *spool);

struct floats {
    struct spool *spool;
    uint32_t dimension;
    uint32_t per_extent; /* vectors */
    pthread_mutex_t lock;
    uint32_t *extents; /* guarded by lock */
    uint32_t count, room;
};

void floats_init(struct floats *floats, struct spool *spool, uint32_t dimension);
void floats_done(struct floats *floats);
enum status floats_write(struct floats *floats, uint32_t slot, const float *vector,
                         struct err *err) MUST_USE;
/** The slot was written. */
enum status floats_read(struct floats *floats, uint32_t slot, float *vector_out,
                        struct err *err) MUST_USE;

#endif
