/*
 * A command's page: its options are parsed by the table that its help is made of. And the bar of an
 * upload.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "cli/cli_priv.h"

struct values {
    const char *file, *format;
    struct cli_list params;
    bool json;
};

static const struct cli_option options[] = {
    { .name = "file",
      .letter = "f",
      .kind = CLI_VALUE,
      .at = offsetof(struct values, file),
      .value = "FILE",
      .help = "where it is" },
    { .name = "format",
      .kind = CLI_VALUE,
      .at = offsetof(struct values, format),
      .value = "csv|json",
      .help = "what it is" },
    { .name = "param",
      .kind = CLI_VALUES,
      .at = offsetof(struct values, params),
      .value = "VALUE",
      .help = "a value" },
    CLI_JSON(struct values, json),
};
static const struct cli_page page = { .command = "test",
                                      .synopsis = "[options]\n... | lakehouse test",
                                      .text = "Does a thing.\n\nAnd another.",
                                      .options = options,
                                      .option_count = ARRAY_LEN(options),
                                      .examples = "lakehouse test\nlakehouse test -f x" };

static enum cli_parsed parse(const struct cli_page *of, struct values *values, int *count,
                             const char **words)
{
    static char *argv[32];
    *values = (struct values){ 0 };
    for (*count = 0; words[*count] != NULL; (*count)++) {
        argv[*count] = (char *)(uintptr_t)words[*count];
    }
    argv[*count] = NULL;
    enum cli_parsed parsed = cli_parse(of, values, count, argv);
    for (int i = 0; i <= *count; i++) {
        words[i] = argv[i];
    }
    return parsed;
}

static void options_go_where_the_table_says(void **state)
{
    struct values values;
    int count;
    const char *words[16] = { "one",  "--file", "a",  "-param=1", "--param", "2", "-json",
                              "-f=b", "two",    "--", "--file",   "-",       NULL };
    assert_int_equal(parse(&page, &values, &count, words), CLI_GO);
    assert_string_equal(values.file, "b"); /* the last one counts */
    assert_null(values.format);
    assert_true(values.json);
    assert_int_equal(values.params.count, 2);
    assert_string_equal(values.params.items[0], "1");
    assert_string_equal(values.params.items[1], "2");
    assert_int_equal(count, 4);
    assert_string_equal(words[0], "one");
    assert_string_equal(words[1], "two");
    assert_string_equal(words[2], "--file"); /* behind -- it is a word */
    assert_string_equal(words[3], "-");
}

static void what_is_not_in_the_table_is_refused_or_somebody_elses(void **state)
{
    struct values values;
    int count;
    const char *unknown[8] = { "--fiel", "a", NULL };
    assert_int_equal(parse(&page, &values, &count, unknown), CLI_WRONG);
    const char *no_value[8] = { "--file", NULL };
    assert_int_equal(parse(&page, &values, &count, no_value), CLI_WRONG);
    const char *too_much[8] = { "--json=yes", NULL };
    assert_int_equal(parse(&page, &values, &count, too_much), CLI_WRONG);

    struct cli_page open = page;
    open.others = true;
    const char *others[8] = { "--data", "d", "--json", "--queryd.threads=1", NULL };
    assert_int_equal(parse(&open, &values, &count, others), CLI_GO);
    assert_true(values.json);
    assert_int_equal(count, 3);
    assert_string_equal(others[0], "--data");
    assert_string_equal(others[2], "--queryd.threads=1");
}

static void the_help_has_everything_of_the_page(void **state)
{
    struct buf out;
    buf_init(&out, 0);
    assert_int_equal(cli_page_append(&page, &out), OK);
    assert_string_equal(buf_cstr(&out), "usage: lakehouse test [options]\n"
                                        "       ... | lakehouse test\n"
                                        "\n"
                                        "Does a thing.\n"
                                        "\n"
                                        "And another.\n"
                                        "\n"
                                        "  --file, -f FILE\n"
                                        "      where it is\n"
                                        "  --format csv|json\n"
                                        "      what it is\n"
                                        "  --param VALUE\n"
                                        "      a value\n"
                                        "  --json\n"
                                        "      print JSON, for programs\n"
                                        "\n"
                                        "  lakehouse test\n"
                                        "  lakehouse test -f x\n");
    buf_done(&out);
}

static void the_help_of_every_command_fits_a_terminal(void **state)
{
    size_t count;
    const struct cli_page *const *pages = cli_pages(&count);
    for (size_t i = 0; i < count; i++) {
        struct buf out;
        buf_init(&out, 0);
        assert_int_equal(cli_page_append(pages[i], &out), OK);
        struct str rest = buf_str(&out);
        while (rest.ptr != NULL) {
            struct str line = str_split(&rest, '\n');
            if (cli_display_width(line) > 80 && !str_starts(line, STR("  lakehouse"))) {
                fail_msg("%s: %.*s", pages[i]->command, STR_ARG(line));
            }
        }
        buf_done(&out);
    }
}

static void expect_bar(uint64_t done, uint64_t total, int64_t took_us, size_t width,
                       const char *wanted)
{
    struct buf out;
    buf_init(&out, 0);
    struct cli_progress progress = {
        .name = "/data/flights.csv", .done = done, .total = total, .start_us = 1000
    };
    assert_int_equal(cli_progress_line(&progress, 1000 + took_us, width, &out), OK);
    assert_string_equal(buf_cstr(&out), wanted);
    buf_done(&out);
}

static void the_bar_tells_how_far_and_how_fast(void **state)
{
    expect_bar(50000000, 200000000, 2000000, 80,
               "flights.csv   25 %  50.0 MB of 200 MB  25.0 MB/s  0:07 left");
    expect_bar(200000000, 200000000, 2000000, 80,
               "flights.csv  100 %  200 MB of 200 MB, the server works on it");
    expect_bar(50000000, 0, 2000000, 80, "flights.csv  50.0 MB  25.0 MB/s");
    expect_bar(0, 200000000, 0, 80, "flights.csv    0 %  0 B of 200 MB  0 B/s");
    expect_bar(50000000, 200000000, 2000000, 20, "flights.csv   25 %  ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_go_where_the_table_says),
        cmocka_unit_test(what_is_not_in_the_table_is_refused_or_somebody_elses),
        cmocka_unit_test(the_help_has_everything_of_the_page),
        cmocka_unit_test(the_help_of_every_command_fits_a_terminal),
        cmocka_unit_test(the_bar_tells_how_far_and_how_fast),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
