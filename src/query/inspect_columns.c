/*
 * What metadata tables look like: the columns that Spark shows for them, under its names and types.
 * `partition` and `readable_metrics` depend on the table.
 */
#include <stdlib.h>

#include "base/mem.h"
#include "engine/sql_type.h"
#include "query/inspect.h"

struct column {
    int32_t id;
    const char *name;
    const char *type; /* as SQL; NULL: made of the table */
};

#define COUNTS_OF_COLUMNS "MAP(INTEGER, BIGINT)"
#define BOUNDS_OF_COLUMNS "MAP(INTEGER, BLOB)"

static const struct column snapshot_columns[] = {
    { COL_COMMITTED_AT, "committed_at", "TIMESTAMP WITH TIME ZONE" },
    { COL_SNAPSHOT_ID, "snapshot_id", "BIGINT" },
    { COL_PARENT_ID, "parent_id", "BIGINT" },
    { COL_OPERATION, "operation", "VARCHAR" },
    { COL_MANIFEST_LIST, "manifest_list", "VARCHAR" },
    { COL_SUMMARY, "summary", "MAP(VARCHAR, VARCHAR)" },
};
static const struct column history_columns[] = {
    { COL_MADE_CURRENT_AT, "made_current_at", "TIMESTAMP WITH TIME ZONE" },
    { COL_SNAPSHOT_ID, "snapshot_id", "BIGINT" },
    { COL_PARENT_ID, "parent_id", "BIGINT" },
    { COL_IS_ANCESTOR, "is_current_ancestor", "BOOLEAN" },
};
static const struct column ref_columns[] = {
    { COL_NAME, "name", "VARCHAR" },
    { COL_TYPE, "type", "VARCHAR" },
    { COL_SNAPSHOT_ID, "snapshot_id", "BIGINT" },
    { COL_REF_AGE, "max_reference_age_in_ms", "BIGINT" },
    { COL_MIN_SNAPSHOTS, "min_snapshots_to_keep", "INTEGER" },
    { COL_SNAPSHOT_AGE, "max_snapshot_age_in_ms", "BIGINT" },
};
static const struct column manifest_columns[] = {
    { COL_MANIFEST_CONTENT, "content", "INTEGER" },
    { COL_PATH, "path", "VARCHAR" },
    { COL_LENGTH, "length", "BIGINT" },
    { COL_MANIFEST_SPEC, "partition_spec_id", "INTEGER" },
    { COL_ADDED_SNAPSHOT, "added_snapshot_id", "BIGINT" },
    { COL_ADDED_DATA, "added_data_files_count", "INTEGER" },
    { COL_EXISTING_DATA, "existing_data_files_count", "INTEGER" },
    { COL_DELETED_DATA, "deleted_data_files_count", "INTEGER" },
    { COL_ADDED_DELETES, "added_delete_files_count", "INTEGER" },
    { COL_EXISTING_DELETES, "existing_delete_files_count", "INTEGER" },
    { COL_DELETED_DELETES, "deleted_delete_files_count", "INTEGER" },
    { COL_SUMMARIES, "partition_summaries",
      "STRUCT(contains_null BOOLEAN, contains_nan BOOLEAN, lower_bound VARCHAR, "
      "upper_bound VARCHAR)[]" },
};
static const struct column partition_columns[] = {
    { COL_PARTITION, "partition", NULL },
    { COL_SPEC, "spec_id", "INTEGER" },
    { COL_RECORDS, "record_count", "BIGINT" },
    { COL_FILE_COUNT, "file_count", "INTEGER" },
    { COL_DATA_SIZE, "total_data_file_size_in_bytes", "BIGINT" },
    { COL_POSITION_RECORDS, "position_delete_record_count", "BIGINT" },
    { COL_POSITION_FILES, "position_delete_file_count", "INTEGER" },
    { COL_EQUALITY_RECORDS, "equality_delete_record_count", "BIGINT" },
    { COL_EQUALITY_FILES, "equality_delete_file_count", "INTEGER" },
    { COL_UPDATED_AT, "last_updated_at", "TIMESTAMP WITH TIME ZONE" },
    { COL_UPDATED_SNAPSHOT, "last_updated_snapshot_id", "BIGINT" },
};
#define FILE_COLUMNS                                                                               \
    { COL_CONTENT, "content", "INTEGER" }, { COL_FILE_PATH, "file_path", "VARCHAR" },              \
        { COL_FORMAT, "file_format", "VARCHAR" }, { COL_SPEC, "spec_id", "INTEGER" },              \
        { COL_PARTITION, "partition", NULL }, { COL_RECORDS, "record_count", "BIGINT" },           \
        { COL_SIZE, "file_size_in_bytes", "BIGINT" },                                              \
        { COL_COLUMN_SIZES, "column_sizes", COUNTS_OF_COLUMNS },                                   \
        { COL_VALUES, "value_counts", COUNTS_OF_COLUMNS },                                         \
        { COL_NULLS, "null_value_counts", COUNTS_OF_COLUMNS },                                     \
        { COL_NANS, "nan_value_counts", COUNTS_OF_COLUMNS },                                       \
        { COL_LOWER, "lower_bounds", BOUNDS_OF_COLUMNS },                                          \
        { COL_UPPER, "upper_bounds", BOUNDS_OF_COLUMNS }, { COL_KEY, "key_metadata", "BLOB" },     \
        { COL_SPLITS, "split_offsets", "BIGINT[]" },                                               \
        { COL_EQUALITY, "equality_ids", "INTEGER[]" },                                             \
        { COL_SORT_ORDER, "sort_order_id", "INTEGER" },                                            \
        { COL_REFERENCED, "referenced_data_file", "VARCHAR" },                                     \
        { COL_OFFSET, "content_offset", "BIGINT" },                                                \
        { COL_CONTENT_SIZE, "content_size_in_bytes", "BIGINT" }
