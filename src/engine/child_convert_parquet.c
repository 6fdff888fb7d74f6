/*
 * The layout of a Parquet file: DuckDB reads the columns, the footer says how they are stored, and
 * we say what becomes of the types that Iceberg does not have.
 *
 * Two types depend on the table: a column that has nothing but null in it (Arrow's null type) takes
 * whatever type is there, and a time of day stays one only where the table has one already (a table
 * with a `time` column cannot be read by Spark, so a new one gets text).
 */
#include "engine/child_convert_priv.h"
#include "engine/child_footer.h"

/* how a type is called here that is not known: it never gets out */
#define UNKNOWN STR("unknown")

struct layout {
    struct convert *c;
    struct ice_type root;  /* of the columns, as they are stored */
    struct str *sql_types; /* [root.field_count] of the columns, as DuckDB reads them */
    size_t cap;
};

static enum status add_column(void *ctx, const struct str *cells, size_t count, struct err *err)
{
    struct layout *l = ctx;
    struct arena *arena = &l->c->job->arena;
    (void)count;
    if (l->root.field_count == l->cap) {
        size_t cap = l->cap ? l->cap * 2 : 32;
        struct ice_field *fields = arena_array(arena, cap, sizeof(*fields));
        struct str *sql_types = arena_array(arena, cap, sizeof(*sql_types));
        if (fields == NULL || sql_types == NULL) {
            return err_no_memory(err);
        }
        if (l->cap > 0) {
            memcpy(fields, l->root.fields, l->cap * sizeof(*fields));
            memcpy(sql_types, l->sql_types, l->cap * sizeof(*sql_types));
        }
        l->root.fields = fields;
        l->sql_types = sql_types;
        l->cap = cap;
    }
    size_t i = l->root.field_count;
    struct err why = { 0 };
    l->root.fields[i] = (struct ice_field){ .name = arena_str(arena, cells[0]) };
    l->sql_types[i] = arena_str(arena, cells[1]);
    if (l->root.fields[i].name.ptr == NULL || l->sql_types[i].ptr == NULL) {
        return err_no_memory(err);
    }
    if (sql_type_parse_stored(arena, cells[1], &l->root.fields[i].type, &why) != OK) {
        return err_set(err, E_INVALID, "column \"%.*s\": %s", STR_ARG(cells[0]), why.msg);
    }
    l->root.field_count++;
    return OK;
}

/* --- what the footer knows better --- */

static enum status mark_unknown(void *ctx, struct ice_field *field, const struct footer_node *node,
                                struct err *err)
{
    (void)ctx, (void)err;
    if (node != NULL && node->children == 0 && footer_is_unknown(node)) {
        field->type = (struct ice_type){ .kind = ICE_OTHER, .name = UNKNOWN };
    }
    return OK;
}

static enum status read_footer(struct layout *l, struct err *err)
{
    struct footer footer;
    TRY(footer_read(l->c->session, &l->c->job->arena, &footer, err));
    enum status status = footer_walk(&footer, &l->root, mark_unknown, l, NULL);
    /* A tree of another build than we know has no marks, or has them where it could be followed:
     * DuckDB reads it all the same. */
    return status == E_NO_MEMORY ? err_no_memory(err) : OK;
}

/* --- types --- */

static const struct ice_type *beside(const struct ice_type *type, size_t i,
                                     const struct ice_type *table)
{
    if (table == NULL || table->kind != type->kind) {
        return NULL;
    }
    for (size_t k = 0; k < table->field_count; k++) {
        if (str_eq(table->fields[k].name, type->fields[i].name)) {
            return &table->fields[k].type;
        }
    }
    return NULL;
}

/** What the column is written as. `table` may be NULL. */
static enum status settle(struct arena *arena, struct ice_type *type, const struct ice_type *table,
                          struct err *err)
{
    if (type->kind == ICE_OTHER && table != NULL && table->kind != ICE_OTHER) {
        return ice_type_bare(arena, table, type, err);
    }
    if (type->kind == ICE_OTHER ||
        (type->kind == ICE_TIME && (table == NULL || table->kind != ICE_TIME))) {
        *type = (struct ice_type){ .kind = ICE_STRING };
    }
    for (size_t i = 0; i < type->field_count; i++) {
        TRY(settle(arena, &type->fields[i].type, beside(type, i, table), err));
    }
    return OK;
}

/** Unknown parts become text, from which every NULL can be cast. */
static bool unknown_as_text(struct ice_type *type)
{
    bool found = type->kind == ICE_OTHER;
    if (found) {
        *type = (struct ice_type){ .kind = ICE_STRING };
    }
    for (size_t i = 0; i < type->field_count; i++) {
        found = unknown_as_text(&type->fields[i].type) || found;
    }
    return found;
}

