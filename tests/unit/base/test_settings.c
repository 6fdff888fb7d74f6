/* Settings: precedence, conversion, errors that help, printing. */
#include "testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/io.h"
#include "base/settings.h"

static const struct setting_def defs[] = {
    { .section = "gateway",
      .name = "bind",
      .type = SETTING_STR,
      .default_value = "127.0.0.1:3110",
      .flag = "listen",
      .help = "Where to listen." },
    { .section = "queryd",
      .name = "timeout_seconds",
      .type = SETTING_INT,
      .default_value = "300",
      .unit = "s",
      .min = 1,
      .max = 3600,
      .help = "How long | at most." },
    { .section = "queryd",
      .name = "memory_limit",
      .type = SETTING_BYTES,
      .default_value = "1GiB",
      .unit = "bytes",
      .help = "Memory." },
    { .section = "queryd",
      .name = "extensions",
      .type = SETTING_LIST,
      .default_value = "parquet, json",
      .help = "Extensions." },
    { .section = "http",
      .name = "allow_remote",
      .type = SETTING_BOOL,
      .default_value = "false",
      .flag = "allow-remote",
      .help = "Others may connect." },
    { .section = "s3",
      .name = "secret_key",
      .type = SETTING_STR,
      .default_value = "",
      .secret = true,
      .help = "Secret." },
    { .section = "s3api.keys",
      .name = "access_key",
      .in_array = true,
      .type = SETTING_LIST,
      .default_value = "",
      .help = "Name of the key." },
    { .section = "s3api.keys",
      .name = "secret_key",
      .in_array = true,
      .type = SETTING_LIST,
      .default_value = "",
      .secret = true,
      .help = "Secret of the key." },
    { .section = "s3api.keys",
      .name = "rights",
      .in_array = true,
      .type = SETTING_LIST,
      .default_value = "rw",
      .help = "rw or ro." },
};

static struct settings *make(void)
{
    struct settings *settings = NULL;
    assert_int_equal(settings_new(defs, ARRAY_LEN(defs), &settings, NULL), OK);
    return settings;
}

/** Loads `text` as a file; the message has the path cut off, so that it begins with the line. */
static enum status load_text(struct settings *settings, const char *text, struct err *err)
{
    char path[] = "/tmp/test_settings.XXXXXX";
    AUTO(fd_done) int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(io_write_full(fd, text, strlen(text), NULL), OK);
    enum status status = settings_load_file(settings, path, err);
    unlink(path);
    if (status != OK && err != NULL && str_starts(str_of(err->msg), str_of(path))) {
        memmove(err->msg, err->msg + strlen(path) + 1, strlen(err->msg) - strlen(path));
    }
    return status;
}

static void expect_file_error(const char *text, const char *message)
{
    struct settings *settings = make();
    struct err err = { 0 };
    assert_int_equal(load_text(settings, text, &err), E_INVALID);
    assert_string_equal(err.msg, message);
    settings_free(settings);
}

static void defaults_hold_when_nobody_says_otherwise(void **state)
{
    struct settings *settings = make();
    assert_string_equal(settings_str(settings, "gateway", "bind"), "127.0.0.1:3110");
    assert_int_equal(settings_int(settings, "queryd", "timeout_seconds"), 300);
    assert_int_equal(settings_bytes(settings, "queryd", "memory_limit"), 1073741824);
    assert_false(settings_bool(settings, "http", "allow_remote"));
    assert_string_equal(settings_list(settings, "queryd", "extensions", 0), "parquet");
    assert_string_equal(settings_list(settings, "queryd", "extensions", 1), "json");
    assert_null(settings_list(settings, "queryd", "extensions", 2));
    assert_null(settings_list(settings, "s3api.keys", "rights", 0)); /* no table at all */
    assert_int_equal(settings_source(settings, "gateway", "bind"), SETTING_DEFAULT);
    settings_free(settings);
    settings_free(NULL);
}

