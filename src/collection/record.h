/*
 * The bytes of log objects and snapshot chunks: a head and records. See
 * docs/formats/vector-collection.md.
 *
 * Threads  pure functions
 */
#ifndef COLLECTION_RECORD_H
#define COLLECTION_RECORD_H

#include "base/buf.h"
#include "base/status.h"

enum {
    RECORD_HEAD_BYTES = 80,
    RECORD_MIN_BYTES = 24,
    RECORD_UUID_BYTES = 16,
};

enum record_object { RECORD_LOG, RECORD_SNAPSHOT };

struct record_head {
    enum record_object object;
    uint8_t uuid[RECORD_UUID_BYTES]; /* of the index */
    uint64_t epoch;                  /* of the writer */
    uint64_t sequence;               /* of the log object; of the chunk, from 0 */
    uint64_t tag;                    /* no two writes share it; of the snapshot the chunk is of */
    uint64_t length;                 /* items of the index behind it; in a chunk: before it */
    uint32_t count;                  /* records */
    uint32_t dimension;
};

enum record_kind { RECORD_PUT = 1, RECORD_DELETE = 2, RECORD_META = 3, RECORD_CLEAR = 4 };

/** Borrowed from the bytes it was read from. */
struct record {
    enum record_kind kind;
    uint64_t number; /* in snapshots: of the item; else 0 */
    struct str id;
    bool has_vector, has_metadata;
    const float *vector;
    struct str metadata;
};

/** The place of the head; records are appended behind it, and record_finish writes it. */
enum status record_begin(struct buf *buf) MUST_USE;
/** E_NO_MEMORY, E_TOO_LARGE: the buffer is as it was. */
enum status record_append(struct buf *buf, const struct record *record,
                          uint32_t dimension) MUST_USE;
void record_finish(struct buf *buf, const struct record_head *head);

/** The head alone, of an object's first RECORD_HEAD_BYTES. E_CORRUPT says what is wrong. */
enum status record_head_read(struct str bytes, struct record_head *head_out,
                             struct err *err) MUST_USE;
/** Goes through all records and checks every byte, before anything is believed. `bytes.ptr` is
 * aligned to 8. */
enum status record_check(struct str bytes, struct record_head *head_out, struct err *err) MUST_USE;
/** The record at *at (first RECORD_HEAD_BYTES) of bytes that record_check has seen; false at the
 * end. */
bool record_next(struct str bytes, uint32_t dimension, size_t *at, struct record *out);

#endif
