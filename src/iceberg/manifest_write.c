/*
 * Writing manifests and manifest lists of format version 2.
 *
 * The Avro schemas are printed from tables of columns; only the partition record varies. Values are
 * appended in the schema's order by put_* functions; the two must be read side by side.
 * docs/formats/iceberg.md has the tables.
 */
#include "iceberg/avro_priv.h"
#include "iceberg/manifest.h"

#include <stdio.h>

/* ---- the Avro schemas, one line a field ---- */

enum shape {
    REQUIRED,
    OPTIONAL, /* a union with null, null by default */
    /* optional; from field id to a value: an array of records, for Avro's maps have text keys */
    INT_MAP,
    LIST, /* optional */
};

struct column {
    int id;
    const char *name;
    enum shape shape;
    const char *type;     /* of the value or the item; NULL: a record that write_record_of knows */
    int key_id, value_id; /* of INT_MAP; LIST has its element id in value_id */
};

static const struct column entry_columns[] = {
    { 0, "status", REQUIRED, "int", 0, 0 },
    { 1, "snapshot_id", OPTIONAL, "long", 0, 0 },
    { 3, "sequence_number", OPTIONAL, "long", 0, 0 },
    { 4, "file_sequence_number", OPTIONAL, "long", 0, 0 },
    { 2, "data_file", REQUIRED, NULL, 0, 0 },
};

static const struct column file_columns[] = {
    { 134, "content", REQUIRED, "int", 0, 0 },
    { 100, "file_path", REQUIRED, "string", 0, 0 },
    { 101, "file_format", REQUIRED, "string", 0, 0 },
    { 102, "partition", REQUIRED, NULL, 0, 0 },
    { 103, "record_count", REQUIRED, "long", 0, 0 },
    { 104, "file_size_in_bytes", REQUIRED, "long", 0, 0 },
    { 108, "column_sizes", INT_MAP, "long", 117, 118 },
    { 109, "value_counts", INT_MAP, "long", 119, 120 },
    { 110, "null_value_counts", INT_MAP, "long", 121, 122 },
    { 137, "nan_value_counts", INT_MAP, "long", 138, 139 },
    { 125, "lower_bounds", INT_MAP, "bytes", 126, 127 },
    { 128, "upper_bounds", INT_MAP, "bytes", 129, 130 },
    { 131, "key_metadata", OPTIONAL, "bytes", 0, 0 },
    { 132, "split_offsets", LIST, "long", 0, 133 },
    { 135, "equality_ids", LIST, "int", 0, 136 },
    { 140, "sort_order_id", OPTIONAL, "int", 0, 0 },
    { 143, "referenced_data_file", OPTIONAL, "string", 0, 0 },
};

static const struct column list_columns[] = {
    { 500, "manifest_path", REQUIRED, "string", 0, 0 },
    { 501, "manifest_length", REQUIRED, "long", 0, 0 },
    { 502, "partition_spec_id", REQUIRED, "int", 0, 0 },
    { 517, "content", REQUIRED, "int", 0, 0 },
    { 515, "sequence_number", REQUIRED, "long", 0, 0 },
    { 516, "min_sequence_number", REQUIRED, "long", 0, 0 },
    { 503, "added_snapshot_id", REQUIRED, "long", 0, 0 },
    { 504, "added_files_count", REQUIRED, "int", 0, 0 },
    { 505, "existing_files_count", REQUIRED, "int", 0, 0 },
    { 506, "deleted_files_count", REQUIRED, "int", 0, 0 },
    { 512, "added_rows_count", REQUIRED, "long", 0, 0 },
    { 513, "existing_rows_count", REQUIRED, "long", 0, 0 },
    { 514, "deleted_rows_count", REQUIRED, "long", 0, 0 },
    { 507, "partitions", LIST, NULL, 0, 508 },
    { 519, "key_metadata", OPTIONAL, "bytes", 0, 0 },
};

static const struct column summary_columns[] = {
    { 509, "contains_null", REQUIRED, "boolean", 0, 0 },
    { 518, "contains_nan", OPTIONAL, "boolean", 0, 0 },
    { 510, "lower_bound", OPTIONAL, "bytes", 0, 0 },
    { 511, "upper_bound", OPTIONAL, "bytes", 0, 0 },
};

static void write_record(struct json_writer *w, const char *name, const struct column *columns,
                         size_t count, struct str partition);

