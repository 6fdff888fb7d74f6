/*
 * Data files, manifests and manifest lists, over our own Avro codec (avro.h). Pure: bytes in,
 * structs out, and back.
 */
#ifndef ICEBERG_MANIFEST_H
#define ICEBERG_MANIFEST_H

#include "iceberg/schema.h"

struct ice_column_stats {
    int32_t field_id;
    int64_t size_bytes, value_count, null_count, nan_count; /* -1: unknown */
    struct str lower, upper;                                /* binary form; .ptr NULL: none */
};

enum ice_content { ICE_DATA = 0, ICE_POSITION_DELETES = 1, ICE_EQUALITY_DELETES = 2 };
enum ice_entry_status { ICE_EXISTING = 0, ICE_ADDED = 1, ICE_DELETED = 2 };

struct ice_data_file {
    enum ice_content content;
    struct str path;   /* a URI with scheme, as stored */
    struct str format; /* "PARQUET"; upper case as read */
    int64_t record_count, size_bytes;
    struct ice_column_stats *columns; /* as read: sorted by field id */
    size_t column_count;
    int64_t *split_offsets;
    size_t split_count;
    int32_t *equality_ids;
    size_t equality_count;
    int32_t sort_order_id;           /* -1: none */
    struct str referenced_data_file; /* .ptr NULL: none */
    /* of an encrypted file, which we cannot open; .ptr NULL: none */
    struct str key_metadata;
    /* of a deletion vector (version 3), which we cannot write; 0: none */
    int64_t content_offset, content_size_bytes;
    /* the partition record as it stands in the manifest, opaque; empty for unpartitioned */
    struct str partition_avro;
    /* of the manifest's row; -1: none was given */
    int32_t partition_spec_id;
    /* As read: equal for equal values of one spec, whoever has written them; empty for
     * unpartitioned. */
    struct str partition_key;
    /* The entry around it: */
    enum ice_entry_status status;
    int64_t snapshot_id;                           /* -1: inherited */
    int64_t sequence_number, file_sequence_number; /* -1: inherited */
};

/* The columns of a position delete file, as the specification numbers them. */
enum { ICE_FIELD_FILE_PATH = 2147483546, ICE_FIELD_POS = 2147483545 };
/** file_path and pos: what a position delete file holds. */
const struct ice_schema *ice_delete_schema(void);
/** The one data file that a delete by position names; .ptr NULL: there may be several. Borrows. */
struct str ice_delete_target(const struct ice_data_file *file);

/** No file has more rows or bytes, no manifest tells of more: so that sums of what hostile metadata
 * says cannot overflow. Beyond it a manifest or a list is E_CORRUPT. */
#define ICE_COUNT_MAX ((int64_t)1 << 44)

struct ice_manifest_file { /* one row of a manifest list */
    struct str path;
    int64_t length;
    int32_t partition_spec_id;
    int32_t content; /* 0 data, 1 deletes */
    int64_t sequence_number, min_sequence_number, added_snapshot_id;
    int32_t added_files, existing_files, deleted_files; /* -1 unknown (v1) */
    int64_t added_rows, existing_rows, deleted_rows;
    struct ice_partition_summary {
        bool contains_null;
        int contains_nan; /* -1 unknown */
        struct str lower, upper;
    } *partitions;
    size_t partition_count;
    struct str key_metadata;
};

struct ice_manifest_opts {
    const struct ice_schema *schema;
    struct str partition_spec; /* JSON array of fields, "[]" for none */
    int32_t partition_spec_id;
    /* of the files' partition_avro, as ice_manifest_read gave it; empty for none */
    struct str avro_partition_schema;
    int32_t content; /* 0 data, 1 deletes */
    bool deflate;
    uint8_t sync[16]; /* the Avro marker, passed in so that tests repeat */
};
/**
 * Write version 2. Unpartitioned files, or opaque partition records of one spec.
 *
 * Errors   E_INVALID for no files, for existing or deleted entries without ids and sequence
 *          numbers, for content of the other kind, for partition records that are not of
 *          avro_partition_schema; E_UNSUPPORTED for a deletion vector
 */
enum status ice_manifest_write(const struct ice_manifest_opts *opts,
                               const struct ice_data_file *files, size_t count, struct buf *out,
                               struct err *err) MUST_USE;

struct ice_manifest {
    struct ice_data_file *files;
    size_t file_count;
    struct str partition_spec;        /* from the header, may be empty */
    struct str avro_partition_schema; /* for carrying partition records over */
};
/** Every entry, deleted ones too, copied into `arena`. Inherits snapshot id and sequence numbers
 * from `row` (may be NULL) where the entries say null. v1 and v2; null, deflate, zstandard, snappy
 * is E_UNSUPPORTED. */
enum status ice_manifest_read(struct arena *arena, struct str bytes,
                              const struct ice_manifest_file *row, struct ice_manifest *out,
                              struct err *err) MUST_USE;

struct ice_manifest_list_opts {
    int64_t snapshot_id, parent_snapshot_id /* -1 none */, sequence_number;
    bool deflate;
    uint8_t sync[16];
};
/** Row fields of -1 mean: sequence_number, min_sequence_number, added_snapshot_id are those of
 * `opts`. Unknown counts are E_UNSUPPORTED: version 2 needs them. */
enum status ice_manifest_list_write(const struct ice_manifest_list_opts *opts,
                                    const struct ice_manifest_file *rows, size_t count,
                                    struct buf *out, struct err *err) MUST_USE;
enum status ice_manifest_list_read(struct arena *arena, struct str bytes,
                                   struct ice_manifest_file **rows_out, size_t *count_out,
                                   struct err *err) MUST_USE;

#endif
