/*
 * Tables of the lake: names, columns by field id, pruning by bounds, and that pruning never changes
 * an answer.
 */
#include "lab.h"

#include <stdio.h>
#include <stdlib.h>

#define COL(n, i, t) { .name = STR_INIT(n), .id = (i), .type = STR_INIT(t) }
#define NESTED(n, i, t, kids)                                                                      \
    { .name = STR_INIT(n),                                                                         \
      .id = (i),                                                                                   \
      .type = STR_INIT(t),                                                                         \
      .children = (kids),                                                                          \
      .child_count = ARRAY_LEN(kids) }

static const struct duck_column simple[] = { COL("a", 1, "BIGINT"), COL("b", 2, "VARCHAR") };

static struct lab_table *add_simple(void)
{
    struct lab_table *table = lab_add("main", "t", simple, 2);
    lab_write(table, "one.parquet", "SELECT i a, 'row ' || i b FROM range(3) r(i)",
              ", FIELD_IDS {a: 1, b: 2}");
    return table;
}

static void table_is_found_by_every_spelling_of_its_name(void **state)
{
    add_simple();
    const char *names[] = { "t", "main.t", "lake.main.t", "\"t\"", "T" };
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char sql[100];
        snprintf(sql, sizeof sql, "SELECT count(*) FROM %s", names[i]);
        assert_string_equal(lab_rows(sql), "[3]");
    }
    assert_string_equal(
        lab_rows("SELECT main.t.a, t.b, x.a FROM t, main.t x WHERE t.a = 1 AND x.a = 2"),
        "[1,\"row 1\",2]");
}

static void statement_asks_for_a_table_once(void **state)
{
    add_simple();
    lab_resolves();
    lab_rows("SELECT * FROM t x JOIN t y USING (a) WHERE x.a IN (SELECT a FROM t)");
    assert_int_equal(lab_resolves(), 1);
}

static void missing_table_is_told_with_near_misses(void **state)
{
    add_simple();
    lab_add("main", "flights", simple, 2);
    lab_add("sales", "orders", simple, 2);
    assert_fails("SELECT * FROM flihgts", E_NOT_FOUND,
                 "line 1, column 15: table \"flihgts\" does not exist; did you mean \"flights\"?");
    assert_fails("SELECT * FROM sales.ordres", E_NOT_FOUND, "did you mean \"sales.orders\"?");
    assert_fails("SELECT * FROM orders", E_NOT_FOUND, "did you mean \"sales.orders\"?");
    assert_fails("SELECT 1,\n  x FROM\n  zzzz", E_NOT_FOUND,
                 "line 3, column 3: table \"zzzz\" does not exist; SHOW TABLES lists");
    assert_fails("SELECT * FROM ambiguous", E_INVALID,
                 "line 1, column 15: table \"ambiguous\" could be");
}

static void names_are_listed(void **state)
{
    add_simple();
    lab_add("sales", "orders", simple, 2);
    assert_string_equal(lab_rows("SHOW TABLES"), "[\"t\"]");
    assert_string_equal(lab_rows("SHOW TABLES FROM sales"), "[\"orders\"]");
    assert_string_equal(
        lab_rows("SELECT database, schema, name, column_names FROM (SHOW ALL TABLES)"),
        "[\"lake\",\"main\",\"t\",[\"a\",\"b\"]],[\"lake\",\"sales\",\"orders\",[\"a\",\"b\"]]");
    assert_string_equal(
        lab_rows("SELECT table_schema, table_name FROM information_schema.tables ORDER BY ALL"),
        "[\"main\",\"t\"],[\"sales\",\"orders\"]");
    assert_string_equal(
        lab_rows(
            "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = 't'"),
        "[\"a\",\"BIGINT\"],[\"b\",\"VARCHAR\"]");
    assert_string_equal(
        lab_rows(
            "SELECT schema_name FROM information_schema.schemata WHERE catalog_name = 'lake' ORDER BY 1"),
        "[\"empty_ns\"],[\"main\"],[\"sales\"]");
    assert_int_equal(lab_opens(), 0);
}

