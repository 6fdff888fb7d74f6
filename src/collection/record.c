/*
 * All little endian, records padded to 8 bytes, vectors aligned to 8: they are used where they lie.
 *
 *   head    0 magic[8]  8 uuid[16]  24 epoch  32 sequence  40 tag  48 length  56 bytes of records
 *           64 count u32  68 dimension u32  72 0 u32  76 crc32c of 0..75
 *   record  0 size u32 with padding  4 crc32c of 8..size  8 kind u8  9 flags u8  10 id bytes u16
 *           12 metadata bytes u32  16 number u64  24 vector, id, metadata, zeros
 */
#include "collection/record.h"

#include "base/digest.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "stored numbers are little endian");

enum { FLAG_VECTOR = 1, FLAG_METADATA = 2 };

static const char log_magic[8] = { 'L', 'K', 'V', 'L', 'O', 'G', '1', '\n' };
static const char snap_magic[8] = { 'L', 'K', 'V', 'S', 'N', 'P', '1', '\n' };

static void put_u16(char *at, uint16_t value)
{
    memcpy(at, &value, sizeof value);
}
static void put_u32(char *at, uint32_t value)
{
    memcpy(at, &value, sizeof value);
}
static void put_u64(char *at, uint64_t value)
{
    memcpy(at, &value, sizeof value);
}
static uint16_t get_u16(const char *at)
{
    uint16_t value = 0;
    memcpy(&value, at, sizeof value);
    return value;
}
static uint32_t get_u32(const char *at)
{
    uint32_t value = 0;
    memcpy(&value, at, sizeof value);
    return value;
}
static uint64_t get_u64(const char *at)
{
    uint64_t value = 0;
    memcpy(&value, at, sizeof value);
    return value;
}

/* --- writing --- */

enum status record_begin(struct buf *buf)
{
    buf_clear(buf);
    char *head = buf_reserve(buf, RECORD_HEAD_BYTES);
    if (head == NULL) {
        return E_NO_MEMORY;
    }
    memset(head, 0, RECORD_HEAD_BYTES);
    buf->len = RECORD_HEAD_BYTES;
    return OK;
}

static size_t record_size(size_t vector_bytes, size_t id_len, size_t metadata_len)
{
    return (RECORD_MIN_BYTES + vector_bytes + id_len + metadata_len + 7) / 8 * 8;
}

enum status record_append(struct buf *buf, const struct record *record, uint32_t dimension)
{
    size_t vector_bytes = record->has_vector ? dimension * sizeof(float) : 0;
    size_t metadata_len = record->has_metadata ? record->metadata.len : 0;
    size_t size = record_size(vector_bytes, record->id.len, metadata_len);
    if (buf->len + size > buf->max) {
        return E_TOO_LARGE;
    }
    char *at = buf_reserve(buf, size);
    if (at == NULL) {
        return E_NO_MEMORY;
    }
    memset(at + size - 8, 0, 8);
    put_u32(at, (uint32_t)size);
    at[8] = (char)record->kind;
    at[9] = (char)((record->has_vector ? FLAG_VECTOR : 0) |
                   (record->has_metadata ? FLAG_METADATA : 0));
    put_u16(at + 10, (uint16_t)record->id.len);
    put_u32(at + 12, (uint32_t)metadata_len);
    put_u64(at + 16, record->number);
    char *to = at + RECORD_MIN_BYTES;
    if (vector_bytes > 0) {
        memcpy(to, record->vector, vector_bytes);
        to += vector_bytes;
    }
    if (record->id.len > 0) {
        memcpy(to, record->id.ptr, record->id.len);
        to += record->id.len;
    }
    if (metadata_len > 0) {
        memcpy(to, record->metadata.ptr, metadata_len);
    }
    put_u32(at + 4, crc32c(0, at + 8, size - 8));
    buf->len += size;
    return OK;
}

void record_finish(struct buf *buf, const struct record_head *head)
{
    char *at = buf->ptr;
    memcpy(at, head->object == RECORD_LOG ? log_magic : snap_magic, sizeof log_magic);
    memcpy(at + 8, head->uuid, RECORD_UUID_BYTES);
    put_u64(at + 24, head->epoch);
    put_u64(at + 32, head->sequence);
    put_u64(at + 40, head->tag);
    put_u64(at + 48, head->length);
    put_u64(at + 56, buf->len - RECORD_HEAD_BYTES);
    put_u32(at + 64, head->count);
    put_u32(at + 68, head->dimension);
    put_u32(at + 72, 0);
    put_u32(at + 76, crc32c(0, at, 76));
}

/* --- reading --- */

