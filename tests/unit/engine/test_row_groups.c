/*
 * Row groups from a Parquet footer. The bytes are written by hand from the Thrift compact protocol;
 * that DuckDB's own footers are read is held by tests/integration/test_ingest.py.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/buf.h"
#include "engine/row_groups.h"

/* version 2; num_rows 3; two row groups: the first with a dictionary at 4 and data at 20, and a
 * column at 300; the second without a dictionary at 1000; created_by "x" */
static const char footer[] =
    "\x15\x04"                     /* 1: i32 2 */
    "\x19\x1c\x48\x01r\x00"        /* 2: a list of one struct with a binary 4: "r" */
    "\x16\x06"                     /* 3: i64 3 */
    "\x19\x2c"                     /* 4: a list of two structs */
    "\x19\x2c"                     /* RowGroup 1: a list of two columns */
    "\x26\x08"                     /* ColumnChunk 2: file_offset */
    "\x1c\x15\x02\x86\x28\x26\x08" /* 3: ColumnMetaData 1: type, 9: data 20, 11: dictionary 4 */
    "\x00\x00"                     /* ends of both */
    "\x3c\x96\xd8\x04\x00\x00"     /* ColumnChunk 3: ColumnMetaData 9: data 300 */
    "\x16\x02\x00"                 /* RowGroup 2: total_byte_size; end */
    "\x19\x1c\x3c\x96\xd0\x0f\x11\x00\x00\x00" /* a column with data at 1000 and a truth value */
    "\x28\x01x\x00";                           /* 6: created_by; end */

static enum status add(void *ctx, int64_t offset, struct err *err)
{
    (void)err;
    return buf_printf(ctx, "%lld ", (long long)offset);
}

static void row_groups_begin_with_their_first_page(void **state)
{
    struct buf out;
    (void)state;
    buf_init(&out, 0);
    assert_int_equal(row_groups_read(str_from(footer, sizeof(footer) - 1), add, &out, NULL), OK);
    assert_true(str_eq(buf_str(&out), STR("4 1000 ")));
    buf_done(&out);
}

static void a_footer_cut_anywhere_is_corrupt(void **state)
{
    (void)state;
    for (size_t len = 0; len < sizeof(footer) - 1; len++) {
        struct buf out;
        struct err err;
        buf_init(&out, 0);
        assert_int_equal(row_groups_read(str_from(footer, len), add, &out, &err), E_CORRUPT);
        buf_done(&out);
    }
}

static void a_footer_with_any_byte_changed_is_read_to_an_end(void **state)
{
    char bytes[sizeof(footer)];
    (void)state;
    for (size_t at = 0; at < sizeof(footer) - 1; at++) {
        for (unsigned value = 0; value < 256; value++) {
            struct buf out;
            buf_init(&out, 0);
            memcpy(bytes, footer, sizeof(footer));
            bytes[at] = (char)value;
            enum status status = row_groups_read(str_from(bytes, sizeof(footer) - 1), add, &out,
                                                 NULL);
            assert_true(status == OK || status == E_CORRUPT);
            buf_done(&out);
        }
    }
}

static void nesting_has_a_limit(void **state)
{
    char deep[200];
    struct buf out;
    (void)state;
    memset(deep, 0x1c, sizeof(deep)); /* a struct in a struct, as a field of its own */
    buf_init(&out, 0);
    assert_int_equal(row_groups_read(str_from(deep, sizeof(deep)), add, &out, NULL), E_CORRUPT);
    buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(row_groups_begin_with_their_first_page),
        cmocka_unit_test(a_footer_cut_anywhere_is_corrupt),
        cmocka_unit_test(a_footer_with_any_byte_changed_is_read_to_an_end),
        cmocka_unit_test(nesting_has_a_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