static void describe_and_summarize_work(void **state)
{
    static const struct duck_column columns[] = {
        { .name = STR_INIT("a"), .id = 1, .type = STR_INIT("BIGINT"), .required = true },
        COL("b", 2, "VARCHAR")
    };
    struct lab_table *table = lab_add("main", "t", columns, 2);
    lab_write(table, "one.parquet", "SELECT 5::BIGINT a, 'x' b", ", FIELD_IDS {a: 1, b: 2}");
    assert_string_equal(
        lab_rows("DESCRIBE t"),
        "[\"a\",\"BIGINT\",\"NO\",null,null,null],[\"b\",\"VARCHAR\",\"YES\",null,null,null]");
    assert_string_equal(lab_rows("DESCRIBE SELECT a + 1 AS c FROM t"),
                        "[\"c\",\"BIGINT\",\"YES\",null,null,null]");
    assert_string_equal(lab_rows("SELECT column_name, min, max FROM (SUMMARIZE t)"),
                        "[\"a\",\"5\",\"5\"],[\"b\",\"x\",\"x\"]");
}

static void explain_shows_the_scan_and_no_path(void **state)
{
    add_simple();
    const char *plan = lab_rows("EXPLAIN SELECT b FROM t WHERE a = 1");
    assert_non_null(strstr(plan, "LAKE_SCAN"));
    assert_non_null(strstr(plan, "a=1"));
    plan = lab_rows("EXPLAIN ANALYZE SELECT b FROM t WHERE a = 1");
    assert_non_null(strstr(plan, "LAKE_SCAN"));
    assert_null(strstr(plan, "lake://"));
    assert_null(strstr(plan, "one.parquet"));
}

static void at_asks_for_versions_and_times(void **state)
{
    add_simple();
    assert_string_equal(lab_rows("SELECT count(*) FROM t AT (VERSION => 7)"), "[3]");
    assert_string_equal(
        lab_rows("SELECT count(*) FROM t AT (TIMESTAMP => TIMESTAMP '2024-01-01 00:00:00')"),
        "[3]");
    assert_string_equal(lab_rows("SELECT count(*) FROM t AT (TIMESTAMP => '2024-01-01')"), "[3]");
    assert_string_equal(
        lab_rows("SELECT count(*) FROM t AT (TIMESTAMP => TIMESTAMPTZ '2024-01-01 02:00:00+02')"),
        "[3]");
    assert_string_equal(
        lab_rows("SELECT x.a FROM t x JOIN t AS y AT (VERSION => 7) USING (a) ORDER BY 1"),
        "[0],[1],[2]");
    assert_fails("SELECT * FROM t AT (VERSION => 8)", E_NOT_FOUND,
                 "line 1, column 15: table \"t\" has no snapshot 8");
    assert_fails("SELECT * FROM t AT (TIMESTAMP => TIMESTAMPTZ '2024-01-01 01:59:59+02')",
                 E_NOT_FOUND, "did not exist");
    assert_fails("SELECT * FROM t AT (TIMESTAMP => 'yesterday')", E_INVALID, "2026-01-31");
}

/* --- columns by field id --- */

static void columns_follow_their_ids(void **state)
{
    static const struct duck_column now[] = { COL("renamed", 2, "VARCHAR"), COL("a", 1, "BIGINT"),
                                              COL("added", 9, "DOUBLE"),
                                              COL("dec", 3, "DECIMAL(20,2)") };
    struct lab_table *table = lab_add("main", "t", now, 4);
    lab_write(table, "old.parquet", "SELECT 1::INTEGER a, 'x' b, 1.50::DECIMAL(5,2) c, 5 dropped",
              ", FIELD_IDS {a: 1, b: 2, c: 3, dropped: 4}");
    lab_write(table, "new.parquet",
              "SELECT 'y' renamed, 2::BIGINT a, 0.5::DOUBLE added, 2.25::DECIMAL(20,2) \"dec\"",
              ", FIELD_IDS {renamed: 2, a: 1, added: 9, \"dec\": 3}");
    assert_string_equal(lab_rows("SELECT * FROM t ORDER BY a"),
                        "[\"x\",1,null,1.50],[\"y\",2,0.5,2.25]");
    assert_string_equal(lab_rows("SELECT a FROM t WHERE renamed = 'x'"), "[1]");
    assert_string_equal(lab_rows("SELECT a FROM t WHERE added IS NULL"), "[1]");
    assert_string_equal(lab_rows("SELECT a FROM t WHERE added > 0"), "[2]");
    assert_string_equal(lab_rows("SELECT renamed FROM t WHERE a = 1"), "[\"x\"]");
    assert_string_equal(lab_rows("SELECT sum(\"dec\") FROM t WHERE \"dec\" >= 1.5"), "[3.75]");
}

