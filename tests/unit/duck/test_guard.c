/*
 * The box: every function that the library has is refused or was looked at; statements that write,
 * read files or look at the process are refused, however they are written; and what passes the
 * first wall by mistake meets the second.
 */
#include "lab.h"
#include "reviewed_functions.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define COL(n, i, t) { .name = STR_INIT(n), .id = (i), .type = STR_INIT(t) }

static const struct duck_column simple[] = { COL("a", 1, "BIGINT"), COL("b", 2, "VARCHAR") };

static int with_table(void **state)
{
    lab_reset(state);
    lab_write(lab_add("main", "t", simple, 2), "t.parquet",
              "SELECT i a, 'row ' || i b FROM range(3) r(i)", ", FIELD_IDS {a: 1, b: 2}");
    return 0;
}

/* --- every function of the library --- */

static const char *const ALLOWED_TABLE_FUNCTIONS[] = {
    "unnest",          "range",          "generate_series",
    "repeat",          "repeat_row",     "json_each",
    "json_tree",       "duckdb_columns", "duckdb_functions",
    "duckdb_keywords", "duckdb_schemas", "duckdb_tables",
    "duckdb_types",    "duckdb_views",   "pg_timezone_names",
    "test_all_types",  "summary",        "icu_calendar_names",
    "vector_search",   "vector_items",
};

static bool listed(const char *const *list, size_t count, struct str name)
{
    for (size_t i = 0; i < count; i++) {
        if (str_eq(name, str_of(list[i]))) {
            return true;
        }
    }
    return false;
}

struct sweep {
    unsigned tried, refused, allowed;
    char problems[4096];
};

static bool refused_by_name(const char *sql, struct str name)
{
    enum status status = lab_error(sql, NULL);
    return status == E_INVALID && strstr(lab_err.msg, "is not allowed here") &&
           strstr(lab_err.msg, "line 1, column") &&
           (strstr(lab_err.msg, "CALL") || str_find(str_of(lab_err.msg), name) != SIZE_MAX);
}

static enum status try_function(void *ctx, const struct str *cells, size_t count, struct err *err)
{
    struct sweep *sweep = ctx;
    struct str type = cells[0], name = cells[1];
    char sql[256];
    bool is_table = str_starts(type, STR("table"));
    if (str_eq(type, STR("pragma"))) {
        snprintf(sql, sizeof sql, "CALL \"%.*s\"()", STR_ARG(name));
    } else if (is_table) {
        snprintf(sql, sizeof sql, "SELECT * FROM \"%.*s\"()", STR_ARG(name));
    } else {
        snprintf(sql, sizeof sql, "SELECT \"%.*s\"()", STR_ARG(name));
    }
    bool refused = refused_by_name(sql, name);
    bool may_pass = is_table
                        ? listed(ALLOWED_TABLE_FUNCTIONS, ARRAY_LEN(ALLOWED_TABLE_FUNCTIONS), name)
                        : !str_eq(type, STR("pragma")) &&
                              (listed(REVIEWED_FUNCTIONS, ARRAY_LEN(REVIEWED_FUNCTIONS), name) ||
                               str_starts(name, STR("icu_collate_")));
    sweep->tried++;
    sweep->refused += refused;
    sweep->allowed += may_pass;
    if (refused == may_pass) {
        size_t len = strlen(sweep->problems);
        snprintf(sweep->problems + len, sizeof sweep->problems - len, "%.*s %.*s %s (%s)\n",
                 STR_ARG(type), STR_ARG(name),
                 refused ? "is refused, but reviewed as harmless"
                         : "passes and was never looked at",
                 lab_err.msg);
    }
    return OK;
}

static void every_function_of_the_library_is_refused_or_was_looked_at(void **state)
{
    struct sweep sweep = { 0 };
    struct duck_session *session = lab_session(true);
    assert_ok(duck_rows(
        session,
        STR("SELECT DISTINCT function_type, function_name FROM duckdb_functions() ORDER BY ALL"),
        try_function, &sweep, &lab_err));
    duck_session_close(session);
    if (sweep.problems[0]) {
        fail_msg("%s", sweep.problems);
    }
    assert_true(sweep.tried > 900);
    assert_true(sweep.refused > 120);
    assert_string_equal(lab_rows("SELECT 1"), "[1]");
}

static enum status add_line(void *ctx, const struct str *cells, size_t count, struct err *err)
{
    return buf_printf(ctx, "%.*s\n", STR_ARG(cells[0]));
}

