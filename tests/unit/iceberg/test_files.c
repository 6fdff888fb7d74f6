/*
 * Whole files, for other programs to read, and files of other programs, for us to read. Without
 * arguments it tests itself; the integration tests (tests/integration/test_iceberg_files.py) call
 * it with
 *
 *     write[-deflate] FOLDER DATA_PATH ROWS BYTES COLUMN TYPE LOWER UPPER ...   metadata.json,
 *     list.avro, manifest.avro of a table of one file
 *     manifest FILE                        the entries of a manifest as JSON
 *     list FILE                            the rows of a manifest list as JSON
 *     metadata FILE                        what we see in table metadata, as JSON
 *     touch FILE OUT                       an edit that sets one property
 *     carry FILE OUT SPEC                  the entries of a manifest as existing ones in a manifest
 *     of our own
 */
#include "helper.h"

#include "iceberg/value.h"

#include "base/encode.h"

#include <stdlib.h>

static struct arena arena;
static struct err err;

/* ---- little tools ---- */

static void give_up(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, err.msg);
    exit(1);
}

static void need(enum status status, const char *what)
{
    if (status != OK) {
        give_up(what);
    }
}

static struct str load(const char *path)
{
    struct buf bytes;
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        give_up(path);
    }
    buf_init(&bytes, 0);
    size_t len = 0;
    do {
        char *room = buf_reserve(&bytes, 65536);
        len = room == NULL ? 0 : fread(room, 1, 65536, file);
        bytes.len += len;
    } while (len == 65536);
    (void)fclose(file);
    struct str copy = arena_str(&arena, buf_str(&bytes));
    buf_done(&bytes);
    return copy;
}

static int64_t number_of(const char *text)
{
    int64_t number = 0;
    if (!str_to_i64(str_of(text), &number)) {
        give_up(text);
    }
    return number;
}

static void save(const char *folder, const char *name, struct str bytes)
{
    struct str path = arena_printf(&arena, "%s%s%s", folder, name[0] != '\0' ? "/" : "", name);
    FILE *file = fopen(path.ptr, "wb");
    if (file == NULL || fwrite(bytes.ptr, 1, bytes.len, file) != bytes.len || fclose(file) != 0) {
        give_up(path.ptr);
    }
}

static void print_json(struct json_writer *w)
{
    need(json_writer_end(w), "json");
    printf("%.*s\n", STR_ARG(buf_str(w->out)));
}

static void put_hex(struct json_writer *w, const char *key, struct str bytes)
{
    AUTO(buf_done) struct buf text;
    buf_init(&text, 0);
    if (bytes.ptr == NULL) {
        return;
    }
    need(hex_append(&text, bytes.ptr, bytes.len), "hex");
    jw_kv_str(w, key, buf_str(&text));
}

/* ---- writing a table ---- */

struct sample {
    struct ice_schema schema;
    struct ice_data_file file;
};

/** Columns come as (name, type, lower, upper); an empty bound is none. */
static struct sample make_sample(const char *const *columns, size_t count, const char *path,
                                 const char *rows, const char *bytes)
{
    struct sample s = { .schema.root = { .kind = ICE_STRUCT, .field_count = count } };
    s.schema.root.fields = arena_array(&arena, count, sizeof(*s.schema.root.fields));
    s.file = (struct ice_data_file){ .path = str_of(path),
                                     .format = STR("PARQUET"),
                                     .record_count = number_of(rows),
                                     .size_bytes = number_of(bytes),
                                     .column_count = count,
                                     .sort_order_id = 0,
                                     .status = ICE_ADDED,
                                     .snapshot_id = -1,
                                     .sequence_number = -1,
                                     .file_sequence_number = -1 };
    s.file.columns = arena_array(&arena, count, sizeof(*s.file.columns));
    for (size_t i = 0; i < count; i++) {
        struct ice_field *field = &s.schema.root.fields[i];
        struct ice_column_stats *stats = &s.file.columns[i];
        yyjson_doc *doc = NULL;
        field->id = (int32_t)i + 1;
        field->name = str_of(columns[4 * i]);
        need(json_parse(str_of(columns[4 * i + 1]), &doc, &err), "type");
        need(ice_type_parse(&arena, yyjson_doc_get_root(doc), &field->type, &err), "type");
        yyjson_doc_free(doc);
        *stats = (struct ice_column_stats){
            .field_id = field->id,
            .size_bytes = 100 + (int64_t)i,
            .value_count = s.file.record_count,
            .null_count = 0,
            .nan_count = field->type.kind == ICE_DOUBLE || field->type.kind == ICE_FLOAT ? 0 : -1
        };
        for (int upper = 0; upper < 2; upper++) {
            bool none = true;
            struct str text = str_of(columns[4 * i + 2 + (size_t)upper]);
            struct str *bound = upper == 1 ? &stats->upper : &stats->lower;
            if (text.len > 0) {
                need(
                    ice_bound_from_text(&arena, &field->type, text, upper == 1, bound, &none, &err),
                    "bound");
            }
        }
    }
    return s;
}

