/*
 * Partition records of files that we write.
 *
 * A field is a union of null and its type, null first. Fields are void where a spec has dropped
 * one: null always.
 */
#include "iceberg/partition_write.h"

#include <math.h>
#include <stdio.h>

#include "iceberg/avro.h"
#include "iceberg/value.h"

/* --- the schema --- */

/** Avro's names have letters, digits and underscores only; others as Iceberg's writers spell
 * them. */
static enum status write_name(struct json_writer *w, struct str name)
{
    AUTO(buf_done) struct buf text;
    buf_init(&text, 0);
    for (size_t i = 0; i < name.len; i++) {
        unsigned char c = (unsigned char)name.ptr[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
        bool digit = c >= '0' && c <= '9';
        if (letter || (digit && i > 0)) {
            TRY(buf_append_char(&text, (char)c));
        } else if (digit) {
            TRY(buf_printf(&text, "_%c", c));
        } else {
            TRY(buf_printf(&text, "_x%X", c));
        }
    }
    jw_kv_str(w, "name", buf_str(&text));
    return OK;
}

/** Bytes of a decimal of so many digits. */
static int decimal_bytes(int32_t precision)
{
    int bytes = 1;
    for (long double room = 127, most = 1; bytes < 16; bytes++, room = room * 256 + 255) {
        most = 1;
        for (int32_t i = 0; i < precision; i++) {
            most *= 10;
        }
        if (room >= most - 1) {
            break;
        }
    }
    return bytes;
}

static void write_logical(struct json_writer *w, const char *type, const char *logical)
{
    jw_obj_begin(w);
    jw_kv_cstr(w, "type", type);
    jw_kv_cstr(w, "logicalType", logical);
    jw_obj_end(w);
}

static void write_timestamp(struct json_writer *w, bool utc)
{
    jw_obj_begin(w);
    jw_kv_cstr(w, "type", "long");
    jw_kv_cstr(w, "logicalType", "timestamp-micros");
    jw_kv_bool(w, "adjust-to-utc", utc);
    jw_obj_end(w);
}

static void write_fixed(struct json_writer *w, const struct ice_type *type)
{
    char name[48];
    jw_obj_begin(w);
    jw_kv_cstr(w, "type", "fixed");
    if (type->kind == ICE_UUID) {
        jw_kv_cstr(w, "name", "uuid_fixed");
        jw_kv_i64(w, "size", 16);
        jw_kv_cstr(w, "logicalType", "uuid");
    } else if (type->kind == ICE_FIXED) {
        snprintf(name, sizeof(name), "fixed_%d", (int)type->length);
        jw_kv_cstr(w, "name", name);
        jw_kv_i64(w, "size", type->length);
    } else {
        snprintf(name, sizeof(name), "decimal_%d_%d", (int)type->precision, (int)type->scale);
        jw_kv_cstr(w, "name", name);
        jw_kv_i64(w, "size", decimal_bytes(type->precision));
        jw_kv_cstr(w, "logicalType", "decimal");
        jw_kv_i64(w, "precision", type->precision);
        jw_kv_i64(w, "scale", type->scale);
    }
    jw_obj_end(w);
}

static enum status write_type(struct json_writer *w, const struct ice_type *type, struct err *err)
{
    static const char *const plain[] = {
        [ICE_BOOLEAN] = "boolean", [ICE_INT] = "int",       [ICE_LONG] = "long",
        [ICE_FLOAT] = "float",     [ICE_DOUBLE] = "double", [ICE_STRING] = "string",
        [ICE_BINARY] = "bytes",
    };
    switch (type->kind) {
    case ICE_BOOLEAN:
    case ICE_INT:
    case ICE_LONG:
    case ICE_FLOAT:
    case ICE_DOUBLE:
    case ICE_STRING:
    case ICE_BINARY:
        jw_str(w, str_of(plain[type->kind]));
        return OK;
    case ICE_DATE:
        write_logical(w, "int", "date");
        return OK;
    case ICE_TIME:
        write_logical(w, "long", "time-micros");
        return OK;
    case ICE_TIMESTAMP:
    case ICE_TIMESTAMPTZ:
        write_timestamp(w, type->kind == ICE_TIMESTAMPTZ);
        return OK;
    case ICE_UUID:
    case ICE_DECIMAL:
    case ICE_FIXED:
        write_fixed(w, type);
        return OK;
    case ICE_STRUCT:
    case ICE_LIST:
    case ICE_MAP:
    case ICE_OTHER:
        break;
    }
    return err_set(err, E_UNSUPPORTED,
                   "a table that is partitioned by an unknown transform is not written");
}

enum status ice_partition_avro_schema(const struct ice_partition_spec *spec, struct buf *out,
                                      struct err *err)
{
    struct json_writer w;
    enum status status = OK;
    json_writer_init(&w, out);
    jw_obj_begin(&w);
    jw_kv_cstr(&w, "type", "record");
    jw_kv_cstr(&w, "name", "r102");
    jw_kv_arr(&w, "fields");
    for (size_t i = 0; i < spec->field_count && status == OK; i++) {
        const struct ice_partition_field *field = &spec->fields[i];
        jw_obj_begin(&w);
        status = write_name(&w, field->name) == OK ? OK : err_no_memory(err);
        jw_kv_arr(&w, "type");
        jw_str(&w, STR("null"));
        status = status == OK ? write_type(&w, &field->type, err) : status;
        jw_arr_end(&w);
        jw_key(&w, STR("default"));
        jw_null(&w);
        jw_kv_i64(&w, "field-id", field->field_id);
        jw_obj_end(&w);
    }
    TRY(status); /* the writer stopped in the middle */
    jw_arr_end(&w);
    jw_obj_end(&w);
    return json_writer_end(&w) == OK ? OK : err_no_memory(err);
}

/* --- a record --- */

static int64_t get_le(struct str bytes)
{
    uint64_t value = 0;
    for (size_t i = bytes.len; i > 0; i--) {
        value = value << 8 | (unsigned char)bytes.ptr[i - 1];
    }
    return bytes.len == 4 ? (int64_t)(int32_t)(uint32_t)value : (int64_t)value;
}

/** A decimal's shortest form, made as long as its fixed type is. */
static enum status put_decimal(struct buf *out, struct str value, int32_t precision)
{
    size_t size = (size_t)decimal_bytes(precision);
    char fill = value.len > 0 && (value.ptr[0] & 0x80) != 0 ? (char)0xff : 0;
    for (size_t i = value.len; i < size; i++) {
        TRY(buf_append_char(out, fill));
    }
    return buf_append(out, value.len > size ? str_skip(value, value.len - size) : value);
}

static enum status put_value(struct buf *out, const struct ice_type *type, struct str value)
{
    if (type->kind == ICE_STRING || type->kind == ICE_BINARY) {
        return avro_put_bytes(out, value);
    }
    if (type->kind == ICE_DECIMAL) {
        return put_decimal(out, value, type->precision);
    }
    bool as_is = type->kind == ICE_BOOLEAN || type->kind == ICE_FLOAT || type->kind == ICE_DOUBLE ||
                 type->kind == ICE_UUID || type->kind == ICE_FIXED;
    return as_is ? buf_append(out, value) : avro_put_long(out, get_le(value));
}

static enum status value_of(struct arena *arena, const struct ice_partition_field *field,
                            struct str text, struct str *out, struct err *err)
{
    bool none = false;
    if (field->type.kind == ICE_STRING) { /* a bound would be cut */
        *out = arena_str(arena, text);
        return out->ptr == NULL ? err_no_memory(err) : OK;
    }
    if (field->type.kind == ICE_BINARY || field->type.kind == ICE_FIXED) {
        return err_set(err, E_UNSUPPORTED,
                       "new rows of a table that is partitioned by bytes are not written");
    }
    TRY(ice_bound_from_text(arena, &field->type, text, false, out, &none, err));
    return none || out->ptr == NULL
               ? err_set(err, E_UNSUPPORTED, "\"%.*s\" cannot be the value of a partition",
                         STR_ARG(text))
               : OK;
}

/** out->avro from out->values. */
static enum status put_record(struct arena *arena, const struct ice_partition_spec *spec,
                              struct ice_partition_record *out, struct err *err)
{
    AUTO(buf_done) struct buf record;
    buf_init(&record, 0);
    for (size_t i = 0; i < spec->field_count; i++) {
        struct str value = out->values[i];
        if (avro_put_long(&record, value.ptr == NULL ? 0 : 1) != OK ||
            (value.ptr != NULL && put_value(&record, &spec->fields[i].type, value) != OK)) {
            return err_no_memory(err);
        }
    }
    out->avro = arena_str(arena, buf_str(&record));
    return out->avro.ptr == NULL ? err_no_memory(err) : OK;
}

enum status ice_partition_record(struct arena *arena, const struct ice_partition_spec *spec,
                                 const struct str *texts, struct ice_partition_record *out,
                                 struct err *err)
{
    out->values = arena_array(arena, spec->field_count + 1, sizeof(*out->values));
    if (out->values == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < spec->field_count; i++) {
        const struct ice_partition_field *field = &spec->fields[i];
        out->values[i] = (struct str){ NULL, 0 };
        bool null = texts[i].ptr == NULL || field->transform == ICE_VOID;
        TRY(null ? OK : value_of(arena, field, texts[i], &out->values[i], err));
    }
    return put_record(arena, spec, out, err);
}

/* --- a record of other hands --- */

/** Has the value as many bytes as its type wants? */
static bool fits(const struct ice_type *type, struct str value)
{
    switch (type->kind) {
    case ICE_BOOLEAN:
        return value.len == 1;
    case ICE_INT:
    case ICE_DATE:
    case ICE_FLOAT:
        return value.len == sizeof(int32_t);
    case ICE_LONG:
    case ICE_DOUBLE:
    case ICE_TIME:
    case ICE_TIMESTAMP:
    case ICE_TIMESTAMPTZ:
        return value.len == sizeof(int64_t);
    case ICE_UUID:
        return value.len == 16;
    case ICE_DECIMAL:
        return value.len > 0 && value.len <= 16;
    case ICE_FIXED:
        return value.len == (size_t)type->length;
    case ICE_STRING:
    case ICE_BINARY:
        return true;
    case ICE_STRUCT:
    case ICE_LIST:
    case ICE_MAP:
    case ICE_OTHER:
        break;
    }
    return false;
}

enum status ice_partition_record_of(struct arena *arena, const struct ice_partition_spec *spec,
                                    const struct ice_partition_order *order,
                                    const struct ice_data_file *file,
                                    struct ice_partition_record *out, struct err *err)
{
    out->values = arena_array(arena, spec->field_count + 1, sizeof(*out->values));
    char *scratch = arena_alloc(arena, (spec->field_count + 1) * sizeof(int64_t));
    if (out->values == NULL || scratch == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < spec->field_count; i++) {
        const struct ice_partition_field *field = &spec->fields[i];
        bool there = false;
        TRY(ice_partition_value(file, order, field, scratch + i * sizeof(int64_t), &there,
                                &out->values[i], err));
        if (out->values[i].ptr != NULL && !fits(&field->type, out->values[i])) {
            return err_set(err, E_CORRUPT, "partition field \"%.*s\" has %zu bytes",
                           STR_ARG(field->name), out->values[i].len);
        }
    }
    return put_record(arena, spec, out, err);
}

/* --- what a manifest's row tells --- */

bool ice_partition_is_nan(const struct ice_type *type, struct str value)
{
    float short_value = 0;
    double value_long = 0;
    if (type->kind == ICE_FLOAT && value.len == sizeof(short_value)) {
        memcpy(&short_value, value.ptr, sizeof(short_value));
        return isnan(short_value);
    }
    if (type->kind == ICE_DOUBLE && value.len == sizeof(value_long)) {
        memcpy(&value_long, value.ptr, sizeof(value_long));
        return isnan(value_long);
    }
    return false;
}

enum status ice_partition_widen(struct ice_partition_summary *summary, const struct ice_type *type,
                                struct str value, struct err *err)
{
    int order = 0;
    if (value.ptr == NULL) {
        summary->contains_null = true;
        return OK;
    }
    if (ice_partition_is_nan(type, value)) {
        summary->contains_nan = 1;
        return OK;
    }
    if (summary->lower.ptr == NULL) {
        summary->lower = summary->upper = value;
        return OK;
    }
    TRY(ice_bound_compare(type, value, summary->lower, &order, err));
    summary->lower = order < 0 ? value : summary->lower;
    TRY(ice_bound_compare(type, value, summary->upper, &order, err));
    summary->upper = order > 0 ? value : summary->upper;
    return OK;
}
