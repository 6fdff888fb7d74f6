/*
 * Values of every type, exactly as the answers show them; and the frames of the formats.
 */
#include "lab.h"

#include <stdio.h>

static void integers_have_every_digit(void **state)
{
    assert_value("127::TINYINT", "127");
    assert_value("(-32768)::SMALLINT", "-32768");
    assert_value("0::INTEGER", "0");
    assert_value("(-9223372036854775807-1)::BIGINT", "-9223372036854775808");
    assert_value("9223372036854775807", "9223372036854775807");
    assert_value("18446744073709551615::UBIGINT", "18446744073709551615");
    assert_value("255::UTINYINT", "255");
    assert_value("65535::USMALLINT", "65535");
    assert_value("4294967295::UINTEGER", "4294967295");
    assert_value("170141183460469231731687303715884105727::HUGEINT",
                 "170141183460469231731687303715884105727");
    assert_value("'-170141183460469231731687303715884105728'::HUGEINT",
                 "-170141183460469231731687303715884105728");
    assert_value("1000000000000000000::HUGEINT", "1000000000000000000");
    assert_value("1000000000000000000000000000000000000::HUGEINT",
                 "1000000000000000000000000000000000000");
    assert_value("'340282366920938463463374607431768211455'::UHUGEINT",
                 "340282366920938463463374607431768211455");
    assert_value("'123456789012345678901234567890123456789012345'::BIGNUM",
                 "123456789012345678901234567890123456789012345");
}

static void integers_around_powers_of_ten_have_the_right_length(void **state)
{
    unsigned long long power = 1;
    for (int digits = 1; digits <= 20; digits++) {
        char sql[160], expected[80];
        snprintf(sql, sizeof sql, "SELECT %llu::UBIGINT, %llu::UBIGINT, %llu::UBIGINT", power - 1,
                 power, power + 1);
        snprintf(expected, sizeof expected, "[%llu,%llu,%llu]", power - 1, power, power + 1);
        assert_string_equal(lab_rows(sql), expected);
        power *= digits < 20 ? 10 : 1;
    }
}

static void decimals_keep_their_scale(void **state)
{
    assert_value("1.50::DECIMAL(4,2)", "1.50");
    assert_value("(-0.05)::DECIMAL(4,2)", "-0.05");
    assert_value("0::DECIMAL(4,2)", "0.00");
    assert_value("0.5::DECIMAL(1,1)", "0.5");
    assert_value("12345678.9::DECIMAL(9,1)", "12345678.9");
    assert_value("'-123456789012345.678'::DECIMAL(18,3)", "-123456789012345.678");
    assert_value("'12345678901234567890123456789012345678'::DECIMAL(38,0)",
                 "12345678901234567890123456789012345678");
    assert_value("'-0.00000000000000000000000000000000000001'::DECIMAL(38,38)",
                 "-0.00000000000000000000000000000000000001");
    assert_value("'1234567890123456789.0123456789012345678'::DECIMAL(38,19)",
                 "1234567890123456789.0123456789012345678");
}

static void floats_read_back_as_they_were(void **state)
{
    assert_value("0.1::DOUBLE", "0.1");
    assert_value("1::DOUBLE", "1.0");
    assert_value("'-0'::DOUBLE", "-0.0");
    assert_value("1e300::DOUBLE", "1e+300");
    assert_value("5e-324::DOUBLE", "5e-324");
    assert_value("0.1::FLOAT", "0.1");
    assert_value("16777216::FLOAT", "16777216.0");
    assert_value("'NaN'::DOUBLE", "\"NaN\"");
    assert_value("'Infinity'::FLOAT", "\"Infinity\"");
    assert_value("'-Infinity'::DOUBLE", "\"-Infinity\"");
    assert_csv("'NaN'::DOUBLE", "NaN");
    assert_csv("1.5::DOUBLE", "1.5");
}