/** The type of a column without a type's name. `partition` is the JSON of its record. */
static void write_record_of(struct json_writer *w, const struct column *column,
                            struct str partition)
{
    if (column->id == 2) {
        write_record(w, "r2", file_columns, ARRAY_LEN(file_columns), partition);
    } else if (column->id == 507) {
        write_record(w, "r508", summary_columns, ARRAY_LEN(summary_columns), partition);
    } else if (partition.len > 0) {
        jw_raw(w, partition);
    } else {
        write_record(w, "r102", NULL, 0, partition);
    }
}

static void write_int_map(struct json_writer *w, const struct column *column)
{
    char name[40];
    const struct column pair[] = {
        { column->key_id, "key", REQUIRED, "int", 0, 0 },
        { column->value_id, "value", REQUIRED, column->type, 0, 0 },
    };
    (void)snprintf(name, sizeof(name), "k%d_v%d", column->key_id, column->value_id);
    jw_obj_begin(w);
    jw_kv_cstr(w, "type", "array");
    jw_key(w, STR("items"));
    write_record(w, name, pair, ARRAY_LEN(pair), STR_EMPTY);
    jw_kv_cstr(w, "logicalType", "map");
    jw_obj_end(w);
}

static void write_value_type(struct json_writer *w, const struct column *column,
                             struct str partition)
{
    if (column->shape == LIST) {
        jw_obj_begin(w);
        jw_kv_cstr(w, "type", "array");
        jw_key(w, STR("items"));
    }
    if (column->type != NULL) {
        jw_str(w, str_of(column->type));
    } else {
        write_record_of(w, column, partition);
    }
    if (column->shape == LIST) {
        jw_kv_i64(w, "element-id", column->value_id);
        jw_obj_end(w);
    }
}

static void write_column(struct json_writer *w, const struct column *column, struct str partition)
{
    jw_obj_begin(w);
    jw_kv_cstr(w, "name", column->name);
    jw_key(w, STR("type"));
    if (column->shape != REQUIRED) {
        jw_arr_begin(w);
        jw_str(w, STR("null"));
    }
    if (column->shape == INT_MAP) {
        write_int_map(w, column);
    } else {
        write_value_type(w, column, partition);
    }
    if (column->shape != REQUIRED) {
        jw_arr_end(w);
        jw_key(w, STR("default"));
        jw_null(w);
    }
    jw_kv_i64(w, "field-id", column->id);
    jw_obj_end(w);
}

static void write_record(struct json_writer *w, const char *name, const struct column *columns,
                         size_t count, struct str partition)
{
    jw_obj_begin(w);
    jw_kv_cstr(w, "type", "record");
    jw_kv_cstr(w, "name", name);
    jw_kv_arr(w, "fields");
    for (size_t i = 0; i < count; i++) {
        write_column(w, &columns[i], partition);
    }
    jw_arr_end(w);
    jw_obj_end(w);
}

/* ---- optional values: a union of null and one type ---- */

static enum status put_null(struct buf *out)
{
    return avro_put_long(out, 0);
}

static enum status put_optional_long(struct buf *out, bool there, int64_t value)
{
    if (!there) {
        return put_null(out);
    }
    TRY(avro_put_long(out, 1));
    return avro_put_long(out, value);
}

static enum status put_optional_bytes(struct buf *out, struct str value)
{
    if (value.ptr == NULL) {
        return put_null(out);
    }
    TRY(avro_put_long(out, 1));
    return avro_put_bytes(out, value);
}

/* ---- a manifest ---- */

/** One statistic of a column: a number, or bytes for bounds. */
struct stat {
    bool is_known;
    int64_t number;
    struct str bytes;
};

static struct stat stat_of(const struct ice_column_stats *column, int map_id)
{
    struct stat stat = { 0 };
    switch (map_id) {
    case 108:
        stat.number = column->size_bytes;
        break;
    case 109:
        stat.number = column->value_count;
        break;
    case 110:
        stat.number = column->null_count;
        break;
    case 137:
        stat.number = column->nan_count;
        break;
    default:
        stat.bytes = map_id == 125 ? column->lower : column->upper;
        stat.number = stat.bytes.ptr != NULL ? 0 : -1;
        break;
    }
    stat.is_known = stat.number >= 0;
    return stat;
}

