/* Manifests and manifest lists: bytes, round trips, what is refused, what is read leniently. */
#include "helper.h"

#include "iceberg/avro.h"

static struct arena arena;
static struct buf out;
static struct err err;
static const uint8_t sync_marker[16] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 };

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, 0);
    buf_init(&out, 0);
    err = (struct err){ 0 };
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_done(&arena);
    buf_done(&out);
    return 0;
}

static struct ice_schema small_schema(void)
{
    return schema_of(
        &arena,
        "{'type':'struct','schema-id':3,'fields':[{'id':1,'name':'a','required':false,'type':'int'},"
        "{'id':2,'name':'b','required':false,'type':'string'}]}");
}

static struct ice_data_file small_file(struct ice_column_stats columns[2])
{
    columns[0] = (struct ice_column_stats){ .field_id = 1,
                                            .size_bytes = 40,
                                            .value_count = 10,
                                            .null_count = 0,
                                            .nan_count = -1,
                                            .lower = str_from("\x01\0\0\0", 4),
                                            .upper = str_from("\x09\0\0\0", 4) };
    columns[1] = (struct ice_column_stats){
        .field_id = 2, .size_bytes = 80, .value_count = 10, .null_count = 10, .nan_count = -1
    };
    return (struct ice_data_file){ .path = STR("s3://lake/t/data/a.parquet"),
                                   .format = STR("PARQUET"),
                                   .record_count = 10,
                                   .size_bytes = 1234,
                                   .columns = columns,
                                   .column_count = 2,
                                   .sort_order_id = -1,
                                   .status = ICE_ADDED,
                                   .snapshot_id = -1,
                                   .sequence_number = -1,
                                   .file_sequence_number = -1 };
}

static struct ice_manifest_opts small_opts(const struct ice_schema *schema, bool deflate)
{
    struct ice_manifest_opts opts = { .schema = schema,
                                      .partition_spec = STR("[]"),
                                      .deflate = deflate };
    memcpy(opts.sync, sync_marker, sizeof(sync_marker));
    return opts;
}

static void manifest_of_one_file_has_the_bytes_of_the_format_page(void **state)
{
    (void)state;
    struct ice_schema schema = small_schema();
    struct ice_column_stats columns[2];
    struct ice_data_file file = small_file(columns);
    struct ice_manifest_opts opts = small_opts(&schema, false);
    MUST(ice_manifest_write(&opts, &file, 1, &out, &err));
    static const uint8_t entry[] = "\x02"
                                   "\x00"
                                   "\x00"
                                   "\x00" /* status 1, three nulls */
                                   "\x00"
                                   "\x34"
                                   "s3://lake/t/data/a.parquet" /* content 0, path of 26 bytes */
                                   "\x0e"
                                   "PARQUET"
                                   "\x14"
                                   "\xa4\x13" /* 10 rows, 1234 bytes */
                                   "\x02"
                                   "\x04"
                                   "\x02\x50"
                                   "\x04\xa0\x01"
                                   "\x00" /* column_sizes {1: 40, 2: 80} */
                                   "\x02"
                                   "\x04"
                                   "\x02\x14"
                                   "\x04\x14"
                                   "\x00" /* value_counts */
                                   "\x02"
                                   "\x04"
                                   "\x02\x00"
                                   "\x04\x14"
                                   "\x00" /* null_value_counts */
                                   "\x00" /* no nan_value_counts */
                                   "\x02"
                                   "\x02"
                                   "\x02\x08"
                                   "\x01\x00\x00\x00"
                                   "\x00"
                                   "\x02"
                                   "\x02"
                                   "\x02\x08"
                                   "\x09\x00\x00\x00"
                                   "\x00"
                                   "\x00"
                                   "\x00"
                                   "\x00"
                                   "\x00"
                                   "\x00";
    size_t len = sizeof(entry) - 1;
    struct str tail = str_skip(buf_str(&out), out.len - 16 - len - 3);
    assert_int_equal(tail.ptr[0], 2); /* one record, zigzag */
    assert_memory_equal(tail.ptr + 3, entry, len);
    assert_memory_equal(tail.ptr + 3 + len, sync_marker, 16);
    assert_memory_equal(out.ptr, "Obj\x01", 4);
}

