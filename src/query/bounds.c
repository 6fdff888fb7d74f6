/*
 * What is known of one column in each file of a pinned table, so that the engine can leave files
 * out: the bounds in its statistics, and what its partition says, whichever is closer. A file is
 * judged by the spec that it was written under.
 *
 *   bounds   {"pin","field"}
 *            -> [[lower|null, upper|null, nulls, values, cut, is_value?, buckets?, bucket?],..]
 *
 * one for each data file; the last three only where the column is the source of a partition.
 */
#include "iceberg/partition.h"
#include "iceberg/value.h"
#include "query/query_priv.h"
#include "query/types.h"

/** The partition fields of one manifest's files that were made of the column. */
struct sources {
    const struct ice_manifest *manifest; /* whose they are */
    struct ice_partition_order order;
    const struct ice_partition_field **fields; /* [count] */
    size_t count;
};

struct asking {
    const struct query_pin *pin;
    const struct ice_field *field;
    struct ice_partition_specs specs;
    bool is_source;           /* of any partition field */
    struct arena arena;       /* of the specs */
    struct arena of_manifest; /* of the sources */
    struct arena of_file;     /* of what is written next */
};

/** Of one file. */
struct known {
    struct str lower, upper;
    int64_t null_count, value_count;
    bool is_value;
    int32_t bucket_count, bucket;
};

static const struct ice_column_stats *find_stats(const struct ice_data_file *file, int32_t field_id)
{
    for (size_t i = 0; i < file->column_count; i++) {
        if (file->columns[i].field_id == field_id) {
            return &file->columns[i];
        }
    }
    return NULL;
}

/** NaN is above every number for SQL, and in no bound of Iceberg's: without the certainty that
 * there is none there is no upper bound. */
static bool upper_holds(const struct ice_type *type, const struct ice_column_stats *stats)
{
    return (type->kind != ICE_FLOAT && type->kind != ICE_DOUBLE) || stats->nan_count == 0;
}

static void know_stats(const struct ice_type *type, const struct ice_column_stats *stats,
                       struct known *out)
{
    out->null_count = out->value_count = -1;
    if (stats != NULL) {
        out->lower = stats->lower;
        out->upper = upper_holds(type, stats) ? stats->upper : (struct str){ NULL, 0 };
        out->null_count = stats->null_count;
        out->value_count = stats->value_count;
    }
}

/* --- partitions --- */

static enum status find_sources(struct asking *asking, const struct catalog_file *file,
                                struct sources *out, struct err *err)
{
    const struct ice_partition_spec *spec = ice_partition_spec_by_id(&asking->specs,
                                                                     file->file->partition_spec_id);
    size_t count = spec == NULL ? 0 : spec->field_count;
    arena_reset(&asking->of_manifest);
    *out = (struct sources){ .manifest = file->manifest };
    out->fields = arena_array(&asking->of_manifest, count + 1,
                              sizeof(struct ice_partition_field *));
    if (out->fields == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < count; i++) {
        if (spec->fields[i].source_id == asking->field->id) {
            out->fields[out->count++] = &spec->fields[i];
        }
    }
    return out->count == 0
               ? OK
               : ice_partition_order(&asking->of_manifest, file->manifest, spec, &out->order, err);
}

static void tighten(const struct ice_type *type, struct str *bound, struct str other, bool upper)
{
    int order = 0;
    if (other.ptr == NULL) {
        return;
    }
    bool closer = bound->ptr == NULL ||
                  (ice_bound_compare(type, other, *bound, &order, NULL) == OK &&
                   (upper ? order < 0 : order > 0));
    *bound = closer ? other : *bound;
}

static enum status know_field(struct asking *asking, const struct sources *sources,
                              const struct ice_partition_field *field,
                              const struct ice_data_file *file, struct known *out, struct err *err)
{
    bool there = false;
    struct str value;
    struct ice_partition_range range = { 0 };
    char *scratch = arena_alloc(&asking->of_file, sizeof(int64_t));
    if (scratch == NULL) {
        return err_no_memory(err);
    }
    TRY(ice_partition_value(file, &sources->order, field, scratch, &there, &value, err));
    if (!there) {
        return OK;
    }
    TRY(ice_partition_range(&asking->of_file, field, &asking->field->type, value, &range, err));
    if (range.all_null) {
        out->null_count = out->value_count = file->record_count;
    } else if (range.none_null) {
        out->null_count = 0;
    }
    out->is_value = out->is_value || range.is_value;
    tighten(&asking->field->type, &out->lower, range.lower, false);
    tighten(&asking->field->type, &out->upper, range.upper, true);
    if (field->transform == ICE_BUCKET && value.len == sizeof(out->bucket)) {
        out->bucket_count = field->width;
        memcpy(&out->bucket, value.ptr, sizeof(out->bucket));
    }
    return OK;
}

