/*
 * Format and making of the record. A record has at most 640 checksums so that it fits into one
 * xattr on every file system; an object of more blocks has bigger ones. A stream does not know its
 * size beforehand: when the list is full, neighbours are joined into the checksum of a block of
 * twice the size, without reading anything again.
 */
#include "store/fs_record.h"

#include "base/mem.h"
#include "base/rng.h"
#include "store/le.h"

static const char MAGIC[4] = { 'l', 'a', 'k', 'e' };

/* Places in the head; docs/formats/local-store.md has the table. */
enum {
    AT_MAGIC = 0,
    AT_VERSION = 4,
    AT_BLOCK_LOG2 = 5,
    AT_KEY_LEN = 6,
    AT_SIZE = 8,
    AT_MODIFIED = 16,
    AT_MD5 = 24,
    AT_SUM_COUNT = 40,
    AT_CRC = 44,
    /* of version 2 */
    AT_PART_COUNT = 48,
    AT_ATTRS_LEN = 52,
    AT_ZERO = 54,
    AT_SIDE = 56,
};

/* --- format --- */

void fs_record_key_set(struct fs_record *record, struct str key)
{
    assert(key.len <= STORE_KEY_MAX);
    memcpy(record->key, key.ptr, key.len);
    record->key_len = key.len;
}

struct str fs_record_key(const struct fs_record *record)
{
    return str_from(record->key, record->key_len);
}

void fs_record_attrs_set(struct fs_record *record, struct str packed)
{
    assert(packed.len <= ATTRS_PACKED_MAX);
    if (packed.len > 0) {
        memcpy(record->attrs, packed.ptr, packed.len);
    }
    record->attrs_len = packed.len;
}

struct str fs_record_attrs(const struct fs_record *record)
{
    return str_from(record->attrs, record->attrs_len);
}

uint64_t fs_record_block_bytes(const struct fs_record *record)
{
    return (uint64_t)1 << record->block_log2;
}

size_t fs_record_encode(const struct fs_record *record, uint8_t out[FS_RECORD_BYTES_MAX])
{
    bool more = record->attrs_len > 0 || record->part_count > 0 || record->side != 0;
    memcpy(out + AT_MAGIC, MAGIC, sizeof MAGIC);
    out[AT_VERSION] = more ? FS_RECORD_VERSION_ATTRS : FS_RECORD_VERSION;
    out[AT_BLOCK_LOG2] = record->block_log2;
    le_put(out + AT_KEY_LEN, record->key_len, 2);
    le_put(out + AT_SIZE, record->size, 8);
    le_put(out + AT_MODIFIED, (uint64_t)record->modified_ns, 8);
    memcpy(out + AT_MD5, record->md5, MD5_BYTES);
    le_put(out + AT_SUM_COUNT, record->sum_count, 4);
    le_put(out + AT_CRC, 0, 4);
    size_t len = FS_RECORD_HEAD_BYTES;
    if (more) {
        le_put(out + AT_PART_COUNT, record->part_count, 4);
        le_put(out + AT_ATTRS_LEN, record->attrs_len, 2);
        le_put(out + AT_ZERO, 0, 2);
        le_put(out + AT_SIDE, record->side, 8);
        len += FS_RECORD_MORE_BYTES;
    }
    memcpy(out + len, record->key, record->key_len);
    len += record->key_len;
    for (uint32_t i = 0; i < record->sum_count; i++) {
        le_put(out + len, record->sums[i], 4);
        len += 4;
    }
    memcpy(out + len, record->attrs, record->attrs_len);
    len += record->attrs_len;
    le_put(out + AT_CRC, crc32c(0, out, len), 4);
    return len;
}

/** The record's own checksum, which counts itself as zero. */
static bool crc_holds(const uint8_t *bytes, size_t len)
{
    static const uint8_t zero[4];
    uint32_t crc = crc32c(0, bytes, AT_CRC);
    crc = crc32c(crc, zero, sizeof zero);
    crc = crc32c(crc, bytes + AT_CRC + 4, len - AT_CRC - 4);
    return crc == le_get(bytes + AT_CRC, 4);
}

/** What only version 2 has; *body_out: where the key starts. */
static bool more_decode(const uint8_t *bytes, size_t len, struct fs_record *out, size_t *body_out)
{
    out->part_count = 0;
    out->attrs_len = 0;
    out->side = 0;
    *body_out = FS_RECORD_HEAD_BYTES;
    if (bytes[AT_VERSION] == FS_RECORD_VERSION) {
        return true;
    }
    if (bytes[AT_VERSION] != FS_RECORD_VERSION_ATTRS ||
        len < FS_RECORD_HEAD_BYTES + FS_RECORD_MORE_BYTES) {
        return false;
    }
    out->part_count = (uint32_t)le_get(bytes + AT_PART_COUNT, 4);
    out->attrs_len = (size_t)le_get(bytes + AT_ATTRS_LEN, 2);
    out->side = le_get(bytes + AT_SIDE, 8);
    *body_out += FS_RECORD_MORE_BYTES;
    return out->attrs_len <= ATTRS_PACKED_MAX;
}

