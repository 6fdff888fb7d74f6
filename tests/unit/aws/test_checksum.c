/* Checksums: published vectors, what another implementation makes (checksums.txt), and laws. */
#include "aws/checksum.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "aws/crc.h"
#include "base/mem.h"
#include "base/rng.h"

static const enum aws_sum all[] = { AWS_SUM_CRC32, AWS_SUM_CRC32C, AWS_SUM_CRC64NVME, AWS_SUM_SHA1,
                                    AWS_SUM_SHA256 };

/** The checksum of a text as S3 writes it; of pieces of `step` bytes. */
static void sum_of(enum aws_sum sum, struct str text, size_t step, char out[AWS_SUM_TEXT_MAX + 1])
{
    struct aws_summer summer;
    uint8_t bytes[AWS_SUM_BYTES_MAX];
    assert_int_equal(aws_summer_init(&summer, sum, NULL), OK);
    for (size_t at = 0; at < text.len; at += step) {
        aws_summer_update(&summer, str_take(str_skip(text, at), step));
    }
    aws_summer_final(&summer, bytes);
    aws_summer_done(&summer);
    aws_sum_text(sum, bytes, out);
}

static void raw_of(enum aws_sum sum, struct str text, uint8_t out[AWS_SUM_BYTES_MAX])
{
    char written[AWS_SUM_TEXT_MAX + 1];
    sum_of(sum, text, SIZE_MAX / 2, written);
    assert_true(aws_sum_read(sum, str_of(written), out));
}

static void the_published_check_values_come_out(void **state)
{
    (void)state;
    const struct str check = STR("123456789");
    assert_int_equal(aws_crc_update(AWS_CRC32, 0, check), 0xCBF43926);
    assert_int_equal(aws_crc_update(AWS_CRC32C, 0, check), 0xE3069283);
    assert_true(aws_crc_update(AWS_CRC64NVME, 0, check) == 0xAE8B14860A799888);
    static const struct {
        enum aws_sum sum;
        const char *text, *nothing;
    } known[] = {
        { AWS_SUM_CRC32, "y/Q5Jg==", "AAAAAA==" },
        { AWS_SUM_CRC32C, "4waSgw==", "AAAAAA==" },
        { AWS_SUM_CRC64NVME, "rosUhgp5mIg=", "AAAAAAAAAAA=" },
        { AWS_SUM_SHA1, "98O8HYCOBHMq32eZZczDTKeuNEE=", "2jmj7l5rSw0yVb/vlWAYkK/YBwk=" },
        { AWS_SUM_SHA256, "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU=",
          "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=" },
    };
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        char text[AWS_SUM_TEXT_MAX + 1];
        sum_of(known[i].sum, check, 4, text);
        assert_string_equal(text, known[i].text);
        sum_of(known[i].sum, STR_EMPTY, 1, text);
        assert_string_equal(text, known[i].nothing);
    }
}

/** Bytes of which no neighbourhood repeats soon; made alike by make_fixtures.py. */
static char *pattern(size_t len)
{
    char *bytes = malloc(len + 1);
    assert_non_null(bytes);
    uint32_t x = 1;
    for (size_t i = 0; i < len; i++) {
        x = x * 1664525 + 1013904223;
        bytes[i] = (char)(x >> 24);
    }
    return bytes;
}

static void another_implementation_agrees_at_every_length(void **state)
{
    (void)state;
    FILE *file = fopen("tests/unit/aws/checksums.txt", "r");
    assert_non_null(file);
    char line[256];
    size_t lines = 0;
    while (fgets(line, sizeof(line), file) != NULL) {
        char name[16], wanted[64], text[AWS_SUM_TEXT_MAX + 1];
        size_t len;
        if (line[0] == '#') {
            continue;
        }
        assert_int_equal(sscanf(line, "%15s %zu %63s", name, &len, wanted), 3);
        enum aws_sum sum = aws_sum_parse(str_of(name));
        assert_int_not_equal(sum, AWS_SUM_NONE);
        char *bytes = pattern(len);
        sum_of(sum, str_from(bytes, len), len > 0 ? len : 1, text);
        assert_string_equal(text, wanted);
        sum_of(sum, str_from(bytes, len), 61, text);
        assert_string_equal(text, wanted);
        free(bytes);
        lines++;
    }
    fclose(file);
    assert_true(lines >= 500);
}