static const struct column data_file_columns[] = { FILE_COLUMNS };
static const struct column file_columns[] = { FILE_COLUMNS,
                                              { COL_METRICS, "readable_metrics", NULL } };
static const struct column entry_columns[] = {
    { COL_STATUS, "status", "INTEGER" },
    { COL_ENTRY_SNAPSHOT, "snapshot_id", "BIGINT" },
    { COL_SEQUENCE, "sequence_number", "BIGINT" },
    { COL_FILE_SEQUENCE, "file_sequence_number", "BIGINT" },
    { COL_DATA_FILE, "data_file", NULL },
    { COL_METRICS, "readable_metrics", NULL },
};

static const struct table {
    const char *name;
    const struct column *columns;
    size_t count;
    bool of_a_snapshot;
} tables[INSPECT_KINDS] = {
    [INSPECT_DATA_FILES] = { "data_files", file_columns, ARRAY_LEN(file_columns), true },
    [INSPECT_DELETE_FILES] = { "delete_files", file_columns, ARRAY_LEN(file_columns), true },
    [INSPECT_ENTRIES] = { "entries", entry_columns, ARRAY_LEN(entry_columns), true },
    [INSPECT_FILES] = { "files", file_columns, ARRAY_LEN(file_columns), true },
    [INSPECT_HISTORY] = { "history", history_columns, ARRAY_LEN(history_columns), false },
    [INSPECT_MANIFESTS] = { "manifests", manifest_columns, ARRAY_LEN(manifest_columns), true },
    [INSPECT_PARTITIONS] = { "partitions", partition_columns, ARRAY_LEN(partition_columns), true },
    [INSPECT_REFS] = { "refs", ref_columns, ARRAY_LEN(ref_columns), false },
    [INSPECT_SNAPSHOTS] = { "snapshots", snapshot_columns, ARRAY_LEN(snapshot_columns), false },
};

bool inspect_kind_of(struct str suffix, enum inspect_kind *out)
{
    for (size_t i = 0; i < INSPECT_KINDS; i++) {
        if (str_eq_nocase(suffix, str_of(tables[i].name))) {
            *out = (enum inspect_kind)i;
            return true;
        }
    }
    return false;
}

const char *inspect_name(enum inspect_kind kind)
{
    return tables[kind].name;
}