/** A map from field id to one statistic, as an array of (key, value). */
static enum status put_stats(struct buf *out, const struct ice_data_file *file, int map_id)
{
    int64_t count = 0;
    for (size_t i = 0; i < file->column_count; i++) {
        count += stat_of(&file->columns[i], map_id).is_known ? 1 : 0;
    }
    if (count == 0) {
        return put_null(out);
    }
    TRY(avro_put_long(out, 1));
    TRY(avro_put_long(out, count));
    for (size_t i = 0; i < file->column_count; i++) {
        struct stat stat = stat_of(&file->columns[i], map_id);
        if (stat.is_known) {
            TRY(avro_put_long(out, file->columns[i].field_id));
            TRY(stat.bytes.ptr != NULL ? avro_put_bytes(out, stat.bytes)
                                       : avro_put_long(out, stat.number));
        }
    }
    return avro_put_long(out, 0);
}

static enum status put_lists(struct buf *out, const struct ice_data_file *file)
{
    TRY(avro_put_long(out, file->split_count > 0 ? 1 : 0));
    if (file->split_count > 0) {
        TRY(avro_put_long(out, (int64_t)file->split_count));
        for (size_t i = 0; i < file->split_count; i++) {
            TRY(avro_put_long(out, file->split_offsets[i]));
        }
        TRY(avro_put_long(out, 0));
    }
    TRY(avro_put_long(out, file->equality_count > 0 ? 1 : 0));
    if (file->equality_count > 0) {
        TRY(avro_put_long(out, (int64_t)file->equality_count));
        for (size_t i = 0; i < file->equality_count; i++) {
            TRY(avro_put_long(out, file->equality_ids[i]));
        }
        TRY(avro_put_long(out, 0));
    }
    return OK;
}

static enum status put_entry(struct buf *out, const struct ice_data_file *file)
{
    static const int stats[] = { 108, 109, 110, 137, 125, 128 }; /* the ids of file_columns */
    TRY(avro_put_long(out, file->status));
    TRY(put_optional_long(out, file->snapshot_id >= 0, file->snapshot_id));
    TRY(put_optional_long(out, file->sequence_number >= 0, file->sequence_number));
    TRY(put_optional_long(out, file->file_sequence_number >= 0, file->file_sequence_number));
    TRY(avro_put_long(out, file->content));
    TRY(avro_put_bytes(out, file->path));
    TRY(avro_put_bytes(out, file->format));
    TRY(buf_append(out, file->partition_avro));
    TRY(avro_put_long(out, file->record_count));
    TRY(avro_put_long(out, file->size_bytes));
    for (size_t i = 0; i < ARRAY_LEN(stats); i++) {
        TRY(put_stats(out, file, stats[i]));
    }
    TRY(put_optional_bytes(out, file->key_metadata));
    TRY(put_lists(out, file));
    TRY(put_optional_long(out, file->sort_order_id >= 0, file->sort_order_id));
    return put_optional_bytes(out, file->referenced_data_file);
}

/** The partition record's schema, to check the opaque records against; *out NULL for
 * unpartitioned. */
static enum status parse_partition(struct arena *arena, const struct ice_manifest_opts *opts,
                                   yyjson_doc **doc, const struct avro_type **out, struct err *err)
{
    if (opts->avro_partition_schema.len == 0) {
        return OK;
    }
    TRY(json_parse(opts->avro_partition_schema, doc, err));
    TRY(avro_schema_parse(arena, yyjson_doc_get_root(*doc), out, err));
    if ((*out)->kind != AVRO_RECORD) {
        return err_set(err, E_INVALID, "the partition schema is no record");
    }
    return OK;
}

static enum status check_partition(const struct avro_type *partition,
                                   const struct ice_data_file *file, struct err *err)
{
    struct str record = file->partition_avro.len > 0 ? file->partition_avro : STR_EMPTY;
    struct avro_cursor c = { .ptr = record.ptr, .end = record.ptr + record.len, .budget = 1 << 16 };
    if (partition == NULL ? record.len > 0
                          : (avro_skip(&c, partition, NULL) != OK || c.ptr != c.end)) {
        return err_set(err, E_INVALID, "\"%.*s\" has a partition record of another schema",
                       STR_ARG(file->path));
    }
    return OK;
}

