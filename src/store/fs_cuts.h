/*
 * Checksums of a piece of an object, cut where blocks of the object end, so that those of the whole
 * can be joined from those of its parts without reading anything again.
 */
#ifndef STORE_FS_CUTS_H
#define STORE_FS_CUTS_H

#include "store/fs_record.h"

/**
 * The piece starts at `offset` of the object; `sums` are the CRC32C of what lies in each block of
 * 2^block_log2 bytes of the object, the first and the last may be short. Blocks are 1 MiB, and grow
 * as those of a record do.
 */
struct fs_cuts {
    uint64_t offset, len;
    uint8_t block_log2;
    uint32_t count;
    uint32_t crc; /* of the block that has not ended yet */
    uint64_t crc_len;
    uint32_t sums[FS_RECORD_SUMS_MAX];
};

void fs_cuts_init(struct fs_cuts *cuts, uint64_t offset);
void fs_cuts_update(struct fs_cuts *cuts, struct str bytes);
/** Ends the last block; nothing comes after it. */
void fs_cuts_final(struct fs_cuts *cuts);
/** The checksum of the whole piece. */
uint32_t fs_cuts_whole(const struct fs_cuts *cuts);

/** Set the blocks of an object of record->size bytes, with no checksums yet. */
void fs_cuts_target(struct fs_record *record);
/**
 * Put the piece behind what the record's checksums are of: `cuts->offset` bytes. False when its
 * blocks are bigger than the object's, which no piece of it can have.
 */
bool fs_cuts_join(struct fs_record *record, const struct fs_cuts *cuts) MUST_USE;

#endif
