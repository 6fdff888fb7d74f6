#include "aws/code.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void every_code_is_complete_and_comes_back_from_its_name(void **state)
{
    for (int i = AWS_NONE + 1; i < AWS_CODE_COUNT; i++) {
        enum aws_code code = (enum aws_code)i;
        assert_non_null(aws_code_name(code));
        assert_int_equal(aws_code_parse(str_of(aws_code_name(code))), code);
        assert_true(aws_code_status(code) >= 300 && aws_code_status(code) <= 599);
        assert_int_not_equal(aws_code_kind(code), OK);
        assert_true(str_ends(str_of(aws_code_message(code)), STR(".")));
    }
}

static void codes_have_the_statuses_of_s3(void **state)
{
    assert_int_equal(aws_code_status(AWS_NO_SUCH_KEY), 404);
    assert_int_equal(aws_code_status(AWS_EXPIRED_TOKEN), 400);
    assert_int_equal(aws_code_status(AWS_REQUEST_TIME_TOO_SKEWED), 403);
    assert_int_equal(aws_code_status(AWS_MISSING_CONTENT_LENGTH), 411);
    assert_int_equal(aws_code_status(AWS_SLOW_DOWN), 503);
    assert_int_equal(aws_code_kind(AWS_NO_SUCH_UPLOAD), E_NOT_FOUND);
    assert_string_equal(aws_code_name(AWS_KEY_TOO_LONG), "KeyTooLongError");
}

static void an_unknown_name_is_no_code(void **state)
{
    assert_int_equal(aws_code_parse(STR("NoSuchThing")), AWS_NONE);
    assert_int_equal(aws_code_parse(STR("nosuchkey")), AWS_NONE);
    assert_int_equal(aws_code_parse(STR_EMPTY), AWS_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_is_complete_and_comes_back_from_its_name),
        cmocka_unit_test(codes_have_the_statuses_of_s3),
        cmocka_unit_test(an_unknown_name_is_no_code),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
