/*
 * Texts as values: what fits which type, the value itself, and both against DuckDB's own casts.
 */
#include "lab.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/rng.h"
#include "duck/text_value.h"

#define INT TEXT_FITS_INT
#define LONG TEXT_FITS_LONG
#define DOUBLE TEXT_FITS_DOUBLE
#define DECIMAL TEXT_FITS_DECIMAL
#define ALL_NUMBERS (INT | LONG | DOUBLE | DECIMAL)

struct expectation {
    const char *text;
    unsigned fits;
};

static void check(const struct expectation *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        unsigned fits = text_fits(str_of(list[i].text));
        if (fits != list[i].fits) {
            fail_msg("'%s' fits %#x, expected %#x", list[i].text, fits, list[i].fits);
        }
    }
}

static void numbers_fit_when_they_come_back_unharmed(void **state)
{
    static const struct expectation list[] = {
        { "0", ALL_NUMBERS },
        { "7", ALL_NUMBERS },
        { "-7", ALL_NUMBERS },
        { "2147483647", ALL_NUMBERS },
        { "-2147483648", ALL_NUMBERS },
        { "2147483648", LONG | DOUBLE | DECIMAL },
        { "999999999999999", LONG | DOUBLE | DECIMAL },
        { "9007199254740993", LONG | DECIMAL }, /* 2^53 + 1 */
        { "9223372036854775807", LONG | DECIMAL },
        { "-9223372036854775808", LONG | DECIMAL },
        { "9223372036854775808", DECIMAL },
        { "-9223372036854775809", DECIMAL },
        { "12345678901234567890123456789012345678", DECIMAL },
        { "-0", DOUBLE | DECIMAL },
        { "0.0", DOUBLE | DECIMAL },
        { "0.1", DOUBLE | DECIMAL },
        { "12.50", DOUBLE | DECIMAL },
        { ".5", DOUBLE },
        { "-.5", DOUBLE },
        { "1e5", DOUBLE },
        { "1E+5", DOUBLE },
        { "1.5e-7", DOUBLE },
        { "1e308", DOUBLE },
        { "1e309", 0 },
        { "1e-400", 0 }, /* would become 0 */
        { "5e-324", DOUBLE },
        { "1.2345678e-320", 0 }, /* would lose digits */
        { "0e0", DOUBLE },
        { "0.1234567890123456", DOUBLE | DECIMAL }, /* 16 digits, and its own shortest name */
        { "0.10000000000000001", DECIMAL },         /* is 0.1 */
        { "1577836800000000.0", DOUBLE | DECIMAL },
        { "0.12345678901234567890", DECIMAL },
        { "1e1000", 0 },
        { "", 0 },
        { "-", 0 },
        { ".", 0 },
        { "-.", 0 },
        { "5.", 0 },
        { "+5", 0 },
        { " 5", 0 },
        { "5 ", 0 },
        { "00501", 0 },
        { "01", 0 },
        { "-01", 0 },
        { "00.5", 0 },
        { "1,5", 0 },
        { "0x10", 0 },
        { "1e", 0 },
        { "1e+", 0 },
        { "1.e5", 0 },
        { "1_000", 0 },
        { "--1", 0 },
        { "1-1", 0 },
        { "nan", 0 },
        { "inf", 0 },
        { "-inf", 0 },
        { "Infinity", 0 },
        { "/5", 0 },
    };
    check(list, ARRAY_LEN(list));
}

static void dates_and_times_fit_when_they_come_back_unharmed(void **state)
{
    static const struct expectation list[] = {
        { "2024-02-29", TEXT_FITS_DATE },
        { "2000-02-29", TEXT_FITS_DATE },
        { "0001-01-01", TEXT_FITS_DATE },
        { "9999-12-31", TEXT_FITS_DATE },
        { "2024-01-02 03:04", TEXT_FITS_TIMESTAMP },
        { "2024-01-02T03:04:05", TEXT_FITS_TIMESTAMP },
        { "2024-01-02 03:04:05.000006", TEXT_FITS_TIMESTAMP },
        { "2024-01-02 03:04:05.5", TEXT_FITS_TIMESTAMP },
        { "2024-01-02 23:59:59", TEXT_FITS_TIMESTAMP },
        { "2024-01-02T03:04:05Z", TEXT_FITS_TIMESTAMPTZ },
        { "2024-01-02T03:04Z", TEXT_FITS_TIMESTAMPTZ },
        { "2024-01-02 03:04:05+02", TEXT_FITS_TIMESTAMPTZ },
        { "2024-01-02 03:04:05.25-0530", TEXT_FITS_TIMESTAMPTZ },
        { "2024-01-02 03:04:05-05:30", TEXT_FITS_TIMESTAMPTZ },
        { "true", TEXT_FITS_BOOLEAN },
        { "False", TEXT_FITS_BOOLEAN },
        { "TRUE", TEXT_FITS_BOOLEAN },
        { "tRUE", 0 },
        { "t", 0 },
        { "yes", 0 },
        { "truer", 0 },
        { "2023-02-29", 0 },
        { "1900-02-29", 0 },
        { "2024-04-31", 0 },
        { "2024-13-01", 0 },
        { "2024-00-01", 0 },
        { "2024-01-00", 0 },
        { "0000-01-01", 0 },
        { "10000-01-01", 0 },
        { "2024-1-2", 0 },
        { "2024/01/02", 0 },
        { "02.01.2024", 0 },
        { "2024-01-02 ", 0 },
        { "-024-01-02", 0 },
        { "2024-01-02 24:00", 0 },
        { "2024-01-02 03:60", 0 },
        { "2024-01-02 03:04:60", 0 },
        { "2024-01-02 03:04:", 0 },
        { "2024-01-02 03:04:05.", 0 },
        { "2024-01-02 03:04:05.1234567", 0 },
        { "2024-01-02  03:04", 0 },
        { "2024-01-02T03:04:05z", 0 },
        { "2024-01-02 03:04:05 +02", 0 },
        { "2024-01-02 03:04:05+2", 0 },
        { "2024-01-02 03:04:05+24", 0 },
        { "2024-01-02 03:04:05+02:60", 0 },
        { "2024-01-02 03:04:05+02:0", 0 },
        { "2024-01-02 03:04:05+", 0 },
        { "03:04:05", 0 },
        { "2024-01-02 3:04", 0 },
        { "2024-01-02 0304", 0 },
        { "0001-01-01 00:00+01", 0 },
        { "9999-12-31 23:59-01", 0 }, /* another year in UTC */
    };
    check(list, ARRAY_LEN(list));
}

