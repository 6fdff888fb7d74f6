/*
 * Schemas by field id: the last check before a commit. Fitting by name, with all differences told,
 * was done when the file was planned (ice_schema_fit); here it only has to hold still.
 */
#include "catalog/fit.h"

enum { DEPTH_MAX = 64 };

static const struct ice_field *child_by_id(const struct ice_type *type, int32_t id)
{
    for (size_t i = 0; i < type->field_count; i++) {
        if (type->fields[i].id == id) {
            return &type->fields[i];
        }
    }
    return NULL;
}

static bool leaf_reads(const struct ice_type *file, const struct ice_type *table)
{
    if (file->kind == ICE_INT && table->kind == ICE_LONG) {
        return true;
    }
    if (file->kind == ICE_FLOAT && table->kind == ICE_DOUBLE) {
        return true;
    }
    if (file->kind != table->kind || table->kind == ICE_OTHER) {
        return false;
    }
    if (file->kind == ICE_DECIMAL) {
        return file->scale == table->scale && file->precision <= table->precision;
    }
    return file->kind != ICE_FIXED || file->length == table->length;
}

static enum status type_reads(const struct ice_type *file, const struct ice_type *table,
                              struct str name, int depth, struct err *err);

static enum status struct_reads(const struct ice_type *file, const struct ice_type *table,
                                int depth, struct err *err)
{
    for (size_t i = 0; i < file->field_count; i++) {
        const struct ice_field *field = &file->fields[i];
        /* Most schemas agree in order too, which spares the search. */
        const struct ice_field *there = i < table->field_count && table->fields[i].id == field->id
                                            ? &table->fields[i]
                                            : child_by_id(table, field->id);
        if (there == NULL || !str_eq(there->name, field->name)) {
            return err_set(
                err, E_CONFLICT,
                "the schema has changed meanwhile: field %d is not \"%.*s\" any more; read it and try again",
                field->id, STR_ARG(field->name));
        }
        TRY(type_reads(&field->type, &there->type, field->name, depth + 1, err));
    }
    for (size_t i = 0; i < table->field_count; i++) {
        if (table->fields[i].required && child_by_id(file, table->fields[i].id) == NULL) {
            return err_set(
                err, E_CONFLICT,
                "the schema has changed meanwhile: column \"%.*s\" is required; read it and try again",
                STR_ARG(table->fields[i].name));
        }
    }
    return OK;
}

static enum status type_reads(const struct ice_type *file, const struct ice_type *table,
                              struct str name, int depth, struct err *err)
{
    bool nested = file->kind == ICE_STRUCT || file->kind == ICE_LIST || file->kind == ICE_MAP;
    if (depth > DEPTH_MAX) {
        return err_set(err, E_INVALID, "the schema is nested deeper than %d levels", DEPTH_MAX);
    }
    if (nested && file->kind == table->kind) {
        return struct_reads(file, table, depth, err);
    }
    if (nested || !leaf_reads(file, table)) {
        return err_set(
            err, E_CONFLICT,
            "the schema has changed meanwhile: the type of \"%.*s\" is another; read it and try again",
            STR_ARG(name));
    }
    return OK;
}

enum status fit_reads(const struct ice_schema *file, const struct ice_schema *table,
                      struct err *err)
{
    return struct_reads(&file->root, &table->root, 0, err);
}

static enum status new_ids_above(const struct ice_type *type, const struct ice_schema *old,
                                 int32_t last, int depth, struct err *err)
{
    for (size_t i = 0; i < type->field_count; i++) {
        const struct ice_field *field = &type->fields[i];
        if (field->id <= last && ice_schema_by_id(old, field->id) == NULL) {
            return err_set(
                err, E_CONFLICT,
                "the schema has changed meanwhile: field id %d is taken; read it and try again",
                field->id);
        }
        if (depth < DEPTH_MAX) {
            TRY(new_ids_above(&field->type, old, last, depth + 1, err));
        }
    }
    return OK;
}

enum status fit_evolves(const struct ice_schema *table, const struct ice_schema *next,
                        int32_t last_column_id, struct err *err)
{
    TRY(fit_has_ids(next, err));
    TRY(new_ids_above(&next->root, table, last_column_id, 0, err));
    return struct_reads(&table->root, &next->root, 0, err);
}

static enum status check_ids(const struct ice_type *type, const struct ice_schema *schema,
                             int depth, struct err *err)
{
    for (size_t i = 0; i < type->field_count; i++) {
        const struct ice_field *field = &type->fields[i];
        if (field->id <= 0) {
            return err_set(err, E_INVALID, "field \"%.*s\" has no id", STR_ARG(field->name));
        }
        if (depth > DEPTH_MAX) {
            return err_set(err, E_INVALID, "the schema is nested deeper than %d levels", DEPTH_MAX);
        }
        if (ice_schema_by_id(schema, field->id) != field) {
            return err_set(err, E_INVALID, "field id %d is given twice", field->id);
        }
        TRY(check_ids(&field->type, schema, depth + 1, err));
    }
    return OK;
}

enum status fit_has_ids(const struct ice_schema *schema, struct err *err)
{
    return check_ids(&schema->root, schema, 0, err);
}
