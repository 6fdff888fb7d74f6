/*
 * Statements: parameters, errors with their places, streaming, interrupts, many sessions at once,
 * our own SQL.
 */
#include "lab.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define COL(n, i, t) { .name = STR_INIT(n), .id = (i), .type = STR_INIT(t) }

static const struct duck_column simple[] = { COL("a", 1, "BIGINT"), COL("b", 2, "VARCHAR") };

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* --- memory --- */

/** Pages of our own. */
static unsigned long own_kib(void)
{
    unsigned long size = 0, resident = 0, shared = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%lu %lu %lu", &size, &resident, &shared), 3);
    fclose(file);
    return (resident - shared) * (unsigned long)sysconf(_SC_PAGE_SIZE) / 1024;
}

static void memory_that_is_free_is_given_back(void **state)
{
    const char *sort = "SELECT max(i) FROM (SELECT i FROM range(4000000) t(i) ORDER BY hash(i) "
                       "LIMIT 3000000)";
    duck_memory_trim();
    unsigned long before = own_kib();
    (void)lab_query(DUCK_NDJSON_ARRAYS, sort, NULL);
    unsigned long kept = own_kib();
    duck_memory_trim();
    unsigned long trimmed = own_kib();
    print_message("%lu KiB before, %lu kept, %lu trimmed\n", before, kept, trimmed);
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    print_message("a sanitizer's allocator keeps what is freed: not looked at here\n");
#else
    assert_true(trimmed <= kept && trimmed < before + 24 * 1024ul);
#endif
}

/* --- parameters --- */

static void check_params(const char *sql, const char *params, const char *json)
{
    assert_string_equal(lab_query(DUCK_NDJSON_ARRAYS, sql, params), json);
}

static void parameters_have_the_types_of_their_json(void **state)
{
    check_params("SELECT ?, typeof(?)", "[1, 2]", "[1,\"BIGINT\"]\n");
    check_params("SELECT typeof($1), typeof($2), typeof($3), $4", "[1.5, \"x\", true, null]",
                 "[\"DOUBLE\",\"VARCHAR\",\"BOOLEAN\",null]\n");
    check_params("SELECT $1 + $1, $2", "[20, \"b\"]", "[40,\"b\"]\n");
    check_params("SELECT $name || '!', $n", "{\"name\": \"h\xc3\xa9\", \"n\": -5}",
                 "[\"h\xc3\xa9!\",-5]\n");
    check_params("SELECT typeof($1), $1", "[9223372036854775807]",
                 "[\"BIGINT\",9223372036854775807]\n");
    check_params("SELECT i FROM range(10) t(i) WHERE i > ? ORDER BY i LIMIT ?", "[5, 2]",
                 "[6]\n[7]\n");
    check_params("SELECT 1 WHERE 'x' = ?", "[\"x\"]", "[1]\n");
    check_params("SELECT ?::DATE", "[\"2024-01-02\"]", "[\"2024-01-02\"]\n");
    check_params("SELECT 1", "[]", "[1]\n");
    check_params("SELECT 1", "null", "[1]\n");
    check_params("SELECT $1; SELECT $1 + 1", "[1]", "[2]\n");
}

static void check_bad_params(const char *sql, const char *params, const char *part)
{
    enum status status = lab_error(sql, params);
    if (status != E_INVALID || !strstr(lab_err.msg, part)) {
        fail_msg("%s with %s gave %s: %s", sql, params, status_name(status), lab_err.msg);
    }
}

static void wrong_parameters_are_told(void **state)
{
    check_bad_params("SELECT ?", NULL, "$1, but params has no value");
    check_bad_params("SELECT ?, ?", "[1]", "$2, but params has no value");
    check_bad_params("SELECT ?", "[1, 2]", "value for $2, but the statement does not use it");
    check_bad_params("SELECT $x", "{\"y\": 1}", "$");
    check_bad_params("SELECT ?", "[[1]]", "parameter 1 is nested");
    check_bad_params("SELECT $x", "{\"x\": {}}", "parameter x is nested");
    check_bad_params("SELECT ?", "5", "params is an array");
    check_bad_params("SELECT ?", "[1", "params: ");
}

static void parameters_are_not_pasted_into_the_text(void **state)
{
    check_params("SELECT ?", "[\"'; DROP TABLE t; --\"]", "[\"'; DROP TABLE t; --\"]\n");
}

/* --- errors --- */