static void text_is_escaped(void **state)
{
    assert_value("'plain'", "\"plain\"");
    assert_value("''", "\"\"");
    assert_value("'a\"b\\c/d'", "\"a\\\"b\\\\c/d\"");
    assert_value("chr(10)||chr(9)||chr(13)||chr(8)||chr(12)||chr(1)||chr(31)||chr(127)",
                 "\"\\n\\t\\r\\b\\f\\u0001\\u001f\x7f\"");
    assert_value("'h\xc3\xa9llo \xf0\x9f\xa6\x86 w\xc3\xb6rld and more than eight'",
                 "\"h\xc3\xa9llo \xf0\x9f\xa6\x86 w\xc3\xb6rld and more than eight\"");
    assert_value("'12345678\"'", "\"12345678\\\"\"");
    assert_value("length(repeat('x\"', 5000))", "10000");
    assert_value("TRUE", "true");
    assert_value("FALSE", "false");
    assert_value("NULL", "null");
    assert_value("NULL::INTEGER", "null");
}

static void long_text_crosses_pieces(void **state)
{
    const char *rows = lab_rows("SELECT repeat('ab\"', 3000)");
    size_t quotes = 0;
    for (const char *c = rows; *c; c++) {
        quotes += c[0] == '\\' && c[1] == '"';
    }
    assert_int_equal(quotes, 3000);
    assert_int_equal(strlen(rows), 3000 * 4 + 4);
    assert_int_equal(strlen(lab_query(DUCK_CSV, "SELECT repeat('a\"', 5000) AS c", NULL)),
                     3 + 5000 * 3 + 2 + 2);
}

static void times_are_iso_8601(void **state)
{
    assert_value("DATE '2024-02-29'", "\"2024-02-29\"");
    assert_value("DATE '0001-01-01'", "\"0001-01-01\"");
    assert_value("DATE '9999-12-31'", "\"9999-12-31\"");
    assert_value("DATE '12345-06-07'", "\"+12345-06-07\"");
    assert_value("DATE '0044-03-15 (BC)'", "\"-0043-03-15\"");
    assert_value("DATE '0001-03-15 (BC)'", "\"0000-03-15\"");
    assert_value("DATE 'infinity'", "\"infinity\"");
    assert_value("DATE '-infinity'", "\"-infinity\"");
    assert_value("TIMESTAMP '2024-01-02 03:04:05.000006'", "\"2024-01-02T03:04:05.000006\"");
    assert_value("TIMESTAMP '2024-01-02 03:04:05'", "\"2024-01-02T03:04:05\"");
    assert_value("TIMESTAMP '1969-12-31 23:59:59.999999'", "\"1969-12-31T23:59:59.999999\"");
    assert_value("TIMESTAMP 'infinity'", "\"infinity\"");
    assert_value("TIMESTAMPTZ '2024-01-02 03:04:05.5+02'", "\"2024-01-02T01:04:05.500000Z\"");
    assert_value("TIMESTAMP_S '2024-01-02 03:04:05'", "\"2024-01-02T03:04:05\"");
    assert_value("TIMESTAMP_MS '2024-01-02 03:04:05.006'", "\"2024-01-02T03:04:05.006000\"");
    assert_value("TIMESTAMP_NS '2024-01-02 03:04:05.000000007'",
                 "\"2024-01-02T03:04:05.000000007\"");
    assert_value("TIMESTAMP_NS '1969-12-31 23:59:59.5'", "\"1969-12-31T23:59:59.500000\"");
    assert_value("TIME '01:02:03.000004'", "\"01:02:03.000004\"");
    assert_value("TIME '24:00:00'", "\"24:00:00\"");
    assert_value("'01:02:03+05:30'::TIMETZ", "\"01:02:03+05:30\"");
    assert_value("'01:02:03-00:30'::TIMETZ", "\"01:02:03-00:30\"");
    assert_csv("DATE '2024-02-29'", "2024-02-29");
    assert_csv("TIMESTAMPTZ '2024-01-02 03:04:05+00'", "2024-01-02T03:04:05Z");
}

