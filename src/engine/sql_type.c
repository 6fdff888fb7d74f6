/*
 * A recursive descent over DuckDB's type names:
 *
 *   type    = base { "[" [digits] "]" }
 *   base    = "STRUCT(" name type { ", " name type } ")" | "MAP(" type ", " type ")" | "DECIMAL(" p
 *           "," s ")" | words [ "(" ... ")" ]
 */
#include "engine/sql_type.h"

struct reader {
    struct str rest;
    struct arena *arena;
    struct str whole;
    unsigned depth;
    bool stored; /* see sql_type_parse_stored */
};

static enum status read_type(struct reader *r, struct ice_type *out, struct err *err);

static enum status not_understood(const struct reader *r, struct err *err)
{
    return err_set(err, E_UNSUPPORTED, "the type %.*s cannot be kept in a table",
                   STR_ARG(r->whole));
}

static void skip_blanks(struct reader *r)
{
    while (r->rest.len > 0 && r->rest.ptr[0] == ' ') {
        r->rest = str_skip(r->rest, 1);
    }
}

static bool take(struct reader *r, struct str text)
{
    skip_blanks(r);
    if (!str_starts(r->rest, text)) {
        return false;
    }
    r->rest = str_skip(r->rest, text.len);
    return true;
}

/** A field's name: quoted with "" for a quote inside, or up to the next blank. */
static enum status read_name(struct reader *r, struct str *out, struct err *err)
{
    skip_blanks(r);
    if (!take(r, STR("\""))) {
        size_t end = str_find_char(r->rest, ' ');
        if (end == SIZE_MAX || end == 0) {
            return not_understood(r, err);
        }
        *out = str_take(r->rest, end);
        r->rest = str_skip(r->rest, end);
        return OK;
    }
    char *name = arena_alloc(r->arena, r->rest.len + 1);
    size_t len = 0, i = 0;
    if (name == NULL) {
        return err_no_memory(err);
    }
    for (; i < r->rest.len; i++) {
        if (r->rest.ptr[i] == '"') {
            if (i + 1 >= r->rest.len || r->rest.ptr[i + 1] != '"') {
                break;
            }
            i++;
        }
        name[len++] = r->rest.ptr[i];
    }
    r->rest = str_skip(r->rest, i + 1);
    *out = str_from(name, len);
    return OK;
}

static enum status one_field(struct reader *r, struct str name, struct ice_type *type,
                             struct err *err)
{
    type->fields = ARENA_NEW(r->arena, struct ice_field);
    if (type->fields == NULL) {
        return err_no_memory(err);
    }
    type->fields[0].name = name;
    type->field_count = 1;
    return OK;
}

static enum status read_struct(struct reader *r, struct ice_type *out, struct err *err)
{
    size_t cap = 0;
    *out = (struct ice_type){ .kind = ICE_STRUCT };
    do {
        if (out->field_count == cap) {
            cap = cap ? cap * 2 : 8;
            struct ice_field *fields = arena_array(r->arena, cap, sizeof(*fields));
            if (fields == NULL) {
                return err_no_memory(err);
            }
            memcpy(fields, out->fields != NULL ? out->fields : fields,
                   out->field_count * sizeof(*fields));
            out->fields = fields;
        }
        struct ice_field *field = &out->fields[out->field_count];
        *field = (struct ice_field){ 0 };
        TRY(read_name(r, &field->name, err));
        TRY(read_type(r, &field->type, err));
        out->field_count++;
    } while (take(r, STR(",")));
    return take(r, STR(")")) ? OK : not_understood(r, err);
}

static enum status read_map(struct reader *r, struct ice_type *out, struct err *err)
{
    *out = (struct ice_type){ .kind = ICE_MAP, .field_count = 2 };
    out->fields = arena_array(r->arena, 2, sizeof(*out->fields));
    if (out->fields == NULL) {
        return err_no_memory(err);
    }
    out->fields[0].name = STR("key");
    out->fields[0].required = true;
    out->fields[1].name = STR("value");
    TRY(read_type(r, &out->fields[0].type, err));
    if (!take(r, STR(","))) {
        return not_understood(r, err);
    }
    TRY(read_type(r, &out->fields[1].type, err));
    return take(r, STR(")")) ? OK : not_understood(r, err);
}