/* --- expressions --- */

static enum status through_text(struct convert *c, struct convert_column *column,
                                const struct ice_type *stored, struct err *err)
{
    struct ice_type texts;
    AUTO(buf_done) struct buf sql;
    buf_init(&sql, 0);
    TRY(ice_type_bare(&c->job->arena, stored, &texts, err));
    if (!unknown_as_text(&texts)) {
        return OK;
    }
    TRY(sql_type_print(&texts, &sql, err));
    column->expr = arena_printf(&c->job->arena, "CAST(%.*s AS %.*s)", STR_ARG(column->expr),
                                STR_ARG(buf_str(&sql)));
    return column->expr.ptr != NULL ? OK : err_no_memory(err);
}

/** Nanoseconds are cut off only where there are none. */
static enum status without_nanoseconds(struct convert *c, struct convert_column *column,
                                       struct str sql_type, struct err *err)
{
    AUTO(buf_done) struct buf type, fault;
    struct arena *arena = &c->job->arena;
    buf_init(&type, 0);
    buf_init(&fault, 0);
    TRY(sql_type_print(&column->type, &type, err));
    struct str text = arena_printf(
        arena, "column \"%.*s\" has nanoseconds, and a table keeps microseconds",
        STR_ARG(column->name));
    if (text.ptr == NULL || duck_quote_text(&fault, text) != OK) {
        return err_no_memory(err);
    }
    column->expr = arena_printf(
        arena,
        "CASE WHEN CAST(CAST(%.*s AS %.*s) AS %.*s) IS NOT DISTINCT FROM %.*s THEN %.*s "
        "ELSE CAST(error(%.*s) AS %.*s) END",
        STR_ARG(column->expr), STR_ARG(buf_str(&type)), STR_ARG(sql_type), STR_ARG(column->expr),
        STR_ARG(column->expr), STR_ARG(buf_str(&fault)), STR_ARG(sql_type));
    return column->expr.ptr != NULL ? OK : err_no_memory(err);
}

static enum status take_column(struct layout *l, size_t i, struct err *err)
{
    struct convert *c = l->c;
    struct convert_column *column = &c->columns[i];
    struct ice_field *stored = &l->root.fields[i];
    const struct ice_field *theirs = c->table != NULL ? ice_schema_by_name(c->table, stored->name)
                                                      : NULL;
    AUTO(buf_done) struct buf quoted;
    buf_init(&quoted, 0);
    *column = (struct convert_column){ .name = stored->name };
    if (duck_quote_ident(&quoted, stored->name) != OK) {
        return err_no_memory(err);
    }
    column->expr = arena_str(&c->job->arena, buf_str(&quoted));
    if (column->expr.ptr == NULL) {
        return err_no_memory(err);
    }
    TRY(through_text(c, column, &stored->type, err));
    TRY(settle(&c->job->arena, &stored->type, theirs != NULL ? &theirs->type : NULL, err));
    column->type = stored->type;
    return str_find(l->sql_types[i], STR("TIMESTAMP_NS")) != SIZE_MAX
               ? without_nanoseconds(c, column, l->sql_types[i], err)
               : OK;
}

static enum status find_columns(struct layout *l, struct err *err)
{
    struct convert *c = l->c;
    struct str sql = arena_printf(&c->job->arena, "DESCRIBE SELECT * FROM %.*s",
                                  STR_ARG(c->source));
    if (sql.ptr == NULL) {
        return err_no_memory(err);
    }
    TRY(duck_rows(c->session, sql, add_column, l, err));
    return read_footer(l, err);
}

enum status convert_blame_parquet(enum status status, const char *what, struct err *err)
{
    if (status == E_CORRUPT && err != NULL && strstr(err->msg, "spool://in") != NULL) {
        return err_set(err, E_INVALID, "%s: it names bytes beyond its end", what);
    }
    if ((status == E_INVALID || status == E_INTERNAL) && err != NULL) {
        struct err why = *err;
        return err_set(err, E_INVALID, "%s: %s", what, why.msg);
    }
    return status;
}

enum status convert_parquet_layout(struct convert *c, struct err *err)
{
    struct layout l = { .c = c, .root.kind = ICE_STRUCT };
    c->source = STR("read_parquet('spool://in')");
    enum status status = find_columns(&l, err);
    TRY(convert_blame_parquet(status, "this is no readable Parquet file", err));
    c->columns = arena_array(&c->job->arena, l.root.field_count + 1, sizeof(*c->columns));
    if (c->columns == NULL) {
        return err_no_memory(err);
    }
    for (; c->column_count < l.root.field_count; c->column_count++) {
        TRY(take_column(&l, c->column_count, err));
    }
    return OK;
}