enum status record_head_read(struct str bytes, struct record_head *head_out, struct err *err)
{
    const char *at = bytes.ptr;
    if (bytes.len < RECORD_HEAD_BYTES) {
        return err_set(err, E_CORRUPT, "it is cut short: %zu bytes", bytes.len);
    }
    bool log = memcmp(at, log_magic, sizeof log_magic) == 0;
    if (!log && memcmp(at, snap_magic, sizeof snap_magic) != 0) {
        return err_set(err, E_CORRUPT, "it begins with bytes that no object of an index has");
    }
    if (get_u32(at + 76) != crc32c(0, at, 76) || get_u32(at + 72) != 0) {
        return err_set(err, E_CORRUPT, "the checksum of its head is wrong");
    }
    struct record_head head = { .object = log ? RECORD_LOG : RECORD_SNAPSHOT,
                                .epoch = get_u64(at + 24),
                                .sequence = get_u64(at + 32),
                                .tag = get_u64(at + 40),
                                .length = get_u64(at + 48),
                                .count = get_u32(at + 64),
                                .dimension = get_u32(at + 68) };
    memcpy(head.uuid, at + 8, RECORD_UUID_BYTES);
    *head_out = head;
    return OK;
}

/** The fields of a record of `size` bytes fit together. */
static bool record_is_sound(const char *at, size_t size, uint32_t dimension)
{
    unsigned kind = (uint8_t)at[8], flags = (uint8_t)at[9];
    size_t id_len = get_u16(at + 10), metadata_len = get_u32(at + 12);
    size_t vector_bytes = (flags & FLAG_VECTOR) != 0 ? dimension * sizeof(float) : 0;
    bool has_metadata = (flags & FLAG_METADATA) != 0;
    if (flags > (FLAG_VECTOR | FLAG_METADATA) || (!has_metadata && metadata_len > 0) ||
        record_size(vector_bytes, id_len, metadata_len) != size) {
        return false;
    }
    switch (kind) {
    case RECORD_PUT:
        return id_len > 0 && vector_bytes > 0;
    case RECORD_DELETE:
        return id_len > 0 && flags == 0;
    case RECORD_META:
        return id_len > 0 && flags == FLAG_METADATA;
    case RECORD_CLEAR:
        return id_len == 0 && flags == 0;
    default:
        return false;
    }
}

enum status record_check(struct str bytes, struct record_head *head_out, struct err *err)
{
    struct record_head head;
    TRY(record_head_read(bytes, &head, err));
    if (get_u64(bytes.ptr + 56) != bytes.len - RECORD_HEAD_BYTES) {
        return err_set(err, E_CORRUPT, "it has %zu bytes, and its head says otherwise", bytes.len);
    }
    size_t at = RECORD_HEAD_BYTES;
    for (uint32_t i = 0; i < head.count; i++) {
        size_t left = bytes.len - at;
        size_t size = left < RECORD_MIN_BYTES ? 0 : get_u32(bytes.ptr + at);
        if (size < RECORD_MIN_BYTES || size % 8 != 0 || size > left) {
            return err_set(err, E_CORRUPT, "record %u is cut short", i);
        }
        if (get_u32(bytes.ptr + at + 4) != crc32c(0, bytes.ptr + at + 8, size - 8)) {
            return err_set(err, E_CORRUPT, "the checksum of record %u is wrong", i);
        }
        if (!record_is_sound(bytes.ptr + at, size, head.dimension)) {
            return err_set(err, E_CORRUPT, "record %u makes no sense", i);
        }
        at += size;
    }
    if (at != bytes.len) {
        return err_set(err, E_CORRUPT, "something stands behind its last record");
    }
    *head_out = head;
    return OK;
}

bool record_next(struct str bytes, uint32_t dimension, size_t *at, struct record *out)
{
    if (*at >= bytes.len) {
        return false;
    }
    const char *from = bytes.ptr + *at;
    unsigned flags = (uint8_t)from[9];
    size_t id_len = get_u16(from + 10), metadata_len = get_u32(from + 12);
    *out = (struct record){ .kind = (enum record_kind)(uint8_t)from[8],
                            .number = get_u64(from + 16),
                            .has_vector = (flags & FLAG_VECTOR) != 0,
                            .has_metadata = (flags & FLAG_METADATA) != 0 };
    size_t vector_bytes = out->has_vector ? dimension * sizeof(float) : 0;
    out->vector = out->has_vector ? (const float *)(const void *)(from + RECORD_MIN_BYTES) : NULL;
    out->id = str_from(from + RECORD_MIN_BYTES + vector_bytes, id_len);
    out->metadata = str_from(out->id.ptr + id_len, metadata_len);
    *at += get_u32(from);
    return true;
}
