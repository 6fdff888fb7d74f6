/*
 * Statements through the whole of queryd's core: a store on disk, the catalogue, the engine pool,
 * the real engine.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "lake.h"

static struct lake lake;

static int set_up(void **state)
{
    lake_open(&lake, false,
              &(struct engine_pool_opts){
                  .engines_max = 4, .spare = 2, .threads = 2, .memory_limit_bytes = 256 << 20 });
    lake_append(&lake, "birds", STR("id,name,weight\n1,wren,9.5\n2,owl,1200\n3,swift,44.5\n"));
    return 0;
}

static int tear_down(void **state)
{
    lake_close(&lake);
    return 0;
}

static void assert_answer(const char *sql, const char *expected)
{
    AUTO(buf_done) struct buf out;
    struct err err = { 0 };
    buf_init(&out, 0);
    if (lake_sql(&lake, sql, &out, &err) != OK) {
        fail_msg("%s: %s", sql, err.msg);
    }
    assert_string_equal(buf_cstr(&out), expected);
}

static void assert_error(const char *sql, enum status expected, const char *word)
{
    struct err err = { 0 };
    assert_int_equal(lake_sql(&lake, sql, NULL, &err), expected);
    if (strstr(err.msg, word) == NULL) {
        fail_msg("'%s' is not in: %s", word, err.msg);
    }
}

static void query_reads_a_table(void **state)
{
    assert_answer("SELECT id, name FROM birds WHERE weight > 10 ORDER BY id",
                  "{\"columns\":[{\"name\":\"id\",\"type\":\"BIGINT\"},"
                  "{\"name\":\"name\",\"type\":\"VARCHAR\"}],"
                  "\"rows\":[[2,\"owl\"],[3,\"swift\"]],\"row_count\":2}");
}

static void query_sees_what_was_acknowledged_before_it(void **state)
{
    for (int i = 0; i < 5; i++) {
        char expected[128];
        lake_append(&lake, "seen", STR("a\n1\n2\n"));
        snprintf(
            expected, sizeof(expected),
            "{\"columns\":[{\"name\":\"n\",\"type\":\"BIGINT\"}],\"rows\":[[%d]],\"row_count\":1}",
            2 * (i + 1));
        assert_answer("SELECT count(*) AS n FROM seen", expected);
    }
}

static void query_travels_in_time(void **state)
{
    int64_t first = lake_append(&lake, "past", STR("a\n1\n"));
    lake_append(&lake, "past", STR("a\n2\n"));
    char sql[160];
    snprintf(sql, sizeof(sql), "SELECT a FROM past AT (VERSION => %lld)", (long long)first);
    assert_answer(
        sql, "{\"columns\":[{\"name\":\"a\",\"type\":\"BIGINT\"}],\"rows\":[[1]],\"row_count\":1}");
    snprintf(sql, sizeof(sql),
             "SELECT (SELECT count(*) FROM past AT (VERSION => %lld)) AS was, "
             "(SELECT count(*) FROM past) AS is_now",
             (long long)first);
    assert_answer(sql, "{\"columns\":[{\"name\":\"was\",\"type\":\"BIGINT\"},"
                       "{\"name\":\"is_now\",\"type\":\"BIGINT\"}],"
                       "\"rows\":[[1,2]],\"row_count\":1}");
    assert_error("SELECT * FROM past AT (VERSION => 12345)", E_NOT_FOUND, "12345");
}

static void query_finds_names_as_they_are_meant(void **state)
{
    assert_answer(
        "SELECT count(*) AS n FROM BIRDS",
        "{\"columns\":[{\"name\":\"n\",\"type\":\"BIGINT\"}],\"rows\":[[3]],\"row_count\":1}");
    assert_answer(
        "SELECT count(*) AS n FROM main.birds b JOIN Birds c USING (id)",
        "{\"columns\":[{\"name\":\"n\",\"type\":\"BIGINT\"}],\"rows\":[[3]],\"row_count\":1}");
    assert_error("SELECT * FROM bird", E_NOT_FOUND, "birds");
}

static void query_reads_metadata_tables(void **state)
{
    int64_t first = lake_append(&lake, "told", STR("a\n1\n"));
    lake_append(&lake, "told", STR("a\n2\n3\n"));
    char sql[160];
    assert_answer("SELECT count(*)::INTEGER AS n, sum(record_count)::INTEGER AS r FROM told$files",
                  "{\"columns\":[{\"name\":\"n\",\"type\":\"INTEGER\"},"
                  "{\"name\":\"r\",\"type\":\"INTEGER\"}],\"rows\":[[2,3]],\"row_count\":1}");
    snprintf(sql, sizeof(sql), "SELECT record_count AS b FROM \"Told$Files\" AT (VERSION => %lld)",
             (long long)first);
    assert_answer(
        sql, "{\"columns\":[{\"name\":\"b\",\"type\":\"BIGINT\"}],\"rows\":[[1]],\"row_count\":1}");
    assert_answer(
        "SELECT name, type FROM told$refs",
        "{\"columns\":[{\"name\":\"name\",\"type\":\"VARCHAR\"},{\"name\":\"type\",\"type\":"
        "\"VARCHAR\"}],\"rows\":[[\"main\",\"BRANCH\"]],\"row_count\":1}");
    assert_error("SELECT * FROM told$nothing", E_INVALID, "$data_files, $delete_files, $entries");
    assert_error("SELECT * FROM nobody$files", E_NOT_FOUND, "nobody");
    assert_error("SELECT * FROM told$refs AT (VERSION => 'main')", E_INVALID, "AT");
    assert_error("SELECT * FROM lake_rows()", E_INVALID, "lake_rows");
}

static void query_lists_tables(void **state)
{
    AUTO(buf_done) struct buf out;
    struct err err = { 0 };
    buf_init(&out, 0);
    if (lake_sql(&lake, "SHOW TABLES", &out, &err) != OK) {
        fail_msg("%s", err.msg);
    }
    assert_non_null(strstr(buf_cstr(&out), "[\"birds\"]"));
    if (lake_sql(&lake, "DESCRIBE birds", &out, &err) != OK) {
        fail_msg("%s", err.msg);
    }
    assert_non_null(strstr(buf_cstr(&out), "\"weight\",\"DOUBLE\""));
}

static void query_takes_params(void **state)
{
    AUTO(buf_done) struct buf out;
    struct err err = { 0 };
    buf_init(&out, 0);
    const struct query_opts opts = { .sql = STR("SELECT name FROM birds WHERE id = ?"),
                                     .params = STR("[2]"),
                                     .format = QUERY_CSV,
                                     .deadline = deadline_in(30000) };
    if (lake_sql_opts(&lake, &opts, &out, &err) != OK) {
        fail_msg("%s", err.msg);
    }
    assert_string_equal(buf_cstr(&out), "name\r\nowl\r\n");
}

static void query_that_is_none_is_refused(void **state)
{
    assert_error("  ", E_INVALID, "empty");
    assert_error("SELEC 1", E_INVALID, "line 1, column 1");
    assert_error("INSERT INTO birds VALUES (4, 'x', 1)", E_DENIED, "only reads");
    assert_error("SELECT 1 / nope FROM birds", E_INVALID, "nope");
    struct err err = { 0 };
    static char long_sql[1024 * 1024 + 2];
    memset(long_sql, ' ', sizeof(long_sql) - 1);
    memcpy(long_sql, "SELECT 1", 8);
    assert_int_equal(lake_sql(&lake, long_sql, NULL, &err), E_TOO_LARGE);
}

static void query_error_in_a_later_row_comes_before_the_head_when_it_is_early(void **state)
{
    assert_error("SELECT CAST(name AS INTEGER) FROM birds", E_INVALID, "wren");
}

static void query_that_hogs_memory_ends_alone(void **state)
{
    struct query *hog = NULL;
    struct err err = { 0 };
    struct engine_frame frame;
    const struct query_opts opts = { .sql = STR("SELECT len(range(200000000))"),
                                     .params = STR_EMPTY,
                                     .deadline = deadline_in(20000) };
    assert_int_equal(query_start(lake.service, &opts, &hog, &err), OK);
    for (int i = 0; i < 20; i++) {
        assert_answer(
            "SELECT count(*) AS n FROM birds",
            "{\"columns\":[{\"name\":\"n\",\"type\":\"BIGINT\"}],\"rows\":[[3]],\"row_count\":1}");
    }
    enum status kind;
    do {
        kind = query_read_wait(hog, &frame, &err);
    } while (kind == OK && frame.type != ENGINE_DONE);
    assert_true(kind == E_NO_MEMORY || kind == E_TIMEOUT);
    print_message("%s: %s\n", status_name(kind), err.msg);
    query_free(hog);
}

static void query_past_its_deadline_ends(void **state)
{
    struct err err = { 0 };
    int64_t begin = clock_mono_ms(clock_real());
    const struct query_opts opts = {
        .sql = STR("SELECT count(*) FROM range(1000000000) a, range(1000000000) b"),
        .params = STR_EMPTY,
        .deadline = deadline_in(300)
    };
    assert_int_equal(lake_sql_opts(&lake, &opts, NULL, &err), E_TIMEOUT);
    assert_in_range(clock_mono_ms(clock_real()) - begin, 250, 2000);
}

static const struct query_running *running_as(struct arena *arena, const char *id)
{
    struct query_running *list = NULL;
    size_t count = 0;
    struct err err = { 0 };
    assert_int_equal(query_running_list(lake.service, arena, &list, &count, &err), OK);
    for (size_t i = 0; i < count; i++) {
        if (str_eq(list[i].id, str_of(id))) {
            return &list[i];
        }
    }
    return NULL;
}

static void query_is_listed_while_it_runs_and_ends_when_it_is_canceled(void **state)
{
    struct query *first = NULL;
    struct query *second = NULL;
    struct arena arena;
    struct engine_frame frame;
    struct err err = { 0 };
    arena_init(&arena, 0);
    struct query_opts opts = {
        .sql = STR("SELECT count(*) FROM range(1000000000) a, range(1000000000) b"),
        .deadline = deadline_in(60000),
        .id = STR("one"),
    };
    assert_int_equal(query_start(lake.service, &opts, &first, &err), OK);
    assert_int_equal(query_start(lake.service, &opts, &second, &err), OK);
    const struct query_running *told = running_as(&arena, "one");
    assert_non_null(told);
    assert_true(str_eq(told->sql, opts.sql) && !told->sql_is_cut);
    assert_null(running_as(&arena, "two"));
    assert_int_equal(query_cancel(lake.service, STR("two")), 0);
    assert_int_equal(query_cancel(lake.service, STR("one")), 2); /* all of that id */
    assert_int_equal(query_read_wait(first, &frame, &err), E_CANCELED);
    assert_non_null(strstr(err.msg, "canceled by"));
    assert_int_equal(query_read_wait(second, &frame, &err), E_CANCELED);
    query_free(first);
    assert_non_null(running_as(&arena, "one"));
    query_free(second);
    assert_null(running_as(&arena, "one"));
    arena_done(&arena);
    assert_answer("SELECT 1 AS one",
                  "{\"columns\":[{\"name\":\"one\",\"type\":\"INTEGER\"}],\"rows\":[[1]],"
                  "\"row_count\":1}");
}

