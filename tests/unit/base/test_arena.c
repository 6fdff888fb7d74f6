/* Arenas: limits, alignment, zeroes, reset. */
#include "testing.h"

#include <string.h>

#include "base/arena.h"

static void memory_is_zeroed_aligned_and_does_not_overlap(void **state)
{
    struct arena arena;
    arena_init(&arena, 0);
    char *before = NULL;
    for (size_t size = 0; size < 300; size++) {
        char *ptr = arena_alloc(&arena, size);
        assert_non_null(ptr);
        assert_int_equal((uintptr_t)ptr % 16, 0);
        for (size_t i = 0; i < size; i++) {
            assert_int_equal(ptr[i], 0);
        }
        memset(ptr, 0xAB, size);
        assert_ptr_not_equal(ptr, before);
        before = ptr;
    }
    arena_done(&arena);
}

static void memory_used_again_after_a_reset_is_zeroed(void **state)
{
    struct arena arena;
    arena_init(&arena, 0);
    memset(arena_alloc(&arena, 1000), 0xFF, 1000);
    arena_reset(&arena);
    char *again = arena_alloc(&arena, 1000);
    for (size_t i = 0; i < 1000; i++) {
        assert_int_equal(again[i], 0);
    }
    arena_done(&arena);
}

static void reset_keeps_one_block_and_counts_it(void **state)
{
    struct arena arena;
    arena_init(&arena, 0);
    arena_reset(&arena); /* of an empty one */
    for (size_t i = 0; i < 100; i++) {
        assert_non_null(arena_alloc(&arena, 3000));
    }
    size_t full = arena.used_bytes;
    arena_reset(&arena);
    assert_true(arena.used_bytes > 0 && arena.used_bytes < full);
    arena_done(&arena);
    assert_int_equal(arena.used_bytes, 0);
}

static void the_limit_is_never_passed(void **state)
{
    struct arena arena;
    arena_init(&arena, 10000);
    size_t got = 0;
    while (arena_alloc(&arena, 100) != NULL) {
        got++;
        assert_true(arena.used_bytes <= 10000);
    }
    assert_in_range(got, 70, 100); /* the blocks' ends and headers cost something */
    assert_null(arena_alloc(&arena, 20000));
    arena_done(&arena);
}

static void one_piece_may_be_larger_than_a_block(void **state)
{
    struct arena arena;
    arena_init(&arena, 8 * 1024 * 1024);
    char *big = arena_alloc(&arena, 4 * 1024 * 1024);
    assert_non_null(big);
    big[4 * 1024 * 1024 - 1] = 1;
    arena_done(&arena);
}

static void sizes_that_overflow_give_null(void **state)
{
    struct arena arena;
    arena_init(&arena, 0);
    assert_null(arena_alloc(&arena, SIZE_MAX));
    assert_null(arena_alloc(&arena, SIZE_MAX - 15));
    assert_null(arena_array(&arena, SIZE_MAX / 2, 4));
    assert_non_null(arena_array(&arena, 10, 8));
    arena_done(&arena);
}

static void texts_are_copied_and_end_in_nul(void **state)
{
    struct arena arena;
    arena_init(&arena, 0);
    assert_string_equal(arena_cstr(&arena, STR("abc")), "abc");
    assert_string_equal(arena_cstr(&arena, str_from(NULL, 0)), "");
    struct str copy = arena_str(&arena, STR("a\0b"));
    assert_int_equal(copy.len, 3);
    assert_memory_equal(copy.ptr, "a\0b", 4);
    assert_str(arena_printf(&arena, "%s-%d", "x", 42), "x-42");
    arena_done(&arena);
}

static void without_memory_everything_is_null(void **state)
{
    struct arena arena;
    arena_init(&arena, 0);
    mem_fail_nth(0);
    assert_null(arena_alloc(&arena, 1));
    mem_fail_nth(0);
    assert_null(arena_str(&arena, STR("x")).ptr);
    mem_fail_nth(0);
    assert_null(arena_printf(&arena, "%d", 1).ptr);
    mem_fail_nth(-1);
    assert_non_null(arena_alloc(&arena, 1)); /* and it recovers */
    arena_done(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_is_zeroed_aligned_and_does_not_overlap),
        cmocka_unit_test(memory_used_again_after_a_reset_is_zeroed),
        cmocka_unit_test(reset_keeps_one_block_and_counts_it),
        cmocka_unit_test(the_limit_is_never_passed),
        cmocka_unit_test(one_piece_may_be_larger_than_a_block),
        cmocka_unit_test(sizes_that_overflow_give_null),
        cmocka_unit_test(texts_are_copied_and_end_in_nul),
        cmocka_unit_test(without_memory_everything_is_null),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