static void errors_name_position_and_reason(void **state)
{
    lab_write(lab_add("main", "t", simple, 2), "t.parquet", "SELECT 1::BIGINT a, 'x' b",
              ", FIELD_IDS {a: 1, b: 2}");
    assert_fails("SELEC 1", E_INVALID, "line 1, column 1: syntax error");
    assert_fails("SELECT 1,\n  FROM t WHERE\n  )", E_INVALID,
                 "line 3, column 3: syntax error at or near \")\"");
    assert_fails("SELECT a,\n  zz FROM t", E_INVALID,
                 "line 2, column 3: referenced column \"zz\" not found");
    assert_fails("SELECT '\xc3\xa9\xc3\xa9', zz FROM t", E_INVALID, "line 1, column 14: ");
    assert_fails("SELECT nofunction(1)", E_INVALID, "line 1, column 8: ");
    assert_fails("SELECT 'x'::INTEGER", E_INVALID, "line 1, column ");
    assert_fails("SELECT b::INTEGER FROM t", E_INVALID, "could not convert");
    assert_fails("", E_INVALID, "no statement");
    assert_fails("  ; -- nothing\n", E_INVALID, "no statement");
    assert_fails("SELECT '\xff'", E_INVALID, "UTF-8");
    assert_fails("SELECT error('stop: at once')", E_INVALID, "stop: at once");
    assert_fails("SELECT (SELECT i FROM range(2) t(i))", E_INVALID, "row");
}

static void errors_have_no_decoration(void **state)
{
    assert_int_equal(lab_error("SELECT zz", NULL), E_INVALID);
    assert_null(strchr(lab_err.msg, '\n'));
    assert_null(strstr(lab_err.msg, "LINE"));
    assert_null(strstr(lab_err.msg, "Binder"));
    assert_null(strstr(lab_err.msg, "duckdb.org"));
}

/** Advice to change the server's settings is not for who sends a statement. */
static void errors_do_not_advise_what_is_not_allowed(void **state)
{
    char deep[4096] = "SELECT 1";
    for (size_t i = 0; i < 1200; i++) {
        strcat(deep, "+1");
    }
    const char *const statements[] = { deep, "SELECT st_point(1, 2)",
                                       "SELECT * FROM st_read('x')" };
    for (size_t i = 0; i < ARRAY_LEN(statements); i++) {
        assert_int_equal(lab_error(statements[i], NULL), E_INVALID);
        if (strstr(lab_err.msg, "SET ") || strstr(lab_err.msg, "LOAD ")) {
            fail_msg("%s", lab_err.msg);
        }
    }
}

static void too_much_memory_is_its_own_kind(void **state)
{
    struct duck *small = NULL;
    struct duck_session *session = NULL;
    struct duck_result *result = NULL;
    assert_ok(duck_open(&(struct duck_opts){ .threads = 2, .memory_limit_bytes = 64 << 20 }, &small,
                        &lab_err));
    assert_ok(duck_session_open(small, &(struct duck_session_opts){ 0 }, &session, &lab_err));
    assert_int_equal(
        duck_query(
            session,
            STR("SELECT count(*) FROM (SELECT DISTINCT hash(i) h, hash(i + 1), hash(i + 2) FROM range(20000000) t(i))"),
            STR_EMPTY, &result, &lab_err),
        E_NO_MEMORY);
    assert_ok(duck_query(session, STR("SELECT 1"), STR_EMPTY, &result, &lab_err));
    duck_result_free(result);
    duck_session_close(session);
    duck_close(small);
}

static void script_answers_its_last_select(void **state)
{
    assert_string_equal(lab_rows("SELECT 1; SELECT 2; SELECT 3;"), "[3]");
    assert_fails("SELECT 1; SELECT zz", E_INVALID, "line 1, column 18");
    assert_fails("SELECT error('first'); SELECT 2", E_INVALID, "first");
    assert_fails("SELECT 1; DROP TABLE t", E_INVALID, "DROP is not allowed");
}

/* --- streaming --- */

static const char PIVOTED[] = "(SELECT i % 3 AS k, 'v' || (i % 2) AS g, i FROM range(6) r(i))";

static void check_pivot(const char *head, const char *tail, const char *columns, const char *rows)
{
    char sql[512];
    snprintf(sql, sizeof sql, "%s %s %s", head, PIVOTED, tail);
    const char *answer = lab_query(DUCK_CSV, sql, NULL);
    size_t len = strlen(columns);
    if (strncmp(answer, columns, len) != 0 || strcmp(answer + len, rows) != 0) {
        fail_msg("%s gave %s", sql, answer);
    }
}

