/*
 * Iceberg types: from JSON, to JSON and to text.
 *
 * A type is a small tree. Lists and maps keep their children as fields with fixed names, so that
 * every walk over a type (ids, lookup, comparison) is one loop over `fields`.
 */
#include "iceberg/schema_priv.h"

#include "base/mem.h"

static const char *const primitive_names[] = {
    [ICE_BOOLEAN] = "boolean",
    [ICE_INT] = "int",
    [ICE_LONG] = "long",
    [ICE_FLOAT] = "float",
    [ICE_DOUBLE] = "double",
    [ICE_DATE] = "date",
    [ICE_TIME] = "time",
    [ICE_TIMESTAMP] = "timestamp",
    [ICE_TIMESTAMPTZ] = "timestamptz",
    [ICE_STRING] = "string",
    [ICE_UUID] = "uuid",
    [ICE_BINARY] = "binary",
};

static enum status parse_at(struct arena *arena, yyjson_val *json, unsigned depth,
                            struct ice_type *out, struct err *err);

enum status ice_type_parse(struct arena *arena, yyjson_val *json, struct ice_type *out,
                           struct err *err)
{
    struct ice_type type = { 0 };
    TRY(parse_at(arena, json, 0, &type, err));
    *out = type;
    return OK;
}

static struct str val_str(yyjson_val *val)
{
    return str_from(yyjson_get_str(val), yyjson_get_len(val));
}

/** The numbers of `decimal(9, 2)` and `fixed[16]`: what stands between the brackets. */
static bool parse_args(struct str text, struct str name, char open, char close, struct str *args)
{
    if (!str_starts(text, name)) {
        return false;
    }
    struct str rest = str_trim(str_skip(text, name.len));
    if (rest.len < 3 || rest.ptr[0] != open || rest.ptr[rest.len - 1] != close) {
        return false;
    }
    *args = str_from(rest.ptr + 1, rest.len - 2);
    return true;
}

static bool parse_decimal(struct str args, struct ice_type *out)
{
    struct str rest = args;
    struct str precision_text = str_trim(str_split(&rest, ','));
    uint64_t precision = 0;
    uint64_t scale = 0;
    if (rest.ptr == NULL || !str_to_u64(precision_text, &precision) ||
        !str_to_u64(str_trim(rest), &scale)) {
        return false;
    }
    if (precision == 0 || precision > 38 || scale > precision) {
        return false; /* 38 digits: the specification's limit, and what 16 bytes hold */
    }
    *out = (struct ice_type){ .kind = ICE_DECIMAL,
                              .precision = (int32_t)precision,
                              .scale = (int32_t)scale };
    return true;
}

static enum status parse_primitive(struct arena *arena, struct str text, struct ice_type *out,
                                   struct err *err)
{
    for (size_t i = 0; i < ARRAY_LEN(primitive_names); i++) {
        if (primitive_names[i] != NULL && str_eq(text, str_of(primitive_names[i]))) {
            *out = (struct ice_type){ .kind = (enum ice_kind)i };
            return OK;
        }
    }
    struct str args;
    uint64_t length = 0;
    if (parse_args(text, STR("decimal"), '(', ')', &args)) {
        if (!parse_decimal(args, out)) {
            return err_set(
                err, E_INVALID,
                "\"%.*s\" is no decimal type (decimal(P, S) with P 1 to 38 and S 0 to P)",
                STR_ARG(text));
        }
        return OK;
    }
    if (parse_args(text, STR("fixed"), '[', ']', &args)) {
        if (!str_to_u64(str_trim(args), &length) || length == 0 || length > INT32_MAX) {
            return err_set(err, E_INVALID, "\"%.*s\" is no fixed type (fixed[L])", STR_ARG(text));
        }
        *out = (struct ice_type){ .kind = ICE_FIXED, .length = (int32_t)length };
        return OK;
    }
    if (text.len == 0 || text.len > 200 || str_has_control(text)) {
        return err_set(err, E_INVALID, "a type's name has %zu bytes or control characters",
                       text.len);
    }
    *out = (struct ice_type){ .kind = ICE_OTHER, .name = arena_str(arena, text) };
    return out->name.ptr == NULL ? err_no_memory(err) : OK;
}