static enum status read_decimal(struct reader *r, struct ice_type *out, struct err *err)
{
    size_t close = str_find_char(r->rest, ')');
    if (close == SIZE_MAX) {
        return not_understood(r, err);
    }
    struct str numbers = str_take(r->rest, close);
    struct str precision = str_split(&numbers, ',');
    uint64_t p, s;
    if (numbers.ptr == NULL || !str_to_u64(str_trim(precision), &p) ||
        !str_to_u64(str_trim(numbers), &s) || p == 0 || p > 38 || s > p) {
        return not_understood(r, err);
    }
    r->rest = str_skip(r->rest, close + 1);
    *out = (struct ice_type){ .kind = ICE_DECIMAL, .precision = (int32_t)p, .scale = (int32_t)s };
    return OK;
}

/** Everything in parentheses, strings with '' inside skipped (the values of an ENUM). */
static bool skip_parentheses(struct reader *r)
{
    bool quoted = false;
    for (size_t i = 0; i < r->rest.len; i++) {
        char c = r->rest.ptr[i];
        if (c == '\'') {
            quoted = !quoted;
        } else if (c == ')' && !quoted) {
            r->rest = str_skip(r->rest, i + 1);
            return true;
        }
    }
    return false;
}

static enum status read_simple(struct reader *r, struct ice_type *out, struct err *err)
{
    static const struct {
        const char *name;
        struct ice_type type;
    } names[] = {
        /* a name that begins with another one stands before it */
        { "TIMESTAMP WITH TIME ZONE", { .kind = ICE_TIMESTAMPTZ } },
        { "TIMESTAMPTZ", { .kind = ICE_TIMESTAMPTZ } },
        { "TIMESTAMP_NS", { .kind = ICE_TIMESTAMP } },
        { "TIMESTAMP_MS", { .kind = ICE_TIMESTAMP } },
        { "TIMESTAMP_S", { .kind = ICE_TIMESTAMP } },
        { "TIMESTAMP", { .kind = ICE_TIMESTAMP } },
        { "TIME WITH TIME ZONE", { .kind = ICE_STRING } },
        { "TIME_NS", { .kind = ICE_STRING } },
        { "TIME", { .kind = ICE_STRING } },
        { "BOOLEAN", { .kind = ICE_BOOLEAN } },
        { "TINYINT", { .kind = ICE_INT } },
        { "SMALLINT", { .kind = ICE_INT } },
        { "INTEGER", { .kind = ICE_INT } },
        { "UTINYINT", { .kind = ICE_INT } },
        { "USMALLINT", { .kind = ICE_INT } },
        { "UINTEGER", { .kind = ICE_LONG } },
        { "BIGINT", { .kind = ICE_LONG } },
        { "UBIGINT", { .kind = ICE_DECIMAL, .precision = 20 } },
        { "HUGEINT", { .kind = ICE_DECIMAL, .precision = 38 } },
        { "UHUGEINT", { .kind = ICE_DECIMAL, .precision = 38 } },
        { "FLOAT", { .kind = ICE_FLOAT } },
        { "DOUBLE", { .kind = ICE_DOUBLE } },
        { "DATE", { .kind = ICE_DATE } },
        { "VARCHAR", { .kind = ICE_STRING } },
        { "JSON", { .kind = ICE_STRING } },
        { "ENUM", { .kind = ICE_STRING } },
        { "INTERVAL", { .kind = ICE_STRING } },
        { "BIT", { .kind = ICE_STRING } },
        { "UUID", { .kind = ICE_UUID } },
        { "BLOB", { .kind = ICE_BINARY } },
        { "\"NULL\"", { .kind = ICE_STRING } },
        { "NULL", { .kind = ICE_STRING } },
    };
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (take(r, str_of(names[i].name))) {
            *out = names[i].type;
            if (r->stored && strcmp(names[i].name, "TIME") == 0) {
                out->kind = ICE_TIME;
            }
            return !take(r, STR("(")) || skip_parentheses(r) ? OK : not_understood(r, err);
        }
    }
    return not_understood(r, err);
}

static enum status read_base(struct reader *r, struct ice_type *out, struct err *err)
{
    if (take(r, STR("STRUCT("))) {
        return read_struct(r, out, err);
    }
    if (take(r, STR("MAP("))) {
        return read_map(r, out, err);
    }
    if (take(r, STR("DECIMAL("))) {
        return read_decimal(r, out, err);
    }
    return read_simple(r, out, err);
}

