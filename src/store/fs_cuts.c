/*
 * Cutting and joining; fs_cuts.h says what for. When the list is full, neighbours that lie in one
 * block of twice the size are joined. A piece may start within a block, so the first one may be
 * alone, and the last block may become one that has not ended.
 */
#include "store/fs_cuts.h"

void fs_cuts_init(struct fs_cuts *cuts, uint64_t offset)
{
    cuts->offset = offset;
    cuts->len = cuts->crc_len = 0;
    cuts->block_log2 = FS_BLOCK_LOG2_MIN;
    cuts->count = 0;
    cuts->crc = 0;
}

static uint64_t block_bytes(const struct fs_cuts *cuts)
{
    return (uint64_t)1 << cuts->block_log2;
}

/** Where the block that holds `at` ends. */
static uint64_t block_end(const struct fs_cuts *cuts, uint64_t at)
{
    return ((at >> cuts->block_log2) + 1) << cuts->block_log2;
}

/** All in the list have ended: join those that lie in one block of twice the size. */
static void halve(struct fs_cuts *cuts)
{
    uint64_t first = cuts->offset >> cuts->block_log2;
    uint32_t count = 0;
    for (uint32_t i = 0; i < cuts->count; i++) {
        bool second = i > 0 && ((first + i) & 1) != 0;
        if (second) {
            cuts->sums[count - 1] = fs_crc_join(cuts->sums[count - 1], cuts->sums[i],
                                                block_bytes(cuts));
        } else {
            cuts->sums[count++] = cuts->sums[i];
        }
    }
    cuts->count = count;
    cuts->block_log2++;
    uint64_t at = cuts->offset + cuts->len;
    uint64_t start = at & ~(block_bytes(cuts) - 1);
    if (start != at) {
        cuts->crc = cuts->sums[--cuts->count];
        cuts->crc_len = at - (start > cuts->offset ? start : cuts->offset);
    }
}

static void end_block(struct fs_cuts *cuts)
{
    cuts->sums[cuts->count++] = cuts->crc;
    cuts->crc = 0;
    cuts->crc_len = 0;
}

void fs_cuts_update(struct fs_cuts *cuts, struct str bytes)
{
    while (bytes.len > 0) {
        if (cuts->crc_len == 0 && cuts->count == FS_RECORD_SUMS_MAX) {
            halve(cuts);
        }
        uint64_t at = cuts->offset + cuts->len;
        uint64_t room = block_end(cuts, at) - at;
        struct str part = str_take(bytes, room < bytes.len ? (size_t)room : bytes.len);
        cuts->crc = crc32c(cuts->crc, part.ptr, part.len);
        cuts->crc_len += part.len;
        cuts->len += part.len;
        bytes = str_skip(bytes, part.len);
        if (part.len == room) {
            end_block(cuts);
        }
    }
}

void fs_cuts_final(struct fs_cuts *cuts)
{
    if (cuts->crc_len > 0) {
        end_block(cuts);
    }
}

/** Of the block that starts at `at`, within the piece. */
static uint64_t cut_len(const struct fs_cuts *cuts, uint64_t at)
{
    uint64_t end = block_end(cuts, at), last = cuts->offset + cuts->len;
    return (end < last ? end : last) - at;
}

uint32_t fs_cuts_whole(const struct fs_cuts *cuts)
{
    uint32_t crc = 0;
    uint64_t at = cuts->offset;
    for (uint32_t i = 0; i < cuts->count; i++) {
        uint64_t len = cut_len(cuts, at);
        crc = fs_crc_join(crc, cuts->sums[i], len);
        at += len;
    }
    return crc;
}

void fs_cuts_target(struct fs_record *record)
{
    record->block_log2 = FS_BLOCK_LOG2_MIN;
    while ((record->size - (record->size > 0)) >> record->block_log2 >= FS_RECORD_SUMS_MAX) {
        record->block_log2++;
    }
    record->sum_count = 0;
}

bool fs_cuts_join(struct fs_record *record, const struct fs_cuts *cuts)
{
    if (cuts->block_log2 > record->block_log2) {
        return false;
    }
    uint64_t at = cuts->offset;
    for (uint32_t i = 0; i < cuts->count; i++) {
        uint64_t len = cut_len(cuts, at);
        uint32_t block = (uint32_t)(at >> record->block_log2);
        if (block < record->sum_count) {
            record->sums[block] = fs_crc_join(record->sums[block], cuts->sums[i], len);
        } else {
            record->sums[record->sum_count++] = cuts->sums[i];
        }
        at += len;
    }
    return true;
}
