/* S3's XML: what is read and what is refused; what is written is read back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "aws/xml.h"

static struct xml_node *read_text(struct arena *arena, struct str text)
{
    struct xml_node *root = NULL;
    struct err err = { 0 };
    if (xml_read(text, arena, &root, &err) != OK) {
        fail_msg("%s", err.msg);
    }
    return root;
}

static void assert_text(struct str got, const char *expected)
{
    assert_int_equal(got.len, strlen(expected));
    assert_memory_equal(got.ptr, expected, got.len);
}

static void elements_texts_and_lists_are_found(void **state)
{
    struct arena arena;
    arena_init(&arena, 0);
    struct xml_node *root = read_text(
        &arena, STR("<?xml version='1.0'?>\n<s3:L xmlns:s3='x'> <Key> a&amp;b </Key><C><K>1</K></C>"
                    "<D/><C><K>2<!-- no --><![CDATA[<3>]]></K></C></s3:L>"));
    assert_text(root->name, "L");
    assert_text(xml_text(root, "Key"), "a&b");
    assert_text(xml_text(root, "D"), "");
    assert_null(xml_text(root, "E").ptr);
    const struct xml_node *c = xml_child(root, "C");
    assert_text(xml_text(c, "K"), "1");
    c = xml_again(c);
    assert_text(xml_text(c, "K"), "2<3>");
    assert_null(xml_again(c));
    arena_done(&arena);
    (void)state;
}

static void long_texts_come_whole(void **state)
{
    enum { COUNT = 30000 };
    struct arena arena;
    struct buf text;
    arena_init(&arena, 0);
    buf_init(&text, 0);
    assert_int_equal(buf_append(&text, STR("<a>")), OK);
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(buf_append(&text, STR("&lt;x\n")), OK);
    }
    assert_int_equal(buf_append(&text, STR("</a>")), OK);
    struct xml_node *root = read_text(&arena, buf_str(&text));
    assert_int_equal(root->text.len, 3 * COUNT);
    for (size_t i = 0; i < root->text.len; i++) {
        assert_int_equal(root->text.ptr[i], "<x\n"[i % 3]);
    }
    buf_done(&text);
    arena_done(&arena);
    (void)state;
}

static void what_no_client_sends_is_refused(void **state)
{
    static const struct str wrong[] = {
        STR_INIT(""),
        STR_INIT("<:/>"),
        STR_INIT("<p:></p:>"),
        STR_INIT("<a>"),
        STR_INIT("<a></b>"),
        STR_INIT("<a/><b/>"),
        STR_INIT("<a>&unknown;</a>"),
        STR_INIT("<!DOCTYPE a [<!ENTITY e 'x'>]><a>&e;</a>"),
        STR_INIT("<!DOCTYPE a SYSTEM 'file:///etc/passwd'><a/>"),
        STR_INIT("<a><?php ?></a>"),
        STR_INIT("<a>\xff</a>"),
        STR_INIT("<a>\0</a>"),
    };
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        struct arena arena;
        struct xml_node *root = NULL;
        struct err err = { 0 };
        arena_init(&arena, 0);
        assert_int_equal(xml_read(wrong[i], &arena, &root, &err), E_INVALID);
        assert_true(err.msg[0] != '\0');
        arena_done(&arena);
    }
    (void)state;
}

static void depth_and_number_are_bounded(void **state)
{
    struct arena arena;
    struct buf text;
    struct xml_node *root = NULL;
    arena_init(&arena, 0);
    buf_init(&text, 0);
    for (int i = 0; i < 17; i++) {
        assert_int_equal(buf_append(&text, STR("<a>")), OK);
    }
    assert_int_equal(xml_read(buf_str(&text), &arena, &root, NULL), E_TOO_LARGE);
    buf_clear(&text);
    assert_int_equal(buf_append(&text, STR("<a>")), OK);
    for (int i = 0; i < 50000; i++) {
        assert_int_equal(buf_append(&text, STR("<b/>")), OK);
    }
    assert_int_equal(xml_read(buf_str(&text), &arena, &root, NULL), E_TOO_LARGE);
    buf_done(&text);
    arena_done(&arena);
    (void)state;
}

static void what_is_written_is_read_back(void **state)
{
    struct arena arena;
    struct buf out;
    arena_init(&arena, 0);
    buf_init(&out, 0);
    assert_int_equal(xml_begin(&out, "R"), OK);
    assert_int_equal(xml_put(&out, "Key", STR("a<b>&\"\xc3\xa9\ty")), OK);
    assert_int_equal(xml_put_u64(&out, "Size", UINT64_MAX), OK);
    assert_int_equal(xml_put_bool(&out, "Yes", true), OK);
    assert_int_equal(xml_put_time(&out, "At", 1704164645678), OK);
    assert_int_equal(xml_close(&out, "R"), OK);
    struct xml_node *root = read_text(&arena, buf_str(&out));
    assert_text(xml_text(root, "Key"), "a<b>&\"\xc3\xa9\ty");
    assert_text(xml_text(root, "Size"), "18446744073709551615");
    assert_text(xml_text(root, "Yes"), "true");
    assert_text(xml_text(root, "At"), "2024-01-02T03:04:05.678Z");
    out.len = 0;
    assert_int_equal(xml_put(&out, "K", STR("\x01")), OK);
    assert_text(buf_str(&out), "<K>&#x1;</K>");
    buf_done(&out);
    arena_done(&arena);
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(elements_texts_and_lists_are_found),
        cmocka_unit_test(long_texts_come_whole),
        cmocka_unit_test(what_no_client_sends_is_refused),
        cmocka_unit_test(depth_and_number_are_bounded),
        cmocka_unit_test(what_is_written_is_read_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