static void reviewed_lists_name_only_what_exists(void **state)
{
    struct duck_session *session = lab_session(true);
    struct buf names;
    buf_init(&names, 0);
    assert_int_equal(buf_append_char(&names, '\n'), OK);
    assert_ok(duck_rows(session, STR("SELECT DISTINCT function_name FROM duckdb_functions()"),
                        add_line, &names, &lab_err));
    for (size_t i = 0; i < ARRAY_LEN(REVIEWED_FUNCTIONS); i++) {
        char line[100];
        snprintf(line, sizeof line, "\n%s\n", REVIEWED_FUNCTIONS[i]);
        if (str_find(buf_str(&names), str_of(line)) == SIZE_MAX) {
            fail_msg("the library has no function \"%s\"", REVIEWED_FUNCTIONS[i]);
        }
    }
    buf_done(&names);
    duck_session_close(session);
}

static void denied_functions_are_found_wherever_they_stand(void **state)
{
    static const char *const places[] = {
        "SELECT %s",
        "SELECT 1 WHERE %s IS NULL",
        "SELECT 1 GROUP BY %s",
        "SELECT 1 HAVING %s = 'x'",
        "SELECT 1 ORDER BY %s",
        "SELECT 1 LIMIT length(%s)",
        "SELECT 1 OFFSET length(%s)",
        "SELECT row_number() OVER (ORDER BY %s)",
        "SELECT sum(1) OVER (PARTITION BY %s)",
        "SELECT sum(1) FILTER (%s = '')",
        "SELECT list(1 ORDER BY %s)",
        "SELECT lag(1, 1, %s) OVER ()",
        "SELECT (SELECT %s)",
        "SELECT EXISTS (SELECT %s)",
        "SELECT 1 IN (SELECT %s)",
        "SELECT %s IN (SELECT 'x')",
        "SELECT CASE WHEN true THEN %s END",
        "SELECT %s::VARCHAR",
        "SELECT %s BETWEEN 'a' AND 'b'",
        "SELECT [%s]",
        "SELECT {'x': %s}",
        "SELECT list_transform([1], lambda x: %s)",
        "SELECT coalesce(NULL, %s)",
        "SELECT * FROM (VALUES (%s)) v",
        "SELECT * FROM range(length(%s)) r",
        "SELECT * FROM t JOIN t u ON %s = t.b",
        "SELECT * FROM t, LATERAL (SELECT %s) x",
        "WITH c AS (SELECT %s) SELECT * FROM c",
        "WITH c AS MATERIALIZED (SELECT %s) SELECT 1",
        "WITH RECURSIVE c AS (SELECT %s x UNION ALL SELECT x FROM c WHERE false) SELECT * FROM c",
        "SELECT 1 UNION SELECT %s",
        "SELECT DISTINCT ON (%s) 1",
        "SELECT * REPLACE (%s AS a) FROM t",
        "SELECT COLUMNS(c -> c = %s) FROM t",
        "SELECT 1 QUALIFY row_number() OVER () = length(%s)",
        "SELECT * FROM t AT (VERSION => %s)",
        "FROM (PIVOT t ON a IN (1) USING max(%s))",
        "PIVOT t ON a || %s USING count(*)",
        "PIVOT t ON a USING max(%s)",
        "PIVOT (SELECT %s x, a FROM t) ON a USING count(*)",
        "EXPLAIN SELECT %s",
        "EXPLAIN ANALYZE SELECT %s",
        "DESCRIBE SELECT %s",
        "SUMMARIZE SELECT %s",
        "SELECT 1; SELECT %s",
        "SELECT max(%s)",
        "SELECT TRY(%s)",
        "SELECT %s COLLATE NOCASE",
    };
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        char sql[300];
        lab_resolves();
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        snprintf(sql, sizeof sql, places[i], "current_setting('temp_directory')");
#pragma GCC diagnostic pop
        enum status status = lab_error(sql, NULL);
        if (status != E_INVALID ||
            !strstr(lab_err.msg, "\"current_setting\" is not allowed here")) {
            fail_msg("%s gave %s: %s", sql, status_name(status), lab_err.msg);
        }
        assert_int_equal(lab_resolves(), 0); /* refused before anything was bound */
    }
}