static void pivot_finds_its_values(void **state)
{
    check_pivot("PIVOT", "ON k USING sum(i) ORDER BY ALL", "g,0,1,2\r\n",
                "v0,0,4,2\r\nv1,3,1,5\r\n");
    check_pivot("PIVOT", "ON k IN (2, 0) USING sum(i) ORDER BY ALL", "g,2,0\r\n",
                "v0,2,0\r\nv1,5,3\r\n");
    check_pivot("PIVOT", "ON g, k USING max(i)", "v0_0,v0_1,v0_2,v1_0,v1_1,v1_2\r\n",
                "0,4,2,3,1,5\r\n");
    check_pivot("SELECT 1; WITH c AS", "SELECT \"1\" FROM (PIVOT c ON k USING sum(i)) ORDER BY ALL",
                "1\r\n", "1\r\n4\r\n");
    check_pivot("PIVOT (PIVOT", "ON k USING sum(i)) ON \"1\" USING sum(\"2\") ORDER BY ALL",
                "g,0,1,4\r\n", "v0,0,,2\r\nv1,3,5,\r\n");
    assert_string_equal(
        lab_query(DUCK_NDJSON, "PIVOT (SELECT 1 AS k, 2 AS v) ON k USING sum(v + ?)", "[40]"),
        "{\"1\":42}\n");
}

static void pivot_of_too_many_values_is_refused(void **state)
{
    assert_int_equal(lab_error("PIVOT (FROM range(10001)) ON range USING count(*)", NULL),
                     E_INVALID);
    assert_non_null(strstr(lab_err.msg, "PIVOT would make more than 10000 columns"));
}

static void first_rows_leave_before_the_last_are_computed(void **state)
{
    struct duck_session *session = lab_session(false);
    struct duck_result *result = NULL;
    struct duck_encoder *encoder = NULL;
    struct buf out;
    bool done = false;
    buf_init(&out, 0);
    /* the whole would take minutes */
    double started = now_s();
    assert_ok(duck_query(
        session,
        STR("SELECT a.i, md5((a.i + b.i)::VARCHAR) FROM range(1000000) a(i), range(100000) b(i)"),
        STR_EMPTY, &result, &lab_err));
    assert_ok(duck_encoder_new(result, DUCK_NDJSON, &encoder, &lab_err));
    for (int i = 0; i < 10; i++) {
        assert_ok(duck_encoder_next(encoder, &out, &done, &lab_err));
        assert_false(done);
    }
    assert_true(duck_encoder_rows(encoder) >= 10 * 1000);
    assert_true(now_s() - started < 20);
    duck_encoder_free(encoder);
    duck_result_free(result);
    duck_session_close(session);
    buf_done(&out);
}

/* A reader that is away now and then: whichever thread fails, and whoever sees it first, the reason
 * that is told is the statement's own and not that the other threads were interrupted. */
static void fail_in_the_midst(unsigned *seed)
{
    struct duck_session *session = lab_session(false);
    struct duck_result *result = NULL;
    struct duck_encoder *encoder = NULL;
    struct buf out;
    bool done = false;
    enum status status = OK;
    size_t len = 0;
    buf_init(&out, 0);
    assert_ok(duck_query(
        session,
        STR("SELECT CASE WHEN i = 300000 THEN error('late') ELSE i END FROM range(5000000) t(i)"),
        STR_EMPTY, &result, &lab_err));
    assert_ok(duck_encoder_new(result, DUCK_NDJSON, &encoder, &lab_err));
    while (status == OK && !done) {
        len = out.len;
        if (rand_r(seed) % 4 == 0) {
            usleep((useconds_t)rand_r(seed) % 300);
        }
        status = duck_encoder_next(encoder, &out, &done, &lab_err);
    }
    assert_int_equal(status, E_INVALID);
    assert_non_null(strstr(lab_err.msg, "late"));
    assert_int_equal(out.len, len);
    assert_true(len > 0 && out.ptr[len - 1] == '\n');
    duck_encoder_free(encoder);
    duck_result_free(result);
    duck_session_close(session);
    buf_done(&out);
}

