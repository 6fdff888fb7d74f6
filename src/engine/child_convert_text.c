/*
 * Which type a column of texts has. A type is taken only if every text comes back from it unharmed:
 * leading zeros, plus signs, blanks, mixed date forms and times of day all stay text.
 * docs/decisions/0004-types-of-csv.md has the rules and why.
 *
 * Each class is a check in SQL over one text `x`. The common case is one cast there and one back
 * (`x` is printed exactly so by SQL itself), the regular expressions are for the rest.
 */
#include "engine/child_convert_priv.h"

enum { SAMPLE_ROWS = 20480 }; /* as DuckDB's own sniffer looks at */

#define TIME_STAMP "'[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}(:[0-9]{2}(\\.[0-9]{1,6})?)?"

/* A cast that fails costs a hundred times one that succeeds, and only CASE skips what need not be
 * computed. */
/* begins with - . / or a digit */
#define IF_NUMBER(check) "CASE WHEN @ >= '-' AND @ < ':' THEN " check " ELSE false END"
#define IF_DATED(check)                                                                            \
    "CASE WHEN length(@) >= 10 AND @[5] = '-' AND @ >= '0' AND @ < ':' THEN " check                \
    " ELSE false END"

/** `@` is where the column's expression goes. */
static const char *const checks[TEXT_CLASS_COUNT] = {
    [TEXT_LONG] = IF_NUMBER("TRY_CAST(@ AS BIGINT)::VARCHAR = @"),
    /* 15 significant digits always survive a double (IEEE 754 binary64). */
    [TEXT_DOUBLE] = IF_NUMBER(
        "CASE WHEN TRY_CAST(@ AS DOUBLE)::VARCHAR = @ THEN @ <> '-inf' ELSE "
        "regexp_full_match(@, '-?((0|[1-9][0-9]*)(\\.[0-9]+)?|\\.[0-9]+)([eE][-+]?[0-9]{1,3})?') AND "
        "length(ltrim(regexp_replace(regexp_replace(@, '[eE].*', ''), '[^0-9]', '', 'g'), '0')) <= 15 AND "
        "isfinite(TRY_CAST(@ AS DOUBLE)) END"),
    [TEXT_DECIMAL] = IF_NUMBER("regexp_full_match(@, '-?(0|[1-9][0-9]*)(\\.[0-9]+)?')"),
    [TEXT_BOOLEAN] = "@ IN ('true', 'false', 'TRUE', 'FALSE', 'True', 'False')",
    [TEXT_DATE] = IF_DATED("length(@) = 10 AND TRY_CAST(@ AS DATE)::VARCHAR = @"),
    [TEXT_TIMESTAMP] = IF_DATED(
        "length(@) >= 16 AND (TRY_CAST(@ AS TIMESTAMP)::VARCHAR = @ OR (regexp_full_match(@, " TIME_STAMP
        "') AND "
        "left(TRY_CAST(@ AS TIMESTAMP)::VARCHAR, 10) = left(@, 10)))"),
    [TEXT_TIMESTAMPTZ] = IF_DATED(
        "regexp_full_match(@, " TIME_STAMP
        "(Z|[-+][0-9]{2}(:?[0-9]{2})?)') AND TRY_CAST(@ AS TIMESTAMPTZ) IS NOT NULL"),
};

static const struct ice_type class_types[] = {
    [TEXT_LONG] = { .kind = ICE_LONG },
    [TEXT_DOUBLE] = { .kind = ICE_DOUBLE },
    [TEXT_DECIMAL] = { .kind = ICE_DECIMAL },
    [TEXT_BOOLEAN] = { .kind = ICE_BOOLEAN },
    [TEXT_DATE] = { .kind = ICE_DATE },
    [TEXT_TIMESTAMP] = { .kind = ICE_TIMESTAMP },
    [TEXT_TIMESTAMPTZ] = { .kind = ICE_TIMESTAMPTZ },
    [TEXT_STRING] = { .kind = ICE_STRING },
};

bool convert_has_texts(const struct convert *c)
{
    for (size_t i = 0; i < c->column_count; i++) {
        if (c->columns[i].text) {
            return true;
        }
    }
    return false;
}

static enum status append_check(struct buf *out, const char *check, struct str expr)
{
    for (; *check != '\0'; check++) {
        TRY(*check == '@' ? buf_append(out, expr) : buf_append_char(out, *check));
    }
    return OK;
}

