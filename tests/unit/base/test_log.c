/* Log lines: standard error is a temporary file while a test runs. */
#include "testing.h"

#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/log.h"

static int real_stderr = -1;
static FILE *captured;

static int capture(void **state)
{
    captured = tmpfile();
    if (captured == NULL) {
        return -1;
    }
    real_stderr = dup(STDERR_FILENO);
    dup2(fileno(captured), STDERR_FILENO);
    /* Each write goes to the end, as it would in a log file. */
    assert_int_equal(lseek(STDERR_FILENO, 0, SEEK_END), 0);
    return 0;
}

static int release(void **state)
{
    dup2(real_stderr, STDERR_FILENO);
    close(real_stderr);
    file_done(&captured);
    log_setup(LOG_INFO, "lakehouse");
    return 0;
}

static void take_lines(struct buf *out)
{
    size_t got;
    buf_init(out, 0);
    char *room = buf_reserve(out, 1024 * 1024);
    assert_int_equal(io_pread(fileno(captured), room, 1024 * 1024, 0, &got, NULL), OK);
    out->len = got;
}

static void a_line_is_json_with_the_common_fields_and_its_own(void **state)
{
    log_setup(LOG_DEBUG, "queryd");
    LOG(LOG_WARN, "query_done", L_CSTR("sql", "select \"x\"\n"), L_I64("rows", -5),
        L_F64("seconds", 0.25), L_BOOL("cached", true), L_F64("odd", NAN));
    struct buf lines;
    take_lines(&lines);
    assert_int_equal(str_find_char(buf_str(&lines), '\n'), lines.len - 1);
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    assert_int_equal(json_parse(buf_str(&lines), &doc, NULL), OK);
    yyjson_val *root = yyjson_doc_get_root(doc);
    assert_string_equal(yyjson_get_str(yyjson_obj_get(root, "level")), "warn");
    assert_string_equal(yyjson_get_str(yyjson_obj_get(root, "event")), "query_done");
    assert_string_equal(yyjson_get_str(yyjson_obj_get(root, "service")), "queryd");
    assert_string_equal(yyjson_get_str(yyjson_obj_get(root, "sql")), "select \"x\"\n");
    assert_int_equal(yyjson_get_sint(yyjson_obj_get(root, "rows")), -5);
    assert_true(yyjson_get_real(yyjson_obj_get(root, "seconds")) == 0.25);
    assert_true(yyjson_get_bool(yyjson_obj_get(root, "cached")));
    assert_string_equal(yyjson_get_str(yyjson_obj_get(root, "odd")), "NaN");
    assert_int_equal(strlen(yyjson_get_str(yyjson_obj_get(root, "ts"))), 24);
    buf_done(&lines);
}

static void lines_below_the_level_are_not_written(void **state)
{
    log_setup(LOG_WARN, "x");
    LOG(LOG_INFO, "quiet");
    assert_false(log_enabled(LOG_INFO));
    assert_true(log_enabled(LOG_ERROR));
    struct buf lines;
    take_lines(&lines);
    assert_int_equal(lines.len, 0);
    buf_done(&lines);
}

static void a_long_value_is_cut_and_bad_utf8_stays_valid_json(void **state)
{
    static char big[100000];
    memset(big, '\xFF', sizeof(big));
    LOG(LOG_INFO, "big", L_STR("value", str_from(big, sizeof(big))));
    struct buf lines;
    take_lines(&lines);
    assert_in_range(lines.len, 3 * 512, PIPE_BUF);
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    assert_int_equal(json_parse(buf_str(&lines), &doc, NULL), OK);
    buf_done(&lines);
}

static void a_line_that_cannot_be_built_leaves_a_trace(void **state)
{
    mem_fail_nth(0);
    LOG(LOG_INFO, "anything");
    assert_true(mem_fail_happened());
    mem_fail_nth(-1);
    struct buf lines;
    take_lines(&lines);
    assert_str(buf_str(&lines), "{\"level\":\"error\",\"event\":\"log_line_lost\"}\n");
    buf_done(&lines);
}

static void every_line_fits_where_it_must_not_wait(void **state)
{
    static char odd[4000];
    memset(odd, '\x01', sizeof(odd));
    struct str value = str_from(odd, sizeof(odd));
    LOG(LOG_INFO, "odd", L_STR("a", value), L_STR("b", value), L_STR("c", value));
    struct buf lines;
    take_lines(&lines);
    assert_in_range(lines.len, 3 * 64 * 6, PIPE_BUF);
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    assert_int_equal(json_parse(buf_str(&lines), &doc, NULL), OK);
    buf_done(&lines);
}

