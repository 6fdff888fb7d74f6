/*
 * Iceberg types as SQL types. Source: Iceberg table specification, "Primitive Types"; DuckDB's type
 * names.
 */
#include "query/types.h"

static enum status append(struct buf *out, const char *text, struct err *err)
{
    return buf_append(out, str_of(text)) == OK ? OK : err_no_memory(err);
}

/** The name between double quotes, its own doubled. */
static enum status append_name(struct buf *out, struct str name, struct err *err)
{
    TRY(append(out, "\"", err));
    while (name.len > 0) {
        size_t quote = str_find_char(name, '"');
        size_t len = quote == SIZE_MAX ? name.len : quote + 1;
        if (buf_append(out, str_take(name, len)) != OK ||
            (quote != SIZE_MAX && buf_append_char(out, '"') != OK)) {
            return err_no_memory(err);
        }
        name = str_skip(name, len);
    }
    return append(out, "\"", err);
}

static enum status append_struct(const struct ice_type *type, struct buf *out, struct err *err)
{
    TRY(append(out, "STRUCT(", err));
    for (size_t i = 0; i < type->field_count; i++) {
        TRY(append(out, i == 0 ? "" : ", ", err));
        TRY(append_name(out, type->fields[i].name, err));
        TRY(append(out, " ", err));
        TRY(query_type_sql(&type->fields[i].type, out, err));
    }
    return append(out, ")", err);
}

static enum status append_map(const struct ice_type *type, struct buf *out, struct err *err)
{
    TRY(append(out, "MAP(", err));
    TRY(query_type_sql(&type->fields[0].type, out, err));
    TRY(append(out, ", ", err));
    TRY(query_type_sql(&type->fields[1].type, out, err));
    return append(out, ")", err);
}

enum status query_type_sql(const struct ice_type *type, struct buf *out, struct err *err)
{
    switch (type->kind) {
    case ICE_BOOLEAN:
        return append(out, "BOOLEAN", err);
    case ICE_INT:
        return append(out, "INTEGER", err);
    case ICE_LONG:
        return append(out, "BIGINT", err);
    case ICE_FLOAT:
        return append(out, "FLOAT", err);
    case ICE_DOUBLE:
        return append(out, "DOUBLE", err);
    case ICE_DATE:
        return append(out, "DATE", err);
    case ICE_TIME:
        return append(out, "TIME", err);
    case ICE_TIMESTAMP:
        return append(out, "TIMESTAMP", err);
    case ICE_TIMESTAMPTZ:
        return append(out, "TIMESTAMP WITH TIME ZONE", err);
    case ICE_STRING:
        return append(out, "VARCHAR", err);
    case ICE_UUID:
        return append(out, "UUID", err);
    case ICE_BINARY:
    case ICE_FIXED:
        return append(out, "BLOB", err);
    case ICE_DECIMAL:
        return buf_printf(out, "DECIMAL(%d,%d)", (int)type->precision, (int)type->scale) == OK
                   ? OK
                   : err_no_memory(err);
    case ICE_STRUCT:
        return append_struct(type, out, err);
    case ICE_LIST:
        TRY(query_type_sql(&type->fields[0].type, out, err));
        return append(out, "[]", err);
    case ICE_MAP:
        return append_map(type, out, err);
    case ICE_OTHER:
        break;
    }
    return err_set(err, E_UNSUPPORTED, "the type '%.*s' cannot be read yet", STR_ARG(type->name));
}

bool query_type_has_bounds(const struct ice_type *type)
{
    switch (type->kind) {
    case ICE_BOOLEAN:
    case ICE_INT:
    case ICE_LONG:
    case ICE_FLOAT:
    case ICE_DOUBLE:
    case ICE_DATE:
    case ICE_TIME:
    case ICE_TIMESTAMP:
    case ICE_TIMESTAMPTZ:
    case ICE_STRING:
    case ICE_DECIMAL:
        return true;
    case ICE_UUID:   /* writers disagree about its order */
    case ICE_BINARY: /* as text a blob has escapes; nobody filters on it */
    case ICE_FIXED:
    case ICE_STRUCT:
    case ICE_LIST:
    case ICE_MAP:
    case ICE_OTHER:
        break;
    }
    return false;
}