static enum status get_id(yyjson_val *json, const char *member, int32_t *out, struct err *err)
{
    int64_t id = 0;
    TRY(json_get_i64(json, member, JSON_OPTIONAL, &id, err));
    if (id < INT32_MIN || id > INT32_MAX) {
        return err_set(err, E_INVALID, "\"%s\" is %lld, no 32-bit number", member, (long long)id);
    }
    *out = (int32_t)id;
    return OK;
}

/** `element-id`, `element`, `element-required` and the same for `key` and `value`. */
static enum status parse_child(struct arena *arena, yyjson_val *json, const char *name,
                               unsigned depth, struct ice_field *out, struct err *err)
{
    char id_name[32];
    char required_name[32];
    (void)snprintf(id_name, sizeof(id_name), "%s-id", name);
    (void)snprintf(required_name, sizeof(required_name), "%s-required", name);
    out->name = str_of(name);
    out->required = strcmp(name, "key") == 0;
    TRY(get_id(json, id_name, &out->id, err));
    TRY(json_get_bool(json, required_name, JSON_OPTIONAL, &out->required, err));
    yyjson_val *type = yyjson_obj_get(json, name);
    if (type == NULL) {
        return err_set(err, E_INVALID, "a %s type lacks \"%s\"",
                       strcmp(name, "element") == 0 ? "list" : "map", name);
    }
    return parse_at(arena, type, depth + 1, &out->type, err);
}

static bool is_known_member(struct str name)
{
    return str_eq(name, STR("id")) || str_eq(name, STR("name")) || str_eq(name, STR("required")) ||
           str_eq(name, STR("type")) || str_eq(name, STR("doc"));
}

static enum status append_member(struct buf *text, yyjson_val *key, yyjson_val *val)
{
    struct json_writer w;
    TRY(buf_append_char(text, ','));
    TRY(json_append_string(text, val_str(key)));
    TRY(buf_append_char(text, ':'));
    json_writer_init(&w, text);
    jw_val(&w, val);
    return json_writer_end(&w);
}

/** Keep members that we do not know as text, so that they are written again as they were. */
static enum status keep_extra(struct arena *arena, yyjson_val *json, struct ice_field *out,
                              struct err *err)
{
    AUTO(buf_done) struct buf text;
    buf_init(&text, 0);
    size_t i = 0;
    size_t max = 0;
    yyjson_val *key = NULL;
    yyjson_val *val = NULL;
    yyjson_obj_foreach(json, i, max, key, val)
    {
        if (!is_known_member(val_str(key)) && append_member(&text, key, val) != OK) {
            return err_no_memory(err);
        }
    }
    if (text.len > 0) {
        out->extra_json = arena_str(arena, buf_str(&text));
        return out->extra_json.ptr == NULL ? err_no_memory(err) : OK;
    }
    return OK;
}

static enum status parse_field(struct arena *arena, yyjson_val *json, unsigned depth,
                               struct ice_field *out, struct err *err)
{
    struct str name = { 0 };
    struct str doc = { 0 };
    if (!yyjson_is_obj(json)) {
        return err_set(err, E_INVALID, "a field of a struct is no object");
    }
    TRY(json_get_str(json, "name", JSON_REQUIRED, &name, err));
    TRY(get_id(json, "id", &out->id, err));
    TRY(json_get_bool(json, "required", JSON_OPTIONAL, &out->required, err));
    TRY(json_get_str(json, "doc", JSON_OPTIONAL, &doc, err));
    yyjson_val *type = yyjson_obj_get(json, "type");
    if (type == NULL) {
        return err_set(err, E_INVALID, "field \"%.*s\" has no type", STR_ARG(name));
    }
    out->name = arena_str(arena, name);
    if (doc.ptr != NULL) {
        out->doc = arena_str(arena, doc);
    }
    if (out->name.ptr == NULL || (doc.ptr != NULL && out->doc.ptr == NULL)) {
        return err_no_memory(err);
    }
    TRY(keep_extra(arena, json, out, err));
    return parse_at(arena, type, depth + 1, &out->type, err);
}

