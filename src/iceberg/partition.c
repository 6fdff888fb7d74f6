/*
 * Partition specs and the values that files have in them.
 *
 * The key that a manifest's reader makes of a partition record (manifest_read.c) is already a list
 * of values: for each field its length as eight bytes, -1 for null, and its bytes; whole numbers
 * have eight. So no Avro is read here again.
 */
#include "iceberg/partition.h"

#include <stdlib.h>

#include "base/encode.h"
#include "iceberg/calendar.h"
#include "iceberg/value.h"

/* --- transforms --- */

/** "bucket[16]" with `word` "bucket". */
static bool take_width(struct str text, const char *word, int32_t *out)
{
    struct str name = str_of(word);
    int64_t width = 0;
    if (!str_starts(text, name) || text.len < name.len + 3 || text.ptr[name.len] != '[' ||
        text.ptr[text.len - 1] != ']' ||
        !str_to_i64(str_from(text.ptr + name.len + 1, text.len - name.len - 2), &width) ||
        width < 1 || width > INT32_MAX) {
        return false;
    }
    *out = (int32_t)width;
    return true;
}

enum ice_transform ice_transform_parse(struct str text, int32_t *width)
{
    static const struct {
        const char *name;
        enum ice_transform transform;
    } plain[] = { { "identity", ICE_IDENTITY }, { "year", ICE_YEAR }, { "month", ICE_MONTH },
                  { "day", ICE_DAY },           { "hour", ICE_HOUR }, { "void", ICE_VOID } };
    for (size_t i = 0; i < ARRAY_LEN(plain); i++) {
        if (str_eq_nocase(text, str_of(plain[i].name))) {
            return plain[i].transform;
        }
    }
    if (take_width(text, "bucket", width)) {
        return ICE_BUCKET;
    }
    return take_width(text, "truncate", width) ? ICE_TRUNCATE : ICE_UNKNOWN;
}

/** Where the columns of fields are looked for: the current schema, then the others, newest
 * first. */
struct sources {
    const struct ice_schema *schema, *others;
    size_t other_count;
};

static const struct ice_field *find_source(const struct sources *sources, int32_t id)
{
    const struct ice_field *found = ice_schema_by_id(sources->schema, id);
    for (size_t i = sources->other_count; i-- > 0 && found == NULL;) {
        found = ice_schema_by_id(&sources->others[i], id);
    }
    return found;
}

static struct ice_type result_of(enum ice_transform transform, const struct ice_type *source)
{
    switch (transform) {
    case ICE_IDENTITY:
    case ICE_TRUNCATE:
    case ICE_VOID:
        return *source;
    case ICE_BUCKET:
    case ICE_YEAR:
    case ICE_MONTH:
    case ICE_HOUR:
        return (struct ice_type){ .kind = ICE_INT };
    case ICE_DAY:
        return (struct ice_type){ .kind = ICE_DATE };
    case ICE_UNKNOWN:
        break;
    }
    return (struct ice_type){ .kind = ICE_OTHER };
}

/* --- specs --- */

static enum status read_field(struct arena *arena, const struct sources *sources, yyjson_val *json,
                              int32_t place, struct ice_partition_field *out, struct err *err)
{
    enum { FIRST_ID = 1000 }; /* of version 1, whose fields need not say theirs */
    int64_t source = 0;
    int64_t field = FIRST_ID + place;
    struct str name, transform;
    TRY(json_get_i64(json, "source-id", JSON_REQUIRED, &source, err));
    TRY(json_get_i64(json, "field-id", JSON_OPTIONAL, &field, err));
    TRY(json_get_str(json, "name", JSON_REQUIRED, &name, err));
    TRY(json_get_str(json, "transform", JSON_REQUIRED, &transform, err));
    *out = (struct ice_partition_field){ .source_id = (int32_t)source,
                                         .field_id = (int32_t)field,
                                         .name = arena_str(arena, name) };
    if (out->name.ptr == NULL) {
        return err_no_memory(err);
    }
    out->transform = ice_transform_parse(transform, &out->width);
    const struct ice_field *column = find_source(sources, out->source_id);
    if (column == NULL || column->type.kind == ICE_OTHER || column->type.field_count > 0) {
        out->transform = ICE_UNKNOWN;
    }
    out->type = result_of(out->transform, column == NULL ? NULL : &column->type);
    return OK;
}

static enum status read_spec(struct arena *arena, const struct sources *sources, int32_t id,
                             struct str fields_json, struct ice_partition_spec *out,
                             struct err *err)
{
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    *out = (struct ice_partition_spec){ .id = id };
    if (fields_json.len == 0) {
        return OK;
    }
    TRY(json_parse(fields_json, &doc, err));
    yyjson_val *list = yyjson_doc_get_root(doc);
    out->fields = arena_array(arena, yyjson_arr_size(list) + 1, sizeof(*out->fields));
    if (out->fields == NULL) {
        return err_no_memory(err);
    }
    size_t i;
    size_t max;
    yyjson_val *field;
    yyjson_arr_foreach(list, i, max, field)
    {
        TRY(read_field(arena, sources, field, (int32_t)i, &out->fields[i], err));
        out->field_count++;
    }
    return OK;
}

