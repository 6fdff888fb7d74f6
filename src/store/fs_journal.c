/*
 * Format of the journal. Each record's checksum starts from that of the record before it, so what a
 * crash left behind the last whole one can never be taken for its successor, whatever is written
 * over it later.
 */
#include "store/fs_journal.h"

#include "store/le.h"

enum {
    AT_LEN = 0,
    AT_CRC = 4,
    AT_KIND = 8,
    AT_BLOCK_LOG2 = 9,
    AT_KEY_LEN = 10,
    AT_NUMBER = 12,
    AT_OFFSET = 16,
    AT_SIZE = 24,
    AT_SPILL = 32,
    AT_TIME = 40,
    AT_MD5 = 48,
    AT_SUM_COUNT = 64,
    AT_ATTRS_LEN = 68,
    AT_VERSION = 70,
};

/** Of a record whose own checksum counts as zero. */
static uint32_t record_crc(uint32_t chain, const char *bytes, size_t len)
{
    static const char zero[4];
    uint32_t crc = crc32c(chain, bytes, AT_CRC);
    crc = crc32c(crc, zero, sizeof zero);
    return crc32c(crc, bytes + AT_CRC + 4, len - AT_CRC - 4);
}

enum status fs_entry_encode(const struct fs_entry *entry, struct fs_journal *journal,
                            struct buf *out)
{
    size_t len = FS_JOURNAL_HEAD_BYTES + entry->key.len + 4 * (size_t)entry->sum_count +
                 entry->attrs.len;
    char *to = buf_reserve(out, len);
    if (to == NULL) {
        return E_NO_MEMORY;
    }
    le_put(to + AT_LEN, len, 4);
    to[AT_KIND] = (char)entry->kind;
    to[AT_BLOCK_LOG2] = (char)entry->block_log2;
    le_put(to + AT_KEY_LEN, entry->key.len, 2);
    le_put(to + AT_NUMBER, entry->number, 4);
    le_put(to + AT_OFFSET, entry->offset, 8);
    le_put(to + AT_SIZE, entry->size, 8);
    le_put(to + AT_SPILL, entry->spill, 8);
    le_put(to + AT_TIME, (uint64_t)entry->time_ns, 8);
    memcpy(to + AT_MD5, entry->md5, MD5_BYTES);
    le_put(to + AT_SUM_COUNT, entry->sum_count, 4);
    le_put(to + AT_ATTRS_LEN, entry->attrs.len, 2);
    le_put(to + AT_VERSION, FS_JOURNAL_VERSION, 2);
    char *body = to + FS_JOURNAL_HEAD_BYTES;
    if (entry->key.len > 0) {
        memcpy(body, entry->key.ptr, entry->key.len);
    }
    body += entry->key.len;
    for (uint32_t i = 0; i < entry->sum_count; i++) {
        le_put(body, entry->sums[i], 4);
        body += 4;
    }
    if (entry->attrs.len > 0) {
        memcpy(body, entry->attrs.ptr, entry->attrs.len);
    }
    journal->chain = record_crc(journal->chain, to, len);
    le_put(to + AT_CRC, journal->chain, 4);
    journal->len += len;
    out->len += len;
    return OK;
}

/** How many checksums a piece has that is cut like this. */
static uint64_t cut_count(uint64_t offset, uint64_t size, uint8_t block_log2)
{
    return size == 0 ? 0 : ((offset + size - 1) >> block_log2) - (offset >> block_log2) + 1;
}

static bool entry_valid(const struct fs_entry *entry, bool first)
{
    if ((entry->kind == FS_ENTRY_BEGIN) != first || !attrs_packed_valid(entry->attrs)) {
        return false;
    }
    if (first) {
        return entry->sum_count == 0 && store_key_check(entry->key, NULL) == OK;
    }
    uint64_t end = 0;
    bool part = entry->kind == FS_ENTRY_PART;
    return (part || entry->kind == FS_ENTRY_PLACE) && entry->key.len == 0 && entry->number > 0 &&
           entry->number <= STORE_PARTS_MAX && entry->block_log2 >= FS_BLOCK_LOG2_MIN &&
           entry->block_log2 <= 62 && !__builtin_add_overflow(entry->offset, entry->size, &end) &&
           end <= INT64_MAX &&
           entry->sum_count ==
               (part ? cut_count(entry->offset, entry->size, entry->block_log2) : 0);
}

bool fs_entry_decode(struct str bytes, struct fs_journal *journal, struct fs_entry *out)
{
    if (bytes.len < FS_JOURNAL_HEAD_BYTES) {
        return false;
    }
    const char *at = bytes.ptr;
    uint64_t len = le_get(at + AT_LEN, 4), sums = le_get(at + AT_SUM_COUNT, 4);
    size_t key_len = (size_t)le_get(at + AT_KEY_LEN, 2);
    size_t attrs_len = (size_t)le_get(at + AT_ATTRS_LEN, 2);
    if (len > bytes.len || sums > FS_RECORD_SUMS_MAX ||
        len != FS_JOURNAL_HEAD_BYTES + key_len + 4 * sums + attrs_len ||
        le_get(at + AT_VERSION, 2) != FS_JOURNAL_VERSION ||
        le_get(at + AT_CRC, 4) != record_crc(journal->chain, at, (size_t)len)) {
        return false;
    }
    *out = (struct fs_entry){
        .kind = (enum fs_entry_kind)(unsigned char)at[AT_KIND],
        .number = (unsigned)le_get(at + AT_NUMBER, 4),
        .offset = le_get(at + AT_OFFSET, 8),
        .size = le_get(at + AT_SIZE, 8),
        .spill = le_get(at + AT_SPILL, 8),
        .time_ns = (int64_t)le_get(at + AT_TIME, 8),
        .key = str_from(at + FS_JOURNAL_HEAD_BYTES, key_len),
        .attrs = str_from(at + FS_JOURNAL_HEAD_BYTES + key_len + 4 * sums, attrs_len),
        .sum_count = (uint32_t)sums,
        .block_log2 = (uint8_t)at[AT_BLOCK_LOG2],
    };
    memcpy(out->md5, at + AT_MD5, MD5_BYTES);
    if (!entry_valid(out, journal->len == 0)) {
        return false;
    }
    journal->chain = (uint32_t)le_get(at + AT_CRC, 4);
    journal->len += len;
    return true;
}

void fs_entry_cuts(struct str bytes, const struct fs_entry *entry, struct fs_cuts *out)
{
    fs_cuts_init(out, entry->offset);
    out->len = entry->size;
    out->block_log2 = entry->block_log2;
    out->count = entry->sum_count;
    for (uint32_t i = 0; i < entry->sum_count; i++) {
        out->sums[i] = (uint32_t)le_get(
            bytes.ptr + FS_JOURNAL_HEAD_BYTES + entry->key.len + 4 * (size_t)i, 4);
    }
}