static void a_file_sets_values_of_every_type(void **state)
{
    struct settings *settings = make();
    assert_int_equal(load_text(settings,
                               "[queryd]\n"
                               "timeout_seconds = 10\n"
                               "memory_limit = \"256MiB\"\n"
                               "extensions = [\"a,b\", \"c\"]\n"
                               "[http]\n"
                               "allow_remote = true\n"
                               "[gateway]\n"
                               "bind = \"[::1]:80\"\n",
                               NULL),
                     OK);
    assert_int_equal(settings_int(settings, "queryd", "timeout_seconds"), 10);
    assert_int_equal(settings_bytes(settings, "queryd", "memory_limit"), 256 << 20);
    assert_string_equal(settings_list(settings, "queryd", "extensions", 0), "a,b");
    assert_true(settings_bool(settings, "http", "allow_remote"));
    assert_string_equal(settings_str(settings, "gateway", "bind"), "[::1]:80");
    assert_int_equal(settings_source(settings, "gateway", "bind"), SETTING_FILE);
    assert_int_equal(settings_source(settings, "s3", "secret_key"), SETTING_DEFAULT);
    assert_int_equal(load_text(settings, "[queryd]\nmemory_limit = 5\nextensions = []\n", NULL),
                     OK);
    assert_int_equal(settings_bytes(settings, "queryd", "memory_limit"), 5);
    assert_null(settings_list(settings, "queryd", "extensions", 0));
    settings_free(settings);
}

static void environment_overrides_the_file_and_flags_override_both(void **state)
{
    struct settings *settings = make();
    const char *environment[] = { "LAKEHOUSE_QUERYD_TIMEOUT_SECONDS=20", "PATH=/bin", "ODD",
                                  "LAKEHOUSE_GATEWAY_BIND=env:1", NULL };
    const char *argv[] = { "lakehouse", "--gateway.bind=flag:1", NULL };
    int argc = 2;
    assert_int_equal(load_text(settings, "[queryd]\ntimeout_seconds = 10\n", NULL), OK);
    assert_int_equal(settings_load_env(settings, (char **)environment, NULL, NULL), OK);
    assert_int_equal(settings_load_flags(settings, &argc, (char **)argv, NULL), OK);
    assert_int_equal(settings_int(settings, "queryd", "timeout_seconds"), 20);
    assert_int_equal(settings_source(settings, "queryd", "timeout_seconds"), SETTING_ENV);
    assert_string_equal(settings_str(settings, "gateway", "bind"), "flag:1");
    assert_int_equal(settings_source(settings, "gateway", "bind"), SETTING_FLAG);
    settings_free(settings);
}

static void unknown_names_in_a_file_are_refused_with_line_and_nearest_name(void **state)
{
    expect_file_error("\n[gatway]\nbind = \"x\"\n",
                      "3: unknown setting \"gatway.bind\", did you mean \"gateway.bind\"?");
    expect_file_error("[queryd]\ntimeout_second = 1\n",
                      "2: unknown setting \"queryd.timeout_second\", did you mean "
                      "\"queryd.timeout_seconds\"?");
    expect_file_error("[queryd]\nzzzzzzzzzzzz = 1\n",
                      "2: unknown setting \"queryd.zzzzzzzzzzzz\" (`lakehouse config` lists all)");
    expect_file_error("bind = \"x\"\n",
                      "1: unknown setting \"bind\" (`lakehouse config` lists all)");
    expect_file_error("[gatevay]\n", "1: unknown section \"gatevay\", did you mean \"gateway\"?");
    expect_file_error("[nonsense]\n", "1: unknown section \"nonsense\"");
    expect_file_error("[[s3api.kees]]\naccess_key = \"x\"\n",
                      "1: unknown section \"s3api.kees\", did you mean \"s3api.keys\"?");
    expect_file_error("[[s3api.keys]]\nacces_key = \"x\"\n",
                      "2: unknown setting \"s3api.keys.acces_key\", did you mean "
                      "\"s3api.keys.access_key\"?");
    expect_file_error("[queryd.deeper]\nx = 1\n",
                      "2: unknown setting \"queryd.deeper.x\" (`lakehouse config` lists all)");
}

static void the_first_wrong_line_is_told(void **state)
{
    expect_file_error("[queryd]\nzz = 1\n[gateway]\naa = 2\n",
                      "2: unknown setting \"queryd.zz\" (`lakehouse config` lists all)");
}