static void error_in_the_midst_keeps_what_was_written(void **state)
{
    unsigned seed = 1;
    for (int i = 0; i < 200; i++) {
        fail_in_the_midst(&seed);
    }
}

/* --- interrupts --- */

static const char ENDLESS[] =
    "SELECT count(*) FROM range(10000000) a(i), range(10000000) b(i) WHERE hash(a.i + b.i) = 7";

static void *interrupt_soon(void *session)
{
    usleep(200000);
    duck_session_interrupt(session);
    return NULL;
}

static void interrupt_ends_what_runs(void **state)
{
    struct duck_session *session = lab_session(false);
    struct duck_result *result = NULL;
    pthread_t thread;
    double started = now_s();
    assert_int_equal(pthread_create(&thread, NULL, interrupt_soon, session), 0);
    enum status status = duck_query(session, str_of(ENDLESS), STR_EMPTY, &result, &lab_err);
    if (status == OK) { /* it streams: the count comes with the first fetch */
        struct duck_encoder *encoder = NULL;
        struct buf out;
        bool done;
        buf_init(&out, 0);
        assert_ok(duck_encoder_new(result, DUCK_JSON, &encoder, &lab_err));
        status = duck_encoder_next(encoder, &out, &done, &lab_err);
        duck_encoder_free(encoder);
        duck_result_free(result);
        buf_done(&out);
    }
    assert_int_equal(status, E_CANCELED);
    assert_true(now_s() - started < 10);
    pthread_join(thread, NULL);
    duck_session_close(session);
}

static void interrupt_before_the_start_is_not_lost(void **state)
{
    struct duck_session *session = lab_session(false);
    struct duck_result *result = NULL;
    duck_session_interrupt(session);
    assert_int_equal(duck_query(session, str_of(ENDLESS), STR_EMPTY, &result, &lab_err),
                     E_CANCELED);
    duck_session_close(session);
}

static void progress_is_told_from_another_thread(void **state)
{
    struct duck_session *session = lab_session(false);
    double percent = 0;
    uint64_t rows = 0;
    duck_session_progress(session, &percent, &rows);
    assert_true(percent >= -1 && percent <= 100);
    duck_session_close(session);
}

/* --- many at once --- */

static char wrong_answer[ERR_MESSAGE_MAX + 512]; /* of the last thread that got one */

static void *ask_often(void *number)
{
    char sql[100], expected[40];
    for (int i = 0; i < 60; i++) {
        struct duck_session *session = lab_session(false);
        struct duck_result *result = NULL;
        struct duck_encoder *encoder = NULL;
        struct err err = { 0 };
        struct buf out;
        bool done = false;
        int value = (int)(intptr_t)number * 1000 + i;
        buf_init(&out, 0);
        snprintf(sql, sizeof sql, "SELECT a + %d FROM t WHERE b = 'row %d'", value, i % 50);
        snprintf(expected, sizeof expected, "[%d]\n", value + i % 50);
        enum status status = duck_query(session, str_of(sql), STR_EMPTY, &result, &err);
        if (status == OK) {
            status = duck_encoder_new(result, DUCK_NDJSON_ARRAYS, &encoder, &err);
        }
        while (status == OK && !done) {
            status = duck_encoder_next(encoder, &out, &done, &err);
        }
        bool right = status == OK && str_eq(buf_str(&out), str_of(expected));
        if (!right) {
            snprintf(wrong_answer, sizeof wrong_answer, "%s gave %.*s (%s)", sql,
                     STR_ARG(buf_str(&out)), err.msg);
        }
        duck_encoder_free(encoder);
        duck_result_free(result);
        duck_session_close(session);
        buf_done(&out);
        if (!right) {
            return wrong_answer;
        }
    }
    return NULL;
}

static void sessions_in_many_threads_do_not_mix(void **state)
{
    pthread_t threads[6];
    lab_write(lab_add("main", "t", simple, 2), "t.parquet",
              "SELECT i a, 'row ' || i b FROM range(50) r(i)", ", FIELD_IDS {a: 1, b: 2}");
    for (size_t i = 0; i < ARRAY_LEN(threads); i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, ask_often, (void *)(intptr_t)i), 0);
    }
    for (size_t i = 0; i < ARRAY_LEN(threads); i++) {
        void *wrong = NULL;
        pthread_join(threads[i], &wrong);
        if (wrong) {
            fail_msg("%s", wrong_answer);
        }
    }
}

/* --- our own SQL --- */