static void swapped_names_are_not_confused(void **state)
{
    static const struct duck_column now[] = { COL("b", 1, "VARCHAR"), COL("a", 2, "VARCHAR") };
    struct lab_table *table = lab_add("main", "t", now, 2);
    lab_write(table, "old.parquet", "SELECT 'was a' a, 'was b' b", ", FIELD_IDS {a: 1, b: 2}");
    assert_string_equal(lab_rows("SELECT a, b FROM t WHERE b = 'was a'"), "[\"was b\",\"was a\"]");
}

static void nested_fields_follow_their_ids(void **state)
{
    static struct duck_column inner[] = { COL("y", 3, "VARCHAR"), COL("x", 2, "BIGINT"),
                                          COL("z", 8, "DOUBLE") };
    static struct duck_column field[] = { COL("q", 6, "VARCHAR") };
    static struct duck_column element[] = { NESTED("element", 5, "STRUCT(q VARCHAR)", field) };
    static struct duck_column pair[] = { COL("key", 11, "VARCHAR"), COL("value", 12, "BIGINT") };
    static const struct duck_column now[] = {
        NESTED("s", 1, "STRUCT(y VARCHAR, x BIGINT, z DOUBLE)", inner),
        NESTED("l", 4, "STRUCT(q VARCHAR)[]", element),
        NESTED("m", 10, "MAP(VARCHAR, BIGINT)", pair)
    };
    struct lab_table *table = lab_add("main", "t", now, 3);
    lab_write(
        table, "old.parquet",
        "SELECT {'x': 1::INTEGER, 'old': 'v'} s, [{'p': 'e'}] l, MAP {'k': 7::INTEGER} m",
        ", FIELD_IDS {s: {__duckdb_field_id: 1, x: 2, old: 3}, l: {__duckdb_field_id: 4, element: {__duckdb_field_id: 5, p: 6}}, m: {__duckdb_field_id: 10, key: 11, value: 12}}");
    assert_string_equal(lab_rows("SELECT * FROM t"),
                        "[{\"y\":\"v\",\"x\":1,\"z\":null},[{\"q\":\"e\"}],{\"k\":7}]");
    assert_string_equal(lab_rows("SELECT s.x FROM t WHERE s.y = 'v'"), "[1]");
    assert_string_equal(lab_rows("SELECT s.y FROM t WHERE s.x = 1"), "[\"v\"]");
    assert_string_equal(lab_rows("SELECT count(*) FROM t WHERE s.z IS NULL"), "[1]");
    assert_string_equal(lab_rows("SELECT count(*) FROM t WHERE s.z > 1"), "[0]");
}

static void swapped_struct_fields_are_filtered_right(void **state)
{
    static struct duck_column inner[] = { COL("b", 2, "BIGINT"), COL("a", 3, "BIGINT") };
    static const struct duck_column now[] = { NESTED("s", 1, "STRUCT(b BIGINT, a BIGINT)", inner) };
    struct lab_table *table = lab_add("main", "t", now, 1);
    lab_write(table, "old.parquet", "SELECT {'a': i, 'b': -i} s FROM range(3) r(i)",
              ", FIELD_IDS {s: {__duckdb_field_id: 1, a: 2, b: 3}}");
    assert_string_equal(lab_rows("SELECT s FROM t WHERE s.b = 2"), "[{\"b\":2,\"a\":-2}]");
    assert_string_equal(lab_rows("SELECT s FROM t WHERE s.a < -1"), "[{\"b\":2,\"a\":-2}]");
}

