/*
 * The wire forms of the catalogue's own structs.
 */
#include "catalog/wire.h"

#include "catalog/table_name.h"
#include "catalog/wire_priv.h"

enum status wire_read_str(struct arena *arena, yyjson_val *obj, const char *name,
                          enum json_need need, struct str *out, struct err *err)
{
    struct str text = STR_EMPTY;
    TRY(json_get_str(obj, name, need, &text, err));
    struct str copy = arena_str(arena, text);
    if (copy.ptr == NULL) {
        return err_no_memory(err);
    }
    *out = copy;
    return OK;
}

static enum status read_i32(yyjson_val *obj, const char *name, int32_t *out, struct err *err)
{
    int64_t value = *out;
    TRY(json_get_i64(obj, name, JSON_OPTIONAL, &value, err));
    if (value < INT32_MIN || value > INT32_MAX) {
        return err_set(err, E_INVALID, "\"%s\" is out of range", name);
    }
    *out = (int32_t)value;
    return OK;
}

/* --- names and schemas --- */

void wire_name(struct json_writer *w, const struct table_name *name)
{
    jw_kv_str(w, "namespace", name->ns);
    jw_kv_str(w, "name", name->name);
}

enum status wire_read_name(struct arena *arena, yyjson_val *obj, struct table_name *out,
                           struct err *err)
{
    TRY(wire_read_str(arena, obj, "namespace", JSON_REQUIRED, &out->ns, err));
    TRY(wire_read_str(arena, obj, "name", JSON_REQUIRED, &out->name, err));
    return table_name_check(out, err);
}

static void write_schema(struct json_writer *w, const char *key, const struct ice_schema *schema)
{
    if (schema != NULL) {
        jw_key(w, str_of(key));
        ice_schema_write(w, schema);
    }
}

static enum status read_schema(struct arena *arena, yyjson_val *obj, const char *name,
                               const struct ice_schema **out, struct err *err)
{
    yyjson_val *val = NULL;
    *out = NULL;
    TRY(json_get_obj(obj, name, JSON_OPTIONAL, &val, err));
    if (val == NULL) {
        return OK;
    }
    struct ice_schema *schema = ARENA_NEW(arena, struct ice_schema);
    if (schema == NULL) {
        return err_no_memory(err);
    }
    TRY(ice_schema_parse(arena, val, schema, err));
    *out = schema;
    return OK;
}

/* --- places --- */

void wire_place(struct json_writer *w, const struct catalog_place *place)
{
    jw_kv_bool(w, "exists", place->exists);
    jw_kv_str(w, "uuid", place->uuid);
    jw_kv_str(w, "location_key", place->location_key);
    jw_kv_i64(w, "schema_id", place->schema_id);
    jw_kv_i64(w, "last_column_id", place->last_column_id);
    jw_kv_str(w, "fingerprint", place->fingerprint);
    write_schema(w, "schema", place->schema);
    jw_kv_i64(w, "spec_id", place->spec_id);
    jw_kv_i64(w, "sort_order_id", place->sort_order_id);
    jw_kv_str(w, "partition_fields", place->partition_fields);
    jw_kv_str(w, "sort_fields", place->sort_fields);
}

enum status wire_read_place(struct arena *arena, yyjson_val *obj, struct catalog_place *out,
                            struct err *err)
{
    struct catalog_place place = { 0 };
    TRY(json_get_bool(obj, "exists", JSON_REQUIRED, &place.exists, err));
    TRY(wire_read_str(arena, obj, "uuid", JSON_REQUIRED, &place.uuid, err));
    TRY(wire_read_str(arena, obj, "location_key", JSON_REQUIRED, &place.location_key, err));
    TRY(read_i32(obj, "schema_id", &place.schema_id, err));
    TRY(read_i32(obj, "last_column_id", &place.last_column_id, err));
    TRY(wire_read_str(arena, obj, "fingerprint", JSON_OPTIONAL, &place.fingerprint, err));
    TRY(read_schema(arena, obj, "schema", &place.schema, err));
    TRY(read_i32(obj, "spec_id", &place.spec_id, err));
    TRY(read_i32(obj, "sort_order_id", &place.sort_order_id, err));
    TRY(wire_read_str(arena, obj, "partition_fields", JSON_OPTIONAL, &place.partition_fields, err));
    TRY(wire_read_str(arena, obj, "sort_fields", JSON_OPTIONAL, &place.sort_fields, err));
    *out = place;
    return OK;
}

/* --- appends --- */

