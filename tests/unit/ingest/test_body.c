/*
 * The body of an upload in pieces of every size: character sets, byte order marks, what is refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "ingest/body.h"

static struct buf plain;
static struct err err;

static int setup(void **state)
{
    (void)state;
    buf_init(&plain, 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    buf_done(&plain);
    return 0;
}

static enum status keep(void *ctx, struct str bytes, struct err *why)
{
    (void)ctx, (void)why;
    return buf_append(&plain, bytes);
}

static enum status feed(const struct body_opts *given, struct str bytes, size_t piece)
{
    struct body *body = NULL;
    struct body_opts opts = *given;
    opts.sink = keep;
    buf_clear(&plain);
    enum status status = ingest_body_new(&opts, &body, &err);
    for (size_t at = 0; status == OK && at < bytes.len; at += piece) {
        status = body_feed(body, str_take(str_skip(bytes, at), piece), &err);
    }
    status = status == OK ? body_end(body, &err) : status;
    ingest_body_free(body);
    return status;
}

#define assert_becomes(opts, bytes, text)                                                          \
    for (size_t piece = 1; piece < 12; piece++) {                                                  \
        assert_int_equal(feed((opts), (bytes), piece), OK);                                        \
        assert_true(str_eq(buf_str(&plain), STR(text)));                                           \
    }

static void utf8_passes_without_its_mark(void **state)
{
    (void)state;
    struct body_opts opts = { 0 };
    assert_becomes(&opts, STR("a"), "a");
    assert_becomes(&opts, STR(""), "");
    assert_becomes(&opts, STR("\xef\xbb"), "\xef\xbb");
    assert_becomes(&opts, STR("\xef\xbb\xbf"), "");
    assert_becomes(&opts,
                   STR("\xef\xbb\xbf"
                       "a,b\n1,\xc3\xbc\n"),
                   "a,b\n1,\xc3\xbc\n");
}

static void latin1_has_the_characters_of_windows(void **state)
{
    (void)state;
    struct body_opts opts = { .charset = CHARSET_LATIN1, .charset_given = true };
    assert_becomes(&opts, STR("z\xfcri \x80 5 \x9f\xff"),
                   "z\xc3\xbcri \xe2\x82\xac 5 \xc5\xb8\xc3\xbf");
}

static void utf16_is_told_by_its_mark_or_its_name(void **state)
{
    (void)state;
    struct body_opts opts = { 0 };
    assert_becomes(&opts,
                   STR("\xff\xfe"
                       "a\0\x3c\xd8\xd4\xdf"),
                   "a\xf0\x9f\x8f\x94");
    assert_becomes(&opts,
                   STR("\xfe\xff"
                       "\0a\xd8\x3c\xdf\xd4"),
                   "a\xf0\x9f\x8f\x94");
    opts = (struct body_opts){ .charset = CHARSET_UTF16, .charset_given = true };
    assert_becomes(&opts, STR("a\0"), "a");
    assert_becomes(&opts, STR("\xfe\xff\0a"), "a");
    opts.charset = CHARSET_UTF16BE;
    assert_becomes(&opts, STR("\0a\xff\xfe"), "a\xef\xbf\xbe");
    opts.charset = CHARSET_UTF16LE;
    assert_becomes(&opts,
                   STR("\xff\xfe"
                       "a\0"),
                   "a");
}

static void half_characters_are_refused_with_their_line(void **state)
{
    (void)state;
    static const struct str bad[] = { STR_INIT("\n\0a"), STR_INIT("\n\0\x3c\xd8"),
                                      STR_INIT("\n\0\xd4\xdf"
                                               "a\0"),
                                      STR_INIT("\n\0\x3c\xd8"
                                               "a\0"),
                                      STR_INIT("\n\0\x3c\xd8\x3c\xd8") };
    struct body_opts opts = { .charset = CHARSET_UTF16LE, .charset_given = true };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(feed(&opts, bad[i], 1 + i), E_INVALID);
        assert_string_equal(err.msg, "line 2: not valid UTF-16");
    }
}

static void nul_is_no_text(void **state)
{
    (void)state;
    struct body_opts opts = { 0 };
    assert_int_equal(feed(&opts, STR("a,b\n1,\0\n"), 3), E_INVALID);
    assert_non_null(strstr(err.msg, "byte 6 is NUL"));
    assert_becomes(&opts, STR("PAR1\0\0\xff\xfePAR1"), "PAR1\0\0\xff\xfePAR1");
    opts.binary = true;
    assert_becomes(&opts, STR("\xff\xfe\0\0"), "\xff\xfe\0\0");
}

static void a_name_that_says_packed_must_be_right(void **state)
{
    (void)state;
    struct body_opts opts = { .named = INFLATE_GZIP };
    assert_int_equal(feed(&opts, STR("a,b\n1,2\n"), 5), E_INVALID);
    assert_int_equal(feed(&opts, STR(""), 5), E_INVALID);
}

static void the_size_is_known_when_the_bytes_pass(void **state)
{
    (void)state;
    static const struct {
        struct str head;
        uint64_t bytes;
    } cases[] = {
        { STR_INIT("a,b\n1"), 100 },
        { STR_INIT("a,"), 0 },
        { STR_INIT("\xef\xbb\xbf"
                   "a"),
          97 },
        { STR_INIT("\xff\xfe"
                   "a\0"),
          0 },
        { STR_INIT("\x1f\x8b\x08\0\0\0"), 0 },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct body *body = NULL;
        struct body_opts opts = { .sink = keep };
        assert_int_equal(ingest_body_new(&opts, &body, &err), OK);
        assert_int_equal(body_feed(body, cases[i].head, &err), OK);
        assert_int_equal(body_file_bytes(body, 100), cases[i].bytes);
        assert_int_equal(body_file_bytes(body, 0), 0);
        ingest_body_free(body);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(utf8_passes_without_its_mark, setup, teardown),
        cmocka_unit_test_setup_teardown(latin1_has_the_characters_of_windows, setup, teardown),
        cmocka_unit_test_setup_teardown(utf16_is_told_by_its_mark_or_its_name, setup, teardown),
        cmocka_unit_test_setup_teardown(half_characters_are_refused_with_their_line, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(nul_is_no_text, setup, teardown),
        cmocka_unit_test_setup_teardown(a_name_that_says_packed_must_be_right, setup, teardown),
        cmocka_unit_test_setup_teardown(the_size_is_known_when_the_bytes_pass, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