static void wrong_values_in_a_file_are_refused_with_what_is_wanted(void **state)
{
    expect_file_error("[queryd]\ntimeout_seconds = \"10\"\n",
                      "2: \"queryd.timeout_seconds\" must be a whole number without quotes");
    expect_file_error("[queryd]\ntimeout_seconds = 1.5\n",
                      "2: \"queryd.timeout_seconds\" must be a whole number without quotes");
    expect_file_error("[queryd]\ntimeout_seconds = 0\n",
                      "2: \"queryd.timeout_seconds\" must be between 1 and 3600, not 0");
    expect_file_error(
        "[queryd]\ntimeout_seconds = true\n",
        "2: \"queryd.timeout_seconds\" must be a whole number of seconds, not \"true\"");
    expect_file_error("[queryd]\nmemory_limit = \"lots\"\n",
                      "2: \"queryd.memory_limit\" must be a number of bytes such as 1048576 or "
                      "\"256MiB\", not \"lots\"");
    expect_file_error("[queryd]\nmemory_limit = -1\n",
                      "2: \"queryd.memory_limit\" must be a number of bytes such as 1048576 or "
                      "\"256MiB\", not \"-1\"");
    expect_file_error("[http]\nallow_remote = \"yes\"\n",
                      "2: \"http.allow_remote\" must be true or false without quotes");
    expect_file_error("[queryd]\nextensions = \"a\"\n",
                      "2: \"queryd.extensions\" must be an array of strings such as [\"a\", "
                      "\"b\"]");
    expect_file_error("[queryd]\nextensions = [\"a\", 1]\n",
                      "2: \"queryd.extensions\" must be an array of strings such as [\"a\", "
                      "\"b\"]");
    expect_file_error("[gateway]\nbind = 3110\n", "2: \"gateway.bind\" must be a string in quotes");
    expect_file_error("[gateway]\nbind = \"a\\u0000b\"\n",
                      "2: \"gateway.bind\" must not contain a NUL byte");
    expect_file_error("[queryd]\nextensions = [\"a\\u0000b\"]\n",
                      "2: \"queryd.extensions\" must not contain a NUL byte");
}

static void arrays_of_tables_become_lists_that_belong_together(void **state)
{
    struct settings *settings = make();
    assert_int_equal(load_text(settings,
                               "[[s3api.keys]]\n"
                               "access_key = \"a\"\n"
                               "secret_key = \"x,y\"\n"
                               "[[s3api.keys]]\n"
                               "rights = \"ro\"\n"
                               "access_key = \"b\"\n",
                               NULL),
                     OK);
    assert_string_equal(settings_list(settings, "s3api.keys", "access_key", 0), "a");
    assert_string_equal(settings_list(settings, "s3api.keys", "access_key", 1), "b");
    assert_null(settings_list(settings, "s3api.keys", "access_key", 2));
    assert_string_equal(settings_list(settings, "s3api.keys", "secret_key", 0), "x,y");
    assert_string_equal(settings_list(settings, "s3api.keys", "secret_key", 1), "");
    assert_string_equal(settings_list(settings, "s3api.keys", "rights", 0), "rw");
    assert_string_equal(settings_list(settings, "s3api.keys", "rights", 1), "ro");
    settings_free(settings);
}

static void brackets_of_the_wrong_number_are_told(void **state)
{
    expect_file_error("[s3api.keys]\naccess_key = \"x\"\n",
                      "2: write [[s3api.keys]] with two brackets: there may be several");
    expect_file_error("[[queryd]]\ntimeout_seconds = 1\n",
                      "1: write [queryd] with one bracket: there is only one");
    expect_file_error("[[s3api.keys]]\naccess_key = 5\n",
                      "2: \"s3api.keys.access_key\" must be a string in quotes");
}

static void an_unreadable_file_is_told_by_name(void **state)
{
    struct settings *settings = make();
    struct err err = { 0 };
    assert_int_equal(settings_load_file(settings, "/nowhere/lakehouse.toml", &err), E_NOT_FOUND);
    assert_true(str_starts(str_of(err.msg), STR("cannot open \"/nowhere/lakehouse.toml\": ")));
    settings_free(settings);
}

static void bytes_are_read_with_their_units(void **state)
{
    static const struct {
        const char *text;
        uint64_t bytes;
    } cases[] = {
        { "0", 0 },
        { "5B", 5 },
        { "64k", 65536 },
        { "1 KB", 1000 },
        { "1KiB", 1024 },
        { "2mb", 2000000 },
        { "2 MiB", 2 << 20 },
        { "1GB", 1000000000 },
        { "1g", 1u << 30 },
        { "1T", 1ULL << 40 },
        { "8388607T", 8388607ULL << 40 },
    };
    static const char *const bad[] = {
        "", "-1", "1.5G", "G", "1X", "1 GiBs", "1e3", "0x1", "+1", "8388608T", "9223372036854775808"
    };
    struct settings *settings = make();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(settings_set(settings, "queryd", "memory_limit", str_of(cases[i].text),
                                      SETTING_FLAG, NULL),
                         OK);
        assert_true(settings_bytes(settings, "queryd", "memory_limit") == cases[i].bytes);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(
            settings_set(settings, "queryd", "memory_limit", str_of(bad[i]), SETTING_FLAG, NULL),
            E_INVALID);
    }
    assert_true(settings_bytes(settings, "queryd", "memory_limit") == 8388607ULL << 40);
    settings_free(settings);
}

