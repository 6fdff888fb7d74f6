/*
 * The checksums of S3's x-amz-checksum-* headers: running, in their base64 form, and of an object
 * from those of its parts.
 *
 * Source   "Checking object integrity in Amazon S3", Amazon S3 user guide
 * Threads  pure functions; a summer is one thread's at a time
 */
#ifndef AWS_CHECKSUM_H
#define AWS_CHECKSUM_H

#include "base/digest.h"

enum aws_sum {
    AWS_SUM_NONE,
    AWS_SUM_CRC32,
    AWS_SUM_CRC32C,
    AWS_SUM_CRC64NVME,
    AWS_SUM_SHA1,
    AWS_SUM_SHA256,
};

enum { AWS_SUM_BYTES_MAX = SHA256_BYTES, AWS_SUM_TEXT_MAX = 44 /* those in base64 */ };

/** What the headers that carry checksums begin with; also those of their algorithm and type. */
#define AWS_SUM_HEADER "x-amz-checksum-"

/** "x-amz-checksum-crc32"; not of AWS_SUM_NONE. */
const char *aws_sum_header(enum aws_sum sum);
/** "ChecksumCRC32", as in XML. */
const char *aws_sum_element(enum aws_sum sum);
/** Of such a header, in any case; AWS_SUM_NONE when it is none of the five. */
enum aws_sum aws_sum_of_header(struct str header);
/** Of such an element; AWS_SUM_NONE when it is none of the five. */
enum aws_sum aws_sum_of_element(struct str element);
/** "CRC32", as in x-amz-checksum-algorithm and in XML. */
const char *aws_sum_upper(enum aws_sum sum);
/** Of either spelling, in any case; AWS_SUM_NONE when it is none of the five. */
enum aws_sum aws_sum_parse(struct str name);
/** 4, 8, 20 or 32; 0 of AWS_SUM_NONE. */
size_t aws_sum_bytes(enum aws_sum sum);
/** True where a whole object's checksum can be had from those of its parts: of the CRCs. */
bool aws_sum_joins(enum aws_sum sum);

/** A running checksum. */
struct aws_summer {
    enum aws_sum sum;
    uint64_t crc;
    struct digest *digest; /* of SHA1 and SHA256 */
};

/**
 * AWS_SUM_NONE is fine: it takes everything and gives nothing.
 *
 * Errors   E_NO_MEMORY; the summer is then as after done
 */
enum status aws_summer_init(struct aws_summer *summer, enum aws_sum sum, struct err *err) MUST_USE;
void aws_summer_update(struct aws_summer *summer, struct str bytes);
/** Writes aws_sum_bytes() bytes, in network order. Only done may follow. */
void aws_summer_final(struct aws_summer *summer, uint8_t out[AWS_SUM_BYTES_MAX]);
/** In any state, also zeroed. */
void aws_summer_done(struct aws_summer *summer);

/** In base64, NUL-terminated. */
void aws_sum_text(enum aws_sum sum, const uint8_t *bytes, char out[AWS_SUM_TEXT_MAX + 1]);
/** False unless the text is base64 of just the right length; nothing is written then. */
bool aws_sum_read(enum aws_sum sum, struct str text, uint8_t out[AWS_SUM_BYTES_MAX]) MUST_USE;

/**
 * FULL_OBJECT: the checksum of two parts one after the other, in place of the first's. Of those
 * that join.
 */
void aws_sum_join(enum aws_sum sum, uint8_t *first, const uint8_t *second, uint64_t second_len);
/**
 * COMPOSITE: the checksum of the parts' checksums, `parts` being those as bytes, one behind the
 * other. The "-N" that follows its base64 form is the caller's.
 *
 * Errors   E_NO_MEMORY
 */
enum status aws_sum_composite(enum aws_sum sum, struct str parts, uint8_t out[AWS_SUM_BYTES_MAX],
                              struct err *err) MUST_USE;

#endif