static void intervals_are_iso_8601(void **state)
{
    assert_value("INTERVAL '1 year 2 months 3 days 4 hours 5 minutes 6.000007 seconds'",
                 "\"P1Y2M3DT4H5M6.000007S\"");
    assert_value("INTERVAL '0 days'", "\"PT0S\"");
    assert_value("INTERVAL '-14 months'", "\"P-1Y-2M\"");
    assert_value("INTERVAL '-1.5 seconds'", "\"PT-1.500000S\"");
    assert_value("INTERVAL '90 minutes'", "\"PT1H30M\"");
    assert_csv("INTERVAL '3 days'", "P3D");
}

static void bytes_and_other_scalars_are_strings(void **state)
{
    assert_value("''::BLOB", "\"\"");
    assert_value("'a'::BLOB", "\"YQ==\"");
    assert_value("'ab'::BLOB", "\"YWI=\"");
    assert_value("'abc'::BLOB", "\"YWJj\"");
    assert_value("'\\xFF\\xFE\\x00\\x01'::BLOB", "\"//4AAQ==\"");
    assert_value("UUID '4ac7a9e9-607c-4c8a-84f3-843f0191e3fd'",
                 "\"4ac7a9e9-607c-4c8a-84f3-843f0191e3fd\"");
    assert_value("'00000000-0000-0000-0000-000000000000'::UUID",
                 "\"00000000-0000-0000-0000-000000000000\"");
    assert_value("'fed\"x'::ENUM('a', 'fed\"x')", "\"fed\\\"x\"");
    assert_value("'0101'::BIT", "\"0101\"");
    assert_value("'{\"a\":1}'::JSON", "\"{\\\"a\\\":1}\"");
    assert_csv("'abc'::BLOB", "YWJj");
    assert_csv("UUID '4ac7a9e9-607c-4c8a-84f3-843f0191e3fd'",
               "4ac7a9e9-607c-4c8a-84f3-843f0191e3fd");
    assert_csv("'x,y'::ENUM('a', 'x,y')", "\"x,y\"");
}

static void nested_values_are_json(void **state)
{
    assert_value("[1, NULL, 3]", "[1,null,3]");
    assert_value("[]::INTEGER[]", "[]");
    assert_value("[['a'], [], NULL]", "[[\"a\"],[],null]");
    assert_value("NULL::INTEGER[]", "null");
    assert_value("{'a': 1, 'b\"': 'x', 'c': NULL}", "{\"a\":1,\"b\\\"\":\"x\",\"c\":null}");
    assert_value("row(1, 'x')", "[1,\"x\"]");
    assert_value("[{'a': [1.5]}, {'a': NULL}]", "[{\"a\":[1.5]},{\"a\":null}]");
    assert_value("[1, 2, 3]::INTEGER[3]", "[1,2,3]");
    assert_value("[[1, 2], [3, 4]]::INTEGER[2][2]", "[[1,2],[3,4]]");
    assert_value("MAP {'k': 1, 'l': NULL}", "{\"k\":1,\"l\":null}");
    assert_value("MAP {1: 'x', 2: 'y'}",
                 "[{\"key\":1,\"value\":\"x\"},{\"key\":2,\"value\":\"y\"}]");
    assert_value("MAP {DATE '2024-01-01': [1]}", "[{\"key\":\"2024-01-01\",\"value\":[1]}]");
    assert_value("MAP([]::VARCHAR[], []::INTEGER[])", "{}");
    assert_value("union_value(n := 5)::UNION(n INTEGER, s VARCHAR)", "5");
    assert_value("union_value(s := 'x')::UNION(n INTEGER, s VARCHAR)", "\"x\"");
    assert_csv("[1, 2]", "\"[1,2]\"");
    assert_csv("{'a': 'x'}", "\"{\"\"a\"\":\"\"x\"\"}\"");
    assert_csv("[]::INTEGER[]", "[]");
}