static void file_without_ids_is_read_by_name(void **state)
{
    static struct duck_column inner[] = { COL("x", 4, "BIGINT"), COL("n", 6, "VARCHAR") };
    static struct duck_column element[] = { COL("element", 8, "BIGINT") };
    static const struct duck_column now[] = { COL("b", 2, "VARCHAR"), COL("A", 1, "BIGINT"),
                                              COL("missing", 5, "DATE"),
                                              NESTED("s", 3, "STRUCT(x BIGINT, n VARCHAR)", inner),
                                              NESTED("l", 7, "BIGINT[]", element) };
    struct lab_table *table = lab_add("main", "t", now, 5);
    lab_write(table, "plain.parquet",
              "SELECT 1::INTEGER a, 'x' b, {'x': 3::INTEGER} s, [1, 2]::INTEGER[] l", "")
        ->by_name = true;
    lab_write(table, "ids.parquet", "SELECT 'y' b, 2::BIGINT a", ", FIELD_IDS {b: 2, a: 1}");
    assert_string_equal(lab_rows("SELECT * FROM t ORDER BY \"A\""),
                        "[\"x\",1,null,{\"x\":3,\"n\":null},[1,2]],[\"y\",2,null,null,null]");
    assert_string_equal(lab_rows("SELECT b FROM t WHERE \"A\" = 1 AND s.x = 3"), "[\"x\"]");
}

static void ids_go_before_names_where_a_file_has_them(void **state)
{
    static struct duck_column inner[] = { COL("q", 4, "BIGINT"), COL("p", 5, "BIGINT") };
    static struct duck_column entry[] = { COL("key", 7, "VARCHAR"), COL("value", 8, "BIGINT") };
    static const struct duck_column now[] = { COL("b", 1, "BIGINT"), COL("a", 2, "BIGINT"),
                                              NESTED("s", 3, "STRUCT(q BIGINT, p BIGINT)", inner),
                                              NESTED("m", 6, "MAP(VARCHAR, BIGINT)", entry) };
    struct lab_table *table = lab_add("main", "t", now, 4);
    /* written when column 1 was still called a, and 4 p */
    lab_write(table, "old.parquet",
              "SELECT 1::BIGINT a, 2::BIGINT b, {'p': 3, 'q': 4} s, MAP {'k': 5} m",
              ", FIELD_IDS {a: 1, b: 2, s: {__duckdb_field_id: 3, p: 4, q: 5}, "
              "m: {__duckdb_field_id: 6, key: 7, value: 8}}")
        ->by_name = true;
    lab_write(table, "plain.parquet",
              "SELECT 1::BIGINT a, 2::BIGINT b, {'p': 3, 'q': 4} s, MAP {'k': 5} m", "")
        ->by_name = true;
    assert_string_equal(lab_rows("SELECT * FROM t ORDER BY b"),
                        "[1,2,{\"q\":3,\"p\":4},{\"k\":5}],[2,1,{\"q\":4,\"p\":3},{\"k\":5}]");
}

static void table_without_files_is_empty(void **state)
{
    lab_add("main", "empty", simple, 2);
    assert_string_equal(lab_rows("SELECT * FROM empty"), "");
    assert_string_equal(lab_rows("SELECT count(*), max(a) FROM empty"), "[0,null]");
}

static void file_that_should_have_ids_and_has_none_is_an_error(void **state)
{
    struct lab_table *table = lab_add("main", "t", simple, 2);
    lab_write(table, "plain.parquet", "SELECT 1::BIGINT a, 'x' b", "");
    assert_fails("SELECT * FROM t", E_CORRUPT, "no field id");
}

static void columns_that_differ_by_case_are_told_apart(void **state)
{
    static const struct duck_column now[] = { COL("a", 1, "BIGINT"), COL("A", 2, "BIGINT") };
    struct lab_table *table = lab_add("main", "t", now, 2);
    lab_write(table, "one.parquet", "SELECT 1::BIGINT x, 2::BIGINT y", ", FIELD_IDS {x: 1, y: 2}");
    assert_string_equal(lab_query(DUCK_NDJSON, "SELECT * FROM t", NULL), "{\"a\":1,\"A_1\":2}\n");
}

static void hidden_columns_stay_hidden(void **state)
{
    static const struct duck_column now[] = { COL("_file_row", 1, "BIGINT"),
                                              COL("filename", 2, "VARCHAR") };
    struct lab_table *table = lab_add("main", "t", now, 2);
    lab_write(table, "one.parquet", "SELECT 41::BIGINT x, 'mine' y", ", FIELD_IDS {x: 1, y: 2}");
    assert_string_equal(lab_rows("SELECT * FROM t"), "[41,\"mine\"]");
    assert_string_equal(lab_rows("SELECT _file_row, filename FROM t"), "[41,\"mine\"]");
    add_simple();
    assert_fails("SELECT filename FROM main.t x, (SELECT 1) WHERE x.nothing = 1", E_INVALID,
                 "nothing");
}