static enum status check_file(const struct ice_manifest_opts *opts,
                              const struct ice_data_file *file, struct err *err)
{
    if (file->path.len == 0 || file->record_count < 0 || file->size_bytes < 0) {
        return err_set(err, E_INVALID, "a data file has no path, row count or size");
    }
    if ((file->content == ICE_DATA) != (opts->content == 0)) {
        return err_set(err, E_INVALID, "\"%.*s\" is of another kind than its manifest",
                       STR_ARG(file->path));
    }
    if (file->content_offset > 0) {
        return err_set(err, E_UNSUPPORTED, "\"%.*s\" is a deletion vector, which version 2 lacks",
                       STR_ARG(file->path));
    }
    if (file->status != ICE_ADDED &&
        (file->snapshot_id < 0 || file->sequence_number < 0 || file->file_sequence_number < 0)) {
        return err_set(err, E_INVALID,
                       "\"%.*s\" is not new and has no snapshot id or sequence number",
                       STR_ARG(file->path));
    }
    return OK;
}

static enum status write_entries(struct avro_writer *w, const struct ice_manifest_opts *opts,
                                 const struct avro_type *partition,
                                 const struct ice_data_file *files, size_t count, struct err *err)
{
    for (size_t i = 0; i < count; i++) {
        TRY(check_file(opts, &files[i], err));
        TRY(check_partition(partition, &files[i], err));
        enum status status = put_entry(&w->block, &files[i]);
        if (status != OK) {
            return err_set(err, status, "a manifest entry cannot be written");
        }
        TRY(avro_writer_record(w, err));
    }
    return OK;
}

static enum status print_texts(const struct ice_manifest_opts *opts, struct buf *avro_schema,
                               struct buf *table_schema)
{
    struct json_writer w;
    json_writer_init(&w, avro_schema);
    write_record(&w, "manifest_entry", entry_columns, ARRAY_LEN(entry_columns),
                 opts->avro_partition_schema);
    TRY(json_writer_end(&w));
    json_writer_init(&w, table_schema);
    ice_schema_write(&w, opts->schema);
    return json_writer_end(&w);
}

static enum status open_manifest(struct avro_writer *w, const struct ice_manifest_opts *opts,
                                 struct buf *out, struct err *err)
{
    AUTO(buf_done) struct buf avro_schema;
    AUTO(buf_done) struct buf table_schema;
    char schema_id[16];
    char spec_id[16];
    buf_init(&avro_schema, 0);
    buf_init(&table_schema, 0);
    enum status status = print_texts(opts, &avro_schema, &table_schema);
    if (status != OK) {
        return err_set(err, status, "a manifest's header cannot be written");
    }
    (void)snprintf(schema_id, sizeof(schema_id), "%d", opts->schema->schema_id);
    (void)snprintf(spec_id, sizeof(spec_id), "%d", opts->partition_spec_id);
    struct avro_pair pairs[] = {
        { STR("schema"), buf_str(&table_schema) },
        { STR("schema-id"), str_of(schema_id) },
        { STR("partition-spec"), opts->partition_spec.len > 0 ? opts->partition_spec : STR("[]") },
        { STR("partition-spec-id"), str_of(spec_id) },
        { STR("format-version"), STR("2") },
        { STR("content"), opts->content == 0 ? STR("data") : STR("deletes") },
    };
    return avro_writer_open(w, out, buf_str(&avro_schema), pairs, ARRAY_LEN(pairs),
                            opts->deflate ? AVRO_CODEC_DEFLATE : AVRO_CODEC_NULL, opts->sync, err);
}

static enum status write_manifest(struct arena *arena, const struct ice_manifest_opts *opts,
                                  const struct ice_data_file *files, size_t count, struct buf *out,
                                  struct err *err)
{
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    const struct avro_type *partition = NULL;
    struct avro_writer w;
    TRY(parse_partition(arena, opts, &doc, &partition, err));
    TRY(open_manifest(&w, opts, out, err));
    enum status status = write_entries(&w, opts, partition, files, count, err);
    if (status != OK) {
        avro_writer_cancel(&w);
        return status;
    }
    return avro_writer_close(&w, err);
}

enum status ice_manifest_write(const struct ice_manifest_opts *opts,
                               const struct ice_data_file *files, size_t count, struct buf *out,
                               struct err *err)
{
    if (count == 0) {
        return err_set(err, E_INVALID, "a manifest without files must not be written");
    }
    struct arena arena;
    arena_init(&arena, 0);
    enum status status = write_manifest(&arena, opts, files, count, out, err);
    arena_done(&arena);
    return status;
}

/* ---- a manifest list ---- */

