/*
 * Reading manifests and manifest lists of versions 1 to 3, written by anybody.
 *
 * A record is read along the schema in its file: each field is found by its field id (by name where
 * a writer forgot ids), and what we do not know is skipped. Everything is copied into the caller's
 * arena, so that results outlive the file's bytes.
 */
#include "iceberg/avro.h"
#include "iceberg/manifest.h"

#include "base/mem.h"

#include <stdlib.h>

static const struct known_field {
    int32_t id;
    const char *name;
} known_fields[] = {
    { 0, "status" },
    { 1, "snapshot_id" },
    { 2, "data_file" },
    { 3, "sequence_number" },
    { 4, "file_sequence_number" },
    { 100, "file_path" },
    { 101, "file_format" },
    { 102, "partition" },
    { 103, "record_count" },
    { 104, "file_size_in_bytes" },
    { 108, "column_sizes" },
    { 109, "value_counts" },
    { 110, "null_value_counts" },
    { 125, "lower_bounds" },
    { 128, "upper_bounds" },
    { 131, "key_metadata" },
    { 132, "split_offsets" },
    { 134, "content" },
    { 135, "equality_ids" },
    { 137, "nan_value_counts" },
    { 140, "sort_order_id" },
    { 143, "referenced_data_file" },
};

/** The field id; by name where the schema has none. -1 for what is not known. */
static int32_t id_of(const struct avro_field *field)
{
    for (size_t i = 0; field->id < 0 && i < ARRAY_LEN(known_fields); i++) {
        if (str_eq(field->name, str_of(known_fields[i].name))) {
            return known_fields[i].id;
        }
    }
    return field->id;
}

static enum status as_record(struct avro_cursor *c, const struct avro_type **type, struct err *err)
{
    TRY(avro_get_branch(c, *type, type, err));
    if ((*type)->kind != AVRO_RECORD) {
        return err_set(err, E_CORRUPT, "a manifest has something else where a record must be");
    }
    return OK;
}

/** An optional array; *out NULL for null. */
static enum status as_array(struct avro_cursor *c, const struct avro_type *type,
                            const struct avro_type **item_out, struct err *err)
{
    TRY(avro_get_branch(c, type, &type, err));
    *item_out = NULL;
    if (type->kind == AVRO_NULL) {
        return OK;
    }
    if (type->kind != AVRO_ARRAY) {
        return err_set(err, E_CORRUPT, "a manifest has something else where a list must be");
    }
    *item_out = type->fields[0].type;
    return OK;
}

static enum status get_i32(struct avro_cursor *c, const struct avro_type *type, int32_t *out,
                           struct err *err)
{
    int64_t value = *out;
    TRY(avro_get_i64(c, type, &value, err));
    if (value < INT32_MIN || value > INT32_MAX) {
        return err_set(err, E_CORRUPT, "a manifest has %lld where 32 bits must do",
                       (long long)value);
    }
    *out = (int32_t)value;
    return OK;
}

static enum status get_copy(struct arena *arena, struct avro_cursor *c,
                            const struct avro_type *type, struct str *out, struct err *err)
{
    struct str value = { 0 };
    TRY(avro_get_bytes(c, type, &value, err));
    if (value.ptr == NULL) {
        return OK;
    }
    *out = arena_str(arena, value);
    return out->ptr == NULL ? err_no_memory(err) : OK;
}

/* ---- vectors in heap memory, moved to the arena when they are whole ---- */

struct vec {
    char *items;
    size_t count, cap;
};

static void vec_done(struct vec *vec)
{
    mem_free(vec->items);
}

/** Room for one more item of `size` bytes, zeroed; NULL when there is no memory. */
static void *vec_push(struct vec *vec, size_t size)
{
    if (vec->count == vec->cap) {
        size_t cap = vec->cap == 0 ? 16 : vec->cap;
        size_t bytes = 0;
        if (!size_mul(cap, 2, &cap) || !size_mul(cap, size, &bytes)) {
            return NULL;
        }
        char *grown = mem_realloc(vec->items, bytes);
        if (grown == NULL) {
            return NULL;
        }
        vec->items = grown;
        vec->cap = cap;
    }
    return memset(vec->items + size * vec->count++, 0, size);
}

