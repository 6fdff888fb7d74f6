/*
 * Partition transforms as SQL over the table's columns, for rows that are written.
 *
 * Source: Apache Iceberg, table specification, "Partition Transforms"
 */
#include "engine/partition_sql.h"

static enum status quote(struct buf *out, struct str text, char mark)
{
    TRY(buf_append_char(out, mark));
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == mark) {
            TRY(buf_append_char(out, mark));
        }
        TRY(buf_append_char(out, text.ptr[i]));
    }
    return buf_append_char(out, mark);
}

/** The type of the column with that id, and how SQL spells it: "a", or struct_extract("a", 'b'). */
static const struct ice_type *spell(const struct ice_type *root, int32_t id, struct str outer,
                                    struct buf *out, enum status *status)
{
    for (size_t i = 0; i < root->field_count; i++) {
        const struct ice_field *field = &root->fields[i];
        AUTO(buf_done) struct buf name;
        buf_init(&name, 0);
        if (outer.len == 0) {
            *status = quote(&name, field->name, '"');
        } else {
            *status = buf_printf(&name, "struct_extract(%.*s, ", STR_ARG(outer));
            *status = *status == OK ? quote(&name, field->name, '\'') : *status;
            *status = *status == OK ? buf_append_char(&name, ')') : *status;
        }
        if (*status == OK && field->id == id) {
            *status = buf_append(out, buf_str(&name));
            return &field->type;
        }
        if (*status == OK && field->type.kind == ICE_STRUCT) {
            const struct ice_type *found = spell(&field->type, id, buf_str(&name), out, status);
            if (found != NULL) {
                return found;
            }
        }
        if (*status != OK) {
            return NULL;
        }
    }
    return NULL;
}

static enum status bucket(struct buf *out, const struct ice_type *type, struct str column,
                          int32_t count)
{
    switch (type->kind) {
    case ICE_INT:
    case ICE_LONG:
        return buf_printf(out, "__lake_bucket_long(%d, CAST(%.*s AS BIGINT))", count,
                          STR_ARG(column));
    case ICE_DATE:
        return buf_printf(out, "__lake_bucket_long(%d, date_diff('day', DATE '1970-01-01', %.*s))",
                          count, STR_ARG(column));
    case ICE_TIMESTAMP:
    case ICE_TIMESTAMPTZ:
        return buf_printf(out, "__lake_bucket_long(%d, epoch_us(%.*s))", count, STR_ARG(column));
    case ICE_STRING:
        return buf_printf(out, "__lake_bucket_text(%d, %.*s)", count, STR_ARG(column));
    case ICE_DECIMAL:
        return buf_printf(out, "__lake_bucket_decimal(%d, CAST(%.*s AS VARCHAR))", count,
                          STR_ARG(column));
    case ICE_UUID:
        return buf_printf(out,
                          "__lake_bucket_bytes(%d, unhex(replace(CAST(%.*s AS VARCHAR), '-', '')))",
                          count, STR_ARG(column));
    case ICE_BINARY:
    case ICE_FIXED:
        return buf_printf(out, "__lake_bucket_bytes(%d, %.*s)", count, STR_ARG(column));
    case ICE_BOOLEAN:
    case ICE_FLOAT:
    case ICE_DOUBLE:
    case ICE_TIME:
    case ICE_STRUCT:
    case ICE_LIST:
    case ICE_MAP:
    case ICE_OTHER:
        break;
    }
    return E_UNSUPPORTED;
}

/** Down to the next multiple, also below zero. */
static enum status truncate(struct buf *out, const struct ice_type *type, struct str column,
                            int32_t width)
{
    if (type->kind == ICE_STRING) {
        return buf_printf(out, "left(%.*s, %d)", STR_ARG(column), width);
    }
    if (type->kind == ICE_INT || type->kind == ICE_LONG) {
        return buf_printf(out, "(%.*s - ((%.*s %% %d) + %d) %% %d)", STR_ARG(column),
                          STR_ARG(column), width, width, width);
    }
    if (type->kind != ICE_DECIMAL) {
        return E_UNSUPPORTED;
    }
    /* of the unscaled number, so the width has the column's scale */
    AUTO(buf_done) struct buf step;
    buf_init(&step, 0);
    TRY(buf_printf(&step, "CAST('%de-%d' AS DECIMAL(38, %d))", width, (int)type->scale,
                   (int)type->scale));
    struct str w = buf_str(&step);
    return buf_printf(out,
                      "CAST(%.*s - ((CAST(%.*s AS DECIMAL(38, %d)) %% %.*s) + %.*s) %% %.*s "
                      "AS DECIMAL(%d, %d))",
                      STR_ARG(column), STR_ARG(column), (int)type->scale, STR_ARG(w), STR_ARG(w),
                      STR_ARG(w), (int)type->precision, (int)type->scale);
}