static void variables_of_known_sections_are_checked_and_others_left_alone(void **state)
{
    struct settings *settings = make();
    struct err err = { 0 };
    const char *fine[] = { "LAKEHOUSE_SERVER=http://x",
                           "LAKEHOUSE_CACHE=/c",
                           "LAKEHOUSE_OTHER_THING=1",
                           "LAKEHOUSE_QUERYD_MINE=1",
                           "LAKEHOUSE_QUERYD_EXTENSIONS= a , b,",
                           "LAKEHOUSE_S3API_KEYS_ACCESS_KEY=k1,k2",
                           NULL };
    const char *const ignore[] = { "LAKEHOUSE_QUERYD_MINE", NULL };
    assert_int_equal(settings_load_env(settings, (char **)fine, ignore, &err), OK);
    assert_string_equal(settings_list(settings, "queryd", "extensions", 0), "a");
    assert_string_equal(settings_list(settings, "queryd", "extensions", 1), "b");
    assert_string_equal(settings_list(settings, "queryd", "extensions", 2), "");
    assert_string_equal(settings_list(settings, "s3api.keys", "access_key", 1), "k2");

    const char *unknown[] = { "LAKEHOUSE_QUERYD_TIMEOUT=5", NULL };
    assert_int_equal(settings_load_env(settings, (char **)unknown, NULL, &err), E_INVALID);
    assert_string_equal(err.msg,
                        "unknown setting in the environment variable \"LAKEHOUSE_QUERYD_TIMEOUT\", "
                        "did you mean \"LAKEHOUSE_QUERYD_TIMEOUT_SECONDS\"?");
    const char *section[] = { "LAKEHOUSE_QERYD_TIMEOUT_SECONDS=5", NULL };
    assert_int_equal(settings_load_env(settings, (char **)section, NULL, &err), E_INVALID);
    assert_string_equal(err.msg, "unknown setting in the environment variable "
                                 "\"LAKEHOUSE_QERYD_TIMEOUT_SECONDS\", did you mean "
                                 "\"LAKEHOUSE_QUERYD_TIMEOUT_SECONDS\"?");
    const char *far[] = { "LAKEHOUSE_QUERYD_PORT=5", NULL }; /* like no other, so none is named */
    assert_int_equal(settings_load_env(settings, (char **)far, NULL, &err), E_INVALID);
    assert_string_equal(err.msg, "unknown setting in the environment variable "
                                 "\"LAKEHOUSE_QUERYD_PORT\" (`lakehouse config` lists all)");
    const char *foreign[] = { "LAKEHOUSE_BUILD_FOLDER=5", NULL };
    assert_int_equal(settings_load_env(settings, (char **)foreign, NULL, &err), OK);
    const char *wrong[] = { "LAKEHOUSE_QUERYD_TIMEOUT_SECONDS=soon", NULL };
    assert_int_equal(settings_load_env(settings, (char **)wrong, NULL, &err), E_INVALID);
    assert_string_equal(err.msg, "LAKEHOUSE_QUERYD_TIMEOUT_SECONDS: \"queryd.timeout_seconds\" "
                                 "must be a whole number of seconds, not \"soon\"");
    settings_free(settings);
}

static void flags_are_taken_out_and_the_rest_stays(void **state)
{
    struct settings *settings = make();
    const char *argv[] = { "lakehouse",
                           "serve",
                           "--queryd.timeout_seconds",
                           "5",
                           "-listen=a:1",
                           "--allow-remote",
                           "file",
                           "-",
                           "--",
                           "--not.a.flag",
                           NULL };
    int argc = (int)ARRAY_LEN(argv) - 1;
    assert_int_equal(settings_load_flags(settings, &argc, (char **)argv, NULL), OK);
    static const char *const left[] = { "lakehouse", "serve", "file", "-", "--not.a.flag" };
    assert_int_equal(argc, ARRAY_LEN(left));
    for (size_t i = 0; i < ARRAY_LEN(left); i++) {
        assert_string_equal(argv[i], left[i]);
    }
    assert_null(argv[argc]);
    assert_int_equal(settings_int(settings, "queryd", "timeout_seconds"), 5);
    assert_string_equal(settings_str(settings, "gateway", "bind"), "a:1");
    assert_true(settings_bool(settings, "http", "allow_remote"));
    settings_free(settings);
}

