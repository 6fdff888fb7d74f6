/*
 * Sums by partition, made once of all manifests, one after the other: memory holds the partitions,
 * not the files.
 */
#include "base/mem.h"
#include "query/inspect.h"

enum { US_PER_MS = 1000 };

/** The partitions while they are counted. */
struct counting {
    struct map places; /* key of all values -> place + 1 */
    struct buf key;
    size_t cap;
};

static void counting_done(struct counting *c)
{
    map_done(&c->places);
    buf_done(&c->key);
}

/** The values of all fields as a key: for each its length, -1 for null, and its bytes. */
static enum status make_key(const struct inspect *in, const struct ice_data_file *file,
                            struct buf *out, struct err *err)
{
    buf_clear(out);
    for (size_t i = 0; i < in->specs.all_count; i++) {
        char scratch[8];
        bool there = false;
        struct str value;
        TRY(ice_partition_value(file, &in->order, &in->specs.all[i], scratch, &there, &value, err));
        int64_t len = value.ptr == NULL ? -1 : (int64_t)value.len;
        if (buf_append_bytes(out, &len, sizeof(len)) != OK || buf_append(out, value) != OK) {
            return err_no_memory(err);
        }
    }
    return OK;
}

static enum status keep_values(struct inspect *in, const struct ice_data_file *file,
                               struct inspect_partition *out, struct err *err)
{
    out->values = arena_array(&in->arena, in->specs.all_count + 1, sizeof(*out->values));
    if (out->values == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < in->specs.all_count; i++) {
        char scratch[8];
        bool there = false;
        struct str value;
        TRY(ice_partition_value(file, &in->order, &in->specs.all[i], scratch, &there, &value, err));
        if (value.ptr != NULL) {
            out->values[i] = arena_str(&in->arena, value);
            if (out->values[i].ptr == NULL) {
                return err_no_memory(err);
            }
        }
    }
    return OK;
}

static enum status grow(struct inspect *in, struct counting *c, struct err *err)
{
    if (in->partition_count < c->cap) {
        return OK;
    }
    size_t cap = c->cap == 0 ? 64 : c->cap * 2;
    struct inspect_partition *more = arena_array(&in->arena, cap, sizeof(*more));
    if (more == NULL) {
        return err_no_memory(err);
    }
    if (in->partition_count > 0) {
        memcpy(more, in->partitions, in->partition_count * sizeof(*more));
    }
    in->partitions = more;
    c->cap = cap;
    return OK;
}

static enum status find_partition(struct inspect *in, struct counting *c,
                                  const struct ice_data_file *file, struct inspect_partition **out,
                                  struct err *err)
{
    TRY(make_key(in, file, &c->key, err));
    struct str key = c->key.len == 0 ? STR("") : buf_str(&c->key);
    void *known = map_get(&c->places, key);
    if (known != NULL) {
        *out = &in->partitions[(uintptr_t)known - 1];
        return OK;
    }
    TRY(grow(in, c, err));
    struct inspect_partition *made = &in->partitions[in->partition_count];
    *made = (struct inspect_partition){ .spec_id = file->partition_spec_id,
                                        .updated_snapshot = -1 };
    TRY(keep_values(in, file, made, err));
    if (map_put(&c->places, key, (void *)(uintptr_t)(in->partition_count + 1), NULL) != OK) {
        return err_no_memory(err);
    }
    in->partition_count++;
    *out = made;
    return OK;
}

static void add_file(const struct inspect *in, const struct ice_data_file *file,
                     struct inspect_partition *to)
{
    const struct ice_snapshot *snapshot = ice_metadata_snapshot(in->pin->metadata,
                                                                file->snapshot_id);
    if (snapshot != NULL && (to->updated_snapshot < 0 || snapshot->timestamp_ms > to->updated_ms)) {
        to->updated_ms = snapshot->timestamp_ms;
        to->updated_snapshot = snapshot->id;
        to->spec_id = file->partition_spec_id;
    }
    switch (file->content) {
    case ICE_DATA:
        to->records += file->record_count;
        to->size_bytes += file->size_bytes;
        to->files++;
        break;
    case ICE_POSITION_DELETES:
        to->position_records += file->record_count;
        to->position_files++;
        break;
    case ICE_EQUALITY_DELETES:
        to->equality_records += file->record_count;
        to->equality_files++;
        break;
    }
}

static enum status count_manifest(struct inspect *in, struct counting *c, struct err *err)
{
    const struct ice_manifest *manifest = in->open.manifest;
    for (size_t i = 0; i < manifest->file_count; i++) {
        struct inspect_partition *partition = NULL;
        if (manifest->files[i].status != ICE_DELETED) {
            TRY(find_partition(in, c, &manifest->files[i], &partition, err));
            add_file(in, &manifest->files[i], partition);
        }
    }
    return OK;
}

static enum status count_all(struct inspect *in, struct err *err)
{
    AUTO(counting_done) struct counting counting = { 0 };
    map_init(&counting.places);
    buf_init(&counting.key, 0);
    in->partition_count = 0;
    TRY(inspect_list(in, err));
    for (size_t m = 0; m < in->manifests.count; m++) {
        TRY(inspect_open(in, m, err));
        TRY(count_manifest(in, &counting, err));
    }
    in->counted = true;
    return OK;
}

static void write_values(struct json_writer *w, const struct inspect *in,
                         const struct inspect_partition *partition)
{
    jw_arr_begin(w);
    for (size_t i = 0; i < in->specs.all_count; i++) {
        inspect_write_value(w, &in->specs.all[i].type, partition->values[i]);
    }
    jw_arr_end(w);
}

static void write_cell(struct json_writer *w, const struct inspect *in,
                       const struct inspect_partition *partition, int32_t column)
{
    bool updated = partition->updated_snapshot >= 0;
    switch (column) {
    case COL_PARTITION:
        write_values(w, in, partition);
        break;
    case COL_SPEC:
        jw_i64(w, partition->spec_id);
        break;
    case COL_RECORDS:
        jw_i64(w, partition->records);
        break;
    case COL_FILE_COUNT:
        jw_i64(w, partition->files);
        break;
    case COL_DATA_SIZE:
        jw_i64(w, partition->size_bytes);
        break;
    case COL_POSITION_RECORDS:
        jw_i64(w, partition->position_records);
        break;
    case COL_POSITION_FILES:
        jw_i64(w, partition->position_files);
        break;
    case COL_EQUALITY_RECORDS:
        jw_i64(w, partition->equality_records);
        break;
    case COL_EQUALITY_FILES:
        jw_i64(w, partition->equality_files);
        break;
    case COL_UPDATED_AT:
        inspect_write_opt(w, updated ? partition->updated_ms * US_PER_MS : -1);
        break;
    case COL_UPDATED_SNAPSHOT:
        inspect_write_opt(w, partition->updated_snapshot);
        break;
    default:
        jw_null(w);
        break;
    }
}

enum status inspect_partitions(struct inspect *in, struct inspect_page *page, uint64_t after,
                               uint64_t *next_out, struct err *err)
{
    if (!in->counted) {
        TRY(count_all(in, err));
    }
    for (uint64_t i = after; i < in->partition_count; i++) {
        if (inspect_page_is_full(page)) {
            *next_out = i;
            return OK;
        }
        jw_arr_begin(&page->w);
        for (size_t c = 0; c < page->column_count; c++) {
            write_cell(&page->w, in, &in->partitions[i], page->columns[c]);
        }
        jw_arr_end(&page->w);
        page->rows++;
    }
    return OK;
}