static void *vec_to_arena(const struct vec *vec, struct arena *arena, size_t size)
{
    void *copy = arena_array(arena, vec->count, size);
    if (copy != NULL && vec->count > 0) {
        memcpy(copy, vec->items, vec->count * size);
    }
    return copy;
}

/* ---- column statistics: six maps become one list ---- */

struct cell {
    int32_t field_id;
    int32_t map_id;
    size_t order;
    int64_t number;
    struct str bytes;
};

static enum status read_cell(struct arena *arena, struct avro_cursor *c,
                             const struct avro_type *type, struct cell *cell, struct err *err)
{
    bool bound = cell->map_id == 125 || cell->map_id == 128;
    TRY(as_record(c, &type, err));
    if (type->field_count != 2) {
        return err_set(err, E_CORRUPT, "a statistic in a manifest is no key with a value");
    }
    TRY(get_i32(c, type->fields[0].type, &cell->field_id, err));
    return bound ? get_copy(arena, c, type->fields[1].type, &cell->bytes, err)
                 : avro_get_i64(c, type->fields[1].type, &cell->number, err);
}

static enum status read_map(struct arena *arena, struct avro_cursor *c,
                            const struct avro_type *type, int32_t map_id, struct vec *cells,
                            struct err *err)
{
    const struct avro_type *item = NULL;
    uint64_t count = 0;
    TRY(as_array(c, type, &item, err));
    while (item != NULL) {
        TRY(avro_get_count(c, &count, err));
        if (count == 0) {
            return OK;
        }
        while (count-- > 0) {
            struct cell cell = { .map_id = map_id, .order = cells->count, .number = -1 };
            TRY(read_cell(arena, c, item, &cell, err));
            struct cell *place = vec_push(cells, sizeof(cell));
            if (place == NULL) {
                return err_no_memory(err);
            }
            *place = cell;
        }
    }
    return OK;
}

static int compare_cells(const void *a, const void *b)
{
    const struct cell *x = a;
    const struct cell *y = b;
    if (x->field_id != y->field_id) {
        return x->field_id < y->field_id ? -1 : 1;
    }
    return (x->order > y->order) - (x->order < y->order);
}

static void store_cell(const struct cell *cell, struct ice_column_stats *out)
{
    int64_t number = cell->number < 0 ? -1 : cell->number;
    switch (cell->map_id) {
    case 108:
        out->size_bytes = number;
        break;
    case 109:
        out->value_count = number;
        break;
    case 110:
        out->null_count = number;
        break;
    case 137:
        out->nan_count = number;
        break;
    case 125:
        out->lower = cell->bytes;
        break;
    default:
        out->upper = cell->bytes;
        break;
    }
}

static enum status store_cells(struct arena *arena, struct vec *vec, struct ice_data_file *out,
                               struct err *err)
{
    struct cell *cells = (struct cell *)vec->items;
    size_t columns = 0;
    if (vec->count == 0) {
        return OK;
    }
    qsort(cells, vec->count, sizeof(*cells), compare_cells);
    for (size_t i = 0; i < vec->count; i++) {
        columns += i == 0 || cells[i].field_id != cells[i - 1].field_id ? 1 : 0;
    }
    out->columns = arena_array(arena, columns, sizeof(*out->columns));
    if (out->columns == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < vec->count; i++) {
        if (i == 0 || cells[i].field_id != cells[i - 1].field_id) {
            out->columns[out->column_count++] = (struct ice_column_stats){
                .field_id = cells[i].field_id,
                .size_bytes = -1,
                .value_count = -1,
                .null_count = -1,
                .nan_count = -1
            };
        }
        store_cell(&cells[i], &out->columns[out->column_count - 1]);
    }
    return OK;
}

/* ---- a data file ---- */

