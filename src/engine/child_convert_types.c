/*
 * Types that the client has said (types=): a column has that type and no other, and a value that
 * does not fit it makes its row a bad one.
 */
#include "engine/child_convert_priv.h"

enum {
    EXCLUDED_MAX = 1000000, /* rows of which we keep a number and a reason */
    VALUE_SHOWN_MAX = 40,   /* bytes of a bad value in its reason */
};

static struct convert_column *find_column(struct convert *c, struct str name)
{
    for (size_t i = 0; i < c->column_count; i++) {
        if (str_eq(c->columns[i].name, name)) {
            return &c->columns[i];
        }
    }
    return NULL;
}

/** A column of another type: cast where no value changes by it. */
static enum status cast_without_loss(struct convert *c, struct convert_column *column,
                                     const struct ice_type *type, struct err *err)
{
    AUTO(buf_done) struct buf from, to, fault, name;
    buf_init(&from, 0);
    buf_init(&to, 0);
    buf_init(&fault, 0);
    buf_init(&name, 0);
    TRY(sql_type_print(&column->type, &from, err));
    TRY(sql_type_print(type, &to, err));
    if (ice_type_print(type, &name) != OK) {
        return err_no_memory(err);
    }
    struct str text = arena_printf(&c->job->arena, "column \"%.*s\" has values that are no %.*s",
                                   STR_ARG(column->name), STR_ARG(buf_str(&name)));
    if (text.ptr == NULL || duck_quote_text(&fault, text) != OK) {
        return err_no_memory(err);
    }
    struct str x = column->expr;
    column->expr = arena_printf(
        &c->job->arena,
        "CASE WHEN %.*s IS NULL OR TRY_CAST(TRY_CAST(%.*s AS %.*s) AS %.*s) IS NOT DISTINCT FROM %.*s THEN %.*s "
        "ELSE CAST(error(%.*s) AS %.*s) END",
        STR_ARG(x), STR_ARG(x), STR_ARG(buf_str(&to)), STR_ARG(buf_str(&from)), STR_ARG(x),
        STR_ARG(x), STR_ARG(buf_str(&fault)), STR_ARG(buf_str(&from)));
    return column->expr.ptr != NULL ? OK : err_no_memory(err);
}

static enum status force(struct convert *c, struct convert_column *column,
                         const struct ice_type *type, struct err *err)
{
    column->forced = true;
    if (column->text || column->type.kind == ICE_STRING) {
        if (!column->text) {
            column->expr = arena_printf(&c->job->arena, "CAST(%.*s AS VARCHAR)",
                                        STR_ARG(column->expr));
        }
        column->text = type->kind != ICE_STRING;
    } else if (!ice_type_equal(&column->type, type)) {
        TRY(cast_without_loss(c, column, type, err));
    }
    column->type = *type;
    return column->expr.ptr != NULL ? OK : err_no_memory(err);
}

enum status convert_force_types(struct convert *c, struct err *err)
{
    size_t i, max;
    yyjson_val *item;
    yyjson_arr_foreach(c->types, i, max, item)
    {
        struct str name;
        struct ice_type type;
        TRY(json_get_str(item, "name", JSON_REQUIRED, &name, err));
        TRY(ice_type_parse(&c->job->arena, yyjson_obj_get(item, "type"), &type, err));
        struct convert_column *column = find_column(c, name);
        if (column == NULL) {
            return err_set(err, E_INVALID, "types: the file has no column \"%.*s\"", STR_ARG(name));
        }
        TRY(force(c, column, &type, err));
    }
    return OK;
}

/* --- values that do not fit --- */

struct search {
    struct convert *c;
    size_t cap;
};