static enum status keep_cells(void *ctx, const struct str *cells, size_t count, struct err *err)
{
    struct buf *out = ctx;
    for (size_t i = 0; i < count; i++) {
        TRY(cells[i].ptr ? buf_append(out, cells[i]) : buf_append(out, STR("NULL")));
        TRY(buf_append_char(out, i + 1 < count ? '|' : '\n'));
    }
    return OK;
}

static void trusted_session_reads_and_writes_spools(void **state)
{
    struct duck_session *session = lab_session(true);
    struct buf out;
    buf_init(&out, 0);
    assert_ok(duck_exec(
        session, STR("COPY (SELECT 1 a, NULL b, 'x,y' c) TO 'spool://w.csv' (FORMAT csv, HEADER)"),
        &lab_err));
    assert_ok(duck_rows(session, STR("SELECT * FROM read_csv('spool://w.csv', all_varchar = true)"),
                        keep_cells, &out, &lab_err));
    assert_true(str_eq(buf_str(&out), STR("1|NULL|x,y\n")));
    assert_int_equal(
        duck_exec(session, STR("COPY (SELECT 1) TO '/tmp/duck-test-escape.csv'"), &lab_err),
        E_DENIED);
    assert_int_equal(duck_exec(session, STR("SELECT * FROM read_text('/etc/hostname')"), &lab_err),
                     E_DENIED);
    assert_int_equal(duck_exec(session, STR("SET enable_external_access = true"), &lab_err),
                     E_INVALID);
    buf_done(&out);
    duck_session_close(session);
}

static enum status fail_at_once(void *ctx, const struct str *cells, size_t count, struct err *err)
{
    ++*(int *)ctx;
    return err_set(err, E_CONFLICT, "enough");
}

static void callback_failure_ends_the_rows(void **state)
{
    struct duck_session *session = lab_session(true);
    int calls = 0;
    assert_int_equal(
        duck_rows(session, STR("SELECT * FROM range(10)"), fail_at_once, &calls, &lab_err),
        E_CONFLICT);
    assert_string_equal(lab_err.msg, "enough");
    assert_int_equal(calls, 1);
    duck_session_close(session);
}

static void quotes_are_doubled(void **state)
{
    struct buf out;
    buf_init(&out, 0);
    assert_ok(duck_quote_ident(&out, STR("a\"b")));
    assert_ok(duck_quote_text(&out, STR("it's")));
    assert_true(str_eq(buf_str(&out), STR("\"a\"\"b\"'it''s'")));
    buf_done(&out);
}

static void columns_have_names_and_types(void **state)
{
    struct duck_session *session = lab_session(false);
    struct duck_result *result = NULL;
    assert_ok(duck_query(session, STR("SELECT 1::BIGINT AS n, [{'a': 1.5}] AS l"), STR_EMPTY,
                         &result, &lab_err));
    assert_int_equal(duck_result_column_count(result), 2);
    assert_true(str_eq(duck_result_column_name(result, 0), STR("n")));
    assert_true(str_eq(duck_result_column_type(result, 1), STR("STRUCT(a DECIMAL(2,1))[]")));
    duck_result_free(result);
    duck_session_close(session);
    assert_string_equal(duck_version(), "v1.5.6");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup(name, lab_reset)
        TEST(memory_that_is_free_is_given_back),
        TEST(parameters_have_the_types_of_their_json),
        TEST(wrong_parameters_are_told),
        TEST(parameters_are_not_pasted_into_the_text),
        TEST(errors_name_position_and_reason),
        TEST(errors_have_no_decoration),
        TEST(errors_do_not_advise_what_is_not_allowed),
        TEST(too_much_memory_is_its_own_kind),
        TEST(script_answers_its_last_select),
        TEST(pivot_finds_its_values),
        TEST(pivot_of_too_many_values_is_refused),
        TEST(first_rows_leave_before_the_last_are_computed),
        TEST(error_in_the_midst_keeps_what_was_written),
        TEST(interrupt_ends_what_runs),
        TEST(interrupt_before_the_start_is_not_lost),
        TEST(progress_is_told_from_another_thread),
        TEST(sessions_in_many_threads_do_not_mix),
        TEST(trusted_session_reads_and_writes_spools),
        TEST(callback_failure_ends_the_rows),
        TEST(quotes_are_doubled),
        TEST(columns_have_names_and_types),
    };
    return cmocka_run_group_tests(tests, lab_open, lab_close);
}