static enum status read_numbers(struct avro_cursor *c, const struct avro_type *type,
                                struct vec *numbers, struct err *err)
{
    const struct avro_type *item = NULL;
    uint64_t count = 0;
    TRY(as_array(c, type, &item, err));
    while (item != NULL) {
        TRY(avro_get_count(c, &count, err));
        if (count == 0) {
            return OK;
        }
        while (count-- > 0) {
            int64_t value = 0;
            TRY(avro_get_i64(c, item, &value, err));
            int64_t *place = vec_push(numbers, sizeof(value));
            if (place == NULL) {
                return err_no_memory(err);
            }
            *place = value;
        }
    }
    return OK;
}

static enum status read_split_offsets(struct arena *arena, struct avro_cursor *c,
                                      const struct avro_type *type, struct ice_data_file *out,
                                      struct err *err)
{
    AUTO(vec_done) struct vec numbers = { 0 };
    TRY(read_numbers(c, type, &numbers, err));
    out->split_offsets = vec_to_arena(&numbers, arena, sizeof(int64_t));
    out->split_count = numbers.count;
    return out->split_offsets == NULL ? err_no_memory(err) : OK;
}

static enum status read_equality_ids(struct arena *arena, struct avro_cursor *c,
                                     const struct avro_type *type, struct ice_data_file *out,
                                     struct err *err)
{
    AUTO(vec_done) struct vec numbers = { 0 };
    TRY(read_numbers(c, type, &numbers, err));
    out->equality_ids = arena_array(arena, numbers.count, sizeof(int32_t));
    if (out->equality_ids == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < numbers.count; i++) {
        int64_t id = ((int64_t *)(void *)numbers.items)[i];
        if (id < INT32_MIN || id > INT32_MAX) {
            return err_set(err, E_CORRUPT, "an equality delete names field %lld", (long long)id);
        }
        out->equality_ids[out->equality_count++] = (int32_t)id;
    }
    return OK;
}

/** One value of a partition, so that equal values have equal bytes: writers differ in the order of
 * a union's branches, and in int or long after a promotion. */
static enum status append_value(struct avro_cursor *c, const struct avro_type *type,
                                struct buf *out, struct err *err)
{
    TRY(avro_get_branch(c, type, &type, err));
    const char *start = c->ptr;
    struct str bytes = { 0 };
    int64_t number = 0;
    if (type->kind == AVRO_INT || type->kind == AVRO_LONG) {
        TRY(avro_get_i64(c, type, &number, err));
        bytes = str_from((const char *)&number, sizeof(number));
    } else if (type->kind == AVRO_BYTES || type->kind == AVRO_STRING || type->kind == AVRO_FIXED) {
        TRY(avro_get_bytes(c, type, &bytes, err));
    } else {
        TRY(avro_skip(c, type, err));
        bytes = str_from(start, (size_t)(c->ptr - start));
    }
    int64_t len = type->kind == AVRO_NULL ? -1 : (int64_t)bytes.len;
    return buf_append_bytes(out, &len, sizeof(len)) == OK && buf_append(out, bytes) == OK
               ? OK
               : err_no_memory(err);
}

/** The partition record is kept as its bytes, which a rewritten manifest carries over, and as a key
 * that tells whether two files lie in one partition. */
static enum status read_partition(struct arena *arena, struct avro_cursor *c,
                                  const struct avro_type *type, struct ice_data_file *out,
                                  struct err *err)
{
    AUTO(buf_done) struct buf key;
    const char *start = c->ptr;
    buf_init(&key, 0);
    TRY(as_record(c, &type, err));
    for (size_t i = 0; i < type->field_count; i++) {
        TRY(append_value(c, type->fields[i].type, &key, err));
    }
    if (type->field_count > 0) {
        out->partition_avro = arena_str(arena, str_from(start, (size_t)(c->ptr - start)));
        out->partition_key = arena_str(arena, buf_str(&key));
        return out->partition_avro.ptr == NULL || out->partition_key.ptr == NULL
                   ? err_no_memory(err)
                   : OK;
    }
    return OK;
}