static void write_metadata(struct sample *s, const char *folder, struct str list_path,
                           int64_t snapshot_id, struct buf *out)
{
    struct buf first;
    struct ice_metadata *base = NULL;
    struct ice_property *summary = NULL;
    struct ice_edit_result result;
    struct ice_new_snapshot snapshot = { .id = snapshot_id,
                                         .sequence_number = 1,
                                         .manifest_list = list_path };
    struct ice_new_table table = { .uuid = STR("9c12d441-03fe-4693-9a96-a0705ddf69c1"),
                                   .location = arena_printf(&arena, "file://%s", folder),
                                   .schema = &s->schema,
                                   .last_column_id = ice_schema_max_id(&s->schema),
                                   .now_ms = 1700000000000 };
    buf_init(&first, 0);
    need(ice_metadata_new(&table, &first, &err), "new");
    need(ice_metadata_parse(buf_str(&first), &base, &err), "parse");
    need(ice_append_summary(&arena, NULL, &s->file, 1, NULL, 0, &summary, &snapshot.summary_count,
                            &err),
         "summary");
    snapshot.summary = summary;
    need(ice_metadata_edit(base,
                           &(struct ice_edit){ .snapshot = &snapshot, .now_ms = 1700000001000 },
                           &arena, out, &result, &err),
         "edit");
    ice_metadata_unref(base);
    buf_done(&first);
}

static void write_table(const char *folder, struct sample *s, bool deflate)
{
    struct buf out;
    int64_t snapshot_id = ice_snapshot_id(NULL);
    struct ice_manifest_opts opts = { .schema = &s->schema,
                                      .partition_spec = STR("[]"),
                                      .deflate = deflate,
                                      .sync = "0123456789abcde" };
    struct ice_manifest_list_opts list = { .snapshot_id = snapshot_id,
                                           .parent_snapshot_id = -1,
                                           .sequence_number = 1,
                                           .deflate = deflate,
                                           .sync = "fedcba987654321" };
    struct ice_manifest_file row = { .path = arena_printf(&arena, "file://%s/manifest.avro",
                                                          folder),
                                     .sequence_number = -1,
                                     .min_sequence_number = -1,
                                     .added_snapshot_id = -1,
                                     .added_files = 1,
                                     .added_rows = s->file.record_count };
    buf_init(&out, 0);
    need(ice_manifest_write(&opts, &s->file, 1, &out, &err), "manifest");
    save(folder, "manifest.avro", buf_str(&out));
    row.length = (int64_t)out.len;
    buf_clear(&out);
    need(ice_manifest_list_write(&list, &row, 1, &out, &err), "list");
    save(folder, "list.avro", buf_str(&out));
    buf_clear(&out);
    write_metadata(s, folder, arena_printf(&arena, "file://%s/list.avro", folder), snapshot_id,
                   &out);
    save(folder, "v1.metadata.json", buf_str(&out));
    buf_done(&out);
}

/* ---- showing what we read ---- */

static void put_file(struct json_writer *w, const struct ice_data_file *file)
{
    jw_obj_begin(w);
    jw_kv_i64(w, "status", file->status);
    jw_kv_i64(w, "snapshot_id", file->snapshot_id);
    jw_kv_i64(w, "sequence_number", file->sequence_number);
    jw_kv_i64(w, "content", file->content);
    jw_kv_str(w, "path", file->path);
    jw_kv_str(w, "format", file->format);
    jw_kv_i64(w, "rows", file->record_count);
    jw_kv_i64(w, "bytes", file->size_bytes);
    jw_kv_i64(w, "sort_order_id", file->sort_order_id);
    put_hex(w, "partition", file->partition_avro);
    jw_kv_arr(w, "split_offsets");
    for (size_t i = 0; i < file->split_count; i++) {
        jw_i64(w, file->split_offsets[i]);
    }
    jw_arr_end(w);
    jw_kv_arr(w, "columns");
    for (size_t i = 0; i < file->column_count; i++) {
        const struct ice_column_stats *c = &file->columns[i];
        jw_obj_begin(w);
        jw_kv_i64(w, "id", c->field_id);
        jw_kv_i64(w, "size", c->size_bytes);
        jw_kv_i64(w, "values", c->value_count);
        jw_kv_i64(w, "nulls", c->null_count);
        jw_kv_i64(w, "nans", c->nan_count);
        put_hex(w, "lower", c->lower);
        put_hex(w, "upper", c->upper);
        jw_obj_end(w);
    }
    jw_arr_end(w);
    jw_obj_end(w);
}