static int compare_specs(const void *a, const void *b)
{
    const struct ice_partition_spec *x = a;
    const struct ice_partition_spec *y = b;
    return (x->id > y->id) - (x->id < y->id);
}

static int compare_fields(const void *a, const void *b)
{
    const struct ice_partition_field *x = a;
    const struct ice_partition_field *y = b;
    return (x->field_id > y->field_id) - (x->field_id < y->field_id);
}

/** Into the struct of all: the newest name, and the transform of a spec that has not dropped it. */
static void add_to_all(struct ice_partition_specs *specs, const struct ice_partition_field *field)
{
    for (size_t i = 0; i < specs->all_count; i++) {
        struct ice_partition_field *there = &specs->all[i];
        if (there->field_id == field->field_id) {
            if (there->transform == ICE_VOID) {
                struct str name = there->name;
                *there = *field;
                there->name = name;
            }
            return;
        }
    }
    specs->all[specs->all_count++] = *field;
}

static enum status join_all(struct arena *arena, struct ice_partition_specs *specs, struct err *err)
{
    size_t count = 0;
    for (size_t s = 0; s < specs->count; s++) {
        count += specs->specs[s].field_count;
    }
    specs->all = arena_array(arena, count + 1, sizeof(*specs->all));
    if (specs->all == NULL) {
        return err_no_memory(err);
    }
    for (size_t s = specs->count; s-- > 0;) {
        for (size_t i = 0; i < specs->specs[s].field_count; i++) {
            if (specs->specs[s].fields[i].transform != ICE_UNKNOWN) {
                add_to_all(specs, &specs->specs[s].fields[i]);
            }
        }
    }
    if (specs->all_count > 1) {
        qsort(specs->all, specs->all_count, sizeof(*specs->all), compare_fields);
    }
    return OK;
}

enum status ice_partition_specs(struct arena *arena, const struct ice_metadata *metadata,
                                struct ice_partition_specs *out, struct err *err)
{
    struct ice_partition_specs specs = { 0 };
    const struct sources sources = { metadata->schema, metadata->schemas, metadata->schema_count };
    specs.specs = arena_array(arena, metadata->spec_count + 1, sizeof(*specs.specs));
    if (specs.specs == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < metadata->spec_count; i++) {
        const struct ice_spec *spec = &metadata->specs[i];
        struct str fields = spec->field_count == 0 ? STR_EMPTY : spec->fields_json;
        if (read_spec(arena, &sources, spec->id, fields, &specs.specs[i], err) != OK) {
            return err_set(err, E_CORRUPT, "partition spec %d of a table is none",
                           (int)metadata->specs[i].id);
        }
        specs.count++;
    }
    if (specs.count > 1) {
        qsort(specs.specs, specs.count, sizeof(*specs.specs), compare_specs);
    }
    TRY(join_all(arena, &specs, err));
    *out = specs;
    return OK;
}

const struct ice_partition_spec *ice_partition_spec_by_id(const struct ice_partition_specs *specs,
                                                          int32_t id)
{
    for (size_t i = 0; i < specs->count; i++) {
        if (specs->specs[i].id == id) {
            return &specs->specs[i];
        }
    }
    return NULL;
}

/** Rows that are written have null there, whatever became of the column. */
static void keep_voids(yyjson_val *list, struct ice_partition_spec *spec)
{
    for (size_t i = 0; i < spec->field_count; i++) {
        if (yyjson_equals_str(yyjson_obj_get(yyjson_arr_get(list, i), "transform"), "void")) {
            spec->fields[i].transform = ICE_VOID;
        }
    }
}

enum status ice_partition_spec_parse(struct arena *arena, const struct ice_schema *schema,
                                     int32_t id, struct str fields_json,
                                     struct ice_partition_spec *out, struct err *err)
{
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    const struct sources sources = { .schema = schema };
    if (read_spec(arena, &sources, id, fields_json, out, err) != OK) {
        return err_set(err, E_CORRUPT, "partition spec %d of a table is none", (int)id);
    }
    if (fields_json.len > 0) {
        TRY(json_parse(fields_json, &doc, err));
        keep_voids(yyjson_doc_get_root(doc), out);
    }
    return OK;
}

/* --- values --- */

enum status ice_partition_order(struct arena *arena, const struct ice_manifest *manifest,
                                const struct ice_partition_spec *spec,
                                struct ice_partition_order *out, struct err *err)
{
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    struct ice_partition_order order = { 0 };
    yyjson_val *fields = NULL;
    if (manifest->avro_partition_schema.len > 0) {
        TRY(json_parse(manifest->avro_partition_schema, &doc, err));
        TRY(json_get_arr(yyjson_doc_get_root(doc), "fields", JSON_REQUIRED, &fields, err));
    }
    order.ids = arena_array(arena, yyjson_arr_size(fields) + 1, sizeof(*order.ids));
    if (order.ids == NULL) {
        return err_no_memory(err);
    }
    size_t i;
    size_t max;
    yyjson_val *field;
    yyjson_arr_foreach(fields, i, max, field)
    {
        int64_t id = spec != NULL && i < spec->field_count ? spec->fields[i].field_id : -1;
        TRY(json_get_i64(field, "field-id", JSON_OPTIONAL, &id, err));
        order.ids[order.count++] = (int32_t)id;
    }
    *out = order;
    return OK;
}