static void a_boolean_flag_takes_the_next_word_only_when_it_is_a_boolean(void **state)
{
    struct settings *settings = make();
    const char *argv[] = { "x", "--http.allow_remote", "true", "--allow-remote", "false", NULL };
    int argc = 5;
    assert_int_equal(settings_load_flags(settings, &argc, (char **)argv, NULL), OK);
    assert_int_equal(argc, 1);
    assert_false(settings_bool(settings, "http", "allow_remote"));
    settings_free(settings);
}

static void unknown_and_broken_flags_are_refused(void **state)
{
    static const char *const cases[][2] = {
        { "--gatway.bind=x", "--gatway.bind: unknown setting \"gatway.bind\", did you mean "
                             "\"gateway.bind\"?" },
        { "--lisen", "unknown flag \"--lisen\", did you mean \"--listen\"?" },
        { "--memory_limits=5", "unknown flag \"--memory_limits\", did you mean "
                               "\"--queryd.memory_limit\"?" },
        { "--frobnicate", "unknown flag \"--frobnicate\"" },
        { "--queryd.timeout_seconds", "--queryd.timeout_seconds: needs a value" },
        { "-queryd.timeout_seconds=x", "--queryd.timeout_seconds: \"queryd.timeout_seconds\" must "
                                       "be a whole number of seconds, not \"x\"" },
        { "--allow-remote=maybe", "--allow-remote: \"http.allow_remote\" must be true or false, "
                                  "not \"maybe\"" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct settings *settings = make();
        struct err err = { 0 };
        const char *argv[] = { "x", cases[i][0], NULL };
        int argc = 2;
        assert_int_equal(settings_load_flags(settings, &argc, (char **)argv, &err), E_INVALID);
        assert_string_equal(err.msg, cases[i][1]);
        settings_free(settings);
    }
}

static void a_refused_value_leaves_the_old_one(void **state)
{
    struct settings *settings = make();
    assert_int_equal(
        settings_set(settings, "queryd", "timeout_seconds", STR("x"), SETTING_FLAG, NULL),
        E_INVALID);
    assert_int_equal(settings_int(settings, "queryd", "timeout_seconds"), 300);
    assert_int_equal(settings_source(settings, "queryd", "timeout_seconds"), SETTING_DEFAULT);
    assert_int_equal(settings_set(settings, "no", "such", STR("x"), SETTING_FLAG, NULL), E_INVALID);
    settings_free(settings);
}

static void what_is_printed_names_sources_and_hides_secrets(void **state)
{
    struct settings *settings = make();
    struct buf out;
    buf_init(&out, 0);
    assert_int_equal(load_text(settings,
                               "[s3]\nsecret_key = \"hush\"\n[[s3api.keys]]\naccess_key = \"a\"\n"
                               "secret_key = \"hush\"\n[[s3api.keys]]\naccess_key = \"b\"\n",
                               NULL),
                     OK);
    assert_int_equal(
        settings_set(settings, "gateway", "bind", STR("q\"\x7f\n"), SETTING_FLAG, NULL), OK);
    assert_int_equal(settings_print(settings, &out), OK);
    assert_str(buf_str(&out), "[gateway]\n"
                              "bind = \"q\\\"\\u007f\\n\"  # flag\n"
                              "\n"
                              "[queryd]\n"
                              "timeout_seconds = 300  # default\n"
                              "memory_limit = 1073741824  # default\n"
                              "extensions = [\"parquet\", \"json\"]  # default\n"
                              "\n"
                              "[http]\n"
                              "allow_remote = false  # default\n"
                              "\n"
                              "[s3]\n"
                              "secret_key = \"****\"  # file\n"
                              "\n"
                              "[[s3api.keys]]\n"
                              "access_key = \"a\"\n"
                              "secret_key = \"****\"\n"
                              "rights = \"rw\"\n"
                              "\n"
                              "[[s3api.keys]]\n"
                              "access_key = \"b\"\n"
                              "secret_key = \"\"\n"
                              "rights = \"rw\"\n");
    buf_done(&out);
    settings_free(settings);
}

static void what_is_printed_can_be_loaded_again(void **state)
{
    struct settings *settings = make();
    struct buf first;
    buf_init(&first, 0);
    assert_int_equal(settings_set(settings, "gateway", "bind", STR("q\"\\\x7f\x01\n\xC3\xA4"),
                                  SETTING_FILE, NULL),
                     OK);
    assert_int_equal(settings_print(settings, &first), OK);
    assert_int_equal(load_text(settings, buf_cstr(&first), NULL), OK);
    assert_string_equal(settings_str(settings, "gateway", "bind"), "q\"\\\x7f\x01\n\xC3\xA4");
    buf_done(&first);
    settings_free(settings);
}

static void the_reference_is_a_table_for_each_section(void **state)
{
    struct buf out;
    buf_init(&out, 0);
    assert_int_equal(settings_reference(defs, ARRAY_LEN(defs), &out), OK);
    static const char *const lines[] = {
        "\n## `[gateway]`\n",
        "\n| `bind` | string | `127.0.0.1:3110` | Where to listen. | `LAKEHOUSE_GATEWAY_BIND`, "
        "`--listen` |\n",
        "\n| `timeout_seconds` | integer, s | `300` | How long \\| at most. From 1 to 3600. | "
        "`LAKEHOUSE_QUERYD_TIMEOUT_SECONDS` |\n",
        "\n| `memory_limit` | bytes | `1GiB` | Memory. | `LAKEHOUSE_QUERYD_MEMORY_LIMIT` |\n",
        "\n## `[[s3api.keys]]` (any number of them)\n",
        "\n| `rights` | string | `rw` | rw or ro. | `LAKEHOUSE_S3API_KEYS_RIGHTS` |\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        if (str_find(buf_str(&out), str_of(lines[i])) == SIZE_MAX) {
            fail_msg("no \"%s\" in:\n%.*s", lines[i], STR_ARG(buf_str(&out)));
        }
    }
    buf_done(&out);
}