static void write_properties(struct json_writer *w, const char *key,
                             const struct ice_property *items, size_t count)
{
    jw_kv_arr(w, key);
    for (size_t i = 0; i < count; i++) {
        jw_arr_begin(w);
        jw_str(w, items[i].name);
        jw_str(w, items[i].value);
        jw_arr_end(w);
    }
    jw_arr_end(w);
}

static void write_parts(struct json_writer *w, const struct catalog_append *append)
{
    jw_kv_i64(w, "expected_spec_id", append->expected_spec_id);
    jw_kv_str(w, "shape", append->shape);
    if (append->parts == NULL) {
        return;
    }
    jw_kv_arr(w, "parts");
    for (size_t i = 0; i < append->file_count; i++) {
        jw_arr_begin(w);
        for (size_t k = 0; k < append->part_count; k++) {
            if (append->parts[i][k].ptr == NULL) {
                jw_null(w);
            } else {
                jw_str(w, append->parts[i][k]);
            }
        }
        jw_arr_end(w);
    }
    jw_arr_end(w);
}

void wire_append(struct json_writer *w, const struct catalog_append *append)
{
    wire_name(w, &append->name);
    jw_kv_str(w, "batch_id", append->batch_id);
    jw_kv_bool(w, "create", append->create);
    jw_kv_bool(w, "only_new", append->only_new);
    jw_kv_bool(w, "name_mapping", append->name_mapping);
    jw_kv_i64(w, "expected_schema_id", append->expected_schema_id);
    jw_kv_i64(w, "evolved_last_column_id", append->evolved_last_column_id);
    /* Clocks differ between machines: what is left of the deadline travels. */
    jw_kv_i64(w, "timeout_ms", deadline_poll_ms(append->deadline));
    write_schema(w, "schema", append->schema);
    write_schema(w, "evolved", append->evolved);
    if (append->place != NULL) {
        jw_kv_obj(w, "place");
        wire_place(w, append->place);
        jw_obj_end(w);
    }
    jw_kv_arr(w, "files");
    for (size_t i = 0; i < append->file_count; i++) {
        wire_file(w, &append->files[i]);
    }
    jw_arr_end(w);
    write_parts(w, append);
    write_properties(w, "summary", append->summary, append->summary_count);
    write_properties(w, "sources", append->sources, append->source_count);
}

static enum status read_properties(struct arena *arena, yyjson_val *obj, const char *name,
                                   const struct ice_property **out, size_t *count_out,
                                   struct err *err)
{
    yyjson_val *arr = NULL;
    TRY(json_get_arr(obj, name, JSON_OPTIONAL, &arr, err));
    struct ice_property *items = arena_array(arena, yyjson_arr_size(arr), sizeof(*items));
    if (items == NULL) {
        return err_no_memory(err);
    }
    size_t i, max;
    yyjson_val *val;
    yyjson_arr_foreach(arr, i, max, val)
    {
        yyjson_val *key = yyjson_arr_get(val, 0), *value = yyjson_arr_get(val, 1);
        if (!yyjson_is_str(key) || !yyjson_is_str(value)) {
            return err_set(err, E_INVALID, "\"%s\" is no list of pairs of strings", name);
        }
        items[i].name = arena_str(arena, str_from(yyjson_get_str(key), yyjson_get_len(key)));
        items[i].value = arena_str(arena, str_from(yyjson_get_str(value), yyjson_get_len(value)));
        if (items[i].name.ptr == NULL || items[i].value.ptr == NULL) {
            return err_no_memory(err);
        }
    }
    *out = items;
    *count_out = yyjson_arr_size(arr);
    return OK;
}

static enum status read_files(struct arena *arena, yyjson_val *obj, struct catalog_append *out,
                              struct err *err)
{
    yyjson_val *arr = NULL;
    TRY(json_get_arr(obj, "files", JSON_OPTIONAL, &arr, err));
    struct ice_data_file *files = arena_array(arena, yyjson_arr_size(arr), sizeof(*files));
    if (files == NULL) {
        return err_no_memory(err);
    }
    size_t i, max;
    yyjson_val *val;
    yyjson_arr_foreach(arr, i, max, val)
    {
        TRY(wire_read_file(arena, val, &files[i], err));
    }
    out->files = files;
    out->file_count = yyjson_arr_size(arr);
    return OK;
}