static void what_does_not_fit_leaves_the_result_alone(void **state)
{
    int32_t i = 5, days = 5;
    int64_t n = 5, us = 5;
    double d = 5;
    bool truth = true;
    struct str text = STR("no");
    assert_false(text_to_int(text, &i) || text_to_long(text, &n) || text_to_double(text, &d) ||
                 text_to_boolean(text, &truth) || text_to_date(text, &days) ||
                 text_to_timestamp(text, &us) || text_to_timestamptz(text, &us));
    assert_true(i == 5 && days == 5 && n == 5 && us == 5 && d == 5 && truth);
}

static void doubles_are_rounded_as_the_c_library_does(void **state)
{
    struct rng rng;
    rng_seed(&rng, 20);
    for (int i = 0; i < 300000; i++) {
        char text[64];
        double value, whole = (double)rng_below(&rng, 1000000000000000);
        int power = (int)rng_below(&rng, 60) - 30;
        switch (rng_below(&rng, 4)) {
        case 0:
            snprintf(text, sizeof(text), "%.0fe%d", whole, power);
            break;
        case 1:
            snprintf(text, sizeof(text), "%.*f", (int)rng_below(&rng, 7), whole / 1e9);
            break;
        case 2:
            snprintf(text, sizeof(text), "%.15g", ldexp(whole, power * 30));
            break;
        default:
            snprintf(text, sizeof(text), "-%.3f", whole / 1e12);
        }
        if (!text_to_double(str_of(text), &value) || value != strtod(text, NULL)) {
            fail_msg("'%s' became %.17g", text, value);
        }
    }
}

/* --- against DuckDB --- */

static void all_days_are_those_of_duckdb(void **state)
{
    struct duck_session *session = lab_session(true);
    assert_ok(
        duck_exec(session,
                  STR("SELECT CASE WHEN count(*) FILTER (d <> __lake_text_date(d::VARCHAR)) = 0 "
                      "AND count(*) = 3652059 THEN 1 ELSE error('a day differs') END FROM "
                      "(SELECT ('0001-01-01'::DATE + i::INTEGER) AS d FROM range(3652059) t(i))"),
                  &lab_err));
    duck_session_close(session);
}

static void time_stamps_are_those_of_duckdb(void **state)
{
    struct duck_session *session = lab_session(true);
    assert_ok(duck_exec(
        session,
        STR("SELECT CASE WHEN bool_and(t = __lake_text_timestamp(t::VARCHAR)) AND "
            "bool_and(t::TIMESTAMPTZ = __lake_text_timestamptz(t::TIMESTAMPTZ::VARCHAR)) AND "
            "bool_and((left(t::VARCHAR, 19) || '-03:30')::TIMESTAMPTZ = "
            "__lake_text_timestamptz(left(t::VARCHAR, 19) || '-03:30')) "
            "THEN 1 ELSE error('a moment differs') END FROM (SELECT make_timestamp((hash(i) % 310000000000000000)"
            "::BIGINT - 62000000000000000) AS t FROM range(200000) r(i)) WHERE year(t) BETWEEN 1 AND 9998"),
        &lab_err));
    duck_session_close(session);
}

static void a_misfit_ends_our_own_statement(void **state)
{
    struct duck_session *session = lab_session(true);
    assert_ok(
        duck_exec(session, STR("SELECT __lake_text_long(NULL), __lake_text_fits('12')"), &lab_err));
    assert_int_equal(duck_exec(session,
                               STR("SELECT __lake_text_long(x) FROM (VALUES ('1'), ('x')) t(x)"),
                               &lab_err),
                     E_INVALID);
    assert_non_null(strstr(lab_err.msg, DUCK_TEXT_MISFIT));
    duck_session_close(session);
}

static void they_are_for_our_own_statements_only(void **state)
{
    assert_fails("SELECT __lake_text_long('1')", E_INVALID, "not allowed here");
    assert_fails("SELECT * FROM (SELECT 1) WHERE __lake_text_fits('1') > 0", E_INVALID,
                 "not allowed here");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, lab_reset)
    const struct CMUnitTest tests[] = {
        TEST(numbers_fit_when_they_come_back_unharmed),
        TEST(dates_and_times_fit_when_they_come_back_unharmed),
        TEST(what_does_not_fit_leaves_the_result_alone),
        TEST(doubles_are_rounded_as_the_c_library_does),
        TEST(all_days_are_those_of_duckdb),
        TEST(time_stamps_are_those_of_duckdb),
        TEST(a_misfit_ends_our_own_statement),
        TEST(they_are_for_our_own_statements_only),
    };
    return cmocka_run_group_tests(tests, lab_open, lab_close);
}