static enum status read_type(struct reader *r, struct ice_type *out, struct err *err)
{
    if (++r->depth > ICE_TYPE_DEPTH_MAX + 1) { /* the innermost type nests nothing */
        return err_set(err, E_INVALID, "a type is nested deeper than %d", ICE_TYPE_DEPTH_MAX);
    }
    TRY(read_base(r, out, err));
    while (str_starts(r->rest, STR("["))) {
        size_t close = str_find_char(r->rest, ']');
        if (close == SIZE_MAX) {
            return not_understood(r, err);
        }
        r->rest = str_skip(r->rest, close + 1);
        struct ice_type list = { .kind = ICE_LIST };
        TRY(one_field(r, STR("element"), &list, err));
        list.fields[0].type = *out;
        *out = list;
    }
    r->depth--;
    return OK;
}

static enum status parse(struct reader *r, struct str text, struct ice_type *out, struct err *err)
{
    r->whole = r->rest = arena_str(r->arena, text);
    if (r->whole.ptr == NULL) {
        return err_no_memory(err);
    }
    TRY(read_type(r, out, err));
    return r->rest.len == 0 ? OK : not_understood(r, err);
}

enum status sql_type_parse(struct arena *arena, struct str text, struct ice_type *out,
                           struct err *err)
{
    struct reader r = { .arena = arena };
    return parse(&r, text, out, err);
}

enum status sql_type_parse_stored(struct arena *arena, struct str text, struct ice_type *out,
                                  struct err *err)
{
    struct reader r = { .arena = arena, .stored = true };
    return parse(&r, text, out, err);
}

/* --- the other way --- */

static enum status print(const struct ice_type *type, struct buf *out, struct err *err);

static enum status print_struct(const struct ice_type *type, struct buf *out, struct err *err)
{
    TRY(buf_append(out, STR("STRUCT(")));
    for (size_t i = 0; i < type->field_count; i++) {
        TRY(buf_append(out, i == 0 ? STR("\"") : STR(", \"")));
        for (size_t c = 0; c < type->fields[i].name.len; c++) {
            char byte = type->fields[i].name.ptr[c];
            TRY(buf_append(out, byte == '"' ? STR("\"\"") : str_from(&byte, 1)));
        }
        TRY(buf_append(out, STR("\" ")));
        TRY(print(&type->fields[i].type, out, err));
    }
    return buf_append_char(out, ')');
}

static enum status print(const struct ice_type *type, struct buf *out, struct err *err)
{
    switch (type->kind) {
    case ICE_BOOLEAN:
        return buf_append(out, STR("BOOLEAN"));
    case ICE_INT:
        return buf_append(out, STR("INTEGER"));
    case ICE_LONG:
        return buf_append(out, STR("BIGINT"));
    case ICE_FLOAT:
        return buf_append(out, STR("FLOAT"));
    case ICE_DOUBLE:
        return buf_append(out, STR("DOUBLE"));
    case ICE_DATE:
        return buf_append(out, STR("DATE"));
    case ICE_TIME:
        return buf_append(out, STR("TIME"));
    case ICE_TIMESTAMP:
        return buf_append(out, STR("TIMESTAMP"));
    case ICE_TIMESTAMPTZ:
        return buf_append(out, STR("TIMESTAMP WITH TIME ZONE"));
    case ICE_STRING:
        return buf_append(out, STR("VARCHAR"));
    case ICE_UUID:
        return buf_append(out, STR("UUID"));
    case ICE_BINARY:
    case ICE_FIXED:
        return buf_append(out, STR("BLOB"));
    case ICE_DECIMAL:
        return buf_printf(out, "DECIMAL(%d,%d)", type->precision, type->scale);
    case ICE_STRUCT:
        return print_struct(type, out, err);
    case ICE_LIST:
        TRY(print(&type->fields[0].type, out, err));
        return buf_append(out, STR("[]"));
    case ICE_MAP:
        TRY(buf_append(out, STR("MAP(")));
        TRY(print(&type->fields[0].type, out, err));
        TRY(buf_append(out, STR(", ")));
        TRY(print(&type->fields[1].type, out, err));
        return buf_append_char(out, ')');
    case ICE_OTHER:
        return err_set(err, E_UNSUPPORTED, "the type '%.*s' cannot be read yet",
                       STR_ARG(type->name));
    }
    return err_set(err, E_INTERNAL, "a type that nobody knows");
}

enum status sql_type_print(const struct ice_type *type, struct buf *out, struct err *err)
{
    size_t before = out->len;
    enum status status = print(type, out, err);
    if (status != OK) {
        out->len = before;
    }
    return status == E_TOO_LARGE || status == E_NO_MEMORY ? err_no_memory(err) : status;
}