static enum status transform(struct buf *out, const struct ice_partition_field *field,
                             const struct ice_type *type, struct str column)
{
    const char *unit = field->transform == ICE_YEAR    ? "year"
                       : field->transform == ICE_MONTH ? "month"
                                                       : "hour";
    bool is_time = type->kind == ICE_TIMESTAMP || type->kind == ICE_TIMESTAMPTZ;
    switch (field->transform) {
    case ICE_IDENTITY:
        return type->field_count > 0 || type->kind == ICE_BINARY || type->kind == ICE_FIXED ||
                       type->kind == ICE_OTHER
                   ? E_UNSUPPORTED
                   : buf_append(out, column);
    case ICE_BUCKET:
        return bucket(out, type, column, field->width);
    case ICE_TRUNCATE:
        return truncate(out, type, column, field->width);
    case ICE_DAY:
        return is_time || type->kind == ICE_DATE
                   ? buf_printf(out, "CAST(%.*s AS DATE)", STR_ARG(column))
                   : E_UNSUPPORTED;
    case ICE_HOUR:
    case ICE_YEAR:
    case ICE_MONTH:
        if (!is_time && (type->kind != ICE_DATE || field->transform == ICE_HOUR)) {
            return E_UNSUPPORTED;
        }
        return buf_printf(out, "date_diff('%s', %s '1970-01-01', %.*s)", unit,
                          type->kind == ICE_DATE        ? "DATE"
                          : type->kind == ICE_TIMESTAMP ? "TIMESTAMP"
                                                        : "TIMESTAMPTZ",
                          STR_ARG(column));
    case ICE_VOID:
        return buf_append(out, STR("NULL"));
    case ICE_UNKNOWN:
        break;
    }
    return E_UNSUPPORTED;
}

enum status partition_sql(const struct ice_schema *schema, const struct ice_partition_field *field,
                          struct buf *out, struct err *err)
{
    AUTO(buf_done) struct buf column;
    buf_init(&column, 0);
    enum status status = OK;
    const struct ice_type *type = spell(&schema->root, field->source_id, STR_EMPTY, &column,
                                        &status);
    if (status == OK && type == NULL && field->transform != ICE_VOID) {
        return err_set(err, E_UNSUPPORTED,
                       "the table is partitioned by a column that it has not any more");
    }
    static const struct ice_type none = { .kind = ICE_OTHER };
    status = status == OK ? transform(out, field, type == NULL ? &none : type, buf_str(&column))
                          : status;
    if (status == E_UNSUPPORTED) {
        return err_set(
            err, status,
            "rows cannot be put into a table that is partitioned by \"%.*s\" as this one is",
            STR_ARG(field->name));
    }
    return status == OK ? OK : err_no_memory(err);
}

/* --- what an engine hears --- */

enum status partition_sql_write(struct json_writer *w, const struct ice_schema *schema,
                                const struct ice_partition_spec *spec, struct err *err)
{
    jw_kv_arr(w, "parts");
    for (size_t i = 0; i < spec->field_count; i++) {
        AUTO(buf_done) struct buf sql;
        buf_init(&sql, 0);
        TRY(partition_sql(schema, &spec->fields[i], &sql, err));
        jw_str(w, buf_str(&sql));
    }
    jw_arr_end(w);
    return OK;
}

static enum status sort_term(const struct ice_schema *schema, const struct ice_sort_field *field,
                             struct buf *out)
{
    TRY(partition_sql(schema, &field->by, out, NULL));
    return buf_printf(out, " %s NULLS %s", field->descending ? "DESC" : "ASC",
                      field->nulls_last ? "LAST" : "FIRST");
}

enum status sort_sql_write(struct json_writer *w, const struct ice_schema *schema,
                           const struct ice_sort_order *order, bool *sorted_out, struct err *err)
{
    AUTO(buf_done) struct buf list;
    struct json_writer terms;
    buf_init(&list, 0);
    json_writer_init(&terms, &list);
    jw_arr_begin(&terms);
    *sorted_out = false;
    for (size_t i = 0; i < order->field_count; i++) {
        AUTO(buf_done) struct buf sql;
        buf_init(&sql, 0);
        enum status status = sort_term(schema, &order->fields[i], &sql);
        if (status != OK) {
            return status == E_UNSUPPORTED ? OK : err_no_memory(err);
        }
        jw_str(&terms, buf_str(&sql));
    }
    jw_arr_end(&terms);
    if (json_writer_end(&terms) != OK) {
        return err_no_memory(err);
    }
    *sorted_out = order->field_count > 0;
    if (*sorted_out) {
        jw_key(w, STR("order"));
        jw_raw(w, buf_str(&list));
    }
    return OK;
}
