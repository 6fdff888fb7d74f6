/* The bytes of log objects, against the example of their format's page. */
#include "lake.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collection/record.h"

static const uint8_t uuid[RECORD_UUID_BYTES] = { 0x7d, 0x1f, 0x0e, 0x52, 0x93, 0xb4, 0x4c, 0x6a,
                                                 0x8d, 0x27, 0x5b, 0x1a, 0x90, 0xc3, 0xe4, 0xf6 };

/** The bytes of the example: the lines of hex behind the one that begins it. Tests run in the
 * repository's folder. */
static void read_example(struct buf *out)
{
    char line[1024];
    bool begun = false, done = false;
    FILE *file = fopen("docs/formats/vector-collection.md", "r");
    assert_non_null(file);
    while (!done && fgets(line, sizeof line, file) != NULL) {
        begun = begun || strncmp(line, "Example: log object", 19) == 0;
        bool hex = begun && strncmp(line, "    ", 4) == 0;
        done = out->len > 0 && !hex;
        for (char *at = line; hex && *at != '\n';) {
            char *end = at;
            char byte = (char)strtoul(at, &end, 16);
            assert_true(end > at);
            assert_ok(buf_append_bytes(out, &byte, 1));
            at = end;
        }
    }
    assert_int_equal(fclose(file), 0);
    assert_true(out->len > 0);
}

static void the_example_of_the_format_s_page_is_decoded(void **state)
{
    struct buf bytes;
    struct record_head head;
    struct record record;
    size_t at = RECORD_HEAD_BYTES;
    buf_init(&bytes, 0);
    read_example(&bytes);
    assert_ok(record_check(buf_str(&bytes), &head, ERR));
    assert_int_equal(head.object, RECORD_LOG);
    assert_memory_equal(head.uuid, uuid, sizeof uuid);
    assert_int_equal(head.epoch, 3);
    assert_int_equal(head.sequence, 18);
    assert_true(head.tag == 0x90a1b2c3d4e5f607);
    assert_int_equal(head.length, 2);
    assert_int_equal(head.count, 2);
    assert_int_equal(head.dimension, 2);
    assert_true(record_next(buf_str(&bytes), 2, &at, &record));
    assert_int_equal(record.kind, RECORD_PUT);
    assert_str(record.id, "a");
    assert_true(record.has_vector && record.vector[0] == 1.0F && record.vector[1] == -0.5F);
    assert_true(record.has_metadata);
    assert_str(record.metadata, "{\"n\":1}");
    assert_int_equal(at, RECORD_HEAD_BYTES + 40);
    assert_true(record_next(buf_str(&bytes), 2, &at, &record));
    assert_int_equal(record.kind, RECORD_DELETE);
    assert_str(record.id, "b");
    assert_false(record.has_vector || record.has_metadata);
    assert_false(record_next(buf_str(&bytes), 2, &at, &record));
    assert_int_equal(at, bytes.len);
    buf_done(&bytes);
}

static void what_is_written_is_the_example_byte_for_byte(void **state)
{
    const float vector[] = { 1, -0.5F };
    const struct record records[] = {
        { .kind = RECORD_PUT,
          .id = STR("a"),
          .has_vector = true,
          .vector = vector,
          .has_metadata = true,
          .metadata = STR("{\"n\":1}") },
        { .kind = RECORD_DELETE, .id = STR("b") },
    };
    struct record_head head = { .object = RECORD_LOG,
                                .epoch = 3,
                                .sequence = 18,
                                .tag = 0x90a1b2c3d4e5f607,
                                .length = 2,
                                .count = ARRAY_LEN(records),
                                .dimension = 2 };
    struct buf bytes, example;
    memcpy(head.uuid, uuid, sizeof uuid);
    buf_init(&bytes, 0);
    buf_init(&example, 0);
    read_example(&example);
    assert_ok(record_begin(&bytes));
    for (size_t i = 0; i < ARRAY_LEN(records); i++) {
        assert_ok(record_append(&bytes, &records[i], 2));
    }
    record_finish(&bytes, &head);
    assert_int_equal(bytes.len, example.len);
    assert_memory_equal(bytes.ptr, example.ptr, bytes.len);
    buf_done(&bytes);
    buf_done(&example);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_example_of_the_format_s_page_is_decoded),
        cmocka_unit_test(what_is_written_is_the_example_byte_for_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
