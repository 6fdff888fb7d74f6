/*
 * What an index keeps of where it was loaded from.
 */
#ifndef VECTOR_LOAD_H
#define VECTOR_LOAD_H

#include "vector/format.h"

struct mapped {
    void *bytes; /* NULL: not held */
    size_t len;
};

struct load {
    struct vec_chunk_source source;
    struct manifest manifest; /* as it was loaded; its checksums are the trails' */
    struct mapped *mapped;    /* [pieces] */
    pthread_mutex_t lock;     /* of what follows */
    uint64_t *dead;           /* a bit a slot that was free; NULL when all is checked */
    uint32_t chunk, unit;     /* where the background pass is */
    size_t kind;
};

/** What stands there in the index is needed no more. */
void load_give_back(struct load *load, struct piece piece);
/** Gives everything back to the source; NULL is fine. */
void load_free(struct load *load);

#endif
