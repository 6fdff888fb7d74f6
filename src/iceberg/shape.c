/*
 * Partitions and order as people say them.
 */
#include "iceberg/shape.h"

/* --- text --- */

/** Cut at the first comma outside of parentheses. */
static struct str next_item(struct str *rest)
{
    int depth = 0;
    size_t i = 0;
    for (; i < rest->len && (depth > 0 || rest->ptr[i] != ','); i++) {
        depth += rest->ptr[i] == '(';
        depth -= rest->ptr[i] == ')' && depth > 0;
    }
    struct str item = str_take(*rest, i);
    *rest = i < rest->len ? str_skip(*rest, i + 1) : (struct str){ NULL, 0 };
    return str_trim(item);
}

/** Take a word off the end, with the blank before it. */
static bool take_last(struct str *text, struct str word)
{
    if (text->len <= word.len || text->ptr[text->len - word.len - 1] != ' ' ||
        !str_eq_nocase(str_skip(*text, text->len - word.len), word)) {
        return false;
    }
    *text = str_trim(str_take(*text, text->len - word.len));
    return true;
}

static void read_direction(struct str *item, struct ice_shape_field *out)
{
    bool last = take_last(item, STR("nulls last"));
    bool first = !last && take_last(item, STR("nulls first"));
    out->descending = take_last(item, STR("desc"));
    if (!out->descending) {
        (void)take_last(item, STR("asc"));
    }
    out->nulls_last = last || (out->descending && !first);
}