enum status inspect_names(struct buf *out)
{
    for (size_t i = 0; i < INSPECT_KINDS; i++) {
        TRY(buf_printf(out, "%s$%s", i == 0 ? "" : ", ", tables[i].name));
    }
    return OK;
}

bool inspect_is_of_a_snapshot(enum inspect_kind kind)
{
    return tables[kind].of_a_snapshot;
}

/* --- readable_metrics: a struct for every plain column, however deep --- */

static size_t count_plain(const struct ice_type *type)
{
    size_t count = 0;
    for (size_t i = 0; i < type->field_count; i++) {
        const struct ice_type *inner = &type->fields[i].type;
        count += inner->field_count == 0 ? 1 : count_plain(inner);
    }
    return count;
}

static enum status add_plain(struct inspect *in, const struct ice_type *type, struct str above,
                             struct err *err)
{
    for (size_t i = 0; i < type->field_count; i++) {
        const struct ice_field *field = &type->fields[i];
        struct str name = above.len == 0 ? field->name
                                         : arena_printf(&in->arena, "%.*s.%.*s", STR_ARG(above),
                                                        STR_ARG(field->name));
        if (name.ptr == NULL) {
            return err_no_memory(err);
        }
        if (field->type.field_count > 0) {
            TRY(add_plain(in, &field->type, name, err));
        } else if (field->type.kind != ICE_OTHER && field->type.kind != ICE_STRUCT) {
            in->metrics[in->metric_count++] = (struct inspect_metric){ name, field };
        }
    }
    return OK;
}

static int compare_metrics(const void *a, const void *b)
{
    const struct inspect_metric *x = a;
    const struct inspect_metric *y = b;
    return str_cmp(x->name, y->name);
}

/** SQL's structs have no two fields that differ only by case: the second of them is `name_1`. */
static enum status part_names(struct inspect *in, struct map *seen, struct err *err)
{
    for (size_t i = 0; i < in->metric_count; i++) {
        struct str name = in->metrics[i].name;
        char *lower = arena_cstr(&in->arena, name);
        for (size_t n = 0; lower != NULL; n++) {
            for (char *c = lower; *c != '\0'; c++) {
                *c = (char)(*c >= 'A' && *c <= 'Z' ? *c + ('a' - 'A') : *c);
            }
            if (map_get(seen, str_of(lower)) == NULL) {
                break;
            }
            in->metrics[i].name = arena_printf(&in->arena, "%.*s_%zu", STR_ARG(name), n + 1);
            lower = in->metrics[i].name.ptr == NULL ? NULL
                                                    : arena_cstr(&in->arena, in->metrics[i].name);
        }
        if (lower == NULL || map_put(seen, str_of(lower), in, NULL) != OK) {
            return err_no_memory(err);
        }
    }
    return OK;
}

enum status inspect_find_metrics(struct inspect *in, struct err *err)
{
    const struct ice_type *root = &in->pin->schema->root;
    in->metrics = arena_array(&in->arena, count_plain(root) + 1, sizeof(*in->metrics));
    if (in->metrics == NULL) {
        return err_no_memory(err);
    }
    in->metric_count = 0;
    TRY(add_plain(in, root, STR_EMPTY, err));
    if (in->metric_count > 1) {
        qsort(in->metrics, in->metric_count, sizeof(*in->metrics), compare_metrics);
    }
    AUTO(map_done) struct map seen;
    map_init(&seen);
    return part_names(in, &seen, err);
}

static enum status metric_type(struct inspect *in, const struct ice_field *field,
                               struct ice_type *out, struct err *err)
{
    static const char *const names[] = { "column_size",     "value_count", "null_value_count",
                                         "nan_value_count", "lower_bound", "upper_bound" };
    enum { COUNTS = 4 };
    *out = (struct ice_type){ .kind = ICE_STRUCT, .field_count = ARRAY_LEN(names) };
    out->fields = arena_array(&in->arena, ARRAY_LEN(names), sizeof(*out->fields));
    if (out->fields == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        out->fields[i].name = str_of(names[i]);
        out->fields[i].type = i < COUNTS ? (struct ice_type){ .kind = ICE_LONG } : field->type;
    }
    return OK;
}