static void denied_functions_are_found_under_every_spelling(void **state)
{
    static const char *const spellings[] = { "CURRENT_SETTING('x')",
                                             "Current_Setting('x')",
                                             "\"current_setting\"('x')",
                                             "main.current_setting('x')",
                                             "system.main.current_setting('x')",
                                             "pg_catalog.current_setting('x')",
                                             "('x').current_setting()",
                                             "current_setting /* */ ('x')" };
    for (size_t i = 0; i < ARRAY_LEN(spellings); i++) {
        char sql[100];
        snprintf(sql, sizeof sql, "SELECT %s", spellings[i]);
        assert_fails(sql, E_INVALID, "is not allowed here");
    }
    assert_fails("SELECT * FROM READ_TEXT('/etc/passwd')", E_INVALID, "is not allowed here");
    assert_fails("SELECT * FROM system.main.read_text('/etc/passwd')", E_INVALID,
                 "is not allowed here");
    assert_fails("SELECT * FROM \"read_text\"('/etc/passwd')", E_INVALID, "is not allowed here");
}

/* --- known attacks: none may succeed --- */

static const char *const ATTACKS[] = {
    "SELECT * FROM read_text('/etc/hostname')",
    "SELECT * FROM read_blob('/etc/*')",
    "SELECT * FROM read_csv('/etc/passwd')",
    "SELECT * FROM read_csv_auto('/etc/passwd')",
    "SELECT * FROM read_json('/proc/self/environ')",
    "SELECT * FROM read_parquet('lake://lab/t.parquet')",
    "SELECT * FROM parquet_scan('lake://lab/t.parquet')",
    "SELECT * FROM parquet_metadata('lake://lab/t.parquet')",
    "SELECT * FROM parquet_full_metadata('lake://lab/t.parquet')",
    "SELECT * FROM glob('/*')",
    "SELECT * FROM sniff_csv('/etc/passwd')",
    "SELECT * FROM read_duckdb('/tmp/x.db')",
    "SELECT * FROM '/etc/passwd'",
    "SELECT * FROM '/tmp/x.csv'",
    "SELECT * FROM 'lake://lab/t.parquet'",
    "SELECT * FROM \"lake://lab/t.parquet\"",
    "FROM 'https://example.com/x.parquet'",
    "SELECT * FROM enable_logging(storage='file', storage_path='/nope')",
    "SELECT * FROM enable_logging('QueryLog')",
    "SELECT * FROM disable_logging()",
    "SELECT * FROM duckdb_logs()",
    "SELECT * FROM duckdb_logs",
    "SELECT * FROM main.duckdb_logs",
    "SELECT * FROM system.main.duckdb_logs",
    "SELECT * FROM duckdb_log_contexts()",
    "SELECT * FROM duckdb_settings()",
    "SELECT * FROM duckdb_settings",
    "SELECT * FROM DUCKDB_SETTINGS",
    "SELECT * FROM \"duckdb_settings\"",
    "SELECT * FROM duckdb_secrets()",
    "SELECT * FROM duckdb_temporary_files()",
    "SELECT * FROM duckdb_memory()",
    "SELECT * FROM duckdb_extensions()",
    "SELECT * FROM duckdb_variables()",
    "SELECT * FROM duckdb_external_file_cache()",
    "SELECT * FROM pg_catalog.pg_settings",
    "SELECT * FROM pg_settings",
    "SELECT * FROM system.pg_catalog.pg_settings",
    "SELECT * FROM query('SELECT 1')",
    "SELECT * FROM query_table('duckdb_settings')",
    "SELECT * FROM json_execute_serialized_sql(json_serialize_sql('SELECT * FROM duckdb_settings()'))",
    "SELECT json_serialize_plan('SELECT * FROM read_csv(''/etc/passwd'')')",
    "SELECT * FROM histogram(t, a)",
    "SELECT * FROM histogram_values(duckdb_settings, name)",
    "SELECT * FROM arrow_scan(1::POINTER, 1::POINTER, 1::POINTER)",
    "SELECT * FROM seq_scan('t')",
    "SELECT * FROM pragma_database_size()",
    "SELECT * FROM pragma_storage_info('t')",
    "SELECT get_block_size('lake')",
    "SELECT * FROM sql_auto_complete('SEL')",
    "SELECT getvariable('x')",
    "SELECT write_log('x')",
    "SELECT getenv('HOME')",
    "SELECT nextval('s')",
    "WITH duckdb_settings AS (SELECT * FROM duckdb_settings) SELECT * FROM duckdb_settings",
    "WITH a AS (SELECT * FROM duckdb_logs), duckdb_logs AS (SELECT 1) SELECT * FROM a",
    "SELECT * FROM (WITH duckdb_settings AS (SELECT 1) SELECT 1) x, duckdb_settings",
    "WITH x AS (SELECT 1) SELECT * FROM main.x",
    "SELECT (WITH duckdb_settings AS (SELECT 1 a) SELECT a FROM duckdb_settings), * FROM duckdb_settings",
    "WITH x AS (INSERT INTO t VALUES (1, 'x') RETURNING a) SELECT * FROM x",
    "DESCRIBE duckdb_settings",
    "SUMMARIZE duckdb_settings",
    "SHOW duckdb_settings",
    "SHOW memory_limit",
    "SHOW variables",
    "DESCRIBE system.main.duckdb_settings",
    "EXPLAIN SELECT * FROM duckdb_settings()",
    "EXPLAIN ANALYZE SELECT * FROM duckdb_settings()",
    "SELECT * FROM t, duckdb_settings() s",
    "SELECT * FROM t WHERE b IN (SELECT name FROM duckdb_settings())",
    "SELECT * FROM memory.main.t",
    "SELECT * FROM temp.main.t",
    "FROM (SHOW DATABASES), duckdb_settings()",
    "PIVOT duckdb_settings ON name USING count(*)",
    "PIVOT duckdb_settings() ON name USING count(*)",
    "PIVOT (SELECT * FROM duckdb_settings) ON name USING count(*)",
    "SELECT * FROM t PIVOT (count(*) FOR a IN some_type)",
};

