/* The cluster secret: made once, private, the same for all. */
#include "contract.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"
#include "store/secret.h"

static char dir[64], path[128];

static int setup(void **state)
{
    snprintf(dir, sizeof dir, "/tmp/store-secret-XXXXXX");
    if (mkdtemp(dir) == NULL) {
        return 1;
    }
    snprintf(path, sizeof path, "%s/_lake/secret", dir);
    return 0;
}

static int teardown(void **state)
{
    return io_remove_tree(dir, NULL) != OK;
}

static void write_secret(const char *text, mode_t mode)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    assert_int_equal(chmod(path, mode), 0);
}

static void a_secret_is_made_once_and_is_private(void **state)
{
    struct err err = { 0 };
    struct stat st;
    char first[STORE_SECRET_MAX + 1], second[STORE_SECRET_MAX + 1];
    MUST(store_secret_load(dir, first, &err));
    MUST(store_secret_load(dir, second, &err));
    assert_string_equal(first, second);
    assert_int_equal(strlen(first), 64);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

static void processes_that_start_together_get_one_secret(void **state)
{
    enum { COUNT = 8 };
    int pipes[COUNT][2];
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(pipe(pipes[i]), 0);
        pid_t pid = fork();
        if (pid == 0) {
            char secret[STORE_SECRET_MAX + 1] = { 0 };
            enum status status = store_secret_load(dir, secret, NULL);
            _exit(status != OK || write(pipes[i][1], secret, sizeof secret) != sizeof secret);
        }
        assert_true(pid > 0);
    }
    char secrets[COUNT][STORE_SECRET_MAX + 1];
    for (int i = 0; i < COUNT; i++) {
        int code = 1;
        assert_true(wait(&code) > 0);
        assert_int_equal(code, 0);
    }
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(read(pipes[i][0], secrets[i], sizeof secrets[i]), sizeof secrets[i]);
        assert_string_equal(secrets[i], secrets[0]);
        close(pipes[i][0]);
        close(pipes[i][1]);
    }
}

static void a_secret_that_others_may_read_is_refused(void **state)
{
    struct err err = { 0 };
    char out[STORE_SECRET_MAX + 1];
    MUST(store_secret_load(dir, out, &err));
    assert_int_equal(chmod(path, 0644), 0);
    assert_int_equal(store_secret_load(dir, out, &err), E_DENIED);
    assert_non_null(strstr(err.msg, "chmod 600"));
}

static void a_secret_of_ones_own_is_taken_and_nonsense_refused(void **state)
{
    struct err err = { 0 };
    char out[STORE_SECRET_MAX + 1];
    MUST(store_secret_load(dir, out, &err));
    write_secret("correct-horse-battery\n", 0600);
    MUST(store_secret_load(dir, out, &err));
    assert_string_equal(out, "correct-horse-battery");
    const char *bad[] = { "", "short", "two words are not a secret",
                          "two\nlines-that-are-long-enough" };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        write_secret(bad[i], 0600);
        assert_int_equal(store_secret_load(dir, out, &err), E_INVALID);
    }
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_secret_is_made_once_and_is_private),
        T(processes_that_start_together_get_one_secret),
        T(a_secret_that_others_may_read_is_refused),
        T(a_secret_of_ones_own_is_taken_and_nonsense_refused),
    };
    return cmocka_run_group_tests_name("store secret", tests, NULL, NULL);
}