/** The values of one file's partition. */
static enum status read_values(struct arena *arena, yyjson_val *list, struct str *out,
                               struct err *err)
{
    size_t i, max;
    yyjson_val *value;
    yyjson_arr_foreach(list, i, max, value)
    {
        out[i] = (struct str){ NULL, 0 };
        if (yyjson_is_str(value)) {
            out[i] = arena_str(arena, str_from(yyjson_get_str(value), yyjson_get_len(value)));
            TRY(out[i].ptr == NULL ? err_no_memory(err) : OK);
        }
    }
    return OK;
}

static enum status read_parts(struct arena *arena, yyjson_val *obj, struct catalog_append *out,
                              struct err *err)
{
    yyjson_val *arr = NULL, *list;
    size_t i, max;
    TRY(read_i32(obj, "expected_spec_id", &out->expected_spec_id, err));
    TRY(wire_read_str(arena, obj, "shape", JSON_OPTIONAL, &out->shape, err));
    TRY(json_get_arr(obj, "parts", JSON_OPTIONAL, &arr, err));
    if (arr == NULL) {
        return OK;
    }
    out->part_count = yyjson_arr_size(yyjson_arr_get_first(arr));
    struct str *values = arena_array(arena, out->part_count * yyjson_arr_size(arr) + 1,
                                     sizeof(*values));
    const struct str **parts = arena_array(arena, yyjson_arr_size(arr) + 1, sizeof(*parts));
    if (values == NULL || parts == NULL) {
        return err_no_memory(err);
    }
    yyjson_arr_foreach(arr, i, max, list)
    {
        if (yyjson_arr_size(list) != out->part_count || yyjson_arr_size(arr) != out->file_count) {
            return err_set(err, E_INVALID, "\"parts\" has not the same values for each file");
        }
        parts[i] = values + i * out->part_count;
        TRY(read_values(arena, list, values + i * out->part_count, err));
    }
    out->parts = parts;
    return OK;
}

static enum status read_append_place(struct arena *arena, yyjson_val *obj,
                                     struct catalog_append *out, struct err *err)
{
    yyjson_val *val = NULL;
    TRY(json_get_obj(obj, "place", JSON_OPTIONAL, &val, err));
    if (val == NULL) {
        return OK;
    }
    struct catalog_place *place = ARENA_NEW(arena, struct catalog_place);
    if (place == NULL) {
        return err_no_memory(err);
    }
    TRY(wire_read_place(arena, val, place, err));
    out->place = place;
    return OK;
}

enum status wire_read_append(struct arena *arena, yyjson_val *obj, struct catalog_append *out,
                             struct err *err)
{
    struct catalog_append append = { 0 };
    int64_t timeout_ms = 60000;
    TRY(wire_read_name(arena, obj, &append.name, err));
    TRY(wire_read_str(arena, obj, "batch_id", JSON_OPTIONAL, &append.batch_id, err));
    TRY(json_get_bool(obj, "create", JSON_OPTIONAL, &append.create, err));
    TRY(json_get_bool(obj, "only_new", JSON_OPTIONAL, &append.only_new, err));
    TRY(json_get_bool(obj, "name_mapping", JSON_OPTIONAL, &append.name_mapping, err));
    TRY(read_i32(obj, "expected_schema_id", &append.expected_schema_id, err));
    TRY(read_i32(obj, "evolved_last_column_id", &append.evolved_last_column_id, err));
    TRY(json_get_i64(obj, "timeout_ms", JSON_OPTIONAL, &timeout_ms, err));
    append.deadline = timeout_ms < 0 ? DEADLINE_NEVER : deadline_in(timeout_ms);
    TRY(read_schema(arena, obj, "schema", &append.schema, err));
    TRY(read_schema(arena, obj, "evolved", &append.evolved, err));
    TRY(read_append_place(arena, obj, &append, err));
    TRY(read_files(arena, obj, &append, err));
    TRY(read_parts(arena, obj, &append, err));
    TRY(read_properties(arena, obj, "summary", &append.summary, &append.summary_count, err));
    TRY(read_properties(arena, obj, "sources", &append.sources, &append.source_count, err));
    *out = append;
    return OK;
}

void wire_appended(struct json_writer *w, const struct catalog_appended *appended)
{
    jw_kv_str(w, "uuid", appended->uuid);
    jw_kv_str(w, "fingerprint", appended->fingerprint);
    jw_kv_str(w, "batch_id", appended->batch_id);
    jw_kv_i64(w, "snapshot_id", appended->snapshot_id);
    jw_kv_i64(w, "row_count", appended->row_count);
    jw_kv_i64(w, "committed_ms", appended->committed_ms);
    jw_kv_u64(w, "files_added", appended->files_added);
    jw_kv_bool(w, "created", appended->created);
    jw_kv_bool(w, "deduplicated", appended->deduplicated);
}

