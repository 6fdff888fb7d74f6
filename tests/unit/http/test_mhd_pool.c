/* A connection's memory: what libmicrohttpd asks of it, block by block. */
#include "http/mhd_pool.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"

enum { SIZE = 8192 };

static struct MemoryPool *fresh(void)
{
    struct MemoryPool *pool = MHD_pool_create(SIZE);
    assert_non_null(pool);
    assert_int_equal(MHD_pool_get_free(pool), SIZE);
    return pool;
}

static void test_a_fresh_pool_is_zeroed_and_holds_what_was_asked(void **state)
{
    (void)state;
    struct MemoryPool *pool = MHD_pool_create(5000);
    assert_true(MHD_pool_get_free(pool) >= 5000);
    const char *block = MHD_pool_allocate(pool, 5000, false);
    for (size_t i = 0; i < 5000; i++) {
        assert_int_equal(block[i], 0);
    }
    MHD_pool_destroy(pool);
    MHD_pool_destroy(NULL);
    assert_null(MHD_pool_create(SIZE_MAX));
    mem_fail_nth(0);
    assert_null(MHD_pool_create(SIZE));
    mem_fail_nth(-1);
}

static void test_blocks_come_from_both_sides_until_they_meet(void **state)
{
    (void)state;
    struct MemoryPool *pool = fresh();
    char *front = MHD_pool_allocate(pool, 100, false), *next = MHD_pool_allocate(pool, 1, false);
    char *back = MHD_pool_allocate(pool, 100, true), *before = MHD_pool_allocate(pool, 1, true);
    assert_int_equal((uintptr_t)front % 16 + (uintptr_t)back % 16 + (uintptr_t)before % 16, 0);
    assert_ptr_equal(next, front + 112);
    assert_ptr_equal(back, front + SIZE - 112);
    assert_ptr_equal(before, back - 16);
    size_t left = MHD_pool_get_free(pool);
    assert_int_equal(left, SIZE - 256);
    assert_null(MHD_pool_allocate(pool, left + 1, false));
    assert_null(MHD_pool_allocate(pool, left + 1, true));
    assert_null(MHD_pool_allocate(pool, SIZE_MAX, false));
    assert_ptr_equal(MHD_pool_allocate(pool, left, true), next + 16);
    assert_int_equal(MHD_pool_get_free(pool), 0);
    assert_null(MHD_pool_allocate(pool, 1, false));
    MHD_pool_destroy(pool);
}

static void test_what_does_not_fit_tells_what_the_front_must_give_back(void **state)
{
    (void)state;
    struct MemoryPool *pool = fresh();
    size_t needed = 1;
    char *front = MHD_pool_allocate(pool, SIZE - 64, false);
    assert_non_null(MHD_pool_try_alloc(pool, 32, &needed));
    assert_int_equal(needed, 0);
    assert_null(MHD_pool_try_alloc(pool, 100, &needed));
    assert_int_equal(needed, 112 - 32);
    assert_null(MHD_pool_try_alloc(pool, SIZE, &needed)); /* the end has some of it */
    assert_int_equal(needed, SIZE_MAX);
    assert_null(MHD_pool_try_alloc(pool, SIZE_MAX, &needed));
    assert_int_equal(needed, SIZE_MAX);
    assert_ptr_equal(MHD_pool_reallocate(pool, front, SIZE - 64, SIZE - 64 - 80), front);
    assert_non_null(MHD_pool_try_alloc(pool, 100, &needed));
    assert_int_equal(MHD_pool_get_free(pool), 0);
    MHD_pool_destroy(pool);
}