static void special_instructions_and_tables_agree(void **state)
{
    (void)state;
    char *bytes = pattern(5000);
    for (int kind = AWS_CRC32; kind <= AWS_CRC64NVME; kind++) {
        for (size_t len = 0; len < 700; len++) {
            struct str text = str_from(bytes + len % 17, len);
            assert_true(aws_crc_update(kind, len * 77777, text) ==
                        aws_crc_portable(kind, len * 77777, text));
        }
        assert_true(aws_crc_update(kind, 1, str_from(bytes, 5000)) ==
                    aws_crc_portable(kind, 1, str_from(bytes, 5000)));
    }
    free(bytes);
}

static void parts_join_to_the_whole(void **state)
{
    (void)state;
    struct rng rng;
    rng_seed(&rng, 7);
    char *bytes = pattern(100000);
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        assert_int_equal(aws_sum_joins(all[i]), all[i] <= AWS_SUM_CRC64NVME);
        for (int round = 0; aws_sum_joins(all[i]) && round < 200; round++) {
            size_t len = rng_below(&rng, 100000);
            size_t cut = rng_below(&rng, len + 1);
            uint8_t first[AWS_SUM_BYTES_MAX], second[AWS_SUM_BYTES_MAX], whole[AWS_SUM_BYTES_MAX];
            raw_of(all[i], str_from(bytes, cut), first);
            raw_of(all[i], str_from(bytes + cut, len - cut), second);
            raw_of(all[i], str_from(bytes, len), whole);
            aws_sum_join(all[i], first, second, len - cut);
            assert_memory_equal(first, whole, aws_sum_bytes(all[i]));
        }
    }
    free(bytes);
}

/** 5 TiB of zero bytes, by doubling: lengths that no test can read. */
static void lengths_beyond_32_bits_join_in_any_grouping(void **state)
{
    (void)state;
    for (int kind = AWS_CRC32; kind <= AWS_CRC64NVME; kind++) {
        uint64_t crc = aws_crc_update(kind, 0, str_from("\0\0\0\0\0", 5)), len = 5;
        uint64_t left = 0, left_len = 0;
        for (int i = 0; i < 40; i++) { /* ((5 * 2) * 2) ... against 5 + 5 + 10 + 20 ... */
            left = aws_crc_join(kind, left, crc, len);
            left_len += len;
            crc = aws_crc_join(kind, crc, crc, len);
            len *= 2;
        }
        assert_true(left_len + 5 == len);
        uint64_t five = aws_crc_update(kind, 0, str_from("\0\0\0\0\0", 5));
        assert_true(aws_crc_join(kind, left, five, 5) == crc);
        assert_true(aws_crc_join(kind, five, left, left_len) == crc);
        assert_true(aws_crc_join(kind, crc, 0, 0) == crc);
    }
}

static void a_composite_is_the_checksum_of_checksums(void **state)
{
    (void)state;
    /* SHA-256 of SHA-256("") twice, and CRC32 of eight zero bytes */
    uint8_t parts[2 * AWS_SUM_BYTES_MAX], out[AWS_SUM_BYTES_MAX];
    char text[AWS_SUM_TEXT_MAX + 1];
    raw_of(AWS_SUM_SHA256, STR_EMPTY, parts);
    raw_of(AWS_SUM_SHA256, STR_EMPTY, parts + 32);
    assert_int_equal(aws_sum_composite(AWS_SUM_SHA256, str_from((char *)parts, 64), out, NULL), OK);
    aws_sum_text(AWS_SUM_SHA256, out, text);
    assert_string_equal(text, "LbpdvDOecxauomg/r4OcG3se4jE9t5IRJYgRjfBmqjU=");
    memset(parts, 0, 8);
    assert_int_equal(aws_sum_composite(AWS_SUM_CRC32, str_from((char *)parts, 8), out, NULL), OK);
    aws_sum_text(AWS_SUM_CRC32, out, text);
    assert_string_equal(text, "ZSLfaQ==");
}