static struct str lower(struct arena *arena, struct str text)
{
    char *copy = arena_alloc(arena, text.len + 1);
    for (size_t i = 0; copy != NULL && i < text.len; i++) {
        char c = text.ptr[i];
        copy[i] = (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
    }
    return (struct str){ copy, copy == NULL ? 0 : text.len };
}

/** "column", "day(column)", "bucket(16, column)" or "bucket(column, 16)". */
static bool read_transform(struct arena *arena, struct str item, struct ice_shape_field *out)
{
    size_t open = str_find_char(item, '(');
    if (open == SIZE_MAX) {
        out->column = arena_str(arena, item);
        out->transform = STR("identity");
        return item.len > 0;
    }
    if (item.ptr[item.len - 1] != ')') {
        return false;
    }
    struct str name = lower(arena, str_trim(str_take(item, open)));
    struct str inner = str_from(item.ptr + open + 1, item.len - open - 2);
    size_t comma = str_find_char(inner, ',');
    int64_t width = 0;
    int32_t ignored = 0;
    struct str column = str_trim(inner);
    out->transform = name;
    if (comma != SIZE_MAX) {
        struct str a = str_trim(str_take(inner, comma));
        struct str b = str_trim(str_skip(inner, comma + 1));
        bool ahead = str_to_i64(a, &width);
        column = ahead ? b : a;
        if (!ahead && !str_to_i64(b, &width)) {
            return false;
        }
        out->transform = arena_printf(arena, "%.*s[%lld]", STR_ARG(name), (long long)width);
    }
    out->column = arena_str(arena, column);
    enum ice_transform transform = ice_transform_parse(out->transform, &ignored);
    return column.len > 0 && transform != ICE_UNKNOWN && transform != ICE_VOID;
}

enum status ice_shape_parse(struct arena *arena, const char *what, struct str text, bool sort,
                            struct ice_shape_field **out, size_t *count_out, struct err *err)
{
    size_t cap = 1, count = 0;
    for (size_t i = 0; i < text.len; i++) {
        cap += text.ptr[i] == ',';
    }
    struct ice_shape_field *fields = arena_array(arena, cap, sizeof(*fields));
    if (fields == NULL) {
        return err_no_memory(err);
    }
    for (struct str rest = text; rest.ptr != NULL; count++) {
        struct str item = next_item(&rest);
        struct str whole = item;
        fields[count] = (struct ice_shape_field){ .descending = false };
        if (sort) {
            read_direction(&item, &fields[count]);
        }
        if (!read_transform(arena, item, &fields[count])) {
            return err_set(err, E_INVALID,
                           "%s: \"%.*s\" is none of column, year(column), month(column), "
                           "day(column), hour(column), bucket(n, column), truncate(n, column)",
                           what, STR_ARG(whole));
        }
        if (fields[count].column.ptr == NULL || fields[count].transform.ptr == NULL) {
            return err_no_memory(err);
        }
    }
    *out = fields;
    *count_out = count;
    return OK;
}

/* --- fields --- */

const struct ice_field *ice_shape_column(const struct ice_type *root, struct str name)
{
    const struct ice_field *found = NULL;
    for (size_t i = 0; i < root->field_count; i++) {
        if (str_eq(root->fields[i].name, name)) {
            return &root->fields[i];
        }
        if (found == NULL && str_eq_nocase(root->fields[i].name, name)) {
            found = &root->fields[i];
        }
    }
    return found;
}

/** `a` or `a.b` of structs. */
static const struct ice_field *find_by_path(const struct ice_type *root, struct str path)
{
    const struct ice_field *whole = ice_shape_column(root, path);
    for (size_t i = 0; whole == NULL && i < path.len; i++) {
        if (path.ptr[i] == '.') {
            const struct ice_field *outer = ice_shape_column(root, str_from(path.ptr, i));
            if (outer != NULL && outer->type.kind == ICE_STRUCT) {
                return find_by_path(&outer->type, str_skip(path, i + 1));
            }
        }
    }
    return whole;
}

/** The name of a partition field, as Iceberg's own writers choose it. */
static struct str field_name(struct arena *arena, struct str column, struct str transform)
{
    if (str_eq(transform, STR("identity"))) {
        return arena_str(arena, column);
    }
    struct str kind = str_starts(transform, STR("bucket"))     ? STR("bucket")
                      : str_starts(transform, STR("truncate")) ? STR("trunc")
                                                               : transform;
    return arena_printf(arena, "%.*s_%.*s", STR_ARG(column), STR_ARG(kind));
}

static enum status write_field(struct json_writer *w, struct arena *arena,
                               const struct ice_schema *schema, const struct ice_shape_field *field,
                               bool sort, struct err *err)
{
    const struct ice_field *source = find_by_path(&schema->root, field->column);
    if (source == NULL) {
        return err_set(err, E_INVALID, "there is no column \"%.*s\" to %s by",
                       STR_ARG(field->column), sort ? "sort" : "partition");
    }
    struct str name = field_name(arena, field->column, field->transform);
    if (name.ptr == NULL) {
        return err_no_memory(err);
    }
    jw_obj_begin(w);
    jw_kv_i64(w, "source-id", source->id);
    jw_kv_str(w, "transform", field->transform);
    if (sort) {
        jw_kv_cstr(w, "direction", field->descending ? "desc" : "asc");
        jw_kv_cstr(w, "null-order", field->nulls_last ? "nulls-last" : "nulls-first");
    } else {
        jw_kv_str(w, "name", name);
    }
    jw_obj_end(w);
    return OK;
}

enum status ice_shape_write(struct json_writer *w, struct arena *arena,
                            const struct ice_schema *schema, const struct ice_shape_field *fields,
                            size_t count, bool sort, struct err *err)
{
    jw_arr_begin(w);
    for (size_t i = 0; i < count; i++) {
        TRY(write_field(w, arena, schema, &fields[i], sort, err));
    }
    jw_arr_end(w);
    return OK;
}

/* --- of a new table --- */

/** The text of an array of fields; empty for none. */
static enum status fields_of(yyjson_val *shape, const char *member, struct buf *out,
                             struct err *err)
{
    yyjson_val *fields = yyjson_obj_get(yyjson_obj_get(shape, member), "fields");
    struct json_writer w;
    if (yyjson_arr_size(fields) == 0) {
        return OK;
    }
    json_writer_init(&w, out);
    jw_val(&w, fields);
    return json_writer_end(&w) == OK ? OK : err_no_memory(err);
}

enum status ice_shape_spec(struct arena *arena, const struct ice_schema *schema, yyjson_val *shape,
                           struct ice_partition_spec *out, struct err *err)
{
    AUTO(buf_done) struct buf fields;
    buf_init(&fields, 0);
    TRY(fields_of(shape, "partition-spec", &fields, err));
    return ice_partition_spec_parse(arena, schema, 0, buf_str(&fields), out, err);
}

enum status ice_shape_order(struct arena *arena, yyjson_val *shape, struct ice_sort_order *out,
                            struct err *err)
{
    AUTO(buf_done) struct buf fields;
    buf_init(&fields, 0);
    TRY(fields_of(shape, "write-order", &fields, err));
    return ice_sort_order_parse(arena, fields.len > 0 ? 1 : 0, buf_str(&fields), out, err);
}