bool fs_record_decode(const uint8_t *bytes, size_t len, struct fs_record *out)
{
    size_t body = 0;
    if (len < FS_RECORD_HEAD_BYTES || len > FS_RECORD_BYTES_MAX ||
        memcmp(bytes, MAGIC, sizeof MAGIC) != 0 || !more_decode(bytes, len, out, &body)) {
        return false;
    }
    out->block_log2 = bytes[AT_BLOCK_LOG2];
    out->key_len = (size_t)le_get(bytes + AT_KEY_LEN, 2);
    out->size = le_get(bytes + AT_SIZE, 8);
    out->modified_ns = (int64_t)le_get(bytes + AT_MODIFIED, 8);
    memcpy(out->md5, bytes + AT_MD5, MD5_BYTES);
    out->sum_count = (uint32_t)le_get(bytes + AT_SUM_COUNT, 4);
    if (out->block_log2 < FS_BLOCK_LOG2_MIN || out->block_log2 > 62 ||
        out->key_len > STORE_KEY_MAX || out->sum_count > FS_RECORD_SUMS_MAX ||
        len != body + out->key_len + 4 * (size_t)out->sum_count + out->attrs_len ||
        !crc_holds(bytes, len)) {
        return false;
    }
    uint64_t block = fs_record_block_bytes(out);
    if (out->size / block + (out->size % block != 0) != out->sum_count) {
        return false;
    }
    memcpy(out->key, bytes + body, out->key_len);
    const uint8_t *sums = bytes + body + out->key_len;
    for (uint32_t i = 0; i < out->sum_count; i++) {
        out->sums[i] = (uint32_t)le_get(sums + 4 * (size_t)i, 4);
    }
    memcpy(out->attrs, sums + 4 * (size_t)out->sum_count, out->attrs_len);
    return attrs_packed_valid(fs_record_attrs(out));
}

/* --- joining checksums --- */

/** a * b modulo the Castagnoli polynomial, bit-reflected: the top bit is x^0. */
static uint32_t poly_mul(uint32_t a, uint32_t b)
{
    uint32_t product = 0;
    for (uint32_t bit = 1u << 31; bit != 0; bit >>= 1) {
        if ((a & bit) != 0) {
            product ^= b;
        }
        b = (b & 1) != 0 ? (b >> 1) ^ 0x82f63b78u : b >> 1;
    }
    return product;
}

uint32_t fs_crc_join(uint32_t first, uint32_t second, uint64_t second_len)
{
    /* x^(8 * len) by squaring: appending a byte multiplies the remainder by x^8. */
    uint32_t power = 1u << 31;
    uint32_t square = 1u << (31 - 8);
    for (uint64_t len = second_len; len != 0; len >>= 1) {
        if ((len & 1) != 0) {
            power = poly_mul(power, square);
        }
        square = poly_mul(square, square);
    }
    return poly_mul(power, first) ^ second;
}

/* --- making one --- */

enum status fs_hash_init(struct fs_hash *hash, struct fs_record *record, bool opaque_etag,
                         struct err *err)
{
    *record = (struct fs_record){ .block_log2 = FS_BLOCK_LOG2_MIN };
    if (opaque_etag) {
        *hash = (struct fs_hash){ .record = record };
        random_bytes(record->md5, sizeof record->md5);
        record->part_count = 1;
        return OK;
    }
    *hash = (struct fs_hash){ .record = record, .md5 = digest_new(DIGEST_MD5) };
    return hash->md5 != NULL ? OK : err_no_memory(err);
}

void fs_hash_done(struct fs_hash *hash)
{
    digest_free(hash->md5);
    *hash = (struct fs_hash){ 0 };
}

/** All blocks in the list are full: halve it. */
static void halve(struct fs_record *record)
{
    uint64_t block = fs_record_block_bytes(record);
    for (uint32_t i = 0; i < record->sum_count / 2; i++) {
        record->sums[i] = fs_crc_join(record->sums[2 * i], record->sums[2 * i + 1], block);
    }
    record->sum_count /= 2;
    record->block_log2++;
}

static void block_end(struct fs_hash *hash)
{
    struct fs_record *record = hash->record;
    record->sums[record->sum_count++] = hash->crc;
    hash->crc = 0;
    hash->crc_len = 0;
}

void fs_hash_update(struct fs_hash *hash, struct str bytes)
{
    struct fs_record *record = hash->record;
    if (hash->md5 != NULL) {
        digest_update(hash->md5, bytes.ptr, bytes.len);
    }
    record->size += bytes.len;
    while (bytes.len > 0) {
        if (hash->crc_len == 0 && record->sum_count == FS_RECORD_SUMS_MAX) {
            halve(record);
        }
        uint64_t room = fs_record_block_bytes(record) - hash->crc_len;
        struct str part = str_take(bytes, room < bytes.len ? (size_t)room : bytes.len);
        hash->crc = crc32c(hash->crc, part.ptr, part.len);
        hash->crc_len += part.len;
        bytes = str_skip(bytes, part.len);
        if (hash->crc_len == fs_record_block_bytes(record)) {
            block_end(hash);
        }
    }
}

void fs_hash_final(struct fs_hash *hash)
{
    if (hash->crc_len > 0) {
        block_end(hash);
    }
    if (hash->md5 != NULL) {
        digest_final(hash->md5, hash->record->md5);
    }
}