enum status wire_read_appended(struct arena *arena, yyjson_val *obj, struct catalog_appended *out,
                               struct err *err)
{
    struct catalog_appended appended = { 0 };
    uint64_t files_added = 0;
    TRY(wire_read_str(arena, obj, "uuid", JSON_REQUIRED, &appended.uuid, err));
    TRY(wire_read_str(arena, obj, "fingerprint", JSON_REQUIRED, &appended.fingerprint, err));
    TRY(wire_read_str(arena, obj, "batch_id", JSON_OPTIONAL, &appended.batch_id, err));
    TRY(json_get_i64(obj, "snapshot_id", JSON_REQUIRED, &appended.snapshot_id, err));
    TRY(json_get_i64(obj, "row_count", JSON_REQUIRED, &appended.row_count, err));
    TRY(json_get_i64(obj, "committed_ms", JSON_REQUIRED, &appended.committed_ms, err));
    TRY(json_get_u64(obj, "files_added", JSON_OPTIONAL, &files_added, err));
    TRY(json_get_bool(obj, "created", JSON_REQUIRED, &appended.created, err));
    TRY(json_get_bool(obj, "deduplicated", JSON_REQUIRED, &appended.deduplicated, err));
    appended.files_added = (size_t)files_added;
    *out = appended;
    return OK;
}

/* --- summaries --- */

void wire_summary(struct json_writer *w, const struct table_summary *table)
{
    wire_name(w, &table->name);
    jw_kv_str(w, "uuid", table->uuid);
    jw_kv_str(w, "fingerprint", table->fingerprint);
    jw_kv_i64(w, "snapshot_id", table->snapshot_id);
    jw_kv_i64(w, "row_count", table->row_count);
    jw_kv_i64(w, "file_count", table->file_count);
    jw_kv_i64(w, "size_bytes", table->size_bytes);
    jw_kv_i64(w, "updated_ms", table->updated_ms);
    jw_kv_str(w, "metadata_location", table->metadata_location);
    jw_kv_i64(w, "version", table->version);
    if (table->is_view) {
        jw_kv_bool(w, "view", true);
    }
}

enum status wire_read_summary(struct arena *arena, yyjson_val *obj, struct table_summary *out,
                              struct err *err)
{
    struct table_summary table = { 0 };
    TRY(wire_read_name(arena, obj, &table.name, err));
    TRY(wire_read_str(arena, obj, "uuid", JSON_REQUIRED, &table.uuid, err));
    TRY(wire_read_str(arena, obj, "fingerprint", JSON_REQUIRED, &table.fingerprint, err));
    TRY(json_get_i64(obj, "snapshot_id", JSON_REQUIRED, &table.snapshot_id, err));
    TRY(json_get_i64(obj, "row_count", JSON_REQUIRED, &table.row_count, err));
    TRY(json_get_i64(obj, "file_count", JSON_REQUIRED, &table.file_count, err));
    TRY(json_get_i64(obj, "size_bytes", JSON_REQUIRED, &table.size_bytes, err));
    TRY(json_get_i64(obj, "updated_ms", JSON_REQUIRED, &table.updated_ms, err));
    TRY(wire_read_str(arena, obj, "metadata_location", JSON_REQUIRED, &table.metadata_location,
                      err));
    TRY(json_get_i64(obj, "version", JSON_REQUIRED, &table.version, err));
    TRY(json_get_bool(obj, "view", JSON_OPTIONAL, &table.is_view, err));
    *out = table;
    return OK;
}

void wire_damaged(struct json_writer *w, const struct catalog_damaged *damaged)
{
    wire_name(w, &damaged->name);
    jw_kv_cstr(w, "code", status_name(damaged->kind));
    jw_kv_str(w, "message", damaged->why);
}

enum status wire_read_damaged(struct arena *arena, yyjson_val *obj, struct catalog_damaged *out,
                              struct err *err)
{
    struct catalog_damaged damaged = { .kind = E_CORRUPT };
    struct str code = STR_EMPTY;
    TRY(wire_read_name(arena, obj, &damaged.name, err));
    TRY(wire_read_str(arena, obj, "code", JSON_REQUIRED, &code, err));
    TRY(wire_read_str(arena, obj, "message", JSON_REQUIRED, &damaged.why, err));
    if (str_eq(code, str_of(status_name(E_UNSUPPORTED)))) {
        damaged.kind = E_UNSUPPORTED;
    }
    *out = damaged;
    return OK;
}