static void manifest_comes_back_as_it_was_written(void **state)
{
    (void)state;
    struct ice_schema schema = small_schema();
    for (int deflate = 0; deflate < 2; deflate++) {
        struct ice_column_stats columns[2];
        struct ice_data_file files[2] = { small_file(columns), small_file(columns) };
        int64_t splits[] = { 4, 4000000000 };
        files[1].split_offsets = splits;
        files[1].split_count = 2;
        files[1].sort_order_id = 0;
        files[1].status = ICE_EXISTING;
        files[1].snapshot_id = 77;
        files[1].sequence_number = 5;
        files[1].file_sequence_number = 4;
        struct ice_manifest_opts opts = small_opts(&schema, deflate == 1);
        buf_clear(&out);
        MUST(ice_manifest_write(&opts, files, 2, &out, &err));
        struct ice_manifest_file row = { .path = STR("m"),
                                         .sequence_number = 9,
                                         .added_snapshot_id = 99 };
        struct ice_manifest m;
        MUST(ice_manifest_read(&arena, buf_str(&out), &row, &m, &err));
        assert_int_equal(m.file_count, 2);
        assert_str(m.partition_spec, "[]");
        assert_int_equal(m.avro_partition_schema.len, 0);
        assert_str(m.files[0].path, "s3://lake/t/data/a.parquet");
        assert_int_equal(m.files[0].record_count, 10);
        assert_int_equal(m.files[0].size_bytes, 1234);
        assert_int_equal(m.files[0].snapshot_id, 99); /* inherited */
        assert_int_equal(m.files[0].sequence_number, 9);
        assert_int_equal(m.files[0].file_sequence_number, 9);
        assert_int_equal(m.files[0].sort_order_id, -1);
        assert_int_equal(m.files[0].column_count, 2);
        assert_int_equal(m.files[0].columns[0].null_count, 0);
        assert_int_equal(m.files[0].columns[0].nan_count, -1);
        assert_memory_equal(m.files[0].columns[0].upper.ptr, "\x09\0\0\0", 4);
        assert_null(m.files[0].columns[1].lower.ptr);
        assert_int_equal(m.files[0].columns[1].null_count, 10);
        assert_int_equal(m.files[1].snapshot_id, 77); /* its own */
        assert_int_equal(m.files[1].sequence_number, 5);
        assert_int_equal(m.files[1].file_sequence_number, 4);
        assert_int_equal(m.files[1].sort_order_id, 0);
        assert_int_equal(m.files[1].split_count, 2);
        assert_int_equal(m.files[1].split_offsets[1], 4000000000);
    }
}

static void manifest_of_many_files_spans_blocks(void **state)
{
    (void)state;
    struct ice_schema schema = small_schema();
    struct ice_column_stats columns[2];
    enum { COUNT = 5000 };
    struct ice_data_file *files = arena_array(&arena, COUNT, sizeof(*files));
    for (size_t i = 0; i < COUNT; i++) {
        files[i] = small_file(columns);
        files[i].path = arena_printf(&arena, "s3://lake/t/data/%zu.parquet", i);
        files[i].record_count = (int64_t)i;
    }
    struct ice_manifest_opts opts = small_opts(&schema, true);
    MUST(ice_manifest_write(&opts, files, COUNT, &out, &err));
    struct ice_manifest m;
    MUST(ice_manifest_read(&arena, buf_str(&out), NULL, &m, &err));
    assert_int_equal(m.file_count, COUNT);
    assert_int_equal(m.files[COUNT - 1].record_count, COUNT - 1);
    assert_int_equal(m.files[0].snapshot_id, -1);
}

static void manifest_that_would_break_readers_is_refused(void **state)
{
    (void)state;
    struct ice_schema schema = small_schema();
    struct ice_column_stats columns[2];
    struct ice_data_file file = small_file(columns);
    struct ice_manifest_opts opts = small_opts(&schema, false);
    assert_int_equal(ice_manifest_write(&opts, &file, 0, &out, &err), E_INVALID);
    file.status = ICE_EXISTING; /* without ids */
    assert_int_equal(ice_manifest_write(&opts, &file, 1, &out, &err), E_INVALID);
    file = small_file(columns);
    file.content = ICE_POSITION_DELETES;
    assert_int_equal(ice_manifest_write(&opts, &file, 1, &out, &err), E_INVALID);
    file = small_file(columns);
    file.partition_avro = STR("\x02");
    assert_int_equal(ice_manifest_write(&opts, &file, 1, &out, &err), E_INVALID);
    assert_int_equal(out.len, 0);
}