static enum status parse_struct(struct arena *arena, yyjson_val *json, unsigned depth,
                                struct ice_type *out, struct err *err)
{
    yyjson_val *fields = NULL;
    TRY(json_get_arr(json, "fields", JSON_REQUIRED, &fields, err));
    out->kind = ICE_STRUCT;
    out->field_count = yyjson_arr_size(fields);
    out->fields = arena_array(arena, out->field_count, sizeof(*out->fields));
    if (out->fields == NULL) {
        return err_no_memory(err);
    }
    size_t i = 0;
    size_t max = 0;
    yyjson_val *field = NULL;
    yyjson_arr_foreach(fields, i, max, field)
    {
        TRY(parse_field(arena, field, depth, &out->fields[i], err));
    }
    return OK;
}

static enum status parse_at(struct arena *arena, yyjson_val *json, unsigned depth,
                            struct ice_type *out, struct err *err)
{
    if (yyjson_is_str(json)) {
        return parse_primitive(arena, val_str(json), out, err);
    }
    if (!yyjson_is_obj(json)) {
        return err_set(err, E_INVALID, "a type is neither a name nor an object");
    }
    if (depth > ICE_TYPE_DEPTH_MAX) {
        return err_set(err, E_INVALID, "types are nested deeper than %d", ICE_TYPE_DEPTH_MAX);
    }
    struct str kind = { 0 };
    TRY(json_get_str(json, "type", JSON_REQUIRED, &kind, err));
    if (str_eq(kind, STR("struct"))) {
        return parse_struct(arena, json, depth, out, err);
    }
    bool is_map = str_eq(kind, STR("map"));
    if (!is_map && !str_eq(kind, STR("list"))) {
        return err_set(err, E_INVALID, "type \"%.*s\" is not known", STR_ARG(kind));
    }
    out->kind = is_map ? ICE_MAP : ICE_LIST;
    out->field_count = is_map ? 2 : 1;
    out->fields = arena_array(arena, out->field_count, sizeof(*out->fields));
    if (out->fields == NULL) {
        return err_no_memory(err);
    }
    TRY(parse_child(arena, json, is_map ? "key" : "element", depth, &out->fields[0], err));
    if (is_map) {
        TRY(parse_child(arena, json, "value", depth, &out->fields[1], err));
    }
    return OK;
}

/* ---- to JSON ---- */

static void write_child(struct json_writer *w, const struct ice_field *field, const char *name)
{
    char member[32];
    (void)snprintf(member, sizeof(member), "%s-id", name);
    jw_kv_i64(w, member, field->id);
    jw_key(w, str_of(name));
    type_write(w, &field->type);
    if (strcmp(name, "key") != 0) {
        (void)snprintf(member, sizeof(member), "%s-required", name);
        jw_kv_bool(w, member, field->required);
    }
}

static void write_field(struct json_writer *w, const struct ice_field *field)
{
    jw_obj_begin(w);
    jw_kv_i64(w, "id", field->id);
    jw_kv_str(w, "name", field->name);
    jw_kv_bool(w, "required", field->required);
    jw_key(w, STR("type"));
    type_write(w, &field->type);
    if (field->doc.ptr != NULL) {
        jw_kv_str(w, "doc", field->doc);
    }
    if (field->extra_json.ptr != NULL && w->status == OK) {
        w->status = buf_append(w->out, field->extra_json);
    }
    jw_obj_end(w);
}

void type_write_fields(struct json_writer *w, const struct ice_type *type)
{
    jw_kv_arr(w, "fields");
    for (size_t i = 0; i < type->field_count; i++) {
        write_field(w, &type->fields[i]);
    }
    jw_arr_end(w);
}