static void names_are_known_in_both_spellings(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        const char *header = aws_sum_header(all[i]), *element = aws_sum_element(all[i]);
        assert_int_equal(aws_sum_of_header(str_of(header)), all[i]);
        assert_int_equal(aws_sum_parse(str_of(header + strlen("x-amz-checksum-"))), all[i]);
        assert_int_equal(aws_sum_parse(str_of(element + strlen("Checksum"))), all[i]);
        assert_int_equal(aws_sum_parse(str_of(aws_sum_upper(all[i]))), all[i]);
    }
    assert_int_equal(aws_sum_parse(STR("Crc64nvme")), AWS_SUM_CRC64NVME);
    assert_int_equal(aws_sum_parse(STR("none")), AWS_SUM_NONE);
    assert_int_equal(aws_sum_of_header(STR("X-AMZ-Checksum-Sha1")), AWS_SUM_SHA1);
    static const char *const others[] = { "x-amz-checksum-type", "x-amz-checksum-",
                                          "x-amz-checksumcrc32", "crc32", "" };
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        assert_int_equal(aws_sum_of_header(str_of(others[i])), AWS_SUM_NONE);
    }
    assert_int_equal(aws_sum_parse(STR("md5")), AWS_SUM_NONE);
    assert_int_equal(aws_sum_parse(STR("")), AWS_SUM_NONE);
}

static void only_base64_of_the_right_length_is_read(void **state)
{
    (void)state;
    uint8_t out[AWS_SUM_BYTES_MAX];
    assert_true(aws_sum_read(AWS_SUM_CRC32, STR("y/Q5Jg=="), out));
    assert_memory_equal(out, "\xCB\xF4\x39\x26", 4);
    static const char *const wrong[] = { "",           "y/Q5Jg",   "y/Q5Jg=",  "y/Q5JgA=", "yQ==",
                                         "y/Q5Jg==\n", " /Q5Jg==", "y_Q5Jg==", "y/Q5Jh==" };
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        assert_false(aws_sum_read(AWS_SUM_CRC32, str_of(wrong[i]), out));
    }
    assert_false(aws_sum_read(AWS_SUM_SHA1, STR("y/Q5Jg=="), out));
    char text[1000];
    memset(text, 'A', sizeof(text));
    assert_false(aws_sum_read(AWS_SUM_SHA256, str_from(text, sizeof(text)), out));
    assert_false(aws_sum_read(AWS_SUM_NONE, STR(""), out));
}

static void without_memory_there_is_no_digest(void **state)
{
    (void)state;
    struct aws_summer summer;
    uint8_t out[AWS_SUM_BYTES_MAX];
    struct err err = { 0 };
    mem_fail_nth(0);
    assert_int_equal(aws_summer_init(&summer, AWS_SUM_SHA1, &err), E_NO_MEMORY);
    aws_summer_done(&summer);
    mem_fail_nth(0);
    assert_int_equal(aws_sum_composite(AWS_SUM_SHA256, STR("abc"), out, &err), E_NO_MEMORY);
    mem_fail_nth(0); /* the CRCs and the texts need none */
    assert_int_equal(aws_summer_init(&summer, AWS_SUM_CRC64NVME, &err), OK);
    aws_summer_update(&summer, STR("123456789"));
    aws_summer_final(&summer, out);
    char text[AWS_SUM_TEXT_MAX + 1];
    aws_sum_text(AWS_SUM_CRC64NVME, out, text);
    assert_true(aws_sum_read(AWS_SUM_CRC64NVME, str_of(text), out));
    assert_false(mem_fail_happened());
    mem_fail_nth(-1);
    aws_summer_done(&summer);
}

static void none_takes_all_and_gives_nothing(void **state)
{
    (void)state;
    struct aws_summer summer = { 0 };
    uint8_t out[AWS_SUM_BYTES_MAX] = { 1 };
    aws_summer_done(&summer);
    assert_int_equal(aws_summer_init(&summer, AWS_SUM_NONE, NULL), OK);
    aws_summer_update(&summer, STR("abc"));
    aws_summer_final(&summer, out);
    assert_int_equal(out[0], 1);
    assert_int_equal(aws_sum_bytes(AWS_SUM_NONE), 0);
    aws_summer_done(&summer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_published_check_values_come_out),
        cmocka_unit_test(another_implementation_agrees_at_every_length),
        cmocka_unit_test(special_instructions_and_tables_agree),
        cmocka_unit_test(parts_join_to_the_whole),
        cmocka_unit_test(lengths_beyond_32_bits_join_in_any_grouping),
        cmocka_unit_test(a_composite_is_the_checksum_of_checksums),
        cmocka_unit_test(names_are_known_in_both_spellings),
        cmocka_unit_test(only_base64_of_the_right_length_is_read),
        cmocka_unit_test(without_memory_there_is_no_digest),
        cmocka_unit_test(none_takes_all_and_gives_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
