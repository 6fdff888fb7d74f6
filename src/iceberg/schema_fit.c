/*
 * Fit the schema of a file to a table's, with or without evolution.
 *
 * One walk over both trees, matched by name. It copies what changes and shares what does not; every
 * difference that cannot be bridged is written to one list, so that a person sees all of them at
 * once.
 */
#include "iceberg/schema_priv.h"

struct fit {
    struct arena *arena;
    bool evolve;
    bool changed;
    int32_t last_id;
    struct buf problems;
    size_t problem_count;
    struct buf path; /* the dotted name of where the walk is */
};

static enum status fit_type(struct fit *fit, const struct ice_type *table,
                            const struct ice_type *file, bool frozen, struct ice_type *out);

static enum status problem(struct fit *fit, const char *text)
{
    TRY(buf_append(&fit->problems, fit->problem_count++ > 0 ? STR("; ") : STR("")));
    TRY(buf_append(&fit->problems, STR("column \"")));
    TRY(buf_append(&fit->problems, buf_str(&fit->path)));
    TRY(buf_append(&fit->problems, STR("\" ")));
    return buf_append(&fit->problems, str_of(text));
}

static enum status type_problem(struct fit *fit, const struct ice_type *table,
                                const struct ice_type *file)
{
    TRY(problem(fit, "is "));
    TRY(ice_type_print(file, &fit->problems));
    TRY(buf_append(&fit->problems, STR(" in the file and ")));
    TRY(ice_type_print(table, &fit->problems));
    return buf_append(&fit->problems, STR(" in the table"));
}

/** Values of `from` can be read as `to` without loss: the promotions of the specification. */
bool ice_type_widens(const struct ice_type *from, const struct ice_type *to)
{
    if (from->kind == ICE_DECIMAL && to->kind == ICE_DECIMAL) {
        return from->scale == to->scale && from->precision <= to->precision;
    }
    return (from->kind == ICE_INT && to->kind == ICE_LONG) ||
           (from->kind == ICE_FLOAT && to->kind == ICE_DOUBLE);
}

static const struct ice_field *find_field(const struct ice_type *type, struct str name, bool nocase)
{
    for (size_t i = 0; i < type->field_count; i++) {
        struct str other = type->fields[i].name;
        if (nocase ? str_eq_nocase(other, name) : str_eq(other, name)) {
            return &type->fields[i];
        }
    }
    return NULL;
}

static enum status path_push(struct fit *fit, struct str name)
{
    if (fit->path.len > 0) {
        TRY(buf_append_char(&fit->path, '.'));
    }
    return buf_append(&fit->path, name);
}

/** Fit the fields that the table has; a field that the file lacks must be optional. */
static enum status fit_known(struct fit *fit, const struct ice_type *table,
                             const struct ice_type *file, bool frozen, struct ice_type *out)
{
    for (size_t i = 0; i < table->field_count; i++) {
        size_t path_len = fit->path.len;
        const struct ice_field *mine = &table->fields[i];
        const struct ice_field *theirs = find_field(file, mine->name, false);
        out->fields[i] = *mine;
        TRY(path_push(fit, mine->name));
        if (theirs != NULL) {
            bool key = table->kind == ICE_MAP && i == 0; /* keys may not evolve */
            TRY(fit_type(fit, &mine->type, &theirs->type, frozen || key, &out->fields[i].type));
        } else if (mine->required) {
            TRY(problem(fit, "is required in the table and missing in the file"));
        }
        fit->path.len = path_len;
    }
    return OK;
}

static enum status add_field(struct fit *fit, const struct ice_field *theirs, struct ice_type *out)
{
    struct ice_schema one = {
        .root = { .kind = ICE_STRUCT, .fields = (struct ice_field *)theirs, .field_count = 1 }
    };
    struct ice_schema numbered = { 0 };
    TRY(ice_schema_assign_ids(fit->arena, &one, &fit->last_id, &numbered, NULL));
    struct ice_field added = numbered.root.fields[0];
    added.required = false; /* the rows that are there have no value */
    out->fields[out->field_count++] = added;
    fit->changed = true;
    return OK;
}

/** Look at the fields that only the file has. */
static enum status fit_new(struct fit *fit, const struct ice_type *table,
                           const struct ice_type *file, bool frozen, struct ice_type *out)
{
    for (size_t i = 0; i < file->field_count; i++) {
        const struct ice_field *theirs = &file->fields[i];
        size_t path_len = fit->path.len;
        TRY(path_push(fit, theirs->name));
        if (find_field(file, theirs->name, false) != theirs) {
            TRY(problem(fit, "is there twice in the file"));
        } else if (find_field(table, theirs->name, false) != NULL) {
            /* fitted by fit_known */
        } else if (find_field(table, theirs->name, true) != NULL) {
            TRY(problem(fit, "differs from the table's column only by case"));
        } else if (!fit->evolve || frozen) {
            TRY(problem(fit, "is not in the table"));
        } else {
            TRY(add_field(fit, theirs, out));
        }
        fit->path.len = path_len;
    }
    return OK;
}

static enum status fit_nested(struct fit *fit, const struct ice_type *table,
                              const struct ice_type *file, bool frozen, struct ice_type *out)
{
    size_t room = table->field_count + file->field_count;
    out->fields = arena_array(fit->arena, room, sizeof(*out->fields));
    if (out->fields == NULL) {
        return E_NO_MEMORY;
    }
    TRY(fit_known(fit, table, file, frozen, out));
    if (table->kind == ICE_STRUCT) {
        TRY(fit_new(fit, table, file, frozen, out));
    }
    return OK;
}

static enum status fit_type(struct fit *fit, const struct ice_type *table,
                            const struct ice_type *file, bool frozen, struct ice_type *out)
{
    *out = *table;
    if (table->kind == ICE_OTHER || file->kind == ICE_OTHER) {
        return problem(fit, "has a type that is not supported");
    }
    if (table->kind == file->kind && table->field_count > 0) {
        return fit_nested(fit, table, file, frozen, out);
    }
    if (table->kind == file->kind && table->kind == ICE_STRUCT) {
        return fit_nested(fit, table, file, frozen, out); /* a struct without fields yet */
    }
    if (type_head_equal(table, file) || ice_type_widens(file, table)) {
        return OK;
    }
    if (fit->evolve && !frozen && ice_type_widens(table, file)) {
        *out = *file;
        fit->changed = true;
        return OK;
    }
    return type_problem(fit, table, file);
}

enum status ice_schema_fit(struct arena *arena, const struct ice_schema *table,
                           const struct ice_schema *file, bool evolve, int32_t *last_id,
                           struct ice_schema *out, bool *changed_out, struct err *err)
{
    struct fit fit = { .arena = arena, .evolve = evolve, .last_id = *last_id };
    struct ice_schema result = *table;
    buf_init(&fit.problems, 0);
    buf_init(&fit.path, 0);
    enum status status = fit_type(&fit, &table->root, &file->root, false, &result.root);
    if (status == OK && fit.problem_count > 0) {
        status = err_set(err, E_CONFLICT, "the file does not fit the table: %.*s",
                         STR_ARG(buf_str(&fit.problems)));
    } else if (status != OK) {
        (void)err_set(err, status, "the schemas could not be compared");
    }
    buf_done(&fit.problems);
    buf_done(&fit.path);
    TRY(status);
    *last_id = fit.last_id;
    *changed_out = fit.changed;
    *out = fit.changed ? result : *table;
    return OK;
}
