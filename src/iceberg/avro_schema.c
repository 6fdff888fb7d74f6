/*
 * Avro schemas: JSON to a tree of types.
 *
 * A name may stand for a record, enum or fixed that was defined before it, also for the record that
 * is being defined, so the tree may have cycles. Whoever follows values of it limits the depth
 * (avro_skip does).
 */
#include "iceberg/avro_priv.h"

struct names {
    struct arena *arena;
    const struct avro_type **types;
    size_t count, cap;
};

static enum status parse(struct names *names, yyjson_val *json, unsigned depth,
                         const struct avro_type **out, struct err *err);

static const char *const primitive_names[] = {
    [AVRO_NULL] = "null",   [AVRO_BOOLEAN] = "boolean", [AVRO_INT] = "int",
    [AVRO_LONG] = "long",   [AVRO_FLOAT] = "float",     [AVRO_DOUBLE] = "double",
    [AVRO_BYTES] = "bytes", [AVRO_STRING] = "string",
};

enum status avro_schema_parse(struct arena *arena, yyjson_val *json, const struct avro_type **out,
                              struct err *err)
{
    struct names names = { .arena = arena };
    return parse(&names, json, 0, out, err);
}

/** `a.b.c` and `c` are the same here: manifests have one name space. */
static struct str local_name(struct str name)
{
    size_t dot = str_rfind_char(name, '.');
    return dot == SIZE_MAX ? name : str_skip(name, dot + 1);
}

static enum status remember(struct names *names, const struct avro_type *type, struct err *err)
{
    if (names->count == names->cap) {
        size_t cap = names->cap == 0 ? 8 : 2 * names->cap;
        const struct avro_type **grown = arena_array(names->arena, cap, sizeof(struct avro_type *));
        if (grown == NULL) {
            return err_no_memory(err);
        }
        if (names->count > 0) {
            memcpy(grown, names->types, names->count * sizeof(struct avro_type *));
        }
        names->types = grown;
        names->cap = cap;
    }
    names->types[names->count++] = type;
    return OK;
}

static enum status parse_name(struct names *names, yyjson_val *json, const struct avro_type **out,
                              struct err *err)
{
    struct str name = str_from(yyjson_get_str(json), yyjson_get_len(json));
    for (size_t i = 0; i < ARRAY_LEN(primitive_names); i++) {
        if (str_eq(name, str_of(primitive_names[i]))) {
            struct avro_type *type = ARENA_NEW(names->arena, struct avro_type);
            if (type == NULL) {
                return err_no_memory(err);
            }
            *type = (struct avro_type){ .kind = (enum avro_kind)i, .json = json };
            *out = type;
            return OK;
        }
    }
    for (size_t i = names->count; i-- > 0;) {
        if (str_eq(names->types[i]->name, local_name(name))) {
            *out = names->types[i];
            return OK;
        }
    }
    return err_set(err, E_CORRUPT, "Avro type \"%.*s\" is not defined", STR_ARG(name));
}

static enum status parse_id(yyjson_val *json, const char *member, int32_t *out)
{
    yyjson_val *id = yyjson_obj_get(json, member);
    int64_t value = yyjson_is_int(id) ? yyjson_get_sint(id) : -1;
    *out = value >= 0 && value <= INT32_MAX ? (int32_t)value : -1;
    return OK;
}

static enum status parse_fields(struct names *names, yyjson_val *json, unsigned depth,
                                struct avro_type *out, struct err *err)
{
    yyjson_val *fields = yyjson_obj_get(json, "fields");
    if (!yyjson_is_arr(fields)) {
        return err_set(err, E_CORRUPT, "Avro record \"%.*s\" has no fields", STR_ARG(out->name));
    }
    size_t i = 0;
    size_t max = 0;
    yyjson_val *field = NULL;
    out->fields = arena_array(names->arena, yyjson_arr_size(fields), sizeof(*out->fields));
    if (out->fields == NULL) {
        return err_no_memory(err);
    }
    yyjson_arr_foreach(fields, i, max, field)
    {
        yyjson_val *name = yyjson_obj_get(field, "name");
        out->fields[i].name = str_from(yyjson_get_str(name), yyjson_get_len(name));
        TRY(parse_id(field, "field-id", &out->fields[i].id));
        TRY(parse(names, yyjson_obj_get(field, "type"), depth + 1, &out->fields[i].type, err));
    }
    out->field_count = max; /* only now: a cycle is walked with its fields complete */
    return OK;
}

