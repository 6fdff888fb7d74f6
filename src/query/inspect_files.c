/*
 * What stands in a snapshot's manifests: the manifests, their entries, the files of these.
 *
 * A page goes on where the last one ended: its cursor is the number of a manifest in its upper half
 * and of an entry in the lower one.
 */
#include "iceberg/value.h"
#include "query/inspect.h"

enum { CURSOR_BITS = 32 };

/* --- cells of a file --- */

typedef int64_t (*stat_of)(const struct ice_column_stats *);

static int64_t size_of_column(const struct ice_column_stats *stats)
{
    return stats->size_bytes;
}
static int64_t values_of_column(const struct ice_column_stats *stats)
{
    return stats->value_count;
}
static int64_t nulls_of_column(const struct ice_column_stats *stats)
{
    return stats->null_count;
}
static int64_t nans_of_column(const struct ice_column_stats *stats)
{
    return stats->nan_count;
}

/** A map from field id to a number, of the columns that have it; null when none has. */
static void write_counts(struct json_writer *w, const struct ice_data_file *file, stat_of get)
{
    bool any = false;
    for (size_t i = 0; i < file->column_count; i++) {
        if (get(&file->columns[i]) < 0) {
            continue;
        }
        if (!any) {
            jw_arr_begin(w);
            any = true;
        }
        jw_arr_begin(w);
        jw_i64(w, file->columns[i].field_id);
        jw_i64(w, get(&file->columns[i]));
        jw_arr_end(w);
    }
    if (any) {
        jw_arr_end(w);
    } else {
        jw_null(w);
    }
}

static void write_blob(struct json_writer *w, struct str bytes)
{
    static const struct ice_type binary = { .kind = ICE_BINARY };
    inspect_write_value(w, &binary, bytes);
}

static void write_bounds(struct json_writer *w, const struct ice_data_file *file, bool upper)
{
    bool any = false;
    for (size_t i = 0; i < file->column_count; i++) {
        struct str bound = upper ? file->columns[i].upper : file->columns[i].lower;
        if (bound.ptr == NULL) {
            continue;
        }
        if (!any) {
            jw_arr_begin(w);
            any = true;
        }
        jw_arr_begin(w);
        jw_i64(w, file->columns[i].field_id);
        write_blob(w, bound);
        jw_arr_end(w);
    }
    if (any) {
        jw_arr_end(w);
    } else {
        jw_null(w);
    }
}

