/*
 * Journals of uploads come from disk: whatever the bytes, reading the records is safe, and what is
 * taken encodes to the same bytes. Each input is read a second time with its checksums repaired, so
 * that what is behind them is reached.
 */
#include <stdlib.h>
#include <string.h>

#include "store/fs_journal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/** Record by record as fs_upload.c reads it. */
static void read_all(struct str bytes)
{
    static struct fs_cuts cuts;
    struct fs_journal journal = { 0 };
    struct fs_entry entry;
    struct buf again;
    buf_init(&again, 0);
    for (;;) {
        struct fs_journal before = journal;
        struct str rest = str_skip(bytes, (size_t)journal.len);
        if (!fs_entry_decode(rest, &journal, &entry)) {
            assert(journal.len == before.len && journal.chain == before.chain);
            break;
        }
        fs_entry_cuts(rest, &entry, &cuts);
        (void)fs_cuts_whole(&cuts);
        entry.sums = cuts.sums;
        struct fs_journal after = before;
        buf_clear(&again);
        assert(fs_entry_encode(&entry, &after, &again) == OK);
        assert(after.len == journal.len && after.chain == journal.chain);
        assert(str_eq(buf_str(&again), str_take(rest, again.len)));
    }
    buf_done(&again);
}

/** The same with right checksums, as far as lengths allow. */
static void repair(char *bytes, size_t size)
{
    static const char zero[4];
    uint32_t chain = 0;
    for (size_t at = 0; size - at >= FS_JOURNAL_HEAD_BYTES;) {
        const unsigned char *head = (const unsigned char *)bytes + at;
        size_t len = head[0] | (size_t)head[1] << 8 | (size_t)head[2] << 16 | (size_t)head[3] << 24;
        if (len < FS_JOURNAL_HEAD_BYTES || len > size - at) {
            return;
        }
        chain = crc32c(chain, bytes + at, 4);
        chain = crc32c(chain, zero, 4);
        chain = crc32c(chain, bytes + at + 8, len - 8);
        for (int i = 0; i < 4; i++) {
            bytes[at + 4 + (size_t)i] = (char)(chain >> (8 * i));
        }
        at += len;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    read_all(str_from((const char *)data, size));
    char *copy = malloc(size + 1);
    assert(copy != NULL);
    if (size > 0) {
        memcpy(copy, data, size);
    }
    repair(copy, size);
    read_all(str_from(copy, size));
    free(copy);
    return 0;
}
