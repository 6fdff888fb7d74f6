/*
 * The delete files of a pinned table: which of them count, and how they are told to the engine.
 *
 * Whether a delete applies to a data file follows from what both manifests say: their sequence
 * numbers, their partitions, and for a delete by position the one file that it may name. So the
 * engine gets these in numbers, and the text of a data file's path only where a position delete may
 * name it:
 *
 *      "files"    [rows, bytes, by_name, sequence, partition, path|null]
 *      "deletes"  [by_value, rows, bytes, sequence, partition|-1, file|-1, [[id, type],..]]
 *
 * The partition of a delete by value is -1 when its spec has none: it counts for every file. Delete
 * files are numbered behind the data files.
 *
 * Source   Apache Iceberg, table specification version 2, "Delete Formats" and "Scan Planning"
 */
#include "engine/sql_type.h"
#include "query/query_priv.h"

/* --- which count --- */

static enum status check_kind(const struct query_pin *pin, const struct ice_data_file *file,
                              struct err *err)
{
    if (str_eq(file->format, STR("PUFFIN")) || file->content_size_bytes > 0) {
        return err_set(err, E_UNSUPPORTED,
                       "table '%.*s' has deletion vectors (version 3), which cannot be read yet",
                       STR_ARG(pin->name));
    }
    if (!str_eq(file->format, STR("PARQUET"))) {
        return err_set(err, E_UNSUPPORTED,
                       "table '%.*s' has delete files in %.*s; only Parquet can be read",
                       STR_ARG(pin->name), STR_ARG(file->format));
    }
    return OK;
}

enum status query_deletes_check(struct query_pin *pin, struct err *err)
{
    for (size_t i = 0; i < pin->files.delete_count; i++) {
        TRY(check_kind(pin, pin->files.deletes[i].file, err));
    }
    return OK;
}

/* --- numbers for partitions and paths --- */

/** What is the same for all files of a table. The values of the maps are numbers from 1 on. */
struct numbering {
    struct map partitions, paths;
    struct buf key;
    bool any_positions, any_values;
};

static void numbering_done(struct numbering *n)
{
    map_done(&n->partitions);
    map_done(&n->paths);
    buf_done(&n->key);
}

static void *number_in(size_t number)
{
    return (void *)(uintptr_t)(number + 1);
}

/** The number of a text in a map; a new one gets the next. */
static enum status number_of(struct map *map, struct str text, int64_t *out, struct err *err)
{
    void *known = map_get(map, text);
    if (known == NULL) {
        known = number_in(map->count);
        if (map_put(map, text, known, NULL) != OK) {
            return err_no_memory(err);
        }
    }
    *out = (int64_t)(uintptr_t)known - 1;
    return OK;
}

static enum status partition_of(struct numbering *n, const struct ice_data_file *file, int64_t *out,
                                struct err *err)
{
    *out = 0;
    if (!n->any_values) {
        return OK;
    }
    buf_clear(&n->key);
    if (buf_append_bytes(&n->key, &file->partition_spec_id, sizeof(file->partition_spec_id)) !=
            OK ||
        buf_append(&n->key, file->partition_key) != OK) {
        return err_no_memory(err);
    }
    return number_of(&n->partitions, buf_str(&n->key), out, err);
}

enum status query_deletes_are_local(const struct ice_metadata *metadata, int32_t spec_id, bool *out,
                                    struct err *err)
{
    *out = false;
    for (size_t i = 0; i < metadata->spec_count; i++) {
        AUTO(json_doc_done) yyjson_doc *doc = NULL;
        size_t k, max;
        yyjson_val *field;
        if (metadata->specs[i].id != spec_id || metadata->specs[i].field_count == 0) {
            continue;
        }
        TRY(json_parse(metadata->specs[i].fields_json, &doc, err));
        yyjson_val *fields = yyjson_doc_get_root(doc);
        yyjson_arr_foreach(fields, k, max, field)
        {
            *out = *out || !yyjson_equals_str(yyjson_obj_get(field, "transform"), "void");
        }
    }
    return OK;
}

static enum status number_all(const struct query_pin *pin, struct numbering *n, struct err *err)
{
    map_init(&n->partitions);
    map_init(&n->paths);
    buf_init(&n->key, 0);
    n->any_positions = n->any_values = false;
    for (size_t i = 0; i < pin->files.delete_count; i++) {
        bool by_value = pin->files.deletes[i].file->content == ICE_EQUALITY_DELETES;
        n->any_values = n->any_values || by_value;
        n->any_positions = n->any_positions || !by_value;
    }
    for (size_t i = 0; n->any_positions && i < pin->files.count; i++) {
        if (map_put(&n->paths, pin->files.files[i].file->path, number_in(i), NULL) != OK) {
            return err_no_memory(err);
        }
    }
    return OK;
}

