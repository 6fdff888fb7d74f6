/* Random numbers and UUIDs. */
#include "testing.h"

#include "base/rng.h"

static void the_generator_gives_the_numbers_of_its_reference(void **state)
{
    /* First outputs of xoshiro256** from the state {1, 2, 3, 4}, by hand from its definition:
       rotl(2*5, 7)*9 = 11520, then s[1] = 2^3^1 = 0 gives 0. */
    struct rng rng = { { 1, 2, 3, 4 } };
    assert_true(rng_next(&rng) == 11520);
    assert_true(rng_next(&rng) == 0);
    assert_true(rng_next(&rng) == 1509978240);
}

static void equal_seeds_give_equal_numbers_and_others_do_not(void **state)
{
    struct rng a;
    struct rng b;
    struct rng c;
    rng_seed(&a, 1);
    rng_seed(&b, 1);
    rng_seed(&c, 2);
    for (int i = 0; i < 100; i++) {
        uint64_t number = rng_next(&a);
        assert_true(number == rng_next(&b));
        assert_true(number != rng_next(&c));
    }
}

static void below_stays_below_and_reaches_everything(void **state)
{
    struct rng rng;
    unsigned counts[7] = { 0 };
    rng_seed(&rng, 0);
    for (int i = 0; i < 7000; i++) {
        uint64_t number = rng_below(&rng, 7);
        assert_true(number < 7);
        counts[number % 7]++;
    }
    for (size_t i = 0; i < 7; i++) {
        assert_in_range(counts[i], 850, 1150); /* expected 1000, standard deviation 29 */
    }
    assert_int_equal(rng_below(&rng, 1), 0);
    assert_true(rng_below(&rng, UINT64_MAX) < UINT64_MAX);
}

static void the_system_gives_different_bytes_each_time(void **state)
{
    uint8_t a[1000] = { 0 };
    uint8_t b[1000] = { 0 };
    random_bytes(a, sizeof(a));
    random_bytes(b, sizeof(b));
    assert_memory_not_equal(a, b, sizeof(a));
    random_bytes(a, 0);
    assert_true(random_u64() != random_u64());
}

static void uuids_are_valid_and_of_version_4(void **state)
{
    char before[UUID_TEXT + 1] = "";
    for (int i = 0; i < 100; i++) {
        char uuid[UUID_TEXT + 1];
        uuid4(uuid);
        assert_int_equal(strlen(uuid), UUID_TEXT);
        assert_true(uuid_valid(str_of(uuid)));
        assert_int_equal(uuid[14], '4');
        assert_non_null(strchr("89ab", uuid[19]));
        assert_string_not_equal(uuid, before);
        memcpy(before, uuid, sizeof(before));
    }
}

static void texts_that_are_no_uuid_are_refused(void **state)
{
    assert_true(uuid_valid(STR("01234567-89AB-cdef-0123-456789abcdef")));
    static const char *const bad[] = { "",
                                       "01234567-89ab-cdef-0123-456789abcde",
                                       "01234567-89ab-cdef-0123-456789abcdef0",
                                       "0123456789ab-cdef-0123-456789abcdef--",
                                       "01234567-89ab-cdef-0123-456789abcdeg",
                                       "{1234567-89ab-cdef-0123-456789abcdef",
                                       "01234567_89ab_cdef_0123_456789abcdef" };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_false(uuid_valid(str_of(bad[i])));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_generator_gives_the_numbers_of_its_reference),
        cmocka_unit_test(equal_seeds_give_equal_numbers_and_others_do_not),
        cmocka_unit_test(below_stays_below_and_reaches_everything),
        cmocka_unit_test(the_system_gives_different_bytes_each_time),
        cmocka_unit_test(uuids_are_valid_and_of_version_4),
        cmocka_unit_test(texts_that_are_no_uuid_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
