/* Where the keys come from, and in which order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "aws/credentials.h"
#include "base/io.h"

static const struct aws_key nothing;
static char home[64];
static const char *env_access, *env_secret, *env_profile, *env_region;

static const char *env(void *ctx, const char *name)
{
    (void)ctx;
    struct str asked = str_of(name);
    return str_eq(asked, STR("HOME"))                    ? home
           : str_eq(asked, STR("AWS_ACCESS_KEY_ID"))     ? env_access
           : str_eq(asked, STR("AWS_SECRET_ACCESS_KEY")) ? env_secret
           : str_eq(asked, STR("AWS_PROFILE"))           ? env_profile
           : str_eq(asked, STR("AWS_REGION"))            ? env_region
                                                         : NULL;
}

static void write_file(const char *name, const char *text)
{
    char path[128];
    snprintf(path, sizeof path, "%s/.aws/%s", home, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static int setup(void **state)
{
    char path[128];
    struct err err = { 0 };
    snprintf(home, sizeof home, "/tmp/aws-XXXXXX");
    env_access = env_secret = env_profile = env_region = NULL;
    if (mkdtemp(home) == NULL) {
        return -1;
    }
    snprintf(path, sizeof path, "%s/.aws", home);
    (void)state;
    return io_mkdirs(path, false, &err) == OK ? 0 : -1;
}

static int teardown(void **state)
{
    struct err err = { 0 };
    (void)state;
    return io_remove_tree(home, &err) == OK ? 0 : -1;
}

static void expect(struct aws_credentials *credentials, const char *access, const char *secret,
                   const char *token)
{
    struct arena arena;
    struct aws_key key;
    struct err err = { 0 };
    arena_init(&arena, 0);
    if (aws_credentials_get(credentials, &arena, &key, &err) != OK) {
        fail_msg("%s", err.msg);
    }
    assert_true(str_eq(key.access_key, str_of(access)));
    assert_true(str_eq(key.secret_key, str_of(secret)));
    assert_true(str_eq(key.session_token, str_of(token)));
    arena_done(&arena);
}

static struct aws_credentials *make(struct aws_key settings)
{
    struct aws_credentials *credentials = NULL;
    struct err err = { 0 };
    const struct aws_credentials_opts opts = { .settings = settings, .env = env };
    if (aws_credentials_new(&opts, &credentials, &err) != OK) {
        fail_msg("%s", err.msg);
    }
    return credentials;
}

static void settings_win_then_environment_then_files(void **state)
{
    struct aws_credentials *c = make((struct aws_key){ STR("sa"), STR("ss"), STR("st") });
    env_access = "ea";
    env_secret = "es";
    expect(c, "sa", "ss", "st");
    aws_credentials_free(c);
    c = make(nothing);
    write_file("credentials", "[default]\naws_access_key_id=fa\naws_secret_access_key=fs\n");
    expect(c, "ea", "es", "");
    env_secret = NULL; /* half a pair is none */
    expect(c, "fa", "fs", "");
    aws_credentials_free(c);
    (void)state;
}

static void files_are_read_again_when_they_change(void **state)
{
    struct arena arena;
    struct aws_key key;
    struct err err = { 0 };
    arena_init(&arena, 0);
    env_profile = "lake";
    struct aws_credentials *c = make(nothing);
    assert_int_equal(aws_credentials_get(c, &arena, &key, &err), E_AUTH);
    assert_non_null(strstr(err.msg, "/.aws/credentials"));
    write_file("credentials",
               "# mine\n[default]\naws_access_key_id = no\naws_secret_access_key = no\n"
               "[lake]\r\naws_access_key_id = a=b\r\nAWS_SECRET_ACCESS_KEY = s\r\n");
    expect(c, "a=b", "s", "");
    write_file("credentials",
               "[lake]\naws_access_key_id=a2\naws_secret_access_key=s2\naws_session_token=t2\n");
    expect(c, "a2", "s2", "t2");
    write_file("credentials", "[lake]\n; nothing\n");
    write_file("config", "[profile lake]\naws_access_key_id=c\naws_secret_access_key=d\n");
    expect(c, "c", "d", "");
    aws_credentials_free(c);
    arena_done(&arena);
    (void)state;
}

static void the_region_is_the_environments_or_the_files(void **state)
{
    struct arena arena;
    struct str region = STR_EMPTY;
    arena_init(&arena, 0);
    write_file("config", "[default]\nregion = eu-north-1\n");
    struct aws_credentials *c = make(nothing);
    assert_int_equal(aws_credentials_region(c, &arena, &region, NULL), OK);
    assert_true(str_eq(region, STR("eu-north-1")));
    env_region = "us-west-2";
    assert_int_equal(aws_credentials_region(c, &arena, &region, NULL), OK);
    assert_true(str_eq(region, STR("us-west-2")));
    aws_credentials_free(c);
    arena_done(&arena);
    (void)state;
}

static void half_a_pair_of_settings_is_refused(void **state)
{
    struct aws_credentials *credentials = NULL;
    struct err err = { 0 };
    const struct aws_credentials_opts opts = { .settings = { .access_key = STR("a") }, .env = env };
    assert_int_equal(aws_credentials_new(&opts, &credentials, &err), E_INVALID);
    assert_string_equal(err.msg, "s3.access_key is set and s3.secret_key is not");
    (void)state;
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(settings_win_then_environment_then_files),
        T(files_are_read_again_when_they_change),
        T(the_region_is_the_environments_or_the_files),
        T(half_a_pair_of_settings_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