void type_write(struct json_writer *w, const struct ice_type *type)
{
    char text[64];
    switch (type->kind) {
    case ICE_STRUCT:
        jw_obj_begin(w);
        jw_kv_cstr(w, "type", "struct");
        type_write_fields(w, type);
        jw_obj_end(w);
        return;
    case ICE_LIST:
        jw_obj_begin(w);
        jw_kv_cstr(w, "type", "list");
        write_child(w, &type->fields[0], "element");
        jw_obj_end(w);
        return;
    case ICE_MAP:
        jw_obj_begin(w);
        jw_kv_cstr(w, "type", "map");
        write_child(w, &type->fields[0], "key");
        write_child(w, &type->fields[1], "value");
        jw_obj_end(w);
        return;
    case ICE_OTHER:
        jw_str(w, type->name);
        return;
    case ICE_DECIMAL:
        (void)snprintf(text, sizeof(text), "decimal(%d, %d)", type->precision, type->scale);
        break;
    case ICE_FIXED:
        (void)snprintf(text, sizeof(text), "fixed[%d]", type->length);
        break;
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
    case ICE_UUID:
    case ICE_BINARY:
        (void)snprintf(text, sizeof(text), "%s", primitive_names[type->kind]);
        break;
    }
    jw_str(w, str_of(text));
}

/* ---- to text ---- */

static enum status print_nested(const struct ice_type *type, const char *open, bool names,
                                struct buf *out)
{
    TRY(buf_append(out, str_of(open)));
    for (size_t i = 0; i < type->field_count; i++) {
        if (i > 0) {
            TRY(buf_append(out, STR(", ")));
        }
        if (names) {
            TRY(buf_append(out, type->fields[i].name));
            TRY(buf_append(out, STR(": ")));
        }
        TRY(ice_type_print(&type->fields[i].type, out));
    }
    return buf_append_char(out, '>');
}

enum status ice_type_print(const struct ice_type *type, struct buf *out)
{
    size_t start = out->len;
    enum status status = OK;
    switch (type->kind) {
    case ICE_STRUCT:
        status = print_nested(type, "struct<", true, out);
        break;
    case ICE_LIST:
        status = print_nested(type, "list<", false, out);
        break;
    case ICE_MAP:
        status = print_nested(type, "map<", false, out);
        break;
    case ICE_OTHER:
        status = buf_append(out, type->name);
        break;
    case ICE_DECIMAL:
        status = buf_printf(out, "decimal(%d, %d)", type->precision, type->scale);
        break;
    case ICE_FIXED:
        status = buf_printf(out, "fixed[%d]", type->length);
        break;
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
    case ICE_UUID:
    case ICE_BINARY:
        status = buf_append(out, str_of(primitive_names[type->kind]));
        break;
    }
    if (status != OK) {
        out->len = start;
    }
    return status;
}

enum status ice_type_bare(struct arena *arena, const struct ice_type *type, struct ice_type *out,
                          struct err *err)
{
    struct ice_type bare = *type;
    if (type->field_count > 0) {
        bare.fields = arena_array(arena, type->field_count, sizeof(*bare.fields));
        if (bare.fields == NULL) {
            return err_no_memory(err);
        }
    }
    for (size_t i = 0; i < type->field_count; i++) {
        bare.fields[i] = (struct ice_field){ .name = type->fields[i].name,
                                             .required = type->kind == ICE_MAP && i == 0 };
        TRY(ice_type_bare(arena, &type->fields[i].type, &bare.fields[i].type, err));
    }
    *out = bare;
    return OK;
}

/* ---- comparison ---- */

bool type_head_equal(const struct ice_type *a, const struct ice_type *b)
{
    return a->kind == b->kind && a->precision == b->precision && a->scale == b->scale &&
           a->length == b->length && a->field_count == b->field_count && str_eq(a->name, b->name);
}

bool ice_type_equal(const struct ice_type *a, const struct ice_type *b)
{
    if (!type_head_equal(a, b)) {
        return false;
    }
    for (size_t i = 0; i < a->field_count; i++) {
        if (!str_eq(a->fields[i].name, b->fields[i].name) ||
            !ice_type_equal(&a->fields[i].type, &b->fields[i].type)) {
            return false;
        }
    }
    return true;
}