static void query_streams_its_first_rows_before_the_last_are_computed(void **state)
{
    struct query *query = NULL;
    struct err err = { 0 };
    struct engine_frame frame;
    int64_t begin = clock_mono_ms(clock_real());
    const struct query_opts opts = { .sql = STR("SELECT range FROM range(10000000000)"),
                                     .params = STR_EMPTY,
                                     .format = QUERY_NDJSON,
                                     .deadline = deadline_in(30000) };
    assert_int_equal(query_start(lake.service, &opts, &query, &err), OK);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(query_read_wait(query, &frame, &err), OK);
    }
    assert_int_equal(frame.type, ENGINE_DATA);
    assert_true(clock_mono_ms(clock_real()) - begin < 5000);
    query_free(query); /* the client has left: the rest is not computed */
}

static void *reader(void *arg)
{
    int *wrong = arg;
    for (int i = 0; i < 30; i++) {
        AUTO(buf_done) struct buf out;
        struct err err = { 0 };
        buf_init(&out, 0);
        enum status kind = lake_sql(&lake, "SELECT sum(id) AS s FROM birds", &out, &err);
        *wrong += kind != OK || strstr(buf_cstr(&out), "[[6]]") == NULL;
    }
    return NULL;
}

static void query_survives_engines_killed_beside_it(void **state)
{
    pthread_t threads[3];
    int wrong[3] = { 0 };
    for (int i = 0; i < 3; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, reader, &wrong[i]), 0);
    }
    for (int i = 0; i < 5; i++) {
        struct query *victim = NULL;
        struct err err = { 0 };
        const struct query_opts opts = {
            .sql = STR("SELECT count(*) FROM range(1000000000) a, range(1000000000) b"),
            .params = STR_EMPTY,
            .deadline = deadline_in(10000)
        };
        assert_int_equal(query_start(lake.service, &opts, &victim, &err), OK);
        int pid = 0;
        for (int tries = 0; tries < 3000 && (pid = query_pid(victim)) == 0; tries++) {
            usleep(1000);
        }
        if (pid > 0) {
            kill(pid, SIGKILL);
        }
        usleep(50000);
        query_free(victim);
    }
    for (int i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(wrong[i], 0);
    }
}

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

