/*
 * Where the row groups of a Parquet file begin, from its footer: Thrift's compact protocol, of
 * which the few fields that tell it are read and all others passed over.
 *
 * Pure: no I/O, no memory.
 */
#ifndef ENGINE_ROW_GROUPS_H
#define ENGINE_ROW_GROUPS_H

#include "base/str.h"

/** Bytes at the end of a file: the footer's length (u32, little endian) and "PAR1". */
enum { ROW_GROUPS_TAIL_BYTES = 8 };

/**
 * Call `group` for each row group, in the footer's order, with the offset of its first page.
 *
 * Shapes   `footer` without the tail
 * Errors   E_CORRUPT when the footer cannot be read; those of `group`
 * Source   parquet-format, parquet.thrift; Thrift's "thrift-compact-protocol.md"
 */
enum status row_groups_read(struct str footer,
                            enum status (*group)(void *ctx, int64_t offset, struct err *err),
                            void *ctx, struct err *err) MUST_USE;

#endif