static enum status read_format(struct arena *arena, struct avro_cursor *c,
                               const struct avro_type *type, struct ice_data_file *out,
                               struct err *err)
{
    struct str text = { 0 };
    TRY(avro_get_bytes(c, type, &text, err));
    char *copy = arena_cstr(arena, text);
    if (copy == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < text.len; i++) {
        copy[i] = (char)(copy[i] >= 'a' && copy[i] <= 'z' ? copy[i] - 'a' + 'A' : copy[i]);
    }
    out->format = str_from(copy, text.len);
    return OK;
}

static enum status read_file_field(struct arena *arena, struct avro_cursor *c,
                                   const struct avro_field *field, struct vec *cells,
                                   struct ice_data_file *out, struct err *err)
{
    int32_t content = 0;
    switch (id_of(field)) {
    case 134:
        TRY(get_i32(c, field->type, &content, err));
        if (content < ICE_DATA || content > ICE_EQUALITY_DELETES) {
            return err_set(err, E_CORRUPT, "a data file has content %d", content);
        }
        out->content = (enum ice_content)content;
        return OK;
    case 100:
        return get_copy(arena, c, field->type, &out->path, err);
    case 101:
        return read_format(arena, c, field->type, out, err);
    case 102:
        return read_partition(arena, c, field->type, out, err);
    case 103:
        return avro_get_i64(c, field->type, &out->record_count, err);
    case 104:
        return avro_get_i64(c, field->type, &out->size_bytes, err);
    case 108:
    case 109:
    case 110:
    case 137:
    case 125:
    case 128:
        return read_map(arena, c, field->type, id_of(field), cells, err);
    case 131:
        return get_copy(arena, c, field->type, &out->key_metadata, err);
    case 132:
        return read_split_offsets(arena, c, field->type, out, err);
    case 135:
        return read_equality_ids(arena, c, field->type, out, err);
    case 140:
        return get_i32(c, field->type, &out->sort_order_id, err);
    case 143:
        return get_copy(arena, c, field->type, &out->referenced_data_file, err);
    case 144:
        return avro_get_i64(c, field->type, &out->content_offset, err);
    case 145:
        return avro_get_i64(c, field->type, &out->content_size_bytes, err);
    default:
        return avro_skip(c, field->type, err);
    }
}

static enum status read_data_file(struct arena *arena, struct avro_cursor *c,
                                  const struct avro_type *type, struct ice_data_file *out,
                                  struct err *err)
{
    AUTO(vec_done) struct vec cells = { 0 };
    TRY(as_record(c, &type, err));
    out->record_count = -1;
    out->size_bytes = -1;
    out->sort_order_id = -1;
    for (size_t i = 0; i < type->field_count; i++) {
        TRY(read_file_field(arena, c, &type->fields[i], &cells, out, err));
    }
    if (out->path.len == 0 || out->record_count < 0 || out->record_count > ICE_COUNT_MAX ||
        out->size_bytes < 0 || out->size_bytes > ICE_COUNT_MAX) {
        return err_set(err, E_CORRUPT, "a manifest names a file without path, row count or size");
    }
    return store_cells(arena, &cells, out, err);
}

/* ---- an entry ---- */

static enum status read_entry_fields(struct arena *arena, struct avro_cursor *c,
                                     const struct avro_type *type, struct ice_data_file *out,
                                     struct err *err)
{
    int32_t entry_status = ICE_EXISTING;
    out->snapshot_id = -1;
    out->sequence_number = -1;
    out->file_sequence_number = -1;
    for (size_t i = 0; i < type->field_count; i++) {
        const struct avro_field *field = &type->fields[i];
        switch (id_of(field)) {
        case 0:
            TRY(get_i32(c, field->type, &entry_status, err));
            break;
        case 1:
            TRY(avro_get_i64(c, field->type, &out->snapshot_id, err));
            break;
        case 2:
            TRY(read_data_file(arena, c, field->type, out, err));
            break;
        case 3:
            TRY(avro_get_i64(c, field->type, &out->sequence_number, err));
            break;
        case 4:
            TRY(avro_get_i64(c, field->type, &out->file_sequence_number, err));
            break;
        default:
            TRY(avro_skip(c, field->type, err));
            break;
        }
    }
    if (entry_status < ICE_EXISTING || entry_status > ICE_DELETED || out->path.len == 0) {
        return err_set(err, E_CORRUPT, "a manifest entry has status %d or no file", entry_status);
    }
    out->status = (enum ice_entry_status)entry_status;
    return OK;
}