static const struct ice_column_stats *find_stats(const struct ice_data_file *file, int32_t id)
{
    size_t low = 0;
    size_t high = file->column_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (file->columns[middle].field_id < id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < file->column_count && file->columns[low].field_id == id ? &file->columns[low]
                                                                         : NULL;
}

static void write_metrics(struct json_writer *w, const struct inspect *in,
                          const struct ice_data_file *file)
{
    static const struct ice_column_stats none = {
        .size_bytes = -1, .value_count = -1, .null_count = -1, .nan_count = -1
    };
    jw_arr_begin(w);
    for (size_t i = 0; i < in->metric_count; i++) {
        const struct ice_field *field = in->metrics[i].field;
        const struct ice_column_stats *stats = find_stats(file, field->id);
        stats = stats == NULL ? &none : stats;
        jw_arr_begin(w);
        inspect_write_opt(w, stats->size_bytes);
        inspect_write_opt(w, stats->value_count);
        inspect_write_opt(w, stats->null_count);
        inspect_write_opt(w, stats->nan_count);
        inspect_write_value(w, &field->type, stats->lower);
        inspect_write_value(w, &field->type, stats->upper);
        jw_arr_end(w);
    }
    jw_arr_end(w);
}

static enum status write_partition(struct json_writer *w, const struct inspect *in,
                                   const struct ice_data_file *file, struct err *err)
{
    jw_arr_begin(w);
    for (size_t i = 0; i < in->specs.all_count; i++) {
        char scratch[8];
        bool there = false;
        struct str value;
        const struct ice_partition_field *field = &in->specs.all[i];
        TRY(ice_partition_value(file, &in->order, field, scratch, &there, &value, err));
        inspect_write_value(w, &field->type, value);
    }
    jw_arr_end(w);
    return OK;
}

static void write_splits(struct json_writer *w, const struct ice_data_file *file)
{
    if (file->split_count == 0) {
        jw_null(w);
        return;
    }
    jw_arr_begin(w);
    for (size_t i = 0; i < file->split_count; i++) {
        jw_i64(w, file->split_offsets[i]);
    }
    jw_arr_end(w);
}

static void write_equality(struct json_writer *w, const struct ice_data_file *file)
{
    if (file->equality_count == 0) {
        jw_null(w);
        return;
    }
    jw_arr_begin(w);
    for (size_t i = 0; i < file->equality_count; i++) {
        jw_i64(w, file->equality_ids[i]);
    }
    jw_arr_end(w);
}

/** What only some files have. */
static void write_rare_cell(struct json_writer *w, const struct ice_data_file *file, int32_t column)
{
    bool is_vector = file->content_size_bytes > 0;
    switch (column) {
    case COL_KEY:
        write_blob(w, file->key_metadata);
        break;
    case COL_SPLITS:
        write_splits(w, file);
        break;
    case COL_EQUALITY:
        write_equality(w, file);
        break;
    case COL_SORT_ORDER:
        inspect_write_opt(w, file->sort_order_id);
        break;
    case COL_REFERENCED:
        inspect_write_text(w, file->referenced_data_file);
        break;
    case COL_OFFSET:
        inspect_write_opt(w, is_vector ? file->content_offset : -1);
        break;
    case COL_CONTENT_SIZE:
        inspect_write_opt(w, is_vector ? file->content_size_bytes : -1);
        break;
    default:
        jw_null(w);
        break;
    }
}

static enum status write_file_cell(struct json_writer *w, const struct inspect *in,
                                   const struct ice_data_file *file, int32_t column,
                                   struct err *err)
{
    switch (column) {
    case COL_CONTENT:
        jw_i64(w, file->content);
        return OK;
    case COL_FILE_PATH:
        inspect_write_text(w, file->path);
        return OK;
    case COL_FORMAT:
        inspect_write_text(w, file->format);
        return OK;
    case COL_SPEC:
        jw_i64(w, file->partition_spec_id);
        return OK;
    case COL_PARTITION:
        return write_partition(w, in, file, err);
    case COL_RECORDS:
        jw_i64(w, file->record_count);
        return OK;
    case COL_SIZE:
        jw_i64(w, file->size_bytes);
        return OK;
    case COL_COLUMN_SIZES:
        write_counts(w, file, size_of_column);
        return OK;
    case COL_VALUES:
        write_counts(w, file, values_of_column);
        return OK;
    case COL_NULLS:
        write_counts(w, file, nulls_of_column);
        return OK;
    case COL_NANS:
        write_counts(w, file, nans_of_column);
        return OK;
    case COL_LOWER:
    case COL_UPPER:
        write_bounds(w, file, column == COL_UPPER);
        return OK;
    case COL_METRICS:
        write_metrics(w, in, file);
        return OK;
    default:
        write_rare_cell(w, file, column);
        return OK;
    }
}

/* --- entries --- */

static enum status write_data_file(struct json_writer *w, const struct inspect *in,
                                   const struct ice_data_file *file, const int32_t *ids,
                                   size_t count, struct err *err)
{
    jw_arr_begin(w);
    for (size_t i = 0; i < count; i++) {
        TRY(write_file_cell(w, in, file, ids[i], err));
    }
    jw_arr_end(w);
    return OK;
}

struct file_columns {
    int32_t *ids; /* of the struct data_file */
    size_t count;
};

static enum status write_entry_cell(struct json_writer *w, const struct inspect *in,
                                    const struct ice_data_file *file, int32_t column,
                                    const struct file_columns *inner, struct err *err)
{
    switch (column) {
    case COL_STATUS:
        jw_i64(w, file->status);
        return OK;
    case COL_ENTRY_SNAPSHOT:
        inspect_write_opt(w, file->snapshot_id);
        return OK;
    case COL_SEQUENCE:
        inspect_write_opt(w, file->sequence_number);
        return OK;
    case COL_FILE_SEQUENCE:
        inspect_write_opt(w, file->file_sequence_number);
        return OK;
    case COL_DATA_FILE:
        return write_data_file(w, in, file, inner->ids, inner->count, err);
    default:
        return write_file_cell(w, in, file, column, err);
    }
}

static bool is_wanted(enum inspect_kind kind, const struct ice_data_file *file)
{
    return kind == INSPECT_ENTRIES ||
           (file->status != ICE_DELETED &&
            (kind == INSPECT_FILES || (kind == INSPECT_DATA_FILES) == (file->content == ICE_DATA)));
}

/** The entries of the open manifest from `*entry` on; it stands behind the last one written. */
static enum status write_entries(const struct inspect *in, enum inspect_kind kind,
                                 struct inspect_page *page, const struct file_columns *inner,
                                 uint64_t *entry, struct err *err)
{
    const struct ice_manifest *manifest = in->open.manifest;
    for (; *entry < manifest->file_count && !inspect_page_is_full(page); ++*entry) {
        const struct ice_data_file *file = &manifest->files[*entry];
        if (!is_wanted(kind, file)) {
            continue;
        }
        jw_arr_begin(&page->w);
        for (size_t i = 0; i < page->column_count; i++) {
            TRY(write_entry_cell(&page->w, in, file, page->columns[i], inner, err));
        }
        jw_arr_end(&page->w);
        page->rows++;
    }
    return OK;
}

/** No file of such a manifest can be wanted. */
static bool is_of_others(enum inspect_kind kind, const struct ice_manifest_file *row)
{
    return (kind == INSPECT_DATA_FILES && row->content != 0) ||
           (kind == INSPECT_DELETE_FILES && row->content == 0);
}

enum status inspect_files(struct inspect *in, enum inspect_kind kind, struct inspect_page *page,
                          uint64_t after, uint64_t *next_out, struct err *err)
{
    AUTO(arena_done) struct arena scratch;
    struct file_columns inner = { 0 };
    uint64_t entry = after & UINT32_MAX;
    arena_init(&scratch, 0);
    TRY(inspect_list(in, err));
    TRY(inspect_file_ids(in, &scratch, &inner.ids, &inner.count, err));
    for (uint64_t m = after >> CURSOR_BITS; m < in->manifests.count; m++, entry = 0) {
        if (is_of_others(kind, &in->manifests.rows[m])) {
            continue;
        }
        TRY(inspect_open(in, m, err));
        TRY(write_entries(in, kind, page, &inner, &entry, err));
        if (entry < in->open.manifest->file_count) {
            *next_out = m << CURSOR_BITS | entry;
            return OK;
        }
    }
    return OK;
}

/* --- manifests --- */

static void write_bound(struct json_writer *w, const struct ice_partition_field *field,
                        struct str bound)
{
    AUTO(buf_done) struct buf text;
    buf_init(&text, 0);
    if (field == NULL || bound.ptr == NULL ||
        ice_partition_print(field, bound, &text, NULL) != OK) {
        jw_null(w);
    } else {
        inspect_write_text(w, text.len == 0 ? STR("") : buf_str(&text));
    }
}

static void write_summaries(struct json_writer *w, const struct inspect *in,
                            const struct ice_manifest_file *row)
{
    const struct ice_partition_spec *spec = ice_partition_spec_by_id(&in->specs,
                                                                     row->partition_spec_id);
    jw_arr_begin(w);
    for (size_t i = 0; i < row->partition_count; i++) {
        const struct ice_partition_summary *summary = &row->partitions[i];
        bool known = spec != NULL && i < spec->field_count;
        jw_arr_begin(w);
        jw_bool(w, summary->contains_null);
        if (summary->contains_nan < 0) {
            jw_null(w);
        } else {
            jw_bool(w, summary->contains_nan > 0);
        }
        write_bound(w, known ? &spec->fields[i] : NULL, summary->lower);
        write_bound(w, known ? &spec->fields[i] : NULL, summary->upper);
        jw_arr_end(w);
    }
    jw_arr_end(w);
}

/** A number of files, in the columns of the manifest's own content; 0 in those of the other. */
static void write_number(struct json_writer *w, const struct ice_manifest_file *row, bool deletes,
                         int32_t count)
{
    inspect_write_opt(w, (row->content != 0) == deletes ? count : 0);
}

static void write_manifest_cell(struct json_writer *w, const struct inspect *in,
                                const struct ice_manifest_file *row, int32_t column)
{
    switch (column) {
    case COL_MANIFEST_CONTENT:
        jw_i64(w, row->content);
        break;
    case COL_PATH:
        inspect_write_text(w, row->path);
        break;
    case COL_LENGTH:
        jw_i64(w, row->length);
        break;
    case COL_MANIFEST_SPEC:
        jw_i64(w, row->partition_spec_id);
        break;
    case COL_ADDED_SNAPSHOT:
        inspect_write_opt(w, row->added_snapshot_id);
        break;
    case COL_ADDED_DATA:
    case COL_ADDED_DELETES:
        write_number(w, row, column == COL_ADDED_DELETES, row->added_files);
        break;
    case COL_EXISTING_DATA:
    case COL_EXISTING_DELETES:
        write_number(w, row, column == COL_EXISTING_DELETES, row->existing_files);
        break;
    case COL_DELETED_DATA:
    case COL_DELETED_DELETES:
        write_number(w, row, column == COL_DELETED_DELETES, row->deleted_files);
        break;
    case COL_SUMMARIES:
        write_summaries(w, in, row);
        break;
    default:
        jw_null(w);
        break;
    }
}

enum status inspect_manifests(struct inspect *in, struct inspect_page *page, uint64_t after,
                              uint64_t *next_out, struct err *err)
{
    TRY(inspect_list(in, err));
    for (uint64_t m = after; m < in->manifests.count; m++) {
        if (inspect_page_is_full(page)) {
            *next_out = m;
            return OK;
        }
        jw_arr_begin(&page->w);
        for (size_t i = 0; i < page->column_count; i++) {
            write_manifest_cell(&page->w, in, &in->manifests.rows[m], page->columns[i]);
        }
        jw_arr_end(&page->w);
        page->rows++;
    }
    return OK;
}
