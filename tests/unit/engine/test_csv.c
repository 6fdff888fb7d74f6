/*
 * The strict scan of CSV files: which records are good, and the lines of those that are not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/buf.h"
#include "engine/csv_scan.h"

static struct str bytes;
static size_t piece;
static struct buf seen; /* "[record]" of good ones, "line " of bad ones */

static enum status read_piece(void *ctx, uint64_t offset, void *ptr, size_t len, size_t *got_out,
                              struct err *err)
{
    struct str rest = str_take(str_skip(bytes, (size_t)offset), piece);
    (void)ctx, (void)err;
    *got_out = rest.len < len ? rest.len : len;
    if (*got_out > 0) {
        memcpy(ptr, rest.ptr, *got_out);
    }
    return OK;
}

static enum status good(void *ctx, uint64_t line, struct str record, struct err *err)
{
    (void)ctx, (void)line, (void)err;
    return buf_printf(&seen, "[%.*s]", STR_ARG(record));
}

static enum status bad(void *ctx, uint64_t line, struct str reason, struct err *err)
{
    (void)ctx, (void)err;
    return buf_printf(&seen, "%llu:%.*s ", (unsigned long long)line, STR_ARG(str_take(reason, 8)));
}

/** The same whatever the pieces are. */
static void assert_scan(const char *text, size_t fields, const char *wanted)
{
    bytes = str_of(text);
    for (piece = 1; piece < 12; piece++) {
        struct csv_scan_opts opts = { .read = read_piece,
                                      .delimiter = ',',
                                      .field_count = fields,
                                      .record_bytes_max = 20,
                                      .good = good,
                                      .bad = bad };
        buf_init(&seen, 0);
        assert_int_equal(csv_scan(&opts, NULL), OK);
        if (!str_eq(buf_str(&seen), str_of(wanted))) {
            fail_msg("in pieces of %zu: %.*s, not %s", piece, STR_ARG(buf_str(&seen)), wanted);
        }
        buf_done(&seen);
    }
}

static void good_records_come_without_their_ends(void **state)
{
    (void)state;
    assert_scan("", 2, "");
    assert_scan("a,b", 2, "[a,b]");
    assert_scan("a,b\r\n1,2\n3,4\r5,\r\n", 2, "[a,b][1,2][3,4][5,]");
    assert_scan("\"a,\"\"\",b\n\"x\r\ny\",\"\"\n", 2, "[\"a,\"\"\",b][\"x\r\ny\",\"\"]");
    assert_scan("x\"y,2\n\"x\" ,2\n", 2, "[x\"y,2][\"x\" ,2]");
}

static void empty_lines_are_records_of_one_field_only(void **state)
{
    (void)state;
    assert_scan("\n\na,b\n\n\n1,2\n\n", 2, "[a,b][1,2]");
    assert_scan("a\n\n1\n", 1, "[a][][1]");
}

static void bad_records_are_told_by_their_first_line(void **state)
{
    (void)state;
    assert_scan("a,b\n1\n2,3,4\n5,6\n", 2, "[a,b]2:expected 3:expected [5,6]");
    assert_scan("a,b\n\"x\ny\",2\n\"x\"y,2\n3,4\n", 2, "[a,b][\"x\ny\",2]4:a quoted [3,4]");
    assert_scan("a,b\n1,\"x\n2,3\n", 2, "[a,b]2:a quoted [2,3]");
    assert_scan("a,b\n1,\"x", 2, "[a,b]2:a quoted ");
    assert_scan("a,b\r\n1,\xff\r\n2,3", 2, "[a,b]2:not vali [2,3]");
    assert_scan("a,b\n1,2345678901234567890123456789012345678901234\n3,4\n", 2,
                "[a,b]2:longer t [3,4]");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_records_come_without_their_ends),
        cmocka_unit_test(empty_lines_are_records_of_one_field_only),
        cmocka_unit_test(bad_records_are_told_by_their_first_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
