/* Buffers: growth, the limit, what stands after a failure. */
#include "testing.h"

#include <string.h>

#include "base/buf.h"

static void appended_bytes_come_back_in_order(void **state)
{
    struct buf buf;
    buf_init(&buf, 0);
    assert_int_equal(buf_append(&buf, STR("abc")), OK);
    assert_int_equal(buf_append_char(&buf, '\0'), OK);
    assert_int_equal(buf_printf(&buf, "%d", 12345), OK);
    assert_int_equal(buf_append(&buf, str_from(NULL, 0)), OK);
    assert_int_equal(buf.len, 9);
    assert_memory_equal(buf.ptr,
                        "abc\0"
                        "12345",
                        9);
    buf_done(&buf);
    assert_null(buf.ptr);
}

static void printing_grows_the_buffer_to_any_length(void **state)
{
    struct buf buf;
    buf_init(&buf, 0);
    size_t expected = 0;
    for (int i = 0; i < 200; i++) {
        assert_int_equal(buf_printf(&buf, "%*d", i, 7), OK);
        expected += i > 1 ? (size_t)i : 1;
        assert_int_equal(buf.len, expected);
        assert_int_equal(buf.ptr[buf.len - 1], '7');
    }
    buf_done(&buf);
}

static void the_limit_may_be_met_but_not_passed(void **state)
{
    struct buf buf;
    buf_init(&buf, 10);
    assert_int_equal(buf_append(&buf, STR("0123456789")), OK);
    assert_int_equal(buf_append_char(&buf, 'x'), E_TOO_LARGE);
    assert_int_equal(buf_printf(&buf, "x"), E_TOO_LARGE);
    assert_null(buf_reserve(&buf, 1));
    assert_str(buf_str(&buf), "0123456789");
    assert_string_equal(buf_cstr(&buf), "0123456789"); /* the NUL does not count */
    buf_consume(&buf, 5);
    assert_int_equal(buf_printf(&buf, "%s", "abcde"),
                     OK); /* exactly, though vsnprintf wants a NUL */
    assert_str(buf_str(&buf), "56789abcde");
    buf_done(&buf);
}

static void a_huge_length_does_not_overflow(void **state)
{
    struct buf buf;
    buf_init(&buf, SIZE_MAX);
    assert_int_equal(buf_append(&buf, STR("a")), OK);
    assert_null(buf_reserve(&buf, SIZE_MAX));
    mem_fail_nth(0); /* sanitizers end the program when malloc is really asked for that much */
    assert_null(buf_reserve(&buf, SIZE_MAX - 2));
    assert_true(mem_fail_happened());
    mem_fail_nth(-1);
    assert_str(buf_str(&buf), "a");
    buf_done(&buf);
}

static void reserved_room_is_writable(void **state)
{
    struct buf buf;
    buf_init(&buf, 0);
    char *room = buf_reserve(&buf, 1000);
    memset(room, 'x', 1000);
    buf.len += 1000;
    assert_non_null(buf_reserve(&buf, 0));
    assert_int_equal(buf.len, 1000);
    buf_done(&buf);
}

static void consuming_drops_from_the_front(void **state)
{
    struct buf buf;
    buf_init(&buf, 0);
    buf_consume(&buf, 0); /* of an empty one */
    assert_int_equal(buf_append(&buf, STR("abcdef")), OK);
    buf_consume(&buf, 2);
    assert_str(buf_str(&buf), "cdef");
    buf_consume(&buf, 4);
    assert_int_equal(buf.len, 0);
    buf_done(&buf);
}

static void without_memory_the_content_stays(void **state)
{
    struct buf buf;
    buf_init(&buf, 0);
    char big[500];
    memset(big, 'b', sizeof(big));
    assert_int_equal(buf_append(&buf, STR("abc")), OK);
    mem_fail_nth(0);
    assert_int_equal(buf_append_bytes(&buf, big, sizeof(big)), E_NO_MEMORY);
    mem_fail_nth(0);
    assert_int_equal(buf_printf(&buf, "%500d", 1), E_NO_MEMORY);
    mem_fail_nth(0);
    assert_null(buf_reserve(&buf, 500));
    mem_fail_nth(-1);
    assert_str(buf_str(&buf), "abc");
    buf_done(&buf);
    mem_fail_nth(0);
    assert_null(buf_cstr(&buf));
    mem_fail_nth(-1);
    assert_string_equal(buf_cstr(&buf), "");
    buf_done(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(appended_bytes_come_back_in_order),
        cmocka_unit_test(printing_grows_the_buffer_to_any_length),
        cmocka_unit_test(the_limit_may_be_met_but_not_passed),
        cmocka_unit_test(a_huge_length_does_not_overflow),
        cmocka_unit_test(reserved_room_is_writable),
        cmocka_unit_test(consuming_drops_from_the_front),
        cmocka_unit_test(without_memory_the_content_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