static void show_manifest(const char *path)
{
    struct ice_manifest manifest;
    struct ice_manifest_file row = { .path = STR("given"),
                                     .sequence_number = 41,
                                     .added_snapshot_id = 42 };
    struct json_writer w;
    struct buf out;
    need(ice_manifest_read(&arena, load(path), &row, &manifest, &err), path);
    buf_init(&out, 0);
    json_writer_init(&w, &out);
    jw_arr_begin(&w);
    for (size_t i = 0; i < manifest.file_count; i++) {
        put_file(&w, &manifest.files[i]);
    }
    jw_arr_end(&w);
    print_json(&w);
    buf_done(&out);
}

static void put_row(struct json_writer *w, const struct ice_manifest_file *row)
{
    const struct {
        const char *name;
        int64_t value;
    } numbers[] = {
        { "length", row->length },
        { "spec", row->partition_spec_id },
        { "content", row->content },
        { "sequence_number", row->sequence_number },
        { "min_sequence_number", row->min_sequence_number },
        { "snapshot_id", row->added_snapshot_id },
        { "added_files", row->added_files },
        { "existing_files", row->existing_files },
        { "deleted_files", row->deleted_files },
        { "added_rows", row->added_rows },
        { "existing_rows", row->existing_rows },
        { "deleted_rows", row->deleted_rows },
    };
    jw_obj_begin(w);
    jw_kv_str(w, "path", row->path);
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        jw_kv_i64(w, numbers[i].name, numbers[i].value);
    }
    jw_kv_arr(w, "partitions");
    for (size_t i = 0; i < row->partition_count; i++) {
        jw_obj_begin(w);
        jw_kv_bool(w, "contains_null", row->partitions[i].contains_null);
        jw_kv_i64(w, "contains_nan", row->partitions[i].contains_nan);
        put_hex(w, "lower", row->partitions[i].lower);
        put_hex(w, "upper", row->partitions[i].upper);
        jw_obj_end(w);
    }
    jw_arr_end(w);
    jw_obj_end(w);
}

static void show_list(const char *path)
{
    struct ice_manifest_file *rows = NULL;
    size_t count = 0;
    struct json_writer w;
    struct buf out;
    need(ice_manifest_list_read(&arena, load(path), &rows, &count, &err), path);
    buf_init(&out, 0);
    json_writer_init(&w, &out);
    jw_arr_begin(&w);
    for (size_t i = 0; i < count; i++) {
        put_row(&w, &rows[i]);
    }
    jw_arr_end(&w);
    print_json(&w);
    buf_done(&out);
}

static void show_metadata(const char *path)
{
    struct ice_metadata *m = NULL;
    struct json_writer w;
    struct buf out;
    need(ice_metadata_parse(load(path), &m, &err), path);
    buf_init(&out, 0);
    json_writer_init(&w, &out);
    jw_obj_begin(&w);
    jw_kv_str(&w, "location", m->location);
    jw_kv_i64(&w, "current", m->current != NULL ? m->current->id : -1);
    jw_kv_i64(&w, "snapshots", (int64_t)m->snapshot_count);
    jw_kv_str(&w, "spec", m->specs[m->spec_count - 1].fields_json);
    jw_kv_str(&w, "manifest_list", m->current != NULL ? m->current->manifest_list : STR(""));
    jw_key(&w, STR("schema"));
    ice_schema_write(&w, m->schema);
    jw_obj_end(&w);
    print_json(&w);
    buf_done(&out);
    ice_metadata_unref(m);
}