static enum status do_everything(void)
{
    struct settings *settings = NULL;
    TRY(settings_new(defs, ARRAY_LEN(defs), &settings, NULL));
    const char *environment[] = { "LAKEHOUSE_QUERYD_EXTENSIONS=a,b", NULL };
    const char *argv[] = { "x", "--gateway.bind=y", NULL };
    int argc = 2;
    struct buf out;
    buf_init(&out, 0);
    enum status status = load_text(settings,
                                   "[queryd]\nextensions = [\"a\", \"b\"]\n"
                                   "[[s3api.keys]]\naccess_key = \"a\"\n",
                                   NULL);
    if (status == OK) {
        status = settings_load_env(settings, (char **)environment, NULL, NULL);
    }
    if (status == OK) {
        status = settings_load_flags(settings, &argc, (char **)argv, NULL);
    }
    if (status == OK) {
        status = settings_print(settings, &out);
    }
    if (status == OK) {
        status = settings_reference(defs, ARRAY_LEN(defs), &out);
    }
    buf_done(&out);
    settings_free(settings);
    return status;
}

static void without_memory_every_step_says_so_and_leaks_nothing(void **state)
{
    FAIL_EVERY_ALLOCATION(do_everything(), {});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_hold_when_nobody_says_otherwise),
        cmocka_unit_test(a_file_sets_values_of_every_type),
        cmocka_unit_test(environment_overrides_the_file_and_flags_override_both),
        cmocka_unit_test(unknown_names_in_a_file_are_refused_with_line_and_nearest_name),
        cmocka_unit_test(the_first_wrong_line_is_told),
        cmocka_unit_test(wrong_values_in_a_file_are_refused_with_what_is_wanted),
        cmocka_unit_test(arrays_of_tables_become_lists_that_belong_together),
        cmocka_unit_test(brackets_of_the_wrong_number_are_told),
        cmocka_unit_test(an_unreadable_file_is_told_by_name),
        cmocka_unit_test(bytes_are_read_with_their_units),
        cmocka_unit_test(variables_of_known_sections_are_checked_and_others_left_alone),
        cmocka_unit_test(flags_are_taken_out_and_the_rest_stays),
        cmocka_unit_test(a_boolean_flag_takes_the_next_word_only_when_it_is_a_boolean),
        cmocka_unit_test(unknown_and_broken_flags_are_refused),
        cmocka_unit_test(a_refused_value_leaves_the_old_one),
        cmocka_unit_test(what_is_printed_names_sources_and_hides_secrets),
        cmocka_unit_test(what_is_printed_can_be_loaded_again),
        cmocka_unit_test(the_reference_is_a_table_for_each_section),
        cmocka_unit_test(without_memory_every_step_says_so_and_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