static void test_the_last_block_of_the_front_is_resized_where_it_is(void **state)
{
    (void)state;
    struct MemoryPool *pool = fresh();
    char *first = MHD_pool_allocate(pool, 64, false);
    char *last = MHD_pool_allocate(pool, 64, false);
    memset(first, 'a', 64);
    memset(last, 'b', 64);
    assert_false(MHD_pool_is_resizable_inplace(pool, NULL, 0));
    assert_false(MHD_pool_is_resizable_inplace(pool, first, 64));
    assert_true(MHD_pool_is_resizable_inplace(pool, last, 64));
    assert_ptr_equal(MHD_pool_reallocate(pool, last, 64, 1000), last);
    assert_ptr_equal(MHD_pool_reallocate(pool, last, 1000, 40), last);
    assert_int_equal(MHD_pool_get_free(pool), SIZE - 64 - 48);
    /* and its rest stays taken */
    assert_ptr_equal(MHD_pool_reallocate(pool, first, 64, 10), first);
    assert_int_equal(MHD_pool_get_free(pool), SIZE - 64 - 48);
    assert_null(MHD_pool_reallocate(pool, last, 40, SIZE));
    assert_null(MHD_pool_reallocate(pool, last, 40, SIZE_MAX));
    assert_null(MHD_pool_reallocate(pool, first, 10, SIZE));
    char *moved = MHD_pool_reallocate(pool, first, 10, 20);
    assert_ptr_equal(moved, last + 48);
    assert_memory_equal(moved, "aaaaaaaaaa", 10);
    assert_memory_equal(last, "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb", 40);
    assert_non_null(MHD_pool_reallocate(pool, NULL, 0, 20));
    MHD_pool_destroy(pool);
}

static void test_the_last_block_of_each_side_is_given_back(void **state)
{
    (void)state;
    struct MemoryPool *pool = fresh();
    char *first = MHD_pool_allocate(pool, 30, false), *second = MHD_pool_allocate(pool, 30, false);
    char *outer = MHD_pool_allocate(pool, 30, true), *inner = MHD_pool_allocate(pool, 30, true);
    MHD_pool_deallocate(pool, NULL, 0);
    MHD_pool_deallocate(pool, first, 30); /* not the last: stays taken */
    MHD_pool_deallocate(pool, outer, 30);
    assert_int_equal(MHD_pool_get_free(pool), SIZE - 128);
    MHD_pool_deallocate(pool, second, 30);
    MHD_pool_deallocate(pool, inner, 30);
    assert_int_equal(MHD_pool_get_free(pool), SIZE - 64);
    MHD_pool_deallocate(pool, first + 5, 25); /* the tail of a block that was split */
    assert_int_equal(MHD_pool_get_free(pool), SIZE - 32 - 16);
    MHD_pool_destroy(pool);
}

static void test_a_reset_keeps_the_bytes_that_came_early(void **state)
{
    (void)state;
    struct MemoryPool *pool = fresh();
    char *buffer = MHD_pool_allocate(pool, 4096, false);
    assert_non_null(MHD_pool_allocate(pool, 100, true));
    for (int i = 0; i < 4096; i++) {
        buffer[i] = (char)(i % 251);
    }
    char expected[600];
    memcpy(expected, buffer + 200, sizeof(expected));
    char *kept = MHD_pool_reset(pool, buffer + 200, sizeof(expected), 2048);
    assert_ptr_equal(kept, buffer); /* where the places overlap, too */
    assert_memory_equal(kept, expected, sizeof(expected));
    assert_int_equal(MHD_pool_get_free(pool), SIZE - 2048);
    assert_true(MHD_pool_is_resizable_inplace(pool, kept, 2048));
    assert_ptr_equal(MHD_pool_reset(pool, NULL, 0, 0), buffer);
    assert_int_equal(MHD_pool_get_free(pool), SIZE);
    MHD_pool_destroy(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_fresh_pool_is_zeroed_and_holds_what_was_asked),
        cmocka_unit_test(test_blocks_come_from_both_sides_until_they_meet),
        cmocka_unit_test(test_what_does_not_fit_tells_what_the_front_must_give_back),
        cmocka_unit_test(test_the_last_block_of_the_front_is_resized_where_it_is),
        cmocka_unit_test(test_the_last_block_of_each_side_is_given_back),
        cmocka_unit_test(test_a_reset_keeps_the_bytes_that_came_early),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
