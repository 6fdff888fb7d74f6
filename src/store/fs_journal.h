/*
 * The journal of one upload in parts: what was begun, where parts were placed, which are there.
 * Records are only appended. Stored format: docs/formats/local-store.md.
 */
#ifndef STORE_FS_JOURNAL_H
#define STORE_FS_JOURNAL_H

#include "store/fs_cuts.h"
#include "store/upload.h"

enum {
    FS_JOURNAL_VERSION = 1,
    FS_JOURNAL_HEAD_BYTES = 72,
    FS_JOURNAL_RECORD_MAX = FS_JOURNAL_HEAD_BYTES + STORE_KEY_MAX + 4 * FS_RECORD_SUMS_MAX +
        ATTRS_PACKED_MAX,
};

enum fs_entry_kind {
    FS_ENTRY_BEGIN = 1, /* the first one: key, attributes, time */
    FS_ENTRY_PLACE = 2, /* a part will be written to `data` at `offset` */
    FS_ENTRY_PART = 3,  /* a part is there, and durable */
};

struct fs_entry {
    enum fs_entry_kind kind;
    unsigned number;
    uint64_t offset, size;
    uint64_t spill; /* the part is in a file of its own with this number; 0: in `data` */
    int64_t time_ns;
    uint8_t md5[MD5_BYTES];
    struct str key, attrs; /* packed */
    const uint32_t *sums;  /* cut at `offset`; only to encode */
    uint32_t sum_count;
    uint8_t block_log2;
};

/** How far a journal is known; all zero: nothing of it. */
struct fs_journal {
    uint64_t len;   /* up to here it is well formed */
    uint32_t chain; /* the checksum of the last record, which the next one starts from */
};

/** Appends to `out`. `journal` is moved behind it. */
enum status fs_entry_encode(const struct fs_entry *entry, struct fs_journal *journal,
                            struct buf *out) MUST_USE;
/**
 * The record at the start of `bytes`, at `journal`, which is moved behind it. False when there is
 * no whole one: the end, or what a crash left. key and attrs are in `bytes`.
 */
bool fs_entry_decode(struct str bytes, struct fs_journal *journal, struct fs_entry *out) MUST_USE;
/** The checksums of a record that was decoded from `bytes`. */
void fs_entry_cuts(struct str bytes, const struct fs_entry *entry, struct fs_cuts *out);

#endif
