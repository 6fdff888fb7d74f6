/*
 * Avro object container files: header with our own keys, blocks, codecs, and schema-driven reading.
 *
 * Only what Iceberg's manifests need, and that without gaps: field-id and element-id are kept,
 * header keys are ours to set and to read, unknown fields are skipped by the schema that the file
 * was written with, and nothing that a file says (lengths, counts, depths, compressed sizes) is
 * believed before it is checked. Source: Apache Avro 1.11 specification, "Binary Encoding" and
 * "Object Container Files".
 */
#ifndef ICEBERG_AVRO_H
#define ICEBERG_AVRO_H

#include "base/json.h"

enum avro_codec { AVRO_CODEC_NULL, AVRO_CODEC_DEFLATE };
enum { AVRO_SYNC_BYTES = 16 };

struct avro_pair {
    struct str key, value;
};

/* ---- writing: the caller appends encoded values to `block` and closes each record ---- */

struct avro_writer {
    struct buf *out;
    size_t start_len; /* out->len at open, restored on failure */
    struct buf block; /* encoded records that are not in `out` yet */
    int64_t block_rows;
    enum avro_codec codec;
    uint8_t sync[AVRO_SYNC_BYTES];
};

/** Write the header: avro.schema, avro.codec and `pairs`. After a failure the writer is closed
 * already. */
enum status avro_writer_open(struct avro_writer *w, struct buf *out, struct str schema_json,
                             const struct avro_pair *pairs, size_t pair_count,
                             enum avro_codec codec, const uint8_t sync[AVRO_SYNC_BYTES],
                             struct err *err) MUST_USE;
/** The record that was appended to w->block is whole. */
enum status avro_writer_record(struct avro_writer *w, struct err *err) MUST_USE;
/** Write what is left. Always frees the writer. */
enum status avro_writer_close(struct avro_writer *w, struct err *err) MUST_USE;
/** Free the writer and put `out` back as it was. */
void avro_writer_cancel(struct avro_writer *w);

/** Zigzag and variable length: int, long, enum index, union branch, lengths. */
enum status avro_put_long(struct buf *out, int64_t value) MUST_USE;
/** bytes and string. */
enum status avro_put_bytes(struct buf *out, struct str value) MUST_USE;

/* ---- reading ---- */

enum avro_kind {
    AVRO_NULL,
    AVRO_BOOLEAN,
    AVRO_INT,
    AVRO_LONG,
    AVRO_FLOAT,
    AVRO_DOUBLE,
    AVRO_BYTES,
    AVRO_STRING,
    AVRO_RECORD,
    AVRO_ENUM,
    AVRO_ARRAY,
    AVRO_MAP,
    AVRO_UNION,
    AVRO_FIXED
};

struct avro_type {
    enum avro_kind kind;
    struct str name;           /* record, enum, fixed */
    struct avro_field *fields; /* record: fields; union: branches; array, map: [0] the item */
    size_t field_count;
    size_t size;      /* fixed */
    yyjson_val *json; /* as it stands in the schema; lives as long as the file is open */
};

struct avro_field {
    struct str name;
    int32_t id; /* field-id; element-id for the item of an array; -1: none */
    const struct avro_type *type;
};

enum { AVRO_DEPTH_MAX = 48 };

/** An open container file over bytes that the caller keeps. */
struct avro_file {
    struct arena *arena; /* for the schema, not for records */
    const struct avro_type *schema;
    struct avro_pair *pairs; /* the header without avro.schema and avro.codec */
    size_t pair_count;
    yyjson_doc *doc;  /* of the schema */
    struct buf plain; /* the current block, decompressed */
    struct str rest;  /* blocks that are not read yet */
    uint8_t sync[AVRO_SYNC_BYTES];
    int codec;
    size_t plain_total; /* decompressed so far */
};

/** Values of one block, read in order. */
struct avro_cursor {
    const char *ptr, *end;
    int64_t rows_left; /* records of the block that are not read yet; the caller counts down */
    /* values that may still be looked at: zero-byte values in great number must end, too */
    uint64_t budget;
};

/** Codecs null, deflate, zstandard; another is E_UNSUPPORTED. avro_close after success only. */
enum status avro_open(struct arena *arena, struct str bytes, struct avro_file *out,
                      struct err *err) MUST_USE;
void avro_close(struct avro_file *file); /* for AUTO(); fine on a zeroed file */
/** The value of a header key; .ptr NULL when it is absent. */
struct str avro_header(const struct avro_file *file, struct str key);
/** The next block; *more_out false at the end. Values borrow from the file until the next call. */
enum status avro_next_block(struct avro_file *file, struct avro_cursor *out, bool *more_out,
                            struct err *err) MUST_USE;

/** Go through a union, if it is one: *type_out is the branch that follows, of kind AVRO_NULL for
 * null. */
enum status avro_get_branch(struct avro_cursor *c, const struct avro_type *type,
                            const struct avro_type **type_out, struct err *err) MUST_USE;
/** A whole number, int or long; null leaves *out as it is. */
enum status avro_get_i64(struct avro_cursor *c, const struct avro_type *type, int64_t *out,
                         struct err *err) MUST_USE;
enum status avro_get_bool(struct avro_cursor *c, const struct avro_type *type, bool *out,
                          struct err *err) MUST_USE;
/** bytes, string or fixed, borrowed; null leaves *out as it is. */
enum status avro_get_bytes(struct avro_cursor *c, const struct avro_type *type, struct str *out,
                           struct err *err) MUST_USE;
/** The number of items in the next block of an array or map; 0 at its end. */
enum status avro_get_count(struct avro_cursor *c, uint64_t *out, struct err *err) MUST_USE;
enum status avro_skip(struct avro_cursor *c, const struct avro_type *type,
                      struct err *err) MUST_USE;

#endif