/* --- pruning --- */

static const struct duck_column wide[] = { COL("i", 1, "INTEGER"),       COL("l", 2, "BIGINT"),
                                           COL("d", 3, "DECIMAL(10,2)"), COL("f", 4, "DOUBLE"),
                                           COL("day", 5, "DATE"),        COL("ts", 6, "TIMESTAMP"),
                                           COL("s", 7, "VARCHAR") };

/** Ten files of ten rows: file k has the numbers 10k .. 10k+9 in every column's way of saying
 * it. */
static struct lab_table *add_wide(void)
{
    static char text[10][16][64];
    static char name[10][16];
    struct lab_table *table = lab_add("main", "t", wide, 7);
    for (int k = 0; k < 10; k++) {
        char sql[512];
        snprintf(
            sql, sizeof sql,
            "SELECT n::INTEGER i, n l, (n + 0.25)::DECIMAL(10,2) d, n / 2 f, DATE '2024-01-01' + n::INTEGER \"day\", "
            "TIMESTAMP '2024-01-01' + to_hours(n) ts, 'user_' || lpad(n::VARCHAR, 6, '0') s FROM range(%d, %d) r(n)",
            10 * k, 10 * k + 10);
        snprintf(name[k], sizeof name[k], "w%d.parquet", k);
        struct lab_file *file = lab_write(
            table, name[k], sql, ", FIELD_IDS {i: 1, l: 2, d: 3, f: 4, \"day\": 5, ts: 6, s: 7}");
        for (int c = 0; c < 7; c++) {
            for (int end = 0; end < 2; end++) {
                int n = 10 * k + (end ? 9 : 0);
                char *out = text[k][2 * c + end];
                switch (c) {
                case 2:
                    snprintf(out, 64, "%d.25", n);
                    break;
                case 3:
                    snprintf(out, 64, "%.1f", n / 2.0);
                    break;
                case 4:
                    snprintf(out, 64, "2024-%02d-%02d",
                             n < 31   ? 1
                             : n < 60 ? 2
                             : n < 91 ? 3
                                      : 4,
                             n < 31   ? n + 1
                             : n < 60 ? n - 30
                             : n < 91 ? n - 59
                                      : n - 90);
                    break;
                case 5:
                    snprintf(out, 64, "2024-01-%02d %02d:00:00", 1 + n / 24, n % 24);
                    break;
                case 6:
                    snprintf(out, 64, "user_%06d", n);
                    break;
                default:
                    snprintf(out, 64, "%d", n);
                }
            }
            file->bounds[c] = (struct lab_bounds){ c + 1, text[k][2 * c], text[k][2 * c + 1], 0,
                                                   10 };
        }
    }
    table->with_bounds = true;
    return table;
}

/** The answer, and how many files were opened for it. */
static void check_pruned(const char *where, const char *rows, unsigned files)
{
    char sql[300];
    snprintf(sql, sizeof sql, "SELECT i FROM t WHERE %s ORDER BY i", where);
    lab_opens();
    const char *got = lab_rows(sql);
    unsigned opened = lab_opens();
    if (strcmp(got, rows) != 0 || opened > files) {
        fail_msg("%s: %s with %u files, expected %s with %u", where, got, opened, rows, files);
    }
}