static void partition_records_are_carried_over_unseen(void **state)
{
    (void)state;
    struct ice_schema schema = small_schema();
    struct ice_column_stats columns[2];
    struct ice_data_file file = small_file(columns);
    struct ice_manifest_opts opts = small_opts(&schema, false);
    opts.partition_spec = json_text(
        &arena, "[{'source-id':2,'field-id':1000,'name':'b','transform':'identity'}]");
    opts.avro_partition_schema = json_text(
        &arena,
        "{'type':'record','name':'r102','fields':[{'name':'b','type':['null','string'],'default':null,'field-id':1000}]}");
    file.partition_avro = STR("\x02\x04xy");
    MUST(ice_manifest_write(&opts, &file, 1, &out, &err));
    struct ice_manifest m;
    MUST(ice_manifest_read(&arena, buf_str(&out), NULL, &m, &err));
    assert_str(m.files[0].partition_avro, "\x02\x04xy");
    opts.avro_partition_schema = m.avro_partition_schema;
    struct str before = arena_str(&arena, buf_str(&out));
    buf_clear(&out);
    MUST(ice_manifest_write(&opts, m.files, 1, &out, &err));
    assert_true(str_eq(before, buf_str(&out)));
}

/** The key of the only file of a manifest whose partition record is `record`. */
static struct str partition_key_of(const char *avro_type, struct str record)
{
    struct ice_schema schema = small_schema();
    struct ice_column_stats columns[2];
    struct ice_data_file file = small_file(columns);
    struct ice_manifest_opts opts = small_opts(&schema, false);
    struct ice_manifest_file row = { .partition_spec_id = 7, .sequence_number = 3 };
    struct ice_manifest m;
    opts.partition_spec = STR("[]");
    opts.avro_partition_schema = json_text(
        &arena, arena_printf(&arena,
                             "{'type':'record','name':'r102','fields':[{'name':'p','type':%s,"
                             "'field-id':1000}]}",
                             avro_type)
                    .ptr);
    file.partition_avro = record;
    buf_clear(&out);
    MUST(ice_manifest_write(&opts, &file, 1, &out, &err));
    MUST(ice_manifest_read(&arena, buf_str(&out), &row, &m, &err));
    assert_int_equal(m.files[0].partition_spec_id, 7);
    return m.files[0].partition_key;
}

static void partitions_are_equal_by_value_whoever_wrote_them(void **state)
{
    (void)state;
    struct str text = partition_key_of("['null','string']", STR("\x02\x04xy"));
    assert_true(str_eq(text, partition_key_of("['string','null']", str_from("\x00\x04xy", 4))));
    assert_true(str_eq(text, partition_key_of("'string'", STR("\x04xy"))));
    assert_false(str_eq(text, partition_key_of("'string'", STR("\x04xz"))));
    struct str number = partition_key_of("['null','int']", STR("\x02\x06"));
    assert_true(str_eq(number, partition_key_of("['null','long']", STR("\x02\x06"))));
    struct str none = partition_key_of("['null','int']", str_from("\x00", 1));
    assert_true(str_eq(none, partition_key_of("['string','null']", STR("\x02"))));
    assert_false(str_eq(none, partition_key_of("'string'", str_from("\x00", 1)))); /* empty */
}

static void manifest_list_comes_back_as_it_was_written(void **state)
{
    (void)state;
    struct ice_partition_summary part = {
        .contains_null = true, .contains_nan = -1, .lower = STR("a"), .upper = STR("b")
    };
    struct ice_manifest_file rows[2] = {
        { .path = STR("s3://lake/m0.avro"),
          .length = 5000,
          .sequence_number = -1,
          .min_sequence_number = -1,
          .added_snapshot_id = -1,
          .added_files = 1,
          .added_rows = 10 },
        { .path = STR("s3://lake/m1.avro"),
          .length = 6000,
          .partition_spec_id = 2,
          .content = 1,
          .sequence_number = 3,
          .min_sequence_number = 2,
          .added_snapshot_id = 12,
          .existing_files = 4,
          .deleted_rows = 7,
          .partitions = &part,
          .partition_count = 1 },
    };
    struct ice_manifest_list_opts opts = { .snapshot_id = 55,
                                           .parent_snapshot_id = -1,
                                           .sequence_number = 8 };
    MUST(ice_manifest_list_write(&opts, rows, 2, &out, &err));
    struct ice_manifest_file *back = NULL;
    size_t count = 0;
    MUST(ice_manifest_list_read(&arena, buf_str(&out), &back, &count, &err));
    assert_int_equal(count, 2);
    assert_int_equal(back[0].sequence_number, 8);
    assert_int_equal(back[0].min_sequence_number, 8);
    assert_int_equal(back[0].added_snapshot_id, 55);
    assert_int_equal(back[0].added_rows, 10);
    assert_int_equal(back[0].partition_count, 0);
    assert_int_equal(back[1].content, 1);
    assert_int_equal(back[1].partition_spec_id, 2);
    assert_int_equal(back[1].min_sequence_number, 2);
    assert_int_equal(back[1].deleted_rows, 7);
    assert_int_equal(back[1].partition_count, 1);
    assert_true(back[1].partitions[0].contains_null);
    assert_int_equal(back[1].partitions[0].contains_nan, -1);
    assert_str(back[1].partitions[0].upper, "b");
}

