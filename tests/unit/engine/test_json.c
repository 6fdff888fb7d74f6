/*
 * The scan of JSON files: layouts, lines of faults, and the types that follow from all values.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/mem.h"
#include "engine/json_scan.h"

struct lab {
    struct arena arena;
    struct json_shape *shape;
    struct json_scan scan;
    struct str bytes;
    size_t piece; /* bytes that one read gives */
    bool skip;
    struct buf bad; /* "line@offset+len " of each bad line */
    struct err err;
};
static struct lab lab;

static int setup(void **state)
{
    (void)state;
    lab = (struct lab){ .piece = 7 };
    arena_init(&lab.arena, 0);
    buf_init(&lab.bad, 0);
    return json_shape_new(&lab.arena, &lab.shape, NULL) == OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    json_shape_free(lab.shape);
    buf_done(&lab.bad);
    arena_done(&lab.arena);
    return 0;
}

static enum status read_piece(void *ctx, uint64_t offset, void *ptr, size_t len, size_t *got_out,
                              struct err *err)
{
    struct str rest = str_take(str_skip(lab.bytes, (size_t)offset), lab.piece);
    (void)ctx, (void)err;
    *got_out = rest.len < len ? rest.len : len;
    if (*got_out > 0) {
        memcpy(ptr, rest.ptr, *got_out);
    }
    return OK;
}

static enum status note_bad(void *ctx, uint64_t line, uint64_t offset, uint64_t len,
                            struct str reason, struct err *err)
{
    (void)ctx, (void)err;
    assert_true(reason.len > 0);
    return buf_printf(&lab.bad, "%llu@%llu+%llu ", (unsigned long long)line,
                      (unsigned long long)offset, (unsigned long long)len);
}

static enum status scan(const char *text)
{
    struct json_scan_opts opts = { .read = read_piece,
                                   .record_bytes_max = 64,
                                   .bad = lab.skip ? note_bad : NULL };
    lab.bytes = str_of(text);
    return json_scan(&opts, lab.shape, &lab.scan, &lab.err);
}

static const char *type_of(size_t i, const struct ice_type *table)
{
    struct ice_type type;
    struct buf text;
    buf_init(&text, 0);
    assert_int_equal(json_shape_field_type(lab.shape, i, table, &lab.arena, &type, &lab.err), OK);
    assert_int_equal(ice_type_print(&type, &text), OK);
    const char *copy = arena_cstr(&lab.arena, buf_str(&text));
    buf_done(&text);
    return copy;
}

static void each_layout_has_its_records(void **state)
{
    (void)state;
    assert_int_equal(scan("{\"a\":1}\n\n {\"a\":2}\r\n{\"a\":3}"), OK);
    assert_int_equal(lab.scan.layout, JSON_LINES);
    assert_int_equal(lab.scan.record_count, 3);
    assert_int_equal(scan(" [ {\"a\":\"]}\"} ,\n{\"a\":\"\\\"[\"}\n]\n"), OK);
    assert_int_equal(lab.scan.layout, JSON_ARRAY);
    assert_int_equal(lab.scan.record_count, 2);
    assert_int_equal(scan("{\n\"a\": 1\n}\n{\"a\":2} {\"a\":3}"), OK);
    assert_int_equal(lab.scan.layout, JSON_CONCATENATED);
    assert_int_equal(lab.scan.record_count, 3);
}

static void a_fault_has_the_line_that_it_stands_in(void **state)
{
    (void)state;
    static const char *const faults[][2] = {
        { "{\"a\":1}\n\n{\"a\":}\n{\"a\":2}\n", "line 3: malformed JSON" },
        { "{\"a\":1}\n{\"a\":1,\"a\":2}", "line 2: an object has the field \"a\" twice" },
        { "{\"a\":1}\n[1]\n", "line 2: the row is array" },
        { "[{\"a\":1},\n\n{\"a\":\ntru}]", "line 4: malformed JSON" },
        { "[{\"a\":1}\n", "line 2: malformed JSON: the file ends" },
        { "{\n\"a\":1,\n}", "line 2: malformed JSON" },
        { "{\"a\":1}\n{\"a\":\"0123456789012345678901234567890123456789012345678901234567890\"}\n",
          "line 2: longer than 64 bytes" },
    };
    for (size_t i = 0; i < ARRAY_LEN(faults); i++) {
        assert_int_equal(scan(faults[i][0]), E_INVALID);
        if (strncmp(lab.err.msg, faults[i][1], strlen(faults[i][1])) != 0) {
            fail_msg("%s: %s", faults[i][0], lab.err.msg);
        }
    }
}