static void pruning_opens_only_files_that_can_match(void **state)
{
    struct lab_table *table = add_wide();
    lab_write(
        table, "w9b.parquet",
        "SELECT 95::INTEGER i, 95::BIGINT l, 95.25::DECIMAL(10,2) d, 47.5::DOUBLE f, DATE '2024-04-05' \"day\", TIMESTAMP '2024-01-04 23:00:00' ts, 'user_000095' s",
        ", FIELD_IDS {i: 1, l: 2, d: 3, f: 4, \"day\": 5, ts: 6, s: 7}");
    check_pruned("i = 37", "[37]", 2); /* the file without bounds is always looked at */
    check_pruned("37 = i", "[37]", 2);
    check_pruned("i < 3", "[0],[1],[2]", 2);
    check_pruned("i >= 98", "[98],[99]", 2);
    check_pruned("i > 98", "[99]", 2);
    check_pruned("i <= 0", "[0]", 2);
    check_pruned("i BETWEEN 38 AND 41", "[38],[39],[40],[41]", 3);
    check_pruned("i IN (5, 55)", "[5],[55]", 3);
    check_pruned("i = 5 OR i = 55", "[5],[55]", 3);
    check_pruned("l = 12 AND i > 0", "[12]", 2);
    check_pruned("d = 20.25", "[20]", 2);
    check_pruned("f = 15.0", "[30]", 2);
    check_pruned("f < 0.5", "[0]", 2);
    check_pruned("\"day\" = DATE '2024-02-10'", "[40]", 2);
    check_pruned("ts = TIMESTAMP '2024-01-02 01:00:00'", "[25]", 2);
    check_pruned("s = 'user_000077'", "[77]", 2);
    check_pruned("s > 'user_000097' AND s < 'user_000099'", "[98]", 2);
    check_pruned("i IS NULL", "", 1);
    check_pruned("i = 1000", "", 1);
    check_pruned("i % 10 = 3 AND i < 20", "[3],[13]", 3);
}

static void pruning_believes_no_upper_bound_against_nan(void **state)
{
    struct lab_table *table = lab_add("main", "nan", wide, 7);
    table->with_bounds = true;
    lab_write(table, "nan.parquet", "SELECT 1::INTEGER i, 'NaN'::DOUBLE f UNION ALL SELECT 2, 0.5",
              ", FIELD_IDS {i: 1, f: 4}")
        ->bounds[0] = (struct lab_bounds){ 4, "0.5", "0.5", 0, 2 };
    assert_string_equal(lab_rows("SELECT i FROM nan WHERE f > 5"), "[1]");
    assert_string_equal(lab_rows("SELECT i FROM nan WHERE f = 'NaN'::DOUBLE"), "[1]");
    assert_string_equal(lab_rows("SELECT i FROM nan WHERE f >= 0.5 ORDER BY i"), "[1],[2]");
    lab_opens();
    assert_string_equal(lab_rows("SELECT i FROM nan WHERE f < 0.5"), "");
    assert_int_equal(lab_opens(), 0);
}

static void count_reads_no_file(void **state)
{
    add_simple();
    lab_opens();
    assert_string_equal(lab_rows("SELECT count(*) FROM t"), "[3]");
    assert_int_equal(lab_opens(), 0);
}

/* --- the same answer as a plain table, whatever is pruned --- */

enum { RANDOM_FILES = 24, RANDOM_ROWS = 40 };

static void add_random(unsigned *seed)
{
    static const struct duck_column columns[] = { COL("k", 1, "BIGINT"), COL("v", 2, "INTEGER"),
                                                  COL("s", 3, "VARCHAR") };
    static char name[RANDOM_FILES][16], text[RANDOM_FILES][4][24];
    struct lab_table *table = lab_add("main", "t", columns, 3);
    struct lab_table *all = lab_add("main", "p", columns, 3);
    table->with_bounds = true;
    char whole[RANDOM_FILES * 90];
    size_t len = 0;
    for (int f = 0; f < RANDOM_FILES; f++) {
        int low = rand_r(seed) % 1000;
        int step = 1 + rand_r(seed) % 5;
        char sql[256];
        snprintf(
            sql, sizeof sql,
            "SELECT (%d + n * %d) k, ((n * 7919 + %d) %% 50)::INTEGER v, 's' || lpad((%d + n * %d)::VARCHAR, 5, '0') s FROM range(%d) r(n)",
            low, step, f, low, step, RANDOM_ROWS);
        snprintf(name[f], sizeof name[f], "r%d.parquet", f);
        struct lab_file *file = lab_write(table, name[f], sql, ", FIELD_IDS {k: 1, v: 2, s: 3}");
        int high = low + (RANDOM_ROWS - 1) * step;
        snprintf(text[f][0], 24, "%d", low);
        snprintf(text[f][1], 24, "%d", high);
        snprintf(text[f][2], 24, "s%05d", low);
        snprintf(text[f][3], 24, "s%05d", high);
        file->bounds[0] = (struct lab_bounds){ 1, text[f][0], text[f][1], 0, RANDOM_ROWS };
        file->bounds[1] = (struct lab_bounds){ 3, text[f][2], text[f][3], 0, RANDOM_ROWS };
        len += (size_t)snprintf(whole + len, sizeof whole - len, "%s'spool://%s'", f ? ", " : "",
                                name[f]);
    }
    char sql[RANDOM_FILES * 90 + 100];
    snprintf(sql, sizeof sql, "SELECT * FROM read_parquet([%s])", whole);
    lab_write(all, "all.parquet", sql, ", FIELD_IDS {k: 1, v: 2, s: 3}");
}