static void nested_vectors_of_every_shape_are_read_right(void **state)
{
    /* constant, dictionary and sliced vectors, with children of their own */
    assert_string_equal(lab_rows("SELECT [i, i + 1] FROM range(3) t(i) WHERE i <> 1"),
                        "[[0,1]],[[2,3]]");
    assert_string_equal(lab_rows("SELECT {'a': i, 'b': [i]} FROM range(4) t(i) WHERE i % 2 = 1"),
                        "[{\"a\":1,\"b\":[1]}],[{\"a\":3,\"b\":[3]}]");
    assert_string_equal(lab_rows("SELECT i, {'k': 'const'} FROM range(2) t(i)"),
                        "[0,{\"k\":\"const\"}],[1,{\"k\":\"const\"}]");
    assert_string_equal(
        lab_rows("SELECT s FROM (VALUES ({'a': [1, 2]}), (NULL), ({'a': NULL})) t(s)"),
        "[{\"a\":[1,2]}],[null],[{\"a\":null}]");
    assert_string_equal(
        lab_rows("SELECT a.l FROM (SELECT i, [i, -i] l FROM range(5) t(i)) a JOIN (SELECT 3 i UNI"
                 "ON ALL SELECT 3) b USING (i)"),
        "[[3,-3]],[[3,-3]]");
    assert_string_equal(
        lab_rows("SELECT [x]::INTEGER[1] FROM (SELECT i x FROM range(5) t(i)) WHERE x IN (1, 4)"),
        "[[1]],[[4]]");
    assert_string_equal(
        lab_rows("SELECT list(i ORDER BY i) FROM range(6) t(i) GROUP BY i % 2 ORDER BY 1"),
        "[[0,2,4]],[[1,3,5]]");
}

static void every_type_of_duckdb_is_written(void **state)
{
    const char *json = lab_query(DUCK_JSON, "SELECT * FROM test_all_types()", NULL);
    assert_non_null(strstr(json, "\"row_count\":3}"));
    assert_non_null(strstr(json, "\"dec38_10\":-9999999999999999999999999999.9999999999"));
    const char *csv = lab_query(DUCK_CSV, "SELECT * FROM test_all_types()", NULL);
    assert_true(strlen(csv) > 1000);
}

static void rows_as_objects_name_equal_columns_apart(void **state)
{
    assert_string_equal(
        lab_query(DUCK_JSON, "SELECT 1 AS a, 2 AS a, 3 AS b, 4 AS a, 5 AS a_1", NULL),
        "{\"columns\":[{\"name\":\"a\",\"type\":\"INTEGER\"},{\"name\":\"a_2\",\"type\":\"IN"
        "TEGER\"},{\"name\":\"b\",\"type\":\"INTEGER\"},"
        "{\"name\":\"a_3\",\"type\":\"INTEGER\"},{\"name\":\"a_1\",\"type\":\"INTEGER\"}],"
        "\"rows\":[{\"a\":1,\"a_2\":2,\"b\":3,\"a_3\":4,\"a_1\":5}],\"row_count\":1}");
    assert_string_equal(lab_query(DUCK_NDJSON, "SELECT 1 AS a, 2 AS a, 3 AS A", NULL),
                        "{\"a\":1,\"a_1\":2,\"A\":3}\n");
    assert_string_equal(
        lab_query(DUCK_JSON_ARRAYS, "SELECT 1 AS a, 2 AS a", NULL),
        "{\"columns\":[{\"name\":\"a\",\"type\":\"INTEGER\"},{\"name\":\"a\",\"type\":\"INTE"
        "GER\"}],\"rows\":[[1,2]],\"row_count\":1}");
}

static void long_column_names_are_whole(void **state)
{
    assert_string_equal(lab_query(DUCK_NDJSON,
                                  "SELECT 1 AS a_name_that_is_much_longer_than_thirty_two_bytes, "
                                  "2 AS exactly_twenty_eight_bytes__, 3 AS \"\"\"q\"",
                                  NULL),
                        "{\"a_name_that_is_much_longer_than_thirty_two_bytes\":1,"
                        "\"exactly_twenty_eight_bytes__\":2,\"\\\"q\":3}\n");
}