static enum status put_partitions(struct buf *out, const struct ice_manifest_file *row)
{
    if (row->partition_count == 0) {
        return put_null(out);
    }
    TRY(avro_put_long(out, 1));
    TRY(avro_put_long(out, (int64_t)row->partition_count));
    for (size_t i = 0; i < row->partition_count; i++) {
        const struct ice_partition_summary *part = &row->partitions[i];
        TRY(buf_append_char(out, part->contains_null ? 1 : 0));
        TRY(avro_put_long(out, part->contains_nan >= 0 ? 1 : 0));
        if (part->contains_nan >= 0) {
            TRY(buf_append_char(out, part->contains_nan != 0 ? 1 : 0));
        }
        TRY(put_optional_bytes(out, part->lower));
        TRY(put_optional_bytes(out, part->upper));
    }
    return avro_put_long(out, 0);
}

static enum status put_row(struct buf *out, const struct ice_manifest_list_opts *opts,
                           const struct ice_manifest_file *row)
{
    int64_t sequence = row->sequence_number < 0 ? opts->sequence_number : row->sequence_number;
    int64_t lowest = row->min_sequence_number < 0 ? opts->sequence_number
                                                  : row->min_sequence_number;
    int64_t added_by = row->added_snapshot_id < 0 ? opts->snapshot_id : row->added_snapshot_id;
    const int64_t numbers[] = {
        row->length,
        row->partition_spec_id,
        row->content,
        sequence,
        lowest,
        added_by,
        row->added_files,
        row->existing_files,
        row->deleted_files,
        row->added_rows,
        row->existing_rows,
        row->deleted_rows,
    };
    TRY(avro_put_bytes(out, row->path));
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        TRY(avro_put_long(out, numbers[i]));
    }
    TRY(put_partitions(out, row));
    return put_optional_bytes(out, row->key_metadata);
}

static enum status write_rows(struct avro_writer *w, const struct ice_manifest_list_opts *opts,
                              const struct ice_manifest_file *rows, size_t count, struct err *err)
{
    for (size_t i = 0; i < count; i++) {
        const struct ice_manifest_file *row = &rows[i];
        if (row->added_files < 0 || row->existing_files < 0 || row->deleted_files < 0 ||
            row->added_rows < 0 || row->existing_rows < 0 || row->deleted_rows < 0) {
            return err_set(err, E_UNSUPPORTED, "manifest \"%.*s\" of version 1 has no counts",
                           STR_ARG(row->path));
        }
        enum status status = put_row(&w->block, opts, row);
        if (status != OK) {
            return err_set(err, status, "a manifest list cannot be written");
        }
        TRY(avro_writer_record(w, err));
    }
    return OK;
}

static enum status open_list(struct avro_writer *w, const struct ice_manifest_list_opts *opts,
                             struct buf *out, struct err *err)
{
    char snapshot[24];
    char parent[24] = "null";
    char sequence[24];
    AUTO(buf_done) struct buf schema;
    struct json_writer json;
    buf_init(&schema, 0);
    json_writer_init(&json, &schema);
    write_record(&json, "manifest_file", list_columns, ARRAY_LEN(list_columns), STR_EMPTY);
    enum status status = json_writer_end(&json);
    if (status != OK) {
        return err_set(err, status, "a manifest list's header cannot be written");
    }
    (void)snprintf(snapshot, sizeof(snapshot), "%lld", (long long)opts->snapshot_id);
    (void)snprintf(sequence, sizeof(sequence), "%lld", (long long)opts->sequence_number);
    if (opts->parent_snapshot_id >= 0) {
        (void)snprintf(parent, sizeof(parent), "%lld", (long long)opts->parent_snapshot_id);
    }
    struct avro_pair pairs[] = {
        { STR("snapshot-id"), str_of(snapshot) },
        { STR("parent-snapshot-id"), str_of(parent) },
        { STR("sequence-number"), str_of(sequence) },
        { STR("format-version"), STR("2") },
    };
    return avro_writer_open(w, out, buf_str(&schema), pairs, ARRAY_LEN(pairs),
                            opts->deflate ? AVRO_CODEC_DEFLATE : AVRO_CODEC_NULL, opts->sync, err);
}

enum status ice_manifest_list_write(const struct ice_manifest_list_opts *opts,
                                    const struct ice_manifest_file *rows, size_t count,
                                    struct buf *out, struct err *err)
{
    struct avro_writer w;
    TRY(open_list(&w, opts, out, err));
    enum status status = write_rows(&w, opts, rows, count, err);
    if (status != OK) {
        avro_writer_cancel(&w);
        return status;
    }
    return avro_writer_close(&w, err);
}
