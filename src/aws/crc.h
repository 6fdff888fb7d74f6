/*
 * The CRCs of S3, CRC32C among them, as numbers: running, and of two pieces one after the other.
 *
 * Source   CRC32: ISO-HDLC (Ethernet, zlib); CRC32C: Castagnoli; CRC64NVME: NVM Express NVM command
 *          set. All are reflected, with all ones before and after.
 * Threads  pure functions
 */
#ifndef AWS_CRC_H
#define AWS_CRC_H

#include "base/str.h"

enum aws_crc { AWS_CRC32, AWS_CRC32C, AWS_CRC64NVME };

/** The CRC of what `crc` stands for and these bytes behind it; start with 0. */
uint64_t aws_crc_update(enum aws_crc kind, uint64_t crc, struct str bytes);
/** The same without special instructions: what other machines do, for tests. */
uint64_t aws_crc_portable(enum aws_crc kind, uint64_t crc, struct str bytes);
/**
 * The CRC of two pieces one after the other, from that of each.
 *
 * Cost     some 100 products of 64 steps, whatever the length
 */
uint64_t aws_crc_join(enum aws_crc kind, uint64_t first, uint64_t second, uint64_t second_bytes);

#endif
