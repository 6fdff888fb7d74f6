/* Errors: names, messages, context, cutting. */
#include "testing.h"

#include <errno.h>
#include <string.h>

static void every_kind_has_a_name_that_leads_back_to_it(void **state)
{
    for (int kind = 0; kind < E_KIND_COUNT; kind++) {
        assert_int_equal(status_from_name(status_name((enum status)kind)), kind);
    }
    assert_string_equal(status_name(E_NOT_FOUND), "not_found");
}

static void an_unknown_name_or_kind_is_internal(void **state)
{
    assert_int_equal(status_from_name("no_such_kind"), E_INTERNAL);
    assert_string_equal(status_name((enum status)999), "internal");
}

static void err_set_writes_the_kind_and_the_message_and_returns_the_kind(void **state)
{
    struct err err = { .retry_after_s = 9 };
    assert_int_equal(err_set(&err, E_INVALID, "line %d: \"%s\"", 3, "x"), E_INVALID);
    assert_int_equal(err.kind, E_INVALID);
    assert_string_equal(err.msg, "line 3: \"x\"");
    assert_int_equal(err.retry_after_s, 0);
}

static void without_an_err_only_the_kind_is_returned(void **state)
{
    assert_int_equal(err_set(NULL, E_TIMEOUT, "x"), E_TIMEOUT);
    assert_int_equal(err_errno(NULL, ENOSPC, "x"), E_DISK_FULL);
    assert_int_equal(err_context(NULL, "x"), E_INTERNAL);
    assert_int_equal(err_no_memory(NULL), E_NO_MEMORY);
}

static void a_message_that_fits_exactly_is_not_cut(void **state)
{
    struct err err = { 0 };
    char text[ERR_MESSAGE_MAX] = { 0 };
    memset(text, 'a', sizeof(text) - 1);
    err_set(&err, E_INVALID, "%s", text);
    assert_string_equal(err.msg, text);
}

static void a_long_message_is_cut_at_a_character_and_ends_in_dots(void **state)
{
    for (size_t shift = 0; shift < 4; shift++) {
        struct err err = { 0 };
        char text[2 * ERR_MESSAGE_MAX] = { 0 };
        memset(text, 'a', shift);
        for (size_t i = shift; i + 3 < sizeof(text); i += 3) {
            strcpy(text + i, "\xE2\x82\xAC");
        }
        err_set(&err, E_INVALID, "%s", text);
        assert_true(strlen(err.msg) < ERR_MESSAGE_MAX);
        assert_true(strlen(err.msg) > ERR_MESSAGE_MAX - 8);
        assert_true(str_ends(str_of(err.msg), STR("...")));
        assert_true(str_is_utf8(str_of(err.msg)));
    }
}

static void a_message_may_be_made_from_itself(void **state)
{
    struct err err = { 0 };
    err_set(&err, E_INVALID, "inner");
    err_set(&err, E_CONFLICT, "outer(%s)", err.msg);
    assert_string_equal(err.msg, "outer(inner)");
}

static void errno_decides_the_kind_and_its_text_is_added(void **state)
{
    static const struct {
        int number;
        enum status kind;
    } cases[] = {
        { ENOSPC, E_DISK_FULL },   { EDQUOT, E_DISK_FULL },   { EFBIG, E_DISK_FULL },
        { ENOMEM, E_NO_MEMORY },   { ENOENT, E_NOT_FOUND },   { EACCES, E_DENIED },
        { EPERM, E_DENIED },       { EIO, E_INTERNAL },       { EROFS, E_UNAVAILABLE },
        { EMFILE, E_UNAVAILABLE }, { ENFILE, E_UNAVAILABLE },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err err = { 0 };
        assert_int_equal(err_errno(&err, cases[i].number, "cannot open"), cases[i].kind);
        assert_true(str_starts(str_of(err.msg), STR("cannot open: ")));
        assert_true(str_ends(str_of(err.msg), str_of(strerror(cases[i].number))));
    }
}

static void context_goes_in_front_and_keeps_the_kind(void **state)
{
    struct err err = { 0 };
    err_set(&err, E_NOT_FOUND, "no such key");
    assert_int_equal(err_context(&err, "table \"%s\"", "t"), E_NOT_FOUND);
    assert_string_equal(err.msg, "table \"t\": no such key");
}

static void context_on_an_empty_err_never_becomes_success(void **state)
{
    struct err err = { 0 };
    assert_int_equal(err_context(&err, "x"), E_INTERNAL);
    assert_int_equal(err.kind, E_INTERNAL);
}

static void context_that_does_not_fit_is_cut(void **state)
{
    struct err err = { 0 };
    char text[ERR_MESSAGE_MAX] = { 0 };
    memset(text, 'm', sizeof(text) - 1);
    err_set(&err, E_INVALID, "%s", text);
    err_context(&err, "head");
    assert_int_equal(strlen(err.msg), ERR_MESSAGE_MAX - 1);
    assert_true(str_starts(str_of(err.msg), STR("head: mmm")));
    assert_true(str_ends(str_of(err.msg), STR("m...")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_has_a_name_that_leads_back_to_it),
        cmocka_unit_test(an_unknown_name_or_kind_is_internal),
        cmocka_unit_test(err_set_writes_the_kind_and_the_message_and_returns_the_kind),
        cmocka_unit_test(without_an_err_only_the_kind_is_returned),
        cmocka_unit_test(a_message_that_fits_exactly_is_not_cut),
        cmocka_unit_test(a_long_message_is_cut_at_a_character_and_ends_in_dots),
        cmocka_unit_test(a_message_may_be_made_from_itself),
        cmocka_unit_test(errno_decides_the_kind_and_its_text_is_added),
        cmocka_unit_test(context_goes_in_front_and_keeps_the_kind),
        cmocka_unit_test(context_on_an_empty_err_never_becomes_success),
        cmocka_unit_test(context_that_does_not_fit_is_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
