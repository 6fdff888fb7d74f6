/* Chunks that are read side by side in every row group are asked for together. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "store/cache_near.h"

enum { GROUP = 3000000, A = 93000, B = 430000, C = 54000, OTHER = 190000 };

/** Three chunks side by side, the middle one read last, and one that stands alone: a scan with a
 * filter. Lengths differ a little from group to group. */
static uint64_t group(struct near *near, unsigned n, uint64_t *of_other)
{
    uint64_t at = 1000 + (uint64_t)n * GROUP, a = A + n % 7 * 11, b = B - n % 5 * 97,
             c = C + n % 3 * 5;
    uint64_t ahead = near_note(near, at, a);
    *of_other = near_note(near, at + GROUP / 2, OTHER);
    (void)near_note(near, at + a + b, c);
    (void)near_note(near, at + a, b);
    return ahead;
}

static void chunks_side_by_side_are_known_in_the_third_row_group(void **state)
{
    struct near near = { 0 };
    uint64_t other = 0;
    assert_int_equal(group(&near, 0, &other), 0);
    assert_int_equal(group(&near, 1, &other), 0);
    for (unsigned n = 2; n < 500; n++) {
        uint64_t ahead = group(&near, n, &other);
        assert_true(ahead >= B - 500 + C && ahead < (B + C) + (B + C) / 16);
        assert_int_equal(other, 0);
    }
    (void)state;
}

static void chunks_with_little_between_them_are_fetched_with_it(void **state)
{
    struct near near = { 0 };
    for (unsigned n = 0; n < 300; n++) {
        uint64_t at = 1000 + (uint64_t)n * GROUP;
        uint64_t ahead = near_note(&near, at, B);
        (void)near_note(&near, at + B + 60000 + n * 37 % 5000, OTHER);
        assert_true(n < 2 ? ahead == 0
                          : ahead >= 60000 + OTHER && ahead < (65000 + OTHER) * 17 / 16);
    }
    for (unsigned n = 0; n < 10; n++) { /* too far */
        uint64_t at = 1000 + (uint64_t)n * GROUP;
        struct near fresh = { 0 };
        for (unsigned i = 0; i < 5; i++) {
            assert_int_equal(near_note(&fresh, at + i * GROUP, B), 0);
            assert_int_equal(near_note(&fresh, at + i * GROUP + B + 90000, OTHER), 0);
        }
    }
    (void)state;
}

static void guesses_that_nobody_reads_end(void **state)
{
    struct near near = { 0 };
    uint64_t wasted = 0, other = 0;
    for (unsigned n = 0; n < 20; n++) {
        (void)group(&near, n, &other);
    }
    /* from now on the filter lets nothing through: only the first chunk is read */
    for (unsigned n = 20; n < 1000; n++) {
        wasted += near_note(&near, 1000 + (uint64_t)n * GROUP, A) > 0;
    }
    assert_true(wasted < 60);
    (void)state;
}

static void who_reads_here_and_there_is_not_guessed_for(void **state)
{
    struct near near = { 0 };
    for (uint64_t i = 0; i < 300; i++) {
        assert_int_equal(near_note(&near, i * 7919 % 300 * 1000000, 100000 + i * 1000), 0);
        assert_int_equal(near_note(&near, i * 4096, 4096), 0); /* small steps are none */
    }
    (void)state;
}

static void no_guess_is_beyond_reason(void **state)
{
    struct near near = { 0 };
    uint64_t at = 0, most = 0;
    for (unsigned i = 0; i < 200; i++) { /* all chunks are alike, and one behind the other */
        uint64_t ahead = near_note(&near, at, 300000);
        most = ahead > most ? ahead : most;
        at += 300000;
    }
    assert_true(most > 300000 && most <= 2 * 1024 * 1024);
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chunks_side_by_side_are_known_in_the_third_row_group),
        cmocka_unit_test(chunks_with_little_between_them_are_fetched_with_it),
        cmocka_unit_test(guesses_that_nobody_reads_end),
        cmocka_unit_test(who_reads_here_and_there_is_not_guessed_for),
        cmocka_unit_test(no_guess_is_beyond_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
