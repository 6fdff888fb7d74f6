/* Digests against the examples of their standards; CRC32C by both engines. */
#include "testing.h"

#include "base/digest.h"
#include "base/encode.h"
#include "base/rng.h"

static void assert_hex(const uint8_t *bytes, size_t len, const char *expected)
{
    struct buf out;
    buf_init(&out, 0);
    assert_int_equal(hex_append(&out, bytes, len), OK);
    assert_str(buf_str(&out), expected);
    buf_done(&out);
}

static void sha256_and_md5_give_the_published_examples(void **state)
{
    char hex[SHA256_HEX + 1];
    sha256_hex(STR("abc"), hex); /* FIPS 180-4 */
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    sha256_hex(str_from(NULL, 0), hex);
    assert_string_equal(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    md5_hex(STR("abc"), hex); /* RFC 1321 */
    assert_string_equal(hex, "900150983cd24fb0d6963f7d28e17f72");
}

static void pieces_give_the_same_as_the_whole(void **state)
{
    char text[1000];
    memset(text, 'q', sizeof(text));
    uint8_t whole[SHA256_BYTES];
    uint8_t pieces[SHA256_BYTES];
    sha256(str_from(text, sizeof(text)), whole);
    struct digest *digest = digest_new(DIGEST_SHA256);
    for (size_t at = 0; at < sizeof(text); at += 8) {
        digest_update(digest, text + at, 3);
        digest_update(digest, text + at, 5);
    }
    digest_final(digest, pieces);
    digest_free(digest);
    assert_memory_equal(whole, pieces, SHA256_BYTES);

    struct digest *md5 = digest_new(DIGEST_MD5);
    uint8_t sum[MD5_BYTES];
    digest_update(md5, "abc", 3);
    digest_final(md5, sum);
    digest_free(md5);
    assert_hex(sum, sizeof(sum), "900150983cd24fb0d6963f7d28e17f72");
    digest_free(NULL);
}

static void hmac_gives_the_published_examples(void **state)
{
    /* RFC 4231: cases 1, 2 and 6 (a key longer than a block) */
    uint8_t out[SHA256_BYTES];
    char key[131];
    memset(key, 0x0b, sizeof(key));
    hmac_sha256(str_from(key, 20), STR("Hi There"), out);
    assert_hex(out, sizeof(out),
               "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    hmac_sha256(STR("Jefe"), STR("what do ya want for nothing?"), out);
    assert_hex(out, sizeof(out),
               "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    memset(key, 0xaa, sizeof(key));
    hmac_sha256(str_from(key, 131), STR("Test Using Larger Than Block-Size Key - Hash Key First"),
                out);
    assert_hex(out, sizeof(out),
               "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

static void crc32c_gives_the_published_examples(void **state)
{
    /* RFC 3720, appendix B.4 */
    uint8_t bytes[32];
    assert_int_equal(crc32c(0, "123456789", 9), 0xE3069283);
    assert_int_equal(crc32c_portable(0, "123456789", 9), 0xE3069283);
    memset(bytes, 0, sizeof(bytes));
    assert_int_equal(crc32c(0, bytes, sizeof(bytes)), 0x8A9136AA);
    memset(bytes, 0xFF, sizeof(bytes));
    assert_int_equal(crc32c(0, bytes, sizeof(bytes)), 0x62A8AB43);
    assert_int_equal(crc32c(0, NULL, 0), 0);
}

static void both_crc_engines_agree_on_every_length_and_alignment(void **state)
{
    static uint8_t bytes[16 * 1024 + 8];
    struct rng rng;
    rng_seed(&rng, 11);
    for (size_t i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (uint8_t)rng_next(&rng);
    }
    for (size_t len = 0; len < 16 * 1024; len += len < 100 ? 1 : 61) {
        const uint8_t *start = bytes + len % 8;
        assert_int_equal(crc32c(0, start, len), crc32c_portable(0, start, len));
        size_t cut = len / 3;
        assert_int_equal(crc32c(crc32c(0, start, cut), start + cut, len - cut),
                         crc32c(0, start, len));
    }
}

static void equality_is_of_length_and_content(void **state)
{
    assert_true(digest_equal(STR("abc"), STR("abc")));
    assert_false(digest_equal(STR("abc"), STR("abd")));
    assert_false(digest_equal(STR("abc"), STR("ab")));
    assert_true(digest_equal(STR(""), str_from(NULL, 0)));
}

static void without_memory_there_is_no_digest(void **state)
{
    mem_fail_nth(0);
    assert_null(digest_new(DIGEST_SHA256));
    mem_fail_nth(-1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sha256_and_md5_give_the_published_examples),
        cmocka_unit_test(pieces_give_the_same_as_the_whole),
        cmocka_unit_test(hmac_gives_the_published_examples),
        cmocka_unit_test(crc32c_gives_the_published_examples),
        cmocka_unit_test(both_crc_engines_agree_on_every_length_and_alignment),
        cmocka_unit_test(equality_is_of_length_and_content),
        cmocka_unit_test(without_memory_there_is_no_digest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