/** The check that texts fit a column of a table. *none_out: texts never do. */
static enum status append_type_check(struct buf *out, const struct ice_type *type, struct str expr,
                                     bool *none_out)
{
    *none_out = false;
    switch (type->kind) {
    case ICE_INT:
        return append_check(out, IF_NUMBER("TRY_CAST(@ AS INTEGER)::VARCHAR = @"), expr);
    case ICE_LONG:
        return append_check(out, checks[TEXT_LONG], expr);
    case ICE_FLOAT:
    case ICE_DOUBLE:
        return append_check(out, checks[TEXT_DOUBLE], expr);
    case ICE_DECIMAL:
        TRY(append_check(out, checks[TEXT_DECIMAL], expr));
        TRY(append_check(out, " AND length(split_part(@, '.', 2)) <= ", expr));
        TRY(buf_printf(out, "%d AND TRY_CAST(%.*s AS DECIMAL(%d,%d)) IS NOT NULL", type->scale,
                       STR_ARG(expr), type->precision, type->scale));
        return OK;
    case ICE_BOOLEAN:
        return append_check(out, checks[TEXT_BOOLEAN], expr);
    case ICE_DATE:
        return append_check(out, checks[TEXT_DATE], expr);
    case ICE_TIMESTAMP:
        return append_check(out, checks[TEXT_TIMESTAMP], expr);
    case ICE_TIMESTAMPTZ:
        return append_check(out, checks[TEXT_TIMESTAMPTZ], expr);
    case ICE_UUID:
        return append_check(out, "TRY_CAST(@ AS UUID)::VARCHAR = lower(@)", expr);
    case ICE_STRING:
        return buf_append(out, STR("true"));
    case ICE_TIME:
        return append_check(out, "TRY_CAST(@ AS TIME)::VARCHAR = @", expr);
    case ICE_BINARY:
    case ICE_FIXED:
    case ICE_STRUCT:
    case ICE_LIST:
    case ICE_MAP:
    case ICE_OTHER:
        *none_out = true;
        return buf_append(out, STR("false"));
    }
    return OK;
}

enum status convert_text_cast(const struct convert_column *column, const struct ice_type *type,
                              bool checked, struct buf *out, struct err *err)
{
    struct str x = column->expr;
    bool none;
    if (type->kind == ICE_STRING) {
        return buf_append(out, x) == OK ? OK : err_no_memory(err);
    }
    AUTO(buf_done) struct buf sql;
    buf_init(&sql, 0);
    TRY(sql_type_print(type, &sql, err));
    enum status status = OK;
    if (checked) {
        status = buf_printf(out, "CASE WHEN %.*s IS NULL THEN NULL WHEN ", STR_ARG(x));
        status = status == OK ? append_type_check(out, type, x, &none) : status;
        status =
            status == OK
                ? buf_printf(
                      out,
                      " THEN TRY_CAST(%.*s AS %.*s) ELSE CAST(error('lakehouse: misfit') AS %.*s) END",
                      STR_ARG(x), STR_ARG(buf_str(&sql)), STR_ARG(buf_str(&sql)))
                : status;
    } else {
        status = buf_printf(out, "CAST(%.*s AS %.*s)", STR_ARG(x), STR_ARG(buf_str(&sql)));
    }
    return status == OK ? OK : err_no_memory(err);
}

/* --- the typing query: one row, for each text column its values, a flag per class, digits, and
 * whether the table's type fits --- */

enum { CELLS = 4 + TEXT_CLASS_COUNT }; /* values, table fits, integer digits, scale, flags */

static const struct ice_type *table_type(const struct convert *c,
                                         const struct convert_column *column)
{
    const struct ice_field *field = c->table != NULL ? ice_schema_by_name(c->table, column->name)
                                                     : NULL;
    return field != NULL ? &field->type : NULL;
}

static bool class_is_candidate(const struct convert_column *column, size_t class)
{
    return !column->only_times || class == TEXT_DATE || class == TEXT_TIMESTAMP ||
           class == TEXT_TIMESTAMPTZ;
}

static enum status append_flag(struct buf *out, struct str expr, struct str check)
{
    return buf_printf(out, ", bool_and(%.*s IS NULL OR coalesce(%.*s, false))", STR_ARG(expr),
                      STR_ARG(check));
}