static void formats_have_their_frames(void **state)
{
    const char *two = "SELECT i AS \"n\"\"1\", 'x' AS s FROM range(2) t(i)";
    assert_string_equal(
        lab_query(DUCK_JSON, two, NULL),
        "{\"columns\":[{\"name\":\"n\\\"1\",\"type\":\"BIGINT\"},{\"name\":\"s\",\"type\":"
        "\"VARCHAR\"}],\"rows\":[{\"n\\\"1\":0,\"s\":\"x\"},{\"n\\\"1\":1,\"s\":\"x\"}],\"ro"
        "w_count\":2}");
    assert_string_equal(lab_query(DUCK_NDJSON_ARRAYS, two, NULL), "[0,\"x\"]\n[1,\"x\"]\n");
    assert_string_equal(lab_query(DUCK_CSV, two, NULL), "\"n\"\"1\",s\r\n0,x\r\n1,x\r\n");
    assert_string_equal(
        lab_query(DUCK_JSON, "SELECT 1 AS a WHERE false", NULL),
        "{\"columns\":[{\"name\":\"a\",\"type\":\"INTEGER\"}],\"rows\":[],\"row_count\":0}");
    assert_string_equal(lab_query(DUCK_NDJSON, "SELECT 1 AS a WHERE false", NULL), "");
    assert_string_equal(lab_query(DUCK_CSV, "SELECT 1 AS a WHERE false", NULL), "a\r\n");
}

static void csv_quotes_what_needs_it(void **state)
{
    assert_csv("'a,b'", "\"a,b\"");
    assert_csv("'a\"b'", "\"a\"\"b\"");
    assert_csv("'a' || chr(10) || 'b'", "\"a\nb\"");
    assert_csv("'a' || chr(13)", "\"a\r\"");
    assert_csv("''", "\"\"");
    assert_csv("' padded '", " padded ");
    assert_csv("NULL", "");
    assert_csv("TRUE", "true");
}

static void many_rows_cross_chunks_in_order(void **state)
{
    const char *csv = lab_query(DUCK_CSV, "SELECT i FROM range(100000) t(i)", NULL);
    const char *at = strstr(csv, "\r\n") + 2;
    for (int i = 0; i < 100000; i++) {
        char expected[32];
        int len = snprintf(expected, sizeof expected, "%d\r\n", i);
        if (strncmp(at, expected, (size_t)len) != 0) {
            fail_msg("row %d is wrong", i);
        }
        at += len;
    }
    assert_string_equal(at, "");
}

static void chunks_of_several_columns_follow_each_other(void **state)
{
    const char *json = lab_query(DUCK_NDJSON_ARRAYS,
                                 "SELECT i::INTEGER a, i + 1 b, [i] c, {'x': i::DECIMAL(9,1)} d "
                                 "FROM range(50000) t(i)",
                                 NULL);
    const char *at = json;
    for (int i = 0; i < 50000; i++) {
        char expected[96];
        int len = snprintf(expected, sizeof expected, "[%d,%d,[%d],{\"x\":%d.0}]\n", i, i + 1, i,
                           i);
        if (strncmp(at, expected, (size_t)len) != 0) {
            fail_msg("row %d is wrong", i);
        }
        at += len;
    }
    assert_string_equal(at, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup(name, lab_reset)
        TEST(integers_have_every_digit),
        TEST(integers_around_powers_of_ten_have_the_right_length),
        TEST(decimals_keep_their_scale),
        TEST(floats_read_back_as_they_were),
        TEST(text_is_escaped),
        TEST(long_text_crosses_pieces),
        TEST(times_are_iso_8601),
        TEST(intervals_are_iso_8601),
        TEST(bytes_and_other_scalars_are_strings),
        TEST(nested_values_are_json),
        TEST(nested_vectors_of_every_shape_are_read_right),
        TEST(every_type_of_duckdb_is_written),
        TEST(rows_as_objects_name_equal_columns_apart),
        TEST(long_column_names_are_whole),
        TEST(formats_have_their_frames),
        TEST(csv_quotes_what_needs_it),
        TEST(many_rows_cross_chunks_in_order),
        TEST(chunks_of_several_columns_follow_each_other),
    };
    return cmocka_run_group_tests(tests, lab_open, lab_close);
}