static void touch(const char *path, const char *target)
{
    struct ice_metadata *m = NULL;
    struct ice_property property = { STR("touched"), STR("yes") };
    struct ice_edit_result result;
    struct buf out;
    need(ice_metadata_parse(load(path), &m, &err), path);
    buf_init(&out, 0);
    need(ice_metadata_edit(m, &(struct ice_edit){ .set_properties = &property, .set_count = 1 },
                           &arena, &out, &result, &err),
         "edit");
    save(target, "", buf_str(&out));
    buf_done(&out);
    ice_metadata_unref(m);
}

static void carry(const char *path, const char *target, const char *spec_id)
{
    struct ice_manifest manifest;
    struct ice_manifest_file row = { .path = STR("given"),
                                     .sequence_number = 41,
                                     .added_snapshot_id = 42 };
    struct ice_schema schema = { .root.kind = ICE_STRUCT };
    struct buf out;
    need(ice_manifest_read(&arena, load(path), &row, &manifest, &err), path);
    for (size_t i = 0; i < manifest.file_count; i++) {
        manifest.files[i].status = ICE_EXISTING;
    }
    struct ice_manifest_opts opts = { .schema = &schema,
                                      .partition_spec = manifest.partition_spec,
                                      .partition_spec_id = (int32_t)number_of(spec_id),
                                      .avro_partition_schema = manifest.avro_partition_schema,
                                      .sync = "0123456789abcde" };
    buf_init(&out, 0);
    need(ice_manifest_write(&opts, manifest.files, manifest.file_count, &out, &err), "write");
    save(target, "", buf_str(&out));
    buf_done(&out);
}

/* ---- alone ---- */

static void written_table_is_read_by_ourselves(void **state)
{
    (void)state;
    char folder[] = "/tmp/ice-files-XXXXXX";
    const char *const columns[] = { "a", "\"int\"", "1", "9", "b", "\"string\"", "x", "y" };
    arena_init(&arena, 0);
    assert_non_null(mkdtemp(folder));
    struct sample s = make_sample(columns, 2, "file:///d.parquet", "7", "99");
    write_table(folder, &s, true);
    struct ice_metadata *m = NULL;
    struct ice_manifest_file *rows = NULL;
    struct ice_manifest manifest;
    size_t count = 0;
    MUST(ice_metadata_parse(load(arena_printf(&arena, "%s/v1.metadata.json", folder).ptr), &m,
                            &err));
    MUST(ice_manifest_list_read(&arena, load(m->current->manifest_list.ptr + strlen("file://")),
                                &rows, &count, &err));
    assert_int_equal(count, 1);
    assert_int_equal(rows[0].added_snapshot_id, m->current->id);
    MUST(ice_manifest_read(&arena, load(rows[0].path.ptr + strlen("file://")), rows, &manifest,
                           &err));
    assert_int_equal(manifest.files[0].record_count, 7);
    assert_int_equal(manifest.files[0].snapshot_id, m->current->id);
    ice_metadata_unref(m);
    static const char *const names[] = { "v1.metadata.json", "list.avro", "manifest.avro" };
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        assert_int_equal(remove(arena_printf(&arena, "%s/%s", folder, names[i]).ptr), 0);
    }
    assert_int_equal(remove(folder), 0);
    arena_done(&arena);
}

static int run_command(int argc, char **argv)
{
    struct str command = str_of(argv[1]);
    arena_init(&arena, (size_t)1 << 30);
    if (str_starts(command, STR("write")) && argc >= 6) {
        struct sample s = make_sample((const char *const *)argv + 6, (size_t)(argc - 6) / 4,
                                      argv[3], argv[4], argv[5]);
        write_table(argv[2], &s, str_eq(command, STR("write-deflate")));
    } else if (str_eq(command, STR("manifest")) && argc == 3) {
        show_manifest(argv[2]);
    } else if (str_eq(command, STR("list")) && argc == 3) {
        show_list(argv[2]);
    } else if (str_eq(command, STR("metadata")) && argc == 3) {
        show_metadata(argv[2]);
    } else if (str_eq(command, STR("touch")) && argc == 4) {
        touch(argv[2], argv[3]);
    } else if (str_eq(command, STR("carry")) && argc == 5) {
        carry(argv[2], argv[3], argv[4]);
    } else {
        give_up("usage");
    }
    arena_done(&arena);
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(written_table_is_read_by_ourselves) };
    return argc > 1 ? run_command(argc, argv) : cmocka_run_group_tests(tests, NULL, NULL);
}