static size_t open_fds(void)
{
    size_t count = 0;
    DIR *list = opendir("/proc/self/fd");
    assert_non_null(list);
    while (readdir(list) != NULL) {
        count++;
    }
    closedir(list);
    return count;
}

static void query_of_a_small_table_is_quick_and_leaves_nothing_open(void **state)
{
    int64_t took[200];
    assert_answer(
        "SELECT count(*) AS n FROM birds",
        "{\"columns\":[{\"name\":\"n\",\"type\":\"BIGINT\"}],\"rows\":[[3]],\"row_count\":1}");
    usleep(300000);
    size_t before = open_fds();
    for (size_t i = 0; i < ARRAY_LEN(took); i++) {
        int64_t begin = clock_now_us();
        assert_answer("SELECT name FROM birds WHERE id = 2",
                      "{\"columns\":[{\"name\":\"name\",\"type\":\"VARCHAR\"}],"
                      "\"rows\":[[\"owl\"]],\"row_count\":1}");
        took[i] = clock_now_us() - begin;
    }
    qsort(took, ARRAY_LEN(took), sizeof(took[0]), compare);
    print_message("200 small statements: median %lld us, p95 %lld us\n", (long long)took[100],
                  (long long)took[190]);
    assert_true(open_fds() <= before + 4); /* two children more may have come up */
}