/** Whole numbers have eight bytes in a key, and four in a bound of a short type; floats have four
 * in files from before their column became a double. */
static struct str as_bound(const struct ice_type *type, struct str value, char scratch[8])
{
    bool is_short = type->kind == ICE_INT || type->kind == ICE_DATE;
    if (is_short && value.len == sizeof(int64_t)) {
        memcpy(scratch, value.ptr, sizeof(int64_t)); /* little endian: the low half comes first */
        return str_from(scratch, sizeof(int32_t));
    }
    if (type->kind == ICE_DOUBLE && value.len == sizeof(float)) {
        float narrow;
        memcpy(&narrow, value.ptr, sizeof(narrow));
        const double wide = narrow;
        memcpy(scratch, &wide, sizeof(wide));
        return str_from(scratch, sizeof(wide));
    }
    return value;
}

enum status ice_partition_value(const struct ice_data_file *file,
                                const struct ice_partition_order *order,
                                const struct ice_partition_field *field, char scratch[8],
                                bool *there_out, struct str *out, struct err *err)
{
    struct str rest = file->partition_key;
    *out = (struct str){ NULL, 0 };
    *there_out = false;
    for (size_t i = 0; i < order->count; i++) {
        int64_t len = 0;
        if (rest.len < sizeof(len)) {
            return err_set(err, E_CORRUPT, "a partition record ends early");
        }
        memcpy(&len, rest.ptr, sizeof(len));
        rest = str_skip(rest, sizeof(len));
        size_t bytes = len < 0 ? 0 : (size_t)len;
        if (rest.len < bytes) {
            return err_set(err, E_CORRUPT, "a partition record ends early");
        }
        if (order->ids[i] == field->field_id) {
            *there_out = true;
            *out = len < 0 ? *out : as_bound(&field->type, str_take(rest, bytes), scratch);
            return OK;
        }
        rest = str_skip(rest, bytes);
    }
    return OK;
}

/* --- for people --- */

enum { YEAR_0 = 1970 };

static enum status print_months(int64_t months, struct buf *out)
{
    enum { MONTHS = 12 };
    int64_t years = months / MONTHS - (months % MONTHS < 0 ? 1 : 0);
    int64_t year = YEAR_0 + years;
    int64_t month = months - years * MONTHS + 1;
    return buf_printf(out, "%04lld-%02lld", (long long)year, (long long)month);
}

static enum status print_hours(int64_t hours, struct buf *out)
{
    enum { HOURS = 24 };
    int64_t days = hours / HOURS - (hours % HOURS < 0 ? 1 : 0);
    TRY(calendar_print_date(days, out));
    int64_t hour = hours - days * HOURS;
    return buf_printf(out, "-%02lld", (long long)hour);
}

/** A moment with the T between date and time, and minutes in its offset. */
static enum status print_moment(const struct ice_type *type, struct str value, struct buf *out,
                                struct err *err)
{
    size_t from = out->len;
    TRY(ice_bound_print(type, value, out, err));
    for (size_t i = from; i < out->len; i++) {
        out->ptr[i] = (char)(out->ptr[i] == ' ' ? 'T' : out->ptr[i]);
    }
    return type->kind == ICE_TIMESTAMP || buf_append(out, STR(":00")) == OK ? OK
                                                                            : err_no_memory(err);
}

static enum status print_plain(const struct ice_type *type, struct str value, struct buf *out,
                               struct err *err)
{
    if (type->kind == ICE_TIMESTAMP || type->kind == ICE_TIMESTAMPTZ) {
        return print_moment(type, value, out, err);
    }
    if (type->kind == ICE_BINARY || type->kind == ICE_FIXED) {
        return base64_append(out, value.ptr, value.len) == OK ? OK : err_no_memory(err);
    }
    return ice_bound_print(type, value, out, err);
}

enum status ice_partition_print(const struct ice_partition_field *field, struct str value,
                                struct buf *out, struct err *err)
{
    int32_t number = 0;
    bool whole = value.len == sizeof(number);
    if (whole) {
        memcpy(&number, value.ptr, sizeof(number));
    }
    enum status kind = OK;
    if (whole && field->transform == ICE_YEAR) {
        kind = buf_printf(out, "%04lld", YEAR_0 + (long long)number);
    } else if (whole && field->transform == ICE_MONTH) {
        kind = print_months(number, out);
    } else if (whole && field->transform == ICE_HOUR) {
        kind = print_hours(number, out);
    } else {
        return print_plain(&field->type, value, out, err);
    }
    return kind == OK ? OK : err_no_memory(err);
}