static enum status append_column(const struct convert *c, const struct convert_column *column,
                                 struct buf *out)
{
    struct str x = column->expr;
    bool none;
    AUTO(buf_done) struct buf check;
    buf_init(&check, 0);
    const struct ice_type *type = table_type(c, column);
    TRY(buf_printf(out, "count(%.*s)", STR_ARG(x)));
    TRY(type != NULL ? append_type_check(&check, type, x, &none)
                     : buf_append(&check, STR("false")));
    TRY(append_flag(out, x, buf_str(&check)));
    if (column->only_times) {
        TRY(buf_append(out, STR(", 0, 0")));
    } else {
        TRY(buf_printf(
            out,
            ", max(length(ltrim(split_part(%.*s, '.', 1), '-'))), max(length(split_part(%.*s, '.', 2)))",
            STR_ARG(x), STR_ARG(x)));
    }
    for (size_t class = 0; class < TEXT_CLASS_COUNT; class ++) {
        buf_clear(&check);
        TRY(append_check(&check, class_is_candidate(column, class) ? checks[class] : "false", x));
        TRY(append_flag(out, x, buf_str(&check)));
    }
    return OK;
}

static enum status typing_query(const struct convert *c, bool sample, struct buf *out)
{
    TRY(buf_append(out, STR("SELECT count(*)")));
    for (size_t i = 0; i < c->column_count; i++) {
        if (c->columns[i].text) {
            TRY(buf_append(out, STR(", ")));
            TRY(append_column(c, &c->columns[i], out));
        }
    }
    if (sample) {
        return buf_printf(out, " FROM (SELECT * FROM %.*s LIMIT %d)", STR_ARG(c->source),
                          SAMPLE_ROWS);
    }
    return buf_printf(out, " FROM %.*s", STR_ARG(c->source));
}

struct typing {
    struct convert *c;
    bool sample, again;
};

static int64_t number_of(struct str cell)
{
    int64_t number = 0;
    return cell.ptr != NULL && str_to_i64(cell, &number) ? number : 0;
}

/** The narrowest class that every value fits. */
static struct ice_type own_type(const struct str *cells)
{
    int64_t digits = number_of(cells[2]), scale = number_of(cells[3]);
    for (size_t class = 0; class < TEXT_CLASS_COUNT; class ++) {
        bool fits = str_eq(cells[4 + class], STR("true"));
        if (!fits || (class == TEXT_DECIMAL && digits + scale > 38)) {
            continue;
        }
        struct ice_type type = class_types[class];
        if (class == TEXT_DECIMAL) {
            type.precision = 38;
            type.scale = (int32_t)scale;
        }
        return type;
    }
    return class_types[TEXT_STRING];
}

static enum status take_types(void *ctx, const struct str *cells, size_t count, struct err *err)
{
    struct typing *typing = ctx;
    struct convert *c = typing->c;
    size_t at = 1;
    bool all_seen = number_of(cells[0]) < SAMPLE_ROWS || !typing->sample;
    for (size_t i = 0; i < c->column_count; i++) {
        struct convert_column *column = &c->columns[i];
        if (!column->text) {
            continue;
        }
        if (at + CELLS > count) {
            return err_set(err, E_INTERNAL, "the typing query has too few columns");
        }
        const struct str *mine = cells + at;
        const struct ice_type *type = table_type(c, column);
        bool empty = number_of(mine[0]) == 0;
        if (type != NULL && (empty || str_eq(mine[1], STR("true")))) {
            column->type = *type;
        } else if (empty) {
            column->type = class_types[TEXT_STRING];
            typing->again = typing->again || !all_seen;
        } else {
            column->type = own_type(mine);
        }
        column->checked = !all_seen;
        at += CELLS;
    }
    return OK;
}

enum status convert_type_texts(struct convert *c, bool sample, bool *again_out, struct err *err)
{
    struct typing typing = { .c = c, .sample = sample };
    AUTO(buf_done) struct buf sql;
    buf_init(&sql, 0);
    if (typing_query(c, sample, &sql) != OK) {
        return err_no_memory(err);
    }
    TRY(convert_explain(c, duck_rows(c->session, buf_str(&sql), take_types, &typing, err), err));
    *again_out = typing.again;
    return OK;
}