/* --- the answer --- */

/** One bound as text; null when it is unknown, or cannot be text. A bound that is damaged is
 * unknown too: it only serves to leave files out. */
static bool write_bound(struct json_writer *w, const struct ice_type *type, struct str bound,
                        bool wanted)
{
    AUTO(buf_done) struct buf text;
    buf_init(&text, 0);
    bool known = wanted && bound.ptr != NULL && ice_bound_print(type, bound, &text, NULL) == OK &&
                 str_is_utf8(buf_str(&text));
    if (known) {
        jw_str(w, buf_str(&text));
    } else {
        jw_null(w);
    }
    return known;
}

static void write_known(struct json_writer *w, const struct asking *asking,
                        const struct known *known)
{
    const struct ice_type *type = &asking->field->type;
    bool wanted = query_type_has_bounds(type) || known->is_value;
    jw_arr_begin(w);
    bool printed = write_bound(w, type, known->lower, wanted);
    write_bound(w, type, known->upper, wanted);
    jw_i64(w, known->null_count);
    jw_i64(w, known->value_count);
    jw_bool(w, type->kind == ICE_STRING); /* writers cut strings at lengths of their own */
    if (asking->is_source) {
        jw_bool(w, known->is_value && printed);
        jw_i64(w, known->bucket_count);
        jw_i64(w, known->bucket);
    }
    jw_arr_end(w);
}

static enum status write_all(struct asking *asking, struct json_writer *w, struct err *err)
{
    const struct catalog_files *files = &asking->pin->files;
    struct sources sources = { 0 };
    jw_arr_begin(w);
    for (size_t i = 0; i < files->count; i++) {
        const struct catalog_file *file = &files->files[i];
        struct known known = { 0 };
        know_stats(&asking->field->type, find_stats(file->file, asking->field->id), &known);
        if (asking->is_source && sources.manifest != file->manifest) {
            TRY(find_sources(asking, file, &sources, err));
        }
        for (size_t k = 0; k < sources.count; k++) {
            TRY(know_field(asking, &sources, sources.fields[k], file->file, &known, err));
        }
        write_known(w, asking, &known);
        arena_reset(&asking->of_file);
    }
    jw_arr_end(w);
    return OK;
}

static enum status answer(struct asking *asking, struct buf *reply, struct err *err)
{
    struct json_writer w;
    TRY(ice_partition_specs(&asking->arena, asking->pin->pin->metadata, &asking->specs, err));
    for (size_t i = 0; i < asking->specs.count; i++) {
        const struct ice_partition_spec *spec = &asking->specs.specs[i];
        for (size_t k = 0; k < spec->field_count; k++) {
            asking->is_source = asking->is_source || spec->fields[k].source_id == asking->field->id;
        }
    }
    json_writer_init(&w, reply);
    enum status kind = write_all(asking, &w, err);
    enum status written = json_writer_end(&w);
    return kind != OK ? kind : written == OK ? OK : err_no_memory(err);
}

enum status query_bounds(struct query *query, yyjson_val *args, struct buf *reply, struct err *err)
{
    uint64_t number = 0;
    int64_t field_id = 0;
    struct query_pin *pin = NULL;
    TRY(json_get_u64(args, "pin", JSON_REQUIRED, &number, err));
    TRY(json_get_i64(args, "field", JSON_REQUIRED, &field_id, err));
    TRY(query_pin_by_number(query, number, &pin, err));
    TRY(query_pin_files(query, pin, err));
    struct asking asking = { .pin = pin,
                             .field = ice_schema_by_id(pin->pin->schema, (int32_t)field_id) };
    if (asking.field == NULL) {
        return err_set(err, E_INTERNAL,
                       "the engine asks for the bounds of a column that is not there");
    }
    arena_init(&asking.arena, 0);
    arena_init(&asking.of_manifest, 0);
    arena_init(&asking.of_file, 0);
    enum status kind = answer(&asking, reply, err);
    arena_done(&asking.of_file);
    arena_done(&asking.of_manifest);
    arena_done(&asking.arena);
    return kind;
}