static void counts_that_cannot_be_are_corrupt(void **state)
{
    (void)state;
    const struct ice_manifest_file good = { .path = STR("s3://lake/m0.avro"), .length = 1 };
    const struct ice_manifest_list_opts opts = { .snapshot_id = 5, .parent_snapshot_id = -1 };
    struct ice_manifest_file *back = NULL;
    size_t count = 0;
    for (int i = 0; i < 6; i++) {
        struct ice_manifest_file row = good;
        row.length = i == 1 ? INT64_MAX : i == 2 ? -1 : 1;
        row.added_rows = i == 3 ? INT64_MAX : i == 4 ? -2 : 0;
        row.existing_rows = i == 5 ? ICE_COUNT_MAX + 1 : ICE_COUNT_MAX;
        buf_clear(&out);
        enum status status = ice_manifest_list_write(&opts, &row, 1, &out, NULL);
        assert_true(status == OK || i == 2 || i == 4); /* it does not write them either */
        if (status == OK) {
            assert_int_equal(ice_manifest_list_read(&arena, buf_str(&out), &back, &count, NULL),
                             i == 0 ? OK : E_CORRUPT);
        }
    }
    struct ice_schema schema = small_schema();
    struct ice_column_stats columns[2];
    struct ice_manifest_opts manifest_opts = small_opts(&schema, false);
    struct ice_manifest manifest;
    for (int i = 0; i < 3; i++) {
        struct ice_data_file file = small_file(columns);
        file.record_count = i == 1 ? INT64_MAX : 1;
        file.size_bytes = i == 2 ? ICE_COUNT_MAX + 1 : 1;
        buf_clear(&out);
        MUST(ice_manifest_write(&manifest_opts, &file, 1, &out, &err));
        assert_int_equal(ice_manifest_read(&arena, buf_str(&out), NULL, &manifest, NULL),
                         i == 0 ? OK : E_CORRUPT);
    }
}

static void manifest_cut_anywhere_is_corrupt_and_never_crashes(void **state)
{
    (void)state;
    struct ice_schema schema = small_schema();
    struct ice_column_stats columns[2];
    struct ice_data_file file = small_file(columns);
    struct ice_manifest_opts opts = small_opts(&schema, true);
    MUST(ice_manifest_write(&opts, &file, 1, &out, &err));
    size_t header_len = 0;
    struct avro_file whole;
    MUST(avro_open(&arena, buf_str(&out), &whole, &err));
    header_len = out.len - whole.rest.len;
    avro_close(&whole);
    for (size_t len = 0; len < out.len; len++) {
        char *exact = malloc(len + 1); /* so that the sanitizer sees a read past the end */
        struct ice_manifest m = { 0 };
        memcpy(exact, out.ptr, len);
        enum status status = ice_manifest_read(&arena, str_from(exact, len), NULL, &m, &err);
        free(exact);
        if (len == header_len) {
            assert_int_equal(status, OK); /* a file without blocks */
        } else {
            assert_int_equal(status, E_CORRUPT);
        }
        arena_reset(&arena);
    }
}

static void unknown_codec_is_unsupported(void **state)
{
    (void)state;
    struct avro_file file;
    struct avro_pair none[1] = { { STR("x"), STR("y") } };
    struct avro_writer w;
    MUST(avro_writer_open(&w, &out, STR("\"null\""), none, 1, AVRO_CODEC_NULL, sync_marker, &err));
    MUST(avro_writer_close(&w, &err));
    for (size_t i = 0; i + 4 < out.len; i++) {
        if (memcmp(out.ptr + i, "\x08null\x02x", 7) == 0) {
            memcpy(out.ptr + i, "\x08nope", 5);
        }
    }
    assert_int_equal(avro_open(&arena, buf_str(&out), &file, &err), E_UNSUPPORTED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(counts_that_cannot_be_are_corrupt, setup, teardown),
        cmocka_unit_test_setup_teardown(manifest_of_one_file_has_the_bytes_of_the_format_page,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(manifest_comes_back_as_it_was_written, setup, teardown),
        cmocka_unit_test_setup_teardown(manifest_of_many_files_spans_blocks, setup, teardown),
        cmocka_unit_test_setup_teardown(manifest_that_would_break_readers_is_refused, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(partition_records_are_carried_over_unseen, setup, teardown),
        cmocka_unit_test_setup_teardown(partitions_are_equal_by_value_whoever_wrote_them, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(manifest_list_comes_back_as_it_was_written, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(manifest_cut_anywhere_is_corrupt_and_never_crashes, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(unknown_codec_is_unsupported, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