/** New entries take what is null from the manifest list; manifests of version 1 have sequence
 * number 0 throughout. */
static void inherit(const struct ice_manifest_file *row, struct ice_data_file *file)
{
    file->partition_spec_id = row == NULL ? -1 : row->partition_spec_id;
    if (row == NULL) {
        return;
    }
    if (file->snapshot_id < 0) {
        file->snapshot_id = row->added_snapshot_id;
    }
    if (file->status == ICE_ADDED || row->sequence_number == 0) {
        if (file->sequence_number < 0) {
            file->sequence_number = row->sequence_number;
        }
        if (file->file_sequence_number < 0) {
            file->file_sequence_number = row->sequence_number;
        }
    }
}

/** The JSON of the partition record's schema; empty when it has no fields. */
static enum status partition_schema(struct arena *arena, const struct avro_type *entry,
                                    struct str *out, struct err *err)
{
    const struct avro_type *type = entry;
    static const int32_t path[] = { 2, 102 };
    for (size_t step = 0; step < ARRAY_LEN(path); step++) {
        const struct avro_type *next = NULL;
        for (size_t i = 0; i < type->field_count && next == NULL; i++) {
            next = id_of(&type->fields[i]) == path[step] ? type->fields[i].type : NULL;
        }
        if (next == NULL || next->kind != AVRO_RECORD) {
            return OK;
        }
        type = next;
    }
    if (type->field_count == 0) {
        return OK;
    }
    AUTO(buf_done) struct buf text;
    struct json_writer w;
    buf_init(&text, 0);
    json_writer_init(&w, &text);
    jw_val(&w, type->json);
    if (json_writer_end(&w) != OK) {
        return err_no_memory(err);
    }
    *out = arena_str(arena, buf_str(&text));
    return out->ptr == NULL ? err_no_memory(err) : OK;
}

static enum status read_blocks(struct arena *arena, struct avro_file *file,
                               const struct ice_manifest_file *row, struct vec *files,
                               struct err *err)
{
    struct avro_cursor c = { 0 };
    bool more = false;
    for (;;) {
        TRY(avro_next_block(file, &c, &more, err));
        if (!more) {
            return OK;
        }
        for (; c.rows_left > 0; c.rows_left--) {
            const struct avro_type *type = file->schema;
            struct ice_data_file entry = { 0 };
            TRY(as_record(&c, &type, err));
            TRY(read_entry_fields(arena, &c, type, &entry, err));
            inherit(row, &entry);
            struct ice_data_file *place = vec_push(files, sizeof(entry));
            if (place == NULL) {
                return err_no_memory(err);
            }
            *place = entry;
        }
        if (c.ptr != c.end) {
            return err_set(err, E_CORRUPT, "an Avro block is longer than its records");
        }
    }
}

static enum status read_manifest(struct arena *arena, struct arena *scratch, struct str bytes,
                                 const struct ice_manifest_file *row, struct ice_manifest *out,
                                 struct err *err)
{
    AUTO(avro_close) struct avro_file file = { 0 };
    AUTO(vec_done) struct vec files = { 0 };
    struct ice_manifest result = { 0 };
    TRY(avro_open(scratch, bytes, &file, err));
    TRY(partition_schema(arena, file.schema, &result.avro_partition_schema, err));
    TRY(read_blocks(arena, &file, row, &files, err));
    struct str spec = avro_header(&file, STR("partition-spec"));
    result.partition_spec = arena_str(arena, spec);
    result.files = vec_to_arena(&files, arena, sizeof(*result.files));
    result.file_count = files.count;
    if (result.files == NULL || result.partition_spec.ptr == NULL) {
        return err_no_memory(err);
    }
    *out = result;
    return OK;
}

