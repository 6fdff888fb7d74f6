/* Allocation, its failure on order, and checked sizes. */
#include "testing.h"

#include <string.h>

static void the_nth_allocation_fails_once_and_no_other(void **state)
{
    mem_fail_nth(2);
    void *first = mem_alloc(1);
    void *second = mem_zalloc(1);
    assert_non_null(first);
    assert_non_null(second);
    assert_false(mem_fail_happened());
    assert_null(mem_realloc(first, 100)); /* and `first` is still ours */
    assert_true(mem_fail_happened());
    char *fourth = mem_strndup("abc", 2);
    assert_string_equal(fourth, "ab");
    mem_free(first);
    mem_free(second);
    mem_free(fourth);
    mem_free(NULL);
}

static void switched_off_nothing_fails(void **state)
{
    mem_fail_nth(0);
    mem_fail_nth(-1);
    void *ptr = mem_alloc(10);
    assert_non_null(ptr);
    assert_false(mem_fail_happened());
    mem_free(ptr);
}

static void size_zero_gives_a_valid_pointer(void **state)
{
    void *ptrs[] = { mem_alloc(0), mem_zalloc(0), mem_realloc(NULL, 0), mem_strndup(NULL, 0) };
    for (size_t i = 0; i < ARRAY_LEN(ptrs); i++) {
        assert_non_null(ptrs[i]);
        mem_free(ptrs[i]);
    }
}

static void zalloc_gives_zeros(void **state)
{
    char *bytes = mem_zalloc(100);
    for (size_t i = 0; i < 100; i++) {
        assert_int_equal(bytes[i], 0);
    }
    mem_free(bytes);
}

static void sizes_that_overflow_are_refused_and_leave_the_result_alone(void **state)
{
    size_t out = 7;
    assert_false(size_mul(SIZE_MAX / 2 + 1, 2, &out));
    assert_false(size_add(SIZE_MAX, 1, &out));
    assert_int_equal(out, 7);
    assert_true(size_mul(SIZE_MAX, 1, &out));
    assert_true(out == SIZE_MAX);
    assert_true(size_add(SIZE_MAX - 1, 1, &out));
    assert_true(out == SIZE_MAX);
    assert_true(size_mul(0, SIZE_MAX, &out));
    assert_int_equal(out, 0);
}

static void a_copy_of_a_maximal_length_is_refused(void **state)
{
    assert_null(mem_strndup("x", SIZE_MAX));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_nth_allocation_fails_once_and_no_other),
        cmocka_unit_test(switched_off_nothing_fails),
        cmocka_unit_test(size_zero_gives_a_valid_pointer),
        cmocka_unit_test(zalloc_gives_zeros),
        cmocka_unit_test(sizes_that_overflow_are_refused_and_leave_the_result_alone),
        cmocka_unit_test(a_copy_of_a_maximal_length_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
