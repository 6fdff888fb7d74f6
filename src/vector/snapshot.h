/*
 * A state that is kept while the index changes; see trail.h.
 */
#ifndef VECTOR_SNAPSHOT_H
#define VECTOR_SNAPSHOT_H

#include "vector/format.h"

/* What units were like, by kind; NULL: as they are. */
struct images {
    uint8_t *of[TRAIL_KINDS][UNITS];
};

struct vec_snapshot {
    struct vec_index *index;
    struct manifest manifest; /* its checksums are the trails' */
    struct trail **trails;    /* [chunks], as the next four; what they lead to stays */
    uint8_t **rows, **codes;
    uint32_t **links;
    struct node **nodes;
    uint32_t **upper;
    const struct codec *codec;
    uint32_t *freed;
    uint32_t *unit_upper;  /* upper rows before each unit's, by unit; one more at the end */
    struct images *images; /* [chunks]; guarded by trail_lock */
    size_t image_bytes;    /* guarded by trail_lock, as failed: a copy could not be made */
    bool failed;
    uint8_t *buffer; /* the chunk that was asked for last */
    size_t buffer_bytes;
};

/** Copy a unit before it is changed. Holds trail_lock. */
void snapshot_keep(struct vec_snapshot *snapshot, enum trail_kind kind, uint32_t slot);

#endif
