/*
 * gzip and zstd in pieces of every size: whole, one behind the other, cut short, damaged, and
 * bombs.
 */
#include "testing.h"

#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>

#include "base/buf.h"
#include "base/inflate.h"
#include "base/mem.h"

enum { KINDS = 2, ZEROS = 80 * 1024 * 1024 };
static const enum inflate_kind kinds[KINDS] = { INFLATE_GZIP, INFLATE_ZSTD };

static struct buf packed, plain;
static struct err err;

static int setup(void **state)
{
    (void)state;
    buf_init(&packed, 0);
    buf_init(&plain, 0);
    err = (struct err){ 0 };
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    buf_done(&packed);
    buf_done(&plain);
    return 0;
}

/** A member or frame of its own behind what is there. */
static void pack(enum inflate_kind kind, struct str text)
{
    if (kind == INFLATE_ZSTD) {
        size_t room = ZSTD_compressBound(text.len);
        char *to = buf_reserve(&packed, room);
        size_t len = ZSTD_compress(to, room, text.ptr, text.len, 3);
        assert_false(ZSTD_isError(len));
        packed.len += len;
        return;
    }
    z_stream z = { 0 };
    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    size_t room = deflateBound(&z, text.len);
    z.next_in = (Bytef *)text.ptr;
    z.avail_in = (uInt)text.len;
    z.next_out = (Bytef *)buf_reserve(&packed, room);
    z.avail_out = (uInt)room;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    packed.len += z.total_out;
    deflateEnd(&z);
}

static enum status keep(void *ctx, struct str bytes, struct err *why)
{
    (void)ctx, (void)why;
    return buf_append(&plain, bytes);
}

static enum status count(void *ctx, struct str bytes, struct err *why)
{
    uint64_t *total = ctx;
    (void)why;
    *total += bytes.len;
    return OK;
}

static enum status unpack(const struct inflate_opts *opts, struct str bytes, size_t piece)
{
    struct inflate *inflate = NULL;
    buf_clear(&plain);
    enum status status = inflate_new(opts, &inflate, &err);
    for (size_t at = 0; status == OK && at < bytes.len; at += piece) {
        status = inflate_feed(inflate, str_take(str_skip(bytes, at), piece), keep, NULL, &err);
    }
    if (status == OK) {
        status = inflate_end(inflate, &err);
    }
    inflate_free(inflate);
    return status;
}

static struct str numbers(struct buf *out)
{
    for (int i = 0; i < 60000; i++) {
        assert_int_equal(buf_printf(out, "%d,%d\n", i, i * 7), OK);
    }
    return buf_str(out);
}

static void comes_back_in_pieces_of_any_size(void **state)
{
    (void)state;
    AUTO(buf_done) struct buf text;
    buf_init(&text, 0);
    struct str wanted = numbers(&text);
    for (size_t k = 0; k < KINDS; k++) {
        buf_clear(&packed);
        pack(kinds[k], wanted);
        assert_int_equal(inflate_sniff(buf_str(&packed)), kinds[k]);
        struct inflate_opts opts = { .kind = kinds[k] };
        for (size_t piece = 1; piece < packed.len * 2; piece = piece * 3 + 1) {
            assert_int_equal(unpack(&opts, buf_str(&packed), piece), OK);
            assert_true(str_eq(buf_str(&plain), wanted));
        }
    }
    assert_int_equal(inflate_sniff(STR("a,b\n")), INFLATE_NONE);
    assert_int_equal(inflate_sniff(STR("\x1f\x8b")), INFLATE_NONE);
}

static void members_behind_each_other_are_one_stream(void **state)
{
    (void)state;
    for (size_t k = 0; k < KINDS; k++) {
        buf_clear(&packed);
        pack(kinds[k], STR("one,"));
        pack(kinds[k], STR(""));
        pack(kinds[k], STR("two"));
        for (size_t piece = 1; piece < 40; piece++) {
            struct inflate_opts opts = { .kind = kinds[k] };
            assert_int_equal(unpack(&opts, buf_str(&packed), piece), OK);
            assert_true(str_eq(buf_str(&plain), STR("one,two")));
        }
    }
}