static void known_attacks_fail(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(ATTACKS); i++) {
        enum status status = lab_error(ATTACKS[i], NULL);
        if (status != E_INVALID && status != E_NOT_FOUND) {
            fail_msg("%s gave %s: %s", ATTACKS[i], status_name(status),
                     status == OK ? "an answer" : lab_err.msg);
        }
    }
    assert_string_equal(lab_rows("SELECT count(*) FROM t"), "[3]");
}

/* --- statements that write --- */

static void statements_that_write_say_what_to_use(void **state)
{
    static const char *const writes[][2] = {
        { "INSERT INTO t VALUES (1, 'x')",
          "INSERT is not allowed here: a statement that writes stands alone" },
        { "INSERT INTO t SELECT * FROM t", "INSERT is not allowed here" },
        { "UPDATE t SET a = 1", "UPDATE is not allowed here" },
        { "DELETE FROM t", "DELETE is not allowed here" },
        { "TRUNCATE t", "is not allowed here" },
        { "MERGE INTO t USING t u ON t.a = u.a WHEN MATCHED THEN DELETE",
          "MERGE is not allowed here" },
        { "CREATE TABLE x AS SELECT 1",
          "CREATE is not allowed here: a statement that writes stands alone" },
        { "CREATE VIEW v AS SELECT 1", "CREATE is not allowed here" },
        { "CREATE TEMP TABLE x (a INTEGER)", "CREATE is not allowed here" },
        { "CREATE MACRO m() AS 1", "is not allowed here" },
        { "CREATE SECRET s (TYPE s3)", "is not allowed here" },
        { "CREATE INDEX i ON t (a)", "is not allowed here" },
        { "ALTER TABLE t ADD COLUMN c INTEGER",
          "ALTER is not allowed here: a statement that writes stands alone" },
        { "DROP TABLE t", "DROP is not allowed here: a statement that writes stands alone" },
        { "COPY t TO '/tmp/x.csv'", "COPY is not allowed here" },
        { "COPY t FROM '/etc/passwd'", "COPY is not allowed here" },
        { "COPY (SELECT 1) TO 'spool://x'", "COPY is not allowed here" },
        { "EXPORT DATABASE '/tmp/x'", "EXPORT is not allowed here" },
        { "IMPORT DATABASE '/tmp/x'", "is not allowed here" },
        { "ATTACH '/tmp/x.db'", "ATTACH is not allowed here: all tables are in the lake" },
        { "ATTACH '' AS l2 (TYPE lake)", "ATTACH is not allowed here" },
        { "DETACH lake", "DETACH is not allowed here" },
        { "USE system", "is not allowed here" },
        { "SET memory_limit = '100GB'", "SET is not allowed here" },
        { "SET VARIABLE x = 1", "SET is not allowed here" },
        { "RESET threads", "is not allowed here" },
        { "PRAGMA database_list", "PRAGMA is not allowed here" },
        { "PRAGMA threads=4", "is not allowed here" },
        { "INSTALL httpfs", "LOAD is not allowed here" },
        { "LOAD '/tmp/x.duckdb_extension'", "LOAD is not allowed here" },
        { "UPDATE EXTENSIONS", "is not allowed here" },
        { "CALL pragma_version()", "CALL is not allowed here" },
        { "CALL enable_logging()", "CALL is not allowed here" },
        { "PREPARE p AS SELECT 1", "PREPARE is not allowed here: send the statement itself" },
        { "EXECUTE p", "EXECUTE is not allowed here" },
        { "BEGIN", "is not allowed here" },
        { "COMMIT", "is not allowed here" },
        { "CHECKPOINT", "is not allowed here" },
        { "VACUUM", "VACUUM is not allowed here" },
        { "ANALYZE", "is not allowed here" },
        { "EXPLAIN INSERT INTO t VALUES (1, 'x')", "INSERT is not allowed here" },
        { "EXPLAIN ANALYZE CREATE TABLE x AS SELECT 1", "CREATE is not allowed here" },
        { "CREATE TYPE x AS ENUM (SELECT b FROM t)", "CREATE is not allowed here" },
        { "CREATE TABLE x AS PIVOT t ON b USING sum(a)", "CREATE is not allowed here" },
        { "SELECT 1; DELETE FROM t", "line 1, column 11: DELETE is not allowed here" },
    };
    for (size_t i = 0; i < ARRAY_LEN(writes); i++) {
        enum status status = lab_error(writes[i][0], NULL);
        if (status != E_INVALID || !strstr(lab_err.msg, writes[i][1])) {
            fail_msg("%s gave %s: %s", writes[i][0], status_name(status), lab_err.msg);
        }
    }
}

