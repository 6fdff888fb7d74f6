/*
 * Writing manifests and manifest lists of format version 2.
 *
 * The Avro schemas are constant text but for the partition record. Values are appended in the schema's order by put_*
 * functions; the two must be read side by side. docs/formats/iceberg.md has the tables.
 */
#include "iceberg/avro_priv.h"
#include "iceberg/manifest.h"

#include <stdio.h>

#define REQUIRED(name, id, type) "{\"name\":\"" name "\",\"type\":" type ",\"field-id\":" #id "}"
#define OPTIONAL(name, id, type)                                                                   \
    "{\"name\":\"" name "\",\"type\":[\"null\"," type "],\"default\":null,\"field-id\":" #id "}"
#define INT_MAP(name, id, key_id, value_id, type)                                                  \
    OPTIONAL(name, id,                                                                             \
             "{\"type\":\"array\",\"items\":{\"type\":\"record\",\"name\":\"k" #key_id             \
             "_v" #value_id "\",\"fields\":[" REQUIRED("key", key_id, "\"int\"") ","               \
             REQUIRED("value", value_id, type) "]},\"logicalType\":\"map\"}")
#define LIST(name, id, item_id, type)                                                              \
    OPTIONAL(name, id, "{\"type\":\"array\",\"items\":" type ",\"element-id\":" #item_id "}")

static const char *const entry_schema_head =
    "{\"type\":\"record\",\"name\":\"manifest_entry\",\"fields\":["
    REQUIRED("status", 0, "\"int\"") ","
    OPTIONAL("snapshot_id", 1, "\"long\"") ","
    OPTIONAL("sequence_number", 3, "\"long\"") ","
    OPTIONAL("file_sequence_number", 4, "\"long\"") ","
    "{\"name\":\"data_file\",\"type\":{\"type\":\"record\",\"name\":\"r2\",\"fields\":["
    REQUIRED("content", 134, "\"int\"") ","
    REQUIRED("file_path", 100, "\"string\"") ","
    REQUIRED("file_format", 101, "\"string\"") ","
    "{\"name\":\"partition\",\"type\":";

static const char *const no_partition = "{\"type\":\"record\",\"name\":\"r102\",\"fields\":[]}";

static const char *const entry_schema_tail =
    ",\"field-id\":102},"
    REQUIRED("record_count", 103, "\"long\"") ","
    REQUIRED("file_size_in_bytes", 104, "\"long\"") ","
    INT_MAP("column_sizes", 108, 117, 118, "\"long\"") ","
    INT_MAP("value_counts", 109, 119, 120, "\"long\"") ","
    INT_MAP("null_value_counts", 110, 121, 122, "\"long\"") ","
    INT_MAP("nan_value_counts", 137, 138, 139, "\"long\"") ","
    INT_MAP("lower_bounds", 125, 126, 127, "\"bytes\"") ","
    INT_MAP("upper_bounds", 128, 129, 130, "\"bytes\"") ","
    OPTIONAL("key_metadata", 131, "\"bytes\"") ","
    LIST("split_offsets", 132, 133, "\"long\"") ","
    LIST("equality_ids", 135, 136, "\"int\"") ","
    OPTIONAL("sort_order_id", 140, "\"int\"") ","
    OPTIONAL("referenced_data_file", 143, "\"string\"")
    "]},\"field-id\":2}]}";

static const char *const list_schema =
    "{\"type\":\"record\",\"name\":\"manifest_file\",\"fields\":["
    REQUIRED("manifest_path", 500, "\"string\"") ","
    REQUIRED("manifest_length", 501, "\"long\"") ","
    REQUIRED("partition_spec_id", 502, "\"int\"") ","
    REQUIRED("content", 517, "\"int\"") ","
    REQUIRED("sequence_number", 515, "\"long\"") ","
    REQUIRED("min_sequence_number", 516, "\"long\"") ","
    REQUIRED("added_snapshot_id", 503, "\"long\"") ","
    REQUIRED("added_files_count", 504, "\"int\"") ","
    REQUIRED("existing_files_count", 505, "\"int\"") ","
    REQUIRED("deleted_files_count", 506, "\"int\"") ","
    REQUIRED("added_rows_count", 512, "\"long\"") ","
    REQUIRED("existing_rows_count", 513, "\"long\"") ","
    REQUIRED("deleted_rows_count", 514, "\"long\"") ","
    LIST("partitions", 507, 508,
         "{\"type\":\"record\",\"name\":\"r508\",\"fields\":["
         REQUIRED("contains_null", 509, "\"boolean\"") ","
         OPTIONAL("contains_nan", 518, "\"boolean\"") ","
         OPTIONAL("lower_bound", 510, "\"bytes\"") ","
         OPTIONAL("upper_bound", 511, "\"bytes\"") "]}") ","
    OPTIONAL("key_metadata", 519, "\"bytes\"")
    "]}";

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

/** One statistic of a column; false when it is unknown. */
typedef bool stat_of(const struct ice_column_stats *column, int64_t *number, struct str *bytes);

static bool known(int64_t value, int64_t *number)
{
    *number = value;
    return value >= 0;
}
static bool stat_size(const struct ice_column_stats *column, int64_t *number, struct str *bytes)
{
    (void)bytes;
    return known(column->size_bytes, number);
}
static bool stat_values(const struct ice_column_stats *column, int64_t *number, struct str *bytes)
{
    (void)bytes;
    return known(column->value_count, number);
}
static bool stat_nulls(const struct ice_column_stats *column, int64_t *number, struct str *bytes)
{
    (void)bytes;
    return known(column->null_count, number);
}
static bool stat_nans(const struct ice_column_stats *column, int64_t *number, struct str *bytes)
{
    (void)bytes;
    return known(column->nan_count, number);
}
static bool stat_lower(const struct ice_column_stats *column, int64_t *number, struct str *bytes)
{
    (void)number;
    *bytes = column->lower;
    return column->lower.ptr != NULL;
}
static bool stat_upper(const struct ice_column_stats *column, int64_t *number, struct str *bytes)
{
    (void)number;
    *bytes = column->upper;
    return column->upper.ptr != NULL;
}

/** A map from field id to one statistic, as an array of (key, value). */
static enum status put_stats(struct buf *out, const struct ice_data_file *file, stat_of *stat)
{
    int64_t count = 0;
    int64_t number = 0;
    struct str bytes = { 0 };
    for (size_t i = 0; i < file->column_count; i++) {
        count += stat(&file->columns[i], &number, &bytes) ? 1 : 0;
    }
    if (count == 0) {
        return put_null(out);
    }
    TRY(avro_put_long(out, 1));
    TRY(avro_put_long(out, count));
    for (size_t i = 0; i < file->column_count; i++) {
        bytes.ptr = NULL;
        if (!stat(&file->columns[i], &number, &bytes)) {
            continue;
        }
        TRY(avro_put_long(out, file->columns[i].field_id));
        TRY(bytes.ptr != NULL ? avro_put_bytes(out, bytes) : avro_put_long(out, number));
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
    static stat_of *const stats[] = { stat_size, stat_values, stat_nulls,
                                      stat_nans, stat_lower,  stat_upper };
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

/** The partition record's schema, to check the opaque records against; *out NULL for unpartitioned. */
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
    struct str record = file->partition_avro;
    struct avro_cursor c = { .ptr = record.ptr,
                             .end = record.len > 0 ? record.ptr + record.len : record.ptr,
                             .budget = 1 << 16 };
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
    if (file->status != ICE_ADDED && (file->snapshot_id < 0 || file->sequence_number < 0 ||
                                      file->file_sequence_number < 0)) {
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
    struct str partition = opts->avro_partition_schema;
    struct json_writer w;
    TRY(buf_append(avro_schema, str_of(entry_schema_head)));
    TRY(buf_append(avro_schema, partition.len > 0 ? partition : str_of(no_partition)));
    TRY(buf_append(avro_schema, str_of(entry_schema_tail)));
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
    int64_t lowest =
        row->min_sequence_number < 0 ? opts->sequence_number : row->min_sequence_number;
    int64_t added_by = row->added_snapshot_id < 0 ? opts->snapshot_id : row->added_snapshot_id;
    const int64_t numbers[] = {
        row->length,          row->partition_spec_id, row->content,       sequence,
        lowest,               added_by,               row->added_files,   row->existing_files,
        row->deleted_files,   row->added_rows,        row->existing_rows, row->deleted_rows,
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

enum status ice_manifest_list_write(const struct ice_manifest_list_opts *opts,
                                    const struct ice_manifest_file *rows, size_t count,
                                    struct buf *out, struct err *err)
{
    char snapshot[24];
    char parent[24] = "null";
    char sequence[24];
    struct avro_writer w;
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
    TRY(avro_writer_open(&w, out, str_of(list_schema), pairs, ARRAY_LEN(pairs),
                         opts->deflate ? AVRO_CODEC_DEFLATE : AVRO_CODEC_NULL, opts->sync, err));
    enum status status = write_rows(&w, opts, rows, count, err);
    if (status != OK) {
        avro_writer_cancel(&w);
        return status;
    }
    return avro_writer_close(&w, err);
}