static enum status parse_union(struct names *names, yyjson_val *json, unsigned depth,
                               struct avro_type *out, struct err *err)
{
    size_t i = 0;
    size_t max = 0;
    yyjson_val *branch = NULL;
    out->kind = AVRO_UNION;
    out->fields = arena_array(names->arena, yyjson_arr_size(json), sizeof(*out->fields));
    if (out->fields == NULL) {
        return err_no_memory(err);
    }
    yyjson_arr_foreach(json, i, max, branch)
    {
        out->fields[i].id = -1;
        TRY(parse(names, branch, depth + 1, &out->fields[i].type, err));
    }
    out->field_count = max;
    return OK;
}

static enum status parse_item(struct names *names, yyjson_val *json, unsigned depth,
                              struct avro_type *out, struct err *err)
{
    out->fields = ARENA_NEW(names->arena, struct avro_field);
    if (out->fields == NULL) {
        return err_no_memory(err);
    }
    TRY(parse_id(json, "element-id", &out->fields[0].id));
    const char *member = out->kind == AVRO_ARRAY ? "items" : "values";
    TRY(parse(names, yyjson_obj_get(json, member), depth + 1, &out->fields[0].type, err));
    out->field_count = 1;
    return OK;
}

static enum status parse_complex(struct names *names, yyjson_val *json, struct str kind,
                                 unsigned depth, struct avro_type *out, struct err *err)
{
    yyjson_val *name = yyjson_obj_get(json, "name");
    out->name = local_name(str_from(yyjson_get_str(name), yyjson_get_len(name)));
    if (str_eq(kind, STR("record"))) {
        out->kind = AVRO_RECORD;
        TRY(remember(names, out, err));
        return parse_fields(names, json, depth, out, err);
    }
    if (str_eq(kind, STR("enum"))) {
        out->kind = AVRO_ENUM;
        return remember(names, out, err);
    }
    if (str_eq(kind, STR("fixed"))) {
        yyjson_val *size = yyjson_obj_get(json, "size");
        if (!yyjson_is_uint(size) || yyjson_get_uint(size) > INT32_MAX) {
            return err_set(err, E_CORRUPT, "Avro fixed \"%.*s\" has no size", STR_ARG(out->name));
        }
        out->kind = AVRO_FIXED;
        out->size = (size_t)yyjson_get_uint(size);
        return remember(names, out, err);
    }
    bool is_array = str_eq(kind, STR("array"));
    if (is_array || str_eq(kind, STR("map"))) {
        out->kind = is_array ? AVRO_ARRAY : AVRO_MAP;
        return parse_item(names, json, depth, out, err);
    }
    return err_set(err, E_CORRUPT, "Avro type \"%.*s\" is not known", STR_ARG(kind));
}

static enum status parse(struct names *names, yyjson_val *json, unsigned depth,
                         const struct avro_type **out, struct err *err)
{
    if (depth > AVRO_DEPTH_MAX) {
        return err_set(err, E_CORRUPT, "the Avro schema is nested deeper than %d", AVRO_DEPTH_MAX);
    }
    if (yyjson_is_str(json)) {
        return parse_name(names, json, out, err);
    }
    yyjson_val *kind = yyjson_obj_get(json, "type");
    if (yyjson_is_obj(json) && (!yyjson_is_str(kind))) {
        return parse(names, kind, depth + 1, out, err); /* {"type": {...}} */
    }
    struct str text = str_from(yyjson_get_str(kind), yyjson_get_len(kind));
    for (size_t i = 0; i < ARRAY_LEN(primitive_names); i++) {
        if (str_eq(text, str_of(primitive_names[i]))) {
            return parse_name(names, kind, out, err); /* {"type": "int", "logicalType": "date"} */
        }
    }
    if (!yyjson_is_obj(json) && !yyjson_is_arr(json)) {
        return err_set(err, E_CORRUPT, "an Avro type is missing");
    }
    struct avro_type *type = ARENA_NEW(names->arena, struct avro_type);
    if (type == NULL) {
        return err_no_memory(err);
    }
    type->json = json;
    *out = type;
    return yyjson_is_arr(json) ? parse_union(names, json, depth, type, err)
                               : parse_complex(names, json, text, depth, type, err);
}
