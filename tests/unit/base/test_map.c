/* The hash map, against a plain array as the model. */
#include "testing.h"

#include <stdio.h>

#include "base/map.h"
#include "base/rng.h"

static void put_get_replace_and_remove(void **state)
{
    struct map map;
    int values[3];
    void *old = &values[2];
    map_init(&map);
    assert_null(map_get(&map, STR("a")));
    assert_null(map_remove(&map, STR("a")));
    assert_int_equal(map_put(&map, STR("a"), &values[0], &old), OK);
    assert_null(old);
    assert_int_equal(map_put(&map, STR("a"), &values[1], &old), OK);
    assert_ptr_equal(old, &values[0]);
    assert_int_equal(map.count, 1);
    assert_ptr_equal(map_get(&map, STR("a")), &values[1]);
    assert_ptr_equal(map_remove(&map, STR("a")), &values[1]);
    assert_null(map_get(&map, STR("a")));
    assert_int_equal(map.count, 0);
    map_done(&map);
}

static void keys_are_copied_and_may_be_empty_or_hold_nul(void **state)
{
    struct map map;
    int value;
    char key[] = "key";
    map_init(&map);
    assert_int_equal(map_put(&map, str_of(key), &value, NULL), OK);
    key[0] = 'X';
    assert_ptr_equal(map_get(&map, STR("key")), &value);
    assert_int_equal(map_put(&map, STR(""), &value, NULL), OK);
    assert_int_equal(map_put(&map, STR("a\0b"), &value, NULL), OK);
    assert_ptr_equal(map_get(&map, str_from(NULL, 0)), &value);
    assert_null(map_get(&map, STR("a")));
    assert_ptr_equal(map_get(&map, STR("a\0b")), &value);
    map_done(&map);
}

static void many_random_changes_agree_with_a_plain_array(void **state)
{
    enum { KEYS = 500 };
    static int values[KEYS];
    bool present[KEYS] = { false };
    struct rng rng;
    struct map map;
    rng_seed(&rng, 7);
    map_init(&map);
    size_t count = 0;
    for (int step = 0; step < 50000; step++) {
        size_t k = rng_below(&rng, KEYS);
        char key[16];
        snprintf(key, sizeof(key), "k%zu", k);
        assert_ptr_equal(map_get(&map, str_of(key)), present[k] ? &values[k] : NULL);
        if (rng_below(&rng, 2) == 0) {
            assert_int_equal(map_put(&map, str_of(key), &values[k], NULL), OK);
            count += present[k] ? 0 : 1;
            present[k] = true;
        } else {
            assert_ptr_equal(map_remove(&map, str_of(key)), present[k] ? &values[k] : NULL);
            count -= present[k] ? 1 : 0;
            present[k] = false;
        }
        assert_int_equal(map.count, count);
    }
    size_t pos = 0;
    size_t seen = 0;
    for (struct map_entry *e = map_next(&map, &pos); e != NULL; e = map_next(&map, &pos)) {
        assert_true(present[(int *)e->value - values]);
        seen++;
    }
    assert_int_equal(seen, count);
    map_done(&map);
}

static enum status fill(struct map *map, int *value)
{
    for (int i = 0; i < 40; i++) {
        char key[16];
        snprintf(key, sizeof(key), "k%d", i);
        size_t before = map->count;
        enum status status = map_put(map, str_of(key), value, NULL);
        if (status != OK) {
            assert_int_equal(map->count, before);
            assert_null(map_get(map, str_of(key)));
            return status;
        }
    }
    return OK;
}

static void without_memory_the_map_stays_as_it_was(void **state)
{
    struct map map;
    int value;
    map_init(&map);
    FAIL_EVERY_ALLOCATION(fill(&map, &value), {
        map_done(&map);
        map_init(&map);
    });
    assert_int_equal(map.count, 40);
    map_done(&map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(put_get_replace_and_remove),
        cmocka_unit_test(keys_are_copied_and_may_be_empty_or_hold_nul),
        cmocka_unit_test(many_random_changes_agree_with_a_plain_array),
        cmocka_unit_test(without_memory_the_map_stays_as_it_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