static void bad_lines_are_told_and_passed_over(void **state)
{
    (void)state;
    lab.skip = true;
    assert_int_equal(
        scan(
            "{\"a\":1}\n{\"a\":\n5\n{\"a\":2}\n"
            "{\"a\":\"0123456789012345678901234567890123456789012345678901234567890123\"}\n{\"a\":3}"),
        OK);
    assert_int_equal(lab.scan.record_count, 3);
    assert_string_equal(arena_cstr(&lab.arena, buf_str(&lab.bad)), "2@8+5 3@14+1 5@24+72 ");
}

static void types_follow_from_all_values(void **state)
{
    (void)state;
    assert_int_equal(scan("{\"a\":1,\"b\":1,\"c\":null,\"d\":[],\"e\":{}}\n{\"a\":2,\"b\":0.5}"),
                     OK);
    assert_string_equal(type_of(0, NULL), "long");
    assert_string_equal(type_of(1, NULL), "double");
    assert_string_equal(type_of(2, NULL), "string");
    assert_string_equal(type_of(3, NULL), "list<string>");
    assert_string_equal(type_of(4, NULL), "string");
}

static void unknown_values_take_the_tables_type(void **state)
{
    (void)state;
    struct ice_field x = {
        .id = 7, .name = STR("x"), .required = true, .type = { .kind = ICE_INT }
    };
    struct ice_type row = { .kind = ICE_STRUCT, .fields = &x, .field_count = 1 };
    struct ice_field element = { .name = STR("element"), .type = row };
    struct ice_type list = { .kind = ICE_LIST, .fields = &element, .field_count = 1 };
    assert_int_equal(scan("{\"c\":null,\"d\":[],\"e\":{},\"f\":[{}]}"), OK);
    assert_string_equal(type_of(0, &list), "list<struct<x: int>>");
    assert_string_equal(type_of(1, &list), "list<struct<x: int>>");
    assert_string_equal(type_of(2, &row), "struct<x: int>");
    assert_string_equal(type_of(3, &list), "list<struct<x: int>>");
}

static void numbers_take_a_type_that_holds_each_of_them(void **state)
{
    (void)state;
    struct ice_type narrow = { .kind = ICE_INT }, real = { .kind = ICE_DOUBLE };
    struct ice_type price = { .kind = ICE_DECIMAL, .precision = 5, .scale = 2 };
    assert_int_equal(scan("{\"a\":2147483647,\"b\":9007199254740993,\"c\":1.25,\"d\":1.255}\n"
                          "{\"a\":-2147483648,\"c\":-999.99}"),
                     OK);
    assert_string_equal(type_of(0, &narrow), "int");
    assert_string_equal(type_of(0, &real), "double");
    assert_string_equal(type_of(1, &real), "long");
    assert_string_equal(type_of(1, &narrow), "long");
    assert_string_equal(type_of(2, &price), "decimal(5, 2)");
    assert_string_equal(type_of(3, &price), "double");
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    for (long n = 0;; n++) {
        (void)teardown(NULL);
        assert_int_equal(setup(NULL), 0);
        mem_fail_nth(n);
        enum status status = scan("{\"a\":{\"b\":[1]}}\n{\"c\":\"x\"}");
        bool happened = mem_fail_happened();
        mem_fail_nth(-1);
        if (!happened) {
            assert_int_equal(status, OK);
            return;
        }
        assert_int_equal(status, E_NO_MEMORY);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_layout_has_its_records, setup, teardown),
        cmocka_unit_test_setup_teardown(a_fault_has_the_line_that_it_stands_in, setup, teardown),
        cmocka_unit_test_setup_teardown(bad_lines_are_told_and_passed_over, setup, teardown),
        cmocka_unit_test_setup_teardown(types_follow_from_all_values, setup, teardown),
        cmocka_unit_test_setup_teardown(unknown_values_take_the_tables_type, setup, teardown),
        cmocka_unit_test_setup_teardown(numbers_take_a_type_that_holds_each_of_them, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(every_allocation_may_fail, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
