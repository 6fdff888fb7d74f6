/* An index as stored chunks in memory, and back; for tests that damage them. */
#ifndef TEST_VECTOR_SAVING_H
#define TEST_VECTOR_SAVING_H

#include "vectors.h"

struct saved {
    void *manifest;
    size_t manifest_len;
    uint32_t count;
    struct vec_chunk_info *info;
    uint8_t **bytes; /* NULL where there are none */
    size_t *len;     /* what vec_load is told */
    uint32_t mapped; /* now */
};

/** All of a snapshot; it is not freed. */
void saved_read(struct saved *saved, struct vec_snapshot *snapshot);
/** Takes a snapshot, reads and frees it. */
void saved_take(struct saved *saved, struct vec_index *index);
void saved_done(struct saved *saved);
/** Each chunk in a buffer of its own; what is mapped is counted. */
enum status saved_load(struct saved *saved, const struct vec_opts *opts, struct vec_index **out,
                       struct err *err);
void saved_assert_equal(const struct saved *a, const struct saved *b);

#endif
