/*
 * What the files of the Avro module share.
 */
#ifndef ICEBERG_AVRO_PRIV_H
#define ICEBERG_AVRO_PRIV_H

#include "iceberg/avro.h"

enum { READ_NULL, READ_DEFLATE, READ_ZSTANDARD };

/* One block decompressed, and all blocks of one file together: far beyond real manifests (target 8
 * MiB), and a stop for bombs. */
#define AVRO_BLOCK_BYTES_MAX ((size_t)256 << 20)
#define AVRO_FILE_BYTES_MAX ((size_t)1 << 30)

/** Compress with raw deflate (no zlib header), as the Avro codec `deflate` wants it. */
enum status avro_deflate(struct str plain, struct buf *out, struct err *err) MUST_USE;
enum status avro_inflate(struct str packed, struct buf *out, struct err *err) MUST_USE;
enum status avro_unzstd(struct str packed, struct buf *out, struct err *err) MUST_USE;

/** The tree of a schema, in `arena`; it points into `json`. Recursive types are allowed, values of
 * them are depth-limited. */
enum status avro_schema_parse(struct arena *arena, yyjson_val *json, const struct avro_type **out,
                              struct err *err) MUST_USE;

#endif