enum status ice_manifest_read(struct arena *arena, struct str bytes,
                              const struct ice_manifest_file *row, struct ice_manifest *out,
                              struct err *err)
{
    struct arena scratch;
    arena_init(&scratch, 0);
    enum status status = read_manifest(arena, &scratch, bytes, row, out, err);
    arena_done(&scratch);
    if (status != OK && err != NULL && row != NULL) {
        (void)err_context(err, "manifest \"%.*s\"", STR_ARG(row->path));
    }
    return status;
}

/* ---- a manifest list ---- */

static enum status read_summary(struct arena *arena, struct avro_cursor *c,
                                const struct avro_type *type, struct ice_partition_summary *out,
                                struct err *err)
{
    TRY(as_record(c, &type, err));
    out->contains_nan = -1;
    for (size_t i = 0; i < type->field_count; i++) {
        const struct avro_type *field = type->fields[i].type;
        bool flag = false;
        switch (type->fields[i].id) {
        case 509:
            TRY(avro_get_bool(c, field, &out->contains_null, err));
            break;
        case 518:
            TRY(avro_get_branch(c, field, &field, err));
            if (field->kind != AVRO_NULL) {
                TRY(avro_get_bool(c, field, &flag, err));
                out->contains_nan = flag ? 1 : 0;
            }
            break;
        case 510:
            TRY(get_copy(arena, c, field, &out->lower, err));
            break;
        case 511:
            TRY(get_copy(arena, c, field, &out->upper, err));
            break;
        default:
            TRY(avro_skip(c, field, err));
            break;
        }
    }
    return OK;
}

static enum status read_summaries(struct arena *arena, struct avro_cursor *c,
                                  const struct avro_type *type, struct ice_manifest_file *out,
                                  struct err *err)
{
    AUTO(vec_done) struct vec parts = { 0 };
    const struct avro_type *item = NULL;
    uint64_t count = 1;
    TRY(as_array(c, type, &item, err));
    while (item != NULL && count > 0) {
        TRY(avro_get_count(c, &count, err));
        for (uint64_t i = 0; i < count; i++) {
            struct ice_partition_summary part = { 0 };
            TRY(read_summary(arena, c, item, &part, err));
            struct ice_partition_summary *place = vec_push(&parts, sizeof(part));
            if (place == NULL) {
                return err_no_memory(err);
            }
            *place = part;
        }
    }
    out->partitions = vec_to_arena(&parts, arena, sizeof(*out->partitions));
    out->partition_count = parts.count;
    return out->partitions == NULL ? err_no_memory(err) : OK;
}

static enum status read_row_field(struct arena *arena, struct avro_cursor *c,
                                  const struct avro_field *field, struct ice_manifest_file *out,
                                  struct err *err)
{
    switch (field->id) {
    case 500:
        return get_copy(arena, c, field->type, &out->path, err);
    case 501:
        return avro_get_i64(c, field->type, &out->length, err);
    case 502:
        return get_i32(c, field->type, &out->partition_spec_id, err);
    case 517:
        return get_i32(c, field->type, &out->content, err);
    case 515:
        return avro_get_i64(c, field->type, &out->sequence_number, err);
    case 516:
        return avro_get_i64(c, field->type, &out->min_sequence_number, err);
    case 503:
        return avro_get_i64(c, field->type, &out->added_snapshot_id, err);
    case 504:
        return get_i32(c, field->type, &out->added_files, err);
    case 505:
        return get_i32(c, field->type, &out->existing_files, err);
    case 506:
        return get_i32(c, field->type, &out->deleted_files, err);
    case 512:
        return avro_get_i64(c, field->type, &out->added_rows, err);
    case 513:
        return avro_get_i64(c, field->type, &out->existing_rows, err);
    case 514:
        return avro_get_i64(c, field->type, &out->deleted_rows, err);
    case 507:
        return read_summaries(arena, c, field->type, out, err);
    case 519:
        return get_copy(arena, c, field->type, &out->key_metadata, err);
    default:
        return avro_skip(c, field->type, err);
    }
}