static void pruned_answers_are_those_of_a_plain_table(void **state)
{
    static const char *const shapes[] = {
        "SELECT k, v, s FROM %s WHERE k > %d ORDER BY k, v, s LIMIT %d",
        "SELECT k, v, s FROM %s WHERE k < %d ORDER BY v DESC, k, s LIMIT %d",
        "SELECT s, k FROM %s WHERE s >= 's' || lpad('%d', 5, '0') ORDER BY k DESC, s LIMIT %d",
        "SELECT k, count(*), min(v) FROM %s WHERE k BETWEEN %d AND 700 GROUP BY k ORDER BY k LIMIT %d",
        "SELECT a.k, a.s, b.v FROM %1$s a JOIN %1$s b ON a.k = b.k WHERE a.k = %2$d ORDER BY ALL LIMIT %3$d",
        "SELECT a.k, a.v FROM %1$s a WHERE a.k IN (SELECT k FROM %1$s WHERE k > %2$d AND v = 3) ORDER BY ALL LIMIT %3$d",
        "SELECT * FROM (SELECT k, v, s FROM %s WHERE k >= %d ORDER BY s, v, k LIMIT %d) ORDER BY ALL",
        "SELECT sum(k), count(*) FROM %s WHERE k = %d OR v = %d",
        "SELECT k, v, s, row_number() OVER (ORDER BY k, v, s) FROM %s WHERE k <> %d ORDER BY k DESC, v, s LIMIT %d",
    };
    unsigned seed = 20260101;
    add_random(&seed);
    for (int round = 0; round < 180; round++) {
        char lake[400], plain[400];
        const char *shape = shapes[round % ARRAY_LEN(shapes)];
        int bound = rand_r(&seed) % 1250;
        int limit = 1 + rand_r(&seed) % 30;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        snprintf(lake, sizeof lake, shape, "t", bound, limit);
        snprintf(plain, sizeof plain, shape, "p", bound, limit);
#pragma GCC diagnostic pop
        char *expected = strdup(lab_rows(plain));
        const char *got = lab_rows(lake);
        if (strcmp(got, expected) != 0) {
            fail_msg("%s\n  gave     %.300s\n  expected %.300s", lake, got, expected);
        }
        free(expected);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup(name, lab_reset)
        TEST(table_is_found_by_every_spelling_of_its_name),
        TEST(statement_asks_for_a_table_once),
        TEST(missing_table_is_told_with_near_misses),
        TEST(names_are_listed),
        TEST(describe_and_summarize_work),
        TEST(explain_shows_the_scan_and_no_path),
        TEST(at_asks_for_versions_and_times),
        TEST(columns_follow_their_ids),
        TEST(swapped_names_are_not_confused),
        TEST(nested_fields_follow_their_ids),
        TEST(swapped_struct_fields_are_filtered_right),
        TEST(file_without_ids_is_read_by_name),
        TEST(ids_go_before_names_where_a_file_has_them),
        TEST(table_without_files_is_empty),
        TEST(file_that_should_have_ids_and_has_none_is_an_error),
        TEST(columns_that_differ_by_case_are_told_apart),
        TEST(hidden_columns_stay_hidden),
        TEST(pruning_opens_only_files_that_can_match),
        TEST(pruning_believes_no_upper_bound_against_nan),
        TEST(count_reads_no_file),
        TEST(pruned_answers_are_those_of_a_plain_table),
    };
    return cmocka_run_group_tests(tests, lab_open, lab_close);
}
