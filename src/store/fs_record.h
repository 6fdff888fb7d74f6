/*
 * The record of one object in the file driver: what was written, so that a read can tell whether it
 * still is that. Stored format: docs/formats/local-store.md.
 */
#ifndef STORE_FS_RECORD_H
#define STORE_FS_RECORD_H

#include "base/digest.h"
#include "store/attrs.h"

enum {
    FS_RECORD_VERSION = 1,       /* of an object without attributes whose ETag is its MD5 */
    FS_RECORD_VERSION_ATTRS = 2, /* of any other */
    FS_RECORD_HEAD_BYTES = 48,
    FS_RECORD_MORE_BYTES = 16, /* behind the head of version 2 */
    /* ext4 holds all xattrs of a file in one block of 4096 bytes, of which 64 are its own: head, a
     * key of 1100 and 640 checksums are at most 3724. */
    FS_RECORD_SUMS_MAX = 640,
    FS_RECORD_BYTES_MAX = FS_RECORD_HEAD_BYTES + FS_RECORD_MORE_BYTES + STORE_KEY_MAX +
        4 * FS_RECORD_SUMS_MAX + ATTRS_PACKED_MAX,
    FS_BLOCK_LOG2_MIN = 20, /* 1 MiB; twice as much each time the checksums would not fit */
};

_Static_assert(FS_RECORD_HEAD_BYTES + FS_RECORD_MORE_BYTES + STORE_KEY_MAX +
                       4 * FS_RECORD_SUMS_MAX <=
                   4096 - 64,
               "a record without attributes must fit into ext4's block");

struct fs_record {
    uint64_t size;
    int64_t modified_ns;
    uint8_t md5[MD5_BYTES];
    uint8_t block_log2;
    uint32_t sum_count;
    uint32_t sums[FS_RECORD_SUMS_MAX]; /* CRC32C of each block, the last one may be short */
    uint32_t part_count; /* 0: the ETag is `md5` in hex; else "<md5>-<part_count>", and no MD5 */
    uint64_t side;       /* number of the side file with the attributes, or 0 */
    size_t key_len, attrs_len;
    char key[STORE_KEY_MAX];
    char attrs[ATTRS_PACKED_MAX]; /* packed; not what is behind attrs_len */
};

size_t fs_record_encode(const struct fs_record *record, uint8_t out[FS_RECORD_BYTES_MAX]);
/** False when the bytes are no record that we understand. */
bool fs_record_decode(const uint8_t *bytes, size_t len, struct fs_record *out) MUST_USE;
void fs_record_key_set(struct fs_record *record, struct str key);
/** `packed` is valid. */
void fs_record_attrs_set(struct fs_record *record, struct str packed);
struct str fs_record_attrs(const struct fs_record *record);
struct str fs_record_key(const struct fs_record *record);
uint64_t fs_record_block_bytes(const struct fs_record *record);

/** Builds the size, MD5 and checksums of a record from bytes in order. */
struct fs_hash {
    struct digest *md5;       /* NULL: the ETag is opaque */
    struct fs_record *record; /* filled as it goes */
    uint32_t crc;             /* of the block that is not full yet */
    uint64_t crc_len;
};
/** `opaque_etag`: instead of the MD5 the record gets a random number and the count of parts 1, so
 * that nobody takes the ETag for an MD5. */
enum status fs_hash_init(struct fs_hash *hash, struct fs_record *record, bool opaque_etag,
                         struct err *err) MUST_USE;
void fs_hash_update(struct fs_hash *hash, struct str bytes);
/** Completes the record; the hash can then only be done. */
void fs_hash_final(struct fs_hash *hash);
void fs_hash_done(struct fs_hash *hash);

/** The CRC32C of two parts one after the other, from those of the parts. */
uint32_t fs_crc_join(uint32_t first, uint32_t second, uint64_t second_len);

#endif