/* --- what must pass --- */

static void ordinary_statements_pass(void **state)
{
    static const char *const fine[] = {
        "SELECT 1",
        "VALUES (1), (2)",
        "FROM t",
        "TABLE t",
        "FROM t SELECT a WHERE a > 0",
        "WITH c AS (SELECT a FROM t), d AS (SELECT * FROM c) SELECT * FROM d JOIN c USING (a)",
        "WITH t AS (SELECT 5 AS five) SELECT five FROM t",
        "WITH RECURSIVE f(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM f WHERE n < 5) SELECT * FROM f",
        "WITH RECURSIVE f(n, m) USING KEY (n) AS (SELECT 1, 2 UNION SELECT n, m + 1 FROM recurring.f WHERE m < 5) SELECT * FROM f",
        "SELECT * FROM (PIVOT t ON b IN ('row 1') USING sum(a))",
        "PIVOT t ON b IN ('row 1', 'row 2') USING sum(a)",
        "PIVOT t ON b USING sum(a)",
        "EXPLAIN PIVOT t ON b USING sum(a)",
        "DESCRIBE PIVOT t ON b USING sum(a)",
        "UNPIVOT (SELECT a, a + 1 AS c FROM t) ON a, c INTO NAME k VALUE v",
        "SELECT unnest([1, 2]), generate_series FROM generate_series(1, 2)",
        "SELECT * FROM t, unnest([a, a + 1]) u(x)",
        "SELECT * FROM range(3) r, LATERAL (SELECT a FROM t WHERE t.a = r.range)",
        "SELECT a, sum(a) OVER (ORDER BY b ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM t",
        "SELECT list_transform([1, 2], lambda x: x + 1), [x * 2 for x in [1, 2]]",
        "SELECT * FROM json_each('{\"a\": 1}')",
        "SELECT '{\"a\": 1}'::JSON -> 'a', json_extract('[1]', '$[0]')",
        "SELECT * EXCLUDE (b) FROM t ORDER BY ALL",
        "SELECT count(*) FILTER (a > 1), string_agg(b, ',' ORDER BY a) FROM t",
        "SELECT * FROM t TABLESAMPLE 50 PERCENT (bernoulli)",
        "SELECT * FROM t ASOF JOIN t u ON t.a >= u.a",
        "SELECT * FROM t POSITIONAL JOIN t u",
        "SELECT a FROM t UNION ALL BY NAME SELECT a FROM t",
        "SELECT a FROM t GROUP BY ROLLUP (a)",
        "SELECT DISTINCT ON (b) * FROM t",
        "SELECT COLUMNS('a|b') FROM t",
        "SELECT * FROM information_schema.tables",
        "SELECT * FROM information_schema.columns",
        "SELECT * FROM information_schema.schemata",
        "SELECT * FROM lake.information_schema.tables",
        "SELECT table_name FROM duckdb_tables()",
        "SHOW TABLES",
        "SHOW TABLES FROM lake",
        "SHOW TABLES FROM system", /* a namespace like any other, and empty */
        "SHOW ALL TABLES",
        "SHOW SCHEMAS",
        "DESCRIBE t",
        "DESCRIBE main.t",
        "SUMMARIZE t",
        "EXPLAIN SELECT * FROM t",
        "EXPLAIN ANALYZE SELECT * FROM t",
        "EXPLAIN (FORMAT json) SELECT * FROM t",
        "SELECT now(), current_date, current_user, version(), random(), uuid()",
        "SELECT date_trunc('month', TIMESTAMP '2024-05-06'), strftime(DATE '2024-01-01', '%Y')",
        "SELECT TIMESTAMPTZ '2024-05-06 00:00:00+00' AT TIME ZONE 'Europe/Berlin'",
        "SELECT * FROM test_all_types()",
        "SELECT (SELECT max(a) FROM t) - a FROM t",
        "SELECT * FROM t x WHERE EXISTS (FROM t y WHERE y.a = x.a + 1)",
        "SELECT struct_pack(a := 1).a, {'x': 1}['x'], [1, 2][1]",
    };
    for (size_t i = 0; i < ARRAY_LEN(fine); i++) {
        (void)lab_query(DUCK_JSON, fine[i], NULL);
    }
}