/** row, column, value */
static enum status add_excluded(void *ctx, const struct str *cells, size_t count, struct err *err)
{
    struct search *search = ctx;
    struct convert *c = search->c;
    uint64_t row, column;
    AUTO(buf_done) struct buf type;
    buf_init(&type, 0);
    if (count != 3 || !str_to_u64(cells[0], &row) || !str_to_u64(cells[1], &column) ||
        column >= c->column_count) {
        return err_set(err, E_INTERNAL, "the search for bad values gave something else");
    }
    if (c->excluded_count == EXCLUDED_MAX) {
        return err_set(err, E_INVALID, "more than %d rows have values that do not fit their types",
                       EXCLUDED_MAX);
    }
    if (c->excluded_count == search->cap) {
        size_t cap = search->cap ? search->cap * 2 : 64;
        struct convert_excluded *more = arena_array(&c->job->arena, cap, sizeof(*more));
        if (more == NULL) {
            return err_no_memory(err);
        }
        if (c->excluded_count > 0) {
            memcpy(more, c->excluded, c->excluded_count * sizeof(*more));
        }
        c->excluded = more;
        search->cap = cap;
    }
    if (ice_type_print(&c->columns[column].type, &type) != OK) {
        return err_no_memory(err);
    }
    struct str value = cells[2];
    while (value.len > VALUE_SHOWN_MAX || !str_is_utf8(value)) {
        value = str_take(value, value.len > VALUE_SHOWN_MAX ? VALUE_SHOWN_MAX : value.len - 1);
    }
    struct str reason = arena_printf(&c->job->arena, "column \"%.*s\": \"%.*s\" is no %.*s",
                                     STR_ARG(c->columns[column].name), STR_ARG(value),
                                     STR_ARG(buf_str(&type)));
    c->excluded[c->excluded_count++] = (struct convert_excluded){ row, reason };
    return reason.ptr != NULL ? OK : err_no_memory(err);
}

/** `WHEN <bad> THEN <what>` for each column whose texts have a type that was said. */
static enum status append_cases(const struct convert *c, bool values, struct buf *out)
{
    TRY(buf_append(out, STR("CASE")));
    for (size_t i = 0; i < c->column_count; i++) {
        const struct convert_column *column = &c->columns[i];
        if (!column->forced || !column->text) {
            continue;
        }
        TRY(buf_printf(out, " WHEN %.*s IS NOT NULL AND NOT coalesce(", STR_ARG(column->expr)));
        TRY(convert_text_check(&column->type, column->expr, out));
        TRY(buf_append(out, STR(", false) THEN ")));
        TRY(values ? buf_append(out, column->expr) : buf_printf(out, "%zu", i));
    }
    return buf_append(out, STR(" END"));
}

static enum status search_query(const struct convert *c, struct buf *out)
{
    TRY(buf_append(out, STR("SELECT n, k, v FROM (SELECT row_number() OVER () AS n, ")));
    TRY(append_cases(c, false, out));
    TRY(buf_append(out, STR(" AS k, ")));
    TRY(append_cases(c, true, out));
    return buf_printf(out, " AS v FROM %.*s) WHERE k IS NOT NULL ORDER BY n LIMIT %d",
                      STR_ARG(c->source), c->skip_bad ? EXCLUDED_MAX + 1 : 1);
}

static bool has_forced_texts(const struct convert *c)
{
    for (size_t i = 0; i < c->column_count; i++) {
        if (c->columns[i].forced && c->columns[i].text) {
            return true;
        }
    }
    return false;
}

enum status convert_exclude_misfits(struct convert *c, bool *found_out, struct err *err)
{
    struct search search = { .c = c };
    AUTO(buf_done) struct buf sql;
    buf_init(&sql, 0);
    *found_out = has_forced_texts(c);
    if (!*found_out) {
        return OK;
    }
    if (search_query(c, &sql) != OK) {
        return err_no_memory(err);
    }
    TRY(convert_explain(c, duck_rows(c->session, buf_str(&sql), add_excluded, &search, err), err));
    *found_out = c->excluded_count > 0;
    if (!*found_out) {
        return OK;
    }
    bool is_csv = str_eq(c->format, STR("csv")), was_copied = c->is_copied;
    if (is_csv || !str_eq(c->format, STR("parquet"))) {
        c->is_copied = false;
        TRY(is_csv ? convert_clean_csv(c, err) : convert_clean_json(c, err));
    }
    if (c->is_copied) {
        return OK;
    }
    c->is_copied = was_copied;
    /* Parquet and arrays have no lines */
    return err_set(err, E_INVALID, "row %llu: %.*s", (unsigned long long)c->excluded[0].row,
                   STR_ARG(c->excluded[0].reason));
}
