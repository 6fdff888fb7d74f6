/* MurmurHash3: the values that the Iceberg specification gives in its appendix B. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/murmur3.h"

static uint32_t of_long(int64_t value)
{
    return murmur3_32(str_from((const char *)&value, sizeof(value)));
}

static void murmur3_agrees_with_the_specification(void **state)
{
    assert_int_equal((int32_t)of_long(34), 2017239379);
    assert_int_equal((int32_t)of_long(17486), -653330422);             /* 2017-11-16 */
    assert_int_equal((int32_t)of_long(81068000000), -662762989);       /* 22:31:08 */
    assert_int_equal((int32_t)of_long(1510871468000000), -2047944441); /* 2017-11-16T22:31:08 */
    assert_int_equal((int32_t)murmur3_32(STR("iceberg")), 1210000089);
    assert_int_equal((int32_t)murmur3_32(str_from("\x00\x01\x02\x03", 4)), -188683207);
    assert_int_equal((int32_t)murmur3_32(str_from("\x05\x8c", 2)), -500754589); /* 14.20 */
    assert_int_equal((int32_t)murmur3_32(STR("")), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(murmur3_agrees_with_the_specification),
    };
    return cmocka_run_group_tests_name("murmur3", tests, NULL, NULL);
}