/* --- telling --- */

static enum status write_files(struct json_writer *w, const struct query_pin *pin, bool by_name,
                               struct numbering *n, struct err *err)
{
    jw_kv_arr(w, "files");
    for (size_t i = 0; i < pin->files.count; i++) {
        const struct ice_data_file *file = pin->files.files[i].file;
        int64_t partition = 0;
        TRY(partition_of(n, file, &partition, err));
        jw_arr_begin(w);
        jw_i64(w, file->record_count);
        jw_i64(w, file->size_bytes);
        jw_bool(w, by_name);
        jw_i64(w, file->sequence_number);
        jw_i64(w, partition);
        if (n->any_positions) {
            jw_str(w, file->path);
        } else {
            jw_null(w);
        }
        jw_arr_end(w);
    }
    jw_arr_end(w);
    return OK;
}

/** The column of an id in the newest schema that has it: one that was dropped still counts. */
static enum status find_column(const struct query_pin *pin, int32_t id,
                               const struct ice_field **out, struct err *err)
{
    const struct ice_metadata *metadata = pin->pin->metadata;
    *out = NULL;
    for (size_t s = metadata->schema_count; s-- > 0 && *out == NULL;) {
        const struct ice_type *root = &metadata->schemas[s].root;
        for (size_t i = 0; i < root->field_count && *out == NULL; i++) {
            *out = root->fields[i].id == id ? &root->fields[i] : NULL;
        }
    }
    if (*out == NULL || (*out)->type.field_count > 0) {
        return err_set(err, E_UNSUPPORTED,
                       "table '%.*s' has rows deleted by the value of field %d, which is no plain "
                       "column of it",
                       STR_ARG(pin->name), (int)id);
    }
    return OK;
}

static enum status write_equal_columns(struct json_writer *w, const struct query_pin *pin,
                                       const struct ice_data_file *file, struct err *err)
{
    if (file->equality_count == 0) {
        return err_set(err, E_CORRUPT, "a delete file of table '%.*s' names no column to compare",
                       STR_ARG(pin->name));
    }
    for (size_t i = 0; i < file->equality_count; i++) {
        const struct ice_field *column;
        AUTO(buf_done) struct buf type;
        buf_init(&type, 0);
        TRY(find_column(pin, file->equality_ids[i], &column, err));
        TRY(sql_type_print(&column->type, &type, err));
        jw_arr_begin(w);
        jw_i64(w, column->id);
        jw_str(w, buf_str(&type));
        jw_arr_end(w);
    }
    return OK;
}

static enum status write_delete(struct json_writer *w, const struct query_pin *pin,
                                const struct ice_data_file *file, struct numbering *n,
                                struct err *err)
{
    bool by_value = file->content == ICE_EQUALITY_DELETES, partitioned = false;
    int64_t partition = -1, target = -1;
    if (by_value) {
        TRY(query_deletes_are_local(pin->pin->metadata, file->partition_spec_id, &partitioned,
                                    err));
        if (partitioned) {
            TRY(partition_of(n, file, &partition, err));
        }
    } else if (ice_delete_target(file).ptr != NULL) {
        /* one that is not among the live files has the number behind them: nobody is looked at */
        void *known = map_get(&n->paths, ice_delete_target(file));
        target = known == NULL ? (int64_t)pin->files.count : (int64_t)(uintptr_t)known - 1;
    }
    jw_arr_begin(w);
    jw_bool(w, by_value);
    jw_i64(w, file->record_count);
    jw_i64(w, file->size_bytes);
    jw_i64(w, file->sequence_number);
    jw_i64(w, partition);
    jw_i64(w, target);
    jw_arr_begin(w);
    if (by_value) {
        TRY(write_equal_columns(w, pin, file, err));
    }
    jw_arr_end(w);
    jw_arr_end(w);
    return OK;
}

enum status query_deletes_write(struct json_writer *w, const struct query_pin *pin, bool by_name,
                                struct err *err)
{
    AUTO(numbering_done) struct numbering n = { 0 };
    TRY(number_all(pin, &n, err));
    TRY(write_files(w, pin, by_name, &n, err));
    jw_kv_arr(w, "deletes");
    for (size_t i = 0; i < pin->files.delete_count; i++) {
        TRY(write_delete(w, pin, pin->files.deletes[i].file, &n, err));
    }
    jw_arr_end(w);
    return OK;
}