/** Unknown (-1), or a number that can be. */
static bool counts_hold(const struct ice_manifest_file *row)
{
    const int64_t counts[] = { row->length,        row->added_files, row->existing_files,
                               row->deleted_files, row->added_rows,  row->existing_rows,
                               row->deleted_rows };
    for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
        if (counts[i] < -1 || counts[i] > ICE_COUNT_MAX) {
            return false;
        }
    }
    return row->length >= 0;
}

static enum status read_row(struct arena *arena, struct avro_cursor *c,
                            const struct avro_type *type, struct ice_manifest_file *out,
                            struct err *err)
{
    struct ice_manifest_file row = { .added_snapshot_id = -1,
                                     .added_files = -1,
                                     .existing_files = -1,
                                     .deleted_files = -1,
                                     .added_rows = -1,
                                     .existing_rows = -1,
                                     .deleted_rows = -1 };
    TRY(as_record(c, &type, err));
    for (size_t i = 0; i < type->field_count; i++) {
        TRY(read_row_field(arena, c, &type->fields[i], &row, err));
    }
    if (row.path.len == 0 || !counts_hold(&row) || row.content < 0 || row.content > 1 ||
        row.sequence_number < 0) {
        return err_set(err, E_CORRUPT,
                       "a manifest list has a row without path, or with numbers that cannot be");
    }
    *out = row;
    return OK;
}

static enum status read_list(struct arena *arena, struct arena *scratch, struct str bytes,
                             struct vec *rows, struct err *err)
{
    AUTO(avro_close) struct avro_file file = { 0 };
    struct avro_cursor c = { 0 };
    bool more = false;
    TRY(avro_open(scratch, bytes, &file, err));
    for (;;) {
        TRY(avro_next_block(&file, &c, &more, err));
        if (!more) {
            return OK;
        }
        for (; c.rows_left > 0; c.rows_left--) {
            struct ice_manifest_file row = { 0 };
            TRY(read_row(arena, &c, file.schema, &row, err));
            struct ice_manifest_file *place = vec_push(rows, sizeof(row));
            if (place == NULL) {
                return err_no_memory(err);
            }
            *place = row;
        }
        if (c.ptr != c.end) {
            return err_set(err, E_CORRUPT, "an Avro block is longer than its records");
        }
    }
}

enum status ice_manifest_list_read(struct arena *arena, struct str bytes,
                                   struct ice_manifest_file **rows_out, size_t *count_out,
                                   struct err *err)
{
    AUTO(vec_done) struct vec rows = { 0 };
    struct arena scratch;
    arena_init(&scratch, 0);
    enum status status = read_list(arena, &scratch, bytes, &rows, err);
    arena_done(&scratch);
    TRY(status);
    struct ice_manifest_file *copy = vec_to_arena(&rows, arena, sizeof(*copy));
    if (copy == NULL) {
        return err_no_memory(err);
    }
    *rows_out = copy;
    *count_out = rows.count;
    return OK;
}

const struct ice_schema *ice_delete_schema(void)
{
    static struct ice_field fields[] = {
        { .name = { "file_path", 9 }, .id = ICE_FIELD_FILE_PATH, .type = { .kind = ICE_STRING } },
        { .name = { "pos", 3 }, .id = ICE_FIELD_POS, .type = { .kind = ICE_LONG } },
    };
    static const struct ice_schema schema = {
        .root = { .kind = ICE_STRUCT, .fields = fields, .field_count = ARRAY_LEN(fields) }
    };
    return &schema;
}

struct str ice_delete_target(const struct ice_data_file *file)
{
    if (file->referenced_data_file.ptr != NULL) {
        return file->referenced_data_file;
    }
    for (size_t i = 0; i < file->column_count; i++) {
        const struct ice_column_stats *stats = &file->columns[i];
        if (stats->field_id == ICE_FIELD_FILE_PATH && stats->lower.ptr != NULL &&
            str_eq(stats->lower, stats->upper)) {
            return stats->lower;
        }
    }
    return (struct str){ 0 };
}
