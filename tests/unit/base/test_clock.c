/* Clocks, deadlines, dates. */
#include "testing.h"

#include <limits.h>

#include "base/clock.h"

static const int64_t example_ms = 784111777000; /* Sun, 06 Nov 1994 08:49:37 GMT */

static int64_t fake_wall(void *ctx)
{
    return *(int64_t *)ctx;
}

static int64_t fake_boot(void *ctx)
{
    return *(int64_t *)ctx + 1000;
}

static void a_clock_asks_its_own_functions(void **state)
{
    int64_t now = 42;
    struct lake_clock clock = { .wall_ms = fake_wall, .mono_ms = fake_wall, .ctx = &now };
    assert_int_equal(clock_wall_ms(&clock), 42);
    now = 43;
    assert_int_equal(clock_mono_ms(&clock), 43);
    assert_int_equal(clock_boot_ms(&clock), 43); /* which is mono_ms where there is none */
    clock.boot_ms = fake_boot;
    assert_int_equal(clock_boot_ms(&clock), 1043);
    assert_int_equal(clock_mono_ms(&clock), 43);
}

static void the_real_clock_runs_forward(void **state)
{
    int64_t before = clock_mono_ms(clock_real());
    int64_t before_us = clock_now_us();
    assert_true(clock_mono_ms(clock_real()) >= before);
    assert_true(clock_now_us() >= before_us);
    assert_true(clock_boot_ms(clock_real()) >= before);       /* all sleep comes on top */
    assert_true(clock_wall_ms(clock_real()) > 1700000000000); /* after 2023 */
}

static void deadlines_pass_when_their_time_is_over(void **state)
{
    assert_true(deadline_passed(deadline_in(0)));
    assert_true(deadline_passed(deadline_in(-5)));
    assert_int_equal(deadline_poll_ms(deadline_in(0)), 0);
    deadline_ms later = deadline_in(1000000);
    assert_false(deadline_passed(later));
    assert_in_range(deadline_poll_ms(later), 900000, 1000000);
}

static void never_is_never_and_far_is_clamped(void **state)
{
    assert_int_equal(deadline_poll_ms(DEADLINE_NEVER), -1);
    assert_false(deadline_passed(DEADLINE_NEVER));
    assert_true(deadline_in(INT64_MAX) == DEADLINE_NEVER);
    assert_int_equal(deadline_poll_ms(deadline_in(INT64_MAX / 2)), INT_MAX);
}

static void iso_times_have_milliseconds_also_before_1970(void **state)
{
    struct buf out;
    buf_init(&out, 0);
    assert_int_equal(time_append_iso(&out, 1704164645678), OK);
    assert_str(buf_str(&out), "2024-01-02T03:04:05.678Z");
    buf_clear(&out);
    assert_int_equal(time_append_iso(&out, -1), OK);
    assert_str(buf_str(&out), "1969-12-31T23:59:59.999Z");
    buf_clear(&out);
    assert_int_equal(time_append_iso(&out, 253402300799999), OK);
    assert_str(buf_str(&out), "9999-12-31T23:59:59.999Z");
    buf_clear(&out);
    assert_int_equal(time_append_iso(&out, 253402300800000), E_INVALID);
    assert_int_equal(time_append_iso(&out, INT64_MIN), E_INVALID);
    assert_int_equal(out.len, 0);
    buf_done(&out);
}

static void http_times_look_as_the_standard_writes_them(void **state)
{
    struct buf out;
    buf_init(&out, 0);
    assert_int_equal(time_append_http(&out, example_ms), OK);
    assert_str(buf_str(&out), "Sun, 06 Nov 1994 08:49:37 GMT");
    buf_done(&out);
}

static void all_three_http_forms_are_read(void **state)
{
    static const char *const forms[] = { "Sun, 06 Nov 1994 08:49:37 GMT",
                                         "Sunday, 06-Nov-94 08:49:37 GMT",
                                         "Sun Nov  6 08:49:37 1994" };
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        int64_t out = 0;
        assert_true(time_parse_http(str_of(forms[i]), &out));
        assert_true(out == example_ms);
    }
}

static void what_is_written_is_read_back(void **state)
{
    for (int64_t ms = -1000000000000; ms < 4000000000000; ms += 86400000LL * 13 + 12345000) {
        struct buf out;
        int64_t back;
        buf_init(&out, 0);
        assert_int_equal(time_append_http(&out, ms), OK);
        assert_true(time_parse_http(buf_str(&out), &back));
        assert_true(back == ms);
        buf_done(&out);
    }
}

static void dates_that_do_not_exist_are_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "Sun",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "Sun, 31 Nov 1994 08:49:37 GMT",
        "Sun, 29 Feb 1900 08:49:37 GMT",
        "Sun, 00 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:49:37 GMT",
        "Sun, 06 Nov 1994 08:60:37 GMT",
        "Sun, 06 Nov 1994 08:49:61 GMT",
        "Son, 06 Nov 1994 08:49:37 GMT",
        "Sun, 06 nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 GMT ",
        "Sun, -6 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-1994 08:49:37 GMT",
        "Sun Nov  6 08:49:37 94",
        "Sun Nov  6 08:49:37 1994 GMT",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        int64_t out = 7;
        assert_false(time_parse_http(str_of(bad[i]), &out));
        assert_int_equal(out, 7);
    }
    int64_t out;
    assert_true(time_parse_http(STR("Tue, 29 Feb 2000 00:00:00 GMT"), &out));
}

static void two_digit_years_are_never_far_in_the_future(void **state)
{
    int64_t out;
    int64_t now = clock_wall_ms(clock_real());
    assert_true(time_parse_http(STR("Sunday, 06-Nov-99 08:49:37 GMT"), &out));
    assert_true(out < now + 51LL * 366 * 86400000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_clock_asks_its_own_functions),
        cmocka_unit_test(the_real_clock_runs_forward),
        cmocka_unit_test(deadlines_pass_when_their_time_is_over),
        cmocka_unit_test(never_is_never_and_far_is_clamped),
        cmocka_unit_test(iso_times_have_milliseconds_also_before_1970),
        cmocka_unit_test(http_times_look_as_the_standard_writes_them),
        cmocka_unit_test(all_three_http_forms_are_read),
        cmocka_unit_test(what_is_written_is_read_back),
        cmocka_unit_test(dates_that_do_not_exist_are_refused),
        cmocka_unit_test(two_digit_years_are_never_far_in_the_future),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