static void zeros_behind_gzip_are_padding_and_nothing_else_is(void **state)
{
    (void)state;
    struct inflate_opts opts = { .kind = INFLATE_GZIP };
    pack(INFLATE_GZIP, STR("text"));
    assert_int_equal(buf_append_bytes(&packed, "\0\0\0\0", 4), OK);
    assert_int_equal(unpack(&opts, buf_str(&packed), 3), OK);
    assert_int_equal(buf_append(&packed, STR("x")), OK);
    assert_int_equal(unpack(&opts, buf_str(&packed), 3), E_INVALID);
}

static void every_cut_is_noticed(void **state)
{
    (void)state;
    for (size_t k = 0; k < KINDS; k++) {
        struct inflate_opts opts = { .kind = kinds[k] };
        buf_clear(&packed);
        pack(kinds[k], STR("some text, some text, and more"));
        for (size_t len = 0; len < packed.len; len++) {
            assert_int_equal(unpack(&opts, str_take(buf_str(&packed), len), 5), E_INVALID);
            assert_non_null(strstr(err.msg, "ends early"));
        }
    }
}

static void damage_is_noticed(void **state)
{
    (void)state;
    struct inflate_opts opts = { .kind = INFLATE_GZIP };
    pack(INFLATE_GZIP, STR("some text, some text, and more"));
    for (size_t at = 10; at < packed.len; at++) { /* behind the head, which has times and flags */
        packed.ptr[at] ^= 0x20;
        assert_int_not_equal(unpack(&opts, buf_str(&packed), 64), OK);
        packed.ptr[at] ^= 0x20;
    }
    opts.kind = INFLATE_ZSTD;
    assert_int_equal(unpack(&opts, STR("this is no zstd"), 64), E_INVALID);
}

static void bombs_end_early(void **state)
{
    (void)state;
    char *zeros = calloc(1, ZEROS);
    for (size_t k = 0; k < KINDS; k++) {
        struct inflate *inflate = NULL;
        struct inflate_opts opts = { .kind = kinds[k], .expansion_max = 200 };
        uint64_t total = 0;
        buf_clear(&packed);
        pack(kinds[k], str_from(zeros, ZEROS));
        assert_int_equal(inflate_new(&opts, &inflate, &err), OK);
        assert_int_equal(inflate_feed(inflate, buf_str(&packed), count, &total, &err), E_TOO_LARGE);
        assert_true(total <= INFLATE_FREE_BYTES);
        inflate_free(inflate);
        opts = (struct inflate_opts){ .kind = kinds[k], .plain_bytes_max = 100000 };
        assert_int_equal(unpack(&opts, buf_str(&packed), 4096), E_TOO_LARGE);
        assert_true(plain.len <= 100000);
    }
    free(zeros);
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    struct inflate_opts opts = { .kind = INFLATE_GZIP };
    pack(INFLATE_GZIP, STR("text"));
    mem_fail_nth(0);
    assert_int_equal(unpack(&opts, buf_str(&packed), 64), E_NO_MEMORY);
    mem_fail_nth(-1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(comes_back_in_pieces_of_any_size, setup, teardown),
        cmocka_unit_test_setup_teardown(members_behind_each_other_are_one_stream, setup, teardown),
        cmocka_unit_test_setup_teardown(zeros_behind_gzip_are_padding_and_nothing_else_is, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(every_cut_is_noticed, setup, teardown),
        cmocka_unit_test_setup_teardown(damage_is_noticed, setup, teardown),
        cmocka_unit_test_setup_teardown(bombs_end_early, setup, teardown),
        cmocka_unit_test_setup_teardown(every_allocation_may_fail, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
