/*
 * One table says what each checksum is; CRCs are numbers (crc.h) that are put down with their
 * highest byte first, SHA-1 and SHA-256 are base's digests.
 */
#include "aws/checksum.h"

#include "aws/crc.h"
#include "base/encode.h"

/* In small letters and in capitals: all spellings begin with one of these. */
#define NAMES(small, big)                                                                          \
    .header = AWS_SUM_HEADER small, .element = ELEMENT big, .name = small, .upper = big
#define ELEMENT "Checksum"

static const struct {
    const char *header, *element, *name, *upper;
    size_t bytes;
    bool is_crc;
    enum aws_crc crc;
    enum digest_kind digest;
} sums[] = {
    [AWS_SUM_NONE] = { NAMES("none", "NONE") },
    [AWS_SUM_CRC32] = { NAMES("crc32", "CRC32"), .bytes = 4, .is_crc = true, .crc = AWS_CRC32 },
    [AWS_SUM_CRC32C] = { NAMES("crc32c", "CRC32C"), .bytes = 4, .is_crc = true, .crc = AWS_CRC32C },
    [AWS_SUM_CRC64NVME] = { NAMES("crc64nvme", "CRC64NVME"), .bytes = 8, .is_crc = true,
                            .crc = AWS_CRC64NVME },
    [AWS_SUM_SHA1] = { NAMES("sha1", "SHA1"), .bytes = SHA1_BYTES, .digest = DIGEST_SHA1 },
    [AWS_SUM_SHA256] = { NAMES("sha256", "SHA256"), .bytes = SHA256_BYTES,
                         .digest = DIGEST_SHA256 },
};

const char *aws_sum_header(enum aws_sum sum)
{
    return sums[sum].header;
}

const char *aws_sum_element(enum aws_sum sum)
{
    return sums[sum].element;
}

const char *aws_sum_upper(enum aws_sum sum)
{
    return sums[sum].upper;
}

enum aws_sum aws_sum_parse(struct str name)
{
    for (size_t i = AWS_SUM_CRC32; i < ARRAY_LEN(sums); i++) {
        if (str_eq_nocase(name, str_of(sums[i].name))) {
            return (enum aws_sum)i;
        }
    }
    return AWS_SUM_NONE;
}

enum aws_sum aws_sum_of_header(struct str header)
{
    size_t len = sizeof AWS_SUM_HEADER - 1;
    return str_eq_nocase(str_take(header, len), STR(AWS_SUM_HEADER))
               ? aws_sum_parse(str_skip(header, len))
               : AWS_SUM_NONE;
}

enum aws_sum aws_sum_of_element(struct str element)
{
    for (size_t i = AWS_SUM_CRC32; i < ARRAY_LEN(sums); i++) {
        if (str_eq(element, str_of(sums[i].element))) {
            return (enum aws_sum)i;
        }
    }
    return AWS_SUM_NONE;
}

size_t aws_sum_bytes(enum aws_sum sum)
{
    return sums[sum].bytes;
}

bool aws_sum_joins(enum aws_sum sum)
{
    return sums[sum].is_crc;
}

enum status aws_summer_init(struct aws_summer *summer, enum aws_sum sum, struct err *err)
{
    *summer = (struct aws_summer){ .sum = sum };
    if (sum == AWS_SUM_NONE || sums[sum].is_crc) {
        return OK;
    }
    summer->digest = digest_new(sums[sum].digest);
    if (summer->digest == NULL) {
        summer->sum = AWS_SUM_NONE;
        return err_no_memory(err);
    }
    return OK;
}

void aws_summer_update(struct aws_summer *summer, struct str bytes)
{
    if (bytes.len == 0) {
        return;
    }
    if (sums[summer->sum].is_crc) {
        summer->crc = aws_crc_update(sums[summer->sum].crc, summer->crc, bytes);
    } else if (summer->digest != NULL) {
        digest_update(summer->digest, bytes.ptr, bytes.len);
    }
}

/** A CRC as bytes, the highest first. */
static void put_crc(uint64_t crc, size_t bytes, uint8_t *out)
{
    for (size_t i = bytes; i-- > 0; crc >>= 8) {
        out[i] = (uint8_t)crc;
    }
}

static uint64_t get_crc(const uint8_t *from, size_t bytes)
{
    uint64_t crc = 0;
    for (size_t i = 0; i < bytes; i++) {
        crc = crc << 8 | from[i];
    }
    return crc;
}

void aws_summer_final(struct aws_summer *summer, uint8_t out[AWS_SUM_BYTES_MAX])
{
    if (sums[summer->sum].is_crc) {
        put_crc(summer->crc, sums[summer->sum].bytes, out);
    } else if (summer->digest != NULL) {
        digest_final(summer->digest, out);
    }
}

void aws_summer_done(struct aws_summer *summer)
{
    digest_free(summer->digest);
    *summer = (struct aws_summer){ .sum = AWS_SUM_NONE };
}

void aws_sum_text(enum aws_sum sum, const uint8_t *bytes, char out[AWS_SUM_TEXT_MAX + 1])
{
    /* A buffer that has its room already never allocates, so that this cannot fail. */
    struct buf text = { .ptr = out, .cap = AWS_SUM_TEXT_MAX, .max = AWS_SUM_TEXT_MAX };
    enum status status = base64_append(&text, bytes, sums[sum].bytes);
    assert(status == OK);
    (void)status;
    out[text.len] = '\0';
}

bool aws_sum_read(enum aws_sum sum, struct str text, uint8_t out[AWS_SUM_BYTES_MAX])
{
    char room[AWS_SUM_TEXT_MAX];
    struct buf bytes = { .ptr = room, .cap = sizeof(room), .max = sizeof(room) };
    if (text.len > AWS_SUM_TEXT_MAX || base64_decode(text, &bytes) != OK ||
        bytes.len != sums[sum].bytes) {
        return false;
    }
    if (bytes.len > 0) {
        memcpy(out, bytes.ptr, bytes.len);
    }
    return sum != AWS_SUM_NONE;
}

void aws_sum_join(enum aws_sum sum, uint8_t *first, const uint8_t *second, uint64_t second_len)
{
    assert(sums[sum].is_crc);
    size_t bytes = sums[sum].bytes;
    uint64_t crc = aws_crc_join(sums[sum].crc, get_crc(first, bytes), get_crc(second, bytes),
                                second_len);
    put_crc(crc, bytes, first);
}

enum status aws_sum_composite(enum aws_sum sum, struct str parts, uint8_t out[AWS_SUM_BYTES_MAX],
                              struct err *err)
{
    struct aws_summer summer;
    TRY(aws_summer_init(&summer, sum, err));
    aws_summer_update(&summer, parts);
    aws_summer_final(&summer, out);
    aws_summer_done(&summer);
    return OK;
}