/* The next line of what came through the pipe, parsed. */
static yyjson_doc *next_line(struct str *rest)
{
    yyjson_doc *doc = NULL;
    assert_int_equal(json_parse(str_split(rest, '\n'), &doc, NULL), OK);
    return doc;
}

static void a_reader_that_stands_still_costs_lines_and_not_time(void **state)
{
    enum { LINES = 2000 };
    int ends[2];
    size_t got, kept = 0;
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    dup2(ends[1], STDERR_FILENO);
    assert_int_equal(fcntl(STDERR_FILENO, F_SETPIPE_SZ, 8192), 8192);
    for (int i = 0; i < LINES; i++) {
        LOG(LOG_INFO, "line", L_I64("i", i),
            L_CSTR("text", "some sixty bytes of text that fill it up"));
    }
    struct buf lines;
    buf_init(&lines, 0);
    char *room = buf_reserve(&lines, 65536);
    lines.len = (size_t)read(ends[0], room, 65536);
    struct str rest = buf_str(&lines);
    for (; rest.len > 0; kept++) {
        AUTO(json_doc_done) yyjson_doc *doc = next_line(&rest);
        yyjson_val *i = yyjson_obj_get(yyjson_doc_get_root(doc), "i");
        assert_int_equal(yyjson_get_int(i), kept);
    }
    assert_in_range(kept, 10, LINES - 1);
    LOG(LOG_INFO, "after");
    got = (size_t)read(ends[0], room, 65536);
    rest = str_from(room, got);
    AUTO(json_doc_done) yyjson_doc *notice = next_line(&rest);
    AUTO(json_doc_done) yyjson_doc *after = next_line(&rest);
    yyjson_val *root = yyjson_doc_get_root(notice);
    assert_string_equal(yyjson_get_str(yyjson_obj_get(root, "event")), "log_lines_dropped");
    assert_int_equal(yyjson_get_int(yyjson_obj_get(root, "count")), LINES - kept);
    root = yyjson_doc_get_root(after);
    assert_string_equal(yyjson_get_str(yyjson_obj_get(root, "event")), "after");
    assert_int_equal(rest.len, 0);
    buf_done(&lines);
    close(ends[0]);
    close(ends[1]);
}

static void *log_much(void *arg)
{
    for (int i = 0; i < 200; i++) {
        LOG(LOG_INFO, "line", L_I64("i", i), L_CSTR("who", "a thread"));
    }
    return NULL;
}

static void lines_of_threads_do_not_mix(void **state)
{
    pthread_t threads[4];
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, log_much, NULL), 0);
    }
    for (size_t i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
    }
    struct buf lines;
    take_lines(&lines);
    struct str rest = buf_str(&lines);
    size_t count = 0;
    while (rest.len > 0) {
        struct str line = str_split(&rest, '\n');
        AUTO(json_doc_done) yyjson_doc *doc = NULL;
        assert_int_equal(json_parse(line, &doc, NULL), OK);
        count++;
    }
    assert_int_equal(count, 800);
    buf_done(&lines);
}

static void levels_are_read_by_name(void **state)
{
    enum log_level level = LOG_ERROR;
    assert_true(log_level_parse(STR("debug"), &level));
    assert_int_equal(level, LOG_DEBUG);
    assert_false(log_level_parse(STR("loud"), &level));
    assert_int_equal(level, LOG_DEBUG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_line_is_json_with_the_common_fields_and_its_own, capture,
                                        release),
        cmocka_unit_test_setup_teardown(lines_below_the_level_are_not_written, capture, release),
        cmocka_unit_test_setup_teardown(a_long_value_is_cut_and_bad_utf8_stays_valid_json, capture,
                                        release),
        cmocka_unit_test_setup_teardown(a_line_that_cannot_be_built_leaves_a_trace, capture,
                                        release),
        cmocka_unit_test_setup_teardown(every_line_fits_where_it_must_not_wait, capture, release),
        cmocka_unit_test_setup_teardown(a_reader_that_stands_still_costs_lines_and_not_time,
                                        capture, release),
        cmocka_unit_test_setup_teardown(lines_of_threads_do_not_mix, capture, release),
        cmocka_unit_test(levels_are_read_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