static void query_reads_a_store_that_gives_no_descriptors(void **state)
{
    struct lake mem;
    AUTO(buf_done) struct buf csv;
    AUTO(buf_done) struct buf out;
    struct err err = { 0 };
    buf_init(&csv, 0);
    buf_init(&out, 0);
    assert_int_equal(buf_append(&csv, STR("id,text\n")), OK);
    for (int i = 0; i < 100000; i++) {
        assert_int_equal(buf_printf(&csv, "%d,text of row %d\n", i, i * 7), OK);
    }
    lake_open(&mem, true,
              &(struct engine_pool_opts){
                  .engines_max = 1, .threads = 2, .memory_limit_bytes = 256 << 20 });
    lake_append(&mem, "t", buf_str(&csv));
    lake_append(&mem, "t", buf_str(&csv));
    if (lake_sql(&mem, "SELECT count(*), sum(id), max(text) FROM t", &out, &err) != OK) {
        fail_msg("%s", err.msg);
    }
    assert_non_null(strstr(buf_cstr(&out), "[[200000,9999900000,\"text of row 99995\"]]"));
    lake_close(&mem);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(query_reads_a_table),
        cmocka_unit_test(query_reads_a_store_that_gives_no_descriptors),
        cmocka_unit_test(query_sees_what_was_acknowledged_before_it),
        cmocka_unit_test(query_travels_in_time),
        cmocka_unit_test(query_finds_names_as_they_are_meant),
        cmocka_unit_test(query_reads_metadata_tables),
        cmocka_unit_test(query_lists_tables),
        cmocka_unit_test(query_takes_params),
        cmocka_unit_test(query_that_is_none_is_refused),
        cmocka_unit_test(query_error_in_a_later_row_comes_before_the_head_when_it_is_early),
        cmocka_unit_test(query_that_hogs_memory_ends_alone),
        cmocka_unit_test(query_past_its_deadline_ends),
        cmocka_unit_test(query_is_listed_while_it_runs_and_ends_when_it_is_canceled),
        cmocka_unit_test(query_streams_its_first_rows_before_the_last_are_computed),
        cmocka_unit_test(query_survives_engines_killed_beside_it),
        cmocka_unit_test(query_of_a_small_table_is_quick_and_leaves_nothing_open),
    };
    return cmocka_run_group_tests_name("query", tests, set_up, tear_down);
}