static enum status metrics_type(struct inspect *in, struct ice_type *out, struct err *err)
{
    *out = (struct ice_type){ .kind = ICE_STRUCT, .field_count = in->metric_count };
    out->fields = arena_array(&in->arena, in->metric_count + 1, sizeof(*out->fields));
    if (out->fields == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < in->metric_count; i++) {
        out->fields[i].name = in->metrics[i].name;
        TRY(metric_type(in, in->metrics[i].field, &out->fields[i].type, err));
    }
    return OK;
}

/* --- partition --- */

/** Its name, with its id behind it where a field of a lower id has that name already. */
static enum status partition_name(struct inspect *in, size_t place, struct str *out,
                                  struct err *err)
{
    const struct ice_partition_field *field = &in->specs.all[place];
    *out = field->name;
    for (size_t i = 0; i < place; i++) {
        if (str_eq_nocase(in->specs.all[i].name, field->name)) {
            *out = arena_printf(&in->arena, "%.*s_%d", STR_ARG(field->name), (int)field->field_id);
        }
    }
    return out->ptr == NULL ? err_no_memory(err) : OK;
}

static enum status partition_type(struct inspect *in, struct ice_type *out, struct err *err)
{
    *out = (struct ice_type){ .kind = ICE_STRUCT, .field_count = in->specs.all_count };
    out->fields = arena_array(&in->arena, in->specs.all_count + 1, sizeof(*out->fields));
    if (out->fields == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < in->specs.all_count; i++) {
        TRY(partition_name(in, i, &out->fields[i].name, err));
        out->fields[i].type = in->specs.all[i].type;
    }
    return OK;
}

/* --- all of them --- */

/** A struct without fields is no type of SQL, so such a column is not there. */
static bool is_there(const struct inspect *in, const struct column *column)
{
    return (column->id != COL_PARTITION || in->specs.all_count > 0) &&
           (column->id != COL_METRICS || in->metric_count > 0);
}

static enum status type_of(struct inspect *in, const struct column *column, struct ice_type *out,
                           struct err *err);

static enum status add_columns(struct inspect *in, const struct column *columns, size_t count,
                               struct ice_type *out, struct err *err)
{
    *out = (struct ice_type){ .kind = ICE_STRUCT };
    out->fields = arena_array(&in->arena, count, sizeof(*out->fields));
    if (out->fields == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < count; i++) {
        if (is_there(in, &columns[i])) {
            struct ice_field *field = &out->fields[out->field_count++];
            *field = (struct ice_field){ .id = columns[i].id, .name = str_of(columns[i].name) };
            TRY(type_of(in, &columns[i], &field->type, err));
        }
    }
    return OK;
}

static enum status type_of(struct inspect *in, const struct column *column, struct ice_type *out,
                           struct err *err)
{
    switch (column->id) {
    case COL_PARTITION:
        return partition_type(in, out, err);
    case COL_METRICS:
        return metrics_type(in, out, err);
    case COL_DATA_FILE:
        return add_columns(in, data_file_columns, ARRAY_LEN(data_file_columns), out, err);
    default:
        return sql_type_parse(&in->arena, str_of(column->type), out, err);
    }
}

enum status inspect_columns(struct inspect *in, enum inspect_kind kind, struct ice_type *out,
                            struct err *err)
{
    const struct table *table = &tables[kind];
    if (kind == INSPECT_PARTITIONS && in->specs.all_count == 0) { /* nor has it a spec to name */
        return add_columns(in, table->columns + 2, table->count - 2, out, err);
    }
    return add_columns(in, table->columns, table->count, out, err);
}

enum status inspect_file_ids(const struct inspect *in, struct arena *arena, int32_t **out,
                             size_t *count_out, struct err *err)
{
    int32_t *ids = arena_array(arena, ARRAY_LEN(data_file_columns), sizeof(*ids));
    if (ids == NULL) {
        return err_no_memory(err);
    }
    *count_out = 0;
    for (size_t i = 0; i < ARRAY_LEN(data_file_columns); i++) {
        if (is_there(in, &data_file_columns[i])) {
            ids[(*count_out)++] = data_file_columns[i].id;
        }
    }
    *out = ids;
    return OK;
}
