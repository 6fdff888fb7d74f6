/*
 * Which type a column of texts has. A type is taken only if every text comes back from it unharmed:
 * leading zeros, plus signs, blanks, mixed date forms and times of day all stay text.
 * docs/decisions/0004-types-of-csv.md has the rules and why.
 *
 * What can be told of one text alone tells duck/text_value.c, as SQL functions; a table's decimals,
 * times and uuids, which are rare, are checked by SQL's own casts.
 */
#include "duck/text_value.h"
#include "engine/child_convert_priv.h"

enum { SAMPLE_ROWS = 20480 }; /* as DuckDB's own sniffer looks at */

/** What all values of a text column are, narrowest first. */
enum text_class {
    TEXT_LONG,
    TEXT_DOUBLE,
    TEXT_DECIMAL,
    TEXT_BOOLEAN,
    TEXT_DATE,
    TEXT_TIMESTAMP,
    TEXT_TIMESTAMPTZ,
    TEXT_STRING
};
enum { TEXT_CLASS_COUNT = TEXT_STRING };

static const unsigned class_fits[TEXT_CLASS_COUNT] = {
    [TEXT_LONG] = TEXT_FITS_LONG,
    [TEXT_DOUBLE] = TEXT_FITS_DOUBLE,
    [TEXT_DECIMAL] = TEXT_FITS_DECIMAL,
    [TEXT_BOOLEAN] = TEXT_FITS_BOOLEAN,
    [TEXT_DATE] = TEXT_FITS_DATE,
    [TEXT_TIMESTAMP] = TEXT_FITS_TIMESTAMP,
    [TEXT_TIMESTAMPTZ] = TEXT_FITS_TIMESTAMPTZ,
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

/** How texts become values of a column's type. */
struct text_rule {
    unsigned fits;        /* TEXT_FITS_*; 0: `check` tells */
    const char *function; /* behind DUCK_TEXT_FUNCTIONS; NULL: a cast */
    const char *check;    /* SQL over `@`, the column's expression; NULL with `fits` 0: never */
};

static struct text_rule rule_of(enum ice_kind kind)
{
    switch (kind) {
    case ICE_INT:
        return (struct text_rule){ TEXT_FITS_INT, "int", NULL };
    case ICE_LONG:
        return (struct text_rule){ TEXT_FITS_LONG, "long", NULL };
    case ICE_FLOAT:
    case ICE_DOUBLE:
        return (struct text_rule){ TEXT_FITS_DOUBLE, "double", NULL };
    case ICE_BOOLEAN:
        return (struct text_rule){ TEXT_FITS_BOOLEAN, "boolean", NULL };
    case ICE_DATE:
        return (struct text_rule){ TEXT_FITS_DATE, "date", NULL };
    case ICE_TIMESTAMP:
        return (struct text_rule){ TEXT_FITS_TIMESTAMP, "timestamp", NULL };
    case ICE_TIMESTAMPTZ:
        return (struct text_rule){ TEXT_FITS_TIMESTAMPTZ, "timestamptz", NULL };
    case ICE_DECIMAL: /* append_check adds precision and scale */
        return (struct text_rule){ 0, NULL, "(" DUCK_TEXT_FUNCTIONS "fits(@) & 8) > 0" };
    case ICE_STRING:
        return (struct text_rule){ 0, NULL, "true" };
    case ICE_UUID:
        return (struct text_rule){ 0, NULL, "TRY_CAST(@ AS UUID)::VARCHAR = lower(@)" };
    case ICE_TIME:
        return (struct text_rule){ 0, NULL, "TRY_CAST(@ AS TIME)::VARCHAR = @" };
    case ICE_BINARY:
    case ICE_FIXED:
    case ICE_STRUCT:
    case ICE_LIST:
    case ICE_MAP:
    case ICE_OTHER:
        break;
    }
    return (struct text_rule){ 0 };
}
_Static_assert(TEXT_FITS_DECIMAL == 8, "the rule of decimals has it in its text");

/** The rule's check as SQL; "true" when `fits` tells it, "false" when nothing fits. */
static enum status append_check(struct buf *out, const struct ice_type *type, struct str expr)
{
    struct text_rule rule = rule_of(type->kind);
    const char *check = rule.fits != 0 ? "true" : rule.check != NULL ? rule.check : "false";
    for (; *check != '\0'; check++) {
        TRY(*check == '@' ? buf_append(out, expr) : buf_append_char(out, *check));
    }
    if (type->kind == ICE_DECIMAL) {
        TRY(buf_printf(out, " AND length(split_part(%.*s, '.', 2)) <= %d", STR_ARG(expr),
                       type->scale));
        TRY(buf_printf(out, " AND TRY_CAST(%.*s AS DECIMAL(%d,%d)) IS NOT NULL", STR_ARG(expr),
                       type->precision, type->scale));
    }
    return OK;
}

enum status convert_text_check(const struct ice_type *type, struct str expr, struct buf *out)
{
    unsigned fits = rule_of(type->kind).fits;
    return fits != 0 ? buf_printf(out, "(" DUCK_TEXT_FUNCTIONS "fits(%.*s) & %u) > 0",
                                  STR_ARG(expr), fits)
                     : append_check(out, type, expr);
}

/** A value whose type only SQL's casts know. */
static enum status append_cast(struct buf *out, const struct ice_type *type, struct str expr,
                               struct str sql)
{
    TRY(buf_printf(out, "CASE WHEN %.*s IS NULL THEN NULL WHEN ", STR_ARG(expr)));
    TRY(append_check(out, type, expr));
    return buf_printf(out,
                      " THEN TRY_CAST(%.*s AS %.*s) "
                      "ELSE CAST(error('" DUCK_TEXT_MISFIT "') AS %.*s) END",
                      STR_ARG(expr), STR_ARG(sql), STR_ARG(sql));
}

enum status convert_text_cast(const struct convert_column *column, const struct ice_type *type,
                              struct buf *out, struct err *err)
{
    struct str x = column->expr;
    struct text_rule rule = rule_of(type->kind);
    AUTO(buf_done) struct buf sql;
    buf_init(&sql, 0);
    TRY(sql_type_print(type, &sql, err));
    enum status status;
    if (type->kind == ICE_STRING) {
        status = buf_append(out, x);
    } else if (type->kind == ICE_FLOAT) {
        status = buf_printf(out, "CAST(" DUCK_TEXT_FUNCTIONS "double(%.*s) AS FLOAT)", STR_ARG(x));
    } else if (rule.function != NULL) {
        status = buf_printf(out, DUCK_TEXT_FUNCTIONS "%s(%.*s)", rule.function, STR_ARG(x));
    } else {
        status = append_cast(out, type, x, buf_str(&sql));
    }
    return status == OK ? OK : err_no_memory(err);
}

/* --- the typing query: one row, five cells for each text column --- */

enum { CELL_VALUES, CELL_FITS, CELL_TABLE_FITS, CELL_DIGITS, CELL_SCALE, CELLS };

static const struct ice_type *table_type(const struct convert *c,
                                         const struct convert_column *column)
{
    const struct ice_field *field = c->table != NULL ? ice_schema_by_name(c->table, column->name)
                                                     : NULL;
    return field != NULL ? &field->type : NULL;
}

static enum status append_column(const struct convert *c, const struct convert_column *column,
                                 struct buf *out)
{
    struct str x = column->expr;
    const struct ice_type *type = table_type(c, column);
    TRY(buf_printf(out,
                   "count(%.*s), bit_and(" DUCK_TEXT_FUNCTIONS "fits(%.*s)), bool_and(coalesce(",
                   STR_ARG(x), STR_ARG(x)));
    TRY(type != NULL ? append_check(out, type, x) : buf_append(out, STR("false")));
    TRY(buf_printf(out, ", %.*s IS NULL)), ", STR_ARG(x)));
    if (column->only_times) {
        return buf_append(out, STR("0, 0"));
    }
    return buf_printf(
        out,
        "max(length(ltrim(split_part(%.*s, '.', 1), '-'))), max(length(split_part(%.*s, '.', 2)))",
        STR_ARG(x), STR_ARG(x));
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

/** What is known of a text column's values. */
struct facts {
    int64_t values;        /* that are not NULL */
    unsigned fits;         /* TEXT_FITS_* of all of them */
    bool table_fits;       /* all fit the table's type, when `fits` does not tell it */
    int64_t digits, scale; /* the most before and behind a decimal point */
};

static int64_t number_of(struct str cell)
{
    int64_t number = 0;
    return cell.ptr != NULL && str_to_i64(cell, &number) ? number : 0;
}

/** True when every text fits the table's type. */
static bool table_fits(const struct ice_type *type, const struct facts *facts)
{
    unsigned fits = rule_of(type->kind).fits;
    return fits != 0 ? (facts->fits & fits) != 0 : facts->table_fits;
}

/** The narrowest class that every value fits. */
static struct ice_type own_type(const struct facts *facts, bool only_times)
{
    for (size_t class = 0; class < TEXT_CLASS_COUNT; class ++) {
        bool candidate = !only_times || class >= TEXT_DATE;
        if (!candidate || !(facts->fits & class_fits[class]) ||
            (class == TEXT_DECIMAL && facts->digits + facts->scale > 38)) {
            continue;
        }
        struct ice_type type = class_types[class];
        if (class == TEXT_DECIMAL) {
            type.precision = 38;
            type.scale = (int32_t)facts->scale;
        }
        return type;
    }
    return class_types[TEXT_STRING];
}

/** `all_seen`: there are no rows but those that `facts` are of. */
static void take_type(struct typing *typing, struct convert_column *column,
                      const struct facts *facts, bool all_seen)
{
    const struct ice_type *type = table_type(typing->c, column);
    bool empty = facts->values == 0;
    if (column->forced) {
        return; /* it has its type */
    }
    if (type != NULL && (empty || table_fits(type, facts))) {
        column->type = *type;
    } else if (empty) {
        column->type = class_types[TEXT_STRING];
        typing->again = typing->again || !all_seen;
    } else {
        column->type = own_type(facts, column->only_times);
    }
}

static enum status take_types(void *ctx, const struct str *cells, size_t count, struct err *err)
{
    struct typing *typing = ctx;
    struct convert *c = typing->c;
    size_t at = 1;
    bool all_seen = number_of(cells[0]) < SAMPLE_ROWS || !typing->sample;
    for (size_t i = 0; i < c->column_count; i++) {
        if (!c->columns[i].text) {
            continue;
        }
        if (at + CELLS > count) {
            return err_set(err, E_INTERNAL, "the typing query has too few columns");
        }
        const struct str *mine = cells + at;
        struct facts facts = { .values = number_of(mine[CELL_VALUES]),
                               .fits = (unsigned)number_of(mine[CELL_FITS]),
                               .table_fits = str_eq(mine[CELL_TABLE_FITS], STR("true")),
                               .digits = number_of(mine[CELL_DIGITS]),
                               .scale = number_of(mine[CELL_SCALE]) };
        take_type(typing, &c->columns[i], &facts, all_seen);
        at += CELLS;
    }
    return OK;
}

/* --- the same from the first rows of a plain CSV, without DuckDB --- */

static int64_t longer(int64_t longest, size_t len)
{
    return longest > (int64_t)len ? longest : (int64_t)len;
}

static void add_text(void *ctx, size_t column, struct str text)
{
    struct facts *facts = (struct facts *)ctx + column;
    facts->values++;
    facts->fits = facts->fits != 0 ? facts->fits & text_fits(text) : 0;
    if (facts->fits & TEXT_FITS_DECIMAL) { /* a sign, digits, and at most one point */
        struct str digits = str_skip(text, text.ptr[0] == '-');
        size_t point = str_find_char(digits, '.');
        facts->digits = longer(facts->digits, point == SIZE_MAX ? digits.len : point);
        facts->scale = longer(facts->scale, point == SIZE_MAX ? 0 : digits.len - point - 1);
    }
}

/** A table's type that only SQL's casts know needs SQL. */
static bool needs_sql(const struct convert *c)
{
    for (size_t i = 0; i < c->column_count; i++) {
        const struct ice_type *type = table_type(c, &c->columns[i]);
        if (type != NULL && type->kind != ICE_STRING && rule_of(type->kind).check != NULL) {
            return true;
        }
    }
    return false;
}

/** *told_out false: DuckDB has to look. */
static enum status type_from_sample(struct typing *typing, bool *told_out, struct err *err)
{
    struct convert *c = typing->c;
    *told_out = false;
    if (!typing->sample || c->is_copied || !str_eq(c->format, STR("csv")) || needs_sql(c)) {
        return OK;
    }
    struct facts *facts = arena_array(&c->job->arena, c->column_count + 1, sizeof(*facts));
    if (facts == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < c->column_count; i++) {
        const struct ice_type *type = table_type(c, &c->columns[i]);
        facts[i] = (struct facts){ .fits = TEXT_FITS_ALL,
                                   .table_fits = type != NULL && type->kind == ICE_STRING };
    }
    struct convert_sample sample = { .rows_max = SAMPLE_ROWS, .field = add_text, .ctx = facts };
    TRY(convert_csv_sample(c, &sample, told_out, err));
    for (size_t i = 0; *told_out && i < c->column_count; i++) {
        take_type(typing, &c->columns[i], &facts[i], sample.rows < SAMPLE_ROWS);
    }
    return OK;
}

enum status convert_type_texts(struct convert *c, bool sample, bool *again_out, struct err *err)
{
    struct typing typing = { .c = c, .sample = sample };
    bool told = false;
    TRY(type_from_sample(&typing, &told, err));
    if (told) {
        *again_out = typing.again;
        return OK;
    }
    AUTO(buf_done) struct buf sql;
    buf_init(&sql, 0);
    if (typing_query(c, sample, &sql) != OK) {
        return err_no_memory(err);
    }
    TRY(convert_explain(c, duck_rows(c->session, buf_str(&sql), take_types, &typing, err), err));
    *again_out = typing.again;
    return OK;
}