static void deep_nesting_is_refused_not_a_crash(void **state)
{
    size_t depth = 100000;
    char *sql = malloc(depth * 2 + 20);
    strcpy(sql, "SELECT ");
    memset(sql + 7, '(', depth);
    sql[7 + depth] = '1';
    memset(sql + 8 + depth, ')', depth);
    sql[8 + 2 * depth] = '\0';
    assert_int_equal(lab_error(sql, NULL), E_INVALID);
    strcpy(sql, "SELECT 1");
    for (size_t i = 0; i < 3000; i++) {
        strcat(sql, "+1");
    }
    assert_int_equal(lab_error(sql, NULL), E_INVALID);
    free(sql);
}

/* --- the second wall: settings, without the guard --- */

static void walls_hold_without_the_guard(void **state)
{
    static const char *const tries[] = {
        "SELECT * FROM read_text('/etc/hostname')",
        "SELECT * FROM glob('/etc/*')",
        "COPY (SELECT 1) TO '/tmp/duck-guard-test.csv'",
        "ATTACH '/tmp/duck-guard-test.db'",
        "ATTACH '' AS l2 (TYPE lake)",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET allowed_directories = ['/']",
        "SET lock_configuration = false",
        "SET threads = 1",
        "INSERT INTO lake.main.t VALUES (1, 'x')",
        "DELETE FROM lake.main.t",
        "UPDATE lake.main.t SET a = 1",
        "CREATE TABLE lake.main.x (a INTEGER)",
        "CREATE TABLE lake.main.x AS SELECT 1",
        "DROP TABLE lake.main.t",
        "ALTER TABLE lake.main.t ADD COLUMN c INTEGER",
        "CREATE INDEX i ON lake.main.t (a)",
        "CREATE SCHEMA lake.x",
        "CREATE VIEW lake.main.v AS SELECT 1",
        "SELECT * FROM read_parquet('lake://other/t.parquet')",
    };
    for (size_t i = 0; i < ARRAY_LEN(tries); i++) {
        struct duck_session *session = lab_session(true);
        enum status status = duck_exec(session, str_of(tries[i]), &lab_err);
        duck_session_close(session);
        if (status != E_INVALID && status != E_DENIED && status != E_INTERNAL) {
            fail_msg("%s gave %s: %s", tries[i], status_name(status),
                     status == OK ? "success" : lab_err.msg);
        }
    }
    assert_string_equal(lab_rows("SELECT count(*) FROM t"), "[3]");
    assert_int_equal(access("/tmp/duck-guard-test.csv", F_OK), -1);
    assert_int_equal(access("/tmp/duck-guard-test.db", F_OK), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup(name, with_table)
        TEST(every_function_of_the_library_is_refused_or_was_looked_at),
        TEST(reviewed_lists_name_only_what_exists),
        TEST(denied_functions_are_found_wherever_they_stand),
        TEST(denied_functions_are_found_under_every_spelling),
        TEST(known_attacks_fail),
        TEST(statements_that_write_say_what_to_use),
        TEST(ordinary_statements_pass),
        TEST(deep_nesting_is_refused_not_a_crash),
        TEST(walls_hold_without_the_guard),
    };
    return cmocka_run_group_tests(tests, lab_open, lab_close);
}
